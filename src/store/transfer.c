/* SPDX-License-Identifier: Apache-2.0 */
/* The commands export and import without their arguments: what is read, compared and written. */
#include "store/transfer.h"

#include <time.h>

#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"

static bool is_whole_id(enum kind kind)
{
    /* "*" and "*""/""*": no word between. */
    for (const char *p = kinds[kind].shape; *p; p++)
        if (*p != '*' && *p != '/')
            return false;
    return true;
}

/* The id that a document has inside, from that behind the folder. */
static struct str inner_id(enum kind kind, struct str id)
{
    ptrdiff_t slash = is_whole_id(kind) ? -1 : str_rfind(id, '/');

    return slash < 0 ? id : str_from(id, (size_t)slash + 1);
}

static void member_set(json_t *document, const char *name, struct str value)
{
    json_object_set_new(document, name, json_stringn(value.p, value.n));
}

/* Consumers go by their names, and say so themselves. */
static bool has_id(enum kind kind)
{
    return kind != KIND_CONSUMER;
}

/* ---- Export ------------------------------------------------------------------------------------
 */

struct exported {
    struct str key, text;
    enum kind kind;
};

struct exporter {
    const struct transfer_out *t;
    struct arena *a;
    struct exported *items;
    size_t n, cap;
    struct str err;
};

static bool export_item(void *arg, const struct store_item *item)
{
    struct exporter *x = arg;
    struct document_secrets secrets = {0};
    struct str id;
    enum kind kind = document_kind(item->key, &id);

    if (kind == KIND_COUNT)
        return true;
    json_t *value = document_decode(x->t->codec, kind, item->value, &secrets);
    if (!value || secrets.locked) {
        x->err = arena_printf(x->a, "%.*s: %s", STR_ARG(item->key),
                              value ? "its secrets cannot be opened with the keys at hand"
                                    : "it is no JSON object");
        json_decref(value);
        return false;
    }
    if (has_id(kind))
        member_set(value, "id", id);
    if (x->n == x->cap) {
        x->cap = x->cap ? x->cap * 2 : 1024;
        x->items = mem_resize(x->items, x->cap * sizeof(*x->items));
    }
    x->items[x->n++] = (struct exported){arena_str(x->a, item->key), document_text(x->a, value),
                                         kind};
    json_decref(value);
    return true;
}

static int by_folder(const void *a, const void *b)
{
    const struct exported *one = a, *two = b;
    int order = str_cmp(kinds[one->kind].folder, kinds[two->kind].folder);

    return order ? order : str_cmp(one->key, two->key);
}

/* JSON is YAML but for control characters that only JSON takes as they are (YAML 1.1 §5.1). */
static void text_write(FILE *to, struct str text)
{
    size_t from = 0;

    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        unsigned char next = i + 1 < text.n ? (unsigned char)text.p[i + 1] : 0;
        bool c1 = c == 0xc2 && next >= 0x80 && next < 0xa0;
        if (c != 0x7f && !c1)
            continue;
        fwrite(text.p + from, 1, i - from, to);
        fprintf(to, "\\u%04x", c1 ? next : c);
        i += c1;
        from = i + 1;
    }
    if (from < text.n)
        fwrite(text.p + from, 1, text.n - from, to);
}

static void export_write(const struct transfer_out *t, const struct exported *items, size_t n)
{
    struct str folder = STR_NONE;

    if (t->json)
        fputs("{", t->to);
    for (size_t i = 0; i < n; i++) {
        bool first = !str_eq(kinds[items[i].kind].folder, folder);
        if (first && folder.p && t->json)
            fputs("\n],", t->to);
        folder = kinds[items[i].kind].folder;
        if (first)
            fprintf(t->to, t->json ? "\n\"%.*s\": [\n" : "%.*s:\n", STR_ARG(folder));
        else if (t->json)
            fputs(",\n", t->to);
        if (!t->json)
            fputs("  - ", t->to);
        text_write(t->to, items[i].text);
        if (!t->json)
            fputs("\n", t->to);
    }
    if (t->json)
        fputs(n ? "\n]}\n" : "}\n", t->to);
    else
        fputs("#END\n", t->to);
}

