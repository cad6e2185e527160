/* SPDX-License-Identifier: Apache-2.0 */
/* Response heads: every malformed one refused, every good one with its fields and its framing; each
 * whole and byte by byte, with equal results. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "feed.h"

#include "http/phrase.c" /* NOLINT */

static const struct h1_limits limits = {.head_bytes = 2048, .headers = 20};

#define OK  "HTTP/1.1 200 OK\r\n"
#define END "\r\n\r\n"

/* ---- Refused: each is REASON_UPSTREAM_BAD_HEAD
 * ----------------------------------------------------- */

static const struct str bad_rows[] = {
    STR("HTTP/1.1 20 OK" END),
    STR("HTTP/1.1 2000 OK" END),
    STR("HTTP/1.1 099 OK" END),
    STR("HTTP/1.1 000 OK" END),
    STR("HTTP/1.1 2x0 OK" END),
    STR("HTTP/1.1 -20 OK" END),
    STR("HTTP/1.1 OK" END),
    STR("HTTP/1.1  200 OK" END),
    STR("HTTP/1.1\t200 OK" END),
    STR("HTTP/1.1200 OK" END),
    STR("HTTP/1.1 200OK" END),
    STR("HTTP/1.1 200\tOK" END),
    STR(" HTTP/1.1 200 OK" END),
    STR("\r\nHTTP/1.1 200 OK" END),
    STR("HTTP/1.1 200 O\0K" END),
    STR("HTTP/1.1 200 O\x01K" END),
    STR("HTTP/1.1 200 O\x7fK" END),
    STR("HTTP/1.1 200 OK\n\n"),
    STR("HTTP/1.1 200 OK\nA: b\r\n\r\n"),
    STR("HTTP/1.1 200 OK\rA: b" END),
    STR("HTTP/1.1 200\n\n"),
    STR("HTTP/1.1\n\n"),
    STR("HTTP/\n\n"),
    STR("HTTP/1.1 2\n\r\n"),
    STR("HTTP/2.0 200 OK" END),
    STR("HTTP/0.9 200 OK" END),
    STR("HTTP/1.x 200 OK" END),
    STR("HTTP/11 200 OK" END),
    STR("http/1.1 200 OK" END),
    STR("ICY 200 OK" END),
    STR("<html>hello</html>" END),
    STR("SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    STR("\x15\x03\x01\x00\x02\x02\x16" END), /* TLS alert */
    STR("\0\0\x12\x04\0\0\0\0\0" END),       /* HTTP/2 SETTINGS */
    /* header lines */
    STR(OK "A : b" END),
    STR(OK "A: b\r\n c" END),
    STR("HTTP/1.1 200 OK\r\n A: b" END),
    STR(OK "A: b\0" END),
    STR(OK "A: b\rc" END),
    STR(OK "A: b\nc: d" END),
    STR(OK ": b" END),
    STR(OK "Abc" END),
    STR(OK "A\x80: b" END),
    STR(OK "A: b\r\n\n"),
    /* lengths */
    STR(OK "Content-Length: 5\r\nContent-Length: 6" END),
    STR(OK "Content-Length: 5\r\nContent-Length: 5" END),
    STR(OK "Content-Length: 5, 5" END),
    STR(OK "Content-Length: -5" END),
    STR(OK "Content-Length: +5" END),
    STR(OK "Content-Length:" END),
    STR(OK "Content-Length: 9223372036854775808" END),
    STR(OK "Content-Length: 18446744073709551621" END),
    STR(OK "Transfer-Encoding: gzip" END),
    STR(OK "Transfer-Encoding: gzip, chunked" END),
    STR(OK "Transfer-Encoding: chunked, chunked" END),
    STR(OK "Transfer-Encoding: identity" END),
    STR(OK "Transfer-Encoding:" END),
    STR(OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked" END),
    STR(OK "Transfer-Encoding: identity\r\nContent-Length: 5" END),
    STR("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked" END),
    STR(OK "Transfer-Encoding: chunked\r\nContent-Length: 5" END),
    STR(OK "Content-Length: 5\r\nTransfer-Encoding: chunked" END),
    STR(OK "Content-Length: 0\r\nTransfer-Encoding: chunked" END),
    /* malformed even where there is no body */
    STR("HTTP/1.1 204 No Content\r\nContent-Length: x" END),
    STR("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: x" END),
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_rows) / sizeof(*bad_rows); i++) {
        for (int way = 0; way < 4; way++) {
            struct feed f;
            struct h1_response r;
            bool split = way & 1;
            feed_response(&f, &limits, bad_rows[i], split, way & 2, &r);
            if (f.status != H1_ERROR)
                print_error("row %zu, split %d: %.*s\n", i, split, STR_ARG(bad_rows[i]));
            assert_int_equal(f.status,
                             split && !feed_ends(&limits, bad_rows[i]) ? H1_MORE : H1_ERROR);
            if (f.status == H1_ERROR)
                assert_int_equal(f.why, REASON_UPSTREAM_BAD_HEAD);
            feed_fini(&f);
        }
    }
}

