/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges whose plugins wait in the header filter, and the frames of a consumer's plugins. */
#include "exchange_fixture.h"

/* ---- late: waits in its header filter, then does what its configuration says ---- */

struct late_conf {
    int64_t ms;
    bool reply;
};

struct late_frame {
    bool slept;
};

static struct {
    unsigned waiting, calls, logs;
} late_seen;

static enum verdict late_header_filter(struct exchange *ex, const void *conf, void *frame)
{
    const struct late_conf *c = conf;
    struct late_frame *f = frame;

    late_seen.calls++;
    if (!f->slept) {
        f->slept = true;
        late_seen.waiting++;
        sleep_start(ex, (unsigned)c->ms);
        return WAIT;
    }
    late_seen.waiting--;
    enum verdict v = NEXT;
    if (c->reply)
        v = reply_text(ex, 418, STR("text/plain"), STR("instead"));
    response_header_set(ex, STR("Late"), STR("yes"));
    return v;
}

static void late_log(struct exchange *ex, const void *conf, void *frame)
{
    (void)ex;
    (void)conf;
    (void)frame;
    late_seen.logs++;
}

static const struct field late_rows[] = {
    {"ms", FIELD_INT, .at = offsetof(struct late_conf, ms), .def = "10"},
    {"reply", FIELD_BOOL, .at = offsetof(struct late_conf, reply), .def = "false"},
    {0},
};
static const struct fields late_fields = {late_rows, .size = sizeof(struct late_conf)};
static const struct plugin late = {
    .abi = PLUGIN_ABI,
    .name = "late",
    .priority = 100,
    .conf = &late_fields,
    .frame_size = sizeof(struct late_frame),
    .header_filter = late_header_filter,
    .log = late_log,
};

/* ---- auth, and three plugins that write their configuration's mark all over their frames ---- */

struct auth_conf {
    struct str key;
};

static enum verdict auth_rewrite(struct exchange *ex, const void *conf, void *frame)
{
    const void *found;

    (void)conf;
    (void)frame;
    const struct consumer *c = consumer_find(ex, "auth", request_header(ex, STR("key")), &found);
    if (!c)
        return reply_status(ex, 401);
    consumer_attach(ex, c);
    return NEXT;
}

static const struct field auth_rows[] = {
    {"key", FIELD_STR, .at = offsetof(struct auth_conf, key), .def = "\"\""},
    {0},
};
static const struct fields auth_fields = {auth_rows, .size = sizeof(struct auth_conf)};
static const struct plugin auth = {
    .abi = PLUGIN_ABI,
    .name = "auth",
    .priority = 2000,
    .auth = true,
    .conf = &auth_fields,
    .consumer_key = "key",
    .rewrite = auth_rewrite,
};

enum { MARKS = 40 };

struct mark_conf {
    int64_t mark;
};

static char marked[512]; /* what each phase saw, in order */

static void note(char phase, char mark)
{
    size_t n = strlen(marked);

    snprintf(marked + n, sizeof(marked) - n, "%c%c ", phase, mark);
}

static void frame_is(const unsigned char *frame, unsigned char mark)
{
    for (unsigned i = 0; i < MARKS; i++)
        assert_int_equal(frame[i], mark);
}

/* The first phase finds zeroes, each later one what the first has written. */
static enum verdict mark_first(char phase, const void *conf, void *frame)
{
    char mark = (char)((const struct mark_conf *)conf)->mark;

    frame_is(frame, 0);
    memset(frame, mark, MARKS);
    note(phase, mark);
    return NEXT;
}

static enum verdict mark_later(char phase, const void *conf, void *frame)
{
    char mark = (char)((const struct mark_conf *)conf)->mark;

    frame_is(frame, (unsigned char)mark);
    note(phase, mark);
    return NEXT;
}

static enum verdict mark_rewrite(struct exchange *ex, const void *conf, void *frame)
{
    (void)ex;
    return mark_first('r', conf, frame);
}

