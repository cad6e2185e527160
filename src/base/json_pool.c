/* SPDX-License-Identifier: Apache-2.0 */
/* jansson's memory: pieces of a pool are told from pieces of the heap by their address. */
#include "base/json_pool.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

#include <jansson.h>

#include "base/mem.h"
#include "base/panic.h"

#ifdef ARENA_MALLOC
enum { POOLED = 0 };
#else
enum { POOLED = 1 };
#endif

enum { ALIGN = 16 };

/* All pools' memory, one behind the other; size 0: there is none. Threads that have nothing of it
 * look at the size when they free theirs. */
static struct {
    _Atomic(char *) base;
    atomic_size_t size;
    size_t each;
    struct json_pool *pools;
} region;

static _Thread_local struct json_pool *used;

static void *piece_alloc(size_t n)
{
    struct json_pool *pool = used;

    n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (!pool || (size_t)(pool->end - pool->at) < n)
        return mem_alloc(n);
    char *p = pool->at;
    pool->at += n;
    pool->given++;
    return p;
}

static void piece_free(void *p)
{
    char *base = atomic_load_explicit(&region.base, memory_order_relaxed);
    size_t offset = (uintptr_t)p - (uintptr_t)base;

    if (offset < atomic_load_explicit(&region.size, memory_order_relaxed))
        region.pools[offset / region.each].freed++;
    else
        free(p);
}

void json_pools_init(void)
{
    if (POOLED)
        json_set_alloc_funcs(piece_alloc, piece_free);
    json_object_seed(0);
}

static void pool_fill(struct json_pool *pool)
{
    pool->at = region.base + (size_t)(pool - region.pools) * region.each;
    pool->end = pool->at + region.each;
    pool->given = pool->freed = 0;
}

void json_pools_open(struct json_pool *pools, size_t n, size_t size)
{
    ASSERT(region.size == 0 && size % ALIGN == 0);
    char *base = mmap(NULL, n * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        PANIC("out of memory");
    region.base = base;
    region.size = n * size;
    region.each = size;
    region.pools = pools;
    for (size_t i = 0; i < n; i++)
        pool_fill(&pools[i]);
}

void json_pools_close(void)
{
    for (size_t i = 0; i < region.size / region.each; i++)
        ASSERT(region.pools[i].given == region.pools[i].freed);
    size_t size = region.size;
    region.size = 0;
    munmap(region.base, size);
}

void json_pool_use(struct json_pool *pool)
{
    used = pool;
}

void json_pool_reset(struct json_pool *pool)
{
    ASSERT(pool->given == pool->freed);
    pool_fill(pool);
}
