/* SPDX-License-Identifier: Apache-2.0 */
/* Loads LuaJIT and finds its functions. */
#include "config/lua_lib.h"

#include <dlfcn.h>

struct lua_functions lj;

static const struct {
    const char *name;
    size_t at;
} functions[] = {
#define LUA_ROW(member, function) {#function, offsetof(struct lua_functions, member)},
    LUA_FUNCTIONS(LUA_ROW)
#undef LUA_ROW
};

bool lua_load_library(struct arena *a, struct str *err)
{
    static void *library;

    if (library)
        return true;
    library = dlopen("libluajit-5.1.so.2", RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; library && i < sizeof(functions) / sizeof(*functions); i++) {
        void *found = dlsym(library, functions[i].name);
        if (!found) {
            dlclose(library);
            library = NULL;
            break;
        }
        /* POSIX's way from an object pointer to a function's. */
        memcpy((char *)&lj + functions[i].at, &found, sizeof(found));
    }
    if (library)
        return true;
    const char *why = dlerror();
    *err = arena_printf(a, "Lua needs LuaJIT (Debian: libluajit-5.1-2): %s", why ? why : "too old");
    return false;
}
