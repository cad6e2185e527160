/* SPDX-License-Identifier: Apache-2.0 */
/* The index of a zone, and what it holds in memory.
 *
 * Items hang on nodes, one node for a cache key, and nodes in the chains of a hash table; the table
 * is cut into shards with a mutex each. This is the one lock on a request's way: it guards lists
 * that a look-up must change (least recently used), is held for one look-up or one insertion, never
 * across allocation of a body, a copy of one or a file, and with 16 shards two threads seldom meet.
 * Two shards are never locked at once. Entries are counted references and never change, so a hit
 * leaves with its reference and sends the bytes where they lie. */

#include "base/mem.h"
#include "base/panic.h"
#include "base/random.h"
#include "plugin/proxy_cache_index.h"

/* ---- Making -----------------------------------------------------------------------------------
 */

struct cache_zone *zone_new(const struct cache_zone_conf *conf)
{
    struct cache_zone *z = mem_zero(sizeof(*z));
    size_t chains = 1024;

    z->conf = *conf;
    z->conf.name.p = str_dup(conf->name);
    if (conf->disk_path.p)
        z->conf.disk_path.p = str_dup(conf->disk_path);
    while (chains < conf->memory_size / 1024 && chains < 1 << 20)
        chains *= 2;
    z->chain_mask = chains - 1;
    z->chains = mem_zero(chains * sizeof(struct cache_node *));
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&z->shards[i].mutex, NULL);
        list_init(&z->shards[i].used);
        list_init(&z->shards[i].warm);
    }
    z->first_file = (uint64_t)random_u32() << 32;
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

void zone_free(struct cache_zone *z)
{
    if (!z)
        return;
    for (size_t i = 0; i <= z->chain_mask; i++)
        while (z->chains[i]) {
            cache_node_clear(z, z->chains[i], NULL);
            cache_node_drop_if_empty(z, z->chains[i]);
        }
    ASSERT(zone_memory_used(z) == 0 && zone_disk_used(z) == 0);
    for (unsigned i = 0; i < SHARDS; i++)
        pthread_mutex_destroy(&z->shards[i].mutex);
    free((void *)(uintptr_t)z->conf.name.p);
    free((void *)(uintptr_t)z->conf.disk_path.p);
    free(z->chains);
    free(z);
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

    if (zone_is_disk(z) && z->conf.disk_size < max)
        max = z->conf.disk_size;
    return (size_t)max;
}

/* ---- Eviction ---------------------------------------------------------------------------------
 */

static bool memory_is_full(struct cache_zone *z)
{
    return zone_memory_used(z) > z->conf.memory_size;
}

static bool is_full(struct cache_zone *z)
{
    return memory_is_full(z) || (zone_is_disk(z) && zone_disk_used(z) > z->conf.disk_size);
}

/* Entries of the shard leave memory, those used least lately first, but `keep`'s. */
static void shard_cool(struct cache_zone *z, struct cache_shard *s, const struct cache_item *keep)
{
    while (memory_is_full(z) && !list_empty(&s->warm)) {
        struct cache_item *item = CONTAINER(s->warm.prev, struct cache_item, warm);
        if (item == keep)
            break;
        cache_item_cool(z, item);
    }
}

static void shard_drop(struct cache_zone *z, struct cache_shard *s, const struct cache_item *keep,
                       struct cache_chores **chores)
{
    while (is_full(z) && !list_empty(&s->used)) {
        struct cache_item *item = CONTAINER(s->used.prev, struct cache_item, used);
        struct cache_node *n = item->node;
        if (item == keep)
            break;
        cache_item_drop(z, item, chores);
        cache_node_drop_if_empty(z, n);
    }
}

/* Makes the zone as small as it must be, from the key's shard on; no shard is locked. A disk zone
 * gives up copies in memory before it gives up files. `keep` is only compared: it may be gone. */
