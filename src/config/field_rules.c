/* SPDX-License-Identifier: Apache-2.0 */
/* The rules between fields of one object, with the messages of the JSON schema keywords that they
 * stand for (wording and order: api7/jsonschema). */
#include "base/buf.h"
#include "base/panic.h"
#include "config/fields_int.h"

bool rule_part(struct str *rest, char sep, struct str *part)
{
    if (!rest->p)
        return false;
    str_cut(*rest, sep, part, rest);
    return true;
}

/* The validator fills in defaults before it looks at rules, so a field with a default counts. */
static bool is_present(const struct fields *fields, const json_t *in, struct str name)
{
    if (json_object_getn(in, name.p, name.n))
        return true;
    const struct field *row = fields_row(fields, name);
    return row && row->def;
}

static bool group_is_present(const struct fields *fields, const json_t *in, struct str group)
{
    struct str name;

    while (rule_part(&group, ',', &name))
        if (!is_present(fields, in, name))
            return false;
    return true;
}

static bool rule_depends(struct parse *p, const struct fields *fields, const json_t *in,
                         const struct field_rule *rule)
{
    struct str groups = str_of(rule->groups), group, first, name;

    while (rule_part(&groups, '|', &group)) {
        rule_part(&group, ',', &first);
        if (!json_object_getn(in, first.p, first.n))
            continue;
        while (rule_part(&group, ',', &name)) {
            if (is_present(fields, in, name))
                continue;
            if (rule->type == RULE_DEPENDS)
                return parse_fail(p, "property \"%.*s\" is required when \"%.*s\" is set",
                                  STR_ARG(name), STR_ARG(first));
            return parse_fail(p,
                              "failed to validate dependent schema for \"%.*s\": "
                              "property \"%.*s\" is required",
                              STR_ARG(first), STR_ARG(name));
        }
    }
    return true;
}

static bool rule_excludes(struct parse *p, const struct fields *fields, const json_t *in,
                          const struct field_rule *rule)
{
    struct str groups = str_of(rule->groups), group, first;

    while (rule_part(&groups, '|', &group)) {
        rule_part(&group, ',', &first);
        if (json_object_getn(in, first.p, first.n) && group_is_present(fields, in, group))
            return parse_fail(p,
                              "failed to validate dependent schema for \"%.*s\": "
                              "value wasn't supposed to match schema",
                              STR_ARG(first));
    }
    return true;
}

static bool rule_count(struct parse *p, const struct fields *fields, const json_t *in,
                       const struct field_rule *rule)
{
    size_t n = json_object_size(in);

    for (const struct field *f = fields->rows; f->name; f++)
        n += f->def && !json_object_get(in, f->name);
    if (rule->type == RULE_MIN_FIELDS && n < (size_t)rule->n)
        return parse_fail(p, "expect object to have at least %d properties", rule->n);
    if (rule->type == RULE_MAX_FIELDS && n > (size_t)rule->n)
        return parse_fail(p, "expect object to have at most %d properties", rule->n);
    return true;
}

static bool rule_any_of(struct parse *p, const struct fields *fields, const json_t *in,
                        const struct field_rule *rule)
{
    struct str groups = str_of(rule->groups), group, name;
    struct buf text;
    const char *between = "";

    while (rule_part(&groups, '|', &group))
        if (group_is_present(fields, in, group))
            return true;
    buf_init(&text, 8192);
    for (groups = str_of(rule->groups); rule_part(&groups, '|', &group); between = " or ") {
        buf_printf(&text, "%s[", between);
        for (const char *comma = ""; rule_part(&group, ',', &name); comma = ",")
            buf_printf(&text, "%s\"%.*s\"", comma, STR_ARG(name));
        buf_printf(&text, "]");
    }
    parse_fail(p, "object matches none of the required: %.*s", STR_ARG(buf_str(&text)));
    buf_fini(&text);
    return false;
}

/* The groups of a RULE_WHEN that hold for this object; false: those behind `else`. */
static bool when_groups(const struct fields *fields, const json_t *in, struct str *groups)
{
    struct str condition, name, value, group;

    rule_part(groups, '|', &condition);
    str_cut(condition, '=', &name, &value);
    const json_t *is = json_object_getn(in, name.p, name.n);
    const struct field *row = fields_row(fields, name);
    if (!is && row && row->def)
        is = memo_json(row->def);
    if (json_is_string(is) && str_eq(str_of(json_string_value(is)), value))
        return true;
    while (rule_part(groups, '|', &group) && !str_eq(group, STR("else"))) {
    }
    return false;
}

static bool rule_when(struct parse *p, const struct fields *fields, const json_t *in,
                      const struct field_rule *rule)
{
    struct str groups = str_of(rule->groups), group;
    bool holds = when_groups(fields, in, &groups);
    int matched = 0;

    while (rule_part(&groups, '|', &group) && !str_eq(group, STR("else")))
        matched += group_is_present(fields, in, group);
    return matched == 1 || parse_fail(p, "%s clause did not match", holds ? "then" : "else");
}

