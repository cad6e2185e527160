/* SPDX-License-Identifier: Apache-2.0 */
/* response-rewrite: changes the response on its way to the client: status, headers, body. */
#include "base/encode.h"
#include "base/gunzip.h"
#include "base/regex.h"
#include "plugin/plugin.h"

/* ---- Configuration ---------------------------------------------------------------------------
 */

enum scope { SCOPE_ONCE, SCOPE_GLOBAL };
static const char *const scopes[] = {"once", "global", NULL};

struct filter {
    struct str pattern, replace, options;
    int scope;
    struct regex *regex;
    struct regex_template with;
};

enum op_kind { OP_ADD, OP_SET, OP_REMOVE };
struct op {
    enum op_kind kind;
    struct str name;
    struct text *value; /* NULL: OP_REMOVE */
};

struct response_rewrite {
    int64_t status_code, max_body;
    struct str body;
    bool base64;
    struct field_list filters; /* of struct filter */
    json_t *headers, *vars;    /* while compiling */
    const struct expr *when;
    struct op *ops;
    unsigned nops;
};

struct response_rewrite_frame {
    bool matched; /* vars, when the head came */
    bool gzip;    /* unpack before filtering */
    bool done;    /* all of the new body is out */
    struct buf held;
};

static const struct field scalar_rows[] = {
    {"string", .type = FIELD_STR}, {"number", .type = FIELD_NUM}, {0}};
static const struct field scalar_row = {.type = FIELD_ONE_OF, .of = scalar_rows};
static const struct field line_row = {.type = FIELD_STR, .pattern = "^[^:]+:[^:]*[^/]$"};
static const struct field name_row = {.type = FIELD_STR, .pattern = "^[^:]+$"};
static const struct field op_rows[] = {
    {"add", FIELD_LIST, .min = 1, .of = &line_row,
     .doc = "Headers to add, each `Name: value`; no colon in the value."},
    {"set", FIELD_MAP, .min = 1, .pattern = "^[^:]+$", .of = &scalar_row,
     .doc = "Headers to replace. An empty value removes."},
    {"remove", FIELD_LIST, .min = 1, .of = &name_row, .doc = "Headers to remove."},
    {0},
};
static const struct fields op_fields = {op_rows, .size = 3 * sizeof(struct field_list),
                                        .open = true};
/* Read by hand in compile: the table only checks. */
static const struct field header_rows[] = {
    {"map", FIELD_MAP, .min = 1, .pattern = "^[^:]+$", .of = &scalar_row},
    {"operations", FIELD_OBJECT, .fields = &op_fields},
    {0},
};

#define AT(member) .at = offsetof(struct filter, member)
static const struct field filter_rows[] = {
    {"regex", FIELD_STR, .flags = FIELD_REQUIRED, AT(pattern), .min = 1,
     .doc = "Pattern to look for in the body."},
    {"scope", FIELD_ENUM, AT(scope), .names = scopes, .def = "\"once\"",
     .doc = "Replace the first match, or all."},
    {"replace", FIELD_STR, .flags = FIELD_REQUIRED, AT(replace),
     .doc = "What to put in its place, with captures (`$1`)."},
    {"options", FIELD_STR, AT(options), .def = "\"jo\"",
     .doc = "Flags of the pattern, as `i`, `m`, `s`, `x`, `u`."},
    {0},
};
#undef AT
static const struct fields filter_fields = {filter_rows, .size = sizeof(struct filter),
                                            .open = true};
static const struct field filter_row = {.type = FIELD_OBJECT, .fields = &filter_fields};
static const struct field array_row = {.type = FIELD_LIST};

#define AT(member) .at = offsetof(struct response_rewrite, member)
static const struct field rows[] = {
    {"status_code", FIELD_INT, AT(status_code), .min = 200, .max = 598, .doc = "New status."},
    {"body", FIELD_STR, AT(body), .doc = "New body. Not beside `filters`."},
    {"body_base64", FIELD_BOOL, AT(base64), .def = "false",
     .doc = "`body` is base64, to be decoded."},
    {"filters", FIELD_LIST, AT(filters), .min = 1, .of = &filter_row,
     .doc = "Replacements in the body, one after the other. A body packed with gzip is unpacked "
            "first; one with another `Content-Encoding` is left as it is, with an error in the "
            "log."},
    {"headers", FIELD_ANY_OF, AT(headers), .of = header_rows,
     .doc = "Headers to change: added first, then set, then removed; or a flat map of headers to "
            "set. Values may have variables."},
    {"vars", FIELD_JSON, AT(vars), .of = &array_row,
     .doc = "Expression over variables that must hold for anything to be changed."},
    {"max_resp_body_size", FIELD_INT, AT(max_body), .min = 1, .def = "67108864",
     .doc = "With `filters`: bytes of the body kept in memory. What comes behind them is cut off."},
    {0},
};
static const struct field_rule rules[] = {{RULE_EXCLUDES, "body,filters|filters,body", 0}, {0}};
static const struct fields conf_fields = {rows, rules, .size = sizeof(struct response_rewrite),
                                          .open = true};