bool transfer_export(const struct transfer_out *t, size_t *n, struct arena *a, struct str *err)
{
    struct exporter x = {.t = t, .a = a};
    enum store_status status = STORE_OK;

    for (enum kind kind = 0; kind < KIND_COUNT && status == STORE_OK && !x.err.p; kind++) {
        bool seen = false;
        for (enum kind k = 0; k < kind; k++)
            seen |= str_eq(kinds[k].folder, kinds[kind].folder);
        if (!seen)
            status = t->store->ops->list(t->store, document_prefix(a, kind), export_item, &x, err);
    }
    if (x.err.p)
        *err = x.err;
    bool good = status == STORE_OK && !x.err.p;
    if (good) {
        if (x.n)
            qsort(x.items, x.n, sizeof(*x.items), by_folder);
        /* Substituted where the file is read, it would be another text. */
        for (size_t i = 0; i < x.n && good; i++)
            if (str_search(x.items[i].text, STR("${{")) >= 0) {
                *err = arena_printf(a,
                                    "%.*s has the text ${{, which stands for a variable in files",
                                    STR_ARG(x.items[i].key));
                good = false;
            }
    }
    if (good) {
        export_write(t, x.items, x.n);
        good = fflush(t->to) == 0 && !ferror(t->to);
        if (!good)
            *err = STR("the output cannot be written");
    }
    *n = x.n;
    free(x.items);
    return good;
}

/* ---- Import: what is there, what comes ---------------------------------------------------------
 */

struct import {
    const struct transfer_in *t;
    struct transfer_result *r;
    struct arena *a;
    struct map there; /* by key: struct have */
    struct incoming *items;
    size_t n;
    time_t now, said;
};

/* A document in the store. */
struct have {
    struct str key;
    json_t *value;
    bool stays;
};

struct incoming {
    struct str key, id;
    enum kind kind;
    json_t *value;     /* NULL: it was refused */
    bool undated;      /* it does not say when it was changed */
    struct have *have; /* NULL: it is new */
};

static bool have_is(const void *value, const void *key)
{
    return str_eq(((const struct have *)value)->key, *(const struct str *)key);
}

static struct have *have_find(const struct import *m, struct str key)
{
    return map_get(&m->there, hash_str(key), have_is, &key);
}

static bool have_add(void *arg, const struct store_item *item)
{
    struct import *m = arg;
    struct str id;
    enum kind kind = document_kind(item->key, &id);

    if (kind == KIND_COUNT)
        return true;
    struct have *h = arena_alloc(m->a, sizeof(*h));
    *h = (struct have){.key = arena_str(m->a, item->key),
                       .value = document_decode(m->t->codec, kind, item->value, NULL)};
    map_add(&m->there, hash_str(h->key), h);
    return true;
}

static bool there_read(struct import *m, struct str *err)
{
    const struct store_ops *ops = m->t->store->ops;
    enum store_status status = STORE_OK;

    for (enum kind kind = 0; kind < KIND_COUNT && status == STORE_OK; kind++) {
        bool seen = false;
        for (enum kind k = 0; k < kind; k++)
            seen |= str_eq(kinds[k].folder, kinds[kind].folder);
        if (!seen)
            status = ops->list(m->t->store, document_prefix(m->a, kind), have_add, m, err);
    }
    return status == STORE_OK;
}

static void fault(struct import *m, struct str key, struct str why)
{
    m->r->faults++;
    fprintf(m->t->messages, "%.*s: %.*s\n", STR_ARG(key), STR_ARG(why));
}

/* As the store keeps it: its id inside, its times. */
static void document_finish(struct import *m, struct incoming *in)
{
    json_t *v = in->value;
    const json_t *old = in->have ? in->have->value : NULL;
    static const char *const times[] = {"create_time", "update_time"};

    if (has_id(in->kind))
        member_set(v, "id", inner_id(in->kind, in->id));
    in->undated = kinds[in->kind].times && !json_object_get(v, "update_time");
    for (size_t i = 0; i < 2 && kinds[in->kind].times; i++) {
        const json_t *had = json_object_get(old, times[i]);
        if (!json_object_get(v, times[i]))
            json_object_set_new(v, times[i],
                                had ? json_incref(json_object_get(old, times[i]))
                                    : json_integer((json_int_t)m->now));
    }
}

