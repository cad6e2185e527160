/* SPDX-License-Identifier: Apache-2.0 */
/* The server's context: which site a client gets, verification of clients, keys of tickets. */
#include "loop/tls_server.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <time.h>

#include "base/mem.h"
#include "base/panic.h"
#include "base/random.h"
#include "loop/tls.h"

enum {
    NAME_MAX_BYTES = 255,
    SESSION_S = 600, /* nginx's ssl_session_timeout as APISIX sets it */
    SESSIONS_MAX = 20000,
    CERTS_BYTES = 24576,      /* of a client; decoded they take eight times as much */
    TICKET_KEY_S = SESSION_S, /* then another seals, and this one opens as long again */
};

/* What seals tickets: a name by which it is known again, a cipher's key, a MAC's. */
struct ticket_key {
    unsigned char name[16], cipher[32], mac[32];
    int64_t until; /* monotonic seconds; 0: none */
};

struct tls_server {
    SSL_CTX *ctx;
    pthread_mutex_t lock; /* of the keys; held for a copy */
    struct ticket_key now, before;
};

static int peer_index = -1, server_index = -1;
static pthread_once_t indexed = PTHREAD_ONCE_INIT;

static void make_indexes(void)
{
    peer_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    server_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    ASSERT(peer_index >= 0 && server_index >= 0);
}

/* ---- Tickets (RFC 5077 §4) ---- */

static int64_t seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

/* Another key takes its turn when it is time; the old one is good for one more. */
static void rotate(struct tls_server *t, int64_t now)
{
    if (now < t->now.until)
        return;
    /* One that nobody has used for so long opens nothing that is still wanted. */
    t->before = now < t->now.until + TICKET_KEY_S ? t->now : (struct ticket_key){0};
    random_bytes(t->now.name, sizeof(t->now.name));
    random_bytes(t->now.cipher, sizeof(t->now.cipher));
    random_bytes(t->now.mac, sizeof(t->now.mac));
    t->now.until = now + TICKET_KEY_S;
}

static bool key_has_name(const struct ticket_key *k, const unsigned char name[16])
{
    return k->until && memcmp(k->name, name, sizeof(k->name)) == 0;
}

/* 0: not ours; 1: the newest; 2: the one before. */
static int key_take(struct tls_server *t, const unsigned char *name, struct ticket_key *out)
{
    int which = 1;

    pthread_mutex_lock(&t->lock);
    rotate(t, seconds_now());
    if (name && !key_has_name(&t->now, name))
        which = key_has_name(&t->before, name) ? 2 : 0;
    if (which)
        *out = which == 1 ? t->now : t->before;
    pthread_mutex_unlock(&t->lock);
    return which;
}

static bool start_mac(EVP_MAC_CTX *mac, struct ticket_key *k)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->mac, sizeof(k->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int seal)
{
    struct tls_server *t = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), server_index);
    struct ticket_key k;
    int which = key_take(t, seal ? NULL : name, &k), good = 0;

    if (!which)
        return 0;
    if (seal) {
        memcpy(name, k.name, sizeof(k.name));
        random_bytes(iv, (size_t)EVP_CIPHER_get_iv_length(EVP_aes_256_cbc()));
        good = EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k.cipher, iv) == 1;
    } else {
        good = EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k.cipher, iv) == 1;
    }
    good = good && start_mac(mac, &k);
    OPENSSL_cleanse(&k, sizeof(k));
    return good ? which : -1;
}

/* ---- The client's hello ---- */

/* The host name in the extension (RFC 6066 §3): its list has one entry, of type 0. False: broken.
 */
static bool read_name(const unsigned char *p, size_t n, struct str *out)
{
    if (n < 5 || (size_t)(p[0] << 8 | p[1]) != n - 2 || p[2] != 0)
        return false;
    size_t length = (size_t)(p[3] << 8 | p[4]);
    if (length != n - 5 || length == 0 || length > NAME_MAX_BYTES || memchr(p + 5, 0, length))
        return false;
    *out = str_make((const char *)p + 5, length);
    return true;
}

static void peer_set_name(struct tls_peer *peer, struct str name)
{
    if (name.n > 1 && name.p[name.n - 1] == '.')
        name.n--;
    char *p = mem_alloc(name.n);
    for (size_t i = 0; i < name.n; i++)
        p[i] = ascii_lower(name.p[i]);
    peer->name = str_make(p, name.n);
}

static void set_versions(SSL *ssl, unsigned versions)
{
    static const struct {
        unsigned version;
        uint64_t off;
    } table[] = {{TLS_V1_1, SSL_OP_NO_TLSv1_1},
                 {TLS_V1_2, SSL_OP_NO_TLSv1_2},
                 {TLS_V1_3, SSL_OP_NO_TLSv1_3}};

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        SSL_clear_options(ssl, table[i].off);
        if (!(versions & table[i].version))
            SSL_set_options(ssl, table[i].off);
    }
}

/* The verdict stays to be asked for. Of whom nobody knows no session is kept: anybody could fill
 * the memory with certificates. */
static int on_verified(int good, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());

    if (!good)
        SSL_SESSION_set1_id_context(SSL_get_session(ssl), (const unsigned char *)"", 0);
    return 1;
}

static bool set_client(SSL *ssl, const struct tls_site *site)
{
    int mode = SSL_VERIFY_PEER | (site->optional ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT);

    if (!tls_authorities_use(site->authorities, ssl))
        return false;
    SSL_set_verify(ssl, mode, site->optional ? on_verified : NULL);
    SSL_set_verify_depth(ssl, site->depth);
    return true;
}

