/* SPDX-License-Identifier: Apache-2.0 */
/* A growable run of bytes, born with a maximum. Empty ones hold no memory. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct buf {
    char *p;
    size_t n, cap;
    size_t max; /* bytes; adding more fails */
};

void buf_init(struct buf *b, size_t max);
/* Frees the memory; the buffer stays usable, empty. */
void buf_fini(struct buf *b);
/* False, with nothing added, when the maximum would be passed. */
bool buf_add(struct buf *b, struct str s) __attribute__((warn_unused_result));
bool buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Room for n more bytes at the returned place, NULL past the maximum; the caller then adds to b->n.
 */
char *buf_room(struct buf *b, size_t n);
/* Drops the first n bytes. */
void buf_eat(struct buf *b, size_t n);

static inline struct str buf_str(const struct buf *b)
{
    return str_make(b->p ? b->p : "", b->n);
}

#endif
