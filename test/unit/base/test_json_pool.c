/* SPDX-License-Identifier: Apache-2.0 */
/* Documents in pools: what goes there, what goes to the heap, and across threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/json_pool.h"

enum { SIZE = 4096 };

#ifdef ARENA_MALLOC
enum { POOLED = 0 };
#else
enum { POOLED = 1 };
#endif

static const char text[] = "{\"a\": [1, 2.5, true, null], \"b\": {\"c\": \"d\"}}";

static json_t *parse(struct json_pool *pool)
{
    json_pool_use(pool);
    json_t *value = json_loads(text, 0, NULL);
    json_pool_use(NULL);
    assert_non_null(value);
    return value;
}

static void test_pieces_of_a_pool(void **state)
{
    struct json_pool pools[2];

    (void)state;
    json_pools_open(pools, 2, SIZE);
    char *start = pools[1].at;
    json_t *value = parse(&pools[1]);
    json_t *beside = parse(NULL);

    assert_int_equal(pools[0].given, 0);
    assert_int_equal(pools[1].given > 0, POOLED);
    assert_int_equal((char *)value >= start && (char *)value < start + SIZE, POOLED);
    assert_true(json_equal(value, beside));
    /* What is added later comes from the heap, and is freed with the rest. */
    json_object_set_new(value, "e", json_string("f"));
    json_decref(value);
    json_decref(beside);
    assert_int_equal(pools[1].given, pools[1].freed);
    json_pool_reset(&pools[1]);
    assert_ptr_equal(pools[1].at, start);
    json_pools_close();
}

static void test_a_full_pool(void **state)
{
    enum { DOCUMENTS = 50 };
    struct json_pool pool;
    json_t *values[DOCUMENTS];

    (void)state;
    json_pools_open(&pool, 1, SIZE);
    for (size_t i = 0; i < DOCUMENTS; i++)
        values[i] = parse(&pool);
    assert_true(pool.end - pool.at < SIZE || !POOLED);
    for (size_t i = 0; i < DOCUMENTS; i++) {
        assert_true(json_equal(values[i], values[0]));
        if (i > 0)
            json_decref(values[i]);
    }
    json_decref(values[0]);
    json_pool_reset(&pool);
    json_pools_close();
}

static void *take_apart(void *arg)
{
    json_decref(arg);
    return NULL;
}

static void test_another_thread_frees(void **state)
{
    struct json_pool pools[2];
    pthread_t thread;

    (void)state;
    json_pools_open(pools, 2, SIZE);
    for (int round = 0; round < 20; round++) {
        assert_int_equal(pthread_create(&thread, NULL, take_apart, parse(&pools[0])), 0);
        json_decref(parse(&pools[1]));
        pthread_join(thread, NULL);
        json_pool_reset(&pools[0]);
        json_pool_reset(&pools[1]);
    }
    json_pools_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_of_a_pool),
        cmocka_unit_test(test_a_full_pool),
        cmocka_unit_test(test_another_thread_frees),
    };

    json_pools_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
