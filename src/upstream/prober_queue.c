/* SPDX-License-Identifier: Apache-2.0 */
/* When targets are probed: each on its own timer, spread in time, so many of an upstream and of all
 * at once, and upstreams in turn. */
#include "base/random.h"
#include "upstream/prober_int.h"

static const struct checks *checks_of(const struct target *t)
{
    return t->node->upstream->checks;
}

/* Between two probes in the state that the peer is in; 0: none. */
static int64_t interval_of(const struct target *t)
{
    const struct checks *c = checks_of(t);

    return health_is_down(health_of(t->peer).state) ? c->unhealthy_ms : c->healthy_ms;
}

void target_arm(struct target *t)
{
    const struct checks *c = checks_of(t);
    struct loop *loop = prober_loop(target_prober(t));
    int64_t interval = interval_of(t), at = t->last_ms + interval;

    /* Requests may change the state, and with it the interval, at any time. */
    if (c->has_passive) {
        int64_t tick = c->healthy_ms && c->healthy_ms < c->unhealthy_ms ? c->healthy_ms
                                                                        : c->unhealthy_ms;
        if (!interval || at > loop->now_ms + tick)
            at = loop->now_ms + tick;
    }
    timer_set(&loop->timers, &t->timer, at > loop->now_ms ? at : loop->now_ms + 1);
}

/* The upstream stands in line when it has something to begin and may. */
static void offer(struct checked *up)
{
    if (list_empty(&up->due) || up->running >= up->checks->concurrency || !list_empty(&up->ready))
        return;
    list_append(&up->prober->ready, &up->ready);
    loop_defer(prober_loop(up->prober), &up->prober->pump);
}

void target_on_timer(struct timer *timer)
{
    struct target *t = CONTAINER(timer, struct target, timer);
    struct checked *up = t->node->upstream;
    int64_t interval = interval_of(t);

    if (!interval || prober_loop(up->prober)->now_ms < t->last_ms + interval) {
        target_arm(t);
        return;
    }
    list_append(&up->due, &t->due);
    offer(up);
}

void target_unqueue(struct target *t)
{
    struct checked *up = t->node->upstream;

    list_remove(&t->due);
    if (list_empty(&up->due))
        list_remove(&up->ready);
}

/* Those that began together part before the second time. */
static void begin(struct target *t, int64_t now)
{
    int64_t interval = interval_of(t);

    t->last_ms = now;
    if (t->first && interval > 1)
        t->last_ms -= random_below((uint32_t)(interval > INT32_MAX ? INT32_MAX : interval) / 2);
    t->first = false;
    t->busy = true;
    t->node->upstream->running++;
    target_prober(t)->running++;
    probe_start(t);
}

void target_done(struct target *t)
{
    struct checked *up = t->node->upstream;
    struct prober *p = up->prober;

    t->busy = false;
    up->running--;
    p->running--;
    target_arm(t);
    offer(up);
    loop_defer(prober_loop(p), &p->pump);
}

void prober_pump(struct task *task)
{
    struct prober *p = CONTAINER(task, struct prober, pump);

    while (p->running < PROBES_MAX && !list_empty(&p->ready)) {
        struct checked *up = CONTAINER(p->ready.next, struct checked, ready);
        struct target *t = CONTAINER(up->due.next, struct target, due);
        list_remove(&up->ready);
        list_remove(&t->due);
        begin(t, prober_loop(p)->now_ms);
        offer(up);
    }
}
