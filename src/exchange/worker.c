/* SPDX-License-Identifier: Apache-2.0 */
/* A worker thread: its loop, listeners, and the configuration it holds. */
#include "exchange/worker.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/os_thread.h"
#include "base/panic.h"
#include "config/lua.h"
#include "exchange/access_log.h"
#include "exchange/exchange.h"
#include "loop/log_file.h"

/* ---- Configuration
 * --------------------------------------------------------------------------------- */

static struct hold *hold_new(const struct snapshot *s)
{
    struct hold *h = mem_zero(sizeof(*h));

    h->snapshot = s;
    return h;
}

struct hold *worker_hold(struct worker *w)
{
    w->hold->users++;
    return w->hold;
}

void worker_release(struct worker *w, struct hold *h)
{
    if (--h->users || h == w->hold)
        return;
    snapshot_put(h->snapshot);
    free(h);
}

struct publish_message {
    struct message message;
    struct worker *worker;
    const struct snapshot *snapshot;
};

static void on_publish(struct message *m)
{
    struct publish_message *p = CONTAINER(m, struct publish_message, message);
    const struct worker_config *config = p->worker->config;
    struct hold *old = p->worker->hold;

    p->worker->hold = hold_new(p->snapshot);
    live_follow(p->worker->live, p->snapshot);
    atomic_store_explicit(&p->worker->serving, p->snapshot->version, memory_order_release);
    if (config->on_taken)
        config->on_taken(config->on_taken_arg, p->worker->thread.index, p->snapshot->version);
    old->users++;
    worker_release(p->worker, old);
    free(p);
}

void worker_publish(struct worker *w, const struct snapshot *snapshot)
{
    struct publish_message *p = mem_zero(sizeof(*p));

    p->message.run = on_publish;
    p->worker = w;
    p->snapshot = snapshot;
    loop_post(&w->thread.loop, &p->message);
}

uint64_t worker_serving(const struct worker *w)
{
    return atomic_load_explicit(&w->serving, memory_order_acquire);
}

/* ---- Start and stop
 * ---------------------------------------------------------------------------------- */

/* Jobs post their end to the loop, so it runs until there are none. */
static void stop_if_done(struct worker *w)
{
    if (w->thread.draining && !w->exchanges && !w->jobs && server_is_empty(w->server))
        loop_stop(&w->thread.loop);
}

void worker_ended_one(struct worker *w)
{
    stop_if_done(w);
}

static void on_empty(void *owner)
{
    stop_if_done(owner);
}

/* Those to upstreams first: nobody has to come again for them. */
static bool make_room(struct thread *t)
{
    enum { AT_ONCE = 64, LOG_MS = 1000 };
    struct worker *w = CONTAINER(t, struct worker, thread);
    unsigned n = pools_shrink(w->pools, AT_ONCE), clients = 0;

    if (!n)
        clients = server_close_idle(w->server, AT_ONCE);
    if ((n || clients) && t->loop.now_ms - w->room_log_ms >= LOG_MS) {
        w->room_log_ms = t->loop.now_ms;
        log_warn("worker %u: no descriptors are left: %u idle connections of %s are closed",
                 t->index, n ? n : clients, n ? "upstreams" : "clients");
    }
    return n || clients;
}

/* What is left then are jobs that cannot be called off: a moment for them too. */
static void end_now(struct worker *w)
{
    w->thread.draining = w->closed = true;
    server_close(w->server);
    loop_timer(&w->thread.loop, &w->drain_timer, WORKER_JOBS_MS);
    stop_if_done(w);
}

static void on_drain_over(struct timer *t)
{
    struct worker *w = CONTAINER(t, struct worker, drain_timer);

    if (w->closed) {
        log_error("worker %u: %u jobs did not end in time and are left behind", w->thread.index,
                  w->jobs);
        w->hung = true;
        loop_stop(&w->thread.loop);
        return;
    }
    log_warn("worker %u: %u connections did not end in time and are closed", w->thread.index,
             server_connections(w->server));
    end_now(w);
}

/* ---- Listeners
 * ------------------------------------------------------------------------------------- */

static const struct tls_site *find_site(void *owner, struct str name)
{
    struct worker *w = owner;
    const struct site *site = snapshot_site(w->hold->snapshot,
                                            name.p ? name : w->config->fallback_sni);

    return site ? &site->tls : NULL;
}

static bool listen_all(struct worker *w, struct arena *a, struct str *err)
{
    server_set_tls(w->server, w->config->tls, find_site);
    for (unsigned i = 0; i < w->config->nlisten; i++) {
        const struct listen_addr *l = &w->config->listen[i];
        if (!server_listen(w->server, &l->addr, l->tls, true, a, err))
            return false;
    }
    return true;
}

struct listen_message {
    struct message message;
    struct worker *worker;
    struct listen_change change; /* its lists are behind the struct, then the sockets */
    const int *sockets;
};

