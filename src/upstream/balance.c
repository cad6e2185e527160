/* SPDX-License-Identifier: Apache-2.0 */
/* Weights that begin small, tiers by priority, and a chooser for each kind of balancing. */
#include "upstream/balance.h"

#include <arpa/inet.h>
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/panic.h"
#include "base/random.h"
#include "upstream/ewma.h"

/* A weight of 1 in fractions: room for a thousandth of it, shared by many addresses. Weights are at
 * most 2^24. */
enum { SHARE = 1 << 16 };

/* ---- The list ---- */

struct endpoints *balance_new(const struct upstream *u, unsigned max)
{
    struct endpoints *e = mem_zero(sizeof(*e) + max * sizeof(struct endpoint));

    e->kind = u->balance;
    e->warm_up = u->warm_up;
    return e;
}

void balance_free(struct endpoints *e)
{
    free(e);
}

static int by_priority(const void *one, const void *two)
{
    const struct endpoint *a = one, *b = two;

    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    return a->node != b->node ? (a->node < b->node ? -1 : 1) : 0;
}

void balance_sort(struct endpoints *e)
{
    qsort(e->list, e->n, sizeof(*e->list), by_priority);
}

int64_t balance_share(int weight, unsigned n)
{
    int64_t share = (int64_t)weight * SHARE / n;

    return share ? share : 1;
}

uint64_t balance_hash(struct str host, const struct addr *addr)
{
    const void *address = &addr->in.sin_addr;
    size_t n = sizeof(addr->in.sin_addr);
    uint16_t port = addr->in.sin_port;

    if (addr->sa.sa_family == AF_INET6) {
        address = &addr->in6.sin6_addr;
        n = sizeof(addr->in6.sin6_addr);
        port = addr->in6.sin6_port;
    }
    return hash_stable(host) * 31 ^ hash_stable(str_make(address, n)) ^
           ((uint64_t)ntohs(port) << 47);
}

/* ---- What peers say ---- */

/* Its weight now, and in *again when that is worth another look. After Envoy's slow start, as
 * APISIX has it since 3.19: the share of the window that has passed, bent by `aggression`. */
static int64_t ramp(const struct warm_up *w, const struct endpoint *e, int64_t now_ms,
                    int64_t *again)
{
    int64_t serves = atomic_load_explicit(&e->peer->serves_ms, memory_order_relaxed);
    int64_t passed = now_ms - serves;

    if (!serves || passed >= w->window_ms || serves - e->peer->set->started_ms < w->grace_ms)
        return e->full;
    if (now_ms + w->interval_ms < *again)
        *again = now_ms + w->interval_ms;
    /* The first second counts from the start: nothing begins at 0. */
    double share = (double)(passed < 1000 ? 1000 : passed) / (double)w->window_ms;
    share = w->aggression == 1 ? share : pow(share, 1 / w->aggression);
    share = share < w->min_share ? w->min_share : share > 1 ? 1 : share;
    int64_t weight = (int64_t)((double)e->full * share);
    return weight ? weight : 1;
}

void balance_look(struct endpoints *e, const struct peer_set *set, int64_t now_ms)
{
    unsigned changes = set ? atomic_load_explicit(&set->changes, memory_order_acquire) : 0;

    if (e->looked && changes == e->changes && now_ms < e->ramp_ms)
        return;
    e->looked = true;
    e->changes = changes;
    e->ramp_ms = INT64_MAX;
    e->all_down = true;
    for (unsigned i = 0; i < e->n; i++) {
        struct endpoint *one = &e->list[i];
        one->down = one->peer && peer_is_down(one->peer);
        e->all_down &= one->down;
        one->weight = e->warm_up && one->peer ? ramp(e->warm_up, one, now_ms, &e->ramp_ms)
                                              : one->full;
    }
}

/* ---- The choice ---- */

static bool is_open(const struct endpoints *e, const struct tried *t, unsigned i)
{
    return (!e->list[i].down || e->all_down) && !was_tried(t, i);
}

bool balance_tier(const struct endpoints *e, const struct tried *t, struct tier *out)
{
    unsigned from = 0;

    while (from < e->n && !is_open(e, t, from))
        from++;
    if (from == e->n)
        return false;
    out->from = out->to = from;
    while (out->to < e->n && e->list[out->to].priority == e->list[from].priority)
        out->to++;
    return true;
}

/* Smooth weighted round robin (nginx's): each candidate gains its weight, the largest is chosen and
 * pays the total. */
