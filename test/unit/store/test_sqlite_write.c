/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's writes of several documents, its history and its bounds, documents with a
 * ttl, and a file of the version before. */
#include <inttypes.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/store.h"

struct place {
    char dir[64];
    struct arena a;
    struct store *store;
};

static void place_open(struct place *p)
{
    struct str err = STR_NONE;

    p->store = store_sqlite_open(str_of(p->dir), &p->a, &err);
    if (!p->store)
        fail_msg("%.*s", STR_ARG(err));
}

static void place_shut(struct place *p)
{
    p->store->ops->close(p->store);
    p->store = NULL;
}

static int place_make(void **state)
{
    struct place *p = calloc(1, sizeof(*p));

    snprintf(p->dir, sizeof(p->dir), "/tmp/eclusa-write-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    arena_init(&p->a, NULL);
    place_open(p);
    *state = p;
    return 0;
}

static int place_drop(void **state)
{
    static const char *const names[] = {"eclusa.db", "eclusa.db-wal", "eclusa.db-shm", "lock"};
    struct place *p = *state;
    char path[128];

    place_shut(p);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", p->dir, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(p->dir), 0);
    arena_fini(&p->a);
    free(p);
    return 0;
}

/* "+key=value" or "-key", separated by blanks. */
static enum store_status write_all(struct place *p, const char *text, struct store_write *out)
{
    struct store_change changes[16];
    struct str rest = str_of(text), one, err;
    struct store_write w = {.changes = changes, .who = STR("me"), .how = STR("TEST")};

    while (rest.n > 0) {
        str_cut(rest, ' ', &one, &rest);
        struct store_change *c = &changes[w.n++];
        *c = (struct store_change){.expect = -1};
        if (!str_cut(str_from(one, 1), '=', &c->key, &c->value))
            c->value = STR_NONE;
    }
    enum store_status status = p->store->ops->write(p->store, &w, &err);
    w.changes = NULL;
    if (out)
        *out = w;
    return status;
}

static bool item_line(void *arg, const struct store_item *item)
{
    char *text = arg;
    size_t n = strlen(text);

    snprintf(text + n, 512 - n, "%.*s=%.*s@%d,%d ", STR_ARG(item->key), STR_ARG(item->value),
             (int)item->created, (int)item->modified);
    return true;
}

static void assert_store(struct place *p, const char *want)
{
    char text[512] = "";
    struct str err;

    assert_int_equal(p->store->ops->list(p->store, STR(""), item_line, text, &err), STORE_OK);
    assert_string_equal(text, want);
}

/* A text that begins with "!3" gets three and stops. */
static bool past_line(void *arg, const struct store_past *past)
{
    char *text = arg;
    size_t n = strlen(text);

    snprintf(text + n, 1024 - n, "%d:%.*s:%.*s>%.*s ", (int)past->revision, STR_ARG(past->key),
             past->before.p ? (int)past->before.n : 1, past->before.p ? past->before.p : "~",
             past->after.p ? (int)past->after.n : 1, past->after.p ? past->after.p : "~");
    return text[0] != '!' || --text[1] != '0';
}

static void assert_past(struct place *p, struct store_past_query q, const char *want)
{
    char text[1024] = "";
    struct str err;

    assert_int_equal(p->store->ops->past(p->store, &q, past_line, text, &err), STORE_OK);
    assert_string_equal(text, want);
}

static const struct store_past_query all = {.prefix = {"", 0}, .until = INT64_MAX};

static int64_t floor_of(struct place *p)
{
    struct str err;
    int64_t revision = -1;

    assert_int_equal(p->store->ops->past_floor(p->store, &revision, &err), STORE_OK);
    return revision;
}

static void test_together(void **state)
{
    struct place *p = *state;
    struct store_write w;

    assert_int_equal(write_all(p, "+/b=1 +/a=1 +/c=1", &w), STORE_OK);
    assert_int_equal(w.revision, 1);
    /* In the order of the write: that is their age. */
    assert_store(p, "/b=1@1,1 /a=1@1,1 /c=1@1,1 ");
    assert_int_equal(write_all(p, "-/b +/d=2 +/a=2", &w), STORE_OK);
    assert_int_equal(w.revision, 2);
    assert_store(p, "/a=2@1,2 /c=1@1,1 /d=2@2,2 ");
    assert_int_equal(write_all(p, "+/b=3", &w), STORE_OK);
    assert_store(p, "/a=2@1,2 /c=1@1,1 /d=2@2,2 /b=3@3,3 ");
    assert_past(p, all, "3:/b:~>3 2:/a:1>2 2:/d:~>2 2:/b:1>~ 1:/c:~>1 1:/a:~>1 1:/b:~>1 ");
    assert_past(p, (struct store_past_query){.prefix = STR("/a"), .until = INT64_MAX},
                "2:/a:1>2 1:/a:~>1 ");
    assert_past(p, (struct store_past_query){.prefix = STR(""), .after = 1, .until = 2},
                "2:/a:1>2 2:/d:~>2 2:/b:1>~ ");
    assert_int_equal(floor_of(p), 0);
}

static void test_all_or_nothing(void **state)
{
    struct place *p = *state;
    struct store_write w;
    struct store_change changes[2] = {{.key = STR("/x"), .value = STR("1"), .expect = -1},
                                      {.key = STR("/a"), .value = STR("2"), .expect = 7}};
    struct str err;

    write_all(p, "+/a=1", NULL);
    assert_int_equal(write_all(p, "+/x=1 +/y=1 -/none +/z=1", &w), STORE_NOT_FOUND);
    assert_int_equal(w.failed, 2);
    w = (struct store_write){.changes = changes, .n = 2};
    assert_int_equal(p->store->ops->write(p->store, &w, &err), STORE_CONFLICT);
    assert_int_equal(w.failed, 1);
    assert_store(p, "/a=1@1,1 ");
    assert_past(p, all, "1:/a:~>1 ");
    assert_int_equal(p->store->ops->revision(p->store), 1);
}

static void test_bounds(void **state)
{
    struct place *p = *state;
    struct store_keep keep = {.changes = 4};
    struct store_write w;

    p->store->ops->keep(p->store, &keep);
    write_all(p, "+/a=1 +/b=1", NULL);
    write_all(p, "+/a=2 +/b=2", NULL);
    assert_int_equal(floor_of(p), 0);
    /* A revision goes as a whole. */
    write_all(p, "+/a=3", NULL);
    assert_past(p, all, "3:/a:2>3 2:/b:1>2 2:/a:1>2 ");
    assert_int_equal(floor_of(p), 1);
    /* The newest stays, however large. */
    write_all(p, "+/a=4 +/b=4 +/c=4 +/d=4 +/e=4", NULL);
    assert_int_equal(floor_of(p), 3);
    place_shut(p);
    place_open(p);
    assert_int_equal(p->store->ops->revision(p->store), 4);
    assert_int_equal(floor_of(p), 3);
    /* Off: nothing is told, and the revisions go on, also over a restart. */
    keep.changes = 0;
    p->store->ops->keep(p->store, &keep);
    assert_int_equal(write_all(p, "+/a=5 +/b=5", &w), STORE_OK);
    assert_past(p, all, "");
    assert_int_equal(floor_of(p), 5);
    place_shut(p);
    place_open(p);
    assert_int_equal(p->store->ops->revision(p->store), 5);
    assert_int_equal(floor_of(p), 5);
    write_all(p, "+/a=6", NULL);
    assert_past(p, all, "6:/a:5>6 ");
    assert_int_equal(floor_of(p), 5);
}

/* `each` may stop, and read single items. */
static void test_stops(void **state)
{
    struct place *p = *state;
    char text[1024] = "!3";
    struct str err;

    for (int i = 0; i < 9; i++)
        write_all(p, "+/a=x", NULL);
    assert_int_equal(p->store->ops->past(p->store, &all, past_line, text, &err), STORE_OK);
    assert_string_equal(text, "!09:/a:x>x 8:/a:x>x 7:/a:x>x ");
    assert_int_equal(write_all(p, "+/a=y", NULL), STORE_OK);
}

/* ---- Documents with a ttl ----------------------------------------------------------------------
 */

static int64_t wall_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void put_ttl(struct place *p, const char *key, int64_t ttl_s)
{
    struct store_change c = {.key = str_of(key), .value = STR("x"), .expect = -1, .ttl_s = ttl_s};
    struct store_write w = {.changes = &c, .n = 1};
    struct str err;

    assert_int_equal(p->store->ops->write(p->store, &w, &err), STORE_OK);
}

static void assert_expired(struct place *p, int64_t at, const char *want)
{
    char text[512] = "";
    struct str err;

    assert_int_equal(p->store->ops->expired(p->store, at, item_line, text, &err), STORE_OK);
    assert_string_equal(text, want);
}

static void test_ttl(void **state)
{
    const int64_t day = 86400000, now = wall_ms();
    struct place *p = *state;
    const struct store_ops *ops = p->store->ops;

    assert_expired(p, now, "");
    assert_int_equal(ops->next_expiry(p->store), INT64_MAX);
    put_ttl(p, "/two", 2 * 86400);
    put_ttl(p, "/one", 86400);
    put_ttl(p, "/stays", 86400);
    put_ttl(p, "/stays", 0);
    assert_in_range(ops->next_expiry(p->store), now + day, now + day + 60000);
    assert_expired(p, now, "");
    assert_expired(p, now + day + 60000, "/one=@0,2 ");
    assert_in_range(ops->next_expiry(p->store), now + 2 * day, now + 2 * day + 60000);
    assert_expired(p, now + 3 * day, "/one=@0,2 /two=@0,1 ");
    assert_int_equal(ops->next_expiry(p->store), INT64_MAX);
    /* After a restart the first question finds them. */
    place_shut(p);
    place_open(p);
    assert_true(p->store->ops->next_expiry(p->store) <= now);
    assert_expired(p, now, "");
    assert_in_range(p->store->ops->next_expiry(p->store), now + day, now + day + 60000);
}

/* ---- A file of version 1 -----------------------------------------------------------------------
 */

static void test_migration(void **state)
{
    static const char old[] =
        "CREATE TABLE document (created INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,"
        " modified INTEGER NOT NULL, value TEXT NOT NULL) STRICT;"
        "CREATE TABLE change (revision INTEGER PRIMARY KEY, time INTEGER NOT NULL,"
        " bytes INTEGER NOT NULL, key TEXT NOT NULL, value TEXT) STRICT;"
        "INSERT INTO document VALUES (2, '/b', 2, 'b'), (3, '/a', 5, 'a');"
        "INSERT INTO change VALUES (2, 1, 1, '/b', 'b'), (5, 1, 1, '/a', 'a'), (6, 1, 1, '/c', "
        "NULL);"
        "PRAGMA user_version = 1";
    struct place *p = *state;
    char path[128];
    sqlite3 *db;

    place_shut(p);
    snprintf(path, sizeof(path), "%s/eclusa.db", p->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, old, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    place_open(p);
    assert_store(p, "/b=b@2,2 /a=a@3,5 ");
    assert_int_equal(p->store->ops->revision(p->store), 6);
    /* What was before those changes is not known: they are none to go back over. */
    assert_past(p, all, "");
    assert_int_equal(floor_of(p), 6);
    write_all(p, "+/b=c", NULL);
    assert_past(p, all, "7:/b:b>c ");
    assert_int_equal(floor_of(p), 6);
    assert_store(p, "/b=c@2,7 /a=a@3,5 ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_make, place_drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_together), TEST(test_all_or_nothing), TEST(test_bounds), TEST(test_stops),
        TEST(test_ttl),      TEST(test_migration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
