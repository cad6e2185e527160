/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Web Signatures: the arithmetic is OpenSSL's. */
#include "base/jws.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/encode.h"

const char *const jws_names[] = {"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256",
                                 "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA", NULL};

/* What a key of an algorithm is. */
static const struct algorithm {
    int type;                      /* EVP_PKEY_NONE: a secret; EVP_PKEY_ED25519 stands for both */
    const EVP_MD *(*digest)(void); /* NULL: the algorithm has its own */
    int bits;                      /* EC: of the curve */
    bool pss;
} algorithms[] = {
    [JWS_HS256] = {EVP_PKEY_NONE, EVP_sha256, 0, false},
    [JWS_HS384] = {EVP_PKEY_NONE, EVP_sha384, 0, false},
    [JWS_HS512] = {EVP_PKEY_NONE, EVP_sha512, 0, false},
    [JWS_RS256] = {EVP_PKEY_RSA, EVP_sha256, 0, false},
    [JWS_RS384] = {EVP_PKEY_RSA, EVP_sha384, 0, false},
    [JWS_RS512] = {EVP_PKEY_RSA, EVP_sha512, 0, false},
    [JWS_ES256] = {EVP_PKEY_EC, EVP_sha256, 256, false},
    [JWS_ES384] = {EVP_PKEY_EC, EVP_sha384, 384, false},
    [JWS_ES512] = {EVP_PKEY_EC, EVP_sha512, 521, false},
    [JWS_PS256] = {EVP_PKEY_RSA, EVP_sha256, 0, true},
    [JWS_PS384] = {EVP_PKEY_RSA, EVP_sha384, 0, true},
    [JWS_PS512] = {EVP_PKEY_RSA, EVP_sha512, 0, true},
    [JWS_EDDSA] = {EVP_PKEY_ED25519, NULL, 0, false},
};

struct jws_key {
    enum jws_algorithm algorithm;
    struct str secret; /* of HMAC */
    EVP_PKEY *public;
};

/* ---- Keys -------------------------------------------------------------------------------------
 */

static EVP_PKEY *read_pem(struct str pem)
{
    EVP_PKEY *(*const readers[])(BIO *, EVP_PKEY **, pem_password_cb *,
                                 void *) = {PEM_read_bio_PUBKEY, PEM_read_bio_PrivateKey};
    static char none[] = ""; /* no password is asked for */
    EVP_PKEY *key = NULL;

    if (pem.n > INT32_MAX)
        return NULL;
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    for (size_t i = 0; bio && !key && i < sizeof(readers) / sizeof(readers[0]); i++) {
        key = readers[i](bio, NULL, NULL, none);
        (void)BIO_reset(bio);
    }
    X509 *certificate = bio && !key ? PEM_read_bio_X509(bio, NULL, NULL, none) : NULL;
    if (certificate)
        key = X509_get_pubkey(certificate);
    X509_free(certificate);
    BIO_free(bio);
    ERR_clear_error();
    return key;
}

static bool key_fits(EVP_PKEY *key, const struct algorithm *algorithm)
{
    int type = EVP_PKEY_get_base_id(key);

    if (algorithm->type == EVP_PKEY_ED25519)
        return type == EVP_PKEY_ED25519 || type == EVP_PKEY_ED448;
    return type == algorithm->type &&
           (algorithm->bits == 0 || EVP_PKEY_get_bits(key) == algorithm->bits);
}

static void free_public(void *key)
{
    EVP_PKEY_free(key);
}

const struct jws_key *jws_key_new(struct arena *a, enum jws_algorithm algorithm, struct str key,
                                  const char **why)
{
    struct jws_key *k = arena_zero(a, sizeof(*k));

    k->algorithm = algorithm;
    if (jws_is_hmac(algorithm)) {
        k->secret = arena_str(a, key);
        return k;
    }
    k->public = read_pem(key);
    if (!k->public) {
        *why = "it is no public key in PEM";
        return NULL;
    }
    arena_on_fini(a, free_public, k->public);
    if (key_fits(k->public, &algorithms[algorithm]))
        return k;
    *why = "its type is not the algorithm's";
    return NULL;
}

/* ---- Tokens -----------------------------------------------------------------------------------
 */

static void free_json(void *json)
{
    json_decref(json);
}

