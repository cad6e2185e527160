/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP requests of plugins: a plugin that asks before it lets a request pass, and all that can
 * become of its question. */
#include "exchange_fixture.h"

#include <openssl/x509v3.h>
#include <pthread.h>

#include "loop/tls.h"
#include "upstream/fetch.h"

/* ---- ask: asks one or two URLs in its access phase; 200 passes, else the reply tells ---- */

struct ask_conf {
    struct str url, also, method, uri, body, header;
    int64_t timeout, max, keepalive;
    bool verify;
    const struct fetch_target *to[2];
    unsigned n;
};

struct ask_frame {
    const struct fetch *fetch[2];
};

static bool ask_compile(void *conf, struct build *b)
{
    struct ask_conf *c = conf;
    struct fetch_options o = {.timeout_ms = c->timeout,
                              .body_max = (size_t)c->max,
                              .keepalive = (unsigned)c->keepalive,
                              .verify_off = !c->verify};

    c->to[c->n++] = build_fetch_target(b, c->url, &o);
    if (c->also.p)
        c->to[c->n++] = build_fetch_target(b, c->also, &o);
    return c->to[0] && c->to[c->n - 1];
}

static enum verdict ask_access(struct exchange *ex, const void *conf, void *frame)
{
    const struct ask_conf *c = conf;
    struct ask_frame *f = frame;
    const struct field_pair *headers = NULL;

    if (!f->fetch[0]) {
        if (c->header.p) {
            struct field_pair *h = arena_alloc(ex_arena(ex), sizeof(*h));
            *h = (struct field_pair){STR("X-Ask"), c->header};
            headers = h;
        }
        struct fetch_request r = {.method = c->method,
                                  .uri = c->uri,
                                  .body = c->body,
                                  .headers = headers,
                                  .nheaders = headers ? 1 : 0};
        for (unsigned i = 0; i < c->n; i++)
            f->fetch[i] = fetch_start(ex, c->to[i], &r);
        return WAIT;
    }
    struct str text = STR_NONE;
    for (unsigned i = 0; i < c->n; i++) {
        const struct fetch *got = f->fetch[i];
        struct str extra = fetch_header(got, STR("x-extra"));
        text = arena_printf(ex_arena(ex), "%.*s[%d %d %.*s %.*s %.*s]", STR_ARG(text),
                            (int)got->end, got->status, STR_ARG(extra), STR_ARG(got->body),
                            STR_ARG(got->error));
    }
    if (c->n == 1 && f->fetch[0]->end == FETCH_ANSWERED && f->fetch[0]->status == 200)
        return NEXT;
    return reply_text(ex, 403, STR("text/plain"), text);
}

#define AT(member) .at = offsetof(struct ask_conf, member)
static const struct field ask_rows[] = {
    {"url", FIELD_STR, AT(url), .flags = FIELD_REQUIRED},
    {"also", FIELD_STR, AT(also)},
    {"method", FIELD_STR, AT(method)},
    {"uri", FIELD_STR, AT(uri)},
    {"body", FIELD_STR, AT(body)},
    {"header", FIELD_STR, AT(header)},
    {"timeout", FIELD_INT, AT(timeout), .def = "5000"},
    {"max", FIELD_INT, AT(max), .def = "64"},
    {"keepalive", FIELD_INT, AT(keepalive), .def = "5"},
    {"verify", FIELD_BOOL, AT(verify), .def = "true"},
    {0},
};
static const struct fields ask_fields = {ask_rows, .size = sizeof(struct ask_conf)};
static const struct plugin ask = {
    .abi = PLUGIN_ABI,
    .name = "ask",
    .priority = 100,
    .conf = &ask_fields,
    .frame_size = sizeof(struct ask_frame),
    .compile = ask_compile,
    .access = ask_access,
};

static const struct plugin *const plugins[] = {&ask, NULL};

/* ---- Beginnings ---- */

static int authority; /* listens */

