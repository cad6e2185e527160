/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/1 server connection: reads requests one after the other, gives each to its handler as a
 * stream, writes the response, keeps alive or closes. */
#include "conn/h1_server.h"

#include <openssl/err.h>

#include "base/mem.h"
#include "base/panic.h"
#include "http/h1_write.h"
#include "loop/tls.h"

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
    LINGER_MS = 2000,
    DRAIN_IDLE_MS = 250,  /* for a next request that may be on its way when the process stops */
    READS_MAX = 16,       /* in one go; then others have their turn */
    DISCARD_MAX = 262144, /* bytes of an unwanted body read for the sake of the connection */
};

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
    uint64_t response_left; /* H1_LENGTH: bytes of the response's body to come */
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

static const struct stream_ops ops;
static const struct sock_ops sock_callbacks;

static struct h1_conn *conn_of(const struct stream *s)
{
    return CONTAINER(s, struct h1_conn, stream);
}

struct server *h1_server_of(const struct stream *s)
{
    return conn_of(s)->server;
}

static struct loop *loop_of(const struct h1_conn *c)
{
    return &c->server->thread->loop;
}

/* While a response is under way: the client must take it, else give its body, unless nobody wants
 * that now. A send timeout that is running goes on. */
static void set_stream_timer(struct h1_conn *c)
{
    const struct conn_limits *limits = &c->server->thread->limits;

    if (c->sock.full && c->sending)
        return;
    c->sending = c->sock.full;
    if (c->sending)
        loop_timer(loop_of(c), &c->timer, limits->send_ms);
    else if (c->state == CONN_BODY && !c->paused)
        loop_timer(loop_of(c), &c->timer, limits->body_ms);
    else
        timer_pause(&c->timer);
}

static void set_timer(struct h1_conn *c)
{
    const struct thread *t = c->server->thread;

    bool ending = t->draining || c->leaving;

    switch ((enum state)c->state) {
    case CONN_IDLE:
        loop_timer(loop_of(c), &c->timer, ending ? DRAIN_IDLE_MS : t->limits.keepalive_ms);
        break;
    case CONN_HANDSHAKE:
    case CONN_HEAD:
        loop_timer(loop_of(c), &c->timer, ending ? LINGER_MS : t->limits.head_ms);
        break;
    case CONN_BODY:
    case CONN_BUSY:
        set_stream_timer(c);
        break;
    case CONN_LINGER:
        loop_timer(loop_of(c), &c->timer, c->sock.queue.n ? t->limits.send_ms : LINGER_MS);
        break;
    case CONN_CLOSED:
        timer_clear(&loop_of(c)->timers, &c->timer);
        break;
    }
}

