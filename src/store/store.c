/* SPDX-License-Identifier: Apache-2.0 */
/* What stores share: batches of changes. */
#include "store/store.h"

#include "base/mem.h"

struct store_batch *store_batch_new(void)
{
    struct store_batch *b = mem_zero(sizeof(*b));

    arena_init(&b->arena, NULL);
    return b;
}

void store_batch_add(struct store_batch *b, const struct store_item *item)
{
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 16;
        b->items = mem_resize(b->items, b->cap * sizeof(*b->items));
    }
    b->items[b->n++] = *item;
}

void store_batch_free(struct store_batch *b)
{
    arena_fini(&b->arena);
    free(b->items);
    free(b);
}
