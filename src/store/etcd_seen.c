/* SPDX-License-Identifier: Apache-2.0 */
/* Changes as the watch brought them, in a table beside the local copy. */
#include "store/etcd_seen.h"

#include <string.h>
#include <time.h>

#include "base/mem.h"

enum { TRIM_EVERY = 128, AGE_EVERY_MS = 600000, BUSY_MS = 2000 };
#define KEEP_CHANGES 10000
#define KEEP_AGE_MS  (INT64_C(90) * 86400 * 1000)

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS seen (n INTEGER PRIMARY KEY, revision INTEGER NOT NULL,"
    " time INTEGER NOT NULL, whole INTEGER NOT NULL, key BLOB NOT NULL, before BLOB, after BLOB);"
    "CREATE INDEX IF NOT EXISTS seen_revision ON seen (revision);"
    "CREATE TABLE IF NOT EXISTS seen_floor (id INTEGER PRIMARY KEY, revision INTEGER NOT NULL);";

/* ---- Statements --------------------------------------------------------------------------------
 */

static void bind(sqlite3_stmt *st, int at, struct str s)
{
    if (s.p)
        sqlite3_bind_blob64(st, at, s.n ? s.p : "", s.n, SQLITE_STATIC);
    else
        sqlite3_bind_null(st, at);
}

static struct str column(sqlite3_stmt *st, int at)
{
    const void *p = sqlite3_column_blob(st, at);

    if (sqlite3_column_type(st, at) == SQLITE_NULL)
        return STR_NONE;
    return str_make(p ? p : "", (size_t)sqlite3_column_bytes(st, at));
}

static bool run(sqlite3_stmt *st)
{
    bool ok = sqlite3_step(st) == SQLITE_DONE;

    sqlite3_reset(st);
    return ok;
}

static bool prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out)
{
    return sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) == SQLITE_OK;
}

/* ---- Writing -----------------------------------------------------------------------------------
 */

/* Only upwards; but an etcd that was rebuilt begins anew. */
static bool floor_set(struct etcd_seen *s, int64_t revision, bool anew)
{
    sqlite3_bind_int64(s->floor, 1, revision);
    sqlite3_bind_int64(s->floor, 2, anew);
    return run(s->floor);
}

bool etcd_seen_open(struct etcd_seen *s, sqlite3 *db, int64_t revision)
{
    *s = (struct etcd_seen){.keep = {.changes = KEEP_CHANGES, .age_ms = KEEP_AGE_MS}};
    if (sqlite3_exec(db, schema, NULL, NULL, NULL) != SQLITE_OK ||
        !prepare(db, "SELECT value FROM item WHERE key = ?1", &s->value) ||
        !prepare(db,
                 "INSERT INTO seen (revision, time, whole, key, before, after)"
                 " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                 &s->add) ||
        !prepare(db,
                 "UPDATE seen_floor SET revision = CASE WHEN ?2 THEN ?1 ELSE max(revision, ?1) END",
                 &s->floor) ||
        !prepare(db,
                 "DELETE FROM seen WHERE n <= (SELECT max(n) FROM seen) - ?1 RETURNING revision",
                 &s->trim) ||
        !prepare(db, "DELETE FROM seen WHERE time < ?1 RETURNING revision", &s->age) ||
        !prepare(db, "DELETE FROM seen", &s->drop))
        return false;
    sqlite3_stmt *first = NULL;
    bool ok = prepare(db, "INSERT OR IGNORE INTO seen_floor VALUES (1, ?1)", &first);
    if (ok) {
        sqlite3_bind_int64(first, 1, revision);
        ok = run(first);
    }
    sqlite3_finalize(first);
    return ok;
}

void etcd_seen_close(struct etcd_seen *s)
{
    sqlite3_finalize(s->value);
    sqlite3_finalize(s->add);
    sqlite3_finalize(s->floor);
    sqlite3_finalize(s->trim);
    sqlite3_finalize(s->age);
    sqlite3_finalize(s->drop);
    s->value = s->add = s->floor = s->trim = s->age = s->drop = NULL;
}

bool etcd_seen_item(struct etcd_seen *s, const struct store_item *item, bool whole)
{
    if (s->skip)
        return true;
    bind(s->value, 1, item->key);
    struct str before = sqlite3_step(s->value) == SQLITE_ROW ? column(s->value, 0) : STR_NONE;
    bool ok = true;

    if (before.p || item->value.p) {
        sqlite3_bind_int64(s->add, 1, item->modified);
        sqlite3_bind_int64(s->add, 2, s->now_ms);
        sqlite3_bind_int64(s->add, 3, whole);
        bind(s->add, 4, item->key);
        bind(s->add, 5, before);
        bind(s->add, 6, item->value);
        ok = run(s->add);
    }
    sqlite3_reset(s->value);
    return ok;
}

/* Steps a deletion; *gone: the newest revision that it took. */
static bool run_deletion(sqlite3_stmt *st, int64_t *gone)
{
    int rc;

    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        int64_t revision = sqlite3_column_int64(st, 0);
        *gone = revision > *gone ? revision : *gone;
    }
    sqlite3_reset(st);
    return rc == SQLITE_DONE;
}

