/* SPDX-License-Identifier: Apache-2.0 */
/* hmac-auth: a consumer is known by a signature over parts of the request, made with a shared
 * secret (in the form of draft-cavage-http-signatures that APISIX has). */
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "base/date.h"
#include "base/encode.h"
#include "plugin/plugin.h"

static const char plugin_name[] = "hmac-auth";

/* ---- Configuration ---------------------------------------------------------------------------
 */

static const char *const algorithms[] = {"hmac-sha1", "hmac-sha256", "hmac-sha512", NULL};
enum { ALGORITHMS = 3 };

struct hmac_auth {
    struct field_list algorithms;     /* of int */
    struct field_list signed_headers; /* of struct str */
    int64_t clock_skew, body_max;
    bool validate_body, hide;
    struct str realm, anonymous, challenge;
    bool allowed[ALGORITHMS];
};

struct hmac_auth_consumer {
    struct str key_id, secret_key;
};

/* While the body is on its way. */
struct hmac_auth_frame {
    const struct consumer *who; /* its signature is right; NULL: not known yet */
};

static const struct field algorithm_row = {.type = FIELD_ENUM, .names = algorithms};
static const struct field name_row = {.type = FIELD_STR, .min = 1, .max = 50};

#define AT(member) .at = offsetof(struct hmac_auth, member)
static const struct field rows[] = {
    {"allowed_algorithms", FIELD_LIST, AT(algorithms), .min = 1, .of = &algorithm_row,
     .def = "[\"hmac-sha1\",\"hmac-sha256\",\"hmac-sha512\"]",
     .doc = "Algorithms that a request may be signed with."},
    {"clock_skew", FIELD_INT, AT(clock_skew), .min = 1, .def = "300",
     .doc = "Seconds by which the `Date` header may differ from our clock."},
    {"signed_headers", FIELD_LIST, AT(signed_headers), .of = &name_row, .def = "[\"date\"]",
     .doc = "What a request must have signed, names of headers and `@request-target`; it may sign "
            "more."},
    {"validate_request_body", FIELD_BOOL, AT(validate_body), .def = "false",
     .doc = "The body must be the one that the `Digest: SHA-256=` header says."},
    {"max_req_body_size", FIELD_INT, AT(body_max), .min = 1, .def = "67108864",
     .doc = "Bytes; a longer body that would be validated is refused with 413."},
    {"hide_credentials", FIELD_BOOL, AT(hide), .def = "false",
     .doc = "Takes the `Authorization` header out of the request before it goes upstream."},
    {"realm", FIELD_STR, AT(realm), .min = 1, .max = 128, .pattern = "^[ -!#-[\\]-~]+$",
     .def = "\"hmac\"", .doc = "Realm in the `WWW-Authenticate` header of a refusal."},
    {"anonymous_consumer", FIELD_STR, AT(anonymous), .min = 1,
     .doc = "Username of the consumer that requests without a valid signature pass as."},
    {0},
};
#undef AT
static const struct fields conf_fields = {rows, .size = sizeof(struct hmac_auth), .open = true};

#define AT(member) .at = offsetof(struct hmac_auth_consumer, member)
static const struct field consumer_rows[] = {
    {"key_id", FIELD_STR, .flags = FIELD_REQUIRED, AT(key_id), .min = 1, .max = 256,
     .doc = "Name of the secret, in requests. No two consumers may have the same."},
    {"secret_key", FIELD_STR, .flags = FIELD_REQUIRED | FIELD_SECRET, AT(secret_key), .min = 1,
     .max = 256, .doc = "The secret that signs."},
    {0},
};
#undef AT
static const struct fields consumer_fields = {
    consumer_rows, .size = sizeof(struct hmac_auth_consumer), .open = true};

static bool hmac_auth_compile(void *conf, struct build *b)
{
    struct hmac_auth *c = conf;
    const int *list = c->algorithms.items;

    for (size_t i = 0; i < c->algorithms.n; i++)
        c->allowed[list[i]] = true;
    c->challenge = arena_printf(build_arena(b), "hmac realm=\"%.*s\"", STR_ARG(c->realm));
    return true;
}

/* ---- The header -------------------------------------------------------------------------------
 */

struct params {
    struct str key_id, algorithm, headers, signature; /* absent: not given */
};

