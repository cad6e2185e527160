/* SPDX-License-Identifier: Apache-2.0 */
/* The control side's listeners: one thread that speaks HTTP for the Admin API, the control API and
 * their like, and hands each request to whom it is for. */
#ifndef ADMIN_SERVER_H
#define ADMIN_SERVER_H

#include "admin/admin.h"
#include "conn/server.h"

struct admin_server;

/* server_header: value of Server, absent: none; must live on. NULL when the kernel refuses. */
struct admin_server *admin_server_new(struct str server_header);
/* How a listener of the control side speaks TLS: files of PEM; cert absent: it does not. */
struct admin_tls_files {
    struct str cert, key;
    struct str ca; /* clients must show a certificate of theirs; absent: they need none */
};
/* Listens from now on with TLS, by this context. False with a message. */
bool admin_server_tls(struct admin_server *s, const struct admin_tls_files *files,
                      struct tls_server *tls, struct arena *a, struct str *err);
/* Listens on addr for that API, whose owner must outlive the server. With tls, after
 * admin_server_tls. Before admin_server_run. False with a message. */
bool admin_server_listen(struct admin_server *s, const struct addr *addr,
                         const struct admin_api *api, void *owner, bool tls, struct arena *a,
                         struct str *err);
/* Starts the thread: no request is answered before. */
void admin_server_run(struct admin_server *s);
/* Stops listening, lets requests under way end (at most two seconds), ends the thread, frees. */
void admin_server_stop(struct admin_server *s);

#endif
