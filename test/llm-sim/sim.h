/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator's options, set once by main.c before the workers start, and its counters. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "faults.h"

#include <stdatomic.h>

struct sim_conf {
    const char *addr;
    int port, tls_port; /* -1 = not wanted; after the start the real ones */
    const char *cert, *key, *client_ca;
    const char *ready_file;
    const char *require_key; /* NULL = no key needed */
    uint32_t events;         /* words of an answer, one a stream event */
    uint32_t gap_ms, delay_ms;
    unsigned workers;
    int log_fd; /* -1 = no log */
    struct fault fault;
};

extern struct sim_conf sim;

/* Counters of one worker: written by it alone, read by all. X(name, what) */
#define SIM_STATS(X)        \
    X(requests)             \
    X(connections_accepted) \
    X(connections_open)     \
    X(streams_started)      \
    X(streams_open)         \
    X(streams_done)         \
    X(streams_aborted)      \
    X(requests_aborted)     \
    X(events)               \
    X(bytes_in)             \
    X(bytes_out)            \
    X(tls_handshakes)       \
    X(tls_resumed)          \
    X(tls_failed)           \
    X(bad_requests)

struct stats {
#define X(name) _Atomic uint64_t name;
    SIM_STATS(X)
#undef X
};

static inline void stat_add(_Atomic uint64_t *s, uint64_t n)
{
    /* one writer: a load and a store do, no locked instruction */
    atomic_store_explicit(s, atomic_load_explicit(s, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline void stat_sub(_Atomic uint64_t *s, uint64_t n)
{
    stat_add(s, -n);
}

#endif
