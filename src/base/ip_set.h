/* SPDX-License-Identifier: Apache-2.0 */
/* A compiled list of networks: which addresses are in it is found by bisection, in about the same
 * time for ten networks and for a hundred thousand. */
#ifndef BASE_IP_SET_H
#define BASE_IP_SET_H

#include "base/arena.h"
#include "base/cidr.h"

struct ip_set;

/* From n networks, in the arena; overlaps are joined. The list itself is not kept. */
struct ip_set *ip_set_new(struct arena *a, const struct cidr *networks, size_t n);
/* As cidr_list_has: IPv4 addresses are in no IPv6 network. */
bool ip_set_has(const struct ip_set *s, const struct cidr *address);

#endif
