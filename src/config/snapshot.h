/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot: the whole configuration, compiled, const, shared by all threads. The builder makes
 * each one from the last by copying only the paths that change (config/build.h); a worker holds one
 * reference and lends it to its exchanges, so everything reached from a snapshot lives while an
 * exchange runs. */
#ifndef CONFIG_SNAPSHOT_H
#define CONFIG_SNAPSHOT_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/str.h"
#include "config/kind.h"
#include "loop/tls_server.h"
#include "plugin/plugin.h"

struct checks;
struct regex;
struct router;
struct trie;

enum phase {
    PHASE_REWRITE,
    PHASE_ACCESS,
    PHASE_BEFORE_PROXY,
    PHASE_HEADER_FILTER,
    PHASE_BODY_FILTER,
    PHASE_LOG,
    PHASE_COUNT
};

/* `_meta` of a plugin's configuration (APISIX: plugin.lua). Absent members are NULL/absent. */
struct plugin_meta {
    struct str error_response; /* body that replaces a refusal's (status >= 400) */
    bool error_is_json;        /* it was an object */
    const struct expr
        *filter; /* run the plugin only when it matches; evaluated once per exchange */
    const struct lua_source *pre_function; /* called before each of the plugin's phases */
};

/* What of the request's body variables ask for; the larger includes the smaller. */
enum body_need { BODY_NONE, BODY_GRAPHQL, BODY_POST_ARG };

/* One plugin as configured at one place. Lives in the arena of the resource that holds it. */
struct plugin_use {
    const struct plugin *plugin;
    void *conf;
    int priority;                   /* plugin->priority, or _meta.priority */
    bool from_consumer;             /* laid over the route by a consumer or its group, which has
                                       no such plugin itself: its rewrite has not run yet */
    bool disabled;                  /* _meta.disable: in no phase, but it hides what it covers */
    uint8_t body;                   /* enum body_need of its texts and expressions */
    const struct plugin_meta *meta; /* NULL: none */
};

/* A use with its place in the exchange's frames. */
struct step {
    struct plugin_use use;
    uint32_t frame_at; /* offset of the plugin's frame in the chain's frames */
    uint16_t index;    /* unique in the chain, < chain->n */
};

/* The merged plugins of a route, flattened: each phase lists only the plugins that have it, by
 * priority, largest first. There are as many chains as routes: it is small. */
struct chain {
    const struct step *steps;
    const uint16_t *places;     /* of all phases, one after the other: indices of steps */
    uint32_t frame_size;        /* bytes for all frames */
    uint16_t n;                 /* steps */
    uint8_t body;               /* enum body_need: the most that its steps ask for */
    uint16_t ends[PHASE_COUNT]; /* of each phase's list in places */
};

/* How many plugins have the phase. */
static inline unsigned chain_count(const struct chain *c, enum phase phase)
{
    return c->ends[phase] - (phase ? c->ends[phase - 1] : 0u);
}

static inline const struct step *chain_step(const struct chain *c, enum phase phase, unsigned i)
{
    return &c->steps[c->places[(phase ? c->ends[phase - 1] : 0u) + i]];
}

/* Lays `over` (n uses) over the chain, in the arena: a plugin present in both gets the new
 * configuration, and its frame starts anew. Steps that stay keep their frame_at and index, so that
 * frames already in use stay valid; new ones come after chain->frame_size. base may be NULL.
 * A step that was replaced stays in `steps`, but in no phase. APISIX: plugin.merge_consumer_route.
 */
const struct chain *chain_overlay(struct arena *a, const struct chain *base,
                                  const struct plugin_use *over, unsigned n);

enum balance { BALANCE_ROUNDROBIN, BALANCE_CHASH, BALANCE_EWMA, BALANCE_LEAST_CONN };
enum pass_host { PASS_HOST_PASS, PASS_HOST_NODE, PASS_HOST_REWRITE };

/* Which records of a service are asked for (discovery.dns.order); those behind only where there are
 * none of the first. */
enum discovery_order { DISCOVER_SRV, DISCOVER_SRV_ADDRS, DISCOVER_ADDRS_SRV, DISCOVER_ADDRS };

