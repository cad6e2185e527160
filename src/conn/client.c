/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/1 client connection: connects, sends a request as its leg gives it, reads the response,
 * and is idle again or closed. */
#include "conn/client.h"

#include <errno.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/panic.h"
#include "loop/tls.h"

/* X(STATE): what the connection does. */
#define STATES(X)                                                              \
    X(CONNECTING) /* connect timeout                                        */ \
    X(IDLE)       /* in the pool; idle timeout                              */ \
    X(READY)      /* a leg has it, nothing sent                             */ \
    X(AWAIT)      /* the head is sent; the response's head is to come       */ \
    X(BODY)       /* the response's body                                    */ \
    X(CLOSED)

enum state {
#define STATE_ENUM(s) CLIENT_##s,
    STATES(STATE_ENUM)
#undef STATE_ENUM
};

#define TO(s) (1u << CLIENT_##s)
static const uint8_t may_go[] = {
    [CLIENT_CONNECTING] = TO(READY) | TO(CLOSED), [CLIENT_IDLE] = TO(READY) | TO(CLOSED),
    [CLIENT_READY] = TO(AWAIT) | TO(CLOSED),      [CLIENT_AWAIT] = TO(BODY) | TO(IDLE) | TO(CLOSED),
    [CLIENT_BODY] = TO(IDLE) | TO(CLOSED),        [CLIENT_CLOSED] = 0,
};

enum {
    READS_MAX = 32,   /* in one go; then others have their turn */
    INTERIM_MAX = 64, /* 1xx heads before a response */
};

struct client {
    struct grave grave; /* first: loop_bury frees the whole */
    struct sock sock;
    struct thread *thread;
    const struct client_owner *owner;
    void *pool;
    struct leg *leg; /* NULL: none */
    struct list link;
    struct timer timer;
    struct task again;
    struct buf in; /* a head that has come in part */
    struct buf trailer_bytes;
    struct chunked chunked;
    uint64_t body_left;
    int64_t send_ms, read_ms, keep_alive_ms;
    enum h1_framing framing, request_framing;
    uint8_t state;
    bool was_idle, paused, keep_alive, to_head, request_sent, got_bytes;
    bool last;    /* no request follows this one */
    bool surplus; /* bytes came behind a response without a body */
    unsigned requests;
    unsigned interim; /* 1xx heads of this response */
    size_t head_seen;
    struct addr addr;
    char error[96];
};

static struct loop *loop_of(const struct client *c)
{
    return &c->thread->loop;
}

/* The one door of the state. */
static void go(struct client *c, enum state to)
{
    ASSERT(may_go[c->state] & (1u << to));
    c->state = (uint8_t)to;
}

static void release(struct grave *g)
{
    free(g);
}

static void shut(struct client *c, enum reason why)
{
    c->thread->count.upstream_by_reason[why]++;
    c->was_idle = c->state == CLIENT_IDLE;
    go(c, CLIENT_CLOSED);
    timer_clear(&loop_of(c)->timers, &c->timer);
    task_cancel(&c->again);
    sock_close(&c->sock, false);
    buf_fini(&c->in);
    buf_fini(&c->trailer_bytes);
    list_remove(&c->link);
    loop_bury(loop_of(c), &c->grave, release);
}

/* Closes on our side or theirs, and tells whoever has the connection. */
static void fail(struct client *c, enum reason why)
{
    struct leg *leg = c->leg;

    if (c->state == CLIENT_CLOSED)
        return;
    c->leg = NULL;
    shut(c, why);
    c->owner->on_closed(c);
    if (!leg)
        return;
    leg->client = NULL;
    leg->handler->on_fail(leg, why, c->error);
}

/* ---- Sending
 * --------------------------------------------------------------------------------------- */

/* The time for what the upstream owes now: to take what is queued, else its response. While the
 * request is not all there it owes nothing: on_timer sees to that. */
static void set_timer(struct client *c)
{
    if (sock_waits(&c->sock) || !c->request_sent)
        loop_timer(loop_of(c), &c->timer, c->send_ms);
    else if (c->paused)
        timer_pause(&c->timer);
    else
        loop_timer(loop_of(c), &c->timer, c->read_ms);
}

