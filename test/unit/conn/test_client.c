/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 client connections against upstreams that are plain sockets: what the leg is told in which
 * state, each time-out, and what becomes of the connection. */
#include "conn/client.c" /* NOLINT: for its states */

#include "conn_fixture.h"

/* A leg that notes what it is told. */
struct test_leg {
    struct leg leg;
    unsigned ready, responses, interim, lasts, drained, fails;
    enum reason why;
    int status;
    char body[1 << 16];
    size_t n, total;
    char trailer[32];
    bool pauses, abandons, releases; /* in on_response */
    bool kept;                       /* client_release said so */
};

enum { LEGS = 8 };
static struct test_leg all[LEGS];
static unsigned nall;

static struct {
    int listener;
    struct client *idle; /* given back; NULL: none */
    unsigned idles, closes;
} up;

static struct test_leg *mine(struct leg *l)
{
    return CONTAINER(l, struct test_leg, leg);
}

static void leg_ready(struct leg *l)
{
    mine(l)->ready++;
}

static void leg_response(struct leg *l, const struct h1_response *res)
{
    struct test_leg *t = mine(l);

    if (res->status < 200) {
        t->interim++;
        return;
    }
    t->responses++;
    t->status = res->status;
    if (t->pauses)
        client_pause(l->client);
    if (t->abandons)
        client_abandon(l->client, REASON_CLIENT_GONE);
    if (t->releases)
        t->kept = client_release(l->client, REASON_NOT_KEPT);
}

static void leg_body(struct leg *l, struct str data, bool last)
{
    struct test_leg *t = mine(l);

    assert_int_equal(t->lasts + t->fails, 0);
    if (data.n && t->n + data.n < sizeof(t->body)) {
        memcpy(t->body + t->n, data.p, data.n);
        t->n += data.n;
        t->body[t->n] = 0;
    }
    t->total += data.n;
    t->lasts += last;
    if (last) {
        assert_null(l->client);
        if (l->trailers)
            snprintf(t->trailer, sizeof(t->trailer), "%.*s",
                     STR_ARG(header_str_value(&l->trailers->list[0])));
    }
}

static void leg_drained(struct leg *l)
{
    mine(l)->drained++;
}

static void leg_fail(struct leg *l, enum reason why, const char *detail)
{
    struct test_leg *t = mine(l);

    assert_null(l->client);
    assert_non_null(detail);
    assert_int_equal(t->lasts + t->fails, 0);
    t->fails++;
    t->why = why;
}

static const struct leg_handler legs = {leg_ready, leg_response, leg_body, leg_drained, leg_fail};

static void on_idle(struct client *c)
{
    assert_null(up.idle);
    up.idle = c;
    up.idles++;
}

static void on_closed(struct client *c)
{
    if (up.idle == c) {
        assert_true(client_was_idle(c));
        up.idle = NULL;
    }
    up.closes++;
}

static const struct client_owner owner = {on_idle, on_closed};

static int setup(void **state)
{
    (void)state;
    fixture_setup();
    memset(&up, 0, sizeof(up));
    up.listener = listen_here(16, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LEGS; i++)
        if (all[i].leg.client)
            client_abandon(all[i].leg.client, REASON_DRAIN);
    if (up.idle)
        client_close(up.idle, REASON_DRAIN);
    close(up.listener);
    fixture_teardown();
    return 0;
}

static struct test_leg *leg_new(void)
{
    struct test_leg *t = &all[nall++ % LEGS];

    assert_null(t->leg.client);
    memset(t, 0, sizeof(*t));
    t->leg.handler = &legs;
    return t;
}

static struct client *dial(struct test_leg *t, uint16_t port, int64_t timeout_ms)
{
    struct client_target target = {.addr = addr_here(port)};

    return client_connect(world.t, &target, &owner, NULL, &t->leg, timeout_ms);
}

/* A leg on a connection that stands, and its other end. */
static struct test_leg *connected_leg(struct peer **p)
{
    struct test_leg *t = leg_new();

