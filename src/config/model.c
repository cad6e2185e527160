/* SPDX-License-Identifier: Apache-2.0 */
/* The field tables of routes, services, consumers and plugin configs: APISIX 3.18's schema_def,
 * row by row. */
#include "config/model.h"

#include <stddef.h>

/* ---- Shared rows ---- */

const struct field model_id_rows[] = {
    {"string", FIELD_STR, .min = 1, .max = 64, .pattern = "^[a-zA-Z0-9-_.]+$"},
    {"integer", FIELD_INT, .min = 1},
    {0},
};

const struct field model_label_row = {"label",    FIELD_STR,           .min = 1,
                                      .max = 256, .pattern = "^\\S+$", .doc = "value of label"};
const struct field model_host_row = {"host", FIELD_STR, .pattern = MODEL_HOST_PATTERN};

const char *const model_methods[] = {"GET",     "POST",    "PUT",   "DELETE", "PATCH", "HEAD",
                                     "OPTIONS", "CONNECT", "TRACE", "PURGE",  NULL};

static const struct field timeout_rows[] = {
    {"connect", FIELD_NUM, .flags = FIELD_REQUIRED | FIELD_ABOVE_MIN,
     .at = offsetof(struct timeout_doc, connect), .doc = "Seconds to connect."},
    {"send", FIELD_NUM, .flags = FIELD_REQUIRED | FIELD_ABOVE_MIN,
     .at = offsetof(struct timeout_doc, send), .doc = "Seconds between two writes."},
    {"read", FIELD_NUM, .flags = FIELD_REQUIRED | FIELD_ABOVE_MIN,
     .at = offsetof(struct timeout_doc, read), .doc = "Seconds between two reads."},
    {0},
};
const struct fields model_timeout_fields = {timeout_rows, .size = sizeof(struct timeout_doc),
                                            .open = true};

static const struct field error_response_rows[] = {
    {.name = "string", .type = FIELD_STR},
    {.name = "object", .type = FIELD_MAP},
    {0},
};
static const struct field array_row = {.name = "array", .type = FIELD_LIST};
static const struct field integer_row = {.name = "integer", .type = FIELD_INT};
static const struct field boolean_row = {.name = "boolean", .type = FIELD_BOOL};
static const struct field uri_row = {"uri", FIELD_STR, .doc = "HTTP uri"};
const struct field model_method_row = {"method", FIELD_ENUM, .names = model_methods,
                                       .doc = "HTTP method"};

static const struct field meta_rows[] = {
    {"disable", FIELD_BOOL, .at = offsetof(struct meta_doc, disable),
     .doc = "The plugin does not run."},
    {"error_response", FIELD_ONE_OF, .at = offsetof(struct meta_doc, error_response),
     .of = error_response_rows, .doc = "Body in place of the plugin's own when it refuses."},
    {"priority", FIELD_JSON, .at = offsetof(struct meta_doc, priority), .of = &integer_row,
     .doc = "priority of plugins by customized order"},
    {"filter", FIELD_JSON, .at = offsetof(struct meta_doc, filter), .of = &array_row,
     .doc = "filter determines whether the plugin needs to be executed at runtime"},
    {"pre_function", FIELD_STR, .at = offsetof(struct meta_doc, pre_function),
     .doc = "Lua that returns a function of the configuration and the context; it runs before each "
            "of the plugin's phases."},
    {0},
};
const struct fields model_meta_fields = {meta_rows, .size = sizeof(struct meta_doc)};

static const struct field remote_addr_row = {"remote_addr", FIELD_STR, .of = field_address_rows,
                                             .doc = "client IP"};

/* ---- Routes ---- */

static const char *const status_names[] = {"1", "0", NULL};

#define AT(member) .at = offsetof(struct route_doc, member)

