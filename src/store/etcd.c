/* SPDX-License-Identifier: Apache-2.0 */
/* The etcd store: calls for the keeper's thread, and one thread that watches. */
#include "store/etcd.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/os_thread.h"
#include "base/panic.h"
#include "base/random.h"
#include "store/curl.h"
#include "store/data_dir.h"
#include "store/etcd_int.h"
#include "store/etcd_sync.h"
#include "store/etcd_wire.h"

/* After a failure the next try comes so soon, then after twice as long, up to resync_delay. While
 * the watch is silent, etcd is asked for a sign of life. */
enum { RETRY_FIRST_MS = 100, START_PAUSE_MS = 500, PROBE_MS = 5000 };

/* ---- Calls -------------------------------------------------------------------------------------
 */

json_t *etcd_ask(struct etcd *e, bool writes, const char *path, json_t *request, struct str *err)
{
    json_t *reply;
    enum etcd_status status = etcd_call(e->caller, writes, path, request, &reply, err);

    if (status == ETCD_DOUBT) {
        int n = snprintf(e->message, sizeof(e->message),
                         "etcd did not answer, the change was made or not: %.*s", STR_ARG(*err));
        *err = str_head(str_make(e->message, (size_t)n), sizeof(e->message) - 1);
    }
    if (status == ETCD_OK && etcd_revision(reply) > 0)
        atomic_store(&e->revision, etcd_revision(reply));
    return status == ETCD_OK ? reply : NULL;
}

enum store_status etcd_garbled(struct str *err)
{
    *err = STR("etcd's reply is not understood");
    return STORE_FAILED;
}

static enum store_status etcd_get(struct store *store, struct str key, struct arena *a,
                                  struct store_item *out, struct str *err)
{
    struct etcd *e = etcd_of(store);
    struct etcd_range range = {.key = arena_join(a, e->prefix, key)};
    json_t *reply = etcd_ask(e, false, "/v3/kv/range", etcd_range_request(&range), err);
    struct etcd_items found;

    if (!reply)
        return STORE_FAILED;
    bool good = etcd_range_read(reply, a, &found);
    json_decref(reply);
    if (!good)
        return etcd_garbled(err);
    if (found.n == 0)
        return STORE_NOT_FOUND;
    *out = found.items[0];
    out->key = str_from(out->key, e->prefix.n);
    return STORE_OK;
}

/* As APISIX makes ids: by writing a key that nobody reads (apisix/core/etcd.lua, push). */
static enum store_status etcd_next_revision(struct store *store, int64_t *revision, struct str *err)
{
    struct etcd *e = etcd_of(store);
    json_t *reply = etcd_ask(e, true, "/v3/kv/put", etcd_put_request(e->gen_id, STR("1")), err);

    if (!reply)
        return STORE_FAILED;
    *revision = etcd_revision(reply);
    json_decref(reply);
    return *revision > 0 ? STORE_OK : etcd_garbled(err);
}

static int64_t etcd_last_revision(struct store *store)
{
    return atomic_load(&etcd_of(store)->revision);
}

static enum store_status etcd_load(struct store *store, struct str prefix,
                                   bool (*each)(void *arg, const struct store_item *item),
                                   void *arg, struct str *err)
{
    struct etcd *e = etcd_of(store);

    if (!e->first)
        return etcd_copy_list(e->copy, prefix, each, arg, err) ? STORE_OK : STORE_FAILED;
    for (size_t i = 0, go = true; i < e->first->n && go; i++)
        if (str_starts(e->first->items[i].key, prefix))
            go = each(arg, &e->first->items[i]);
    return STORE_OK;
}

static int64_t etcd_stale_ms(const struct store *store)
{
    const struct etcd *e = CONTAINER(store, const struct etcd, store);

    return etcd_clock_ms() - atomic_load(&e->contact);
}

/* ---- Watching ----------------------------------------------------------------------------------
 */

static void touch(struct etcd *e)
{
    atomic_store(&e->contact, etcd_clock_ms());
}

