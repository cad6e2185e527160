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

struct search {
    struct call *c;
    enum kind from;
    struct str needle; /* what a user's text must contain, before it is worth parsing */
    const char *field; /* a field of the document; NULL: traffic-split's upstreams */
    struct str user;   /* who was found; absent: nobody */
};

static bool field_names(const json_t *value, const char *field, struct call *c)
{
    return str_eq(id_of(c->a, json_object_get(value, field)), c->id);
}

static bool split_names(const json_t *value, struct call *c)
{
    const json_t *split = json_object_get(json_object_get(value, "plugins"), "traffic-split");
    json_t *rule, *upstream;
    size_t i, j;

    json_array_foreach(json_object_get(split, "rules"), i, rule)
    {
        json_array_foreach(json_object_get(rule, "weighted_upstreams"), j, upstream)
        {
            if (field_names(upstream, "upstream_id", c))
                return true;
        }
    }
    return false;
}

static bool search_item(void *arg, const struct store_item *item)
{
    struct search *s = arg;
    struct str id = document_id(s->from, item->key);

    if (!id.p || !memmem(item->value.p, item->value.n, s->needle.p, s->needle.n))
        return true;
    json_t *value = document_decode(s->from, item->value);
    if (value && (s->field ? field_names(value, s->field, s->c) : split_names(value, s->c)))
        s->user = arena_str(s->c->a, id);
    json_decref(value);
    return !s->user.p;
}

/* False: the call is answered, because somebody was found or the store failed. */
static bool search_run(struct search *s, const char *by, struct str noun)
{
    struct call *c = s->c;
    struct store *store = keeper_store(c->keeper);
    struct str err = STR_NONE, prefix = document_prefix(c->a, s->from);

    if (store->ops->list(store, prefix, search_item, s, &err) != STORE_OK) {
        reply_store_failed(c, "read", prefix, err);
        return false;
    }
    if (!s->user.p)
        return true;
    reply_error(c, 400, "can not delete this %.*s%s, %s%.*s [%.*s] is still using it now",
                STR_ARG(kinds[c->kind].noun), c->kind == KIND_SERVICE ? " directly" : "", by,
                STR_ARG(noun), STR_ARG(s->user));
    return false;
}

bool refs_unused(struct call *c)
{
    for (size_t i = 0; c->kind == KIND_UPSTREAM && i < COUNT(split_users); i++) {
        struct search s = {c, split_users[i].from, STR("\"traffic-split\""), NULL, STR_NONE};
        if (!search_run(&s, "plugin in ", str_of(split_users[i].noun)))
            return false;
    }
    for (size_t i = 0; i < COUNT(refs); i++) {
        if (refs[i].to != c->kind)
            continue;
        struct search s = {c, refs[i].from, arena_printf(c->a, "\"%s\"", refs[i].field),
                           refs[i].field, STR_NONE};
        if (!search_run(&s, "", kinds[refs[i].from].noun))
            return false;
    }
    return true;
}
