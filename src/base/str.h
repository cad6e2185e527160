/* SPDX-License-Identifier: Apache-2.0 */
/* A view of bytes: pointer and length, never owning, never relying on a NUL. The one string type of
 * the program; whoever makes a view says how long the bytes live. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* p may be NULL (absent) with n == 0; an empty but present string has p != NULL. */
struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_NONE     ((struct str){NULL, 0})
/* For printf("%.*s", STR_ARG(s)). */
#define STR_ARG(s)   (int)(s).n, (s).p ? (s).p : ""

static inline struct str str_of(const char *z)
{
    return (struct str){z, z ? strlen(z) : 0};
}

static inline struct str str_make(const char *p, size_t n)
{
    return (struct str){p, n};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

static inline bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n &&
           (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

/* The part from `at` on; empty when at is past the end. */
static inline struct str str_from(struct str s, size_t at)
{
    return at >= s.n ? str_make(s.p ? s.p + s.n : NULL, 0) : str_make(s.p + at, s.n - at);
}

static inline struct str str_head(struct str s, size_t n)
{
    return str_make(s.p, n < s.n ? n : s.n);
}

/* ASCII only, as HTTP wants it (RFC 9110 §5.1); the C locale functions are not used on wire data.
 */
static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Of a hexadecimal digit, else -1. */
static inline int ascii_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static inline bool ascii_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool ascii_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Decimal digits at p (at most 20); returns their number. Without stdio, for the way of requests.
 */
size_t u64_write(char *p, uint64_t v);
/* Equality without regard to ASCII case. */
bool str_eq_nocase(struct str a, struct str b);
/* Position of the first c, or -1. */
ptrdiff_t str_find(struct str s, char c);
/* Position of the last c, or -1. */
ptrdiff_t str_rfind(struct str s, char c);
/* Position of the first needle, or -1; an empty needle is found at 0. */
ptrdiff_t str_search(struct str s, struct str needle);
/* Without ASCII white space at both ends. */
struct str str_trim(struct str s);
/* Splits at the first sep: *head gets what is before, *rest what is after (absent when sep is not
 * there). Returns whether sep was found. */
bool str_cut(struct str s, char sep, struct str *head, struct str *rest);
/* Decimal digits only, the whole string, no sign; false when empty, not digits or above max. */
bool str_to_u64(struct str s, uint64_t max, uint64_t *out);
/* Comparison that takes the same time wherever the difference is; lengths are not secret. */
bool str_eq_secret(struct str a, struct str b);
/* memcmp order, shorter first. */
int str_cmp(struct str a, struct str b);
/* A heap copy with a NUL behind it; the caller frees. */
char *str_dup(struct str s);

#endif
