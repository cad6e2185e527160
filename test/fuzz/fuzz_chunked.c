/* SPDX-License-Identifier: Apache-2.0 */
/* Chunked bodies: the same however they are cut; what is taken, written anew, is taken the same. */
#include "fuzz.h"

#include "base/mem.h"
#include "http/h1_write.h"

struct result {
    enum chunked_event end;
    struct buf body, trailers;
    size_t used;
};

/* Pieces of 1 to `step` bytes; 0: whole. Each is a copy of its own size. */
static void decode(struct result *r, struct str in, size_t step, uint32_t seed)
{
    struct chunked c;

    *r = (struct result){.end = CHUNKED_MORE};
    buf_init(&r->body, 1 << 24);
    buf_init(&r->trailers, 16384);
    chunked_init(&c, &r->trailers);
    while (r->end == CHUNKED_MORE && r->used < in.n) {
        size_t n = in.n - r->used;
        size_t most = step ? fuzz_step(&seed, step) : n;
        n = most < n ? most : n;
        char *copy = mem_dup(in.p + r->used, n);
        struct str piece = str_make(copy, n), data;
        while ((r->end = chunked_next(&c, &piece, &data)) == CHUNKED_DATA) {
            MUST(data.n && data.p >= copy && data.p + data.n <= copy + n);
            MUST(buf_add(&r->body, data));
        }
        MUST(r->end != CHUNKED_MORE || piece.n == 0);
        r->used += n - piece.n;
        free(copy);
    }
}

static void result_fini(struct result *r)
{
    buf_fini(&r->body);
    buf_fini(&r->trailers);
}

static void must_equal(const struct result *a, const struct result *b)
{
    MUST(a->end == b->end && str_eq(buf_str(&a->body), buf_str(&b->body)));
    MUST(str_eq(buf_str(&a->trailers), buf_str(&b->trailers)) && a->used == b->used);
}

static void check_written(const struct result *r, const struct head *trailers)
{
    struct result again;
    struct buf out;
    char line[H1_CHUNK_LINE];
    struct header list[64];
    struct head back;

    buf_init(&out, 1 << 24);
    if (r->body.n) {
        MUST(buf_add(&out, str_make(line, h1_write_chunk_size(line, r->body.n))));
        MUST(buf_add(&out, buf_str(&r->body)) && buf_add(&out, STR("\r\n")));
    }
    char *p = mem_alloc(h1_trailers_size(trailers));
    size_t n = h1_write_last_chunk(p, trailers);
    MUST(n <= h1_trailers_size(trailers));
    MUST(buf_add(&out, str_make(p, n)));
    free(p);
    decode(&again, buf_str(&out), 0, 0);
    MUST(again.end == CHUNKED_END && again.used == out.n);
    MUST(str_eq(buf_str(&again.body), buf_str(&r->body)));
    MUST(h1_parse_trailers(buf_str(&again.trailers), list, 64, &back) && back.n == trailers->n);
    for (unsigned i = 0; i < back.n; i++) {
        MUST(str_eq(header_str_name(&back.list[i]), header_str_name(&trailers->list[i])));
        MUST(str_eq(header_str_value(&back.list[i]), header_str_value(&trailers->list[i])));
    }
    result_fini(&again);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct result whole, other;
    struct header list[64];
    struct head trailers;

    if (size < 1)
        return 0;
    struct str in = fuzz_str(data + 1, size - 1);
    decode(&whole, in, 0, 0);
    decode(&other, in, 1, 0);
    must_equal(&whole, &other);
    result_fini(&other);
    decode(&other, in, 1 + data[0] % 32, data[0]);
    must_equal(&whole, &other);
    result_fini(&other);
    MUST(whole.body.n <= in.n && whole.trailers.n <= 8192);
    if (whole.end == CHUNKED_END) {
        struct str end = str_head(in, whole.used);
        MUST(str_ends(end, STR("\r\n\r\n")) || str_eq(end, STR("0\r\n\r\n")));
        if (h1_parse_trailers(buf_str(&whole.trailers), list, 64, &trailers)) {
            for (unsigned i = 0; i < trailers.n; i++) {
                MUST(h1_token_ok(header_str_name(&trailers.list[i])));
                MUST(h1_value_ok(header_str_value(&trailers.list[i])));
                MUST(trailers.list[i].id != HEADER_CONTENT_LENGTH &&
                     trailers.list[i].id != HEADER_TRANSFER_ENCODING &&
                     trailers.list[i].id != HEADER_HOST);
            }
            check_written(&whole, &trailers);
        }
    }
    result_fini(&whole);
    return 0;
}
