/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: input, dispatch, output, close. epoll is edge-triggered and told of a socket once,
 * so `readable` and `writable` remember what it said. */
#include "conn.h"

#include "reply.h"
#include "reqlog.h"
#include "routes.h"
#include "stream.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_BODY   (64u << 20)  /* of a body that a handler wants */
#define PIPELINE   (256u << 10) /* bytes of replies gathered before they are sent */
#define READS      16           /* in a row, then others get their turn */
#define IDLE_CLOSE 50           /* ms, close-after */
#define RST_WAIT   5            /* ms, so that the peer gets what came before the reset */
#define LINGER     500          /* ms */

enum timer_kind { TIMER_MAIN, TIMER_TICK };
enum io { IO_AGAIN = -1, IO_FAIL = -2 }; /* below zero; zero is the end */

uint64_t conn_serial(struct worker *w)
{
    return (uint64_t)w->index << 48 | ++w->serial;
}

/* ---- bytes ---- */

static ssize_t tls_result(struct conn *c, int rc)
{
    int err = SSL_get_error(c->ssl, rc);
    if (err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE)
        return IO_AGAIN;
    ERR_clear_error();
    return err == SSL_ERROR_ZERO_RETURN ? 0 : IO_FAIL;
}

static ssize_t io_read(struct conn *c, char *p, size_t n)
{
    if (c->ssl) {
        int rc = SSL_read(c->ssl, p, (int)n);
        return rc > 0 ? rc : tls_result(c, rc);
    }
    ssize_t rc = recv(c->fd, p, n, 0);
    if (rc >= 0)
        return rc;
    return errno == EAGAIN || errno == EINTR ? IO_AGAIN : IO_FAIL;
}

static ssize_t io_write(struct conn *c, const char *p, size_t n)
{
    if (c->ssl) {
        int rc = SSL_write(c->ssl, p, n > 1 << 20 ? 1 << 20 : (int)n);
        return rc > 0 ? rc : tls_result(c, rc) == IO_AGAIN ? IO_AGAIN : IO_FAIL;
    }
    ssize_t rc = send(c->fd, p, n, MSG_NOSIGNAL);
    if (rc >= 0)
        return rc;
    return errno == EAGAIN || errno == EINTR ? IO_AGAIN : IO_FAIL;
}

/* ---- the end of a connection ---- */

static void log_unfinished(struct conn *c)
{
    struct worker *w = c->w;
    const char *why;
    if (c->state == CONN_BODY && c->head.n &&
        http_parse_head(c->head.p, c->head.n, &w->req, &why) > 0) {
        c->status = 0;
        c->events = 0;
        reqlog_begin(c, &w->req, (struct slice){NULL, 0});
        stat_add(&w->stats.requests, 1);
    }
    if (c->state == CONN_BODY || c->state == CONN_REPLY)
        stat_add(&w->stats.requests_aborted, 1);
    reqlog_end(c, true);
}

static void conn_close(struct conn *c, bool clean)
{
    struct worker *w = c->w;
    if (c->state == CONN_CLOSED)
        return;
    log_unfinished(c);
    stream_free(c, true);
    timers_stop(&w->timers, &c->timer);
    timers_stop(&w->timers, &c->tick);
    if (c->ssl) {
        if (clean)
            SSL_shutdown(c->ssl);
        else
            SSL_set_quiet_shutdown(c->ssl, 1);
        ERR_clear_error();
        SSL_free(c->ssl);
    }
    close(c->fd);
    c->state = CONN_CLOSED;
    *c->all_prev = c->all_next;
    if (c->all_next)
        c->all_next->all_prev = c->all_prev;
    stat_sub(&w->stats.connections_open, 1);
    buf_free(&c->in);
    buf_free(&c->out);
    buf_free(&c->head);
    buf_free(&c->body);
    buf_free(&c->log);
    w->out.n = 0;
    if (!c->queued) { /* else the ready list still holds it, and buries it */
        c->next = w->grave;
        w->grave = c;
    }
}

