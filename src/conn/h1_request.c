/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/1 server connection's requests: heads, bodies, and what is refused. */
#include "conn/h1_conn.h"

static void note_refusal(struct h1_conn *c, enum reason why)
{
    log_info("client %s: %s", c->peer_text, reasons[why].text);
    c->server->thread->count.client_by_reason[why]++;
}

/* The request's body cannot be read: the handler is told, and the client gets a status if it still
 * can. */
void h1_conn_fail_body(struct h1_conn *c, enum reason why)
{
    if (!h1_conn_is_open(c)) {
        c->server->thread->count.client_by_reason[why]++;
        h1_conn_linger(c); /* the response is on its way and must arrive */
        return;
    }
    if (c->responded) {
        h1_conn_abort(c, why);
        return;
    }
    c->response_done = true;
    note_refusal(c, why);
    h1_conn_write_page(c, why);
    h1_conn_linger(c);
    c->server->handler->on_abort(&c->stream, why);
}

void h1_conn_begin(struct h1_conn *c, const struct h1_request *req, size_t head_bytes)
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
void h1_conn_refuse(struct h1_conn *c, const struct h1_request *req, enum reason why)
{
    const struct stream_handler *handler = c->server->handler;

    note_refusal(c, why);
    h1_conn_write_page(c, why);
    if (handler->on_refused)
        handler->on_refused(&c->stream, req, why);
    h1_conn_linger(c);
}

/* What there is of a head that will not be whole. */
static void read_partial(struct h1_conn *c, struct h1_request *req)
{
    struct thread *t = c->server->thread;
    enum reason why;
    size_t used;

    h1_parse_request(buf_str(&c->in), &t->limits.head, t->headers, req, &used, &why);
}

void h1_conn_head_late(struct h1_conn *c)
{
    struct h1_request req;

    read_partial(c, &req);
    h1_conn_begin(c, &req, c->in.n);
    h1_conn_refuse(c, &req, REASON_CLIENT_HEAD_TIMEOUT);
}

/* The client has closed its side, and waits for no answer. */
void h1_conn_head_cut(struct h1_conn *c)
{
    const struct stream_handler *handler = c->server->handler;
    struct h1_request req;

    read_partial(c, &req);
    if (!req.line.n) /* an empty line after the last request */
        return;
    h1_conn_begin(c, &req, c->in.n);
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
        h1_conn_go(c, CONN_HEAD);
    if (c->head_seen && in->n <= t->limits.head.head_bytes && !h1_head_ends(*in, c->head_seen)) {
        c->head_seen = in->n;
        return false;
    }
    switch (h1_parse_request(*in, &t->limits.head, t->headers, &req, &used, &why)) {
    case H1_MORE:
        c->head_seen = in->n;
        return false;
    case H1_ERROR:
        h1_conn_begin(c, &req, used);
        h1_conn_refuse(c, &req, why);
        return false;
    case H1_DONE:
        break;
    }
    c->head_seen = 0;
    *in = str_from(*in, used);
    h1_conn_begin(c, &req, used);
    uint64_t max = t->limits.body_bytes;
    if (max && req.framing == H1_LENGTH && req.length > max) {
        h1_conn_refuse(c, &req, REASON_BODY_TOO_LARGE);
        return false;
    }
    h1_conn_go(c, req.framing == H1_NO_BODY ? CONN_BUSY : CONN_BODY);
    c->server->handler->on_request(&c->stream, &req);
    /* A handler that did not pause is ready for the body: the client may begin. */
    if (c->state == CONN_BODY && !c->paused && c->expects && !c->response_done)
        stream_resume(&c->stream);
    return true;
}

static void give_body(struct h1_conn *c, struct str data, bool last)
{
    c->expects = false;
    c->stream.received += data.n;
    if (last) {
        c->stream.body_coming = false;
        h1_conn_go(c, CONN_BUSY);
    } else {
        h1_conn_set_timer(c);
    }
    if (!c->response_done) {
        c->server->handler->on_body(&c->stream, data, last);
        return;
    }
    c->discarded += data.n;
    if (last)
        h1_conn_next(c);
    else if (c->discarded > DISCARD_MAX)
        h1_conn_linger(c);
}

static void end_chunked(struct h1_conn *c)
{
    struct header lines[32];
    struct head trailers;

    if (c->trailer_bytes.n) {
        if (!h1_parse_trailers(buf_str(&c->trailer_bytes), lines, 32, &trailers)) {
            h1_conn_fail_body(c, REASON_BAD_TRAILER);
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
            h1_conn_fail_body(c, REASON_BODY_TOO_LARGE);
        else
            give_body(c, data, false);
        return;
    case CHUNKED_END:
        end_chunked(c);
        return;
    case CHUNKED_BAD:
        h1_conn_fail_body(c, REASON_BAD_CHUNK);
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

bool h1_conn_wants_input(const struct h1_conn *c)
{
    /* No new request from a client that does not take the responses it has. */
    return (c->state == CONN_IDLE && !c->sock.full) || c->state == CONN_HEAD ||
           (c->state == CONN_BODY && !c->paused);
}

/* Uses as much of the input as can be used now; returns the rest. */
struct str h1_conn_feed(struct h1_conn *c, struct str in)
{
    c->feeding = true;
    while (in.n && h1_conn_wants_input(c)) {
        if (c->state == CONN_BODY)
            feed_body(c, &in);
        else if (!feed_head(c, &in))
            break;
    }
    c->feeding = false;
    return in;
}

/* Keeps what h1_conn_feed() left for later. */
void h1_conn_keep(struct h1_conn *c, struct str rest)
{
    if (c->state == CONN_CLOSED || c->state == CONN_LINGER) {
        buf_fini(&c->in);
        return;
    }
    if (rest.n && !buf_add(&c->in, rest))
        h1_conn_abort(c, REASON_HEAD_TOO_LARGE);
}

void h1_conn_feed_kept(struct h1_conn *c)
{
    struct buf in = c->in;

    buf_init(&c->in, c->in.max);
    struct str rest = h1_conn_feed(c, buf_str(&in));
    if (rest.n && c->state != CONN_CLOSED && c->state != CONN_LINGER) {
        size_t used = in.n - rest.n;
        c->in = in;
        buf_eat(&c->in, used);
        return;
    }
    buf_fini(&in);
}
