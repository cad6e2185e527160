/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of field tables that several tables share. */
#include "base/field.h"

/* APISIX's patterns: they let some malformed IPv6 networks through, which compiling finds. */
#define IPV4_PART "([0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
#define IPV6_TEXT "([a-fA-F0-9]{0,4}:){1,8}(:[a-fA-F0-9]{0,4}){0,8}([a-fA-F0-9]{0,4})?"

const struct field field_address_rows[] = {
    {"IPv4", FIELD_STR, .format = "ipv4"},
    {"IPv4/CIDR", FIELD_STR,
     .pattern = "^" IPV4_PART "\\." IPV4_PART "\\." IPV4_PART "\\." IPV4_PART
                "/([12]?[0-9]|3[0-2])$"},
    {"IPv6", FIELD_STR, .format = "ipv6"},
    {"IPv6/CIDR", FIELD_STR, .pattern = "^" IPV6_TEXT "/[0-9]{1,3}$"},
    {0},
};

int64_t field_int(const json_t *number)
{
    double d = json_number_value(number);

    if (json_is_integer(number))
        return json_integer_value(number);
    return d >= 0x1p63 ? INT64_MAX : d < -0x1p63 ? INT64_MIN : (int64_t)d;
}
