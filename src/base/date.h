/* SPDX-License-Identifier: Apache-2.0 */
/* Dates as HTTP writes them. */
#ifndef BASE_DATE_H
#define BASE_DATE_H

#include <stdint.h>

#include "base/str.h"

/* Seconds since 1970 of an HTTP date in any of its three forms (RFC 9110 §5.6.7); -1: none. */
int64_t http_date(struct str s);

#endif