void client_send_head(struct client *c, struct str method, struct str uri, const struct head *head,
                      const struct h1_out_body *body, int64_t send_ms, int64_t read_ms)
{
    size_t need = h1_request_size(method, uri, head);

    go(c, CLIENT_AWAIT);
    c->to_head = str_eq(method, STR("HEAD"));
    c->request_framing = body->framing;
    c->send_ms = send_ms;
    c->read_ms = read_ms;
    c->requests++;
    c->interim = 0;
    if (need <= OUTBOX_BYTES / 2) {
        char *p = sock_room(&c->sock, need);
        sock_wrote(&c->sock, h1_write_request(p, method, uri, head, body, c->last));
    } else {
        char *p = mem_alloc(need);
        sock_write(&c->sock, str_make(p, h1_write_request(p, method, uri, head, body, c->last)));
        free(p);
    }
    c->request_sent = body->framing == H1_NO_BODY;
    set_timer(c);
}

void client_last(struct client *c)
{
    c->last = true;
}

void client_send_body(struct client *c, struct str data, bool last, const struct head *trailers)
{
    ASSERT(c->leg && (c->state == CLIENT_AWAIT || c->state == CLIENT_BODY));
    if (c->request_framing == H1_CHUNKED) {
        if (data.n) {
            sock_wrote(&c->sock, h1_write_chunk_size(sock_room(&c->sock, H1_CHUNK_LINE), data.n));
            sock_write(&c->sock, data);
            sock_write(&c->sock, STR("\r\n"));
        }
        if (last) {
            char *p = sock_room(&c->sock, h1_trailers_size(trailers));
            sock_wrote(&c->sock, h1_write_last_chunk(p, trailers));
        }
    } else {
        sock_write(&c->sock, data);
    }
    c->request_sent = last;
    /* More to send gives no more time to take what is queued. */
    if (!sock_waits(&c->sock))
        set_timer(c);
}

bool client_full(const struct client *c)
{
    return sock_full(&c->sock);
}

/* ---- Receiving
 * ------------------------------------------------------------------------------------- */

/* The connection is the leg's no more: it goes back to the pool, or away. */
static struct leg *detach(struct client *c, bool reusable)
{
    struct leg *leg = c->leg;

    c->leg = NULL;
    leg->client = NULL;
    c->paused = false;
    timer_pause(&c->timer);
    if (reusable && c->keep_alive && !c->last && c->request_sent && !c->sock.hup &&
        !c->sock.broken && !sock_queued(&c->sock)) {
        go(c, CLIENT_IDLE);
        c->owner->on_idle(c);
    } else {
        shut(c, REASON_NOT_KEPT);
        c->owner->on_closed(c);
    }
    return leg;
}

/* The response is complete: the leg gets its last piece. */
static void finish(struct client *c, struct str data, const struct head *trailers, bool reusable)
{
    struct leg *leg = detach(c, reusable);

    leg->trailers = trailers;
    leg->handler->on_body(leg, data, true);
}

static void got_head(struct client *c, const struct h1_response *res, bool more)
{
    struct leg *leg = c->leg;

    if (res->status < 200) {
        leg->handler->on_response(leg, res);
        return;
    }
    c->keep_alive = res->keep_alive;
    c->keep_alive_ms = res->keep_alive_s < 0 ? -1 : res->keep_alive_s * 1000;
    c->framing = res->framing;
    c->body_left = res->length;
    if (res->framing == H1_CHUNKED)
        chunked_init(&c->chunked, &c->trailer_bytes);
    c->surplus = more;
    go(c, CLIENT_BODY);
    leg->handler->on_response(leg, res);
    /* A body that must not be there (after a HEAD, a 304) is no start of the next response. */
    if (c->leg == leg && c->state == CLIENT_BODY && c->framing == H1_NO_BODY && !c->paused)
        finish(c, STR_NONE, NULL, !more);
}

/* Takes a response head from the front of *in; false: no more to do with this input. */
static bool feed_head(struct client *c, struct str *in)
{
    struct thread *t = c->thread;
    struct h1_response res;
    enum reason why = REASON_NONE;
    size_t used = 0;

    if (c->head_seen && in->n <= t->upstream_head.head_bytes && !h1_head_ends(*in, c->head_seen)) {
        c->head_seen = in->n;
        return false;
    }
    switch (h1_parse_response(*in, &t->upstream_head, t->headers, c->to_head, &res, &used, &why)) {
    case H1_MORE:
        c->head_seen = in->n;
        return false;
    case H1_ERROR:
        fail(c, why);
        return false;
    case H1_DONE:
        break;
    }
    c->head_seen = 0;
    c->leg->received += used;
    *in = str_from(*in, used);
    if (res.status == 101) {
        fail(c, REASON_UPSTREAM_SWITCHED);
        return false;
    }
    /* They are passed on at once, with nothing to slow them down. */
    if (res.status < 200 && ++c->interim > INTERIM_MAX) {
        fail(c, REASON_UPSTREAM_BAD_HEAD);
        return false;
    }
    got_head(c, &res, in->n > 0);
    return true;
}

