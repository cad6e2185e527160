/* SPDX-License-Identifier: Apache-2.0 */
/* Who the client is: the peer of the connection, or, when the peer is a proxy that may say so, the
 * one whom its header names (nginx: real_ip; APISIX: trusted_addresses). */
#include "base/mem.h"
#include "base/regex.h"
#include "conn/server.h"
#include "exchange/exchange.h"
#include "exchange/worker.h"
#include "http/uri.h"

static bool is_trusted(const struct cidr_list *list, const struct addr *addr)
{
    struct cidr ip;

    return list->n && cidr_of_sockaddr(&addr->sa, &ip) && cidr_list_has(list, &ip);
}

/* "1.2.3.4", "1.2.3.4:80", "::1", "[::1]:80". */
static bool parse_client(struct str text, struct addr *out)
{
    struct str host;
    uint16_t port;

    text = str_trim(text);
    if (addr_parse(text, 0, out))
        return true;
    return uri_host_split(text, &host, &port) && addr_parse(host, port, out);
}

/* A proxy that listens for both families writes "::ffff:1.2.3.4": the client is 1.2.3.4, in lists
 * and as a key too. */
static void unmap(struct addr *addr)
{
    struct sockaddr_in in = {.sin_family = AF_INET};

    if (addr->sa.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&addr->in6.sin6_addr))
        return;
    memcpy(&in.sin_addr, addr->in6.sin6_addr.s6_addr + 12, 4);
    in.sin_port = addr->in6.sin6_port;
    addr->in = in;
}

static void set_client(struct exchange *ex, const struct addr *addr)
{
    struct addr *copy = arena_alloc(&ex->arena, sizeof(*copy));
    char text[56];

    *copy = *addr;
    unmap(copy);
    ex->client = copy;
    ex->client_text = arena_str(&ex->arena, str_make(text, sock_addr_text(&copy->sa, text, false)));
}

bool request_client_set(struct exchange *ex, struct str address)
{
    struct addr addr;

    if (!parse_client(address, &addr))
        return false;
    set_client(ex, &addr);
    return true;
}

/* The last address of the list; with recursive, the last that is not trusted itself. */
static void from_list(struct exchange *ex, struct str value)
{
    const struct worker_config *c = ex->worker->config;
    struct addr addr, found;
    bool any = false;

    while (value.n) {
        ptrdiff_t comma = str_rfind(value, ',');
        struct str last = comma < 0 ? value : str_from(value, (size_t)comma + 1);
        if (!parse_client(last, &addr))
            break;
        found = addr;
        any = true;
        if (!c->real_ip_recursive || !is_trusted(&c->real_ip_from, &addr) || comma < 0)
            break;
        value = str_head(value, (size_t)comma);
    }
    if (any)
        set_client(ex, &found);
}

/* What an untrusted peer says of whom it forwards for is not believed, by plugins neither
 * (inventory §2.6). */
static void drop_claims(struct exchange *ex)
{
    static const struct {
        enum header_id id;
        struct str name; /* of the variable that keeps it */
    } claims[] = {{HEADER_X_FORWARDED_PROTO, {"original_x_forwarded_proto", 26}},
                  {HEADER_X_FORWARDED_HOST, {"original_x_forwarded_host", 25}},
                  {HEADER_X_FORWARDED_PORT, {"original_x_forwarded_port", 25}},
                  {HEADER_FORWARDED, {"original_forwarded", 18}},
                  {HEADER_X_FORWARDED_FOR, {"original_x_forwarded_for", 24}}};
    size_t n = sizeof(claims) / sizeof(*claims) - (ex->worker->config->trusted.n == 0);

    for (size_t i = 0; i < n; i++) {
        if (!ex->req.head.first[claims[i].id])
            continue;
        var_set(ex, claims[i].name, head_value(&ex->req.head, claims[i].id));
        head_remove(&ex->req.head, claims[i].id);
    }
}

void find_client(struct exchange *ex)
{
    const struct worker_config *c = ex->worker->config;
    const struct addr *peer = ex->from->client;
    struct str value;

    ex->client = peer;
    ex->client_text = ex->from->client_text;
    if (c->trusted.n)
        ex->peer_trusted = is_trusted(&c->trusted, peer);
    if (c->real_ip_from.n && c->real_ip_header.n) {
        /* A proxy may put its line behind the client's own. */
        value = is_trusted(&c->real_ip_from, peer) ? request_header_all(ex, c->real_ip_header)
                                                   : STR_NONE;
        if (value.n)
            from_list(ex, value);
    }
    if (!ex->peer_trusted)
        drop_claims(ex);
}

/* ---- Certificates of clients ---- */

static bool is_named(const struct site *site, struct str path)
{
    for (unsigned i = 0; i < site->nskip; i++)
        if (regex_match(site->skip[i], path, 0, NULL) == 1)
            return true;
    return false;
}

/* The upstream gets the path as it came, and may take a `%2F` for no slash: there "/a/..%2Fopen" is
 * below "/a". */
static bool is_skipped(const struct site *site, const struct exchange *ex)
{
    struct str raw = ex->req.path;

    return is_named(site, ex->path) &&
           ((str_search(raw, STR("%2F")) < 0 && str_search(raw, STR("%2f")) < 0) ||
            is_named(site, raw));
}

/* A kept connection that was verified by other authorities than those of now counts for nothing. */
static bool is_verified(const struct tls_peer *peer, const struct site *site)
{
    return peer->cert && peer->verified == X509_V_OK && peer->client.a == site->tls.client.a &&
           peer->client.b == site->tls.client.b;
}

static bool is_mutual(const struct site *site)
{
    return site && site->mutual;
}

enum reason client_tls_check(struct exchange *ex)
{
    const struct snapshot *snap = ex->hold->snapshot;
    const struct tls_peer *peer = ex->from->tls;
    struct str name = peer->name.p ? peer->name : ex->worker->config->fallback_sni;
    const struct site *site = snapshot_site(snap, name);

    if (is_mutual(site) && !is_skipped(site, ex) && !is_verified(peer, site))
        return REASON_MTLS_NOT_VERIFIED;
    /* Routes of `*.a` have hosts of which the certificate for `*.a` is not shown. */
    const struct site *above = snapshot_site_above(snap, ex->host);
    if (is_mutual(above) && (above != site || !str_eq(ex->host, name)))
        return REASON_MTLS_OTHER_NAME;
    return REASON_NONE;
}
