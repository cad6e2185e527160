/* SPDX-License-Identifier: Apache-2.0 */
/* What the etcd store does without an etcd: requests and replies as etcd 3.4 and 3.5 write them,
 * the local copy, and the memory of our own writes. */
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/echo.h"
#include "store/etcd_copy.h"
#include "store/etcd_grpc.h"
#include "store/etcd_seen.h"
#include "store/etcd_wire.h"

static struct arena arena;

static int arena_begin(void **state)
{
    (void)state;
    arena_init(&arena, NULL);
    return 0;
}

static int arena_end(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static void assert_str(struct str s, const char *want)
{
    char *z = str_dup(s);

    assert_string_equal(z, want);
    free(z);
}

/* ---- Requests ----------------------------------------------------------------------------------
 */

static void assert_json(json_t *v, const char *want)
{
    char *text = json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS);

    assert_string_equal(text, want);
    free(text);
    json_decref(v);
}

static void test_requests(void **state)
{
    struct etcd_range range = {.key = STR("/a/"), .end = STR("/a0")};

    (void)state;
    assert_json(etcd_range_request(&range), "{\"key\":\"L2Ev\",\"range_end\":\"L2Ew\"}");
    range.limit = 10;
    range.revision = INT64_MAX;
    range.keys_only = true;
    assert_json(etcd_range_request(&range),
                "{\"key\":\"L2Ev\",\"keys_only\":true,\"limit\":\"10\",\"range_end\":\"L2Ew\","
                "\"revision\":\"9223372036854775807\"}");
    assert_json(etcd_put_request(STR("k"), STR("")), "{\"key\":\"aw==\",\"value\":\"\"}");
    assert_json(etcd_grant_request(60), "{\"TTL\":\"60\"}");
    assert_json(
        etcd_watch_request(STR("/a/"), STR("/a0"), 5),
        "{\"create_request\":{\"key\":\"L2Ev\",\"range_end\":\"L2Ew\",\"start_revision\":\"5\"}}");
    assert_json(etcd_login_request(STR("u"), STR("p\"")),
                "{\"name\":\"u\",\"password\":\"p\\\"\"}");
}

static void test_ranges_of_keys(void **state)
{
    (void)state;
    assert_str(etcd_prefix_end(&arena, STR("/apisix/")), "/apisix0");
    assert_str(etcd_prefix_end(&arena, STR("a\xff\xff")), "b");
    struct str all = etcd_prefix_end(&arena, STR("\xff"));
    assert_true(all.n == 1 && all.p[0] == 0);
    struct str next = etcd_key_next(&arena, STR("a"));
    assert_true(next.n == 2 && memcmp(next.p, "a", 2) == 0);
}

/* ---- Replies -----------------------------------------------------------------------------------
 */

static json_t *parse(const char *text)
{
    json_t *v = json_loads(text, 0, NULL);

    assert_non_null(v);
    return v;
}

static void test_range_reply(void **state)
{
    struct etcd_items items;
    json_t *v = parse(
        "{\"header\":{\"revision\":\"9\",\"raft_term\":\"2\"},\"kvs\":["
        "{\"key\":\"L2E=\",\"create_revision\":\"3\",\"mod_revision\":\"4\",\"version\":\"2\","
        "\"value\":\"e30=\"},"
        "{\"key\":\"L2I=\",\"create_revision\":\"5\",\"mod_revision\":\"5\"}],"
        "\"more\":true,\"count\":\"7\"}");

    (void)state;
    assert_true(etcd_range_read(v, &arena, &items));
    assert_int_equal(items.n, 2);
    assert_true(items.more);
    assert_int_equal(items.revision, 9);
    assert_str(items.items[0].key, "/a");
    assert_str(items.items[0].value, "{}");
    assert_int_equal(items.items[0].created, 3);
    assert_int_equal(items.items[0].modified, 4);
    assert_non_null(items.items[1].value.p);
    assert_int_equal(items.items[1].value.n, 0);
    json_decref(v);

    v = parse("{\"header\":{\"revision\":\"9\"}}");
    assert_true(etcd_range_read(v, &arena, &items));
    assert_true(items.n == 0 && !items.more);
    json_decref(v);
}

