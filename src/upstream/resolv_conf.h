/* SPDX-License-Identifier: Apache-2.0 */
/* resolv.conf as a file that changes: c-ares reads it when a channel is made, and never again. */
#ifndef UPSTREAM_RESOLV_CONF_H
#define UPSTREAM_RESOLV_CONF_H

#include "base/buf.h"

#define RESOLV_CONF "/etc/resolv.conf" /* resolv.conf(5) */

struct resolv_conf {
    char *path;
    struct buf text; /* as it was read last */
};

/* Reads it for the first time. path absent: RESOLV_CONF. */
void resolv_conf_init(struct resolv_conf *r, struct str path);
void resolv_conf_fini(struct resolv_conf *r);
/* Reads it again: whether it says something else than the last time. A file that is not there, that
 * cannot be read or that is empty, as one that is just being written, says nothing new. */
bool resolv_conf_changed(struct resolv_conf *r);

#endif
