/* SPDX-License-Identifier: Apache-2.0 */
/* plugin.h: the request as plugins see and change it. */
#include "base/encode.h"
#include "base/panic.h"
#include "exchange/exchange.h"
#include "exchange/worker.h"
#include "http/uri.h"

struct arena *ex_arena(struct exchange *ex)
{
    return &ex->arena;
}

int64_t ex_wall_ms(const struct exchange *ex)
{
    return ex->worker->thread.loop.wall_ms;
}

int64_t ex_now_ms(const struct exchange *ex)
{
    return ex->worker->thread.loop.now_ms;
}

struct str request_method(const struct exchange *ex)
{
    return ex->req.method;
}

struct str request_path(const struct exchange *ex)
{
    return ex->path;
}

struct str request_args(const struct exchange *ex)
{
    return ex->req.query;
}

struct str request_target(const struct exchange *ex)
{
    return ex->req.target;
}

struct str request_host(const struct exchange *ex)
{
    return ex->host;
}

struct str request_scheme(const struct exchange *ex)
{
    return ex->from->tls ? STR("https") : STR("http");
}

struct str request_client(const struct exchange *ex)
{
    return ex->client_text;
}

/* ---- Headers
 * -------------------------------------------------------------------------------------- */

struct str request_header(const struct exchange *ex, struct str name)
{
    const struct header *h = head_find_name(&ex->req.head, name);

    return h ? header_str_value(h) : STR_NONE;
}

bool request_header_at(const struct exchange *ex, size_t i, struct str *name, struct str *value)
{
    if (i >= ex->req.head.n)
        return false;
    *name = header_str_name(&ex->req.head.list[i]);
    *value = header_str_value(&ex->req.head.list[i]);
    return true;
}

struct str request_header_all(struct exchange *ex, struct str name)
{
    const struct head *head = &ex->req.head;
    const struct header *first = head_find_name(head, name);
    struct str all = first ? header_str_value(first) : STR_NONE;

    for (const struct header *h = first; h && ++h < head->list + head->n;)
        if (str_eq_nocase(header_str_name(h), name))
            all = arena_join(&ex->arena, arena_join(&ex->arena, all, STR(", ")),
                             header_str_value(h));
    return all;
}

/* What a plugin sets must not be able to split a head. */
static bool header_ok(struct exchange *ex, struct str name, struct str value)
{
    if (h1_token_ok(name) && h1_value_ok(value))
        return true;
    ex_log(ex, LOG_WARN, "header \"%.*s\" not set: its name or value is malformed", STR_ARG(name));
    return false;
}

void request_header_set(struct exchange *ex, struct str name, struct str value)
{
    if (header_ok(ex, name, value))
        head_set(&ex->req.head, &ex->arena, name, value);
}

void request_header_add(struct exchange *ex, struct str name, struct str value)
{
    if (header_ok(ex, name, value))
        head_add(&ex->req.head, &ex->arena, header_id(name), name, value);
}

void request_header_remove(struct exchange *ex, struct str name)
{
    _Static_assert(HEADER_COUNT <= 64, "a bit for each");
    head_remove_name(&ex->req.head, name);
    ex->unsaid |= UINT64_C(1) << header_id(name);
    ex->req_hidden = true;
}

struct str request_cookie(struct exchange *ex, struct str name)
{
    const struct head *head = &ex->req.head;

    if (!head->first[HEADER_COOKIE])
        return STR_NONE;
    for (unsigned i = head->first[HEADER_COOKIE] - 1u; i < head->n; i++) {
        if (head->list[i].id != HEADER_COOKIE || !head->list[i].name_n)
            continue;
        struct str rest = header_str_value(&head->list[i]), pair, key, value;
        while (rest.p && rest.n) {
            struct str after;
            str_cut(rest, ';', &pair, &after);
            rest = after;
            if (str_cut(str_trim(pair), '=', &key, &value) && str_eq(key, name))
                return value;
        }
    }
    return STR_NONE;
}

/* ---- Query
 * ------------------------------------------------------------------------------------------ */

static bool name_is(struct exchange *ex, struct str raw, struct str name)
{
    if (str_eq(raw, name))
        return true;
    return (str_find(raw, '%') >= 0 || str_find(raw, '+') >= 0) &&
           str_eq(uri_decode(raw, &ex->arena, true), name);
}

struct str request_arg(struct exchange *ex, struct str name)
{
    struct str rest = ex->req.query, key, value;

    while (query_next(&rest, &key, &value)) {
        if (!name_is(ex, key, name))
            continue;
        if (!value.p)
            return STR("");
        if (str_find(value, '%') < 0 && str_find(value, '+') < 0)
            return value;
        return uri_decode(value, &ex->arena, true);
    }
    return STR_NONE;
}

