/* SPDX-License-Identifier: Apache-2.0 */
/* Routing: which route a request belongs to. The order among candidates is that of APISIX 3.18
 * (radixtree_host_uri, radixtree_uri, radixtree_uri_with_parameter) over lua-resty-radixtree 2.9.
 */
#include "config/router_edit.h"

#include "base/cidr.h"
#include "base/mem.h"

/* The routes of one place in a tree, best first. */
struct candidates {
    uint64_t version; /* of the edit that made it */
    unsigned n, cap;
    struct route items[];
};

/* A place is most often one route's, and then the tree's node holds the route itself, so that a
 * request that gets there has it in its cache. Else there is a list: its address plus one, which
 * no pointer that a route begins with can be. */
union place {
    struct route route;
    uintptr_t list;
};

_Static_assert(sizeof(union place) == TRIE_INLINE, "a route fits a node");

/* NULL: there is no list. */
static inline struct candidates *place_list(const union place *p)
{
    return p->list & 1 ? (struct candidates *)(p->list - 1) : NULL;
}

static union place place_of_list(const struct candidates *c)
{
    return (union place){.list = (uintptr_t)c + 1};
}

/* By number. */
static const struct {
    enum method method;
    struct str name;
} method_names[] = {
    {METHOD_GET, {"GET", 3}},         {METHOD_POST, {"POST", 4}},
    {METHOD_PUT, {"PUT", 3}},         {METHOD_DELETE, {"DELETE", 6}},
    {METHOD_PATCH, {"PATCH", 5}},     {METHOD_HEAD, {"HEAD", 4}},
    {METHOD_OPTIONS, {"OPTIONS", 7}}, {METHOD_CONNECT, {"CONNECT", 7}},
    {METHOD_TRACE, {"TRACE", 5}},     {METHOD_PURGE, {"PURGE", 5}},
};

enum method method_parse(struct str name)
{
    for (size_t i = 0; i < sizeof(method_names) / sizeof(method_names[0]); i++)
        if (str_eq(name, method_names[i].name))
            return method_names[i].method;
    return METHOD_OTHER;
}

/* ---- Matching ---- */

/* What the tests of one request share. */
struct matcher {
    const struct match *m;
    struct cidr client;
    bool client_known;
    bool host_first; /* the trees have seen to the host */
};

/* A parameter that is looked for while a path is compared: the last one of that name counts. */
struct glob_seek {
    struct str name, value;
};

/* What a `*` that stands for a segment and more is called: `*name`, or :ext. */
static struct str star_name(struct str segment)
{
    return segment.n > 1 ? str_from(segment, 1) : STR(":ext");
}

static struct str segment_at(struct str glob, size_t at)
{
    size_t end = at;

    while (end < glob.n && glob.p[end] != '/')
        end++;
    return str_make(glob.p + at, end - at);
}

/* The walk of a path along a pattern. */
struct glob_walk {
    struct str glob, path;
    struct glob_seek *seek; /* NULL: nothing is looked for */
    size_t g, p;            /* where it stands */
    size_t back_g, back_p;  /* behind the last `*`, and how much of the path it has taken */
    size_t star_from;
    bool star, star_sought;
};

/* The last `*` takes no more than it has. */
static void glob_settle(struct glob_walk *w)
{
    if (w->star_sought)
        w->seek->value = str_make(w->path.p + w->star_from, w->back_p - w->star_from);
    w->star_sought = false;
}

static void glob_star(struct glob_walk *w, struct str segment)
{
    glob_settle(w);
    w->g += segment.n;
    w->star = true;
    w->back_g = w->g;
    w->back_p = w->star_from = w->p;
    w->star_sought = w->seek && str_eq(star_name(segment), w->seek->name);
}

/* A `:name` takes one segment that is not empty. */
static void glob_param(struct glob_walk *w, struct str segment)
{
    size_t from = w->p;

    w->g += segment.n;
    while (w->p < w->path.n && w->path.p[w->p] != '/')
        w->p++;
    if (w->seek && str_eq(str_from(segment, 1), w->seek->name))
        w->seek->value = str_make(w->path.p + from, w->p - from);
}

static bool glob_walk(struct glob_walk *w)
{
    struct str glob = w->glob, path = w->path;

    for (;;) {
        bool segment = w->g < glob.n && (w->g == 0 || glob.p[w->g - 1] == '/');
        if (segment && glob.p[w->g] == '*') {
            glob_star(w, segment_at(glob, w->g));
            continue;
        }
        bool param = segment && glob.p[w->g] == ':';
        if (param && w->p < path.n && path.p[w->p] != '/') {
            glob_param(w, segment_at(glob, w->g));
            continue;
        }
        if (w->g == glob.n && w->p == path.n) {
            glob_settle(w);
            return true;
        }
        if (w->g < glob.n && w->p < path.n && glob.p[w->g] == path.p[w->p] && !param) {
            w->g++;
            w->p++;
            continue;
        }
        /* The last `*` takes one byte more. What follows it up to the next one spans a fixed number
         * of slashes, so the first place where it fits is the only one worth trying. */
        if (!w->star || w->back_p == path.n)
            return false;
        w->g = w->back_g;
        w->p = ++w->back_p;
    }
}