static const struct field route_rows[] = {
    MODEL_HEAD_ROWS,
    MODEL_NAME_ROW(1, 256),
    {"uri", FIELD_STR, AT(uri), .min = 1, .max = 4096,
     .doc = "Path that the route serves: exact, or a prefix when it ends with `*`."},
    {"uris", FIELD_LIST, .flags = FIELD_UNIQUE, AT(uris), .min = 1, .of = &uri_row,
     .doc = "Several of them."},
    {"priority", FIELD_INT, AT(priority), .def = "0",
     .doc = "Among routes with the same path, the largest is tried first."},
    {"methods", FIELD_LIST, .flags = FIELD_UNIQUE, AT(methods), .of = &model_method_row,
     .doc = "Methods served; all when there are none."},
    {"host", FIELD_STR, AT(host), .pattern = MODEL_HOST_PATTERN,
     .doc = "Host served; `*.` in front stands for any labels."},
    {"hosts", FIELD_LIST, .flags = FIELD_UNIQUE, AT(hosts), .min = 1, .of = &model_host_row,
     .doc = "Several of them."},
    {"remote_addr", FIELD_STR, AT(remote_addr), .of = field_address_rows,
     .doc = "Client address or network served."},
    {"remote_addrs", FIELD_LIST, .flags = FIELD_UNIQUE, AT(remote_addrs), .min = 1,
     .of = &remote_addr_row, .doc = "Several of them."},
    {"timeout", FIELD_OBJECT, AT(timeout), .fields = &model_timeout_fields,
     .doc = "Overrides the upstream's timeouts."},
    {"vars", FIELD_JSON, AT(vars), .of = &array_row,
     .doc = "Expression over variables that must hold for the route to be taken."},
    {"filter_func", FIELD_STR, AT(filter_func), .min = 10, .pattern = "^function",
     .doc = "Lua function of the variables that must return something true."},
    {"script", FIELD_STR, AT(script), .min = 10, .max = 102400,
     .doc = "Lua script in place of plugins; not supported by this version."},
    {"script_id", FIELD_ANY_OF, .flags = FIELD_AS_TEXT, AT(script_id), .of = model_id_rows,
     .doc = "Kept for the dashboard."},
    {"plugins", FIELD_MAP, AT(plugins), .doc = "Plugins by name."},
    {"plugin_config_id", FIELD_ANY_OF, .flags = FIELD_AS_TEXT, AT(plugin_config_id),
     .of = model_id_rows, .doc = "Plugin config that fills in what `plugins` leaves out."},
    {"upstream", FIELD_OBJECT, AT(upstream), .fields = &model_upstream_fields,
     .doc = "Upstream of this route alone."},
    {"service_id", FIELD_ANY_OF, .flags = FIELD_AS_TEXT, AT(service_id), .of = model_id_rows,
     .doc = "Service that the route belongs to."},
    {"upstream_id", FIELD_ANY_OF, .flags = FIELD_AS_TEXT, AT(upstream_id), .of = model_id_rows,
     .doc = "Upstream; wins over `upstream`."},
    {"enable_websocket", FIELD_JSON, AT(enable_websocket), .of = &boolean_row,
     .doc = "enable websocket for request"},
    {"status", FIELD_INT, AT(status), .names = status_names, .def = "1",
     .doc = "route status, 1 to enable, 0 to disable"},
    {0},
};
static const struct field_rule route_rules[] = {
    {RULE_ALL_ONE_OF, "uri|uris", 0},
    {RULE_ALL_NONE_OR_ONE, "host|hosts", 0},
    {RULE_ALL_NONE_OR_ONE, "remote_addr|remote_addrs", 0},
    {RULE_ANY_OF,
     "plugins,uri|upstream,uri|upstream_id,uri|service_id,uri|plugins,uris|upstream,uris|"
     "upstream_id,uris|service_id,uris|script,uri|script,uris",
     0},
    {RULE_NOT_BOTH, "script,plugins|script,plugin_config_id", 0},
    {0},
};
static const struct fields route_fields = {route_rows, route_rules, sizeof(struct route_doc), false,
                                           "Which requests are served, and how."};

