/* SPDX-License-Identifier: Apache-2.0 */
/* reply.h: reads HTTP/1.1 responses out of a byte stream, piece by piece, for the load generator.
 * Knows Content-Length, chunked and until-close bodies; anything else is malformed. No I/O. */
#ifndef BENCH_REPLY_H
#define BENCH_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REPLY_HEAD_MAX = 4096 };

enum reply_state {
    REPLY_HEAD,       /* collecting the status line and the fields */
    REPLY_LENGTH,     /* body with a known length */
    REPLY_CHUNK_SIZE, /* a chunk's size line */
    REPLY_CHUNK_DATA, /* a chunk's bytes */
    REPLY_CHUNK_END,  /* the CRLF after a chunk's bytes */
    REPLY_TRAILER,    /* lines after the last chunk */
    REPLY_TO_CLOSE,   /* body until the peer closes */
    REPLY_DONE,
    REPLY_BAD, /* not HTTP/1.1 as we know it */
};

struct reply {
    enum reply_state state;
    int status;    /* 0 until the head was read */
    bool close;    /* the peer said Connection: close */
    uint64_t left; /* bytes left of the body or the chunk */
    uint64_t body; /* body bytes seen */
    size_t nline;  /* bytes of a size or trailer line seen */
    size_t nhead;  /* bytes kept in head */
    char head[REPLY_HEAD_MAX];
};

/* Called with each piece of the decoded body; the bytes are the caller's again afterwards. */
typedef void reply_body_fn(void *ctx, const char *data, size_t len);

/* Makes it ready for the next response. */
void reply_reset(struct reply *r);

/* Takes up to len bytes; returns how many were used: all of them unless the response ended
 * (REPLY_DONE) or is malformed (REPLY_BAD). Interim 1xx responses are skipped. on_body may be NULL.
 */
size_t reply_feed(struct reply *r, const char *data, size_t len, reply_body_fn *on_body, void *ctx);

/* The peer closed: true when that is this response's proper end. */
bool reply_eof(struct reply *r);

#endif
