/* SPDX-License-Identifier: Apache-2.0 */
/* The prober: one thread with a loop of its own that runs the active health checks of all
 * upstreams. It begins with the first snapshot, before any request comes, and finds a node's state
 * where it left it when the configuration around the node changes. */
#ifndef UPSTREAM_PROBER_H
#define UPSTREAM_PROBER_H

#include "config/snapshot.h"
#include "upstream/discover.h"
#include "upstream/health.h"

struct prober;

struct prober_config {
    struct peers *peers;
    struct dns_config dns;
    const struct dns_config *discovery;     /* of services (discovery.dns); NULL: there are none */
    enum discovery_order order;             /* of their records */
    SSL_CTX *tls_verified, *tls_unverified; /* by https_verify_certificate */
};

/* Its thread is not running yet. All upstreams of the first snapshot (whose reference it takes)
 * will be probed. config need not outlive the call, what it points to must. NULL with a message. */
struct prober *prober_new(const struct prober_config *config, const struct snapshot *first,
                          struct arena *a, struct str *err);
void prober_start(struct prober *p);
/* From another thread: the next snapshot; takes its reference. Costs nothing when no upstream with
 * checks has changed in it, else in proportion to those that have. Snapshots come in order. */
void prober_publish(struct prober *p, const struct snapshot *snapshot);
/* From another thread, started or not: gives up what is under way, waits for the thread's end, puts
 * back the peers, frees. */
void prober_stop(struct prober *p);

/* A node as it is probed, as APISIX's control API shows it (GET /v1/healthcheck). */
struct prober_node {
    struct str host; /* checks.active.host; without it the address */
    struct str ip;
    uint16_t port;          /* that is probed */
    struct str host_header; /* the upstream's, or the node's name; absent: neither */
    struct health health;
};

/* Calls `each` for the nodes of the upstream with that resource key ("/routes/1"), none when it has
 * no checks or no address is known. From any thread, under a lock: `each` must be quick and call
 * nothing of the prober's; strings are valid during the call. */
typedef void prober_node_fn(void *to, const struct prober_node *node);
void prober_nodes(struct prober *p, struct str key, prober_node_fn *each, void *to);

#endif
