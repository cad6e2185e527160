/* SPDX-License-Identifier: Apache-2.0 */
/* Documents in the control API: as they are stored, with their revisions. */
#include "admin/control_int.h"
#include "base/cidr.h"

static bool is_name(struct str host)
{
    struct cidr address;

    if (host.n > 2 && host.p[0] == '[')
        host = str_make(host.p + 1, host.n - 2);
    return host.n > 0 && !cidr_parse(host, &address);
}

/* Whether a node is named, and not an address. */
static bool has_domain(const json_t *value)
{
    json_t *nodes = json_object_get(value, "nodes"), *node;
    const char *key;
    size_t i;

    if (!nodes)
        nodes = json_object_get(json_object_get(value, "upstream"), "nodes");
    json_object_foreach(nodes, key, node)
    {
        struct str host = str_of(key);
        ptrdiff_t colon = str_rfind(host, ':');
        if (is_name(colon < 0 ? host : str_head(host, (size_t)colon)))
            return true;
    }
    json_array_foreach(nodes, i, node)
    {
        const char *host = json_string_value(json_object_get(node, "host"));
        if (host && is_name(str_of(host)))
            return true;
    }
    return false;
}

static json_t *document_json(const struct call *c, const struct store_item *item, json_t *value)
{
    return json_pack("{sososIsIsIsb}", "key",
                     json_any(arena_join(c->a, c->admin->prefix, item->key)), "value", value,
                     "createdIndex", (json_int_t)item->created, "modifiedIndex",
                     (json_int_t)item->modified, "orig_modifiedIndex", (json_int_t)item->modified,
                     "has_domain", has_domain(value));
}

static bool add_document(const struct question *q, struct buf *out, size_t *n, enum kind kind,
                         const struct store_item *item, json_t *value)
{
    json_incref(value);
    return list_add_json(out, n,
                         kind == KIND_PLUGIN_METADATA ? value : document_json(q->c, item, value));
}

static void dump_all(struct question *q, enum kind kind)
{
    static const struct list_form form = {"application/json", "[", "]\n", add_document};

    control_list(q, &kind, 1, &form);
}

static void dump_one(struct question *q, enum kind kind, const char *noun)
{
    struct store_item item;
    json_t *value;

    if (!stored_find(q, kind, q->rest, &item, &value))
        reply_error(q->c, 404, "%s[%.*s] not found", noun, STR_ARG(q->rest));
    else
        reply_json(q->c, 200,
                   kind == KIND_PLUGIN_METADATA ? value : document_json(q->c, &item, value));
}

void control_routes(struct question *q)
{
    dump_all(q, KIND_ROUTE);
}

void control_route(struct question *q)
{
    dump_one(q, KIND_ROUTE, "route");
}

void control_services(struct question *q)
{
    dump_all(q, KIND_SERVICE);
}

void control_service(struct question *q)
{
    dump_one(q, KIND_SERVICE, "service");
}

void control_upstreams(struct question *q)
{
    dump_all(q, KIND_UPSTREAM);
}

void control_upstream(struct question *q)
{
    dump_one(q, KIND_UPSTREAM, "upstream");
}

void control_metadatas(struct question *q)
{
    dump_all(q, KIND_PLUGIN_METADATA);
}

void control_metadata(struct question *q)
{
    dump_one(q, KIND_PLUGIN_METADATA, "plugin metadata");
}
