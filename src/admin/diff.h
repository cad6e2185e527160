/* SPDX-License-Identifier: Apache-2.0 */
/* How one JSON value becomes another. */
#ifndef ADMIN_DIFF_H
#define ADMIN_DIFF_H

#include <jansson.h>

/* A JSON Patch (RFC 6902) that makes `after` of `before`: an array of add, remove and replace, to
 * be applied in order; empty when they are equal. NULL stands for nothing at all: then the whole
 * document is added or removed, at the path "". A new reference. Of arrays the equal front and end
 * are left alone. */
json_t *diff_make(const json_t *before, const json_t *after);

#endif
