/* SPDX-License-Identifier: Apache-2.0 */
/* JSONPath: a compiler to a list of steps, and a walk along them. */
#include "base/json_path.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

/* What a filter's operators are bound by: a chain of them is a tree as deep. */
enum { DEPTH_MAX = 32, STEPS_MAX = 64, NODES_MAX = 256 };

enum step_kind { STEP_NAME, STEP_ANY, STEP_UNION, STEP_FILTER };
enum item_kind { ITEM_NAME, ITEM_SLICE, ITEM_EXPR };

/* One member of `[a, 'b', 1:3]`. */
struct item {
    enum item_kind kind;
    struct str name; /* or a number, as it is written */
    bool has_to;
    long from, to, by;
    struct node *expr;
};

struct step {
    enum step_kind kind;
    bool descend; /* at any depth */
    struct str name;
    struct item *items;
    unsigned nitems;
    struct node *filter;
};

struct json_path {
    const struct step *steps;
    unsigned n;
};

/* Of an expression in a filter. */
enum node_kind { NODE_TEXT, NODE_NUMBER, NODE_BOOL, NODE_VAR, NODE_LENGTH, NODE_OP };

struct node {
    enum node_kind kind;
    int op; /* index of operators */
    struct node *left, *right;
    struct str text;
    double number;
    bool truth;
    struct str *names; /* @.a.b */
    unsigned nnames;
};

/* By precedence, the weakest first; the longer sign before the one it begins with. */
enum op_kind {
    OP_OR,
    OP_AND,
    OP_EQ,
    OP_NE,
    OP_LE,
    OP_GE,
    OP_LT,
    OP_GT,
    OP_PLUS,
    OP_MINUS,
    OP_MUL,
    OP_DIV,
    OP_MOD,
};
static const struct {
    const char *sign;
    unsigned char level;
    enum op_kind kind;
} operators[] = {
    {"||", 0, OP_OR}, {"OR", 0, OP_OR}, {"&&", 1, OP_AND}, {"AND", 1, OP_AND}, {"==", 2, OP_EQ},
    {"=", 2, OP_EQ},  {"!=", 2, OP_NE}, {"<>", 2, OP_NE},  {"<=", 3, OP_LE},   {">=", 3, OP_GE},
    {"<", 3, OP_LT},  {">", 3, OP_GT},  {"+", 4, OP_PLUS}, {"-", 4, OP_MINUS}, {"*", 5, OP_MUL},
    {"/", 5, OP_DIV}, {"%", 5, OP_MOD},
};
enum { LEVELS = 6, OPERATORS = sizeof(operators) / sizeof(operators[0]) };

/* ---- Compiling ---- */

struct parser {
    struct arena *a;
    struct str rest;
    unsigned depth, nodes;
};

static void skip_space(struct parser *p)
{
    while (p->rest.n && (*p->rest.p == ' ' || *p->rest.p == '\t' || *p->rest.p == '\n'))
        p->rest = str_from(p->rest, 1);
}