static void on_listen(struct message *m)
{
    struct listen_message *l = CONTAINER(m, struct listen_message, message);
    struct arena a;
    struct str err;

    arena_init(&a, NULL);
    for (unsigned i = 0; i < l->change.ndrop; i++)
        server_unlisten(l->worker->server, &l->change.drop[i].addr);
    for (unsigned i = 0; i < l->change.nadd; i++) {
        const struct listen_addr *add = &l->change.add[i];
        if (l->worker->thread.draining)
            close(l->sockets[i]);
        else if (!server_adopt(l->worker->server, l->sockets[i], &add->addr, add->tls, &a, &err))
            log_error("worker %u: %.*s", l->worker->thread.index, STR_ARG(err));
    }
    arena_fini(&a);
    free(l);
}

void worker_listen(struct worker *w, const struct listen_change *change, const int *sockets)
{
    size_t add = change->nadd * sizeof(*change->add), drop = change->ndrop * sizeof(*change->drop);
    struct listen_message *l = mem_zero(sizeof(*l) + add + drop + change->nadd * sizeof(int));
    struct listen_addr *behind = (struct listen_addr *)(l + 1);

    l->message.run = on_listen;
    l->worker = w;
    l->change = (struct listen_change){behind, behind + change->nadd, change->nadd, change->ndrop};
    l->sockets = (const int *)(behind + change->nadd + change->ndrop);
    if (add)
        memcpy(behind, change->add, add);
    if (drop)
        memcpy(behind + change->nadd, change->drop, drop);
    if (change->nadd)
        memcpy(behind + change->nadd + change->ndrop, sockets, change->nadd * sizeof(int));
    loop_post(&w->thread.loop, &l->message);
}

/* ---- Birth
 * ----------------------------------------------------------------------------------------- */

struct worker *worker_new(unsigned index, const struct worker_config *config,
                          const struct snapshot *first, struct arena *a, struct str *err)
{
    struct worker *w = mem_zero(sizeof(*w));

    w->config = config;
    if (!thread_init(&w->thread, index)) {
        *err = STR("the kernel gave no epoll descriptor");
        return NULL;
    }
    w->thread.limits = config->limits;
    w->thread.upstream_head = config->upstream_head;
    w->hold = hold_new(first);
    timer_init(&w->drain_timer, on_drain_over);
    w->server = server_new(&w->thread, &exchange_stream_handler, w);
    server_on_empty(w->server, on_empty);
    w->thread.make_room = make_room;
    w->pools = pools_new(&w->thread);
    w->dns = dns_new(&w->thread, &config->dns, a, err);
    if (w->dns && config->discovery_on)
        w->discovery = dns_new(&w->thread, &config->discovery, a, err);
    if (!w->dns || (config->discovery_on && !w->discovery) || !listen_all(w, a, err))
        return NULL;
    struct live_env env = {.dns = w->dns,
                           .discovery = {w->discovery, config->discovery_order},
                           .pools = w->pools,
                           .peers = config->peers,
                           .tls_verified = config->tls_verified,
                           .tls_unverified = config->tls_unverified};
    w->live = live_new(&w->thread, &env);
    if (config->access_log)
        w->access = access_log_buffer(config->access_log, &w->thread.loop);
    return w;
}

static void *thread_main(void *arg)
{
    struct worker *w = arg;

    atomic_store_explicit(&w->serving, w->hold->snapshot->version, memory_order_release);
    loop_run(&w->thread.loop);
    return NULL;
}

void worker_start(struct worker *w)
{
    char name[16];

    snprintf(name, sizeof(name), "worker %u", w->thread.index);
    bool ok = os_thread_start(&w->id, name, thread_main, w);
    ASSERT(ok);
}

struct order {
    struct message message;
    struct worker *worker;
};

static void give_order(struct worker *w, void (*run)(struct message *m))
{
    struct order *o = mem_zero(sizeof(*o));

    o->message.run = run;
    o->worker = w;
    loop_post(&w->thread.loop, &o->message);
}

static void on_drain(struct message *m)
{
    struct order *o = CONTAINER(m, struct order, message);
    struct worker *w = o->worker;

    free(o);
    w->thread.draining = true;
    server_drain(w->server);
    loop_timer(&w->thread.loop, &w->drain_timer, w->config->drain_ms);
    stop_if_done(w);
}

static void on_stop(struct message *m)
{
    struct order *o = CONTAINER(m, struct order, message);

    end_now(o->worker);
    free(o);
}

void worker_drain(struct worker *w)
{
    give_order(w, on_drain);
}

void worker_stop(struct worker *w)
{
    give_order(w, on_stop);
}

/* Its thread has ended, or was never started. */
static void worker_free(struct worker *w)
{
    server_free(w->server);
    live_free(w->live);
    pools_free(w->pools);
    dns_free(w->dns);
    if (w->discovery)
        dns_free(w->discovery);
    if (w->access)
        log_buffer_free(w->access);
    lua_vm_free(w->lua);
    snapshot_put(w->hold->snapshot);
    free(w->hold);
    thread_fini(&w->thread);
    free(w);
}

bool worker_join(struct worker *w)
{
    pthread_join(w->id, NULL);
    if (w->hung) {
        if (w->access)
            log_buffer_free(w->access);
        return false;
    }
    worker_free(w);
    return true;
}
