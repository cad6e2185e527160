/* SPDX-License-Identifier: Apache-2.0 */
/* Who one is in TLS: a certificate with its chain and its key; and whom one trusts: certificates of
 * authorities. Both are kept as text and decoded when first used, since decoding a pair takes some
 * 0.4 ms and thrice the memory, and of many thousands only some are in use (OpenSSL 3.0). Shared by
 * threads, const but for what is decoded, counted. */
#ifndef LOOP_TLS_IDENTITY_H
#define LOOP_TLS_IDENTITY_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "base/hash.h"
#include "base/str.h"

struct tls_identity;
struct tls_authorities;

/* One reference for the caller. cert: PEM, the certificate first, then its chain; key: PEM without
 * a password. NULL: one of them is no PEM. */
struct tls_identity *tls_identity_new(struct str cert, struct str key);
struct tls_identity *tls_identity_get(struct tls_identity *id);
/* NULL is fine. */
void tls_identity_put(struct tls_identity *id);
/* Stands for the texts: equal identities have equal hashes. */
struct hash128 tls_identity_hash(const struct tls_identity *id);
/* It can be decoded. What fails is said once in the log. From any thread. */
bool tls_identity_is_good(struct tls_identity *id);
/* This connection shows it, beside those of other kinds of keys that it was given before. False: it
 * is not good, or too weak for this connection. From any thread. */
bool tls_identity_use(struct tls_identity *id, SSL *ssl);

/* One reference for the caller; PEM of one or more certificates. NULL: it is no PEM. */
struct tls_authorities *tls_authorities_new(struct str pem);
/* NULL is fine. */
void tls_authorities_put(struct tls_authorities *a);
/* This connection verifies its peer by them, and, as a server, names them to the client. False:
 * they cannot be decoded; said once in the log. From any thread. */
bool tls_authorities_use(struct tls_authorities *a, SSL *ssl);

#endif
