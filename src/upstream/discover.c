/* SPDX-License-Identifier: Apache-2.0 */
/* What tells a service's nodes, and the nodes of SRV records. */
#include "upstream/discover.h"

#include <string.h>

#include "base/mem.h"

struct service_at service_of(const struct upstream *u)
{
    return (struct service_at){.host = u->nodes->host,
                               .port = u->nodes->port,
                               .port_counts = u->service_port,
                               .tls = u->tls};
}

/* Records where addresses would have been preferred. */
static enum discovered only_records(const struct discovery *d, struct dns_name *service,
                                    struct dns_name **name)
{
    *name = service;
    switch (dns_status(d->dns, service)) {
    case DNS_PENDING:
        return DISCOVERED_PENDING;
    case DNS_READY:
        return DISCOVERED_RECORDS;
    case DNS_FAILED:
        break;
    }
    return DISCOVERED_NOTHING;
}

enum discovered discover(const struct discovery *d, struct str host, struct dns_name **name)
{
    *name = NULL;
    if (d->order == DISCOVER_ADDRS || !d->dns)
        return DISCOVERED_ADDRS;
    struct dns_name *service = dns_service(d->dns, host);
    struct dns_name *addrs = dns_name(d->dns, host);
    bool srv_first = d->order != DISCOVER_ADDRS_SRV;
    *name = srv_first ? service : addrs;
    switch (dns_status(d->dns, *name)) {
    case DNS_PENDING:
        return DISCOVERED_PENDING;
    case DNS_READY:
        if (!srv_first)
            return DISCOVERED_ADDRS;
        if (d->order == DISCOVER_SRV || service->nrecords)
            return DISCOVERED_RECORDS;
        break;
    case DNS_FAILED:
        break;
    }
    if (d->order == DISCOVER_SRV)
        return DISCOVERED_NOTHING;
    return srv_first ? DISCOVERED_ADDRS : only_records(d, service, name);
}

/* Nodes as APISIX makes them (core/dns/client.lua): a weight of 0 counts as 1, the lower priority
 * comes first, a port of 0 is the scheme's. A target that is the root says that there is none (RFC
 * 2782). */
struct found *found_new(const struct service_at *at, const struct dns_name *service)
{
    struct found *f = mem_zero(sizeof(*f));
    uint16_t own = at->tls ? 443 : 80;

    arena_init(&f->arena, NULL);
    f->generation = service->generation;
    f->nodes = arena_zero(&f->arena, (service->nrecords + 1) * sizeof(*f->nodes));
    for (unsigned i = 0; i < service->nrecords; i++) {
        const struct srv_record *r = &service->records[i];
        struct node *node = &f->nodes[f->n];
        if (!r->target.n)
            continue;
        node->host = arena_str(&f->arena, r->target);
        node->port = at->port_counts || !r->port ? at->port : r->port;
        node->address = arena_printf(&f->arena, "%.*s:%u", STR_ARG(r->target), node->port);
        node->default_port = node->port == own;
        node->weight = r->weight ? r->weight : 1;
        node->priority = -(int)r->priority;
        f->n++;
    }
    return f;
}

void found_free(struct found *f)
{
    if (!f)
        return;
    arena_fini(&f->arena);
    free(f);
}

struct dns_name *discover_name(struct dns *dns, struct str host, bool absolute)
{
    char text[260];

    if (!absolute || host.n >= sizeof(text))
        return dns_name(dns, host);
    memcpy(text, host.p, host.n);
    text[host.n] = '.';
    return dns_name(dns, str_make(text, host.n + 1));
}
