/* SPDX-License-Identifier: Apache-2.0 */
/* csrf: a request that changes something must show, in a header, the token that its cookie has:
 * pages of other sites can make a browser send the cookie, but cannot read it. */
#include <openssl/sha.h>
#include <stdio.h>
#include <time.h>

#include "base/encode.h"
#include "base/random.h"
#include "plugin/plugin.h"

/* ---- Configuration ---------------------------------------------------------------------------
 */

struct csrf {
    struct str key, name;
    int64_t expires; /* seconds; 0 or less: tokens stay valid */
};

#define AT(member) .at = offsetof(struct csrf, member)
static const struct field rows[] = {
    {"key", FIELD_STR, .flags = FIELD_REQUIRED | FIELD_SECRET, AT(key),
     .doc = "Secret that signs the tokens."},
    {"expires", FIELD_INT, AT(expires), .def = "7200",
     .doc = "Seconds that a token is valid. 0 or less: for ever, but its cookie is over at once, "
            "as in APISIX."},
    {"name", FIELD_STR, AT(name), .def = "\"apisix-csrf-token\"",
     .doc = "Name of the cookie and of the header."},
    {0},
};
#undef AT
static const struct fields conf_fields = {rows, .size = sizeof(struct csrf), .open = true};

/* RFC 9110 §5.1, RFC 6265 §4.1.1. */
static bool csrf_compile(void *conf, struct build *b)
{
    const struct csrf *c = conf;

    for (size_t i = 0; i < c->name.n; i++)
        if (c->name.p[i] <= ' ' || c->name.p[i] >= 0x7f ||
            strchr("()<>@,;:\\\"/[]?={}", c->name.p[i]))
            return build_error(b, "name: invalid character for a header and a cookie");
    return c->name.n > 0 ? true : build_error(b, "name: it is empty");
}

/* ---- Tokens -----------------------------------------------------------------------------------
 */

/* Numbers as APISIX writes them, so that both can check each other's tokens. */
struct token {
    double random, expires;
};

static struct str number_text(struct arena *a, double v)
{
    return arena_printf(a, "%.14g", v);
}

/* In lower-case hexadecimal. */
static struct str sign(struct arena *a, const struct csrf *c, const struct token *t)
{
    struct str text = arena_printf(a, "{expires:%.*s,random:%.*s,key:%.*s}",
                                   STR_ARG(number_text(a, t->expires)),
                                   STR_ARG(number_text(a, t->random)), STR_ARG(c->key));
    unsigned char hash[SHA256_DIGEST_LENGTH];
    char *hex = arena_bytes(a, 2 * sizeof(hash) + 1);

    SHA256((const unsigned char *)text.p, text.n, hash);
    for (size_t i = 0; i < sizeof(hash); i++)
        snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    return str_make(hex, 2 * sizeof(hash));
}

static struct str token_make(struct exchange *ex, const struct csrf *c)
{
    struct arena *a = ex_arena(ex);
    struct token t = {random_u32() / 4294967296.0, (double)(ex_wall_ms(ex) / 1000)};

    return base64_encode(a,
                         arena_printf(a, "{\"random\":%.*s,\"expires\":%.*s,\"sign\":\"%.*s\"}",
                                      STR_ARG(number_text(a, t.random)),
                                      STR_ARG(number_text(a, t.expires)), STR_ARG(sign(a, c, &t))));
}

/* NULL, or what is wrong with the token. */
static const char *token_check(struct exchange *ex, const struct csrf *c, const json_t *json)
{
    const json_t *random = json_object_get(json, "random"), *at = json_object_get(json, "expires"),
                 *given = json_object_get(json, "sign");

    if (!json_is_number(random))
        return "no random in token";
    if (!json_is_number(at))
        return "no expires in token";
    struct token t = {json_number_value(random), json_number_value(at)};
    if (c->expires > 0 && (double)(ex_wall_ms(ex) / 1000) - t.expires > (double)c->expires)
        return "token has expired";
    if (!json_is_string(given) || field_text_refers(c->key))
        return "Invalid signatures";
    struct str text = str_make(json_string_value(given), json_string_length(given));
    return str_eq_secret(text, sign(ex_arena(ex), c, &t)) ? NULL : "Invalid signatures";
}

static bool token_valid(struct exchange *ex, const struct csrf *c, struct str token)
{
    struct str text;
    const char *wrong = "csrf token base64 decode error";
    json_t *json = NULL;

    if (base64_decode(ex_arena(ex), token, &text)) {
        json = json_loadb(text.p, text.n, 0, NULL);
        wrong = json ? token_check(ex, c, json) : "decode token error";
    }
    json_decref(json);
    if (wrong)
        ex_log(ex, LOG_ERROR, "%s", wrong);
    return !wrong;
}

/* ---- Phases -----------------------------------------------------------------------------------
 */

static enum verdict refuse(struct exchange *ex, struct str why)
{
    return reply_message(ex, 401, "error_msg", why);
}

static enum verdict csrf_access(struct exchange *ex, const void *conf, void *frame)
{
    const struct csrf *c = conf;
    struct str method = request_method(ex);

    (void)frame;
    if (str_eq(method, STR("GET")) || str_eq(method, STR("HEAD")) || str_eq(method, STR("OPTIONS")))
        return NEXT;
    struct str shown = request_header(ex, c->name), kept = request_cookie(ex, c->name);
    if (shown.n == 0)
        return refuse(ex, STR("no csrf token in headers"));
    if (!kept.p)
        return refuse(ex, STR("no csrf cookie"));
    if (!str_eq(shown, kept))
        return refuse(ex, STR("csrf token mismatch"));
    if (!token_valid(ex, c, kept))
        return refuse(ex, STR("Failed to verify the csrf token signature"));
    return NEXT;
}

/* nginx's form: "Thu, 18-Nov-10 11:27:35 GMT". */
static struct str cookie_time(struct arena *a, int64_t seconds)
{
    time_t at = (time_t)seconds;
    struct tm tm;
    char text[64];

    if (!gmtime_r(&at, &tm))
        return STR("");
    /* Two digits are a year before 2038 (nginx: ngx_http_cookie_time). */
    const char *form = tm.tm_year > 137 ? "%a, %d-%b-%Y %H:%M:%S GMT" : "%a, %d-%b-%y %H:%M:%S GMT";
    size_t n = strftime(text, sizeof(text), form, &tm);
    return arena_str(a, str_make(text, n));
}

static enum verdict csrf_header_filter(struct exchange *ex, const void *conf, void *frame)
{
    const struct csrf *c = conf;
    struct arena *a = ex_arena(ex);
    struct str until = cookie_time(a, ex_wall_ms(ex) / 1000 + c->expires);

    (void)frame;
    response_header_add(ex, STR("Set-Cookie"),
                        arena_printf(a, "%.*s=%.*s;path=/;SameSite=Lax;Expires=%.*s",
                                     STR_ARG(c->name), STR_ARG(token_make(ex, c)), STR_ARG(until)));
    return NEXT;
}

const struct plugin plugin_csrf = {
    .abi = PLUGIN_ABI,
    .name = "csrf",
    .version = 0.1,
    .priority = 2980,
    .guard = true,
    .doc = "Keeps pages of other sites from sending requests in the name of whoever looks at them: "
           "each response sets a signed token as a cookie, and every request but GET, HEAD and "
           "OPTIONS must repeat it in a header of the same name, which only pages of this site "
           "can do.",
    .conf = &conf_fields,
    .compile = csrf_compile,
    .access = csrf_access,
    .header_filter = csrf_header_filter,
};
