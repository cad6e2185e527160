/* SPDX-License-Identifier: Apache-2.0 */
/* What field tables (base/field.h) do: validate and parse JSON, fill in defaults, draw JSON schema.
 */
#ifndef CONFIG_FIELDS_H
#define CONFIG_FIELDS_H

#include <jansson.h>

#include "base/arena.h"
#include "base/field.h"

/* Parses the object `in` into the struct at `out` (fields->size bytes, zeroed here), with defaults.
 * Strings, lists and nested structs are copied into the arena; FIELD_JSON members borrow from `in`.
 * On the first fault returns false, with a message in the wording of APISIX's validator, e.g.
 * `property "count" validation failed: expected 0 to be greater than 0`, allocated in the arena. */
bool fields_parse(const struct fields *fields, const json_t *in, void *out, struct arena *a,
                  struct str *err);

/* The same without the struct, for tables whose rows have no place in one. */
bool fields_check(const struct fields *fields, const json_t *in, struct arena *a, struct str *err);

/* Calls `unknown` with the dotted path of each property that the table does not know, at any depth;
 * used for config.yaml, where they warn. */
void fields_unknown(const struct fields *fields, const json_t *in,
                    void (*unknown)(void *arg, struct str path), void *arg);

/* JSON schema (draft 4 as APISIX serves it) of the table; a new reference. */
json_t *fields_schema(const struct fields *fields);

/* Markdown table of the fields (name, type, default, range, description), for doc/plugin pages;
 * nested fields with dotted names. Heap text, the caller frees. */
char *fields_markdown(const struct fields *fields);

/* Calls `visit` for each string value at a FIELD_SECRET row that is present in `in`, so that a
 * store can replace it (json_string_set). */
void fields_secrets(const struct fields *fields, json_t *in,
                    void (*visit)(void *arg, json_t *string), void *arg);

#endif
