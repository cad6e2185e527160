/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP for the Admin API: gathers a request, waits for the keeper's answer, sends it. */
#include "admin/server.h"

#include <pthread.h>

#include "base/mem.h"
#include "base/panic.h"
#include "http/uri.h"

enum { STOP_MS = 2000 };

struct admin_server {
    struct thread thread;
    struct server *server;
    struct admin *admin;
    struct str server_header;
    pthread_t id;
    bool running, stopping;
    unsigned requests; /* handed to the admin and not answered */
    struct timer stop_timer;
};

/* One request. It outlives its stream when the client leaves before the answer. */
struct call {
    struct message message; /* the answer's way back to this thread */
    struct admin_server *server;
    struct stream *stream; /* NULL: the client is gone */
    struct arena arena;
    struct str method, path, query;
    struct head head;
    struct addr client;
    struct buf body;
    size_t body_size;
    struct admin_reply *reply;
};

static void call_free(struct call *c)
{
    struct arena a = c->arena;

    buf_fini(&c->body);
    arena_fini(&a);
}

static struct call *call_new(struct stream *s, const struct h1_request *req)
{
    struct arena a;

    arena_init(&a, NULL);
    struct call *c = arena_zero(&a, sizeof(*c));
    c->arena = a;
    c->server = stream_server_owner(s);
    c->stream = s;
    c->client = *s->client;
    c->method = arena_str(&c->arena, req->method);
    c->query = req->query.p ? arena_str(&c->arena, req->query) : STR_NONE;
    head_copy(&c->head, &req->head, &c->arena, 0);
    buf_init(&c->body, ADMIN_BODY_MAX);
    c->body_size = req->framing == H1_LENGTH ? (size_t)req->length : 0;
    return c;
}

static void stop_if_done(struct admin_server *s)
{
    if (s->stopping && !s->requests)
        loop_stop(&s->thread.loop);
}

/* ---- The answer
 * -------------------------------------------------------------------------------------- */

static void send_reply(struct call *c)
{
    const struct admin_reply *r = c->reply;
    struct header lines[ADMIN_HEADERS_MAX + 4];
    struct head head;

    head_init(&head, lines, ADMIN_HEADERS_MAX + 4);
    head_add(&head, NULL, HEADER_DATE, STR("Date"), thread_date(&c->server->thread));
    if (c->server->server_header.n)
        head_add(&head, NULL, HEADER_SERVER, STR("Server"), c->server->server_header);
    if (r->content_type.n)
        head_add(&head, NULL, HEADER_CONTENT_TYPE, STR("Content-Type"), r->content_type);
    for (unsigned i = 0; i < r->nheaders; i++)
        head_add(&head, NULL, header_id(r->headers[i].name), r->headers[i].name,
                 r->headers[i].value);
    if (!stream_respond(c->stream, r->status, &head, (int64_t)r->body.n))
        stream_write(c->stream, r->body, true, NULL);
}

static void on_answer(struct message *m)
{
    struct call *c = CONTAINER(m, struct call, message);
    struct admin_server *s = c->server;

    if (c->stream)
        send_reply(c);
    admin_reply_free(c->reply);
    call_free(c);
    s->requests--;
    stop_if_done(s);
}

/* On the keeper's thread. */
static void on_done(void *arg, struct admin_reply *reply)
{
    struct call *c = arg;

    c->reply = reply;
    c->message.run = on_answer;
    loop_post(&c->server->thread.loop, &c->message);
}

/* ---- The request
 * -------------------------------------------------------------------------------------- */

static struct str call_header(void *arg, struct str name)
{
    const struct header *h = head_find_name(&((struct call *)arg)->head, name);

    return h ? header_str_value(h) : STR_NONE;
}

static void hand_over(struct call *c)
{
    struct admin_request req = {.method = c->method,
                                .path = c->path,
                                .query = c->query,
                                .header = call_header,
                                .header_arg = c,
                                .body = buf_str(&c->body),
                                .body_size = c->body_size,
                                .client = &c->client.sa};

    c->server->requests++;
    admin_handle(c->server->admin, &req, on_done, c);
}

