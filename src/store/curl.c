/* SPDX-License-Identifier: Apache-2.0 */
/* Loads libcurl and finds its functions. */
#include "store/curl.h"

#include <dlfcn.h>

struct curl_functions curl;

static const struct {
    const char *name;
    size_t at;
} functions[] = {
#define CURL_ROW(member, function) {#function, offsetof(struct curl_functions, member)},
    CURL_FUNCTIONS(CURL_ROW)
#undef CURL_ROW
};

bool curl_load(struct arena *a, struct str *err)
{
    static void *library;

    if (library)
        return true;
    library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; library && i < sizeof(functions) / sizeof(*functions); i++) {
        void *found = dlsym(library, functions[i].name);
        if (!found) {
            dlclose(library);
            library = NULL;
            break;
        }
        /* POSIX's way from an object pointer to a function's. */
        memcpy((char *)&curl + functions[i].at, &found, sizeof(found));
    }
    if (library && curl.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
        return true;
    const char *why = dlerror();
    *err = arena_printf(a, "libcurl is needed (Debian: libcurl4): %s",
                        why ? why : "it cannot be used");
    return false;
}