static void test_replies_that_are_none(void **state)
{
    static const char *const texts[] = {
        "{}",
        "{\"header\":{\"revision\":\"-1\"}}",
        "{\"header\":{\"revision\":\"1\"},\"kvs\":[7]}",
        "{\"header\":{\"revision\":\"1\"},\"kvs\":[{\"key\":\"L2E=\"}]}",
        "{\"header\":{\"revision\":\"1\"},\"kvs\":[{\"key\":\"!\",\"mod_revision\":\"1\"}]}",
        "{\"header\":{\"revision\":\"1\"},\"kvs\":[{\"key\":7,\"mod_revision\":\"1\"}]}",
        "{\"header\":{\"revision\":\"99999999999999999999\"}}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct etcd_items items;
        json_t *v = parse(texts[i]);
        assert_false(etcd_range_read(v, &arena, &items));
        json_decref(v);
    }
}

static void test_transaction(void **state)
{
    struct store_item item;
    json_t *txn = etcd_txn_request();

    (void)state;
    etcd_txn_expect(txn, STR("k"), 7);
    etcd_txn_put(txn, STR("k"), STR("v"), 0);
    etcd_txn_put(txn, STR("l"), STR("v"), 12);
    etcd_txn_delete(txn, STR("k"));
    etcd_txn_get(txn, STR("k"), 0);
    etcd_txn_get(txn, STR("k"), 6);
    assert_json(
        txn,
        "{\"compare\":[{\"key\":\"aw==\",\"mod_revision\":\"7\",\"result\":\"EQUAL\",\"target\":"
        "\"MOD\"}],\"success\":[{\"request_put\":{\"key\":\"aw==\",\"value\":\"dg==\"}},"
        "{\"request_put\":{\"key\":\"bA==\",\"lease\":\"12\",\"value\":\"dg==\"}},"
        "{\"request_delete_range\":{\"key\":\"aw==\"}},{\"request_range\":{\"key\":\"aw==\"}},"
        "{\"request_range\":{\"key\":\"aw==\",\"revision\":\"6\"}}]}");
    txn = parse("{\"header\":{\"revision\":\"8\"},\"succeeded\":true,\"responses\":["
                "{\"response_range\":{\"kvs\":[{\"key\":\"aw==\",\"create_revision\":\"3\","
                "\"mod_revision\":\"4\",\"value\":\"dg==\"}]}},{\"response_range\":{}},"
                "{\"response_range\":{\"kvs\":[{}]}},{}]}");
    assert_true(etcd_txn_read(txn, 0, &arena, &item));
    assert_true(item.created == 3 && item.modified == 4);
    assert_str(item.value, "v");
    assert_true(etcd_txn_read(txn, 1, &arena, &item));
    assert_null(item.value.p);
    for (size_t i = 2; i < 5; i++)
        assert_false(etcd_txn_read(txn, i, &arena, &item));
    json_decref(txn);
}

static void test_watch_messages(void **state)
{
    struct etcd_event e;
    json_t *v = parse("{\"result\":{\"header\":{\"revision\":\"6\"},\"created\":true}}");

    (void)state;
    assert_true(etcd_event_read(v, &arena, &e));
    assert_true(e.created && !e.canceled && e.n == 0 && e.revision == 6);
    json_decref(v);

    v = parse("{\"result\":{\"header\":{\"revision\":\"9\"},\"events\":["
              "{\"kv\":{\"key\":\"L2E=\",\"create_revision\":\"2\",\"mod_revision\":\"7\","
              "\"value\":\"e30=\"}},"
              "{\"type\":\"PUT\",\"kv\":{\"key\":\"L2I=\",\"create_revision\":\"8\",\"mod_"
              "revision\":\"8\"}},"
              "{\"type\":\"DELETE\",\"kv\":{\"key\":\"L2E=\",\"mod_revision\":\"9\"}}]}}");
    assert_true(etcd_event_read(v, &arena, &e));
    assert_int_equal(e.n, 3);
    assert_str(e.items[0].value, "{}");
    assert_true(e.items[1].value.p && e.items[1].value.n == 0);
    assert_null(e.items[2].value.p);
    assert_int_equal(e.items[2].modified, 9);
    json_decref(v);

    v = parse("{\"result\":{\"header\":{},\"canceled\":true,\"compact_revision\":\"4\"}}");
    assert_true(etcd_event_read(v, &arena, &e));
    assert_true(e.canceled && e.compacted == 4);
    json_decref(v);

    v = parse("{\"result\":{\"created\":true,\"canceled\":true,\"cancel_reason\":\"no\"}}");
    assert_true(etcd_event_read(v, &arena, &e));
    assert_true(e.canceled && e.compacted == 0);
    assert_str(e.reason, "no");
    json_decref(v);

    v = parse("{\"error\":{\"grpc_code\":14,\"message\":\"gone\"}}");
    assert_false(etcd_event_read(v, &arena, &e));
    assert_str(e.reason, "gone");
    json_decref(v);
}

