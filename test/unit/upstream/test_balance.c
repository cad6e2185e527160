/* SPDX-License-Identifier: Apache-2.0 */
/* The choosers on lists of endpoints: shares, moves, speed, nodes that are down or have only come.
 */
#include "upstream/balance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "upstream/ewma.h"

enum { NOW = 1000000 };

static struct peers *peers;
static struct peer_set *set;

static int setup(void **state)
{
    (void)state;
    peers = peers_new();
    set = peer_set_get(peers, STR("/upstreams/1"));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    peer_set_put(peers, set);
    peers_free(peers);
    return 0;
}

/* 10.0.0.N, with a peer unless it is chash. */
static void add(struct endpoints *e, unsigned n, int weight, int priority)
{
    struct endpoint *one = &e->list[e->n++];

    memset(one, 0, sizeof(*one));
    one->addr.in.sin_family = AF_INET;
    one->addr.in.sin_port = htons(80);
    one->addr.in.sin_addr.s_addr = htonl(0x0a000000 + n);
    one->node = n;
    one->priority = priority;
    one->full = balance_share(weight, 1);
    one->hash = balance_hash(STR("a"), &one->addr);
    if (e->kind != BALANCE_CHASH)
        one->peer = peer_get(peers, set, STR("a"), &one->addr, NOW);
}

static struct endpoints *list_of(enum balance kind, unsigned n, const int *weights)
{
    const struct upstream u = {.balance = kind};
    struct endpoints *e = balance_new(&u, n);

    for (unsigned i = 0; i < n; i++)
        if (weights[i])
            add(e, i, weights[i], 0);
    balance_sort(e);
    return e;
}

static void drop(struct endpoints *e)
{
    for (unsigned i = 0; i < e->n; i++)
        if (e->list[i].peer)
            peer_put(peers, e->list[i].peer);
    balance_free(e);
}

/* The node that takes it; -1: none is left. */
static int choose(struct endpoints *e, struct tried *tried, uint64_t key, int64_t now_ms)
{
    struct tried fresh = {.key = key};
    struct tier tier;

    balance_look(e, e->kind == BALANCE_CHASH ? NULL : set, now_ms);
    if (!balance_tier(e, tried ? tried : &fresh, &tier))
        return -1;
    return (int)balance_choose(e, tried ? tried : &fresh, tier, now_ms)->node;
}

static void count(struct endpoints *e, unsigned times, int64_t now_ms, unsigned *out)
{
    memset(out, 0, 8 * sizeof(*out));
    for (unsigned i = 0; i < times; i++)
        out[choose(e, NULL, 0, now_ms)]++;
}

static void test_roundrobin(void **state)
{
    struct endpoints *e = list_of(BALANCE_ROUNDROBIN, 3, (const int[]){5, 1, 1});
    static const int want[] = {0, 0, 1, 0, 2, 0, 0};

    (void)state;
    for (unsigned i = 0; i < 14; i++)
        assert_int_equal(choose(e, NULL, 0, NOW), want[i % 7]);
    drop(e);
}

static void test_tiers(void **state)
{
    const struct upstream u = {.balance = BALANCE_LEAST_CONN};
    struct endpoints *e = balance_new(&u, 4);
    struct tried t = {.count = 0};

    (void)state;
    add(e, 1, 1, -1);
    add(e, 2, 1, 5);
    add(e, 3, 1, 0);
    add(e, 4, 1, 5);
    balance_sort(e);
    assert_int_equal(choose(e, &t, 0, NOW) + choose(e, &t, 0, NOW), 6);
    assert_int_equal(choose(e, &t, 0, NOW), 3);
    assert_int_equal(choose(e, &t, 0, NOW), 1);
    assert_int_equal(choose(e, &t, 0, NOW), -1);
    drop(e);
}

