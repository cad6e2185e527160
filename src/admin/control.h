/* SPDX-License-Identifier: Apache-2.0 */
/* The control API: what the process knows and does, for operators on the same machine.
 * APISIX 3.18's paths and bodies (apisix/control/v1.lua), and our own below /v1/eclusa. No key: it
 * listens on loopback. */
#ifndef ADMIN_CONTROL_H
#define ADMIN_CONTROL_H

#include "admin/status.h"

/* A node as its health checker sees it. */
struct control_node {
    struct str host, ip;
    struct str host_header; /* absent: none */
    uint16_t port;
    const char *status; /* "healthy", "unhealthy", "mostly_healthy", "mostly_unhealthy" */
    unsigned success, http_failure, tcp_failure, timeout_failure;
};

/* Where the states of nodes are known. On any thread. */
struct control_health {
    /* Calls each for the nodes of the checker of that resource ("/routes/1"). NULL: there are no
     * checkers. */
    void (*nodes)(void *arg, struct str key,
                  void (*each)(void *to, const struct control_node *node), void *to);
    void *arg;
};

struct control {
    struct admin *admin;
    struct keeper *keeper;
    struct jobs *jobs; /* make long replies; must live on */
    struct control_workers workers;
    struct control_health health;
};

/* The owner is a struct control. */
extern const struct admin_api control_api;

#endif
