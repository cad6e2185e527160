/* SPDX-License-Identifier: Apache-2.0 */
/* The prober's thread: follows the configuration, upstream by upstream. */
#include "upstream/prober.h"

#include "base/mem.h"
#include "base/os_thread.h"
#include "base/panic.h"
#include "upstream/prober_int.h"

enum { HEAD_BYTES = 16384 }; /* of a probe's response; the rest is not read */

/* ---- Upstreams ---- */

/* absolute: as of all nodes that an upstream has at a time. */
static int node_cmp(const struct probed *n, const struct node *node, bool absolute)
{
    int c = str_cmp(n->host, node->host);

    c = c ? c : (int)n->port - (int)node->port;
    return c ? c : (int)n->absolute - (int)absolute;
}

static int by_name(const void *one, const void *two)
{
    const struct node *const *a = one, *const *b = two;
    int c = str_cmp((*a)->host, (*b)->host);

    return c ? c : (int)(*a)->port - (int)(*b)->port;
}

/* The nodes in order, each once; the caller frees. */
static const struct node **sorted_nodes(const struct node *nodes, unsigned *n)
{
    const struct node **list = mem_array(*n, sizeof(*list));
    unsigned kept = 0;

    for (unsigned i = 0; i < *n; i++)
        list[i] = &nodes[i];
    if (*n)
        qsort(list, *n, sizeof(struct node *), by_name);
    for (unsigned i = 0; i < *n; i++)
        if (kept == 0 || by_name(&list[kept - 1], &list[i]) != 0)
            list[kept++] = list[i];
    *n = kept;
    return list;
}

void nodes_take(struct checked *up, const struct node *nodes, unsigned n, bool absolute)
{
    unsigned at = 0;
    const struct node **want = sorted_nodes(nodes, &n);
    struct probed **kept = mem_array(n, sizeof(*kept));

    for (unsigned i = 0; i < n; i++) {
        int c = -1;
        while (at < up->nnodes && (c = node_cmp(up->nodes[at], want[i], absolute)) < 0)
            probed_free(up->nodes[at++]);
        kept[i] = at < up->nnodes && c == 0
                      ? up->nodes[at++]
                      : probed_new(up, want[i]->host, want[i]->port, absolute);
    }
    while (at < up->nnodes)
        probed_free(up->nodes[at++]);
    free(up->nodes);
    free(want);
    up->nodes = kept;
    up->nnodes = n;
}

static void take_nodes(struct checked *up, const struct upstream *u)
{
    if (u->discovered) {
        service_take(up, u);
        return;
    }
    service_drop(up);
    nodes_take(up, u->nodes, u->nnodes, false);
    /* Of names the workers know as well as we do when all have been looked up. */
    for (unsigned i = 0; i < up->nnodes; i++)
        if (up->nodes[i]->name)
            return;
    peer_set_settle(up->set);
}

static void take_checks(struct checked *up, const struct upstream *u)
{
    struct arena old = up->arena;

    arena_init(&up->arena, NULL);
    up->checks = checks_copy(&up->arena, u->checks);
    up->upstream_host = u->pass_host == PASS_HOST_REWRITE ? arena_str(&up->arena, u->upstream_host)
                                                          : STR_NONE;
    arena_fini(&old);
}

static const struct trie_edit own_trie = {.version = 1};

static struct checked *checked_new(struct prober *p, const struct upstream *u)
{
    struct checked *up = mem_zero(sizeof(*up));

    up->prober = p;
    up->set = peer_set_get(p->config.peers, u->key);
    arena_init(&up->arena, NULL);
    list_init(&up->due);
    list_init(&up->ready);
    trie_set(&p->by_key, &own_trie, up->set->key, TRIE_EXACT, up);
    return up;
}

static void checked_free(struct checked *up)
{
    service_drop(up);
    for (unsigned i = 0; i < up->nnodes; i++)
        probed_free(up->nodes[i]);
    free(up->nodes);
    list_remove(&up->ready);
    /* Its key may have come back under another slot already. */
    if (trie_get(up->prober->by_key, up->set->key, TRIE_EXACT) == up)
        trie_set(&up->prober->by_key, &own_trie, up->set->key, TRIE_EXACT, NULL);
    peer_set_put(up->prober->config.peers, up->set);
    arena_fini(&up->arena);
    free(up);
}

/* ---- Snapshots ---- */

