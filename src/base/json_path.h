/* SPDX-License-Identifier: Apache-2.0 */
/* JSONPath over jansson's documents, in the form that APISIX's `post_arg.` variables have (the
 * `jsonpath` rock: Goessner's language with filters). Compiled once, then const. */
#ifndef BASE_JSON_PATH_H
#define BASE_JSON_PATH_H

#include <jansson.h>

#include "base/arena.h"
#include "base/str.h"

struct json_path;

/* `a.b[0]`, `$..x[*]`, `a['b','c']`, `a[1:5:2]`, `a[?(@.b == 'c' && @.d > 1)].e`; "$." in front may
 * be missing. NULL with a message in APISIX's words: invalid expression "…" near "…". */
struct json_path *json_path_compile(struct str source, struct arena *a, struct str *err);

/* What the path leads to, borrowed from the document: a new array in document order, empty when
 * there is nothing. The work is in proportion to the document and the path. */
json_t *json_path_query(const struct json_path *path, const json_t *document);

#endif
