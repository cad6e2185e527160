/* SPDX-License-Identifier: Apache-2.0 */
/* The prober, its loop run in small steps here: what it sends, what it makes of answers, how it
 * follows the configuration, and that it lets go of everything. */
#include "prober_fixture.h"

/* ---- Probes ---- */

static void test_request(void **state)
{
    static const struct field_pair headers[] = {{{"X-A", 3}, {"b", 1}},
                                                {{"User-Agent", 10}, {"me", 2}}};

    (void)state;
    w.checks.headers = headers;
    w.checks.nheaders = 2;
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    start();
    struct remote *peer = probe_taken();
    char *all = str_dup(str_make(peer->in, peer->n));
    assert_string_equal(all,
                        "GET /status HTTP/1.1\r\nX-A: b\r\nUser-Agent: me\r\nHost: 127.0.0.1\r\n"
                        "Connection: close\r\n\r\n");
    free(all);
}

static void host_is(const char *line)
{
    struct remote *peer = probe_taken();

    if (!peer_has(peer, line))
        fail_msg("no %s in %.*s", line, (int)peer->n, peer->in);
    peer_send(peer, OK);
}

static void test_hosts(void **state)
{
    static const struct field_pair headers[] = {{{"host", 4}, {"mine", 4}}};

    (void)state;
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    w.upstreams[0].upstream_host = STR("ignored");
    start();
    host_is("\r\nHost: 127.0.0.1\r\n");
    w.upstreams[0].upstream_host = STR("up.test:81");
    w.upstreams[0].pass_host = PASS_HOST_REWRITE;
    publish(0);
    probe_answered(OK); /* one may have been on its way */
    host_is("\r\nHost: up.test:81\r\n");
    w.checks.host = STR("check.test");
    publish(0);
    probe_answered(OK);
    host_is("\r\nHost: check.test\r\n");
    w.checks.headers = headers;
    w.checks.nheaders = 1;
    publish(0);
    probe_answered(OK);
    host_is("\r\nhost: mine\r\nConnection: close\r\n\r\n");
}

static void test_body(void **state)
{
    (void)state;
    w.checks.method = STR("POST");
    w.checks.body = STR("ping");
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    start();
    struct remote *peer = probe_taken();
    UNTIL(peer_has(peer, "\r\n\r\nping"));
    assert_true(peer_has(peer, "POST /status HTTP/1.1\r\n"));
    assert_true(peer_has(peer, "Content-Length: 4\r\n"));
}

static void test_answers(void **state)
{
    static const struct {
        const char *text;
        enum health_state state;
        enum health_event event;
    } answers[] = {
        {"HTTP/1.0 500 x\r\n\r\n", HEALTH_UNHEALTHY, HEALTH_HTTP_FAILURE},
        {"SSH-2.0-OpenSSH_9\r\n\r\n", HEALTH_UNHEALTHY, HEALTH_HTTP_FAILURE},
        {"HTTP/1.1 20 x\r\n\r\n", HEALTH_UNHEALTHY, HEALTH_HTTP_FAILURE},
        {"HTTP/1.1 101 x\r\nUpgrade: y\r\nConnection: upgrade\r\n\r\n", HEALTH_UNHEALTHY,
         HEALTH_HTTP_FAILURE},
    };

    (void)state;
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    start();
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        probe_answered(answers[i].text);
        if (state_nth(0) != answers[i].state || health_nth(0).counts[answers[i].event] != 1)
            fail_msg("answer %zu: %s", i, health_state_name(state_nth(0)));
        assert_true(peer_is_down(target_nth(0, 0)->peer));
        /* Interim heads are not the answer; a body is not waited for. */
        probe_answered("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\n"
                       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_int_equal(state_nth(0), HEALTH_HEALTHY);
        assert_false(peer_is_down(target_nth(0, 0)->peer));
    }
    /* In neither set. */
    probe_answered("HTTP/1.1 404 x\r\n\r\n");
    assert_int_equal(state_nth(0), HEALTH_HEALTHY);
}

static void test_endless_head(void **state)
{
    char line[1025];

    (void)state;
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    start();
    struct remote *peer = probe_taken();
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = 0;
    peer_send(peer, "HTTP/1.1 200 OK\r\nA: ");
    for (int i = 0; i < 64 && !peer_ended(peer); i++) {
        peer_send(peer, line);
        step();
    }
    UNTIL(peer_ended(peer));
    assert_int_equal(health_nth(0).counts[HEALTH_HTTP_FAILURE], 1);
}

