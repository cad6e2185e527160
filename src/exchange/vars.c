/* SPDX-License-Identifier: Apache-2.0 */
/* The table of variables (inventory §2.3). */
#include "exchange/vars.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "exchange/worker.h"
#include "http/uri.h"

static struct str number(struct exchange *ex, uint64_t v)
{
    char *p = arena_bytes(&ex->arena, 20);

    return str_make(p, h1_write_u64(p, v));
}

static struct str seconds(struct exchange *ex, int64_t us)
{
    if (us < 0)
        us = 0;
    return arena_printf(&ex->arena, "%lld.%03d", (long long)(us / 1000000),
                        (int)(us / 1000 % 1000));
}

/* ---- Connection ---- */

static struct str v_remote_addr(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->client_text;
}

static struct str v_remote_port(struct exchange *ex, struct str arg)
{
    (void)arg;
    return number(ex, sock_addr_port(&ex->client->sa));
}

static struct str v_peer_addr(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->from->client_text;
}

static struct str v_peer_port(struct exchange *ex, struct str arg)
{
    (void)arg;
    return number(ex, sock_addr_port(&ex->from->client->sa));
}

static struct str v_server_addr(struct exchange *ex, struct str arg)
{
    char text[56];

    (void)arg;
    return arena_str(&ex->arena, str_make(text, sock_addr_text(&ex->from->local->sa, text, false)));
}

static struct str v_server_port(struct exchange *ex, struct str arg)
{
    (void)arg;
    return number(ex, sock_addr_port(&ex->from->local->sa));
}

static struct str v_server_name(struct exchange *ex, struct str arg)
{
    (void)ex;
    (void)arg;
    return STR("_");
}

static struct str v_connection(struct exchange *ex, struct str arg)
{
    (void)arg;
    return number(ex, ex->from->connection);
}

static struct str v_connection_requests(struct exchange *ex, struct str arg)
{
    (void)arg;
    return number(ex, ex->from->requests);
}

static struct str v_scheme(struct exchange *ex, struct str arg)
{
    (void)arg;
    return request_scheme(ex);
}

static struct str v_https(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->from->tls ? STR("on") : STR_NONE;
}

/* ---- Request ---- */

static struct str v_host(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->host.p ? ex->host : v_server_name(ex, arg);
}

static struct str v_hostname(struct exchange *ex, struct str arg)
{
    char name[256] = "";

    (void)arg;
    gethostname(name, sizeof(name) - 1);
    return arena_str(&ex->arena, str_of(name));
}

static struct str v_uri(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->path;
}

static struct str v_args(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->req.query.p ? ex->req.query : STR("");
}

static struct str v_is_args(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->req.query.n ? STR("?") : STR("");
}

/* Normalised path and query: what APISIX's plugins see as $request_uri (inventory §2.1). */
static struct str v_request_uri(struct exchange *ex, struct str arg)
{
    (void)arg;
    if (!ex->req.query.p)
        return ex->path;
    return arena_printf(&ex->arena, "%.*s?%.*s", STR_ARG(ex->path), STR_ARG(ex->req.query));
}

static struct str v_real_request_uri(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->req.target;
}

static struct str v_request_line(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->req.line;
}

static struct str v_request_method(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->req.method;
}

static struct str v_server_protocol(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->req.minor ? STR("HTTP/1.1") : STR("HTTP/1.0");
}

static struct str v_request_length(struct exchange *ex, struct str arg)
{
    (void)arg;
    return number(ex, ex->request_bytes ? ex->request_bytes : ex->from->received);
}

static struct str v_request_body(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->body.n ? buf_str(&ex->body) : STR_NONE;
}

/* The name is arg with '_' for '-' and any other odd character (nginx: $http_NAME). */
static const struct header *find_var_header(const struct head *head, struct str arg)
{
    for (unsigned i = 0; i < head->n; i++) {
        const struct header *h = &head->list[i];
        if (h->name_n != arg.n)
            continue;
        size_t j = 0;
        while (j < arg.n) {
            char c = ascii_lower(h->name[j]);
            if (c == '-')
                c = '_';
            if (c != ascii_lower(arg.p[j]))
                break;
            j++;
        }
        if (j == arg.n)
            return h;
    }
    return NULL;
}

static struct str header_var(const struct head *head, struct str arg)
{
    const struct header *h = find_var_header(head, arg);

    return h ? header_str_value(h) : STR_NONE;
}

