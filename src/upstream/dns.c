/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of names and its look-ups: when a name is looked up, by whom it is waited for, what its
 * answer changes. c-ares (1.18) speaks with the servers and reads /etc/hosts; it is only ever
 * called from the loop, never on the stack of somebody who asks. */
#include "upstream/dns.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/panic.h"
#include "upstream/dns_channel.h"
#include "upstream/resolv_conf.h"

enum {
    NAMES_MAX = 65536,     /* all further names share one that always fails */
    HOST_MAX = 254,        /* RFC 1035 §2.3.4, with a final dot */
    ASKED_MAX = 512,       /* look-ups under way at c-ares; others queue */
    START_BATCH = 16,      /* look-ups begun in one turn: each reads the hosts file */
    TTL_MIN_MS = 1000,     /* of answers; */
    TTL_MAX_MS = 3600000,  /* longer ones are looked up again after an hour */
    FILE_MS = 10000,       /* /etc/hosts has no TTLs */
    NO_RECORDS_MS = 30000, /* a service without SRV records is asked for them again */
    PARTIAL_MS = 5000,     /* one address family could not be had */
    RESOLV_MS = 1000,      /* between two looks at resolv.conf, while there are look-ups */
    RETRY_MIN_MS = 1000,   /* after a failure; doubles */
    RETRY_MAX_MS = 30000,
    STALE_MS = 30000, /* an answer nobody asked for since, this long after its end, is not used
                         before it is looked up: the address may be another's by now */
    TIMEOUT_DEFAULT_MS = 5000,
    UNUSED_MS = 60000, /* a name that nobody holds is kept so long after it was asked for, */
    SWEEP_MS = 1000,   /* and this lies between two looks for such names */
};

/* At most one look-up per name: it is queued, then asked (c-ares has it), then over. */
enum phase { IDLE, QUEUED, ASKED };

struct entry {
    struct dns_name name;
    struct dns *d;
    struct entry *next; /* in its bucket */
    uint64_t hash;
    struct list queued; /* in dns.queue: QUEUED */
    struct list ended;  /* in dns.ended: waiters are to be told */
    struct list waiters;
    struct timer
        deadline;    /* of the look-up; after it waiters have been told, an answer still counts */
    int64_t next_at; /* no look-up before; until then the answer is fresh */
    enum phase phase;
    int family;     /* of this look-up: AF_UNSPEC; or the one family that is asked for once more */
    unsigned fails; /* in a row */
    bool late;      /* the deadline of the look-up has passed */
    bool too_old;   /* the answer is not used before this look-up has ended */
    bool full;      /* stands for all names beyond NAMES_MAX */
    bool service;   /* SRV records are asked for, not addresses */
    bool answered;  /* a service: records or their absence are known */
    unsigned users; /* who holds it */
    int64_t got_ms; /* dns_name or dns_service last gave it */
    char *absolute; /* what a search domain made of the name, for asking once more */
    char host[];    /* NUL-terminated */
};

/* A descriptor of c-ares. */
struct watch {
    struct grave grave;
    struct io io;
    struct list link;
    struct dns *d;
};

struct dns {
    struct loop *loop;
    ares_channel channel;
    struct dns_config config; /* its strings are in the arena */
    struct arena arena;
    struct resolv_conf resolv;
    int64_t resolv_at; /* no look at it before */
    bool renewing;     /* look-ups of the old channel go to the new one */
    int64_t valid_ms, timeout_ms;
    bool ipv6;
    struct entry **buckets;
    unsigned nbuckets, nnames; /* a power of two */
    uint32_t generations;      /* so far, of all names: one that comes again is not taken for old */
    struct entry *overflow;    /* see NAMES_MAX; made when needed */
    int64_t sweep_ms;          /* no sweep before */
    struct list queue, ended, socks;
    unsigned asked;
    const struct entry *starting; /* within ares_getaddrinfo: a success is from the hosts file */
    struct task task;
    struct timer tick; /* c-ares's own next time-out */
};

static struct entry *entry_of(struct dns_name *name)
{
    return CONTAINER(name, struct entry, name);
}

static bool has_answer(const struct entry *e)
{
    return e->service ? e->answered : e->name.naddrs > 0;
}

