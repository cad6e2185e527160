/* SPDX-License-Identifier: Apache-2.0 */
/* The choice among endpoints: weights, priorities, names with several addresses, tries, and what
 * stays when the configuration changes. Names are answered here, not by a resolver. */
#include "upstream/live.c" /* NOLINT: for its state */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <arpa/inet.h>

/* ---- A resolver of our own, in place of upstream/dns.c
 * ------------------------------------------- */

enum { NAMES = 8 };

static struct fake_name {
    struct dns_name name;
    enum dns_status status;
    struct addr addrs[300];
    char host[32];
    int users;
} names[NAMES];
static unsigned nnames;

static struct fake_name *fake(const char *host)
{
    for (unsigned i = 0; i < nnames; i++)
        if (strcmp(names[i].host, host) == 0)
            return &names[i];
    struct fake_name *n = &names[nnames++];
    memset(n, 0, sizeof(*n));
    snprintf(n->host, sizeof(n->host), "%s", host);
    n->name.host = str_of(n->host);
    n->name.addrs = n->addrs;
    n->status = DNS_PENDING;
    return n;
}

/* 10.0.SET.1 … 10.0.SET.n */
static void resolve(const char *host, unsigned set, unsigned n)
{
    struct fake_name *f = fake(host);

    for (unsigned i = 0; i < n; i++) {
        memset(&f->addrs[i], 0, sizeof(f->addrs[i]));
        f->addrs[i].in.sin_family = AF_INET;
        f->addrs[i].in.sin_addr.s_addr = htonl(0x0a000000 + (set << 8) + i + 1);
    }
    f->name.naddrs = n;
    f->name.generation++;
    f->status = DNS_READY;
}

struct dns_name *dns_name(struct dns *d, struct str host)
{
    char text[32];

    (void)d;
    snprintf(text, sizeof(text), "%.*s", STR_ARG(host));
    return &fake(text)->name;
}

struct dns_name *dns_service(struct dns *d, struct str name)
{
    char text[40];

    (void)d;
    snprintf(text, sizeof(text), "SRV %.*s", STR_ARG(name));
    return &fake(text)->name;
}

void dns_name_hold(struct dns_name *name)
{
    CONTAINER(name, struct fake_name, name)->users++;
}

void dns_name_drop(struct dns_name *name)
{
    struct fake_name *f = CONTAINER(name, struct fake_name, name);

    assert_true(f->users > 0);
    f->users--;
}

enum dns_status dns_status(struct dns *d, struct dns_name *name)
{
    (void)d;
    return CONTAINER(name, struct fake_name, name)->status;
}

/* ---- Upstreams
 * -------------------------------------------------------------------------------- */

static struct live *live;
static struct peers *peers;
static struct thread thread; /* its clock is all that is used */

static struct node node(const char *host, int weight, int priority)
{
    struct addr ignored;

    return (struct node){.host = str_of(host),
                         .address = str_of(host),
                         .port = 80,
                         .is_ip = addr_parse(str_of(host), 80, &ignored),
                         .weight = weight,
                         .priority = priority};
}

#define UPSTREAM(slot_, hash_, ...)                                              \
    {                                                                            \
        .slot = (slot_), .hash = (hash_), .nodes = (struct node[]){__VA_ARGS__}, \
        .nnodes = sizeof((struct node[]){__VA_ARGS__}) / sizeof(struct node)     \
    }

static int setup(void **state)
{
    (void)state;
    nnames = 0;
    peers = peers_new();
    struct live_env env = {.peers = peers};
    thread.loop.now_ms = 1000000;
    live = live_new(&thread, &env);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    live_free(live);
    peers_free(peers);
    for (unsigned i = 0; i < nnames; i++)
        assert_int_equal(names[i].users, 0);
    return 0;
}

