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

void catalog_plugin_list(struct call *c)
{
    struct str subsystem = subsystem_of(c);
    json_t *names = json_array();

    if (!str_eq(subsystem, STR("http")) && !str_eq(subsystem, STR("stream"))) {
        json_decref(names);
        reply_bare(c, 400, STR("invalid subsystem passed"));
        return;
    }
    for (size_t i = 0; str_eq(subsystem, STR("http")) && c->admin->plugins[i]; i++)
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

static const struct plugin *plugin_find(struct call *c, struct str name)
{
    for (size_t i = 0; c->admin->plugins[i]; i++) {
        if (str_eq(str_of(c->admin->plugins[i]->name), name))
            return c->admin->plugins[i];
    }
    return NULL;
}

static bool plugin_has_consumer(const struct plugin *p)
{
    return p->auth || p->consumer;
}

/* ?all=true: everything about every plugin, which APISIX's dashboard asks for. */
static json_t *plugins_all(struct call *c)
{
    const struct builder *b = keeper_builder(c->keeper);
    json_t *all = json_object();

    for (size_t i = 0; c->admin->plugins[i]; i++) {
        const struct plugin *p = c->admin->plugins[i];
        struct str name = str_of(p->name);
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
        reply_json(c, 200, http ? plugins_all(c) : json_object());
        return;
    }
    const struct plugin *p = http ? plugin_find(c, c->id) : NULL;
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

static void schema_get(struct call *c)
{
    enum kind kind = kind_by_schema_name(c->id);
    json_t *schema = kind == KIND_COUNT ? NULL : builder_kind_schema(kind);

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
