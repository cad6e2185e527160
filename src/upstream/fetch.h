/* SPDX-License-Identifier: Apache-2.0 */
/* A fetch: one HTTP request of the gateway's own and its response, with one deadline for all of it.
 * Plugins see it through plugin.h; whoever has a thread, a resolver and pools can make one. */
#ifndef UPSTREAM_FETCH_H
#define UPSTREAM_FETCH_H

#include "plugin/plugin.h"
#include "upstream/dns.h"
#include "upstream/pool.h"

enum { FETCH_HEADERS_MAX = 200 };

/* Const once made. */
struct fetch_target {
    struct str host;      /* name or address, without brackets */
    struct str authority; /* for the Host header */
    struct str uri;       /* path and query */
    uint16_t port;
    bool tls;
    struct fetch_options options; /* with their defaults */
};

/* Takes a URL apart, into the arena. NULL: it is no http or https URL. */
struct fetch_target *fetch_target_new(struct arena *a, struct str url,
                                      const struct fetch_options *options);

/* What a thread has for it. */
struct fetch_env {
    struct thread *thread;
    struct dns *dns;
    struct pools *pools;
    SSL_CTX *tls_verified, *tls_unverified;
};

/* One fetch; the caller's memory. */
struct fetching {
    struct fetch fetch; /* first: the result */
    struct head head;   /* of the response; lines in the arena */
    /* private */
    struct fetch_env env;
    const struct fetch_target *to;
    struct fetch_request request;
    struct arena *arena;
    void (*done)(struct fetching *f);
    struct leg leg;
    struct dns_wait wait;
    struct timer deadline;
    struct task failed; /* tells of what failed at once, in a later turn */
    struct buf body;
    struct addr *addrs; /* those that are left to try, in the arena */
    unsigned naddrs;
    bool waiting; /* for the name */
    bool over;
};

/* Begins. done(f) is called once, from the loop, never inside this call, unless it is cancelled
 * before. The memory of *f, and what the request points to, stay until then; the arena until
 * fetching_fini. */
void fetching_start(struct fetching *f, const struct fetch_env *env, const struct fetch_target *to,
                    const struct fetch_request *request, struct arena *a,
                    void (*done)(struct fetching *f));
/* Gives it up; harmless when it is over. */
void fetching_cancel(struct fetching *f);
/* Frees the response's body, after done or cancel. */
void fetching_fini(struct fetching *f);

#endif
