/* SPDX-License-Identifier: Apache-2.0 */
/* Reads apisix.proxy_cache and keeps the zones. */
#include "plugin/proxy_cache_zones.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/field.h"
#include "base/mem.h"
#include "base/units.h"

enum { ZONES_MAX = 64, SCAN_WAIT_MS = 500, TTL_S = 10 };

static struct {
    struct cache_zone *list[ZONES_MAX];
    unsigned n;
    int64_t ttl_s;
} zones;

static bool refuse(struct str *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The message stays: the process ends with it. */
static bool refuse(struct str *err, const char *fmt, ...)
{
    static char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    *err = str_of(text);
    return false;
}

/* ---- Values as nginx writes them --------------------------------------------------------------
 */

static struct str string_of(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);

    return json_is_string(v) ? str_make(json_string_value(v), json_string_length(v)) : STR_NONE;
}

/* "50m", "1G", "65536"; a number is as good. */
static bool read_size(const json_t *object, const char *key, uint64_t *out)
{
    const json_t *v = json_object_get(object, key);
    int64_t n = json_integer_value(v);

    if (!json_is_integer(v) && !units_bytes(string_of(object, key), &n))
        return false;
    *out = (uint64_t)n;
    return n > 0;
}

/* "10s", "1m", "1h", "1d", "500ms" or seconds; what is less than a second is one. */
static bool read_seconds(const json_t *object, const char *key, int64_t otherwise, int64_t *out)
{
    const json_t *v = json_object_get(object, key);
    int64_t ms;

    *out = otherwise;
    if (!v)
        return true;
    if (json_is_number(v)) {
        *out = field_int(v);
        return json_number_value(v) >= 1 && json_number_value(v) < INT32_MAX;
    }
    if (!units_ms(string_of(object, key), &ms) || ms <= 0)
        return false;
    *out = ms < 1000 ? 1 : ms / 1000;
    return *out < INT32_MAX;
}

/* "1:2": how many digits each level of folders has. */
static bool read_levels(struct str s, unsigned levels[3])
{
    struct str level;
    uint64_t n;

    for (unsigned i = 0; s.p; i++) {
        str_cut(s, ':', &level, &s);
        if (i == 3 || !str_to_u64(level, 2, &n) || n < 1)
            return false;
        levels[i] = (unsigned)n;
    }
    return true;
}

/* ---- Zones ------------------------------------------------------------------------------------
 */

struct cache_zone *zones_find(struct str name)
{
    for (unsigned i = 0; i < zones.n; i++)
        if (str_eq(zone_conf(zones.list[i])->name, name))
            return zones.list[i];
    return NULL;
}

int64_t zones_ttl(void)
{
    return zones.ttl_s;
}

static void add_zone(const struct cache_zone_conf *c)
{
    struct cache_zone *z = zone_new(c);

    zones.list[zones.n++] = z;
    disk_scan_start(z, SCAN_WAIT_MS);
}

static bool read_zone(const json_t *zone, struct str *err)
{
    struct cache_zone_conf c = {.name = string_of(zone, "name"),
                                .disk_path = string_of(zone, "disk_path")};
    struct str levels = string_of(zone, "cache_levels");

    if (!c.name.n)
        return refuse(err, "apisix.proxy_cache.zones: a zone has no name");
    if (zones_find(c.name))
        return refuse(err, "apisix.proxy_cache.zones: %.*s is there twice", STR_ARG(c.name));
    if (zones.n == ZONES_MAX)
        return refuse(err, "apisix.proxy_cache.zones: more than %d zones", ZONES_MAX);
    if (!read_size(zone, "memory_size", &c.memory_size) || c.memory_size < 16 << 10)
        return refuse(err, "apisix.proxy_cache.zones: %.*s: memory_size must be 16k or more",
                      STR_ARG(c.name));
    if (c.disk_path.p && (!c.disk_path.n || !read_size(zone, "disk_size", &c.disk_size)))
        return refuse(err, "apisix.proxy_cache.zones: %.*s: disk_size must be a size like 1G",
                      STR_ARG(c.name));
    if (!read_levels(levels.p ? levels : STR("1:2"), c.levels))
        return refuse(err,
                      "apisix.proxy_cache.zones: %.*s: cache_levels must be up to three of 1 and "
                      "2, like 1:2",
                      STR_ARG(c.name));
    add_zone(&c);
    return true;
}

static void add_defaults(struct str data_dir)
{
    struct cache_zone_conf disk = {.name = STR("disk_cache_one"),
                                   .memory_size = 50 << 20,
                                   .disk_size = UINT64_C(1) << 30,
                                   .levels = {1, 2}};
    struct cache_zone_conf memory = {.name = STR("memory_cache"), .memory_size = 50 << 20};
    char path[4096];
    int n = snprintf(path, sizeof(path), "%.*s/disk_cache_one", STR_ARG(data_dir));

    add_zone(&memory);
    if (n > 0 && n < (int)sizeof(path)) {
        disk.disk_path = str_of(path);
        add_zone(&disk);
    }
}

bool zones_start(const json_t *proxy_cache, struct str data_dir, struct str *err)
{
    const json_t *list = json_object_get(proxy_cache, "zones");

    if (!read_seconds(proxy_cache, "cache_ttl", TTL_S, &zones.ttl_s))
        return refuse(err, "apisix.proxy_cache.cache_ttl must be a time like 10s");
    if (!list)
        add_defaults(data_dir);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!read_zone(json_array_get(list, i), err))
            return false;
    return true;
}

void zones_stop(void)
{
    for (unsigned i = 0; i < zones.n; i++) {
        disk_scan_stop(zones.list[i]);
        zone_free(zones.list[i]);
    }
    zones.n = 0;
}
