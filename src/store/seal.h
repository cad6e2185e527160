/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets as the store keeps them: sealed, by APISIX's scheme where config.yaml has a keyring, else
 * by our own with a key in the data folder. */
#ifndef STORE_SEAL_H
#define STORE_SEAL_H

#include "base/arena.h"

struct seal;

/* apisix.data_encryption, and where our own key is. */
struct seal_config {
    bool on;                /* enable_encrypt_fields; false: texts are stored as they are */
    const struct str *ring; /* keyring: of 16 or 32 bytes each; the first seals, all of them open */
    unsigned nring;
    struct str data_dir; /* of secret.key; must be there */
};

/* Reads the own key, data_dir/secret.key (64 hex digits), and makes it (mode 0600) when it is
 * needed and not there: when sealing is on and there is no keyring. The keys are copied. NULL with
 * a message in the arena. Waits for the disk. */
struct seal *seal_new(const struct seal_config *config, struct arena *a, struct str *err);
/* Wipes the keys. */
void seal_free(struct seal *s);

/* The text as it is to be stored, in the arena (or the text itself).
 * With a keyring (APISIX, apisix/core/data_encryption.lua): AES-CBC, 128 or 256 bits as the key is
 * long, IV = (the front of) the key, PKCS#7 padding, in base64. Without: "{eclusa:1}" and the
 * base64 of a random nonce, the AES-256-GCM ciphertext and its tag. Any thread. */
struct str seal_close(const struct seal *s, struct arena *a, struct str text);

enum seal_status {
    SEAL_PLAIN,  /* it is not sealed: written before sealing was on, or by hand */
    SEAL_OPENED, /* in the arena */
    SEAL_ODD,    /* no key of the ring opens it; APISIX uses such a text as it is */
    SEAL_LOCKED, /* sealed by us with another secret.key, or changed since */
};

/* What was sealed; the stored text itself unless SEAL_OPENED is returned. Opens whatever the keys
 * open, even when sealing is off. Any thread. */
enum seal_status seal_open(const struct seal *s, struct arena *a, struct str stored,
                           struct str *out);

#endif
