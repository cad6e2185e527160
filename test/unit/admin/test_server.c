/* SPDX-License-Identifier: Apache-2.0 */
/* A listener of the control side in front of an API that answers when the test says so. */
#include "conn/server.c" /* NOLINT: for the listener's port */

#include "admin/server.c" /* NOLINT: for the thread, whose loop runs in steps here */

#define peer remote /* the fixture's, not upstream/peers.h's */
#include "../conn/conn_fixture.h"

/* ---- What the server hands over ---- */

static struct {
    struct admin_server *server;
    unsigned handled, freed;
    char method[16], path[64], query[64], key[32];
    char *body;
    size_t body_n, body_size;
    admin_done_fn *done;
    void *arg;
    int at_once; /* a status: answered inside handle */
} a;

static void reply_with(int status, const char *text)
{
    struct admin_reply *r = mem_zero(sizeof(*r));

    arena_init(&r->arena, NULL);
    r->status = status;
    r->content_type = STR("application/json");
    r->headers[0] = (struct admin_header){STR("X-API-VERSION"), STR("v3")};
    r->nheaders = 1;
    r->body = arena_str(&r->arena, str_of(text));
    a.done(a.arg, r);
}

void admin_reply_free(struct admin_reply *reply)
{
    a.freed++;
    arena_fini(&reply->arena);
    free(reply);
}

static void copy(char *to, size_t size, struct str s)
{
    snprintf(to, size, "%.*s", STR_ARG(s));
}

static void handle(void *owner, const struct admin_request *req, admin_done_fn *done, void *arg)
{
    assert_ptr_equal(owner, &a);
    a.handled++;
    copy(a.method, sizeof(a.method), req->method);
    copy(a.path, sizeof(a.path), req->path);
    copy(a.query, sizeof(a.query), req->query);
    copy(a.key, sizeof(a.key), req->header(req->header_arg, STR("x-api-key")));
    assert_non_null(req->client);
    free(a.body);
    a.body_n = req->body.n;
    a.body = mem_alloc(req->body.n + 1);
    if (req->body.n)
        memcpy(a.body, req->body.p, req->body.n);
    a.body[a.body_n] = 0;
    a.body_size = req->body_size;
    a.done = done;
    a.arg = arg;
    if (a.at_once)
        reply_with(a.at_once, "{}");
}

static size_t body_most(void *owner, const struct admin_request *head)
{
    (void)owner, (void)head;
    return ADMIN_BODY_MAX;
}

static const struct admin_api api = {.handle = handle, .body_max = body_most};

static int setup(void **state)
{
    struct addr at = addr_here(0);
    struct arena arena;
    struct str err;

    (void)state;
    memset(&a, 0, sizeof(a));
    memset(&world, 0, sizeof(world));
    signal(SIGPIPE, SIG_IGN);
    arena_init(&arena, NULL);
    a.server = admin_server_new(STR("Eclusa"));
    assert_non_null(a.server);
    assert_true(admin_server_listen(a.server, &at, &api, &a, false, &arena, &err));
    arena_fini(&arena);
    world.t = &a.server->thread;
    timer_init(&world.tick, fixture_on_tick);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < world.npeers; i++) {
        if (world.peers[i].fd >= 0)
            close(world.peers[i].fd);
        free(world.peers[i].in);
    }
    timer_clear(&world.t->loop.timers, &world.tick);
    admin_server_stop(a.server);
    assert_int_equal(a.freed, a.handled);
    free(a.body);
    return 0;
}

static struct peer *client(void)
{
    return peer_connect(port_of(a.server->doors[0].listener->listeners->io.fd), 0);
}

#define END "\r\n\r\n"

/* ---- Requests ---- */

static void test_request(void **state)
{
    struct peer *p = client();

    (void)state;
    for (unsigned i = 1; i <= 2; i++) {
        peer_send(p, "PUT //apisix/./admin/routes/1?a=b HTTP/1.1\r\nHost: h\r\nX-API-KEY: k\r\n"
                     "Content-Length: 5" END "12");
        STAYS(a.handled == i - 1, 5);
        peer_send(p, "345");
        UNTIL(a.handled == i);
        reply_with(201, "{\"x\":1}");
        UNTIL(peer_has(p, "{\"x\":1}"));
        assert_true(peer_has(p, "HTTP/1.1 201 Created\r\n") && peer_has(p, "Server: Eclusa\r\n") &&
                    peer_has(p, "X-API-VERSION: v3\r\n") &&
                    peer_has(p, "Content-Type: application/json\r\n") && peer_has(p, "Date: "));
        peer_forget(p);
    }
    assert_string_equal(a.method, "PUT");
    assert_string_equal(a.path, "/apisix/admin/routes/1");
    assert_string_equal(a.query, "a=b");
    assert_string_equal(a.key, "k");
    assert_string_equal(a.body, "12345");
}

static void test_chunked(void **state)
{
    struct peer *p = client();

    (void)state;
    a.at_once = 200;
    peer_drip(p, "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked" END
                 "3\r\nabc\r\n2\r\nde\r\n0" END);
    UNTIL(peer_has(p, "{}"));
    assert_string_equal(a.body, "abcde");
    assert_int_equal(a.body_size, 5);
}

