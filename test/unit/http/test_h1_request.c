/* SPDX-License-Identifier: Apache-2.0 */
/* Request heads: every malformed one with its reason, every good one with its fields; each whole
 * and byte by byte, with equal results. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "feed.h"

static const struct h1_limits limits = {.head_bytes = 2048, .uri_bytes = 512, .headers = 20};

/* ---- Refused
 * --------------------------------------------------------------------------------------- */

#define G   "GET / HTTP/1.1\r\nHost: a\r\n"
#define P   "POST / HTTP/1.1\r\nHost: a\r\n"
#define END "\r\n\r\n"
#define H   " HTTP/1.1\r\nHost: a" END

struct bad_row {
    struct str in;
    enum reason why;
};

#define ROW(text, why)          \
    {                           \
        STR(text), REASON_##why \
    }

static const struct bad_row request_line_rows[] = {
    ROW("GET /\r\nHost: a" END, BAD_REQUEST_LINE), /* HTTP/0.9 */
    ROW("GET /\r\n", BAD_REQUEST_LINE),
    ROW("GET\r\n\r\n", BAD_METHOD),
    ROW("GET \r\n\r\n", BAD_REQUEST_LINE),
    ROW("GET / \r\n\r\n", BAD_VERSION),
    ROW("GET  /" H, BAD_TARGET),
    ROW("GET /  HTTP/1.1\r\nHost: a" END, BAD_VERSION),
    ROW("GET\t/" H, BAD_METHOD),
    ROW("GET /\tHTTP/1.1\r\nHost: a" END, BAD_TARGET),
    ROW(" GET /" H, BAD_METHOD),
    ROW("\tGET /" H, BAD_METHOD),
    ROW("\nGET /" H, BAD_METHOD),
    ROW("\rGET /" H, BAD_METHOD),
    ROW("\r\n\r\n\r\nGET /" H, BAD_METHOD),
    ROW("/" H, BAD_METHOD),
    ROW("G@T /" H, BAD_METHOD),
    ROW("G\0T /" H, BAD_METHOD),
    ROW("G\xc3\xa9T /" H, BAD_METHOD),
    ROW("GET: /" H, BAD_METHOD),
    ROW("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG /" H, BAD_METHOD),                  /* 33 bytes */
    ROW("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" END, BAD_REQUEST_LINE), /* TLS */
    /* version */
    ROW("GET / HTTP/1.1 \r\nHost: a" END, BAD_VERSION),
    ROW("GET / http/1.1\r\nHost: a" END, BAD_VERSION),
    ROW("GET / HTTP/1.10\r\nHost: a" END, BAD_VERSION),
    ROW("GET / HTTP/11\r\nHost: a" END, BAD_VERSION),
    ROW("GET / HTTP/1,1\r\nHost: a" END, BAD_VERSION),
    ROW("GET / HTTP/1.\r\nHost: a" END, BAD_VERSION),
    ROW("GET / HTTP/+1.1\r\nHost: a" END, BAD_VERSION),
    ROW("GET / HTTP /1.1\r\nHost: a" END, BAD_VERSION),
    ROW("GET / ICY/1.1\r\nHost: a" END, BAD_VERSION),
    ROW("GET / HTTP/1.x\r\nHost: a" END, BAD_VERSION),
    ROW("GET / HTTP/1.1\0\r\nHost: a" END, BAD_VERSION),
    ROW("GET / HTTP/1.1GET\r\nHost: a" END, BAD_VERSION),
    ROW("GET / HTTP/\n\n", BAD_VERSION),
    ROW("GET / HTTP/1\n\r\n", BAD_VERSION),
    ROW("GET / HTTP/0.9\r\nHost: a" END, VERSION_UNSUPPORTED),
    ROW("GET / HTTP/2.0\r\nHost: a" END, VERSION_UNSUPPORTED),
    ROW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VERSION_UNSUPPORTED),
    ROW("GET / HTTP/9.9\r\nHost: a" END, VERSION_UNSUPPORTED),
    /* target */
    ROW("GET noslash" H, BAD_TARGET),
    ROW("GET ?a" H, BAD_TARGET),
    ROW("GET *" H, BAD_TARGET),
    ROW("GET a:80" H, BAD_TARGET),
    ROW("OPTIONS *x" H, BAD_TARGET),
    ROW("options *" H, BAD_TARGET),
    ROW("GET /a#b" H, BAD_TARGET),
    ROW("GET /a\0b" H, BAD_TARGET),
    ROW("GET /a\x01"
        "b" H,
        BAD_TARGET),
    ROW("GET /a\x7f"
        "b" H,
        BAD_TARGET),
    ROW("GET /a b" H, BAD_VERSION),
    ROW("GET /a\x0b"
        "b" H,
        BAD_TARGET),
    ROW("GET ftp://a/" H, BAD_TARGET),
    ROW("GET http:/a/" H, BAD_TARGET),
    ROW("GET http://" H, BAD_TARGET),
    ROW("GET http:///a" H, BAD_TARGET),
    ROW("GET http://?a" H, BAD_TARGET),
    ROW("GET http://u@a/" H, BAD_TARGET),
    ROW("GET http://u:p@a/" H, BAD_TARGET),
    ROW("GET http://a:b/" H, BAD_TARGET),
    ROW("GET http://a:65536/" H, BAD_TARGET),
    ROW("GET http://a\\b/" H, BAD_TARGET),
    ROW("GET http://[::1/" H, BAD_TARGET),
    ROW("GET http://:80/" H, BAD_TARGET),
    ROW("CONNECT a:80 HTTP/1.1\r\nHost: a:80" END, METHOD_UNSUPPORTED),
    ROW("CONNECT /" H, METHOD_UNSUPPORTED),
    ROW("TRACE /" H, METHOD_UNSUPPORTED),
    /* line ends */
    ROW("GET / HTTP/1.1\nHost: a\n\n", BARE_CR_OR_LF),
    ROW("GET / HTTP/1.1\nHost: a\r\n\r\n", BARE_CR_OR_LF),
    ROW("GET / HTTP/1.1\rHost: a" END, BARE_CR_OR_LF),
    ROW("GET / HTTP/1.1\r\r\nHost: a" END, BARE_CR_OR_LF),
    ROW("GET /\rHTTP/1.1\r\nHost: a" END, BAD_REQUEST_LINE),
    ROW("GET /\nHost: a" END, BAD_REQUEST_LINE),
};

