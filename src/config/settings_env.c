/* SPDX-License-Identifier: Apache-2.0 */
/* Environment variables in config.yaml: ${{VAR}} and ${{VAR:=default}} (APISIX: cli/file.lua). */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/buf.h"
#include "config/settings.h"

enum { TEXT_MAX = 1 << 20, VARIABLE_MAX = 256 };

struct substitution {
    struct arena *arena;
    size_t max; /* bytes of a text */
    struct str err;
};

static bool is_word(char c)
{
    return ascii_digit(c) || c == '_' || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

/* Finds the first reference in s: its place, its length with the braces, what is between them. */
static bool find_reference(struct str s, size_t *at, size_t *length, struct str *inside)
{
    for (size_t from = 0;;) {
        ptrdiff_t open = str_search(str_from(s, from), STR("${{"));
        if (open < 0)
            return false;
        *at = from + (size_t)open;
        struct str rest = str_from(s, *at + 3);
        ptrdiff_t close = str_search(rest, STR("}}"));
        if (close < 0)
            return false;
        *inside = str_trim(str_head(rest, (size_t)close));
        *length = (size_t)close + 5;
        if (inside->n && is_word(inside->p[0]))
            return true;
        from = *at + 3;
    }
}

static bool look_up(struct substitution *sub, struct str inside, struct str *value)
{
    ptrdiff_t at = str_search(inside, STR(":="));
    struct str name = at < 0 ? inside : str_trim(str_head(inside, (size_t)at));
    char z[VARIABLE_MAX];

    if (name.n < sizeof(z)) {
        memcpy(z, name.p, name.n);
        z[name.n] = 0;
        *value = str_of(getenv(z));
        if (value->p)
            return true;
    }
    if (at >= 0) {
        *value = str_trim(str_from(inside, (size_t)at + 2));
        return true;
    }
    sub->err = arena_printf(sub->arena,
                            "failed to handle configuration: can't find environment variable %.*s",
                            STR_ARG(name));
    return false;
}

/* *used: there was a reference, and *out (in the arena) is the new text. False: sub->err is set. */
static bool replace(struct substitution *sub, struct str s, struct str *out, bool *used)
{
    struct str inside, value;
    size_t at, length;
    struct buf text;
    bool good = true;

    *used = false;
    buf_init(&text, sub->max);
    while (good && find_reference(s, &at, &length, &inside)) {
        *used = true;
        good = look_up(sub, inside, &value);
        if (good && !(buf_add(&text, str_head(s, at)) && buf_add(&text, value))) {
            sub->err = arena_printf(sub->arena, "failed to handle configuration: "
                                                "a value with variables is too long");
            good = false;
        }
        s = str_from(s, at + length);
    }
    if (*used && good && !buf_add(&text, s)) {
        sub->err = arena_printf(sub->arena, "failed to handle configuration: "
                                            "a value with variables is too long");
        good = false;
    }
    if (*used && good)
        *out = arena_str(sub->arena, buf_str(&text));
    buf_fini(&text);
    return good;
}

/* Numbers become numbers, as in APISIX, but only where the number says all that the text did: "007"
 * and a key of 20 digits stay text. */
static json_t *number_json(struct str s)
{
    char *end;

    if (s.n == 0 || s.n > 15 || strspn(s.p, "+-.0123456789eE") != s.n)
        return NULL;
    struct str digits = s.p[0] == '-' ? str_from(s, 1) : s;
    if (digits.n > 1 && digits.p[0] == '0' && ascii_digit(digits.p[1]))
        return NULL;
    errno = 0;
    long long i = strtoll(s.p, &end, 10);
    if (!*end && end != s.p && !errno)
        return json_integer(i);
    double d = strtod(s.p, &end);
    return *end || end == s.p || !isfinite(d) ? NULL : json_real(d);
}

static json_t *string_json(struct substitution *sub, json_t *v)
{
    struct str text;
    bool used;
    json_t *out;

    if (!replace(sub, str_make(json_string_value(v), json_string_length(v)), &text, &used))
        out = NULL;
    else if (!used)
        return v;
    else if (str_eq(text, STR("true")))
        out = json_true();
    else if (str_eq(text, STR("false")))
        out = json_false();
    else
        out = number_json(text);
    if (!out && !sub->err.p) {
        out = json_stringn(text.p, text.n);
        if (!out)
            sub->err = arena_printf(sub->arena, "failed to handle configuration: an environment "
                                                "variable is not valid UTF-8");
    }
    json_decref(v);
    return out;
}

static json_t *value_json(struct substitution *sub, json_t *v);

static json_t *list_json(struct substitution *sub, json_t *v)
{
    for (size_t i = 0; i < json_array_size(v); i++) {
        json_t *item = value_json(sub, json_incref(json_array_get(v, i)));
        if (!item) {
            json_decref(v);
            return NULL;
        }
        json_array_set_new(v, i, item);
    }
    return v;
}

static json_t *object_json(struct substitution *sub, json_t *v)
{
    json_t *out = json_object(), *value;
    const char *key;
    struct str name;
    bool used, good = true;

    json_object_foreach(v, key, value)
    {
        name = str_of(key);
        json_t *member = replace(sub, name, &name, &used) ? value_json(sub, json_incref(value))
                                                          : NULL;
        good = member && json_object_setn_new(out, name.p, name.n, member) == 0;
        if (!good)
            break;
    }
    if (!good && !sub->err.p)
        sub->err = arena_printf(sub->arena, "failed to handle configuration: an environment "
                                            "variable is not valid UTF-8");
    json_decref(v);
    if (good)
        return out;
    json_decref(out);
    return NULL;
}

/* Takes one reference to v and gives one back, or NULL. */
static json_t *value_json(struct substitution *sub, json_t *v)
{
    if (json_is_string(v))
        return string_json(sub, v);
    if (json_is_array(v))
        return list_json(sub, v);
    if (json_is_object(v))
        return object_json(sub, v);
    return v;
}

bool settings_substitute_text(struct str text, size_t max, struct arena *a, struct str *out,
                              struct str *err)
{
    struct substitution sub = {.arena = a, .max = max};
    bool used;

    *out = text;
    if (replace(&sub, text, out, &used))
        return true;
    *err = sub.err;
    return false;
}

json_t *settings_substitute(json_t *v, struct arena *a, struct str *err)
{
    struct substitution sub = {.arena = a, .max = TEXT_MAX};
    json_t *out = value_json(&sub, v);

    if (!out)
        *err = sub.err;
    return out;
}