static void evict(struct cache_zone *z, const struct cache_shard *from,
                  const struct cache_item *keep, struct cache_chores **chores)
{
    size_t first = (size_t)(from - z->shards);

    for (unsigned drop = zone_is_disk(z) ? 0 : 1; drop <= 1; drop++)
        for (unsigned i = 0; i < SHARDS && is_full(z); i++) {
            struct cache_shard *s = &z->shards[(first + i) % SHARDS];
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

static void take_item(struct cache_zone *z, struct cache_item *item, struct cache_find *out)
{
    struct cache_shard *s = cache_shard(z, item->node->key);

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
    struct cache_shard *s = cache_shard(z, key);
    struct cache_vary *vary = NULL;

    *out = (struct cache_find){.found = false};
    *id = (struct cache_id){key, plain};
    pthread_mutex_lock(&s->mutex);
    struct cache_node *n = cache_node_find(z, key);
    if (n && n->vary) {
        vary = n->vary;
        atomic_fetch_add(&vary->refs, 1);
        pthread_mutex_unlock(&s->mutex);
        id->variant = variant(arg, cache_vary_names(vary));
        pthread_mutex_lock(&s->mutex);
        n = cache_node_find(z, key);
    }
    /* What it varies by has changed meanwhile: the variant is not one of these. */
    struct cache_item *item = n && n->vary == vary ? cache_item_find(n, id->variant) : NULL;
    if (item)
        take_item(z, item, out);
    pthread_mutex_unlock(&s->mutex);
    cache_vary_put(vary);
}

/* ---- Changing ---------------------------------------------------------------------------------
 */

/* The key's node for a response that varies by `names`; other responses of it no longer match. */
static struct cache_node *node_for(struct cache_zone *z, struct hash128 key, struct str names,
                                   struct cache_chores **chores)
{
    struct cache_node *n = cache_node_make(z, key);

    if (str_eq(cache_vary_names(n->vary), names))
        return n;
    cache_node_clear(z, n, chores);
    cache_vary_put(n->vary);
    n->vary = cache_vary_new(names);
    return n;
}

struct cache_chores *zone_put(struct cache_zone *z, const struct cache_id *id,
                              struct cache_entry *e)
{
    struct cache_shard *s = cache_shard(z, id->key);
    struct cache_chores *chores = NULL;
    uint64_t file = zone_new_file(z);

    if (e->size + ITEM_COST > zone_entry_max(z)) {
        entry_put(e);
        return NULL;
    }
    if (zone_is_disk(z)) {
        chores = mem_zero(sizeof(*chores));
        chores->zone = z;
        chores->id = *id;
        chores->file = file;
        chores->write = entry_get(e);
    }
    pthread_mutex_lock(&s->mutex);
    struct cache_node *n = node_for(z, id->key, e->vary, &chores);
    struct cache_item *old = cache_item_find(n, id->variant);
    if (old)
        cache_item_drop(z, old, &chores);
    struct cache_item *item = cache_item_make(z, n, id->variant, &e->facts, file,
                                              zone_is_disk(z) ? e->head_size + e->body.n : 0,
                                              &chores);
    cache_item_warm(z, item, e);
    pthread_mutex_unlock(&s->mutex);
    evict(z, s, item, &chores);
    entry_put(e);
    return chores;
}

bool zone_purge(struct cache_zone *z, struct hash128 key, struct cache_chores **chores)
{
    struct cache_shard *s = cache_shard(z, key);

    *chores = NULL;
    pthread_mutex_lock(&s->mutex);
    struct cache_node *n = cache_node_find(z, key);
    if (n) {
        cache_node_clear(z, n, chores);
        cache_node_drop_if_empty(z, n);
    }
    pthread_mutex_unlock(&s->mutex);
    return n != NULL;
}

static struct cache_item *item_of_file(struct cache_zone *z, const struct cache_id *id,
                                       uint64_t file)
{
    struct cache_item *item = cache_item_find(cache_node_find(z, id->key), id->variant);

    return item && item->file == file ? item : NULL;
}

void zone_forget(struct cache_zone *z, const struct cache_id *id, uint64_t file)
{
    struct cache_shard *s = cache_shard(z, id->key);

    pthread_mutex_lock(&s->mutex);
    struct cache_item *item = item_of_file(z, id, file);
    if (item) {
        struct cache_node *n = item->node;
        cache_item_drop(z, item, NULL);
        cache_node_drop_if_empty(z, n);
    }
    pthread_mutex_unlock(&s->mutex);
}

bool zone_has(struct cache_zone *z, const struct cache_id *id, uint64_t file)
{
    struct cache_shard *s = cache_shard(z, id->key);

    pthread_mutex_lock(&s->mutex);
    bool has = item_of_file(z, id, file) != NULL;
    pthread_mutex_unlock(&s->mutex);
    return has;
}

void zone_warm(struct cache_zone *z, const struct cache_id *id, uint64_t file,
               struct cache_entry *e)
{
    struct cache_shard *s = cache_shard(z, id->key);

    pthread_mutex_lock(&s->mutex);
    struct cache_item *item = item_of_file(z, id, file);
    if (item && !item->entry) {
        /* Only copies make room for a copy. */
        while (zone_memory_used(z) + e->size > z->conf.memory_size && !list_empty(&s->warm))
            cache_item_cool(z, CONTAINER(s->warm.prev, struct cache_item, warm));
        if (zone_memory_used(z) + e->size <= z->conf.memory_size)
            cache_item_warm(z, item, e);
    }
    pthread_mutex_unlock(&s->mutex);
}

bool zone_restore(struct cache_zone *z, struct cache_entry *e, uint64_t file, uint64_t file_size,
                  struct cache_chores **chores)
{
    struct cache_id id = {hash_str128(e->key), hash_str128(e->variant)};
    struct cache_shard *s = cache_shard(z, id.key);

    pthread_mutex_lock(&s->mutex);
    struct cache_node *n = cache_node_find(z, id.key);
    struct cache_item *old = cache_item_find(n, id.variant);
    /* What varies otherwise was stored at another time, too: the newer one counts. */
    if (!old && n && !str_eq(cache_vary_names(n->vary), e->vary) && !list_empty(&n->items))
        old = CONTAINER(n->items.next, struct cache_item, link);
    bool newer = !old ||
                 (!zone_is_new_file(z, old->file) && old->facts.stored_ms <= e->facts.stored_ms);
    if (newer) {
        n = node_for(z, id.key, e->vary, chores);
        old = cache_item_find(n, id.variant);
        if (old)
            cache_item_drop(z, old, chores);
        struct cache_item *item = cache_item_make(z, n, id.variant, &e->facts, file, file_size,
                                                  chores);
        /* Nobody has asked for it in this process: it is the first to go. */
        list_remove(&item->used);
        list_append(&s->used, &item->used);
    }
    pthread_mutex_unlock(&s->mutex);
    evict(z, s, NULL, chores);
    return newer;
}
