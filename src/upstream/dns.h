/* SPDX-License-Identifier: Apache-2.0 */
/* Names to addresses, without blocking: one resolver per thread (c-ares), with a cache that honours
 * TTLs, keeps the last good answer when a server fails, and refreshes behind the back of those who
 * ask. /etc/hosts and /etc/resolv.conf are honoured. */
#ifndef UPSTREAM_DNS_H
#define UPSTREAM_DNS_H

#include "conn/thread.h"

struct dns;

struct dns_config {
    struct str
        *servers; /* apisix.dns_resolver: "1.1.1.1", "1.1.1.1:5353"; nservers 0: resolv.conf */
    unsigned nservers;
    int64_t valid_ms;   /* apisix.dns_resolver_valid: overrides TTLs; 0: honour them */
    int64_t timeout_ms; /* apisix.resolver_timeout: of one whole look-up */
    bool ipv6;          /* apisix.enable_ipv6: AAAA too */
};

/* A name in the cache. Lives until dns_free; one object per host name. */
struct dns_name {
    struct str host;
    const struct addr *addrs; /* port 0; all addresses of the last good answer */
    unsigned naddrs;
    uint32_t generation; /* one up whenever addrs changes (as a set) */
};

/* Someone who waits for a first answer. Embedded in the waiter; linked while waiting. */
struct dns_wait {
    struct list link;
    void (*done)(struct dns_wait *w);
};

enum dns_status {
    DNS_READY,   /* name->addrs can be used (perhaps stale, while it is looked up again) */
    DNS_PENDING, /* the first answer is on its way: dns_wait_start, or come again */
    DNS_FAILED,  /* no answer was ever had; looked up again, but not more than once a second */
};

/* NULL: c-ares could not start; the message is in the arena. */
struct dns *dns_new(struct thread *t, const struct dns_config *config, struct arena *a,
                    struct str *err);
/* Nobody may wait any more. */
void dns_free(struct dns *d);
/* The cache's object for host, made when needed; no look-up is started. */
struct dns_name *dns_name(struct dns *d, struct str host);
/* The state of the name; starts look-ups as needed. Cheap when READY and fresh. */
enum dns_status dns_status(struct dns *d, struct dns_name *name);
/* done is called once, from the loop, never inside this call, when a look-up under way has ended.
 */
void dns_wait_start(struct dns_name *name, struct dns_wait *w);
void dns_wait_cancel(struct dns_wait *w);

#endif
