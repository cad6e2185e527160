/* SPDX-License-Identifier: Apache-2.0 */
/* The first reading of the store: one thread reads and parses documents, while the caller's
 * compiles those that came before. */
#include <pthread.h>

#include "base/json_pool.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/os_thread.h"
#include "base/panic.h"
#include "store/keeper_int.h"

/* Documents that go over at once, how many such lots may wait, and the memory of a lot's values: it
 * stays in the caches of the processor. */
enum { LOT = 64, LOTS = 8, LOT_BYTES = 384 * 1024 };

struct lot {
    struct arena arena; /* the keys */
    struct keeper_stored items[LOT];
    size_t n;
};

struct loading {
    struct keeper *k;
    enum store_status status; /* the reader's */
    struct str err;           /* of the store, until its next call */

    /* A ring: of the lots from first on, n are the compiler's, the one behind them the reader's. */
    struct lot lots[LOTS];
    struct json_pool pools[LOTS];
    size_t first;          /* the compiler's */
    size_t open;           /* the reader's */
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    size_t n;
    bool ended;
};

/* Opens the next lot, as soon as the compiler has left it. */
static void lot_send(struct loading *l)
{
    pthread_mutex_lock(&l->mutex);
    l->n++;
    pthread_cond_signal(&l->changed);
    while (l->n == LOTS)
        pthread_cond_wait(&l->changed, &l->mutex);
    pthread_mutex_unlock(&l->mutex);
    l->open = (l->open + 1) % LOTS;
}

static bool on_item(void *arg, const struct store_item *item)
{
    struct loading *l = arg;
    struct lot *lot = &l->lots[l->open];
    struct str id;
    enum kind kind = document_kind(item->key, &id);

    if (kind == KIND_COUNT)
        return true;
    struct keeper_stored *s = &lot->items[lot->n++];
    *s = (struct keeper_stored){
        .key = arena_str(&lot->arena, item->key), .kind = kind, .modified = item->modified};
    document_kind(s->key, &s->id);
    json_pool_use(&l->pools[l->open]);
    s->value = document_decode(l->k->codec, kind, item->value, &s->secrets);
    json_pool_use(NULL);
    if (lot->n == LOT)
        lot_send(l);
    return true;
}

static void *reader_main(void *arg)
{
    struct loading *l = arg;
    const struct store_ops *ops = l->k->store->ops;
    enum store_status (*list)(struct store *, struct str,
                              bool (*)(void *, const struct store_item *), void *,
                              struct str *) = ops->load ? ops->load : ops->list;
    struct arena a;

    arena_init(&a, NULL);
    /* Kinds may share a folder: then the first of them has loaded the others'. */
    for (enum kind kind = 0; kind < KIND_COUNT && l->status == STORE_OK; kind++)
        if (kind == 0 || !str_eq(kinds[kind].folder, kinds[kind - 1].folder))
            l->status = list(l->k->store, document_prefix(&a, kind), on_item, l, &l->err);
    arena_fini(&a);
    lot_send(l);
    pthread_mutex_lock(&l->mutex);
    l->ended = true;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

/* False: that was all. */
static bool lot_apply(struct loading *l)
{
    struct lot *lot = &l->lots[l->first];

    pthread_mutex_lock(&l->mutex);
    while (l->n == 0 && !l->ended)
        pthread_cond_wait(&l->changed, &l->mutex);
    bool any = l->n > 0;
    pthread_mutex_unlock(&l->mutex);
    if (!any)
        return false;
    for (size_t i = 0; i < lot->n; i++)
        keeper_stored_apply(l->k, &lot->items[i]);
    lot->n = 0;
    arena_fini(&lot->arena);
    json_pool_reset(&l->pools[l->first]);
    l->first = (l->first + 1) % LOTS;
    pthread_mutex_lock(&l->mutex);
    l->n--;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->mutex);
    return true;
}

bool keeper_load(struct keeper *k)
{
    struct loading *l = mem_zero(sizeof(*l));
    pthread_t reader;

    l->k = k;
    l->status = STORE_OK;
    for (size_t i = 0; i < LOTS; i++)
        arena_init(&l->lots[i].arena, NULL);
    json_pools_open(l->pools, LOTS, LOT_BYTES);
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->changed, NULL);
    if (!os_thread_start(&reader, "store-read", reader_main, l))
        PANIC("the system gives no thread");
    while (lot_apply(l))
        ;
    pthread_join(reader, NULL);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->mutex);
    json_pools_close();
    bool ok = l->status == STORE_OK;
    if (!ok)
        log_error("the configuration cannot be loaded: %.*s", STR_ARG(l->err));
    free(l);
    return ok;
}
