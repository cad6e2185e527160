/* SPDX-License-Identifier: Apache-2.0 */
/* Variables of the way upstream and of the answer from there. */
#include "exchange/vars.h"
#include "exchange/worker.h"

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
                has_answer(ex) ? var_number(ex, (uint64_t)ex->upstream_status) : STR_NONE);
}

static struct str v_upstream_response_time(struct exchange *ex, struct str arg)
{
    int64_t end = ex->upstream_end_us ? ex->upstream_end_us : ex->worker->thread.loop.now_us;

    (void)arg;
    if (!ex->pool)
        return STR_NONE;
    return join(ex, ex->upstream_times,
                has_answer(ex) ? var_seconds(ex, end - ex->try_us) : STR_NONE);
}

static struct str v_upstream_header_time(struct exchange *ex, struct str arg)
{
    (void)arg;
    return has_answer(ex) ? var_seconds(ex, ex->header_us - ex->try_us) : STR_NONE;
}

static struct str v_upstream_connect_time(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->connect_us ? var_seconds(ex, ex->connect_us - ex->try_us) : STR_NONE;
}

static struct str v_upstream_response_length(struct exchange *ex, struct str arg)
{
    (void)arg;
    return has_answer(ex) ? var_number(ex, ex->upstream_bytes) : STR_NONE;
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
    return ex->pool ? var_number(ex, sock_addr_port(&pool_addr(ex->pool)->sa)) : STR_NONE;
}

/* The list that goes upstream. */
static struct str v_proxy_add_x_forwarded_for(struct exchange *ex, struct str arg)
{
    (void)arg;
    return join(ex, var_header(ex, &ex->req.head, STR("x_forwarded_for")), ex->client_text);
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
    return ex->ours ? STR_NONE : var_header(ex, &ex->res, arg);
}

const struct var_row vars_upstream[] = {
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
    {"proxy_add_x_forwarded_for", v_proxy_add_x_forwarded_for},
    {"upstream_cookie_", v_upstream_cookie_},
    {"upstream_http_", v_upstream_http_},
    {0},
};
