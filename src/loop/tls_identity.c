/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates and keys as text, decoded by the first connection that needs them. */
#include "loop/tls_identity.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>

#include "base/log.h"
#include "base/mem.h"

struct decoded {
    bool good;
    X509 *cert;
    EVP_PKEY *key;
    STACK_OF(X509) * chain; /* NULL: none */
};

struct tls_identity {
    atomic_uint refs;
    _Atomic(struct decoded *) decoded; /* NULL: not yet */
    struct hash128 hash;
    struct str cert, key; /* behind the struct */
};

struct trusted {
    bool good;
    X509_STORE *store;
    STACK_OF(X509_NAME) * names;
};

struct tls_authorities {
    atomic_uint refs;
    _Atomic(struct trusted *) trusted;
    struct str pem; /* behind the struct */
};

/* Without a callback OpenSSL would ask for a password at the terminal. */
static char no_password[] = "";

static BIO *text_bio(struct str text)
{
    return BIO_new_mem_buf(text.p, (int)text.n);
}

/* Base64 between its lines: the content is looked at when it is used. */
static bool is_pem(struct str text)
{
    BIO *bio = text_bio(text);
    char *name = NULL, *header = NULL;
    unsigned char *data = NULL;
    long n = 0;
    bool good = text.n <= INT32_MAX && PEM_read_bio(bio, &name, &header, &data, &n);

    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_clear_free(data, (size_t)n);
    BIO_free(bio);
    ERR_clear_error();
    return good;
}

static struct str copy_behind(char **to, struct str from)
{
    struct str s = str_make(*to, from.n);

    memcpy(*to, from.p, from.n);
    *to += from.n;
    return s;
}

/* ---- Identities ---- */

struct tls_identity *tls_identity_new(struct str cert, struct str key)
{
    if (!is_pem(cert) || !is_pem(key))
        return NULL;
    struct tls_identity *id = mem_alloc(sizeof(*id) + cert.n + key.n);
    char *behind = (char *)(id + 1);
    struct hash128 of_cert = hash_str128(cert), of_key = hash_str128(key);

    atomic_init(&id->refs, 1);
    atomic_init(&id->decoded, NULL);
    id->cert = copy_behind(&behind, cert);
    id->key = copy_behind(&behind, key);
    id->hash = (struct hash128){of_cert.a ^ (of_key.b << 1 | of_key.b >> 63), of_cert.b ^ of_key.a};
    return id;
}

struct tls_identity *tls_identity_get(struct tls_identity *id)
{
    atomic_fetch_add_explicit(&id->refs, 1, memory_order_relaxed);
    return id;
}

static void decoded_free(struct decoded *d)
{
    if (!d)
        return;
    X509_free(d->cert);
    EVP_PKEY_free(d->key);
    sk_X509_pop_free(d->chain, X509_free);
    free(d);
}

void tls_identity_put(struct tls_identity *id)
{
    if (!id || atomic_fetch_sub_explicit(&id->refs, 1, memory_order_acq_rel) != 1)
        return;
    decoded_free(atomic_load(&id->decoded));
    OPENSSL_cleanse((char *)(uintptr_t)id->key.p, id->key.n);
    free(id);
}

struct hash128 tls_identity_hash(const struct tls_identity *id)
{
    return id->hash;
}

/* OpenSSL keeps beside a certificate what its extensions say when it is first asked: now, while
 * only this thread has it. */
static X509 *made_ready(X509 *cert)
{
    if (cert)
        X509_check_purpose(cert, -1, 0);
    return cert;
}

/* Certificates until the end of the text, the first one apart. False: one is broken. */
static bool read_certs(struct str text, X509 **first, STACK_OF(X509) * *rest)
{
    BIO *bio = text_bio(text);
    X509 *cert;

    *first = made_ready(PEM_read_bio_X509_AUX(bio, NULL, NULL, no_password));
    while (*first && (cert = made_ready(PEM_read_bio_X509(bio, NULL, NULL, no_password)))) {
        if (!*rest)
            *rest = sk_X509_new_null();
        sk_X509_push(*rest, cert);
    }
    /* The end of the text is an error too: no line that begins a certificate. */
    bool ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    BIO_free(bio);
    return *first && ended;
}

static struct decoded *decode(const struct tls_identity *id)
{
    struct decoded *d = mem_zero(sizeof(*d));
    BIO *bio = text_bio(id->key);
    const char *why = "the certificate and its key are no pair";

