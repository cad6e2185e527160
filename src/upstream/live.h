/* SPDX-License-Identifier: Apache-2.0 */
/* What a thread knows of the upstreams beyond their configuration: resolved addresses, balancing
 * state, pools. Kept by slot while the upstream's identity (upstream->hash) stays equal, so that a
 * change elsewhere in the configuration forgets nothing. */
#ifndef UPSTREAM_LIVE_H
#define UPSTREAM_LIVE_H

#include "config/snapshot.h"
#include "upstream/dns.h"
#include "upstream/peers.h"
#include "upstream/pool.h"

struct live;

struct live_env {
    struct dns *dns;
    struct pools *pools;
    struct peers *peers;
    SSL_CTX *tls_verified, *tls_unverified;
};

struct live *live_new(struct thread *t, const struct live_env *env);
void live_free(struct live *l);

/* One try's choice. */
struct pick {
    const struct node *node; /* of the upstream that was asked for */
    struct addr addr;        /* of the node, with port */
    struct peer *peer;       /* what threads share of it; NULL: the upstream has no peers */
};

enum pick_result {
    PICK_OK,
    PICK_WAIT,       /* a name is being looked up: *wait tells which */
    PICK_NONE,       /* nothing (more) to try */
    PICK_UNRESOLVED, /* nothing to try, since no name could be resolved */
};

/* What an exchange has tried, so that a retry goes elsewhere. Lives in the exchange. */
struct tried {
    uint64_t endpoints[4]; /* bit per (node, address), by position; beyond 256 not remembered */
    uint32_t count;
};

/* Chooses the next endpoint: nodes of the highest priority first, smooth weighted round robin among
 * them, addresses of a name in turn; what was tried is not chosen again. APISIX: balancer.lua,
 * roundrobin. */
enum pick_result live_pick(struct live *l, const struct upstream *u, struct tried *tried,
                           struct pick *out, struct dns_name **wait);
/* How many endpoints the upstream has now (weight above 0). */
unsigned live_endpoints(struct live *l, const struct upstream *u);

/* The pool for a picked peer. server_name: for TLS, SNI and verification; verify: check it. */
struct pool *live_pool(struct live *l, const struct addr *addr, bool tls, bool verify,
                       struct str server_name);

#endif
