/* SPDX-License-Identifier: Apache-2.0 */
/* A worker: one thread with its loop, its server, its pools and its hold on the configuration. */
#ifndef EXCHANGE_WORKER_H
#define EXCHANGE_WORKER_H

#include <pthread.h>

#include "base/cidr.h"
#include "config/snapshot.h"
#include "conn/server.h"
#include "upstream/live.h"

struct access_log;
struct hold;
struct jobs;
struct log_file;
struct peers;

struct listen_addr {
    struct addr addr;
    bool tls;
};

/* A change of the listeners: sockets that are a worker's from now on, addresses that are no more.
 */
struct listen_change {
    const struct listen_addr *add, *drop;
    unsigned nadd, ndrop;
};

/* What all workers are told at start; const afterwards. Strings outlive the workers. */
struct worker_config {
    struct conn_limits limits;
    struct h1_limits upstream_head;
    struct dns_config dns, discovery; /* discovery: where discovery_on */
    bool discovery_on;
    enum discovery_order discovery_order;
    SSL_CTX *tls_verified, *tls_unverified;
    bool drop_underscores;         /* underscores_in_headers: off */
    struct str real_ip_header;     /* nginx_config.http.real_ip_header */
    struct cidr_list real_ip_from; /* peers that may name another client in it */
    bool real_ip_recursive;
    struct cidr_list trusted; /* apisix.trusted_addresses */
    struct str server_header; /* value of Server; absent: none */
    size_t
        replay_bytes; /* request body kept for a retry, and buffered before the upstream is ready */
    bool verify_upstreams;
    bool show_upstream_status; /* X-APISIX-Upstream-Status always, not only for 5xx */
    bool delete_uri_tail_slash, match_encoded_slash;
    bool path_rules;        /* one of these two */
    bool strip_path_params; /* normalize_uri_like_servlet */
    size_t post_arg_max;    /* bytes of a body that post_arg.… is looked for in */
    size_t graphql_max;
    struct tls_server *tls;
    struct str fallback_sni;          /* lower case; absent: none */
    const struct listen_addr *listen; /* read by worker_new alone */
    unsigned nlisten;
    const struct access_log *access_log; /* NULL: none */
    struct jobs *jobs;
    struct jobs *readers; /* of long bodies; NULL: each thread reads its own */
    struct peers *peers;  /* of all upstreams, shared by all threads */
    int64_t drain_ms;     /* worker_shutdown_timeout */
    /* Called on a worker's thread when it has taken a snapshot; must not wait. NULL: nobody asks.
     */
    void (*on_taken)(void *arg, unsigned worker, uint64_t version);
    void *on_taken_arg;
};

/* A formatted second. */
struct time_cache {
    int64_t second;
    size_t n;
    char text[48];
};

struct worker {
    struct thread thread;
    const struct worker_config *config;
    struct server *server;
    struct dns *dns, *discovery; /* discovery: NULL when it is not configured */
    struct pools *pools;
    struct live *live;
    struct hold *hold;        /* the current configuration */
    _Atomic uint64_t serving; /* its version; 0: the thread does not run */
    unsigned exchanges, jobs; /* under way */
    struct timer drain_timer;
    bool closed;         /* its connections are closed; only jobs may be left */
    bool hung;           /* and these did not end in time */
    int64_t room_log_ms; /* when make_room last said something */
    pthread_t id;
    struct time_cache time_local, time_iso8601;
    struct log_buffer *access; /* NULL: no access log */
    struct lua_vm *lua;        /* NULL: no Lua has been called yet */
    uint64_t lua_version;      /* of the snapshot that it was made for */
    struct lua_errors {
        int64_t since_ms; /* lines of the log are counted from then on */
        unsigned lines, unsaid;
    } lua_errors;
};

/* Makes a worker with its listeners; its thread is not running yet. The reference to the snapshot
 * is the worker's. NULL with a message. */
struct worker *worker_new(unsigned index, const struct worker_config *config,
                          const struct snapshot *first, struct arena *a, struct str *err);
/* Starts the thread. */
void worker_start(struct worker *w);
/* From another thread: the worker takes the snapshot (with its reference) for all exchanges that
 * begin from now on. */
void worker_publish(struct worker *w, const struct snapshot *snapshot);
/* The version of the snapshot that exchanges begin with; 0 before the thread runs. From any thread.
 */
uint64_t worker_serving(const struct worker *w);
/* From another thread: takes over one socket for each address that is added, and drains what is
 * dropped. What is behind the pointers is copied. */
void worker_listen(struct worker *w, const struct listen_change *change, const int *sockets);
/* From another thread: stop accepting, finish what runs, give the clients their last bytes, end
 * within drain_ms and what worker_stop may take. */
void worker_drain(struct worker *w);
/* From another thread: end now, that is as soon as jobs that cannot be called off are done, and
 * WORKER_JOBS_MS later at the latest. */
enum { WORKER_JOBS_MS = 2000 };
void worker_stop(struct worker *w);
/* Waits for the thread's end, and frees. False: a job hangs, so the worker, and all that it shares
 * with others, must stay until the process ends. */
bool worker_join(struct worker *w) __attribute__((warn_unused_result));

/* For exchanges: borrow and give back the current snapshot. */
struct hold *worker_hold(struct worker *w);
void worker_release(struct worker *w, struct hold *h);
/* An exchange or a job has ended: a worker that is to stop may be done. */
void worker_ended_one(struct worker *w);

#endif
