/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's writes: documents, their ends, and the history, in one transaction. */
#include <time.h>

#include "base/panic.h"
#include "store/sqlite_int.h"

static int64_t wall_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A key as it is before the write. */
struct found {
    int64_t seq; /* 0: it is not there */
    int64_t created, modified;
    struct str value; /* absent: it is not there */
};

static bool key_find(struct sqlite *s, struct str key, struct arena *a, struct found *out)
{
    sqlite3_stmt *st = s->stmt[SQL_GET];

    *out = (struct found){0};
    sqlite_bind(st, 1, key);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        *out = (struct found){
            .value = arena_str(a, sqlite_column(st, 1)),
            .created = sqlite3_column_int64(st, 2),
            .modified = sqlite3_column_int64(st, 3),
            .seq = sqlite3_column_int64(st, 4),
        };
    sqlite3_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE;
}

static bool document_put(struct sqlite *s, const struct store_change *change,
                         const struct found *found, int64_t revision, int64_t now)
{
    enum sql which = found->seq ? SQL_UPDATE : SQL_INSERT;
    sqlite3_stmt *st = s->stmt[which];
    int64_t expires = now + change->ttl_s * 1000;

    if (found->seq)
        sqlite3_bind_int64(st, 1, found->seq);
    else
        sqlite_bind(st, 1, change->key);
    sqlite3_bind_int64(st, 2, revision);
    if (change->ttl_s > 0)
        sqlite3_bind_int64(st, 3, expires);
    else
        sqlite3_bind_null(st, 3);
    sqlite_bind(st, 4, change->value);
    if (change->ttl_s > 0 && expires < s->soonest)
        s->soonest = expires;
    return sqlite_run(s, which);
}

static bool document_delete(struct sqlite *s, const struct found *found)
{
    sqlite3_bind_int64(s->stmt[SQL_DELETE], 1, found->seq);
    return sqlite_run(s, SQL_DELETE);
}

static enum store_status change_write(struct sqlite *s, struct store_write *w, size_t i,
                                      int64_t now, struct str *err)
{
    struct store_change *change = &w->changes[i];
    enum store_status status = STORE_OK;
    struct found found;
    struct arena a;

    arena_init(&a, NULL);
    w->failed = i;
    if (!key_find(s, change->key, &a, &found)) {
        status = sqlite_failed(s, "write", err);
    } else if (!change->value.p && !found.seq) {
        status = STORE_NOT_FOUND;
    } else if (change->expect >= 0 && change->expect != found.modified) {
        status = STORE_CONFLICT;
    } else {
        bool ok = change->value.p ? document_put(s, change, &found, w->revision, now)
                                  : document_delete(s, &found);
        change->created = found.seq ? found.created : w->revision;
        if (!ok || !sqlite_past_add(s, w, i, found.value, now))
            status = sqlite_failed(s, "write", err);
    }
    arena_fini(&a);
    return status;
}

/* Takes back a transaction that did not get through; the reason is in *err already. */
static void give_up(struct sqlite *s)
{
    if (!sqlite3_get_autocommit(s->db))
        sqlite_run(s, SQL_ROLLBACK);
    sqlite_past_open(s);
}

enum store_status sqlite_write(struct store *store, struct store_write *w, struct str *err)
{
    struct sqlite *s = sqlite_of(store);
    enum store_status status = STORE_OK;
    int64_t now = wall_ms();

    ASSERT(w->n > 0 && w->n <= STORE_CHANGES_MAX && !s->listing);
    w->revision = s->revision + 1;
    if (!sqlite_run(s, SQL_BEGIN))
        return sqlite_failed(s, "write", err);
    for (size_t i = 0; i < w->n && status == STORE_OK; i++)
        status = change_write(s, w, i, now, err);
    if (status == STORE_OK && (!sqlite_past_trim(s, now) || !sqlite_run(s, SQL_COMMIT)))
        status = sqlite_failed(s, "write", err);
    if (status == STORE_OK)
        s->revision = w->revision;
    else
        give_up(s);
    return status;
}

/* ---- Documents with a ttl ----------------------------------------------------------------------
 */

int64_t sqlite_next_expiry(struct store *store)
{
    return sqlite_of(store)->soonest;
}

enum store_status sqlite_expired(struct store *store, int64_t now_ms,
                                 bool (*each)(void *arg, const struct store_item *item), void *arg,
                                 struct str *err)
{
    struct sqlite *s = sqlite_of(store);
    sqlite3_stmt *st = s->stmt[SQL_EXPIRED], *soonest = s->stmt[SQL_SOONEST];
    bool go = true;
    int rc = SQLITE_DONE;

    sqlite3_bind_int64(st, 1, now_ms);
    while (go && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct store_item item = {.key = sqlite_column(st, 0),
                                  .modified = sqlite3_column_int64(st, 1)};
        go = each(arg, &item);
    }
    sqlite3_reset(st);
    if (go && rc != SQLITE_DONE)
        return sqlite_failed(s, "read", err);
    if (!go) {
        s->soonest = now_ms; /* there may be more */
        return STORE_OK;
    }
    sqlite3_bind_int64(soonest, 1, now_ms);
    if (sqlite3_step(soonest) == SQLITE_ROW)
        s->soonest = sqlite3_column_type(soonest, 0) == SQLITE_NULL
                         ? INT64_MAX
                         : sqlite3_column_int64(soonest, 0);
    sqlite3_reset(soonest);
    return STORE_OK;
}
