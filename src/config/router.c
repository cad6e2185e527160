/* SPDX-License-Identifier: Apache-2.0 */
/* Routing: which route a request belongs to. The order among candidates is that of APISIX 3.18
 * (radixtree_host_uri, radixtree_uri) over lua-resty-radixtree 2.9. */
#include "config/router_edit.h"

#include "base/cidr.h"
#include "base/mem.h"

/* The patterns that lead to one place in a tree, best first. */
struct candidates {
    uint64_t version; /* of the edit that made it */
    unsigned n, cap;
    const struct pattern *items[];
};

/* The routes of one host or wildcard. */
struct site {
    uint64_t version;
    struct trie *uris;
    struct str host; /* as configured, lower case; behind the struct */
};

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
    struct match_result result;
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

/* The host predicate of radixtree_uri. */
static bool host_match(struct matcher *mt, const struct pattern *p)
{
    struct str host = mt->m->host;

    if (p->nhosts == 0) {
        mt->result.matched_host = STR_NONE;
        return true;
    }
    for (unsigned i = 0; i < p->nhosts && host.p; i++) {
        struct str h = p->hosts[i];
        bool suffix = h.n && h.p[0] == '*';
        if (suffix ? str_ends(host, str_from(h, 1)) : str_eq(host, h)) {
            mt->result.matched_host = h;
            return true;
        }
    }
    return false;
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

/* The first candidate whose predicates all hold. */
static bool candidates_match(struct matcher *mt, const struct candidates *c, bool host_first)
{
    const struct match *m = mt->m;

    for (unsigned i = 0; i < c->n; i++) {
        const struct pattern *p = c->items[i];
        const struct route *route = p->route;
        if (route->methods && !(route->methods & (1u << m->method)))
            continue;
        if (route->remote_addrs && !client_match(mt, route->remote_addrs))
            continue;
        if (!host_first && !host_match(mt, p))
            continue;
        if (p->glob && !glob_match(p->uri, m->path))
            continue;
        if (route->vars && !m->test(m->arg, route))
            continue;
        mt->result.route = route;
        mt->result.matched_uri = p->uri;
        return true;
    }
    return false;
}

static bool uris_match(struct matcher *mt, const struct trie *uris, bool host_first)
{
    struct trie_walk w;

    trie_walk_start(&w, uris, mt->m->path);
    for (const struct candidates *c = w.exact ? w.exact : trie_walk_next(&w); c;
         c = trie_walk_next(&w))
        if (candidates_match(mt, c, host_first))
            return true;
    return false;
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

struct match_result router_match(const struct router *r, const struct match *m)
{
    struct matcher mt = {.m = m};
    char reversed[HOST_MAX];
    struct trie_walk w;

    if (r->hosts && m->host.p) {
        trie_walk_start(&w, r->hosts, reverse(m->host, reversed));
        if (m->host.n > HOST_MAX)
            w.exact = NULL;
        for (const struct site *s = w.exact ? w.exact : trie_walk_next(&w); s;
             s = trie_walk_next(&w))
            if (uris_match(&mt, s->uris, true)) {
                mt.result.matched_host = s->host;
                return mt.result;
            }
    }
    if (uris_match(&mt, r->uris, r->host_first))
        return mt.result;
    return (struct match_result){0};
}

/* ---- Changing ---- */

void pattern_set_uri(struct pattern *p, struct str uri)
{
    ptrdiff_t star = str_find(uri, '*');

    p->uri = uri;
    p->glob = star >= 0 && (size_t)star + 1 < uri.n && glob_has_segment(uri);
}

/* Higher priority first, then the longer pattern. For the rest lua-resty-radixtree keeps the order
 * of insertion, which is that of the keys in etcd after a start, and of creation until then; we
 * keep the former, so that a restart changes nothing: ids compare as byte strings. */
static int pattern_order(const struct pattern *a, const struct pattern *b)
{
    if (a->route->priority != b->route->priority)
        return a->route->priority > b->route->priority ? -1 : 1;
    if (a->uri.n != b->uri.n)
        return a->uri.n > b->uri.n ? -1 : 1;
    int order = str_cmp(a->route->id, b->route->id);
    return order ? order : str_cmp(a->uri, b->uri);
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
    struct candidates *c = mem_alloc(sizeof(*c) + cap * sizeof(const struct pattern *));

    c->version = e->version;
    c->n = 0;
    c->cap = cap;
    return c;
}

/* A place where all before it are better than p and none behind it. */
static unsigned candidates_place(const struct candidates *c, const struct pattern *p)
{
    unsigned low = 0, high = c->n;

    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        if (pattern_order(c->items[mid], p) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The list with p in it; `old` is used up. */
static struct candidates *candidates_add(const struct trie_edit *e, struct candidates *old,
                                         const struct pattern *p)
{
    unsigned at = candidates_place(old, p);
    struct candidates *c = old;

    if (old->version != e->version || old->n == old->cap) {
        /* A list that grows in one edit often grows on. */
        c = candidates_new(e, old->version == e->version ? old->n * 2 : old->n + 1);
        memcpy(c->items, old->items, old->n * sizeof(c->items[0]));
        c->n = old->n;
        candidates_drop(e, old);
    }
    memmove(c->items + at + 1, c->items + at, (c->n - at) * sizeof(c->items[0]));
    c->items[at] = p;
    c->n++;
    return c;
}

/* Where a URI's candidates are: its text up to the first `*`. */
static struct str pattern_key(const struct pattern *p, enum trie_slot *slot)
{
    ptrdiff_t star = str_find(p->uri, '*');

    *slot = star < 0 ? TRIE_EXACT : TRIE_PREFIX;
    return star < 0 ? p->uri : str_head(p->uri, (size_t)star);
}

static void uris_add(struct trie **uris, const struct trie_edit *e, const struct pattern *p)
{
    enum trie_slot slot;
    struct str key = pattern_key(p, &slot);
    struct candidates *old = trie_get(*uris, key, slot), *c;

    c = candidates_add(e, old ? old : candidates_new(e, 1), p);
    if (c != old)
        trie_set(uris, e, key, slot, c);
}

static void uris_remove(struct trie **uris, const struct trie_edit *e, const struct pattern *p)
{
    enum trie_slot slot;
    struct str key = pattern_key(p, &slot);
    struct candidates *old = trie_get(*uris, key, slot), *c = NULL;
    unsigned at = 0;

    while (old && at < old->n && old->items[at] != p)
        at++;
    if (!old || at == old->n)
        return;
    if (old->n > 1) {
        c = candidates_new(e, old->n - 1);
        c->n = old->n - 1;
        memcpy(c->items, old->items, at * sizeof(c->items[0]));
        memcpy(c->items + at, old->items + at + 1, (c->n - at) * sizeof(c->items[0]));
    }
    trie_set(uris, e, key, slot, c);
    candidates_drop(e, old);
}

static struct site *site_new(const struct trie_edit *e, struct str host, struct trie *uris)
{
    struct site *s = mem_alloc(sizeof(*s) + host.n);
    char *text = (char *)(s + 1);

    memcpy(text, host.p, host.n);
    *s = (struct site){e->version, uris, str_make(text, host.n)};
    return s;
}

/* Changes the URIs of one host. */
static void
site_edit(struct router *r, const struct trie_edit *e, struct str host, const struct pattern *p,
          void (*change)(struct trie **, const struct trie_edit *, const struct pattern *))
{
    char *text = mem_alloc(host.n);
    struct str key = host;
    enum trie_slot slot = TRIE_EXACT;

    if (host.p[0] == '*') {
        slot = TRIE_PREFIX;
        key = str_from(host, 1);
    }
    for (size_t i = 0; i < key.n; i++)
        text[i] = key.p[key.n - 1 - i];
    key = str_make(text, key.n);

    struct site *old = trie_get(r->hosts, key, slot);
    struct trie *uris = old ? old->uris : NULL;
    change(&uris, e, p);
    if (old && old->version == e->version && uris) {
        old->uris = uris;
    } else {
        trie_set(&r->hosts, e, key, slot, uris ? site_new(e, host, uris) : NULL);
        if (old && old->version == e->version)
            free(old);
        else if (old)
            garbage_add(e->garbage, old, free, old->version);
    }
    free(text);
}

void router_add(struct router *r, const struct trie_edit *e, const struct pattern *p)
{
    if (!r->host_first || p->nhosts == 0)
        uris_add(&r->uris, e, p);
    else
        for (unsigned i = 0; i < p->nhosts; i++)
            site_edit(r, e, p->hosts[i], p, uris_add);
}

void router_remove(struct router *r, const struct trie_edit *e, const struct pattern *p)
{
    if (!r->host_first || p->nhosts == 0)
        uris_remove(&r->uris, e, p);
    else
        for (unsigned i = 0; i < p->nhosts; i++)
            site_edit(r, e, p->hosts[i], p, uris_remove);
}

static void free_candidates(void *arg, struct str key, enum trie_slot slot, void *value)
{
    (void)arg;
    (void)key;
    (void)slot;
    free(value);
}

static void free_site(void *arg, struct str key, enum trie_slot slot, void *value)
{
    struct site *s = value;

    (void)arg;
    (void)key;
    (void)slot;
    trie_each(s->uris, free_candidates, NULL);
    trie_free(s->uris);
    free(s);
}

void router_fini(struct router *r)
{
    trie_each(r->hosts, free_site, NULL);
    trie_free(r->hosts);
    trie_each(r->uris, free_candidates, NULL);
    trie_free(r->uris);
    r->hosts = r->uris = NULL;
}