#undef AT
#define AT(member) .at = offsetof(struct service_doc, member)

static const struct field service_rows[] = {
    MODEL_HEAD_ROWS,
    MODEL_NAME_ROW(1, 256),
    {"plugins", FIELD_MAP, AT(plugins), .doc = "Plugins by name; a route's own win."},
    {"upstream", FIELD_OBJECT, AT(upstream), .fields = &model_upstream_fields,
     .doc = "Upstream of this service alone."},
    {"upstream_id", FIELD_ANY_OF, .flags = FIELD_AS_TEXT, AT(upstream_id), .of = model_id_rows,
     .doc = "Upstream; wins over `upstream`."},
    {"script", FIELD_STR, AT(script), .min = 10, .max = 102400,
     .doc = "Lua script in place of plugins; not supported by this version."},
    {"enable_websocket", FIELD_JSON, AT(enable_websocket), .of = &boolean_row,
     .doc = "enable websocket for request"},
    {"hosts", FIELD_LIST, .flags = FIELD_UNIQUE, AT(hosts), .min = 1, .of = &model_host_row,
     .doc = "Hosts of the routes that name none."},
    {0},
};
static const struct fields service_fields = {service_rows, NULL, sizeof(struct service_doc), false,
                                             "What several routes have in common."};

#undef AT
#define AT(member) .at = offsetof(struct consumer_doc, member)

static const struct field consumer_rows[] = {
    {"username", FIELD_STR, .flags = FIELD_REQUIRED, AT(username), .min = 1, .max = 256,
     .pattern = "^[a-zA-Z0-9_\\-]+$", .doc = "Name, and identifier."},
    MODEL_HEAD_ROWS,
    {"group_id", FIELD_ANY_OF, .flags = FIELD_AS_TEXT, AT(group_id), .of = model_id_rows,
     .doc = "Consumer group."},
    {"plugins", FIELD_MAP, AT(plugins),
     .doc = "Credentials, by auth plugin, and plugins that run for this consumer."},
    {0},
};
static const struct fields consumer_fields = {consumer_rows, NULL, sizeof(struct consumer_doc),
                                              false, "Who sends requests."};

#undef AT
#define AT(member) .at = offsetof(struct credential_doc, member)

/* In files it stands among the consumers, by its whole name. */
static const struct field credential_id_rows[] = {
    {"string", FIELD_STR, .min = 1, .max = 64, .pattern = "^[a-zA-Z0-9-_.]+$"},
    {"integer", FIELD_INT, .min = 1},
    {"whole", FIELD_STR, .min = 15, .max = 128,
     .pattern = "^[a-zA-Z0-9-_]+/credentials/[a-zA-Z0-9-_.]+$"},
    {0},
};
static const struct field credential_rows[] = {
    {"id", FIELD_ANY_OF, .flags = FIELD_AS_TEXT, .at = offsetof(struct doc_head, id),
     .of = credential_id_rows, .doc = "Identifier; given by the URL when it is left out."},
    MODEL_ABOUT_ROWS,
    MODEL_NAME_ROW(1, 256),
    {"plugins", FIELD_MAP, AT(plugins), .max = 1, .doc = "One auth plugin with its credential."},
    {0},
};
static const struct fields credential_fields = {credential_rows, NULL,
                                                sizeof(struct credential_doc), false,
                                                "A further way in which a consumer may log in."};

#undef AT
#define AT(member) .at = offsetof(struct plugin_config_doc, member)

static const struct field plugin_config_rows[] = {
    MODEL_HEAD_ROWS,
    MODEL_NAME_ROW(0, 0),
    {"plugins", FIELD_MAP, .flags = FIELD_REQUIRED, AT(plugins), .doc = "Plugins by name."},
    {0},
};
static const struct fields plugin_config_fields = {plugin_config_rows, NULL,
                                                   sizeof(struct plugin_config_doc), false,
                                                   "Plugins that several routes share."};

