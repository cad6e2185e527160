/* SPDX-License-Identifier: Apache-2.0 */
/* Validates and parses JSON by field tables. The messages and the order of the checks are those of
 * api7/jsonschema, the validator that APISIX uses: clients and dashboards know its words. */
#include "config/fields.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/panic.h"
#include "config/fields_int.h"

/* A number as Lua's tostring writes it. */
struct number_text {
    char text[32];
};

static struct number_text number_text(double v)
{
    struct number_text t;

    snprintf(t.text, sizeof(t.text), "%.14g", v);
    return t;
}

bool parse_fail(struct parse *p, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    p->err = arena_vprintf(p->arena, fmt, ap);
    va_end(ap);
    return false;
}

/* The names of Lua's types, since the messages show them: null is a userdata there. */
static const char *type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        return "table";
    case JSON_STRING:
        return "string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "boolean";
    case JSON_NULL:
        return "userdata";
    }
    PANIC("a JSON value without a type");
}

static bool wrong_type(struct parse *p, const char *expected, const json_t *v)
{
    return parse_fail(p, "wrong type: expected %s, got %s", expected, type_name(v));
}

static struct str string_of(const json_t *v)
{
    return str_make(json_string_value(v), json_string_length(v));
}

bool field_is_reference(const json_t *v)
{
    if (!json_is_string(v))
        return false;
    struct str s = string_of(v);
    return str_starts(s, STR("$secret://")) || str_eq_nocase(str_head(s, 7), STR("$ENV://"));
}

const struct field *fields_row(const struct fields *fields, struct str name)
{
    for (const struct field *f = fields->rows; f->name; f++)
        if (str_eq(str_of(f->name), name))
            return f;
    return NULL;
}

const struct field *field_of(const struct field *f)
{
    static const struct field any = {.type = FIELD_JSON};

    return f->of ? f->of : &any;
}

/* ---- Strings ----------------------------------------------------------------------------------
 */

/* Characters, not bytes; jansson let only valid UTF-8 in. */
static size_t char_count(struct str s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

/* Text as Lua's %q quotes it (LuaJIT: control characters in decimal, padded before a digit). */
static struct str quoted(struct arena *a, struct str s)
{
    struct buf out;

    buf_init(&out, s.n * 4 + 16);
    buf_printf(&out, "\"");
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\' || c == '\n')
            buf_printf(&out, "\\%c", c);
        else if (c < 32 || c == 127)
            buf_printf(&out, i + 1 < s.n && ascii_digit(s.p[i + 1]) ? "\\%03d" : "\\%d", c);
        else
            buf_printf(&out, "%c", c);
    }
    buf_printf(&out, "\"");
    struct str text = arena_str(a, buf_str(&out));
    buf_fini(&out);
    return text;
}

static bool check_format(struct parse *p, const struct field *f, struct str s)
{
    unsigned char address[sizeof(struct in6_addr)];
    int family = f->format[3] == '6' ? AF_INET6 : AF_INET;

    /* s has a NUL behind it: it is a JSON string. */
    if (inet_pton(family, s.p, address) == 1)
        return true;
    return parse_fail(p, "expect valid %s format but got: %.*s", f->format,
                      STR_ARG(p->secret ? STR("***") : s));
}

static bool match_alternatives(struct parse *p, const struct field *of, const json_t *v);

static bool parse_str(struct parse *p, const struct field *f, const json_t *v, void *at)
{
    if (!json_is_string(v))
        return wrong_type(p, "string", v);
    struct str s = string_of(v);
    if (!field_is_reference(v)) {
        size_t n = char_count(s);
        if (f->min > 0 && n < (size_t)f->min)
            return parse_fail(p, "string too short, expected at least %zu, got %zu", (size_t)f->min,
                              n);
        if (f->max > 0 && n > (size_t)f->max)
            return parse_fail(p, "string too long, expected at most %zu, got %zu", (size_t)f->max,
                              n);
        if (f->pattern && !memo_matches(f->pattern, s))
            return parse_fail(p, "failed to match pattern %.*s with %.*s",
                              STR_ARG(quoted(p->arena, str_of(f->pattern))),
                              STR_ARG(quoted(p->arena, p->secret ? STR("***") : s)));
        if (f->of && !match_alternatives(p, f->of, v))
            return false;
        if (f->format && !check_format(p, f, s))
            return false;
    }
    if (at)
        *(struct str *)at = arena_str(p->arena, s);
    return true;
}

static void default_store(struct parse *p, const struct field *f, void *at);

static bool parse_enum(struct parse *p, const struct field *f, const json_t *v, void *at)
{
    if (!json_is_string(v))
        return wrong_type(p, "string", v);
    if (field_is_reference(v)) {
        if (at)
            default_store(p, f, at);
        return true;
    }
    for (int i = 0; f->names[i]; i++)
        if (str_eq(string_of(v), str_of(f->names[i]))) {
            if (at)
                *(int *)at = i;
            return true;
        }
    return parse_fail(p, "matches none of the enum values");
}

