/* SPDX-License-Identifier: Apache-2.0 */
/* TLS for sockets: contexts made once, shared by threads; one SSL object a connection (OpenSSL). */
#ifndef LOOP_TLS_H
#define LOOP_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"
#include "loop/tls_identity.h"

/* Before anything else of OpenSSL, once in the process: running out of memory ends it inside
 * OpenSSL as elsewhere, so that no call fails for want of it. */
void tls_memory_setup(void);

/* A context for connections to upstreams. Trusts the system's authorities (SSL_CERT_FILE and
 * SSL_CERT_DIR are honoured) and those in ca_file (PEM; absent: none more). verify false: any
 * certificate is accepted. NULL with a message when ca_file cannot be read, or OpenSSL (its
 * openssl.cnf) gives none. Thread-safe once made.
 */
SSL_CTX *tls_client_context(struct str ca_file, bool verify, struct arena *a, struct str *err);

/* Remembers the last TLS session of a peer, for resumption. One thread's. */
struct tls_session {
    SSL_SESSION *session; /* NULL: none */
};
void tls_session_forget(struct tls_session *s);

/* How sockets use OpenSSL, of servers and clients alike. */
void tls_context_set_modes(SSL_CTX *ctx);
/* Why there is no context. */
struct str tls_context_error(struct arena *a);

/* A client connection. server_name is sent as SNI and checked against the certificate when the
 * context verifies; an IP address is checked as such and not sent (RFC 6066 §3). identity is shown
 * when the server asks; NULL: none. memory may be NULL; it must outlive the connection. NULL: the
 * identity cannot be used, or a certificate could not be held against the name, which is empty. */
SSL *tls_client_new(SSL_CTX *ctx, struct str server_name, struct tls_identity *identity,
                    struct tls_session *memory);

/* Why the last operation on ssl failed, for logs: OpenSSL's reason or the verification's. */
struct str tls_error(SSL *ssl, struct arena *a);
/* True when the peer's certificate was the reason. */
bool tls_verify_failed(const SSL *ssl);

#endif
