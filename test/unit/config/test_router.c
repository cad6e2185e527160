/* SPDX-License-Identifier: Apache-2.0 */
/* Which route a request gets: the examples of APISIX's documentation and tests, and its rules one
 * by one; and that a changed router leaves the old one as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/cidr.h"
#include "config/router_edit.h"

/* A route in words: lists are split at spaces. */
struct spec {
    const char *id, *uris, *hosts, *methods, *addrs;
    int priority;
    bool vars;
};

/* A router made of specs. */
struct bench {
    struct arena a;
    struct router r;
    struct garbage dead;
    struct slabs slabs;
    struct route routes[64];
    unsigned n;
};

static unsigned words(struct arena *a, const char *text, struct str **out)
{
    struct str rest = str_of(text), word;
    unsigned n = 0;

    *out = arena_zero(a, 16 * sizeof(**out));
    while (rest.n) {
        str_cut(rest, ' ', &word, &rest);
        (*out)[n++] = word;
    }
    return n;
}

static struct route route_of(struct arena *a, const struct spec *s)
{
    struct route_about *about = arena_zero(a, sizeof(*about));
    struct route r = {.about = about};
    struct str *list;

    about->id = str_of(s->id);
    about->priority = s->priority;
    about->vars = s->vars ? (const struct expr *)(const void *)about : NULL;
    for (unsigned i = 0, n = words(a, s->methods, &list); i < n; i++)
        r.methods |= (uint16_t)(1u << method_parse(list[i]));
    unsigned n = words(a, s->addrs, &list);
    if (n) {
        struct cidr *nets = arena_alloc(a, n * sizeof(*nets));
        for (unsigned i = 0; i < n; i++)
            assert_true(cidr_parse(list[i], &nets[i]));
        struct cidr_list *addrs = arena_alloc(a, sizeof(*addrs));
        *addrs = (struct cidr_list){nets, n};
        about->remote_addrs = addrs;
    }
    about->nhosts = words(a, s->hosts, &list);
    about->hosts = list;
    about->nuris = words(a, s->uris, &list);
    about->uris = list;
    return r;
}

static void add(struct bench *b, uint64_t version, const struct spec *s)
{
    struct trie_edit e = {.version = version, .garbage = &b->dead, .slabs = &b->slabs};
    struct route r = route_of(&b->a, s);

    for (r.nth = 0; r.nth < r.about->nuris; r.nth++) {
        router_add(&b->r, &e, &r);
        b->routes[b->n++] = r;
    }
}

static void bench_init(struct bench *b, bool host_first, const struct spec *specs)
{
    *b = (struct bench){.r.host_first = host_first};
    arena_init(&b->a, NULL);
    slabs_init(&b->slabs);
    for (; specs && specs->id; specs++)
        add(b, 1, specs);
}

static void bench_init_params(struct bench *b, const struct spec *specs)
{
    bench_init(b, false, NULL);
    b->r.with_params = true;
    for (; specs->id; specs++)
        add(b, 1, specs);
}

static void bench_fini(struct bench *b)
{
    router_fini(&b->r);
    garbage_fini(&b->dead);
    slabs_fini(&b->slabs);
    arena_fini(&b->a);
}

static bool test_var(void *arg, const struct route *route)
{
    const char *pass = arg;

    return pass && str_eq(route->about->id, str_of(pass));
}

/* What is found of a match. */
struct got {
    struct str uri, host;
};

/* "METHOD host path client": the id that matches, or "-". `pass` is the route whose vars hold. */
static const char *ask_with(const struct router *r, const char *request, const char *pass,
                            struct got *out)
{
    static char id[32];
    struct str rest = str_of(request), method, host, path;
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    struct match m = {.test = test_var};
    union {
        const char *in;
        void *out;
    } arg = {pass};
    char client[64];

    str_cut(rest, ' ', &method, &rest);
    str_cut(rest, ' ', &host, &rest);
    str_cut(rest, ' ', &path, &rest);
    snprintf(client, sizeof(client), "%.*s", STR_ARG(rest));
    if (rest.n && inet_pton(AF_INET, client, &in.sin_addr) == 1)
        m.client = (const struct sockaddr *)&in;
    else if (rest.n && inet_pton(AF_INET6, client, &in6.sin6_addr) == 1)
        m.client = (const struct sockaddr *)&in6;
    m.method = method_parse(method);
    m.host = str_eq(host, STR("-")) ? STR_NONE : host;
    m.path = path;
    m.arg = arg.out;
    const struct route *route = router_match(r, &m);
    *out = (struct got){STR_NONE, STR_NONE};
    if (route)
        *out = (struct got){route_uri(route), router_matched_host(r, route, m.host, m.authority)};
    snprintf(id, sizeof(id), "%.*s", STR_ARG(route ? route->about->id : STR("-")));
    return id;
}

