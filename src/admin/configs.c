/* SPDX-License-Identifier: Apache-2.0 */
/* The whole configuration at once: GET, HEAD, PUT configs of APISIX's API-driven standalone mode
 * (apisix/admin/standalone.lua). */
#include <inttypes.h>
#include <time.h>

#include "admin/admin_int.h"
#include "base/buf.h"
#include "config/yaml.h"
#include "store/whole.h"

#define DIGEST   "X-Digest"
#define MODIFIED "X-Last-Modified"

enum { TEXT_MAX = 1 << 30 };

/* `plugins` is a list that APISIX takes too; it has no effect here. */
static const struct str plugins_key = {"plugins", 7};

/* The i-th collection of a whole; absent: there are no more. */
static struct str collection_at(unsigned i)
{
    if (i == KIND_COUNT)
        return plugins_key;
    return i > KIND_COUNT                                        ? STR_NONE
           : kinds[i].owner != KIND_COUNT /* among its owners */ ? STR("")
                                                                 : kinds[i].collection;
}

static const char *version_key(struct call *c, struct str collection)
{
    return arena_printf(c->a, "%.*s_conf_version", STR_ARG(collection)).p;
}

/* ---- GET, HEAD ---------------------------------------------------------------------------------
 */

static void headers_add(struct call *c, const json_t *config)
{
    const json_t *digest = json_object_get(config, DIGEST);
    const json_t *modified = json_object_get(config, MODIFIED);

    if (modified)
        reply_header(c, STR(MODIFIED),
                     arena_printf(c->a, "%" JSON_INTEGER_FORMAT, json_integer_value(modified)));
    if (digest)
        reply_header(c, STR(DIGEST), arena_str(c->a, str_of(json_string_value(digest))));
}

static json_t *config_none(struct call *c)
{
    json_t *none = json_object();
    struct str name;

    for (unsigned i = 0; (name = collection_at(i)).p; i++)
        if (name.n > 0)
            json_object_set_new(none, version_key(c, name), json_integer(0));
    return none;
}

static void reply_yaml(struct call *c, struct str text)
{
    json_t *config = json_loadb(text.p, text.n, 0, NULL);
    struct buf out;

    buf_init(&out, TEXT_MAX);
    if (yaml_write(config, &out)) {
        reply_bare(c, 200, arena_str(c->a, str_trim(buf_str(&out))));
        c->reply->content_type = STR("application/yaml");
    } else {
        reply_error(c, 500, "failed to encode yaml");
    }
    buf_fini(&out);
    json_decref(config);
}

void configs_get(struct call *c)
{
    struct store *store = keeper_store(c->keeper);
    struct str text = store_whole_text(store);

    headers_add(c, store_whole_head(store));
    /* Asked often, to see whether something has changed. */
    if (str_eq(c->method, STR("HEAD"))) {
        reply_empty(c, 200);
        return;
    }
    if (!text.p) {
        json_t *none = config_none(c);
        text = document_text(c->a, none);
        json_decref(none);
    }
    if (str_starts(c->accept, STR("application/yaml")))
        reply_yaml(c, text);
    else
        reply_bare(c, 200, arena_join(c->a, text, STR("\n")));
}

/* ---- PUT ---------------------------------------------------------------------------------------
 */

static json_int_t next_version(const json_t *before)
{
    int64_t version = field_int(before);

    return version < INT64_MAX ? version + 1 : version;
}

/* One collection of the new whole, in the light of its versions: given ones must not go back, one
 * that is as before keeps the collection as it was. False: answered. */
static bool collection_merge(struct call *c, struct str name, const json_t *before,
                             const json_t *given, json_t *to)
{
    const char *key = version_key(c, name);
    json_t *new = json_object_get(given, key), *items = json_object_get(given, name.p);
    double old = json_number_value(json_object_get(before, key));

    if (new && !json_is_number(new)) {
        reply_error(c, 400, "%s must be a number", key);
        return false;
    }
    if (new &&json_number_value(new) < old) {
        reply_error(c, 400, "%s must be greater than or equal to (%.14g)", key, old);
        return false;
    }
    if (new)
        json_object_set(to, key, new);
    else
        json_object_set_new(to, key, json_integer(next_version(json_object_get(before, key))));
    if (new &&json_number_value(new) == old)
        items = json_object_get(before, name.p);
    if (json_array_size(items) > 0)
        json_object_set(to, name.p, items);
    return true;
}

/* NULL: answered. */
static json_t *config_merge(struct call *c, const json_t *before, const json_t *given)
{
    json_t *config = json_object();
    struct str name;

    for (unsigned i = 0; (name = collection_at(i)).p; i++)
        if (name.n > 0 && !collection_merge(c, name, before, given, config)) {
            json_decref(config);
            return NULL;
        }
    json_object_set_new(config, MODIFIED, json_integer((json_int_t)time(NULL)));
    json_object_set_new(config, DIGEST, json_any(c->digest));
    return config;
}

/* All that is wrong is named; the first fault is the message, as in APISIX. False: answered. */
static bool config_check(struct call *c, json_t *given)
{
    json_t *errors = configs_errors(c, given);
    const json_t *first = json_object_get(json_array_get(errors, 0), "error");

    if (json_array_size(errors) > 0)
        reply_json(c, 400,
                   json_pack("{sOsO}", "error_msg", (json_t *)(uintptr_t)first, "errors", errors));
    json_decref(errors);
    return !first;
}

static void config_store(struct call *c, const json_t *config)
{
    struct store *store = keeper_store(c->keeper);
    struct store_batch *changes;
    struct str err = STR_NONE;

    if (store_whole_replace(store, config, &changes, &err) != STORE_OK) {
        reply_store_failed(c, "write", STR("configs"), err);
        return;
    }
    keeper_changed(c->keeper, changes);
    c->revision = store->ops->revision(store);
    headers_add(c, store_whole_head(store));
    reply_empty(c, 202);
}

static bool is_known(const json_t *head, struct str digest)
{
    const char *known = json_string_value(json_object_get(head, DIGEST));

    return known && str_eq(digest, str_of(known));
}

void configs_put(struct call *c)
{
    struct store *store = keeper_store(c->keeper);
    struct str text = store_whole_text(store);

    if (c->dry) {
        reply_error(c, 400, "dry_run: a whole configuration is checked by POST configs/validate");
        return;
    }
    if (!c->digest.p) {
        reply_error(c, 400, "missing digest header");
        return;
    }
    json_t *given = configs_body(c);
    if (!given)
        return;
    if (is_known(store_whole_head(store), c->digest)) {
        reply_empty(c, 204);
    } else if (config_check(c, given)) {
        json_t *before = text.p ? json_loadb(text.p, text.n, 0, NULL) : NULL;
        json_t *config = config_merge(c, before, given);
        if (config)
            config_store(c, config);
        json_decref(config);
        json_decref(before);
    }
    json_decref(given);
}
