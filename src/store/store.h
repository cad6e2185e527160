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

/* One document of a write. */
struct store_change {
    struct str key, value; /* value absent: the key goes */
    /* < 0: whatever is there; 0: only when the key is not there; else only at that modified
     * revision. */
    int64_t expect;
    int64_t ttl_s; /* > 0: it goes by itself after so many seconds */
    /* What the caller has read of the key (value absent: it was not there). It saves a store that
     * is far away a reading, and decides nothing. NULL: nothing. */
    const struct store_item *known;
    int64_t created; /* set: of a value, the key's; the write's revision: the key is new */
};

/* What is written at once. The strings are the caller's. */
struct store_write {
    struct store_change *changes; /* each of another key; one at least */
    size_t n;
    /* For the history, any may be absent: whose key it was, from which address, and in which way
     * ("PUT", "rollback to 7"). */
    struct str who, peer, how;
    int64_t revision; /* set: of all of the changes */
    size_t failed; /* set with STORE_NOT_FOUND (of a deletion) and STORE_CONFLICT: which change */
};

/* A change that was made, out of the history. */
struct store_past {
    int64_t revision, time_ms;     /* since 1970 */
    struct str who, peer, how;     /* who absent: it was none of ours */
    struct str key, before, after; /* absent: it was not there */
    bool bare; /* the documents were too long to be kept: what they were is not known */
};

struct store_past_query {
    struct str prefix;    /* of the key */
    int64_t after, until; /* revisions: above after, up to until */
};

/* How much of the history is kept: whatever is reached first. */
struct store_keep {
    int64_t changes; /* 0: no history */
    int64_t age_ms;  /* 0: any */
};

/* Items of a list, some or all, in an order. Both functions get arg. */
struct store_pick {
    struct str prefix;
    /* Whether the item is one of them; NULL: all are. Called for all keys in that order, before any
     * value is read. */
    bool (*want)(void *arg, struct str key);
    bool (*each)(void *arg, const struct store_item *item); /* as of store_ops.list */
    void *arg;
    bool by_key; /* their bytes ascending; else as list */
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
/* As store_ops.pick. */
void store_batch_pick(const struct store_batch *b, const struct store_pick *p);
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
    size_t changes_max; /* of one write; 0: STORE_CHANGES_MAX */
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
    /* All of the changes or none, at one revision. When STORE_OK is returned the write survives a
     * crash of the machine or of us. */
    enum store_status (*write)(struct store *s, struct store_write *w, struct str *err);
    /* The next revision, taken: POST makes ids of it. It outlives a crash only together with a
     * later write. */
    enum store_status (*next_revision)(struct store *s, int64_t *revision, struct str *err);
    int64_t (*revision)(struct store *s);

    /* ---- Only of stores that the Admin API lists; else NULL ---- */

    /* Those items that are wanted, in the order that is wanted, at one state of the store; the
     * others' values cost nothing. */
    enum store_status (*pick)(struct store *s, const struct store_pick *p, struct str *err);

    /* ---- Only of stores that keep a history; else NULL ---- */

    /* Before the first write; a store that was not told keeps 10,000 changes of 90 days. */
    void (*keep)(struct store *s, const struct store_keep *keep);
    /* Calls each for the changes, the newest first; it returns false to stop and may read single
     * items. The strings live during that one call. */
    enum store_status (*past)(struct store *s, const struct store_past_query *q,
                              bool (*each)(void *arg, const struct store_past *past), void *arg,
                              struct str *err);
    /* All changes above this revision are in the history; *revision: that of the store when there
     * is no history at all. */
    enum store_status (*past_floor)(struct store *s, int64_t *revision, struct str *err);

    /* ---- Only of stores in which documents do not go by themselves; else NULL ---- */

    /* When the next document with a ttl goes, milliseconds since 1970; INT64_MAX: none does. It may
     * be too early, until `expired` was called. */
    int64_t (*next_expiry)(struct store *s);
    /* The documents whose time was over then, without their values. Taking them away is the
     * caller's. */
    enum store_status (*expired)(struct store *s, int64_t now_ms,
                                 bool (*each)(void *arg, const struct store_item *item), void *arg,
                                 struct str *err);

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

/* Writes of one change; out (may be NULL) gets the revisions (equal ones: the key is new) and the
 * caller's own strings, *revision (may be NULL) that of the deletion. */
enum store_status store_put(struct store *s, struct str key, struct str value, int64_t expect,
                            struct store_item *out, struct str *err);
enum store_status store_del(struct store *s, struct str key, int64_t *revision, struct str *err);

/* The most changes that one write may have, whatever the store. */
enum { STORE_CHANGES_MAX = 1000000 };

/* The embedded store: data_dir/eclusa.db, made when missing (mode 0600), the directory too when
 * only its last part is missing (0700). Holds data_dir/lock, so that no two gateways share a
 * directory. NULL with a message in the arena. */
struct store *store_sqlite_open(struct str data_dir, struct arena *a, struct str *err);
/* The same to be listed only, beside a gateway that may be using it: nothing is made or locked. */
struct store *store_sqlite_open_reading(struct str data_dir, struct arena *a, struct str *err);

#endif