static const struct field consumer_group_rows[] = {
    MODEL_HEAD_ROWS,
    MODEL_NAME_ROW(1, 256),
    {"plugins", FIELD_MAP, .flags = FIELD_REQUIRED, AT(plugins), .doc = "Plugins by name."},
    {0},
};
static const struct fields consumer_group_fields = {consumer_group_rows, NULL,
                                                    sizeof(struct plugin_config_doc), false,
                                                    "Plugins that several consumers share."};

static const struct field global_rule_rows[] = {
    MODEL_ID_ROW,
    {"plugins", FIELD_MAP, .flags = FIELD_REQUIRED, AT(plugins), .doc = "Plugins by name."},
    MODEL_TIME_ROWS,
    {0},
};
static const struct fields global_rule_fields = {global_rule_rows, NULL,
                                                 sizeof(struct plugin_config_doc), false,
                                                 "Plugins that run for every request."};

/* What is in it is said by the plugin's own table. */
static const struct field metadata_rows[] = {
    {"id", FIELD_STR, .at = offsetof(struct doc_head, id),
     .doc = "Name of the plugin; given by the URL."},
    {0},
};
static const struct fields metadata_fields = {metadata_rows, NULL, sizeof(struct doc_head), true,
                                              "What a plugin is told once, for all its places."};

/* What is in it is said by its manager's table. */
static const struct field secret_rows[] = {
    {"id", FIELD_STR, .at = offsetof(struct doc_head, id), .doc = "MANAGER/ID; given by the URL."},
    MODEL_TIME_ROWS,
    {0},
};
static const struct fields secret_fields = {secret_rows, NULL, sizeof(struct doc_head), true,
                                            "A place where secrets are kept."};

#undef AT
#define AT(member) .at = offsetof(struct decoration_doc, member)

static const struct field argument_row = {.name = "argument", .type = FIELD_STR, .min = 1};

static const struct field decoration_rows[] = {
    MODEL_HEAD_ROWS,
    MODEL_NAME_ROW(1, 256),
    {"service_id", FIELD_ANY_OF, .flags = FIELD_AS_TEXT, AT(service_id), .of = model_id_rows,
     .doc = "Service that it belongs to; given by the URL."},
    {"field_path", FIELD_STR, .flags = FIELD_REQUIRED, AT(field_path),
     .pattern = "^[A-Za-z_][A-Za-z0-9_]*(\\.[A-Za-z_][A-Za-z0-9_]*)*$",
     .doc = "Place in the GraphQL schema: `Type`, `Type.field`, or a chain of fields."},
    {"add_value", FIELD_NUM, .flags = FIELD_HAS_MIN, AT(add_value), .def = "1",
     .doc = "The field's own cost."},
    {"add_arguments", FIELD_LIST, AT(add_arguments), .of = &argument_row,
     .doc = "Arguments of the query whose values are added to it."},
    {"mul_value", FIELD_NUM, .flags = FIELD_HAS_MIN, AT(mul_value), .def = "1",
     .doc = "By what the cost of all that is selected below is multiplied."},
    {"mul_arguments", FIELD_LIST, AT(mul_arguments), .of = &argument_row,
     .doc = "Arguments of the query by whose values it is multiplied."},
    {0},
};
static const struct fields decoration_fields = {decoration_rows, NULL,
                                                sizeof(struct decoration_doc), false,
                                                "What a place in a GraphQL schema costs."};

#undef AT
#define AT(member) .at = offsetof(struct proto_doc, member)

static const struct field proto_rows[] = {
    MODEL_HEAD_ROWS,
    MODEL_NAME_ROW(1, 256),
    {"content", FIELD_STR, .flags = FIELD_REQUIRED, AT(content), .min = 1, .max = 1024 * 1024,
     .doc = "Text of a .proto file, or a compiled descriptor set in base64."},
    {0},
};
static const struct fields proto_fields = {proto_rows, NULL, sizeof(struct proto_doc), false,
                                           "Messages and services of gRPC."};

