/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the prober share. An upstream with checks has nodes, configured or found by the
 * service that it names; a node has targets: its address, or those of its name. A target is one
 * peer, its timer, and the probe under way. */
#ifndef UPSTREAM_PROBER_INT_H
#define UPSTREAM_PROBER_INT_H

#include <pthread.h>

#include "base/trie.h"
#include "conn/client.h"
#include "upstream/health.h"
#include "upstream/prober.h"

enum {
    PROBES_MAX = 256, /* under way at the same time, of all upstreams */
    NAME_MS = 1000,   /* between two looks at a name's addresses, or a service's records */
};

struct checked;

struct target {
    struct list link; /* in node->targets */
    struct probed *node;
    struct peer *peer;
    struct timer timer; /* the next probe, or a look at what requests have found */
    struct list due;    /* in upstream->due: its time has come */
    int64_t last_ms;    /* when the last probe began, or would have */
    bool first;         /* there was none yet */
    bool busy;          /* one is under way: */
    struct leg leg;
    struct timer deadline;
    bool connected;
};

struct probed {
    struct checked *upstream;
    uint16_t port;
    bool absolute;         /* the host is a whole name: of a service's record */
    struct dns *dns;       /* that knows the name */
    struct dns_name *name; /* NULL: host is an address */
    uint32_t generation;   /* of the name's addresses that the targets are */
    struct timer timer;    /* the name is looked at again */
    struct dns_wait wait;
    bool waiting;
    struct list targets;
    struct str host; /* behind the struct */
};

/* What an upstream with discovery_type dns names. */
struct probed_service {
    struct checked *upstream;
    struct service_at at;
    enum discovered told; /* what the upstream's nodes were made of last; PENDING: nothing yet */
    uint32_t generation;  /* of the records */
    struct timer timer;   /* it is looked at again */
    struct dns_wait wait;
    bool waiting;
    /* at.host is behind the struct */
};

/* An upstream with checks; all that it has is its own, so that no snapshot is held. */
struct checked {
    struct prober *prober;
    struct arena arena; /* the next two */
    const struct checks *checks;
    struct str upstream_host;       /* with pass_host rewrite; absent: none */
    struct peer_set *set;           /* has its key */
    struct probed_service *service; /* NULL: its nodes are configured */
    struct probed **nodes;          /* by host and port, each once */
    unsigned nnodes;
    struct list due;   /* targets that wait for a place */
    struct list ready; /* in prober->ready: it has some, and may begin one */
    unsigned running;  /* probes under way */
};

struct prober {
    struct thread thread;
    struct prober_config config;
    struct dns *dns;
    struct discovery discovery;
    /* Only the prober's thread changes what follows, and holds the lock while it does; whoever
     * reads it on another thread holds the lock. */
    pthread_mutex_t lock;
    struct checked **slots; /* by the upstream's slot; NULL: without checks */
    uint32_t nslots;
    struct trie *by_key; /* of struct checked */
    /* its thread's own */
    uint64_t seen; /* version of the snapshot it follows */
    struct list ready;
    struct task pump;
    unsigned running;
    int64_t starved_ms; /* when a probe last could not begin for want of descriptors or the like */
    pthread_t id;
    bool started;
};

static inline struct loop *prober_loop(struct prober *p)
{
    return &p->thread.loop;
}

static inline struct prober *target_prober(const struct target *t)
{
    return t->node->upstream->prober;
}

/* ---- prober.c ---- */

/* These are the upstream's nodes now; those that stay keep all that is known of them. absolute:
 * their names are whole. Under the lock. */
void nodes_take(struct checked *up, const struct node *nodes, unsigned n, bool absolute);

/* ---- prober_service.c ---- */

/* The upstream's nodes will be those of the service that u names; until it has answered they are
 * what they were. */
void service_take(struct checked *up, const struct upstream *u);
/* It names none (any more). */
void service_drop(struct checked *up);

/* ---- prober_node.c ---- */

/* A node of the upstream, probed from now on. */
struct probed *probed_new(struct checked *up, struct str host, uint16_t port, bool absolute);
/* Gives up its probes; its peers are healthy for whoever still knows them. */
void probed_free(struct probed *n);
/* The checks have become others: what waits for longer than they say waits no more. */
void probed_hasten(struct probed *n);

/* ---- prober_queue.c ---- */

/* Sets the timer for what the checks and the peer's state say. */
void target_arm(struct target *t);
/* The timer's end. */
void target_on_timer(struct timer *timer);
/* The target is in no queue any more. */
void target_unqueue(struct target *t);
/* The probe is over. */
void target_done(struct target *t);
/* Begins what is due and has room (prober->pump). */
void prober_pump(struct task *task);

/* ---- probe.c ---- */

/* Begins a probe; its outcome goes to the peer, then target_done is called, later or at once. */
void probe_start(struct target *t);
/* No outcome, and no target_done. */
void probe_abandon(struct target *t);
void probe_on_deadline(struct timer *timer);

#endif
