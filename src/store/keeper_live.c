/* SPDX-License-Identifier: Apache-2.0 */
/* Which snapshot each worker serves, and who waits for them to serve a newer one. */
#include <time.h>

#include "base/mem.h"
#include "base/panic.h"
#include "store/keeper_int.h"

struct waiter {
    struct list link;
    uint64_t version;
    int64_t until; /* monotonic, ms */
    void (*fn)(void *arg, bool live);
    void *arg;
};

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void keeper_workers(struct keeper *k, unsigned n)
{
    ASSERT(!k->taken);
    k->taken = mem_zero(n * sizeof(*k->taken));
    k->ntaken = n;
    snapshot_get(k->current);
    k->publish(k->arg, k->current);
}

void keeper_taken(struct keeper *k, unsigned worker, uint64_t version)
{
    ASSERT(worker < k->ntaken);
    /* In one order with keeper_when_live: either it sees this version, or it is waited for here. */
    atomic_store(&k->taken[worker], version);
    if (!atomic_load(&k->waiting))
        return;
    pthread_mutex_lock(&k->mutex);
    k->look = true;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->mutex);
}

void keeper_when_live(struct keeper *k, int64_t timeout_ms, void (*fn)(void *arg, bool live),
                      void *arg)
{
    struct waiter *w = mem_alloc(sizeof(*w));

    *w = (struct waiter){
        .version = k->current->version, .until = now_ms() + timeout_ms, .fn = fn, .arg = arg};
    list_append(&k->waiters, &w->link);
    atomic_store(&k->waiting, true);
}

/* What all of them serve, at least. */
static uint64_t version_served(struct keeper *k)
{
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < k->ntaken; i++) {
        uint64_t version = atomic_load(&k->taken[i]);
        least = version < least ? version : least;
    }
    return least;
}

static void waiter_end(struct waiter *w, bool live)
{
    list_remove(&w->link);
    w->fn(w->arg, live);
    free(w);
}

int64_t keeper_live(struct keeper *k)
{
    if (list_empty(&k->waiters))
        return -1;
    uint64_t served = version_served(k);
    int64_t now = now_ms(), rest = -1;

    for (struct list *l = k->waiters.next, *next; l != &k->waiters; l = next) {
        struct waiter *w = CONTAINER(l, struct waiter, link);
        next = l->next;
        if (w->version <= served || w->until <= now)
            waiter_end(w, w->version <= served);
        else if (rest < 0 || w->until - now < rest)
            rest = w->until - now;
    }
    if (list_empty(&k->waiters))
        atomic_store(&k->waiting, false);
    return rest;
}

void keeper_live_end(struct keeper *k)
{
    while (!list_empty(&k->waiters))
        waiter_end(CONTAINER(k->waiters.next, struct waiter, link), false);
}
