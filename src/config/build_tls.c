/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles certificates into sites and the trie of their server names, and checks secret managers,
 * which are not asked for anything by this version. The checks and their words are those of APISIX
 * 3.18's ssl.lua and secrets.lua. */
#include <openssl/bio.h>
#include <openssl/pem.h>

#include "base/mem.h"
#include "base/regex.h"
#include "config/build_private.h"
#include "config/fields.h"

enum { DEPTH_MAX = 100 };

/* ---- Certificates ---- */

static bool pem_is_cert(struct str text)
{
    BIO *bio = BIO_new_mem_buf(text.p, (int)text.n);
    X509 *cert = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);

    BIO_free(bio);
    X509_free(cert);
    return cert != NULL;
}

static bool pem_is_key(struct str text)
{
    char none[] = ""; /* without a password OpenSSL would ask for one at the terminal */
    BIO *bio = BIO_new_mem_buf(text.p, (int)text.n);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, none);

    BIO_free(bio);
    EVP_PKEY_free(key);
    return key != NULL;
}

bool compile_pem(struct compile *c, const char *before, struct str cert, struct str key)
{
    if (compile_is_reference(cert) || compile_is_reference(key))
        return true;
    if (!pem_is_cert(cert))
        return compile_fail(c, "%sfailed to parse cert: PEM_read_bio_X509_AUX() failed", before);
    if (key.p && !pem_is_key(key))
        return compile_fail(c, "%sfailed to parse key: PEM_read_bio_PrivateKey() failed", before);
    return true;
}

/* A write: all of it is decoded. */
static bool pairs_check(struct compile *c, const struct ssl_doc *d)
{
    const struct str *certs = d->certs.items, *keys = d->keys.items;
    char before[64];

    if (d->certs.n != d->keys.n)
        return compile_fail(c, "mismatched number of certs and keys");
    for (size_t i = 0; i < d->certs.n; i++) {
        snprintf(before, sizeof(before), "failed to handle cert-key pair[%zu]: ", i + 1);
        if (!compile_pem(c, before, certs[i], keys[i]))
            return false;
    }
    return true;
}

static bool check(struct compile *c, const struct ssl_doc *d)
{
    if (!compile_pem(c, "", d->cert, d->key))
        return false;
    if (d->type != SSL_SERVER)
        return true;
    return pairs_check(c, d) &&
           (!d->client ||
            compile_pem(c, "failed to validate client_cert: ", d->client->ca, STR_NONE));
}

/* What is stored is only looked at from outside: decoding takes long. */
struct tls_identity *compile_identity(struct compile *c, struct str cert, struct str key)
{
    if (compile_is_reference(cert) || compile_is_reference(key)) {
        compile_fail(c, "references in certificates are not resolved by this version");
        return NULL;
    }
    struct tls_identity *id = tls_identity_new(cert, key);
    if (!id)
        compile_fail(c, "the certificate or its key is not in PEM");
    return id;
}

static bool identities_compile(struct compile *c, const struct ssl_doc *d, struct site *site)
{
    const struct str *certs = d->certs.items, *keys = d->keys.items;
    size_t n = d->certs.n + 1;
    struct tls_identity **list = arena_zero(&c->arena, n * sizeof(*list));

    site->tls.identities = list;
    for (size_t i = 0; i < n; i++) {
        list[i] = i ? compile_identity(c, certs[i - 1], keys[i - 1])
                    : compile_identity(c, d->cert, d->key);
        if (!list[i])
            return false;
        site->tls.nidentities++;
    }
    return true;
}

/* A pattern that cannot be read skips nothing. */
static bool skip_compile(struct compile *c, const struct ssl_client_doc *client, struct site *site)
{
    const struct str *patterns = client->skip.items;
    struct regex **list = arena_zero(&c->arena, client->skip.n * sizeof(*list));
    struct regex_error err;

    site->skip = list;
    for (size_t i = 0; i < client->skip.n; i++) {
        list[site->nskip] = regex_new(patterns[i], STR("jo"), &err);
        if (list[site->nskip])
            site->nskip++;
        else if (c->strict)
            return compile_fail(c, "client.skip_mtls_uri_regex[%zu]: %s", i + 1, err.text);
        else
            log_error("%.*s: client.skip_mtls_uri_regex[%zu] skips nothing: %s", STR_ARG(c->key),
                      i + 1, err.text);
    }
    site->tls.optional = client->skip.n > 0;
    return true;
}

