/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP for the APIs of the control side: gathers a request, waits for its answer, sends it. */
#include "admin/server.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/os_thread.h"
#include "base/panic.h"
#include "http/uri.h"

enum { STOP_MS = 2000, DOORS_MAX = 8, CERT_MAX = 256 * 1024 };

/* A listener and whose requests come in by it. */
struct door {
    struct admin_server *server;
    struct server *listener;
    const struct admin_api *api;
    void *owner;
};

struct admin_server {
    struct thread thread;
    struct door doors[DOORS_MAX];
    unsigned ndoors;
    struct str server_header;
    struct tls_server *tls; /* NULL: without TLS */
    struct tls_identity *identity;
    struct tls_site site;
    pthread_t id;
    bool running, stopping;
    unsigned requests; /* handed over and not answered */
    struct timer stop_timer;
};

/* One request. It outlives its stream when the client leaves before the answer. */
struct call {
    struct message message; /* the answer's way back to this thread */
    struct door *door;
    struct stream *stream; /* NULL: the client is gone */
    struct arena arena;
    struct str method, path, query;
    struct head head;
    struct addr client;
    struct buf body;
    size_t body_size, body_max;
    bool handed; /* over to its API */
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
    c->door = stream_server_owner(s);
    c->stream = s;
    c->client = *s->client;
    c->method = arena_str(&c->arena, req->method);
    c->query = req->query.p ? arena_str(&c->arena, req->query) : STR_NONE;
    head_copy(&c->head, &req->head, &c->arena, 0);
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

static void release_reply(void *reply)
{
    admin_reply_free(reply);
}

/* A list may be longer than what a connection keeps copies of. */
static void send_reply(struct call *c)
{
    struct admin_reply *r = c->reply;
    struct shared *owner = shared_new(release_reply, r);
    struct header lines[ADMIN_HEADERS_MAX + 4];
    struct head head;

    head_init(&head, lines, ADMIN_HEADERS_MAX + 4);
    head_add(&head, NULL, HEADER_DATE, STR("Date"), thread_date(&c->door->server->thread));
    if (c->door->server->server_header.n)
        head_add(&head, NULL, HEADER_SERVER, STR("Server"), c->door->server->server_header);
    if (r->content_type.n)
        head_add(&head, NULL, HEADER_CONTENT_TYPE, STR("Content-Type"), r->content_type);
    for (unsigned i = 0; i < r->nheaders; i++)
        head_add(&head, NULL, header_id(r->headers[i].name), r->headers[i].name,
                 r->headers[i].value);
    if (!stream_respond(c->stream, r->status, &head, (int64_t)r->body.n))
        stream_write_shared(c->stream, r->body, owner);
    shared_put(owner);
}

static void on_answer(struct message *m)
{
    struct call *c = CONTAINER(m, struct call, message);
    struct admin_server *s = c->door->server;

    if (c->stream)
        send_reply(c);
    else
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
    loop_post(&c->door->server->thread.loop, &c->message);
}

/* ---- The request
 * -------------------------------------------------------------------------------------- */

static struct str call_header(void *arg, struct str name)
{
    const struct header *h = head_find_name(&((struct call *)arg)->head, name);

    return h ? header_str_value(h) : STR_NONE;
}

static struct admin_request request_of(struct call *c)
{
    return (struct admin_request){.method = c->method,
                                  .path = c->path,
                                  .query = c->query,
                                  .header = call_header,
                                  .header_arg = c,
                                  .body = buf_str(&c->body),
                                  .body_size = c->body_size,
                                  .client = &c->client.sa};
}

static void hand_over(struct call *c)
{
    struct admin_request req = request_of(c);

    c->handed = true;
    c->door->server->requests++;
    c->door->api->handle(c->door->owner, &req, on_done, c);
}

static size_t body_max(struct call *c)
{
    const struct admin_api *api = c->door->api;
    struct admin_request req = request_of(c);

    return api->body_max ? api->body_max(c->door->owner, &req) : 0;
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
    c->body_max = body_max(c);
    buf_init(&c->body, c->body_max);
    /* What is too long is refused by its announced size, without being read. */
    if (req->framing == H1_NO_BODY || c->body_size > c->body_max)
        hand_over(c);
}

static void on_body(struct stream *s, struct str data, bool last)
{
    struct call *c = s->data;

    if (c->handed)
        return;
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

    (void)why;
    if (c->handed)
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

    for (unsigned i = 0; i < s->ndoors; i++)
        server_close(s->doors[i].listener);
    stop_if_done(s);
}

struct admin_server *admin_server_new(struct str server_header)
{
    struct admin_server *s = mem_zero(sizeof(*s));

