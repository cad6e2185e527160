/* SPDX-License-Identifier: Apache-2.0 */
/* How the builder changes a router: persistent tries of candidate lists. A change copies what leads
 * to it, a published router stays as it was (base/trie.h). */
#ifndef CONFIG_ROUTER_EDIT_H
#define CONFIG_ROUTER_EDIT_H

#include "base/trie.h"
#include "config/router.h"

struct router {
    struct trie *hosts; /* reversed host to its own tree of URIs; host_first only */
    struct trie *uris;  /* URI to routes; of host-less routes when host_first */
    bool host_first;
    bool with_params; /* `:name` in a URI stands for a segment */
};

/* Puts a copy of the route in under its URI, takes it out again; `about` and `nth` say which it is.
 * Routes that share an `about` differ in their URI. What `about` points to stays as it is while a
 * version reaches it. route->tests is set by router_add. */
void router_add(struct router *r, const struct trie_edit *e, const struct route *route);
void router_remove(struct router *r, const struct trie_edit *e, const struct route *route);
/* Frees the newest version when no other is left. */
void router_fini(struct router *r);

#endif
