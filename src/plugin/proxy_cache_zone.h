/* SPDX-License-Identifier: Apache-2.0 */
/* A zone of the cache: which responses it has, those of them that are in memory, and for a disk
 * zone the files of all. Shared by all threads.
 *
 * proxy_cache_memory.c keeps the index and the memory; proxy_cache_disk.c does the chores: what
 * touches files, always on a thread that may wait. */
#ifndef PLUGIN_PROXY_CACHE_ZONE_H
#define PLUGIN_PROXY_CACHE_ZONE_H

#include "base/hash.h"
#include "plugin/proxy_cache_entry.h"

struct cache_zone;
struct cache_chores;

struct cache_zone_conf {
    struct str name;
    struct str disk_path; /* absent: a memory zone */
    uint64_t memory_size; /* bytes of stored responses in memory, the index included */
    uint64_t disk_size;   /* bytes of files, rounded up to blocks; 0: a memory zone */
    unsigned levels[3];   /* digits in the names of nested folders; 0: none */
};

/* Names one response: the cache key, and which of its variants. */
struct cache_id {
    struct hash128 key, variant;
};

/* What a look-up found. */
struct cache_find {
    bool found;
    struct cache_facts facts;
    struct cache_entry *entry; /* a reference; NULL: in the file */
    uint64_t file;             /* names the item */
    uint64_t bytes;            /* about what reading it takes */
};

/* Makes a zone; strings are copied. Never NULL. */
struct cache_zone *zone_new(const struct cache_zone_conf *conf);
/* No thread may use the zone any more; entries that are lent live on. */
void zone_free(struct cache_zone *z);
const struct cache_zone_conf *zone_conf(const struct cache_zone *z);

/* Looks for a response to the key. Where its responses vary, variant(arg, names) is called, outside
 * of any lock, for the hash of the variant; else `plain` is the variant. out->found tells, *id gets
 * its name. */
void zone_find(struct cache_zone *z, struct hash128 key, struct hash128 plain,
               struct hash128 (*variant)(void *arg, struct str names), void *arg,
               struct cache_id *id, struct cache_find *out);
/* Puts an entry in, in the place of an older one, and evicts what no longer fits; one that is too
 * large is only dropped. Takes the reference. Returns the chores that follow; NULL: none. */
struct cache_chores *zone_put(struct cache_zone *z, const struct cache_id *id,
                              struct cache_entry *e);
/* Drops all variants of the key. False: there were none. *chores as above. */
bool zone_purge(struct cache_zone *z, struct hash128 key, struct cache_chores **chores);
/* Drops the item if it is still this file's. */
void zone_forget(struct cache_zone *z, const struct cache_id *id, uint64_t file);
/* The item is still this file's. */
bool zone_has(struct cache_zone *z, const struct cache_id *id, uint64_t file);
/* An entry that was read from its file stays in memory for the next. Takes no reference. */
void zone_warm(struct cache_zone *z, const struct cache_id *id, uint64_t file,
               struct cache_entry *e);
/* At start: a file is there. e has no body, and is not kept. False: a newer one is known. */
bool zone_restore(struct cache_zone *z, struct cache_entry *e, uint64_t file, uint64_t file_size,
                  struct cache_chores **chores);

/* Bytes on their way into or out of the zone, all exchanges together, may not be more than its
 * memory. False: that is so, nothing was taken. */
bool zone_borrow(struct cache_zone *z, size_t n);
void zone_repay(struct cache_zone *z, size_t n);
/* No larger entry fits. */
size_t zone_entry_max(const struct cache_zone *z);
/* For tests: bytes counted in memory and on disk. */
uint64_t zone_memory_used(struct cache_zone *z);
uint64_t zone_disk_used(struct cache_zone *z);

/* ---- proxy_cache_disk.c: may wait ---- */

/* Does the chores and frees them: writes a file, removes files. NULL is fine. */
void chores_run(void *chores);
/* Reads the item's file. NULL: it is not there or not sound; then it is removed, and the item
 * forgotten. */
struct cache_entry *disk_read(struct cache_zone *z, const struct cache_id *id, uint64_t file);
/* Rebuilds a disk zone's index from its folder, in a thread of its own; returns when that is done,
 * or after wait_ms, whichever is first. What it has not seen yet is not found. Does nothing for a
 * memory zone. */
void disk_scan_start(struct cache_zone *z, unsigned wait_ms);
/* Ends the thread. */
void disk_scan_stop(struct cache_zone *z);

/* ---- Between the two ---- */

struct cache_chores {
    struct cache_zone *zone;
    struct cache_entry *write; /* a reference; NULL: nothing to write */
    struct cache_id id;
    uint64_t file;
    uint64_t *remove; /* files */
    size_t nremove, cap;
};

/* A number for a new file: not one that this zone has had, nor one of an earlier start (its upper
 * half is random). */
uint64_t zone_new_file(struct cache_zone *z);
/* The number was given out by this start. */
bool zone_is_new_file(const struct cache_zone *z, uint64_t file);
/* What disk_scan_start keeps of its thread. */
struct disk_scan;
struct disk_scan **zone_scan(struct cache_zone *z);

#endif
