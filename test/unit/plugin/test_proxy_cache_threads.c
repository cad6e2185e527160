/* SPDX-License-Identifier: Apache-2.0 */
/* Threads on one zone: whatever is found is whole and of its key, bounds hold, nothing leaks. Meant
 * for the thread sanitizer too. */
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "plugin/proxy_cache_zone.h"

enum { THREADS = 4, KEYS = 30, TURNS = 3000 };

static struct cache_zone *z;
static atomic_uint odd, found;

static struct hash128 variant_of(void *arg, struct str names)
{
    (void)names;
    return *(struct hash128 *)arg;
}

/* A body that tells of its key: the key again and again. */
static struct cache_entry *entry(const char *key, const char *vary, const char *variant, size_t n)
{
    struct cache_facts facts = {
        .stored_ms = (int64_t)time(NULL) * 1000, .ttl_s = 60, .status = 200};
    struct buf body;

    buf_init(&body, 1 << 20);
    for (size_t i = 0; i < n; i++)
        if (!buf_add(&body, str_of(key)))
            atomic_fetch_add(&odd, 1);
    return entry_new(&facts, str_of(key), str_of(vary), str_of(variant), STR_NONE, &body);
}

static void check(const struct cache_entry *e, const char *key)
{
    struct str k = str_of(key);

    atomic_fetch_add(&found, 1);
    if (!str_eq(e->key, k) || e->body.n % k.n)
        atomic_fetch_add(&odd, 1);
    for (size_t i = 0; i < e->body.n; i += k.n)
        if (memcmp(e->body.p + i, k.p, k.n) != 0)
            atomic_fetch_add(&odd, 1);
}

static void look(const char *key, struct hash128 variant)
{
    struct cache_find f;
    struct cache_id id;

    zone_find(z, hash_str128(str_of(key)), hash_str128(STR("GET")), variant_of, &variant, &id, &f);
    if (f.found && !f.entry) {
        f.entry = disk_read(z, &id, f.file);
        if (f.entry)
            zone_warm(z, &id, f.file, f.entry);
    }
    if (f.entry)
        check(f.entry, key);
    entry_put(f.entry);
}

static void *user(void *arg)
{
    uint64_t dice = (uint64_t)(uintptr_t)arg + 1;
    char key[8];

    for (unsigned i = 0; i < TURNS; i++) {
        dice = dice * 6364136223846793005ull + 1442695040888963407ull;
        unsigned r = (unsigned)(dice >> 33);
        snprintf(key, sizeof(key), "key%02u", r % KEYS);
        const char *variant = r / 64 % 3 ? "GET\na" : "GET";
        struct cache_id id = {hash_str128(str_of(key)), hash_str128(str_of(variant))};
        struct cache_chores *chores = NULL;
        if (r % 7 == 0)
            chores = zone_put(z, &id, entry(key, variant[3] ? "a" : "", variant, r / 512 % 500));
        else if (r % 97 == 0)
            zone_purge(z, id.key, &chores);
        else
            look(key, id.variant);
        chores_run(chores);
    }
    return NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void storm(struct cache_zone_conf *c)
{
    pthread_t threads[THREADS];

    z = zone_new(c);
    disk_scan_start(z, 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, user, (void *)(uintptr_t)i);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    disk_scan_stop(z);
    assert_true(zone_memory_used(z) <= c->memory_size);
    assert_true(!c->disk_path.p || zone_disk_used(z) <= c->disk_size);
    zone_free(z);
    assert_int_equal(atomic_load(&odd), 0);
    assert_true(atomic_exchange(&found, 0) > 100);
}

static void memory_zone(void **state)
{
    struct cache_zone_conf c = {.name = STR("m"), .memory_size = 24 << 10};

    (void)state;
    storm(&c);
}

static void disk_zone(void **state)
{
    char folder[64];
    struct cache_zone_conf c = {
        .name = STR("d"), .memory_size = 20 << 10, .disk_size = 80 << 10, .levels = {1}};

    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/test_proxy_cache_threads_%d", (int)getpid());
    c.disk_path = str_of(folder);
    storm(&c);
    storm(&c); /* with the files of before */
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_zone),
        cmocka_unit_test(disk_zone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
