/* SPDX-License-Identifier: Apache-2.0 */
/* The table of peers: two hash tables, of sets and of the peers in them, under one lock. Requests
 * do not take it: who holds a peer may count on it without. */
#include "upstream/peers.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/panic.h"

enum { BUCKETS_MIN = 64 };

#define HOLD        (1ull << 32)
#define ACTIVE_MASK (HOLD - 1)

/* ---- Tables ---- */

struct link {
    struct link *next; /* in its bucket */
    uint64_t hash;
};

struct table {
    struct link **buckets;
    size_t nbuckets, n; /* a power of two */
};

static void table_init(struct table *t)
{
    t->nbuckets = BUCKETS_MIN;
    t->buckets = mem_zero(t->nbuckets * sizeof(struct link *));
    t->n = 0;
}

static void table_resize(struct table *t, size_t nbuckets)
{
    struct link **old = t->buckets;
    size_t nold = t->nbuckets;

    t->nbuckets = nbuckets;
    t->buckets = mem_zero(nbuckets * sizeof(struct link *));
    for (size_t i = 0; i < nold; i++) {
        while (old[i]) {
            struct link *l = old[i], **to = &t->buckets[l->hash & (nbuckets - 1)];
            old[i] = l->next;
            l->next = *to;
            *to = l;
        }
    }
    free(old);
}

static struct link *table_first(const struct table *t, uint64_t hash)
{
    return t->buckets[hash & (t->nbuckets - 1)];
}

static void table_add(struct table *t, struct link *l, uint64_t hash)
{
    if (t->n == t->nbuckets)
        table_resize(t, t->nbuckets * 2);
    struct link **to = &t->buckets[hash & (t->nbuckets - 1)];
    l->hash = hash;
    l->next = *to;
    *to = l;
    t->n++;
}

static void table_remove(struct table *t, struct link *l)
{
    struct link **at = &t->buckets[l->hash & (t->nbuckets - 1)];

    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    t->n--;
    if (t->nbuckets > BUCKETS_MIN && t->n < t->nbuckets / 4)
        table_resize(t, t->nbuckets / 2);
}

/* ---- Sets ---- */

struct set_entry {
    struct peer_set set;
    struct link link;
    unsigned holds; /* under the lock: who got it, and its peers */
    char key[];
};

struct peer_entry {
    struct peer peer;
    struct link link;
    char host[];
};

struct peers {
    pthread_mutex_t lock;
    struct table sets, peers;
    int64_t started_ms;
};

struct peers *peers_new(void)
{
    struct peers *p = mem_zero(sizeof(*p));

    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    p->started_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    pthread_mutex_init(&p->lock, NULL);
    table_init(&p->sets);
    table_init(&p->peers);
    return p;
}