static struct str v_http_(struct exchange *ex, struct str arg)
{
    return header_var(&ex->req.head, arg);
}

static struct str v_arg_(struct exchange *ex, struct str arg)
{
    return request_arg(ex, arg);
}

static struct str v_cookie_(struct exchange *ex, struct str arg)
{
    return request_cookie(ex, arg);
}

/* One field of a form that was gathered (request_body_start). */
static struct str v_post_arg_(struct exchange *ex, struct str arg)
{
    struct str rest = request_body(ex), key, value;

    while (query_next(&rest, &key, &value))
        if (str_eq(uri_decode(key, &ex->arena, true), arg))
            return value.p ? uri_decode(value, &ex->arena, true) : STR("");
    return STR_NONE;
}

static struct str v_remote_user(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->remote_user;
}

static struct str v_set(struct exchange *ex, struct str arg);

/* The id of the request-id plugin; without it, what the client sent. */
static struct str v_request_id(struct exchange *ex, struct str arg)
{
    struct str id = v_set(ex, STR("apisix_request_id"));

    (void)arg;
    return id.p ? id : request_header(ex, STR("X-Request-Id"));
}

/* ---- Routing ---- */

static struct str v_route_id(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->route ? ex->route->about->id : STR_NONE;
}

static struct str v_route_name(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->route ? ex->route->about->name : STR_NONE;
}

static struct str v_service_id(struct exchange *ex, struct str arg)
{
    const struct service *service = ex->route ? ex->route->about->service : NULL;

    (void)arg;
    return service ? service->id : STR_NONE;
}

static struct str v_service_name(struct exchange *ex, struct str arg)
{
    const struct service *service = ex->route ? ex->route->about->service : NULL;

    (void)arg;
    return service ? service->name : STR_NONE;
}

static struct str v_consumer_name(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->consumer ? ex->consumer->username : STR_NONE;
}

static struct str v_consumer_group_id(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->consumer ? ex->consumer->group_id : STR_NONE;
}

static struct str v_matched_uri(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->route ? route_uri(ex->route) : STR_NONE;
}

/* What the router said of the match: parameters, and three names of its own. */
static struct str v_uri_param_(struct exchange *ex, struct str arg)
{
    const struct snapshot *snap = ex->hold->snapshot;

    if (!ex->route)
        return STR_NONE;
    if (str_eq(arg, STR("_path")))
        return route_uri(ex->route);
    if (str_eq(arg, STR("_method")))
        return ex->req.method;
    if (str_eq(arg, STR("_host")))
        return router_matched_host(snap->router, ex->route, ex->host, ex->req.host);
    return router_param(snap->router, ex->route, exchange_match_path(ex), arg);
}

static struct str v_matched_host(struct exchange *ex, struct str arg)
{
    (void)arg;
    if (!ex->route)
        return STR_NONE;
    return router_matched_host(ex->hold->snapshot->router, ex->route, ex->host, ex->req.host);
}

/* ---- Upstream ---- */

static struct str join(struct exchange *ex, struct str earlier, struct str last)
{
    if (!earlier.n)
        return last;
    if (!last.n)
        return earlier;
    return arena_printf(&ex->arena, "%.*s, %.*s", STR_ARG(earlier), STR_ARG(last));
}

static bool has_answer(const struct exchange *ex)
{
    return ex->header_us != 0;
}

static struct str v_upstream_addr(struct exchange *ex, struct str arg)
{
    (void)arg;
    if (!ex->pool)
        return STR_NONE;
    return join(ex, ex->upstream_addrs,
                has_answer(ex) || !ex->upstream_addrs.n ? pool_addr_text(ex->pool) : STR_NONE);
}

static struct str v_upstream_status(struct exchange *ex, struct str arg)
{
    (void)arg;
    if (!ex->pool)
        return STR_NONE;
    return join(ex, ex->upstream_statuses,
                has_answer(ex) ? number(ex, (uint64_t)ex->upstream_status) : STR_NONE);
}

static struct str v_upstream_response_time(struct exchange *ex, struct str arg)
{
    int64_t end = ex->upstream_end_us ? ex->upstream_end_us : ex->worker->thread.loop.now_us;

    (void)arg;
    if (!ex->pool)
        return STR_NONE;
    return join(ex, ex->upstream_times, has_answer(ex) ? seconds(ex, end - ex->try_us) : STR_NONE);
}

