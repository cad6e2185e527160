/* SPDX-License-Identifier: Apache-2.0 */
/* The writing half: sizes are upper bounds, and what was written parses to what was meant; what
 * belongs to one connection stays behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "feed.h"
#include "http/h1_write.h"

static const struct h1_limits limits = {.head_bytes = 65536, .uri_bytes = 8192, .headers = 254};
static uint32_t seed = 1;

static uint32_t random_below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % n;
}

static const struct h1_out_body bodies[] = {
    {.framing = H1_NO_BODY},
    {.framing = H1_NO_BODY, .zero = true},
    {.framing = H1_LENGTH, .length = 1},
    {.framing = H1_LENGTH, .length = INT64_MAX},
    {.framing = H1_CHUNKED},
    {.framing = H1_TO_END},
};

enum { BODIES = sizeof(bodies) / sizeof(*bodies) };

/* Some lines, with hop-by-hop ones among them. */
static void random_head(struct head *head, struct arena *a)
{
    unsigned n = random_below(12);

    head_init(head, NULL, 0);
    head_add(head, a, HEADER_HOST, STR("Host"), STR("a"));
    for (unsigned i = 0; i < n; i++) {
        enum header_id id = (enum header_id)random_below(HEADER_COUNT);
        struct str name = id ? str_of(header_name(id)) : arena_printf(a, "X-%u", i);
        if (id != HEADER_HOST && id != HEADER_CONTENT_LENGTH)
            head_add(
                head, a, id, name,
                arena_printf(a, "%.*s", (int)random_below(30), "value \t with, everything; ok?"));
    }
    if (random_below(2))
        head_remove(head, (enum header_id)(1 + random_below(HEADER_COUNT - 1)));
    if (!head->first[HEADER_HOST])
        head_add(head, a, HEADER_HOST, STR("Host"), STR("a"));
}

/* The lines of `in` that are forwarded are those of `out` that are not of the framing. */
static void check_lines(const struct head *in, const struct head *out)
{
    unsigned k = 0;

    for (unsigned i = 0; i < in->n; i++) {
        const struct header *h = &in->list[i];
        if (!h->name_n || h1_hop_by_hop((enum header_id)h->id))
            continue;
        assert_true(k < out->n);
        assert_true(str_eq(header_str_name(h), header_str_name(&out->list[k])));
        /* Blanks at the ends of a value do not survive, and mean nothing. */
        assert_true(str_eq(str_trim(header_str_value(h)), header_str_value(&out->list[k])));
        k++;
    }
    for (; k < out->n; k++)
        assert_true(h1_hop_by_hop((enum header_id)out->list[k].id));
}

static void check_request(const struct head *head, const struct h1_out_body *body, bool close)
{
    struct str method = STR("POST"), uri = STR("/a?b");
    size_t size = h1_request_size(method, uri, head);
    char *p = mem_alloc(size);
    size_t n = h1_write_request(p, method, uri, head, body, close);
    struct feed f;
    struct h1_request r;

    assert_true(n <= size);
    feed_request(&f, &limits, str_make(p, n), false, &r);
    if (f.status != H1_DONE)
        print_error("%s: %.*s\n", reasons[f.why].name, (int)n, p);
    assert_int_equal(f.status, H1_DONE);
    assert_int_equal(f.used, n);
    assert_true(str_eq(r.method, method) && str_eq(r.target, uri));
    assert_int_equal(r.minor, 1);
    assert_int_equal(r.keep_alive, !close);
    assert_false(r.expect_continue || r.upgrade);
    assert_int_equal(r.framing, body->framing == H1_TO_END ? H1_NO_BODY : body->framing);
    assert_int_equal(r.length, body->framing == H1_LENGTH ? body->length : 0);
    assert_int_equal(!!r.head.first[HEADER_CONTENT_LENGTH],
                     body->framing == H1_LENGTH || body->zero);
    check_lines(head, &r.head);
    feed_fini(&f);
    free(p);
}

