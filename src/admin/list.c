/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of documents, filtered as in APISIX (apisix/admin/v3_adapter.lua): all of a kind by key, as
 * etcd gives them, or a page by age. */
#include <inttypes.h>

#include "admin/admin_int.h"
#include "base/buf.h"

/* A list's text; more than anyone wants in one reply. */
enum { LIST_BYTES_MAX = 1 << 30 };

struct listing {
    struct call *c;
    struct filter *filter;
    struct buf out;
    bool full; /* the text is too long */
    int64_t total;
    int64_t from, to; /* of the matching ones, those with this number are shown */
};

static void listing_add(struct listing *l, const struct store_item *item, json_t *value)
{
    struct arena a;

    arena_init(&a, NULL);
    json_t *node = json_pack("{sososIsI}", "key",
                             json_any(arena_join(&a, l->c->admin->prefix, item->key)), "value",
                             shown_value(l->c, value), "createdIndex", (json_int_t)item->created,
                             "modifiedIndex", (json_int_t)item->modified);
    l->full = !buf_add(&l->out, l->out.n ? STR(",") : STR("")) ||
              !buf_add(&l->out, document_text(&a, node));
    json_decref(node);
    arena_fini(&a);
}

static bool listing_item(void *arg, const struct store_item *item)
{
    struct listing *l = arg;

    if (!document_id(l->c->kind, item->key).p)
        return true;
    json_t *value = keeper_decode(l->c->keeper, l->c->kind, item->value);
    if (value && filter_matches(l->filter, l->c, value)) {
        if (l->total >= l->from && l->total < l->to)
            listing_add(l, item, value);
        l->total++;
    }
    json_decref(value);
    return !l->full && !filter_is_spent(l->filter);
}

/* Of a page that nothing is filtered from, keys alone are counted. */
static bool page_want(void *arg, struct str key)
{
    struct listing *l = arg;
    struct str id = document_id(l->c->kind, key);

    if (!id.p || keeper_unreadable(l->c->keeper, l->c->kind, id))
        return false;
    int64_t number = l->total++;
    return number >= l->from && number < l->to;
}

static bool page_item(void *arg, const struct store_item *item)
{
    struct listing *l = arg;
    json_t *value = keeper_decode(l->c->keeper, l->c->kind, item->value);

    if (value)
        listing_add(l, item, value);
    else
        l->total--; /* the keeper has not heard of it yet */
    json_decref(value);
    return !l->full;
}

static enum store_status listing_read(struct listing *l, struct str prefix, struct str *err)
{
    struct store *store = keeper_store(l->c->keeper);
    bool paged = l->to < INT64_MAX;
    struct store_pick page = {prefix, page_want, page_item, l, false};
    struct store_pick all = {prefix, NULL, listing_item, l, !paged};
    const struct store_pick *pick = paged && filter_is_open(l->filter) ? &page : &all;

    return store->ops->pick(store, pick, err);
}

/* page and page_size count only together. False: answered. */
static bool pages_set(struct listing *l)
{
    double page, size;

    l->from = 0;
    l->to = INT64_MAX;
    if (!query_number(query_arg(l->c, STR("page")), &page) ||
        !query_number(query_arg(l->c, STR("page_size")), &size))
        return true;
    if (size < 10 || size > 500) {
        reply_bare(l->c, 400, STR("page_size must be between 10 and 500"));
        return false;
    }
    if (page < 1)
        page = 1;
    if (page > 1e12)
        page = 1e12;
    l->to = (int64_t)(page * size);
    l->from = l->to - (int64_t)size;
    return true;
}

static void listing_reply(struct listing *l)
{
    struct call *c = l->c;
    struct str items = buf_str(&l->out);
    struct str prefix = call_prefix(c);

    prefix.n--;
    if (c->admin->v3)
        reply_bare(c, 200,
                   arena_printf(c->a, "{\"total\":%" PRId64 ",\"list\":[%.*s]}\n", l->total,
                                STR_ARG(items)));
    else
        reply_bare(c, 200,
                   arena_printf(c->a,
                                "{\"action\":\"get\",\"node\":{\"key\":\"%.*s%.*s\",\"dir\":true,"
                                "\"nodes\":[%.*s]}}\n",
                                STR_ARG(c->admin->prefix), STR_ARG(prefix), STR_ARG(items)));
}

void document_list(struct call *c)
{
    struct listing l = {.c = c};
    struct str err = STR_NONE, prefix = call_prefix(c);

    if (!pages_set(&l))
        return;
    buf_init(&l.out, LIST_BYTES_MAX);
    l.filter = filter_new(c);
    if (listing_read(&l, prefix, &err) != STORE_OK)
        reply_store_failed(c, "read", prefix, err);
    else if (filter_is_spent(l.filter))
        reply_error(c, 400, "the patterns of name and uri take too long");
    else if (kinds[c->kind].owner != KIND_COUNT &&
             l.total == 0) /* as APISIX: a folder that was never made */
        reply_not_found(c);
    else if (l.full)
        reply_error(c, 400, "the list is too long: use page and page_size");
    else
        listing_reply(&l);
    filter_free(l.filter);
    buf_fini(&l.out);
}