static const struct bad_row header_rows[] = {
    ROW(G "A : b" END, BAD_HEADER_NAME),
    ROW(G "A\t: b" END, BAD_HEADER_NAME),
    ROW(G "Content-Length : 5" END, BAD_HEADER_NAME),
    ROW(G "Transfer-Encoding\x0b: chunked" END, BAD_HEADER_NAME),
    ROW(G "Transfer\rEncoding: chunked" END, BAD_HEADER_NAME),
    ROW(G "Transfer-Encoding\xc2\xa0: chunked" END, BAD_HEADER_NAME),
    ROW(G "\xef\xbb\xbf"
          "A: b" END,
        BAD_HEADER_NAME),
    ROW(G "Abc" END, BAD_HEADER_NAME),
    ROW(G ": b" END, BAD_HEADER_NAME),
    ROW(G "A b: c" END, BAD_HEADER_NAME),
    ROW(G "A\0: c" END, BAD_HEADER_NAME),
    ROW(G "A(b): c" END, BAD_HEADER_NAME),
    ROW(G "\"A\": c" END, BAD_HEADER_NAME),
    ROW(G "\x01: c" END, BAD_HEADER_NAME),
    ROW(G "A: b\0c" END, BAD_HEADER_VALUE),
    ROW(G "A: \0" END, BAD_HEADER_VALUE),
    ROW(G "A: b\x01"
          "c" END,
        BAD_HEADER_VALUE),
    ROW(G "A: b\x7f"
          "c" END,
        BAD_HEADER_VALUE),
    ROW(G "A: b\x0b" END, BAD_HEADER_VALUE),
    ROW(G "A: b\x0c" END, BAD_HEADER_VALUE),
    ROW(G "A:\x1b[2J" END, BAD_HEADER_VALUE),
    /* at every place of the sixteen bytes that are looked at together */
    ROW(G "A: 0123456789abcde\0" END, BAD_HEADER_VALUE),
    ROW(G "A: 0123456789abcdef\x08" END, BAD_HEADER_VALUE),
    ROW(G "A: 0123456789abcdef0123456789abcde\x7f" END, BAD_HEADER_VALUE),
    ROW(G "A: b\rc" END, BARE_CR_OR_LF),
    ROW(G "A: b\r\r\n\r\n", BARE_CR_OR_LF),
    ROW(G "A: b\rContent-Length: 5" END, BARE_CR_OR_LF),
    ROW(G "A: b\nContent-Length: 5" END, BARE_CR_OR_LF),
    ROW(G "A:\nb: c" END, BARE_CR_OR_LF),
    ROW(G "\n", BARE_CR_OR_LF),
    ROW(G "\nGET /admin" H, BARE_CR_OR_LF),
    ROW(G "\r\rGET /admin" H, BARE_CR_OR_LF),
    ROW(G "A: b\n\r\n", BARE_CR_OR_LF),
    ROW(G "A: b\r\n\n", BARE_CR_OR_LF),
    ROW(G "A: b\n\n", BARE_CR_OR_LF),
    ROW(G "A: b\r\n c" END, OBS_FOLD),
    ROW(G "A: b\r\n\tc" END, OBS_FOLD),
    ROW(G "A:\r\n b" END, OBS_FOLD),
    ROW(G " \r\n\r\n", OBS_FOLD),
    ROW("GET / HTTP/1.1\r\n Host: a" END, OBS_FOLD),
    ROW("GET / HTTP/1.1\r\n\tHost: a" END, OBS_FOLD),
    ROW("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked" END, OBS_FOLD),
    /* Host */
    ROW("GET / HTTP/1.1\r\nA: b" END, NO_HOST),
    ROW("GET / HTTP/1.1" END, NO_HOST),
    ROW("GET http://a/ HTTP/1.1" END, NO_HOST),
    ROW(G "Host: b" END, BAD_HOST),
    ROW(G "host: a" END, BAD_HOST),
    ROW("GET / HTTP/1.0\r\nHost: a\r\nHost: a" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost:" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: a b" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: a/b" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: a?b" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: a#b" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: a\\b" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: u@a" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: a:"
        "80x" END,
        BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: a:-1" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: a:80:80" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: a:65536" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: :80" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: ::1" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: [::1" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: [::1]x" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: [::1]:x" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: []" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: [a.b]" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: \xc3\xa9" END, BAD_HOST),
    ROW("GET / HTTP/1.1\r\nHost: a\0b" END, BAD_HEADER_VALUE),
    ROW("GET http://b/ HTTP/1.1\r\nHost: a/b" END, BAD_HOST),
};

static const struct bad_row framing_rows[] = {
    ROW(P "Content-Length: 5\r\nTransfer-Encoding: chunked" END, BOTH_LENGTHS),
    ROW(P "Transfer-Encoding: chunked\r\nContent-Length: 5" END, BOTH_LENGTHS),
    ROW(P "Transfer-Encoding: chunked\r\nContent-Length: 0" END, BOTH_LENGTHS),
    ROW(P "content-length:5\r\nA: b\r\ntransfer-encoding:chunked" END, BOTH_LENGTHS),
    ROW(P "Content-Length: x\r\nTransfer-Encoding: y" END, BOTH_LENGTHS),
    ROW(P "Content-Length: 5\r\nContent-Length: 6" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: 5\r\nContent-Length: 5" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: 5\r\nA: b\r\ncontent-LENGTH: 5" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: 0\r\nContent-Length: 0" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: 5, 5" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: 5,6" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: 5," END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: +5" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: -5" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: -0" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: 0x5" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: 5 5" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: 5;" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: 5.0" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: 1e1" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: 1_0" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: \"5\"" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: " END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length:" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: five" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: \xd9\xa5" END, BAD_CONTENT_LENGTH), /* an Arabic five */
    ROW(P "Content-Length: 9223372036854775808" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: 18446744073709551615" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: 18446744073709551616" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: 18446744073709551621" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: 99999999999999999999999999999999" END, BAD_CONTENT_LENGTH),
    ROW(P "Content-Length: \x0b"
          "5" END,
        BAD_HEADER_VALUE),
    ROW(P "Content-Length: 5\0" END, BAD_HEADER_VALUE),
    ROW(P "Transfer-Encoding: gzip" END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: identity" END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: gzip, chunked" END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: chunked, gzip" END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: chunked, identity" END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: chunked, chunked" END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: chunked," END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: ,chunked" END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: chunked;q=1" END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: chunked x" END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: \"chunked\"" END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: 'chunked'" END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: xchunked" END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: chunkedx" END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: chun ked" END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: chun\xc4\xb1"
          "ed" END,
        BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: chun\xe2\x84\xaa"
          "ed" END,
        BAD_TRANSFER_ENCODING), /* Kelvin */
    ROW(P "Transfer-Encoding:" END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: \xa0"
          "chunked" END,
        BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: \x0b"
          "chunked" END,
        BAD_HEADER_VALUE),
    ROW(P "Transfer-Encoding: chunked\x0c" END, BAD_HEADER_VALUE),
    ROW(P "Transfer-Encoding: chunked\0" END, BAD_HEADER_VALUE),
    ROW(P "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity" END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked" END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding: chunked\r\ntransfer-encoding: chunked" END, BAD_TRANSFER_ENCODING),
    ROW(P "Transfer-Encoding:\r\nTransfer-Encoding: chunked" END, BAD_TRANSFER_ENCODING),
    ROW("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked" END, BAD_TRANSFER_ENCODING),
    ROW("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5" END, BOTH_LENGTHS),
    ROW(P "Expect: 200-ok" END, BAD_EXPECT),
    ROW(P "Expect: 100-continue, 100-continue" END, BAD_EXPECT),
    ROW(P "Expect: x 100-continue" END, BAD_EXPECT),
    ROW(P "Expect:" END, BAD_EXPECT),
    ROW(P "Expect: 100-continue\r\nExpect: x" END, BAD_EXPECT),
};

static void check_bad(const struct bad_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (int split = 0; split < 2; split++) {
            struct feed f;
            struct h1_request req;
            feed_request(&f, &limits, rows[i].in, split, &req);
            enum h1_status expect = split && !feed_ends(&limits, rows[i].in) ? H1_MORE : H1_ERROR;
            if (f.status != expect || (expect == H1_ERROR && f.why != rows[i].why))
                print_error("%s, row %zu: %.*s\nstatus %d, reason %s\n", split ? "split" : "whole",
                            i, STR_ARG(rows[i].in), (int)f.status, reasons[f.why].name);
            assert_int_equal(f.status, expect);
            if (expect == H1_ERROR) {
                assert_int_equal(f.why, rows[i].why);
                assert_in_range(reasons[f.why].status, 400, 505);
            }
            feed_fini(&f);
        }
    }
}

