/* SPDX-License-Identifier: Apache-2.0 */
/* Documents as their field tables parse them; the tables themselves are reached by kinds[]. All of
 * this lives only while a document is compiled. */
#ifndef CONFIG_MODEL_H
#define CONFIG_MODEL_H

#include "config/kind.h"

/* What every kind has. */
struct doc_head {
    struct str id, name, desc;
    struct field_list labels; /* of struct field_pair */
    int64_t create_time, update_time;
};

struct timeout_doc {
    double connect, send, read; /* seconds */
};

struct tls_doc {
    struct str client_cert_id, client_cert, client_key;
    json_t *verify; /* boolean; NULL: not said */
};

struct keepalive_doc {
    int64_t size, requests;
    double idle_timeout; /* seconds */
};

/* `healthy` and `unhealthy` of active and passive checks; each has some of these. */
struct check_side_doc {
    int64_t interval;           /* seconds */
    struct field_list statuses; /* of int64_t */
    int64_t successes, http_failures, tcp_failures, timeouts;
};

struct active_doc {
    int type; /* enum check_type */
    double timeout;
    int64_t concurrency, port;
    struct str host, path, body;
    int method; /* enum method; -1: not said */
    bool verify;
    struct check_side_doc *healthy, *unhealthy; /* NULL: not said */
    struct field_list headers;                  /* of struct str: "Name: value" */
};

struct passive_doc {
    int type;                                   /* makes no difference */
    struct check_side_doc *healthy, *unhealthy; /* NULL: not said */
};

struct checks_doc {
    struct active_doc *active;
    struct passive_doc *passive; /* NULL: none */
};

struct warm_up_doc {
    int64_t window, percent, interval, grace; /* seconds */
    double aggression;
};

struct retry_on_doc {
    struct field_list statuses; /* of int64_t */
    struct field_list methods;  /* of int: enum method */
};

enum upstream_scheme {
    SCHEME_GRPC,
    SCHEME_GRPCS,
    SCHEME_HTTP,
    SCHEME_HTTPS,
    SCHEME_TCP,
    SCHEME_TLS,
    SCHEME_UDP,
    SCHEME_KAFKA,
};

enum hash_on { HASH_VARS, HASH_HEADER, HASH_COOKIE, HASH_CONSUMER, HASH_COMBINATIONS };

struct upstream_doc {
    struct doc_head head;
    json_t *nodes; /* map or array; NULL: discovered */
    json_t *retries;
    double retry_timeout;
    struct timeout_doc *timeout;
    struct tls_doc *tls;
    struct keepalive_doc *keepalive_pool;
    struct warm_up_doc *warm_up;
    struct retry_on_doc *retry_on;
    struct str type;
    struct checks_doc *checks; /* NULL: none */
    int hash_on, scheme, pass_host;
    struct str key, upstream_host;
    struct str discovery_type, service_name;
    json_t *discovery_args;
};

struct route_doc {
    struct doc_head head;
    struct str uri, host, remote_addr;
    struct field_list uris, hosts, remote_addrs; /* of struct str */
    struct field_list methods;                   /* of int: enum method */
    int64_t priority, status;
    struct timeout_doc *timeout;
    json_t *vars;
    struct str filter_func, script, script_id;
    struct field_list plugins; /* of struct field_member */
    struct upstream_doc *upstream;
    struct str plugin_config_id, upstream_id, service_id;
    json_t *enable_websocket;
};

struct service_doc {
    struct doc_head head;
    struct field_list plugins, hosts;
    struct upstream_doc *upstream;
    struct str upstream_id, script;
    json_t *enable_websocket;
};

struct consumer_doc {
    struct doc_head head;
    struct str username, group_id;
    struct field_list plugins;
};

struct credential_doc {
    struct doc_head head;
    struct field_list plugins;
};

/* A weight in the cost of GraphQL queries, below a service. */
struct decoration_doc {
    struct doc_head head;
    struct str service_id, field_path;
    double add_value, mul_value;
    struct field_list add_arguments, mul_arguments; /* of struct str */
};

