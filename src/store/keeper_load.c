/* SPDX-License-Identifier: Apache-2.0 */
/* The first reading of the store: one thread reads and parses documents, while the caller's
 * compiles those that came before. */
#include <pthread.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/os_thread.h"
#include "base/panic.h"
#include "store/keeper_int.h"

/* Documents that go over at once, and how many such lots may wait: what is parsed is some megabytes
 * at most. */
enum { LOT = 128, LOTS = 16 };

struct lot {
    struct arena arena; /* the keys */
    struct keeper_stored items[LOT];
    size_t n;
};

struct loading {
    struct keeper *k;
    struct lot *open; /* the reader's */
    enum store_status status;
    struct str err; /* of the store, until its next call */

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    struct lot *lots[LOTS];
    size_t first, n;
    bool ended;
};

static void lot_send(struct loading *l)
{
    if (!l->open)
        return;
    pthread_mutex_lock(&l->mutex);
    while (l->n == LOTS)
        pthread_cond_wait(&l->changed, &l->mutex);
    l->lots[(l->first + l->n++) % LOTS] = l->open;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->mutex);
    l->open = NULL;
}

static bool on_item(void *arg, const struct store_item *item)
{
    struct loading *l = arg;
    struct str id;
    enum kind kind = document_kind(item->key, &id);

    if (kind == KIND_COUNT)
        return true;
    if (!l->open) {
        l->open = mem_alloc(sizeof(*l->open));
        arena_init(&l->open->arena, NULL);
        l->open->n = 0;
    }
    struct keeper_stored *s = &l->open->items[l->open->n++];
    *s = (struct keeper_stored){
        .key = arena_str(&l->open->arena, item->key), .kind = kind, .modified = item->modified};
    document_kind(s->key, &s->id);
    s->value = document_decode(l->k->codec, kind, item->value, &s->secrets);
    if (l->open->n == LOT)
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

static struct lot *lot_take(struct loading *l)
{
    struct lot *lot = NULL;

    pthread_mutex_lock(&l->mutex);
    while (l->n == 0 && !l->ended)
        pthread_cond_wait(&l->changed, &l->mutex);
    if (l->n > 0) {
        lot = l->lots[l->first];
        l->first = (l->first + 1) % LOTS;
        l->n--;
        pthread_cond_signal(&l->changed);
    }
    pthread_mutex_unlock(&l->mutex);
    return lot;
}

bool keeper_load(struct keeper *k)
{
    struct loading l = {.k = k, .status = STORE_OK};
    struct lot *lot;
    pthread_t reader;

    pthread_mutex_init(&l.mutex, NULL);
    pthread_cond_init(&l.changed, NULL);
    /* It seeds its hash tables at the first use, which two threads must not do. */
    json_object_seed(0);
    if (!os_thread_start(&reader, "store-read", reader_main, &l))
        PANIC("the system gives no thread");
    while ((lot = lot_take(&l)) != NULL) {
        for (size_t i = 0; i < lot->n; i++)
            keeper_stored_apply(k, &lot->items[i]);
        arena_fini(&lot->arena);
        free(lot);
    }
    pthread_join(reader, NULL);
    pthread_cond_destroy(&l.changed);
    pthread_mutex_destroy(&l.mutex);
    if (l.status != STORE_OK)
        log_error("the configuration cannot be loaded: %.*s", STR_ARG(l.err));
    return l.status == STORE_OK;
}
