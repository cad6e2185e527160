/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table of pointers for one thread: what they point to has the key. Small and quick to
 * change, but every reader must be the writer; what several threads read is a trie (base/trie.h).
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map {
    void **values;    /* NULL: the place is free */
    uint32_t *hashes; /* of the values, so that growing looks at no value */
    size_t n, cap;    /* cap: 0 or a power of two */
};

/* Whether the value has that key. */
typedef bool map_same_fn(const void *value, const void *key);

/* A zeroed map is an empty one. The values are the caller's. */
void map_fini(struct map *m);
/* NULL: not there. `hash` is the key's, of any quality in all of its low 32 bits. */
void *map_get(const struct map *m, uint64_t hash, map_same_fn *same, const void *key);
/* The key must not be there yet. */
void map_add(struct map *m, uint64_t hash, void *value);
/* The value must be there. */
void map_remove(struct map *m, uint64_t hash, const void *value);
/* The first value at *at or behind, which goes behind it; NULL: no more. In no order; the map must
 * not be changed meanwhile. */
void *map_next(const struct map *m, size_t *at);

#endif
