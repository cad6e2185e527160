/* SPDX-License-Identifier: Apache-2.0 */
/* What the program knows about itself: plugins, schemas, validation against them
 * (apisix/admin/plugins.lua, schema.lua). */
#include "admin/admin_int.h"
#include "config/fields.h"

static struct str subsystem_of(struct call *c)
{
    struct str given = query_arg(c, STR("subsystem"));

    return given.p ? given : STR("http");
}

/* ---- Plugins -----------------------------------------------------------------------------------
 */

/* Stream routes may have it, or any. */
static bool is_in(const struct plugin *p, bool stream)
{
    return !stream || builder_plugin_streams(str_of(p->name));
}

void catalog_plugin_list(struct call *c)
{
    struct str subsystem = subsystem_of(c);
    json_t *names = json_array();

    if (!str_eq(subsystem, STR("http")) && !str_eq(subsystem, STR("stream"))) {
        json_decref(names);
        reply_bare(c, 400, STR("invalid subsystem passed"));
        return;
    }
    for (size_t i = 0; c->admin->plugins[i]; i++)
        if (is_in(c->admin->plugins[i], str_eq(subsystem, STR("stream"))))
            json_array_append_new(names, json_string(c->admin->plugins[i]->name));
    reply_json(c, 200, names);
}

/* Plugins are part of the program, and which are on is read at its start: there is nothing to load,
 * but scripts ask for it. */
void catalog_reload(struct call *c)
{
    if (c->verb == VERB_PUT)
        reply_bare(c, 200, STR("done"));
    else
        reply_error(c, 405,
                    "please use PUT method to reload the plugins, %.*s method is not allowed.",
                    STR_ARG(c->method));
}

static const struct plugin *plugin_find(struct call *c, struct str name, bool stream)
{
    for (size_t i = 0; c->admin->plugins[i]; i++) {
        const struct plugin *p = c->admin->plugins[i];
        if (str_eq(str_of(p->name), name))
            return is_in(p, stream) ? p : NULL;
    }
    return NULL;
}

static bool plugin_has_consumer(const struct plugin *p)
{
    return p->auth || p->consumer;
}

/* ?all=true: everything about every plugin, which APISIX's dashboard asks for. */
static json_t *plugins_all(struct call *c, bool stream)
{
    const struct builder *b = keeper_builder(c->keeper);
    json_t *all = json_object();

    for (size_t i = 0; c->admin->plugins[i]; i++) {
        const struct plugin *p = c->admin->plugins[i];
        struct str name = str_of(p->name);
        if (!is_in(p, stream))
            continue;
        json_t *one = json_pack("{sfsiso*}", "version", p->version, "priority", p->priority,
                                "schema", builder_plugin_schema(b, name, false));
        if (p->auth)
            json_object_set_new(one, "type", json_string("auth"));
        if (plugin_has_consumer(p))
            json_object_set_new(one, "consumer_schema", builder_plugin_schema(b, name, true));
        if (p->metadata)
            json_object_set_new(one, "metadata_schema", fields_schema(p->metadata));
        json_object_set_new(all, p->name, one);
    }
    return all;
}

static void plugin_get(struct call *c)
{
    struct str subsystem = subsystem_of(c);
    bool http = str_eq(subsystem, STR("http"));

    if (!http && !str_eq(subsystem, STR("stream"))) {
        reply_error(c, 400, "unsupported subsystem: %.*s", STR_ARG(subsystem));
        return;
    }
    if (str_eq(query_arg(c, STR("all")), STR("true"))) {
        reply_json(c, 200, plugins_all(c, !http));
        return;
    }
    const struct plugin *p = plugin_find(c, c->id, !http);
    if (!p) {
        reply_error(c, 404, "plugin not found in subsystem %.*s", STR_ARG(subsystem));
        return;
    }
    bool consumer = str_eq(query_arg(c, STR("schema_type")), STR("consumer"));
    json_t *schema = NULL;
    if (!consumer || plugin_has_consumer(p))
        schema = builder_plugin_schema(keeper_builder(c->keeper), c->id, consumer);
    if (schema)
        reply_json(c, 200, schema);
    else
        reply_error(c, 400, "not found schema");
}

handler_fn *const plugin_handlers[VERB_COUNT] = {[VERB_GET] = plugin_get};

/* ---- Schemas -----------------------------------------------------------------------------------
 */

/* "plugin config" is plugin_config here. */
static enum kind kind_by_schema_name(struct str name)
{
    for (int k = 0; k < KIND_COUNT; k++) {
        struct str noun = kinds[k].noun;
        bool same = noun.n == name.n;
        for (size_t i = 0; same && i < noun.n; i++)
            same = name.p[i] == (noun.p[i] == ' ' ? '_' : noun.p[i]);
        if (same)
            return (enum kind)k;
    }
    return KIND_COUNT;
}

/* Schemas that APISIX has under names of their own; what of a JSON schema, as text. */
static const struct {
    struct str name;
    const char *text;
} further[] = {
    {{"upstream_hash_vars_schema", 25},
     "{\"type\":\"string\",\"pattern\":\"^((uri|server_name|server_addr|request_uri|remote_port|"
     "remote_addr|query_string|host|hostname|mqtt_client_id)|arg_[0-9a-zA-z_-]+)$\"}"},
    {{"upstream_hash_header_schema", 27}, "{\"type\":\"string\",\"pattern\":\"^[a-zA-Z0-9-_]+$\"}"},
    {{"plugins", 7},
     "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":"
     "\"string\",\"minLength\":1},\"stream\":{\"type\":\"boolean\"}},\"required\":[\"name\"]}}"},
};

/* A new reference; NULL: there is none of that name. */
static json_t *schema_by_name(struct str name)
{
    enum kind kind = kind_by_schema_name(name);

    for (size_t i = 0; i < sizeof(further) / sizeof(further[0]); i++)
        if (str_eq(further[i].name, name))
            return json_loads(further[i].text, 0, NULL);
    return kind == KIND_COUNT ? NULL : builder_kind_schema(kind);
}

json_t *catalog_schemas(struct call *c)
{
    static const char *const names[] = {"consumer",
                                        "consumer_group",
                                        "global_rule",
                                        "graphql_cost_decoration",
                                        "plugin_config",
                                        "plugins",
                                        "proto",
                                        "route",
                                        "service",
                                        "ssl",
                                        "stream_route",
                                        "upstream",
                                        "upstream_hash_header_schema",
                                        "upstream_hash_vars_schema"};
    json_t *all = json_object();

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        json_object_set_new(all, names[i], schema_by_name(str_of(names[i])));
    return json_pack("{sososo}", "main", all, "plugins", plugins_all(c, false), "stream_plugins",
                     plugins_all(c, true));
}

static void schema_get(struct call *c)
{
    json_t *schema = schema_by_name(c->id);

    if (schema)
        reply_json(c, 200, schema);
    else
        reply_error(c, 400, "not found schema: %.*s", STR_ARG(c->id));
}

handler_fn *const schema_handlers[VERB_COUNT] = {[VERB_GET] = schema_get};

void catalog_validate(struct call *c)
{
    enum kind kind = kind_by_collection(c->id);
    struct str err = STR_NONE;

    if (kind == KIND_COUNT)
        reply_error(c, 404, "Unsupported resource type: %.*s", STR_ARG(c->id));
    else if (check_schema(c, kind, c->json, &err))
        reply_empty(c, 200);
    else
        reply_error(c, 400, "%.*s", STR_ARG(err));
}