static void give(struct client *c, struct str data)
{
    c->leg->handler->on_body(c->leg, data, false);
}

static void end_chunked(struct client *c, bool clean)
{
    struct header lines[32];
    struct head trailers;

    if (!c->trailer_bytes.n) {
        finish(c, STR_NONE, NULL, clean);
        return;
    }
    struct buf bytes = c->trailer_bytes;
    buf_init(&c->trailer_bytes, bytes.max);
    if (h1_parse_trailers(buf_str(&bytes), lines, 32, &trailers))
        finish(c, STR_NONE, &trailers, clean);
    else
        fail(c, REASON_UPSTREAM_BAD_CHUNK);
    buf_fini(&bytes);
}

static void feed_chunked(struct client *c, struct str *in)
{
    struct str data;

    switch (chunked_next(&c->chunked, in, &data)) {
    case CHUNKED_MORE:
        return;
    case CHUNKED_DATA:
        give(c, data);
        return;
    case CHUNKED_END:
        end_chunked(c, in->n == 0);
        return;
    case CHUNKED_BAD:
        fail(c, REASON_UPSTREAM_BAD_CHUNK);
        return;
    }
}

static void feed_body(struct client *c, struct str *in)
{
    struct str data = *in;

    switch (c->framing) {
    case H1_CHUNKED:
        feed_chunked(c, in);
        return;
    case H1_LENGTH:
        data = str_head(*in, c->body_left < in->n ? (size_t)c->body_left : in->n);
        *in = str_from(*in, data.n);
        c->body_left -= data.n;
        if (c->body_left == 0)
            finish(c, data, NULL, in->n == 0);
        else
            give(c, data);
        return;
    case H1_TO_END:
        *in = STR_NONE;
        give(c, data);
        return;
    case H1_NO_BODY:
        return;
    }
}

/* Uses as much of the input as can be used; returns the rest. */
static struct str feed(struct client *c, struct str in)
{
    while (in.n && c->leg && !c->paused) {
        if (c->state == CLIENT_BODY)
            feed_body(c, &in);
        else if (c->state != CLIENT_AWAIT || !feed_head(c, &in))
            break;
    }
    return in;
}

static void keep(struct client *c, struct str rest)
{
    if (!rest.n || c->state == CLIENT_CLOSED)
        return;
    if (!c->leg) {
        /* Bytes after a response that nobody asked for: what follows cannot be trusted. */
        if (c->state == CLIENT_IDLE)
            fail(c, REASON_UPSTREAM_BAD_HEAD);
        return;
    }
    if (!buf_add(&c->in, rest))
        fail(c, REASON_UPSTREAM_HEAD_TOO_LARGE);
}

static void feed_kept(struct client *c)
{
    struct buf in = c->in;

    buf_init(&c->in, in.max);
    keep(c, feed(c, buf_str(&in)));
    buf_fini(&in);
}

static void note_error(struct client *c, bool tls)
{
    struct arena a;

    arena_init(&a, NULL);
    if (tls)
        snprintf(c->error, sizeof(c->error), "%.*s", STR_ARG(tls_error(c->sock.ssl, &a)));
    else
        snprintf(c->error, sizeof(c->error), "%s", strerrordesc_np(errno));
    arena_fini(&a);
}

static void on_end_of_file(struct client *c, bool failed)
{
    if (failed)
        note_error(c, c->sock.ssl != NULL);
    else
        snprintf(c->error, sizeof(c->error), "the peer closed the connection");
    switch ((enum state)c->state) {
    case CLIENT_BODY:
        if (c->framing == H1_TO_END && !failed)
            finish(c, STR_NONE, NULL, false);
        else
            fail(c, REASON_UPSTREAM_CUT);
        return;
    case CLIENT_AWAIT:
        if (!c->got_bytes && c->requests > 1)
            fail(c, REASON_UPSTREAM_KEPT_CLOSED);
        else
            fail(c, failed ? REASON_UPSTREAM_RESET : REASON_UPSTREAM_CLOSED);
        return;
    case CLIENT_IDLE:
    case CLIENT_READY:
    case CLIENT_CONNECTING:
        fail(c, c->requests ? REASON_UPSTREAM_KEPT_CLOSED : REASON_UPSTREAM_CLOSED);
        return;
    case CLIENT_CLOSED:
        return;
    }
}