static bool client_compile(struct compile *c, const struct ssl_client_doc *client,
                           struct site *site)
{
    if (compile_is_reference(client->ca))
        return compile_fail(c, "references in certificates are not resolved by this version");
    site->tls.authorities = tls_authorities_new(client->ca);
    if (!site->tls.authorities)
        return compile_fail(c, "client.ca is not in PEM");
    site->mutual = true;
    site->tls.depth = client->depth > DEPTH_MAX ? DEPTH_MAX : (int)client->depth;
    site->tls.client = hash_str128(
        arena_printf(&c->scratch, "%d %.*s", site->tls.depth, STR_ARG(client->ca)));
    return skip_compile(c, client, site);
}

/* A session is good for as long as nothing of all this changes. */
static struct hash128 context_of(struct compile *c, const struct site *site)
{
    const struct tls_site *tls = &site->tls;
    size_t n = 2 + tls->nidentities;
    struct hash128 *parts = arena_zero(&c->scratch, n * sizeof(*parts));

    parts[0] = hash_str128(c->key);
    parts[1] = tls->client;
    parts[1].a ^= tls->versions;
    for (unsigned i = 0; i < tls->nidentities; i++)
        parts[2 + i] = tls_identity_hash(tls->identities[i]);
    return hash_str128(str_make((const char *)parts, n * sizeof(*parts)));
}

static void name_compile(struct compile *c, struct str name)
{
    struct arena *a = &c->arena;
    struct site_name *out = &c->o->names[c->o->nnames];
    bool wildcard = name.n && name.p[0] == '*';

    if (wildcard)
        name = str_from(name, 1);
    if (name.n > 1 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n > SITE_NAME_MAX)
        return; /* no client can ask for it */
    char *p = arena_bytes(a, name.n + 1);
    for (size_t i = 0; i < name.n; i++)
        p[i] = ascii_lower(name.p[name.n - 1 - i]);
    *out = (struct site_name){.site = c->o->site,
                              .key = str_make(p, name.n),
                              .slot = wildcard ? TRIE_PREFIX : TRIE_EXACT};
    c->o->nnames++;
}

static bool site_compile(struct compile *c, const struct ssl_doc *d)
{
    struct object *o = c->o;
    const struct str *names = d->sni.p ? &d->sni : d->snis.items;
    size_t n = d->sni.p ? 1 : d->snis.n;
    const int *versions = d->protocols.items;
    struct site *site = o->site = arena_zero(&c->arena, sizeof(*site));

    site->id = arena_str(&c->arena, c->id);
    if (d->certs.n != d->keys.n)
        return compile_fail(c, "mismatched number of certs and keys");
    if (!identities_compile(c, d, site) || (d->client && !client_compile(c, d->client, site)))
        return false;
    for (size_t i = 0; i < d->protocols.n; i++)
        site->tls.versions |= 1u << versions[i];
    site->tls.context = context_of(c, site);
    if (d->status == 0)
        return true;
    o->names = arena_zero(&c->arena, n * sizeof(*o->names));
    for (size_t i = 0; i < n; i++)
        name_compile(c, names[i]);
    return true;
}

bool compile_ssl(struct compile *c, const struct ssl_doc *d)
{
    if (c->strict) { /* references are followed when it is served */
        c->o->site = arena_zero(&c->arena, sizeof(*c->o->site));
        return check(c, d) && (!d->client || skip_compile(c, d->client, c->o->site));
    }
    if (d->type == SSL_SERVER)
        return site_compile(c, d);
    c->o->identity = compile_identity(c, d->cert, d->key);
    return c->o->identity != NULL;
}

