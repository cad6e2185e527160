/* SPDX-License-Identifier: Apache-2.0 */
/* The timer wheel beside a model that just looks at every timer: random sets, clears, pauses, from
 * outside and from timers that fire, over jumps of the clock from nothing to years. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "loop/timer.h"

enum { TIMERS = 64, STEPS = 20000, SEEDS = 12 };

#define DAY  ((int64_t)24 * 3600 * 1000)
#define SPAN ((int64_t)1 << 36) /* what the wheel sees ahead */

/* What the model knows of a timer: when it may fire; 0: it may not. A time that has passed is due
 * at the tick that is being run, if the wheel has not come to that timer yet, or at the next. */
struct model {
    struct timer timer;
    struct world *world;
    int64_t from, to;
};

struct world {
    struct timers wheel;
    struct model models[TIMERS];
    uint64_t random;
    int64_t target; /* of the timers_run under way */
    int64_t last;   /* tick of the last that fired */
    unsigned fired;
};

/* xorshift64* (Vigna 2016): the same numbers everywhere. */
static uint64_t draw(struct world *w)
{
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return w->random * 2685821657736338717ull;
}

static int64_t below(struct world *w, int64_t n)
{
    return (int64_t)(draw(w) % (uint64_t)n);
}

/* All magnitudes alike, and the edges of slots and levels. */
static int64_t draw_ahead(struct world *w)
{
    static const int64_t reach[] = {2, 64, 4096, 60000, 3600000, DAY, 40 * DAY, SPAN, 3 * SPAN};
    int64_t most = reach[below(w, sizeof(reach) / sizeof(*reach))];

    switch (below(w, 4)) {
    case 0: {
        int64_t step = (int64_t)1 << (6 * below(w, 7));
        return (w->wheel.now / step + 1 + below(w, 3)) * step - w->wheel.now + below(w, 3) - 1;
    }
    default:
        return below(w, most);
    }
}

static void set(struct world *w, struct model *m, int64_t due)
{
    m->from = due < w->wheel.now ? w->wheel.now : due;
    m->to = due <= w->wheel.now ? w->wheel.now + 1 : due;
    timer_set(&w->wheel, &m->timer, due);
}

static void do_something(struct world *w)
{
    struct model *m = &w->models[below(w, TIMERS)];
    int64_t due;

    switch (below(w, 8)) {
    case 0:
        m->from = m->to = 0;
        timer_clear(&w->wheel, &m->timer);
        assert_true(list_empty(&m->timer.link) && m->timer.due == 0);
        break;
    case 1:
        m->from = m->to = 0;
        timer_pause(&m->timer);
        break;
    case 2: /* has passed */
        due = w->wheel.now - below(w, 100);
        set(w, m, due > 0 ? due : 1);
        break;
    case 3: /* later than it is, as each byte on a connection does */
        set(w, m, (m->to > w->wheel.now ? m->to : w->wheel.now) + 1 + below(w, 5000));
        break;
    default:
        due = w->wheel.now + draw_ahead(w);
        set(w, m, due > 0 ? due : 1);
    }
}

static int64_t first_due(const struct world *w)
{
    int64_t first = INT64_MAX;

    for (int i = 0; i < TIMERS; i++)
        if (w->models[i].to && w->models[i].to < first)
            first = w->models[i].to;
    return first;
}

static void on_fire(struct timer *t)
{
    struct model *m = CONTAINER(t, struct model, timer);
    struct world *w = m->world;

    assert_true(m->to != 0);
    assert_in_range(w->wheel.now, m->from, m->to);
    assert_true(w->wheel.now <= w->target);
    /* By time: nobody should have fired before. */
    assert_true(w->wheel.now <= first_due(w));
    assert_true(w->wheel.now >= w->last);
    w->last = w->wheel.now;
    w->fired++;
    m->from = m->to = 0;
    assert_true(list_empty(&t->link) && t->due == 0);
    for (int64_t n = below(w, 3); n > 0; n--)
        do_something(w);
}

static void run(struct world *w, int64_t now)
{
    w->target = now;
    timers_run(&w->wheel, now);
    assert_int_equal(w->wheel.now, now);
    assert_true(first_due(w) > now);
    /* A lower bound, but not one that has come. */
    int64_t next = timers_next(&w->wheel);
    assert_true(next <= first_due(w) && next > now);
}

