/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store: one SQLite file in WAL mode with synchronous=FULL, so that a commit that
 * returned has been written through to the disk. Beside the documents it keeps the last changes. */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/panic.h"
#include "store/data_dir.h"
#include "store/store.h"

/* The changes that are kept for history and rollback: whichever bound is reached first. */
enum { HISTORY_CHANGES = 10000, HISTORY_BYTES = 64 << 20 };
/* Patience with another process that reads the file (a backup), milliseconds. */
enum { BUSY_MS = 5000 };

/* Step n brings a file of version n (PRAGMA user_version) to n + 1. Never change one that was
 * released. `created` as the row's own number keeps each key's age and the order of lists in one.
 */
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
};
enum { VERSION = sizeof(migrations) / sizeof(migrations[0]) };

enum sql {
    SQL_BEGIN,
    SQL_READ,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_GET,
    SQL_FIND,
    SQL_LIST,
    SQL_AT,
    SQL_INSERT,
    SQL_UPDATE,
    SQL_DELETE,
    SQL_CHANGE,
    SQL_TRIM,
    SQL_COUNT,
};

static const char *const sql_text[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_READ] = "BEGIN DEFERRED",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_GET] = "SELECT key, value, created, modified FROM document WHERE key = ?1",
    [SQL_FIND] = "SELECT created, modified FROM document WHERE key = ?1",
    /* Only numbers are sorted here: the index on key has them, the values stay where they are. */
    [SQL_LIST] = "SELECT created FROM document WHERE key >= ?1 AND (?2 IS NULL OR key < ?2)"
                 " ORDER BY created",
    [SQL_AT] = "SELECT key, value, created, modified FROM document WHERE created = ?1",
    [SQL_INSERT] = "INSERT INTO document (created, key, modified, value) VALUES (?1, ?2, ?1, ?3)",
    [SQL_UPDATE] = "UPDATE document SET modified = ?2, value = ?3 WHERE created = ?1",
    [SQL_DELETE] = "DELETE FROM document WHERE created = ?1",
    [SQL_CHANGE] = "INSERT INTO change (revision, time, bytes, key, value)"
                   " VALUES (?1, ?2, ?3, ?4, ?5)",
    [SQL_TRIM] = "DELETE FROM change WHERE revision = (SELECT min(revision) FROM change)"
                 " RETURNING bytes",
};

struct sqlite {
    struct store store;
    sqlite3 *db;
    sqlite3_stmt *stmt[SQL_COUNT];
    int64_t revision;                       /* last one given out */
    int64_t history_changes, history_bytes; /* in table change */
    int lock;                               /* data_dir/lock, held by flock */
    bool listing;                           /* inside sqlite_list: no other transaction can begin */
    char message[512];
};

static struct sqlite *sqlite_of(struct store *s)
{
    return CONTAINER(s, struct sqlite, store);
}

/* ---- Statements --------------------------------------------------------------------------------
 */

static void bind_str(sqlite3_stmt *st, int at, struct str s)
{
    /* The bytes outlive the step: every caller steps and resets before it returns. */
    sqlite3_bind_text64(st, at, s.p ? s.p : "", s.n, SQLITE_STATIC, SQLITE_UTF8);
}

static struct str column_str(sqlite3_stmt *st, int at)
{
    const unsigned char *p = sqlite3_column_text(st, at);

    return str_make((const char *)p, (size_t)sqlite3_column_bytes(st, at));
}

static struct store_item column_item(sqlite3_stmt *st)
{
    return (struct store_item){
        .key = column_str(st, 0),
        .value = column_str(st, 1),
        .created = sqlite3_column_int64(st, 2),
        .modified = sqlite3_column_int64(st, 3),
    };
}

/* Runs a statement that gives no rows that anyone reads. */
static bool run(struct sqlite *s, enum sql which)
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

static enum store_status failed(struct sqlite *s, const char *doing, struct str *err)
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

    bind_str(st, 1, key);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        *out = column_item(st);
        out->key = arena_str(a, out->key);
        out->value = arena_str(a, out->value);
    } else {
        status = rc == SQLITE_DONE ? STORE_NOT_FOUND : failed(s, "read", err);
    }
    sqlite3_reset(st);
    return status;
}