    s->server_header = server_header;
    timer_init(&s->stop_timer, on_stop_over);
    if (!thread_init(&s->thread, 0)) {
        free(s);
        return NULL;
    }
    s->thread.limits = (struct conn_limits){
        .head = {.head_bytes = 32768, .uri_bytes = 16384, .headers = 100},
        .keepalive_ms = 75000,
        .head_ms = 10000,
        .body_ms = 10000,
        .send_ms = 10000,
    };
    return s;
}

/* The whole file, up to CERT_MAX; absent with a message. */
static struct str read_pem(struct str path, struct arena *a, struct str *err)
{
    char *name = str_dup(path), *text = arena_bytes(a, CERT_MAX);
    FILE *file = fopen(name, "re");
    size_t n = file ? fread(text, 1, CERT_MAX, file) : 0;

    free(name);
    if (file)
        fclose(file);
    if (n > 0 && n < CERT_MAX)
        return str_make(text, n);
    *err = arena_printf(a, "%.*s cannot be read", STR_ARG(path));
    return STR_NONE;
}

bool admin_server_tls(struct admin_server *s, const struct admin_tls_files *files,
                      struct tls_server *tls, struct arena *a, struct str *err)
{
    struct str cert = read_pem(files->cert, a, err), key = read_pem(files->key, a, err), ca;

    if (!cert.p || !key.p)
        return false;
    s->identity = tls_identity_new(cert, key);
    OPENSSL_cleanse((char *)(uintptr_t)key.p, key.n);
    if (!s->identity || !tls_identity_is_good(s->identity)) {
        *err = arena_printf(a, "%.*s and %.*s are no certificate and its key", STR_ARG(files->cert),
                            STR_ARG(files->key));
        return false;
    }
    s->tls = tls;
    s->site = (struct tls_site){.identities = &s->identity, .nidentities = 1, .depth = 1};
    s->site.context = tls_identity_hash(s->identity);
    if (!files->ca.p)
        return true;
    ca = read_pem(files->ca, a, err);
    if (!ca.p)
        return false;
    s->site.authorities = tls_authorities_new(ca);
    s->site.client = hash_str128(ca);
    s->site.context.a ^= s->site.client.a;
    if (!s->site.authorities)
        *err = arena_printf(a, "%.*s is not in PEM", STR_ARG(files->ca));
    return s->site.authorities != NULL;
}

static const struct tls_site *find_site(void *owner, struct str name)
{
    const struct door *door = owner;

    (void)name;
    return &door->server->site;
}

bool admin_server_listen(struct admin_server *s, const struct addr *addr,
                         const struct admin_api *api, void *owner, bool tls, struct arena *a,
                         struct str *err)
{
    ASSERT(s->ndoors < DOORS_MAX && !s->running);
    struct door *door = &s->doors[s->ndoors];
    *door = (struct door){.server = s, .api = api, .owner = owner};
    door->listener = server_new(&s->thread, &handler, door);
    if (tls)
        server_set_tls(door->listener, s->tls, find_site);
    if (server_listen(door->listener, addr, tls, false, a, err)) {
        s->ndoors++;
        return true;
    }
    server_free(door->listener);
    return false;
}

static void *thread_main(void *arg)
{
    struct admin_server *s = arg;

    loop_run(&s->thread.loop);
    return NULL;
}

void admin_server_run(struct admin_server *s)
{
    bool ok = os_thread_start(&s->id, "admin", thread_main, s);

    ASSERT(ok);
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
    for (unsigned i = 0; i < s->ndoors; i++)
        server_drain(s->doors[i].listener);
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
    for (unsigned i = 0; i < s->ndoors; i++)
        server_free(s->doors[i].listener);
    thread_fini(&s->thread);
    tls_identity_put(s->identity);
    tls_authorities_put(s->site.authorities);
    free(s);
}