static void test_broken_connections(void **state)
{
    (void)state;
    w.checks.active.tcp_failures = 3;
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    start();
    peer_close(probe_taken());
    UNTIL(health_nth(0).counts[HEALTH_TCP_FAILURE] == 1);
    peer_reset(probe_taken());
    UNTIL(health_nth(0).counts[HEALTH_TCP_FAILURE] == 2);
    close(w.listener);
    UNTIL(state_nth(0) == HEALTH_UNHEALTHY);
    w.listener = dup(0);
}

static void test_timeouts(void **state)
{
    (void)state;
    w.checks.timeout_ms = 30;
    w.checks.active.timeouts = 2;
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    start();
    struct remote *silent = probe_taken();
    UNTIL(peer_ended(silent));
    assert_int_equal(health_nth(0).counts[HEALTH_TIMEOUT], 1);
    /* A trickle does not hold it up. */
    struct remote *slow = probe_taken();
    while (!peer_ended(slow))
        peer_drip(slow, "HTTP/1.1 200 OK\r\nA: b");
    assert_int_equal(state_nth(0), HEALTH_UNHEALTHY);
}

static void test_tcp(void **state)
{
    (void)state;
    w.checks.type = CHECK_TCP;
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    start();
    health_failed(target_nth(0, 0)->peer, &w.checks.active, HEALTH_PROBE, REASON_CONNECT_FAILED, "",
                  1);
    assert_int_equal(state_nth(0), HEALTH_UNHEALTHY);
    struct remote *peer = peer_accept(w.listener);
    UNTIL(peer_ended(peer));
    assert_int_equal(peer->n, 0);
    UNTIL(state_nth(0) == HEALTH_HEALTHY);
    close(w.listener);
    UNTIL(state_nth(0) == HEALTH_UNHEALTHY);
    w.listener = dup(0);
}

static void test_port_override(void **state)
{
    int other = listen_here(16, 0);

    (void)state;
    w.checks.port = port_of(other);
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    start();
    struct remote *peer = peer_accept(other);
    UNTIL(peer_has(peer, "GET /status"));
    peer_send(peer, BAD);
    UNTIL(state_nth(0) == HEALTH_UNHEALTHY);
    assert_int_equal(ntohs(target_nth(0, 0)->peer->addr.in.sin_port), port_of(w.listener));
    close(other);
}

static void test_ipv6(void **state)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);

    (void)state;
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        skip();
    assert_int_equal(listen(fd, 8), 0);
    getsockname(fd, (struct sockaddr *)&at, &n);
    w.nodes[0] = (struct node){.host = STR("::1"), .port = ntohs(at.sin6_port), .is_ip = true};
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    start();
    struct remote *peer = peer_accept(fd);
    UNTIL(peer_has(peer, "\r\nHost: [::1]\r\n"));
    peer_send(peer, OK);
    UNTIL(peer_ended(peer));
    close(fd);
}

/* ---- How many, when ---- */

/* Nodes with addresses of their own, which all lead to the listener. */
static void make_nodes(unsigned n)
{
    static char hosts[NODES][24];

    for (unsigned i = 0; i < n; i++) {
        snprintf(hosts[i], sizeof(hosts[i]), "127.0.%u.%u", 1 + i / 200, 1 + i % 200);
        w.nodes[i] = node_here(w.listener);
        w.nodes[i].host = str_of(hosts[i]);
    }
}

static void test_concurrency(void **state)
{
    (void)state;
    listen_everywhere();
    make_nodes(8);
    w.checks.concurrency = 3;
    upstream_set(0, "/upstreams/1", w.nodes, 8);
    start();
    struct checked *up = w.p->slots[0];
    struct remote *peers[3];
    for (int i = 0; i < 3; i++)
        peers[i] = probe_taken();
    /* All are due by now: five wait. */
    UNTIL(({
        unsigned due = 0;
        for (struct list *l = up->due.next; l != &up->due; l = l->next)
            due++;
        due == 5;
    }));
    assert_int_equal(up->running, 3);
    assert_int_equal(w.p->running, 3);
    peer_send(peers[1], OK);
    probe_taken();
    assert_int_equal(up->running, 3);
}