static void compare(uint64_t seed, int64_t start)
{
    struct world *w = mem_zero(sizeof(*w));

    w->random = seed * 0x9e3779b97f4a7c15ull + 1;
    timers_init(&w->wheel, start);
    for (int i = 0; i < TIMERS; i++) {
        w->models[i].world = w;
        timer_init(&w->models[i].timer, on_fire);
    }
    for (int step = 0; step < STEPS; step++) {
        for (int64_t n = below(w, 6); n > 0; n--)
            do_something(w);
        switch (below(w, 4)) {
        case 0: /* as the loop does: to the next thing */
            if (timers_next(&w->wheel) != INT64_MAX) {
                run(w, timers_next(&w->wheel));
                break;
            }
            run(w, w->wheel.now + 1);
            break;
        case 1: /* the same millisecond again, or a few more */
            run(w, w->wheel.now + below(w, 3));
            break;
        case 2:
            run(w, w->wheel.now + below(w, 200));
            break;
        default: {
            int64_t ahead = draw_ahead(w);
            run(w, w->wheel.now + (ahead > 0 ? ahead : 0));
        }
        }
    }
    assert_true(w->fired > STEPS / 2);
    for (int i = 0; i < TIMERS; i++)
        timer_clear(&w->wheel, &w->models[i].timer);
    assert_int_equal(timers_next(&w->wheel), INT64_MAX);
    free(w);
}

static void test_against_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        compare(seed, 1000000 + (int64_t)seed * 977);
}

/* Where the highest level turns over. */
static void test_around_the_span(void **state)
{
    static const int64_t starts[] = {0, SPAN - 1, SPAN, SPAN + 1, SPAN - DAY, 7 * SPAN - 65};

    (void)state;
    for (unsigned i = 0; i < sizeof(starts) / sizeof(*starts); i++)
        compare(100 + i, starts[i]);
}

struct once {
    struct timer timer;
    unsigned fired;
};

static void on_once(struct timer *t)
{
    CONTAINER(t, struct once, timer)->fired++;
}

/* Millisecond by millisecond to each due time on either side of a slot's edge: not one early, not
 * one late. */
static void test_exact(void **state)
{
    static const int64_t edges[] = {64, 4096, 262144};
    struct timers wheel;
    struct once o = {.fired = 0};

    (void)state;
    timer_init(&o.timer, on_once);
    for (unsigned i = 0; i < sizeof(edges) / sizeof(*edges); i++) {
        for (int64_t due = edges[i] - 3; due <= edges[i] + 3; due++) {
            timers_init(&wheel, edges[i] - 70 > 0 ? edges[i] - 70 : 1);
            o.fired = 0;
            timer_set(&wheel, &o.timer, due);
            for (int64_t now = wheel.now; now < due; now++) {
                timers_run(&wheel, now);
                assert_int_equal(o.fired, 0);
            }
            timers_run(&wheel, due);
            assert_int_equal(o.fired, 1);
            timers_run(&wheel, due + 1000000);
            assert_int_equal(o.fired, 1);
        }
    }
}

/* Moving a timer later costs nothing until its old time comes, and it fires once, at the last. */
static void test_moved_later(void **state)
{
    struct timers wheel;
    struct once o = {.fired = 0};

    (void)state;
    timers_init(&wheel, 1);
    timer_init(&o.timer, on_once);
    timer_set(&wheel, &o.timer, 1000);
    struct list *place = o.timer.link.next;
    for (int64_t due = 1001; due < 60000; due += 7) {
        timer_set(&wheel, &o.timer, due);
        assert_ptr_equal(o.timer.link.next, place);
    }
    timers_run(&wheel, 59990);
    assert_int_equal(o.fired, 0);
    timers_run(&wheel, 60000);
    assert_int_equal(o.fired, 1);
    /* Earlier, it does move. */
    timer_set(&wheel, &o.timer, 90000);
    timer_set(&wheel, &o.timer, 61000);
    assert_true(timers_next(&wheel) <= 61000);
    timers_run(&wheel, 61000);
    assert_int_equal(o.fired, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_moved_later),
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_around_the_span),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
