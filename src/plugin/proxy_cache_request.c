/* SPDX-License-Identifier: Apache-2.0 */
/* proxy-cache before the upstream: names the response, looks for it, answers with it. */
#include <inttypes.h>
#include <openssl/sha.h>

#include "base/mem.h"
#include "base/panic.h"
#include "plugin/proxy_cache_int.h"

enum { KEY_MAX = 1 << 18 }; /* bytes */

/* ---- The request ------------------------------------------------------------------------------
 */

static struct str part_value(struct exchange *ex, const struct part *p)
{
    return p->var ? text_value(ex, p->var) : p->constant;
}

bool cache_parts_say_so(struct exchange *ex, const struct parts *p)
{
    bool zero = false;
    size_t total = 0;

    for (size_t i = 0; i < p->n; i++) {
        struct str v = part_value(ex, &p->items[i]);
        total += v.n;
        zero |= str_eq(v, STR("0"));
    }
    return total > 1 || (total == 1 && !zero);
}

static int method_of(const struct exchange *ex)
{
    struct str method = request_method(ex);

    for (int i = 0; cache_methods[i]; i++)
        if (str_eq(method, str_of(cache_methods[i])))
            return i;
    return -1;
}

/* Who asks, as far as responses may depend on it: a consumer, and the client's own Authorization
 * when that goes on to the upstream, for which a consumer may stand for many users. A shared cache
 * must not store what was asked with one (RFC 9111 §3.5); kept by itself it only answers the same
 * credentials. One that a plugin replaced is not the client's. */
static struct str identity(struct exchange *ex, const struct cache_frame *f)
{
    const struct consumer *consumer = ex_consumer(ex);
    struct str sent = request_header_all(ex, STR("Authorization")), who = STR("");
    unsigned char digest[SHA256_DIGEST_LENGTH];

    if (sent.n && str_eq(f->authorization, sent)) {
        /* Without it the answers of all would be one. */
        if (!SHA256((const unsigned char *)sent.p, sent.n, digest))
            PANIC("SHA-256 does not work");
        who = arena_join(ex_arena(ex), STR("a"), str_make((const char *)digest, sizeof(digest)));
    }
    if (!consumer)
        return who;
    /* The digest's size is fixed, so the name is what is left. */
    return arena_join(ex_arena(ex), who,
                      arena_join(ex_arena(ex), STR("c"), consumer_name(consumer)));
}

/* A part with its length before it: what a client can choose in one part never looks like another
 * part. */
static char *put_part(char *at, struct str part)
{
    uint32_t n = (uint32_t)part.n;

    memcpy(at, &n, sizeof(n));
    if (part.n)
        memcpy(at + sizeof(n), part.p, part.n);
    return at + sizeof(n) + part.n;
}

/* What of the Host header $host does not say: the upstream may put it into links, so that whoever
 * asks with a port of his own would choose where others' links lead. */
static struct str host_beside(struct exchange *ex, const struct cache_conf *c)
{
    struct str sent = c->by_host ? request_header(ex, STR("Host")) : STR_NONE;

    return str_eq(sent, request_host(ex)) ? STR("") : sent;
}

static bool make_key(struct exchange *ex, const struct cache_conf *c, struct cache_frame *f)
{
    enum { OWN = 2 }; /* parts that no configuration names */
    struct arena *a = ex_arena(ex);
    size_t n = c->key.n + OWN, total = 0;
    struct str *values = arena_alloc(a, n * sizeof(*values));

    values[0] = c->isolate ? identity(ex, f) : STR("");
    values[1] = host_beside(ex, c);
    for (size_t i = 0; i < c->key.n; i++)
        values[i + OWN] = part_value(ex, &c->key.items[i]);
    for (size_t i = 0; i < n; i++) {
        if (values[i].n > KEY_MAX)
            return false;
        total += sizeof(uint32_t) + values[i].n;
    }
    if (total > KEY_MAX)
        return false;
    char *key = arena_bytes(a, total), *at = key;
    for (size_t i = 0; i < n; i++)
        at = put_part(at, values[i]);
    f->key = str_make(key, total);
    return true;
}

struct str cache_variant_text(struct exchange *ex, struct str names)
{
    struct str text = method_of(ex) == CACHE_POST ? STR("POST") : STR("GET"), name;

