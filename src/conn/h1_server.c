/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/1 server connection: reads requests one after the other, gives each to its handler as a
 * stream, writes the response, keeps alive or closes. */
#include "conn/h1_server.h"

#include <openssl/err.h>

#include "base/mem.h"
#include "conn/h1_conn.h"
#include "loop/tls.h"

enum {
    READS_MAX = 16, /* in one go; then others have their turn */
};

static const struct sock_ops sock_callbacks;

struct server *h1_server_of(const struct stream *s)
{
    return h1_conn_of(s)->server;
}

/* ---- Events
 * ---------------------------------------------------------------------------------------- */

static void on_end_of_file(struct h1_conn *c, bool failed)
{
    enum reason why = failed ? REASON_CLIENT_RESET : REASON_CLIENT_DONE;

    if (c->state == CONN_HEAD)
        h1_conn_head_cut(c);
    if (h1_conn_is_open(c)) {
        enum reason early = c->state == CONN_BODY ? REASON_BODY_CUT : REASON_CLIENT_GONE;
        h1_conn_abort(c, failed ? REASON_CLIENT_RESET : early);
    } else if (c->state != CONN_CLOSED && failed) {
        h1_conn_close(c, why, false);
    } else if (c->state != CONN_CLOSED) {
        h1_conn_hang_up(c, why);
    }
}

static void read_more(struct h1_conn *c)
{
    struct thread *t = c->server->thread;

    for (int i = 0; c->sock.readable && (h1_conn_wants_input(c) || c->state == CONN_LINGER); i++) {
        if (i == READS_MAX) {
            loop_defer(h1_conn_loop(c), &c->again);
            return;
        }
        ssize_t n = sock_read(&c->sock, t->in, sizeof(t->in));
        if (n == -1)
            return;
        if (n <= 0) {
            on_end_of_file(c, n < 0);
            return;
        }
        if (c->state == CONN_LINGER) {
            /* Whoever writes a whole request before it reads still has to get its answer. */
            if (!sock_waits(&c->sock) && !t->draining)
                h1_conn_set_timer(c);
            continue;
        }
        if (c->in.n) {
            h1_conn_keep(c, str_make(t->in, (size_t)n));
            if (c->state != CONN_CLOSED)
                h1_conn_feed_kept(c);
        } else {
            h1_conn_keep(c, h1_conn_feed(c, str_make(t->in, (size_t)n)));
        }
    }
    /* Nobody reads now, but a client that is gone must be noticed: its exchange is to be ended. */
    if (c->state == CONN_BUSY && c->sock.hup && !c->in.n && sock_at_end(&c->sock))
        on_end_of_file(c, false);
}

static void on_readable(struct sock *s)
{
    read_more(CONTAINER(s, struct h1_conn, sock));
}

static void on_again(struct task *task)
{
    struct h1_conn *c = CONTAINER(task, struct h1_conn, again);

    if (c->in.n && h1_conn_wants_input(c))
        h1_conn_feed_kept(c);
    if (c->state != CONN_CLOSED)
        read_more(c);
}

static void on_drained(struct sock *s)
{
    struct h1_conn *c = CONTAINER(s, struct h1_conn, sock);

    if (c->state == CONN_LINGER) {
        if (s->hup && !s->readable) { /* its end was seen while there was something to send */
            h1_conn_close(c, REASON_CLIENT_DONE, false);
            return;
        }
        sock_shutdown(s);
    }
    if (c->state != CONN_HEAD)
        h1_conn_set_timer(c);
    if (h1_conn_is_open(c))
        c->server->handler->on_drained(&c->stream);
    else if (h1_conn_wants_input(c) && (c->in.n || s->readable))
        loop_defer(h1_conn_loop(c), &c->again);
}

static void on_moved(struct sock *s)
{
    struct h1_conn *c = CONTAINER(s, struct h1_conn, sock);

    c->sending = false;
    if (c->state == CONN_BODY || c->state == CONN_BUSY || c->state == CONN_LINGER)
        h1_conn_set_timer(c);
}

/* ---- TLS
 * ------------------------------------------------------------------------------------------- */

static void on_open(struct sock *s)
{
    struct h1_conn *c = CONTAINER(s, struct h1_conn, sock);

    tls_peer_learn(c->tls, s->ssl);
    h1_conn_go(c, CONN_IDLE);
    loop_timer(h1_conn_loop(c), &c->timer, c->server->thread->limits.head_ms);
}

