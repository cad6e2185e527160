/* SPDX-License-Identifier: Apache-2.0 */
/* Operations: what a plugin waits for. Each is owned by its exchange, ends in a later turn, and
 * goes with the exchange when that ends first. */
#include "base/mem.h"
#include "base/panic.h"
#include "exchange/exchange.h"
#include "exchange/worker.h"
#include "loop/jobs.h"

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
    if (!max || ex->body_held)
        return false;
    ex->body_held = true;
    if (ex->req.framing == H1_NO_BODY || ex->body.n > max ||
        (ex->req.framing == H1_LENGTH && ex->req.length > max))
        return false;
    ex->body_limit = max;
    if (ex->body_done) {
        ex->body_limit = keep ? max : 0;
        return false;
    }
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
    void (*work)(void *arg);
    void (*cancelled)(void *arg);
    void *arg;
};

static void job_cancel(struct op *op)
{
    CONTAINER(op, struct job_op, op)->ex = NULL;
}

static void job_work(struct job *j)
{
    struct job_op *o = CONTAINER(j, struct job_op, job);

    o->work(o->arg);
}

static void job_done(struct job *j)
{
    struct job_op *o = CONTAINER(j, struct job_op, job);
    struct exchange *ex = o->ex;

    o->worker->jobs--;
    if (ex)
        op_remove(ex, &o->op);
    else if (o->cancelled)
        o->cancelled(o->arg);
    worker_ended_one(o->worker);
    free(o);
    if (ex)
        exchange_op_done(ex);
}

void job_start(struct exchange *ex, void (*work)(void *arg), void *arg,
               void (*cancelled)(void *arg))
{
    struct job_op *o = mem_zero(sizeof(*o));

    o->ex = ex;
    o->worker = ex->worker;
    o->worker->jobs++;
    o->work = work;
    o->arg = arg;
    o->cancelled = cancelled;
    o->job = (struct job){.loop = &ex->worker->thread.loop, .work = job_work, .done = job_done};
    op_add(ex, &o->op, job_cancel);
    jobs_run(ex->worker->config->jobs, &o->job);
}

static void post_done(struct job *j)
{
    free(CONTAINER(j, struct job_op, job));
}

void job_post(struct exchange *ex, void (*work)(void *arg), void *arg)
{
    struct job_op *o = mem_zero(sizeof(*o));

    o->work = work;
    o->arg = arg;
    o->job = (struct job){.work = job_work, .done = post_done};
    jobs_run(ex->worker->config->jobs, &o->job);
}

void ex_on_end(struct exchange *ex, void (*fn)(void *arg), void *arg)
{
    arena_on_fini(&ex->arena, fn, arg);
}