/* ---- Compiling --------------------------------------------------------------------------------
 */

static struct str json_text(struct build *b, const json_t *j)
{
    if (json_is_string(j))
        return str_make(json_string_value(j), json_string_length(j));
    if (json_is_integer(j))
        return arena_printf(build_arena(b), "%lld", (long long)json_integer_value(j));
    return arena_printf(build_arena(b), "%.14g", json_number_value(j));
}

static bool add_op(struct build *b, struct response_rewrite *c, enum op_kind kind, struct str name,
                   struct str value)
{
    if (name.n == 0)
        return build_error(b, "invalid field length in header");
    c->ops[c->nops++] = (struct op){kind, arena_str(build_arena(b), name),
                                    kind == OP_REMOVE ? NULL : build_text(b, value)};
    return true;
}

static bool add_map(struct build *b, struct response_rewrite *c, json_t *map)
{
    const char *name;
    json_t *j;

    json_object_foreach(map, name, j)
    {
        if (!json_is_string(j) && !json_is_number(j))
            return build_error(b, "invalid type as header value");
        if (!add_op(b, c, OP_SET, str_of(name), json_text(b, j)))
            return false;
    }
    return true;
}

/* `Name: value`. APISIX leaves all headers alone when a name has white space inside. */
static bool add_line(struct build *b, struct response_rewrite *c, struct str line)
{
    struct str name, value;

    str_cut(line, ':', &name, &value);
    while (name.n && ascii_space(name.p[name.n - 1]))
        name.n--;
    for (size_t i = 0; i < name.n; i++)
        if (ascii_space(name.p[i]))
            return build_error(b, "invalid field character in header");
    return add_op(b, c, OP_ADD, name, str_trim(value));
}

static bool headers_compile(struct build *b, struct response_rewrite *c)
{
    json_t *add = json_object_get(c->headers, "add"), *set = json_object_get(c->headers, "set");
    json_t *removed = json_object_get(c->headers, "remove");
    size_t n = json_object_size(c->headers) + json_array_size(add) + json_object_size(set) +
               json_array_size(removed);

    c->ops = arena_zero(build_arena(b), n * sizeof(*c->ops));
    if (!json_is_array(add) && !json_is_object(set) && !json_is_array(removed))
        return add_map(b, c, c->headers);
    for (size_t i = 0; i < json_array_size(add); i++)
        if (!add_line(b, c, json_text(b, json_array_get(add, i))))
            return false;
    if (!add_map(b, c, set))
        return false;
    for (size_t i = 0; i < json_array_size(removed); i++)
        if (!add_op(b, c, OP_REMOVE, json_text(b, json_array_get(removed, i)), STR_NONE))
            return false;
    return true;
}

static bool filters_compile(struct build *b, struct response_rewrite *c)
{
    struct filter *filters = c->filters.items;
    struct regex_error err;

    for (size_t i = 0; i < c->filters.n; i++) {
        struct filter *f = &filters[i];
        f->regex = regex_new(f->pattern, f->options, &err);
        if (!f->regex || !regex_template_parse(build_arena(b), f->replace, &f->with, &err))
            return build_error(b, "regex \"%.*s\" validation failed: %s", STR_ARG(f->pattern),
                               err.text);
    }
    return true;
}

static bool body_compile(struct build *b, struct response_rewrite *c)
{
    if (!c->base64 || field_text_refers(c->body))
        return true;
    return (c->body.n && base64_decode(build_arena(b), c->body, &c->body)) ||
           build_error(b, "invalid base64 content");
}

static bool vars_compile(struct build *b, struct response_rewrite *c)
{
    c->when = c->vars ? build_expr(b, c->vars) : NULL;
    return !c->vars || c->when || build_error_in(b, "failed to validate the 'vars' expression: ");
}

static bool response_rewrite_compile(void *conf, struct build *b)
{
    struct response_rewrite *c = conf;
    bool good = (!c->headers || headers_compile(b, c)) && body_compile(b, c) &&
                vars_compile(b, c) && filters_compile(b, c);

    c->headers = c->vars = NULL; /* borrowed until here */
    return good;
}

static void response_rewrite_release(void *conf)
{
    struct response_rewrite *c = conf;
    struct filter *filters = c->filters.items;

    for (size_t i = 0; i < c->filters.n; i++)
        regex_free(filters[i].regex);
    c->filters.n = 0;
}

/* ---- The head ---------------------------------------------------------------------------------
 */

/* An empty value is as good as none, as in nginx. */
static void op_apply(struct exchange *ex, const struct op *op)
{
    struct str value = op->value ? text_value(ex, op->value) : STR_NONE;

    value = encode_header(ex_arena(ex), value);
    if (value.n == 0 && op->kind != OP_ADD)
        response_header_remove(ex, op->name);
    else if (op->kind == OP_SET)
        response_header_set(ex, op->name, value);
    else if (value.n)
        response_header_add(ex, op->name, value);
}

