/* SPDX-License-Identifier: Apache-2.0 */
/* Health checks from documents: defaults, what is left out, what is refused, copies, and which
 * upstreams a snapshot names as changed. */
#include "fake_plugins.h"

#include "base/hash.h"
#include "config/checks.h"

#define UPSTREAM(checks) \
    "{\"type\":\"roundrobin\",\"nodes\":{\"127.0.0.1:80\":1},\"checks\":" checks "}"
#define PLAIN "{\"type\":\"roundrobin\",\"nodes\":{\"127.0.0.1:80\":1}}"

struct fixture {
    struct builder *b;
    const struct snapshot *s; /* NULL: none is held */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->b = fake_builder(true);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->s)
        snapshot_put(f->s);
    builder_free(f->b);
    free(f);
    return 0;
}

static const struct snapshot *publish(struct fixture *f)
{
    if (f->s)
        snapshot_put(f->s);
    return f->s = builder_publish(f->b);
}

/* The first upstream, with these checks. */
static const struct upstream *upstream_with(struct fixture *f, const char *text)
{
    assert_true(put(f->b, KIND_UPSTREAM, "1", text));
    return publish(f)->upstreams[0];
}

static void has_only(const struct status_set *s, const int *want)
{
    for (int status = -1000; status < 2000; status++) {
        bool wanted = false;
        for (const int *w = want; *w; w++)
            wanted |= *w == status;
        if (status_set_has(s, status) != wanted)
            fail_msg("status %d: %d", status, !wanted);
    }
}

static void test_defaults(void **state)
{
    struct fixture *f = *state;
    const struct upstream *u = upstream_with(f, UPSTREAM("{\"active\":{}}"));
    const struct checks *c = u->checks;

    assert_true(u->peers);
    assert_int_equal(c->type, CHECK_HTTP);
    assert_true(c->verify);
    assert_false(c->has_passive);
    assert_int_equal(c->port, 0);
    assert_int_equal(c->concurrency, 10);
    assert_int_equal(c->timeout_ms, 1000);
    assert_int_equal(c->healthy_ms, 1000);
    assert_int_equal(c->unhealthy_ms, 1000);
    assert_null(c->host.p);
    assert_true(str_eq(c->method, STR("GET")) && str_eq(c->path, STR("/")) && c->body.n == 0);
    assert_int_equal(c->nheaders, 0);
    assert_int_equal(c->active.successes, 2);
    assert_int_equal(c->active.http_failures, 5);
    assert_int_equal(c->active.tcp_failures, 2);
    assert_int_equal(c->active.timeouts, 3);
    has_only(&c->active.healthy, (const int[]){200, 302, 0});
    has_only(&c->active.unhealthy, (const int[]){429, 404, 500, 501, 502, 503, 504, 505, 0});
}

static void test_passive_defaults(void **state)
{
    const struct checks *c =
        upstream_with(*state, UPSTREAM("{\"active\":{},\"passive\":{}}"))->checks;

    assert_true(c->has_passive);
    assert_int_equal(c->passive.successes, 5);
    assert_int_equal(c->passive.http_failures, 5);
    assert_int_equal(c->passive.tcp_failures, 2);
    assert_int_equal(c->passive.timeouts, 7);
    has_only(&c->passive.healthy, (const int[]){200, 201, 202, 203, 204, 205, 206, 207, 208, 226,
                                                300, 301, 302, 303, 304, 305, 306, 307, 308, 0});
    has_only(&c->passive.unhealthy, (const int[]){429, 500, 503, 0});
    /* Requests find who is down, probes who is up again. */
    assert_int_equal(c->healthy_ms, 0);
    assert_int_equal(c->unhealthy_ms, 1000);
    c = upstream_with(*state, UPSTREAM("{\"active\":{\"healthy\":{}},\"passive\":{}}"))->checks;
    assert_int_equal(c->healthy_ms, 1000);
}

static void test_all_said(void **state)
{
    const struct checks *c =
        upstream_with(
            *state,
            UPSTREAM("{\"active\":{\"type\":\"https\",\"timeout\":0.25,\"concurrency\":3,"
                     "\"host\":\"a.test\",\"port\":8443,\"http_method\":\"POST\","
                     "\"http_path\":\"/st at?x\",\"http_req_body\":\"ping\","
                     "\"https_verify_certificate\":false,\"req_headers\":[\"X-A: b c \",\"y:\"],"
                     "\"healthy\":{\"interval\":7,\"http_statuses\":[204],\"successes\":1},"
                     "\"unhealthy\":{\"interval\":3,\"http_statuses\":[418,599],"
                     "\"http_failures\":4,\"tcp_failures\":5,\"timeouts\":6}},"
                     "\"passive\":{\"type\":\"tcp\",\"healthy\":{\"http_statuses\":[200],"
                     "\"successes\":0},\"unhealthy\":{\"http_statuses\":[500],"
                     "\"http_failures\":0,\"tcp_failures\":254,\"timeouts\":0}}}"))
            ->checks;
    struct arena a;

    arena_init(&a, NULL);
    for (int i = 0; i < 2; i++, c = checks_copy(&a, c)) {
        assert_int_equal(c->type, CHECK_HTTPS);
        assert_false(c->verify);
        assert_int_equal(c->timeout_ms, 250);
        assert_int_equal(c->concurrency, 3);
        assert_int_equal(c->port, 8443);
        assert_int_equal(c->healthy_ms, 7000);
        assert_int_equal(c->unhealthy_ms, 3000);
        assert_true(str_eq(c->host, STR("a.test")) && str_eq(c->method, STR("POST")));
        assert_true(str_eq(c->path, STR("/st%20at?x")) && str_eq(c->body, STR("ping")));
        assert_int_equal(c->nheaders, 2);
        assert_true(str_eq(c->headers[0].key, STR("X-A")));
        assert_true(str_eq(c->headers[0].value, STR("b c")));
        assert_true(str_eq(c->headers[1].key, STR("y")) && c->headers[1].value.n == 0);
        has_only(&c->active.healthy, (const int[]){204, 0});
        has_only(&c->active.unhealthy, (const int[]){418, 599, 0});
        assert_int_equal(c->active.successes, 1);
        assert_int_equal(c->active.http_failures, 4);
        assert_int_equal(c->active.tcp_failures, 5);
        assert_int_equal(c->active.timeouts, 6);
        assert_int_equal(c->passive.successes, 0);
        assert_int_equal(c->passive.http_failures, 0);
        assert_int_equal(c->passive.tcp_failures, 254);
        assert_int_equal(c->passive.timeouts, 0);
    }
    arena_fini(&a);
}

