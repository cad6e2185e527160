/* SPDX-License-Identifier: Apache-2.0 */
/* gzip: whole, joined, broken, cut off at every byte, and larger than allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/gunzip.c"
#include "base/mem.h"

/* Packs n bytes that repeat; the caller frees. */
static struct str pack(const char *p, size_t n)
{
    z_stream z = {0};
    char *out = mem_alloc(n + 1000);

    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, GZIP_ONLY, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (z_const Bytef *)(uintptr_t)p;
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)(n + 1000);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t length = n + 1000 - z.avail_out;
    deflateEnd(&z);
    return str_make(out, length);
}

static const char *unpack(struct str in, size_t max, struct buf *out)
{
    buf_init(out, max);
    return gunzip(in, out);
}

static void whole_and_joined(void **state)
{
    struct str one = pack("hello world", 11);
    char *two = mem_alloc(2 * one.n);
    struct buf out;

    (void)state;
    assert_null(unpack(one, 100, &out));
    assert_true(str_eq(buf_str(&out), STR("hello world")));
    buf_fini(&out);
    memcpy(two, one.p, one.n);
    memcpy(two + one.n, one.p, one.n);
    assert_null(unpack(str_make(two, 2 * one.n), 100, &out));
    assert_true(str_eq(buf_str(&out), STR("hello worldhello world")));
    buf_fini(&out);
    free(two);
    free((void *)(uintptr_t)one.p);
}

static void broken(void **state)
{
    struct str one = pack("hello world", 11);
    struct buf out;

    (void)state;
    for (size_t n = 0; n < one.n; n++) {
        assert_string_equal(unpack(str_head(one, n), 100, &out), "it is cut off");
        buf_fini(&out);
    }
    assert_string_equal(unpack(STR("no gzip at all"), 100, &out), "it is not gzip");
    buf_fini(&out);
    char *behind = mem_alloc(one.n + 5);
    memcpy(behind, one.p, one.n);
    memcpy(behind + one.n, "waste", 5);
    assert_string_equal(unpack(str_make(behind, one.n + 5), 100, &out), "it is not gzip");
    buf_fini(&out);
    free(behind);
    free((void *)(uintptr_t)one.p);
}

static void bounded(void **state)
{
    enum { SIZE = 5 * 1024 * 1024 };
    char *zeros = mem_zero(SIZE);
    struct str packed = pack(zeros, SIZE);
    struct buf out;

    (void)state;
    assert_true(packed.n < 10000);
    assert_string_equal(unpack(packed, 100000, &out), "it is too long");
    buf_fini(&out);
    assert_string_equal(unpack(packed, SIZE - 1, &out), "it is too long");
    buf_fini(&out);
    assert_null(unpack(packed, SIZE, &out));
    assert_int_equal(out.n, SIZE);
    assert_memory_equal(out.p, zeros, SIZE);
    buf_fini(&out);
    free(zeros);
    free((void *)(uintptr_t)packed.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_and_joined),
        cmocka_unit_test(broken),
        cmocka_unit_test(bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
