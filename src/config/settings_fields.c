/* SPDX-License-Identifier: Apache-2.0 */
/* The field tables of config.yaml. Defaults are APISIX's (cli/config.lua) but for those that its
 * users would not want from one small daemon; those say so in their text. */
#include "config/settings_int.h"

/* ---- Shared rows ------------------------------------------------------------------------------
 */

/* "60s", 60, "16k": nginx takes a number or a text; settings_values.c reads the unit. */
static const struct field measure_rows[] = {
    {"text", FIELD_STR, .min = 1, .max = 64},
    {"number", FIELD_NUM, .flags = FIELD_HAS_MIN},
    {0},
};
#define MEASURE FIELD_ANY_OF, .flags = FIELD_AS_TEXT, .of = measure_rows

/* A variable in braces may have become a number. */
static const struct field text_rows[] = {
    {"text", .type = FIELD_STR},
    {"number", .type = FIELD_NUM},
    {0},
};
#define TEXT FIELD_ANY_OF, .flags = FIELD_AS_TEXT, .of = text_rows

/* nginx's switches are texts, but an unquoted `on` is a boolean in YAML. */
static const char *const switch_names[] = {"on", "off", NULL};
static const struct field switch_rows[] = {
    {"boolean", .type = FIELD_BOOL},
    {"text", FIELD_ENUM, .names = switch_names},
    {0},
};

static const struct field string_row = {.type = FIELD_STR, .min = 1};
static const struct field key_row = {.type = FIELD_STR, .flags = FIELD_SECRET};

/* ---- apisix -----------------------------------------------------------------------------------
 */

#define AT(member) .at = offsetof(struct raw_listen, member)
static const struct field listen_rows[] = {
    {"ip", FIELD_STR, AT(ip), .min = 1, .doc = "Address to listen on."},
    {"port", FIELD_INT, AT(port), .min = 1, .max = 65535, .def = "9080", .doc = "Port."},
    {0},
};
const struct fields settings_listen_fields = {listen_rows, .size = sizeof(struct raw_listen),
                                              .open = true};
#undef AT

static const struct field listen_item_rows[] = {
    {"port", FIELD_INT, .min = 1, .max = 65535},
    {"address", FIELD_OBJECT, .fields = &settings_listen_fields},
    {0},
};
static const struct field listen_item_row = {.type = FIELD_ANY_OF, .of = listen_item_rows};
static const struct field node_listen_rows[] = {
    {"port", FIELD_INT, .min = 1, .max = 65535},
    {"list", FIELD_LIST, .of = &listen_item_row, .min = 1, .max = 256},
    {0},
};

static const char *const routers[] = {"radixtree_host_uri", "radixtree_uri",
                                      "radixtree_uri_with_parameter", NULL};
static const struct field router_rows[] = {
    {"http", FIELD_ENUM, .at = offsetof(struct raw_router, http), .names = routers,
     .def = "\"radixtree_host_uri\"",
     .doc = "How routes are matched: by host, then path; by path, then host; or so with parameters "
            "in paths (`/user/:name`). See [routing](routing.md)."},
    {0},
};
static const struct fields router_fields = {router_rows, .size = sizeof(struct raw_router),
                                            .open = true};

#define AT(member) .at = offsetof(struct raw_listen, member)
static const struct field ssl_listen_rows[] = {
    {"ip", FIELD_STR, AT(ip), .min = 1, .doc = "Address to listen on."},
    {"port", FIELD_INT, AT(port), .min = 1, .max = 65535, .def = "9443", .doc = "Port."},
    {0},
};
#undef AT
static const struct fields ssl_listen_fields = {ssl_listen_rows, .size = sizeof(struct raw_listen),
                                                .open = true};
static const struct field ssl_listen_row = {.type = FIELD_OBJECT, .fields = &ssl_listen_fields};

#define CIPHERS                                                    \
    "\"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:" \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"   \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"   \
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384\""

