/* SPDX-License-Identifier: Apache-2.0 */
/* Zones of the cache: what is found, variants, bounds in memory and on disk, files that survive a
 * restart, and files that are not sound. */
#include <dirent.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/mem.h"
#include "plugin/proxy_cache_zone.h"

static struct arena arena;
static char folder[64];

/* ---- Helpers ----------------------------------------------------------------------------------
 */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, NULL);
    snprintf(folder, sizeof(folder), "/tmp/test_proxy_cache_%d", (int)getpid());
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    arena_fini(&arena);
    return 0;
}

static struct cache_zone *zone(bool disk, uint64_t memory, uint64_t disk_size)
{
    struct cache_zone_conf c = {.name = STR("z"),
                                .disk_path = disk ? str_of(folder) : STR_NONE,
                                .memory_size = memory,
                                .disk_size = disk ? disk_size : 0,
                                .levels = {1, 2, 0}};
    struct cache_zone *z = zone_new(&c);

    disk_scan_start(z, 10000);
    return z;
}

static void close_zone(struct cache_zone *z)
{
    disk_scan_stop(z);
    zone_free(z);
}

static struct cache_entry *entry(const char *key, const char *vary, const char *variant,
                                 struct str body)
{
    struct cache_facts facts = {
        .stored_ms = (int64_t)time(NULL) * 1000, .ttl_s = 60, .status = 200};
    struct buf lines, copy;

    buf_init(&lines, 1000);
    buf_init(&copy, 1 << 24);
    assert_true(entry_header_add(&lines, STR("Content-Type"), STR("text/plain")));
    assert_true(entry_header_add(&lines, STR("X-Empty"), STR("")));
    assert_true(buf_add(&copy, body));
    struct cache_entry *e = entry_new(&facts, str_of(key), str_of(vary), str_of(variant),
                                      buf_str(&lines), &copy);
    buf_fini(&lines);
    return e;
}

static struct cache_id id_of(const char *key, const char *variant)
{
    return (struct cache_id){hash_str128(str_of(key)), hash_str128(str_of(variant))};
}

/* Does the chores at once, as a pool of threads would. */
static void put(struct cache_zone *z, const char *key, const char *vary, const char *variant,
                struct str body)
{
    struct cache_id id = id_of(key, variant);

    chores_run(zone_put(z, &id, entry(key, vary, variant, body)));
}

static struct hash128 variant_of(void *arg, struct str names)
{
    (void)names;
    return hash_str128(str_of(arg));
}

/* The body of what is found, "" when nothing is; *warm tells whether it was in memory. */
static struct str get(struct cache_zone *z, const char *key, const char *variant, bool *warm)
{
    struct cache_find f;
    struct cache_id id;

    zone_find(z, hash_str128(str_of(key)), hash_str128(STR("GET")), variant_of,
              (void *)(uintptr_t)variant, &id, &f);
    if (warm)
        *warm = f.entry != NULL;
    if (!f.found)
        return STR("");
    struct cache_entry *e = f.entry;
    if (!e) {
        e = disk_read(z, &id, f.file);
        if (!e)
            return STR("");
        zone_warm(z, &id, f.file, e);
    }
    assert_true(str_eq(e->key, str_of(key)));
    struct str body = arena_str(&arena, e->body);
    entry_put(e);
    return body;
}

static void assert_body(struct str got, const char *expected)
{
    if (!str_eq(got, str_of(expected)))
        fail_msg("got \"%.*s\" instead of \"%s\"", STR_ARG(got), expected);
}

static unsigned nfiles;
static char last_file[4096];

static int count_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)at;
    if (type != FTW_F)
        return 0;
    nfiles++;
    snprintf(last_file, sizeof(last_file), "%s", path);
    return 0;
}

static unsigned files(void)
{
    nfiles = 0;
    nftw(folder, count_one, 8, FTW_PHYS);
    return nfiles;
}

/* ---- Entries ----------------------------------------------------------------------------------
 */

