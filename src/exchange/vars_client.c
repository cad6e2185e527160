/* SPDX-License-Identifier: Apache-2.0 */
/* Variables of the client and its connection. */
#include "exchange/vars.h"

static struct str v_remote_addr(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->client_text;
}

static struct str v_remote_port(struct exchange *ex, struct str arg)
{
    (void)arg;
    return var_number(ex, sock_addr_port(&ex->client->sa));
}

static struct str v_peer_addr(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->from->client_text;
}

static struct str v_peer_port(struct exchange *ex, struct str arg)
{
    (void)arg;
    return var_number(ex, sock_addr_port(&ex->from->client->sa));
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
    return var_number(ex, sock_addr_port(&ex->from->local->sa));
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
    return var_number(ex, ex->from->connection);
}

static struct str v_connection_requests(struct exchange *ex, struct str arg)
{
    (void)arg;
    return var_number(ex, ex->from->requests);
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

const struct var_row vars_client[] = {
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
    {"binary_remote_addr", v_binary_remote_addr},
    {0},
};
