/* SPDX-License-Identifier: Apache-2.0 */
/* The history in etcd. An entry's key is its time, its revision that of the write; APISIX, which
 * watches its own prefix alone, never hears of it. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "store/document.h"
#include "store/etcd_int.h"
#include "store/etcd_sync.h"
#include "store/etcd_wire.h"

/* Documents of one write that an entry holds: etcd takes 1.5 MiB at once, and they are in it twice
 * more. */
enum { ENTRY_DOCUMENTS_MAX = 400 << 10 };
enum { TRIM_EVERY = 256 };
/* Entries that are read at once. */
enum { ENTRIES_AT_ONCE = 50 };

static int64_t wall_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void etcd_past_init(struct etcd *e)
{
    e->past_prefix = arena_printf(&e->arena, "/eclusa/history%.*s/", STR_ARG(e->prefix));
    e->keep = (struct store_keep){.changes = 10000, .age_ms = INT64_C(90) * 86400 * 1000};
}

void etcd_past_fini(struct etcd *e)
{
    etcd_seen_reader_close(e->seen);
}

void etcd_keep(struct store *store, const struct store_keep *keep)
{
    struct etcd *e = etcd_of(store);

    e->keep = *keep;
    if (e->copy)
        etcd_copy_keep(e->copy, keep);
}

bool etcd_past_is_on(const struct etcd *e)
{
    return e->keep.changes > 0 && !e->past_denied;
}

/* ---- Writing -----------------------------------------------------------------------------------
 */

static json_t *text_json(struct str s)
{
    json_t *v = s.p ? json_stringn(s.p, s.n) : json_null();

    /* Others may have stored anything. */
    return v ? v : json_string("");
}

static bool is_long(const struct store_write *w, const struct store_item *before)
{
    size_t bytes = 0;

    for (size_t i = 0; i < w->n; i++)
        bytes += before[i].value.n + w->changes[i].value.n;
    return bytes > ENTRY_DOCUMENTS_MAX;
}

static json_t *change_json(const struct store_change *change, struct str before, bool bare)
{
    json_t *v = json_pack("{so}", "key", text_json(change->key));

    if (bare)
        json_object_set_new(v, "bare", json_true());
    json_object_set_new(v, "before", text_json(bare && before.p ? STR("") : before));
    json_object_set_new(v, "after", text_json(bare && change->value.p ? STR("") : change->value));
    return v;
}

void etcd_past_add(struct etcd *e, json_t *txn, const struct store_write *w,
                   const struct store_item *before, struct arena *a)
{
    int64_t now = wall_ms();
    json_t *changes = json_array();
    bool bare = is_long(w, before);

    for (size_t i = 0; i < w->n; i++)
        json_array_append_new(changes, change_json(&w->changes[i], before[i].value, bare));
    json_t *entry = json_pack("{sIsososo}", "time", (json_int_t)now, "who", text_json(w->who),
                              "peer", text_json(w->peer), "how", text_json(w->how));
    json_object_set_new(entry, "changes", changes);
    struct str key = arena_printf(a, "%.*s%013" PRId64 "-%08x", STR_ARG(e->past_prefix), now,
                                  (unsigned)random_below(UINT32_MAX));
    etcd_txn_put(txn, key, document_text(a, entry), 0);
    json_decref(entry);
}

/* What goes wrong here is done the next time. */
static void keys_drop(struct etcd *e, struct str from, struct str end)
{
    struct str err;

    json_decref(etcd_ask(e, true, "/v3/kv/deleterange", etcd_delete_request(from, end), &err));
}

static void trim_count(struct etcd *e, struct arena *a)
{
    struct etcd_range range = {.key = e->past_prefix,
                               .end = etcd_prefix_end(a, e->past_prefix),
                               .limit = 1,
                               .keys_only = true};
    struct etcd_items found;
    struct str err;
    json_t *reply = etcd_ask(e, false, "/v3/kv/range", etcd_range_request(&range), &err);
    int64_t excess = etcd_number(reply, "count") - e->keep.changes;

    json_decref(reply);
    if (excess <= 0)
        return;
    range.limit = excess;
    reply = etcd_ask(e, false, "/v3/kv/range", etcd_range_request(&range), &err);
    if (reply && etcd_range_read(reply, a, &found) && found.n > 0)
        keys_drop(e, e->past_prefix, etcd_key_next(a, found.items[found.n - 1].key));
    json_decref(reply);
}

