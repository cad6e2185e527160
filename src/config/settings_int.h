/* SPDX-License-Identifier: Apache-2.0 */
/* config.yaml as its field tables parse it, and what turns that into struct settings. Private to
 * settings*.c. */
#ifndef CONFIG_SETTINGS_INT_H
#define CONFIG_SETTINGS_INT_H

#include "config/settings.h"

struct raw_router {
    int http;
};

struct raw_ssl {
    bool enable, tickets;
    struct field_list listen; /* struct raw_listen */
    struct str protocols, ciphers, fallback_sni, trusted_certificate;
};

struct raw_encryption {
    bool on;
    json_t *keyring;
};

struct raw_lru_secret {
    int64_t ttl, neg_ttl; /* s */
};

struct raw_lru {
    struct raw_lru_secret *secret;
};

struct raw_listen {
    struct str ip, router;
    int64_t port;
};

struct raw_xrpc_protocol {
    struct str name;
};

struct raw_xrpc {
    struct field_list protocols; /* struct raw_xrpc_protocol */
};

struct raw_apisix {
    struct raw_lru *lru;
    json_t *node_listen, *proxy_cache;
    bool enable_admin, enable_dev_mode, enable_ipv6, enable_server_tokens, show_upstream_status,
        delete_uri_tail_slash, match_encoded_slash, strip_path_params, enable_control,
        disable_upstream_healthcheck, enable_resolv_search_opt;
    int64_t post_arg_max;
    int proxy_mode;
    struct raw_listen *control, *status;
    struct raw_router *router;
    struct raw_ssl *ssl;
    struct raw_encryption *encryption;
    struct field_list dns_resolver, trusted_addresses; /* struct str */
    int64_t dns_resolver_valid;
    struct str resolver_timeout;
};

struct raw_admin_key {
    struct str name, key;
    int role;
};

struct raw_admin_tls {
    struct str cert, key, ca;
};

struct raw_admin {
    bool key_required, cors, ui, https;
    struct raw_admin_tls *tls;
    struct field_list keys;  /* struct raw_admin_key */
    struct field_list allow; /* struct str */
    struct raw_listen *listen;
    struct str api_version;
};

struct raw_role {
    struct str provider;
};

struct raw_etcd_tls {
    struct str cert, key, sni;
    bool verify;
};

struct raw_etcd {
    struct field_list host; /* struct str */
    struct str prefix, user, password;
    int64_t timeout, watch_timeout, resync_delay, health_check_timeout, startup_retry; /* s */
    struct raw_etcd_tls *tls;
};

struct raw_deployment {
    struct str role;
    struct raw_role *traditional, *control_plane, *data_plane;
    struct raw_etcd *etcd;
    struct raw_admin *admin;
};

struct raw_pool {
    int64_t size, requests;
    struct str timeout;
};

struct raw_http {
    bool enable_access_log;
    struct str access_log, access_log_buffer, access_log_format;
    int escape;
    struct str keepalive_timeout, client_header_timeout, client_body_timeout, send_timeout,
        client_max_body_size;
    json_t *underscores, *real_ip_recursive;
    struct str real_ip_header;
    struct field_list real_ip_from; /* struct str */
    struct raw_pool *upstream;
};

struct raw_nginx {
    struct str worker_processes, error_log, shutdown_timeout;
    int error_log_level;
    int64_t rlimit_nofile;
    struct raw_http *http;
};

struct raw_history {
    int64_t changes;
    struct str age;
};

struct raw_eclusa {
    struct raw_history *history;
    struct str data_dir, server_header, max_header_bytes, max_uri_bytes, request_buffer_bytes,
        access_log_flush, admin_ui_dir;
    bool upstream_tls_verify;
    int64_t max_headers;
};

struct raw_discovery_dns {
    struct field_list servers; /* struct str */
    struct str resolv_conf;
    struct field_list order; /* int: enum raw_order */
};

/* A word of raw_discovery_dns.order. */
enum raw_order { ORDER_LAST, ORDER_SRV, ORDER_A, ORDER_AAAA, ORDER_CNAME };

struct raw_discovery {
    struct raw_discovery_dns *dns;
};

struct raw_graphql {
    int64_t max_size;
};

struct raw_settings {
    struct raw_graphql *graphql;
    struct raw_apisix *apisix;
    struct raw_nginx *nginx;
    struct raw_deployment *deployment;
    struct raw_eclusa *eclusa;
    struct raw_xrpc *xrpc;
    struct raw_discovery *discovery; /* NULL: none */
    struct field_list plugins;       /* struct str */
    json_t *plugin_attr;
};

/* An entry of node_listen that is an object. */
extern const struct fields settings_listen_fields;
/* APISIX's keys that this program does not use, and whatever is below them. */
extern const char *const settings_idle_keys[];

/* What is made of it. Strings are in the arena. */
struct loader {
    struct settings *s;
    struct arena *arena;
    struct settings_address *listen; /* s->listen, while it grows */
    struct str err;
};

/* ---- settings_values.c: false after loader_fail; path is the setting's, for the message ---- */

bool loader_fail(struct loader *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool loader_ms(struct loader *l, const char *path, struct str text, int64_t *out);
bool loader_bytes(struct loader *l, const char *path, struct str text, int64_t min, int64_t max,
                  int64_t *out);
bool loader_size(struct loader *l, const char *path, struct str text, int64_t min, int64_t max,
                 size_t *out);
bool loader_cidrs(struct loader *l, const char *path, const struct field_list *texts,
                  struct cidr_list *out);
bool loader_ip(struct loader *l, const char *path, struct str text, struct str *out);
/* A file that can be read; absent: none. */
bool loader_file(struct loader *l, const char *path, struct str file, struct str *out);
struct str settings_absolute(struct arena *a, struct str path);
bool settings_is_loopback(struct str ip);
bool settings_is_one_of(const char *const *known, struct str key);

/* ---- settings_apisix.c, settings_deployment.c ---- */

bool loader_apisix(struct loader *l, const struct raw_apisix *raw);
/* Secrets in etcd are encrypted with APISIX's own keys where none are configured. */
void loader_public_ring(struct loader *l);
/* After loader_apisix. */
bool loader_deployment(struct loader *l, const struct raw_deployment *raw);

#endif
