/* SPDX-License-Identifier: Apache-2.0 */
/* The index of a zone, and what it holds in memory.
 *
 * Items hang on nodes, one node for a cache key, and nodes in the chains of a hash table; the table
 * is cut into shards with a mutex each. This is the one lock on a request's way: it guards lists
 * that a look-up must change (least recently used), is held for one look-up or one insertion, never
 * across allocation of a body, a copy of one or a file, and with 16 shards two threads seldom meet.
 * Two shards are never locked at once. Entries are counted references and never change, so a hit
 * leaves with its reference and sends the bytes where they lie. */
#include <pthread.h>
#include <sys/random.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/panic.h"
#include "plugin/proxy_cache_zone.h"

enum {
    SHARDS = 16,
    VARIANTS_MAX = 64, /* of one key; the oldest goes (APISIX's number) */
    ITEM_COST = 384,   /* memory of an item and its share of a node, about */
    BLOCK = 4096,      /* of a disk */
};

struct node {
    struct node *next; /* in its chain */
    struct hash128 key;
    struct list items; /* newest first */
    unsigned nitems;
    struct vary *vary; /* NULL: responses do not vary */
};

/* The header names that a key's responses vary by; shared with look-ups under way. */
struct vary {
    atomic_uint refs;
    size_t n;
    char names[];
};

struct item {
    struct list used; /* in the shard's list of all */
    struct list warm; /* in the shard's list of those in memory; disk zones */
    struct list link; /* in its node */
    struct node *node;
    struct hash128 variant;
    struct cache_facts facts;
    struct cache_entry *entry; /* NULL: only in the file */
    uint64_t file;             /* names the item; a file only in disk zones */
    uint64_t disk_bytes;       /* 0: a memory zone */
};

struct shard {
    pthread_mutex_t mutex;
    struct list used, warm; /* newest first */
    char apart[64];         /* its neighbour is another cache line */
};

struct cache_zone {
    struct cache_zone_conf conf;
    struct shard shards[SHARDS];
    struct node **chains;
    size_t chain_mask;
    atomic_uint_least64_t memory_used, disk_used, lent, next_file;
    uint64_t first_file;
    struct disk_scan *scan;
};

/* ---- Making -----------------------------------------------------------------------------------
 */

struct cache_zone *zone_new(const struct cache_zone_conf *conf)
{
    struct cache_zone *z = mem_zero(sizeof(*z));
    size_t chains = 1024;
    uint32_t nonce;

    z->conf = *conf;
    z->conf.name.p = str_dup(conf->name);
    if (conf->disk_path.p)
        z->conf.disk_path.p = str_dup(conf->disk_path);
    while (chains < conf->memory_size / 1024 && chains < 1 << 20)
        chains *= 2;
    z->chain_mask = chains - 1;
    z->chains = mem_zero(chains * sizeof(struct node *));
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&z->shards[i].mutex, NULL);
        list_init(&z->shards[i].used);
        list_init(&z->shards[i].warm);
    }
    if (getrandom(&nonce, sizeof(nonce), 0) != (ssize_t)sizeof(nonce))
        PANIC("no random bytes from the kernel");
    z->first_file = (uint64_t)nonce << 32;
    atomic_init(&z->next_file, z->first_file);
    return z;
}

const struct cache_zone_conf *zone_conf(const struct cache_zone *z)
{
    return &z->conf;
}

uint64_t zone_new_file(struct cache_zone *z)
{
    return atomic_fetch_add(&z->next_file, 1) + 1;
}

bool zone_is_new_file(const struct cache_zone *z, uint64_t file)
{
    return file >> 32 == z->first_file >> 32;
}

struct disk_scan **zone_scan(struct cache_zone *z)
{
    return &z->scan;
}

uint64_t zone_memory_used(struct cache_zone *z)
{
    return atomic_load(&z->memory_used);
}

uint64_t zone_disk_used(struct cache_zone *z)
{
    return atomic_load(&z->disk_used);
}

static bool is_disk(const struct cache_zone *z)
{
    return z->conf.disk_path.p != NULL;
}

static bool same(struct hash128 x, struct hash128 y)
{
    return x.a == y.a && x.b == y.b;
}

/* ---- Bytes on their way -----------------------------------------------------------------------
 */

bool zone_borrow(struct cache_zone *z, size_t n)
{
    if (atomic_fetch_add(&z->lent, n) + n <= z->conf.memory_size)
        return true;
    zone_repay(z, n);
    return false;
}

