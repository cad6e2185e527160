/* SPDX-License-Identifier: Apache-2.0 */
/* The status API. */
#include "admin/status.h"

#include "admin/admin_int.h"

/* The first worker that does not serve; n: all do. */
static unsigned worker_missing(const struct control_workers *w)
{
    unsigned i = 0;

    while (i < w->n && w->serving(w->arg, i) != 0)
        i++;
    return i;
}

static void ready(struct call *c, const struct control_workers *w)
{
    unsigned missing = worker_missing(w);

    if (missing == w->n)
        reply_json(c, 200, json_pack("{ss}", "status", "ok"));
    else
        reply_json(c, 503,
                   json_pack("{ssso}", "status", "error", "error",
                             json_any(arena_printf(
                                 c->a, "worker id: %u has not received configuration", missing))));
}

static void status_handle(void *owner, const struct admin_request *r, admin_done_fn *done,
                          void *arg)
{
    struct call *c = call_new(NULL, r, done, arg);
    bool reads = str_eq(c->method, STR("GET")) || str_eq(c->method, STR("HEAD"));

    if (reads && str_eq(c->path, STR("/status")))
        reply_json(c, 200, json_pack("{ss}", "status", "ok"));
    else if (reads && str_eq(c->path, STR("/status/ready")))
        ready(c, owner);
    else
        reply_status_page(c, 404);
    call_end(c);
}

const struct admin_api status_api = {.handle = status_handle};
