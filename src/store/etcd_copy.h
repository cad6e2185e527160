/* SPDX-License-Identifier: Apache-2.0 */
/* The local copy of what is in etcd: a file that is read at start when etcd cannot be reached, and
 * what the watcher compares etcd with when it may have missed something. For one thread at a time;
 * it waits for the disk. */
#ifndef STORE_ETCD_COPY_H
#define STORE_ETCD_COPY_H

#include "store/store.h"

struct etcd_copy;

/* Opens or makes data_dir/etcd.db (mode 0600). `source` says what it is a copy of; one of something
 * else is emptied, and so is one that is broken. NULL with a message in the arena. */
struct etcd_copy *etcd_copy_open(struct str data_dir, struct str source, struct arena *a,
                                 struct str *err);
void etcd_copy_close(struct etcd_copy *c);

/* Of the last etcd_copy_apply; 0: it was never filled. */
int64_t etcd_copy_revision(const struct etcd_copy *c);
/* When that was, seconds since 1970. */
int64_t etcd_copy_time(const struct etcd_copy *c);

/* Takes a batch in, whole or not at all. What cannot be written to the disk is logged once and kept
 * in memory from then on, so that the copy always has what was applied. */
void etcd_copy_apply(struct etcd_copy *c, const struct store_batch *batch);

/* All items whose key starts with prefix, in any order; `each` returns false to stop. False: the
 * file cannot be read; *err says why until the next call. */
bool etcd_copy_list(struct etcd_copy *c, struct str prefix,
                    bool (*each)(void *arg, const struct store_item *item), void *arg,
                    struct str *err);

/* How much is kept of what was seen (etcd_seen.h). */
void etcd_copy_keep(struct etcd_copy *c, const struct store_keep *keep);
/* The file is not written any more. From any thread. */
bool etcd_copy_in_memory(const struct etcd_copy *c);
const char *etcd_copy_path(const struct etcd_copy *c);

/* A walk over all keys in the order of their bytes, without values. The copy must not be changed
 * meanwhile. */
void etcd_copy_walk(struct etcd_copy *c);
/* False: no more. The key lives until the next call. */
bool etcd_copy_next(struct etcd_copy *c, struct store_item *out);
void etcd_copy_walked(struct etcd_copy *c);

#endif