static bool trim(struct etcd_seen *s, int64_t time_ms)
{
    int64_t gone = 0;

    s->until_trim = TRIM_EVERY;
    sqlite3_bind_int64(s->trim, 1, s->keep.changes);
    if (!run_deletion(s->trim, &gone))
        return false;
    /* That one looks at every row. */
    if (s->keep.age_ms > 0 && time_ms - s->aged_ms > AGE_EVERY_MS) {
        sqlite3_bind_int64(s->age, 1, time_ms - s->keep.age_ms);
        if (!run_deletion(s->age, &gone))
            return false;
        s->aged_ms = time_ms;
    }
    return gone == 0 || floor_set(s, gone, false);
}

bool etcd_seen_take(struct etcd_seen *s, const struct store_batch *batch, int64_t revision)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    s->now_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    /* The first state of all, one of an etcd that was rebuilt, or nobody wants it. */
    s->skip = revision == 0 || batch->revision < revision || s->keep.changes == 0;
    return !s->skip || (run(s->drop) && floor_set(s, batch->revision, true));
}

bool etcd_seen_taken(struct etcd_seen *s, const struct store_batch *batch)
{
    if (s->skip)
        return true;
    /* What was missed cannot be told apart any more. */
    if (batch->whole && batch->n > 0 && !floor_set(s, batch->revision, false))
        return false;
    s->until_trim -= (int64_t)batch->n;
    return s->until_trim > 0 || trim(s, s->now_ms);
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

struct etcd_seen_reader {
    sqlite3 *db;
    sqlite3_stmt *floor, *walk;
    struct arena arena; /* of the walk */
};

struct etcd_seen_reader *etcd_seen_reader_open(const char *path, struct arena *a, struct str *err)
{
    struct etcd_seen_reader *r = mem_zero(sizeof(*r));

    arena_init(&r->arena, NULL);
    if (sqlite3_open_v2(path, &r->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) ==
            SQLITE_OK &&
        sqlite3_busy_timeout(r->db, BUSY_MS) == SQLITE_OK &&
        sqlite3_exec(r->db, "PRAGMA query_only = 1", NULL, NULL, NULL) == SQLITE_OK &&
        prepare(r->db, "SELECT revision FROM seen_floor", &r->floor) &&
        prepare(r->db,
                "SELECT revision, time, key, before, after, whole FROM seen"
                " WHERE revision > ?1 AND revision <= ?2 AND key >= ?3 AND (?4 IS NULL OR key < ?4)"
                " ORDER BY revision DESC, n DESC",
                &r->walk))
        return r;
    *err = arena_printf(a, "%s: %s", path, r->db ? sqlite3_errmsg(r->db) : "out of memory");
    etcd_seen_reader_close(r);
    return NULL;
}

void etcd_seen_reader_close(struct etcd_seen_reader *r)
{
    if (!r)
        return;
    sqlite3_finalize(r->floor);
    sqlite3_finalize(r->walk);
    sqlite3_close(r->db);
    arena_fini(&r->arena);
    free(r);
}

int64_t etcd_seen_floor(struct etcd_seen_reader *r)
{
    int64_t revision = sqlite3_step(r->floor) == SQLITE_ROW ? sqlite3_column_int64(r->floor, 0)
                                                            : -1;

    sqlite3_reset(r->floor);
    return revision;
}

/* The first string behind all that start with prefix; absent: there is none. */
static struct str prefix_end(struct arena *a, struct str prefix)
{
    struct str end = prefix.n ? arena_str(a, prefix) : STR_NONE;

    /* Keys are of ASCII characters. */
    if (end.n)
        ((char *)(uintptr_t)end.p)[end.n - 1]++;
    return end;
}

void etcd_seen_begin(struct etcd_seen_reader *r, const struct store_past_query *q)
{
    sqlite3_bind_int64(r->walk, 1, q->after);
    sqlite3_bind_int64(r->walk, 2, q->until);
    bind(r->walk, 3, q->prefix.n ? arena_str(&r->arena, q->prefix) : STR(""));
    bind(r->walk, 4, prefix_end(&r->arena, q->prefix));
}

bool etcd_seen_next(struct etcd_seen_reader *r, struct store_past *out, bool *whole)
{
    sqlite3_stmt *st = r->walk;

    if (sqlite3_step(st) != SQLITE_ROW)
        return false;
    *out = (struct store_past){.revision = sqlite3_column_int64(st, 0),
                               .time_ms = sqlite3_column_int64(st, 1),
                               .key = column(st, 2),
                               .before = column(st, 3),
                               .after = column(st, 4)};
    *whole = sqlite3_column_int(st, 5) != 0;
    return true;
}

void etcd_seen_end(struct etcd_seen_reader *r)
{
    sqlite3_reset(r->walk);
    arena_fini(&r->arena);
    arena_init(&r->arena, NULL);
}