static void test_head_and_bad_path(void **state)
{
    struct peer *p = client();

    (void)state;
    a.at_once = 200;
    peer_send(p, "HEAD /a HTTP/1.1\r\nHost: h" END);
    UNTIL(peer_has(p, END));
    assert_false(peer_has(p, "{}"));
    peer_forget(p);
    peer_send(p, "GET /%zz HTTP/1.1\r\nHost: h" END);
    UNTIL(peer_has(p, END));
    assert_true(peer_has(p, "HTTP/1.1 400 "));
    assert_int_equal(a.handled, 1);
}

/* ---- Bodies that are too long ---- */

/* Announced: handed over at once, and nothing of it is kept. */
static void test_long_body_announced(void **state)
{
    struct peer *p = client();

    (void)state;
    a.at_once = 413;
    peer_send(p, "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1572865" END "abc");
    UNTIL(a.handled == 1);
    assert_int_equal(a.body_size, 1572865);
    assert_int_equal(a.body_n, 0);
    UNTIL(peer_has(p, "HTTP/1.1 413 "));
}

/* Found out: the same as soon as it is known; what still comes is dropped. */
static void test_long_body_found(void **state)
{
    struct peer *p = client();
    char chunk[16384 + 16];

    (void)state;
    memset(chunk, 'x', sizeof(chunk));
    memcpy(chunk, "4000\r\n", 6);
    memcpy(chunk + 6 + 16384, "\r\n", 2);
    peer_send(p, "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked" END);
    for (unsigned i = 0; i < ADMIN_BODY_MAX / 16384 + 8; i++)
        peer_send_bytes(p, str_make(chunk, 6 + 16384 + 2));
    UNTIL(a.handled == 1);
    assert_true(a.body_size > ADMIN_BODY_MAX);
    assert_int_equal(a.body_n, 0);
    reply_with(413, "{}");
    UNTIL(peer_has(p, "HTTP/1.1 413 "));
    assert_int_equal(a.handled, 1);
}

/* ---- Replies that are long ---- */

/* More than a connection's queue takes, to a client that is in no hurry. */
static void test_long_reply(void **state)
{
    enum { BYTES = 80 << 20 };
    struct peer *p = client();
    char *text = mem_alloc(BYTES + 1);
    size_t got = 0, want = SIZE_MAX;
    ssize_t n = -1;

    (void)state;
    memset(text, 'x', BYTES);
    text[BYTES] = 0;
    p->reading = false; /* as much as it likes: here, a piece after each step */
    peer_send(p, "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close" END);
    UNTIL(a.handled == 1);
    reply_with(200, text);
    free(text);
    STAYS(a.freed == 0, 20);
    while (n != 0) {
        step();
        n = recv(p->fd, p->in, PEER_BYTES, MSG_DONTWAIT);
        assert_true(n >= 0 || errno == EAGAIN);
        if (n > 0 && got == 0) {
            p->n = (size_t)n;
            assert_true(peer_has(p, "Content-Length: 83886080\r\n"));
            want = (size_t)str_search(str_make(p->in, p->n), STR(END)) + 4 + BYTES;
        }
        got += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(got, want);
    UNTIL(a.freed == 1);
}

/* ---- Clients that leave ---- */

static void test_client_leaves(void **state)
{
    struct peer *within = client(), *after = client(), *next = client();

    (void)state;
    peer_send(within, "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5" END "12");
    peer_send(after, "GET /b HTTP/1.1\r\nHost: h" END);
    UNTIL(a.handled == 1 && server_connections(a.server->doors[0].listener) == 3);
    peer_reset(within);
    peer_reset(after);
    UNTIL(server_connections(a.server->doors[0].listener) == 1);
    reply_with(200, "{}"); /* to nobody */
    UNTIL(a.freed == 1);
    a.at_once = 200;
    peer_send(next, "GET /c HTTP/1.1\r\nHost: h" END);
    UNTIL(peer_has(next, "{}"));
}

/* A long body's client leaves after it was handed over, with the rest of it still to come. */
static void test_client_of_long_body_leaves(void **state)
{
    struct peer *p = client();

    (void)state;
    peer_send(p, "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999" END "abc");
    UNTIL(a.handled == 1);
    peer_reset(p);
    UNTIL(server_connections(a.server->doors[0].listener) == 0);
    reply_with(413, "{}");
    UNTIL(a.freed == 1);
}

/* ---- Stopping ---- */

/* A request under way is answered first, and the idle client does not hold it.
 */
static void test_stop(void **state)
{
    struct peer *busy = client(), *idle = client();

    (void)state;
    peer_send(busy, "GET /b HTTP/1.1\r\nHost: h" END);
    UNTIL(a.handled == 1 && server_connections(a.server->doors[0].listener) == 2);
    struct order *o = mem_zero(sizeof(*o));
    o->message.run = on_stop;
    o->server = a.server;
    loop_post(&world.t->loop, &o->message);
    UNTIL(idle->eof);
    STAYS(!peer_ended(busy), 5);
    reply_with(200, "{}");
    UNTIL(busy->eof);
    assert_true(peer_has(busy, "Connection: close\r\n") && peer_has(busy, "{}"));
    peer_close(busy);
    UNTIL(server_connections(a.server->doors[0].listener) == 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_request),
        TEST(test_chunked),
        TEST(test_head_and_bad_path),
        TEST(test_long_body_announced),
        TEST(test_long_body_found),
        TEST(test_long_reply),
        TEST(test_client_leaves),
        TEST(test_client_of_long_body_leaves),
        TEST(test_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
