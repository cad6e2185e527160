/* SPDX-License-Identifier: Apache-2.0 */
/* What the prober knows, for those who ask from other threads. */
#include "upstream/prober_int.h"

static void show(const struct checked *up, const struct probed *n, const struct target *t,
                 prober_node_fn *each, void *to)
{
    struct health h = health_of(t->peer);
    char ip[56];
    struct prober_node node = {
        .ip = str_make(ip, sock_addr_text(&t->peer->addr.sa, ip, false)),
        .port = up->checks->port ? up->checks->port : n->port,
        .host_header = up->upstream_host.p ? up->upstream_host
                       : n->name           ? n->host
                                           : STR_NONE,
        .health = h,
    };

    node.host = up->checks->host.p ? up->checks->host : node.ip;
    each(to, &node);
}

void prober_nodes(struct prober *p, struct str key, prober_node_fn *each, void *to)
{
    pthread_mutex_lock(&p->lock);
    const struct checked *up = trie_get(p->by_key, key, TRIE_EXACT);
    for (unsigned i = 0; up && i < up->nnodes; i++) {
        const struct probed *n = up->nodes[i];
        for (const struct list *l = n->targets.next; l != &n->targets; l = l->next)
            show(up, n, CONTAINER(l, struct target, link), each, to);
    }
    pthread_mutex_unlock(&p->lock);
}
