/* SPDX-License-Identifier: Apache-2.0 */
/* What the watch has seen: every change in etcd with what was before it, beside the local copy in
 * its file. It tells of changes that nobody has written down, and is complete above its floor. */
#ifndef STORE_ETCD_SEEN_H
#define STORE_ETCD_SEEN_H

#include <sqlite3.h>

#include "store/store.h"

/* ---- Writing: part of the copy, on its connection and in its transactions ----
 */

struct etcd_seen {
    sqlite3_stmt *value, *add, *floor, *trim, *age, *drop;
    struct store_keep keep;
    int64_t until_trim, aged_ms, now_ms;
    bool skip; /* this batch */
};

/* Makes the tables when they are missing: nothing was seen before `revision`. False: no use. */
bool etcd_seen_open(struct etcd_seen *s, sqlite3 *db, int64_t revision);
void etcd_seen_close(struct etcd_seen *s);
/* A batch begins, and the copy is at `revision`; then each of its items, just before it is taken
 * into the copy; then the batch is over. False: the disk. */
bool etcd_seen_take(struct etcd_seen *s, const struct store_batch *batch, int64_t revision);
bool etcd_seen_item(struct etcd_seen *s, const struct store_item *item, bool whole);
bool etcd_seen_taken(struct etcd_seen *s, const struct store_batch *batch);

/* ---- Reading: on a connection of its own, on another thread ----
 */

struct etcd_seen_reader;

/* NULL with *err in the arena. */
struct etcd_seen_reader *etcd_seen_reader_open(const char *path, struct arena *a, struct str *err);
void etcd_seen_reader_close(struct etcd_seen_reader *r);
/* Everything that happened above this revision was seen; -1: the file cannot be read. */
int64_t etcd_seen_floor(struct etcd_seen_reader *r);
/* A walk over what was seen, the newest first, between the query's revisions. */
void etcd_seen_begin(struct etcd_seen_reader *r, const struct store_past_query *q);
/* False: no more. The strings live until the next call. *whole: it was found by a comparison after
 * an interruption, there may have been other changes before it. */
bool etcd_seen_next(struct etcd_seen_reader *r, struct store_past *out, bool *whole);
void etcd_seen_end(struct etcd_seen_reader *r);

#endif
