/* SPDX-License-Identifier: Apache-2.0 */
/* Reading HTTP's dates. */
#include "base/date.h"

#include <stdio.h>
#include <time.h>

int64_t http_date(struct str s)
{
    static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                        "%a %b %e %H:%M:%S %Y"};
    char text[64];

    s = str_trim(s);
    if (s.n >= sizeof(text))
        return -1;
    snprintf(text, sizeof(text), "%.*s", STR_ARG(s));
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct tm tm = {0};
        const char *end = strptime(text, forms[i], &tm);
        if (end && !*end) {
            int64_t at = timegm(&tm);
            return at < 0 ? -1 : at;
        }
    }
    return -1;
}
