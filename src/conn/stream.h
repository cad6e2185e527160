/* SPDX-License-Identifier: Apache-2.0 */
/* A stream: one request and its response on a server connection, whatever the protocol. The
 * connection owns the stream and calls its handler; the handler (an exchange, the Admin API)
 * answers through the stream's operations. HTTP/1 gives one stream at a time, HTTP/2 many. */
#ifndef CONN_STREAM_H
#define CONN_STREAM_H

#include "base/reason.h"
#include "conn/thread.h"
#include "http/h1.h"
#include "loop/tls_server.h"

struct stream;

struct stream_handler {
    /* A request head has come. req and its strings are valid during the call only. body: on_body
     * will be called. The handler may answer at once. */
    void (*on_request)(struct stream *s, const struct h1_request *req);
    /* A piece of the request body, valid during the call; the last one, possibly empty, has last
     * set, with s->trailers when the client sent some. Not called after the handler has ended the
     * stream. */
    void (*on_body)(struct stream *s, struct str data, bool last);
    /* What was queued for the client has drained (after stream_full said true). */
    void (*on_drained)(struct stream *s);
    /* The client is gone, or failed, before the response was complete. The stream is dead: nothing
     * may be called on it any more. */
    void (*on_abort)(struct stream *s, enum reason why);
    /* A request was refused that on_request has not seen: its head is malformed, too large or not
     * whole, or its body would be too long. The client has its error page, if it gets one. req
     * holds what was read; as for on_request, during the call only. NULL: not of interest. */
    void (*on_refused)(struct stream *s, const struct h1_request *req, enum reason why);
};

/* What the response body will be. */
enum { LENGTH_UNKNOWN = -1 };

struct stream_ops {
    bool (*respond)(struct stream *s, int status, const struct head *head, int64_t length);
    void (*inform)(struct stream *s, int status, const struct head *head);
    void (*write)(struct stream *s, struct str data, bool last, const struct head *trailers);
    void (*write_shared)(struct stream *s, struct str data, struct shared *owner);
    void (*pause)(struct stream *s);
    void (*resume)(struct stream *s);
    bool (*full)(const struct stream *s);
    void (*fail)(struct stream *s, enum reason why);
};

struct stream {
    const struct stream_ops *ops;
    const struct stream_handler *handler;
    void *data; /* the handler's */
    struct thread *thread;
    const struct addr *client,
        *local; /* of the connection (after a PROXY header or real_ip: still the peer) */
    struct str client_text;      /* client's address as text, without port */
    const struct head *trailers; /* during the last on_body; NULL: none */
    uint64_t connection;         /* serial number of the connection */
    uint64_t sent;               /* bytes of the response, head included */
    uint64_t page;               /* of these: body of an error page that was not the handler's */
    uint64_t received;           /* bytes of the request, head included */
    unsigned requests;           /* requests on this connection, this one included */
    const struct tls_peer *tls;  /* NULL: plain */
    bool body_coming;            /* a request body is (still) to come */
    bool close; /* set by the handler before it responds: the connection ends with this response */
};

/* Sends the response head, once. length: of the body; LENGTH_UNKNOWN: chunked or until close. When
 * the response has no body (HEAD, 204, 304, or length 0) the stream ends here, and no write
 * follows. Returns whether the stream has ended. Nothing in head is needed afterwards. */
static inline bool stream_respond(struct stream *s, int status, const struct head *head,
                                  int64_t length)
{
    return s->ops->respond(s, status, head, length);
}
/* A 1xx head other than 101 (RFC 9110 §15.2). head may be NULL. */
static inline void stream_inform(struct stream *s, int status, const struct head *head)
{
    s->ops->inform(s, status, head);
}
/* A piece of the body; copied or sent before it returns. last ends the stream: the handler will not
 * be called again and must not touch the stream any more. trailers may be NULL; only with last. */
static inline void stream_write(struct stream *s, struct str data, bool last,
                                const struct head *trailers)
{
    s->ops->write(s, data, last, trailers);
}
/* The body, whole, of a length that was told: ends the stream as stream_write with last does. The
 * bytes stay as they are as long as owner has users, and are not copied: the connection is one
 * until the client has them. */
static inline void stream_write_shared(struct stream *s, struct str data, struct shared *owner)
{
    s->ops->write_shared(s, data, owner);
}
/* No on_body until resume: the client is slowed down. */
static inline void stream_pause(struct stream *s)
{
    s->ops->pause(s);
}
/* on_body goes on, not inside this call. Also sends 100 Continue when the client waits for it. */
static inline void stream_resume(struct stream *s)
{
    s->ops->resume(s);
}
/* Whether the client is slower than the writer, who should wait for on_drained. */
static inline bool stream_full(const struct stream *s)
{
    return s->ops->full(s);
}
/* Breaks the response off (after the head was sent: the client must see that it is incomplete).
 * Ends the stream; the handler is not called again. */
static inline void stream_fail(struct stream *s, enum reason why)
{
    s->ops->fail(s, why);
}

#endif
