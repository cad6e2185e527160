/* SPDX-License-Identifier: Apache-2.0 */
/* Paths, queries and hosts. Normalising is compared with a naive model over every short path that a
 * few telling pieces can make. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/encode.h"
#include "base/mem.h"
#include "http/uri.h"
#include "uri_model.h"

static uint32_t seed = 1;

static uint32_t random_below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % n;
}

/* ---- Normalising
 * ----------------------------------------------------------------------------------- */

static void check_normalise(const char *raw)
{
    struct model m;
    struct arena a;
    struct str out = STR_NONE;
    size_t n = strlen(raw);
    char *copy = mem_dup(raw, n);

    model_run(&m, raw);
    arena_init(&a, NULL);
    enum reason why = uri_normalise(str_make(copy, n), &a, &out);
    bool same = m.bad_encoding || m.traversal ? why != REASON_NONE
                                              : !why && str_eq(out, str_of(m.out));
    if (why == REASON_BAD_URI_TRAVERSAL && !m.traversal && !m.bad_encoding)
        same = false;
    if (!same)
        print_error("\"%s\": %s \"%.*s\", not \"%s\"\n", raw, reasons[why].name, STR_ARG(out),
                    m.out);
    assert_true(same);
    if (!why) {
        assert_true(str_search(out, STR("//")) < 0 && str_search(out, STR("/./")) < 0 &&
                    str_search(out, STR("/../")) < 0);
        assert_false(str_ends(out, STR("/.")) || str_ends(out, STR("/..")));
        assert_true(out.n <= n && str_starts(out, STR("/")));
    }
    arena_fini(&a);
    free(copy);
}

static void every_path(char *text, size_t n, int depth)
{
    static const char *const pieces[] = {"/", ".", "a", "%2F", "%2e", "%61", "%"};

    check_normalise(text);
    for (size_t i = 0; depth && i < sizeof(pieces) / sizeof(*pieces); i++) {
        size_t k = strlen(pieces[i]);
        memcpy(text + n, pieces[i], k + 1);
        every_path(text, n + k, depth - 1);
        text[n] = 0;
    }
}

static void test_normalise_model(void **state)
{
    char text[64] = "/";

    (void)state;
    every_path(text, 1, 5);
    for (int round = 0; round < 20000; round++) {
        static const char bytes[] = "//..%%02eEfFa5?\xc3 ";
        size_t n = 1, end = 1 + random_below(40);
        while (n < end)
            text[n++] = bytes[random_below(sizeof(bytes) - 1)];
        text[n] = 0;
        check_normalise(text);
    }
}

