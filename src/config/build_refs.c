/* SPDX-License-Identifier: Apache-2.0 */
/* References in documents, to variables of the environment and to secrets kept elsewhere: replaced
 * by what they stand for before a document is compiled, and compiled again when that changes. */
#include "config/references.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/panic.h"
#include "config/build_private.h"

/* ---- Texts ---- */

enum { ENV_PREFIX = 7 /* `$env://` */, SECRET_PREFIX = 10 /* `$secret://` */ };

static bool is_env(struct str s)
{
    return str_eq_nocase(str_head(s, ENV_PREFIX), STR("$ENV://"));
}

/* jansson's functions want a pointer to non-const, but change nothing. */
static json_t *loose(const json_t *v)
{
    return (json_t *)(uintptr_t)v;
}

static struct str text_of(const json_t *v)
{
    return str_make(json_string_value(v), json_string_length(v));
}

bool secret_uri_parse(struct str uri, struct secret_uri *out, const char **why)
{
    struct str rest = str_from(uri, SECRET_PREFIX), id;

    str_cut(rest, '/', &out->manager, &rest);
    *why = "it names no secret manager";
    if (out->manager.n == 0 || !rest.p)
        return false;
    str_cut(rest, '/', &id, &rest);
    *why = "it names no secret manager's id";
    if (id.n == 0 || !rest.p)
        return false;
    *why = "it names no key";
    if (rest.n == 0)
        return false;
    out->id = str_make(out->manager.p, (size_t)(id.p + id.n - out->manager.p));
    out->key = rest;
    return true;
}

/* ---- What is known of secrets ---- */

struct reference {
    json_t *value;     /* NULL: not known */
    char *why;         /* it is not; NULL: it is on its way */
    struct list users; /* struct use */
    struct str uri;    /* behind the struct */
};

/* A document refers to it. */
struct use {
    struct list link;
    struct source *source;
    struct reference *to;
};

/* A document with references to secrets, as it was applied. */
struct source {
    enum kind kind;
    int64_t revision;
    json_t *value;
    struct str id; /* behind the uses */
    unsigned n;
    struct use uses[];
};

static struct reference *reference_get(struct builder *b, struct str uri)
{
    struct reference *r = trie_get(b->references, uri, TRIE_EXACT);

    if (r)
        return r;
    r = mem_zero(sizeof(*r) + uri.n);
    r->uri = str_make((char *)(r + 1), uri.n);
    memcpy(r + 1, uri.p, uri.n);
    list_init(&r->users);
    trie_set(&b->references, &builder_own, uri, TRIE_EXACT, r);
    b->env.secrets->want(b->env.secrets->arg, uri, true);
    return r;
}

static void reference_free(struct reference *r)
{
    json_decref(r->value);
    free(r->why);
    free(r);
}

static void reference_release(struct builder *b, struct reference *r)
{
    if (!list_empty(&r->users))
        return;
    trie_set(&b->references, &builder_own, r->uri, TRIE_EXACT, NULL);
    b->env.secrets->want(b->env.secrets->arg, r->uri, false);
    reference_free(r);
}

static void source_free(struct source *s)
{
    json_decref(s->value);
    free(s);
}

static void source_drop(struct builder *b, struct source *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        list_remove(&s->uses[i].link);
        reference_release(b, s->uses[i].to);
    }
    source_free(s);
}

void refs_keep(struct compile *c, int64_t revision, const json_t *value)
{
    struct builder *b = c->b;
    struct source *s = NULL;

    if (c->nsecrets > 0) {
        s = mem_zero(sizeof(*s) + c->nsecrets * sizeof(s->uses[0]) + c->id.n);
        char *id = (char *)&s->uses[c->nsecrets];
        memcpy(id, c->id.p, c->id.n);
        s->kind = c->kind;
        s->revision = revision;
        s->value = json_deep_copy(value);
        s->id = str_make(id, c->id.n);
        s->n = c->nsecrets;
        for (unsigned i = 0; i < s->n; i++) {
            s->uses[i] = (struct use){.source = s, .to = c->secrets[i]};
            list_append(&c->secrets[i]->users, &s->uses[i].link);
        }
    }
    if (!s && !b->sources)
        return;
    struct source *old = trie_set(&b->sources, &builder_own, c->key, TRIE_EXACT, s);
    if (old)
        source_drop(b, old);
}

