/* SPDX-License-Identifier: Apache-2.0 */
/* Who may come in: addresses of allow_admin, API keys and their roles. */
#include "admin/admin_int.h"

struct access {
    struct settings_admin_key *keys;
    size_t nkeys;
    bool key_required;
    struct cidr_list allow;
};

struct access *access_new(const struct admin_config *config, struct arena *a)
{
    struct access *access = arena_zero(a, sizeof(*access));

    access->key_required = config->key_required;
    access->nkeys = config->nkeys;
    access->keys = arena_zero(a, (config->nkeys + 1) * sizeof(*access->keys));
    for (size_t i = 0; i < config->nkeys; i++) {
        const struct settings_admin_key *key = &config->keys[i];
        access->keys[i] = (struct settings_admin_key){arena_str(a, key->name),
                                                      arena_str(a, key->key), key->viewer};
    }
    struct cidr *networks = arena_zero(a, (config->allow.n + 1) * sizeof(*networks));
    if (config->allow.n > 0)
        memcpy(networks, config->allow.items, config->allow.n * sizeof(*networks));
    access->allow = (struct cidr_list){networks, config->allow.n};
    return access;
}

bool access_allows(const struct access *access, const struct sockaddr *client)
{
    struct cidr address;

    if (!client || client->sa_family == AF_UNIX)
        return true;
    return cidr_of_sockaddr(client, &address) && cidr_list_has(&access->allow, &address);
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
    const struct settings_admin_key *found = NULL;

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
        const struct settings_admin_key *key = &access->keys[i];
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
