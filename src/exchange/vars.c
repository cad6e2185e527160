/* SPDX-License-Identifier: Apache-2.0 */
/* Variables: which function a name stands for, the values that plugins give, reading one. The
 * functions stand with their rows in vars_*.c (inventory §2.3). */
#include "exchange/vars.h"

/* ---- What the functions share ---- */

struct str var_number(struct exchange *ex, uint64_t v)
{
    char *p = arena_bytes(&ex->arena, 20);

    return str_make(p, u64_write(p, v));
}

struct str var_seconds(struct exchange *ex, int64_t us)
{
    if (us < 0)
        us = 0;
    return arena_printf(&ex->arena, "%lld.%03d", (long long)(us / 1000000),
                        (int)(us / 1000 % 1000));
}

/* The name is arg with '_' for '-' (nginx: $http_NAME). */
static bool is_var_header(const struct header *h, struct str arg)
{
    if (h->name_n != arg.n)
        return false;
    for (size_t j = 0; j < arg.n; j++) {
        char c = ascii_lower(h->name[j]);
        if ((c == '-' ? '_' : c) != ascii_lower(arg.p[j]))
            return false;
    }
    return true;
}

static const char *separator_of(const struct header *h)
{
    return h->id == HEADER_COOKIE ? "; " : ", ";
}

struct str var_header(struct exchange *ex, const struct head *head, struct str arg)
{
    struct str all = STR_NONE;

    for (unsigned i = 0; i < head->n; i++) {
        const struct header *h = &head->list[i];
        if (!is_var_header(h, arg))
            continue;
        all = all.p ? arena_printf(&ex->arena, "%.*s%s%.*s", STR_ARG(all), separator_of(h),
                                   STR_ARG(header_str_value(h)))
                    : header_str_value(h);
    }
    return all;
}

/* ---- What plugins give (var_set) ---- */

struct set_var {
    struct set_var *next;
    struct str name, value;
    var_make_fn *make; /* NULL: value is there */
    const void *arg;
};

static void add_var(struct exchange *ex, struct set_var var)
{
    struct set_var *v = arena_alloc(&ex->arena, sizeof(*v));

    *v = var;
    v->next = ex->set_vars;
    ex->set_vars = v;
}

void var_set(struct exchange *ex, struct str name, struct str value)
{
    add_var(ex, (struct set_var){.name = name, .value = value});
}

void var_set_made(struct exchange *ex, struct str name, var_make_fn *make, const void *arg)
{
    add_var(ex, (struct set_var){.name = name, .make = make, .arg = arg});
}

struct str var_given(struct exchange *ex, struct str name)
{
    struct set_var *v = ex->set_vars;

    while (v && !str_eq(v->name, name))
        v = v->next;
    if (!v)
        return STR_NONE;
    if (v->make) {
        v->value = v->make(ex, v->arg);
        v->make = NULL;
    }
    return v->value;
}

/* What plugins give their values, and what they are without (APISIX: ngx_tpl.lua). */
static struct str v_plain(struct exchange *ex, struct str arg)
{
    static const struct {
        struct str name, value;
    } plain[] = {
        {{"request_type", 12}, {"traditional_http", 16}},
        {{"request_llm_model", 17}, {"", 0}},
        {{"llm_model", 9}, {"", 0}},
        {{"llm_time_to_first_token", 23}, {"0", 1}},
        {{"llm_prompt_tokens", 17}, {"0", 1}},
        {{"llm_completion_tokens", 21}, {"0", 1}},
        {{"llm_total_tokens", 16}, {"0", 1}},
        {{"llm_stream", 10}, {"false", 5}},
        {{"llm_has_tool_calls", 18}, {"false", 5}},
        {{"llm_tool_count", 14}, {"0", 1}},
        {{"llm_end_user_id", 15}, {"", 0}},
        {{"llm_cache_read_input_tokens", 27}, {"0", 1}},
        {{"llm_cache_creation_input_tokens", 31}, {"0", 1}},
        {{"llm_reasoning_tokens", 20}, {"0", 1}},
        {{"llm_content_risk_level", 22}, {"", 0}},
        {{"rate_limiting_info", 18}, {"", 0}},
        {{"upstream_upgrade", 16}, {"", 0}},
        {{"upstream_connection", 19}, {"", 0}},
        {{"resp_body", 9}, {"", 0}},
    };
    struct str given = var_given(ex, arg);

    for (size_t i = 0; !given.p && i < sizeof(plain) / sizeof(*plain); i++)
        if (str_eq(plain[i].name, arg))
            return plain[i].value;
    return given;
}

/* ---- Names ---- */

/* Families whose values have types. */
static const struct {
    struct str name;
    value_fn *value;
    enum body_need body;
} typed[] = {
    {{"arg_", 4}, value_arg, BODY_NONE},
    {{"post_arg_", 9}, value_post_arg, BODY_POST_ARG},
    {{"post_arg.", 9}, value_post_path, BODY_POST_ARG},
    {{"graphql_", 8}, value_graphql, BODY_GRAPHQL},
};

static const struct var_row *const tables[] = {vars_client,   vars_tls,      vars_request,
                                               vars_upstream, vars_response, NULL};

static bool is_family(struct str row, struct str name)
{
    return row.p[row.n - 1] == '_' && str_starts(name, row) && name.n > row.n;
}

/* The row that a name belongs to, its own or its family's. */
static struct var plain_var(struct str name)
{
    struct var family = {.fn = v_plain, .arg = name};

    for (const struct var_row *const *table = tables; *table; table++)
        for (const struct var_row *row = *table; row->name; row++) {
            struct str key = str_of(row->name);
            if (str_eq(key, name))
                return (struct var){.fn = row->fn};
            if (is_family(key, name))
                family = (struct var){.fn = row->fn, .arg = str_from(name, key.n)};
        }
    return family;
}

/* Only a path that is more than names between dots is JSONPath. */
static const struct json_path *path_of(struct str arg, struct arena *a)
{
    struct str err;

    if (str_find(arg, '[') < 0 && str_find(arg, '*') < 0 && str_search(arg, STR("..")) < 0)
        return NULL;
    return json_path_compile(arena_join(a, STR("$."), arg), a, &err);
}

struct var var_find(struct str name, struct arena *a)
{
    struct var v = plain_var(name);

    for (size_t i = 0; i < sizeof(typed) / sizeof(*typed); i++) {
        struct str family = typed[i].name;
        if (!str_starts(name, family) || name.n == family.n)
            continue;
        v.value = typed[i].value;
        v.body = typed[i].body;
        v.arg = str_from(name, family.n);
        if (v.value == value_post_path)
            v.path = path_of(v.arg, a);
    }
    return v;
}

struct value var_read(struct exchange *ex, const struct var *v)
{
    if (v->value)
        return v->value(ex, v);
    return (struct value){.text = v->fn(ex, v->arg)};
}

static void free_text(void *arg)
{
    free(arg);
}

struct str var_text(struct exchange *ex, const struct var *v)
{
    if (!v->value)
        return v->fn(ex, v->arg);
    struct value value = v->value(ex, v);
    if (!value.json)
        return value.text;
    if (json_is_number(value.json))
        return arena_printf(&ex->arena, "%.14g", json_number_value(value.json));
    char *text = json_dumps(value.json, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text)
        return STR_NONE;
    arena_on_fini(&ex->arena, free_text, text);
    return str_of(text);
}
