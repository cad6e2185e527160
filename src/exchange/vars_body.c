/* SPDX-License-Identifier: Apache-2.0 */
/* Variables that are looked for in the request's body. What is read of a body is kept until the
 * exchange ends or the body is replaced; a long one is read by a thread that serves nobody. */
#include "base/json_path.h"
#include "base/mem.h"
#include "exchange/body_read.h"
#include "exchange/vars.h"
#include "exchange/worker.h"
#include "loop/jobs.h"

/* A longer body is read by another thread where its exchange can wait for that. */
enum { READ_HERE_MAX = 32 * 1024 };

enum { READ_TABLE = 1, READ_GRAPHQL = 2 };

/* A body that another thread reads, and what it found, until the exchange ends: to free a million
 * values takes its time too. */
struct reading {
    struct exchange *ex;
    struct jobs *jobs;
    struct job job;
    struct str body, type;
    struct buf taken;   /* holds the body, when the exchange went first */
    struct arena arena; /* the thread's */
    json_t *table, *graphql;
    unsigned what;
    bool left, seen; /* the exchange is gone; its view has what was found */
};

/* A body as it was read. */
struct body_view {
    struct str of; /* the body; another one is read anew */
    json_t *table; /* NULL: nothing that can be read, or nobody has asked */
    json_t *graphql;
    bool table_known, graphql_known;
};

size_t body_need_max(const struct exchange *ex, enum body_need need)
{
    const struct worker_config *c = ex->worker->config;

    return need == BODY_NONE ? 0 : need == BODY_GRAPHQL ? c->graphql_max : c->post_arg_max;
}

/* What has been read of the body that counts; NULL: nothing. It stays when the body itself has gone
 * upstream. */
static struct body_view *view_now(const struct exchange *ex)
{
    struct body_view *v = ex->body_view;

    return v && (!ex->body_replaced || v->of.p == ex->new_body.p) ? v : NULL;
}

/* False: the body is not there, or is larger than is looked at. */
static bool body_take(struct exchange *ex, enum body_need need, struct str *body)
{
    size_t max = body_need_max(ex, need);

    *body = STR("");
    if (ex->body_replaced) {
        *body = ex->new_body;
    } else if (ex->body_done && ex->body_kept) {
        *body = buf_str(&ex->body);
    } else if (ex->req.framing != H1_NO_BODY) {
        if (max > ex->body_wanted)
            ex->body_wanted = max;
        return false;
    }
    return body->n > 0 && body->n <= max;
}

static void free_view(void *arg)
{
    struct body_view *v = arg;

    json_decref(v->table);
    json_decref(v->graphql);
}

static struct body_view *view_of(struct exchange *ex, struct str body)
{
    struct body_view *v = view_now(ex);

    if (v)
        return v;
    v = arena_zero(&ex->arena, sizeof(*v));
    v->of = body;
    arena_on_fini(&ex->arena, free_view, v);
    ex->body_view = v;
    return v;
}

/* ---- Read by another thread ---- */

static void reading_work(void *arg)
{
    struct reading *r = arg;

    if (r->what & READ_TABLE)
        r->table = body_read_table(r->body, r->type, &r->arena);
    if (r->what & READ_GRAPHQL)
        r->graphql = body_read_graphql(r->body, r->type, &r->arena);
}

static void reading_free(struct reading *r)
{
    json_decref(r->table);
    json_decref(r->graphql);
    buf_fini(&r->taken);
    arena_fini(&r->arena);
    free(r);
}

static void nothing(struct job *j)
{
    (void)j;
}

static void on_dropped(struct job *j)
{
    reading_free(CONTAINER(j, struct reading, job));
}

/* The exchange goes while its body is read. */
static void reading_leave(void *arg)
{
    struct reading *r = arg;

    r->left = true;
    r->taken = r->ex->body;
    buf_init(&r->ex->body, r->taken.max);
}

/* Where it was read. */
static void reading_drop(void *arg)
{
    struct reading *r = arg;

    r->job = (struct job){.work = nothing, .done = on_dropped};
    jobs_run(r->jobs, &r->job);
}

/* The exchange ends; what it left behind is dropped when it has been read. */
static void reading_end(void *arg)
{
    if (!((struct reading *)arg)->left)
        reading_drop(arg);
}

static void reading_show(struct exchange *ex, struct reading *r)
{
    struct body_view *v = view_of(ex, r->body);

    r->seen = true;
    if (r->what & READ_TABLE) {
        v->table_known = true;
        v->table = json_incref(r->table);
    }
    if (r->what & READ_GRAPHQL) {
        v->graphql_known = true;
        v->graphql = json_incref(r->graphql);
    }
}

/* What of it is worth the way. */
static unsigned wanted_of(const struct exchange *ex)
{
    const struct body_view *v = view_now(ex);
    size_t n = ex->body.n;
    unsigned what = ex->body_asked;

    if (!ex->worker->config->readers || !ex->body_done || !ex->body_kept || ex->body_replaced ||
        n <= READ_HERE_MAX)
        return 0;
    if ((v && v->table_known) || n > body_need_max(ex, BODY_POST_ARG))
        what &= ~(unsigned)READ_TABLE;
    if ((v && v->graphql_known) || n > body_need_max(ex, BODY_GRAPHQL) || ex->method != METHOD_POST)
        what &= ~(unsigned)READ_GRAPHQL;
    return what;
}