    while (names.n) {
        str_cut(names, ',', &name, &names);
        struct str value = request_header_all(ex, name);
        if (text.n + value.n > CACHE_VARIANT_MAX)
            return STR_NONE;
        text = arena_printf(ex_arena(ex), "%.*s\n%zu:%.*s", STR_ARG(text), value.n, STR_ARG(value));
    }
    return text;
}

static struct hash128 variant_of(void *ex, struct str names)
{
    return hash_str128(cache_variant_text(ex, names));
}

static bool has_body(const struct exchange *ex)
{
    struct str length = request_header(ex, STR("Content-Length"));

    return (length.p && !str_eq(length, STR("0"))) ||
           request_header(ex, STR("Transfer-Encoding")).p != NULL;
}

static void request_directives(struct exchange *ex, struct cache_control *cc)
{
    cache_control_init(cc);
    cache_control_add(cc, request_header(ex, STR("Cache-Control")));
}

static void show_status(struct exchange *ex, const char *status)
{
    response_header_set(ex, STR("Apisix-Cache-Status"), str_of(status));
}

/* ---- Answering --------------------------------------------------------------------------------
 */

bool cache_header_is_hidden(struct str name)
{
    return str_eq_nocase(name, STR("Cache-Control")) || str_eq_nocase(name, STR("Expires"));
}

static struct str find_header(const struct cache_entry *e, struct str wanted)
{
    struct str name, value;
    size_t at = 0;

    while (entry_header(e, &at, &name, &value))
        if (str_eq_nocase(name, wanted))
            return value;
    return STR_NONE;
}

static bool answers_304(struct exchange *ex, const struct cache_entry *e)
{
    return e->facts.status == 200 && method_of(ex) != CACHE_POST &&
           cache_not_modified(request_header(ex, STR("If-None-Match")),
                              request_header(ex, STR("If-Modified-Since")),
                              find_header(e, STR("ETag")), find_header(e, STR("Last-Modified")));
}

/* release(arg) lets the entry go. */
static enum verdict serve(struct exchange *ex, const struct cache_conf *c,
                          const struct cache_entry *e, void (*release)(void *arg), void *arg)
{
    bool unmodified = answers_304(ex, e);
    int64_t age = e->facts.age_s + (ex_wall_ms(ex) - e->facts.stored_ms) / 1000;
    struct str name, value;
    size_t at = 0;

    enum verdict v = reply_shared(ex, unmodified ? 304 : (int)e->facts.status,
                                  unmodified ? STR("") : e->body, release, arg);
    while (entry_header(e, &at, &name, &value)) {
        if (c->hide_cache_headers && cache_header_is_hidden(name))
            continue;
        /* A 304 tells of the body only what finds it again (RFC 9110 §15.4.5). */
        if (unmodified && str_eq_nocase(str_head(name, 8), STR("Content-")) &&
            !str_eq_nocase(name, STR("Content-Location")))
            continue;
        response_header_add(ex, name, value);
    }
    response_header_set(ex, STR("Age"), arena_printf(ex_arena(ex), "%" PRId64, age > 0 ? age : 0));
    show_status(ex, "HIT");
    return v;
}

/* Whether a stored response may be used for this request; else why not. */
static const char *judge(struct exchange *ex, const struct cache_conf *c,
                         const struct cache_facts *facts, const struct cache_control *cc)
{
    int64_t kept = ex_wall_ms(ex) - facts->stored_ms, left = facts->ttl_s * 1000 - kept;
    int64_t age = kept + facts->age_s * 1000;

    if (left <= 0 && (!c->cache_control || cc->max_stale < 0 || facts->never_stale))
        return "EXPIRED";
    if (!c->cache_control)
        return NULL;
    if ((cc->max_age >= 0 && age > cc->max_age * 1000) ||
        (left <= 0 && -left / 1000 >= cc->max_stale) ||
        (cc->min_fresh >= 0 && left < cc->min_fresh * 1000))
        return "STALE";
    return NULL;
}

/* The request goes upstream; the response may be stored. */
static enum verdict miss(struct exchange *ex, const struct cache_conf *c, const char *status,
                         const struct cache_control *cc)
{
    show_status(ex, status);
    if (c->cache_control && cc->only_if_cached)
        return reply_status(ex, 504);
    return NEXT;
}

/* ---- Files, read by a job ---- */

struct load {
    struct cache_zone *zone;
    struct cache_id id;
    uint64_t file;
    size_t borrowed;
    struct cache_entry *entry;
};

