/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies unpacked whole, bounded. */
#ifndef BASE_GUNZIP_H
#define BASE_GUNZIP_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/* Unpacks gzip (RFC 1952, members one after the other included) and adds it to out. NULL, or why
 * not: broken or cut-off data, or more than out's maximum. Then out is not to be used. */
const char *gunzip(struct str in, struct buf *out);

#endif
