/* SPDX-License-Identifier: Apache-2.0 */
/* Documents over the Admin API: one is read, written, made, deleted (changed in part: patch.c). */
#include <inttypes.h>
#include <time.h>

#include "admin/admin_int.h"
#include "base/mem.h"

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

static void document_get(struct call *c)
{
    struct store *store = keeper_store(c->keeper);
    struct store_item item;
    struct str err = STR_NONE;

    if (c->kind == KIND_DECORATION && !decoration_path(c))
        return;
    if (!c->id.p) {
        document_list(c);
        return;
    }
    struct str key = document_key(c->a, c->kind, call_item(c, c->id));
    enum store_status status = store->ops->get(store, key, c->a, &item, &err);
    if (status == STORE_NOT_FOUND) {
        reply_not_found(c);
        return;
    }
    json_t *value = status == STORE_OK ? keeper_decode(c->keeper, c->kind, item.value) : NULL;
    if (value)
        reply_document(c, 200, "get", &item, value, true);
    else
        reply_store_failed(c, "read", key,
                           status == STORE_OK ? STR("the stored value is no JSON object") : err);
    json_decref(value);
}

/* ---- What belongs to a document ----------------------------------------------------------------
 */

struct found {
    struct call *c;
    enum kind kind;
    struct str *ids;
    size_t n, max;
};

static bool found_add(void *arg, const struct store_item *item)
{
    struct found *f = arg;
    struct str id = document_id(f->kind, item->key);

    if (!id.p)
        return true;
    if (f->n == f->max) {
        f->max = f->max ? f->max * 2 : 8;
        f->ids = mem_resize(f->ids, f->max * sizeof(*f->ids));
    }
    f->ids[f->n++] = arena_str(f->c->a, id);
    return true;
}

/* Deletes the documents of that kind that belong to this one. False: answered. */
static bool owned_delete(struct call *c, struct str id, enum kind kind)
{
    struct store *store = keeper_store(c->keeper);
    struct str prefix = arena_printf(c->a, "/%.*s/%.*s/%.*s/", STR_ARG(kinds[kind].folder),
                                     STR_ARG(id), STR_ARG(kinds[kind].collection));
    struct str err = STR_NONE;
    struct found f = {.c = c, .kind = kind};
    struct store_item item;
    enum store_status status = store->ops->list(store, prefix, found_add, &f, &err);

    for (size_t i = 0; i < f.n && status == STORE_OK; i++) {
        status = keeper_write(c->keeper, kind, f.ids[i], NULL, -1, &item, c->a, &err);
        if (status == STORE_NOT_FOUND)
            status = STORE_OK;
    }
    free(f.ids);
    if (status != STORE_OK)
        reply_store_failed(c, "delete", prefix, err);
    return status == STORE_OK;
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

void document_write(struct call *c, struct str id, int64_t expect, const char *action)
{
    struct store_item item;
    struct str err = STR_NONE;
    enum store_status status = keeper_write(c->keeper, c->kind, call_item(c, id), c->json, expect,
                                            &item, c->a, &err);

    if (status == STORE_OK)
        reply_document(c, item.created == item.modified ? 201 : 200, action, &item, c->json, false);
    else if (status == STORE_CONFLICT)
        reply_error(c, 503, "value changed before overwritten");
    else
        reply_store_failed(c, "write", document_key(c->a, c->kind, call_item(c, id)), err);
}

static bool consumer_exists(struct call *c)
{
    struct store *store = keeper_store(c->keeper);
    struct str key = document_key(c->a, KIND_CONSUMER, c->parent), err = STR_NONE;
    struct store_item item;
    enum store_status status = store->ops->get(store, key, c->a, &item, &err);

    if (status == STORE_NOT_FOUND)
        reply_error(c, 404, "consumer not found");
    else if (status != STORE_OK)
        reply_store_failed(c, "read", key, err);
    return status == STORE_OK;
}

static void document_put(struct call *c)
{
    struct store *store = keeper_store(c->keeper);
    struct store_item item;
    struct str id, err = STR_NONE;

    if (c->kind == KIND_DECORATION && !decoration_bind(c))
        return;
    if (!check_write(c, true, &id) || (c->kind == KIND_CREDENTIAL && !consumer_exists(c)))
        return;
    struct str key = document_key(c->a, c->kind, call_item(c, id));
    enum store_status status = store->ops->get(store, key, c->a, &item, &err);
    if (status != STORE_OK && status != STORE_NOT_FOUND) {
        reply_store_failed(c, "read", key, err);
        return;
    }
    json_t *before = status == STORE_OK ? keeper_decode(c->keeper, c->kind, item.value) : NULL;
    times_set(c, before);
    json_decref(before);
    /* What a service of that name has left behind is not the new one's. */
    if (c->kind == KIND_SERVICE && status == STORE_NOT_FOUND &&
        !owned_delete(c, id, KIND_DECORATION))
        return;
    document_write(c, id, -1, "set");
}

static void document_post(struct call *c)
{
    struct store *store = keeper_store(c->keeper);
    struct str id, err = STR_NONE;
    int64_t revision;

    if (c->kind == KIND_DECORATION && !decoration_bind(c))
        return;
    if (!check_write(c, false, &id))
        return;
    if (store->ops->next_revision(store, &revision, &err) != STORE_OK) {
        reply_store_failed(c, "write", document_prefix(c->a, c->kind), err);
        return;
    }
    id = arena_printf(c->a, "%020" PRId64, revision);
    json_object_set_new(c->json, "id", json_stringn(id.p, id.n));
    times_set(c, NULL);
    document_write(c, id, -1, "create");
}

/* ---- DELETE ------------------------------------------------------------------------------------
 */

static void document_delete(struct call *c)
{
    struct store_item item;
    struct str err = STR_NONE;

    if (c->kind == KIND_DECORATION && !decoration_path(c))
        return;
    if (!c->id.p) {
        reply_error(c, 400, "missing %.*s id", STR_ARG(kinds[c->kind].noun));
        return;
    }
    if (!str_eq(query_arg(c, STR("force")), STR("true")) && !refs_unused(c))
        return;
    /* They go first: what is left when this fails in the middle must not outlive its owner, and be
     * the next one's of that name. */
    for (enum kind k = 0; k < KIND_COUNT; k++)
        if (kinds[k].owner == c->kind && !owned_delete(c, c->id, k))
            return;
    enum store_status status = keeper_write(c->keeper, c->kind, call_item(c, c->id), NULL, -1,
                                            &item, c->a, &err);
    if (status == STORE_OK)
        reply_deleted(c, item.key);
    else if (status == STORE_NOT_FOUND)
        reply_not_found(c);
    else
        reply_store_failed(c, "delete", document_key(c->a, c->kind, call_item(c, c->id)), err);
}

handler_fn *const document_handlers[VERB_COUNT] = {
    [VERB_GET] = document_get,       [VERB_PUT] = document_put,     [VERB_POST] = document_post,
    [VERB_DELETE] = document_delete, [VERB_PATCH] = document_patch,
};
