/* SPDX-License-Identifier: Apache-2.0 */
/* A non-blocking stream socket on a loop, plain or TLS. Reads go where the caller says; writes
 * gather in the thread's outbox and leave in one send when the callback that wrote returns; what
 * the kernel does not take waits in a queue of the socket's own. */
#ifndef LOOP_SOCK_H
#define LOOP_SOCK_H

#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/reason.h"
#include "base/shared.h"
#include "loop/loop.h"

enum {
    OUTBOX_BYTES = 65536,
    SOCK_QUEUE_HIGH = 65536,   /* bytes queued at which sock_full says so */
    SOCK_QUEUE_MAX = 64 << 20, /* a queue that grows past this fails the socket */
    /* TLS: a peer that sends more without a byte of data keeps this thread busy with nothing: each
     * update of keys costs 60 us for 27 bytes. A record has 16 KiB. */
    SOCK_BARREN_MAX = 40960,
};

/* One per loop: bytes on their way to one socket, sent when the current callback returns. */
struct outbox {
    struct loop *loop;
    struct sock *owner;
    size_t n;
    char bytes[OUTBOX_BYTES];
};
struct outbox *outbox_new(struct loop *loop);

enum sock_state { SOCK_CONNECTING, SOCK_HANDSHAKE, SOCK_OPEN, SOCK_CLOSED };

struct sock_ops {
    /* Connected, and the handshake is done. Not called for accepted plain sockets. */
    void (*open)(struct sock *s);
    /* There may be something to read, or the peer is gone (see hup). Read until a short read. */
    void (*readable)(struct sock *s);
    /* The queue has drained. */
    void (*drained)(struct sock *s);
    /* The kernel took some of the queue, not all: the peer is slow, but alive. NULL: not of
     * interest. */
    void (*moved)(struct sock *s);
    /* Connecting, the handshake or a write failed; nothing more can be sent. Never called from
     * within sock_write: always from the loop. */
    void (*failed)(struct sock *s, enum reason why);
};

struct sock {
    struct io io;
    struct loop *loop;
    struct outbox *out;
    const struct sock_ops *ops;
    SSL *ssl; /* NULL: plain */
    struct buf queue;
    size_t queue_at; /* bytes at the front of the queue that are sent */
    struct str tail; /* of somebody else's memory, behind the queue */
    struct shared *tail_owner;
    int unacked;     /* bytes in the kernel that the peer has not, when last asked */
    unsigned barren; /* TLS: bytes that came since the last ones that were data */
    struct task fail_task;
    enum sock_state state;
    bool readable; /* an edge was seen and not yet read away */
    bool hup;      /* the peer has closed its side, or the connection failed */
    bool full;     /* the queue passed SOCK_QUEUE_HIGH and has not drained */
    char first;    /* TLS: the first byte that came; 0: none yet */
    bool emptied;  /* TLS: the last read was short, and no edge came since */
    bool broken;   /* a write failed */
};

/* Takes over fd, open (accepted) or connecting, non-blocking. False: the descriptor could not be
 * watched (it is closed). */
bool sock_init(struct sock *s, struct loop *loop, struct outbox *out, int fd, enum sock_state state,
               const struct sock_ops *ops) __attribute__((warn_unused_result));
/* Starts connecting to addr; -1, with errno, when the kernel refuses at once. The result is for
 * sock_init. */
int sock_connect(const struct sockaddr *addr, socklen_t n);
/* What that errno means: REASON_CONNECT_STARVED when it is this machine that lacks something, and
 * the peer is not to blame, else REASON_CONNECT_FAILED. */
enum reason sock_connect_reason(int error);
/* TLS starts when the connection stands; ssl becomes the socket's. Before the first event. For an
 * accepted connection the socket begins as SOCK_HANDSHAKE. */
void sock_tls(struct sock *s, SSL *ssl);
/* In ops->failed of a handshake, whose alert is sent: the socket goes on without TLS, so that what
 * still comes can be read away, and the peer gets the alert instead of a reset. */
void sock_plain(struct sock *s);

/* Bytes read (> 0), 0: end of file, -1: nothing there now, -2: failed. Clears `readable` when all
 * was read. */
ssize_t sock_read(struct sock *s, char *p, size_t n);

/* Whether, with hup, nothing but the end is left to read. TLS: looks at what is there. */
bool sock_at_end(struct sock *s);

/* Queues bytes to be sent, in order. Copies what it keeps. Failures are told later by ops->failed.
 */
void sock_write(struct sock *s, struct str data);
/* The same for bytes that stay as they are as long as owner has users: what the kernel does not
 * take is not copied, and the socket is one of these until it is gone. */
void sock_write_shared(struct sock *s, struct str data, struct shared *owner);
/* n bytes of room in the outbox, to be written in place; n <= OUTBOX_BYTES / 2. Then sock_wrote. */
char *sock_room(struct sock *s, size_t n);
void sock_wrote(struct sock *s, size_t n);
/* Sends what is in the outbox for this socket. */
void sock_flush(struct sock *s);
/* Whoever feeds this socket must pause until ops->drained. */
static inline bool sock_full(const struct sock *s)
{
    return s->full;
}
/* The kernel is full, and there are bytes for it. */
static inline bool sock_waits(const struct sock *s)
{
    return s->queue.n || s->tail.n;
}
/* Bytes accepted and not yet given to the kernel. */
size_t sock_queued(const struct sock *s);

/* While it waits: whether the peer has taken bytes since the kernel last took some of ours, or
 * since this was last asked. The kernel says that there is room again only when much of its own
 * buffer is free, which a slow peer may not reach for long. One system call. */
bool sock_took(struct sock *s);

/* No more writes: the peer sees an end of file after what was queued. */
void sock_shutdown(struct sock *s);
/* Sends what is in the outbox if it can, then closes. No callback comes afterwards; the memory must
 * stay until the turn ends. With reset, the peer sees an RST. */
void sock_close(struct sock *s, bool reset);

/* "1.2.3.4:80" or "[::1]:80" into out (at least 56 bytes); returns the length. */
size_t sock_addr_text(const struct sockaddr *addr, char *out, bool with_port);
uint16_t sock_addr_port(const struct sockaddr *addr);

#endif
