/* SPDX-License-Identifier: Apache-2.0 */
/* A worker with plugins of the test's own, between a client and an upstream that are plain sockets;
 * its loop runs in steps on the test's thread. */
#ifndef TEST_EXCHANGE_FIXTURE_H
#define TEST_EXCHANGE_FIXTURE_H

#include "conn/server.c"     /* NOLINT: for the listener's port */
#include "exchange/worker.c" /* NOLINT: for a worker without its thread */

#include <jansson.h>

#include "config/build.h"

/* The fixture's other end of a connection, not upstream/peers.h's. */
#define peer remote
#include "../conn/conn_fixture.h"

static struct {
    struct arena arena;
    struct listen_addr listen;
    struct worker_config config;
    struct builder *builder;
    struct worker *worker;
    int upstream; /* listens */
} gw;

/* One document; '@' in it stands for the upstream's address. */
static inline void put(enum kind kind, const char *id, const char *text)
{
    static int64_t revision;
    char node[32], all[2048];
    struct buf out;
    json_error_t e;

    snprintf(node, sizeof(node), "127.0.0.1:%d", port_of(gw.upstream));
    buf_init(&out, sizeof(all));
    for (; *text; text++)
        assert_true(*text == '@' ? buf_add(&out, str_of(node)) : buf_add(&out, str_make(text, 1)));
    json_t *value = json_loadb(out.p, out.n, 0, &e);
    buf_fini(&out);
    assert_non_null(value);
    assert_true(builder_apply(gw.builder, kind, str_of(id), ++revision, value));
    json_decref(value);
}

static inline void exchange_setup(const struct plugin *const *plugins)
{
    signal(SIGPIPE, SIG_IGN);
    memset(&gw, 0, sizeof(gw));
    memset(&world, 0, sizeof(world));
    arena_init(&gw.arena, NULL);
    gw.upstream = listen_here(8, 0);
    struct builder_env env = {.plugins = plugins, .verify_upstreams = true};
    gw.builder = builder_new(&env);
}

/* After the documents. */
static inline void exchange_start(void)
{
    struct str err;

    gw.listen = (struct listen_addr){.addr = addr_here(0)};
    gw.config = (struct worker_config){
        .limits = {.head = {.head_bytes = 8192, .uri_bytes = 4096, .headers = 50},
                   .keepalive_ms = 5000,
                   .head_ms = 5000,
                   .body_ms = 5000,
                   .send_ms = 5000},
        .upstream_head = {.head_bytes = 8192, .headers = 50},
        .dns = {.timeout_ms = 1000},
        .replay_bytes = 65536,
        .listen = &gw.listen,
        .nlisten = 1,
        .drain_ms = 1000,
    };
    gw.worker = worker_new(0, &gw.config, builder_publish(gw.builder), &gw.arena, &err);
    assert_non_null(gw.worker);
    world.t = &gw.worker->thread;
    timer_init(&world.tick, fixture_on_tick);
}

static inline void exchange_teardown(void)
{
    for (unsigned i = 0; i < world.npeers; i++) {
        if (world.peers[i].fd >= 0)
            close(world.peers[i].fd);
        free(world.peers[i].in);
    }
    server_close(gw.worker->server);
    assert_int_equal(gw.worker->exchanges, 0);
    timer_clear(&world.t->loop.timers, &world.tick);
    worker_free(gw.worker);
    builder_free(gw.builder);
    arena_fini(&gw.arena);
    close(gw.upstream);
}

static inline struct peer *client(void)
{
    return peer_connect(port_of(gw.worker->server->listeners->io.fd), 0);
}

/* The upstream's side of a connection on which a request has come. */
static inline struct peer *upstream(void)
{
    struct peer *p = peer_accept(gw.upstream);

    UNTIL(peer_has(p, "\r\n\r\n"));
    return p;
}

#endif
