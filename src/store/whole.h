/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration that is given whole, over the Admin API: APISIX's API-driven standalone mode. In
 * memory, with a copy in the data folder that the next start serves. */
#ifndef STORE_WHOLE_H
#define STORE_WHOLE_H

#include <jansson.h>

#include "store/seal.h"
#include "store/store.h"

/* Reads data_dir/configs, sealed as a whole, when it is there; what cannot be read is named in the
 * log, and there is no configuration then. Holds data_dir/lock. Takes the seal over. put and del
 * fail. NULL with a message in the arena. */
struct store *store_whole_open(struct str data_dir, struct seal *seal, struct arena *a,
                               struct str *err);

/* The store is one of these. */
bool store_is_whole(const struct store *s);
/* What was given last, as JSON text: lists by collection, and further members, which the store
 * keeps without looking at them; borrowed until the next store_whole_replace. Absent: nothing has
 * been given. */
struct str store_whole_text(struct store *s);
/* Those further members alone, borrowed as well; NULL: nothing has been given. */
const json_t *store_whole_head(struct store *s);
/* Takes another one, which is borrowed. An item that carries the modifiedIndex that the
 * document of its id came with stays as it was (APISIX: config_yaml.lua). When STORE_OK is returned
 * the copy is on the disk, and *changes gets what differs, for keeper_changed; else nothing has
 * changed. */
enum store_status store_whole_replace(struct store *s, const json_t *config,
                                      struct store_batch **changes, struct str *err);

#endif
