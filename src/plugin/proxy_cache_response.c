/* SPDX-License-Identifier: Apache-2.0 */
/* proxy-cache behind the upstream: which responses may be stored (RFC 9111 §3), for how long, and
 * gathering their bodies as they pass. */
#include "base/mem.h"
#include "plugin/proxy_cache_int.h"

/* What is kept of a response on its way through. */
struct gather {
    struct cache_zone *zone;
    struct cache_id id;
    struct cache_facts facts;
    struct str key, vary, variant; /* in the exchange's memory */
    struct buf lines, body;
    size_t borrowed;
    int64_t length; /* that the upstream promised; -1: none */
};

/* What the upstream's header lines say. */
struct told {
    struct cache_control cc;
    struct vary_list vary;
    struct str expires;
    int64_t age, length; /* -1: absent */
    bool set_cookie;
};

/* ---- What may be stored -----------------------------------------------------------------------
 */

/* -1: none. Times are bounded, so that arithmetic with them is. */
static int64_t number_of(struct str s, uint64_t max)
{
    uint64_t v;

    return str_to_u64(str_trim(s), max, &v) ? (int64_t)v : -1;
}

static void take_line(struct told *t, struct str name, struct str value)
{
    if (str_eq_nocase(name, STR("Cache-Control")))
        cache_control_add(&t->cc, value);
    else if (str_eq_nocase(name, STR("Vary")))
        vary_add(&t->vary, value);
    else if (str_eq_nocase(name, STR("Expires")))
        t->expires = value;
    else if (str_eq_nocase(name, STR("Set-Cookie")))
        t->set_cookie = true;
    else if (str_eq_nocase(name, STR("Age")))
        t->age = number_of(value, INT32_MAX);
    else if (str_eq_nocase(name, STR("Content-Length")))
        t->length = number_of(value, INT64_MAX);
}

/* Only the upstream's own lines: what plugins add they add again when the response is reused. */
static void read_lines(struct exchange *ex, struct told *t)
{
    struct str name, value;

    *t = (struct told){.age = -1, .length = -1};
    cache_control_init(&t->cc);
    for (size_t i = 0; i < response_headers_received(ex); i++)
        if (response_header_at(ex, i, &name, &value))
            take_line(t, name, value);
}

static bool status_is_listed(const struct cache_conf *c, int status)
{
    const int64_t *listed = c->cache_http_status.items;

    /* A part of a response, and one without what it is about, answer nobody else. */
    if (status == 206 || status == 304)
        return false;
    for (size_t i = 0; i < c->cache_http_status.n; i++)
        if (listed[i] == status)
            return true;
    return false;
}

/* Seconds that the response is fresh for; 0 or less: it is not stored. */
static int64_t lifetime(struct exchange *ex, const struct cache_conf *c, const struct told *t)
{
    int64_t said = cache_lifetime(&t->cc, t->expires, ex_wall_ms(ex) / 1000);

    if (c->strategy == STRATEGY_MEMORY && !c->cache_control)
        return c->cache_ttl < INT32_MAX ? c->cache_ttl : INT32_MAX;
    if (said < 0)
        return c->strategy == STRATEGY_DISK ? zones_ttl() : 0;
    return said - (t->age > 0 ? t->age : 0);
}

static bool may_store(struct exchange *ex, const struct cache_conf *c, const struct told *t)
{
    return !response_is_ours(ex) && status_is_listed(c, response_status(ex)) && !t->vary.any &&
           !t->cc.no_store && !t->cc.no_cache && !t->cc.is_private &&
           (c->cache_set_cookie || !t->set_cookie) && t->length <= c->max_resp_body_size &&
           response_end_is_told(ex) && !cache_parts_say_so(ex, &c->no_store);
}

/* ---- The head ---------------------------------------------------------------------------------
 */

/* Lines that belong to one connection or one moment, or that the gateway writes itself. */
static bool is_kept(struct str name)
{
    static const char *const not_kept[] = {
        "Age",
        "Apisix-Cache-Status",
        "Connection",
        "Content-Length",
        "Date",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Server",
        "TE",
        "Trailer",
        "Trailers",
        "Transfer-Encoding",
        "Upgrade",
    };

    if (!name.n)
        return false;
    for (size_t i = 0; i < sizeof(not_kept) / sizeof(not_kept[0]); i++)
        if (str_eq_nocase(name, str_of(not_kept[i])))
            return false;
    /* How much was left then says nothing now. */
    for (size_t i = 0; i + 10 <= name.n; i++)
        if (ascii_lower(name.p[i]) == 'r' &&
            str_eq_nocase(str_head(str_from(name, i), 10), STR("ratelimit-")))
            return false;
    return true;
}

