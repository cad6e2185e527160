/* SPDX-License-Identifier: Apache-2.0 */
/* Counters in windows: a table of buckets, each two neighbouring cache lines of four slots. A key
 * lives in one bucket only, and looks in its own line first.
 *
 * A slot is a key and a state, both atomic. Whoever finds its key moves the state with a
 * compare-and-swap and nothing else. Only putting a key in takes the bucket's bit (the lowest of
 * its first key): two threads must not put the same key in twice. The bit is held for some dozen
 * instructions, never across a call that could wait. */
#include "plugin/limit_table.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/panic.h"

enum { LINE_SLOTS = 4, BUCKET_SLOTS = 2 * LINE_SLOTS, TICK_MS = 10, COUNT_BITS = 30 };

struct slot {
    /* 0: never used. The lowest bit is not the key's: in a bucket's first slot it is the bit. */
    _Atomic uint64_t key;
    /* Expiry in ticks (34 bits, going round) and count. 0: the slot is changing hands. */
    _Atomic uint64_t state;
};

struct limit_table {
    struct slot *slots;
    uint64_t mask; /* of lines */
    size_t bytes;
};

_Static_assert(sizeof(struct slot) == LIMIT_COUNTER_SIZE, "a counter is two words");

struct limit_table *limit_table_new(size_t counters)
{
    struct limit_table *t = mem_alloc(sizeof(*t));
    size_t n = 64;

    while (n < counters && n < (size_t)1 << 40)
        n *= 2;
    t->mask = n / LINE_SLOTS - 1;
    t->bytes = n * sizeof(struct slot);
    void *p = mmap(NULL, t->bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        PANIC("no memory for the table of counters");
    /* A huge page would hold memory for counters that nobody uses. */
    madvise(p, t->bytes, MADV_NOHUGEPAGE);
    t->slots = p;
    return t;
}

void limit_table_free(struct limit_table *t)
{
    if (!t)
        return;
    munmap(t->slots, t->bytes);
    free(t);
}

size_t limit_table_size(const struct limit_table *t)
{
    return (t->mask + 1) * LINE_SLOTS;
}

/* ---- States -----------------------------------------------------------------------------------
 */

static uint64_t state_make(uint64_t expiry, uint64_t count)
{
    return expiry << COUNT_BITS | count;
}

static uint32_t state_count(uint64_t state)
{
    return (uint32_t)(state & LIMIT_COUNT_MAX);
}

/* Ticks until the expiry; 0 or less: it is over. Ticks go round: the difference of two that are
 * less than half a round apart is right. */
static int64_t state_left(uint64_t state, uint64_t now)
{
    uint64_t difference = (state >> COUNT_BITS) - now;

    return (int64_t)(difference << COUNT_BITS) >> COUNT_BITS;
}

/* ---- Slots ------------------------------------------------------------------------------------
 */

/* The i-th slot of the key's bucket, its own line first. */
static struct slot *slot_at(const struct limit_table *t, uint64_t key, unsigned i)
{
    uint64_t line = (key >> 1) & t->mask;

    return &t->slots[(line ^ (i / LINE_SLOTS)) * LINE_SLOTS + i % LINE_SLOTS];
}

/* The slot that has the key, and a state of that key; NULL: none has. */
static struct slot *find(const struct limit_table *t, uint64_t key, uint64_t *state)
{
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        struct slot *s = slot_at(t, key, i);
        uint64_t found = atomic_load(&s->key) & ~(uint64_t)1;
        if (found != key)
            continue;
        *state = atomic_load(&s->state);
        /* The key is written while the state is 0: the same key before and after a state means
         * that the state was the key's. */
        if (*state && (atomic_load(&s->key) & ~(uint64_t)1) == key)
            return s;
    }
    return NULL;
}

static _Atomic uint64_t *bucket_bit(const struct limit_table *t, uint64_t key)
{
    return &t->slots[((key >> 1) & t->mask & ~(uint64_t)1) * LINE_SLOTS].key;
}

static void bucket_take(const struct limit_table *t, uint64_t key)
{
    _Atomic uint64_t *bit = bucket_bit(t, key);

    for (unsigned tries = 1; atomic_fetch_or(bit, 1) & 1; tries++)
        if (tries % 64 == 0)
            sched_yield(); /* its holder has lost the processor */
}

