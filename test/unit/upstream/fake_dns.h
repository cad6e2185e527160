/* SPDX-License-Identifier: Apache-2.0 */
/* A DNS server for tests: a thread that answers over UDP and TCP on one loopback port what it was
 * told to, and counts what it was asked. */
#ifndef TEST_FAKE_DNS_H
#define TEST_FAKE_DNS_H

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/str.h"

enum { FAKE_A = 1, FAKE_CNAME = 5, FAKE_AAAA = 28, FAKE_SRV = 33 };
enum { FAKE_SERVFAIL = 2, FAKE_NXDOMAIN = 3, FAKE_RECORDS = 32, FAKE_ADDRS = 64, FAKE_NAME = 256 };

struct fake_srv {
    uint16_t priority, weight, port;
    const char *target; /* NULL behind the last one; "": the root */
};

/* The answer for a name ("*" in front: all that end in the rest) and a type. A name that has only
 * the other type gets an empty answer, an unknown one NXDOMAIN. */
struct fake_record {
    const char *name;
    int type;
    const char *addrs[FAKE_ADDRS];
    struct fake_srv srv[8];
    const char *cname; /* the addresses are the alias's */
    uint32_t ttl, cname_ttl;
    int rcode;
    bool silent;
    bool truncated;  /* over UDP: the client has to come by TCP */
    unsigned skip;   /* so many questions get no answer first */
    unsigned breaks; /* so many questions get SERVFAIL first */
};

struct fake_dns {
    int udp, tcp, stop[2];
    uint16_t port;
    pthread_t thread;
    pthread_mutex_t mutex;
    struct fake_record records[FAKE_RECORDS];
    unsigned nrecords;
    unsigned asked, asked_tcp; /* questions that came */
};

static inline void fake_put(uint8_t **at, uint32_t value, int bytes)
{
    while (bytes-- > 0)
        *(*at)++ = (uint8_t)(value >> (8 * bytes));
}

static inline void fake_put_name(uint8_t **at, const char *name)
{
    while (*name) {
        size_t n = strcspn(name, ".");
        *(*at)++ = (uint8_t)n;
        memcpy(*at, name, n);
        *at += n;
        name += n + (name[n] == '.');
    }
    *(*at)++ = 0;
}

/* Type and class follow at the return value; NULL: malformed. */
static inline const uint8_t *fake_name(const uint8_t *p, const uint8_t *end, char *out)
{
    size_t n = 0;

    while (p < end && *p) {
        if (*p > 63 || p + 1 + *p > end || n + *p + 2 > FAKE_NAME)
            return NULL;
        if (n)
            out[n++] = '.';
        memcpy(out + n, p + 1, *p);
        n += *p;
        p += 1 + *p;
    }
    out[n] = 0;
    return p + 5 <= end ? p + 1 : NULL;
}

static inline bool fake_matches(const struct fake_record *r, const char *name)
{
    if (r->name[0] == '*')
        return str_ends(str_of(name), str_of(r->name + 1));
    return strcmp(r->name, name) == 0;
}

static inline struct fake_record *fake_find(struct fake_dns *f, const char *name, int type,
                                            bool *known)
{
    struct fake_record *found = NULL;

    *known = false;
    for (unsigned i = 0; i < f->nrecords; i++) {
        struct fake_record *r = &f->records[i];
        if (!fake_matches(r, name))
            continue;
        *known = true;
        if (r->type == type)
            found = r;
    }
    return found;
}

static inline unsigned fake_put_srv(uint8_t **at, const struct fake_record *r)
{
    unsigned n = 0;

    for (; n < 8 && r->srv[n].target; n++) {
        fake_put(at, 0xc00c, 2);
        fake_put(at, FAKE_SRV, 2);
        fake_put(at, 1, 2);
        fake_put(at, r->ttl, 4);
        uint8_t *length = *at;
        *at += 2;
        fake_put(at, r->srv[n].priority, 2);
        fake_put(at, r->srv[n].weight, 2);
        fake_put(at, r->srv[n].port, 2);
        fake_put_name(at, r->srv[n].target);
        fake_put(&length, (uint32_t)(*at - length - 2), 2);
    }
    return n;
}

static inline unsigned fake_put_answers(uint8_t **at, const struct fake_record *r)
{
    unsigned n = 0;

    if (r->cname) {
        fake_put(at, 0xc00c, 2); /* the question's name */
        fake_put(at, FAKE_CNAME, 2);
        fake_put(at, 1, 2);
        fake_put(at, r->cname_ttl, 4);
        uint8_t *length = *at;
        *at += 2;
        fake_put_name(at, r->cname);
        size_t bytes = (size_t)(*at - length - 2);
        fake_put(&length, (uint32_t)bytes, 2);
        n++;
    }
    n += fake_put_srv(at, r);
    for (unsigned i = 0; i < FAKE_ADDRS && r->addrs[i]; i++, n++) {
        int bytes = r->type == FAKE_A ? 4 : 16;
        if (r->cname)
            fake_put_name(at, r->cname);
        else
            fake_put(at, 0xc00c, 2);
        fake_put(at, (uint32_t)r->type, 2);
        fake_put(at, 1, 2);
        fake_put(at, r->ttl, 4);
        fake_put(at, (uint32_t)bytes, 2);
        inet_pton(r->type == FAKE_A ? AF_INET : AF_INET6, r->addrs[i], *at);
        *at += bytes;
    }
    return n;
}

