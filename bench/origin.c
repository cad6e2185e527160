/* SPDX-License-Identifier: Apache-2.0 */
/* origin.c: the server behind the gateways in `make bench`: one epoll thread, plain and TLS.
 * GET: 1 KiB. POST: 2 KiB after the body was read. GET /events?n=&gap=&size=: an event stream.
 *
 * It is as small as it can be fast, and no more: requests need Content-Length, replies are written
 * with one send, and a peer that does not take that send is closed (the load counts it). */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    HEAD_MAX = 8192,  /* a request head, and what a connection keeps of a partial one */
    EVENT_MAX = 4096, /* one event with its chunk framing */
    WHEEL = 4096,     /* slots of the timer wheel, one a millisecond: the largest gap */
    GET_BODY = 1024,  /* bytes */
    POST_BODY = 2048, /* bytes */
    BACKLOG = 4096,   /* of the listeners */
    EVENTS_A_TURN = 256
};

struct conn {
    int fd;
    bool listener, tls;      /* tls: of a listener, what it accepts */
    SSL *ssl;                /* NULL on plain connections */
    uint64_t body_left;      /* request body bytes still to come */
    bool post, close;        /* of the request whose body is coming */
    struct conn *next, **at; /* on the wheel or the graveyard; at is NULL when on neither */
    uint32_t left, sent;     /* events to send, events sent */
    uint32_t gap, size;      /* milliseconds between events, bytes of an event's data */
    size_t have;             /* bytes in buf */
    char *buf;               /* HEAD_MAX, only while a partial head is held */
};

