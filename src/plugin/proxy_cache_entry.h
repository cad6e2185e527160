/* SPDX-License-Identifier: Apache-2.0 */
/* A stored response: never changed once made, shared by counted references, the same bytes in
 * memory and in a file. */
#ifndef PLUGIN_PROXY_CACHE_ENTRY_H
#define PLUGIN_PROXY_CACHE_ENTRY_H

#include <stdatomic.h>

#include "base/buf.h"

/* What is known of a response beside its body. */
struct cache_facts {
    int64_t stored_ms; /* wall clock */
    int64_t ttl_s;     /* fresh for so long */
    int64_t age_s;     /* how old it was when it came (its Age) */
    uint32_t status;
    uint32_t never_stale; /* 1: must-revalidate and the like */
};

struct cache_entry {
    atomic_uint refs;
    struct cache_facts facts;
    struct str key;     /* the cache key */
    struct str vary;    /* header names that it depends on: "accept-encoding,origin" */
    struct str variant; /* method, and the request's values of those headers */
    struct str headers; /* see entry_header */
    struct str body;
    size_t size;      /* bytes of memory that it holds */
    char *head;       /* head and texts, as in the file; also the body's when body_mem is NULL */
    size_t head_size; /* without a body */
    char *body_mem;
};

/* Header lines are gathered into a buffer before there is an entry. False: too long. */
bool entry_header_add(struct buf *lines, struct str name, struct str value);
/* Takes lines one by one; *at is 0 at first. False at the end. */
bool entry_header(const struct cache_entry *e, size_t *at, struct str *name, struct str *value);

/* Makes an entry with one reference. All texts are copied; the body's memory is taken over, and the
 * buffer left empty. */
struct cache_entry *entry_new(const struct cache_facts *facts, struct str key, struct str vary,
                              struct str variant, struct str headers, struct buf *body);
struct cache_entry *entry_get(struct cache_entry *e);
void entry_put(struct cache_entry *e);
/* entry_put for callbacks. */
void entry_drop(void *e);

/* ---- Files ---- */

enum { ENTRY_HEAD_SIZE = 96, ENTRY_TEXT_MAX = 1 << 20 };

/* Completes the file's head (check sums of texts and body); before the entry is written. Only its
 * writer may call it. */
void entry_seal(struct cache_entry *e);
/* The length of the whole file, 0 when the ENTRY_HEAD_SIZE bytes at head are none of ours. */
uint64_t entry_file_size(const char *head);
/* The length of head and texts; 0 as above. */
size_t entry_texts_end(const char *head);
/* An entry from a file's bytes (on the heap, taken over; n == entry_file_size), or from its head
 * and texts alone (n == entry_texts_end), then without a body. NULL, with the bytes freed, when a
 * check sum or a length is wrong. */
struct cache_entry *entry_read(char *bytes, size_t n);

#endif
