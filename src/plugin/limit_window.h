/* SPDX-License-Identifier: Apache-2.0 */
/* One request against one limit, in APISIX's two kinds of windows. */
#ifndef PLUGIN_LIMIT_WINDOW_H
#define PLUGIN_LIMIT_WINDOW_H

#include "base/hash.h"
#include "plugin/limit_table.h"

enum limit_window_type { LIMIT_FIXED, LIMIT_SLIDING };

struct limit_ask {
    enum limit_window_type type;
    struct hash128 id;      /* of the counter */
    uint64_t count, window; /* requests, seconds; 1 to LIMIT_NUMBER_MAX */
    int64_t wall_ms, now_ms;
};

struct limit_quota {
    bool passed;
    uint64_t remaining; /* requests */
    uint64_t reset;     /* hundredths of a second until the window ends, or a try may succeed */
};

/* Counts the request and says whether it may pass. Exact under any contention; limits above
 * LIMIT_COUNT_MAX - 1 let everything pass. Does not wait.
 *
 * Fixed (APISIX: lua-resty-limit-traffic's count): the window begins with the first request, those
 * that are refused count too. Sliding (APISIX: limit-count/sliding-window): windows are aligned to
 * the clock, the one before counts in proportion to what of it is still within a window's length,
 * and only what passes counts. */
struct limit_quota limit_window_ask(struct limit_table *t, const struct limit_ask *ask);

/* The largest count, and number of seconds. */
#define LIMIT_NUMBER_MAX ((UINT64_C(1) << 53) - 1)

/* Reads a count or a number of seconds that a variable gave, as Lua's tonumber does ("10", " 1e3 ",
 * "0x10"). False with a message in APISIX's words when it is not an integer from 1 to
 * LIMIT_NUMBER_MAX. */
bool limit_number_read(struct str s, uint64_t *out, char *err, size_t size);

enum { LIMIT_TEXT_SIZE = 24 };
/* The text of hundredths as Lua writes numbers, and its length: 6000 is "60", 5998 is "59.98", 5990
 * is "59.9". */
size_t limit_reset_text(uint64_t reset, char out[LIMIT_TEXT_SIZE]);

#endif
