/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds heads to the codec: at once, or byte by byte in the way conn/ does it; each call sees a
 * copy of just the bytes that have come, so that the address sanitizer watches their end. */
#ifndef TEST_HTTP_FEED_H
#define TEST_HTTP_FEED_H

#include <stdlib.h>

#include "http/h1.h"

struct feed {
    const struct h1_limits *limits;
    struct header list[254];
    char *copy; /* what the views of the result point into */
    size_t used;
    enum reason why;
    enum h1_status status;
};

static inline void feed_fini(struct feed *f)
{
    free(f->copy);
    f->copy = NULL;
}

static inline struct str feed_bytes(struct feed *f, struct str in, size_t n)
{
    feed_fini(f);
    f->copy = malloc(n ? n : 1);
    if (n)
        memcpy(f->copy, in.p, n);
    return str_make(f->copy, n);
}

static inline void feed_request(struct feed *f, const struct h1_limits *limits, struct str in,
                                bool split, struct h1_request *out)
{
    size_t seen = 0;

    *f = (struct feed){.limits = limits};
    for (size_t n = split ? 1 : in.n; n <= in.n; n++) {
        if (seen && n <= limits->head_bytes && !h1_head_ends(str_head(in, n), seen)) {
            seen = n;
            continue;
        }
        f->status = h1_parse_request(feed_bytes(f, in, n), limits, f->list, out, &f->used, &f->why);
        if (f->status != H1_MORE)
            return;
        seen = n;
    }
    f->status = H1_MORE;
}

static inline void feed_response(struct feed *f, const struct h1_limits *limits, struct str in,
                                 bool split, bool to_head, struct h1_response *out)
{
    size_t seen = 0;

    *f = (struct feed){.limits = limits};
    for (size_t n = split ? 1 : in.n; n <= in.n; n++) {
        if (seen && n <= limits->head_bytes && !h1_head_ends(str_head(in, n), seen)) {
            seen = n;
            continue;
        }
        f->status = h1_parse_response(feed_bytes(f, in, n), limits, f->list, to_head, out, &f->used,
                                      &f->why);
        if (f->status != H1_MORE)
            return;
        seen = n;
    }
    f->status = H1_MORE;
}

/* Whether a head of which all has come would have been looked at again. */
static inline bool feed_ends(const struct h1_limits *limits, struct str in)
{
    bool too_long = in.n > limits->head_bytes;

    for (int i = 0; i < 2 && str_starts(in, STR("\r\n")); i++)
        in = str_from(in, 2);
    return too_long || h1_head_ends(in, 0);
}

static inline bool same_str(struct str a, struct str b)
{
    return str_eq(a, b) && !a.p == !b.p;
}

static inline bool same_head(const struct head *a, const struct head *b)
{
    if (a->n != b->n || memcmp(a->first, b->first, sizeof(a->first)) != 0)
        return false;
    for (unsigned i = 0; i < a->n; i++)
        if (a->list[i].id != b->list[i].id ||
            !str_eq(header_str_name(&a->list[i]), header_str_name(&b->list[i])) ||
            !str_eq(header_str_value(&a->list[i]), header_str_value(&b->list[i])))
            return false;
    return true;
}

static inline bool same_request(const struct h1_request *a, const struct h1_request *b)
{
    return same_str(a->line, b->line) && same_str(a->method, b->method) &&
           same_str(a->target, b->target) && same_str(a->host, b->host) &&
           same_str(a->path, b->path) && same_str(a->query, b->query) && a->minor == b->minor &&
           a->keep_alive == b->keep_alive && a->expect_continue == b->expect_continue &&
           a->upgrade == b->upgrade && a->framing == b->framing && a->length == b->length &&
           same_head(&a->head, &b->head);
}

static inline bool same_response(const struct h1_response *a, const struct h1_response *b)
{
    return a->status == b->status && same_str(a->phrase, b->phrase) && a->minor == b->minor &&
           a->keep_alive == b->keep_alive && a->framing == b->framing && a->length == b->length &&
           a->keep_alive_s == b->keep_alive_s && same_head(&a->head, &b->head);
}

#endif
