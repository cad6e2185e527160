/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of the query. */
#include "admin/admin_int.h"

#include <math.h>

static int hex(char c)
{
    if (ascii_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* application/x-www-form-urlencoded; a bad escape stays as it is. */
static struct str decode(struct arena *a, struct str s)
{
    char *out = arena_bytes(a, s.n + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%' && i + 2 < s.n && hex(s.p[i + 1]) >= 0 && hex(s.p[i + 2]) >= 0) {
            c = (char)(hex(s.p[i + 1]) * 16 + hex(s.p[i + 2]));
            i += 2;
        }
        out[n++] = c;
    }
    out[n] = 0;
    return str_make(out, n);
}

bool query_pair(struct call *c, struct str *rest, struct str *name, struct str *value)
{
    struct str pair;

    if (rest->n == 0)
        return false;
    str_cut(*rest, '&', &pair, rest);
    if (!str_cut(pair, '=', name, value))
        *value = STR("");
    *name = decode(c->a, *name);
    *value = decode(c->a, *value);
    return true;
}

struct str query_arg(struct call *c, struct str name)
{
    struct str rest = c->query, found, value;

    while (query_pair(c, &rest, &found, &value)) {
        if (str_eq(found, name))
            return value;
    }
    return STR_NONE;
}

bool query_number(struct str s, double *out)
{
    char text[64], *end;

    s = str_trim(s);
    if (s.n == 0 || s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    *out = strtod(text, &end);
    return *end == 0 && isfinite(*out);
}
