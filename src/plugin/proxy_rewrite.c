/* SPDX-License-Identifier: Apache-2.0 */
/* proxy-rewrite: changes the request on its way to the upstream: path, method, host, headers. */
#include "base/encode.h"
#include "base/regex.h"
#include "plugin/plugin.h"

/* ---- Configuration ---------------------------------------------------------------------------
 */

/* One pair of regex_uri. */
struct rule {
    struct regex *regex;
    struct str pattern;
    struct regex_template with;
};

/* A header's value: texts with variables, and captures of regex_uri, one after the other. */
struct piece {
    struct text *text; /* NULL: the capture */
    unsigned group;
};
struct value {
    struct str constant; /* absent: made of the pieces */
    struct piece *pieces;
    unsigned n;
};

enum op_kind { OP_ADD, OP_SET, OP_REMOVE };
struct op {
    enum op_kind kind;
    struct str name;
    struct value *values;
    unsigned n;
};

struct proxy_rewrite {
    struct str uri, host;
    int method, scheme;
    struct field_list regex_uri; /* of struct str */
    json_t *headers;             /* while compiling */
    bool unsafe;
    struct text *uri_text;
    struct rule *rules;
    unsigned nrules;
    struct op *ops;
    unsigned nops;
};

static const char *const methods[] = {"GET",     "POST",   "PUT",   "HEAD",  "DELETE",
                                      "OPTIONS", "MKCOL",  "COPY",  "MOVE",  "PROPFIND",
                                      "LOCK",    "UNLOCK", "PATCH", "TRACE", NULL};
static const char *const schemes[] = {"http", "https", NULL};

static const struct field string_row = {.type = FIELD_STR};
static const struct field scalar_rows[] = {
    {"string", .type = FIELD_STR}, {"number", .type = FIELD_NUM}, {0}};
static const struct field scalar_row = {.type = FIELD_ONE_OF, .of = scalar_rows};
static const struct field value_rows[] = {
    {"string", .type = FIELD_STR},
    {"number", .type = FIELD_NUM},
    {"values", FIELD_LIST, .min = 1, .of = &scalar_row},
    {0},
};
static const struct field value_row = {.type = FIELD_ONE_OF, .of = value_rows};
static const struct field name_row = {.type = FIELD_STR, .pattern = "^[^:]+$"};
/* Read by hand in compile: the table only checks. */
static const struct field op_rows[] = {
    {"add", FIELD_MAP, .min = 1, .pattern = "^[^:]+$", .of = &value_row,
     .doc = "Headers to add to those that are there. A list adds one for each value."},
    {"set", FIELD_MAP, .min = 1, .pattern = "^[^:]+$", .of = &value_row,
     .doc = "Headers to replace. An empty value removes."},
    {"remove", FIELD_LIST, .min = 1, .of = &name_row, .doc = "Headers to remove."},
    {0},
};
static const struct field_rule op_rules[] = {{RULE_MIN_FIELDS, NULL, 1}, {0}};
static const struct fields op_fields = {op_rows, op_rules, .size = 3 * sizeof(struct field_list)};
static const struct field header_rows[] = {
    {"operations", FIELD_OBJECT, .fields = &op_fields},
    {"map", FIELD_MAP, .min = 1, .pattern = "^[^:]+$", .of = &scalar_row},
    {0},
};

#define AT(member) .at = offsetof(struct proxy_rewrite, member)
static const struct field rows[] = {
    {"uri", FIELD_STR, AT(uri), .min = 1, .max = 4096, .pattern = "^\\/.*",
     .doc = "New path, with variables. The request's query is kept, behind its own if it has one."},
    {"method", FIELD_ENUM, AT(method), .names = methods, .doc = "New method."},
    {"regex_uri", FIELD_LIST, AT(regex_uri), .min = 2, .of = &string_row,
     .doc = "Pairs of a pattern and a new path with captures (`$1`). The first pattern that is "
            "found in the path counts, and what it matched is replaced. Without effect beside "
            "`uri`."},
    {"host", FIELD_STR, AT(host), .pattern = "^[0-9a-zA-Z-.]+(:\\d{1,5})?$", .doc = "New `Host`."},
    {"scheme", FIELD_ENUM, AT(scheme), .names = schemes,
     .doc = "Scheme to the upstream, in place of its own. APISIX 3 knows it no longer."},
    {"headers", FIELD_ONE_OF, AT(headers), .of = header_rows,
     .doc = "Headers to change: added first, then set, then removed; or a flat map of headers to "
            "set. Values may have variables, and captures of `regex_uri`."},
    {"use_real_request_uri_unsafe", FIELD_BOOL, AT(unsafe), .def = "false",
     .doc = "Works on the path as the client sent it, neither decoded nor normalised, and encodes "
            "nothing. Then the upstream may see a path that no other plugin has checked."},
    {0},
};
static const struct field_rule conf_rules[] = {{RULE_MIN_FIELDS, NULL, 1}, {0}};
static const struct fields conf_fields = {rows, conf_rules, .size = sizeof(struct proxy_rewrite),
                                          .open = true};

