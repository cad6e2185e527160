/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/1 server connection, as its parts see it: its state (h1_conn.c), the requests it reads
 * (h1_request.c), the responses it writes (h1_respond.c), and its events (h1_server.c). Private to
 * these. */
#ifndef CONN_H1_CONN_H
#define CONN_H1_CONN_H

#include "conn/h1_server.h"

/* X(STATE): what the connection waits for. */
#define STATES(X)                                                                    \
    X(HANDSHAKE) /* of TLS: client_header_timeout                             */     \
    X(IDLE)      /* the first byte of a request: keepalive_timeout                */ \
    X(HEAD)      /* the rest of a head: client_header_timeout                     */ \
    X(BODY)      /* the request's body: client_body_timeout                       */ \
    X(BUSY)      /* the handler's response; the request is read                   */ \
    X(LINGER)    /* the client's end of file, after our last byte                 */ \
    X(CLOSED)

enum state {
#define STATE_ENUM(s) CONN_##s,
    STATES(STATE_ENUM)
#undef STATE_ENUM
};

/* Bytes of an unwanted body read for the sake of the connection. */
enum { DISCARD_MAX = 262144 };

struct h1_conn {
    struct grave grave; /* first: loop_bury frees the whole */
    struct sock sock;
    struct stream stream;
    struct server *server;
    struct list link; /* in server->connections */
    struct timer timer;
    struct task again; /* reads on after a response, or after resume */
    struct buf in;     /* bytes read and not yet used */
    struct buf trailer_bytes;
    struct chunked chunked;
    uint64_t body_left; /* H1_LENGTH: still to come; H1_CHUNKED: counts what came */
    uint64_t discarded;
    int64_t linger_until_ms; /* LINGER: however much still comes */
    uint64_t response_left;  /* H1_LENGTH: bytes of the response's body to come */
    enum h1_framing request_framing, response_framing;
    uint8_t state;
    bool feeding;   /* inside feed(): what ends a response must not start the next one itself */
    bool paused;    /* the handler wants no body now */
    bool responded; /* the response's head was sent */
    bool response_done;
    bool keep_alive;
    bool old_client;      /* HTTP/1.0 */
    bool to_head;         /* the request is HEAD */
    bool expects;         /* the client waits for 100 Continue */
    bool sending;         /* the timer counts send_timeout */
    bool leaving;         /* its listener is no more: no request follows this one */
    size_t head_seen;     /* bytes of `in` that hold no end of a head */
    uint64_t listener;    /* its number */
    struct tls_peer *tls; /* NULL: plain */
    struct addr peer, local;
    char peer_text[48];
};

static inline struct h1_conn *h1_conn_of(const struct stream *s)
{
    return CONTAINER(s, struct h1_conn, stream);
}

static inline struct loop *h1_conn_loop(const struct h1_conn *c)
{
    return &c->server->thread->loop;
}

/* Whether a handler is at work on a response. */
static inline bool h1_conn_is_open(const struct h1_conn *c)
{
    return (c->state == CONN_BODY || c->state == CONN_BUSY) && !c->response_done;
}

/* ---- h1_conn.c: its state and its end ---- */

/* The one door of the state; also sets the time that the new state may take. */
void h1_conn_go(struct h1_conn *c, enum state to);
/* Anew, when what the state's time depends on has changed. */
void h1_conn_set_timer(struct h1_conn *c);
/* At once; the memory goes when the turn is over. */
void h1_conn_close(struct h1_conn *c, enum reason why, bool reset);
/* Closes after our last byte. */
void h1_conn_linger(struct h1_conn *c);
/* The client will send no more, but may still be reading. */
void h1_conn_hang_up(struct h1_conn *c, enum reason why);
/* The connection fails; the handler, if one is at work, is told. */
void h1_conn_abort(struct h1_conn *c, enum reason why);
/* Request and response are over: the next one, or the end. */
void h1_conn_next(struct h1_conn *c);

/* ---- h1_respond.c ---- */

extern const struct stream_ops h1_stream_ops;
/* Answers a request that could not be read, in nginx's form. */
void h1_conn_write_page(struct h1_conn *c, enum reason why);

/* ---- h1_request.c ---- */

/* Whether there is something to be read for. */
bool h1_conn_wants_input(const struct h1_conn *c);
/* Uses as much of the input as can be used now; returns the rest, for h1_conn_keep. */
struct str h1_conn_feed(struct h1_conn *c, struct str in);
void h1_conn_keep(struct h1_conn *c, struct str rest);
/* Uses what was kept. */
void h1_conn_feed_kept(struct h1_conn *c);
/* A request begins, with what is known of its head. */
void h1_conn_begin(struct h1_conn *c, const struct h1_request *req, size_t head_bytes);
/* Refuses the request that h1_conn_begin was told of and its handler was not; closes. */
void h1_conn_refuse(struct h1_conn *c, const struct h1_request *req, enum reason why);
/* The request's body cannot be read: the handler is told, and the client gets a status if it can.
 */
void h1_conn_fail_body(struct h1_conn *c, enum reason why);
/* A head has not come in time; or the client has closed its side within it. */
void h1_conn_head_late(struct h1_conn *c);
void h1_conn_head_cut(struct h1_conn *c);

#endif
