/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 server connections against plain sockets: what the handler is told in which state, each
 * time-out, slow and absent clients, and how connections end. */
#include "conn/server.c" /* NOLINT: for the listener's port */

#include "conn_fixture.h"

/* A handler that notes what it is told, and answers when the test says so, or at once. */
static struct {
    struct server *server;
    struct stream *stream; /* the one that is open; NULL: none */
    unsigned requests, drained, aborts, lasts, empties;
    enum reason why;
    char target[128], body[1 << 16];
    size_t body_n, body_total;
    char trailer[64];
    const char *at_once; /* answered in on_request */
    size_t at_once_n;    /* its length, when it is not a text */
    bool pauses;         /* stream_pause in on_request */
    bool answers_unread; /* at_once though there is a body */
    int refused;
    unsigned requests_seen;
    uint64_t page;
} h;

static struct head no_lines;

static void answer(const char *body, size_t n)
{
    struct stream *s = h.stream;

    h.stream = NULL;
    head_init(&no_lines, NULL, 0);
    if (!stream_respond(s, 200, &no_lines, (int64_t)n))
        stream_write(s, str_make(body, n), true, NULL);
}

static void answer_text(const char *body)
{
    answer(body, strlen(body));
}

static void begin_stream(void)
{
    head_init(&no_lines, NULL, 0);
    assert_false(stream_respond(h.stream, 200, &no_lines, LENGTH_UNKNOWN));
}

static void on_request(struct stream *s, const struct h1_request *req)
{
    assert_null(h.stream);
    h.stream = s;
    h.requests++;
    h.body_n = h.body_total = 0;
    snprintf(h.target, sizeof(h.target), "%.*s", STR_ARG(req->target));
    if (h.pauses)
        stream_pause(s);
    if (h.at_once && (req->framing == H1_NO_BODY || h.answers_unread))
        answer(h.at_once, h.at_once_n ? h.at_once_n : strlen(h.at_once));
}

static void on_body(struct stream *s, struct str data, bool last)
{
    assert_ptr_equal(s, h.stream);
    if (data.n && h.body_n + data.n < sizeof(h.body)) {
        memcpy(h.body + h.body_n, data.p, data.n);
        h.body_n += data.n;
        h.body[h.body_n] = 0;
    }
    h.body_total += data.n;
    h.lasts += last;
    h.trailer[0] = 0;
    if (s->trailers)
        snprintf(h.trailer, sizeof(h.trailer), "%.*s",
                 STR_ARG(header_str_value(&s->trailers->list[0])));
    if (last && h.at_once && !h.answers_unread)
        answer_text(h.at_once);
}

static void on_drained(struct stream *s)
{
    assert_ptr_equal(s, h.stream);
    h.drained++;
}

static void on_abort(struct stream *s, enum reason why)
{
    assert_ptr_equal(s, h.stream);
    h.stream = NULL;
    h.aborts++;
    h.why = why;
}

/* What was known of a request that never came to on_request. */
static void on_refused(struct stream *s, const struct h1_request *req, enum reason why)
{
    assert_null(h.stream);
    h.refused++;
    h.why = why;
    h.page = s->page;
    h.requests_seen = s->requests;
    assert_true(why == REASON_HEAD_CUT ? s->sent == 0 : s->sent > s->page);
    snprintf(h.target, sizeof(h.target), "%.*s", STR_ARG(req->line));
}

static const struct stream_handler handler = {on_request, on_body, on_drained, on_abort,
                                              on_refused};

static void on_empty(void *owner)
{
    assert_ptr_equal(owner, &h);
    h.empties++;
}

static int setup(void **state)
{
    struct addr at = addr_here(0);
    struct arena a;
    struct str err;

    (void)state;
    fixture_setup();
    memset(&h, 0, sizeof(h));
    arena_init(&a, NULL);
    h.server = server_new(world.t, &handler, &h);
    assert_true(server_listen(h.server, &at, false, false, &a, &err));
    arena_fini(&a);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server_free(h.server);
    fixture_teardown();
    return 0;
}

static struct peer *client(int rcvbuf)
{
    struct peer *p = peer_connect(port_of(h.server->listeners->io.fd), rcvbuf);

