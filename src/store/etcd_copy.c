/* SPDX-License-Identifier: Apache-2.0 */
/* The local copy as an SQLite file. A commit is not forced to the disk: after a power loss the copy
 * may be some seconds old, never torn. */
#include "store/etcd_copy.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/data_dir.h"
#include "store/etcd_seen.h"
#include "store/etcd_wire.h"

enum { VERSION = 1, BUSY_MS = 2000 };

static const char schema[] =
    "CREATE TABLE item (key BLOB PRIMARY KEY, created INTEGER NOT NULL, modified INTEGER NOT NULL,"
    " value BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE state (id INTEGER PRIMARY KEY, source BLOB NOT NULL, revision INTEGER NOT NULL,"
    " time INTEGER NOT NULL);";

enum sql {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_SET,
    SQL_REMOVE,
    SQL_STATE,
    SQL_LIST,
    SQL_WALK,
    SQL_COUNT
};

static const char *const sql_text[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_SET] = ("INSERT OR REPLACE INTO item (key, created, modified, value)"
                 " VALUES (?1, ?2, ?3, ?4)"),
    [SQL_REMOVE] = "DELETE FROM item WHERE key = ?1",
    [SQL_STATE] = "UPDATE state SET revision = ?1, time = ?2",
    [SQL_LIST] = "SELECT key, created, modified, value FROM item WHERE key >= ?1 AND key < ?2",
    [SQL_WALK] = "SELECT key, created, modified FROM item ORDER BY key",
};

struct etcd_copy {
    sqlite3 *db;
    sqlite3_stmt *stmt[SQL_COUNT];
    char *path;
    atomic_bool in_memory;
    int64_t revision, time;
    struct etcd_seen seen;
};

/* ---- Statements --------------------------------------------------------------------------------
 */

static void bind(sqlite3_stmt *st, int at, struct str s)
{
    /* The bytes outlive the step. */
    sqlite3_bind_blob64(st, at, s.p ? s.p : "", s.n, SQLITE_STATIC);
}

static struct str column(sqlite3_stmt *st, int at)
{
    const void *p = sqlite3_column_blob(st, at);

    return str_make(p ? p : "", (size_t)sqlite3_column_bytes(st, at));
}

static bool run(struct etcd_copy *c, enum sql which)
{
    sqlite3_stmt *st = c->stmt[which];
    bool ok = sqlite3_step(st) == SQLITE_DONE;

    sqlite3_reset(st);
    return ok;
}

static bool prepare(struct etcd_copy *c)
{
    struct store_keep keep = c->seen.keep;

    for (int i = 0; i < SQL_COUNT; i++)
        if (sqlite3_prepare_v3(c->db, sql_text[i], -1, SQLITE_PREPARE_PERSISTENT, &c->stmt[i],
                               NULL) != SQLITE_OK)
            return false;
    if (!etcd_seen_open(&c->seen, c->db, c->revision))
        return false;
    if (c->in_memory)
        c->seen.keep = keep;
    return true;
}