#define AT(member) .at = offsetof(struct raw_ssl, member)
static const struct field ssl_rows[] = {
    {"enable", FIELD_BOOL, AT(enable), .def = "true", .doc = "Serve clients over TLS."},
    {"listen", FIELD_LIST, AT(listen), .of = &ssl_listen_row, .max = 256,
     .doc = "Where: a list of `{ip, port}`. Without an ip: 0.0.0.0, and [::] with enable_ipv6. "
            "Absent: port 9443, if that is free."},
    {"ssl_protocols", FIELD_STR, AT(protocols), .def = "\"TLSv1.2 TLSv1.3\"", .min = 1,
     .doc = "Versions spoken where an ssl has no ssl_protocols: of TLSv1.1, TLSv1.2, TLSv1.3. "
            "TLSv1.1 also needs `@SECLEVEL=0` in ssl_ciphers."},
    {"ssl_ciphers", FIELD_STR, AT(ciphers), .min = 1, .def = CIPHERS,
     .doc = "Ciphers of TLS 1.2 and below, in OpenSSL's form; the first one that the client has "
            "too is taken."},
    {"ssl_session_tickets", FIELD_BOOL, AT(tickets), .def = "false",
     .doc = "True: sessions are resumed by tickets, sealed with keys that change every 10 minutes "
            "and are kept in memory alone. False: by a table of the last 20,000 sessions. Either "
            "way for 10 minutes, and on all workers."},
    {"fallback_sni", FIELD_STR, AT(fallback_sni), .min = 1, .max = 253,
     .doc = "Server name that counts for clients that give none; absent: they are turned away."},
    {"ssl_trusted_certificate", FIELD_STR, AT(trusted_certificate), .def = "\"system\"", .min = 1,
     .doc =
         "PEM file with authorities that are trusted besides the system's, for TLS to upstreams."},
    {0},
};
#undef AT
static const struct fields ssl_fields = {ssl_rows, .size = sizeof(struct raw_ssl), .open = true};

static const struct field keyring_rows[] = {
    {"key", .type = FIELD_STR},
    {"list", FIELD_LIST, .of = &key_row, .max = 64},
    {0},
};
#define AT(member) .at = offsetof(struct raw_encryption, member)
static const struct field encryption_rows[] = {
    {"enable_encrypt_fields", FIELD_BOOL, AT(on), .def = "true",
     .doc = "Seal the secrets of what is written to the store. False: they are stored as they are; "
            "what is sealed already is opened all the same."},
    {"keyring", FIELD_ANY_OF, .flags = FIELD_SECRET, AT(keyring), .of = keyring_rows,
     .doc = "Keys of 16 or 32 bytes, or one such key: secrets are sealed as APISIX does (AES-CBC), "
            "with the first; all of them open. Absent: AES-256-GCM with a key of our own, made at "
            "the first start and kept in `secret.key` in eclusa.data_dir (APISIX: two keys that "
            "everybody knows)."},
    {0},
};
#undef AT
static const struct fields encryption_fields = {
    encryption_rows, .size = sizeof(struct raw_encryption), .open = true};

#define AT(member) .at = offsetof(struct raw_listen, member)
static const struct field control_rows[] = {
    {"ip", FIELD_STR, AT(ip), .def = "\"127.0.0.1\"", .min = 1,
     .doc = "Address to listen on. There is no key: keep it on loopback."},
    {"port", FIELD_INT, AT(port), .min = 1, .max = 65535, .def = "9090", .doc = "Port."},
    {"router", FIELD_STR, .at = offsetof(struct raw_listen, router),
     .doc = "Without an effect: all paths of the control API are known."},
    {0},
};
static const struct fields control_fields = {control_rows, .size = sizeof(struct raw_listen),
                                             .open = true};

static const struct field status_rows[] = {
    {"ip", FIELD_STR, AT(ip), .def = "\"127.0.0.1\"", .min = 1, .doc = "Address to listen on."},
    {"port", FIELD_INT, AT(port), .min = 1, .max = 65535, .def = "7085", .doc = "Port."},
    {0},
};
static const struct fields status_fields = {status_rows, .size = sizeof(struct raw_listen),
                                            .open = true};
#undef AT

static const struct field proxy_cache_row = {.type = FIELD_MAP};
static const char *const proxy_modes[] = {"http", "stream", "http&stream", NULL};

static const struct field lru_secret_rows[] = {
    {"ttl", FIELD_INT, .at = offsetof(struct raw_lru_secret, ttl), .min = 1, .max = 86400 * 366,
     .def = "300", .doc = "Seconds after which a secret is read again."},
    {"neg_ttl", FIELD_INT, .at = offsetof(struct raw_lru_secret, neg_ttl), .min = 1,
     .max = 86400 * 366, .def = "60",
     .doc = "And after which one that could not be read is tried again."},
    {0},
};
static const struct fields lru_secret_fields = {
    lru_secret_rows, .size = sizeof(struct raw_lru_secret), .open = true};
static const struct field lru_rows[] = {
    {"secret", FIELD_OBJECT, .at = offsetof(struct raw_lru, secret), .fields = &lru_secret_fields,
     .def = "{}"},
    {0},
};
static const struct fields lru_fields = {lru_rows, .size = sizeof(struct raw_lru), .open = true};

