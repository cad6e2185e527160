/* SPDX-License-Identifier: Apache-2.0 */
/* The builder: takes documents in, keeps their compiled objects, and publishes versions. */
#include "config/build.h"

#include <stdarg.h>

#include "base/mem.h"
#include "base/panic.h"
#include "config/build_private.h"
#include "config/fields.h"

enum { OBJECT_CHUNK = 256, OBJECT_MOST = 4096, SCRATCH_CHUNK = 4096 };

const struct trie_edit builder_own = {.version = 1};

/* ---- Errors ---- */

bool compile_fail(struct compile *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    c->err = arena_vprintf(&c->scratch, fmt, ap);
    va_end(ap);
    return false;
}

bool compile_fail_schema(struct compile *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    c->err = arena_vprintf(&c->scratch, fmt, ap);
    va_end(ap);
    c->by_schema = true;
    return false;
}

/* ---- Items and objects ---- */

static bool item_is(const void *value, const void *key)
{
    return str_eq(item_id(value), *(const struct str *)key);
}

struct item *item_find(const struct builder *b, enum kind kind, struct str id)
{
    return map_get(&b->items[kind], hash_str(id), item_is, &id);
}

/* Without the padding behind the id: most are a cache line. */
static size_t item_size(uint32_t id_length)
{
    return offsetof(struct item, id) + id_length;
}

/* Its memory alone. */
static void item_forget(struct item *item)
{
    if (item_size(item->id_length) <= SLAB_MAX)
        slab_give(item);
    else
        free(item);
}

struct item *item_get(struct builder *b, enum kind kind, struct str id)
{
    struct item *item = item_find(b, kind, id);

    if (item)
        return item;
    size_t size = item_size((uint32_t)id.n);
    item = size <= SLAB_MAX ? slab_take(&b->names, size) : mem_alloc(size);
    item->object = NULL;
    item->link = NULL;
    item->dependants = NULL;
    item->next_dirty = NULL;
    item->slot = UPSTREAM_NONE;
    item->id_length = (uint32_t)id.n;
    item->kind = (unsigned char)kind;
    item->dirty = false;
    memcpy(item->id, id.p, id.n);
    map_add(&b->items[kind], hash_str(id), item);
    return item;
}

void item_release(struct builder *b, struct item *item)
{
    if (item->object || item->link || item->dependants || item->dirty)
        return;
    map_remove(&b->items[item->kind], hash_str(item_id(item)), item);
    item_forget(item);
}

struct str builder_user(const struct builder *b, enum kind kind, struct str id, enum kind from)
{
    const struct item *item = item_find(b, kind, id);

    for (const struct edge *e = item ? item->dependants : NULL; e; e = e->next)
        if (e->from->kind == from)
            return item_id(e->from);
    return STR_NONE;
}

void item_touch(struct builder *b, struct item *route)
{
    if (route->dirty)
        return;
    route->dirty = true;
    route->next_dirty = b->dirty;
    b->dirty = route;
}

static void touch_routes(struct builder *b, struct item *item)
{
    for (const struct edge *e = item->dependants; e; e = e->next)
        if (e->from->kind == KIND_ROUTE)
            item_touch(b, e->from);
}

/* What hangs on this item is linked anew: routes, and the routes of services. */
static void touch_dependants(struct builder *b, struct item *item)
{
    touch_routes(b, item);
    for (const struct edge *e = item->dependants; e; e = e->next)
        if (e->from->kind == KIND_SERVICE)
            touch_routes(b, e->from);
}

static void edges_join(struct object *o)
{
    for (enum edge_kind k = 0; k < EDGE_COUNT; k++) {
        struct edge *e = o->edges[k];
        if (!e)
            continue;
        e->at = &e->to->dependants;
        e->next = *e->at;
        if (e->next)
            e->next->at = &e->next;
        *e->at = e;
    }
}

static void edge_leave(struct edge *e)
{
    if (!e->at)
        return;
    *e->at = e->next;
    if (e->next)
        e->next->at = e->at;
    e->at = NULL;
}

