/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's thread: a queue of tasks over the store and the builder. Changes that others make in
 * the store come as one more task. */
#include <malloc.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/os_thread.h"
#include "base/panic.h"
#include "store/keeper_int.h"

/* While old snapshots are still out, the thread looks again after this long, then after twice as
 * long, and so on. */
enum { RECLAIM_FIRST_MS = 20, RECLAIM_LAST_MS = 5000 };

/* Longest wait at the start for secrets that are kept elsewhere: what needs one is closed until it
 * comes. */
enum { SECRETS_WAIT_MS = 6000 };

/* ---- Tasks -------------------------------------------------------------------------------------
 */

struct store *keeper_store(struct keeper *k)
{
    return k->store;
}

struct builder *keeper_builder(struct keeper *k)
{
    return k->builder;
}

json_t *keeper_decode(struct keeper *k, enum kind kind, struct str text)
{
    return document_decode(k->codec, kind, text, NULL);
}

json_t *keeper_decode_secrets(struct keeper *k, enum kind kind, struct str text,
                              struct document_secrets *secrets)
{
    return document_decode(k->codec, kind, text, secrets);
}

static const struct str no_object = STR("it is no JSON object");

bool keeper_unreadable(struct keeper *k, enum kind kind, struct str id)
{
    return str_eq(builder_fault(k->builder, kind, id), no_object);
}

void keeper_secrets(struct keeper *k, enum kind kind, json_t *value,
                    void (*visit)(void *arg, json_t *string), void *arg)
{
    if (k->codec)
        document_secrets_each(k->codec, kind, value, visit, arg);
}

const struct snapshot *keeper_current(struct keeper *k)
{
    return k->current;
}

const struct snapshot *keeper_snapshot(struct keeper *k)
{
    pthread_mutex_lock(&k->mutex);
    const struct snapshot *s = k->current;
    snapshot_get(s);
    pthread_mutex_unlock(&k->mutex);
    return s;
}

void keeper_post(struct keeper *k, void (*run)(void *arg, struct keeper *k), void *arg)
{
    struct task *task = mem_alloc(sizeof(*task));

    *task = (struct task){.run = run, .arg = arg};
    pthread_mutex_lock(&k->mutex);
    *k->last = task;
    k->last = &task->next;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->mutex);
}

/* Takes the builder's newest snapshot as the current one; false when it is no other. */
static bool current_renew(struct keeper *k)
{
    const struct snapshot *old = k->current;
    const struct snapshot *s = builder_publish(k->builder);

    if (s == old) {
        snapshot_put(s);
        return false;
    }
    pthread_mutex_lock(&k->mutex);
    k->current = s;
    pthread_mutex_unlock(&k->mutex);
    if (old)
        snapshot_put(old);
    return true;
}

void keeper_publish(struct keeper *k)
{
    if (!current_renew(k) || !k->running)
        return;
    snapshot_get(k->current);
    k->publish(k->arg, k->current);
}

/* ---- What is in the store ----------------------------------------------------------------------
 */

void keeper_stored_apply(struct keeper *k, struct keeper_stored *s)
{
    if (s->secrets.odd)
        log_warn("%.*s: no key of apisix.data_encryption.keyring opens %u of its secrets: they are "
                 "used as they are stored",
                 STR_ARG(s->key), s->secrets.odd);
    if (!s->value) {
        log_error("%.*s in the store is no JSON object: skipped", STR_ARG(s->key));
        builder_skip(k->builder, s->kind, s->id, no_object.p);
    } else if (s->secrets.locked) {
        /* Else a client could log in with what is stored. */
        log_error("%.*s is kept out: %u of its secrets cannot be opened with the key in "
                  "secret.key; put that file back, or write the document anew",
                  STR_ARG(s->key), s->secrets.locked);
        builder_skip(k->builder, s->kind, s->id,
                     "secrets of it cannot be opened with the key in secret.key");
    } else {
        builder_apply(k->builder, s->kind, s->id, s->modified, s->value);
    }
    json_decref(s->value);
}

static void stored_apply(struct keeper *k, enum kind kind, struct str id,
                         const struct store_item *item)
{
    struct keeper_stored s = {.key = item->key, .id = id, .kind = kind, .modified = item->modified};

    s.value = document_decode(k->codec, kind, item->value, &s.secrets);
    keeper_stored_apply(k, &s);
}

/* Said once for each collection, and for so many. */
enum { UNKNOWN_MAX = 32 };

static void say_unknown(struct keeper *k, struct str collection)
{
    static const struct trie_edit edit = {.version = 1};
    static char said;

    if (k->nunknown == UNKNOWN_MAX || trie_get(k->unknown_kinds, collection, TRIE_EXACT))
        return;
    trie_set(&k->unknown_kinds, &edit, collection, TRIE_EXACT, &said);
    k->nunknown++;
    log_info("/%.*s in the store is of no use here: ignored", STR_ARG(collection));
}

