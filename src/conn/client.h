/* SPDX-License-Identifier: Apache-2.0 */
/* A leg: one request sent to an upstream, and its response, on a client connection. The connection
 * is made or taken from a pool by upstream/pool; HTTP/1 carries one leg at a time, HTTP/2 will
 * carry many. */
#ifndef CONN_CLIENT_H
#define CONN_CLIENT_H

#include "conn/thread.h"
#include "http/h1_write.h"

struct client;
struct leg;

struct leg_handler {
    /* The connection stands and, with TLS, its handshake is done: the request may be sent. Not
     * called for a connection taken from the pool. */
    void (*on_ready)(struct leg *l);
    /* A response head; valid during the call. 1xx heads come here too, more than once. */
    void (*on_response)(struct leg *l, const struct h1_response *res);
    /* A piece of the response body, valid during the call; last: the response is complete, and the
     * leg is free of its connection. l->trailers: NULL or the trailers, with last. */
    void (*on_body)(struct leg *l, struct str data, bool last);
    /* What was queued for the upstream has drained. */
    void (*on_drained)(struct leg *l);
    /* The connection failed or timed out; the leg is free of it, and may start anew in this call.
     * detail: what the system or TLS said, for the log; valid during the call. */
    void (*on_fail)(struct leg *l, enum reason why, const char *detail);
};

struct leg {
    const struct leg_handler *handler;
    struct client *client; /* NULL: none */
    const struct head *trailers;
    uint64_t received; /* bytes of response on this leg, head included */
};

/* What a connection's pool wants to know; called when no leg is on it. */
struct client_owner {
    /* Idle and good for another request. */
    void (*on_idle)(struct client *c);
    /* Closed: forget it. The memory goes at the end of the turn. */
    void (*on_closed)(struct client *c);
};

struct client_target {
    struct addr addr;
    SSL_CTX *tls;                  /* NULL: plain */
    struct str server_name;        /* SNI and name to verify */
    struct tls_identity *identity; /* shown when the server asks; NULL: none */
    struct tls_session *session;
};

/* Connects. The leg gets on_ready or on_fail, later, never inside this call. NULL: no descriptor
 * could be made (REASON_CONNECT_FAILED). pool is the owner's. */
struct client *client_connect(struct thread *t, const struct client_target *target,
                              const struct client_owner *owner, void *pool, struct leg *leg,
                              int64_t timeout_ms);
/* Gives an idle connection to a leg: it may send at once. */
void client_take(struct client *c, struct leg *leg);

/* Asks the kernel whether an idle connection is still open and silent. One system call. */
bool client_is_open(const struct client *c);

/* Sends a request head. The response to a HEAD has no body, so method matters. read_ms: how long
 * the upstream may be silent; send_ms: how long it may take nothing. */
void client_send_head(struct client *c, struct str method, struct str uri, const struct head *head,
                      const struct h1_out_body *body, int64_t send_ms, int64_t read_ms);
/* Before the head is sent: the connection will not be kept, and the request says so. */
void client_last(struct client *c);
/* A piece of the request's body, framed as the head said; last may come with an empty piece. */
void client_send_body(struct client *c, struct str data, bool last, const struct head *trailers);
/* Whether the upstream is slower than the sender, who should wait for on_drained. */
bool client_full(const struct client *c);
/* Stop and go on reading the response; resume never calls the handler inside itself. */
void client_pause(struct client *c);
void client_resume(struct client *c);
/* The leg gives the connection up before the response is complete: it is closed. */
void client_abandon(struct client *c, enum reason why);
/* The leg wants nothing more of a response whose head it has: a connection whose response has no
 * body goes back to the pool, and true is returned; any other is closed. on_body is not called. */
bool client_release(struct client *c, enum reason why);
/* Another leg takes over what is left of a response whose head this one has got: on_body and
 * on_fail are its own from now on. read_ms: as in client_send_head. False: there is nothing to take
 * over: the connection is back in the pool, since no body was to come, or closed, since it could
 * not be used again afterwards or more than max bytes are known to be left. */
bool client_hand_over(struct client *c, struct leg *to, uint64_t max, int64_t read_ms);
/* Closes an idle connection (the pool's). on_closed is not called. */
void client_close(struct client *c, enum reason why);

void *client_pool(const struct client *c);
struct list *client_link(struct client *c); /* the pool's list link */
struct client *client_of_link(struct list *l);
/* In on_closed: the connection was idle, in the pool. */
bool client_was_idle(const struct client *c);
unsigned client_requests(const struct client *c);
bool client_reused(const struct client *c); /* it had carried a request before this leg's */
int64_t client_keep_alive_ms(const struct client *c); /* as the server announced; -1: not */
/* Starts the idle timer; when it ends the connection closes and on_closed is called. */
void client_idle_timer(struct client *c, int64_t ms);
const struct addr *client_addr(const struct client *c);

#endif
