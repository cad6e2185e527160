/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON Patch out of two values: member by member, and place by place in arrays. */
#include "admin/diff.h"

#include "base/buf.h"
#include "base/panic.h"

/* Behind a longer path a value is told whole: each change below would repeat the path. A name may
 * be as long as a document. */
enum { PATH_LONG = 1024, PATH_MAX_BYTES = 8 << 20 };

struct diff {
    json_t *patch;
    struct buf path; /* JSON Pointer (RFC 6901) of where we are */
};

static json_t *borrowed(const json_t *v)
{
    return json_incref((json_t *)(uintptr_t)v);
}

static void emit(struct diff *d, const char *op, const json_t *value)
{
    struct str path = buf_str(&d->path);
    json_t *one = json_pack("{ssso}", "op", op, "path", json_stringn(path.p ? path.p : "", path.n));

    if (value)
        json_object_set_new(one, "value", borrowed(value));
    json_array_append_new(d->patch, one);
}

static void path_add(struct diff *d, struct str s)
{
    bool room = buf_add(&d->path, s);

    ASSERT(room);
}

/* Returns the length to go back to. */
static size_t enter_name(struct diff *d, struct str name)
{
    size_t was = d->path.n;

    path_add(d, STR("/"));
    for (size_t i = 0; i < name.n; i++) {
        struct str c = str_make(name.p + i, 1);
        path_add(d, *c.p == '~' ? STR("~0") : *c.p == '/' ? STR("~1") : c);
    }
    return was;
}

static size_t enter_place(struct diff *d, size_t i)
{
    size_t was = d->path.n;

    buf_printf(&d->path, "/%zu", i);
    return was;
}

static void leave(struct diff *d, size_t was)
{
    d->path.n = was;
}

static void compare(struct diff *d, const json_t *before, const json_t *after);

static void compare_objects(struct diff *d, const json_t *before, const json_t *after)
{
    const char *name;
    json_t *value;
    size_t n;

    json_object_keylen_foreach((json_t *)(uintptr_t)before, name, n, value)
    {
        const json_t *now = json_object_getn(after, name, n);
        size_t was = enter_name(d, str_make(name, n));
        if (now)
            compare(d, value, now);
        else
            emit(d, "remove", NULL);
        leave(d, was);
    }
    json_object_keylen_foreach((json_t *)(uintptr_t)after, name, n, value)
    {
        if (json_object_getn(before, name, n))
            continue;
        size_t was = enter_name(d, str_make(name, n));
        emit(d, "add", value);
        leave(d, was);
    }
}

/* What is between the equal ends is compared place by place; what is too much goes from the back,
 * so that the places before it stay. */
static void compare_arrays(struct diff *d, const json_t *before, const json_t *after)
{
    size_t n = json_array_size(before), m = json_array_size(after), front = 0, back = 0;

    while (front < n && front < m &&
           json_equal(json_array_get(before, front), json_array_get(after, front)))
        front++;
    while (back < n - front && back < m - front &&
           json_equal(json_array_get(before, n - 1 - back), json_array_get(after, m - 1 - back)))
        back++;
    n -= back;
    m -= back;
    for (size_t i = front; i < n && i < m; i++) {
        size_t was = enter_place(d, i);
        compare(d, json_array_get(before, i), json_array_get(after, i));
        leave(d, was);
    }
    for (size_t i = n; i > m && i > front; i--) {
        size_t was = enter_place(d, i - 1);
        emit(d, "remove", NULL);
        leave(d, was);
    }
    for (size_t i = n; i < m; i++) {
        size_t was = enter_place(d, i);
        emit(d, "add", json_array_get(after, i));
        leave(d, was);
    }
}

static void compare(struct diff *d, const json_t *before, const json_t *after)
{
    if (json_equal(before, after))
        return;
    if (d->path.n > PATH_LONG)
        emit(d, "replace", after);
    else if (json_is_object(before) && json_is_object(after))
        compare_objects(d, before, after);
    else if (json_is_array(before) && json_is_array(after))
        compare_arrays(d, before, after);
    else
        emit(d, "replace", after);
}

json_t *diff_make(const json_t *before, const json_t *after)
{
    struct diff d = {.patch = json_array()};

    buf_init(&d.path, PATH_MAX_BYTES);
    if (before && after)
        compare(&d, before, after);
    else if (after)
        emit(&d, "add", after);
    else if (before)
        emit(&d, "remove", NULL);
    buf_fini(&d.path);
    return d.patch;
}
