/* SPDX-License-Identifier: Apache-2.0 */
/* The exchange: one request from its head to its log line. Private to exchange/; plugins see
 * plugin.h.
 *
 * The stream (conn/stream.h) is its client side, the leg (conn/client.h) its upstream side. It
 * walks through steps; exchange_go is the only writer of the step, exchange_run the only driver. */
#ifndef EXCHANGE_EXCHANGE_H
#define EXCHANGE_EXCHANGE_H

#include "base/buf.h"
#include "config/router.h"
#include "config/snapshot.h"
#include "conn/client.h"
#include "conn/stream.h"
#include "plugin/plugin.h"
#include "upstream/live.h"

struct worker;

/* X(STEP): what the exchange does; names appear in panics and debug logs. */
#define STEPS(X)                                                                  \
    X(ROUTE)    /* find the route                                              */ \
    X(REQUEST)  /* rewrite and access phases                                   */ \
    X(PICK)     /* choose an upstream endpoint; waits for names                */ \
    X(BEFORE)   /* before_proxy phase                                          */ \
    X(CONNECT)  /* wait for the connection                                     */ \
    X(SEND)     /* the request goes out                                        */ \
    X(AWAIT)    /* wait for the response's head                                */ \
    X(RESPONSE) /* header_filter phase, then the head goes to the client       */ \
    X(RELAY)    /* the body                                                    */ \
    X(LOG)      /* log phase                                                   */ \
    X(GONE)

enum step_name {
#define STEP_ENUM(s) STEP_##s,
    STEPS(STEP_ENUM)
#undef STEP_ENUM
        STEP_COUNT
};
extern const char *const step_names[STEP_COUNT];

enum { SCOPE_GLOBAL, SCOPE_ROUTE, SCOPE_COUNT };

/* A snapshot as one thread holds it: exchanges count in a plain number (c-style: Unit's joint). */
struct hold {
    const struct snapshot *snapshot;
    unsigned users;
};

/* A chain at work: where it stands, and the plugins' frames. */
struct run {
    const struct chain *chain;
    char *frames;      /* of the chain as it was at the start */
    char *more_frames; /* of what a consumer laid over it */
    size_t frames_size;
    uint64_t filtered, filter_known; /* _meta.filter results by step->index, below 64 */
};

/* Response headers set before there is a response: kept in order, applied to whatever comes. */
enum { EARLY_SET, EARLY_ADD, EARLY_REMOVE };

struct jobs;
struct op;
struct reading;

struct exchange {
    struct worker *worker;
    struct stream *down; /* NULL: the client is gone, or has got all */
    const struct stream
        *from; /* the same, never NULL: what is known of the client, until the log step */
    const struct addr *client; /* whose request it is: the peer, or whom real_ip_header names */
    struct str client_text;
    struct leg leg;
    struct arena arena;
    struct hold *hold;
    const struct route *route; /* NULL: none matches */
    const struct consumer *consumer;
    const struct credential *found; /* by consumer_find, whether proved or not */

    /* where it stands */
    uint8_t step, pass, trail[12];
    uint8_t ntrail;
    uint16_t at;       /* index in the phase that is running */
    uint16_t npending; /* operations under way */
    uint16_t tries;    /* upstream attempts made */
    bool running;      /* inside exchange_run */
    bool rerun;        /* exchange_run was asked for while it ran */
    bool consumer_merged;
    bool resumed;       /* the step at `at` has returned WAIT and is called again */
    bool peer_trusted;  /* apisix.trusted_addresses: its X-Forwarded-* are believed */
    enum reason reason; /* why it ended as it did */
    struct op *ops;
    struct run runs[SCOPE_COUNT];

    /* request */
    struct h1_request req; /* strings and lines in the arena */
    struct str path;       /* normalised */
    struct str host;       /* without port, lower case */
    enum method method;
    struct buf body; /* gathered: for a plugin, or to be sent (again) */
    uint64_t body_received;
    size_t body_limit;   /* a plugin wants the body up to so many bytes; 0: not */
    bool body_done;      /* the last piece has come */
    bool body_gathering; /* keep pieces in body */
    bool body_kept;      /* body holds all that has come so far */
    bool body_replaced;  /* request_body_set */
    bool body_paused;
    bool body_soft;     /* a body longer than body_limit is let through, not refused */
    bool body_keep;     /* body_limit stays when it is whole */
    bool body_held;     /* variables have had their chance to see it whole */
    size_t body_wanted; /* up to so many bytes, by variables that did not find it; 0: none */
    struct body_view *body_view; /* what variables have read of it; NULL: nothing yet */
    struct reading *reading;     /* the last one by another thread; NULL: none was needed */
    uint8_t body_asked;          /* what body_read_start is to read */
    struct task body_task;
    struct str new_body;
    struct head *req_trailers; /* NULL: none */
    bool req_hidden;           /* a plugin took something out of the head */

    /* what goes upstream */
    uint64_t unsaid; /* bits of header_id: removed by a plugin, not to be written anew */
    const struct upstream *upstream;
    struct str up_uri, up_method, up_host; /* absent: as the client's */
    bool up_tls, up_tls_set;
    struct tried tried;
    struct pick pick;
    struct pool *pool;
    struct dns_wait dns_wait;
    bool dns_waiting, fresh, picked, request_sent, up_last_sent;
    struct str up_host_sent;

