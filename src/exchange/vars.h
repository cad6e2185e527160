/* SPDX-License-Identifier: Apache-2.0 */
/* Variables: names to functions, looked up once when configuration is compiled. Private to
 * exchange/. */
#ifndef EXCHANGE_VARS_H
#define EXCHANGE_VARS_H

#include "exchange/exchange.h"

/* The value of a variable now; arg is the rest of a family's name (http_ARG). Absent: p == NULL. */
typedef struct str var_fn(struct exchange *ex, struct str arg);

struct var {
    var_fn *fn; /* NULL: unknown, always absent */
    struct str arg;
};

/* Finds a variable by name without '$'; arg points into name, or into the arena when it had to be
 * changed. */
struct var var_find(struct str name, struct arena *a);

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
