/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store: one SQLite file in WAL mode with synchronous=FULL, so that a commit that
 * returned has been written through to the disk. Opening, closing, reading. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/panic.h"
#include "store/data_dir.h"
#include "store/sqlite_int.h"

/* Until sqlite_keep: the history's bounds. */
#define KEEP_CHANGES 10000
#define KEEP_AGE_MS  (INT64_C(90) * 86400 * 1000)
/* Patience with another process that reads the file (a backup), milliseconds. */
enum { BUSY_MS = 5000 };

/* Step n brings a file of version n (PRAGMA user_version) to n + 1. Never change one that was
 * released. */
static const char *const migrations[] = {
    "CREATE TABLE document ("
    " created INTEGER PRIMARY KEY,"
    " key TEXT NOT NULL UNIQUE,"
    " modified INTEGER NOT NULL,"
    " value TEXT NOT NULL) STRICT;"
    "CREATE TABLE change ("
    " revision INTEGER PRIMARY KEY,"
    " time INTEGER NOT NULL,"  /* milliseconds since 1970 */
    " bytes INTEGER NOT NULL," /* of key and value */
    " key TEXT NOT NULL,"
    " value TEXT) STRICT;", /* NULL: the key was deleted */

    /* `seq` as the row's own number keeps each key's age, also of those made at one revision, and
     * the order of lists. */
    "CREATE TABLE document2 ("
    " seq INTEGER PRIMARY KEY,"
    " key TEXT NOT NULL UNIQUE,"
    " created INTEGER NOT NULL,"
    " modified INTEGER NOT NULL,"
    " expires INTEGER," /* milliseconds since 1970; NULL: never */
    " value TEXT NOT NULL) STRICT;"
    "INSERT INTO document2 SELECT created, key, created, modified, NULL, value FROM document;"
    "DROP TABLE document;"
    "ALTER TABLE document2 RENAME TO document;"
    "CREATE INDEX document_expires ON document (expires) WHERE expires IS NOT NULL;"
    /* What was before each change was not kept: they are given up but for the newest revision. */
    "CREATE TABLE change2 ("
    " n INTEGER PRIMARY KEY,"  /* revision << 20 | its place in the write */
    " time INTEGER NOT NULL,"  /* milliseconds since 1970 */
    " bytes INTEGER NOT NULL," /* of key, before and after */
    " who TEXT, peer TEXT, how TEXT,"
    " key TEXT NOT NULL,"               /* empty: no change, but the mark of a revision */
    " before TEXT, after TEXT) STRICT;" /* NULL: not there */
    "INSERT INTO change2 (n, time, bytes, key)"
    " SELECT revision << 20, time, 0, '' FROM change ORDER BY revision DESC LIMIT 1;"
    "DROP TABLE change;"
    "ALTER TABLE change2 RENAME TO change;",
};
enum { VERSION = sizeof(migrations) / sizeof(migrations[0]) };