struct node {
    struct str host;    /* name or address, without brackets */
    struct str address; /* "host:port" as variables and logs show it, IPv6 in brackets */
    uint16_t port;
    bool is_ip;
    bool default_port; /* of the scheme: left out of a Host header */
    int weight;        /* 0: never picked */
    int priority;      /* larger is tried first */
};

/* Slow start. */
struct warm_up {
    int64_t window_ms, interval_ms;
    int64_t grace_ms;  /* what is first seen so soon after the start of the process was there */
    double min_share;  /* of the weight, to begin with */
    double aggression; /* above 1: more at the beginning */
};

/* When else another node is tried (upstream.retry_on). */
struct retry_on {
    uint64_t statuses[4]; /* bit per status, from 400 */
    uint16_t methods;     /* bit per enum method: may be sent again; 0: the idempotent ones */
};

struct timeouts {
    int64_t connect_ms, send_ms, read_ms;
};

/* What each request reads stands first, close together. */
struct upstream {
    uint64_t hash; /* of what balancing depends on: live state is kept while it stays equal */
    struct node *nodes;
    unsigned nnodes;
    uint32_t slot; /* its place in snapshot->upstreams and in each worker's table of live state */
    enum pass_host pass_host;
    bool tls;          /* scheme https */
    bool verify_off;   /* tls.verify: false */
    bool discovered;   /* nodes[0] is no node but a service, whose nodes DNS knows */
    bool service_port; /* its port counts, whatever the records say */
    bool peers;        /* threads share what they know of its endpoints (upstream/peers.h): it has
                          health checks, or balances by more than weights */
    unsigned keepalive_size, keepalive_requests;
    int64_t keepalive_idle_ms;
    struct timeouts timeouts;
    int64_t retry_timeout_ms; /* 0: none */
    int retries;              /* -1: as many as there are other nodes */
    enum balance balance;
    const struct text *hash_on;      /* chash: what a request is known by; NULL: not chash */
    const struct warm_up *warm_up;   /* NULL: none */
    const struct retry_on *retry_on; /* NULL: failures of idempotent requests alone */
    const struct checks *checks;     /* NULL: none (config/checks.h) */
    struct str upstream_host;        /* for PASS_HOST_REWRITE */
    struct str key; /* resource key, "/upstreams/1" or "/routes/1" for an inline one */
    struct tls_identity *identity; /* shown to the servers; NULL: none of its own */
    struct str identity_id;        /* of an ssl of type client instead; absent: none */
    struct str id, name;
};

enum { UPSTREAM_NONE = UINT32_MAX };

struct service {
    struct str id, name;
};

/* What a request seldom needs of its route. */
struct route_about {
    struct str id, name;
    const struct str *uris;  /* as configured: whole paths, or prefixes that end with `*` */
    const struct str *hosts; /* lower case, `*` in front of a suffix; the service's, when the route
                                names none */
    unsigned nuris, nhosts;
    const struct service *service;        /* NULL: none */
    const struct timeouts *timeouts;      /* overrides the upstream's; NULL: none */
    const struct cidr_list *remote_addrs; /* NULL: all (config/cidr.h) */
    const struct expr *vars;              /* NULL: none */
    const struct lua_source *filter;      /* filter_func; NULL: none */
    int64_t priority;
};

/* What router_match looks at beyond the path, the host and the method. */
enum route_test {
    ROUTE_HOSTS = 1 << 0,
    ROUTE_ADDRS = 1 << 1,
    ROUTE_GLOB = 1 << 2, /* the URI is more than a path or a prefix: compared by segment */
    ROUTE_ASKS = 1 << 3, /* vars, filter_func */
};

/* A route as one of its URIs leads to it. With many routes the processor's caches miss on each new
 * one, so all that each request reads is in one half of a cache line: keep it at 32 bytes. */
struct route {
    const struct route_about *about;
    const struct chain *chain; /* merged route > plugin_config > service; NULL: no plugins */
    uint32_t upstream;         /* slot, or UPSTREAM_NONE */
    uint32_t nth;              /* of about->uris */
    uint16_t methods;          /* bits 1 << enum method; 0: all */
    uint16_t broken; /* a status (502, 503, 404) answered because a reference or an auth plugin is
                        missing (inventory §2.1, design §2 #9); 0: fine */
    uint8_t tests;   /* enum route_test */
    bool timeouts;   /* about->timeouts is there */
    bool websocket;
};

