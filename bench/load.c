/* SPDX-License-Identifier: Apache-2.0 */
/* load.c: the load generator of `make bench`, one epoll thread, so that it costs little and is the
 * same for every gateway. Two modes: kept connections in a closed loop, and event streams.
 *
 *   bench-load http   [options] HOST:PORT PATH    each connection sends as soon as it was answered
 *   bench-load events [options] HOST:PORT PATH    each connection opens one stream and checks it
 *
 * With -r requests leave at a fixed rate instead, and latency counts from the time they were due.
 * Prints one JSON object when done. In events mode a line on stdin prints the counters so far, and
 * a line is printed when all streams are open. Every request sent before the end is waited for, so
 * that the count is what the gateway did. */
#include "hist.h"
#include "reply.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
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
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    HEADERS_MAX = 16,      /* -H options */
    CONNS_MAX = 20000,     /* -c */
    LINE_MAX_ = 4096,      /* one event's line, and one line of the request list */
    RAMP = 128,            /* connections that may be opening at a time in events mode */
    SWEEP_MS = 50,         /* between looks at the clock for timeouts and the end */
    READ_SIZE = 65536,     /* one read */
    RATE_TICK_NS = 100000, /* between two looks at what is due at a fixed rate */
    TURN_EVENTS = 256      /* of one epoll_wait */
};

enum phase { PHASE_IDLE, PHASE_CONNECT, PHASE_TLS, PHASE_BUSY };

/* What is wrong with a request, counted by name in the output. */
enum fault {
    FAULT_CONNECT,
    FAULT_STATUS,
    FAULT_RESET,
    FAULT_TIMEOUT,
    FAULT_MALFORMED,
    FAULT_LENGTH,
    FAULTS
};
static const char *const fault_name[FAULTS] = {"connect", "status",    "reset",
                                               "timeout", "malformed", "length"};

struct request {
    char *bytes;
    size_t len;
};

struct conn {
    int fd;
    enum phase phase;
    SSL *ssl;                  /* NULL without --tls */
    const struct request *req; /* being sent or answered */
    size_t sent;               /* of its bytes */
    uint64_t started;          /* ns: the request's first byte */
    uint64_t heard;            /* ns: last sign of life, for the timeout */
    bool opened;               /* events: the stream's head has come */
    uint64_t next;             /* events: number of the event that must come next */
    size_t nline;              /* events: bytes in line */
    char *line;                /* events: an event's line so far */
    struct reply reply;
};

static struct {
    bool events, tls;
    struct sockaddr_in peer;
    char *host;
    const char *method, *list;
    const char *header[HEADERS_MAX];
    int nheader, nconn;
    size_t body;
    uint64_t count, expect; /* requests to send, 0: no end; body bytes each must have, 0: any */
    double seconds, timeout, rate; /* rate: requests per second, 0: closed loop */
} opt = {.method = "GET", .nconn = 64, .seconds = 2, .timeout = 5};

static struct {
    int epoll;
    int timer, cursor; /* of a fixed rate: its tick, the connection to use next */
    SSL_CTX *ctx;
    struct request *req;
    size_t nreq, turn; /* requests of the list, the one to be sent next */
    struct conn *conn;
    int next_open, opening, open, busy; /* events: next to open, being opened, open; requests out */
    bool stopping, told;
    uint64_t begin, end, now;
    uint64_t sent, done, bytes, reads, fault[FAULTS];
    uint64_t events, lost, bad_events, ended, marks;
    struct hist latency, delay;
} load;

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "bench-load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *must(void *p)
{
    if (p == NULL)
        die("memory");
    return p;
}

/* ---- requests ---- */

/* Builds one request of a path and the header lines that follow it on the list, tab-separated. */
static void request_add(char *spec)
{
    char *buf = NULL, *save = NULL;
    size_t len = 0;
    FILE *out = must(open_memstream(&buf, &len));
    bool named = strcasestr(spec, "\thost:") != NULL;

    fprintf(out, "%s %s HTTP/1.1\r\nUser-Agent: bench-load\r\nAccept: */*\r\n", opt.method,
            strtok_r(spec, "\t", &save));
    if (!named)
        fprintf(out, "Host: %s\r\n", opt.host);
    for (int i = 0; i < opt.nheader; i++)
        fprintf(out, "%s\r\n", opt.header[i]);
    for (char *h; (h = strtok_r(NULL, "\t", &save)) != NULL;)
        fprintf(out, "%s\r\n", h);
    if (opt.body)
        fprintf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", opt.body);
    fputs("\r\n", out);
    for (size_t i = 0; i < opt.body; i++)
        fputc('b', out);
    fclose(out);
    load.req = must(realloc(load.req, (load.nreq + 1) * sizeof *load.req));
    load.req[load.nreq++] = (struct request){.bytes = buf, .len = len};
}

