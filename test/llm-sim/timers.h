/* SPDX-License-Identifier: Apache-2.0 */
/* One wheel of 1 ms slots for all timers of a worker: set, stop and fire in constant time, no
 * memory of its own. Times are milliseconds of CLOCK_MONOTONIC. Not thread-safe: a worker has its
 * own. */
#ifndef SIM_TIMERS_H
#define SIM_TIMERS_H

#include <stddef.h>
#include <stdint.h>

#define TIMERS_SLOTS 1024

/* Embedded in its owner; zeroed = not set. */
struct timer {
    struct timer *next, *prev; /* prev is NULL when not set */
    int64_t at;
    int kind; /* the owner's tag */
};

struct timers {
    struct timer slot[TIMERS_SLOTS];  /* list heads */
    uint64_t used[TIMERS_SLOTS / 64]; /* which lists may hold something */
    int64_t last;                     /* the last millisecond that was run */
    size_t count;
};

typedef void timer_fn(struct timer *t, void *arg);

int64_t timers_clock(void); /* milliseconds now */
void timers_init(struct timers *ts);
void timers_set(struct timers *ts, struct timer *t, int64_t at); /* moves one that is set */
void timers_stop(struct timers *ts, struct timer *t);            /* no-op when not set */
/* Milliseconds from now until something may be due; -1 when there is nothing. */
int timers_wait(const struct timers *ts, int64_t now);
/* Fires what is due. The callback may set and stop any timer, also this one. */
void timers_run(struct timers *ts, int64_t now, timer_fn *fn, void *arg);

#endif
