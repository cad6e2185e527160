/* SPDX-License-Identifier: Apache-2.0 */
/* The prober on its own thread while the configuration changes, others ask what it knows, requests
 * report, and it is stopped with probes under way. */
#include "upstream/prober.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"
#include "config/checks.h"

enum { SLOTS = 8, NODES = 6, CHANGES = 400 };

/* A configuration, const once it is published. */
struct version {
    struct snapshot s;
    struct upstream upstreams[SLOTS];
    const struct upstream *slots[SLOTS];
    uint32_t changed[SLOTS];
};

static struct {
    struct peers *peers;
    struct prober *p;
    struct checks checks;
    struct node nodes[NODES];
    char keys[SLOTS][24];
    struct version *versions[CHANGES];
    atomic_bool done;
    int listener;
} w;

static struct version *version_new(unsigned n)
{
    struct version *v = mem_zero(sizeof(*v));

    atomic_init(&v->s.refs, 1);
    v->s.version = n + 1;
    v->s.upstreams = v->slots;
    v->s.nupstreams = SLOTS;
    v->s.checks = (struct checks_change){n, v->changed, SLOTS};
    for (uint32_t i = 0; i < SLOTS; i++) {
        v->changed[i] = i;
        v->upstreams[i] = (struct upstream){.key = str_of(w.keys[i]),
                                            .slot = i,
                                            .nodes = w.nodes,
                                            .nnodes = 1 + random_below(NODES),
                                            .checks = random_below(4) ? &w.checks : NULL};
        v->slots[i] = random_below(8) ? &v->upstreams[i] : NULL;
    }
    return w.versions[n] = v;
}

static void see(void *to, const struct prober_node *n)
{
    unsigned *healthy = to;

    *healthy += n->health.state == HEALTH_HEALTHY;
}

static void *ask(void *arg)
{
    unsigned healthy = 0;

    (void)arg;
    while (!atomic_load(&w.done))
        prober_nodes(w.p, str_of(w.keys[random_below(SLOTS)]), see, &healthy);
    return NULL;
}

/* As a worker does: holds peers, and reports on them. */
static void *report(void *arg)
{
    (void)arg;
    for (int64_t now = 1; !atomic_load(&w.done); now++) {
        struct peer_set *set = peer_set_get(w.peers, str_of(w.keys[random_below(SLOTS)]));
        struct addr a;
        memset(&a, 0, sizeof(a));
        a.in.sin_family = AF_INET;
        a.in.sin_port = htons(w.nodes[0].port);
        inet_pton(AF_INET, "127.0.0.1", &a.in.sin_addr);
        struct peer *peer = peer_get(w.peers, set, STR("127.0.0.1"), &a, now);
        if (now % 2)
            health_failed(peer, &w.checks.passive, HEALTH_REQUEST, REASON_CONNECT_FAILED, "", now);
        else
            health_connected(peer, &w.checks.passive, HEALTH_REQUEST, now);
        peer_put(w.peers, peer);
        peer_set_put(w.peers, set);
    }
    return NULL;
}

static void listen_here(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);

    w.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(w.listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(w.listener, 64), 0);
    assert_int_equal(getsockname(w.listener, (struct sockaddr *)&at, &n), 0);
    /* One that accepts and is silent, names, and others that refuse. */
    for (unsigned i = 0; i < NODES; i++)
        w.nodes[i] = (struct node){
            .host = i % 3 == 2 ? STR("localhost") : STR("127.0.0.1"),
            .port = i ? (uint16_t)i : ntohs(at.sin_port),
        };
}

static void test_storm(void **state)
{
    struct prober_config config = {.peers = w.peers};
    pthread_t threads[2];
    struct arena a;
    struct str err;

    (void)state;
    arena_init(&a, NULL);
    struct version *v = version_new(0);
    snapshot_get(&v->s);
    w.p = prober_new(&config, &v->s, &a, &err);
    assert_non_null(w.p);
    prober_start(w.p);
    pthread_create(&threads[0], NULL, ask, NULL);
    pthread_create(&threads[1], NULL, report, NULL);
    for (unsigned i = 1; i < CHANGES; i++) {
        v = version_new(i);
        snapshot_get(&v->s);
        prober_publish(w.p, &v->s);
        if (i % 8 == 0)
            usleep(2000); /* so that probes are under way when things change */
    }
    atomic_store(&w.done, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    prober_stop(w.p);
    for (unsigned i = 0; i < CHANGES; i++) {
        assert_int_equal(atomic_load(&w.versions[i]->s.refs), 1);
        free(w.versions[i]);
    }
    arena_fini(&a);
}

static void silent(enum log_level level, struct str line)
{
    (void)level;
    (void)line;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_storm)};

    hash_setup();
    log_setup(silent, LOG_EMERG);
    w.peers = peers_new();
    for (unsigned i = 0; i < SLOTS; i++)
        snprintf(w.keys[i], sizeof(w.keys[i]), "/upstreams/%u", i);
    w.checks = (struct checks){
        .method = STR("GET"),
        .path = STR("/"),
        .body = STR(""),
        .has_passive = true,
        .concurrency = 4,
        .timeout_ms = 5,
        .healthy_ms = 2,
        .unhealthy_ms = 2,
        .active = {.successes = 1, .http_failures = 1, .tcp_failures = 1, .timeouts = 1},
        .passive = {.successes = 1, .http_failures = 1, .tcp_failures = 1, .timeouts = 1}};
    listen_here();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    close(w.listener);
    peers_free(w.peers); /* asserts that nothing is left */
    return failed;
}