/* Whether the path fits a pattern that has parameters. lua-resty-radixtree makes a regular
 * expression of it, segment by segment: one that begins with `*` stands for anything, also with
 * slashes, one that begins with `:` for one segment that is not empty; a pattern without such
 * segments is a prefix, what stands behind its first `*` or `:` is not compared. Since the rest is
 * the regular expression's too, a slash and a question mark at the end are a slash that may be
 * missing. */
static bool glob_match(struct str glob, struct str path, struct glob_seek *seek)
{
    struct glob_walk w = {.glob = glob, .path = path, .seek = seek};

    if (!str_ends(glob, STR("/?")))
        return glob_walk(&w);
    w.glob = str_head(glob, glob.n - 1);
    if (glob_walk(&w))
        return true;
    w = (struct glob_walk){.glob = str_head(glob, glob.n - 2), .path = path, .seek = seek};
    return glob_walk(&w);
}

static bool glob_has_segment(struct str glob)
{
    for (size_t i = 0; i < glob.n; i++)
        if ((glob.p[i] == '*' || glob.p[i] == ':') && (i == 0 || glob.p[i - 1] == '/'))
            return true;
    return false;
}

static bool host_fits(struct str pattern, struct str host)
{
    return pattern.n && pattern.p[0] == '*' ? str_ends(host, str_from(pattern, 1))
                                            : str_eq(host, pattern);
}

/* The host predicate of radixtree_uri: the first one that fits, or NULL. A pattern with a port (or
 * of an IPv6 address) is compared with the whole Host header. */
static const struct str *host_find(const struct route_about *a, struct str host,
                                   struct str authority)
{
    for (unsigned i = 0; i < a->nhosts && host.p; i++) {
        bool whole = authority.p && str_find(a->hosts[i], ':') >= 0;
        if (host_fits(a->hosts[i], whole ? authority : host))
            return &a->hosts[i];
    }
    return NULL;
}

static bool client_match(struct matcher *mt, const struct cidr_list *l)
{
    if (!mt->client_known) {
        if (!mt->m->client || !cidr_of_sockaddr(mt->m->client, &mt->client))
            return false;
        mt->client_known = true;
    }
    return cidr_list_has(l, &mt->client);
}

/* The predicates that few routes have. */
static bool tests_hold(struct matcher *mt, const struct route *route)
{
    const struct match *m = mt->m;
    const struct route_about *a = route->about;

    return (!(route->tests & ROUTE_ADDRS) || client_match(mt, a->remote_addrs)) &&
           (!(route->tests & ROUTE_HOSTS) || mt->host_first ||
            host_find(a, m->host, m->authority)) &&
           (!(route->tests & ROUTE_GLOB) || glob_match(route_uri(route), m->path, NULL)) &&
           (!(route->tests & ROUTE_ASKS) || m->test(m->arg, route));
}

static inline bool route_holds(struct matcher *mt, const struct route *route)
{
    if (route->methods && !(route->methods & (1u << mt->m->method)))
        return false;
    return !route->tests || tests_hold(mt, route);
}

/* The first of a place's routes whose predicates all hold. */
static const struct route *place_match(struct matcher *mt, const union place *place)
{
    const struct candidates *c = place_list(place);

    if (!c)
        return route_holds(mt, &place->route) ? &place->route : NULL;
    for (unsigned i = 0; i < c->n; i++)
        if (route_holds(mt, &c->items[i]))
            return &c->items[i];
    return NULL;
}

static const struct route *uris_match(struct matcher *mt, const struct trie *uris)
{
    struct trie_walk w;

    trie_walk_start(&w, uris, mt->m->path);
    for (const union place *p = w.exact ? w.exact : trie_walk_next(&w); p; p = trie_walk_next(&w)) {
        const struct route *route = place_match(mt, p);
        if (route)
            return route;
    }
    return NULL;
}

/* Longer names cannot be resolved (RFC 1035 §2.3.4); of such a host only its end is looked up. */
enum { HOST_MAX = 512 };

static struct str reverse(struct str s, char *to)
{
    size_t n = s.n < HOST_MAX ? s.n : HOST_MAX;

    for (size_t i = 0; i < n; i++)
        to[i] = s.p[s.n - 1 - i];
    return str_make(to, n);
}

