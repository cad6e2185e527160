/* SPDX-License-Identifier: Apache-2.0 */
/* A reply that is made piece by piece: paced by the timer wheel, or as fast as the client takes it.
 */
#ifndef SIM_STREAM_H
#define SIM_STREAM_H

#include "conn.h"

/* Appends the next piece to out. Returns true with the last one. */
typedef bool stream_fn(struct conn *c, struct stream *s, struct buf *out);

/* First member of what a producer allocates with sim_alloc; the stream's end frees it in one piece.
 */
struct stream {
    stream_fn *step;
    int64_t next_at;  /* when the next piece is due */
    uint64_t sent;    /* pieces, or bytes */
    uint32_t gap_ms;  /* 0 = no pacing */
    bool in_bytes;    /* a plain body: faults count bytes, and it is no event stream */
    bool framed;      /* chunked */
    const char *tail; /* after the last chunk: trailers, NULL = none */
};

/* Sends the head and takes the stream over. length: of the body, or REPLY_CHUNKED. */
void stream_start(struct conn *c, struct stream *s, int status, const char *type, int64_t length);
/* Writes as many pieces into the worker's output as are due. */
void stream_run(struct conn *c);
void stream_free(struct conn *c, bool aborted);

#endif
