/* SPDX-License-Identifier: Apache-2.0 */
/* Pools: a hash table of peers, each with the list of its idle connections. */
#include "upstream/pool.h"

#include <errno.h>

#include "base/hash.h"
#include "base/mem.h"
#include "loop/tls.h"

enum { BUCKETS_MIN = 64, UNUSED_MAX = 256, DRAIN_BYTES = 65536, DRAIN_MS = 1000 };

struct pool {
    struct pool *next; /* in its bucket */
    struct pools *pools;
    uint64_t hash;
    struct client_target target;
    struct tls_session session;
    struct pool_limits
        limits;       /* of whoever took last: upstreams that share a peer share its pool */
    struct list idle; /* warmest first */
    unsigned nidle;
    struct list warm;   /* in pools->warm when it has idle connections, or had some */
    bool taken;         /* one of them was, since pools_shrink last looked */
    unsigned users;     /* connections, and those who hold it */
    struct list unused; /* in pools->unused when there are none */
    char addr_text[56];
    size_t addr_n;
};

struct pools {
    struct thread *thread;
    struct pool **buckets;
    size_t nbuckets, n;
    struct list unused; /* latest first */
    unsigned nunused;
    struct list warm;   /* the latest first */
    struct list drains; /* under way */
};

struct pools *pools_new(struct thread *t)
{
    struct pools *p = mem_zero(sizeof(*p));

    p->thread = t;
    p->nbuckets = BUCKETS_MIN;
    p->buckets = mem_array(p->nbuckets, sizeof(struct pool *));
    list_init(&p->unused);
    list_init(&p->warm);
    list_init(&p->drains);
    return p;
}

static void pool_free(struct pool *p)
{
    list_remove(&p->warm);
    tls_identity_put(p->target.identity);
    tls_session_forget(&p->session);
    free((void *)(uintptr_t)p->target.server_name.p);
    free(p);
}

static void forget_oldest(struct pools *p)
{
    struct pool *old = CONTAINER(p->unused.prev, struct pool, unused);
    struct pool **at = &p->buckets[old->hash & (p->nbuckets - 1)];

    while (*at != old)
        at = &(*at)->next;
    *at = old->next;
    list_remove(&old->unused);
    p->nunused--;
    p->n--;
    pool_free(old);
}

static void set_unused(struct pool *p)
{
    list_push(&p->pools->unused, &p->unused);
    if (++p->pools->nunused > UNUSED_MAX)
        forget_oldest(p->pools);
}

void pool_hold(struct pool *p)
{
    if (p->users++ == 0) {
        list_remove(&p->unused);
        p->pools->nunused--;
    }
}

void pool_drop(struct pool *p)
{
    if (--p->users == 0)
        set_unused(p);
}

/* Closes an idle connection that is no longer counted as such. */
static void close_one(struct pool *p, struct client *c, enum reason why)
{
    client_close(c, why);
    pool_drop(p);
}

static void close_idle(struct pool *p)
{
    while (!list_empty(&p->idle))
        client_close(client_of_link(p->idle.next), REASON_DRAIN); /* unlinks itself */
    p->nidle = 0;
}

/* ---- Responses that nobody wants ---- */

struct drain {
    struct leg leg;
    struct list link;
    uint64_t left; /* bytes it may still take, */
    int64_t until_ms;
    struct loop *loop;
};

static void drain_free(struct drain *d)
{
    if (d->leg.client)
        client_abandon(d->leg.client, REASON_NOT_KEPT);
    list_remove(&d->link);
    free(d);
}

static void drain_body(struct leg *l, struct str data, bool last)
{
    struct drain *d = CONTAINER(l, struct drain, leg);

    if (last || data.n > d->left || d->loop->now_ms > d->until_ms)
        drain_free(d);
    else
        d->left -= data.n;
}

static void drain_failed(struct leg *l, enum reason why, const char *detail)
{
    (void)why;
    (void)detail;
    drain_free(CONTAINER(l, struct drain, leg));
}

/* What was queued for the upstream has gone: there is nothing to send. */
static void drain_drained(struct leg *l)
{
    (void)l;
}

