/* SPDX-License-Identifier: Apache-2.0 */
/* Paths, queries and hosts: normalising does what the naive model does, coding and decoding are
 * each other's undoing, and a host that is taken holds nothing that ends a host. */
#include "fuzz.h"

#include "../unit/http/uri_model.h"
#include "base/encode.h"
#include "base/mem.h"
#include "http/h1.h"
#include "http/uri.h"
#include "upstream/fetch.h"

static void check_path(struct str raw, struct arena *a)
{
    static struct model m;
    struct str out = STR_NONE;
    enum reason why = uri_normalise(raw, a, &out);

    MUST(why == REASON_NONE || why == REASON_BAD_URI_ENCODING || why == REASON_BAD_URI_TRAVERSAL);
    if (raw.n == 0 || raw.p[0] != '/') {
        MUST(!why && str_eq(out, raw));
        return;
    }
    if (!why) {
        MUST(out.n && out.n <= raw.n && out.p[0] == '/' && str_find(out, 0) < 0);
        MUST(str_search(out, STR("//")) < 0 && str_search(out, STR("/./")) < 0);
        MUST(str_search(out, STR("/../")) < 0);
        MUST(!str_ends(out, STR("/.")) && !str_ends(out, STR("/..")));
    }
    if (str_find(raw, 0) >= 0) {
        MUST(why);
        return;
    }
    if (raw.n >= URI_MODEL_MAX)
        return;
    char *z = str_dup(raw);
    model_run(&m, z);
    free(z);
    MUST((why != REASON_NONE) == (m.bad_encoding || m.traversal));
    MUST(why || str_eq(out, str_of(m.out)));
    MUST(why != REASON_BAD_URI_TRAVERSAL || m.traversal || m.bad_encoding);
}

static void check_coding(struct str s, struct arena *a)
{
    struct str path = encode_path(a, s), target = encode_target(a, s);

    MUST(str_eq(uri_decode(path, a, false), s));
    for (size_t i = 0; i < path.n; i++)
        MUST(path.p[i] > ' ' && path.p[i] < 0x7f && path.p[i] != '?' && path.p[i] != '#');
    for (size_t i = 0; i < target.n; i++)
        MUST((unsigned char)target.p[i] > ' ' && target.p[i] != 0x7f);
    MUST(uri_decode(s, a, true).n <= s.n);
}

static void check_query(struct str s)
{
    struct str rest = s, name, value;
    size_t n = 0;

    while (query_next(&rest, &name, &value)) {
        MUST(str_find(name, '=') < 0 && str_find(name, '&') < 0 && str_find(value, '&') < 0);
        n += name.n + value.n + 1;
    }
    MUST(n <= s.n + 1);
}

static void check_host(struct str s)
{
    struct str host;
    uint16_t port;
    bool ok = uri_host_split(s, &host, &port);

    MUST(ok == uri_host_ok(s));
    if (!ok)
        return;
    MUST(host.n && host.p >= s.p && host.p + host.n <= s.p + s.n && h1_value_ok(s));
    for (size_t i = 0; i < s.n; i++)
        MUST(!strchr(" /?#@\\\"<>", s.p[i]) && (unsigned char)s.p[i] < 0x7f);
    MUST(s.p[0] == '[' || str_find(host, ':') < 0);
    /* Its number is the one that stands there. */
    struct str digits = str_from(s, (size_t)(host.p - s.p) + host.n + (s.p[0] == '['));
    uint64_t v = 0;
    MUST(digits.n == 0 || digits.p[0] == ':');
    digits = str_from(digits, 1);
    MUST(digits.n == 0 || str_to_u64(digits, 65535, &v));
    MUST(port == v);
}

/* What a plugin may be told to ask. */
static void check_url(struct str s, struct arena *a)
{
    const struct fetch_target *t = fetch_target_new(a, s, NULL);

    if (!t)
        return;
    MUST(t->host.n && t->port && uri_host_ok(t->authority) && str_starts(t->uri, STR("/")));
    for (size_t i = 0; i < t->uri.n; i++)
        MUST((unsigned char)t->uri.p[i] > ' ' && t->uri.p[i] != 0x7f && t->uri.p[i] != '#');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    char *copy = mem_dup(data, size);
    struct str in = str_make(copy, size);

    arena_init(&a, NULL);
    check_path(in, &a);
    check_coding(in, &a);
    check_query(in);
    check_url(in, &a);
    if (size)
        check_host(in);
    arena_fini(&a);
    free(copy);
    return 0;
}
