/* SPDX-License-Identifier: Apache-2.0 */
/* Fixed and sliding windows over the table of counters; the arithmetic is APISIX's. */
#include "plugin/limit_window.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t window_ms(const struct limit_ask *ask)
{
    /* Bounded so that two windows fit, in milliseconds, whatever a variable says. */
    uint64_t max = LIMIT_WINDOW_MAX_MS / 1000;

    return (ask->window < max ? ask->window : max) * 1000;
}

static struct limit_quota ask_fixed(struct limit_table *t, const struct limit_ask *ask)
{
    struct limit_tally r = limit_table_add(t, ask->id.a, ask->now_ms, (int64_t)window_ms(ask), 1,
                                           UINT32_MAX);
    struct limit_quota q = {.reset = r.fresh         ? ask->window * 100
                                     : r.left_ms > 0 ? (uint64_t)r.left_ms / 10
                                                     : 0};

    q.passed = r.count <= ask->count || ask->count >= LIMIT_COUNT_MAX;
    if (q.passed && r.count < ask->count)
        q.remaining = ask->count - r.count;
    return q;
}

/* The counter of one window: distinct for distinct windows, as the multiplier is odd. */
static uint64_t window_key(const struct limit_ask *ask, uint64_t number)
{
    return ask->id.a + (ask->id.b | 1) * number;
}

/* Rounded up, but for what the arithmetic adds. */
static uint64_t hundredths(double seconds)
{
    double n = ceil(seconds * 100 - 1e-6);

    return n > 0 ? (uint64_t)n : 0;
}

static struct limit_quota ask_sliding(struct limit_table *t, const struct limit_ask *ask)
{
    uint64_t size = window_ms(ask), wall = ask->wall_ms > 0 ? (uint64_t)ask->wall_ms : 0;
    uint64_t number = wall / size;
    double left = (double)(size - wall % size) / 1000;
    double limit = (double)ask->count;
    double last = limit_table_get(t, window_key(ask, number - 1), ask->now_ms);

    if (last > limit)
        last = limit;
    double rate = last / ((double)size / 1000);
    double before = rate * left; /* requests of the last window that still count */
    double below = ceil(limit - before);
    bool unlimited = ask->count >= LIMIT_COUNT_MAX;
    struct limit_tally r = limit_table_add(
        t, window_key(ask, number), ask->now_ms, (int64_t)size * 2, 1,
        unlimited || below > LIMIT_COUNT_MAX ? UINT32_MAX : (uint32_t)below);
    struct limit_quota q = {.passed = r.added, .reset = hundredths(left)};

    /* APISIX may come to -1 here, as the limit is compared before the request counts. */
    double remaining = floor(limit - r.count - before);
    if (r.added && remaining > 0)
        q.remaining = (uint64_t)remaining;
    /* Refused for what was before: that fades. */
    if (!r.added && r.count < ask->count && rate > 0)
        q.reset = hundredths(left - (limit - r.count) / rate);
    return q;
}

struct limit_quota limit_window_ask(struct limit_table *t, const struct limit_ask *ask)
{
    return ask->type == LIMIT_SLIDING ? ask_sliding(t, ask) : ask_fixed(t, ask);
}

size_t limit_reset_text(uint64_t reset, char out[LIMIT_TEXT_SIZE])
{
    size_t n = u64_write(out, reset / 100);
    unsigned part = (unsigned)(reset % 100);

    if (!part)
        return n;
    out[n++] = '.';
    out[n++] = (char)('0' + part / 10);
    if (part % 10)
        out[n++] = (char)('0' + part % 10);
    return n;
}

bool limit_number_read(struct str s, uint64_t *out, char *err, size_t size)
{
    char text[64], *end;
    double v;

    s = str_trim(s);
    snprintf(text, sizeof(text), "%.*s", STR_ARG(s));
    v = strtod(text, &end);
    if (!s.n || s.n >= sizeof(text) || *end || isnan(v)) {
        snprintf(err, size, "resolved value is not a number");
    } else if (v <= 0) {
        snprintf(err, size, "resolved value must be a positive number, got: %.14g", v);
    } else if (v != floor(v)) {
        snprintf(err, size, "resolved value must be an integer, got: %.14g", v);
    } else if (v > (double)LIMIT_NUMBER_MAX) {
        snprintf(err, size, "resolved value exceeds safe integer range (2^53-1), got: %.14g", v);
    } else {
        *out = (uint64_t)v;
        return true;
    }
    return false;
}
