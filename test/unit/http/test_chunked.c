/* SPDX-License-Identifier: Apache-2.0 */
/* Chunked bodies: each case whole, byte by byte and cut at random, with equal results; limits; and
 * random bodies that must come out as they went in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "http/h1_write.h"

static uint32_t seed = 1;

static uint32_t random_below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % n;
}

enum { WHOLE = -1, RANDOM = 0, BYTES = 1 };

struct result {
    enum chunked_event end;
    struct buf body, trailers;
    size_t used; /* up to the end of the body */
};

static void result_fini(struct result *r)
{
    buf_fini(&r->body);
    buf_fini(&r->trailers);
}

/* Feeds pieces of `size` bytes; each is a copy of its own, for the address sanitizer. */
static struct result decode(struct str in, int size)
{
    struct result r = {.end = CHUNKED_MORE};
    struct chunked c;

    buf_init(&r.body, SIZE_MAX / 2);
    buf_init(&r.trailers, 16384);
    chunked_init(&c, &r.trailers);
    while (r.end == CHUNKED_MORE && r.used < in.n) {
        size_t n = size == WHOLE ? in.n : size == RANDOM ? random_below(20) : (size_t)size;
        n = str_head(str_from(in, r.used), n).n;
        char *copy = mem_dup(in.p + r.used, n);
        struct str piece = str_make(copy, n), data;
        enum chunked_event e;
        while ((e = chunked_next(&c, &piece, &data)) == CHUNKED_DATA) {
            assert_true(data.n > 0 && data.p >= copy && data.p + data.n <= copy + n);
            assert_true(buf_add(&r.body, data));
        }
        r.end = e;
        r.used += n - piece.n;
        if (e == CHUNKED_MORE)
            assert_int_equal(piece.n, 0);
        free(copy);
    }
    return r;
}

static bool same(const struct result *a, const struct result *b)
{
    return a->end == b->end && str_eq(buf_str(&a->body), buf_str(&b->body)) &&
           str_eq(buf_str(&a->trailers), buf_str(&b->trailers)) &&
           (a->end == CHUNKED_BAD || a->used == b->used);
}

/* Whole; all other ways must give the same. */
static struct result decode_all_ways(struct str in)
{
    struct result whole = decode(in, WHOLE);

    for (int way = 0; way < 8; way++) {
        struct result other = decode(in, way < 3 ? way + 1 : RANDOM);
        if (!same(&whole, &other))
            print_error("%.*s\n", STR_ARG(in));
        assert_true(same(&whole, &other));
        result_fini(&other);
    }
    return whole;
}

/* ---- Taken
 * ----------------------------------------------------------------------------------------- */

static const struct {
    struct str in;
    const char *body, *trailers, *rest;
} good_rows[] = {
    {STR("0\r\n\r\n"), "", "", ""},
    {STR("5\r\nhello\r\n0\r\n\r\n"), "hello", "", ""},
    {STR("5\r\nhello\r\n0\r\n\r\nGET /"), "hello", "", "GET /"},
    {STR("0\r\n\r\n\r\n"), "", "", "\r\n"},
    {STR("1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n"), "abcdef", "", ""},
    {STR("0005\r\nhello\r\n000\r\n\r\n"), "hello", "", ""},
    {STR("000000000000005\r\nhello\r\n000000000000000\r\n\r\n"), "hello", "", ""},
    {STR("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"), "01234567890123456789", "", ""},
    {STR("2\r\n\r\n\r\n0\r\n\r\n"), "\r\n", "", ""},
    {STR("7\r\n0\r\n\r\n0\r\r\n0\r\n\r\n"), "0\r\n\r\n0\r", "", ""},
    /* extensions are skipped, blanks before them too */
    {STR("5;a\r\nhello\r\n0;b=c\r\n\r\n"), "hello", "", ""},
    {STR("5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n"), "hello", "", ""},
    {STR("5 ;a\r\nhello\r\n0\t;b\r\n\r\n"), "hello", "", ""},
    {STR("5 \t \r\nhello\r\n0 \r\n\r\n"), "hello", "", ""},
    {STR("5;\r\nhello\r\n0;;\r\n\r\n"), "hello", "", ""},
    {STR("5;\xe4\t x\r\nhello\r\n0\r\n\r\n"), "hello", "", ""},
    /* trailers, as they came */
    {STR("0\r\nA: b\r\n\r\n"), "", "A: b\r\n", ""},
    {STR("1\r\nx\r\n0\r\nA: b\r\nC:d\r\n\r\nrest"), "x", "A: b\r\nC:d\r\n", "rest"},
};