#define AT(member) .at = offsetof(struct raw_apisix, member)
static const struct field apisix_rows[] = {
    {"node_listen", FIELD_ANY_OF, AT(node_listen), .of = node_listen_rows, .def = "9080",
     .doc = "Where clients are served: a port, or a list of ports and of `{ip, port}`. Without an "
            "ip: 0.0.0.0, and [::] with enable_ipv6."},
    {"enable_ipv6", FIELD_BOOL, AT(enable_ipv6), .def = "true",
     .doc = "Listen on [::] too, and use IPv6 addresses of upstreams."},
    {"enable_server_tokens", FIELD_BOOL, AT(enable_server_tokens), .def = "true",
     .doc = "Show the version in the Server header."},
    {"enable_admin", FIELD_BOOL, AT(enable_admin), .def = "true", .doc = "Serve the Admin API."},
    {"enable_dev_mode", FIELD_BOOL, AT(enable_dev_mode), .def = "false", .doc = "One worker."},
    {"show_upstream_status_in_response_header", FIELD_BOOL, AT(show_upstream_status),
     .def = "false",
     .doc = "Send X-APISIX-Upstream-Status with each response, not only when the upstream answers "
            "with 5xx."},
    {"disable_upstream_healthcheck", FIELD_BOOL, AT(disable_upstream_healthcheck), .def = "false",
     .doc = "Do not run the `checks` of upstreams."},
    {"delete_uri_tail_slash", FIELD_BOOL, AT(delete_uri_tail_slash), .def = "false",
     .doc = "Match `/path/` as `/path`."},
    {"match_uri_encoded_slash", FIELD_BOOL, AT(match_encoded_slash), .def = "false",
     .doc = "Match `%2F` in a path as itself, not as a slash, where nothing but decoding would "
            "change the path."},
    {"normalize_uri_like_servlet", FIELD_BOOL, AT(strip_path_params), .def = "false",
     .doc = "Take `;…` off the path's segments, as servlets do; the upstream gets the path as it "
            "came."},
    {"max_post_args_readable_size", FIELD_INT, AT(post_arg_max), .flags = FIELD_HAS_MIN,
     .max = 1048576, .def = "64",
     .doc = "MiB of a request's body up to which `post_arg` variables are looked for in it; in a "
            "larger one they are absent. 0: any size."},
    {"router", FIELD_OBJECT, AT(router), .fields = &router_fields, .def = "{}"},
    {"proxy_mode", FIELD_ENUM, AT(proxy_mode), .names = proxy_modes, .def = "\"http\"",
     .doc = "`http&stream`: stream routes are kept too, but not served yet. `stream` alone is not "
            "there yet."},
    {"enable_control", FIELD_BOOL, AT(enable_control), .def = "true",
     .doc = "Serve the control API."},
    {"control", FIELD_OBJECT, AT(control), .fields = &control_fields,
     .doc = "Where; absent: 127.0.0.1:9090, if that is free."},
    {"status", FIELD_OBJECT, AT(status), .fields = &status_fields,
     .doc = "Where the status API is served; absent: nowhere."},
    {"proxy_cache", FIELD_JSON, AT(proxy_cache), .of = &proxy_cache_row,
     .doc = "Zones of the proxy-cache plugin. The default zones are those of APISIX, but that the "
            "disk zone's folder is `disk_cache_one` in eclusa.data_dir."},
    {"dns_resolver", FIELD_LIST, AT(dns_resolver), .of = &string_row, .min = 1, .max = 32,
     .doc = "DNS servers, with or without a port; absent: /etc/resolv.conf."},
    {"dns_resolver_valid", FIELD_INT, AT(dns_resolver_valid), .flags = FIELD_HAS_MIN, .max = 86400,
     .doc = "Seconds that an answer is used for, instead of its TTL."},
    {"enable_resolv_search_opt", FIELD_BOOL, AT(enable_resolv_search_opt), .def = "true",
     .doc = "Try short names in resolv.conf's search domains."},
    {"resolver_timeout", MEASURE, AT(resolver_timeout), .def = "5",
     .doc = "How long a DNS server may take."},
    {"ssl", FIELD_OBJECT, AT(ssl), .fields = &ssl_fields, .def = "{}"},
    {"data_encryption", FIELD_OBJECT, AT(encryption), .fields = &encryption_fields, .def = "{}"},
    {"lru", FIELD_OBJECT, AT(lru), .fields = &lru_fields, .def = "{}"},
    {"trusted_addresses", FIELD_LIST, AT(trusted_addresses), .flags = FIELD_UNIQUE,
     .of = &string_row, .min = 1,
     .doc = "Addresses and networks whose X-Forwarded-* headers are believed."},
    {0},
};
#undef AT
static const struct fields apisix_fields = {apisix_rows, .size = sizeof(struct raw_apisix),
                                            .open = true};

/* ---- nginx_config -----------------------------------------------------------------------------
 */

