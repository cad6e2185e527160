/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners: accept, hand over to HTTP/1 connections, drain. */
#include "conn/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/mem.h"
#include "conn/h1_server.h"

enum {
    BACKLOG = 4096,
    ACCEPTS_PER_EVENT = 64,
    ACCEPT_PAUSE_MS = 100,
    LAST_CALL_MS = 250, /* for handshakes that are under way when the process stops */
    IDLE_MS = 1000,     /* a client silent for so long has hardly a request on its way */
};

struct listener {
    struct grave grave; /* first: loop_bury frees the whole */
    struct io io;
    struct server *server;
    struct addr addr;
    uint64_t number;
    bool tls;
    struct timer pause; /* while the process is out of descriptors */
    struct listener *next;
};

bool addr_parse(struct str ip, uint16_t port, struct addr *out)
{
    char text[INET6_ADDRSTRLEN];

    memset(out, 0, sizeof(*out));
    if (ip.n >= 2 && ip.p[0] == '[' && ip.p[ip.n - 1] == ']')
        ip = str_make(ip.p + 1, ip.n - 2);
    if (ip.n == 0 || ip.n >= sizeof(text))
        return false;
    memcpy(text, ip.p, ip.n);
    text[ip.n] = 0;
    if (inet_pton(AF_INET, text, &out->in.sin_addr) == 1) {
        out->in.sin_family = AF_INET;
        out->in.sin_port = htons(port);
        return true;
    }
    if (inet_pton(AF_INET6, text, &out->in6.sin6_addr) == 1) {
        out->in6.sin6_family = AF_INET6;
        out->in6.sin6_port = htons(port);
        return true;
    }
    return false;
}

socklen_t addr_size(const struct addr *a)
{
    return a->sa.sa_family == AF_INET6 ? sizeof(a->in6) : sizeof(a->in);
}

static void on_last_call(struct timer *t);

struct server *server_new(struct thread *t, const struct stream_handler *handler, void *owner)
{
    struct server *s = mem_zero(sizeof(*s));

    s->thread = t;
    s->handler = handler;
    s->owner = owner;
    list_init(&s->connections);
    timer_init(&s->last_call, on_last_call);
    return s;
}

static void accept_later(struct listener *l)
{
    struct loop *loop = &l->server->thread->loop;

    /* Out of descriptors: level-triggered readiness would spin, so look again in a while. */
    log_write(LOG_CRIT, "accept() failed: %s", strerrordesc_np(errno));
    if (loop_watch_level(loop, &l->io, 0))
        loop_timer(loop, &l->pause, ACCEPT_PAUSE_MS);
}

static void on_pause_over(struct timer *t)
{
    struct listener *l = CONTAINER(t, struct listener, pause);

    if (!loop_watch_level(&l->server->thread->loop, &l->io, EPOLLIN))
        loop_timer(&l->server->thread->loop, &l->pause, ACCEPT_PAUSE_MS);
}

/* Takes one connection; false: errno says why there is none. */
static bool accept_one(struct listener *l)
{
    struct addr peer = {0};
    socklen_t n = sizeof(peer);
    int fd = accept4(l->io.fd, &peer.sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return false;
    h1_server_accept(l->server, fd, &peer, l->number, l->tls);
    return true;
}

static void on_acceptable(struct io *io, uint32_t events)
{
    struct listener *l = CONTAINER(io, struct listener, io);

    (void)events;
    for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
        if (accept_one(l))
            continue;
        int error = errno;
        if ((error == EMFILE || error == ENFILE) && thread_make_room(l->server->thread))
            continue;
        errno = error;
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            accept_later(l);
        return;
    }
}