/* Returns the answer's length; 0: none. out has room for 4 KiB. */
static inline size_t fake_answer(struct fake_dns *f, const uint8_t *q, size_t n, bool tcp,
                                 uint8_t *out)
{
    char name[FAKE_NAME];
    bool known, truncated;
    const uint8_t *end = n > 17 ? fake_name(q + 12, q + n, name) : NULL;

    if (!end)
        return 0;
    f->asked++;
    f->asked_tcp += tcp;
    struct fake_record *r = fake_find(f, name, end[0] << 8 | end[1], &known);
    if (r && (r->silent || (r->skip && r->skip--)))
        return 0;
    truncated = r && r->truncated && !tcp;
    int rcode = r ? r->rcode : known ? 0 : FAKE_NXDOMAIN;
    if (r && r->breaks && r->breaks--)
        rcode = FAKE_SERVFAIL;
    memcpy(out, q, (size_t)(end + 4 - q));
    uint8_t *at = out + (end + 4 - q);
    unsigned answers = r && !rcode && !truncated ? fake_put_answers(&at, r) : 0;
    uint8_t *head = out + 2;
    fake_put(&head, 0x8180u | (truncated ? 0x200u : 0u) | (uint32_t)rcode, 2);
    fake_put(&head, 1, 2);
    fake_put(&head, answers, 2);
    fake_put(&head, 0, 4);
    return (size_t)(at - out);
}

static inline void fake_serve_udp(struct fake_dns *f)
{
    uint8_t q[512], out[4096];
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    ssize_t n = recvfrom(f->udp, q, sizeof(q), 0, (struct sockaddr *)&from, &len);

    if (n <= 0)
        return;
    pthread_mutex_lock(&f->mutex);
    size_t m = fake_answer(f, q, (size_t)n, false, out);
    pthread_mutex_unlock(&f->mutex);
    if (m)
        sendto(f->udp, out, m, 0, (struct sockaddr *)&from, len);
}

static inline void fake_serve_tcp(struct fake_dns *f)
{
    uint8_t q[512], out[2 + 4096];
    struct timeval wait = {.tv_sec = 2};
    int fd = accept(f->tcp, NULL, NULL);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    while (recv(fd, q, 2, MSG_WAITALL) == 2) {
        ssize_t n = q[0] << 8 | q[1];
        if ((size_t)n > sizeof(q) || recv(fd, q, (size_t)n, MSG_WAITALL) != n)
            break;
        pthread_mutex_lock(&f->mutex);
        size_t m = fake_answer(f, q, (size_t)n, true, out + 2);
        pthread_mutex_unlock(&f->mutex);
        uint8_t *at = out;
        fake_put(&at, (uint32_t)m, 2);
        if (m && send(fd, out, m + 2, MSG_NOSIGNAL) < 0)
            break;
    }
    close(fd);
}

static inline void *fake_main(void *arg)
{
    struct fake_dns *f = arg;
    struct pollfd fds[3] = {{.fd = f->stop[0], .events = POLLIN},
                            {.fd = f->udp, .events = POLLIN},
                            {.fd = f->tcp, .events = POLLIN}};

    while (poll(fds, 3, -1) > 0 && !fds[0].revents) {
        if (fds[1].revents)
            fake_serve_udp(f);
        if (fds[2].revents)
            fake_serve_tcp(f);
    }
    return NULL;
}

static inline bool fake_listen(struct fake_dns *f)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);

    f->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    f->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (bind(f->tcp, (struct sockaddr *)&at, len) || listen(f->tcp, 16) ||
        getsockname(f->tcp, (struct sockaddr *)&at, &len))
        return false;
    f->port = ntohs(at.sin_port);
    return bind(f->udp, (struct sockaddr *)&at, len) == 0;
}

static inline bool fake_start(struct fake_dns *f)
{
    *f = (struct fake_dns){0};
    pthread_mutex_init(&f->mutex, NULL);
    /* The port that TCP got may be taken on UDP: another one then. */
    for (int i = 0; !fake_listen(f); i++) {
        close(f->tcp);
        close(f->udp);
        if (i == 20)
            return false;
    }
    return pipe(f->stop) == 0 && pthread_create(&f->thread, NULL, fake_main, f) == 0;
}

static inline void fake_stop(struct fake_dns *f)
{
    close(f->stop[1]);
    pthread_join(f->thread, NULL);
    close(f->stop[0]);
    close(f->udp);
    close(f->tcp);
    pthread_mutex_destroy(&f->mutex);
}

/* Adds the record or replaces the one of its name and type. */
static inline void fake_set(struct fake_dns *f, struct fake_record r)
{
    unsigned i = 0;

    pthread_mutex_lock(&f->mutex);
    while (i < f->nrecords && (strcmp(f->records[i].name, r.name) || f->records[i].type != r.type))
        i++;
    if (i < FAKE_RECORDS) {
        f->records[i] = r;
        f->nrecords += i == f->nrecords;
    }
    pthread_mutex_unlock(&f->mutex);
}

/* Forgets all records: every name is NXDOMAIN. */
static inline void fake_clear(struct fake_dns *f)
{
    pthread_mutex_lock(&f->mutex);
    f->nrecords = 0;
    pthread_mutex_unlock(&f->mutex);
}

static inline unsigned fake_asked(struct fake_dns *f)
{
    pthread_mutex_lock(&f->mutex);
    unsigned n = f->asked;
    pthread_mutex_unlock(&f->mutex);
    return n;
}

static inline unsigned fake_asked_tcp(struct fake_dns *f)
{
    pthread_mutex_lock(&f->mutex);
    unsigned n = f->asked_tcp;
    pthread_mutex_unlock(&f->mutex);
    return n;
}

#endif