/* The next choice as the last number of its address; 0: none, 1000: wait, 2000: unresolved. */
static unsigned pick(const struct upstream *u, struct tried *tried)
{
    struct tried fresh = {0};
    struct dns_name *wait;
    struct pick p;

    switch (live_pick(live, u, tried ? tried : &fresh, &p, &wait)) {
    case PICK_OK:
        assert_int_equal(p.addr.in.sin_port, htons(p.node->port));
        assert_null(wait);
        return ntohl(p.addr.in.sin_addr.s_addr) & 0xff;
    case PICK_WAIT:
        assert_non_null(wait);
        return 1000;
    case PICK_UNRESOLVED:
        return 2000;
    case PICK_NONE:
        break;
    }
    return 0;
}

static const char *sequence(const struct upstream *u, unsigned n)
{
    static char text[256];
    size_t at = 0;

    for (unsigned i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%u", i ? " " : "", pick(u, NULL));
    return text;
}

/* ---- Weights
 * ---------------------------------------------------------------------------------- */

/* nginx's sequences (ngx_http_upstream_get_peer): a a b a c a a for 5, 1, 1. */
static void test_smooth(void **state)
{
    const struct upstream u = UPSTREAM(0, 1, node("10.0.0.1", 5, 0), node("10.0.0.2", 1, 0),
                                       node("10.0.0.3", 1, 0));
    const struct upstream v = UPSTREAM(1, 2, node("10.0.0.1", 3, 0), node("10.0.0.2", 2, 0));
    const struct upstream w = UPSTREAM(2, 3, node("10.0.0.1", 1, 0), node("10.0.0.2", 1, 0),
                                       node("10.0.0.3", 1, 0));

    (void)state;
    assert_string_equal(sequence(&u, 14), "1 1 2 1 3 1 1 1 1 2 1 3 1 1");
    assert_string_equal(sequence(&v, 10), "1 2 1 2 1 1 2 1 2 1");
    assert_string_equal(sequence(&w, 6), "1 2 3 1 2 3");
}

static void test_shares(void **state)
{
    const struct upstream u = UPSTREAM(7, 1, node("10.0.0.1", 100, 0), node("10.0.0.2", 33, 0),
                                       node("10.0.0.3", 0, 0), node("10.0.0.4", 7, 0),
                                       node("10.0.0.5", 1, 0));
    unsigned count[8] = {0};

    (void)state;
    for (unsigned i = 0; i < 141 * 3; i++)
        count[pick(&u, NULL)]++;
    assert_int_equal(count[1], 300);
    assert_int_equal(count[2], 99);
    assert_int_equal(count[3], 0);
    assert_int_equal(count[4], 21);
    assert_int_equal(count[5], 3);
    assert_int_equal(live_endpoints(live, &u), 4);
}

static void test_none(void **state)
{
    const struct upstream empty = {.slot = 0, .hash = 1};
    const struct upstream off = UPSTREAM(1, 2, node("10.0.0.1", 0, 0));
    const struct upstream all_off = UPSTREAM(2, 3, node("10.0.0.1", 0, 0), node("a.test", 0, 0));

    (void)state;
    assert_int_equal(pick(&empty, NULL), 0);
    assert_int_equal(pick(&off, NULL), 0);
    assert_int_equal(pick(&all_off, NULL), 0);
    assert_int_equal(live_endpoints(live, &all_off), 0);
    assert_int_equal(nnames, 1);
}

/* ---- Tries
 * ------------------------------------------------------------------------------------ */

static void test_tried(void **state)
{
    const struct upstream u = UPSTREAM(0, 1, node("10.0.0.1", 5, 0), node("10.0.0.2", 1, 0),
                                       node("10.0.0.3", 1, 0));
    const struct upstream one = UPSTREAM(1, 2, node("10.0.0.9", 1, 0));

    (void)state;
    for (int round = 0; round < 20; round++) {
        struct tried t = {0};
        unsigned seen = 0;
        for (unsigned i = 0; i < 3; i++)
            seen |= 1u << pick(&u, &t);
        assert_int_equal(seen, 0xe); /* each once */
        assert_int_equal(pick(&u, &t), 0);
    }
    struct tried t = {0};
    assert_int_equal(pick(&one, &t), 9);
    assert_int_equal(pick(&one, &t), 0);
    assert_int_equal(live_endpoints(live, &one), 1);
}

static void test_priorities(void **state)
{
    const struct upstream u = UPSTREAM(0, 1, node("10.0.0.1", 1, -1), node("10.0.0.2", 1, 5),
                                       node("10.0.0.3", 1, 5), node("10.0.0.4", 1, 0),
                                       node("10.0.0.5", 0, 9));

    (void)state;
    assert_string_equal(sequence(&u, 6), "2 3 2 3 2 3");
    struct tried t = {0};
    unsigned first = pick(&u, &t), second = pick(&u, &t);
    assert_int_equal(first + second, 5);
    assert_int_equal(pick(&u, &t), 4);
    assert_int_equal(pick(&u, &t), 1);
    assert_int_equal(pick(&u, &t), 0);
}

/* ---- Names
 * ------------------------------------------------------------------------------------ */

static void test_addresses(void **state)
{
    const struct upstream u = UPSTREAM(0, 1, node("a.test", 1, 0));
    const struct upstream mixed = UPSTREAM(1, 2, node("a.test", 1, 0), node("10.0.9.9", 1, 0));

    (void)state;
    assert_int_equal(pick(&u, NULL), 1000);
    assert_int_equal(live_endpoints(live, &u), 1); /* it may have one */
    resolve("a.test", 1, 3);
    assert_string_equal(sequence(&u, 7), "1 2 3 1 2 3 1");
    assert_int_equal(live_endpoints(live, &u), 3);
    struct tried t = {0};
    unsigned seen = 0;
    for (int i = 0; i < 3; i++)
        seen |= 1u << pick(&u, &t);
    assert_int_equal(seen, 0xe);
    assert_int_equal(pick(&u, &t), 0);
    /* A name has its weight once, however many addresses it has. */
    assert_string_equal(sequence(&mixed, 8), "1 9 2 9 3 9 1 9");
    t = (struct tried){0};
    for (int i = 0; i < 4; i++)
        assert_int_not_equal(pick(&mixed, &t), 0);
    assert_int_equal(pick(&mixed, &t), 0);
    /* Fewer addresses than the turn had come to. */
    resolve("a.test", 1, 1);
    assert_string_equal(sequence(&u, 3), "1 1 1");
}

static void test_waiting(void **state)
{
    const struct upstream u = UPSTREAM(0, 1, node("a.test", 1, 0), node("10.0.0.9", 1, 0));
    const struct upstream backup = UPSTREAM(1, 2, node("10.0.0.9", 1, 0), node("b.test", 1, 1));
    const struct upstream both = UPSTREAM(2, 3, node("c.test", 1, 0), node("d.test", 1, 1));
    struct tried t = {0};
    struct dns_name *wait;
    struct pick p;

    (void)state;
    /* Of the same priority: who is there serves. */
    assert_string_equal(sequence(&u, 3), "9 9 9");
    /* A better one that is being looked up is waited for; one that failed is not. */
    assert_int_equal(pick(&backup, NULL), 1000);
    fake("b.test")->status = DNS_FAILED;
    assert_int_equal(pick(&backup, NULL), 9);
    resolve("b.test", 0, 1);
    assert_int_equal(pick(&backup, NULL), 1);
    /* Of two, the better one. */
    assert_int_equal(live_pick(live, &both, &t, &p, &wait), PICK_WAIT);
    assert_ptr_equal(wait, &fake("d.test")->name);
    fake("d.test")->status = DNS_FAILED;
    assert_int_equal(live_pick(live, &both, &t, &p, &wait), PICK_WAIT);
    assert_ptr_equal(wait, &fake("c.test")->name);
    fake("c.test")->status = DNS_FAILED;
    assert_int_equal(pick(&both, NULL), 2000);
    /* When something was tried, that is the reason, not the name. */
    t = (struct tried){.count = 1};
    assert_int_equal(pick(&both, &t), 0);
}

/* What was picked stays as it was, whatever becomes of the name. */
static void test_pick_is_a_copy(void **state)
{
    const struct upstream u = UPSTREAM(0, 1, node("a.test", 1, 0));
    const struct upstream other = UPSTREAM(0, 2, node("10.0.0.7", 1, 0));
    struct tried t = {0};
    struct dns_name *wait;
    struct pick p;

    (void)state;
    resolve("a.test", 3, 2);
    assert_int_equal(live_pick(live, &u, &t, &p, &wait), PICK_OK);
    resolve("a.test", 4, 50);
    pick(&u, NULL);
    pick(&other, NULL);
    assert_int_equal(ntohl(p.addr.in.sin_addr.s_addr), 0x0a000301);
}

static void test_many_endpoints(void **state)
{
    const struct upstream u = UPSTREAM(0, 1, node("a.test", 1, 0), node("b.test", 1, 0));
    struct tried t = {0};

    (void)state;
    resolve("a.test", 0, 200);
    resolve("b.test", 0, 200);
    /* Past the 256th an endpoint may come twice, but none is out of bounds, and it goes on. */
    for (int i = 0; i < 1000; i++)
        assert_in_range(pick(&u, &t), 1, 200);
    assert_int_equal(live_endpoints(live, &u), 400);
}

/* ---- Changes of the configuration
 * ------------------------------------------------------------- */

static void test_equal_upstream_keeps_its_turn(void **state)
{
    struct node one[] = {node("10.0.0.1", 5, 0), node("10.0.0.2", 1, 0), node("10.0.0.3", 1, 0)};
    struct node two[] = {node("10.0.0.1", 5, 0), node("10.0.0.2", 1, 0), node("10.0.0.3", 1, 0)};
    const struct upstream u = {.slot = 0, .hash = 9, .nodes = one, .nnodes = 3};
    const struct upstream same = {.slot = 0, .hash = 9, .nodes = two, .nnodes = 3};
    struct tried t = {0};
    struct dns_name *wait;
    struct pick p;

    (void)state;
    assert_string_equal(sequence(&u, 3), "1 1 2");
    memset(one, 0, sizeof(one)); /* the old configuration is gone */
    assert_string_equal(sequence(&same, 4), "1 3 1 1");
    assert_int_equal(live_pick(live, &same, &t, &p, &wait), PICK_OK);
    assert_true(p.node >= two && p.node < two + 3);
}

static void test_changed_upstream_starts_anew(void **state)
{
    const struct upstream u = UPSTREAM(0, 1, node("10.0.0.1", 5, 0), node("10.0.0.2", 1, 0));
    const struct upstream changed = UPSTREAM(0, 2, node("10.0.0.1", 1, 0), node("10.0.0.2", 1, 0),
                                             node("10.0.0.3", 1, 0));
    struct tried t = {0};

    (void)state;
    assert_string_equal(sequence(&u, 2), "1 1");
    assert_string_equal(sequence(&changed, 6), "1 2 3 1 2 3");
    /* An exchange that began before goes on with what it knew. */
    assert_int_equal(live_endpoints(live, &u), 2);
    assert_int_equal(pick(&u, &t) + pick(&u, &t), 3);
    assert_int_equal(pick(&u, &t), 0);
    assert_string_equal(sequence(&changed, 3), "1 2 3");
}

static void test_slots(void **state)
{
    (void)state;
    for (uint32_t slot = 0; slot < 2000; slot += 37) {
        const struct upstream u = UPSTREAM(slot, slot + 1, node("10.0.0.1", 1, 0),
                                           node("10.0.0.2", 1, 0));
        assert_string_equal(sequence(&u, 3), "1 2 1");
    }
}

/* ---- More than weights in turn
 * ---------------------------------------------------------------- */

#define PEERED(slot_, hash_, kind_, ...)                                                      \
    {                                                                                         \
        .slot = (slot_), .hash = (hash_), .balance = (kind_), .peers = true, .key = {"u", 1}, \
        .nodes = (struct node[]){__VA_ARGS__},                                                \
        .nnodes = sizeof((struct node[]){__VA_ARGS__}) / sizeof(struct node)                  \
    }

static struct peer *picked(const struct upstream *u, struct pick *p)
{
    struct tried t = {.count = 0};
    struct dns_name *wait;

    assert_int_equal(live_pick(live, u, &t, p, &wait), PICK_OK);
    assert_non_null(p->peer);
    return p->peer;
}

static void test_peers_outlive_changes(void **state)
{
    const struct upstream u = PEERED(0, 1, BALANCE_LEAST_CONN, node("10.0.0.1", 1, 0));
    const struct upstream more = PEERED(0, 2, BALANCE_LEAST_CONN, node("10.0.0.2", 1, 0),
                                        node("10.0.0.1", 1, 0));
    struct pick one, two, three;

    (void)state;
    struct peer *peer = picked(&u, &one);
    assert_int_equal(peer_active(peer), 1);
    /* What is under way at .1 counts after the change too. */
    assert_ptr_not_equal(picked(&more, &two), peer);
    peer_begin(two.peer);
    assert_ptr_equal(picked(&more, &three), peer);
    assert_int_equal(peer_active(peer), 2);
    peer_end(peers, two.peer);
    live_done(live, &more, &two, -1);
    live_done(live, &more, &three, -1);
    live_done(live, &u, &one, -1);
    assert_int_equal(peer_active(peer), 0);
}

static void test_names_have_peers(void **state)
{
    const struct upstream u = PEERED(0, 1, BALANCE_ROUNDROBIN, node("a.test", 2, 0),
                                     node("10.0.9.9", 1, 0));
    struct tried t = {.count = 0};
    struct dns_name *wait;
    struct pick p;
    unsigned n[256] = {0};

    (void)state;
    assert_int_equal(live_pick(live, &u, &t, &p, &wait), PICK_OK);
    assert_int_equal(ntohl(p.addr.in.sin_addr.s_addr) & 255, 9);
    assert_false(atomic_load(&p.peer->set->settled)); /* a.test is not known yet */
    live_done(live, &u, &p, -1);
    resolve("a.test", 1, 4);
    for (unsigned i = 0; i < 120; i++) {
        picked(&u, &p);
        n[ntohl(p.addr.in.sin_addr.s_addr) & 255]++;
        live_done(live, &u, &p, -1);
    }
    /* The name has its weight once, its addresses share it. */
    assert_int_equal(n[9], 40);
    for (unsigned i = 1; i <= 4; i++)
        assert_int_equal(n[i], 20);
    assert_true(atomic_load(&picked(&u, &p)->set->settled));
    live_done(live, &u, &p, -1);
    assert_int_equal(live_endpoints(live, &u), 5);
}

/* Whoever asks for the number of endpoints after a failed try may be the first to see a name's new
 * addresses: the choice must see them too. */
static void test_count_does_not_hide_addresses(void **state)
{
    const struct upstream u = PEERED(0, 1, BALANCE_LEAST_CONN, node("a.test", 1, 0));
    struct pick p;

    (void)state;
    resolve("a.test", 1, 1);
    picked(&u, &p);
    assert_int_equal(ntohl(p.addr.in.sin_addr.s_addr), 0x0a000101);
    resolve("a.test", 2, 2);
    assert_int_equal(live_endpoints(live, &u), 2);
    live_done(live, &u, &p, -1);
    picked(&u, &p);
    assert_int_equal(ntohl(p.addr.in.sin_addr.s_addr) >> 8, 0x0a0002);
    live_done(live, &u, &p, -1);
}

/* A name that is found between two tries brings its own addresses, and none back. */
static void test_tried_before_a_name_is_found(void **state)
{
    const struct upstream plain = UPSTREAM(0, 1, node("b.test", 1, 0), node("10.0.0.8", 1, 1),
                                           node("10.0.0.9", 1, 1));
    const struct upstream balanced = PEERED(1, 2, BALANCE_EWMA, node("c.test", 1, 0),
                                            node("10.0.0.8", 1, 1), node("10.0.0.9", 1, 1));
    const struct upstream *const both[] = {&plain, &balanced};

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct tried t = {.count = 0};
        unsigned seen = 0;
        struct dns_name *wait;
        struct pick p;
        for (unsigned k = 0; k < 4; k++) {
            assert_int_equal(live_pick(live, both[i], &t, &p, &wait), PICK_OK);
            seen |= 1u << (ntohl(p.addr.in.sin_addr.s_addr) & 0xff);
            if (p.peer)
                live_done(live, both[i], &p, -1);
            if (k == 0)
                resolve(i ? "c.test" : "b.test", 1, 2);
        }
        assert_int_equal(seen, 1u << 8 | 1u << 9 | 1u << 1 | 1u << 2);
        assert_int_equal(live_pick(live, both[i], &t, &p, &wait), PICK_NONE);
    }
}

