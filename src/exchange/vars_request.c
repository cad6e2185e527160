/* SPDX-License-Identifier: Apache-2.0 */
/* Variables of the request and of the route that it found. */
#include <unistd.h>

#include "base/random.h"
#include "exchange/vars.h"

static struct str v_host(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->host.p ? ex->host : STR("_");
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
    return var_number(ex, ex->request_bytes ? ex->request_bytes : ex->from->received);
}

static struct str v_request_body(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->body.n ? buf_str(&ex->body) : STR_NONE;
}

static struct str v_http_(struct exchange *ex, struct str arg)
{
    struct str said = var_header(ex, &ex->req.head, arg);

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

/* 32 hexadecimal digits by chance, the same as often as it is asked for (nginx's own). */
static struct str v_request_id(struct exchange *ex, struct str arg)
{
    static const char digits[] = "0123456789abcdef";
    struct str id = var_given(ex, STR("request_id"));
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
    struct str id = var_given(ex, STR("apisix_request_id"));

    return id.p ? id : v_request_id(ex, arg);
}

/* What the client sent under a name that may have been taken away (client.c: drop_claims). */
static struct str v_original_(struct exchange *ex, struct str arg)
{
    struct str said = var_given(ex, arena_join(&ex->arena, STR("original_"), arg));

    return said.p ? said : var_header(ex, &ex->req.head, arg);
}

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

const struct var_row vars_request[] = {
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
    {"content_length", v_content_length},
    {"content_type", v_content_type},
    {"uri_param_", v_uri_param_},
    {"original_", v_original_},
    {"http_", v_http_},
    {"arg_", v_arg_},
    {"cookie_", v_cookie_},
    {0},
};
