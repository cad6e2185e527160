/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles the `plugins` object of a document: each plugin's configuration by its table, `_meta`,
 * and the plugin's own compile. */
#include <stdarg.h>

#include "base/hash.h"
#include "base/mem.h"
#include "config/build_private.h"
#include "config/fields.h"
#include "config/lua.h"

/* What APISIX 3.18 has of a plugin's duties (design §2 #9); those that are built in say it
 * themselves. */
enum duty { DUTY_NONE, DUTY_GUARD, DUTY_AUTH };

/* Those of APISIX's plugins with a duty that are not built in. Other unknown names are left out
 * with a warning. */
static const struct {
    const char *name;
    enum duty duty;
} others[] = {
    /* They tell who the consumer is. */
    {"jwe-decrypt", DUTY_AUTH},
    {"ldap-auth", DUTY_AUTH},
    {"ldap-auth-advanced", DUTY_AUTH},
    {"multi-auth", DUTY_AUTH},
    {"wolf-rbac", DUTY_AUTH},
    /* They decide who may pass, by identity or client. */
    {"acl", DUTY_GUARD},
    {"authz-casbin", DUTY_GUARD},
    {"authz-casdoor", DUTY_GUARD},
    {"authz-keycloak", DUTY_GUARD},
    {"cas-auth", DUTY_GUARD},
    {"dingtalk-auth", DUTY_GUARD},
    {"feishu-auth", DUTY_GUARD},
    {"opa", DUTY_GUARD},
    {"openid-connect", DUTY_GUARD},
    {"saml-auth", DUTY_GUARD},
    /* What may pass, by its content. */
    {"ai-aliyun-content-moderation", DUTY_GUARD},
    {"ai-aws-content-moderation", DUTY_GUARD},
    {"ai-lakera-guard", DUTY_GUARD},
    {"ai-prompt-guard", DUTY_GUARD},
    {"chaitin-waf", DUTY_GUARD},
    {"client-control", DUTY_GUARD},
    {"oas-validator", DUTY_GUARD},
    {"request-validation", DUTY_GUARD},
    {"workflow", DUTY_GUARD},
    /* How much. */
    {"ai-rate-limiting", DUTY_GUARD},
    {"graphql-limit-count", DUTY_GUARD},
    {"limit-conn", DUTY_GUARD},
    {"limit-req", DUTY_GUARD},
    /* Code of the user's own, which may do any of this. */
    {"ext-plugin-post-req", DUTY_GUARD},
    {"ext-plugin-pre-req", DUTY_GUARD},
    {"serverless-post-function", DUTY_GUARD},
    {"serverless-pre-function", DUTY_GUARD},
};

/* ---- What plugin.h promises to compile functions ---- */

struct arena *build_arena(struct build *b)
{
    return b->arena;
}

bool build_error(struct build *b, const char *fmt, ...)
{
    va_list ap;

    if (b->err.p)
        return false;
    va_start(ap, fmt);
    b->err = arena_vprintf(b->scratch, fmt, ap);
    va_end(ap);
    return false;
}

bool build_error_in(struct build *b, const char *where)
{
    b->err = arena_printf(b->scratch, "%s%.*s", where, STR_ARG(b->err));
    return false;
}

void build_body_need(struct build *b, enum body_need need)
{
    if (need > b->body)
        b->body = need;
}

struct str build_resource(struct build *b)
{
    b->own = true;
    return b->resource;
}

uint64_t build_conf_hash(const struct build *b)
{
    char *text = json_dumps(b->conf, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    uint64_t h = hash_stable(str_of(text));

    free(text);
    return h;
}

/* ---- One plugin ---- */

static enum duty entry_duty(const struct builder *b, const struct plugin_entry *e)
{
    /* Also what config.yaml has switched off says what it was for. */
    const struct plugin *p = e->use.plugin ? e->use.plugin
                                           : trie_get(b->built_in, str_of(e->name), TRIE_EXACT);

    if (p)
        return p->auth ? DUTY_AUTH : p->guard ? DUTY_GUARD : DUTY_NONE;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strcmp(others[i].name, e->name) == 0)
            return others[i].duty;
    return DUTY_NONE;
}

bool entry_is_auth(const struct builder *b, const struct plugin_entry *e)
{
    return entry_duty(b, e) == DUTY_AUTH;
}

bool entry_is_guard(const struct builder *b, const struct plugin_entry *e)
{
    return entry_duty(b, e) != DUTY_NONE;
}

