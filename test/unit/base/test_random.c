/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes: whole buffers filled, none given out twice, numbers below a bound evenly spread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/random.c"

static void every_size(void **state)
{
    uint8_t bytes[3 * STOCK + 2];

    (void)state;
    for (size_t n = 0; n <= 3 * STOCK; n += 37) {
        memset(bytes, 0xA5, sizeof(bytes));
        unsigned changed = 0;
        /* A byte stays as it was once in 256 times; in 20 rounds never. */
        for (int round = 0; round < 20; round++) {
            random_bytes(bytes + 1, n);
            for (size_t i = 1; i <= n; i++)
                changed += bytes[i] != 0xA5;
        }
        assert_true(n == 0 ? changed == 0 : changed >= 20 * n * 9 / 10);
        assert_int_equal(bytes[0], 0xA5);
        assert_int_equal(bytes[n + 1], 0xA5);
    }
}

static void given_once(void **state)
{
    uint64_t seen[2000];

    (void)state;
    for (int i = 0; i < 2000; i++) {
        random_bytes(&seen[i], sizeof(seen[i]));
        for (int j = 0; j < i; j++)
            assert_true(seen[i] != seen[j]);
    }
}

static void below(void **state)
{
    unsigned count[62] = {0};

    (void)state;
    for (int i = 0; i < 62000; i++)
        count[random_below(62)]++;
    /* 1000 expected, standard deviation 31. */
    for (int i = 0; i < 62; i++)
        assert_in_range(count[i], 750, 1250);
    for (int i = 0; i < 100; i++)
        assert_int_equal(random_below(1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size),
        cmocka_unit_test(given_once),
        cmocka_unit_test(below),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