static void requests_make(const char *path)
{
    char line[LINE_MAX_];
    FILE *in;

    if (opt.list == NULL) {
        snprintf(line, sizeof line, "%s", path);
        request_add(line);
        return;
    }
    in = fopen(opt.list, "r");
    if (in == NULL)
        die(opt.list);
    while (fgets(line, sizeof line, in)) {
        line[strcspn(line, "\r\n")] = 0;
        if (line[0] == '/')
            request_add(line);
    }
    fclose(in);
    if (load.nreq == 0) {
        fprintf(stderr, "bench-load: %s has no paths\n", opt.list);
        exit(1);
    }
}

/* ---- connections ---- */

static void conn_shut(struct conn *c)
{
    if (c->fd < 0)
        return;
    if (c->phase == PHASE_BUSY)
        load.busy--;
    if (opt.events)
        *(c->opened ? &load.open : &load.opening) -= 1;
    SSL_free(c->ssl);
    c->ssl = NULL;
    close(c->fd);
    c->fd = -1;
    c->phase = PHASE_IDLE;
}

static void conn_fault(struct conn *c, enum fault why)
{
    load.fault[why]++;
    conn_shut(c);
}

static void conn_open(struct conn *c)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->fd = fd;
    c->phase = PHASE_CONNECT;
    c->started = c->heard = load.now;
    c->opened = false;
    c->next = c->nline = 0;
    load.opening += opt.events;
    if (connect(fd, (struct sockaddr *)&opt.peer, sizeof opt.peer) < 0 && errno != EINPROGRESS) {
        conn_fault(c, FAULT_CONNECT);
        return;
    }
    if (opt.tls) {
        c->ssl = must(SSL_new(load.ctx));
        SSL_set_fd(c->ssl, fd);
        SSL_set_tlsext_host_name(c->ssl, opt.host);
        SSL_set_connect_state(c->ssl);
    }
    if (epoll_ctl(load.epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
        die("epoll_ctl");
}

/* Bytes moved, 0 when the socket would block, -1 at the end or on an error. */
static long conn_recv(struct conn *c, char *buf, size_t size)
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
    return n > 0 ? n : n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static long conn_send(struct conn *c, const char *buf, size_t len)
{
    if (c->ssl) {
        int n = SSL_write(c->ssl, buf, (int)len);
        if (n > 0)
            return n;
        int why = SSL_get_error(c->ssl, n);
        ERR_clear_error();
        return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }
    ssize_t n = send(c->fd, buf, len, MSG_NOSIGNAL);
    return n > 0 ? n : n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static void conn_push(struct conn *c)
{
    while (c->sent < c->req->len) {
        long n = conn_send(c, c->req->bytes + c->sent, c->req->len - c->sent);
        if (n < 0)
            conn_fault(c, FAULT_RESET);
        if (n <= 0)
            return;
        c->sent += (size_t)n;
    }
}

/* Sends the next request of the list, or nothing when the end has come. */
static void conn_next(struct conn *c)
{
    c->phase = PHASE_IDLE;
    if (load.stopping)
        return;
    if (opt.count && load.sent >= opt.count) {
        load.stopping = true;
        return;
    }
    c->req = &load.req[load.turn];
    if (++load.turn == load.nreq)
        load.turn = 0;
    c->sent = 0;
    c->started = c->heard = clock_ns();
    reply_reset(&c->reply);
    c->phase = PHASE_BUSY;
    load.busy++;
    load.sent++;
    conn_push(c);
}

/* At a fixed rate: sends what is due on idle connections; what finds none waits, and is late. */
static void rate_tick(void)
{
    uint64_t due = (uint64_t)((double)(load.now - load.begin) / 1e9 * opt.rate);
    uint64_t ticks;

    if (read(load.timer, &ticks, sizeof ticks) != sizeof ticks)
        return;
    for (int i = 0; i < opt.nconn && load.sent < due && !load.stopping; i++) {
        struct conn *c = &load.conn[load.cursor];
        load.cursor = (load.cursor + 1) % opt.nconn;
        if (c->fd < 0 || c->phase != PHASE_IDLE)
            continue;
        uint64_t when = load.begin + (uint64_t)((double)load.sent / opt.rate * 1e9);
        conn_next(c);
        c->started = when;
    }
}

static void rate_start(void)
{
    struct itimerspec every = {.it_interval.tv_nsec = RATE_TICK_NS,
                               .it_value.tv_nsec = RATE_TICK_NS};
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &load};

    load.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (load.timer < 0 || timerfd_settime(load.timer, 0, &every, NULL) < 0 ||
        epoll_ctl(load.epoll, EPOLL_CTL_ADD, load.timer, &ev) < 0)
        die("timer");
}

/* Goes on from a connect or a handshake; returns false while that is not done. */
static bool conn_ready(struct conn *c)
{
    if (c->phase == PHASE_CONNECT) {
        int err = 0;
        socklen_t len = sizeof err;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len);
        if (err) {
            conn_fault(c, FAULT_CONNECT);
            return false;
        }
        c->phase = c->ssl ? PHASE_TLS : PHASE_IDLE;
    }
    if (c->phase == PHASE_TLS) {
        int n = SSL_do_handshake(c->ssl);
        int why = n == 1 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, n);
        ERR_clear_error();
        if (why != SSL_ERROR_NONE) {
            if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
                conn_fault(c, FAULT_CONNECT);
            return false;
        }
        c->phase = PHASE_IDLE;
    }
    return true;
}