const struct route *router_match(const struct router *r, const struct match *m)
{
    struct matcher mt = {.m = m, .host_first = r->host_first};
    char reversed[HOST_MAX];
    struct trie_walk w;

    if (r->hosts && m->host.p) {
        trie_walk_start(&w, r->hosts, reverse(m->host, reversed));
        if (m->host.n > HOST_MAX)
            w.exact = NULL;
        for (const struct trie *uris = w.exact ? w.exact : trie_walk_next(&w); uris;
             uris = trie_walk_next(&w)) {
            const struct route *route = uris_match(&mt, uris);
            if (route)
                return route;
        }
    }
    return uris_match(&mt, r->uris);
}

/* The walk through the hosts comes to the exact one first, then to the longest. */
struct str router_matched_host(const struct router *r, const struct route *route, struct str host,
                               struct str authority)
{
    const struct route_about *a = route->about;
    const struct str *best = host_find(a, host, r->host_first ? STR_NONE : authority);

    if (!best)
        return STR_NONE;
    for (unsigned i = 0; i < a->nhosts && r->host_first && best->p[0] == '*'; i++)
        if (host_fits(a->hosts[i], host) && (a->hosts[i].p[0] != '*' || a->hosts[i].n > best->n))
            best = &a->hosts[i];
    return *best;
}

/* ---- Patterns ---- */

/* Where a URI's routes are: its text up to the first `*`, or up to a parameter's `:` in a router
 * that has them. */
struct uri_key {
    struct str text;
    enum trie_slot slot;
};

static struct uri_key uri_key(const struct router *r, struct str uri)
{
    size_t n = 0;

    while (n < uri.n && uri.p[n] != '*' && !(r->with_params && uri.p[n] == ':'))
        n++;
    return (struct uri_key){str_head(uri, n), n == uri.n ? TRIE_EXACT : TRIE_PREFIX};
}

struct str router_param(const struct router *r, const struct route *route, struct str path,
                        struct str name)
{
    struct glob_seek seek = {name, STR_NONE};
    struct str uri = route_uri(route);

    if (uri_key(r, uri).slot == TRIE_PREFIX && glob_has_segment(uri))
        glob_match(uri, path, &seek);
    return seek.value;
}

/* ---- Changing ---- */

static uint8_t route_tests(const struct router *r, const struct route *route)
{
    const struct route_about *a = route->about;
    struct str uri = route_uri(route);
    struct uri_key key = uri_key(r, uri);
    /* A lone `*` at the end is what a prefix says already. */
    bool glob = key.slot == TRIE_PREFIX && !(key.text.n + 1 == uri.n && uri.p[key.text.n] == '*') &&
                glob_has_segment(uri);

    return (uint8_t)((a->nhosts ? ROUTE_HOSTS : 0) | (a->remote_addrs ? ROUTE_ADDRS : 0) |
                     (glob ? ROUTE_GLOB : 0) | (a->vars || a->filter ? ROUTE_ASKS : 0));
}

/* Higher priority first, then the longer pattern. For the rest lua-resty-radixtree keeps the order
 * of insertion, which is that of the keys in etcd after a start, and of creation until then; we
 * keep the former, so that a restart changes nothing: ids compare as byte strings. */
static int route_order(const struct route *a, const struct route *b)
{
    struct str one = route_uri(a), two = route_uri(b);

    if (a->about->priority != b->about->priority)
        return a->about->priority > b->about->priority ? -1 : 1;
    if (one.n != two.n)
        return one.n > two.n ? -1 : 1;
    int order = str_cmp(a->about->id, b->about->id);
    return order ? order : str_cmp(one, two);
}

static void candidates_drop(const struct trie_edit *e, struct candidates *c)
{
    if (c->version == e->version)
        free(c);
    else
        garbage_add(e->garbage, c, free, c->version);
}

static struct candidates *candidates_new(const struct trie_edit *e, unsigned cap)
{
    struct candidates *c = mem_alloc(sizeof(*c) + cap * sizeof(c->items[0]));

    c->version = e->version;
    c->n = 0;
    c->cap = cap;
    return c;
}

