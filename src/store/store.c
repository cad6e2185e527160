/* SPDX-License-Identifier: Apache-2.0 */
/* What stores share: batches of changes, and writes of one. */
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

void store_batch_copy(struct store_batch *b, const struct store_item *item)
{
    struct store_item copy = *item;

    copy.key = arena_str(&b->arena, item->key);
    if (item->value.p)
        copy.value = arena_str(&b->arena, item->value);
    store_batch_add(b, &copy);
}

/* ---- Tables ------------------------------------------------------------------------------------
 */

const struct store_item *store_batch_find(const struct store_batch *b, struct str key)
{
    for (size_t low = 0, high = b->n; low < high;) {
        size_t middle = low + (high - low) / 2;
        int order = str_cmp(b->items[middle].key, key);
        if (order == 0)
            return &b->items[middle];
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return NULL;
}

static int by_age(const void *a, const void *b)
{
    const struct store_item *const *one = a, *const *two = b;

    if ((*one)->created != (*two)->created)
        return (*one)->created < (*two)->created ? -1 : 1;
    return str_cmp((*one)->key, (*two)->key);
}

void store_batch_pick(const struct store_batch *b, const struct store_pick *p)
{
    const struct store_item **found = mem_array(b->n + 1, sizeof(*found));
    size_t n = 0, wanted = 0;
    bool go = true;

    for (size_t i = 0; i < b->n; i++)
        if (str_starts(b->items[i].key, p->prefix))
            found[n++] = &b->items[i];
    if (!p->by_key)
        qsort(found, n, sizeof(*found), by_age);
    for (size_t i = 0; i < n; i++)
        if (!p->want || p->want(p->arg, found[i]->key))
            found[wanted++] = found[i];
    for (size_t i = 0; i < wanted && go; i++)
        go = p->each(p->arg, found[i]);
    free(found);
}

void store_batch_list(const struct store_batch *b, struct str prefix,
                      bool (*each)(void *arg, const struct store_item *item), void *arg)
{
    store_batch_pick(b, &(struct store_pick){.prefix = prefix, .each = each, .arg = arg});
}

struct store_batch *store_batch_compare(const struct store_batch *old, struct store_batch *new,
                                        int64_t revision)
{
    struct store_batch *changes = store_batch_new();
    size_t i = 0;

    for (size_t k = 0; k <= new->n; k++) {
        struct store_item *item = k < new->n ? &new->items[k] : NULL;
        while (i < old->n && (!item || str_cmp(old->items[i].key, item->key) < 0)) {
            struct store_item gone = {.key = old->items[i++].key, .modified = revision};
            store_batch_copy(changes, &gone);
        }
        if (!item)
            break;
        const struct store_item *was = i < old->n && str_eq(old->items[i].key, item->key)
                                           ? &old->items[i++]
                                           : NULL;
        item->created = was ? was->created : revision;
        item->modified = was && str_eq(was->value, item->value) ? was->modified : revision;
        if (item->modified == revision)
            store_batch_copy(changes, item);
    }
    changes->revision = revision;
    return changes;
}

/* ---- Memory ------------------------------------------------------------------------------------
 */

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

enum store_status store_put(struct store *s, struct str key, struct str value, int64_t expect,
                            struct store_item *out, struct str *err)
{
    struct store_change change = {.key = key, .value = value, .expect = expect};
    struct store_write w = {.changes = &change, .n = 1};
    enum store_status status = s->ops->write(s, &w, err);

    if (out && status == STORE_OK)
        *out = (struct store_item){key, value, change.created, w.revision};
    return status;
}

enum store_status store_del(struct store *s, struct str key, int64_t *revision, struct str *err)
{
    struct store_change change = {.key = key, .expect = -1};
    struct store_write w = {.changes = &change, .n = 1};
    enum store_status status = s->ops->write(s, &w, err);

    if (revision && status == STORE_OK)
        *revision = w.revision;
    return status;
}