void builder_secret_set(struct builder *b, struct str uri, const json_t *value, struct str why)
{
    struct reference *r = trie_get(b->references, uri, TRIE_EXACT);
    unsigned n = 0;

    if (!r)
        return;
    bool same = value ? r->value && json_equal(r->value, loose(value)) : !r->value && r->why;
    free(r->why);
    r->why = value ? NULL : str_dup(why);
    if (same)
        return;
    json_decref(r->value);
    r->value = value ? json_deep_copy(value) : NULL;

    /* Each is replaced by another when its document is applied. */
    for (struct list *l = r->users.next; l != &r->users; l = l->next)
        n++;
    struct source **users = mem_array(n, sizeof(struct source *));
    n = 0;
    for (struct list *l = r->users.next; l != &r->users; l = l->next)
        users[n++] = CONTAINER(l, struct use, link)->source;
    for (unsigned i = 0; i < n; i++) {
        char *id = str_dup(users[i]->id);
        json_t *document = json_incref(users[i]->value);
        builder_apply(b, users[i]->kind, str_of(id), users[i]->revision, document);
        json_decref(document);
        free(id);
    }
    free(users);
}

static void free_reference(void *arg, struct str key, enum trie_slot slot, void *value)
{
    (void)arg;
    (void)key;
    (void)slot;
    reference_free(value);
}

static void free_source(void *arg, struct str key, enum trie_slot slot, void *value)
{
    (void)arg;
    (void)key;
    (void)slot;
    source_free(value);
}

void refs_fini(struct builder *b)
{
    trie_each(b->sources, free_source, NULL);
    trie_free(b->sources);
    trie_each(b->references, free_reference, NULL);
    trie_free(b->references);
}

/* ---- Looking up ---- */

/* `$env://NAME`, or a member of the JSON object in it: `$env://NAME/member`. A new reference; NULL
 * with *why. APISIX: core/env.lua. */
static json_t *env_find(struct arena *a, struct str uri, struct str *why)
{
    struct str name, member;

    str_cut(str_from(uri, ENV_PREFIX), '/', &name, &member);
    const char *text = getenv(arena_str(a, name).p);
    if (!text) {
        *why = arena_printf(a, "environment variable %.*s is not set", STR_ARG(name));
        return NULL;
    }
    if (member.n == 0) {
        json_t *whole = json_string(text);
        if (!whole)
            *why = arena_printf(a, "environment variable %.*s is no UTF-8", STR_ARG(name));
        return whole;
    }
    json_t *object = json_loads(text, 0, NULL);
    json_t *found = json_incref(json_object_get(object, arena_str(a, member).p));
    if (!json_is_object(object))
        *why = arena_printf(a, "environment variable %.*s holds no JSON object", STR_ARG(name));
    else if (!found)
        *why = arena_printf(a, "environment variable %.*s has no member %.*s", STR_ARG(name),
                            STR_ARG(member));
    json_decref(object);
    return found;
}

static void secret_note(struct compile *c, struct reference *r)
{
    for (unsigned i = 0; i < c->nsecrets; i++)
        if (c->secrets[i] == r)
            return;
    struct reference **more = arena_alloc(&c->scratch, (c->nsecrets + 1) * sizeof(*more));
    if (c->nsecrets)
        memcpy(more, c->secrets, c->nsecrets * sizeof(*more));
    more[c->nsecrets++] = r;
    c->secrets = more;
}

static json_t *secret_find(struct compile *c, struct str uri, struct str *why)
{
    struct builder *b = c->b;
    struct secret_uri parts;
    const char *fault;

    if (!secret_uri_parse(uri, &parts, &fault)) {
        *why = str_of(fault);
        return NULL;
    }
    if (!b->env.secrets) {
        *why = STR("there is nothing here that reads secrets");
        return NULL;
    }
    /* A trial does not make anybody fetch it. */
    struct reference *r = c->strict ? trie_get(b->references, uri, TRIE_EXACT)
                                    : reference_get(b, uri);
    if (r && !c->strict)
        secret_note(c, r);
    if (r && r->value)
        return json_incref(r->value);
    c->on_its_way = r && !r->why;
    *why = r && r->why ? arena_str(&c->scratch, str_of(r->why)) : STR("it was not read yet");
    return NULL;
}