/* ---- Compiling: headers -----------------------------------------------------------------------
 */

/* The number of a capture at s[at], `$1` or `${1}` (also without its end, as in APISIX); 0: none.
 */
static size_t capture_at(struct str s, size_t at, unsigned *group)
{
    size_t i = at + 1;

    if (s.p[at] != '$' || (at > 0 && s.p[at - 1] == '\\'))
        return 0;
    if (i < s.n && s.p[i] == '{')
        i++;
    size_t digits = i;
    *group = 0;
    for (; i < s.n && ascii_digit(s.p[i]); i++)
        if (*group <= REGEX_GROUPS)
            *group = *group * 10 + (unsigned)(s.p[i] - '0');
    if (i == digits)
        return 0;
    return (i < s.n && s.p[i] == '}' ? i + 1 : i) - at;
}

static void add_text(struct build *b, struct value *v, struct str s)
{
    if (s.n)
        v->pieces[v->n++].text = build_text(b, s);
}

static void value_compile(struct build *b, struct str source, struct value *v)
{
    struct arena *a = build_arena(b);
    struct str s = arena_str(a, source);
    size_t from = 0, at = 0, most = 1;
    unsigned group;

    for (size_t i = 0; i < s.n; i++)
        most += s.p[i] == '$' ? 2 : 0;
    v->pieces = arena_zero(a, most * sizeof(*v->pieces));
    while (at < s.n) {
        size_t n = capture_at(s, at, &group);
        if (n == 0) {
            at++;
            continue;
        }
        add_text(b, v, str_make(s.p + from, at - from));
        v->pieces[v->n++].group = group;
        from = at += n;
    }
    add_text(b, v, str_from(s, from));
    if (v->n == 0 || (v->n == 1 && v->pieces[0].text && text_is_constant(v->pieces[0].text)))
        v->constant = encode_header(a, s);
}

static struct str scalar_text(struct build *b, const json_t *j)
{
    if (json_is_string(j))
        return str_make(json_string_value(j), json_string_length(j));
    if (json_is_integer(j))
        return arena_printf(build_arena(b), "%lld", (long long)json_integer_value(j));
    return arena_printf(build_arena(b), "%.14g", json_number_value(j));
}

/* What APISIX says of headers that would break the request: a name that is no token, a value with
 * control bytes. */
static bool op_check(struct build *b, struct str name, const json_t *j, bool flat)
{
    if (name.n == 0)
        return build_error(b, "invalid field length in header");
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || name.p[i] >= 0x7f || name.p[i] == ':')
            return build_error(b, "invalid field character in header");
    struct str text = flat && json_is_string(j) ? scalar_text(b, j) : STR_NONE;
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < ' ' || text.p[i] >= 0x7f)
            return build_error(b, "invalid value character in header");
    return true;
}

/* j: a value, a list of values, or NULL. */
static bool add_op(struct build *b, struct proxy_rewrite *c, enum op_kind kind, struct str name,
                   const json_t *j, bool flat)
{
    struct arena *a = build_arena(b);
    struct op *op = &c->ops[c->nops];
    size_t n = json_is_array(j) ? json_array_size(j) : j != NULL;

    if (!op_check(b, name, j, flat))
        return false;
    *op = (struct op){kind, arena_str(a, name), arena_zero(a, n * sizeof(*op->values)), 0};
    for (size_t i = 0; i < n; i++)
        value_compile(b, scalar_text(b, json_is_array(j) ? json_array_get(j, i) : j),
                      &op->values[op->n++]);
    c->nops++;
    return true;
}

static bool add_map(struct build *b, struct proxy_rewrite *c, enum op_kind kind, json_t *map,
                    bool flat)
{
    const char *name;
    json_t *j;

    json_object_foreach(map, name, j)
    {
        if (!add_op(b, c, kind, str_of(name), j, flat))
            return false;
    }
    return true;
}

static bool is_operations(const json_t *headers)
{
    return json_is_object(json_object_get(headers, "add")) ||
           json_is_object(json_object_get(headers, "set")) ||
           json_is_array(json_object_get(headers, "remove"));
}

