/* SPDX-License-Identifier: Apache-2.0 */
/* Reads YAML with libyaml and gives it as JSON, bounded in depth and size. */
#include "config/yaml.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <yaml.h>

#include "base/log.h"

enum { DEPTH_MAX = 64, VALUES_MAX = 100000, NUMBER_MAX = 64, ALIASED_MAX = 64 << 20 };

struct reader {
    yaml_document_t doc;
    struct arena *arena;
    struct str err;
    size_t values, max_values;
    size_t bytes, max_bytes; /* of keys and scalars */
};

static json_t *fail(struct reader *r, const yaml_mark_t *mark, const char *what)
{
    if (!r->err.p)
        r->err = arena_printf(r->arena, "line %zu: %s", mark->line + 1, what);
    return NULL;
}

/* ---- Scalars ----------------------------------------------------------------------------------
 */

static bool one_of(struct str s, const char *const *names)
{
    for (; *names; names++)
        if (str_eq(s, str_of(*names)))
            return true;
    return false;
}

/* Copies a number without its underscores, which YAML 1.1 allows inside. */
static bool number_text(struct str s, char *out)
{
    size_t n = 0;

    if (s.n == 0 || s.n >= NUMBER_MAX || s.p[0] == '_')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '_')
            out[n++] = s.p[i];
    out[n] = 0;
    return true;
}

static json_t *integer_value(const char *text)
{
    const char *digits = text + (*text == '-' || *text == '+');
    bool hex = digits[0] == '0' && digits[1] == 'x';
    const char *set = hex ? "0123456789abcdefABCDEF" : "0123456789";
    const char *body = hex ? digits + 2 : digits;

    if (!*body || strspn(body, set) != strlen(body))
        return NULL;
    bool octal = !hex && *body == '0' && body[1];
    if (octal && strspn(body, "01234567") != strlen(body))
        return NULL;
    errno = 0;
    long long v = strtoll(text, NULL, hex ? 16 : octal ? 8 : 10);
    return errno ? json_real(strtod(text, NULL)) : json_integer(v);
}

static json_t *real_value(const char *text)
{
    char *end;

    if (!strpbrk(text, ".eE") || strspn(text, "+-.0123456789eE") != strlen(text))
        return NULL;
    double v = strtod(text, &end);
    return *end || end == text || !isfinite(v) ? NULL : json_real(v);
}

static json_t *plain_value(struct str s)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const yes[] = {"true", "True", "TRUE", "yes", "Yes",
                                      "YES",  "on",   "On",   "ON",  NULL};
    static const char *const no[] = {"false", "False", "FALSE", "no",  "No",
                                     "NO",    "off",   "Off",   "OFF", NULL};
    char number[NUMBER_MAX];
    json_t *v = NULL;

    if (one_of(s, nulls))
        return json_null();
    if (one_of(s, yes))
        return json_true();
    if (one_of(s, no))
        return json_false();
    if (number_text(s, number)) {
        v = integer_value(number);
        if (!v)
            v = real_value(number);
    }
    return v ? v : json_stringn(s.p, s.n);
}

static struct str scalar_text(const yaml_node_t *node)
{
    return str_make((const char *)node->data.scalar.value, node->data.scalar.length);
}

/* An alias costs three bytes, whatever it stands for. */
static bool text_fits(struct reader *r, const yaml_node_t *node)
{
    r->bytes += node->data.scalar.length;
    return r->bytes <= r->max_bytes || fail(r, &node->start_mark, "too many bytes by aliases");
}

static json_t *scalar_json(struct reader *r, const yaml_node_t *node)
{
    struct str s = scalar_text(node);
    bool plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

    if (!text_fits(r, node))
        return NULL;
    if (str_find(s, 0) >= 0)
        return fail(r, &node->start_mark, "a string holds a NUL byte");
    json_t *v = plain ? plain_value(s) : json_stringn(s.p, s.n);
    return v ? v : fail(r, &node->start_mark, "a string is not valid UTF-8");
}

/* ---- Collections ------------------------------------------------------------------------------
 */

static json_t *node_json(struct reader *r, int index, unsigned depth);

