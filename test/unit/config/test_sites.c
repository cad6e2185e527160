/* SPDX-License-Identifier: Apache-2.0 */
/* Server names and their sites: which one serves, who steps in, old snapshots, 100,000 of them. */
#include "fake_plugins.h"

#include <malloc.h>
#include <stdio.h>
#include <time.h>

#include "base/hash.h"

#if defined(ARENA_MALLOC)
enum { MOST = 2000 };
#else
enum { MOST = 100000 };
#endif

enum { PEM_BYTES = 1800 };

/* Base64 between its lines: what is in it is not looked at before a handshake. */
static const char *pem(const char *what, char fill)
{
    static char text[2][PEM_BYTES + 200];
    static int which;
    char *p = text[which++ & 1], line[65];
    size_t size = sizeof(text[0]);

    memset(line, fill, 64);
    line[64] = 0;
    size_t n = (size_t)snprintf(p, size, "-----BEGIN %s-----\\n", what);
    for (int i = 0; i < PEM_BYTES / 66; i++)
        n += (size_t)snprintf(p + n, size - n, "%s\\n", line);
    snprintf(p + n, size - n, "-----END %s-----\\n", what);
    return p;
}

/* more: further members, ",\"…\":…". */
static json_t *ssl_json(const char *names, char fill, const char *more)
{
    static char text[4 * PEM_BYTES];
    json_error_t error;

    snprintf(text, sizeof(text), "{\"snis\":[%s],\"cert\":\"%s\",\"key\":\"%s\"%s}", names,
             pem("CERTIFICATE", fill), pem("PRIVATE KEY", fill), more);
    json_t *v = json_loads(text, 0, &error);
    assert_non_null(v);
    return v;
}

static void put_ssl(struct builder *b, const char *id, const char *names, const char *more)
{
    json_t *v = ssl_json(names, 'A', more);

    assert_true(builder_apply(b, KIND_SSL, str_of(id), 1, v));
    json_decref(v);
}

static void delete_ssl(struct builder *b, const char *id)
{
    assert_true(builder_apply(b, KIND_SSL, str_of(id), 1, NULL));
}

/* The id of the site that serves a name; "": none. */
static const char *site_of(struct builder *b, const char *name)
{
    static char id[32];
    const struct snapshot *s = builder_publish(b);
    const struct site *site = snapshot_site(s, str_of(name));

    snprintf(id, sizeof(id), "%.*s", site ? (int)site->id.n : 0, site ? site->id.p : "");
    snapshot_put(s);
    return id;
}

#define SERVES(name, id) assert_string_equal(site_of(b, name), id)

static void test_names(void **state)
{
    struct builder *b = fake_builder(true);
    char long_name[400];

    (void)state;
    SERVES("a.test", "");
    put_ssl(b, "one", "\"A.test.\",\"*.a.test\"", "");
    put_ssl(b, "two", "\"*.b.test\",\"x.y.b.test\",\"*.c.b.test\"", "");
    put_ssl(b, "three", "\"*end\"", "");
    SERVES("a.test", "one");
    SERVES("x.a.test", "one");
    SERVES("y.x.a.test", "");
    SERVES(".a.test", "one");
    SERVES("xa.test", "");
    SERVES("b.test", "");
    SERVES("x.b.test", "two");
    SERVES("x.y.b.test", "two");
    SERVES("z.y.b.test", "");
    SERVES("d.c.b.test", "two");
    SERVES("the-end", "three");
    SERVES("end", "three");
    SERVES("the.end", "");
    SERVES("", "");
    put_ssl(b, "all", "\"*\"", "");
    SERVES("z.y.b.test", "all");
    SERVES("anything", "all");
    SERVES("", "");
    SERVES("x.b.test", "two");
    memset(long_name, 'a', sizeof(long_name));
    long_name[255] = 0;
    SERVES(long_name, "all");
    long_name[255] = 'a';
    long_name[256] = 0;
    SERVES(long_name, "");
    builder_free(b);
}

static void test_of_several(void **state)
{
    struct builder *b = fake_builder(true);

    (void)state;
    put_ssl(b, "m", "\"a.test\"", "");
    put_ssl(b, "z", "\"a.test\",\"b.test\"", "");
    put_ssl(b, "c", "\"a.test\"", "");
    SERVES("a.test", "c");
    SERVES("b.test", "z");
    put_ssl(b, "c", "\"b.test\"", "");
    SERVES("a.test", "m");
    SERVES("b.test", "c");
    put_ssl(b, "m", "\"a.test\"", ",\"status\":0");
    SERVES("a.test", "z");
    put_ssl(b, "m", "\"a.test\",\"a.test\"", "");
    SERVES("a.test", "m");
    delete_ssl(b, "z");
    delete_ssl(b, "m");
    SERVES("a.test", "");
    SERVES("b.test", "c");
    delete_ssl(b, "c");
    SERVES("b.test", "");
    builder_free(b);
}

