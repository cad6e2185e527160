/* SPDX-License-Identifier: Apache-2.0 */
/* The health of a peer: what counts, when the state changes, what is ignored, what is logged. */
#include "upstream/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "base/hash.h"

/* ---- The rules, event by event ---- */

/* S success, H bad status, T no connection, O timeout; limits in the same order. */
struct row {
    const char *events;
    uint8_t limits[HEALTH_EVENTS];
    enum health_state state;
    uint8_t counts[HEALTH_EVENTS];
};

static const struct row rows[] = {
    {"", {2, 5, 2, 3}, HEALTH_HEALTHY, {0, 0, 0, 0}},
    /* A healthy peer's successes are not counted. */
    {"SSS", {2, 5, 2, 3}, HEALTH_HEALTHY, {0, 0, 0, 0}},
    {"T", {2, 5, 2, 3}, HEALTH_MOSTLY_HEALTHY, {0, 0, 1, 0}},
    {"TT", {2, 5, 2, 3}, HEALTH_UNHEALTHY, {0, 0, 2, 0}},
    {"TTTT", {2, 5, 2, 3}, HEALTH_UNHEALTHY, {0, 0, 2, 0}},
    {"HHHH", {2, 5, 2, 3}, HEALTH_MOSTLY_HEALTHY, {0, 4, 0, 0}},
    {"HHHHH", {2, 5, 2, 3}, HEALTH_UNHEALTHY, {0, 5, 0, 0}},
    {"OOO", {2, 5, 2, 3}, HEALTH_UNHEALTHY, {0, 0, 0, 3}},
    /* Each kind of failure has a count of its own; a success ends them all. */
    {"HTO", {2, 5, 2, 3}, HEALTH_MOSTLY_HEALTHY, {0, 1, 1, 1}},
    {"HTOS", {2, 5, 2, 3}, HEALTH_MOSTLY_HEALTHY, {1, 0, 0, 0}},
    {"HTOST", {2, 5, 2, 3}, HEALTH_MOSTLY_HEALTHY, {0, 0, 1, 0}},
    {"HTOSS", {2, 5, 2, 3}, HEALTH_HEALTHY, {2, 0, 0, 0}},
    {"HTOSSS", {2, 5, 2, 3}, HEALTH_HEALTHY, {2, 0, 0, 0}},
    /* The way back. */
    {"TTS", {2, 5, 2, 3}, HEALTH_MOSTLY_UNHEALTHY, {1, 0, 0, 0}},
    {"TTSS", {2, 5, 2, 3}, HEALTH_HEALTHY, {2, 0, 0, 0}},
    {"TTST", {2, 5, 2, 3}, HEALTH_MOSTLY_UNHEALTHY, {0, 0, 1, 0}},
    {"TTSTT", {2, 5, 2, 3}, HEALTH_UNHEALTHY, {0, 0, 2, 0}},
    {"TTSTS", {2, 5, 2, 3}, HEALTH_MOSTLY_UNHEALTHY, {1, 0, 0, 0}},
    /* One is enough. */
    {"T", {1, 1, 1, 1}, HEALTH_UNHEALTHY, {0, 0, 1, 0}},
    {"TS", {1, 1, 1, 1}, HEALTH_HEALTHY, {1, 0, 0, 0}},
    /* A limit of 0: not counted, and it ends no other count. */
    {"TTTTT", {2, 5, 0, 3}, HEALTH_HEALTHY, {0, 0, 0, 0}},
    {"TTSSSS", {0, 5, 2, 3}, HEALTH_UNHEALTHY, {0, 0, 2, 0}},
    {"TSSSST", {0, 5, 2, 3}, HEALTH_UNHEALTHY, {0, 0, 2, 0}},
};

static enum health_event event_of(char c)
{
    return c == 'S'   ? HEALTH_SUCCESS
           : c == 'H' ? HEALTH_HTTP_FAILURE
           : c == 'T' ? HEALTH_TCP_FAILURE
                      : HEALTH_TIMEOUT;
}

static void test_steps(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *r = &rows[i];
        struct health h = {0};
        for (const char *e = r->events; *e; e++)
            health_step(&h, event_of(*e), r->limits[event_of(*e)]);
        if (h.state != r->state || memcmp(h.counts, r->counts, sizeof(h.counts)) != 0)
            fail_msg("row %zu \"%s\": %s %u %u %u %u", i, r->events, health_state_name(h.state),
                     h.counts[0], h.counts[1], h.counts[2], h.counts[3]);
    }
}

/* ---- Reports ---- */

static struct {
    char last[512];
    enum log_level level;
    unsigned lines;
} logged;

static void sink(enum log_level level, struct str line)
{
    snprintf(logged.last, sizeof(logged.last), "%.*s", STR_ARG(line));
    logged.level = level;
    logged.lines++;
}

struct fixture {
    struct peers *peers;
    struct peer_set *set;
    struct peer *peer;
    struct check_rules rules;
};

