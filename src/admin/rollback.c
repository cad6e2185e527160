/* SPDX-License-Identifier: Apache-2.0 */
/* Going back: the configuration, or one document, is made again what it was after a revision; a new
 * revision that is checked and written like any other. */
#include <inttypes.h>

#include "admin/admin_int.h"
#include "base/mem.h"
#include "base/trie.h"

static const struct trie_edit own = {.version = 1};

/* A key that has changed since, and what it was. */
struct was {
    struct was *next;
    struct str key, value; /* absent: it was not there */
    bool lost;             /* the history did not keep it */
};

struct rollback {
    struct call *c;
    int64_t to;
    enum kind kind; /* KIND_COUNT: all */
    struct str id, prefix;
    struct trie *by_key; /* struct was */
    struct was *all, **last;
    json_t *kept; /* the documents, which live as long as the changes */
};

/* ---- What is asked for -------------------------------------------------------------------------
 */

static bool refuse(struct rollback *r, const char *why)
{
    reply_error(r->c, 400, "%s", why);
    return false;
}

static bool one_parse(struct rollback *r)
{
    const json_t *kind = json_object_get(r->c->json, "kind"),
                 *id = json_object_get(r->c->json, "id");

    r->kind = KIND_COUNT;
    r->prefix = STR("");
    if (!kind && !id)
        return true;
    if (!json_is_string(kind))
        return refuse(r, "invalid kind: should be the name of a collection, beside an id");
    r->kind = kind_by_collection(str_of(json_string_value(kind)));
    if (r->kind == KIND_COUNT) {
        reply_error(r->c, 404, "Unsupported resource type: %s", json_string_value(kind));
        return false;
    }
    r->id = id_of(r->c->a, id);
    if (r->id.n == 0)
        return refuse(r, "invalid id: should be that of a document");
    r->prefix = document_key(r->c->a, r->kind, r->id);
    return true;
}

static bool body_parse(struct rollback *r)
{
    struct call *c = r->c;
    const json_t *revision = json_object_get(c->json, "revision");
    const char *name;
    json_t *value;

    if (!json_is_object(c->json))
        return refuse(r, "missing revision");
    json_object_foreach(c->json, name, value)
    {
        if (strcmp(name, "revision") != 0 && strcmp(name, "kind") != 0 && strcmp(name, "id") != 0) {
            reply_error(c, 400, "additional properties forbidden, found %s", name);
            return false;
        }
    }
    if (!json_is_integer(revision) || json_integer_value(revision) < 0)
        return refuse(r, "invalid revision: should be a number from 0 on");
    r->to = json_integer_value(revision);
    return one_parse(r);
}

/* The history must reach back so far. */
static bool range_check(struct rollback *r)
{
    struct store *store = keeper_store(r->c->keeper);
    struct str err = STR_NONE;
    int64_t least, newest = store->ops->revision(store);

    if (!store->ops->past_floor) {
        reply_error(r->c, 400, "the store %s keeps no history", store->ops->name);
        return false;
    }
    if (store->ops->past_floor(store, &least, &err) != STORE_OK) {
        reply_store_failed(r->c, "read", STR("the history"), err);
        return false;
    }
    if (r->to >= least && r->to <= newest)
        return true;
    reply_error(r->c, 400,
                "revision %" PRId64 " cannot be gone back to: the history has what was from "
                "revision %" PRId64 " to %" PRId64,
                r->to, least, newest);
    return false;
}

/* ---- What was ----------------------------------------------------------------------------------
 */

/* From the newest change to the oldest: what was before the last one seen counts. */
static bool on_past(void *arg, const struct store_past *past)
{
    struct rollback *r = arg;
    struct arena *a = r->c->a;
    struct str id;
    enum kind kind = document_kind(past->key, &id);

    if (kind == KIND_COUNT || (r->kind < KIND_COUNT && (kind != r->kind || !str_eq(id, r->id))))
        return true;
    struct was *was = trie_get(r->by_key, past->key, TRIE_EXACT);
    if (!was) {
        was = arena_zero(a, sizeof(*was));
        was->key = arena_str(a, past->key);
        trie_set(&r->by_key, &own, was->key, TRIE_EXACT, was);
        *r->last = was;
        r->last = &was->next;
    }
    was->value = past->before.p ? arena_str(a, past->before) : STR_NONE;
    was->lost = past->bare && past->before.p;
    return true;
}

static bool past_read(struct rollback *r)
{
    struct store *store = keeper_store(r->c->keeper);
    struct store_past_query query = {r->prefix, r->to, INT64_MAX};
    struct str err = STR_NONE;

    r->last = &r->all;
    enum store_status status = store->ops->past(store, &query, on_past, r, &err);
    trie_free(r->by_key);
    r->by_key = NULL;
    if (status != STORE_OK)
        reply_store_failed(r->c, "read", STR("the history"), err);
    return status == STORE_OK;
}

/* ---- What is to be changed ---------------------------------------------------------------------
 */