struct want {
    const char *request, *id, *uri, *host;
};

static void check(const struct router *r, const struct want *w)
{
    struct got got;

    for (; w->request; w++) {
        const char *id = ask_with(r, w->request, NULL, &got);
        if (strcmp(id, w->id) != 0)
            fail_msg("%s: wanted %s, got %s", w->request, w->id, id);
        if (w->uri)
            assert_true(str_eq(got.uri, str_of(w->uri)));
        if (w->host)
            assert_true(str_eq(got.host, str_of(w->host)));
    }
}

/* Both kinds of router give the same where hosts do not decide. */
static void check_both(const struct spec *specs, const struct want *w)
{
    for (int host_first = 0; host_first < 2; host_first++) {
        struct bench b;
        bench_init(&b, host_first, specs);
        check(&b.r, w);
        bench_fini(&b);
    }
}

/* docs/en/latest/router-radixtree.md, "Match priority". */
static void test_documented(void **state)
{
    static const struct spec specs[] = {
        {.id = "1", .uris = "/blog/foo/*"},   {.id = "2", .uris = "/blog/foo/a/*"},
        {.id = "3", .uris = "/blog/foo/c/*"}, {.id = "4", .uris = "/blog/foo/bar"},
        {.id = "5", .uris = "/pre/bar*"},     {0}};
    static const struct want wants[] = {{"GET - /blog/foo/bar", "4", "/blog/foo/bar", ""},
                                        {"GET - /blog/foo/a/b/c", "2", "/blog/foo/a/*", ""},
                                        {"GET - /blog/foo/c/d", "3", NULL, NULL},
                                        {"GET - /blog/foo/gloo", "1", NULL, NULL},
                                        {"GET - /blog/bar", "-", NULL, NULL},
                                        {"GET - /pre/bar/a", "5", NULL, NULL},
                                        {"GET - /pre/bar/c/d/e", "5", NULL, NULL},
                                        {"GET - /pre/bar", "5", NULL, NULL},
                                        {"GET - /pre/ba", "-", NULL, NULL},
                                        {0}};
    (void)state;
    check_both(specs, wants);
}

static void test_order(void **state)
{
    static const struct spec specs[] = {
        {.id = "low", .uris = "/hello", .priority = 2},
        {.id = "high", .uris = "/hello", .priority = 3},
        {.id = "b", .uris = "/same"},
        {.id = "a", .uris = "/same"},
        {.id = "10", .uris = "/n"},
        {.id = "9", .uris = "/n"},
        {.id = "short", .uris = "/deep/*", .priority = 100},
        {.id = "long", .uris = "/deep/er/*"},
        {.id = "exact", .uris = "/deep/er/x", .priority = -5},
        {.id = "get", .uris = "/m", .methods = "GET HEAD", .priority = 1},
        {.id = "any", .uris = "/m"},
        {.id = "post", .uris = "/only", .methods = "POST"},
        {.id = "two", .uris = "/two/1 /two/2*"},
        {0}};
    static const struct want wants[] = {{"GET - /hello", "high", NULL, NULL},
                                        {"GET - /same", "a", NULL, NULL},
                                        {"GET - /n", "10", NULL, NULL},
                                        {"GET - /deep/er/y", "long", NULL, NULL},
                                        {"GET - /deep/er/x", "exact", NULL, NULL},
                                        {"GET - /deep/e", "short", NULL, NULL},
                                        {"GET - /m", "get", NULL, NULL},
                                        {"HEAD - /m", "get", NULL, NULL},
                                        {"PUT - /m", "any", NULL, NULL},
                                        {"BREW - /m", "any", NULL, NULL},
                                        {"get - /m", "any", NULL, NULL},
                                        {"GET - /only", "-", NULL, NULL},
                                        {"POST - /only", "post", NULL, NULL},
                                        {"GET - /two/1", "two", "/two/1", NULL},
                                        {"GET - /two/1x", "-", NULL, NULL},
                                        {"GET - /two/23", "two", "/two/2*", NULL},
                                        {0}};
    (void)state;
    check_both(specs, wants);
}

