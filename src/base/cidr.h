/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of IPv4 and IPv6 networks, and whether an address is in one. */
#ifndef BASE_CIDR_H
#define BASE_CIDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct cidr {
    uint8_t address[16]; /* IPv4: the first four bytes */
    uint8_t bits;        /* of the network: 32 or 128 for a single address */
    bool v6;
};

struct cidr_list {
    const struct cidr *items;
    unsigned n;
};

/* "10.0.0.1", "10.0.0.0/8", "::1", "fe80::/10"; false for anything else. Bits of the host part may
 * be set. */
bool cidr_parse(struct str text, struct cidr *out);
/* A socket's address as a single one; IPv4 in IPv6 (RFC 4291 §2.5.5.2) becomes IPv4. False for
 * other families. */
bool cidr_of_sockaddr(const struct sockaddr *sa, struct cidr *out);
/* Whether the network holds the address. IPv4 addresses are in no IPv6 network, as in lua-resty-
 * ipmatcher. */
bool cidr_has(const struct cidr *network, const struct cidr *address);
bool cidr_list_has(const struct cidr_list *l, const struct cidr *address);

#endif