/* One `name="value"`; others are ignored, of two the last counts. */
static void param_read(struct str field, struct params *p)
{
    const struct {
        struct str name;
        struct str *to;
    } known[] = {{STR("keyId"), &p->key_id},
                 {STR("algorithm"), &p->algorithm},
                 {STR("headers"), &p->headers},
                 {STR("signature"), &p->signature}};
    struct str name, value, rest;

    if (!str_cut(str_trim(field), '=', &name, &value) || value.n == 0 || value.p[0] != '"' ||
        !str_cut(str_from(value, 1), '"', &value, &rest))
        return;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (str_eq(known[i].name, name))
            *known[i].to = value;
}

/* NULL, or what is wrong. */
static const char *params_read(struct exchange *ex, struct params *p)
{
    struct str rest = request_header(ex, STR("Authorization")), field;

    if (!rest.p)
        return "missing Authorization header";
    if (!str_eq(rest, request_header_all(ex, STR("Authorization"))))
        return "more than one Authorization header"; /* the upstream might read the other */
    if (!str_starts(rest, STR("Signature")))
        return "Authorization header does not start with 'Signature'";
    rest = str_from(rest, STR("Signature").n);
    while (rest.p) {
        str_cut(rest, ',', &field, &rest);
        param_read(field, p);
    }
    return NULL;
}

/* ---- The signature ----------------------------------------------------------------------------
 */

static bool names_has(struct str names, struct str wanted)
{
    struct str one;

    while (names.p) {
        str_cut(names, ' ', &one, &names);
        if (str_eq(one, wanted))
            return true;
    }
    return false;
}

static struct str line(struct arena *a, struct str text, struct str more)
{
    return arena_join(a, text, arena_join(a, more, STR("\n")));
}

/* What was signed: the key's id and a line for each name. Headers that are not there have none;
 * several of a name are one list, so that nobody adds one. */
static struct str signed_text(struct exchange *ex, const struct params *p)
{
    struct arena *a = ex_arena(ex);
    struct str text = line(a, STR(""), p->key_id), names = p->headers, name;

    while (names.p) {
        str_cut(names, ' ', &name, &names);
        struct str value = request_header_all(ex, name);
        if (value.p)
            text = line(a, text, arena_printf(a, "%.*s: %.*s", STR_ARG(name), STR_ARG(value)));
        else if (str_eq(name, STR("@request-target")))
            text = line(a, text,
                        arena_printf(a, "%.*s %.*s", STR_ARG(request_method(ex)),
                                     STR_ARG(var_value(ex, STR("request_uri")))));
    }
    return text;
}

static bool signature_right(struct exchange *ex, const struct params *p, int algorithm,
                            struct str secret)
{
    const EVP_MD *const digests[ALGORITHMS] = {EVP_sha1(), EVP_sha256(), EVP_sha512()};
    struct str text = signed_text(ex, p), given;
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    if (!base64_decode(ex_arena(ex), p->signature, &given) ||
        !HMAC(digests[algorithm], secret.p, (int)secret.n, (const unsigned char *)text.p, text.n,
              mac, &n))
        return false;
    return str_eq_secret(given, str_make((const char *)mac, n));
}

/* ---- Believing it -----------------------------------------------------------------------------
 */

static const char *check_date(struct exchange *ex, const struct hmac_auth *c)
{
    struct str date = request_header_all(ex, STR("Date"));
    int64_t now = ex_wall_ms(ex) / 1000, at = date.p ? http_date(date) : -1;

    if (!date.p)
        return "Date header missing. failed to validate clock skew";
    if (at < 0)
        return "Invalid GMT format time";
    return at > now + c->clock_skew || at < now - c->clock_skew ? "Clock skew exceeded" : NULL;
}

static const char *check_names(struct exchange *ex, const struct hmac_auth *c, struct str names)
{
    const struct str *wanted = c->signed_headers.items;

    for (size_t i = 0; i < c->signed_headers.n; i++)
        if (!names_has(names, wanted[i]))
            return arena_printf(ex_arena(ex), "expected header \"%.*s\" missing in signing",
                                STR_ARG(wanted[i]))
                .p;
    return NULL;
}

static int algorithm_of(const struct hmac_auth *c, struct str name)
{
    for (int i = 0; i < ALGORITHMS; i++)
        if (c->allowed[i] && str_eq(name, str_of(algorithms[i])))
            return i;
    return -1;
}

