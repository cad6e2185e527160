/* SPDX-License-Identifier: Apache-2.0 */
/* Writes replies into the worker's output, with the faults of the request applied. */
#ifndef SIM_REPLY_H
#define SIM_REPLY_H

#include "conn.h"

#define REPLY_CHUNKED (-1)
#define REPLY_NOTHING (-2) /* no body by definition: no length either */

#define TYPE_JSON "application/json"
#define TYPE_TEXT "text/plain"
#define TYPE_SSE  "text/event-stream; charset=utf-8"

/* The head alone: status, Date, Server, type (NULL = none), length, w->extra (emptied), Connection.
 */
void reply_head(struct conn *c, int status, const char *type, int64_t length);
void reply_full(struct conn *c, int status, const char *type, struct slice body);
void reply_json(struct conn *c, int status, const struct buf *json);
/* An error in the shape of the route's API. `code` may be NULL. */
void reply_error(struct conn *c, int status, const char *code, const char *message);
/* The provider's error as it comes inside a stream. */
void reply_error_event(enum api api, struct buf *out);
/* Answers by a fault alone, if the request has such a one. */
bool reply_fault(struct conn *c, const struct request *r);
/* The worker's Date value, 29 bytes. */
const char *reply_date(struct worker *w);

#endif
