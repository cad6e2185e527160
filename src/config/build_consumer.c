/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles consumers, their credentials and their groups, and keeps the tries by which they are
 * found. A credential belongs to whom had it first; others with the same key wait for it to become
 * free. */
#include "config/build_private.h"
#include "config/fields.h"

/* The string at the plugin's consumer_key in a parsed configuration; absent: none. */
static struct str claim_key(const struct plugin *p, const void *conf)
{
    const struct fields *fields = p->consumer ? p->consumer : p->conf;

    if (!p->consumer_key || !fields || !conf)
        return STR_NONE;
    for (const struct field *f = fields->rows; f->name; f++)
        if (strcmp(f->name, p->consumer_key) == 0 && f->type == FIELD_STR)
            return *(const struct str *)(const void *)((const char *)conf + f->at);
    return STR_NONE;
}

static void claims_compile(struct compile *c, struct str username, struct str id)
{
    struct object *o = c->o;
    unsigned n = 0;

    for (unsigned i = 0; i < object_nplugins(o); i++)
        n += entry_is_auth(c->b, &o->plugins->items[i]);
    if (n == 0)
        return;
    o->claims = arena_zero(&c->arena, n * sizeof(*o->claims));
    for (unsigned i = 0; i < object_nplugins(o); i++) {
        const struct plugin_use *use = &o->plugins->items[i].use;
        if (!use->plugin || !use->plugin->auth || use->disabled)
            continue;
        struct str key = claim_key(use->plugin, use->conf);
        /* With a reference that stayed (in a trial) a client could log in by its text. */
        if (key.n == 0 || compile_is_reference(key))
            continue;
        o->claims[o->nclaims++] = (struct claim){
            .credential = {username, o->consumer, use->conf, id},
            .plugin = use->plugin,
        };
    }
}

/* What runs for the consumer, or a group's: not what tells who it is. Returns how many. */
static unsigned uses_compile(struct compile *c, const struct plugin_use **out)
{
    struct object *o = c->o;
    struct plugin_use *uses;
    unsigned n = 0, nuses = 0;

    for (unsigned i = 0; i < object_nplugins(o); i++)
        n += !entry_is_auth(c->b, &o->plugins->items[i]);
    if (n == 0)
        return 0;
    uses = arena_alloc(&c->arena, n * sizeof(*uses));
    for (unsigned i = 0; i < object_nplugins(o); i++) {
        const struct plugin_entry *e = &o->plugins->items[i];
        if (entry_is_auth(c->b, e) || !e->use.plugin)
            continue;
        uses[nuses] = e->use;
        uses[nuses++].from_consumer = true;
    }
    *out = uses;
    return nuses;
}

/* Something else than an auth plugin should run for it and cannot. */
static bool uses_closed(const struct compile *c)
{
    const struct object *o = c->o;

    for (unsigned i = 0; i < object_nplugins(o); i++)
        if (entry_is_closed(&o->plugins->items[i]) && !entry_is_auth(c->b, &o->plugins->items[i]))
            return true;
    return false;
}

static struct str label(struct arena *a, struct field_list labels, struct str name)
{
    const struct field_pair *pairs = labels.items;

    for (size_t i = 0; i < labels.n; i++)
        if (str_eq(pairs[i].key, name))
            return arena_str(a, pairs[i].value);
    return STR_NONE;
}

static bool claim_is_same(const struct claim *a, const struct claim *b)
{
    return str_eq(a->credential.username, b->credential.username) &&
           str_eq(a->credential.id, b->credential.id);
}

/* The runtime would take the one that was there first. A consumer may repeat what a credential of
 * its own says. */
static bool check_duplicates(struct compile *c)
{
    for (unsigned i = 0; i < c->o->nclaims; i++) {
        const struct claim *mine = &c->o->claims[i], *owner = claim_owner(c->b, mine);
        if (!owner || claim_is_same(owner, mine))
            continue;
        const struct credential *other = &owner->credential;
        if (!mine->credential.id.p && str_eq(other->username, mine->credential.username))
            continue;
        return compile_fail(c, "duplicate %s of plugin %s found with %s%.*s%sconsumer: %.*s",
                            mine->plugin->consumer_key, mine->plugin->name,
                            other->id.p ? "credential: " : "", STR_ARG(other->id),
                            other->id.p ? " of " : "", STR_ARG(other->username));
    }
    return true;
}

