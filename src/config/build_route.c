/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles routes and services, and links a route: follows its references, merges the plugins of
 * route, plugin config and service, and puts it into the router. */
#include "base/cidr.h"
#include "base/json_path.h"
#include "base/mem.h"
#include "config/build_private.h"
#include "config/lua.h"

/* ---- Documents ---- */

static struct str lower(struct arena *a, struct str s)
{
    char *p = arena_bytes(a, s.n);

    for (size_t i = 0; i < s.n; i++)
        p[i] = ascii_lower(s.p[i]);
    return str_make(p, s.n);
}

static void hosts_compile(struct compile *c, struct field_list hosts, struct str host)
{
    struct object *o = c->o;
    const struct str *in = hosts.n ? hosts.items : &host;

    o->nhosts = (unsigned)(hosts.n ? hosts.n : host.p != NULL);
    if (o->nhosts == 0)
        return;
    o->hosts = arena_alloc(&c->arena, o->nhosts * sizeof(*o->hosts));
    for (unsigned i = 0; i < o->nhosts; i++)
        o->hosts[i] = lower(&c->arena, in[i]);
}

static bool methods_compile(struct compile *c, const struct route_doc *d, struct route *r)
{
    const int *methods = d->methods.items;

    for (size_t i = 0; i < d->methods.n; i++) {
        /* A reference passes the table, but nothing resolves it here; without it the route would
         * serve all methods. */
        if (methods[i] < 0)
            return compile_fail_schema(c,
                                       "property \"methods\" validation failed: failed to validate "
                                       "item %zu: matches none of the enum values",
                                       i + 1);
        r->methods |= (uint16_t)(1u << methods[i]);
    }
    return true;
}

static bool addrs_compile(struct compile *c, const struct route_doc *d, struct route_about *r)
{
    struct arena *a = &c->arena;
    const struct str *in = d->remote_addrs.n ? d->remote_addrs.items : &d->remote_addr;
    unsigned n = (unsigned)(d->remote_addrs.n ? d->remote_addrs.n : d->remote_addr.p != NULL);

    if (n == 0)
        return true;
    struct cidr *networks = arena_alloc(a, n * sizeof(*networks));
    for (unsigned i = 0; i < n; i++)
        if (!cidr_parse(in[i], &networks[i]))
            return compile_fail(c, "invalid remote_addr: %.*s", STR_ARG(in[i]));
    struct cidr_list *list = arena_alloc(a, sizeof(*list));
    *list = (struct cidr_list){networks, n};
    r->remote_addrs = list;
    return true;
}

static void timeouts_compile(struct compile *c, const struct timeout_doc *d, struct route_about *r)
{
    if (!d)
        return;
    struct timeouts *t = arena_alloc(&c->arena, sizeof(*t));
    *t = (struct timeouts){compile_ms(d->connect), compile_ms(d->send), compile_ms(d->read)};
    r->timeouts = t;
}

static void uris_compile(struct compile *c, const struct route_doc *d, struct link *l)
{
    struct arena *a = &c->arena;
    const struct str *in = d->uris.n ? d->uris.items : &d->uri;
    unsigned n = (unsigned)(d->uris.n ? d->uris.n : 1);
    struct str *uris = arena_alloc(a, n * sizeof(*uris));

    for (unsigned i = 0; i < n; i++)
        uris[i] = arena_str(a, in[i]);
    l->about.uris = uris;
    l->about.nuris = n;
}

static signed char websocket_of(const json_t *v)
{
    return v ? (signed char)json_is_true(v) : -1;
}

/* A trial refers to nothing. */
void compile_edge(struct compile *c, enum edge_kind edge, enum kind kind, struct str id)
{
    struct object *o = c->o;

    if (!id.p || !o->item)
        return;
    o->edges[edge] = arena_alloc(&c->arena, sizeof(struct edge));
    *o->edges[edge] = (struct edge){.from = o->item, .to = item_get(c->b, kind, id)};
}

/* Rules about "post_arg." whose path is no JSONPath, at any depth: as the Admin API looks for them.
 */
static bool paths_ok(struct compile *c, const json_t *node)
{
    const char *name = json_string_value(json_array_get(node, 0));
    struct str err, key = name ? str_of(name) : STR_NONE;
    json_t *child;
    size_t i;

    if (json_array_size(node) >= 3 && str_starts(key, STR("post_arg."))) {
        struct str path = arena_join(&c->scratch, STR("$"), str_from(key, 8));
        return json_path_compile(path, &c->scratch, &err) ||
               compile_fail(c, "failed to validate the 'vars' expression: %.*s", STR_ARG(err));
    }
    json_array_foreach(node, i, child) if (!paths_ok(c, child)) return false;
    return true;
}

