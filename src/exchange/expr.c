/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions of APISIX (`vars`, `_meta.filter`; lua-resty-expr): compiled to a tree, evaluated per
 * exchange. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cidr.h"
#include "base/mem.h"
#include "base/regex.h"
#include "config/build.h"
#include "exchange/vars.h"

enum join { JOIN_AND, JOIN_OR };

enum operator{
    OP_EQ,
    OP_NE,
    OP_GT,
    OP_GE,
    OP_LT,
    OP_LE,
    OP_MATCH,
    OP_MATCH_NOCASE,
    OP_IN,
    OP_HAS,
    OP_IPMATCH,
};

/* In any case. */
static const struct {
    const char *name;
    enum operator op;
} operators[] = {
    {"==", OP_EQ},
    {"~=", OP_NE},
    {">", OP_GT},
    {">=", OP_GE},
    {"<", OP_LT},
    {"<=", OP_LE},
    {"~~", OP_MATCH},
    {"~*", OP_MATCH_NOCASE},
    {"in", OP_IN},
    {"has", OP_HAS},
    {"ipmatch", OP_IPMATCH},
};

/* JSON's types; null is an absent variable. */
enum operand_type { OPERAND_NULL, OPERAND_TEXT, OPERAND_NUMBER, OPERAND_BOOL };

struct operand {
    enum operand_type type;
    struct str text;
    double number;
    bool truth;
};

struct expr {
    /* a group */
    struct expr **parts;
    unsigned n;
    enum join join;
    bool negate;
    /* a rule, when parts is NULL */
    struct var var;
    enum operator op;
    struct operand *values; /* one, or a list for in and ipmatch */
    unsigned nvalues;
    bool is_list;
    struct cidr_list networks;
    struct regex *regex;
};

enum { DEPTH_MAX = 16 };

static struct expr *compile(struct build *b, const json_t *source, int depth);

/* ---- Compiling
 * -------------------------------------------------------------------------------------- */

static bool operand_from(struct build *b, const json_t *v, struct operand *out)
{
    struct arena *a = build_arena(b);

    *out = (struct operand){.type = OPERAND_NULL};
    if (!v || json_is_null(v))
        return true;
    if (json_is_string(v)) {
        out->type = OPERAND_TEXT;
        out->text = arena_str(a, str_make(json_string_value(v), json_string_length(v)));
    } else if (json_is_number(v)) {
        out->type = OPERAND_NUMBER;
        out->number = json_number_value(v);
        out->text = arena_printf(a, "%.14g", out->number);
    } else if (json_is_boolean(v)) {
        out->type = OPERAND_BOOL;
        out->truth = json_is_true(v);
    } else {
        return build_error(b, "invalid operand in an expression");
    }
    return true;
}

static bool set_values(struct build *b, struct expr *e, const json_t *v)
{
    e->is_list = json_is_array(v);
    size_t n = e->is_list ? json_array_size(v) : 1;

    e->values = arena_zero(build_arena(b), (n ? n : 1) * sizeof(*e->values));
    e->nvalues = (unsigned)n;
    for (size_t i = 0; i < n; i++)
        if (!operand_from(b, e->is_list ? json_array_get(v, i) : v, &e->values[i]))
            return false;
    return true;
}

static bool set_networks(struct build *b, struct expr *e)
{
    struct cidr *items = arena_zero(build_arena(b), (e->nvalues + 1) * sizeof(*items));

    if (!e->nvalues || !e->values[0].text.n)
        return build_error(b, "invalid ip address");
    for (unsigned i = 0; i < e->nvalues; i++)
        if (!cidr_parse(e->values[i].text, &items[i]))
            return build_error(b, "invalid ip address: %.*s", STR_ARG(e->values[i].text));
    e->networks = (struct cidr_list){.items = items, .n = e->nvalues};
    return true;
}

static void free_regex(void *arg)
{
    regex_free(arg);
}

static bool set_regex(struct build *b, struct expr *e)
{
    struct regex_error err;

    if (e->is_list || e->values[0].type != OPERAND_TEXT)
        return build_error(b, "a regular expression must be a string");
    e->regex = regex_new(e->values[0].text, e->op == OP_MATCH ? STR("jo") : STR("joi"), &err);
    if (!e->regex)
        return build_error(b, "%s", err.text);
    arena_on_fini(build_arena(b), free_regex, e->regex);
    return true;
}

