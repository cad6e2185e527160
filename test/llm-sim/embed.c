/* SPDX-License-Identifier: Apache-2.0 */
/* Bag-of-words vectors: each word adds 16 signed ones at places that its hash names. */
#include "embed.h"

#include <ctype.h>
#include <math.h>

#define PLACES 16

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

void embed_text(const char *p, size_t n, float *v, size_t dims)
{
    for (size_t i = 0; i < dims; i++)
        v[i] = 0;
    size_t i = 0;
    while (i < n) {
        uint64_t h = UINT64_C(14695981039346656037);
        size_t start = i;
        for (; i < n && !isspace((unsigned char)p[i]); i++)
            h = (h ^ (uint64_t)tolower((unsigned char)p[i])) * UINT64_C(1099511628211);
        for (unsigned k = 0; i > start && k < PLACES; k++) {
            h = mix(h + UINT64_C(0x9e3779b97f4a7c15));
            v[(h >> 8) % dims] += h & 1 ? 1.0F : -1.0F;
        }
        i++;
    }
    double sum = 0;
    for (size_t k = 0; k < dims; k++)
        sum += (double)v[k] * (double)v[k];
    if (sum == 0) {
        v[0] = 1;
        return;
    }
    float scale = (float)(1.0 / sqrt(sum));
    for (size_t k = 0; k < dims; k++)
        v[k] *= scale;
}

void embed_json(struct buf *out, const float *v, size_t dims)
{
    buf_add(out, "[", 1);
    for (size_t i = 0; i < dims; i++) {
        if (i)
            buf_add(out, ",", 1);
        if (v[i] == 0)
            buf_add(out, "0.0", 3);
        else
            buf_fmt(out, "%.9g", (double)v[i]);
    }
    buf_add(out, "]", 1);
}

void embed_base64(struct buf *out, const float *v, size_t dims)
{
    unsigned char bytes[EMBED_MAX * 4];
    for (size_t i = 0; i < dims; i++) {
        uint32_t u;
        memcpy(&u, &v[i], 4);
        for (int k = 0; k < 4; k++)
            bytes[i * 4 + (size_t)k] = (unsigned char)(u >> 8 * k);
    }
    buf_base64(out, bytes, dims * 4);
}
