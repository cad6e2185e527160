/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzz targets share: an assertion that is always on, and a source of small numbers that
 * the input itself decides. */
#ifndef TEST_FUZZ_FUZZ_H
#define TEST_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

#define MUST(cond)                                                             \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond); \
            abort();                                                           \
        }                                                                      \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline struct str fuzz_str(const uint8_t *data, size_t size)
{
    return str_make((const char *)data, size);
}

/* 1 to n; the same for the same seed. */
static inline size_t fuzz_step(uint32_t *seed, size_t n)
{
    *seed = *seed * 1664525u + 1013904223u;
    return 1 + (*seed >> 16) % n;
}

#endif
