/* SPDX-License-Identifier: Apache-2.0 */
/* config.yaml: defaults, forms that values may have, what is refused and with which words, what
 * warns, variables, and the Admin API's key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "config/settings.c"
#include "loop/tls_server.h"

#include <stdio.h>
#include <sys/stat.h>

static char folder[] = "/tmp/eclusa-settings-XXXXXX";

/* ---- Helpers ----------------------------------------------------------------------------------
 */

static struct buf logged;

static void sink(enum log_level level, struct str line)
{
    (void)level;
    if (!buf_add(&logged, line) || !buf_add(&logged, STR("\n")))
        fail_msg("too much in the log");
}

static void log_clear(void)
{
    buf_fini(&logged);
}

static bool log_has(const char *text)
{
    return str_search(buf_str(&logged), str_of(text)) >= 0;
}

struct loaded {
    struct arena arena;
    struct settings *s;
};

static void load(struct loaded *l, const char *yaml)
{
    struct str err;

    arena_init(&l->arena, NULL);
    l->s = settings_parse(str_of(yaml), &l->arena, &err);
    if (!l->s)
        fail_msg("%s\nrefused: %.*s", yaml, STR_ARG(err));
}

static void unload(struct loaded *l)
{
    settings_free(l->s);
    arena_fini(&l->arena);
}

static void refuse(const char *yaml, const char *expected)
{
    struct arena a;
    struct str err = STR_NONE;

    arena_init(&a, NULL);
    if (settings_parse(str_of(yaml), &a, &err))
        fail_msg("%s\naccepted, but expected: %s", yaml, expected);
    if (!str_eq(err, str_of(expected)))
        fail_msg("%s\n  got      %.*s\n  expected %s", yaml, STR_ARG(err), expected);
    arena_fini(&a);
}

static void assert_str(struct str s, const char *expected)
{
    if (!s.p || !str_eq(s, str_of(expected)))
        fail_msg("got '%.*s', expected '%s'", STR_ARG(s), expected);
}

static void assert_path(struct str s, const char *relative)
{
    char here[PATH_MAX], expected[PATH_MAX + 64];

    assert_non_null(getcwd(here, sizeof(here)));
    snprintf(expected, sizeof(expected), "%s/%s", here, relative);
    assert_str(s, expected);
}

/* ---- Values -----------------------------------------------------------------------------------
 */

static void check_default_limits(const struct settings *s)
{
    assert_int_equal(s->http.keepalive_ms, 60000);
    assert_int_equal(s->http.header_ms, 60000);
    assert_int_equal(s->http.body_ms, 60000);
    assert_int_equal(s->http.send_ms, 10000);
    assert_int_equal(s->http.max_body, 0);
    assert_int_equal(s->http.max_header_bytes, 32768);
    assert_int_equal(s->http.max_headers, 100);
    assert_int_equal(s->http.max_uri_bytes, 16384);
    assert_int_equal(s->http.request_buffer, 65536);
    assert_true(s->http.underscores);
    assert_str(s->http.real_ip_header, "X-Real-IP");
    assert_int_equal(s->http.real_ip_from.n, 1);
    assert_false(s->http.real_ip_recursive);

    assert_int_equal(s->dns.nservers, 0);
    assert_int_equal(s->dns.valid_ms, 0);
    assert_int_equal(s->dns.timeout_ms, 5000);
    assert_true(s->dns.ipv6);
}

static void test_defaults(void **state)
{
    struct loaded l;

    (void)state;
    log_clear();
    load(&l, "# nothing\n");
    const struct settings *s = l.s;
    assert_int_equal(s->nlisten, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_str(s->listen[i].ip, i % 2 ? "::" : "0.0.0.0");
        assert_int_equal(s->listen[i].port, i < 2 ? 9080 : 9443);
        assert_int_equal(s->listen[i].tls, i >= 2);
    }
    assert_true(s->ssl.enabled && !s->ssl.tickets && !s->ssl.fallback_sni.p);
    assert_int_equal(s->ssl.versions, TLS_V1_2 | TLS_V1_3);
    assert_true(str_starts(s->ssl.ciphers, STR("ECDHE-ECDSA-AES128-GCM-SHA256:")));
    assert_int_equal(s->workers, cpu_count());
    assert_int_equal(s->shutdown_ms, 240000);
    assert_int_equal(s->max_open_files, 20480);
    assert_path(s->data_dir, "data");
    assert_null(s->path.p);
    assert_true(s->admin.enabled);
    assert_str(s->admin.listen.ip, "127.0.0.1");
    assert_int_equal(s->admin.listen.port, 9180);
    assert_true(s->admin.key_required);
    assert_int_equal(s->admin.nkeys, 0);
    assert_true(s->admin.key_generated);
    assert_true(s->admin.cors);
    assert_str(s->admin.ui_dir, "/usr/share/eclusa/ui");
    assert_int_equal(s->admin.allow.n, 2);

    assert_null(s->log.error_file.p);
    assert_int_equal(s->log.error_level, LOG_WARN);
    assert_true(s->log.access);
    assert_path(s->log.access_file, "data/logs/access.log");
    assert_int_equal(s->log.access_buffer, 16384);
    assert_int_equal(s->log.access_flush_ms, 3000);
    assert_int_equal(s->log.access_escape, ESCAPE_DEFAULT);
    assert_str(s->log.access_format,
               "$remote_addr - $remote_user [$time_local] $http_host \"$request\" $status "
               "$body_bytes_sent $request_time \"$http_referer\" \"$http_user_agent\" "
               "$upstream_addr $upstream_status $upstream_response_time "
               "\"$upstream_scheme://$upstream_host$upstream_uri\" \"$apisix_request_id\"");

    check_default_limits(s);
    assert_str(s->server_header, "Eclusa/" ECLUSA_VERSION);
    assert_false(s->show_upstream_status);
    assert_false(s->delete_uri_tail_slash);
    assert_int_equal(s->router, ROUTER_HOST_URI);
    assert_true(s->verify_upstreams);
    assert_null(s->trusted_certificate.p);
    assert_false(s->trusted_addresses_set);
    assert_int_equal(s->keepalive_size, 320);
    assert_int_equal(s->keepalive_requests, 1000);
    assert_int_equal(s->keepalive_idle_ms, 60000);
    assert_true(settings_has_plugin(s, STR("any")));
    assert_null(s->plugin_attr);
    assert_null(s->eclusa);
    const json_t *zones = json_object_get(json_object_get(s->apisix, "proxy_cache"), "zones");
    assert_int_equal(json_array_size(zones), 2);
    assert_path(str_of(json_string_value(json_object_get(json_array_get(zones, 0), "disk_path"))),
                "data/disk_cache_one");
    assert_int_equal(logged.n, 0);
    unload(&l);
}

