/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the etcd store share. */
#ifndef STORE_ETCD_INT_H
#define STORE_ETCD_INT_H

#include <pthread.h>

#include "base/list.h"
#include "store/etcd_client.h"
#include "store/etcd_copy.h"
#include "store/etcd_seen.h"
#include "store/store.h"

/* etcd takes 128 operations at once unless it is told otherwise (--max-txn-ops); one is the
 * history's. */
enum { ETCD_CHANGES_MAX = 127 };

struct etcd {
    struct store store;
    struct arena arena;
    struct etcd_options options;
    struct str prefix, gen_id;
    int64_t watch_ms, resync_ms;
    int lock;
    struct etcd_client *caller; /* the keeper's thread's */
    char message[600];

    /* The history, on the keeper's thread. */
    struct str past_prefix; /* "/eclusa/history/apisix/" */
    struct store_keep keep;
    bool past_denied;              /* our user may not write there */
    int64_t until_trim;            /* writes */
    struct etcd_seen_reader *seen; /* NULL: not opened yet */

    struct etcd_client *watcher; /* these are the watching thread's, once it runs */
    struct etcd_copy *copy;
    /* What etcd had when there was no copy: the start does not wait for its writing, which is the
     * thread's first task. NULL: it is in the copy. */
    struct store_batch *first;
    bool in_sync; /* nothing was missed since the copy's revision */
    bool lost;    /* and it was said */
    pthread_t thread;
    bool running;
    store_changed_fn *changed;
    void *arg;

    atomic_bool filled;       /* the copy has something */
    _Atomic int64_t revision; /* last one seen */
    _Atomic int64_t contact;  /* when it was known that nothing is missed; etcd_clock_ms */
};

static inline struct etcd *etcd_of(struct store *s)
{
    return CONTAINER(s, struct etcd, store);
}

/* ---- etcd.c: calls, on the keeper's thread ----
 */

/* A POST; the request's reference is taken. NULL: failed, with the reason in *err. */
json_t *etcd_ask(struct etcd *e, bool writes, const char *path, json_t *request, struct str *err);
/* STORE_FAILED: the reply is none. */
enum store_status etcd_garbled(struct str *err);

/* ---- etcd_list.c ----
 */

enum store_status etcd_list(struct store *store, struct str prefix,
                            bool (*each)(void *arg, const struct store_item *item), void *arg,
                            struct str *err);
enum store_status etcd_pick(struct store *store, const struct store_pick *p, struct str *err);

/* ---- etcd_write.c ----
 */

enum store_status etcd_write(struct store *store, struct store_write *w, struct str *err);

/* ---- etcd_past.c: the history. Who writes puts down what he does beside the documents, in the
 * same transaction; what others do is known from the watch. ----
 */

void etcd_past_init(struct etcd *e);
void etcd_past_fini(struct etcd *e);
/* Entries are written. */
bool etcd_past_is_on(const struct etcd *e);
/* Adds the entry of a write; `before` is of each change. */
void etcd_past_add(struct etcd *e, json_t *txn, const struct store_write *w,
                   const struct store_item *before, struct arena *a);
/* After a write: takes away entries beyond the bounds, from time to time. */
void etcd_past_trim(struct etcd *e);
void etcd_keep(struct store *store, const struct store_keep *keep);
enum store_status etcd_past(struct store *store, const struct store_past_query *q,
                            bool (*each)(void *arg, const struct store_past *past), void *arg,
                            struct str *err);
enum store_status etcd_past_floor(struct store *store, int64_t *revision, struct str *err);

#endif
