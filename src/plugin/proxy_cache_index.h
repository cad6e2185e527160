/* SPDX-License-Identifier: Apache-2.0 */
/* The index behind a zone: nodes and items, and the lists that they are on. For
 * proxy_cache_memory.c alone, which locks the shard that it works on. */
#ifndef PLUGIN_PROXY_CACHE_INDEX_H
#define PLUGIN_PROXY_CACHE_INDEX_H

#include <pthread.h>

#include "base/list.h"
#include "plugin/proxy_cache_zone.h"

enum {
    SHARDS = 16,
    ITEM_COST = 384, /* memory of an item and its share of a node, about */
};

struct cache_node {
    struct cache_node *next; /* in its chain */
    struct hash128 key;
    struct list items; /* newest first */
    unsigned nitems;
    struct cache_vary *vary; /* NULL: responses do not vary */
};

/* The header names that a key's responses vary by; shared with look-ups under way. */
struct cache_vary {
    atomic_uint refs;
    size_t n;
    char names[];
};

struct cache_item {
    struct list used; /* in the shard's list of all */
    struct list warm; /* in the shard's list of those in memory; disk zones */
    struct list link; /* in its node */
    struct cache_node *node;
    struct hash128 variant;
    struct cache_facts facts;
    struct cache_entry *entry; /* NULL: only in the file */
    uint64_t file;             /* names the item; a file only in disk zones */
    uint64_t disk_bytes;       /* 0: a memory zone */
};

struct cache_shard {
    pthread_mutex_t mutex;
    struct list used, warm; /* newest first */
    char apart[64];         /* its neighbour is another cache line */
};

struct cache_zone {
    struct cache_zone_conf conf;
    struct cache_shard shards[SHARDS];
    struct cache_node **chains;
    size_t chain_mask;
    atomic_uint_least64_t memory_used, disk_used, lent, next_file;
    uint64_t first_file;
    struct disk_scan *scan;
};

/* ---- Vary: names that responses to a key vary by ---- */

/* NULL for none. */
struct cache_vary *cache_vary_new(struct str names);
struct str cache_vary_names(const struct cache_vary *v);
void cache_vary_put(struct cache_vary *v);

/* ---- Nodes and items; the key's shard is locked ---- */

struct cache_shard *cache_shard(struct cache_zone *z, struct hash128 key);
/* NULL: there is none. */
struct cache_node *cache_node_find(struct cache_zone *z, struct hash128 key);
struct cache_node *cache_node_make(struct cache_zone *z, struct hash128 key);
void cache_node_drop_if_empty(struct cache_zone *z, struct cache_node *n);
/* Drops all items. */
void cache_node_clear(struct cache_zone *z, struct cache_node *n, struct cache_chores **chores);
/* n may be NULL. */
struct cache_item *cache_item_find(struct cache_node *n, struct hash128 variant);
/* A new item at the front of all lists, without its entry; drops the oldest of too many. */
struct cache_item *cache_item_make(struct cache_zone *z, struct cache_node *n,
                                   struct hash128 variant, const struct cache_facts *facts,
                                   uint64_t file, uint64_t file_size, struct cache_chores **chores);
/* The item goes; with chores its file, if it has one, is to be removed. The node stays, even if
 * empty. */
void cache_item_drop(struct cache_zone *z, struct cache_item *item, struct cache_chores **chores);
/* The item's entry comes into memory, with a reference of its own; leaves it. */
void cache_item_warm(struct cache_zone *z, struct cache_item *item, struct cache_entry *e);
void cache_item_cool(struct cache_zone *z, struct cache_item *item);

static inline bool zone_is_disk(const struct cache_zone *z)
{
    return z->conf.disk_path.p != NULL;
}

#endif
