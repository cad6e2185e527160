/* SPDX-License-Identifier: Apache-2.0 */
/* One compiled pattern used by several threads at once; each has match data of its own, and leaves
 * none behind. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/regex.h"

enum { THREADS = 4, ROUNDS = 2000 };

static struct regex *shared;
static struct regex_template with;

static void *work(void *arg)
{
    unsigned *good = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        char subject[64], want[64];
        struct regex_groups g;
        struct buf out;
        size_t n = (size_t)snprintf(subject, sizeof(subject), "/user/%u/item/%u", i, i * 7);
        size_t m = (size_t)snprintf(want, sizeof(want), "%u-%u", i * 7, i);
        buf_init(&out, 256);
        *good += regex_match(shared, str_make(subject, n), 0, &g) == 1 && g.n == 3 &&
                 regex_replace(shared, str_make(subject, n), &with, true, &out) == 1 &&
                 str_eq(buf_str(&out), str_make(want, m));
        buf_fini(&out);
    }
    return NULL;
}

static void shared_by_threads(void **state)
{
    pthread_t threads[THREADS];
    unsigned good[THREADS] = {0};
    struct regex_error err;
    struct arena a;

    (void)state;
    arena_init(&a, NULL);
    shared = regex_new(STR("^/user/(\\d+)/item/(\\d+)$"), STR("jo"), &err);
    assert_non_null(shared);
    assert_true(regex_template_parse(&a, STR("$2-$1"), &with, &err));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &good[i]), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(good[i], ROUNDS);
    regex_free(shared);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shared_by_threads)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
