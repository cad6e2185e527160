/* SPDX-License-Identifier: Apache-2.0 */
/* Paths and queries. */
#include "http/uri.h"

#include <arpa/inet.h>

/* The byte that is coded at s.p[i] ("%41"), or -1. */
static int coded_byte(struct str s, size_t i)
{
    if (s.p[i] != '%' || s.n - i < 3)
        return -1;
    int hi = ascii_hex(s.p[i + 1]), lo = ascii_hex(s.p[i + 2]);
    return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}

/* Whether the path is already what uri_normalise would make of it: the usual case. */
static bool is_plain(struct str raw)
{
    char last = 0;

    for (size_t i = 0; i < raw.n; i++) {
        char c = raw.p[i];
        if (c == '%' || c == 0 || (last == '/' && (c == '/' || c == '.')))
            return false;
        last = c;
    }
    return true;
}

/* Resolves the segment that ends at *n: "." goes, ".." takes its parent along. False: above the
 * root. out[0] is always '/'. */
static bool end_segment(char *out, size_t *n)
{
    size_t end = *n;

    if (end >= 2 && out[end - 1] == '.' && out[end - 2] == '/') {
        *n = end - 1;
        return true;
    }
    if (end >= 3 && out[end - 1] == '.' && out[end - 2] == '.' && out[end - 3] == '/') {
        if (end == 3)
            return false;
        size_t at = end - 3;
        while (out[at - 1] != '/')
            at--;
        *n = at;
    }
    return true;
}

enum reason uri_normalise(struct str raw, struct arena *a, struct str *out)
{
    size_t n = 0;

    if (raw.n == 0 || raw.p[0] != '/') {
        *out = raw; /* "*", which no route pattern matches but its own */
        return REASON_NONE;
    }
    if (is_plain(raw)) {
        *out = raw;
        return REASON_NONE;
    }
    char *p = arena_bytes(a, raw.n + 1);
    for (size_t i = 0; i < raw.n; i++) {
        char c = raw.p[i];
        if (c == '%') {
            int byte = coded_byte(raw, i);
            if (byte < 0)
                return REASON_BAD_URI_ENCODING;
            c = (char)byte;
            i += 2;
        }
        if (c == 0)
            return REASON_BAD_URI_ENCODING;
        if (c == '/') {
            if (n && !end_segment(p, &n))
                return REASON_BAD_URI_TRAVERSAL;
            if (n && p[n - 1] == '/')
                continue;
        }
        p[n++] = c;
    }
    if (!end_segment(p, &n))
        return REASON_BAD_URI_TRAVERSAL;
    p[n] = 0;
    *out = str_make(p, n);
    return REASON_NONE;
}

/* A segment whose parameters were taken off may not be one that a path is climbed by. */
static bool segment_ok(struct str s, bool last)
{
    return (s.n || last) && !str_eq(s, STR(".")) && !str_eq(s, STR("..")) &&
           !str_eq_nocase(s, STR("%2e")) && !str_eq_nocase(s, STR("%2e%2e"));
}

bool uri_without_params(struct str path, struct arena *a, struct str *out)
{
    struct str rest = path, segment, name, params;
    bool more = true;

    *out = path;
    if (str_find(path, ';') < 0)
        return true;
    char *p = arena_bytes(a, path.n);
    size_t n = 0;
    while (more) {
        more = str_cut(rest, '/', &segment, &rest);
        if (str_cut(segment, ';', &name, &params) && !segment_ok(name, !more))
            return false;
        memcpy(p + n, name.p, name.n);
        n += name.n;
        if (more)
            p[n++] = '/';
    }
    *out = str_make(p, n);
    return true;
}

struct str uri_keep_slashes(struct str raw, struct str path, struct arena *a)
{
    if (str_search(raw, STR("%2F")) < 0 && str_search(raw, STR("%2f")) < 0)
        return path;
    if (!str_eq(uri_decode(raw, a, false), path))
        return path;
    char *p = arena_bytes(a, raw.n);
    size_t n = 0;
    for (size_t i = 0; i < raw.n; i++) {
        int byte = coded_byte(raw, i);
        if (byte == '/') {
            memcpy(p + n, "%2F", 3);
            n += 3;
        } else {
            p[n++] = byte >= 0 ? (char)byte : raw.p[i];
        }
        i += byte >= 0 ? 2 : 0;
    }
    return str_make(p, n);
}

struct str uri_decode(struct str s, struct arena *a, bool plus)
{
    char *p = arena_bytes(a, s.n + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        int byte = coded_byte(s, i);
        if (byte >= 0) {
            p[n++] = (char)byte;
            i += 2;
        } else {
            p[n++] = plus && s.p[i] == '+' ? ' ' : s.p[i];
        }
    }
    p[n] = 0;
    return str_make(p, n);
}

bool query_next(struct str *rest, struct str *name, struct str *value)
{
    while (rest->p && rest->n) {
        struct str pair, after;
        str_cut(*rest, '&', &pair, &after);
        *rest = after;
        if (pair.n == 0)
            continue;
        str_cut(pair, '=', name, value);
        return true;
    }
    return false;
}

static bool port_parse(struct str s, uint16_t *port)
{
    uint64_t v = 0;

    if (s.n && !str_to_u64(s, 65535, &v))
        return false;
    *port = (uint16_t)v;
    return true;
}

static bool is_unreserved(char c)
{
    return ascii_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static bool in_host(char c)
{
    /* reg-name of RFC 3986: unreserved, sub-delims, percent; no separators of a URI. */
    return is_unreserved(c) || (c != 0 && strchr("!$&'()*+,;=%", c) != NULL);
}

static bool is_ipv6(struct str s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr addr;

    if (s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    return strlen(text) == s.n && inet_pton(AF_INET6, text, &addr) == 1;
}

bool uri_host_split(struct str s, struct str *host, uint16_t *port)
{
    *port = 0;
    if (s.n && s.p[0] == '[') {
        ptrdiff_t end = str_find(s, ']');
        if (end < 2)
            return false;
        *host = str_make(s.p + 1, (size_t)end - 1);
        if (!is_ipv6(*host))
            return false;
        struct str rest = str_from(s, (size_t)end + 1);
        return rest.n == 0 || (rest.p[0] == ':' && port_parse(str_from(rest, 1), port));
    }
    struct str digits;
    if (str_cut(s, ':', host, &digits) && !port_parse(digits, port))
        return false;
    for (size_t i = 0; i < host->n; i++)
        if (!in_host(host->p[i]))
            return false;
    return host->n > 0;
}

bool uri_host_ok(struct str authority)
{
    struct str host;
    uint16_t port;

    return uri_host_split(authority, &host, &port);
}
