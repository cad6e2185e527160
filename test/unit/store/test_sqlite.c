/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store: revisions, order, refusals, and that nothing acknowledged is lost when the
 * writer is killed. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/store.h"

/* One directory for each test. */
struct place {
    char dir[64];
    struct arena a;
    struct store *store;
};

static struct store *open_at(struct place *p)
{
    struct str err = STR_NONE;
    struct store *s = store_sqlite_open(str_of(p->dir), &p->a, &err);

    if (!s)
        fail_msg("%.*s", STR_ARG(err));
    return s;
}

static int place_make(void **state)
{
    struct place *p = calloc(1, sizeof(*p));

    snprintf(p->dir, sizeof(p->dir), "/tmp/eclusa-store-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    arena_init(&p->a, NULL);
    p->store = open_at(p);
    *state = p;
    return 0;
}

static int place_drop(void **state)
{
    struct place *p = *state;
    static const char *const names[] = {"eclusa.db", "eclusa.db-wal", "eclusa.db-shm", "lock"};
    char path[128];

    if (p->store)
        p->store->ops->close(p->store);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", p->dir, names[i]);
        unlink(path);
    }
    rmdir(p->dir);
    arena_fini(&p->a);
    free(p);
    return 0;
}

static void reopen(struct place *p)
{
    p->store->ops->close(p->store);
    p->store = open_at(p);
}

static struct store_item put(struct place *p, const char *key, const char *value)
{
    struct store_item item;
    struct str err = STR_NONE;

    assert_int_equal(store_put(p->store, str_of(key), str_of(value), -1, &item, &err), STORE_OK);
    return item;
}

static enum store_status get(struct place *p, const char *key, struct store_item *item)
{
    struct str err = STR_NONE;

    return p->store->ops->get(p->store, str_of(key), &p->a, item, &err);
}

static int64_t del(struct place *p, const char *key)
{
    struct str err = STR_NONE;
    int64_t revision = -1;

    assert_int_equal(store_del(p->store, str_of(key), &revision, &err), STORE_OK);
    return revision;
}

/* A number out of the file itself, over a connection of its own. */
static int64_t ask(struct place *p, const char *query)
{
    char path[128];
    sqlite3 *db;
    sqlite3_stmt *st;

    snprintf(path, sizeof(path), "%s/eclusa.db", p->dir);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, query, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

/* As etcd: one number for the store, a key made again is young again. */
static void test_revisions(void **state)
{
    struct place *p = *state;
    struct store_item item;
    int64_t taken;
    struct str err;

    assert_int_equal(p->store->ops->revision(p->store), 0);
    item = put(p, "/routes/1", "{\"a\":1}");
    assert_int_equal(item.created, 1);
    assert_int_equal(item.modified, 1);
    item = put(p, "/routes/2", "{}");
    assert_int_equal(item.created, 2);
    item = put(p, "/routes/1", "{\"a\":2}");
    assert_int_equal(item.created, 1);
    assert_int_equal(item.modified, 3);
    assert_int_equal(get(p, "/routes/1", &item), STORE_OK);
    assert_string_equal(item.value.p, "{\"a\":2}");
    assert_string_equal(item.key.p, "/routes/1");
    assert_int_equal(item.modified, 3);
    assert_int_equal(del(p, "/routes/1"), 4);
    assert_int_equal(get(p, "/routes/1", &item), STORE_NOT_FOUND);
    assert_int_equal(store_del(p->store, STR("/routes/1"), &taken, &err), STORE_NOT_FOUND);
    assert_int_equal(p->store->ops->revision(p->store), 4);
    item = put(p, "/routes/1", "{}");
    assert_int_equal(item.created, 5);
    assert_int_equal(p->store->ops->next_revision(p->store, &taken, &err), STORE_OK);
    assert_int_equal(taken, 6);
    assert_int_equal(put(p, "/routes/3", "{}").created, 7);
    reopen(p);
    assert_int_equal(p->store->ops->revision(p->store), 7);
    assert_int_equal(get(p, "/routes/1", &item), STORE_OK);
    assert_int_equal(item.created, 5);
    assert_int_equal(del(p, "/routes/3"), 8);
    reopen(p);
    assert_int_equal(p->store->ops->revision(p->store), 8);
}

static void test_expected_revision(void **state)
{
    static const struct {
        const char *key;
        int64_t expect;
        enum store_status status;
    } rows[] = {
        {"/routes/1", 0, STORE_OK},                                    /* 1: must not be there */
        {"/routes/1", 0, STORE_CONFLICT},                              /* it is */
        {"/routes/1", 1, STORE_OK},                                    /* 2 */
        {"/routes/1", 1, STORE_CONFLICT}, {"/routes/1", 2, STORE_OK},  /* 3 */
        {"/routes/1", -1, STORE_OK},                                   /* 4 */
        {"/routes/2", 4, STORE_CONFLICT}, {"/routes/2", -1, STORE_OK}, /* 5 */
    };
    struct place *p = *state;
    struct str err;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(
            store_put(p->store, str_of(rows[i].key), STR("{}"), rows[i].expect, NULL, &err),
            rows[i].status);
    assert_int_equal(p->store->ops->revision(p->store), 5);
    /* A conflict leaves no trace and no open transaction. */
    assert_int_equal(ask(p, "SELECT count(*) FROM change"), 5);
}

struct names {
    char text[256];
    int stop_after;
};

static bool collect(void *arg, const struct store_item *item)
{
    struct names *names = arg;
    size_t n = strlen(names->text);

    snprintf(names->text + n, sizeof(names->text) - n, "%.*s=%.*s@%" PRId64 " ", STR_ARG(item->key),
             STR_ARG(item->value), item->created);
    return --names->stop_after != 0;
}

static void test_list(void **state)
{
    static const struct {
        struct str prefix;
        int stop_after;
        const char *want;
    } rows[] = {
        {{"/routes/", 8}, 0, "/routes/9=e@1 /routes/1=f@3 /routes/\xff=c@5 "},
        {{"/routes/", 8}, 2, "/routes/9=e@1 /routes/1=f@3 "},
        {{"/routes/\xff", 9}, 0, "/routes/\xff=c@5 "},
        {{"/route", 6}, 1, "/routes/9=e@1 "},
        {{"/upstreams/", 11}, 0, "/upstreams/1=b@2 "},
        {{"/services/", 10}, 0, ""},
        {{"\xff\xff", 2}, 0, "\xff\xff!=d@6 "},
        {{"", 0}, 3, "/routes/9=e@1 /upstreams/1=b@2 /routes/1=f@3 "},
    };
    struct place *p = *state;
    struct str err;

    put(p, "/routes/9", "a");
    put(p, "/upstreams/1", "b");
    put(p, "/routes/1", "x");
    put(p, "/routes0", "not a route");
    put(p, "/routes/\xff", "c");
    put(p, "\xff\xff!", "d");
    put(p, "/routes/9", "e");
    put(p, "/routes/1", "f");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct names names = {.stop_after = rows[i].stop_after};
        assert_int_equal(p->store->ops->list(p->store, rows[i].prefix, collect, &names, &err),
                         STORE_OK);
        assert_string_equal(names.text, rows[i].want);
    }
}