#define CHECK_BAD(rows) check_bad(rows, sizeof(rows) / sizeof(*(rows)))

static void test_request_lines_refused(void **state)
{
    (void)state;
    CHECK_BAD(request_line_rows);
}

static void test_headers_refused(void **state)
{
    (void)state;
    CHECK_BAD(header_rows);
}

static void test_framing_refused(void **state)
{
    (void)state;
    CHECK_BAD(framing_rows);
}

/* ---- Taken
 * ----------------------------------------------------------------------------------------- */

enum { KEEP = 1, EXPECTS = 2, UPGRADES = 4, V10 = 8 };

struct good_row {
    struct str in; /* "|" stands for the end of the head; what follows is not the head's */
    const char *method, *target, *host, *path, *query; /* query NULL: absent */
    unsigned flags;
    enum h1_framing framing;
    uint64_t length;
    const char *lines; /* "name=value;", in order, but the first Host: a */
};

#define NONE        H1_NO_BODY, 0
#define SIMPLE(...) "POST", "/", "a", "/", NULL, __VA_ARGS__

static const struct good_row good_rows[] = {
    {STR(G "\r\n"), "GET", "/", "a", "/", NULL, KEEP, NONE, ""},
    {STR(G "\r\n" G "\r\n"), "GET", "/", "a", "/", NULL, KEEP, NONE, ""},
    {STR(G "\r\n\0\1\2"), "GET", "/", "a", "/", NULL, KEEP, NONE, ""},
    {STR("\r\n" G "\r\n"), "GET", "/", "a", "/", NULL, KEEP, NONE, ""},
    {STR("\r\n\r\n" G "\r\n"), "GET", "/", "a", "/", NULL, KEEP, NONE, ""},
    /* targets */
    {STR("GET /a/b?c=d&e HTTP/1.1\r\nHost: a" END), "GET", "/a/b?c=d&e", "a", "/a/b", "c=d&e", KEEP,
     NONE, ""},
    {STR("GET /? HTTP/1.1\r\nHost: a" END), "GET", "/?", "a", "/", "", KEEP, NONE, ""},
    {STR("GET /a?b?c HTTP/1.1\r\nHost: a" END), "GET", "/a?b?c", "a", "/a", "b?c", KEEP, NONE, ""},
    {STR("GET //b/c HTTP/1.1\r\nHost: a" END), "GET", "//b/c", "a", "//b/c", NULL, KEEP, NONE, ""},
    {STR("GET /%zz HTTP/1.1\r\nHost: a" END), "GET", "/%zz", "a", "/%zz", NULL, KEEP, NONE, ""},
    {STR("GET /\"<>\\^`{|}\xc3\xa9 HTTP/1.1\r\nHost: a" END), "GET", "/\"<>\\^`{|}\xc3\xa9", "a",
     "/\"<>\\^`{|}\xc3\xa9", NULL, KEEP, NONE, ""},
    {STR("OPTIONS * HTTP/1.1\r\nHost: a" END), "OPTIONS", "*", "a", "*", NULL, KEEP, NONE, ""},
    {STR("GET http://b:81/c?d HTTP/1.1\r\nHost: a" END), "GET", "http://b:81/c?d", "b:81", "/c",
     "d", KEEP, NONE, ""},
    {STR("GET HTTPS://B HTTP/1.1\r\nHost: a" END), "GET", "HTTPS://B", "B", "/", NULL, KEEP, NONE,
     ""},
    {STR("GET http://b?d/e HTTP/1.1\r\nHost: a" END), "GET", "http://b?d/e", "b", "/", "d/e", KEEP,
     NONE, ""},
    {STR("GET http://[::1]:8/ HTTP/1.1\r\nHost: a" END), "GET", "http://[::1]:8/", "[::1]:8", "/",
     NULL, KEEP, NONE, ""},
    /* methods */
    {STR("get / HTTP/1.1\r\nHost: a" END), "get", "/", "a", "/", NULL, KEEP, NONE, ""},
    {STR("A!#$%&'*+-.^_`|~09 / HTTP/1.1\r\nHost: a" END), "A!#$%&'*+-.^_`|~09", "/", "a", "/", NULL,
     KEEP, NONE, ""},
    {STR("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1\r\nHost: a" END),
     "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF", "/", "a", "/", NULL, KEEP, NONE, ""},
    /* versions and keeping alive */
    {STR("GET / HTTP/1.0\r\nHost: a" END), "GET", "/", "a", "/", NULL, V10, NONE, ""},
    {STR("GET / HTTP/1.7\r\nHost: a" END), "GET", "/", "a", "/", NULL, KEEP, NONE, ""},
    {STR("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive" END), "GET", "/", "a", "/", NULL,
     V10 | KEEP, NONE, "Connection=keep-alive;"},
    {STR("GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive, CLOSE" END), "GET", "/", "a", "/",
     NULL, V10, NONE, "Connection=Keep-Alive, CLOSE;"},
    {STR(P "Connection: close" END), SIMPLE(0, NONE, "Connection=close;")},
    {STR(P "Connection: x, close" END), SIMPLE(0, NONE, "Connection=x, close;")},
    {STR(P "Connection: x\r\nA: b\r\nconnection: Close" END),
     SIMPLE(0, NONE, "Connection=x;A=b;connection=Close;")},
    {STR(P "Connection: closed" END), SIMPLE(KEEP, NONE, "Connection=closed;")},
    {STR(P "Proxy-Connection: close" END), SIMPLE(KEEP, NONE, "Proxy-Connection=close;")},
    /* header lines */
    {STR(P "A:" END), SIMPLE(KEEP, NONE, "A=;")},
    {STR(P "A: \t \t" END), SIMPLE(KEEP, NONE, "A=;")},
    {STR(P "A:b" END), SIMPLE(KEEP, NONE, "A=b;")},
    {STR(P "A: \t b \t c \t" END), SIMPLE(KEEP, NONE, "A=b \t c;")},
    {STR(P "A: b\r\nA: b\r\na: c" END), SIMPLE(KEEP, NONE, "A=b;A=b;a=c;")},
    {STR(P "A: \xe4\xff\x80" END), SIMPLE(KEEP, NONE, "A=\xe4\xff\x80;")},
    {STR(P "A: 0123456789abcdef0123456789abcdef\t" END),
     SIMPLE(KEEP, NONE, "A=0123456789abcdef0123456789abcdef;")},
    {STR(P "A::b" END), SIMPLE(KEEP, NONE, "A=:b;")},
    {STR(P "!#$%&'*+-.^_`|~09azAZ: c" END), SIMPLE(KEEP, NONE, "!#$%&'*+-.^_`|~09azAZ=c;")},
    {STR(P "Content_Length: 5\r\nTransfer_Encoding: chunked" END),
     SIMPLE(KEEP, NONE, "Content_Length=5;Transfer_Encoding=chunked;")},
    {STR(P "X-Content-Length: 5\r\nContent-Lengths: 6" END),
     SIMPLE(KEEP, NONE, "X-Content-Length=5;Content-Lengths=6;")},
    /* bodies */
    {STR(P "Content-Length: 5" END "hello"), SIMPLE(KEEP, H1_LENGTH, 5, "Content-Length=5;")},
    {STR(P "content-length:\t5\t" END "hello"), SIMPLE(KEEP, H1_LENGTH, 5, "content-length=5;")},
    {STR(P "Content-Length: 0" END), SIMPLE(KEEP, NONE, "Content-Length=0;")},
    {STR(P "Content-Length: 000" END), SIMPLE(KEEP, NONE, "Content-Length=000;")},
    {STR(P "Content-Length: 0000000000000000000000000000005" END),
     SIMPLE(KEEP, H1_LENGTH, 5, "Content-Length=0000000000000000000000000000005;")},
    {STR(P "Content-Length: 9223372036854775807" END),
     SIMPLE(KEEP, H1_LENGTH, INT64_MAX, "Content-Length=9223372036854775807;")},
    {STR(P "Transfer-Encoding: chunked" END "0" END),
     SIMPLE(KEEP, H1_CHUNKED, 0, "Transfer-Encoding=chunked;")},
    {STR(P "TRANSFER-ENCODING:\t CHunkED \t" END),
     SIMPLE(KEEP, H1_CHUNKED, 0, "TRANSFER-ENCODING=CHunkED;")},
    {STR("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3" END "abc"), "GET", "/", "a", "/", NULL,
     KEEP, H1_LENGTH, 3, "Content-Length=3;"},
    {STR("POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 3" END),
     SIMPLE(V10, H1_LENGTH, 3, "Content-Length=3;")},
    /* expectations, upgrades */
    {STR(P "Content-Length: 1\r\nExpect: 100-Continue" END),
     SIMPLE(KEEP | EXPECTS, H1_LENGTH, 1, "Content-Length=1;Expect=100-Continue;")},
    {STR("POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue" END),
     SIMPLE(V10, NONE, "Expect=100-continue;")},
    {STR(P "Connection: Upgrade\r\nUpgrade: websocket" END),
     SIMPLE(KEEP | UPGRADES, NONE, "Connection=Upgrade;Upgrade=websocket;")},
    {STR(P "Upgrade: h2c" END), SIMPLE(KEEP, NONE, "Upgrade=h2c;")},
    {STR(P "Connection: upgrade" END), SIMPLE(KEEP, NONE, "Connection=upgrade;")},
};