#define AT(member) .at = offsetof(struct raw_pool, member)
static const struct field pool_rows[] = {
    {"keepalive", FIELD_INT, AT(size), .flags = FIELD_HAS_MIN, .max = 1000000, .def = "320",
     .doc = "Idle connections kept to an upstream, per worker, where it has no keepalive_pool."},
    {"keepalive_requests", FIELD_INT, AT(requests), .min = 1, .max = 1000000000, .def = "1000",
     .doc = "Requests that one connection may serve."},
    {"keepalive_timeout", MEASURE, AT(timeout), .def = "\"60s\"",
     .doc = "How long an idle connection is kept."},
    {0},
};
#undef AT
static const struct fields pool_fields = {pool_rows, .size = sizeof(struct raw_pool), .open = true};

static const char *const escapes[] = {"default", "json", "none", NULL};

#define ACCESS_FORMAT                                                                  \
    "\"$remote_addr - $remote_user [$time_local] $http_host \\\"$request\\\" $status " \
    "$body_bytes_sent $request_time \\\"$http_referer\\\" \\\"$http_user_agent\\\" "   \
    "$upstream_addr $upstream_status $upstream_response_time "                         \
    "\\\"$upstream_scheme://$upstream_host$upstream_uri\\\" \\\"$apisix_request_id\\\"\""

#define AT(member) .at = offsetof(struct raw_http, member)
static const struct field http_rows[] = {
    {"enable_access_log", FIELD_BOOL, AT(enable_access_log), .def = "true",
     .doc = "Write an access log."},
    {"access_log", FIELD_STR, AT(access_log), .min = 1,
     .doc = "Its file, or `off`; absent: `logs/access.log` in eclusa.data_dir."},
    {"access_log_buffer", MEASURE, AT(access_log_buffer), .def = "16384",
     .doc = "Bytes of lines that are written at once; 0: each line by itself."},
    {"access_log_format", FIELD_STR, AT(access_log_format), .def = ACCESS_FORMAT,
     .doc = "A line, with variables."},
    {"access_log_format_escape", FIELD_ENUM, AT(escape), .names = escapes, .def = "\"default\"",
     .doc =
         "How variables are escaped in it; none is as default, so that no client forges a line."},
    {"keepalive_timeout", MEASURE, AT(keepalive_timeout), .def = "\"60s\"",
     .doc = "How long an idle client connection is kept; 0: not at all."},
    {"client_header_timeout", MEASURE, AT(client_header_timeout), .def = "\"60s\"",
     .doc = "Time for a request's head."},
    {"client_body_timeout", MEASURE, AT(client_body_timeout), .def = "\"60s\"",
     .doc = "Time between two pieces of a request's body."},
    {"client_max_body_size", MEASURE, AT(client_max_body_size), .def = "0",
     .doc = "Largest request body; 0: any."},
    {"send_timeout", MEASURE, AT(send_timeout), .def = "\"10s\"",
     .doc = "Time between two pieces of a response that the client takes."},
    {"underscores_in_headers", FIELD_ANY_OF, AT(underscores), .of = switch_rows, .def = "\"on\"",
     .doc = "Off: headers with underscores in their names are dropped."},
    {"real_ip_header", FIELD_STR, AT(real_ip_header), .def = "\"X-Real-IP\"", .min = 1, .max = 256,
     .doc = "Header that has the client's address, when the peer is in real_ip_from."},
    {"real_ip_recursive", FIELD_ANY_OF, AT(real_ip_recursive), .of = switch_rows, .def = "\"off\"",
     .doc = "On: the last address in that header which is not in real_ip_from; off: the last one."},
    {"real_ip_from", FIELD_LIST, AT(real_ip_from), .of = &string_row,
     .def = "[\"127.0.0.1\",\"unix:\"]", .doc = "Addresses and networks of trusted proxies."},
    {"upstream", FIELD_OBJECT, AT(upstream), .fields = &pool_fields, .def = "{}"},
    {0},
};
#undef AT
static const struct fields http_fields = {http_rows, .size = sizeof(struct raw_http), .open = true};

/* In the order of enum log_level. */
static const char *const levels[] = {"emerg",  "alert", "crit",  "error", "warn",
                                     "notice", "info",  "debug", NULL};

#define AT(member) .at = offsetof(struct raw_nginx, member)
static const struct field nginx_rows[] = {
    {"worker_processes", TEXT, AT(worker_processes), .def = "\"auto\"",
     .doc = "Number of worker threads; `auto`: one for each CPU. The environment variable "
            "APISIX_WORKER_PROCESSES goes before it."},
    {"error_log", FIELD_STR, AT(error_log), .def = "\"stderr\"", .min = 1,
     .doc = "File of the error log, or `stderr`."},
    {"error_log_level", FIELD_ENUM, AT(error_log_level), .names = levels, .def = "\"warn\"",
     .doc = "The least severe level that is written."},
    {"worker_shutdown_timeout", MEASURE, AT(shutdown_timeout), .def = "\"240s\"",
     .doc = "How long requests under way may take after SIGTERM."},
    {"worker_rlimit_nofile", FIELD_INT, AT(rlimit_nofile), .min = 64, .max = 100000000,
     .def = "20480", .doc = "Files and sockets that may be open."},
    {"http", FIELD_OBJECT, AT(http), .fields = &http_fields, .def = "{}"},
    {0},
};
#undef AT
static const struct fields nginx_fields = {nginx_rows, .size = sizeof(struct raw_nginx),
                                           .open = true};