/* RFC 7515 §2: without padding, with two other characters. */
static bool base64url_decode(struct arena *a, struct str s, struct str *out)
{
    char *p = arena_bytes(a, s.n + 1);

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '+' || s.p[i] == '/' || s.p[i] == '=')
            return false;
        p[i] = s.p[i];
        if (p[i] == '-')
            p[i] = '+';
        else if (p[i] == '_')
            p[i] = '/';
    }
    return base64_decode(a, str_make(p, s.n), out);
}

static const json_t *object_parse(struct arena *a, struct str part)
{
    struct str text;

    if (!base64url_decode(a, part, &text))
        return NULL;
    json_t *value = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
    if (!value)
        return NULL;
    arena_on_fini(a, free_json, value);
    return json_is_object(value) ? value : NULL;
}

bool jws_parse(struct arena *a, struct str token, struct jws *out, const char **why)
{
    struct str header, payload, signature;

    *why = "it has not three parts";
    if (!str_cut(token, '.', &header, &payload) || !str_cut(payload, '.', &payload, &signature))
        return false;
    *why = "its header is no JSON object in base64url";
    out->signed_part = str_make(token.p, header.n + 1 + payload.n);
    out->header = object_parse(a, header);
    if (!out->header)
        return false;
    *why = "its payload is no JSON object in base64url";
    out->payload = object_parse(a, payload);
    if (!out->payload)
        return false;
    *why = "its signature is not in base64url";
    if (!base64url_decode(a, signature, &out->signature))
        return false;
    *why = "its header has crit";
    return !json_object_get(out->header, "crit");
}

/* ---- Signatures -------------------------------------------------------------------------------
 */

static const unsigned char *bytes(struct str s)
{
    return (const unsigned char *)s.p;
}

static bool verify_hmac(const struct jws_key *key, const struct jws *jws)
{
    const EVP_MD *digest = algorithms[key->algorithm].digest();
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    if (key->secret.n > INT32_MAX || !HMAC(digest, key->secret.p, (int)key->secret.n,
                                           bytes(jws->signed_part), jws->signed_part.n, mac, &n))
        return false;
    return jws->signature.n == n && CRYPTO_memcmp(mac, jws->signature.p, n) == 0;
}

/* RFC 7518 §3.4: the two numbers one behind the other, each as long as the curve's order, for
 * OpenSSL as ASN.1. Returns its length; 0: it is none. The caller frees *der. */
static size_t der_signature(struct str raw, int bits, unsigned char **der)
{
    size_t each = ((size_t)bits + 7) / 8;
    int n = 0;

    *der = NULL;
    if (raw.n != 2 * each)
        return 0;
    ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(bytes(raw), (int)each, NULL);
    BIGNUM *s = BN_bin2bn(bytes(raw) + each, (int)each, NULL);
    if (signature && r && s && ECDSA_SIG_set0(signature, r, s)) {
        n = i2d_ECDSA_SIG(signature, der);
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(signature);
    return n > 0 ? (size_t)n : 0;
}

static bool verify_public(const struct jws_key *key, struct str signature, struct str data)
{
    const struct algorithm *algorithm = &algorithms[key->algorithm];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *options = NULL; /* the context's */
    const EVP_MD *digest = algorithm->digest ? algorithm->digest() : NULL;
    bool good = ctx && EVP_DigestVerifyInit(ctx, &options, digest, NULL, key->public) == 1;

    if (good && algorithm->pss)
        good = EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_AUTO) == 1;
    good = good && EVP_DigestVerify(ctx, bytes(signature), signature.n, bytes(data), data.n) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return good;
}

static bool verify_ec(const struct jws_key *key, const struct jws *jws)
{
    unsigned char *der;
    size_t n = der_signature(jws->signature, algorithms[key->algorithm].bits, &der);
    bool good = n > 0 && verify_public(key, str_make((const char *)der, n), jws->signed_part);

    OPENSSL_free(der);
    return good;
}

bool jws_verify(const struct jws_key *key, const struct jws *jws)
{
    const char *named = json_string_value(json_object_get(jws->header, "alg"));

    if (!named || strcmp(named, jws_names[key->algorithm]) != 0)
        return false;
    if (jws_is_hmac(key->algorithm))
        return verify_hmac(key, jws);
    if (algorithms[key->algorithm].type == EVP_PKEY_EC)
        return verify_ec(key, jws);
    return verify_public(key, jws->signature, jws->signed_part);
}