/* Those of one upstream do not keep others from their turn, and all have a bound. */
static void test_all_bounded(void **state)
{
    struct rlimit files = {4096, 4096};

    (void)state;
    setrlimit(RLIMIT_NOFILE, &files);
    listen_everywhere();
    make_nodes(NODES);
    w.checks.concurrency = 256;
    upstream_set(0, "/upstreams/1", w.nodes, NODES);
    upstream_set(1, "/upstreams/2", w.nodes, 1);
    start();
    unsigned accepted = 0;
    UNTIL(w.p->running == PROBES_MAX);
    assert_true(w.p->slots[0]->running <= 256);
    int fds[PROBES_MAX + 8];
    UNTIL((fds[accepted] = accept(w.listener, NULL, NULL)) < 0 || ++accepted == PROBES_MAX);
    STAYS(w.p->running == PROBES_MAX, 20);
    for (unsigned i = 0; i < accepted; i++)
        close(fds[i]);
    UNTIL(!target_nth(1, 0)->first);
}

/* First probes are spread over their time, and second ones are not where the first were. */
static void test_spread(void **state)
{
    char keys[SLOTS][24];
    unsigned tenths[10] = {0};

    (void)state;
    w.checks.healthy_ms = w.checks.unhealthy_ms = 60000;
    for (unsigned i = 0; i < 500; i++) {
        snprintf(keys[i], sizeof(keys[i]), "/upstreams/%u", i);
        upstream_set(i, keys[i], w.nodes, 1);
    }
    start();
    int64_t t0 = now();
    for (unsigned i = 0; i < 500; i++) {
        int64_t after = target_nth(i, 0)->timer.due - t0;
        assert_in_range(after, 0, 1001);
        tenths[after >= 1000 ? 9 : after / 100]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(tenths[i], 15, 120); /* of 50 each */
    /* One probe each, by hand. */
    struct target *t = target_nth(0, 0);
    int64_t sum = 0, least = INT64_MAX, most = 0;
    for (int i = 0; i < 200; i++) {
        t->first = true;
        t->busy = true;
        timer_clear(&world.t->loop.timers, &t->timer);
        list_append(&w.p->slots[0]->due, &t->due);
        list_append(&w.p->ready, &w.p->slots[0]->ready);
        prober_pump(&w.p->pump);
        probe_abandon(t);
        target_done(t);
        int64_t after = t->timer.due - now();
        least = after < least ? after : least;
        most = after > most ? after : most;
        sum += after;
    }
    assert_in_range(least, 30000, 35000);
    assert_in_range(most, 55000, 60001);
    assert_in_range(sum / 200, 40000, 50000);
}

static void test_intervals(void **state)
{
    (void)state;
    w.checks.healthy_ms = 3600000;
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    start();
    probe_answered(BAD); /* the first one comes at once all the same */
    assert_int_equal(state_nth(0), HEALTH_UNHEALTHY);
    probe_answered(BAD); /* soon, as unhealthy.interval says */
    probe_answered(OK);
    assert_int_equal(state_nth(0), HEALTH_HEALTHY);
    /* Now it is a long time; a change of the checks shortens what is under way. */
    assert_true(target_nth(0, 0)->timer.due - now() > 1000000);
    w.checks.healthy_ms = 10;
    publish(0);
    probe_answered(OK);
}

/* Requests find who is down; probes only bring it back. */
static void test_recovery_only(void **state)
{
    (void)state;
    w.checks.has_passive = true;
    w.checks.passive = (struct check_rules){.tcp_failures = 1};
    w.checks.healthy_ms = 0;
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    start();
    STAYS(accept(w.listener, NULL, NULL) < 0, 100);
    health_failed(target_nth(0, 0)->peer, &w.checks.passive, HEALTH_REQUEST, REASON_CONNECT_FAILED,
                  "x", now());
    probe_answered(BAD);
    probe_answered(OK);
    assert_int_equal(state_nth(0), HEALTH_HEALTHY);
    STAYS(accept(w.listener, NULL, NULL) < 0, 100);
}

/* ---- The configuration changes ---- */

static void test_state_stays(void **state)
{
    struct node nodes[3];
    int other = listen_here(16, 0), third = listen_here(16, 0);

    (void)state;
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    start();
    probe_answered(BAD);
    struct remote *under_way = probe_taken();
    struct target *t = target_nth(0, 0);
    nodes[0] = node_here(other);
    nodes[1] = w.nodes[0];
    nodes[2] = node_here(third);
    upstream_set(0, "/upstreams/1", nodes, 3);
    publish(0);
    assert_int_equal(targets(0), 3);
    unsigned known = 0;
    for (unsigned i = 0; i < 3; i++)
        if (target_nth(0, i) == t)
            known++;
    assert_int_equal(known, 1);
    assert_int_equal(health_of(t->peer).state, HEALTH_UNHEALTHY);
    assert_true(t->busy);
    /* The probe that was under way still counts. */
    peer_send(under_way, OK);
    UNTIL(health_of(t->peer).state == HEALTH_HEALTHY);
    /* The same node twice is one. */
    nodes[1] = nodes[2] = nodes[0];
    publish(0);
    assert_int_equal(targets(0), 1);
    close(other);
    close(third);
}

static void test_node_goes(void **state)
{
    struct node other;
    int fd = listen_here(16, 0);

    (void)state;
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    start();
    probe_answered(BAD);
    struct addr addr = addr_here(w.nodes[0].port);
    struct peer_set *set = peer_set_get(w.peers, STR("/upstreams/1"));
    struct peer *held = peer_get(w.peers, set, STR("127.0.0.1"), &addr, now());
    assert_true(peer_is_down(held));
    struct remote *under_way = probe_taken();
    other = node_here(fd);
    w.upstreams[0].nodes = &other;
    publish(0);
    UNTIL(peer_ended(under_way));
    assert_int_equal(w.p->running, target_nth(0, 0)->busy); /* the other's */
    /* Whoever still has it does not go on thinking that it is down. */
    assert_false(peer_is_down(held));
    STAYS(accept(w.listener, NULL, NULL) < 0, 50);
    peer_put(w.peers, held);
    peer_set_put(w.peers, set);
    close(fd);
}

static void test_upstream_goes(void **state)
{
    (void)state;
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    upstream_set(1, "/upstreams/2", w.nodes, 1);
    start();
    struct remote *under_way = probe_taken(), *other = probe_taken();
    w.slots[0] = NULL;
    publish(0);
    w.upstreams[1].checks = NULL;
    publish(1);
    UNTIL(peer_ended(under_way) && peer_ended(other));
    assert_null(w.p->slots[0]);
    assert_null(w.p->slots[1]);
    STAYS(accept(w.listener, NULL, NULL) < 0, 50);
    /* Another takes the slot. */
    upstream_set(0, "/routes/1", w.nodes, 1);
    publish(0);
    probe_answered(OK);
}

/* What changed in a snapshot that was not seen is found all the same. */
static void test_missed_snapshot(void **state)
{
    (void)state;
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    start();
    w.slots[0] = NULL;
    upstream_set(5, "/upstreams/5", w.nodes, 1);
    upstream_set(6, "/upstreams/6", w.nodes, 1);
    w.s.version += 2;
    w.s.checks.since = w.s.version - 1;
    w.s.checks.n = 1;
    w.changed[0] = 6;
    snapshot_get(&w.s);
    prober_publish(w.p, &w.s);
    UNTIL(atomic_load(&w.s.refs) == 1);
    assert_null(w.p->slots[0]);
    assert_int_equal(targets(5) + targets(6), 2);
}

static void test_nothing_changed(void **state)
{
    (void)state;
    start();
    w.s.checks.n = 0;
    snapshot_get(&w.s);
    prober_publish(w.p, &w.s);
    assert_int_equal(atomic_load(&w.s.refs), 1); /* given back at once, no message */
}

/* ---- Names ---- */

static void hosts_file(const char *text)
{
    char path[] = "/tmp/eclusa-hosts-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    setenv("CARES_HOSTS", path, 1);
}

static void test_names(void **state)
{
    (void)state;
    listen_everywhere();
    hosts_file("127.0.0.7 two.test\n127.0.0.8 two.test\n");
    w.nodes[0] = node_here(w.listener);
    w.nodes[0].host = STR("two.test");
    w.nodes[0].is_ip = false;
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    start();
    UNTIL(targets(0) == 2);
    struct remote *peer = probe_taken();
    assert_true(peer_has(peer, "\r\nHost: two.test\r\n"));
    peer_send(peer, BAD);
    UNTIL((state_nth(0) == HEALTH_UNHEALTHY) +
          (health_of(CONTAINER(target_nth(0, 0)->link.next, struct target, link)->peer).state ==
           HEALTH_UNHEALTHY));
    unlink(getenv("CARES_HOSTS"));
}

static void test_name_unknown(void **state)
{
    (void)state;
    hosts_file("");
    w.nodes[0].host = STR("not-there.invalid");
    w.nodes[0].is_ip = false;
    w.nodes[1] = node_here(w.listener);
    upstream_set(0, "/upstreams/1", w.nodes, 2);
    start();
    probe_answered(OK);
    assert_int_equal(targets(0), 1);
    /* It goes while it is looked up, or not. */
    w.nodes[0] = w.nodes[1];
    w.upstreams[0].nnodes = 1;
    publish(0);
    assert_int_equal(w.p->slots[0]->nnodes, 1);
    unlink(getenv("CARES_HOSTS"));
}

/* ---- What others see ---- */

struct seen {
    unsigned n;
    char text[256];
};

static void see(void *to, const struct prober_node *n)
{
    struct seen *s = to;

    s->n++;
    snprintf(s->text, sizeof(s->text), "%.*s %.*s %d %.*s %s %u %u %u %u", STR_ARG(n->host),
             STR_ARG(n->ip), n->port == port_of(w.listener), STR_ARG(n->host_header),
             health_state_name(n->health.state), n->health.counts[0], n->health.counts[1],
             n->health.counts[2], n->health.counts[3]);
}

static void test_nodes_seen(void **state)
{
    struct seen s = {0};

    (void)state;
    w.checks.active.http_failures = 2;
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    start();
    probe_answered(BAD);
    prober_nodes(w.p, STR("/upstreams/1"), see, &s);
    assert_int_equal(s.n, 1);
    assert_string_equal(s.text, "127.0.0.1 127.0.0.1 1  mostly_healthy 0 1 0 0");
    w.checks.host = STR("check.test");
    w.checks.port = 7;
    w.upstreams[0].pass_host = PASS_HOST_REWRITE;
    w.upstreams[0].upstream_host = STR("up.test");
    publish(0);
    prober_nodes(w.p, STR("/upstreams/1"), see, &s);
    assert_string_equal(s.text, "check.test 127.0.0.1 0 up.test mostly_healthy 0 1 0 0");
    s.n = 0;
    prober_nodes(w.p, STR("/upstreams/2"), see, &s);
    w.slots[0] = NULL;
    publish(0);
    prober_nodes(w.p, STR("/upstreams/1"), see, &s);
    assert_int_equal(s.n, 0);
}

/* Without descriptors nobody is to blame. */
static void test_no_descriptors(void **state)
{
    struct rlimit files, none;

    (void)state;
    upstream_set(0, "/upstreams/1", w.nodes, 1);
    start();
    getrlimit(RLIMIT_NOFILE, &files);
    none = (struct rlimit){0, files.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    UNTIL(w.p->starved_ms);
    STAYS(state_nth(0) == HEALTH_HEALTHY, 50);
    setrlimit(RLIMIT_NOFILE, &files);
    probe_answered(BAD);
    assert_int_equal(state_nth(0), HEALTH_UNHEALTHY);
}

static void silent(enum log_level level, struct str line)
{
    (void)level;
    (void)line;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_request),
        TEST(test_hosts),
        TEST(test_body),
        TEST(test_answers),
        TEST(test_endless_head),
        TEST(test_broken_connections),
        TEST(test_timeouts),
        TEST(test_tcp),
        TEST(test_port_override),
        TEST(test_ipv6),
        TEST(test_concurrency),
        TEST(test_all_bounded),
        TEST(test_spread),
        TEST(test_intervals),
        TEST(test_recovery_only),
        TEST(test_state_stays),
        TEST(test_node_goes),
        TEST(test_upstream_goes),
        TEST(test_missed_snapshot),
        TEST(test_nothing_changed),
        TEST(test_names),
        TEST(test_name_unknown),
        TEST(test_nodes_seen),
        TEST(test_no_descriptors),
    };

    hash_setup();
    log_setup(silent, LOG_EMERG);
    setenv("CARES_HOSTS", "/dev/null", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
