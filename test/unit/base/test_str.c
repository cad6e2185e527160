/* SPDX-License-Identifier: Apache-2.0 */
/* Strings: numbers at the edges of what is allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"

static void numbers(void **state)
{
    static const struct {
        const char *text;
        uint64_t max;
        bool good;
        uint64_t value;
    } samples[] = {
        {"0", 0, true, 0},
        {"1", 0, false, 0},
        {"2", 2, true, 2},
        {"3", 2, false, 0},
        {"9", 8, false, 0},
        {"10", 9, false, 0},
        {"00010", 10, true, 10},
        {"19", 18, false, 0},
        {"255", 255, true, 255},
        {"256", 255, false, 0},
        {"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, false, 0},
        {"99999999999999999999999", UINT64_MAX, false, 0},
        {"", 9, false, 0},
        {"-1", 9, false, 0},
        {"1 ", 9, false, 0},
        {"0x1", 9, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        uint64_t value = 0;
        assert_int_equal(str_to_u64(str_of(samples[i].text), samples[i].max, &value),
                         samples[i].good);
        assert_int_equal(value, samples[i].value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