static void check_response(const struct head *head, const struct h1_out_body *body, int status,
                           bool close, bool old)
{
    size_t size = h1_response_size(head);
    char *p = mem_alloc(size);
    size_t n = h1_write_response(p, status, head, body, close, old);
    struct feed f;
    struct h1_response r;

    assert_true(n <= size);
    feed_response(&f, &limits, str_make(p, n), false, false, &r);
    assert_int_equal(f.status, H1_DONE);
    assert_int_equal(f.used, n);
    assert_int_equal(r.status, status);
    assert_true(str_eq(r.phrase, str_of(h1_phrase(status))));
    bool none = status < 200 || status == 204 || status == 304 || body->zero;
    enum h1_framing expect = none ? H1_NO_BODY : body->framing;
    if (expect == H1_NO_BODY && !none) /* a bare head without length runs to the end */
        expect = H1_TO_END;
    assert_int_equal(r.framing, expect);
    if (expect == H1_LENGTH)
        assert_int_equal(r.length, body->length);
    if (status >= 200)
        assert_int_equal(r.keep_alive, !close && expect != H1_TO_END);
    struct str connection = head_value(&r.head, HEADER_CONNECTION);
    if (status < 200)
        assert_null(connection.p);
    else
        assert_true(str_eq(connection, close ? STR("close") : old ? STR("keep-alive") : STR("")));
    check_lines(head, &r.head);
    feed_fini(&f);
    free(p);
}

static void test_heads(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) {
        struct arena a;
        struct head head;
        arena_init(&a, NULL);
        random_head(&head, &a);
        const struct h1_out_body *body = &bodies[random_below(BODIES)];
        check_request(&head, body, random_below(2));
        check_response(&head, body, 100 + (int)random_below(500), random_below(2), random_below(2));
        arena_fini(&a);
    }
}

/* The fixed part alone must hold everything that can come with it. */
static void test_sizes(void **state)
{
    struct head head;

    (void)state;
    head_init(&head, NULL, 0);
    const struct h1_out_body longest = {.framing = H1_LENGTH, .length = UINT64_MAX};
    for (int status = 100; status < 1000; status++) {
        size_t size = h1_response_size(&head);
        char *p = mem_alloc(size);
        assert_true(h1_write_response(p, status, &head, &longest, false, true) <= size);
        free(p);
    }
    size_t size = h1_request_size(STR("M"), STR("/"), &head);
    char *p = mem_alloc(size);
    assert_true(h1_write_request(p, STR("M"), STR("/"), &head, &longest, true) <= size);
    free(p);
}

static void test_exact(void **state)
{
    struct header list[8];
    struct head head;
    char p[512];

    (void)state;
    head_init(&head, list, 8);
    head_add(&head, NULL, HEADER_HOST, STR("host"), STR("b"));
    head_add(&head, NULL, HEADER_CONNECTION, STR("Connection"), STR("close"));
    head_add(&head, NULL, HEADER_CONTENT_LENGTH, STR("Content-Length"), STR("99"));
    head_add(&head, NULL, HEADER_TRANSFER_ENCODING, STR("Transfer-Encoding"), STR("x"));
    head_add(&head, NULL, HEADER_EXPECT, STR("Expect"), STR("100-continue"));
    head_add(&head, NULL, HEADER_OTHER, STR("A"), STR(""));
    size_t n = h1_write_request(p, STR("PUT"), STR("/x"), &head, &bodies[4], true);
    assert_true(str_eq(str_make(p, n), STR("PUT /x HTTP/1.1\r\nhost: b\r\nA: \r\n"
                                           "Transfer-Encoding: chunked\r\nConnection: close\r\n"
                                           "\r\n")));
    n = h1_write_request(p, STR("PUT"), STR("/x"), &head, &bodies[1], false);
    assert_true(str_eq(str_make(p, n), STR("PUT /x HTTP/1.1\r\nhost: b\r\nA: \r\n"
                                           "Content-Length: 0\r\n\r\n")));
    n = h1_write_response(p, 200, &head, &bodies[2], false, true);
    assert_true(str_eq(str_make(p, n), STR("HTTP/1.1 200 OK\r\nhost: b\r\nA: \r\n"
                                           "Content-Length: 1\r\nConnection: keep-alive\r\n\r\n")));
    n = h1_write_response(p, 103, &head, &bodies[0], true, true);
    assert_true(str_eq(str_make(p, n), STR("HTTP/1.1 103 Early Hints\r\nhost: b\r\nA: \r\n\r\n")));
}

