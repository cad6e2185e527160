/* SPDX-License-Identifier: Apache-2.0 */
/* Asks secret managers (Vault, AWS, GCP) for secrets, over libcurl: for one thread, which waits. */
#ifndef STORE_SECRET_MANAGER_H
#define STORE_SECRET_MANAGER_H

#include <jansson.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "store/curl.h"

enum secret_answer {
    SECRET_READ,
    SECRET_GONE,    /* the manager says that there is no such thing */
    SECRET_REFUSED, /* the manager says something else */
    SECRET_AWAY,    /* the manager did not answer */
};

/* A question to a manager. Strings end with a NUL. */
struct secret_ask {
    CURL *easy;
    struct str manager;      /* "vault" */
    const json_t *conf;      /* its document */
    struct str path;         /* what of it: a key of `$secret://` without its last part */
    struct str ca;           /* PEM file besides the system's authorities; absent: none */
    long timeout_ms;         /* of each request; there may be two */
    const atomic_bool *stop; /* gives up when it is set; looked at once a second */
};

/* Reads the secret as a JSON object whose members are what keys end with: *out gets a new reference
 * with SECRET_READ, else *err the reason, in the arena, without anything secret in it. The
 * protocols are those of APISIX's secret/vault.lua (KV version 1; also version 2), aws.lua (current
 * version) and gcp.lua (latest version). */
enum secret_answer secret_manager_read(const struct secret_ask *ask, json_t **out, struct arena *a,
                                       struct str *err);

/* Whether there is such a manager. */
bool secret_manager_known(struct str manager);

#endif