static void conn_reset(struct conn *c)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    c->state = CONN_HEAD; /* the reply ended as it was meant to: not the client's abort */
    conn_close(c, false);
}

/* Ends our side. With input unread a plain close would reset the connection and take our last bytes
 * with it. */
static void conn_end(struct conn *c, bool clean)
{
    c->state = CONN_HEAD;
    reqlog_end(c, false);
    if (!c->readable && c->in.n == 0) {
        conn_close(c, clean);
        return;
    }
    if (c->ssl && clean) {
        SSL_shutdown(c->ssl);
        ERR_clear_error();
    }
    shutdown(c->fd, SHUT_WR);
    c->state = CONN_LINGER;
    buf_free(&c->in);
    timers_set(&c->w->timers, &c->tick, c->w->now + LINGER);
}

static void linger_read(struct conn *c)
{
    char *p = c->w->in;
    for (int i = 0; i < READS; i++) {
        ssize_t n = recv(c->fd, p, WORKER_IN, 0);
        if (n < 0 && errno == EAGAIN) {
            c->readable = false;
            return;
        }
        if (n <= 0) {
            conn_close(c, false);
            return;
        }
    }
}

/* ---- output ---- */

static void out_stash(struct conn *c)
{
    struct worker *w = c->w;
    buf_add(&c->out, w->out.p, w->out.n);
    w->out.n = 0;
}

/* One piece of a split reply; the tick sends the next. */
static bool flush_split(struct conn *c)
{
    struct worker *w = c->w;
    out_stash(c);
    while (!c->split_wait && c->out_at < c->out.n) {
        size_t n = c->out.n - c->out_at;
        if (n > c->fault.split)
            n = c->fault.split;
        ssize_t rc = c->writable ? io_write(c, c->out.p + c->out_at, n) : IO_AGAIN;
        if (rc == IO_AGAIN) {
            c->writable = false;
            return false;
        }
        if (rc <= 0) {
            conn_close(c, false);
            return false;
        }
        stat_add(&w->stats.bytes_out, (uint64_t)rc);
        c->out_at += (size_t)rc;
        if (c->out_at < c->out.n && c->fault.split_ms) {
            timers_set(&w->timers, &c->tick, w->now + c->fault.split_ms);
            c->split_wait = true;
        }
    }
    if (c->out_at < c->out.n)
        return false;
    buf_free(&c->out);
    c->out_at = 0;
    return true;
}

/* Returns true when all that was written is with the kernel. */
static bool conn_flush(struct conn *c)
{
    struct worker *w = c->w;
    if (c->fault.set & FAULT_SPLIT)
        return flush_split(c);
    if (c->out.n)
        out_stash(c);
    struct buf *b = c->out.n ? &c->out : &w->out;
    size_t at = c->out.n ? c->out_at : 0;
    while (at < b->n) {
        ssize_t rc = c->writable ? io_write(c, b->p + at, b->n - at) : IO_AGAIN;
        if (rc == IO_AGAIN) {
            c->writable = false;
            if (b == &w->out) {
                buf_add(&c->out, b->p + at, b->n - at);
                w->out.n = 0;
                at = 0;
            }
            c->out_at = at;
            return false;
        }
        if (rc <= 0) {
            conn_close(c, false);
            return false;
        }
        stat_add(&w->stats.bytes_out, (uint64_t)rc);
        at += (size_t)rc;
    }
    if (b == &c->out) {
        buf_free(&c->out);
        c->out_at = 0;
    }
    b->n = 0;
    return true;
}

