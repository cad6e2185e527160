/* SPDX-License-Identifier: Apache-2.0 */
/* The router against a plain list: any routes, added and removed in any order, match any request as
 * a matcher does that only follows the rules; and an older version goes on answering as it did. */
#include <stdio.h>

#include "base/mem.h"
#include "base/panic.h"
#include "config/router_edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROUTES = 12, URIS = 2, HOSTS = 2, TEXT = 12 };

/* ---- The input as numbers and short texts over few letters ---- */

struct input {
    const uint8_t *p;
    size_t n;
};

static unsigned take(struct input *in, unsigned below)
{
    if (in->n == 0)
        return 0;
    in->n--;
    return *in->p++ % below;
}

static struct str take_text(struct input *in, const char *letters, unsigned nletters, char *to)
{
    unsigned n = take(in, TEXT);

    for (unsigned i = 0; i < n; i++)
        to[i] = letters[take(in, nletters)];
    return str_make(to, n);
}

/* ---- The model ---- */

struct model_route {
    bool there;
    char id[4], uri_text[URIS][TEXT + 1], host_text[HOSTS][TEXT + 1];
    struct route routes[URIS];
    struct route_about about;
    struct str uris[URIS], hosts[HOSTS];
};

struct model {
    struct model_route *routes[ROUTES]; /* NULL: not there */
};

static bool glob_plain(struct str g, struct str p, bool start)
{
    if (start && g.n && (g.p[0] == '*' || (g.p[0] == ':' && p.n && p.p[0] != '/'))) {
        bool star = g.p[0] == '*';
        while (g.n && g.p[0] != '/')
            g = str_from(g, 1);
        for (size_t i = star ? 0 : 1; i <= p.n; i++) {
            if (!star && p.p[i - 1] == '/')
                break;
            if (!star && i < p.n && p.p[i] != '/')
                continue;
            if (glob_plain(g, str_from(p, i), false))
                return true;
        }
        return false;
    }
    if (!g.n || !p.n)
        return !g.n && !p.n;
    if (g.p[0] != p.p[0] || (start && g.p[0] == ':'))
        return false;
    return glob_plain(str_from(g, 1), str_from(p, 1), g.p[0] == '/');
}

static bool with_params;

/* Whether the pattern fits; how much of it counts: exact before any prefix. */
static bool uri_fits(struct str uri, struct str path, size_t *rank)
{
    ptrdiff_t star = str_find(uri, '*'), colon = with_params ? str_find(uri, ':') : -1;
    bool special = false;

    if (star < 0 && colon < 0) {
        *rank = SIZE_MAX;
        return str_eq(uri, path);
    }
    *rank = (size_t)(star < 0 || (colon >= 0 && colon < star) ? colon : star);
    if (!str_starts(path, str_head(uri, *rank)))
        return false;
    for (size_t i = 0; i < uri.n; i++)
        special |= (i == 0 || uri.p[i - 1] == '/') && (uri.p[i] == '*' || uri.p[i] == ':');
    if ((uri.p[*rank] == '*' && *rank + 1 == uri.n) || !special)
        return true;
    if (!str_ends(uri, STR("/?")))
        return glob_plain(uri, path, true);
    return glob_plain(str_head(uri, uri.n - 1), path, true) ||
           glob_plain(str_head(uri, uri.n - 2), path, true);
}

static bool host_fits(struct str pattern, struct str host, size_t *rank)
{
    if (pattern.p[0] != '*') {
        *rank = SIZE_MAX;
        return str_eq(pattern, host);
    }
    *rank = pattern.n;
    return str_ends(host, str_from(pattern, 1));
}

struct answer {
    const struct route *route;
    struct str host;
    size_t host_rank, uri_rank;
};

static bool better(const struct answer *a, const struct answer *b)
{
    if (!b->route)
        return true;
    const struct route_about *p = a->route->about, *q = b->route->about;
    struct str one = route_uri(a->route), two = route_uri(b->route);
    if (a->host_rank != b->host_rank)
        return a->host_rank > b->host_rank;
    if (a->uri_rank != b->uri_rank)
        return a->uri_rank > b->uri_rank;
    if (p->priority != q->priority)
        return p->priority > q->priority;
    if (one.n != two.n)
        return one.n > two.n;
    int order = str_cmp(p->id, q->id);
    return order ? order < 0 : str_cmp(one, two) < 0;
}

/* The route with one of its hosts, -1: without. */
static void consider(const struct route *r, int host, bool host_first, const struct match *m,
                     struct answer *best)
{
    struct answer a = {.route = r};

    if (r->methods && !(r->methods & (1u << m->method)))
        return;
    if (!uri_fits(route_uri(r), m->path, &a.uri_rank))
        return;
    if (host >= 0) {
        if (!m->host.p || !host_fits(r->about->hosts[host], m->host, &a.host_rank))
            return;
        a.host = r->about->hosts[host];
        /* Any host is better than none, where hosts come first; else it does not count. */
        a.host_rank = !host_first ? 0 : a.host_rank == SIZE_MAX ? SIZE_MAX : a.host_rank + 1;
    }
    if (better(&a, best))
        *best = a;
}

