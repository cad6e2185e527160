/* SPDX-License-Identifier: Apache-2.0 */
/* Live upstream state: endpoints from nodes and names, and the choice among them. */
#include "upstream/live.h"

#include <arpa/inet.h>

#include "base/mem.h"
#include "conn/server.h"
#include "upstream/ewma.h"

struct live_node {
    const struct node *node; /* in the upstream of the snapshot seen last */
    int weight, priority;    /* the node's */
    struct dns_name *name;   /* NULL: an address */
    struct addr *addrs;      /* on the heap, or `only` */
    unsigned naddrs, next;   /* next: the address whose turn it is */
    unsigned first;          /* position of its first address among the upstream's endpoints */
    uint32_t generation;
    int64_t current; /* smooth weighted round robin: grows by weight, shrinks by the total */
    struct addr only;
};

struct live_upstream {
    uint64_t hash;
    /* Of the snapshot seen last. An address alone could be another upstream's by now: hash and
     * nodes are compared too. */
    const struct upstream *config;
    const struct node *base;
    struct dns *dns;
    struct found *found; /* the nodes, where SRV records tell them; else the configuration's */
    unsigned n, endpoints;
    uint32_t serial, changes; /* together the number of its list of addresses */
    bool moved;               /* a name has other addresses than `list` knows */
    struct endpoints *list;   /* made at the first choice; NULL for ever: weights in turn are all */
    struct peer_set *set;     /* NULL: nothing is shared with other threads */
    uint32_t slot;
    struct list warming; /* in live->warming: nodes begin slowly */
    struct live_node nodes[];
};

struct live {
    struct thread *thread;
    struct live_env env;
    struct live_upstream **slots;
    uint32_t nslots, serials;
    struct list warming;
};

struct live *live_new(struct thread *t, const struct live_env *env)
{
    struct live *l = mem_zero(sizeof(*l));

    l->thread = t;
    l->env = *env;
    list_init(&l->warming);
    return l;
}

static void free_addrs(struct live_node *ln)
{
    if (ln->addrs != &ln->only)
        free(ln->addrs);
}

static void node_fini(struct live_node *ln)
{
    free_addrs(ln);
    if (ln->name)
        dns_name_drop(ln->name);
}

static void endpoints_free(struct live *l, struct endpoints *e)
{
    for (unsigned i = 0; e && i < e->n; i++)
        if (e->list[i].peer)
            peer_put(l->env.peers, e->list[i].peer);
    balance_free(e);
}

static void upstream_free(struct live *l, struct live_upstream *lu)
{
    if (!lu)
        return;
    endpoints_free(l, lu->list);
    if (lu->set)
        peer_set_put(l->env.peers, lu->set);
    list_remove(&lu->warming);
    for (unsigned i = 0; i < lu->n; i++)
        node_fini(&lu->nodes[i]);
    found_free(lu->found);
    free(lu);
}

void live_free(struct live *l)
{
    for (uint32_t i = 0; i < l->nslots; i++)
        upstream_free(l, l->slots[i]);
    free(l->slots);
    free(l);
}

static void set_addrs(struct live_node *ln, const struct addr *addrs, unsigned n)
{
    free_addrs(ln);
    ln->addrs = n == 1 ? &ln->only : mem_array(n, sizeof(*addrs));
    ln->naddrs = n;
    for (unsigned i = 0; i < n; i++) {
        ln->addrs[i] = addrs[i];
        if (addrs[i].sa.sa_family == AF_INET6)
            ln->addrs[i].in6.sin6_port = htons(ln->node->port);
        else
            ln->addrs[i].in.sin_port = htons(ln->node->port);
    }
    if (ln->next >= n)
        ln->next = 0;
}

/* The same node in another snapshot. */
static void node_follow(struct live_node *ln, const struct node *node)
{
    ln->node = node;
    ln->weight = node->weight;
    ln->priority = node->priority;
}

static void node_init(struct dns *dns, struct live_node *ln, const struct node *node, bool absolute)
{
    struct addr addr;

    node_follow(ln, node);
    if (addr_parse(node->host, node->port, &addr))
        set_addrs(ln, &addr, 1);
    else
        ln->name = discover_name(dns, node->host, absolute);
    if (ln->name)
        dns_name_hold(ln->name);
}

/* Takes found; NULL: the configuration's nodes. */
static struct live_upstream *upstream_new(struct live *l, const struct upstream *u,
                                          struct found *found)
{
    unsigned n = found ? found->n : u->nnodes;
    struct live_upstream *lu = mem_zero(sizeof(*lu) + n * sizeof(struct live_node));

