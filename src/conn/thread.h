/* SPDX-License-Identifier: Apache-2.0 */
/* What the connections of one thread share: its loop, its buffers, its limits. */
#ifndef CONN_THREAD_H
#define CONN_THREAD_H

#include <netinet/in.h>

#include "base/arena.h"
#include "http/h1.h"
#include "loop/loop.h"
#include "loop/sock.h"

/* A head holds 254 lines: those that plugins and the proxy add must find room behind what a peer
 * may send. */
enum { INBOX_BYTES = 65536, HEADERS_MAX = 200 };

struct addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    };
};

/* Limits and times of a server's connections; milliseconds. */
struct conn_limits {
    struct h1_limits head;
    int64_t keepalive_ms, head_ms, body_ms, send_ms;
    uint64_t body_bytes; /* 0: no limit */
    unsigned requests;   /* per connection; 0: no limit */
};

/* Plain counters of one thread; another thread that reads them may see them late. */
struct conn_counters {
    uint64_t accepted, closed, requests, upstream_opened, upstream_reused;
    /* What ended, by why: connections of either side, and requests. A failure of an upstream counts
     * once as that, and once for each that it ended. */
    uint64_t client_by_reason[REASON_COUNT];   /* connections of clients, and refused requests */
    uint64_t upstream_by_reason[REASON_COUNT]; /* connections to upstreams, made or not */
    uint64_t request_by_reason[REASON_COUNT];  /* exchanges; NONE: as they should */
};

struct thread {
    struct loop loop;
    struct outbox *out;
    unsigned index;
    struct conn_limits limits;      /* downstream */
    struct h1_limits upstream_head; /* upstream response heads */
    struct arena_pool arenas;
    struct conn_counters count;
    uint64_t connections;                /* serial numbers */
    int64_t date_s;                      /* second of the cached Date */
    char date[32];                       /* "Sun, 06 Nov 1994 08:49:37 GMT" */
    bool draining;                       /* the process is stopping: no keep-alive */
    bool (*make_room)(struct thread *t); /* thread_make_room; NULL: nothing is kept */
    struct header headers[HEADERS_MAX];  /* the head that is being parsed */
    char in[INBOX_BYTES];                /* the bytes that are being read */
};

/* False when the kernel refuses. */
bool thread_init(struct thread *t, unsigned index) __attribute__((warn_unused_result));
void thread_fini(struct thread *t);
/* There is no descriptor left: closes some connections that only wait, or else whoever opens many
 * and says nothing keeps all others out (nginx: ngx_drain_connections). False: there are none. */
bool thread_make_room(struct thread *t);
/* The current Date header value (RFC 9110 §5.6.7), valid until the next second. */
struct str thread_date(struct thread *t);

#endif