static struct answer plain_match(const struct model *model, bool host_first, const struct match *m)
{
    struct answer best = {0};

    for (int i = 0; i < ROUTES; i++) {
        const struct model_route *r = model->routes[i];
        for (unsigned u = 0; r && u < r->about.nuris; u++) {
            if (r->about.nhosts == 0)
                consider(&r->routes[u], -1, host_first, m, &best);
            for (int h = 0; h < (int)r->about.nhosts; h++)
                consider(&r->routes[u], h, host_first, m, &best);
        }
    }
    return best;
}

static void compare(const struct router *r, const struct model *model, const struct match *m)
{
    const struct route *got = router_match(r, m);
    struct answer want = plain_match(model, r->host_first, m);

    if (!want.route) {
        ASSERT(!got);
        return;
    }
    ASSERT(got && got->about == want.route->about && got->nth == want.route->nth);
    ASSERT(str_eq(router_matched_host(r, got, m->host, m->authority), want.host));
    struct str value = router_param(r, got, m->path, STR("a"));
    ASSERT(!value.p || (value.p >= m->path.p && value.p + value.n <= m->path.p + m->path.n));
}

/* ---- Changes ---- */

static struct model_route *route_take(struct input *in, int number)
{
    struct model_route *r = mem_zero(sizeof(*r));

    snprintf(r->id, sizeof(r->id), "%d", number);
    struct route_about *about = &r->about;
    about->id = str_of(r->id);
    about->hosts = r->hosts;
    about->uris = r->uris;
    about->priority = (int64_t)take(in, 3) - 1;
    uint16_t methods = (uint16_t)take(in, 4);
    about->nhosts = take(in, HOSTS + 1);
    for (unsigned i = 0; i < about->nhosts; i++) {
        bool star = take(in, 2);
        r->host_text[i][0] = '*';
        struct str h = take_text(in, "ab.", 3, r->host_text[i] + 1);
        r->hosts[i] = star || h.n == 0 ? str_make(r->host_text[i], h.n + 1) : h;
    }
    unsigned n = 1 + take(in, URIS);
    for (unsigned i = 0; i < n; i++) {
        unsigned nth = about->nuris;
        r->uri_text[i][0] = '/';
        struct str rest = take_text(in, "/ab*:?", 6, r->uri_text[i] + 1);
        r->uris[nth] = str_make(r->uri_text[i], rest.n + 1);
        r->routes[nth] = (struct route){.about = about, .nth = nth, .methods = methods};
        if (nth == 0 || !str_eq(r->uris[nth], r->uris[0]))
            about->nuris++;
    }
    return r;
}

static void remove_route(struct router *router, const struct trie_edit *e, struct model *model,
                         int number)
{
    struct model_route *r = model->routes[number];

    if (!r)
        return;
    for (unsigned i = 0; i < r->about.nuris; i++)
        router_remove(router, e, &r->routes[i]);
    model->routes[number] = NULL;
    garbage_add(e->garbage, r, free, 0);
}

static void ask(struct input *in, const struct router *now, const struct model *model,
                const struct router *old, const struct model *old_model)
{
    char path[TEXT + 1] = "/", host[TEXT + 1];
    struct match m = {.method = take(in, 3)};

    m.path = str_make(path, take_text(in, "/ab:", 4, path + 1).n + 1);
    m.host = take_text(in, "ab.", 3, host);
    if (m.host.n == 0)
        m.host = STR_NONE;
    compare(now, model, &m);
    compare(old, old_model, &m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    unsigned kind = take(&in, 3);
    struct router router = {.host_first = kind == 1, .with_params = kind == 2}, old = router;
    struct model model = {0}, old_model = {0};
    struct garbage dead = {0};
    struct slabs slabs;
    struct trie_edit e = {.version = 1, .garbage = &dead, .slabs = &slabs};

    slabs_init(&slabs);
    with_params = router.with_params;
    while (in.n) {
        unsigned what = take(&in, 8);
        int number = (int)take(&in, ROUTES);
        if (what < 3) {
            remove_route(&router, &e, &model, number);
            struct model_route *r = model.routes[number] = route_take(&in, number);
            for (unsigned i = 0; i < r->about.nuris; i++)
                router_add(&router, &e, &r->routes[i]);
        } else if (what == 3) {
            remove_route(&router, &e, &model, number);
        } else if (what == 4) {
            /* What the last version alone could reach goes; this one is held from now on. */
            garbage_fini(&dead);
            old = router;
            old_model = model;
            e.version++;
        } else {
            ask(&in, &router, &model, &old, &old_model);
        }
    }
    for (int i = 0; i < ROUTES; i++)
        remove_route(&router, &e, &model, i);
    ASSERT(!router.hosts && !router.uris);
    garbage_fini(&dead);
    slabs_fini(&slabs);
    return 0;
}