static void test_errors(void **state)
{
    static const struct {
        const char *text, *want;
        int code;
    } cases[] = {
        {"{\"error\":\"etcdserver: user name is empty\",\"code\":3}",
         "insufficient credentials code: 401", 3},
        {"{\"error\":\"etcdserver: permission denied\",\"code\":7}", "etcd forbidden code: 403",
         ETCD_CODE_DENIED},
        {"{\"error\":\"etcdserver: no leader\",\"code\":14}", "etcdserver: no leader",
         ETCD_CODE_UNAVAILABLE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *v = parse(cases[i].text);
        int code;
        assert_str(etcd_error_read(v, &code), cases[i].want);
        assert_int_equal(code, cases[i].code);
        json_decref(v);
    }
    json_t *v = parse("{\"header\":{}}");
    int code;
    assert_null(etcd_error_read(v, &code).p);
    json_decref(v);
}

/* ---- gRPC --------------------------------------------------------------------------------------
 */

#define BYTES(array) str_make((const char *)(array), sizeof(array))

static void test_grpc_request(void **state)
{
    static const unsigned char plain[] = {0x00, 0x00, 0x00, 0x00, 0x0a, 0x0a, 0x03, 0x2f,
                                          0x61, 0x2f, 0x12, 0x03, 0x2f, 0x61, 0x30};
    static const unsigned char full[] = {
        0x00, 0x00, 0x00, 0x00, 0x19, 0x0a, 0x03, 0x2f, 0x61, 0x2f, 0x12, 0x03, 0x2f, 0x61, 0x30,
        0x18, 0x90, 0x4e, 0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x40, 0x01};
    struct etcd_range range = {.key = STR("/a/"), .end = STR("/a0")};

    (void)state;
    assert_true(str_eq(etcd_grpc_request(&arena, &range), BYTES(plain)));
    range.limit = 10000;
    range.revision = INT64_MAX;
    range.keys_only = true;
    assert_true(str_eq(etcd_grpc_request(&arena, &range), BYTES(full)));
}

/* At revision 300: /a/1, then /b/ without a value and with a lease; more of 9; fields of tomorrow.
 */
static const unsigned char grpc_reply[] = {
    0x00, 0x00, 0x00, 0x00, 0x3e, 0x0a, 0x05, 0x08, 0x01, 0x18, 0xac, 0x02, 0x12, 0x10,
    0x0a, 0x04, 0x2f, 0x61, 0x2f, 0x31, 0x10, 0x03, 0x18, 0x04, 0x20, 0x02, 0x2a, 0x02,
    0x7b, 0x7d, 0x12, 0x0f, 0x0a, 0x03, 0x2f, 0x62, 0x2f, 0x10, 0xff, 0x01, 0x18, 0xac,
    0x02, 0x20, 0x01, 0x30, 0x4d, 0x18, 0x01, 0x20, 0x09, 0x9d, 0x06, 0x74, 0x61, 0x69,
    0x6c, 0x91, 0x06, 0x65, 0x69, 0x67, 0x68, 0x74, 0x20, 0x62, 0x79};

static void test_grpc_reply(void **state)
{
    struct etcd_items items;

    (void)state;
    assert_true(etcd_grpc_read(BYTES(grpc_reply), &arena, &items));
    assert_true(items.n == 2 && items.revision == 300 && items.more);
    assert_str(items.items[0].key, "/a/1");
    assert_str(items.items[0].value, "{}");
    assert_true(items.items[0].created == 3 && items.items[0].modified == 4);
    assert_str(items.items[1].key, "/b/");
    assert_true(items.items[1].value.p && items.items[1].value.n == 0);
    assert_true(items.items[1].created == 255 && items.items[1].modified == 300);
}

static void frame_length(unsigned char *frame, size_t n)
{
    for (size_t i = 0; i < 4; i++)
        frame[1 + i] = (unsigned char)((n - 5) >> (24 - 8 * i));
}

/* Cut off anywhere, or with any byte of it another one: nothing is read beyond its end (the copies
 * are as long as what they hold). What has no revision of its own is no reply. */
static void test_grpc_garbage(void **state)
{
    static const unsigned char faults[] = {0x00, 0x01, 0x07, 0x7f, 0x80, 0xff};
    struct etcd_items items;

    (void)state;
    for (size_t n = 0; n < sizeof(grpc_reply); n++) {
        unsigned char *copy = mem_alloc(n + 1);
        memcpy(copy, grpc_reply, n);
        assert_false(etcd_grpc_read(str_make((char *)copy, n), &arena, &items));
        if (n >= 5) {
            frame_length(copy, n);
            if (n < 5 + 7) /* within the header */
                assert_false(etcd_grpc_read(str_make((char *)copy, n), &arena, &items));
            else if (etcd_grpc_read(str_make((char *)copy, n), &arena, &items))
                assert_true(items.n <= 2);
        }
        free(copy);
    }
    for (size_t i = 0; i < sizeof(grpc_reply); i++)
        for (size_t k = 0; k < sizeof(faults); k++) {
            unsigned char *copy = mem_alloc(sizeof(grpc_reply));
            memcpy(copy, grpc_reply, sizeof(grpc_reply));
            copy[i] = faults[k];
            if (etcd_grpc_read(str_make((char *)copy, sizeof(grpc_reply)), &arena, &items))
                assert_true(items.n <= 2 && items.revision > 0);
            else
                assert_true(items.n <= 2);
            free(copy);
        }
}

/* ---- The local copy ----------------------------------------------------------------------------
 */

static char folder[] = "/tmp/test_etcd.XXXXXX";

static bool list_into(void *arg, const struct store_item *item)
{
    char *text = arg;
    size_t n = strlen(text);

    snprintf(text + n, 256 - n, "%.*s=%.*s@%d,%d ", STR_ARG(item->key), STR_ARG(item->value),
             (int)item->created, (int)item->modified);
    return true;
}

static void assert_copy(struct etcd_copy *c, const char *prefix, const char *want)
{
    char text[256] = "";
    struct str err = STR_NONE;

    assert_true(etcd_copy_list(c, str_of(prefix), list_into, text, &err));
    assert_string_equal(text, want);
}

static struct etcd_copy *copy_open(const char *source)
{
    struct str err = STR_NONE;
    struct etcd_copy *c = etcd_copy_open(str_of(folder), str_of(source), &arena, &err);

    if (!c)
        fail_msg("%.*s", STR_ARG(err));
    return c;
}

static void apply(struct etcd_copy *c, int64_t revision, const struct store_item *items, size_t n)
{
    struct store_batch *b = store_batch_new();

    for (size_t i = 0; i < n; i++)
        store_batch_add(b, &items[i]);
    b->revision = revision;
    etcd_copy_apply(c, b);
    store_batch_free(b);
}

static const struct store_item first[] = {
    {STR("/routes/2"), STR("{}"), 3, 3},
    {STR("/routes/1"), STR("{1}"), 2, 4},
    {STR("/routes\xff"), STR("x"), 5, 5},
    {STR("/upstreams/1"), STR(""), 6, 6},
};

static void test_copy(void **state)
{
    struct etcd_copy *c = copy_open("a");
    struct store_item item;
    struct stat st;
    char path[64];

    (void)state;
    assert_int_equal(etcd_copy_revision(c), 0);
    apply(c, 6, first, 4);
    assert_copy(c, "/routes/", "/routes/1={1}@2,4 /routes/2={}@3,3 ");
    assert_copy(c, "/upstreams/", "/upstreams/1=@6,6 ");
    etcd_copy_walk(c);
    for (const char *const *key =
             (const char *const[]){"/routes/1", "/routes/2", "/routes\xff", "/upstreams/1", NULL};
         *key; key++) {
        assert_true(etcd_copy_next(c, &item));
        assert_str(item.key, *key);
    }
    assert_false(etcd_copy_next(c, &item));
    etcd_copy_walked(c);
    apply(c, 8,
          (struct store_item[]){{.key = STR("/routes/2"), .modified = 7},
                                {STR("/routes/1"), STR("{2}"), 2, 8}},
          2);
    etcd_copy_close(c);

    c = copy_open("a");
    assert_int_equal(etcd_copy_revision(c), 8);
    assert_true(etcd_copy_time(c) > 1700000000);
    assert_copy(c, "/routes/", "/routes/1={2}@2,8 ");
    etcd_copy_close(c);
    snprintf(path, sizeof(path), "%s/etcd.db", folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    /* Another source's copy is of no use, and a broken one neither. */
    c = copy_open("b");
    assert_int_equal(etcd_copy_revision(c), 0);
    assert_copy(c, "/", "");
    apply(c, 6, first, 4);
    etcd_copy_close(c);
    FILE *f = fopen(path, "w");
    fputs("this is no database, and longer than the hundred bytes of a header: "
          "this is no database, and longer than the hundred bytes of a header",
          f);
    fclose(f);
    c = copy_open("b");
    assert_copy(c, "/", "");
    etcd_copy_close(c);
}

static unsigned said;

static void count_errors(enum log_level level, struct str line)
{
    said += level == LOG_ERROR && str_search(line, STR("cannot be written")) >= 0;
}

/* What the disk does not take stays in memory. */
static void test_copy_without_a_disk(void **state)
{
    struct etcd_copy *c = copy_open("c");
    char path[64];

    (void)state;
    apply(c, 6, first, 4);
    snprintf(path, sizeof(path), "%s/etcd.db", folder);
    /* Another connection that holds the file makes it as unwritable as a full disk does. */
    sqlite3 *other;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    log_setup(count_errors, LOG_WARN);
    apply(c, 7, (struct store_item[]){{.key = STR("/routes/2"), .modified = 7}}, 1);
    apply(c, 8, (struct store_item[]){{STR("/routes/3"), STR("n"), 8, 8}}, 1);
    log_setup(NULL, LOG_WARN);
    assert_int_equal(said, 1);
    assert_int_equal(etcd_copy_revision(c), 8);
    assert_copy(c, "/routes/", "/routes/1={1}@2,4 /routes/3=n@8,8 ");
    etcd_copy_close(c);
    sqlite3_close(other);
    c = copy_open("c");
    assert_int_equal(etcd_copy_revision(c), 6);
    etcd_copy_close(c);
}

/* ---- What the watch has seen ----
 */

static void assert_seen(struct etcd_seen_reader *r, struct store_past_query q, const char *want)
{
    struct store_past past;
    char text[512] = "";
    bool whole;

    etcd_seen_begin(r, &q);
    while (etcd_seen_next(r, &past, &whole)) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof(text) - n, "%d%s:%.*s:%.*s>%.*s ", (int)past.revision,
                 whole ? "w" : "", STR_ARG(past.key), past.before.p ? (int)past.before.n : 1,
                 past.before.p ? past.before.p : "~", past.after.p ? (int)past.after.n : 1,
                 past.after.p ? past.after.p : "~");
    }
    etcd_seen_end(r);
    assert_string_equal(text, want);
}