/* A candidate that does not hold gives way to the next one, then to shorter prefixes. */
static void test_fallback(void **state)
{
    static const struct spec specs[] = {{.id = "exact", .uris = "/a/b/c", .methods = "PUT"},
                                        {.id = "long", .uris = "/a/b*", .vars = true},
                                        {.id = "short", .uris = "/a*", .methods = "GET"},
                                        {.id = "all", .uris = "/*", .priority = 9},
                                        {0}};
    struct got got;

    (void)state;
    for (int host_first = 0; host_first < 2; host_first++) {
        struct bench b;
        bench_init(&b, host_first, specs);
        assert_string_equal(ask_with(&b.r, "PUT h /a/b/c", NULL, &got), "exact");
        assert_string_equal(ask_with(&b.r, "GET h /a/b/c", "long", &got), "long");
        assert_string_equal(ask_with(&b.r, "GET h /a/b/c", NULL, &got), "short");
        assert_string_equal(ask_with(&b.r, "POST h /a/b/c", NULL, &got), "all");
        bench_fini(&b);
    }
}

static void test_hosts(void **state)
{
    static const struct spec specs[] = {
        {.id = "exact", .uris = "/a", .hosts = "www.foo.com"},
        {.id = "wild", .uris = "/*", .hosts = "*.foo.com"},
        {.id = "wilder", .uris = "/* /b/*", .hosts = "*.com bar.org"},
        {.id = "bare", .uris = "/c", .hosts = "*foo.net"},
        {.id = "none", .uris = "/a", .priority = 1000},
        {.id = "rest", .uris = "/*"},
        {.id = "six", .uris = "/six", .hosts = "[::1]"},
        {0}};
    static const struct want first[] = {{"GET www.foo.com /a", "exact", "/a", "www.foo.com"},
                                        {"GET www.foo.com /b", "wild", "/*", "*.foo.com"},
                                        {"GET a.b.c.foo.com /a", "wild", "/*", "*.foo.com"},
                                        {"GET foo.com /a", "wilder", "/*", "*.com"},
                                        {"GET com /a", "none", NULL, ""},
                                        {"GET bar.org /b/c", "wilder", "/b/*", "bar.org"},
                                        {"GET x.bar.org /b/c", "rest", NULL, ""},
                                        {"GET foo.net /c", "bare", "/c", "*foo.net"},
                                        {"GET xfoo.net /c", "bare", NULL, NULL},
                                        {"GET foo.net /d", "rest", NULL, NULL},
                                        {"GET [::1] /six", "six", NULL, "[::1]"},
                                        {"GET - /a", "none", NULL, ""},
                                        {0}};
    /* URIs first: the host is one predicate more, and priority beats a host. */
    static const struct want second[] = {{"GET www.foo.com /a", "none", "/a", ""},
                                         {"GET www.foo.com /b/x", "wilder", "/b/*", "*.com"},
                                         {"GET www.foo.com /x", "rest", "/*", ""},
                                         {"GET bar.org /b/c", "wilder", NULL, "bar.org"},
                                         {"GET foo.net /c", "bare", NULL, "*foo.net"},
                                         {"GET - /b/c", "rest", NULL, ""},
                                         {0}};
    struct bench b;

    (void)state;
    bench_init(&b, true, specs);
    check(&b.r, first);
    bench_fini(&b);
    bench_init(&b, false, specs);
    check(&b.r, second);
    bench_fini(&b);
}

static void test_any_host(void **state)
{
    static const struct spec specs[] = {
        {.id = "star", .uris = "/*", .hosts = "*"}, {.id = "none", .uris = "/exact"}, {0}};
    static const struct want wants[] = {
        {"GET a.b /exact", "star", NULL, "*"}, {"GET - /exact", "none", NULL, NULL}, {0}};
    char request[700];
    struct got got;
    struct bench b;

    (void)state;
    bench_init(&b, true, specs);
    check(&b.r, wants);
    snprintf(request, sizeof(request), "GET %0600d.x /a", 0);
    assert_string_equal(ask_with(&b.r, request, NULL, &got), "star");
    bench_fini(&b);
}

