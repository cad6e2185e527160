/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets: what is written arrives whole and in order however little the kernel takes, what is read
 * is read to its end, plain and through TLS, and how both end. */
#include "loop/sock.c" /* NOLINT: for its limits */

#include "../conn/conn_fixture.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

/* A socket that notes what it is told, and reads as the test says. */
struct end {
    struct sock sock;
    unsigned opens, readables, drained, moved, fails;
    enum reason why;
    char *in;
    size_t n, step; /* step: bytes a read; 0: does not read */
    ssize_t last;   /* of sock_read */
};

enum { END_BYTES = 8 << 20 };

static void end_read(struct end *e)
{
    while (e->step && e->sock.readable && e->sock.state == SOCK_OPEN) {
        assert_true(e->n + e->step <= END_BYTES);
        e->last = sock_read(&e->sock, e->in + e->n, e->step);
        if (e->last <= 0)
            return;
        e->n += (size_t)e->last;
    }
}

static struct end *end_of(struct sock *s)
{
    return CONTAINER(s, struct end, sock);
}

static void on_open(struct sock *s)
{
    end_of(s)->opens++;
}

static void on_readable(struct sock *s)
{
    end_of(s)->readables++;
    end_read(end_of(s));
}

static void on_drained(struct sock *s)
{
    end_of(s)->drained++;
}

static void on_moved(struct sock *s)
{
    end_of(s)->moved++;
}

static void on_failed(struct sock *s, enum reason why)
{
    end_of(s)->fails++;
    end_of(s)->why = why;
}

static const struct sock_ops callbacks = {on_open, on_readable, on_drained, on_moved, on_failed};

static struct end *end_new(int fd, enum sock_state state)
{
    struct end *e = mem_zero(sizeof(*e));

    e->in = mem_alloc(END_BYTES);
    e->step = 65536;
    assert_true(sock_init(&e->sock, &world.t->loop, world.t->out, fd, state, &callbacks));
    return e;
}

static void end_free(struct end *e)
{
    sock_close(&e->sock, false);
    step();
    free(e->in);
    free(e);
}

