/* SPDX-License-Identifier: Apache-2.0 */
/* Names to addresses, without blocking: one resolver per thread (c-ares), with a cache that honours
 * TTLs, keeps the last good answer when a server fails, and refreshes behind the back of those who
 * ask. /etc/hosts and /etc/resolv.conf are honoured, and read again when they change. */
#ifndef UPSTREAM_DNS_H
#define UPSTREAM_DNS_H

#include "conn/thread.h"
#include "upstream/srv.h"

struct dns;

struct dns_config {
    const struct str
        *servers; /* apisix.dns_resolver: "1.1.1.1", "1.1.1.1:5353"; nservers 0: resolv.conf */
    unsigned nservers;
    const char *setting;    /* that names them, for messages; NULL: "dns_resolver" */
    int64_t valid_ms;       /* apisix.dns_resolver_valid: overrides TTLs; 0: honour them */
    int64_t timeout_ms;     /* apisix.resolver_timeout: of one whole look-up */
    bool ipv6;              /* apisix.enable_ipv6: AAAA too */
    bool no_search;         /* apisix.enable_resolv_search_opt: false: names are whole */
    struct str resolv_conf; /* in place of /etc/resolv.conf; absent: that */
};

/* A name in the cache; one object per host name, and one per service. Lives until dns_free while it
 * is held or waited for, else until the turn ends: one that nobody has asked for in a minute may
 * give way to others. */
struct dns_name {
    struct str host;
    /* Of a service: its SRV records. READY without any: there are none. They change as addrs do. */
    const struct srv_record *records;
    unsigned nrecords;
    /* All addresses of the last good answer, port 0: IPv4 before IPv6, sorted. They change only
     * between callbacks of the loop. */
    const struct addr *addrs;
    unsigned naddrs;
    uint32_t generation; /* another, never used before, whenever addrs changes (as a set); 0: no
                            answer yet */
};

/* Someone who waits for a first answer. Embedded in the waiter; linked while waiting. */
struct dns_wait {
    struct list link;
    void (*done)(struct dns_wait *w);
};

enum dns_status {
    DNS_READY, /* name->addrs can be used (perhaps stale, while it is looked up again) */
    /* The first answer is on its way, or one in place of an answer that ended over 30 s ago and
     * was not asked for since: dns_wait_start, or come again. */
    DNS_PENDING,
    DNS_FAILED, /* no answer was ever had; looked up again, but not more than once a second */
};

/* NULL: c-ares could not start, or a server is not "1.1.1.1", "1.1.1.1:53", "::1" or "[::1]:53";
 * the message is in the arena. config need not outlive the call. TTLs are held to 1 s … 1 h (RFC
 * 8767 on stale answers: a failed refresh is tried again after 1 s, 2 s … 30 s); resolv.conf is
 * looked at again at most once a second, when a name is looked up: what is under way is then asked
 * anew, and names that failed are tried at once; one that is missing or empty changes nothing.
 * Names of the hosts file, which the environment's CARES_HOSTS may replace, are read again after 10
 * s. */
struct dns *dns_new(struct thread *t, const struct dns_config *config, struct arena *a,
                    struct str *err);
/* Nobody may wait any more. */
void dns_free(struct dns *d);
/* The cache's object for host (not an IP literal), made when needed; no look-up is started. When
 * there are 65,536 that are wanted, further ones share one object that is always DNS_FAILED; that
 * is logged once. */
struct dns_name *dns_name(struct dns *d, struct str host);
/* The name stays until dns_name_drop. */
void dns_name_hold(struct dns_name *name);
void dns_name_drop(struct dns_name *name);
/* The same for the SRV records of a service ("_http._tcp.example.com"). Their targets are names to
 * be looked up in turn. */
struct dns_name *dns_service(struct dns *d, struct str name);
/* The state of the name; starts look-ups as needed. Cheap when READY and fresh. */
enum dns_status dns_status(struct dns *d, struct dns_name *name);
/* done is called once, from the loop, never inside this call, when the look-up under way has ended
 * (at the end of this turn when none is); it may do all but dns_free. */
void dns_wait_start(struct dns_name *name, struct dns_wait *w);
/* After dns_wait_start only; harmless when done was called. */
void dns_wait_cancel(struct dns_wait *w);

#endif