static const char *const sql_text[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_READ] = "BEGIN DEFERRED",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_GET] = "SELECT key, value, created, modified, seq FROM document WHERE key = ?1",
    /* Only numbers are sorted here: the index on key has them, the values stay where they are. */
    /* Two bounds as they are: with an OR in it SQLite would read the index to its end. */
    [SQL_LIST] = "SELECT seq FROM document WHERE key >= ?1 AND key < ?2 ORDER BY seq",
    [SQL_KEYS] = "SELECT seq, key FROM document WHERE key >= ?1 AND key < ?2 ORDER BY seq",
    [SQL_BY_KEY] = "SELECT seq, key FROM document WHERE key >= ?1 AND key < ?2 ORDER BY key",
    [SQL_AT] = "SELECT key, value, created, modified FROM document WHERE seq = ?1",
    [SQL_INSERT] = "INSERT INTO document (key, created, modified, expires, value)"
                   " VALUES (?1, ?2, ?2, ?3, ?4)",
    [SQL_UPDATE] = "UPDATE document SET modified = ?2, expires = ?3, value = ?4 WHERE seq = ?1",
    [SQL_DELETE] = "DELETE FROM document WHERE seq = ?1",
    [SQL_CHANGE] = "INSERT INTO change (n, time, bytes, who, peer, how, key, before, after)"
                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [SQL_OLDEST] = "SELECT n, time, key FROM change ORDER BY n LIMIT 1",
    [SQL_TOO_OLD] = "SELECT n FROM change WHERE time < ?1 ORDER BY n DESC LIMIT 1",
    [SQL_TRIM] = "DELETE FROM change WHERE n <= ?1 RETURNING bytes",
    [SQL_PAST] = "SELECT n, time, who, peer, how, key, before, after FROM change"
                 " WHERE n > ?1 AND n <= ?2 AND time >= ?3 AND key <> ''"
                 " AND key >= ?4 AND (?5 IS NULL OR key < ?5) ORDER BY n DESC",
    [SQL_SOONEST] = "SELECT min(expires) FROM document WHERE expires > ?1",
    [SQL_EXPIRED] = "SELECT key, modified FROM document WHERE expires <= ?1 ORDER BY expires",
};

/* ---- Statements --------------------------------------------------------------------------------
 */

void sqlite_bind(sqlite3_stmt *st, int at, struct str s)
{
    sqlite3_bind_text64(st, at, s.p ? s.p : "", s.n, SQLITE_STATIC, SQLITE_UTF8);
}

void sqlite_bind_maybe(sqlite3_stmt *st, int at, struct str s)
{
    if (s.p)
        sqlite_bind(st, at, s);
    else
        sqlite3_bind_null(st, at);
}

struct str sqlite_column(sqlite3_stmt *st, int at)
{
    const unsigned char *p = sqlite3_column_text(st, at);

    return str_make((const char *)p, (size_t)sqlite3_column_bytes(st, at));
}

static struct store_item column_item(sqlite3_stmt *st)
{
    return (struct store_item){
        .key = sqlite_column(st, 0),
        .value = sqlite_column(st, 1),
        .created = sqlite3_column_int64(st, 2),
        .modified = sqlite3_column_int64(st, 3),
    };
}

/* Runs a statement that gives no rows that anyone reads. */
bool sqlite_run(struct sqlite *s, enum sql which)
{
    sqlite3_stmt *st = s->stmt[which];
    int rc;

    do
        rc = sqlite3_step(st);
    while (rc == SQLITE_ROW);
    /* reset repeats the step's error code; the message stays in the connection. */
    sqlite3_reset(st);
    return rc == SQLITE_DONE;
}

enum store_status sqlite_failed(struct sqlite *s, const char *doing, struct str *err)
{
    int n = snprintf(s->message, sizeof(s->message), "cannot %s the store: %s", doing,
                     sqlite3_errmsg(s->db));

    *err = str_make(s->message, n < (int)sizeof(s->message) ? (size_t)n : sizeof(s->message) - 1);
    return STORE_FAILED;
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

static enum store_status sqlite_get(struct store *store, struct str key, struct arena *a,
                                    struct store_item *out, struct str *err)
{
    struct sqlite *s = sqlite_of(store);
    sqlite3_stmt *st = s->stmt[SQL_GET];
    enum store_status status = STORE_OK;

    sqlite_bind(st, 1, key);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        *out = column_item(st);
        out->key = arena_str(a, out->key);
        out->value = arena_str(a, out->value);
    } else {
        status = rc == SQLITE_DONE ? STORE_NOT_FOUND : sqlite_failed(s, "read", err);
    }
    sqlite3_reset(st);
    return status;
}

struct rows {
    int64_t *seq;
    size_t n, cap;
};

struct str sqlite_prefix_end(struct arena *a, struct str prefix)
{
    while (prefix.n > 0 && prefix.p[prefix.n - 1] == (char)0xff)
        prefix.n--;
    if (prefix.n == 0)
        return STR_NONE;
    char *p = arena_bytes(a, prefix.n);
    memcpy(p, prefix.p, prefix.n);
    p[prefix.n - 1]++;
    return str_make(p, prefix.n);
}

