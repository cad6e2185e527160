/* SPDX-License-Identifier: Apache-2.0 */
/* How the builder and the router grow: prints times and memory for growing numbers of routes and
 * consumers; checks only that every route and every consumer is found. */
#include "fake_plugins.h"

#include <malloc.h>
#include <stdio.h>
#include <time.h>

#include "base/hash.h"
#include "config/router.h"

/* Sanitizers slow it down and spoil the figures: a small round is enough for them. */
#if defined(ARENA_MALLOC)
enum { MOST = 2000, HOSTS = 100 };
#else
enum { MOST = 100000, HOSTS = 1000 };
#endif

enum { CHANGES = 300, ROUTES_PER_UPSTREAM = 5 };

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Without the nodes of tries, which are in slabs: about 80 bytes a route. */
static double heap_mb(void)
{
#if defined(ARENA_MALLOC)
    return 0;
#else
    struct mallinfo2 m = mallinfo2();
    return (double)(m.uordblks + m.hblkhd) / 1e6;
#endif
}

static struct str route_path(char *to, size_t size, int i)
{
    return str_make(to, (size_t)snprintf(to, size, "/api/v%d/things/%d", i % 10, i / HOSTS));
}

static struct str route_host(char *to, size_t size, int i)
{
    return str_make(to, (size_t)snprintf(to, size, "host%d.example.com", i % HOSTS));
}

static json_t *route_json(int i, int version)
{
    char text[400], path[64], host[64];

    route_path(path, sizeof(path), i);
    route_host(host, sizeof(host), i);
    snprintf(text, sizeof(text),
             "{\"uri\":\"%s%s\",\"host\":\"%s\",\"upstream_id\":\"%d\",\"name\":\"route %d\","
             "\"plugins\":{\"key-auth\":{},\"a\":{\"tag\":\"%d\",\"n\":%d}}}",
             path, i % 3 ? "" : "/*", host, i / ROUTES_PER_UPSTREAM, i, i, 100 + version);
    return json_of(text);
}

static json_t *upstream_json(int i)
{
    char text[200];

    snprintf(text, sizeof(text), "{\"nodes\":{\"10.1.%d.%d:80\":1,\"10.2.%d.%d:80\":1}}", i / 250,
             i % 250, i / 250, i % 250);
    return json_of(text);
}

static json_t *consumer_json(int i)
{
    char text[200];

    snprintf(text, sizeof(text),
             "{\"username\":\"user%d\",\"plugins\":{\"key-auth\":{\"key\":\"secret-key-%d\"}}}", i,
             i);
    return json_of(text);
}

/* Documents are parsed first: their JSON is not what is measured. */
static double apply_all(struct builder *b, enum kind kind, json_t **docs, int n, const char *prefix)
{
    double start = now_us();

    for (int i = 0; i < n; i++) {
        char id[32];
        int len = snprintf(id, sizeof(id), "%s%d", prefix, i);
        assert_true(builder_apply(b, kind, str_make(id, (size_t)len), i, docs[i]));
    }
    return now_us() - start;
}

static bool pass(void *arg, const struct route *route)
{
    (void)arg;
    (void)route;
    return true;
}

