/* SPDX-License-Identifier: Apache-2.0 */
/* Slabs: regions of blocks of equal pieces. A block begins at a multiple of its size, so a piece's
 * address tells which block it is in. */
#include "base/slab.h"

#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/panic.h"

#ifdef ARENA_MALLOC

/* In front of each piece. */
struct header {
    struct slabs *owner;
    char pad[32 - sizeof(struct slabs *)];
};

void *slab_take(struct slabs *s, size_t n)
{
    ASSERT(n > 0 && n <= SLAB_MAX);
    struct header *h = mem_alloc(sizeof(*h) + n);
    h->owner = s;
    s->taken++;
    return h + 1;
}

void slab_give(void *p)
{
    if (!p)
        return;
    struct header *h = (struct header *)p - 1;
    h->owner->taken--;
    free(h);
}

void slabs_init(struct slabs *s)
{
    *s = (struct slabs){0};
}

void slabs_fini(struct slabs *s)
{
    ASSERT(s->taken == 0);
}

#else

/* A region is one huge page of x86-64 and, with pages of 4 KiB, of arm64. */
enum { BLOCK = 64 * 1024, BLOCKS = 32, REGION = BLOCKS * BLOCK };

struct region {
    struct slabs *owner;
    struct list link; /* on the owner's list; to itself: all blocks are used */
    char *base;
    uint32_t unused; /* bits 1 << block */
};

/* A block begins with this, in a cache line that readers have no need of. */
struct block {
    struct region *region;
    struct list link; /* on its class's open list; to itself: the block is full */
    void *free;       /* pieces given back, each points to the next */
    unsigned class, size;
    unsigned used;
    unsigned fresh; /* offset of what was never taken */
} __attribute__((aligned(128)));

static const unsigned sizes[SLAB_CLASSES] = {16, 32, 64, 96, 128, 192, 256};

static const unsigned char class_of[SLAB_MAX / 16 + 1] = {
    0, 0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6,
};

void slabs_init(struct slabs *s)
{
    *s = (struct slabs){0};
    list_init(&s->regions);
    for (unsigned i = 0; i < SLAB_CLASSES; i++)
        list_init(&s->open[i]);
}

static struct region *region_new(struct slabs *s)
{
    struct region *r = mem_alloc(sizeof(*r));
    /* Twice as much holds a whole region wherever it lies; the rest goes back at once. */
    char *p = mmap(NULL, 2 * REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        PANIC("out of memory");
    size_t before = -(uintptr_t)p & (REGION - 1);
    if (before)
        munmap(p, before);
    munmap(p + before + REGION, REGION - before);
    *r = (struct region){.owner = s, .base = p + before, .unused = UINT32_MAX};
    /* What fills more than one region needs more small pages than the processor keeps track of. The
     * first one may stay almost empty and is spared. */
    if (s->nregions)
        madvise(r->base, REGION, MADV_HUGEPAGE);
    s->nregions++;
    list_push(&s->regions, &r->link);
    return r;
}

static void region_free(struct region *r)
{
    list_remove(&r->link);
    r->owner->nregions--;
    munmap(r->base, REGION);
    free(r);
}

static struct block *block_new(struct slabs *s, unsigned class)
{
    struct region *r = list_empty(&s->regions) ? region_new(s)
                                               : CONTAINER(s->regions.next, struct region, link);
    unsigned i = (unsigned)__builtin_ctz(r->unused);
    struct block *b = (struct block *)(void *)(r->base + (size_t)i * BLOCK);

    r->unused &= ~(1u << i);
    if (!r->unused)
        list_remove(&r->link);
    *b = (struct block){
        .region = r, .class = class, .size = sizes[class], .fresh = sizeof(struct block)};
    list_push(&s->open[class], &b->link);
    return b;
}

static void block_free(struct block *b)
{
    struct region *r = b->region;
    struct slabs *s = r->owner;
    unsigned i = (unsigned)(((char *)b - r->base) / BLOCK);

    list_remove(&b->link);
    r->unused |= 1u << i;
    if (list_empty(&r->link))
        list_append(&s->regions, &r->link);
    if (r->unused == UINT32_MAX && s->nregions > 1)
        region_free(r);
}

void *slab_take(struct slabs *s, size_t n)
{
    ASSERT(n > 0 && n <= SLAB_MAX);
    unsigned class = class_of[(n + 15) / 16];
    struct list *open = &s->open[class];
    struct block *b = list_empty(open) ? block_new(s, class)
                                       : CONTAINER(open->next, struct block, link);
    void *p = b->free;

    if (p) {
        memcpy(&b->free, p, sizeof(void *));
    } else {
        p = (char *)b + b->fresh;
        b->fresh += b->size;
    }
    b->used++;
    s->taken++;
    if (!b->free && b->fresh + b->size > BLOCK)
        list_remove(&b->link);
    return p;
}

void slab_give(void *p)
{
    if (!p)
        return;
    struct block *b = (struct block *)((char *)p - ((uintptr_t)p & (BLOCK - 1)));
    struct slabs *s = b->region->owner;
    struct list *open = &s->open[b->class];

    memcpy(p, &b->free, sizeof(void *));
    b->free = p;
    b->used--;
    s->taken--;
    if (list_empty(&b->link))
        list_push(open, &b->link);
    /* The last block with room stays: a piece may come and go often. */
    if (b->used == 0 && (open->next != &b->link || open->prev != &b->link))
        block_free(b);
}

void slabs_fini(struct slabs *s)
{
    ASSERT(s->taken == 0);
    for (unsigned i = 0; i < SLAB_CLASSES; i++)
        while (!list_empty(&s->open[i]))
            block_free(CONTAINER(s->open[i].next, struct block, link));
    while (!list_empty(&s->regions))
        region_free(CONTAINER(s->regions.next, struct region, link));
}

#endif
