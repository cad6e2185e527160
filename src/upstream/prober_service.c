/* SPDX-License-Identifier: Apache-2.0 */
/* A checked upstream whose nodes DNS knows: its service is looked at now and again, and what it
 * tells becomes the nodes that are probed. */
#include "base/mem.h"
#include "upstream/prober_int.h"

static void take(struct probed_service *s, const struct node *nodes, unsigned n)
{
    pthread_mutex_lock(&s->upstream->prober->lock);
    nodes_take(s->upstream, nodes, n, s->told == DISCOVERED_RECORDS);
    pthread_mutex_unlock(&s->upstream->prober->lock);
}

static void take_records(struct probed_service *s, const struct dns_name *name)
{
    struct found *found = found_new(&s->at, name);

    s->told = DISCOVERED_RECORDS;
    s->generation = found->generation;
    take(s, found->nodes, found->n);
    found_free(found);
}

static void look(struct probed_service *s);

static void on_name(struct dns_wait *w)
{
    struct probed_service *s = CONTAINER(w, struct probed_service, wait);

    s->waiting = false;
    look(s);
}

static void look(struct probed_service *s)
{
    struct prober *p = s->upstream->prober;
    struct node node = {.host = s->at.host, .port = s->at.port, .weight = 1};
    struct dns_name *name;
    enum discovered now = discover(&p->discovery, s->at.host, &name);

    switch (now) {
    case DISCOVERED_PENDING:
        if (!s->waiting) {
            list_init(&s->wait.link);
            s->wait.done = on_name;
            s->waiting = true;
            dns_wait_start(name, &s->wait);
        }
        return;
    case DISCOVERED_RECORDS:
        if (s->told != now || s->generation != name->generation)
            take_records(s, name);
        break;
    case DISCOVERED_ADDRS:
    case DISCOVERED_NOTHING: /* there was no answer yet: nodes of another service go */
        if (s->told != now) {
            s->told = now;
            take(s, &node, now == DISCOVERED_ADDRS);
        }
        break;
    }
    loop_timer(prober_loop(p), &s->timer, NAME_MS);
}

static void on_timer(struct timer *t)
{
    look(CONTAINER(t, struct probed_service, timer));
}

static bool is_same(const struct probed_service *s, const struct service_at *at)
{
    return s && str_eq(s->at.host, at->host) && s->at.port == at->port &&
           s->at.port_counts == at->port_counts && s->at.tls == at->tls;
}

void service_take(struct checked *up, const struct upstream *u)
{
    struct service_at at = service_of(u);

    if (is_same(up->service, &at))
        return;
    service_drop(up);
    struct probed_service *s = mem_zero(sizeof(*s) + at.host.n);
    char *text = (char *)(s + 1);
    memcpy(text, at.host.p, at.host.n);
    s->upstream = up;
    s->at = at;
    s->at.host = str_make(text, at.host.n);
    s->told = DISCOVERED_PENDING;
    timer_init(&s->timer, on_timer);
    loop_timer(prober_loop(up->prober), &s->timer, 1);
    up->service = s;
}

void service_drop(struct checked *up)
{
    struct probed_service *s = up->service;

    if (!s)
        return;
    if (s->waiting)
        dns_wait_cancel(&s->wait);
    timer_clear(&prober_loop(up->prober)->timers, &s->timer);
    free(s);
    up->service = NULL;
}