static void deliver(struct etcd *e, struct store_batch *batch)
{
    atomic_store(&e->revision, batch->revision);
    etcd_copy_apply(e->copy, batch);
    if (e->changed && (batch->n > 0 || batch->whole))
        e->changed(e->arg, batch);
    else
        store_batch_free(batch);
}

/* Said once until it is back. */
static void say_lost(struct etcd *e, struct str err)
{
    if (!e->lost && etcd_client_sleep(e->watcher, 0))
        log_error("etcd: %.*s. The last good configuration stays in service; trying again",
                  STR_ARG(err));
    e->lost = true;
    e->in_sync = false;
}

static void say_back(struct etcd *e, size_t changes)
{
    if (e->lost)
        log_warn("etcd is there again after %" PRId64 " ms: revision %" PRId64
                 ", %zu keys had changed",
                 etcd_stale_ms(&e->store), etcd_copy_revision(e->copy), changes);
    e->lost = false;
    e->in_sync = true;
    touch(e);
}

/* The first state of all, which has been served since the start, goes to the copy. */
static void first_keep(struct etcd *e)
{
    if (!e->first)
        return;
    etcd_copy_apply(e->copy, e->first);
    store_batch_free(e->first);
    e->first = NULL;
    atomic_store(&e->filled, true);
}

/* Compares everything, and delivers what differs. */
static bool sync_all(struct etcd *e, struct str *err)
{
    struct store_batch *batch = etcd_compare(e->watcher, e->prefix, e->copy, err);

    if (!batch)
        return false;
    if (batch->revision < etcd_copy_revision(e->copy))
        log_warn("etcd is at revision %" PRId64 " and was at %" PRId64
                 ": it was rebuilt. What is in it now counts",
                 batch->revision, etcd_copy_revision(e->copy));
    size_t n = batch->n;
    if (!e->running && etcd_copy_revision(e->copy) == 0) {
        atomic_store(&e->revision, batch->revision);
        e->first = batch;
    } else {
        deliver(e, batch);
    }
    say_back(e, n);
    return true;
}

/* False: the watch is over. */
static bool on_message(struct etcd *e, const json_t *message, bool *created)
{
    struct store_batch *batch = store_batch_new();
    struct etcd_event event;
    bool good = etcd_event_read(message, &batch->arena, &event);

    if (good && !event.canceled) {
        *created = true;
        touch(e);
        batch->revision = etcd_copy_revision(e->copy);
        for (size_t i = 0; i < event.n; i++) {
            struct store_item *item = &event.items[i];
            item->key = str_from(item->key, e->prefix.n);
            if (item->modified > batch->revision)
                batch->revision = item->modified;
            store_batch_add(batch, item);
        }
        if (batch->n > 0) {
            deliver(e, batch);
            return true;
        }
    } else if (good && event.compacted > 0) {
        log_warn("etcd has compacted revisions up to %" PRId64 ", we are at %" PRId64
                 ": everything is compared",
                 event.compacted, etcd_copy_revision(e->copy));
        e->in_sync = false;
    } else {
        say_lost(e, event.reason.n ? event.reason : STR("the watch was canceled"));
    }
    store_batch_free(batch);
    return good && !event.canceled;
}

/* A sign of life, and whether etcd is still the one that we know. */
static bool probe(struct etcd *e)
{
    struct etcd_range range = {.key = e->gen_id, .keys_only = true};
    json_t *reply;
    struct str err;

    if (etcd_call(e->watcher, false, "/v3/kv/range", etcd_range_request(&range), &reply, &err) !=
        ETCD_OK) {
        say_lost(e, err);
        return false;
    }
    int64_t revision = etcd_revision(reply);
    json_decref(reply);
    if (revision < etcd_copy_revision(e->copy)) {
        e->in_sync = false;
        return false;
    }
    touch(e);
    return true;
}

