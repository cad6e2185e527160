/* SPDX-License-Identifier: Apache-2.0 */
/* The table of peers: one peer for one name, what is known stays while it is held and goes
 * afterwards, and threads that hold, count and let go at the same time. */
#include "upstream/peers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>

static struct addr address(unsigned last, uint16_t port)
{
    struct addr a;

    memset(&a, 0, sizeof(a));
    a.in.sin_family = AF_INET;
    a.in.sin_port = htons(port);
    a.in.sin_addr.s_addr = htonl(0x0a000000 + last);
    return a;
}

static void test_identity(void **state)
{
    struct peers *p = peers_new();
    struct peer_set *one = peer_set_get(p, STR("/upstreams/1"));
    struct peer_set *two = peer_set_get(p, STR("/upstreams/2"));
    struct addr a = address(1, 80), b = address(1, 81), c = address(2, 80);
    struct peer *peer = peer_get(p, one, STR("a.test"), &a, 5);
    struct peer *others[] = {
        peer_get(p, one, STR("a.test"), &b, 5),
        peer_get(p, one, STR("a.test"), &c, 5),
        peer_get(p, one, STR("b.test"), &a, 5),
        peer_get(p, two, STR("a.test"), &a, 5),
    };

    (void)state;
    assert_ptr_equal(peer_set_get(p, STR("/upstreams/1")), one);
    assert_ptr_equal(peer_get(p, one, STR("a.test"), &a, 5), peer);
    assert_true(str_eq(one->key, STR("/upstreams/1")) && str_eq(peer->host, STR("a.test")));
    for (size_t i = 0; i < 4; i++) {
        assert_ptr_not_equal(others[i], peer);
        peer_put(p, others[i]);
    }
    peer_put(p, peer);
    peer_put(p, peer);
    peer_set_put(p, one);
    peer_set_put(p, one);
    peer_set_put(p, two);
    peers_free(p); /* asserts that nothing is left */
}

static void test_state_lives_while_held(void **state)
{
    struct peers *p = peers_new();
    struct peer_set *set = peer_set_get(p, STR("/upstreams/1"));
    struct addr a = address(1, 80);
    struct peer *peer = peer_get(p, set, STR("a"), &a, 5);

    (void)state;
    assert_true(peer_set_down(peer, true, 100));
    assert_false(peer_set_down(peer, true, 200));
    assert_int_equal(atomic_load(&set->changes), 1);
    peer_begin(peer);
    peer_begin(peer);
    peer_put(p, peer);
    peer_set_put(p, set);
    /* Only the requests hold it now, and it holds its set. */
    set = peer_set_get(p, STR("/upstreams/1"));
    assert_ptr_equal(peer_get(p, set, STR("a"), &a, 5), peer);
    assert_true(peer_is_down(peer));
    assert_int_equal(peer_active(peer), 2);
    peer_end(p, peer);
    assert_int_equal(peer_active(peer), 1);
    assert_true(peer_set_down(peer, false, 300));
    assert_int_equal(atomic_load(&peer->serves_ms), 300);
    assert_int_equal(atomic_load(&set->changes), 2);
    peer_set_down(peer, true, 400);
    peer_put(p, peer);
    peer_end(p, peer);
    /* It is gone, and begins anew. */
    peer = peer_get(p, set, STR("a"), &a, 5);
    assert_false(peer_is_down(peer));
    assert_int_equal(atomic_load(&peer->serves_ms), 0);
    peer_put(p, peer);
    peer_set_put(p, set);
    peers_free(p);
}

static void test_many(void **state)
{
    enum { N = 5000 };
    static struct peer *peers[N];
    struct peers *p = peers_new();
    struct peer_set *set = peer_set_get(p, STR("/upstreams/1"));

    (void)state;
    for (unsigned i = 0; i < N; i++) {
        struct addr a = address(i, 80);
        peers[i] = peer_get(p, set, STR("10.0.0.0"), &a, 5);
    }
    for (unsigned i = 0; i < N; i++) {
        struct addr a = address(i, 80);
        assert_ptr_equal(peer_get(p, set, STR("10.0.0.0"), &a, 5), peers[i]);
    }
    for (unsigned i = 0; i < N; i++) {
        peer_put(p, peers[i]);
        peer_put(p, peers[i]);
    }
    peer_set_put(p, set);
    peers_free(p);
}

/* ---- Threads ---- */

enum { THREADS = 4, ROUNDS = 20000, PEERS = 3 };

static void *storm(void *arg)
{
    struct peers *p = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct addr a = address(i % PEERS, 80);
        struct peer_set *set = peer_set_get(p, STR("/upstreams/1"));
        struct peer *peer = peer_get(p, set, STR("a"), &a, 5);
        peer_set_put(p, set);
        peer_begin(peer);
        if (i % 7 == 0)
            peer_set_down(peer, i % 2, i);
        peer_begin(peer);
        peer_put(p, peer);
        assert_true(peer_active(peer) >= 2);
        peer_end(p, peer);
        peer_end(p, peer);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct peers *p = peers_new();
    struct peer_set *set = peer_set_get(p, STR("/upstreams/1"));
    struct addr a = address(0, 80);
    struct peer *held = peer_get(p, set, STR("a"), &a, 5);
    pthread_t threads[THREADS];

    (void)state;
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, storm, p), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(peer_active(held), 0);
    peer_put(p, held);
    peer_set_put(p, set);
    peers_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_state_lives_while_held),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
