/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes, buffered for each thread. */
#include "base/random.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/panic.h"

/* getrandom gives up to 256 bytes whole, uninterrupted (getrandom(2)). */
enum { STOCK = 256 };

static _Thread_local struct {
    uint8_t bytes[STOCK];
    size_t left;
} stock;

static void fetch(void *out, size_t n)
{
    ssize_t got;

    do
        got = getrandom(out, n, 0);
    while (got < 0 && errno == EINTR);
    if (got != (ssize_t)n)
        PANIC("no random bytes from the kernel");
}

void random_bytes(void *out, size_t n)
{
    uint8_t *to = out;

    while (n) {
        if (stock.left == 0) {
            fetch(stock.bytes, STOCK);
            stock.left = STOCK;
        }
        size_t take = n < stock.left ? n : stock.left;
        uint8_t *from = stock.bytes + stock.left - take;
        memcpy(to, from, take);
        /* What was given out is not kept: it may have become a secret. */
        memset(from, 0, take);
        stock.left -= take;
        to += take;
        n -= take;
    }
}

uint32_t random_u32(void)
{
    uint32_t v;

    random_bytes(&v, sizeof(v));
    return v;
}

uint32_t random_below(uint32_t n)
{
    /* Lemire 2019: a product instead of a remainder, the uneven part thrown again. */
    uint64_t product = (uint64_t)random_u32() * n;

    if ((uint32_t)product < n) {
        uint32_t uneven = -n % n;
        while ((uint32_t)product < uneven)
            product = (uint64_t)random_u32() * n;
    }
    return (uint32_t)(product >> 32);
}
