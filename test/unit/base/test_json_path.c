/* SPDX-License-Identifier: Apache-2.0 */
/* JSONPath: what paths lead to in Goessner's bookstore, and what is refused with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json_path.h"

static const char store[] =
    "{\"store\":{\"book\":["
    "{\"category\":\"reference\",\"author\":\"Rees\",\"title\":\"Sayings\",\"price\":8.95},"
    "{\"category\":\"fiction\",\"author\":\"Waugh\",\"title\":\"Sword\",\"price\":12.99},"
    "{\"category\":\"fiction\",\"author\":\"Melville\",\"title\":\"Moby\",\"isbn\":\"0-55\","
    "\"price\":8.99},"
    "{\"category\":\"fiction\",\"author\":\"Tolkien\",\"title\":\"Lord\",\"isbn\":\"0-39\","
    "\"price\":22.99}],"
    "\"bicycle\":{\"color\":\"red\",\"price\":19.95}},"
    "\"a-b\":1,\"it's\":2,\"0\":\"zero\",\"n\":{\"n\":{\"n\":3}},\"t\":true,\"nil\":null,"
    "\"list\":[0,1,2,3,4,5,6]}";

/* long: a table of paths */
static void test_queries(void **state)
{
    static const struct {
        const char *path, *want;
    } rows[] = {
        {"$.store.bicycle.color", "[\"red\"]"},
        {"store.bicycle.color", "[\"red\"]"},
        {"$.store.book[*].author", "[\"Rees\",\"Waugh\",\"Melville\",\"Tolkien\"]"},
        {"$..author", "[\"Rees\",\"Waugh\",\"Melville\",\"Tolkien\"]"},
        {"$.store..price", "[8.95,12.99,8.99,22.99,19.95]"},
        {"$.store.book[2].title", "[\"Moby\"]"},
        {"$.store.book.2.title", "[\"Moby\"]"},
        {"$.store.book[(@.length-1)].title", "[\"Lord\"]"},
        {"$.store.book[-1:].title", "[\"Lord\"]"},
        {"$.store.book[0,1].title", "[\"Sayings\",\"Sword\"]"},
        {"$.store.book[:2].title", "[\"Sayings\",\"Sword\"]"},
        {"$.store.book[?(@.isbn)].title", "[\"Moby\",\"Lord\"]"},
        {"$.store.book[?(@.price<10)].title", "[\"Sayings\",\"Moby\"]"},
        {"$.store.book[?(@.price < 10 && @.category == 'fiction')].title", "[\"Moby\"]"},
        {"$.store.book[?(@.author=='Rees' || @['title'] == \"Lord\")].price", "[8.95,22.99]"},
        {"$.store.book[?(@.price + 1 > 13.5 and not)].title", NULL},
        {"$.store.book[?((@.price + 1) * 2 > 27.9)].title", "[\"Sword\",\"Lord\"]"},
        {"$.store.book[?(@.price > 8.97 AND @.price != 8.99)].title", "[\"Sword\",\"Lord\"]"},
        {"$.store.book[?(@.none == 'x')].title", "[]"},
        {"$['a-b']", "[1.0]"},
        {"$['it\\'s','a-b']", "[1.0,2.0]"},
        {"$[\"0\"]", "[\"zero\"]"},
        {"$.0", "[\"zero\"]"},
        {"$.list[1:5:2]", "[1.0,3.0]"},
        {"$.list[5:]", "[5.0,6.0]"},
        {"$.list[-2:-1]", "[5.0]"},
        {"$.list[0:9:0]", "[]"},
        {"$.list[1:3,6]", "[1.0,2.0,6.0]"},
        {"$.list[?(@ > 4)]", NULL},
        {"$.store.*.color", "[\"red\"]"},
        {"$.n..n", "[{\"n\":3.0}]"},
        {"$..n", "[{\"n\":{\"n\":3.0}}]"},
        {"$.n..*", "[{\"n\":3.0},3.0]"},
        {"$.nothing[*]", "[]"},
        {"$.store.book[9]", "[]"},
        {"$.t.x", "[]"},
        {"$[?(@.color == 'red')]", "[]"},
        {"$.store[?(@.color == 'red')].price", "[19.95]"},
        {"$.store.book[?(@.length == 4)].author", "[\"Rees\",\"Waugh\"]"},
    };
    struct arena a;
    struct str err;
    json_t *document = json_loads(store, JSON_DECODE_INT_AS_REAL, NULL);

    (void)state;
    arena_init(&a, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct json_path *path = json_path_compile(str_of(rows[i].path), &a, &err);
        if (!rows[i].want) {
            assert_null(path);
            continue;
        }
        if (!path)
            fail_msg("%s: %.*s", rows[i].path, STR_ARG(err));
        json_t *found = json_path_query(path, document);
        char *text = json_dumps(found, JSON_COMPACT | JSON_REAL_PRECISION(6));
        if (strcmp(text, rows[i].want) != 0)
            fail_msg("%s: %s", rows[i].path, text);
        free(text);
        json_decref(found);
    }
    json_decref(document);
    arena_fini(&a);
}

static void test_refused(void **state)
{
    static const struct {
        const char *path, *why;
    } rows[] = {
        {"$.messages[.content[*].type",
         "invalid expression \"$.messages[.content[*].type\" near \"[.content[*].type\""},
        {"$.model-name", "invalid expression \"$.model-name\" near \"-name\""},
        {"$.a[", "invalid expression \"$.a[\" near \"[\""},
        {"$.a[?(]", "invalid expression \"$.a[?(]\" near \"[?(]\""},
        {"$.a['b]", "invalid expression \"$.a['b]\" near \"['b]\""},
        {"$.", "invalid expression \"$.\" near \".\""},
        {"$a", "invalid expression \"$a\" near \"a\""},
        {"", "invalid expression \"\""},
        {"-", "invalid expression \"-\""},
    };
    char deep[256] = "$[?(";
    struct arena a;
    struct str err;

    (void)state;
    arena_init(&a, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_null(json_path_compile(str_of(rows[i].path), &a, &err));
        if (!str_eq(err, str_of(rows[i].why)))
            fail_msg("%s: %.*s", rows[i].path, STR_ARG(err));
    }
    memset(deep + 4, '(', 200);
    assert_null(json_path_compile(str_of(deep), &a, &err));
    /* A chain of operators is a tree as deep, and evaluating it took the stack as deep. */
    enum { LINKS = 300000 };
    char *chain = arena_bytes(&a, 7 + 2 * LINKS + 2);
    memcpy(chain, "$.a[?(1", 7);
    for (size_t i = 0; i < LINKS; i++)
        memcpy(chain + 7 + 2 * i, "+1", 2);
    memcpy(chain + 7 + 2 * LINKS, ")]", 2);
    assert_null(json_path_compile(str_make(chain, 7 + 2 * LINKS + 2), &a, &err));
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_queries),
                                       cmocka_unit_test(test_refused)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