/* ---- what an answer changes --------------------------------------------------------------------
 */

static int addr_cmp(const void *one, const void *two)
{
    const struct addr *a = one, *b = two;

    if (a->sa.sa_family != b->sa.sa_family)
        return a->sa.sa_family == AF_INET ? -1 : 1;
    if (a->sa.sa_family == AF_INET)
        return memcmp(&a->in.sin_addr, &b->in.sin_addr, sizeof(a->in.sin_addr));
    return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof(a->in6.sin6_addr));
}

/* Takes the list. Sorted, so that the same set is the same list whatever order a server gives. */
static void set_addrs(struct entry *e, struct addr *list, unsigned n)
{
    unsigned kept = 0;

    qsort(list, n, sizeof(*list), addr_cmp);
    for (unsigned i = 0; i < n; i++)
        if (kept == 0 || addr_cmp(&list[kept - 1], &list[i]) != 0)
            list[kept++] = list[i];
    bool same = kept == e->name.naddrs;
    for (unsigned i = 0; same && i < kept; i++)
        same = addr_cmp(&list[i], &e->name.addrs[i]) == 0;
    if (same) {
        free(list);
        return;
    }
    free((void *)(uintptr_t)e->name.addrs);
    e->name.addrs = list;
    e->name.naddrs = kept;
    e->name.generation = ++e->d->generations;
    log_info("dns: \"%s\" has %u address%s now", e->host, kept, kept == 1 ? "" : "es");
}

static bool has_family(const struct entry *e, int family)
{
    for (unsigned i = 0; i < e->name.naddrs; i++)
        if (e->name.addrs[i].sa.sa_family == family)
            return true;
    return false;
}

static unsigned count_nodes(const struct ares_addrinfo *ai, int family)
{
    unsigned n = 0;

    for (const struct ares_addrinfo_node *node = ai->nodes; node; node = node->ai_next)
        n += family == AF_UNSPEC || node->ai_family == family;
    return n;
}

/* The answer's addresses, and those of the `kept` family that the name has already; 0: none. */
static void take_addrs(struct entry *e, const struct ares_addrinfo *ai, int kept)
{
    unsigned n = 0, max = e->name.naddrs + (ai ? count_nodes(ai, AF_UNSPEC) : 0);
    struct addr *list = mem_zero((max ? max : 1) * sizeof(*list));

    for (unsigned i = 0; i < e->name.naddrs; i++)
        if (e->name.addrs[i].sa.sa_family == kept)
            list[n++] = e->name.addrs[i];
    for (const struct ares_addrinfo_node *node = ai ? ai->nodes : NULL; node;
         node = node->ai_next) {
        struct addr *to = &list[n];
        if (node->ai_family == AF_INET) {
            to->in = *(const struct sockaddr_in *)(const void *)node->ai_addr;
            to->in.sin_port = 0;
            n++;
        } else if (node->ai_family == AF_INET6) {
            to->in6 = *(const struct sockaddr_in6 *)(const void *)node->ai_addr;
            to->in6.sin6_port = 0;
            n++;
        }
    }
    set_addrs(e, list, n);
}

/* The shortest of all records, aliases included (RFC 1034 §3.6.2); a TTL with its top bit set is 0
 * (RFC 2181 §8). */
static int64_t answer_ms(const struct dns *d, const struct ares_addrinfo *ai)
{
    int64_t ttl = TTL_MAX_MS / 1000;

    if (d->valid_ms > 0)
        return d->valid_ms;
    for (const struct ares_addrinfo_node *node = ai->nodes; node; node = node->ai_next)
        ttl = node->ai_ttl < ttl ? node->ai_ttl : ttl;
    for (const struct ares_addrinfo_cname *c = ai->cnames; c; c = c->next)
        ttl = c->ttl < ttl ? c->ttl : ttl;
    return ttl * 1000 < TTL_MIN_MS ? TTL_MIN_MS : ttl * 1000;
}

/* ---- the end of a look-up -----------------------------------------------------------------------
 */

/* Waiters are told by the task: their callbacks must not run inside c-ares. */
static void tell_later(struct entry *e)
{
    if (list_empty(&e->ended))
        list_append(&e->d->ended, &e->ended);
    loop_defer(e->d->loop, &e->d->task);
}

