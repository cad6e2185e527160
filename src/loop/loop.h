/* SPDX-License-Identifier: Apache-2.0 */
/* One thread's world: an epoll set (edge-triggered, each descriptor registered once), timers, an
 * inbox for messages from other threads, and work put off to the end of the turn. Nothing here is
 * shared but the inbox. */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/list.h"
#include "loop/timer.h"

/* What epoll watches. Embedded in its owner; must outlive the turn in which it is removed: owners
 * free themselves by loop_bury. */
struct io {
    int fd;
    /* events: EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR. */
    void (*on_event)(struct io *io, uint32_t events);
};

/* Work put off until the end of this turn. Embedded; linked at most once. */
struct task {
    struct list link;
    void (*run)(struct task *t);
};

/* From another thread. The sender gives the memory away with it; `run` frees it. */
struct message {
    struct message *next;
    void (*run)(struct message *m);
};

struct loop {
    int epfd, wakefd;
    int64_t now_ms;  /* monotonic, read once a turn */
    int64_t wall_ms; /* since 1970, read once a turn */
    int64_t now_us;  /* monotonic, for latencies; read once a turn */
    struct timers timers;
    struct list tasks;
    struct list graveyard;
    _Atomic(struct message *) inbox;
    atomic_uint posting; /* threads inside loop_post */
    /* When set, called after each callback: what was written in it goes out (loop/sock). */
    void (*flush)(struct loop *loop);
    void *flush_arg;
    bool stop;
    void *owner; /* the thread's own context, for callbacks */
};

/* False when the kernel refuses descriptors. */
bool loop_init(struct loop *loop) __attribute__((warn_unused_result));
void loop_fini(struct loop *loop);
/* Runs turns until loop_stop. */
void loop_run(struct loop *loop);
/* Ends loop_run after this turn; on the loop's own thread. */
void loop_stop(struct loop *loop);

/* Watches io->fd for input and output, edge-triggered, until loop_unwatch. */
bool loop_watch(struct loop *loop, struct io *io) __attribute__((warn_unused_result));
/* Level-triggered, for listeners and foreign descriptors (c-ares); events as for epoll. */
bool loop_watch_level(struct loop *loop, struct io *io, uint32_t events)
    __attribute__((warn_unused_result));
/* The descriptor may be closed afterwards; an event of this turn no longer reaches io. */
void loop_unwatch(struct loop *loop, struct io *io);

static inline void task_init(struct task *t, void (*run)(struct task *t))
{
    t->run = run;
    list_init(&t->link);
}
/* Runs the task at the end of this turn (or of the next, when called from a task). Queued twice:
 * runs once. */
static inline void loop_defer(struct loop *loop, struct task *t)
{
    if (list_empty(&t->link))
        list_append(&loop->tasks, &t->link);
}
static inline void task_cancel(struct task *t)
{
    list_remove(&t->link);
}
/* free()s the memory that holds `grave` as its first member when this turn is over: stale events
 * may still name it until then. */
struct grave {
    struct list link;
    void (*release)(struct grave *g);
};
void loop_bury(struct loop *loop, struct grave *g, void (*release)(struct grave *g));

/* From any thread: m->run runs on the loop's thread, before any event that becomes ready after this
 * call. */
void loop_post(struct loop *loop, struct message *m);

static inline void loop_timer(struct loop *loop, struct timer *t, int64_t after_ms)
{
    timer_set(&loop->timers, t, loop->now_ms + after_ms);
}

#endif
