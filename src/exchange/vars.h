/* SPDX-License-Identifier: Apache-2.0 */
/* Variables: names to functions, looked up once when configuration is compiled. Private to
 * exchange/. */
#ifndef EXCHANGE_VARS_H
#define EXCHANGE_VARS_H

#include "base/json_path.h"
#include "exchange/exchange.h"

struct var;

/* The value of a variable now; arg is the rest of a family's name (http_ARG). Absent: p == NULL. */
typedef struct str var_fn(struct exchange *ex, struct str arg);

/* A value with its type, as Lua has it in APISIX: a text, or something of JSON's; absent: neither.
 */
struct value {
    struct str text;
    const json_t *json; /* borrowed; never a string */
};
typedef struct value value_fn(struct exchange *ex, const struct var *v);

struct var {
    var_fn *fn;
    value_fn *value; /* of variables that are not always texts, goes before fn; NULL: they are */
    struct str arg;
    const struct json_path *path; /* of "post_arg." */
    enum body_need body;          /* it is looked for in the request's body */
};

/* Finds a variable by name without '$'; arg points into name. What is compiled of it is in the
 * arena. */
struct var var_find(struct str name, struct arena *a);
struct value var_read(struct exchange *ex, const struct var *v);
/* Its text; lists and objects are compact JSON. */
struct str var_text(struct exchange *ex, const struct var *v);

static inline bool value_is_absent(const struct value *v)
{
    return !v->text.p && !v->json;
}

/* ---- vars_body.c: what is looked for in the request's body ---- */

/* "post_arg_NAME", "post_arg.PATH", "graphql_NAME". While the route is sought and the body is not
 * there, they are absent and say in ex->body_wanted that they would have it. */
value_fn value_post_arg, value_post_path, value_graphql;
/* "arg_NAME": true when it has no "=". */
value_fn value_arg;
/* How much of a body such variables are looked for in. */
size_t body_need_max(const struct exchange *ex, enum body_need need);
/* The exchange will ask for what there is in its body. */
void body_ask(struct exchange *ex, enum body_need need);
/* An operation that reads a long body, which is there, for those who have asked, so that no other
 * request of the thread waits for it. False: there is nothing to wait for. When it has ended
 * body_read_take shows what was found (ex->reading is set). */
bool body_read_start(struct exchange *ex);
void body_read_take(struct exchange *ex);

/* ---- Variables that are always texts: each file has its rows ---- */

struct var_row {
    const char *name; /* a trailing '_' names a family; NULL ends the table */
    var_fn *fn;
};
extern const struct var_row vars_client[], vars_tls[], vars_request[], vars_upstream[],
    vars_response[];

/* What their functions share; the texts are the exchange's. */
struct str var_number(struct exchange *ex, uint64_t v);
/* Microseconds as "1.234" seconds; less than none are none. */
struct str var_seconds(struct exchange *ex, int64_t us);
/* Headers named arg with '-' where it has '_' (nginx: $http_ARG); several are joined, as nginx does
 * since 1.23. Absent: none. */
struct str var_header(struct exchange *ex, const struct head *head, struct str arg);
/* What a plugin has given this name (var_set); absent: nothing. */
struct str var_given(struct exchange *ex, struct str name);

/* ---- Texts ---- */

struct text_part {
    struct str literal; /* when var.fn is NULL and it is no variable */
    struct var var;
    struct str otherwise; /* ${name ?? otherwise}; absent: none */
    bool is_var;
};

struct text {
    struct text_part *parts;
    unsigned n;
    bool constant;
};

/* Whose rules say where a name ends: APISIX's (core.utils.resolve_var) take dots into it, nginx's
 * do not. */
enum text_syntax { TEXT_APISIX, TEXT_NGINX };

/* "$name", "${name}", "${name ?? default}" in source; a '$' before anything else, or behind a
 * backslash, stands for itself. */
struct text *text_compile(struct str source, enum text_syntax syntax, struct arena *a);

#endif