static void succeeded(struct entry *e, int64_t valid_ms)
{
    e->next_at = e->d->loop->now_ms + valid_ms;
    if (e->fails)
        log_warn("dns: \"%s\" can be resolved again", e->host);
    e->fails = 0;
}

static void failed(struct entry *e, const char *why)
{
    int64_t pause = RETRY_MIN_MS;

    if (has_answer(e))
        for (unsigned i = 0; i < e->fails && pause < RETRY_MAX_MS; i++)
            pause *= 2;
    e->next_at = e->d->loop->now_ms + (pause < RETRY_MAX_MS ? pause : RETRY_MAX_MS);
    if (e->fails++ == 0) {
        if (has_answer(e))
            log_warn("dns: \"%s\" cannot be resolved any more: %s; its last answer stays in use",
                     e->host, why);
        else
            log_warn("dns: \"%s\" cannot be resolved: %s", e->host, why);
    }
}

static void enqueue(struct entry *e, int family)
{
    e->phase = QUEUED;
    e->family = family;
    list_append(&e->d->queue, &e->queued);
    loop_defer(e->d->loop, &e->d->task);
}

/* Its channel goes: because there is another, or with all names. */
static void ask_again(struct entry *e)
{
    if (!e->d->renewing)
        return;
    e->d->asked--;
    enqueue(e, e->family);
}

static void finish(struct entry *e)
{
    e->phase = IDLE;
    e->late = false;
    free(e->absolute);
    e->absolute = NULL;
    timer_clear(&e->d->loop->timers, &e->deadline);
}

static bool is_localhost(struct str host)
{
    static const struct str local = {"localhost", 9};

    if (host.n && host.p[host.n - 1] == '.')
        host.n--;
    if (host.n < local.n || !str_eq_nocase(str_from(host, host.n - local.n), local))
        return false;
    return host.n == local.n || host.p[host.n - local.n - 1] == '.';
}

