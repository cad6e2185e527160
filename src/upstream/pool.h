/* SPDX-License-Identifier: Apache-2.0 */
/* Pools of kept connections, one thread's: a pool per peer (address, TLS context, server name, the
 * certificate shown to it), as APISIX's keepalive_pool identifies them. Idle ones are reused last
 * in, first out: the warmest connection serves, and the rest grow old and go. */
#ifndef UPSTREAM_POOL_H
#define UPSTREAM_POOL_H

#include "conn/client.h"

struct pool;
struct pools;

/* How many and how long (upstream.keepalive_pool). */
struct pool_limits {
    unsigned size;     /* idle connections kept; 0: none */
    unsigned requests; /* per connection; 0: no limit */
    int64_t idle_ms;
};

struct pools *pools_new(struct thread *t);
/* Closes all idle connections. No leg may be on a connection of these pools. */
void pools_free(struct pools *p);

/* The pool of a peer, made when needed. Valid until the turn ends, and while it has connections or
 * is held; of those that nobody needs the latest 256 are kept, since names may come from clients
 * without end. server_name and identity (NULL: none) count only with tls; the pool takes a
 * reference. */
struct pool *pools_get(struct pools *p, const struct addr *addr, SSL_CTX *tls,
                       struct str server_name, struct tls_identity *identity);
/* The pool stays until pool_drop. */
void pool_hold(struct pool *p);
void pool_drop(struct pool *p);
struct str pool_server_name(const struct pool *p);
SSL_CTX *pool_tls(const struct pool *p);
/* "1.2.3.4:80", for $upstream_addr. */
struct str pool_addr_text(const struct pool *p);
const struct addr *pool_addr(const struct pool *p);

/* Gives the leg a connection. POOL_READY: an idle one, the request may be sent now; POOL_WAIT: a
 * new one is being made, on_ready or on_fail will come; POOL_FAILED: none could be made. fresh: no
 * idle one is wanted. careful: an idle one is asked whether it is still open, for requests that
 * must not be lost to one that is closing. */
enum pool_result { POOL_READY, POOL_WAIT, POOL_FAILED };
enum pool_result pool_take(struct pool *p, struct leg *leg, const struct pool_limits *limits,
                           int64_t connect_ms, bool fresh, bool careful);
/* The leg's response, of which it has got the head, is not wanted: the leg is free, what is left of
 * the response is read to nothing, up to 64 KiB within a second, and the connection kept; else it
 * is closed. */
void pool_drain(struct client *c);
/* Closes up to max idle connections, first of pools that nobody has taken one from for long.
 * Returns how many. For want of descriptors. */
unsigned pools_shrink(struct pools *p, unsigned max);
unsigned pool_idle(const struct pool *p);

#endif