static void incoming_check(struct import *m, struct incoming *in, struct str text)
{
    struct builder *b = m->t->builder;
    struct document_secrets secrets = {0};
    struct str err = STR_NONE;

    if (in->kind == KIND_COUNT) {
        fault(m, in->key, STR("there are no documents of this kind, or none with such an id"));
        return;
    }
    in->value = document_decode(m->t->codec, in->kind, text, &secrets);
    if (!in->value)
        err = STR("it should be an object");
    else if (secrets.locked)
        err = STR("its secrets were sealed with another key");
    else
        document_finish(m, in);
    if (!err.p && !builder_check(b, in->kind, in->id, in->value, m->a, &err))
        err = builder_check_by_schema(b) ? arena_join(m->a, STR("invalid configuration: "), err)
                                         : err;
    if (!err.p) {
        builder_apply(b, in->kind, in->id, 0, in->value);
        return;
    }
    fault(m, in->key, err);
    json_decref(in->value);
    in->value = NULL;
}

static int by_kind(const void *a, const void *b)
{
    const struct incoming *one = a, *two = b;

    return one->kind != two->kind ? (one->kind < two->kind ? -1 : 1) : str_cmp(one->key, two->key);
}

/* What documents say of others. */
static const struct {
    const char *member;
    enum kind kind;
} links[] = {
    {"upstream_id", KIND_UPSTREAM},
    {"service_id", KIND_SERVICE},
    {"plugin_config_id", KIND_PLUGIN_CONFIG},
    {"group_id", KIND_CONSUMER_GROUP},
};

static struct str id_text(struct arena *a, const json_t *v)
{
    if (json_is_integer(v))
        return arena_printf(a, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    return str_make(json_string_value(v), json_string_length(v));
}

static void links_check(struct import *m, const struct incoming *in)
{
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]) && in->value; i++) {
        const json_t *v = json_object_get(in->value, links[i].member);
        struct str id = v ? id_text(m->a, v) : STR_NONE;
        if (v && !builder_has(m->t->builder, links[i].kind, id))
            fault(m, in->key,
                  arena_printf(m->a, "%s: there is no %.*s %.*s", links[i].member,
                               STR_ARG(kinds[links[i].kind].noun), STR_ARG(id)));
    }
    if (in->value && kinds[in->kind].owner < KIND_COUNT) {
        struct str owner, rest;
        str_cut(in->id, '/', &owner, &rest);
        if (!builder_has(m->t->builder, kinds[in->kind].owner, owner))
            fault(m, in->key,
                  arena_printf(m->a, "there is no %.*s %.*s",
                               STR_ARG(kinds[kinds[in->kind].owner].noun), STR_ARG(owner)));
    }
}

/* What stays is part of what is checked. */
static void there_apply(struct import *m)
{
    for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
        size_t at = 0;
        for (struct have *h; (h = map_next(&m->there, &at)) != NULL;) {
            struct str id;
            if (document_kind(h->key, &id) == kind && h->value && h->stays)
                builder_apply(m->t->builder, kind, id, 0, h->value);
        }
    }
}

static void incoming_read(struct import *m)
{
    const struct store_batch *b = m->t->documents;

    m->items = mem_array(b->n + 1, sizeof(*m->items));
    for (size_t i = 0; i < b->n; i++) {
        struct incoming *in = &m->items[m->n++];
        *in = (struct incoming){.key = b->items[i].key, .have = have_find(m, b->items[i].key)};
        in->kind = document_kind(in->key, &in->id);
        if (in->have)
            in->have->stays = false; /* it is replaced */
    }
}

static bool import_check(struct import *m, struct str *err)
{
    const struct store_batch *b = m->t->documents;
    size_t at = 0;

    for (struct have *h; (h = map_next(&m->there, &at)) != NULL;)
        h->stays = m->t->merge;
    incoming_read(m);
    there_apply(m);
    /* The texts are in the batch's order, by key; documents are checked by kind. */
    for (enum kind kind = 0; kind <= KIND_COUNT; kind++)
        for (size_t i = 0; i < b->n; i++)
            if (m->items[i].kind == kind)
                incoming_check(m, &m->items[i], b->items[i].value);
    for (size_t i = 0; i < m->n; i++)
        links_check(m, &m->items[i]);
    if (m->r->faults > 0)
        *err = arena_printf(m->a, "%zu faults: nothing was written", m->r->faults);
    return m->r->faults == 0;
}

