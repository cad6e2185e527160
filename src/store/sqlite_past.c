/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's history: the last changes with what was before and after, in the transaction
 * of the write that makes them. */
#include <time.h>

#include "base/panic.h"
#include "store/sqlite_int.h"

/* A change's number is its revision, and its place in the write: so many fit into one. */
enum { PLACE_BITS = 20 };
_Static_assert(STORE_CHANGES_MAX < 1 << PLACE_BITS, "a write's changes have numbers");
/* Whatever was configured, the history takes no more than this. */
enum { BYTES_MAX = 128 << 20 };

static int64_t number_first(int64_t revision)
{
    return revision << PLACE_BITS;
}

static int64_t number_last(int64_t revision)
{
    return revision < INT64_MAX >> PLACE_BITS ? number_first(revision + 1) - 1 : INT64_MAX;
}

/* Number and time of the first row; false: there is none. *mark: it is no change. */
static bool oldest(struct sqlite *s, int64_t *n, int64_t *time_ms, bool *mark)
{
    sqlite3_stmt *st = s->stmt[SQL_OLDEST];
    bool found = sqlite3_step(st) == SQLITE_ROW;

    if (found) {
        *n = sqlite3_column_int64(st, 0);
        *time_ms = sqlite3_column_int64(st, 1);
        *mark = sqlite_column(st, 2).n == 0;
    }
    sqlite3_reset(st);
    return found;
}

static void oldest_measure(struct sqlite *s)
{
    bool mark;

    if (!oldest(s, &s->past_first, &s->past_oldest, &mark))
        s->past_first = s->past_oldest = INT64_MAX;
}

bool sqlite_past_open(struct sqlite *s)
{
    sqlite3_stmt *st;
    bool ok = false;

    if (sqlite3_prepare_v2(s->db, "SELECT count(*), coalesce(sum(bytes), 0) FROM change", -1, &st,
                           NULL) != SQLITE_OK)
        return false;
    if (sqlite3_step(st) == SQLITE_ROW) {
        s->past_changes = sqlite3_column_int64(st, 0);
        s->past_bytes = sqlite3_column_int64(st, 1);
        ok = true;
    }
    sqlite3_finalize(st);
    oldest_measure(s);
    return ok;
}

void sqlite_keep(struct store *store, const struct store_keep *keep)
{
    sqlite_of(store)->keep = *keep;
}

bool sqlite_past_add(struct sqlite *s, const struct store_write *w, size_t i, struct str before,
                     int64_t now_ms)
{
    const struct store_change *change = &w->changes[i];
    sqlite3_stmt *st = s->stmt[SQL_CHANGE];
    bool kept = s->keep.changes > 0;
    int64_t bytes = kept ? (int64_t)(change->key.n + before.n + change->value.n) : 0;

    /* The store's revision is read from the newest row at start: it must be there in any case. */
    if (!kept && i > 0)
        return true;
    sqlite3_bind_int64(st, 1, number_first(w->revision) + (int64_t)i);
    sqlite3_bind_int64(st, 2, now_ms);
    sqlite3_bind_int64(st, 3, bytes);
    sqlite_bind_maybe(st, 4, w->who);
    sqlite_bind_maybe(st, 5, w->peer);
    sqlite_bind_maybe(st, 6, w->how);
    sqlite_bind(st, 7, kept ? change->key : STR(""));
    sqlite_bind_maybe(st, 8, kept ? before : STR_NONE);
    sqlite_bind_maybe(st, 9, kept ? change->value : STR_NONE);
    if (!sqlite_run(s, SQL_CHANGE))
        return false;
    s->past_changes++;
    s->past_bytes += bytes;
    if (s->past_first == INT64_MAX) {
        s->past_first = number_first(w->revision) + (int64_t)i;
        s->past_oldest = now_ms;
    }
    return true;
}

static bool is_beyond(const struct sqlite *s, int64_t now_ms)
{
    int64_t changes = s->keep.changes > 0 ? s->keep.changes : 1;

    return s->past_changes > changes || s->past_bytes > BYTES_MAX ||
           (s->keep.age_ms > 0 && s->past_oldest < now_ms - s->keep.age_ms);
}

/* Whole revisions, so that what is left can be told by its first one. The newest stays. */
bool sqlite_past_trim(struct sqlite *s, int64_t now_ms)
{
    sqlite3_stmt *st = s->stmt[SQL_TRIM];

    while (is_beyond(s, now_ms) && s->past_first >> PLACE_BITS <= s->revision) {
        int rc;
        sqlite3_bind_int64(st, 1, number_last(s->past_first >> PLACE_BITS));
        while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
            s->past_changes--;
            s->past_bytes -= sqlite3_column_int64(st, 0);
        }
        sqlite3_reset(st);
        if (rc != SQLITE_DONE)
            return false;
        oldest_measure(s);
    }
    return true;
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

static struct store_past row_read(sqlite3_stmt *st)
{
    return (struct store_past){
        .revision = sqlite3_column_int64(st, 0) >> PLACE_BITS,
        .time_ms = sqlite3_column_int64(st, 1),
        .who = sqlite_column(st, 2),
        .peer = sqlite_column(st, 3),
        .how = sqlite_column(st, 4),
        .key = sqlite_column(st, 5),
        .before = sqlite_column(st, 6),
        .after = sqlite_column(st, 7),
    };
}

/* What is older does not count any more, whether it was dropped yet or not. */
static int64_t age_limit(const struct sqlite *s)
{
    struct timespec t;

    if (s->keep.age_ms == 0)
        return 0;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 - s->keep.age_ms;
}

enum store_status sqlite_past(struct store *store, const struct store_past_query *q,
                              bool (*each)(void *arg, const struct store_past *past), void *arg,
                              struct str *err)
{
    struct sqlite *s = sqlite_of(store);
    sqlite3_stmt *st = s->stmt[SQL_PAST];
    int rc = SQLITE_DONE;
    struct arena a;

    arena_init(&a, NULL);
    sqlite3_bind_int64(st, 1, number_last(q->after));
    sqlite3_bind_int64(st, 2, number_last(q->until));
    sqlite3_bind_int64(st, 3, age_limit(s));
    sqlite_bind(st, 4, q->prefix);
    sqlite_bind_maybe(st, 5, sqlite_prefix_end(&a, q->prefix));
    ASSERT(!s->listing);
    s->listing = true;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct store_past past = row_read(st);
        if (!each(arg, &past)) {
            rc = SQLITE_DONE;
            break;
        }
    }
    s->listing = false;
    enum store_status status = rc == SQLITE_DONE ? STORE_OK : sqlite_failed(s, "read", err);
    sqlite3_reset(st);
    arena_fini(&a);
    return status;
}

enum store_status sqlite_past_floor(struct store *store, int64_t *revision, struct str *err)
{
    struct sqlite *s = sqlite_of(store);
    sqlite3_stmt *st = s->stmt[SQL_TOO_OLD];
    int64_t n, time_ms;
    bool mark;

    *revision = s->revision;
    if (s->keep.changes == 0 || !oldest(s, &n, &time_ms, &mark))
        return STORE_OK;
    *revision = (n >> PLACE_BITS) - !mark;
    sqlite3_bind_int64(st, 1, age_limit(s));
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW && sqlite3_column_int64(st, 0) >> PLACE_BITS > *revision)
        *revision = sqlite3_column_int64(st, 0) >> PLACE_BITS;
    sqlite3_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? STORE_OK : sqlite_failed(s, "read", err);
}
