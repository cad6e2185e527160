/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the etcd store share. */
#ifndef STORE_ETCD_INT_H
#define STORE_ETCD_INT_H

#include <pthread.h>

#include "base/list.h"
#include "store/etcd_client.h"
#include "store/etcd_copy.h"
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

    struct etcd_client *watcher; /* these are the watching thread's, once it runs */
    struct etcd_copy *copy;
    bool in_sync; /* nothing was missed since the copy's revision */
    bool lost;    /* and it was said */
    pthread_t thread;
    bool running;
    store_changed_fn *changed;
    void *arg;

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

/* ---- etcd_write.c ----
 */

enum store_status etcd_write(struct store *store, struct store_write *w, struct str *err);

#endif