static int listening_socket(const struct addr *addr, bool reuseport)
{
    int one = 1;
    int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (reuseport)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    if (addr->sa.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (bind(fd, &addr->sa, addr_size(addr)) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void listen_error(const struct addr *addr, struct arena *a, struct str *err)
{
    int error = errno;
    char text[56];

    sock_addr_text(&addr->sa, text, true);
    *err = arena_printf(a, "cannot listen on %s: %s", text, strerrordesc_np(error));
}

bool server_may_listen(const struct addr *addr, struct arena *a, struct str *err)
{
    int fd = listening_socket(addr, false);

    if (fd < 0) {
        listen_error(addr, a, err);
        return false;
    }
    close(fd);
    return true;
}

int server_socket(const struct addr *addr, bool reuseport, struct arena *a, struct str *err)
{
    int fd = listening_socket(addr, reuseport);

    if (fd < 0)
        listen_error(addr, a, err);
    return fd;
}

void server_set_tls(struct server *s, struct tls_server *tls, tls_find_fn *find)
{
    s->tls = tls;
    s->find = find;
}

bool server_adopt(struct server *s, int fd, const struct addr *addr, bool tls, struct arena *a,
                  struct str *err)
{
    struct listener *l = mem_zero(sizeof(*l));

    l->io = (struct io){.fd = fd, .on_event = on_acceptable};
    l->server = s;
    l->addr = *addr;
    l->number = ++s->nlisteners;
    l->tls = tls;
    timer_init(&l->pause, on_pause_over);
    if (!loop_watch_level(&s->thread->loop, &l->io, EPOLLIN)) {
        *err = arena_printf(a, "cannot watch a listener: %s", strerrordesc_np(errno));
        close(fd);
        free(l);
        return false;
    }
    l->next = s->listeners;
    s->listeners = l;
    return true;
}

bool server_listen(struct server *s, const struct addr *addr, bool tls, bool reuseport,
                   struct arena *a, struct str *err)
{
    int fd = server_socket(addr, reuseport, a, err);

    return fd >= 0 && server_adopt(s, fd, addr, tls, a, err);
}

static void release(struct grave *g)
{
    free(g);
}

static void close_listener(struct server *s, struct listener *l)
{
    timer_clear(&s->thread->loop.timers, &l->pause);
    loop_unwatch(&s->thread->loop, &l->io);
    close(l->io.fd);
    loop_bury(&s->thread->loop, &l->grave, release);
}

static void close_listeners(struct server *s)
{
    while (s->listeners) {
        struct listener *l = s->listeners;
        s->listeners = l->next;
        close_listener(s, l);
    }
}

void *stream_server_owner(const struct stream *s)
{
    return h1_server_of(s)->owner;
}

/* Whom the kernel has already let in is served: closing the listener would reset them. */
static void accept_waiting(struct listener *l)
{
    for (int i = 0; i < BACKLOG && accept_one(l); i++) {
    }
}

void server_unlisten(struct server *s, const struct addr *addr)
{
    for (struct listener **at = &s->listeners; *at; at = &(*at)->next) {
        struct listener *l = *at;
        if (memcmp(&l->addr, addr, sizeof(*addr)) != 0)
            continue;
        accept_waiting(l);
        *at = l->next;
        h1_server_drain_of(s, l->number);
        close_listener(s, l);
        return;
    }
}

/* Who asks for a connection from now on gets no answer, and asks again a second later: of whoever
 * serves then, or nobody. Handshakes that have begun go on, which closing the listener would not
 * let them: their clients believe to be connected. Where the kernel knows no filters all goes on.
 */
static void filter_new(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13), /* the flags in the TCP header */
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TH_SYN | TH_ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TH_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(*code), .filter = code};

    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

static void on_last_call(struct timer *t)
{
    struct server *s = CONTAINER(t, struct server, last_call);

    for (struct listener *l = s->listeners; l; l = l->next)
        accept_waiting(l);
    close_listeners(s);
    h1_server_drain(s);
    if (server_is_empty(s) && s->on_empty)
        s->on_empty(s->owner);
}

void server_drain(struct server *s)
{
    for (struct listener *l = s->listeners; l; l = l->next) {
        filter_new(l->io.fd);
        accept_waiting(l);
    }
    s->draining = true;
    h1_server_drain(s);
    if (s->listeners)
        loop_timer(&s->thread->loop, &s->last_call, LAST_CALL_MS);
}

void server_close(struct server *s)
{
    timer_clear(&s->thread->loop.timers, &s->last_call);
    close_listeners(s);
    h1_server_close_all(s);
}

unsigned server_close_idle(struct server *s, unsigned max)
{
    unsigned n = h1_server_close_idle(s, max, IDLE_MS);

    return n ? n : h1_server_close_idle(s, max, 0);
}

void server_on_empty(struct server *s, void (*empty)(void *owner))
{
    s->on_empty = empty;
}

void server_closed_one(struct server *s)
{
    s->count--;
    if (s->draining && server_is_empty(s) && s->on_empty)
        s->on_empty(s->owner);
}

bool server_is_empty(const struct server *s)
{
    return !s->listeners && !s->count;
}

unsigned server_connections(const struct server *s)
{
    return s->count;
}

void server_free(struct server *s)
{
    s->on_empty = NULL;
    server_close(s);
    free(s);
}
