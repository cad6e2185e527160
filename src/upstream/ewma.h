/* SPDX-License-Identifier: Apache-2.0 */
/* How fast a peer answers: a mean of its response times in which older ones weigh less and less,
 * shared by all threads. APISIX: balancer/ewma.lua. */
#ifndef UPSTREAM_EWMA_H
#define UPSTREAM_EWMA_H

#include "upstream/peers.h"

/* Half of what was known is forgotten in 6.9 s (e^(-t/10 s)); what is never refreshed fades. A
 * failed try counts as one that took so long at least. */
enum { EWMA_DECAY_MS = 10000, EWMA_FAILED_US = 1000000 };

/* The peer has answered in us microseconds. now_ms: monotonic. No lock. */
void ewma_add(struct peer *peer, int64_t us, int64_t now_ms);
/* Microseconds; smaller is better. 0: nothing is known, so it is tried next. */
double ewma_score(const struct peer *peer, int64_t now_ms);

#endif