static void forget(struct etcd_copy *c)
{
    etcd_seen_close(&c->seen);
    for (int i = 0; i < SQL_COUNT; i++) {
        sqlite3_finalize(c->stmt[i]);
        c->stmt[i] = NULL;
    }
    sqlite3_close(c->db);
    c->db = NULL;
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

int64_t etcd_copy_revision(const struct etcd_copy *c)
{
    return c->revision;
}

int64_t etcd_copy_time(const struct etcd_copy *c)
{
    return c->time;
}

bool etcd_copy_list(struct etcd_copy *c, struct str prefix,
                    bool (*each)(void *arg, const struct store_item *item), void *arg,
                    struct str *err)
{
    sqlite3_stmt *st = c->stmt[SQL_LIST];
    struct arena a;
    bool go = true;
    int rc = SQLITE_DONE;

    arena_init(&a, NULL);
    bind(st, 1, prefix);
    bind(st, 2, etcd_prefix_end(&a, prefix));
    while (go && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct store_item item = {column(st, 0), column(st, 3), sqlite3_column_int64(st, 1),
                                  sqlite3_column_int64(st, 2)};
        go = each(arg, &item);
    }
    if (go && rc != SQLITE_DONE)
        *err = str_of(sqlite3_errmsg(c->db));
    sqlite3_reset(st);
    arena_fini(&a);
    return !go || rc == SQLITE_DONE;
}

void etcd_copy_keep(struct etcd_copy *c, const struct store_keep *keep)
{
    c->seen.keep = *keep;
}

bool etcd_copy_in_memory(const struct etcd_copy *c)
{
    return c->in_memory;
}

const char *etcd_copy_path(const struct etcd_copy *c)
{
    return c->path;
}

void etcd_copy_walk(struct etcd_copy *c)
{
    sqlite3_reset(c->stmt[SQL_WALK]);
}

bool etcd_copy_next(struct etcd_copy *c, struct store_item *out)
{
    sqlite3_stmt *st = c->stmt[SQL_WALK];

    if (sqlite3_step(st) != SQLITE_ROW)
        return false;
    *out = (struct store_item){.key = column(st, 0),
                               .created = sqlite3_column_int64(st, 1),
                               .modified = sqlite3_column_int64(st, 2)};
    return true;
}

void etcd_copy_walked(struct etcd_copy *c)
{
    sqlite3_reset(c->stmt[SQL_WALK]);
}

/* ---- Writing -----------------------------------------------------------------------------------
 */

static bool item_write(struct etcd_copy *c, const struct store_item *item)
{
    sqlite3_stmt *st = c->stmt[item->value.p ? SQL_SET : SQL_REMOVE];

    bind(st, 1, item->key);
    if (item->value.p) {
        sqlite3_bind_int64(st, 2, item->created);
        sqlite3_bind_int64(st, 3, item->modified);
        bind(st, 4, item->value);
    }
    return run(c, item->value.p ? SQL_SET : SQL_REMOVE);
}

static bool batch_write(struct etcd_copy *c, const struct store_batch *batch, int64_t now)
{
    bool ok = run(c, SQL_BEGIN) && etcd_seen_take(&c->seen, batch, c->revision);

    for (size_t i = 0; i < batch->n && ok; i++)
        ok = etcd_seen_item(&c->seen, &batch->items[i], batch->whole) &&
             item_write(c, &batch->items[i]);
    ok = ok && etcd_seen_taken(&c->seen, batch);
    sqlite3_bind_int64(c->stmt[SQL_STATE], 1, batch->revision);
    sqlite3_bind_int64(c->stmt[SQL_STATE], 2, now);
    ok = ok && run(c, SQL_STATE) && run(c, SQL_COMMIT);
    if (!ok && !sqlite3_get_autocommit(c->db))
        run(c, SQL_ROLLBACK);
    return ok;
}

/* Goes on in memory with what the file has. */
static bool move_to_memory(struct etcd_copy *c)
{
    sqlite3 *memory = NULL;
    bool ok = sqlite3_open_v2(":memory:", &memory, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                              NULL) == SQLITE_OK;
    sqlite3_backup *backup = ok ? sqlite3_backup_init(memory, "main", c->db, "main") : NULL;

    ok = backup && sqlite3_backup_step(backup, -1) == SQLITE_DONE;
    sqlite3_backup_finish(backup);
    if (!ok) {
        sqlite3_close(memory);
        return false;
    }
    forget(c);
    c->db = memory;
    c->in_memory = true;
    return prepare(c);
}

void etcd_copy_apply(struct etcd_copy *c, const struct store_batch *batch)
{
    int64_t now = (int64_t)time(NULL);
    bool ok = batch_write(c, batch, now);

    if (!ok && !c->in_memory) {
        log_error("%s cannot be written: %s. The local copy stays as old as it is, and is kept in "
                  "memory until the next start",
                  c->path, sqlite3_errmsg(c->db));
        ok = move_to_memory(c) && batch_write(c, batch, now);
    }
    if (!ok)
        log_error("%s: %s. Changes that are missed while etcd is away may stay missed", c->path,
                  sqlite3_errmsg(c->db));
    c->revision = batch->revision;
    c->time = now;
}

/* ---- Opening -----------------------------------------------------------------------------------
 */

static int64_t number_of(struct etcd_copy *c, const char *query)
{
    sqlite3_stmt *st = NULL;
    int64_t n = -1;

    if (sqlite3_prepare_v2(c->db, query, -1, &st, NULL) == SQLITE_OK &&
        sqlite3_step(st) == SQLITE_ROW)
        n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}

static bool fill(struct etcd_copy *c, struct str source)
{
    sqlite3_stmt *st = NULL;

    if (sqlite3_exec(c->db, schema, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(c->db, "INSERT INTO state VALUES (1, ?1, 0, 0)", -1, &st, NULL) !=
            SQLITE_OK)
        return false;
    bind(st, 1, source);
    bool ok = sqlite3_step(st) == SQLITE_DONE;
    sqlite3_finalize(st);
    return ok && sqlite3_exec(c->db, "PRAGMA user_version = 1", NULL, NULL, NULL) == SQLITE_OK;
}

static bool is_of(struct etcd_copy *c, struct str source)
{
    sqlite3_stmt *st = NULL;
    bool same = sqlite3_prepare_v2(c->db, "SELECT source FROM state", -1, &st, NULL) == SQLITE_OK &&
                sqlite3_step(st) == SQLITE_ROW && str_eq(column(st, 0), source);

    sqlite3_finalize(st);
    return same;
}

/* Opens what is there, or makes it when the file is empty. False: it is of no use. */
static bool database_open(struct etcd_copy *c, struct str source)
{
    static const char setup[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                                "PRAGMA cache_size = -512; PRAGMA journal_size_limit = 8388608";
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;

    if (sqlite3_open_v2(c->path, &c->db, flags, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(c->db, BUSY_MS) != SQLITE_OK ||
        sqlite3_exec(c->db, setup, NULL, NULL, NULL) != SQLITE_OK)
        return false;
    int64_t version = number_of(c, "PRAGMA user_version");
    if (version != 0 && (version != VERSION || !is_of(c, source)))
        return false;
    if (version == 0 && !fill(c, source))
        return false;
    c->revision = number_of(c, "SELECT revision FROM state");
    c->time = number_of(c, "SELECT time FROM state");
    return c->revision >= 0 && prepare(c);
}

static void files_remove(const char *path, struct arena *a)
{
    unlink(path);
    unlink(arena_printf(a, "%s-wal", path).p);
    unlink(arena_printf(a, "%s-shm", path).p);
}

struct etcd_copy *etcd_copy_open(struct str data_dir, struct str source, struct arena *a,
                                 struct str *err)
{
    struct etcd_copy *c = mem_zero(sizeof(*c));
    struct str path = arena_printf(a, "%.*s/etcd.db", STR_ARG(data_dir));

    c->path = str_dup(path);
    for (int turns = 0; turns < 2; turns++) {
        if (!data_dir_file(c->path, a, err))
            break;
        if (database_open(c, source))
            return c;
        *err = arena_printf(a, "%s: %s", c->path, sqlite3_errmsg(c->db));
        log_notice("%s is no copy of this etcd: a new one is made", c->path);
        forget(c);
        files_remove(c->path, a);
    }
    etcd_copy_close(c);
    return NULL;
}

void etcd_copy_close(struct etcd_copy *c)
{
    if (!c)
        return;
    forget(c);
    free(c->path);
    free(c);
}
