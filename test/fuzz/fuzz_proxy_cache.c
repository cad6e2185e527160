/* SPDX-License-Identifier: Apache-2.0 */
/* proxy-cache: what headers say about caching, and a stored file whose check sums are right. */
#include "base/date.h"
#include "base/panic.h"
#include "plugin/proxy_cache_entry.c" /* NOLINT */
#include "plugin/proxy_cache_rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_headers(struct str s)
{
    struct vary_list vary = {.n = 0};
    struct cache_control cc;
    struct arena a;
    struct str other;

    arena_init(&a, NULL);
    str_cut(s, '\n', &s, &other);
    cache_control_init(&cc);
    cache_control_add(&cc, s);
    cache_control_add(&cc, other);
    ASSERT(cc.max_age >= -1 && cc.s_maxage >= -1 && cc.min_fresh >= -1 && cc.max_stale >= -1);
    ASSERT(cache_lifetime(&cc, other, 1000) >= -1);
    ASSERT(http_date(s) >= -1);
    vary_add(&vary, s);
    vary_add(&vary, other);
    ASSERT(vary.n <= VARY_MAX);
    vary_text(&vary, &a);
    cache_not_modified(s, STR_NONE, other, STR_NONE);
    cache_not_modified(STR_NONE, s, STR_NONE, other);
    arena_fini(&a);
}

static void fuzz_file(struct str s)
{
    struct file_head h;
    struct str name, value;
    size_t at = 0;

    if (s.n < sizeof(h))
        return;
    char *bytes = mem_dup(s.p, s.n);
    memcpy(&h, bytes, sizeof(h));
    h.magic = MAGIC;
    memcpy(bytes, &h, sizeof(h));
    size_t texts = entry_texts_end(bytes);
    if (texts && texts <= s.n) {
        h.body_n = s.n - texts;
        h.body_sum = hash_stable(str_from(s, texts));
        memcpy(bytes, &h, sizeof(h));
        h.texts_sum = texts_sum(bytes, texts);
        memcpy(bytes, &h, sizeof(h));
        ASSERT(entry_file_size(bytes) == s.n);
    }
    struct cache_entry *e = entry_read(bytes, s.n);
    if (!e)
        return;
    ASSERT(e->body.n + e->head_size == s.n);
    while (entry_header(e, &at, &name, &value))
        ASSERT(name.n && at <= e->headers.n);
    ASSERT(at == e->headers.n);
    entry_put(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_make((const char *)data, size);

    fuzz_headers(s);
    fuzz_file(s);
    return 0;
}