/* Whose request it is, by its head. NULL, or what is wrong. */
static const char *check(struct exchange *ex, const struct hmac_auth *c, const struct params *p,
                         const struct consumer **who)
{
    const void *found;
    const char *wrong;
    int algorithm;

    if (!p->key_id.p || !p->signature.p)
        return "keyId or signature missing";
    if (!p->algorithm.p)
        return "algorithm missing";
    const struct consumer *known = consumer_find(ex, plugin_name, p->key_id, &found);
    if (!known)
        return "Invalid key_id";
    if ((algorithm = algorithm_of(c, p->algorithm)) < 0)
        return "Invalid algorithm";
    if ((wrong = check_date(ex, c)) || (wrong = check_names(ex, c, p->headers)))
        return wrong;
    const struct hmac_auth_consumer *conf = found;
    if (field_text_refers(conf->secret_key) || !signature_right(ex, p, algorithm, conf->secret_key))
        return "Invalid signature";
    *who = known;
    return NULL;
}

static bool digest_right(struct exchange *ex)
{
    struct str said = request_header_all(ex, STR("Digest")), body = request_body(ex), given;
    unsigned char hash[SHA256_DIGEST_LENGTH];

    if (!str_starts(said, STR("SHA-256=")) ||
        !base64_decode(ex_arena(ex), str_from(said, STR("SHA-256=").n), &given))
        return false;
    SHA256((const unsigned char *)(body.p ? body.p : ""), body.n, hash);
    return str_eq_secret(given, str_make((const char *)hash, sizeof(hash)));
}

/* ---- Phases -----------------------------------------------------------------------------------
 */

static enum verdict refuse(struct exchange *ex, const struct hmac_auth *c, struct str why)
{
    response_header_set(ex, STR("WWW-Authenticate"), c->challenge);
    return reply_message(ex, 401, "message", why);
}

static enum verdict pass(struct exchange *ex, const struct hmac_auth *c, const struct consumer *who)
{
    if (c->hide)
        request_header_remove(ex, STR("Authorization"));
    consumer_attach(ex, who);
    return NEXT;
}

/* What APISIX tells the client: all of it where there is no signature at all. */
static enum verdict unknown(struct exchange *ex, const struct hmac_auth *c, const char *wrong,
                            bool tell)
{
    struct str why = STR("client request can't be validated");

    ex_log(ex, LOG_WARN, "client request can't be validated: %s", wrong);
    if (!c->anonymous.p)
        return refuse(ex, c,
                      tell ? arena_printf(ex_arena(ex), "%.*s: %s", STR_ARG(why), wrong) : why);
    const struct consumer *who = consumer_anonymous(ex, plugin_name, c->anonymous);
    return who ? pass(ex, c, who) : refuse(ex, c, STR("Invalid user authorization"));
}

static enum verdict hmac_auth_rewrite(struct exchange *ex, const void *conf, void *frame)
{
    const struct hmac_auth *c = conf;
    struct hmac_auth_frame *f = frame;
    struct params params = {STR_NONE, STR_NONE, STR_NONE, STR_NONE};

    if (f->who)
        return digest_right(ex) ? pass(ex, c, f->who) : unknown(ex, c, "Invalid digest", false);
    const char *wrong = params_read(ex, &params);
    if (wrong)
        return unknown(ex, c, wrong, true);
    wrong = check(ex, c, &params, &f->who);
    if (!wrong && c->validate_body && !request_header(ex, STR("Digest")).p)
        wrong = "Invalid digest";
    if (wrong)
        return unknown(ex, c, wrong, false);
    if (!c->validate_body)
        return pass(ex, c, f->who);
    request_body_start(ex, (size_t)c->body_max);
    return WAIT;
}

const struct plugin plugin_hmac_auth = {
    .abi = PLUGIN_ABI,
    .name = plugin_name,
    .version = 0.1,
    .priority = 2530,
    .auth = true,
    .doc = "Lets a request pass when a consumer has signed it with a shared secret: its date, its "
           "method and path, headers, and its body by a digest. What was signed cannot be changed "
           "on the way, and is worthless some minutes later.",
    .conf = &conf_fields,
    .consumer = &consumer_fields,
    .consumer_key = "key_id",
    .frame_size = sizeof(struct hmac_auth_frame),
    .compile = hmac_auth_compile,
    .rewrite = hmac_auth_rewrite,
};