static struct {
    int epoll, timer;
    SSL_CTX *tls;
    struct conn *wheel[WHEEL];
    struct conn *dead; /* closed in this turn, freed at its end */
    uint64_t tick;     /* milliseconds of the wheel */
    uint32_t streams;  /* opened so far: spreads them over the gap */
    char get[512 + GET_BODY], post[512 + POST_BODY];
    size_t nget, npost;
} origin;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "bench-origin: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Bytes read, 0 when there are none for now, -1 when the connection is over. */
static long conn_read(struct conn *c, char *buf, size_t size)
{
    if (c->ssl) {
        int n = SSL_read(c->ssl, buf, (int)size);
        if (n > 0)
            return n;
        int why = SSL_get_error(c->ssl, n);
        ERR_clear_error();
        return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }
    ssize_t n = recv(c->fd, buf, size, 0);
    if (n > 0)
        return n;
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static bool conn_write(struct conn *c, const char *buf, size_t len)
{
    if (c->ssl)
        return SSL_write(c->ssl, buf, (int)len) == (int)len;
    return send(c->fd, buf, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static void wheel_remove(struct conn *c)
{
    if (c->at == NULL)
        return;
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    c->at = NULL;
    c->next = NULL;
}

static void wheel_add(struct conn *c, uint64_t due)
{
    struct conn **slot = &origin.wheel[due % WHEEL];

    c->next = *slot;
    c->at = slot;
    if (c->next)
        c->next->at = &c->next;
    *slot = c;
}

static void conn_close(struct conn *c)
{
    wheel_remove(c);
    SSL_free(c->ssl);
    close(c->fd);
    c->fd = -1;
    c->next = origin.dead;
    origin.dead = c;
}

static void conn_bury(void)
{
    while (origin.dead) {
        struct conn *c = origin.dead;
        origin.dead = c->next;
        free(c->buf);
        free(c);
    }
}

static struct conn *conn_add(int fd, uint32_t events)
{
    struct conn *c = calloc(1, sizeof *c);
    struct epoll_event ev = {.events = events, .data.ptr = c};

    if (c == NULL)
        die("memory");
    c->fd = fd;
    if (epoll_ctl(origin.epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
        die("epoll_ctl");
    return c;
}

static void conn_accept(const struct conn *listener)
{
    int fd, one = 1;

    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct conn *c = conn_add(fd, EPOLLIN | EPOLLRDHUP);
        if (listener->tls) {
            c->ssl = SSL_new(origin.tls);
            if (c->ssl == NULL || !SSL_set_fd(c->ssl, fd))
                die("SSL_new");
            SSL_set_accept_state(c->ssl);
        }
    }
}

/* A number of the query, such as n=100, within low..high. */
static uint32_t query_number(const char *query, const char *name, uint32_t standard, uint32_t low,
                             uint32_t high)
{
    const char *at = strstr(query, name);
    unsigned long n;

    if (at == NULL)
        return standard;
    n = strtoul(at + strlen(name), NULL, 10);
    return n < low ? low : n > high ? high : (uint32_t)n;
}

/* Starts the stream that the request line asks for; the first event comes within its gap. */
static bool stream_start(struct conn *c, const char *target)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
    char line[256];
    size_t len = strcspn(target, " \r");

    len = len < sizeof line ? len : sizeof line - 1;
    memcpy(line, target, len);
    line[len] = 0;
    c->left = query_number(line, "n=", 10, 1, 1000000);
    c->gap = query_number(line, "gap=", 20, 1, WHEEL - 1);
    c->size = query_number(line, "size=", 200, 64, EVENT_MAX - 128);
    c->sent = 0;
    /* spread over the gap, so that the pace is even and not a burst per gap */
    wheel_add(c, origin.tick + 1 + origin.streams++ * 37u % c->gap);
    return conn_write(c, head, sizeof head - 1);
}

/* Sends one event, and the end of the body with the last. */
static bool stream_event(struct conn *c)
{
    char data[EVENT_MAX], frame[EVENT_MAX + 64];
    int n = snprintf(data, sizeof data, "data: {\"i\":%u,\"t\":%llu,\"pad\":\"", c->sent,
                     (unsigned long long)now_ns());

    while ((uint32_t)n < c->size - 4)
        data[n++] = 'x';
    n += snprintf(data + n, sizeof data - (size_t)n, "\"}\n\n");
    c->sent++;
    c->left--;
    n = snprintf(frame, sizeof frame, "%x\r\n%s\r\n%s", (unsigned)n, data,
                 c->left ? "" : "0\r\n\r\n");
    return conn_write(c, frame, (size_t)n);
}

static void wheel_turn(void)
{
    uint64_t ticks = 0;

    if (read(origin.timer, &ticks, sizeof ticks) != sizeof ticks)
        return;
    while (ticks-- > 0) {
        struct conn *due = origin.wheel[++origin.tick % WHEEL];
        origin.wheel[origin.tick % WHEEL] = NULL;
        while (due) {
            struct conn *c = due;
            due = c->next;
            c->at = NULL;
            c->next = NULL;
            if (!stream_event(c))
                conn_close(c);
            else if (c->left)
                wheel_add(c, origin.tick + c->gap);
        }
    }
}

static bool conn_answer(struct conn *c)
{
    bool ok = c->post ? conn_write(c, origin.post, origin.npost)
                      : conn_write(c, origin.get, origin.nget);
    return ok && !c->close;
}

/* A field's value, NULL when the head does not have it; names are matched at a line's start. */
static const char *head_field(const char *head, const char *name)
{
    size_t n = strlen(name);

    for (const char *line = strchr(head, '\n'); line; line = strchr(line, '\n'))
        if (strncasecmp(++line, name, n) == 0)
            return line + n + strspn(line + n, " \t");
    return NULL;
}

/* A whole head, ended by a NUL in place of its empty line: answers, or notes the body to read. */
static bool conn_request(struct conn *c, const char *head)
{
    const char *length = head_field(head, "content-length:");
    const char *connection = head_field(head, "connection:");

    if (head_field(head, "transfer-encoding:"))
        return false;
    c->post = head[0] == 'P';
    c->close = connection && strncasecmp(connection, "close", 5) == 0;
    c->body_left = length ? strtoull(length, NULL, 10) : 0;
    if (strncmp(head, "GET /events", 11) == 0)
        return stream_start(c, head + 4);
    return c->body_left || conn_answer(c);
}

/* Takes all that was read; returns false to close. data has room for one byte after len. */
static bool conn_feed(struct conn *c, char *data, size_t len)
{
    while (len) {
        if (c->body_left) {
            size_t n = len < c->body_left ? len : (size_t)c->body_left;
            data += n;
            len -= n;
            c->body_left -= n;
            if (c->body_left == 0 && !conn_answer(c))
                return false;
            continue;
        }
        char *end = memmem(data, len, "\r\n\r\n", 4);
        if (end == NULL)
            break;
        *end = 0;
        if (!conn_request(c, data))
            return false;
        len -= (size_t)(end + 4 - data);
        data = end + 4;
    }
    if (len >= HEAD_MAX)
        return false;
    if (len && c->buf == NULL && (c->buf = malloc(HEAD_MAX)) == NULL)
        die("memory");
    if (len)
        memcpy(c->buf, data, len);
    c->have = len;
    return true;
}

static void conn_readable(struct conn *c)
{
    static char scratch[65536 + HEAD_MAX + 1];

    for (;;) {
        size_t have = c->have;
        if (have)
            memcpy(scratch, c->buf, have);
        long n = conn_read(c, scratch + have, 65536);
        if (n < 0 || (n > 0 && !conn_feed(c, scratch, have + (size_t)n))) {
            conn_close(c);
            return;
        }
        if (c->have == 0 && c->buf) {
            free(c->buf);
            c->buf = NULL;
        }
        if (n == 0 || c->ssl == NULL)
            return; /* epoll is level-triggered; only TLS may hold bytes that it does not see */
    }
}

static int listen_on(const char *port, bool tls)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    a.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, BACKLOG) < 0)
        die("listen");
    getsockname(fd, (struct sockaddr *)&a, &len);
    struct conn *c = conn_add(fd, EPOLLIN);
    c->listener = true;
    c->tls = tls;
    return ntohs(a.sin_port);
}

