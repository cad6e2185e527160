/* SPDX-License-Identifier: Apache-2.0 */
/* Shared libraries that only some need: looked for when the first does. */
#ifndef BASE_LIBRARY_H
#define BASE_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

struct library_function {
    const char *name;
    size_t at; /* offset of the pointer to it */
};

/* Finds all of these functions in the library's file and puts pointers to them into `into`. False:
 * the file or one of them is not there, and dlerror() says which. May read files. */
bool library_load(const char *file, const struct library_function *functions, size_t n, void *into);

#endif