/* The URI that led to the route, as configured. */
static inline struct str route_uri(const struct route *r)
{
    return r->about->uris[r->nth];
}

struct credential {
    struct str username;
    const struct consumer *consumer; /* NULL: a document of its own, whose consumer is looked up */
    const void *conf;                /* of the auth plugin's consumer table */
    struct str id; /* credential's id; absent when configured on the consumer itself */
};

struct consumer {
    struct str username;
    struct str custom_id;          /* label custom_id */
    struct str group_id;           /* absent: none */
    const struct plugin_use *uses; /* its plugins but the auth ones */
    unsigned nuses;
    bool closed; /* what should restrict it cannot run: nobody may be it */
};

/* Its plugins lie over the route's and under the consumer's. */
struct consumer_group {
    const struct plugin_use *uses;
    unsigned nuses;
    bool closed; /* its consumers are refused */
};

/* The upstreams that changed in this snapshot, had checks or have them now; of most there are none.
 * Who has seen the snapshot `since` need look at no others. */
struct checks_change {
    uint64_t since; /* version of the last snapshot before this one with such a change; 0: none */
    const uint32_t *slots; /* some may be named more than once */
    uint32_t n;
};

/* What server names are served with: an ssl of type server. */
struct site {
    struct tls_site tls;
    struct str id;
    struct regex *const *skip; /* paths that need no certificate of the client */
    unsigned nskip;
    bool mutual; /* certificates of clients are wanted; without authorities none is good enough */
};

struct snapshot {
    uint64_t version;
    int64_t revision; /* of the store's last change in it */
    const struct router *router;
    const struct chain *global; /* global rules, merged; NULL: none */
    bool global_closed; /* a global rule that guards everything cannot run: nothing passes */
    const struct upstream *const *upstreams; /* by slot; entries may be NULL */
    uint32_t nupstreams;
    struct checks_change checks;    /* what changed for who probes */
    const struct trie *credentials; /* key: snapshot_credential_key; value: struct credential */
    const struct trie *consumers;   /* by username; value: struct consumer */
    const struct trie *groups;      /* by id; value: struct consumer_group */
    const struct trie *metadata;    /* by plugin; value: parsed by the plugin's metadata table */
    const struct trie *sites;       /* by server name backwards; value: struct site_name */
    bool mutual;                    /* some site wants certificates of its clients */
    const struct trie *identities;  /* ssls of type client by id; value: struct tls_identity */
    atomic_uint refs;               /* threads that hold it; builder-private otherwise */
};

/* By the auth plugin's name and the key as configured; NULL: nobody. O(1) in the number of
 * consumers. */
const struct credential *snapshot_credential(const struct snapshot *s, const char *plugin,
                                             struct str key);
/* Whose it is; NULL: of nobody who may use it. */
const struct consumer *snapshot_owner(const struct snapshot *s, const struct credential *c);
/* NULL: not there, or closed. */
const struct consumer *snapshot_consumer(const struct snapshot *s, struct str username);
/* NULL: none is stored, or the plugin has no table for it. */
const void *snapshot_metadata(const struct snapshot *s, const char *plugin);
/* The site of a server name (lower case, without a final dot): the one that names it, else the one
 * with the longest `*.` that stands for one label, else the one of `*`. NULL: none. O(length). */
const struct site *snapshot_site(const struct snapshot *s, struct str name);
/* The site that a host is below: as snapshot_site, but a `*.` stands for any number of labels, as
 * it does among the hosts of routes. */
const struct site *snapshot_site_above(const struct snapshot *s, struct str host);
/* Of an ssl of type client; NULL: there is none of that id. */
struct tls_identity *snapshot_identity(const struct snapshot *s, struct str id);
const struct consumer_group *snapshot_group(const struct snapshot *s, struct str id);

/* A thread takes and gives back a snapshot. Cheap, but shared: once per thread and change, not per
 * request. What only old snapshots reach is freed by the builder on its own thread, some time
 * after. */
void snapshot_get(const struct snapshot *s);
void snapshot_put(const struct snapshot *s);

#endif