static void test_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_rows) / sizeof(*good_rows); i++) {
        struct str in = good_rows[i].in;
        struct result r = decode_all_ways(in);
        if (r.end != CHUNKED_END)
            print_error("row %zu: %.*s\n", i, STR_ARG(in));
        assert_int_equal(r.end, CHUNKED_END);
        assert_true(str_eq(buf_str(&r.body), str_of(good_rows[i].body)));
        assert_true(str_eq(buf_str(&r.trailers), str_of(good_rows[i].trailers)));
        assert_true(str_eq(str_from(in, r.used), str_of(good_rows[i].rest)));
        /* No part of it is taken for a whole. */
        for (size_t n = 0; n < r.used; n++) {
            struct result part = decode(str_head(in, n), WHOLE);
            assert_int_equal(part.end, CHUNKED_MORE);
            result_fini(&part);
        }
        result_fini(&r);
    }
}

/* ---- Refused
 * --------------------------------------------------------------------------------------- */

static const struct str bad_rows[] = {
    STR("\r\nhello\r\n0\r\n\r\n"),
    STR("\n"),
    STR(" 5\r\nhello\r\n"),
    STR("\t5\r\nhello\r\n"),
    STR(";a\r\nhello\r\n"),
    STR("g\r\n"),
    STR("+5\r\nhello\r\n"),
    STR("-5\r\nhello\r\n"),
    STR("0x5\r\nhello\r\n"),
    STR("5h\r\nhello\r\n"),
    STR("5,\r\nhello\r\n"),
    STR("5 5\r\nhello\r\n"),
    STR("5 a\r\nhello\r\n"),
    STR("5\0\r\nhello\r\n"),
    STR("5\x0b\r\nhello\r\n"),
    STR("\xff\r\n"),
    STR("1_0\r\n"),
    STR("\"5\"\r\n"),
    /* sizes near and past 64 bits, and what they would be if they wrapped */
    STR("ffffffffffffffff\r\n"),
    STR("8000000000000000\r\n"),
    STR("10000000000000000\r\n"),
    STR("10000000000000005\r\nhello\r\n0\r\n\r\n"),
    STR("100000000000000000000000000000005\r\nhello\r\n0\r\n\r\n"),
    STR("0000000000000005\r\nhello\r\n0\r\n\r\n"), /* 16 digits */
    STR("0000000000000000\r\n\r\n"),
    /* line ends */
    STR("5\nhello\r\n0\r\n\r\n"),
    STR("5\n\nhello"),
    STR("5\r\rhello"),
    STR("5\rhello"),
    STR("5\r\r\nhello"),
    STR("5 \nhello\r\n"),
    STR("5;a\nhello\r\n0\r\n\r\n"),
    STR("5;a\rb\r\nhello\r\n"),
    STR("5;a\0\r\nhello\r\n"),
    STR("5;\x01\r\nhello\r\n"),
    STR("5;\x7f\r\nhello\r\n"),
    STR("5;a\r\r\nhello\r\n"),
    STR("5;\n\r\nhello\r\n"),
    /* data that is longer or shorter than said */
    STR("5\r\nhelloXX\r\n0\r\n\r\n"),
    STR("5\r\nhello\n0\r\n\r\n"),
    STR("5\r\nhello0\r\n\r\n"),
    STR("5\r\nhello\r0\r\n\r\n"),
    STR("5\r\nhello\r\r\n0\r\n\r\n"),
    STR("5\r\nhello\n\r0\r\n\r\n"),
    STR("5\r\nhello\r\n\r\n0\r\n\r\n"),
    STR("5\r\nhell\r\n0\r\n\r\n"),
    STR("6\r\nhello\r\n0\r\n\r\n"),
    STR("1\r\n\r\n0\r\n\r\n"),
    /* the end */
    STR("0\n\n"),
    STR("0\n\r\n"),
    STR("0\r\n\n"),
    STR("0\r\n\r\r\n"),
    STR("0\r\n\rX"),
    STR("0\r\nA: b\n\r\n"),
    STR("0\r\nA: b\r\r\n\r\n"),
    STR("0\r\nA: b\r\n\n"),
    STR("0\r\n\nA: b\r\n\r\n"),
    STR("0\r\nA: b\rC: d\r\n\r\n"),
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_rows) / sizeof(*bad_rows); i++) {
        struct result r = decode_all_ways(bad_rows[i]);
        if (r.end != CHUNKED_BAD)
            print_error("row %zu: %.*s\n", i, STR_ARG(bad_rows[i]));
        assert_int_equal(r.end, CHUNKED_BAD);
        result_fini(&r);
    }
}

