/* SPDX-License-Identifier: Apache-2.0 */
/* The field table of upstreams and of the health checks in them: APISIX 3.18's schema_def. */
#include "config/model.h"

#include <stddef.h>

#define AT(part, member) .at = offsetof(struct part, member)

/* ---- Health checks ---- */

static const char *const check_types[] = {"http", "https", "tcp", NULL};

static const struct field http_status_row = {"status", FIELD_INT, .min = 200, .max = 599};
static const struct field text_row = {.name = "text", .type = FIELD_STR};

/* Rows that the four states of active and passive checks have in different measure. */
#define STATUSES_ROW(list)                                                                \
    {                                                                                     \
        "http_statuses", FIELD_LIST, .flags = FIELD_UNIQUE, AT(check_side_doc, statuses), \
                                     .min = 1, .of = &http_status_row, .def = (list),     \
                                     .doc = "Status codes that count."                    \
    }
#define COUNT_ROW(row_name, member, from, number, text)                                           \
    {                                                                                             \
        (row_name), FIELD_INT, .flags = FIELD_HAS_MIN, AT(check_side_doc, member), .min = (from), \
                               .max = 254, .def = (number), .doc = (text)                         \
    }
#define INTERVAL_ROW                                                                              \
    {                                                                                             \
        "interval", FIELD_INT, AT(check_side_doc, interval), .min = 1, .def = "1",                \
                                                             .doc = "Seconds between two probes." \
    }
static const struct field active_healthy_rows[] = {
    INTERVAL_ROW,
    STATUSES_ROW("[200,302]"),
    COUNT_ROW("successes", successes, 1, "2", "Successes in a row that make a node healthy."),
    {0},
};
static const struct field active_unhealthy_rows[] = {
    INTERVAL_ROW,
    STATUSES_ROW("[429,404,500,501,502,503,504,505]"),
    COUNT_ROW("http_failures", http_failures, 1, "5",
              "Bad status codes that make a node unhealthy."),
    COUNT_ROW("tcp_failures", tcp_failures, 1, "2",
              "Failed connections that make a node unhealthy."),
    COUNT_ROW("timeouts", timeouts, 1, "3", "Timeouts that make a node unhealthy."),
    {0},
};
static const struct field passive_healthy_rows[] = {
    STATUSES_ROW("[200,201,202,203,204,205,206,207,208,226,300,301,302,303,304,305,306,307,308]"),
    COUNT_ROW("successes", successes, 0, "5",
              "Successes in a row that make a node healthy; 0: they do not count."),
    {0},
};
static const struct field passive_unhealthy_rows[] = {
    STATUSES_ROW("[429,500,503]"),
    COUNT_ROW("tcp_failures", tcp_failures, 0, "2",
              "Failed connections that make a node unhealthy; 0: they do not count."),
    COUNT_ROW("timeouts", timeouts, 0, "7",
              "Timeouts that make a node unhealthy; 0: they do not count."),
    COUNT_ROW("http_failures", http_failures, 0, "5",
              "Bad status codes that make a node unhealthy; 0: they do not count."),
    {0},
};
#define SIDE_FIELDS(rows)                                         \
    {                                                             \
        (rows), NULL, sizeof(struct check_side_doc), .open = true \
    }
const struct fields model_active_healthy_fields = SIDE_FIELDS(active_healthy_rows);
const struct fields model_active_unhealthy_fields = SIDE_FIELDS(active_unhealthy_rows);
const struct fields model_passive_healthy_fields = SIDE_FIELDS(passive_healthy_rows);
const struct fields model_passive_unhealthy_fields = SIDE_FIELDS(passive_unhealthy_rows);