static struct str v_upstream_header_time(struct exchange *ex, struct str arg)
{
    (void)arg;
    return has_answer(ex) ? seconds(ex, ex->header_us - ex->try_us) : STR_NONE;
}

static struct str v_upstream_connect_time(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->connect_us ? seconds(ex, ex->connect_us - ex->try_us) : STR_NONE;
}

static struct str v_upstream_response_length(struct exchange *ex, struct str arg)
{
    (void)arg;
    return has_answer(ex) ? number(ex, ex->upstream_bytes) : STR_NONE;
}

static struct str v_upstream_scheme(struct exchange *ex, struct str arg)
{
    (void)arg;
    if (!ex->upstream)
        return STR("http");
    return (ex->up_tls_set ? ex->up_tls : ex->upstream->tls) ? STR("https") : STR("http");
}

static struct str v_upstream_host(struct exchange *ex, struct str arg)
{
    (void)arg;
    if (ex->up_host_sent.p)
        return ex->up_host_sent;
    return ex->up_host.p ? ex->up_host : ex->req.host;
}

static struct str v_upstream_uri(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->up_uri.p ? ex->up_uri : STR("");
}

static struct str v_upstream_unresolved_host(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->pick.node ? ex->pick.node->host : STR_NONE;
}

static struct str v_balancer_ip(struct exchange *ex, struct str arg)
{
    char text[56];

    (void)arg;
    if (!ex->pool)
        return STR_NONE;
    return arena_str(&ex->arena,
                     str_make(text, sock_addr_text(&pool_addr(ex->pool)->sa, text, false)));
}

static struct str v_balancer_port(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->pool ? number(ex, sock_addr_port(&pool_addr(ex->pool)->sa)) : STR_NONE;
}

static struct str v_upstream_cache_status(struct exchange *ex, struct str arg)
{
    (void)arg;
    return response_header(ex, STR("Apisix-Cache-Status"));
}

static struct str v_upstream_http_(struct exchange *ex, struct str arg)
{
    return ex->ours ? STR_NONE : header_var(&ex->res, arg);
}

/* ---- Response ---- */

static struct str v_status(struct exchange *ex, struct str arg)
{
    (void)arg;
    return number(ex, (uint64_t)ex->status);
}

static struct str v_body_bytes_sent(struct exchange *ex, struct str arg)
{
    (void)arg;
    return number(ex, ex->body_sent);
}

static struct str v_bytes_sent(struct exchange *ex, struct str arg)
{
    (void)arg;
    return number(ex, ex->sent_bytes);
}

static struct str v_sent_http_(struct exchange *ex, struct str arg)
{
    return header_var(&ex->res, arg);
}

static struct str v_request_time(struct exchange *ex, struct str arg)
{
    (void)arg;
    return seconds(ex, ex->worker->thread.loop.now_us - ex->start_us);
}

static struct str v_reason(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->reason ? str_of(reasons[ex->reason].name) : STR_NONE;
}

/* ---- Time ---- */

/* Formatted once a second and thread, since every line of an access log wants it. */
static struct str time_text(struct exchange *ex, struct time_cache *cache, const char *fmt,
                            bool colon)
{
    time_t now = (time_t)(ex->worker->thread.loop.wall_ms / 1000);
    struct tm tm;

    if (cache->second != now) {
        localtime_r(&now, &tm);
        size_t n = strftime(cache->text, sizeof(cache->text) - 1, fmt, &tm);
        if (colon && n > 2) {
            /* ISO 8601 wants +01:00 where strftime gives +0100. */
            memmove(cache->text + n - 1, cache->text + n - 2, 2);
            cache->text[n - 2] = ':';
            n++;
        }
        cache->second = now;
        cache->n = n;
    }
    return arena_str(&ex->arena, str_make(cache->text, cache->n));
}

static struct str v_time_local(struct exchange *ex, struct str arg)
{
    (void)arg;
    return time_text(ex, &ex->worker->time_local, "%d/%b/%Y:%H:%M:%S %z", false);
}

static struct str v_time_iso8601(struct exchange *ex, struct str arg)
{
    (void)arg;
    return time_text(ex, &ex->worker->time_iso8601, "%Y-%m-%dT%H:%M:%S%z", true);
}

static struct str v_msec(struct exchange *ex, struct str arg)
{
    int64_t ms = ex->worker->thread.loop.wall_ms;

    (void)arg;
    return arena_printf(&ex->arena, "%lld.%03d", (long long)(ms / 1000), (int)(ms % 1000));
}