/* ---- event streams ---- */

static uint64_t event_number(const char *line, const char *name, uint64_t none)
{
    const char *at = strstr(line, name);
    return at ? strtoull(at + strlen(name), NULL, 10) : none;
}

/* One whole line of a stream. Events are numbered and stamped by the origin. */
static void event_line(struct conn *c)
{
    uint64_t number, stamp;

    c->line[c->nline] = 0;
    if (c->nline == 0)
        return;
    if (strncmp(c->line, "data: {", 7) != 0 || c->line[c->nline - 1] != '}') {
        load.bad_events++;
        return;
    }
    number = event_number(c->line, "\"i\":", c->next);
    if (number != c->next)
        load.lost += number > c->next ? number - c->next : 1;
    c->next = number + 1;
    load.events++;
    stamp = event_number(c->line, "\"t\":", 0);
    if (stamp && load.now > stamp)
        hist_add(&load.delay, load.now - stamp);
}

static void event_bytes(void *ctx, const char *data, size_t len)
{
    struct conn *c = ctx;

    while (len) {
        const char *eol = memchr(data, '\n', len);
        size_t n = eol ? (size_t)(eol - data) : len;
        size_t room = LINE_MAX_ - 1 - c->nline;
        memcpy(c->line + c->nline, data, n < room ? n : room);
        c->nline += n < room ? n : room;
        if (eol) {
            event_line(c);
            c->nline = 0;
            n++;
        }
        data += n;
        len -= n;
    }
}

/* Opens further streams, a bounded number at a time, so that no listen queue overflows. */
static void streams_open(void)
{
    while (!load.stopping && load.next_open < opt.nconn && load.opening < RAMP)
        conn_open(&load.conn[load.next_open++]);
    if (load.told || load.next_open < opt.nconn || load.opening)
        return;
    load.told = true;
    printf("{\"open\":%d}\n", load.open);
    fflush(stdout);
}

static void stream_ended(struct conn *c)
{
    if (c->reply.status != 200)
        load.fault[FAULT_STATUS]++;
    else if (opt.expect && c->next != opt.expect)
        load.fault[FAULT_LENGTH]++;
    else
        load.ended++;
    load.done++;
    conn_shut(c);
}

/* ---- answers ---- */

static void conn_done(struct conn *c)
{
    if (opt.events) {
        stream_ended(c);
        return;
    }
    load.busy--;
    load.done++;
    load.bytes += c->reply.body;
    hist_add(&load.latency, load.now - c->started);
    if (c->reply.status < 200 || c->reply.status > 299)
        load.fault[FAULT_STATUS]++;
    else if (opt.expect && c->reply.body != opt.expect)
        load.fault[FAULT_LENGTH]++;
    c->phase = PHASE_IDLE;
    if (c->reply.close) {
        conn_shut(c);
        if (!load.stopping)
            conn_open(c);
        return;
    }
    if (opt.rate == 0)
        conn_next(c);
}

static void conn_eof(struct conn *c)
{
    if (c->phase != PHASE_BUSY)
        conn_shut(c); /* an idle connection may be closed; the sweep opens a new one */
    else if (reply_eof(&c->reply) && (c->reply.close = true))
        conn_done(c);
    else
        conn_fault(c, FAULT_RESET);
}