    /* response */
    int status;
    bool ours;          /* made here */
    bool responded;     /* the head has gone to the client */
    bool response_done; /* all of the body has come from the upstream */
    bool filtering;     /* step_response has begun: the head is made */
    bool unfiltered;    /* a filter has failed: what is sent in its place passes none */
    bool body_changes;
    size_t hold_max; /* response_body_hold; 0: not */
    struct buf held;
    struct head res;       /* lines in the arena */
    uint16_t res_received; /* of these, the upstream's; plugins' lines are behind them */
    bool res_to_end;       /* the upstream's body ends with its connection */
    struct head early;     /* header->spare: EARLY_* */
    struct str reply_body;
    struct shared *reply_owner; /* of reply_body's memory, when others share it */
    int64_t res_length;         /* of the body to be sent; LENGTH_UNKNOWN */

    /* for logs */
    int64_t start_us, start_wall_ms;
    int64_t first_try_us;                                   /* monotonic; 0: not */
    int64_t try_us, connect_us, header_us, upstream_end_us; /* of the last try, monotonic; 0: not */
    uint64_t request_bytes, sent_bytes, body_sent;
    uint64_t upstream_bytes;
    struct str upstream_addrs, upstream_statuses,
        upstream_times; /* of earlier tries, comma-separated */
    struct str remote_user;
    struct set_var *set_vars; /* var_set */
    int upstream_status;      /* of the response; status may be changed by plugins */
};

extern const struct stream_handler exchange_stream_handler;

/* The one door of the step. */
void exchange_go(struct exchange *ex, enum step_name to);
/* Drives the exchange until it waits or is gone. Safe to call from anywhere: a call inside a call
 * makes the outer one go on. */
void exchange_run(struct exchange *ex);
/* Operations under way: npending++ is theirs; this is their end. Runs the exchange when none is
 * left. */
void exchange_op_done(struct exchange *ex);
/* The exchange's log line identity and trail, for a panic. */
void exchange_describe(void *ex, char *out, unsigned long size);

/* The path as routes were matched by it: ex->path, unless config.yaml's apisix section says more.
 */
struct str exchange_match_path(struct exchange *ex);

/* ---- phases.c: running plugins ---- */

/* Runs a phase of both scopes from where it stands. NEXT: all went through; FAULT: a plugin failed,
 * or found no room for a header that it sets on the request (request_fault). */
enum verdict phase_run(struct exchange *ex, enum phase phase);
/* Runs rewrite and access in APISIX's order (inventory §2.5). */
enum verdict passes_run(struct exchange *ex);
/* Runs body filters over a piece. False: a filter failed. */
bool body_filters_run(struct exchange *ex, struct chunk *chunk);
bool has_body_filters(const struct exchange *ex);
enum reason request_fault(const struct exchange *ex);
void log_phase_run(struct exchange *ex);
void runs_start(struct exchange *ex, unsigned scope, const struct chain *chain);

/* ---- client.c: who the client is ---- */

/* Sets client, client_text and peer_trusted (real_ip_header, trusted_addresses). */
void find_client(struct exchange *ex);
/* Whether a client that came over TLS may ask for this: where its server name, or the host that it
 * asks for, wants certificates of clients. REASON_NONE: it may. For snapshots with `mutual`.
 * APISIX: init.lua, verify_https_client. */
enum reason client_tls_check(struct exchange *ex);

/* ---- proxy.c: the upstream side ---- */

/* What the upstream will get in X-Forwarded-Proto, -Host or -Port ("x_forwarded_proto")
 * while nobody has said it; absent for other names, and after request_header_remove. APISIX:
 * ngx_tpl.lua. */
struct str forwarded_seen(struct exchange *ex, struct str variable);
bool step_pick(struct exchange *ex);
bool step_before(struct exchange *ex);
bool step_send(struct exchange *ex);
/* A piece of the request's body while the upstream is at work. */
void proxy_body(struct exchange *ex, struct str data, bool last);
/* Gives up the connection, if any. */
void proxy_abandon(struct exchange *ex, enum reason why);
/* The exchange has ended, and with it what its endpoint's peer counts; only where it has one. */
void proxy_let_go(struct exchange *ex);

/* ---- respond.c: the client's side ---- */

bool step_response(struct exchange *ex);
/* A piece of the response's body from the upstream. */
void relay_body(struct exchange *ex, struct str data, bool last, const struct head *trailers);
/* Makes our own error reply for a reason, if nothing was sent yet; else breaks off. Goes to the
 * step that follows. */
void exchange_fail(struct exchange *ex, enum reason why);
/* The response's head as the upstream sent it, into the exchange. */
void response_take(struct exchange *ex, const struct h1_response *res);
/* The status's standard page, in the exchange's arena. */
struct str standard_page(struct exchange *ex, int status);

/* ---- op.c ---- */

void ops_cancel(struct exchange *ex);
/* As job_start, on those threads. leave(arg) is called when the exchange ends first, before its
 * memory goes and while the work may be under way: it takes what that needs. */
struct op_job {
    void (*work)(void *arg);
    void (*leave)(void *arg);     /* NULL: nothing */
    void (*cancelled)(void *arg); /* NULL: nothing */
};
void op_job_start(struct exchange *ex, struct jobs *jobs, const struct op_job *calls, void *arg);
/* For variables: an operation that collects the body when it is not longer than ex->body_wanted,
 * once in the exchange; a longer one goes its way, and they stay absent. With keep the exchange
 * keeps it to its end. False: there is nothing to wait for. */
bool request_body_hold(struct exchange *ex, bool keep);
/* Whether the method may be sent twice (RFC 9110 §9.2.2). */
bool method_is_idempotent(struct str method);

static inline bool request_is_head(const struct exchange *ex)
{
    return ex->method == METHOD_HEAD;
}

#endif
