/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the embedded store share. */
#ifndef STORE_SQLITE_INT_H
#define STORE_SQLITE_INT_H

#include <sqlite3.h>

#include "base/list.h"
#include "store/store.h"

enum sql {
    SQL_BEGIN,
    SQL_READ,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_GET,
    SQL_LIST,
    SQL_KEYS,
    SQL_BY_KEY,
    SQL_AT,
    SQL_INSERT,
    SQL_UPDATE,
    SQL_DELETE,
    SQL_CHANGE,
    SQL_OLDEST,
    SQL_TOO_OLD,
    SQL_TRIM,
    SQL_PAST,
    SQL_SOONEST,
    SQL_EXPIRED,
    SQL_COUNT,
};

struct sqlite {
    struct store store;
    sqlite3 *db;
    sqlite3_stmt *stmt[SQL_COUNT];
    int64_t revision; /* last one given out */
    struct store_keep keep;
    int64_t past_changes, past_bytes; /* in table change */
    int64_t past_first, past_oldest;  /* number and time of its first row; INT64_MAX: it is empty */
    int64_t soonest;                  /* see store_ops.next_expiry */
    int lock;                         /* data_dir/lock, held by flock */
    bool listing;                     /* inside a list: no other transaction can begin */
    char message[512];
};

static inline struct sqlite *sqlite_of(struct store *s)
{
    return CONTAINER(s, struct sqlite, store);
}

/* ---- sqlite.c: statements ----
 */

/* The bytes must outlive the step: whoever binds steps and resets before it returns. */
void sqlite_bind(sqlite3_stmt *st, int at, struct str s);
/* Absent: NULL. */
void sqlite_bind_maybe(sqlite3_stmt *st, int at, struct str s);
/* Until the next step; NULL: absent. */
struct str sqlite_column(sqlite3_stmt *st, int at);
/* Runs a statement that gives no rows that anyone reads. */
bool sqlite_run(struct sqlite *s, enum sql which);
/* STORE_FAILED, with SQLite's reason in *err. */
enum store_status sqlite_failed(struct sqlite *s, const char *doing, struct str *err);
/* The first string behind all that start with prefix; absent: there is none. */
struct str sqlite_prefix_end(struct arena *a, struct str prefix);

/* ---- sqlite_write.c ----
 */

enum store_status sqlite_write(struct store *store, struct store_write *w, struct str *err);
int64_t sqlite_next_expiry(struct store *store);
enum store_status sqlite_expired(struct store *store, int64_t now_ms,
                                 bool (*each)(void *arg, const struct store_item *item), void *arg,
                                 struct str *err);

/* ---- sqlite_past.c: the history ----
 */

/* Measures what is there. */
bool sqlite_past_open(struct sqlite *s);
void sqlite_keep(struct store *store, const struct store_keep *keep);
/* Adds change i of a write, inside its transaction. */
bool sqlite_past_add(struct sqlite *s, const struct store_write *w, size_t i, struct str before,
                     int64_t now_ms);
/* Drops the oldest revisions that are beyond the bounds, inside a transaction. */
bool sqlite_past_trim(struct sqlite *s, int64_t now_ms);
enum store_status sqlite_past(struct store *store, const struct store_past_query *q,
                              bool (*each)(void *arg, const struct store_past *past), void *arg,
                              struct str *err);
enum store_status sqlite_past_floor(struct store *store, int64_t *revision, struct str *err);

#endif