/* ---- Taken
 * ----------------------------------------------------------------------------------------- */

enum { KEEP = 1, V10 = 2, TO_HEAD = 4 };

static const struct {
    struct str in;
    int status;
    const char *phrase;
    unsigned flags;
    enum h1_framing framing;
    uint64_t length;
    int64_t keep_alive_s;
    unsigned lines;
} good_rows[] = {
    {STR(OK "\r\n"), 200, "OK", 0, H1_TO_END, 0, -1, 0},
    {STR(OK "\r\nHTTP"), 200, "OK", 0, H1_TO_END, 0, -1, 0},
    {STR("HTTP/1.1 200\r\n\r\n"), 200, "", 0, H1_TO_END, 0, -1, 0},
    {STR("HTTP/1.1 200 \r\n\r\n"), 200, "", 0, H1_TO_END, 0, -1, 0},
    {STR("HTTP/1.1 200  \t Very \xc3\xa9 OK \r\n\r\n"), 200, " \t Very \xc3\xa9 OK ", 0, H1_TO_END,
     0, -1, 0},
    {STR("HTTP/1.1 999 x\r\n\r\n"), 999, "x", 0, H1_TO_END, 0, -1, 0},
    {STR("HTTP/1.9 200 OK\r\n\r\n"), 200, "OK", 0, H1_TO_END, 0, -1, 0},
    /* lengths */
    {STR(OK "Content-Length: 5" END), 200, "OK", KEEP, H1_LENGTH, 5, -1, 1},
    {STR(OK "Content-Length: 0" END), 200, "OK", KEEP, H1_NO_BODY, 0, -1, 1},
    {STR(OK "content-length:9223372036854775807" END), 200, "OK", KEEP, H1_LENGTH, INT64_MAX, -1,
     1},
    {STR(OK "Transfer-Encoding: Chunked" END), 200, "OK", KEEP, H1_CHUNKED, 0, -1, 1},
    /* no body, whatever the head says */
    {STR("HTTP/1.1 204 No Content\r\n\r\n"), 204, "No Content", KEEP, H1_NO_BODY, 0, -1, 0},
    {STR("HTTP/1.1 204 x\r\nContent-Length: 5" END), 204, "x", KEEP, H1_NO_BODY, 5, -1, 1},
    {STR("HTTP/1.1 304 x\r\nContent-Length: 5" END), 304, "x", KEEP, H1_NO_BODY, 5, -1, 1},
    {STR("HTTP/1.1 304 x\r\nTransfer-Encoding: chunked" END), 304, "x", KEEP, H1_NO_BODY, 0, -1, 1},
    {STR("HTTP/1.1 100 Continue\r\n\r\n"), 100, "Continue", KEEP, H1_NO_BODY, 0, -1, 0},
    {STR("HTTP/1.1 103 x\r\nLink: y" END), 103, "x", KEEP, H1_NO_BODY, 0, -1, 1},
    {STR("HTTP/1.1 101 x\r\nUpgrade: y" END), 101, "x", KEEP, H1_NO_BODY, 0, -1, 1},
    {STR(OK "Content-Length: 5" END), 200, "OK", KEEP | TO_HEAD, H1_NO_BODY, 5, -1, 1},
    {STR(OK "Transfer-Encoding: chunked" END), 200, "OK", KEEP | TO_HEAD, H1_NO_BODY, 0, -1, 1},
    {STR(OK "\r\n"), 200, "OK", KEEP | TO_HEAD, H1_NO_BODY, 0, -1, 0},
    /* keeping alive */
    {STR(OK "Content-Length: 5\r\nConnection: close" END), 200, "OK", 0, H1_LENGTH, 5, -1, 2},
    {STR(OK "Content-Length: 5\r\nConnection: x,Close" END), 200, "OK", 0, H1_LENGTH, 5, -1, 2},
    {STR("HTTP/1.0 200 OK\r\nContent-Length: 5" END), 200, "OK", V10, H1_LENGTH, 5, -1, 1},
    {STR("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive" END), 200, "OK",
     V10 | KEEP, H1_LENGTH, 5, -1, 2},
    {STR("HTTP/1.0 200 OK\r\nConnection: keep-alive" END), 200, "OK", V10, H1_TO_END, 0, -1, 1},
    {STR(OK "Content-Length: 5\r\nKeep-Alive: timeout=5, max=100" END), 200, "OK", KEEP, H1_LENGTH,
     5, 5, 2},
    {STR(OK "Content-Length: 5\r\nKeep-Alive: max=1 , TimeOut = 60" END), 200, "OK", KEEP,
     H1_LENGTH, 5, 60, 2},
    {STR(OK "Content-Length: 5\r\nKeep-Alive: timeout=0" END), 200, "OK", KEEP, H1_LENGTH, 5, 0, 2},
    {STR(OK "Content-Length: 5\r\nKeep-Alive: timeout=-1" END), 200, "OK", KEEP, H1_LENGTH, 5, -1,
     2},
    {STR(OK "Content-Length: 5\r\nKeep-Alive: timeout=99999999999999999999" END), 200, "OK", KEEP,
     H1_LENGTH, 5, -1, 2},
    {STR(OK "Content-Length: 5\r\nKeep-Alive: timeout" END), 200, "OK", KEEP, H1_LENGTH, 5, -1, 2},
};

