/* SPDX-License-Identifier: Apache-2.0 */
/* Who may come in: addresses of allow_admin, API keys and their roles. */
#include <arpa/inet.h>

#include "admin/admin_int.h"

struct range {
    unsigned char address[16]; /* IPv4 as ::ffff:a.b.c.d */
    unsigned bits;
};

struct access {
    struct admin_key *keys;
    size_t nkeys;
    bool key_required;
    struct range *ranges;
    size_t nranges;
    bool everyone;
};

static const unsigned char v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool range_parse(struct str text, struct range *range)
{
    struct str host, mask;
    char name[INET6_ADDRSTRLEN];
    bool masked = str_cut(text, '/', &host, &mask);
    uint64_t bits;

    if (host.n == 0 || host.n >= sizeof(name))
        return false;
    memcpy(name, host.p, host.n);
    name[host.n] = 0;
    bool v4 = inet_pton(AF_INET, name, range->address + 12) == 1;
    if (v4)
        memcpy(range->address, v4_mapped, sizeof(v4_mapped));
    else if (inet_pton(AF_INET6, name, range->address) != 1)
        return false;
    unsigned max = v4 ? 32 : 128;
    if (!masked)
        bits = max;
    else if (!str_to_u64(mask, max, &bits))
        return false;
    range->bits = (unsigned)bits + 128 - max;
    return true;
}

static bool range_has(const struct range *range, const unsigned char *address)
{
    unsigned whole = range->bits / 8, rest = range->bits % 8;

    if (memcmp(range->address, address, whole) != 0)
        return false;
    return rest == 0 || ((range->address[whole] ^ address[whole]) >> (8 - rest)) == 0;
}

struct access *access_new(const struct admin_config *config, struct arena *a, struct str *err)
{
    struct access *access = arena_zero(a, sizeof(*access));

    access->key_required = config->key_required;
    access->nkeys = config->nkeys;
    access->keys = arena_zero(a, (config->nkeys + 1) * sizeof(*access->keys));
    for (size_t i = 0; i < config->nkeys; i++) {
        const struct admin_key *key = &config->keys[i];
        access->keys[i] = (struct admin_key){arena_str(a, key->name), arena_str(a, key->key),
                                             key->viewer};
    }
    access->everyone = !config->allow;
    access->nranges = config->nallow;
    access->ranges = arena_zero(a, (config->nallow + 1) * sizeof(*access->ranges));
    for (size_t i = 0; i < config->nallow; i++) {
        if (!range_parse(config->allow[i], &access->ranges[i])) {
            *err = arena_printf(a, "allow_admin: \"%.*s\" is neither an address nor a CIDR",
                                STR_ARG(config->allow[i]));
            return NULL;
        }
    }
    return access;
}

bool access_allows(const struct access *access, const struct sockaddr *client)
{
    unsigned char address[16];

    if (access->everyone || !client || client->sa_family == AF_UNIX)
        return true;
    if (client->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)client;
        memcpy(address, v4_mapped, sizeof(v4_mapped));
        memcpy(address + 12, &in->sin_addr, 4);
    } else if (client->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)client;
        memcpy(address, &in6->sin6_addr, 16);
    } else {
        return false;
    }
    for (size_t i = 0; i < access->nranges; i++) {
        if (range_has(&access->ranges[i], address))
            return true;
    }
    return false;
}

/* First cookie of that name (RFC 6265 §4.2.1). */
static struct str cookie_value(struct str cookies, struct str name)
{
    struct str pair, key, value;

    while (cookies.n > 0) {
        str_cut(cookies, ';', &pair, &cookies);
        if (str_cut(pair, '=', &key, &value) && str_eq(str_trim(key), name))
            return str_trim(value);
    }
    return STR_NONE;
}

const char *access_check(const struct access *access, struct call *c, struct str header,
                         struct str cookie, struct str *who)
{
    const struct admin_key *found = NULL;

    if (!access->key_required)
        return NULL;
    struct str token = query_arg(c, STR("api_key"));
    if (!token.p)
        token = header;
    if (!token.p)
        token = cookie_value(cookie, STR("x_api_key"));
    if (!token.p)
        return "missing apikey";
    /* All keys are compared, whichever fits, so that the time tells nothing. */
    for (size_t i = 0; i < access->nkeys; i++) {
        const struct admin_key *key = &access->keys[i];
        if (str_eq_secret(key->key, token) && key->key.n > 0 && !found)
            found = key;
    }
    if (!found)
        return "wrong apikey";
    if (found->viewer && !str_eq(c->method, STR("GET")))
        return "invalid method for role viewer";
    *who = found->name;
    return NULL;
}
