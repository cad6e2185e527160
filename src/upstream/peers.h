/* SPDX-License-Identifier: Apache-2.0 */
/* Peers: what all threads together know of an upstream's endpoints: requests under way, how fast
 * it answers, whether it is down, since when it serves. One table in the process; workers and
 * whoever probes find the same peer under the same name, and what is known of it lives as long as
 * anybody holds it, whatever happens to the configuration around it. */
#ifndef UPSTREAM_PEERS_H
#define UPSTREAM_PEERS_H

#include <stdatomic.h>

#include "conn/thread.h"

struct peers;

/* The peers of one upstream, by its resource key. */
struct peer_set {
    struct str key;      /* "/upstreams/1", "/routes/1" */
    int64_t started_ms;  /* when the table was made: with the process */
    atomic_bool settled; /* peers that are made from now on have only just come into service */
    atomic_uint changes; /* one up whenever a peer goes down, comes back or begins anew: what was
                            computed from that is old */
};

/* One endpoint. What a choice among peers reads seldom changes and stands first; what each request
 * writes is at least a cache line away from it. */
struct peer {
    struct peer_set *set;
    struct str host;        /* the node's, as configured */
    struct addr addr;       /* with port */
    atomic_bool down;       /* not to be chosen while another is up; peer_set_down writes it */
    atomic_llong serves_ms; /* monotonic: it came into service then; 0: it was there all along */
    atomic_ullong health;   /* upstream/health's: state and counts, and who probes it */

    char apart[64];
    atomic_ullong uses;  /* low half: requests under way in all threads; high half: who holds it */
    atomic_ullong speed; /* upstream/ewma's */
};

/* now_ms, below: monotonic, as loop.now_ms. */
struct peers *peers_new(void);
/* Everything must have been put back. */
void peers_free(struct peers *p);

/* The set of that upstream, made when needed. Takes a lock: not for each request. */
struct peer_set *peer_set_get(struct peers *p, struct str key);
void peer_set_put(struct peers *p, struct peer_set *set);

/* Whoever has found peers for all of an upstream's endpoints says so: the next ones are new. */
void peer_set_settle(struct peer_set *set);

/* The peer of that name in the set, which it holds; made when needed, up. Takes a lock: when an
 * upstream or its addresses change, not for each request. host: the node's, so that two names that
 * share an address are judged apart. */
struct peer *peer_get(struct peers *p, struct peer_set *set, struct str host,
                      const struct addr *addr, int64_t now_ms);
void peer_put(struct peers *p, struct peer *peer);

/* A request (or a probe that should count as one) begins and ends at the peer, which is held in
 * between. One atomic operation each. The caller may give its own hold away in between. */
void peer_begin(struct peer *peer);
void peer_end(struct peers *p, struct peer *peer);
/* Requests under way now, in all threads. */
unsigned peer_active(const struct peer *peer);

/* Its health; any thread may call. Returns true when that is a change. A peer that comes back
 * begins its slow start at now_ms. */
bool peer_set_down(struct peer *peer, bool down, int64_t now_ms);
static inline bool peer_is_down(const struct peer *peer)
{
    return atomic_load_explicit(&peer->down, memory_order_relaxed);
}

#endif