static json_t *sequence_json(struct reader *r, const yaml_node_t *node, unsigned depth)
{
    json_t *list = json_array();

    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top;
         i++) {
        json_t *v = node_json(r, *i, depth + 1);
        if (!v) {
            json_decref(list);
            return NULL;
        }
        json_array_append_new(list, v);
    }
    return list;
}

static bool pair_json(struct reader *r, json_t *object, const yaml_node_pair_t *pair,
                      unsigned depth)
{
    const yaml_node_t *key = yaml_document_get_node(&r->doc, pair->key);
    struct str name;

    if (key->type != YAML_SCALAR_NODE)
        return fail(r, &key->start_mark, "a key is not a plain value");
    if (!text_fits(r, key))
        return false;
    name = scalar_text(key);
    if (str_find(name, 0) >= 0)
        return fail(r, &key->start_mark, "a key holds a NUL byte");
    json_t *v = node_json(r, pair->value, depth + 1);
    if (!v)
        return false;
    if (json_object_getn(object, name.p, name.n))
        log_warn("line %zu: the key \"%.*s\" occurs twice, the last one counts",
                 key->start_mark.line + 1, STR_ARG(name));
    if (json_object_setn_new(object, name.p, name.n, v) < 0)
        return fail(r, &key->start_mark, "a key is not valid UTF-8");
    return true;
}

static json_t *mapping_json(struct reader *r, const yaml_node_t *node, unsigned depth)
{
    json_t *object = json_object();

    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
         p++)
        if (!pair_json(r, object, p, depth)) {
            json_decref(object);
            return NULL;
        }
    return object;
}

static json_t *node_json(struct reader *r, int index, unsigned depth)
{
    const yaml_node_t *node = yaml_document_get_node(&r->doc, index);

    /* Aliases make a small text large, or endless. */
    if (depth > DEPTH_MAX)
        return fail(r, &node->start_mark, "nested too deeply");
    if (++r->values > r->max_values)
        return fail(r, &node->start_mark, "too many values");
    switch (node->type) {
    case YAML_SCALAR_NODE:
        return scalar_json(r, node);
    case YAML_SEQUENCE_NODE:
        return sequence_json(r, node, depth);
    case YAML_MAPPING_NODE:
        return mapping_json(r, node, depth);
    case YAML_NO_NODE:
        break;
    }
    return fail(r, &node->start_mark, "not a value");
}

/* ---- Documents --------------------------------------------------------------------------------
 */

static void fail_parser(struct reader *r, const yaml_parser_t *parser)
{
    /* A reader's fault (bad UTF-8) comes without a mark. */
    size_t line = parser->problem_mark.line + 1;

    r->err = arena_printf(r->arena, "line %zu: %s", line,
                          parser->problem ? parser->problem : "not YAML");
}

/* Nothing may come after the document. */
static bool check_end(struct reader *r, yaml_parser_t *parser)
{
    yaml_document_t next;

    if (!yaml_parser_load(parser, &next)) {
        fail_parser(r, parser);
        return false;
    }
    const yaml_node_t *root = yaml_document_get_root_node(&next);
    if (root)
        fail(r, &root->start_mark, "a second document; only one is read");
    yaml_document_delete(&next);
    return !root;
}

json_t *yaml_parse(struct str text, struct arena *a, struct str *err)
{
    return yaml_parse_large(text, VALUES_MAX, a, err);
}

json_t *yaml_parse_large(struct str text, size_t max_values, struct arena *a, struct str *err)
{
    struct reader r = {.arena = a, .max_values = max_values, .max_bytes = text.n + ALIASED_MAX};
    yaml_parser_t parser;
    json_t *v = NULL;

    if (!yaml_parser_initialize(&parser))
        abort();
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
    if (!yaml_parser_load(&parser, &r.doc)) {
        fail_parser(&r, &parser);
    } else {
        bool empty = !yaml_document_get_root_node(&r.doc);
        v = empty ? json_null() : node_json(&r, 1, 0);
        yaml_document_delete(&r.doc);
        if (v && !empty && !check_end(&r, &parser)) {
            json_decref(v);
            v = NULL;
        }
    }
    yaml_parser_delete(&parser);
    if (!v)
        *err = r.err;
    return v;
}