/* ---- Limits
 * ---------------------------------------------------------------------------------------- */

static void check_size_line(char fill, char first, size_t n, bool fits)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    assert_true(buf_printf(&b, "1%c", first));
    while (b.n < n)
        assert_true(buf_add(&b, str_make(&fill, 1)));
    assert_true(buf_add(&b, STR("\r\nx\r\n0\r\n\r\n")));
    struct result r = decode_all_ways(buf_str(&b));
    assert_int_equal(r.end, fits ? CHUNKED_END : CHUNKED_BAD);
    result_fini(&r);
    buf_fini(&b);
}

static void check_trailers(size_t n, bool fits)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    assert_true(buf_add(&b, STR("0\r\nA: ")));
    while (b.n < 3 + n - 2)
        assert_true(buf_add(&b, STR("x")));
    assert_true(buf_add(&b, STR("\r\n\r\n")));
    struct result r = decode_all_ways(buf_str(&b));
    assert_int_equal(r.end, fits ? CHUNKED_END : CHUNKED_BAD);
    if (fits)
        assert_int_equal(r.trailers.n, n);
    result_fini(&r);
    buf_fini(&b);
}

static void test_limits(void **state)
{
    (void)state;
    for (size_t n = 252; n < 260; n++) {
        /* The CR counts, the LF does not. */
        check_size_line('x', ';', n, n < CHUNK_LINE_MAX);
        check_size_line(' ', ' ', n, n < CHUNK_LINE_MAX);
    }
    check_size_line('x', ';', 100000, false);
    check_trailers(8190, true);
    check_trailers(8192, true);
    check_trailers(8193, false);
    check_trailers(100000, false);
    /* The same without anybody who wants them. */
    struct chunked c;
    struct str data, in = STR("0\r\nA: b\r\n\r\n");
    chunked_init(&c, NULL);
    assert_int_equal(chunked_next(&c, &in, &data), CHUNKED_END);
    /* The limit of a line is each line's, not the body's. */
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 100; i++)
        assert_true(buf_printf(&b, "1;%0200d\r\nx\r\n", i));
    assert_true(buf_add(&b, STR("0\r\n\r\n")));
    struct result r = decode_all_ways(buf_str(&b));
    assert_int_equal(r.end, CHUNKED_END);
    assert_int_equal(r.body.n, 100);
    result_fini(&r);
    buf_fini(&b);
}

/* ---- Trailers
 * -------------------------------------------------------------------------------------- */

static bool parse(struct str in, struct head *head, struct header *list, unsigned cap)
{
    char *copy = mem_dup(in.p, in.n);
    bool ok = h1_parse_trailers(str_make(copy, in.n), list, cap, head);

    if (ok && head->n) {
        /* Views point into the input. */
        assert_true(head->list[0].name >= copy && head->list[0].name < copy + in.n);
        static char kept[512];
        assert_true(in.n < sizeof(kept));
        memcpy(kept, copy, in.n);
        for (unsigned i = 0; i < head->n; i++) {
            list[i].name = kept + (list[i].name - copy);
            list[i].value = kept + (list[i].value - copy);
        }
    }
    free(copy);
    return ok;
}

