/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots as threads see them: references and look-ups. */
#include "config/snapshot.h"

#include "base/hash.h"
#include "base/panic.h"
#include "config/build_private.h"

void snapshot_get(const struct snapshot *s)
{
    /* The caller's own reference, or the builder's, keeps it alive meanwhile. */
    atomic_fetch_add_explicit((atomic_uint *)(uintptr_t)&s->refs, 1, memory_order_relaxed);
}

void snapshot_put(const struct snapshot *s)
{
    unsigned before = atomic_fetch_sub_explicit((atomic_uint *)(uintptr_t)&s->refs, 1,
                                                memory_order_release);

    ASSERT(before > 0);
}

struct str credential_key(char to[CREDENTIAL_KEY_MAX], struct str plugin, struct str key)
{
    struct hash128 h = hash_str128(key);
    struct str name = str_head(plugin, CREDENTIAL_KEY_MAX - sizeof(h));

    /* The hash first: then keys part within their first bytes, whatever the plugins. */
    memcpy(to, &h, sizeof(h));
    if (name.n)
        memcpy(to + sizeof(h), name.p, name.n);
    return str_make(to, sizeof(h) + name.n);
}

const struct credential *snapshot_credential(const struct snapshot *s, const char *plugin,
                                             struct str key)
{
    char text[CREDENTIAL_KEY_MAX];

    return trie_get(s->credentials, credential_key(text, str_of(plugin), key), TRIE_EXACT);
}

const struct consumer *snapshot_consumer(const struct snapshot *s, struct str username)
{
    const struct consumer *c = trie_get(s->consumers, username, TRIE_EXACT);

    return c && !c->closed ? c : NULL;
}

const struct consumer *snapshot_owner(const struct snapshot *s, const struct credential *c)
{
    return c->consumer ? c->consumer : snapshot_consumer(s, c->username);
}

const struct consumer_group *snapshot_group(const struct snapshot *s, struct str id)
{
    return trie_get(s->groups, id, TRIE_EXACT);
}

const void *snapshot_metadata(const struct snapshot *s, const char *plugin)
{
    return s->metadata ? trie_get(s->metadata, str_of(plugin), TRIE_EXACT) : NULL;
}

/* labels: a `*.` stands for any number of them. */
static const struct site *site_find(const struct snapshot *s, struct str name, bool labels)
{
    char backwards[SITE_NAME_MAX];
    struct trie_walk w;
    size_t most = name.n < sizeof(backwards) ? name.n : sizeof(backwards);

    if (!s->sites || name.n == 0)
        return NULL;
    for (size_t i = 0; i < most; i++)
        backwards[i] = name.p[name.n - 1 - i];
    struct str key = str_make(backwards, most);
    trie_walk_start(&w, s->sites, key);
    if (w.exact && most == name.n)
        return ((const struct site_name *)w.exact)->site;
    for (const struct site_name *n; (n = trie_walk_next(&w));)
        if (labels || n->key.n == 0 || str_find(str_from(key, n->key.n), '.') < 0)
            return n->site;
    return NULL;
}

const struct site *snapshot_site(const struct snapshot *s, struct str name)
{
    return name.n > SITE_NAME_MAX ? NULL : site_find(s, name, false);
}

const struct site *snapshot_site_above(const struct snapshot *s, struct str host)
{
    return site_find(s, host, true);
}

struct tls_identity *snapshot_identity(const struct snapshot *s, struct str id)
{
    return trie_get(s->identities, id, TRIE_EXACT);
}
