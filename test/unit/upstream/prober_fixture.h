/* SPDX-License-Identifier: Apache-2.0 */
/* What the prober's tests stand on: a prober whose loop runs in small steps, its snapshot, and the
 * other ends of its probes. */
#ifndef TEST_PROBER_FIXTURE_H
#define TEST_PROBER_FIXTURE_H

#define peer remote /* the fixture's other ends are no peers in upstream's sense */
#include "../conn/conn_fixture.h"
#undef peer

#include <sys/resource.h>

#include "base/hash.h"
#include "upstream/prober_int.h"

enum { NODES = 600, SLOTS = 520 };

static struct {
    struct prober *p;
    struct prober_config config; /* its peers are those below */
    struct peers *peers;
    struct arena arena;
    struct snapshot s;
    const struct upstream *slots[SLOTS];
    struct upstream upstreams[SLOTS];
    struct checks checks;
    struct node nodes[NODES];
    uint32_t changed[SLOTS];
    int listener;
} w;

static inline void status_add(struct status_set *s, int status)
{
    unsigned at = (unsigned)status - STATUS_FIRST;

    s->bits[at / 64] |= 1ull << (at % 64);
}

static inline struct node node_here(int listener)
{
    return (struct node){
        .host = STR("127.0.0.1"), .port = port_of(listener), .is_ip = true, .weight = 1};
}

/* An upstream of the first n nodes in slot 0, not yet known to anybody. */
static inline void upstream_set(unsigned slot, const char *key, struct node *nodes, unsigned n)
{
    w.upstreams[slot] = (struct upstream){
        .key = str_of(key), .nodes = nodes, .nnodes = n, .slot = slot, .checks = &w.checks};
    w.slots[slot] = &w.upstreams[slot];
    if (slot >= w.s.nupstreams)
        w.s.nupstreams = slot + 1;
}

static inline int setup(void **state)
{
    (void)state;
    memset(&w, 0, sizeof(w));
    fixture_setup();
    arena_init(&w.arena, NULL);
    w.peers = peers_new();
    w.listener = listen_here(64, 0);
    w.nodes[0] = node_here(w.listener);
    w.s.upstreams = w.slots;
    w.s.checks.slots = w.changed;
    w.s.version = 1;
    atomic_init(&w.s.refs, 1);
    w.checks = (struct checks){
        .method = STR("GET"),
        .path = STR("/status"),
        .body = STR(""),
        .concurrency = 10,
        .timeout_ms = 5000,
        .healthy_ms = 10,
        .unhealthy_ms = 10,
        .active = {.successes = 1, .http_failures = 1, .tcp_failures = 1, .timeouts = 1}};
    status_add(&w.checks.active.healthy, 200);
    status_add(&w.checks.active.unhealthy, 500);
    return 0;
}

/* The loop of these tests is the prober's. */
static inline void start(void)
{
    struct str err;

    w.config.peers = w.peers;
    snapshot_get(&w.s);
    w.p = prober_new(&w.config, &w.s, &w.arena, &err);
    assert_non_null(w.p);
    timer_clear(&world.t->loop.timers, &world.tick);
    thread_fini(world.t);
    free(world.t);
    world.t = &w.p->thread;
    timer_init(&world.tick, fixture_on_tick);
}

static inline int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < world.npeers; i++) {
        if (world.peers[i].fd >= 0)
            close(world.peers[i].fd);
        free(world.peers[i].in);
    }
    timer_clear(&world.t->loop.timers, &world.tick);
    if (w.p) {
        prober_stop(w.p);
    } else {
        thread_fini(world.t);
        free(world.t);
    }
    peers_free(w.peers); /* asserts that nothing is left */
    arena_fini(&w.arena);
    close(w.listener);
    assert_int_equal(atomic_load(&w.s.refs), 1);
    return 0;
}

/* The slot has changed. */
static inline void publish(uint32_t slot)
{
    w.s.checks.since = w.s.version;
    w.s.version++;
    w.changed[0] = slot;
    w.s.checks.n = 1;
    snapshot_get(&w.s);
    prober_publish(w.p, &w.s);
    UNTIL(atomic_load(&w.s.refs) == 1);
}

/* ---- What is known ---- */

static inline struct target *target_nth(unsigned slot, unsigned node)
{
    return CONTAINER(w.p->slots[slot]->nodes[node]->targets.next, struct target, link);
}

static inline struct health health_nth(unsigned node)
{
    return health_of(target_nth(0, node)->peer);
}

static inline enum health_state state_nth(unsigned node)
{
    return health_nth(node).state;
}

static inline unsigned targets(unsigned slot)
{
    unsigned n = 0;

    for (unsigned i = 0; w.p->slots[slot] && i < w.p->slots[slot]->nnodes; i++)
        for (struct list *l = w.p->slots[slot]->nodes[i]->targets.next;
             l != &w.p->slots[slot]->nodes[i]->targets; l = l->next)
            n++;
    return n;
}

/* Takes the next probe's connection and its request. */
static inline struct remote *probe_taken(void)
{
    world.npeers = world.npeers == PEERS ? PEERS - 1 : world.npeers;
    struct remote *peer = peer_accept(w.listener);

    UNTIL(peer_has(peer, "\r\n\r\n"));
    return peer;
}

static inline void probe_answered(const char *text)
{
    struct remote *peer = probe_taken();

    peer_send(peer, text);
    UNTIL(peer_ended(peer));
    peer_close(peer);
    free(peer->in);
    world.npeers--;
}

/* The listener has all of this machine's addresses now. */
static inline void listen_everywhere(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};

    close(w.listener);
    w.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(w.listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(w.listener, 1024), 0);
}

#define OK  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
#define BAD "HTTP/1.1 500 No\r\n\r\n"

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