void zone_repay(struct cache_zone *z, size_t n)
{
    atomic_fetch_sub(&z->lent, n);
}

size_t zone_entry_max(const struct cache_zone *z)
{
    uint64_t max = z->conf.memory_size;

    if (is_disk(z) && z->conf.disk_size < max)
        max = z->conf.disk_size;
    return (size_t)max;
}

/* ---- Vary -------------------------------------------------------------------------------------
 */

static struct vary *vary_new(struct str names)
{
    if (!names.n)
        return NULL;
    struct vary *v = mem_alloc(sizeof(*v) + names.n);
    atomic_init(&v->refs, 1);
    v->n = names.n;
    memcpy(v->names, names.p, names.n);
    return v;
}

static struct str vary_names(const struct vary *v)
{
    return v ? str_make(v->names, v->n) : STR_NONE;
}

static void vary_put(struct vary *v)
{
    if (v && atomic_fetch_sub(&v->refs, 1) == 1)
        free(v);
}

/* ---- Nodes and items; the shard is locked -----------------------------------------------------
 */

static struct shard *shard_of(struct cache_zone *z, struct hash128 key)
{
    return &z->shards[key.b % SHARDS];
}

static struct node **chain_of(struct cache_zone *z, struct hash128 key)
{
    /* A chain must belong to one shard: its number ends as the shard's does. */
    size_t i = (size_t)(key.a * SHARDS + key.b % SHARDS) & z->chain_mask;

    return &z->chains[i];
}

static struct node *node_find(struct cache_zone *z, struct hash128 key)
{
    struct node *n = *chain_of(z, key);

    while (n && !same(n->key, key))
        n = n->next;
    return n;
}

static struct node *node_make(struct cache_zone *z, struct hash128 key)
{
    struct node **chain = chain_of(z, key), *n = node_find(z, key);

    if (n)
        return n;
    n = mem_zero(sizeof(*n));
    n->key = key;
    list_init(&n->items);
    n->next = *chain;
    *chain = n;
    return n;
}

static void node_drop_if_empty(struct cache_zone *z, struct node *n)
{
    struct node **at = chain_of(z, n->key);

    if (n->nitems)
        return;
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    vary_put(n->vary);
    free(n);
}

