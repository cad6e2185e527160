/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of etcd's keys, and how they differ from the local copy. */
#include "store/etcd_sync.h"

#include "base/mem.h"
#include "store/etcd_wire.h"

/* etcd 3.4 visits all keys of a range for each page of it, so pages are large. */
enum { PAGE = 10000, PAGE_OF_KEYS = 50000 };

/* ---- Pages -------------------------------------------------------------------------------------
 */

static int64_t page_size(const struct etcd_pages *p)
{
    return p->keys_only ? PAGE_OF_KEYS : PAGE;
}

/* The range [from, end) at a revision (0: the newest, which *revision then gets). */
static bool range_read(const struct etcd_pages *p, struct str from, struct str end,
                       int64_t *revision, struct str *err)
{
    struct etcd_range range = {from, end, p->few ? ETCD_RANGE_SMALL : page_size(p), *revision,
                               p->keys_only};
    struct etcd_items page = {.more = true};
    struct arena arenas[2]; /* the page's, and that of the one before, which holds the next key */
    bool good = true;

    arena_init(&arenas[0], NULL);
    arena_init(&arenas[1], NULL);
    for (unsigned turn = 0; page.more && good; turn ^= 1) {
        struct arena *a = &arenas[turn];
        arena_fini(a);
        arena_init(a, NULL);
        enum etcd_status status = etcd_range_call(p->client, &range, a, &page, err);
        if (status == ETCD_TOO_LONG && range.limit > 1) {
            range.limit = range.limit / 8 + 1;
            turn ^= 1;
            continue;
        }
        good = status == ETCD_OK;
        if (!good)
            break;
        if (p->few && range.limit == ETCD_RANGE_SMALL)
            range.limit = page_size(p);
        if (range.revision == 0)
            range.revision = *revision = page.revision;
        if (page.n > 0) {
            range.key = etcd_key_next(a, page.items[page.n - 1].key);
            good = p->each(p->arg, page.items, page.n);
        }
        page.more = page.more && page.n > 0;
    }
    arena_fini(&arenas[0]);
    arena_fini(&arenas[1]);
    return good;
}

bool etcd_pages_read(const struct etcd_pages *p, int64_t *revision, struct str *err)
{
    struct arena a;

    arena_init(&a, NULL);
    *revision = 0;
    bool good = range_read(p, p->prefix, etcd_prefix_end(&a, p->prefix), revision, err);
    arena_fini(&a);
    return good;
}

/* ---- The difference ----------------------------------------------------------------------------
 */

struct comparison {
    struct etcd_client *client;
    struct str prefix;
    struct etcd_copy *copy;
    bool keys_only;
    struct store_batch *batch;
    struct store_item at; /* where the walk over the copy stands */
    bool more;            /* it stands somewhere */
    int64_t revision;
    struct str err;
    const struct str *wanted; /* keys (with the prefix) whose values are to be read */
    size_t nwanted;
};

static void take(struct comparison *c, const struct store_item *item)
{
    struct arena *a = &c->batch->arena;
    struct store_item copy = *item;

    copy.key = arena_str(a, str_from(item->key, c->prefix.n));
    copy.value = arena_str(a, item->value);
    store_batch_add(c->batch, &copy);
}

/* All keys of the copy below this one (absent: all) are not in etcd. */
static void gone_until(struct comparison *c, struct str key)
{
    while (c->more && (!key.p || str_cmp(c->at.key, key) < 0)) {
        struct store_item gone = {.key = arena_str(&c->batch->arena, c->at.key),
                                  .modified = c->revision};
        store_batch_add(c->batch, &gone);
        c->more = etcd_copy_next(c->copy, &c->at);
    }
}

static bool is_known(struct comparison *c, const struct store_item *item)
{
    struct str key = str_from(item->key, c->prefix.n);
    bool same;

    gone_until(c, key);
    if (!c->more || !str_eq(c->at.key, key))
        return false;
    same = c->at.created == item->created && c->at.modified == item->modified;
    c->more = etcd_copy_next(c->copy, &c->at);
    return same;
}

static bool take_wanted(void *arg, struct store_item *items, size_t n)
{
    struct comparison *c = arg;

    for (size_t i = 0; i < n; i++) {
        while (c->nwanted > 0 && str_cmp(c->wanted[0], items[i].key) < 0) {
            c->wanted++;
            c->nwanted--;
        }
        if (c->nwanted > 0 && str_eq(c->wanted[0], items[i].key))
            take(c, &items[i]);
    }
    return true;
}

static bool values_read(struct comparison *c, const struct str *keys, size_t n)
{
    struct etcd_pages pages = {.client = c->client, .each = take_wanted, .arg = c};
    struct arena a;

    arena_init(&a, NULL);
    c->wanted = keys;
    c->nwanted = n;
    bool good = range_read(&pages, keys[0], etcd_key_next(&a, keys[n - 1]), &c->revision, &c->err);
    arena_fini(&a);
    return good;
}

static bool compare_page(void *arg, struct store_item *items, size_t n)
{
    struct comparison *c = arg;
    struct str *unknown = mem_array(n, sizeof(*unknown));
    size_t count = 0;
    bool good = true;

    for (size_t i = 0; i < n; i++) {
        if (is_known(c, &items[i]))
            continue;
        if (c->keys_only)
            unknown[count++] = items[i].key;
        else
            take(c, &items[i]);
    }
    if (count > 0)
        good = values_read(c, unknown, count);
    free(unknown);
    return good;
}

struct store_batch *etcd_compare(struct etcd_client *client, struct str prefix,
                                 struct etcd_copy *copy, struct str *err)
{
    struct comparison c = {.client = client,
                           .prefix = prefix,
                           .copy = copy,
                           .keys_only = etcd_copy_revision(copy) > 0,
                           .batch = store_batch_new(),
                           .revision = 0};
    struct arena a;

    arena_init(&a, NULL);
    struct etcd_pages pages = {.client = client,
                               .prefix = arena_join(&a, prefix, STR("/")),
                               .keys_only = c.keys_only,
                               .each = compare_page,
                               .arg = &c};
    etcd_copy_walk(copy);
    c.more = etcd_copy_next(copy, &c.at);
    struct str end = etcd_prefix_end(&a, pages.prefix);
    bool good = range_read(&pages, pages.prefix, end, &c.revision, &c.err);
    if (good)
        gone_until(&c, STR_NONE);
    etcd_copy_walked(copy);
    arena_fini(&a);
    if (good) {
        c.batch->whole = true;
        c.batch->revision = c.revision;
        return c.batch;
    }
    store_batch_free(c.batch);
    *err = c.err;
    return NULL;
}
