/* SPDX-License-Identifier: Apache-2.0 */
/* Reads forms, JSON, multipart and GraphQL out of bodies. */
#include "exchange/body_read.h"

#include "base/graphql.h"
#include "http/uri.h"

/* What of a body is read, in units of some forty bytes of memory: a number of JSON takes one where
 * it may be written in two, an empty object eight, so that the size alone bounds little. */
enum { UNITS_MAX = 1 << 20, UNITS_ARRAY = 4, UNITS_OBJECT = 8, UNITS_MEMBER = 2, UNITS_PAIR = 4 };

enum { FIELDS_MAX = 100 }; /* of a form; APISIX: request.get_post_args */

/* ---- Tables ---- */

static json_t *text_json(struct str s)
{
    return json_stringn_nocheck(s.p ? s.p : "", s.n);
}

/* Several of one name become a list. */
static void table_add(json_t *table, struct str key, json_t *value)
{
    json_t *had = json_object_getn(table, key.p, key.n);

    if (!had) {
        json_object_setn_new_nocheck(table, key.p, key.n, value);
        return;
    }
    if (json_is_array(had)) {
        json_array_append_new(had, value);
        return;
    }
    json_t *list = json_array();
    json_array_append(list, had);
    json_array_append_new(list, value);
    json_object_setn_new_nocheck(table, key.p, key.n, list);
}

/* ngx.req.get_post_args, whose first fields APISIX asks for: a name without "=" is true, a pair
 * without a name is left out. */
static json_t *form_table(struct str body, struct arena *a)
{
    json_t *table = json_object();
    struct str key, value;
    unsigned n = 0;

    while (n++ < FIELDS_MAX && query_next(&body, &key, &value)) {
        if (!key.n)
            continue;
        struct str name = uri_decode(key, a, true);
        table_add(table, name, value.p ? text_json(uri_decode(value, a, true)) : json_true());
    }
    return table;
}

/* A parameter of a header's value, without its quotes; absent: none. */
static struct str param_of(struct str value, struct str name)
{
    struct str part, key, text;
    bool more = str_cut(value, ';', &part, &value);

    while (more) {
        more = str_cut(value, ';', &part, &value);
        if (!str_cut(part, '=', &key, &text) || !str_eq_nocase(str_trim(key), name))
            continue;
        text = str_trim(text);
        if (text.n >= 2 && text.p[0] == '"' && text.p[text.n - 1] == '"')
            text = str_make(text.p + 1, text.n - 2);
        return text;
    }
    return STR_NONE;
}

/* The next line without its end. */
static bool next_line(struct str *rest, struct str *line)
{
    if (!rest->n)
        return false;
    str_cut(*rest, '\n', line, rest);
    if (line->n && line->p[line->n - 1] == '\r')
        line->n--;
    return true;
}

enum { LINE_OTHER, LINE_BOUNDARY, LINE_END };

static int line_kind(struct str line, struct str boundary)
{
    if (!str_starts(line, STR("--")) || !str_starts(str_from(line, 2), boundary))
        return LINE_OTHER;
    struct str behind = str_trim(str_from(line, 2 + boundary.n));
    return behind.n == 0 ? LINE_BOUNDARY : str_eq(behind, STR("--")) ? LINE_END : LINE_OTHER;
}

/* The header lines of a part: its name; absent: it has none. */
static struct str part_name(struct str *rest)
{
    struct str line, key, value, name = STR_NONE;

    while (next_line(rest, &line) && line.n)
        if (str_cut(line, ':', &key, &value) &&
            str_eq_nocase(str_trim(key), STR("Content-Disposition")))
            name = param_of(value, STR("name"));
    return name;
}

/* RFC 7578; the last part of a name counts. Line feeds alone are taken for line ends, as there. */
static json_t *multipart_table(struct str body, struct str boundary)
{
    json_t *table = json_object();
    struct str rest = body, line;
    int kind = LINE_OTHER;
    unsigned n = 0;

    while (kind != LINE_BOUNDARY && next_line(&rest, &line))
        kind = line_kind(line, boundary);
    while (kind == LINE_BOUNDARY && n++ < UNITS_MAX / UNITS_PAIR) {
        struct str name = part_name(&rest);
        const char *from = rest.p, *end = rest.p;
        for (kind = LINE_OTHER; kind == LINE_OTHER && next_line(&rest, &line);) {
            kind = line_kind(line, boundary);
            end = kind == LINE_OTHER ? line.p + line.n : end;
        }
        if (name.n)
            json_object_setn_new_nocheck(table, name.p, name.n,
                                         text_json(str_make(from, (size_t)(end - from))));
    }
    return table;
}

/* Whether a JSON text has no more values than are read. */
static bool has_few_values(struct str s)
{
    static const unsigned char units[256] = {
        [','] = 1, [':'] = UNITS_MEMBER, ['['] = UNITS_ARRAY, ['{'] = UNITS_OBJECT};
    bool quoted = false;
    size_t n = 0;

    for (size_t i = 0; i < s.n && n <= UNITS_MAX; i++) {
        char c = s.p[i];
        if (quoted) {
            i += c == '\\';
            quoted = c != '"';
        } else {
            quoted = c == '"';
            n += units[(unsigned char)c];
        }
    }
    return n <= UNITS_MAX;
}

static json_t *parse_json(struct str body)
{
    if (!has_few_values(body))
        return NULL;
    return json_loadb(body.p, body.n, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL | JSON_DECODE_ANY,
                      NULL);
}

json_t *body_read_table(struct str body, struct str type, struct arena *a)
{
    if (str_search(type, STR("application/json")) >= 0)
        return parse_json(body);
    if (str_search(type, STR("application/x-www-form-urlencoded")) >= 0)
        return form_table(body, a);
    struct str boundary = param_of(type, STR("boundary"));
    if (str_search(type, STR("multipart/form-data")) >= 0 && boundary.n)
        return multipart_table(body, boundary);
    return NULL;
}

/* ---- GraphQL ---- */

/* The document in a body: all of it, or "query" in it when it is JSON, which *holder holds. */
static struct str graphql_source(struct str body, struct str type, json_t **holder)
{
    if (!str_starts(type, STR("application/json")))
        return body;
    *holder = parse_json(body);
    const json_t *query = json_object_get(*holder, "query");
    return json_is_string(query) ? str_make(json_string_value(query), json_string_length(query))
                                 : STR("");
}

static json_t *graphql_table(const struct graphql *g)
{
    json_t *table = json_object(), *fields = json_array();

    for (unsigned i = 0; i < g->nfields; i++)
        json_array_append_new(fields, text_json(g->fields[i]));
    json_object_set_new(table, "root_fields", fields);
    json_object_set_new(table, "name", text_json(g->name));
    if (g->operation.p)
        json_object_set_new(table, "operation", text_json(g->operation));
    return table;
}

json_t *body_read_graphql_text(struct str text, struct arena *a)
{
    struct graphql g;

    return text.n && graphql_parse(text, a, &g) ? graphql_table(&g) : NULL;
}

json_t *body_read_graphql(struct str body, struct str type, struct arena *a)
{
    json_t *holder = NULL, *table;

    table = body_read_graphql_text(graphql_source(body, type, &holder), a);
    json_decref(holder);
    return table;
}