/* ---- Numbers and booleans ---------------------------------------------------------------------
 */

static bool parse_bool(struct parse *p, const struct field *f, const json_t *v, void *at)
{
    (void)f;
    if (!json_is_boolean(v))
        return wrong_type(p, "boolean", v);
    if (at)
        *(bool *)at = json_is_true(v);
    return true;
}

static bool check_range(struct parse *p, const struct field *f, double v)
{
    if (f->flags & FIELD_ABOVE_MIN) {
        if (v <= f->min)
            return parse_fail(p, "expected %s to be greater than %s", number_text(v).text,
                              number_text(f->min).text);
    } else if (((f->flags & FIELD_HAS_MIN) || f->min != 0) && v < f->min) {
        return parse_fail(p, "expected %s to be at least %s", number_text(v).text,
                          number_text(f->min).text);
    }
    if (f->max != 0 && v > f->max)
        return parse_fail(p, "expected %s to be at most %s", number_text(v).text,
                          number_text(f->max).text);
    return true;
}

static bool parse_int(struct parse *p, const struct field *f, const json_t *v, void *at)
{
    double d = json_number_value(v);
    int64_t i;

    if (!json_is_number(v))
        return wrong_type(p, "integer", v);
    if (d != floor(d))
        return wrong_type(p, "integer", v);
    i = field_int(v);
    if (!check_range(p, f, d))
        return false;
    if (f->names) {
        const char *const *name = f->names;
        while (*name && strtod(*name, NULL) != d)
            name++;
        if (!*name)
            return parse_fail(p, "matches none of the enum values");
    }
    if (at)
        *(int64_t *)at = i;
    return true;
}

static bool parse_num(struct parse *p, const struct field *f, const json_t *v, void *at)
{
    if (!json_is_number(v))
        return wrong_type(p, "number", v);
    if (!check_range(p, f, json_number_value(v)))
        return false;
    if (at)
        *(double *)at = json_number_value(v);
    return true;
}

/* ---- Alternatives and free values -------------------------------------------------------------
 */

const struct field *field_match(const struct field *of, const json_t *v)
{
    struct arena messages; /* why the others did not fit; of no use to anybody */
    struct parse trial = {.arena = &messages};

    arena_init(&messages, NULL);
    while (of->name && !field_value(&trial, of, v, NULL))
        of++;
    arena_fini(&messages);
    return of->name ? of : NULL;
}

/* The message lists what the alternatives require, for those that say so on their top level. */
static bool fail_alternatives(struct parse *p, const struct field *of)
{
    struct buf text;

    buf_init(&text, 8192);
    for (; of->name; of++) {
        const char *comma = "";
        if (of->type != FIELD_OBJECT)
            continue;
        for (const struct field *f = of->fields->rows; f->name; f++) {
            if (!(f->flags & FIELD_REQUIRED))
                continue;
            if (!*comma)
                buf_printf(&text, "%s[", text.n ? " or " : ": ");
            buf_printf(&text, "%s\"%s\"", comma, f->name);
            comma = ",";
        }
        if (*comma)
            buf_printf(&text, "]");
    }
    parse_fail(p, "object matches none of the required%.*s", STR_ARG(buf_str(&text)));
    buf_fini(&text);
    return false;
}

static bool match_alternatives(struct parse *p, const struct field *of, const json_t *v)
{
    return field_match(of, v) ? true : fail_alternatives(p, of);
}