static bool is_server(const json_t *value)
{
    const char *type = json_string_value(json_object_get(value, "type"));
    const json_t *status = json_object_get(value, "status");

    return (!type || strcmp(type, "client") != 0) &&
           !(json_is_number(status) && json_number_value(status) == 0);
}

bool compile_ssl_closed(struct compile *c)
{
    const json_t *client = json_object_get(c->value, "client");
    const json_t *sni = json_object_get(c->value, "sni"), *one;
    json_t *all = json_object_get(c->value, "snis");
    struct site *site;
    size_t i;

    if (!client || json_is_null(client) || !is_server(c->value))
        return false;
    c->o->site = site = arena_zero(&c->arena, sizeof(*site));
    site->id = arena_str(&c->arena, c->id);
    site->mutual = true;
    c->o->names = arena_zero(&c->arena, (json_array_size(all) + 1) * sizeof(*c->o->names));
    json_array_foreach(all, i, one)
    {
        if (json_string_length(one) > 0)
            name_compile(c, str_of(json_string_value(one)));
    }
    if (json_string_length(sni) > 0)
        name_compile(c, str_of(json_string_value(sni)));
    return c->o->nnames > 0;
}

void site_release(struct object *o)
{
    struct site *site = o->site;

    tls_identity_put(o->identity);
    if (!site)
        return;
    for (unsigned i = 0; i < site->tls.nidentities; i++)
        tls_identity_put(site->tls.identities[i]);
    tls_authorities_put(site->tls.authorities);
    for (unsigned i = 0; i < site->nskip; i++)
        regex_free(site->skip[i]);
}

/* ---- The trie of server names ---- */

static void name_set(struct builder *b, struct site_name *as, struct site_name *first)
{
    struct trie_edit e = builder_edit(b);

    trie_set(&b->sites, &e, as->key, as->slot, first);
}

static void name_add(struct builder *b, struct site_name *n)
{
    struct site_name *head = trie_get(b->sites, n->key, n->slot), *before = NULL;

    for (n->next = head; n->next && str_cmp(n->next->site->id, n->site->id) < 0;
         n->next = n->next->next)
        before = n->next;
    if (before)
        before->next = n;
    else
        name_set(b, n, n);
    const struct site_name *other = before ? head : n->next;
    if (other && !str_eq(other->site->id, n->site->id))
        log_warn("ssls %.*s and %.*s have a server name in common: the former's certificate is "
                 "shown for it",
                 STR_ARG(before ? head->site->id : n->site->id),
                 STR_ARG(before ? n->site->id : other->site->id));
}

static void name_remove(struct builder *b, struct site_name *n)
{
    struct site_name *head = trie_get(b->sites, n->key, n->slot);

    if (head == n) {
        name_set(b, n, n->next);
        return;
    }
    while (head && head->next != n)
        head = head->next;
    if (head)
        head->next = n->next;
}

static bool is_mutual(const struct object *o)
{
    return o && o->site && o->site->mutual;
}

void site_replace(struct builder *b, struct item *item, struct object *old, struct object *new)
{
    struct trie_edit e = builder_edit(b);

    for (unsigned i = 0; new &&i < new->nnames; i++)
        name_add(b, &new->names[i]);
    for (unsigned i = 0; old && i < old->nnames; i++)
        name_remove(b, &old->names[i]);
    b->nmutual += is_mutual(new);
    b->nmutual -= is_mutual(old);
    if ((old && old->identity) || (new &&new->identity))
        trie_set(&b->identities, &e, item_id(item), TRIE_EXACT, new ? new->identity : NULL);
}

/* ---- Secret managers ---- */

/* Its id in the store is "MANAGER/ID". */
bool compile_secret(struct compile *c)
{
    const struct fields *fields = model_manager_fields(c->id);
    struct str manager, rest, err;

    str_cut(c->id, '/', &manager, &rest);
    if (!fields)
        return compile_fail(c, "invalid secret manager: %.*s", STR_ARG(manager));
    if (!fields_check(fields, c->value, &c->scratch, &err))
        return compile_fail_schema(c, "%.*s", STR_ARG(err));
    return true;
}
