/* SPDX-License-Identifier: Apache-2.0 */
/* Section `apisix` of config.yaml: where clients are served, TLS, DNS, encryption. */
#include <unistd.h>

#include "config/fields.h"
#include "config/settings_int.h"

/* APISIX's keyring where none is configured: known to everybody. */
static const char *const public_ring_keys[] = {
    "qeddd145sfvddff3",
    "edd1c9f0985e76a2",
    NULL,
};

/* Adds what is not there yet. */
static bool add_listen(struct loader *l, const char *path, struct str ip, int64_t port, bool tls)
{
    struct settings_address address = {.port = (uint16_t)port, .tls = tls};
    struct settings_address *list = l->listen;
    unsigned n = l->s->nlisten;

    if (!loader_ip(l, path, ip, &address.ip))
        return false;
    for (unsigned i = 0; i < n; i++) {
        if (list[i].port != address.port || !str_eq(list[i].ip, address.ip))
            continue;
        if (list[i].tls == tls)
            return true;
        return loader_fail(l, "%s: port %u is one of apisix.node_listen", path,
                           (unsigned)address.port);
    }
    list[n] = address;
    l->s->nlisten = n + 1;
    return true;
}

static bool add_port(struct loader *l, const char *path, const struct raw_listen *entry, bool ipv6,
                     bool tls)
{
    if (entry->ip.p)
        return add_listen(l, path, entry->ip, entry->port, tls);
    return add_listen(l, path, STR("0.0.0.0"), entry->port, tls) &&
           (!ipv6 || add_listen(l, path, STR("::"), entry->port, tls));
}

/* One entry of node_listen: a port, or an object. */
static bool add_entry(struct loader *l, const json_t *v, bool ipv6)
{
    struct raw_listen entry = {.port = json_is_number(v) ? field_int(v) : 0};

    if (!json_is_number(v) && !fields_parse(&settings_listen_fields, v, &entry, l->arena, &l->err))
        return false;
    return add_port(l, "apisix.node_listen", &entry, ipv6, false);
}

/* Where clients are served over TLS when nobody has said. */
static const struct raw_listen tls_listen = {.port = 9443};

static bool take_listen(struct loader *l, const struct raw_apisix *raw)
{
    const json_t *v = raw->node_listen;
    bool asked = raw->ssl->listen.items != NULL;
    const struct raw_listen *with_tls = asked ? raw->ssl->listen.items : &tls_listen;
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    size_t ntls = !raw->ssl->enable ? 0 : asked ? raw->ssl->listen.n : 1;

    l->s->listen = l->listen = arena_alloc(l->arena, 2 * (n + ntls) * sizeof(*l->listen));
    for (size_t i = 0; i < n; i++)
        if (!add_entry(l, json_is_array(v) ? json_array_get(v, i) : v, raw->enable_ipv6))
            return false;
    unsigned plain = l->s->nlisten;
    for (size_t i = 0; i < ntls; i++)
        if (!add_port(l, "apisix.ssl.listen", &with_tls[i], raw->enable_ipv6, true))
            return false;
    for (unsigned i = plain; i < l->s->nlisten; i++)
        l->listen[i].unasked = !asked;
    return true;
}

/* The control API is on unless it is switched off, the status API where it has an address. */
static bool take_sides(struct loader *l, const struct raw_apisix *raw)
{
    struct settings *s = l->s;

    s->control = (struct settings_side){
        raw->enable_control, raw->control != NULL, {.ip = STR("127.0.0.1"), .port = 9090}};
    s->status = (struct settings_side){.on = raw->status != NULL, .asked = true};
    if (raw->control) {
        s->control.listen.port = (uint16_t)raw->control->port;
        if (!loader_ip(l, "apisix.control.ip", raw->control->ip, &s->control.listen.ip))
            return false;
    }
    if (s->control.on && !settings_is_loopback(s->control.listen.ip))
        log_warn("apisix.control.ip: the control API has no key, and listens on %.*s: whoever "
                 "reaches it may read the configuration",
                 STR_ARG(s->control.listen.ip));
    if (!raw->status)
        return true;
    s->status.listen.port = (uint16_t)raw->status->port;
    return loader_ip(l, "apisix.status.ip", raw->status->ip, &s->status.listen.ip);
}

static bool take_versions(struct loader *l, struct str text, unsigned *out)
{
    static const char *const names[] = {"TLSv1.1", "TLSv1.2", "TLSv1.3"};

    for (struct str rest = text, word; rest.n;) {
        size_t i = 0;
        str_cut(rest, ' ', &word, &rest);
        while (word.n && i < 3 && !str_eq(word, str_of(names[i])))
            i++;
        if (i == 3)
            return loader_fail(l,
                               "apisix.ssl.ssl_protocols: \"%.*s\" is not a version of TLS that is "
                               "spoken here (TLSv1.1, TLSv1.2, TLSv1.3)",
                               STR_ARG(word));
        *out |= word.n ? 1u << i : 0;
    }
    return *out || loader_fail(l, "apisix.ssl.ssl_protocols: no version is named");
}

