/* SPDX-License-Identifier: Apache-2.0 */
/* What a document must be before it is written, in the order and the words of APISIX's Admin API
 * (apisix/admin/resource.lua, routes.lua, consumers.lua). */
#include <inttypes.h>
#include <math.h>

#include "admin/admin_int.h"
#include "config/fields.h"

const char *json_type_name(const json_t *value)
{
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        return "table";
    case JSON_STRING:
        return "string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "boolean";
    case JSON_NULL:
        break;
    }
    return value ? "userdata" : "nil";
}

/* ---- Ids ---------------------------------------------------------------------------------------
 */

struct str id_of(struct arena *a, const json_t *value)
{
    if (json_is_string(value))
        return str_make(json_string_value(value), json_string_length(value));
    if (json_is_integer(value))
        return arena_printf(a, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    if (json_is_real(value) && fabs(json_real_value(value)) < 1e15 &&
        trunc(json_real_value(value)) == json_real_value(value))
        return arena_printf(a, "%.0f", json_real_value(value));
    return STR_NONE;
}

/* 1 to 64 of [a-zA-Z0-9-_.]. This is what may become part of a store key, so it is checked here
 * too, whatever the kind's table says. */
static bool id_is_good(struct str id, size_t max, bool dots)
{
    if (id.n == 0 || id.n > max)
        return false;
    for (size_t i = 0; i < id.n; i++) {
        char c = ascii_lower(id.p[i]);
        if (!ascii_digit(c) && !(c >= 'a' && c <= 'z') && c != '-' && c != '_' &&
            !(dots && c == '.'))
            return false;
    }
    return true;
}

/* Numbers must be 1 or more. */
static bool id_value_is_good(const json_t *value, struct str id)
{
    return id_is_good(id, 64, true) && !(json_is_number(value) && json_number_value(value) < 1);
}

static bool check_body(struct call *c)
{
    if (!c->json)
        reply_error(c, 400, "missing configurations");
    else if (!json_is_object(c->json))
        reply_error(c, 400, "invalid configuration: wrong type: expected object, got %s",
                    json_type_name(c->json));
    else
        return true;
    return false;
}

/* The id of a PUT (wanted) or POST (refused): from the URL or the body; it ends up in the body. */
static bool check_id(struct call *c, bool wanted, struct str *id)
{
    struct str noun = kinds[c->kind].noun;

    /* A secret's id is said with its manager there. */
    bool secret = c->kind == KIND_SECRET;
    const json_t *given = json_object_get(c->json, "id");
    *id = c->id.p ? c->id : id_of(c->a, given);
    if (!wanted) {
        if (!c->id.p && !given) {
            *id = STR("");
            return true;
        }
        reply_error(c, 400, "wrong %.*s id, do not need it", STR_ARG(noun));
        return false;
    }
    if (!c->id.p && !given) {
        reply_error(c, 400, "missing %.*s id", STR_ARG(noun));
        return false;
    }
    if (c->id.p && given && !str_eq(id_of(c->a, given), secret ? call_item(c, c->id) : c->id)) {
        reply_error(c, 400, "wrong %.*s id", STR_ARG(noun));
        return false;
    }
    if (!id_value_is_good(given, *id) || (secret && (!c->parent.p || !c->id.p))) {
        reply_error(c, 400,
                    "invalid configuration: property \"id\" validation failed: object matches "
                    "none of the required");
        return false;
    }
    if (c->id.p) {
        struct str shown = secret ? call_item(c, *id) : *id;
        json_object_set_new(c->json, "id", json_stringn(shown.p, shown.n));
    }
    return true;
}

/* ---- The document ------------------------------------------------------------------------------
 */

static bool check_times(struct call *c)
{
    static const struct {
        const char *inside, *shown;
    } places[] = {{NULL, ""}, {"upstream", "upstream."}, {"plugins", "plugins."}};
    static const char *const names[] = {"create_time", "update_time"};

    for (size_t i = 0; c->verb != VERB_PATCH && i < sizeof(places) / sizeof(places[0]); i++) {
        const json_t *at = places[i].inside ? json_object_get(c->json, places[i].inside) : c->json;
        for (size_t j = 0; j < sizeof(names) / sizeof(names[0]); j++) {
            const json_t *found = json_object_get(at, names[j]);
            if (found && !json_is_false(found)) {
                reply_error(c, 400, "the property is forbidden:  %s%s", places[i].shown, names[j]);
                return false;
            }
        }
    }
    return true;
}

/* Pairs that APISIX refuses before it looks at the schema. */
static bool check_pairs(struct call *c)
{
    static const char *const pairs[][2] = {{"host", "hosts"}, {"remote_addr", "remote_addrs"}};

    for (size_t i = 0; c->kind == KIND_ROUTE && i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        if (json_object_get(c->json, pairs[i][0]) && json_object_get(c->json, pairs[i][1])) {
            reply_error(c, 400, "only one of %s or %s is allowed", pairs[i][0], pairs[i][1]);
            return false;
        }
    }
    return true;
}

bool check_schema(struct call *c, enum kind kind, const json_t *value, struct str *err)
{
    const struct fields *fields = kinds[kind].fields;

    if (!json_is_object(value)) {
        *err = arena_printf(c->a, "wrong type: expected object, got %s", json_type_name(value));
        return false;
    }
    return fields_parse(fields, value, arena_zero(c->a, fields->size), c->a, err);
}

/* A consumer goes by its name, which is in the body; the URL may repeat it. */
static bool check_username(struct call *c, struct str name)
{
    if (id_is_good(name, 256, false) && (!c->id.p || str_eq(c->id, name)))
        return true;
    reply_error(c, 400, "wrong username");
    return false;
}

/* Metadata go by their plugin's name, in the URL; it ends up in the body. */
static bool check_plugin(struct call *c, struct str *id)
{
    *id = c->id;
    if (c->id.p && json_object_set_new(c->json, "id", json_stringn(id->p, id->n)) == 0)
        return true;
    reply_error(c, 400, c->id.p ? "invalid plugin name" : "missing plugin name");
    return false;
}

bool check_write(struct call *c, bool wanted, struct str *id)
{
    struct builder *b = keeper_builder(c->keeper);
    bool consumer = c->kind == KIND_CONSUMER, metadata = c->kind == KIND_PLUGIN_METADATA;
    struct str err = STR_NONE;

    if (!check_body(c))
        return false;
    if (consumer)
        *id = id_of(c->a, json_object_get(c->json, "username"));
    else if (!(metadata ? check_plugin(c, id) : check_id(c, wanted, id)))
        return false;
    if (!check_times(c) || !check_pairs(c))
        return false;
    if (!builder_check(b, c->kind, call_item(c, *id), c->json, c->a, &err)) {
        reply_error(c, 400, "%s%.*s", builder_check_by_schema(b) ? "invalid configuration: " : "",
                    STR_ARG(err));
        return false;
    }
    return (!consumer || check_username(c, *id)) &&
           ((c->changes && c->changes->many) || check_references(c));
}

static bool consumer_exists(struct call *c)
{
    struct str err = STR_NONE;

    switch (document_exists(c, KIND_CONSUMER, c->parent, &err)) {
    case STORE_OK:
        return true;
    case STORE_NOT_FOUND:
        reply_error(c, 404, "consumer not found");
        break;
    case STORE_CONFLICT:
    case STORE_FAILED:
        reply_store_failed(c, "read", document_key(c->a, KIND_CONSUMER, c->parent), err);
        break;
    }
    return false;
}

bool check_references(struct call *c)
{
    if (c->verb == VERB_DELETE)
        return c->force || refs_unused(c);
    if (c->changes && c->changes->many && c->kind == KIND_DECORATION && !decoration_fits(c))
        return false;
    return refs_exist(c) && (c->kind != KIND_CREDENTIAL || consumer_exists(c));
}
