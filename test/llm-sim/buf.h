/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer with the few writers that the simulator needs: text, numbers, JSON strings,
 * base64. Memory failure ends the process. */
#ifndef SIM_BUF_H
#define SIM_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *p;
    size_t n;
};

struct buf {
    char *p;
    size_t n;   /* bytes used */
    size_t cap; /* bytes owned */
};

#define SLICE(s) ((struct slice){(s), sizeof(s) - 1})

void *sim_alloc(size_t n); /* zeroed; never NULL; the caller frees */

void buf_grow(struct buf *b, size_t more);
void buf_free(struct buf *b);
void buf_fmt(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_num(struct buf *b, uint64_t v);
void buf_hex(struct buf *b, uint64_t v);
/* The inside of a JSON string: escapes, and replaces what is not UTF-8 by U+FFFD. */
void buf_escape(struct buf *b, const char *p, size_t n);
void buf_json(struct buf *b, const char *p, size_t n); /* the same between quotes */
void buf_base64(struct buf *b, const void *p, size_t n);

static inline void buf_reserve(struct buf *b, size_t more)
{
    if (b->cap - b->n < more)
        buf_grow(b, more);
}

static inline void buf_add(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    buf_reserve(b, n);
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static inline void buf_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

/* Slices: compare and read. */
bool slice_is(struct slice s, const char *text);      /* exact */
bool slice_is_case(struct slice s, const char *text); /* ASCII letters of any case */
bool slice_starts(struct slice s, const char *prefix);
bool slice_ends(struct slice s, const char *suffix);
/* Decimal digits only, the whole slice, at most max. Returns false and leaves *v alone otherwise.
 */
bool slice_num(struct slice s, uint64_t max, uint64_t *v);
bool slice_has_token(struct slice list, const char *token); /* comma list, any case */

#endif
