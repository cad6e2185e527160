/* SPDX-License-Identifier: Apache-2.0 */
/* Deferred frees of a persistent structure. */
#include "base/garbage.h"

#include <string.h>

#include "base/mem.h"

void garbage_add(struct garbage *g, void *p, drop_fn *drop, uint64_t born)
{
    if (g->n == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 16;
        g->items = mem_resize(g->items, g->cap * sizeof(*g->items));
    }
    g->items[g->n++] = (struct garbage_item){p, drop, born};
}

void garbage_sift(struct garbage *from, uint64_t kept, struct garbage *into)
{
    for (size_t i = 0; i < from->n; i++) {
        struct garbage_item *it = &from->items[i];
        if (it->born > kept)
            it->drop(it->p);
        else
            garbage_add(into, it->p, it->drop, it->born);
    }
    free(from->items);
    *from = (struct garbage){0};
}

void garbage_fini(struct garbage *g)
{
    for (size_t i = 0; i < g->n; i++)
        g->items[i].drop(g->items[i].p);
    free(g->items);
    *g = (struct garbage){0};
}
