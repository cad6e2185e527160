/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets: connecting, TLS handshakes, reading, and the one way out through the outbox. */
#include "loop/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/panic.h"
#include "loop/tls.h"

static void on_event(struct io *io, uint32_t events);

struct outbox *outbox_new(struct loop *loop)
{
    struct outbox *out = mem_alloc(sizeof(*out));

    out->loop = loop;
    out->owner = NULL;
    out->n = 0;
    return out;
}

static struct sock *sock_of(struct io *io)
{
    return CONTAINER(io, struct sock, io);
}

static void on_fail_task(struct task *t)
{
    struct sock *s = CONTAINER(t, struct sock, fail_task);

    if (s->state != SOCK_CLOSED)
        s->ops->failed(s, REASON_NONE);
}

bool sock_init(struct sock *s, struct loop *loop, struct outbox *out, int fd, enum sock_state state,
               const struct sock_ops *ops)
{
    int one = 1;

    *s = (struct sock){.io = {.fd = fd, .on_event = on_event},
                       .loop = loop,
                       .out = out,
                       .ops = ops,
                       .state = state};
    buf_init(&s->queue, SOCK_QUEUE_MAX);
    task_init(&s->fail_task, on_fail_task);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (loop_watch(loop, &s->io))
        return true;
    close(fd);
    s->state = SOCK_CLOSED;
    return false;
}

