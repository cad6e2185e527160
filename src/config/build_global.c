/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for all routes: global rules, merged into one chain whenever one of them changes, and
 * the plugins' metadata. */
#include "base/mem.h"
#include "base/panic.h"
#include "config/build_private.h"
#include "config/fields.h"

/* ---- Global rules ---- */

struct rules {
    const struct object **items;
    unsigned n;
};

static int by_id(const void *a, const void *b)
{
    return str_cmp(item_id((*(const struct object *const *)a)->item),
                   item_id((*(const struct object *const *)b)->item));
}

/* By id, so that the result does not depend on which came first. */
static struct rules rules_list(const struct builder *b)
{
    const struct map *all = &b->items[KIND_GLOBAL_RULE];
    struct rules r = {.items = mem_array(all->n, sizeof(struct object *))};
    size_t at = 0;

    for (const struct item *item; (item = map_next(all, &at)) != NULL;)
        if (item->object)
            r.items[r.n++] = item->object;
    if (r.n)
        qsort(r.items, r.n, sizeof(*r.items), by_id);
    return r;
}

static const struct object *rule_with(const struct rules *r, const struct object *but,
                                      const char *name)
{
    for (unsigned i = 0; i < r->n; i++)
        for (unsigned k = 0; r->items[i] != but && k < object_nplugins(r->items[i]); k++)
            if (strcmp(r->items[i]->plugins->items[k].name, name) == 0)
                return r->items[i];
    return NULL;
}

/* A write must not name a plugin that another rule has. */
static bool check_conflict(struct compile *c)
{
    struct rules r = rules_list(c->b);
    const struct item *self = item_find(c->b, KIND_GLOBAL_RULE, c->id);
    bool good = true;

    for (unsigned i = 0; good && i < object_nplugins(c->o); i++) {
        const char *name = c->o->plugins->items[i].name;
        const struct object *other = rule_with(&r, self ? self->object : NULL, name);
        if (other)
            good = compile_fail(c, "plugin '%s' already exists in global rule with id '%.*s'", name,
                                STR_ARG(item_id(other->item)));
    }
    free(r.items);
    return good;
}

bool compile_global_rule(struct compile *c, const struct plugin_config_doc *d)
{
    return compile_plugins(c, d->plugins) && (!c->strict || c->b->trial || check_conflict(c));
}

/* The merged rules of a version; const once made. */
struct globals {
    struct arena arena; /* holds the struct itself */
    uint64_t born;
    const struct chain *chain;
    bool closed;
};

static void globals_free(void *p)
{
    struct arena arena = ((struct globals *)p)->arena;

    arena_fini(&arena);
}

/* What several rules have runs in none of them (APISIX: merge_global_rules); but what
 * guards would open something if it were left out: then all of them run. */
static bool entry_runs(const struct builder *b, const struct rules *r, const struct object *rule,
                       const struct plugin_entry *e)
{
    if (!rule_with(r, rule, e->name) || entry_is_guard(b, e))
        return true;
    log_error("Found %s configured across different global rules. Removing it from execution list",
              e->name);
    return false;
}

static void globals_merge(const struct builder *b, struct globals *g, const struct rules *r)
{
    unsigned total = 0, n = 0;

    for (unsigned i = 0; i < r->n; i++)
        total += object_nplugins(r->items[i]);
    struct plugin_use *uses = mem_array(total + 1, sizeof(*uses));
    for (unsigned i = 0; i < r->n; i++)
        for (unsigned k = 0; k < object_nplugins(r->items[i]); k++) {
            const struct plugin_entry *e = &r->items[i]->plugins->items[k];
            if (!entry_runs(b, r, r->items[i], e))
                continue;
            if (entry_is_closed(e))
                g->closed = true;
            else
                uses[n++] = e->use;
        }
    g->chain = chain_new(&g->arena, uses, n);
    free(uses);
}

void globals_drop(struct builder *b)
{
    if (!b->globals)
        return;
    if (b->globals->born == b->version)
        globals_free(b->globals);
    else
        garbage_add(&b->dead, b->globals, globals_free, b->globals->born);
    b->globals = NULL;
}

void globals_renew(struct builder *b)
{
    struct rules r = rules_list(b);
    struct arena arena;

    b->globals_changed = false;
    globals_drop(b);
    if (r.n > 0) {
        arena_init(&arena, NULL);
        struct globals *g = arena_zero(&arena, sizeof(*g));
        g->arena = arena;
        g->born = b->version;
        globals_merge(b, g, &r);
        b->globals = g;
    }
    free(r.items);
}

void globals_show(const struct builder *b, struct snapshot *s)
{
    s->global = b->globals ? b->globals->chain : NULL;
    s->global_closed = b->globals && b->globals->closed;
}

/* ---- Metadata ---- */

bool compile_metadata(struct compile *c)
{
    const struct plugin *p = builder_plugin(c->b, c->id);
    struct object *o = c->o;
    struct str err;

    if (!p)
        return compile_fail(c, "invalid plugin name");
    if (!p->metadata)
        return true;
    /* The plugin's name is not part of what its table describes. */
    json_t *bare = json_copy((json_t *)(uintptr_t)c->value);
    json_object_del(bare, "id");
    void *conf = arena_zero(&c->arena, p->metadata->size ? p->metadata->size : 1);
    bool good = fields_parse(p->metadata, bare, conf, &c->arena, &err);
    json_decref(bare);
    if (!good)
        return compile_fail_schema(c, "%.*s", STR_ARG(err));
    o->metadata = conf;
    return true;
}

void metadata_replace(struct builder *b, struct item *item, struct object *new)
{
    struct trie_edit e = builder_edit(b);

    trie_set(&b->metadata, &e, item_id(item), TRIE_EXACT, new ? new->metadata : NULL);
}
