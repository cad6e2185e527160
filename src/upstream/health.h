/* SPDX-License-Identifier: Apache-2.0 */
/* The health of peers: what probes and requests found, counted, and the state that follows. The
 * rules are those of lua-resty-healthcheck, which APISIX uses. Any thread may report; a peer's
 * state is one atomic word, and whether it may be chosen follows at once in all threads. */
#ifndef UPSTREAM_HEALTH_H
#define UPSTREAM_HEALTH_H

#include "base/reason.h"
#include "config/checks.h"
#include "upstream/peers.h"

/* The two in the middle: counts are on their way to the other side, and not there yet. Requests go
 * to peers that are healthy or mostly healthy. */
enum health_state {
    HEALTH_HEALTHY,
    HEALTH_MOSTLY_HEALTHY,
    HEALTH_MOSTLY_UNHEALTHY,
    HEALTH_UNHEALTHY,
};

enum health_event {
    HEALTH_SUCCESS,
    HEALTH_HTTP_FAILURE, /* a status that counts as bad, or no HTTP at all */
    HEALTH_TCP_FAILURE,  /* no connection, no handshake, or it broke before the response */
    HEALTH_TIMEOUT,
    HEALTH_EVENTS,
};

/* Any success ends all counts of failures, any failure the count of successes. */
struct health {
    enum health_state state;
    uint8_t counts[HEALTH_EVENTS];
};

/* "healthy", "mostly_healthy", …: APISIX's words. */
const char *health_state_name(enum health_state s);
static inline bool health_is_down(enum health_state s)
{
    return s >= HEALTH_MOSTLY_UNHEALTHY;
}

/* One event. limit: the count that moves the peer to the event's side; 0: it is not counted.
 * Returns whether anything changed. */
bool health_step(struct health *h, enum health_event e, unsigned limit);

/* As of now. */
struct health health_of(const struct peer *peer);
/* Probes of the peer begin, and end. While there are none it is healthy, with no counts, and what
 * requests report is not counted: nothing would bring it back. */
void health_begin(struct peer *peer);
void health_end(struct peer *peer, int64_t now_ms);

/* Who reports. */
enum health_source { HEALTH_PROBE, HEALTH_REQUEST };

/* The outcome of a probe or a request at the peer. Changes of its state are logged, those that
 * matter to requests as warnings and notices. now_ms: monotonic, as loop.now_ms. A status that is
 * in neither set says nothing. detail: what the system or TLS said. */
void health_connected(struct peer *peer, const struct check_rules *rules, enum health_source by,
                      int64_t now_ms);
void health_answered(struct peer *peer, const struct check_rules *rules, enum health_source by,
                     int status, int64_t now_ms);
void health_failed(struct peer *peer, const struct check_rules *rules, enum health_source by,
                   enum reason why, const char *detail, int64_t now_ms);

#endif
