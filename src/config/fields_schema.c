/* SPDX-License-Identifier: Apache-2.0 */
/* Draws JSON schema from field tables, as APISIX serves it and its dashboard makes forms of it. */
#include "base/panic.h"
#include "config/fields.h"
#include "config/fields_int.h"

static json_t *object_schema(const struct fields *fields);
static json_t *field_schema(const struct field *f);

/* Whole numbers without a fraction, as they were written. */
static json_t *number_json(double v)
{
    if (v == (double)(json_int_t)v)
        return json_integer((json_int_t)v);
    return json_real(v);
}

static void put(json_t *schema, const char *key, json_t *value)
{
    int bad = json_object_set_new(schema, key, value);

    ASSERT(bad == 0);
}

/* `min` and `max` under the names that they have for this type. */
static void put_length(json_t *schema, const struct field *f, const char *min, const char *max)
{
    if (f->min > 0)
        put(schema, min, number_json(f->min));
    if (f->max > 0)
        put(schema, max, number_json(f->max));
}

static void put_range(json_t *schema, const struct field *f)
{
    if (f->flags & FIELD_ABOVE_MIN)
        put(schema, "exclusiveMinimum", number_json(f->min));
    else if ((f->flags & FIELD_HAS_MIN) || f->min != 0)
        put(schema, "minimum", number_json(f->min));
    if (f->max != 0)
        put(schema, "maximum", number_json(f->max));
}

static void put_names(json_t *schema, const struct field *f)
{
    json_t *list = json_array();

    for (const char *const *name = f->names; *name; name++)
        json_array_append_new(list, f->type == FIELD_ENUM ? json_string(*name)
                                                          : number_json(strtod(*name, NULL)));
    put(schema, "enum", list);
}

static void put_alternatives(json_t *schema, const struct field *f, const char *keyword)
{
    json_t *list = json_array();

    for (const struct field *of = f->of; of->name; of++) {
        json_t *one = field_schema(of);
        put(one, "title", json_string(of->name));
        json_array_append_new(list, one);
    }
    put(schema, keyword, list);
}

static void put_map(json_t *schema, const struct field *f)
{
    put(schema, "type", json_string("object"));
    put_length(schema, f, "minProperties", "maxProperties");
    if (f->of && !f->pattern && (f->flags & FIELD_CLOSED)) {
        put(schema, "additionalProperties", field_schema(f->of));
        return;
    }
    if (f->flags & FIELD_CLOSED)
        put(schema, "additionalProperties", json_false());
    if (f->of || f->pattern) {
        json_t *patterns = json_object();
        put(patterns, f->pattern ? f->pattern : ".*", field_schema(field_of(f)));
        put(schema, "patternProperties", patterns);
    }
}

static void put_list(json_t *schema, const struct field *f)
{
    put(schema, "type", json_string("array"));
    put_length(schema, f, "minItems", "maxItems");
    if (f->of)
        put(schema, "items", field_schema(f->of));
    if (f->flags & FIELD_UNIQUE)
        put(schema, "uniqueItems", json_true());
}

static void put_string(json_t *schema, const struct field *f)
{
    put(schema, "type", json_string("string"));
    put_length(schema, f, "minLength", "maxLength");
    if (f->pattern)
        put(schema, "pattern", json_string(f->pattern));
    if (f->format)
        put(schema, "format", json_string(f->format));
    if (f->of)
        put_alternatives(schema, f, "anyOf");
}

static void put_number(json_t *schema, const struct field *f, const char *type)
{
    put(schema, "type", json_string(type));
    put_range(schema, f);
    if (f->names)
        put_names(schema, f);
}

static json_t *typed_schema(const struct field *f)
{
    json_t *schema;

    if (f->type == FIELD_OBJECT)
        return object_schema(f->fields);
    if (f->type == FIELD_JSON && f->of)
        return field_schema(f->of);
    schema = json_object();
    switch (f->type) {
    case FIELD_BOOL:
        put(schema, "type", json_string("boolean"));
        break;
    case FIELD_INT:
        put_number(schema, f, "integer");
        break;
    case FIELD_NUM:
        put_number(schema, f, "number");
        break;
    case FIELD_STR:
        put_string(schema, f);
        break;
    case FIELD_ENUM:
        put(schema, "type", json_string("string"));
        put_names(schema, f);
        break;
    case FIELD_LIST:
        put_list(schema, f);
        break;
    case FIELD_MAP:
        put_map(schema, f);
        break;
    case FIELD_ANY_OF:
        put_alternatives(schema, f, "anyOf");
        break;
    case FIELD_ONE_OF:
        put_alternatives(schema, f, "oneOf");
        break;
    case FIELD_OBJECT:
    case FIELD_JSON:
        break;
    }
    return schema;
}

static json_t *field_schema(const struct field *f)
{
    json_t *schema = typed_schema(f);

    if (f->def)
        put(schema, "default", json_deep_copy(memo_json(f->def)));
    if (f->doc)
        put(schema, "description", json_string(f->doc));
    return schema;
}

/* ---- Rules ------------------------------------------------------------------------------------
 */

