/* SPDX-License-Identifier: Apache-2.0 */
/* From the text of apisix.yaml or apisix.json to documents (APISIX: core/config_yaml.lua). */
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>

#include "base/log.h"
#include "base/mem.h"
#include "config/settings.h"
#include "config/yaml.h"
#include "store/document.h"
#include "store/file.h"

enum { TEXT_MAX = 512 << 20, VALUES_MAX = 50000000 };

/* APISIX's marker of a file that was written to its end. */
static bool has_end(struct str text)
{
    return str_ends(str_trim(text), STR("#END"));
}

static json_t *yaml_read(struct str text, struct arena *a, struct str *err)
{
    if (!has_end(text)) {
        *err = STR("missing valid end flag in file (its last line must be #END)");
        return NULL;
    }
    if (!settings_substitute_text(text, TEXT_MAX, a, &text, err))
        return NULL;
    return yaml_parse_large(text, VALUES_MAX, a, err);
}

static json_t *json_read(struct str text, struct arena *a, struct str *err)
{
    json_error_t where;
    json_t *v = json_loadb(text.p ? text.p : "", text.n, 0, &where);

    if (v)
        return settings_substitute(v, a, err);
    *err = arena_printf(a, "failed to decode json: line %d: %s", where.line, where.text);
    return NULL;
}

/* ---- Items -------------------------------------------------------------------------------------
 */

/* `id`, `username`, or the place in the list. */
static struct str id_of(struct arena *a, const json_t *item, size_t at)
{
    const json_t *v = json_object_get(item, "id");

    if (!json_is_string(v) && !json_is_integer(v))
        v = json_object_get(item, "username");
    if (json_is_string(v))
        return str_make(json_string_value(v), json_string_length(v));
    if (json_is_integer(v))
        return arena_printf(a, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    return arena_printf(a, "arr_%zu", at + 1);
}

/* The index is not part of the document. */
static void index_add(json_t *indexes, struct str key, const json_t *index)
{
    if (indexes && json_is_number(index))
        json_object_setn_new(indexes, key.p, key.n, json_deep_copy(index));
}

static void item_add(struct store_batch *b, struct str collection, json_t *item, size_t at,
                     json_t *indexes)
{
    struct store_item out = {.created = 1};
    const json_t *index = json_object_get(item, "modifiedIndex");

    if (!json_is_object(item))
        log_error("invalid item data of [%.*s/%zu], it should be an object", STR_ARG(collection),
                  at + 1);
    struct str id = id_of(&b->arena, item, at);
    out.key = arena_printf(&b->arena, "/%.*s/%.*s", STR_ARG(collection), STR_ARG(id));
    index_add(indexes, out.key, index);
    if (index) {
        json_t *bare = json_copy(item);
        json_object_del(bare, "modifiedIndex");
        out.value = document_text(&b->arena, bare);
        json_decref(bare);
    } else {
        out.value = document_text(&b->arena, item);
    }
    store_batch_add(b, &out);
}

/* A list for each kind; other keys are of no use here. */
static void collection_add(struct store_batch *b, struct str name, const json_t *list,
                           json_t *indexes)
{
    json_t *item;
    size_t i;

    if (str_eq(name, STR("plugins")))
        log_warn("plugins in this file has no effect here: config.yaml says which are enabled");
    else if (json_is_array(list))
        json_array_foreach(list, i, item) item_add(b, name, item, i, indexes);
    else if (!json_is_null(list) && !str_ends(name, STR("_conf_version")) &&
             !str_starts(name, STR("X-")))
        log_error("%.*s should be a list: ignored", STR_ARG(name));
}

static int by_key(const void *a, const void *b)
{
    const struct store_item *one = a, *two = b;
    int order = str_cmp(one->key, two->key);

    /* `modified` is the place in the file while this sorts. */
    return order ? order : one->modified < two->modified ? -1 : one->modified > two->modified;
}

/* By key; of several with one key the last counts, as in APISIX. */
static void sort(struct store_batch *b)
{
    size_t n = 0;

    if (b->n == 0)
        return;
    for (size_t i = 0; i < b->n; i++)
        b->items[i].modified = (int64_t)i;
    qsort(b->items, b->n, sizeof(*b->items), by_key);
    for (size_t i = 0; i < b->n; i++) {
        if (i + 1 < b->n && str_eq(b->items[i].key, b->items[i + 1].key)) {
            log_warn("%.*s occurs twice, the last one counts", STR_ARG(b->items[i].key));
            continue;
        }
        b->items[n] = b->items[i];
        b->items[n++].modified = 0;
    }
    b->n = n;
}

struct store_batch *store_file_documents(const json_t *whole, json_t *indexes)
{
    struct store_batch *b = store_batch_new();
    const char *name;
    json_t *list;

    json_object_foreach((json_t *)(uintptr_t)whole, name, list)
    {
        collection_add(b, str_of(name), list, indexes);
    }
    sort(b);
    b->whole = true;
    return b;
}

struct store_batch *store_file_parse(struct str text, bool json, struct arena *a, struct str *err)
{
    json_t *v = json ? json_read(text, a, err) : yaml_read(text, a, err);
    struct store_batch *b = NULL;

    if (!v)
        return NULL;
    if (json_is_object(v) || json_is_null(v))
        b = store_file_documents(v, NULL);
    else
        *err = STR("it should hold lists by kind: routes, services, upstreams and so on");
    json_decref(v);
    return b;
}
