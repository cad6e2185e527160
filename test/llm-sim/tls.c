/* SPDX-License-Identifier: Apache-2.0 */
/* Sets up OpenSSL: buffers given back while idle, HTTP/1.1 by ALPN. */
#include "tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

static SSL_CTX *ctx;

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen,
                   const unsigned char *in, unsigned inlen, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1\x08http/1.0";
    unsigned char *pick;
    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&pick, outlen, ours, sizeof ours - 1, in, inlen) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = pick;
    return SSL_TLSEXT_ERR_OK;
}

static bool failed(const char *what, const char *file)
{
    char why[256];
    ERR_error_string_n(ERR_peek_error(), why, sizeof why);
    fprintf(stderr, "llm-sim: cannot use the %s '%s': %s\n", what, file, why);
    return false;
}

bool tls_init(const char *cert, const char *key, const char *client_ca)
{
    ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx)
        return failed("TLS library", "OpenSSL");
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
        return failed("certificate", cert);
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        return failed("key", key);
    if (client_ca) {
        if (SSL_CTX_load_verify_locations(ctx, client_ca, NULL) != 1)
            return failed("client CA", client_ca);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"llm-sim", 7);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    return true;
}

void tls_fini(void)
{
    SSL_CTX_free(ctx);
    ctx = NULL;
}

SSL *tls_new(int fd)
{
    SSL *ssl = SSL_new(ctx);
    if (!ssl || SSL_set_fd(ssl, fd) != 1) {
        fputs("llm-sim: out of memory\n", stderr);
        abort();
    }
    SSL_set_accept_state(ssl);
    return ssl;
}
