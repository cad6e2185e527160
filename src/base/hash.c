/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash-2-4 with a key of the process, and FNV-1a. */
#include "base/hash.h"

#include "base/random.h"

static uint64_t key0 = 0x0706050403020100ull, key1 = 0x0f0e0d0c0b0a0908ull;

void hash_setup(void)
{
    uint64_t key[2];

    random_bytes(key, sizeof(key));
    key0 = key[0];
    key1 = key[1];
}

static inline uint64_t rotl(uint64_t x, int b)
{
    return (x << b) | (x >> (64 - b));
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v2 = rotl(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t m)
{
    s->v3 ^= m;
    sip_round(s);
    sip_round(s);
    s->v0 ^= m;
}

static uint64_t load_le(const char *p, size_t n)
{
    uint64_t m = 0;

    for (size_t i = 0; i < n; i++)
        m |= (uint64_t)(unsigned char)p[i] << (8 * i);
    return m;
}

static void sip_feed(struct sip *s, struct str in)
{
    size_t words = in.n / 8;

    for (size_t i = 0; i < words; i++) {
        uint64_t m;
        memcpy(&m, in.p + 8 * i, 8);
        sip_word(s, m);
    }
    sip_word(s, (uint64_t)in.n << 56 | load_le(in.p + 8 * words, in.n & 7));
}

static uint64_t sip_finish(struct sip *s)
{
    for (int i = 0; i < 4; i++)
        sip_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t hash_str(struct str in)
{
    struct sip s = {0x736f6d6570736575ull ^ key0, 0x646f72616e646f6dull ^ key1,
                    0x6c7967656e657261ull ^ key0, 0x7465646279746573ull ^ key1};

    sip_feed(&s, in);
    s.v2 ^= 0xff;
    return sip_finish(&s);
}

struct hash128 hash_str128(struct str in)
{
    struct sip s = {0x736f6d6570736575ull ^ key0, 0x646f72616e646f6dull ^ key1 ^ 0xee,
                    0x6c7967656e657261ull ^ key0, 0x7465646279746573ull ^ key1};
    struct hash128 h;

    sip_feed(&s, in);
    s.v2 ^= 0xee;
    h.a = sip_finish(&s);
    s.v1 ^= 0xdd;
    h.b = sip_finish(&s);
    return h;
}

uint64_t hash_stable(struct str s)
{
    uint64_t h = 0xcbf29ce484222325ull;

    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3ull;
    return h;
}
