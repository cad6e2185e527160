/* SPDX-License-Identifier: Apache-2.0 */
/* jwt-auth: a consumer is known by a signed token (RFC 7519), in a header, the query or a cookie.
 */
#include <time.h>

#include "base/encode.h"
#include "base/jws.h"
#include "plugin/plugin.h"

static const char plugin_name[] = "jwt-auth";

/* ---- Configuration ---------------------------------------------------------------------------
 */

enum claim { EXP, NBF, CLAIMS };
static const char *const claims[] = {"exp", "nbf", NULL};

struct jwt_auth {
    struct str header, query, cookie, key_claim, realm, anonymous;
    struct field_list to_verify; /* of int, enum claim */
    bool hide, store;
    struct str challenge;
    bool demanded[CLAIMS]; /* the token must have them */
};

struct jwt_auth_consumer {
    struct str key, secret, public_key;
    int algorithm;
    int64_t expires, grace; /* seconds */
    bool base64;
    const struct jws_key *signs; /* NULL: no token can be verified */
};

static const struct field claim_row = {.type = FIELD_ENUM, .names = claims};

#define AT(member) .at = offsetof(struct jwt_auth, member)
static const struct field rows[] = {
    {"header", FIELD_STR, AT(header), .def = "\"authorization\"",
     .doc = "Header that carries the token, with or without `Bearer` in front."},
    {"query", FIELD_STR, AT(query), .def = "\"jwt\"",
     .doc = "Query argument that carries it where the header is not there."},
    {"cookie", FIELD_STR, AT(cookie), .def = "\"jwt\"",
     .doc = "Cookie that carries it where neither is there."},
    {"hide_credentials", FIELD_BOOL, AT(hide), .def = "false",
     .doc = "Takes the token out of the request before it goes upstream."},
    {"key_claim_name", FIELD_STR, AT(key_claim), .min = 1, .def = "\"key\"",
     .doc = "Claim that names the consumer by its `key`."},
    {"store_in_ctx", FIELD_BOOL, AT(store), .def = "false",
     .doc = "Accepted; no plugin that reads the claims is there yet."},
    {"realm", FIELD_STR, AT(realm), .min = 1, .max = 128, .pattern = "^[ -!#-[\\]-~]+$",
     .def = "\"jwt\"", .doc = "Realm in the `WWW-Authenticate` header of a refusal."},
    {"anonymous_consumer", FIELD_STR, AT(anonymous), .min = 1,
     .doc = "Username of the consumer that requests without a valid token pass as."},
    {"claims_to_verify", FIELD_LIST, .flags = FIELD_UNIQUE, AT(to_verify), .of = &claim_row,
     .doc = "Times that a token must have, `exp` and `nbf`, beside being within them. Left out or "
            "empty: both are verified where a token has them."},
    {0},
};
#undef AT
static const struct fields conf_fields = {rows, .size = sizeof(struct jwt_auth), .open = true};

#define AT(member) .at = offsetof(struct jwt_auth_consumer, member)
static const struct field consumer_rows[] = {
    {"key", FIELD_STR, .flags = FIELD_REQUIRED, AT(key), .min = 1,
     .doc = "What the token's key claim says. No two consumers may have the same."},
    {"secret", FIELD_STR, .flags = FIELD_SECRET, AT(secret), .min = 1,
     .doc = "Secret of the HS algorithms."},
    {"public_key", FIELD_STR, AT(public_key), .min = 1,
     .doc = "Public key of the other algorithms, as PEM."},
    {"algorithm", FIELD_ENUM, AT(algorithm), .names = jws_names, .def = "\"HS256\"",
     .doc = "How the consumer signs; a token that says otherwise is refused."},
    {"exp", FIELD_INT, AT(expires), .min = 1, .def = "86400",
     .doc = "Accepted for whoever makes the tokens; nothing here makes any."},
    {"base64_secret", FIELD_BOOL, AT(base64), .def = "false", .doc = "The secret is in base64."},
    {"lifetime_grace_period", FIELD_INT, .flags = FIELD_HAS_MIN, AT(grace), .min = 0, .def = "0",
     .doc = "Seconds by which the clocks may differ."},
    {0},
};
#undef AT
static const struct fields consumer_fields = {
    consumer_rows, .size = sizeof(struct jwt_auth_consumer), .open = true};