static const char everything[] =
    "apisix:\n"
    "  node_listen: [{ip: '[::1]', port: 1}, 2, {port: 3}, {ip: 127.0.0.2}, 2]\n"
    "  enable_ipv6: false\n"
    "  enable_server_tokens: no\n"
    "  enable_dev_mode: true\n"
    "  show_upstream_status_in_response_header: true\n"
    "  delete_uri_tail_slash: true\n"
    "  router: {http: radixtree_uri}\n"
    "  proxy_cache:\n"
    "    zones: [{name: z, memory_size: 1m}]\n"
    "  dns_resolver: [1.1.1.1, '8.8.8.8:53']\n"
    "  dns_resolver_valid: 30\n"
    "  resolver_timeout: 0.25\n"
    "  trusted_addresses: [10.0.0.0/8, '::1']\n"
    "  ssl:\n"
    "    listen: [{port: 4}, {ip: 127.0.0.2, port: 5}, {ip: '127.0.0.2', port: 5}]\n"
    "    ssl_protocols: ' TLSv1.1  TLSv1.3'\n"
    "    ssl_ciphers: HIGH\n"
    "    ssl_session_tickets: true\n"
    "    fallback_sni: Example.COM.\n"
    "nginx_config:\n"
    "  error_log: logs/error.log\n"
    "  error_log_level: debug\n"
    "  worker_shutdown_timeout: 1m30s\n"
    "  worker_rlimit_nofile: 1000\n"
    "  http:\n"
    "    access_log: /var/log/a.log\n"
    "    access_log_buffer: 16k\n"
    "    access_log_format: '$remote_addr'\n"
    "    access_log_format_escape: json\n"
    "    keepalive_timeout: 0\n"
    "    client_header_timeout: 10ms\n"
    "    client_body_timeout: 2m\n"
    "    client_max_body_size: 1G\n"
    "    send_timeout: 7\n"
    "    underscores_in_headers: off\n"
    "    real_ip_header: X-Forwarded-For\n"
    "    real_ip_recursive: 'on'\n"
    "    real_ip_from: ['unix:', 10.0.0.0/8, fe80::/10]\n"
    "    upstream: {keepalive: 5, keepalive_requests: 6, keepalive_timeout: 7s}\n"
    "deployment:\n"
    "  role: traditional\n"
    "  role_traditional: {config_provider: sqlite}\n"
    "  admin:\n"
    "    admin_key_required: true\n"
    "    admin_key: [{name: a, key: k1, role: admin}, {name: b, key: 123, role: viewer}]\n"
    "    enable_admin_cors: false\n"
    "    allow_admin: [0.0.0.0/0]\n"
    "    admin_listen: {ip: 0.0.0.0, port: 9999}\n"
    "plugins: [key-auth, cors]\n"
    "plugin_attr: {x: {y: 1}}\n"
    "eclusa:\n"
    "  data_dir: /srv/e\n"
    "  admin_ui_dir: /srv/ui\n"
    "  upstream_tls_verify: false\n"
    "  server_header: mine\n"
    "  max_header_bytes: 64k\n"
    "  max_headers: 50\n"
    "  max_uri_bytes: 65536\n"
    "  request_buffer_bytes: 1m\n"
    "  access_log_flush: 100ms\n";

static void check_nginx_config(const struct settings *s)
{
    assert_path(s->log.error_file, "logs/error.log");
    assert_int_equal(s->log.error_level, LOG_DEBUG);
    assert_int_equal(s->shutdown_ms, 90000);
    assert_int_equal(s->max_open_files, 1000);
    assert_str(s->log.access_file, "/var/log/a.log");
    assert_int_equal(s->log.access_buffer, 16384);
    assert_str(s->log.access_format, "$remote_addr");
    assert_int_equal(s->log.access_escape, ESCAPE_JSON);
    assert_int_equal(s->log.access_flush_ms, 100);
    assert_int_equal(s->http.keepalive_ms, 0);
    assert_int_equal(s->http.header_ms, 10);
    assert_int_equal(s->http.body_ms, 120000);
    assert_int_equal(s->http.max_body, 1 << 30);
    assert_int_equal(s->http.send_ms, 7000);
    assert_false(s->http.underscores);
    assert_str(s->http.real_ip_header, "X-Forwarded-For");
    assert_true(s->http.real_ip_recursive);
    assert_int_equal(s->http.real_ip_from.n, 2);
    assert_int_equal(s->keepalive_size, 5);
    assert_int_equal(s->keepalive_requests, 6);
    assert_int_equal(s->keepalive_idle_ms, 7000);
}

static void check_deployment(const struct settings *s)
{
    assert_int_equal(s->admin.nkeys, 2);
    assert_str(s->admin.keys[0].key, "k1");
    assert_false(s->admin.keys[0].viewer);
    assert_str(s->admin.keys[1].key, "123");
    assert_true(s->admin.keys[1].viewer);
    assert_false(s->admin.key_generated);
    assert_false(s->admin.cors);
    assert_str(s->admin.ui_dir, "/srv/ui");
    assert_int_equal(s->admin.allow.n, 1);
    assert_str(s->admin.listen.ip, "0.0.0.0");
    assert_int_equal(s->admin.listen.port, 9999);
    assert_true(settings_has_plugin(s, STR("cors")));
    assert_false(settings_has_plugin(s, STR("redirect")));
    assert_non_null(json_object_get(s->plugin_attr, "x"));
    assert_non_null(json_object_get(s->eclusa, "data_dir"));
    assert_str(s->data_dir, "/srv/e");
    assert_false(s->verify_upstreams);
    assert_int_equal(s->http.max_header_bytes, 65536);
    assert_int_equal(s->http.max_headers, 50);
    assert_int_equal(s->http.max_uri_bytes, 65536);
    assert_int_equal(s->http.request_buffer, 1 << 20);
}

