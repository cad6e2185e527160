/* SPDX-License-Identifier: Apache-2.0 */
/* A stream of requests as a client could send it. However it is cut the verdict is the same; what
 * is taken has one framing; and what would be forwarded, written anew, holds the same requests with
 * the same bodies: nothing hides between them. */
#include "fuzz.h"

#include "../unit/http/feed.h"
#include "base/arena.h"
#include "base/mem.h"
#include "http/h1_write.h"
#include "http/uri.h"

enum { REQUESTS_MAX = 16 };

/* ---- One head
 * --------------------------------------------------------------------------------------- */

static unsigned count_of(const struct head *head, enum header_id id)
{
    unsigned n = 0;

    for (unsigned i = 0; i < head->n; i++)
        n += head->list[i].id == id;
    return n;
}

static bool inside(struct str part, struct str whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void check_framing(const struct h1_request *r)
{
    unsigned lengths = count_of(&r->head, HEADER_CONTENT_LENGTH);
    unsigned codings = count_of(&r->head, HEADER_TRANSFER_ENCODING);

    MUST(lengths + codings <= 1);
    MUST(codings == (r->framing == H1_CHUNKED));
    MUST(lengths || r->framing != H1_LENGTH);
    MUST((r->length > 0) == (r->framing == H1_LENGTH) && r->length <= INT64_MAX);
    MUST(r->framing != H1_TO_END && (r->minor || r->framing != H1_CHUNKED));
}

static void check_path(struct str raw)
{
    struct arena a;
    struct str path;

    arena_init(&a, NULL);
    if (uri_normalise(raw, &a, &path) == REASON_NONE && path.p[0] == '/') {
        MUST(str_search(path, STR("//")) < 0 && str_search(path, STR("/./")) < 0);
        MUST(str_search(path, STR("/../")) < 0 && str_find(path, 0) < 0);
        MUST(!str_ends(path, STR("/..")) && !str_ends(path, STR("/.")));
    }
    arena_fini(&a);
}

static void check_request(const struct h1_request *r, struct str bytes)
{
    MUST(str_ends(bytes, STR("\r\n\r\n")) && str_find(bytes, 0) < 0);
    MUST(h1_token_ok(r->method) && inside(r->method, bytes));
    MUST(r->target.n && inside(r->target, bytes) && inside(r->host, bytes));
    for (size_t i = 0; i < r->target.n; i++)
        MUST((unsigned char)r->target.p[i] > ' ' && r->target.p[i] != 0x7f);
    MUST(r->path.n && (r->path.p[0] == '/' || str_eq(r->path, STR("*"))));
    MUST(count_of(&r->head, HEADER_HOST) <= 1);
    MUST(r->minor == 0 || r->host.n);
    MUST(r->host.n == 0 || uri_host_ok(r->host));
    for (unsigned i = 0; i < r->head.n; i++) {
        const struct header *h = &r->head.list[i];
        struct str name = header_str_name(h), value = header_str_value(h);
        MUST(h1_token_ok(name) && h1_value_ok(value) && inside(name, bytes) &&
             inside(value, bytes));
        MUST(str_eq(value, str_trim(value)));
        MUST(h->id == header_id(name) && !str_eq_nocase(name, STR("")));
    }
    check_framing(r);
    check_path(r->path);
}

/* ---- The same, however it is cut
 * -------------------------------------------------------------------- */

static void check_splits(struct str in, const struct h1_limits *limits, uint32_t seed)
{
    static struct feed whole, split;
    struct h1_request one, two;

    feed_request(&whole, limits, in, false, &one);
    feed_request(&split, limits, in, true, &two);
    /* Byte by byte, what is wrong is seen with the first byte or when the head ends. */
    MUST(whole.status == split.status ||
         (whole.status == H1_ERROR && split.status == H1_MORE && !feed_ends(limits, in)));
    MUST(whole.status != H1_MORE || !feed_ends(limits, in));
    if (split.status == H1_ERROR)
        MUST(whole.why == split.why && reasons[whole.why].status >= 400);
    if (whole.status == H1_DONE) {
        MUST(whole.used == split.used && same_request(&one, &two));
        MUST(whole.used <= limits->head_bytes && one.target.n <= limits->uri_bytes);
        check_request(&one, str_make(whole.copy, whole.used));
    }
    /* In pieces, asking each time: a verdict, once given, stands. */
    enum h1_status last = H1_MORE;
    for (size_t n = 0; n < in.n && last == H1_MORE;) {
        n = str_head(in, n + fuzz_step(&seed, 40)).n;
        struct str part = feed_bytes(&split, in, n);
        last = h1_parse_request(part, limits, split.list, &two, &split.used, &split.why);
    }
    MUST(last == whole.status || in.n == 0);
    if (last == H1_ERROR)
        MUST(split.why == whole.why);
    if (last == H1_DONE)
        MUST(split.used == whole.used && same_request(&one, &two));
    feed_fini(&whole);
    feed_fini(&split);
}

/* ---- The stream
 * ------------------------------------------------------------------------------------- */

struct item {
    struct str method, target;
    enum h1_framing framing;
    struct buf body, trailers;
    bool whole; /* its end has come */
};

struct stream {
    struct item items[REQUESTS_MAX];
    unsigned n;
    struct buf forwarded;
    struct arena arena;
};

static void add(struct buf *b, struct str s)
{
    MUST(buf_add(b, s));
}

static void read_chunks(struct item *item, struct str *in)
{
    struct chunked c;
    struct str data;
    enum chunked_event e;
    struct header list[32];
    struct head trailers;

    chunked_init(&c, &item->trailers);
    while ((e = chunked_next(&c, in, &data)) == CHUNKED_DATA)
        add(&item->body, data);
    item->whole = e == CHUNKED_END &&
                  h1_parse_trailers(buf_str(&item->trailers), list, 32, &trailers);
    if (!item->whole)
        *in = STR_NONE;
}

static void read_body(struct item *item, const struct h1_request *r, struct str *in)
{
    struct str data;

    switch (r->framing) {
    case H1_NO_BODY:
        item->whole = true;
        return;
    case H1_LENGTH:
        data = str_head(*in, r->length < in->n ? (size_t)r->length : in->n);
        add(&item->body, data);
        *in = str_from(*in, data.n);
        item->whole = data.n == r->length;
        return;
    case H1_CHUNKED:
        read_chunks(item, in);
        return;
    case H1_TO_END:
        MUST(false);
    }
}

static void forward(struct stream *s, struct h1_request *r, const struct item *item)
{
    struct h1_out_body body = {.framing = r->framing, .length = r->length};
    struct header list[32];
    struct head trailers;
    char line[H1_CHUNK_LINE];

    h1_drop_connection_named(&r->head);
    if (!head_value(&r->head, HEADER_HOST).n) /* HTTP/1.0 */
        head_set(&r->head, &s->arena, STR("Host"), STR("a"));
    size_t size = h1_request_size(r->method, r->target, &r->head);
    char *p = mem_alloc(size);
    size_t n = h1_write_request(p, r->method, r->target, &r->head, &body, false);
    MUST(n <= size);
    add(&s->forwarded, str_make(p, n));
    free(p);
    if (r->framing != H1_CHUNKED) {
        add(&s->forwarded, buf_str(&item->body));
        return;
    }
    if (item->body.n) {
        add(&s->forwarded, str_make(line, h1_write_chunk_size(line, item->body.n)));
        add(&s->forwarded, buf_str(&item->body));
        add(&s->forwarded, STR("\r\n"));
    }
    MUST(h1_parse_trailers(buf_str(&item->trailers), list, 32, &trailers));
    p = mem_alloc(h1_trailers_size(&trailers));
    n = h1_write_last_chunk(p, &trailers);
    MUST(n <= h1_trailers_size(&trailers));
    add(&s->forwarded, str_make(p, n));
    free(p);
}

static void stream_read(struct stream *s, struct str in, const struct h1_limits *limits)
{
    static struct header list[254];

    arena_init(&s->arena, NULL);
    buf_init(&s->forwarded, 1 << 24);
    for (s->n = 0; s->n < REQUESTS_MAX;) {
        struct h1_request r;
        size_t used;
        enum reason why;
        if (h1_parse_request(in, limits, list, &r, &used, &why) != H1_DONE)
            return;
        struct item *item = &s->items[s->n++];
        *item = (struct item){.method = r.method, .target = r.target, .framing = r.framing};
        buf_init(&item->body, 1 << 22);
        buf_init(&item->trailers, 16384);
        in = str_from(in, used);
        read_body(item, &r, &in);
        if (!item->whole)
            return;
        forward(s, &r, item);
    }
}

static void stream_fini(struct stream *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        buf_fini(&s->items[i].body);
        buf_fini(&s->items[i].trailers);
    }
    buf_fini(&s->forwarded);
    arena_fini(&s->arena);
}

