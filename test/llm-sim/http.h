/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 request heads and chunked bodies: bytes to views, no I/O. Strict on purpose: what a
 * gateway must not send upstream (both lengths, folded lines, bare LF, NUL) is refused with 400, so
 * that a test sees it. */
#ifndef SIM_HTTP_H
#define SIM_HTTP_H

#include "buf.h"

#define HTTP_MAX_HEAD    65536
#define HTTP_MAX_HEADERS 128

struct header {
    struct slice name, value;
};

/* Views into the buffer that was parsed. */
struct request {
    struct slice method, target;
    struct slice path, query; /* of the target; query without '?' */
    struct slice host, auth;
    int64_t length; /* Content-Length, -1 when absent */
    int minor;      /* HTTP/1.minor */
    bool chunked, expect, close, keep;
    bool sim; /* has an X-Sim-* header */
    size_t nheaders;
    struct header headers[HTTP_MAX_HEADERS];
};

/* Returns the head's length, 0 when more bytes are needed, or minus the status to answer (then *why
 * says what). */
long http_parse_head(const char *p, size_t n, struct request *r, const char **why);

/* The first header of this name, {NULL,0} when absent. */
struct slice http_header(const struct request *r, const char *name);

/* The decoded value of a query parameter in out (cut at size - 1, NUL-terminated); false when
 * absent. */
bool http_query(const struct request *r, const char *name, char *out, size_t size);
uint64_t http_query_num(const struct request *r, const char *name, uint64_t max, uint64_t fallback);

const char *http_reason(int status);

enum chunk_result { CHUNK_MORE, CHUNK_DATA, CHUNK_DONE, CHUNK_BAD };

/* State of a chunked body between calls; zeroed = at its start (RFC 9112 section 7.1). */
struct chunked {
    uint64_t left;
    uint32_t line; /* bytes of the current line */
    uint8_t state;
};

/* Takes bytes from *p, *n. CHUNK_DATA: *data is a piece of the body, call again. */
enum chunk_result http_chunk(struct chunked *k, const char **p, size_t *n, struct slice *data);

#endif
