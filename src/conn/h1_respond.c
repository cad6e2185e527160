/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/1 server connection's responses: the stream's operations. */
#include "base/mem.h"
#include "base/panic.h"
#include "conn/h1_conn.h"
#include "http/h1_write.h"

static bool body_is_unread(const struct h1_conn *c)
{
    return c->state == CONN_BODY;
}

static void response_ended(struct h1_conn *c)
{
    c->response_done = true;
    c->paused = false;
    h1_conn_set_timer(c);
    if (!body_is_unread(c)) {
        h1_conn_next(c);
        return;
    }
    if (c->expects || (c->request_framing == H1_LENGTH && c->body_left > DISCARD_MAX)) {
        h1_conn_linger(c);
        return;
    }
    if (!c->feeding)
        loop_defer(h1_conn_loop(c), &c->again);
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
    struct h1_conn *c = h1_conn_of(stream);
    struct h1_out_body body = {.framing = H1_NO_BODY};
    bool none = has_no_body(c, status);

    ASSERT(h1_conn_is_open(c) && !c->responded && status >= 200);
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
    struct h1_conn *c = h1_conn_of(stream);
    struct h1_out_body body = {.framing = H1_NO_BODY};
    struct head none;

    /* A 1.0 client does not know interim responses (RFC 9110 §15.2). */
    if (c->old_client || c->responded || !h1_conn_is_open(c))
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
    struct h1_conn *c = h1_conn_of(stream);

    ASSERT(h1_conn_is_open(c) && c->responded);
    data = keep_length(c, data, last);
    c->stream.sent += data.n;
    if (c->response_framing == H1_CHUNKED)
        write_chunk(c, data);
    else
        sock_write(&c->sock, data);
    if (last && c->response_framing == H1_CHUNKED)
        write_last_chunk(c, trailers);
    if (last && c->response_framing == H1_LENGTH && c->response_left)
        h1_conn_close(c, REASON_PLUGIN_FAULT, true); /* the client must see that it is too short */
    else if (last)
        response_ended(c);
    else if (c->sock.full)
        h1_conn_set_timer(c);
}

static void op_write_shared(struct stream *stream, struct str data, struct shared *owner)
{
    struct h1_conn *c = h1_conn_of(stream);

    if (c->response_framing != H1_LENGTH || data.n != c->response_left) {
        op_write(stream, data, true, NULL);
        return;
    }
    ASSERT(h1_conn_is_open(c) && c->responded);
    c->response_left = 0;
    c->stream.sent += data.n;
    sock_write_shared(&c->sock, data, owner);
    response_ended(c);
}

static bool op_full(const struct stream *stream)
{
    return sock_full(&h1_conn_of(stream)->sock);
}

static void op_fail(struct stream *stream, enum reason why)
{
    struct h1_conn *c = h1_conn_of(stream);

    if (!c->responded || c->response_framing == H1_TO_END) {
        h1_conn_close(c, why, c->responded);
        return;
    }
    /* The framing shows that the response is cut; a reset would take along what was already sent.
     */
    c->server->thread->count.client_by_reason[why]++;
    c->response_done = true;
    h1_conn_linger(c);
}

static void op_pause(struct stream *stream)
{
    struct h1_conn *c = h1_conn_of(stream);

    c->paused = true;
    if (c->state == CONN_BODY)
        h1_conn_set_timer(c);
}

static void op_resume(struct stream *stream)
{
    struct h1_conn *c = h1_conn_of(stream);

    c->paused = false;
    if (c->state != CONN_BODY)
        return;
    h1_conn_set_timer(c);
    /* Never within the response. */
    if (c->expects && !c->responded) {
        c->expects = false;
        sock_write(&c->sock, STR("HTTP/1.1 100 Continue\r\n\r\n"));
    }
    if (!c->feeding)
        loop_defer(h1_conn_loop(c), &c->again);
}

const struct stream_ops h1_stream_ops = {
    .respond = op_respond,
    .inform = op_inform,
    .write = op_write,
    .write_shared = op_write_shared,
    .pause = op_pause,
    .resume = op_resume,
    .full = op_full,
    .fail = op_fail,
};

/* Answers a request that could not be read, in nginx's form. */
void h1_conn_write_page(struct h1_conn *c, enum reason why)
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
