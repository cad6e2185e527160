/* SPDX-License-Identifier: Apache-2.0 */
/* An exchange that no connection made: as much of one as variables look at. */
#ifndef TEST_FAKE_EXCHANGE_H
#define TEST_FAKE_EXCHANGE_H

#include "config/build_private.h"
#include "exchange/vars.h"
#include "exchange/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <jansson.h>

#include "base/mem.h"
#include "http/uri.h"

struct fake {
    struct arena arena; /* what is compiled */
    struct build build;
    struct worker *worker;
    struct worker_config config;
    struct stream stream;
    struct addr client, local;
    struct header lines[32], response[16];
    struct exchange *ex;
};

static struct fake fake;

/* A head as it came: the arena keeps it. */
static inline void fake_request(const char *text)
{
    struct h1_limits limits = {.head_bytes = 65536, .uri_bytes = 32768, .headers = 28};
    struct exchange *ex = fake.ex;
    enum reason why;
    size_t used;

    assert_int_equal(h1_parse_request(arena_str(&fake.arena, str_of(text)), &limits, fake.lines,
                                      &ex->req, &used, &why),
                     H1_DONE);
    ex->req.head.cap = 32;
    assert_int_equal(uri_normalise(ex->req.path, &ex->arena, &ex->path), REASON_NONE);
    ex->method = method_parse(ex->req.method);
    uint16_t port;
    if (ex->req.host.n)
        assert_true(uri_host_split(ex->req.host, &ex->host, &port));
}

static inline int fake_setup(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    arena_init(&fake.arena, NULL);
    fake.build = (struct build){.arena = &fake.arena, .scratch = &fake.arena};
    fake.worker = mem_zero(sizeof(*fake.worker));
    fake.worker->config = &fake.config;
    fake.worker->thread.loop.wall_ms = 1700000000123;
    fake.worker->thread.loop.now_us = 5000000;
    assert_true(addr_parse(STR("10.1.2.3"), 4567, &fake.client));
    assert_true(addr_parse(STR("::1"), 9080, &fake.local));
    fake.stream = (struct stream){.client = &fake.client,
                                  .local = &fake.local,
                                  .client_text = STR("10.1.2.3"),
                                  .connection = 77,
                                  .requests = 3,
                                  .received = 500};
    fake.ex = mem_zero(sizeof(*fake.ex));
    fake.ex->worker = fake.worker;
    fake.ex->from = &fake.stream;
    fake.ex->client = &fake.client;
    fake.ex->client_text = fake.stream.client_text;
    arena_init(&fake.ex->arena, NULL);
    buf_init(&fake.ex->body, 65536);
    head_init(&fake.ex->res, fake.response, 16);
    return 0;
}

static inline int fake_teardown(void **state)
{
    (void)state;
    buf_fini(&fake.ex->body);
    arena_fini(&fake.ex->arena);
    arena_fini(&fake.arena);
    free(fake.ex);
    free(fake.worker);
    return 0;
}

/* NUL-terminated; absent: "(absent)". */
static inline const char *text_of_str(struct str s)
{
    return s.p ? arena_str(&fake.arena, s).p : "(absent)";
}

#endif