bool compile_is_reference(struct str s)
{
    return str_starts(s, STR("$secret://")) || str_eq_nocase(str_head(s, 7), STR("$ENV://"));
}

/* One entry under way. */
struct trial {
    struct compile *c;
    struct plugin_entry *entry;
    const json_t *whole_conf;
    const json_t *conf; /* without `_meta` */
    struct meta_doc meta;
    struct build build;
};

static bool meta_refuse(struct trial *t, struct str why)
{
    return compile_fail(t->c,
                        "failed to check the configuration of plugin %s err: property \"_meta\" "
                        "validation failed: %.*s",
                        t->entry->name, STR_ARG(why));
}

static bool meta_parse(struct trial *t, const json_t *json)
{
    struct str err;

    if (!json)
        return true;
    if (!fields_parse(&model_meta_fields, json, &t->meta, &t->c->scratch, &err)) {
        /* A fault elsewhere in it does not make a disabled plugin run. */
        const json_t *disable = json_is_object(json) ? json_object_get(json, "disable") : NULL;
        t->meta = (struct meta_doc){.disable = json_is_true(disable)};
        return meta_refuse(t, err);
    }
    return true;
}

/* A chunk that returns a function of the plugin's configuration and the context. */
static bool pre_function_compile(struct trial *t, struct plugin_meta *meta)
{
    static const char name[] = "meta pre_function";
    struct str err;

    if (lua_check(t->meta.pre_function, name, LUA_ANY, &t->c->scratch, &err) == LUA_CHECK_FAILED)
        return compile_fail(t->c, "failed to load _meta.pre_function in plugin %s: %.*s",
                            t->entry->name, STR_ARG(err));
    meta->pre_function = lua_source_new(t->c->set_arena, t->meta.pre_function, name, t->whole_conf);
    return true;
}

/* What of `_meta` is used while requests run. */
static bool meta_compile(struct trial *t)
{
    struct plugin_use *use = &t->entry->use;
    struct arena *a = t->c->set_arena;
    const struct meta_doc *d = &t->meta;

    if (d->priority) {
        int64_t p = field_int(d->priority);
        use->priority = (int)(p > INT32_MAX ? INT32_MAX : p < INT32_MIN ? INT32_MIN : p);
    }
    if (!d->error_response && !d->filter && !d->pre_function.p)
        return true;
    struct plugin_meta *meta = arena_zero(a, sizeof(*meta));
    if (json_is_string(d->error_response)) {
        meta->error_response = arena_str(a, str_make(json_string_value(d->error_response),
                                                     json_string_length(d->error_response)));
    } else if (d->error_response) {
        char *text = json_dumps(d->error_response, JSON_COMPACT);
        meta->error_response = arena_str(a, str_of(text));
        meta->error_is_json = true;
        free(text);
    }
    if (d->filter) {
        meta->filter = build_expr(&t->build, d->filter);
        if (!meta->filter)
            return compile_fail(t->c, "failed to validate the 'vars' expression: %.*s",
                                STR_ARG(t->build.err));
    }
    use->meta = meta;
    return !d->pre_function.p || pre_function_compile(t, meta);
}

/* Not a consumer's own configuration. NULL is fine. */
static bool plugin_releases(const struct plugin *p, enum kind kind)
{
    return p && p->release && !(kinds[kind].identity && p->consumer);
}

/* NULLs are fine. */
static void plugin_release(const struct plugin *p, enum kind kind, void *conf)
{
    if (conf && plugin_releases(p, kind))
        p->release(conf);
}

static bool conf_compile(struct trial *t)
{
    const struct plugin *p = t->entry->use.plugin;
    bool consumer = kinds[t->c->kind].identity && p->consumer;
    const struct fields *fields = consumer ? p->consumer : p->conf;
    bool (*compile)(void *, struct build *) = consumer ? p->compile_consumer : p->compile;
    struct arena *a = t->c->set_arena;
    struct str err = STR_NONE;
    void *conf = NULL;
    bool good = true;

    if (fields) {
        conf = arena_zero(a, fields->size ? fields->size : 1);
        good = fields_parse(fields, t->conf, conf, a, &err);
    }
    if (good && compile) {
        good = compile(conf, &t->build);
        err = t->build.err.p ? t->build.err : STR("it cannot be used");
        if (!good)
            plugin_release(p, t->c->kind, conf);
    }
    if (!good && t->c->kind == KIND_STREAM_ROUTE)
        return compile_fail(t->c, "failed to check the configuration of stream plugin [%s]: %.*s",
                            t->entry->name, STR_ARG(err));
    if (!good)
        return compile_fail(t->c, "failed to check the configuration of plugin %s err: %.*s",
                            t->entry->name, STR_ARG(err));
    t->entry->use.conf = conf;
    return true;
}