static void apply_whole(struct etcd_copy *c, int64_t revision, const struct store_item *item)
{
    struct store_batch *b = store_batch_new();

    if (item)
        store_batch_add(b, item);
    b->revision = revision;
    b->whole = true;
    etcd_copy_apply(c, b);
    store_batch_free(b);
}

/* All that was seen is there with what was before; complete above the floor. */
static void test_seen(void **state)
{
    static const struct store_past_query all = {.prefix = {"", 0}, .until = INT64_MAX};
    static const struct store_item changes[] = {
        {STR("/routes/1"), STR("{2}"), 2, 7}, {STR("/routes/3"), STR("{3}"), 8, 8},
        {STR("/routes/2"), STR_NONE, 0, 9},   {STR("/routes/none"), STR_NONE, 0, 10},
        {STR("/routes/3"), STR(""), 8, 11},
    };
    static const struct store_item missed = {STR("/routes/1"), STR("{9}"), 2, 20};
    static const struct store_keep few = {.changes = 2}, none = {.changes = 0};
    struct str err = STR_NONE;
    struct etcd_copy *c = copy_open("seen");

    (void)state;
    apply(c, 6, first, 4);
    struct etcd_seen_reader *r = etcd_seen_reader_open(etcd_copy_path(c), &arena, &err);
    assert_non_null(r);
    /* The first state is no change. */
    assert_seen(r, all, "");
    assert_int_equal(etcd_seen_floor(r), 6);
    apply(c, 11, changes, 5);
    assert_seen(r, all,
                "11:/routes/3:{3}> 9:/routes/2:{}>~ 8:/routes/3:~>{3} 7:/routes/1:{1}>{2} ");
    assert_seen(r, (struct store_past_query){.prefix = STR("/routes/3"), .until = INT64_MAX},
                "11:/routes/3:{3}> 8:/routes/3:~>{3} ");
    assert_seen(r, (struct store_past_query){.prefix = STR(""), .after = 7, .until = 9},
                "9:/routes/2:{}>~ 8:/routes/3:~>{3} ");
    /* Compared and found alike: nothing was missed. */
    apply_whole(c, 12, NULL);
    assert_int_equal(etcd_seen_floor(r), 6);
    apply_whole(c, 21, &missed);
    assert_int_equal(etcd_seen_floor(r), 21);
    assert_seen(r, (struct store_past_query){.prefix = STR(""), .after = 12, .until = INT64_MAX},
                "20w:/routes/1:{2}>{9} ");
    etcd_copy_close(c);

    c = copy_open("seen");
    assert_int_equal(etcd_seen_floor(r), 21);
    etcd_copy_keep(c, &few);
    apply(c, 30, &(struct store_item){STR("/a"), STR("1"), 30, 30}, 1);
    apply(c, 31, &(struct store_item){STR("/a"), STR("2"), 30, 31}, 1);
    for (int i = 32; i < 200; i++)
        apply(c, i, &(struct store_item){STR("/a"), STR("2"), 30, i}, 1);
    /* Dropped from time to time; the floor says so. */
    assert_true(etcd_seen_floor(r) >= 100);
    assert_seen(r, (struct store_past_query){.prefix = STR(""), .after = 0, .until = 99}, "");
    etcd_copy_keep(c, &none);
    apply(c, 300, &(struct store_item){STR("/a"), STR("3"), 30, 300}, 1);
    assert_seen(r, all, "");
    assert_int_equal(etcd_seen_floor(r), 300);
    /* An etcd that was rebuilt begins anew. */
    etcd_copy_keep(c, &few);
    apply_whole(c, 5, &(struct store_item){STR("/a"), STR("4"), 4, 4});
    assert_int_equal(etcd_seen_floor(r), 5);
    assert_seen(r, all, "");
    etcd_seen_reader_close(r);
    etcd_copy_close(c);
}

