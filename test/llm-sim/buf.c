/* SPDX-License-Identifier: Apache-2.0 */
/* The growing buffer and the slice helpers. */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

void *sim_alloc(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    if (!p) {
        fputs("llm-sim: out of memory\n", stderr);
        abort();
    }
    return p;
}

void buf_grow(struct buf *b, size_t more)
{
    size_t cap = b->cap ? b->cap : 256;
    while (cap < b->n + more)
        cap *= 2;
    char *p = realloc(b->p, cap);
    if (!p) {
        fputs("llm-sim: out of memory\n", stderr);
        abort();
    }
    b->p = p;
    b->cap = cap;
}

void buf_free(struct buf *b)
{
    free(b->p);
    *b = (struct buf){0};
}

void buf_fmt(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    buf_reserve(b, 128);
    va_start(ap, fmt);
    int n = vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    if ((size_t)n >= b->cap - b->n) {
        buf_reserve(b, (size_t)n + 1);
        va_start(ap, fmt);
        vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
        va_end(ap);
    }
    b->n += (size_t)n;
}

void buf_num(struct buf *b, uint64_t v)
{
    char t[20];
    size_t i = sizeof t;
    do
        t[--i] = (char)('0' + v % 10);
    while (v /= 10);
    buf_add(b, t + i, sizeof t - i);
}

void buf_hex(struct buf *b, uint64_t v)
{
    char t[16];
    size_t i = sizeof t;
    do
        t[--i] = "0123456789abcdef"[v & 15];
    while (v >>= 4);
    buf_add(b, t + i, sizeof t - i);
}

/* Length of the UTF-8 sequence at p, 0 when it is none (RFC 3629 section 4). */
static size_t utf8_len(const unsigned char *p, size_t n)
{
    size_t len;
    unsigned lo = 0x80, hi = 0xbf;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        len = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        len = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        len = 4;
    else
        return 0;
    if (p[0] == 0xe0)
        lo = 0xa0;
    else if (p[0] == 0xed)
        hi = 0x9f;
    else if (p[0] == 0xf0)
        lo = 0x90;
    else if (p[0] == 0xf4)
        hi = 0x8f;
    if (n < len || p[1] < lo || p[1] > hi)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

static void escape_odd(struct buf *b, unsigned char ch)
{
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    const char *at = ch ? strchr(from, ch) : NULL;
    if (at) {
        char t[2] = {'\\', to[at - from]};
        buf_add(b, t, 2);
    } else {
        buf_fmt(b, "\\u%04x", ch);
    }
}

void buf_escape(struct buf *b, const char *p, size_t n)
{
    size_t from = 0, i = 0;
    while (i < n) {
        unsigned char ch = (unsigned char)p[i];
        size_t len = 1;
        if (ch >= 0x20 && ch < 0x7f && ch != '"' && ch != '\\') {
            i++;
            continue;
        }
        if (ch >= 0x80)
            len = utf8_len((const unsigned char *)p + i, n - i);
        if (ch >= 0x80 && len) {
            i += len;
            continue;
        }
        buf_add(b, p + from, i - from);
        if (ch >= 0x80)
            buf_str(b, "\\ufffd");
        else
            escape_odd(b, ch);
        from = ++i;
    }
    buf_add(b, p + from, n - from);
}

void buf_json(struct buf *b, const char *p, size_t n)
{
    buf_add(b, "\"", 1);
    buf_escape(b, p, n);
    buf_add(b, "\"", 1);
}

void buf_base64(struct buf *b, const void *data, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = data;
    buf_reserve(b, (n + 2) / 3 * 4);
    char *out = b->p + b->n;
    size_t i = 0;
    for (; i + 2 < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];
        *out++ = digit[v >> 18];
        *out++ = digit[v >> 12 & 63];
        *out++ = digit[v >> 6 & 63];
        *out++ = digit[v & 63];
    }
    if (i < n) {
        uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0);
        *out++ = digit[v >> 18];
        *out++ = digit[v >> 12 & 63];
        *out++ = i + 1 < n ? digit[v >> 6 & 63] : '=';
        *out++ = '=';
    }
    b->n = (size_t)(out - b->p);
}

bool slice_is(struct slice s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

bool slice_is_case(struct slice s, const char *text)
{
    return s.n == strlen(text) && strncasecmp(s.p, text, s.n) == 0;
}

bool slice_starts(struct slice s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && memcmp(s.p, prefix, n) == 0;
}

bool slice_ends(struct slice s, const char *suffix)
{
    size_t n = strlen(suffix);
    return s.n >= n && memcmp(s.p + s.n - n, suffix, n) == 0;
}

bool slice_num(struct slice s, uint64_t max, uint64_t *v)
{
    uint64_t r = 0;
    if (s.n == 0 || s.n > 19)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        r = r * 10 + (uint64_t)(s.p[i] - '0');
    }
    if (r > max)
        return false;
    *v = r;
    return true;
}

bool slice_has_token(struct slice list, const char *token)
{
    size_t len = strlen(token), i = 0;
    while (i < list.n) {
        while (i < list.n && (list.p[i] == ' ' || list.p[i] == ',' || list.p[i] == '\t'))
            i++;
        size_t from = i;
        while (i < list.n && list.p[i] != ',')
            i++;
        size_t to = i;
        while (to > from && (list.p[to - 1] == ' ' || list.p[to - 1] == '\t'))
            to--;
        if (to - from == len && strncasecmp(list.p + from, token, len) == 0)
            return true;
    }
    return false;
}