static json_t *names_json(struct str group)
{
    json_t *list = json_array();
    struct str name;

    while (rule_part(&group, ',', &name))
        json_array_append_new(list, json_stringn(name.p, name.n));
    return list;
}

static json_t *required_json(struct str group)
{
    return json_pack("{so}", "required", names_json(group));
}

/* One {required: [...]} for each group. */
static json_t *groups_json(const struct field_rule *rule)
{
    json_t *list = json_array();
    struct str groups = str_of(rule->groups), group;

    while (rule_part(&groups, '|', &group))
        json_array_append_new(list, required_json(group));
    return list;
}

static json_t *one_of_json(const struct field_rule *rule)
{
    json_t *list = groups_json(rule);

    if (rule->type == RULE_ALL_NONE_OR_ONE)
        json_array_insert_new(list, 0, json_pack("{s{so}}", "not", "anyOf", groups_json(rule)));
    return json_pack("{so}", "oneOf", list);
}

static json_t *dependency_json(const struct field_rule *rule, struct str others)
{
    if (rule->type == RULE_DEPENDS)
        return names_json(others);
    if (rule->type == RULE_DEPENDS_SCHEMA)
        return required_json(others);
    return json_pack("{so}", "not", required_json(others));
}

static void put_dependencies(json_t *schema, const struct field_rule *rule)
{
    json_t *all = json_object_get(schema, "dependencies");
    struct str groups = str_of(rule->groups), group, first;

    if (!all) {
        all = json_object();
        put(schema, "dependencies", all);
    }
    while (rule_part(&groups, '|', &group)) {
        rule_part(&group, ',', &first);
        json_object_setn_new(all, first.p, first.n, dependency_json(rule, group));
    }
}

static void put_all_of(json_t *schema, const struct field_rule *rule)
{
    json_t *all = json_object_get(schema, "allOf");

    if (!all) {
        all = json_array();
        put(schema, "allOf", all);
    }
    json_array_append_new(all, one_of_json(rule));
}

static json_t *required_one_json(struct str *groups)
{
    json_t *list = json_array(), *one;
    struct str group;

    while (rule_part(groups, '|', &group) && !str_eq(group, STR("else")))
        json_array_append_new(list, required_json(group));
    if (json_array_size(list) > 1)
        return json_pack("{so}", "oneOf", list);
    one = json_incref(json_array_get(list, 0));
    json_decref(list);
    return one;
}

static void put_when(json_t *schema, const struct field_rule *rule)
{
    struct str groups = str_of(rule->groups), condition, name, value;
    json_t *properties = json_object();

    rule_part(&groups, '|', &condition);
    str_cut(condition, '=', &name, &value);
    json_object_setn_new(properties, name.p, name.n,
                         json_pack("{s[s#]}", "enum", value.p, (int)value.n));
    put(schema, "if", json_pack("{so}", "properties", properties));
    put(schema, "then", required_one_json(&groups));
    put(schema, "else", required_one_json(&groups));
}

static void put_rule(json_t *schema, const struct field_rule *rule)
{
    switch (rule->type) {
    case RULE_ONE_OF:
    case RULE_ONE_OF_NAMED:
        put(schema, "oneOf", groups_json(rule));
        break;
    case RULE_ANY_OF:
        put(schema, "anyOf", groups_json(rule));
        break;
    case RULE_NOT_BOTH:
        put(schema, "not", json_pack("{so}", "anyOf", groups_json(rule)));
        break;
    case RULE_WHEN:
        put_when(schema, rule);
        break;
    case RULE_MIN_FIELDS:
        put(schema, "minProperties", json_integer(rule->n));
        break;
    case RULE_MAX_FIELDS:
        put(schema, "maxProperties", json_integer(rule->n));
        break;
    case RULE_ALL_ONE_OF:
    case RULE_ALL_NONE_OR_ONE:
        put_all_of(schema, rule);
        break;
    case RULE_DEPENDS:
    case RULE_DEPENDS_SCHEMA:
    case RULE_EXCLUDES:
        put_dependencies(schema, rule);
        break;
    }
}

/* ---- Objects ----------------------------------------------------------------------------------
 */

static json_t *object_schema(const struct fields *fields)
{
    json_t *schema = json_object(), *properties = json_object(), *required = json_array();

    put(schema, "type", json_string("object"));
    put(schema, "properties", properties);
    for (const struct field *f = fields->rows; f->name; f++) {
        if (f->flags & FIELD_HIDDEN)
            continue;
        put(properties, f->name, field_schema(f));
        if (f->flags & FIELD_REQUIRED)
            json_array_append_new(required, json_string(f->name));
    }
    /* An empty `required` would mean "no properties at all" to APISIX's validator. */
    if (json_array_size(required))
        put(schema, "required", json_incref(required));
    json_decref(required);
    if (!fields->open)
        put(schema, "additionalProperties", json_false());
    if (fields->rules)
        for (const struct field_rule *r = fields->rules; r->groups || r->n; r++)
            put_rule(schema, r);
    if (fields->doc)
        put(schema, "description", json_string(fields->doc));
    return schema;
}

json_t *fields_schema(const struct fields *fields)
{
    return object_schema(fields);
}