static void test_odd_numbers(void **state)
{
    const struct checks *c = upstream_with(*state, UPSTREAM("{\"active\":{\"timeout\":0,"
                                                            "\"concurrency\":-4}}"))
                                 ->checks;

    assert_int_equal(c->timeout_ms, 1000);
    assert_int_equal(c->concurrency, 1);
    c = upstream_with(*state, UPSTREAM("{\"active\":{\"timeout\":0.0001,\"concurrency\":1000000,"
                                       "\"http_path\":\"status\"}}"))
            ->checks;
    assert_int_equal(c->timeout_ms, 1);
    assert_int_equal(c->concurrency, 256);
    assert_true(str_eq(c->path, STR("/status")));
}

/* Refused in a write; left out where it is stored already. */
static void test_bad_headers(void **state)
{
    static const char *const bad[] = {"no colon",
                                      ": x",
                                      "A b: c",
                                      "A: b\\r\\nC: d",
                                      "A\\u0001: b",
                                      "Content-Length: 3",
                                      "Transfer-Encoding: chunked",
                                      "Connection: close"};
    struct fixture *f = *state;
    char text[512];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct arena a;
        struct str err;
        snprintf(text, sizeof(text), UPSTREAM("{\"active\":{\"req_headers\":[\"%s\",\"D: e\"]}}"),
                 bad[i]);
        json_t *value = json_of(text);
        arena_init(&a, NULL);
        assert_false(builder_check(f->b, KIND_UPSTREAM, STR("1"), value, &a, &err));
        assert_true(str_starts(err, STR("checks.active.req_headers: \"")));
        arena_fini(&a);
        json_decref(value);
        const struct checks *c = upstream_with(f, text)->checks;
        assert_int_equal(c->nheaders, 1);
        assert_true(str_eq(c->headers[0].key, STR("D")));
    }
}

static void test_switched_off(void **state)
{
    struct builder_env env = {.plugins = fake_plugins, .no_checks = true};
    struct builder *b = builder_new(&env);

    (void)state;
    assert_true(put(b, KIND_UPSTREAM, "1", UPSTREAM("{\"active\":{}}")));
    assert_false(put(b, KIND_UPSTREAM, "2", UPSTREAM("{\"active\":{\"timeout\":\"x\"}}")));
    const struct snapshot *s = builder_publish(b);
    assert_null(s->upstreams[0]->checks);
    assert_false(s->upstreams[0]->peers);
    assert_int_equal(s->checks.n, 0);
    snapshot_put(s);
    builder_free(b);
}

/* ---- What changed ---- */

static void changed(const struct snapshot *s, uint64_t since, unsigned n, uint32_t slot)
{
    assert_int_equal(s->checks.since, since);
    assert_int_equal(s->checks.n, n);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(s->checks.slots[i], slot);
}

static void test_changes(void **state)
{
    struct fixture *f = *state;

    put(f->b, KIND_UPSTREAM, "1", PLAIN);
    changed(publish(f), 0, 0, 0);
    put(f->b, KIND_UPSTREAM, "2", UPSTREAM("{\"active\":{}}"));
    changed(publish(f), 0, 1, 1);
    uint64_t first = f->s->version;
    put(f->b, KIND_UPSTREAM, "1", PLAIN); /* without checks: none of their business */
    changed(publish(f), first, 0, 0);
    put(f->b, KIND_UPSTREAM, "2", UPSTREAM("{\"active\":{\"port\":1}}"));
    changed(publish(f), first, 1, 1);
    uint64_t second = f->s->version;
    put(f->b, KIND_UPSTREAM, "2", PLAIN); /* they go */
    changed(publish(f), second, 1, 1);
    uint64_t third = f->s->version;
    put(f->b, KIND_UPSTREAM, "2", NULL);
    changed(publish(f), third, 0, 1);
    /* An inline one, in the slot that became free; then it is deleted with its route. */
    put(f->b, KIND_ROUTE, "r", "{\"uri\":\"/\",\"upstream\":" UPSTREAM("{\"active\":{}}") "}");
    changed(publish(f), third, 1, 1);
    assert_true(str_eq(f->s->upstreams[1]->key, STR("/routes/r")));
    uint64_t fourth = f->s->version;
    put(f->b, KIND_ROUTE, "r", NULL);
    changed(publish(f), fourth, 1, 1);
    assert_null(f->s->upstreams[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_passive_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_said, setup, teardown),
        cmocka_unit_test_setup_teardown(test_odd_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_switched_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
    };

    hash_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
