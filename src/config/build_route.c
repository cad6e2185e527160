/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles routes and services, and links a route: follows its references, merges the plugins of
 * route, plugin config and service, and puts it into the router. */
#include "base/cidr.h"
#include "config/build_private.h"

/* ---- Documents ---- */

static struct str lower(struct arena *a, struct str s)
{
    char *p = arena_bytes(a, s.n);

    for (size_t i = 0; i < s.n; i++)
        p[i] = ascii_lower(s.p[i]);
    return str_make(p, s.n);
}

static void hosts_compile(struct object *o, struct field_list hosts, struct str host)
{
    const struct str *in = hosts.n ? hosts.items : &host;

    o->nhosts = (unsigned)(hosts.n ? hosts.n : host.p != NULL);
    if (o->nhosts == 0)
        return;
    o->hosts = arena_alloc(&o->arena, o->nhosts * sizeof(*o->hosts));
    for (unsigned i = 0; i < o->nhosts; i++)
        o->hosts[i] = lower(&o->arena, in[i]);
}

static bool addrs_compile(struct compile *c, const struct route_doc *d, struct route *r)
{
    struct arena *a = &c->o->arena;
    const struct str *in = d->remote_addrs.n ? d->remote_addrs.items : &d->remote_addr;
    unsigned n = (unsigned)(d->remote_addrs.n ? d->remote_addrs.n : d->remote_addr.p != NULL);

    if (n == 0)
        return true;
    struct cidr *networks = arena_alloc(a, n * sizeof(*networks));
    for (unsigned i = 0; i < n; i++)
        if (!cidr_parse(in[i], &networks[i]))
            return compile_fail(c, "invalid remote_addr: %.*s", STR_ARG(in[i]));
    r->remote_addrs = arena_alloc(a, sizeof(*r->remote_addrs));
    *r->remote_addrs = (struct cidr_list){networks, n};
    return true;
}

static void timeouts_compile(struct compile *c, const struct timeout_doc *d, struct route *r)
{
    if (!d)
        return;
    struct timeouts *t = arena_alloc(&c->o->arena, sizeof(*t));
    *t = (struct timeouts){compile_ms(d->connect), compile_ms(d->send), compile_ms(d->read)};
    r->timeouts = t;
}

static void uris_compile(struct compile *c, const struct route_doc *d)
{
    struct object *o = c->o;
    const struct str *in = d->uris.n ? d->uris.items : &d->uri;

    o->nuris = (unsigned)(d->uris.n ? d->uris.n : 1);
    o->uris = arena_alloc(&o->arena, o->nuris * sizeof(*o->uris));
    for (unsigned i = 0; i < o->nuris; i++)
        o->uris[i] = arena_str(&o->arena, in[i]);
}

static signed char websocket_of(const json_t *v)
{
    return v ? (signed char)json_is_true(v) : -1;
}

static void edge_compile(struct compile *c, struct edge *edge, enum kind kind, struct str id)
{
    struct object *o = c->o;

    list_init(&edge->link);
    /* A trial refers to nothing. */
    if (id.p && o->item)
        *edge = (struct edge){edge->link, o->item, item_get(c->b, kind, id)};
}

static bool vars_compile(struct compile *c, const struct route_doc *d, struct route *r)
{
    struct build build = {&c->o->arena, &c->scratch, STR_NONE, c->key, d->vars};

    /* An empty expression always holds. */
    if (!d->vars || json_array_size(d->vars) == 0)
        return true;
    r->vars = build_expr(&build, d->vars);
    if (!r->vars)
        return compile_fail(c, "failed to validate the 'vars' expression: %.*s",
                            STR_ARG(build.err));
    return true;
}

/* Lua decides there which requests are served, or serves them. */
static bool refuse_lua(struct compile *c, struct str filter_func, struct str script)
{
    if (filter_func.p)
        return compile_fail(c, "filter_func is not supported by this version");
    if (script.p)
        return compile_fail(c, "script is not supported by this version");
    return true;
}

bool compile_route(struct compile *c, const struct route_doc *d)
{
    struct object *o = c->o;
    struct route *r = arena_zero(&o->arena, sizeof(*r));
    const int *methods = d->methods.items;

    o->route = r;
    edge_compile(c, &o->plugin_config, KIND_PLUGIN_CONFIG, d->plugin_config_id);
    edge_compile(c, &o->service, KIND_SERVICE, d->service_id);
    edge_compile(c, &o->upstream_ref, KIND_UPSTREAM, d->upstream_id);
    r->id = o->item ? o->item->id : d->head.id;
    r->name = d->head.name.p ? arena_str(&o->arena, d->head.name) : STR_NONE;
    r->priority = d->priority;
    for (size_t i = 0; i < d->methods.n; i++)
        r->methods |= 1u << methods[i];
    uris_compile(c, d);
    r->uri = o->uris[0];
    hosts_compile(o, d->hosts, d->host);
    o->websocket = websocket_of(d->enable_websocket);
    o->off = d->status == 0;
    timeouts_compile(c, d->timeout, r);
    return addrs_compile(c, d, r) && (!d->upstream || compile_upstream(c, d->upstream)) &&
           compile_plugins(c, d->plugins) && vars_compile(c, d, r) &&
           refuse_lua(c, d->filter_func, d->script);
}