void etcd_past_trim(struct etcd *e)
{
    struct arena a;

    if (!etcd_past_is_on(e) || e->until_trim-- > 0)
        return;
    e->until_trim = TRIM_EVERY;
    arena_init(&a, NULL);
    if (e->keep.age_ms > 0)
        keys_drop(e, e->past_prefix,
                  arena_printf(&a, "%.*s%013" PRId64, STR_ARG(e->past_prefix),
                               wall_ms() - e->keep.age_ms));
    trim_count(e, &a);
    arena_fini(&a);
}

/* ---- Reading: entries --------------------------------------------------------------------------
 */

struct entry {
    int64_t revision;
    struct str key;
    struct str value; /* absent: not read yet */
};

struct walk {
    struct etcd *e;
    const struct store_past_query *q;
    bool (*each)(void *arg, const struct store_past *past);
    void *arg;
    struct arena arena;
    struct entry *entries; /* newest first */
    size_t n, max, at;
    struct etcd_seen_reader *seen; /* NULL: none */
    struct str *err;
};

static bool keys_take(void *arg, struct store_item *items, size_t n)
{
    struct walk *w = arg;

    for (size_t i = 0; i < n; i++) {
        if (items[i].created <= w->q->after || items[i].created > w->q->until)
            continue;
        if (w->n == w->max) {
            w->max = w->max ? w->max * 2 : 256;
            w->entries = mem_resize(w->entries, w->max * sizeof(*w->entries));
        }
        w->entries[w->n++] = (struct entry){.revision = items[i].created,
                                            .key = arena_str(&w->arena, items[i].key)};
    }
    return true;
}

static int by_revision(const void *a, const void *b)
{
    const struct entry *one = a, *two = b;

    return (one->revision < two->revision) - (one->revision > two->revision);
}

static bool entries_list(struct walk *w)
{
    struct etcd_pages pages = {.client = w->e->caller,
                               .prefix = w->e->past_prefix,
                               .keys_only = true,
                               .each = keys_take,
                               .arg = w};
    int64_t revision;

    if (!etcd_pages_read(&pages, &revision, w->err))
        return false;
    if (w->n > 0)
        qsort(w->entries, w->n, sizeof(*w->entries), by_revision);
    return true;
}

/* The values of the next ones. What is gone meanwhile becomes an empty entry. */
static bool entries_read(struct walk *w)
{
    size_t n = w->n - w->at < ENTRIES_AT_ONCE ? w->n - w->at : ENTRIES_AT_ONCE;
    json_t *txn = etcd_txn_request();
    bool good = true;

    for (size_t i = 0; i < n; i++)
        etcd_txn_get(txn, w->entries[w->at + i].key, 0);
    json_t *reply = etcd_ask(w->e, false, "/v3/kv/txn", txn, w->err);
    if (!reply)
        return false;
    for (size_t i = 0; i < n && good; i++) {
        struct store_item item;
        good = etcd_txn_read(reply, i, &w->arena, &item);
        w->entries[w->at + i].value = item.value.p ? item.value : STR("");
    }
    json_decref(reply);
    if (!good)
        etcd_garbled(w->err);
    return good;
}

/* ---- Reading: both together --------------------------------------------------------------------
 */

static struct str text_of(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);

    return json_is_string(v) ? str_make(json_string_value(v), json_string_length(v)) : STR_NONE;
}

static void about_read(const json_t *entry, struct store_past *past)
{
    const json_t *time_ms = json_object_get(entry, "time");

    past->who = text_of(entry, "who");
    past->peer = text_of(entry, "peer");
    past->how = text_of(entry, "how");
    if (json_is_integer(time_ms))
        past->time_ms = json_integer_value(time_ms);
}

static bool give(struct walk *w, const struct store_past *past)
{
    return !str_starts(past->key, w->q->prefix) || w->each(w->arg, past);
}