static unsigned choose_roundrobin(struct endpoints *e, const struct tried *t, struct tier tier)
{
    unsigned best = tier.to;
    int64_t total = 0;

    for (unsigned i = tier.from; i < tier.to; i++) {
        if (!is_open(e, t, i))
            continue;
        total += e->list[i].weight;
        e->list[i].current += e->list[i].weight;
        if (best == tier.to || e->list[i].current > e->list[best].current)
            best = i;
    }
    e->list[best].current -= total;
    return best;
}

/* The least requests under way for its weight (APISIX: (active + 1) / weight); those that are equal
 * take turns. */
static unsigned choose_least_conn(struct endpoints *e, const struct tried *t, struct tier tier)
{
    double least = INFINITY;
    unsigned best = tier.to;
    int64_t total = 0;

    for (unsigned i = tier.from; i < tier.to; i++) {
        struct endpoint *one = &e->list[i];
        if (!is_open(e, t, i))
            continue;
        one->score = (double)(peer_active(one->peer) + 1) / (double)one->weight;
        least = one->score < least ? one->score : least;
    }
    for (unsigned i = tier.from; i < tier.to; i++) {
        struct endpoint *one = &e->list[i];
        if (!is_open(e, t, i) || one->score > least)
            continue;
        total += one->weight;
        one->current += one->weight;
        if (best == tier.to || one->current > e->list[best].current)
            best = i;
    }
    e->list[best].current -= total;
    return best;
}

/* The nth that is open; n counts from 0. */
static unsigned nth_open(const struct endpoints *e, const struct tried *t, struct tier tier,
                         unsigned n)
{
    for (unsigned i = tier.from;; i++)
        if (is_open(e, t, i) && n-- == 0)
            return i;
}

/* The faster one of two taken at random. APISIX: weights do not matter. */
static unsigned choose_ewma(struct endpoints *e, const struct tried *t, struct tier tier,
                            int64_t now_ms)
{
    unsigned open = 0;

    for (unsigned i = tier.from; i < tier.to; i++)
        open += is_open(e, t, i);
    if (open == 1)
        return nth_open(e, t, tier, 0);
    unsigned a = random_below(open), b = random_below(open - 1);
    b += b >= a;
    a = nth_open(e, t, tier, a);
    b = nth_open(e, t, tier, b);
    double score_a = ewma_score(e->list[a].peer, now_ms);
    return score_a > ewma_score(e->list[b].peer, now_ms) ? b : a;
}

/* MurmurHash3's last step (Appleby): each bit of the input changes half of the output's. */
static uint64_t mixed(uint64_t h)
{
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdull;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ull;
    return h ^ h >> 33;
}

/* Rendezvous hashing (Thaler, Ravishankar 1998), weighted (Schindelhauer, Schomaker 2005): each
 * endpoint draws a number from the key, and the best for its weight takes it. A key moves only when
 * its endpoint goes or a new one draws better; what is tried or down leaves its keys to all others.
 * Nothing is built when nodes change, and the order of nodes does not matter. */
static unsigned choose_chash(struct endpoints *e, const struct tried *t, struct tier tier)
{
    unsigned best = tier.to;
    uint64_t best_drawn = 0;
    bool equal = true;

    for (unsigned i = tier.from; i < tier.to; i++) {
        if (!is_open(e, t, i))
            continue;
        equal &= best == tier.to || e->list[i].full == e->list[best].full;
        uint64_t drawn = mixed(t->key ^ e->list[i].hash);
        if (best == tier.to || drawn > best_drawn) {
            best = i;
            best_drawn = drawn;
        }
    }
    if (equal)
        return best;
    double least = INFINITY;
    for (unsigned i = tier.from; i < tier.to; i++) {
        if (!is_open(e, t, i))
            continue;
        /* In (0, 1): 53 bits are what a double holds. */
        double drawn = ((double)(mixed(t->key ^ e->list[i].hash) >> 11) + 0.5) * 0x1p-53;
        double score = -log(drawn) / (double)e->list[i].full;
        if (score < least) {
            least = score;
            best = i;
        }
    }
    return best;
}

struct endpoint *balance_choose(struct endpoints *e, struct tried *t, struct tier tier,
                                int64_t now_ms)
{
    unsigned chosen = tier.to;

    switch (e->kind) {
    case BALANCE_ROUNDROBIN:
        chosen = choose_roundrobin(e, t, tier);
        break;
    case BALANCE_LEAST_CONN:
        chosen = choose_least_conn(e, t, tier);
        break;
    case BALANCE_EWMA:
        chosen = choose_ewma(e, t, tier, now_ms);
        break;
    case BALANCE_CHASH:
        chosen = choose_chash(e, t, tier);
        break;
    }
    ASSERT(chosen < tier.to);
    tried_add(t, chosen, &e->list[chosen].addr);
    return &e->list[chosen];
}