static bool rows_find(struct sqlite *s, const struct store_pick *p, struct rows *rows)
{
    sqlite3_stmt *st = s->stmt[p->by_key ? SQL_BY_KEY : p->want ? SQL_KEYS : SQL_LIST];
    struct arena a;
    int rc;

    arena_init(&a, NULL);
    struct str end = sqlite_prefix_end(&a, p->prefix);
    sqlite_bind(st, 1, p->prefix);
    if (end.p)
        sqlite_bind(st, 2, end);
    else
        sqlite3_bind_zeroblob(st, 2, 0); /* any blob is behind any text */
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        if (p->want && !p->want(p->arg, sqlite_column(st, 1)))
            continue;
        if (rows->n == rows->cap) {
            rows->cap = rows->cap ? rows->cap * 2 : 64;
            rows->seq = mem_resize(rows->seq, rows->cap * sizeof(*rows->seq));
        }
        rows->seq[rows->n++] = sqlite3_column_int64(st, 0);
    }
    sqlite3_reset(st);
    arena_fini(&a);
    return rc == SQLITE_DONE;
}

static enum store_status sqlite_pick(struct store *store, const struct store_pick *p,
                                     struct str *err)
{
    struct sqlite *s = sqlite_of(store);
    sqlite3_stmt *st = s->stmt[SQL_AT];
    struct rows rows = {0};
    bool go = true;
    enum store_status status = STORE_OK;

    /* One transaction over all rows: else SQLite locks and unlocks the file for each. */
    ASSERT(!s->listing);
    s->listing = true;
    if (!sqlite_run(s, SQL_READ) || !rows_find(s, p, &rows))
        status = sqlite_failed(s, "read", err);
    for (size_t i = 0; i < rows.n && go && status == STORE_OK; i++) {
        sqlite3_bind_int64(st, 1, rows.seq[i]);
        int rc = sqlite3_step(st);
        if (rc == SQLITE_ROW) {
            struct store_item item = column_item(st);
            go = p->each(p->arg, &item);
        } else if (rc != SQLITE_DONE) {
            status = sqlite_failed(s, "read", err);
        }
        sqlite3_reset(st);
    }
    if (!sqlite3_get_autocommit(s->db))
        sqlite_run(s, SQL_COMMIT);
    s->listing = false;
    free(rows.seq);
    return status;
}

static enum store_status sqlite_list(struct store *store, struct str prefix,
                                     bool (*each)(void *arg, const struct store_item *item),
                                     void *arg, struct str *err)
{
    struct store_pick all = {.prefix = prefix, .each = each, .arg = arg};

    return sqlite_pick(store, &all, err);
}

/* ---- Revisions ------------------------------------------------------------------------------
 */

static enum store_status sqlite_next_revision(struct store *store, int64_t *revision,
                                              struct str *err)
{
    (void)err;
    *revision = ++sqlite_of(store)->revision;
    return STORE_OK;
}

static int64_t sqlite_revision(struct store *store)
{
    return sqlite_of(store)->revision;
}

/* ---- Opening and closing -----------------------------------------------------------------------
 */

