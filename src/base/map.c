/* SPDX-License-Identifier: Apache-2.0 */
/* Open addressing with linear probing; a value that goes draws those behind it nearer. */
#include "base/map.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/panic.h"

enum { CAP_MIN = 16 };

void map_fini(struct map *m)
{
    free(m->values);
    free(m->hashes);
    *m = (struct map){0};
}

void *map_get(const struct map *m, uint64_t hash, map_same_fn *same, const void *key)
{
    uint32_t h = (uint32_t)hash;

    if (m->n == 0)
        return NULL;
    for (size_t i = h & (m->cap - 1); m->values[i]; i = (i + 1) & (m->cap - 1))
        if (m->hashes[i] == h && same(m->values[i], key))
            return m->values[i];
    return NULL;
}

static void place(struct map *m, uint32_t h, void *value)
{
    size_t i = h & (m->cap - 1);

    while (m->values[i])
        i = (i + 1) & (m->cap - 1);
    m->values[i] = value;
    m->hashes[i] = h;
}

static void resize(struct map *m, size_t cap)
{
    struct map old = *m;

    m->cap = cap;
    m->values = mem_zero(cap * sizeof(*m->values));
    m->hashes = mem_array(cap, sizeof(*m->hashes));
    for (size_t i = 0; i < old.cap; i++)
        if (old.values[i])
            place(m, old.hashes[i], old.values[i]);
    map_fini(&old);
}

void map_add(struct map *m, uint64_t hash, void *value)
{
    if (m->n >= m->cap / 8 * 7)
        resize(m, m->cap ? m->cap * 2 : CAP_MIN);
    place(m, (uint32_t)hash, value);
    m->n++;
}

void map_remove(struct map *m, uint64_t hash, const void *value)
{
    size_t mask = m->cap - 1, i = (uint32_t)hash & mask;

    ASSERT(m->n > 0);
    while (m->values[i] != value) {
        ASSERT(m->values[i]);
        i = (i + 1) & mask;
    }
    for (size_t j = (i + 1) & mask; m->values[j]; j = (j + 1) & mask) {
        /* One that would be found from the gap on moves there. */
        if (((j - m->hashes[j]) & mask) < ((j - i) & mask))
            continue;
        m->values[i] = m->values[j];
        m->hashes[i] = m->hashes[j];
        i = j;
    }
    m->values[i] = NULL;
    if (--m->n == 0)
        map_fini(m);
    else if (m->cap > CAP_MIN && m->n < m->cap / 8)
        resize(m, m->cap / 2);
}

void *map_next(const struct map *m, size_t *at)
{
    while (*at < m->cap)
        if (m->values[(*at)++])
            return m->values[*at - 1];
    return NULL;
}
