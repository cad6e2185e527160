/* SPDX-License-Identifier: Apache-2.0 */
/* Chains: the plugins of a route in running order, one list for each phase. */
#include "base/panic.h"
#include "config/build_private.h"

enum { FRAME_ALIGN = 16 };

static bool has_phase(const struct plugin *p, enum phase phase)
{
    switch (phase) {
    case PHASE_REWRITE:
        return p->rewrite != NULL;
    case PHASE_ACCESS:
        return p->access != NULL;
    case PHASE_BEFORE_PROXY:
        return p->before_proxy != NULL;
    case PHASE_HEADER_FILTER:
        return p->header_filter != NULL;
    case PHASE_BODY_FILTER:
        return p->body_filter != NULL;
    case PHASE_LOG:
        return p->log != NULL;
    case PHASE_COUNT:
        break;
    }
    PANIC("no such phase");
}

/* Whether a runs before b; a total order, so that a chain never depends on where it came from. */
static bool runs_before(const struct plugin_use *a, const struct plugin_use *b)
{
    if (a->priority != b->priority)
        return a->priority > b->priority;
    if (a->plugin->priority != b->plugin->priority)
        return a->plugin->priority > b->plugin->priority;
    return str_cmp(str_of(a->plugin->name), str_of(b->plugin->name)) < 0;
}

static void step_place(struct chain *c, struct step *s, const struct plugin_use *use,
                       unsigned index)
{
    size_t size = (use->plugin->frame_size + FRAME_ALIGN - 1) & ~(size_t)(FRAME_ALIGN - 1);

    ASSERT(c->frame_size + size <= UINT32_MAX && index <= UINT16_MAX);
    *s = (struct step){*use, c->frame_size, (uint16_t)index};
    c->body = use->body > c->body ? use->body : c->body;
    c->frame_size += (uint32_t)size;
}

/* The phase lists, from steps in running order. */
static void phases_fill(struct arena *a, struct chain *c, const struct step *const *order,
                        unsigned n)
{
    unsigned total = 0;

    for (enum phase p = 0; p < PHASE_COUNT; p++)
        for (unsigned i = 0; i < n; i++)
            total += has_phase(order[i]->use.plugin, p);
    ASSERT(total <= UINT16_MAX);
    uint16_t *places = arena_alloc(a, total * sizeof(*places));
    c->places = places;
    total = 0;
    for (enum phase p = 0; p < PHASE_COUNT; p++) {
        for (unsigned i = 0; i < n; i++)
            if (has_phase(order[i]->use.plugin, p))
                places[total++] = (uint16_t)(order[i] - c->steps);
        c->ends[p] = (uint16_t)total;
    }
}

/* Puts s where it belongs among n ordered ones. */
static void order_insert(const struct step **order, unsigned n, const struct step *s)
{
    unsigned at = n;

    while (at > 0 && runs_before(&s->use, &order[at - 1]->use)) {
        order[at] = order[at - 1];
        at--;
    }
    order[at] = s;
}

const struct chain *chain_new(struct arena *a, const struct plugin_use *uses, unsigned n)
{
    enum { FEW = 16 };
    unsigned char done[FEW] = {0}, *taken = n <= FEW ? done : arena_zero(a, n);
    const struct step *few[FEW], **order;
    unsigned live = 0;

    for (unsigned i = 0; i < n; i++)
        live += !uses[i].disabled;
    if (live == 0)
        return NULL;
    struct chain *c = arena_zero(a, sizeof(*c));
    struct step *steps = arena_alloc(a, live * sizeof(*steps));
    order = live <= FEW ? few : arena_alloc(a, live * sizeof(*order));
    for (unsigned at = 0; at < live; at++) {
        const struct plugin_use *best = NULL;
        for (unsigned i = 0; i < n; i++)
            if (!uses[i].disabled && !taken[i] && (!best || runs_before(&uses[i], best)))
                best = &uses[i];
        taken[best - uses] = 1;
        step_place(c, &steps[at], best, at);
        order[at] = &steps[at];
    }
    c->steps = steps;
    c->n = (uint16_t)live;
    phases_fill(a, c, order, live);
    return c;
}

static const struct plugin_use *use_of(const struct plugin_use *uses, unsigned n,
                                       const struct plugin *p)
{
    for (unsigned i = 0; i < n; i++)
        if (uses[i].plugin == p)
            return &uses[i];
    return NULL;
}

/* Whether the chain runs the plugin; steps that an earlier overlay replaced do not count. */
static bool chain_runs(const struct chain *c, const struct plugin *p)
{
    for (unsigned i = 0; c && i < c->n; i++)
        if (c->steps[i].use.plugin == p)
            return true;
    return false;
}

/* A step that an overlay replaced is in no phase list. */
static bool step_lives(const struct chain *c, const struct step *s)
{
    for (enum phase p = 0; p < PHASE_COUNT; p++)
        for (unsigned i = 0; i < chain_count(c, p); i++)
            if (chain_step(c, p, i) == s)
                return true;
    return false;
}

const struct chain *chain_overlay(struct arena *a, const struct chain *base,
                                  const struct plugin_use *over, unsigned n)
{
    unsigned nbase = base ? base->n : 0, at = nbase, live = 0;

    if (n == 0)
        return base;
    struct chain *c = arena_zero(a, sizeof(*c));
    struct step *steps = arena_alloc(a, (nbase + n) * sizeof(*steps));
    const struct step **order = arena_alloc(a, (nbase + n) * sizeof(*order));

    c->frame_size = base ? base->frame_size : 0;
    for (unsigned i = 0; i < nbase; i++) {
        steps[i] = base->steps[i];
        if (!use_of(over, n, steps[i].use.plugin) && step_lives(base, &base->steps[i]))
            order_insert(order, live++, &steps[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        if (over[i].disabled)
            continue;
        step_place(c, &steps[at], &over[i], at);
        steps[at].use.from_consumer = !chain_runs(base, over[i].plugin);
        order_insert(order, live++, &steps[at]);
        at++;
    }
    c->steps = steps;
    c->n = (uint16_t)at;
    phases_fill(a, c, order, live);
    return c;
}