/* What was tried are addresses, not their places in a list that is another one by now. */
static void test_tried_before_a_change(void **state)
{
    const struct upstream plain = UPSTREAM(0, 1, node("a.test", 1, 0));
    const struct upstream balanced = PEERED(1, 2, BALANCE_EWMA, node("a.test", 1, 0));
    const struct upstream *const both[] = {&plain, &balanced};

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct tried t = {.count = 0};
        struct dns_name *wait;
        struct pick p;
        resolve("a.test", 1, 1);
        assert_int_equal(live_pick(live, both[i], &t, &p, &wait), PICK_OK);
        if (p.peer)
            live_done(live, both[i], &p, -1);
        assert_int_equal(live_pick(live, both[i], &t, &p, &wait), PICK_NONE);
        resolve("a.test", 2, 1);
        assert_int_equal(live_pick(live, both[i], &t, &p, &wait), PICK_OK);
        assert_int_equal(ntohl(p.addr.in.sin_addr.s_addr), 0x0a000201);
        if (p.peer)
            live_done(live, both[i], &p, -1);
        assert_int_equal(live_pick(live, both[i], &t, &p, &wait), PICK_NONE);
    }
}

static void test_balanced_waits(void **state)
{
    const struct upstream u = PEERED(0, 1, BALANCE_EWMA, node("10.0.0.9", 1, 0),
                                     node("b.test", 1, 1), node("c.test", 1, 2));
    struct tried t = {.count = 0};
    struct dns_name *wait;
    struct pick p;

    (void)state;
    assert_int_equal(live_pick(live, &u, &t, &p, &wait), PICK_WAIT);
    assert_ptr_equal(wait, &fake("c.test")->name);
    fake("c.test")->status = DNS_FAILED;
    assert_int_equal(live_pick(live, &u, &t, &p, &wait), PICK_WAIT);
    assert_ptr_equal(wait, &fake("b.test")->name);
    fake("b.test")->status = DNS_FAILED;
    assert_int_equal(live_pick(live, &u, &t, &p, &wait), PICK_OK);
    live_done(live, &u, &p, 100);
    assert_int_equal(live_pick(live, &u, &t, &p, &wait), PICK_NONE);
}

