/* SPDX-License-Identifier: Apache-2.0 */
/* What routing reads of a request's body, and the languages that ask about it: GraphQL documents,
 * JSONPath over JSON, forms and multipart bodies, expressions. Nothing may crash; what is read out
 * of a text lies within it; and what is asked twice is answered twice the same. */
#include "fuzz.h"

#include "base/graphql.h"
#include "base/mem.h"
#include "config/build_private.h"
#include "exchange/vars.h"
#include "exchange/worker.h"

static bool within(struct str part, struct str whole)
{
    return !part.n || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void fuzz_graphql(struct str s, struct arena *a)
{
    struct graphql g;

    if (!graphql_parse(s, a, &g))
        return;
    MUST(g.definitions > 0 && within(g.name, s));
    for (unsigned i = 0; i < g.nfields; i++)
        MUST(g.fields[i].n && within(g.fields[i], s));
    /* What is around it means nothing. */
    struct graphql again;
    MUST(graphql_parse(arena_join(a, STR("\xef\xbb\xbf , #c\n"), s), a, &again));
    MUST(again.definitions == g.definitions && again.nfields == g.nfields);
}

/* The path up to the first line feed, the document behind it. */
static void fuzz_path(struct str s, struct arena *a)
{
    struct str path_text, document_text, err;

    if (!str_cut(s, '\n', &path_text, &document_text))
        document_text = STR("{\"a\":[{\"b\":1},{\"b\":\"x\",\"c\":{\"b\":[true,null]}}],\"b\":2}");
    struct json_path *path = json_path_compile(path_text, a, &err);
    if (!path) {
        MUST(str_starts(err, STR("invalid expression \"")));
        return;
    }
    json_t *document = json_loadb(document_text.p, document_text.n, JSON_ALLOW_NUL, NULL);
    json_t *found = json_path_query(path, document);
    json_t *again = json_path_query(path, document);
    MUST(json_is_array(found) && json_equal(found, again));
    json_decref(again);
    json_decref(found);
    json_decref(document);
}

/* An exchange whose body has come. */
struct place {
    struct worker_config config;
    struct worker worker;
    struct stream stream;
    struct addr addr;
    struct header lines[4];
    struct exchange ex;
};

static struct exchange *make_exchange(struct place *p, struct str type, struct str body)
{
    struct exchange *ex = &p->ex;

    *p = (struct place){.config = {.post_arg_max = 1 << 20, .graphql_max = 1 << 20}};
    p->worker.config = &p->config;
    p->stream = (struct stream){.client = &p->addr, .local = &p->addr};
    ex->worker = &p->worker;
    ex->from = &p->stream;
    ex->client = &p->addr;
    ex->method = METHOD_POST;
    ex->path = STR("/");
    ex->req.framing = H1_LENGTH;
    ex->body_done = ex->body_kept = true;
    arena_init(&ex->arena, NULL);
    buf_init(&ex->body, SIZE_MAX / 2);
    MUST(buf_add(&ex->body, body));
    head_init(&ex->req.head, p->lines, 4);
    head_add(&ex->req.head, &ex->arena, HEADER_CONTENT_TYPE, STR("Content-Type"), type);
    return ex;
}

static void fuzz_body(struct str s, const char *type)
{
    static const char *const names[] = {"post_arg_a",          "post_arg.a",        "post_arg.a.b",
                                        "post_arg.a[*].b",     "post_arg.a..b",     "post_arg.*",
                                        "graphql_root_fields", "graphql_operation", "arg_a"};
    static struct place p;
    struct exchange *ex = make_exchange(&p, str_of(type), s);

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct var v = var_find(str_of(names[i]), &ex->arena);
        struct value value = var_read(ex, &v);
        MUST(!value.json || !value.text.p);
        struct str text = var_text(ex, &v);
        MUST(!text.n || text.p);
    }
    MUST(ex->body_wanted == 0);
    buf_fini(&ex->body);
    arena_fini(&ex->arena);
}

/* The expression up to the first line feed, a JSON body behind it. */
static void fuzz_expr(struct str s, struct arena *a)
{
    static struct place p;
    struct str source, body;
    struct build build = {.arena = a, .scratch = a};

    str_cut(s, '\n', &source, &body);
    json_t *json = json_loadb(source.p, source.n, JSON_ALLOW_NUL, NULL);
    if (!json)
        return;
    struct expr *e = build_expr(&build, json);
    MUST(e || build.err.n);
    if (e) {
        struct exchange *ex = make_exchange(&p, STR("application/json"), body);
        bool first = expr_matches(ex, e);
        MUST(expr_matches(ex, e) == first);
        buf_fini(&ex->body);
        arena_fini(&ex->arena);
    }
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = size ? fuzz_str(data + 1, size - 1) : STR("");
    struct arena a;

    arena_init(&a, NULL);
    switch (size ? data[0] % 7 : 0) {
    case 0:
        fuzz_graphql(s, &a);
        break;
    case 1:
        fuzz_path(s, &a);
        break;
    case 2:
        fuzz_body(s, "application/json");
        break;
    case 3:
        fuzz_body(s, "application/x-www-form-urlencoded");
        break;
    case 4:
        fuzz_body(s, "multipart/form-data; boundary=b");
        break;
    case 5:
        fuzz_body(s, "application/graphql");
        break;
    default:
        fuzz_expr(s, &a);
    }
    arena_fini(&a);
    return 0;
}
