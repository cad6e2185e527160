/* SPDX-License-Identifier: Apache-2.0 */
/* Checks certificates and secret managers. Neither is served by this version: they are compiled to
 * be validated. The checks and their words are those of APISIX 3.18's ssl.lua and secrets.lua. */
#include <openssl/bio.h>
#include <openssl/pem.h>

#include "config/build_private.h"
#include "config/fields.h"

/* ---- Certificates ---- */

static bool pem_is_cert(struct str text)
{
    BIO *bio = BIO_new_mem_buf(text.p, (int)text.n);
    X509 *cert = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);

    BIO_free(bio);
    X509_free(cert);
    return cert != NULL;
}

static bool pem_is_key(struct str text)
{
    char none[] = ""; /* without a password OpenSSL would ask for one at the terminal */
    BIO *bio = BIO_new_mem_buf(text.p, (int)text.n);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, none);

    BIO_free(bio);
    EVP_PKEY_free(key);
    return key != NULL;
}

bool compile_pem(struct compile *c, const char *before, struct str cert, struct str key)
{
    if (compile_is_reference(cert) || compile_is_reference(key))
        return true;
    if (!pem_is_cert(cert))
        return compile_fail(c, "%sfailed to parse cert: PEM_read_bio_X509_AUX() failed", before);
    if (key.p && !pem_is_key(key))
        return compile_fail(c, "%sfailed to parse key: PEM_read_bio_PrivateKey() failed", before);
    return true;
}

static bool pairs_check(struct compile *c, const struct ssl_doc *d)
{
    const struct str *certs = d->certs.items, *keys = d->keys.items;
    char before[64];

    if (d->certs.n != d->keys.n)
        return compile_fail(c, "mismatched number of certs and keys");
    for (size_t i = 0; i < d->certs.n; i++) {
        snprintf(before, sizeof(before), "failed to handle cert-key pair[%zu]: ", i + 1);
        if (!compile_pem(c, before, certs[i], keys[i]))
            return false;
    }
    return true;
}

bool compile_ssl(struct compile *c, const struct ssl_doc *d)
{
    if (!compile_pem(c, "", d->cert, d->key))
        return false;
    if (d->type != SSL_SERVER)
        return true;
    return pairs_check(c, d) &&
           (!d->client ||
            compile_pem(c, "failed to validate client_cert: ", d->client->ca, STR_NONE));
}

/* ---- Secret managers ---- */

/* Its id in the store is "MANAGER/ID". */
bool compile_secret(struct compile *c)
{
    const struct fields *fields = model_manager_fields(c->id);
    struct str manager, rest, err;

    str_cut(c->id, '/', &manager, &rest);
    if (!fields)
        return compile_fail(c, "invalid secret manager: %.*s", STR_ARG(manager));
    if (!fields_check(fields, c->value, &c->scratch, &err))
        return compile_fail_schema(c, "%.*s", STR_ARG(err));
    return true;
}
