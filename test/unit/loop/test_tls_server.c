/* SPDX-License-Identifier: Apache-2.0 */
/* The server's context without sockets: names in hellos, sites, keys of tickets, identities. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/pem.h>

#include "base/mem.h"
#include "loop/tls_server.c" /* NOLINT: for the keys */

static struct {
    struct arena arena;
    struct str cert, key, other_cert, other_key; /* PEM */
    struct tls_identity *identity, *other, *mixed;
    struct tls_server *server;
    SSL_CTX *client;
} f;

static struct str bio_text(BIO *bio)
{
    char *p;
    long n = BIO_get_mem_data(bio, &p);
    struct str s = arena_str(&f.arena, str_make(p, (size_t)n));

    BIO_free(bio);
    return s;
}

static void make_pair(struct str *cert_pem, struct str *key_pem)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    BIO *bio = BIO_new(BIO_s_mem());

    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    PEM_write_bio_X509(bio, x);
    *cert_pem = bio_text(bio);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    *key_pem = bio_text(bio);
    X509_free(x);
    EVP_PKEY_free(key);
}

static int setup(void **state)
{
    const struct tls_server_config config = {.versions = TLS_V1_2 | TLS_V1_3, .tickets = true};
    struct str err;

    (void)state;
    arena_init(&f.arena, NULL);
    make_pair(&f.cert, &f.key);
    make_pair(&f.other_cert, &f.other_key);
    f.identity = tls_identity_new(f.cert, f.key);
    f.other = tls_identity_new(f.other_cert, f.other_key);
    f.mixed = tls_identity_new(f.cert, f.other_key);
    f.server = tls_server_new(&config, &f.arena, &err);
    assert_true(f.identity && f.other && f.mixed && f.server);
    f.client = SSL_CTX_new(TLS_client_method());
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tls_identity_put(f.identity);
    tls_identity_put(f.other);
    tls_identity_put(f.mixed);
    tls_server_free(f.server);
    SSL_CTX_free(f.client);
    arena_fini(&f.arena);
    return 0;
}

static const struct tls_site *find(void *arg, struct str name)
{
    const struct tls_site *site = arg;

    return name.p && str_eq(name, STR("a.test")) ? site : NULL;
}

struct outcome {
    bool done, resumed;
    enum reason why;
    SSL_SESSION *session; /* the client's afterwards */
};

/* A handshake within memory, and a byte that brings TLS 1.3's tickets. */
static struct outcome shake(const struct tls_site *site, const char *name, int version,
                            SSL_SESSION *session)
{
    struct tls_peer peer = {.find = find, .arg = (void *)(uintptr_t)site};
    SSL *server = tls_server_accept(f.server, &peer), *client = SSL_new(f.client);
    struct outcome out = {0};
    BIO *one, *two;
    char byte;

    BIO_new_bio_pair(&one, 0, &two, 0);
    SSL_set_bio(server, one, one);
    SSL_set_bio(client, two, two);
    SSL_set_connect_state(client);
    SSL_set_min_proto_version(client, version);
    SSL_set_max_proto_version(client, version);
    if (name)
        SSL_ctrl(client, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                 (void *)(uintptr_t)name);
    if (session)
        SSL_set_session(client, session);
    for (int i = 0; i < 10 && !out.done; i++) {
        int theirs = SSL_do_handshake(client), ours = SSL_do_handshake(server);
        out.done = theirs == 1 && ours == 1;
    }
    out.why = peer.why;
    if (out.done) {
        tls_peer_learn(&peer, server);
        out.resumed = peer.resumed;
        SSL_write(server, "x", 1);
        assert_int_equal(SSL_read(client, &byte, 1), 1);
        out.session = SSL_get1_session(client);
        assert_string_equal(peer.version, version == TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2");
    }
    SSL_shutdown(client);
    SSL_shutdown(server);
    SSL_free(server);
    SSL_free(client);
    tls_peer_fini(&peer);
    ERR_clear_error();
    return out;
}

#define SITE(id, n)                                                                        \
    (struct tls_site)                                                                      \
    {                                                                                      \
        .identities = (struct tls_identity *[]){id}, .nidentities = 1, .context = { n, n } \
    }

static void test_read_name(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *name; /* NULL: broken */
    } rows[] = {
        {"\0\7\0\0\4a.bc", 9, "a.bc"}, {"\0\4\0\0\1a", 6, "a"},         {"", 0, NULL},
        {"\0\3\0\0\0", 5, NULL},       {"\0\4\1\0\1a", 6, NULL},        {"\0\5\0\0\1a", 6, NULL},
        {"\0\4\0\0\2a", 6, NULL},      {"\0\5\0\0\2a\0", 7, NULL},      {"\0\4\0\0\1ab", 7, NULL},
        {"\0\5\0\0\1ab", 7, NULL},     {"\xff\xff\0\xff\xff", 5, NULL},
    };
    unsigned char bytes[300] = {1, 3, 0, 1, 0};
    struct str name;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool good = read_name((const unsigned char *)rows[i].bytes, rows[i].n, &name);
        assert_int_equal(good, rows[i].name != NULL);
        if (good)
            assert_true(str_eq(name, str_of(rows[i].name)));
    }
    memset(bytes + 5, 'a', sizeof(bytes) - 5); /* 256 bytes: too long */
    assert_false(read_name(bytes, 261, &name));
    bytes[1] = 2, bytes[3] = 0, bytes[4] = 255;
    assert_true(read_name(bytes, 260, &name));
    assert_int_equal(name.n, 255);
}

