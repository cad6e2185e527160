/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for many small pieces that live long, packed by size so that what is read together shares
 * few cache lines and pages. A piece that fits into a cache line is in one. With ARENA_MALLOC
 * defined (sanitizer builds) every piece is an allocation of its own. */
#ifndef BASE_SLAB_H
#define BASE_SLAB_H

#include <stddef.h>

#include "base/list.h"

enum { SLAB_CLASSES = 7, SLAB_MAX = 256 };

/* Pieces of several sizes. Not thread-safe: one thread takes and gives back, any may read. */
struct slabs {
    struct list open[SLAB_CLASSES]; /* blocks with room */
    struct list regions;            /* that have unused blocks */
    size_t nregions;
    size_t taken; /* pieces in use */
};

void slabs_init(struct slabs *s);
/* All pieces must have been given back. */
void slabs_fini(struct slabs *s);

/* At most SLAB_MAX bytes, aligned to 16; not zeroed; never NULL. */
void *slab_take(struct slabs *s, size_t n) __attribute__((returns_nonnull));
/* A piece finds its way back by itself; NULL is fine. Memory that is no longer used at all goes
 * back to the system. */
void slab_give(void *p);

#endif