/* A reply has been sent. True when the next request may be read. */
static bool reply_done(struct conn *c)
{
    struct timers *ts = &c->w->timers;
    switch (c->after) {
    case AFTER_KEEP:
        c->state = CONN_HEAD;
        return true;
    case AFTER_IDLE_CLOSE:
        c->state = CONN_HEAD;
        timers_set(ts, &c->tick, c->w->now + IDLE_CLOSE);
        return true;
    case AFTER_CLOSE:
        conn_end(c, true);
        return false;
    case AFTER_CUT:
        conn_end(c, false);
        return false;
    case AFTER_RST:
        if (!c->tick.prev)
            timers_set(ts, &c->tick, c->w->now + RST_WAIT);
        return false;
    case AFTER_STALL:
        return false;
    }
    return false;
}

/* Writes and sends what can be. True when the connection is ready for input. */
static bool conn_pump(struct conn *c)
{
    for (;;) {
        if (c->held) {
            out_stash(c);
            return false;
        }
        if (c->stream && !c->waiting && c->out.n == 0)
            stream_run(c);
        if (!conn_flush(c))
            return false;
        if (c->state != CONN_REPLY)
            return c->state == CONN_HEAD || c->state == CONN_BODY;
        if (!c->stream)
            return reply_done(c);
        if (c->waiting)
            return false;
    }
}

/* ---- requests ---- */

static bool request_faults(struct conn *c, const struct request *r)
{
    char text[256];
    struct slice bad, spec = {NULL, 0};
    c->fault = sim.fault;
    c->hold_ms = sim.delay_ms;
    c->events_wanted = sim.events;
    c->gap_ms = sim.gap_ms;
    if (!r->sim && r->query.n == 0) {
        c->hold_ms += c->fault.slow_ms;
        return true;
    }
    uint64_t v;
    if (r->sim) {
        spec = http_header(r, "x-sim-fault");
        if (slice_num(http_header(r, "x-sim-events"), 1u << 24, &v))
            c->events_wanted = (uint32_t)v;
        if (slice_num(http_header(r, "x-sim-gap"), 1u << 24, &v))
            c->gap_ms = (uint32_t)v;
        if (slice_num(http_header(r, "x-sim-delay"), 1u << 24, &v))
            c->hold_ms = (uint32_t)v;
    }
    c->events_wanted = (uint32_t)http_query_num(r, "events", 1u << 24, c->events_wanted);
    c->gap_ms = (uint32_t)http_query_num(r, "gap", 1u << 24, c->gap_ms);
    c->hold_ms = (uint32_t)http_query_num(r, "delay", 1u << 24, c->hold_ms);
    if (spec.n == 0 && http_query(r, "fault", text, sizeof text))
        spec = (struct slice){text, strlen(text)};
    if (spec.n) {
        c->fault = (struct fault){0};
        if (!fault_parse(&c->fault, spec, &bad)) {
            struct buf msg = {0};
            buf_fmt(&msg, "unknown fault '%.*s'%c", (int)bad.n, bad.p, 0);
            c->fault = (struct fault){0};
            reply_error(c, 400, "unknown_fault", msg.p);
            buf_free(&msg);
            return false;
        }
    }
    c->hold_ms += c->fault.slow_ms;
    return true;
}

static bool key_is_right(const struct conn *c, const struct request *r)
{
    const char *key = sim.require_key;
    char text[256];
    if (slice_starts(r->auth, "Bearer ") || slice_starts(r->auth, "bearer "))
        if (slice_is((struct slice){r->auth.p + 7, r->auth.n - 7}, key))
            return true;
    switch (c->api) {
    case API_OPENAI:
        return slice_is(http_header(r, "api-key"), key); /* Azure */
    case API_ANTHROPIC:
        return slice_is(http_header(r, "x-api-key"), key);
    case API_GEMINI:
        return slice_is(http_header(r, "x-goog-api-key"), key) ||
               (http_query(r, "key", text, sizeof text) && strcmp(text, key) == 0);
    case API_BEDROCK: /* the access key id of a signature; the signature itself is not checked */
        return r->auth.n && slice_starts(r->auth, "AWS4-HMAC-SHA256 Credential=") &&
               r->auth.n > 28 + strlen(key) && memcmp(r->auth.p + 28, key, strlen(key)) == 0 &&
               r->auth.p[28 + strlen(key)] == '/';
    case API_PLAIN:
        return true;
    }
    return false;
}

