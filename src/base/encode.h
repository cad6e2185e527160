/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes made fit for where they go: a path, a request line, a header; and base64 back to bytes. */
#ifndef BASE_ENCODE_H
#define BASE_ENCODE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

/* These percent-encode what may not stand there. Where nothing does, they return the string itself,
 * else a copy in the arena. */

/* In a path (nginx's NGX_ESCAPE_URI): controls, space, `"#%<>?\^{|}`, the backtick, and bytes from
 * 0x7f on. */
struct str encode_path(struct arena *a, struct str s);
/* In a request target that is already built: controls, space and DEL, which would end it. */
struct str encode_target(struct arena *a, struct str s);
/* In a Location: controls, also the tab, which browsers leave out, and the backslash, which they
 * take for a slash: "/\host" would lead to another host (WHATWG URL §4.4). */
struct str encode_location(struct arena *a, struct str s);
/* In a header's value: controls but the tab, which would end the line (as lua-nginx-module does).
 */
struct str encode_header(struct arena *a, struct str s);

/* Base64 (RFC 4648 §4), with padding. */
struct str base64_encode(struct arena *a, struct str s);
/* Base64 (RFC 4648 §4) as ngx.decode_base64 takes it: padding may be missing, and what comes behind
 * the first `=` is ignored. False: another character, or a length that cannot be. */
bool base64_decode(struct arena *a, struct str s, struct str *out);

#endif
