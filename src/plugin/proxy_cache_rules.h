/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP's rules of caching that need no cache: what Cache-Control, Expires, Vary and conditional
 * requests say (RFC 9111, RFC 9110 §13). Pure functions. */
#ifndef PLUGIN_PROXY_CACHE_RULES_H
#define PLUGIN_PROXY_CACHE_RULES_H

#include "base/arena.h"

/* The directives of Cache-Control, of a request or a response (RFC 9111 §5.2). Seconds; -1: absent.
 * A number that cannot be read is 0: stale at once (RFC 9111 §4.2.1). */
struct cache_control {
    bool no_store, no_cache, is_private, is_public, must_revalidate, only_if_cached;
    int64_t max_age, s_maxage, min_fresh;
    int64_t max_stale; /* without a number: INT64_MAX */
};

void cache_control_init(struct cache_control *cc);
/* Takes in one header line; of a directive that comes twice the stricter counts. */
void cache_control_add(struct cache_control *cc, struct str value);
/* For how many seconds from now_s (wall clock) on the response says that it is fresh; -1: it does
 * not say. Expires may be absent. */
int64_t cache_lifetime(const struct cache_control *cc, struct str expires, int64_t now_s);

/* Header names of Vary: gathered line by line, then made one text. */
enum { VARY_MAX = 16 };
struct vary_list {
    struct str names[VARY_MAX];
    unsigned n;
    bool any; /* "*", or more names than we keep: not to be reused (RFC 9111 §4.1) */
};
void vary_add(struct vary_list *v, struct str value);
/* "accept-encoding,origin": lower case, sorted, each once; "" when there are none. */
struct str vary_text(struct vary_list *v, struct arena *a);

/* Whether a stored 200 answers a conditional GET with 304 (RFC 9110 §13.2.2). Any may be absent. */
bool cache_not_modified(struct str if_none_match, struct str if_modified_since, struct str etag,
                        struct str last_modified);

#endif
