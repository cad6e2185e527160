/* SPDX-License-Identifier: Apache-2.0 */
/* The ids of request-id: known values, and the clock standing still, or going back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "plugin/request_id.c"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static void assert_str(struct str s, const char *want)
{
    if (!str_eq(s, str_of(want)))
        fail_msg("\"%.*s\" instead of \"%s\"", STR_ARG(s), want);
}

static void known_values(void **state)
{
    /* The example of the KSUID project's README. */
    uint32_t one[KSUID_WORDS] = {107608047, 0xB5A1CD34, 0xB5F99D11, 0x54FB6853, 0x345C9735};
    uint32_t least[KSUID_WORDS] = {0};
    uint32_t most[KSUID_WORDS] = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};
    const uint8_t bytes[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                               0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10};

    (void)state;
    assert_str(base62(&arena, one), "0ujtsYcgvSTl8PAuAdqWYSMnLOv");
    assert_str(base62(&arena, least), "000000000000000000000000000");
    assert_str(base62(&arena, most), "aWgEPTl1tmebfsQzFP4bxwgy80V");
    assert_str(uuid_text(&arena, bytes, 4), "01234567-89ab-4def-bedc-ba9876543210");
}

/* A clock that stands still, leaps, and goes back: the ids ascend all the same. */
static void uuidv7_ascends(void **state)
{
    static const int64_t clock[] = {1700000000000, 1700000000000, 1700000000001, 1600000000000,
                                    1700000000002};
    struct str last = STR("");

    (void)state;
    for (size_t t = 0; t < sizeof(clock) / sizeof(clock[0]); t++)
        /* More ids than the counter has room for in one millisecond. */
        for (int i = 0; i < 150000; i++) {
            struct str id = uuidv7_new(&arena, clock[t]);
            if (str_cmp(last, id) >= 0)
                fail_msg("%.*s after %.*s", STR_ARG(id), STR_ARG(last));
            last = id;
        }
    assert_true(str_starts(last, STR("018bcfe5-68")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),
        cmocka_unit_test(uuidv7_ascends),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
