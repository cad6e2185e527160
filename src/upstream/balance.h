/* SPDX-License-Identifier: Apache-2.0 */
/* The choice among endpoints where weights in turn are not enough: least_conn, ewma, chash, and
 * whatever knows of nodes that are down or have only just come. One thread's; what threads share is
 * in the endpoints' peers. */
#ifndef UPSTREAM_BALANCE_H
#define UPSTREAM_BALANCE_H

#include "config/snapshot.h"
#include "upstream/peers.h"

enum { TRIED_MARKS = 8 };

/* What an exchange has tried, so that a retry goes elsewhere. Lives in the exchange. */
struct tried {
    uint64_t endpoints[4]; /* bit per endpoint, by position; beyond 256 not remembered */
    uint64_t list;         /* whose positions these are; 0: none yet */
    uint32_t count;
    uint32_t marks[TRIED_MARKS]; /* of the last tries' addresses, for when the list changes */
    uint64_t key;                /* chash: hash of what the request is known by */
};

static inline bool was_tried(const struct tried *t, unsigned endpoint)
{
    return endpoint < 256 && t->endpoints[endpoint / 64] >> (endpoint % 64) & 1;
}

/* Two addresses of one upstream hardly ever have the same, and then one is not tried again. */
static inline uint32_t addr_mark(const struct addr *a)
{
    uint32_t words[4] = {a->in.sin_addr.s_addr, 0, 0, 0};

    if (a->sa.sa_family == AF_INET6)
        memcpy(words, &a->in6.sin6_addr, sizeof(words));
    return (words[0] ^ words[1] * 0x85ebca6bu ^ words[2] * 0xc2b2ae35u ^ words[3] * 0x27d4eb2fu) +
           a->in.sin_port * 0x9e3779b1u;
}

static inline void tried_mark(struct tried *t, unsigned endpoint)
{
    if (endpoint < 256)
        t->endpoints[endpoint / 64] |= 1ull << (endpoint % 64);
}

static inline void tried_add(struct tried *t, unsigned endpoint, const struct addr *addr)
{
    tried_mark(t, endpoint);
    t->marks[t->count++ % TRIED_MARKS] = addr_mark(addr);
}

/* The address was one of the last tries', in whatever list. */
static inline bool tried_knows(const struct tried *t, const struct addr *addr)
{
    uint32_t mark = addr_mark(addr);

    for (uint32_t i = 0; i < t->count && i < TRIED_MARKS; i++)
        if (t->marks[i] == mark)
            return true;
    return false;
}

/* An address of a node. */
struct endpoint {
    struct addr addr;  /* with port */
    unsigned node;     /* position of its node in the upstream */
    int priority;      /* the node's */
    bool down;         /* its peer is, as of the last look */
    struct peer *peer; /* NULL: none; else held */
    uint64_t hash;     /* of host and address: the same after a restart */
    int64_t full;      /* its part of the node's weight, in fractions */
    int64_t weight;    /* the same, less while it begins */
    int64_t current;   /* smooth weighted round robin */
    double score;      /* of this choice */
};

struct endpoints {
    enum balance kind;
    const struct warm_up *warm_up; /* NULL: none */
    unsigned n;
    unsigned changes; /* of the set, as of the last look */
    bool looked;
    bool all_down;          /* then it does not count (APISIX: all nodes unhealthy) */
    int64_t ramp_ms;        /* weights are computed anew then; INT64_MAX: they are as configured */
    struct endpoint list[]; /* by priority, largest first */
};

/* Room for max endpoints, which the caller adds; then balance_sort puts them in order. */
struct endpoints *balance_new(const struct upstream *u, unsigned max);
void balance_sort(struct endpoints *e);
/* Peers are the caller's to put. NULL is fine. */
void balance_free(struct endpoints *e);

/* The part of one of n addresses in its node's weight, as endpoint.full has it. */
int64_t balance_share(int weight, unsigned n);
/* Of a host and one of its addresses, the same everywhere and always. */
uint64_t balance_hash(struct str host, const struct addr *addr);

/* Looks at what the peers say: to be called before each choice; cheap when nothing has changed.
 * set: theirs; NULL: they have none. */
void balance_look(struct endpoints *e, const struct peer_set *set, int64_t now_ms);

/* Those that may be chosen now: [from, to) have the highest priority of which one is left. False:
 * none is left. Endpoints that are down are left out as long as any is up, tried ones always. */
struct tier {
    unsigned from, to;
};
bool balance_tier(const struct endpoints *e, const struct tried *t, struct tier *out);
/* The one that takes the request; marked as tried. Never NULL for a tier that balance_tier gave. */
struct endpoint *balance_choose(struct endpoints *e, struct tried *t, struct tier tier,
                                int64_t now_ms);

#endif