/* Feeds what was read; returns false when the connection is no longer to be read. */
static bool conn_feed(struct conn *c, const char *data, size_t len)
{
    if (c->phase != PHASE_BUSY) {
        conn_fault(c, FAULT_MALFORMED); /* nobody asked */
        return false;
    }
    size_t used = reply_feed(&c->reply, data, len, opt.events ? event_bytes : NULL, c);
    if (opt.events && !c->opened && c->reply.status) {
        c->opened = true;
        hist_add(&load.latency, load.now - c->started);
        load.opening--;
        load.open++;
    }
    if (c->reply.state == REPLY_BAD || used != len) {
        conn_fault(c, FAULT_MALFORMED);
        return false;
    }
    if (c->reply.state == REPLY_DONE)
        conn_done(c);
    return c->fd >= 0;
}

static void conn_readable(struct conn *c)
{
    static char buf[READ_SIZE];
    int fd = c->fd;

    for (;;) {
        long n = conn_recv(c, buf, sizeof buf);
        if (n == 0)
            return;
        load.now = c->heard = clock_ns();
        if (n < 0) {
            conn_eof(c);
            return;
        }
        load.reads++;
        if (!conn_feed(c, buf, (size_t)n) || c->fd != fd)
            return;
        if (c->ssl == NULL && n < (long)sizeof buf)
            return; /* edge-triggered: a short read means there is no more */
    }
}

