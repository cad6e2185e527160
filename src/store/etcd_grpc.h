/* SPDX-License-Identifier: Apache-2.0 */
/* etcd's ranges as its gRPC service speaks them: messages of protobuf (etcd's
 * api/etcdserverpb/rpc.proto) with five bytes in front. Bytes in, records out; no connection. */
#ifndef STORE_ETCD_GRPC_H
#define STORE_ETCD_GRPC_H

#include "store/etcd_wire.h"

#define ETCD_GRPC_RANGE "/etcdserverpb.KV/Range"

/* The statuses that are looked at (https://grpc.io/docs/guides/status-codes). */
enum { ETCD_GRPC_OK = 0, ETCD_GRPC_UNIMPLEMENTED = 12 };

/* The request's body, in the arena. */
struct str etcd_grpc_request(struct arena *a, const struct etcd_range *r);
/* The reply's body; the items are in the arena, their strings in the body. False: it is no such
 * reply. */
bool etcd_grpc_read(struct str body, struct arena *a, struct etcd_items *out);

#endif