static void test_everything_set(void **state)
{
    struct loaded l;

    (void)state;
    log_clear();
    load(&l, everything);
    const struct settings *s = l.s;
    assert_int_equal(s->nlisten, 6);
    assert_str(s->listen[0].ip, "::1");
    assert_int_equal(s->listen[0].port, 1);
    assert_str(s->listen[1].ip, "0.0.0.0");
    assert_int_equal(s->listen[1].port, 2);
    assert_int_equal(s->listen[2].port, 3);
    assert_str(s->listen[3].ip, "127.0.0.2");
    assert_int_equal(s->listen[3].port, 9080);
    assert_false(s->listen[3].tls);
    assert_str(s->listen[4].ip, "0.0.0.0");
    assert_int_equal(s->listen[4].port, 4);
    assert_str(s->listen[5].ip, "127.0.0.2");
    assert_true(s->listen[5].tls);
    assert_int_equal(s->ssl.versions, TLS_V1_1 | TLS_V1_3);
    assert_str(s->ssl.ciphers, "HIGH");
    assert_true(s->ssl.tickets);
    assert_str(s->ssl.fallback_sni, "example.com");
    assert_str(s->server_header, "mine");
    assert_int_equal(s->workers, 1);
    assert_true(s->show_upstream_status);
    assert_true(s->delete_uri_tail_slash);
    assert_int_equal(s->router, ROUTER_URI);
    const json_t *cache = json_object_get(s->apisix, "proxy_cache");
    assert_int_equal(json_array_size(json_object_get(cache, "zones")), 1);
    assert_string_equal(json_string_value(json_object_get(cache, "cache_ttl")), "10s");
    assert_int_equal(s->dns.nservers, 2);
    assert_str(s->dns.servers[1], "8.8.8.8:53");
    assert_int_equal(s->dns.valid_ms, 30000);
    assert_int_equal(s->dns.timeout_ms, 250);
    assert_false(s->dns.ipv6);
    assert_true(s->trusted_addresses_set);
    assert_int_equal(s->trusted_addresses.n, 2);
    check_nginx_config(s);
    check_deployment(s);
    assert_int_equal(logged.n, 0);
    unload(&l);
}

static void test_forms(void **state)
{
    struct loaded l;

    (void)state;
    load(&l, "apisix: {node_listen: 8000, enable_server_tokens: false, enable_admin: false}\n"
             "nginx_config: {worker_processes: 3, http: {access_log: 'off'}}\n"
             "deployment:\n  admin:\n    admin_key: ~\n    allow_admin:\n");
    assert_int_equal(l.s->nlisten, 4);
    assert_int_equal(l.s->listen[1].port, 8000);
    assert_str(l.s->server_header, "Eclusa");
    assert_int_equal(l.s->workers, 3);
    assert_false(l.s->log.access);
    assert_false(l.s->admin.enabled);
    assert_false(l.s->admin.key_generated);
    assert_int_equal(l.s->admin.allow.n, 2);
    unload(&l);

    /* JSON is YAML; an empty list of plugins is none, unlike no list. */
    load(&l, "{\"plugins\":[],\"nginx_config\":{\"http\":{\"enable_access_log\":false}},"
             "\"deployment\":{\"admin\":{\"admin_key_required\":false,\"allow_admin\":[]}},"
             "\"eclusa\":{\"server_header\":\"\"}}");
    assert_false(settings_has_plugin(l.s, STR("cors")));
    assert_false(l.s->log.access);
    assert_false(l.s->admin.key_generated);
    assert_int_equal(l.s->admin.allow.n, 0);
    assert_str(l.s->server_header, "");
    unload(&l);
}

/* ---- What is refused --------------------------------------------------------------------------
 */

#define PUBLIC_KEY "admin_key: [{name: admin, key: edd1c9f034335f136f87ad84b625c8f1, role: admin}]"
#define PUBLIC_TEXT(ip)                                                                        \
    "deployment.admin.admin_key[1]: this key is printed in APISIX's documentation and known "  \
    "to everybody; it is accepted only when the Admin API listens on a loopback address, and " \
    "deployment.admin.admin_listen.ip is " ip ". Set a key of your own, or none to have one made"
#define ETCD "deployment: {role_traditional: {config_provider: etcd}, etcd: {"
#define DURATION                                                                                 \
    " is not a duration (seconds, or a number with a unit such as 10ms, 60s, 2m, 1h; a year at " \
    "most)"

