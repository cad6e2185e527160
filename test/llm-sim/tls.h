/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS side: one context for all workers. */
#ifndef SIM_TLS_H
#define SIM_TLS_H

#include <openssl/types.h>
#include <stdbool.h>

/* Prints what failed and returns false. client_ca may be NULL; given, clients must show a
 * certificate. */
bool tls_init(const char *cert, const char *key, const char *client_ca);
void tls_fini(void);
SSL *tls_new(int fd); /* server side, for an accepted socket; never NULL */

#endif
