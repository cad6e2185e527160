/* SPDX-License-Identifier: Apache-2.0 */
/* Heap memory. Sizes are bounded where input enters the program, so running out of memory is not an
 * error to handle but the end: these never return NULL. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>
#include <stdlib.h>

/* Panics when memory is out; n may be 0. */
void *mem_alloc(size_t n) __attribute__((malloc, returns_nonnull));
/* Zeroed. */
void *mem_zero(size_t n) __attribute__((malloc, returns_nonnull));
void *mem_array(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *mem_resize(void *p, size_t n) __attribute__((returns_nonnull));
/* A heap copy of n bytes. */
void *mem_dup(const void *p, size_t n) __attribute__((returns_nonnull));

#endif
