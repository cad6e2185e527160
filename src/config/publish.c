/* SPDX-License-Identifier: Apache-2.0 */
/* Versions: the upstreams' array, publication, and what becomes of old versions. */
#include "base/mem.h"
#include "base/panic.h"
#include "config/build_private.h"

/* ---- Upstreams by slot ---- */

enum { SLOTS_MIN = 16 };

/* Replaces the array by one that the version under construction owns. */
static void slots_own(struct builder *b, uint32_t max)
{
    const struct upstream **slots = mem_array(max, sizeof(*slots));

    if (b->nslots)
        memcpy(slots, b->slots, b->nslots * sizeof(*slots));
    if (b->slots && b->slots_born == b->version)
        free(b->slots);
    else if (b->slots)
        garbage_add(&b->dead, b->slots, free, b->slots_born);
    b->slots = slots;
    b->slots_born = b->version;
    b->slots_max = max;
}

static uint32_t slot_take(struct builder *b)
{
    if (b->nfree_slots)
        return b->free_slots[--b->nfree_slots];
    if (b->nslots == b->slots_max)
        slots_own(b, b->slots_max ? b->slots_max * 2 : SLOTS_MIN);
    return b->nslots++;
}

static void slot_give(struct builder *b, uint32_t slot)
{
    if (b->nfree_slots == b->free_slots_max) {
        b->free_slots_max = b->free_slots_max ? b->free_slots_max * 2 : SLOTS_MIN;
        b->free_slots = mem_resize(b->free_slots, b->free_slots_max * sizeof(*b->free_slots));
    }
    b->free_slots[b->nfree_slots++] = slot;
}

static void note_checked(struct builder *b, uint32_t slot)
{
    if (b->nchecked == b->checked_max) {
        b->checked_max = b->checked_max ? b->checked_max * 2 : SLOTS_MIN;
        b->checked = mem_resize(b->checked, b->checked_max * sizeof(*b->checked));
    }
    b->checked[b->nchecked++] = slot;
}

void item_set_upstream(struct builder *b, struct item *item, struct upstream *u)
{
    const struct upstream *old = item->slot == UPSTREAM_NONE ? NULL : b->slots[item->slot];

    if (!u && item->slot == UPSTREAM_NONE)
        return;
    if (item->slot == UPSTREAM_NONE)
        item->slot = slot_take(b);
    if ((old && old->checks) || (u && u->checks))
        note_checked(b, item->slot);
    /* Places behind those published may be filled in place: no snapshot looks at them. */
    if (item->slot < b->nslots_published && b->slots_born != b->version)
        slots_own(b, b->slots_max);
    b->slots[item->slot] = u;
    if (u) {
        u->slot = item->slot;
    } else {
        slot_give(b, item->slot);
        item->slot = UPSTREAM_NONE;
    }
}

/* ---- Publication ---- */

static struct version *newest(struct builder *b)
{
    return list_empty(&b->versions) ? NULL : CONTAINER(b->versions.prev, struct version, link);
}

static void link_dirty(struct builder *b)
{
    while (b->dirty) {
        struct item *item = b->dirty;
        b->dirty = item->next_dirty;
        item->dirty = false;
        route_link(b, item);
        item_release(b, item);
    }
}

static struct version *version_new(struct builder *b)
{
    struct version *v = mem_zero(sizeof(*v));
    struct snapshot *s = &v->snapshot;

    v->router = b->router;
    s->version = b->version;
    s->revision = b->revision;
    s->router = &v->router;
    s->upstreams = b->slots;
    s->nupstreams = b->nslots;
    s->credentials = b->credentials;
    s->consumers = b->consumers;
    s->groups = b->groups;
    s->metadata = b->metadata;
    s->checks = (struct checks_change){b->checked_version, b->checked, b->nchecked};
    s->sites = b->sites;
    s->identities = b->identities;
    s->mutual = b->nmutual > 0;
    globals_show(b, s);
    atomic_init(&s->refs, 1); /* the builder's, as long as it is the newest */
    return v;
}

/* The list is the version's now. */
static void checked_publish(struct builder *b)
{
    if (b->nchecked)
        b->checked_version = b->version;
    b->checked = NULL;
    b->nchecked = b->checked_max = 0;
}

void version_free(struct version *v)
{
    list_remove(&v->link);
    free((void *)(uintptr_t)v->snapshot.checks.slots);
    free(v);
}

const struct snapshot *builder_publish(struct builder *b)
{
    struct version *old = newest(b);

    if (b->changed) {
        link_dirty(b);
        if (b->globals_changed)
            globals_renew(b);
        struct version *v = version_new(b);
        list_append(&b->versions, &v->link);
        if (old) {
            old->dead = b->dead;
            b->dead = (struct garbage){0};
            snapshot_put(&old->snapshot);
        }
        /* What was born in the first version died in it. */
        ASSERT(b->dead.n == 0);
        checked_publish(b);
        b->version++;
        b->nslots_published = b->nslots;
        b->changed = false;
    }
    builder_reclaim(b);
    const struct snapshot *s = &newest(b)->snapshot;
    snapshot_get(s);
    return s;
}

bool builder_reclaim(struct builder *b)
{
    struct version *held = NULL; /* the last one seen that stays */

    for (struct list *l = b->versions.next, *next; l != &b->versions; l = next) {
        struct version *v = CONTAINER(l, struct version, link);
        next = l->next;
        if (atomic_load_explicit(&v->snapshot.refs, memory_order_acquire) != 0) {
            held = v;
            continue;
        }
        if (held)
            garbage_sift(&v->dead, held->snapshot.version, &held->dead);
        else
            garbage_fini(&v->dead);
        version_free(v);
    }
    return b->versions.next != b->versions.prev;
}
