/* SPDX-License-Identifier: Apache-2.0 */
/* The table of variables (inventory §2.3). */
#include "exchange/vars.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "exchange/worker.h"
#include "http/uri.h"

static struct str number(struct exchange *ex, uint64_t v)
{
    char *p = arena_bytes(&ex->arena, 20);

    return str_make(p, u64_write(p, v));
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

static struct str v_binary_remote_addr(struct exchange *ex, struct str arg)
{
    const struct addr *a = ex->client;

    (void)arg;
    if (a->sa.sa_family == AF_INET)
        return arena_str(&ex->arena, str_make((const char *)&a->in.sin_addr, 4));
    return arena_str(&ex->arena, str_make((const char *)&a->in6.sin6_addr, 16));
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

/* The name is arg with '_' for '-' (nginx: $http_NAME). */
static bool is_var_header(const struct header *h, struct str arg)
{
    if (h->name_n != arg.n)
        return false;
    for (size_t j = 0; j < arg.n; j++) {
        char c = ascii_lower(h->name[j]);
        if ((c == '-' ? '_' : c) != ascii_lower(arg.p[j]))
            return false;
    }
    return true;
}

static const char *separator_of(const struct header *h)
{
    return h->id == HEADER_COOKIE ? "; " : ", ";
}

/* Several of one name are joined, as nginx does since 1.23. */
static struct str header_var(struct exchange *ex, const struct head *head, struct str arg)
{
    struct str all = STR_NONE;

    for (unsigned i = 0; i < head->n; i++) {
        const struct header *h = &head->list[i];
        if (!is_var_header(h, arg))
            continue;
        all = all.p ? arena_printf(&ex->arena, "%.*s%s%.*s", STR_ARG(all), separator_of(h),
                                   STR_ARG(header_str_value(h)))
                    : header_str_value(h);
    }
    return all;
}

static struct str v_http_(struct exchange *ex, struct str arg)
{
    struct str said = header_var(ex, &ex->req.head, arg);

    return said.p ? said : forwarded_seen(ex, arg);
}

static struct str v_content_length(struct exchange *ex, struct str arg)
{
    (void)arg;
    return head_value(&ex->req.head, HEADER_CONTENT_LENGTH);
}

static struct str v_content_type(struct exchange *ex, struct str arg)
{
    (void)arg;
    return head_value(&ex->req.head, HEADER_CONTENT_TYPE);
}

static struct str v_arg_(struct exchange *ex, struct str arg)
{
    return request_arg(ex, arg);
}

static struct str v_cookie_(struct exchange *ex, struct str arg)
{
    return request_cookie(ex, arg);
}

static struct str v_remote_user(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->remote_user;
}

static struct str v_set(struct exchange *ex, struct str arg);

/* 32 hexadecimal digits by chance, the same as often as it is asked for (nginx's own). */
static struct str v_request_id(struct exchange *ex, struct str arg)
{
    static const char digits[] = "0123456789abcdef";
    struct str id = v_set(ex, STR("request_id"));
    unsigned char bytes[16];

    (void)arg;
    if (id.p)
        return id;
    char *text = arena_bytes(&ex->arena, 2 * sizeof(bytes));
    random_bytes(bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    id = str_make(text, 2 * sizeof(bytes));
    var_set(ex, STR("request_id"), id);
    return id;
}

/* That of the request-id plugin, else the same. */
static struct str v_apisix_request_id(struct exchange *ex, struct str arg)
{
    struct str id = v_set(ex, STR("apisix_request_id"));

    return id.p ? id : v_request_id(ex, arg);
}

/* What the client sent under a name that may have been taken away (client.c: drop_claims). */
static struct str v_original_(struct exchange *ex, struct str arg)
{
    struct str said = v_set(ex, arena_join(&ex->arena, STR("original_"), arg));

