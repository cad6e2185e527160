/* SPDX-License-Identifier: Apache-2.0 */
/* Reads all of a prefix of etcd at one revision, in pages. */
#ifndef STORE_ETCD_SYNC_H
#define STORE_ETCD_SYNC_H

#include "store/etcd_client.h"
#include "store/etcd_copy.h"

/* Calls each(arg, items, n) for each page of the keys that start with prefix, by key; the items
 * live during that one call. *revision gets that of the whole reading. False with *err: etcd failed
 * (its pages so far were given), or each said false. */
struct etcd_pages {
    struct etcd_client *client;
    struct str prefix;
    bool keys_only;
    bool few; /* few are expected: the first page is a small one */
    bool (*each)(void *arg, struct store_item *items, size_t n);
    void *arg;
};
bool etcd_pages_read(const struct etcd_pages *p, int64_t *revision, struct str *err);

/* What is in etcd below prefix and in the copy in another version or not at all, and what is in the
 * copy alone: a whole batch that brings the copy to etcd's state. Keys are without the prefix. The
 * values of what is alike are not read. NULL with *err. */
struct store_batch *etcd_compare(struct etcd_client *client, struct str prefix,
                                 struct etcd_copy *copy, struct str *err);

#endif