static void bucket_give(const struct limit_table *t, uint64_t key)
{
    atomic_fetch_and(bucket_bit(t, key), ~(uint64_t)1);
}

/* A slot for a new key, its state 0: one never used, else one that is over, else the one that would
 * be over soonest. The bucket's bit is held. */
static struct slot *make_room(const struct limit_table *t, uint64_t key, uint64_t now)
{
    for (;;) {
        struct slot *best = NULL;
        uint64_t best_state = 0;
        int64_t best_left = INT64_MAX;
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            struct slot *s = slot_at(t, key, i);
            uint64_t state = atomic_load(&s->state);
            if (!state)
                return s; /* only we change slots while we hold the bit: never used */
            if (state_left(state, now) < best_left) {
                best_left = state_left(state, now);
                best_state = state;
                best = s;
            }
        }
        if (atomic_compare_exchange_strong(&best->state, &best_state, 0))
            return best;
    }
}

/* Puts the key in with its first count; false: it is there already. */
static bool insert(const struct limit_table *t, uint64_t key, uint64_t now, uint64_t state)
{
    uint64_t other;

    bucket_take(t, key);
    bool there = find(t, key, &other) != NULL;
    if (!there) {
        struct slot *s = make_room(t, key, now);
        uint64_t bit = &s->key == bucket_bit(t, key);
        atomic_store(&s->key, key | bit);
        atomic_store(&s->state, state);
    }
    bucket_give(t, key);
    return !there;
}

/* ---- Counting ---------------------------------------------------------------------------------
 */

/* The lowest bit is the bucket's; a key of 0 would be a slot never used. */
static uint64_t key_clean(uint64_t key)
{
    key &= ~(uint64_t)1;
    return key ? key : 2;
}

static struct limit_tally tally(uint64_t state, int64_t now_ms, bool added, bool fresh)
{
    int64_t left = state_left(state, (uint64_t)(now_ms / TICK_MS)) * TICK_MS - now_ms % TICK_MS;

    return (struct limit_tally){
        .count = state_count(state), .added = added, .fresh = fresh, .left_ms = left};
}

struct limit_tally limit_table_add(struct limit_table *t, uint64_t key, int64_t now_ms,
                                   int64_t window_ms, uint32_t cost, uint32_t below)
{
    ASSERT(cost > 0 && now_ms >= 0 && window_ms > 0);
    if (window_ms > LIMIT_WINDOW_MAX_MS - TICK_MS)
        window_ms = LIMIT_WINDOW_MAX_MS - TICK_MS;
    if (cost > LIMIT_COUNT_MAX)
        cost = LIMIT_COUNT_MAX;
    uint64_t now = (uint64_t)(now_ms / TICK_MS), state;
    uint64_t first = state_make((uint64_t)((now_ms + window_ms + TICK_MS - 1) / TICK_MS), cost);

    key = key_clean(key);
    for (;;) {
        struct slot *s = find(t, key, &state);
        if (!s) {
            if (below == 0)
                return (struct limit_tally){.fresh = true, .left_ms = window_ms};
            if (insert(t, key, now, first))
                return tally(first, now_ms, true, true);
            continue;
        }
        bool over = state_left(state, now) <= 0;
        uint32_t count = over ? 0 : state_count(state);
        if (count >= below)
            return over ? (struct limit_tally){.fresh = true, .left_ms = window_ms}
                        : tally(state, now_ms, false, false);
        uint64_t next = first;
        if (!over)
            next = state + (cost < LIMIT_COUNT_MAX - count ? cost : LIMIT_COUNT_MAX - count);
        /* A key that was thrown out and another with the very same expiry and count put in its
         * place, all between find and here, would be counted once too often: a bucket that full
         * forgets counts anyway. */
        if (next == state || atomic_compare_exchange_weak(&s->state, &state, next))
            return tally(next, now_ms, true, over);
    }
}

uint32_t limit_table_get(struct limit_table *t, uint64_t key, int64_t now_ms)
{
    uint64_t state;

    if (!find(t, key_clean(key), &state))
        return 0;
    return state_left(state, (uint64_t)(now_ms / TICK_MS)) > 0 ? state_count(state) : 0;
}
