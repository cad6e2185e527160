/* SPDX-License-Identifier: Apache-2.0 */
/* Running plugins: phases of chains, in APISIX's order (inventory §2.5), filters of `_meta`,
 * consumers. */
#include <stdio.h>

#include "base/panic.h"
#include "exchange/lua.h"
#include "exchange/vars.h"
#include "exchange/worker.h"

typedef enum verdict step_phase_fn(struct exchange *ex, const void *conf, void *frame);

/* Before any of its plugins runs, the body is collected. */
static void want_body(struct exchange *ex, enum body_need need)
{
    size_t max = body_need_max(ex, need);

    if (max > ex->body_wanted)
        ex->body_wanted = max;
    body_ask(ex, need);
}

void runs_start(struct exchange *ex, unsigned scope, const struct chain *chain)
{
    struct run *run = &ex->runs[scope];

    run->chain = chain;
    run->frames_size = chain->frame_size;
    if (chain->body)
        want_body(ex, chain->body);
    if (chain->frame_size)
        run->frames = arena_zero(&ex->arena, chain->frame_size);
}

static void *frame_of(const struct run *run, const struct step *s)
{
    if (s->frame_at < run->frames_size)
        return run->frames + s->frame_at;
    return run->more_frames ? run->more_frames + (s->frame_at - run->frames_size) : NULL;
}

/* `_meta.filter`, evaluated once per exchange (inventory §2.5). */
static bool filter_lets(struct exchange *ex, struct run *run, const struct step *s)
{
    const struct plugin_meta *meta = s->use.meta;
    uint64_t bit;

    if (!meta || !meta->filter)
        return true;
    if (s->index >= 64)
        return expr_matches(ex, meta->filter);
    bit = 1ull << s->index;
    if (!(run->filter_known & bit)) {
        run->filter_known |= bit;
        if (expr_matches(ex, meta->filter))
            run->filtered |= bit;
    }
    return run->filtered & bit;
}

static phase_fn *phase_of(const struct plugin *p, enum phase phase)
{
    switch (phase) {
    case PHASE_REWRITE:
        return p->rewrite;
    case PHASE_ACCESS:
        return p->access;
    case PHASE_BEFORE_PROXY:
        return p->before_proxy;
    case PHASE_HEADER_FILTER:
        return p->header_filter;
    case PHASE_BODY_FILTER:
    case PHASE_LOG:
    case PHASE_COUNT:
        break;
    }
    return NULL;
}

/* `_meta.error_response` takes the place of a refusal's body. */
static void replace_refusal(struct exchange *ex, const struct plugin_meta *meta)
{
    if (!meta || !meta->error_response.p || ex->status < 400)
        return;
    reply_text(ex, ex->status, meta->error_is_json ? STR("application/json") : STR("text/plain"),
               meta->error_response);
}

/* `_meta.pre_function`, but not again when a phase goes on after it has waited. */
static void before_phase(struct exchange *ex, const struct step *s)
{
    if (s->use.meta->pre_function && !ex->resumed)
        lua_pre_function(ex, &s->use);
}

/* One phase of one scope, from ex->at on. `wanted` chooses steps when not NULL. */
static enum verdict run_list(struct exchange *ex, struct run *run, enum phase phase,
                             bool (*wanted)(const struct step *s))
{
    if (!run->chain)
        return NEXT;
    unsigned n = chain_count(run->chain, phase);
    while (ex->at < n) {
        const struct step *s = chain_step(run->chain, phase, ex->at);
        if ((wanted && !wanted(s)) || !filter_lets(ex, run, s)) {
            ex->at++;
            continue;
        }
        if (s->use.meta)
            before_phase(ex, s);
        enum verdict v = phase_of(s->use.plugin, phase)(ex, s->use.conf, frame_of(run, s));
        ex->resumed = v == WAIT;
        /* Forgetting to wait, or waiting for nothing, is a bug of the plugin. */
        ASSERT((v == WAIT) == (ex->npending > 0));
        if (v == WAIT)
            return v;
        ex->at++;
        if (v == REPLY)
            replace_refusal(ex, s->use.meta);
        if (v == FAULT)
            ex_log(ex, LOG_ERROR, "plugin %s failed", s->use.plugin->name);
        else if (v == NEXT && phase <= PHASE_BEFORE_PROXY && ex->req.head.lost)
            v = FAULT; /* what comes next must not see a request without the plugin's header */
        if (v != NEXT)
            return v;
    }
    ex->at = 0;
    return NEXT;
}

/* ---- Rewrite and access
 * ------------------------------------------------------------------------------ */

static bool is_of_consumer(const struct step *s)
{
    return s->use.from_consumer && !s->use.plugin->auth;
}

static bool has_use(const struct consumer *c, const struct plugin *p)
{
    for (unsigned i = 0; i < c->nuses; i++)
        if (c->uses[i].plugin == p)
            return true;
    return false;
}

/* The consumer's plugins, and of its group's those that it does not have itself. */
static const struct plugin_use *group_uses(struct exchange *ex, const struct consumer_group *g,
                                           unsigned *n)
{
    const struct consumer *c = ex->consumer;
    struct plugin_use *uses = arena_alloc(&ex->arena, (c->nuses + g->nuses) * sizeof(*uses));

    *n = 0;
    for (unsigned i = 0; i < c->nuses; i++)
        uses[(*n)++] = c->uses[i];
    for (unsigned i = 0; i < g->nuses; i++)
        if (!has_use(c, g->uses[i].plugin))
            uses[(*n)++] = g->uses[i];
    return uses;
}