bool compile_service(struct compile *c, const struct service_doc *d)
{
    struct object *o = c->o;

    edge_compile(c, &o->upstream_ref, KIND_UPSTREAM, d->upstream_id);
    o->head.id = o->item ? o->item->id : d->head.id;
    o->head.name = d->head.name.p ? arena_str(&o->arena, d->head.name) : STR_NONE;
    hosts_compile(o, d->hosts, STR_NONE);
    o->websocket = websocket_of(d->enable_websocket);
    return (!d->upstream || compile_upstream(c, d->upstream)) && compile_plugins(c, d->plugins) &&
           refuse_lua(c, STR_NONE, d->script);
}

/* ---- Links ---- */

static struct object *edge_object(const struct edge *e)
{
    return e->to ? e->to->object : NULL;
}

static const struct plugin_entry *set_find(const struct plugin_set *set, struct str name)
{
    for (unsigned i = 0; i < set->n; i++)
        if (str_eq(set->items[i].name, name))
            return &set->items[i];
    return NULL;
}

enum { SOURCES = 3 };

/* The objects whose plugins a route merges, the strongest first; no plugins, no source. */
static unsigned link_sources(struct object *o, struct object *sources[SOURCES])
{
    struct object *all[SOURCES] = {o, edge_object(&o->plugin_config), edge_object(&o->service)};
    unsigned n = 0;

    for (unsigned i = 0; i < SOURCES; i++)
        if (all[i] && all[i]->plugins.n)
            sources[n++] = all[i];
    return n;
}

/* Merges by plugin name, without a deep merge: the strongest place that names a plugin decides
 * (APISIX: plugin_config.merge, plugin.merge_service_route). False: something is closed. */
static bool chain_merge(struct link *l, struct object *const sources[], unsigned n)
{
    struct plugin_use *uses;
    unsigned total = 0, nuses = 0;
    bool open = true;

    for (unsigned i = 0; i < n; i++)
        total += sources[i]->plugins.n;
    uses = arena_alloc(&l->arena, total * sizeof(*uses));
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < sources[i]->plugins.n; k++) {
            const struct plugin_entry *e = &sources[i]->plugins.items[k];
            bool hidden = false;
            for (unsigned j = 0; j < i && !hidden; j++)
                hidden = set_find(&sources[j]->plugins, e->name) != NULL;
            if (hidden)
                continue;
            if (e->closed)
                open = false;
            else
                uses[nuses++] = e->use;
        }
    l->route.chain = chain_new(&l->arena, uses, nuses);
    return open;
}

/* A lone source lends its own chain to all its routes. */
static bool link_chain(struct link *l, struct object *o)
{
    struct object *sources[SOURCES];
    unsigned n = link_sources(o, sources);

    if (n != 1)
        return n == 0 || chain_merge(l, sources, n);
    l->route.chain = object_chain(sources[0]);
    for (unsigned i = 0; i < sources[0]->plugins.n; i++)
        if (sources[0]->plugins.items[i].closed)
            return false;
    return true;
}

/* The slot of what an object names as upstream, by id before the inline one. True: it names one. */
static bool upstream_named(const struct object *o, uint32_t *slot, bool *missing)
{
    if (o->upstream_ref.to) {
        *slot = o->upstream_ref.to->object ? o->upstream_ref.to->slot : UPSTREAM_NONE;
        *missing = *slot == UPSTREAM_NONE;
        return true;
    }
    if (o->upstream) {
        *slot = o->item->slot;
        return true;
    }
    return false;
}

static struct link *link_new(struct builder *b, struct object *o)
{
    struct object *service = edge_object(&o->service);
    bool missing = false;
    struct arena arena;
    struct link *l;

    arena_init(&arena, &b->objects);
    l = arena_zero(&arena, sizeof(*l));
    l->arena = arena;
    l->born = b->version;
    struct route *r = &l->route;
    *r = *o->route;
    r->upstream = UPSTREAM_NONE;
    if (!upstream_named(o, &r->upstream, &missing) && service)
        upstream_named(service, &r->upstream, &missing);
    r->service = service ? &service->head : NULL;
    r->websocket = o->websocket >= 0 ? o->websocket : service && service->websocket > 0;
    bool open = link_chain(l, o);
    /* In the order in which APISIX comes to them; what is closed is closed before a request could
     * go anywhere. */
    if (o->plugin_config.to && !o->plugin_config.to->object)
        r->broken = 503;
    else if (o->service.to && !service)
        r->broken = 404;
    else if (!open)
        r->broken = 503;
    else if (missing)
        r->broken = 502;

    const struct object *named = o->nhosts || !service ? o : service;
    l->npatterns = o->nuris;
    l->patterns = arena_alloc(&l->arena, o->nuris * sizeof(*l->patterns));
    for (unsigned i = 0; i < o->nuris; i++) {
        l->patterns[i] = (struct pattern){
            .route = r, .hosts = named->hosts, .nhosts = named->nhosts};
        pattern_set_uri(&l->patterns[i], o->uris[i]);
    }
    return l;
}

void route_link(struct builder *b, struct item *item)
{
    struct trie_edit e = builder_edit(b);
    struct link *old = item->link;

    for (unsigned i = 0; old && i < old->npatterns; i++)
        router_remove(&b->router, &e, &old->patterns[i]);
    item->link = NULL;
    if (old)
        link_drop(b, old);
    if (!item->object || item->object->off)
        return;
    item->link = link_new(b, item->object);
    for (unsigned i = 0; i < item->link->npatterns; i++)
        router_add(&b->router, &e, &item->link->patterns[i]);
}
