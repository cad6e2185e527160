/* SPDX-License-Identifier: Apache-2.0 */
/* Texts with variables (APISIX: core.utils.resolve_var): compiled once, filled in per exchange. */
#include "config/build.h"
#include "exchange/vars.h"

static bool in_name(char c, enum text_syntax syntax)
{
    return ascii_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (c == '.' && syntax == TEXT_APISIX);
}

static void add_part(struct text *t, struct text_part part)
{
    t->parts[t->n++] = part;
}

static void add_literal(struct text *t, struct str s)
{
    if (s.n)
        add_part(t, (struct text_part){.literal = s});
}

/* A variable at the start of s ('$' first); returns its length, 0: none. */
static size_t variable_at(struct str s, enum text_syntax syntax, struct str *name,
                          struct str *otherwise)
{
    size_t n = 1;

    *otherwise = STR_NONE;
    if (s.n > 2 && s.p[1] == '{') {
        ptrdiff_t end = str_find(s, '}');
        if (end < 3)
            return 0;
        struct str inner = str_make(s.p + 2, (size_t)end - 2);
        ptrdiff_t or = str_search(inner, STR("??"));
        if (or >= 0) {
            *otherwise = str_trim(str_from(inner, (size_t) or +2));
            inner = str_head(inner, (size_t) or);
        }
        *name = str_trim(inner);
        return name->n ? (size_t)end + 1 : 0;
    }
    while (n < s.n && in_name(s.p[n], syntax))
        n++;
    *name = str_make(s.p + 1, n - 1);
    return n > 1 ? n : 0;
}

struct text *text_compile(struct str source, enum text_syntax syntax, struct arena *a)
{
    struct text *t = arena_zero(a, sizeof(*t));
    struct str s = arena_str(a, source);
    size_t dollars = 0, from = 0, at = 0;

    for (size_t i = 0; i < s.n; i++)
        dollars += s.p[i] == '$';
    t->parts = arena_zero(a, (2 * dollars + 1) * sizeof(*t->parts));
    t->constant = true;
    while (at < s.n) {
        struct text_part part = {.is_var = true};
        struct str name;
        /* A backslash keeps the dollar sign, and stays (resolve_var's look-behind). */
        bool begins = s.p[at] == '$' && (at == 0 || s.p[at - 1] != '\\');
        size_t n = begins ? variable_at(str_from(s, at), syntax, &name, &part.otherwise) : 0;
        if (!n) {
            at++;
            continue;
        }
        add_literal(t, str_make(s.p + from, at - from));
        part.var = var_find(name, a);
        /* nginx's own is always a text, and no body is read for it. */
        if (syntax == TEXT_NGINX && part.var.body == BODY_NONE)
            part.var.value = NULL;
        add_part(t, part);
        t->constant = false;
        from = at += n;
    }
    add_literal(t, str_make(s.p + from, s.n - from));
    return t;
}

static struct str part_value(struct exchange *ex, const struct text_part *p)
{
    struct str v;

    if (!p->is_var)
        return p->literal;
    v = var_text(ex, &p->var);
    return v.p ? v : p->otherwise;
}

static struct str escaped(struct exchange *ex, const struct text_part *p, escape_fn *escape)
{
    struct str v = part_value(ex, p);

    return escape && p->is_var && v.n ? escape(&ex->arena, v) : v;
}

struct str text_value_escaped(struct exchange *ex, const struct text *t, escape_fn *escape)
{
    struct str values[16];
    size_t total = 0;

    if (t->n == 1) {
        struct str one = escaped(ex, &t->parts[0], escape);
        return one.p ? one : STR("");
    }
    if (t->n > 16) {
        struct str all = STR("");
        for (unsigned i = 0; i < t->n; i++)
            all = arena_join(&ex->arena, all, escaped(ex, &t->parts[i], escape));
        return all;
    }
    for (unsigned i = 0; i < t->n; i++) {
        values[i] = escaped(ex, &t->parts[i], escape);
        total += values[i].n;
    }
    char *p = arena_bytes(&ex->arena, total + 1);
    size_t at = 0;
    for (unsigned i = 0; i < t->n; i++) {
        if (values[i].n)
            memcpy(p + at, values[i].p, values[i].n);
        at += values[i].n;
    }
    p[at] = 0;
    return str_make(p, at);
}

struct str text_value(struct exchange *ex, const struct text *t)
{
    return text_value_escaped(ex, t, NULL);
}

bool text_is_empty(struct exchange *ex, const struct text *t)
{
    bool variables = false;

    for (unsigned i = 0; i < t->n; i++) {
        if (!t->parts[i].is_var)
            continue;
        variables = true;
        if (part_value(ex, &t->parts[i]).n)
            return false;
    }
    return variables || t->n == 0;
}

bool text_is_constant(const struct text *t)
{
    return t->constant;
}

struct text *build_text(struct build *b, struct str source)
{
    struct text *t = text_compile(source, TEXT_APISIX, build_arena(b));

    for (unsigned i = 0; i < t->n; i++)
        build_body_need(b, t->parts[i].var.body);
    return t;
}

struct text *build_var(struct build *b, struct str name)
{
    struct arena *a = build_arena(b);
    struct text *t = arena_zero(a, sizeof(*t));

    t->parts = arena_zero(a, sizeof(*t->parts));
    t->parts[0] = (struct text_part){.is_var = true, .var = var_find(arena_str(a, name), a)};
    t->n = 1;
    build_body_need(b, t->parts[0].var.body);
    return t;
}

struct str var_value(struct exchange *ex, struct str name)
{
    struct var v = var_find(name, &ex->arena);

    return var_text(ex, &v);
}
