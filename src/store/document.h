/* SPDX-License-Identifier: Apache-2.0 */
/* Documents on their way to and from the store: keys, and JSON values as stored text. Every value
 * passes here in both directions, so this is where secrets (FIELD_SECRET) get sealed at rest. */
#ifndef STORE_DOCUMENT_H
#define STORE_DOCUMENT_H

#include <jansson.h>

#include "config/kind.h"
#include "store/store.h"

/* "/routes/" and "/routes/1", in the arena. */
struct str document_prefix(struct arena *a, enum kind kind);
struct str document_key(struct arena *a, enum kind kind, struct str id);
/* The id in a key of that kind; absent when the key is another's, or that of something below a
 * document ("/consumers/x/credentials/y"). */
struct str document_id(enum kind kind, struct str key);

/* The value as the store keeps it, in the arena. */
struct str document_encode(struct arena *a, enum kind kind, const json_t *value);
/* A new reference; NULL when the stored text is no JSON object. */
json_t *document_decode(enum kind kind, struct str text);
/* JSON text, compact, numbers as short as 15 digits allow; in the arena. */
struct str document_text(struct arena *a, const json_t *value);

#endif