static void slots_grow(struct prober *p, uint32_t n)
{
    if (n <= p->nslots)
        return;
    n = n < 64 ? 64 : n < 2 * p->nslots ? 2 * p->nslots : n;
    p->slots = mem_resize(p->slots, n * sizeof(struct checked *));
    memset(p->slots + p->nslots, 0, (n - p->nslots) * sizeof(struct checked *));
    p->nslots = n;
}

static void follow(struct prober *p, const struct snapshot *s, uint32_t slot)
{
    const struct upstream *u = slot < s->nupstreams ? s->upstreams[slot] : NULL;

    pthread_mutex_lock(&p->lock);
    slots_grow(p, slot + 1);
    struct checked *up = p->slots[slot];
    if (up && (!u || !u->checks || !str_eq(up->set->key, u->key))) {
        checked_free(up);
        p->slots[slot] = up = NULL;
    }
    if (u && u->checks) {
        if (!up)
            p->slots[slot] = up = checked_new(p, u);
        take_checks(up, u);
        take_nodes(up, u);
        for (unsigned i = 0; i < up->nnodes; i++)
            probed_hasten(up->nodes[i]);
    }
    pthread_mutex_unlock(&p->lock);
}

static void follow_all(struct prober *p, const struct snapshot *s)
{
    uint32_t n = p->nslots > s->nupstreams ? p->nslots : s->nupstreams;

    for (uint32_t slot = 0; slot < n; slot++)
        if ((slot < p->nslots && p->slots[slot]) ||
            (slot < s->nupstreams && s->upstreams[slot] && s->upstreams[slot]->checks))
            follow(p, s, slot);
    p->seen = s->version;
}

struct order {
    struct message message;
    struct prober *prober;
    const struct snapshot *snapshot;
};

static void give_order(struct prober *p, void (*run)(struct message *m), const struct snapshot *s)
{
    struct order *o = mem_zero(sizeof(*o));

    o->message.run = run;
    o->prober = p;
    o->snapshot = s;
    loop_post(prober_loop(p), &o->message);
}

static void on_publish(struct message *m)
{
    struct order *o = CONTAINER(m, struct order, message);
    const struct snapshot *s = o->snapshot;
    struct prober *p = o->prober;

    if (s->checks.since > p->seen) {
        follow_all(p, s);
    } else {
        for (uint32_t i = 0; i < s->checks.n; i++)
            follow(p, s, s->checks.slots[i]);
        p->seen = s->version;
    }
    snapshot_put(s);
    free(o);
}

void prober_publish(struct prober *p, const struct snapshot *snapshot)
{
    if (snapshot->checks.n)
        give_order(p, on_publish, snapshot);
    else
        snapshot_put(snapshot);
}

/* ---- Start and stop ---- */

struct prober *prober_new(const struct prober_config *config, const struct snapshot *first,
                          struct arena *a, struct str *err)
{
    struct prober *p = mem_zero(sizeof(*p));

    p->config = *config;
    if (!thread_init(&p->thread, 0)) {
        *err = STR("the kernel gave no epoll descriptor");
        return NULL;
    }
    p->thread.upstream_head = (struct h1_limits){.head_bytes = HEAD_BYTES, .headers = HEADERS_MAX};
    pthread_mutex_init(&p->lock, NULL);
    list_init(&p->ready);
    task_init(&p->pump, prober_pump);
    p->dns = dns_new(&p->thread, &config->dns, a, err);
    p->discovery.order = config->order;
    if (p->dns && config->discovery)
        p->discovery.dns = dns_new(&p->thread, config->discovery, a, err);
    if (!p->dns || (config->discovery && !p->discovery.dns))
        return NULL;
    follow_all(p, first);
    snapshot_put(first);
    return p;
}

static void *thread_main(void *arg)
{
    struct prober *p = arg;

    loop_run(prober_loop(p));
    return NULL;
}

void prober_start(struct prober *p)
{
    bool ok = os_thread_start(&p->id, "prober", thread_main, p);

    ASSERT(ok);
    p->started = true;
}

static void on_stop(struct message *m)
{
    struct order *o = CONTAINER(m, struct order, message);

    loop_stop(prober_loop(o->prober));
    free(o);
}

void prober_stop(struct prober *p)
{
    if (p->started) {
        give_order(p, on_stop, NULL);
        pthread_join(p->id, NULL);
    }
    for (uint32_t i = 0; i < p->nslots; i++)
        if (p->slots[i])
            checked_free(p->slots[i]);
    free(p->slots);
    trie_free(p->by_key);
    if (p->discovery.dns)
        dns_free(p->discovery.dns);
    dns_free(p->dns);
    pthread_mutex_destroy(&p->lock);
    thread_fini(&p->thread);
    free(p);
}
