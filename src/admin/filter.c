/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of lists: name and uri are patterns (searched, as in APISIX, whose page says "contains"),
 * label is a label's name, filter holds pairs that must be equal. All given ones must hold. */
#include "admin/admin_int.h"
#include "base/mem.h"
#include "base/regex.h"

enum { PAIRS_MAX = 8 };

struct pattern {
    bool given;
    struct regex *regex; /* NULL: it does not compile, and matches nothing */
};

struct filter {
    struct pattern name, uri;
    struct str label; /* absent: any */
    struct admin_header pairs[PAIRS_MAX];
    unsigned npairs;
};

/* What `filter` may compare; others are ignored. */
static const struct {
    enum kind kind;
    struct str field;
} comparable[] = {
    {KIND_ROUTE, {"service_id", 10}},
    {KIND_ROUTE, {"upstream_id", 11}},
    {KIND_STREAM_ROUTE, {"service_id", 10}},
    {KIND_STREAM_ROUTE, {"upstream_id", 11}},
};

static struct pattern pattern_of(struct str source)
{
    struct pattern p = {.given = source.p != NULL};
    struct regex_error err;

    if (p.given)
        p.regex = regex_new(source, STR(""), &err);
    return p;
}

static bool is_comparable(enum kind kind, struct str field)
{
    for (size_t i = 0; i < sizeof(comparable) / sizeof(comparable[0]); i++) {
        if (comparable[i].kind == kind && str_eq(comparable[i].field, field))
            return true;
    }
    return false;
}

static void pairs_read(struct filter *f, struct call *c)
{
    struct str rest = query_arg(c, STR("filter")), name, value;

    while (query_pair(c, &rest, &name, &value)) {
        if (!is_comparable(c->kind, name) || f->npairs == PAIRS_MAX)
            continue;
        f->pairs[f->npairs++] = (struct admin_header){name, value};
    }
}

struct filter *filter_new(struct call *c)
{
    struct filter *f = mem_zero(sizeof(*f));

    f->name = pattern_of(query_arg(c, STR("name")));
    f->uri = pattern_of(query_arg(c, STR("uri")));
    f->label = query_arg(c, STR("label"));
    pairs_read(f, c);
    return f;
}

bool filter_is_open(const struct filter *f)
{
    return !f->name.given && !f->uri.given && !f->label.p && f->npairs == 0;
}

void filter_free(struct filter *f)
{
    regex_free(f->name.regex);
    regex_free(f->uri.regex);
    free(f);
}

static bool pattern_finds(const struct pattern *p, const json_t *value)
{
    return p->regex && json_is_string(value) &&
           regex_match(p->regex, str_make(json_string_value(value), json_string_length(value)), 0,
                       NULL) == 1;
}

static bool uri_matches(const struct filter *f, const json_t *document)
{
    json_t *uris = json_object_get(document, "uris"), *one;
    size_t i;

    if (pattern_finds(&f->uri, json_object_get(document, "uri")))
        return true;
    json_array_foreach(uris, i, one)
    {
        if (pattern_finds(&f->uri, one))
            return true;
    }
    return false;
}

static bool label_matches(const struct filter *f, const json_t *document)
{
    json_t *labels = json_object_get(document, "labels"), *value;
    const char *name;

    json_object_foreach(labels, name, value)
    {
        if (str_eq(str_of(name), f->label))
            return true;
    }
    return false;
}

bool filter_matches(const struct filter *f, struct call *c, const json_t *document)
{
    if (f->name.given && !pattern_finds(&f->name, json_object_get(document, "name")))
        return false;
    if (f->uri.given && !uri_matches(f, document))
        return false;
    if (f->label.p && !label_matches(f, document))
        return false;
    for (unsigned i = 0; i < f->npairs; i++) {
        const json_t *value = json_object_get(document, f->pairs[i].name.p);
        if (!value || !str_eq(id_of(c->a, value), f->pairs[i].value))
            return false;
    }
    return true;
}