static const struct field active_rows[] = {
    {"type", FIELD_ENUM, AT(active_doc, type), .names = check_types, .def = "\"http\"",
     .doc = "Protocol of the probe."},
    {"timeout", FIELD_NUM, AT(active_doc, timeout), .def = "1", .doc = "Seconds for a probe."},
    {"concurrency", FIELD_INT, AT(active_doc, concurrency), .def = "10",
     .doc = "Probes of the upstream at the same time."},
    {"host", FIELD_STR, AT(active_doc, host), .pattern = MODEL_HOST_PATTERN,
     .doc = "Host header of the probe, and name in its TLS."},
    {"port", FIELD_INT, AT(active_doc, port), .min = 1, .max = 65535,
     .doc = "Port in place of the node's."},
    {"http_method", FIELD_ENUM, AT(active_doc, method), .names = model_methods, .def = "\"GET\"",
     .doc = "Method."},
    {"http_path", FIELD_STR, AT(active_doc, path), .def = "\"/\"", .doc = "Path."},
    {"http_req_body", FIELD_STR, AT(active_doc, body), .def = "\"\"", .doc = "Request body."},
    {"https_verify_certificate", FIELD_BOOL, AT(active_doc, verify), .def = "true",
     .doc = "Verify the certificate."},
    {"healthy", FIELD_OBJECT, AT(active_doc, healthy), .fields = &model_active_healthy_fields,
     .doc = "When a node is healthy."},
    {"unhealthy", FIELD_OBJECT, AT(active_doc, unhealthy), .fields = &model_active_unhealthy_fields,
     .doc = "When it is not."},
    {"req_headers", FIELD_LIST, AT(active_doc, headers), .min = 1, .of = &text_row,
     .doc = "Headers as \"Name: value\"."},
    {0},
};
static const struct field passive_rows[] = {
    {"type", FIELD_ENUM, AT(passive_doc, type), .names = check_types, .def = "\"http\"",
     .doc = "Protocol."},
    {"healthy", FIELD_OBJECT, AT(passive_doc, healthy), .fields = &model_passive_healthy_fields,
     .doc = "When a node is healthy."},
    {"unhealthy", FIELD_OBJECT, AT(passive_doc, unhealthy),
     .fields = &model_passive_unhealthy_fields, .doc = "When it is not."},
    {0},
};
static const struct fields active_fields = {active_rows, NULL, sizeof(struct active_doc),
                                            .open = true};
static const struct fields passive_fields = {passive_rows, NULL, sizeof(struct passive_doc),
                                             .open = true};

static const struct field checks_rows[] = {
    {"active", FIELD_OBJECT, AT(checks_doc, active), .fields = &active_fields,
     .doc = "Probes sent by the gateway."},
    {"passive", FIELD_OBJECT, AT(checks_doc, passive), .fields = &passive_fields,
     .doc = "What requests tell."},
    {0},
};
static const struct field_rule checks_rules[] = {{RULE_ANY_OF, "active|active,passive", 0}, {0}};
static const struct fields checks_fields = {checks_rows, checks_rules, sizeof(struct checks_doc),
                                            .open = true};

/* ---- Nodes ---- */

static const struct field node_rows[] = {
    {"host", FIELD_STR, .flags = FIELD_REQUIRED, .pattern = MODEL_HOST_PATTERN,
     .doc = "Name or address; IPv6 in brackets."},
    {"port", FIELD_INT, .min = 1, .max = 65535, .doc = "port of node"},
    {"weight", FIELD_INT, .flags = FIELD_REQUIRED | FIELD_HAS_MIN, .doc = "weight of node"},
    {"priority", FIELD_INT, .def = "0", .doc = "priority of node"},
    {"metadata", FIELD_MAP, .doc = "metadata of node"},
    {0},
};
static const struct fields node_fields = {node_rows, .open = true};
static const struct field node_row = {"node", FIELD_OBJECT, .fields = &node_fields};
static const struct field weight_row = {"weight", FIELD_INT, .flags = FIELD_HAS_MIN,
                                        .doc = "weight of node"};
static const struct field nodes_rows[] = {
    {"map", FIELD_MAP, .of = &weight_row},
    {"array", FIELD_LIST, .of = &node_row},
    {0},
};

/* ---- Parts ---- */

static const struct field verify_row = {.name = "verify", .type = FIELD_BOOL};

