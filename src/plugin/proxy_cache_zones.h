/* SPDX-License-Identifier: Apache-2.0 */
/* The zones that config.yaml names: apisix.proxy_cache. */
#ifndef PLUGIN_PROXY_CACHE_ZONES_H
#define PLUGIN_PROXY_CACHE_ZONES_H

#include <jansson.h>

#include "plugin/proxy_cache_zone.h"

/* Makes the zones of `proxy_cache` (NULL: a memory zone `memory_cache` of 50 MiB and a disk zone
 * `disk_cache_one` of 50 MiB and 1 GiB in data_dir), and looks for what disk zones have
 * stored before, for half a second at most; the rest is found meanwhile. False with a message, a
 * literal or from the heap for good. Once in the process. */
bool zones_start(const json_t *proxy_cache, struct str data_dir, struct str *err);
/* No thread may use a zone any more. */
void zones_stop(void);
/* By name; NULL: there is none. Any thread, between start and stop. */
struct cache_zone *zones_find(struct str name);
/* Seconds that a response is fresh for in a disk zone when it does not say (cache_ttl). */
int64_t zones_ttl(void);

#endif
