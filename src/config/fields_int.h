/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind config/fields.h share: the parse under way, rules, and what is kept of the
 * tables' patterns and defaults. */
#ifndef CONFIG_FIELDS_INT_H
#define CONFIG_FIELDS_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/field.h"

struct parse {
    struct arena *arena;
    struct str err; /* in the arena; set by parse_fail */
    bool secret; /* inside of a FIELD_SECRET row: messages, which may get into logs, do not quote */
};

/* Sets the message; returns false. */
bool parse_fail(struct parse *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Checks v by the row and, unless `at` is NULL, stores it there with defaults inside. */
bool field_value(struct parse *p, const struct field *f, const json_t *v, void *at);

/* The rules of one object, in the order in which the validator that APISIX uses looks at them. */
bool rules_depend(struct parse *p, const struct fields *fields, const json_t *in);
bool rules_rest(struct parse *p, const struct fields *fields, const json_t *in);
/* Takes the next part of *rest, which becomes absent behind the last one; false when it is. */
bool rule_part(struct str *rest, char sep, struct str *part);

/* True for `$secret://…` and `$ENV://…` (the latter in any case), which stand for a value that is
 * fetched later. */
bool field_is_reference(const json_t *v);

const struct field *fields_row(const struct fields *fields, struct str name);
/* The row that list elements and map values are checked by; never NULL. */
const struct field *field_of(const struct field *f);
/* The first row of the alternatives at `of` that accepts v; NULL: none. */
const struct field *field_match(const struct field *of, const json_t *v);

/* The pattern (PCRE) is found in s. Compiled once in the process's life; any thread. */
bool memo_matches(const char *pattern, struct str s);
/* The JSON text of a table's default, parsed once in the process's life; any thread. Not to be
 * changed. */
json_t *memo_json(const char *text);

/* jansson's iterators want a pointer to non-const, but change nothing. */
static inline json_t *json_loose(const json_t *j)
{
    return (json_t *)(uintptr_t)j;
}

#endif