static void store_any(struct parse *p, const struct field *f, const json_t *v, void *at)
{
    if (!at)
        return;
    if (!(f->flags & FIELD_AS_TEXT))
        *(json_t **)at = json_loose(v);
    else if (json_is_string(v))
        *(struct str *)at = arena_str(p->arena, string_of(v));
    else if (json_is_integer(v))
        *(struct str *)at = arena_printf(p->arena, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        *(struct str *)at = arena_printf(p->arena, "%.14g", json_real_value(v));
    else
        PANIC("FIELD_AS_TEXT with rows for other things than strings and numbers");
}

static bool parse_any_of(struct parse *p, const struct field *f, const json_t *v, void *at)
{
    if (!field_is_reference(v) && !match_alternatives(p, f->of, v))
        return false;
    store_any(p, f, v, at);
    return true;
}

static bool parse_one_of(struct parse *p, const struct field *f, const json_t *v, void *at)
{
    if (!field_is_reference(v)) {
        const struct field *one = field_match(f->of, v);
        if (!one)
            return parse_fail(p, "value should match only one schema, but matches none");
        const struct field *other = field_match(one + 1, v);
        if (other)
            return parse_fail(p,
                              "value should match only one schema, but matches both schemas "
                              "%d and %d",
                              (int)(one - f->of) + 1, (int)(other - f->of) + 1);
    }
    store_any(p, f, v, at);
    return true;
}

static bool parse_json(struct parse *p, const struct field *f, const json_t *v, void *at)
{
    if (f->of && !field_value(p, f->of, v, NULL))
        return false;
    if (at)
        *(json_t **)at = json_loose(v);
    return true;
}

/* ---- Lists, maps, objects ---------------------------------------------------------------------
 */

/* An empty Lua table is an array and an object, and documents made by Lua or PHP show it. */
static bool is_array(const json_t *v)
{
    return json_is_array(v) || (json_is_object(v) && json_object_size(v) == 0);
}

static bool is_object(const json_t *v)
{
    return json_is_object(v) || (json_is_array(v) && json_array_size(v) == 0);
}

static size_t slot_size(const struct field *f)
{
    switch (f->type) {
    case FIELD_BOOL:
        return sizeof(bool);
    case FIELD_INT:
        return sizeof(int64_t);
    case FIELD_NUM:
        return sizeof(double);
    case FIELD_STR:
        return sizeof(struct str);
    case FIELD_ENUM:
        return sizeof(int);
    case FIELD_LIST:
    case FIELD_MAP:
        return sizeof(struct field_list);
    case FIELD_OBJECT:
        return f->fields->size;
    case FIELD_JSON:
        return sizeof(json_t *);
    case FIELD_ANY_OF:
    case FIELD_ONE_OF:
        return f->flags & FIELD_AS_TEXT ? sizeof(struct str) : sizeof(json_t *);
    }
    PANIC("a field without a type");
}

/* Equal texts are equal values; a number is written as Lua writes it, whatever JSON made of it. */
static char *text_of(const json_t *v)
{
    if (!json_is_number(v))
        return json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
    char text[32];
    snprintf(text, sizeof(text), "%.17g", json_number_value(v));
    return str_dup(str_of(text));
}

static bool check_unique(struct parse *p, const json_t *list)
{
    json_t *seen = json_object();
    const json_t *first = NULL;
    size_t i;

    for (i = 0; i < json_array_size(list) && !first; i++) {
        char *text = text_of(json_array_get(list, i));
        first = json_object_get(seen, text);
        if (first)
            parse_fail(p, "expected unique items but items %lld and %zu are equal",
                       (long long)json_integer_value(first), i + 1);
        else
            json_object_set_new_nocheck(seen, text, json_integer((json_int_t)i + 1));
        free(text);
    }
    bool unique = !first;
    json_decref(seen);
    return unique;
}

static bool parse_object(struct parse *p, const struct fields *fields, const json_t *in, char *out);

static bool parse_list(struct parse *p, const struct field *f, const json_t *v, void *at)
{
    const struct field *of = field_of(f);
    size_t n = json_array_size(v), size = slot_size(of);

    if (!is_array(v))
        return wrong_type(p, "array", v);
    if (f->min > 0 && n < (size_t)f->min)
        return parse_fail(p, "expect array to have at least %zu items", (size_t)f->min);
    if (f->max > 0 && n > (size_t)f->max)
        return parse_fail(p, "expect array to have at most %zu items", (size_t)f->max);
    char *items = at ? arena_zero(p->arena, n * size) : NULL;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(v, i);
        char *slot = items ? items + i * size : NULL;
        bool good = of->type == FIELD_OBJECT ? parse_object(p, of->fields, item, slot)
                                             : field_value(p, of, item, slot);
        if (!good)
            return parse_fail(p, "failed to validate item %zu: %.*s", i + 1, STR_ARG(p->err));
    }
    if ((f->flags & FIELD_UNIQUE) && !check_unique(p, v))
        return false;
    if (at)
        *(struct field_list *)at = (struct field_list){items, n};
    return true;
}

static bool is_pair(const struct field *of)
{
    return of->type == FIELD_STR ||
           ((of->type == FIELD_ANY_OF || of->type == FIELD_ONE_OF) && (of->flags & FIELD_AS_TEXT));
}

static bool fail_member(struct parse *p, const struct field *f, const char *key)
{
    if (!f->pattern && (f->flags & FIELD_CLOSED))
        return parse_fail(p, "failed to validate additional property %s: %.*s", key,
                          STR_ARG(p->err));
    return parse_fail(p, "failed to validate %s (matching \"%s\"): %.*s", key,
                      f->pattern ? f->pattern : ".*", STR_ARG(p->err));
}

/* One property of a map. `list` NULL: only check. */
static bool parse_member(struct parse *p, const struct field *f, const char *key, const json_t *v,
                         struct field_list *list)
{
    const struct field *of = field_of(f);
    struct field_pair pair;

