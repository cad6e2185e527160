/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's writes: tried, stored, applied, published; and the end of documents with a ttl. */
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/panic.h"
#include "store/keeper_int.h"

/* ---- Writing -----------------------------------------------------------------------------------
 */

/* So many deleted documents are worth a walk through the free memory (some 10 ms). */
enum { DROPPED_MANY = 5000 };

static void applied(struct keeper *k, struct keeper_write *w, const struct store_write *stored)
{
    for (size_t i = 0; i < w->n; i++) {
        struct keeper_change *c = &w->changes[i];
        c->item.modified = w->revision;
        c->item.created = stored->changes[i].created;
        if (k->store->ops->watch)
            echo_add(&k->own, c->item.key, w->revision);
        if (!c->tried)
            builder_apply(k->builder, c->kind, c->id, w->revision, c->value);
        c->tried = false;
        k->dropped += !c->value;
    }
    k->trim |= k->dropped >= DROPPED_MANY;
    builder_revision(k->builder, w->revision);
    keeper_publish(k);
}

enum store_status keeper_write(struct keeper *k, struct keeper_write *w, struct arena *a,
                               struct str *err)
{
    struct store_write stored = {.changes = arena_zero(a, w->n * sizeof(*stored.changes)),
                                 .n = w->n,
                                 .who = w->who,
                                 .peer = w->peer,
                                 .how = w->how};

    for (size_t i = 0; i < w->n; i++) {
        struct keeper_change *c = &w->changes[i];
        c->item = (struct store_item){.key = document_key(a, c->kind, c->id)};
        stored.changes[i] = (struct store_change){
            .key = c->item.key,
            .value = c->value ? document_encode(k->codec, a, c->kind, c->value) : STR_NONE,
            .expect = c->expect,
            .ttl_s = c->ttl_s,
            .known = c->known,
        };
    }
    enum store_status status = k->store->ops->write(k->store, &stored, err);
    w->revision = stored.revision;
    w->failed = stored.failed;
    if (status == STORE_OK)
        applied(k, w, &stored);
    return status;
}

/* ---- On trial ----------------------------------------------------------------------------------
 */

void keeper_try(struct keeper *k, struct keeper_change *c)
{
    ASSERT(c->known && !c->tried);
    /* What is stored could not be put back, and an older version of it may be in service: it is
     * applied only when it is written. */
    if (builder_fault(k->builder, c->kind, c->id).p)
        return;
    builder_apply(k->builder, c->kind, c->id, 0, c->value);
    c->tried = true;
}

void keeper_untry(struct keeper *k, struct keeper_change *changes, size_t n)
{
    /* Last in, first out: a credential goes back to whom it was taken from. */
    while (n-- > 0) {
        struct keeper_change *c = &changes[n];
        if (!c->tried)
            continue;
        c->tried = false;
        json_t *value = c->known->value.p
                            ? document_decode(k->codec, c->kind, c->known->value, NULL)
                            : NULL;
        builder_apply(k->builder, c->kind, c->id, 0, value);
        json_decref(value);
    }
}

/* ---- Documents with a ttl ----------------------------------------------------------------------
 */

/* A clock that is set must not be noticed too late; a disk that is full is asked again. */
enum { EXPIRY_LOOK_MS = 60000, EXPIRY_AGAIN_MS = 5000 };

static int64_t clock_ms(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct ends {
    struct arena arena;
    struct keeper_change *changes;
    size_t n, max;
};

static bool ends_add(void *arg, const struct store_item *item)
{
    struct ends *e = arg;
    struct str id;
    enum kind kind = document_kind(item->key, &id);

    if (kind == KIND_COUNT)
        return true;
    if (e->n == e->max) {
        e->max = e->max ? e->max * 2 : 8;
        e->changes = mem_resize(e->changes, e->max * sizeof(*e->changes));
    }
    e->changes[e->n++] = (struct keeper_change){
        .kind = kind, .id = arena_str(&e->arena, id), .expect = item->modified};
    return e->n < STORE_CHANGES_MAX;
}

static bool ends_write(struct keeper *k, int64_t now_ms)
{
    struct ends e = {.n = 0};
    struct str err = STR_NONE;

    arena_init(&e.arena, NULL);
    enum store_status status = k->store->ops->expired(k->store, now_ms, ends_add, &e, &err);
    if (status == STORE_OK && e.n > 0) {
        struct keeper_write w = {
            .changes = e.changes, .n = e.n, .who = STR("ttl"), .how = STR("ttl")};
        status = keeper_write(k, &w, &e.arena, &err);
    }
    if (status != STORE_OK)
        log_error("documents whose ttl is over cannot be taken away: %.*s", STR_ARG(err));
    else
        for (size_t i = 0; i < e.n; i++)
            log_info("%.*s is gone: its ttl is over", STR_ARG(e.changes[i].item.key));
    free(e.changes);
    arena_fini(&e.arena);
    return status == STORE_OK;
}

int64_t keeper_expire(struct keeper *k)
{
    const struct store_ops *ops = k->store->ops;
    int64_t wall = clock_ms(CLOCK_REALTIME), now = clock_ms(CLOCK_MONOTONIC);

    if (!ops->next_expiry)
        return -1;
    if (k->expiry_wait > now)
        return k->expiry_wait - now;
    k->expiry_wait = 0;
    if (ops->next_expiry(k->store) <= wall && !ends_write(k, wall)) {
        k->expiry_wait = now + EXPIRY_AGAIN_MS;
        return EXPIRY_AGAIN_MS;
    }
    int64_t next = ops->next_expiry(k->store);
    if (next == INT64_MAX)
        return -1;
    return next - wall > EXPIRY_LOOK_MS ? EXPIRY_LOOK_MS : next > wall ? next - wall : 0;
}