/* ---- Import: writing ---------------------------------------------------------------------------
 */

/* Changes that are worth to be kept in the history one by one. */
enum { HISTORY_MAX = 5000 };

struct plan {
    struct store_change *changes;
    size_t n;
};

static void plan_add(struct import *m, struct plan *p, char sign, struct str key, struct str value)
{
    p->changes[p->n++] = (struct store_change){.key = key, .value = value, .expect = -1};
    if (m->t->dry)
        fprintf(m->t->messages, "%c %.*s\n", sign, STR_ARG(key));
}

/* Puts by kind, so that what is referred to comes first; deletions the other way round. */
static struct plan plan_make(struct import *m)
{
    struct plan p = {.changes = mem_array(m->n + m->there.n + 1, sizeof(*p.changes))};

    if (m->n)
        qsort(m->items, m->n, sizeof(*m->items), by_kind);
    for (size_t i = 0; i < m->n; i++) {
        struct incoming *in = &m->items[i];
        if (in->have && in->have->value && json_equal(in->have->value, in->value)) {
            m->r->unchanged++;
            continue;
        }
        in->have ? m->r->changed++ : m->r->added++;
        if (in->undated)
            json_object_set_new(in->value, "update_time", json_integer((json_int_t)m->now));
        plan_add(m, &p, in->have ? '~' : '+', in->key,
                 document_encode(m->t->codec, m->a, in->kind, in->value));
    }
    for (size_t i = 0; i < m->n; i++)
        if (m->items[i].have)
            m->items[i].have->stays = true;
    for (unsigned k = KIND_COUNT; k-- > 0 && !m->t->merge;) {
        size_t at = 0;
        for (struct have *h; (h = map_next(&m->there, &at)) != NULL;) {
            struct str id;
            if (!h->stays && (unsigned)document_kind(h->key, &id) == k) {
                m->r->removed++;
                plan_add(m, &p, '-', h->key, STR_NONE);
            }
        }
    }
    return p;
}

static void progress_say(struct import *m, size_t all)
{
    time_t now = time(NULL);

    if (!m->t->progress || now == m->said)
        return;
    m->said = now;
    fprintf(m->t->progress, "%zu of %zu written\n", m->r->written, all);
    fflush(m->t->progress);
}

static bool plan_write(struct import *m, const struct plan *p, struct str *err)
{
    size_t most = m->t->store->ops->changes_max;

    if (most == 0)
        most = STORE_CHANGES_MAX;
    /* It would drive out all that the history has, itself with the next change. */
    if (p->n > HISTORY_MAX && m->t->store->ops->keep)
        m->t->store->ops->keep(m->t->store, &(struct store_keep){0});
    while (m->r->written < p->n) {
        size_t left = p->n - m->r->written;
        struct store_write w = {.changes = p->changes + m->r->written,
                                .n = left < most ? left : most,
                                .who = STR("eclusa import"),
                                .how = arena_printf(m->a, "import of %s", m->t->name)};
        enum store_status status = m->t->store->ops->write(m->t->store, &w, err);
        if (status != STORE_OK) {
            struct str why = status == STORE_FAILED ? *err : STR("others write at the same time");
            *err = arena_printf(m->a,
                                "%.*s: %zu of %zu changes are written; the same command goes on",
                                STR_ARG(why), m->r->written, p->n);
            return false;
        }
        m->r->written += w.n;
        progress_say(m, p->n);
    }
    return true;
}

bool transfer_import(const struct transfer_in *t, struct transfer_result *result, struct arena *a,
                     struct str *err)
{
    struct import m = {.t = t, .r = result, .a = a, .now = time(NULL)};
    struct have *h;
    size_t at = 0;

    *result = (struct transfer_result){0};
    bool good = there_read(&m, err) && import_check(&m, err);
    if (good) {
        struct plan p = plan_make(&m);
        if (!t->dry)
            good = plan_write(&m, &p, err);
        free(p.changes);
    }
    for (size_t i = 0; i < m.n; i++)
        json_decref(m.items[i].value);
    while ((h = map_next(&m.there, &at)) != NULL)
        json_decref(h->value);
    map_fini(&m.there);
    free(m.items);
    return good;
}
