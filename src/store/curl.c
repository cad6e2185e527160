/* SPDX-License-Identifier: Apache-2.0 */
/* Loads libcurl and finds its functions. */
#include "store/curl.h"

#include <dlfcn.h>

#include "base/library.h"

struct curl_functions curl;

static const struct library_function functions[] = {
#define CURL_ROW(member, function) {#function, offsetof(struct curl_functions, member)},
    CURL_FUNCTIONS(CURL_ROW)
#undef CURL_ROW
};

bool curl_load(struct arena *a, struct str *err)
{
    static bool loaded;

    if (!loaded)
        loaded = library_load("libcurl.so.4", functions, sizeof(functions) / sizeof(*functions),
                              &curl) &&
                 curl.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    if (loaded)
        return true;
    const char *why = dlerror();
    *err = arena_printf(a, "libcurl is needed (Debian: libcurl4): %s",
                        why ? why : "it cannot be used");
    return false;
}