static void test_trailers(void **state)
{
    static const struct str bad[] = {
        STR("A: b"),
        STR("A\r\n"),
        STR("\r\n"),
        STR(": b\r\n"),
        STR("A : b\r\n"),
        STR(" A: b\r\n"),
        STR("A: b\r\n c\r\n"),
        STR("A: b\0\r\n"),
        STR("A: b\x0b\r\n"),
        STR("A: \x0c"
            "b\r\n"),
        STR("A: b\rc\r\n"),
        STR("A: b\nc: d\r\n"),
        STR("A: b\n\r\n"),
        STR("A\x80: b\r\n"),
    };
    static const char *const forbidden[] = {
        "Content-Length",
        "transfer-encoding",
        "HOST",
        "Connection",
        "Authorization",
        "Cookie",
        "Set-Cookie",
        "Expect",
        "TE",
        "Trailer",
        "Upgrade",
        "Content-Encoding",
        "Content-Type",
        "X-Forwarded-For",
        "x-forwarded-host",
        "X-Forwarded-Port",
        "Forwarded",
        "X-Real-IP",
        "Keep-Alive",
        "Proxy-Connection",
        "X-Forwarded-Proto",
        "Proxy-Authorization",
    };
    struct header list[4];
    struct head head;

    (void)state;
    assert_true(parse(STR(""), &head, list, 4));
    assert_int_equal(head.n, 0);
    assert_true(parse(STR("A: b\r\nServer-Timing:\t x ;y \r\na:\r\n"), &head, list, 4));
    assert_int_equal(head.n, 3);
    assert_true(str_eq(header_str_name(&list[1]), STR("Server-Timing")));
    assert_true(str_eq(header_str_value(&list[1]), STR("x ;y")));
    assert_true(str_eq(header_str_value(&list[2]), STR("")));
    assert_true(parse(STR("A:\r\nB:\r\nC:\r\nD:\r\n"), &head, list, 4));
    assert_false(parse(STR("A:\r\nB:\r\nC:\r\nD:\r\nE:\r\n"), &head, list, 4));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        if (parse(bad[i], &head, list, 4))
            print_error("row %zu: %.*s\n", i, STR_ARG(bad[i]));
        assert_false(parse(bad[i], &head, list, 4));
    }
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++) {
        char line[64];
        snprintf(line, sizeof(line), "A: b\r\n%s: 5\r\n", forbidden[i]);
        assert_false(parse(str_of(line), &head, list, 4));
        snprintf(line, sizeof(line), "A: b\r\n%sx: 5\r\n", forbidden[i]);
        assert_true(parse(str_of(line), &head, list, 4));
    }
}

/* ---- Random bodies
 * --------------------------------------------------------------------------------- */

static void add_chunk(struct buf *b, struct str data)
{
    char line[H1_CHUNK_LINE];

    assert_true(buf_add(b, str_make(line, h1_write_chunk_size(line, data.n))));
    assert_true(buf_add(b, data));
    assert_true(buf_add(b, STR("\r\n")));
}

static void test_random(void **state)
{
    static const char alphabet[] = "0123456789abcdef\r\n;: x";

    (void)state;
    for (int round = 0; round < 300; round++) {
        struct buf in, body;
        buf_init(&in, 1 << 20);
        buf_init(&body, 1 << 20);
        unsigned chunks = random_below(12);
        for (unsigned i = 0; i < chunks; i++) {
            char data[300];
            size_t n = 1 + random_below(random_below(4) ? 20 : sizeof(data));
            for (size_t k = 0; k < n; k++)
                data[k] = alphabet[random_below(sizeof(alphabet) - 1)];
            add_chunk(&in, str_make(data, n));
            assert_true(buf_add(&body, str_make(data, n)));
        }
        assert_true(buf_add(&in, STR("0\r\n\r\n")));
        struct result r = decode_all_ways(buf_str(&in));
        assert_int_equal(r.end, CHUNKED_END);
        assert_true(str_eq(buf_str(&r.body), buf_str(&body)));
        assert_int_equal(r.used, in.n);
        result_fini(&r);
        buf_fini(&in);
        buf_fini(&body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
