/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of lists: name and uri are patterns (searched, as in APISIX, whose page says "contains"),
 * label is a label's name, filter holds pairs that must be equal. All given ones must hold. */
#include <time.h>

#include "admin/admin_int.h"
#include "base/mem.h"
#include "base/regex.h"

/* Time of the processor for one list's patterns: nothing else is done meanwhile. */
enum { PAIRS_MAX = 8, PATTERNS_US = 300000 };

struct pattern {
    bool given;
    struct regex *regex; /* NULL: it does not compile, and matches nothing */
};

struct filter {
    struct pattern name, uri;
    struct str label; /* absent: any */
    struct admin_header pairs[PAIRS_MAX];
    unsigned npairs;
    int64_t spent_us; /* by patterns */
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

static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static bool pattern_finds(struct filter *f, const struct pattern *p, const json_t *value)
{
    if (!p->regex || !json_is_string(value))
        return false;
    int64_t from = cpu_us();
    struct str text = str_make(json_string_value(value), json_string_length(value));
    bool found = regex_match(p->regex, text, 0, NULL) == 1;
    f->spent_us += cpu_us() - from;
    return found;
}

bool filter_is_spent(const struct filter *f)
{
    return f->spent_us > PATTERNS_US;
}

static bool uri_matches(struct filter *f, const json_t *document)
{
    json_t *uris = json_object_get(document, "uris"), *one;
    size_t i;

    if (pattern_finds(f, &f->uri, json_object_get(document, "uri")))
        return true;
    json_array_foreach(uris, i, one)
    {
        if (pattern_finds(f, &f->uri, one))
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

bool filter_matches(struct filter *f, struct call *c, const json_t *document)
{
    if (f->name.given && !pattern_finds(f, &f->name, json_object_get(document, "name")))
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