static void request_answer(struct conn *c, const struct request *r, struct slice body)
{
    if (!c->route->quiet) {
        if (!request_faults(c, r) || (c->fault.set && reply_fault(c, r)))
            return;
        if (sim.require_key && c->api != API_PLAIN && !key_is_right(c, r)) {
            reply_error(c, 401, "invalid_api_key", "Incorrect API key provided");
            return;
        }
        if (c->fault.set & FAULT_CLOSE_AFTER)
            c->after = AFTER_IDLE_CLOSE;
    }
    c->route->handler(c, r, body);
}

/* A request is there as a whole: answers it, or starts to. */
static void request_run(struct conn *c, const struct request *r, struct slice body)
{
    struct worker *w = c->w;
    bool quiet = c->route->quiet;
    c->api = c->route->api;
    c->state = CONN_REPLY;
    c->http10 = r->minor == 0;
    c->keep = c->http10 ? r->keep && !r->close : !r->close;
    c->after = c->keep ? AFTER_KEEP : AFTER_CLOSE;
    c->head_only = slice_is(r->method, "HEAD");
    c->status = 0;
    c->events = 0;
    c->hold_ms = 0;
    c->fault.set = 0;
    if (!quiet) {
        stat_add(&w->stats.requests, 1);
        reqlog_begin(c, r, body);
    }
    request_answer(c, r, body);
    if (c->hold_ms) {
        c->held = true;
        timers_set(&w->timers, &c->timer, w->now + c->hold_ms);
        return;
    }
    if (c->stream || c->after == AFTER_STALL)
        return; /* the line is written at its end */
    reqlog_end(c, false);
    if (c->after == AFTER_KEEP && !(c->fault.set & FAULT_SPLIT))
        c->state = CONN_HEAD;
}

static void request_refuse(struct conn *c, int status, const char *why)
{
    c->api = API_OPENAI;
    c->state = CONN_REPLY;
    c->keep = c->http10 = c->head_only = false;
    c->after = AFTER_CLOSE;
    c->fault = (struct fault){0};
    c->hold_ms = 0;
    c->readable = true; /* there may be more: linger */
    stat_add(&c->w->stats.bad_requests, 1);
    reply_error(c, status, NULL, why);
}

static void body_finish(struct conn *c)
{
    struct worker *w = c->w;
    const char *why;
    http_parse_head(c->head.p, c->head.n, &w->req, &why); /* it was good before */
    request_run(c, &w->req, (struct slice){c->body.p, c->body.n});
    buf_free(&c->head);
    buf_free(&c->body);
}

static bool body_add(struct conn *c, struct slice data)
{
    c->body_size += data.n;
    if (!c->route->collect)
        return true;
    if (c->body.n + data.n > MAX_BODY) {
        request_refuse(c, 413, "request body too large");
        return false;
    }
    buf_add(&c->body, data.p, data.n);
    return true;
}

/* Takes body bytes; returns how many. The state tells whether it is over. */
static size_t body_input(struct conn *c, const char *p, size_t n)
{
    if (!c->body_chunked) {
        size_t take = n < c->body_left ? n : (size_t)c->body_left;
        c->body_left -= take;
        if (body_add(c, (struct slice){p, take}) && c->body_left == 0)
            body_finish(c);
        return take;
    }
    const char *at = p;
    struct slice data;
    for (;;) {
        switch (http_chunk(&c->chunk, &at, &n, &data)) {
        case CHUNK_DATA:
            if (!body_add(c, data))
                return (size_t)(at - p);
            break;
        case CHUNK_MORE:
            return (size_t)(at - p);
        case CHUNK_DONE:
            body_finish(c);
            return (size_t)(at - p);
        case CHUNK_BAD:
            request_refuse(c, 400, "bad chunk in the request body");
            return (size_t)(at - p);
        }
    }
}

