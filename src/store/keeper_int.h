/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the keeper share. */
#ifndef STORE_KEEPER_INT_H
#define STORE_KEEPER_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/trie.h"
#include "store/echo.h"
#include "store/keeper.h"

struct task {
    struct task *next;
    void (*run)(void *arg, struct keeper *k);
    void *arg;
};

struct keeper {
    struct store *store;
    struct document_codec *codec;
    struct builder *builder;
    struct secrets *secrets; /* NULL: none */
    keeper_publish_fn *publish;
    void *arg;
    pthread_t thread;
    /* The thread's: our writes to a store that is watched; those of them whose outcome is unknown
     * because the watch was interrupted. */
    struct echo own, doubtful;
    struct trie *unknown_kinds; /* the thread's: collections that were said to be ignored */
    unsigned nunknown;
    unsigned dropped; /* the thread's: documents deleted since memory was given back last */
    bool trim;        /* the thread's: much memory comes free with the configuration before this */
    int64_t expiry_wait; /* the thread's: no expired document is looked for before then (monotonic
                            ms); 0: at once */
    bool running;        /* the first snapshot is made */
    struct list waiters; /* the thread's: who waits for a change to be live */

    /* The version of the snapshot that each worker serves. */
    _Atomic uint64_t *taken;
    unsigned ntaken;
    atomic_bool waiting; /* somebody wants to know when that changes */

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t wake;
    struct task *first, **last;
    bool stopping;
    bool look;                                   /* there is something to look at beside tasks */
    struct store_batch *brought, **brought_last; /* by the store's watch */
    struct secret_news *news, **news_last;
    const struct snapshot *current; /* written by the thread alone, with the mutex held */
};

/* keeper.c: publishes what was applied, if anything was. */
void keeper_publish(struct keeper *k);

/* keeper_write.c: takes away the documents whose time is over. Returns in how many milliseconds it
 * wants to be called again; -1: only after another write. */
int64_t keeper_expire(struct keeper *k);

/* keeper_live.c: tells those who need wait no longer; returns as keeper_expire does. The end:
 * nobody waits any more. */
int64_t keeper_live(struct keeper *k);
void keeper_live_end(struct keeper *k);

/* ---- keeper_load.c: the first reading of the store ----
 */

/* A document as the store has it. */
struct keeper_stored {
    struct str key, id;
    enum kind kind;
    int64_t modified;
    json_t *value; /* NULL: it is no JSON object */
    struct document_secrets secrets;
};

/* Gives it to the builder; what cannot be used changes nothing. Drops the value. */
void keeper_stored_apply(struct keeper *k, struct keeper_stored *s);
/* All documents to the builder. False: the store cannot be read (it is in the log). Before the
 * thread starts; the store is not used by anybody else meanwhile. */
bool keeper_load(struct keeper *k);

#endif