static bool jwt_auth_compile(void *conf, struct build *b)
{
    struct jwt_auth *c = conf;
    const int *list = c->to_verify.items;

    for (size_t i = 0; i < c->to_verify.n; i++)
        c->demanded[list[i]] = true;
    c->challenge = arena_printf(build_arena(b), "Bearer realm=\"%.*s\"", STR_ARG(c->realm));
    return true;
}

static bool compile_secret(struct jwt_auth_consumer *c, struct build *b)
{
    struct str secret = c->secret;
    const char *why;

    if (!secret.p)
        return build_error(b, "property \"secret\" is required when using HS based algorithms");
    if (field_text_refers(secret))
        return true;
    if (c->base64 && !base64_decode(build_arena(b), c->secret, &secret))
        return build_error(b, "base64_secret required but the secret is not in base64 format");
    c->signs = jws_key_new(build_arena(b), (enum jws_algorithm)c->algorithm, secret, &why);
    return true;
}

static bool jwt_auth_compile_consumer(void *conf, struct build *b)
{
    struct jwt_auth_consumer *c = conf;
    const char *why = "";

    if (jws_is_hmac((enum jws_algorithm)c->algorithm))
        return compile_secret(c, b);
    if (!c->public_key.p)
        return build_error(b, "failed to validate dependent schema for \"algorithm\": value should "
                              "match only one schema, but matches none");
    if (field_text_refers(c->public_key))
        return true;
    c->signs = jws_key_new(build_arena(b), (enum jws_algorithm)c->algorithm, c->public_key, &why);
    return c->signs ? true : build_error(b, "missing valid public key: %s", why);
}

/* ---- Finding the token ------------------------------------------------------------------------
 */

static bool cookie_is(struct str pair, struct str name)
{
    struct str key, value;

    str_cut(pair, '=', &key, &value);
    return str_eq(str_trim(key), name);
}

/* The Cookie headers as one, without the cookies of that name. */
static void remove_cookie(struct exchange *ex, struct str name)
{
    struct arena *a = ex_arena(ex);
    struct str header, value, pair, kept = STR_NONE;

    for (size_t i = 0; request_header_at(ex, i, &header, &value); i++) {
        if (!str_eq_nocase(header, STR("Cookie")))
            continue;
        while (value.p) {
            str_cut(value, ';', &pair, &value);
            pair = str_trim(pair);
            if (pair.n && !cookie_is(pair, name))
                kept = kept.p ? arena_join(a, arena_join(a, kept, STR("; ")), pair) : pair;
        }
    }
    if (kept.p)
        request_header_set(ex, STR("Cookie"), kept);
    else
        request_header_remove(ex, STR("Cookie"));
}

static struct str without_scheme(struct str token)
{
    bool bearer = str_starts(token, STR("Bearer ")) || str_starts(token, STR("bearer "));

    return bearer ? str_from(token, 7) : token;
}

/* Absent: there is none. Where it is found it is hidden, valid or not. */
static struct str find_token(struct exchange *ex, const struct jwt_auth *c)
{
    /* Of two headers neither is a token: the upstream might read the other. */
    struct str token = request_header_all(ex, c->header);

    if (token.p) {
        if (c->hide)
            request_header_remove(ex, c->header);
        return without_scheme(token);
    }
    token = request_arg(ex, c->query);
    if (token.p) {
        /* The same, as in APISIX. */
        if (request_arg_count(ex, c->query) > 1)
            token = STR("");
        if (c->hide)
            request_arg_remove(ex, c->query);
        return token;
    }
    token = request_cookie(ex, c->cookie);
    if (token.p && c->hide)
        remove_cookie(ex, c->cookie);
    return token;
}

/* ---- Believing it -----------------------------------------------------------------------------
 */

