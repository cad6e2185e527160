/* SPDX-License-Identifier: Apache-2.0 */
/* ua-restriction: clients by what they say they are, the User-Agent header. */
#include "base/regex.h"
#include "plugin/plugin.h"

/* ---- Configuration ---------------------------------------------------------------------------
 */

struct ua_restriction {
    struct field_list allowlist, denylist; /* of struct str */
    bool bypass_missing;
    struct str message;
    struct regex **regexes; /* of the list that is there */
    size_t nregexes;
};

static const struct field pattern_row = {.type = FIELD_STR, .min = 1};

#define AT(member) .at = offsetof(struct ua_restriction, member)
static const struct field rows[] = {
    {"bypass_missing", FIELD_BOOL, AT(bypass_missing), .def = "false",
     .doc = "Lets requests without the header pass."},
    {"allowlist", FIELD_LIST, AT(allowlist), .min = 1, .of = &pattern_row,
     .doc = "Regular expressions; a `User-Agent` that one of them finds something in may pass, no "
            "other may."},
    {"denylist", FIELD_LIST, AT(denylist), .min = 1, .of = &pattern_row,
     .doc = "Regular expressions; a `User-Agent` that one of them finds something in may not "
            "pass."},
    {"message", FIELD_STR, AT(message), .min = 1, .max = 1024, .def = "\"Not allowed\"",
     .doc = "Message of the refusal."},
    {0},
};
#undef AT
static const struct field_rule rules[] = {{RULE_ONE_OF, "allowlist|denylist", 0}, {0}};
static const struct fields conf_fields = {rows, rules, .size = sizeof(struct ua_restriction),
                                          .open = true};

static bool ua_restriction_compile(void *conf, struct build *b)
{
    struct ua_restriction *c = conf;
    const struct field_list *list = c->allowlist.n ? &c->allowlist : &c->denylist;
    const struct str *patterns = list->items;
    struct regex_error err;

    c->regexes = arena_zero(build_arena(b), list->n * sizeof(*c->regexes));
    for (size_t i = 0; i < list->n; i++) {
        c->regexes[i] = regex_new(patterns[i], STR("jo"), &err);
        if (!c->regexes[i])
            return build_error(b, "%s", err.text);
        c->nregexes++;
    }
    return true;
}

static void ua_restriction_release(void *conf)
{
    struct ua_restriction *c = conf;

    for (size_t i = 0; i < c->nregexes; i++)
        regex_free(c->regexes[i]);
}

/* ---- Phases -----------------------------------------------------------------------------------
 */

/* A match that would cost too much is not in the allowlist, and is in the denylist. */
static bool listed(const struct ua_restriction *c, struct str agent)
{
    for (size_t i = 0; i < c->nregexes; i++) {
        int found = regex_match(c->regexes[i], agent, 0, NULL);
        if (found > 0 || (found < 0 && c->denylist.n))
            return true;
    }
    return false;
}

/* Of several headers one in the list is enough, for either list. */
static enum verdict ua_restriction_access(struct exchange *ex, const void *conf, void *frame)
{
    const struct ua_restriction *c = conf;
    struct str name, value;
    bool any = false, found = false;

    (void)frame;
    for (size_t i = 0; request_header_at(ex, i, &name, &value) && !found; i++) {
        if (!str_eq_nocase(name, STR("User-Agent")))
            continue;
        any = true;
        found = listed(c, value);
    }
    if (any ? found == (c->allowlist.n > 0) : c->bypass_missing)
        return NEXT;
    return reply_message(ex, 403, "message", c->message);
}

const struct plugin plugin_ua_restriction = {
    .abi = PLUGIN_ABI,
    .name = "ua-restriction",
    .version = 0.1,
    .priority = 2999,
    .guard = true,
    .doc = "Lets clients pass, or not, by their `User-Agent` header. Any client can send any: this "
           "keeps out crawlers and old versions, not attackers.",
    .conf = &conf_fields,
    .compile = ua_restriction_compile,
    .release = ua_restriction_release,
    .access = ua_restriction_access,
};
