/* SPDX-License-Identifier: Apache-2.0 */
/* Loads a library and finds its functions. */
#include "base/library.h"

#include <dlfcn.h>
#include <string.h>

bool library_load(const char *file, const struct library_function *functions, size_t n, void *into)
{
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);

    for (size_t i = 0; library && i < n; i++) {
        void *found = dlsym(library, functions[i].name);
        if (!found) {
            dlclose(library);
            return false;
        }
        /* POSIX's way from an object pointer to a function's. */
        memcpy((char *)into + functions[i].at, &found, sizeof(found));
    }
    return library != NULL;
}
