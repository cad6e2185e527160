/* SPDX-License-Identifier: Apache-2.0 */
/* The Admin API without its transport: a request in, a reply out. APISIX 3.18's paths, bodies and
 * wording (apisix/admin). Whoever listens (conn/) makes requests and sends replies. */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include <netinet/in.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/cidr.h"
#include "base/str.h"
#include "config/settings.h"
#include "loop/jobs.h"
#include "plugin/plugin.h"
#include "store/keeper.h"

/* Bytes of a request body. A longer one need not be read: body_size alone gets it refused. */
enum { ADMIN_BODY_MAX = 1572864 };
/* The same of PUT configs, from who has a key that may write. */
enum { CONFIGS_BODY_MAX = 256 << 20 };

/* deployment.admin.* of config.yaml. Copied by admin_new. */
struct admin_config {
    const struct settings_admin_key *keys; /* none, with key_required: nobody gets in */
    size_t nkeys;
    bool key_required;
    struct cidr_list allow; /* allow_admin; empty: nobody but local peers */
    bool cors;              /* enable_admin_cors */
    bool v3;                /* admin_api_version is v3 */
    bool stream;            /* apisix.proxy_mode has stream */
    bool whole;             /* the keeper's store is one of store/whole.h */
    struct str prefix;      /* of keys as they are shown: "/apisix" */
    int64_t live_ms;        /* how long a write waits for all workers to serve it; 0: 5 s */
    const struct plugin *const *plugins; /* NULL-ended: those that are enabled; must live on */
    struct str ui_dir; /* folder of the web interface below /ui/ (ui.h); absent: there is none */
    struct jobs *jobs; /* read its files; must live on */
};

struct admin_request {
    struct str method;
    struct str path;  /* normalised: decoded, no dot segments, no double slashes */
    struct str query; /* without `?`, as received; may be absent */
    /* First header of that name in any case, absent: p == NULL. Called inside admin_handle only. */
    struct str (*header)(void *arg, struct str name);
    void *header_arg;
    struct str body;
    size_t body_size; /* announced or received; above ADMIN_BODY_MAX body is not read */
    const struct sockaddr *client; /* NULL: a local peer, which may always come in */
};

enum { ADMIN_HEADERS_MAX = 8 };

struct admin_header {
    struct str name, value;
};

struct admin_reply {
    int status;
    struct str content_type;                        /* absent: none */
    struct admin_header headers[ADMIN_HEADERS_MAX]; /* but Content-Type, -Length, Server, Date */
    unsigned nheaders;
    struct str body;
    struct arena arena; /* everything above lives here */
    /* What is counted off when the reply is freed; NULL: nothing. */
    atomic_size_t *held;
    size_t held_bytes;
};

struct admin;

/* The keeper must live longer. */
struct admin *admin_new(const struct admin_config *config, struct keeper *keeper);
/* After the last `done`. */
void admin_free(struct admin *admin);

/* Takes the request in (everything is copied before it returns; nothing waits), runs it on the
 * keeper's thread, and calls done there; who may not come in is told at once.
 * When done is called a write is durable and on its way to every worker. The reply is done's to
 * give to admin_reply_free, on any thread. From any thread. */
typedef void admin_done_fn(void *arg, struct admin_reply *reply);
void admin_handle(struct admin *admin, const struct admin_request *request, admin_done_fn *done,
                  void *arg);
void admin_reply_free(struct admin_reply *reply);

/* One API behind a listener (server.h). */
struct admin_api {
    /* Takes the request in (what it keeps it copies) and calls done(arg, reply) once, at once or
     * later, on any thread; must not wait. */
    void (*handle)(void *owner, const struct admin_request *request, admin_done_fn *done,
                   void *arg);
    /* Bytes of a body that are read before handle, by the request's head; a longer one is handed
     * over unread, with its size. NULL: 0. */
    size_t (*body_max)(void *owner, const struct admin_request *head);
};

/* admin_handle; its owner is a struct admin. */
extern const struct admin_api admin_api;

#endif