/* Takes a head, with the whole body when it is there already. Returns bytes taken, 0 = needs more.
 */
static size_t head_input(struct conn *c, const char *p, size_t n)
{
    struct request *r = &c->w->req;
    const char *why;
    long head = http_parse_head(p, n, r, &why);
    if (head == 0)
        return 0;
    if (head < 0) {
        request_refuse(c, (int)-head, why);
        return n;
    }
    if (c->tick.prev) /* close-after met a new request first */
        timers_stop(&c->w->timers, &c->tick);
    size_t used = (size_t)head;
    c->route = route_find(r);
    c->body_size = 0;
    if (!r->chunked && (r->length <= 0 || n - used >= (size_t)r->length)) {
        size_t len = r->length > 0 ? (size_t)r->length : 0;
        c->body_size = len;
        if (len > MAX_BODY && c->route->collect) {
            request_refuse(c, 413, "request body too large");
            return n;
        }
        request_run(c, r, (struct slice){p + used, len});
        return used + len;
    }
    c->state = CONN_BODY;
    c->body_chunked = r->chunked;
    c->chunk = (struct chunked){0};
    c->body_left = r->length > 0 ? (uint64_t)r->length : 0;
    buf_add(&c->head, p, used);
    if (r->expect && r->minor > 0 && n == used)
        buf_str(&c->w->out, "HTTP/1.1 100 Continue\r\n\r\n");
    return used;
}

/* Goes through input bytes until they end, a reply must be awaited, or enough replies are gathered.
 */
static size_t conn_input(struct conn *c, const char *p, size_t n)
{
    size_t at = 0;
    while (at < n && c->w->out.n < PIPELINE) {
        size_t used;
        if (c->state == CONN_BODY)
            used = body_input(c, p + at, n - at);
        else if (c->state == CONN_HEAD)
            used = head_input(c, p + at, n - at);
        else
            break;
        if (used == 0) {
            c->in_tried = true;
            break;
        }
        at += used;
    }
    return at;
}

/* Input that was kept from before. */
static void input_kept(struct conn *c)
{
    size_t used = conn_input(c, c->in.p, c->in.n);
    c->in.n -= used;
    if (c->in.n == 0)
        buf_free(&c->in);
    else
        memmove(c->in.p, c->in.p + used, c->in.n);
}

/* Reads once. False when there was nothing, or the connection ended. */
static bool input_read(struct conn *c)
{
    struct worker *w = c->w;
    char *p = w->in;
    size_t cap = WORKER_IN;
    if (c->in.n) {
        buf_reserve(&c->in, WORKER_IN / 4);
        p = c->in.p + c->in.n;
        cap = c->in.cap - c->in.n;
    }
    ssize_t n = io_read(c, p, cap);
    if (n == IO_AGAIN) {
        c->readable = false;
        return false;
    }
    if (n <= 0) {
        conn_close(c, n == 0);
        return false;
    }
    stat_add(&w->stats.bytes_in, (uint64_t)n);
    if (!c->ssl && (size_t)n < cap && !c->peer_done)
        c->readable = false; /* a short read empties a socket; saves the read that says EAGAIN */
    c->in_tried = false;
    if (c->in.n) {
        c->in.n += (size_t)n;
        input_kept(c);
        return true;
    }
    size_t used = conn_input(c, p, (size_t)n);
    if (c->state != CONN_CLOSED)
        buf_add(&c->in, p + used, (size_t)n - used);
    return true;
}

static void conn_queue(struct conn *c)
{
    if (c->queued)
        return;
    c->queued = true;
    c->next = c->w->ready;
    c->w->ready = c;
}

