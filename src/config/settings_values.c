/* SPDX-License-Identifier: Apache-2.0 */
/* Values of config.yaml: units, addresses, paths; and why one is refused. */
#include <arpa/inet.h>
#include <limits.h>
#include <unistd.h>

#include "base/units.h"
#include "config/settings_int.h"

static const int64_t MS_MAX = 31536000000; /* a year */

bool loader_fail(struct loader *l, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    l->err = arena_vprintf(l->arena, fmt, ap);
    va_end(ap);
    return false;
}

bool loader_ms(struct loader *l, const char *path, struct str text, int64_t *out)
{
    if (!units_ms(text, out) || *out > MS_MAX)
        return loader_fail(
            l,
            "%s: \"%.*s\" is not a duration (seconds, or a number with a unit such as "
            "10ms, 60s, 2m, 1h; a year at most)",
            path, STR_ARG(text));
    return true;
}

bool loader_bytes(struct loader *l, const char *path, struct str text, int64_t min, int64_t max,
                  int64_t *out)
{
    if (!units_bytes(text, out))
        return loader_fail(
            l, "%s: \"%.*s\" is not a size (bytes, or a number with a unit: 16k, 1m, 1g)", path,
            STR_ARG(text));
    if (*out < min || *out > max)
        return loader_fail(l, "%s: \"%.*s\" is not between %lld and %lld bytes", path,
                           STR_ARG(text), (long long)min, (long long)max);
    return true;
}

bool loader_size(struct loader *l, const char *path, struct str text, int64_t min, int64_t max,
                 size_t *out)
{
    int64_t v;

    if (!loader_bytes(l, path, text, min, max, &v))
        return false;
    *out = (size_t)v;
    return true;
}

bool loader_cidrs(struct loader *l, const char *path, const struct field_list *texts,
                  struct cidr_list *out)
{
    const struct str *text = texts->items;
    struct cidr *items = arena_alloc(l->arena, texts->n * sizeof(*items));
    unsigned n = 0;

    for (size_t i = 0; i < texts->n; i++) {
        /* nginx's name for peers on Unix sockets, which do not exist here. */
        if (str_eq(text[i], STR("unix:")))
            continue;
        if (!cidr_parse(text[i], &items[n++]))
            return loader_fail(l, "%s[%zu]: \"%.*s\" is neither an address nor a network", path,
                               i + 1, STR_ARG(text[i]));
    }
    *out = (struct cidr_list){items, n};
    return true;
}

bool loader_ip(struct loader *l, const char *path, struct str text, struct str *out)
{
    unsigned char address[sizeof(struct in6_addr)];
    char canonical[INET6_ADDRSTRLEN];
    int family;

    if (text.n > 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
        text = str_make(text.p + 1, text.n - 2);
    if (str_eq(text, STR("localhost")))
        text = STR("127.0.0.1");
    text = arena_str(l->arena, text);
    family = str_find(text, ':') >= 0 ? AF_INET6 : AF_INET;
    if (inet_pton(family, text.p, address) != 1 ||
        !inet_ntop(family, address, canonical, sizeof(canonical)))
        return loader_fail(l, "%s: \"%.*s\" is not an IP address", path, STR_ARG(text));
    *out = arena_str(l->arena, str_of(canonical));
    return true;
}

bool settings_is_loopback(struct str ip)
{
    return str_starts(ip, STR("127.")) || str_eq(ip, STR("::1"));
}

/* Relative paths are relative to the working directory, which may change later. */
struct str settings_absolute(struct arena *a, struct str path)
{
    char here[PATH_MAX];

    if (path.n == 0 || path.p[0] == '/' || !getcwd(here, sizeof(here)))
        return arena_str(a, path);
    return arena_printf(a, "%s/%.*s", here, STR_ARG(path));
}

bool loader_file(struct loader *l, const char *path, struct str file, struct str *out)
{
    if (!file.p)
        return true;
    *out = settings_absolute(l->arena, file);
    if (access(out->p, R_OK) < 0)
        return loader_fail(l, "%s: %.*s cannot be read", path, STR_ARG(*out));
    return true;
}

bool settings_is_one_of(const char *const *known, struct str key)
{
    for (; *known; known++)
        if (str_eq(key, str_of(*known)))
            return true;
    return false;
}
