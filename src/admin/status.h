/* SPDX-License-Identifier: Apache-2.0 */
/* The status API: whether the process is up, and whether it serves (APISIX: apisix.status). */
#ifndef ADMIN_STATUS_H
#define ADMIN_STATUS_H

#include "admin/server.h"

/* What the control side may ask about the workers; from any thread. */
struct control_workers {
    /* The version of the configuration that a worker serves; 0: it does not serve yet. */
    uint64_t (*serving)(void *arg, unsigned worker);
    void *arg;
    unsigned n; /* 0: this process has none (a control plane) */
};

/* GET /status: 200 {"status":"ok"}. GET /status/ready: the same once every worker serves, else 503
 * {"status":"error","error":…}. Answers at once, whatever the keeper is doing. The owner is a
 * struct control_workers. */
extern const struct admin_api status_api;

#endif
