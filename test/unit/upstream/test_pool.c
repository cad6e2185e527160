/* SPDX-License-Identifier: Apache-2.0 */
/* Pools: which connection serves next, how many are kept and how long, and which pools are. */
#include "upstream/pool.c" /* NOLINT: for its counts */

#include "../conn/conn_fixture.h"

enum { LEGS = 12 };

struct test_leg {
    struct leg leg;
    unsigned ready, lasts, fails;
};

static struct {
    struct pools *pools;
    int listener;
    struct test_leg legs[LEGS];
    struct pool_limits limits;
} f;

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
    (void)l;
    (void)res;
}

static void leg_body(struct leg *l, struct str data, bool last)
{
    (void)data;
    mine(l)->lasts += last;
}

static void leg_drained(struct leg *l)
{
    (void)l;
}

static void leg_fail(struct leg *l, enum reason why, const char *detail)
{
    (void)why;
    (void)detail;
    mine(l)->fails++;
}

static const struct leg_handler legs = {leg_ready, leg_response, leg_body, leg_drained, leg_fail};

static int setup(void **state)
{
    (void)state;
    fixture_setup();
    memset(&f, 0, sizeof(f));
    f.pools = pools_new(world.t);
    f.listener = listen_here(32, 0);
    f.limits = (struct pool_limits){.size = 4, .idle_ms = 5000};
    for (int i = 0; i < LEGS; i++)
        f.legs[i].leg.handler = &legs;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < LEGS; i++)
        if (f.legs[i].leg.client)
            client_abandon(f.legs[i].leg.client, REASON_DRAIN);
    pools_free(f.pools);
    close(f.listener);
    fixture_teardown();
    return 0;
}

static struct pool *pool_here(void)
{
    struct addr a = addr_here(port_of(f.listener));

    return pools_get(f.pools, &a, NULL, STR_NONE, NULL);
}

static enum pool_result take(unsigned leg, bool fresh, bool careful)
{
    return pool_take(pool_here(), &f.legs[leg].leg, &f.limits, 5000, fresh, careful);
}

/* A new connection for the leg; returns its other end. */
static struct peer *take_new(unsigned leg, bool fresh)
{
    f.legs[leg] = (struct test_leg){.leg.handler = &legs};
    assert_int_equal(take(leg, fresh, false), POOL_WAIT);
    struct peer *p = peer_accept(f.listener);
    UNTIL(f.legs[leg].ready);
    return p;
}

static void send_get(unsigned leg)
{
    struct h1_out_body none = {.framing = H1_NO_BODY};
    struct head head;

    head_init(&head, NULL, 0);
    client_send_head(f.legs[leg].leg.client, STR("GET"), STR("/"), &head, &none, 5000, 5000);
    step();
}

/* One request and its answer, with these header lines. */
static void serve(unsigned leg, struct peer *p, const char *lines)
{
    char text[128];

    snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n%sContent-Length: 2\r\n\r\nok", lines);
    send_get(leg);
    peer_send(p, text);
    UNTIL(f.legs[leg].lasts);
}

/* A kept connection is taken by a leg and serves it. */
static void reuse(unsigned leg, bool careful)
{
    f.legs[leg] = (struct test_leg){.leg.handler = &legs};
    assert_int_equal(take(leg, false, careful), POOL_READY);
    assert_true(client_reused(f.legs[leg].leg.client) ||
                client_requests(f.legs[leg].leg.client) == 1);
}

static void test_last_in_first_out(void **state)
{
    struct peer *a = take_new(0, false), *b = take_new(1, false), *c = take_new(2, false);

    (void)state;
    serve(0, a, "");
    serve(1, b, "");
    serve(2, c, "");
    assert_int_equal(pool_idle(pool_here()), 3);
    reuse(0, false);
    reuse(1, false);
    peer_forget(b);
    peer_forget(c);
    send_get(0);
    UNTIL(peer_has(c, "GET / "));
    send_get(1);
    UNTIL(peer_has(b, "GET / "));
    assert_int_equal(pool_idle(pool_here()), 1);
    assert_int_equal(world.t->count.upstream_opened, 3);
    assert_int_equal(world.t->count.upstream_reused, 2);
}

static void test_size(void **state)
{
    struct peer *p[6];

    (void)state;
    for (unsigned i = 0; i < 6; i++)
        p[i] = take_new(i, false);
    for (unsigned i = 0; i < 6; i++)
        serve(i, p[i], "");
    /* The coldest two made room. */
    assert_int_equal(pool_idle(pool_here()), 4);
    UNTIL(p[0]->eof && p[1]->eof);
    STAYS(!p[2]->eof && !p[5]->eof, 3);
    /* A smaller limit is honoured when the next one comes back. */
    f.limits.size = 2;
    reuse(0, false);
    serve(0, p[5], "");
    assert_int_equal(pool_idle(pool_here()), 2);
    f.limits.size = 0;
    reuse(0, false);
    serve(0, p[5], "");
    UNTIL(p[5]->eof);
    assert_int_equal(pool_idle(pool_here()), 1); /* the one that nobody touched */
}

static void test_requests(void **state)
{
    struct peer *p = take_new(0, false);

    (void)state;
    f.limits.requests = 3;
    serve(0, p, "");
    for (int i = 2; i <= 3; i++) {
        reuse(0, false);
        serve(0, p, "");
    }
    UNTIL(p->eof);
    assert_int_equal(pool_idle(pool_here()), 0);
}

