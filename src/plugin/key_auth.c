/* SPDX-License-Identifier: Apache-2.0 */
/* key-auth: a consumer is known by a key, in a header or in the query. */
#include "plugin/plugin.h"

static const char plugin_name[] = "key-auth";

/* ---- Configuration ---------------------------------------------------------------------------
 */

struct key_auth {
    struct str header, query, realm, anonymous;
    bool hide;
    struct str challenge;
};

struct key_auth_consumer {
    struct str key;
};

#define AT(member) .at = offsetof(struct key_auth, member)
static const struct field rows[] = {
    {"header", FIELD_STR, AT(header), .def = "\"apikey\"", .doc = "Header that carries the key."},
    {"query", FIELD_STR, AT(query), .def = "\"apikey\"",
     .doc = "Query argument that carries the key, where the header is not there."},
    {"hide_credentials", FIELD_BOOL, AT(hide), .def = "false",
     .doc = "Takes the key out of the request before it goes upstream."},
    {"realm", FIELD_STR, AT(realm), .min = 1, .max = 128, .pattern = "^[ -!#-[\\]-~]+$",
     .def = "\"key\"", .doc = "Realm in the `WWW-Authenticate` header of a refusal."},
    {"anonymous_consumer", FIELD_STR, AT(anonymous), .min = 1,
     .doc = "Username of the consumer that requests without a valid key pass as."},
    {0},
};
static const struct fields conf_fields = {rows, .size = sizeof(struct key_auth), .open = true};

static const struct field consumer_rows[] = {
    {"key", FIELD_STR, .flags = FIELD_REQUIRED | FIELD_SECRET,
     .at = offsetof(struct key_auth_consumer, key),
     .doc = "The consumer's key. No two consumers may have the same."},
    {0},
};
static const struct fields consumer_fields = {
    consumer_rows, .size = sizeof(struct key_auth_consumer), .open = true};

static bool key_auth_compile(void *conf, struct build *b)
{
    struct key_auth *c = conf;

    c->challenge = arena_printf(build_arena(b), "apikey realm=\"%.*s\"", STR_ARG(c->realm));
    return true;
}

/* ---- Phases -----------------------------------------------------------------------------------
 */

static enum verdict refuse(struct exchange *ex, const struct key_auth *c, struct str why)
{
    response_header_set(ex, STR("WWW-Authenticate"), c->challenge);
    return reply_message(ex, 401, "message", why);
}

/* Finds the consumer; NULL: why not. */
static const struct consumer *identify(struct exchange *ex, const struct key_auth *c,
                                       bool *in_header, struct str *why)
{
    const struct consumer *who;
    const void *found;
    struct str key = request_header(ex, c->header);

    *in_header = key.p != NULL;
    if (!*in_header)
        key = request_arg(ex, c->query);
    if (!key.p) {
        *why = STR("Missing API key in request");
        return NULL;
    }
    /* Of two keys in the query neither counts, as in APISIX: the upstream might read the other. */
    bool one = *in_header || request_arg_count(ex, c->query) == 1;
    who = one ? consumer_find(ex, plugin_name, key, &found) : NULL;
    if (!who) {
        ex_log(ex, LOG_WARN, "failed to find consumer: invalid api key");
        *why = STR("Invalid API key in request");
    }
    return who;
}

static enum verdict key_auth_rewrite(struct exchange *ex, const void *conf, void *frame)
{
    const struct key_auth *c = conf;
    struct str why = STR_NONE;
    bool in_header, known;
    const struct consumer *who = identify(ex, c, &in_header, &why);

    (void)frame;
    known = who != NULL;
    if (!known && !c->anonymous.p)
        return refuse(ex, c, why);
    /* A wrong key must not reach the upstream either, and may stand in both places. */
    if (c->hide && (in_header || !known))
        request_header_remove(ex, c->header);
    if (c->hide && (!in_header || !known))
        request_arg_remove(ex, c->query);
    if (!known)
        who = consumer_anonymous(ex, plugin_name, c->anonymous);
    if (!who)
        return refuse(ex, c, STR("Invalid user authorization"));
    consumer_attach(ex, who);
    return NEXT;
}

const struct plugin plugin_key_auth = {
    .abi = PLUGIN_ABI,
    .name = plugin_name,
    .version = 0.1,
    .priority = 2500,
    .auth = true,
    .doc = "Lets a request pass when it carries the key of a consumer, in a header or in a query "
           "argument, and makes it that consumer's request.",
    .conf = &conf_fields,
    .consumer = &consumer_fields,
    .consumer_key = "key",
    .compile = key_auth_compile,
    .rewrite = key_auth_rewrite,
};