static void test_down(void **state)
{
    struct endpoints *e = list_of(BALANCE_ROUNDROBIN, 3, (const int[]){1, 1, 1});
    struct tried t = {.count = 0};
    unsigned n[8];

    (void)state;
    peer_set_down(e->list[1].peer, true, NOW);
    count(e, 30, NOW, n);
    assert_true(n[0] == 15 && n[1] == 0 && n[2] == 15);
    /* Not even for a retry, while another was up when it began. */
    choose(e, &t, 0, NOW);
    choose(e, &t, 0, NOW);
    assert_int_equal(choose(e, &t, 0, NOW), -1);
    /* All down: as if none was. */
    peer_set_down(e->list[0].peer, true, NOW);
    peer_set_down(e->list[2].peer, true, NOW);
    count(e, 30, NOW, n);
    assert_true(n[0] == 10 && n[1] == 10 && n[2] == 10);
    peer_set_down(e->list[1].peer, false, NOW);
    count(e, 30, NOW, n);
    assert_int_equal(n[1], 30);
    drop(e);
}

static void test_least_conn(void **state)
{
    struct endpoints *e = list_of(BALANCE_LEAST_CONN, 3, (const int[]){4, 2, 1});
    unsigned n[8] = {0};

    (void)state;
    for (unsigned i = 0; i < 70; i++) {
        int node = choose(e, NULL, 0, NOW);
        peer_begin(e->list[node].peer);
        n[node]++;
    }
    assert_true(n[0] == 40 && n[1] == 20 && n[2] == 10);
    for (unsigned i = 0; i < 40; i++)
        peer_end(peers, e->list[0].peer);
    assert_int_equal(choose(e, NULL, 0, NOW), 0);
    for (unsigned i = 0; i < 30; i++)
        peer_end(peers, e->list[i < 20 ? 1 : 2].peer);
    drop(e);
}

static void test_equal_ones_take_turns(void **state)
{
    struct endpoints *e = list_of(BALANCE_LEAST_CONN, 3, (const int[]){1, 1, 1});
    unsigned n[8];

    (void)state;
    count(e, 30, NOW, n);
    assert_true(n[0] == 10 && n[1] == 10 && n[2] == 10);
    drop(e);
}

/* ---- ewma ---- */

static void test_ewma_forgets(void **state)
{
    struct endpoints *e = list_of(BALANCE_EWMA, 1, (const int[]){1});
    struct peer *p = e->list[0].peer;

    (void)state;
    assert_true(ewma_score(p, NOW) == 0);
    ewma_add(p, 50000, NOW);
    assert_float_equal(ewma_score(p, NOW), 50000, 1);
    assert_float_equal(ewma_score(p, NOW + 10000), 50000 * 0.36788, 5);
    assert_float_equal(ewma_score(p, NOW - 5), 50000, 1); /* a clock that is behind */
    ewma_add(p, 150000, NOW + 10000);
    assert_float_equal(ewma_score(p, NOW + 10000), 50000 * 0.36788 + 150000 * 0.63212, 10);
    ewma_add(p, 1, NOW + 10000); /* at the same time: no weight yet */
    assert_float_equal(ewma_score(p, NOW + 10000), 50000 * 0.36788 + 150000 * 0.63212, 10);
    drop(e);
}

static void test_ewma(void **state)
{
    struct endpoints *e = list_of(BALANCE_EWMA, 4, (const int[]){1, 1, 1, 9});
    struct tried t = {.count = 0};
    unsigned n[8], seen = 0;

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        ewma_add(e->list[i].peer, 1000 * (i + 1), NOW);
    count(e, 6000, NOW, n);
    /* Of the six pairs the fastest wins three, the slowest none. */
    assert_in_range(n[0], 2700, 3300);
    assert_in_range(n[1], 1700, 2300);
    assert_in_range(n[2], 800, 1200);
    assert_int_equal(n[3], 0);
    for (unsigned i = 0; i < 4; i++)
        seen |= 1u << choose(e, &t, 0, NOW);
    assert_int_equal(seen, 15);
    assert_int_equal(choose(e, &t, 0, NOW), -1);
    drop(e);
}

/* ---- chash ---- */

enum { KEYS = 20000 };

static uint64_t key_of(unsigned i)
{
    return (uint64_t)i * 0x9e3779b97f4a7c15ull;
}