static void test_follow(void **state)
{
    const struct warm_up warm = {
        .window_ms = 1000, .interval_ms = 1000, .min_share = 1, .aggression = 1};
    struct upstream u = PEERED(3, 1, BALANCE_ROUNDROBIN, node("10.0.0.1", 1, 0),
                               node("10.0.0.2", 1, 0));
    struct upstream less = PEERED(3, 2, BALANCE_ROUNDROBIN, node("10.0.0.1", 1, 0));
    const struct upstream *slots[] = {NULL, NULL, NULL, &less}, *none[] = {NULL, NULL, NULL, NULL};
    struct snapshot s = {.upstreams = slots, .nupstreams = 4};
    struct pick p;

    (void)state;
    u.warm_up = less.warm_up = &warm;
    picked(&u, &p);
    live_done(live, &u, &p, -1);
    struct peer_set *set = peer_set_get(peers, STR("u"));
    struct addr addr;
    assert_true(addr_parse(STR("10.0.0.2"), 80, &addr));
    struct peer *held = peer_get(peers, set, STR("10.0.0.2"), &addr, 9);
    assert_true(atomic_load(&held->serves_ms) == 0); /* it was there from the beginning */
    peer_put(peers, held);
    /* It goes though nobody asks, and is new when it comes again. */
    live_follow(live, &s);
    held = peer_get(peers, set, STR("10.0.0.2"), &addr, 9);
    assert_true(atomic_load(&held->serves_ms) == 9);
    peer_put(peers, held);
    s.upstreams = none;
    live_follow(live, &s);
    peer_set_put(peers, set);
    assert_null(live->slots[3]);
}

