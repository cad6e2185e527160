/* SPDX-License-Identifier: Apache-2.0 */
/* Lua that a configuration brings, run by LuaJIT in a sandbox: no files, no processes, no FFI, no
 * loading of code; a bounded number of steps and of bytes for each call. The builder checks with
 * it, a worker calls (exchange/lua.h). LuaJIT is loaded when the first chunk is checked. */
#ifndef CONFIG_LUA_H
#define CONFIG_LUA_H

#include <jansson.h>

#include "config/lua_lib.h"

/* A function of a document. Its chunk returns the function. */
struct lua_source {
    struct str chunk;
    const char *name; /* of the chunk, in messages */
    uint32_t id;      /* its place in each state's tables */
    struct str conf;  /* JSON of the plugin's configuration; absent: none */
};

enum lua_wanted { LUA_ANY, LUA_FUNCTION, LUA_TABLE };
enum lua_check { LUA_CHECK_OK, LUA_CHECK_FAILED, LUA_CHECK_OTHER };

/* Whether a chunk compiles and, unless anything is wanted, returns such a value; it is run in the
 * sandbox. FAILED: *err is LuaJIT's message, in the arena; OTHER: it returns something else. `name`
 * stands for the chunk in messages; NULL: the chunk itself. */
enum lua_check lua_check(struct str chunk, const char *name, enum lua_wanted wanted,
                         struct arena *a, struct str *err);
/* A chunk that has been checked, for workers to call what it returns. conf: a plugin's
 * configuration, or NULL. In the arena. */
struct lua_source *lua_source_new(struct arena *a, struct str chunk, const char *name,
                                  const json_t *conf);

/* ---- States ---- */

/* Of one thread. What is called in it shares nothing but its tables of compiled functions. */
struct lua_vm {
    lua_State *L;
    void *owner; /* whoever's call is under way; the functions below find it here */
    /* private */
    size_t used, limit;
    long steps; /* left to the call under way */
    unsigned pattern_steps;
    int64_t cpu_end_us;
    uintptr_t stack; /* where the thread's stack was when the call began */
};

/* index and newindex are what `vars`, the options and the context do when they are read and
 * written. NULL, with a line in the log: there is no memory for it. */
struct lua_vm *lua_vm_new(lua_CFunction index, lua_CFunction newindex);
/* NULL is fine. */
void lua_vm_free(struct lua_vm *vm);
struct lua_vm *lua_vm_of(lua_State *L);
/* Bytes that it holds. */
size_t lua_vm_bytes(const struct lua_vm *vm);
/* Calls f, which finds arg as its first argument, protected and within a call's bounds. False: the
 * message is on top of the stack. */
bool lua_vm_call(struct lua_vm *vm, lua_CFunction f, void *arg);
/* What a call that failed left on the stack: as it is, since to make a text of anything else would
 * take memory outside of a protected call. */
const char *lua_vm_error(const struct lua_vm *vm);
/* After each call: empties the stack. *vm becomes NULL when the state has grown too large. */
void lua_vm_settle(struct lua_vm **vm);

/* In a call; all of them may raise errors. */

/* What a C function did counts as so many steps; look: at the clock too, since it may have taken
 * long. In front of what calls functions back: that nests on the thread's stack. */
void lua_vm_spend(lua_State *L, size_t steps, bool look);
void lua_push_json(lua_State *L, const json_t *v);
/* The function of a source, compiled when this state has not seen it yet; its configuration; the
 * variables, lua-resty-radixtree's options, APISIX's context. */
void lua_push_source(lua_State *L, const struct lua_source *s);
void lua_push_conf(lua_State *L, const struct lua_source *s, json_t *conf);
bool lua_knows_conf(lua_State *L, const struct lua_source *s);
void lua_push_vars(lua_State *L);
void lua_push_options(lua_State *L);
void lua_push_context(lua_State *L);

#endif