static bool vars_compile(struct compile *c, const struct route_doc *d, struct route_about *r)
{
    struct build build = compile_build(c, d->vars);

    /* An empty expression always holds. */
    if (!d->vars || json_array_size(d->vars) == 0)
        return true;
    r->vars = build_expr(&build, d->vars);
    if (!r->vars)
        return compile_fail(c, "failed to validate the 'vars' expression: %.*s",
                            STR_ARG(build.err));
    return !c->strict || paths_ok(c, d->vars);
}

/* It decides which requests the route serves; APISIX's words. */
static bool filter_compile(struct compile *c, struct str source, struct route_about *r)
{
    struct str err, chunk;

    if (!source.p)
        return true;
    chunk = arena_join(&c->scratch, STR("return "), source);
    switch (lua_check(chunk, NULL, LUA_FUNCTION, &c->scratch, &err)) {
    case LUA_CHECK_FAILED:
        return compile_fail(c, "failed to load 'filter_func' string: %.*s", STR_ARG(err));
    case LUA_CHECK_OTHER:
        return compile_fail(c, "'filter_func' should be a function");
    case LUA_CHECK_OK:
        break;
    }
    r->filter = lua_source_new(&c->arena, chunk, NULL, NULL);
    return true;
}

/* It would serve requests with APISIX's Lua modules; what is malformed is told first, as there. */
static bool refuse_script(struct compile *c, struct str script)
{
    struct str err;

    if (!script.p)
        return true;
    if (lua_check(script, NULL, LUA_ANY, &c->scratch, &err) == LUA_CHECK_FAILED)
        return compile_fail(c, "failed to load 'script' string: %.*s", STR_ARG(err));
    return compile_fail(c, "script is not supported by this version");
}

bool compile_route(struct compile *c, const struct route_doc *d)
{
    struct object *o = c->o;
    struct link *l = arena_zero(&c->arena, sizeof(*l));
    struct route_about *r = &l->about;

    o->link = l;
    l->born = o->born;
    compile_edge(c, EDGE_PLUGIN_CONFIG, KIND_PLUGIN_CONFIG, d->plugin_config_id);
    compile_edge(c, EDGE_SERVICE, KIND_SERVICE, d->service_id);
    compile_edge(c, EDGE_UPSTREAM, KIND_UPSTREAM, d->upstream_id);
    r->priority = d->priority;
    uris_compile(c, d, l);
    hosts_compile(c, d->hosts, d->host);
    /* Behind other strings: each gap before what is aligned costs, there are many. */
    r->id = arena_str(&c->arena, c->id);
    r->name = d->head.name.p ? arena_str(&c->arena, d->head.name) : STR_NONE;
    o->websocket = websocket_of(d->enable_websocket);
    o->off = d->status == 0;
    timeouts_compile(c, d->timeout, r);
    if (!methods_compile(c, d, &l->route) || !addrs_compile(c, d, r) ||
        (d->upstream && !compile_upstream(c, d->upstream)) || !compile_plugins(c, d->plugins) ||
        !vars_compile(c, d, r) || !filter_compile(c, d->filter_func, r) ||
        !refuse_script(c, d->script))
        return false;
    return true;
}

bool compile_service(struct compile *c, const struct service_doc *d)
{
    struct object *o = c->o;

    o->service = arena_zero(&c->arena, sizeof(*o->service));
    compile_edge(c, EDGE_UPSTREAM, KIND_UPSTREAM, d->upstream_id);
    o->service->id = arena_str(&c->arena, c->id);
    o->service->name = d->head.name.p ? arena_str(&c->arena, d->head.name) : STR_NONE;
    hosts_compile(c, d->hosts, STR_NONE);
    o->websocket = websocket_of(d->enable_websocket);
    return (!d->upstream || compile_upstream(c, d->upstream)) && compile_plugins(c, d->plugins) &&
           refuse_script(c, d->script);
}

/* ---- Links ---- */

static struct item *edge_item(const struct object *o, enum edge_kind edge)
{
    return o->edges[edge] ? o->edges[edge]->to : NULL;
}

static struct object *edge_object(const struct object *o, enum edge_kind edge)
{
    struct item *to = edge_item(o, edge);

    return to ? to->object : NULL;
}

static const struct plugin_entry *set_find(const struct plugin_set *set, const char *name)
{
    for (unsigned i = 0; i < set->n; i++)
        if (strcmp(set->items[i].name, name) == 0)
            return &set->items[i];
    return NULL;
}

enum { SOURCES = 3 };

/* The objects whose plugins a route merges, the strongest first; no plugins, no source. */
static unsigned link_sources(struct object *o, struct object *sources[SOURCES])
{
    struct object *all[SOURCES] = {o, edge_object(o, EDGE_PLUGIN_CONFIG),
                                   edge_object(o, EDGE_SERVICE)};
    unsigned n = 0;

    for (unsigned i = 0; i < SOURCES; i++)
        if (all[i] && object_nplugins(all[i]))
            sources[n++] = all[i];
    return n;
}

/* Merges by plugin name, without a deep merge: the strongest place that names a plugin decides
 * (APISIX: plugin_config.merge, plugin.merge_service_route). False: something is closed. */
