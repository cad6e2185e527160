/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that count at once: of all that ask, exactly as many pass as may, in each window and for
 * each key, also where a key is new to all of them. Meant for the thread sanitizer too. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "plugin/limit_table.h"

enum { THREADS = 6, KEYS = 40, ROUNDS = 25, LIMIT = 50, ASKED = 30, WINDOW = 1000 };

static struct limit_table *table;
static pthread_barrier_t gate;
static atomic_uint passed[ROUNDS][KEYS];
static bool sliding;

/* Bits as a hash gives them: a multiplier with good lower and upper bits (splitmix64). */
static uint64_t mixed(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static bool ask(uint64_t key, int64_t now)
{
    if (sliding)
        return limit_table_add(table, key, now, WINDOW, 1, LIMIT).added;
    return limit_table_add(table, key, now, WINDOW, 1, UINT32_MAX).count <= LIMIT;
}

static void *asker(void *arg)
{
    unsigned self = (unsigned)(uintptr_t)arg;

    for (unsigned round = 0; round < ROUNDS; round++) {
        pthread_barrier_wait(&gate);
        for (unsigned i = 0; i < KEYS * ASKED; i++) {
            unsigned k = (i / 2 + self) % KEYS;
            if (ask(mixed(k), 1 + round * (WINDOW + 20)))
                atomic_fetch_add(&passed[round][k], 1);
        }
    }
    return NULL;
}

static void run(void *(*body)(void *))
{
    pthread_t threads[THREADS];

    pthread_barrier_init(&gate, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, body, (void *)(uintptr_t)i);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&gate);
}

static void exact(bool as_sliding)
{
    table = limit_table_new(1024);
    sliding = as_sliding;
    for (unsigned r = 0; r < ROUNDS; r++)
        for (unsigned k = 0; k < KEYS; k++)
            atomic_store(&passed[r][k], 0);
    run(asker);
    for (unsigned r = 0; r < ROUNDS; r++)
        for (unsigned k = 0; k < KEYS; k++)
            assert_int_equal(atomic_load(&passed[r][k]), LIMIT);
    limit_table_free(table);
}

static void fixed_windows_are_exact(void **state)
{
    (void)state;
    assert_true(THREADS * ASKED > 2 * LIMIT);
    exact(false);
}

static void counting_up_to_a_bound_is_exact(void **state)
{
    (void)state;
    exact(true);
}

/* New keys all the time: a key that all threads put in at once is one counter. */
enum { NEW_KEYS = 4000 };

static atomic_uint firsts[NEW_KEYS];

static void *newcomer(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < NEW_KEYS; i++) {
        if (i % 16 == 0)
            pthread_barrier_wait(&gate);
        if (limit_table_add(table, mixed(1000 + i), 50, 100000, 1, UINT32_MAX).fresh)
            atomic_fetch_add(&firsts[i], 1);
    }
    return NULL;
}

static void a_key_is_put_in_once(void **state)
{
    (void)state;
    table = limit_table_new(65536);
    run(newcomer);
    for (unsigned i = 0; i < NEW_KEYS; i++) {
        assert_int_equal(limit_table_get(table, mixed(1000 + i), 60), THREADS);
        assert_int_equal(atomic_load(&firsts[i]), 1);
    }
    limit_table_free(table);
}

/* A table that is far too small: counts are lost, but every answer is one that could be. */
static atomic_uint odd;

static void *crowd(void *arg)
{
    unsigned self = (unsigned)(uintptr_t)arg;

    pthread_barrier_wait(&gate);
    for (unsigned i = 0; i < 40000; i++) {
        struct limit_tally r = limit_table_add(table, mixed((i * 7 + self) % 300), 50 + i / 100,
                                               100, 1, UINT32_MAX);
        if (!r.added || r.count < 1 || r.count > THREADS * 40000)
            atomic_fetch_add(&odd, 1);
    }
    return NULL;
}

static void too_many_keys_do_no_harm(void **state)
{
    (void)state;
    table = limit_table_new(64);
    run(crowd);
    assert_int_equal(atomic_load(&odd), 0);
    limit_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_windows_are_exact),
        cmocka_unit_test(counting_up_to_a_bound_is_exact),
        cmocka_unit_test(a_key_is_put_in_once),
        cmocka_unit_test(too_many_keys_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
