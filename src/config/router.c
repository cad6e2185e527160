/* SPDX-License-Identifier: Apache-2.0 */
/* Routing: which route a request belongs to. The order among candidates is that of APISIX 3.18
 * (radixtree_host_uri, radixtree_uri) over lua-resty-radixtree 2.9. */
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

/* Whether the path fits a pattern with more behind its first `*`. lua-resty-radixtree makes a
 * regular expression of it, segment by segment: one that begins with `*` stands for anything, also
 * with slashes, one that begins with `:` for one segment that is not empty; a pattern without such
 * segments is a prefix, what stands behind the `*` is not compared. */
static bool glob_match(struct str glob, struct str path)
{
    size_t g = 0, p = 0, back_g = 0, back_p = 0;
    bool star = false;

    for (;;) {
        bool segment = g < glob.n && (g == 0 || glob.p[g - 1] == '/');
        if (segment && glob.p[g] == '*') {
            while (g < glob.n && glob.p[g] != '/')
                g++;
            star = true;
            back_g = g;
            back_p = p;
            continue;
        }
        if (segment && glob.p[g] == ':' && p < path.n && path.p[p] != '/') {
            while (g < glob.n && glob.p[g] != '/')
                g++;
            while (p < path.n && path.p[p] != '/')
                p++;
            continue;
        }
        if (g == glob.n && p == path.n)
            return true;
        if (g < glob.n && p < path.n && glob.p[g] == path.p[p] && !(segment && glob.p[g] == ':')) {
            g++;
            p++;
            continue;
        }
        /* The last `*` takes one byte more. What follows it up to the next one spans a fixed number
         * of slashes, so the first place where it fits is the only one worth trying. */
        if (!star || back_p == path.n)
            return false;
        g = back_g;
        p = ++back_p;
    }
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

/* The host predicate of radixtree_uri: the first one that fits, or NULL. */
static const struct str *host_find(const struct route_about *a, struct str host)
{
    for (unsigned i = 0; i < a->nhosts && host.p; i++)
        if (host_fits(a->hosts[i], host))
            return &a->hosts[i];
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
           (!(route->tests & ROUTE_HOSTS) || mt->host_first || host_find(a, m->host)) &&
           (!(route->tests & ROUTE_GLOB) || glob_match(route_uri(route), m->path)) &&
           (!(route->tests & ROUTE_VARS) || m->test(m->arg, route));
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
struct str router_matched_host(const struct router *r, const struct route *route, struct str host)
{
    const struct route_about *a = route->about;
    const struct str *best = host_find(a, host);

    if (!best)
        return STR_NONE;
    for (unsigned i = 0; i < a->nhosts && r->host_first && best->p[0] == '*'; i++)
        if (host_fits(a->hosts[i], host) && (a->hosts[i].p[0] != '*' || a->hosts[i].n > best->n))
            best = &a->hosts[i];
    return *best;
}

/* ---- Changing ---- */

static uint8_t route_tests(const struct route *route)
{
    const struct route_about *a = route->about;
    struct str uri = route_uri(route);
    ptrdiff_t star = str_find(uri, '*');
    bool glob = star >= 0 && (size_t)star + 1 < uri.n && glob_has_segment(uri);

    return (uint8_t)((a->nhosts ? ROUTE_HOSTS : 0) | (a->remote_addrs ? ROUTE_ADDRS : 0) |
                     (glob ? ROUTE_GLOB : 0) | (a->vars ? ROUTE_VARS : 0));
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

/* Where a URI's routes are: its text up to the first `*`. */
static struct str uri_key(struct str uri, enum trie_slot *slot)
{
    ptrdiff_t star = str_find(uri, '*');

    *slot = star < 0 ? TRIE_EXACT : TRIE_PREFIX;
    return star < 0 ? uri : str_head(uri, (size_t)star);
}

static void uris_add(struct trie **uris, const struct trie_edit *e, const struct route *route)
{
    enum trie_slot slot;
    struct str key = uri_key(route_uri(route), &slot);
    const union place *old = trie_get(*uris, key, slot);
    union place new = {.route = *route};

    if (old) {
        struct candidates *c = candidates_own(e, old);
        candidates_insert(c, route);
        if (c == place_list(old))
            return;
        new = place_of_list(c);
    }
    trie_set(uris, e, key, slot, &new);
}

static void uris_remove(struct trie **uris, const struct trie_edit *e, const struct route *route)
{
    enum trie_slot slot;
    struct str key = uri_key(route_uri(route), &slot);
    const union place *old = trie_get(*uris, key, slot);
    struct candidates *c = old ? place_list(old) : NULL;
    unsigned at = 0;

    if (!c) {
        if (old && same_route(&old->route, route))
            trie_set(uris, e, key, slot, NULL);
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
    trie_set(uris, e, key, slot, &new);
}

/* The places of a tree are in its nodes. */
static struct trie_edit uris_edit(const struct trie_edit *e)
{
    struct trie_edit inlined = *e;

    inlined.inlined = true;
    return inlined;
}

/* Changes the URIs of one host. */
static void
site_edit(struct router *r, const struct trie_edit *e, struct str host, const struct route *route,
          void (*change)(struct trie **, const struct trie_edit *, const struct route *))
{
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
    change(&uris, &inlined, route);
    if (uris != old)
        trie_set(&r->hosts, e, key, slot, uris);
    free(text);
}

static void router_change(struct router *r, const struct trie_edit *e, const struct route *route,
                          void (*change)(struct trie **, const struct trie_edit *,
                                         const struct route *))
{
    const struct route_about *a = route->about;
    struct trie_edit inlined = uris_edit(e);

    if (!r->host_first || a->nhosts == 0)
        change(&r->uris, &inlined, route);
    else
        for (unsigned i = 0; i < a->nhosts; i++)
            site_edit(r, e, a->hosts[i], route, change);
}

void router_add(struct router *r, const struct trie_edit *e, const struct route *route)
{
    struct route tested = *route;

    tested.tests = route_tests(route);
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
