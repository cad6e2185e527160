/* SPDX-License-Identifier: Apache-2.0 */
/* What variables see of a request's body: bytes to tables, on whichever thread. The work grows with
 * the body. */
#ifndef EXCHANGE_BODY_READ_H
#define EXCHANGE_BODY_READ_H

#include <jansson.h>

#include "base/arena.h"
#include "base/str.h"

/* A form, JSON or multipart by the Content-Type, as APISIX's request.get_request_body_table
 * chooses: a new reference; NULL: nothing that can be read. The arena is for what is needed
 * meanwhile. */
json_t *body_read_table(struct str body, struct str type, struct arena *a);
/* {operation, name, root_fields} of a GraphQL document, which is the body, or in it when that is
 * JSON; NULL: there is none. */
json_t *body_read_graphql(struct str body, struct str type, struct arena *a);
json_t *body_read_graphql_text(struct str text, struct arena *a);

#endif