static json_t *reference_find(struct compile *c, struct str uri, struct str *why)
{
    return is_env(uri) ? env_find(&c->scratch, uri, why) : secret_find(c, uri, why);
}

/* v with the references in it replaced, those that cannot be left; a new reference, v itself when
 * there is nothing to replace. */
static json_t *resolve(struct compile *c, json_t *v)
{
    json_t *copy = NULL, *child;
    const char *key;
    size_t i;

    if (json_is_string(v) && compile_is_reference(text_of(v))) {
        struct str why;
        json_t *found = reference_find(c, text_of(v), &why);
        c->resolved |= found != NULL;
        return found ? found : json_incref(v);
    }
    json_array_foreach(v, i, child)
    {
        json_t *now = resolve(c, child);
        if (now != child && !copy)
            copy = json_copy(v);
        if (copy)
            json_array_set(copy, i, now);
        json_decref(now);
    }
    json_object_foreach(v, key, child)
    {
        json_t *now = resolve(c, child);
        if (now != child && !copy)
            copy = json_copy(v);
        if (copy)
            json_object_set(copy, key, now);
        json_decref(now);
    }
    return copy ? copy : json_incref(v);
}

bool refs_gone(struct compile *c, const char *where, json_t *v)
{
    json_t *child;
    const char *key;
    size_t i;

    if (json_is_string(v) && compile_is_reference(text_of(v))) {
        struct str text = text_of(v), why = STR("it stands for a reference");
        c->on_its_way = false;
        json_decref(reference_find(c, text, &why));
        c->missing = true;
        return compile_fail(c, "%s%.*s: %.*s", where, STR_ARG(text), STR_ARG(why));
    }
    json_array_foreach(v, i, child) if (!refs_gone(c, where, child)) return false;
    json_object_foreach(v, key, child) if (!refs_gone(c, where, child)) return false;
    return true;
}

enum log_level refs_level(const struct compile *c, enum log_level level)
{
    return c->missing && c->on_its_way ? LOG_INFO : level;
}

struct str refs_message(const struct compile *c)
{
    if (!c->resolved || c->missing)
        return c->err;
    return STR("it does not fit with what its references stand for, which is not shown here");
}

/* ---- Documents ---- */

/* Where APISIX follows references (plugin.lua, consumer.lua, ssl.lua, upstream.lua, and the token
 * of secret/vault.lua), by the member at the top; NULL: in all of the document. */
static const char *const places[KIND_COUNT][2] = {
    [KIND_UPSTREAM] = {"tls"},           [KIND_SERVICE] = {"plugins", "upstream"},
    [KIND_PLUGIN_CONFIG] = {"plugins"},  [KIND_GLOBAL_RULE] = {"plugins"},
    [KIND_CONSUMER_GROUP] = {"plugins"}, [KIND_CONSUMER] = {"plugins"},
    [KIND_CREDENTIAL] = {"plugins"},     [KIND_ROUTE] = {"plugins", "upstream"},
};

static bool is_whole(enum kind kind)
{
    return kind == KIND_SSL || kind == KIND_SECRET;
}

/* Plugins are judged one by one, where they are compiled. */
static bool place_resolve(struct compile *c, json_t **document, const char *place)
{
    json_t *was = json_object_get(*document, place), *now = was ? resolve(c, was) : NULL;
    bool good = strcmp(place, "plugins") == 0 || refs_gone(c, "", now);

    if (now != was) {
        json_t *copy = json_copy(*document);
        json_object_set(copy, place, now);
        json_decref(*document);
        *document = copy;
    }
    json_decref(now);
    return good;
}

bool refs_resolve(struct compile *c, const json_t *value, json_t **out)
{
    json_t *document = json_incref(loose(value));
    bool good = true;

    if (is_whole(c->kind)) {
        json_decref(document);
        document = resolve(c, loose(value));
        good = refs_gone(c, "", document);
    }
    for (unsigned i = 0; i < 2 && places[c->kind][i] && good; i++)
        good = place_resolve(c, &document, places[c->kind][i]);
    *out = document;
    return good;
}