    UNTIL(server_connections(h.server) == world.npeers);
    return p;
}

static bool alone(void)
{
    return server_connections(h.server) == 0;
}

#define GET  "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST "POST /p HTTP/1.1\r\nHost: h\r\n"

/* ---- Requests and answers
 * --------------------------------------------------------------------- */

static void test_keep_alive(void **state)
{
    struct peer *p = client(0);

    (void)state;
    for (unsigned i = 1; i <= 3; i++) {
        peer_send(p, GET);
        UNTIL(h.requests == i);
        assert_int_equal(h.stream->requests, i);
        answer_text("hello");
        UNTIL(peer_has(p, "hello"));
        assert_true(peer_has(p, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
        peer_forget(p);
    }
    STAYS(!peer_ended(p), 5);
    peer_close(p);
    UNTIL(alone());
    assert_int_equal(h.aborts, 0);
}

static void test_bytewise(void **state)
{
    struct peer *p = client(0);

    (void)state;
    h.at_once = "ok";
    peer_drip(p, POST
              "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: tail\r\n\r\n");
    UNTIL(peer_has(p, "ok"));
    assert_string_equal(h.body, "abcde");
    assert_string_equal(h.trailer, "tail");
    peer_drip(p, GET);
    UNTIL(h.requests == 2);
    assert_int_equal(h.lasts, 1);
}

static void test_pipelined(void **state)
{
    struct peer *p = client(0);

    (void)state;
    peer_send(p, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n" POST
                 "Content-Length: 3\r\n\r\nxyzGET /3 HTTP/1.1\r\nHost: h\r\n\r\n");
    UNTIL(h.requests == 1);
    STAYS(h.requests == 1, 3);
    answer_text("one");
    UNTIL(h.lasts == 1);
    assert_string_equal(h.body, "xyz");
    STAYS(h.requests == 2, 3);
    answer_text("two");
    UNTIL(h.requests == 3);
    assert_string_equal(h.target, "/3");
    answer_text("three");
    UNTIL(peer_has(p, "three"));
    assert_true(str_search(str_make(p->in, p->n), STR("one")) <
                str_search(str_make(p->in, p->n), STR("two")));
}

/* Answered at once, many in one segment: in order, and none twice. */
static void test_pipelined_at_once(void **state)
{
    struct peer *p = client(0);
    char all[64 * sizeof(GET)];
    size_t n = 0;

    (void)state;
    h.at_once = "!";
    for (int i = 0; i < 64; i++, n += sizeof(GET) - 1)
        memcpy(all + n, GET, sizeof(GET) - 1);
    peer_send_bytes(p, str_make(all, n));
    UNTIL(h.requests == 64);
    size_t one = strlen("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!");
    UNTIL(p->n == 64 * one);
    STAYS(p->n == 64 * one, 3);
}

static void test_old_client(void **state)
{
    struct peer *p = client(0), *kept = client(0);

    (void)state;
    peer_send(p, "GET /old HTTP/1.0\r\n\r\n");
    UNTIL(h.requests == 1);
    begin_stream();
    stream_write(h.stream, STR("part"), false, NULL);
    stream_write(h.stream, STR("end"), true, NULL);
    h.stream = NULL;
    UNTIL(p->eof);
    assert_true(peer_has(p, "\r\nConnection: close\r\n\r\npartend"));
    assert_false(peer_has(p, "chunked"));
    peer_send(kept, "GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    UNTIL(h.requests == 2);
    answer_text("k");
    UNTIL(peer_has(kept, "Connection: keep-alive\r\n\r\nk"));
    STAYS(!kept->eof, 3);
}

static void test_no_body(void **state)
{
    static const struct {
        const char *method;
        int status;
        int64_t length;
        const char *head;
    } rows[] = {
        {"HEAD", 200, 7, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"},
        {"HEAD", 200, LENGTH_UNKNOWN, "HTTP/1.1 200 OK\r\n\r\n"},
        {"GET", 204, LENGTH_UNKNOWN, "HTTP/1.1 204 No Content\r\n\r\n"},
        {"GET", 304, 9, "HTTP/1.1 304 Not Modified\r\n\r\n"},
        {"GET", 200, 0, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
    };
    struct peer *p = client(0);
    char text[128];

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        snprintf(text, sizeof(text), "%s / HTTP/1.1\r\nHost: h\r\n\r\n", rows[i].method);
        peer_send(p, text);
        UNTIL(h.requests == i + 1);
        head_init(&no_lines, NULL, 0);
        assert_true(stream_respond(h.stream, rows[i].status, &no_lines, rows[i].length));
        h.stream = NULL;
        UNTIL(p->n >= strlen(rows[i].head));
        assert_int_equal(p->n, strlen(rows[i].head));
        assert_memory_equal(p->in, rows[i].head, p->n);
        peer_forget(p);
    }
}

static void test_stream_and_interim(void **state)
{
    struct peer *p = client(0);
    struct header lines[2];
    struct head hints;

    (void)state;
    peer_send(p, GET);
    UNTIL(h.stream);
    head_init(&hints, lines, 2);
    head_add(&hints, NULL, HEADER_OTHER, STR("Link"), STR("</a>"));
    stream_inform(h.stream, 103, &hints);
    begin_stream();
    stream_write(h.stream, STR("abc"), false, NULL);
    UNTIL(peer_has(p, "\r\n3\r\nabc\r\n"));
    stream_write(h.stream, STR("d"), true, &hints);
    h.stream = NULL;
    UNTIL(peer_has(p, "1\r\nd\r\n0\r\nLink: </a>\r\n\r\n"));
    assert_true(peer_has(p, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n"));
}

static void test_requests_limit(void **state)
{
    struct peer *p = client(0);

    (void)state;
    h.at_once = "x";
    world.t->limits.requests = 2;
    peer_send(p, GET GET GET);
    UNTIL(p->eof);
    assert_int_equal(h.requests, 2);
    assert_true(peer_has(p, "Connection: close\r\n\r\nx"));
}

static void test_refused(void **state)
{
    struct peer *bad = client(0), *large = client(0);
    char big[9000];

    (void)state;
    peer_send(bad, "GET / HTTP/1.1\r\nHost : h\r\n\r\n");
    UNTIL(bad->eof);
    assert_true(peer_has(bad, "HTTP/1.1 400 ") && peer_has(bad, "Connection: close"));
    assert_int_equal(h.refused, 1);
    assert_int_equal(h.why, REASON_BAD_HEADER_NAME);
    assert_string_equal(h.target, "GET / HTTP/1.1");
    assert_true(peer_has(bad, "</html>") && h.page > 50);
    memset(big, 'x', sizeof(big));
    peer_send(large, "GET / HTTP/1.1\r\nHost: h\r\nA: ");
    peer_send_bytes(large, str_make(big, sizeof(big)));
    UNTIL(large->eof);
    assert_true(peer_has(large, "HTTP/1.1 431 "));
    assert_int_equal(h.requests, 0);
    assert_int_equal(h.refused, 2);
    assert_int_equal(h.why, REASON_HEAD_TOO_LARGE);
}

/* The second request on a connection is the connection's second, even if it is none. */
static void test_refused_later(void **state)
{
    struct peer *p = client(0);

    (void)state;
    h.at_once = "x";
    peer_send(p, GET "HEAD /b HTTP/7.0\r\n\r\n");
    UNTIL(p->eof);
    assert_int_equal(h.requests, 1);
    assert_int_equal(h.refused, 1);
    assert_int_equal(h.requests_seen, 2);
    assert_string_equal(h.target, "HEAD /b HTTP/7.0");
    assert_true(peer_has(p, "HTTP/1.1 505 ") && !peer_has(p, "<html>") && h.page == 0);
}

/* A client that closes within a head is told nothing; empty lines are no head. */
static void test_head_cut(void **state)
{
    struct peer *empty = client(0), *half = client(0);

    (void)state;
    peer_send(empty, "\r\n\r");
    peer_send(half, "GET /c HTTP/1.1\r\nHo");
    shutdown(empty->fd, SHUT_WR);
    UNTIL(empty->eof);
    assert_int_equal(h.refused, 0);
    shutdown(half->fd, SHUT_WR);
    UNTIL(half->eof);
    assert_int_equal(h.refused, 1);
    assert_int_equal(h.why, REASON_HEAD_CUT);
    assert_string_equal(h.target, "GET /c HTTP/1.1");
    assert_int_equal(empty->n + half->n, 0);
    assert_true(alone());
}

/* ---- Bodies
 * ----------------------------------------------------------------------------------- */

static void test_body_limit(void **state)
{
    struct peer *said = client(0), *found = client(0), *fits = client(0);

    (void)state;
    world.t->limits.body_bytes = 10;
    peer_send(said, POST "Content-Length: 11\r\n\r\n");
    UNTIL(said->eof);
    assert_true(peer_has(said, "HTTP/1.1 413 "));
    assert_int_equal(h.requests, 0);
    peer_send(found,
              POST "Transfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n3\r\n123\r\n0\r\n\r\n");
    UNTIL(found->eof);
    assert_true(peer_has(found, "HTTP/1.1 413 "));
    assert_int_equal(h.aborts, 1);
    assert_int_equal(h.why, REASON_BODY_TOO_LARGE);
    peer_send(fits, POST "Transfer-Encoding: chunked\r\n\r\na\r\n1234567890\r\n0\r\n\r\n");
    UNTIL(h.lasts == 1);
    answer_text("");
}

static void test_pause(void **state)
{
    struct peer *p = client(0);
    char piece[50000];

    (void)state;
    world.t->limits.body_ms = 20;
    h.pauses = true;
    memset(piece, 'b', sizeof(piece));
    peer_send(p, POST "Content-Length: 50000\r\n\r\n");
    peer_send_bytes(p, str_make(piece, sizeof(piece)));
    UNTIL(h.requests == 1);
    STAYS(h.stream && h.body_total == 0, 60); /* no body timeout: nobody asks for it */
    stream_resume(h.stream);
    assert_int_equal(h.body_total, 0); /* not inside the call */
    UNTIL(h.lasts == 1);
    assert_int_equal(h.body_total, 50000);
    answer_text("x");
    UNTIL(peer_has(p, "\r\n\r\nx"));
}

static void test_expect(void **state)
{
    struct peer *p = client(0), *late = client(0), *refused = client(0);
    const char *ask = POST "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n";

    (void)state;
    peer_send(p, ask);
    UNTIL(peer_has(p, "HTTP/1.1 100 Continue\r\n\r\n"));
    peer_send(p, "ab");
    UNTIL(h.lasts == 1);
    answer_text("x");
    UNTIL(peer_has(p, "\r\n\r\nx"));
    assert_false(peer_has(p, "Connection: close"));

    h.pauses = true;
    peer_send(late, ask);
    UNTIL(h.requests == 2);
    STAYS(late->n == 0, 5);
    stream_resume(h.stream);
    UNTIL(peer_has(late, "HTTP/1.1 100 Continue\r\n\r\n"));
    peer_send(late, "ab");
    UNTIL(h.lasts == 2);
    answer_text("y");

    h.pauses = false;
    h.at_once = "no";
    h.answers_unread = true;
    peer_send(refused, ask);
    UNTIL(refused->eof);
    assert_true(peer_has(refused, "Connection: close\r\n\r\nno"));
    assert_false(peer_has(refused, "100 Continue"));
}

/* An answer before the body has come: a short rest is read away, a long one ends the connection. */
static void test_answer_to_unread_body(void **state)
{
    struct peer *p = client(0), *big = client(0), *chunked = client(0), *broken = client(0);

    (void)state;
    h.at_once = "early";
    h.answers_unread = true;
    peer_send(p, POST "Content-Length: 4\r\n\r\n");
    UNTIL(peer_has(p, "early"));
    peer_send(p, "body" GET);
    UNTIL(h.requests == 2);
    assert_int_equal(h.body_total, 0);

    peer_send(big, POST "Content-Length: 1000000\r\n\r\n");
    UNTIL(big->eof);
    assert_true(peer_has(big, "early"));

    peer_send(chunked, POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    UNTIL(peer_has(chunked, "early"));
    peer_send(chunked, "0\r\n\r\n" GET);
    UNTIL(h.requests == 5);

    /* Garbage where the rest should be: the answer still arrives, then an orderly end. */
    broken->reading = false;
    peer_send(broken, POST "Transfer-Encoding: chunked\r\n\r\nzz\r\n");
    UNTIL(h.requests == 6);
    STAYS(true, 5);
    broken->reading = true;
    UNTIL(peer_ended(broken));
    assert_true(broken->eof && peer_has(broken, "early"));
}

/* ---- Times
 * ------------------------------------------------------------------------------------ */

static void test_head_timeout(void **state)
{
    struct peer *silent = client(0), *half, *drip;
    int64_t began;

    (void)state;
    world.t->limits.head_ms = 60;
    half = client(0);
    drip = client(0);
    peer_send(half, "GET / HT");
    began = now();
    while (!peer_ended(drip)) {
        peer_send(drip, "G"); /* does not renew it */
        for (int i = 0; i < 10 && !peer_ended(drip); i++)
            step();
        assert_true(now() - began < 2000);
    }
    UNTIL(h.refused == 2);
    assert_int_equal(h.why, REASON_CLIENT_HEAD_TIMEOUT);
    assert_in_range(now() - began, 50, 1000);
    UNTIL(half->eof);
    assert_true(peer_has(half, "HTTP/1.1 408 "));
    assert_false(peer_ended(silent)); /* it came under the longer limit */
}

static void test_idle_timeout(void **state)
{
    struct peer *p = client(0);

    (void)state;
    world.t->limits.keepalive_ms = 40;
    h.at_once = "x";
    peer_send(p, GET);
    UNTIL(peer_has(p, "\r\n\r\nx"));
    int64_t began = now();
    UNTIL(p->eof);
    assert_in_range(now() - began, 25, 1000);
    assert_int_equal(world.t->count.client_by_reason[REASON_KEEPALIVE_END], 1);
    assert_true(alone());
}

static void test_body_timeout(void **state)
{
    struct peer *p = client(0);
    int64_t began = now();

    (void)state;
    world.t->limits.body_ms = 200;
    peer_send(p, POST "Content-Length: 100\r\n\r\n");
    for (int i = 0; i < 5; i++) { /* each piece renews it */
        peer_send(p, "x");
        STAYS(!peer_ended(p), 60);
    }
    UNTIL(h.aborts == 1);
    assert_true(now() - began > 300);
    assert_int_equal(h.why, REASON_CLIENT_BODY_TIMEOUT);
    UNTIL(p->eof);
    assert_true(peer_has(p, "HTTP/1.1 408 "));
}

static char block[32768];

static void write_until_full(void)
{
    begin_stream();
    while (!stream_full(h.stream)) {
        stream_write(h.stream, str_make(block, sizeof(block)), false, NULL);
        step();
    }
}

static void test_send_timeout(void **state)
{
    struct peer *p = client(4096);

    (void)state;
    world.t->limits.send_ms = 50;
    p->reading = false;
    peer_send(p, GET);
    UNTIL(h.stream);
    write_until_full();
    stream_write(h.stream, str_make(block, sizeof(block)), false, NULL);
    int64_t began = now();
    UNTIL(h.aborts == 1);
    assert_in_range(now() - began, 30, 1000);
    assert_int_equal(h.why, REASON_CLIENT_SEND_TIMEOUT);
    p->reading = true;
    UNTIL(p->reset);
}

/* Neither the end of the request's body nor a pause of it switches the send timeout off. */
static void test_send_timeout_while_uploading(void **state)
{
    (void)state;
    world.t->limits.send_ms = 50;
    for (int paused = 0; paused < 2; paused++) {
        struct peer *p = peer_connect(port_of(h.server->listeners->io.fd), 4096);
        p->reading = false;
        h.stream = NULL;
        peer_send(p, POST "Content-Length: 3\r\n\r\nab");
        UNTIL(h.stream && h.body_n == 2);
        write_until_full();
        stream_write(h.stream, str_make(block, sizeof(block)), false, NULL);
        if (paused)
            stream_pause(h.stream);
        else
            peer_send(p, "c");
        int64_t began = now();
        UNTIL(h.aborts == (unsigned)paused + 1);
        assert_in_range(now() - began, 30, 1000);
        assert_int_equal(h.why, REASON_CLIENT_SEND_TIMEOUT);
    }
}

/* A slow client that reads is no stalled one: the time is between two successes (nginx). */
static void test_slow_reader(void **state)
{
    struct peer *p = client(4096);
    size_t total = 0, got = 0;

    (void)state;
    world.t->limits.send_ms = 80;
    p->reading = false;
    peer_send(p, GET);
    UNTIL(h.stream);
    write_until_full();
    for (int i = 0; i < 8; i++, total += sizeof(block))
        stream_write(h.stream, str_make(block, sizeof(block)), false, NULL);
    stream_write(h.stream, STR("END"), true, NULL);
    h.stream = NULL;
    int64_t began = now();
    char part[8192], tail[3] = "";
    while (memcmp(tail, "END", 3) != 0) {
        ssize_t n = recv(p->fd, part, sizeof(part), MSG_DONTWAIT);
        for (ssize_t i = 0; i < n && memcmp(tail, "END", 3) != 0; i++) {
            memmove(tail, tail + 1, 2);
            tail[2] = part[i];
        }
        got += n > 0 ? (size_t)n : 0;
        assert_true(n != 0 && (n > 0 || errno == EAGAIN));
        for (int i = 0; i < 3; i++)
            step();
        assert_true(now() - began < PATIENCE_MS);
    }
    assert_true(got > total && now() - began > 120);
    assert_int_equal(h.aborts, 0);
}

static void test_drained(void **state)
{
    struct peer *p = client(4096);

    (void)state;
    p->reading = false;
    world.t->limits.send_ms = 100;
    peer_send(p, GET);
    UNTIL(h.stream);
    write_until_full();
    p->reading = true;
    UNTIL(h.drained == 1);
    assert_false(stream_full(h.stream));
    STAYS(h.aborts == 0, 150); /* the send timeout is off */
    stream_write(h.stream, STR("END"), true, NULL);
    h.stream = NULL;
    UNTIL(peer_has(p, "END\r\n0\r\n\r\n"));
}

/* A client that asks and asks, and reads nothing: its requests wait, not our memory. */
static void test_pipelined_unread(void **state)
{
    struct peer *p = client(4096);
    static char megabyte[1 << 20];

    (void)state;
    h.at_once = megabyte;
    h.at_once_n = sizeof(megabyte);
    p->reading = false;
    for (int i = 0; i < 40; i++)
        peer_send(p, GET);
    UNTIL(h.requests > 0);
    STAYS(h.requests < 12, 20); /* what the kernel takes, and one more */
    p->reading = true;
    unsigned had = h.requests;
    for (int i = 0; h.requests < 40; i++) {
        step();
        peer_forget(p);
        assert_true(i < 20000);
    }
    assert_true(had < 40);
}

/* ---- Ends
 * ------------------------------------------------------------------------------------- */

static void test_client_leaves(void **state)
{
    struct peer *idle = client(0), *head = client(0), *body = client(0), *busy, *reset, *streaming;

    (void)state;
    peer_send(head, "GET / HT");
    step();
    peer_close(head);
    peer_close(idle);
    UNTIL(server_connections(h.server) == 1);
    assert_int_equal(h.requests, 0);

    peer_send(body, POST "Content-Length: 9\r\n\r\nhalf");
    UNTIL(h.body_n == 4);
    peer_close(body);
    UNTIL(h.aborts == 1);
    assert_int_equal(h.why, REASON_BODY_CUT);

    busy = peer_connect(port_of(h.server->listeners->io.fd), 0);
    peer_send(busy, GET);
    UNTIL(h.requests == 2);
    peer_close(busy);
    UNTIL(h.aborts == 2);
    assert_int_equal(h.why, REASON_CLIENT_GONE);

    reset = peer_connect(port_of(h.server->listeners->io.fd), 0);
    peer_send(reset, GET);
    UNTIL(h.requests == 3);
    peer_reset(reset);
    UNTIL(h.aborts == 3);

    streaming = peer_connect(port_of(h.server->listeners->io.fd), 0);
    peer_send(streaming, GET);
    UNTIL(h.requests == 4);
    begin_stream();
    stream_write(h.stream, STR("x"), false, NULL);
    UNTIL(peer_has(streaming, "x"));
    peer_reset(streaming);
    UNTIL(h.aborts == 4);
    UNTIL(alone());
}

/* All that was queued reaches a client that has closed its side. */
static void test_half_closed(void **state)
{
    struct peer *p = client(4096);
    static char big[6 << 20];

    (void)state;
    memset(big, 'q', sizeof(big));
    h.at_once = big;
    h.at_once_n = sizeof(big);
    world.t->limits.keepalive_ms = 20;
    p->reading = false;
    peer_send(p, GET);
    shutdown(p->fd, SHUT_WR);
    UNTIL(h.requests == 1);
    STAYS(!alone(), 30);
    p->reading = true;
    UNTIL(p->eof);
    assert_true(p->n > sizeof(big));
    UNTIL(alone());
}

/* Idle, but the last response is still on its way: keepalive_timeout does not cut it. */
static void test_idle_with_queue(void **state)
{
    struct peer *p = client(4096);
    static char big[6 << 20];

    (void)state;
    h.at_once = big;
    h.at_once_n = sizeof(big);
    world.t->limits.keepalive_ms = 30;
    world.t->limits.send_ms = 200;
    p->reading = false;
    peer_send(p, GET);
    UNTIL(h.requests == 1);
    STAYS(!alone(), 80);
    p->reading = true;
    UNTIL(p->n > sizeof(big));
    UNTIL(p->eof);
    /* One that takes nothing is let go after send_timeout. */
    struct peer *dead = peer_connect(port_of(h.server->listeners->io.fd), 4096);
    dead->reading = false;
    peer_send(dead, GET);
    UNTIL(h.requests == 2);
    UNTIL(alone());
    assert_int_equal(world.t->count.client_by_reason[REASON_CLIENT_SEND_TIMEOUT], 1);
}

/* A response that breaks off: the framing shows it; where it cannot, a reset does. */
static void test_fail(void **state)
{
    struct peer *chunked = client(0), *old = client(0), *unsaid = client(0);

    (void)state;
    peer_send(chunked, GET);
    UNTIL(h.stream);
    begin_stream();
    stream_write(h.stream, STR("part"), false, NULL);
    stream_fail(h.stream, REASON_UPSTREAM_CUT);
    h.stream = NULL;
    UNTIL(peer_ended(chunked));
    assert_true(peer_has(chunked, "part\r\n"));
    assert_false(peer_has(chunked, "0\r\n\r\n"));
    peer_send(old, "GET / HTTP/1.0\r\n\r\n");
    UNTIL(h.stream);
    begin_stream();
    stream_write(h.stream, STR("part"), false, NULL);
    UNTIL(peer_has(old, "part"));
    stream_fail(h.stream, REASON_UPSTREAM_CUT);
    h.stream = NULL;
    UNTIL(old->reset); /* an end of file would be the end of the response */
    peer_send(unsaid, GET);
    UNTIL(h.stream);
    stream_fail(h.stream, REASON_PLUGIN_DROP);
    h.stream = NULL;
    UNTIL(peer_ended(unsaid));
    assert_int_equal(unsaid->n, 0);
    assert_int_equal(h.aborts, 0);
}

/* A handler that says one length and writes another cannot confuse the client. */
static void test_wrong_length(void **state)
{
    struct peer *longer = client(0), *shorter = client(0);

    (void)state;
    log_setup(NULL, LOG_EMERG);
    head_init(&no_lines, NULL, 0);
    peer_send(longer, GET);
    UNTIL(h.stream);
    assert_false(stream_respond(h.stream, 200, &no_lines, 4));
    stream_write(h.stream, STR("abc"), false, NULL);
    stream_write(h.stream, STR("defgh"), false, NULL);
    stream_write(h.stream, STR("i"), true, NULL);
    h.stream = NULL;
    UNTIL(longer->eof);
    assert_true(peer_has(longer, "\r\n\r\nabcd"));
    assert_false(peer_has(longer, "abcde"));
    peer_send(shorter, GET);
    UNTIL(h.stream);
    assert_false(stream_respond(h.stream, 200, &no_lines, 4));
    stream_write(h.stream, STR("abc"), true, NULL);
    h.stream = NULL;
    UNTIL(shorter->reset);
}

static void test_close_all(void **state)
{
    struct peer *idle = client(0), *head = client(0), *busy = client(0), *linger = client(0);

    (void)state;
    peer_send(linger, "BAD\r\n\r\n");
    UNTIL(peer_has(linger, "400"));
    peer_send(head, "GET");
    peer_send(busy, GET);
    UNTIL(h.requests == 1);
    server_close(h.server);
    assert_int_equal(h.aborts, 1);
    assert_int_equal(h.why, REASON_DRAIN);
    assert_true(alone());
    UNTIL(peer_ended(idle) && peer_ended(head) && peer_ended(busy));
}

static void test_drain(void **state)
{
    struct peer *idle = client(0), *quick = client(0), *busy = client(0), *waiting;
    uint16_t port = port_of(h.server->listeners->io.fd);

    (void)state;
    server_on_empty(h.server, on_empty);
    peer_send(busy, GET);
    UNTIL(h.requests == 1);
    waiting = peer_connect(port, 0); /* not accepted yet */
    peer_send(waiting, "GET /waiting HTTP/1.1\r\nHost: h\r\n\r\n");
    world.t->draining = true;
    server_drain(h.server);
    assert_int_equal(h.empties, 0);
    answer_text("last");
    UNTIL(busy->eof);
    assert_true(peer_has(busy, "Connection: close\r\n\r\nlast"));
    UNTIL(h.requests == 2);
    assert_string_equal(h.target, "/waiting");
    answer_text("w");
    /* A request that was on its way when the drain began. */
    peer_send(quick, GET);
    UNTIL(h.requests == 3);
    answer_text("q");
    UNTIL(waiting->eof && quick->eof);
    assert_true(peer_has(quick, "Connection: close\r\n\r\nq"));
    int64_t began = now();
    UNTIL(idle->eof);
    assert_true(now() - began < 1000);
    peer_close(busy);
    peer_close(waiting);
    peer_close(quick);
    UNTIL(alone());
    UNTIL(h.empties == 1);
    assert_true(server_is_empty(h.server));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct addr to = addr_here(port);
    assert_int_equal(connect(fd, &to.sa, sizeof(to.in)), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
}

/* A client whose handshake is not over on our side when the drain begins (its last packet was lost)
 * believes to be connected, and is served; one that comes later is not let in. */
static void test_drain_within_handshake(void **state)
{
    struct sock_filter lose[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, TH_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {.len = 4, .filter = lose};
    int listener = h.server->listeners->io.fd;
    struct addr to = addr_here(port_of(listener));

    (void)state;
    server_on_empty(h.server, on_empty);
    h.at_once = "served";
    assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)),
                     0);
    struct peer *p = peer_connect(port_of(listener), 0);
    peer_send(p, GET);
    STAYS(server_connections(h.server) == 0, 3);
    world.t->draining = true;
    server_drain(h.server); /* with a filter in the place of ours */
    int late = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(late, &to.sa, sizeof(to.in)), -1);
    UNTIL(p->eof || p->reset);
    assert_true(peer_has(p, "Connection: close\r\n\r\nserved"));
    peer_close(p);
    UNTIL(h.empties == 1);
    assert_int_equal(h.requests, 1);
    close(late);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_keep_alive),
        TEST(test_bytewise),
        TEST(test_pipelined),
        TEST(test_pipelined_at_once),
        TEST(test_old_client),
        TEST(test_no_body),
        TEST(test_stream_and_interim),
        TEST(test_requests_limit),
        TEST(test_refused),
        TEST(test_refused_later),
        TEST(test_head_cut),
        TEST(test_body_limit),
        TEST(test_pause),
        TEST(test_expect),
        TEST(test_answer_to_unread_body),
        TEST(test_head_timeout),
        TEST(test_idle_timeout),
        TEST(test_body_timeout),
        TEST(test_send_timeout),
        TEST(test_send_timeout_while_uploading),
        TEST(test_slow_reader),
        TEST(test_drained),
        TEST(test_pipelined_unread),
        TEST(test_client_leaves),
        TEST(test_half_closed),
        TEST(test_idle_with_queue),
        TEST(test_fail),
        TEST(test_wrong_length),
        TEST(test_close_all),
        TEST(test_drain),
        TEST(test_drain_within_handshake),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
