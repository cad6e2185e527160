/* SPDX-License-Identifier: Apache-2.0 */
/* A pool of threads over one queue; threads start as the work asks for them. */
#include "loop/jobs.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "base/os_thread.h"
#include "base/panic.h"

struct jobs {
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t wake;
    struct job *first, **last;
    unsigned waiting; /* jobs in the queue */
    unsigned idle;    /* threads that wait for one */
    unsigned started, max;
    bool stopping;
    pthread_t threads[];
};

static void on_done_message(struct message *m)
{
    struct job *j = CONTAINER(m, struct job, done_message);

    j->done(j);
}

static void finish(struct job *j)
{
    if (!j->loop) {
        j->done(j);
        return;
    }
    j->done_message.run = on_done_message;
    loop_post(j->loop, &j->done_message);
}

/* The next job; NULL: the pool ends. With the mutex held. */
static struct job *take(struct jobs *p)
{
    while (!p->first) {
        if (p->stopping)
            return NULL;
        p->idle++;
        pthread_cond_wait(&p->wake, &p->mutex);
        p->idle--;
    }
    struct job *j = p->first;
    p->first = j->next;
    if (!p->first)
        p->last = &p->first;
    p->waiting--;
    return j;
}

static void *thread_main(void *arg)
{
    struct jobs *p = arg;
    struct job *j;

    pthread_mutex_lock(&p->mutex);
    while ((j = take(p)) != NULL) {
        pthread_mutex_unlock(&p->mutex);
        j->work(j);
        finish(j);
        pthread_mutex_lock(&p->mutex);
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

/* With the mutex held. */
static void thread_start(struct jobs *p)
{
    if (os_thread_start(&p->threads[p->started], "job", thread_main, p))
        p->started++;
    else if (!p->started)
        PANIC("the system gives no thread");
}

struct jobs *jobs_new(unsigned threads)
{
    ASSERT(threads > 0);
    struct jobs *p = mem_zero(sizeof(*p) + threads * sizeof(*p->threads));

    p->max = threads;
    p->last = &p->first;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
    return p;
}

void jobs_run(struct jobs *p, struct job *j)
{
    j->next = NULL;
    pthread_mutex_lock(&p->mutex);
    *p->last = j;
    p->last = &j->next;
    p->waiting++;
    /* An idle thread that was woken but did not run yet still counts as idle: so compare with all
     * that waits. While stopping, the threads that are there see it through. */
    if (p->waiting > p->idle && p->started < p->max && !p->stopping)
        thread_start(p);
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->mutex);
}

/* No thread is started any more. */
static void stop(struct jobs *p)
{
    pthread_mutex_lock(&p->mutex);
    p->stopping = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->mutex);
}

bool jobs_end(struct jobs *p, int64_t ms)
{
    struct timespec until;

    stop(p);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (p->started) {
        if (pthread_clockjoin_np(p->threads[p->started - 1], NULL, CLOCK_MONOTONIC, &until) != 0)
            return false;
        p->started--;
    }
    jobs_free(p);
    return true;
}

void jobs_free(struct jobs *p)
{
    stop(p);
    for (unsigned i = 0; i < p->started; i++)
        pthread_join(p->threads[i], NULL);
    ASSERT(!p->first);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mutex);
    free(p);
}