static size_t reply_make(char *out, size_t size, size_t body)
{
    int n = snprintf(out, size,
                     "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                     "Content-Type: application/json\r\nContent-Length: %zu\r\n"
                     "Cache-Control: no-store\r\nX-Origin: bench\r\n\r\n",
                     body);

    memset(out + n, 'o', body);
    return (size_t)n + body;
}

static void tls_start(const char *cert, const char *key)
{
    origin.tls = SSL_CTX_new(TLS_server_method());
    if (origin.tls == NULL || SSL_CTX_use_certificate_chain_file(origin.tls, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(origin.tls, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    SSL_CTX_set_mode(origin.tls, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_id_context(origin.tls, (const unsigned char *)"bench", 5);
}

static void origin_loop(void)
{
    struct epoll_event ev[EVENTS_A_TURN];

    for (;;) {
        int n = epoll_wait(origin.epoll, ev, EVENTS_A_TURN, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = ev[i].data.ptr;
            if (c == NULL)
                wheel_turn();
            else if (c->fd < 0)
                continue;
            else if (c->listener)
                conn_accept(c);
            else
                conn_readable(c);
        }
        conn_bury();
    }
}

/* bench-origin PORT [TLS_PORT CERT KEY]; port 0 takes a free one. Prints the ports when ready. */
int main(int argc, char **argv)
{
    struct itimerspec every = {.it_interval.tv_nsec = 1000000, .it_value.tv_nsec = 1000000};
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    int port, tls_port = 0;

    if (argc != 2 && argc != 5) {
        fprintf(stderr, "usage: bench-origin PORT [TLS_PORT CERT KEY]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    origin.nget = reply_make(origin.get, sizeof origin.get, GET_BODY);
    origin.npost = reply_make(origin.post, sizeof origin.post, POST_BODY);
    origin.epoll = epoll_create1(EPOLL_CLOEXEC);
    origin.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (origin.epoll < 0 || origin.timer < 0)
        die("epoll");
    timerfd_settime(origin.timer, 0, &every, NULL);
    epoll_ctl(origin.epoll, EPOLL_CTL_ADD, origin.timer, &ev);
    port = listen_on(argv[1], false);
    if (argc == 5) {
        tls_start(argv[3], argv[4]);
        tls_port = listen_on(argv[2], true);
    }
    printf("{\"port\":%d,\"tls_port\":%d}\n", port, tls_port);
    fflush(stdout);
    origin_loop();
}
