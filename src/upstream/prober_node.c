/* SPDX-License-Identifier: Apache-2.0 */
/* The nodes of a checked upstream: what addresses they have, and the target for each. */
#include <arpa/inet.h>

#include "base/mem.h"
#include "base/random.h"
#include "conn/server.h"
#include "upstream/prober_int.h"

enum { SPREAD_MS = 1000 }; /* first probes of what comes at once come within this time */

/* ---- Targets ---- */

static void set_port(struct addr *a, uint16_t port)
{
    if (a->sa.sa_family == AF_INET6)
        a->in6.sin6_port = htons(port);
    else
        a->in.sin_port = htons(port);
}

static void target_new(struct probed *n, const struct addr *address)
{
    struct checked *up = n->upstream;
    struct prober *p = up->prober;
    struct target *t = mem_zero(sizeof(*t));
    struct addr addr = *address;
    int64_t interval = up->checks->healthy_ms;

    set_port(&addr, n->port);
    t->node = n;
    t->peer = peer_get(p->config.peers, up->set, n->host, &addr, prober_loop(p)->now_ms);
    health_begin(t->peer);
    t->first = true;
    timer_init(&t->timer, target_on_timer);
    timer_init(&t->deadline, probe_on_deadline);
    list_init(&t->due);
    list_append(&n->targets, &t->link);
    /* As if it had been probed so that the next time falls into the spread. */
    uint32_t spread = interval && interval < SPREAD_MS ? (uint32_t)interval : SPREAD_MS;
    t->last_ms = prober_loop(p)->now_ms + random_below(spread) - interval;
    target_arm(t);
}

static void target_free(struct target *t)
{
    struct prober *p = target_prober(t);
    struct checked *up = t->node->upstream;

    timer_clear(&prober_loop(p)->timers, &t->timer);
    target_unqueue(t);
    if (t->busy) {
        probe_abandon(t);
        up->running--;
        p->running--;
        loop_defer(prober_loop(p), &p->pump);
    }
    list_remove(&t->link);
    health_end(t->peer, prober_loop(p)->now_ms);
    peer_put(p->config.peers, t->peer);
    free(t);
}

static struct target *target_of_link(struct list *l)
{
    return CONTAINER(l, struct target, link);
}

/* ---- Names ---- */

static bool same_address(const struct target *t, struct addr a)
{
    set_port(&a, t->node->port);
    return memcmp(&t->peer->addr, &a, sizeof(a)) == 0;
}

static struct target *target_at(const struct probed *n, const struct addr *a)
{
    for (struct list *l = n->targets.next; l != &n->targets; l = l->next)
        if (same_address(target_of_link(l), *a))
            return target_of_link(l);
    return NULL;
}

static bool is_listed(const struct target *t, const struct dns_name *name)
{
    for (unsigned i = 0; i < name->naddrs; i++)
        if (same_address(t, name->addrs[i]))
            return true;
    return false;
}

/* The addresses that stay keep their targets. */
static void take_addresses(struct probed *n)
{
    pthread_mutex_lock(&n->upstream->prober->lock);
    for (struct list *l = n->targets.next, *next; l != &n->targets; l = next) {
        next = l->next;
        if (!is_listed(target_of_link(l), n->name))
            target_free(target_of_link(l));
    }
    for (unsigned i = 0; i < n->name->naddrs; i++)
        if (!target_at(n, &n->name->addrs[i]))
            target_new(n, &n->name->addrs[i]);
    n->generation = n->name->generation;
    pthread_mutex_unlock(&n->upstream->prober->lock);
}

static void look(struct probed *n);

static void on_name(struct dns_wait *w)
{
    struct probed *n = CONTAINER(w, struct probed, wait);

    n->waiting = false;
    look(n);
}

/* Brings the name's addresses up to date, now and again. */
static void look(struct probed *n)
{
    struct prober *p = n->upstream->prober;

    switch (dns_status(n->dns, n->name)) {
    case DNS_PENDING:
        if (!n->waiting) {
            list_init(&n->wait.link);
            n->wait.done = on_name;
            n->waiting = true;
            dns_wait_start(n->name, &n->wait);
        }
        return;
    case DNS_READY:
        if (n->generation != n->name->generation)
            take_addresses(n);
        break;
    case DNS_FAILED:
        break;
    }
    loop_timer(prober_loop(p), &n->timer, NAME_MS);
}

static void on_timer(struct timer *t)
{
    look(CONTAINER(t, struct probed, timer));
}

/* ---- Nodes ---- */

struct probed *probed_new(struct checked *up, struct str host, uint16_t port, bool absolute)
{
    struct prober *p = up->prober;
    struct probed *n = mem_zero(sizeof(*n) + host.n);
    char *text = (char *)(n + 1);
    struct addr addr;

    memcpy(text, host.p, host.n);
    n->upstream = up;
    n->host = str_make(text, host.n);
    n->port = port;
    n->absolute = absolute;
    n->dns = up->service && p->discovery.dns ? p->discovery.dns : p->dns;
    list_init(&n->targets);
    timer_init(&n->timer, on_timer);
    if (addr_parse(n->host, port, &addr)) {
        target_new(n, &addr);
    } else {
        n->name = discover_name(n->dns, n->host, absolute);
        dns_name_hold(n->name);
        loop_timer(prober_loop(p), &n->timer, 1);
    }
    return n;
}

void probed_free(struct probed *n)
{
    while (!list_empty(&n->targets))
        target_free(target_of_link(n->targets.next));
    if (n->waiting)
        dns_wait_cancel(&n->wait);
    timer_clear(&prober_loop(n->upstream->prober)->timers, &n->timer);
    if (n->name)
        dns_name_drop(n->name);
    free(n);
}

void probed_hasten(struct probed *n)
{
    for (struct list *l = n->targets.next; l != &n->targets; l = l->next) {
        struct target *t = target_of_link(l);
        if (!t->busy && list_empty(&t->due))
            target_arm(t);
    }
}
