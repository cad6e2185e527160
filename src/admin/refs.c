/* SPDX-License-Identifier: Apache-2.0 */
/* References between documents, from one table: what is written must find what it refers to, what
 * is deleted must not be referred to. */
#include "admin/admin_int.h"

/* In the order in which APISIX looks. */
static const struct ref {
    enum kind from;
    const char *field; /* or its path */
    enum kind to;
    const char *noun; /* the user's, in messages; NULL: its kind's */
} refs[] = {
    {KIND_ROUTE, "upstream_id", KIND_UPSTREAM, NULL},
    {KIND_ROUTE, "service_id", KIND_SERVICE, NULL},
    {KIND_ROUTE, "plugin_config_id", KIND_PLUGIN_CONFIG, NULL},
    {KIND_SERVICE, "upstream_id", KIND_UPSTREAM, NULL},
    {KIND_CONSUMER, "group_id", KIND_CONSUMER_GROUP, NULL},
    {KIND_STREAM_ROUTE, "upstream_id", KIND_UPSTREAM, "stream_route"},
    {KIND_STREAM_ROUTE, "service_id", KIND_SERVICE, "stream_route"},
    {KIND_UPSTREAM, "tls.client_cert_id", KIND_SSL, NULL},
    {KIND_ROUTE, "upstream.tls.client_cert_id", KIND_SSL, NULL},
    {KIND_SERVICE, "upstream.tls.client_cert_id", KIND_SSL, NULL},
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

static const json_t *member(const json_t *value, const char *path)
{
    struct str rest = str_of(path), name;

    while (value && rest.n) {
        str_cut(rest, '.', &name, &rest);
        value = json_object_getn(value, name.p, name.n);
    }
    return value;
}

/* What an upstream shows to its servers is an ssl of type client. */
static bool ref_has_type(struct call *c, const struct ref *ref, struct str id, const json_t *ssl)
{
    if (ref->to != KIND_SSL)
        return true;
    const char *type = json_string_value(json_object_get(ssl, "type"));
    bool good = type && strcmp(type, "client") == 0;
    if (!good)
        reply_error(c, 400, "failed to fetch ssl info by ssl id [%.*s], wrong ssl type",
                    STR_ARG(id));
    return good;
}

static bool ref_exists(struct call *c, const struct ref *ref, struct str id)
{
    struct str noun = kinds[ref->to].noun, err = STR_NONE;
    json_t *value = NULL;
    bool good = false;

    switch (ref->to == KIND_SSL ? document_load(c, ref->to, id, &value, &err)
                                : document_exists(c, ref->to, id, &err)) {
    case STORE_OK:
        good = ref_has_type(c, ref, id, value);
        break;
    case STORE_NOT_FOUND:
        reply_error(c, 400, "failed to fetch %.*s info by %.*s id [%.*s], response code: 404",
                    STR_ARG(noun), STR_ARG(noun), STR_ARG(id));
        break;
    case STORE_CONFLICT:
    case STORE_FAILED:
        reply_store_failed(c, "read", document_key(c->a, ref->to, id), err);
        break;
    }
    json_decref(value);
    return good;
}

/* A stream route that takes over another's connections speaks the same protocol. */
static bool superior_exists(struct call *c)
{
    const json_t *protocol = json_object_get(c->json, "protocol");
    struct str id = id_of(c->a, json_object_get(protocol, "superior_id")), err = STR_NONE;
    const char *mine = json_string_value(json_object_get(protocol, "name"));
    json_t *superior = NULL;

    if (c->kind != KIND_STREAM_ROUTE || !id.p)
        return true;
    if (str_eq(id, id_of(c->a, json_object_get(c->json, "id")))) {
        reply_error(c, 400, "stream route can not set itself as superior_id");
        return false;
    }
    enum store_status status = document_load(c, KIND_STREAM_ROUTE, id, &superior, &err);
    if (status == STORE_NOT_FOUND)
        reply_error(c, 400, "failed to fetch stream routes[%.*s], response code: 404", STR_ARG(id));
    else if (status != STORE_OK)
        reply_store_failed(c, "read", document_key(c->a, KIND_STREAM_ROUTE, id), err);
    if (status != STORE_OK)
        return false;
    const char *its = json_string_value(
        json_object_get(json_object_get(superior, "protocol"), "name"));
    bool same = !its || strcmp(mine, its) == 0;
    if (!same)
        reply_error(c, 400,
                    "protocol mismatch: subordinate protocol [%s] does not match superior "
                    "protocol [%s]",
                    mine, its);
    json_decref(superior);
    return same;
}

bool refs_exist(struct call *c)
{
    for (size_t i = 0; i < COUNT(refs); i++) {
        const json_t *value = refs[i].from == c->kind ? member(c->json, refs[i].field) : NULL;
        if (!value)
            continue;
        if (!ref_exists(c, &refs[i], id_of(c->a, value)))
            return false;
    }
    return superior_exists(c);
}

/* ---- Who uses a document -----------------------------------------------------------------------
 */

static void reply_used(struct call *c, const char *by, struct str noun, struct str user)
{
    reply_error(c, 400, "can not delete this %.*s%s, %s%.*s [%.*s] is still using it now",
                STR_ARG(kinds[c->kind].noun), c->kind == KIND_SERVICE ? " directly" : "", by,
                STR_ARG(noun), STR_ARG(user));
}

/* A search through documents for one that names this one in a way that the builder does not follow.
 */
struct search {
    struct call *c;
    enum kind from;
    struct str needle; /* what the text must have */
    bool (*names)(const json_t *value, struct call *c);
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

static bool transcode_names(const json_t *value, struct call *c)
{
    const json_t *conf = json_object_get(json_object_get(value, "plugins"), "grpc-transcode");

    return str_eq(id_of(c->a, json_object_get(conf, "proto_id")), c->id);
}

static bool protocol_names(const json_t *value, struct call *c)
{
    const json_t *protocol = json_object_get(value, "protocol");

    return str_eq(id_of(c->a, json_object_get(protocol, "superior_id")), c->id);
}

static bool search_item(void *arg, const struct store_item *item)
{
    struct search *s = arg;
    struct str id = document_id(s->from, item->key);

    /* What the transaction writes is looked at by itself. */
    if (!id.p || str_search(item->value, s->needle) < 0 || changes_find(s->c->changes, item->key))
        return true;
    json_t *value = keeper_decode(s->c->keeper, s->from, item->value);
    if (value && s->names(value, s->c))
        s->user = arena_str(s->c->a, id);
    json_decref(value);
    return !s->user.p;
}

static void search_changes(struct search *s)
{
    const struct changes *all = s->c->changes;

    for (size_t i = 0; all && i < all->n && !s->user.p; i++)
        if (all->items[i].kind == s->from && s->names(all->items[i].value, s->c))
            s->user = all->items[i].id;
}

/* False: answered, since the store cannot be read. */
static bool search_run(struct search *s)
{
    struct store *store = keeper_store(s->c->keeper);
    struct str err = STR_NONE, prefix = document_prefix(s->c->a, s->from);

    if (store->ops->list(store, prefix, search_item, s, &err) == STORE_OK) {
        if (!s->user.p)
            search_changes(s);
        return true;
    }
    reply_store_failed(s->c, "read", prefix, err);
    return false;
}

/* By traffic-split, as long as there is such a plugin. */
static bool split_unused(struct call *c)
{
    if (c->kind != KIND_UPSTREAM ||
        !builder_plugin(keeper_builder(c->keeper), STR("traffic-split")))
        return true;
    for (size_t i = 0; i < COUNT(split_users); i++) {
        struct search s = {.c = c,
                           .from = split_users[i].from,
                           .needle = STR("\"traffic-split\""),
                           .names = split_names};
        if (!search_run(&s))
            return false;
        if (s.user.p) {
            reply_used(c, "plugin in ", str_of(split_users[i].noun), s.user);
            return false;
        }
    }
    return true;
}

static bool proto_unused(struct call *c)
{
    static const enum kind users[] = {KIND_ROUTE, KIND_SERVICE};

    for (size_t i = 0; c->kind == KIND_PROTO && i < COUNT(users); i++) {
        struct search s = {.c = c,
                           .from = users[i],
                           .needle = STR("\"grpc-transcode\""),
                           .names = transcode_names};
        if (!search_run(&s))
            return false;
        if (s.user.p) {
            reply_used(c, "", kinds[users[i]].noun, s.user);
            return false;
        }
    }
    return true;
}

static bool superior_unused(struct call *c)
{
    struct search s = {.c = c,
                       .from = KIND_STREAM_ROUTE,
                       .needle = STR("\"superior_id\""),
                       .names = protocol_names};

    if (c->kind != KIND_STREAM_ROUTE)
        return true;
    if (!search_run(&s))
        return false;
    if (s.user.p)
        reply_error(c, 400,
                    "can not delete this stream route directly, stream route [%.*s] is still "
                    "using it as superior_id",
                    STR_ARG(s.user));
    return !s.user.p;
}

bool refs_unused(struct call *c)
{
    const struct builder *b = keeper_builder(c->keeper);

    if (!split_unused(c) || !proto_unused(c) || !superior_unused(c))
        return false;
    for (size_t i = 0; i < COUNT(refs); i++) {
        /* Where streams are off their routes cannot be seen, nor deleted. */
        if (refs[i].to != c->kind || (refs[i].from == KIND_STREAM_ROUTE && !c->admin->stream))
            continue;
        struct str user = builder_user(b, c->kind, c->id, refs[i].from);
        if (user.p) {
            reply_used(c, "", refs[i].noun ? str_of(refs[i].noun) : kinds[refs[i].from].noun, user);
            return false;
        }
    }
    return true;
}
