/* SPDX-License-Identifier: Apache-2.0 */
/* consumer-restriction: only these consumers (or services, routes, groups), or all but these. */
#include "plugin/plugin.h"

/* ---- Configuration ---------------------------------------------------------------------------
 */

/* By name of the variable that is looked at. */
static const char *const types[] = {"consumer_name", "service_id", "route_id", "consumer_group_id",
                                    NULL};

/* What one of them may do. */
struct allowed {
    struct str user;
    struct field_list methods; /* of int, in `methods` */
};

struct consumer_restriction {
    struct field_list whitelist, blacklist; /* of struct str */
    struct field_list allowed;              /* of struct allowed */
    int type;
    int64_t rejected_code;
    struct str rejected_msg, forbidden, missing;
};

static const char *const methods[] = {"GET",     "POST",    "PUT",   "DELETE", "PATCH", "HEAD",
                                      "OPTIONS", "CONNECT", "TRACE", "PURGE",  NULL};
static const struct field method_row = {.type = FIELD_ENUM, .names = methods};
static const struct field value_row = {.type = FIELD_STR};

#define AT(member) .at = offsetof(struct allowed, member)
static const struct field allowed_rows[] = {
    {"user", FIELD_STR, AT(user), .doc = "Whom the line is about: a value as in the lists."},
    {"methods", FIELD_LIST, AT(methods), .min = 1, .of = &method_row,
     .doc = "Methods that it may use; no others."},
    {0},
};
static const struct fields allowed_fields = {allowed_rows, .size = sizeof(struct allowed),
                                             .open = true};
static const struct field allowed_row = {.type = FIELD_OBJECT, .fields = &allowed_fields};
#undef AT

#define AT(member) .at = offsetof(struct consumer_restriction, member)
static const struct field rows[] = {
    {"type", FIELD_ENUM, AT(type), .names = types, .def = "\"consumer_name\"",
     .doc = "What the lists name: usernames of consumers, or ids."},
    {"blacklist", FIELD_LIST, AT(blacklist), .min = 1, .of = &value_row,
     .doc = "Those who may not pass, whatever else is said."},
    {"whitelist", FIELD_LIST, AT(whitelist), .min = 1, .of = &value_row,
     .doc = "Those who may pass, with any method; no others may."},
    {"allowed_by_methods", FIELD_LIST, AT(allowed), .of = &allowed_row,
     .doc = "Methods for those who are named here and not in `whitelist`; who is not named may use "
            "all."},
    {"rejected_code", FIELD_INT, AT(rejected_code), .min = 200, .max = 599, .def = "403",
     .doc = "Status of the refusal."},
    {"rejected_msg", FIELD_STR, AT(rejected_msg),
     .doc = "Message of the refusal, in place of `The consumer_name is forbidden.`"},
    {0},
};
#undef AT
static const struct field_rule rules[] = {
    {RULE_ANY_OF, "blacklist|whitelist|allowed_by_methods", 0}, {0}};
static const struct fields conf_fields = {rows, rules, .size = sizeof(struct consumer_restriction),
                                          .open = true};

static bool consumer_restriction_compile(void *conf, struct build *b)
{
    struct consumer_restriction *c = conf;
    struct arena *a = build_arena(b);

    c->forbidden = c->rejected_msg.p ? c->rejected_msg
                                     : arena_printf(a, "The %s is forbidden.", types[c->type]);
    c->missing = arena_printf(a, "The request is rejected, please check the %s for this request",
                              types[c->type]);
    return true;
}

/* ---- Phases -----------------------------------------------------------------------------------
 */

static bool has(const struct field_list *list, struct str value)
{
    const struct str *items = list->items;

    for (size_t i = 0; i < list->n; i++)
        if (str_eq(items[i], value))
            return true;
    return false;
}

/* The first line about it counts. */
static bool method_allowed(const struct consumer_restriction *c, struct str value,
                           struct str method)
{
    const struct allowed *lines = c->allowed.items;

    for (size_t i = 0; i < c->allowed.n; i++) {
        const int *allowed = lines[i].methods.items;
        if (!lines[i].user.p || !str_eq(lines[i].user, value))
            continue;
        for (size_t k = 0; k < lines[i].methods.n; k++)
            if (str_eq(str_of(methods[allowed[k]]), method))
                return true;
        return false;
    }
    return true;
}

static bool may_pass(struct exchange *ex, const struct consumer_restriction *c, struct str value)
{
    if (has(&c->blacklist, value))
        return false;
    if (has(&c->whitelist, value))
        return true;
    return c->whitelist.n == 0 && method_allowed(c, value, request_method(ex));
}

static enum verdict consumer_restriction_access(struct exchange *ex, const void *conf, void *frame)
{
    const struct consumer_restriction *c = conf;
    struct str value = var_value(ex, str_of(types[c->type]));

    (void)frame;
    if (!value.p)
        return reply_message(ex, 401, "message", c->missing);
    if (may_pass(ex, c, value))
        return NEXT;
    return reply_message(ex, (int)c->rejected_code, "message", c->forbidden);
}

const struct plugin plugin_consumer_restriction = {
    .abi = PLUGIN_ABI,
    .name = "consumer-restriction",
    .version = 0.1,
    .priority = 2400,
    .guard = true,
    .doc = "Lets requests pass by whose they are: by the consumer's name (an authentication plugin "
           "says it), its group, the service or the route, and by method.",
    .conf = &conf_fields,
    .compile = consumer_restriction_compile,
    .access = consumer_restriction_access,
};