    if (f->pattern && !memo_matches(f->pattern, str_of(key)))
        return f->flags & FIELD_CLOSED
                   ? parse_fail(p, "additional properties forbidden, found %s", key)
                   : true;
    if (!field_value(p, of, v, list && is_pair(of) ? &pair.value : NULL))
        return fail_member(p, f, key);
    if (!list)
        return true;
    pair.key = arena_str(p->arena, str_of(key));
    if (is_pair(of))
        ((struct field_pair *)list->items)[list->n++] = pair;
    else
        ((struct field_member *)list->items)[list->n++] = (struct field_member){pair.key,
                                                                                json_loose(v)};
    return true;
}

static bool parse_map(struct parse *p, const struct field *f, const json_t *v, void *at)
{
    size_t n = json_object_size(v);
    bool pairs = is_pair(field_of(f));
    struct field_list list = {NULL, 0};
    const char *key;
    json_t *value;

    if (!is_object(v))
        return wrong_type(p, "object", v);
    if (at)
        list.items = arena_alloc(
            p->arena, n * (pairs ? sizeof(struct field_pair) : sizeof(struct field_member)));
    json_object_foreach(json_loose(v), key,
                        value) if (!parse_member(p, f, key, value, at ? &list : NULL)) return false;
    if (f->min > 0 && n < (size_t)f->min)
        return parse_fail(p, "expect object to have at least %zu properties", (size_t)f->min);
    if (f->max > 0 && n > (size_t)f->max)
        return parse_fail(p, "expect object to have at most %zu properties", (size_t)f->max);
    if (at)
        *(struct field_list *)at = list;
    return true;
}

static void default_store(struct parse *p, const struct field *f, void *at)
{
    if (!f->def) {
        if (f->type == FIELD_ENUM)
            *(int *)at = -1;
        return;
    }
    if (!field_value(p, f, memo_json(f->def), at))
        panic_at(f->name, 0, f->def, p->err.p);
}

static bool check_unknown(struct parse *p, const struct fields *fields, const json_t *in)
{
    const char *key;
    json_t *value;

    if (fields->open)
        return true;
    json_object_foreach(json_loose(in), key, value) if (
        !fields_row(fields,
                    str_of(key))) return parse_fail(p, "additional properties forbidden, found %s",
                                                    key);
    return true;
}

/* out NULL: only check. */
static bool parse_object(struct parse *p, const struct fields *fields, const json_t *in, char *out)
{
    if (!is_object(in))
        return wrong_type(p, "object", in);
    for (const struct field *f = fields->rows; f->name; f++) {
        const json_t *v = json_object_get(in, f->name);
        if (v && !field_value(p, f, v, out ? out + f->at : NULL))
            return parse_fail(p, "property \"%s\" validation failed: %.*s", f->name,
                              STR_ARG(p->err));
        if (!v && (f->flags & FIELD_REQUIRED))
            return parse_fail(p, "property \"%s\" is required", f->name);
        if (!v && out)
            default_store(p, f, out + f->at);
    }
    return rules_depend(p, fields, in) && check_unknown(p, fields, in) && rules_rest(p, fields, in);
}

static bool parse_pointer(struct parse *p, const struct field *f, const json_t *v, void *at)
{
    char *out = at ? arena_zero(p->arena, f->fields->size) : NULL;

    if (!parse_object(p, f->fields, v, out))
        return false;
    if (at)
        *(void **)at = out;
    return true;
}

bool field_value(struct parse *p, const struct field *f, const json_t *v, void *at)
{
    typedef bool parse_fn(struct parse *, const struct field *, const json_t *, void *);
    static parse_fn *const by_type[] = {
        [FIELD_BOOL] = parse_bool,      [FIELD_INT] = parse_int,       [FIELD_NUM] = parse_num,
        [FIELD_STR] = parse_str,        [FIELD_ENUM] = parse_enum,     [FIELD_LIST] = parse_list,
        [FIELD_OBJECT] = parse_pointer, [FIELD_MAP] = parse_map,       [FIELD_JSON] = parse_json,
        [FIELD_ANY_OF] = parse_any_of,  [FIELD_ONE_OF] = parse_one_of,
    };

    bool outer = p->secret;
    p->secret = outer || (f->flags & FIELD_SECRET);
    bool good = by_type[f->type](p, f, v, at);
    p->secret = outer;
    return good;
}

bool fields_check(const struct fields *fields, const json_t *in, struct arena *a, struct str *err)
{
    struct parse p = {.arena = a};

    if (parse_object(&p, fields, in, NULL))
        return true;
    *err = p.err;
    return false;
}

bool fields_parse(const struct fields *fields, const json_t *in, void *out, struct arena *a,
                  struct str *err)
{
    struct parse p = {.arena = a};

    memset(out, 0, fields->size);
    if (parse_object(&p, fields, in, out))
        return true;
    *err = p.err;
    return false;
}