static void read_more(struct client *c)
{
    struct thread *t = c->thread;

    for (int i = 0; c->state != CLIENT_CLOSED && c->sock.readable && !c->paused; i++) {
        if (i == READS_MAX) {
            loop_defer(loop_of(c), &c->again);
            return;
        }
        ssize_t n = sock_read(&c->sock, t->in, sizeof(t->in));
        if (n == -1)
            return;
        if (n <= 0) {
            on_end_of_file(c, n < 0);
            return;
        }
        /* An answer before the question. */
        if (!c->leg || c->state == CLIENT_READY) {
            fail(c, REASON_UPSTREAM_BAD_HEAD);
            return;
        }
        c->got_bytes = true;
        if (c->state == CLIENT_BODY)
            c->leg->received += (size_t)n;
        if (c->request_sent && !sock_waits(&c->sock))
            set_timer(c);
        if (c->in.n) {
            keep(c, str_make(t->in, (size_t)n));
            if (c->state != CLIENT_CLOSED)
                feed_kept(c);
        } else {
            keep(c, feed(c, str_make(t->in, (size_t)n)));
        }
    }
}

/* ---- Events
 * ----------------------------------------------------------------------------------------- */

static struct client *client_of_sock(struct sock *s)
{
    return CONTAINER(s, struct client, sock);
}

static void on_open(struct sock *s)
{
    struct client *c = client_of_sock(s);

    timer_pause(&c->timer);
    go(c, CLIENT_READY);
    c->leg->handler->on_ready(c->leg);
}

static void on_readable(struct sock *s)
{
    read_more(client_of_sock(s));
}

static void on_drained(struct sock *s)
{
    struct client *c = client_of_sock(s);

    if (!c->leg)
        return;
    set_timer(c);
    c->leg->handler->on_drained(c->leg);
}

static void on_moved(struct sock *s)
{
    struct client *c = client_of_sock(s);

    if (c->leg)
        set_timer(c);
}

static void on_failed(struct sock *s, enum reason why)
{
    struct client *c = client_of_sock(s);

    if (why) {
        note_error(c, why == REASON_TLS_FAILED || why == REASON_TLS_UNVERIFIED);
        fail(c, why);
        return;
    }
    /* A write failed; an answer may have come before (413, then close): read it. */
    c->sock.readable = true;
    c->sock.hup = true;
    if (c->state != CLIENT_CLOSED)
        set_timer(c);
    read_more(c);
}

static const struct sock_ops sock_callbacks = {
    .open = on_open,
    .readable = on_readable,
    .drained = on_drained,
    .moved = on_moved,
    .failed = on_failed,
};

static void on_again(struct task *task)
{
    struct client *c = CONTAINER(task, struct client, again);

    if (c->paused)
        return;
    if (c->state == CLIENT_BODY && c->framing == H1_NO_BODY) {
        finish(c, STR_NONE, NULL, c->in.n == 0);
        return;
    }
    if (c->in.n)
        feed_kept(c);
    if (c->state != CLIENT_CLOSED)
        read_more(c);
}

/* The upstream took nothing, or gave nothing, for too long; or it only waits for the request. */
static void fail_late(struct client *c, enum reason silent)
{
    if (sock_waits(&c->sock) && sock_took(&c->sock))
        set_timer(c);
    else if (sock_waits(&c->sock))
        fail(c, REASON_SEND_TIMEOUT);
    else if (c->request_sent || c->sock.broken)
        fail(c, silent);
}

static void on_timer(struct timer *t)
{
    struct client *c = CONTAINER(t, struct client, timer);

    snprintf(c->error, sizeof(c->error), "timed out");
    switch ((enum state)c->state) {
    case CLIENT_CONNECTING:
        fail(c, REASON_CONNECT_TIMEOUT); /* of the handshake too, as nginx */
        return;
    case CLIENT_IDLE:
        fail(c, REASON_KEEPALIVE_END);
        return;
    case CLIENT_AWAIT:
        fail_late(c, REASON_READ_TIMEOUT);
        return;
    case CLIENT_BODY:
        fail_late(c, REASON_UPSTREAM_STALLED);
        return;
    case CLIENT_READY:
    case CLIENT_CLOSED:
        return;
    }
}

/* ---- The pool's and the leg's side
 * -------------------------------------------------------------------- */