static int setup(void **state)
{
    (void)state;
    setenv("CARES_HOSTS", "/dev/null", 1);
    exchange_setup(plugins);
    authority = listen_here(8, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    exchange_teardown();
    SSL_CTX_free(gw.config.tls_verified);
    SSL_CTX_free(gw.config.tls_unverified);
    if (authority >= 0)
        close(authority);
    return 0;
}

/* The authority's port stands for %d. */
static void ask_route(const char *url, const char *more)
{
    char text[1024], where[256];
    const char *at = strstr(url, "%d");

    snprintf(where, sizeof(where), "%.*s", at ? (int)(at - url) : (int)strlen(url), url);
    if (at)
        snprintf(where + strlen(where), sizeof(where) - strlen(where), "%d%s", port_of(authority),
                 at + 2);
    snprintf(text, sizeof(text),
             "{\"uri\":\"/a\",\"plugins\":{\"ask\":{\"url\":\"%s\"%s}},"
             "\"upstream\":{\"type\":\"roundrobin\",\"nodes\":{\"@\":1}}}",
             where, more);
    put(KIND_ROUTE, "1", text);
    exchange_start();
}

#define GET "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"

static struct peer *asked(void)
{
    struct peer *p = peer_accept(authority);

    UNTIL(peer_has(p, "\r\n\r\n"));
    return p;
}

static void is(const struct peer *p, const char *text)
{
    char *all = str_dup(str_make(p->in, p->n));

    assert_string_equal(all, text);
    free(all);
}

static void replied(struct peer *c, const char *text)
{
    UNTIL(peer_has(c, "]"));
    if (!peer_has(c, text))
        fail_msg("no %s in %.*s", text, (int)c->n, c->in);
    peer_forget(c);
    UNTIL(gw.worker->exchanges == 0);
}

static void passed(struct peer *c)
{
    struct peer *u = upstream();

    peer_send(u, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody");
    UNTIL(peer_has(c, "\r\n\r\nbody"));
    peer_forget(c);
    UNTIL(gw.worker->exchanges == 0);
}

/* ---- Questions and answers ---- */

static void test_passes(void **state)
{
    (void)state;
    ask_route("http://127.0.0.1:%d/may?i=1#no", "");
    struct peer *c = client();
    peer_send(c, GET);
    struct peer *p = asked();
    char want[128];
    snprintf(want, sizeof(want), "GET /may?i=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
             port_of(authority));
    is(p, want);
    peer_send(p, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes");
    passed(c);
    assert_false(peer_ended(p));
}

static void test_refuses(void **state)
{
    (void)state;
    ask_route("HTTP://127.0.0.1:%d", ",\"method\":\"POST\",\"uri\":\"/v1/x?y\",\"body\":\"{}\","
                                     "\"header\":\"q\",\"keepalive\":0");
    struct peer *c = client();
    peer_send(c, GET);
    struct peer *p = asked();
    UNTIL(peer_has(p, "\r\n\r\n{}"));
    char want[160];
    snprintf(want, sizeof(want),
             "POST /v1/x?y HTTP/1.1\r\nX-Ask: q\r\nHost: 127.0.0.1:%d\r\nContent-Length: 2\r\n"
             "Connection: close\r\n\r\n{}",
             port_of(authority));
    is(p, want);
    /* Interim heads are passed over; pieces are gathered. */
    peer_send(p, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nX-Extra: no\r\n\r\n");
    peer_drip(p,
              "HTTP/1.1 402 Pay\r\nX-Extra: e\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    peer_send(p, "2\r\nde\r\n0\r\n\r\n");
    replied(c, "[0 402 e abcde ]");
    UNTIL(peer_ended(p));
}

/* Both at the same time; the phase goes on when the last has ended. */
static void test_two_at_once(void **state)
{
    char also[64];

    (void)state;
    snprintf(also, sizeof(also), ",\"also\":\"http://127.0.0.1:%d/two\"", port_of(authority));
    ask_route("http://127.0.0.1:%d/one", also);
    struct peer *c = client();
    peer_send(c, GET);
    struct peer *one = asked(), *two = asked();
    if (!peer_has(one, "/one")) {
        struct peer *first = two;
        two = one;
        one = first;
    }
    peer_send(two, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
    STAYS(c->n == 0, 20);
    peer_send(one, "HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\n1");
    replied(c, "[0 404  1 ][0 200  2 ]");
}

/* ---- What can go wrong ---- */

static void test_nobody_there(void **state)
{
    (void)state;
    ask_route("http://127.0.0.1:%d", "");
    close(authority);
    authority = -1;
    struct peer *c = client();
    peer_send(c, GET);
    replied(c, "[1 0   the connection to the upstream failed (Connection refused)]");
}

static void test_late(void **state)
{
    (void)state;
    ask_route("http://127.0.0.1:%d", ",\"timeout\":40");
    struct peer *c = client();
    peer_send(c, GET);
    struct peer *p = asked();
    replied(c, "[2 0   timed out while its answer was waited for]");
    UNTIL(peer_ended(p));
    peer_send(c, GET);
    p = asked();
    peer_send(p, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab");
    replied(c, "[2 200   timed out while its answer was read]");
    UNTIL(peer_ended(p));
}

static void test_too_long(void **state)
{
    (void)state;
    ask_route("http://127.0.0.1:%d", "");
    struct peer *c = client();
    peer_send(c, GET);
    struct peer *p = asked();
    peer_send(p, "HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n");
    replied(c, "[1 200   the response is longer than 64 bytes]");
    UNTIL(peer_ended(p));
    peer_send(c, GET);
    p = asked();
    peer_send(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 3; i++)
        peer_send(p, "20\r\n01234567890123456789012345678901\r\n");
    replied(c, "[1 200   the response is longer than 64 bytes]");
    UNTIL(peer_ended(p));
    /* As long as it may be. */
    peer_send(c, GET);
    p = asked();
    peer_send(p, "HTTP/1.1 401 No\r\nContent-Length: 64\r\n\r\n"
                 "0123456789012345678901234567890101234567890123456789012345678901");
    replied(c, "[0 401  0123456789012345678901234567890101234567890123456789012345678901 ]");
}

static void test_broken(void **state)
{
    (void)state;
    ask_route("http://127.0.0.1:%d", "");
    struct peer *c = client();
    const struct {
        const char *sends, *error;
    } rows[] = {
        {"", "before its response head ended"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", "within its response body"},
        {"nonsense\r\n\r\n", "response head is malformed"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        peer_send(c, GET);
        struct peer *p = asked();
        peer_send(p, rows[i].sends);
        step();
        peer_close(p);
        replied(c, rows[i].error);
    }
}

/* A line that would become two is not sent at all. */
static void test_cannot_be_sent(void **state)
{
    (void)state;
    ask_route("http://127.0.0.1:%d", ",\"header\":\"a\\r\\nB: c\"");
    struct peer *c = client();
    peer_send(c, GET);
    replied(c, "[1 0   the request cannot be sent as it is]");
    assert_true(accept(authority, NULL, NULL) < 0);
}

static void test_client_leaves(void **state)
{
    (void)state;
    ask_route("http://127.0.0.1:%d", "");
    struct peer *c = client();
    peer_send(c, GET);
    struct peer *p = asked();
    peer_send(p, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab");
    step();
    peer_reset(c);
    UNTIL(gw.worker->exchanges == 0);
    UNTIL(peer_ended(p));
}

/* ---- Connections that are kept ---- */

static void test_kept(void **state)
{
    (void)state;
    ask_route("http://127.0.0.1:%d", "");
    struct peer *c = client();
    peer_send(c, GET);
    struct peer *p = asked();
    for (int i = 0; i < 3; i++) {
        peer_forget(p);
        peer_send(p, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
        replied(c, "[0 403   ]");
        peer_send(c, GET);
        UNTIL(peer_has(p, "\r\n\r\n"));
    }
    /* It closes as it is asked again: the question goes out once more. */
    peer_reset(p);
    p = asked();
    peer_send(p, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
    replied(c, "[0 403   ]");
}

/* What must not be asked twice is not. */
static void test_kept_post(void **state)
{
    (void)state;
    ask_route("http://127.0.0.1:%d", ",\"method\":\"POST\",\"body\":\"x\"");
    struct peer *c = client();
    peer_send(c, GET);
    struct peer *p = asked();
    UNTIL(peer_has(p, "\r\n\r\nx"));
    peer_forget(p);
    peer_send(p, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
    replied(c, "[0 403   ]");
    peer_send(c, GET);
    UNTIL(peer_has(p, "\r\n\r\nx"));
    peer_reset(p);
    replied(c, "[1 0   the upstream closed a kept connection");
    assert_true(accept(authority, NULL, NULL) < 0);
}

/* ---- Names ---- */

static void hosts_file(const char *text)
{
    char path[] = "/tmp/eclusa-hosts-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    setenv("CARES_HOSTS", path, 1);
}

/* Of its addresses only one answers. */
static void test_next_address(void **state)
{
    (void)state;
    hosts_file("127.0.0.1 three.test\n127.0.0.8 three.test\n127.0.0.9 three.test\n");
    ask_route("http://three.test:%d/x", "");
    struct peer *c = client();
    for (int i = 0; i < 8; i++) {
        peer_send(c, GET);
        struct peer *p = i ? &world.peers[1] : asked();
        UNTIL(peer_has(p, "\r\n\r\n"));
        assert_true(peer_has(p, "\r\nHost: three.test:"));
        peer_forget(p);
        peer_send(p, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
        replied(c, "[0 403   ]");
    }
    unlink(getenv("CARES_HOSTS"));
}

static void test_no_such_name(void **state)
{
    (void)state;
    hosts_file("");
    ask_route("http://not-there.invalid:%d/x", ",\"timeout\":3000");
    struct peer *c = client();
    for (int i = 0; i < 2; i++) { /* the second time it is known to fail */
        peer_send(c, GET);
        replied(c, "[1 0   its name could not be resolved]");
    }
    unlink(getenv("CARES_HOSTS"));
}

/* ---- TLS ---- */

static SSL_CTX *server_context(char *ca_path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509V3_CTX ctx;

    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf(NULL, &ctx, "subjectAltName", "DNS:good.test");
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    int fd = mkstemp(ca_path);
    FILE *f = fdopen(fd, "w");
    assert_true(f && PEM_write_X509(f, x) && fclose(f) == 0);
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(server, x), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(server, key), 1);
    X509_free(x);
    EVP_PKEY_free(key);
    return server;
}

/* Answers one connection, if the handshake succeeds. */
static void *answer_tls(void *ctx)
{
    int flags = fcntl(authority, F_GETFL);
    char in[512];

    fcntl(authority, F_SETFL, flags & ~O_NONBLOCK);
    int fd = accept(authority, NULL, NULL);
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1 && SSL_read(ssl, in, sizeof(in)) > 0) {
        static const char answer[] = "HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nover";
        SSL_write(ssl, answer, sizeof(answer) - 1);
        SSL_read(ssl, in, sizeof(in)); /* until it is closed */
    }
    SSL_free(ssl);
    close(fd);
    return NULL;
}

static void over_tls(const char *url, const char *more, const char *expect)
{
    char ca[] = "/tmp/eclusa-ca-XXXXXX";
    SSL_CTX *server = server_context(ca);
    pthread_t thread;
    struct str err;

    hosts_file("127.0.0.1 good.test\n127.0.0.1 other.test\n");
    ask_route(url, more);
    gw.config.tls_verified = tls_client_context(str_of(ca), true, &gw.arena, &err);
    gw.config.tls_unverified = tls_client_context(STR_NONE, false, &gw.arena, &err);
    unlink(ca);
    pthread_create(&thread, NULL, answer_tls, server);
    struct peer *c = client();
    peer_send(c, GET);
    replied(c, expect);
    pthread_join(thread, NULL);
    SSL_CTX_free(server);
    unlink(getenv("CARES_HOSTS"));
}

static void test_tls(void **state)
{
    (void)state;
    over_tls("https://good.test:%d/", ",\"keepalive\":0", "[0 403  over ]");
}

static void test_tls_other_name(void **state)
{
    (void)state;
    over_tls("https://other.test:%d/", ",\"keepalive\":0",
             "[1 0   the upstream's certificate could not be verified");
}

static void test_tls_unverified(void **state)
{
    (void)state;
    over_tls("https://other.test:%d/", ",\"keepalive\":0,\"verify\":false", "[0 403  over ]");
}

/* ---- URLs ---- */

static void test_urls(void **state)
{
    static const struct {
        const char *url, *host, *authority, *uri;
        uint16_t port;
        bool tls;
    } rows[] = {
        {"http://a", "a", "a", "/", 80, false},
        {" https://a.test/x ", "a.test", "a.test", "/x", 443, true},
        {"http://a:81?q=1", "a", "a:81", "/?q=1", 81, false},
        {"http://[::1]:82/x", "::1", "[::1]:82", "/x", 82, false},
        {"http://a/b c", "a", "a", "/b%20c", 80, false},
        {"http://a#b", "a", "a", "/", 80, false},
        {"", .host = NULL},
        {"a", .host = NULL},
        {"ftp://a", .host = NULL},
        {"http://", .host = NULL},
        {"http:///x", .host = NULL},
        {"http://a:0x/", .host = NULL},
        {"http://a:65536/", .host = NULL},
        {"http://user@a/", .host = NULL},
        {"http://a b/", .host = NULL},
    };
    struct arena a;

    (void)state;
    arena_init(&a, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fetch_target *t = fetch_target_new(&a, str_of(rows[i].url), NULL);
        if (!t != !rows[i].host)
            fail_msg("\"%s\": %s", rows[i].url, t ? "taken" : "refused");
        if (!t)
            continue;
        assert_true(str_eq(t->host, str_of(rows[i].host)));
        assert_true(str_eq(t->authority, str_of(rows[i].authority)));
        assert_true(str_eq(t->uri, str_of(rows[i].uri)));
        assert_int_equal(t->port, rows[i].port);
        assert_int_equal(t->tls, rows[i].tls);
        assert_int_equal(t->options.timeout_ms, 60000);
        assert_int_equal(t->options.body_max, 1 << 20);
    }
    arena_fini(&a);
}

static void silent(enum log_level level, struct str line)
{
    (void)level;
    (void)line;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_passes),
        TEST(test_refuses),
        TEST(test_two_at_once),
        TEST(test_nobody_there),
        TEST(test_late),
        TEST(test_too_long),
        TEST(test_broken),
        TEST(test_cannot_be_sent),
        TEST(test_client_leaves),
        TEST(test_kept),
        TEST(test_kept_post),
        TEST(test_next_address),
        TEST(test_no_such_name),
        TEST(test_tls),
        TEST(test_tls_other_name),
        TEST(test_tls_unverified),
        cmocka_unit_test(test_urls),
    };

    log_setup(silent, LOG_EMERG);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
