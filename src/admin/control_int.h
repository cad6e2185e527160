/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the control API share. */
#ifndef ADMIN_CONTROL_INT_H
#define ADMIN_CONTROL_INT_H

#include "admin/admin_int.h"
#include "admin/control.h"
#include "base/buf.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A call with what it asks. */
struct question {
    struct call *c;
    const struct control *control;
    struct str rest; /* of the path, behind what the table has */
    bool *later;     /* to be set by who ends the call on another thread, which may be at once */
};

typedef void question_fn(struct question *q);

/* ---- control_list.c: all documents of some kinds, as one reply ---- */

/* Adds what is shown of a document; not on the keeper's thread. `n` counts from 0. False: there is
 * no room for it. */
typedef bool list_add_fn(const struct question *q, struct buf *out, size_t *n, enum kind kind,
                         const struct store_item *item, json_t *value);
struct list_form {
    const char *content_type, *begin, *end;
    list_add_fn *add;
};

/* Begins the reply, on the keeper's thread, which reads the documents; the rest is a job, so that
 * no write waits for it. */
void control_list(struct question *q, const enum kind *which, size_t n,
                  const struct list_form *form);
/* Adds one more of a list in JSON; takes the value. */
bool list_add_json(struct buf *out, size_t *n, json_t *value);

/* As it is stored, without its secrets opened: there is no key here. A new reference, NULL when it
 * is no JSON. */
json_t *stored_value(const struct store_item *item);
/* The one of that id that is served, and *value (a new reference); on the keeper's thread. */
bool stored_find(struct question *q, enum kind kind, struct str id, struct store_item *item,
                 json_t **value);

/* ---- Answers, by path ---- */

question_fn control_routes, control_route, control_services, control_service, control_upstreams,
    control_upstream, control_metadatas, control_metadata; /* control_documents.c */
question_fn control_healthcheck, control_healthcheck_one;  /* control_health.c */

#endif
