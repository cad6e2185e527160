/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes. Keyed SipHash-2-4 for whatever a peer can choose (cache keys, counter keys, credentials),
 * so that nobody can aim collisions at us. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdint.h>

#include "base/str.h"

struct hash128 {
    uint64_t a, b;
};

/* Fills the process's random key; call once at start, before threads. */
void hash_setup(void);
/* SipHash-2-4 (Aumasson, Bernstein 2012), 64 bits, under the process's key. */
uint64_t hash_str(struct str s);
/* The 128-bit variant: wide enough to stand for the string itself. */
struct hash128 hash_str128(struct str s);
/* Unkeyed and stable over restarts and machines (FNV-1a, 64 bits); for what nobody attacks. */
uint64_t hash_stable(struct str s);

#endif
