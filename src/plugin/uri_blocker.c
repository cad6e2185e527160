/* SPDX-License-Identifier: Apache-2.0 */
/* uri-blocker: requests whose path or query a pattern finds something in do not pass. */
#include "base/regex.h"
#include "plugin/plugin.h"

/* ---- Configuration ---------------------------------------------------------------------------
 */

struct uri_blocker {
    struct field_list rules; /* of struct str */
    int64_t rejected_code;
    struct str rejected_msg;
    bool case_insensitive;
    struct regex *regex; /* all of them; NULL: there is none */
};

static const struct field rule_row = {.type = FIELD_STR, .min = 1, .max = 4096};

#define AT(member) .at = offsetof(struct uri_blocker, member)
static const struct field rows[] = {
    {"block_rules", FIELD_LIST, .flags = FIELD_REQUIRED | FIELD_UNIQUE, AT(rules), .of = &rule_row,
     .doc = "Regular expressions, looked for in the path (decoded, normalised) with the query (as "
            "the client sent it)."},
    {"rejected_code", FIELD_INT, AT(rejected_code), .min = 200, .max = 599, .def = "403",
     .doc = "Status of the refusal."},
    {"rejected_msg", FIELD_STR, AT(rejected_msg), .min = 1,
     .doc = "Message of the refusal; without it the status's standard page."},
    {"case_insensitive", FIELD_BOOL, AT(case_insensitive), .def = "false",
     .doc = "Large letters and small ones are the same."},
    {0},
};
#undef AT
static const struct fields conf_fields = {rows, .size = sizeof(struct uri_blocker), .open = true};

/* One of all, as APISIX makes it: what a rule says of what follows (`(?i)`) holds for the next. */
static struct str join(struct arena *a, const struct uri_blocker *c)
{
    const struct str *rules = c->rules.items;
    struct str all = c->case_insensitive ? STR("(?i)") : STR("");

    for (size_t i = 0; i < c->rules.n; i++)
        all = arena_join(a, arena_join(a, all, i ? STR("|") : STR("")), rules[i]);
    return all;
}

static bool uri_blocker_compile(void *conf, struct build *b)
{
    struct uri_blocker *c = conf;
    const struct str *rules = c->rules.items;
    struct regex_error err;

    for (size_t i = 0; i < c->rules.n; i++) {
        struct regex *one = regex_new(rules[i], STR("jo"), &err);
        if (!one)
            return build_error(b, "%s", err.text);
        regex_free(one);
    }
    if (c->rules.n == 0)
        return true;
    c->regex = regex_new(join(build_arena(b), c), STR("jo"), &err);
    return c->regex ? true : build_error(b, "%s", err.text);
}

static void uri_blocker_release(void *conf)
{
    regex_free(((struct uri_blocker *)conf)->regex);
}

/* ---- Phases -----------------------------------------------------------------------------------
 */

/* A match that would cost too much is one. */
static enum verdict uri_blocker_rewrite(struct exchange *ex, const void *conf, void *frame)
{
    const struct uri_blocker *c = conf;

    (void)frame;
    if (!c->regex || regex_match(c->regex, var_value(ex, STR("request_uri")), 0, NULL) == 0)
        return NEXT;
    if (c->rejected_msg.p)
        return reply_message(ex, (int)c->rejected_code, "error_msg", c->rejected_msg);
    return reply_status(ex, (int)c->rejected_code);
}

const struct plugin plugin_uri_blocker = {
    .abi = PLUGIN_ABI,
    .name = "uri-blocker",
    .version = 0.1,
    .priority = 2900,
    .guard = true,
    .doc = "Refuses requests whose path or query matches a regular expression.",
    .conf = &conf_fields,
    .compile = uri_blocker_compile,
    .release = uri_blocker_release,
    .rewrite = uri_blocker_rewrite,
};
