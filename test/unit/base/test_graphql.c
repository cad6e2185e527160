/* SPDX-License-Identifier: Apache-2.0 */
/* GraphQL documents: what the first definition is, and what is malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/graphql.h"

/* "OPERATION NAME: FIELD FIELD", "-" where something is absent; "bad": malformed. */
static const char *summary(struct arena *a, const char *text)
{
    static char out[512];
    struct graphql g;

    if (!graphql_parse(str_of(text), a, &g))
        return "bad";
    struct str op = g.operation.p ? g.operation : STR("-"), name = g.name.n ? g.name : STR("-");
    int n = snprintf(out, sizeof(out), "%u %.*s %.*s:", g.definitions, STR_ARG(op), STR_ARG(name));
    for (unsigned i = 0; i < g.nfields; i++)
        n += snprintf(out + n, sizeof(out) - (size_t)n, " %.*s", STR_ARG(g.fields[i]));
    return out;
}

static void test_documents(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"query getRepo { owner { name } repo { created } }", "1 query getRepo: owner repo"},
        {"{a}", "1 query -: a"},
        {"\xef\xbb\xbf# note\r\n mutation,{,a,,b,}", "1 mutation -: a b"},
        {"subscription s @live(if: true) { a }", "1 subscription s: a"},
        {"query q($a: Int = 1 @d, $b: [S!]! = [\"x\", $c]) { f(a: $a, o: {k: -1.5e3, l: E}) }",
         "1 query q: f"},
        {"{ alias: real(x: \"}\") @include(if: $v) { deep { deeper } } other }",
         "1 query -: real other"},
        {"{ ...Frag @x ... on T { hidden } ... @skip(if: false) { hidden } last } "
         "fragment Frag on T { inner }",
         "2 query -: Frag last"},
        {"fragment F on T { a b }", "1 - F: a b"},
        {"query a { x } query b { y }", "2 query a: x"},
        {"{ a(s: \"\"\"block \\\"\"\" \" end\"\"\") b }", "1 query -: a b"},
        {"query query { on }", "1 query query: on"},
        {"", "bad"},
        {"   # only\n", "bad"},
        {"{}", "bad"},
        {"{ a", "bad"},
        {"{ a } }", "bad"},
        {"query { a(b) }", "bad"},
        {"query { a() }", "bad"},
        {"query q() { a }", "bad"},
        {"type T { a: Int }", "bad"},
        {"{ a(s: \"open) }", "bad"},
        {"{ a(n: 01) }", "bad"},
        {"{ a(n: 1.) }", "bad"},
        {"{ a ? }", "bad"},
        {"hello", "bad"},
        {"fragment on on T { a }", "bad"},
        {"{ .. a }", "bad"},
    };
    struct arena a;

    (void)state;
    arena_init(&a, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(summary(&a, rows[i].text), rows[i].want) != 0)
            fail_msg("%s: %s", rows[i].text, summary(&a, rows[i].text));
    arena_fini(&a);
}

/* As deep as is allowed, and one more; of each thing that nests. */
static void test_depth(void **state)
{
    static const struct {
        const char *before, *open, *middle, *close, *after;
        int most;
    } rows[] = {{"", "{a", "", "}", "", 200},
                {"{a(v:", "[", "", "]", ")}", 199},
                {"{a(v:", "{k:", "1", "}", ")}", 199},
                {"query($v:", "[", "T", "]", "){a}", 199}};
    char text[4096];
    struct arena a;

    (void)state;
    arena_init(&a, NULL);
    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++)
        for (int more = 0; more < 2; more++) {
            int depth = rows[r].most + more;
            size_t n = (size_t)snprintf(text, sizeof(text), "%s", rows[r].before);
            for (int i = 0; i < depth; i++)
                n += (size_t)snprintf(text + n, sizeof(text) - n, "%s", rows[r].open);
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s", rows[r].middle);
            for (int i = 0; i < depth; i++)
                n += (size_t)snprintf(text + n, sizeof(text) - n, "%s", rows[r].close);
            snprintf(text + n, sizeof(text) - n, "%s", rows[r].after);
            bool good = strcmp(summary(&a, text), "bad") != 0;
            if (good == (more == 1))
                fail_msg("row %zu, depth %d: %s", r, depth, summary(&a, text));
        }
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_documents),
                                       cmocka_unit_test(test_depth)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