struct rows {
    int64_t *created;
    size_t n, cap;
};

/* The first string behind all that start with prefix; absent: there is none. */
static struct str prefix_end(struct arena *a, struct str prefix)
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

static bool rows_find(struct sqlite *s, struct str prefix, struct rows *rows)
{
    sqlite3_stmt *st = s->stmt[SQL_LIST];
    struct arena a;
    int rc;

    arena_init(&a, NULL);
    struct str end = prefix_end(&a, prefix);
    bind_str(st, 1, prefix);
    if (end.p)
        bind_str(st, 2, end);
    else
        sqlite3_bind_null(st, 2);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        if (rows->n == rows->cap) {
            rows->cap = rows->cap ? rows->cap * 2 : 64;
            rows->created = mem_resize(rows->created, rows->cap * sizeof(*rows->created));
        }
        rows->created[rows->n++] = sqlite3_column_int64(st, 0);
    }
    sqlite3_reset(st);
    arena_fini(&a);
    return rc == SQLITE_DONE;
}

static enum store_status sqlite_list(struct store *store, struct str prefix,
                                     bool (*each)(void *arg, const struct store_item *item),
                                     void *arg, struct str *err)
{
    struct sqlite *s = sqlite_of(store);
    sqlite3_stmt *st = s->stmt[SQL_AT];
    struct rows rows = {0};
    bool go = true;
    enum store_status status = STORE_OK;

    /* One transaction over all rows: else SQLite locks and unlocks the file for each. */
    ASSERT(!s->listing);
    s->listing = true;
    if (!run(s, SQL_READ) || !rows_find(s, prefix, &rows))
        status = failed(s, "read", err);
    for (size_t i = 0; i < rows.n && go && status == STORE_OK; i++) {
        sqlite3_bind_int64(st, 1, rows.created[i]);
        int rc = sqlite3_step(st);
        if (rc == SQLITE_ROW) {
            struct store_item item = column_item(st);
            go = each(arg, &item);
        } else if (rc != SQLITE_DONE) {
            status = failed(s, "read", err);
        }
        sqlite3_reset(st);
    }
    if (!sqlite3_get_autocommit(s->db))
        run(s, SQL_COMMIT);
    s->listing = false;
    free(rows.created);
    return status;
}

/* ---- Writing -----------------------------------------------------------------------------------
 */

static int64_t wall_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool history_measure(struct sqlite *s)
{
    sqlite3_stmt *st;
    bool ok = false;

    if (sqlite3_prepare_v2(s->db, "SELECT count(*), coalesce(sum(bytes), 0) FROM change", -1, &st,
                           NULL) != SQLITE_OK)
        return false;
    if (sqlite3_step(st) == SQLITE_ROW) {
        s->history_changes = sqlite3_column_int64(st, 0);
        s->history_bytes = sqlite3_column_int64(st, 1);
        ok = true;
    }
    sqlite3_finalize(st);
    return ok;
}

/* Adds a change (value absent: a deletion) and drops the oldest ones beyond the bounds. The newest
 * always stays: the store's revision is read from it at start. */
static bool history_add(struct sqlite *s, int64_t revision, struct str key, struct str value)
{
    sqlite3_stmt *st = s->stmt[SQL_CHANGE];
    sqlite3_stmt *trim = s->stmt[SQL_TRIM];
    int64_t bytes = (int64_t)(key.n + value.n);

    sqlite3_bind_int64(st, 1, revision);
    sqlite3_bind_int64(st, 2, wall_ms());
    sqlite3_bind_int64(st, 3, bytes);
    bind_str(st, 4, key);
    if (value.p)
        bind_str(st, 5, value);
    else
        sqlite3_bind_null(st, 5);
    if (!run(s, SQL_CHANGE))
        return false;
    s->history_changes++;
    s->history_bytes += bytes;
    while (s->history_changes > 1 &&
           (s->history_changes > HISTORY_CHANGES || s->history_bytes > HISTORY_BYTES)) {
        if (sqlite3_step(trim) != SQLITE_ROW) {
            sqlite3_reset(trim);
            return false;
        }
        s->history_changes--;
        s->history_bytes -= sqlite3_column_int64(trim, 0);
        if (!run(s, SQL_TRIM))
            return false;
    }
    return true;
}