static void test_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_rows) / sizeof(*good_rows); i++) {
        struct feed whole, split;
        struct h1_response one, two;
        struct str in = good_rows[i].in;
        unsigned flags = good_rows[i].flags;
        feed_response(&whole, &limits, in, false, flags & TO_HEAD, &one);
        feed_response(&split, &limits, in, true, flags & TO_HEAD, &two);
        if (whole.status != H1_DONE || one.framing != good_rows[i].framing)
            print_error("row %zu: %.*s\n", i, STR_ARG(in));
        assert_int_equal(whole.status, H1_DONE);
        assert_int_equal(split.status, H1_DONE);
        assert_int_equal(whole.used, (size_t)str_search(in, STR(END)) + 4);
        assert_int_equal(split.used, whole.used);
        assert_true(same_response(&one, &two));
        assert_int_equal(one.status, good_rows[i].status);
        assert_true(str_eq(one.phrase, str_of(good_rows[i].phrase)));
        assert_int_equal(one.minor, !(flags & V10));
        assert_int_equal(one.keep_alive, !!(flags & KEEP));
        assert_int_equal(one.framing, good_rows[i].framing);
        assert_int_equal(one.length, good_rows[i].length);
        assert_int_equal(one.keep_alive_s, good_rows[i].keep_alive_s);
        assert_int_equal(one.head.n, good_rows[i].lines);
        for (size_t n = 0; n < whole.used; n++) {
            struct feed part;
            feed_response(&part, &limits, str_head(in, n), false, flags & TO_HEAD, &two);
            assert_int_equal(part.status, H1_MORE);
            feed_fini(&part);
        }
        feed_fini(&whole);
        feed_fini(&split);
    }
}

static void check_limit(struct str in, bool fits)
{
    for (int split = 0; split < 2; split++) {
        struct feed f;
        struct h1_response r;
        feed_response(&f, &limits, in, split, false, &r);
        assert_int_equal(f.status, fits ? H1_DONE : H1_ERROR);
        if (!fits)
            assert_string_equal(reasons[f.why].name, "UPSTREAM_HEAD_TOO_LARGE");
        feed_fini(&f);
    }
}

static void test_limits(void **state)
{
    char p[4096];

    (void)state;
    for (size_t n = 2046; n < 2051; n++) {
        size_t at = (size_t)snprintf(p, sizeof(p), OK "A: ");
        memset(p + at, 'x', n - at - 4);
        memcpy(p + n - 4, END, 4);
        check_limit(str_make(p, n), n <= 2048);
    }
    memset(p, 'x', sizeof(p));
    memcpy(p, OK "A: ", sizeof(OK "A: ") - 1);
    check_limit(str_make(p, 2049), false);
    for (int lines = 18; lines < 23; lines++) {
        size_t n = (size_t)snprintf(p, sizeof(p), OK);
        for (int i = 0; i < lines; i++)
            n += (size_t)snprintf(p + n, sizeof(p) - n, "A%d: b\r\n", i);
        n += (size_t)snprintf(p + n, sizeof(p) - n, "\r\n");
        check_limit(str_make(p, n), lines <= 20);
    }
}

static void test_phrases(void **state)
{
    (void)state;
    assert_string_equal(h1_phrase(100), "Continue");
    assert_string_equal(h1_phrase(200), "OK");
    assert_string_equal(h1_phrase(404), "Not Found");
    assert_string_equal(h1_phrase(503), "Service Temporarily Unavailable");
    assert_string_equal(h1_phrase(529), "Site is overloaded");
    /* The search finds each row of its table, and nothing else. */
    for (int status = -1; status < 1200; status++) {
        const char *expect = "Unknown";
        for (size_t i = 0; i < sizeof(phrases) / sizeof(*phrases); i++)
            if (phrases[i].status == status)
                expect = phrases[i].phrase;
        assert_string_equal(h1_phrase(status), expect);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_phrases),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
