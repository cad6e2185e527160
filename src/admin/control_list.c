/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of the control API: documents are copied as texts on the keeper's thread, and made into a
 * reply by a job. */
#include "admin/control_int.h"
#include "base/mem.h"

enum { LIST_BYTES_MAX = 1 << 30 }; /* more than anyone wants in one reply */

struct listing {
    struct job job;
    struct question q;
    const struct list_form *form;
    struct store_batch *items;
    enum kind kind; /* that is being read */
};

json_t *stored_value(const struct store_item *item)
{
    return json_loadb(item->value.p ? item->value.p : "", item->value.n, 0, NULL);
}

bool stored_find(struct question *q, enum kind kind, struct str id, struct store_item *item,
                 json_t **value)
{
    struct store *store = keeper_store(q->c->keeper);
    struct str err, key = document_key(q->c->a, kind, id);

    *value = NULL;
    if (id.n > 0 && builder_has(keeper_builder(q->c->keeper), kind, id) &&
        store->ops->get(store, key, q->c->a, item, &err) == STORE_OK)
        *value = stored_value(item);
    return *value != NULL;
}

/* ---- On the keeper's thread ---- */

static bool list_item(void *arg, const struct store_item *item)
{
    struct listing *l = arg;
    struct str id = document_id(l->kind, item->key);

    /* What is skipped as bad is not part of what is served. */
    if (id.p && builder_has(keeper_builder(l->q.c->keeper), l->kind, id))
        store_batch_copy(l->items, item);
    return true;
}

/* ---- On the job's ---- */

bool list_add_json(struct buf *out, size_t *n, json_t *value)
{
    struct arena a;

    arena_init(&a, NULL);
    bool room = buf_add(out, (*n)++ ? STR(",") : STR("")) && buf_add(out, document_text(&a, value));
    arena_fini(&a);
    json_decref(value);
    return room;
}

static void list_make(struct job *job)
{
    struct listing *l = CONTAINER(job, struct listing, job);
    struct call *c = l->q.c;
    struct buf out;
    size_t n = 0;

    buf_init(&out, LIST_BYTES_MAX);
    bool room = buf_add(&out, str_of(l->form->begin));
    for (size_t i = 0; room && i < l->items->n; i++) {
        const struct store_item *item = &l->items->items[i];
        struct str id;
        json_t *value = stored_value(item);
        if (value)
            room = l->form->add(&l->q, &out, &n, document_kind(item->key, &id), item, value);
        json_decref(value);
    }
    if (room && buf_add(&out, str_of(l->form->end))) {
        reply_bare(c, 200, arena_str(c->a, buf_str(&out)));
        c->reply->content_type = str_of(l->form->content_type);
    } else {
        reply_error(c, 500, "the list is too long");
    }
    buf_fini(&out);
    store_batch_free(l->items);
}

static void list_done(struct job *job)
{
    struct listing *l = CONTAINER(job, struct listing, job);
    struct call *c = l->q.c;

    free(l);
    call_end(c);
}

void control_list(struct question *q, const enum kind *which, size_t n,
                  const struct list_form *form)
{
    struct store *store = keeper_store(q->c->keeper);
    struct listing *l = mem_zero(sizeof(*l));
    struct str err = STR_NONE;

    l->q = *q;
    l->q.later = NULL;
    l->form = form;
    l->items = store_batch_new();
    for (size_t i = 0; i < n; i++) {
        struct str prefix = document_prefix(q->c->a, which[i]);
        l->kind = which[i];
        if (store->ops->list(store, prefix, list_item, l, &err) == STORE_OK)
            continue;
        reply_store_failed(q->c, "read", prefix, err);
        store_batch_free(l->items);
        free(l);
        return;
    }
    *q->later = true;
    l->job.work = list_make;
    l->job.done = list_done;
    jobs_run(q->control->jobs, &l->job);
}
