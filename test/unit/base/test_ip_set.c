/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled networks against the plain list of them. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/ip_set.c"
#include "base/mem.h"

static struct cidr cidr(const char *text)
{
    struct cidr c;

    if (!cidr_parse(str_of(text), &c))
        fail_msg("%s is no network", text);
    return c;
}

struct probe {
    const char *address;
    bool in;
};

static void check(const char *const *networks, size_t n, const struct probe *probes)
{
    struct cidr list[16];
    struct arena a;

    arena_init(&a, NULL);
    for (size_t i = 0; i < n; i++)
        list[i] = cidr(networks[i]);
    const struct ip_set *s = ip_set_new(&a, list, n);
    for (; probes->address; probes++) {
        struct cidr at = cidr(probes->address);
        if (ip_set_has(s, &at) != probes->in)
            fail_msg("%s", probes->address);
    }
    arena_fini(&a);
}

static void edges(void **state)
{
    static const char *const networks[] = {
        "10.1.2.3/8", "11.0.0.0", "127.0.0.0/24",  "127.0.0.7",
        "fe80::/32",  "::1",      "2001:db8::/64", "2001:db8:0:0:8000::/65"};
    static const struct probe probes[] = {
        {"9.255.255.255", false},
        {"10.0.0.0", true},
        {"10.255.255.255", true},
        {"11.0.0.0", true},
        {"11.0.0.1", false},
        {"127.0.0.255", true},
        {"127.0.1.0", false},
        {"0.0.0.0", false},
        {"255.255.255.255", false},
        {"::", false},
        {"::1", true},
        {"::2", false},
        {"fe80::1:1", true},
        {"fe80:0:ffff::", true},
        {"fe80:1::", false},
        {"fe7f:ffff::", false},
        {"2001:db8::8000:0:0:1", true},
        {"2001:db8:0:1::", false},
        {"::ffff:10.0.0.1", false},
        {NULL, false},
    };

    (void)state;
    check(networks, 8, probes);
}

static void everything_and_nothing(void **state)
{
    static const char *const v4[] = {"0.0.0.0/0"}, *const v6[] = {"::/0"};
    static const struct probe only_v4[] = {
        {"0.0.0.0", true}, {"255.255.255.255", true}, {"::", false}, {NULL, false}};
    static const struct probe only_v6[] = {{"0.0.0.0", false},
                                           {"::", true},
                                           {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true},
                                           {NULL, false}};
    static const struct probe none[] = {{"0.0.0.0", false}, {"::", false}, {NULL, false}};

    (void)state;
    check(v4, 1, only_v4);
    check(v6, 1, only_v6);
    check(NULL, 0, none);
}

static uint64_t seed = 88172645463325252ull;

static uint32_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
}

/* Few different bytes, so that networks overlap and addresses hit. */
static struct cidr random_cidr(bool single)
{
    struct cidr c = {.v6 = next_random() % 2};
    unsigned bits = c.v6 ? 128 : 32;

    for (unsigned i = 0; i < bits / 8; i++)
        c.address[i] = (uint8_t)((next_random() % 3) * 0x7f);
    c.bits = (uint8_t)(single ? bits : next_random() % (bits + 1));
    if (!single && c.bits < 4)
        c.bits = (uint8_t)bits;
    return c;
}

static void as_the_plain_list(void **state)
{
    unsigned hits = 0;

    (void)state;
    for (int round = 0; round < 200; round++) {
        struct cidr list[40];
        unsigned n = next_random() % 40;
        for (unsigned i = 0; i < n; i++)
            list[i] = random_cidr(false);
        struct arena a;
        arena_init(&a, NULL);
        const struct ip_set *s = ip_set_new(&a, list, n);
        const struct cidr_list plain = {list, n};
        for (int i = 0; i < 200; i++) {
            struct cidr at = random_cidr(true);
            bool in = cidr_list_has(&plain, &at);
            hits += in;
            assert_int_equal(ip_set_has(s, &at), in);
        }
        arena_fini(&a);
    }
    assert_in_range(hits, 1000, 39000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edges),
        cmocka_unit_test(everything_and_nothing),
        cmocka_unit_test(as_the_plain_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