/* A place where all before it are better than the route and none behind it. */
static unsigned candidates_place(const struct candidates *c, const struct route *route)
{
    unsigned low = 0, high = c->n;

    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        if (route_order(&c->items[mid], route) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void candidates_insert(struct candidates *c, const struct route *route)
{
    unsigned at = candidates_place(c, route);

    memmove(c->items + at + 1, c->items + at, (c->n - at) * sizeof(c->items[0]));
    c->items[at] = *route;
    c->n++;
}

/* The list of a place with room for one more; the place's own is used up. */
static struct candidates *candidates_own(const struct trie_edit *e, const union place *place)
{
    struct candidates *had = place_list(place), *c;

    if (!had) {
        c = candidates_new(e, 2);
        candidates_insert(c, &place->route);
        return c;
    }
    if (had->version == e->version && had->n < had->cap)
        return had;
    /* A list that grows in one edit often grows on. */
    c = candidates_new(e, had->version == e->version ? had->n * 2 : had->n + 1);
    memcpy(c->items, had->items, had->n * sizeof(c->items[0]));
    c->n = had->n;
    candidates_drop(e, had);
    return c;
}

/* `had` is used up. */
static struct candidates *candidates_without(const struct trie_edit *e, struct candidates *had,
                                             unsigned at)
{
    struct candidates *c = candidates_new(e, had->n - 1);

    c->n = had->n - 1;
    memcpy(c->items, had->items, at * sizeof(c->items[0]));
    memcpy(c->items + at, had->items + at + 1, (c->n - at) * sizeof(c->items[0]));
    candidates_drop(e, had);
    return c;
}

static bool same_route(const struct route *a, const struct route *b)
{
    return a->about == b->about && a->nth == b->nth;
}

/* Changes a tree of URIs by one route. */
typedef void change_fn(struct trie **uris, const struct trie_edit *e, const struct uri_key *key,
                       const struct route *route);

static void uris_add(struct trie **uris, const struct trie_edit *e, const struct uri_key *key,
                     const struct route *route)
{
    const union place *old = trie_get(*uris, key->text, key->slot);
    union place new = {.route = *route};

    if (old) {
        struct candidates *c = candidates_own(e, old);
        candidates_insert(c, route);
        if (c == place_list(old))
            return;
        new = place_of_list(c);
    }
    trie_set(uris, e, key->text, key->slot, &new);
}

static void uris_remove(struct trie **uris, const struct trie_edit *e, const struct uri_key *key,
                        const struct route *route)
{
    const union place *old = trie_get(*uris, key->text, key->slot);
    struct candidates *c = old ? place_list(old) : NULL;
    unsigned at = 0;

    if (!c) {
        if (old && same_route(&old->route, route))
            trie_set(uris, e, key->text, key->slot, NULL);
        return;
    }
    while (at < c->n && !same_route(&c->items[at], route))
        at++;
    if (at == c->n)
        return;
    union place new = {.route = c->items[at == 0]};
    if (c->n > 2)
        new = place_of_list(candidates_without(e, c, at));
    else
        candidates_drop(e, c);
    trie_set(uris, e, key->text, key->slot, &new);
}

/* The places of a tree are in its nodes. */
static struct trie_edit uris_edit(const struct trie_edit *e)
{
    struct trie_edit inlined = *e;

    inlined.inlined = true;
    return inlined;
}

/* Changes the URIs of one host. */
static void site_edit(struct router *r, const struct trie_edit *e, struct str host,
                      const struct route *route, change_fn *change)
{
    struct uri_key uri = uri_key(r, route_uri(route));
    char *text = mem_alloc(host.n);
    struct trie_edit inlined = uris_edit(e);
    struct str key = host;
    enum trie_slot slot = TRIE_EXACT;

    if (host.p[0] == '*') {
        slot = TRIE_PREFIX;
        key = str_from(host, 1);
    }
    for (size_t i = 0; i < key.n; i++)
        text[i] = key.p[key.n - 1 - i];
    key = str_make(text, key.n);

    struct trie *old = trie_get(r->hosts, key, slot), *uris = old;
    change(&uris, &inlined, &uri, route);
    if (uris != old)
        trie_set(&r->hosts, e, key, slot, uris);
    free(text);
}

static void router_change(struct router *r, const struct trie_edit *e, const struct route *route,
                          change_fn *change)
{
    const struct route_about *a = route->about;
    struct uri_key uri = uri_key(r, route_uri(route));
    struct trie_edit inlined = uris_edit(e);

    if (!r->host_first || a->nhosts == 0)
        change(&r->uris, &inlined, &uri, route);
    else
        for (unsigned i = 0; i < a->nhosts; i++)
            site_edit(r, e, a->hosts[i], route, change);
}

void router_add(struct router *r, const struct trie_edit *e, const struct route *route)
{
    struct route tested = *route;

    tested.tests = route_tests(r, route);
    router_change(r, e, &tested, uris_add);
}

void router_remove(struct router *r, const struct trie_edit *e, const struct route *route)
{
    router_change(r, e, route, uris_remove);
}

static void free_list(void *arg, struct str key, enum trie_slot slot, void *value)
{
    (void)arg;
    (void)key;
    (void)slot;
    free(place_list(value));
}

static void free_site(void *arg, struct str key, enum trie_slot slot, void *value)
{
    (void)arg;
    (void)key;
    (void)slot;
    trie_each(value, free_list, NULL);
    trie_free(value);
}

void router_fini(struct router *r)
{
    trie_each(r->hosts, free_site, NULL);
    trie_free(r->hosts);
    trie_each(r->uris, free_list, NULL);
    trie_free(r->uris);
    r->hosts = r->uris = NULL;
}