static void entries_and_their_bytes(void **state)
{
    (void)state;
    struct cache_entry *e = entry("k", "accept", "GET\nx", STR("the body"));
    struct str name, value;
    size_t at = 0;

    assert_true(entry_header(e, &at, &name, &value) && str_eq(name, STR("Content-Type")) &&
                str_eq(value, STR("text/plain")));
    assert_true(entry_header(e, &at, &name, &value) && str_eq(name, STR("X-Empty")) && !value.n);
    assert_false(entry_header(e, &at, &name, &value));

    entry_seal(e);
    size_t n = e->head_size + e->body.n;
    assert_int_equal(entry_file_size(e->head), n);
    for (size_t flip = 0; flip <= n; flip++) {
        char *bytes = mem_alloc(n);
        memcpy(bytes, e->head, e->head_size);
        memcpy(bytes + e->head_size, e->body.p, e->body.n);
        if (flip < n)
            bytes[flip] = (char)(bytes[flip] ^ 4);
        struct cache_entry *read = entry_read(bytes, n);
        if (flip < n) {
            assert_null(read);
            continue;
        }
        assert_non_null(read);
        assert_body(read->key, "k");
        assert_body(read->vary, "accept");
        assert_body(read->variant, "GET\nx");
        assert_body(read->body, "the body");
        assert_true(str_eq(read->headers, e->headers));
        assert_int_equal(read->facts.ttl_s, 60);
        entry_put(read);
    }
    for (size_t cut = 0; cut < n; cut++) {
        char *bytes = mem_alloc(cut + 1);
        memcpy(bytes, e->head, cut < e->head_size ? cut : e->head_size);
        if (cut > e->head_size)
            memcpy(bytes + e->head_size, e->body.p, cut - e->head_size);
        struct cache_entry *read = entry_read(bytes, cut);
        assert_true((read != NULL) == (cut == e->head_size));
        entry_put(read);
    }
    entry_put(e);
}

/* ---- Memory -----------------------------------------------------------------------------------
 */

static void put_find_replace_purge(void **state)
{
    struct cache_zone *z = zone(false, 1 << 20, 0);
    struct cache_chores *chores;

    (void)state;
    assert_body(get(z, "a", "GET", NULL), "");
    put(z, "a", "", "GET", STR("one"));
    put(z, "b", "", "GET", STR("other"));
    assert_body(get(z, "a", "GET", NULL), "one");
    put(z, "a", "", "GET", STR("two"));
    assert_body(get(z, "a", "GET", NULL), "two");
    put(z, "a", "", "POST", STR("posted"));
    assert_body(get(z, "a", "GET", NULL), "two");
    assert_true(zone_purge(z, hash_str128(STR("a")), &chores));
    assert_null(chores);
    assert_false(zone_purge(z, hash_str128(STR("a")), &chores));
    assert_body(get(z, "a", "GET", NULL), "");
    assert_body(get(z, "b", "GET", NULL), "other");
    close_zone(z);
}

static void variants(void **state)
{
    struct cache_zone *z = zone(false, 1 << 20, 0);
    char variant[32];

    (void)state;
    put(z, "a", "accept", "GET\nx", STR("x"));
    put(z, "a", "accept", "GET\ny", STR("y"));
    assert_body(get(z, "a", "GET\nx", NULL), "x");
    assert_body(get(z, "a", "GET\ny", NULL), "y");
    assert_body(get(z, "a", "GET\nz", NULL), "");
    /* One that varies by something else makes the others void. */
    put(z, "a", "origin", "GET\no", STR("o"));
    assert_body(get(z, "a", "GET\nx", NULL), "");
    assert_body(get(z, "a", "GET\no", NULL), "o");
    put(z, "a", "", "GET", STR("plain"));
    assert_body(get(z, "a", "GET\no", NULL), "plain");
    /* At most 64: the oldest goes. */
    for (unsigned i = 0; i < 65; i++) {
        snprintf(variant, sizeof(variant), "GET\n%u", i);
        put(z, "c", "accept", variant, STR("c"));
    }
    assert_body(get(z, "c", "GET\n0", NULL), "");
    assert_body(get(z, "c", "GET\n1", NULL), "c");
    assert_body(get(z, "c", "GET\n64", NULL), "c");
    close_zone(z);
}

