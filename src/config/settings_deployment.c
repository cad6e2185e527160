/* SPDX-License-Identifier: Apache-2.0 */
/* Section `deployment` of config.yaml: roles, stores, the Admin API. */
#include <stdlib.h>

#include "config/settings_int.h"

/* The keys that APISIX's documentation shows (admin and viewer): known to everybody. */
static const char *const public_admin_keys[] = {
    "edd1c9f034335f136f87ad84b625c8f1",
    "4054f7cf07e344346cd3f287985e76a2",
    NULL,
};

static bool is_wildcard(struct str ip)
{
    return str_eq(ip, STR("0.0.0.0")) || str_eq(ip, STR("::"));
}

static bool take_keys(struct loader *l, const struct raw_admin *raw)
{
    const struct raw_admin_key *from = raw->keys.items;
    struct settings_admin *admin = &l->s->admin;
    struct settings_admin_key *keys = arena_alloc(l->arena, (raw->keys.n + 1) * sizeof(*keys));

    admin->keys = keys;
    for (size_t i = 0; i < raw->keys.n; i++) {
        /* APISIX ships its file with an empty key, which asks for one to be made. */
        if (from[i].key.n == 0) {
            if (from[i].role != 0)
                return loader_fail(
                    l, "deployment.admin.admin_key[%zu]: a viewer's key may not be empty", i + 1);
            continue;
        }
        if (admin->enabled && settings_is_one_of(public_admin_keys, from[i].key) &&
            !settings_is_loopback(admin->listen.ip))
            return loader_fail(
                l,
                "deployment.admin.admin_key[%zu]: this key is printed in APISIX's "
                "documentation and known to everybody; it is accepted only when the Admin "
                "API listens on a loopback address, and deployment.admin.admin_listen.ip "
                "is %.*s. Set a key of your own, or none to have one made",
                i + 1, STR_ARG(admin->listen.ip));
        keys[admin->nkeys++] = (struct settings_admin_key){from[i].name, from[i].key,
                                                           from[i].role == 1};
    }
    admin->key_generated = admin->enabled && admin->key_required && admin->nkeys == 0;
    /* A viewer alone could never change anything; the empty admin key beside it asks for more. */
    for (size_t i = 0; i < raw->keys.n; i++)
        if (from[i].key.n == 0 && admin->enabled && admin->key_required)
            admin->key_generated = true;
    return true;
}

static bool check_ports(struct loader *l)
{
    const struct settings *s = l->s;

    if (!s->admin.enabled)
        return true;
    for (unsigned i = 0; i < s->nlisten; i++)
        if (s->listen[i].port == s->admin.listen.port &&
            (str_eq(s->listen[i].ip, s->admin.listen.ip) || is_wildcard(s->listen[i].ip) ||
             is_wildcard(s->admin.listen.ip)))
            return loader_fail(l,
                               "http listen port %u conflicts with deployment.admin.admin_listen",
                               (unsigned)s->listen[i].port);
    return true;
}

/* An empty path is none, as in the file that APISIX ships. */
static struct str path_or_none(struct str path)
{
    return path.n ? path : STR_NONE;
}

static bool take_admin_tls(struct loader *l, const struct raw_admin *raw)
{
    struct settings_admin *admin = &l->s->admin;
    struct str cert = path_or_none(raw->tls->cert), key = path_or_none(raw->tls->key);

    if (!raw->https || !admin->enabled)
        return true;
    if (!cert.p || !key.p)
        return loader_fail(l, "deployment.admin.https_admin: missing ssl cert for https admin "
                              "(admin_api_mtls.admin_ssl_cert and admin_ssl_cert_key)");
    return loader_file(l, "deployment.admin.admin_api_mtls.admin_ssl_cert", cert, &admin->cert) &&
           loader_file(l, "deployment.admin.admin_api_mtls.admin_ssl_cert_key", key, &admin->key) &&
           loader_file(l, "deployment.admin.admin_api_mtls.admin_ssl_ca_cert",
                       path_or_none(raw->tls->ca), &admin->ca);
}

static bool take_admin(struct loader *l, const struct raw_admin *raw)
{
    struct settings_admin *admin = &l->s->admin;

    admin->v3 = str_eq(raw->api_version, STR("v3"));
    admin->key_required = raw->key_required;
    admin->cors = raw->cors;
    admin->listen.port = (uint16_t)raw->listen->port;
    if (!loader_ip(l, "deployment.admin.admin_listen.ip", raw->listen->ip, &admin->listen.ip) ||
        !loader_cidrs(l, "deployment.admin.allow_admin", &raw->allow, &admin->allow) ||
        !take_keys(l, raw) || !check_ports(l) || !take_admin_tls(l, raw))
        return false;
    if (admin->enabled && !admin->key_required && !settings_is_loopback(admin->listen.ip))
        log_warn("deployment.admin.admin_key_required is false and the Admin API listens on %.*s: "
                 "whoever allow_admin lets in may change everything",
                 STR_ARG(admin->listen.ip));
    return true;
}

/* Which store each role may have, in the order of enum settings_provider; and what APISIX has, or
 * people try, with the reason why it is not to be had. */
