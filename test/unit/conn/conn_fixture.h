/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of connections stand on: a thread whose loop runs in small steps, and peers that are
 * plain sockets on loopback, read between the steps. */
#ifndef TEST_CONN_FIXTURE_H
#define TEST_CONN_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/mem.h"
#include "conn/thread.h"

enum { PATIENCE_MS = 10000, PEERS = 16, PEER_BYTES = 8 << 20 };

/* The other end of a connection. */
struct peer {
    int fd; /* -1: closed */
    bool reading;
    char *in;
    size_t n;
    bool eof, reset;
};

static struct {
    struct thread *t;
    struct peer peers[PEERS];
    unsigned npeers;
    struct timer tick;
} world;

static inline void fixture_on_tick(struct timer *t)
{
    (void)t;
    loop_stop(&world.t->loop);
}

static inline void fixture_setup(void)
{
    signal(SIGPIPE, SIG_IGN);
    world.t = mem_zero(sizeof(*world.t));
    world.npeers = 0;
    assert_true(thread_init(world.t, 0));
    timer_init(&world.tick, fixture_on_tick);
    world.t->limits = (struct conn_limits){
        .head = {.head_bytes = 8192, .uri_bytes = 4096, .headers = 50},
        .keepalive_ms = 5000,
        .head_ms = 5000,
        .body_ms = 5000,
        .send_ms = 5000,
    };
    world.t->upstream_head = (struct h1_limits){.head_bytes = 8192, .headers = 50};
}

static inline void fixture_teardown(void)
{
    for (unsigned i = 0; i < world.npeers; i++) {
        if (world.peers[i].fd >= 0)
            close(world.peers[i].fd);
        free(world.peers[i].in);
    }
    timer_clear(&world.t->loop.timers, &world.tick);
    thread_fini(world.t);
    free(world.t);
}

static inline void peer_read(struct peer *p)
{
    while (p->fd >= 0 && p->reading && !p->eof && !p->reset) {
        assert_true(p->n < PEER_BYTES);
        ssize_t n = recv(p->fd, p->in + p->n, PEER_BYTES - p->n, MSG_DONTWAIT);
        if (n > 0)
            p->n += (size_t)n;
        else if (n == 0)
            p->eof = true;
        else if (errno == EAGAIN)
            return;
        else
            p->reset = true;
    }
}

/* A millisecond of the loop's time, at most. */
static inline void step(void)
{
    loop_timer(&world.t->loop, &world.tick, 1);
    world.t->loop.stop = false;
    loop_run(&world.t->loop);
    for (unsigned i = 0; i < world.npeers; i++)
        peer_read(&world.peers[i]);
}

#define UNTIL(condition)                                               \
    do {                                                               \
        int64_t give_up_ = world.t->loop.now_ms + PATIENCE_MS;         \
        while (!(condition)) {                                         \
            step();                                                    \
            if (world.t->loop.now_ms > give_up_)                       \
                fail_msg("waited %d ms for " #condition, PATIENCE_MS); \
        }                                                              \
    } while (0)

/* The condition holds now and for so many milliseconds. */
#define STAYS(condition, ms)                          \
    do {                                              \
        int64_t until_ = world.t->loop.now_ms + (ms); \
        do {                                          \
            assert_true(condition);                   \
            step();                                   \
        } while (world.t->loop.now_ms < until_);      \
    } while (0)

static inline struct peer *peer_new(int fd)
{
    assert_true(world.npeers < PEERS && fd >= 0);
    struct peer *p = &world.peers[world.npeers++];
    *p = (struct peer){.fd = fd, .reading = true, .in = mem_alloc(PEER_BYTES)};
    return p;
}

/* Connects to a port on loopback; rcvbuf 0: as the system has it. */
static inline struct peer *peer_connect(uint16_t port, int rcvbuf)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (rcvbuf)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf));
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return peer_new(fd);
}

static inline void peer_send_bytes(struct peer *p, struct str s)
{
    while (s.n) {
        ssize_t n = send(p->fd, s.p, s.n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            step();
        else if (n < 0)
            return; /* closed by the other side: what it said is read */
        else
            s = str_from(s, (size_t)n);
    }
}

static inline void peer_send(struct peer *p, const char *text)
{
    peer_send_bytes(p, str_of(text));
}

/* Byte by byte, with a turn of the loop after each. */
static inline void peer_drip(struct peer *p, const char *text)
{
    for (; *text; text++) {
        peer_send_bytes(p, str_make(text, 1));
        step();
    }
}

static inline void peer_close(struct peer *p)
{
    close(p->fd);
    p->fd = -1;
}

static inline void peer_reset(struct peer *p)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};

    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    peer_close(p);
}

static inline bool peer_has(const struct peer *p, const char *text)
{
    return str_search(str_make(p->in, p->n), str_of(text)) >= 0;
}

static inline bool peer_ended(const struct peer *p)
{
    return p->eof || p->reset;
}

static inline void peer_forget(struct peer *p)
{
    p->n = 0;
}

static inline uint16_t port_of(int fd)
{
    struct sockaddr_in at;
    socklen_t n = sizeof(at);

    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    return ntohs(at.sin_port);
}

/* A listening socket on loopback, non-blocking. */
static inline int listen_here(int backlog, int rcvbuf)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (rcvbuf)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf));
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

static inline struct addr addr_here(uint16_t port)
{
    struct addr a;

    memset(&a, 0, sizeof(a));
    a.in.sin_family = AF_INET;
    a.in.sin_port = htons(port);
    a.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

/* Takes the connection that waits, or will come. */
static inline struct peer *peer_accept(int listener)
{
    int fd = -1;

    UNTIL((fd = accept(listener, NULL, NULL)) >= 0);
    return peer_new(fd);
}

static inline int64_t now(void)
{
    return world.t->loop.now_ms;
}

#endif