/* ---- Kinds ---- */

#define METHODS_ALL   "GET PUT POST DELETE PATCH"
#define METHODS_NAMED "GET PUT DELETE PATCH" /* no POST: the client chooses the id */

#define METHODS_WHOLE "GET PUT DELETE"

#define METHODS_FIXED "GET PUT POST DELETE" /* no PATCH */

/* Fields, methods, folder in the store, shape of ids there, identity, times,
 * what is hidden, whose they are. */
#define NO_HIDDEN  \
    {              \
        NULL, NULL \
    }

#define UPSTREAM_PARTS \
    &model_upstream_fields, METHODS_ALL, TEXT("upstreams"), "*", false, true, NO_HIDDEN, KIND_COUNT
#define SERVICE_PARTS \
    &service_fields, METHODS_ALL, TEXT("services"), "*", false, true, NO_HIDDEN, KIND_COUNT
#define PLUGIN_CONFIG_PARTS                                                                    \
    &plugin_config_fields, METHODS_NAMED, TEXT("plugin_configs"), "*", false, true, NO_HIDDEN, \
        KIND_COUNT
#define CONSUMER_GROUP_PARTS                                                                     \
    &consumer_group_fields, METHODS_NAMED, TEXT("consumer_groups"), "*", false, true, NO_HIDDEN, \
        KIND_COUNT
#define CONSUMER_PARTS \
    &consumer_fields, METHODS_WHOLE, TEXT("consumers"), "*", true, true, NO_HIDDEN, KIND_COUNT
#define CREDENTIAL_PARTS                                                                 \
    &credential_fields, METHODS_WHOLE, TEXT("consumers"), "*/credentials/*", true, true, \
        NO_HIDDEN, KIND_CONSUMER
#define ROUTE_PARTS \
    &route_fields, METHODS_ALL, TEXT("routes"), "*", false, true, NO_HIDDEN, KIND_COUNT

#define SSL_PARTS \
    &model_ssl_fields, METHODS_ALL, TEXT("ssls"), "*", false, true, {"key", "keys"}, KIND_COUNT
#define DECORATION_PARTS                                                                      \
    &decoration_fields, METHODS_ALL, TEXT("services"), "*/graphql_cost_decorations/*", false, \
        true, NO_HIDDEN, KIND_SERVICE
#define PROTO_PARTS \
    &proto_fields, METHODS_FIXED, TEXT("protos"), "*", false, true, NO_HIDDEN, KIND_COUNT
#define STREAM_ROUTE_PARTS                                                                         \
    &model_stream_route_fields, METHODS_FIXED, TEXT("stream_routes"), "*", false, true, NO_HIDDEN, \
        KIND_COUNT
#define SECRET_PARTS \
    &secret_fields, METHODS_NAMED, TEXT("secrets"), "*/*", false, true, NO_HIDDEN, KIND_COUNT
#define PLUGIN_METADATA_PARTS                                                               \
    &metadata_fields, METHODS_WHOLE, TEXT("plugin_metadata"), "*", false, false, NO_HIDDEN, \
        KIND_COUNT
#define GLOBAL_RULE_PARTS                                                                  \
    &global_rule_fields, METHODS_NAMED, TEXT("global_rules"), "*", false, true, NO_HIDDEN, \
        KIND_COUNT

#define TEXT(literal)                \
    {                                \
        literal, sizeof(literal) - 1 \
    }
#define KIND_ROW(constant, plural, singular) \
    [KIND_##constant] = {TEXT(plural), TEXT(singular), constant##_PARTS},

const struct kind_info kinds[KIND_COUNT] = {KINDS(KIND_ROW)};

enum kind kind_by_collection(struct str collection)
{
    enum kind k = 0;

    while (k < KIND_COUNT && !str_eq(kinds[k].collection, collection))
        k++;
    return k;
}