/* The one door of the state; also sets the time that the new state may take. */
static void go(struct h1_conn *c, enum state to)
{
    ASSERT(may_go[c->state] & (1u << to));
    if (to != CONN_BUSY)
        c->sending = false;
    c->state = (uint8_t)to;
    set_timer(c);
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

static void close_conn(struct h1_conn *c, enum reason why, bool reset)
{
    c->server->thread->count.client_by_reason[why]++;
    c->server->thread->count.closed++;
    go(c, CONN_CLOSED);
    sock_close(&c->sock, reset);
    task_cancel(&c->again);
    buf_fini(&c->in);
    buf_fini(&c->trailer_bytes);
    list_remove(&c->link);
    loop_bury(loop_of(c), &c->grave, release);
    server_closed_one(c->server);
}

/* Closes after our last byte, without letting unread input turn it into a reset that would take the
 * response along (RFC 9112 §9.6). */
static void linger(struct h1_conn *c)
{
    buf_fini(&c->in);
    sock_flush(&c->sock);
    go(c, CONN_LINGER);
    if (c->sock.queue.n == 0)
        sock_shutdown(&c->sock);
    if (c->sock.readable)
        loop_defer(loop_of(c), &c->again);
}

/* The client will send no more, but may still be reading (half-closed): what is queued goes out
 * first. */
static void hang_up(struct h1_conn *c, enum reason why)
{
    sock_flush(&c->sock);
    if (c->sock.queue.n == 0) {
        close_conn(c, why, false);
        return;
    }
    if (c->state != CONN_LINGER)
        go(c, CONN_LINGER);
    c->sock.readable = false;
}

static bool stream_is_open(const struct h1_conn *c)
{
    return (c->state == CONN_BODY || c->state == CONN_BUSY) && !c->response_done;
}

/* The connection fails: the handler, if one is at work, is told; a reset tells a client that was
 * being answered that the answer is not whole. */
static void abort_conn(struct h1_conn *c, enum reason why)
{
    bool open = stream_is_open(c);

    log_info("client %s: %s", c->peer_text, reasons[why].text);
    close_conn(c, why, c->responded && open);
    if (open)
        c->server->handler->on_abort(&c->stream, why);
}

/* ---- Responses
 * ------------------------------------------------------------------------------------ */

static bool body_is_unread(const struct h1_conn *c)
{
    return c->state == CONN_BODY;
}

static void next_request(struct h1_conn *c)
{
    if (!c->keep_alive) {
        linger(c);
        return;
    }
    go(c, CONN_IDLE);
    if (!c->feeding && (c->in.n || c->sock.readable))
        loop_defer(loop_of(c), &c->again);
}

static void response_ended(struct h1_conn *c)
{
    c->response_done = true;
    c->paused = false;
    set_timer(c);
    if (!body_is_unread(c)) {
        next_request(c);
        return;
    }
    if (c->expects || (c->request_framing == H1_LENGTH && c->body_left > DISCARD_MAX)) {
        linger(c);
        return;
    }
    if (!c->feeding)
        loop_defer(loop_of(c), &c->again);
}

static void write_head(struct h1_conn *c, int status, const struct head *head,
                       const struct h1_out_body *body, bool close)
{
    struct sock *s = &c->sock;
    size_t need = h1_response_size(head), n;

    if (need <= OUTBOX_BYTES / 2) {
        n = h1_write_response(sock_room(s, need), status, head, body, close, c->old_client);
        sock_wrote(s, n);
    } else {
        char *p = mem_alloc(need);
        n = h1_write_response(p, status, head, body, close, c->old_client);
        sock_write(s, str_make(p, n));
        free(p);
    }
    c->stream.sent += n;
}

static bool has_no_body(const struct h1_conn *c, int status)
{
    return c->to_head || status == 204 || status == 304;
}

static bool op_respond(struct stream *stream, int status, const struct head *head, int64_t length)
{
    struct h1_conn *c = conn_of(stream);
    struct h1_out_body body = {.framing = H1_NO_BODY};
    bool none = has_no_body(c, status);

    ASSERT(stream_is_open(c) && !c->responded && status >= 200);
    if (length > 0 && status != 204 && status != 304)
        body = (struct h1_out_body){.framing = H1_LENGTH, .length = (uint64_t)length};
    else if (length == 0 && status != 204 && status != 304)
        body.zero = true;
    else if (!none && !c->old_client)
        body.framing = H1_CHUNKED;
    else if (!none)
        body.framing = H1_TO_END;
    /* A client that waits for 100 Continue may send its body now, or not: nobody knows where the
     * next request would begin (RFC 9110 §10.1.1). */
    if (body.framing == H1_TO_END || c->server->thread->draining || c->leaving || stream->close ||
        (c->expects && body_is_unread(c)))
        c->keep_alive = false;
    c->responded = true;
    c->response_framing = body.framing;
    c->response_left = body.length;
    write_head(c, status, head, &body, !c->keep_alive);
    if (!none && length != 0)
        return false;
    response_ended(c);
    return true;
}

static void op_inform(struct stream *stream, int status, const struct head *head)
{
    struct h1_conn *c = conn_of(stream);
    struct h1_out_body body = {.framing = H1_NO_BODY};
    struct head none;

    /* A 1.0 client does not know interim responses (RFC 9110 §15.2). */
    if (c->old_client || c->responded || !stream_is_open(c))
        return;
    if (!head) {
        head_init(&none, NULL, 0);
        head = &none;
    }
    write_head(c, status, head, &body, false);
}

static void write_chunk(struct h1_conn *c, struct str data)
{
    struct sock *s = &c->sock;

    if (!data.n)
        return;
    size_t n = h1_write_chunk_size(sock_room(s, H1_CHUNK_LINE), data.n);
    sock_wrote(s, n);
    sock_write(s, data);
    sock_write(s, STR("\r\n"));
    c->stream.sent += n + 2;
}

static void write_last_chunk(struct h1_conn *c, const struct head *trailers)
{
    size_t need = h1_trailers_size(trailers);
    size_t n = h1_write_last_chunk(sock_room(&c->sock, need), trailers);

    sock_wrote(&c->sock, n);
    c->stream.sent += n;
}

/* A body of another length than was said would be read as, or swallow, the next response: what is
 * too much is dropped, and the connection ends. */
static struct str keep_length(struct h1_conn *c, struct str data, bool last)
{
    if (c->response_framing != H1_LENGTH)
        return data;
    if (data.n > c->response_left || (last && data.n < c->response_left)) {
        if (c->keep_alive)
            log_error("client %s: a response's body is not as long as its Content-Length",
                      c->peer_text);
        c->keep_alive = false;
        data = str_head(data, (size_t)c->response_left);
    }
    c->response_left -= data.n;
    return data;
}

static void op_write(struct stream *stream, struct str data, bool last, const struct head *trailers)
{
    struct h1_conn *c = conn_of(stream);

    ASSERT(stream_is_open(c) && c->responded);
    data = keep_length(c, data, last);
    c->stream.sent += data.n;
    if (c->response_framing == H1_CHUNKED)
        write_chunk(c, data);
    else
        sock_write(&c->sock, data);
    if (last && c->response_framing == H1_CHUNKED)
        write_last_chunk(c, trailers);
    if (last && c->response_framing == H1_LENGTH && c->response_left)
        close_conn(c, REASON_PLUGIN_FAULT, true); /* the client must see that it is too short */
    else if (last)
        response_ended(c);
    else if (c->sock.full)
        set_timer(c);
}

static bool op_full(const struct stream *stream)
{
    return sock_full(&conn_of(stream)->sock);
}

static void op_fail(struct stream *stream, enum reason why)
{
    struct h1_conn *c = conn_of(stream);

    if (!c->responded || c->response_framing == H1_TO_END) {
        close_conn(c, why, c->responded);
        return;
    }
    /* The framing shows that the response is cut; a reset would take along what was already sent.
     */
    c->server->thread->count.client_by_reason[why]++;
    c->response_done = true;
    linger(c);
}

static void op_pause(struct stream *stream)
{
    struct h1_conn *c = conn_of(stream);

    c->paused = true;
    if (c->state == CONN_BODY)
        set_timer(c);
}

static void op_resume(struct stream *stream)
{
    struct h1_conn *c = conn_of(stream);

    c->paused = false;
    if (c->state != CONN_BODY)
        return;
    set_timer(c);
    /* Never within the response. */
    if (c->expects && !c->responded) {
        c->expects = false;
        sock_write(&c->sock, STR("HTTP/1.1 100 Continue\r\n\r\n"));
    }
    if (!c->feeding)
        loop_defer(loop_of(c), &c->again);
}

static const struct stream_ops ops = {
    .respond = op_respond,
    .inform = op_inform,
    .write = op_write,
    .pause = op_pause,
    .resume = op_resume,
    .full = op_full,
    .fail = op_fail,
};

/* ---- Requests
 * -------------------------------------------------------------------------------------- */

/* Answers a request that could not be read, in nginx's form. */
static void write_page(struct h1_conn *c, enum reason why)
{
    struct thread *t = c->server->thread;
    struct header lines[4];
    struct head head;
    struct h1_out_body body = {.framing = H1_LENGTH};
    char page[512];
    int status = reasons[why].status;

    int n = snprintf(page, sizeof(page),
                     "<html>\r\n<head><title>%d %s</title></head>\r\n<body>\r\n<center><h1>%d %s"
                     "</h1></center>\r\n<center>%s</center>\r\n</body>\r\n</html>\r\n",
                     status, h1_phrase(status), status, h1_phrase(status), reasons[why].text);
    body.length = (uint64_t)n;
    head_init(&head, lines, 4);
    head_add(&head, NULL, HEADER_DATE, STR("Date"), thread_date(t));
    head_add(&head, NULL, HEADER_CONTENT_TYPE, STR("Content-Type"),
             STR("text/html; charset=utf-8"));
    write_head(c, status, &head, &body, true);
    if (c->to_head)
        return;
    sock_write(&c->sock, str_make(page, (size_t)n));
    c->stream.page = (uint64_t)n;
    c->stream.sent += (uint64_t)n;
}

static void note_refusal(struct h1_conn *c, enum reason why)
{
    log_info("client %s: %s", c->peer_text, reasons[why].text);
    c->server->thread->count.client_by_reason[why]++;
}

/* The request's body cannot be read: the handler is told, and the client gets a status if it still
 * can. */
static void fail_body(struct h1_conn *c, enum reason why)
{
    if (!stream_is_open(c)) {
        c->server->thread->count.client_by_reason[why]++;
        linger(c); /* the response is on its way and must arrive */
        return;
    }
    if (c->responded) {
        abort_conn(c, why);
        return;
    }
    c->response_done = true;
    note_refusal(c, why);
    write_page(c, why);
    linger(c);
    c->server->handler->on_abort(&c->stream, why);
}

static void begin_stream(struct h1_conn *c, const struct h1_request *req, size_t head_bytes)
{
    struct thread *t = c->server->thread;
    struct stream *s = &c->stream;

    s->requests++;
    s->sent = s->page = 0;
    s->received = head_bytes;
    s->data = NULL;
    s->trailers = NULL;
    s->close = false;
    s->body_coming = req->framing != H1_NO_BODY;
    c->request_framing = req->framing;
    c->body_left = req->framing == H1_LENGTH ? req->length : 0;
    c->discarded = 0;
    c->old_client = req->minor == 0;
    c->to_head = str_eq(req->method, STR("HEAD"));
    c->keep_alive = req->keep_alive && !t->draining && !c->leaving &&
                    !(t->limits.requests && s->requests >= t->limits.requests);
    c->expects = req->expect_continue && req->framing != H1_NO_BODY;
    c->paused = c->responded = c->response_done = false;
    if (req->framing == H1_CHUNKED) {
        buf_fini(&c->trailer_bytes);
        chunked_init(&c->chunked, &c->trailer_bytes);
    }
    t->count.requests++;
}

/* Refuses the request that begin_stream was told of and its handler was not; closes. */
static void refuse(struct h1_conn *c, const struct h1_request *req, enum reason why)
{
    const struct stream_handler *handler = c->server->handler;

    note_refusal(c, why);
    write_page(c, why);
    if (handler->on_refused)
        handler->on_refused(&c->stream, req, why);
    linger(c);
}

/* What there is of a head that will not be whole. */
static void read_partial(struct h1_conn *c, struct h1_request *req)
{
    struct thread *t = c->server->thread;
    enum reason why;
    size_t used;

    h1_parse_request(buf_str(&c->in), &t->limits.head, t->headers, req, &used, &why);
}

static void head_is_late(struct h1_conn *c)
{
    struct h1_request req;

    read_partial(c, &req);
    begin_stream(c, &req, c->in.n);
    refuse(c, &req, REASON_CLIENT_HEAD_TIMEOUT);
}

/* The client has closed its side, and waits for no answer. */
static void head_is_cut(struct h1_conn *c)
{
    const struct stream_handler *handler = c->server->handler;
    struct h1_request req;

    read_partial(c, &req);
    if (!req.line.n) /* an empty line after the last request */
        return;
    begin_stream(c, &req, c->in.n);
    note_refusal(c, REASON_HEAD_CUT);
    if (handler->on_refused)
        handler->on_refused(&c->stream, &req, REASON_HEAD_CUT);
}

/* Takes a head from the front of *in. False: there is no more to do with this input. */
static bool feed_head(struct h1_conn *c, struct str *in)
{
    struct thread *t = c->server->thread;
    struct h1_request req;
    enum reason why = REASON_NONE;
    size_t used = 0;

    if (c->state == CONN_IDLE)
        go(c, CONN_HEAD);
    if (c->head_seen && in->n <= t->limits.head.head_bytes && !h1_head_ends(*in, c->head_seen)) {
        c->head_seen = in->n;
        return false;
    }
    switch (h1_parse_request(*in, &t->limits.head, t->headers, &req, &used, &why)) {
    case H1_MORE:
        c->head_seen = in->n;
        return false;
    case H1_ERROR:
        begin_stream(c, &req, used);
        refuse(c, &req, why);
        return false;
    case H1_DONE:
        break;
    }
    c->head_seen = 0;
    *in = str_from(*in, used);
    begin_stream(c, &req, used);
    uint64_t max = t->limits.body_bytes;
    if (max && req.framing == H1_LENGTH && req.length > max) {
        refuse(c, &req, REASON_BODY_TOO_LARGE);
        return false;
    }
    go(c, req.framing == H1_NO_BODY ? CONN_BUSY : CONN_BODY);
    c->server->handler->on_request(&c->stream, &req);
    /* A handler that did not pause is ready for the body: the client may begin. */
    if (c->state == CONN_BODY && !c->paused && c->expects && !c->response_done)
        op_resume(&c->stream);
    return true;
}

static void give_body(struct h1_conn *c, struct str data, bool last)
{
    c->expects = false;
    c->stream.received += data.n;
    if (last) {
        c->stream.body_coming = false;
        go(c, CONN_BUSY);
    } else {
        set_timer(c);
    }
    if (!c->response_done) {
        c->server->handler->on_body(&c->stream, data, last);
        return;
    }
    c->discarded += data.n;
    if (last)
        next_request(c);
    else if (c->discarded > DISCARD_MAX)
        linger(c);
}

static void end_chunked(struct h1_conn *c)
{
    struct header lines[32];
    struct head trailers;

    if (c->trailer_bytes.n) {
        if (!h1_parse_trailers(buf_str(&c->trailer_bytes), lines, 32, &trailers)) {
            fail_body(c, REASON_BAD_TRAILER);
            return;
        }
        c->stream.trailers = &trailers;
    }
    give_body(c, STR_NONE, true);
    c->stream.trailers = NULL;
}

static void feed_chunked(struct h1_conn *c, struct str *in)
{
    uint64_t max = c->server->thread->limits.body_bytes;
    struct str data;

    switch (chunked_next(&c->chunked, in, &data)) {
    case CHUNKED_MORE:
        return;
    case CHUNKED_DATA:
        c->body_left += data.n;
        if (max && c->body_left > max)
            fail_body(c, REASON_BODY_TOO_LARGE);
        else
            give_body(c, data, false);
        return;
    case CHUNKED_END:
        end_chunked(c);
        return;
    case CHUNKED_BAD:
        fail_body(c, REASON_BAD_CHUNK);
        return;
    }
}

static void feed_body(struct h1_conn *c, struct str *in)
{
    if (c->request_framing == H1_CHUNKED) {
        feed_chunked(c, in);
        return;
    }
    struct str data = str_head(*in, c->body_left < in->n ? (size_t)c->body_left : in->n);
    *in = str_from(*in, data.n);
    c->body_left -= data.n;
    give_body(c, data, c->body_left == 0);
}

static bool wants_input(const struct h1_conn *c)
{
    /* No new request from a client that does not take the responses it has. */
    return (c->state == CONN_IDLE && !c->sock.full) || c->state == CONN_HEAD ||
           (c->state == CONN_BODY && !c->paused);
}

/* Uses as much of the input as can be used now; returns the rest. */
static struct str feed(struct h1_conn *c, struct str in)
{
    c->feeding = true;
    while (in.n && wants_input(c)) {
        if (c->state == CONN_BODY)
            feed_body(c, &in);
        else if (!feed_head(c, &in))
            break;
    }
    c->feeding = false;
    return in;
}

/* Keeps what feed() left for later. */
static void keep(struct h1_conn *c, struct str rest)
{
    if (c->state == CONN_CLOSED || c->state == CONN_LINGER) {
        buf_fini(&c->in);
        return;
    }
    if (rest.n && !buf_add(&c->in, rest))
        abort_conn(c, REASON_HEAD_TOO_LARGE);
}

static void feed_kept(struct h1_conn *c)
{
    struct buf in = c->in;

    buf_init(&c->in, c->in.max);
    struct str rest = feed(c, buf_str(&in));
    if (rest.n && c->state != CONN_CLOSED && c->state != CONN_LINGER) {
        size_t used = in.n - rest.n;
        c->in = in;
        buf_eat(&c->in, used);
        return;
    }
    buf_fini(&in);
}

/* ---- Events
 * ---------------------------------------------------------------------------------------- */

static void on_end_of_file(struct h1_conn *c, bool failed)
{
    enum reason why = failed ? REASON_CLIENT_RESET : REASON_CLIENT_DONE;

    if (c->state == CONN_HEAD)
        head_is_cut(c);
    if (stream_is_open(c)) {
        enum reason early = c->state == CONN_BODY ? REASON_BODY_CUT : REASON_CLIENT_GONE;
        abort_conn(c, failed ? REASON_CLIENT_RESET : early);
    } else if (c->state != CONN_CLOSED && failed) {
        close_conn(c, why, false);
    } else if (c->state != CONN_CLOSED) {
        hang_up(c, why);
    }
}

static void read_more(struct h1_conn *c)
{
    struct thread *t = c->server->thread;

    for (int i = 0; c->sock.readable && (wants_input(c) || c->state == CONN_LINGER); i++) {
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
        if (c->state == CONN_LINGER)
            continue;
        if (c->in.n) {
            keep(c, str_make(t->in, (size_t)n));
            if (c->state != CONN_CLOSED)
                feed_kept(c);
        } else {
            keep(c, feed(c, str_make(t->in, (size_t)n)));
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

    if (c->in.n && wants_input(c))
        feed_kept(c);
    if (c->state != CONN_CLOSED)
        read_more(c);
}

static void on_drained(struct sock *s)
{
    struct h1_conn *c = CONTAINER(s, struct h1_conn, sock);

    if (c->state == CONN_LINGER) {
        if (s->hup && !s->readable) { /* its end was seen while there was something to send */
            close_conn(c, REASON_CLIENT_DONE, false);
            return;
        }
        sock_shutdown(s);
    }
    if (c->state != CONN_HEAD)
        set_timer(c);
    if (stream_is_open(c))
        c->server->handler->on_drained(&c->stream);
    else if (wants_input(c) && (c->in.n || s->readable))
        loop_defer(loop_of(c), &c->again);
}

static void on_moved(struct sock *s)
{
    struct h1_conn *c = CONTAINER(s, struct h1_conn, sock);

    c->sending = false;
    if (c->state == CONN_BODY || c->state == CONN_BUSY || c->state == CONN_LINGER)
        set_timer(c);
}

/* ---- TLS
 * ------------------------------------------------------------------------------------------- */

static void on_open(struct sock *s)
{
    struct h1_conn *c = CONTAINER(s, struct h1_conn, sock);

    tls_peer_learn(c->tls, s->ssl);
    go(c, CONN_IDLE);
    loop_timer(loop_of(c), &c->timer, c->server->thread->limits.head_ms);
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
    enum reason why = http ? REASON_HTTP_TO_TLS_PORT : handshake_reason(c);

    if (!http)
        log_handshake(c, why);
    sock_plain(&c->sock);
    if (http) {
        note_refusal(c, why);
        write_page(c, why);
    } else {
        c->server->thread->count.client_by_reason[why]++;
    }
    linger(c);
}

static void on_failed(struct sock *s, enum reason why)
{
    struct h1_conn *c = CONTAINER(s, struct h1_conn, sock);

    if (c->state == CONN_HANDSHAKE) {
        handshake_failed(c);
        return;
    }
    abort_conn(c, why ? why : REASON_CLIENT_RESET);
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
        set_timer(c);
    } else if (c->state == CONN_LINGER) {
        close_conn(c, REASON_CLIENT_SEND_TIMEOUT, false);
    } else {
        abort_conn(c, REASON_CLIENT_SEND_TIMEOUT);
    }
}

/* The last response may still be on its way to a slow client. */
static void idle_is_over(struct h1_conn *c)
{
    if (!c->sock.queue.n) {
        bool ending = c->server->thread->draining || c->leaving;
        close_conn(c, ending ? REASON_DRAIN : REASON_KEEPALIVE_END, false);
    } else if (sock_took(&c->sock) || !c->sending) {
        c->sending = true;
        loop_timer(loop_of(c), &c->timer, c->server->thread->limits.send_ms);
    } else {
        close_conn(c, REASON_CLIENT_SEND_TIMEOUT, false);
    }
}

static void on_timer(struct timer *t)
{
    struct h1_conn *c = CONTAINER(t, struct h1_conn, timer);

    switch ((enum state)c->state) {
    case CONN_HANDSHAKE:
        log_handshake(c, REASON_TLS_CLIENT_TIMEOUT);
        close_conn(c, REASON_TLS_CLIENT_TIMEOUT, false);
        return;
    case CONN_IDLE:
        idle_is_over(c);
        return;
    case CONN_HEAD:
        head_is_late(c);
        return;
    case CONN_BODY:
        if (c->sending)
            send_is_late(c);
        else
            fail_body(c, REASON_CLIENT_BODY_TIMEOUT);
        return;
    case CONN_BUSY:
        if (c->sending)
            send_is_late(c);
        return;
    case CONN_LINGER:
        if (c->sock.queue.n)
            send_is_late(c);
        else
            close_conn(c, REASON_NOT_KEPT, false);
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
    c->stream = (struct stream){.ops = &ops,
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
        set_timer(c);
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

void h1_server_close_all(struct server *s)
{
    while (!list_empty(&s->connections)) {
        struct h1_conn *c = CONTAINER(s->connections.next, struct h1_conn, link);
        if (c->state == CONN_IDLE || c->state == CONN_LINGER || c->state == CONN_HEAD ||
            c->state == CONN_HANDSHAKE)
            close_conn(c, REASON_DRAIN, false);
        else
            abort_conn(c, REASON_DRAIN);
    }
}
