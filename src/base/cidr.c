/* SPDX-License-Identifier: Apache-2.0 */
/* Networks and addresses. */
#include "base/cidr.h"

#include <arpa/inet.h>

static bool address_parse(struct str text, struct cidr *out)
{
    char z[INET6_ADDRSTRLEN];

    if (text.n == 0 || text.n >= sizeof(z) || memchr(text.p, 0, text.n))
        return false;
    memcpy(z, text.p, text.n);
    z[text.n] = 0;
    *out = (struct cidr){.v6 = memchr(z, ':', text.n) != NULL};
    out->bits = out->v6 ? 128 : 32;
    return inet_pton(out->v6 ? AF_INET6 : AF_INET, z, out->address) == 1;
}

bool cidr_parse(struct str text, struct cidr *out)
{
    struct str address, mask;
    uint64_t bits;
    bool has_mask = str_cut(text, '/', &address, &mask);

    if (!address_parse(address, out))
        return false;
    if (!has_mask)
        return true;
    if (!str_to_u64(mask, out->bits, &bits))
        return false;
    out->bits = (uint8_t)bits;
    return true;
}

bool cidr_of_sockaddr(const struct sockaddr *sa, struct cidr *out)
{
    *out = (struct cidr){0};
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
        out->bits = 32;
        memcpy(out->address, &in->sin_addr, 4);
        return true;
    }
    if (sa->sa_family != AF_INET6)
        return false;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
        out->bits = 32;
        memcpy(out->address, in6->sin6_addr.s6_addr + 12, 4);
        return true;
    }
    out->v6 = true;
    out->bits = 128;
    memcpy(out->address, in6->sin6_addr.s6_addr, 16);
    return true;
}

bool cidr_has(const struct cidr *network, const struct cidr *address)
{
    unsigned bytes = network->bits / 8, rest = network->bits % 8;

    if (network->v6 != address->v6 || memcmp(network->address, address->address, bytes) != 0)
        return false;
    return rest == 0 || ((network->address[bytes] ^ address->address[bytes]) >> (8 - rest)) == 0;
}

bool cidr_list_has(const struct cidr_list *l, const struct cidr *address)
{
    for (unsigned i = 0; i < l->n; i++)
        if (cidr_has(&l->items[i], address))
            return true;
    return false;
}