static const struct {
    const char *yaml, *err;
} refused[] = {
    {"- a", "failed to validate config: wrong type: expected object, got table"},
    {"x", "failed to validate config: wrong type: expected object, got string"},
    {"apisix: 1", "failed to validate config: property \"apisix\" validation failed: wrong type: "
                  "expected object, got number"},
    {"a: [", "line 2: did not find expected node content"},
    {"a: 1\n---\nb: 2\n", "line 3: a second document; only one is read"},
    {"[1]: 2", "line 1: a key is not a plain value"},
    {"a: \"\\0\"", "line 1: a string holds a NUL byte"},
    {"a: &x [*x]", "line 1: nested too deeply"},
    {"a: \xff", "line 1: invalid leading UTF-8 octet"},
    {"apisix: {node_listen: 0}",
     "failed to validate config: property \"apisix\" validation failed: property \"node_listen\" "
     "validation failed: object matches none of the required"},
    {"apisix: {node_listen: [{ip: nowhere}]}",
     "apisix.node_listen: \"nowhere\" is not an IP address"},
    {"apisix: {node_listen: 9180}",
     "http listen port 9180 conflicts with deployment.admin.admin_listen"},
    {"apisix: {router: {http: r3}}",
     "failed to validate config: property \"apisix\" validation failed: property \"router\" "
     "validation failed: property \"http\" validation failed: matches none of the enum values"},
    {"apisix: {proxy_mode: stream}", "apisix.proxy_mode: \"stream\" is not there yet"},
    {"apisix: {trusted_addresses: [10.0.0.0/8, x]}",
     "apisix.trusted_addresses[2]: \"x\" is neither an address nor a network"},
    {"apisix: {ssl: {ssl_trusted_certificate: /no/such/file}}",
     "apisix.ssl.ssl_trusted_certificate: certificate path /no/such/file doesn't exist"},
    {"apisix: {ssl: {listen: [{ip: x}]}}", "apisix.ssl.listen: \"x\" is not an IP address"},
    {"apisix: {ssl: {listen: [{port: 9080}]}}",
     "apisix.ssl.listen: port 9080 is one of apisix.node_listen"},
    {"apisix: {ssl: {listen: [{port: 9180}]}}",
     "http listen port 9180 conflicts with deployment.admin.admin_listen"},
    {"apisix: {ssl: {ssl_protocols: TLSv1.2 SSLv3}}",
     "apisix.ssl.ssl_protocols: \"SSLv3\" is not a version of TLS that is spoken here (TLSv1.1, "
     "TLSv1.2, TLSv1.3)"},
    {"apisix: {ssl: {ssl_protocols: ' '}}", "apisix.ssl.ssl_protocols: no version is named"},
    {"apisix: {data_encryption: {keyring: [0123456789abcdef, secret-but-shor]}}",
     "apisix.data_encryption.keyring[2]: a key has 16 or 32 bytes, this one 15"},
    {"apisix: {data_encryption: {keyring: ''}}",
     "apisix.data_encryption.keyring[1]: a key has 16 or 32 bytes, this one 0"},
    {"apisix: {data_encryption: {keyring: 1234567890123456}}",
     "failed to validate config: property \"apisix\" validation failed: property "
     "\"data_encryption\" validation failed: property \"keyring\" validation failed: object "
     "matches none of the required"},
    {"nginx_config: {worker_processes: many}",
     "nginx_config.worker_processes: \"many\" is neither \"auto\" nor a number from 1 to 1024"},
    {"nginx_config: {worker_processes: 0}",
     "nginx_config.worker_processes: \"0\" is neither \"auto\" nor a number from 1 to 1024"},
    {"nginx_config: {http: {keepalive_timeout: 60x}}",
     "nginx_config.http.keepalive_timeout: \"60x\"" DURATION},
    {"nginx_config: {http: {send_timeout: 100w}}",
     "nginx_config.http.send_timeout: \"100w\"" DURATION},
    {"nginx_config: {http: {client_max_body_size: 1t}}",
     "nginx_config.http.client_max_body_size: \"1t\" is not a size (bytes, or a number with a "
     "unit: 16k, 1m, 1g)"},
    {"nginx_config: {error_log_level: loud}",
     "failed to validate config: property \"nginx_config\" validation failed: property "
     "\"error_log_level\" validation failed: matches none of the enum values"},
    {"deployment: {role: standalone}",
     "deployment.role: \"standalone\" is not one of \"traditional\", \"control_plane\" and "
     "\"data_plane\""},
    {"deployment: {role_traditional: {config_provider: json}}",
     "deployment.role_traditional.config_provider: \"json\" is not to be had; only \"sqlite\" (the "
     "embedded store), \"etcd\" and \"yaml\" are"},
    {"deployment: {role: data_plane, role_data_plane: {config_provider: sqlite}}",
     "deployment.role_data_plane.config_provider: \"sqlite\" is not to be had; only \"etcd\", "
     "\"yaml\" and \"json\" are: a data plane has no Admin API to fill a store of its own; "
     "\"traditional\" has"},
    {"deployment: {role: control_plane, role_control_plane: {config_provider: sqlite}}",
     "deployment.role_control_plane.config_provider: \"sqlite\" is not to be had; only \"etcd\" "
     "is: "
     "data planes read there what a control plane writes"},
    {"{deployment: {role: control_plane}, apisix: {enable_admin: false}}",
     "deployment.role: a control plane without the Admin API (apisix.enable_admin) has nothing to "
     "do"},
    {"apisix: {control: {ip: x}}", "apisix.control.ip: \"x\" is not an IP address"},
    {"apisix: {status: {ip: x}}", "apisix.status.ip: \"x\" is not an IP address"},
    {ETCD "host: [127.0.0.1:2379]}}",
     "failed to validate config: property \"deployment\" validation failed: property \"etcd\" "
     "validation failed: property \"host\" validation failed: failed to validate item 1: failed to "
     "match pattern \"^https?://[!-~]+\\\\z\" with \"127.0.0.1:2379\""},
    {ETCD "timeout: 0}}",
     "failed to validate config: property \"deployment\" validation failed: property \"etcd\" "
     "validation failed: property \"timeout\" validation failed: expected 0 to be at least 1"},
    {ETCD "tls: {cert: /etc/hostname}}}", "deployment.etcd.tls: cert and key go together"},
    {ETCD "tls: {cert: /nowhere, key: /nowhere}}}",
     "deployment.etcd.tls.cert: /nowhere cannot be read"},
    {"deployment: {admin: {https_admin: true}}",
     "deployment.admin.https_admin: missing ssl cert for https admin "
     "(admin_api_mtls.admin_ssl_cert and admin_ssl_cert_key)"},
    {"deployment: {admin: {https_admin: true, admin_api_mtls: {admin_ssl_cert: /nowhere, "
     "admin_ssl_cert_key: /etc/hostname}}}",
     "deployment.admin.admin_api_mtls.admin_ssl_cert: /nowhere cannot be read"},
    {"deployment: {admin: {admin_listen: {ip: x}}}",
     "deployment.admin.admin_listen.ip: \"x\" is not an IP address"},
    {"deployment: {admin: {admin_key: [{key: a}, {key: '', role: viewer}]}}",
     "deployment.admin.admin_key[2]: a viewer's key may not be empty"},
    {"deployment: {admin: {admin_key: [{key: a, role: root}]}}",
     "failed to validate config: property \"deployment\" validation failed: property \"admin\" "
     "validation failed: property \"admin_key\" validation failed: failed to validate item 1: "
     "property \"role\" validation failed: matches none of the enum values"},
    {"deployment: {admin: {admin_key: [{key: $ENV://KEY}]}}",
     "key: \"$ENV://KEY\" is not resolved in this file; write ${{VAR}} for an environment "
     "variable"},
    {"deployment: {admin: {" PUBLIC_KEY ", admin_listen: {ip: 0.0.0.0}}}", PUBLIC_TEXT("0.0.0.0")},
    {"deployment: {admin: {" PUBLIC_KEY ", admin_listen: {ip: '::'}}}", PUBLIC_TEXT("::")},
    {"deployment: {admin: {" PUBLIC_KEY ", admin_listen: {ip: 10.0.0.1}}}",
     PUBLIC_TEXT("10.0.0.1")},
    {"eclusa: {max_header_bytes: 100}",
     "eclusa.max_header_bytes: \"100\" is not between 1024 and 1048576 bytes"},
    {"eclusa: {max_uri_bytes: 64k}",
     "eclusa.max_uri_bytes: \"64k\" is not between 64 and 32768 bytes"},
    {"eclusa: {server_header: \"a\\r\\nb: c\"}",
     "failed to validate config: property \"eclusa\" validation failed: property "
     "\"server_header\" validation failed: failed to match pattern \"^[ -~]*\\\\z\" with "
     "\"a\\13\\\nb: c\""},
    {"eclusa: {data_dir: '${{ECLUSA_TEST_MISSING}}'}",
     "failed to handle configuration: can't find environment variable ECLUSA_TEST_MISSING"},
};

