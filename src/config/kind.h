/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of resources, as APISIX names them: one table for store keys, Admin API paths and
 * messages. */
#ifndef CONFIG_KIND_H
#define CONFIG_KIND_H

#include "base/field.h"
#include "base/str.h"

/* X(constant, collection in URLs, name in messages)
 * The order is the order in which documents are compiled at start: what is referred to comes first.
 */
#define KINDS(X)                                                         \
    X(SECRET, "secrets", "secret")                                       \
    X(UPSTREAM, "upstreams", "upstream")                                 \
    X(SERVICE, "services", "service")                                    \
    X(DECORATION, "graphql_cost_decorations", "graphql cost decoration") \
    X(PROTO, "protos", "proto")                                          \
    X(PLUGIN_CONFIG, "plugin_configs", "plugin config")                  \
    X(PLUGIN_METADATA, "plugin_metadata", "plugin_metadata")             \
    X(GLOBAL_RULE, "global_rules", "global rule")                        \
    X(CONSUMER_GROUP, "consumer_groups", "consumer group")               \
    X(CONSUMER, "consumers", "consumer")                                 \
    X(CREDENTIAL, "credentials", "credential")                           \
    X(ROUTE, "routes", "route")                                          \
    X(STREAM_ROUTE, "stream_routes", "stream route")                     \
    X(SSL, "ssls", "ssl")
enum kind {
#define KIND_ENUM(constant, collection, noun) KIND_##constant,
    KINDS(KIND_ENUM)
#undef KIND_ENUM
        KIND_COUNT
};

struct kind_info {
    struct str collection;       /* "routes" */
    struct str noun;             /* "route", as error messages say it */
    const struct fields *fields; /* the resource's table */
    const char *methods;         /* Admin API methods allowed, space-separated */
    struct str folder;           /* first part of the store's keys: "routes" */
    const char *shape;           /* of the id behind the folder: "*", or parts split by slashes, of
                                    which "*" stands for anything */
    bool identity;               /* its plugins are parsed by their consumer tables */
    bool times;                  /* create_time and update_time are kept in it */
    const char *hidden[2];       /* members that are never shown; NULL: none */
    enum kind owner; /* whose documents its own belong to, and go with; KIND_COUNT: none */
};

extern const struct kind_info kinds[KIND_COUNT];

/* KIND_COUNT when no kind has that collection name. */
enum kind kind_by_collection(struct str collection);

#endif
