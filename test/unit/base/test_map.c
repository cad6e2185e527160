/* SPDX-License-Identifier: Apache-2.0 */
/* The hash table against a list of what must be in it, through growth, deletion and shrinking, with
 * hashes that collide. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/map.h"

enum { KEYS = 5000, ROUNDS = 300000 };

struct thing {
    uint32_t key;
    bool in;
};

static struct thing things[KEYS];
static uint64_t seed = 88172645463325252ull;

static uint32_t next_random(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32) % below;
}

/* Few different ones, with runs that wrap around the end of the table. */
static uint64_t hash_of(uint32_t key)
{
    return key % 7 == 0 ? UINT32_MAX - key % 3 : key * 2654435761u;
}

static bool same(const void *value, const void *key)
{
    return ((const struct thing *)value)->key == *(const uint32_t *)key;
}

static void check_all(const struct map *m, size_t n)
{
    size_t at = 0, seen = 0;
    const struct thing *t;

    assert_int_equal(m->n, n);
    for (uint32_t i = 0; i < KEYS; i++)
        assert_ptr_equal(map_get(m, hash_of(i), same, &i), things[i].in ? &things[i] : NULL);
    while ((t = map_next(m, &at)) != NULL) {
        assert_true(t->in);
        seen++;
    }
    assert_int_equal(seen, n);
}

static void any_order(void **state)
{
    struct map m = {0};
    size_t n = 0;

    (void)state;
    for (uint32_t i = 0; i < KEYS; i++)
        things[i] = (struct thing){.key = i};
    for (int round = 0; round < ROUNDS; round++) {
        /* Now mostly in, now mostly out. */
        struct thing *t = &things[next_random(round / 50000 % 2 ? KEYS / 50 : KEYS)];
        bool wanted = next_random(10) < (round / 50000 % 2 ? 2u : 8u);
        if (wanted && !t->in)
            map_add(&m, hash_of(t->key), t);
        if (!wanted && t->in)
            map_remove(&m, hash_of(t->key), t);
        n += (size_t)wanted - (size_t)t->in;
        t->in = wanted;
        if (round % 20000 == 0)
            check_all(&m, n);
    }
    check_all(&m, n);
    for (uint32_t i = 0; i < KEYS; i++)
        if (things[i].in) {
            things[i].in = false;
            map_remove(&m, hash_of(i), &things[i]);
            assert_true(m.cap <= 16 || m.n >= m.cap / 8);
        }
    assert_null(m.values);
    map_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_order)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