static void lines_text(const struct head *head, char *out, size_t size)
{
    size_t n = 0;

    out[0] = 0;
    for (unsigned i = 0; i < head->n; i++) {
        struct str name = header_str_name(&head->list[i]), value = header_str_value(&head->list[i]);
        if (i == 0 && str_eq(name, STR("Host")) && str_eq(value, STR("a")))
            continue;
        n += (size_t)snprintf(out + n, size - n, "%.*s=%.*s;", STR_ARG(name), STR_ARG(value));
        assert_true(n < size);
    }
}

static void check_good(const struct good_row *row, const struct h1_request *r)
{
    char lines[256];

    assert_true(str_eq(r->method, str_of(row->method)));
    assert_true(str_eq(r->target, str_of(row->target)));
    assert_true(str_eq(r->host, str_of(row->host)));
    assert_true(str_eq(r->path, str_of(row->path)));
    assert_true(same_str(r->query, row->query ? str_of(row->query) : STR_NONE));
    assert_int_equal(r->minor, !(row->flags & V10));
    assert_int_equal(r->keep_alive, !!(row->flags & KEEP));
    assert_int_equal(r->expect_continue, !!(row->flags & EXPECTS));
    assert_int_equal(r->upgrade, !!(row->flags & UPGRADES));
    assert_int_equal(r->framing, row->framing);
    assert_int_equal(r->length, row->length);
    lines_text(&r->head, lines, sizeof(lines));
    assert_string_equal(lines, row->lines);
}