static void load_work(void *arg)
{
    struct load *l = arg;

    l->entry = disk_read(l->zone, &l->id, l->file);
    if (l->entry)
        zone_warm(l->zone, &l->id, l->file, l->entry);
}

static void load_free(void *arg)
{
    struct load *l = arg;

    zone_repay(l->zone, l->borrowed);
    entry_put(l->entry);
    free(l);
}

static enum verdict load_start(struct exchange *ex, struct cache_frame *f, struct cache_zone *z,
                               const struct cache_find *found)
{
    struct load *l = mem_zero(sizeof(*l));

    *l = (struct load){
        .zone = z, .id = f->id, .file = found->file, .borrowed = (size_t)found->bytes};
    f->load = l;
    f->at = AT_LOADED;
    job_start(ex, load_work, l, load_free);
    return WAIT;
}

static enum verdict loaded(struct exchange *ex, const struct cache_conf *c, struct cache_frame *f,
                           const struct cache_control *cc)
{
    struct load *l = f->load;

    /* The hash stands for the key; a file may have been put in another's place. */
    if (!l->entry || !str_eq(l->entry->key, f->key)) {
        ex_on_end(ex, load_free, l);
        return miss(ex, c, "MISS", cc);
    }
    f->storable = false;
    /* What was borrowed for it is in use until its last byte is sent. */
    return serve(ex, c, l->entry, load_free, l);
}

/* ---- The phases -------------------------------------------------------------------------------
 */

static enum verdict purge(struct exchange *ex, const struct cache_conf *c, struct cache_frame *f)
{
    struct cache_chores *chores;

    if (!zone_purge(c->zone, f->id.key, &chores))
        return reply_status(ex, 404);
    if (!chores)
        return reply_status(ex, 200);
    /* Answered when the files are gone: a restart must not bring back what was purged. */
    f->at = AT_PURGED;
    job_start(ex, chores_run, chores, NULL);
    return WAIT;
}

static enum verdict look_up(struct exchange *ex, const struct cache_conf *c, struct cache_frame *f,
                            const struct cache_control *cc)
{
    struct cache_find found;

    zone_find(c->zone, f->id.key, f->plain, variant_of, ex, &f->id, &found);
    if (!found.found)
        return miss(ex, c, "MISS", cc);
    const char *why = judge(ex, c, &found.facts, cc);
    if (why) {
        entry_put(found.entry);
        return miss(ex, c, why, cc);
    }
    if (found.entry) {
        f->storable = false;
        return serve(ex, c, found.entry, entry_drop, found.entry);
    }
    if (zone_borrow(c->zone, (size_t)found.bytes))
        return load_start(ex, f, c->zone, &found);
    return miss(ex, c, "MISS", cc);
}

/* Runs before proxy-rewrite, which may replace what the client sent. */
enum verdict cache_rewrite(struct exchange *ex, const void *conf, void *frame)
{
    (void)conf;
    ((struct cache_frame *)frame)->authorization = request_header_all(ex, STR("Authorization"));
    return NEXT;
}

enum verdict cache_access(struct exchange *ex, const void *conf, void *frame)
{
    const struct cache_conf *c = conf;
    struct cache_frame *f = frame;
    struct cache_control cc;
    int method = method_of(ex);

    request_directives(ex, &cc);
    if (f->at == AT_PURGED)
        return reply_status(ex, 200);
    if (f->at == AT_LOADED)
        return loaded(ex, c, f, &cc);
    bool purges = str_eq(request_method(ex), STR("PURGE"));
    if (!purges && (method < 0 || !(c->methods & 1u << method))) {
        show_status(ex, c->strategy == STRATEGY_DISK ? "BYPASS" : "MISS");
        return NEXT;
    }
    if (!make_key(ex, c, f)) {
        show_status(ex, "BYPASS");
        return NEXT;
    }
    f->id.key = hash_str128(f->key);
    f->plain = variant_of(ex, STR(""));
    if (purges)
        return purge(ex, c, f);
    /* What a body asked for is not in the key of a GET. */
    f->storable = method == CACHE_POST || (method == CACHE_GET && !has_body(ex));
    bool refused = c->cache_control && (cc.no_store || cc.no_cache);
    if (refused || cache_parts_say_so(ex, &c->bypass)) {
        /* nginx stores what comes past its cache, APISIX's memory does not. */
        f->storable = f->storable && c->strategy == STRATEGY_DISK && !refused;
        show_status(ex, "BYPASS");
        return NEXT;
    }
    return look_up(ex, c, f, &cc);
}
