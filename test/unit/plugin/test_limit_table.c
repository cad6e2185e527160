/* SPDX-License-Identifier: Apache-2.0 */
/* Counters in windows: counting, expiry, bounds, and what happens where a bucket is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "plugin/limit_table.c" /* NOLINT */

enum { ALWAYS = 0x7fffffff };

static struct limit_tally add(struct limit_table *t, uint64_t key, int64_t now, int64_t window)
{
    return limit_table_add(t, key, now, window, 1, ALWAYS);
}

static void window_begins_and_ends(void **state)
{
    (void)state;
    struct limit_table *t = limit_table_new(64);
    struct limit_tally r = add(t, 42, 1003, 1000);

    assert_true(r.fresh && r.added && r.count == 1);
    assert_in_range(r.left_ms, 1000, 1009);
    r = add(t, 42, 1503, 1000);
    assert_true(!r.fresh && r.count == 2);
    assert_in_range(r.left_ms, 500, 509);
    assert_int_equal(limit_table_get(t, 42, 1999), 2);
    r = add(t, 42, 1999, 9000);
    assert_true(!r.fresh && r.count == 3 && r.left_ms <= 20);
    assert_int_equal(limit_table_get(t, 42, 2010), 0);
    r = add(t, 42, 2010, 1000);
    assert_true(r.fresh && r.count == 1);
    assert_int_equal(limit_table_get(t, 44, 2010), 0);
    limit_table_free(t);
}

static void below_stops_it(void **state)
{
    (void)state;
    struct limit_table *t = limit_table_new(64);

    for (uint32_t i = 1; i <= 3; i++) {
        struct limit_tally r = limit_table_add(t, 7, 100, 1000, 1, 3);
        assert_true(r.added && r.count == i);
    }
    struct limit_tally r = limit_table_add(t, 7, 200, 1000, 1, 3);
    assert_true(!r.added && r.count == 3 && r.left_ms == 900);
    assert_int_equal(limit_table_get(t, 7, 200), 3);
    r = limit_table_add(t, 7, 200, 1000, 1, 5);
    assert_true(r.added && r.count == 4);
    r = limit_table_add(t, 8, 200, 1000, 1, 0);
    assert_true(!r.added && r.count == 0 && r.left_ms == 1000);
    assert_int_equal(limit_table_get(t, 8, 200), 0);
    limit_table_free(t);
}

static void counts_stop_at_their_maximum(void **state)
{
    (void)state;
    struct limit_table *t = limit_table_new(64);

    limit_table_add(t, 9, 0, 1000, LIMIT_COUNT_MAX - 1, ALWAYS);
    assert_int_equal(add(t, 9, 0, 1000).count, LIMIT_COUNT_MAX);
    assert_int_equal(add(t, 9, 0, 1000).count, LIMIT_COUNT_MAX);
    assert_int_equal(limit_table_add(t, 9, 5, 1000, UINT32_MAX, ALWAYS).count, LIMIT_COUNT_MAX);
    assert_true(add(t, 9, 1000, 1000).fresh);
    limit_table_free(t);
}

static void long_windows_and_the_round_of_ticks(void **state)
{
    (void)state;
    struct limit_table *t = limit_table_new(64);
    int64_t round = (INT64_C(1) << 34) * TICK_MS, now = round - 500;

    assert_true(add(t, 1, 5, INT64_MAX / 4).fresh);
    assert_int_equal(add(t, 1, LIMIT_WINDOW_MAX_MS / 2, 10).count, 2);
    /* The window ends where ticks have gone round. */
    assert_true(add(t, 2, now, 1000).fresh);
    assert_int_equal(add(t, 2, now + 900, 1000).count, 2);
    assert_int_equal(add(t, 2, now + 900, 1000).left_ms, 100);
    assert_true(add(t, 2, now + 1000, 1000).fresh);
    limit_table_free(t);
}

/* Keys that share a bucket: equal but in their upper bits. */
static uint64_t neighbour(unsigned i)
{
    return 0x20 | (uint64_t)(i + 1) << 40;
}

static void full_bucket_gives_up_the_soonest_to_end(void **state)
{
    (void)state;
    struct limit_table *t = limit_table_new(64);

    for (unsigned i = 0; i < BUCKET_SLOTS; i++)
        add(t, neighbour(i), 0, 1000 + i * 100);
    for (unsigned i = 0; i < BUCKET_SLOTS; i++)
        assert_int_equal(limit_table_get(t, neighbour(i), 50), 1);
    add(t, neighbour(20), 50, 5000);
    assert_int_equal(limit_table_get(t, neighbour(0), 50), 0);
    for (unsigned i = 1; i < BUCKET_SLOTS; i++)
        assert_int_equal(limit_table_get(t, neighbour(i), 50), 1);
    /* One that is over makes room before one that is running. */
    add(t, neighbour(21), 1150, 10);
    assert_int_equal(limit_table_get(t, neighbour(1), 1050), 0);
    assert_int_equal(limit_table_get(t, neighbour(2), 1150), 1);
    assert_int_equal(limit_table_get(t, neighbour(20), 1150), 1);
    limit_table_free(t);
}

static void keys_are_kept_apart(void **state)
{
    (void)state;
    struct limit_table *t = limit_table_new(4096);
    uint64_t key = 88172645463325252ull, kept[1000];

    assert_int_equal(limit_table_size(t), 4096);
    for (unsigned i = 0; i < 1000; i++) {
        key ^= key << 13;
        key ^= key >> 7;
        key ^= key << 17;
        kept[i] = key;
        for (unsigned j = 0; j <= i % 5; j++)
            add(t, key, 0, 60000);
    }
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(limit_table_get(t, kept[i], 10), i % 5 + 1);
    assert_int_equal(add(t, 0, 0, 1000).count, 1);
    assert_int_equal(add(t, 1, 0, 1000).count, 2);
    limit_table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(window_begins_and_ends),
        cmocka_unit_test(below_stops_it),
        cmocka_unit_test(counts_stop_at_their_maximum),
        cmocka_unit_test(long_windows_and_the_round_of_ticks),
        cmocka_unit_test(full_bucket_gives_up_the_soonest_to_end),
        cmocka_unit_test(keys_are_kept_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
