/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and values of documents. */
#include "store/document.h"

#include "base/panic.h"

struct str document_prefix(struct arena *a, enum kind kind)
{
    return arena_printf(a, "/%.*s/", STR_ARG(kinds[kind].collection));
}

struct str document_key(struct arena *a, enum kind kind, struct str id)
{
    return arena_printf(a, "/%.*s/%.*s", STR_ARG(kinds[kind].collection), STR_ARG(id));
}

struct str document_id(enum kind kind, struct str key)
{
    struct str collection = kinds[kind].collection;

    if (key.n < collection.n + 3 || key.p[0] != '/' || key.p[collection.n + 1] != '/' ||
        !str_starts(str_from(key, 1), collection))
        return STR_NONE;
    struct str id = str_from(key, collection.n + 2);
    return str_find(id, '/') < 0 ? id : STR_NONE;
}

struct sink {
    struct arena *a;
    char *p;
    size_t n, cap;
};

/* Grows in the arena by doubling: what is left behind is at most as much again. */
static int sink_add(const char *bytes, size_t n, void *arg)
{
    struct sink *s = arg;

    if (s->cap - s->n < n) {
        size_t cap = s->cap ? s->cap * 2 : 512;
        while (cap < s->n + n)
            cap *= 2;
        char *p = arena_bytes(s->a, cap);
        if (s->n)
            memcpy(p, s->p, s->n);
        s->p = p;
        s->cap = cap;
    }
    memcpy(s->p + s->n, bytes, n);
    s->n += n;
    return 0;
}

struct str document_text(struct arena *a, const json_t *value)
{
    struct sink s = {.a = a};
    int rc = json_dump_callback(value, sink_add, &s,
                                JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));

    /* Values come from the parser or from here: they have no cycles and no bad UTF-8. */
    ASSERT(rc == 0);
    return str_make(s.p, s.n);
}

struct str document_encode(struct arena *a, enum kind kind, const json_t *value)
{
    (void)kind; /* sealing goes here: fields_secrets over a copy of the value */
    return document_text(a, value);
}

json_t *document_decode(enum kind kind, struct str text)
{
    json_t *value = json_loadb(text.p ? text.p : "", text.n, 0, NULL);

    (void)kind; /* and opening here */
    if (value && !json_is_object(value)) {
        json_decref(value);
        value = NULL;
    }
    return value;
}