static bool watch_open(struct etcd *e)
{
    struct arena a;
    struct str err;

    arena_init(&a, NULL);
    struct str from = arena_join(&a, e->prefix, STR("/"));
    json_t *request = etcd_watch_request(from, etcd_prefix_end(&a, from),
                                         etcd_copy_revision(e->copy) + 1);
    bool ok = etcd_watch_open(e->watcher, request, &err);
    arena_fini(&a);
    if (!ok)
        say_lost(e, err);
    return ok;
}

/* Delivers changes until the watch is over; false: it never began. */
static bool follow(struct etcd *e)
{
    int64_t probed = etcd_clock_ms();
    bool go = watch_open(e), created = false;

    while (go) {
        int64_t now = etcd_clock_ms(), silent = now - etcd_watch_heard(e->watcher);
        json_t *message;
        struct str err;
        if (created && silent >= e->watch_ms)
            break;
        if (!created && silent >= e->options.timeout_ms) {
            say_lost(e, STR("the watch is not answered"));
            break;
        }
        switch (etcd_watch_next(e->watcher, probed + PROBE_MS - now, &message, &err)) {
        case ETCD_WATCH_MESSAGE:
            go = on_message(e, message, &created);
            json_decref(message);
            break;
        case ETCD_WATCH_NOTHING:
            go = !created || probe(e);
            probed = etcd_clock_ms();
            break;
        case ETCD_WATCH_ENDED:
            say_lost(e, err);
            go = false;
            break;
        }
    }
    etcd_watch_close(e->watcher);
    return created;
}

static bool pause_for(struct etcd *e, int64_t *ms)
{
    int64_t wait = *ms + (int64_t)(random_below((uint32_t)(*ms / 2 + 1)));

    *ms = *ms * 2 < e->resync_ms ? *ms * 2 : e->resync_ms;
    return etcd_client_sleep(e->watcher, wait);
}

static void *watcher_main(void *arg)
{
    struct etcd *e = arg;
    int64_t wait = RETRY_FIRST_MS;
    struct str err;

    first_keep(e);
    do {
        if (e->in_sync || sync_all(e, &err)) {
            if (follow(e))
                wait = RETRY_FIRST_MS;
        } else {
            say_lost(e, err);
        }
        /* A watch that was silent for long, or cut off by compaction, waits for nothing. */
    } while (!e->lost ? etcd_client_sleep(e->watcher, 0) : pause_for(e, &wait));
    return NULL;
}

static void etcd_watch(struct store *store, store_changed_fn *changed, void *arg)
{
    struct etcd *e = etcd_of(store);

    e->changed = changed;
    e->arg = arg;
    e->running = true;
    if (!os_thread_start(&e->thread, "etcd-watch", watcher_main, e))
        PANIC("the system gives no thread");
}

static void etcd_unwatch(struct store *store)
{
    struct etcd *e = etcd_of(store);

    if (!e->running)
        return;
    etcd_client_stop(e->watcher);
    pthread_join(e->thread, NULL);
    e->running = false;
}

/* ---- Opening and closing -----------------------------------------------------------------------
 */

static void etcd_close(struct store *store)
{
    struct etcd *e = etcd_of(store);

    etcd_unwatch(store);
    etcd_past_fini(e);
    etcd_client_free(e->caller);
    etcd_client_free(e->watcher);
    if (e->first)
        store_batch_free(e->first);
    etcd_copy_close(e->copy);
    if (e->lock >= 0)
        close(e->lock);
    if (e->options.password.n)
        explicit_bzero((char *)(uintptr_t)e->options.password.p, e->options.password.n);
    arena_fini(&e->arena);
    free(e);
}

static const struct store_ops etcd_ops = {
    .name = "etcd",
    .changes_max = ETCD_CHANGES_MAX,
    .close = etcd_close,
    .get = etcd_get,
    .list = etcd_list,
    .pick = etcd_pick,
    .write = etcd_write,
    .keep = etcd_keep,
    .past = etcd_past,
    .past_floor = etcd_past_floor,
    .next_revision = etcd_next_revision,
    .revision = etcd_last_revision,
    .load = etcd_load,
    .watch = etcd_watch,
    .unwatch = etcd_unwatch,
    .stale_ms = etcd_stale_ms,
};

