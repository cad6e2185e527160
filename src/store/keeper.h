/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper: one thread that owns the store and the builder. Whatever reads or writes
 * configuration runs there as a task, one after the other, so there is nothing to lock; what it
 * makes, snapshots, goes out to the workers by message. */
#ifndef STORE_KEEPER_H
#define STORE_KEEPER_H

#include "config/build.h"
#include "store/document.h"
#include "store/secrets.h"
#include "store/store.h"

struct keeper;

/* Called on the keeper's thread with a new snapshot (one reference per call is the callee's). */
typedef void keeper_publish_fn(void *arg, const struct snapshot *snapshot);

/* Takes ownership of store, codec (NULL: secrets are not sealed), builder and of `secrets`, those
 * whose hooks the builder has (NULL: none). Reads all documents
 * and builds the first snapshot before it returns, so that the first request finds the stored
 * configuration; then starts the thread. Secrets that documents refer to are waited for, some
 * seconds at most. A document whose secrets cannot be opened is kept out and
 * logged. The first snapshot is not published: take it with keeper_snapshot. NULL when the store
 * cannot be read (it is in the log); all that was taken is gone then. */
struct keeper *keeper_start(struct store *store, struct document_codec *codec,
                            struct builder *builder, struct secrets *secrets,
                            keeper_publish_fn *publish, void *arg);
/* From now on what others write to the store is applied and published as it comes: call it once
 * publish can be called. Does nothing for a store that is our own. */
void keeper_watch(struct keeper *k);
/* Runs what is queued, ends the thread, closes the store, frees the builder. Nobody may post any
 * more, and the snapshots must have been given back. */
void keeper_stop(struct keeper *k);

/* The newest snapshot (after keeper_start: the first), with a reference for the caller; from any
 * thread. */
const struct snapshot *keeper_snapshot(struct keeper *k);

/* Milliseconds since it was last known that the configuration is what the store has; 0: the store
 * is our own. From any thread. */
int64_t keeper_stale_ms(const struct keeper *k);

/* Queues task(arg, keeper) for the keeper's thread; from any thread. */
void keeper_post(struct keeper *k, void (*task)(void *arg, struct keeper *k), void *arg);

/* ---- On the keeper's thread, inside tasks ---- */

struct store *keeper_store(struct keeper *k);
struct builder *keeper_builder(struct keeper *k);
/* A stored value with its secrets opened (those that cannot be are as stored); a new reference,
 * NULL when it is no JSON object. */
json_t *keeper_decode(struct keeper *k, enum kind kind, struct str text);
/* The same, telling what the secrets were found to be. */
json_t *keeper_decode_secrets(struct keeper *k, enum kind kind, struct str text,
                              struct document_secrets *secrets);
/* The newest snapshot, borrowed: until the task's next keeper_write. */
const struct snapshot *keeper_current(struct keeper *k);

/* What has changed in a store that keeper_write does not write to: applied and published as
 * keeper_write does it. Takes the batch over. */
void keeper_changed(struct keeper *k, struct store_batch *batch);

/* Writes a document (value NULL: deletes it) to the store, applies it to the builder, and publishes
 * a new snapshot before it returns: when the caller then answers its client, every worker has the
 * change in its inbox. `expect` as in store_ops.put, for puts only. *out gets the key and the
 * revisions, its strings in the arena. A failure changes nothing, here or in the store; of a store
 * that others write to *err may say that it is not known, then its watch tells. */
enum store_status keeper_write(struct keeper *k, enum kind kind, struct str id, const json_t *value,
                               int64_t expect, struct store_item *out, struct arena *a,
                               struct str *err);

#endif
