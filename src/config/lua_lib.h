/* SPDX-License-Identifier: Apache-2.0 */
/* LuaJIT, loaded only when a configuration brings Lua: others do not owe its memory. Include this
 * instead of its headers, and call lj.pcall() for lua_pcall(). */
#ifndef CONFIG_LUA_LIB_H
#define CONFIG_LUA_LIB_H

#include <luajit-2.1/lua.h>
/* After it: these need what it says. */
#include <luajit-2.1/lauxlib.h>
#include <luajit-2.1/luajit.h>
#include <luajit-2.1/lualib.h>

#include "base/arena.h"

/* X(member, function) */
#define LUA_FUNCTIONS(X)                        \
    X(newstate, lua_newstate)                   \
    X(close, lua_close)                         \
    X(atpanic, lua_atpanic)                     \
    X(getallocf, lua_getallocf)                 \
    X(openlibs, luaL_openlibs)                  \
    X(setmode, luaJIT_setmode)                  \
    X(sethook, lua_sethook)                     \
    X(gc, lua_gc)                               \
    X(loadbufferx, luaL_loadbufferx)            \
    X(call, lua_call)                           \
    X(pcall, lua_pcall)                         \
    X(cpcall, lua_cpcall)                       \
    X(error, luaL_error)                        \
    X(argerror, luaL_argerror)                  \
    X(checklstring, luaL_checklstring)          \
    X(checkinteger, luaL_checkinteger)          \
    X(optinteger, luaL_optinteger)              \
    X(checkstack, luaL_checkstack)              \
    X(gettop, lua_gettop)                       \
    X(objlen, lua_objlen)                       \
    X(settop, lua_settop)                       \
    X(insert, lua_insert)                       \
    X(remove, lua_remove)                       \
    X(pushvalue, lua_pushvalue)                 \
    X(type, lua_type)                           \
    X(pushnil, lua_pushnil)                     \
    X(pushboolean, lua_pushboolean)             \
    X(pushinteger, lua_pushinteger)             \
    X(pushnumber, lua_pushnumber)               \
    X(pushlstring, lua_pushlstring)             \
    X(pushcclosure, lua_pushcclosure)           \
    X(pushlightuserdata, lua_pushlightuserdata) \
    X(toboolean, lua_toboolean)                 \
    X(tointeger, lua_tointeger)                 \
    X(tolstring, lua_tolstring)                 \
    X(touserdata, lua_touserdata)               \
    X(createtable, lua_createtable)             \
    X(gettable, lua_gettable)                   \
    X(getfield, lua_getfield)                   \
    X(setfield, lua_setfield)                   \
    X(rawset, lua_rawset)                       \
    X(rawgeti, lua_rawgeti)                     \
    X(rawseti, lua_rawseti)                     \
    X(replace, lua_replace)                     \
    X(setmetatable, lua_setmetatable)           \
    X(setfenv, lua_setfenv)

struct lua_functions {
#define LUA_MEMBER(member, function) __typeof__(function) *member;
    LUA_FUNCTIONS(LUA_MEMBER)
#undef LUA_MEMBER
};

/* Filled by lua_load_library. */
extern struct lua_functions lj;

/* Loads LuaJIT once in the process, on the builder's thread, before any worker can have a function
 * to call. False with a message in the arena when it is not installed. */
bool lua_load_library(struct arena *a, struct str *err);

/* lua_pattern.c: puts versions of string.find, match, gmatch and gsub that count their steps into
 * the table on top of the stack. *steps goes down as they work; at 0 they raise an error. */
void lua_open_patterns(lua_State *L, unsigned *steps);

#endif
