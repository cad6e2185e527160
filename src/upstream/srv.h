/* SPDX-License-Identifier: Apache-2.0 */
/* SRV records (RFC 2782) in a DNS answer: bytes to records, strict, bounded. */
#ifndef UPSTREAM_SRV_H
#define UPSTREAM_SRV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum { SRV_MAX = 1024 }; /* further records are left out, and those whose target is no host name */

struct srv_record {
    struct str target; /* NUL-terminated, without a final dot, lower case; "": the root, that is
                          "decidedly not available" */
    uint16_t priority, weight, port;
};

struct srv_answer {
    struct srv_record *records; /* sorted: the same set is the same list */
    unsigned n;
    uint32_t ttl; /* the shortest of all records of the answer, aliases included */
};

/* Reads the answer section of a DNS message (RFC 1035 §4.1). False: malformed. n may be 0. The
 * caller frees what srv_parse gave. */
bool srv_parse(const uint8_t *message, size_t size, struct srv_answer *out);
void srv_free(struct srv_record *records, unsigned n);
bool srv_equal(const struct srv_record *a, unsigned na, const struct srv_record *b, unsigned nb);

#endif