static enum verdict mark_access(struct exchange *ex, const void *conf, void *frame)
{
    (void)ex;
    return mark_later('a', conf, frame);
}

static enum verdict mark_header(struct exchange *ex, const void *conf, void *frame)
{
    (void)ex;
    return mark_later('h', conf, frame);
}

static void mark_log(struct exchange *ex, const void *conf, void *frame)
{
    (void)ex;
    mark_later('l', conf, frame);
}

static const struct field mark_rows[] = {
    {"mark", FIELD_INT, .flags = FIELD_REQUIRED, .at = offsetof(struct mark_conf, mark)},
    {0},
};
static const struct fields mark_fields = {mark_rows, .size = sizeof(struct mark_conf)};

#define MARKER(id, order)             \
    static const struct plugin id = { \
        .abi = PLUGIN_ABI,            \
        .name = #id,                  \
        .priority = (order),          \
        .conf = &mark_fields,         \
        .frame_size = MARKS,          \
        .rewrite = mark_rewrite,      \
        .access = mark_access,        \
        .header_filter = mark_header, \
        .log = mark_log,              \
    }
MARKER(one, 30);
MARKER(two, 20);
MARKER(three, 10);

static const struct plugin *const plugins[] = {&auth, &late, &one, &two, &three, NULL};

static int setup(void **state)
{
    (void)state;
    memset(&late_seen, 0, sizeof(late_seen));
    marked[0] = 0;
    exchange_setup(plugins);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    exchange_teardown();
    return 0;
}

#define UPSTREAM "\"upstream\":{\"type\":\"roundrobin\",\"nodes\":{\"@\":1}}"
#define GET      "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK       "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"

static void late_route(const char *conf)
{
    char text[256];

    snprintf(text, sizeof(text), "{\"uri\":\"/a\",\"plugins\":{\"late\":%s}," UPSTREAM "}", conf);
    put(KIND_ROUTE, "1", text);
    exchange_start();
}

static void ends(struct peer *p, const char *end)
{
    UNTIL(peer_has(p, end));
    UNTIL(gw.worker->exchanges == 0);
    assert_int_equal(late_seen.waiting, 0);
}

/* ---- A header filter that waits ---- */

/* The body that came with the head waits too, and so does what comes meanwhile. */
static void test_wait_with_body(void **state)
{
    (void)state;
    late_route("{\"ms\":30}");
    struct peer *c = client();
    for (unsigned i = 1; i <= 2; i++) {
        peer_send(c, GET);
        struct peer *u = i == 1 ? upstream() : &world.peers[1];
        UNTIL(peer_has(u, "\r\n\r\n"));
        peer_forget(u);
        peer_send(u, OK "bo");
        UNTIL(late_seen.waiting);
        peer_send(u, "dy");
        STAYS(c->n == 0 && late_seen.waiting, 10);
        ends(c, "\r\n\r\nbody");
        assert_true(peer_has(c, "Late: yes"));
        assert_int_equal(late_seen.calls, 2 * i);
        assert_int_equal(late_seen.logs, i);
        peer_forget(c); /* the second time on the same connections */
    }
    assert_int_equal(world.npeers, 2);
}

static void test_wait_without_body(void **state)
{
    (void)state;
    late_route("{}");
    struct peer *c = client();
    peer_send(c, "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n");
    struct peer *u = upstream();
    peer_send(u, OK);
    ends(c, "\r\n\r\n");
    assert_true(peer_has(c, "Late: yes") && peer_has(c, "Content-Length: 4"));
}

/* The reply takes the response's place; what is left of that goes to nobody. */
static void test_wait_then_reply(void **state)
{
    (void)state;
    late_route("{\"reply\":true}");
    struct peer *c = client();
    peer_send(c, GET);
    struct peer *u = upstream();
    peer_send(u, OK "bo");
    ends(c, "instead");
    assert_true(peer_has(c, "HTTP/1.1 418 ") && peer_has(c, "Late: yes"));
    UNTIL(peer_ended(u));
    peer_forget(c);
    peer_send(c, GET);
    u = upstream();
    peer_send(u, OK "body");
    ends(c, "instead");
}

