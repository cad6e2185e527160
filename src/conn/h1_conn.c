/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/1 server connection: its state, the time each may take, and its end. */
#include "conn/h1_conn.h"

#include "base/panic.h"

#define TO(s) (1u << CONN_##s)
static const uint8_t may_go[] = {
    [CONN_HANDSHAKE] = TO(IDLE) | TO(LINGER) | TO(CLOSED),
    [CONN_IDLE] = TO(HEAD) | TO(LINGER) | TO(CLOSED),
    [CONN_HEAD] = TO(IDLE) | TO(BODY) | TO(BUSY) | TO(LINGER) | TO(CLOSED),
    [CONN_BODY] = TO(BUSY) | TO(LINGER) | TO(CLOSED),
    [CONN_BUSY] = TO(IDLE) | TO(LINGER) | TO(CLOSED),
    [CONN_LINGER] = TO(CLOSED),
    [CONN_CLOSED] = 0,
};

enum {
    LINGER_MS = 2000, /* without a byte, and with them (nginx: lingering_time): */
    LINGER_MAX_MS = 30000,
    DRAIN_IDLE_MS = 250, /* for a next request that may be on its way when the process stops */
};

/* While a response is under way: the client must take it, else give its body, unless nobody wants
 * that now. A send timeout that is running goes on. */
static void set_stream_timer(struct h1_conn *c)
{
    const struct conn_limits *limits = &c->server->thread->limits;

    if (c->sock.full && c->sending)
        return;
    c->sending = c->sock.full;
    if (c->sending)
        loop_timer(h1_conn_loop(c), &c->timer, limits->send_ms);
    else if (c->state == CONN_BODY && !c->paused)
        loop_timer(h1_conn_loop(c), &c->timer, limits->body_ms);
    else
        timer_pause(&c->timer);
}

static int64_t linger_ms(const struct h1_conn *c)
{
    int64_t left = c->linger_until_ms - h1_conn_loop(c)->now_ms;

    return left < LINGER_MS ? left : LINGER_MS;
}

void h1_conn_set_timer(struct h1_conn *c)
{
    const struct thread *t = c->server->thread;

    bool ending = t->draining || c->leaving;

    switch ((enum state)c->state) {
    case CONN_IDLE:
        loop_timer(h1_conn_loop(c), &c->timer, ending ? DRAIN_IDLE_MS : t->limits.keepalive_ms);
        break;
    case CONN_HANDSHAKE:
    case CONN_HEAD:
        loop_timer(h1_conn_loop(c), &c->timer, ending ? LINGER_MS : t->limits.head_ms);
        break;
    case CONN_BODY:
    case CONN_BUSY:
        set_stream_timer(c);
        break;
    case CONN_LINGER:
        loop_timer(h1_conn_loop(c), &c->timer,
                   sock_waits(&c->sock) ? t->limits.send_ms : linger_ms(c));
        break;
    case CONN_CLOSED:
        timer_clear(&h1_conn_loop(c)->timers, &c->timer);
        break;
    }
}

/* The one door of the state; also sets the time that the new state may take. */
void h1_conn_go(struct h1_conn *c, enum state to)
{
    ASSERT(may_go[c->state] & (1u << to));
    if (to != CONN_BUSY)
        c->sending = false;
    if (to == CONN_LINGER)
        c->linger_until_ms = h1_conn_loop(c)->now_ms + LINGER_MAX_MS;
    c->state = (uint8_t)to;
    h1_conn_set_timer(c);
}

/* ---- Ending
 * -------------------------------------------------------------------------------------- */

static void release(struct grave *g)
{
    struct h1_conn *c = CONTAINER(g, struct h1_conn, grave);

    if (c->tls) {
        tls_peer_fini(c->tls);
        free(c->tls);
    }
    free(c);
}

void h1_conn_close(struct h1_conn *c, enum reason why, bool reset)
{
    c->server->thread->count.client_by_reason[why]++;
    c->server->thread->count.closed++;
    h1_conn_go(c, CONN_CLOSED);
    sock_close(&c->sock, reset);
    task_cancel(&c->again);
    buf_fini(&c->in);
    buf_fini(&c->trailer_bytes);
    list_remove(&c->link);
    loop_bury(h1_conn_loop(c), &c->grave, release);
    server_closed_one(c->server);
}

/* Closes after our last byte, without letting unread input turn it into a reset that would take the
 * response along (RFC 9112 §9.6). */
void h1_conn_linger(struct h1_conn *c)
{
    buf_fini(&c->in);
    sock_flush(&c->sock);
    h1_conn_go(c, CONN_LINGER);
    if (!sock_waits(&c->sock))
        sock_shutdown(&c->sock);
    if (c->sock.readable)
        loop_defer(h1_conn_loop(c), &c->again);
}

/* The client will send no more, but may still be reading (half-closed): what is queued goes out
 * first. */
void h1_conn_hang_up(struct h1_conn *c, enum reason why)
{
    sock_flush(&c->sock);
    if (!sock_waits(&c->sock)) {
        h1_conn_close(c, why, false);
        return;
    }
    if (c->state != CONN_LINGER)
        h1_conn_go(c, CONN_LINGER);
    c->sock.readable = false;
}

/* The connection fails: the handler, if one is at work, is told; a reset tells a client that was
 * being answered that the answer is not whole. */
void h1_conn_abort(struct h1_conn *c, enum reason why)
{
    bool open = h1_conn_is_open(c);

    log_info("client %s: %s", c->peer_text, reasons[why].text);
    h1_conn_close(c, why, c->responded && open);
    if (open)
        c->server->handler->on_abort(&c->stream, why);
}

void h1_conn_next(struct h1_conn *c)
{
    if (!c->keep_alive) {
        h1_conn_linger(c);
        return;
    }
    h1_conn_go(c, CONN_IDLE);
    if (!c->feeding && (c->in.n || c->sock.readable))
        loop_defer(h1_conn_loop(c), &c->again);
}