static void test_discovery(void **state)
{
    static const struct {
        const char *words;
        enum discovery_order order;
        bool ipv6;
    } rows[] = {
        {"servers: [1.1.1.1]", DISCOVER_SRV_ADDRS, true},
        {"servers: [1.1.1.1], order: [last, SRV, A, AAAA, CNAME]", DISCOVER_SRV_ADDRS, true},
        {"servers: [1.1.1.1], order: [SRV, A]", DISCOVER_SRV_ADDRS, false},
        {"servers: [1.1.1.1], order: [AAAA, SRV, A]", DISCOVER_ADDRS_SRV, true},
        {"servers: [1.1.1.1], order: [A]", DISCOVER_ADDRS, false},
        {"resolv_conf: /dev/null, order: [SRV]", DISCOVER_SRV, false},
    };
    struct loaded l;
    char text[128];

    (void)state;
    load(&l, "");
    assert_false(l.s->discovery.on);
    assert_true(l.s->dns.search);
    unload(&l);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        snprintf(text, sizeof(text), "discovery: {dns: {%s}}\n", rows[i].words);
        load(&l, text);
        assert_true(l.s->discovery.on);
        assert_int_equal(l.s->discovery.order, rows[i].order);
        assert_int_equal(l.s->discovery.ipv6, rows[i].ipv6);
        assert_int_equal(l.s->discovery.nservers, i < 5);
        unload(&l);
    }
    load(&l, "apisix: {enable_resolv_search_opt: false, enable_ipv6: false}\n"
             "discovery: {dns: {servers: [a]}}\n");
    assert_false(l.s->dns.search);
    assert_false(l.s->discovery.ipv6);
    unload(&l);
}

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        refuse(refused[i].yaml, refused[i].err);
}

static void test_public_key_on_loopback(void **state)
{
    static const char *const ips[] = {"127.0.0.1",         "localhost", "'::1'",
                                      "'0:0:0:0:0:0:0:1'", "127.1.2.3", NULL};
    struct loaded l;
    char yaml[512];

    (void)state;
    for (const char *const *ip = ips; *ip; ip++) {
        snprintf(yaml, sizeof(yaml),
                 "deployment: {admin: {" PUBLIC_KEY ", admin_listen: {ip: %s}}}", *ip);
        load(&l, yaml);
        assert_int_equal(l.s->admin.nkeys, 1);
        unload(&l);
    }
    /* Nobody listens there. */
    load(&l, "apisix: {enable_admin: false}\n"
             "deployment: {admin: {" PUBLIC_KEY ", admin_listen: {ip: 0.0.0.0}}}");
    unload(&l);
}

/* ---- Warnings ---------------------------------------------------------------------------------
 */

static void test_encryption(void **state)
{
    struct loaded l;

    (void)state;
    log_clear();
    load(&l, "");
    assert_true(l.s->encryption.on);
    assert_int_equal(l.s->encryption.nkeys, 0);
    unload(&l);
    load(&l, "apisix: {data_encryption: {enable_encrypt_fields: false, keyring: []}}");
    assert_false(l.s->encryption.on);
    assert_int_equal(l.s->encryption.nkeys, 0);
    unload(&l);
    load(&l, "apisix: {data_encryption: {keyring: 0123456789abcdef}}");
    assert_int_equal(l.s->encryption.nkeys, 1);
    assert_str(l.s->encryption.keys[0], "0123456789abcdef");
    unload(&l);
    load(&l, "apisix:\n  data_encryption:\n    keyring:\n    - 0123456789abcdef0123456789abcdef\n"
             "    - abcdef0123456789\n");
    assert_int_equal(l.s->encryption.nkeys, 2);
    assert_str(l.s->encryption.keys[0], "0123456789abcdef0123456789abcdef");
    assert_str(l.s->encryption.keys[1], "abcdef0123456789");
    assert_int_equal(logged.n, 0);
    unload(&l);
    load(&l, "apisix: {data_encryption: {keyring: [0123456789abcdef, edd1c9f0985e76a2]}}");
    assert_true(log_has("apisix.data_encryption.keyring[2]: this key is printed"));
    assert_false(log_has("edd1c9f0985e76a2"));
    assert_false(log_has("keyring[1]"));
    unload(&l);
}