/* APISIX matches without parameters: `:name` in front of the first `*` is plain text. */
static void test_glob(void **state)
{
    static const struct spec specs[] = {{.id = "mid", .uris = "/a/*/end"},
                                        {.id = "two", .uris = "/b/*/x/*/y"},
                                        {.id = "seg", .uris = "/c/*/:id/z"},
                                        {.id = "plain", .uris = "/d*tail"},
                                        {.id = "named", .uris = "/e/*rest"},
                                        {.id = "colon", .uris = "/f:g /h:i*"},
                                        {0}};
    static const struct want wants[] = {{"GET - /a/x/end", "mid", "/a/*/end", NULL},
                                        {"GET - /a/x/y/end", "mid", NULL, NULL},
                                        {"GET - /a/end/x/end", "mid", NULL, NULL},
                                        {"GET - /a//end", "mid", NULL, NULL},
                                        {"GET - /a/end", "-", NULL, NULL},
                                        {"GET - /a/x/ends", "-", NULL, NULL},
                                        {"GET - /b/1/x/2/y", "two", NULL, NULL},
                                        {"GET - /b/1/x/x/x/y/y", "two", NULL, NULL},
                                        {"GET - /b/1/x/y", "-", NULL, NULL},
                                        {"GET - /c/1/2/3/z", "seg", NULL, NULL},
                                        {"GET - /c/1//z", "-", NULL, NULL},
                                        {"GET - /dog", "plain", NULL, NULL},
                                        {"GET - /e/any/thing", "named", NULL, NULL},
                                        {"GET - /f:g", "colon", NULL, NULL},
                                        {"GET - /fxg", "-", NULL, NULL},
                                        {"GET - /h:i/1", "colon", NULL, NULL},
                                        {0}};
    (void)state;
    check_both(specs, wants);
}

/* lua-resty-radixtree's own examples (t/parameter.t, README), and the order among patterns. */
/* long: a table of patterns */
static void test_params(void **state)
{
    static const struct spec specs[] = {
        {.id = "rest", .uris = "/name/*name"},
        {.id = "two", .uris = "/ids/:name/id/:id"},
        {.id = "three", .uris = "/all/:name/id/:id/*other"},
        {.id = "foo", .uris = "/:name/foo"},
        {.id = "file", .uris = "/file/:filename"},
        {.id = "user", .uris = "/user/:user"},
        {.id = "age", .uris = "/user/:user/age/:age"},
        {.id = "slash", .uris = "/end/:name/"},
        {.id = "long", .uris = "/api/:v/test/api/projects/:p/clusters/:c/nodes/?"},
        {.id = "medium", .uris = "/api/:v/test/api/projects/:p"},
        {.id = "short", .uris = "/api/:v/test/*subpath"},
        {.id = "exact", .uris = "/user/root"},
        {.id = "post", .uris = "/file/:any", .methods = "POST", .priority = 1},
        {.id = "star", .uris = "/user/r*"},
        {.id = "mid", .uris = "/v1/gpt:generate"},
        {.id = "host", .uris = "/user/:user", .hosts = "a.com", .priority = 2},
        {0}};
    static const struct want wants[] = {
        {"GET - /name/json", "rest", "/name/*name", NULL},
        {"GET - /name/", "rest", NULL, NULL},
        {"GET - /name", "-", NULL, NULL},
        {"GET - /ids/json/id/1", "two", "/ids/:name/id/:id", NULL},
        {"GET - /ids/json/id/", "-", NULL, NULL},
        {"GET - /ids/json", "-", NULL, NULL},
        {"GET - /ids//id/1", "-", NULL, NULL},
        {"GET - /all/json/id/1/foo/bar/gloo", "three", NULL, NULL},
        {"GET - /json/", "-", NULL, NULL},
        {"GET - /json/bar", "-", NULL, NULL},
        {"GET - /json/foo", "foo", NULL, NULL},
        {"GET - /json/foo/bar", "-", NULL, NULL},
        {"GET - /json/bbb/foo", "-", NULL, NULL},
        {"GET - /file/123&45@dd:d=test;", "file", NULL, NULL},
        {"GET - /file/test_a-b+c.lua$", "file", NULL, NULL},
        {"GET - /file/t!e*s't,(file)", "file", NULL, NULL},
        {"POST - /file/x", "post", NULL, NULL},
        {"GET - /user/foo", "user", NULL, NULL},
        {"GET - /user/foo/age/26", "age", NULL, NULL},
        {"GET - /user/root", "exact", NULL, NULL},
        {"GET - /user/rooty", "star", NULL, NULL},
        {"GET a.com /user/foo", "host", NULL, "a.com"},
        {"GET a.com /user/foo/age/26", "age", NULL, ""},
        {"GET - /end/json/", "slash", NULL, NULL},
        {"GET - /end/json", "-", NULL, NULL},
        {"GET - /api/v4/test/api/projects/saas/clusters/123/nodes/", "long", NULL, NULL},
        {"GET - /api/v4/test/api/projects/saas/clusters/123/nodes", "long", NULL, NULL},
        {"GET - /api/v4/test/api", "short", NULL, NULL},
        {"GET - /api/v4/test/api/projects/saas", "medium", NULL, NULL},
        /* A colon inside a segment cuts the pattern all the same. */
        {"GET - /v1/gpt:generate", "mid", NULL, NULL},
        {"GET - /v1/gpt5", "mid", NULL, NULL},
        {"GET - /v1/gp", "-", NULL, NULL},
        {0}};
    struct bench b;

    (void)state;
    bench_init_params(&b, specs);
    check(&b.r, wants);
    bench_fini(&b);
}