static void test_chash_shares(void **state)
{
    struct endpoints *e = list_of(BALANCE_CHASH, 3, (const int[]){1, 1, 1});
    struct endpoints *w = list_of(BALANCE_CHASH, 3, (const int[]){1, 2, 5});
    unsigned n[3] = {0}, m[3] = {0};

    (void)state;
    for (unsigned i = 0; i < KEYS; i++) {
        n[choose(e, NULL, key_of(i), NOW)]++;
        m[choose(w, NULL, key_of(i), NOW)]++;
    }
    for (unsigned i = 0; i < 3; i++)
        assert_in_range(n[i], KEYS / 3 - 400, KEYS / 3 + 400);
    assert_in_range(m[0], KEYS / 8 - 300, KEYS / 8 + 300);
    assert_in_range(m[1], KEYS / 4 - 400, KEYS / 4 + 400);
    assert_in_range(m[2], KEYS * 5 / 8 - 500, KEYS * 5 / 8 + 500);
    drop(e);
    drop(w);
}

/* From `before` to `after` no key moves but to or from the node. */
static void check_moves(const int *before, const int *after, unsigned n, int node)
{
    struct endpoints *a = list_of(BALANCE_CHASH, n, before);
    struct endpoints *b = list_of(BALANCE_CHASH, n, after);
    unsigned moved = 0;

    for (unsigned i = 0; i < KEYS; i++) {
        int x = choose(a, NULL, key_of(i), NOW), y = choose(b, NULL, key_of(i), NOW);
        moved += x != y;
        assert_true(x == y || x == node || y == node);
    }
    assert_in_range(moved, 1, KEYS / 2);
    drop(a);
    drop(b);
}

static void test_chash_moves(void **state)
{
    (void)state;
    check_moves((const int[]){1, 1, 1, 0}, (const int[]){1, 1, 1, 1}, 4, 3);
    check_moves((const int[]){3, 1, 7, 2}, (const int[]){3, 0, 7, 2}, 4, 1);
    check_moves((const int[]){1, 1, 1, 1}, (const int[]){1, 1, 1, 2}, 4, 3);
    check_moves((const int[]){5, 1, 1, 1}, (const int[]){2, 1, 1, 1}, 4, 0);
}

static void test_chash_next(void **state)
{
    struct endpoints *e = list_of(BALANCE_CHASH, 4, (const int[]){1, 1, 1, 1});
    struct endpoints *less = list_of(BALANCE_CHASH, 4, (const int[]){1, 1, 0, 1});

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        struct tried t = {.key = key_of(i)};
        int first = choose(e, &t, 0, NOW), second = choose(e, &t, 0, NOW);
        assert_int_equal(first, choose(e, NULL, key_of(i), NOW));
        /* Where a key goes when its node is gone is where a retry goes. */
        assert_int_equal(choose(less, NULL, key_of(i), NOW), first == 2 ? second : first);
    }
    drop(e);
    drop(less);
}

/* Written down: a gateway of tomorrow must send the key to where one of today does. */
static void test_chash_is_stable(void **state)
{
    struct endpoints *e = list_of(BALANCE_CHASH, 8, (const int[]){1, 1, 1, 1, 1, 1, 1, 1});
    struct addr v6 = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(443)}};
    char text[17];

    (void)state;
    for (unsigned i = 0; i < 16; i++)
        text[i] = (char)('0' + choose(e, NULL, key_of(i), NOW));
    text[16] = 0;
    assert_string_equal(text, "0515441461176517");
    v6.in6.sin6_addr.s6_addr[15] = 1;
    assert_true(balance_hash(STR("b.test"), &v6) == 0x85d647cd83389a45ull);
    drop(e);
}

/* ---- Slow start ---- */

static void check_ramp(const struct warm_up *w, int64_t passed, unsigned percent)
{
    struct endpoints *e = list_of(BALANCE_ROUNDROBIN, 2, (const int[]){100, 100});

    e->warm_up = w;
    atomic_store(&e->list[1].peer->serves_ms, NOW);
    balance_look(e, set, NOW + passed);
    assert_int_equal(e->list[0].weight, e->list[0].full);
    assert_in_range(e->list[1].weight, (uint64_t)e->list[1].full * percent / 100 - 1,
                    (uint64_t)e->list[1].full * percent / 100 + 1);
    drop(e);
}