static void test_warnings(void **state)
{
    struct loaded l;

    (void)state;
    log_clear();
    load(&l, "apisix: {enable_http2: true, ssl: {ssl_cert: a, listen: [{enable_http3: true}]}, "
             "nodelisten: 1,\n"
             "  node_listen: [{port: 9081, enable_http2: true}]}\n"
             "nginx_config: {http: {upstream: {keepalive: 1, kepalive: 2}},\n"
             "  http_configuration_snippet: ''}\n"
             "deployment: {role_traditional: {config_provider: sqlite},\n"
             "  etcd: {host: ['http://a'], hots: 1}, admin: {admin_key: [{key: a, rol: "
             "x}]}}\n"
             "discovery: {nacos: {}}\nplugin_attr: {anything: {goes: 1}}\nother: {x: 1}\n");
    assert_true(log_has("config: apisix.enable_http2 is known to APISIX but has no effect here "
                        "yet\n"));
    assert_true(log_has("config: apisix.ssl.ssl_cert is known to APISIX but"));
    assert_true(log_has("config: apisix.ssl.listen[1].enable_http3 is not a known key\n"));
    assert_true(log_has("config: apisix.nodelisten is not a known key\n"));
    assert_true(log_has("config: apisix.node_listen[1].enable_http2 is not a known key\n"));
    assert_true(log_has("config: nginx_config.http.upstream.kepalive is not a known key\n"));
    assert_true(log_has("config: nginx_config.http_configuration_snippet is known to APISIX"));
    assert_true(log_has("config: deployment.etcd has no effect"));
    assert_true(log_has("config: deployment.etcd.hots is not a known key\n"));
    assert_true(log_has("config: deployment.admin.admin_key[1].rol is not a known key\n"));
    assert_true(log_has("config: discovery.nacos is known to APISIX"));
    assert_true(log_has("config: other is not a known key\n"));
    assert_false(log_has("anything"));
    assert_false(log_has("key: a"));
    unload(&l);

    log_clear();
    load(&l, "deployment: {admin: {admin_key_required: false, admin_listen: {ip: 0.0.0.0}}}");
    assert_true(log_has("whoever allow_admin lets in may change everything"));
    unload(&l);

    log_clear();
    load(&l, "eclusa: {data_dir: a}\neclusa: {data_dir: /b}\n");
    assert_true(log_has("line 2: the key \"eclusa\" occurs twice"));
    assert_str(l.s->data_dir, "/b");
    unload(&l);

    load(&l, "deployment: {admin: {enable_admin_ui: false}}\neclusa: {admin_ui_dir: ui}\n");
    assert_null(l.s->admin.ui_dir.p);
    unload(&l);
    load(&l, "eclusa: {admin_ui_dir: ui}\n");
    assert_path(l.s->admin.ui_dir, "ui");
    unload(&l);
}

/* Every key of the list is one that the tables do not know, or it would never warn. */
static void test_idle_keys(void **state)
{
    (void)state;
    for (const char *const *key = settings_idle_keys; *key; key++) {
        const struct fields *fields = &settings_fields;
        struct str rest = str_of(*key), part;
        const struct field *row = NULL;
        while (rule_part(&rest, '.', &part)) {
            row = fields_row(fields, part);
            if (!row)
                break;
            assert_int_equal(row->type, FIELD_OBJECT);
            fields = row->fields;
        }
        if (row || rest.p)
            fail_msg("%s is known, or lies below an unknown key", *key);
    }
}

/* ---- Variables --------------------------------------------------------------------------------
 */

static void test_variables(void **state)
{
    struct loaded l;
    const json_t *x;

    (void)state;
    setenv("ECLUSA_TEST_PORT", "7000", 1);
    setenv("ECLUSA_TEST_NAME", "plugin_attr", 1);
    setenv("ECLUSA_TEST_ON", "true", 1);
    unsetenv("ECLUSA_TEST_MISSING");
    load(&l, "apisix:\n"
             "  node_listen: ${{ECLUSA_TEST_PORT}}\n"
             "  enable_ipv6: ${{ECLUSA_TEST_OFF:=false}}\n"
             "  show_upstream_status_in_response_header: ${{ ECLUSA_TEST_ON }}\n"
             "${{ECLUSA_TEST_NAME}}:\n"
             "  x:\n"
             "    port: ${{ECLUSA_TEST_PORT}}\n"
             "    text: a${{ECLUSA_TEST_PORT}}-${{ECLUSA_TEST_MISSING:= b }}c\n"
             "    empty: '${{ECLUSA_TEST_MISSING:=}}'\n"
             "    real: ${{ECLUSA_TEST_MISSING:=1.5}}\n"
             "    zeros: ${{ECLUSA_TEST_MISSING:=007}}\n"
             "    long: ${{ECLUSA_TEST_MISSING:=12345678901234567890}}\n"
             "    negative: ${{ECLUSA_TEST_MISSING := -5}}\n"
             "    list: ['${{ECLUSA_TEST_ON}}', 'true']\n"
             "    other: $${{{x}}}\n"
             "    open: '${{ECLUSA_TEST_PORT'\n"
             "    key${{ECLUSA_TEST_PORT}}: 1\n");
    assert_int_equal(l.s->nlisten, 2);
    assert_int_equal(l.s->listen[0].port, 7000);
    assert_true(l.s->show_upstream_status);
    x = json_object_get(l.s->plugin_attr, "x");
    assert_int_equal(json_integer_value(json_object_get(x, "port")), 7000);
    assert_string_equal(json_string_value(json_object_get(x, "text")), "a7000-bc");
    assert_string_equal(json_string_value(json_object_get(x, "empty")), "");
    assert_true(json_real_value(json_object_get(x, "real")) == 1.5);
    assert_string_equal(json_string_value(json_object_get(x, "zeros")), "007");
    assert_string_equal(json_string_value(json_object_get(x, "long")), "12345678901234567890");
    assert_int_equal(json_integer_value(json_object_get(x, "negative")), -5);
    assert_true(json_is_true(json_array_get(json_object_get(x, "list"), 0)));
    assert_true(json_is_string(json_array_get(json_object_get(x, "list"), 1)));
    assert_string_equal(json_string_value(json_object_get(x, "other")), "$${{{x}}}");
    assert_string_equal(json_string_value(json_object_get(x, "open")), "${{ECLUSA_TEST_PORT");
    assert_int_equal(json_integer_value(json_object_get(x, "key7000")), 1);
    unload(&l);

    setenv("APISIX_WORKER_PROCESSES", "7", 1);
    load(&l, "nginx_config: {worker_processes: 2}");
    assert_int_equal(l.s->workers, 7);
    unload(&l);
    setenv("APISIX_WORKER_PROCESSES", "x", 1);
    refuse("", "environment variable APISIX_WORKER_PROCESSES: \"x\" is neither \"auto\" nor a "
               "number from 1 to 1024");
    unsetenv("APISIX_WORKER_PROCESSES");
    unsetenv("APISIX_DEPLOYMENT_ETCD_HOST");
}