static void edges_leave(struct builder *b, struct object *o)
{
    for (enum edge_kind k = 0; k < EDGE_COUNT; k++)
        if (o->edges[k]) {
            edge_leave(o->edges[k]);
            item_release(b, o->edges[k]->to);
        }
}

static struct object *object_new(struct compile *c, struct item *item)
{
    struct builder *b = c->b;

    arena_init(&c->arena, &b->objects);
    if (b->sizes[c->kind] > OBJECT_CHUNK)
        arena_reserve(&c->arena, b->sizes[c->kind]);
    struct object *o = arena_zero(&c->arena, sizeof(*o));
    o->born = b->version;
    o->item = item;
    o->kind = (unsigned char)c->kind;
    o->websocket = -1;
    return o;
}

static void object_free(void *p)
{
    struct object *o = p;

    plugin_set_put(o->plugins);
    if (o->kind == KIND_SSL)
        site_release(o);
    if (o->upstream)
        tls_identity_put(o->upstream->identity);
    arena_rest_fini(&o->rest);
}

/* Documents of a kind are often alike: the next one gets what this one took. */
void arena_measure(size_t *size, const struct arena *a)
{
    size_t used = arena_used(a) - sizeof(struct arena_chunk); /* arena_reserve adds it */

    used = used > OBJECT_MOST ? OBJECT_MOST : used;
    *size = used > *size ? used : *size - (*size - used) / 4;
}

static void link_free(void *p)
{
    struct arena arena = *(struct arena *)p;

    arena_fini(&arena);
}

void object_drop(struct builder *b, struct object *o)
{
    if (o->born == b->version)
        object_free(o);
    else
        garbage_add(&b->dead, o, object_free, o->born);
}

void link_drop(struct builder *b, struct link *l)
{
    if (!l->arena)
        return;
    if (l->born == b->version)
        link_free(l->arena);
    else
        garbage_add(&b->dead, l->arena, link_free, l->born);
}

/* ---- Documents ---- */

union any_doc {
    struct doc_head head;
    struct upstream_doc upstream;
    struct route_doc route;
    struct service_doc service;
    struct consumer_doc consumer;
    struct credential_doc credential;
    struct ssl_doc ssl;
    struct stream_route_doc stream_route;
    struct proto_doc proto;
    struct decoration_doc decoration;
    struct plugin_config_doc plugin_config;
};

static bool compile_doc(struct compile *c, const union any_doc *d)
{
    switch (c->kind) {
    case KIND_UPSTREAM:
        return compile_upstream(c, &d->upstream);
    case KIND_SERVICE:
        return compile_service(c, &d->service);
    case KIND_PLUGIN_CONFIG:
        return compile_plugins(c, d->plugin_config.plugins);
    case KIND_PLUGIN_METADATA:
        return compile_metadata(c);
    case KIND_GLOBAL_RULE:
        return compile_global_rule(c, &d->plugin_config);
    case KIND_CONSUMER_GROUP:
        return compile_group(c, &d->plugin_config);
    case KIND_CONSUMER:
        return compile_consumer(c, &d->consumer);
    case KIND_CREDENTIAL:
        return compile_credential(c, &d->credential);
    case KIND_ROUTE:
        return compile_route(c, &d->route);
    case KIND_SSL:
        return compile_ssl(c, &d->ssl);
    case KIND_SECRET:
        return compile_secret(c);
    case KIND_STREAM_ROUTE:
        return compile_stream_route(c, &d->stream_route);
    case KIND_PROTO:
        return compile_proto(c, &d->proto);
    case KIND_DECORATION:
        return true;
    case KIND_COUNT:
        break;
    }
    PANIC("no such kind");
}

static struct str item_key(struct arena *a, enum kind kind, struct str id)
{
    return arena_printf(a, "/%.*s/%.*s", STR_ARG(kinds[kind].folder), STR_ARG(id));
}

/* Said before the table gets to it, as APISIX does. */
static bool check_pairs(struct compile *c, const json_t *value)
{
    if (json_object_get(value, "host") && json_object_get(value, "hosts"))
        return compile_fail(c, "only one of host or hosts is allowed");
    if (json_object_get(value, "remote_addr") && json_object_get(value, "remote_addrs"))
        return compile_fail(c, "only one of remote_addr or remote_addrs is allowed");
    return true;
}