/* Where the head of a good row ends. */
static size_t head_length(struct str in)
{
    size_t from = 0;

    while (in.n - from >= 2 && in.p[from] == '\r')
        from += 2;
    return from + (size_t)str_search(str_from(in, from), STR(END)) + 4;
}

static void test_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_rows) / sizeof(*good_rows); i++) {
        const struct good_row *row = &good_rows[i];
        struct feed whole, split;
        struct h1_request one, two;
        feed_request(&whole, &limits, row->in, false, &one);
        feed_request(&split, &limits, row->in, true, &two);
        if (whole.status != H1_DONE)
            print_error("row %zu: %.*s: %s\n", i, STR_ARG(row->in), reasons[whole.why].name);
        assert_int_equal(whole.status, H1_DONE);
        assert_int_equal(split.status, H1_DONE);
        assert_int_equal(whole.used, head_length(row->in));
        assert_int_equal(split.used, whole.used);
        check_good(row, &one);
        assert_true(same_request(&one, &two));
        /* No part of it is taken for a whole. */
        for (size_t n = 0; n < whole.used; n++) {
            struct feed part;
            feed_request(&part, &limits, str_head(row->in, n), false, &two);
            assert_int_equal(part.status, H1_MORE);
            feed_fini(&part);
        }
        feed_fini(&whole);
        feed_fini(&split);
    }
}