static void memory_is_bounded(void **state)
{
    struct cache_zone *z = zone(false, 256 << 10, 0);
    struct str body = str_make(arena_zero(&arena, 10000), 10000);
    unsigned kept = 0;
    char key[32];

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        put(z, key, "", "GET", body);
        assert_true(zone_memory_used(z) <= 256 << 10);
        /* What is asked for again and again stays while there is older in its shard. */
        if (i)
            get(z, "k0", "GET", NULL);
    }
    for (unsigned i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        kept += get(z, key, "GET", NULL).n > 0;
    }
    assert_in_range(kept, 15, 25);
    assert_int_equal(get(z, "k99", "GET", NULL).n, 10000);
    close_zone(z);
}

static void what_is_lent_outlives_its_item(void **state)
{
    struct cache_zone *z = zone(false, 1 << 20, 0);
    struct cache_chores *chores;
    struct cache_find f;
    struct cache_id id;

    (void)state;
    put(z, "a", "", "GET", STR("lent"));
    zone_find(z, hash_str128(STR("a")), hash_str128(STR("GET")), variant_of, NULL, &id, &f);
    assert_true(zone_purge(z, id.key, &chores));
    close_zone(z);
    assert_body(f.entry->body, "lent");
    entry_put(f.entry);
}

static void too_large_and_too_much(void **state)
{
    struct cache_zone *z = zone(false, 64 << 10, 0);
    size_t n = 70000;

    (void)state;
    put(z, "a", "", "GET", STR("small"));
    put(z, "b", "", "GET", str_make(arena_zero(&arena, n), n));
    assert_body(get(z, "a", "GET", NULL), "small");
    assert_body(get(z, "b", "GET", NULL), "");
    assert_true(zone_borrow(z, 60 << 10));
    assert_false(zone_borrow(z, 5 << 10));
    assert_true(zone_borrow(z, 4 << 10));
    zone_repay(z, 64 << 10);
    assert_true(zone_borrow(z, 64 << 10));
    close_zone(z);
}

/* ---- Disk -------------------------------------------------------------------------------------
 */

static void disk_survives_a_restart(void **state)
{
    struct cache_zone *z = zone(true, 1 << 20, 1 << 20);
    bool warm;

    (void)state;
    put(z, "a", "", "GET", STR("one"));
    put(z, "a", "", "GET", STR("two"));
    put(z, "b", "accept", "GET\nx", STR("x"));
    put(z, "b", "accept", "GET\ny", STR("y"));
    put(z, "empty", "", "GET", STR(""));
    assert_body(get(z, "a", "GET", &warm), "two");
    assert_true(warm);
    assert_int_equal(files(), 4);
    assert_int_equal(zone_disk_used(z), 4 * 4096);
    close_zone(z);

    z = zone(true, 1 << 20, 1 << 20);
    assert_int_equal(zone_disk_used(z), 4 * 4096);
    assert_body(get(z, "a", "GET", &warm), "two");
    assert_false(warm);
    assert_body(get(z, "a", "GET", &warm), "two");
    assert_true(warm);
    assert_body(get(z, "b", "GET\nx", NULL), "x");
    assert_body(get(z, "b", "GET\ny", NULL), "y");
    assert_body(get(z, "b", "GET\nz", NULL), "");
    struct cache_find f;
    struct cache_id id;
    zone_find(z, hash_str128(STR("empty")), hash_str128(STR("GET")), variant_of, NULL, &id, &f);
    assert_true(f.found && f.facts.status == 200 && f.facts.ttl_s == 60);
    struct cache_chores *chores;
    assert_true(zone_purge(z, hash_str128(STR("b")), &chores));
    chores_run(chores);
    assert_int_equal(files(), 2);
    close_zone(z);
}

static void disk_is_bounded(void **state)
{
    struct cache_zone *z = zone(true, 1 << 20, 64 << 10);
    struct str body = str_make(arena_zero(&arena, 5000), 5000);
    char key[32];

    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        put(z, key, "", "GET", body);
        assert_true(zone_disk_used(z) <= 64 << 10);
    }
    assert_int_equal(files(), 8);
    assert_int_equal(get(z, "k39", "GET", NULL).n, 5000);
    close_zone(z);
    /* Less room at the next start. */
    z = zone(true, 1 << 20, 24 << 10);
    assert_int_equal(zone_disk_used(z), 24 << 10);
    assert_int_equal(files(), 3);
    close_zone(z);
}