static const struct {
    const char *name, *otherwise; /* the default */
    bool may[4];
    const char *why;
} roles[] = {
    [ROLE_TRADITIONAL] = {"traditional",
                          NULL,
                          {true, true, true, false},
                          "only \"sqlite\" (the embedded store), \"etcd\" and \"yaml\" are"},
    [ROLE_CONTROL_PLANE] = {"control_plane",
                            "etcd",
                            {false, true, false, false},
                            "only \"etcd\" is: data planes read there what a control plane writes"},
    [ROLE_DATA_PLANE] = {"data_plane",
                         "etcd",
                         {false, true, true, true},
                         "only \"etcd\", \"yaml\" and \"json\" are: a data plane has no Admin API "
                         "to fill a store of its own; \"traditional\" has"},
};
static const char *const provider_names[] = {"sqlite", "etcd", "yaml", "json"};

/* Whoever names etcd means it (APISIX: etcd is the default). */
static struct str provider_otherwise(struct loader *l)
{
    const json_t *deployment = json_object_get(l->s->document, "deployment");

    if (roles[l->s->role].otherwise)
        return str_of(roles[l->s->role].otherwise);
    return json_object_get(deployment, "etcd") || getenv("APISIX_DEPLOYMENT_ETCD_HOST")
               ? STR("etcd")
               : STR("sqlite");
}

static bool take_role(struct loader *l, struct str name)
{
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
        if (str_eq(name, str_of(roles[i].name))) {
            l->s->role = (enum settings_role)i;
            return true;
        }
    return loader_fail(l,
                       "deployment.role: \"%.*s\" is not one of \"traditional\", \"control_plane\" "
                       "and \"data_plane\"",
                       STR_ARG(name));
}

static bool take_provider(struct loader *l, const struct raw_deployment *raw)
{
    const struct raw_role *const given[] = {raw->traditional, raw->control_plane, raw->data_plane};
    struct settings *s = l->s;

    if (!take_role(l, raw->role))
        return false;
    struct str name = given[s->role]->provider;
    if (!name.p)
        name = provider_otherwise(l);
    size_t i = 0;
    while (i < 4 && !(str_eq(name, str_of(provider_names[i])) && roles[s->role].may[i]))
        i++;
    if (i == 4)
        return loader_fail(l, "deployment.role_%s.config_provider: \"%.*s\" is not to be had; %s",
                           roles[s->role].name, STR_ARG(name), roles[s->role].why);
    s->provider = (enum settings_provider)i;
    if (s->role == ROLE_DATA_PLANE)
        s->admin.enabled = false;
    if (s->role == ROLE_TRADITIONAL && s->provider == PROVIDER_YAML && s->admin.enabled)
        s->provider = PROVIDER_API;
    if (s->role != ROLE_CONTROL_PLANE)
        return true;
    s->nlisten = 0;
    return s->admin.enabled ||
           loader_fail(l, "deployment.role: a control plane without the Admin API "
                          "(apisix.enable_admin) has nothing to do");
}

/* The environment goes first (APISIX: cli/file.lua). */
static bool take_hosts(struct loader *l, const struct raw_etcd *raw)
{
    const char *name = "APISIX_DEPLOYMENT_ETCD_HOST", *env = getenv(name);
    json_t *list = env ? json_loads(env, 0, NULL) : NULL;
    size_t n = json_array_size(list);
    struct str *hosts = arena_alloc(l->arena, (n + 1) * sizeof(*hosts));
    bool good = !env || n > 0;

    for (size_t i = 0; i < n && good; i++) {
        const char *host = json_string_value(json_array_get(list, i));
        good = host && (strncmp(host, "http://", 7) == 0 || strncmp(host, "https://", 8) == 0);
        hosts[i] = arena_str(l->arena, str_of(host));
    }
    json_decref(list);
    l->s->etcd.hosts = env ? hosts : raw->host.items;
    l->s->etcd.nhosts = (unsigned)(env ? n : raw->host.n);
    if (!good)
        return loader_fail(l, "environment variable %s: not a JSON list of URLs", name);
    return true;
}

static bool take_etcd(struct loader *l, const struct raw_etcd *raw)
{
    struct settings_etcd *etcd = &l->s->etcd;

    if (l->s->provider != PROVIDER_ETCD)
        return true;
    etcd->prefix = raw->prefix;
    etcd->user = raw->user;
    etcd->password = raw->password;
    etcd->timeout_ms = raw->timeout * 1000;
    etcd->watch_ms = raw->watch_timeout * 1000;
    etcd->resync_ms = raw->resync_delay * 1000;
    etcd->sick_ms = raw->health_check_timeout * 1000;
    etcd->tries = (unsigned)raw->startup_retry;
    etcd->sni = raw->tls->sni;
    etcd->verify = raw->tls->verify;
    if (!raw->tls->cert.p != !raw->tls->key.p)
        return loader_fail(l, "deployment.etcd.tls: cert and key go together");
    if (l->s->encryption.on && l->s->encryption.nkeys == 0)
        loader_public_ring(l);
    return take_hosts(l, raw) &&
           loader_file(l, "deployment.etcd.tls.cert", raw->tls->cert, &etcd->cert) &&
           loader_file(l, "deployment.etcd.tls.key", raw->tls->key, &etcd->key);
}

bool loader_deployment(struct loader *l, const struct raw_deployment *raw)
{
    return take_provider(l, raw) && take_etcd(l, raw->etcd) && take_admin(l, raw->admin);
}
