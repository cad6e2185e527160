/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP/1 codec: bytes to heads and bodies, without I/O and without a clock; strict by RFC 9112.
 * Heads are parsed where they lie: the views point into the input. */
#ifndef HTTP_H1_H
#define HTTP_H1_H

#include "base/buf.h"
#include "base/reason.h"
#include "http/head.h"

struct h1_limits {
    uint32_t head_bytes; /* of the whole head */
    uint32_t uri_bytes;  /* of the request target */
    uint16_t headers;    /* lines, at most 250 */
};

enum h1_status {
    H1_MORE, /* the input ends within the head */
    H1_DONE,
    H1_ERROR, /* *why says what is wrong */
};

enum h1_framing {
    H1_NO_BODY,
    H1_LENGTH, /* Content-Length */
    H1_CHUNKED,
    H1_TO_END, /* until the connection closes; responses only */
};

struct h1_request {
    struct str line; /* as it was sent; of a head that is not whole: as far as it came */
    struct str method, target;
    struct str host;      /* host and port: of the absolute target, else of the Host header */
    struct str path;      /* raw, at least "/" ("*" for OPTIONS *) */
    struct str query;     /* raw, without '?'; absent when there is no '?' */
    uint8_t minor;        /* HTTP/1.minor */
    bool keep_alive;      /* RFC 9112 §9.3 */
    bool expect_continue; /* RFC 9110 §10.1.1 */
    bool upgrade;         /* Connection: upgrade with an Upgrade header */
    enum h1_framing framing;
    uint64_t length; /* for H1_LENGTH */
    struct head head;
};

struct h1_response {
    int status;
    struct str phrase;
    uint8_t minor;
    bool keep_alive;
    enum h1_framing framing;
    uint64_t length;
    int64_t keep_alive_s; /* of a Keep-Alive: timeout=N header; -1: none */
    struct head head;
};

/* Parses one head from the start of in. `list` holds limits->headers lines. On H1_DONE *used is the
 * head's length. Leading empty lines are skipped (RFC 9112 §2.2), at most two. To stay linear on
 * input that comes in drops, a caller that was told H1_MORE asks again only when h1_head_ends says
 * so, or there is more than limits->head_bytes. */
/* Unless H1_DONE, out holds what was read before the fault or the input's end, and the rest of it
 * is absent. */
enum h1_status h1_parse_request(struct str in, const struct h1_limits *limits, struct header *list,
                                struct h1_request *out, size_t *used, enum reason *why);
/* to_head: the request was HEAD, so there is no body. 1xx heads are returned like others. */
enum h1_status h1_parse_response(struct str in, const struct h1_limits *limits, struct header *list,
                                 bool to_head, struct h1_response *out, size_t *used,
                                 enum reason *why);
/* Whether in holds the end of a head; `seen` bytes were looked at before. */
bool h1_head_ends(struct str in, size_t seen);

/* ---- Chunked bodies (RFC 9112 §7.1) ---- */

enum { CHUNK_LINE_MAX = 256 };

struct chunked {
    uint8_t state;
    uint8_t digits;
    uint16_t line;        /* bytes of the current chunk-size line */
    uint64_t left;        /* of the current chunk */
    struct buf *trailers; /* raw trailer section, gathered when not NULL */
    uint32_t trailer_bytes;
};

enum chunked_event {
    CHUNKED_MORE, /* all input used */
    CHUNKED_DATA, /* *data is a piece of the body */
    CHUNKED_END,  /* the body and its trailers are over; the rest of the input is not the body's */
    CHUNKED_BAD,
};

void chunked_init(struct chunked *c, struct buf *trailers);
/* Takes bytes from the front of *in until there is something to tell. */
enum chunked_event chunked_next(struct chunked *c, struct str *in, struct str *data);
/* Parses a gathered trailer section into head (lines point into in). False: malformed, or a field
 * that must not come in trailers (RFC 9110 §6.5.1: framing, routing, authentication). */
bool h1_parse_trailers(struct str in, struct header *list, unsigned cap, struct head *head);

/* ---- Texts ---- */

/* "404 Not Found"; an unknown code gives "NNN Unknown"-like text of its class. */
const char *h1_phrase(int status);

/* True when every byte may be in a header value: no control characters but tab (RFC 9110 §5.5). */
bool h1_value_ok(struct str value);
bool h1_token_ok(struct str name);

#endif