/* ---- deployment -------------------------------------------------------------------------------
 */

static const char *const key_roles[] = {"admin", "viewer", NULL};

#define AT(member) .at = offsetof(struct raw_admin_key, member)
static const struct field admin_key_rows[] = {
    {"name", TEXT, AT(name), .doc = "Whose key it is."},
    {"key", FIELD_ANY_OF, AT(key), .flags = FIELD_AS_TEXT | FIELD_SECRET, .of = text_rows,
     .doc = "The key; empty: one is made, see eclusa.data_dir."},
    {"role", FIELD_ENUM, AT(role), .names = key_roles, .def = "\"admin\"",
     .doc = "`viewer` may only read."},
    {0},
};
#undef AT
static const struct fields admin_key_fields = {admin_key_rows, .size = sizeof(struct raw_admin_key),
                                               .open = true};
static const struct field admin_key_row = {.type = FIELD_OBJECT, .fields = &admin_key_fields};

#define AT(member) .at = offsetof(struct raw_listen, member)
static const struct field admin_listen_rows[] = {
    {"ip", FIELD_STR, AT(ip), .def = "\"127.0.0.1\"", .min = 1,
     .doc = "Address to listen on (APISIX: 0.0.0.0)."},
    {"port", FIELD_INT, AT(port), .min = 1, .max = 65535, .def = "9180", .doc = "Port."},
    {0},
};
#undef AT
static const struct fields admin_listen_fields = {admin_listen_rows,
                                                  .size = sizeof(struct raw_listen), .open = true};

#define AT(member) .at = offsetof(struct raw_admin_tls, member)
static const struct field admin_tls_rows[] = {
    {"admin_ssl_cert", FIELD_STR, AT(cert), .doc = "PEM file of the Admin API's certificate."},
    {"admin_ssl_cert_key", FIELD_STR, AT(key), .doc = "PEM file of its key."},
    {"admin_ssl_ca_cert", FIELD_STR, AT(ca),
     .doc = "PEM file of authorities: clients must show a certificate of theirs."},
    {0},
};
#undef AT
static const struct fields admin_tls_fields = {admin_tls_rows, .size = sizeof(struct raw_admin_tls),
                                               .open = true};

#define AT(member) .at = offsetof(struct raw_admin, member)
static const struct field admin_rows[] = {
    {"admin_key_required", FIELD_BOOL, AT(key_required), .def = "true",
     .doc = "False: whoever reaches the Admin API may use it."},
    {"admin_key", FIELD_LIST, AT(keys), .of = &admin_key_row, .max = 1000,
     .doc = "Keys of the Admin API. Absent: one is made at the first start and kept in "
            "`admin.key` in eclusa.data_dir."},
    {"enable_admin_cors", FIELD_BOOL, AT(cors), .def = "true",
     .doc = "Send CORS headers with the Admin API's responses."},
    {"enable_admin_ui", FIELD_BOOL, AT(ui), .def = "true",
     .doc = "Serve the files of eclusa.admin_ui_dir below `/ui/`, to whoever allow_admin lets in."},
    {"allow_admin", FIELD_LIST, AT(allow), .of = &string_row, .def = "[\"127.0.0.0/24\",\"::1\"]",
     .doc = "Addresses and networks that may use the Admin API."},
    {"admin_listen", FIELD_OBJECT, AT(listen), .fields = &admin_listen_fields, .def = "{}"},
    {"https_admin", FIELD_BOOL, AT(https), .def = "false",
     .doc = "Serve the Admin API over TLS, with the versions and ciphers of apisix.ssl."},
    {"admin_api_mtls", FIELD_OBJECT, AT(tls), .fields = &admin_tls_fields, .def = "{}"},
    {"admin_api_version", TEXT, AT(api_version), .def = "\"v3\"",
     .doc = "Anything else: the Admin API answers in the shape of version 2."},
    {0},
};
#undef AT
static const struct fields admin_fields = {admin_rows, .size = sizeof(struct raw_admin),
                                           .open = true};

