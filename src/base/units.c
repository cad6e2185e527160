/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes and durations as nginx writes them (ngx_parse.c). */
#include "base/units.h"

/* Enough for any use, and far from overflow. */
static const uint64_t NUMBER_MAX = 1000000000000;
static const int64_t RESULT_MAX = INT64_MAX / 2;

/* Cuts the leading digits off *rest. */
static bool take_number(struct str *rest, uint64_t *out)
{
    size_t n = 0;

    while (n < rest->n && ascii_digit(rest->p[n]))
        n++;
    if (!str_to_u64(str_head(*rest, n), NUMBER_MAX, out))
        return false;
    *rest = str_from(*rest, n);
    return true;
}

bool units_bytes(struct str text, int64_t *out)
{
    struct str unit = text;
    uint64_t v;
    unsigned shift = 0;

    if (!take_number(&unit, &v) || unit.n > 1)
        return false;
    if (unit.n) {
        switch (ascii_lower(unit.p[0])) {
        case 'k':
            shift = 10;
            break;
        case 'm':
            shift = 20;
            break;
        case 'g':
            shift = 30;
            break;
        default:
            return false;
        }
    }
    if (v > (uint64_t)RESULT_MAX >> shift)
        return false;
    *out = (int64_t)(v << shift);
    return true;
}

/* Cuts the leading letters off *rest; 0 for an unknown unit. */
static int64_t take_unit(struct str *rest)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1},       {"s", 1000},      {"m", 60000}, {"h", 3600000},
                 {"d", 86400000}, {"w", 604800000}, {NULL, 0}};
    size_t n = 0;

    while (n < rest->n && ascii_lower(rest->p[n]) >= 'a' && ascii_lower(rest->p[n]) <= 'z')
        n++;
    struct str unit = str_head(*rest, n);
    *rest = str_from(*rest, n);
    for (size_t i = 0; units[i].name; i++)
        if (str_eq(unit, str_of(units[i].name)))
            return units[i].ms;
    return 0;
}

/* Seconds with a fraction: "0.5". */
static bool seconds_ms(struct str text, int64_t *out)
{
    struct str whole, part;
    uint64_t v;
    int64_t ms = 0, scale = 100;

    str_cut(text, '.', &whole, &part);
    if (!str_to_u64(whole, NUMBER_MAX, &v) || (part.p && part.n == 0))
        return false;
    for (size_t i = 0; i < part.n; i++, scale /= 10) {
        if (!ascii_digit(part.p[i]))
            return false;
        ms += (part.p[i] - '0') * scale;
    }
    *out = (int64_t)v * 1000 + ms;
    return true;
}

bool units_ms(struct str text, int64_t *out)
{
    int64_t sum = 0;

    if (seconds_ms(text, out))
        return true;
    if (text.n == 0)
        return false;
    while (text.n) {
        uint64_t v;
        if (!take_number(&text, &v))
            return false;
        int64_t unit = take_unit(&text);
        if (!unit || (int64_t)v > (RESULT_MAX - sum) / unit)
            return false;
        sum += (int64_t)v * unit;
        if (text.n > 1 && text.p[0] == ' ')
            text = str_from(text, 1);
    }
    *out = sum;
    return true;
}
