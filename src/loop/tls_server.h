/* SPDX-License-Identifier: Apache-2.0 */
/* TLS towards clients: one context for all names and threads; what a name is served with is asked
 * for when the client has said which it wants, and set on its connection alone. Sessions are
 * resumed within one site only (OpenSSL). */
#ifndef LOOP_TLS_SERVER_H
#define LOOP_TLS_SERVER_H

#include "base/arena.h"
#include "base/reason.h"
#include "loop/tls_identity.h"

enum tls_version { TLS_V1_1 = 1 << 0, TLS_V1_2 = 1 << 1, TLS_V1_3 = 1 << 2 };

/* What clients that ask for a name are served with. Const while a connection looks at it. */
struct tls_site {
    struct tls_identity *const *identities; /* one for each kind of key; later ones go first */
    unsigned nidentities;
    unsigned versions; /* enum tls_version; 0: as the listener */
    struct tls_authorities
        *authorities;       /* who signs clients' certificates; NULL: none is asked for */
    struct hash128 client;  /* stands for authorities and depth */
    int depth;              /* certificates between a client's and an authority's */
    bool optional;          /* the handshake goes on without a good one; the request is judged */
    struct hash128 context; /* sessions begun under another one are not resumed */
};

struct tls_server;
struct tls_server_config {
    unsigned versions;  /* enum tls_version */
    struct str ciphers; /* of TLS 1.2 and below, OpenSSL's form; absent: OpenSSL's */
    bool tickets;       /* sessions are kept by clients, sealed; false: here, the last 20,000 */
};

/* Shared by all threads. NULL with a message. */
struct tls_server *tls_server_new(const struct tls_server_config *config, struct arena *a,
                                  struct str *err);
void tls_server_free(struct tls_server *t);

/* What a name is served with; the name is lower case, without a final dot; absent: the client gave
 * none. NULL: nothing, the handshake fails. The result is used during this call of OpenSSL alone.
 */
typedef const struct tls_site *tls_find_fn(void *arg, struct str name);

/* What is known of a client. One thread's. */
struct tls_peer {
    tls_find_fn *find;
    void *arg;
    struct str name;              /* that it asked for, as for find; absent: none. Owned */
    const char *version, *cipher; /* "TLSv1.3"; NULL until the handshake is done */
    bool resumed;
    X509 *cert;            /* the client's; NULL: none */
    long verified;         /* X509_V_OK, or why its certificate is not good */
    struct hash128 client; /* of the site that it was verified for */
    enum reason why;       /* the handshake failed; REASON_NONE: OpenSSL knows */
};

/* The TLS side of an accepted connection; peer must outlive it. */
SSL *tls_server_accept(struct tls_server *t, struct tls_peer *peer);
/* The handshake is done: fills in the peer. */
void tls_peer_learn(struct tls_peer *peer, SSL *ssl);
/* Forgets what is owned; the struct is the caller's. */
void tls_peer_fini(struct tls_peer *peer);

#endif
