/* SPDX-License-Identifier: Apache-2.0 */
/* The request log: one JSON line a request, written in one piece before the reply's last byte
 * leaves. */
#ifndef SIM_REQLOG_H
#define SIM_REQLOG_H

#include "conn.h"

#define REQLOG_BODY 65536 /* bytes of a collected body that are logged */

/* No-ops without --log. */
void reqlog_begin(struct conn *c, const struct request *r, struct slice body);
void reqlog_end(struct conn *c, bool aborted);
/* {"name":"value",…} with names in lower case; values of a repeated name joined by ", ". */
void reqlog_headers(struct buf *out, const struct request *r);

#endif