#define ROLE_FIELDS(prefix, text)                                                                 \
    static const struct field prefix##_rows[] = {                                                 \
        {"config_provider", FIELD_STR, .at = offsetof(struct raw_role, provider), .min = 1,       \
         .doc = (text)},                                                                          \
        {0},                                                                                      \
    };                                                                                            \
    static const struct fields prefix##_fields = {prefix##_rows, .size = sizeof(struct raw_role), \
                                                  .open = true}
ROLE_FIELDS(
    role,
    "Where the configuration is kept: `sqlite`, a file in eclusa.data_dir; `etcd`; `yaml`: given "
    "whole over the Admin API (with enable_admin false: read from apisix.yaml beside this file). "
    "Absent: etcd when deployment.etcd is there, else sqlite.");
ROLE_FIELDS(control_plane, "`etcd`, which is also the default: data planes read it there.");
ROLE_FIELDS(data_plane,
            "Where configuration comes from: `etcd` (the default), `yaml` (apisix.yaml beside this "
            "file) or `json` (apisix.json).");
#undef ROLE_FIELDS

/* ---- deployment.etcd --------------------------------------------------------------------------
 */

#define AT(member) .at = offsetof(struct raw_etcd_tls, member)
static const struct field etcd_tls_rows[] = {
    {"cert", FIELD_STR, AT(cert), .min = 1, .doc = "PEM file of the client's certificate."},
    {"key", FIELD_STR, AT(key), .min = 1, .doc = "PEM file of its key."},
    {"verify", FIELD_BOOL, AT(verify), .def = "true",
     .doc = "Verify etcd's certificate, by the system's authorities and "
            "apisix.ssl.ssl_trusted_certificate."},
    {"sni", FIELD_STR, AT(sni), .min = 1, .max = 253, .pattern = "^[0-9A-Za-z.-]+\\z",
     .doc = "Name to ask for and to verify, instead of the host's."},
    {0},
};
#undef AT
static const struct fields etcd_tls_fields = {etcd_tls_rows, .size = sizeof(struct raw_etcd_tls),
                                              .open = true};

static const struct field etcd_host_row = {
    .type = FIELD_STR, .max = 1000, .pattern = "^https?://[!-~]+\\z"};

#define AT(member)    .at = offsetof(struct raw_etcd, member)
#define SECONDS(m, n) FIELD_INT, AT(m), .min = 1, .max = 86400, .def = n
static const struct field etcd_rows[] = {
    {"host", FIELD_LIST, AT(host), .of = &etcd_host_row, .min = 1, .max = 100,
     .def = "[\"http://127.0.0.1:2379\"]",
     .doc = "Endpoints of one cluster; when one fails the next is used. The environment variable "
            "APISIX_DEPLOYMENT_ETCD_HOST (a JSON list) goes first."},
    {"prefix", FIELD_STR, AT(prefix), .max = 1000, .def = "\"/apisix\"",
     .doc = "What all keys begin with."},
    {"timeout", SECONDS(timeout, "30"), .doc = "Seconds for a whole call."},
    {"watch_timeout", SECONDS(watch_timeout, "50"),
     .doc = "A watch that was silent for so many seconds is opened anew."},
    {"resync_delay", SECONDS(resync_delay, "5"),
     .doc = "Longest pause, in seconds, between two tries to get back in sync; the first comes "
            "after 0.1 s. Half of it is added by chance."},
    {"health_check_timeout", SECONDS(health_check_timeout, "10"),
     .doc = "Seconds for which an endpoint that hung is left alone."},
    {"startup_retry", FIELD_INT, AT(startup_retry), .min = 1, .max = 1000, .def = "2",
     .doc = "Tries at start."},
    {"user", TEXT, AT(user), .doc = "Name for etcd's authentication; absent: none."},
    {"password", TEXT, AT(password), .doc = "Its password."},
    {"tls", FIELD_OBJECT, AT(tls), .fields = &etcd_tls_fields, .def = "{}"},
    {0},
};
#undef SECONDS
#undef AT
static const struct fields etcd_fields = {etcd_rows, .size = sizeof(struct raw_etcd), .open = true};

#define AT(member) .at = offsetof(struct raw_deployment, member)
static const struct field deployment_rows[] = {
    {"role", FIELD_STR, AT(role), .def = "\"traditional\"",
     .doc = "`traditional`; `control_plane`: the Admin API alone, no requests are served; or "
            "`data_plane`: without the Admin API."},
    {"role_traditional", FIELD_OBJECT, AT(traditional), .fields = &role_fields, .def = "{}"},
    {"role_control_plane", FIELD_OBJECT, AT(control_plane), .fields = &control_plane_fields,
     .def = "{}"},
    {"role_data_plane", FIELD_OBJECT, AT(data_plane), .fields = &data_plane_fields, .def = "{}"},
    {"etcd", FIELD_OBJECT, AT(etcd), .fields = &etcd_fields, .def = "{}"},
    {"admin", FIELD_OBJECT, AT(admin), .fields = &admin_fields, .def = "{}"},
    {0},
};
#undef AT
static const struct fields deployment_fields = {
    deployment_rows, .size = sizeof(struct raw_deployment), .open = true};