static void test_normalise(void **state)
{
    static const struct {
        struct str raw;
        const char *out;
        enum reason why;
    } rows[] = {
        {STR("/"), "/", 0},
        {STR("/a/b"), "/a/b", 0},
        {STR("/a//b///"), "/a/b/", 0},
        {STR("//a"), "/a", 0},
        {STR("/a/./b/."), "/a/b/", 0},
        {STR("/a/../b"), "/b", 0},
        {STR("/a/b/.."), "/a/", 0},
        {STR("/a//../b"), "/b", 0},
        {STR("/a/.."), "/", 0},
        {STR("/..."), "/...", 0},
        {STR("/.a/..b/c..d/e."), "/.a/..b/c..d/e.", 0},
        {STR("/%41%20%2b+"), "/A ++", 0},
        {STR("/a%2Fb%2f..%2Fc"), "/a/c", 0},
        {STR("/%2e%2E/"), "", REASON_BAD_URI_TRAVERSAL},
        {STR("/%252e%252e/a"), "/%2e%2e/a", 0}, /* decoded once */
        {STR("/a%3fb%23c"), "/a?b#c", 0},
        {STR("/a%0d%0ab"), "/a\r\nb", 0},
        {STR("/a\\..\\b"), "/a\\..\\b", 0},
        {STR("/%ff\xfe"), "/\xff\xfe", 0},
        {STR("/.."), "", REASON_BAD_URI_TRAVERSAL},
        {STR("/../a"), "", REASON_BAD_URI_TRAVERSAL},
        {STR("/a/../.."), "", REASON_BAD_URI_TRAVERSAL},
        {STR("/a/..//../b"), "", REASON_BAD_URI_TRAVERSAL},
        {STR("/%"), "", REASON_BAD_URI_ENCODING},
        {STR("/%4"), "", REASON_BAD_URI_ENCODING},
        {STR("/%4g"), "", REASON_BAD_URI_ENCODING},
        {STR("/%u0041"), "", REASON_BAD_URI_ENCODING},
        {STR("/% 41"), "", REASON_BAD_URI_ENCODING},
        {STR("/%00"), "", REASON_BAD_URI_ENCODING},
        {STR("/a\0b"), "", REASON_BAD_URI_ENCODING},
        {STR("/a\0%41"), "", REASON_BAD_URI_ENCODING},
        {STR("*"), "*", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct arena a;
        struct str out = STR_NONE;
        arena_init(&a, NULL);
        enum reason why = uri_normalise(rows[i].raw, &a, &out);
        if (why != rows[i].why || (!why && !str_eq(out, str_of(rows[i].out))))
            print_error("row %zu: %s \"%.*s\"\n", i, reasons[why].name, STR_ARG(out));
        assert_int_equal(why, rows[i].why);
        if (!why)
            assert_true(str_eq(out, str_of(rows[i].out)));
        arena_fini(&a);
    }
    /* What needs no change is not copied. */
    struct str plain = STR("/a/b.c/d"), out;
    struct arena a;
    arena_init(&a, NULL);
    assert_int_equal(uri_normalise(plain, &a, &out), REASON_NONE);
    assert_ptr_equal(out.p, plain.p);
    assert_int_equal(a.total, 0);
    arena_fini(&a);
}

/* ---- Percent-coding
 * -------------------------------------------------------------------------------- */

static void test_decode(void **state)
{
    static const struct {
        struct str in;
        bool plus;
        struct str out;
    } rows[] = {
        {STR(""), false, STR("")},
        {STR("a+b"), false, STR("a+b")},
        {STR("a+b%2b"), true, STR("a b+")},
        {STR("%41%5a%5A"), false, STR("AZZ")},
        {STR("%00"), false, STR("\0")},
        {STR("%"), false, STR("%")},
        {STR("%4"), false, STR("%4")},
        {STR("a%4"), false, STR("a%4")},
        {STR("%4g%g4%%41"), false, STR("%4g%g4%A")},
        {STR("%2541"), false, STR("%41")},
    };
    struct arena a;

    (void)state;
    arena_init(&a, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char *copy = mem_dup(rows[i].in.p, rows[i].in.n);
        struct str out = uri_decode(str_make(copy, rows[i].in.n), &a, rows[i].plus);
        assert_true(str_eq(out, rows[i].out));
        free(copy);
    }
    arena_fini(&a);
}

static void test_decode_encoded(void **state)
{
    struct arena a;
    char all[256];

    (void)state;
    arena_init(&a, NULL);
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    assert_true(
        str_eq(uri_decode(encode_path(&a, str_make(all, 256)), &a, false), str_make(all, 256)));
    arena_fini(&a);
}

/* ---- Queries
 * --------------------------------------------------------------------------------------- */

static void test_query(void **state)
{
    static const struct {
        struct str in;
        const char *out; /* "name=value|", "name|" when there is no '=' */
    } rows[] = {
        {STR(""), ""},
        {STR("a=b"), "a=b|"},
        {STR("a=b&c=d"), "a=b|c=d|"},
        {STR("a&b="), "a|b=|"},
        {STR("&&a&&"), "a|"},
        {STR("=b&="), "=b|=|"},
        {STR("a=b=c&d==e"), "a=b=c|d==e|"},
        {STR("a=b;c=d"), "a=b;c=d|"},
        {STR("%61=%62&a=%zz"), "%61=%62|a=%zz|"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct str rest = rows[i].in, name, value;
        char text[64] = "";
        while (query_next(&rest, &name, &value))
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%.*s%s%.*s|", STR_ARG(name),
                     value.p ? "=" : "", STR_ARG(value));
        assert_string_equal(text, rows[i].out);
    }
    struct str none = STR_NONE, name, value;
    assert_false(query_next(&none, &name, &value));
}

/* ---- Hosts
 * ----------------------------------------------------------------------------------------- */

static void test_hosts(void **state)
{
    static const struct {
        struct str in;
        const char *host; /* NULL: refused */
        int port;
    } rows[] = {
        {STR("a"), "a", 0},
        {STR("a.b-c_d~e:80"), "a.b-c_d~e", 80},
        {STR("a:"), "a", 0},
        {STR("a:0"), "a", 0},
        {STR("a:65535"), "a", 65535},
        {STR("a:00080"), "a", 80},
        {STR("127.0.0.1:8080"), "127.0.0.1", 8080},
        {STR("%41!$&'()*+,;="), "%41!$&'()*+,;=", 0},
        {STR("[::1]"), "::1", 0},
        {STR("[::1]:443"), "::1", 443},
        {STR("[::1]:"), "::1", 0},
        {STR("[::ffff:1.2.3.4]:1"), "::ffff:1.2.3.4", 1},
        {STR("[1:2:3:4:5:6:7:8]"), "1:2:3:4:5:6:7:8", 0},
        {STR(""), NULL, 0},
        {STR(":"), NULL, 0},
        {STR(":80"), NULL, 0},
        {STR("a:65536"), NULL, 0},
        {STR("a:99999999999999999999"), NULL, 0},
        {STR("a:+80"), NULL, 0},
        {STR("a: 80"), NULL, 0},
        {STR("a:80 "), NULL, 0},
        {STR("a:8a"), NULL, 0},
        {STR("a:80:80"), NULL, 0},
        {STR("a b"), NULL, 0},
        {STR("a/b"), NULL, 0},
        {STR("a\\b"), NULL, 0},
        {STR("a?b"), NULL, 0},
        {STR("a#b"), NULL, 0},
        {STR("a@b"), NULL, 0},
        {STR("a\"b"), NULL, 0},
        {STR("a<b>"), NULL, 0},
        {STR("a|b"), NULL, 0},
        {STR("a\tb"), NULL, 0},
        {STR("a\r\nb"), NULL, 0},
        {STR("a\0b"), NULL, 0},
        {STR("\0"), NULL, 0},
        {STR("\xc3\xa9"), NULL, 0},
        {STR("::1"), NULL, 0},
        {STR("["), NULL, 0},
        {STR("[]"), NULL, 0},
        {STR("[a]"), NULL, 0},
        {STR("[1.2.3.4]"), NULL, 0},
        {STR("[::1"), NULL, 0},
        {STR("[::1]x"), NULL, 0},
        {STR("[::1]80"), NULL, 0},
        {STR("[::1]:x"), NULL, 0},
        {STR("[::1%25eth0]"), NULL, 0},
        {STR("[v1.a]"), NULL, 0},
        {STR("[::1\0]"), NULL, 0},
        {STR("[:::]"), NULL, 0},
        {STR("x[::1]"), NULL, 0},
        {STR("[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa]"), NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct str host;
        uint16_t port;
        char *copy = mem_dup(rows[i].in.p, rows[i].in.n);
        struct str in = str_make(copy, rows[i].in.n);
        bool ok = uri_host_split(in, &host, &port);
        if (ok != (rows[i].host != NULL))
            print_error("row %zu: %.*s\n", i, STR_ARG(in));
        assert_int_equal(ok, rows[i].host != NULL);
        assert_int_equal(uri_host_ok(in), ok);
        if (ok) {
            assert_true(str_eq(host, str_of(rows[i].host)));
            assert_int_equal(port, rows[i].port);
        }
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normalise), cmocka_unit_test(test_normalise_model),
        cmocka_unit_test(test_decode),    cmocka_unit_test(test_decode_encoded),
        cmocka_unit_test(test_query),     cmocka_unit_test(test_hosts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
