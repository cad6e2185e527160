/* SPDX-License-Identifier: Apache-2.0 */
/* What headers say about caching: Cache-Control, Expires, dates, Vary, conditional requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/date.h"
#include "plugin/proxy_cache_rules.h"

static struct cache_control parse(const char *value)
{
    struct cache_control cc;

    cache_control_init(&cc);
    cache_control_add(&cc, str_of(value));
    return cc;
}

static void directives(void **state)
{
    (void)state;
    struct cache_control cc = parse("public, Max-Age=60 ,s-maxage=\"10\"");

    assert_true(cc.is_public && !cc.is_private && !cc.no_store && !cc.no_cache);
    assert_int_equal(cc.max_age, 60);
    assert_int_equal(cc.s_maxage, 10);
    assert_int_equal(cc.min_fresh, -1);
    assert_int_equal(cc.max_stale, -1);
    cc = parse(",, private=\"set-cookie, no-store\", no-cache=\"x\", proxy-revalidate");
    assert_true(cc.is_private && cc.no_cache && cc.must_revalidate && !cc.no_store);
    cc = parse("max-stale, min-fresh=5, only-if-cached, no-storex");
    assert_true(cc.max_stale == INT64_MAX && cc.min_fresh == 5 && cc.only_if_cached);
    assert_false(cc.no_store);
    assert_int_equal(parse("max-stale=7").max_stale, 7);
    assert_int_equal(parse("max-age=ten").max_age, 0);
    assert_int_equal(parse("max-age=-5").max_age, 0);
    assert_int_equal(parse("max-age").max_age, 0);
    assert_int_equal(parse("max-age=99999999999999999999999").max_age, INT32_MAX);
    assert_int_equal(parse("max-age=60, max-age=30").max_age, 30);
    cache_control_add(&cc, STR("NO-STORE"));
    assert_true(cc.no_store && cc.only_if_cached);
}

static void lifetimes(void **state)
{
    (void)state;
    struct cache_control none = parse(""), both = parse("max-age=60, s-maxage=5"),
                         age = parse("max-age=60");
    int64_t now = 784111777; /* Sun, 06 Nov 1994 08:49:37 GMT */
    struct str later = STR("Sun, 06 Nov 1994 08:50:07 GMT");

    assert_int_equal(cache_lifetime(&none, STR_NONE, now), -1);
    assert_int_equal(cache_lifetime(&none, later, now), 30);
    assert_int_equal(cache_lifetime(&none, STR("0"), now), 0);
    assert_int_equal(cache_lifetime(&none, STR("Sun, 06 Nov 1994 08:49:07 GMT"), now), 0);
    assert_int_equal(cache_lifetime(&age, later, now), 60);
    assert_int_equal(cache_lifetime(&both, later, now), 5);
}

static void dates(void **state)
{
    (void)state;
    assert_int_equal(http_date(STR("Sun, 06 Nov 1994 08:49:37 GMT")), 784111777);
    assert_int_equal(http_date(STR("Sunday, 06-Nov-94 08:49:37 GMT")), 784111777);
    assert_int_equal(http_date(STR("Sun Nov  6 08:49:37 1994")), 784111777);
    assert_int_equal(http_date(STR("Sun, 06 Nov 1994 08:49:37 CET")), -1);
    assert_int_equal(http_date(STR("Sun, 06 Nov 1994")), -1);
    assert_int_equal(http_date(STR("")), -1);
    assert_int_equal(http_date(STR("Thu, 01 Jan 1960 00:00:00 GMT")), -1);
}

static void varies(void **state)
{
    struct arena a;
    struct vary_list v = {.n = 0};

    (void)state;
    arena_init(&a, NULL);
    vary_add(&v, STR(" Origin , accept-encoding,"));
    vary_add(&v, STR("ORIGIN"));
    assert_false(v.any);
    struct str text = vary_text(&v, &a);
    assert_true(str_eq(text, STR("accept-encoding,origin")));
    vary_add(&v, STR("x, *"));
    assert_true(v.any);
    v = (struct vary_list){.n = 0};
    assert_true(vary_text(&v, &a).n == 0);
    for (unsigned i = 0; i <= VARY_MAX; i++)
        vary_add(&v, STR("a"));
    assert_true(v.any);
    arena_fini(&a);
}

static void validators(void **state)
{
    struct str tag = STR("\"a,b\""), date = STR("Sun, 06 Nov 1994 08:49:37 GMT");

    (void)state;
    assert_true(cache_not_modified(STR("\"x\", W/\"a,b\""), STR_NONE, tag, STR_NONE));
    assert_true(cache_not_modified(tag, STR_NONE, STR("W/\"a,b\""), STR_NONE));
    assert_true(cache_not_modified(STR("*"), STR_NONE, STR_NONE, STR_NONE));
    assert_false(cache_not_modified(STR("\"x\""), date, tag, date));
    assert_false(cache_not_modified(tag, STR_NONE, STR_NONE, STR_NONE));
    assert_true(cache_not_modified(STR_NONE, date, tag, date));
    assert_true(cache_not_modified(STR_NONE, STR("Sun, 06 Nov 1994 09:00:00 GMT"), STR_NONE, date));
    assert_false(
        cache_not_modified(STR_NONE, date, STR_NONE, STR("Sun, 06 Nov 1994 09:00:00 GMT")));
    assert_false(cache_not_modified(STR_NONE, STR("yesterday"), STR_NONE, date));
    assert_false(cache_not_modified(STR_NONE, date, STR_NONE, STR_NONE));
    assert_false(cache_not_modified(STR_NONE, STR_NONE, tag, date));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directives), cmocka_unit_test(lifetimes),  cmocka_unit_test(dates),
        cmocka_unit_test(varies),     cmocka_unit_test(validators),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