static struct item *item_find(struct node *n, struct hash128 variant)
{
    for (struct list *l = n ? n->items.next : NULL; l && l != &n->items; l = l->next) {
        struct item *item = CONTAINER(l, struct item, link);
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
static void item_cool(struct cache_zone *z, struct item *item)
{
    if (!item->entry)
        return;
    memory_sub(z, item->entry->size);
    list_remove(&item->warm);
    entry_put(item->entry);
    item->entry = NULL;
}

static void item_warm(struct cache_zone *z, struct item *item, struct cache_entry *e)
{
    item->entry = entry_get(e);
    memory_add(z, e->size);
    list_push(&shard_of(z, item->node->key)->warm, &item->warm);
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
static void item_drop(struct cache_zone *z, struct item *item, struct cache_chores **chores)
{
    item_cool(z, item);
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

static void node_clear(struct cache_zone *z, struct node *n, struct cache_chores **chores)
{
    while (!list_empty(&n->items))
        item_drop(z, CONTAINER(n->items.next, struct item, link), chores);
}

/* A new item at the front of all lists, without its entry. */
static struct item *item_make(struct cache_zone *z, struct node *n, struct hash128 variant,
                              const struct cache_facts *facts, uint64_t file, uint64_t file_size,
                              struct cache_chores **chores)
{
    if (n->nitems >= VARIANTS_MAX)
        item_drop(z, CONTAINER(n->items.prev, struct item, link), chores);
    struct item *item = mem_zero(sizeof(*item));
    item->node = n;
    item->variant = variant;
    item->facts = *facts;
    item->file = file;
    item->disk_bytes = (file_size + BLOCK - 1) / BLOCK * BLOCK;
    list_init(&item->warm);
    list_push(&n->items, &item->link);
    n->nitems++;
    list_push(&shard_of(z, n->key)->used, &item->used);
    memory_add(z, ITEM_COST);
    atomic_fetch_add(&z->disk_used, item->disk_bytes);
    return item;
}

void zone_free(struct cache_zone *z)
{
    if (!z)
        return;
    for (size_t i = 0; i <= z->chain_mask; i++)
        while (z->chains[i]) {
            node_clear(z, z->chains[i], NULL);
            node_drop_if_empty(z, z->chains[i]);
        }
    ASSERT(zone_memory_used(z) == 0 && zone_disk_used(z) == 0);
    for (unsigned i = 0; i < SHARDS; i++)
        pthread_mutex_destroy(&z->shards[i].mutex);
    free((void *)(uintptr_t)z->conf.name.p);
    free((void *)(uintptr_t)z->conf.disk_path.p);
    free(z->chains);
    free(z);
}

/* ---- Eviction ---------------------------------------------------------------------------------
 */

static bool memory_is_full(struct cache_zone *z)
{
    return zone_memory_used(z) > z->conf.memory_size;
}

static bool is_full(struct cache_zone *z)
{
    return memory_is_full(z) || (is_disk(z) && zone_disk_used(z) > z->conf.disk_size);
}

/* Entries of the shard leave memory, those used least lately first, but `keep`'s. */
static void shard_cool(struct cache_zone *z, struct shard *s, const struct item *keep)
{
    while (memory_is_full(z) && !list_empty(&s->warm)) {
        struct item *item = CONTAINER(s->warm.prev, struct item, warm);
        if (item == keep)
            break;
        item_cool(z, item);
    }
}

static void shard_drop(struct cache_zone *z, struct shard *s, const struct item *keep,
                       struct cache_chores **chores)
{
    while (is_full(z) && !list_empty(&s->used)) {
        struct item *item = CONTAINER(s->used.prev, struct item, used);
        struct node *n = item->node;
        if (item == keep)
            break;
        item_drop(z, item, chores);
        node_drop_if_empty(z, n);
    }
}

/* Makes the zone as small as it must be, from the key's shard on; no shard is locked. A disk zone
 * gives up copies in memory before it gives up files. `keep` is only compared: it may be gone. */
static void evict(struct cache_zone *z, const struct shard *from, const struct item *keep,
                  struct cache_chores **chores)
{
    size_t first = (size_t)(from - z->shards);

    for (unsigned drop = is_disk(z) ? 0 : 1; drop <= 1; drop++)
        for (unsigned i = 0; i < SHARDS && is_full(z); i++) {
            struct shard *s = &z->shards[(first + i) % SHARDS];
            pthread_mutex_lock(&s->mutex);
            if (drop)
                shard_drop(z, s, keep, chores);
            else
                shard_cool(z, s, keep);
            pthread_mutex_unlock(&s->mutex);
        }
}

/* ---- Looking up -------------------------------------------------------------------------------
 */

static void take_item(struct cache_zone *z, struct item *item, struct cache_find *out)
{
    struct shard *s = shard_of(z, item->node->key);

    list_remove(&item->used);
    list_push(&s->used, &item->used);
    out->found = true;
    out->facts = item->facts;
    out->file = item->file;
    out->bytes = item->entry ? 0 : item->disk_bytes;
    if (!item->entry)
        return;
    out->entry = entry_get(item->entry);
    list_remove(&item->warm);
    list_push(&s->warm, &item->warm);
}

void zone_find(struct cache_zone *z, struct hash128 key, struct hash128 plain,
               struct hash128 (*variant)(void *arg, struct str names), void *arg,
               struct cache_id *id, struct cache_find *out)
{
    struct shard *s = shard_of(z, key);
    struct vary *vary = NULL;

    *out = (struct cache_find){.found = false};
    *id = (struct cache_id){key, plain};
    pthread_mutex_lock(&s->mutex);
    struct node *n = node_find(z, key);
    if (n && n->vary) {
        vary = n->vary;
        atomic_fetch_add(&vary->refs, 1);
        pthread_mutex_unlock(&s->mutex);
        id->variant = variant(arg, vary_names(vary));
        pthread_mutex_lock(&s->mutex);
        n = node_find(z, key);
    }
    /* What it varies by has changed meanwhile: the variant is not one of these. */
    struct item *item = n && n->vary == vary ? item_find(n, id->variant) : NULL;
    if (item)
        take_item(z, item, out);
    pthread_mutex_unlock(&s->mutex);
    vary_put(vary);
}

/* ---- Changing ---------------------------------------------------------------------------------
 */

/* The key's node for a response that varies by `names`; other responses of it no longer match. */
static struct node *node_for(struct cache_zone *z, struct hash128 key, struct str names,
                             struct cache_chores **chores)
{
    struct node *n = node_make(z, key);

    if (str_eq(vary_names(n->vary), names))
        return n;
    node_clear(z, n, chores);
    vary_put(n->vary);
    n->vary = vary_new(names);
    return n;
}

struct cache_chores *zone_put(struct cache_zone *z, const struct cache_id *id,
                              struct cache_entry *e)
{
    struct shard *s = shard_of(z, id->key);
    struct cache_chores *chores = NULL;
    uint64_t file = zone_new_file(z);

    if (e->size + ITEM_COST > zone_entry_max(z)) {
        entry_put(e);
        return NULL;
    }
    if (is_disk(z)) {
        chores = mem_zero(sizeof(*chores));
        chores->zone = z;
        chores->id = *id;
        chores->file = file;
        chores->write = entry_get(e);
    }
    pthread_mutex_lock(&s->mutex);
    struct node *n = node_for(z, id->key, e->vary, &chores);
    struct item *old = item_find(n, id->variant);
    if (old)
        item_drop(z, old, &chores);
    struct item *item = item_make(z, n, id->variant, &e->facts, file,
                                  is_disk(z) ? e->head_size + e->body.n : 0, &chores);
    item_warm(z, item, e);
    pthread_mutex_unlock(&s->mutex);
    evict(z, s, item, &chores);
    entry_put(e);
    return chores;
}

bool zone_purge(struct cache_zone *z, struct hash128 key, struct cache_chores **chores)
{
    struct shard *s = shard_of(z, key);

    *chores = NULL;
    pthread_mutex_lock(&s->mutex);
    struct node *n = node_find(z, key);
    if (n) {
        node_clear(z, n, chores);
        node_drop_if_empty(z, n);
    }
    pthread_mutex_unlock(&s->mutex);
    return n != NULL;
}

static struct item *item_of_file(struct cache_zone *z, const struct cache_id *id, uint64_t file)
{
    struct item *item = item_find(node_find(z, id->key), id->variant);

    return item && item->file == file ? item : NULL;
}

void zone_forget(struct cache_zone *z, const struct cache_id *id, uint64_t file)
{
    struct shard *s = shard_of(z, id->key);

    pthread_mutex_lock(&s->mutex);
    struct item *item = item_of_file(z, id, file);
    if (item) {
        struct node *n = item->node;
        item_drop(z, item, NULL);
        node_drop_if_empty(z, n);
    }
    pthread_mutex_unlock(&s->mutex);
}

bool zone_has(struct cache_zone *z, const struct cache_id *id, uint64_t file)
{
    struct shard *s = shard_of(z, id->key);

    pthread_mutex_lock(&s->mutex);
    bool has = item_of_file(z, id, file) != NULL;
    pthread_mutex_unlock(&s->mutex);
    return has;
}

void zone_warm(struct cache_zone *z, const struct cache_id *id, uint64_t file,
               struct cache_entry *e)
{
    struct shard *s = shard_of(z, id->key);

    pthread_mutex_lock(&s->mutex);
    struct item *item = item_of_file(z, id, file);
    if (item && !item->entry) {
        /* Only copies make room for a copy. */
        while (zone_memory_used(z) + e->size > z->conf.memory_size && !list_empty(&s->warm))
            item_cool(z, CONTAINER(s->warm.prev, struct item, warm));
        if (zone_memory_used(z) + e->size <= z->conf.memory_size)
            item_warm(z, item, e);
    }
    pthread_mutex_unlock(&s->mutex);
}

bool zone_restore(struct cache_zone *z, struct cache_entry *e, uint64_t file, uint64_t file_size,
                  struct cache_chores **chores)
{
    struct cache_id id = {hash_str128(e->key), hash_str128(e->variant)};
    struct shard *s = shard_of(z, id.key);

    pthread_mutex_lock(&s->mutex);
    struct node *n = node_find(z, id.key);
    struct item *old = item_find(n, id.variant);
    /* What varies otherwise was stored at another time, too: the newer one counts. */
    if (!old && n && !str_eq(vary_names(n->vary), e->vary) && !list_empty(&n->items))
        old = CONTAINER(n->items.next, struct item, link);
    bool newer = !old ||
                 (!zone_is_new_file(z, old->file) && old->facts.stored_ms <= e->facts.stored_ms);
    if (newer) {
        n = node_for(z, id.key, e->vary, chores);
        old = item_find(n, id.variant);
        if (old)
            item_drop(z, old, chores);
        struct item *item = item_make(z, n, id.variant, &e->facts, file, file_size, chores);
        /* Nobody has asked for it in this process: it is the first to go. */
        list_remove(&item->used);
        list_append(&s->used, &item->used);
    }
    pthread_mutex_unlock(&s->mutex);
    evict(z, s, NULL, chores);
    return newer;
}
