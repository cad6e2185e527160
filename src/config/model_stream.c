/* SPDX-License-Identifier: Apache-2.0 */
/* The field tables of stream routes and of the protocols in them: APISIX 3.18's schema_def and
 * apisix/stream/xrpc. */
#include "config/model.h"

#include <stddef.h>

/* ---- Protocols ---- */

static const struct field text_row = {.name = "text", .type = FIELD_STR};

static const struct field fault_rows[] = {
    {"commands", FIELD_LIST, .flags = FIELD_REQUIRED, .min = 1, .of = &text_row,
     .doc = "Commands that are delayed."},
    {"key", FIELD_STR, .min = 1, .doc = "Only those of this key."},
    {"delay", FIELD_NUM, .flags = FIELD_REQUIRED, .doc = "Seconds."},
    {0},
};
static const struct fields fault_fields = {fault_rows, .open = true};
static const struct field fault_row = {"fault", FIELD_OBJECT, .fields = &fault_fields};
static const struct field redis_rows[] = {
    {"faults", FIELD_LIST, .min = 1, .of = &fault_row, .doc = "Delays that are added."},
    {0},
};
static const struct fields redis_fields = {redis_rows, .open = true};

const struct model_protocol model_protocols[] = {
    {{"redis", 5}, &redis_fields}, {{"dubbo", 5}, NULL}, {.fields = NULL}};

/* ---- Stream routes ---- */

static const struct field array_row = {.name = "array", .type = FIELD_LIST};
static const struct field object_row = {.name = "object", .type = FIELD_MAP};

static const struct field logger_rows[] = {
    {"name", FIELD_STR, .doc = "A logger plugin."},
    {"filter", FIELD_JSON, .of = &array_row, .doc = "Expression that must hold."},
    {"conf", FIELD_JSON, .of = &object_row, .doc = "Its configuration."},
    {0},
};
static const struct field_rule logger_rules[] = {{RULE_DEPENDS, "name,conf", 0}, {0}};
static const struct fields logger_fields = {logger_rows, logger_rules, .open = false};
static const struct field logger_row = {"logger", FIELD_OBJECT, .fields = &logger_fields};
static const struct field loggers_row = {.name = "loggers", .type = FIELD_LIST, .of = &logger_row};

#define AT(member) .at = offsetof(struct stream_protocol_doc, member)

static const struct field protocol_rows[] = {
    {"name", FIELD_STR, .flags = FIELD_REQUIRED, AT(name), .doc = "Protocol spoken."},
    {"superior_id", FIELD_ANY_OF, .flags = FIELD_AS_TEXT, AT(superior_id), .of = model_id_rows,
     .doc = "Stream route whose connections this one takes over."},
    {"conf", FIELD_JSON, AT(conf), .of = &object_row, .doc = "The protocol's configuration."},
    {"logger", FIELD_JSON, AT(logger), .of = &loggers_row, .doc = "Loggers of its requests."},
    {0},
};
static const struct fields protocol_fields = {protocol_rows, NULL,
                                              sizeof(struct stream_protocol_doc), .open = true};

#undef AT
#define AT(member) .at = offsetof(struct stream_route_doc, member)

static const struct field stream_route_rows[] = {
    MODEL_HEAD_ROWS,
    MODEL_NAME_ROW(1, 256),
    {"remote_addr", FIELD_STR, AT(remote_addr), .of = field_address_rows, .doc = "client IP"},
    {"server_addr", FIELD_STR, AT(server_addr), .of = field_address_rows, .doc = "server IP"},
    {"server_port", FIELD_INT, AT(server_port), .min = 1, .max = 65535, .doc = "server port"},
    {"sni", FIELD_STR, AT(sni), .pattern = MODEL_HOST_PATTERN, .doc = "server name indication"},
    {"upstream", FIELD_OBJECT, AT(upstream), .fields = &model_upstream_fields,
     .doc = "Upstream of this stream route alone."},
    {"upstream_id", FIELD_ANY_OF, .flags = FIELD_AS_TEXT, AT(upstream_id), .of = model_id_rows,
     .doc = "Upstream; wins over `upstream`."},
    {"service_id", FIELD_ANY_OF, .flags = FIELD_AS_TEXT, AT(service_id), .of = model_id_rows,
     .doc = "Service that it belongs to."},
    {"plugins", FIELD_MAP, AT(plugins), .doc = "Stream plugins by name."},
    {"protocol", FIELD_OBJECT, AT(protocol), .fields = &protocol_fields,
     .doc = "Protocol above TCP."},
    {0},
};
const struct fields model_stream_route_fields = {
    stream_route_rows, NULL, sizeof(struct stream_route_doc), false,
    "Which connections are proxied as streams, and where to."};
