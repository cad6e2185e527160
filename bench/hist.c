/* SPDX-License-Identifier: Apache-2.0 */
/* hist.c: the log-linear histogram of hist.h.
 * Values below 32 have a step each; above, the five bits after the leading one choose the step. */
#include "hist.h"

static unsigned hist_step(uint64_t ns)
{
    if (ns < HIST_SUB)
        return (unsigned)ns;
    unsigned top = 63 - (unsigned)__builtin_clzll(ns);
    unsigned step = (top - 4) * HIST_SUB + (unsigned)((ns >> (top - 5)) & (HIST_SUB - 1));
    return step < HIST_STEPS ? step : HIST_STEPS - 1;
}

/* The middle of a step, the inverse of hist_step. */
static uint64_t hist_middle(unsigned step)
{
    if (step < HIST_SUB)
        return step;
    unsigned shift = step / HIST_SUB - 1;
    uint64_t low = ((uint64_t)HIST_SUB + step % HIST_SUB) << shift;
    return low + (((uint64_t)1 << shift) >> 1);
}

void hist_add(struct hist *h, uint64_t ns)
{
    h->count++;
    h->sum += ns;
    if (ns > h->max)
        h->max = ns;
    h->step[hist_step(ns)]++;
}

uint64_t hist_at(const struct hist *h, double q)
{
    uint64_t want = (uint64_t)(q * (double)h->count), seen = 0;

    for (unsigned i = 0; i < HIST_STEPS; i++) {
        seen += h->step[i];
        if (h->step[i] && seen > want) {
            uint64_t ns = hist_middle(i);
            return ns < h->max ? ns : h->max;
        }
    }
    return h->max;
}

void hist_json(const struct hist *h, FILE *out)
{
    double mean = h->count ? (double)h->sum / (double)h->count : 0;

    fprintf(out, "{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f,\"mean\":%.1f}",
            (double)hist_at(h, 0.50) / 1e3, (double)hist_at(h, 0.90) / 1e3,
            (double)hist_at(h, 0.99) / 1e3, (double)h->max / 1e3, mean / 1e3);
}
