/* SPDX-License-Identifier: Apache-2.0 */
/* The mean and the time of its last change in one word, so that threads exchange both at once. */
#include "upstream/ewma.h"

#include <math.h>
#include <string.h>

/* High half: milliseconds, as many as fit; low half: the mean in microseconds, a float. All zero:
 * nothing is known. */
static uint64_t pack(double us, int64_t now_ms)
{
    float mean = (float)us;
    uint32_t bits;

    memcpy(&bits, &mean, sizeof(bits));
    return (uint64_t)(uint32_t)now_ms << 32 | bits;
}

static double mean_of(uint64_t packed)
{
    uint32_t bits = (uint32_t)packed;
    float mean;

    memcpy(&mean, &bits, sizeof(mean));
    return (double)mean;
}

/* What is left of the mean by now, as a share. */
static double kept(uint64_t packed, int64_t now_ms)
{
    int32_t passed = (int32_t)((uint32_t)now_ms - (uint32_t)(packed >> 32));

    /* Another thread's clock may be a turn ahead. */
    return passed <= 0 ? 1 : exp(-(double)passed / EWMA_DECAY_MS);
}

void ewma_add(struct peer *peer, int64_t us, int64_t now_ms)
{
    unsigned long long old = atomic_load_explicit(&peer->speed, memory_order_relaxed);
    unsigned long long next;

    do {
        double share = old ? kept(old, now_ms) : 0;
        next = pack(mean_of(old) * share + (double)us * (1 - share), now_ms);
    } while (!atomic_compare_exchange_weak_explicit(&peer->speed, &old, next, memory_order_relaxed,
                                                    memory_order_relaxed));
}

double ewma_score(const struct peer *peer, int64_t now_ms)
{
    uint64_t packed = atomic_load_explicit(&peer->speed, memory_order_relaxed);

    return packed ? mean_of(packed) * kept(packed, now_ms) : 0;
}
