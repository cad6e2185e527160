/* SPDX-License-Identifier: Apache-2.0 */
/* The timer wheel: six levels of 64 slots; a slot of level n spans 64^n ms. An entry sits at the
 * level of the highest bit in which its time differs from now, and comes down a level when its
 * slot's time comes. */
#include "loop/timer.h"

#include "base/panic.h"

enum { SLOT_BITS = 6 };
static const int64_t SPAN_MAX = (int64_t)1 << (SLOT_BITS * TIMER_LEVELS);

void timers_init(struct timers *w, int64_t now_ms)
{
    w->now = now_ms;
    for (int l = 0; l < TIMER_LEVELS; l++) {
        w->used[l] = 0;
        for (int s = 0; s < TIMER_SLOTS; s++)
            list_init(&w->slots[l][s]);
    }
}

void timer_init(struct timer *t, void (*fire)(struct timer *t))
{
    *t = (struct timer){.fire = fire};
    list_init(&t->link);
}

static void unlink_timer(struct timers *w, struct timer *t)
{
    list_remove(&t->link);
    if (list_empty(&w->slots[t->level][t->slot]))
        w->used[t->level] &= ~(1ull << t->slot);
}

static void link_timer(struct timers *w, struct timer *t)
{
    int64_t at = t->due <= w->now ? w->now + 1 : t->due;

    if (at - w->now >= SPAN_MAX)
        at = w->now + SPAN_MAX - 1;
    t->at = at;
    uint64_t differs = (uint64_t)at ^ (uint64_t)w->now;
    int level = (63 - __builtin_clzll(differs)) / SLOT_BITS;
    /* A carry into a higher bit can make the difference wider than the distance. */
    if (level >= TIMER_LEVELS)
        level = TIMER_LEVELS - 1;
    t->level = (uint8_t)level;
    t->slot = (uint8_t)((uint64_t)at >> (SLOT_BITS * level) & (TIMER_SLOTS - 1));
    list_append(&w->slots[level][t->slot], &t->link);
    w->used[level] |= 1ull << t->slot;
}

void timer_set(struct timers *w, struct timer *t, int64_t due_ms)
{
    ASSERT_HOT(due_ms > 0);
    t->due = due_ms;
    if (!list_empty(&t->link)) {
        if (t->at <= due_ms)
            return;
        unlink_timer(w, t);
    }
    link_timer(w, t);
}

void timer_clear(struct timers *w, struct timer *t)
{
    t->due = 0;
    if (!list_empty(&t->link))
        unlink_timer(w, t);
}

/* When the next used slot of a level begins; INT64_MAX: none. The slots after now come first. */
static int64_t level_next(const struct timers *w, int level)
{
    uint64_t used = w->used[level];

    if (!used)
        return INT64_MAX;
    int shift = SLOT_BITS * level;
    int64_t here = w->now >> shift;
    unsigned slot = (unsigned)here & (TIMER_SLOTS - 1);
    /* Rotated so that bit 0 is the slot after the current one. */
    unsigned turn = (slot + 1) & (TIMER_SLOTS - 1);
    uint64_t ahead = turn ? used >> turn | used << (TIMER_SLOTS - turn) : used;
    return (here + 1 + __builtin_ctzll(ahead)) << shift;
}

static int64_t next_slot(const struct timers *w, int *level)
{
    int64_t best = INT64_MAX;

    for (int l = 0; l < TIMER_LEVELS; l++) {
        int64_t at = level_next(w, l);
        if (at < best) {
            best = at;
            *level = l;
        }
    }
    return best;
}

int64_t timers_next(const struct timers *w)
{
    int level;

    return next_slot(w, &level);
}

static void run_slot(struct timers *w, int level, int64_t at)
{
    struct list *slot = &w->slots[level][(uint64_t)at >> (SLOT_BITS * level) & (TIMER_SLOTS - 1)];

    /* Entries set while firing go at least one tick ahead, so this ends. */
    while (!list_empty(slot)) {
        struct timer *t = CONTAINER(slot->next, struct timer, link);
        unlink_timer(w, t);
        if (t->due == 0)
            continue;
        if (t->due > at) {
            link_timer(w, t);
            continue;
        }
        t->due = 0;
        t->fire(t);
    }
}

void timers_run(struct timers *w, int64_t now_ms)
{
    for (;;) {
        int level = 0;
        int64_t at = next_slot(w, &level);
        if (at > now_ms)
            break;
        w->now = at;
        run_slot(w, level, at);
    }
    if (now_ms > w->now)
        w->now = now_ms;
}
