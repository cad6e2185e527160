/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for JSON documents that one thread parses and another takes apart soon after: with the
 * heap's memory both would wait for each other at its lock, for each of some fifty small pieces of
 * a document. With ARENA_MALLOC defined (all sanitizer builds) the heap gives it nevertheless. */
#ifndef BASE_JSON_POOL_H
#define BASE_JSON_POOL_H

#include <stddef.h>

/* What is given out is taken back all at once. The fields are json_pool.c's own. */
struct json_pool {
    char *at, *end;
    size_t given, freed; /* pieces: the thread that parses counts, and the one that frees */
};

/* Makes jansson's documents poolable. Once, before the first of them and before other threads; it
 * seeds jansson's hash tables too, which two threads must not do at once. */
void json_pools_init(void);

/* Makes n pools of `size` bytes (a multiple of 16) each; what is not used costs no memory. One set
 * at a time. Pools belong to the caller, their memory is
 * given back by json_pools_close. */
void json_pools_open(struct json_pool *pools, size_t n, size_t size);
/* No document of the pools lives any more. */
void json_pools_close(void);

/* What this thread parses from now on comes from the pool while there is room in it, else from the
 * heap; NULL: from the heap. json_decref frees both; those of one pool in one thread at a time,
 * and not while another uses that pool. */
void json_pool_use(struct json_pool *pool);

/* Takes everything back. No document of the pool lives any more. */
void json_pool_reset(struct json_pool *pool);

#endif