static bool refuse_unknown(struct compile *c, struct str name, const json_t *value)
{
    bool scalar = !json_is_object(value) && !json_is_array(value);

    /* Who wrote it may read it again; a log may not: it may be a secret in the wrong place. */
    if (scalar && !c->strict)
        return compile_fail(c, "invalid plugin conf for plugin [%.*s]", STR_ARG(name));
    if (scalar) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        compile_fail(c, "invalid plugin conf %s for plugin [%.*s]", text, STR_ARG(name));
        free(text);
        return false;
    }
    return compile_fail(c, "unknown plugin [%.*s]", STR_ARG(name));
}

/* False after compile_fail; then entry->use.disabled may be set all the same. */
static bool entry_compile(struct compile *c, struct plugin_entry *entry, json_t *value)
{
    struct str name = str_of(entry->name);
    const struct plugin *p = builder_plugin(c->b, name);
    json_t *meta = json_object_get(value, "_meta"), *bare = NULL;
    struct trial t = {.c = c, .entry = entry, .whole_conf = value, .conf = value};

    if (c->kind == KIND_STREAM_ROUTE && !builder_plugin_streams(name))
        p = NULL;
    if (!p && !c->strict && json_is_true(json_object_get(meta, "disable"))) {
        entry->use.disabled = true;
        return true;
    }
    if (!p || (!json_is_object(value) && !json_is_array(value)))
        return refuse_unknown(c, name, value);
    entry->use.plugin = p;
    entry->use.priority = p->priority;
    if (meta) {
        /* Shares the members, which outlive the compile. */
        bare = json_copy(value);
        json_object_del(bare, "_meta");
        t.conf = bare;
    }
    t.build = (struct build){
        .arena = c->set_arena, .scratch = &c->scratch, .resource = c->key, .conf = t.conf};
    bool good = meta_parse(&t, meta);
    entry->use.disabled = t.meta.disable;
    good = good && (entry->use.disabled || ((c->refs_stay || refs_gone(c, "", value)) &&
                                            conf_compile(&t) && meta_compile(&t)));
    entry->use.body = (uint8_t)t.build.body;
    json_decref(bare);
    c->set_own |= t.build.own || !good;
    return good;
}

/* What cannot run: refused in a write, else left out, or the route is closed. A disabled plugin is
 * accepted whatever its configuration, as APISIX does: it never runs. */
static bool entry_fail(struct compile *c, struct plugin_entry *entry, bool *keep)
{
    const struct plugin *p = entry->use.plugin;

    *keep = true;
    if (entry->use.disabled)
        return true;
    plugin_release(p, c->kind, entry->use.conf);
    entry->use.conf = NULL;
    if (c->strict)
        return false;
    bool guard = entry_is_guard(c->b, entry);
    const char *end = guard ? "what it guards is closed" : "the plugin is left out";
    struct str why = refs_message(c);
    log_write(refs_level(c, LOG_WARN), "%.*s: plugin %s: %.*s: %s", STR_ARG(c->key), entry->name,
              STR_ARG(why), end);
    c->flaws = arena_printf(&c->scratch, "%.*s%splugin %s: %.*s: %s", STR_ARG(c->flaws),
                            c->flaws.n ? "; " : "", entry->name, STR_ARG(why), end);
    c->err = STR_NONE;
    c->missing = false;
    c->set_own = true; /* each document is to be named */
    entry->use = (struct plugin_use){0};
    *keep = guard;
    return true;
}

/* ---- Sets ---- */

static bool set_is(const void *value, const void *key)
{
    const struct plugin_set *set = value;
    const struct hash128 *text = key;

    return set->share->text.a == text->a && set->share->text.b == text->b;
}

/* What those that may share a set have in common. Longer texts are not worth it, nor are those of
 * identities, which differ from each other; stream routes know other plugins. */
static bool set_text(const struct compile *c, struct hash128 *text)
{
    char buf[2048];
    const json_t *plugins = json_object_get(c->value, "plugins");

    if (c->strict || kinds[c->kind].identity || c->kind == KIND_STREAM_ROUTE)
        return false;
    size_t n = json_dumpb(plugins, buf, sizeof(buf), JSON_COMPACT);
    if (n == 0 || n > sizeof(buf))
        return false;
    *text = hash_str128(str_make(buf, n));
    return true;
}

