/* SPDX-License-Identifier: Apache-2.0 */
/* The store that config.yaml names, and what seals the secrets in it. */
#ifndef STORE_OPEN_H
#define STORE_OPEN_H

#include "config/settings.h"
#include "store/document.h"
#include "store/store.h"

/* To serve from. NULL with a message in the arena. */
struct store *store_open(const struct settings *s, struct arena *a, struct str *err);
/* Beside a gateway that may serve from it: to be listed only. */
struct store *store_open_reading(const struct settings *s, struct arena *a, struct str *err);
/* To be changed by a program that does not serve: no gateway may run on the embedded store; those
 * on etcd see what is written. Of stores that are files NULL too. */
struct store *store_open_writing(const struct settings *s, struct arena *a, struct str *err);

/* *codec stays NULL where documents are not sealed one by one: what people write in a file is not,
 * what is given whole is as a whole. False with a message in the arena. */
bool document_codec_open(const struct settings *s, struct document_codec **codec, struct arena *a,
                         struct str *err);

#endif