static bool headers_compile(struct build *b, struct proxy_rewrite *c)
{
    json_t *add = json_object_get(c->headers, "add"), *set = json_object_get(c->headers, "set");
    json_t *removed = json_object_get(c->headers, "remove");

    if (!is_operations(c->headers)) {
        c->ops = arena_zero(build_arena(b), json_object_size(c->headers) * sizeof(*c->ops));
        return add_map(b, c, OP_SET, c->headers, true);
    }
    size_t n = json_object_size(add) + json_object_size(set) + json_array_size(removed);
    c->ops = arena_zero(build_arena(b), n * sizeof(*c->ops));
    if (!add_map(b, c, OP_ADD, add, false) || !add_map(b, c, OP_SET, set, false))
        return false;
    for (size_t i = 0; i < json_array_size(removed); i++)
        if (!add_op(b, c, OP_REMOVE, scalar_text(b, json_array_get(removed, i)), NULL, false))
            return false;
    return true;
}

/* ---- Compiling: the rest ----------------------------------------------------------------------
 */

static bool rules_compile(struct build *b, struct proxy_rewrite *c)
{
    const struct str *texts = c->regex_uri.items;
    struct arena *a = build_arena(b);
    struct regex_error err;

    if (c->regex_uri.n % 2)
        return build_error(b, "The length of regex_uri should be an even number");
    c->rules = arena_zero(a, c->regex_uri.n / 2 * sizeof(*c->rules));
    for (size_t i = 0; i + 1 < c->regex_uri.n; i += 2) {
        struct rule *rule = &c->rules[c->nrules];
        rule->pattern = texts[i];
        rule->regex = regex_new(texts[i], STR("jo"), &err);
        c->nrules++;
        if (!rule->regex || !regex_template_parse(a, texts[i + 1], &rule->with, &err))
            return build_error(b, "invalid regex_uri(%.*s, %.*s): %s", STR_ARG(texts[i]),
                               STR_ARG(texts[i + 1]), err.text);
    }
    return true;
}

static bool proxy_rewrite_compile(void *conf, struct build *b)
{
    struct proxy_rewrite *c = conf;

    if (c->uri.p)
        c->uri_text = build_text(b, c->uri);
    bool good = rules_compile(b, c) && (!c->headers || headers_compile(b, c));
    c->headers = NULL; /* borrowed until here */
    return good;
}

static void proxy_rewrite_release(void *conf)
{
    struct proxy_rewrite *c = conf;

    for (unsigned i = 0; i < c->nrules; i++)
        regex_free(c->rules[i].regex);
    c->nrules = 0;
}

/* ---- The path ---------------------------------------------------------------------------------
 */

/* A variable's question mark is part of the path, not the query's beginning. */
static struct str escape_question(struct arena *a, struct str value)
{
    size_t marks = 0;

    for (size_t i = 0; i < value.n; i++)
        marks += value.p[i] == '?';
    if (marks == 0)
        return value;
    char *p = arena_bytes(a, value.n + 2 * marks + 1), *at = p;
    for (size_t i = 0; i < value.n; i++) {
        bool mark = value.p[i] == '?';
        memcpy(at, mark ? "%3F" : &value.p[i], mark ? 3 : 1);
        at += mark ? 3 : 1;
    }
    *at = 0;
    return str_make(p, (size_t)(at - p));
}

static struct str join(struct arena *a, struct str x, struct str y, struct str z)
{
    char *p = arena_bytes(a, x.n + y.n + z.n + 1), *at = p;

    at = x.n ? (char *)memcpy(at, x.p, x.n) + x.n : at;
    at = y.n ? (char *)memcpy(at, y.p, y.n) + y.n : at;
    at = z.n ? (char *)memcpy(at, z.p, z.n) + z.n : at;
    *at = 0;
    return str_make(p, (size_t)(at - p));
}

static enum verdict match_failed(struct exchange *ex, const struct rule *rule, int error)
{
    struct str text = arena_printf(ex_arena(ex),
                                   "failed to match the uri %.*s (%.*s)  : pcre_exec() failed: %d",
                                   STR_ARG(request_path(ex)), STR_ARG(rule->pattern), error);

    ex_log(ex, LOG_ERROR, "%.*s", STR_ARG(text));
    return reply_message(ex, 500, "error_msg", text);
}

/* Replaces what the first matching rule matches. */
static enum verdict apply_rules(struct exchange *ex, const struct proxy_rewrite *c, struct str *uri,
                                struct regex_groups *captures)
{
    for (unsigned i = 0; i < c->nrules; i++) {
        const struct rule *rule = &c->rules[i];
        int found = regex_match(rule->regex, *uri, 0, captures);
        if (found < 0)
            return match_failed(ex, rule, found);
        if (found == 0)
            continue;
        struct str whole = captures->group[0], all = *uri;
        struct str with = regex_template_fill(&rule->with, captures, ex_arena(ex));
        struct str before = whole.p ? str_make(all.p, (size_t)(whole.p - all.p)) : STR("");
        struct str behind = whole.p ? str_from(all, before.n + whole.n) : all;
        *uri = join(ex_arena(ex), before, with, behind);
        return NEXT;
    }
    captures->n = 0;
    return NEXT;
}