    lu->hash = u->hash;
    lu->config = u;
    lu->base = u->nodes;
    lu->found = found;
    lu->n = n;
    lu->slot = u->slot;
    lu->serial = ++l->serials;
    lu->dns = u->discovered && l->env.discovery.dns ? l->env.discovery.dns : l->env.dns;
    list_init(&lu->warming);
    if (u->warm_up)
        list_append(&l->warming, &lu->warming);
    if (u->peers)
        lu->set = peer_set_get(l->env.peers, u->key);
    for (unsigned i = 0; i < n; i++)
        node_init(lu->dns, &lu->nodes[i], found ? &found->nodes[i] : &u->nodes[i], found);
    return lu;
}

/* Weights in turn are not all that decides. */
static bool is_balanced(const struct upstream *u)
{
    return u->peers || u->balance != BALANCE_ROUNDROBIN;
}

/* Brings a name's addresses up to date. PICK_OK when the node has some. */
static enum pick_result refresh(struct live_upstream *lu, struct live_node *ln)
{
    if (!ln->name)
        return PICK_OK;
    switch (dns_status(lu->dns, ln->name)) {
    case DNS_PENDING:
        return PICK_WAIT;
    case DNS_FAILED:
        return PICK_UNRESOLVED;
    case DNS_READY:
        break;
    }
    if (!ln->addrs || ln->generation != ln->name->generation) {
        set_addrs(ln, ln->name->addrs, ln->name->naddrs);
        ln->generation = ln->name->generation;
        lu->moved = true;
        lu->changes++;
    }
    return PICK_OK;
}

static void refresh_all(struct live_upstream *lu)
{
    unsigned at = 0, pending = 0;

    for (unsigned i = 0; i < lu->n; i++) {
        struct live_node *ln = &lu->nodes[i];
        ln->first = at;
        if (ln->weight <= 0)
            continue;
        pending += refresh(lu, ln) == PICK_WAIT && !ln->naddrs;
        at += ln->naddrs;
    }
    lu->endpoints = at + pending;
}

/* Positions in another list than before say nothing of this one's: then what was tried is looked
 * for by its address. True: so it is, and what had been noted is gone. */
static bool tried_renew(struct tried *t, const struct live_upstream *lu)
{
    uint64_t list = (uint64_t)lu->serial << 32 | lu->changes;
    bool other = t->list != list && t->count > 0;

    if (other)
        memset(t->endpoints, 0, sizeof(t->endpoints));
    t->list = list;
    return other;
}

static void tried_follow(struct tried *t, const struct live_upstream *lu)
{
    if (!tried_renew(t, lu))
        return;
    for (unsigned i = 0; i < lu->n; i++)
        for (unsigned k = 0; lu->nodes[i].weight > 0 && k < lu->nodes[i].naddrs; k++)
            if (tried_knows(t, &lu->nodes[i].addrs[k]))
                tried_mark(t, lu->nodes[i].first + k);
}

static void tried_follow_list(struct tried *t, const struct live_upstream *lu)
{
    if (!tried_renew(t, lu))
        return;
    for (unsigned i = 0; i < lu->list->n; i++)
        if (tried_knows(t, &lu->list->list[i].addr))
            tried_mark(t, i);
}

static bool has_untried(const struct live_node *ln, const struct tried *t)
{
    for (unsigned i = 0; i < ln->naddrs; i++)
        if (!was_tried(t, ln->first + i))
            return true;
    return false;
}

static bool is_candidate(struct live_upstream *lu, struct live_node *ln, const struct tried *t,
                         struct dns_name **wait, bool *unresolved)
{
    if (ln->weight <= 0)
        return false;
    switch (refresh(lu, ln)) {
    case PICK_WAIT:
        *wait = ln->name;
        return false;
    case PICK_UNRESOLVED:
        *unresolved = true;
        return false;
    case PICK_OK:
    case PICK_NONE:
        break;
    }
    return !t->count || has_untried(ln, t);
}

/* Smooth weighted round robin (nginx's): each candidate gains its weight, the largest is chosen and
 * pays the total. Only nodes of the highest priority that has a candidate take part. */
static struct live_node *choose(struct live_upstream *lu, const struct tried *t,
                                struct dns_name **wait, bool *unresolved)
{
    struct live_node *best = NULL;
    int64_t total = 0;
    int priority = INT32_MIN, pending = INT32_MIN;
    struct dns_name *first = NULL;

    for (unsigned i = 0; i < lu->n; i++) {
        struct live_node *ln = &lu->nodes[i];
        *wait = NULL;
        if (ln->priority > priority && is_candidate(lu, ln, t, wait, unresolved))
            priority = ln->priority;
        if (*wait && (!first || ln->priority > pending)) {
            first = *wait;
            pending = ln->priority;
        }
    }
    *wait = first;
    /* A node of lower priority does not step in while a name is looked up for the first time. */
    if (first && pending > priority)
        return NULL;
    for (unsigned i = 0; i < lu->n; i++) {
        struct live_node *ln = &lu->nodes[i];
        if (ln->priority != priority || !is_candidate(lu, ln, t, wait, unresolved))
            continue;
        total += ln->weight;
        ln->current += ln->weight;
        if (!best || ln->current > best->current)
            best = ln;
    }
    if (best)
        best->current -= total;
    return best;
}