unsigned request_arg_count(struct exchange *ex, struct str name)
{
    struct str rest = ex->req.query, key, value;
    unsigned n = 0;

    while (query_next(&rest, &key, &value))
        n += name_is(ex, key, name);
    return n;
}

/* The query of the upstream's URI, without the argument. */
void request_arg_remove(struct exchange *ex, struct str name)
{
    struct str uri = upstream_uri(ex), path, rest, key, value;

    if (!str_cut(uri, '?', &path, &rest))
        return;
    char *p = arena_bytes(&ex->arena, uri.n + 1);
    memcpy(p, path.p, path.n);
    size_t from = path.n + 1, n = from; /* the query begins behind its '?' */
    while (query_next(&rest, &key, &value)) {
        if (name_is(ex, key, name))
            continue;
        size_t pair = value.p ? (size_t)(value.p + value.n - key.p) : key.n;
        if (n > from)
            p[n++] = '&';
        else
            p[from - 1] = '?';
        memcpy(p + n, key.p, pair);
        n += pair;
    }
    ex->req.query = n > from ? str_make(p + from, n - from) : STR_NONE;
    ex->up_uri = n > from ? str_make(p, n) : path;
}

/* ---- What goes upstream
 * -------------------------------------------------------------------------------- */

void upstream_uri_set(struct exchange *ex, struct str uri)
{
    if (!uri.n || uri.p[0] != '/')
        uri = arena_join(&ex->arena, STR("/"), uri);
    /* A control byte or a space would end the request line: they are coded. */
    ex->up_uri = encode_target(&ex->arena, uri);
}

struct str upstream_uri(const struct exchange *ex)
{
    return ex->up_uri.p ? ex->up_uri : ex->req.target;
}

void upstream_method_set(struct exchange *ex, struct str method)
{
    if (h1_token_ok(method))
        ex->up_method = method;
}

void upstream_host_set(struct exchange *ex, struct str host)
{
    if (h1_value_ok(host))
        ex->up_host = host;
}

bool upstream_scheme_set(struct exchange *ex, struct str scheme)
{
    bool tls = str_eq(scheme, STR("https"));

    if (!tls && !str_eq(scheme, STR("http")))
        return false;
    ex->up_tls_set = true;
    ex->up_tls = tls;
    return true;
}

struct str request_body(const struct exchange *ex)
{
    return ex->body_replaced ? ex->new_body : buf_str(&ex->body);
}

void request_body_set(struct exchange *ex, struct str body)
{
    ex->new_body = body;
    ex->body_replaced = true;
}

/* ---- Consumers
 * ------------------------------------------------------------------------------------------ */

const struct consumer *consumer_find(struct exchange *ex, const char *plugin, struct str key,
                                     const void **conf)
{
    const struct credential *c = snapshot_credential(ex->hold->snapshot, plugin, key);

    const struct consumer *owner = c ? snapshot_owner(ex->hold->snapshot, c) : NULL;

    ex->found = owner ? c : NULL;
    if (owner)
        *conf = c->conf;
    return owner;
}

const struct consumer *consumer_by_name(struct exchange *ex, struct str username)
{
    ex->found = NULL; /* no credential was proved */
    return snapshot_consumer(ex->hold->snapshot, username);
}

const struct consumer *consumer_anonymous(struct exchange *ex, const char *plugin,
                                          struct str username)
{
    const struct consumer *who = consumer_by_name(ex, username);

    if (!who)
        ex_log(ex, LOG_ERROR,
               "%s failed to authenticate the request, code: 401. error: failed to get anonymous "
               "consumer %.*s",
               plugin, STR_ARG(username));
    return who;
}

struct str consumer_name(const struct consumer *c)
{
    return c->username;
}

static void identity_header(struct exchange *ex, struct str name, struct str value)
{
    head_remove_name(&ex->req.head, name);
    if (value.n)
        head_add(&ex->req.head, &ex->arena, HEADER_OTHER, name, value); /* head.lost is looked at */
}

/* Inventory §2.6: what the client sent under these names is never believed. */
void consumer_attach(struct exchange *ex, const struct consumer *c)
{
    bool by_credential = ex->found && str_eq(ex->found->username, c->username);

    ex->consumer = c;
    identity_header(ex, STR("X-Consumer-Username"), c->username);
    identity_header(ex, STR("X-Credential-Identifier"), by_credential ? ex->found->id : STR_NONE);
    identity_header(ex, STR("X-Consumer-Custom-ID"), c->custom_id);
}

const void *plugin_metadata(const struct exchange *ex, const char *plugin)
{
    return snapshot_metadata(ex->hold->snapshot, plugin);
}

const struct consumer *ex_consumer(const struct exchange *ex)
{
    return ex->consumer;
}
