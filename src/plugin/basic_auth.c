/* SPDX-License-Identifier: Apache-2.0 */
/* basic-auth: a consumer is known by name and password (RFC 7617). */
#include "base/encode.h"
#include "plugin/plugin.h"

static const char plugin_name[] = "basic-auth";

/* ---- Configuration ---------------------------------------------------------------------------
 */

struct basic_auth {
    struct str realm, anonymous;
    bool hide;
    struct str challenge;
};

struct basic_auth_consumer {
    struct str username, password;
};

#define AT(member) .at = offsetof(struct basic_auth, member)
static const struct field rows[] = {
    {"hide_credentials", FIELD_BOOL, AT(hide), .def = "false",
     .doc = "Takes the `Authorization` header out of the request before it goes upstream."},
    {"realm", FIELD_STR, AT(realm), .min = 1, .max = 128, .pattern = "^[ -!#-[\\]-~]+$",
     .def = "\"basic\"", .doc = "Realm in the `WWW-Authenticate` header of a refusal."},
    {"anonymous_consumer", FIELD_STR, AT(anonymous), .min = 1,
     .doc = "Username of the consumer that requests without valid credentials pass as."},
    {0},
};
static const struct fields conf_fields = {rows, .size = sizeof(struct basic_auth), .open = true};
#undef AT

#define AT(member) .at = offsetof(struct basic_auth_consumer, member)
static const struct field consumer_rows[] = {
    {"username", FIELD_STR, .flags = FIELD_REQUIRED, AT(username),
     .doc = "Name to log in with. No two consumers may have the same."},
    {"password", FIELD_STR, .flags = FIELD_REQUIRED | FIELD_SECRET, AT(password),
     .doc = "Password; one with white space in it never matches."},
    {0},
};
static const struct fields consumer_fields = {
    consumer_rows, .size = sizeof(struct basic_auth_consumer), .open = true};

static bool basic_auth_compile(void *conf, struct build *b)
{
    struct basic_auth *c = conf;

    c->challenge = arena_printf(build_arena(b), "Basic realm=\"%.*s\"", STR_ARG(c->realm));
    return true;
}

/* ---- Phases -----------------------------------------------------------------------------------
 */

/* What stands behind "basic" and one white space, wherever in the header, as APISIX looks for it.
 */
static bool find_token(struct str header, struct str *token)
{
    static const struct str scheme = {"basic", 5};

    for (size_t i = 0; i + scheme.n + 1 < header.n; i++)
        if (str_eq_nocase(str_make(header.p + i, scheme.n), scheme) &&
            ascii_space(header.p[i + scheme.n])) {
            *token = str_from(header, i + scheme.n + 1);
            return true;
        }
    return false;
}

/* APISIX drops all white space from both parts. */
static struct str squeeze(struct arena *a, struct str s)
{
    char *p = arena_bytes(a, s.n + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        if (!ascii_space(s.p[i]))
            p[n++] = s.p[i];
    p[n] = 0;
    return str_make(p, n);
}

/* Name and password of the header; NULL, or what is wrong with it. What comes behind a second colon
 * is ignored, and nothing but colons behind the name is no password, as APISIX has it. */
static const char *parse(struct arena *a, struct str header, struct str *name, struct str *password)
{
    struct str token, plain, rest;

    if (!find_token(header, &token))
        return "Invalid authorization header format";
    if (!base64_decode(a, token, &plain))
        return "Failed to decode authentication header";
    if (!str_cut(plain, ':', name, &rest))
        return "Split authorization err: invalid decoded data";
    size_t colons = 0;
    while (colons < rest.n && rest.p[colons] == ':')
        colons++;
    if (colons == rest.n)
        return "Split authorization err: invalid decoded data";
    str_cut(rest, ':', password, &rest);
    *name = squeeze(a, *name);
    *password = squeeze(a, *password);
    return NULL;
}

/* Finds the consumer; NULL: why not. */
static const struct consumer *identify(struct exchange *ex, struct str *why)
{
    struct str header = request_header(ex, STR("Authorization")), name, password;
    const struct consumer *who;
    const void *found;
    const char *wrong;

    if (!header.p) {
        *why = STR("Missing authorization in request");
        return NULL;
    }
    /* Of two the upstream might read the other (nginx refuses such requests). */
    wrong = str_eq(header, request_header_all(ex, STR("Authorization")))
                ? parse(ex_arena(ex), header, &name, &password)
                : "More than one authorization header";
    if (wrong) {
        ex_log(ex, LOG_WARN, "%s", wrong);
        *why = STR("Invalid authorization in request");
        return NULL;
    }
    *why = STR("Invalid user authorization");
    who = consumer_find(ex, plugin_name, name, &found);
    if (!who) {
        ex_log(ex, LOG_WARN, "failed to find user: invalid user");
        return NULL;
    }
    const struct basic_auth_consumer *c = found;
    if (field_text_refers(c->password) || !str_eq_secret(c->password, password))
        return NULL;
    return who;
}

static enum verdict refuse(struct exchange *ex, const struct basic_auth *c, struct str why)
{
    response_header_set(ex, STR("WWW-Authenticate"), c->challenge);
    return reply_message(ex, 401, "message", why);
}

static enum verdict basic_auth_rewrite(struct exchange *ex, const void *conf, void *frame)
{
    const struct basic_auth *c = conf;
    struct str why = STR_NONE;
    const struct consumer *who = identify(ex, &why);

    (void)frame;
    if (!who && !c->anonymous.p)
        return refuse(ex, c, why);
    if (!who)
        who = consumer_anonymous(ex, plugin_name, c->anonymous);
    if (!who)
        return refuse(ex, c, STR("Invalid user authorization"));
    if (c->hide)
        request_header_remove(ex, STR("Authorization"));
    consumer_attach(ex, who);
    return NEXT;
}

const struct plugin plugin_basic_auth = {
    .abi = PLUGIN_ABI,
    .name = plugin_name,
    .version = 0.1,
    .priority = 2520,
    .auth = true,
    .doc = "Lets a request pass when its `Authorization: Basic` header has the name and the "
           "password of a consumer, and makes it that consumer's request. White space in either "
           "part, and what comes behind a second colon, is ignored.",
    .conf = &conf_fields,
    .consumer = &consumer_fields,
    .consumer_key = "username",
    .compile = basic_auth_compile,
    .rewrite = basic_auth_rewrite,
};
