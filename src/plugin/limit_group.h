/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of limit-count: which names are in use, and with what configuration. Builder's thread
 * only.
 */
#ifndef PLUGIN_LIMIT_GROUP_H
#define PLUGIN_LIMIT_GROUP_H

#include "base/str.h"

struct limit_group;

/* Joins the group; `conf` is its configuration as text. NULL: the group is in use with another one.
 * Both strings are copied. */
struct limit_group *limit_group_join(struct str name, struct str conf);
/* Leaves it; the last to leave frees the name. NULL is fine. */
void limit_group_leave(struct limit_group *g);

#endif