static void change_apply(struct keeper *k, const struct store_item *item)
{
    struct str id, collection, rest;
    enum kind kind = document_kind(item->key, &id);

    if (kind < KIND_COUNT && item->value.p) {
        stored_apply(k, kind, id, item);
    } else if (kind < KIND_COUNT) {
        builder_apply(k->builder, kind, id, item->modified, NULL);
    } else {
        str_cut(str_from(item->key, 1), '/', &collection, &rest);
        if (kind_by_collection(collection) == KIND_COUNT)
            say_unknown(k, collection);
    }
}

/* Our writes that an interrupted watch may never bring are looked up: others may have written the
 * same keys meanwhile. */
static void own_reread(struct keeper *k)
{
    bool go = true;
    char *key;

    while (go && echo_take(&k->doubtful, &key)) {
        struct store_item item = {.key = str_of(key)};
        struct str err;
        struct arena a;
        arena_init(&a, NULL);
        switch (k->store->ops->get(k->store, item.key, &a, &item, &err)) {
        case STORE_NOT_FOUND:
            item.modified = k->store->ops->revision(k->store);
            /* fallthrough */
        case STORE_OK:
            change_apply(k, &item);
            echo_add(&k->own, item.key, item.modified);
            break;
        case STORE_CONFLICT:
        case STORE_FAILED:
            echo_add(&k->doubtful, item.key, 0);
            go = false;
            break;
        }
        arena_fini(&a);
        free(key);
    }
}

static void batch_apply(struct keeper *k, const struct store_batch *batch)
{
    char *key;

    while (batch->whole && echo_take(&k->own, &key)) {
        echo_add(&k->doubtful, str_of(key), 0);
        free(key);
    }
    for (size_t i = 0; i < batch->n; i++)
        if (!echo_hides(&k->own, batch->items[i].key, batch->items[i].modified))
            change_apply(k, &batch->items[i]);
    echo_pass(&k->own, batch->revision);
    own_reread(k);
}

/* All that the watch has brought until now makes one snapshot. */
static void brought_apply(void *arg, struct keeper *k)
{
    (void)arg;
    pthread_mutex_lock(&k->mutex);
    struct store_batch *batch = k->brought;
    k->brought = NULL;
    k->brought_last = &k->brought;
    pthread_mutex_unlock(&k->mutex);
    while (batch) {
        struct store_batch *next = batch->next;
        batch_apply(k, batch);
        k->trim |= store_batch_is_large(batch);
        store_batch_free(batch);
        batch = next;
    }
    keeper_publish(k);
}

void keeper_changed(struct keeper *k, struct store_batch *batch)
{
    batch_apply(k, batch);
    k->trim = true; /* it came with all that has not changed */
    store_batch_free(batch);
    keeper_publish(k);
}

/* On the store's thread. */
static void on_changed(void *arg, struct store_batch *batch)
{
    struct keeper *k = arg;

    pthread_mutex_lock(&k->mutex);
    bool first = !k->brought;
    *k->brought_last = batch;
    k->brought_last = &batch->next;
    pthread_mutex_unlock(&k->mutex);
    if (first)
        keeper_post(k, brought_apply, NULL);
}

/* ---- Secrets kept elsewhere --------------------------------------------------------------------
 */

/* Takes in what has come until now. */
static void news_take(struct keeper *k)
{
    pthread_mutex_lock(&k->mutex);
    struct secret_news *news = k->news;
    k->news = NULL;
    k->news_last = &k->news;
    pthread_mutex_unlock(&k->mutex);
    while (news) {
        struct secret_news *next = news->next;
        builder_secret_set(k->builder, str_of(news->uri), news->value,
                           str_of(news->why ? news->why : ""));
        secret_news_free(news);
        news = next;
    }
}

static void news_apply(void *arg, struct keeper *k)
{
    (void)arg;
    news_take(k);
    keeper_publish(k);
}

/* On the secrets' thread. */
static void on_news(void *arg, struct secret_news *news)
{
    struct keeper *k = arg;

    pthread_mutex_lock(&k->mutex);
    bool first = !k->news;
    *k->news_last = news;
    k->news_last = &news->next;
    pthread_mutex_unlock(&k->mutex);
    if (first)
        keeper_post(k, news_apply, NULL);
}

/* ---- The thread --------------------------------------------------------------------------------
 */