static enum reason handshake_reason(const struct h1_conn *c)
{
    int code = ERR_GET_REASON(ERR_peek_last_error());

    if (c->tls->why)
        return c->tls->why;
    if (code == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE || tls_verify_failed(c->sock.ssl))
        return REASON_TLS_CLIENT_UNVERIFIED;
    return REASON_TLS_CLIENT_FAILED;
}

static void log_handshake(const struct h1_conn *c, enum reason why)
{
    struct str name = c->tls->name.p ? c->tls->name : STR("-");
    struct arena a;

    if (!log_enabled(reasons[why].level))
        return;
    arena_init(&a, NULL);
    struct str detail = tls_error(c->sock.ssl, &a);
    bool known = c->tls->why || why == REASON_TLS_CLIENT_TIMEOUT; /* OpenSSL has nothing to add */
    log_write(reasons[why].level, "client %s, server name %.*s: %s%s%.*s", c->peer_text,
              STR_ARG(name), reasons[why].text, known ? "" : ": ", known ? 0 : (int)detail.n,
              detail.p);
    arena_fini(&a);
}

/* Whoever began with a method's first letter speaks HTTP, and gets an answer in it (as from nginx).
 * Else the alert is sent already: what the client may have sent meanwhile is read away, so that it
 * gets there. */
static void handshake_failed(struct h1_conn *c)
{
    bool http = c->sock.first >= 'A' && c->sock.first <= 'Z';
    struct h1_request unknown = {0};

    if (http) {
        sock_plain(&c->sock);
        h1_conn_begin(c, &unknown, 0);
        c->to_head = c->sock.first == 'H'; /* no other method begins so */
        h1_conn_refuse(c, &unknown, REASON_HTTP_TO_TLS_PORT);
        return;
    }
    enum reason why = handshake_reason(c);
    log_handshake(c, why);
    sock_plain(&c->sock);
    c->server->thread->count.client_by_reason[why]++;
    h1_conn_linger(c);
}

static void on_failed(struct sock *s, enum reason why)
{
    struct h1_conn *c = CONTAINER(s, struct h1_conn, sock);

    if (c->state == CONN_HANDSHAKE) {
        handshake_failed(c);
        return;
    }
    h1_conn_abort(c, why ? why : REASON_CLIENT_RESET);
}

static const struct sock_ops sock_callbacks = {
    .open = on_open,
    .readable = on_readable,
    .drained = on_drained,
    .moved = on_moved,
    .failed = on_failed,
};

/* The client was sent more than it took in the time: it may be slow, or take nothing. */
static void send_is_late(struct h1_conn *c)
{
    if (sock_took(&c->sock)) {
        c->sending = false;
        h1_conn_set_timer(c);
    } else if (c->state == CONN_LINGER) {
        h1_conn_close(c, REASON_CLIENT_SEND_TIMEOUT, false);
    } else {
        h1_conn_abort(c, REASON_CLIENT_SEND_TIMEOUT);
    }
}

/* The last response may still be on its way to a slow client. */
static void idle_is_over(struct h1_conn *c)
{
    if (!sock_waits(&c->sock)) {
        bool ending = c->server->thread->draining || c->leaving;
        h1_conn_close(c, ending ? REASON_DRAIN : REASON_KEEPALIVE_END, false);
    } else if (sock_took(&c->sock) || !c->sending) {
        c->sending = true;
        loop_timer(h1_conn_loop(c), &c->timer, c->server->thread->limits.send_ms);
    } else {
        h1_conn_close(c, REASON_CLIENT_SEND_TIMEOUT, false);
    }
}

static void on_timer(struct timer *t)
{
    struct h1_conn *c = CONTAINER(t, struct h1_conn, timer);

    switch ((enum state)c->state) {
    case CONN_HANDSHAKE:
        log_handshake(c, REASON_TLS_CLIENT_TIMEOUT);
        h1_conn_close(c, REASON_TLS_CLIENT_TIMEOUT, false);
        return;
    case CONN_IDLE:
        idle_is_over(c);
        return;
    case CONN_HEAD:
        h1_conn_head_late(c);
        return;
    case CONN_BODY:
        if (c->sending)
            send_is_late(c);
        else
            h1_conn_fail_body(c, REASON_CLIENT_BODY_TIMEOUT);
        return;
    case CONN_BUSY:
        if (c->sending)
            send_is_late(c);
        return;
    case CONN_LINGER:
        if (sock_waits(&c->sock))
            send_is_late(c);
        else
            h1_conn_close(c, REASON_NOT_KEPT, false);
        return;
    case CONN_CLOSED:
        return;
    }
}

