/* SPDX-License-Identifier: Apache-2.0 */
/* Operations: what a plugin waits for. Each is owned by its exchange, ends in a later turn, and
 * goes with the exchange when that ends first. */
#include "base/mem.h"
#include "base/panic.h"
#include "config/build_private.h"
#include "exchange/exchange.h"
#include "exchange/worker.h"
#include "loop/jobs.h"
#include "upstream/fetch.h"

/* On the exchange's list while it is under way. */
struct op {
    struct op *next;
    void (*cancel)(struct op *op);
};

static void op_add(struct exchange *ex, struct op *op, void (*cancel)(struct op *op))
{
    op->cancel = cancel;
    op->next = ex->ops;
    ex->ops = op;
    ex->npending++;
}

static void op_remove(struct exchange *ex, struct op *op)
{
    struct op **at = &ex->ops;

    while (*at != op)
        at = &(*at)->next;
    *at = op->next;
}

void ops_cancel(struct exchange *ex)
{
    while (ex->ops) {
        struct op *op = ex->ops;
        ex->ops = op->next;
        op->cancel(op);
    }
    ex->npending = 0;
    ex->body_gathering = ex->body_soft = false;
    if (ex->body_task.run)
        task_cancel(&ex->body_task);
}

/* ---- sleep
 * ----------------------------------------------------------------------------------------- */

struct sleep_op {
    struct op op;
    struct timer timer;
    struct exchange *ex;
};

static void sleep_cancel(struct op *op)
{
    struct sleep_op *s = CONTAINER(op, struct sleep_op, op);

    timer_clear(&s->ex->worker->thread.loop.timers, &s->timer);
}

static void sleep_over(struct timer *t)
{
    struct sleep_op *s = CONTAINER(t, struct sleep_op, timer);

    op_remove(s->ex, &s->op);
    exchange_op_done(s->ex);
}

void sleep_start(struct exchange *ex, unsigned ms)
{
    struct sleep_op *s = arena_alloc(&ex->arena, sizeof(*s));

    s->ex = ex;
    timer_init(&s->timer, sleep_over);
    loop_timer(&ex->worker->thread.loop, &s->timer, ms ? ms : 1);
    op_add(ex, &s->op, sleep_cancel);
}

/* ---- the request's body
 * ------------------------------------------------------------------------------ */

static void on_body_task(struct task *t)
{
    struct exchange *ex = CONTAINER(t, struct exchange, body_task);

    if (ex->body.n > ex->body_limit ||
        (ex->req.framing == H1_LENGTH && ex->req.length > ex->body_limit)) {
        exchange_fail(ex, REASON_BODY_TOO_LARGE);
        exchange_run(ex);
        return;
    }
    exchange_op_done(ex);
}

void request_body_start(struct exchange *ex, size_t max)
{
    ex->body_limit = max;
    ex->npending++;
    if (ex->body_done || ex->req.framing == H1_NO_BODY || ex->body.n > max ||
        (ex->req.framing == H1_LENGTH && ex->req.length > max)) {
        /* Known now, told in a task: nothing completes inside its own start. */
        task_init(&ex->body_task, on_body_task);
        loop_defer(&ex->worker->thread.loop, &ex->body_task);
        return;
    }
    ex->body_gathering = true;
    if (ex->body_paused) {
        ex->body_paused = false;
        stream_resume(ex->down);
    }
}

bool request_body_hold(struct exchange *ex, bool keep)
{
    size_t max = ex->body_wanted;

    ex->body_wanted = 0;
    if (max && keep && ex->body_done && ex->body_kept && ex->body.n <= max)
        ex->body_limit = max; /* it is here, and stays */
    if (!max || ex->body_held || ex->body_done)
        return false;
    ex->body_held = true;
    if (ex->req.framing == H1_NO_BODY || ex->body.n > max ||
        (ex->req.framing == H1_LENGTH && ex->req.length > max))
        return false;
    ex->body_limit = max;
    ex->body_keep = keep;
    ex->body_soft = ex->body_gathering = true;
    ex->npending++;
    if (ex->body_paused) {
        ex->body_paused = false;
        stream_resume(ex->down);
    }
    return true;
}

/* ---- jobs
 * -------------------------------------------------------------------------------------------- */

/* Lives on the heap: the work may outlast the exchange. */
struct job_op {
    struct op op;
    struct job job;
    struct worker *worker;
    struct exchange *ex; /* NULL: cancelled */
    struct op_job calls;
    void *arg;
};

