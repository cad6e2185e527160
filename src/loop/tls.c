/* SPDX-License-Identifier: Apache-2.0 */
/* TLS contexts and client connections (OpenSSL). */
#include "loop/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "base/panic.h"

static int memory_index = -1;

/* ---- Memory ---- */

static void *crypto_alloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return mem_alloc(n);
}

static void *crypto_resize(void *p, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    if (n > 0)
        return mem_resize(p, n);
    free(p);
    return NULL;
}

static void crypto_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    free(p);
}

void tls_memory_setup(void)
{
    int ok = CRYPTO_set_mem_functions(crypto_alloc, crypto_resize, crypto_free);

    ASSERT(ok);
}

/* ---- Contexts ---- */

/* TLS 1.3 tickets come after the handshake; the newest one is kept (RFC 8446 §4.6.1). */
static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_session *memory = SSL_get_ex_data(ssl, memory_index);

    if (!memory)
        return 0;
    tls_session_forget(memory);
    memory->session = session;
    return 1;
}

void tls_context_set_modes(SSL_CTX *ctx)
{
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
    /* One read takes the record's head and body, often several records. */
    SSL_CTX_set_read_ahead(ctx, 1);
    /* A peer that closes without close_notify is an end of file; framing tells whether it was too
     * early. */
    SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
}

/* What OpenSSL keeps beside a certificate when it is first asked for its extensions is made now,
 * before threads share it. */
static void make_ready(SSL_CTX *ctx)
{
    STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(SSL_CTX_get_cert_store(ctx));

    for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
        X509 *cert = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));
        if (cert)
            X509_check_purpose(cert, -1, 0);
    }
}

struct str tls_context_error(struct arena *a)
{
    const char *why = ERR_reason_error_string(ERR_peek_last_error());
    struct str text = arena_printf(a, "OpenSSL gives no TLS: %s", why ? why : "no reason");

    ERR_clear_error();
    return text;
}

SSL_CTX *tls_client_context(struct str ca_file, bool verify, struct arena *a, struct str *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1) {
        *err = tls_context_error(a);
        SSL_CTX_free(ctx);
        return NULL;
    }
    if (memory_index < 0)
        memory_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    ASSERT(memory_index >= 0);
    tls_context_set_modes(ctx);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_new_session);
    SSL_CTX_set_verify(ctx, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (verify) {
        SSL_CTX_set_default_verify_paths(ctx);
        char *file = str_dup(ca_file);
        bool bad = ca_file.p && !SSL_CTX_load_verify_file(ctx, file);
        free(file);
        if (bad) {
            *err = arena_printf(a, "cannot read certificates from %.*s: %s", STR_ARG(ca_file),
                                ERR_reason_error_string(ERR_peek_last_error()));
            ERR_clear_error();
            SSL_CTX_free(ctx);
            return NULL;
        }
        make_ready(ctx);
    }
    ERR_clear_error();
    return ctx;
}

void tls_session_forget(struct tls_session *s)
{
    SSL_SESSION_free(s->session);
    s->session = NULL;
}

/* ---- Connections ---- */

/* False: certificates would not be held against the name. */
static bool set_name(SSL *ssl, const char *name)
{
    unsigned char ip[16];

    if (inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    /* One of more than 255 bytes is not sent. SSL_set_tlsext_host_name, whose macro casts const
     * away. */
    SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)name);
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    /* To OpenSSL an empty name means that any will do. */
    return name[0] && SSL_set1_host(ssl, name) == 1;
}

SSL *tls_client_new(SSL_CTX *ctx, struct str server_name, struct tls_identity *identity,
                    struct tls_session *memory)
{
    static const unsigned char alpn[] = "\x08http/1.1";
    SSL *ssl = SSL_new(ctx);
    char *name = str_dup(server_name);
    bool good;

    ASSERT(ssl);
    good = set_name(ssl, name) || SSL_get_verify_mode(ssl) == SSL_VERIFY_NONE;
    free(name);
    if (!good || (identity && !tls_identity_use(identity, ssl))) {
        ERR_clear_error();
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_alpn_protos(ssl, alpn, sizeof(alpn) - 1);
    SSL_set_ex_data(ssl, memory_index, memory);
    if (memory && memory->session)
        SSL_set_session(ssl, memory->session);
    SSL_set_connect_state(ssl);
    return ssl;
}

bool tls_verify_failed(const SSL *ssl)
{
    return SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE && SSL_get_verify_result(ssl) != X509_V_OK;
}

struct str tls_error(SSL *ssl, struct arena *a)
{
    unsigned long code = ERR_peek_last_error();
    long verify = SSL_get_verify_result(ssl);
    struct str text;

    if (tls_verify_failed(ssl))
        text = arena_printf(a, "certificate: %s", X509_verify_cert_error_string(verify));
    else if (code && ERR_reason_error_string(code))
        text = arena_str(a, str_of(ERR_reason_error_string(code)));
    else
        text = STR("the peer closed the connection");
    ERR_clear_error();
    return text;
}