static const struct leg_handler drain_handler = {
    .on_body = drain_body, .on_fail = drain_failed, .on_drained = drain_drained};

void pool_drain(struct client *c)
{
    struct pools *p = ((struct pool *)client_pool(c))->pools;
    struct drain *d = mem_zero(sizeof(*d));

    d->leg.handler = &drain_handler;
    d->left = DRAIN_BYTES;
    d->loop = &p->thread->loop;
    d->until_ms = d->loop->now_ms + DRAIN_MS;
    list_append(&p->drains, &d->link);
    if (!client_hand_over(c, &d->leg, DRAIN_BYTES, DRAIN_MS))
        drain_free(d);
}

void pools_free(struct pools *p)
{
    while (!list_empty(&p->drains))
        drain_free(CONTAINER(p->drains.next, struct drain, link));
    for (size_t i = 0; i < p->nbuckets; i++) {
        while (p->buckets[i]) {
            struct pool *one = p->buckets[i];
            p->buckets[i] = one->next;
            close_idle(one);
            pool_free(one);
        }
    }
    free(p->buckets);
    free(p);
}

static uint64_t peer_hash(const struct addr *addr, SSL_CTX *tls, struct str name,
                          const struct tls_identity *identity)
{
    uint64_t h = hash_stable(str_make((const char *)addr, sizeof(*addr)));

    if (!tls)
        return h;
    if (identity)
        h ^= tls_identity_hash(identity).a;
    return h ^ (hash_stable(name) * 31) ^ ((uint64_t)(uintptr_t)tls >> 4);
}

static void grow(struct pools *p)
{
    size_t n = p->nbuckets * 2;
    struct pool **buckets = mem_array(n, sizeof(*buckets));

    for (size_t i = 0; i < p->nbuckets; i++) {
        while (p->buckets[i]) {
            struct pool *one = p->buckets[i];
            p->buckets[i] = one->next;
            one->next = buckets[one->hash & (n - 1)];
            buckets[one->hash & (n - 1)] = one;
        }
    }
    free(p->buckets);
    p->buckets = buckets;
    p->nbuckets = n;
}

static bool same_identity(const struct tls_identity *a, const struct tls_identity *b)
{
    if (!a || !b)
        return a == b;
    struct hash128 of_a = tls_identity_hash(a), of_b = tls_identity_hash(b);
    return of_a.a == of_b.a && of_a.b == of_b.b;
}

static struct pool *pool_new(struct pools *p, const struct addr *addr, SSL_CTX *tls,
                             struct str name, struct tls_identity *identity)
{
    struct pool *one = mem_zero(sizeof(*one));

    one->pools = p;
    one->target.addr = *addr;
    one->target.tls = tls;
    one->target.session = &one->session;
    if (tls)
        one->target.server_name = str_make(str_dup(name), name.n);
    if (tls && identity)
        one->target.identity = tls_identity_get(identity);
    list_init(&one->idle);
    list_init(&one->warm);
    one->addr_n = sock_addr_text(&addr->sa, one->addr_text, true);
    return one;
}

struct pool *pools_get(struct pools *p, const struct addr *addr, SSL_CTX *tls, struct str name,
                       struct tls_identity *identity)
{
    uint64_t hash = peer_hash(addr, tls, name, identity);
    struct pool **bucket = &p->buckets[hash & (p->nbuckets - 1)];

    for (struct pool *one = *bucket; one; one = one->next)
        if (one->hash == hash && one->target.tls == tls &&
            memcmp(&one->target.addr, addr, sizeof(*addr)) == 0 &&
            (!tls || (str_eq(one->target.server_name, name) &&
                      same_identity(one->target.identity, identity))))
            return one;
    struct pool *one = pool_new(p, addr, tls, name, identity);
    one->hash = hash;
    one->next = *bucket;
    *bucket = one;
    if (++p->n > p->nbuckets)
        grow(p);
    set_unused(one);
    return one;
}

struct str pool_server_name(const struct pool *p)
{
    return p->target.server_name;
}

SSL_CTX *pool_tls(const struct pool *p)
{
    return p->target.tls;
}

