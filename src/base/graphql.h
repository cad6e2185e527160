/* SPDX-License-Identifier: Apache-2.0 */
/* GraphQL documents (October 2021), as far as routing asks: whether one is well formed, and what
 * its first operation is. No I/O; everything is bounded by the text. */
#ifndef BASE_GRAPHQL_H
#define BASE_GRAPHQL_H

#include "base/arena.h"
#include "base/str.h"

struct graphql {
    struct str operation; /* of the first definition: "query", "mutation", "subscription"; absent:
                             it is a fragment */
    struct str name;      /* empty: none */
    struct str *fields;   /* names (not aliases) of its selections; of a spread, the fragment's;
                             nothing of inline fragments */
    unsigned nfields;
    unsigned definitions; /* operations and fragments in the document */
};

/* Parses an executable document: operations and fragments, no type definitions. False: malformed,
 * empty, or nested deeper than 200 levels. Strings are parts of the text, the list is in the arena.
 */
bool graphql_parse(struct str text, struct arena *a, struct graphql *out);

#endif