static bool set_site(SSL *ssl, struct tls_peer *peer, const struct tls_site *site)
{
    bool any = false;

    for (unsigned i = 0; i < site->nidentities; i++)
        any |= tls_identity_use(site->identities[i], ssl);
    if (!any || (site->authorities && !set_client(ssl, site)))
        return false;
    if (site->versions)
        set_versions(ssl, site->versions);
    peer->client = site->client;
    return SSL_set_session_id_context(ssl, (const unsigned char *)&site->context,
                                      sizeof(site->context)) == 1;
}

static int on_hello(SSL *ssl, int *alert, void *arg)
{
    struct tls_peer *peer = SSL_get_ex_data(ssl, peer_index);
    const unsigned char *extension;
    const struct tls_site *site;
    struct str name;
    size_t n;

    (void)arg;
    /* Once more after a HelloRetryRequest: it is the same client. */
    tls_peer_fini(peer);
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &extension, &n)) {
        if (!read_name(extension, n, &name)) {
            *alert = SSL_AD_DECODE_ERROR;
            return SSL_CLIENT_HELLO_ERROR;
        }
        peer_set_name(peer, name);
    }
    site = peer->find(peer->arg, peer->name);
    if (!site) {
        peer->why = peer->name.p ? REASON_TLS_NAME_UNKNOWN : REASON_TLS_NO_NAME;
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_CLIENT_HELLO_ERROR;
    }
    if (set_site(ssl, peer, site))
        return SSL_CLIENT_HELLO_SUCCESS;
    peer->why = REASON_TLS_NO_CERTIFICATE;
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_CLIENT_HELLO_ERROR;
}

/* HTTP/1 is what is spoken here: clients that ask for it are told so, others go on without. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                   const unsigned char *in, unsigned in_n, void *arg)
{
    static const unsigned char known[] = "\x08http/1.1";
    unsigned char *chosen;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_n, known, sizeof(known) - 1, in, in_n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* ---- The context ---- */

static void set_sessions(struct tls_server *t, bool tickets)
{
    SSL_CTX_set_timeout(t->ctx, SESSION_S);
    if (tickets) {
        SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_tlsext_ticket_key_evp_cb(t->ctx, on_ticket);
    } else {
        SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_SERVER);
        SSL_CTX_sess_set_cache_size(t->ctx, SESSIONS_MAX);
        SSL_CTX_set_options(t->ctx, SSL_OP_NO_TICKET);
    }
    /* A browser opens several connections: each brings the ticket of one more. */
    SSL_CTX_set_num_tickets(t->ctx, tickets ? 2 : 1);
}

struct tls_server *tls_server_new(const struct tls_server_config *config, struct arena *a,
                                  struct str *err)
{
    struct tls_server *t = mem_zero(sizeof(*t));

    pthread_once(&indexed, make_indexes);
    pthread_mutex_init(&t->lock, NULL);
    t->ctx = SSL_CTX_new(TLS_server_method());
    if (!t->ctx || SSL_CTX_set_ex_data(t->ctx, server_index, t) != 1 ||
        SSL_CTX_set_min_proto_version(t->ctx, TLS1_1_VERSION) != 1) {
        *err = tls_context_error(a);
        tls_server_free(t);
        return NULL;
    }
    tls_context_set_modes(t->ctx);
    SSL_CTX_set_options(t->ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_max_cert_list(t->ctx, CERTS_BYTES);
    SSL_CTX_set_client_hello_cb(t->ctx, on_hello, NULL);
    SSL_CTX_set_alpn_select_cb(t->ctx, on_alpn, NULL);
    set_sessions(t, config->tickets);
    for (unsigned i = 0; i < 3; i++)
        if (!(config->versions & 1u << i))
            SSL_CTX_set_options(t->ctx, i == 0   ? SSL_OP_NO_TLSv1_1
                                        : i == 1 ? SSL_OP_NO_TLSv1_2
                                                 : SSL_OP_NO_TLSv1_3);
    char *ciphers = config->ciphers.p ? str_dup(config->ciphers) : NULL;
    bool good = !ciphers || SSL_CTX_set_cipher_list(t->ctx, ciphers) == 1;
    free(ciphers);
    if (!good) {
        *err = arena_printf(a, "\"%.*s\": %s", STR_ARG(config->ciphers),
                            ERR_reason_error_string(ERR_peek_last_error()));
        ERR_clear_error();
        tls_server_free(t);
        return NULL;
    }
    return t;
}

void tls_server_free(struct tls_server *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    pthread_mutex_destroy(&t->lock);
    OPENSSL_cleanse(t, sizeof(*t));
    free(t);
}

SSL *tls_server_accept(struct tls_server *t, struct tls_peer *peer)
{
    SSL *ssl = SSL_new(t->ctx);

    ASSERT(ssl && SSL_set_ex_data(ssl, peer_index, peer) == 1);
    SSL_set_accept_state(ssl);
    return ssl;
}

void tls_peer_learn(struct tls_peer *peer, SSL *ssl)
{
    peer->version = SSL_get_version(ssl);
    peer->cipher = SSL_get_cipher_name(ssl);
    peer->resumed = SSL_session_reused(ssl);
    peer->cert = SSL_get1_peer_certificate(ssl);
    peer->verified = SSL_get_verify_result(ssl);
}

void tls_peer_fini(struct tls_peer *peer)
{
    X509_free(peer->cert);
    free((void *)(uintptr_t)peer->name.p);
    peer->cert = NULL;
    peer->name = STR_NONE;
}