static void test_no_host_in_10(void **state)
{
    struct feed f;
    struct h1_request r;

    (void)state;
    feed_request(&f, &limits, STR("GET / HTTP/1.0\r\n\r\n"), false, &r);
    assert_int_equal(f.status, H1_DONE);
    assert_int_equal(r.host.n, 0);
    feed_fini(&f);
    feed_request(&f, &limits, STR("GET / HTTP/1.0\r\nHost:\r\n\r\n"), false, &r);
    assert_int_equal(f.status, H1_DONE);
    assert_int_equal(r.host.n, 0);
    feed_fini(&f);
}

/* ---- Limits
 * ---------------------------------------------------------------------------------------- */

/* A head of exactly n bytes, 40 or more. */
static struct str sized_head(char *p, size_t n)
{
    size_t at = (size_t)snprintf(p, n, "GET / HTTP/1.1\r\nHost: a\r\nA: ");

    memset(p + at, 'x', n - at - 4);
    memcpy(p + n - 4, END, 4);
    return str_make(p, n);
}

static void check_limit(struct str in, const struct h1_limits *l, enum reason why)
{
    for (int split = 0; split < 2; split++) {
        struct feed f;
        struct h1_request r;
        feed_request(&f, l, in, split, &r);
        if (why == REASON_NONE) {
            assert_int_equal(f.status, H1_DONE);
        } else {
            assert_int_equal(f.status, H1_ERROR);
            assert_string_equal(reasons[f.why].name, reasons[why].name);
        }
        feed_fini(&f);
    }
}

