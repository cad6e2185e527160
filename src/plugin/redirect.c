/* SPDX-License-Identifier: Apache-2.0 */
/* redirect: sends the client elsewhere: to a new path, or from http to https. */
#include "base/encode.h"
#include "base/random.h"
#include "base/regex.h"
#include "plugin/plugin.h"

/* ---- Configuration ---------------------------------------------------------------------------
 */

/* The uri in pieces: text, or a variable. */
struct piece {
    struct str text;
    struct text *variable; /* NULL: the text */
};

struct redirect {
    struct str uri;
    struct field_list regex_uri; /* of struct str */
    json_t *http_to_https;       /* while compiling */
    int64_t ret_code;
    bool encode, append_query, to_https;
    struct piece *pieces;
    unsigned n;
    struct regex *regex;
    struct regex_template with;
};

static const struct field string_row = {.type = FIELD_STR};
static const struct field boolean_row = {.type = FIELD_BOOL};

#define AT(member) .at = offsetof(struct redirect, member)
static const struct field rows[] = {
    {"uri", FIELD_STR, AT(uri), .min = 2,
     .pattern =
         "(\\\\\\$[0-9a-zA-Z_]+)|\\$\\{([0-9a-zA-Z_]+)\\}|\\$([0-9a-zA-Z_]+)|(\\$|[^$\\\\]+)",
     .doc = "Where to send the client: a path or a whole URL, with variables (`$uri`, `${host}`). "
            "`\\$` in front of a name keeps it as it is."},
    {"regex_uri", FIELD_LIST, AT(regex_uri), .min = 2, .max = 2, .of = &string_row,
     .doc = "A pattern and what to put in place of what it matches in the path, with captures "
            "(`$1`). A request whose path does not match goes on."},
    /* Present counts for the rule below, whatever its value. */
    {"http_to_https", FIELD_JSON, AT(http_to_https), .of = &boolean_row,
     .doc = "Sends what came by http to the same URL by https, with 301 for GET and HEAD and 308 "
            "for other methods. The port is `plugin_attr.redirect.https_port`, or one of "
            "`apisix.ssl.listen`; 443 is left out."},
    {"ret_code", FIELD_INT, AT(ret_code), .min = 200, .def = "302", .doc = "Status."},
    {"encode_uri", FIELD_BOOL, AT(encode), .def = "false",
     .doc = "Percent-encodes the path of the new URI."},
    {"append_query_string", FIELD_BOOL, AT(append_query), .def = "false",
     .doc = "Appends the request's query. Not with `http_to_https`."},
    {0},
};
static const struct field_rule rules[] = {{RULE_ONE_OF, "uri|regex_uri|http_to_https", 0}, {0}};
static const struct fields conf_fields = {rows, rules, .size = sizeof(struct redirect),
                                          .open = true};

static bool in_name(char c)
{
    c = ascii_lower(c);
    return ascii_digit(c) || (c >= 'a' && c <= 'z') || c == '_';
}

static size_t name_length(struct str s, size_t at)
{
    size_t n = 0;

    while (at + n < s.n && in_name(s.p[at + n]))
        n++;
    return n;
}

/* One piece at s[at]; returns how much of s it takes. APISIX's grammar: `\$name` stays as it is,
 * `${name}` and `$name` are variables, a lone `$` is one, a lone backslash goes. */
static size_t piece_at(struct build *b, struct str s, size_t at, struct piece *out)
{
    size_t n;

    if (s.p[at] == '\\') {
        n = at + 1 < s.n && s.p[at + 1] == '$' ? name_length(s, at + 2) : 0;
        out->text = str_make(s.p + at, n ? n + 2 : 0);
        return n ? n + 2 : 1;
    }
    if (s.p[at] != '$') {
        for (n = 1; at + n < s.n && s.p[at + n] != '$' && s.p[at + n] != '\\'; n++)
            ;
        out->text = str_make(s.p + at, n);
        return n;
    }
    bool braces = at + 1 < s.n && s.p[at + 1] == '{';
    n = name_length(s, at + 1 + braces);
    if (n == 0 || (braces && (at + 2 + n >= s.n || s.p[at + 2 + n] != '}'))) {
        out->text = str_make(s.p + at, 1);
        return 1;
    }
    out->variable = build_var(b, str_make(s.p + at + 1 + braces, n));
    return 1 + n + (braces ? 2 : 0);
}

static void uri_compile(struct redirect *c, struct build *b, struct str uri)
{
    struct arena *a = build_arena(b);
    struct str s = arena_str(a, uri);

    c->pieces = arena_zero(a, s.n * sizeof(*c->pieces));
    for (size_t at = 0; at < s.n;)
        at += piece_at(b, s, at, &c->pieces[c->n++]);
}

static bool regex_compile(struct redirect *c, struct build *b)
{
    const struct str *texts = c->regex_uri.items;
    struct regex_error err;

    c->regex = regex_new(texts[0], STR("jo"), &err);
    if (c->regex && regex_template_parse(build_arena(b), texts[1], &c->with, &err))
        return true;
    return build_error(b, "invalid regex_uri (%.*s, %.*s), err:%s", STR_ARG(texts[0]),
                       STR_ARG(texts[1]), err.text);
}

static bool redirect_compile(void *conf, struct build *b)
{
    struct redirect *c = conf;

    c->to_https = json_is_true(c->http_to_https);
    c->http_to_https = NULL;
    if (c->to_https && c->append_query)
        return build_error(b, "only one of `http_to_https` and `append_query_string` can be "
                              "configured.");
    if (c->uri.p)
        uri_compile(c, b, c->uri);
    return c->regex_uri.n == 0 || regex_compile(c, b);
}