/* RFC 6761 §6.3: these names mean this host, whatever servers say. */
static void take_loopback(struct entry *e)
{
    struct addr *list = mem_zero(2 * sizeof(*list));

    list[0].in = (struct sockaddr_in){.sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    list[1].in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    set_addrs(e, list, e->d->ipv6 ? 2 : 1);
    succeeded(e, FILE_MS);
}

/* c-ares gives a success when either family was answered and does not tell why the other is absent.
 * A family that was there before, or IPv4 where nothing was known, is asked for once more, alone,
 * before it is given up. Returns it; 0: none. */
static int doubtful_family(const struct entry *e, const struct ares_addrinfo *ai)
{
    if (!e->d->ipv6)
        return 0;
    if (!count_nodes(ai, AF_INET) && (has_family(e, AF_INET) || !e->name.naddrs))
        return AF_INET;
    if (!count_nodes(ai, AF_INET6) && has_family(e, AF_INET6))
        return AF_INET6;
    return 0;
}

static void take_answer(struct entry *e, const struct ares_addrinfo *ai, bool from_file)
{
    int doubtful = from_file ? 0 : doubtful_family(e, ai);

    take_addrs(e, ai, doubtful);
    succeeded(e, from_file ? FILE_MS : answer_ms(e->d, ai));
    if (!doubtful) {
        finish(e);
        return;
    }
    /* With a final dot: search domains do not apply again. */
    const char *found = ai->name ? ai->name : e->host;
    size_t n = strlen(found);
    e->absolute = mem_alloc(n + 2);
    memcpy(e->absolute, found, n);
    if (n == 0 || found[n - 1] != '.')
        e->absolute[n++] = '.';
    e->absolute[n] = 0;
    enqueue(e, doubtful);
}

/* The second question's answer: its family is replaced, removed, or kept when no server says. */
static void take_second(struct entry *e, int status, const struct ares_addrinfo *ai)
{
    int other = e->family == AF_INET ? AF_INET6 : AF_INET;
    int64_t now = e->d->loop->now_ms;

    if (status == ARES_SUCCESS) {
        int64_t until = now + answer_ms(e->d, ai);
        take_addrs(e, ai, other);
        e->next_at = until < e->next_at ? until : e->next_at;
    } else if (status == ARES_ENODATA || status == ARES_ENOTFOUND) {
        take_addrs(e, NULL, other);
    } else if (now + PARTIAL_MS < e->next_at) {
        e->next_at = now + PARTIAL_MS;
    }
    finish(e);
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *ai)
{
    struct entry *e = arg;
    struct dns *d = e->d;
    bool usable = status == ARES_SUCCESS && ai && count_nodes(ai, AF_UNSPEC) > 0;

    (void)timeouts;
    if (status == ARES_EDESTRUCTION) {
        ask_again(e);
        return;
    }
    d->asked--;
    if (e->family != AF_UNSPEC) {
        take_second(e, usable || status != ARES_SUCCESS ? status : ARES_ENODATA, ai);
    } else if (usable) {
        take_answer(e, ai, d->starting == e);
    } else if (is_localhost(e->name.host)) {
        take_loopback(e);
        finish(e);
    } else {
        /* A failure that the deadline counted is not counted again. */
        if (!e->late)
            failed(e, ares_strerror(status == ARES_SUCCESS ? ARES_ENODATA : status));
        finish(e);
    }
    if (ai)
        ares_freeaddrinfo(ai);
    tell_later(e);
}

static void set_records(struct entry *e, struct srv_record *records, unsigned n)
{
    struct srv_record *old = (struct srv_record *)(uintptr_t)e->name.records;
    bool first = !e->answered;

    e->answered = true;
    if (!first && srv_equal(records, n, old, e->name.nrecords)) {
        srv_free(records, n);
        return;
    }
    srv_free(old, e->name.nrecords);
    e->name.records = records;
    e->name.nrecords = n;
    e->name.generation = ++e->d->generations;
    log_info("dns: service \"%s\" has %u record%s now", e->host, n, n == 1 ? "" : "s");
}

static int64_t records_ms(const struct dns *d, const struct srv_answer *answer)
{
    int64_t ms = (int64_t)answer->ttl * 1000;

    if (d->valid_ms > 0)
        return d->valid_ms;
    if (!answer->n)
        return NO_RECORDS_MS;
    return ms < TTL_MIN_MS ? TTL_MIN_MS : ms > TTL_MAX_MS ? TTL_MAX_MS : ms;
}

/* That there are no records is an answer. */
static void on_records(void *arg, int status, int timeouts, unsigned char *message, int size)
{
    struct entry *e = arg;
    struct dns *d = e->d;
    struct srv_answer answer = {.n = 0};
    bool none = status == ARES_ENODATA || status == ARES_ENOTFOUND;

    (void)timeouts;
    if (status == ARES_EDESTRUCTION) {
        ask_again(e);
        return;
    }
    d->asked--;
    if (status == ARES_SUCCESS && !srv_parse(message, (size_t)size, &answer))
        status = ARES_EBADRESP;
    if (status == ARES_SUCCESS || none) {
        succeeded(e, records_ms(d, &answer));
        set_records(e, answer.records, answer.n);
    } else if (!e->late) {
        failed(e, ares_strerror(status));
    }
    finish(e);
    tell_later(e);
}

/* Waiters are let go; c-ares may still get an answer, and it will be taken. */
static void on_deadline(struct timer *t)
{
    struct entry *e = CONTAINER(t, struct entry, deadline);

    /* The second question holds nobody up. */
    if (e->family != AF_UNSPEC)
        return;
    failed(e, "no answer in time");
    e->late = true;
    tell_later(e);
}

/* ---- the beginning of a look-up -----------------------------------------------------------------
 */

static bool under_way(const struct entry *e)
{
    return e->phase != IDLE && !e->late && e->family == AF_UNSPEC;
}

static void look_up(struct entry *e)
{
    int64_t now = e->d->loop->now_ms;

    e->too_old = has_answer(e) && e->fails == 0 && now - e->next_at > STALE_MS;
    e->late = false;
    enqueue(e, AF_UNSPEC);
    loop_timer(e->d->loop, &e->deadline, e->d->timeout_ms);
}

static void ask(struct dns *d, struct entry *e)
{
    struct ares_addrinfo_hints hints = {
        /* In our order; CARES_HOSTS may name another hosts file. */
        .ai_flags = ARES_AI_NOSORT | ARES_AI_ENVHOSTS,
        .ai_family = e->family != AF_UNSPEC ? e->family
                     : d->ipv6              ? AF_UNSPEC
                                            : AF_INET,
        .ai_socktype = SOCK_STREAM,
    };

    e->phase = ASKED;
    d->asked++;
    if (e->name.host.n == 0 || e->name.host.n > HOST_MAX || strlen(e->host) != e->name.host.n) {
        if (e->service)
            on_records(e, ARES_EBADNAME, 0, NULL, 0);
        else
            on_answer(e, ARES_EBADNAME, 0, NULL);
        return;
    }
    if (e->service) {
        ares_search(d->channel, e->host, ns_c_in, ns_t_srv, on_records, e);
        return;
    }
    d->starting = e;
    ares_getaddrinfo(d->channel, e->absolute ? e->absolute : e->host, NULL, &hints, on_answer, e);
    d->starting = NULL;
}

/* After each call that may have made c-ares send something. */
static void set_tick(struct dns *d)
{
    struct timeval tv, *next = ares_timeout(d->channel, NULL, &tv);

    if (!next)
        timer_pause(&d->tick);
    else /* It cuts off the microseconds. */
        loop_timer(d->loop, &d->tick, (int64_t)next->tv_sec * 1000 + next->tv_usec / 1000 + 1);
}

static void on_tick(struct timer *t)
{
    struct dns *d = CONTAINER(t, struct dns, tick);

    ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_tick(d);
}

static void tell(struct entry *e)
{
    struct list now;

    if (list_empty(&e->waiters))
        return;
    /* Those who wait again from their callback wait for the next look-up. */
    now = e->waiters;
    now.next->prev = now.prev->next = &now;
    list_init(&e->waiters);
    while (!list_empty(&now)) {
        struct dns_wait *w = CONTAINER(now.next, struct dns_wait, link);
        list_remove(&w->link);
        w->done(w);
    }
}

/* ---- c-ares in the loop -------------------------------------------------------------------------
 */

static void on_event(struct io *io, uint32_t events)
{
    struct dns *d = CONTAINER(io, struct watch, io)->d;
    bool broken = events & (EPOLLERR | EPOLLHUP);

    /* May bury the io. */
    ares_process_fd(d->channel, broken || events & EPOLLIN ? io->fd : ARES_SOCKET_BAD,
                    events & EPOLLOUT ? io->fd : ARES_SOCKET_BAD);
    set_tick(d);
}

static void release_watch(struct grave *g)
{
    free(CONTAINER(g, struct watch, grave));
}

/* c-ares opened, closes or wants something else of a descriptor. */
static void on_sock_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct dns *d = arg;
    struct watch *w = NULL;
    uint32_t events = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u);

    for (struct list *l = d->socks.next; l != &d->socks && !w; l = l->next)
        if (CONTAINER(l, struct watch, link)->io.fd == fd)
            w = CONTAINER(l, struct watch, link);
    if (!events) {
        if (!w)
            return;
        loop_unwatch(d->loop, &w->io);
        list_remove(&w->link);
        loop_bury(d->loop, &w->grave, release_watch);
        return;
    }
    if (!w) {
        w = mem_zero(sizeof(*w));
        w->d = d;
        w->io = (struct io){.fd = fd, .on_event = on_event};
        list_append(&d->socks, &w->link);
    }
    if (!loop_watch_level(d->loop, &w->io, events))
        log_error("dns: a socket cannot be watched"); /* its look-ups end by time */
}