static bool keep_lines(struct exchange *ex, struct buf *lines)
{
    struct str name, value;

    for (size_t i = 0; i < response_headers_received(ex); i++)
        if (response_header_at(ex, i, &name, &value) && is_kept(name) &&
            !entry_header_add(lines, name, value))
            return false;
    return true;
}

static void gather_end(struct gather *g)
{
    buf_fini(&g->lines);
    buf_fini(&g->body);
    zone_repay(g->zone, g->borrowed);
    free(g);
}

/* The exchange ended before the response did. */
static void on_end(void *frame)
{
    struct cache_frame *f = frame;

    if (f->gather)
        gather_end(f->gather);
    f->gather = NULL;
}

static void gather_start(struct exchange *ex, const struct cache_conf *c, struct cache_frame *f,
                         struct told *t, int64_t ttl)
{
    struct str vary = vary_text(&t->vary, ex_arena(ex)), variant = cache_variant_text(ex, vary);
    size_t max = zone_entry_max(c->zone);
    struct gather *g;

    if (!variant.p || vary.n > CACHE_VARIANT_MAX)
        return;
    g = mem_zero(sizeof(*g));
    *g = (struct gather){.zone = c->zone,
                         .id = {f->id.key, hash_str128(variant)},
                         .facts = {.stored_ms = ex_wall_ms(ex),
                                   .ttl_s = ttl,
                                   .age_s = t->age > 0 ? t->age : 0,
                                   .status = (uint32_t)response_status(ex),
                                   .never_stale = t->cc.must_revalidate || t->cc.s_maxage >= 0},
                         .key = f->key,
                         .vary = vary,
                         .variant = variant,
                         .length = t->length};
    buf_init(&g->lines, ENTRY_TEXT_MAX / 4);
    buf_init(&g->body, (uint64_t)c->max_resp_body_size < max ? (size_t)c->max_resp_body_size : max);
    if (!keep_lines(ex, &g->lines)) {
        gather_end(g);
        return;
    }
    f->gather = g;
    ex_on_end(ex, on_end, f);
}

enum verdict cache_header_filter(struct exchange *ex, const void *conf, void *frame)
{
    const struct cache_conf *c = conf;
    struct cache_frame *f = frame;
    struct told t;

    if (f->storable) {
        f->storable = false;
        read_lines(ex, &t);
        int64_t ttl = lifetime(ex, c, &t);
        if (ttl > 0 && may_store(ex, c, &t))
            gather_start(ex, c, f, &t, ttl);
    }
    if (c->hide_cache_headers && !response_is_ours(ex)) {
        response_header_remove(ex, STR("Cache-Control"));
        response_header_remove(ex, STR("Expires"));
    }
    return NEXT;
}

/* ---- The body ---------------------------------------------------------------------------------
 */

static bool gather_add(struct gather *g, struct str data)
{
    if (!zone_borrow(g->zone, data.n))
        return false;
    g->borrowed += data.n;
    return buf_add(&g->body, data);
}

static void store(struct exchange *ex, struct gather *g)
{
    struct cache_chores *chores;

    if (g->length >= 0 && (uint64_t)g->length != g->body.n)
        return;
    struct cache_entry *e = entry_new(&g->facts, g->key, g->vary, g->variant, buf_str(&g->lines),
                                      &g->body);
    chores = zone_put(g->zone, &g->id, e);
    if (chores)
        job_post(ex, chores_run, chores);
}

/* Takes a copy of what passes. The last piece only comes when the response is whole. */
enum verdict cache_body_filter(struct exchange *ex, const void *conf, void *frame,
                               struct chunk *chunk)
{
    struct cache_frame *f = frame;
    bool kept = true;
    (void)conf;

    if (!f->gather)
        return NEXT;
    if (chunk->data.n)
        kept = gather_add(f->gather, chunk->data);
    if (kept && chunk->last)
        store(ex, f->gather);
    if (!kept || chunk->last)
        on_end(f);
    return NEXT;
}
