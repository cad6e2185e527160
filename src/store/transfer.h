/* SPDX-License-Identifier: Apache-2.0 */
/* A whole configuration out of a store into a text, and from a text into a store. */
#ifndef STORE_TRANSFER_H
#define STORE_TRANSFER_H

#include <stdio.h>

#include "config/build.h"
#include "store/document.h"
#include "store/store.h"

/* ---- Out ----
 */

struct transfer_out {
    struct store *store;
    const struct document_codec *codec; /* NULL: secrets go out as they are stored */
    bool json;                          /* apisix.json; else apisix.yaml, with #END */
    FILE *to;
};

/* Writes all documents of known kinds, by kind and id, each on a line of its own, with the id and
 * the times that it has. *n gets how many. False with a message in the arena: the store cannot be
 * read, or the output not be written. */
bool transfer_export(const struct transfer_out *t, size_t *n, struct arena *a, struct str *err);

/* ---- In ----
 */

struct transfer_in {
    struct store *store;
    const struct document_codec *codec;  /* opens what is sealed, and seals; NULL: neither */
    struct builder *builder;             /* an empty one; it is filled */
    const struct store_batch *documents; /* as store_file_parse gives them */
    const char *name;                    /* where they come from, for the history */
    bool merge;                          /* what is there besides stays; else it goes */
    bool dry;                            /* nothing is written */
    FILE *messages; /* a line for each fault; when dry, for each change ("+ /routes/1") */
    FILE *progress; /* how far it is, once a second; NULL: nobody looks */
};

struct transfer_result {
    size_t faults; /* documents that are refused: then nothing was written */
    size_t added, changed, removed, unchanged;
    size_t written; /* of the changes */
};

/* Checks all documents, each by itself and together with the others, before anything is written;
 * then writes what differs: the embedded store takes all of it or nothing, at one revision; etcd
 * takes parts of 127 documents, each whole, what is referred to first and deletions last, so that
 * what was not finished can be finished by doing it again. False with a message in the arena when
 * documents are refused or the store fails; result->written says how far it came. */
bool transfer_import(const struct transfer_in *t, struct transfer_result *result, struct arena *a,
                     struct str *err);

#endif