/* `none_too`: the first alternative is that no group is present. */
static bool rule_one_of(struct parse *p, const struct fields *fields, const json_t *in,
                        const struct field_rule *rule, bool none_too)
{
    struct str groups = str_of(rule->groups), group;
    int matched = 0;

    for (int i = none_too ? 2 : 1; rule_part(&groups, '|', &group); i++) {
        if (!group_is_present(fields, in, group))
            continue;
        if (matched)
            return parse_fail(p,
                              "value should match only one schema, but matches both schemas "
                              "%d and %d",
                              matched, i);
        matched = i;
    }
    if (!matched && !none_too)
        return parse_fail(p, "value should match only one schema, but matches none");
    return true;
}

static bool any_is_present(const json_t *in, struct str group)
{
    struct str name;

    while (rule_part(&group, ',', &name))
        if (json_object_getn(in, name.p, name.n))
            return true;
    return false;
}

static bool rule_one_of_named(struct parse *p, const struct fields *fields, const json_t *in,
                              const struct field_rule *rule)
{
    struct str groups = str_of(rule->groups), group, name;
    struct buf text;
    int n = 0;

    while (rule_part(&groups, '|', &group))
        n += any_is_present(in, group);
    if (n < 2)
        return rule_one_of(p, fields, in, rule, false);
    buf_init(&text, 8192);
    for (groups = str_of(rule->groups); rule_part(&groups, '|', &group);) {
        if (!any_is_present(in, group))
            continue;
        buf_printf(&text, "%s", text.n ? " and " : "");
        for (const char *slash = ""; rule_part(&group, ',', &name); slash = "/")
            buf_printf(&text, "%s%.*s", slash, STR_ARG(name));
    }
    parse_fail(p, "%.*s cannot be specified at the same time", STR_ARG(buf_str(&text)));
    buf_fini(&text);
    return false;
}

static bool rule_all(struct parse *p, const struct fields *fields, const json_t *in,
                     const struct field_rule *rule)
{
    int i = 0;

    if (rule_one_of(p, fields, in, rule, rule->type == RULE_ALL_NONE_OR_ONE))
        return true;
    for (const struct field_rule *r = fields->rules; r <= rule; r++)
        i += r->type == RULE_ALL_ONE_OF || r->type == RULE_ALL_NONE_OR_ONE;
    return parse_fail(p, "allOf %d failed: %.*s", i, STR_ARG(p->err));
}

static bool rule_not_both(struct parse *p, const struct fields *fields, const json_t *in,
                          const struct field_rule *rule)
{
    struct str groups = str_of(rule->groups), group;

    while (rule_part(&groups, '|', &group))
        if (group_is_present(fields, in, group))
            return parse_fail(p, "value wasn't supposed to match schema");
    return true;
}

static bool rule_check(struct parse *p, const struct fields *fields, const json_t *in,
                       const struct field_rule *rule)
{
    switch (rule->type) {
    case RULE_DEPENDS:
    case RULE_DEPENDS_SCHEMA:
        return rule_depends(p, fields, in, rule);
    case RULE_EXCLUDES:
        return rule_excludes(p, fields, in, rule);
    case RULE_MIN_FIELDS:
    case RULE_MAX_FIELDS:
        return rule_count(p, fields, in, rule);
    case RULE_ALL_ONE_OF:
    case RULE_ALL_NONE_OR_ONE:
        return rule_all(p, fields, in, rule);
    case RULE_ANY_OF:
        return rule_any_of(p, fields, in, rule);
    case RULE_ONE_OF:
        return rule_one_of(p, fields, in, rule, false);
    case RULE_ONE_OF_NAMED:
        return rule_one_of_named(p, fields, in, rule);
    case RULE_NOT_BOTH:
        return rule_not_both(p, fields, in, rule);
    case RULE_WHEN:
        return rule_when(p, fields, in, rule);
    }
    PANIC("a rule without a type");
}

/* When each kind is looked at. */
static const int rank[] = {
    [RULE_DEPENDS] = 0,         [RULE_DEPENDS_SCHEMA] = 0, [RULE_EXCLUDES] = 0,
    [RULE_MIN_FIELDS] = 1,      [RULE_MAX_FIELDS] = 2,     [RULE_ALL_ONE_OF] = 3,
    [RULE_ALL_NONE_OR_ONE] = 3, [RULE_ANY_OF] = 4,         [RULE_ONE_OF] = 5,
    [RULE_NOT_BOTH] = 6,        [RULE_ONE_OF_NAMED] = 5,   [RULE_WHEN] = 7,
};

static bool rules_ranked(struct parse *p, const struct fields *fields, const json_t *in, int from,
                         int to)
{
    if (!fields->rules)
        return true;
    for (int i = from; i <= to; i++)
        for (const struct field_rule *r = fields->rules; r->groups || r->n; r++)
            if (rank[r->type] == i && !rule_check(p, fields, in, r))
                return false;
    return true;
}

bool rules_depend(struct parse *p, const struct fields *fields, const json_t *in)
{
    return rules_ranked(p, fields, in, 0, 0);
}

bool rules_rest(struct parse *p, const struct fields *fields, const json_t *in)
{
    return rules_ranked(p, fields, in, 1, 7);
}