/* ---- a turn -------------------------------------------------------------------------------------
 */

/* Names that could not be resolved need not wait for their time. */
static void forgive(struct dns *d)
{
    for (unsigned i = 0; i < d->nbuckets; i++)
        for (struct entry *e = d->buckets[i]; e; e = e->next)
            if (e->fails > 0 && e->next_at > d->loop->now_ms)
                e->next_at = d->loop->now_ms;
}

/* Goes over to what resolv.conf says now. */
static void servers_renew(struct dns *d)
{
    ares_channel old = d->channel, new;
    struct str err = STR_NONE;
    struct arena a;

    if (d->loop->now_ms < d->resolv_at)
        return;
    d->resolv_at = d->loop->now_ms + RESOLV_MS;
    if (!resolv_conf_changed(&d->resolv))
        return;
    arena_init(&a, NULL);
    if (dns_channel_open(&new, &d->config, d->timeout_ms, on_sock_state, d, &a, &err)) {
        log_notice("dns: %s has changed: it is used as it is now", d->resolv.path);
        d->channel = new;
        d->renewing = true;
        ares_destroy(old);
        d->renewing = false;
        forgive(d);
    } else {
        log_error("dns: %s has changed, and cannot be used: %.*s", d->resolv.path, STR_ARG(err));
        if (new)
            ares_destroy(new);
    }
    arena_fini(&a);
}

