/* SPDX-License-Identifier: Apache-2.0 */
/* What the newest version of a persistent structure no longer reaches, but older versions may. Each
 * thing carries the version it was born in: versions from `born` to the one that holds the list can
 * reach it, no others. Not thread-safe. */
#ifndef BASE_GARBAGE_H
#define BASE_GARBAGE_H

#include <stddef.h>
#include <stdint.h>

typedef void drop_fn(void *p);

struct garbage_item {
    void *p;
    drop_fn *drop;
    uint64_t born;
};

struct garbage {
    struct garbage_item *items;
    size_t n, cap;
};

/* Takes p; drop(p) frees it some time later. The zeroed struct is an empty list. */
void garbage_add(struct garbage *g, void *p, drop_fn *drop, uint64_t born);
/* Frees what was born after version `kept`, the next older version that is still held, and moves
 * the rest, which that version may reach, to its list. `from` is left empty, without memory. */
void garbage_sift(struct garbage *from, uint64_t kept, struct garbage *into);
/* Frees everything. */
void garbage_fini(struct garbage *g);

#endif