/* -1: none of that name. */
static int operator_of(struct str name)
{
    for (size_t i = 0; i < sizeof(operators) / sizeof(*operators); i++)
        if (str_eq_nocase(name, str_of(operators[i].name)))
            return (int)operators[i].op;
    return -1;
}

static struct str text_of(struct build *b, const json_t *v)
{
    struct operand o;

    return operand_from(b, v, &o) ? o.text : STR_NONE;
}

/* The operator and the value; [var, value] is short for [var, "==", value]. */
static bool set_comparison(struct build *b, struct expr *e, const json_t *op, const json_t *value)
{
    struct str name = text_of(b, op);
    int found = operator_of(name);

    if (!name.p)
        return build_error(b, "invalid expression");
    if (found < 0 && value && !json_is_null(value))
        return build_error(b, "invalid operator '%.*s'", STR_ARG(name));
    e->op = found < 0 ? OP_EQ : (enum operator)found;
    if (!set_values(b, e, found < 0 ? op : value))
        return false;
    if (e->op == OP_IPMATCH)
        return set_networks(b, e);
    return (e->op != OP_MATCH && e->op != OP_MATCH_NOCASE) || set_regex(b, e);
}

/* [var, op, value], [var, "!", op, value] or [var, value]. */
static struct expr *compile_rule(struct build *b, const json_t *source)
{
    struct expr *e = arena_zero(build_arena(b), sizeof(*e));
    size_t n = json_array_size(source), at = n == 4 ? 2 : 1;
    struct str name = text_of(b, json_array_get(source, 0));
    const json_t *bang = json_array_get(source, 1);

    e->negate = n == 4;
    if (n == 4 && !(json_is_string(bang) && strcmp(json_string_value(bang), "!") == 0)) {
        build_error(b, "bad 'not' expression");
        return NULL;
    }
    if (!name.p) {
        build_error(b, "invalid expression");
        return NULL;
    }
    e->var = var_find(name, build_arena(b));
    build_body_need(b, e->var.body);
    return set_comparison(b, e, json_array_get(source, at), json_array_get(source, at + 1)) ? e
                                                                                            : NULL;
}

/* The word that leads a group: AND, OR, !AND, !OR; false: none. */
static bool group_word(const json_t *first, enum join *join, bool *negate)
{
    const char *s = json_string_value(first);

    if (!s)
        return false;
    *negate = *s == '!';
    s += *negate;
    *join = strcasecmp(s, "OR") == 0 ? JOIN_OR : JOIN_AND;
    return strcasecmp(s, "OR") == 0 || strcasecmp(s, "AND") == 0;
}

static struct expr *compile_group(struct build *b, const json_t *source, int depth)
{
    struct expr *e = arena_zero(build_arena(b), sizeof(*e));
    size_t n = json_array_size(source), from = 0;

    if (group_word(json_array_get(source, 0), &e->join, &e->negate))
        from = 1;
    if ((from && n <= 2) || (depth && !n)) {
        build_error(b, "rule too short");
        return NULL;
    }
    e->parts = arena_zero(build_arena(b), (n + 1) * sizeof(*e->parts));
    for (size_t i = from; i < n; i++) {
        struct expr *part = compile(b, json_array_get(source, i), depth + 1);
        if (!part)
            return NULL;
        e->parts[e->n++] = part;
    }
    return e;
}

static struct expr *compile(struct build *b, const json_t *source, int depth)
{
    enum join join;
    bool negate;
    const json_t *first = json_array_get(source, 0);

    if (!json_is_array(source) || depth > DEPTH_MAX) {
        build_error(b, "rule should be wrapped inside brackets");
        return NULL;
    }
    if (!first || json_is_array(first) || group_word(first, &join, &negate))
        return compile_group(b, source, depth);
    if (depth)
        return compile_rule(b, source);
    build_error(b, "rule should be wrapped inside brackets");
    return NULL;
}

struct expr *build_expr(struct build *b, const json_t *source)
{
    return compile(b, source, 0);
}

/* ---- Evaluating
 * --------------------------------------------------------------------------------------- */