/* ---- Our own writes ----------------------------------------------------------------------------
 */

static void test_echo(void **state)
{
    struct echo e;
    char *key;

    (void)state;
    echo_init(&e);
    assert_false(echo_hides(&e, STR("a"), 1));
    echo_add(&e, STR("a"), 5);
    echo_add(&e, STR("b"), 6);
    echo_add(&e, STR("a"), 7);
    /* What was before our last write, and that write itself. */
    assert_true(echo_hides(&e, STR("a"), 4) && echo_hides(&e, STR("a"), 5));
    assert_true(echo_hides(&e, STR("a"), 7));
    assert_false(echo_hides(&e, STR("a"), 8));
    assert_true(echo_hides(&e, STR("b"), 6));
    assert_false(echo_hides(&e, STR("b"), 7) || echo_hides(&e, STR("c"), 1));
    echo_pass(&e, 5);
    assert_true(echo_hides(&e, STR("a"), 6));
    echo_pass(&e, 6);
    assert_false(echo_hides(&e, STR("b"), 6));
    assert_true(echo_take(&e, &key));
    assert_string_equal(key, "a");
    free(key);
    assert_false(echo_hides(&e, STR("a"), 6) || echo_take(&e, &key));
    echo_add(&e, STR("left"), 9);
    echo_fini(&e);
}

static int folder_make(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int folder_remove(void **state)
{
    char command[64];

    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, arena_begin, arena_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_requests),    TEST(test_ranges_of_keys),
        TEST(test_range_reply), TEST(test_replies_that_are_none),
        TEST(test_transaction), TEST(test_watch_messages),
        TEST(test_errors),      TEST(test_grpc_request),
        TEST(test_grpc_reply),  TEST(test_grpc_garbage),
        TEST(test_copy),        TEST(test_seen),
        TEST(test_echo),        TEST(test_copy_without_a_disk),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
