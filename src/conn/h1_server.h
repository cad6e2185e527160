/* SPDX-License-Identifier: Apache-2.0 */
/* The server's HTTP/1 connections; private to conn/. */
#ifndef CONN_H1_SERVER_H
#define CONN_H1_SERVER_H

#include "conn/server.h"

struct listener;

struct server {
    struct thread *thread;
    const struct stream_handler *handler;
    void *owner;
    struct tls_server *tls; /* server_set_tls */
    tls_find_fn *find;
    struct listener *listeners;
    uint64_t nlisteners; /* so far; their serial numbers */
    struct list connections;
    unsigned count;
    bool draining;
    struct timer last_call;        /* draining: the listeners close */
    void (*on_empty)(void *owner); /* server_on_empty */
};

/* Takes over a descriptor that the listener of that number accepted. */
void h1_server_accept(struct server *s, int fd, const struct addr *peer, uint64_t listener,
                      bool tls);
struct server *h1_server_of(const struct stream *s);
/* After a connection has gone. */
void server_closed_one(struct server *s);
/* Idle connections have a moment left for a request that is on its way; no connection is kept. */
void h1_server_drain(struct server *s);
/* The same for the connections of one listener. */
void h1_server_drain_of(struct server *s, uint64_t listener);
void h1_server_close_all(struct server *s);
/* Closes up to max connections that have waited for a request so long. Returns how many. */
unsigned h1_server_close_idle(struct server *s, unsigned max, int64_t for_ms);

#endif
