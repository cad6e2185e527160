/* SPDX-License-Identifier: Apache-2.0 */
/* The history: which revisions there were, who made them, what they changed. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "admin/admin_int.h"

enum { LIMIT = 20, LIMIT_MAX = 500 };

/* What is asked for, and what was found. */
struct search {
    struct call *c;
    enum kind kind; /* KIND_COUNT: all */
    struct str id;  /* absent: all */
    struct store_past_query query;
    size_t limit;
    bool whole; /* with the documents themselves */
    json_t *list;
    json_t *last;     /* the newest entry of the list, in which more changes may come */
    int64_t revision; /* its */
    bool more;        /* there is another behind the limit */
};

static json_t *time_text(int64_t time_ms)
{
    time_t t = (time_t)(time_ms / 1000);
    char text[40];
    struct tm tm;
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", gmtime_r(&t, &tm));

    snprintf(text + n, sizeof(text) - n, ".%03dZ", (int)(time_ms % 1000));
    return json_string(text);
}

static void set_text(json_t *into, const char *name, struct str text)
{
    if (text.n)
        json_object_set_new(into, name, json_any(text));
}

static json_t *entry_new(const struct store_past *past)
{
    json_t *entry = json_pack("{sIso}", "revision", (json_int_t)past->revision, "time",
                              time_text(past->time_ms));

    set_text(entry, "who", past->who.n ? past->who : STR("outside"));
    set_text(entry, "peer", past->peer);
    set_text(entry, "how", past->how);
    json_object_set_new(entry, "changes", json_array());
    return entry;
}

static bool is_wanted(const struct search *s, struct str key)
{
    struct str id;
    enum kind kind = document_kind(key, &id);

    /* In etcd there may be more than documents: the key that ids are made with, marks of APISIX. */
    return kind < KIND_COUNT && (s->kind == KIND_COUNT || s->kind == kind) &&
           (!s->id.p || str_eq(s->id, id));
}

static json_t *change_show(const struct search *s, const struct store_past *past)
{
    json_t *change;

    if (!past->bare)
        return past_show(s->c, past->key, past->before, past->after, s->whole);
    change = past_show(s->c, past->key, STR_NONE, STR_NONE, false);
    json_object_del(change, "diff");
    json_object_set_new(change, "action",
                        json_string(!past->before.p  ? "create"
                                    : !past->after.p ? "delete"
                                                     : "update"));
    json_object_set_new(change, "not_kept", json_true());
    return change;
}

/* Newest first, also within a revision, where it is turned round. */
static bool search_take(void *arg, const struct store_past *past)
{
    struct search *s = arg;

    if (!is_wanted(s, past->key))
        return true;
    if (!s->last || past->revision != s->revision) {
        if (json_array_size(s->list) == s->limit) {
            s->more = true;
            return false;
        }
        s->last = entry_new(past);
        s->revision = past->revision;
        json_array_append_new(s->list, s->last);
    }
    json_array_insert_new(json_object_get(s->last, "changes"), 0, change_show(s, past));
    return true;
}

/* False: answered. */
static bool search_run(struct search *s)
{
    struct store *store = keeper_store(s->c->keeper);
    struct str err = STR_NONE;

    if (!store->ops->past) {
        reply_error(s->c, 400, "the store %s keeps no history", store->ops->name);
        return false;
    }
    s->list = json_array();
    if (store->ops->past(store, &s->query, search_take, s, &err) == STORE_OK)
        return true;
    json_decref(s->list);
    reply_store_failed(s->c, "read", STR("the history"), err);
    return false;
}

/* ---- The list ----------------------------------------------------------------------------------
 */

static bool number_arg(struct call *c, struct str name, int64_t least, int64_t most, int64_t *out)
{
    struct str text = query_arg(c, name);
    uint64_t n;

    if (!text.p)
        return true;
    if (!str_to_u64(text, (uint64_t)most, &n) || (int64_t)n < least) {
        reply_error(c, 400,
                    "invalid argument %.*s: should be a number from %" PRId64 " to %" PRId64,
                    STR_ARG(name), least, most);
        return false;
    }
    *out = (int64_t)n;
    return true;
}

static bool search_parse(struct search *s)
{
    struct call *c = s->c;
    int64_t limit = LIMIT, before = INT64_MAX;
    struct str kind = query_arg(c, STR("kind"));

    s->id = query_arg(c, STR("id"));
    if (kind.p) {
        s->kind = kind_by_collection(kind);
        if (s->kind == KIND_COUNT) {
            reply_error(c, 404, "Unsupported resource type: %.*s", STR_ARG(kind));
            return false;
        }
        s->query.prefix = document_prefix(c->a, s->kind);
    }
    if (!number_arg(c, STR("limit"), 1, LIMIT_MAX, &limit) ||
        !number_arg(c, STR("since"), 0, INT64_MAX, &s->query.after) ||
        !number_arg(c, STR("before"), 1, INT64_MAX, &before))
        return false;
    s->limit = (size_t)limit;
    s->query.until = before == INT64_MAX ? before : before - 1;
    return true;
}

void history_list(struct call *c)
{
    struct search s = {.c = c, .kind = KIND_COUNT, .query = {.prefix = STR("")}};
    struct store *store = keeper_store(c->keeper);

    if (!search_parse(&s) || !search_run(&s))
        return;
    json_t *body = json_pack("{soso}", "revision", json_integer(store->ops->revision(store)),
                             "list", s.list);
    if (s.more)
        json_object_set_new(body, "before", json_integer(s.revision));
    reply_json(c, 200, body);
}

/* ---- One revision ------------------------------------------------------------------------------
 */

void history_get(struct call *c)
{
    struct search s = {
        .c = c, .kind = KIND_COUNT, .query = {.prefix = STR("")}, .limit = 1, .whole = true};
    uint64_t revision;

    if (!str_to_u64(c->id, INT64_MAX, &revision) || revision == 0) {
        reply_error(c, 400, "invalid revision");
        return;
    }
    s.query.after = (int64_t)revision - 1;
    s.query.until = (int64_t)revision;
    if (!search_run(&s))
        return;
    if (s.last)
        reply_json(c, 200, json_incref(s.last));
    else
        reply_error(c, 404, "revision %" PRIu64 " is not in the history", revision);
    json_decref(s.list);
}