/* What is kept out and wants certificates of clients keeps its names to itself. */
static void test_closed(void **state)
{
    static const char *const closed[] = {
        "{\"snis\":[\"a.test\",7,\"\",\"*.B.test\"],\"client\":{}}",
        "{\"sni\":\"A.test\",\"snis\":[\"x.b.test\"],\"client\":{\"ca\":\"no PEM\"},\"cert\":7}",
    };
    static const char *const open[] = {
        "{\"sni\":\"a.test\"}",
        "{\"sni\":\"a.test\",\"client\":null}",
        "{\"sni\":\"a.test\",\"client\":{},\"status\":0}",
        "{\"sni\":\"a.test\",\"client\":{},\"type\":\"client\"}",
        "{\"sni\":7,\"snis\":7,\"client\":{}}",
    };
    struct builder *b = fake_builder(true);

    (void)state;
    put_ssl(b, "all", "\"*\"", "");
    for (size_t i = 0; i < 2; i++) {
        json_t *v = json_loads(closed[i], 0, NULL);
        assert_false(builder_apply(b, KIND_SSL, STR("one"), 1, v));
        json_decref(v);
        SERVES("a.test", "one");
        SERVES("x.b.test", "one");
        const struct snapshot *s = builder_publish(b);
        const struct site *site = snapshot_site(s, STR("a.test"));
        assert_true(s->mutual && site->mutual && site->tls.nidentities == 0);
        snapshot_put(s);
    }
    for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++) {
        json_t *v = json_loads(open[i], 0, NULL);
        assert_false(builder_apply(b, KIND_SSL, STR("one"), 1, v));
        json_decref(v);
        SERVES("a.test", "all");
    }
    put_ssl(b, "one", "\"a.test\"", "");
    json_t *v = json_loads(closed[0], 0, NULL);
    assert_false(builder_apply(b, KIND_SSL, STR("one"), 1, v)); /* what was good stays */
    json_decref(v);
    SERVES("a.test", "one");
    SERVES("x.b.test", "all");
    delete_ssl(b, "one");
    SERVES("a.test", "all");
    builder_free(b);
}

static void test_kinds_of_ssl(void **state)
{
    struct builder *b = fake_builder(true);
    char more[PEM_BYTES + 400];

    (void)state;
    put_ssl(b, "1", "\"a.test\"", "");
    put_ssl(b, "2", "\"b.test\"", ",\"type\":\"client\"");
    const struct snapshot *s = builder_publish(b);
    assert_false(s->mutual);
    assert_null(snapshot_site(s, STR("b.test")));
    assert_non_null(snapshot_identity(s, STR("2")));
    assert_null(snapshot_identity(s, STR("1")));
    snprintf(more, sizeof(more),
             ",\"ssl_protocols\":[\"TLSv1.3\"],\"client\":{\"ca\":\"%s\",\"depth\":3,"
             "\"skip_mtls_uri_regex\":[\"^/a\",\"(\"]}",
             pem("CERTIFICATE", 'B'));
    put_ssl(b, "1", "\"a.test\"", more);
    put_ssl(b, "2", "\"b.test\"", "");
    const struct snapshot *new = builder_publish(b);
    const struct site *site = snapshot_site(new, STR("a.test")), *old;
    assert_true(new->mutual);
    assert_non_null(site->tls.authorities);
    assert_int_equal(site->tls.depth, 3);
    assert_int_equal(site->tls.versions, TLS_V1_3);
    assert_true(site->tls.optional);
    assert_int_equal(site->nskip, 1);
    assert_null(snapshot_identity(new, STR("2")));
    assert_non_null(snapshot_site(new, STR("b.test")));
    /* The old snapshot is as it was. */
    old = snapshot_site(s, STR("a.test"));
    assert_null(old->tls.authorities);
    assert_true(old->tls.context.a != site->tls.context.a);
    assert_non_null(snapshot_identity(s, STR("2")));
    snapshot_put(s);
    snapshot_put(new);
    delete_ssl(b, "1");
    s = builder_publish(b);
    assert_false(s->mutual);
    snapshot_put(s);
    builder_free(b);
}

/* What is no PEM, or refers to what is not there, is kept out, and what was good before stays. */
static void test_bad(void **state)
{
    struct builder *b = fake_builder(true);
    json_t *v = ssl_json("\"a.test\"", 'A', "");

    (void)state;
    put_ssl(b, "1", "\"a.test\"", "");
    char *broken = str_dup(str_of(json_string_value(json_object_get(v, "key"))));
    broken[40] = '!';
    json_object_set_new(v, "key", json_string(broken));
    assert_false(builder_apply(b, KIND_SSL, STR("1"), 2, v));
    assert_false(builder_apply(b, KIND_SSL, STR("2"), 2, v));
    SERVES("a.test", "1");
    free(broken);
    json_decref(v);
    builder_free(b);
}

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Each is found, whatever their number. The figures are for the reader. */
static void test_many(void **state)
{
    struct builder *b = fake_builder(true);
    struct mallinfo2 before = mallinfo2();
    char id[32], names[96], name[64];

    (void)state;
    double start = now_us();
    for (int i = 0; i < MOST; i++) {
        snprintf(id, sizeof(id), "%d", i);
        snprintf(names, sizeof(names), "\"host%d.example.com\",\"*.host%d.example.com\"", i, i);
        put_ssl(b, id, names, "");
    }
    const struct snapshot *s = builder_publish(b);
    struct mallinfo2 after = mallinfo2();
    double built = now_us();
    for (int i = 0; i < MOST; i++) {
        const char *forms[] = {"host%d.example.com", "www.host%d.example.com"};
        snprintf(name, sizeof(name), forms[i % 2], i);
        const struct site *site = snapshot_site(s, str_of(name));
        assert_non_null(site);
        snprintf(id, sizeof(id), "%d", i);
        assert_true(str_eq(site->id, str_of(id)));
    }
    double found = now_us();
    print_message("%d ssls: %.1f us and %.1f KiB each, a name is found in %.2f us\n", MOST,
                  (built - start) / MOST,
                  (double)(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) / MOST /
                      1024,
                  (found - built) / MOST);
    snapshot_put(s);
    builder_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),  cmocka_unit_test(test_of_several),
        cmocka_unit_test(test_closed), cmocka_unit_test(test_kinds_of_ssl),
        cmocka_unit_test(test_bad),    cmocka_unit_test(test_many),
    };

    hash_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