void body_read_take(struct exchange *ex)
{
    if (!ex->reading->seen)
        reading_show(ex, ex->reading);
}

bool body_read_start(struct exchange *ex)
{
    unsigned what = wanted_of(ex);
    struct reading *r;

    ex->body_asked = 0;
    if (!what)
        return false;
    r = mem_zero(sizeof(*r));
    arena_init(&r->arena, NULL);
    r->ex = ex;
    r->jobs = ex->worker->config->readers;
    r->body = buf_str(&ex->body);
    r->type = request_header(ex, STR("Content-Type"));
    r->type = r->type.p ? arena_str(&r->arena, r->type) : STR_NONE;
    r->what = what;
    ex->reading = r;
    arena_on_fini(&ex->arena, reading_end, r);
    op_job_start(ex, r->jobs, &(struct op_job){reading_work, reading_leave, reading_drop}, r);
    return true;
}

void body_ask(struct exchange *ex, enum body_need need)
{
    ex->body_asked |= need == BODY_POST_ARG ? READ_TABLE : need == BODY_GRAPHQL ? READ_GRAPHQL : 0;
}

/* The body is long, and the route will be sought again once it has been read elsewhere. */
static bool read_later(struct exchange *ex, struct str body, enum body_need need)
{
    if (ex->step != STEP_ROUTE || body.n <= READ_HERE_MAX || !ex->worker->config->readers)
        return false;
    body_ask(ex, need);
    return true;
}

/* NULL: nothing to be read. */
static const json_t *body_table(struct exchange *ex)
{
    struct body_view *v = view_now(ex);
    struct str body;

    if (v && v->table_known)
        return v->table;
    if (!body_take(ex, BODY_POST_ARG, &body) || read_later(ex, body, BODY_POST_ARG))
        return NULL;
    v = view_of(ex, body);
    v->table_known = true;
    v->table = body_read_table(body, request_header(ex, STR("Content-Type")), &ex->arena);
    return v->table;
}

/* ---- Values ---- */

static struct value value_json(const json_t *v)
{
    if (json_is_string(v))
        return (struct value){.text = str_make(json_string_value(v), json_string_length(v))};
    return (struct value){.json = v};
}

struct value value_arg(struct exchange *ex, const struct var *v)
{
    struct str text = request_arg(ex, v->arg);

    /* An empty value that is no part of the query had no "=". */
    if (text.p && !text.n &&
        !(ex->req.query.p <= text.p && text.p <= ex->req.query.p + ex->req.query.n))
        return (struct value){.json = json_true()};
    return (struct value){.text = text};
}

struct value value_post_arg(struct exchange *ex, const struct var *v)
{
    struct str type = request_header(ex, STR("Content-Type"));

    if (!str_starts(type, STR("application/x-www-form-urlencoded")))
        return (struct value){0};
    const json_t *found = json_object_getn(body_table(ex), v->arg.p, v->arg.n);
    return value_json(json_is_array(found) ? json_array_get(found, 0) : found);
}

static void free_json(void *arg)
{
    json_decref(arg);
}

struct value value_post_path(struct exchange *ex, const struct var *v)
{
    const json_t *at = body_table(ex);
    struct str rest = v->arg, name;
    bool more = true;

    if (!json_is_object(at) && !json_is_array(at))
        return (struct value){0};
    if (v->path) {
        json_t *found = json_path_query(v->path, at);
        arena_on_fini(&ex->arena, free_json, found);
        return (struct value){.json = json_array_size(found) ? found : NULL};
    }
    while (more && at) {
        more = str_cut(rest, '.', &name, &rest);
        at = json_object_getn(at, name.p, name.n);
    }
    return value_json(at);
}

/* ---- GraphQL ---- */

/* Of a GET the argument, of a POST the body; NULL: there is none, or it cannot be read. */
static const json_t *graphql_read(struct exchange *ex)
{
    struct body_view *view = view_now(ex);
    struct str body = STR("");
    json_t *table;

    if (view && view->graphql_known)
        return view->graphql;
    if (ex->method == METHOD_GET)
        table = body_read_graphql_text(request_arg(ex, STR("query")), &ex->arena);
    else if (ex->method != METHOD_POST || !body_take(ex, BODY_GRAPHQL, &body) ||
             read_later(ex, body, BODY_GRAPHQL))
        return NULL;
    else
        table = body_read_graphql(body, request_header(ex, STR("Content-Type")), &ex->arena);
    view = view_of(ex, body);
    view->graphql_known = true;
    view->graphql = table;
    return view->graphql;
}

struct value value_graphql(struct exchange *ex, const struct var *v)
{
    return value_json(json_object_getn(graphql_read(ex), v->arg.p, v->arg.n));
}