struct picking {
    struct names names;
    int64_t asked;
    const char *want; /* of each key asked for: '+' */
};

static bool picking_want(void *arg, struct str key)
{
    struct picking *p = arg;

    assert_true(key.n > 0);
    return p->want[p->asked++] == '+';
}

static bool picking_each(void *arg, const struct store_item *item)
{
    struct picking *p = arg;

    assert_int_equal(p->asked, strlen(p->want)); /* all keys were asked for before */
    return collect(&p->names, item);
}

static void test_pick(void **state)
{
    static const struct {
        const char *asked;
        bool by_key;
        int stop_after;
        const char *want;
    } rows[] = {
        {"---", false, 0, ""},
        {"+++", false, 0, "/routes/9=e@1 /routes/1=f@3 /routes/5=c@4 "},
        {"-++", false, 0, "/routes/1=f@3 /routes/5=c@4 "},
        {"+-+", false, 1, "/routes/9=e@1 "},
        {"", false, 0, "/routes/9=e@1 /routes/1=f@3 /routes/5=c@4 "},
        {"+++", true, 0, "/routes/1=f@3 /routes/5=c@4 /routes/9=e@1 "},
        {"+-+", true, 0, "/routes/1=f@3 /routes/9=e@1 "},
        {"", true, 2, "/routes/1=f@3 /routes/5=c@4 "},
    };
    struct place *p = *state;
    struct str err;

    put(p, "/routes/9", "e");
    put(p, "/upstreams/1", "b");
    put(p, "/routes/1", "x");
    put(p, "/routes/5", "c");
    put(p, "/routes/1", "f");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct picking picking = {.want = rows[i].asked};
        picking.names.stop_after = rows[i].stop_after;
        size_t asked = strlen(rows[i].asked);
        struct store_pick pick = {STR("/routes/"), asked ? picking_want : NULL, picking_each,
                                  &picking, rows[i].by_key};
        assert_int_equal(p->store->ops->pick(p->store, &pick, &err), STORE_OK);
        assert_string_equal(picking.names.text, rows[i].want);
        assert_int_equal(picking.asked, asked);
    }
}

/* What durability rests on, asked of SQLite and the file system. */
static void test_settings(void **state)
{
    struct place *p = *state;
    static const char *const names[] = {"eclusa.db", "eclusa.db-wal", "eclusa.db-shm", "lock"};
    char path[128];
    struct stat st;

    put(p, "/routes/1", "{}");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", p->dir, names[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    assert_int_equal(ask(p, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
    assert_int_equal(ask(p, "PRAGMA user_version"), 2);
}