void conn_run(struct conn *c)
{
    for (int i = 0; i < READS; i++) {
        if (c->state == CONN_LINGER) {
            if (c->readable)
                linger_read(c);
            return;
        }
        if (!conn_pump(c))
            return;
        if (c->in.n && !c->in_tried) {
            input_kept(c);
            continue;
        }
        if (!c->readable)
            return;
        if (!input_read(c) && c->state == CONN_CLOSED)
            return;
    }
    if (conn_pump(c))
        conn_queue(c);
}

/* ---- events ---- */

static bool handshake(struct conn *c)
{
    struct worker *w = c->w;
    int rc = SSL_do_handshake(c->ssl);
    if (rc == 1) {
        stat_add(&w->stats.tls_handshakes, 1);
        if (SSL_session_reused(c->ssl))
            stat_add(&w->stats.tls_resumed, 1);
        c->state = CONN_HEAD;
        return true;
    }
    if (tls_result(c, rc) != IO_AGAIN) {
        stat_add(&w->stats.tls_failed, 1);
        conn_close(c, false);
    }
    return false;
}

void conn_open(struct worker *w, int fd, SSL *ssl)
{
    struct conn *c = sim_alloc(sizeof *c);
    c->w = w;
    c->fd = fd;
    c->ssl = ssl;
    c->id = (uint64_t)w->index << 32 | ++w->connections;
    c->state = ssl ? CONN_HANDSHAKE : CONN_HEAD;
    c->timer.kind = TIMER_MAIN;
    c->tick.kind = TIMER_TICK;
    c->writable = true;
    c->all_next = w->all;
    c->all_prev = &w->all;
    if (w->all)
        w->all->all_prev = &c->all_next;
    w->all = c;
    stat_add(&w->stats.connections_accepted, 1);
    stat_add(&w->stats.connections_open, 1);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    if (epoll_ctl(w->ep, EPOLL_CTL_ADD, fd, &ev) != 0)
        conn_close(c, false);
}

void conn_close_all(struct worker *w)
{
    while (w->all)
        conn_close(w->all, false);
}

void conn_event(struct conn *c, uint32_t events)
{
    if (c->state == CONN_CLOSED)
        return;
    if (events & EPOLLIN)
        c->readable = true;
    if (events & EPOLLRDHUP) {
        c->peer_done = true;
        c->readable = true;
    }
    if (events & EPOLLOUT)
        c->writable = true;
    if (events & (EPOLLERR | EPOLLHUP) && c->state != CONN_LINGER) {
        /* what was read or can be read is of no use: nobody takes the answer */
        conn_close(c, false);
        return;
    }
    if (c->state == CONN_HANDSHAKE && !handshake(c))
        return;
    bool paced = c->held || (c->stream && c->waiting) || c->after == AFTER_STALL;
    if (c->peer_done && c->state == CONN_REPLY && paced) {
        conn_close(c, false);
        return;
    }
    conn_run(c);
    bool silent = c->after == AFTER_STALL || (c->stream && c->waiting && !c->timer.prev);
    if (c->peer_done && c->state == CONN_REPLY && !c->held && silent)
        conn_close(c, false); /* left at once, and nothing that is sent would show it */
}

void conn_timer(struct timer *t, void *worker)
{
    (void)worker;
    if (t->kind == TIMER_MAIN) {
        struct conn *c = (struct conn *)(void *)((char *)t - offsetof(struct conn, timer));
        if (c->held) {
            c->held = false;
            if (!c->stream && c->after != AFTER_STALL)
                reqlog_end(c, false);
        } else {
            c->waiting = false;
        }
        conn_run(c);
        return;
    }
    struct conn *c = (struct conn *)(void *)((char *)t - offsetof(struct conn, tick));
    if (c->split_wait) {
        c->split_wait = false;
        conn_run(c);
    } else if (c->state == CONN_REPLY && c->after == AFTER_RST) {
        reqlog_end(c, false);
        conn_reset(c);
    } else {
        if (c->state == CONN_REPLY) /* cannot be: a request stops close-after */
            return;
        conn_close(c, true);
    }
}
