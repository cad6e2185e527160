/* SPDX-License-Identifier: Apache-2.0 */
/* Walks a document beside its field table: finds properties that the table does not know, and
 * strings that are secrets. */
#include "config/fields.h"
#include "config/fields_int.h"

/* ---- Unknown properties -----------------------------------------------------------------------
 */

struct hunt {
    struct arena arena; /* for paths */
    void (*unknown)(void *arg, struct str path);
    void *arg;
};

static void hunt_object(struct hunt *h, const struct fields *fields, const json_t *in,
                        struct str path);

static struct str path_key(struct hunt *h, struct str path, const char *key)
{
    if (path.n == 0)
        return arena_str(&h->arena, str_of(key));
    return arena_printf(&h->arena, "%.*s.%s", STR_ARG(path), key);
}

static void hunt_value(struct hunt *h, const struct field *f, const json_t *v, struct str path)
{
    const char *key;
    const json_t *item;
    json_t *value;

    switch (f->type) {
    case FIELD_OBJECT:
        hunt_object(h, f->fields, v, path);
        break;
    case FIELD_LIST:
        for (size_t i = 0; (item = json_array_get(v, i)); i++)
            hunt_value(h, field_of(f), item,
                       arena_printf(&h->arena, "%.*s[%zu]", STR_ARG(path), i + 1));
        break;
    case FIELD_MAP:
        json_object_foreach(json_loose(v), key, value)
            hunt_value(h, field_of(f), value, path_key(h, path, key));
        break;
    case FIELD_ANY_OF:
    case FIELD_ONE_OF: {
        const struct field *one = field_match(f->of, v);
        if (one)
            hunt_value(h, one, v, path);
        break;
    }
    case FIELD_JSON:
        if (f->of)
            hunt_value(h, f->of, v, path);
        break;
    case FIELD_BOOL:
    case FIELD_INT:
    case FIELD_NUM:
    case FIELD_STR:
    case FIELD_ENUM:
        break;
    }
}

static void hunt_object(struct hunt *h, const struct fields *fields, const json_t *in,
                        struct str path)
{
    const char *key;
    json_t *value;

    json_object_foreach(json_loose(in), key, value)
    {
        const struct field *f = fields_row(fields, str_of(key));
        struct str inner = path_key(h, path, key);
        if (f)
            hunt_value(h, f, value, inner);
        else
            h->unknown(h->arg, inner);
    }
}

void fields_unknown(const struct fields *fields, const json_t *in,
                    void (*unknown)(void *arg, struct str path), void *arg)
{
    struct hunt h = {.unknown = unknown, .arg = arg};

    arena_init(&h.arena, NULL);
    hunt_object(&h, fields, in, STR(""));
    arena_fini(&h.arena);
}

/* ---- Secrets ----------------------------------------------------------------------------------
 */

struct visitor {
    void (*visit)(void *arg, json_t *string);
    void *arg;
};

static void visit_object(const struct visitor *s, const struct fields *fields, json_t *in);

static void visit_all(const struct visitor *s, json_t *v)
{
    const char *key;
    json_t *value;
    size_t i;

    if (json_is_string(v))
        s->visit(s->arg, v);
    json_array_foreach(v, i, value) visit_all(s, value);
    json_object_foreach(v, key, value) visit_all(s, value);
}

static void visit_value(const struct visitor *s, const struct field *f, json_t *v);

/* The first alternative for this kind of JSON value. The full check would not do: an encrypted
 * string need not match what the plain one did, and both must lead to the same row. */
static void visit_shape(const struct visitor *s, const struct field *of, json_t *v)
{
    for (; of->name; of++) {
        bool object = of->type == FIELD_OBJECT || of->type == FIELD_MAP;
        bool string = of->type == FIELD_STR || of->type == FIELD_ENUM;
        if ((json_is_object(v) && object) || (json_is_array(v) && of->type == FIELD_LIST) ||
            (json_is_string(v) && string)) {
            visit_value(s, of, v);
            return;
        }
    }
}

static void visit_value(const struct visitor *s, const struct field *f, json_t *v)
{
    const char *key;
    json_t *value;
    size_t i;

    if (f->flags & FIELD_SECRET) {
        visit_all(s, v);
        return;
    }
    switch (f->type) {
    case FIELD_OBJECT:
        visit_object(s, f->fields, v);
        break;
    case FIELD_LIST:
        json_array_foreach(v, i, value) visit_value(s, field_of(f), value);
        break;
    case FIELD_MAP:
        json_object_foreach(v, key, value) visit_value(s, field_of(f), value);
        break;
    case FIELD_ANY_OF:
    case FIELD_ONE_OF:
        visit_shape(s, f->of, v);
        break;
    case FIELD_JSON:
        if (f->of)
            visit_value(s, f->of, v);
        break;
    case FIELD_BOOL:
    case FIELD_INT:
    case FIELD_NUM:
    case FIELD_STR:
    case FIELD_ENUM:
        break;
    }
}

static void visit_object(const struct visitor *s, const struct fields *fields, json_t *in)
{
    for (const struct field *f = fields->rows; f->name; f++) {
        json_t *v = json_object_get(in, f->name);
        if (v)
            visit_value(s, f, v);
    }
}

void fields_secrets(const struct fields *fields, json_t *in,
                    void (*visit)(void *arg, json_t *string), void *arg)
{
    struct visitor s = {visit, arg};

    visit_object(&s, fields, in);
}
