/* SPDX-License-Identifier: Apache-2.0 */
/* Loads LuaJIT and finds its functions. */
#include "config/lua_lib.h"

#include <dlfcn.h>

#include "base/library.h"

struct lua_functions lj;

static const struct library_function functions[] = {
#define LUA_ROW(member, function) {#function, offsetof(struct lua_functions, member)},
    LUA_FUNCTIONS(LUA_ROW)
#undef LUA_ROW
};

bool lua_load_library(struct arena *a, struct str *err)
{
    static bool loaded;

    if (!loaded)
        loaded = library_load("libluajit-5.1.so.2", functions,
                              sizeof(functions) / sizeof(*functions), &lj);
    if (loaded)
        return true;
    const char *why = dlerror();
    *err = arena_printf(a, "Lua needs LuaJIT (Debian: libluajit-5.1-2): %s", why ? why : "too old");
    return false;
}
