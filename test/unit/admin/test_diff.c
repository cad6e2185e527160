/* SPDX-License-Identifier: Apache-2.0 */
/* JSON patches: what they say, and that they make one value of the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "admin/diff.h"

static json_t *parse(const char *text)
{
    json_t *v = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;

    assert_true(!text || v);
    return v;
}

static void test_patches(void **state)
{
    static const struct {
        const char *before, *after, *patch;
    } rows[] = {
        {"{}", "{}", "[]"},
        {"{\"a\":1,\"b\":[1]}", "{\"b\":[1],\"a\":1}", "[]"},
        {NULL, NULL, "[]"},
        {NULL, "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"\",\"value\":{\"a\":1}}]"},
        {"{\"a\":1}", NULL, "[{\"op\":\"remove\",\"path\":\"\"}]"},
        {"{\"a\":1}", "{\"a\":2}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":2}]"},
        {"{\"a\":1}", "{\"a\":null}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":null}]"},
        {"{\"a\":1}", "{\"b\":1}",
         "[{\"op\":\"remove\",\"path\":\"/a\"},{\"op\":\"add\",\"path\":\"/b\",\"value\":1}]"},
        {"{\"a\":{\"b\":{\"c\":1}}}", "{\"a\":{\"b\":{\"c\":[]}}}",
         "[{\"op\":\"replace\",\"path\":\"/a/b/c\",\"value\":[]}]"},
        {"{\"a\":{}}", "{\"a\":[]}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":[]}]"},
        {"{\"a/b\":1,\"m~n\":1,\"\":1}", "{\"a/b\":2,\"m~n\":2,\"\":2}",
         "[{\"op\":\"replace\",\"path\":\"/a~1b\",\"value\":2},{\"op\":\"replace\",\"path\":\"/"
         "m~0n\",\"value\":2},{\"op\":\"replace\",\"path\":\"/\",\"value\":2}]"},
        {"[1,2,3]", "[1,9,3]", "[{\"op\":\"replace\",\"path\":\"/1\",\"value\":9}]"},
        {"[1,2,3]", "[1,3]", "[{\"op\":\"remove\",\"path\":\"/1\"}]"},
        {"[1,3]", "[1,2,3]", "[{\"op\":\"add\",\"path\":\"/1\",\"value\":2}]"},
        {"[1,2,3,4]", "[1]",
         "[{\"op\":\"remove\",\"path\":\"/3\"},{\"op\":\"remove\",\"path\":\"/2\"},"
         "{\"op\":\"remove\",\"path\":\"/1\"}]"},
        {"[]", "[1,2]",
         "[{\"op\":\"add\",\"path\":\"/0\",\"value\":1},{\"op\":\"add\",\"path\":\"/"
         "1\",\"value\":2}]"},
        {"[{\"a\":1},{\"b\":1}]", "[{\"a\":1},{\"b\":2}]",
         "[{\"op\":\"replace\",\"path\":\"/1/b\",\"value\":2}]"},
        {"\"x\"", "7", "[{\"op\":\"replace\",\"path\":\"\",\"value\":7}]"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *before = parse(rows[i].before), *after = parse(rows[i].after);
        json_t *patch = diff_make(before, after);
        char *text = json_dumps(patch, JSON_COMPACT);
        assert_string_equal(text, rows[i].patch);
        free(text);
        json_decref(patch);
        json_decref(before);
        json_decref(after);
    }
}

/* A value below a long name is told whole, not each of its members with the name in front. */
static void test_long_names(void **state)
{
    enum { MEMBERS = 1000 };
    json_t *before = json_object(), *after = json_object(), *inner = json_array();
    char name[1100];

    (void)state;
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = 0;
    for (int i = 0; i < MEMBERS; i++)
        json_array_append_new(inner, json_integer(i));
    json_object_set_new(before, name, inner);
    inner = json_deep_copy(inner);
    json_object_set_new(after, name, inner);
    json_array_set_new(inner, 0, json_true());
    json_array_set_new(inner, MEMBERS - 1, json_true());
    json_t *patch = diff_make(before, after), *one = json_array_get(patch, 0);
    assert_int_equal(json_array_size(patch), 1);
    assert_string_equal(json_string_value(json_object_get(one, "op")), "replace");
    assert_true(json_equal(json_object_get(one, "value"), inner));
    assert_string_equal(json_string_value(json_object_get(one, "path")) + 1, name);
    json_decref(patch);
    json_decref(before);
    json_decref(after);
}

/* ---- Applying (RFC 6902 §4, the three operations that are made) ---------------------------------
 */

/* The container of the path's last part, which is left in name. */
static json_t *walk(json_t *root, const char *path, char *name, size_t size)
{
    json_t *at = root;

    for (;;) {
        size_t n = 0;
        assert_int_equal(*path++, '/');
        while (*path && *path != '/') {
            char c = *path++;
            if (c == '~')
                c = *path++ == '1' ? '/' : '~';
            assert_true(n + 1 < size);
            name[n++] = c;
        }
        name[n] = 0;
        if (!*path)
            return at;
        at = json_is_array(at) ? json_array_get(at, strtoul(name, NULL, 10))
                               : json_object_get(at, name);
        assert_non_null(at);
    }
}

static void apply_one(json_t **root, const json_t *one)
{
    const char *op = json_string_value(json_object_get(one, "op"));
    const char *path = json_string_value(json_object_get(one, "path"));
    json_t *value = json_object_get(one, "value");
    char name[64];

    if (!*path) {
        assert_string_equal(op, "replace");
        json_decref(*root);
        *root = json_deep_copy(value);
        return;
    }
    json_t *at = walk(*root, path, name, sizeof(name));
    size_t i = strtoul(name, NULL, 10);
    if (strcmp(op, "remove") == 0)
        assert_int_equal(json_is_array(at) ? json_array_remove(at, i) : json_object_del(at, name),
                         0);
    else if (strcmp(op, "add") == 0)
        assert_int_equal(json_is_array(at) ? json_array_insert_new(at, i, json_deep_copy(value))
                                           : json_object_set_new(at, name, json_deep_copy(value)),
                         0);
    else
        assert_int_equal(json_is_array(at) ? json_array_set_new(at, i, json_deep_copy(value))
                                           : json_object_set_new(at, name, json_deep_copy(value)),
                         0);
}

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static json_t *random_value(uint32_t *seed, int depth)
{
    static const char *const names[] = {"a", "b", "c/d", "e~f", ""};
    uint32_t what = next(seed) % (depth ? 6 : 3);
    json_t *v;

    if (what < 2)
        return json_integer(next(seed) % 3);
    if (what == 2)
        return json_string(next(seed) % 2 ? "x" : "y");
    v = what < 5 ? json_object() : json_array();
    for (uint32_t n = next(seed) % 5; n > 0; n--) {
        json_t *below = random_value(seed, depth - 1);
        if (json_is_array(v))
            json_array_append_new(v, below);
        else
            json_object_set_new(v, names[next(seed) % 5], below);
    }
    return v;
}

static void test_any_two_values(void **state)
{
    uint32_t seed = 7;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        json_t *before = random_value(&seed, 4), *after = random_value(&seed, 4);
        json_t *patch = diff_make(before, after), *got = json_deep_copy(before), *one;
        size_t k;
        json_array_foreach(patch, k, one) apply_one(&got, one);
        assert_true(json_equal(got, after));
        json_decref(patch);
        json_decref(before);
        json_decref(after);
        json_decref(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patches),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_any_two_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
