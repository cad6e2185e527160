/* SPDX-License-Identifier: Apache-2.0 */
/* POST configs/validate: a whole configuration, as the files have it, is checked and nothing is
 * stored (APISIX: apisix/admin/config_validate.lua). */
#include "admin/admin_int.h"
#include "config/yaml.h"

/* Values in YAML, whose aliases can stand for many: as many as the body has bytes, or some. */
enum { VALUES_MIN = 100000 };

struct trial {
    struct call *c;
    json_t *errors;
    struct str collection;
    /* What documents of a whole say of each other is said here: what is stored now is not to be
     * compared with. */
    struct builder *together;
};

static void error_add(struct trial *t, const json_t *item, json_int_t index, struct str text)
{
    json_t *id = json_object_get(item, "id");
    json_t *error = json_pack("{so}", "resource_type", json_any(t->collection));

    if (!id)
        id = json_object_get(item, "username");
    if (index >= 0) {
        json_object_set_new(error, "resource_id", id ? json_incref(id) : json_string(""));
        json_object_set_new(error, "index", json_integer(index));
    }
    json_object_set_new(error, "error", json_any(text));
    json_array_append_new(t->errors, error);
}

/* An entry of `consumers` with such an id is a credential. */
static enum kind item_kind(enum kind kind, struct str id)
{
    return kind == KIND_CONSUMER && str_search(id, STR("/credentials/")) >= 0 ? KIND_CREDENTIAL
                                                                              : kind;
}

/* The document without what is no member of it, but may be said where all come as a whole. */
static json_t *item_document(struct call *c, json_t *item)
{
    if (!c->admin->whole || !json_object_get(item, "modifiedIndex"))
        return json_incref(item);
    json_t *copy = json_copy(item);
    json_object_del(copy, "modifiedIndex");
    return copy;
}

/* Kinds of which one document may say what another one must not: keys of consumers, plugins of
 * global rules. */
static bool is_compared(enum kind kind)
{
    return kind == KIND_CONSUMER || kind == KIND_CREDENTIAL || kind == KIND_GLOBAL_RULE;
}

static void item_check(struct trial *t, enum kind of, json_t *item, json_int_t index)
{
    struct call *c = t->c;
    struct str id = id_of(c->a, json_object_get(item, "id")), err = STR_NONE;
    enum kind kind = item_kind(of, id);

    if (!json_is_object(item)) {
        error_add(t, item, index,
                  arena_printf(c->a, "invalid configuration: wrong type: expected object, got %s",
                               json_type_name(item)));
        return;
    }
    if (kind == KIND_SECRET && str_find(id, '/') < 0) {
        error_add(t, item, index, arena_join(c->a, STR("invalid secret id: "), id));
        return;
    }
    struct builder *b = is_compared(kind) ? t->together : keeper_builder(c->keeper);
    json_t *document = item_document(c, item);
    if (!id.p)
        id = id_of(c->a, json_object_get(item, "username"));
    if (!id.p)
        id = STR("");
    bool good = builder_check(b, kind, id, document, c->a, &err);
    if (good && is_compared(kind))
        builder_apply(b, kind, id, 0, document);
    if (!good) {
        if (builder_check_by_schema(b))
            err = arena_join(c->a, STR("invalid configuration: "), err);
        error_add(t, item, index, err);
    }
    json_decref(document);
}

/* An id must be there once; a consumer goes by its name. */
static void duplicate_check(struct trial *t, enum kind kind, json_t *seen, json_t *item,
                            json_int_t index)
{
    struct call *c = t->c;
    struct str id = id_of(c->a, json_object_get(item, "id"));
    const char *what = kind == KIND_CONSUMER ? "credential id" : "id";

    if (!id.p && kind == KIND_CONSUMER) {
        id = id_of(c->a, json_object_get(item, "username"));
        what = "username";
    }
    if (!id.p)
        return;
    if (json_object_getn(seen, id.p, id.n))
        error_add(t, item, index,
                  arena_printf(c->a, "found duplicate %s %.*s in %.*s", what, STR_ARG(id),
                               STR_ARG(t->collection)));
    else
        json_object_setn_new(seen, id.p, id.n, json_true());
}

static void collection_check(struct trial *t, enum kind kind, json_t *whole)
{
    struct call *c = t->c;
    const char *name = t->collection.p;
    const json_t *version = json_object_get(whole, arena_printf(c->a, "%s_conf_version", name).p);
    json_t *items = json_object_get(whole, name), *item, *seen = json_object();
    size_t i;

    if (version && !json_is_number(version))
        error_add(t, NULL, -1,
                  arena_printf(c->a, "%s_conf_version must be a number%s%s", name,
                               c->verb == VERB_PUT ? "" : ", got ",
                               c->verb == VERB_PUT ? "" : json_type_name(version)));
    json_array_foreach(items, i, item)
    {
        item_check(t, kind, item, (json_int_t)i);
        duplicate_check(t, kind, seen, item, (json_int_t)i);
    }
    json_decref(seen);
}

json_t *configs_body(struct call *c)
{
    json_error_t error;
    struct str err = STR_NONE;
    json_t *whole;

    if (c->body.n == 0) {
        reply_error(c, 400, "invalid request body: empty request body");
        return NULL;
    }
    if (str_starts(c->content_type, STR("application/yaml"))) {
        size_t most = c->body.n > VALUES_MIN ? c->body.n : VALUES_MIN;
        whole = yaml_parse_large(c->body, most, c->a, &err);
        if (!json_is_object(whole)) {
            json_decref(whole);
            reply_error(c, 400, "invalid request body: invalid yaml request body");
            return NULL;
        }
        return whole;
    }
    whole = json_loadb(c->body.p, c->body.n, JSON_DECODE_ANY, &error);
    if (!whole)
        reply_error(c, 400, "invalid request body: %.*s", STR_ARG(json_fault(c, &error)));
    return whole;
}

json_t *configs_errors(struct call *c, json_t *whole)
{
    struct trial t = {
        .c = c, .errors = json_array(), .together = builder_new_like(keeper_builder(c->keeper))};

    if (!json_is_object(whole))
        json_array_append_new(t.errors,
                              json_pack("{so}", "error",
                                        json_any(arena_printf(c->a, "expected object, got %s",
                                                              json_type_name(whole)))));
    for (enum kind k = 0; k < KIND_COUNT; k++) {
        if (kinds[k].owner != KIND_COUNT)
            continue;
        t.collection = kinds[k].collection;
        collection_check(&t, k, whole);
    }
    builder_free(t.together);
    return t.errors;
}

void configs_validate(struct call *c)
{
    json_t *whole = configs_body(c);

    if (!whole)
        return;
    json_t *errors = configs_errors(c, whole);
    json_decref(whole);
    if (json_array_size(errors) == 0) {
        json_decref(errors);
        reply_json(c, 200, json_object());
    } else {
        reply_json(
            c, 400,
            json_pack("{ssso}", "error_msg", "Configuration validation failed", "errors", errors));
    }
}
