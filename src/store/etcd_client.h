/* SPDX-License-Identifier: Apache-2.0 */
/* A client of etcd's JSON gateway over libcurl: several endpoints, a login, TLS, one watch. A
 * client belongs to one thread; it waits. */
#ifndef STORE_ETCD_CLIENT_H
#define STORE_ETCD_CLIENT_H

#include <jansson.h>
#include <stdatomic.h>

#include "store/etcd_wire.h"

struct etcd_endpoint {
    struct str url; /* "http://127.0.0.1:2379" */
    /* It hung: clients leave it alone until then (CLOCK_MONOTONIC, ms). Shared by all clients. */
    _Atomic int64_t sick_until;
    /* It has no gRPC service, as behind a proxy that speaks HTTP/1.1 alone. Shared likewise. */
    atomic_bool no_grpc;
};

struct etcd_options {
    struct etcd_endpoint *endpoints;
    unsigned nendpoints;
    struct str user, password; /* user empty: no login */
    struct str ca;             /* PEM file besides the system's; absent: none */
    struct str cert, key;      /* PEM files of ours; absent: none */
    struct str sni;            /* name to ask for and to verify; absent: the URL's host */
    bool verify;
    int64_t timeout_ms; /* of a whole call */
    int64_t sick_ms;    /* how long an endpoint that hung is left alone */
};

struct etcd_client;

/* The options must outlive the client; all their strings end with a NUL. `patient`: tries even
 * endpoints that hung lately when there are no others. */
struct etcd_client *etcd_client_new(const struct etcd_options *options, bool patient);
void etcd_client_free(struct etcd_client *c);
/* Whatever the client waits for ends now, and every later call fails (ETCD_STOPPED). From any
 * thread. */
void etcd_client_stop(struct etcd_client *c);

enum etcd_status {
    ETCD_OK,
    ETCD_REFUSED,  /* etcd said no: nothing was done */
    ETCD_AWAY,     /* no endpoint took the request: nothing was done */
    ETCD_DOUBT,    /* it was sent, and no answer came: it was done or it was not */
    ETCD_TOO_LONG, /* the reply is larger than ETCD_REPLY_MAX: it was done */
    ETCD_STOPPED,
};

enum { ETCD_REPLY_MAX = 256 << 20 };

/* POST of a request (the reference is taken) to a path such as "/v3/kv/range". One that only reads
 * goes to the next endpoint when one fails; one that writes does so only when it was certainly not
 * sent. *reply (a new reference) is set with ETCD_OK alone, *err otherwise: it is readable until
 * the client's next call. Waits timeout_ms at most for each endpoint. */
enum etcd_status etcd_call(struct etcd_client *c, bool writes, const char *path, json_t *request,
                           json_t **reply, struct str *err);

/* A range with a limit up to this is not worth a connection of its own. */
enum { ETCD_RANGE_SMALL = 64 };

/* The same for a range that may be large. It goes over gRPC, on a connection of its own, which
 * takes an eighth of what etcd needs for its JSON gateway; through that it goes when the limit is
 * up to ETCD_RANGE_SMALL, and where there is no gRPC (said in the log once). The items live in the
 * arena. */
enum etcd_status etcd_range_call(struct etcd_client *c, const struct etcd_range *range,
                                 struct arena *a, struct etcd_items *out, struct str *err);

/* ---- The watch: a reply without end, one message a line. Calls may be made beside it. ----
 */

/* Opens it on the endpoint that answered last; the reference is taken. False with *err. */
bool etcd_watch_open(struct etcd_client *c, json_t *request, struct str *err);
void etcd_watch_close(struct etcd_client *c);

enum etcd_watch {
    ETCD_WATCH_MESSAGE, /* a new reference in *message */
    ETCD_WATCH_NOTHING, /* nothing came in time */
    ETCD_WATCH_ENDED,   /* *err says why */
};

enum etcd_watch etcd_watch_next(struct etcd_client *c, int64_t wait_ms, json_t **message,
                                struct str *err);
/* When the last bytes of the watch came (CLOCK_MONOTONIC, ms). */
int64_t etcd_watch_heard(const struct etcd_client *c);

/* Waits, or until etcd_client_stop. False: stopped. */
bool etcd_client_sleep(struct etcd_client *c, int64_t ms);

int64_t etcd_clock_ms(void);

#endif