static void on_task(struct task *t)
{
    struct dns *d = CONTAINER(t, struct dns, task);
    unsigned begun = 0;
    struct list ended;

    if (!list_empty(&d->queue))
        servers_renew(d);
    while (!list_empty(&d->queue) && d->asked < ASKED_MAX && begun++ < START_BATCH) {
        struct entry *e = CONTAINER(d->queue.next, struct entry, queued);
        list_remove(&e->queued);
        ask(d, e);
    }
    if (begun)
        set_tick(d);
    list_init(&ended);
    while (!list_empty(&d->ended)) {
        struct list *link = d->ended.next;
        list_remove(link);
        list_append(&ended, link);
    }
    while (!list_empty(&ended)) {
        struct entry *e = CONTAINER(ended.next, struct entry, ended);
        list_remove(&e->ended);
        tell(e);
    }
    if (!list_empty(&d->queue) && d->asked < ASKED_MAX)
        loop_defer(d->loop, &d->task);
}

/* ---- the cache ----------------------------------------------------------------------------------
 */

static void config_keep(struct dns *d, const struct dns_config *config)
{
    struct str *servers = NULL;

    arena_init(&d->arena, NULL);
    if (config->nservers)
        servers = arena_zero(&d->arena, config->nservers * sizeof(*servers));
    for (unsigned i = 0; i < config->nservers; i++)
        servers[i] = arena_str(&d->arena, config->servers[i]);
    d->config = *config;
    d->config.servers = servers;
    if (config->resolv_conf.p)
        d->config.resolv_conf = arena_str(&d->arena, config->resolv_conf);
}

struct dns *dns_new(struct thread *t, const struct dns_config *config, struct arena *a,
                    struct str *err)
{
    enum { BUCKETS = 64 };
    struct dns *d = mem_zero(sizeof(*d));

    d->loop = &t->loop;
    config_keep(d, config);
    resolv_conf_init(&d->resolv, config->resolv_conf);
    d->valid_ms = config->valid_ms;
    d->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : TIMEOUT_DEFAULT_MS;
    if (d->timeout_ms > TTL_MAX_MS)
        d->timeout_ms = TTL_MAX_MS;
    d->ipv6 = config->ipv6;
    d->nbuckets = BUCKETS;
    d->buckets = mem_zero(BUCKETS * sizeof(*d->buckets));
    list_init(&d->queue);
    list_init(&d->ended);
    list_init(&d->socks);
    task_init(&d->task, on_task);
    timer_init(&d->tick, on_tick);
    if (!dns_channel_open(&d->channel, config, d->timeout_ms, on_sock_state, d, a, err)) {
        dns_free(d);
        return NULL;
    }
    return d;
}

static void entry_free(struct entry *e)
{
    ASSERT(list_empty(&e->waiters));
    timer_clear(&e->d->loop->timers, &e->deadline);
    free((void *)(uintptr_t)e->name.addrs);
    srv_free((struct srv_record *)(uintptr_t)e->name.records, e->name.nrecords);
    free(e->absolute);
    free(e);
}

void dns_free(struct dns *d)
{
    if (d->channel)
        ares_destroy(d->channel);
    task_cancel(&d->task);
    timer_clear(&d->loop->timers, &d->tick);
    for (unsigned i = 0; i < d->nbuckets; i++) {
        while (d->buckets[i]) {
            struct entry *e = d->buckets[i];
            d->buckets[i] = e->next;
            entry_free(e);
        }
    }
    if (d->overflow)
        entry_free(d->overflow);
    free(d->buckets);
    resolv_conf_fini(&d->resolv);
    arena_fini(&d->arena);
    free(d);
}

