/* SPDX-License-Identifier: Apache-2.0 */
/* Documents over the Admin API: one is read, written, made, deleted (changed in part: patch.c). */
#include <inttypes.h>
#include <time.h>

#include "admin/admin_int.h"

struct str call_item(struct call *c, struct str id)
{
    if (!c->parent.p)
        return id;
    if (kinds[c->kind].owner == KIND_COUNT)
        return arena_printf(c->a, "%.*s/%.*s", STR_ARG(c->parent), STR_ARG(id));
    return arena_printf(c->a, "%.*s/%.*s/%.*s", STR_ARG(c->parent),
                        STR_ARG(kinds[c->kind].collection), STR_ARG(id));
}

struct str call_prefix(struct call *c)
{
    return c->parent.p ? document_key(c->a, c->kind, call_item(c, STR("")))
                       : document_prefix(c->a, c->kind);
}

/* ---- GET ---------------------------------------------------------------------------------------
 */

bool document_read(struct call *c, struct str id, struct store_item *item, json_t **value)
{
    struct store *store = keeper_store(c->keeper);
    struct str err = STR_NONE, key = document_key(c->a, c->kind, call_item(c, id));
    enum store_status status = store->ops->get(store, key, c->a, item, &err);

    *value = NULL;
    if (status == STORE_OK)
        *value = keeper_decode(c->keeper, c->kind, item->value);
    else
        *item = (struct store_item){.key = key};
    if (status == STORE_OK || status == STORE_NOT_FOUND)
        return true;
    reply_store_failed(c, "read", key, err);
    return false;
}

static void document_get(struct call *c)
{
    struct store_item item;
    json_t *value;

    if (c->kind == KIND_DECORATION && !decoration_path(c))
        return;
    if (!c->id.p) {
        document_list(c);
        return;
    }
    if (!document_read(c, c->id, &item, &value))
        return;
    if (value)
        reply_document(c, 200, "get", &item, value, true);
    else if (item.value.p)
        reply_store_failed(c, "read", item.key, STR("the stored value is no JSON object"));
    else
        reply_not_found(c);
    json_decref(value);
}

/* ---- What belongs to a document ----------------------------------------------------------------
 */

struct found {
    struct call *c;
    enum kind kind;
    bool good;
};

static bool found_add(void *arg, const struct store_item *item)
{
    struct found *f = arg;
    struct arena *a = f->c->a;
    struct str id = document_id(f->kind, item->key);
    struct store_item known = {arena_str(a, item->key), arena_str(a, item->value), item->created,
                               item->modified};

    /* A transaction may name them itself. */
    if (id.p && !changes_find(f->c->changes, item->key))
        f->good = changes_add(f->c, f->kind, id, NULL, &known, -1);
    return f->good;
}

/* The documents of that kind that belong to this one go with the write. False: answered. */
static bool owned_delete(struct call *c, struct str id, enum kind kind)
{
    struct store *store = keeper_store(c->keeper);
    struct str prefix = arena_printf(c->a, "/%.*s/%.*s/%.*s/", STR_ARG(kinds[kind].folder),
                                     STR_ARG(id), STR_ARG(kinds[kind].collection));
    struct str err = STR_NONE;
    struct found f = {c, kind, true};

    if (store->ops->list(store, prefix, found_add, &f, &err) == STORE_OK)
        return f.good;
    reply_store_failed(c, "delete", prefix, err);
    return false;
}

/* ---- PUT, POST ---------------------------------------------------------------------------------
 */

/* Both times are ours to set; a document that is replaced keeps its create_time. */
static void times_set(struct call *c, const json_t *before)
{
    const json_t *created = json_object_get(before, "create_time");
    json_int_t now = (json_int_t)time(NULL);

    if (!kinds[c->kind].times)
        return;
    json_object_set_new(c->json, "create_time",
                        json_is_number(created) ? json_deep_copy(created) : json_integer(now));
    json_object_set_new(c->json, "update_time", json_integer(now));
}

void document_write(struct call *c, struct str id, const struct store_item *known, int64_t expect,
                    const char *action)
{
    c->action = action;
    if (!changes_add(c, c->kind, call_item(c, id), c->json, known, expect))
        return;
    c->at = c->changes->n - 1;
    if (!c->changes->many)
        changes_commit(c);
}

static void document_put(struct call *c)
{
    struct store_item item;
    int64_t expect = -1;
    json_t *before;
    struct str id;

    if (c->kind == KIND_DECORATION && !decoration_bind(c))
        return;
    if (!check_write(c, true, &id) || !document_read(c, id, &item, &before))
        return;
    times_set(c, before);
    json_decref(before);
    if (!precondition_holds(c, &item, &expect))
        return;
    /* What a service of that name has left behind is not the new one's. */
    if (c->kind == KIND_SERVICE && !item.value.p && !owned_delete(c, id, KIND_DECORATION))
        return;
    document_write(c, id, &item, expect, "set");
}

static void document_post(struct call *c)
{
    static const struct store_item none = {.modified = 0};
    struct store *store = keeper_store(c->keeper);
    struct str id, err = STR_NONE;
    int64_t revision;

    if (c->kind == KIND_DECORATION && !decoration_bind(c))
        return;
    if (!check_write(c, false, &id))
        return;
    /* One that is taken is written down in some stores. Those of one transaction differ. */
    if (c->dry)
        revision = store->ops->revision(store) + 1 + (int64_t)(c->changes ? c->changes->n : 0);
    else if (store->ops->next_revision(store, &revision, &err) != STORE_OK) {
        reply_store_failed(c, "write", document_prefix(c->a, c->kind), err);
        return;
    }
    id = arena_printf(c->a, "%020" PRId64, revision);
    json_object_set_new(c->json, "id", json_stringn(id.p, id.n));
    times_set(c, NULL);
    document_write(c, id, &none, -1, "create");
}

/* ---- DELETE ------------------------------------------------------------------------------------
 */

static void document_delete(struct call *c)
{
    struct store_item item;
    int64_t expect = -1;
    json_t *value;

    if (c->kind == KIND_DECORATION && !decoration_path(c))
        return;
    if (!c->id.p) {
        reply_error(c, 400, "missing %.*s id", STR_ARG(kinds[c->kind].noun));
        return;
    }
    c->force = str_eq(query_arg(c, STR("force")), STR("true"));
    bool many = c->changes && c->changes->many;
    if (!many && !check_references(c))
        return;
    if (!document_read(c, c->id, &item, &value))
        return;
    json_decref(value);
    if (!precondition_holds(c, &item, &expect))
        return;
    if (!item.value.p) {
        reply_not_found(c);
        return;
    }
    for (enum kind k = 0; k < KIND_COUNT; k++)
        if (kinds[k].owner == c->kind && !owned_delete(c, c->id, k))
            return;
    if (!changes_add(c, c->kind, call_item(c, c->id), NULL, &item, expect))
        return;
    c->at = c->changes->n - 1;
    if (!many)
        changes_commit(c);
}

handler_fn *const document_handlers[VERB_COUNT] = {
    [VERB_GET] = document_get,       [VERB_PUT] = document_put,     [VERB_POST] = document_post,
    [VERB_DELETE] = document_delete, [VERB_PATCH] = document_patch,
};
