/* SPDX-License-Identifier: Apache-2.0 */
/* Entries and their layout: a head of fixed size, the texts one behind the other, the body. In the
 * machine's byte order: a cache does not travel. */
#include "plugin/proxy_cache_entry.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/panic.h"

static const uint64_t MAGIC = 0x3165686361434545ull; /* "EECache1" */

struct file_head {
    uint64_t magic;
    uint64_t texts_sum; /* of the rest of the head and the texts */
    uint64_t body_sum;
    uint64_t body_n;
    struct cache_facts facts;
    uint32_t key_n, vary_n, variant_n, headers_n;
    char spare[16];
};
_Static_assert(sizeof(struct file_head) == ENTRY_HEAD_SIZE, "the file's head has a fixed size");

/* ---- Header lines: two lengths, then name and value -------------------------------------------
 */

struct line_head {
    uint32_t name_n, value_n;
};

bool entry_header_add(struct buf *lines, struct str name, struct str value)
{
    struct line_head h = {(uint32_t)name.n, (uint32_t)value.n};
    size_t n = sizeof(h) + name.n + value.n;

    char *p = buf_room(lines, n);
    if (!p)
        return false;
    memcpy(p, &h, sizeof(h));
    memcpy(p + sizeof(h), name.p, name.n);
    if (value.n)
        memcpy(p + sizeof(h) + name.n, value.p, value.n);
    lines->n += n;
    return true;
}

static bool line_at(struct str lines, size_t *at, struct str *name, struct str *value)
{
    struct line_head h;

    if (lines.n - *at < sizeof(h))
        return false;
    memcpy(&h, lines.p + *at, sizeof(h));
    size_t left = lines.n - *at - sizeof(h);
    if (h.name_n > left || h.value_n > left - h.name_n)
        return false;
    *name = str_make(lines.p + *at + sizeof(h), h.name_n);
    *value = str_make(name->p + h.name_n, h.value_n);
    *at += sizeof(h) + h.name_n + h.value_n;
    return true;
}

bool entry_header(const struct cache_entry *e, size_t *at, struct str *name, struct str *value)
{
    return line_at(e->headers, at, name, value);
}

/* ---- Memory -----------------------------------------------------------------------------------
 */

/* The entry's texts as views into the bytes behind the head. */
static void view_texts(struct cache_entry *e)
{
    struct file_head h;
    const char *at = e->head + sizeof(h);

    memcpy(&h, e->head, sizeof(h));
    e->facts = h.facts;
    e->key = str_make(at, h.key_n);
    e->vary = str_make(at += h.key_n, h.vary_n);
    e->variant = str_make(at += h.vary_n, h.variant_n);
    e->headers = str_make(at += h.variant_n, h.headers_n);
}

static char *put_text(char *at, struct str s)
{
    if (s.n)
        memcpy(at, s.p, s.n);
    return at + s.n;
}

struct cache_entry *entry_new(const struct cache_facts *facts, struct str key, struct str vary,
                              struct str variant, struct str headers, struct buf *body)
{
    struct cache_entry *e = mem_zero(sizeof(*e));
    struct file_head h = {.magic = MAGIC,
                          .body_n = body->n,
                          .facts = *facts,
                          .key_n = (uint32_t)key.n,
                          .vary_n = (uint32_t)vary.n,
                          .variant_n = (uint32_t)variant.n,
                          .headers_n = (uint32_t)headers.n};

    e->head_size = sizeof(h) + key.n + vary.n + variant.n + headers.n;
    ASSERT(e->head_size <= ENTRY_TEXT_MAX);
    e->head = mem_alloc(e->head_size);
    memcpy(e->head, &h, sizeof(h));
    put_text(put_text(put_text(put_text(e->head + sizeof(h), key), vary), variant), headers);
    view_texts(e);
    if (body->n)
        e->body_mem = mem_resize(body->p, body->n);
    else
        free(body->p);
    e->body = str_make(e->body_mem ? e->body_mem : "", body->n);
    buf_init(body, body->max);
    e->size = sizeof(*e) + e->head_size + e->body.n;
    atomic_init(&e->refs, 1);
    return e;
}

struct cache_entry *entry_get(struct cache_entry *e)
{
    atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
    return e;
}

void entry_put(struct cache_entry *e)
{
    if (!e || atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) > 1)
        return;
    free(e->head);
    free(e->body_mem);
    free(e);
}

void entry_drop(void *e)
{
    entry_put(e);
}

/* ---- Files ------------------------------------------------------------------------------------
 */

static uint64_t texts_sum(const char *head, size_t n)
{
    size_t from = offsetof(struct file_head, body_sum);

    return hash_stable(str_make(head + from, n - from));
}

void entry_seal(struct cache_entry *e)
{
    struct file_head h;

    memcpy(&h, e->head, sizeof(h));
    h.body_sum = hash_stable(e->body);
    memcpy(e->head, &h, sizeof(h));
    h.texts_sum = texts_sum(e->head, e->head_size);
    memcpy(e->head, &h, sizeof(h));
}

size_t entry_texts_end(const char *head)
{
    struct file_head h;

    memcpy(&h, head, sizeof(h));
    uint64_t n = sizeof(h) + (uint64_t)h.key_n + h.vary_n + h.variant_n + h.headers_n;
    return h.magic == MAGIC && n <= ENTRY_TEXT_MAX ? (size_t)n : 0;
}

uint64_t entry_file_size(const char *head)
{
    struct file_head h;
    size_t n = entry_texts_end(head);

    memcpy(&h, head, sizeof(h));
    return n && h.body_n < UINT64_C(1) << 48 ? n + h.body_n : 0;
}

static bool is_sound(const struct cache_entry *e, const struct file_head *h, size_t n)
{
    struct str name, value;
    size_t at = 0;

    if (h->texts_sum != texts_sum(e->head, e->head_size) || h->facts.status < 200 ||
        h->facts.status > 599)
        return false;
    while (at < e->headers.n)
        if (!line_at(e->headers, &at, &name, &value) || !name.n)
            return false;
    return n == e->head_size || h->body_sum == hash_stable(e->body);
}

struct cache_entry *entry_read(char *bytes, size_t n)
{
    struct cache_entry *e;
    struct file_head h;
    size_t texts = n >= sizeof(h) ? entry_texts_end(bytes) : 0;

    if (!texts || (n != texts && n != entry_file_size(bytes))) {
        free(bytes);
        return NULL;
    }
    memcpy(&h, bytes, sizeof(h));
    e = mem_zero(sizeof(*e));
    e->head = bytes;
    e->head_size = texts;
    e->body = str_make(bytes + texts, n - texts);
    e->size = sizeof(*e) + n;
    atomic_init(&e->refs, 1);
    view_texts(e);
    if (is_sound(e, &h, n))
        return e;
    entry_put(e);
    return NULL;
}