    assert_non_null(dial(t, port_of(up.listener), 5000));
    assert_int_equal(t->ready, 0);
    *p = peer_accept(up.listener);
    UNTIL(t->ready);
    return t;
}

static void send_head(struct test_leg *t, const char *method, struct h1_out_body body,
                      int64_t send_ms, int64_t read_ms)
{
    struct header lines[2];
    struct head head;

    head_init(&head, lines, 2);
    head_add(&head, NULL, HEADER_HOST, STR("Host"), STR("up"));
    client_send_head(t->leg.client, str_of(method), STR("/x"), &head, &body, send_ms, read_ms);
    sock_flush(&t->leg.client->sock); /* as at the end of a callback */
}

static void send_get(struct test_leg *t)
{
    send_head(t, "GET", (struct h1_out_body){.framing = H1_NO_BODY}, 5000, 5000);
}

/* The same connection for another request. */
static struct test_leg *again(void)
{
    struct test_leg *t = leg_new();
    struct client *c = up.idle;

    assert_non_null(c);
    up.idle = NULL;
    client_take(c, &t->leg);
    return t;
}

#define OK "HTTP/1.1 200 OK\r\n"

/* ---- Responses
 * -------------------------------------------------------------------------------- */

static void test_framings(void **state)
{
    static const struct {
        const char *method, *response, *body, *trailer;
        bool kept;
    } rows[] = {
        {"GET", OK "Content-Length: 5\r\n\r\nhello", "hello", "", true},
        {"GET", OK "Content-Length: 0\r\n\r\n", "", "", true},
        {"GET", OK "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nT: z\r\n\r\n",
         "hello", "z", true},
        {"GET", "HTTP/1.1 204 No Content\r\n\r\n", "", "", true},
        {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "", "", true},
        {"HEAD", OK "Content-Length: 5\r\n\r\n", "", "", true},
        {"GET", OK "Connection: close\r\nContent-Length: 2\r\n\r\nok", "ok", "", false},
        {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", "", false},
        {"GET", OK "Content-Length: 2\r\n\r\nok surplus", "ok", "", false},
        {"HEAD", OK "Content-Length: 2\r\n\r\nok", "", "", false},
        {"GET", OK "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" OK, "", "", false},
    };

    (void)state;
    for (unsigned i = 0; i < 2 * sizeof(rows) / sizeof(*rows); i++) {
        const char *text = rows[i / 2].response;
        struct peer *p;
        struct test_leg *t = connected_leg(&p);
        world.npeers--; /* closed here */
        send_head(t, rows[i / 2].method, (struct h1_out_body){.framing = H1_NO_BODY}, 5000, 5000);
        UNTIL((peer_read(p), peer_has(p, "\r\n\r\n")));
        if (i % 2)
            peer_drip(p, text);
        else
            peer_send(p, text);
        UNTIL(t->lasts);
        assert_int_equal(t->responses, 1);
        assert_string_equal(t->body, rows[i / 2].body);
        assert_string_equal(t->trailer, rows[i / 2].trailer);
        /* In drops, the surplus comes after the connection was given back: then it goes. */
        STAYS(true, 2);
        assert_int_equal(up.idle != NULL, rows[i / 2].kept);
        if (up.idle)
            client_close(up.idle, REASON_DRAIN);
        up.idle = NULL;
        peer_close(p);
        free(p->in);
    }
}

static void test_to_end(void **state)
{
    struct peer *p;
    struct test_leg *t = connected_leg(&p);

    (void)state;
    send_get(t);
    peer_send(p, OK "\r\nuntil");
    UNTIL(t->n == 5);
    peer_send(p, " the end");
    peer_close(p);
    UNTIL(t->lasts);
    assert_string_equal(t->body, "until the end");
    assert_int_equal(up.closes, 1);
}

static void test_interim(void **state)
{
    struct peer *p, *q, *r;
    struct test_leg *t = connected_leg(&p);

    (void)state;
    send_get(t);
    peer_send(p, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" OK
                 "Content-Length: 1\r\n\r\nx");
    UNTIL(t->lasts);
    assert_int_equal(t->interim, 2);
    t = connected_leg(&q);
    send_get(t);
    peer_send(q, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
    UNTIL(t->fails);
    assert_int_equal(t->why, REASON_UPSTREAM_SWITCHED);
    t = connected_leg(&r);
    send_get(t);
    for (int i = 0; i < 100; i++)
        peer_send(r, "HTTP/1.1 100 Continue\r\n\r\n");
    UNTIL(t->fails);
    assert_int_equal(t->why, REASON_UPSTREAM_BAD_HEAD);
}

static void test_bad_heads(void **state)
{
    static const struct {
        const char *text;
        enum reason why;
    } rows[] = {
        {"220 mail\r\n\r\n", REASON_UPSTREAM_BAD_HEAD},
        {OK "A : b\r\n\r\n", REASON_UPSTREAM_BAD_HEAD},
        {OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", REASON_UPSTREAM_BAD_HEAD},
        {OK "Transfer-Encoding: chunked\r\n\r\nzz\r\n", REASON_UPSTREAM_BAD_CHUNK},
        {OK "Transfer-Encoding: chunked\r\n\r\n0\r\nHost: h\r\n\r\n", REASON_UPSTREAM_BAD_CHUNK},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct peer *p;
        struct test_leg *t = connected_leg(&p);
        send_get(t);
        peer_send(p, rows[i].text);
        UNTIL(t->fails);
        assert_int_equal(t->why, rows[i].why);
        UNTIL(peer_ended(p));
    }
    struct peer *p;
    struct test_leg *t = connected_leg(&p);
    char big[9000];
    memset(big, 'x', sizeof(big));
    send_get(t);
    peer_send(p, OK "A: ");
    peer_send_bytes(p, str_make(big, sizeof(big)));
    UNTIL(t->fails);
    assert_int_equal(t->why, REASON_UPSTREAM_HEAD_TOO_LARGE);
}

/* Bytes that come before anything was asked. */
static void test_answer_before_question(void **state)
{
    struct peer *p, *q;
    struct test_leg *t = connected_leg(&p);

    (void)state;
    peer_send(p, OK "Content-Length: 2\r\n\r\nok");
    UNTIL(t->fails);
    assert_int_equal(t->why, REASON_UPSTREAM_BAD_HEAD);
    /* On a kept one: it is closed, and nobody gets them. */
    t = connected_leg(&q);
    send_get(t);
    peer_send(q, OK "Content-Length: 2\r\n\r\nok");
    UNTIL(t->lasts && up.idle);
    peer_send(q, OK "Content-Length: 6\r\n\r\nforged");
    UNTIL(!up.idle);
    assert_int_equal(up.closes, 2);
}

static void test_kept(void **state)
{
    struct peer *p;
    struct test_leg *t = connected_leg(&p);

    (void)state;
    assert_false(client_reused(t->leg.client));
    send_get(t);
    peer_send(p, OK "Keep-Alive: timeout=7\r\nContent-Length: 2\r\n\r\nok");
    UNTIL(t->lasts);
    assert_int_equal(client_keep_alive_ms(up.idle), 7000);
    for (unsigned i = 2; i < 5; i++) {
        assert_true(client_is_open(up.idle));
        t = again();
        peer_forget(p);
        send_get(t);
        assert_true(client_reused(t->leg.client));
        assert_int_equal(client_requests(t->leg.client), i);
        UNTIL(peer_has(p, "GET /x HTTP/1.1\r\nHost: up\r\n\r\n"));
        peer_send(p, OK "Content-Length: 2\r\n\r\nok");
        UNTIL(t->lasts);
    }
    client_idle_timer(up.idle, 20);
    UNTIL(!up.idle);
    UNTIL(p->eof);
    assert_int_equal(world.t->count.upstream_by_reason[REASON_KEEPALIVE_END], 1);
}

/* A kept connection that the upstream closes: unnoticed, noticed, and just as it is used. */
static void test_kept_closed(void **state)
{
    struct peer *p;
    struct test_leg *t;

    (void)state;
    for (int how = 0; how < 3; how++) {
        t = connected_leg(&p);
        send_get(t);
        peer_send(p, OK "Content-Length: 2\r\n\r\nok");
        UNTIL(t->lasts);
        peer_close(p);
        if (how == 0) {
            UNTIL(!up.idle);
            continue;
        }
        if (how == 1) {
            assert_false(client_is_open(up.idle));
            client_close(up.idle, REASON_UPSTREAM_KEPT_CLOSED);
            up.idle = NULL;
            continue;
        }
        t = again();
        send_get(t);
        UNTIL(t->fails);
        assert_int_equal(t->why, REASON_UPSTREAM_KEPT_CLOSED);
    }
}

/* ---- Requests with bodies
 * ---------------------------------------------------------------------- */

static void test_bodies(void **state)
{
    struct peer *p, *q;
    struct test_leg *t = connected_leg(&p);
    struct header line;
    struct head trailers;

    (void)state;
    send_head(t, "POST", (struct h1_out_body){.framing = H1_LENGTH, .length = 5}, 5000, 5000);
    client_send_body(t->leg.client, STR("he"), false, NULL);
    client_send_body(t->leg.client, STR("llo"), true, NULL);
    UNTIL(peer_has(p, "Content-Length: 5\r\n\r\nhello"));
    t = connected_leg(&q);
    send_head(t, "POST", (struct h1_out_body){.framing = H1_CHUNKED}, 5000, 5000);
    client_send_body(t->leg.client, STR("hello"), false, NULL);
    UNTIL(peer_has(q, "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"));
    head_init(&trailers, &line, 1);
    head_add(&trailers, NULL, HEADER_OTHER, STR("T"), STR("u"));
    client_send_body(t->leg.client, STR(""), true, &trailers);
    UNTIL(peer_has(q, "0\r\nT: u\r\n\r\n"));
}

static char block[32768];

static void fill(struct test_leg *t)
{
    while (!client_full(t->leg.client)) {
        client_send_body(t->leg.client, str_make(block, sizeof(block)), false, NULL);
        step();
    }
}

static struct test_leg *slow_upstream(struct peer **p, int64_t send_ms, int64_t read_ms)
{
    int small = 8192;

    close(up.listener);
    up.listener = listen_here(4, 4096);
    struct test_leg *t = connected_leg(p);
    (*p)->reading = false;
    setsockopt(t->leg.client->sock.io.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    send_head(t, "POST", (struct h1_out_body){.framing = H1_CHUNKED}, send_ms, read_ms);
    fill(t);
    return t;
}

static void test_drained(void **state)
{
    struct peer *p;
    struct test_leg *t = slow_upstream(&p, 5000, 5000);

    (void)state;
    assert_int_equal(t->drained, 0);
    p->reading = true;
    UNTIL(t->drained == 1);
    assert_false(client_full(t->leg.client));
    client_send_body(t->leg.client, STR("END"), true, NULL);
    UNTIL(peer_has(p, "END\r\n0\r\n\r\n"));
    peer_send(p, OK "Content-Length: 2\r\n\r\nok");
    UNTIL(t->lasts && up.idle);
}

/* The whole answer before the whole request: the connection cannot be kept. */
static void test_early_response(void **state)
{
    struct peer *p, *q;
    struct test_leg *t = connected_leg(&p);

    (void)state;
    send_head(t, "POST", (struct h1_out_body){.framing = H1_LENGTH, .length = 9}, 5000, 5000);
    client_send_body(t->leg.client, STR("half"), false, NULL);
    peer_send(p, "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno");
    UNTIL(t->lasts);
    assert_int_equal(t->status, 413);
    assert_null(up.idle);
    /* Its head alone: the rest of the request goes on. */
    t = connected_leg(&q);
    send_head(t, "POST", (struct h1_out_body){.framing = H1_LENGTH, .length = 9}, 5000, 5000);
    peer_send(q, OK "Content-Length: 2\r\n\r\n");
    UNTIL(t->responses);
    client_send_body(t->leg.client, STR("123456789"), true, NULL);
    UNTIL(peer_has(q, "123456789"));
    peer_send(q, "ok");
    UNTIL(t->lasts && up.idle);
}

/* The upstream says 413 and closes while we send: its words are heard. */
static void test_answer_then_close(void **state)
{
    struct peer *p;
    struct test_leg *t = slow_upstream(&p, 5000, 5000);

    (void)state;
    peer_send(p, "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno");
    shutdown(p->fd, SHUT_WR);
    UNTIL(t->lasts);
    assert_int_equal(t->status, 413);
    assert_string_equal(t->body, "no");
}

/* ---- Times
 * ------------------------------------------------------------------------------------ */

static void test_connect_fails(void **state)
{
    struct test_leg *t = leg_new();
    int fd = listen_here(1, 0);
    uint16_t port = port_of(fd);

    (void)state;
    close(fd);
    assert_non_null(dial(t, port, 5000));
    UNTIL(t->fails);
    assert_int_equal(t->why, REASON_CONNECT_FAILED);
    /* A listener whose queue is full answers no SYN. */
    fd = listen_here(0, 0);
    peer_connect(port_of(fd), 0);
    t = leg_new();
    dial(t, port_of(fd), 5000); /* fills the last place, or waits too */
    struct test_leg *late = leg_new();
    int64_t began = now();
    assert_non_null(dial(late, port_of(fd), 50));
    UNTIL(late->fails);
    assert_int_equal(late->why, REASON_CONNECT_TIMEOUT);
    assert_in_range(now() - began, 45, 1000);
    client_abandon(t->leg.client, REASON_CLIENT_GONE);
    close(fd);
    assert_int_equal(up.closes, 3);
}

static void test_read_timeout(void **state)
{
    struct peer *p, *q;
    struct test_leg *t = connected_leg(&p);
    int64_t began = now();

    (void)state;
    send_head(t, "GET", (struct h1_out_body){.framing = H1_NO_BODY}, 5000, 40);
    UNTIL(t->fails);
    assert_int_equal(t->why, REASON_READ_TIMEOUT);
    assert_in_range(now() - began, 35, 1000);
    /* Each byte renews it, in the head and in the body. */
    t = connected_leg(&q);
    send_head(t, "GET", (struct h1_out_body){.framing = H1_NO_BODY}, 5000, 40);
    for (const char *s = OK "Content-Length: 9\r\n\r\n12"; *s; s++) {
        peer_send_bytes(q, str_make(s, 1));
        STAYS(t->fails == 0, 3);
    }
    UNTIL(t->n == 2);
    began = now();
    UNTIL(t->fails);
    assert_int_equal(t->why, REASON_UPSTREAM_STALLED);
    assert_in_range(now() - began, 30, 1000);
}

/* Who pauses reading does not blame the upstream for the silence. */
static void test_pause(void **state)
{
    struct peer *p;
    struct test_leg *t = connected_leg(&p);

    (void)state;
    t->pauses = true;
    send_head(t, "GET", (struct h1_out_body){.framing = H1_NO_BODY}, 5000, 40);
    peer_send(p, OK "Content-Length: 6\r\n\r\nabc");
    UNTIL(t->responses);
    peer_send(p, "def");
    STAYS(t->fails == 0 && t->total == 0, 100);
    client_resume(t->leg.client);
    assert_int_equal(t->total, 0); /* not inside the call */
    UNTIL(t->lasts);
    assert_string_equal(t->body, "abcdef");

    struct test_leg *u = again();
    u->pauses = true;
    send_head(u, "GET", (struct h1_out_body){.framing = H1_NO_BODY}, 5000, 40);
    peer_send(p, OK "Content-Length: 6\r\n\r\nabc");
    UNTIL(u->responses);
    client_resume(u->leg.client);
    int64_t began = now();
    UNTIL(u->fails); /* and from here on it does */
    assert_int_equal(u->why, REASON_UPSTREAM_STALLED);
    assert_in_range(now() - began, 35, 1000);
}

/* Paused, then the end: nothing is lost, and the connection is given back only after it. */
static void test_pause_without_body(void **state)
{
    struct peer *p;
    struct test_leg *t = connected_leg(&p);

    (void)state;
    t->pauses = true;
    send_get(t);
    peer_send(p, OK "Content-Length: 0\r\n\r\n");
    UNTIL(t->responses);
    STAYS(t->lasts == 0 && !up.idle, 5);
    client_resume(t->leg.client);
    UNTIL(t->lasts && up.idle);
    t = again();
    t->pauses = true;
    send_get(t);
    peer_send(p, OK "\r\nto the end");
    UNTIL(t->responses);
    peer_close(p);
    STAYS(t->lasts + t->fails == 0, 5);
    client_resume(t->leg.client);
    UNTIL(t->lasts);
    assert_string_equal(t->body, "to the end");
}

static void test_send_timeout(void **state)
{
    struct peer *p;
    struct test_leg *t = slow_upstream(&p, 60, 5000);

    (void)state;
    int64_t began = now();
    /* More to send gives it no more time. */
    while (!t->fails && now() - began < 1000) {
        client_send_body(t->leg.client, STR("x"), false, NULL);
        for (int i = 0; i < 5 && !t->fails; i++)
            step();
    }
    assert_int_equal(t->why, REASON_SEND_TIMEOUT);
    assert_in_range(now() - began, 20, 800);
    /* Nor does the end of the request. */
    t = slow_upstream(&p, 60, 5000);
    client_send_body(t->leg.client, STR("end"), true, NULL);
    began = now();
    UNTIL(t->fails);
    assert_int_equal(t->why, REASON_SEND_TIMEOUT);
    assert_in_range(now() - began, 20, 1000);
}

/* An upstream that takes its time, but takes. */
static void test_slow_but_taking(void **state)
{
    struct peer *p;
    struct test_leg *t = slow_upstream(&p, 80, 5000);
    char part[4096];

    (void)state;
    for (int i = 0; i < 3; i++)
        client_send_body(t->leg.client, str_make(block, sizeof(block)), false, NULL);
    int64_t began = now();
    while (t->drained == 0) {
        assert_int_equal(t->fails, 0);
        assert_true(recv(p->fd, part, sizeof(part), MSG_DONTWAIT) != 0);
        for (int i = 0; i < 6; i++)
            step();
        assert_true(now() - began < PATIENCE_MS);
    }
    assert_true(now() - began > 100);
}

/* Our client is slow with its body: no fault of the upstream, neither before nor after its head. */
static void test_slow_request(void **state)
{
    struct peer *p;
    struct test_leg *t = connected_leg(&p);

    (void)state;
    send_head(t, "POST", (struct h1_out_body){.framing = H1_LENGTH, .length = 3}, 30, 30);
    STAYS(t->fails == 0, 80);
    client_send_body(t->leg.client, STR("1"), false, NULL);
    STAYS(t->fails == 0, 80);
    peer_send(p, OK "Content-Length: 3\r\n\r\na");
    UNTIL(t->n == 1);
    STAYS(t->fails == 0, 80);
    client_send_body(t->leg.client, STR("23"), true, NULL);
    int64_t began = now();
    UNTIL(t->fails); /* now it is the upstream's turn */
    assert_int_equal(t->why, REASON_UPSTREAM_STALLED);
    assert_in_range(now() - began, 25, 1000);
}

/* ---- Ends
 * ------------------------------------------------------------------------------------- */

static void test_upstream_leaves(void **state)
{
    static const struct {
        const char *sent;
        bool reset;
        enum reason why;
    } rows[] = {
        {"", false, REASON_UPSTREAM_CLOSED},
        {"", true, REASON_UPSTREAM_RESET},
        {"HTTP/1.1 20", false, REASON_UPSTREAM_CLOSED},
        {OK "Content-Length: 9\r\n\r\nhalf", false, REASON_UPSTREAM_CUT},
        {OK "Content-Length: 9\r\n\r\nhalf", true, REASON_UPSTREAM_CUT},
        {OK "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", false, REASON_UPSTREAM_CUT},
        {OK "Transfer-Encoding: chunked\r\n\r\n9\r\nhalf", false, REASON_UPSTREAM_CUT},
        {OK "\r\nhalf", true, REASON_UPSTREAM_CUT},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct peer *p;
        struct test_leg *t = connected_leg(&p);
        send_get(t);
        UNTIL(peer_has(p, "\r\n\r\n"));
        if (*rows[i].sent) {
            peer_send(p, rows[i].sent);
            UNTIL(t->n == 4 || !strstr(rows[i].sent, "half"));
            STAYS(true, 2);
        }
        if (rows[i].reset)
            peer_reset(p);
        else
            peer_close(p);
        UNTIL(t->fails);
        assert_int_equal(t->why, rows[i].why);
        assert_int_equal(up.closes, i + 1);
    }
}

static void test_abandon(void **state)
{
    struct peer *p;
    struct test_leg *t = leg_new();

    (void)state;
    dial(t, port_of(up.listener), 5000);
    client_abandon(t->leg.client, REASON_CLIENT_GONE); /* connecting */
    assert_null(t->leg.client);
    p = peer_accept(up.listener);
    UNTIL(peer_ended(p));
    t = connected_leg(&p);
    client_abandon(t->leg.client, REASON_CLIENT_GONE); /* ready */
    UNTIL(peer_ended(p));
    t = connected_leg(&p);
    send_get(t);
    step();
    client_abandon(t->leg.client, REASON_CLIENT_GONE); /* await */
    UNTIL(peer_ended(p));
    t = connected_leg(&p);
    t->abandons = true;
    send_get(t);
    peer_send(p, OK "Content-Length: 9\r\n\r\nhalf"); /* inside its callback */
    UNTIL(peer_ended(p));
    assert_int_equal(t->responses, 1);
    assert_int_equal(t->total + t->lasts + t->fails, 0);
    assert_int_equal(up.closes, 4);
}

static void test_release(void **state)
{
    static const struct {
        const char *method, *response;
        bool kept;
    } rows[] = {
        {"HEAD", OK "Content-Length: 9\r\n\r\n", true},
        {"GET", "HTTP/1.1 304 Not Modified\r\n\r\n", true},
        {"GET", OK "Content-Length: 9\r\n\r\n", false},
        {"GET", OK "Content-Length: 9\r\n\r\n123456789", false},
        {"HEAD", OK "Content-Length: 9\r\n\r\n123456789", true}, /* surplus: released, not kept */
    };

    (void)state;
    for (unsigned i = 0; i < 2 * sizeof(rows) / sizeof(*rows); i++) {
        struct peer *p;
        struct test_leg *t = connected_leg(&p);
        bool later = i % 2;
        t->releases = !later;
        t->pauses = later;
        send_head(t, rows[i / 2].method, (struct h1_out_body){.framing = H1_NO_BODY}, 5000, 5000);
        peer_send(p, rows[i / 2].response);
        UNTIL(t->responses);
        if (later)
            t->kept = client_release(t->leg.client, REASON_NOT_KEPT);
        assert_null(t->leg.client);
        assert_int_equal(t->kept, rows[i / 2].kept);
        STAYS(t->lasts + t->fails + t->n == 0, 3);
        bool idle = up.idle != NULL;
        assert_int_equal(idle, rows[i / 2].kept && i / 2 < 4);
        if (idle)
            client_close(up.idle, REASON_DRAIN);
        up.idle = NULL;
        UNTIL(peer_ended(p));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_framings),
        TEST(test_to_end),
        TEST(test_interim),
        TEST(test_bad_heads),
        TEST(test_answer_before_question),
        TEST(test_kept),
        TEST(test_kept_closed),
        TEST(test_bodies),
        TEST(test_drained),
        TEST(test_early_response),
        TEST(test_answer_then_close),
        TEST(test_connect_fails),
        TEST(test_read_timeout),
        TEST(test_pause),
        TEST(test_pause_without_body),
        TEST(test_send_timeout),
        TEST(test_slow_but_taking),
        TEST(test_slow_request),
        TEST(test_upstream_leaves),
        TEST(test_abandon),
        TEST(test_release),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
