/* SPDX-License-Identifier: Apache-2.0 */
/* The Admin API's listener: a thread of its own that speaks HTTP and hands each request to
 * admin_handle. */
#ifndef ADMIN_SERVER_H
#define ADMIN_SERVER_H

#include "admin/admin.h"
#include "conn/server.h"

struct admin_server;

/* Listens on addr; the thread is not running yet, so no request is answered before
 * admin_server_run. server_header: value of Server, absent: none; must live on. NULL with a
 * message. */
struct admin_server *admin_server_new(struct admin *admin, const struct addr *addr,
                                      struct str server_header, struct arena *a, struct str *err);
void admin_server_run(struct admin_server *s);
/* Stops listening, lets requests under way end (at most two seconds), ends the thread, frees. The
 * admin must still be there. */
void admin_server_stop(struct admin_server *s);

#endif