struct client *client_connect(struct thread *t, const struct client_target *target,
                              const struct client_owner *owner, void *pool, struct leg *leg,
                              int64_t timeout_ms)
{
    const struct addr *addr = &target->addr;
    int fd = sock_connect(&addr->sa,
                          addr->sa.sa_family == AF_INET6 ? sizeof(addr->in6) : sizeof(addr->in));

    SSL *ssl = NULL;

    if (fd < 0)
        return NULL;
    if (target->tls) {
        ssl = tls_client_new(target->tls, target->server_name, target->identity, target->session);
        if (!ssl) {
            close(fd);
            errno = EKEYREJECTED;
            return NULL;
        }
    }
    struct client *c = mem_zero(sizeof(*c));
    if (!sock_init(&c->sock, &t->loop, t->out, fd, SOCK_CONNECTING, &sock_callbacks)) {
        SSL_free(ssl);
        free(c);
        return NULL;
    }
    if (ssl)
        sock_tls(&c->sock, ssl);
    c->thread = t;
    c->owner = owner;
    c->pool = pool;
    c->addr = *addr;
    c->keep_alive_ms = -1;
    c->state = CLIENT_CONNECTING;
    list_init(&c->link);
    timer_init(&c->timer, on_timer);
    task_init(&c->again, on_again);
    buf_init(&c->in, t->upstream_head.head_bytes + 2 * (size_t)INBOX_BYTES);
    buf_init(&c->trailer_bytes, 16384);
    c->leg = leg;
    leg->client = c;
    t->count.upstream_opened++;
    loop_timer(&t->loop, &c->timer, timeout_ms);
    return c;
}

void client_take(struct client *c, struct leg *leg)
{
    go(c, CLIENT_READY);
    timer_pause(&c->timer);
    c->got_bytes = false;
    c->paused = false;
    c->leg = leg;
    leg->client = c;
    c->thread->count.upstream_reused++;
}

bool client_is_open(const struct client *c)
{
    char byte;

    return !c->sock.hup && recv(c->sock.io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
}

void client_pause(struct client *c)
{
    c->paused = true;
    if (!sock_waits(&c->sock))
        timer_pause(&c->timer);
}

void client_resume(struct client *c)
{
    if (!c->paused)
        return;
    c->paused = false;
    if (!sock_waits(&c->sock))
        set_timer(c);
    if (c->in.n || c->sock.readable || c->framing == H1_NO_BODY)
        loop_defer(loop_of(c), &c->again);
}

void client_abandon(struct client *c, enum reason why)
{
    c->leg->client = NULL;
    c->leg = NULL;
    shut(c, why);
    c->owner->on_closed(c);
}

bool client_release(struct client *c, enum reason why)
{
    if (c->state != CLIENT_BODY || c->framing != H1_NO_BODY) {
        client_abandon(c, why);
        return false;
    }
    detach(c, !c->surplus && !c->in.n);
    /* An end that came while reading was paused makes no other edge. */
    if (c->state != CLIENT_CLOSED && c->sock.readable)
        loop_defer(loop_of(c), &c->again);
    return true;
}

bool client_hand_over(struct client *c, struct leg *to, uint64_t max, int64_t read_ms)
{
    bool known = c->framing == H1_LENGTH && c->body_left <= max;

    ASSERT(c->state == CLIENT_BODY);
    if (c->framing == H1_NO_BODY) {
        client_release(c, REASON_NOT_KEPT);
        return false;
    }
    if (!c->keep_alive || !c->request_sent || (!known && c->framing != H1_CHUNKED)) {
        client_abandon(c, REASON_NOT_KEPT);
        return false;
    }
    c->leg->client = NULL;
    c->leg = to;
    to->client = c;
    c->read_ms = read_ms;
    set_timer(c);
    return true;
}

void client_close(struct client *c, enum reason why)
{
    ASSERT(!c->leg);
    shut(c, why);
}

void client_idle_timer(struct client *c, int64_t ms)
{
    loop_timer(loop_of(c), &c->timer, ms);
}

void *client_pool(const struct client *c)
{
    return c->pool;
}

struct list *client_link(struct client *c)
{
    return &c->link;
}

struct client *client_of_link(struct list *l)
{
    return CONTAINER(l, struct client, link);
}

bool client_was_idle(const struct client *c)
{
    return c->was_idle;
}

unsigned client_requests(const struct client *c)
{
    return c->requests;
}

bool client_reused(const struct client *c)
{
    return c->requests > 1;
}

int64_t client_keep_alive_ms(const struct client *c)
{
    return c->keep_alive_ms;
}

const struct addr *client_addr(const struct client *c)
{
    return &c->addr;
}
