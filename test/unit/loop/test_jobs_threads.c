/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of threads: each job runs once and comes back on its own loop, threads start as work
 * asks for them and never more than allowed, and freeing the pool sees everything through. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "loop/jobs.h"

enum { THREADS = 4, LOOPS = 3, POSTERS = 4, JOBS = 500 };

/* A loop on a thread of its own, which ends when it has seen `expected` jobs done. */
struct side {
    struct loop loop;
    pthread_t thread;
    int done, expected;
};

struct work {
    struct job job;
    struct side *side;
    pthread_t worked, posted;
    int number, runs;
    struct shared *shared;
};

struct shared {
    struct jobs *pool;
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    int running, most, order[JOBS], ordered;
    bool open; /* jobs that wait may go on */
    atomic_int finished;
    struct side sides[LOOPS];
};

static void shared_init(struct shared *s, unsigned threads)
{
    *s = (struct shared){.pool = jobs_new(threads)};
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->moved, NULL);
}

static void *side_main(void *arg)
{
    struct side *side = arg;

    loop_run(&side->loop);
    return NULL;
}

static void work_count(struct job *j)
{
    struct work *w = (struct work *)j;
    struct shared *s = w->shared;

    pthread_mutex_lock(&s->mutex);
    s->running++;
    s->most = s->running > s->most ? s->running : s->most;
    pthread_mutex_unlock(&s->mutex);
    w->worked = pthread_self();
    w->runs++;
    pthread_mutex_lock(&s->mutex);
    s->running--;
    pthread_mutex_unlock(&s->mutex);
}

static void done_on_side(struct job *j)
{
    struct work *w = (struct work *)j;
    struct side *side = w->side;

    assert_true(pthread_equal(pthread_self(), side->thread));
    assert_false(pthread_equal(w->worked, side->thread));
    assert_int_equal(w->runs, 1);
    free(w);
    if (++side->done == side->expected)
        loop_stop(&side->loop);
}

struct poster {
    struct shared *shared;
    pthread_t thread;
    int index;
};

static void *poster_main(void *arg)
{
    struct poster *p = arg;

    for (int i = 0; i < JOBS; i++) {
        struct work *w = mem_zero(sizeof(*w));
        w->shared = p->shared;
        w->side = &p->shared->sides[(i + p->index) % LOOPS];
        w->job = (struct job){.loop = &w->side->loop, .work = work_count, .done = done_on_side};
        jobs_run(p->shared->pool, &w->job);
    }
    return NULL;
}

static void test_many(void **state)
{
    struct shared s;
    struct poster posters[POSTERS];

    (void)state;
    shared_init(&s, THREADS);
    for (int i = 0; i < POSTERS; i++)
        for (int k = 0; k < JOBS; k++)
            s.sides[(k + i) % LOOPS].expected++;
    for (int i = 0; i < LOOPS; i++)
        assert_true(loop_init(&s.sides[i].loop));
    for (int i = 0; i < LOOPS; i++)
        pthread_create(&s.sides[i].thread, NULL, side_main, &s.sides[i]);
    for (int i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.shared = &s, .index = i};
        pthread_create(&posters[i].thread, NULL, poster_main, &posters[i]);
    }
    for (int i = 0; i < POSTERS; i++)
        pthread_join(posters[i].thread, NULL);
    for (int i = 0; i < LOOPS; i++)
        pthread_join(s.sides[i].thread, NULL);
    jobs_free(s.pool);
    for (int i = 0; i < LOOPS; i++) {
        assert_int_equal(s.sides[i].done, s.sides[i].expected);
        loop_fini(&s.sides[i].loop);
    }
    assert_in_range(s.most, 1, THREADS);
}

/* Waits until as many jobs run as there may be threads: ends only if so many threads were started.
 */
static void work_gather(struct job *j)
{
    struct work *w = (struct work *)j;
    struct shared *s = w->shared;

    pthread_mutex_lock(&s->mutex);
    s->running++;
    s->most = s->running > s->most ? s->running : s->most;
    pthread_cond_broadcast(&s->moved);
    while (s->most < THREADS)
        pthread_cond_wait(&s->moved, &s->mutex);
    s->running--;
    pthread_mutex_unlock(&s->mutex);
}

