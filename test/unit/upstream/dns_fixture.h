/* SPDX-License-Identifier: Apache-2.0 */
/* What the resolver's tests stand on: a thread with its loop, a DNS server, the log's lines, and
 * ways to wait for what is to happen. Includes the resolver itself. */
#ifndef TEST_DNS_FIXTURE_H
#define TEST_DNS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <ares.h>

/* resolv.conf can name no ports: where its servers are in a test; 0: port 53. */
static uint16_t port_of_servers;

static inline int init_with_port(ares_channel *channel, struct ares_options *options, int mask)
{
    options->udp_port = options->tcp_port = port_of_servers;
    if (port_of_servers)
        mask |= ARES_OPT_UDP_PORT | ARES_OPT_TCP_PORT;
    return ares_init_options(channel, options, mask);
}
#define ares_init_options init_with_port

#include "upstream/dns.c"         /* NOLINT */
#include "upstream/dns_channel.c" /* NOLINT */
#include "upstream/resolv_conf.c" /* NOLINT */

#include "fake_dns.h"

#define A(...)    .type = FAKE_A, .addrs = {__VA_ARGS__}
#define AAAA(...) .type = FAKE_AAAA, .addrs = {__VA_ARGS__}

enum { PATIENCE_MS = 10000 };

struct fixture {
    struct fake_dns fake;
    struct thread *t;
    struct arena arena;
    struct dns *d;
};

static struct {
    char last[512]; /* the last warning or error */
    int warnings;
} logged;

static inline void log_sink_of_test(enum log_level level, struct str line)
{
    if (level > LOG_WARN)
        return;
    snprintf(logged.last, sizeof(logged.last), "%.*s", STR_ARG(line));
    logged.warnings++;
}

static inline int setup(void **state)
{
    struct fixture *f = mem_zero(sizeof(*f));

    unsetenv("LOCALDOMAIN");
    setenv("CARES_HOSTS", "/dev/null", 1);
    port_of_servers = 0;
    logged.warnings = 0;
    logged.last[0] = 0;
    log_setup(log_sink_of_test, LOG_INFO);
    arena_init(&f->arena, NULL);
    f->t = mem_zero(sizeof(*f->t));
    assert_true(thread_init(f->t, 0));
    assert_true(fake_start(&f->fake));
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->d)
        dns_free(f->d);
    fake_stop(&f->fake);
    thread_fini(f->t);
    free(f->t);
    arena_fini(&f->arena);
    free(f);
    return 0;
}

/* The resolver with the fake server, and another one before it when `first` is given. */
static inline void start_with(struct fixture *f, struct dns_config config, const char *first)
{
    char text[32];
    struct str err = STR_NONE, servers[2] = {str_of(first), STR_NONE};

    snprintf(text, sizeof(text), "127.0.0.1:%u", f->fake.port);
    servers[first ? 1 : 0] = str_of(text);
    config.servers = servers;
    config.nservers = first ? 2 : 1;
    f->d = dns_new(f->t, &config, &f->arena, &err);
    assert_non_null(f->d);
}

static inline void start(struct fixture *f, int64_t valid_ms)
{
    start_with(f, (struct dns_config){.valid_ms = valid_ms, .timeout_ms = 2000, .ipv6 = true},
               NULL);
}

/* ---- waiting ------------------------------------------------------------------------------------
 */

struct watch_until {
    struct timer timer;
    struct loop *loop;
    bool (*holds)(void *arg);
    void *arg;
    int64_t give_up;
};

static inline void on_look(struct timer *t)
{
    struct watch_until *u = CONTAINER(t, struct watch_until, timer);

    if (u->holds(u->arg) || u->loop->now_ms > u->give_up)
        loop_stop(u->loop);
    else
        loop_timer(u->loop, &u->timer, 1);
}

static inline void run_until(struct fixture *f, bool (*holds)(void *arg), void *arg)
{
    struct loop *loop = &f->t->loop;
    struct watch_until u = {.loop = loop, .holds = holds, .arg = arg};

    u.give_up = loop->now_ms + PATIENCE_MS;
    timer_init(&u.timer, on_look);
    loop_timer(loop, &u.timer, 0);
    loop->stop = false;
    loop_run(loop);
    assert_true(holds(arg));
}

struct waiter {
    struct dns_wait wait;
    bool told;
};

static inline void on_told(struct dns_wait *w)
{
    struct waiter *me = CONTAINER(w, struct waiter, wait);

    assert_false(me->told);
    me->told = true;
}

static inline bool is_told(void *arg)
{
    return ((struct waiter *)arg)->told;
}

static inline bool is_idle(void *arg)
{
    return entry_of(arg)->phase == IDLE;
}

static inline bool is_asked(void *arg)
{
    return entry_of(arg)->phase == ASKED;
}

static inline bool is_late(void *arg)
{
    return entry_of(arg)->late;
}

/* The state after a look-up, when one was due. */
static inline enum dns_status resolve(struct fixture *f, struct dns_name *name)
{
    struct waiter w = {.wait.done = on_told};

    if (dns_status(f->d, name) != DNS_PENDING)
        return dns_status(f->d, name);
    dns_wait_start(name, &w.wait);
    assert_false(w.told);
    run_until(f, is_told, &w);
    return dns_status(f->d, name);
}

/* Whatever the name has is over; it is looked up again, and the look-up ends. */
static inline void refresh(struct fixture *f, struct dns_name *name)
{
    entry_of(name)->next_at = f->t->loop.now_ms;
    assert_int_equal(dns_status(f->d, name), DNS_READY);
    assert_false(is_idle(name));
    run_until(f, is_idle, name);
    assert_int_equal(entry_of(name)->deadline.due, 0);
}

/* "10.0.0.1 ::1" */
static inline const char *text_of(const struct dns_name *name)
{
    static char out[4096];
    size_t n = 0;

    out[0] = 0;
    for (unsigned i = 0; i < name->naddrs; i++) {
        const struct addr *a = &name->addrs[i];
        char one[INET6_ADDRSTRLEN];
        bool v4 = a->sa.sa_family == AF_INET;
        assert_int_equal(v4 ? a->in.sin_port : a->in6.sin6_port, 0);
        inet_ntop(a->sa.sa_family, v4 ? (const void *)&a->in.sin_addr : &a->in6.sin6_addr, one,
                  sizeof(one));
        n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%s", i ? " " : "", one);
    }
    return out;
}

static inline int64_t valid_for(struct fixture *f, struct dns_name *name)
{
    return entry_of(name)->next_at - f->t->loop.now_ms;
}

static inline struct dns_name *name_of(struct fixture *f, const char *host)
{
    struct dns_name *name = dns_name(f->d, str_of(host));

    assert_ptr_equal(name, dns_name(f->d, str_of(host)));
    assert_string_equal(name->host.p, host);
    return name;
}

#endif
