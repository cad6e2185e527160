/* SPDX-License-Identifier: Apache-2.0 */
/* The store in etcd, laid out as APISIX does: PREFIX/routes/1 and so on, values as JSON. */
#ifndef STORE_ETCD_H
#define STORE_ETCD_H

#include "store/store.h"

/* config.yaml's deployment.etcd. */
struct etcd_config {
    const struct str *hosts; /* "http://127.0.0.1:2379", one at least */
    unsigned nhosts;
    struct str prefix;             /* "/apisix" */
    struct str user, password;     /* user empty: no login */
    struct str ca, cert, key, sni; /* absent: none */
    bool verify;
    int64_t timeout_ms; /* of a call */
    int64_t watch_ms;   /* a watch that was silent for so long is opened anew */
    int64_t resync_ms;  /* longest pause between two tries to get back in sync */
    int64_t sick_ms;    /* how long an endpoint that hung is left alone */
    unsigned tries;     /* at start */
    struct str data_dir;
};

/* Brings the local copy, data_dir/etcd.db, to etcd's state, and opens the store. When etcd cannot
 * be reached the copy of an earlier run serves (said in the log); when there is none, NULL with a
 * message in the arena. Holds data_dir/lock. The config is copied. */
struct store *store_etcd_open(const struct etcd_config *config, struct arena *a, struct str *err);
/* Only for calls, beside gateways that serve from it: no copy, no watch, no lock. */
struct store *store_etcd_connect(const struct etcd_config *config, struct arena *a,
                                 struct str *err);

#endif
