/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions of APISIX (`vars`, `_meta.filter`; lua-resty-expr): compiled to a tree, evaluated per
 * exchange. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "base/cidr.h"
#include "base/mem.h"
#include "base/regex.h"
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

static const struct {
    const char *name;
    enum operator op;
} operators[] = {
    {"==", OP_EQ},   {"~=", OP_NE},           {"!=", OP_NE},
    {">", OP_GT},    {">=", OP_GE},           {"<", OP_LT},
    {"<=", OP_LE},   {"~~", OP_MATCH},        {"~*", OP_MATCH_NOCASE},
    {"in", OP_IN},   {"IN", OP_IN},           {"has", OP_HAS},
    {"HAS", OP_HAS}, {"ipmatch", OP_IPMATCH}, {"IPMATCH", OP_IPMATCH},
};

struct operand {
    struct str text;
    double number;
    bool is_number;
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

    *out = (struct operand){.text = STR_NONE};
    if (json_is_string(v)) {
        out->text = arena_str(a, str_make(json_string_value(v), json_string_length(v)));
        return true;
    }
    if (json_is_number(v)) {
        out->is_number = true;
        out->number = json_number_value(v);
        out->text = arena_printf(a, "%.14g", out->number);
        return true;
    }
    if (json_is_boolean(v)) {
        out->text = json_is_true(v) ? STR("true") : STR("false");
        return true;
    }
    return build_error(b, "invalid operand in an expression");
}

static bool set_values(struct build *b, struct expr *e, const json_t *v)
{
    size_t n = json_is_array(v) ? json_array_size(v) : 1;

    e->values = arena_zero(build_arena(b), (n ? n : 1) * sizeof(*e->values));
    e->nvalues = (unsigned)n;
    for (size_t i = 0; i < n; i++)
        if (!operand_from(b, json_is_array(v) ? json_array_get(v, i) : v, &e->values[i]))
            return false;
    return true;
}

static bool set_networks(struct build *b, struct expr *e)
{
    struct cidr *items = arena_zero(build_arena(b), (e->nvalues + 1) * sizeof(*items));

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

    if (e->nvalues != 1)
        return build_error(b, "a regular expression must be a string");
    e->regex = regex_new(e->values[0].text, e->op == OP_MATCH ? STR("jo") : STR("joi"), &err);
    if (!e->regex)
        return build_error(b, "%s", err.text);
    arena_on_fini(build_arena(b), free_regex, e->regex);
    return true;
}

static bool set_operator(struct build *b, struct expr *e, const json_t *op)
{
    struct str name = str_make(json_string_value(op),
                               json_is_string(op) ? json_string_length(op) : 0);

    for (size_t i = 0; i < sizeof(operators) / sizeof(*operators); i++) {
        if (str_eq(name, str_of(operators[i].name))) {
            e->op = operators[i].op;
            return true;
        }
    }
    return build_error(b, "invalid operator '%.*s'", STR_ARG(name));
}

/* [var, op, value] or [var, "!", op, value]. */
static struct expr *compile_rule(struct build *b, const json_t *source)
{
    struct expr *e = arena_zero(build_arena(b), sizeof(*e));
    size_t n = json_array_size(source), at = 1;
    const json_t *name = json_array_get(source, 0);

    if (!json_is_string(name) || n < 2) {
        build_error(b, n < 2 ? "rule too short" : "rule should be wrapped inside brackets");
        return NULL;
    }
    e->var = var_find(
        arena_str(build_arena(b), str_make(json_string_value(name), json_string_length(name))),
        build_arena(b));
    if (n == 2) { /* [var, value]: equal */
        e->op = OP_EQ;
        return set_values(b, e, json_array_get(source, 1)) ? e : NULL;
    }
    const json_t *bang = json_array_get(source, 1);
    if (json_is_string(bang) && strcmp(json_string_value(bang), "!") == 0) {
        e->negate = true;
        at = 2;
    }
    if (n < at + 2) {
        build_error(b, "rule should be wrapped inside brackets");
        return NULL;
    }
    if (!set_operator(b, e, json_array_get(source, at)) ||
        !set_values(b, e, json_array_get(source, at + 1)))
        return NULL;
    if ((e->op == OP_IPMATCH && !set_networks(b, e)) ||
        ((e->op == OP_MATCH || e->op == OP_MATCH_NOCASE) && !set_regex(b, e)))
        return NULL;
    return e;
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
    if (json_is_string(first) && !group_word(first, &join, &negate))
        return depth ? compile_rule(b, source)
                     : (build_error(b, "rule should be wrapped inside brackets"), NULL);
    return compile_group(b, source, depth);
}

struct expr *build_expr(struct build *b, const json_t *source)
{
    return compile(b, source, 0);
}

/* ---- Evaluating
 * --------------------------------------------------------------------------------------- */

static bool to_number(struct str s, double *out)
{
    char text[64], *end;

    s = str_trim(s);
    if (!s.n || s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    *out = strtod(text, &end);
    return *end == 0 && !isnan(*out);
}

/* Numbers compare as numbers, anything else as text; absent equals nothing. */
static bool equals(struct str v, const struct operand *o)
{
    double number;

    if (!v.p)
        return false;
    if (o->is_number)
        return to_number(v, &number) && number == o->number;
    return str_eq(v, o->text);
}

static bool ordered(struct str v, const struct operand *o, enum operator op)
{
    double l, r;
    int order;

    if (!v.p)
        return false;
    if (o->is_number || (to_number(v, &l) && to_number(o->text, &r))) {
        r = o->is_number ? o->number : r;
        if (!to_number(v, &l))
            return false;
        order = (l > r) - (l < r);
    } else {
        order = str_cmp(v, o->text);
    }
    switch (op) {
    case OP_GT:
        return order > 0;
    case OP_GE:
        return order >= 0;
    case OP_LT:
        return order < 0;
    case OP_LE:
        return order <= 0;
    case OP_EQ:
    case OP_NE:
    case OP_MATCH:
    case OP_MATCH_NOCASE:
    case OP_IN:
    case OP_HAS:
    case OP_IPMATCH:
        break;
    }
    return false;
}

static bool is_in(struct str v, const struct expr *e)
{
    for (unsigned i = 0; i < e->nvalues; i++)
        if (equals(v, &e->values[i]))
            return true;
    return false;
}

/* Lists in variables are comma-separated texts here. */
static bool has(struct str v, const struct operand *o)
{
    struct str rest = v, one;

    while (list_next(&rest, &one))
        if (equals(one, o))
            return true;
    return false;
}

static bool ip_matches(struct str v, const struct expr *e)
{
    struct cidr ip;

    return v.p && cidr_parse(v, &ip) && cidr_list_has(&e->networks, &ip);
}

static bool rule_matches(struct exchange *ex, const struct expr *e)
{
    struct str v = e->var.fn ? e->var.fn(ex, e->var.arg) : STR_NONE;

    switch (e->op) {
    case OP_EQ:
        return e->nvalues == 1 && equals(v, &e->values[0]);
    case OP_NE:
        return e->nvalues != 1 || !equals(v, &e->values[0]);
    case OP_GT:
    case OP_GE:
    case OP_LT:
    case OP_LE:
        return e->nvalues == 1 && ordered(v, &e->values[0], e->op);
    case OP_MATCH:
    case OP_MATCH_NOCASE:
        return v.p && regex_match(e->regex, v, 0, NULL) == 1;
    case OP_IN:
        return is_in(v, e);
    case OP_HAS:
        return e->nvalues == 1 && has(v, &e->values[0]);
    case OP_IPMATCH:
        return ip_matches(v, e);
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
