/* SPDX-License-Identifier: Apache-2.0 */
/* The health of peers: one word for state, counts and how many probe the peer, changed by compare
 * and swap. */
#include "upstream/health.h"

#include <stdio.h>

const char *health_state_name(enum health_state s)
{
    static const char *const names[] = {"healthy", "mostly_healthy", "mostly_unhealthy",
                                        "unhealthy"};

    return names[s];
}

/* ---- The rules ---- */

bool health_step(struct health *h, enum health_event e, unsigned limit)
{
    bool good = e == HEALTH_SUCCESS;

    /* Fully there already: no need to count. */
    if (limit == 0 || h->state == (good ? HEALTH_HEALTHY : HEALTH_UNHEALTHY))
        return false;
    for (int i = 0; i < HEALTH_EVENTS; i++)
        if ((i == HEALTH_SUCCESS) != good)
            h->counts[i] = 0;
    if (h->counts[e] < UINT8_MAX)
        h->counts[e]++;
    if (h->counts[e] >= limit)
        h->state = good ? HEALTH_HEALTHY : HEALTH_UNHEALTHY;
    else if (!good && h->state == HEALTH_HEALTHY)
        h->state = HEALTH_MOSTLY_HEALTHY;
    else if (good && h->state == HEALTH_UNHEALTHY)
        h->state = HEALTH_MOSTLY_UNHEALTHY;
    return true;
}

/* ---- The word ---- */

#define PROBER (1ull << 48) /* one who probes; 16 bits */

static uint64_t pack(const struct health *h)
{
    uint64_t word = h->state;

    for (int i = 0; i < HEALTH_EVENTS; i++)
        word |= (uint64_t)h->counts[i] << (8 * (i + 1));
    return word;
}

static struct health unpack(uint64_t word)
{
    struct health h = {.state = (enum health_state)(word & 0xff)};

    for (int i = 0; i < HEALTH_EVENTS; i++)
        h.counts[i] = (uint8_t)(word >> (8 * (i + 1)));
    return h;
}

struct health health_of(const struct peer *peer)
{
    return unpack(atomic_load_explicit(&peer->health, memory_order_relaxed));
}

/* Two threads that change the word at the same time may get here in the other order: whoever is
 * last sees the word as it is. */
static void show(struct peer *peer, int64_t now_ms)
{
    bool down;

    do {
        down = health_is_down(unpack(atomic_load(&peer->health)).state);
        peer_set_down(peer, down, now_ms);
    } while (health_is_down(unpack(atomic_load(&peer->health)).state) != down);
}

void health_begin(struct peer *peer)
{
    atomic_fetch_add(&peer->health, PROBER);
}

void health_end(struct peer *peer, int64_t now_ms)
{
    unsigned long long word = atomic_load(&peer->health), next;

    do
        next = word - PROBER < PROBER ? 0 : word - PROBER;
    while (!atomic_compare_exchange_weak(&peer->health, &word, next));
    show(peer, now_ms);
}

/* ---- Reports ---- */

static unsigned limit_of(const struct check_rules *r, enum health_event e)
{
    const uint8_t limits[HEALTH_EVENTS] = {r->successes, r->http_failures, r->tcp_failures,
                                           r->timeouts};

    return limits[e];
}

static const char *const event_names[HEALTH_EVENTS] = {"SUCCESS", "HTTP", "TCP", "TIMEOUT"};

static void tell(const struct peer *peer, enum health_event e, unsigned limit,
                 const struct health *before, const struct health *after, enum health_source by,
                 const char *why)
{
    bool was_down = health_is_down(before->state), is_down = health_is_down(after->state);
    enum log_level level = was_down == is_down ? LOG_INFO : is_down ? LOG_WARN : LOG_NOTICE;
    char address[56];

    if (!log_enabled(level))
        return;
    size_t n = sock_addr_text(&peer->addr.sa, address, true);
    log_write(level,
              "upstream %.*s: node %.*s (%.*s) is %s, was %s: %s %s increment (%u/%u), by a %s: %s",
              STR_ARG(peer->set->key), STR_ARG(peer->host), (int)n, address,
              health_state_name(after->state), health_state_name(before->state),
              e == HEALTH_SUCCESS ? "healthy" : "unhealthy", event_names[e], after->counts[e],
              limit, by == HEALTH_PROBE ? "probe" : "request", why);
}

static void report(struct peer *peer, const struct check_rules *rules, enum health_event e,
                   enum health_source by, const char *why, int64_t now_ms)
{
    unsigned limit = limit_of(rules, e);
    unsigned long long word = atomic_load(&peer->health);
    struct health before, after;

    do {
        before = after = unpack(word);
        if (word < PROBER || !health_step(&after, e, limit))
            return;
    } while (
        !atomic_compare_exchange_weak(&peer->health, &word, word / PROBER * PROBER | pack(&after)));
    if (before.state == after.state)
        return;
    if (health_is_down(before.state) != health_is_down(after.state))
        show(peer, now_ms);
    tell(peer, e, limit, &before, &after, by, why);
}

void health_connected(struct peer *peer, const struct check_rules *rules, enum health_source by,
                      int64_t now_ms)
{
    report(peer, rules, HEALTH_SUCCESS, by, "connected", now_ms);
}

void health_answered(struct peer *peer, const struct check_rules *rules, enum health_source by,
                     int status, int64_t now_ms)
{
    char why[32];
    enum health_event e;

    if (status_set_has(&rules->healthy, status))
        e = HEALTH_SUCCESS;
    else if (status_set_has(&rules->unhealthy, status))
        e = HEALTH_HTTP_FAILURE;
    else
        return;
    /* Most answers find a healthy peer so: nothing is written, no text is made. */
    if (e == HEALTH_SUCCESS && health_of(peer).state == HEALTH_HEALTHY)
        return;
    snprintf(why, sizeof(why), "status %d", status);
    report(peer, rules, e, by, why, now_ms);
}

/* What a failure is counted as; of other reasons the peer is not guilty. */
static const struct {
    enum reason why;
    enum health_event event;
} failures[] = {
    {REASON_CONNECT_FAILED, HEALTH_TCP_FAILURE},
    {REASON_TLS_FAILED, HEALTH_TCP_FAILURE},
    {REASON_TLS_UNVERIFIED, HEALTH_TCP_FAILURE},
    {REASON_UPSTREAM_CLOSED, HEALTH_TCP_FAILURE},
    {REASON_UPSTREAM_RESET, HEALTH_TCP_FAILURE},
    {REASON_CONNECT_TIMEOUT, HEALTH_TIMEOUT},
    {REASON_SEND_TIMEOUT, HEALTH_TIMEOUT},
    {REASON_READ_TIMEOUT, HEALTH_TIMEOUT},
    {REASON_UPSTREAM_BAD_HEAD, HEALTH_HTTP_FAILURE},
    {REASON_UPSTREAM_HEAD_TOO_LARGE, HEALTH_HTTP_FAILURE},
    {REASON_UPSTREAM_SWITCHED, HEALTH_HTTP_FAILURE},
};

void health_failed(struct peer *peer, const struct check_rules *rules, enum health_source by,
                   enum reason why, const char *detail, int64_t now_ms)
{
    char text[256];

    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        if (failures[i].why != why)
            continue;
        snprintf(text, sizeof(text), "%s (%s)", reasons[why].text, detail);
        report(peer, rules, failures[i].event, by, text, now_ms);
        return;
    }
}