/* What parameters stand for; where `:name` is plain text, a `*` still has a name. */
static void test_param_values(void **state)
{
    static const struct spec specs[] = {{.id = "1", .uris = "/name/*name"},
                                        {.id = "2", .uris = "/pre/*"},
                                        {.id = "3", .uris = "/ids/:name/id/:id"},
                                        {.id = "4", .uris = "/all/:name/*other"},
                                        {.id = "5", .uris = "/mid/*a/x/*b"},
                                        {.id = "6", .uris = "/twice/:a/:a"},
                                        {.id = "7", .uris = "/opt/:a/?"},
                                        {.id = "8", .uris = "/plain"},
                                        {0}};
    static const struct {
        const char *request, *name, *value, *plain; /* plain: without parameters; "-": absent */
    } rows[] = {
        {"GET - /name/json", "name", "json", "json"},
        {"GET - /name/", "name", "", ""},
        {"GET - /name/a/b", "name", "a/b", "a/b"},
        {"GET - /name/a", "other", "-", "-"},
        {"GET - /pre/json/foo", ":ext", "json/foo", "json/foo"},
        {"GET - /ids/json/id/1", "name", "json", "-"},
        {"GET - /ids/json/id/1", "id", "1", "-"},
        {"GET - /ids/json/id/1", "i", "-", "-"},
        {"GET - /all/x/", "other", "", "-"},
        {"GET - /all/x/y/z", "other", "y/z", "-"},
        {"GET - /all/x/y/z", "name", "x", "-"},
        {"GET - /mid/1/2/x/3", "a", "1/2", "1/2"},
        {"GET - /mid/1/2/x/3", "b", "3", "3"},
        {"GET - /twice/1/2", "a", "2", "-"},
        {"GET - /opt/1/", "a", "1", "-"},
        {"GET - /opt/1", "a", "1", "-"},
        {"GET - /plain", "plain", "-", "-"},
    };
    struct got got;
    struct bench b;

    (void)state;
    for (int params = 0; params < 2; params++) {
        if (params)
            bench_init_params(&b, specs);
        else
            bench_init(&b, true, specs);
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
            const char *id = ask_with(&b.r, rows[i].request, NULL, &got);
            const char *want = params ? rows[i].value : rows[i].plain;
            struct str value = STR_NONE, path = str_of(strchr(rows[i].request, '/'));
            for (unsigned k = 0; k < b.n && *id != '-'; k++)
                if (str_eq(b.routes[k].about->id, str_of(id)))
                    value = router_param(&b.r, &b.routes[k], path, str_of(rows[i].name));
            if (!str_eq(value.p ? value : STR("-"), str_of(want)))
                fail_msg("%s, %s: \"%.*s\"", rows[i].request, rows[i].name, STR_ARG(value));
        }
        bench_fini(&b);
    }
}

/* In routers that see the URI first, a host with a port is compared with the header as it came. */
static void test_host_with_port(void **state)
{
    static const struct spec specs[] = {{.id = "port", .uris = "/a", .hosts = "foo.com:8080"}, {0}};
    struct bench b;

    (void)state;
    for (int host_first = 0; host_first < 2; host_first++) {
        struct match m = {
            .host = STR("foo.com"), .authority = STR("foo.com:8080"), .path = STR("/a")};
        bench_init(&b, host_first, specs);
        assert_int_equal(router_match(&b.r, &m) != NULL, !host_first);
        m.authority = STR("foo.com:80");
        assert_null(router_match(&b.r, &m));
        bench_fini(&b);
    }
}

