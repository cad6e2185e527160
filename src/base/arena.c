/* SPDX-License-Identifier: Apache-2.0 */
/* Arenas: bump allocation in chunks, freed together. */
#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/panic.h"

enum { ALIGN = 16, HEAP_CHUNK = 1024 };

void arena_pool_init(struct arena_pool *pool, size_t chunk_size, unsigned max_free)
{
    ASSERT(chunk_size >= 256 && chunk_size % ALIGN == 0);
    *pool = (struct arena_pool){.chunk_size = chunk_size, .max = max_free};
}

void arena_pool_fini(struct arena_pool *pool)
{
    while (pool->free) {
        struct arena_chunk *c = pool->free;
        pool->free = c->next;
        free(c);
    }
    pool->count = 0;
}

void arena_init(struct arena *a, struct arena_pool *pool)
{
    *a = (struct arena){.pool = pool};
}

static bool chunk_is_pooled(const struct arena *a, const struct arena_chunk *c)
{
    return a->pool && c->size == a->pool->chunk_size && a->pool->count < a->pool->max;
}

void arena_on_fini(struct arena *a, void (*fn)(void *arg), void *arg)
{
    struct arena_hook *h = arena_alloc(a, sizeof(*h));

    *h = (struct arena_hook){.next = a->hooks, .fn = fn, .arg = arg};
    a->hooks = h;
}

void arena_fini(struct arena *a)
{
    struct arena_chunk *c = a->chunks;

    for (struct arena_hook *h = a->hooks; h; h = h->next)
        h->fn(h->arg);

    while (c) {
        struct arena_chunk *next = c->next;
        if (chunk_is_pooled(a, c)) {
            c->next = a->pool->free;
            a->pool->free = c;
            a->pool->count++;
        } else {
            free(c);
        }
        c = next;
    }
    arena_init(a, a->pool);
}

struct arena_rest arena_close(struct arena *a)
{
    struct arena_rest rest = {a->chunks, a->hooks};

    arena_init(a, a->pool);
    return rest;
}

void arena_rest_fini(const struct arena_rest *rest)
{
    struct arena a = {.chunks = rest->chunks, .hooks = rest->hooks};

    arena_fini(&a);
}

static struct arena_chunk *chunk_new(struct arena *a, size_t payload)
{
    size_t size = payload + sizeof(struct arena_chunk);
    struct arena_chunk *c;
#ifdef ARENA_MALLOC
    struct arena_pool *pool = NULL;
#else
    struct arena_pool *pool = a->pool;
#endif

    if (pool && size <= pool->chunk_size) {
        c = pool->free;
        if (c) {
            pool->free = c->next;
            pool->count--;
        } else {
            c = mem_alloc(pool->chunk_size);
        }
        c->size = pool->chunk_size;
    } else {
#ifndef ARENA_MALLOC
        if (!pool && size < HEAP_CHUNK)
            size = HEAP_CHUNK;
#endif
        c = mem_alloc(size);
        c->size = size;
    }
    c->next = a->chunks;
    a->chunks = c;
    a->total += c->size;
    return c;
}

/* A piece that does not fit the chunk at hand. The old chunk stays current when more is left in it.
 */
static char *alloc_slow(struct arena *a, size_t n)
{
    struct arena_chunk *c = chunk_new(a, n);
    char *start = (char *)(c + 1);

#ifdef ARENA_MALLOC
    a->at = a->end = NULL;
#else
    char *end = (char *)c + c->size;
    if (end - (start + n) > a->end - a->at) {
        a->at = start + n;
        a->end = end;
    }
#endif
    return start;
}

void arena_reserve(struct arena *a, size_t n)
{
#ifdef ARENA_MALLOC
    (void)a;
    (void)n;
#else
    size_t size = n + sizeof(struct arena_chunk);
    struct arena_chunk *c = mem_alloc(size);

    c->size = size;
    c->next = a->chunks;
    a->chunks = c;
    a->total += size;
    a->at = (char *)(c + 1);
    a->end = (char *)c + size;
#endif
}

size_t arena_used(const struct arena *a)
{
    return a->total - (size_t)(a->end - a->at);
}

char *arena_bytes(struct arena *a, size_t n)
{
    ASSERT_HOT(n < SIZE_MAX / 2);
    if ((size_t)(a->end - a->at) < n || !a->at)
        return alloc_slow(a, n);
    char *p = a->at;
    a->at += n;
    return p;
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t pad = (size_t)(-(uintptr_t)a->at & (ALIGN - 1));

    n = (n + 7) & ~(size_t)7;
    if (!a->at || (size_t)(a->end - a->at) < n + pad)
        return alloc_slow(a, n);
    char *p = a->at + pad;
    a->at = p + n;
    return p;
}

void *arena_zero(struct arena *a, size_t n)
{
    return memset(arena_alloc(a, n), 0, n);
}

struct str arena_str(struct arena *a, struct str s)
{
    char *p = arena_bytes(a, s.n + 1);

    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = 0;
    return str_make(p, s.n);
}

struct str arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
    char small[256];
    va_list again;

    va_copy(again, ap);
    int n = vsnprintf(small, sizeof(small), fmt, ap);
    ASSERT(n >= 0);
    char *p = arena_bytes(a, (size_t)n + 1);
    if ((size_t)n < sizeof(small))
        memcpy(p, small, (size_t)n + 1);
    else
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return str_make(p, (size_t)n);
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    struct str s = arena_vprintf(a, fmt, ap);
    va_end(ap);
    return s;
}

struct str arena_join(struct arena *a, struct str one, struct str two)
{
    char *p = arena_bytes(a, one.n + two.n + 1);

    if (one.n)
        memcpy(p, one.p, one.n);
    if (two.n)
        memcpy(p + one.n, two.p, two.n);
    p[one.n + two.n] = 0;
    return str_make(p, one.n + two.n);
}