struct proto_doc {
    struct doc_head head;
    struct str content;
};

struct stream_protocol_doc {
    struct str name, superior_id;
    json_t *conf, *logger;
};

struct stream_route_doc {
    struct doc_head head;
    struct str server_addr, remote_addr, sni;
    int64_t server_port; /* 0: any */
    struct upstream_doc *upstream;
    struct str upstream_id, service_id;
    struct field_list plugins;
    struct stream_protocol_doc *protocol;
};

/* A protocol that stream routes may speak (APISIX: xRPC); checked only. */
struct model_protocol {
    struct str name;             /* absent: behind the last one */
    const struct fields *fields; /* of its conf; NULL: any object */
};

/* Also a consumer group. */
struct plugin_config_doc {
    struct doc_head head;
    struct field_list plugins;
};

enum ssl_type { SSL_SERVER, SSL_CLIENT };

struct ssl_client_doc {
    struct str ca;
    int64_t depth;
    struct field_list skip; /* of struct str */
};

struct ssl_doc {
    struct doc_head head;
    int type; /* enum ssl_type */
    struct str cert, key, sni;
    struct field_list snis, certs, keys; /* of struct str */
    struct ssl_client_doc *client;
    int64_t status;
    struct field_list protocols; /* of int */
};

/* What a secret manager's documents ("MANAGER/ID") hold; NULL: there is no such manager. */
const struct fields *model_manager_fields(struct str id);

/* `_meta` in a plugin's configuration. */
struct meta_doc {
    bool disable;
    json_t *error_response, *filter, *priority;
    struct str pre_function;
};

/* The rows that kinds share; tables refer to them. */
extern const struct field model_id_rows[], model_label_row, model_host_row, model_method_row;
extern const struct fields model_timeout_fields, model_upstream_fields, model_meta_fields;
extern const struct fields model_ssl_fields;
extern const struct fields model_stream_route_fields;
extern const struct model_protocol model_protocols[];
/* For the defaults of what is left out. */
extern const struct fields model_active_healthy_fields, model_active_unhealthy_fields;
extern const struct fields model_passive_healthy_fields, model_passive_unhealthy_fields;
extern const char *const model_methods[]; /* in the order of enum method */

#define MODEL_HOST_PATTERN "^\\*$|^\\*?[0-9a-zA-Z-._\\[\\]:]+$"

/* The first rows of a kind's table; each kind's struct begins with its struct doc_head. */
#define MODEL_NAME_ROW(shortest, longest)                                            \
    {                                                                                \
        "name", FIELD_STR, .at = offsetof(struct doc_head, name), .min = (shortest), \
                           .max = (longest), .doc = "A name for people."             \
    }
#define MODEL_ID_ROW                                                                     \
    {                                                                                    \
        "id", FIELD_ANY_OF, .flags = FIELD_AS_TEXT, .at = offsetof(struct doc_head, id), \
                            .of = model_id_rows,                                         \
                            .doc = "Identifier; given by the URL when it is left out."   \
    }
#define MODEL_TIME_ROWS                                                                   \
    {"create_time", FIELD_INT, .at = offsetof(struct doc_head, create_time),              \
     .doc = "Set by the gateway: when it was made, in seconds since 1970."},              \
    {                                                                                     \
        "update_time", FIELD_INT,                                                         \
            .at = offsetof(struct doc_head, update_time),                                 \
            .doc = "Set by the gateway: when it was last changed, in seconds since 1970." \
    }
#define MODEL_HEAD_ROWS MODEL_ID_ROW, MODEL_ABOUT_ROWS
#define MODEL_ABOUT_ROWS                                                                       \
    {"desc", FIELD_STR, .at = offsetof(struct doc_head, desc), .max = 256,                     \
     .doc = "A description for people."},                                                      \
        {"labels", FIELD_MAP, .at = offsetof(struct doc_head, labels), .of = &model_label_row, \
         .doc = "key/value pairs to specify attributes"},                                      \
        MODEL_TIME_ROWS

#endif
