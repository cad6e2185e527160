/* SPDX-License-Identifier: Apache-2.0 */
/* hist.h: a histogram of durations in nanoseconds, log-linear: 32 steps per power of two, so that
 * a percentile is within 3 % of the truth from 1 ns to minutes, in a fixed 15 KiB. */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H

#include <stdint.h>
#include <stdio.h>

enum { HIST_SUB = 32, HIST_STEPS = 60 * HIST_SUB };

struct hist {
    uint64_t count;            /* how many durations were added */
    uint64_t sum;              /* of them all, ns */
    uint64_t max;              /* ns, exact */
    uint64_t step[HIST_STEPS]; /* count per step */
};

/* Adds one duration in ns. A zeroed struct is an empty histogram. */
void hist_add(struct hist *h, uint64_t ns);

/* The duration in ns below which the fraction q (0..1) of all lies; 0 when empty. */
uint64_t hist_at(const struct hist *h, double q);

/* Writes {"p50":…,"p90":…,"p99":…,"max":…,"mean":…} in microseconds. */
void hist_json(const struct hist *h, FILE *out);

#endif