static void test_sites(void **state)
{
    const struct tls_site site = SITE(f.identity, 1), bad = SITE(f.mixed, 2);
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct outcome o = shake(&site, "A.Test.", versions[i], NULL);
        assert_true(o.done && !o.resumed && !o.why);
        SSL_SESSION_free(o.session);
        assert_int_equal(shake(&site, "b.test", versions[i], NULL).why, REASON_TLS_NAME_UNKNOWN);
        assert_int_equal(shake(&site, NULL, versions[i], NULL).why, REASON_TLS_NO_NAME);
        assert_int_equal(shake(&bad, "a.test", versions[i], NULL).why, REASON_TLS_NO_CERTIFICATE);
    }
    struct tls_site only = site;
    only.versions = TLS_V1_2;
    assert_false(shake(&only, "a.test", TLS1_3_VERSION, NULL).done);
    struct outcome o = shake(&only, "a.test", TLS1_2_VERSION, NULL);
    assert_true(o.done);
    SSL_SESSION_free(o.session);
}

static bool resumes(const struct tls_site *site, int version, SSL_SESSION *session)
{
    struct outcome o = shake(site, "a.test", version, session);

    assert_true(o.done);
    SSL_SESSION_free(o.session);
    return o.resumed;
}

/* The time for another key has come; `late` seconds ago. */
static void turn_keys(int64_t late)
{
    f.server->now.until = seconds_now() - late;
}

static void test_tickets(void **state)
{
    const struct tls_site site = SITE(f.identity, 1), changed = SITE(f.identity, 2);
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct outcome first = shake(&site, "a.test", versions[i], NULL);
        assert_true(first.done);
        assert_true(resumes(&site, versions[i], first.session));
        assert_false(resumes(&changed, versions[i], first.session));
        turn_keys(0); /* the key before opens still, and a ticket of the newest is given */
        struct outcome second = shake(&site, "a.test", versions[i], first.session);
        assert_true(second.resumed);
        assert_true(resumes(&site, versions[i], first.session));
        turn_keys(0);
        assert_false(resumes(&site, versions[i], first.session));
        assert_true(resumes(&site, versions[i], second.session));
        turn_keys(TICKET_KEY_S); /* nobody came for long: no old key is kept */
        assert_false(resumes(&site, versions[i], second.session));
        SSL_SESSION_free(first.session);
        SSL_SESSION_free(second.session);
    }
}

static void test_identities(void **state)
{
    (void)state;
    assert_true(tls_identity_is_good(f.identity));
    assert_false(tls_identity_is_good(f.mixed));
    assert_null(tls_identity_new(STR("no PEM"), f.key));
    assert_null(tls_identity_new(f.cert, STR("")));
    struct tls_identity *same = tls_identity_new(f.cert, f.key);
    struct hash128 a = tls_identity_hash(f.identity), b = tls_identity_hash(same),
                   c = tls_identity_hash(f.mixed), d = tls_identity_hash(f.other);
    assert_memory_equal(&a, &b, sizeof(a));
    assert_memory_not_equal(&a, &c, sizeof(a));
    assert_memory_not_equal(&a, &d, sizeof(a));
    tls_identity_put(same);
    /* PEM from outside, nothing within. */
    struct str hollow = STR("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    struct tls_identity *bad = tls_identity_new(hollow, f.key);
    assert_non_null(bad);
    assert_false(tls_identity_is_good(bad));
    tls_identity_put(bad);
    /* A chain with a broken end is not shown without it. */
    struct str chain = arena_join(&f.arena, f.cert, hollow);
    bad = tls_identity_new(chain, f.key);
    assert_false(tls_identity_is_good(bad));
    tls_identity_put(bad);
    chain = arena_join(&f.arena, f.cert, f.other_cert);
    struct tls_identity *good = tls_identity_new(chain, f.key);
    assert_true(tls_identity_is_good(good));
    tls_identity_put(good);
}

static void test_bad_ciphers(void **state)
{
    const struct tls_server_config config = {.versions = TLS_V1_2, .ciphers = STR("nonsense")};
    struct str err = STR_NONE;

    (void)state;
    assert_null(tls_server_new(&config, &f.arena, &err));
    assert_true(str_starts(err, STR("\"nonsense\": ")));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_read_name),  TEST(test_sites),       TEST(test_tickets),
        TEST(test_identities), TEST(test_bad_ciphers),
    };

    hash_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
