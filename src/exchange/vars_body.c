/* SPDX-License-Identifier: Apache-2.0 */
/* Variables that are looked for in the request's body: forms, JSON, multipart, GraphQL. What is
 * parsed of a body is kept until the exchange ends or the body is replaced. */
#include "base/graphql.h"
#include "exchange/vars.h"
#include "exchange/worker.h"
#include "http/uri.h"

/* What of a body is read, in units of some forty bytes of memory: a number of JSON takes one where
 * it may be written in two, an empty object eight, so that the size alone bounds little. */
enum { UNITS_MAX = 1 << 20, UNITS_ARRAY = 4, UNITS_OBJECT = 8, UNITS_MEMBER = 2, UNITS_PAIR = 4 };

/* A body as it was read. */
struct body_view {
    struct str of; /* the body; another one is read anew */
    json_t *table; /* NULL: nothing that can be read, or nobody has asked */
    json_t *graphql;
    bool table_known, graphql_known;
};

size_t body_need_max(const struct exchange *ex, enum body_need need)
{
    const struct worker_config *c = ex->worker->config;

    return need == BODY_NONE ? 0 : need == BODY_GRAPHQL ? c->graphql_max : c->post_arg_max;
}

/* What has been read of the body that counts; NULL: nothing. It stays when the body itself has gone
 * upstream. */
static struct body_view *view_now(const struct exchange *ex)
{
    struct body_view *v = ex->body_view;

    return v && (!ex->body_replaced || v->of.p == ex->new_body.p) ? v : NULL;
}

/* False: the body is not there, or is larger than is looked at. */
static bool body_take(struct exchange *ex, enum body_need need, struct str *body)
{
    size_t max = body_need_max(ex, need);

    *body = STR("");
    if (ex->body_replaced) {
        *body = ex->new_body;
    } else if (ex->body_done && ex->body_kept) {
        *body = buf_str(&ex->body);
    } else if (ex->req.framing != H1_NO_BODY) {
        if (max > ex->body_wanted)
            ex->body_wanted = max;
        return false;
    }
    return body->n > 0 && body->n <= max;
}

static void free_view(void *arg)
{
    struct body_view *v = arg;

    json_decref(v->table);
    json_decref(v->graphql);
}

static struct body_view *view_of(struct exchange *ex, struct str body)
{
    struct body_view *v = view_now(ex);

    if (v)
        return v;
    v = arena_zero(&ex->arena, sizeof(*v));
    v->of = body;
    arena_on_fini(&ex->arena, free_view, v);
    ex->body_view = v;
    return v;
}

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

/* ngx.req.get_post_args: a name without "=" is true, a pair without a name is left out. */
static json_t *form_table(struct exchange *ex, struct str body)
{
    json_t *table = json_object();
    struct str key, value;
    unsigned n = 0;

    while (n++ < UNITS_MAX / UNITS_PAIR && query_next(&body, &key, &value)) {
        if (!key.n)
            continue;
        struct str name = uri_decode(key, &ex->arena, true);
        table_add(table, name,
                  value.p ? text_json(uri_decode(value, &ex->arena, true)) : json_true());
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

/* By the Content-Type, as request.get_request_body_table chooses. */
static json_t *read_table(struct exchange *ex, struct str body)
{
    struct str type = request_header(ex, STR("Content-Type"));

    if (str_search(type, STR("application/json")) >= 0)
        return parse_json(body);
    if (str_search(type, STR("application/x-www-form-urlencoded")) >= 0)
        return form_table(ex, body);
    struct str boundary = param_of(type, STR("boundary"));
    if (str_search(type, STR("multipart/form-data")) >= 0 && boundary.n)
        return multipart_table(body, boundary);
    return NULL;
}

/* NULL: nothing to be read. */
static const json_t *body_table(struct exchange *ex)
{
    struct body_view *v = view_now(ex);
    struct str body;

    if (v && v->table_known)
        return v->table;
    if (!body_take(ex, BODY_POST_ARG, &body))
        return NULL;
    v = view_of(ex, body);
    if (!v->table_known) {
        v->table_known = true;
        v->table = read_table(ex, body);
    }
    return v->table;
}

/* ---- Values ---- */

static struct value value_json(const json_t *v)
{
    if (json_is_string(v))
        return (struct value){.text = str_make(json_string_value(v), json_string_length(v))};
    return (struct value){.json = v};
}

struct value value_arg(struct exchange *ex, const struct var *v)
{
    struct str text = request_arg(ex, v->arg);

    /* An empty value that is no part of the query had no "=". */
    if (text.p && !text.n &&
        !(ex->req.query.p <= text.p && text.p <= ex->req.query.p + ex->req.query.n))
        return (struct value){.json = json_true()};
    return (struct value){.text = text};
}

struct value value_post_arg(struct exchange *ex, const struct var *v)
{
    struct str type = request_header(ex, STR("Content-Type"));

    if (!str_starts(type, STR("application/x-www-form-urlencoded")))
        return (struct value){0};
    const json_t *found = json_object_getn(body_table(ex), v->arg.p, v->arg.n);
    return value_json(json_is_array(found) ? json_array_get(found, 0) : found);
}

static void free_json(void *arg)
{
    json_decref(arg);
}

struct value value_post_path(struct exchange *ex, const struct var *v)
{
    const json_t *at = body_table(ex);
    struct str rest = v->arg, name;
    bool more = true;

    if (!json_is_object(at) && !json_is_array(at))
        return (struct value){0};
    if (v->path) {
        json_t *found = json_path_query(v->path, at);
        arena_on_fini(&ex->arena, free_json, found);
        return (struct value){.json = json_array_size(found) ? found : NULL};
    }
    while (more && at) {
        more = str_cut(rest, '.', &name, &rest);
        at = json_object_getn(at, name.p, name.n);
    }
    return value_json(at);
}

/* ---- GraphQL ---- */

/* The document in a body: all of it, or "query" in it when it is JSON, which *holder holds. */
static struct str graphql_source(struct exchange *ex, struct str body, json_t **holder)
{
    if (!str_starts(request_header(ex, STR("Content-Type")), STR("application/json")))
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

/* Of a GET the argument, of a POST the body; NULL: there is none, or it cannot be read. */
static const json_t *graphql_read(struct exchange *ex)
{
    struct body_view *view = view_now(ex);
    struct str text = STR(""), body = STR("");
    json_t *holder = NULL;
    struct graphql g;

    if (view && view->graphql_known)
        return view->graphql;
    if (ex->method == METHOD_GET)
        text = request_arg(ex, STR("query"));
    else if (ex->method != METHOD_POST || !body_take(ex, BODY_GRAPHQL, &body))
        return NULL;
    else
        text = graphql_source(ex, body, &holder);
    view = view_of(ex, body);
    view->graphql_known = true;
    if (text.n && graphql_parse(text, &ex->arena, &g))
        view->graphql = graphql_table(&g);
    json_decref(holder);
    return view->graphql;
}

struct value value_graphql(struct exchange *ex, const struct var *v)
{
    return value_json(json_object_getn(graphql_read(ex), v->arg.p, v->arg.n));
}