/* Lays the plugins of the consumer and its group over the route's (APISIX: merge_consumer_route).
 * A group that is missing, or that cannot run what it should, refuses its consumers. */
static enum verdict merge_consumer(struct exchange *ex)
{
    const struct consumer *c = ex->consumer;
    const struct plugin_use *uses = c->uses;
    struct run *run = &ex->runs[SCOPE_ROUTE];
    unsigned n = c->nuses;

    ex->consumer_merged = true;
    if (c->group_id.p) {
        const struct consumer_group *g = snapshot_group(ex->hold->snapshot, c->group_id);
        if (!g || g->closed) {
            ex_log(ex, LOG_ERROR, "consumer group %.*s %s", STR_ARG(c->group_id),
                   g ? "is closed: a plugin of it cannot run" : "is not there");
            return reply_status(ex, 503);
        }
        if (g->nuses)
            uses = group_uses(ex, g, &n);
    }
    if (n == 0)
        return NEXT;
    run->chain = chain_overlay(&ex->arena, run->chain, uses, n);
    if (run->chain->frame_size > run->frames_size)
        run->more_frames = arena_zero(&ex->arena, run->chain->frame_size - run->frames_size);
    /* A step that was replaced by the consumer's is filtered anew. */
    run->filter_known = run->filtered = 0;
    want_body(ex, run->chain->body);
    return ex->body_wanted && request_body_hold(ex, true) ? WAIT : NEXT;
}

enum { PASS_CONSUMER = 2, PASSES = 5 };

enum verdict passes_run(struct exchange *ex)
{
    static const struct {
        uint8_t scope, phase;
        bool (*wanted)(const struct step *s);
    } passes[PASSES] = {
        {SCOPE_GLOBAL, PHASE_REWRITE, NULL},
        {SCOPE_ROUTE, PHASE_REWRITE, NULL},
        {SCOPE_ROUTE, PHASE_REWRITE, is_of_consumer},
        {SCOPE_GLOBAL, PHASE_ACCESS, NULL},
        {SCOPE_ROUTE, PHASE_ACCESS, NULL},
    };

    if (!ex->runs[SCOPE_GLOBAL].chain && !ex->runs[SCOPE_ROUTE].chain)
        return NEXT;
    for (; ex->pass < PASSES; ex->pass++) {
        if (ex->pass == PASS_CONSUMER) {
            if (!ex->consumer)
                continue;
            enum verdict merged = ex->consumer_merged ? NEXT : merge_consumer(ex);
            if (ex->reading)
                body_read_take(ex);
            if (merged == NEXT && ex->body_asked && body_read_start(ex))
                return WAIT;
            if (merged != NEXT)
                return merged;
        }
        enum verdict v = run_list(ex, &ex->runs[passes[ex->pass].scope], passes[ex->pass].phase,
                                  passes[ex->pass].wanted);
        if (v != NEXT)
            return v;
    }
    return NEXT;
}

enum reason request_fault(const struct exchange *ex)
{
    return ex->req.head.lost ? REASON_TOO_MANY_HEADERS : REASON_PLUGIN_FAULT;
}

/* ---- Later phases
 * ------------------------------------------------------------------------------------- */

enum verdict phase_run(struct exchange *ex, enum phase phase)
{
    if (ex->unfiltered)
        return NEXT;
    /* ex->pass counts the scopes of this phase; exchange_go to a step has zeroed ex->at. */
    for (; ex->pass < SCOPE_COUNT; ex->pass++) {
        enum verdict v = run_list(ex, &ex->runs[ex->pass], phase, NULL);
        if (v != NEXT)
            return v;
    }
    return NEXT;
}

bool has_body_filters(const struct exchange *ex)
{
    if (ex->unfiltered)
        return false;
    for (unsigned i = 0; i < SCOPE_COUNT; i++)
        if (ex->runs[i].chain && chain_count(ex->runs[i].chain, PHASE_BODY_FILTER))
            return true;
    return false;
}

static bool filter_scope(struct exchange *ex, struct run *run, struct chunk *chunk)
{
    if (!run->chain)
        return true;
    unsigned n = chain_count(run->chain, PHASE_BODY_FILTER);
    for (unsigned i = 0; i < n; i++) {
        const struct step *s = chain_step(run->chain, PHASE_BODY_FILTER, i);
        if (!filter_lets(ex, run, s))
            continue;
        if (s->use.meta)
            before_phase(ex, s);
        enum verdict v = s->use.plugin->body_filter(ex, s->use.conf, frame_of(run, s), chunk);
        ASSERT(v != WAIT && v != REPLY && !ex->npending);
        if (v != NEXT) {
            ex_log(ex, LOG_ERROR, "plugin %s failed in its body filter", s->use.plugin->name);
            return false;
        }
    }
    return true;
}

bool body_filters_run(struct exchange *ex, struct chunk *chunk)
{
    return filter_scope(ex, &ex->runs[SCOPE_GLOBAL], chunk) &&
           filter_scope(ex, &ex->runs[SCOPE_ROUTE], chunk);
}

void log_phase_run(struct exchange *ex)
{
    for (unsigned i = 0; i < SCOPE_COUNT; i++) {
        struct run *run = &ex->runs[i];
        if (!run->chain)
            continue;
        unsigned n = chain_count(run->chain, PHASE_LOG);
        for (unsigned j = 0; j < n; j++) {
            const struct step *s = chain_step(run->chain, PHASE_LOG, j);
            if (!filter_lets(ex, run, s))
                continue;
            if (s->use.meta)
                before_phase(ex, s);
            s->use.plugin->log(ex, s->use.conf, frame_of(run, s));
        }
    }
}