/* ---- eclusa -----------------------------------------------------------------------------------
 */

#define AT(member) .at = offsetof(struct raw_history, member)
static const struct field history_rows[] = {
    {"changes", FIELD_INT, AT(changes), .flags = FIELD_HAS_MIN, .max = 10000000, .def = "10000",
     .doc = "Changes of documents that are kept with what was before and after, of which at most "
            "128 MiB; 0: none, and nothing can be rolled back."},
    {"age", MEASURE, AT(age), .def = "\"90d\"", .doc = "For how long; 0: for any time."},
    {0},
};
#undef AT
static const struct fields history_fields = {history_rows, .size = sizeof(struct raw_history),
                                             .open = true};

#define AT(member) .at = offsetof(struct raw_eclusa, member)
static const struct field eclusa_rows[] = {
    {"data_dir", FIELD_STR, AT(data_dir), .def = "\"data\"", .min = 1, .max = 3000,
     .doc = "Folder of all that survives a restart; made when missing."},
    {"admin_ui_dir", FIELD_STR, AT(admin_ui_dir), .def = "\"/usr/share/eclusa/ui\"", .min = 1,
     .max = 3000,
     .doc = "Folder of a web interface, such as [APISIX's dashboard](migration.md#the-dashboard): "
            "its files stand below `/ui/` beside the Admin API. It need not be there."},
    {"upstream_tls_verify", FIELD_BOOL, AT(upstream_tls_verify), .def = "true",
     .doc = "Verify the certificates of upstreams (APISIX does not)."},
    {"server_header", FIELD_STR, AT(server_header), .max = 256, .pattern = "^[ -~]*\\z",
     .doc = "Value of the Server header; empty: none is sent; absent: the program's name, with "
            "its version when apisix.enable_server_tokens is true."},
    {"max_header_bytes", MEASURE, AT(max_header_bytes), .def = "32768",
     .doc = "Largest head of a request, request line included (1k to 1m)."},
    {"max_headers", FIELD_INT, AT(max_headers), .min = 8, .max = 10000, .def = "100",
     .doc = "Headers in a request or response."},
    {"max_uri_bytes", MEASURE, AT(max_uri_bytes), .def = "16384",
     .doc = "Longest path with query, not above max_header_bytes."},
    {"request_buffer_bytes", MEASURE, AT(request_buffer_bytes), .def = "65536",
     .doc = "Bytes of a request's body that are kept for a retry on another node; a longer body "
            "is not retried once more of it has been sent (up to 64m)."},
    {"access_log_flush", MEASURE, AT(access_log_flush), .def = "\"3s\"",
     .doc = "No line waits longer in the access log's buffer."},
    {"history", FIELD_OBJECT, AT(history), .fields = &history_fields, .def = "{}"},
    {0},
};
#undef AT
static const struct fields eclusa_fields = {eclusa_rows, .size = sizeof(struct raw_eclusa),
                                            .open = true};

/* ---- The file ---------------------------------------------------------------------------------
 */

static const struct field any_map_row = {.type = FIELD_MAP};

static const struct field graphql_rows[] = {
    {"max_size", FIELD_INT, .at = offsetof(struct raw_graphql, max_size), .min = 1,
     .max = 1073741824, .def = "1048576",
     .doc = "Bytes of a request's body up to which `graphql_…` variables are looked for in it."},
    {0},
};
static const struct fields graphql_fields = {graphql_rows, .size = sizeof(struct raw_graphql),
                                             .open = true};

static const struct field xrpc_protocol_rows[] = {
    {"name", FIELD_STR, .flags = FIELD_REQUIRED, .at = offsetof(struct raw_xrpc_protocol, name),
     .doc = "redis or dubbo."},
    {0},
};
static const struct fields xrpc_protocol_fields = {
    xrpc_protocol_rows, .size = sizeof(struct raw_xrpc_protocol), .open = true};
static const struct field xrpc_protocol_row = {.type = FIELD_OBJECT,
                                               .fields = &xrpc_protocol_fields};
static const struct field xrpc_rows[] = {
    {"protocols", FIELD_LIST, .at = offsetof(struct raw_xrpc, protocols), .of = &xrpc_protocol_row,
     .max = 100, .doc = "Protocols that stream routes may name; not served yet."},
    {0},
};
static const struct fields xrpc_fields = {xrpc_rows, .size = sizeof(struct raw_xrpc), .open = true};

