/* SPDX-License-Identifier: Apache-2.0 */
/* cors: tells browsers which other origins may read the answers (Fetch standard, CORS protocol). */
#include "base/regex.h"
#include "plugin/plugin.h"

/* ---- Configuration ---------------------------------------------------------------------------
 */

/* Which origins are allowed, and what the header then says. */
struct origins {
    struct str text;        /* "*", "**", one origin, or several with commas */
    struct str *list;       /* several: each of them */
    unsigned n;             /* 0: not several */
    struct regex **regexes; /* in place of the text */
    unsigned nregexes;
    bool by_regex;
};

struct cors {
    struct str allow_origins, allow_methods, allow_headers, expose_headers, timing_allow_origins;
    struct field_list by_regex, by_metadata, timing_by_regex; /* of struct str */
    int64_t max_age;
    bool credential;
    struct str max_age_text;
    struct origins access, timing;
};

struct cors_metadata {
    struct field_list allow_origins; /* of struct field_pair */
};

struct cors_frame {
    struct str origin; /* of the request, before other plugins change it */
};

#define ORIGINS_PATTERN "^(\\*|\\*\\*|null|\\w+://[^,]+(,\\w+://[^,]+)*)$"

static const struct field rule_row = {.type = FIELD_STR, .min = 1, .max = 4096};
static const struct field origins_row = {.type = FIELD_STR, .pattern = ORIGINS_PATTERN};

#define AT(member) .at = offsetof(struct cors, member)
static const struct field rows[] = {
    {"allow_origins", FIELD_STR, AT(allow_origins), .pattern = ORIGINS_PATTERN, .def = "\"*\"",
     .doc = "Origins that may read the answer: `*` for all when no credentials are sent, `**` for "
            "all in any case (the request's origin is given back), or origins with commas "
            "between."},
    {"allow_methods", FIELD_STR, AT(allow_methods), .def = "\"*\"",
     .doc = "Methods allowed: `*`, `**` for the usual nine, or methods with commas between."},
    {"allow_headers", FIELD_STR, AT(allow_headers), .def = "\"*\"",
     .doc = "Request headers allowed: `*`, `**` for what the preflight asks for, or headers with "
            "commas between."},
    {"expose_headers", FIELD_STR, AT(expose_headers),
     .doc = "Response headers that scripts may read, with commas between."},
    {"max_age", FIELD_INT, AT(max_age), .def = "5",
     .doc = "Seconds for which a browser may keep the answer to a preflight; -1: not at all."},
    {"allow_credential", FIELD_BOOL, AT(credential), .def = "false",
     .doc = "Allows requests with cookies and the like. Then none of the others may be `*`."},
    {"allow_origins_by_regex", FIELD_LIST, .flags = FIELD_UNIQUE, AT(by_regex), .min = 1,
     .of = &rule_row,
     .doc = "Patterns of origins that may read the answer, in place of `allow_origins`. A pattern "
            "may match anywhere in the origin unless it says `^` and `$`."},
    {"allow_origins_by_metadata", FIELD_LIST, .flags = FIELD_UNIQUE, AT(by_metadata), .min = 1,
     .of = &rule_row,
     .doc = "Names of lists of origins in the plugin's metadata, whose origins may read the "
            "answer too. Beside them `allow_origins` does not count while it is `*`."},
    {"timing_allow_origins", FIELD_STR, AT(timing_allow_origins), .pattern = ORIGINS_PATTERN,
     .doc = "Origins that may read timings, as in `allow_origins`."},
    {"timing_allow_origins_by_regex", FIELD_LIST, .flags = FIELD_UNIQUE, AT(timing_by_regex),
     .min = 1, .of = &rule_row, .doc = "Patterns of origins that may read timings."},
    {0},
};
static const struct fields conf_fields = {rows, .size = sizeof(struct cors), .open = true};

static const struct field metadata_rows[] = {
    {"allow_origins", FIELD_MAP, .flags = FIELD_CLOSED,
     .at = offsetof(struct cors_metadata, allow_origins), .of = &origins_row,
     .doc = "Lists of origins by name."},
    {0},
};
static const struct fields metadata_fields = {metadata_rows, .size = sizeof(struct cors_metadata),
                                              .open = true};

static bool is(struct str s, const char *text)
{
    return s.p && str_eq(s, str_of(text));
}

static bool origins_compile(struct build *b, struct origins *o, struct str text,
                            struct field_list patterns)
{
    struct arena *a = build_arena(b);
    struct regex_error err;
    struct str rest = text, one;

    o->text = text;
    o->by_regex = patterns.n > 0;
    o->regexes = arena_zero(a, patterns.n * sizeof(*o->regexes));
    for (size_t i = 0; i < patterns.n; i++) {
        o->regexes[i] = regex_new(((const struct str *)patterns.items)[i], STR("jo"), &err);
        if (!o->regexes[i])
            return build_error(b, "%s", err.text);
        o->nregexes++;
    }
    o->list = arena_zero(a, (text.n / 2 + 1) * sizeof(*o->list));
    while (rest.p) {
        str_cut(rest, ',', &one, &rest);
        if (one.n)
            o->list[o->n++] = one;
    }
    return true;
}

