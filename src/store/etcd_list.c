/* SPDX-License-Identifier: Apache-2.0 */
/* Lists out of etcd: all of a prefix with its values, or its keys and then the values of some, at
 * one revision. */
#include "base/mem.h"
#include "store/etcd_int.h"
#include "store/etcd_sync.h"
#include "store/etcd_wire.h"

/* Values of picked keys that are read at once: etcd takes 1.5 MiB each, and 128 operations. */
enum { VALUES_AT_ONCE = 100 };

static bool gather(void *arg, struct store_item *items, size_t n)
{
    struct store_batch *all = arg;

    for (size_t i = 0; i < n; i++)
        store_batch_copy(all, &items[i]);
    return true;
}

static int by_age(const void *a, const void *b)
{
    const struct store_item *one = a, *two = b;

    if (one->created != two->created)
        return one->created < two->created ? -1 : 1;
    return str_cmp(one->key, two->key);
}

/* All items of the list in its order, their keys with etcd's prefix. False with *err. */
static bool all_read(struct etcd *e, const struct store_pick *p, struct store_batch *all,
                     struct str *err)
{
    struct etcd_pages pages = {.client = e->caller,
                               .prefix = arena_join(&all->arena, e->prefix, p->prefix),
                               .keys_only = p->want != NULL,
                               .few = true,
                               .each = gather,
                               .arg = all};

    if (!etcd_pages_read(&pages, &all->revision, err))
        return false;
    if (all->n > 0 && !p->by_key) /* etcd's own order is that of the keys */
        qsort(all->items, all->n, sizeof(*all->items), by_age);
    return true;
}

static struct store_item bare_item(const struct etcd *e, const struct store_item *item)
{
    struct store_item bare = *item;

    bare.key = str_from(item->key, e->prefix.n);
    return bare;
}

/* The values of n items as they were at that revision, given to p->each. *go: it wants more. */
static bool values_give(struct etcd *e, const struct store_pick *p, const struct store_item *items,
                        size_t n, int64_t revision, bool *go, struct str *err)
{
    json_t *txn = etcd_txn_request();
    bool good = true;
    struct arena a;

    for (size_t i = 0; i < n; i++)
        etcd_txn_get(txn, items[i].key, revision);
    json_t *reply = etcd_ask(e, false, "/v3/kv/txn", txn, err);
    if (!reply)
        return false;
    arena_init(&a, NULL);
    for (size_t i = 0; i < n && good && *go; i++) {
        struct store_item item;
        good = etcd_txn_read(reply, i, &a, &item) && item.value.p;
        if (good) {
            item = bare_item(e, &item);
            *go = p->each(p->arg, &item);
        } else {
            etcd_garbled(err);
        }
    }
    arena_fini(&a);
    json_decref(reply);
    return good;
}

static bool some_give(struct etcd *e, const struct store_pick *p, struct store_batch *all,
                      struct str *err)
{
    size_t wanted = 0;
    bool good = true, go = true;

    for (size_t i = 0; i < all->n; i++)
        if (p->want(p->arg, str_from(all->items[i].key, e->prefix.n)))
            all->items[wanted++] = all->items[i];
    for (size_t i = 0; i < wanted && good && go; i += VALUES_AT_ONCE) {
        size_t n = wanted - i < VALUES_AT_ONCE ? wanted - i : VALUES_AT_ONCE;
        good = values_give(e, p, &all->items[i], n, all->revision, &go, err);
    }
    return good;
}

enum store_status etcd_pick(struct store *store, const struct store_pick *p, struct str *err)
{
    struct etcd *e = etcd_of(store);
    struct store_batch *all = store_batch_new();
    bool good = all_read(e, p, all, err), go = true;

    if (good && p->want)
        good = some_give(e, p, all, err);
    for (size_t i = 0; i < all->n && good && go && !p->want; i++) {
        struct store_item item = bare_item(e, &all->items[i]);
        go = p->each(p->arg, &item);
    }
    store_batch_free(all);
    return good ? STORE_OK : STORE_FAILED;
}

enum store_status etcd_list(struct store *store, struct str prefix,
                            bool (*each)(void *arg, const struct store_item *item), void *arg,
                            struct str *err)
{
    struct store_pick all = {.prefix = prefix, .each = each, .arg = arg};

    return etcd_pick(store, &all, err);
}
