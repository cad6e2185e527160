/* SPDX-License-Identifier: Apache-2.0 */
/* GraphQL cost decorations: documents below a service (APISIX:
 * apisix/admin/graphql_cost_decorations.lua). */
#include "admin/admin_int.h"

bool decoration_path(struct call *c)
{
    if (c->parent.n > 0)
        return true;
    reply_error(c, 400, "missing service id");
    return false;
}

static bool service_exists(struct call *c)
{
    struct str err = STR_NONE;
    enum store_status status = document_exists(c, KIND_SERVICE, c->parent, &err);

    if (status == STORE_NOT_FOUND)
        reply_error(c, 404, "service not found");
    else if (status != STORE_OK)
        reply_store_failed(c, "read", document_key(c->a, KIND_SERVICE, c->parent), err);
    return status == STORE_OK;
}

/* ---- One place, one decoration -----------------------------------------------------------------
 */

struct twin {
    struct call *c;
    struct str path, found;
};

static bool twin_look(struct twin *t, struct str id, const json_t *value)
{
    const char *path = json_string_value(json_object_get(value, "field_path"));

    id = str_from(id, (size_t)str_rfind(id, '/') + 1);
    if (!(t->c->id.p && str_eq(id, t->c->id)) && path && str_eq(str_of(path), t->path))
        t->found = arena_str(t->c->a, id);
    return !t->found.p;
}

static bool twin_item(void *arg, const struct store_item *item)
{
    struct twin *t = arg;
    struct str id = document_id(KIND_DECORATION, item->key);

    /* What the transaction writes is looked at by itself. */
    if (!id.p || changes_find(t->c->changes, item->key))
        return true;
    json_t *value = keeper_decode(t->c->keeper, KIND_DECORATION, item->value);
    bool go = twin_look(t, id, value);
    json_decref(value);
    return go;
}

static void twin_changes(struct twin *t)
{
    const struct changes *all = t->c->changes;
    struct str above = call_item(t->c, STR(""));

    for (size_t i = 0; all && i < all->n && !t->found.p; i++) {
        const struct keeper_change *change = &all->items[i];
        if (change->kind == KIND_DECORATION && change->value && str_starts(change->id, above) &&
            change->value != t->c->json)
            twin_look(t, change->id, change->value);
    }
}

static bool path_is_free(struct call *c)
{
    struct store *store = keeper_store(c->keeper);
    const json_t *path = json_object_get(c->json, "field_path");
    struct str prefix = call_prefix(c), err = STR_NONE;

    if (!json_is_string(path))
        return true;
    struct twin t = {c, str_make(json_string_value(path), json_string_length(path)), STR_NONE};
    if (store->ops->list(store, prefix, twin_item, &t, &err) != STORE_OK) {
        reply_store_failed(c, "read", prefix, err);
        return false;
    }
    if (!t.found.p)
        twin_changes(&t);
    if (t.found.p)
        reply_error(c, 400, "field_path %.*s is already decorated on this service by [%.*s]",
                    STR_ARG(t.path), STR_ARG(t.found));
    return !t.found.p;
}

/* ---- Writes ------------------------------------------------------------------------------------
 */

bool decoration_fits(struct call *c)
{
    return service_exists(c) && path_is_free(c);
}

bool decoration_bind(struct call *c)
{
    const json_t *given = json_object_get(c->json, "service_id");

    if (!decoration_path(c))
        return false;
    if (!json_is_object(c->json)) {
        reply_error(c, 400, "invalid configuration");
        return false;
    }
    if (given && !str_eq(id_of(c->a, given), c->parent)) {
        reply_error(c, 400, "wrong service_id, it is taken from the path");
        return false;
    }
    if (!(c->changes && c->changes->many) && !decoration_fits(c))
        return false;
    json_object_set_new(c->json, "service_id", json_stringn(c->parent.p, c->parent.n));
    return true;
}

bool decoration_patch(struct call *c)
{
    if (!json_is_object(c->json)) {
        reply_error(c, 400, "invalid configuration");
        return false;
    }
    if (!decoration_path(c))
        return false;
    if (json_object_get(c->json, "service_id")) {
        reply_error(c, 400, "service_id can not be patched");
        return false;
    }
    c->sub = STR_NONE; /* there is no path below: the body is merged */
    return path_is_free(c);
}
