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
/* The same for a process that ends with snapshots still held: nothing is closed or freed. */
void keeper_end(struct keeper *k);

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
/* The stored document, as it was read last, is no JSON object. */
bool keeper_unreadable(struct keeper *k, enum kind kind, struct str id);
/* Calls visit for each string of a decoded document that is a secret. */
void keeper_secrets(struct keeper *k, enum kind kind, json_t *value,
                    void (*visit)(void *arg, json_t *string), void *arg);
/* The newest snapshot, borrowed: until the task's next keeper_write. */
const struct snapshot *keeper_current(struct keeper *k);

/* What has changed in a store that keeper_write does not write to: applied and published as
 * keeper_write does it. Takes the batch over. */
void keeper_changed(struct keeper *k, struct store_batch *batch);

/* A document that is to be written. */
struct keeper_change {
    enum kind kind;
    struct str id;
    const json_t *value;   /* NULL: it is deleted */
    int64_t expect, ttl_s; /* as in struct store_change */
    /* What was read of it (without a value: it was not there); NULL: nothing. As in struct
     * store_change; keeper_try needs it. */
    const struct store_item *known;
    struct store_item item; /* set: the key and its revisions (equal ones: it is new); no value */
    bool tried;             /* the keeper's */
};

struct keeper_write {
    struct keeper_change *changes; /* each of another document */
    size_t n;
    struct str who, peer, how; /* as in struct store_write */
    int64_t revision;          /* set */
    size_t failed;             /* set: which change is not found or in conflict */
};

/* Writes all of the changes or none to the store, applies them to the builder, and publishes one
 * new snapshot before it returns: when the caller then answers its client, every worker has them in
 * its inbox. Keys are made in the arena. A failure changes nothing, here or in the store (what was
 * tried stays on trial); of a store that others write to *err may say that it is not known, then
 * its watch tells. */
enum store_status keeper_write(struct keeper *k, struct keeper_write *w, struct arena *a,
                               struct str *err);

/* Takes a change that was found good into the builder on trial, so that the next ones are checked
 * as if it were made (builder_check, builder_user). It must be written, or taken back, before the
 * task ends. */
void keeper_try(struct keeper *k, struct keeper_change *change);
/* Takes back those that were tried; the others are let be. */
void keeper_untry(struct keeper *k, struct keeper_change *changes, size_t n);

/* ---- Who serves what ---------------------------------------------------------------------------
 */

/* Inside a task, once: there are so many workers from now on. The current snapshot is published to
 * them, which may be newer than the one that they were made with. */
void keeper_workers(struct keeper *k, unsigned n);
/* From any thread: exchanges of this worker that begin from now on are served by that version. */
void keeper_taken(struct keeper *k, unsigned worker, uint64_t version);

/* Inside a task: fn(arg, true) is called on the keeper's thread when every worker serves the
 * current snapshot or a newer one, fn(arg, false) when that takes longer than timeout_ms. Never
 * inside this call. */
void keeper_when_live(struct keeper *k, int64_t timeout_ms, void (*fn)(void *arg, bool live),
                      void *arg);

#endif
