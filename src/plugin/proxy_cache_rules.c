/* SPDX-License-Identifier: Apache-2.0 */
/* Cache-Control, dates, Vary and validators. */
#include "plugin/proxy_cache_rules.h"

#include <stdlib.h>

#include "base/date.h"

/* ---- Lists ------------------------------------------------------------------------------------
 */

/* The next element of a comma-separated list, trimmed; false at the end. Quotes hide commas. */
static bool next_element(struct str *rest, struct str *out)
{
    while (rest->n) {
        bool quoted = false;
        size_t i = 0;
        for (; i < rest->n && (quoted || rest->p[i] != ','); i++)
            if (rest->p[i] == '"')
                quoted = !quoted;
            else if (rest->p[i] == '\\' && quoted)
                i++;
        i = i < rest->n ? i : rest->n;
        *out = str_trim(str_head(*rest, i));
        *rest = str_from(*rest, i + 1);
        if (out->n)
            return true;
    }
    return false;
}

/* ---- Cache-Control ----------------------------------------------------------------------------
 */

void cache_control_init(struct cache_control *cc)
{
    *cc = (struct cache_control){.max_age = -1, .s_maxage = -1, .min_fresh = -1, .max_stale = -1};
}

static int64_t delta_seconds(struct str s)
{
    uint64_t v;

    s = str_trim(s);
    if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
        s = str_make(s.p + 1, s.n - 2);
    if (str_to_u64(s, UINT64_MAX, &v))
        return v < INT32_MAX ? (int64_t)v : INT32_MAX;
    /* Too large to read is large, all else is nothing. */
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_digit(s.p[i]))
            return 0;
    return s.n ? INT32_MAX : 0;
}

static void stricter(int64_t *at, int64_t v, bool larger)
{
    if (*at < 0 || (larger ? v > *at : v < *at))
        *at = v;
}

static void take_directive(struct cache_control *cc, struct str name, struct str value)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {
        {"no-store", &cc->no_store},
        {"no-cache", &cc->no_cache},
        {"private", &cc->is_private},
        {"public", &cc->is_public},
        {"must-revalidate", &cc->must_revalidate},
        {"proxy-revalidate", &cc->must_revalidate},
        {"only-if-cached", &cc->only_if_cached},
    };

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (str_eq_nocase(name, str_of(flags[i].name)))
            *flags[i].flag = true;
    if (str_eq_nocase(name, STR("max-age")))
        stricter(&cc->max_age, delta_seconds(value), false);
    else if (str_eq_nocase(name, STR("s-maxage")))
        stricter(&cc->s_maxage, delta_seconds(value), false);
    else if (str_eq_nocase(name, STR("min-fresh")))
        stricter(&cc->min_fresh, delta_seconds(value), true);
    else if (str_eq_nocase(name, STR("max-stale")))
        stricter(&cc->max_stale, value.p ? delta_seconds(value) : INT64_MAX, false);
}

void cache_control_add(struct cache_control *cc, struct str value)
{
    struct str element, name, argument;

    while (next_element(&value, &element)) {
        str_cut(element, '=', &name, &argument);
        take_directive(cc, str_trim(name), argument);
    }
}

int64_t cache_lifetime(const struct cache_control *cc, struct str expires, int64_t now_s)
{
    if (cc->s_maxage >= 0)
        return cc->s_maxage;
    if (cc->max_age >= 0)
        return cc->max_age;
    if (!expires.p)
        return -1;
    /* "0" and other invalid dates are in the past (RFC 9111 §5.3). */
    int64_t at = http_date(expires);
    return at > now_s ? at - now_s : 0;
}

/* ---- Vary -------------------------------------------------------------------------------------
 */

void vary_add(struct vary_list *v, struct str value)
{
    struct str name;

    while (next_element(&value, &name)) {
        if (str_eq(name, STR("*")) || v->n == VARY_MAX)
            v->any = true;
        else
            v->names[v->n++] = name;
    }
}

static int by_name(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

struct str vary_text(struct vary_list *v, struct arena *a)
{
    size_t total = 0, at = 0;

    for (unsigned i = 0; i < v->n; i++) {
        char *lower = arena_bytes(a, v->names[i].n);
        for (size_t j = 0; j < v->names[i].n; j++)
            lower[j] = ascii_lower(v->names[i].p[j]);
        v->names[i].p = lower;
        total += v->names[i].n + 1;
    }
    qsort(v->names, v->n, sizeof(v->names[0]), by_name);
    char *text = arena_bytes(a, total);
    for (unsigned i = 0; i < v->n; i++) {
        if (i && str_eq(v->names[i], v->names[i - 1]))
            continue;
        if (at)
            text[at++] = ',';
        memcpy(text + at, v->names[i].p, v->names[i].n);
        at += v->names[i].n;
    }
    return str_make(text, at);
}

/* ---- Validators -------------------------------------------------------------------------------
 */

/* Without the mark of a weak one: If-None-Match compares weakly (RFC 9110 §13.1.2). */
static struct str opaque_tag(struct str tag)
{
    return str_starts(tag, STR("W/")) ? str_from(tag, 2) : tag;
}

bool cache_not_modified(struct str if_none_match, struct str if_modified_since, struct str etag,
                        struct str last_modified)
{
    struct str tag;

    if (if_none_match.p) {
        while (next_element(&if_none_match, &tag))
            if (str_eq(tag, STR("*")) ||
                (etag.n && str_eq(opaque_tag(tag), opaque_tag(str_trim(etag)))))
                return true;
        return false;
    }
    if (!if_modified_since.p || !last_modified.p)
        return false;
    int64_t since = http_date(if_modified_since), changed = http_date(last_modified);
    return since >= 0 && changed >= 0 && changed <= since;
}