static const char *const order_names[] = {"last", "SRV", "A", "AAAA", "CNAME", NULL};
static const struct field order_row = {.type = FIELD_ENUM, .names = order_names};

#define AT(member) .at = offsetof(struct raw_discovery_dns, member)
static const struct field discovery_dns_rows[] = {
    {"servers", FIELD_LIST, AT(servers), .of = &string_row, .min = 1, .max = 32,
     .doc = "DNS servers for upstreams with `discovery_type` dns, with or without a port."},
    {"resolv_conf", FIELD_STR, AT(resolv_conf), .min = 1,
     .doc = "A file of resolv.conf's form that names them."},
    {"order", FIELD_LIST, .flags = FIELD_UNIQUE, AT(order), .of = &order_row, .min = 1, .max = 5,
     .doc = "Which records are asked for, the first ones first; by default SRV, then A and AAAA. "
            "`last` and `CNAME` make no difference."},
    {0},
};
#undef AT
static const struct field_rule discovery_dns_rules[] = {{RULE_ONE_OF, "servers|resolv_conf", 0},
                                                        {0}};
static const struct fields discovery_dns_fields = {discovery_dns_rows, discovery_dns_rules,
                                                   sizeof(struct raw_discovery_dns), .open = true};
static const struct field discovery_rows[] = {
    {"dns", FIELD_OBJECT, .at = offsetof(struct raw_discovery, dns),
     .fields = &discovery_dns_fields, .doc = "Service discovery by DNS."},
    {0},
};
static const struct fields discovery_fields = {discovery_rows, .size = sizeof(struct raw_discovery),
                                               .open = true};

#define AT(member) .at = offsetof(struct raw_settings, member)
static const struct field settings_rows[] = {
    {"apisix", FIELD_OBJECT, AT(apisix), .fields = &apisix_fields, .def = "{}"},
    {"nginx_config", FIELD_OBJECT, AT(nginx), .fields = &nginx_fields, .def = "{}"},
    {"deployment", FIELD_OBJECT, AT(deployment), .fields = &deployment_fields, .def = "{}"},
    {"eclusa", FIELD_OBJECT, AT(eclusa), .fields = &eclusa_fields, .def = "{}"},
    {"graphql", FIELD_OBJECT, AT(graphql), .fields = &graphql_fields, .def = "{}"},
    {"xrpc", FIELD_OBJECT, AT(xrpc), .fields = &xrpc_fields, .def = "{}"},
    {"discovery", FIELD_OBJECT, AT(discovery), .fields = &discovery_fields},
    {"plugins", FIELD_LIST, AT(plugins), .of = &string_row,
     .doc = "Names of the plugins that may be used; absent: all."},
    {"plugin_attr", FIELD_JSON, AT(plugin_attr), .of = &any_map_row,
     .doc = "Settings of plugins that count for the whole process, by name."},
    {0},
};
#undef AT
const struct fields settings_fields = {settings_rows, .size = sizeof(struct raw_settings),
                                       .open = true};

const char *const settings_idle_keys[] = {
    "apisix.disable_sync_configuration_during_start",
    "apisix.enable_http2",
    "apisix.enable_reuseport",
    "apisix.extra_lua_cpath",
    "apisix.extra_lua_path",
    "apisix.id",
    "apisix.lru.secret.count",
    "apisix.lru.secret.neg_count",
    "apisix.lua_module_hook",
    "apisix.proxy_protocol",
    "apisix.router.ssl",
    "apisix.ssl.ssl_cert",
    "apisix.ssl.ssl_cert_key",
    "apisix.stream_proxy",
    "apisix.tracing",
    "apisix.worker_startup_time_threshold",
    "deployment.certs",
    "discovery.consul",
    "discovery.consul_kv",
    "discovery.eureka",
    "discovery.kubernetes",
    "discovery.nacos",
    "discovery.tars",
    "ext-plugin",
    "nginx_config.enable_cpu_affinity",
    "nginx_config.envs",
    "nginx_config.event",
    "nginx_config.http.charset",
    "nginx_config.http.custom_lua_shared_dict",
    "nginx_config.http.lua_shared_dict",
    "nginx_config.http.proxy_ssl_server_name",
    "nginx_config.http.variables_hash_max_size",
    "nginx_config.http_admin_configuration_snippet",
    "nginx_config.http_configuration_snippet",
    "nginx_config.http_end_configuration_snippet",
    "nginx_config.http_server_configuration_snippet",
    "nginx_config.http_server_location_configuration_snippet",
    "nginx_config.main_configuration_snippet",
    "nginx_config.max_pending_timers",
    "nginx_config.max_running_timers",
    "nginx_config.meta",
    "nginx_config.stream",
    "nginx_config.stream_configuration_snippet",
    "nginx_config.user",
    "stream_plugins",
    "wasm",
    NULL,
};