static void job_cancel(struct op *op)
{
    struct job_op *o = CONTAINER(op, struct job_op, op);

    o->ex = NULL;
    if (o->calls.leave)
        o->calls.leave(o->arg);
}

static void job_work(struct job *j)
{
    struct job_op *o = CONTAINER(j, struct job_op, job);

    o->calls.work(o->arg);
}

static void job_done(struct job *j)
{
    struct job_op *o = CONTAINER(j, struct job_op, job);
    struct exchange *ex = o->ex;

    o->worker->jobs--;
    if (ex)
        op_remove(ex, &o->op);
    else if (o->calls.cancelled)
        o->calls.cancelled(o->arg);
    worker_ended_one(o->worker);
    free(o);
    if (ex)
        exchange_op_done(ex);
}

void op_job_start(struct exchange *ex, struct jobs *jobs, const struct op_job *calls, void *arg)
{
    struct job_op *o = mem_zero(sizeof(*o));

    o->ex = ex;
    o->worker = ex->worker;
    o->worker->jobs++;
    o->calls = *calls;
    o->arg = arg;
    o->job = (struct job){.loop = &ex->worker->thread.loop, .work = job_work, .done = job_done};
    op_add(ex, &o->op, job_cancel);
    jobs_run(jobs, &o->job);
}

void job_start(struct exchange *ex, void (*work)(void *arg), void *arg,
               void (*cancelled)(void *arg))
{
    op_job_start(ex, ex->worker->config->jobs, &(struct op_job){work, NULL, cancelled}, arg);
}

static void post_done(struct job *j)
{
    free(CONTAINER(j, struct job_op, job));
}

void job_post(struct exchange *ex, void (*work)(void *arg), void *arg)
{
    struct job_op *o = mem_zero(sizeof(*o));

    o->calls.work = work;
    o->arg = arg;
    o->job = (struct job){.work = job_work, .done = post_done};
    jobs_run(ex->worker->config->jobs, &o->job);
}

/* ---- HTTP requests of plugins
 * ---------------------------------------------------------------------- */

struct fetch_op {
    struct op op;
    struct fetching fetching;
    struct exchange *ex;
};

const struct fetch_target *build_fetch_target(struct build *b, struct str url,
                                              const struct fetch_options *options)
{
    const struct fetch_target *to = fetch_target_new(b->arena, url, options);

    if (!to)
        build_error(b, "\"%.*s\" is not an http or https URL", STR_ARG(url));
    return to;
}

static void fetch_cancel(struct op *op)
{
    fetching_cancel(&CONTAINER(op, struct fetch_op, op)->fetching);
}

static void fetch_done(struct fetching *f)
{
    struct fetch_op *o = CONTAINER(f, struct fetch_op, fetching);

    op_remove(o->ex, &o->op);
    exchange_op_done(o->ex);
}

static void fetch_free(void *fetching)
{
    fetching_fini(fetching);
}

const struct fetch *fetch_start(struct exchange *ex, const struct fetch_target *to,
                                const struct fetch_request *request)
{
    struct worker *w = ex->worker;
    struct fetch_op *o = arena_zero(&ex->arena, sizeof(*o));
    struct fetch_env env = {.thread = &w->thread,
                            .dns = w->dns,
                            .pools = w->pools,
                            .tls_verified = w->config->tls_verified,
                            .tls_unverified = w->config->tls_unverified};

    o->ex = ex;
    arena_on_fini(&ex->arena, fetch_free, &o->fetching);
    op_add(ex, &o->op, fetch_cancel);
    fetching_start(&o->fetching, &env, to, request, &ex->arena, fetch_done);
    return &o->fetching.fetch;
}

static const struct head *fetch_head(const struct fetch *f)
{
    return &CONTAINER(f, const struct fetching, fetch)->head;
}

struct str fetch_header(const struct fetch *f, struct str name)
{
    const struct header *h = head_find_name(fetch_head(f), name);

    return h ? header_str_value(h) : STR_NONE;
}

bool fetch_header_at(const struct fetch *f, size_t i, struct str *name, struct str *value)
{
    const struct head *head = fetch_head(f);

    if (i >= head->n)
        return false;
    *name = header_str_name(&head->list[i]);
    *value = header_str_value(&head->list[i]);
    return true;
}

void ex_on_end(struct exchange *ex, void (*fn)(void *arg), void *arg)
{
    arena_on_fini(&ex->arena, fn, arg);
}
