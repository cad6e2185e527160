/* SPDX-License-Identifier: Apache-2.0 */
/* A server: listening sockets of one thread, and the HTTP/1 connections they accept. */
#ifndef CONN_SERVER_H
#define CONN_SERVER_H

#include "conn/stream.h"

struct server;

/* Connections accepted by this server call the handler. The thread must outlive it. */
struct server *server_new(struct thread *t, const struct stream_handler *handler, void *owner);
/* How this server speaks TLS, for listeners that ask for it: find is called with the server's
 * owner. */
void server_set_tls(struct server *s, struct tls_server *tls, tls_find_fn *find);
/* A listening socket on addr, which has nothing of a thread yet. reuseport: several threads listen
 * on the same address, and the kernel shares connections out (SO_REUSEPORT). -1 with a message. */
int server_socket(const struct addr *addr, bool reuseport, struct arena *a, struct str *err);
/* Accepts what comes on the socket, which becomes the server's. On the server's thread, or before
 * it runs. False with a message in the arena; the socket is closed. */
bool server_adopt(struct server *s, int fd, const struct addr *addr, bool tls, struct arena *a,
                  struct str *err);
/* server_socket and server_adopt. */
bool server_listen(struct server *s, const struct addr *addr, bool tls, bool reuseport,
                   struct arena *a, struct str *err);
/* Stops listening there, having accepted who was waiting; what was accepted there comes to its end
 * as in server_drain. */
void server_unlisten(struct server *s, const struct addr *addr);
/* Whether nobody listens on addr yet. With reuseport two programs of one user would share an
 * address, and each answer some of the requests, without a word: this is asked once, before the
 * threads listen. False with a message in the arena. */
bool server_may_listen(const struct addr *addr, struct arena *a, struct str *err);
/* The owner given to server_new, for a stream's handler. */
void *stream_server_owner(const struct stream *s);
/* Begins no new connections; those that the kernel has begun are still served, and the listeners
 * close 250 ms later. Connections that are idle close within as long, others after their response.
 */
void server_drain(struct server *s);
/* Stops listening and closes all connections; their handlers are told (on_abort). */
void server_close(struct server *s);
/* For want of descriptors: closes up to max connections that wait for a request, old ones first,
 * and before all others those that have waited for a second. Returns how many. */
unsigned server_close_idle(struct server *s, unsigned max);
/* empty(owner) is called whenever, after server_drain, server_is_empty has come true. */
void server_on_empty(struct server *s, void (*empty)(void *owner));
/* Nobody is connected, and nobody can be any more. */
bool server_is_empty(const struct server *s);
/* Open connections. */
unsigned server_connections(const struct server *s);
/* Closes what is left, and frees. */
void server_free(struct server *s);

/* Parses "ip:port", "[ip]:port" or an ip with a port given apart; false: not an address. */
bool addr_parse(struct str ip, uint16_t port, struct addr *out);
socklen_t addr_size(const struct addr *a);

#endif
