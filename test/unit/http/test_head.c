/* SPDX-License-Identifier: Apache-2.0 */
/* Heads: known names in any case, near misses, and lines that come, change and go against a plain
 * model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/head.h"

enum { LINES = 254 };

static uint32_t seed = 1;

/* A stream of numbers that is the same in every run. */
static uint32_t random_below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % n;
}

/* ---- Names
 * ----------------------------------------------------------------------------------------- */

/* A copy whose end the address sanitizer watches. */
static char *exact(struct str s)
{
    char *p = malloc(s.n ? s.n : 1);

    if (s.n)
        memcpy(p, s.p, s.n);
    return p;
}

static enum header_id id_of(struct str name)
{
    char *copy = exact(name);
    enum header_id id = header_id(str_make(copy, name.n));

    free(copy);
    return id;
}

static void test_known_in_any_case(void **state)
{
    (void)state;
    for (int i = 1; i < HEADER_COUNT; i++) {
        struct str name = str_of(header_name((enum header_id)i));
        char text[64];
        assert_int_equal(id_of(name), i);
        for (unsigned round = 0; round < 64; round++) {
            for (size_t k = 0; k < name.n; k++) {
                bool upper = round == 0 || (round > 1 && random_below(2));
                text[k] = upper && name.p[k] >= 'a' && name.p[k] <= 'z' ? (char)(name.p[k] - 32)
                                                                        : name.p[k];
            }
            assert_int_equal(id_of(str_make(text, name.n)), i);
        }
    }
}

/* Only letters of either case are the same: '@' and '`', '[' and '{' differ by the same bit. */
static void test_near_misses(void **state)
{
    (void)state;
    for (int i = 1; i < HEADER_COUNT; i++) {
        struct str name = str_of(header_name((enum header_id)i));
        char text[64];
        for (size_t k = 0; k < name.n; k++) {
            for (int c = 0; c < 256; c++) {
                memcpy(text, name.p, name.n);
                text[k] = (char)c;
                enum header_id expect = HEADER_OTHER;
                for (int other = 1; other < HEADER_COUNT; other++)
                    if (str_eq_nocase(str_make(text, name.n),
                                      str_of(header_name((enum header_id)other))))
                        expect = (enum header_id)other;
                /* CR counts as '-' here, by design: it is never in a name. */
                if (c == '\r' && name.p[k] == '-')
                    continue;
                assert_int_equal(id_of(str_make(text, name.n)), expect);
            }
        }
        /* One byte short, one byte more, one in front. */
        memcpy(text + 1, name.p, name.n);
        text[0] = text[name.n + 1] = 'x';
        assert_int_equal(id_of(str_make(text, name.n + 1)), HEADER_OTHER);
        assert_int_equal(id_of(str_make(text + 1, name.n + 1)), HEADER_OTHER);
        if (name.n > 3)
            assert_int_equal(id_of(str_head(name, name.n - 1)), HEADER_OTHER);
    }
    assert_int_equal(id_of(STR("")), HEADER_OTHER);
    assert_int_equal(id_of(STR("x")), HEADER_OTHER);
    char longest[400];
    memset(longest, 'a', sizeof(longest));
    for (size_t n = 0; n <= sizeof(longest); n++)
        assert_int_equal(id_of(str_make(longest, n)), HEADER_OTHER);
    /* The length goes into the key's top byte: 256 + 4 must not look like 4. */
    memcpy(longest, "host", 4);
    memcpy(longest + 256, "host", 4);
    assert_int_equal(id_of(str_make(longest, 260)), HEADER_OTHER);
}

/* ---- Lines, beside a plain model
 * ------------------------------------------------------------------- */

struct model {
    char name[32], value[32];
};

struct both {
    struct head head;
    struct header list[LINES];
    struct model model[LINES * 4];
    unsigned n;
    struct arena arena;
};

static const char *const some_names[] = {"Host",    "host",    "HOST",   "Content-Length", "X-A",
                                         "x-a",     "X-B",     "Cookie", "cookie",         "X-Ab",
                                         "Upgrade", "Trailer", "Te",     "x-forwarded-for"};

static bool same(const char *a, const char *b)
{
    return str_eq_nocase(str_of(a), str_of(b));
}

static void model_remove(struct both *b, const char *name)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < b->n; i++)
        if (!same(b->model[i].name, name))
            b->model[kept++] = b->model[i];
    b->n = kept;
}

static void model_add(struct both *b, const char *name, const char *value)
{
    struct model *m = &b->model[b->n++];

    snprintf(m->name, sizeof(m->name), "%s", name);
    snprintf(m->value, sizeof(m->value), "%s", value);
}

