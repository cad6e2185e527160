/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes and durations as nginx writes them. */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include "base/str.h"

/* "65536", "16k", "1m", "1G" (factors of 1024, either case) to bytes; false for anything else. */
bool units_bytes(struct str text, int64_t *out);
/* "60" and "0.5" (seconds), "10ms", "60s", "2m", "1h", "1d", "1w", and sums ("1m30s", "1h 30m") to
 * milliseconds; false for anything else. */
bool units_ms(struct str text, int64_t *out);

#endif
