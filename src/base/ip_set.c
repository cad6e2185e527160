/* SPDX-License-Identifier: Apache-2.0 */
/* Networks as sorted, disjoint ranges of addresses. */
#include "base/ip_set.h"

#include <stdlib.h>

/* Addresses as numbers in host order; IPv4 in the low half. */
struct number {
    uint64_t high, low;
};

struct range {
    struct number first, last;
};

struct side {
    struct range *ranges;
    size_t n;
};

struct ip_set {
    struct side v4, v6;
};

static int number_cmp(struct number a, struct number b)
{
    if (a.high != b.high)
        return a.high < b.high ? -1 : 1;
    return a.low < b.low ? -1 : a.low > b.low;
}

static uint64_t big_endian(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static struct number number_of(const struct cidr *c)
{
    if (!c->v6)
        return (struct number){0, big_endian(c->address, 4)};
    return (struct number){big_endian(c->address, 8), big_endian(c->address + 8, 8)};
}

/* The low n bits set, n up to 64. */
static uint64_t ones(unsigned n)
{
    return n == 0 ? 0 : UINT64_MAX >> (64 - n);
}

static struct range range_of(const struct cidr *c)
{
    unsigned host = (c->v6 ? 128u : 32u) - c->bits;
    struct number mask = {ones(host > 64 ? host - 64 : 0), ones(host > 64 ? 64 : host)};
    struct number at = number_of(c);

    return (struct range){{at.high & ~mask.high, at.low & ~mask.low},
                          {at.high | mask.high, at.low | mask.low}};
}

static int range_cmp(const void *a, const void *b)
{
    const struct range *x = a, *y = b;

    return number_cmp(x->first, y->first);
}

/* Sorts, and joins what overlaps. */
static void side_finish(struct side *s)
{
    size_t n = 0;

    if (s->n == 0)
        return;
    qsort(s->ranges, s->n, sizeof(*s->ranges), range_cmp);
    for (size_t i = 1; i < s->n; i++) {
        struct range *last = &s->ranges[n];
        if (number_cmp(s->ranges[i].first, last->last) > 0)
            s->ranges[++n] = s->ranges[i];
        else if (number_cmp(s->ranges[i].last, last->last) > 0)
            last->last = s->ranges[i].last;
    }
    s->n = n + 1;
}

struct ip_set *ip_set_new(struct arena *a, const struct cidr *networks, size_t n)
{
    struct ip_set *s = arena_zero(a, sizeof(*s));
    size_t v6 = 0;

    for (size_t i = 0; i < n; i++)
        v6 += networks[i].v6;
    s->v4.ranges = arena_alloc(a, (n - v6) * sizeof(struct range));
    s->v6.ranges = arena_alloc(a, v6 * sizeof(struct range));
    for (size_t i = 0; i < n; i++) {
        struct side *side = networks[i].v6 ? &s->v6 : &s->v4;
        side->ranges[side->n++] = range_of(&networks[i]);
    }
    side_finish(&s->v4);
    side_finish(&s->v6);
    return s;
}

bool ip_set_has(const struct ip_set *s, const struct cidr *address)
{
    const struct side *side = address->v6 ? &s->v6 : &s->v4;
    struct number at = number_of(address);
    size_t low = 0, high = side->n;

    /* The first range that begins behind the address; the one before it may hold it. */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (number_cmp(side->ranges[middle].first, at) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && number_cmp(at, side->ranges[low - 1].last) <= 0;
}
