/* SPDX-License-Identifier: Apache-2.0 */
/* What stores share: batches of changes. */
#include "store/store.h"

#include <malloc.h>

#include "base/mem.h"

/* Items that take some megabytes. */
enum { LARGE = 5000 };

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

bool store_batch_is_large(const struct store_batch *b)
{
    return b->n >= LARGE;
}

void store_batch_free(struct store_batch *b)
{
    bool large = store_batch_is_large(b);

    arena_fini(&b->arena);
    free(b->items);
    free(b);
    if (large)
        malloc_trim(0);
}
