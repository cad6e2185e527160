/* SPDX-License-Identifier: Apache-2.0 */
/* From a request's host, path and method to a route. Const after the build; matching allocates
 * nothing. Rules: reference APISIX 3.18 `radixtree_host_uri` (default), `radixtree_uri` and
 * `radixtree_uri_with_parameter`. */
#ifndef CONFIG_ROUTER_H
#define CONFIG_ROUTER_H

#include <netinet/in.h>

#include "base/str.h"
#include "config/snapshot.h"

/* apisix.router.http, in the order of its names in config.yaml's table. */
enum router_kind { ROUTER_HOST_URI, ROUTER_URI, ROUTER_URI_WITH_PARAMETER };

/* RFC 9110 §9 and the WebDAV ones that proxy-rewrite knows; bit numbers of route.methods. */
enum method {
    METHOD_GET,
    METHOD_POST,
    METHOD_PUT,
    METHOD_DELETE,
    METHOD_PATCH,
    METHOD_HEAD,
    METHOD_OPTIONS,
    METHOD_CONNECT,
    METHOD_TRACE,
    METHOD_PURGE,
    METHOD_OTHER,
};

/* METHOD_OTHER for names not listed. Case-sensitive (RFC 9110 §9.1). */
enum method method_parse(struct str name);

struct match {
    struct str host;      /* lower case, without port; absent: only host-less routes match */
    struct str authority; /* the Host header, for patterns with a port in routers that see the URI
                             first; absent: as host */
    struct str path;      /* normalised */
    enum method method;
    const struct sockaddr *client;
    /* Tests what the router cannot: the route's vars and filter_func. Called last, only for routes
     * that have one. */
    bool (*test)(void *arg, const struct route *route);
    void *arg;
};

/* NULL: no route. Host tree first (longest wildcard last resort first), URI tree inside; exact
 * before longest prefix; then priority; a candidate whose predicates fail gives way to the next
 * (inventory §2.1). */
const struct route *router_match(const struct router *r, const struct match *m);

/* Which of its route's hosts, as configured, a request with this host was matched by; absent for
 * host-less routes. Not kept by router_match: few ask. */
struct str router_matched_host(const struct router *r, const struct route *route, struct str host,
                               struct str authority);

/* What a parameter of the route's URI stands for in the path that it was matched by: `:NAME` one
 * segment, `*NAME` all that is left; a nameless `*` is called ":ext". Absent: the URI has none of
 * that name. Not kept by router_match, as above; a part of the path. */
struct str router_param(const struct router *r, const struct route *route, struct str path,
                        struct str name);

#endif