static void test_client(void **state)
{
    static const struct spec specs[] = {
        {.id = "ten", .uris = "/a", .addrs = "10.0.0.0/8 192.168.1.7", .priority = 2},
        {.id = "six", .uris = "/a", .addrs = "2001:db8::/33 ::1", .priority = 1},
        {.id = "all4", .uris = "/b", .addrs = "0.0.0.0/0"},
        {0}};
    static const struct want wants[] = {{"GET - /a 10.255.1.2", "ten", NULL, NULL},
                                        {"GET - /a 11.0.0.1", "-", NULL, NULL},
                                        {"GET - /a 192.168.1.7", "ten", NULL, NULL},
                                        {"GET - /a 192.168.1.6", "-", NULL, NULL},
                                        {"GET - /a 2001:db8::1", "six", NULL, NULL},
                                        {"GET - /a 2001:db8:8000::1", "-", NULL, NULL},
                                        {"GET - /a ::1", "six", NULL, NULL},
                                        {"GET - /a ::ffff:10.0.0.1", "ten", NULL, NULL},
                                        {"GET - /b ::1", "-", NULL, NULL},
                                        {"GET - /b 1.2.3.4", "all4", NULL, NULL},
                                        {"GET - /a", "-", NULL, NULL},
                                        {0}};
    (void)state;
    check_both(specs, wants);
}

static void test_cidr(void **state)
{
    static const char *const good[] = {
        "127.0.0.1", "1.2.3.4/0", "1.2.3.4/32", "::", "::/0", "fe80::1/128", "::ffff:1.2.3.4"};
    static const char *const bad[] = {"",          "1.2.3",     "1.2.3.4/33", "1.2.3.4/",
                                      "1.2.3.4/a", "::1/129",   "1.2.3.4.5",  "localhost",
                                      ":/8",       "256.0.0.1", "1.2.3.4/-1"};
    struct cidr c;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(cidr_parse(str_of(good[i]), &c));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(cidr_parse(str_of(bad[i]), &c));
}

/* Old versions answer as they did, while the new one loses and gains routes. */
static void test_versions(void **state)
{
    static const struct spec first[] = {{.id = "1", .uris = "/a /p/*", .hosts = "x.com *.y.com"},
                                        {.id = "2", .uris = "/a", .hosts = "x.com"},
                                        {.id = "3", .uris = "/a"},
                                        {0}};
    static const struct want before[] = {{"GET x.com /a", "1", NULL, NULL},
                                         {"GET b.y.com /p/q", "1", NULL, NULL},
                                         {"GET z.com /a", "3", NULL, NULL},
                                         {0}};
    static const struct want after[] = {{"GET x.com /a", "2", NULL, NULL},
                                        {"GET b.y.com /p/q", "-", NULL, NULL},
                                        {"GET z.com /a", "4", NULL, NULL},
                                        {0}};
    struct bench b;
    struct trie_edit e = {.version = 2};

    (void)state;
    bench_init(&b, true, first);
    e.garbage = &b.dead;
    e.slabs = &b.slabs;
    struct router old = b.r;
    check(&old, before);
    router_remove(&b.r, &e, &b.routes[0]);
    router_remove(&b.r, &e, &b.routes[1]);
    add(&b, 2, &(struct spec){.id = "4", .uris = "/a", .priority = 1});
    check(&old, before);
    check(&b.r, after);
    e.version = 3;
    for (unsigned i = 2; i < b.n; i++)
        router_remove(&b.r, &e, &b.routes[i]);
    assert_null(b.r.hosts);
    assert_null(b.r.uris);
    check(&old, before);
    /* Nothing is left but what the garbage holds, of versions 1 and 2. */
    garbage_fini(&b.dead);
    bench_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documented),     cmocka_unit_test(test_order),
        cmocka_unit_test(test_fallback),       cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_any_host),       cmocka_unit_test(test_glob),
        cmocka_unit_test(test_params),         cmocka_unit_test(test_param_values),
        cmocka_unit_test(test_host_with_port), cmocka_unit_test(test_client),
        cmocka_unit_test(test_cidr),           cmocka_unit_test(test_versions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
