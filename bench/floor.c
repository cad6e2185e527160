/* SPDX-License-Identifier: Apache-2.0 */
/* floor.c: the least that a proxy can do, for `bench/run.py --floor`: each client connection has an
 * upstream connection of its own, and bytes are copied as they come. It reads no HTTP, pools
 * nothing, and closes when a side does not take a write at once: a yardstick, not a proxy. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 65536, TURN_EVENTS = 256, BACKLOG = 4096 };

struct side {
    int fd;
    struct side *peer; /* NULL: closed in this turn */
    struct side *next; /* on the graveyard */
};

static int epoll;
static struct side *dead; /* sides closed in this turn, freed at its end */

static void die(const char *what)
{
    fprintf(stderr, "bench-floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct sockaddr_in loopback(const char *port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static struct side *side_add(int fd)
{
    struct side *s = calloc(1, sizeof *s);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = s};
    int one = 1;

    if (s == NULL || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
        die("side_add");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    s->fd = fd;
    return s;
}

static void side_close(struct side *s)
{
    struct side *pair[2] = {s, s->peer};

    for (int i = 0; i < 2; i++) {
        close(pair[i]->fd);
        pair[i]->peer = NULL;
        pair[i]->next = dead;
        dead = pair[i];
    }
}

static void side_bury(void)
{
    while (dead) {
        struct side *s = dead;
        dead = s->next;
        free(s);
    }
}

static void pair_accept(int listener, const struct sockaddr_in *origin)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        int up = socket(AF_INET, SOCK_STREAM, 0);
        /* on loopback a connect does not wait for long */
        if (up < 0 || connect(up, (const struct sockaddr *)origin, sizeof *origin) < 0)
            die("connect");
        struct side *a = side_add(fd), *b = side_add(up);
        a->peer = b;
        b->peer = a;
    }
}

static void side_copy(struct side *s)
{
    static char buf[BUFFER];
    ssize_t n;

    do {
        n = recv(s->fd, buf, sizeof buf, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN) ||
            (n > 0 && send(s->peer->fd, buf, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) != n)) {
            side_close(s);
            return;
        }
    } while (n == BUFFER);
}

/* bench-floor PORT ORIGIN_PORT */
int main(int argc, char **argv)
{
    struct epoll_event ev[TURN_EVENTS], in = {.events = EPOLLIN, .data.ptr = NULL};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (argc != 3)
        return 2;
    struct sockaddr_in here = loopback(argv[1]), origin = loopback(argv[2]);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) < 0 || listen(listener, BACKLOG) < 0)
        die("listen");
    epoll = epoll_create1(0);
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &in) < 0)
        die("epoll");
    for (;;) {
        int n = epoll_wait(epoll, ev, TURN_EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct side *s = ev[i].data.ptr;
            if (s == NULL)
                pair_accept(listener, &origin);
            else if (s->peer && (ev[i].events & EPOLLIN))
                side_copy(s);
            if (s && s->peer && (ev[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
                side_close(s);
        }
        side_bury();
    }
}
