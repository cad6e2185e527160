/* SPDX-License-Identifier: Apache-2.0 */
/* Percent-encoding for paths, request lines and headers; base64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/encode.c"

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

static void encoding(void **state)
{
    (void)state;
    assert_str(encode_path(&arena, STR("/a b?c#d%e\"<>\\^`{|}\r\n\x7f\xc3\xa9")),
               "/a%20b%3Fc%23d%25e%22%3C%3E%5C%5E%60%7B%7C%7D%0D%0A%7F%C3%A9");
    assert_str(encode_target(&arena, STR("/a b?c=d%20&\t\r\n\x7f\xc3\xa9")),
               "/a%20b?c=d%20&%09%0D%0A%7F\xc3\xa9");
    assert_str(encode_header(&arena, STR("a b\t?\r\n\x7f\xc3\xa9")), "a b\t?%0D%0A%7F\xc3\xa9");
    assert_str(encode_path(&arena, str_make("a\0b", 3)), "a%00b");
}

/* What needs nothing is not copied. */
static void nothing_to_encode(void **state)
{
    struct str plain = STR("/a/b-c.d_e~f!$&'()*+,;=:@[]0");

    (void)state;
    assert_ptr_equal(encode_path(&arena, plain).p, plain.p);
    assert_ptr_equal(encode_target(&arena, plain).p, plain.p);
    assert_ptr_equal(encode_header(&arena, plain).p, plain.p);
    assert_int_equal(encode_path(&arena, STR_NONE).n, 0);
}

static void base64(void **state)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"Zm9vOmJhcg==", "foo:bar"},
        {"Zm9vOmJhcg", "foo:bar"},
        {"Zm9vOmJhcg=x!", "foo:bar"},
        {"YWI=", "ab"},
        {"YWJj", "abc"},
        {"", ""},
        {"=", ""},
        {"+/+/", "\xfb\xff\xbf"},
        {"a", NULL},
        {"YWJjZ", NULL},
        {"aca_a", NULL},
        {"aca_", NULL},
        {"YW Jj", NULL},
        {" YWJj", NULL},
        {"YW\nJ", NULL},
    };
    struct str out;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool good = base64_decode(&arena, str_of(rows[i].in), &out);
        if (good != (rows[i].want != NULL))
            fail_msg("row %zu: %d", i, good);
        if (good)
            assert_str(out, rows[i].want);
    }
    /* A byte of value 0 is one like others. */
    assert_true(base64_decode(&arena, STR("AAE="), &out));
    assert_memory_equal(out.p, "\0\1", 2);
    assert_int_equal(out.n, 2);
}

static void base64_both_ways(void **state)
{
    static const char *const texts[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xff\xfe\xfb", "//77"},
    }; /* RFC 4648 §10 */
    struct str out;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_true(str_eq(base64_encode(&arena, str_of(texts[i][0])), str_of(texts[i][1])));
        assert_true(base64_decode(&arena, str_of(texts[i][1]), &out));
        assert_true(str_eq(out, str_of(texts[i][0])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoding),
        cmocka_unit_test(nothing_to_encode),
        cmocka_unit_test(base64),
        cmocka_unit_test(base64_both_ways),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
