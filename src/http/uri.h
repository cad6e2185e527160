/* SPDX-License-Identifier: Apache-2.0 */
/* Request paths and queries: normalising, decoding, hosts. Encoding is base/encode.h's. */
#ifndef HTTP_URI_H
#define HTTP_URI_H

#include "base/arena.h"
#include "base/reason.h"
#include "base/str.h"

/* The path decoded, with "//" merged and dot segments resolved, as nginx's $uri. When nothing needs
 * to change, *out is raw itself. REASON_NONE, or why it is refused: bad percent-encoding, a NUL
 * byte, a path that climbs above the root. */
enum reason uri_normalise(struct str raw, struct arena *a, struct str *out);

/* The path without the parameters of its segments ("/a;v=1/b" is "/a/b"), as servlets read it.
 * False where a parameter hides a dot segment or an empty one (APISIX: normalize_uri_like_servlet).
 */
bool uri_without_params(struct str path, struct arena *a, struct str *out);
/* For matching alone: the path with its coded slashes kept as "%2F", the rest decoded. `path` is
 * what uri_normalise made of raw: when more than decoding made it so, it is returned itself, so
 * that no coded slash hides a dot segment (APISIX: match_uri_encoded_slash). */
struct str uri_keep_slashes(struct str raw, struct str path, struct arena *a);

/* Percent-decodes; '+' becomes a space when plus is set. Bad escapes are kept as they are. */
struct str uri_decode(struct str s, struct arena *a, bool plus);

/* Next name=value of a query; false at the end. value is absent when there is no '='. */
bool query_next(struct str *rest, struct str *name, struct str *value);

/* Splits "host:port", "[::1]:port", "host". port 0: none. False: malformed (RFC 9110 §7.2, RFC 3986
 * §3.2.2). The host is returned without brackets. */
bool uri_host_split(struct str authority, struct str *host, uint16_t *port);
/* Whether authority may stand in a Host header. */
bool uri_host_ok(struct str authority);

#endif