static struct str v_pid(struct exchange *ex, struct str arg)
{
    (void)arg;
    return number(ex, (uint64_t)getpid());
}

/* ---- What plugins give (var_set) ---- */

struct set_var {
    struct set_var *next;
    struct str name, value;
};

void var_set(struct exchange *ex, struct str name, struct str value)
{
    struct set_var *v = arena_alloc(&ex->arena, sizeof(*v));

    *v = (struct set_var){.next = ex->set_vars, .name = name, .value = value};
    ex->set_vars = v;
}

/* Any name that the table does not know: a plugin may have given it a value. */
static struct str v_set(struct exchange *ex, struct str arg)
{
    for (const struct set_var *v = ex->set_vars; v; v = v->next)
        if (str_eq(v->name, arg))
            return v->value;
    return STR_NONE;
}

/* ---- The table ---- */

static const struct {
    const char *name; /* a trailing '_' names a family */
    var_fn *fn;
} table[] = {
    {"remote_addr", v_remote_addr},
    {"remote_port", v_remote_port},
    {"realip_remote_addr", v_peer_addr},
    {"realip_remote_port", v_peer_port},
    {"server_addr", v_server_addr},
    {"server_port", v_server_port},
    {"server_name", v_server_name},
    {"connection", v_connection},
    {"connection_requests", v_connection_requests},
    {"scheme", v_scheme},
    {"https", v_https},
    {"host", v_host},
    {"hostname", v_hostname},
    {"uri", v_uri},
    {"document_uri", v_uri},
    {"args", v_args},
    {"query_string", v_args},
    {"is_args", v_is_args},
    {"request_uri", v_request_uri},
    {"real_request_uri", v_real_request_uri},
    {"request", v_request_line},
    {"request_line", v_request_line},
    {"request_method", v_request_method},
    {"method", v_request_method},
    {"server_protocol", v_server_protocol},
    {"request_length", v_request_length},
    {"request_body", v_request_body},
    {"remote_user", v_remote_user},
    {"request_id", v_request_id},
    {"apisix_request_id", v_request_id},
    {"route_id", v_route_id},
    {"route_name", v_route_name},
    {"service_id", v_service_id},
    {"service_name", v_service_name},
    {"consumer_name", v_consumer_name},
    {"consumer_group_id", v_consumer_group_id},
    {"matched_uri", v_matched_uri},
    {"matched_host", v_matched_host},
    {"upstream_addr", v_upstream_addr},
    {"upstream_status", v_upstream_status},
    {"upstream_response_time", v_upstream_response_time},
    {"apisix_upstream_response_time", v_upstream_response_time},
    {"upstream_header_time", v_upstream_header_time},
    {"upstream_connect_time", v_upstream_connect_time},
    {"upstream_response_length", v_upstream_response_length},
    {"upstream_scheme", v_upstream_scheme},
    {"upstream_host", v_upstream_host},
    {"upstream_uri", v_upstream_uri},
    {"upstream_unresolved_host", v_upstream_unresolved_host},
    {"balancer_ip", v_balancer_ip},
    {"balancer_port", v_balancer_port},
    {"upstream_cache_status", v_upstream_cache_status},
    {"status", v_status},
    {"body_bytes_sent", v_body_bytes_sent},
    {"bytes_sent", v_bytes_sent},
    {"request_time", v_request_time},
    {"eclusa_reason", v_reason},
    {"time_local", v_time_local},
    {"time_iso8601", v_time_iso8601},
    {"msec", v_msec},
    {"pid", v_pid},
    {"uri_param_", v_uri_param_},
    {"http_", v_http_},
    {"arg_", v_arg_},
    {"cookie_", v_cookie_},
    {"post_arg_", v_post_arg_},
    {"sent_http_", v_sent_http_},
    {"upstream_http_", v_upstream_http_},
};

struct var var_find(struct str name, struct arena *a)
{
    (void)a;
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        struct str entry = str_of(table[i].name);
        if (str_eq(entry, name))
            return (struct var){.fn = table[i].fn};
    }
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        struct str entry = str_of(table[i].name);
        if (entry.p[entry.n - 1] == '_' && str_starts(name, entry) && name.n > entry.n)
            return (struct var){.fn = table[i].fn, .arg = str_from(name, entry.n)};
    }
    return (struct var){.fn = v_set, .arg = name};
}
