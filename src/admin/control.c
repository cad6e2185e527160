/* SPDX-License-Identifier: Apache-2.0 */
/* The control API: a table of paths, each answered on the keeper's thread, or begun there. */
#include "admin/control.h"

#include <malloc.h>

#include "admin/control_int.h"

/* ---- The program -------------------------------------------------------------------------------
 */

static void on_schema(struct question *q)
{
    reply_json(q->c, 200, catalog_schemas(q->c));
}

/* Old configuration is freed as soon as no worker holds it; what is left to do is to give the
 * memory back to the system. */
static void on_gc(struct question *q)
{
    builder_reclaim(keeper_builder(q->c->keeper));
    malloc_trim(0);
    reply_empty(q->c, 200);
}

static void on_reload(struct question *q)
{
    reply_bare(q->c, 200, STR("done"));
}

struct faults {
    struct call *c;
    json_t *list;
};

static void fault_add(void *arg, struct str key, struct str why)
{
    struct faults *f = arg;

    json_array_append_new(
        f->list, json_pack("{soso}", "key", json_any(arena_join(f->c->a, f->c->admin->prefix, key)),
                           "reason", json_any(why)));
}

/* What is served, from where, how fresh it is, and what of the store is not served. */
static void on_config(struct question *q)
{
    struct keeper *k = q->c->keeper;
    struct store *store = keeper_store(k);
    const struct control_workers *w = &q->control->workers;
    struct faults skipped = {q->c, json_array()}, limited = {q->c, json_array()};
    json_t *workers = json_array();

    builder_bad(keeper_builder(k), fault_add, &skipped);
    builder_flaws(keeper_builder(k), fault_add, &limited);
    for (unsigned i = 0; i < w->n; i++)
        json_array_append_new(workers, json_pack("{sisI}", "id", (int)i, "version",
                                                 (json_int_t)w->serving(w->arg, i)));
    reply_json(q->c, 200,
               json_pack("{sssIsIsIsososo}", "store", store->ops->name, "revision",
                         (json_int_t)store->ops->revision(store), "version",
                         (json_int_t)keeper_current(k)->version, "stale_ms",
                         (json_int_t)keeper_stale_ms(k), "workers", workers, "skipped",
                         skipped.list, "limited", limited.list));
}

/* ---- The table ---------------------------------------------------------------------------------
 */

static const struct {
    const char *method;
    struct str path;
    bool prefix; /* there is more behind it */
    question_fn *run;
} questions[] = {
    {"GET", {"/v1/schema", 10}, false, on_schema},
    {"GET", {"/v1/healthcheck", 15}, false, control_healthcheck},
    {"GET", {"/v1/healthcheck/", 16}, true, control_healthcheck_one},
    {"POST", {"/v1/gc", 6}, false, on_gc},
    {"GET", {"/v1/routes", 10}, false, control_routes},
    {"GET", {"/v1/route/", 10}, true, control_route},
    {"GET", {"/v1/services", 12}, false, control_services},
    {"GET", {"/v1/service/", 12}, true, control_service},
    {"GET", {"/v1/upstreams", 13}, false, control_upstreams},
    {"GET", {"/v1/upstream/", 13}, true, control_upstream},
    {"GET", {"/v1/plugin_metadatas", 20}, false, control_metadatas},
    {"GET", {"/v1/plugin_metadata/", 20}, true, control_metadata},
    {"PUT", {"/v1/plugins/reload", 18}, false, on_reload},
    {"GET", {"/v1/eclusa/config", 17}, false, on_config},
};

struct asked {
    struct question q;
    question_fn *run;
};

static void answer(void *arg, struct keeper *keeper)
{
    struct asked *asked = arg;
    struct call *c = asked->q.c;
    bool later = false;

    c->keeper = keeper;
    asked->q.later = &later;
    asked->run(&asked->q);
    /* Else call and question may be gone by now. */
    if (!later)
        call_end(c);
}

static void control_handle(void *owner, const struct admin_request *r, admin_done_fn *done,
                           void *arg)
{
    const struct control *control = owner;
    struct call *c = call_new(control->admin, r, done, arg);

    for (size_t i = 0; i < COUNT(questions); i++) {
        struct str path = questions[i].path;
        if (!str_eq(c->method, str_of(questions[i].method)) ||
            !(questions[i].prefix ? str_starts(c->path, path) : str_eq(c->path, path)))
            continue;
        struct asked *asked = arena_zero(c->a, sizeof(*asked));
        *asked = (struct asked){
            .q = {.c = c, .control = control, .rest = str_from(c->path, path.n)},
            .run = questions[i].run};
        keeper_post(control->keeper, answer, asked);
        return;
    }
    reply_status_page(c, 404);
    call_end(c);
}

const struct admin_api control_api = {.handle = control_handle};