/* Takes a sign and the space behind it. */
static bool take(struct parser *p, const char *sign)
{
    if (!str_starts(p->rest, str_of(sign)))
        return false;
    p->rest = str_from(p->rest, strlen(sign));
    skip_space(p);
    return true;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool take_name(struct parser *p, struct str *out)
{
    size_t n = 0;

    if (!p->rest.n || !is_letter(*p->rest.p))
        return false;
    while (n < p->rest.n && (is_letter(p->rest.p[n]) || ascii_digit(p->rest.p[n])))
        n++;
    *out = str_head(p->rest, n);
    p->rest = str_from(p->rest, n);
    skip_space(p);
    return true;
}

static bool take_index(struct parser *p, struct str *out)
{
    size_t n = p->rest.n && (*p->rest.p == '-' || *p->rest.p == '+'), digits = n;

    while (n < p->rest.n && ascii_digit(p->rest.p[n]))
        n++;
    if (n == digits || n > 12)
        return false;
    *out = str_head(p->rest, n);
    p->rest = str_from(p->rest, n);
    skip_space(p);
    return true;
}

static long to_long(struct str digits)
{
    char text[16] = "";

    memcpy(text, digits.p, digits.n);
    return strtol(text, NULL, 10);
}

/* 'x' or "x"; of escapes only that of the quote itself is taken off. */
static bool take_string(struct parser *p, struct str *out)
{
    char quote = p->rest.n ? *p->rest.p : 0;
    size_t end = 1, n = 0;

    if (quote != '\'' && quote != '"')
        return false;
    while (end < p->rest.n && p->rest.p[end] != quote)
        end += p->rest.p[end] == '\\' ? 2 : 1;
    if (end >= p->rest.n)
        return false;
    char *text = arena_bytes(p->a, end);
    for (size_t i = 1; i < end; i++) {
        if (p->rest.p[i] == '\\' && p->rest.p[i + 1] == quote)
            i++;
        text[n++] = p->rest.p[i];
    }
    *out = str_make(text, n);
    p->rest = str_from(p->rest, end + 1);
    skip_space(p);
    return true;
}

static struct node *node_new(struct parser *p, enum node_kind kind)
{
    struct node *n = arena_zero(p->a, sizeof(*n));

    n->kind = kind;
    return n;
}

static struct node *parse_expr(struct parser *p, unsigned level);

/* Behind `@`: names by dots, or one in brackets. */
static struct node *parse_var(struct parser *p)
{
    struct node *n = node_new(p, NODE_VAR);
    struct str name;

    n->names = arena_zero(p->a, DEPTH_MAX * sizeof(*n->names));
    if (take(p, "[")) {
        n->nnames = 1;
        return take_string(p, &n->names[0]) && take(p, "]") ? n : NULL;
    }
    while (n->nnames < DEPTH_MAX && take(p, ".")) {
        if (!take_name(p, &name))
            return NULL;
        n->names[n->nnames++] = name;
    }
    if (n->nnames == 1 && str_eq(n->names[0], STR("length")))
        n->kind = NODE_LENGTH;
    return n->nnames ? n : NULL;
}

static struct node *parse_number(struct parser *p)
{
    struct node *n = node_new(p, NODE_NUMBER);
    char text[64] = "", *end;
    size_t size = p->rest.n < sizeof(text) - 1 ? p->rest.n : sizeof(text) - 1;

    memcpy(text, p->rest.p, size);
    char first = text[*text == '-' || *text == '+'];
    if (!ascii_digit(first) && first != '.')
        return NULL;
    n->number = strtod(text, &end);
    if (end == text)
        return NULL;
    p->rest = str_from(p->rest, (size_t)(end - text));
    skip_space(p);
    return n;
}

static bool take_word(struct parser *p, const char *word)
{
    size_t n = strlen(word);

    if (!str_eq_nocase(str_head(p->rest, n), str_of(word)))
        return false;
    p->rest = str_from(p->rest, n);
    skip_space(p);
    return true;
}

static struct node *parse_fact(struct parser *p)
{
    struct node *n = node_new(p, NODE_TEXT);

    if (take_string(p, &n->text))
        return n;
    if (take(p, "@"))
        return parse_var(p);
    if (take(p, "(")) {
        n = parse_expr(p, 0);
        return n && take(p, ")") ? n : NULL;
    }
    n->kind = NODE_BOOL;
    n->truth = take_word(p, "true");
    return n->truth || take_word(p, "false") ? n : parse_number(p);
}

/* The operator of this level that stands next, taken; OPERATORS: none. */
static unsigned take_operator(struct parser *p, unsigned level)
{
    for (unsigned i = 0; i < OPERATORS; i++)
        if (operators[i].level == level && take_word(p, operators[i].sign))
            return i;
    return OPERATORS;
}

static struct node *parse_expr(struct parser *p, unsigned level)
{
    unsigned op;

    if (level == LEVELS)
        return parse_fact(p);
    if (level == 0 && ++p->depth > DEPTH_MAX)
        return NULL;
    struct node *left = parse_expr(p, level + 1);
    while (left && (op = take_operator(p, level)) < OPERATORS) {
        if (++p->nodes > NODES_MAX)
            return NULL;
        struct node *n = node_new(p, NODE_OP);
        n->op = (int)op;
        n->left = left;
        n->right = parse_expr(p, level + 1);
        left = n->right ? n : NULL;
    }
    p->depth -= level == 0;
    return left;
}

/* `from:to:by`, each may be missing but the colon. */
static bool parse_slice(struct parser *p, struct item *item)
{
    struct parser was = *p;
    struct str digits;

    item->kind = ITEM_SLICE;
    item->by = 1;
    if (take_index(p, &digits))
        item->from = to_long(digits);
    if (!take(p, ":")) {
        *p = was;
        return false;
    }
    item->has_to = take_index(p, &digits);
    if (item->has_to)
        item->to = to_long(digits);
    was = *p;
    if (take(p, ":")) {
        if (take_index(p, &digits))
            item->by = to_long(digits);
        else
            *p = was;
    }
    return true;
}

static bool parse_item(struct parser *p, struct item *item)
{
    *item = (struct item){0};
    if (parse_slice(p, item))
        return true;
    *item = (struct item){.kind = ITEM_NAME};
    if (take_string(p, &item->name) || take_index(p, &item->name))
        return true;
    if (!take(p, "("))
        return false;
    item->kind = ITEM_EXPR;
    item->expr = parse_expr(p, 0);
    return item->expr && take(p, ")");
}

/* Behind `[`. */
static bool parse_subscript(struct parser *p, struct step *s)
{
    enum { ITEMS_MAX = 32 };

    if (str_starts(p->rest, STR("*]"))) {
        s->kind = STEP_ANY;
        return take(p, "*") && take(p, "]");
    }
    if (take(p, "?(")) {
        s->kind = STEP_FILTER;
        s->filter = parse_expr(p, 0);
        return s->filter && take(p, ")") && take(p, "]");
    }
    s->kind = STEP_UNION;
    s->items = arena_zero(p->a, ITEMS_MAX * sizeof(*s->items));
    do {
        if (s->nitems == ITEMS_MAX || !parse_item(p, &s->items[s->nitems++]))
            return false;
    } while (take(p, ","));
    return take(p, "]");
}

static bool parse_child_name(struct parser *p, struct step *s)
{
    s->kind = STEP_NAME;
    if (take_index(p, &s->name) || take_name(p, &s->name))
        return true;
    s->kind = STEP_ANY;
    return take(p, "*");
}

static bool parse_step(struct parser *p, struct step *s, bool first)
{
    *s = (struct step){0};
    if (str_starts(p->rest, STR("..")) || str_starts(p->rest, STR("."))) {
        s->descend = str_starts(p->rest, STR(".."));
        p->rest = str_from(p->rest, s->descend ? 2 : 1);
        if (!s->descend || !str_starts(p->rest, STR("[")))
            return parse_child_name(p, s);
    }
    if (str_starts(p->rest, STR("["))) {
        p->rest = str_from(p->rest, 1);
        skip_space(p);
        return parse_subscript(p, s);
    }
    return first && parse_child_name(p, s);
}

struct json_path *json_path_compile(struct str source, struct arena *a, struct str *err)
{
    struct step steps[STEPS_MAX], *kept;
    struct str text = arena_str(a, source);
    struct parser p = {.a = a, .rest = text};
    unsigned n = 0;
    bool ok = true;

    skip_space(&p);
    bool root = p.rest.n && *p.rest.p == '$';
    if (root)
        p.rest = str_from(p.rest, 1);
    while (p.rest.n && ok) {
        struct parser was = p;
        ok = n < STEPS_MAX && parse_step(&p, &steps[n], !root && n == 0);
        if (ok)
            n++;
        else
            p = was;
    }
    if (ok && (root || n)) {
        struct json_path *path = arena_alloc(a, sizeof(*path));
        kept = arena_alloc(a, (n + 1) * sizeof(*kept));
        memcpy(kept, steps, n * sizeof(*kept));
        *path = (struct json_path){kept, n};
        return path;
    }
    if (!root && n == 0)
        *err = arena_printf(a, "invalid expression \"%.*s\"", STR_ARG(text));
    else
        *err = arena_printf(a, "invalid expression \"%.*s\" near \"%.*s\"", STR_ARG(text),
                            STR_ARG(p.rest));
    return NULL;
}

/* ---- Filters ---- */

enum value_type { VALUE_NONE, VALUE_BOOL, VALUE_NUMBER, VALUE_TEXT, VALUE_TABLE };

struct value {
    enum value_type type;
    bool truth;
    double number;
    struct str text;
    char digits[32]; /* of a number made a text */
};

static struct value value_of(const json_t *v)
{
    switch (v ? json_typeof(v) : JSON_NULL) {
    case JSON_STRING:
        return (struct value){VALUE_TEXT,
                              .text = str_make(json_string_value(v), json_string_length(v))};
    case JSON_INTEGER:
    case JSON_REAL:
        return (struct value){VALUE_NUMBER, .number = json_number_value(v)};
    case JSON_TRUE:
    case JSON_FALSE:
        return (struct value){VALUE_BOOL, .truth = json_is_true(v)};
    case JSON_OBJECT:
    case JSON_ARRAY:
        return (struct value){VALUE_TABLE, .truth = true};
    case JSON_NULL:
        break;
    }
    return (struct value){.type = VALUE_NONE};
}

static bool number_of(const struct value *v, double *out)
{
    char text[64], *end;

    if (v->type == VALUE_NUMBER) {
        *out = v->number;
        return true;
    }
    if (v->type != VALUE_TEXT || !v->text.n || v->text.n >= sizeof(text))
        return false;
    memcpy(text, v->text.p, v->text.n);
    text[v->text.n] = 0;
    *out = strtod(text, &end);
    return *end == 0;
}

static bool truth_of(const struct value *v)
{
    return v->type != VALUE_NONE && !(v->type == VALUE_BOOL && !v->truth);
}

static struct str text_of(struct value *v)
{
    if (v->type == VALUE_TEXT)
        return v->text;
    if (v->type == VALUE_BOOL)
        return v->truth ? STR("true") : STR("false");
    if (v->type != VALUE_NUMBER)
        return STR("");
    int n = snprintf(v->digits, sizeof(v->digits), "%.14g", v->number);
    return str_make(v->digits, (size_t)n);
}

/* The second operand is taken as what the first one is. -2: not to be compared. */
static int compare(struct value *l, struct value *r)
{
    double number;

    if (l->type == VALUE_BOOL)
        return (int)l->truth - (int)truth_of(r);
    if (l->type == VALUE_NUMBER)
        return !number_of(r, &number) ? -2 : (l->number > number) - (l->number < number);
    if (l->type != VALUE_TEXT)
        return -2;
    int order = str_cmp(l->text, text_of(r));
    return (order > 0) - (order < 0);
}

static struct value evaluate(const struct node *n, const json_t *at);

static struct value arithmetic(enum op_kind op, const struct value *l, const struct value *r)
{
    double a, b, v = 0;

    if (!number_of(l, &a) || !number_of(r, &b))
        return (struct value){.type = VALUE_NONE};
    if (op == OP_PLUS)
        v = a + b;
    else if (op == OP_MINUS)
        v = a - b;
    else if (op == OP_MUL)
        v = a * b;
    else if (op == OP_DIV)
        v = a / b;
    else
        v = a - floor(a / b) * b;
    return (struct value){VALUE_NUMBER, .number = v};
}

/* What is absent makes the whole expression so. */
static struct value operate(const struct node *n, const json_t *at)
{
    struct value l = evaluate(n->left, at);
    struct value r = l.type ? evaluate(n->right, at) : l;
    enum op_kind op = operators[n->op].kind;

    if (!l.type || !r.type)
        return (struct value){.type = VALUE_NONE};
    if (op >= OP_PLUS)
        return arithmetic(op, &l, &r);
    if (op == OP_AND || op == OP_OR) {
        bool both = op == OP_AND;
        return (struct value){VALUE_BOOL, .truth = both ? truth_of(&l) && truth_of(&r)
                                                        : truth_of(&l) || truth_of(&r)};
    }
    int order = compare(&l, &r);
    bool holds = op == OP_EQ ? order == 0 : op == OP_NE ? order != 0 : false;
    if (order != -2 && op != OP_EQ && op != OP_NE)
        holds = (op == OP_LT && order < 0) || (op == OP_LE && order <= 0) ||
                (op == OP_GT && order > 0) || (op == OP_GE && order >= 0);
    return (struct value){VALUE_BOOL, .truth = holds};
}

static struct value evaluate(const struct node *n, const json_t *at)
{
    switch (n->kind) {
    case NODE_TEXT:
        return (struct value){VALUE_TEXT, .text = n->text};
    case NODE_NUMBER:
        return (struct value){VALUE_NUMBER, .number = n->number};
    case NODE_BOOL:
        return (struct value){VALUE_BOOL, .truth = n->truth};
    case NODE_LENGTH:
        return json_is_array(at) || json_is_object(at)
                   ? (struct value){VALUE_NUMBER,
                                    .number = (double)(json_is_array(at) ? json_array_size(at)
                                                                         : json_object_size(at))}
                   : (struct value){.type = VALUE_NONE};
    case NODE_VAR:
        for (unsigned i = 0; at && i < n->nnames; i++)
            at = json_object_getn(at, n->names[i].p, n->names[i].n);
        return value_of(at);
    case NODE_OP:
        return operate(n, at);
    }
    return (struct value){.type = VALUE_NONE};
}

/* ---- The walk ---- */

struct walk {
    const struct json_path *path;
    json_t *found;
};

static void walk_from(struct walk *w, const json_t *at, unsigned step);

static bool slice_has(const struct item *item, const json_t *parent, long index)
{
    long n = (long)(json_is_array(parent) ? json_array_size(parent) : json_object_size(parent));
    long from = item->from < 0 ? n + item->from : item->from;
    long to = !item->has_to ? n + 1 : item->to < 0 ? n + item->to : item->to;

    return item->by > 0 && index >= from && index < to && (index - from) % item->by == 0;
}

/* A child by its key, or in an array by its index as text. */
static bool item_fits(const struct item *item, const json_t *parent, struct str key, long index)
{
    if (item->kind == ITEM_NAME)
        return str_eq(item->name, key);
    if (item->kind == ITEM_SLICE)
        return index >= 0 && slice_has(item, parent, index);
    struct value v = evaluate(item->expr, parent);
    return v.type != VALUE_NONE && str_eq(text_of(&v), key);
}

static bool step_fits(const struct step *s, const json_t *parent, struct str key, long index,
                      const json_t *child)
{
    switch (s->kind) {
    case STEP_ANY:
        return true;
    case STEP_NAME:
        return str_eq(s->name, key);
    case STEP_FILTER: {
        struct value v = evaluate(s->filter, child);
        return truth_of(&v);
    }
    case STEP_UNION:
        break;
    }
    for (unsigned i = 0; i < s->nitems; i++)
        if (item_fits(&s->items[i], parent, key, index))
            return true;
    return false;
}

/* Where a step at any depth fits, the search below ends, so that each node is looked at once for
 * each step; but for `..*`, which is everything below whatever follows it: all of it as there. */
static void walk_child(struct walk *w, const json_t *parent, struct str key, long index,
                       json_t *child, unsigned step)
{
    const struct step *s = &w->path->steps[step];

    if (s->descend && s->kind == STEP_ANY) {
        json_array_append(w->found, child);
        walk_from(w, child, step);
    } else if (step_fits(s, parent, key, index, child)) {
        walk_from(w, child, step + 1);
    } else if (s->descend) {
        walk_from(w, child, step);
    }
}

/* The depth is that of the document, which its parser bounds. */
static void walk_from(struct walk *w, const json_t *at, unsigned step)
{
    union {
        const json_t *in;
        json_t *out;
    } node = {at};
    const char *key;
    json_t *child;
    char digits[24];
    size_t i;

    if (step == w->path->n) {
        json_array_append(w->found, node.out);
        return;
    }
    json_object_foreach(node.out, key, child) walk_child(w, at, str_of(key), -1, child, step);
    json_array_foreach(node.out, i, child)
    {
        int n = snprintf(digits, sizeof(digits), "%zu", i);
        walk_child(w, at, str_make(digits, (size_t)n), (long)i, child, step);
    }
}

json_t *json_path_query(const struct json_path *path, const json_t *document)
{
    struct walk w = {path, json_array()};

    walk_from(&w, document, 0);
    return w.found;
}