static void test_limits(void **state)
{
    char p[8192];
    size_t n;

    (void)state;
    check_limit(sized_head(p, 2048), &limits, REASON_NONE);
    check_limit(sized_head(p, 2049), &limits, REASON_HEAD_TOO_LARGE);
    check_limit(sized_head(p, 8000), &limits, REASON_HEAD_TOO_LARGE);
    /* Empty lines in front count. */
    struct str in = sized_head(p + 2, 2047);
    memcpy(p, "\r\n", 2);
    check_limit(str_make(p, in.n + 2), &limits, REASON_HEAD_TOO_LARGE);
    in = sized_head(p + 2, 2046);
    check_limit(str_make(p, in.n + 2), &limits, REASON_NONE);
    /* What is wrong past the limit does not matter, what is before does. */
    in = sized_head(p, 3000);
    p[2048] = 0;
    check_limit(in, &limits, REASON_HEAD_TOO_LARGE);
    p[2047] = 0;
    check_limit(in, &limits, REASON_BAD_HEADER_VALUE);
    /* An end that never comes. */
    sized_head(p, 3000);
    check_limit(str_make(p, 2049), &limits, REASON_HEAD_TOO_LARGE);

    for (size_t uri = 510; uri < 516; uri++) {
        n = (size_t)snprintf(p, sizeof(p), "GET /");
        memset(p + n, 'u', uri - 1);
        n += uri - 1;
        n += (size_t)snprintf(p + n, sizeof(p) - n, H);
        check_limit(str_make(p, n), &limits, uri > 512 ? REASON_URI_TOO_LONG : REASON_NONE);
    }
    memset(p, 'u', 8000);
    memcpy(p, "GET /", 5);
    check_limit(str_make(p, 8000), &limits, REASON_URI_TOO_LONG);

    for (int lines = 17; lines < 23; lines++) {
        n = (size_t)snprintf(p, sizeof(p), G);
        for (int i = 1; i < lines; i++)
            n += (size_t)snprintf(p + n, sizeof(p) - n, "A%d: b\r\n", i);
        n += (size_t)snprintf(p + n, sizeof(p) - n, "\r\n");
        check_limit(str_make(p, n), &limits, lines > 20 ? REASON_TOO_MANY_HEADERS : REASON_NONE);
    }
    /* A name longer than a line of a head can hold. */
    static char large[70000];
    const struct h1_limits wide = {.head_bytes = 100000, .uri_bytes = 512, .headers = 20};
    n = (size_t)snprintf(large, sizeof(large), G);
    memset(large + n, 'x', 66000);
    n += 66000;
    n += (size_t)snprintf(large + n, sizeof(large) - n, ": b" END);
    struct feed f;
    struct h1_request r;
    feed_request(&f, &wide, str_make(large, n), false, &r);
    assert_int_equal(f.status, H1_ERROR);
    feed_fini(&f);
}