    return said.p ? said : header_var(ex, &ex->req.head, arg);
}

/* What plugins give their values, and what they are without (APISIX: ngx_tpl.lua). */
static struct str v_plain(struct exchange *ex, struct str arg)
{
    static const struct {
        struct str name, value;
    } plain[] = {
        {{"request_type", 12}, {"traditional_http", 16}},
        {{"request_llm_model", 17}, {"", 0}},
        {{"llm_model", 9}, {"", 0}},
        {{"llm_time_to_first_token", 23}, {"0", 1}},
        {{"llm_prompt_tokens", 17}, {"0", 1}},
        {{"llm_completion_tokens", 21}, {"0", 1}},
        {{"llm_total_tokens", 16}, {"0", 1}},
        {{"llm_stream", 10}, {"false", 5}},
        {{"llm_has_tool_calls", 18}, {"false", 5}},
        {{"llm_tool_count", 14}, {"0", 1}},
        {{"llm_end_user_id", 15}, {"", 0}},
        {{"llm_cache_read_input_tokens", 27}, {"0", 1}},
        {{"llm_cache_creation_input_tokens", 31}, {"0", 1}},
        {{"llm_reasoning_tokens", 20}, {"0", 1}},
        {{"llm_content_risk_level", 22}, {"", 0}},
        {{"rate_limiting_info", 18}, {"", 0}},
        {{"upstream_upgrade", 16}, {"", 0}},
        {{"upstream_connection", 19}, {"", 0}},
        {{"resp_body", 9}, {"", 0}},
    };
    struct str given = v_set(ex, arg);

    for (size_t i = 0; !given.p && i < sizeof(plain) / sizeof(*plain); i++)
        if (str_eq(plain[i].name, arg))
            return plain[i].value;
    return given;
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

/* The list that goes upstream. */
static struct str v_proxy_add_x_forwarded_for(struct exchange *ex, struct str arg)
{
    (void)arg;
    return join(ex, header_var(ex, &ex->req.head, STR("x_forwarded_for")), ex->client_text);
}

/* A cookie that the upstream sets. */
static struct str v_upstream_cookie_(struct exchange *ex, struct str arg)
{
    struct str key, value, pair, rest;

    for (unsigned i = 0; !ex->ours && i < ex->res_received; i++) {
        const struct header *h = &ex->res.list[i];
        if (!str_eq_nocase(header_str_name(h), STR("Set-Cookie")))
            continue;
        str_cut(header_str_value(h), ';', &pair, &rest);
        if (str_cut(pair, '=', &key, &value) && str_eq(str_trim(key), arg))
            return str_trim(value);
    }
    return STR_NONE;
}

static struct str v_upstream_cache_status(struct exchange *ex, struct str arg)
{
    (void)arg;
    return response_header(ex, STR("Apisix-Cache-Status"));
}

static struct str v_upstream_http_(struct exchange *ex, struct str arg)
{
    return ex->ours ? STR_NONE : header_var(ex, &ex->res, arg);
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
    return header_var(ex, &ex->res, arg);
}

static struct str v_request_completion(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->step == STEP_LOG && ex->responded && !ex->reason ? STR("OK") : STR("");
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
    var_make_fn *make; /* NULL: value is there */
    const void *arg;
};

static void add_var(struct exchange *ex, struct set_var var)
{
    struct set_var *v = arena_alloc(&ex->arena, sizeof(*v));

    *v = var;
    v->next = ex->set_vars;
    ex->set_vars = v;
}

void var_set(struct exchange *ex, struct str name, struct str value)
{
    add_var(ex, (struct set_var){.name = name, .value = value});
}

void var_set_made(struct exchange *ex, struct str name, var_make_fn *make, const void *arg)
{
    add_var(ex, (struct set_var){.name = name, .make = make, .arg = arg});
}

/* Any name that the table does not know: a plugin may have given it a value. */
static struct str v_set(struct exchange *ex, struct str arg)
{
    struct set_var *v = ex->set_vars;