static void take_address(struct live_node *ln, struct tried *t, struct pick *out)
{
    unsigned i = ln->next;

    while (was_tried(t, ln->first + i) && t->count)
        i = (i + 1) % ln->naddrs;
    ln->next = (i + 1) % ln->naddrs;
    tried_add(t, ln->first + i, &ln->addrs[i]);
    out->node = ln->node;
    out->addr = ln->addrs[i];
}

/* ---- More than weights in turn ---- */

/* What is to be waited for, or why there is nothing. */
struct missing {
    struct dns_name *name; /* of the highest priority that is being looked up; NULL: none is */
    int priority;
    bool unresolved;
};

/* Brings all names up to date. */
static void look_up_all(struct live_upstream *lu, struct missing *m)
{
    for (unsigned i = 0; i < lu->n; i++) {
        struct live_node *ln = &lu->nodes[i];
        if (ln->weight <= 0 || !ln->name)
            continue;
        enum pick_result r = refresh(lu, ln);
        if (r == PICK_UNRESOLVED)
            m->unresolved = true;
        if (r != PICK_WAIT || (m->name && ln->priority <= m->priority))
            continue;
        m->name = ln->name;
        m->priority = ln->priority;
    }
}

static void endpoints_of_node(struct live *l, struct live_upstream *lu, unsigned node)
{
    const struct live_node *ln = &lu->nodes[node];
    int64_t now_ms = l->thread->loop.now_ms;

    for (unsigned i = 0; i < ln->naddrs && ln->weight > 0; i++) {
        struct endpoint *e = &lu->list->list[lu->list->n++];
        *e = (struct endpoint){.addr = ln->addrs[i],
                               .node = node,
                               .priority = ln->priority,
                               .full = balance_share(ln->weight, ln->naddrs),
                               .hash = balance_hash(ln->node->host, &ln->addrs[i])};
        if (lu->set)
            e->peer = peer_get(l->env.peers, lu->set, ln->node->host, &e->addr, now_ms);
    }
}

static void list_make(struct live *l, struct live_upstream *lu)
{
    struct endpoints *old = lu->list;
    unsigned n = 0;

    for (unsigned i = 0; i < lu->n; i++)
        n += lu->nodes[i].weight > 0 ? lu->nodes[i].naddrs : 0;
    lu->list = balance_new(lu->config, n);
    for (unsigned i = 0; i < lu->n; i++)
        endpoints_of_node(l, lu, i);
    balance_sort(lu->list);
    lu->moved = false;
    endpoints_free(l, old);
}

static void list_refresh(struct live *l, struct live_upstream *lu, struct missing *m)
{
    look_up_all(lu, m);
    if (!lu->list || lu->moved)
        list_make(l, lu);
    if (lu->set && !m->name)
        peer_set_settle(lu->set);
}

/* Peers that stay are held anew before they are let go. */
static struct live_upstream *replace(struct live *l, const struct upstream *u, struct found *found)
{
    struct live_upstream *old = l->slots[u->slot], *new = upstream_new(l, u, found);
    struct missing ignored = {.name = NULL};

    if (old && is_balanced(u))
        list_refresh(l, new, &ignored);
    upstream_free(l, old);
    return l->slots[u->slot] = new;
}

static struct live_upstream *find(struct live *l, const struct upstream *u)
{
    if (u->slot >= l->nslots) {
        uint32_t n = u->slot + 64;
        l->slots = mem_resize(l->slots, n * sizeof(struct live_upstream *));
        memset(l->slots + l->nslots, 0, (n - l->nslots) * sizeof(struct live_upstream *));
        l->nslots = n;
    }
    struct live_upstream *lu = l->slots[u->slot];
    if (lu && lu->config == u && lu->hash == u->hash && lu->base == u->nodes)
        return lu;
    if (lu && lu->hash == u->hash && (lu->found || lu->n == u->nnodes)) {
        lu->config = u;
        lu->base = u->nodes;
        for (unsigned i = 0; i < lu->n && !lu->found; i++)
            node_follow(&lu->nodes[i], &u->nodes[i]);
        if (lu->list)
            lu->list->warm_up = u->warm_up;
        return lu;
    }
    return replace(l, u, NULL);
}

/* ---- Services ---- */