static void compile_init(struct compile *c, struct str id)
{
    arena_init(&c->scratch, &c->b->scratch);
    c->id = id;
    c->key = item_key(&c->scratch, c->kind, id);
}

/* A document whose references were seen to as an object; NULL with a message in c->err. */
static struct object *compile_value(struct compile *c, struct item *item, const json_t *value)
{
    struct builder *b = c->b;
    union any_doc doc;
    struct str err;

    c->value = value;
    if (c->kind == KIND_ROUTE && !check_pairs(c, value))
        return NULL;
    ASSERT(kinds[c->kind].fields->size <= sizeof(doc));
    if (!fields_parse(kinds[c->kind].fields, value, &doc, &c->scratch, &err)) {
        compile_fail_schema(c, "%.*s", STR_ARG(err));
        return NULL;
    }
    c->o = object_new(c, item);
    bool good = compile_doc(c, &doc);
    if (good && kinds[c->kind].identity)
        plugin_set_settle(c);
    if (good)
        arena_measure(&b->sizes[c->kind], &c->arena);
    c->o->rest = arena_close(&c->arena);
    if (good)
        return c->o;
    edges_leave(b, c->o);
    object_free(c->o);
    return NULL;
}

/* *out is the document that was compiled, and lives as long as what is read from it. */
static struct object *compile(struct compile *c, struct item *item, const json_t *value,
                              json_t **out)
{
    return refs_resolve(c, value, out) ? compile_value(c, item, *out) : NULL;
}

/* What references stand for may pass where their texts do not: a URL, a regular expression. */
static bool check_resolved(struct builder *b, enum kind kind, struct str id, const json_t *value)
{
    struct compile c = {.b = b, .kind = kind, .strict = true};
    json_t *resolved;

    compile_init(&c, id);
    struct object *o = compile(&c, NULL, value, &resolved);
    bool good = o && resolved != value;
    if (o)
        object_free(o);
    json_decref(resolved);
    arena_fini(&c.scratch);
    return good;
}

bool builder_check(struct builder *b, enum kind kind, struct str id, const json_t *value,
                   struct arena *a, struct str *err)
{
    struct compile c = {.b = b, .kind = kind, .strict = true, .refs_stay = true};

    compile_init(&c, id);
    struct object *o = compile_value(&c, NULL, value);
    bool good = o || check_resolved(b, kind, id, value);
    if (o)
        object_free(o);
    if (!good)
        *err = arena_str(a, c.err);
    b->by_schema = !good && c.by_schema;
    arena_fini(&c.scratch);
    return good;
}

void builder_trial(struct builder *b, bool on)
{
    b->trial = on;
}

bool builder_check_by_schema(const struct builder *b)
{
    return b->by_schema;
}

/* Keeps or, with an absent message, clears what is wrong with a document. */
static void fault_set(struct trie **faults, struct str key, struct str why)
{
    free(trie_set(faults, &builder_own, key, TRIE_EXACT, why.p ? str_dup(why) : NULL));
}

struct str builder_fault(const struct builder *b, enum kind kind, struct str id)
{
    struct arena a;

    if (!b->bad)
        return STR_NONE;
    arena_init(&a, NULL);
    const char *why = trie_get(b->bad, item_key(&a, kind, id), TRIE_EXACT);
    arena_fini(&a);
    return why ? str_of(why) : STR_NONE;
}

struct bad_visit {
    builder_bad_fn *each;
    void *arg;
};

static void bad_each(void *arg, struct str key, enum trie_slot slot, void *value)
{
    struct bad_visit *v = arg;

    (void)slot;
    v->each(v->arg, key, str_of(value));
}

void builder_bad(const struct builder *b, builder_bad_fn *each, void *arg)
{
    struct bad_visit v = {each, arg};

    trie_each(b->bad, bad_each, &v);
}

void builder_flaws(const struct builder *b, builder_bad_fn *each, void *arg)
{
    struct bad_visit v = {each, arg};

    trie_each(b->flawed, bad_each, &v);
}