/* RFC 7519 §4.1.4, §4.1.5. */
static const char *check_time(enum claim claim, double when, double now, double grace)
{
    if (claim == EXP)
        return when > now - grace ? NULL : "'exp' claim expired";
    return when < now + grace ? NULL : "'nbf' claim not valid yet";
}

/* NULL, or what is wrong. */
static const char *check_claims(struct exchange *ex, const struct jwt_auth *c,
                                const struct jwt_auth_consumer *who, const json_t *payload)
{
    double now = (double)(ex_wall_ms(ex) / 1000);
    const char *wrong = NULL;

    for (enum claim i = 0; i < CLAIMS && !wrong; i++) {
        const json_t *claim = json_object_get(payload, claims[i]);
        if (c->to_verify.n ? !c->demanded[i] : !claim)
            continue;
        if (!claim)
            return "a claim is missing";
        if (!json_is_number(claim))
            return "a claim is not a number";
        wrong = check_time(i, json_number_value(claim), now, (double)who->grace);
    }
    return wrong;
}

static const char *check(struct exchange *ex, const struct jwt_auth *c,
                         const struct jwt_auth_consumer *who, const struct jws *jws)
{
    if (!who->signs)
        return "its secret cannot be had";
    if (!jws_verify(who->signs, jws))
        return "algorithm or signature mismatch";
    return check_claims(ex, c, who, jws->payload);
}

/* Finds the consumer; NULL: why not. */
static const struct consumer *identify(struct exchange *ex, const struct jwt_auth *c,
                                       struct str *why)
{
    struct str token = find_token(ex, c);
    const char *wrong;
    const void *found;
    struct jws jws;

    *why = STR("Missing JWT token in request");
    if (!token.p)
        return NULL;
    *why = STR("JWT token invalid");
    if (!jws_parse(ex_arena(ex), token, &jws, &wrong)) {
        ex_log(ex, LOG_WARN, "JWT token invalid: %s", wrong);
        return NULL;
    }
    const json_t *key = json_object_getn(jws.payload, c->key_claim.p, c->key_claim.n);
    *why = STR("missing user key in JWT token");
    if (!key)
        return NULL;
    *why = STR("Invalid user key in JWT token");
    const struct consumer *who =
        json_is_string(key)
            ? consumer_find(ex, plugin_name,
                            str_make(json_string_value(key), json_string_length(key)), &found)
            : NULL;
    if (!who) {
        ex_log(ex, LOG_WARN, "failed to find consumer: invalid user key");
        return NULL;
    }
    *why = STR("failed to verify jwt");
    wrong = check(ex, c, found, &jws);
    if (!wrong)
        return who;
    ex_log(ex, LOG_WARN, "failed to verify jwt: %s", wrong);
    return NULL;
}

/* ---- Phases -----------------------------------------------------------------------------------
 */

static enum verdict refuse(struct exchange *ex, const struct jwt_auth *c, struct str why)
{
    response_header_set(ex, STR("WWW-Authenticate"), c->challenge);
    return reply_message(ex, 401, "message", why);
}

static enum verdict jwt_auth_rewrite(struct exchange *ex, const void *conf, void *frame)
{
    const struct jwt_auth *c = conf;
    struct str why;
    const struct consumer *who = identify(ex, c, &why);

    (void)frame;
    if (!who && !c->anonymous.p)
        return refuse(ex, c, why);
    if (!who)
        who = consumer_anonymous(ex, plugin_name, c->anonymous);
    if (!who)
        return refuse(ex, c, STR("Invalid user authorization"));
    consumer_attach(ex, who);
    return NEXT;
}

const struct plugin plugin_jwt_auth = {
    .abi = PLUGIN_ABI,
    .name = plugin_name,
    .version = 0.1,
    .priority = 2510,
    .auth = true,
    .doc = "Lets a request pass when it carries a JSON Web Token (RFC 7519) that a consumer has "
           "signed and whose times are right, and makes it that consumer's request.",
    .conf = &conf_fields,
    .consumer = &consumer_fields,
    .consumer_key = "key",
    .compile = jwt_auth_compile,
    .compile_consumer = jwt_auth_compile_consumer,
    .rewrite = jwt_auth_rewrite,
};
