/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes hang in the chains of a hash table, items on nodes; what an item costs is counted here. */
#include "plugin/proxy_cache_index.h"

#include "base/mem.h"

enum {
    VARIANTS_MAX = 64, /* of one key; the oldest goes (APISIX's number) */
    BLOCK = 4096,      /* of a disk */
};

/* ---- Vary -------------------------------------------------------------------------------------
 */

struct cache_vary *cache_vary_new(struct str names)
{
    if (!names.n)
        return NULL;
    struct cache_vary *v = mem_alloc(sizeof(*v) + names.n);
    atomic_init(&v->refs, 1);
    v->n = names.n;
    memcpy(v->names, names.p, names.n);
    return v;
}

struct str cache_vary_names(const struct cache_vary *v)
{
    return v ? str_make(v->names, v->n) : STR_NONE;
}

void cache_vary_put(struct cache_vary *v)
{
    if (v && atomic_fetch_sub(&v->refs, 1) == 1)
        free(v);
}

/* ---- Nodes and items; the shard is locked -----------------------------------------------------
 */

static bool same(struct hash128 x, struct hash128 y)
{
    return x.a == y.a && x.b == y.b;
}

struct cache_shard *cache_shard(struct cache_zone *z, struct hash128 key)
{
    return &z->shards[key.b % SHARDS];
}

static struct cache_node **chain_of(struct cache_zone *z, struct hash128 key)
{
    /* A chain must belong to one shard: its number ends as the shard's does. */
    size_t i = (size_t)(key.a * SHARDS + key.b % SHARDS) & z->chain_mask;

    return &z->chains[i];
}

struct cache_node *cache_node_find(struct cache_zone *z, struct hash128 key)
{
    struct cache_node *n = *chain_of(z, key);

    while (n && !same(n->key, key))
        n = n->next;
    return n;
}

struct cache_node *cache_node_make(struct cache_zone *z, struct hash128 key)
{
    struct cache_node **chain = chain_of(z, key), *n = cache_node_find(z, key);

    if (n)
        return n;
    n = mem_zero(sizeof(*n));
    n->key = key;
    list_init(&n->items);
    n->next = *chain;
    *chain = n;
    return n;
}

void cache_node_drop_if_empty(struct cache_zone *z, struct cache_node *n)
{
    struct cache_node **at = chain_of(z, n->key);

    if (n->nitems)
        return;
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    cache_vary_put(n->vary);
    free(n);
}

struct cache_item *cache_item_find(struct cache_node *n, struct hash128 variant)
{
    for (struct list *l = n ? n->items.next : NULL; l && l != &n->items; l = l->next) {
        struct cache_item *item = CONTAINER(l, struct cache_item, link);
        if (same(item->variant, variant))
            return item;
    }
    return NULL;
}

static void memory_add(struct cache_zone *z, size_t n)
{
    atomic_fetch_add(&z->memory_used, n);
}

static void memory_sub(struct cache_zone *z, size_t n)
{
    atomic_fetch_sub(&z->memory_used, n);
}

/* The item's entry leaves memory. */
void cache_item_cool(struct cache_zone *z, struct cache_item *item)
{
    if (!item->entry)
        return;
    memory_sub(z, item->entry->size);
    list_remove(&item->warm);
    entry_put(item->entry);
    item->entry = NULL;
}

void cache_item_warm(struct cache_zone *z, struct cache_item *item, struct cache_entry *e)
{
    item->entry = entry_get(e);
    memory_add(z, e->size);
    list_push(&cache_shard(z, item->node->key)->warm, &item->warm);
}

static void remove_later(struct cache_zone *z, struct cache_chores **chores, uint64_t file)
{
    struct cache_chores *c = *chores;

    if (!c) {
        c = *chores = mem_zero(sizeof(*c));
        c->zone = z;
    }
    if (c->nremove == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 8;
        c->remove = mem_resize(c->remove, c->cap * sizeof(*c->remove));
    }
    c->remove[c->nremove++] = file;
}

/* The item goes; its file, if it has one, is to be removed. The node stays, even if empty. */
void cache_item_drop(struct cache_zone *z, struct cache_item *item, struct cache_chores **chores)
{
    cache_item_cool(z, item);
    memory_sub(z, ITEM_COST);
    if (item->disk_bytes) {
        atomic_fetch_sub(&z->disk_used, item->disk_bytes);
        if (chores)
            remove_later(z, chores, item->file);
    }
    list_remove(&item->used);
    list_remove(&item->link);
    item->node->nitems--;
    free(item);
}

void cache_node_clear(struct cache_zone *z, struct cache_node *n, struct cache_chores **chores)
{
    while (!list_empty(&n->items))
        cache_item_drop(z, CONTAINER(n->items.next, struct cache_item, link), chores);
}

/* A new item at the front of all lists, without its entry. */
struct cache_item *cache_item_make(struct cache_zone *z, struct cache_node *n,
                                   struct hash128 variant, const struct cache_facts *facts,
                                   uint64_t file, uint64_t file_size, struct cache_chores **chores)
{
    if (n->nitems >= VARIANTS_MAX)
        cache_item_drop(z, CONTAINER(n->items.prev, struct cache_item, link), chores);
    struct cache_item *item = mem_zero(sizeof(*item));
    item->node = n;
    item->variant = variant;
    item->facts = *facts;
    item->file = file;
    item->disk_bytes = (file_size + BLOCK - 1) / BLOCK * BLOCK;
    list_init(&item->warm);
    list_push(&n->items, &item->link);
    n->nitems++;
    list_push(&cache_shard(z, n->key)->used, &item->used);
    memory_add(z, ITEM_COST);
    atomic_fetch_add(&z->disk_used, item->disk_bytes);
    return item;
}
