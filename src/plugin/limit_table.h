/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of requests in windows of time, one table for the whole process. Finding and counting is
 * lock-free: a counter is one 64-bit word of expiry and count that a compare-and-swap moves.
 *
 * The table is bounded: where a bucket is full, the counter that would end soonest makes room, and
 * its key starts anew. Memory is mapped, and used from where it is touched. */
#ifndef PLUGIN_LIMIT_TABLE_H
#define PLUGIN_LIMIT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A count stops here; a limit above it is no limit. */
#define LIMIT_COUNT_MAX     ((1u << 30) - 1)
/* Longer windows end when this one would (2.7 years). */
#define LIMIT_WINDOW_MAX_MS (((INT64_C(1) << 33) - 1) * 10)
/* Bytes of a counter. */
#define LIMIT_COUNTER_SIZE  16

struct limit_table;

/* What limit_table_add found and did. */
struct limit_tally {
    uint32_t count;  /* after it */
    bool added;      /* false: the count had reached `below` */
    bool fresh;      /* this was the first of its window */
    int64_t left_ms; /* until the window ends, in steps of 10 ms, rounded up */
};

/* A table of about `counters` (rounded up to a power of two, 64 or more). Never NULL. */
struct limit_table *limit_table_new(size_t counters);
void limit_table_free(struct limit_table *t);
/* How many counters it has room for. */
size_t limit_table_size(const struct limit_table *t);

/* Adds `cost` to the counter of `key` (64 well-mixed bits) when it is below `below`; begins a
 * window of window_ms when none is running. now_ms is monotonic and may lag behind other threads'
 * by a loop turn. From any thread; does not wait. */
struct limit_tally limit_table_add(struct limit_table *t, uint64_t key, int64_t now_ms,
                                   int64_t window_ms, uint32_t cost, uint32_t below);
/* The count of the window that is running; 0: none is. */
uint32_t limit_table_get(struct limit_table *t, uint64_t key, int64_t now_ms);

#endif