/* Where the key is: its created revision, 0 when it is not there; -1: failed. */
static int64_t key_find(struct sqlite *s, struct str key, int64_t *modified)
{
    sqlite3_stmt *st = s->stmt[SQL_FIND];
    int64_t created = 0;

    *modified = 0;
    bind_str(st, 1, key);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        created = sqlite3_column_int64(st, 0);
        *modified = sqlite3_column_int64(st, 1);
    } else if (rc != SQLITE_DONE) {
        created = -1;
    }
    sqlite3_reset(st);
    return created;
}

/* Takes back a transaction that did not get through; the reason is in *err already. */
static void give_up(struct sqlite *s)
{
    if (!sqlite3_get_autocommit(s->db))
        run(s, SQL_ROLLBACK);
    history_measure(s);
}

static bool document_write(struct sqlite *s, int64_t created, int64_t revision, struct str key,
                           struct str value)
{
    enum sql which = created ? SQL_UPDATE : SQL_INSERT;
    sqlite3_stmt *st = s->stmt[which];

    sqlite3_bind_int64(st, 1, created ? created : revision);
    if (created)
        sqlite3_bind_int64(st, 2, revision);
    else
        bind_str(st, 2, key);
    bind_str(st, 3, value);
    return run(s, which);
}

static enum store_status sqlite_put(struct store *store, struct str key, struct str value,
                                    int64_t expect, struct store_item *out, struct str *err)
{
    struct sqlite *s = sqlite_of(store);
    int64_t revision = s->revision + 1, modified, created;

    if (!run(s, SQL_BEGIN))
        return failed(s, "write", err);
    created = key_find(s, key, &modified);
    if (created >= 0 && expect >= 0 && expect != modified) {
        run(s, SQL_ROLLBACK);
        return STORE_CONFLICT;
    }
    if (created < 0 || !document_write(s, created, revision, key, value) ||
        !history_add(s, revision, key, value) || !run(s, SQL_COMMIT)) {
        enum store_status status = failed(s, "write", err);
        give_up(s);
        return status;
    }
    s->revision = revision;
    if (out)
        *out = (struct store_item){key, value, created ? created : revision, revision};
    return STORE_OK;
}

static enum store_status sqlite_del(struct store *store, struct str key, int64_t *revision_out,
                                    struct str *err)
{
    struct sqlite *s = sqlite_of(store);
    int64_t revision = s->revision + 1, modified, created;

    if (!run(s, SQL_BEGIN))
        return failed(s, "write", err);
    created = key_find(s, key, &modified);
    if (created == 0) {
        run(s, SQL_ROLLBACK);
        return STORE_NOT_FOUND;
    }
    sqlite3_bind_int64(s->stmt[SQL_DELETE], 1, created);
    if (created < 0 || !run(s, SQL_DELETE) || !history_add(s, revision, key, STR_NONE) ||
        !run(s, SQL_COMMIT)) {
        enum store_status status = failed(s, "write", err);
        give_up(s);
        return status;
    }
    s->revision = revision;
    if (revision_out)
        *revision_out = revision;
    return STORE_OK;
}

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
    .put = sqlite_put,
    .del = sqlite_del,
    .next_revision = sqlite_next_revision,
    .revision = sqlite_revision,
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

static bool database_open(struct sqlite *s, const char *path, struct arena *a, struct str *err)
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
    if (!migrate(s, path, a, err))
        return false;
    for (int i = 0; i < SQL_COUNT; i++) {
        if (sqlite3_prepare_v3(s->db, sql_text[i], -1, SQLITE_PREPARE_PERSISTENT, &s->stmt[i],
                               NULL) != SQLITE_OK) {
            *err = arena_printf(a, "%s cannot be used: %s", path, sqlite3_errmsg(s->db));
            return false;
        }
    }
    s->revision = number_of(s, "SELECT coalesce(max(revision), 0) FROM change");
    if (s->revision < 0 || !history_measure(s)) {
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
    struct str path = arena_printf(a, "%.*s/eclusa.db", STR_ARG(data_dir));
    if (!data_dir_file(path.p, a, err) || !database_open(s, path.p, a, err)) {
        sqlite_close(&s->store);
        return NULL;
    }
    return &s->store;
}