static struct timespec after_ms(int64_t ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

/* What the thread does beside its tasks: frees old configuration, takes away what has expired,
 * tells who waits for a change to be live. Returns how long it may rest at most; -1: for ever. */
static int64_t chores_run(struct keeper *k, int64_t *patience)
{
    int64_t rest = keeper_expire(k), live = keeper_live(k);

    if (live >= 0 && (rest < 0 || live < rest))
        rest = live;
    if (builder_reclaim(k->builder)) {
        if (rest < 0 || *patience < rest)
            rest = *patience;
        *patience = *patience * 2 < RECLAIM_LAST_MS ? *patience * 2 : RECLAIM_LAST_MS;
    } else if (k->trim) {
        malloc_trim(0);
        k->trim = false;
        k->dropped = 0;
    }
    return rest;
}

/* All that is queued; NULL: the keeper stops. */
static struct task *tasks_take(struct keeper *k)
{
    int64_t patience = RECLAIM_FIRST_MS;

    pthread_mutex_lock(&k->mutex);
    while (!k->first && !k->stopping) {
        k->look = false;
        pthread_mutex_unlock(&k->mutex);
        int64_t rest = chores_run(k, &patience);
        pthread_mutex_lock(&k->mutex);
        if (k->first || k->stopping || k->look)
            continue;
        if (rest >= 0) {
            struct timespec until = after_ms(rest);
            pthread_cond_timedwait(&k->wake, &k->mutex, &until);
        } else {
            pthread_cond_wait(&k->wake, &k->mutex);
        }
    }
    struct task *tasks = k->first;
    k->first = NULL;
    k->last = &k->first;
    pthread_mutex_unlock(&k->mutex);
    return tasks;
}

static void *keeper_main(void *arg)
{
    struct keeper *k = arg;
    struct task *task;

    while ((task = tasks_take(k)) != NULL) {
        while (task) {
            struct task *next = task->next;
            task->run(task->arg, k);
            free(task);
            task = next;
        }
        /* However many tasks there are. */
        keeper_expire(k);
        keeper_live(k);
    }
    keeper_live_end(k);
    return NULL;
}

/* ---- Start and stop ----------------------------------------------------------------------------
 */

static void keeper_free(struct keeper *k)
{
    if (k->current)
        snapshot_put(k->current);
    builder_free(k->builder);
    secrets_free(k->secrets);
    for (struct secret_news *news = k->news, *next; news; news = next) {
        next = news->next;
        secret_news_free(news);
    }
    while (k->first) {
        struct task *task = k->first;
        k->first = task->next;
        free(task);
    }
    echo_fini(&k->own);
    echo_fini(&k->doubtful);
    trie_free(k->unknown_kinds);
    document_codec_free(k->codec);
    free(k->taken);
    k->store->ops->close(k->store);
    pthread_cond_destroy(&k->wake);
    pthread_mutex_destroy(&k->mutex);
    free(k);
}

struct keeper *keeper_start(struct store *store, struct document_codec *codec,
                            struct builder *builder, struct secrets *secrets,
                            keeper_publish_fn *publish, void *arg)
{
    struct keeper *k = mem_zero(sizeof(*k));
    pthread_condattr_t monotonic;

    *k = (struct keeper){.store = store,
                         .codec = codec,
                         .builder = builder,
                         .secrets = secrets,
                         .publish = publish,
                         .arg = arg,
                         .last = &k->first,
                         .brought_last = &k->brought,
                         .news_last = &k->news};
    echo_init(&k->own);
    echo_init(&k->doubtful);
    list_init(&k->waiters);
    pthread_mutex_init(&k->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&k->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (secrets)
        secrets_tell(secrets, on_news, k);
    if (!keeper_load(k)) {
        if (secrets)
            secrets_stop(secrets);
        keeper_free(k);
        return NULL;
    }
    keeper_expire(k);
    k->trim = true; /* what was parsed meanwhile is free again */
    if (secrets) {
        secrets_wait(secrets, SECRETS_WAIT_MS);
        news_take(k);
    }
    current_renew(k);
    k->running = true;
    if (!os_thread_start(&k->thread, "keeper", keeper_main, k))
        PANIC("the system gives no thread");
    return k;
}

void keeper_watch(struct keeper *k)
{
    if (k->store->ops->watch)
        k->store->ops->watch(k->store, on_changed, k);
}

int64_t keeper_stale_ms(const struct keeper *k)
{
    const struct store_ops *ops = k->store->ops;

    return ops->stale_ms ? ops->stale_ms(k->store) : 0;
}

void keeper_end(struct keeper *k)
{
    if (k->store->ops->unwatch)
        k->store->ops->unwatch(k->store);
    if (k->secrets)
        secrets_stop(k->secrets);
    pthread_mutex_lock(&k->mutex);
    k->stopping = true;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->mutex);
    pthread_join(k->thread, NULL);
    ASSERT(!k->first);
}

void keeper_stop(struct keeper *k)
{
    keeper_end(k);
    keeper_free(k);
}
