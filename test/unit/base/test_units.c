/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes and durations in nginx's notation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/units.h"

static void test_units(void **state)
{
    static const struct {
        const char *text;
        int64_t ms, bytes; /* -1: refused */
    } units[] = {
        {"0", 0, 0},
        {"60", 60000, 60},
        {"0.5", 500, -1},
        {"1.2345", 1234, -1},
        {"10ms", 10, -1},
        {"2m", 120000, 2097152},
        {"1h", 3600000, -1},
        {"1d", 86400000, -1},
        {"1w", 604800000, -1},
        {"1m30s", 90000, -1},
        {"1h 30m", 5400000, -1},
        {"16k", -1, 16384},
        {"16K", -1, 16384},
        {"1g", -1, 1 << 30},
        {"", -1, -1},
        {"-1", -1, -1},
        {"1.", -1, -1},
        {"s", -1, -1},
        {"1x", -1, -1},
        {"1kb", -1, -1},
        {"1 m", -1, -1},
        {"1M", -1, 1 << 20},
        {"99999999999999", -1, -1},
        {"999999999999g", -1, -1},
        {"999999999999w", -1, -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        int64_t ms = -1, bytes = -1;
        if (!units_ms(str_of(units[i].text), &ms))
            ms = -1;
        if (!units_bytes(str_of(units[i].text), &bytes))
            bytes = -1;
        if (ms != units[i].ms || bytes != units[i].bytes)
            fail_msg("'%s': %lld ms, %lld bytes", units[i].text, (long long)ms, (long long)bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
