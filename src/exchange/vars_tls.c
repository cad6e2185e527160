/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a client's TLS, as variables (nginx: ngx_http_ssl_module). */
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "exchange/vars.h"
#include "loop/tls_server.h"

static X509 *client_cert(const struct exchange *ex)
{
    return ex->from->tls ? ex->from->tls->cert : NULL;
}

/* What was written to the BIO, which is freed. */
static struct str take(struct exchange *ex, BIO *bio)
{
    char *p;
    long n = BIO_get_mem_data(bio, &p);
    struct str s = arena_str(&ex->arena, str_make(p, n > 0 ? (size_t)n : 0));

    BIO_free(bio);
    return s;
}

static struct str v_ssl_protocol(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->from->tls ? str_of(ex->from->tls->version) : STR_NONE;
}

static struct str v_ssl_cipher(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->from->tls ? str_of(ex->from->tls->cipher) : STR_NONE;
}

static struct str v_ssl_server_name(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->from->tls && ex->from->tls->name.p ? arena_str(&ex->arena, ex->from->tls->name)
                                                  : STR_NONE;
}

static struct str v_ssl_session_reused(struct exchange *ex, struct str arg)
{
    (void)arg;
    return !ex->from->tls ? STR_NONE : ex->from->tls->resumed ? STR("r") : STR(".");
}

static struct str v_ssl_client_verify(struct exchange *ex, struct str arg)
{
    const struct tls_peer *peer = ex->from->tls;

    (void)arg;
    if (!peer)
        return STR_NONE;
    if (!peer->cert)
        return STR("NONE");
    if (peer->verified == X509_V_OK)
        return STR("SUCCESS");
    return arena_printf(&ex->arena, "FAILED:%s", X509_verify_cert_error_string(peer->verified));
}

static struct str name_text(struct exchange *ex, const X509_NAME *name)
{
    BIO *bio = BIO_new(BIO_s_mem());

    X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253);
    return take(ex, bio);
}

static struct str v_ssl_client_s_dn(struct exchange *ex, struct str arg)
{
    const X509 *cert = client_cert(ex);

    (void)arg;
    return cert ? name_text(ex, X509_get_subject_name(cert)) : STR_NONE;
}

static struct str v_ssl_client_i_dn(struct exchange *ex, struct str arg)
{
    const X509 *cert = client_cert(ex);

    (void)arg;
    return cert ? name_text(ex, X509_get_issuer_name(cert)) : STR_NONE;
}

static struct str v_ssl_client_serial(struct exchange *ex, struct str arg)
{
    const X509 *cert = client_cert(ex);

    (void)arg;
    if (!cert)
        return STR_NONE;
    BIO *bio = BIO_new(BIO_s_mem());
    i2a_ASN1_INTEGER(bio, X509_get0_serialNumber(cert));
    return take(ex, bio);
}

/* SHA-1, as nginx has it: it names a certificate, it proves nothing. */
static struct str v_ssl_client_fingerprint(struct exchange *ex, struct str arg)
{
    static const char digits[] = "0123456789abcdef";
    const X509 *cert = client_cert(ex);
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    (void)arg;
    if (!cert || X509_digest(cert, EVP_sha1(), hash, &n) != 1)
        return STR_NONE;
    char *p = arena_bytes(&ex->arena, 2 * (size_t)n);
    for (unsigned i = 0; i < n; i++) {
        p[2 * i] = digits[hash[i] >> 4];
        p[2 * i + 1] = digits[hash[i] & 15];
    }
    return str_make(p, 2 * (size_t)n);
}

static struct str v_ssl_client_raw_cert(struct exchange *ex, struct str arg)
{
    X509 *cert = client_cert(ex);

    (void)arg;
    if (!cert)
        return STR_NONE;
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, cert);
    struct str pem = take(ex, bio);
    return pem.n ? str_head(pem, pem.n - 1) : pem; /* without the last line's end, as in nginx */
}

const struct var_row vars_tls[] = {
    {"ssl_protocol", v_ssl_protocol},
    {"ssl_cipher", v_ssl_cipher},
    {"ssl_server_name", v_ssl_server_name},
    {"ssl_session_reused", v_ssl_session_reused},
    {"ssl_client_verify", v_ssl_client_verify},
    {"ssl_client_s_dn", v_ssl_client_s_dn},
    {"ssl_client_i_dn", v_ssl_client_i_dn},
    {"ssl_client_serial", v_ssl_client_serial},
    {"ssl_client_fingerprint", v_ssl_client_fingerprint},
    {"ssl_client_raw_cert", v_ssl_client_raw_cert},
    {0},
};
