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

enum { NAMES = 4 };

static struct fake_name {
    struct dns_name name;
    enum dns_status status;
    struct addr addrs[300];
    char host[32];
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

enum dns_status dns_status(struct dns *d, struct dns_name *name)
{
    (void)d;
    return CONTAINER(name, struct fake_name, name)->status;
}

/* ---- Upstreams
 * -------------------------------------------------------------------------------- */

static struct live *live;

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
    struct live_env env = {0};

    (void)state;
    nnames = 0;
    live = live_new(NULL, &env);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    live_free(live);
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
    assert_int_equal(live_endpoints(live, &u), 0);
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