/* ---- The server's side
 * ------------------------------------------------------------------------------ */

static void begin_tls(struct h1_conn *c)
{
    c->tls = mem_zero(sizeof(*c->tls));
    c->tls->find = c->server->find;
    c->tls->arg = c->server->owner;
    c->stream.tls = c->tls;
    sock_tls(&c->sock, tls_server_accept(c->server->tls, c->tls));
}

void h1_server_accept(struct server *s, int fd, const struct addr *peer, uint64_t listener,
                      bool tls)
{
    struct thread *t = s->thread;
    struct h1_conn *c = mem_zero(sizeof(*c));
    socklen_t n = sizeof(c->local);

    if (!sock_init(&c->sock, &t->loop, t->out, fd, tls ? SOCK_HANDSHAKE : SOCK_OPEN,
                   &sock_callbacks)) {
        free(c);
        return;
    }
    c->server = s;
    c->listener = listener;
    c->peer = *peer;
    getsockname(fd, &c->local.sa, &n);
    c->stream = (struct stream){.ops = &h1_stream_ops,
                                .handler = s->handler,
                                .thread = t,
                                .client = &c->peer,
                                .local = &c->local,
                                .connection = ++t->connections};
    c->stream.client_text = str_make(c->peer_text, sock_addr_text(&peer->sa, c->peer_text, false));
    if (tls)
        begin_tls(c);
    buf_init(&c->in, t->limits.head.head_bytes + 2 * (size_t)INBOX_BYTES);
    buf_init(&c->trailer_bytes, 16384);
    timer_init(&c->timer, on_timer);
    task_init(&c->again, on_again);
    list_append(&s->connections, &c->link);
    s->count++;
    t->count.accepted++;
    c->state = tls ? CONN_HANDSHAKE : CONN_IDLE;
    loop_timer(&t->loop, &c->timer, t->limits.head_ms);
}

/* One that has nothing under way gets a moment for what may be on its way. */
static void hurry(struct h1_conn *c)
{
    if (c->state == CONN_IDLE || c->state == CONN_HEAD || c->state == CONN_HANDSHAKE)
        h1_conn_set_timer(c);
}

void h1_server_drain(struct server *s)
{
    for (struct list *l = s->connections.next; l != &s->connections; l = l->next)
        hurry(CONTAINER(l, struct h1_conn, link));
}

void h1_server_drain_of(struct server *s, uint64_t listener)
{
    for (struct list *l = s->connections.next; l != &s->connections; l = l->next) {
        struct h1_conn *c = CONTAINER(l, struct h1_conn, link);
        if (c->listener != listener)
            continue;
        c->leaving = true;
        c->keep_alive = false;
        hurry(c);
    }
}

/* How long it has waited for a request. */
static int64_t idle_ms(const struct h1_conn *c)
{
    const struct conn_limits *limits = &c->server->thread->limits;
    int64_t allowed = c->stream.requests ? limits->keepalive_ms : limits->head_ms;

    return h1_conn_loop(c)->now_ms - (c->timer.due - allowed);
}

unsigned h1_server_close_idle(struct server *s, unsigned max, int64_t for_ms)
{
    struct list *l = s->connections.next, *next;
    unsigned n = 0;

    /* From the oldest on: not the very longest, but found without an order that each request would
     * have to keep. */
    for (; n < max && l != &s->connections; l = next) {
        struct h1_conn *c = CONTAINER(l, struct h1_conn, link);
        next = l->next;
        if (c->state != CONN_IDLE || sock_waits(&c->sock) || c->in.n || idle_ms(c) < for_ms)
            continue;
        h1_conn_close(c, REASON_KEEPALIVE_END, false);
        n++;
    }
    return n;
}

void h1_server_close_all(struct server *s)
{
    while (!list_empty(&s->connections)) {
        struct h1_conn *c = CONTAINER(s->connections.next, struct h1_conn, link);
        if (c->state == CONN_IDLE || c->state == CONN_LINGER || c->state == CONN_HEAD ||
            c->state == CONN_HANDSHAKE)
            h1_conn_close(c, REASON_DRAIN, false);
        else
            h1_conn_abort(c, REASON_DRAIN);
    }
}
