/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration in one file, APISIX's standalone mode: apisix.yaml or apisix.json. */
#ifndef STORE_FILE_H
#define STORE_FILE_H

#include <jansson.h>

#include "store/store.h"

/* Reads the file, and holds data_dir/lock. Every write fails. Watched, it is read again whenever it
 * changes; a file that cannot be read or parsed changes nothing and is named in the log. NULL with
 * a message in the arena when it cannot be read the first time. */
struct store *store_file_open(struct str path, bool json, struct str data_dir, struct arena *a,
                              struct str *err);

/* The documents of a whole configuration: lists by collection, as those files have them; NULL:
 * none. By key, revisions 1, modified 0; what is no document is named in the log. indexes (may be
 * NULL) gets the modifiedIndex of each that has one, by key. */
struct store_batch *store_file_documents(const json_t *whole, json_t *indexes);
/* The documents in a text, for tests: by key, revisions 1, modified 0. NULL with a message. */
struct store_batch *store_file_parse(struct str text, bool json, struct arena *a, struct str *err);

#endif
