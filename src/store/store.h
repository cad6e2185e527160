/* SPDX-License-Identifier: Apache-2.0 */
/* Where documents live. A store maps keys ("/routes/1") to JSON texts with revisions as etcd counts
 * them: one number for the whole store, one up with each write. All calls may block (disk, network)
 * and are made on the keeper's thread only. Where a call has *err, a failure leaves its reason
 * there, readable until the next call on the same store. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

struct store_item {
    struct str key;            /* "/routes/1": collection and id, without etcd's prefix */
    struct str value;          /* JSON text */
    int64_t created, modified; /* revisions */
};

enum store_status {
    STORE_OK,
    STORE_NOT_FOUND,
    STORE_CONFLICT, /* the expected revision is not the stored one */
    STORE_FAILED,   /* err says why; nothing was written, or it cannot be known (etcd) */
};

/* Changes that others made, as a store that is watched delivers them. On the heap; whoever gets it
 * frees it. */
struct store_batch {
    struct arena arena;       /* holds the items */
    struct store_batch *next; /* the receiver's */
    /* By revision ascending, or, of a whole batch, by key; an absent value: the key is gone. */
    struct store_item *items;
    size_t n, cap;
    int64_t revision; /* the store's, with these changes in */
    /* Everything was compared anew, because the watch was interrupted: the items are what differs
     * from what was delivered before. Revisions may be lower than earlier ones: the store may have
     * been rebuilt. */
    bool whole;
};

/* Empty. */
struct store_batch *store_batch_new(void);
/* The item's strings must be in the batch's arena, or live longer. */
void store_batch_add(struct store_batch *b, const struct store_item *item);
/* The same with a copy of the item's strings. */
void store_batch_copy(struct store_batch *b, const struct store_item *item);

/* ---- Batches as tables: whole ones, sorted by key ---- */

/* Borrowed; NULL: not there. */
const struct store_item *store_batch_find(const struct store_batch *b, struct str key);
/* As store_ops.list. */
void store_batch_list(const struct store_batch *b, struct str prefix,
                      bool (*each)(void *arg, const struct store_item *item), void *arg);
/* What differs between two tables. The new one's items get their revisions: what is alike keeps the
 * old one's, the rest has this one. */
struct store_batch *store_batch_compare(const struct store_batch *old, struct store_batch *new,
                                        int64_t revision);

/* What it takes is worth giving back to the system. */
bool store_batch_is_large(const struct store_batch *b);
void store_batch_free(struct store_batch *b);

/* Called on the store's own thread; takes the batch over and must not wait. */
typedef void store_changed_fn(void *arg, struct store_batch *batch);

struct store;

struct store_ops {
    const char *name;
    void (*close)(struct store *s);
    /* The item's strings live in the arena. */
    enum store_status (*get)(struct store *s, struct str key, struct arena *a,
                             struct store_item *out, struct str *err);
    /* All items whose key starts with prefix, by created revision ascending; `each` returns false
     * to stop, and may read single items, but neither list nor write. The item's strings live
     * during that one call. */
    enum store_status (*list)(struct store *s, struct str prefix,
                              bool (*each)(void *arg, const struct store_item *item), void *arg,
                              struct str *err);
    /* expect < 0: whatever is there; 0: only when the key is not there; else only at that modified
     * revision. When STORE_OK is returned the write survives a crash of the machine or of us. *out
     * (may be NULL) gets the revisions (equal ones: the key is new) and the caller's own strings.
     */
    enum store_status (*put)(struct store *s, struct str key, struct str value, int64_t expect,
                             struct store_item *out, struct str *err);
    enum store_status (*del)(struct store *s, struct str key, int64_t *revision, struct str *err);
    /* The next revision, taken: POST makes ids of it. It outlives a crash only together with a
     * later write. */
    enum store_status (*next_revision)(struct store *s, int64_t *revision, struct str *err);
    int64_t (*revision)(struct store *s);

    /* ---- Only of stores that others write to; else NULL ---- */

    /* As list, in any order: the last state that is known here, which may be older than what list
     * gives, and needs nobody else. watch goes on from it; not to be called once that began. */
    enum store_status (*load)(struct store *s, struct str prefix,
                              bool (*each)(void *arg, const struct store_item *item), void *arg,
                              struct str *err);
    /* Starts a thread that delivers every change from then on, our own included, until unwatch
     * returns. */
    void (*watch)(struct store *s, store_changed_fn *changed, void *arg);
    void (*unwatch)(struct store *s);
    /* Milliseconds since it was last known that nothing is missed. From any thread. */
    int64_t (*stale_ms)(const struct store *s);
};

struct store {
    const struct store_ops *ops;
};

/* The embedded store: data_dir/eclusa.db, made when missing (mode 0600), the directory too when
 * only its last part is missing (0700). Holds data_dir/lock, so that no two gateways share a
 * directory. NULL with a message in the arena. */
struct store *store_sqlite_open(struct str data_dir, struct arena *a, struct str *err);

#endif
