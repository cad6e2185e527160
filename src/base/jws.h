/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Web Signatures in their compact form (RFC 7515): taking tokens apart, and verifying them. */
#ifndef BASE_JWS_H
#define BASE_JWS_H

#include <jansson.h>

#include "base/arena.h"
#include "base/str.h"

/* RFC 7518 §3.1 and RFC 8037 §3.1. In the order of jws_names. */
enum jws_algorithm {
    JWS_HS256,
    JWS_HS384,
    JWS_HS512,
    JWS_RS256,
    JWS_RS384,
    JWS_RS512,
    JWS_ES256,
    JWS_ES384,
    JWS_ES512,
    JWS_PS256,
    JWS_PS384,
    JWS_PS512,
    JWS_EDDSA,
};

/* Ended by NULL. */
extern const char *const jws_names[];

/* The key is a secret, not a public one. */
static inline bool jws_is_hmac(enum jws_algorithm algorithm)
{
    return algorithm <= JWS_HS512;
}

struct jws_key;

/* A key for one algorithm: the secret's bytes, or a public key as PEM (also a private one, or a
 * certificate, for what is public in it). Lives as long as the arena, const, for any thread. NULL
 * with a reason in *why: it is no key, or not one for this algorithm. */
const struct jws_key *jws_key_new(struct arena *a, enum jws_algorithm algorithm, struct str key,
                                  const char **why);

/* A token taken apart, not yet believed. Documents and strings live as long as the arena. */
struct jws {
    const json_t *header, *payload; /* objects */
    struct str signed_part, signature;
};

/* False with a reason in *why: it has not three parts in base64url, of which the first two are JSON
 * objects without repeated members, or its header has `crit`, which says that more must be
 * understood (RFC 7515 §4.1.11). */
bool jws_parse(struct arena *a, struct str token, struct jws *out, const char **why);

/* The header names the key's algorithm, and the signature is the key's. Costs up to some 100 µs for
 * public keys. */
bool jws_verify(const struct jws_key *key, const struct jws *jws);

#endif
