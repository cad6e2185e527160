/* SPDX-License-Identifier: Apache-2.0 */
/* The workers' side of Lua: one state each, whose variables ask the exchange. */
#include "exchange/lua.h"

#include "config/lua.h"
#include "exchange/vars.h"
#include "exchange/worker.h"

enum {
    STATE_BYTES = 2 << 20, /* a state that holds more is made anew after a change of the
                              configuration: it may hold functions that have gone with it */
    LINES = 5,             /* of errors in the log, for a worker and second */
    VAR_STEPS = 200,       /* that reading or setting a variable counts as */
};

/* vars.NAME, and the options and the context, whose few members are variables too. */
static int vars_index(lua_State *L)
{
    struct exchange *ex = lua_vm_of(L)->owner;
    size_t n;

    lj.settop(L, 2);
    if (!ex || lj.type(L, 2) != LUA_TSTRING)
        return 0;
    const char *name = lj.tolstring(L, 2, &n);
    struct var v = var_find(str_make(name, n), &ex->arena);
    struct value value = var_read(ex, &v);
    /* Reading takes memory of the exchange, and time where a body is searched. */
    lua_vm_spend(L, VAR_STEPS + value.text.n / 16, v.value != NULL);
    if (value.json)
        lua_push_json(L, value.json);
    else if (value.text.p)
        lj.pushlstring(L, value.text.p, value.text.n);
    else
        lj.pushnil(L);
    return 1;
}

static int vars_newindex(lua_State *L)
{
    struct exchange *ex = lua_vm_of(L)->owner;
    size_t n, m = 0;

    if (!ex || lj.type(L, 2) != LUA_TSTRING)
        return 0;
    const char *name = lj.tolstring(L, 2, &n), *text = lj.tolstring(L, 3, &m);
    if (lj.type(L, 3) == LUA_TBOOLEAN) {
        text = lj.toboolean(L, 3) ? "true" : "false";
        m = strlen(text);
    }
    lua_vm_spend(L, VAR_STEPS + (n + m) / 16, false);
    if (text)
        var_set(ex, arena_str(&ex->arena, str_make(name, n)),
                arena_str(&ex->arena, str_make(text, m)));
    return 0;
}

struct call {
    const struct lua_source *source;
    json_t *conf; /* of a pre_function: what its configuration is made of, once in each state */
    bool filter;
    bool result;
};

static void free_json(void *arg)
{
    json_decref(arg);
}

static int run_call(lua_State *L)
{
    struct call *c = lj.touserdata(L, 1);
    const struct lua_source *s = c->source;

    lua_push_source(L, s);
    if (c->filter) {
        lua_push_vars(L);
        lua_push_options(L);
        lua_push_context(L);
        lj.call(L, 3, 1);
        c->result = lj.toboolean(L, -1);
        return 0;
    }
    if (!lua_knows_conf(L, s)) {
        /* An error on the way loses nothing: it goes with the exchange. */
        c->conf = json_loadb(s->conf.p, s->conf.n, 0, NULL);
        ex_on_end(lua_vm_of(L)->owner, free_json, c->conf);
    }
    lua_push_conf(L, s, c->conf);
    lua_push_context(L);
    lj.call(L, 2, 0);
    return 0;
}

/* Whether a line more may be written this second. */
static bool may_say(struct lua_errors *e, int64_t now_ms)
{
    if (now_ms - e->since_ms >= 1000) {
        if (e->unsaid)
            log_warn("Lua: %u errors more were not logged", e->unsaid);
        e->since_ms = now_ms;
        e->lines = e->unsaid = 0;
    }
    if (e->lines < LINES) {
        e->lines++;
        return true;
    }
    e->unsaid++;
    return false;
}

/* False: it failed, and `what` with the reason is in the log. */
static bool run(struct exchange *ex, struct call *c, struct str what, const char *verb)
{
    uint64_t version = ex->hold->snapshot->version;
    struct lua_errors *errors = &ex->worker->lua_errors;
    struct lua_vm **at = &ex->worker->lua;

    if (*at && version > ex->worker->lua_version && lua_vm_bytes(*at) > STATE_BYTES) {
        lua_vm_free(*at);
        *at = NULL;
    }
    if (!*at) {
        ex->worker->lua_version = version;
        *at = lua_vm_new(vars_index, vars_newindex);
    }
    if (!*at)
        return false;
    (*at)->owner = ex;
    bool ok = lua_vm_call(*at, run_call, c);
    if (!ok && may_say(errors, ex->worker->thread.loop.now_ms))
        ex_log(ex, LOG_ERROR, "%s %.*s failed: %s", verb, STR_ARG(what), lua_vm_error(*at));
    lua_vm_settle(at);
    return ok;
}

bool lua_filter(struct exchange *ex, const struct route *route)
{
    struct call c = {.source = route->about->filter, .filter = true};

    return run(ex, &c, route->about->id, "filter_func of route") && c.result;
}

void lua_pre_function(struct exchange *ex, const struct plugin_use *use)
{
    struct call c = {.source = use->meta->pre_function};

    run(ex, &c, str_of(use->plugin->name), "pre_function execution for plugin");
}