static void redirect_release(void *conf)
{
    struct redirect *c = conf;

    regex_free(c->regex);
    c->regex = NULL;
}

/* ---- The port of https ------------------------------------------------------------------------
 */

/* Set before threads start. */
static struct {
    int ports[64];
    unsigned n;
} https;

static void add_port(const json_t *j)
{
    json_int_t port = json_integer_value(json_is_object(j) ? json_object_get(j, "port") : j);

    if (https.n < sizeof(https.ports) / sizeof(https.ports[0]))
        https.ports[https.n++] = port > 0 && port <= 65535 ? (int)port : 443;
}

static bool redirect_start(const json_t *attr, const struct plugin_env *env, struct str *err)
{
    const json_t *port = json_object_get(attr, "https_port");
    const json_t *ssl = json_object_get(env->apisix, "ssl");
    const json_t *listen = json_object_get(ssl, "listen");

    (void)err;
    https.n = 0;
    if (port) {
        add_port(port);
    } else if (!json_is_false(json_object_get(ssl, "enable"))) {
        for (size_t i = 0; i < json_array_size(listen); i++)
            add_port(json_array_get(listen, i));
        if (!listen) /* APISIX's default */
            https.ports[https.n++] = 9443;
    }
    return true;
}

/* ---- Phases -----------------------------------------------------------------------------------
 */

/* The same URL. APISIX takes the decoded path here, which makes another one of "/a%3Fb". */
static struct str https_uri(struct exchange *ex)
{
    int port = https.n ? https.ports[random_below(https.n)] : 443;
    struct str target = request_target(ex), host = request_host(ex);

    if (target.n == 0 || target.p[0] != '/')
        target = var_value(ex, STR("request_uri"));
    if (port == 443)
        return arena_printf(ex_arena(ex), "https://%.*s%.*s", STR_ARG(host), STR_ARG(target));
    return arena_printf(ex_arena(ex), "https://%.*s:%d%.*s", STR_ARG(host), port, STR_ARG(target));
}

static struct str pieces_uri(struct exchange *ex, const struct redirect *c)
{
    struct str all = STR("");

    for (unsigned i = 0; i < c->n; i++) {
        const struct piece *p = &c->pieces[i];
        struct str part = p->variable ? text_value(ex, p->variable) : p->text;
        if (p->variable && !c->encode)
            part = encode_location(ex_arena(ex), part);
        if (part.n)
            all = all.n ? arena_join(ex_arena(ex), all, part) : part;
    }
    return all;
}

enum { URI_MAX = 64 * 1024 }; /* bytes of a new URI */

/* 1: *uri is the path with the first match replaced; 0: no match. */
static int regex_uri(struct exchange *ex, const struct redirect *c, struct str *uri)
{
    struct buf out;

    buf_init(&out, URI_MAX);
    int n = regex_replace(c->regex, request_path(ex), &c->with, false, &out);
    if (n > 0)
        *uri = arena_str(ex_arena(ex), buf_str(&out));
    if (n > 0 && !c->encode)
        *uri = encode_location(ex_arena(ex), *uri);
    buf_fini(&out);
    if (n < 0)
        ex_log(ex, LOG_ERROR, "failed to substitute the uri:%.*s, error:%d",
               STR_ARG(request_path(ex)), n);
    return n;
}

static struct str finish_uri(struct exchange *ex, const struct redirect *c, struct str uri)
{
    struct arena *a = ex_arena(ex);
    struct str path, query, args = request_args(ex);
    bool has = str_cut(uri, '?', &path, &query);

    if (c->encode)
        uri = has ? arena_printf(a, "%.*s?%.*s", STR_ARG(encode_path(a, path)), STR_ARG(query))
                  : encode_path(a, uri);
    if (c->append_query && args.n)
        uri = arena_printf(a, "%.*s%s%.*s", STR_ARG(uri), has ? "&" : "?", STR_ARG(args));
    return encode_header(a, uri);
}

static bool came_by_https(struct exchange *ex)
{
    struct str proto = request_header(ex, STR("X-Forwarded-Proto"));

    return str_eq(proto.p ? proto : request_scheme(ex), STR("https"));
}

static enum verdict redirect_rewrite(struct exchange *ex, const void *conf, void *frame)
{
    const struct redirect *c = conf;
    struct str method = request_method(ex), uri;
    int status = (int)c->ret_code;

    (void)frame;
    if (c->to_https && !came_by_https(ex)) {
        uri = https_uri(ex);
        status = str_eq(method, STR("GET")) || str_eq(method, STR("HEAD")) ? 301 : 308;
    } else if (c->n) {
        uri = pieces_uri(ex, c);
    } else if (c->regex) {
        int n = regex_uri(ex, c, &uri);
        if (n < 0)
            return reply_status(ex, 500);
        if (n == 0)
            return NEXT;
    } else {
        return NEXT;
    }
    response_header_set(ex, STR("Location"), finish_uri(ex, c, uri));
    return reply_status(ex, status);
}

const struct plugin plugin_redirect = {
    .abi = PLUGIN_ABI,
    .name = "redirect",
    .version = 0.1,
    .priority = 900,
    .guard = true,
    .doc = "Answers with a redirection: to a new URI, to the path rewritten by a pattern, or from "
           "http to https. Exactly one of `uri`, `regex_uri` and `http_to_https` must be given.",
    .conf = &conf_fields,
    .compile = redirect_compile,
    .release = redirect_release,
    .start = redirect_start,
    .rewrite = redirect_rewrite,
};
