/* SPDX-License-Identifier: Apache-2.0 */
/* Documents on their way to and from the store: keys, and JSON values as stored text. Every value
 * passes here in both directions: what its tables call a secret (FIELD_SECRET) is sealed on the way
 * in and opened on the way out. */
#ifndef STORE_DOCUMENT_H
#define STORE_DOCUMENT_H

#include <jansson.h>

#include "config/kind.h"
#include "plugin/plugin.h"
#include "store/seal.h"
#include "store/store.h"

/* Where secrets are and how they are sealed; const once made. */
struct document_codec;

/* Takes the seal over. `shared`: with APISIX, which does not seal what the documents of secret
 * managers hold, and must be able to read it. `plugins` (NULL-ended): all that are built in,
 * enabled or not, so that their stored secrets are opened in any case. */
struct document_codec *document_codec_new(struct seal *seal, bool shared,
                                          const struct plugin *const *plugins);
/* NULL is let pass. */
void document_codec_free(struct document_codec *codec);

/* "/routes/" and "/routes/1", in the arena. A credential's id is "USERNAME/credentials/ID", and its
 * prefix that of consumers. */
struct str document_prefix(struct arena *a, enum kind kind);
struct str document_key(struct arena *a, enum kind kind, struct str id);
/* The id in a key of that kind; absent when the key is another's, or that of something below a
 * document ("/consumers/x/credentials/y"). */
struct str document_id(enum kind kind, struct str key);
/* The kind and the id of a key; KIND_COUNT: of none. */
enum kind document_kind(struct str key, struct str *id);

/* What a document's secrets were found to be. */
struct document_secrets {
    unsigned odd;    /* no key of the keyring opens them: they are taken as they are (APISIX) */
    unsigned locked; /* they cannot be opened: the value has them as stored, and must not be used */
};

/* The value as the store keeps it, in the arena. codec NULL: secrets are not sealed. */
struct str document_encode(const struct document_codec *codec, struct arena *a, enum kind kind,
                           const json_t *value);
/* A new reference; NULL when the stored text is no JSON object. codec NULL: nothing is opened.
 * *secrets (may be NULL) is set. */
json_t *document_decode(const struct document_codec *codec, enum kind kind, struct str text,
                        struct document_secrets *secrets);
/* Calls visit for each string of an open document that is a secret; it may set the string. */
void document_secrets_each(const struct document_codec *codec, enum kind kind, json_t *value,
                           void (*visit)(void *arg, json_t *string), void *arg);
/* JSON text, compact, numbers as short as 15 digits allow; in the arena. */
struct str document_text(struct arena *a, const json_t *value);

#endif
