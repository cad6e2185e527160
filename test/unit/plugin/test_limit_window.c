/* SPDX-License-Identifier: Apache-2.0 */
/* Fixed and sliding windows on a clock of our own, with the numbers that APISIX's arithmetic gives;
 * and the groups that share counters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "plugin/limit_group.h"
#include "plugin/limit_window.c" /* NOLINT */

static struct limit_table *t;
static int64_t clock_ms;

static struct limit_quota ask(enum limit_window_type type, uint64_t count, uint64_t window)
{
    struct limit_ask a = {.type = type,
                          .id = {0x1234567890abcdefull, 0xfedcba0987654321ull},
                          .count = count,
                          .window = window,
                          .wall_ms = clock_ms,
                          .now_ms = clock_ms - 5000};

    return limit_window_ask(t, &a);
}

static void expect(struct limit_quota q, bool passed, uint64_t remaining, uint64_t reset)
{
    assert_int_equal(q.passed, passed);
    assert_int_equal(q.remaining, remaining);
    assert_int_equal(q.reset, reset);
}

static int setup(void **state)
{
    (void)state;
    t = limit_table_new(1024);
    clock_ms = 100000000;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    limit_table_free(t);
    return 0;
}

static void fixed(void **state)
{
    (void)state;
    expect(ask(LIMIT_FIXED, 2, 60), true, 1, 6000);
    clock_ms += 15;
    expect(ask(LIMIT_FIXED, 2, 60), true, 0, 5998);
    clock_ms += 1005;
    expect(ask(LIMIT_FIXED, 2, 60), false, 0, 5898);
    clock_ms += 58979;
    expect(ask(LIMIT_FIXED, 2, 60), false, 0, 0);
    clock_ms += 1;
    expect(ask(LIMIT_FIXED, 2, 60), true, 1, 6000);
}

/* The limit may change from request to request: what is counted stays. */
static void fixed_with_a_limit_that_varies(void **state)
{
    (void)state;
    expect(ask(LIMIT_FIXED, 3, 10), true, 2, 1000);
    expect(ask(LIMIT_FIXED, 2, 10), true, 0, 1000);
    expect(ask(LIMIT_FIXED, 5, 10), true, 2, 1000);
    expect(ask(LIMIT_FIXED, 1, 10), false, 0, 1000);
    /* What was refused has counted. */
    expect(ask(LIMIT_FIXED, 5, 10), true, 0, 1000);
}

static void no_limit(void **state)
{
    (void)state;
    uint64_t huge = (UINT64_C(1) << 53) - 1;

    expect(ask(LIMIT_FIXED, huge, 10), true, huge - 1, 1000);
    expect(ask(LIMIT_SLIDING, huge, 10), true, huge - 1, 1000);
    assert_true(ask(LIMIT_FIXED, 1, huge).reset > 0);
    assert_true(ask(LIMIT_SLIDING, 5, huge).passed);
}

static void sliding(void **state)
{
    (void)state;
    /* 100000 s is the start of a window of 5 s. */
    expect(ask(LIMIT_SLIDING, 2, 5), true, 1, 500);
    clock_ms += 1001;
    expect(ask(LIMIT_SLIDING, 2, 5), true, 0, 400);
    clock_ms += 9;
    expect(ask(LIMIT_SLIDING, 2, 5), false, 0, 399);
    /* The next window: 2 before, at 4/5 of the window left they count 1.6. */
    clock_ms = 100000000 + 6000;
    expect(ask(LIMIT_SLIDING, 2, 5), true, 0, 400);
    /* Refused: 1 here and 1.6 before. One would be before when (2 - 1) / 0.4 s are left. */
    expect(ask(LIMIT_SLIDING, 2, 5), false, 0, 150);
    clock_ms += 1500;
    expect(ask(LIMIT_SLIDING, 2, 5), false, 0, 0);
    clock_ms += 10;
    expect(ask(LIMIT_SLIDING, 2, 5), true, 0, 249);
    expect(ask(LIMIT_SLIDING, 2, 5), false, 0, 249);
    /* Two windows on, nothing is left of it. */
    clock_ms = 100000000 + 15000;
    expect(ask(LIMIT_SLIDING, 2, 5), true, 1, 500);
}