/* Two ends of one connection; small: buffers of the kernel as small as it lets them be. */
static void pair(struct end **a, struct end **b, bool small)
{
    int listener = listen_here(1, small ? 4096 : 0), fd = -1, bytes = 4096;
    struct addr to = addr_here(port_of(listener));
    int out = sock_connect(&to.sa, sizeof(to.in));

    assert_true(out >= 0);
    if (small)
        setsockopt(out, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    *a = end_new(out, SOCK_CONNECTING);
    UNTIL((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0);
    *b = end_new(fd, SOCK_OPEN);
    UNTIL((*a)->opens == 1);
    close(listener);
}

static char *pattern(size_t n)
{
    char *p = mem_alloc(n);

    for (size_t i = 0; i < n; i++)
        p[i] = (char)(i * 7 + i / 251);
    return p;
}

static int setup(void **state)
{
    (void)state;
    fixture_setup();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_teardown();
    return 0;
}

/* ---- Plain
 * ------------------------------------------------------------------------------------ */

static void test_outbox(void **state)
{
    struct end *a, *b, *c, *d;

    (void)state;
    pair(&a, &b, false);
    pair(&c, &d, false);
    sock_write(&a->sock, STR("one "));
    memcpy(sock_room(&a->sock, 100), "two ", 4);
    sock_wrote(&a->sock, 4);
    assert_int_equal(sock_queued(&a->sock), 8);
    sock_write(&c->sock, STR("other")); /* takes the outbox: a's bytes leave */
    assert_int_equal(sock_queued(&a->sock), 0);
    sock_write(&a->sock, STR("three"));
    assert_int_equal(sock_queued(&c->sock), 0);
    UNTIL(b->n == 13 && d->n == 5);
    assert_memory_equal(b->in, "one two three", 13);
    assert_memory_equal(d->in, "other", 5);
    /* Nothing is lost to a close. */
    sock_write(&a->sock, STR("last"));
    sock_close(&a->sock, false);
    UNTIL(b->last == 0);
    assert_memory_equal(b->in + 13, "last", 4);
    assert_true(b->sock.hup);
    end_free(a);
    end_free(b);
    end_free(c);
    end_free(d);
}

/* Pieces of all sizes into a kernel that takes little. */
static void test_small_buffers(void **state)
{
    enum { BYTES = 3 << 20 };
    struct end *a, *b;
    char *data = pattern(BYTES);
    size_t sent = 0, piece = 1;

    (void)state;
    pair(&a, &b, true);
    b->step = 0;
    while (sent < BYTES) {
        size_t n = piece < BYTES - sent ? piece : BYTES - sent;
        if (n <= OUTBOX_BYTES / 2 && piece % 3 == 0) {
            memcpy(sock_room(&a->sock, n), data + sent, n);
            sock_wrote(&a->sock, n);
        } else {
            sock_write(&a->sock, str_make(data + sent, n));
        }
        sent += n;
        piece = piece * 5 % 300007 + 1;
    }
    step();
    assert_true(sock_full(&a->sock));
    assert_true(sock_queued(&a->sock) > BYTES / 2);
    assert_int_equal(a->drained, 0);
    b->step = 5000;
    end_read(b);
    UNTIL(b->n == BYTES);
    assert_memory_equal(b->in, data, BYTES);
    UNTIL(a->drained == 1);
    assert_false(sock_full(&a->sock));
    assert_int_equal(sock_queued(&a->sock), 0);
    assert_true(a->moved > 1);
    assert_null(a->sock.queue.p);
    free(data);
    end_free(a);
    end_free(b);
}

/* Full from SOCK_QUEUE_HIGH on, until all is gone. */
static void test_full(void **state)
{
    struct end *a, *b;
    char *data = pattern(65536);

    (void)state;
    pair(&a, &b, true);
    b->step = 0;
    while (!sock_full(&a->sock)) {
        assert_true(a->sock.queue.n < SOCK_QUEUE_HIGH);
        sock_write(&a->sock, str_make(data, 1000));
        sock_flush(&a->sock);
    }
    assert_in_range(a->sock.queue.n, SOCK_QUEUE_HIGH, SOCK_QUEUE_HIGH + 1000);
    b->step = 65536;
    end_read(b);
    UNTIL(a->drained);
    free(data);
    end_free(a);
    end_free(b);
}

/* ---- Bytes that are not copied ---- */

static void on_release(void *arg)
{
    ++*(int *)arg;
}

/* Without copying, to a slow peer; the owner is let go when the last byte has left. What is small
 * is copied, and what is written behind it comes behind it. */
static void check_shared(struct end *a, struct end *b)
{
    enum { SIZE = 3 << 20, SMALL = 1000 };
    char *data = pattern(SIZE);
    int released = 0;
    struct shared *owner = shared_new(on_release, &released);

    b->step = 0;
    sock_write(&a->sock, STR("head"));
    sock_write_shared(&a->sock, str_make(data, SMALL), owner);
    assert_int_equal(owner->users, 1);
    sock_write_shared(&a->sock, str_make(data, SIZE), owner);
    assert_int_equal(owner->users, 2);
    assert_true(sock_full(&a->sock) && sock_waits(&a->sock));
    assert_ptr_equal(a->sock.tail.p + a->sock.tail.n, data + SIZE);
    assert_in_range(sock_queued(&a->sock), SIZE / 4, SIZE + SMALL + 4);
    assert_in_range(a->sock.queue.n, 0, 2 * SMALL);
    shared_put(owner);
    assert_int_equal(released, 0);
    STAYS(a->drained == 0, 3);
    b->step = 65536;
    end_read(b);
    UNTIL(a->drained == 1);
    assert_int_equal(released, 1);
    assert_false(sock_waits(&a->sock) || sock_full(&a->sock));
    sock_write(&a->sock, STR("end"));
    sock_flush(&a->sock);
    UNTIL(b->n == 4 + SMALL + SIZE + 3);
    assert_memory_equal(b->in, "head", 4);
    assert_memory_equal(b->in + 4, data, SMALL);
    assert_memory_equal(b->in + 4 + SMALL, data, SIZE);
    assert_memory_equal(b->in + 4 + SMALL + SIZE, "end", 3);
    free(data);
}

static void test_shared(void **state)
{
    struct end *a, *b;

    (void)state;
    pair(&a, &b, true);
    check_shared(a, b);
    end_free(a);
    end_free(b);
}

/* Several pieces and copies in turn, none of them taken yet. */
static void test_shared_in_turn(void **state)
{
    enum { SIZE = 300000 };
    struct end *a, *b;
    char *data = pattern(SIZE);
    int released = 0;

    (void)state;
    pair(&a, &b, true);
    b->step = 0;
    for (int i = 0; i < 5; i++) {
        struct shared *owner = shared_new(on_release, &released);
        sock_write_shared(&a->sock, str_make(data, SIZE), owner);
        shared_put(owner);
        assert_int_equal(released, i);
        sock_write(&a->sock, str_make(data, i % 2 ? 70000 : 10));
        sock_flush(&a->sock);
        assert_int_equal(released, i + 1); /* what follows it took its place: it was copied */
    }
    b->step = 65536;
    end_read(b);
    UNTIL(a->drained);
    UNTIL(b->n == 5 * SIZE + 3 * 10 + 2 * 70000);
    size_t at = 0;
    for (int i = 0; i < 5; i++) {
        size_t more = i % 2 ? 70000 : 10;
        assert_memory_equal(b->in + at, data, SIZE);
        assert_memory_equal(b->in + at + SIZE, data, more);
        at += SIZE + more;
    }
    free(data);
    end_free(a);
    end_free(b);
}

/* The owner is let go by a socket that is closed or fails, once. */
static void test_shared_ends(void **state)
{
    enum { SIZE = 3 << 20 };
    char *data = pattern(SIZE);

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct end *a, *b;
        int released = 0;
        struct shared *owner = shared_new(on_release, &released);
        pair(&a, &b, true);
        b->step = 0;
        sock_write_shared(&a->sock, str_make(data, SIZE), owner);
        shared_put(owner);
        assert_int_equal(released, 0);
        if (i == 2) {
            sock_close(&b->sock, true);
            UNTIL(a->fails || a->sock.hup);
        }
        sock_close(&a->sock, i == 1);
        assert_int_equal(released, 1);
        end_free(a);
        end_free(b);
        assert_int_equal(released, 1);
    }
    free(data);
}

/* More than a queue may hold: the socket fails, later, once, and no byte passes the gap. */
static void test_overflow(void **state)
{
    struct end *a, *b;
    char *data = mem_zero(4 << 20);

    (void)state;
    pair(&a, &b, true);
    b->step = 0;
    while (a->sock.queue.n < SOCK_QUEUE_MAX - 1000) {
        size_t left = SOCK_QUEUE_MAX - 1000 - a->sock.queue.n;
        sock_write(&a->sock, str_make(data, left < 4 << 20 ? left : 4 << 20));
        sock_flush(&a->sock);
    }
    assert_false(a->sock.broken);
    sock_write(&a->sock, STR("after"));
    memset(data, '!', 60000);
    sock_write(&a->sock, str_make(data, 40000)); /* in the outbox; it does not fit */
    sock_write(&a->sock, str_make(data, 60000)); /* this would */
    assert_true(a->sock.broken);
    assert_int_equal(a->fails, 0);
    UNTIL(a->fails);
    sock_write(&a->sock, STR("more"));
    STAYS(a->fails == 1, 3);
    b->step = 65536;
    end_read(b);
    STAYS(true, 10);
    assert_true(b->n < 4 << 20);
    assert_null(memchr(b->in, '!', b->n));
    free(data);
    end_free(a);
    end_free(b);
}

static void test_write_fails(void **state)
{
    struct end *a, *b;

    (void)state;
    pair(&a, &b, false);
    sock_close(&b->sock, true);
    UNTIL(a->last < 0); /* the reset */
    assert_true(a->sock.hup);
    sock_write(&a->sock, STR("x"));
    sock_flush(&a->sock);
    assert_int_equal(a->fails, 0); /* never inside a write */
    UNTIL(a->fails == 1);
    assert_int_equal(a->why, REASON_NONE);
    end_free(a);
    end_free(b);
}

/* A callback never comes after sock_close, not even for what had failed before. */
static void test_close_forgets(void **state)
{
    struct end *a, *b;

    (void)state;
    pair(&a, &b, false);
    sock_close(&b->sock, true);
    UNTIL(a->last < 0);
    sock_write(&a->sock, STR("x"));
    sock_flush(&a->sock);
    sock_close(&a->sock, false);
    STAYS(a->fails == 0, 3);
    end_free(a);
    end_free(b);
}

/* Bytes, then the end, whatever the size of the reads; the end is seen without another edge. */
static void test_end_of_file(void **state)
{
    static const size_t steps[] = {1, 3, 4, 5, 65536};
    struct end *a, *b;

    (void)state;
    for (unsigned i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        pair(&a, &b, false);
        b->step = 0;
        sock_write(&a->sock, STR("12345678"));
        sock_flush(&a->sock);
        sock_shutdown(&a->sock);
        UNTIL(b->sock.hup);
        b->step = steps[i];
        b->last = -1;
        end_read(b); /* no event from here on */
        assert_int_equal(b->n, 8);
        assert_int_equal(b->last, 0);
        /* The other way still works. */
        sock_write(&b->sock, STR("back"));
        UNTIL(a->n == 4);
        end_free(a);
        end_free(b);
    }
}

/* A reader that stops in the middle finds the rest when it goes on. */
static void test_reading_later(void **state)
{
    struct end *a, *b;

    (void)state;
    pair(&a, &b, false);
    b->step = 0;
    sock_write(&a->sock, STR("abcdef"));
    UNTIL(b->readables);
    assert_true(b->sock.readable);
    b->last = sock_read(&b->sock, b->in, 3); /* full: there may be more */
    assert_int_equal(b->last, 3);
    assert_true(b->sock.readable);
    b->last = sock_read(&b->sock, b->in + 3, 100);
    assert_int_equal(b->last, 3);
    assert_false(b->sock.readable); /* short: a new edge will come */
    unsigned had = b->readables;
    sock_write(&a->sock, STR("g"));
    UNTIL(b->readables > had);
    end_free(a);
    end_free(b);
}

/* What the peer says at once is read without another edge. */
static void test_greeting(void **state)
{
    int listener = listen_here(1, 0);
    struct addr to = addr_here(port_of(listener));
    struct end *a;

    (void)state;
    int out = sock_connect(&to.sa, sizeof(to.in));
    struct peer *p = peer_accept(listener); /* before the loop sees the connection */
    peer_send(p, "hello");
    a = end_new(out, SOCK_CONNECTING);
    UNTIL(a->n == 5);
    assert_int_equal(a->opens, 1);
    close(listener);
    end_free(a);
}

static void test_refused(void **state)
{
    int listener = listen_here(1, 0);
    struct addr to = addr_here(port_of(listener));

    (void)state;
    close(listener);
    struct end *a = end_new(sock_connect(&to.sa, sizeof(to.in)), SOCK_CONNECTING);
    UNTIL(a->fails);
    assert_int_equal(a->why, REASON_CONNECT_FAILED);
    assert_int_equal(a->opens, 0);
    end_free(a);
    /* Refused at once, with the reason in errno. */
    to.sa.sa_family = AF_UNSPEC;
    errno = 0;
    assert_int_equal(sock_connect(&to.sa, sizeof(to.in)), -1);
    assert_int_not_equal(errno, 0);
}

static void test_addr_text(void **state)
{
    struct addr a = addr_here(8080), b;
    char text[56];

    (void)state;
    memset(&b, 0, sizeof(b));
    b.in6.sin6_family = AF_INET6;
    b.in6.sin6_port = htons(443);
    b.in6.sin6_addr.s6_addr[15] = 1;
    assert_int_equal(sock_addr_text(&a.sa, text, true), 14);
    assert_string_equal(text, "127.0.0.1:8080");
    sock_addr_text(&a.sa, text, false);
    assert_string_equal(text, "127.0.0.1");
    sock_addr_text(&b.sa, text, true);
    assert_string_equal(text, "[::1]:443");
    sock_addr_text(&b.sa, text, false);
    assert_string_equal(text, "::1");
    assert_int_equal(sock_addr_port(&b.sa), 443);
}

/* ---- TLS
 * -------------------------------------------------------------------------------------- */

static struct {
    SSL_CTX *server, *verified, *unverified;
    char folder[32], ca[48];
} tls;

/* A certificate that signs itself, for "up.test" and 127.0.0.1. */
static void make_certificate(EVP_PKEY **key, X509 **cert)
{
    *key = EVP_EC_gen("P-256");
    X509 *x = *cert = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, *key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    static const char *const extensions[][2] = {{"subjectAltName", "DNS:up.test,IP:127.0.0.1"},
                                                {"basicConstraints", "critical,CA:TRUE"}};
    for (int i = 0; i < 2; i++) {
        X509_EXTENSION *e = X509V3_EXT_conf(NULL, &ctx, extensions[i][0], extensions[i][1]);
        assert_non_null(e);
        X509_add_ext(x, e, -1);
        X509_EXTENSION_free(e);
    }
    assert_true(X509_sign(x, *key, EVP_sha256()) > 0);
}

static int tls_setup(void **state)
{
    EVP_PKEY *key;
    X509 *cert;
    struct arena a;
    struct str err;

    setup(state);
    snprintf(tls.folder, sizeof(tls.folder), "/tmp/test_sock.XXXXXX");
    assert_non_null(mkdtemp(tls.folder));
    snprintf(tls.ca, sizeof(tls.ca), "%s/ca.pem", tls.folder);
    make_certificate(&key, &cert);
    FILE *f = fopen(tls.ca, "w");
    assert_true(f && PEM_write_X509(f, cert) && fclose(f) == 0);
    tls.server = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_mode(tls.server,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(tls.server, SSL_OP_IGNORE_UNEXPECTED_EOF);
    assert_int_equal(SSL_CTX_use_certificate(tls.server, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(tls.server, key), 1);
    X509_free(cert);
    EVP_PKEY_free(key);
    arena_init(&a, NULL);
    tls.verified = tls_client_context(str_of(tls.ca), true, &a, &err);
    tls.unverified = tls_client_context(STR_NONE, false, &a, &err);
    assert_true(tls.verified && tls.unverified);
    arena_fini(&a);
    return 0;
}

static int tls_teardown(void **state)
{
    SSL_CTX_free(tls.server);
    SSL_CTX_free(tls.verified);
    SSL_CTX_free(tls.unverified);
    unlink(tls.ca);
    rmdir(tls.folder);
    return teardown(state);
}

/* A client and a server whose handshake is to come. */
static void tls_pair(struct end **a, struct end **b, SSL_CTX *ctx, const char *name, bool small,
                     struct tls_session *memory)
{
    int listener = listen_here(1, small ? 4096 : 0), fd = -1, bytes = 4096;
    struct addr to = addr_here(port_of(listener));
    int out = sock_connect(&to.sa, sizeof(to.in));

    if (small)
        setsockopt(out, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    *a = end_new(out, SOCK_CONNECTING);
    sock_tls(&(*a)->sock, tls_client_new(ctx, str_of(name), NULL, memory));
    UNTIL((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0);
    *b = end_new(fd, SOCK_HANDSHAKE);
    SSL *ssl = SSL_new(tls.server);
    SSL_set_accept_state(ssl);
    sock_tls(&(*b)->sock, ssl);
    close(listener);
}

static void tls_open(struct end **a, struct end **b, bool small)
{
    tls_pair(a, b, tls.verified, "up.test", small, NULL);
    UNTIL((*a)->opens && (*b)->opens);
}

static void test_tls_names(void **state)
{
    static const struct {
        const char *name;
        bool trusts, verifies, ok;
    } rows[] = {
        {"up.test", true, true, true},     {"127.0.0.1", true, true, true},
        {"down.test", true, true, false},  {"127.0.0.2", true, true, false},
        {"down.test", false, false, true},
    };
    struct end *a, *b;
    struct arena arena;

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        tls_pair(&a, &b, rows[i].verifies ? tls.verified : tls.unverified, rows[i].name, false,
                 NULL);
        UNTIL(a->opens + a->fails);
        assert_int_equal(a->opens, rows[i].ok);
        if (!rows[i].ok) {
            assert_int_equal(a->why, REASON_TLS_UNVERIFIED);
            arena_init(&arena, NULL);
            assert_true(str_starts(tls_error(a->sock.ssl, &arena), STR("certificate: ")));
            arena_fini(&arena);
        }
        end_free(a);
        end_free(b);
    }
}

static void test_tls_untrusted(void **state)
{
    struct arena arena;
    struct str err;
    struct end *a, *b;

    (void)state;
    arena_init(&arena, NULL);
    SSL_CTX *ctx = tls_client_context(STR_NONE, true, &arena, &err);
    assert_non_null(ctx);
    tls_pair(&a, &b, ctx, "up.test", false, NULL);
    UNTIL(a->fails);
    assert_int_equal(a->why, REASON_TLS_UNVERIFIED);
    end_free(a);
    end_free(b);
    /* Nothing to hold a certificate against: any would do. */
    assert_null(tls_client_new(ctx, STR(""), NULL, NULL));
    assert_null(tls_client_new(ctx, STR_NONE, NULL, NULL));
    SSL *unnamed = tls_client_new(tls.unverified, STR(""), NULL, NULL);
    assert_non_null(unnamed);
    SSL_free(unnamed);
    SSL_CTX_free(ctx);
    assert_null(tls_client_context(STR("/nonexistent"), true, &arena, &err));
    assert_true(str_search(err, STR("/nonexistent")) >= 0);
    arena_fini(&arena);
}

/* No TLS at the other end: a failure, but not of verification, whether one was asked for or not. */
static void test_tls_to_plain(void **state)
{
    SSL_CTX *ctxs[] = {tls.verified, tls.unverified};

    (void)state;
    for (int i = 0; i < 4; i++) {
        int listener = listen_here(1, 0);
        struct addr to = addr_here(port_of(listener));
        int out = sock_connect(&to.sa, sizeof(to.in));
        struct end *a = end_new(out, SOCK_CONNECTING);
        sock_tls(&a->sock, tls_client_new(ctxs[i % 2], STR("up.test"), NULL, NULL));
        struct peer *p = peer_accept(listener);
        if (i < 2)
            peer_send(p, "HTTP/1.1 400 Bad Request\r\n\r\n");
        else
            peer_close(p);
        UNTIL(a->fails);
        assert_int_equal(a->why, REASON_TLS_FAILED);
        assert_int_equal(a->opens, 0);
        end_free(a);
        close(listener);
    }
}

/* Records lie in OpenSSL when the socket is empty: a reader of small steps gets them all, without
 * another edge. */
static void test_tls_pending(void **state)
{
    enum { BYTES = 40000 };
    static const size_t steps[] = {1, 100, 16384, 65536};
    char *data = pattern(BYTES);
    struct end *a, *b;

    (void)state;
    for (unsigned i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        tls_open(&a, &b, false);
        a->step = 0;
        sock_write(&b->sock, str_make(data, BYTES));
        sock_flush(&b->sock);
        STAYS(true, 5); /* all of it has come */
        assert_true(a->sock.readable);
        a->step = steps[i];
        end_read(a);
        assert_int_equal(a->n, BYTES);
        assert_memory_equal(a->in, data, BYTES);
        assert_false(a->sock.readable);
        sock_write(&b->sock, STR("next"));
        UNTIL(a->n == BYTES + 4);
        end_free(a);
        end_free(b);
    }
    free(data);
}

/* Stopping within a record, and going on later. */
static void test_tls_reading_later(void **state)
{
    struct end *a, *b;

    (void)state;
    tls_open(&a, &b, false);
    a->step = 0;
    sock_write(&b->sock, STR("abcdef"));
    sock_flush(&b->sock);
    STAYS(true, 5);
    assert_int_equal(sock_read(&a->sock, a->in, 2), 2);
    STAYS(a->sock.readable, 5); /* what is in OpenSSL is not forgotten */
    assert_int_equal(sock_read(&a->sock, a->in, 100), 4);
    assert_int_equal(sock_read(&a->sock, a->in, 100), -1);
    assert_false(a->sock.readable);
    end_free(a);
    end_free(b);
}

static void update_keys(struct end *e, unsigned times)
{
    while (times--) {
        assert_int_equal(SSL_key_update(e->sock.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(e->sock.ssl), 1);
    }
}

/* Updates of keys without end, or with data between them (RFC 8446 §4.6.3). */
static void test_tls_barren(void **state)
{
    enum { UPDATES = 1200 }; /* 27 bytes each */
    struct end *a, *b;

    (void)state;
    tls_open(&a, &b, false);
    b->step = 0;
    for (unsigned i = 0; i < 3; i++) {
        update_keys(a, UPDATES);
        sock_write(&a->sock, STR("x"));
        sock_flush(&a->sock);
        STAYS(true, 5);
        assert_int_equal(sock_read(&b->sock, b->in, 100), 1);
    }
    for (unsigned i = 0; i < 2; i++) {
        update_keys(a, UPDATES);
        STAYS(true, 5);
        assert_int_equal(sock_read(&b->sock, b->in, 100), i ? -2 : -1);
    }
    end_free(a);
    end_free(b);
}

static void test_tls_small_buffers(void **state)
{
    enum { BYTES = 1 << 20 };
    struct end *a, *b;
    char *data = pattern(BYTES);

    (void)state;
    tls_open(&a, &b, true);
    b->step = 0;
    for (size_t at = 0, piece = 1; at < BYTES; at += piece, piece = piece * 5 % 40009 + 1) {
        if (piece > BYTES - at)
            piece = BYTES - at;
        sock_write(&a->sock, str_make(data + at, piece));
        /* The other way at the same time. */
        sock_write(&b->sock, str_make(data + at, piece));
    }
    step();
    assert_true(sock_full(&a->sock));
    b->step = 3000;
    end_read(b);
    UNTIL(b->n == BYTES && a->n == BYTES);
    assert_memory_equal(b->in, data, BYTES);
    assert_memory_equal(a->in, data, BYTES);
    UNTIL(a->drained);
    free(data);
    end_free(a);
    end_free(b);
}

static void test_tls_shared(void **state)
{
    struct end *a, *b;

    (void)state;
    tls_open(&a, &b, true);
    b->n = 0;
    check_shared(a, b);
    end_free(a);
    end_free(b);
}

static void test_tls_ends(void **state)
{
    struct end *a, *b;

    (void)state;
    tls_open(&a, &b, false);
    sock_write(&b->sock, STR("last"));
    sock_close(&b->sock, false); /* close_notify */
    UNTIL(a->n == 4 && a->last == 0);
    assert_true(a->sock.hup);
    end_free(a);
    end_free(b);
    /* Without close_notify it is an end of file too: the framing tells whether it was too early. */
    tls_open(&a, &b, false);
    shutdown(b->sock.io.fd, SHUT_RDWR);
    UNTIL(a->last == 0);
    end_free(a);
    end_free(b);
    tls_open(&a, &b, false);
    sock_close(&b->sock, true);
    UNTIL(a->last == -2);
    end_free(a);
    end_free(b);
}

static void test_tls_resumption(void **state)
{
    struct tls_session memory = {0};
    struct end *a, *b;

    (void)state;
    for (int i = 0; i < 3; i++) {
        tls_pair(&a, &b, tls.verified, "up.test", false, &memory);
        UNTIL(a->opens && b->opens);
        assert_int_equal(SSL_session_reused(a->sock.ssl), i > 0);
        sock_write(&b->sock, STR("x"));
        UNTIL(a->n == 1); /* its ticket has come with it */
        assert_non_null(memory.session);
        end_free(a);
        end_free(b);
    }
    tls_session_forget(&memory);
    assert_null(memory.session);
}

#define TEST(name)     cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TLS_TEST(name) cmocka_unit_test_setup_teardown(name, tls_setup, tls_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_outbox),
        TEST(test_small_buffers),
        TEST(test_full),
        TEST(test_shared),
        TEST(test_shared_in_turn),
        TEST(test_shared_ends),
        TEST(test_overflow),
        TEST(test_write_fails),
        TEST(test_close_forgets),
        TEST(test_end_of_file),
        TEST(test_reading_later),
        TEST(test_greeting),
        TEST(test_refused),
        TEST(test_addr_text),
        TLS_TEST(test_tls_names),
        TLS_TEST(test_tls_untrusted),
        TLS_TEST(test_tls_to_plain),
        TLS_TEST(test_tls_pending),
        TLS_TEST(test_tls_reading_later),
        TLS_TEST(test_tls_barren),
        TLS_TEST(test_tls_small_buffers),
        TLS_TEST(test_tls_shared),
        TLS_TEST(test_tls_ends),
        TLS_TEST(test_tls_resumption),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