static void test_locked(void **state)
{
    struct place *p = *state;
    struct str err = STR_NONE;
    char want[160];

    assert_null(store_sqlite_open(str_of(p->dir), &p->a, &err));
    snprintf(want, sizeof(want), "data_dir \"%s\" is in use by another gateway (process %d)",
             p->dir, (int)getpid());
    assert_string_equal(err.p, want);
    /* Closing gives it back. */
    reopen(p);
}

static void refused(struct place *p, const char *dir, const char *part)
{
    struct str err = STR_NONE;

    assert_null(store_sqlite_open(str_of(dir), &p->a, &err));
    if (str_search(err, str_of(part)) < 0)
        fail_msg("\"%.*s\" does not say \"%s\"", STR_ARG(err), part);
}

static void test_refused(void **state)
{
    struct place *p = *state;
    char path[128];
    struct str err;

    refused(p, "", "empty");
    refused(p, "/proc/eclusa", "cannot be made");
    snprintf(path, sizeof(path), "%s/no/such", p->dir);
    refused(p, path, "cannot be made");
    snprintf(path, sizeof(path), "%s/eclusa.db", p->dir);
    refused(p, path, "not writable");

    put(p, "/routes/1", "{}");
    p->store->ops->close(p->store);
    p->store = NULL;
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    refused(p, p->dir, "newer version");

    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0 && write(fd, "this is no database, whatever it is", 35) == 35);
    close(fd);
    refused(p, p->dir, "not a database");
    assert_int_equal(unlink(path), 0);
    p->store = store_sqlite_open(str_of(p->dir), &p->a, &err);
    assert_non_null(p->store);
}

