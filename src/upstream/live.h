/* SPDX-License-Identifier: Apache-2.0 */
/* What a thread knows of the upstreams beyond their configuration: resolved addresses, balancing
 * state, pools. Kept by slot while the upstream's identity (upstream->hash) stays equal, so that a
 * change elsewhere in the configuration forgets nothing. */
#ifndef UPSTREAM_LIVE_H
#define UPSTREAM_LIVE_H

#include "upstream/balance.h"
#include "upstream/discover.h"
#include "upstream/peers.h"
#include "upstream/pool.h"

struct live;

struct live_env {
    struct dns *dns;
    struct discovery discovery;
    struct pools *pools;
    struct peers *peers;
    SSL_CTX *tls_verified, *tls_unverified;
};

struct live *live_new(struct thread *t, const struct live_env *env);
void live_free(struct live *l);

/* One try's choice. */
struct pick {
    const struct node *node; /* of the upstream that was asked for; of one that is discovered, valid
                                until the next turn only: to be copied */
    struct addr addr;        /* of the node, with port */
    struct peer *peer;       /* what threads share of it; NULL: the upstream has no peers */
};

enum pick_result {
    PICK_OK,
    PICK_WAIT,       /* a name is being looked up: *wait tells which */
    PICK_NONE,       /* nothing (more) to try */
    PICK_UNRESOLVED, /* nothing to try, since no name could be resolved */
};

/* Chooses the next endpoint: nodes of the highest priority first, among them as upstream->balance
 * says, addresses of a name in turn; what was tried is not chosen again, what is down only when all
 * are. For chash tried->key tells where to. With PICK_OK a peer counts the request, and live_done
 * is due. APISIX: balancer.lua. */
enum pick_result live_pick(struct live *l, const struct upstream *u, struct tried *tried,
                           struct pick *out, struct dns_name **wait);
/* The try has ended, well or not; the peer's count goes back, and out->peer is NULL. took_us: how
 * long it took; negative: it tells nothing of the peer's speed. Only for a pick with a peer. */
void live_done(struct live *l, const struct upstream *u, struct pick *out, int64_t took_us);
/* A new configuration: upstreams whose nodes begin slowly take note of those that come and go. */
void live_follow(struct live *l, const struct snapshot *s);
/* How many endpoints the upstream has now (weight above 0); a name that is being looked up for the
 * first time counts as one. */
unsigned live_endpoints(struct live *l, const struct upstream *u);

/* The pool for a picked peer. server_name: for TLS, SNI and verification; verify: check it;
 * identity: shown when the peer asks, NULL: none. */
struct pool *live_pool(struct live *l, const struct addr *addr, bool tls, bool verify,
                       struct str server_name, struct tls_identity *identity);

#endif
