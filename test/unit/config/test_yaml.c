/* SPDX-License-Identifier: Apache-2.0 */
/* YAML as JSON: what plain scalars mean, and what is refused (test_settings has more of it). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "config/yaml.h"

static void test_scalars(void **state)
{
    static const struct {
        const char *yaml, *json;
    } scalars[] = {
        {"", "null"},           {"~", "null"},
        {"Null", "null"},       {"''", "\"\""},
        {"yes", "true"},        {"Off", "false"},
        {"y", "\"y\""},         {"'no'", "\"no\""},
        {"12", "12"},           {"-12", "-12"},
        {"+12", "12"},          {"1_000", "1000"},
        {"010", "8"},           {"089", "\"089\""},
        {"0x1F", "31"},         {"0x", "\"0x\""},
        {"1.50", "1.5"},        {"1e3", "1000.0"},
        {"1.2.3", "\"1.2.3\""}, {"1:2", "\"1:2\""},
        {".inf", "\".inf\""},   {"1.", "1.0"},
        {"-", "[null]"},        {"127.0.0.1", "\"127.0.0.1\""},
        {"\"12\"", "\"12\""},   {"|\n  a\n  b\n", "\"a\\nb\\n\""},
        {"_", "\"_\""},         {"99999999999999999999", "1e+20"},
    };
    struct arena a;
    struct str err;

    (void)state;
    arena_init(&a, NULL);
    for (size_t i = 0; i < sizeof(scalars) / sizeof(scalars[0]); i++) {
        json_t *v = yaml_parse(str_of(scalars[i].yaml), &a, &err);
        json_t *want = json_loads(scalars[i].json, JSON_DECODE_ANY, NULL);
        if (!v || !json_equal(v, want))
            fail_msg("%s is not %s", scalars[i].yaml, scalars[i].json);
        json_decref(v);
        json_decref(want);
    }
    arena_fini(&a);
}

/* Aliases that double at each line: 2^20 values from a short text. */
static void test_alias_bomb(void **state)
{
    struct buf yaml;
    struct arena a;
    struct str err = STR_NONE;

    (void)state;
    arena_init(&a, NULL);
    buf_init(&yaml, 4096);
    buf_printf(&yaml, "a0: &a0 [1, 1]\n");
    for (int i = 1; i <= 20; i++)
        buf_printf(&yaml, "a%d: &a%d [*a%d, *a%d]\n", i, i, i - 1, i - 1);
    assert_null(yaml_parse(buf_str(&yaml), &a, &err));
    assert_true(str_eq(err, STR("line 1: too many values")));
    buf_fini(&yaml);
    arena_fini(&a);
}

/* A long text that many aliases stand for. */
static void test_alias_of_long_text(void **state)
{
    struct buf yaml;
    struct arena a;

    (void)state;
    arena_init(&a, NULL);
    for (unsigned i = 0; i < 4; i++) {
        bool key = i % 2, good = i < 2;
        struct str err = STR_NONE;
        buf_init(&yaml, 1 << 20);
        buf_printf(&yaml, "- &a a");
        for (unsigned j = 0; j < 32768; j++)
            buf_printf(&yaml, "bbbbbbbb");
        buf_printf(&yaml, "\n- [");
        for (unsigned j = 0; j < (good ? 250 : 260); j++)
            buf_printf(&yaml, key ? "{*a : 1}, " : "*a, ");
        buf_printf(&yaml, "]\n");
        json_t *v = yaml_parse(buf_str(&yaml), &a, &err);
        if (good)
            assert_non_null(v);
        else
            assert_true(!v && str_eq(err, STR("line 1: too many bytes by aliases")));
        json_decref(v);
        buf_fini(&yaml);
    }
    arena_fini(&a);
}

/* What is written is read as the same value, and looks as people write it. */
static void test_write(void **state)
{
    static const struct {
        const char *json, *yaml;
    } written[] = {
        {"{\"a\":1,\"b\":[1.5,null,true],\"c\":{}}", "a: 1\nb:\n- 1.5\n- null\n- true\nc: {}\n"},
        {"{\"uri\":\"/a/b\",\"id\":\"r-1\"}", "uri: /a/b\nid: r-1\n"},
        {"[\"true\",\"No\",\"1\",\"0x1\",\"~\",\"\",\" a\",\"a: b\",\"#\",\"-\",\"null\"]", NULL},
        {"[\"line\\nbreak\\ttab \\\"quote\\\" \\u00e9 \\u2028 \\u0001\"]", NULL},
        {"{\"127.0.0.1:80\":1,\"a b\":2,\"on\":3,\"\":4}", NULL},
        {"[]", "[]\n"},
    };
    struct arena a;
    struct str err;

    (void)state;
    arena_init(&a, NULL);
    for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++) {
        struct buf out;
        json_t *v = json_loads(written[i].json, 0, NULL);
        buf_init(&out, 4096);
        assert_non_null(v);
        assert_true(yaml_write(v, &out));
        if (written[i].yaml)
            assert_true(str_eq(buf_str(&out), str_of(written[i].yaml)));
        json_t *again = yaml_parse(buf_str(&out), &a, &err);
        assert_true(json_equal(v, again));
        json_decref(again);
        buf_fini(&out);
        buf_init(&out, 1); /* which says that it is full */
        assert_false(yaml_write(v, &out));
        buf_fini(&out);
        json_decref(v);
    }
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_alias_bomb),
        cmocka_unit_test(test_alias_of_long_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
