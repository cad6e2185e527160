/* SPDX-License-Identifier: Apache-2.0 */
/* PATCH: a stored document changed in part, by a merge or at a sub-path, and written only if nobody
 * else has written it meanwhile (APISIX: apisix/admin/resource.lua, core/table.lua). */
#include <time.h>

#include "admin/admin_int.h"

/* Levels of a document: what is stored must be readable again, and jansson reads 2048. */
enum { LEVELS_MAX = 1024 };

static bool is_shallow(json_t *v, int levels)
{
    const char *name;
    json_t *value;
    size_t i;

    if (levels == 0)
        return false;
    json_array_foreach(v, i, value) if (!is_shallow(value, levels - 1)) return false;
    json_object_foreach(v, name, value) if (!is_shallow(value, levels - 1)) return false;
    return true;
}

/* An empty Lua table is an array, so that {} replaces what is there. */
static bool is_whole(const json_t *v)
{
    return !json_is_object(v) || json_object_size(v) == 0;
}

static void merge(json_t *into, json_t *change)
{
    const char *name;
    json_t *value;

    json_object_foreach(change, name, value)
    {
        json_t *old = json_object_get(into, name);
        if (json_is_null(value))
            json_object_del(into, name);
        else if (is_whole(value) || is_whole(old))
            json_object_set(into, name, value);
        else
            merge(old, value);
    }
}

static bool refuse_path(struct call *c, struct str walked)
{
    reply_error(c, 400, "invalid sub-path: /%.*s", STR_ARG(walked));
    return false;
}

static bool refuse_levels(struct call *c)
{
    reply_error(c, 400, "invalid configuration: more than %d levels", LEVELS_MAX);
    return false;
}

/* Puts the body at the sub-path of the document; a path that ends with a slash stands for the whole
 * document. False: answered. */
static bool patch_at(struct call *c, json_t **document)
{
    struct str rest = c->sub, name = STR_NONE;
    json_t *at = *document;

    for (int levels = LEVELS_MAX; str_cut(rest, '/', &name, &rest); levels--) {
        if (levels == 0)
            return refuse_levels(c);
        struct str walked = str_make(c->sub.p, (size_t)(name.p + name.n - c->sub.p));
        json_t *below = json_object_getn(at, name.p, name.n);
        if (!below) {
            below = json_object();
            if (json_object_setn_new(at, name.p, name.n, below) != 0)
                return refuse_path(c, walked);
        }
        if (!json_is_object(below))
            return refuse_path(c, walked);
        at = below;
    }
    if (name.n == 0) {
        json_decref(*document);
        *document = json_incref(c->json);
        return true;
    }
    /* Names that are no UTF-8 are refused by jansson. */
    return json_object_setn(at, name.p, name.n, c->json) == 0 || refuse_path(c, c->sub);
}

/* What is not said in the patch is now; create_time is missing only in what others wrote. */
static void times_renew(struct call *c, json_t *document)
{
    json_int_t now = (json_int_t)time(NULL);

    if (!json_object_get(document, "create_time"))
        json_object_set_new(document, "create_time", json_integer(now));
    if (c->sub.p || !json_object_get(c->json, "update_time"))
        json_object_set_new(document, "update_time", json_integer(now));
}

static bool patch_check(struct call *c)
{
    if (!c->id.p)
        reply_error(c, 400, "%s %.*s id", c->kind == KIND_SECRET ? "no" : "missing",
                    STR_ARG(kinds[c->kind].noun));
    else if (!c->json)
        reply_error(c, 400, "missing new configuration");
    else if (!c->sub.p && !json_is_object(c->json) &&
             !(json_is_array(c->json) && json_array_size(c->json) == 0))
        reply_error(c, 400, "invalid configuration");
    else
        return true;
    return false;
}

/* The stored document with its secrets opened; NULL: answered. */
static json_t *patch_read(struct call *c, struct store_item *item)
{
    struct store *store = keeper_store(c->keeper);
    struct str key = document_key(c->a, c->kind, call_item(c, c->id)), err = STR_NONE;
    struct document_secrets secrets = {0};
    enum store_status status = store->ops->get(store, key, c->a, item, &err);

    if (status == STORE_NOT_FOUND) {
        reply_not_found(c);
        return NULL;
    }
    if (status != STORE_OK) {
        reply_store_failed(c, "read", key, err);
        return NULL;
    }
    json_t *document = keeper_decode_secrets(c->keeper, c->kind, item->value, &secrets);
    if (document && !secrets.locked)
        return document;
    /* Written again, what is sealed would be sealed twice. */
    reply_store_failed(c, "read", key,
                       document ? STR("its secrets cannot be opened: write the document anew")
                                : STR("the stored value is no JSON object"));
    json_decref(document);
    return NULL;
}

void document_patch(struct call *c)
{
    struct store_item item;
    struct str id;

    if (c->kind == KIND_DECORATION && !decoration_patch(c))
        return;
    if (!patch_check(c))
        return;
    json_t *document = patch_read(c, &item);
    if (!document)
        return;
    int64_t expect = item.modified;
    bool done = precondition_holds(c, &item, &expect);
    if (done && c->sub.p)
        done = patch_at(c, &document);
    else if (done)
        merge(document, c->json);
    times_renew(c, document);
    json_decref(c->json);
    c->json = document;
    done = done && (is_shallow(document, LEVELS_MAX) || refuse_levels(c));
    if (done && check_write(c, true, &id))
        document_write(c, id, &item, expect, "compareAndSwap");
}