bool compile_consumer(struct compile *c, const struct consumer_doc *d)
{
    struct object *o = c->o;

    o->consumer = arena_zero(&c->arena, sizeof(*o->consumer));
    compile_edge(c, EDGE_GROUP, KIND_CONSUMER_GROUP, d->group_id);
    if (!compile_plugins(c, d->plugins))
        return compile_fail(c, "invalid plugins configuration: %.*s", STR_ARG(c->err));
    /* Behind its plugins' strings: each gap before what is aligned costs, there are many. */
    o->consumer->username = arena_str(&c->arena, o->item ? c->id : d->username);
    o->consumer->custom_id = label(&c->arena, d->head.labels, STR("custom_id"));
    if (d->group_id.p)
        o->consumer->group_id = arena_str(&c->arena, d->group_id);
    o->consumer->nuses = uses_compile(c, &o->consumer->uses);
    o->consumer->closed = uses_closed(c);
    if (!o->consumer->closed)
        claims_compile(c, o->consumer->username, STR_NONE);
    return !c->strict || c->b->trial || check_duplicates(c);
}

/* Its id in the store is "USERNAME/credentials/ID". */
bool compile_credential(struct compile *c, const struct credential_doc *d)
{
    struct object *o = c->o;
    struct str id = arena_str(&c->arena, c->id), username, middle;

    str_cut(id, '/', &username, &id);
    str_cut(id, '/', &middle, &id);
    if (!compile_plugins(c, d->plugins))
        return compile_fail(c, "invalid plugins configuration: %.*s", STR_ARG(c->err));
    for (unsigned i = 0; i < object_nplugins(o); i++)
        if (!entry_is_auth(c->b, &o->plugins->items[i]))
            return compile_fail(c, "only supports auth type plugins in consumer credential");
    claims_compile(c, username, id);
    return !c->strict || c->b->trial || check_duplicates(c);
}

bool compile_group(struct compile *c, const struct plugin_config_doc *d)
{
    struct object *o = c->o;

    o->group = arena_zero(&c->arena, sizeof(*o->group));
    if (!compile_plugins(c, d->plugins))
        return false;
    o->group->nuses = uses_compile(c, &o->group->uses);
    o->group->closed = uses_closed(c);
    return true;
}

/* ---- The tries ---- */

static struct str claim_trie_key(char to[CREDENTIAL_KEY_MAX], const struct claim *c)
{
    return credential_key(to, str_of(c->plugin->name), claim_key(c->plugin, c->credential.conf));
}

const struct claim *claim_owner(const struct builder *b, const struct claim *c)
{
    char text[CREDENTIAL_KEY_MAX];

    return trie_get(b->credentials, claim_trie_key(text, c), TRIE_EXACT);
}

static void claim_set(struct builder *b, struct str key, struct claim *c)
{
    struct trie_edit e = builder_edit(b);

    trie_set(&b->credentials, &e, key, TRIE_EXACT, c);
}

static void claim_add(struct builder *b, struct claim *c)
{
    char text[CREDENTIAL_KEY_MAX];
    struct str key = claim_trie_key(text, c);
    const struct claim *owner = claim_owner(b, c);
    struct str username = c->credential.username;

    if (!owner || claim_is_same(owner, c)) {
        claim_set(b, key, c);
        return;
    }
    if (!str_eq(owner->credential.username, username) && !b->trial)
        log_error("consumer %.*s: its %s of plugin %s is that of consumer %.*s already and cannot "
                  "be used",
                  STR_ARG(username), c->plugin->consumer_key, c->plugin->name,
                  STR_ARG(owner->credential.username));
    struct claim *first = trie_get(b->waiting, key, TRIE_EXACT);
    struct claim **end = &first;
    while (*end)
        end = &(*end)->next;
    *end = c;
    trie_set(&b->waiting, &builder_own, key, TRIE_EXACT, first);
}

static void claim_remove(struct builder *b, struct claim *c)
{
    char text[CREDENTIAL_KEY_MAX];
    struct str key = claim_trie_key(text, c);
    struct claim *first = trie_get(b->waiting, key, TRIE_EXACT);
    const struct claim *owner = claim_owner(b, c);

    if (owner == c) {
        claim_set(b, key, first);
        if (first)
            trie_set(&b->waiting, &builder_own, key, TRIE_EXACT, first->next);
        return;
    }
    for (struct claim **at = &first; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            break;
        }
    trie_set(&b->waiting, &builder_own, key, TRIE_EXACT, first);
}

void consumer_replace(struct builder *b, struct item *item, struct object *old, struct object *new)
{
    struct trie_edit e = builder_edit(b);

    /* The new claims first: a key that stays does not go to one that waits for it. */
    for (unsigned i = 0; new &&i < new->nclaims; i++)
        claim_add(b, &new->claims[i]);
    for (unsigned i = 0; old && i < old->nclaims; i++)
        claim_remove(b, &old->claims[i]);
    if (item->kind == KIND_CONSUMER)
        trie_set(&b->consumers, &e, item_id(item), TRIE_EXACT, new ? new->consumer : NULL);
}

void group_replace(struct builder *b, struct item *item, struct object *new)
{
    struct trie_edit e = builder_edit(b);

    trie_set(&b->groups, &e, item_id(item), TRIE_EXACT, new ? new->group : NULL);
}