static void test_ramp(void **state)
{
    const struct warm_up linear = {
        .window_ms = 300000, .interval_ms = 1000, .min_share = 0.01, .aggression = 1};
    const struct warm_up floor = {
        .window_ms = 300000, .interval_ms = 1000, .min_share = 0.2, .aggression = 1};
    const struct warm_up eager = {
        .window_ms = 100000, .interval_ms = 1000, .min_share = 0.01, .aggression = 2};
    const struct warm_up shy = {
        .window_ms = 100000, .interval_ms = 1000, .min_share = 0.01, .aggression = 0.5};
    const struct warm_up brief = {
        .window_ms = 10000, .interval_ms = 1000, .min_share = 0.01, .aggression = 1};

    (void)state;
    set->started_ms = 0;
    check_ramp(&linear, 0, 1);
    check_ramp(&linear, 30000, 10);
    check_ramp(&linear, 150000, 50);
    check_ramp(&linear, 300000, 100);
    check_ramp(&linear, 3000000, 100);
    check_ramp(&linear, -5000, 1);
    check_ramp(&floor, 1000, 20);
    check_ramp(&eager, 25000, 50);
    check_ramp(&shy, 50000, 25);
    check_ramp(&brief, 0, 10); /* the first second counts from the start */
}

static void test_ramp_is_seen(void **state)
{
    const struct warm_up w = {
        .window_ms = 10000, .interval_ms = 1000, .min_share = 0.01, .aggression = 1};
    struct endpoints *e = list_of(BALANCE_ROUNDROBIN, 2, (const int[]){1, 1});
    unsigned n[8];

    (void)state;
    set->started_ms = 0;
    e->warm_up = &w;
    count(e, 20, NOW, n);
    assert_true(n[0] == 10 && n[1] == 10);
    /* It comes back after a failure: a tenth for a tenth of the window. */
    peer_set_down(e->list[1].peer, true, NOW);
    count(e, 20, NOW + 1000, n);
    assert_int_equal(n[0], 20);
    peer_set_down(e->list[1].peer, false, NOW + 2000);
    count(e, 110, NOW + 2000, n);
    assert_true(n[0] == 100 && n[1] == 10);
    /* Until the interval has passed the weight stays. */
    count(e, 110, NOW + 2999, n);
    assert_true(n[0] == 100 && n[1] == 10);
    count(e, 30, NOW + 7000, n);
    assert_true(n[0] == 20 && n[1] == 10);
    count(e, 20, NOW + 12000, n);
    assert_true(n[0] == 10 && n[1] == 10);
    assert_int_equal(e->ramp_ms, INT64_MAX);
    drop(e);
}

static void test_who_is_new(void **state)
{
    const struct warm_up w = {.window_ms = 100000,
                              .interval_ms = 1000,
                              .min_share = 0.01,
                              .aggression = 1,
                              .grace_ms = 30000};
    struct endpoints *first = list_of(BALANCE_ROUNDROBIN, 3, (const int[]){1, 1, 0});

    (void)state;
    peer_set_settle(set);
    struct endpoints *second = list_of(BALANCE_ROUNDROBIN, 3, (const int[]){1, 1, 1});
    drop(first);
    second->warm_up = &w;
    set->started_ms = NOW - 30000;
    balance_look(second, set, NOW);
    assert_int_equal(second->list[0].weight, second->list[0].full);
    assert_int_equal(second->list[1].weight, second->list[1].full);
    assert_in_range(second->list[2].weight, 1, (uint64_t)second->list[2].full / 50);
    /* Within the grace after the start nobody is new. */
    set->started_ms = NOW - 29999;
    second->looked = false;
    balance_look(second, set, NOW);
    assert_int_equal(second->list[2].weight, second->list[2].full);
    drop(second);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_roundrobin),
        TEST(test_tiers),
        TEST(test_down),
        TEST(test_least_conn),
        TEST(test_equal_ones_take_turns),
        TEST(test_ewma_forgets),
        TEST(test_ewma),
        TEST(test_chash_shares),
        TEST(test_chash_moves),
        TEST(test_chash_next),
        TEST(test_chash_is_stable),
        TEST(test_ramp),
        TEST(test_ramp_is_seen),
        TEST(test_who_is_new),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