static const struct field tls_rows[] = {
    {"client_cert_id", FIELD_ANY_OF, .flags = FIELD_AS_TEXT, AT(tls_doc, client_cert_id),
     .of = model_id_rows, .doc = "An ssl resource of type client."},
    {"client_cert", FIELD_STR, AT(tls_doc, client_cert), .min = 128, .max = 64 * 1024,
     .doc = "Certificate shown to the upstream (PEM)."},
    {"client_key", FIELD_STR, .flags = FIELD_SECRET, AT(tls_doc, client_key), .min = 64,
     .max = 64 * 1024, .doc = "Its key (PEM)."},
    {"verify", FIELD_JSON, AT(tls_doc, verify), .of = &verify_row,
     .doc = "Verify the upstream's certificate; by default as eclusa.upstream_tls_verify says."},
    {0},
};
static const struct field_rule tls_rules[] = {
    {RULE_DEPENDS_SCHEMA, "client_cert,client_key|client_key,client_cert", 0},
    {RULE_EXCLUDES, "client_cert_id,client_cert,client_key", 0},
    {0},
};
static const struct fields tls_fields = {tls_rows, tls_rules, sizeof(struct tls_doc), .open = true};

static const struct field keepalive_rows[] = {
    {"size", FIELD_INT, AT(keepalive_doc, size), .min = 1, .def = "320",
     .doc = "Idle connections kept."},
    {"idle_timeout", FIELD_NUM, .flags = FIELD_HAS_MIN, AT(keepalive_doc, idle_timeout),
     .def = "60", .doc = "Seconds after which an idle connection is closed."},
    {"requests", FIELD_INT, AT(keepalive_doc, requests), .min = 1, .def = "1000",
     .doc = "Requests after which a connection is closed."},
    {0},
};
static const struct fields keepalive_fields = {keepalive_rows, NULL, sizeof(struct keepalive_doc),
                                               .open = true};

static const struct field warm_up_rows[] = {
    {"slow_start_time_seconds", FIELD_INT, .flags = FIELD_REQUIRED, AT(warm_up_doc, window),
     .min = 1, .doc = "How long a new node takes to its whole weight."},
    {"min_weight_percent", FIELD_INT, .flags = FIELD_REQUIRED, AT(warm_up_doc, percent), .min = 1,
     .max = 100, .doc = "Part of its weight that it has at least."},
    {"interval", FIELD_INT, AT(warm_up_doc, interval), .min = 1, .def = "1",
     .doc = "Seconds between two changes of the weight."},
    {"aggression", FIELD_NUM, AT(warm_up_doc, aggression), .min = 0.01, .def = "1",
     .doc = "Above 1 the weight grows more at the beginning, below 1 more at the end."},
    {"startup_grace_period_seconds", FIELD_INT, .flags = FIELD_HAS_MIN, AT(warm_up_doc, grace),
     .def = "0", .doc = "After the start of the gateway no node is new for so long."},
    {0},
};
static const struct fields warm_up_fields = {.rows = warm_up_rows,
                                             .size = sizeof(struct warm_up_doc)};

static const struct field retry_status_row = {"status", FIELD_INT, .min = 400, .max = 599};
static const struct field retry_on_rows[] = {
    {"statuses", FIELD_LIST, .flags = FIELD_UNIQUE, AT(retry_on_doc, statuses), .min = 1,
     .of = &retry_status_row,
     .doc = "A response with one of these is dropped, and another node tried, if one is left."},
    {"methods", FIELD_LIST, .flags = FIELD_UNIQUE, AT(retry_on_doc, methods), .min = 1,
     .of = &model_method_row,
     .doc = "What may be sent again though the first node may have acted on it; by default the "
            "idempotent methods: all but POST and PATCH."},
    {0},
};
static const struct fields retry_on_fields = {.rows = retry_on_rows,
                                              .size = sizeof(struct retry_on_doc)};

static const struct field argument_rows[] = {
    {"namespace_id", FIELD_STR, .doc = "namespace id"},
    {"group_name", FIELD_STR, .doc = "group name"},
    {0},
};
static const struct fields argument_fields = {argument_rows, .open = true};
static const struct field arguments_row = {"discovery_args", FIELD_OBJECT,
                                           .fields = &argument_fields};