static void sqlite_close(struct store *store)
{
    struct sqlite *s = sqlite_of(store);

    for (int i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(s->stmt[i]);
    sqlite3_close(s->db);
    if (s->lock >= 0)
        close(s->lock);
    free(s);
}

static const struct store_ops sqlite_ops = {
    .name = "sqlite",
    .close = sqlite_close,
    .get = sqlite_get,
    .list = sqlite_list,
    .pick = sqlite_pick,
    .write = sqlite_write,
    .next_revision = sqlite_next_revision,
    .revision = sqlite_revision,
    .keep = sqlite_keep,
    .past = sqlite_past,
    .past_floor = sqlite_past_floor,
    .next_expiry = sqlite_next_expiry,
    .expired = sqlite_expired,
};

static int64_t number_of(struct sqlite *s, const char *query)
{
    sqlite3_stmt *st;
    int64_t n = -1;

    if (sqlite3_prepare_v2(s->db, query, -1, &st, NULL) == SQLITE_OK &&
        sqlite3_step(st) == SQLITE_ROW)
        n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}

static bool migrate(struct sqlite *s, const char *path, struct arena *a, struct str *err)
{
    int64_t version = number_of(s, "PRAGMA user_version");

    if (version > VERSION) {
        *err = arena_printf(a, "%s was made by a newer version of eclusa (schema %" PRId64 ")",
                            path, version);
        return false;
    }
    for (; version >= 0 && version < VERSION; version++) {
        struct str step = arena_printf(
            a, "BEGIN IMMEDIATE; %s PRAGMA user_version = %" PRId64 "; COMMIT", migrations[version],
            version + 1);
        if (sqlite3_exec(s->db, step.p, NULL, NULL, NULL) != SQLITE_OK)
            version = -2;
    }
    if (version != VERSION)
        *err = arena_printf(a, "%s cannot be used: %s", path, sqlite3_errmsg(s->db));
    return version == VERSION;
}

static bool database_open(struct sqlite *s, const char *path, bool reading, struct arena *a,
                          struct str *err)
{
    /* A small page cache: documents in use are in snapshots, not here. */
    static const char setup[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                                "PRAGMA cache_size = -512; PRAGMA journal_size_limit = 8388608";
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;

    if (sqlite3_open_v2(path, &s->db, flags, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(s->db, BUSY_MS) != SQLITE_OK ||
        sqlite3_exec(s->db, setup, NULL, NULL, NULL) != SQLITE_OK) {
        *err = arena_printf(a, "%s cannot be opened: %s", path,
                            s->db ? sqlite3_errmsg(s->db) : "out of memory");
        return false;
    }
    if (reading && number_of(s, "PRAGMA user_version") != VERSION) {
        *err = arena_printf(a, "%s was made by another version of eclusa", path);
        return false;
    }
    if (!migrate(s, path, a, err))
        return false;
    for (int i = 0; i < SQL_COUNT; i++) {
        if (sqlite3_prepare_v3(s->db, sql_text[i], -1, SQLITE_PREPARE_PERSISTENT, &s->stmt[i],
                               NULL) != SQLITE_OK) {
            *err = arena_printf(a, "%s cannot be used: %s", path, sqlite3_errmsg(s->db));
            return false;
        }
    }
    s->revision = number_of(s, "SELECT coalesce(max(n) >> 20, 0) FROM change");
    if (s->revision < 0 || !sqlite_past_open(s)) {
        *err = arena_printf(a, "%s cannot be read: %s", path, sqlite3_errmsg(s->db));
        return false;
    }
    return true;
}

struct store *store_sqlite_open(struct str data_dir, struct arena *a, struct str *err)
{
    int lock = data_dir_lock(data_dir, a, err);
    if (lock < 0)
        return NULL;
    struct sqlite *s = mem_zero(sizeof(*s));
    s->store.ops = &sqlite_ops;
    s->lock = lock;
    s->keep = (struct store_keep){.changes = KEEP_CHANGES, .age_ms = KEEP_AGE_MS};
    struct str path = arena_printf(a, "%.*s/eclusa.db", STR_ARG(data_dir));
    if (!data_dir_file(path.p, a, err) || !database_open(s, path.p, false, a, err)) {
        sqlite_close(&s->store);
        return NULL;
    }
    return &s->store;
}

struct store *store_sqlite_open_reading(struct str data_dir, struct arena *a, struct str *err)
{
    struct sqlite *s = mem_zero(sizeof(*s));
    struct str path = arena_printf(a, "%.*s/eclusa.db", STR_ARG(data_dir));

    s->store.ops = &sqlite_ops;
    s->lock = -1;
    if (!database_open(s, path.p, true, a, err)) {
        sqlite_close(&s->store);
        return NULL;
    }
    return &s->store;
}
