/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of an upstream whose nodes DNS knows: records and addresses become what is probed, changes
 * are followed, and what stays keeps its state. */
#include "prober_fixture.h"

#include "fake_dns.h"

#define SRV(...) .type = FAKE_SRV, .srv = {__VA_ARGS__}, .ttl = 1
#define A(...)   .type = FAKE_A, .addrs = {__VA_ARGS__}, .ttl = 1

static struct fake_dns fake;
static struct dns_config resolver;
static struct str server;

/* Slot 0 is a service, looked up at the fake server. */
static int setup_service(void **state)
{
    static char text[32];

    setup(state);
    setenv("CARES_HOSTS", "/dev/null", 1);
    unsetenv("LOCALDOMAIN");
    assert_true(fake_start(&fake));
    snprintf(text, sizeof(text), "127.0.0.1:%u", fake.port);
    server = str_of(text);
    resolver = (struct dns_config){.servers = &server, .nservers = 1, .timeout_ms = 2000};
    w.config.discovery = &resolver;
    w.config.order = DISCOVER_SRV_ADDRS;
    listen_everywhere();
    w.nodes[0] = (struct node){.host = STR("s.test"), .port = port_of(w.listener), .weight = 1};
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    w.upstreams[0].discovered = true;
    return 0;
}

static int teardown_service(void **state)
{
    teardown(state);
    fake_stop(&fake);
    return 0;
}

static struct target *target_with(const char *address)
{
    for (unsigned i = 0; i < w.p->slots[0]->nnodes; i++) {
        const struct probed *n = w.p->slots[0]->nodes[i];
        for (struct list *l = n->targets.next; l != &n->targets; l = l->next) {
            struct target *t = CONTAINER(l, struct target, link);
            char text[56];
            text[sock_addr_text(&t->peer->addr.sa, text, false)] = 0;
            if (strcmp(text, address) == 0)
                return t;
        }
    }
    return NULL;
}

/* The node at that address is down; the others' probes are answered well. */
static void bring_down(const char *address)
{
    health_failed(target_with(address)->peer, &w.checks.active, HEALTH_PROBE, REASON_CONNECT_FAILED,
                  "", 1);
    assert_true(peer_is_down(target_with(address)->peer));
}

/* Nobody is probed any more, so that states are what the test makes them. */
static void no_probes(void)
{
    w.checks.healthy_ms = w.checks.unhealthy_ms = 3600000;
}

static void test_records(void **state)
{
    uint16_t port = port_of(w.listener);

    (void)state;
    fake_set(&fake, (struct fake_record){
                        .name = "s.test",
                        SRV({1, 1, port, "a.test"}, {2, 1, port, "b.test"}, {2, 1, port, ""})});
    fake_set(&fake, (struct fake_record){.name = "a.test", A("127.0.0.2", "127.0.0.3")});
    fake_set(&fake, (struct fake_record){.name = "b.test", A("127.0.0.4")});
    start();
    UNTIL(targets(0) == 3);
    assert_int_equal(w.p->slots[0]->nnodes, 2);
    struct remote *peer = probe_taken();
    assert_true(peer_has(peer, "\r\nHost: a.test\r\n") || peer_has(peer, "\r\nHost: b.test\r\n"));
    /* Workers find the same peer: by the record's target, without a dot behind it. */
    struct target *t = target_with("127.0.0.4");
    struct peer *same = peer_get(w.peers, w.p->slots[0]->set, STR("b.test"), &t->peer->addr, 1);
    assert_ptr_equal(same, t->peer);
    assert_int_equal(ntohs(same->addr.in.sin_port), port);
    peer_put(w.peers, same);
}

