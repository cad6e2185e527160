/* SPDX-License-Identifier: Apache-2.0 */
/* Heads to bytes: the writing half of the HTTP/1 codec. */
#ifndef HTTP_H1_WRITE_H
#define HTTP_H1_WRITE_H

#include "http/h1.h"

/* How the body that follows a head is delimited. */
struct h1_out_body {
    enum h1_framing framing;
    uint64_t length; /* H1_LENGTH */
    bool zero;       /* H1_NO_BODY: say Content-Length: 0 */
};

/* Whether a header belongs to one connection only and is never forwarded (RFC 9110 §7.6.1); framing
 * headers are among them, since each side frames anew. */
bool h1_hop_by_hop(enum header_id id);
/* Removes the headers that the Connection header names, beside close and keep-alive. */
void h1_drop_connection_named(struct head *head);

/* Upper bound of the bytes that the head needs. */
size_t h1_request_size(struct str method, struct str uri, const struct head *head);
size_t h1_response_size(const struct head *head);
/* Write the head at p; return its length. Hop-by-hop headers are left out, framing is written from
 * body, Connection as said. */
size_t h1_write_request(char *p, struct str method, struct str uri, const struct head *head,
                        const struct h1_out_body *body, bool close);
size_t h1_write_response(char *p, int status, const struct head *head,
                         const struct h1_out_body *body, bool close, bool old_client);
/* The line before a chunk, and after it CR LF comes: at most H1_CHUNK_LINE bytes. */
enum { H1_CHUNK_LINE = 20 };
size_t h1_write_chunk_size(char *p, uint64_t n);
/* "0 CR LF", trailers, CR LF. Size: 5 + those of the lines. */
size_t h1_trailers_size(const struct head *trailers);
size_t h1_write_last_chunk(char *p, const struct head *trailers);

#endif
