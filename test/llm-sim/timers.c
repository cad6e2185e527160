/* SPDX-License-Identifier: Apache-2.0 */
/* The timer wheel. A timer further away than one turn stays in its slot and is looked at once a
 * turn. */
#include "timers.h"

#include <time.h>

#define MASK (TIMERS_SLOTS - 1)

int64_t timers_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void list_init(struct timer *head)
{
    head->next = head->prev = head;
}

static void list_add(struct timer *head, struct timer *t)
{
    t->prev = head->prev;
    t->next = head;
    head->prev->next = t;
    head->prev = t;
}

static void list_remove(struct timer *t)
{
    t->prev->next = t->next;
    t->next->prev = t->prev;
    t->next = t->prev = NULL;
}

void timers_init(struct timers *ts)
{
    *ts = (struct timers){.last = timers_clock()};
    for (size_t i = 0; i < TIMERS_SLOTS; i++)
        list_init(&ts->slot[i]);
}

void timers_set(struct timers *ts, struct timer *t, int64_t at)
{
    timers_stop(ts, t);
    if (at <= ts->last)
        at = ts->last + 1;
    t->at = at;
    size_t i = (size_t)at & MASK;
    list_add(&ts->slot[i], t);
    ts->used[i / 64] |= UINT64_C(1) << i % 64;
    ts->count++;
}

void timers_stop(struct timers *ts, struct timer *t)
{
    if (!t->prev)
        return;
    list_remove(t);
    ts->count--;
}

int timers_wait(const struct timers *ts, int64_t now)
{
    if (ts->count == 0)
        return -1;
    for (size_t k = 1; k <= TIMERS_SLOTS;) {
        size_t i = (size_t)(ts->last + (int64_t)k) & MASK;
        uint64_t word = ts->used[i / 64] >> i % 64;
        if (!word) {
            k += 64 - i % 64;
            continue;
        }
        k += (size_t)__builtin_ctzll(word);
        int64_t at = ts->last + (int64_t)k;
        return at > now ? (int)(at - now) : 0;
    }
    return 0;
}

void timers_run(struct timers *ts, int64_t now, timer_fn *fn, void *arg)
{
    if (now <= ts->last)
        return;
    int64_t n = now - ts->last;
    if (n > TIMERS_SLOTS)
        n = TIMERS_SLOTS;
    struct timer due;
    list_init(&due);
    for (int64_t at = now - n + 1; at <= now; at++) {
        size_t i = (size_t)at & MASK;
        if (!(ts->used[i / 64] & UINT64_C(1) << i % 64))
            continue;
        struct timer *head = &ts->slot[i], *t = head->next;
        while (t != head) {
            struct timer *next = t->next;
            if (t->at <= now) {
                list_remove(t);
                list_add(&due, t);
            }
            t = next;
        }
        if (head->next == head)
            ts->used[i / 64] &= ~(UINT64_C(1) << i % 64);
    }
    ts->last = now;
    while (due.next != &due) {
        struct timer *t = due.next;
        list_remove(t);
        ts->count--;
        fn(t, arg);
    }
}
