/* SPDX-License-Identifier: Apache-2.0 */
/* A pool of threads for what would block a loop: files, heavy arithmetic. */
#ifndef LOOP_JOBS_H
#define LOOP_JOBS_H

#include "loop/loop.h"

struct jobs;

/* A piece of work. Owned by whoever queued it until done runs. */
struct job {
    struct message done_message; /* private: the way back to the loop */
    struct job *next;            /* private */
    struct loop *loop;           /* where done runs; NULL: on the pool's thread, right after work */
    void (*work)(struct job *j); /* on a thread of the pool */
    void (*done)(struct job *j); /* on the loop's thread, never inside jobs_run; frees the job */
};

/* Threads are started when there is work, at most `threads`. */
struct jobs *jobs_new(unsigned threads);
/* Finishes what is queued (its done messages are posted), ends the threads, frees. */
void jobs_free(struct jobs *p);
/* The same, but gives up after ms: false, and the pool and what its jobs look at must stay until
 * the process ends. */
bool jobs_end(struct jobs *p, int64_t ms) __attribute__((warn_unused_result));
/* Queues the job; from any thread. */
void jobs_run(struct jobs *p, struct job *j);

#endif
