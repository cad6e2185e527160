/* SPDX-License-Identifier: Apache-2.0 */
/* Reads config.yaml and turns it into struct settings; refuses what cannot work or is not safe. */
#include "config/settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/units.h"
#include "config/fields.h"
#include "config/fields_int.h"
#include "config/settings_int.h"
#include "config/yaml.h"

enum { FILE_MAX = 1 << 20, WORKERS_MAX = 1024 };

static const int64_t MS_MAX = 31536000000; /* a year */

/* The keys that APISIX's documentation shows (admin and viewer): known to everybody. */
static const char *const public_admin_keys[] = {
    "edd1c9f034335f136f87ad84b625c8f1",
    "4054f7cf07e344346cd3f287985e76a2",
    NULL,
};

/* Those of its keyring, which it uses where none is configured. */
static const char *const public_ring_keys[] = {
    "qeddd145sfvddff3",
    "edd1c9f0985e76a2",
    NULL,
};

struct loader {
    struct settings *s;
    struct arena *arena;
    struct settings_address *listen; /* s->listen, while it grows */
    struct str err;
};

static bool load_fail(struct loader *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static bool load_fail(struct loader *l, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    l->err = arena_vprintf(l->arena, fmt, ap);
    va_end(ap);
    return false;
}

/* ---- Values with units, addresses, paths ------------------------------------------------------
 */

static bool take_ms(struct loader *l, const char *path, struct str text, int64_t *out)
{
    if (!units_ms(text, out) || *out > MS_MAX)
        return load_fail(l,
                         "%s: \"%.*s\" is not a duration (seconds, or a number with a unit such as "
                         "10ms, 60s, 2m, 1h; a year at most)",
                         path, STR_ARG(text));
    return true;
}

static bool take_bytes(struct loader *l, const char *path, struct str text, int64_t min,
                       int64_t max, int64_t *out)
{
    if (!units_bytes(text, out))
        return load_fail(l,
                         "%s: \"%.*s\" is not a size (bytes, or a number with a unit: 16k, 1m, 1g)",
                         path, STR_ARG(text));
    if (*out < min || *out > max)
        return load_fail(l, "%s: \"%.*s\" is not between %lld and %lld bytes", path, STR_ARG(text),
                         (long long)min, (long long)max);
    return true;
}

static bool take_size(struct loader *l, const char *path, struct str text, int64_t min, int64_t max,
                      size_t *out)
{
    int64_t v;

    if (!take_bytes(l, path, text, min, max, &v))
        return false;
    *out = (size_t)v;
    return true;
}

static bool take_cidrs(struct loader *l, const char *path, const struct field_list *texts,
                       struct cidr_list *out)
{
    const struct str *text = texts->items;
    struct cidr *items = arena_alloc(l->arena, texts->n * sizeof(*items));
    unsigned n = 0;

    for (size_t i = 0; i < texts->n; i++) {
        /* nginx's name for peers on Unix sockets, which do not exist here. */
        if (str_eq(text[i], STR("unix:")))
            continue;
        if (!cidr_parse(text[i], &items[n++]))
            return load_fail(l, "%s[%zu]: \"%.*s\" is neither an address nor a network", path,
                             i + 1, STR_ARG(text[i]));
    }
    *out = (struct cidr_list){items, n};
    return true;
}

static bool take_ip(struct loader *l, const char *path, struct str text, struct str *out)
{
    unsigned char address[sizeof(struct in6_addr)];
    char canonical[INET6_ADDRSTRLEN];
    int family;

    if (text.n > 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
        text = str_make(text.p + 1, text.n - 2);
    if (str_eq(text, STR("localhost")))
        text = STR("127.0.0.1");
    text = arena_str(l->arena, text);
    family = str_find(text, ':') >= 0 ? AF_INET6 : AF_INET;
    if (inet_pton(family, text.p, address) != 1 ||
        !inet_ntop(family, address, canonical, sizeof(canonical)))
        return load_fail(l, "%s: \"%.*s\" is not an IP address", path, STR_ARG(text));
    *out = arena_str(l->arena, str_of(canonical));
    return true;
}

static bool is_loopback(struct str ip)
{
    return str_starts(ip, STR("127.")) || str_eq(ip, STR("::1"));
}

static bool is_wildcard(struct str ip)
{
    return str_eq(ip, STR("0.0.0.0")) || str_eq(ip, STR("::"));
}

/* Relative paths are relative to the working directory, which may change later. */
static struct str absolute(struct arena *a, struct str path)
{
    char here[PATH_MAX];

    if (path.n == 0 || path.p[0] == '/' || !getcwd(here, sizeof(here)))
        return arena_str(a, path);
    return arena_printf(a, "%s/%.*s", here, STR_ARG(path));
}

static bool switch_value(const json_t *v)
{
    return json_is_true(v) || (json_is_string(v) && strcmp(json_string_value(v), "on") == 0);
}

/* ---- apisix -----------------------------------------------------------------------------------
 */

/* Adds what is not there yet. */
static bool add_listen(struct loader *l, const char *path, struct str ip, int64_t port, bool tls)
{
    struct settings_address address = {.port = (uint16_t)port, .tls = tls};
    struct settings_address *list = l->listen;
    unsigned n = l->s->nlisten;

    if (!take_ip(l, path, ip, &address.ip))
        return false;
    for (unsigned i = 0; i < n; i++) {
        if (list[i].port != address.port || !str_eq(list[i].ip, address.ip))
            continue;
        if (list[i].tls == tls)
            return true;
        return load_fail(l, "%s: port %u is one of apisix.node_listen", path,
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
    struct raw_listen entry = {.port = json_integer_value(v)};

    if (json_is_real(v))
        entry.port = (int64_t)json_real_value(v);
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
        if (!take_ip(l, "apisix.control.ip", raw->control->ip, &s->control.listen.ip))
            return false;
    }
    if (s->control.on && !is_loopback(s->control.listen.ip))
        log_warn("apisix.control.ip: the control API has no key, and listens on %.*s: whoever "
                 "reaches it may read the configuration",
                 STR_ARG(s->control.listen.ip));
    if (!raw->status)
        return true;
    s->status.listen.port = (uint16_t)raw->status->port;
    return take_ip(l, "apisix.status.ip", raw->status->ip, &s->status.listen.ip);
}

static void take_protocols(struct loader *l, const struct raw_xrpc *raw)
{
    const struct raw_xrpc_protocol *from = raw->protocols.items;
    struct str *names = arena_alloc(l->arena, (raw->protocols.n + 1) * sizeof(*names));

    for (size_t i = 0; i < raw->protocols.n; i++)
        names[i] = from[i].name;
    l->s->protocols = names;
    l->s->nprotocols = (unsigned)raw->protocols.n;
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
            return load_fail(l,
                             "apisix.ssl.ssl_protocols: \"%.*s\" is not a version of TLS that is "
                             "spoken here (TLSv1.1, TLSv1.2, TLSv1.3)",
                             STR_ARG(word));
        *out |= word.n ? 1u << i : 0;
    }
    return *out || load_fail(l, "apisix.ssl.ssl_protocols: no version is named");
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
    l->s->trusted_certificate = absolute(l->arena, path);
    if (access(l->s->trusted_certificate.p, R_OK) < 0)
        return load_fail(l,
                         "apisix.ssl.ssl_trusted_certificate: certificate path %.*s doesn't exist",
                         STR_ARG(l->s->trusted_certificate));
    return true;
}

static bool is_one_of(const char *const *known, struct str key)
{
    for (; *known; known++)
        if (str_eq(key, str_of(*known)))
            return true;
    return false;
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
            return load_fail(l,
                             "apisix.data_encryption.keyring[%zu]: a key has 16 or 32 bytes, this "
                             "one %zu",
                             i + 1, keys[i].n);
        if (is_one_of(public_ring_keys, keys[i]))
            log_warn("apisix.data_encryption.keyring[%zu]: this key is printed in APISIX's "
                     "documentation and known to everybody",
                     i + 1);
    }
    l->s->encryption = (struct settings_encryption){raw->on, keys, (unsigned)n};
    return true;
}

static bool take_apisix(struct loader *l, const struct raw_apisix *raw)
{
    struct settings *s = l->s;

    if (raw->proxy_mode == 1)
        return load_fail(l, "apisix.proxy_mode: \"stream\" is not there yet");
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
           take_ms(l, "apisix.resolver_timeout", raw->resolver_timeout, &s->dns.timeout_ms) &&
           take_cidrs(l, "apisix.trusted_addresses", &raw->trusted_addresses,
                      &s->trusted_addresses) &&
           take_certificate(l, raw->ssl->trusted_certificate);
}

/* ---- nginx_config -----------------------------------------------------------------------------
 */

/* CPUs that this process may use. */
static unsigned cpu_count(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return 1;
    return (unsigned)CPU_COUNT(&set);
}

static bool take_workers(struct loader *l, struct str text, bool dev_mode)
{
    const char *path = "nginx_config.worker_processes", *env = getenv("APISIX_WORKER_PROCESSES");
    uint64_t n;

    if (env && *env) {
        path = "environment variable APISIX_WORKER_PROCESSES";
        text = str_of(env);
    }
    if (dev_mode)
        n = 1;
    else if (str_eq(text, STR("auto")))
        n = cpu_count();
    else if (!str_to_u64(text, WORKERS_MAX, &n) || n == 0)
        return load_fail(l, "%s: \"%.*s\" is neither \"auto\" nor a number from 1 to %d", path,
                         STR_ARG(text), WORKERS_MAX);
    l->s->workers = (unsigned)n;
    return true;
}

static bool take_log(struct loader *l, const struct raw_nginx *raw, const struct raw_eclusa *own)
{
    struct settings_log *log = &l->s->log;
    struct str file = raw->http->access_log;

    if (!str_eq(raw->error_log, STR("stderr")))
        log->error_file = absolute(l->arena, raw->error_log);
    log->error_level = (enum log_level)raw->error_log_level;
    log->access = raw->http->enable_access_log && !str_eq(file, STR("off"));
    log->access_file = file.p ? absolute(l->arena, file)
                              : arena_printf(l->arena, "%s/logs/access.log", l->s->data_dir.p);
    log->access_format = raw->http->access_log_format;
    log->access_escape = (unsigned)raw->http->escape;
    return take_size(l, "nginx_config.http.access_log_buffer", raw->http->access_log_buffer, 0,
                     1 << 30, &log->access_buffer) &&
           take_ms(l, "eclusa.access_log_flush", own->access_log_flush, &log->access_flush_ms);
}

static bool take_http(struct loader *l, const struct raw_http *raw)
{
    struct settings_http *http = &l->s->http;

    http->underscores = switch_value(raw->underscores);
    http->real_ip_header = raw->real_ip_header;
    http->real_ip_recursive = switch_value(raw->real_ip_recursive);
    l->s->keepalive_size = (unsigned)raw->upstream->size;
    l->s->keepalive_requests = (unsigned)raw->upstream->requests;
#define KEY(name) "nginx_config.http." #name, raw->name
    return take_ms(l, KEY(keepalive_timeout), &http->keepalive_ms) &&
           take_ms(l, KEY(client_header_timeout), &http->header_ms) &&
           take_ms(l, KEY(client_body_timeout), &http->body_ms) &&
           take_ms(l, KEY(send_timeout), &http->send_ms) &&
           take_bytes(l, KEY(client_max_body_size), 0, INT64_MAX, &http->max_body) &&
           take_ms(l, "nginx_config.http.upstream.keepalive_timeout", raw->upstream->timeout,
                   &l->s->keepalive_idle_ms) &&
           take_cidrs(l, "nginx_config.http.real_ip_from", &raw->real_ip_from, &http->real_ip_from);
#undef KEY
}

static bool take_nginx(struct loader *l, const struct raw_settings *raw)
{
    l->s->max_open_files = (unsigned)raw->nginx->rlimit_nofile;
    return take_workers(l, raw->nginx->worker_processes, raw->apisix->enable_dev_mode) &&
           take_ms(l, "nginx_config.worker_shutdown_timeout", raw->nginx->shutdown_timeout,
                   &l->s->shutdown_ms) &&
           take_http(l, raw->nginx->http) && take_log(l, raw->nginx, raw->eclusa);
}

/* ---- deployment -------------------------------------------------------------------------------
 */

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
                return load_fail(
                    l, "deployment.admin.admin_key[%zu]: a viewer's key may not be empty", i + 1);
            continue;
        }
        if (admin->enabled && is_one_of(public_admin_keys, from[i].key) &&
            !is_loopback(admin->listen.ip))
            return load_fail(
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
            return load_fail(l, "http listen port %u conflicts with deployment.admin.admin_listen",
                             (unsigned)s->listen[i].port);
    return true;
}

