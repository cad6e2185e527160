/* SPDX-License-Identifier: Apache-2.0 */
/* Writing, whoever asks for it: the changes of a call or of a transaction, what must hold for them,
 * and the answer. */
#include <inttypes.h>

#include "admin/admin_int.h"
#include "base/mem.h"
#include "base/trie.h"

static const struct trie_edit own = {.version = 1};

/* ---- The set -----------------------------------------------------------------------------------
 */

struct changes *changes_new(struct arena *a, bool many)
{
    struct changes *s = mem_zero(sizeof(*s));

    s->a = a;
    s->many = many;
    return s;
}

void changes_free(struct changes *s, struct keeper *k)
{
    if (!s)
        return;
    if (s->many) {
        builder_trial(keeper_builder(k), true);
        keeper_untry(k, s->items, s->n);
        builder_trial(keeper_builder(k), false);
    }
    trie_free(s->by_key);
    free(s->items);
    free(s);
}

const struct keeper_change *changes_find(const struct changes *s, struct str key)
{
    size_t place = s ? (size_t)(uintptr_t)trie_get(s->by_key, key, TRIE_EXACT) : 0;

    return place ? &s->items[place - 1] : NULL;
}

/* How many the store takes at once. */
static size_t changes_most(struct call *c)
{
    size_t most = keeper_store(c->keeper)->ops->changes_max;

    return most ? most : STORE_CHANGES_MAX;
}

static bool changes_room(struct call *c, struct changes *s)
{
    size_t most = changes_most(c);

    if (s->n == most) {
        reply_error(c, 400, "more than %zu changes: the store %s takes no more at once", most,
                    keeper_store(c->keeper)->ops->name);
        return false;
    }
    if (s->n == s->max) {
        s->max = s->max ? s->max * 2 : 1;
        s->items = mem_resize(s->items, s->max * sizeof(*s->items));
    }
    return true;
}

/* The strings are the call's already. */
static const struct store_item *item_keep(struct arena *a, const struct store_item *item)
{
    struct store_item *copy = arena_alloc(a, sizeof(*copy));

    *copy = *item;
    return copy;
}

bool changes_add(struct call *c, enum kind kind, struct str id, const json_t *value,
                 const struct store_item *known, int64_t expect)
{
    if (!c->changes)
        c->changes = changes_new(c->a, false);
    struct changes *s = c->changes;
    struct str key = document_key(s->a, kind, id);

    if (changes_find(s, key)) {
        reply_error(c, 400, "%.*s is written twice", STR_ARG(key));
        return false;
    }
    if (!changes_room(c, s))
        return false;
    struct keeper_change *change = &s->items[s->n++];
    *change = (struct keeper_change){
        .kind = kind,
        .id = arena_str(s->a, id),
        .value = value,
        .expect = expect,
        .ttl_s = value ? c->ttl_s : 0,
        .known = known ? item_keep(s->a, known) : NULL,
    };
    if (s->many) {
        trie_set(&s->by_key, &own, key, TRIE_EXACT, (void *)(uintptr_t)s->n);
        keeper_try(c->keeper, change);
    }
    return true;
}

enum store_status document_exists(struct call *c, enum kind kind, struct str id, struct str *err)
{
    struct store *store = keeper_store(c->keeper);
    struct str key = document_key(c->a, kind, id);
    const struct keeper_change *change = changes_find(c->changes, key);
    struct store_item item;

    if (change)
        return change->value ? STORE_OK : STORE_NOT_FOUND;
    return store->ops->get(store, key, c->a, &item, err);
}

enum store_status document_load(struct call *c, enum kind kind, struct str id, json_t **value,
                                struct str *err)
{
    struct store *store = keeper_store(c->keeper);
    struct str key = document_key(c->a, kind, id);
    const struct keeper_change *change = changes_find(c->changes, key);
    struct store_item item;

    if (change) {
        *value = json_incref((json_t *)(uintptr_t)change->value);
        return *value ? STORE_OK : STORE_NOT_FOUND;
    }
    enum store_status status = store->ops->get(store, key, c->a, &item, err);
    if (status == STORE_OK)
        *value = keeper_decode(c->keeper, kind, item.value);
    return status;
}

