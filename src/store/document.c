/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and values of documents. */
#include "store/document.h"

#include "base/mem.h"
#include "base/panic.h"
#include "base/trie.h"
#include "config/fields.h"
#include "config/model.h"

struct str document_prefix(struct arena *a, enum kind kind)
{
    return arena_printf(a, "/%.*s/", STR_ARG(kinds[kind].folder));
}

struct str document_key(struct arena *a, enum kind kind, struct str id)
{
    return arena_printf(a, "/%.*s/%.*s", STR_ARG(kinds[kind].folder), STR_ARG(id));
}

/* Part by part, as the kind's shape has them; no part is empty. */
static bool shape_fits(const char *shape, struct str id)
{
    struct str wanted = str_of(shape), want, part;

    while (wanted.p && id.p) {
        str_cut(wanted, '/', &want, &wanted);
        str_cut(id, '/', &part, &id);
        if (part.n == 0 || !(str_eq(want, STR("*")) || str_eq(want, part)))
            return false;
    }
    return !wanted.p && !id.p;
}

struct str document_id(enum kind kind, struct str key)
{
    struct str folder = kinds[kind].folder;

    if (key.n < folder.n + 3 || key.p[0] != '/' || key.p[folder.n + 1] != '/' ||
        !str_starts(str_from(key, 1), folder))
        return STR_NONE;
    struct str id = str_from(key, folder.n + 2);
    return shape_fits(kinds[kind].shape, id) ? id : STR_NONE;
}

enum kind document_kind(struct str key, struct str *id)
{
    for (enum kind k = 0; k < KIND_COUNT; k++) {
        *id = document_id(k, key);
        if (id->p)
            return k;
    }
    return KIND_COUNT;
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

/* ---- Secrets -----------------------------------------------------------------------------------
 */

struct document_codec {
    struct seal *seal;
    bool shared;
    struct trie *plugins; /* by name */
};

static const struct trie_edit own = {.version = 1};

struct document_codec *document_codec_new(struct seal *seal, bool shared,
                                          const struct plugin *const *plugins)
{
    struct document_codec *codec = mem_zero(sizeof(*codec));

    codec->seal = seal;
    codec->shared = shared;
    for (size_t i = 0; plugins[i]; i++)
        trie_set(&codec->plugins, &own, str_of(plugins[i]->name), TRIE_EXACT,
                 (void *)(uintptr_t)plugins[i]);
    return codec;
}

void document_codec_free(struct document_codec *codec)
{
    if (!codec)
        return;
    seal_free(codec->seal);
    trie_free(codec->plugins);
    free(codec);
}

static struct str member_id(const json_t *value)
{
    const char *id = json_string_value(json_object_get(value, "id"));

    return id ? str_of(id) : STR("");
}

void document_secrets_each(const struct document_codec *codec, enum kind kind, json_t *value,
                           void (*visit)(void *arg, json_t *string), void *arg)
{
    const char *name;
    json_t *conf;

    fields_secrets(kinds[kind].fields, value, visit, arg);
    if (kind == KIND_SECRET) {
        const struct fields *fields = codec->shared ? NULL : model_manager_fields(member_id(value));
        if (fields)
            fields_secrets(fields, value, visit, arg);
        return;
    }
    if (kind == KIND_PLUGIN_METADATA) {
        const struct plugin *p = trie_get(codec->plugins, member_id(value), TRIE_EXACT);
        if (p && p->metadata)
            fields_secrets(p->metadata, value, visit, arg);
        return;
    }
    json_object_foreach(json_object_get(value, "plugins"), name, conf)
    {
        const struct plugin *p = trie_get(codec->plugins, str_of(name), TRIE_EXACT);
        if (!p)
            continue;
        const struct fields *fields = kinds[kind].identity && p->consumer ? p->consumer : p->conf;
        if (fields)
            fields_secrets(fields, conf, visit, arg);
    }
}

static struct str string_text(const json_t *string)
{
    return str_make(json_string_value(string), json_string_length(string));
}

/* What goes in is text: base64, or what was valid UTF-8 when it was sealed. */
static void string_set(json_t *string, struct str text)
{
    int rc = json_string_setn(string, text.p, text.n);

    ASSERT(rc == 0);
}

struct pass {
    const struct seal *seal;
    bool pem; /* only what looks like PEM is sealed: references must stay (APISIX: ssl.lua) */
    struct arena arena;
    struct document_secrets found;
};

static void on_count(void *arg, json_t *string)
{
    unsigned *n = arg;

    (void)string;
    (*n)++;
}

static void on_close(void *arg, json_t *string)
{
    struct pass *pass = arg;

    if (pass->pem && !str_starts(string_text(string), STR("---")))
        return;
    string_set(string, seal_close(pass->seal, &pass->arena, string_text(string)));
}

static void on_open(void *arg, json_t *string)
{
    struct pass *pass = arg;
    struct str text;

    switch (seal_open(pass->seal, &pass->arena, string_text(string), &text)) {
    case SEAL_OPENED:
        string_set(string, text);
        break;
    case SEAL_ODD:
        pass->found.odd++;
        break;
    case SEAL_LOCKED:
        pass->found.locked++;
        break;
    case SEAL_PLAIN:
        break;
    }
}

struct str document_encode(const struct document_codec *codec, struct arena *a, enum kind kind,
                           const json_t *value)
{
    json_t *given = (json_t *)(uintptr_t)value; /* on_count changes nothing */
    unsigned n = 0;

    if (codec)
        document_secrets_each(codec, kind, given, on_count, &n);
    if (n == 0)
        return document_text(a, value);

    struct pass pass = {.seal = codec->seal, .pem = kind == KIND_SSL};
    json_t *copy = json_deep_copy(value);
    arena_init(&pass.arena, NULL);
    document_secrets_each(codec, kind, copy, on_close, &pass);
    arena_fini(&pass.arena);
    struct str text = document_text(a, copy);
    json_decref(copy);
    return text;
}

json_t *document_decode(const struct document_codec *codec, enum kind kind, struct str text,
                        struct document_secrets *secrets)
{
    json_t *value = json_loadb(text.p ? text.p : "", text.n, 0, NULL);
    struct pass pass = {.seal = codec ? codec->seal : NULL};

    if (value && !json_is_object(value)) {
        json_decref(value);
        value = NULL;
    }
    if (value && codec) {
        arena_init(&pass.arena, NULL);
        document_secrets_each(codec, kind, value, on_open, &pass);
        arena_fini(&pass.arena);
    }
    if (secrets)
        *secrets = pass.found;
    return value;
}