static bool take_file(struct loader *l, const char *path, struct str file, struct str *out)
{
    if (!file.p)
        return true;
    *out = absolute(l->arena, file);
    if (access(out->p, R_OK) < 0)
        return load_fail(l, "%s: %.*s cannot be read", path, STR_ARG(*out));
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
        return load_fail(l, "deployment.admin.https_admin: missing ssl cert for https admin "
                            "(admin_api_mtls.admin_ssl_cert and admin_ssl_cert_key)");
    return take_file(l, "deployment.admin.admin_api_mtls.admin_ssl_cert", cert, &admin->cert) &&
           take_file(l, "deployment.admin.admin_api_mtls.admin_ssl_cert_key", key, &admin->key) &&
           take_file(l, "deployment.admin.admin_api_mtls.admin_ssl_ca_cert",
                     path_or_none(raw->tls->ca), &admin->ca);
}

static bool take_admin(struct loader *l, const struct raw_admin *raw)
{
    struct settings_admin *admin = &l->s->admin;

    admin->v3 = str_eq(raw->api_version, STR("v3"));
    admin->key_required = raw->key_required;
    admin->cors = raw->cors;
    admin->listen.port = (uint16_t)raw->listen->port;
    if (!take_ip(l, "deployment.admin.admin_listen.ip", raw->listen->ip, &admin->listen.ip) ||
        !take_cidrs(l, "deployment.admin.allow_admin", &raw->allow, &admin->allow) ||
        !take_keys(l, raw) || !check_ports(l) || !take_admin_tls(l, raw))
        return false;
    if (admin->enabled && !admin->key_required && !is_loopback(admin->listen.ip))
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
    return load_fail(l,
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
        return load_fail(l, "deployment.role_%s.config_provider: \"%.*s\" is not to be had; %s",
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
           load_fail(l, "deployment.role: a control plane without the Admin API "
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
        return load_fail(l, "environment variable %s: not a JSON list of URLs", name);
    return true;
}

/* A key of our own would lock the others out who share this etcd. */
static void take_public_ring(struct loader *l)
{
    struct str *keys = arena_alloc(l->arena, 2 * sizeof(*keys));

    for (unsigned i = 0; i < 2; i++)
        keys[i] = str_of(public_ring_keys[i]);
    l->s->encryption.keys = keys;
    l->s->encryption.nkeys = 2;
    log_warn("apisix.data_encryption.keyring is not set: secrets in etcd are encrypted with "
             "APISIX's own keys, which are known to everybody");
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
        return load_fail(l, "deployment.etcd.tls: cert and key go together");
    if (l->s->encryption.on && l->s->encryption.nkeys == 0)
        take_public_ring(l);
    return take_hosts(l, raw) &&
           take_file(l, "deployment.etcd.tls.cert", raw->tls->cert, &etcd->cert) &&
           take_file(l, "deployment.etcd.tls.key", raw->tls->key, &etcd->key);
}

static bool take_deployment(struct loader *l, const struct raw_deployment *raw)
{
    return take_provider(l, raw) && take_etcd(l, raw->etcd) && take_admin(l, raw->admin);
}

/* ---- eclusa, plugins --------------------------------------------------------------------------
 */

static bool take_eclusa(struct loader *l, const struct raw_eclusa *raw)
{
    struct settings *s = l->s;

    s->verify_upstreams = raw->upstream_tls_verify;
    s->http.max_headers = (unsigned)raw->max_headers;
    s->history.changes = raw->history->changes;
    if (raw->server_header.p)
        s->server_header = raw->server_header;
    return take_size(l, "eclusa.max_header_bytes", raw->max_header_bytes, 1024, 1 << 20,
                     &s->http.max_header_bytes) &&
           take_size(l, "eclusa.max_uri_bytes", raw->max_uri_bytes, 64,
                     (int64_t)s->http.max_header_bytes, &s->http.max_uri_bytes) &&
           take_size(l, "eclusa.request_buffer_bytes", raw->request_buffer_bytes, 0, 64 << 20,
                     &s->http.request_buffer) &&
           take_ms(l, "eclusa.history.age", raw->history->age, &s->history.age_ms);
}

/* The section as plugins see it: what is not set in proxy_cache is as APISIX has it, but for the
 * folder, which there is one name in /tmp for all instances and users. */
static void fill_proxy_cache(struct loader *l, json_t *document)
{
    json_t *apisix = json_object_get(document, "apisix"), *cache;
    struct str path = arena_printf(l->arena, "%s/disk_cache_one", l->s->data_dir.p);

    if (!json_is_object(apisix)) {
        apisix = json_object();
        json_object_set_new(document, "apisix", apisix);
    }
    cache = json_object_get(apisix, "proxy_cache");
    if (!json_is_object(cache)) {
        cache = json_object();
        json_object_set_new(apisix, "proxy_cache", cache);
    }
    if (!json_object_get(cache, "cache_ttl"))
        json_object_set_new(cache, "cache_ttl", json_string("10s"));
    if (json_object_get(cache, "zones"))
        return;
    /* A working directory whose name is not UTF-8 cannot be told in JSON. */
    json_t *zones = json_pack("[{ss,ss,ss,ss#,ss},{ss,ss}]", "name", "disk_cache_one",
                              "memory_size", "50m", "disk_size", "1G", "disk_path", path.p,
                              (int)path.n, "cache_levels", "1:2", "name", "memory_cache",
                              "memory_size", "50m");
    if (zones)
        json_object_set_new(cache, "zones", zones);
    else
        log_warn("apisix.proxy_cache: no default zones, eclusa.data_dir is not valid UTF-8");
}

bool settings_has_plugin(const struct settings *s, struct str name)
{
    for (unsigned i = 0; i < s->nplugins; i++)
        if (str_eq(s->plugins[i], name))
            return true;
    return !s->plugins_set;
}

/* ---- The file ---------------------------------------------------------------------------------
 */

/* A key without a value is as good as none. */
static void drop_nulls(json_t *v)
{
    const char *key;
    json_t *value;
    void *next;
    size_t i;

    json_array_foreach(v, i, value) drop_nulls(value);
    json_object_foreach_safe(v, next, key, value)
    {
        if (json_is_null(value))
            json_object_del(v, key);
        else
            drop_nulls(value);
    }
}

static void warn_unknown(void *arg, struct str path)
{
    (void)arg;
    for (const char *const *key = settings_idle_keys; *key; key++)
        if (str_eq(path, str_of(*key))) {
            log_warn("config: %.*s is known to APISIX but has no effect here yet", STR_ARG(path));
            return;
        }
    log_warn("config: %.*s is not a known key", STR_ARG(path));
}

static void warn_etcd(const json_t *document, const struct raw_deployment *raw)
{
    if (json_object_get(json_object_get(document, "deployment"), "etcd") &&
        str_eq(raw->role, STR("traditional")) && str_eq(raw->traditional->provider, STR("sqlite")))
        log_warn("config: deployment.etcd has no effect: "
                 "deployment.role_traditional.config_provider is sqlite");
}

/* What resources may hold must not be taken for a key or a role here. */
static bool check_references(struct loader *l, json_t *v, const char *name)
{
    const char *key;
    json_t *value;
    size_t i;

    if (field_is_reference(v))
        return load_fail(l,
                         "%s: \"%s\" is not resolved in this file; write ${{VAR}} for an "
                         "environment variable",
                         name, json_string_value(v));
    json_array_foreach(v, i, value) if (!check_references(l, value, name)) return false;
    json_object_foreach(v, key, value) if (!check_references(l, value, key)) return false;
    return true;
}

static bool take_order(struct loader *l, const struct field_list *order,
                       struct settings_discovery *out)
{
    const int *words = order->items;
    size_t srv = SIZE_MAX, addrs = SIZE_MAX;

    out->order = DISCOVER_SRV_ADDRS;
    if (!words)
        return true;
    out->ipv6 = false;
    for (size_t i = 0; i < order->n; i++) {
        out->ipv6 |= words[i] == ORDER_AAAA;
        if (words[i] == ORDER_SRV)
            srv = i;
        else if ((words[i] == ORDER_A || words[i] == ORDER_AAAA) && addrs == SIZE_MAX)
            addrs = i;
    }
    if (srv == SIZE_MAX && addrs == SIZE_MAX)
        return load_fail(l, "discovery.dns.order: names neither SRV nor A nor AAAA");
    if (addrs == SIZE_MAX)
        out->order = DISCOVER_SRV;
    else if (srv == SIZE_MAX)
        out->order = DISCOVER_ADDRS;
    else
        out->order = srv < addrs ? DISCOVER_SRV_ADDRS : DISCOVER_ADDRS_SRV;
    return true;
}

static bool take_discovery(struct loader *l, const struct raw_discovery *raw)
{
    struct settings_discovery *d = &l->s->discovery;

    if (!raw || !raw->dns)
        return true;
    d->on = true;
    d->ipv6 = l->s->dns.ipv6;
    d->servers = raw->dns->servers.items;
    d->nservers = (unsigned)raw->dns->servers.n;
    if (raw->dns->resolv_conf.p) {
        d->resolv_conf = absolute(l->arena, raw->dns->resolv_conf);
        if (access(d->resolv_conf.p, R_OK) < 0)
            return load_fail(l, "discovery.dns.resolv_conf: %.*s cannot be read",
                             STR_ARG(d->resolv_conf));
    }
    return take_order(l, &raw->dns->order, d);
}

static bool take_document(struct loader *l, json_t *document)
{
    struct settings *s = l->s;
    struct raw_settings raw;

    if (!check_references(l, document, "config"))
        return false;
    if (!fields_parse(&settings_fields, document, &raw, l->arena, &l->err))
        return load_fail(l, "failed to validate config: %.*s", STR_ARG(l->err));
    fields_unknown(&settings_fields, document, warn_unknown, NULL);
    warn_etcd(document, raw.deployment);
    take_protocols(l, raw.xrpc);
    s->data_dir = absolute(l->arena, raw.eclusa->data_dir);
    if (raw.deployment->admin->ui)
        s->admin.ui_dir = absolute(l->arena, raw.eclusa->admin_ui_dir);
    s->graphql_max = (size_t)raw.graphql->max_size;
    s->plugins = raw.plugins.items;
    s->nplugins = (unsigned)raw.plugins.n;
    s->plugins_set = raw.plugins.items != NULL;
    if (!take_apisix(l, raw.apisix) || !take_nginx(l, &raw) ||
        !take_deployment(l, raw.deployment) || !take_eclusa(l, raw.eclusa) ||
        !take_discovery(l, raw.discovery))
        return false;
    fill_proxy_cache(l, document);
    s->plugin_attr = json_object_get(document, "plugin_attr");
    s->apisix = json_object_get(document, "apisix");
    s->eclusa = json_object_get(document, "eclusa");
    return true;
}

struct settings *settings_parse(struct str yaml, struct arena *a, struct str *err)
{
    struct loader l = {.arena = a};
    json_t *document = yaml_parse(yaml, a, err);

    if (!document)
        return NULL;
    if (json_is_null(document)) {
        json_decref(document);
        document = json_object();
    }
    document = settings_substitute(document, a, err);
    if (!document)
        return NULL;
    drop_nulls(document);
    l.s = arena_zero(a, sizeof(*l.s));
    l.s->document = document;
    if (take_document(&l, document))
        return l.s;
    settings_free(l.s);
    *err = l.err;
    return NULL;
}

void settings_free(struct settings *s)
{
    json_decref(s->document);
    s->document = NULL;
    s->plugin_attr = s->apisix = s->eclusa = NULL;
}

/* The whole file in `out`; false with errno. */
static bool read_file(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 1;
    char *room;

    if (fd < 0)
        return false;
    while (n > 0) {
        room = buf_room(out, 16384);
        n = room ? read(fd, room, 16384) : -1;
        if (n > 0)
            out->n += (size_t)n;
        else if (!room)
            errno = EFBIG;
    }
    int error = errno;
    close(fd);
    errno = error;
    return n == 0;
}

struct settings *settings_load(struct str path, struct arena *a, struct str *err)
{
    struct str file = absolute(a, path.p ? path : STR("conf/config.yaml"));
    struct settings *s = NULL;
    struct buf text;

    buf_init(&text, FILE_MAX);
    if (read_file(file.p, &text)) {
        s = settings_parse(buf_str(&text), a, err);
        if (s)
            s->path = file;
        else
            *err = arena_printf(a, "%.*s: %.*s", STR_ARG(file), STR_ARG(*err));
    } else if (!path.p && errno == ENOENT) {
        s = settings_parse(STR(""), a, err);
    } else {
        *err = arena_printf(a, "%.*s: %s", STR_ARG(file), strerror(errno));
    }
    buf_fini(&text);
    return s;
}
