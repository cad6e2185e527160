/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns, captures and replacement against what ngx.re gives for the same input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/regex.c"

static struct regex *compile(const char *pattern, const char *flags)
{
    struct regex_error err = {""};
    struct regex *re = regex_new(str_of(pattern), str_of(flags), &err);

    if (!re)
        fail_msg("%s: %s", pattern, err.text);
    return re;
}

static void assert_str(struct str s, const char *want)
{
    if (!str_eq(s, str_of(want)))
        fail_msg("\"%.*s\" instead of \"%s\"", STR_ARG(s), want);
}

static void captures(void **state)
{
    struct regex *re = compile("^/test/(.*)/(x)?(\\d+)", "jo");
    struct regex_groups g;

    (void)state;
    assert_int_equal(regex_match(re, STR("/test/a/b/12?"), 0, &g), 1);
    assert_int_equal(g.n, 4);
    assert_str(g.group[0], "/test/a/b/12");
    assert_str(g.group[1], "a/b");
    assert_null(g.group[2].p);
    assert_str(g.group[3], "12");
    assert_int_equal(regex_match(re, STR("/tes/a/12"), 0, &g), 0);
    assert_int_equal(regex_match(re, STR_NONE, 0, NULL), 0);
    regex_free(re);

    re = compile("a", "");
    const struct str aba = STR("aba");
    assert_int_equal(regex_match(re, aba, 1, &g), 1);
    assert_ptr_equal(g.group[0].p, aba.p + 2);
    assert_int_equal(regex_match(re, STR("aba"), 3, &g), 0);
    assert_int_equal(regex_match(re, STR("aba"), 4, &g), 0);
    regex_free(re);
    regex_free(NULL);
}

/* A pattern may have more groups than are kept. */
static void many_groups(void **state)
{
    char pattern[400] = "";
    struct regex_groups g;

    (void)state;
    for (int i = 0; i < 50; i++)
        memcpy(pattern + 5 * i, "(a)()", 6);
    struct regex *re = compile(pattern, "");
    char subject[64];
    memset(subject, 'a', sizeof(subject));
    assert_int_equal(regex_match(re, str_make(subject, sizeof(subject)), 0, &g), 1);
    assert_int_equal(g.n, REGEX_GROUPS);
    assert_int_equal(g.group[0].n, 50);
    regex_free(re);
}

