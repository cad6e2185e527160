/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop: wait, messages, events, timers, put-off work, burials; again. */
#include "loop/loop.h"

#include <errno.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"

enum { EVENTS_MAX = 256 };

static int64_t clock_us(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void read_clocks(struct loop *loop)
{
    loop->now_us = clock_us(CLOCK_MONOTONIC);
    loop->now_ms = loop->now_us / 1000;
    loop->wall_ms = clock_us(CLOCK_REALTIME) / 1000;
}

bool loop_init(struct loop *loop)
{
    *loop = (struct loop){.epfd = epoll_create1(EPOLL_CLOEXEC),
                          .wakefd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    read_clocks(loop);
    timers_init(&loop->timers, loop->now_ms);
    list_init(&loop->tasks);
    list_init(&loop->graveyard);
    if (loop->epfd < 0 || loop->wakefd < 0)
        return false;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    return epoll_ctl(loop->epfd, EPOLL_CTL_ADD, loop->wakefd, &ev) == 0;
}

static void bury_all(struct loop *loop)
{
    while (!list_empty(&loop->graveyard)) {
        struct grave *g = CONTAINER(loop->graveyard.next, struct grave, link);
        list_remove(&g->link);
        g->release(g);
    }
}

void loop_fini(struct loop *loop)
{
    bury_all(loop);
    /* A message may have run before its sender was done with waking us. */
    while (atomic_load_explicit(&loop->posting, memory_order_acquire))
        sched_yield();
    close(loop->epfd);
    close(loop->wakefd);
}

void loop_stop(struct loop *loop)
{
    loop->stop = true;
}

static bool watch(struct loop *loop, struct io *io, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = io};

    return epoll_ctl(loop->epfd, EPOLL_CTL_ADD, io->fd, &ev) == 0;
}

bool loop_watch(struct loop *loop, struct io *io)
{
    return watch(loop, io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

bool loop_watch_level(struct loop *loop, struct io *io, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = io};

    if (epoll_ctl(loop->epfd, EPOLL_CTL_MOD, io->fd, &ev) == 0)
        return true;
    return errno == ENOENT && watch(loop, io, events);
}

static void on_event_gone(struct io *io, uint32_t events)
{
    (void)io;
    (void)events;
}

void loop_unwatch(struct loop *loop, struct io *io)
{
    epoll_ctl(loop->epfd, EPOLL_CTL_DEL, io->fd, NULL);
    io->on_event = on_event_gone;
}

void loop_bury(struct loop *loop, struct grave *g, void (*release)(struct grave *g))
{
    g->release = release;
    list_append(&loop->graveyard, &g->link);
}

void loop_post(struct loop *loop, struct message *m)
{
    atomic_fetch_add_explicit(&loop->posting, 1, memory_order_relaxed);
    struct message *head = atomic_load_explicit(&loop->inbox, memory_order_relaxed);
    do {
        m->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&loop->inbox, &head, m, memory_order_acq_rel,
                                                    memory_order_relaxed));
    if (!head) {
        uint64_t one = 1;
        ssize_t n = write(loop->wakefd, &one, sizeof(one));
        (void)n; /* a full counter is a wake-up too */
    }
    atomic_fetch_sub_explicit(&loop->posting, 1, memory_order_release);
}

static inline void flush(struct loop *loop)
{
    if (loop->flush)
        loop->flush(loop);
}

static void run_messages(struct loop *loop)
{
    struct message *m, *in_order = NULL;

    if (!atomic_load_explicit(&loop->inbox, memory_order_relaxed))
        return;
    m = atomic_exchange_explicit(&loop->inbox, NULL, memory_order_acq_rel);
    while (m) {
        struct message *next = m->next;
        m->next = in_order;
        in_order = m;
        m = next;
    }
    while (in_order) {
        m = in_order;
        in_order = m->next;
        m->run(m);
        flush(loop);
    }
}

/* Tasks that defer themselves again run in the next turn, so that sockets get theirs in between. */
static void run_tasks(struct loop *loop)
{
    struct list now;

    if (list_empty(&loop->tasks))
        return;
    now = loop->tasks;
    now.next->prev = now.prev->next = &now;
    list_init(&loop->tasks);
    while (!list_empty(&now)) {
        struct task *t = CONTAINER(now.next, struct task, link);
        list_remove(&t->link);
        t->run(t);
        flush(loop);
    }
}

static int wait_ms(const struct loop *loop)
{
    int64_t next;

    if (!list_empty(&loop->tasks) || loop->stop)
        return 0;
    next = timers_next(&loop->timers);
    if (next == INT64_MAX)
        return -1;
    int64_t ms = next - loop->now_ms;
    if (ms < 0)
        return 0;
    return ms > 3600000 ? 3600000 : (int)ms;
}

static void turn(struct loop *loop)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(loop->epfd, events, EVENTS_MAX, wait_ms(loop));

    if (n < 0) {
        ASSERT(errno == EINTR);
        n = 0;
    }
    read_clocks(loop);
    run_messages(loop);
    for (int i = 0; i < n; i++) {
        struct io *io = events[i].data.ptr;
        if (!io) /* wakefd: edge-triggered, so its counter need not be read */
            continue;
        io->on_event(io, events[i].events);
        flush(loop);
    }
    timers_run(&loop->timers, loop->now_ms);
    flush(loop);
    run_tasks(loop);
    if (!list_empty(&loop->graveyard))
        bury_all(loop);
}

void loop_run(struct loop *loop)
{
    while (!loop->stop)
        turn(loop);
}