static void conn_event(struct conn *c, uint32_t what)
{
    if (c->fd < 0)
        return;
    if (c->phase == PHASE_CONNECT || c->phase == PHASE_TLS) {
        if (!(what & (EPOLLOUT | EPOLLERR | EPOLLHUP)) && c->phase == PHASE_CONNECT)
            return;
        if (!conn_ready(c))
            return;
        if (opt.rate == 0)
            conn_next(c);
        if (c->ssl == NULL || c->phase != PHASE_BUSY)
            return;
    }
    if ((what & EPOLLOUT) && c->phase == PHASE_BUSY)
        conn_push(c);
    if (c->fd >= 0 && (what & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
        conn_readable(c);
    if (c->fd >= 0 && (what & EPOLLRDHUP))
        conn_readable(c); /* the end may stand behind the bytes just read */
}

/* ---- the run ---- */

/* Every SWEEP_MS: the end of the run, silent connections, connections to open anew. */
static void load_sweep(void)
{
    if (!opt.events && load.now >= load.end)
        load.stopping = true;
    for (int i = 0; i < opt.nconn; i++) {
        struct conn *c = &load.conn[i];
        if (c->fd < 0 && !opt.events && !load.stopping)
            conn_open(c);
        else if (c->fd >= 0 && c->phase != PHASE_IDLE && load.now > c->heard &&
                 (double)(load.now - c->heard) > opt.timeout * 1e9)
            conn_fault(c, FAULT_TIMEOUT);
    }
}

static bool load_over(void)
{
    if (opt.events)
        return load.next_open == opt.nconn && load.open + load.opening == 0;
    return load.stopping && load.busy == 0;
}

/* A line on stdin asks for the counters, so that a window of a long run can be measured. */
static void load_mark(void)
{
    char buf[256];
    ssize_t n = read(0, buf, sizeof buf);

    if (n <= 0)
        epoll_ctl(load.epoll, EPOLL_CTL_DEL, 0, NULL);
    if (n > 0 && load.marks == 0)
        memset(&load.delay, 0, sizeof load.delay); /* delays count from the first mark on */
    for (ssize_t i = 0; i < n; i++)
        if (buf[i] == '\n')
            printf("{\"mark\":%llu,\"ns\":%llu,\"open\":%d,\"events\":%llu,\"reads\":%llu}\n",
                   (unsigned long long)++load.marks, (unsigned long long)clock_ns(), load.open,
                   (unsigned long long)load.events, (unsigned long long)load.reads);
    fflush(stdout);
}

static void load_run(void)
{
    struct epoll_event ev[TURN_EVENTS], in = {.events = EPOLLIN, .data.ptr = NULL};
    uint64_t sweep = 0;

    if (opt.events)
        epoll_ctl(load.epoll, EPOLL_CTL_ADD, 0, &in); /* fails on a file: then there are no marks */
    load.begin = load.now = clock_ns();
    load.end = load.begin + (uint64_t)(opt.seconds * 1e9);
    if (opt.rate > 0)
        rate_start();
    while (!load_over()) {
        if (load.now >= sweep) {
            load_sweep();
            sweep = load.now + SWEEP_MS * 1000000u;
        }
        if (opt.events)
            streams_open();
        int n = epoll_wait(load.epoll, ev, TURN_EVENTS, SWEEP_MS);
        load.now = clock_ns();
        for (int i = 0; i < n; i++) {
            if (ev[i].data.ptr == NULL)
                load_mark();
            else if (ev[i].data.ptr == &load)
                rate_tick();
            else
                conn_event(ev[i].data.ptr, ev[i].events);
        }
    }
}

static void load_print(void)
{
    double seconds = (double)(load.now - load.begin) / 1e9;
    uint64_t faults = 0;

    printf("{\"requests\":%llu,\"seconds\":%.4f,\"rps\":%.1f,\"body_bytes\":%llu,\"latency_us\":",
           (unsigned long long)load.done, seconds, (double)load.done / seconds,
           (unsigned long long)load.bytes);
    hist_json(&load.latency, stdout);
    if (opt.events) {
        printf(",\"streams\":%d,\"ended\":%llu,\"events\":%llu,\"reads\":%llu,\"lost\":%llu,"
               "\"bad_events\":%llu,\"delay_us\":",
               opt.nconn, (unsigned long long)load.ended, (unsigned long long)load.events,
               (unsigned long long)load.reads, (unsigned long long)load.lost,
               (unsigned long long)load.bad_events);
        hist_json(&load.delay, stdout);
        faults += load.lost + load.bad_events;
    }
    printf(",\"errors\":{");
    for (int i = 0; i < FAULTS; i++) {
        printf("\"%s\":%llu,", fault_name[i], (unsigned long long)load.fault[i]);
        faults += load.fault[i];
    }
    printf("\"total\":%llu}}\n", (unsigned long long)faults);
}

static void load_setup(const char *path)
{
    signal(SIGPIPE, SIG_IGN);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load.epoll < 0)
        die("epoll");
    requests_make(path);
    if (opt.tls) {
        load.ctx = must(SSL_CTX_new(TLS_client_method()));
        SSL_CTX_set_mode(load.ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS);
    }
    load.conn = must(calloc((size_t)opt.nconn, sizeof *load.conn));
    for (int i = 0; i < opt.nconn; i++) {
        load.conn[i].fd = -1;
        if (opt.events)
            load.conn[i].line = must(malloc(LINE_MAX_));
    }
}

static void usage(void)
{
    fputs("usage: bench-load http|events [options] HOST:PORT PATH\n"
          "  -c N      connections, or streams (64)\n"
          "  -d SEC    how long to send (2)          -n N     or this many requests, if sooner\n"
          "  -m METHOD (GET)                         -b N     bytes of request body\n"
          "  -H LINE   a header line, repeatable     -l FILE  list of 'path[TAB header line]...'\n"
          "  -e N      body bytes (events) each answer must have\n"
          "  -t SEC    silence that counts as a timeout (5)\n"
          "  -r N      requests per second on all connections, instead of a closed loop\n"
          "  -s        TLS to HOST, certificate not verified\n",
          stderr);
    exit(2);
}

static void option(int letter)
{
    switch (letter) {
    case 'c':
        opt.nconn = (int)strtol(optarg, NULL, 10);
        break;
    case 'd':
        opt.seconds = strtod(optarg, NULL);
        break;
    case 'n':
        opt.count = strtoull(optarg, NULL, 10);
        break;
    case 'm':
        opt.method = optarg;
        break;
    case 'b':
        opt.body = strtoull(optarg, NULL, 10);
        break;
    case 'e':
        opt.expect = strtoull(optarg, NULL, 10);
        break;
    case 'r':
        opt.rate = strtod(optarg, NULL);
        break;
    case 't':
        opt.timeout = strtod(optarg, NULL);
        break;
    case 'l':
        opt.list = optarg;
        break;
    case 's':
        opt.tls = true;
        break;
    case 'H':
        if (opt.nheader == HEADERS_MAX)
            usage();
        opt.header[opt.nheader++] = optarg;
        break;
    default:
        usage();
    }
}

int main(int argc, char **argv)
{
    char *colon;
    int letter;

    if (argc < 2)
        usage();
    opt.events = strcmp(argv[1], "events") == 0;
    if (!opt.events && strcmp(argv[1], "http") != 0)
        usage();
    optind = 2;
    while ((letter = getopt(argc, argv, "c:d:n:m:b:e:t:l:r:sH:")) != -1)
        option(letter);
    if (argc - optind != 2 || opt.nconn < 1 || opt.nconn > CONNS_MAX)
        usage();
    opt.host = argv[optind];
    colon = strrchr(argv[optind], ':');
    if (colon == NULL)
        usage();
    *colon = 0;
    opt.peer.sin_family = AF_INET;
    opt.peer.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    if (inet_pton(AF_INET, strcmp(opt.host, "localhost") ? opt.host : "127.0.0.1",
                  &opt.peer.sin_addr) != 1)
        usage();
    load_setup(argv[optind + 1]);
    load_run();
    load_print();
    return 0;
}