static void test_changes(void **state)
{
    uint16_t port = port_of(w.listener);

    (void)state;
    no_probes();
    fake_set(&fake, (struct fake_record){.name = "s.test",
                                         SRV({1, 1, port, "a.test"}, {1, 1, port, "b.test"})});
    fake_set(&fake, (struct fake_record){.name = "a.test", A("127.0.0.2")});
    fake_set(&fake, (struct fake_record){.name = "b.test", A("127.0.0.3", "127.0.0.4")});
    start();
    UNTIL(targets(0) == 3);
    bring_down("127.0.0.3");
    bring_down("127.0.0.4");
    /* A record goes, another comes, and an address of the one that stays. */
    fake_set(&fake, (struct fake_record){.name = "s.test",
                                         SRV({1, 7, port, "b.test"}, {1, 1, port, "c.test"})});
    fake_set(&fake, (struct fake_record){.name = "b.test", A("127.0.0.4", "127.0.0.5")});
    fake_set(&fake, (struct fake_record){.name = "c.test", A("127.0.0.6")});
    UNTIL(!target_with("127.0.0.2") && !target_with("127.0.0.3") && target_with("127.0.0.5") &&
          target_with("127.0.0.6"));
    assert_true(peer_is_down(target_with("127.0.0.4")->peer));
    assert_false(peer_is_down(target_with("127.0.0.5")->peer));
    assert_int_equal(targets(0), 3);
    /* The same address, not down any more once nobody probes it. */
    fake_set(&fake, (struct fake_record){.name = "b.test", A("127.0.0.5")});
    UNTIL(!target_with("127.0.0.4"));
}

/* Where there are no records the addresses of the name count; and the other way round. */
static void test_addresses(void **state)
{
    uint16_t port = port_of(w.listener);

    (void)state;
    fake_set(&fake, (struct fake_record){.name = "s.test", A("127.0.0.2", "127.0.0.3")});
    start();
    UNTIL(targets(0) == 2);
    assert_true(str_eq(w.p->slots[0]->nodes[0]->host, STR("s.test")));
    assert_false(w.p->slots[0]->nodes[0]->absolute);
    /* No records is known for 30 s. */
    w.nodes[0].port = 7;
    publish(0);
    UNTIL(targets(0) == 2 && ntohs(target_nth(0, 0)->peer->addr.in.sin_port) == 7);
    w.nodes[0].host = STR("other.test");
    fake_set(&fake, (struct fake_record){.name = "other.test", SRV({1, 1, port, "a.test"})});
    fake_set(&fake, (struct fake_record){.name = "a.test", A("127.0.0.9")});
    publish(0);
    UNTIL(targets(0) == 1 && target_with("127.0.0.9"));
    assert_true(w.p->slots[0]->nodes[0]->absolute);
    assert_int_equal(ntohs(target_nth(0, 0)->peer->addr.in.sin_port), port);
}

/* Another service that nobody knows: what is probed is not the old one's. */
static void test_nothing(void **state)
{
    uint16_t port = port_of(w.listener);

    (void)state;
    w.config.order = DISCOVER_SRV;
    fake_set(&fake, (struct fake_record){.name = "s.test", SRV({1, 1, port, "a.test"})});
    fake_set(&fake, (struct fake_record){.name = "a.test", A("127.0.0.2")});
    start();
    UNTIL(targets(0) == 1);
    struct target *before = target_nth(0, 0);
    publish(0); /* nothing of the service has changed */
    assert_ptr_equal(target_nth(0, 0), before);
    fake_set(&fake, (struct fake_record){.name = "bad.test", .type = FAKE_SRV, .rcode = 5});
    w.nodes[0].host = STR("bad.test");
    publish(0);
    assert_int_equal(targets(0), 1); /* not known yet */
    UNTIL(w.p->slots[0]->nnodes == 0);
    /* Its nodes are configured again. */
    w.upstreams[0].discovered = false;
    w.nodes[0].host = STR("127.0.0.1");
    publish(0);
    assert_int_equal(targets(0), 1);
    assert_null(w.p->slots[0]->service);
}

/* The prober ends while it waits for an answer. */
static void test_stopped(void **state)
{
    (void)state;
    fake_set(&fake,
             (struct fake_record){.name = "s.test", SRV({1, 1, 1, "a.test"}), .silent = true});
    start();
    UNTIL(w.p->slots[0]->service->waiting);
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_service, teardown_service)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_records), TEST(test_changes), TEST(test_addresses),
        TEST(test_nothing), TEST(test_stopped),
    };

    hash_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