/* Kinds of which two documents may not have the same. */
static bool is_exclusive(enum kind kind)
{
    return kind == KIND_CONSUMER || kind == KIND_CREDENTIAL || kind == KIND_GLOBAL_RULE;
}

bool changes_fit(struct call *c, size_t *failed, struct str *err)
{
    struct builder *b = keeper_builder(c->keeper);
    const struct changes *s = c->changes;

    builder_trial(b, false);
    for (*failed = 0; *failed < s->n; (*failed)++) {
        const struct keeper_change *change = &s->items[*failed];
        if (change->value && is_exclusive(change->kind) &&
            !builder_check(b, change->kind, change->id, change->value, c->a, err))
            return false;
    }
    return true;
}

/* ---- What must hold ----------------------------------------------------------------------------
 */

static bool refuse_precondition(struct call *c, const struct store_item *known)
{
    if (known->value.p)
        reply_error(c, 412, "precondition failed: the modifiedIndex is %" PRId64, known->modified);
    else
        reply_error(c, 412, "precondition failed: the document is not there");
    return false;
}

/* "12", W/"12" or 12. */
static bool revision_parse(struct str s, uint64_t *out)
{
    if (str_starts(s, STR("W/")))
        s = str_from(s, 2);
    if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
        s = str_make(s.p + 1, s.n - 2);
    return str_to_u64(s, INT64_MAX, out) && *out > 0;
}

bool precondition_holds(struct call *c, const struct store_item *known, int64_t *expect)
{
    int64_t is = known->value.p ? known->modified : 0;
    uint64_t wanted = 0;

    if (c->if_revision >= 0) {
        *expect = c->if_revision;
        return is == c->if_revision || refuse_precondition(c, known);
    }
    if (c->if_none_match.p) {
        if (!str_eq(c->if_none_match, STR("*"))) {
            reply_error(c, 400, "invalid If-None-Match: only * is supported");
            return false;
        }
        *expect = 0;
        return is == 0 || refuse_precondition(c, known);
    }
    if (!c->if_match.p)
        return true;
    if (!str_eq(c->if_match, STR("*")) && !revision_parse(c->if_match, &wanted)) {
        reply_error(c, 400, "invalid If-Match: should be a modifiedIndex or *");
        return false;
    }
    *expect = is;
    return (is != 0 && (wanted == 0 || (uint64_t)is == wanted)) || refuse_precondition(c, known);
}

/* ---- Writing and answering ---------------------------------------------------------------------
 */

enum store_status changes_write(struct call *c, struct str how, size_t *failed, struct str *err)
{
    struct keeper_write w = {.changes = c->changes->items,
                             .n = c->changes->n,
                             .who = c->who.n ? c->who : STR("anonymous"),
                             .peer = c->peer,
                             .how = how};
    enum store_status status = keeper_write(c->keeper, &w, c->a, err);

    if (status == STORE_OK)
        c->revision = w.revision;
    if (failed)
        *failed = w.failed;
    return status;
}

void change_answer(struct call *c, bool dry)
{
    struct keeper_change *change = &c->changes->items[c->at];

    if (dry)
        change->item = (struct store_item){.key = document_key(c->a, change->kind, change->id),
                                           .created = change->known->created,
                                           .modified = change->known->value.p ? -1 : 0};
    if (change->value)
        reply_document(c, change->item.created == change->item.modified ? 201 : 200, c->action,
                       &change->item, c->json, false);
    else
        reply_deleted(c, change->item.key);
}

void change_refuse(struct call *c, enum store_status status, struct str err)
{
    const struct keeper_change *change = &c->changes->items[c->at];
    bool asked = c->if_revision >= 0 || c->if_match.p || c->if_none_match.p;

    if (status == STORE_NOT_FOUND)
        reply_not_found(c);
    else if (status == STORE_CONFLICT)
        reply_error(c, asked ? 412 : 503, "value changed before overwritten");
    else
        reply_store_failed(c, change->value ? "write" : "delete",
                           document_key(c->a, change->kind, change->id), err);
}

void changes_commit(struct call *c)
{
    struct str err = STR_NONE;
    enum store_status status = c->dry ? STORE_OK : changes_write(c, c->method, NULL, &err);

    if (status == STORE_OK)
        change_answer(c, c->dry);
    else
        change_refuse(c, status, err);
}
