/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners, the event loop of a worker, and the counters' two paths. */
#include "server.h"

#include "conn.h"
#include "reply.h"
#include "routes.h"
#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 512

struct sim_conf sim;

static struct worker **workers;
static pthread_t *threads;
static atomic_bool stopping;

/* ---- the loop ---- */

static void accept_all(struct worker *w, int side)
{
    for (int i = 0; i < 64; i++) {
        int fd = accept4(w->listen_fd[side], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE) {
                fputs("llm-sim: out of file descriptors\n", stderr);
                usleep(10000);
            }
            return;
        }
        conn_open(w, fd, side ? tls_new(fd) : NULL);
    }
}

static void bury(struct worker *w)
{
    while (w->grave) {
        struct conn *c = w->grave;
        w->grave = c->next;
        free(c);
    }
}

static void run_ready(struct worker *w)
{
    struct conn *list = w->ready;
    w->ready = NULL;
    while (list) {
        struct conn *c = list;
        list = c->next;
        c->queued = false;
        if (c->state == CONN_CLOSED) {
            c->next = w->grave;
            w->grave = c;
        } else {
            conn_run(c);
        }
    }
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct epoll_event ev[EVENTS];
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        int wait = w->ready ? 0 : timers_wait(&w->timers, timers_clock());
        int n = epoll_wait(w->ep, ev, EVENTS, wait);
        w->now = timers_clock();
        for (int i = 0; i < n; i++) {
            void *p = ev[i].data.ptr;
            if (p == &w->listen_fd[0] || p == &w->listen_fd[1])
                accept_all(w, p == &w->listen_fd[1]);
            else if (p != &w->stop_fd)
                conn_event(p, ev[i].events);
        }
        timers_run(&w->timers, w->now, conn_timer, w);
        run_ready(w);
        bury(w);
    }
    conn_close_all(w);
    run_ready(w);
    bury(w);
    plain_fini();
    return NULL;
}

/* ---- listeners ---- */

static int listen_on(int *port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    if (inet_pton(AF_INET, sim.addr, &sa.sin_addr) != 1) {
        fprintf(stderr, "llm-sim: '%s' is not an IPv4 address\n", sim.addr);
        return -1;
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (sim.workers > 1)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* accepted sockets inherit it */
    socklen_t len = sizeof sa;
    if (bind(fd, (struct sockaddr *)&sa, len) != 0 || listen(fd, 4096) != 0) {
        fprintf(stderr, "llm-sim: cannot listen on %s:%d: %s\n", sim.addr, *port, strerror(errno));
        close(fd);
        return -1;
    }
    getsockname(fd, (struct sockaddr *)&sa, &len);
    *port = ntohs(sa.sin_port);
    return fd;
}

static void watch(struct worker *w, int *fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = fd};
    epoll_ctl(w->ep, EPOLL_CTL_ADD, *fd, &ev);
}

static void worker_free(struct worker *w)
{
    for (int i = 0; i < 2; i++)
        if (w->listen_fd[i] >= 0)
            close(w->listen_fd[i]);
    close(w->stop_fd);
    close(w->ep);
    buf_free(&w->out);
    buf_free(&w->event);
    buf_free(&w->text);
    buf_free(&w->extra);
    free(w);
}

static struct worker *worker_new(unsigned index)
{
    struct worker *w = sim_alloc(sizeof *w);
    w->index = index;
    w->ep = epoll_create1(EPOLL_CLOEXEC);
    w->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    watch(w, &w->stop_fd);
    timers_init(&w->timers);
    w->now = timers_clock();
    w->listen_fd[0] = w->listen_fd[1] = -1;
    int *port[2] = {&sim.port, &sim.tls_port};
    for (int i = 0; i < 2; i++) {
        if (*port[i] < 0)
            continue;
        w->listen_fd[i] = listen_on(port[i]);
        if (w->listen_fd[i] < 0) {
            worker_free(w);
            return NULL;
        }
        watch(w, &w->listen_fd[i]);
    }
    return w;
}

bool server_start(void)
{
    workers = sim_alloc(sim.workers * sizeof *workers);
    threads = sim_alloc(sim.workers * sizeof *threads);
    for (unsigned i = 0; i < sim.workers; i++)
        if (!(workers[i] = worker_new(i)))
            return false;
    for (unsigned i = 0; i < sim.workers; i++) {
        int err = pthread_create(&threads[i], NULL, worker_main, workers[i]);
        if (err) {
            fprintf(stderr, "llm-sim: cannot start a thread: %s\n", strerror(err));
            return false;
        }
    }
    return true;
}

void server_stop(void)
{
    atomic_store(&stopping, true);
    for (unsigned i = 0; i < sim.workers; i++) {
        uint64_t one = 1;
        if (write(workers[i]->stop_fd, &one, sizeof one) < 0)
            perror("llm-sim: write");
        pthread_join(threads[i], NULL);
    }
    for (unsigned i = 0; i < sim.workers; i++)
        worker_free(workers[i]);
    free(workers);
    free(threads);
    fault_reset();
}

/* ---- /sim ---- */

static uint64_t total(size_t offset)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < sim.workers; i++) {
        const char *base = (const char *)&workers[i]->stats;
        sum += atomic_load_explicit((const _Atomic uint64_t *)(const void *)(base + offset),
                                    memory_order_relaxed);
    }
    return sum;
}

/* What /sim/reset subtracts: other threads' counters are theirs alone to write. Any worker may read
 * and set these. */
static struct stats base;

#define X(name) {#name, offsetof(struct stats, name)},
static const struct {
    const char *name;
    size_t offset;
} stat_rows[] = {SIM_STATS(X)};
#undef X

static bool is_gauge(const char *name)
{
    size_t n = strlen(name);
    return n > 5 && strcmp(name + n - 5, "_open") == 0;
}

static _Atomic uint64_t *base_of(size_t i)
{
    return (_Atomic uint64_t *)(void *)((char *)&base + stat_rows[i].offset);
}

void server_stats(struct conn *c, const struct request *r, struct slice body)
{
    struct buf *b = &c->w->text;
    (void)r;
    (void)body;
    b->n = 0;
    for (size_t i = 0; i < sizeof stat_rows / sizeof *stat_rows; i++)
        buf_fmt(b, "%s\"%s\":%llu", i ? "," : "{", stat_rows[i].name,
                (unsigned long long)(total(stat_rows[i].offset) - atomic_load(base_of(i))));
    buf_str(b, "}\n");
    reply_json(c, 200, b);
}

void server_reset(struct conn *c, const struct request *r, struct slice body)
{
    (void)r;
    (void)body;
    fault_reset();
    for (size_t i = 0; i < sizeof stat_rows / sizeof *stat_rows; i++)
        if (!is_gauge(stat_rows[i].name))
            atomic_store(base_of(i), total(stat_rows[i].offset));
    reply_full(c, 200, TYPE_JSON, SLICE("{}\n"));
}
