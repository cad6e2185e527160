/* SPDX-License-Identifier: Apache-2.0 */
/* References between documents, from one table: what is written must find what it refers to, what
 * is deleted must not be referred to. */
#include "admin/admin_int.h"

/* In the order in which APISIX looks. */
static const struct ref {
    enum kind from;
    const char *field;
    enum kind to;
} refs[] = {
    {KIND_ROUTE, "upstream_id", KIND_UPSTREAM},
    {KIND_ROUTE, "service_id", KIND_SERVICE},
    {KIND_ROUTE, "plugin_config_id", KIND_PLUGIN_CONFIG},
    {KIND_SERVICE, "upstream_id", KIND_UPSTREAM},
    {KIND_CONSUMER, "group_id", KIND_CONSUMER_GROUP},
};

/* Documents whose plugins can name an upstream (traffic-split), as messages call them. */
static const struct {
    enum kind from;
    const char *noun;
} split_users[] = {
    {KIND_ROUTE, "route"},
    {KIND_SERVICE, "service"},
    {KIND_PLUGIN_CONFIG, "plugin_config"},
    {KIND_CONSUMER, "consumer"},
    {KIND_CONSUMER_GROUP, "consumer_group"},
    {KIND_GLOBAL_RULE, "global_rules"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool ref_exists(struct call *c, const struct ref *ref, struct str id)
{
    struct store *store = keeper_store(c->keeper);
    struct str noun = kinds[ref->to].noun, err = STR_NONE;
    struct store_item item;

    switch (store->ops->get(store, document_key(c->a, ref->to, id), c->a, &item, &err)) {
    case STORE_OK:
        return true;
    case STORE_NOT_FOUND:
        reply_error(c, 400, "failed to fetch %.*s info by %.*s id [%.*s], response code: 404",
                    STR_ARG(noun), STR_ARG(noun), STR_ARG(id));
        break;
    case STORE_CONFLICT:
    case STORE_FAILED:
        reply_store_failed(c, "read", document_key(c->a, ref->to, id), err);
        break;
    }
    return false;
}

bool refs_exist(struct call *c)
{
    for (size_t i = 0; i < COUNT(refs); i++) {
        const json_t *value = json_object_get(c->json, refs[i].field);
        if (refs[i].from != c->kind || !value)
            continue;
        if (!ref_exists(c, &refs[i], id_of(c->a, value)))
            return false;
    }
    return true;
}

/* ---- Who uses a document -----------------------------------------------------------------------
 */

static void reply_used(struct call *c, const char *by, struct str noun, struct str user)
{
    reply_error(c, 400, "can not delete this %.*s%s, %s%.*s [%.*s] is still using it now",
                STR_ARG(kinds[c->kind].noun), c->kind == KIND_SERVICE ? " directly" : "", by,
                STR_ARG(noun), STR_ARG(user));
}

struct search {
    struct call *c;
    enum kind from;
    struct str user; /* who was found; absent: nobody */
};

static bool split_names(const json_t *value, struct call *c)
{
    const json_t *split = json_object_get(json_object_get(value, "plugins"), "traffic-split");
    json_t *rule, *upstream;
    size_t i, j;

    json_array_foreach(json_object_get(split, "rules"), i, rule)
    {
        json_array_foreach(json_object_get(rule, "weighted_upstreams"), j, upstream)
        {
            if (str_eq(id_of(c->a, json_object_get(upstream, "upstream_id")), c->id))
                return true;
        }
    }
    return false;
}

static bool search_item(void *arg, const struct store_item *item)
{
    static const struct str needle = {"\"traffic-split\"", 15};
    struct search *s = arg;
    struct str id = document_id(s->from, item->key);

    if (!id.p || str_search(item->value, needle) < 0)
        return true;
    json_t *value = keeper_decode(s->c->keeper, s->from, item->value);
    if (value && split_names(value, s->c))
        s->user = arena_str(s->c->a, id);
    json_decref(value);
    return !s->user.p;
}

/* The builder does not follow references inside of plugins: the documents themselves are searched,
 * as long as there is such a plugin. */
static bool split_unused(struct call *c)
{
    struct store *store = keeper_store(c->keeper);

    if (c->kind != KIND_UPSTREAM ||
        !builder_plugin(keeper_builder(c->keeper), STR("traffic-split")))
        return true;
    for (size_t i = 0; i < COUNT(split_users); i++) {
        struct search s = {c, split_users[i].from, STR_NONE};
        struct str err = STR_NONE, prefix = document_prefix(c->a, s.from);
        if (store->ops->list(store, prefix, search_item, &s, &err) != STORE_OK) {
            reply_store_failed(c, "read", prefix, err);
            return false;
        }
        if (s.user.p) {
            reply_used(c, "plugin in ", str_of(split_users[i].noun), s.user);
            return false;
        }
    }
    return true;
}

bool refs_unused(struct call *c)
{
    const struct builder *b = keeper_builder(c->keeper);

    if (!split_unused(c))
        return false;
    for (size_t i = 0; i < COUNT(refs); i++) {
        if (refs[i].to != c->kind)
            continue;
        struct str user = builder_user(b, c->kind, c->id, refs[i].from);
        if (user.p) {
            reply_used(c, "", kinds[refs[i].from].noun, user);
            return false;
        }
    }
    return true;
}