static void add(struct status_set *s, int status)
{
    unsigned at = (unsigned)status - STATUS_FIRST;

    s->bits[at / 64] |= 1ull << (at % 64);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct addr a;

    memset(&a, 0, sizeof(a));
    a.in.sin_family = AF_INET;
    a.in.sin_port = htons(8080);
    a.in.sin_addr.s_addr = htonl(0x0a000001);
    f->peers = peers_new();
    f->set = peer_set_get(f->peers, STR("/upstreams/1"));
    f->peer = peer_get(f->peers, f->set, STR("a.test"), &a, 1);
    health_begin(f->peer);
    f->rules = (struct check_rules){
        .successes = 2, .http_failures = 3, .tcp_failures = 2, .timeouts = 1};
    add(&f->rules.healthy, 200);
    add(&f->rules.healthy, 599);
    add(&f->rules.unhealthy, 500);
    add(&f->rules.unhealthy, 263);
    memset(&logged, 0, sizeof(logged));
    log_setup(sink, LOG_INFO);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    peer_put(f->peers, f->peer);
    peer_set_put(f->peers, f->set);
    peers_free(f->peers);
    free(f);
    return 0;
}

static void answered(struct fixture *f, int status)
{
    health_answered(f->peer, &f->rules, HEALTH_PROBE, status, 1000);
}

static void failed(struct fixture *f, enum reason why)
{
    health_failed(f->peer, &f->rules, HEALTH_REQUEST, why, "why not", 1000);
}

static enum health_state state_of(const struct fixture *f)
{
    return health_of(f->peer).state;
}

static void test_statuses(void **state)
{
    struct fixture *f = *state;

    answered(f, 500);
    assert_int_equal(health_of(f->peer).counts[HEALTH_HTTP_FAILURE], 1);
    answered(f, 263);
    assert_int_equal(health_of(f->peer).counts[HEALTH_HTTP_FAILURE], 2);
    /* In neither set: as if it had not been. */
    const int others[] = {100, 199, 201, 404, 501, 598, 600, 999, 0, -1};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        answered(f, others[i]);
    assert_int_equal(health_of(f->peer).counts[HEALTH_HTTP_FAILURE], 2);
    assert_false(peer_is_down(f->peer));
    answered(f, 500);
    assert_true(peer_is_down(f->peer));
    answered(f, 599);
    assert_int_equal(state_of(f), HEALTH_MOSTLY_UNHEALTHY);
    assert_true(peer_is_down(f->peer));
    answered(f, 200);
    assert_int_equal(state_of(f), HEALTH_HEALTHY);
    assert_false(peer_is_down(f->peer));
}

static void test_failures(void **state)
{
    static const struct {
        enum reason why;
        enum health_event event; /* HEALTH_SUCCESS: not the peer's fault */
    } all[] = {
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
        {REASON_UPSTREAM_KEPT_CLOSED, HEALTH_SUCCESS},
        {REASON_CONNECT_STARVED, HEALTH_SUCCESS},
        {REASON_CLIENT_GONE, HEALTH_SUCCESS},
        {REASON_DRAIN, HEALTH_SUCCESS},
    };
    struct fixture *f = *state;

    f->rules.timeouts = 9;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        health_end(f->peer, 1);
        health_begin(f->peer);
        failed(f, all[i].why);
        for (int e = 0; e < HEALTH_EVENTS; e++)
            assert_int_equal(health_of(f->peer).counts[e],
                             e == (int)all[i].event && e != HEALTH_SUCCESS);
    }
}

static void test_log(void **state)
{
    struct fixture *f = *state;

    failed(f, REASON_CONNECT_FAILED);
    assert_int_equal(logged.level, LOG_INFO);
    failed(f, REASON_CONNECT_FAILED);
    assert_int_equal(logged.level, LOG_WARN);
    assert_string_equal(
        logged.last,
        "upstream /upstreams/1: node a.test (10.0.0.1:8080) is unhealthy, was mostly_healthy: "
        "unhealthy TCP increment (2/2), by a request: the connection to the upstream failed (why "
        "not)");
    assert_int_equal(logged.lines, 2);
    failed(f, REASON_CONNECT_FAILED); /* nothing new */
    assert_int_equal(logged.lines, 2);
    answered(f, 200);
    assert_int_equal(logged.level, LOG_INFO);
    health_connected(f->peer, &f->rules, HEALTH_PROBE, 1);
    assert_int_equal(logged.level, LOG_NOTICE);
    assert_string_equal(logged.last,
                        "upstream /upstreams/1: node a.test (10.0.0.1:8080) is healthy, was "
                        "mostly_unhealthy: healthy SUCCESS increment (2/2), by a probe: connected");
    /* Counting up within a state is no news. */
    answered(f, 500);
    answered(f, 500);
    assert_int_equal(logged.lines, 5);
}

/* What nobody probes is let be: nothing would bring it back. */
static void test_end(void **state)
{
    struct fixture *f = *state;

    failed(f, REASON_READ_TIMEOUT);
    assert_true(peer_is_down(f->peer));
    unsigned changes = atomic_load(&f->set->changes);
    health_begin(f->peer); /* as another slot of the same upstream does */
    health_end(f->peer, 5);
    assert_true(peer_is_down(f->peer));
    health_end(f->peer, 5);
    assert_false(peer_is_down(f->peer));
    assert_int_equal(state_of(f), HEALTH_HEALTHY);
    assert_int_equal(health_of(f->peer).counts[HEALTH_TIMEOUT], 0);
    assert_int_not_equal(atomic_load(&f->set->changes), changes);
    failed(f, REASON_READ_TIMEOUT);
    answered(f, 500);
    assert_int_equal(state_of(f), HEALTH_HEALTHY);
    assert_int_equal(health_of(f->peer).counts[HEALTH_HTTP_FAILURE], 0);
    health_begin(f->peer);
    failed(f, REASON_READ_TIMEOUT);
    assert_true(peer_is_down(f->peer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),
        cmocka_unit_test_setup_teardown(test_statuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end, setup, teardown),
    };

    hash_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
