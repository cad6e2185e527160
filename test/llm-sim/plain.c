/* SPDX-License-Identifier: Apache-2.0 */
/* The paths that are no LLM: sized bodies for load tests, echoes, event streams, slow and silent
 * ones. */
#include "reply.h"
#include "reqlog.h"
#include "routes.h"
#include "stream.h"

#include <stdlib.h>

#define PATTERN    "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-\n"
#define PATTERN_N  64
#define BLOCK      65536        /* a multiple of PATTERN_N */
#define CACHE_BODY (256u << 10) /* larger bodies are sent piece by piece */
#define CACHE_ROWS 16
#define MAX_BYTES  (UINT64_C(1) << 40)

static const char *pattern_block(void)
{
    static _Thread_local char block[BLOCK];
    if (!block[0])
        for (size_t i = 0; i < BLOCK; i += PATTERN_N)
            memcpy(block + i, PATTERN, PATTERN_N);
    return block;
}

/* A path's last part as a number; answers 400 and returns false when it is none. */
static bool path_num(struct conn *c, const struct request *r, uint64_t max, uint64_t *v)
{
    const char *slash = memrchr(r->path.p, '/', r->path.n);
    size_t skip = (size_t)(slash + 1 - r->path.p);
    if (slice_num((struct slice){slash + 1, r->path.n - skip}, max, v))
        return true;
    reply_error(c, 400, NULL, "the path must end in a number");
    return false;
}

/* ---- sized bodies ---- */

struct filler {
    struct stream s;
    uint64_t left, piece;
};

static bool filler_step(struct conn *c, struct stream *s, struct buf *out)
{
    struct filler *f = (struct filler *)s;
    uint64_t n = f->left < f->piece ? f->left : f->piece;
    if (s->in_bytes && (c->fault.set & FAULT_STOPS) && n > c->fault.n - s->sent)
        n = c->fault.n - s->sent;
    size_t from = s->in_bytes ? s->sent % PATTERN_N : 0;
    while (n > 0) {
        size_t take = n < BLOCK - from ? (size_t)n : BLOCK - from;
        buf_add(out, pattern_block() + from, take);
        f->left -= take;
        n -= take;
        from = 0;
    }
    return f->left == 0;
}

static void bytes_by_pieces(struct conn *c, uint64_t n)
{
    struct filler *f = sim_alloc(sizeof *f);
    f->s.step = filler_step;
    f->s.in_bytes = true;
    f->left = n;
    f->piece = BLOCK;
    stream_start(c, &f->s, 200, TYPE_TEXT, (int64_t)n);
}

/* A whole reply as it goes out, except for the date in its second line. */
struct cached {
    uint64_t n;
    int64_t date_at;
    struct buf reply;
};

static _Thread_local struct cached cache[CACHE_ROWS];

void plain_fini(void)
{
    for (size_t i = 0; i < CACHE_ROWS; i++)
        buf_free(&cache[i].reply);
}

static const struct cached *cached_reply(struct worker *w, uint64_t n)
{
    static const char start[] = "HTTP/1.1 200 OK\r\nDate: ";
    struct cached *e = &cache[(n ^ n >> 4 ^ n >> 8 ^ n >> 12) % CACHE_ROWS];
    const char *date = reply_date(w);
    if (!e->reply.p || e->n != n) {
        e->n = n;
        e->reply.n = 0;
        buf_fmt(&e->reply,
                "%s%s\r\nServer: llm-sim\r\nContent-Type: " TYPE_TEXT
                "\r\nContent-Length: %llu\r\n\r\n",
                start, date, (unsigned long long)n);
        for (uint64_t left = n; left > 0;) {
            size_t take = left < BLOCK ? (size_t)left : BLOCK;
            buf_add(&e->reply, pattern_block(), take);
            left -= take;
        }
    } else if (e->date_at != w->date_at) {
        memcpy(e->reply.p + sizeof start - 1, date, 29);
    }
    e->date_at = w->date_at;
    return e;
}

static void reply_bytes(struct conn *c, uint64_t n)
{
    if (n > CACHE_BODY) {
        bytes_by_pieces(c, n);
        return;
    }
    const struct cached *e = cached_reply(c->w, n);
    if (!c->fault.set && c->keep && !c->http10 && !c->head_only) {
        c->status = 200;
        buf_add(&c->w->out, e->reply.p, e->reply.n);
        return;
    }
    reply_full(c, 200, TYPE_TEXT, (struct slice){e->reply.p + e->reply.n - n, (size_t)n});
}

void plain_bytes(struct conn *c, const struct request *r, struct slice body)
{
    uint64_t n;
    (void)body;
    if (path_num(c, r, MAX_BYTES, &n))
        reply_bytes(c, n);
}

void plain_reply(struct conn *c, const struct request *r, struct slice body)
{
    plain_bytes(c, r, body); /* the body was counted and dropped as it came */
}