/* Whether filters can read the body. */
static bool is_readable(struct exchange *ex, struct response_rewrite_frame *f)
{
    struct str encoding = response_header(ex, STR("Content-Encoding"));

    f->gzip = str_eq_nocase(encoding, STR("gzip"));
    if (encoding.n == 0 || f->gzip || str_eq_nocase(encoding, STR("identity")))
        return true;
    ex_log(ex, LOG_ERROR,
           "filters may not work as expected due to unsupported compression encoding type: %.*s",
           STR_ARG(encoding));
    return false;
}

static enum verdict response_rewrite_header_filter(struct exchange *ex, const void *conf,
                                                   void *frame)
{
    const struct response_rewrite *c = conf;
    struct response_rewrite_frame *f = frame;
    bool filter;

    f->matched = !c->when || expr_matches(ex, c->when);
    if (!f->matched)
        return NEXT;
    if (c->status_code)
        response_status_set(ex, (int)c->status_code);
    filter = c->filters.n > 0 && is_readable(ex, f);
    if (c->filters.n > 0 && !filter)
        f->matched = false;
    if (c->body.p || filter) {
        response_body_changes(ex);
        response_header_remove(ex, STR("Content-Encoding"));
        response_header_remove(ex, STR("Last-Modified"));
        response_header_remove(ex, STR("ETag"));
    }
    if (filter) {
        response_body_hold(ex, (size_t)c->max_body);
        buf_init(&f->held, (size_t)c->max_body);
    }
    for (unsigned i = 0; i < c->nops; i++)
        op_apply(ex, &c->ops[i]);
    return NEXT;
}

/* ---- The body ---------------------------------------------------------------------------------
 */

/* Runs the filters over the whole body. False: it cannot be unpacked. */
static bool apply_filters(struct exchange *ex, const struct response_rewrite *c,
                          const struct response_rewrite_frame *f, struct str *body)
{
    const struct filter *filters = c->filters.items;
    struct buf one, other;
    bool good = true;

    /* What a small body may grow to. */
    buf_init(&one, (size_t)c->max_body * 2 + 65536);
    buf_init(&other, one.max);
    if (f->gzip && body->n) {
        const char *why = gunzip(*body, &one);
        if (why)
            ex_log(ex, LOG_ERROR, "filters may not work as expected: gzip: %s", why);
        good = !why;
        *body = buf_str(&one);
    }
    for (size_t i = 0; good && i < c->filters.n; i++) {
        int n = regex_replace(filters[i].regex, *body, &filters[i].with,
                              filters[i].scope == SCOPE_GLOBAL, &other);
        if (n < 0)
            ex_log(ex, LOG_ERROR, "regex \"%.*s\" substitutes failed: %d",
                   STR_ARG(filters[i].pattern), n);
        if (n > 0) {
            struct buf spent = one;
            one = other;
            other = spent;
            *body = buf_str(&one);
        }
        other.n = 0;
    }
    *body = arena_str(ex_arena(ex), *body);
    buf_fini(&one);
    buf_fini(&other);
    return good;
}

/* Takes pieces until the body is whole or max_resp_body_size is reached; true: *body is it. */
static bool gather(const struct response_rewrite *c, struct response_rewrite_frame *f,
                   const struct chunk *chunk, struct str *body)
{
    size_t room = (size_t)c->max_body - f->held.n;

    if (chunk->last && f->held.n == 0) {
        *body = str_head(chunk->data, room);
        return true;
    }
    if (!buf_add(&f->held, str_head(chunk->data, room)))
        return false;
    *body = buf_str(&f->held);
    return chunk->last || chunk->data.n >= room;
}

static enum verdict response_rewrite_body_filter(struct exchange *ex, const void *conf, void *frame,
                                                 struct chunk *chunk)
{
    const struct response_rewrite *c = conf;
    struct response_rewrite_frame *f = frame;
    struct str body = c->body;

    if (!f->matched || (!c->body.p && c->filters.n == 0))
        return NEXT;
    if (f->done || (c->filters.n && !gather(c, f, chunk, &body))) {
        chunk->data = STR("");
        return NEXT;
    }
    f->done = true;
    /* Its header says no longer that it is packed, so it cannot go on as it is. */
    if (c->filters.n && !apply_filters(ex, c, f, &body))
        return DROP;
    chunk->data = body;
    return NEXT;
}

static void response_rewrite_log(struct exchange *ex, const void *conf, void *frame)
{
    struct response_rewrite_frame *f = frame;

    (void)ex;
    (void)conf;
    buf_fini(&f->held);
}

const struct plugin plugin_response_rewrite = {
    .abi = PLUGIN_ABI,
    .name = "response-rewrite",
    .version = 0.1,
    .priority = 899,
    .doc = "Changes the response on its way to the client: its status, headers and body. When the "
           "body changes, `Content-Length`, `Content-Encoding`, `Last-Modified` and `ETag` go.",
    .conf = &conf_fields,
    .frame_size = sizeof(struct response_rewrite_frame),
    .compile = response_rewrite_compile,
    .release = response_rewrite_release,
    .header_filter = response_rewrite_header_filter,
    .body_filter = response_rewrite_body_filter,
    .log = response_rewrite_log,
};
