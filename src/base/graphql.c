/* SPDX-License-Identifier: Apache-2.0 */
/* The parser of GraphQL documents: a lexer of one token ahead, and a function for each rule of the
 * grammar (spec §2). */
#include "base/graphql.h"

enum { DEPTH_MAX = 200 };

enum token {
    TOKEN_END,
    TOKEN_BAD,
    TOKEN_NAME,
    TOKEN_NUMBER,
    TOKEN_STRING,
    TOKEN_SPREAD,
    TOKEN_SIGN, /* a single character: sign */
};

struct parser {
    struct arena *a;
    struct str rest; /* behind the token */
    enum token token;
    char sign;
    struct str text; /* of the token */
    unsigned depth;
    struct graphql *out;
    bool collect; /* the selections at hand are the first definition's own */
    unsigned cap;
};

/* ---- Tokens ---- */

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name(char c)
{
    return is_name_start(c) || ascii_digit(c);
}

/* White space, commas, comments and byte order marks mean nothing. */
static struct str skip_ignored(struct str s)
{
    while (s.n) {
        if (*s.p == '#') {
            while (s.n && *s.p != '\n' && *s.p != '\r')
                s = str_from(s, 1);
        } else if (str_starts(s, STR("\xef\xbb\xbf"))) {
            s = str_from(s, 3);
        } else if (*s.p == ' ' || *s.p == '\t' || *s.p == '\n' || *s.p == '\r' || *s.p == ',') {
            s = str_from(s, 1);
        } else {
            break;
        }
    }
    return s;
}

/* Bytes of a number; 0: none is there. */
static size_t number_length(struct str s)
{
    size_t n = s.p[0] == '-', digits;

    for (digits = n; n < s.n && ascii_digit(s.p[n]); n++) {
    }
    if (n == digits || (s.p[digits] == '0' && n > digits + 1))
        return 0;
    if (n + 1 < s.n && s.p[n] == '.' && ascii_digit(s.p[n + 1]))
        for (n++; n < s.n && ascii_digit(s.p[n]); n++) {
        }
    if (n < s.n && (s.p[n] == 'e' || s.p[n] == 'E')) {
        n++;
        n += n < s.n && (s.p[n] == '+' || s.p[n] == '-');
        if (n == s.n || !ascii_digit(s.p[n]))
            return 0;
        while (n < s.n && ascii_digit(s.p[n]))
            n++;
    }
    return n < s.n && (is_name(s.p[n]) || s.p[n] == '.') ? 0 : n;
}

/* Bytes of a string with its quotes; 0: it does not end. */
static size_t string_length(struct str s)
{
    if (str_starts(s, STR("\"\"\""))) {
        for (size_t i = 3; i + 3 <= s.n; i++) {
            if (s.p[i] == '\\' && str_starts(str_from(s, i + 1), STR("\"\"\"")))
                i += 3;
            else if (str_starts(str_from(s, i), STR("\"\"\"")))
                return i + 3;
        }
        return 0;
    }
    for (size_t i = 1; i < s.n && s.p[i] != '\n' && s.p[i] != '\r'; i++) {
        if (s.p[i] == '"')
            return i + 1;
        i += s.p[i] == '\\';
    }
    return 0;
}

static void next(struct parser *p)
{
    struct str s = skip_ignored(p->rest);
    size_t n = 1;

    p->sign = 0;
    if (s.n == 0) {
        p->token = TOKEN_END;
        n = 0;
    } else if (is_name_start(*s.p)) {
        p->token = TOKEN_NAME;
        while (n < s.n && is_name(s.p[n]))
            n++;
    } else if (ascii_digit(*s.p) || *s.p == '-') {
        n = number_length(s);
        p->token = n ? TOKEN_NUMBER : TOKEN_BAD;
    } else if (*s.p == '"') {
        n = string_length(s);
        p->token = n ? TOKEN_STRING : TOKEN_BAD;
    } else if (str_starts(s, STR("..."))) {
        p->token = TOKEN_SPREAD;
        n = 3;
    } else {
        p->token = str_find(STR("!$&()[]{}:=|@"), *s.p) >= 0 ? TOKEN_SIGN : TOKEN_BAD;
        p->sign = *s.p;
    }
    p->text = str_head(s, n);
    p->rest = str_from(s, n);
}

/* ---- Rules: each begins at its first token and ends behind its last; false: not so ---- */

static bool sign(struct parser *p, char c)
{
    if (p->token != TOKEN_SIGN || p->sign != c)
        return false;
    next(p);
    return true;
}

static bool at(const struct parser *p, char c)
{
    return p->token == TOKEN_SIGN && p->sign == c;
}

static bool name(struct parser *p, struct str *out)
{
    if (p->token != TOKEN_NAME)
        return false;
    *out = p->text;
    next(p);
    return true;
}

static bool word(struct parser *p, struct str w)
{
    if (p->token != TOKEN_NAME || !str_eq(p->text, w))
        return false;
    next(p);
    return true;
}

/* What nests goes through here. */
static bool deeper(struct parser *p)
{
    return ++p->depth <= DEPTH_MAX;
}