void plain_chunked(struct conn *c, const struct request *r, struct slice body)
{
    uint64_t n;
    (void)body;
    if (!path_num(c, r, MAX_BYTES, &n))
        return;
    struct filler *f = sim_alloc(sizeof *f);
    f->s.step = filler_step;
    f->s.in_bytes = true;
    f->left = n;
    f->piece = http_query_num(r, "size", 1 << 20, 4096);
    if (f->piece == 0)
        f->piece = 1;
    stream_start(c, &f->s, 200, TYPE_TEXT, REPLY_CHUNKED);
}

struct trailer_stream {
    struct stream s;
};

static bool trailer_step(struct conn *c, struct stream *s, struct buf *out)
{
    (void)c;
    buf_fmt(out, "piece %llu\n", (unsigned long long)s->sent);
    return s->sent == 2;
}

void plain_trailers(struct conn *c, const struct request *r, struct slice body)
{
    (void)r;
    (void)body;
    struct trailer_stream *t = sim_alloc(sizeof *t);
    t->s.step = trailer_step;
    t->s.tail = "X-Sim-Checksum: 42\r\nX-Sim-Trailer: yes\r\n";
    buf_str(&c->w->extra, "Trailer: X-Sim-Checksum, X-Sim-Trailer\r\n");
    stream_start(c, &t->s, 200, TYPE_TEXT, REPLY_CHUNKED);
}

/* ---- event streams ---- */

struct events {
    struct stream s;
    uint64_t n;
};

static bool events_step(struct conn *c, struct stream *s, struct buf *out)
{
    static const char fill[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
    const struct events *e = (const struct events *)s;
    (void)c;
    if (e->n == 0)
        return true;
    buf_fmt(out, "data: {\"i\":%llu,\"t\":%lld,\"pad\":\"%s\"}\n\n", (unsigned long long)s->sent,
            (long long)timers_clock(), fill);
    return s->sent + 1 >= e->n;
}

void plain_events(struct conn *c, const struct request *r, struct slice body)
{
    (void)body;
    struct events *e = sim_alloc(sizeof *e);
    e->s.step = events_step;
    e->n = http_query_num(r, "n", 1u << 30, c->events_wanted);
    e->s.gap_ms = c->gap_ms;
    buf_str(&c->w->extra, "Cache-Control: no-cache\r\n");
    stream_start(c, &e->s, 200, TYPE_SSE, REPLY_CHUNKED);
}

/* ---- the rest ---- */

void plain_echo(struct conn *c, const struct request *r, struct slice body)
{
    struct buf *b = &c->w->text;
    b->n = 0;
    buf_str(b, "{\"method\":");
    buf_json(b, r->method.p, r->method.n);
    buf_str(b, ",\"uri\":");
    buf_json(b, r->target.p, r->target.n);
    buf_str(b, ",\"headers\":");
    reqlog_headers(b, r);
    buf_str(b, ",\"body\":");
    buf_json(b, body.p, body.n);
    buf_str(b, "}\n");
    reply_json(c, 200, b);
}

void plain_headers(struct conn *c, const struct request *r, struct slice body)
{
    struct buf *b = &c->w->text;
    (void)body;
    b->n = 0;
    buf_str(b, "[");
    for (size_t i = 0; i < r->nheaders; i++) {
        buf_str(b, i ? ",[" : "[");
        buf_json(b, r->headers[i].name.p, r->headers[i].name.n);
        buf_str(b, ",");
        buf_json(b, r->headers[i].value.p, r->headers[i].value.n);
        buf_str(b, "]");
    }
    buf_str(b, "]\n");
    reply_json(c, 200, b);
}

void plain_status(struct conn *c, const struct request *r, struct slice body)
{
    uint64_t status;
    (void)body;
    if (!path_num(c, r, 599, &status))
        return;
    if (status < 200) {
        reply_error(c, 400, NULL, "the status must be 200 to 599");
        return;
    }
    struct buf *b = &c->w->text;
    b->n = 0;
    if (status >= 300 && status < 400 && status != 304)
        buf_str(&c->w->extra, "Location: /bytes/2\r\n");
    buf_fmt(b, "{\"status\":%d}\n", (int)status);
    reply_json(c, (int)status, b);
}

void plain_slow_head(struct conn *c, const struct request *r, struct slice body)
{
    (void)body;
    c->hold_ms += (uint32_t)http_query_num(r, "ms", 1u << 24, 1000);
    reply_full(c, 200, TYPE_TEXT, SLICE("late\n"));
}

void plain_hang(struct conn *c, const struct request *r, struct slice body)
{
    (void)r;
    (void)body;
    c->after = AFTER_STALL;
}

void plain_index(struct conn *c, const struct request *r, struct slice body)
{
    (void)r;
    (void)body;
    reply_full(c, 200, TYPE_TEXT, SLICE("llm-sim: see test/llm-sim/README.md for the paths\n"));
}
