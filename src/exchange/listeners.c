/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses that clients are served on: asked for at the start, changed on SIGHUP. */
#include "exchange/listeners.h"

#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

static bool has_addr(const struct listen_addr *list, unsigned n, const struct listen_addr *one)
{
    for (unsigned i = 0; i < n; i++)
        if (list[i].tls == one->tls && memcmp(&list[i].addr, &one->addr, sizeof(one->addr)) == 0)
            return true;
    return false;
}

/* Nobody has asked for the address, and another program has it. */
static bool is_spared(const struct listeners *l, const struct settings_address *at,
                      const struct listen_addr *one, struct arena *a)
{
    struct str why;

    if (!at->unasked || has_addr(l->list, l->n, one) || server_may_listen(&one->addr, a, &why))
        return false;
    log_warn("not served over TLS: %.*s (apisix.ssl.listen sets another address)", STR_ARG(why));
    return true;
}

/* What the settings ask for, *n addresses; NULL with a message. */
static struct listen_addr *listen_addrs(const struct listeners *l, const struct settings *s,
                                        unsigned *n, struct arena *a, struct str *err)
{
    struct listen_addr *list = arena_zero(a, (s->nlisten + 1) * sizeof(*list));

    *n = 0;
    for (unsigned i = 0; i < s->nlisten; i++) {
        struct listen_addr *one = &list[*n];
        *one = (struct listen_addr){.tls = s->listen[i].tls};
        if (!addr_parse(s->listen[i].ip, s->listen[i].port, &one->addr)) {
            *err = arena_printf(a, "\"%.*s\" is not an address", STR_ARG(s->listen[i].ip));
            return NULL;
        }
        if (!is_spared(l, &s->listen[i], one, a))
            ++*n;
    }
    return list;
}

bool listeners_init(struct listeners *l, const struct settings *s, struct arena *a,
                    const char **setting, struct str *err)
{
    unsigned n;
    struct listen_addr *list = listen_addrs(l, s, &n, a, err);

    *setting = "apisix.node_listen";
    if (!list)
        return false;
    for (unsigned i = 0; i < n; i++) {
        *setting = list[i].tls ? "apisix.ssl.listen" : "apisix.node_listen";
        if (!server_may_listen(&list[i].addr, a, err))
            return false;
    }
    l->n = n;
    l->list = mem_array(n, sizeof(*list));
    memcpy(l->list, list, n * sizeof(*list));
    return true;
}

void listeners_fini(struct listeners *l)
{
    free(l->list);
    *l = (struct listeners){0};
}

/* ---- Change ---- */

/* What is in one list and not in the other. */
static unsigned addrs_less(const struct listen_addr *list, unsigned n,
                           const struct listen_addr *less, unsigned nless, struct listen_addr *out)
{
    unsigned nout = 0;

    for (unsigned i = 0; i < n; i++)
        if (!has_addr(less, nless, &list[i]))
            out[nout++] = list[i];
    return nout;
}

/* Another address of a port that is served already cannot be asked for: our own sockets are there.
 */
static bool port_is_ours(const struct listeners *l, const struct listen_addr *one)
{
    for (unsigned i = 0; i < l->n; i++)
        if (sock_addr_port(&l->list[i].addr.sa) == sock_addr_port(&one->addr.sa))
            return true;
    return false;
}

/* A socket for each worker and address, all or none. */
static bool open_sockets(const struct listeners *l, const struct listen_change *c,
                         unsigned nworkers, int *sockets, struct arena *a, struct str *err)
{
    unsigned n = nworkers * c->nadd, opened = 0;

    for (unsigned i = 0; i < c->nadd; i++)
        if (!port_is_ours(l, &c->add[i]) && !server_may_listen(&c->add[i].addr, a, err))
            return false;
    while (opened < n) {
        sockets[opened] = server_socket(&c->add[opened % c->nadd].addr, true, a, err);
        if (sockets[opened] < 0)
            break;
        opened++;
    }
    if (opened == n)
        return true;
    while (opened--)
        close(sockets[opened]);
    return false;
}

static void log_listeners(const char *what, const struct listen_addr *list, unsigned n)
{
    char text[56];

    for (unsigned i = 0; i < n; i++) {
        sock_addr_text(&list[i].addr.sa, text, true);
        log_notice("%s %s%s", what, text, list[i].tls ? " with TLS" : "");
    }
}

bool listeners_change(struct listeners *l, const struct settings *s, struct worker *const *workers,
                      unsigned nworkers, struct arena *a, struct str *err)
{
    unsigned n;
    struct listen_addr *list = listen_addrs(l, s, &n, a, err);
    struct listen_addr *add = arena_zero(a, (s->nlisten + 1) * sizeof(*add));
    struct listen_addr *drop = arena_zero(a, l->n * sizeof(*drop));

    if (!list)
        return false;
    struct listen_change c = {
        .add = add,
        .drop = drop,
        .nadd = addrs_less(list, n, l->list, l->n, add),
        .ndrop = addrs_less(l->list, l->n, list, n, drop),
    };
    int *sockets = arena_zero(a, ((size_t)nworkers * c.nadd + 1) * sizeof(*sockets));
    if (!open_sockets(l, &c, nworkers, sockets, a, err))
        return false;
    for (unsigned i = 0; i < nworkers; i++)
        worker_listen(workers[i], &c, sockets + (size_t)i * c.nadd);
    log_listeners("listening on", c.add, c.nadd);
    log_listeners("no longer listening on", c.drop, c.ndrop);
    l->list = mem_resize(l->list, n * sizeof(*list));
    memcpy(l->list, list, n * sizeof(*list));
    l->n = n;
    return true;
}