static bool cors_compile(void *conf, struct build *b)
{
    struct cors *c = conf;

    if (c->credential &&
        (is(c->allow_origins, "*") || is(c->allow_methods, "*") || is(c->allow_headers, "*") ||
         is(c->expose_headers, "*") || is(c->timing_allow_origins, "*")))
        return build_error(b, "you can not set '*' for other option when 'allow_credential' is "
                              "true");
    c->max_age_text = arena_printf(build_arena(b), "%lld", (long long)c->max_age);
    if (is(c->allow_methods, "**"))
        c->allow_methods = STR("GET,POST,PUT,DELETE,PATCH,HEAD,OPTIONS,CONNECT,TRACE");
    return origins_compile(b, &c->access, c->allow_origins, c->by_regex) &&
           origins_compile(b, &c->timing, c->timing_allow_origins, c->timing_by_regex);
}

static void origins_release(struct origins *o)
{
    for (unsigned i = 0; i < o->nregexes; i++)
        regex_free(o->regexes[i]);
    o->nregexes = 0;
}

static void cors_release(void *conf)
{
    struct cors *c = conf;

    origins_release(&c->access);
    origins_release(&c->timing);
}

/* ---- Phases -----------------------------------------------------------------------------------
 */

static enum verdict cors_rewrite(struct exchange *ex, const void *conf, void *frame)
{
    struct cors_frame *f = frame;

    (void)conf;
    f->origin = request_header(ex, STR("Origin"));
    if (str_eq(request_method(ex), STR("OPTIONS")))
        return reply_text(ex, 200, STR_NONE, STR(""));
    return NEXT;
}

/* What the header says to a request of this origin; absent: nothing. */
static struct str allowed(const struct origins *o, struct str origin)
{
    if (o->by_regex) {
        for (unsigned i = 0; origin.p && i < o->nregexes; i++)
            if (regex_match(o->regexes[i], origin, 0, NULL) > 0)
                return origin;
        return STR_NONE;
    }
    if (is(o->text, "*") || (is(o->text, "**") && !origin.p))
        return STR("*");
    if (is(o->text, "**"))
        return origin;
    for (unsigned i = 0; origin.p && i < o->n; i++)
        if (str_eq(o->list[i], origin))
            return origin;
    return STR_NONE;
}

static bool list_has(struct str list, struct str origin)
{
    struct str one;

    if (is(list, "*") || is(list, "**"))
        return true;
    while (list.p) {
        str_cut(list, ',', &one, &list);
        if (str_eq(one, origin))
            return true;
    }
    return false;
}

/* The origin, when a list of the metadata that the configuration names has it. */
static struct str allowed_by_metadata(struct exchange *ex, const struct cors *c, struct str origin)
{
    const struct cors_metadata *m = c->by_metadata.n && origin.p ? plugin_metadata(ex, "cors")
                                                                 : NULL;
    const struct str *names = c->by_metadata.items;

    for (size_t i = 0; m && i < m->allow_origins.n; i++) {
        const struct field_pair *pair = (const struct field_pair *)m->allow_origins.items + i;
        for (size_t k = 0; k < c->by_metadata.n; k++)
            if (str_eq(pair->key, names[k]) && list_has(pair->value, origin))
                return origin;
    }
    return STR_NONE;
}

static void set_or_remove(struct exchange *ex, struct str name, struct str value)
{
    if (value.n)
        response_header_set(ex, name, value);
    else
        response_header_remove(ex, name);
}

static void set_headers(struct exchange *ex, const struct cors *c, struct str origin)
{
    set_or_remove(ex, STR("Access-Control-Allow-Origin"), origin);
    set_or_remove(ex, STR("Access-Control-Allow-Methods"), c->allow_methods);
    response_header_set(ex, STR("Access-Control-Max-Age"), c->max_age_text);
    if (c->expose_headers.n)
        response_header_set(ex, STR("Access-Control-Expose-Headers"), c->expose_headers);
    set_or_remove(ex, STR("Access-Control-Allow-Headers"),
                  is(c->allow_headers, "**")
                      ? request_header(ex, STR("Access-Control-Request-Headers"))
                      : c->allow_headers);
    if (c->credential)
        response_header_set(ex, STR("Access-Control-Allow-Credentials"), STR("true"));
}

static enum verdict cors_header_filter(struct exchange *ex, const void *conf, void *frame)
{
    const struct cors *c = conf;
    const struct cors_frame *f = frame;
    bool any = is(c->allow_origins, "*");
    struct str origin = allowed_by_metadata(ex, c, f->origin);

    /* Lists by metadata come first, and beside them `*` does not count. */
    if (!origin.p && (c->by_metadata.n == 0 || (f->origin.p && !any)))
        origin = allowed(&c->access, f->origin);
    /* Without it a shared cache gives one origin's answer to another; APISIX has `*` beside
     * patterns and lists, where it does not count, decide. */
    if (!any || c->access.by_regex || c->by_metadata.n)
        response_header_add(ex, STR("Vary"), STR("Origin"));
    if (origin.p)
        set_headers(ex, c, origin);
    origin = allowed(&c->timing, f->origin);
    if (origin.p)
        response_header_set(ex, STR("Timing-Allow-Origin"), origin);
    return NEXT;
}

const struct plugin plugin_cors = {
    .abi = PLUGIN_ABI,
    .name = "cors",
    .version = 0.1,
    .priority = 4000,
    .doc = "Tells browsers which other origins may use the answers, and answers OPTIONS requests "
           "(preflights) with 200 itself.",
    .conf = &conf_fields,
    .metadata = &metadata_fields,
    .frame_size = sizeof(struct cors_frame),
    .compile = cors_compile,
    .release = cors_release,
    .rewrite = cors_rewrite,
    .header_filter = cors_header_filter,
};
