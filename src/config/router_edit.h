/* SPDX-License-Identifier: Apache-2.0 */
/* How the builder changes a router: persistent tries of candidate lists. A change copies what leads
 * to it, a published router stays as it was (base/trie.h). */
#ifndef CONFIG_ROUTER_EDIT_H
#define CONFIG_ROUTER_EDIT_H

#include "base/trie.h"
#include "config/router.h"

/* A URI of a route. Lives as long as its route. */
struct pattern {
    const struct route *route;
    struct str uri;          /* as configured: the whole path, or a prefix that ends with `*` */
    const struct str *hosts; /* the route's: lower case, `*` in front of a suffix */
    unsigned nhosts;         /* 0: any host */
    bool glob;               /* there is more behind the first `*`: compared by segment */
};

struct router {
    struct trie *hosts; /* reversed host to struct site; host_first only */
    struct trie *uris;  /* URI to struct candidates; of host-less routes when host_first */
    bool host_first;
};

/* Fills uri and glob. */
void pattern_set_uri(struct pattern *p, struct str uri);

/* Puts a pattern in, takes one out again. Patterns of one route must differ in their URI. */
void router_add(struct router *r, const struct trie_edit *e, const struct pattern *p);
void router_remove(struct router *r, const struct trie_edit *e, const struct pattern *p);
/* Frees the newest version when no other is left. */
void router_fini(struct router *r);

#endif
