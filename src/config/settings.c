/* SPDX-License-Identifier: Apache-2.0 */
/* Reads config.yaml and turns it into struct settings; refuses what cannot work or is not safe. The
 * larger sections are in settings_*.c. */
#include "config/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "config/fields.h"
#include "config/fields_int.h"
#include "config/settings_int.h"
#include "config/yaml.h"

enum { FILE_MAX = 1 << 20, WORKERS_MAX = 1024 };

/* ---- nginx_config -----------------------------------------------------------------------------
 */

static bool switch_value(const json_t *v)
{
    return json_is_true(v) || (json_is_string(v) && strcmp(json_string_value(v), "on") == 0);
}

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
        return loader_fail(l, "%s: \"%.*s\" is neither \"auto\" nor a number from 1 to %d", path,
                           STR_ARG(text), WORKERS_MAX);
    l->s->workers = (unsigned)n;
    return true;
}

static bool take_log(struct loader *l, const struct raw_nginx *raw, const struct raw_eclusa *own)
{
    struct settings_log *log = &l->s->log;
    struct str file = raw->http->access_log;

    if (!str_eq(raw->error_log, STR("stderr")))
        log->error_file = settings_absolute(l->arena, raw->error_log);
    log->error_level = (enum log_level)raw->error_log_level;
    log->access = raw->http->enable_access_log && !str_eq(file, STR("off"));
    log->access_file = file.p ? settings_absolute(l->arena, file)
                              : arena_printf(l->arena, "%s/logs/access.log", l->s->data_dir.p);
    log->access_format = raw->http->access_log_format;
    log->access_escape = (unsigned)raw->http->escape;
    return loader_size(l, "nginx_config.http.access_log_buffer", raw->http->access_log_buffer, 0,
                       1 << 30, &log->access_buffer) &&
           loader_ms(l, "eclusa.access_log_flush", own->access_log_flush, &log->access_flush_ms);
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
    return loader_ms(l, KEY(keepalive_timeout), &http->keepalive_ms) &&
           loader_ms(l, KEY(client_header_timeout), &http->header_ms) &&
           loader_ms(l, KEY(client_body_timeout), &http->body_ms) &&
           loader_ms(l, KEY(send_timeout), &http->send_ms) &&
           loader_bytes(l, KEY(client_max_body_size), 0, INT64_MAX, &http->max_body) &&
           loader_ms(l, "nginx_config.http.upstream.keepalive_timeout", raw->upstream->timeout,
                     &l->s->keepalive_idle_ms) &&
           loader_cidrs(l, "nginx_config.http.real_ip_from", &raw->real_ip_from,
                        &http->real_ip_from);
#undef KEY
}

static bool take_nginx(struct loader *l, const struct raw_settings *raw)
{
    l->s->max_open_files = (unsigned)raw->nginx->rlimit_nofile;
    return take_workers(l, raw->nginx->worker_processes, raw->apisix->enable_dev_mode) &&
           loader_ms(l, "nginx_config.worker_shutdown_timeout", raw->nginx->shutdown_timeout,
                     &l->s->shutdown_ms) &&
           take_http(l, raw->nginx->http) && take_log(l, raw->nginx, raw->eclusa);
}

/* ---- eclusa, plugins --------------------------------------------------------------------------
 */

static void take_protocols(struct loader *l, const struct raw_xrpc *raw)
{
    const struct raw_xrpc_protocol *from = raw->protocols.items;
    struct str *names = arena_alloc(l->arena, (raw->protocols.n + 1) * sizeof(*names));

    for (size_t i = 0; i < raw->protocols.n; i++)
        names[i] = from[i].name;
    l->s->protocols = names;
    l->s->nprotocols = (unsigned)raw->protocols.n;
}

static bool take_eclusa(struct loader *l, const struct raw_eclusa *raw)
{
    struct settings *s = l->s;

    s->verify_upstreams = raw->upstream_tls_verify;
    s->http.max_headers = (unsigned)raw->max_headers;
    s->history.changes = raw->history->changes;
    if (raw->server_header.p)
        s->server_header = raw->server_header;
    return loader_size(l, "eclusa.max_header_bytes", raw->max_header_bytes, 1024, 1 << 20,
                       &s->http.max_header_bytes) &&
           loader_size(l, "eclusa.max_uri_bytes", raw->max_uri_bytes, 64,
                       (int64_t)s->http.max_header_bytes, &s->http.max_uri_bytes) &&
           loader_size(l, "eclusa.request_buffer_bytes", raw->request_buffer_bytes, 0, 64 << 20,
                       &s->http.request_buffer) &&
           loader_ms(l, "eclusa.history.age", raw->history->age, &s->history.age_ms);
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
        return loader_fail(l,
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
        return loader_fail(l, "discovery.dns.order: names neither SRV nor A nor AAAA");
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
        d->resolv_conf = settings_absolute(l->arena, raw->dns->resolv_conf);
        if (access(d->resolv_conf.p, R_OK) < 0)
            return loader_fail(l, "discovery.dns.resolv_conf: %.*s cannot be read",
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
        return loader_fail(l, "failed to validate config: %.*s", STR_ARG(l->err));
    fields_unknown(&settings_fields, document, warn_unknown, NULL);
    warn_etcd(document, raw.deployment);
    take_protocols(l, raw.xrpc);
    s->data_dir = settings_absolute(l->arena, raw.eclusa->data_dir);
    if (raw.deployment->admin->ui)
        s->admin.ui_dir = settings_absolute(l->arena, raw.eclusa->admin_ui_dir);
    s->graphql_max = (size_t)raw.graphql->max_size;
    s->plugins = raw.plugins.items;
    s->nplugins = (unsigned)raw.plugins.n;
    s->plugins_set = raw.plugins.items != NULL;
    if (!loader_apisix(l, raw.apisix) || !take_nginx(l, &raw) ||
        !loader_deployment(l, raw.deployment) || !take_eclusa(l, raw.eclusa) ||
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
    struct str file = settings_absolute(a, path.p ? path : STR("conf/config.yaml"));
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
