/* SPDX-License-Identifier: Apache-2.0 */
/* Growable bytes with a maximum. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_fini(struct buf *b)
{
    free(b->p);
    buf_init(b, b->max);
}

char *buf_room(struct buf *b, size_t n)
{
    if (n > b->max || b->n > b->max - n)
        return NULL;
    if (b->cap - b->n < n) {
        size_t cap = b->cap ? b->cap * 2 : 512;
        while (cap < b->n + n)
            cap *= 2;
        if (cap > b->max)
            cap = b->max;
        b->p = mem_resize(b->p, cap);
        b->cap = cap;
    }
    return b->p + b->n;
}

bool buf_add(struct buf *b, struct str s)
{
    char *at;

    if (s.n == 0)
        return true;
    at = buf_room(b, s.n);
    if (!at)
        return false;
    memcpy(at, s.p, s.n);
    b->n += s.n;
    return true;
}

bool buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    /* vsnprintf wants a byte more for its NUL, which is not counted. */
    char *at = n < 0 ? NULL : buf_room(b, (size_t)n + 1);
    if (!at)
        return false;
    va_start(ap, fmt);
    vsnprintf(at, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
    return true;
}

void buf_eat(struct buf *b, size_t n)
{
    if (n >= b->n) {
        b->n = 0;
        return;
    }
    if (!n)
        return;
    memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}
