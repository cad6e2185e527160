/* SPDX-License-Identifier: Apache-2.0 */
/* Health checks of an upstream as they are configured: what is probed, how often, and what counts.
 * Const once compiled. APISIX: `checks` in schema_def.lua, read by lua-resty-healthcheck. */
#ifndef CONFIG_CHECKS_H
#define CONFIG_CHECKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/field.h"

enum check_type { CHECK_HTTP, CHECK_HTTPS, CHECK_TCP };

enum { STATUS_FIRST = 200, STATUS_LAST = 599, CHECK_HEADERS_MAX = 64 };

/* A set of status codes, STATUS_FIRST to STATUS_LAST. */
struct status_set {
    uint64_t bits[7];
};

static inline bool status_set_has(const struct status_set *s, int status)
{
    unsigned at = (unsigned)status - STATUS_FIRST;

    return at <= STATUS_LAST - STATUS_FIRST && s->bits[at / 64] >> (at % 64) & 1;
}

/* What probes, or requests, count, and how much of it changes a node's state; a limit of 0: it is
 * not counted. */
struct check_rules {
    struct status_set healthy, unhealthy;
    uint8_t successes, http_failures, tcp_failures, timeouts;
};

struct checks {
    enum check_type type;
    bool verify;                      /* https: the certificate must be valid */
    bool has_passive;                 /* requests count too, by `passive` */
    uint16_t port;                    /* in place of the nodes'; 0: theirs */
    unsigned concurrency;             /* probes at the same time */
    int64_t timeout_ms;               /* of a probe */
    int64_t healthy_ms, unhealthy_ms; /* between two probes of a node in that state; 0: none */
    struct str host;                  /* absent: the upstream's, or the node's */
    struct str method, path, body;
    const struct field_pair *headers;
    unsigned nheaders;
    struct check_rules active, passive;
};

/* A copy that lives as long as the arena. */
struct checks *checks_copy(struct arena *a, const struct checks *c);

#endif
