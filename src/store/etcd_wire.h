/* SPDX-License-Identifier: Apache-2.0 */
/* etcd's v3 API as its gRPC gateway speaks it: JSON with keys and values in base64 and 64-bit
 * numbers as strings (etcd's api/etcdserverpb/rpc.proto). Texts in, records out; no connection. */
#ifndef STORE_ETCD_WIRE_H
#define STORE_ETCD_WIRE_H

#include <jansson.h>

#include "store/store.h"

/* The gRPC status codes that mean something to us ("code" of an error). */
enum { ETCD_CODE_DENIED = 7, ETCD_CODE_UNAVAILABLE = 14, ETCD_CODE_UNAUTHENTICATED = 16 };

/* The first key behind all that start with prefix, in the arena; "\0" (etcd: no end) when there is
 * none. */
struct str etcd_prefix_end(struct arena *a, struct str prefix);
/* The first key behind this one. */
struct str etcd_key_next(struct arena *a, struct str key);

/* ---- Requests: new references ----
 */

struct etcd_range {
    struct str key, end; /* end absent: that key alone */
    int64_t limit;       /* 0: none */
    int64_t revision;    /* 0: the newest */
    bool keys_only;
};

json_t *etcd_range_request(const struct etcd_range *r);
json_t *etcd_put_request(struct str key, struct str value);
/* Of the keys from `key` up to `end`. */
json_t *etcd_delete_request(struct str key, struct str end);
json_t *etcd_watch_request(struct str key, struct str end, int64_t from_revision);
json_t *etcd_login_request(struct str user, struct str password);
json_t *etcd_grant_request(int64_t ttl_s);

/* A transaction: what is to hold, and what is done then, all of it or nothing. */
json_t *etcd_txn_request(void);
/* The key's modified revision is this one; 0: it is not there. */
void etcd_txn_expect(json_t *txn, struct str key, int64_t revision);
void etcd_txn_put(json_t *txn, struct str key, struct str value, int64_t lease);
void etcd_txn_delete(json_t *txn, struct str key);
/* revision 0: the newest. */
void etcd_txn_get(json_t *txn, struct str key, int64_t revision);

/* ---- Replies ----
 */

/* 0: no such number. */
int64_t etcd_number(const json_t *object, const char *name);
/* header.revision; 0: not there. */
int64_t etcd_revision(const json_t *reply);

struct etcd_items {
    struct store_item *items; /* in the arena, keys with their prefix */
    size_t n;
    int64_t revision;
    bool more; /* beyond the limit */
};

/* False: it is no such reply. */
bool etcd_range_read(const json_t *reply, struct arena *a, struct etcd_items *out);
/* What get number i of a transaction found. False: it is no such reply; *out without a value: the
 * key is not there. */
bool etcd_txn_read(const json_t *reply, size_t i, struct arena *a, struct store_item *out);

struct etcd_event {
    int64_t revision; /* of the store, when it was sent */
    /* The watch has ended; then compacted is the oldest revision left, 0: it ended otherwise. */
    bool canceled;
    int64_t compacted;
    struct str reason;
    bool created;             /* the watch's first message, without changes */
    struct store_item *items; /* absent value: deleted, created 0; keys with their prefix */
    size_t n;
};

/* A message of a watch; false: it is none, *reason of an error message is set. */
bool etcd_event_read(const json_t *message, struct arena *a, struct etcd_event *out);

/* What it says when the user may not do what was asked for. */
#define ETCD_FORBIDDEN "etcd forbidden code: 403"
/* What an error reply says, in APISIX's words where it has some (apisix/core/etcd.lua); absent: it
 * is no error. *code gets the gRPC status. */
struct str etcd_error_read(const json_t *reply, int *code);

#endif