struct str pool_addr_text(const struct pool *p)
{
    return str_make(p->addr_text, p->addr_n);
}

const struct addr *pool_addr(const struct pool *p)
{
    return &p->target.addr;
}

unsigned pool_idle(const struct pool *p)
{
    return p->nidle;
}

/* Closes the coldest connections until there is room for one more. */
static void make_room(struct pool *p)
{
    while (p->nidle && p->nidle >= p->limits.size) {
        struct client *c = client_of_link(p->idle.prev);
        p->nidle--;
        close_one(p, c, REASON_NOT_KEPT);
    }
}

static bool is_kept(const struct pool *p, const struct client *c)
{
    return p->limits.size && !p->pools->thread->draining &&
           !(p->limits.requests && client_requests(c) >= p->limits.requests);
}

static void on_idle(struct client *c)
{
    struct pool *p = client_pool(c);
    int64_t idle_ms = p->limits.idle_ms;
    int64_t server_ms = client_keep_alive_ms(c);

    if (!is_kept(p, c)) {
        close_one(p, c, REASON_NOT_KEPT);
        return;
    }
    make_room(p);
    /* Given up a little before the server does: a request must not meet its closing. */
    if (server_ms >= 0 && server_ms - 500 < idle_ms)
        idle_ms = server_ms > 1000 ? server_ms - 500 : server_ms / 2;
    list_push(&p->idle, client_link(c));
    if (p->nidle++ == 0) {
        list_remove(&p->warm);
        list_push(&p->pools->warm, &p->warm);
    }
    client_idle_timer(c, idle_ms);
}

static void on_closed(struct client *c)
{
    struct pool *p = client_pool(c);

    /* A connection with a leg was not in the list; client.c unlinks either way. */
    if (client_was_idle(c))
        p->nidle--;
    pool_drop(p);
}

static const struct client_owner owner = {.on_idle = on_idle, .on_closed = on_closed};

/* The warmest idle connection; with careful, the warmest that still stands. */
static struct client *take_idle(struct pool *p, bool careful)
{
    while (p->nidle) {
        struct client *c = client_of_link(p->idle.next);
        list_remove(client_link(c));
        p->nidle--;
        if (!careful || client_is_open(c)) {
            p->taken = true;
            return c;
        }
        close_one(p, c, REASON_UPSTREAM_KEPT_CLOSED);
    }
    return NULL;
}

unsigned pools_shrink(struct pools *p, unsigned max)
{
    unsigned n = 0;

    while (n < max && !list_empty(&p->warm)) {
        struct pool *last = CONTAINER(p->warm.prev, struct pool, warm);
        if (!last->nidle || last->taken) {
            list_remove(&last->warm);
            if (last->nidle)
                list_push(&p->warm, &last->warm);
            last->taken = false;
            continue;
        }
        last->nidle--;
        close_one(last, client_of_link(last->idle.prev), REASON_NOT_KEPT); /* it may go with it */
        n++;
    }
    return n;
}

/* A connection that only waits gives way to one that is wanted now. */
static struct client *connect_new(struct pool *p, struct leg *leg, int64_t connect_ms)
{
    struct client *c = client_connect(p->pools->thread, &p->target, &owner, p, leg, connect_ms);
    int error = errno;

    if (!c && (error == EMFILE || error == ENFILE) && thread_make_room(p->pools->thread))
        return client_connect(p->pools->thread, &p->target, &owner, p, leg, connect_ms);
    errno = error;
    return c;
}

enum pool_result pool_take(struct pool *p, struct leg *leg, const struct pool_limits *limits,
                           int64_t connect_ms, bool fresh, bool careful)
{
    struct client *c;

    p->limits = *limits;
    c = fresh ? NULL : take_idle(p, careful);
    if (c) {
        client_take(c, leg);
        return POOL_READY;
    }
    pool_hold(p); /* it may be the last one to shrink */
    if (connect_new(p, leg, connect_ms))
        return POOL_WAIT;
    int error = errno;
    pool_drop(p);
    errno = error;
    return POOL_FAILED;
}
