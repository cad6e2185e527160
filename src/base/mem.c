/* SPDX-License-Identifier: Apache-2.0 */
/* Heap memory that cannot fail. */
#include "base/mem.h"

#include <string.h>

#include "base/panic.h"

void *mem_alloc(size_t n)
{
    void *p = malloc(n ? n : 1);

    if (!p)
        PANIC("out of memory");
    return p;
}

void *mem_zero(size_t n)
{
    return mem_array(1, n);
}

void *mem_array(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);

    if (!p)
        PANIC("out of memory");
    return p;
}

void *mem_resize(void *p, size_t n)
{
    void *q = realloc(p, n ? n : 1);

    if (!q)
        PANIC("out of memory");
    return q;
}

void *mem_dup(const void *p, size_t n)
{
    void *q = mem_alloc(n);

    if (n)
        memcpy(q, p, n);
    return q;
}
