/* SPDX-License-Identifier: Apache-2.0 */
/* Timers on a hierarchical wheel: 1 ms ticks, constant cost to set and clear. Moving a timer later,
 * which is what nearly every byte on a connection does, only stores a number; the wheel catches up
 * when the old time comes. */
#ifndef LOOP_TIMER_H
#define LOOP_TIMER_H

#include <stdint.h>

#include "base/list.h"

enum { TIMER_LEVELS = 6, TIMER_SLOTS = 64 };

struct timer {
    struct list link; /* in a slot; linked to itself when unarmed */
    int64_t at;       /* when the wheel will look at it */
    int64_t due;      /* when it is to fire; >= at while armed; 0: not at all */
    uint8_t level, slot;
    void (*fire)(struct timer *t);
};

struct timers {
    int64_t now; /* ms; all before are done */
    uint64_t used[TIMER_LEVELS];
    struct list slots[TIMER_LEVELS][TIMER_SLOTS];
};

void timers_init(struct timers *w, int64_t now_ms);
void timer_init(struct timer *t, void (*fire)(struct timer *t));
/* (Re)sets the timer to fire at due_ms (the loop's monotonic clock, above 0); a time that has
 * passed fires at the next tick. Fires once. */
void timer_set(struct timers *w, struct timer *t, int64_t due_ms);
/* The timer will not fire, and is off the wheel: its memory may go. */
void timer_clear(struct timers *w, struct timer *t);
/* Will not fire, but stays where it is: cheaper than timer_clear for a timer that is soon set
 * again. */
static inline void timer_pause(struct timer *t)
{
    t->due = 0;
}
/* A lower bound of the next time that something is to be done; INT64_MAX: nothing. */
int64_t timers_next(const struct timers *w);
/* Fires what is due up to now_ms. fire may set or clear any timer. */
void timers_run(struct timers *w, int64_t now_ms);

#endif