/* ---- Files ------------------------------------------------------------------------------------
 */

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_load(void **state)
{
    char path[256];
    struct arena a;
    struct str err;

    (void)state;
    arena_init(&a, NULL);
    snprintf(path, sizeof(path), "%s/config.yaml", folder);
    assert_null(settings_load(str_of(path), &a, &err));
    assert_true(str_ends(err, STR("/config.yaml: No such file or directory")));
    assert_null(settings_load(str_of(folder), &a, &err));
    assert_true(str_ends(err, STR(": Is a directory")));

    write_file(path, "eclusa: {data_dir: here}\n");
    struct settings *s = settings_load(str_of(path), &a, &err);
    assert_non_null(s);
    assert_str(s->path, path);
    assert_path(s->data_dir, "here");
    settings_free(s);

    write_file(path, "apisix: [1]\n");
    assert_null(settings_load(str_of(path), &a, &err));
    assert_true(str_search(err, STR("/config.yaml: failed to validate config: ")) > 0);

    /* Without a name: conf/config.yaml of the working directory, when it is there. */
    char here[PATH_MAX];
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(folder), 0);
    s = settings_load(STR_NONE, &a, &err);
    assert_non_null(s);
    assert_null(s->path.p);
    settings_free(s);
    assert_int_equal(mkdir("conf", 0700), 0);
    write_file("conf/config.yaml", "apisix: {node_listen: 7777}\n");
    s = settings_load(STR_NONE, &a, &err);
    assert_non_null(s);
    assert_int_equal(s->listen[0].port, 7777);
    settings_free(s);
    assert_int_equal(chdir(here), 0);
    arena_fini(&a);
}

static void key_of(const char *data_dir, char *key, size_t size)
{
    struct loaded l;
    struct str err;
    char yaml[256];

    snprintf(yaml, sizeof(yaml), "eclusa: {data_dir: %s}", data_dir);
    load(&l, yaml);
    if (!settings_admin_key(l.s, &l.arena, &err))
        fail_msg("%.*s", STR_ARG(err));
    assert_false(l.s->admin.key_generated);
    assert_int_equal(l.s->admin.nkeys, 1);
    assert_false(l.s->admin.keys[0].viewer);
    snprintf(key, size, "%.*s", STR_ARG(l.s->admin.keys[0].key));
    unload(&l);
}

static void refuse_key(const char *data_dir, const char *part)
{
    struct loaded l;
    struct str err = STR_NONE;
    char yaml[256];

    snprintf(yaml, sizeof(yaml), "eclusa: {data_dir: %s}", data_dir);
    load(&l, yaml);
    if (settings_admin_key(l.s, &l.arena, &err))
        fail_msg("%s: a key was taken", data_dir);
    if (str_search(err, str_of(part)) < 0)
        fail_msg("got '%.*s', expected '%s' in it", STR_ARG(err), part);
    unload(&l);
}

static void test_admin_key(void **state)
{
    char data[128], file[160], first[64], again[64];
    struct stat st;

    (void)state;
    snprintf(data, sizeof(data), "%s/a/b", folder);
    snprintf(file, sizeof(file), "%s/admin.key", data);
    log_clear();
    key_of(data, first, sizeof(first));
    assert_int_equal(strlen(first), 32);
    assert_int_equal(strspn(first, "0123456789abcdef"), 32);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_true(log_has("made a key for the Admin API: it is in "));
    assert_true(log_has(file));
    assert_false(log_has(first));

    log_clear();
    key_of(data, again, sizeof(again));
    assert_string_equal(first, again);
    assert_false(log_has("made"));
    assert_false(log_has(first));
    assert_false(log_has("can be read by others"));

    assert_int_equal(chmod(file, 0644), 0);
    key_of(data, again, sizeof(again));
    assert_string_equal(first, again);
    assert_true(log_has("can be read by others"));

    write_file(file, "short\n");
    refuse_key(data, "does not hold a key");
    write_file(file, "two words are no key at all\n");
    refuse_key(data, "does not hold a key");
    assert_int_equal(unlink(file), 0);
    key_of(data, again, sizeof(again));
    assert_string_not_equal(first, again);

    /* A file where the folder should be. */
    snprintf(again, sizeof(again), "%s/file", folder);
    write_file(again, "");
    refuse_key(again, "cannot open");
}

static void test_admin_key_configured(void **state)
{
    struct loaded l;
    struct str err;
    char yaml[256];

    (void)state;
    load(&l, "deployment: {admin: {admin_key: [{name: a, key: mine}]}}");
    assert_true(settings_admin_key(l.s, &l.arena, &err));
    assert_int_equal(l.s->admin.nkeys, 1);
    assert_str(l.s->admin.keys[0].key, "mine");
    unload(&l);

    /* The file that APISIX ships: an empty key beside others. */
    snprintf(yaml, sizeof(yaml),
             "deployment: {admin: {admin_key: [{name: admin, key: '', role: admin},"
             " {name: v, key: see, role: viewer}]}}\neclusa: {data_dir: %s/k}",
             folder);
    load(&l, yaml);
    assert_true(l.s->admin.key_generated);
    assert_true(settings_admin_key(l.s, &l.arena, &err));
    assert_int_equal(l.s->admin.nkeys, 2);
    assert_int_equal(l.s->admin.keys[0].key.n, 32);
    assert_true(l.s->admin.keys[1].viewer);
    unload(&l);
}

/* ---- The run ----------------------------------------------------------------------------------
 */