static void test_numbers(void **state)
{
    char p[32], expect[32];

    (void)state;
    for (int round = 0; round < 2000; round++) {
        uint64_t v = ((uint64_t)seed << 32 | random_below(UINT32_MAX)) >> random_below(64);
        if (round < 3)
            v = round == 0 ? 0 : round == 1 ? UINT64_MAX : 10;
        size_t n = u64_write(p, v);
        snprintf(expect, sizeof(expect), "%llu", (unsigned long long)v);
        assert_true(str_eq(str_make(p, n), str_of(expect)));
        n = h1_write_chunk_size(p, v);
        assert_true(n <= H1_CHUNK_LINE);
        snprintf(expect, sizeof(expect), "%llx\r\n", (unsigned long long)v);
        assert_true(str_eq(str_make(p, n), str_of(expect)));
    }
}

static void test_last_chunk(void **state)
{
    struct header list[3];
    struct head trailers;
    char p[128];

    (void)state;
    size_t n = h1_write_last_chunk(p, NULL);
    assert_true(n <= h1_trailers_size(NULL));
    assert_true(str_eq(str_make(p, n), STR("0\r\n\r\n")));
    head_init(&trailers, list, 3);
    head_add(&trailers, NULL, HEADER_OTHER, STR("A"), STR("b"));
    head_add(&trailers, NULL, HEADER_OTHER, STR("Gone"), STR("b"));
    head_add(&trailers, NULL, HEADER_ETAG, STR("ETag"), STR("\"c\""));
    head_remove_name(&trailers, STR("gone"));
    n = h1_write_last_chunk(p, &trailers);
    assert_true(n <= h1_trailers_size(&trailers));
    assert_true(str_eq(str_make(p, n), STR("0\r\nA: b\r\nETag: \"c\"\r\n\r\n")));
}

/* What Connection names goes, but the sender cannot name what the message cannot do without. */
static void test_connection_named(void **state)
{
    static const struct {
        const char *connection, *left; /* names of the lines that stay, but Connection */
    } rows[] = {
        {"close", "Host Content-Length A B Cookie Close "},
        {"a", "Host Content-Length B Cookie Close "},
        {"A, b ,x", "Host Content-Length Cookie Close "},
        {"cookie", "Host Content-Length A B Close "},
        {"Host, Content-Length, Connection, Transfer-Encoding", "Host Content-Length A B Cookie "
                                                                "Close "},
        {"", "Host Content-Length A B Cookie Close "},
        {"keep-alive", "Host Content-Length A B Cookie Close "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct header list[8];
        struct head head;
        char left[128] = "";
        head_init(&head, list, 8);
        head_add(&head, NULL, HEADER_HOST, STR("Host"), STR("a"));
        head_add(&head, NULL, HEADER_CONTENT_LENGTH, STR("Content-Length"), STR("5"));
        head_add(&head, NULL, HEADER_OTHER, STR("A"), STR("1"));
        head_add(&head, NULL, HEADER_CONNECTION, STR("Connection"), str_of(rows[i].connection));
        head_add(&head, NULL, HEADER_OTHER, STR("B"), STR("2"));
        head_add(&head, NULL, HEADER_COOKIE, STR("Cookie"), STR("3"));
        head_add(&head, NULL, HEADER_OTHER, STR("Close"), STR("4"));
        h1_drop_connection_named(&head);
        for (unsigned k = 0; k < head.n; k++)
            if (list[k].name_n && list[k].id != HEADER_CONNECTION)
                snprintf(left + strlen(left), sizeof(left) - strlen(left), "%.*s ",
                         STR_ARG(header_str_name(&list[k])));
        assert_string_equal(left, rows[i].left);
    }
    /* Two Connection lines; no Connection line. */
    struct header list[8];
    struct head head;
    head_init(&head, list, 8);
    head_add(&head, NULL, HEADER_OTHER, STR("A"), STR("1"));
    h1_drop_connection_named(&head);
    assert_int_equal(list[0].name_n, 1);
    head_add(&head, NULL, HEADER_CONNECTION, STR("Connection"), STR("x"));
    head_add(&head, NULL, HEADER_CONNECTION, STR("connection"), STR("a"));
    h1_drop_connection_named(&head);
    assert_int_equal(list[0].name_n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),      cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_exact),      cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_last_chunk), cmocka_unit_test(test_connection_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
