/* SPDX-License-Identifier: Apache-2.0 */
/* References to secrets that are kept elsewhere: `$secret://vault/1/redis/password`. */
#ifndef CONFIG_REFERENCES_H
#define CONFIG_REFERENCES_H

#include <stdbool.h>

#include "base/str.h"

struct secret_uri {
    struct str manager; /* "vault" */
    struct str id;      /* of the manager's document: "vault/1" */
    struct str key;     /* what it is asked for: "redis/password" */
};

/* Takes `$secret://MANAGER/ID/KEY` apart; all borrow from uri. False with *why: it is none. APISIX:
 * parse_secret_uri of secret.lua. */
bool secret_uri_parse(struct str uri, struct secret_uri *out, const char **why);

#endif
