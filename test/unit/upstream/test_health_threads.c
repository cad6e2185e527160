/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that report on one peer at the same time: no report is lost, and whether the peer may be
 * chosen is what its state says when all are done. */
#include "upstream/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/hash.h"

enum { THREADS = 4, ROUNDS = 20000 };

static struct {
    struct peer *peer;
    struct check_rules rules;
} world;

static void *flap(void *arg)
{
    bool good = arg != NULL;

    for (int i = 0; i < ROUNDS; i++, good = !good) {
        if (good)
            health_connected(world.peer, &world.rules, HEALTH_PROBE, i);
        else
            health_failed(world.peer, &world.rules, HEALTH_REQUEST, REASON_CONNECT_FAILED, "", i);
    }
    return NULL;
}

static void *count(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10; i++)
        health_failed(world.peer, &world.rules, HEALTH_REQUEST, REASON_READ_TIMEOUT, "", i);
    return NULL;
}

static void run(void *(*work)(void *arg))
{
    pthread_t ids[THREADS];

    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, work, i % 2 ? &world : NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(ids[i], NULL);
}

static void test_agreement(void **state)
{
    (void)state;
    world.rules = (struct check_rules){.successes = 1, .tcp_failures = 1};
    for (int i = 0; i < 5; i++) {
        run(flap);
        assert_int_equal(peer_is_down(world.peer), health_is_down(health_of(world.peer).state));
    }
}

static void test_nothing_lost(void **state)
{
    (void)state;
    health_end(world.peer, 0);
    health_begin(world.peer);
    world.rules = (struct check_rules){.successes = 1, .timeouts = 254};
    run(count);
    assert_int_equal(health_of(world.peer).counts[HEALTH_TIMEOUT], THREADS * 10);
    assert_int_equal(health_of(world.peer).state, HEALTH_MOSTLY_HEALTHY);
}

static void quiet(enum log_level level, struct str line)
{
    (void)level;
    (void)line;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agreement),
        cmocka_unit_test(test_nothing_lost),
    };
    struct addr a = {.in = {.sin_family = AF_INET}};

    hash_setup();
    log_setup(quiet, LOG_EMERG);
    struct peers *peers = peers_new();
    struct peer_set *set = peer_set_get(peers, STR("/upstreams/1"));
    world.peer = peer_get(peers, set, STR("a"), &a, 1);
    health_begin(world.peer);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    peer_put(peers, world.peer);
    peer_set_put(peers, set);
    peers_free(peers);
    return failed;
}