/* As Lua reads numbers: hexadecimal too, but no words ("inf", "nan"). */
static bool to_number(struct str s, double *out)
{
    char text[64], *end;

    s = str_trim(s);
    if (!s.n || s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    char first = text[*text == '-' || *text == '+'];
    if (!ascii_digit(first) && first != '.')
        return false;
    *out = strtod(text, &end);
    return end == text + s.n;
}

/* A value as a number (Lua's tonumber); false: it is none. */
static bool value_number(const struct value *v, double *out)
{
    if (json_is_number(v->json)) {
        *out = json_number_value(v->json);
        return true;
    }
    return v->text.p && to_number(v->text, out);
}

/* Lua's ==: types count, but for a number in the expression, which makes one of the value. */
static bool equals(const struct value *v, const struct operand *o)
{
    double number;

    switch (o->type) {
    case OPERAND_NULL:
        return value_is_absent(v);
    case OPERAND_TEXT:
        return v->text.p && str_eq(v->text, o->text);
    case OPERAND_NUMBER:
        return value_number(v, &number) && number == o->number;
    case OPERAND_BOOL:
        return json_is_boolean(v->json) && json_is_true(v->json) == o->truth;
    }
    return false;
}

/* The same without making numbers of texts. */
static bool same(const struct value *v, const struct operand *o)
{
    return (o->type != OPERAND_NUMBER || json_is_number(v->json)) && equals(v, o);
}

/* Both as numbers; what is none is in no order. */
static bool ordered(const struct value *v, const struct operand *o, enum operator op)
{
    double l, r = o->number;

    if (!value_number(v, &l) || (o->type != OPERAND_NUMBER && !to_number(o->text, &r)))
        return false;
    return op == OP_GT ? l > r : op == OP_GE ? l >= r : op == OP_LT ? l < r : l <= r;
}

/* A list alone has members. */
static bool is_in(const struct value *v, const struct expr *e)
{
    for (unsigned i = 0; !value_is_absent(v) && e->is_list && i < e->nvalues; i++)
        if (same(v, &e->values[i]))
            return true;
    return false;
}

/* The value is a list and has it: several arguments of one name, `post_arg` of an array,
 * `graphql_root_fields`. A text has nothing, whatever stands in it. */
static bool has(const struct value *v, const struct operand *o)
{
    size_t i;
    json_t *one;

    json_array_foreach(v->json, i, one)
    {
        struct value member = {.json = one};
        if (json_is_string(one))
            member = (struct value){
                .text = str_make(json_string_value(one), json_string_length(one))};
        if (o->type != OPERAND_NULL && same(&member, o))
            return true;
    }
    return false;
}

static bool ip_matches(const struct value *v, const struct expr *e)
{
    struct cidr ip;

    return v->text.p && cidr_parse(v->text, &ip) && cidr_list_has(&e->networks, &ip);
}

/* Numbers are matched by their text; what is neither is not. */
static bool pattern_matches(const struct value *v, const struct expr *e)
{
    char digits[32];
    struct str text = v->text;

    if (json_is_number(v->json)) {
        int n = snprintf(digits, sizeof(digits), "%.14g", json_number_value(v->json));
        text = str_make(digits, (size_t)n);
    }
    return text.p && regex_match(e->regex, text, 0, NULL) == 1;
}

static bool rule_matches(struct exchange *ex, const struct expr *e)
{
    struct value v = var_read(ex, &e->var);

    switch (e->op) {
    case OP_EQ:
        return !e->is_list && equals(&v, &e->values[0]);
    case OP_NE:
        return e->is_list || !equals(&v, &e->values[0]);
    case OP_GT:
    case OP_GE:
    case OP_LT:
    case OP_LE:
        return !e->is_list && ordered(&v, &e->values[0], e->op);
    case OP_MATCH:
    case OP_MATCH_NOCASE:
        return pattern_matches(&v, e);
    case OP_IN:
        return is_in(&v, e);
    case OP_HAS:
        return !e->is_list && has(&v, &e->values[0]);
    case OP_IPMATCH:
        return ip_matches(&v, e);
    }
    return false;
}

/* The depth was bounded when it was compiled. */
bool expr_matches(struct exchange *ex, const struct expr *e)
{
    bool result;

    if (!e->parts)
        return rule_matches(ex, e) != e->negate;
    result = e->join == JOIN_AND;
    for (unsigned i = 0; i < e->n; i++) {
        bool one = expr_matches(ex, e->parts[i]);
        if (one != result) {
            result = one;
            break;
        }
    }
    return result != e->negate;
}