static void test_etcd(void **state)
{
    struct loaded l;

    (void)state;
    load(&l, ETCD "}}");
    assert_int_equal(l.s->provider, PROVIDER_ETCD);
    assert_int_equal(l.s->etcd.nhosts, 1);
    assert_str(l.s->etcd.hosts[0], "http://127.0.0.1:2379");
    assert_str(l.s->etcd.prefix, "/apisix");
    assert_int_equal(l.s->etcd.timeout_ms, 30000);
    assert_int_equal(l.s->etcd.watch_ms, 50000);
    assert_int_equal(l.s->etcd.resync_ms, 5000);
    assert_int_equal(l.s->etcd.sick_ms, 10000);
    assert_int_equal(l.s->etcd.tries, 2);
    assert_true(l.s->etcd.verify);
    assert_int_equal(l.s->etcd.user.n, 0);
    /* Whoever shares the etcd must be able to open what is sealed. */
    assert_int_equal(l.s->encryption.nkeys, 2);
    assert_true(l.s->admin.enabled);
    unload(&l);

    load(&l, ETCD "host: ['https://a:1', 'http://b'], prefix: /p, timeout: 1, watch_timeout: 2,\n"
                  " resync_delay: 3, health_check_timeout: 4, startup_retry: 5, user: u,\n"
                  " password: 123, tls: {verify: false, sni: etcd.example}}}");
    assert_int_equal(l.s->etcd.nhosts, 2);
    assert_str(l.s->etcd.hosts[1], "http://b");
    assert_str(l.s->etcd.prefix, "/p");
    assert_int_equal(l.s->etcd.timeout_ms, 1000);
    assert_int_equal(l.s->etcd.watch_ms, 2000);
    assert_int_equal(l.s->etcd.resync_ms, 3000);
    assert_int_equal(l.s->etcd.sick_ms, 4000);
    assert_int_equal(l.s->etcd.tries, 5);
    assert_str(l.s->etcd.user, "u");
    assert_str(l.s->etcd.password, "123");
    assert_false(l.s->etcd.verify);
    assert_str(l.s->etcd.sni, "etcd.example");
    unload(&l);

    setenv("APISIX_DEPLOYMENT_ETCD_HOST", "[\"http://c:2\"]", 1);
    load(&l, ETCD "host: ['https://a:1', 'http://b']}}");
    assert_int_equal(l.s->etcd.nhosts, 1);
    assert_str(l.s->etcd.hosts[0], "http://c:2");
    unload(&l);
    unsetenv("APISIX_DEPLOYMENT_ETCD_HOST");
}

/* Which store each role has, when it is named and when it is not. */
static void test_roles(void **state)
{
    static const struct {
        const char *yaml;
        enum settings_role role;
        enum settings_provider provider;
        bool admin, listens;
    } cases[] = {
        {"{}", ROLE_TRADITIONAL, PROVIDER_SQLITE, true, true},
        {"{etcd: {host: ['http://a:1']}}", ROLE_TRADITIONAL, PROVIDER_ETCD, true, true},
        {"{etcd: {host: ['http://a:1']}, role_traditional: {config_provider: sqlite}}",
         ROLE_TRADITIONAL, PROVIDER_SQLITE, true, true},
        {"{role_traditional: {config_provider: etcd}}", ROLE_TRADITIONAL, PROVIDER_ETCD, true,
         true},
        {"{role_traditional: {config_provider: yaml}}", ROLE_TRADITIONAL, PROVIDER_API, true, true},
        {"{role_traditional: {config_provider: yaml}}\napisix: {enable_admin: false}",
         ROLE_TRADITIONAL, PROVIDER_YAML, false, true},
        {"{role: control_plane}", ROLE_CONTROL_PLANE, PROVIDER_ETCD, true, false},
        {"{role: data_plane}", ROLE_DATA_PLANE, PROVIDER_ETCD, false, true},
        {"{role: data_plane, role_data_plane: {config_provider: etcd}}", ROLE_DATA_PLANE,
         PROVIDER_ETCD, false, true},
        {"{role: data_plane, role_data_plane: {config_provider: yaml}}", ROLE_DATA_PLANE,
         PROVIDER_YAML, false, true},
        {"{role: data_plane, role_data_plane: {config_provider: json}}", ROLE_DATA_PLANE,
         PROVIDER_JSON, false, true},
    };
    struct loaded l;
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(text, sizeof(text), "deployment: %s", cases[i].yaml);
        load(&l, text);
        assert_int_equal(l.s->role, cases[i].role);
        assert_int_equal(l.s->provider, cases[i].provider);
        assert_int_equal(l.s->admin.enabled, cases[i].admin);
        assert_int_equal(l.s->nlisten > 0, cases[i].listens);
        unload(&l);
    }
    setenv("APISIX_DEPLOYMENT_ETCD_HOST", "[\"http://b:2\"]", 1);
    load(&l, "{}");
    assert_int_equal(l.s->provider, PROVIDER_ETCD);
    assert_str(l.s->etcd.hosts[0], "http://b:2");
    unload(&l);
    unsetenv("APISIX_DEPLOYMENT_ETCD_HOST");
}

static void test_control_side(void **state)
{
    struct loaded l;

    (void)state;
    load(&l, "{}");
    assert_true(l.s->control.on && !l.s->control.asked && !l.s->status.on && l.s->admin.v3);
    assert_str(l.s->control.listen.ip, "127.0.0.1");
    assert_int_equal(l.s->control.listen.port, 9090);
    unload(&l);
    log_clear();
    load(&l, "apisix: {control: {ip: 0.0.0.0, port: 1}, status: {}, proxy_mode: http&stream}\n"
             "xrpc: {protocols: [{name: redis}]}\n"
             "deployment: {admin: {admin_api_version: default}}");
    assert_true(l.s->control.asked && l.s->status.on && l.s->stream && !l.s->admin.v3);
    assert_str(l.s->control.listen.ip, "0.0.0.0");
    assert_int_equal(l.s->control.listen.port, 1);
    assert_str(l.s->status.listen.ip, "127.0.0.1");
    assert_int_equal(l.s->status.listen.port, 7085);
    assert_int_equal(l.s->nprotocols, 1);
    assert_str(l.s->protocols[0], "redis");
    assert_true(log_has("the control API has no key, and listens on 0.0.0.0"));
    assert_true(log_has("stream routes are kept, but not served yet"));
    unload(&l);
    load(&l, "apisix: {enable_control: false}");
    assert_false(l.s->control.on);
    unload(&l);
}

static int set_up(void **state)
{
    (void)state;
    buf_init(&logged, 1 << 16);
    log_setup(sink, LOG_NOTICE);
    unsetenv("APISIX_WORKER_PROCESSES");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[128];

    (void)state;
    buf_fini(&logged);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),   cmocka_unit_test(test_everything_set),
        cmocka_unit_test(test_forms),      cmocka_unit_test(test_discovery),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_public_key_on_loopback),
        cmocka_unit_test(test_encryption), cmocka_unit_test(test_etcd),
        cmocka_unit_test(test_roles),      cmocka_unit_test(test_control_side),
        cmocka_unit_test(test_warnings),   cmocka_unit_test(test_idle_keys),
        cmocka_unit_test(test_variables),  cmocka_unit_test(test_load),
        cmocka_unit_test(test_admin_key),  cmocka_unit_test(test_admin_key_configured),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