/* What an upstream sees is what was seen here, request for request. */
static void check_stream(struct str in, const struct h1_limits *limits)
{
    static struct stream one, two;
    /* The forwarded heads are longer by what is written anew. */
    struct h1_limits wide = {
        .head_bytes = limits->head_bytes * 2 + 256, .uri_bytes = limits->uri_bytes, .headers = 254};

    stream_read(&one, in, limits);
    stream_read(&two, buf_str(&one.forwarded), &wide);
    unsigned whole = one.n;
    while (whole && !one.items[whole - 1].whole)
        whole--;
    MUST(two.n == whole);
    for (unsigned i = 0; i < whole; i++) {
        const struct item *a = &one.items[i], *b = &two.items[i];
        MUST(b->whole && str_eq(a->method, b->method) && str_eq(a->target, b->target));
        MUST(a->framing == b->framing && str_eq(buf_str(&a->body), buf_str(&b->body)));
    }
    /* Written once more it is the same, byte for byte: no room for another reading. */
    MUST(str_eq(buf_str(&one.forwarded), buf_str(&two.forwarded)));
    stream_fini(&two);
    stream_fini(&one);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t head_sizes[] = {4096, 200, 64, 32768};
    struct h1_limits limits = {.uri_bytes = 64, .headers = 8};

    if (size < 1)
        return 0;
    limits.head_bytes = head_sizes[data[0] & 3];
    if (data[0] & 4)
        limits.uri_bytes = 4096;
    if (data[0] & 8)
        limits.headers = 200;
    struct str in = fuzz_str(data + 1, size - 1);
    check_splits(in, &limits, data[0]);
    check_stream(in, &limits);
    return 0;
}