static void little_memory_before_a_disk(void **state)
{
    struct cache_zone *z = zone(true, 32 << 10, 1 << 20);
    struct str body = str_make(arena_zero(&arena, 5000), 5000);
    char key[32];
    bool warm;

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        put(z, key, "", "GET", body);
        assert_true(zone_memory_used(z) <= 32 << 10);
    }
    assert_int_equal(files(), 20);
    for (unsigned i = 0; i < 20; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        assert_int_equal(get(z, key, "GET", &warm).n, 5000);
        assert_true(zone_memory_used(z) <= 32 << 10);
    }
    close_zone(z);
}

static void spoil(long at)
{
    FILE *f = fopen(last_file, "r+b");

    assert_non_null(f);
    fseek(f, at, at < 0 ? SEEK_END : SEEK_SET);
    fputc('#', f);
    fclose(f);
}

static void unsound_files_are_dropped(void **state)
{
    static const long places[] = {0, 12, 100, -1}; /* magic, check sum, key, body */
    struct cache_zone *z;
    char other[5000];

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        z = zone(true, 1 << 20, 1 << 20);
        put(z, "kkkkkkkk", "", "GET", STR("body"));
        assert_int_equal(files(), 1);
        close_zone(z);
        spoil(places[i]);
        z = zone(true, 1 << 20, 1 << 20);
        /* A spoilt body shows when it is read. */
        assert_int_equal(files(), places[i] == -1);
        assert_body(get(z, "kkkkkkkk", "GET", NULL), "");
        assert_int_equal(files(), 0);
        assert_int_equal(zone_disk_used(z), 0);
        close_zone(z);
    }
    z = zone(true, 1 << 20, 1 << 20);
    put(z, "a", "", "GET", STR("body"));
    files();
    /* Never finished, and not ours. */
    snprintf(other, sizeof(other), "%s.tmp", last_file);
    fclose(fopen(other, "w"));
    snprintf(other, sizeof(other), "%s/precious.txt", folder);
    fclose(fopen(other, "w"));
    close_zone(z);
    assert_int_equal(truncate(last_file, 100), 0);
    z = zone(true, 1 << 20, 1 << 20);
    assert_int_equal(files(), 1);
    assert_int_equal(access(other, F_OK), 0);
    /* A file that goes while we run. */
    put(z, "b", "", "GET", STR("body"));
    close_zone(z);
    z = zone(true, 1 << 20, 1 << 20);
    assert_int_equal(zone_disk_used(z), 4096);
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    assert_body(get(z, "b", "GET", NULL), "");
    assert_int_equal(zone_disk_used(z), 0);
    close_zone(z);
}

static void chores_that_come_late(void **state)
{
    struct cache_zone *z = zone(true, 1 << 20, 1 << 20);
    struct cache_id id = id_of("a", "GET");
    struct cache_chores *write, *purge;

    (void)state;
    write = zone_put(z, &id, entry("a", "", "GET", STR("one")));
    assert_body(get(z, "a", "GET", NULL), "one");
    assert_true(zone_purge(z, id.key, &purge));
    chores_run(purge);
    chores_run(write);
    assert_int_equal(files(), 0);
    /* A folder that cannot be written: the entry is not kept, nor believed. */
    close_zone(z);
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    FILE *f = fopen(folder, "w");
    fclose(f);
    z = zone(true, 1 << 20, 1 << 20);
    put(z, "a", "", "GET", STR("one"));
    assert_body(get(z, "a", "GET", NULL), "");
    assert_int_equal(zone_memory_used(z), 0);
    close_zone(z);
    remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(entries_and_their_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(put_find_replace_purge, setup, teardown),
        cmocka_unit_test_setup_teardown(variants, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_lent_outlives_its_item, setup, teardown),
        cmocka_unit_test_setup_teardown(too_large_and_too_much, setup, teardown),
        cmocka_unit_test_setup_teardown(disk_survives_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(disk_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(little_memory_before_a_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(unsound_files_are_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(chores_that_come_late, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