/* The changes as the entry has them, the last one first. */
static bool give_entry(struct walk *w, const json_t *entry, int64_t revision)
{
    const json_t *changes = json_object_get(entry, "changes");

    for (size_t i = json_array_size(changes); i-- > 0;) {
        const json_t *change = json_array_get(changes, i);
        struct store_past past = {.revision = revision,
                                  .key = text_of(change, "key"),
                                  .before = text_of(change, "before"),
                                  .after = text_of(change, "after"),
                                  .bare = json_is_true(json_object_get(change, "bare"))};
        about_read(entry, &past);
        if (past.key.n > 0 && !give(w, &past))
            return false;
    }
    return true;
}

static bool keys_documents(const json_t *entry)
{
    const json_t *first = json_array_get(json_object_get(entry, "changes"), 0);

    return first && !json_is_true(json_object_get(first, "bare"));
}

/* The next entry's text; NULL: *failed, or it is gone. */
static json_t *entry_open(struct walk *w, bool *failed)
{
    struct entry *entry = &w->entries[w->at];

    *failed = !entry->value.p && !entries_read(w);
    return *failed ? NULL : json_loadb(entry->value.p, entry->value.n, 0, NULL);
}

/* Where there is an entry of ours it says who it was; the documents are in it too, unless they are
 * too long: then they are as the watch saw them. */
static enum store_status merge(struct walk *w)
{
    struct store_past seen;
    bool whole, failed = false, go = true;
    bool more = w->seen && etcd_seen_next(w->seen, &seen, &whole);

    while (go && (more || w->at < w->n)) {
        int64_t revision = w->at < w->n ? w->entries[w->at].revision : 0;
        bool ours = w->at < w->n && (!more || revision >= seen.revision);
        json_t *entry = ours ? entry_open(w, &failed) : NULL;
        if (failed)
            return STORE_FAILED;
        bool by_entry = entry && (keys_documents(entry) || !more || seen.revision != revision);
        if (by_entry)
            go = give_entry(w, entry, revision);
        if (!ours)
            revision = seen.revision;
        for (; more && seen.revision == revision;
             more = go && etcd_seen_next(w->seen, &seen, &whole)) {
            if (by_entry)
                continue;
            about_read(entry, &seen);
            if (whole)
                seen.how = STR("found after an interruption");
            go = go && give(w, &seen);
        }
        json_decref(entry);
        w->at += ours;
    }
    return STORE_OK;
}

/* Opens what the watch has seen; false: there is nothing to be read. */
static bool seen_open(struct etcd *e)
{
    struct str err;
    struct arena a;

    if (!atomic_load(&e->filled) || etcd_copy_in_memory(e->copy))
        return false;
    if (e->seen)
        return true;
    arena_init(&a, NULL);
    e->seen = etcd_seen_reader_open(etcd_copy_path(e->copy), &a, &err);
    if (!e->seen)
        log_error("the history of others' changes: %.*s", STR_ARG(err));
    arena_fini(&a);
    return e->seen != NULL;
}

enum store_status etcd_past(struct store *store, const struct store_past_query *q,
                            bool (*each)(void *arg, const struct store_past *past), void *arg,
                            struct str *err)
{
    struct walk w = {.e = etcd_of(store), .q = q, .each = each, .arg = arg, .err = err};
    enum store_status status = STORE_FAILED;

    arena_init(&w.arena, NULL);
    if (seen_open(w.e)) {
        w.seen = w.e->seen;
        etcd_seen_begin(w.seen, q);
    }
    if (w.e->past_denied || entries_list(&w))
        status = merge(&w);
    if (w.seen)
        etcd_seen_end(w.seen);
    free(w.entries);
    arena_fini(&w.arena);
    return status;
}

enum store_status etcd_past_floor(struct store *store, int64_t *revision, struct str *err)
{
    struct etcd *e = etcd_of(store);

    *revision = e->keep.changes > 0 && seen_open(e) ? etcd_seen_floor(e->seen)
                                                    : atomic_load(&e->revision);
    if (*revision >= 0)
        return STORE_OK;
    *err = STR("the local copy cannot be read");
    return STORE_FAILED;
}