void builder_skip(struct builder *b, enum kind kind, struct str id, const char *why)
{
    struct arena scratch;

    arena_init(&scratch, &b->scratch);
    fault_set(&b->bad, item_key(&scratch, kind, id), str_of(why));
    arena_fini(&scratch);
}

bool builder_has(const struct builder *b, enum kind kind, struct str id)
{
    const struct item *item = item_find(b, kind, id);

    return item && item->object;
}

/* The item goes over to another version of its document; NULL: it is gone. */
static void item_replace(struct builder *b, struct item *item, struct object *new)
{
    struct object *old = item->object;

    item->object = new;
    if (new)
        edges_join(new);
    item_set_upstream(b, item, new ? new->upstream : NULL);
    switch ((enum kind)item->kind) {
    case KIND_ROUTE:
        item_touch(b, item);
        break;
    case KIND_CONSUMER:
    case KIND_CREDENTIAL:
        consumer_replace(b, item, old, new);
        break;
    case KIND_PLUGIN_METADATA:
        metadata_replace(b, item, new);
        break;
    case KIND_GLOBAL_RULE:
        b->globals_changed = true;
        break;
    case KIND_CONSUMER_GROUP:
        group_replace(b, item, new);
        break;
    case KIND_UPSTREAM:
        /* While it stays, its slot does, and that is all that others know of it. */
        if (!old || !new)
            touch_dependants(b, item);
        break;
    case KIND_SERVICE:
    case KIND_PLUGIN_CONFIG:
        touch_dependants(b, item);
        break;
    case KIND_SSL:
        site_replace(b, item, old, new);
        break;
    case KIND_SECRET:
    case KIND_STREAM_ROUTE:
    case KIND_PROTO:
    case KIND_DECORATION:
        break; /* nothing is served by them yet */
    case KIND_COUNT:
        PANIC("no such kind");
    }
    if (old) {
        edges_leave(b, old);
        object_drop(b, old);
    }
    b->changed = true;
}

static bool is_closed(const struct object *o)
{
    return o->kind == KIND_SSL && o->site && o->site->tls.nidentities == 0;
}

/* What was to be guarded by certificates of clients and is kept out must not be served by another
 * document, whose names are wider. NULL: nothing was. */
static struct object *compile_closed(struct compile *c, struct item *item, const json_t *value)
{
    c->value = value;
    c->o = object_new(c, item);
    bool closed = compile_ssl_closed(c);
    c->o->rest = arena_close(&c->arena);
    if (closed)
        return c->o;
    object_free(c->o);
    return NULL;
}

bool builder_apply(struct builder *b, enum kind kind, struct str id, int64_t revision,
                   const json_t *value)
{
    struct compile c = {.b = b, .kind = kind};
    struct item *item = item_get(b, kind, id);
    struct object *new = NULL;
    json_t *resolved = NULL;

    if (revision > b->revision)
        b->revision = revision;
    compile_init(&c, id);
    if (value) {
        new = compile(&c, item, value, &resolved);
        if (!new)
            log_write(refs_level(&c, LOG_ERROR), "%.*s is kept out: %.*s", STR_ARG(c.key),
                      STR_ARG(refs_message(&c)));
    }
    fault_set(&b->bad, c.key, !value || new ? STR_NONE : refs_message(&c));
    if (new || !value)
        fault_set(&b->flawed, c.key, c.flaws);
    refs_keep(&c, revision, value);
    if (kind == KIND_SECRET && b->env.secrets && (new || !value))
        b->env.secrets->manager(b->env.secrets->arg, id, resolved);
    json_decref(resolved);
    bool good = new || !value, stays = !good && item->object && !is_closed(item->object);
    if (!good && !stays && kind == KIND_SSL)
        new = compile_closed(&c, item, value);
    arena_fini(&c.scratch);
    if (new || (!stays && item->object))
        item_replace(b, item, new);
    item_release(b, item);
    return good;
}

void builder_revision(struct builder *b, int64_t revision)
{
    if (revision > b->revision)
        b->revision = revision;
}

/* ---- Schemas ---- */

json_t *builder_kind_schema(enum kind kind)
{
    return kind < KIND_COUNT ? fields_schema(kinds[kind].fields) : NULL;
}