static void check(const struct both *b, const struct head *head)
{
    unsigned at = 0;

    for (unsigned i = 0; i < head->n; i++) {
        const struct header *h = &head->list[i];
        if (!h->name_n)
            continue;
        assert_true(at < b->n);
        assert_true(str_eq(header_str_name(h), str_of(b->model[at].name)));
        assert_true(str_eq(header_str_value(h), str_of(b->model[at].value)));
        assert_int_equal(h->id, header_id(header_str_name(h)));
        at++;
    }
    assert_int_equal(at, b->n);
    for (size_t k = 0; k < sizeof(some_names) / sizeof(*some_names); k++) {
        struct str name = str_of(some_names[k]);
        const struct header *found = head_find_name(head, name);
        unsigned i = 0;
        while (i < b->n && !same(b->model[i].name, some_names[k]))
            i++;
        if (i == b->n) {
            assert_null(found);
            continue;
        }
        assert_non_null(found);
        assert_true(str_eq(header_str_value(found), str_of(b->model[i].value)));
        if (header_id(name)) {
            assert_ptr_equal(head_find(head, header_id(name)), found);
            assert_true(str_eq(head_value(head, header_id(name)), header_str_value(found)));
        }
    }
}

static void random_change(struct both *b, unsigned round)
{
    const char *name = some_names[random_below(sizeof(some_names) / sizeof(*some_names))];
    struct str key = arena_str(&b->arena, str_of(name));
    struct str value = arena_printf(&b->arena, "v%u", round);

    switch (random_below(8)) {
    case 0:
        head_set(&b->head, &b->arena, key, value);
        model_remove(b, name);
        model_add(b, name, value.p);
        break;
    case 1:
        head_remove_name(&b->head, key);
        model_remove(b, name);
        break;
    case 2:
        if (header_id(key)) {
            head_remove(&b->head, header_id(key));
            model_remove(b, name);
        }
        break;
    default:
        assert_true(head_add(&b->head, &b->arena, header_id(key), key, value));
        model_add(b, name, value.p);
        break;
    }
}

static void test_changes(void **state)
{
    struct both *b = malloc(sizeof(*b));

    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        b->n = 0;
        arena_init(&b->arena, NULL);
        head_init(&b->head, b->list, random_below(20));
        unsigned changes = random_below(LINES);
        for (unsigned i = 0; i < changes; i++)
            random_change(b, i);
        check(b, &b->head);
        struct head copy;
        head_copy(&copy, &b->head, &b->arena, 3);
        check(b, &copy);
        /* The copy stands by itself. */
        for (unsigned i = 0; i < b->head.n && b->head.list == b->list; i++)
            b->head.list[i] = (struct header){.name = "gone", .name_n = 4};
        check(b, &copy);
        arena_fini(&b->arena);
    }
    free(b);
}

static void test_room(void **state)
{
    struct header list[2];
    struct head head;
    struct arena a;

    (void)state;
    head_init(&head, list, 2);
    assert_true(head_add(&head, NULL, HEADER_HOST, STR("Host"), STR("a")));
    assert_false(head_add(&head, NULL, HEADER_OTHER, STR(""), STR("a")));
    assert_true(head_add(&head, NULL, HEADER_OTHER, STR("X"), STR_NONE));
    assert_non_null(head.list[1].value);
    assert_false(head_add(&head, NULL, HEADER_OTHER, STR("Y"), STR("a")));
    assert_int_equal(head.n, 2);
    arena_init(&a, NULL);
    while (head.n < LINES)
        assert_true(head_add(&head, &a, HEADER_OTHER, STR("Y"), STR("a")));
    assert_false(head_add(&head, &a, HEADER_OTHER, STR("Y"), STR("a")));
    assert_true(str_eq(head_value(&head, HEADER_HOST), STR("a")));
    assert_null(head_value(&head, HEADER_COOKIE).p);
    arena_fini(&a);
}

/* ---- Lists
 * ----------------------------------------------------------------------------------------- */

static void test_lists(void **state)
{
    static const struct {
        struct str value;
        const char *elements; /* joined with '|' */
    } rows[] = {
        {STR("a"), "a|"},
        {STR("a,b"), "a|b|"},
        {STR(" a ,\tb , "), "a|b|"},
        {STR(",,a,,"), "a|"},
        {STR(""), ""},
        {STR(" , ,"), ""},
        {STR("close, Keep-Alive"), "close|Keep-Alive|"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct str rest = rows[i].value, element;
        char text[64] = "";
        while (list_next(&rest, &element))
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%.*s|", STR_ARG(element));
        assert_string_equal(text, rows[i].elements);
    }
    struct str none = STR_NONE, element;
    assert_false(list_next(&none, &element));
    assert_true(list_has_token(STR("Close"), STR("close")));
    assert_true(list_has_token(STR("x, CLOSE"), STR("close")));
    assert_true(list_has_token(STR("upgrade,close , y"), STR("close")));
    assert_false(list_has_token(STR("closed"), STR("close")));
    assert_false(list_has_token(STR("not close"), STR("close")));
    assert_false(list_has_token(STR(""), STR("close")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_in_any_case),
        cmocka_unit_test(test_near_misses),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