static bool value(struct parser *p);

/* `{name: value …}`, `(name: value …)`; behind the first sign. */
static bool pairs(struct parser *p, char end)
{
    struct str ignored;

    while (!at(p, end))
        if (!name(p, &ignored) || !sign(p, ':') || !value(p))
            return false;
    return sign(p, end);
}

static bool value(struct parser *p)
{
    struct str ignored;
    bool ok;

    if (p->token == TOKEN_NAME || p->token == TOKEN_NUMBER || p->token == TOKEN_STRING) {
        next(p);
        return true;
    }
    if (sign(p, '$'))
        return name(p, &ignored);
    if (!deeper(p))
        return false;
    if (sign(p, '[')) {
        for (ok = true; ok && !at(p, ']');)
            ok = value(p);
        ok = ok && sign(p, ']');
    } else {
        ok = sign(p, '{') && pairs(p, '}');
    }
    p->depth--;
    return ok;
}

static bool arguments(struct parser *p)
{
    if (!sign(p, '('))
        return true;
    return !at(p, ')') && pairs(p, ')');
}

static bool directives(struct parser *p)
{
    struct str ignored;

    while (sign(p, '@'))
        if (!name(p, &ignored) || !arguments(p))
            return false;
    return true;
}

static bool type(struct parser *p)
{
    struct str ignored;
    bool ok;

    if (!deeper(p))
        return false;
    ok = sign(p, '[') ? type(p) && sign(p, ']') : name(p, &ignored);
    p->depth--;
    if (at(p, '!'))
        next(p);
    return ok;
}

/* `($name: type = value @directive …)`, or nothing. */
static bool variables(struct parser *p)
{
    struct str ignored;

    if (!sign(p, '('))
        return true;
    do {
        if (!sign(p, '$') || !name(p, &ignored) || !sign(p, ':') || !type(p) ||
            (sign(p, '=') && !value(p)) || !directives(p))
            return false;
    } while (!at(p, ')'));
    return sign(p, ')');
}

static void collect(struct parser *p, struct str field)
{
    struct graphql *out = p->out;

    if (!p->collect)
        return;
    if (out->nfields == p->cap) {
        unsigned cap = p->cap ? p->cap * 2 : 8;
        struct str *more = arena_alloc(p->a, cap * sizeof(*more));
        if (out->nfields)
            memcpy(more, out->fields, out->nfields * sizeof(*more));
        out->fields = more;
        p->cap = cap;
    }
    out->fields[out->nfields++] = field;
}

static bool selections(struct parser *p);

/* What is inside of a selection does not count as the operation's. */
static bool inner_selections(struct parser *p)
{
    bool outer = p->collect;

    p->collect = false;
    bool ok = selections(p);
    p->collect = outer;
    return ok;
}

static bool spread(struct parser *p)
{
    struct str ignored;

    next(p);
    if (p->token == TOKEN_NAME && !str_eq(p->text, STR("on"))) {
        collect(p, p->text);
        next(p);
        return directives(p);
    }
    if (word(p, STR("on")) && !name(p, &ignored))
        return false;
    return directives(p) && inner_selections(p);
}

static bool field(struct parser *p)
{
    struct str called;

    if (!name(p, &called) || (sign(p, ':') && !name(p, &called)))
        return false;
    collect(p, called);
    return arguments(p) && directives(p) && (!at(p, '{') || inner_selections(p));
}

static bool selections(struct parser *p)
{
    bool ok = sign(p, '{') && !at(p, '}') && deeper(p);

    while (ok && !at(p, '}'))
        ok = p->token == TOKEN_SPREAD ? spread(p) : field(p);
    p->depth--;
    return ok && sign(p, '}');
}

static bool operation(struct parser *p, struct str *kind, struct str *called)
{
    static const struct str kinds[] = {{"query", 5}, {"mutation", 8}, {"subscription", 12}};

    *kind = kinds[0];
    if (at(p, '{'))
        return selections(p);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!word(p, kinds[i]))
            continue;
        *kind = kinds[i];
        if (p->token == TOKEN_NAME)
            name(p, called);
        return variables(p) && directives(p) && selections(p);
    }
    return false;
}

static bool definition(struct parser *p, struct str *kind, struct str *called)
{
    struct str ignored;

    *called = STR("");
    if (!word(p, STR("fragment")))
        return operation(p, kind, called);
    *kind = STR_NONE;
    return !(p->token == TOKEN_NAME && str_eq(p->text, STR("on"))) && name(p, called) &&
           word(p, STR("on")) && name(p, &ignored) && directives(p) && selections(p);
}

bool graphql_parse(struct str text, struct arena *a, struct graphql *out)
{
    struct parser p = {.a = a, .rest = text, .out = out, .collect = true};
    struct str kind, called;

    *out = (struct graphql){0};
    next(&p);
    while (p.token != TOKEN_END) {
        if (!definition(&p, &kind, &called))
            return false;
        if (out->definitions++ == 0) {
            out->operation = kind;
            out->name = called;
        }
        p.collect = false;
    }
    return out->definitions > 0;
}