static void test_idle_time(void **state)
{
    struct peer *p, *hinted, *brief;
    int64_t began;

    (void)state;
    f.limits.idle_ms = 40;
    p = take_new(0, false);
    serve(0, p, "");
    began = now();
    UNTIL(p->eof);
    assert_in_range(now() - began, 30, 1000);
    assert_int_equal(pool_idle(pool_here()), 0);
    /* The server's own limit counts when it is the smaller one: half a second before its end. */
    f.limits.idle_ms = 60000;
    hinted = take_new(0, false);
    serve(0, hinted, "Keep-Alive: timeout=2\r\n");
    began = now();
    brief = take_new(1, true);
    serve(1, brief, "Keep-Alive: timeout=1\r\n");
    UNTIL(brief->eof);
    assert_in_range(now() - began, 480, 1000);
    UNTIL(hinted->eof);
    assert_in_range(now() - began, 1450, 1900);
}

static void test_closed_by_the_server(void **state)
{
    struct peer *a = take_new(0, false), *b = take_new(1, false), *c = take_new(2, false);

    (void)state;
    serve(0, a, "");
    serve(1, b, "");
    serve(2, c, "");
    /* Noticed at once. */
    peer_close(b);
    UNTIL(pool_idle(pool_here()) == 2);
    /* Not noticed yet: only who is careful passes it by. */
    peer_close(c);
    peer_forget(a);
    reuse(0, true);
    assert_int_equal(pool_idle(pool_here()), 0);
    send_get(0);
    UNTIL(peer_has(a, "GET / "));
    assert_int_equal(f.legs[0].fails, 0);
}

static void test_careful_finds_none(void **state)
{
    struct peer *a = take_new(0, false);

    (void)state;
    serve(0, a, "");
    peer_send(a, "surplus"); /* silent it is not */
    f.legs[1] = (struct test_leg){.leg.handler = &legs};
    assert_int_equal(take(1, false, true), POOL_WAIT);
    peer_accept(f.listener);
    UNTIL(f.legs[1].ready && peer_ended(a));
}

static void test_fresh(void **state)
{
    struct peer *a = take_new(0, false);

    (void)state;
    serve(0, a, "");
    take_new(1, true);
    assert_int_equal(pool_idle(pool_here()), 1);
}

static void test_draining(void **state)
{
    struct peer *a = take_new(0, false);

    (void)state;
    world.t->draining = true;
    serve(0, a, "");
    UNTIL(a->eof);
    assert_int_equal(pool_idle(pool_here()), 0);
}

/* ---- The table of pools
 * ------------------------------------------------------------------------ */

static void test_identity(void **state)
{
    SSL_CTX *one = SSL_CTX_new(TLS_client_method()), *two = SSL_CTX_new(TLS_client_method());
    struct addr a = addr_here(1000), b = addr_here(1001);
    struct pool *plain = pools_get(f.pools, &a, NULL, STR("x"), NULL);
    struct pool *x = pools_get(f.pools, &a, one, STR("x"), NULL);

    (void)state;
    assert_ptr_equal(pools_get(f.pools, &a, NULL, STR("y"), NULL), plain); /* the name is TLS's */
    assert_ptr_equal(pools_get(f.pools, &a, one, STR("x"), NULL), x);
    assert_ptr_not_equal(plain, x);
    assert_ptr_not_equal(pools_get(f.pools, &a, one, STR("y"), NULL), x);
    assert_ptr_not_equal(pools_get(f.pools, &a, two, STR("x"), NULL), x);
    assert_ptr_not_equal(pools_get(f.pools, &b, NULL, STR_NONE, NULL), plain);
    assert_true(str_eq(pool_server_name(x), STR("x")));
    assert_ptr_equal(pool_tls(x), one);
    assert_true(str_eq(pool_addr_text(x), STR("127.0.0.1:1000")));
    assert_int_equal(pool_addr(x)->in.sin_port, htons(1000));
    SSL_CTX_free(one);
    SSL_CTX_free(two);
}

static struct pool *nth(unsigned i)
{
    struct addr a = addr_here((uint16_t)(i + 1));

    return pools_get(f.pools, &a, NULL, STR_NONE, NULL);
}

/* Names come from clients without end: what nobody needs is forgotten, what is needed is not. */
static void test_unused(void **state)
{
    struct peer *p = take_new(0, false);
    struct pool *used = pool_here(), *held = nth(0);

    (void)state;
    serve(0, p, ""); /* an idle connection is a use */
    pool_hold(held);
    for (unsigned i = 1; i < 5000; i++)
        nth(i);
    assert_in_range(f.pools->n, UNUSED_MAX, UNUSED_MAX + 2);
    assert_ptr_equal(pool_here(), used);
    assert_ptr_equal(nth(0), held);
    reuse(0, false);
    serve(0, p, "");
    struct pool *late = nth(4999);
    assert_int_equal(f.pools->nunused, UNUSED_MAX);
    pool_hold(late);
    assert_int_equal(f.pools->nunused, UNUSED_MAX - 1);
    pool_drop(late);
    pool_drop(held);
    assert_int_equal(f.pools->nunused, UNUSED_MAX);
    for (unsigned i = 0; i < 400; i++) {
        /* Used again and again, it stays. */
        pool_hold(late);
        pool_drop(late);
        nth(10000 + i);
    }
    assert_ptr_equal(nth(4999), late);
    assert_int_equal(pool_idle(pool_here()), 1);
    peer_close(p); /* the last use of it */
    UNTIL(pool_idle(used) == 0);
    for (unsigned i = 0; i < UNUSED_MAX; i++)
        nth(20000 + i);
    assert_int_equal(f.pools->n, UNUSED_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_last_in_first_out),
        TEST(test_size),
        TEST(test_requests),
        TEST(test_idle_time),
        TEST(test_closed_by_the_server),
        TEST(test_careful_finds_none),
        TEST(test_fresh),
        TEST(test_draining),
        TEST(test_identity),
        TEST(test_unused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