static struct entry *entry_new(struct dns *d, struct str host, uint64_t hash)
{
    struct entry *e = mem_zero(sizeof(*e) + host.n + 1);

    e->d = d;
    e->hash = hash;
    memcpy(e->host, host.p ? host.p : "", host.n);
    e->name.host = str_make(e->host, host.n);
    list_init(&e->queued);
    list_init(&e->ended);
    list_init(&e->waiters);
    timer_init(&e->deadline, on_deadline);
    return e;
}

static void grow(struct dns *d)
{
    unsigned n = d->nbuckets * 2;
    struct entry **buckets = mem_zero(n * sizeof(struct entry *));

    for (unsigned i = 0; i < d->nbuckets; i++) {
        while (d->buckets[i]) {
            struct entry *e = d->buckets[i];
            d->buckets[i] = e->next;
            e->next = buckets[e->hash & (n - 1)];
            buckets[e->hash & (n - 1)] = e;
        }
    }
    free(d->buckets);
    d->buckets = buckets;
    d->nbuckets = n;
}

static bool is_unused(const struct entry *e)
{
    return !e->users && e->phase == IDLE && list_empty(&e->waiters) && list_empty(&e->ended) &&
           e->d->loop->now_ms - e->got_ms > UNUSED_MS;
}

/* Names come and go with the nodes of services, for as long as the process lives. */
static void sweep(struct dns *d)
{
    if (d->loop->now_ms < d->sweep_ms)
        return;
    d->sweep_ms = d->loop->now_ms + SWEEP_MS;
    for (unsigned i = 0; i < d->nbuckets; i++) {
        for (struct entry **at = &d->buckets[i]; *at;) {
            struct entry *e = *at;
            if (!is_unused(e)) {
                at = &e->next;
                continue;
            }
            *at = e->next;
            entry_free(e);
            d->nnames--;
        }
    }
}

static struct dns_name *name_get(struct dns *d, struct str host, bool service)
{
    uint64_t hash = hash_str(host) + service;

    for (struct entry *e = d->buckets[hash & (d->nbuckets - 1)]; e; e = e->next) {
        if (e->hash != hash || e->service != service || !str_eq(e->name.host, host))
            continue;
        e->got_ms = d->loop->now_ms;
        return &e->name;
    }
    if (d->nnames == NAMES_MAX)
        sweep(d);
    if (d->nnames == NAMES_MAX) {
        if (!d->overflow) {
            log_error("dns: more than %d names; further ones are not resolved", NAMES_MAX);
            d->overflow = entry_new(d, STR_NONE, 0);
            d->overflow->full = true;
        }
        return &d->overflow->name;
    }
    if (d->nnames == d->nbuckets)
        grow(d);
    struct entry *e = entry_new(d, host, hash);
    e->service = service;
    e->got_ms = d->loop->now_ms;
    e->next = d->buckets[hash & (d->nbuckets - 1)];
    d->buckets[hash & (d->nbuckets - 1)] = e;
    d->nnames++;
    return &e->name;
}

struct dns_name *dns_name(struct dns *d, struct str host)
{
    return name_get(d, host, false);
}

struct dns_name *dns_service(struct dns *d, struct str name)
{
    return name_get(d, name, true);
}

void dns_name_hold(struct dns_name *name)
{
    entry_of(name)->users++;
}

void dns_name_drop(struct dns_name *name)
{
    entry_of(name)->users--;
}

enum dns_status dns_status(struct dns *d, struct dns_name *name)
{
    struct entry *e = entry_of(name);

    if (d->loop->now_ms < e->next_at)
        return has_answer(e) ? DNS_READY : DNS_FAILED;
    if (e->phase == IDLE && !e->full)
        look_up(e);
    if (has_answer(e) && !(e->too_old && under_way(e)))
        return DNS_READY;
    return under_way(e) ? DNS_PENDING : DNS_FAILED;
}

void dns_wait_start(struct dns_name *name, struct dns_wait *w)
{
    struct entry *e = entry_of(name);

    list_append(&e->waiters, &w->link);
    if (!under_way(e))
        tell_later(e);
}

void dns_wait_cancel(struct dns_wait *w)
{
    list_remove(&w->link);
}