static void flags(void **state)
{
    static const struct {
        const char *flags, *pattern, *subject;
        bool matches;
    } rows[] = {
        {"", "B.c", "abc", false},       {"i", "B.c", "abbc", true},
        {"a", "b", "ab", false},         {"", "a.b", "a\nb", false},
        {"s", "a.b", "a\nb", true},      {"", "^b", "a\nb", false},
        {"m", "^b", "a\nb", true},       {"", "a b", "ab", false},
        {"x", "a b # c", "ab", true},    {"", "^.$", "\xc3\xa9", false},
        {"u", "^.$", "\xc3\xa9", true},  {"U", "^.$", "\xc3\xa9", true},
        {"U", "b", "\xff\xfe b", true}, /* broken UTF-8 is neither trusted nor an error */
        {"jiosmx", "A b", "\nab", true}, {"D", "(?<n>a)|(?<n>b)", "b", true},
        {"J", "a[]b|c", "c", true},      {"d", "a|ab|abc", "abc", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct regex *re = compile(rows[i].pattern, rows[i].flags);
        int n = regex_match(re, str_of(rows[i].subject), 0, NULL);
        if (n != rows[i].matches)
            fail_msg("row %zu: %d", i, n);
        regex_free(re);
    }
    struct regex *re = compile("a|ab|(abc)", "d");
    struct regex_groups g;
    assert_int_equal(regex_match(re, STR("xabcd"), 0, &g), 1);
    assert_int_equal(g.n, 1);
    assert_str(g.group[0], "abc");
    regex_free(re);
    re = compile("b", "u");
    assert_true(regex_match(re, STR("\xff b"), 0, NULL) < 0);
    regex_free(re);
}

static void errors(void **state)
{
    static const struct {
        const char *pattern, *flags, *message;
    } rows[] = {
        {"hello", "h", "unknown flag \"h\" (flags \"h\")"},
        {"hello", "ji o", "unknown flag \" \" (flags \"ji o\")"},
        {"a(b", "", "pcre2_compile() failed: missing closing parenthesis in \"a(b\""},
        {"a)b", "jo", "pcre2_compile() failed: unmatched closing parenthesis in \"a)b\" at \")b\""},
        {"(?<n>a)|(?<n>b)", "",
         "pcre2_compile() failed: two named subpatterns have the same name (PCRE2_DUPNAMES not "
         "set) in \"(?<n>a)|(?<n>b)\" at \"b)\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct regex_error err = {""};
        assert_null(regex_new(str_of(rows[i].pattern), str_of(rows[i].flags), &err));
        assert_string_equal(err.text, rows[i].message);
    }
    /* A long pattern cuts the message, nothing else. */
    char *longest = mem_alloc(5000);
    memset(longest, '(', 5000);
    struct regex_error err;
    assert_null(regex_new(str_make(longest, 5000), STR(""), &err));
    assert_in_range(strlen(err.text), 1, sizeof(err.text) - 1);
    free(longest);
}

struct replace_row {
    const char *pattern, *flags, *with, *subject;
    bool all;
    const char *want;
    int count;
};

static void replace_check(const struct replace_row *r)
{
    struct regex *re = compile(r->pattern, r->flags);
    struct regex_template t;
    struct regex_error err;
    struct arena a;
    struct buf out;

    arena_init(&a, NULL);
    buf_init(&out, 4096);
    assert_true(regex_template_parse(&a, str_of(r->with), &t, &err));
    int n = regex_replace(re, str_of(r->subject), &t, r->all, &out);
    if (n != r->count || !str_eq(buf_str(&out), str_of(r->want)))
        fail_msg("s/%s/%s/ on \"%s\": %d, \"%.*s\"", r->pattern, r->with, r->subject, n,
                 STR_ARG(buf_str(&out)));
    buf_fini(&out);
    arena_fini(&a);
    regex_free(re);
}

static void replacing(void **state)
{
    static const struct replace_row rows[] = {
        {"^/test/(.*)/(.*)/(.*)", "jo", "/$1_$2_$3?a=c", "/test/plugin/proxy/rewrite", false,
         "/plugin_proxy_rewrite?a=c", 1},
        {"l", "", "t", "hello world", false, "hetlo world", 1},
        {"l", "", "t", "hello world", true, "hetto wortd", 3},
        {"x", "", "t", "hello", true, "hello", 0},
        {"hello", "", "", "hello world", true, " world", 1},
        {"", "", "-", "abc", true, "-a-b-c-", 4},
        {"b*", "", "-", "abc", true, "-a--c-", 4},
        {"", "", "-", "", true, "-", 1},
        {"", "u", "-", "\xc3\xa9", true, "-\xc3\xa9-", 2},
        {"(a)(b)?", "", "[$0|$1|${2}|$3|$$1]", "xaz", false, "x[a|a|||$1]z", 1},
        {"(a)", "", "${1}1$10", "a", false, "a1", 1},
        {"\\w\\S+$", "jo", "*", "hello world", false, "hello *", 1},
        {"(?<=a)b", "", "c", "abab", true, "acac", 2},
        {"a|ab", "d", "<$0>", "ab", false, "<ab>", 1},
        {"a\\Kb", "", "c", "abab", true, "acac", 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        replace_check(&rows[i]);
}

static void replacing_is_bounded(void **state)
{
    struct regex *re = compile("a", "");
    struct regex_template t;
    struct regex_error err;
    struct arena a;
    struct buf out;

    (void)state;
    arena_init(&a, NULL);
    buf_init(&out, 10);
    assert_true(regex_template_parse(&a, STR("12345"), &t, &err));
    assert_int_equal(regex_replace(re, STR("aab"), &t, true, &out), REGEX_TOO_LONG);
    buf_fini(&out);
    assert_int_equal(regex_replace(re, STR("aa"), &t, true, &out), 2);
    buf_fini(&out);
    arena_fini(&a);
    regex_free(re);
}

static void templates(void **state)
{
    static const char *const bad[] = {"$", "a$", "$a", "$`1", "${a}", "${1", "${", "${}", "$1$"};
    struct regex_template t;
    struct regex_error err;
    struct arena a;

    (void)state;
    arena_init(&a, NULL);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(regex_template_parse(&a, str_of(bad[i]), &t, &err));
        assert_string_equal(err.text, "failed to compile the replacement template");
    }
    struct regex_groups g = {{STR("whole"), STR("one")}, 2};
    assert_true(regex_template_parse(&a, STR("$0,$1,${1}0,$2,$999999999999"), &t, &err));
    assert_str(regex_template_fill(&t, &g, &a), "whole,one,one0,,");
    assert_true(regex_template_parse(&a, STR(""), &t, &err));
    assert_str(regex_template_fill(&t, &g, &a), "");
    arena_fini(&a);
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Patterns that would run for years: each must end soon, with PCRE2's number for the limit. */
static void no_pattern_hangs(void **state)
{
    static const char *const patterns[] = {"(a+)+$",
                                           "(a|aa)+$",
                                           "(a|a?)+$",
                                           "(.*)*(.*)*(.*)*x",
                                           "^(([a-z])+.)+[A-Z]([a-z])+$",
                                           "(a.*)(a.*)(a.*)[xy]",
                                           "(a.*)(a.*)[xy]",
                                           "(a.*)[xy]",
                                           "a.*?[xy]"};
    char subject[16385];

    (void)state;
    memset(subject, 'a', sizeof(subject));
    subject[sizeof(subject) - 1] = '!';
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        struct regex *re = compile(patterns[i], "jo");
        double start = seconds();
        int n = regex_match(re, str_make(subject, sizeof(subject)), 0, NULL);
        double took = seconds() - start;
        print_message("%s: %d after %.1f ms\n", patterns[i], n, took * 1e3);
        assert_true(n <= 0);
        assert_true(took < 2);
        regex_free(re);
    }
}

/* Recursion and deep backtracking need stack; running out is an error, not a crash. */
static void deep_recursion(void **state)
{
    struct regex *re = compile("^((?:[^()]|\\((?1)\\))*)$", "");
    char *subject = mem_alloc(200000);

    (void)state;
    memset(subject, '(', 100000);
    memset(subject + 100000, ')', 100000);
    assert_true(regex_match(re, str_make(subject, 200000), 0, NULL) < 0);
    free(subject);
    regex_free(re);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captures),       cmocka_unit_test(many_groups),
        cmocka_unit_test(flags),          cmocka_unit_test(errors),
        cmocka_unit_test(replacing),      cmocka_unit_test(replacing_is_bounded),
        cmocka_unit_test(templates),      cmocka_unit_test(no_pattern_hangs),
        cmocka_unit_test(deep_recursion),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