    while (v && !str_eq(v->name, arg))
        v = v->next;
    if (!v)
        return STR_NONE;
    if (v->make) {
        v->value = v->make(ex, v->arg);
        v->make = NULL;
    }
    return v->value;
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
    {"ssl_protocol", var_ssl_protocol},
    {"ssl_cipher", var_ssl_cipher},
    {"ssl_server_name", var_ssl_server_name},
    {"ssl_session_reused", var_ssl_session_reused},
    {"ssl_client_verify", var_ssl_client_verify},
    {"ssl_client_s_dn", var_ssl_client_s_dn},
    {"ssl_client_i_dn", var_ssl_client_i_dn},
    {"ssl_client_serial", var_ssl_client_serial},
    {"ssl_client_fingerprint", var_ssl_client_fingerprint},
    {"ssl_client_raw_cert", var_ssl_client_raw_cert},
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
    {"apisix_request_id", v_apisix_request_id},
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
    {"binary_remote_addr", v_binary_remote_addr},
    {"content_length", v_content_length},
    {"content_type", v_content_type},
    {"request_completion", v_request_completion},
    {"proxy_add_x_forwarded_for", v_proxy_add_x_forwarded_for},
    {"upstream_cookie_", v_upstream_cookie_},
    {"uri_param_", v_uri_param_},
    {"original_", v_original_},
    {"http_", v_http_},
    {"arg_", v_arg_},
    {"cookie_", v_cookie_},
    {"sent_http_", v_sent_http_},
    {"upstream_http_", v_upstream_http_},
};

/* Families whose values have types. */
static const struct {
    struct str name;
    value_fn *value;
    enum body_need body;
} typed[] = {
    {{"arg_", 4}, value_arg, BODY_NONE},
    {{"post_arg_", 9}, value_post_arg, BODY_POST_ARG},
    {{"post_arg.", 9}, value_post_path, BODY_POST_ARG},
    {{"graphql_", 8}, value_graphql, BODY_GRAPHQL},
};

/* The entry that a name belongs to, its own or its family's. */
static struct var plain_var(struct str name)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
        if (str_eq(str_of(table[i].name), name))
            return (struct var){.fn = table[i].fn};
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        struct str entry = str_of(table[i].name);
        if (entry.p[entry.n - 1] == '_' && str_starts(name, entry) && name.n > entry.n)
            return (struct var){.fn = table[i].fn, .arg = str_from(name, entry.n)};
    }
    return (struct var){.fn = v_plain, .arg = name};
}

/* Only a path that is more than names between dots is JSONPath. */
static const struct json_path *path_of(struct str arg, struct arena *a)
{
    struct str err;

    if (str_find(arg, '[') < 0 && str_find(arg, '*') < 0 && str_search(arg, STR("..")) < 0)
        return NULL;
    return json_path_compile(arena_join(a, STR("$."), arg), a, &err);
}

struct var var_find(struct str name, struct arena *a)
{
    struct var v = plain_var(name);

    for (size_t i = 0; i < sizeof(typed) / sizeof(*typed); i++) {
        struct str family = typed[i].name;
        if (!str_starts(name, family) || name.n == family.n)
            continue;
        v.value = typed[i].value;
        v.body = typed[i].body;
        v.arg = str_from(name, family.n);
        if (v.value == value_post_path)
            v.path = path_of(v.arg, a);
    }
    return v;
}

struct value var_read(struct exchange *ex, const struct var *v)
{
    if (v->value)
        return v->value(ex, v);
    return (struct value){.text = v->fn(ex, v->arg)};
}

static void free_text(void *arg)
{
    free(arg);
}

struct str var_text(struct exchange *ex, const struct var *v)
{
    if (!v->value)
        return v->fn(ex, v->arg);
    struct value value = v->value(ex, v);
    if (!value.json)
        return value.text;
    if (json_is_number(value.json))
        return arena_printf(&ex->arena, "%.14g", json_number_value(value.json));
    char *text = json_dumps(value.json, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text)
        return STR_NONE;
    arena_on_fini(&ex->arena, free_text, text);
    return str_of(text);
}
