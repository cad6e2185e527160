/* SPDX-License-Identifier: Apache-2.0 */
/* Percent-encoding and base64. */
#include "base/encode.h"

typedef bool unsafe_fn(unsigned char c);

static bool unsafe_in_path(unsigned char c)
{
    return c <= ' ' || c >= 0x7f || strchr("\"#%<>?\\^`{|}", c) != NULL;
}

static bool unsafe_in_target(unsigned char c)
{
    return c <= ' ' || c == 0x7f;
}

static bool unsafe_in_header(unsigned char c)
{
    return (c < ' ' && c != '\t') || c == 0x7f;
}

static bool unsafe_in_location(unsigned char c)
{
    return c < ' ' || c == 0x7f || c == '\\';
}

static struct str encode(struct arena *a, struct str s, unsafe_fn *unsafe)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t count = 0;

    for (size_t i = 0; i < s.n; i++)
        count += unsafe((unsigned char)s.p[i]);
    if (count == 0)
        return s;
    char *p = arena_bytes(a, s.n + 2 * count + 1), *at = p;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (unsafe(c)) {
            *at++ = '%';
            *at++ = hex[c >> 4];
            *at++ = hex[c & 15];
        } else {
            *at++ = (char)c;
        }
    }
    *at = 0;
    return str_make(p, (size_t)(at - p));
}

struct str encode_path(struct arena *a, struct str s)
{
    return encode(a, s, unsafe_in_path);
}

struct str encode_target(struct arena *a, struct str s)
{
    return encode(a, s, unsafe_in_target);
}

struct str encode_location(struct arena *a, struct str s)
{
    return encode(a, s, unsafe_in_location);
}

struct str encode_header(struct arena *a, struct str s)
{
    return encode(a, s, unsafe_in_header);
}

struct str base64_encode(struct arena *a, struct str s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *p = arena_bytes(a, (s.n + 2) / 3 * 4), *at = p;

    for (size_t i = 0; i < s.n; i += 3) {
        size_t n = s.n - i < 3 ? s.n - i : 3;
        unsigned bits = 0;
        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (k < n ? (unsigned char)s.p[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            *at++ = k <= n ? digits[bits >> (18 - 6 * k) & 63] : '=';
    }
    return str_make(p, (size_t)(at - p));
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (ascii_digit(c))
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(struct arena *a, struct str s, struct str *out)
{
    ptrdiff_t end = str_find(s, '=');
    unsigned bits = 0, held = 0;
    size_t n = 0;

    if (end >= 0)
        s = str_head(s, (size_t)end);
    if (s.n % 4 == 1)
        return false;
    char *p = arena_bytes(a, s.n / 4 * 3 + 4);
    for (size_t i = 0; i < s.n; i++) {
        int v = base64_value(s.p[i]);
        if (v < 0)
            return false;
        bits = bits << 6 | (unsigned)v;
        held += 6;
        if (held >= 8) {
            held -= 8;
            p[n++] = (char)(bits >> held & 0xff);
        }
    }
    p[n] = 0;
    *out = str_make(p, n);
    return true;
}
