/* SPDX-License-Identifier: Apache-2.0 */
/* The nodes of a service that DNS knows (discovery_type dns): told by SRV records, or by the
 * addresses of its name, as discovery.dns.order says (APISIX: discovery/dns, core/dns/client.lua).
 * Workers and the prober ask in the same way, so that they find the same peers. */
#ifndef UPSTREAM_DISCOVER_H
#define UPSTREAM_DISCOVER_H

#include "config/snapshot.h"
#include "upstream/dns.h"

/* Where services are looked up by one thread. */
struct discovery {
    struct dns *dns; /* NULL: there are none */
    enum discovery_order order;
};

/* What an upstream says of its service; the string is the upstream's. */
struct service_at {
    struct str host;
    uint16_t port;    /* of nodes whose records say none, and of addresses */
    bool port_counts; /* of all nodes */
    bool tls;
};
struct service_at service_of(const struct upstream *u);

enum discovered {
    DISCOVERED_RECORDS, /* *name has the service's records */
    DISCOVERED_ADDRS, /* the service's name is the one node; its addresses are not asked for yet */
    DISCOVERED_PENDING, /* *name is being looked up (dns_wait_start) */
    DISCOVERED_NOTHING, /* no server answers */
};

/* What tells the service's nodes now; starts look-ups as needed. Cheap when nothing has changed. */
enum discovered discover(const struct discovery *d, struct str service, struct dns_name **name);

/* Nodes made of a service's records, which they outlive. */
struct found {
    uint32_t generation; /* of the service: whose records */
    unsigned n;
    struct arena arena;
    struct node *nodes; /* their names are whole, whatever search domains there are */
};
struct found *found_new(const struct service_at *at, const struct dns_name *service);
/* NULL is let pass. */
void found_free(struct found *f);

/* The name of a node that is no address; absolute: as those of found nodes are. */
struct dns_name *discover_name(struct dns *dns, struct str host, bool absolute);

#endif