/* No stretch of a window's length lets more than the limit pass by more than the weighing allows,
 * and a steady stream passes at the limit's rate. */
static void sliding_is_steady(void **state)
{
    (void)state;
    unsigned passed = 0;

    for (unsigned i = 0; i < 6000; i++, clock_ms += 10)
        passed += ask(LIMIT_SLIDING, 100, 10).passed;
    assert_in_range(passed, 560, 610);
}

static void texts(void **state)
{
    static const struct {
        uint64_t reset;
        const char *text;
    } samples[] = {{6000, "60"}, {5998, "59.98"}, {5990, "59.9"},
                   {5, "0.05"},  {0, "0"},        {110, "1.1"}};
    char text[LIMIT_TEXT_SIZE];

    (void)state;
    for (unsigned i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        size_t n = limit_reset_text(samples[i].reset, text);
        assert_true(str_eq(str_make(text, n), str_of(samples[i].text)));
    }
    assert_true(str_eq(str_make(text, u64_write(text, 0)), STR("0")));
    assert_true(str_eq(str_make(text, u64_write(text, UINT64_MAX)), STR("18446744073709551615")));
    assert_int_equal(limit_reset_text(UINT64_MAX, text), 21);
}

static void numbers_read(void **state)
{
    static const struct {
        const char *text;
        uint64_t value;
        const char *err;
    } samples[] = {
        {"10", 10, NULL},
        {" 1e3 ", 1000, NULL},
        {"0x10", 16, NULL},
        {"9007199254740991", LIMIT_NUMBER_MAX, NULL},
        {"", 0, "resolved value is not a number"},
        {"ten", 0, "resolved value is not a number"},
        {"1 0", 0, "resolved value is not a number"},
        {"nan", 0, "resolved value is not a number"},
        {"0", 0, "resolved value must be a positive number, got: 0"},
        {"-1", 0, "resolved value must be a positive number, got: -1"},
        {"1.5", 0, "resolved value must be an integer, got: 1.5"},
        {"9999999999999999", 0, "resolved value exceeds safe integer range (2^53-1), got: 1e+16"},
        {"inf", 0, "resolved value exceeds safe integer range (2^53-1), got: inf"},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        uint64_t value = 0;
        char err[128] = "";
        assert_int_equal(limit_number_read(str_of(samples[i].text), &value, err, sizeof(err)),
                         !samples[i].err);
        assert_int_equal(value, samples[i].value);
        assert_string_equal(err, samples[i].err ? samples[i].err : "");
    }
}

static void groups(void **state)
{
    (void)state;
    struct limit_group *a = limit_group_join(STR("a"), STR("x"));
    struct limit_group *b = limit_group_join(STR("b"), STR("y"));

    assert_non_null(a);
    assert_ptr_equal(limit_group_join(STR("a"), STR("x")), a);
    assert_null(limit_group_join(STR("a"), STR("y")));
    limit_group_leave(a);
    assert_null(limit_group_join(STR("a"), STR("y")));
    limit_group_leave(a);
    a = limit_group_join(STR("a"), STR("y"));
    assert_non_null(a);
    limit_group_leave(a);
    limit_group_leave(b);
    limit_group_leave(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fixed, setup, teardown),
        cmocka_unit_test_setup_teardown(fixed_with_a_limit_that_varies, setup, teardown),
        cmocka_unit_test_setup_teardown(no_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(sliding, setup, teardown),
        cmocka_unit_test_setup_teardown(sliding_is_steady, setup, teardown),
        cmocka_unit_test(texts),
        cmocka_unit_test(numbers_read),
        cmocka_unit_test(groups),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
