/* SPDX-License-Identifier: Apache-2.0 */
/* Slabs: pieces apart and in place, taken and given back in any order; memory that is not used any
 * more goes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/slab.h"

enum { PIECES = 60000, ROUNDS = 400000 };

struct piece {
    unsigned char *p;
    size_t n;
};

static uint64_t seed = 88172645463325252ull;

static uint32_t next_random(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32) % below;
}

/* A piece's content follows from its place in the table, so any overlap shows. */
static unsigned char mark(size_t i)
{
    return (unsigned char)(i * 31 + 7);
}

static void take(struct slabs *s, struct piece *pieces, size_t i)
{
    struct piece *one = &pieces[i];

    one->n = 1 + next_random(SLAB_MAX);
    one->p = slab_take(s, one->n);
    assert_int_equal((uintptr_t)one->p % 16, 0);
#ifndef ARENA_MALLOC
    if (one->n <= 64)
        assert_true((uintptr_t)one->p % 64 + one->n <= 64);
#endif
    memset(one->p, mark(i), one->n);
}

static void give(struct piece *pieces, size_t i)
{
    struct piece *one = &pieces[i];

    for (size_t k = 0; k < one->n; k++)
        assert_int_equal(one->p[k], mark(i));
    slab_give(one->p);
    one->p = NULL;
}

static void test_any_order(void **state)
{
    static struct piece pieces[PIECES];
    struct slabs s;

    (void)state;
    slabs_init(&s);
    for (int i = 0; i < ROUNDS; i++) {
        size_t at = next_random(PIECES);
        if (pieces[at].p)
            give(pieces, at);
        else
            take(&s, pieces, at);
    }
#ifndef ARENA_MALLOC
    size_t most = s.nregions;
    assert_true(most > 2);
#endif
    for (size_t i = 0; i < PIECES; i++)
        if (pieces[i].p)
            give(pieces, i);
    assert_int_equal(s.taken, 0);
#ifndef ARENA_MALLOC
    /* Each size keeps a block, the regions without any are gone. */
    assert_true(s.nregions < most);
#endif
    slab_give(NULL);
    slabs_fini(&s);
}

/* What is given back is taken next. */
static void test_again(void **state)
{
    struct slabs s;

    (void)state;
    slabs_init(&s);
    void *keep = slab_take(&s, 40);
#ifndef ARENA_MALLOC
    void *p = slab_take(&s, 40);
    slab_give(p);
    assert_ptr_equal(slab_take(&s, 64), p);
    slab_give(p);
    assert_int_equal(s.taken, 1);
#endif
    slab_give(keep);
    slabs_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
