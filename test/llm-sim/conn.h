/* SPDX-License-Identifier: Apache-2.0 */
/* A connection and its worker: reads requests, hands them to a handler, sends what the handler and
 * the stream wrote. Everything here belongs to one thread. */
#ifndef SIM_CONN_H
#define SIM_CONN_H

#include "http.h"
#include "sim.h"
#include "timers.h"

#include <openssl/types.h>

struct conn;
struct stream;

enum api { API_PLAIN, API_OPENAI, API_ANTHROPIC, API_GEMINI, API_BEDROCK };

typedef void handler_fn(struct conn *c, const struct request *r, struct slice body);

struct route {
    const char *method;
    const char *path; /* ends in '*' = prefix, starts with '*' = suffix */
    handler_fn *handler;
    enum api api;
    bool collect; /* the handler wants the body */
    bool quiet;   /* no faults, not counted, not logged */
};

enum conn_state {
    CONN_HANDSHAKE,
    CONN_HEAD,   /* wants a request head */
    CONN_BODY,   /* reads a request body */
    CONN_REPLY,  /* a reply is under way */
    CONN_LINGER, /* all is said; reads until the client closes, so that it gets our last bytes */
    CONN_CLOSED,
};

/* What happens when a reply has been sent. */
enum conn_after {
    AFTER_KEEP,
    AFTER_CLOSE,
    AFTER_CUT, /* as close, without TLS close_notify */
    AFTER_RST,
    AFTER_STALL,      /* nothing, for ever */
    AFTER_IDLE_CLOSE, /* keep, but close unannounced 50 ms later */
};

struct conn {
    struct worker *w;
    int fd;
    enum conn_state state;
    enum conn_after after;
    enum api api; /* of the current route: the shape of errors */
    SSL *ssl;
    uint64_t id;
    struct timer timer; /* held head, next event */
    struct timer tick;  /* next split piece, close, linger */
    struct buf in;      /* read, not yet used */
    struct buf out;     /* written, not yet sent, from out_at on */
    size_t out_at;
    struct buf head; /* the head, while its body is read */
    struct buf body;
    const struct route *route;
    struct stream *stream;
    struct fault fault;
    struct chunked chunk;
    uint64_t body_left, body_size;
    struct buf log; /* the request's log line up to the part that its end adds */
    uint32_t events, hold_ms, events_wanted, gap_ms;
    int status;
    struct conn *next; /* in the worker's ready or grave list */
    struct conn *all_next, **all_prev;
    bool readable, writable, peer_done;
    bool keep, http10, head_only, body_chunked;
    bool held;    /* output waits for timer */
    bool waiting; /* stream waits for timer */
    bool split_wait;
    bool in_tried; /* nothing more can be made of `in` without more bytes */
    bool queued;   /* in the ready list */
};

#define WORKER_IN 65536

struct worker {
    int ep, stop_fd;
    int listen_fd[2]; /* plain, TLS; -1 = none */
    unsigned index;
    struct timers timers;
    int64_t now;
    uint64_t serial;      /* names requests and answers */
    uint32_t connections; /* names connections */
    struct conn *ready, *grave;
    struct conn *all; /* the open ones */
    struct buf out;   /* output of the connection at work; empty between two */
    struct buf event; /* scratch of the stream at work */
    struct buf text;  /* scratch of the handler at work */
    struct buf extra; /* headers that the next reply_head adds */
    struct request req;
    struct stats stats;
    int64_t date_at;
    char date[32];
    char in[WORKER_IN];
};

void conn_open(struct worker *w, int fd, SSL *ssl);
void conn_close_all(struct worker *w);            /* at the end; into the grave list */
void conn_event(struct conn *c, uint32_t events); /* epoll's */
void conn_timer(struct timer *t, void *worker);   /* a timer_fn */
void conn_run(struct conn *c);                    /* goes on as far as it can */
uint64_t conn_serial(struct worker *w);           /* a number never given before in this process */

#endif