/* A reply of our own passes the filter as well. */
static void test_wait_of_own_reply(void **state)
{
    (void)state;
    put(KIND_GLOBAL_RULE, "1", "{\"plugins\":{\"late\":{}}}");
    exchange_start();
    struct peer *c = client();
    peer_send(c, "GET /none HTTP/1.1\r\nHost: h\r\n\r\n");
    ends(c, "404 Route Not Found");
    assert_true(peer_has(c, "Late: yes"));
}

/* The client leaves: the wait is called off, and the exchange is logged once. */
static void test_client_leaves(void **state)
{
    (void)state;
    late_route("{\"ms\":100000}");
    struct peer *c = client();
    peer_send(c, GET);
    struct peer *u = upstream();
    peer_send(u, OK "body");
    UNTIL(late_seen.waiting);
    peer_reset(c);
    UNTIL(gw.worker->exchanges == 0);
    assert_int_equal(late_seen.logs, 1);
    assert_int_equal(late_seen.calls, 1);
    UNTIL(peer_ended(u));
}

/* The upstream resets while its head is being filtered: the client gets a whole answer, or sees
 * that it is not whole. */
static void test_upstream_resets(void **state)
{
    (void)state;
    late_route("{\"ms\":30}");
    struct peer *c = client();
    peer_send(c, GET);
    struct peer *u = upstream();
    peer_send(u, OK "bo");
    UNTIL(late_seen.waiting);
    peer_reset(u);
    UNTIL(gw.worker->exchanges == 0);
    assert_int_equal(late_seen.logs, 1);
    UNTIL(peer_ended(c) || peer_has(c, "</html>"));
    assert_true(peer_has(c, "HTTP/1.1 502 ") || (peer_has(c, "\r\n\r\nbo") && peer_ended(c)));
}

/* ---- Frames ---- */

static void consumer(const char *consumer_plugins)
{
    char text[512];

    snprintf(text, sizeof(text), "{\"username\":\"jack\",\"plugins\":{\"auth\":{\"key\":\"k\"}%s}}",
             consumer_plugins);
    put(KIND_CONSUMER, "jack", text);
}

static void frames(const char *route_plugins, const char *expect)
{
    char text[512];

    snprintf(text, sizeof(text), "{\"uri\":\"/a\",\"plugins\":{\"auth\":{}%s}," UPSTREAM "}",
             route_plugins);
    put(KIND_ROUTE, "1", text);
    exchange_start();
    struct peer *c = client();
    peer_send(c, "GET /a HTTP/1.1\r\nHost: h\r\nkey: k\r\n\r\n");
    struct peer *u = upstream();
    peer_send(u, OK "body");
    ends(c, "body");
    assert_string_equal(marked, expect);
}

/* The route's chain has no frames at all: what the consumer brings has the first. */
static void test_frames_of_consumer_alone(void **state)
{
    (void)state;
    consumer(",\"one\":{\"mark\":49},\"two\":{\"mark\":50}");
    frames("", "r1 r2 a1 a2 h1 h2 l1 l2 ");
}

static void test_frames_of_both(void **state)
{
    (void)state;
    consumer(",\"three\":{\"mark\":51},\"one\":{\"mark\":49}");
    frames(",\"two\":{\"mark\":50}", "r2 r1 r3 a1 a2 a3 h1 h2 h3 l1 l2 l3 ");
}

static void test_no_frames(void **state)
{
    (void)state;
    consumer("");
    frames("", "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_wait_with_body),
        TEST(test_wait_without_body),
        TEST(test_wait_then_reply),
        TEST(test_wait_of_own_reply),
        TEST(test_client_leaves),
        TEST(test_upstream_resets),
        TEST(test_frames_of_consumer_alone),
        TEST(test_frames_of_both),
        TEST(test_no_frames),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