static double match_all(const struct snapshot *s, int n)
{
    enum { ASKED = 200000 };
    char path[64], host[64];
    struct match *asked = mem_array(1024, sizeof(*asked));
    char(*texts)[160] = mem_array(1024, sizeof(*texts));

    for (int i = 0; i < n; i++) {
        struct match m = {.method = METHOD_GET, .test = pass};
        m.path = route_path(path, sizeof(path) - 8, i);
        if (i % 3 == 0) {
            memcpy(path + m.path.n, "/more", 5);
            m.path.n += 5;
        }
        m.host = route_host(host, sizeof(host), i);
        const struct route *r = router_match(s->router, &m);
        char want[16];
        snprintf(want, sizeof(want), "%d", i);
        assert_true(r && str_eq(r->about->id, str_of(want)));
    }
    for (int i = 0; i < 1024; i++) {
        int k = (int)((unsigned)i * 7919u % (unsigned)n);
        struct str h = route_host(texts[i], 64, k), p = route_path(texts[i] + 64, 64, k);
        if (k % 3 == 0)
            memcpy(texts[i] + 64 + p.n, "/more", 5);
        asked[i] = (struct match){.host = h,
                                  .path = {p.p, p.n + (k % 3 == 0 ? 5 : 0)},
                                  .method = METHOD_GET,
                                  .test = pass};
    }
    double start = now_us();
    for (int i = 0; i < ASKED; i++)
        assert_non_null(router_match(s->router, &asked[i % 1024]));
    double each = (now_us() - start) / ASKED * 1000;
    free(asked);
    free(texts);
    return each;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void change_some(struct builder *b, int n, double *median, double *worst)
{
    double took[CHANGES];

    for (int c = 0; c < CHANGES; c++) {
        char id[32];
        int i = (int)((unsigned)c * 7919u % (unsigned)n);
        int len = snprintf(id, sizeof(id), "%d", i);
        json_t *doc = route_json(i, c);
        double start = now_us();
        assert_true(builder_apply(b, KIND_ROUTE, str_make(id, (size_t)len), 0, doc));
        snapshot_put(builder_publish(b));
        took[c] = now_us() - start;
        json_decref(doc);
    }
    qsort(took, CHANGES, sizeof(took[0]), by_size);
    *median = took[CHANGES / 2];
    *worst = took[CHANGES - 1];
}

static void routes_round(int n)
{
    struct builder *b = fake_builder(true);
    json_t **routes = mem_array((size_t)n, sizeof(*routes));
    int nupstreams = n / ROUTES_PER_UPSTREAM + 1;
    json_t **upstreams = mem_array((size_t)nupstreams, sizeof(*upstreams));
    double median, worst;

    for (int i = 0; i < n; i++)
        routes[i] = route_json(i, 0);
    for (int i = 0; i < nupstreams; i++)
        upstreams[i] = upstream_json(i);
    double before = heap_mb();
    double apply = apply_all(b, KIND_UPSTREAM, upstreams, nupstreams, "");
    apply += apply_all(b, KIND_ROUTE, routes, n, "");
    double start = now_us();
    const struct snapshot *s = builder_publish(b);
    double publish = now_us() - start, heap = heap_mb() - before;
    double match = match_all(s, n);
    snapshot_put(s);
    change_some(b, n, &median, &worst);
    print_message(
        "routes %6d: compile %7.1f ms, publish %6.1f ms, %6.1f MB, change median %5.1f us "
        "worst %6.1f us, match %5.0f ns, heap after changes %+.1f MB\n",
        n, apply / 1000, publish / 1000, heap, median, worst, match, heap_mb() - before - heap);
    for (int i = 0; i < n; i++)
        json_decref(routes[i]);
    for (int i = 0; i < nupstreams; i++)
        json_decref(upstreams[i]);
    free(routes);
    free(upstreams);
    builder_free(b);
    assert_int_equal(fake_alive, 0);
}

static void consumers_round(int n)
{
    struct builder *b = fake_builder(true);
    json_t **docs = mem_array((size_t)n, sizeof(*docs));
    char key[64];

    for (int i = 0; i < n; i++)
        docs[i] = consumer_json(i);
    double before = heap_mb();
    double apply = apply_all(b, KIND_CONSUMER, docs, n, "user");
    double start = now_us();
    const struct snapshot *s = builder_publish(b);
    double publish = now_us() - start, heap = heap_mb() - before;
    start = now_us();
    for (int i = 0; i < n; i++) {
        int len = snprintf(key, sizeof(key), "secret-key-%d", i);
        const struct credential *c = snapshot_credential(s, "key-auth", str_make(key, (size_t)len));
        assert_true(c && c->consumer->username.n > 4);
    }
    double find = (now_us() - start) / n * 1000;
    snapshot_put(s);
    print_message("consumers %6d: compile %7.1f ms, publish %6.3f ms, %6.1f MB, find %5.0f ns\n", n,
                  apply / 1000, publish / 1000, heap, find);
    for (int i = 0; i < n; i++)
        json_decref(docs[i]);
    free(docs);
    builder_free(b);
}

static void test_routes(void **state)
{
    (void)state;
    for (int n = 100; n <= MOST; n *= 10)
        routes_round(n);
}

static void test_consumers(void **state)
{
    (void)state;
    for (int n = 1000; n <= MOST; n *= 10)
        consumers_round(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_consumers),
    };

    hash_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