static struct etcd *etcd_make(const struct etcd_config *config)
{
    struct etcd *e = mem_zero(sizeof(*e));
    struct arena *a = &e->arena;
    struct str prefix = config->prefix;

    arena_init(a, NULL);
    e->store.ops = &etcd_ops;
    e->lock = -1;
    while (prefix.n && prefix.p[prefix.n - 1] == '/')
        prefix.n--;
    e->prefix = arena_str(a, prefix);
    e->gen_id = arena_join(a, prefix, STR("/gen_id"));
    etcd_past_init(e);
    e->watch_ms = config->watch_ms;
    e->resync_ms = config->resync_ms;
    e->options = (struct etcd_options){
        .endpoints = arena_zero(a, config->nhosts * sizeof(struct etcd_endpoint)),
        .nendpoints = config->nhosts,
        .user = arena_str(a, config->user),
        .password = arena_str(a, config->password),
        .ca = config->ca.p ? arena_str(a, config->ca) : STR_NONE,
        .cert = config->cert.p ? arena_str(a, config->cert) : STR_NONE,
        .key = config->key.p ? arena_str(a, config->key) : STR_NONE,
        .sni = arena_str(a, config->sni),
        .verify = config->verify,
        .timeout_ms = config->timeout_ms,
        .sick_ms = config->sick_ms,
    };
    for (unsigned i = 0; i < config->nhosts; i++)
        e->options.endpoints[i].url = arena_str(a, config->hosts[i]);
    e->caller = etcd_client_new(&e->options, false);
    e->watcher = etcd_client_new(&e->options, true);
    return e;
}

/* What the copy is one of: another etcd's must not be served. */
static struct str source_of(const struct etcd *e, struct arena *a)
{
    struct str source = e->prefix;

    for (unsigned i = 0; i < e->options.nendpoints; i++)
        source = arena_printf(a, "%.*s %.*s", STR_ARG(source),
                              STR_ARG(e->options.endpoints[i].url));
    return source;
}

/* False: neither etcd nor a copy. */
static bool first_state(struct etcd *e, unsigned tries, struct str *err)
{
    char when[32] = "";
    struct tm tm;

    for (unsigned i = 0; i < tries; i++) {
        if (i > 0)
            etcd_client_sleep(e->watcher, START_PAUSE_MS);
        if (sync_all(e, err)) {
            atomic_store(&e->filled, !e->first);
            return true;
        }
    }
    atomic_store(&e->filled, true);
    if (etcd_copy_revision(e->copy) == 0)
        return false;
    time_t t = (time_t)etcd_copy_time(e->copy);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
    log_error("etcd: %.*s. Serving from the local copy of %s (revision %" PRId64
              ") until it is there",
              STR_ARG(*err), when, etcd_copy_revision(e->copy));
    e->lost = true;
    atomic_store(&e->contact, etcd_clock_ms() - ((int64_t)time(NULL) - (int64_t)t) * 1000);
    return true;
}

struct store *store_etcd_open(const struct etcd_config *config, struct arena *a, struct str *err)
{
    struct etcd *e = NULL;

    if (!curl_load(a, err))
        return NULL;
    int lock = data_dir_lock(config->data_dir, a, err);
    if (lock < 0)
        return NULL;
    e = etcd_make(config);
    e->lock = lock;
    e->copy = etcd_copy_open(config->data_dir, source_of(e, a), a, err);
    if (e->copy && first_state(e, config->tries ? config->tries : 1, err))
        return &e->store;
    *err = arena_str(a, *err);
    etcd_close(&e->store);
    return NULL;
}

struct store *store_etcd_connect(const struct etcd_config *config, struct arena *a, struct str *err)
{
    if (!curl_load(a, err))
        return NULL;
    return &etcd_make(config)->store;
}