/* ---- Services
 * --------------------------------------------------------------------------------- */

static struct srv_record srv(const char *target, unsigned weight, unsigned priority)
{
    return (struct srv_record){.target = str_of(target),
                               .port = 8080,
                               .weight = (uint16_t)weight,
                               .priority = (uint16_t)priority};
}

static void set_records(const char *service, const struct srv_record *records, unsigned n)
{
    struct fake_name *f = fake(service);

    f->name.records = records;
    f->name.nrecords = n;
    f->name.generation++;
    f->status = DNS_READY;
}

static void test_service(void **state)
{
    const struct srv_record first[] = {srv("a.test", 3, 10), srv("b.test", 0, 10), srv("", 1, 0)};
    const struct srv_record second[] = {srv("b.test", 0, 10)};
    struct upstream u = UPSTREAM(0, 1, node("s.test", 1, 0));
    struct tried t = {.count = 0};
    struct dns_name *wait;
    struct pick p;

    (void)state;
    u.discovered = true;
    live->env.discovery.dns = (struct dns *)&u; /* never looked into here */
    live->env.discovery.order = DISCOVER_SRV_ADDRS;
    assert_int_equal(live_pick(live, &u, &t, &p, &wait), PICK_WAIT);
    assert_ptr_equal(wait, &fake("SRV s.test")->name);
    set_records("SRV s.test", first, 3);
    resolve("a.test.", 0, 1);
    resolve("b.test.", 0, 2);
    assert_int_equal(live_pick(live, &u, &t, &p, &wait), PICK_OK);
    assert_int_equal(p.node->port, 8080);
    assert_true(str_eq(p.node->address, STR("a.test:8080")));
    assert_int_equal(p.node->priority, -10);
    unsigned a = 0;
    for (int i = 0; i < 40; i++) {
        t = (struct tried){.count = 0};
        assert_int_equal(live_pick(live, &u, &t, &p, &wait), PICK_OK);
        a += str_eq(p.node->host, STR("a.test"));
    }
    assert_in_range(a, 29, 31); /* three of four */
    set_records("SRV s.test", second, 1);
    t = (struct tried){.count = 0};
    assert_int_equal(live_pick(live, &u, &t, &p, &wait), PICK_OK);
    assert_true(str_eq(p.node->host, STR("b.test")));
    assert_int_equal(live_endpoints(live, &u), 2);
    /* No records: the name's addresses. */
    set_records("SRV s.test", NULL, 0);
    assert_int_equal(pick(&u, NULL), 1000);
    resolve("s.test", 0, 4);
    assert_int_equal(live_pick(live, &u, &t, &p, &wait), PICK_OK);
    assert_ptr_equal(p.node, u.nodes);
    assert_int_equal(live_endpoints(live, &u), 4);
}

/* ---- Pools (the rest of live.c) are upstream/pool's, not needed here. */
struct pool *pools_get(struct pools *p, const struct addr *addr, SSL_CTX *tls,
                       struct str server_name, struct tls_identity *identity)
{
    (void)p;
    (void)addr;
    (void)tls;
    (void)server_name;
    (void)identity;
    return NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_smooth),
        TEST(test_shares),
        TEST(test_none),
        TEST(test_tried),
        TEST(test_priorities),
        TEST(test_addresses),
        TEST(test_waiting),
        TEST(test_pick_is_a_copy),
        TEST(test_many_endpoints),
        TEST(test_equal_upstream_keeps_its_turn),
        TEST(test_changed_upstream_starts_anew),
        TEST(test_slots),
        TEST(test_tried_before_a_name_is_found),
        TEST(test_peers_outlive_changes),
        TEST(test_names_have_peers),
        TEST(test_count_does_not_hide_addresses),
        TEST(test_tried_before_a_change),
        TEST(test_balanced_waits),
        TEST(test_follow),
        TEST(test_service),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