static struct str with_args(struct exchange *ex, struct str uri, struct str args)
{
    if (args.n == 0)
        return uri;
    return join(ex_arena(ex), uri, str_find(uri, '?') >= 0 ? STR("&") : STR("?"), args);
}

/* As the client sent it; what would end the request line is encoded all the same. */
static enum verdict rewrite_raw(struct exchange *ex, const struct proxy_rewrite *c,
                                struct regex_groups *captures)
{
    struct str uri = request_target(ex), path, query;
    enum verdict v = NEXT;

    str_cut(uri, '?', &path, &query);
    if (c->uri_text)
        uri = with_args(ex, text_value_escaped(ex, c->uri_text, escape_question), query);
    else
        v = apply_rules(ex, c, &uri, captures);
    if (v == NEXT)
        upstream_uri_set(ex, encode_target(ex_arena(ex), uri));
    return v;
}

static enum verdict rewrite_path(struct exchange *ex, const struct proxy_rewrite *c,
                                 struct regex_groups *captures)
{
    struct arena *a = ex_arena(ex);
    struct str uri = request_path(ex), path, query;
    bool split = c->uri_text || (c->nrules && str_find(uri, '?') < 0);
    enum verdict v = NEXT;

    if (c->uri_text)
        uri = text_value_escaped(ex, c->uri_text, escape_question);
    else
        v = apply_rules(ex, c, &uri, captures);
    if (v != NEXT)
        return v;
    /* A question mark that was decoded from the client's path belongs to the path. */
    if (split && str_cut(uri, '?', &path, &query))
        uri = join(a, encode_path(a, path), STR("?"), encode_target(a, query));
    else
        uri = encode_path(a, uri);
    upstream_uri_set(ex, with_args(ex, uri, request_args(ex)));
    return NEXT;
}

/* ---- Headers ----------------------------------------------------------------------------------
 */

static struct str value_text(struct exchange *ex, const struct value *v,
                             const struct regex_groups *captures)
{
    struct str all = STR("");

    if (v->constant.p)
        return v->constant;
    for (unsigned i = 0; i < v->n; i++) {
        const struct piece *p = &v->pieces[i];
        struct str part = p->text                  ? text_value(ex, p->text)
                          : p->group < captures->n ? captures->group[p->group]
                                                   : STR_NONE;
        if (part.n)
            all = all.n ? arena_join(ex_arena(ex), all, part) : part;
    }
    return encode_header(ex_arena(ex), all);
}

/* Empty values are as good as none, as in nginx. */
static void op_apply(struct exchange *ex, const struct op *op, const struct regex_groups *captures)
{
    if (op->kind != OP_ADD && op->n != 1)
        request_header_remove(ex, op->name);
    for (unsigned i = 0; i < op->n; i++) {
        struct str value = value_text(ex, &op->values[i], captures);
        if (value.n && (op->kind == OP_ADD || op->n > 1))
            request_header_add(ex, op->name, value);
        else if (value.n)
            request_header_set(ex, op->name, value);
        else if (op->kind == OP_SET && op->n == 1)
            request_header_remove(ex, op->name);
    }
}

static enum verdict proxy_rewrite_rewrite(struct exchange *ex, const void *conf, void *frame)
{
    const struct proxy_rewrite *c = conf;
    struct regex_groups captures = {.n = 0};

    (void)frame;
    enum verdict v = c->unsafe ? rewrite_raw(ex, c, &captures) : rewrite_path(ex, c, &captures);
    if (v != NEXT)
        return v;
    if (c->host.p)
        upstream_host_set(ex, c->host);
    if (c->scheme >= 0)
        upstream_scheme_set(ex, str_of(schemes[c->scheme]));
    for (unsigned i = 0; i < c->nops; i++)
        op_apply(ex, &c->ops[i], &captures);
    if (c->method >= 0)
        upstream_method_set(ex, str_of(methods[c->method]));
    return NEXT;
}

const struct plugin plugin_proxy_rewrite = {
    .abi = PLUGIN_ABI,
    .name = "proxy-rewrite",
    .version = 0.1,
    .priority = 1008,
    .guard = true,
    .doc = "Changes the request on its way to the upstream: its path, method, `Host`, scheme and "
           "headers.",
    .conf = &conf_fields,
    .compile = proxy_rewrite_compile,
    .release = proxy_rewrite_release,
    .rewrite = proxy_rewrite_rewrite,
};