/* As the name of a client is compared: lower case, without a final dot. */
static struct str lower_name(struct arena *a, struct str name)
{
    char *p = arena_bytes(a, name.n + 1);

    if (name.n > 1 && name.p[name.n - 1] == '.')
        name.n--;
    for (size_t i = 0; i < name.n; i++)
        p[i] = ascii_lower(name.p[i]);
    return str_make(p, name.n);
}

static bool take_ssl(struct loader *l, const struct raw_ssl *raw)
{
    struct settings_ssl *ssl = &l->s->ssl;

    ssl->enabled = raw->enable;
    ssl->ciphers = raw->ciphers;
    ssl->tickets = raw->tickets;
    if (raw->fallback_sni.p)
        ssl->fallback_sni = lower_name(l->arena, raw->fallback_sni);
    return take_versions(l, raw->protocols, &ssl->versions);
}

static bool take_certificate(struct loader *l, struct str path)
{
    if (str_eq(path, STR("system")))
        return true;
    l->s->trusted_certificate = settings_absolute(l->arena, path);
    if (access(l->s->trusted_certificate.p, R_OK) < 0)
        return loader_fail(
            l, "apisix.ssl.ssl_trusted_certificate: certificate path %.*s doesn't exist",
            STR_ARG(l->s->trusted_certificate));
    return true;
}

/* The keys themselves must not be in a message. */
static bool take_encryption(struct loader *l, const struct raw_encryption *raw)
{
    const json_t *v = raw->keyring;
    size_t n = json_is_array(v) ? json_array_size(v) : json_is_string(v);
    struct str *keys = arena_alloc(l->arena, n * sizeof(*keys));

    for (size_t i = 0; i < n; i++) {
        const json_t *key = json_is_array(v) ? json_array_get(v, i) : v;
        keys[i] = arena_str(l->arena, str_make(json_string_value(key), json_string_length(key)));
        if (keys[i].n != 16 && keys[i].n != 32)
            return loader_fail(
                l,
                "apisix.data_encryption.keyring[%zu]: a key has 16 or 32 bytes, this "
                "one %zu",
                i + 1, keys[i].n);
        if (settings_is_one_of(public_ring_keys, keys[i]))
            log_warn("apisix.data_encryption.keyring[%zu]: this key is printed in APISIX's "
                     "documentation and known to everybody",
                     i + 1);
    }
    l->s->encryption = (struct settings_encryption){raw->on, keys, (unsigned)n};
    return true;
}

bool loader_apisix(struct loader *l, const struct raw_apisix *raw)
{
    struct settings *s = l->s;

    if (raw->proxy_mode == 1)
        return loader_fail(l, "apisix.proxy_mode: \"stream\" is not there yet");
    s->stream = raw->proxy_mode == 2;
    if (s->stream)
        log_warn("apisix.proxy_mode: stream routes are kept, but not served yet");
    s->router = (enum router_kind)raw->router->http;
    s->show_upstream_status = raw->show_upstream_status;
    s->secret_ttl_ms = raw->lru->secret->ttl * 1000;
    s->secret_retry_ms = raw->lru->secret->neg_ttl * 1000;
    s->delete_uri_tail_slash = raw->delete_uri_tail_slash;
    s->match_encoded_slash = raw->match_encoded_slash;
    s->strip_path_params = raw->strip_path_params;
    s->post_arg_max = raw->post_arg_max ? (size_t)raw->post_arg_max << 20 : SIZE_MAX;
    s->disable_healthcheck = raw->disable_upstream_healthcheck;
    s->admin.enabled = raw->enable_admin;
    s->dns.servers = raw->dns_resolver.items;
    s->dns.nservers = (unsigned)raw->dns_resolver.n;
    s->dns.valid_ms = raw->dns_resolver_valid * 1000;
    s->dns.ipv6 = raw->enable_ipv6;
    s->dns.search = raw->enable_resolv_search_opt;
    s->trusted_addresses_set = raw->trusted_addresses.items != NULL;
    s->server_header = raw->enable_server_tokens ? STR("Eclusa/" ECLUSA_VERSION) : STR("Eclusa");
    return take_listen(l, raw) && take_sides(l, raw) && take_ssl(l, raw->ssl) &&
           take_encryption(l, raw->encryption) &&
           loader_ms(l, "apisix.resolver_timeout", raw->resolver_timeout, &s->dns.timeout_ms) &&
           loader_cidrs(l, "apisix.trusted_addresses", &raw->trusted_addresses,
                        &s->trusted_addresses) &&
           take_certificate(l, raw->ssl->trusted_certificate);
}

/* A key of our own would lock the others out who share this etcd. */
void loader_public_ring(struct loader *l)
{
    struct str *keys = arena_alloc(l->arena, 2 * sizeof(*keys));

    for (unsigned i = 0; i < 2; i++)
        keys[i] = str_of(public_ring_keys[i]);
    l->s->encryption.keys = keys;
    l->s->encryption.nkeys = 2;
    log_warn("apisix.data_encryption.keyring is not set: secrets in etcd are encrypted with "
             "APISIX's own keys, which are known to everybody");
}
