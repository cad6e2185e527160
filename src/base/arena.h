/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is given out in small pieces and taken back all at once: an exchange's, a compiled
 * configuration object's. With ARENA_MALLOC defined (all sanitizer builds) every piece is an
 * allocation of its own, so that the sanitizers see its edges. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#include "base/str.h"

struct arena_chunk {
    struct arena_chunk *next;
    size_t size; /* of the whole chunk, header included */
};

/* A free list of equal chunks, one per thread: arenas that come and go with requests take their
 * chunks here. Not thread-safe. */
struct arena_pool {
    struct arena_chunk *free;
    size_t chunk_size; /* bytes, header included */
    unsigned count, max;
};

/* What is to be undone with the arena. */
struct arena_hook {
    struct arena_hook *next;
    void (*fn)(void *arg);
    void *arg;
};

struct arena {
    char *at, *end;
    struct arena_chunk *chunks;
    struct arena_hook *hooks;
    struct arena_pool *pool; /* NULL: chunks from the heap */
    size_t total;            /* bytes held in chunks */
};

/* What is left of an arena that gives out no more: enough to free it. */
struct arena_rest {
    struct arena_chunk *chunks;
    struct arena_hook *hooks;
};

/* chunk_size 256 bytes or more; at most max_free chunks are kept. */
void arena_pool_init(struct arena_pool *pool, size_t chunk_size, unsigned max_free);
void arena_pool_fini(struct arena_pool *pool);

/* The arena is empty and holds no memory until the first arena_alloc. pool may be NULL. */
void arena_init(struct arena *a, struct arena_pool *pool);
/* Frees everything given out. */
void arena_fini(struct arena *a);

/* The arena is empty after it; what it gave out lives until arena_rest_fini. */
struct arena_rest arena_close(struct arena *a);
/* As arena_fini; pooled chunks go to the heap. The rest itself may be in the arena. */
void arena_rest_fini(const struct arena_rest *rest);

/* fn(arg) is called by arena_fini, before any memory goes, last registered first: for what is kept
 * outside of the arena but belongs to what is in it. */
void arena_on_fini(struct arena *a, void (*fn)(void *arg), void *arg);

/* n bytes aligned for any type, not zeroed; never NULL. They live until arena_fini. */
void *arena_alloc(struct arena *a, size_t n) __attribute__((returns_nonnull));
void *arena_zero(struct arena *a, size_t n) __attribute__((returns_nonnull));
/* Bytes without alignment, for strings. */
char *arena_bytes(struct arena *a, size_t n) __attribute__((returns_nonnull));
/* The next n bytes come from one chunk of the heap that is no larger than they need; for arenas
 * that live long and whose size is known beforehand. */
void arena_reserve(struct arena *a, size_t n);
/* Bytes given out, and lost between them. */
size_t arena_used(const struct arena *a);
/* A copy, with a NUL behind it that the length does not count. */
struct str arena_str(struct arena *a, struct str s);
struct str arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
struct str arena_vprintf(struct arena *a, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
/* a and b joined. */
struct str arena_join(struct arena *a, struct str one, struct str two);

#endif
