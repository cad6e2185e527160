/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes that nobody can foretell, cheap enough for every request: the kernel's, fetched by
 * each thread some hundreds at a time, without a lock. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Fills out with n bytes; never fails, does not wait once the system has started. */
void random_bytes(void *out, size_t n);
uint32_t random_u32(void);
/* Evenly spread over 0 … n - 1; n is 1 or more. */
uint32_t random_below(uint32_t n);

#endif