/* The upstream with the nodes that its service has now. */
static enum pick_result follow_service(struct live *l, struct live_upstream **lu,
                                       const struct upstream *u, struct dns_name **wait)
{
    struct service_at at = service_of(u);
    struct dns_name *name;

    switch (discover(&l->env.discovery, at.host, &name)) {
    case DISCOVERED_PENDING:
        *wait = name;
        return PICK_WAIT;
    case DISCOVERED_NOTHING:
        return PICK_UNRESOLVED;
    case DISCOVERED_RECORDS:
        if (!(*lu)->found || (*lu)->found->generation != name->generation)
            *lu = replace(l, u, found_new(&at, name));
        break;
    case DISCOVERED_ADDRS:
        if ((*lu)->found)
            *lu = replace(l, u, NULL);
        break;
    }
    return PICK_OK;
}

static enum pick_result pick_balanced(struct live *l, struct live_upstream *lu, struct tried *tried,
                                      struct pick *out, struct dns_name **wait)
{
    int64_t now_ms = l->thread->loop.now_ms;
    struct missing m = {.name = NULL};
    struct tier tier;

    list_refresh(l, lu, &m);
    tried_follow_list(tried, lu);
    balance_look(lu->list, lu->set, now_ms);
    bool any = balance_tier(lu->list, tried, &tier);
    /* A node of lower priority does not step in while a name is looked up for the first time. */
    if (m.name && (!any || m.priority > lu->list->list[tier.from].priority)) {
        *wait = m.name;
        return PICK_WAIT;
    }
    if (!any)
        return m.unresolved && !tried->count ? PICK_UNRESOLVED : PICK_NONE;
    struct endpoint *e = balance_choose(lu->list, tried, tier, now_ms);
    out->node = lu->nodes[e->node].node;
    out->addr = e->addr;
    out->peer = e->peer;
    if (e->peer)
        peer_begin(e->peer);
    return PICK_OK;
}

void live_done(struct live *l, const struct upstream *u, struct pick *out, int64_t took_us)
{
    if (u->balance == BALANCE_EWMA && took_us >= 0)
        ewma_add(out->peer, took_us, l->thread->loop.now_ms);
    peer_end(l->env.peers, out->peer);
    out->peer = NULL;
}

/* Without this a thread that gets no requests would hold on to nodes that are gone, and they would
 * not be new when they come again. */
void live_follow(struct live *l, const struct snapshot *s)
{
    struct list all = l->warming;

    if (list_empty(&l->warming))
        return;
    all.next->prev = all.prev->next = &all;
    list_init(&l->warming);
    while (!list_empty(&all)) {
        struct live_upstream *lu = CONTAINER(all.next, struct live_upstream, warming);
        const struct upstream *u = lu->slot < s->nupstreams ? s->upstreams[lu->slot] : NULL;
        struct missing ignored = {.name = NULL};
        list_remove(&lu->warming);
        list_append(&l->warming, &lu->warming);
        if (u) {
            lu = find(l, u);
            if (u->warm_up)
                list_refresh(l, lu, &ignored);
        } else {
            l->slots[lu->slot] = NULL;
            upstream_free(l, lu);
        }
    }
}

/* ---- The whole ---- */

enum pick_result live_pick(struct live *l, const struct upstream *u, struct tried *tried,
                           struct pick *out, struct dns_name **wait)
{
    struct live_upstream *lu = find(l, u);
    struct live_node *best;
    bool unresolved = false;

    *wait = NULL;
    if (u->discovered) {
        enum pick_result r = follow_service(l, &lu, u, wait);
        if (r != PICK_OK)
            return r;
    }
    if (is_balanced(u))
        return pick_balanced(l, lu, tried, out, wait);
    out->peer = NULL;
    if (lu->n == 1 && !lu->nodes[0].name) {
        /* One address: nothing to balance. */
        best = lu->nodes[0].weight > 0 && !tried->count ? &lu->nodes[0] : NULL;
    } else {
        refresh_all(lu);
        tried_follow(tried, lu);
        best = choose(lu, tried, wait, &unresolved);
    }
    if (best) {
        *wait = NULL;
        take_address(best, tried, out);
        return PICK_OK;
    }
    if (*wait)
        return PICK_WAIT;
    return unresolved && !tried->count ? PICK_UNRESOLVED : PICK_NONE;
}

unsigned live_endpoints(struct live *l, const struct upstream *u)
{
    struct live_upstream *lu = find(l, u);

    refresh_all(lu);
    return lu->endpoints;
}

struct pool *live_pool(struct live *l, const struct addr *addr, bool tls, bool verify,
                       struct str server_name, struct tls_identity *identity)
{
    SSL_CTX *ctx = !tls ? NULL : verify ? l->env.tls_verified : l->env.tls_unverified;

    return pools_get(l->env.pools, addr, ctx, server_name, identity);
}