/* A directory that is not there yet is made, readable for its owner alone. */
static void test_makes_directory(void **state)
{
    struct place *p = *state;
    struct place inner;
    struct stat st;

    snprintf(inner.dir, sizeof(inner.dir), "%.40s/data", p->dir);
    arena_init(&inner.a, NULL);
    inner.store = open_at(&inner);
    assert_int_equal(stat(inner.dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    void *dropped = memcpy(malloc(sizeof(inner)), &inner, sizeof(inner));
    place_drop(&dropped);
}

/* The last changes are kept with what they were; the bounds hold; the revision outlives them. */
static void test_history(void **state)
{
    struct place *p = *state;
    size_t size = 4 << 20;
    char *big = malloc(size + 1);

    put(p, "/routes/1", "one");
    put(p, "/routes/1", "two");
    del(p, "/routes/1");
    assert_int_equal(ask(p, "SELECT count(*) FROM change"), 3);
    assert_int_equal(
        ask(p, "SELECT before IS NULL AND after = 'one' FROM change WHERE n >> 20 = 1"), 1);
    assert_int_equal(
        ask(p, "SELECT before = 'one' AND after = 'two' FROM change WHERE n >> 20 = 2"), 1);
    assert_int_equal(
        ask(p, "SELECT before = 'two' AND after IS NULL FROM change WHERE n >> 20 = 3"), 1);
    assert_int_equal(ask(p, "SELECT time > 1600000000000 FROM change WHERE n >> 20 = 3"), 1);
    memset(big, 'x', size);
    big[size] = 0;
    for (int i = 0; i < 20; i++)
        put(p, "/routes/2", big);
    assert_true(ask(p, "SELECT sum(length(coalesce(before, '')) + length(coalesce(after, '')))"
                       " FROM change") <= 128 << 20);
    assert_int_equal(ask(p, "SELECT max(n) >> 20 FROM change"), 23);
    assert_int_equal(ask(p, "SELECT sum(bytes) = sum(length(key) + length(coalesce(before, ''))"
                            " + length(coalesce(after, ''))) FROM change"),
                     1);
    reopen(p);
    for (int i = 0; i < 3; i++)
        put(p, "/routes/2", big);
    assert_int_equal(ask(p, "SELECT count(*) FROM change"), 15);
    free(big);
}

/* A write that fails midway is taken back whole, and the store goes on afterwards. */
static void test_failed_write(void **state)
{
    struct place *p = *state;
    struct store_item item;
    struct str err = STR_NONE;
    size_t size = 1 << 20;
    char *big = malloc(size);
    char path[128];
    sqlite3 *db;

    put(p, "/routes/1", "small");
    memset(big, 'x', size);
    /* The document is written before the change: without that table the second half fails. */
    snprintf(path, sizeof(path), "%s/eclusa.db", p->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "DROP TABLE change", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(store_put(p->store, STR("/routes/1"), str_make(big, size), -1, NULL, &err),
                     STORE_FAILED);
    assert_true(str_starts(err, STR("cannot write the store: ")));
    assert_int_equal(get(p, "/routes/1", &item), STORE_OK);
    assert_string_equal(item.value.p, "small");
    assert_int_equal(p->store->ops->revision(p->store), 1);
    assert_int_equal(sqlite3_exec(db,
                                  "CREATE TABLE change (n INTEGER PRIMARY KEY, time INTEGER,"
                                  " bytes INTEGER, who TEXT, peer TEXT, how TEXT, key TEXT,"
                                  " before TEXT, after TEXT)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(put(p, "/routes/1", "again").modified, 2);
    free(big);
}

/* ---- Killed amid writes ------------------------------------------------------------------------
 */

struct ack {
    int key;
    int64_t n, revision;
};

enum { ROUNDS = 25, KEYS = 7 };

/* Writes until it is killed; tells each write that was acknowledged. */
static void writer(struct place *p, int out, int64_t n)
{
    struct str err;
    struct store *s = store_sqlite_open(str_of(p->dir), &p->a, &err);

    if (!s)
        _exit(1);
    for (;; n++) {
        char key[32], value[64];
        struct store_item item;
        struct ack ack = {.key = (int)(n % KEYS), .n = n};
        snprintf(key, sizeof(key), "/routes/%d", ack.key);
        if (n % 5 == 4) {
            enum store_status status = store_del(s, str_of(key), &ack.revision, &err);
            if (status == STORE_NOT_FOUND)
                continue;
            if (status != STORE_OK)
                _exit(2);
            ack.n = -1;
        } else {
            snprintf(value, sizeof(value), "{\"n\":%" PRId64 "}", n);
            if (store_put(s, str_of(key), str_of(value), -1, &item, &err) != STORE_OK)
                _exit(3);
            ack.revision = item.modified;
        }
        if (write(out, &ack, sizeof(ack)) != sizeof(ack))
            _exit(4);
    }
}

/* Whether the key is as its last acknowledged write left it. */
static bool as_acknowledged(struct place *p, int k, const struct ack *last, struct store_item *item)
{
    char key[32], value[64];

    snprintf(key, sizeof(key), "/routes/%d", k);
    *item = (struct store_item){.modified = 0};
    bool there = get(p, key, item) == STORE_OK;
    if (last->n < 0 || last->revision == 0)
        return !there;
    snprintf(value, sizeof(value), "{\"n\":%" PRId64 "}", last->n);
    return there && str_eq(item->value, str_of(value)) && item->modified == last->revision;
}

/* All keys are as acknowledged but for one write that may have been under way at the end: then its
 * revision is the store's last. That one is taken into `last` for the next round. */
static void verify(struct place *p, struct ack *last, int64_t max_revision)
{
    int64_t revision = p->store->ops->revision(p->store);
    int under_way = 0;

    assert_in_range(revision, max_revision, max_revision + 1);
    for (int k = 0; k < KEYS; k++) {
        struct store_item item;
        if (as_acknowledged(p, k, &last[k], &item))
            continue;
        assert_int_equal(revision, max_revision + 1);
        assert_int_equal(++under_way, 1);
        if (item.modified)
            assert_int_equal(item.modified, revision);
        last[k].revision = revision;
        last[k].n = item.modified ? strtoll(item.value.p + 5, NULL, 10) : -1;
    }
}

static void test_killed(void **state)
{
    struct place *p = *state;
    struct ack last[KEYS] = {{0}}, ack;
    int64_t max_revision = 0, n = 0, total = 0;

    p->store->ops->close(p->store);
    p->store = NULL;
    for (int round = 0; round < ROUNDS; round++) {
        int ends[2], status;
        assert_int_equal(pipe(ends), 0);
        pid_t pid = fork();
        if (pid == 0) {
            close(ends[0]);
            writer(p, ends[1], n);
        }
        close(ends[1]);
        /* Killed at another point of its work each time: after that many acknowledged writes. */
        for (int got = 0; read(ends[0], &ack, sizeof(ack)) == sizeof(ack);) {
            last[ack.key] = ack;
            max_revision = ack.revision;
            n = ack.n > n ? ack.n : n;
            total++;
            if (++got == 1 + round * 3)
                kill(pid, SIGKILL);
        }
        close(ends[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        n++;
        p->store = open_at(p);
        verify(p, last, max_revision);
        max_revision = p->store->ops->revision(p->store);
        p->store->ops->close(p->store);
        p->store = NULL;
    }
    assert_true(total > ROUNDS);
    p->store = open_at(p);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_make, place_drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_revisions),
        TEST(test_expected_revision),
        TEST(test_list),
        TEST(test_pick),
        TEST(test_settings),
        TEST(test_locked),
        TEST(test_refused),
        TEST(test_history),
        TEST(test_makes_directory),
        TEST(test_failed_write),
        TEST(test_killed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