static void refuse(struct call *c, int status)
{
    struct stream *s = c->stream;
    struct head none;

    head_init(&none, NULL, 0);
    call_free(c);
    stream_respond(s, status, &none, 0);
}

static void on_request(struct stream *s, const struct h1_request *req)
{
    struct call *c = call_new(s, req);

    s->data = c;
    if (uri_normalise(req->path, &c->arena, &c->path)) {
        refuse(c, 400);
        return;
    }
    c->path = arena_str(&c->arena, c->path);
    /* What is too long is refused by its announced size, without being read. */
    if (req->framing == H1_NO_BODY || c->body_size > ADMIN_BODY_MAX)
        hand_over(c);
}

static void on_body(struct stream *s, struct str data, bool last)
{
    struct call *c = s->data;

    if (c->body_size > ADMIN_BODY_MAX)
        return; /* handed over already */
    if (!buf_add(&c->body, data)) {
        c->body_size = c->body.n + data.n;
        buf_fini(&c->body);
        hand_over(c);
        return;
    }
    if (!last)
        return;
    c->body_size = c->body.n;
    hand_over(c);
}

static void on_drained(struct stream *s)
{
    (void)s;
}

static void on_abort(struct stream *s, enum reason why)
{
    struct call *c = s->data;
    bool handed = c->stream && !s->body_coming;

    (void)why;
    if (handed || c->body_size > ADMIN_BODY_MAX)
        c->stream = NULL;
    else
        call_free(c);
}

static const struct stream_handler handler = {
    .on_request = on_request,
    .on_body = on_body,
    .on_drained = on_drained,
    .on_abort = on_abort,
};

/* ---- The thread
 * ----------------------------------------------------------------------------------------- */

/* Answers that are under way still come, to nobody: the memory must wait for them. */
static void on_stop_over(struct timer *t)
{
    struct admin_server *s = CONTAINER(t, struct admin_server, stop_timer);

    server_close(s->server);
    stop_if_done(s);
}

struct admin_server *admin_server_new(struct admin *admin, const struct addr *addr,
                                      struct str server_header, struct arena *a, struct str *err)
{
    struct admin_server *s = mem_zero(sizeof(*s));

    s->admin = admin;
    s->server_header = server_header;
    timer_init(&s->stop_timer, on_stop_over);
    if (!thread_init(&s->thread, 0)) {
        *err = STR("the kernel gave no epoll descriptor");
        return NULL;
    }
    s->thread.limits = (struct conn_limits){
        .head = {.head_bytes = 32768, .uri_bytes = 16384, .headers = 100},
        .keepalive_ms = 75000,
        .head_ms = 10000,
        .body_ms = 10000,
        .send_ms = 10000,
    };
    s->server = server_new(&s->thread, &handler, s);
    return server_listen(s->server, addr, false, a, err) ? s : NULL;
}

static void *thread_main(void *arg)
{
    struct admin_server *s = arg;

    pthread_setname_np(pthread_self(), "admin");
    loop_run(&s->thread.loop);
    return NULL;
}

void admin_server_run(struct admin_server *s)
{
    int failed = pthread_create(&s->id, NULL, thread_main, s);

    ASSERT(!failed);
    s->running = true;
}

struct order {
    struct message message;
    struct admin_server *server;
};

static void on_stop(struct message *m)
{
    struct order *o = CONTAINER(m, struct order, message);
    struct admin_server *s = o->server;

    free(o);
    s->stopping = s->thread.draining = true;
    server_drain(s->server);
    loop_timer(&s->thread.loop, &s->stop_timer, STOP_MS);
    stop_if_done(s);
}

void admin_server_stop(struct admin_server *s)
{
    if (s->running) {
        struct order *o = mem_zero(sizeof(*o));
        o->message.run = on_stop;
        o->server = s;
        loop_post(&s->thread.loop, &o->message);
        pthread_join(s->id, NULL);
    }
    server_free(s->server);
    thread_fini(&s->thread);
    free(s);
}