/* False: answered, with the document named. */
static bool document_add(struct rollback *r, const struct was *was, const struct store_item *now)
{
    struct call *c = r->c;
    struct document_secrets secrets = {0};
    struct str id, err = STR_NONE;
    enum kind kind = document_kind(was->key, &id);

    if (!was->value.p)
        return changes_add(c, kind, id, NULL, now, now->modified);
    json_t *value = keeper_decode_secrets(c->keeper, kind, was->value, &secrets);
    if (!value || secrets.locked) {
        json_decref(value);
        reply_error(c, 400, "%.*s: %s", STR_ARG(was->key),
                    value ? "its secrets of then cannot be opened" : "it was no JSON object");
        return false;
    }
    json_array_append_new(r->kept, value);
    if (!builder_check(keeper_builder(c->keeper), kind, id, value, c->a, &err)) {
        reply_error(c, 400, "%.*s: %s%.*s", STR_ARG(was->key),
                    builder_check_by_schema(keeper_builder(c->keeper)) ? "invalid configuration: "
                                                                       : "",
                    STR_ARG(err));
        return false;
    }
    return changes_add(c, kind, id, value, now, now->modified);
}

static bool one_add(struct rollback *r, const struct was *was)
{
    struct store *store = keeper_store(r->c->keeper);
    struct store_item now;
    struct str err = STR_NONE;

    if (was->lost) {
        reply_error(r->c, 400, "%.*s: the document of then was too long for the history",
                    STR_ARG(was->key));
        return false;
    }
    switch (store->ops->get(store, was->key, r->c->a, &now, &err)) {
    case STORE_OK:
        break;
    case STORE_NOT_FOUND:
        now = (struct store_item){.key = was->key};
        break;
    case STORE_CONFLICT:
    case STORE_FAILED:
        reply_store_failed(r->c, "read", was->key, err);
        return false;
    }
    bool same = now.value.p && was->value.p ? str_eq(now.value, was->value)
                                            : !now.value.p == !was->value.p;
    return same || document_add(r, was, &now);
}

static bool changes_collect(struct rollback *r)
{
    for (const struct was *was = r->all; was; was = was->next)
        if (!one_add(r, was))
            return false;
    return true;
}

/* As if a call of its own had asked for the change. */
static bool references_check(struct rollback *r, const struct keeper_change *change)
{
    struct call one = *r->c;

    one.kind = change->kind;
    one.id = change->id;
    one.json = (json_t *)(uintptr_t)change->value;
    one.verb = change->value ? VERB_PUT : VERB_DELETE;
    one.force = false;
    one.parent = STR_NONE;
    if (kinds[change->kind].owner < KIND_COUNT) {
        str_cut(change->id, '/', &one.parent, &one.id);
        one.id = str_from(one.id, (size_t)str_rfind(one.id, '/') + 1);
    }
    return check_references(&one);
}

static bool all_check(struct rollback *r)
{
    struct str err = STR_NONE;
    size_t failed;

    if (!changes_fit(r->c, &failed, &err)) {
        const struct keeper_change *change = &r->c->changes->items[failed];
        reply_error(r->c, 400, "%.*s: %.*s",
                    STR_ARG(document_key(r->c->a, change->kind, change->id)), STR_ARG(err));
        return false;
    }
    for (size_t i = 0; i < r->c->changes->n; i++)
        if (!references_check(r, &r->c->changes->items[i]))
            return false;
    return true;
}

/* ---- The call ----------------------------------------------------------------------------------
 */

static void done_reply(struct rollback *r, json_t *changes)
{
    struct store *store = keeper_store(r->c->keeper);
    int64_t revision = r->c->revision ? r->c->revision : store->ops->revision(store);
    json_t *body = json_pack("{sIsIso}", "revision", (json_int_t)revision, "rolled_back_to",
                             (json_int_t)r->to, "changes", changes);

    if (r->c->dry)
        json_object_set_new(body, "dry_run", json_true());
    reply_json(r->c, 200, body);
}

static void changes_make(struct rollback *r)
{
    struct call *c = r->c;
    struct str err = STR_NONE;
    size_t failed;

    if (c->changes->n > 0 && !all_check(r))
        return;
    json_t *shown = past_show_changes(c, c->changes);
    if (!r->c->dry && c->changes->n > 0) {
        struct str how = arena_printf(c->a, "rollback to %" PRId64, r->to);
        enum store_status status = changes_write(c, how, &failed, &err);
        if (status != STORE_OK) {
            json_decref(shown);
            c->at = failed < c->changes->n ? failed : 0;
            change_refuse(c, status == STORE_NOT_FOUND ? STORE_CONFLICT : status, err);
            return;
        }
    }
    done_reply(r, shown);
}

void rollback_post(struct call *c)
{
    struct rollback r = {.c = c};

    if (!body_parse(&r) || !range_check(&r) || !past_read(&r))
        return;
    r.kept = json_array();
    c->changes = changes_new(c->a, true);
    builder_trial(keeper_builder(c->keeper), true);
    if (changes_collect(&r))
        changes_make(&r);
    /* What was only tried is taken back while its documents are still there. */
    changes_free(c->changes, c->keeper);
    c->changes = NULL;
    json_decref(r.kept);
}