static bool chain_merge(struct link *l, struct arena *a, struct object *const sources[], unsigned n)
{
    struct plugin_use *uses;
    unsigned total = 0, nuses = 0;
    bool open = true;

    for (unsigned i = 0; i < n; i++)
        total += sources[i]->plugins->n;
    uses = mem_array(total, sizeof(*uses));
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < sources[i]->plugins->n; k++) {
            const struct plugin_entry *e = &sources[i]->plugins->items[k];
            bool hidden = false;
            for (unsigned j = 0; j < i && !hidden; j++)
                hidden = set_find(sources[j]->plugins, e->name) != NULL;
            if (hidden)
                continue;
            if (entry_is_closed(e))
                open = false;
            else
                uses[nuses++] = e->use;
        }
    l->route.chain = chain_new(a, uses, nuses);
    free(uses);
    return open;
}

/* An arena in itself; with room for so much: no larger than that. */
static struct arena *link_arena(struct builder *b, size_t room)
{
    struct arena arena, *a;

    arena_init(&arena, &b->objects);
    if (room > 0)
        arena_reserve(&arena, sizeof(arena) + room);
    a = arena_alloc(&arena, sizeof(arena));
    *a = arena;
    return a;
}

/* A lone source lends its own chain to all its routes. */
static bool link_chain(struct builder *b, struct link *l, struct object *o)
{
    struct object *sources[SOURCES];
    unsigned n = link_sources(o, sources);

    if (n > 1 && !l->arena)
        l->arena = link_arena(b, 0);
    if (n != 1)
        return n == 0 || chain_merge(l, l->arena, sources, n);
    l->route.chain = plugin_set_chain(sources[0]->plugins);
    for (unsigned i = 0; i < sources[0]->plugins->n; i++)
        if (entry_is_closed(&sources[0]->plugins->items[i]))
            return false;
    return true;
}

/* The slot of what an object names as upstream, by id before the inline one. True: it names one. */
static bool upstream_named(const struct object *o, uint32_t *slot, bool *missing)
{
    const struct item *to = edge_item(o, EDGE_UPSTREAM);

    if (to) {
        *slot = to->object ? to->slot : UPSTREAM_NONE;
        *missing = *slot == UPSTREAM_NONE;
        return true;
    }
    if (o->upstream) {
        *slot = o->item->slot;
        return true;
    }
    return false;
}

/* A further link of an object whose first one is in use. */
static struct link *link_again(struct builder *b, struct object *o)
{
    struct arena *a = link_arena(b, sizeof(struct link));
    struct link *l = arena_alloc(a, sizeof(*l));

    *l = *o->link;
    l->born = b->version;
    l->arena = a;
    return l;
}

/* The status that stands for what is missing, in the order in which APISIX comes to it; 0: nothing
 * is. What is closed is closed before a request could go anywhere. */
static int link_broken(const struct object *o, bool open, bool upstream_missing)
{
    if (edge_item(o, EDGE_PLUGIN_CONFIG) && !edge_object(o, EDGE_PLUGIN_CONFIG))
        return 503;
    if (edge_item(o, EDGE_SERVICE) && !edge_object(o, EDGE_SERVICE))
        return 404;
    if (!open)
        return 503;
    return upstream_missing ? 502 : 0;
}

static struct link *link_make(struct builder *b, struct object *o)
{
    struct object *service = edge_object(o, EDGE_SERVICE);
    const struct object *named = o->nhosts || !service ? o : service;
    struct link *l = o->linked ? link_again(b, o) : o->link;
    struct route *r = &l->route;
    bool missing = false;

    o->linked = true;
    l->about.service = service ? service->service : NULL;
    l->about.hosts = named->hosts;
    l->about.nhosts = named->nhosts;
    r->about = &l->about;
    r->timeouts = l->about.timeouts != NULL;
    r->websocket = o->websocket >= 0 ? o->websocket : service && service->websocket > 0;
    r->chain = NULL;
    r->upstream = UPSTREAM_NONE;
    if (!upstream_named(o, &r->upstream, &missing) && service)
        upstream_named(service, &r->upstream, &missing);
    bool open = link_chain(b, l, o);
    r->broken = (uint16_t)link_broken(o, open, missing);
    return l;
}

/* Puts the link into the router, or takes it out, by all its URIs. */
static void link_change(struct builder *b, const struct link *l,
                        void (*change)(struct router *, const struct trie_edit *,
                                       const struct route *))
{
    struct trie_edit e = builder_edit(b);
    struct route r = l->route;

    for (r.nth = 0; r.nth < l->about.nuris; r.nth++)
        change(&b->router, &e, &r);
}

void route_link(struct builder *b, struct item *item)
{
    if (item->link) {
        link_change(b, item->link, router_remove);
        link_drop(b, item->link);
    }
    item->link = item->object && !item->object->off ? link_make(b, item->object) : NULL;
    if (item->link)
        link_change(b, item->link, router_add);
}