    ERR_clear_error();
    d->good = read_certs(id->cert, &d->cert, &d->chain);
    if (d->good) {
        ERR_clear_error();
        d->key = PEM_read_bio_PrivateKey(bio, NULL, NULL, no_password);
        d->good = d->key && X509_check_private_key(d->cert, d->key) == 1;
    }
    if (!d->good && ERR_reason_error_string(ERR_peek_last_error()))
        why = ERR_reason_error_string(ERR_peek_last_error());
    if (!d->good)
        log_error("a certificate cannot be used: %s", why);
    ERR_clear_error();
    BIO_free(bio);
    return d;
}

/* Decodes it unless somebody has; when several do at once, the first one's stays. */
static const struct decoded *decoded(struct tls_identity *id)
{
    struct decoded *have = atomic_load_explicit(&id->decoded, memory_order_acquire), *mine;

    if (have)
        return have;
    mine = decode(id);
    if (atomic_compare_exchange_strong(&id->decoded, &have, mine))
        return mine;
    decoded_free(mine);
    return have;
}

bool tls_identity_is_good(struct tls_identity *id)
{
    return decoded(id)->good;
}

bool tls_identity_use(struct tls_identity *id, SSL *ssl)
{
    const struct decoded *d = decoded(id);

    if (!d->good)
        return false;
    if (SSL_use_cert_and_key(ssl, d->cert, d->key, d->chain, 1) == 1)
        return true;
    log_error("a certificate cannot be used: %s", ERR_reason_error_string(ERR_peek_last_error()));
    ERR_clear_error();
    return false;
}

/* ---- Authorities ---- */

struct tls_authorities *tls_authorities_new(struct str pem)
{
    if (!is_pem(pem))
        return NULL;
    struct tls_authorities *a = mem_alloc(sizeof(*a) + pem.n);
    char *behind = (char *)(a + 1);

    atomic_init(&a->refs, 1);
    atomic_init(&a->trusted, NULL);
    a->pem = copy_behind(&behind, pem);
    return a;
}

static void trusted_free(struct trusted *t)
{
    if (!t)
        return;
    X509_STORE_free(t->store);
    sk_X509_NAME_pop_free(t->names, X509_NAME_free);
    free(t);
}

void tls_authorities_put(struct tls_authorities *a)
{
    if (!a || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
        return;
    trusted_free(atomic_load(&a->trusted));
    free(a);
}

static bool trust(struct trusted *t, X509 *cert)
{
    X509_NAME *name = X509_NAME_dup(X509_get_subject_name(cert));

    if (!name || !sk_X509_NAME_push(t->names, name)) {
        X509_NAME_free(name);
        return false;
    }
    return X509_STORE_add_cert(t->store, cert) == 1;
}

static struct trusted *decode_trusted(const struct tls_authorities *a)
{
    struct trusted *t = mem_zero(sizeof(*t));
    X509 *first = NULL;
    STACK_OF(X509) *rest = NULL;

    t->store = X509_STORE_new();
    t->names = sk_X509_NAME_new_null();
    ERR_clear_error();
    t->good = read_certs(a->pem, &first, &rest) && trust(t, first);
    for (int i = 0; t->good && i < sk_X509_num(rest); i++)
        t->good = trust(t, sk_X509_value(rest, i));
    if (!t->good)
        log_error("certificates of authorities cannot be used: %s",
                  ERR_reason_error_string(ERR_peek_last_error()));
    ERR_clear_error();
    X509_free(first);
    sk_X509_pop_free(rest, X509_free);
    return t;
}

static const struct trusted *trusted(struct tls_authorities *a)
{
    struct trusted *have = atomic_load_explicit(&a->trusted, memory_order_acquire), *mine;

    if (have)
        return have;
    mine = decode_trusted(a);
    if (atomic_compare_exchange_strong(&a->trusted, &have, mine))
        return mine;
    trusted_free(mine);
    return have;
}

bool tls_authorities_use(struct tls_authorities *a, SSL *ssl)
{
    const struct trusted *t = trusted(a);

    if (!t->good)
        return false;
    SSL_set0_CA_list(ssl, SSL_dup_CA_list(t->names));
    return SSL_set1_verify_cert_store(ssl, t->store) == 1;
}