/* The look-out for a head's end finds it wherever the bytes before were cut. */
static void test_head_ends(void **state)
{
    static const char *const ends[] = {"a\r\n\r\n", "a\n\n", "a\n\r\n"};
    static const char *const none[] = {"a\r\n", "a\r\n\r", "a\r\r\n", "\r\n\r\r", "", "abc\n\ra"};

    (void)state;
    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
        for (size_t seen = 0; seen < strlen(ends[i]); seen++)
            assert_true(h1_head_ends(str_of(ends[i]), seen));
    for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
        for (size_t seen = 0; seen <= strlen(none[i]); seen++)
            assert_false(h1_head_ends(str_of(none[i]), seen));
}

static void test_bytes(void **state)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    (void)state;
    for (int c = 0; c < 256; c++) {
        char b = (char)c;
        bool token = ascii_digit(b) || (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') ||
                     (b && strchr(others, b));
        assert_int_equal(h1_token_ok(str_make(&b, 1)), token);
        bool value = c == '\t' || (c >= 0x20 && c != 0x7f);
        assert_int_equal(h1_value_ok(str_make(&b, 1)), value);
        /* at every place of a longer one */
        for (size_t at = 0; at < 40; at++) {
            char text[40];
            memset(text, 'x', sizeof(text));
            text[at] = b;
            assert_int_equal(h1_value_ok(str_make(text, sizeof(text))), value);
            assert_int_equal(h1_token_ok(str_make(text, sizeof(text))), token);
        }
    }
    assert_true(h1_value_ok(STR("")));
    assert_false(h1_token_ok(STR("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_lines_refused),
        cmocka_unit_test(test_headers_refused),
        cmocka_unit_test(test_framing_refused),
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_no_host_in_10),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_head_ends),
        cmocka_unit_test(test_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