/* ---- Upstreams ---- */

static const char *const hash_names[] = {
    "vars", "header", "cookie", "consumer", "vars_combinations", NULL};
static const char *const scheme_names[] = {"grpc", "grpcs", "http",  "https", "tcp",
                                           "tls",  "udp",   "kafka", NULL};
static const char *const pass_host_names[] = {"pass", "node", "rewrite", NULL};

static const struct field retries_row = {"retries", FIELD_INT, .flags = FIELD_HAS_MIN};

static const struct field upstream_rows[] = {
    MODEL_HEAD_ROWS,
    MODEL_NAME_ROW(1, 256),
    {"nodes", FIELD_ANY_OF, AT(upstream_doc, nodes), .of = nodes_rows,
     .doc = "Servers: {\"host:port\": weight, …} or [{host, port, weight, priority}, …]."},
    {"retries", FIELD_JSON, AT(upstream_doc, retries), .of = &retries_row,
     .doc = "Further nodes tried when one fails; by default all others."},
    {"retry_timeout", FIELD_NUM, .flags = FIELD_HAS_MIN, AT(upstream_doc, retry_timeout),
     .doc = "Seconds after which no further node is tried; 0: no limit."},
    {"retry_on", FIELD_OBJECT, AT(upstream_doc, retry_on), .fields = &retry_on_fields,
     .doc = "When else another node is tried (not in APISIX)."},
    {"timeout", FIELD_OBJECT, AT(upstream_doc, timeout), .fields = &model_timeout_fields,
     .doc = "Timeouts; 60 seconds each by default."},
    {"tls", FIELD_OBJECT, AT(upstream_doc, tls), .fields = &tls_fields,
     .doc = "TLS to the upstream."},
    {"keepalive_pool", FIELD_OBJECT, AT(upstream_doc, keepalive_pool), .fields = &keepalive_fields,
     .doc = "Kept connections."},
    {"warm_up_conf", FIELD_OBJECT, AT(upstream_doc, warm_up), .fields = &warm_up_fields,
     .doc = "Slow start of new nodes."},
    {"type", FIELD_STR, AT(upstream_doc, type), .def = "\"roundrobin\"",
     .doc = "algorithms of load balancing"},
    {"checks", FIELD_OBJECT, AT(upstream_doc, checks), .fields = &checks_fields,
     .doc = "Health checks."},
    {"hash_on", FIELD_ENUM, AT(upstream_doc, hash_on), .names = hash_names, .def = "\"vars\"",
     .doc = "What `key` names, for chash."},
    {"key", FIELD_STR, AT(upstream_doc, key), .doc = "the key of chash for dynamic load balancing"},
    {"scheme", FIELD_ENUM, AT(upstream_doc, scheme), .names = scheme_names, .def = "\"http\"",
     .doc = "The scheme of the upstream; this version supports http and https."},
    {"discovery_type", FIELD_STR, AT(upstream_doc, discovery_type),
     .doc = "Where the nodes of `service_name` are known; this version supports dns."},
    {"discovery_args", FIELD_JSON, AT(upstream_doc, discovery_args), .of = &arguments_row,
     .doc = "Its arguments."},
    {"pass_host", FIELD_ENUM, AT(upstream_doc, pass_host), .names = pass_host_names,
     .def = "\"pass\"", .doc = "Host header: the client's, the node's, or `upstream_host`."},
    {"upstream_host", FIELD_STR, AT(upstream_doc, upstream_host), .pattern = MODEL_HOST_PATTERN,
     .doc = "Host header when `pass_host` is rewrite."},
    {"service_name", FIELD_STR, AT(upstream_doc, service_name), .min = 1, .max = 256,
     .doc = "Name in service discovery."},
    {0},
};
static const struct field_rule upstream_rules[] = {
    {RULE_ONE_OF, "nodes|service_name,discovery_type", 0}, {0}};
const struct fields model_upstream_fields = {upstream_rows, upstream_rules,
                                             sizeof(struct upstream_doc), false,
                                             "Servers and how they are reached."};