static void done_at_once(struct job *j)
{
    struct work *w = (struct work *)j;

    assert_false(pthread_equal(pthread_self(), w->posted));
    atomic_fetch_add(&w->shared->finished, 1);
    free(w);
}

static void post(struct shared *s, void (*work)(struct job *j), int number)
{
    struct work *w = mem_zero(sizeof(*w));

    w->shared = s;
    w->number = number;
    w->posted = pthread_self();
    w->job = (struct job){.work = work, .done = done_at_once};
    jobs_run(s->pool, &w->job);
}

static void test_threads_start(void **state)
{
    struct shared s;

    (void)state;
    shared_init(&s, THREADS);
    for (int i = 0; i < 3 * THREADS; i++)
        post(&s, work_gather, i);
    jobs_free(s.pool);
    assert_int_equal(s.most, THREADS);
    assert_int_equal(atomic_load(&s.finished), 3 * THREADS);
}

static void work_in_order(struct job *j)
{
    struct work *w = (struct work *)j;
    struct shared *s = w->shared;

    pthread_mutex_lock(&s->mutex);
    while (!s->open)
        pthread_cond_wait(&s->moved, &s->mutex);
    s->order[s->ordered++] = w->number;
    pthread_mutex_unlock(&s->mutex);
}

/* One thread: first in, first out; and freeing the pool waits for what is queued. */
static void test_order(void **state)
{
    struct shared s;

    (void)state;
    shared_init(&s, 1);
    for (int i = 0; i < JOBS; i++)
        post(&s, work_in_order, i);
    assert_int_equal(atomic_load(&s.finished), 0);
    pthread_mutex_lock(&s.mutex);
    s.open = true;
    pthread_cond_broadcast(&s.moved);
    pthread_mutex_unlock(&s.mutex);
    jobs_free(s.pool);
    assert_int_equal(atomic_load(&s.finished), JOBS);
    for (int i = 0; i < JOBS; i++)
        assert_int_equal(s.order[i], i);
}

static void work_breeds(struct job *j)
{
    struct work *w = (struct work *)j;

    if (w->number > 0) {
        struct work *child = mem_zero(sizeof(*child));
        *child = (struct work){
            .shared = w->shared,
            .number = w->number - 1,
            .posted = w->posted,
            .job = {.work = work_breeds, .done = done_at_once},
        };
        jobs_run(w->shared->pool, &child->job);
    }
}

/* Work that queues work is seen through too, while the pool is being freed. */
static void test_breeding(void **state)
{
    struct shared s;

    (void)state;
    shared_init(&s, THREADS);
    for (int i = 0; i < 20; i++)
        post(&s, work_breeds, 10);
    jobs_free(s.pool);
    assert_int_equal(atomic_load(&s.finished), 20 * 11);
}

static void done_after_free(struct job *j)
{
    struct work *w = (struct work *)j;

    w->side->done++;
    if (w->side->done == w->side->expected)
        loop_stop(&w->side->loop);
    free(w);
}

/* What the pool had posted reaches a loop that turns only afterwards. */
static void test_done_after_free(void **state)
{
    struct shared s;
    struct side *side = &s.sides[0];

    (void)state;
    shared_init(&s, 2);
    assert_true(loop_init(&side->loop));
    side->expected = 50;
    for (int i = 0; i < side->expected; i++) {
        struct work *w = mem_zero(sizeof(*w));
        w->shared = &s;
        w->side = side;
        w->job = (struct job){.loop = &side->loop, .work = work_count, .done = done_after_free};
        jobs_run(s.pool, &w->job);
        assert_int_equal(side->done, 0);
    }
    jobs_free(s.pool);
    assert_int_equal(side->done, 0);
    loop_run(&side->loop);
    assert_int_equal(side->done, 50);
    loop_fini(&side->loop);
}

static void test_unused(void **state)
{
    (void)state;
    jobs_free(jobs_new(3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many),   cmocka_unit_test(test_threads_start),
        cmocka_unit_test(test_order),  cmocka_unit_test(test_breeding),
        cmocka_unit_test(test_unused), cmocka_unit_test(test_done_after_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