int sock_connect(const struct sockaddr *addr, socklen_t n)
{
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (connect(fd, addr, n) == 0 || errno == EINPROGRESS)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

enum reason sock_connect_reason(int error)
{
    static const int ours[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL};

    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (error == ours[i])
            return REASON_CONNECT_STARVED;
    return REASON_CONNECT_FAILED;
}

/* ---- What TLS reads from and writes to ---------------------------------------------------------
 */

static int bio_read(BIO *bio, char *p, size_t n, size_t *got)
{
    struct sock *s = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (s->state == SOCK_OPEN && s->barren > SOCK_BARREN_MAX)
        return 0;
    ssize_t r = recv(s->io.fd, p, n, 0);
    s->emptied = r < 0 || (size_t)r < n;
    if (r > 0) {
        if (!s->first)
            s->first = *p;
        s->barren += (unsigned)r;
        *got = (size_t)r;
        return 1;
    }
    if (r == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    else if (errno == EAGAIN || errno == EINTR)
        BIO_set_retry_read(bio);
    return 0;
}

static int bio_write(BIO *bio, const char *p, size_t n, size_t *put)
{
    struct sock *s = BIO_get_data(bio);
    ssize_t w = send(s->io.fd, p, n, MSG_NOSIGNAL);

    BIO_clear_retry_flags(bio);
    if (w > 0) {
        *put = (size_t)w;
        return 1;
    }
    if (w < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return 0;
}

static long bio_ctrl(BIO *bio, int command, long n, void *p)
{
    (void)n;
    (void)p;
    if (command == BIO_CTRL_EOF)
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void bio_make_method(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sock");
    BIO_meth_set_read_ex(bio_method, bio_read);
    BIO_meth_set_write_ex(bio_method, bio_write);
    BIO_meth_set_ctrl(bio_method, bio_ctrl);
}

void sock_tls(struct sock *s, SSL *ssl)
{
    ASSERT(!s->ssl);
    pthread_once(&bio_once, bio_make_method);
    BIO *bio = BIO_new(bio_method);
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    s->ssl = ssl;
}

void sock_plain(struct sock *s)
{
    ASSERT(s->ssl && s->state == SOCK_HANDSHAKE);
    SSL_free(s->ssl);
    ERR_clear_error();
    s->ssl = NULL;
    s->state = SOCK_OPEN;
}

/* ---- Connecting ---------------------------------------------------------------------------------
 */

static void handshake(struct sock *s)
{
    ERR_clear_error();
    int ok = SSL_do_handshake(s->ssl);
    if (ok == 1) {
        s->state = SOCK_OPEN;
        s->barren = 0;
        s->ops->open(s);
        if (s->state == SOCK_OPEN && s->readable)
            s->ops->readable(s);
        return;
    }
    int e = SSL_get_error(s->ssl, ok);
    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
        return;
    s->ops->failed(s, tls_verify_failed(s->ssl) ? REASON_TLS_UNVERIFIED : REASON_TLS_FAILED);
}

static void connected(struct sock *s)
{
    int error = 0;
    socklen_t n = sizeof(error);

    if (getsockopt(s->io.fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 || error) {
        errno = error;
        s->ops->failed(s, REASON_CONNECT_FAILED);
        return;
    }
    if (s->ssl) {
        s->state = SOCK_HANDSHAKE;
        handshake(s);
        return;
    }
    s->state = SOCK_OPEN;
    s->ops->open(s);
    /* What came together with the connection makes no edge of its own. */
    if (s->state == SOCK_OPEN && s->readable)
        s->ops->readable(s);
}

/* ---- Writing ------------------------------------------------------------------------------------
 */

static void tail_drop(struct sock *s)
{
    s->tail = STR_NONE;
    if (s->tail_owner)
        shared_put(s->tail_owner);
    s->tail_owner = NULL;
}

static void queue_drop(struct sock *s)
{
    buf_fini(&s->queue);
    s->queue_at = 0;
    tail_drop(s);
}

static void fail(struct sock *s)
{
    if (s->broken)
        return;
    s->broken = true;
    queue_drop(s);
    loop_defer(s->loop, &s->fail_task);
}

/* Bytes taken by the kernel or TLS; less than all: it is full now. -1: failed. */
static ssize_t send_some(struct sock *s, const struct iovec *iov, int count)
{
    size_t done = 0;

    if (!s->ssl) {
        struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov,
                             .msg_iovlen = (size_t)count};
        ssize_t n = count == 1 ? send(s->io.fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                               : sendmsg(s->io.fd, &msg, MSG_NOSIGNAL);
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : n;
    }
    for (int i = 0; i < count; i++) {
        size_t at = 0, n = 0;
        while (at < iov[i].iov_len) {
            ERR_clear_error();
            if (!SSL_write_ex(s->ssl, (const char *)iov[i].iov_base + at, iov[i].iov_len - at,
                              &n)) {
                int e = SSL_get_error(s->ssl, 0);
                if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
                    return (ssize_t)done;
                return -1;
            }
            at += n;
            done += n;
        }
    }
    return (ssize_t)done;
}

bool sock_took(struct sock *s)
{
    int before = s->unacked;

    if (ioctl(s->io.fd, SIOCOUTQ, &s->unacked) < 0)
        s->unacked = 0;
    return s->unacked < before;
}

static void queue_add(struct sock *s, struct str data)
{
    /* Nothing may follow what could not be kept. */
    if (!s->broken && !buf_add(&s->queue, data))
        fail(s);
}

/* Keeps data behind what waits: as it is when it has an owner, else, and in front of more, as a
 * copy. */
static void queue_rest(struct sock *s, struct str data, size_t *skip, struct shared *owner)
{
    if (*skip >= data.n) {
        *skip -= data.n;
        return;
    }
    data = str_from(data, *skip);
    *skip = 0;
    if (!sock_waits(s))
        sock_took(s);
    if (s->tail.n) {
        queue_add(s, s->tail);
        tail_drop(s);
    }
    if (owner && !s->broken) {
        s->tail = data;
        s->tail_owner = shared_get(owner);
    } else {
        queue_add(s, data);
    }
    if (s->queue.n - s->queue_at + s->tail.n >= SOCK_QUEUE_HIGH)
        s->full = true;
}

/* Sends first and second in this order; what is not taken is queued. owner: of second's memory, or
 * NULL. */
static void send_or_queue(struct sock *s, struct str first, struct str second, struct shared *owner)
{
    struct iovec iov[2] = {{(void *)(uintptr_t)first.p, first.n},
                           {(void *)(uintptr_t)second.p, second.n}};
    size_t skip = 0;

    if (s->broken)
        return;
    if (!sock_waits(s)) {
        const struct iovec *from = first.n ? iov : iov + 1;
        ssize_t n = send_some(s, from, (first.n != 0) + (second.n != 0));
        if (n < 0) {
            fail(s);
            return;
        }
        skip = (size_t)n;
    }
    queue_rest(s, first, &skip, NULL);
    queue_rest(s, second, &skip, owner);
}

static void outbox_send(struct outbox *out, struct str more, struct shared *owner)
{
    struct sock *s = out->owner;
    size_t n = out->n;

    out->owner = NULL;
    out->n = 0;
    if (s && (n || more.n))
        send_or_queue(s, str_make(out->bytes, n), more, owner);
}

static void outbox_flush(struct loop *loop)
{
    struct outbox *out = loop->flush_arg;

    loop->flush = NULL;
    outbox_send(out, STR_NONE, NULL);
}

static void outbox_own(struct sock *s)
{
    struct outbox *out = s->out;

    if (out->owner == s)
        return;
    if (out->owner)
        outbox_send(out, STR_NONE, NULL);
    out->owner = s;
    s->loop->flush = outbox_flush;
    s->loop->flush_arg = out;
}

static void write_bytes(struct sock *s, struct str data, struct shared *owner)
{
    if (s->broken || data.n == 0)
        return;
    outbox_own(s);
    if (data.n <= OUTBOX_BYTES - s->out->n) {
        memcpy(s->out->bytes + s->out->n, data.p, data.n);
        s->out->n += data.n;
        return;
    }
    outbox_send(s->out, data, owner);
}

void sock_write(struct sock *s, struct str data)
{
    write_bytes(s, data, NULL);
}

void sock_write_shared(struct sock *s, struct str data, struct shared *owner)
{
    write_bytes(s, data, owner);
}

char *sock_room(struct sock *s, size_t n)
{
    ASSERT_HOT(n <= OUTBOX_BYTES / 2);
    outbox_own(s);
    if (OUTBOX_BYTES - s->out->n < n) {
        outbox_send(s->out, STR_NONE, NULL);
        outbox_own(s);
    }
    return s->out->bytes + s->out->n;
}

void sock_wrote(struct sock *s, size_t n)
{
    ASSERT_HOT(s->out->owner == s && n <= OUTBOX_BYTES - s->out->n);
    s->out->n += n;
}

void sock_flush(struct sock *s)
{
    if (s->out->owner == s)
        outbox_send(s->out, STR_NONE, NULL);
}

size_t sock_queued(const struct sock *s)
{
    return s->queue.n - s->queue_at + s->tail.n + (s->out->owner == s ? s->out->n : 0);
}

/* n bytes at the front of what waits are sent. */
static void queue_sent(struct sock *s, size_t n)
{
    size_t queued = s->queue.n - s->queue_at;

    if (n >= queued) {
        buf_fini(&s->queue);
        s->queue_at = 0;
        s->tail = str_from(s->tail, n - queued);
        return;
    }
    s->queue_at += n;
    /* Moved together when it pays: a long queue goes out in many steps. */
    if (s->queue_at > s->queue.n / 2) {
        buf_eat(&s->queue, s->queue_at);
        s->queue_at = 0;
    }
}

static void drain(struct sock *s)
{
    struct iovec iov[2];
    int parts = 0;

    if (s->queue.n > s->queue_at)
        iov[parts++] = (struct iovec){s->queue.p + s->queue_at, s->queue.n - s->queue_at};
    if (s->tail.n)
        iov[parts++] = (struct iovec){(void *)(uintptr_t)s->tail.p, s->tail.n};
    ssize_t n = send_some(s, iov, parts);
    if (n < 0) {
        fail(s);
        return;
    }
    queue_sent(s, (size_t)n);
    if (sock_waits(s)) {
        sock_took(s);
        if (n && s->ops->moved)
            s->ops->moved(s);
        return;
    }
    queue_drop(s);
    s->full = false;
    s->ops->drained(s);
}

/* ---- Reading ------------------------------------------------------------------------------------
 */

static ssize_t read_tls(struct sock *s, char *p, size_t n)
{
    size_t got;

    ERR_clear_error();
    if (SSL_read_ex(s->ssl, p, n, &got)) {
        s->barren = 0;
        /* As in sock_read: nothing is left here or in the kernel. */
        if (s->emptied && !s->hup && !SSL_has_pending(s->ssl))
            s->readable = false;
        return (ssize_t)got;
    }
    switch (SSL_get_error(s->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        s->readable = false;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        s->hup = true;
        return 0;
    default:
        return -2;
    }
}

ssize_t sock_read(struct sock *s, char *p, size_t n)
{
    if (s->ssl)
        return read_tls(s, p, n);
    ssize_t got = recv(s->io.fd, p, n, 0);
    if (got > 0) {
        /* A short read has emptied the socket; a later arrival makes a new edge. An end of file
         * that came with it shows as hup, and needs the read that returns 0. */
        if ((size_t)got < n && !s->hup)
            s->readable = false;
        return got;
    }
    if (got == 0) {
        s->hup = true;
        return 0;
    }
    if (errno == EAGAIN || errno == EINTR) {
        s->readable = false;
        return -1;
    }
    s->hup = true;
    return -2;
}

bool sock_at_end(struct sock *s)
{
    char byte;
    size_t n;

    if (!s->ssl)
        return true;
    ERR_clear_error();
    if (SSL_peek_ex(s->ssl, &byte, 1, &n))
        return false;
    int e = SSL_get_error(s->ssl, 0);
    return e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE;
}

static void on_event(struct io *io, uint32_t events)
{
    struct sock *s = sock_of(io);

    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        s->readable = true;
        s->emptied = false;
    }
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        s->hup = true;
    switch (s->state) {
    case SOCK_CONNECTING:
        if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
            connected(s);
        return;
    case SOCK_HANDSHAKE:
        handshake(s);
        return;
    case SOCK_OPEN:
        /* TLS may have stopped reading because it could not write (a key update). */
        if (events & EPOLLOUT && s->ssl)
            s->readable = true;
        if (events & EPOLLOUT && sock_waits(s))
            drain(s);
        if (s->state == SOCK_OPEN && s->readable)
            s->ops->readable(s);
        return;
    case SOCK_CLOSED:
        return;
    }
}

/* ---- Ending -------------------------------------------------------------------------------------
 */

void sock_shutdown(struct sock *s)
{
    sock_flush(s);
    if (s->ssl)
        SSL_shutdown(s->ssl);
    shutdown(s->io.fd, SHUT_WR);
}

void sock_close(struct sock *s, bool reset)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};

    if (s->state == SOCK_CLOSED)
        return;
    if (!reset)
        sock_flush(s);
    else if (s->out->owner == s)
        s->out->owner = NULL, s->out->n = 0;
    if (s->ssl) {
        if (s->state == SOCK_OPEN && !reset && !s->broken)
            SSL_shutdown(s->ssl);
        SSL_free(s->ssl);
        s->ssl = NULL;
        ERR_clear_error();
    }
    if (reset)
        setsockopt(s->io.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    s->state = SOCK_CLOSED;
    task_cancel(&s->fail_task);
    queue_drop(s);
    loop_unwatch(s->loop, &s->io);
    close(s->io.fd);
}

size_t sock_addr_text(const struct sockaddr *addr, char *out, bool with_port)
{
    char ip[INET6_ADDRSTRLEN];

    if (addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)addr;
        inet_ntop(AF_INET6, &six->sin6_addr, ip, sizeof(ip));
        return (size_t)snprintf(out, 56, with_port ? "[%s]:%u" : "%s", ip, ntohs(six->sin6_port));
    }
    const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)addr;
    inet_ntop(AF_INET, &four->sin_addr, ip, sizeof(ip));
    return (size_t)snprintf(out, 56, with_port ? "%s:%u" : "%s", ip, ntohs(four->sin_port));
}

uint16_t sock_addr_port(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)addr)->sin6_port);
    return ntohs(((const struct sockaddr_in *)(const void *)addr)->sin_port);
}