static void set_new(struct compile *c, unsigned n)
{
    struct arena arena, *a = &c->scratch; /* an identity's: see set_settle */
    struct set_share *share = NULL;

    if (!kinds[c->kind].identity) {
        arena_init(&arena, &c->b->objects);
        if (c->b->set_size > 0)
            arena_reserve(&arena, c->b->set_size);
        share = arena_zero(&arena, sizeof(*share));
        share->users = 1;
        share->arena = arena;
        a = &share->arena;
    }
    struct plugin_set *set = arena_zero(a, sizeof(*set));
    set->items = arena_zero(a, n * sizeof(*set->items));
    set->share = share;
    set->kind = (unsigned char)c->kind;
    c->set = c->o->plugins = set;
    c->set_arena = share ? a : &c->arena;
    c->set_own = !share;
}

/* Of an identity's set only what is to be released is needed once it is compiled: most have
 * nothing, and there are many. */
void plugin_set_settle(struct compile *c)
{
    const struct plugin_set *set = c->o->plugins;
    unsigned n = 0;

    c->o->plugins = NULL;
    for (unsigned i = 0; set && i < set->n; i++)
        n += plugin_releases(set->items[i].use.plugin, c->kind);
    if (n == 0)
        return;
    struct plugin_set *kept = arena_alloc(&c->arena, sizeof(*kept));
    *kept = *set;
    kept->items = arena_alloc(&c->arena, n * sizeof(*kept->items));
    kept->n = 0;
    for (unsigned i = 0; i < set->n; i++)
        if (plugin_releases(set->items[i].use.plugin, c->kind))
            kept->items[kept->n++] = set->items[i];
    c->o->plugins = kept;
}

void plugin_set_put(struct plugin_set *set)
{
    struct set_share *share = set ? set->share : NULL;

    if (!set || (share && --share->users > 0))
        return;
    if (share && share->home)
        map_remove(share->home, share->text.a, set);
    for (unsigned i = 0; i < set->n; i++)
        plugin_release(set->items[i].use.plugin, (enum kind)set->kind, set->items[i].use.conf);
    if (share) {
        struct arena arena = share->arena;
        arena_fini(&arena);
    }
}

const struct chain *plugin_set_chain(struct plugin_set *set)
{
    if (!set->chained) {
        struct plugin_use *uses = mem_array(set->n, sizeof(*uses));
        unsigned n = 0;
        for (unsigned i = 0; i < set->n; i++)
            if (!entry_is_closed(&set->items[i]))
                uses[n++] = set->items[i].use;
        set->chain = chain_new(&set->share->arena, uses, n);
        free(uses);
        set->chained = true;
    }
    return set->chain;
}

static bool entries_compile(struct compile *c, const struct field_list *plugins)
{
    const struct field_member *members = plugins->items;
    struct plugin_set *set = c->set;

    for (size_t i = 0; i < plugins->n; i++) {
        struct plugin_entry *entry = &set->items[set->n];
        bool keep = true;
        /* The parsed name goes with the document. */
        *entry = (struct plugin_entry){.name = members[i].key.p};
        if (!entry_compile(c, entry, members[i].value) && !entry_fail(c, entry, &keep))
            return false;
        if (entry->use.plugin)
            entry->name = entry->use.plugin->name;
        else if (keep)
            entry->name = arena_str(c->set_arena, members[i].key).p;
        set->n += keep;
    }
    return true;
}

bool compile_plugins(struct compile *c, struct field_list plugins)
{
    struct builder *b = c->b;
    struct hash128 text;

    if (plugins.n == 0)
        return true;
    bool shared = set_text(c, &text);
    struct plugin_set *set = shared ? map_get(&b->sets, text.a, set_is, &text) : NULL;
    if (set) {
        set->share->users++;
        c->o->plugins = set;
        return true;
    }
    set_new(c, (unsigned)plugins.n);
    if (!entries_compile(c, &plugins))
        return false;
    /* Most often it is needed as it is; then its place is in what was reserved. */
    if (c->set->share && !c->o->edges[EDGE_PLUGIN_CONFIG] && !c->o->edges[EDGE_SERVICE])
        plugin_set_chain(c->set);
    if (c->set->share)
        arena_measure(&b->set_size, &c->set->share->arena);
    if (shared && !c->set_own) {
        c->set->share->text = text;
        c->set->share->home = &b->sets;
        map_add(&b->sets, text.a, c->set);
    }
    return true;
}