json_t *builder_plugin_schema(const struct builder *b, struct str name, bool consumer)
{
    const struct plugin *p = builder_plugin(b, name);
    const struct fields *fields = !p ? NULL : consumer ? p->consumer : p->conf;

    if (!fields)
        return NULL;
    json_t *schema = fields_schema(fields);
    json_t *properties = json_object_get(schema, "properties");
    if (!consumer) {
        if (!properties) {
            properties = json_object();
            json_object_set_new(schema, "properties", properties);
        }
        json_object_set_new(properties, "_meta", fields_schema(&model_meta_fields));
    }
    return schema;
}

/* ---- The builder ---- */

const struct plugin *builder_plugin(const struct builder *b, struct str name)
{
    return trie_get(b->plugins, name, TRIE_EXACT);
}

static void plugins_index(struct trie **by_name, const struct plugin *const *plugins)
{
    for (size_t i = 0; plugins[i]; i++) {
        const struct plugin *p = plugins[i];
        ASSERT(p->abi == PLUGIN_ABI);
        trie_set(by_name, &builder_own, str_of(p->name), TRIE_EXACT, (void *)(uintptr_t)p);
    }
}

struct builder *builder_new(const struct builder_env *env)
{
    struct builder *b = mem_zero(sizeof(*b));

    b->env = *env;
    b->version = 1;
    b->changed = true; /* the first snapshot, even of nothing */
    b->router.host_first = env->router == ROUTER_HOST_URI;
    b->router.with_params = env->router == ROUTER_URI_WITH_PARAMETER;
    list_init(&b->versions);
    slabs_init(&b->slabs);
    slabs_init(&b->names);
    arena_pool_init(&b->objects, OBJECT_CHUNK, 256);
    arena_pool_init(&b->scratch, SCRATCH_CHUNK, 4);
    plugins_index(&b->plugins, env->plugins);
    plugins_index(&b->built_in, env->built_in ? env->built_in : env->plugins);
    return b;
}

struct builder *builder_new_like(const struct builder *b)
{
    struct builder_env env = b->env;

    env.secrets = NULL; /* the managers are the other one's */
    return builder_new(&env);
}

static void item_free(struct item *item)
{
    if (item->link && item->link->arena)
        link_free(item->link->arena);
    if (item->object)
        object_free(item->object);
    item_forget(item);
}

static void free_text(void *arg, struct str key, enum trie_slot slot, void *value)
{
    (void)arg;
    (void)key;
    (void)slot;
    free(value);
}

void builder_free(struct builder *b)
{
    /* What was applied and never shown (a trial that was taken back) becomes a version too: links
     * may still lead to what it replaced. */
    snapshot_put(builder_publish(b));
    while (!list_empty(&b->versions)) {
        struct version *v = CONTAINER(b->versions.next, struct version, link);
        bool last = b->versions.next == b->versions.prev;
        ASSERT(atomic_load(&v->snapshot.refs) == (last ? 1 : 0));
        garbage_fini(&v->dead);
        version_free(v);
    }
    globals_drop(b);
    garbage_fini(&b->dead);
    router_fini(&b->router);
    for (enum kind k = 0; k < KIND_COUNT; k++) {
        size_t at = 0;
        for (struct item *item; (item = map_next(&b->items[k], &at)) != NULL;)
            item_free(item);
        map_fini(&b->items[k]);
    }
    refs_fini(b);
    trie_each(b->bad, free_text, NULL);
    trie_free(b->bad);
    trie_each(b->flawed, free_text, NULL);
    trie_free(b->flawed);
    trie_free(b->waiting);
    trie_free(b->credentials);
    trie_free(b->consumers);
    trie_free(b->groups);
    trie_free(b->metadata);
    trie_free(b->sites);
    trie_free(b->identities);
    trie_free(b->plugins);
    trie_free(b->built_in);
    map_fini(&b->sets);
    slabs_fini(&b->slabs);
    slabs_fini(&b->names);
    free(b->checked);
    free(b->slots);
    free(b->free_slots);
    arena_pool_fini(&b->objects);
    arena_pool_fini(&b->scratch);
    free(b);
}