void peers_free(struct peers *p)
{
    ASSERT(p->sets.n == 0 && p->peers.n == 0);
    free(p->sets.buckets);
    free(p->peers.buckets);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static struct set_entry *set_of(struct peer_set *set)
{
    return CONTAINER(set, struct set_entry, set);
}

struct peer_set *peer_set_get(struct peers *p, struct str key)
{
    uint64_t hash = hash_str(key);
    struct set_entry *e = NULL;

    pthread_mutex_lock(&p->lock);
    for (struct link *l = table_first(&p->sets, hash); l && !e; l = l->next) {
        struct set_entry *one = CONTAINER(l, struct set_entry, link);
        if (l->hash == hash && str_eq(one->set.key, key))
            e = one;
    }
    if (!e) {
        e = mem_zero(sizeof(*e) + key.n + 1);
        memcpy(e->key, key.p ? key.p : "", key.n);
        e->set.key = str_make(e->key, key.n);
        e->set.started_ms = p->started_ms;
        table_add(&p->sets, &e->link, hash);
    }
    e->holds++;
    pthread_mutex_unlock(&p->lock);
    return &e->set;
}

static void set_drop(struct peers *p, struct set_entry *e)
{
    if (--e->holds)
        return;
    table_remove(&p->sets, &e->link);
    free(e);
}

void peer_set_put(struct peers *p, struct peer_set *set)
{
    pthread_mutex_lock(&p->lock);
    set_drop(p, set_of(set));
    pthread_mutex_unlock(&p->lock);
}

void peer_set_settle(struct peer_set *set)
{
    if (!atomic_load_explicit(&set->settled, memory_order_relaxed))
        atomic_store_explicit(&set->settled, true, memory_order_relaxed);
}

/* ---- Peers ---- */

static struct peer_entry *peer_of(struct peer *peer)
{
    return CONTAINER(peer, struct peer_entry, peer);
}

static bool is_named(const struct peer *peer, const struct peer_set *set, struct str host,
                     const struct addr *addr)
{
    return peer->set == set && memcmp(&peer->addr, addr, sizeof(*addr)) == 0 &&
           str_eq(peer->host, host);
}

static struct peer_entry *entry_new(struct peer_set *set, struct str host, const struct addr *addr,
                                    int64_t now_ms)
{
    struct peer_entry *e = mem_zero(sizeof(*e) + host.n + 1);

    memcpy(e->host, host.p ? host.p : "", host.n);
    e->peer.host = str_make(e->host, host.n);
    e->peer.addr = *addr;
    e->peer.set = set;
    atomic_init(&e->peer.serves_ms,
                atomic_load_explicit(&set->settled, memory_order_relaxed) ? now_ms : 0);
    set_of(set)->holds++;
    return e;
}

struct peer *peer_get(struct peers *p, struct peer_set *set, struct str host,
                      const struct addr *addr, int64_t now_ms)
{
    uint64_t hash = hash_str(host) ^ hash_str(str_make((const char *)addr, sizeof(*addr))) ^
                    set_of(set)->link.hash;
    struct peer_entry *e = NULL;

    pthread_mutex_lock(&p->lock);
    for (struct link *l = table_first(&p->peers, hash); l && !e; l = l->next) {
        struct peer_entry *one = CONTAINER(l, struct peer_entry, link);
        if (l->hash == hash && is_named(&one->peer, set, host, addr))
            e = one;
    }
    if (!e) {
        e = entry_new(set, host, addr, now_ms);
        table_add(&p->peers, &e->link, hash);
    }
    atomic_fetch_add_explicit(&e->peer.uses, HOLD, memory_order_relaxed);
    pthread_mutex_unlock(&p->lock);
    return &e->peer;
}

/* Takes `what` off the uses. Only under the lock may they become 0, since peer_get, under the lock
 * too, takes up whatever is in the table. */
static void uses_drop(struct peers *p, struct peer *peer, unsigned long long what)
{
    unsigned long long now = atomic_load_explicit(&peer->uses, memory_order_relaxed);

    while (now != what)
        if (atomic_compare_exchange_weak_explicit(&peer->uses, &now, now - what,
                                                  memory_order_release, memory_order_relaxed))
            return;
    pthread_mutex_lock(&p->lock);
    if (atomic_fetch_sub_explicit(&peer->uses, what, memory_order_acq_rel) == what) {
        struct peer_entry *e = peer_of(peer);
        table_remove(&p->peers, &e->link);
        set_drop(p, set_of(peer->set));
        free(e);
    }
    pthread_mutex_unlock(&p->lock);
}

void peer_put(struct peers *p, struct peer *peer)
{
    uses_drop(p, peer, HOLD);
}

void peer_begin(struct peer *peer)
{
    atomic_fetch_add_explicit(&peer->uses, 1, memory_order_relaxed);
}

void peer_end(struct peers *p, struct peer *peer)
{
    uses_drop(p, peer, 1);
}

unsigned peer_active(const struct peer *peer)
{
    return (unsigned)(atomic_load_explicit(&peer->uses, memory_order_relaxed) & ACTIVE_MASK);
}

bool peer_set_down(struct peer *peer, bool down, int64_t now_ms)
{
    if (atomic_exchange(&peer->down, down) == down)
        return false;
    if (!down)
        atomic_store(&peer->serves_ms, now_ms);
    atomic_fetch_add(&peer->set->changes, 1);
    return true;
}
