/* SPDX-License-Identifier: Apache-2.0 */
/* c-ares (1.18) made ready: servers from the configuration or from resolv.conf, and times. */
#include "upstream/dns_channel.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/panic.h"

enum {
    RESEND_MIN_MS = 50,
    PORT_DNS = 53,
};

/* The one that names the servers. */
static const char *setting(const struct dns_config *config)
{
    return config->setting ? config->setting : "dns_resolver";
}

/* "1.1.1.1", "1.1.1.1:53", "::1", "[::1]", "[::1]:53". */
static bool parse_server(struct str s, struct ares_addr_port_node *out)
{
    char text[INET6_ADDRSTRLEN];
    struct str host = s, port = STR_NONE;
    uint64_t number = PORT_DNS;

    if (str_starts(s, STR("["))) {
        if (!str_cut(str_from(s, 1), ']', &host, &port) || (port.n && port.p[0] != ':'))
            return false;
        if (port.n && !str_to_u64(str_from(port, 1), 65535, &number))
            return false;
    } else if (str_find(s, ':') >= 0 && str_find(s, ':') == str_rfind(s, ':')) {
        str_cut(s, ':', &host, &port);
        if (!str_to_u64(port, 65535, &number))
            return false;
    }
    if (host.n >= sizeof(text) || number == 0)
        return false;
    memcpy(text, host.p ? host.p : "", host.n);
    text[host.n] = 0;
    out->udp_port = out->tcp_port = (int)number;
    out->family = str_find(host, ':') >= 0 ? AF_INET6 : AF_INET;
    return strlen(text) == host.n && inet_pton(out->family, text, &out->addr) == 1;
}

static bool set_servers(ares_channel channel, const struct dns_config *config, struct arena *a,
                        struct str *err)
{
    struct ares_addr_port_node *nodes = arena_zero(a, config->nservers * sizeof(*nodes));

    for (unsigned i = 0; i < config->nservers; i++) {
        if (!parse_server(str_trim(config->servers[i]), &nodes[i])) {
            *err = arena_printf(a, "%s: \"%.*s\" is not an IP address with or without a port",
                                setting(config), STR_ARG(config->servers[i]));
            return false;
        }
        if (i)
            nodes[i - 1].next = &nodes[i];
    }
    int status = ares_set_servers_ports(channel, nodes);
    if (status != ARES_SUCCESS)
        *err = arena_printf(a, "%s: %s", setting(config), ares_strerror(status));
    return status == ARES_SUCCESS;
}

/* What opening a channel takes. */
struct opening {
    const struct dns_config *config;
    int64_t timeout_ms;
    ares_sock_state_cb on_sock;
    void *arg;
};

static int init_channel(ares_channel *channel, const struct opening *o, unsigned servers)
{
    char lookups[] = "fb"; /* the hosts file first, whatever nsswitch.conf says of other programs */
    int64_t resend = o->timeout_ms * 4 / 5 / ((1 << DNS_TRIES) - 1) / (servers ? servers : 1);
    char *path = o->config->resolv_conf.p ? str_dup(o->config->resolv_conf) : NULL;
    struct ares_options options = {
        /* All tries at all servers fit in four fifths of the look-up's time. */
        .timeout = (int)(resend < RESEND_MIN_MS ? RESEND_MIN_MS : resend),
        .tries = DNS_TRIES,
        .lookups = lookups,
        .sock_state_cb = o->on_sock,
        .sock_state_cb_data = o->arg,
        .resolvconf_path = path,
    };
    int which = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB;

    if (o->config->no_search)
        which |= ARES_OPT_DOMAINS; /* none */
    if (path)
        which |= ARES_OPT_RESOLVCONF;
    int status = ares_init_options(channel, &options, which);
    free(path);
    return status;
}

static unsigned count_servers(ares_channel channel)
{
    struct ares_addr_port_node *list = NULL;
    unsigned n = 0;

    if (ares_get_servers_ports(channel, &list) != ARES_SUCCESS)
        return 1;
    for (const struct ares_addr_port_node *s = list; s; s = s->next)
        n++;
    ares_free_data(list);
    return n;
}

static void init_library(void)
{
    int status = ares_library_init(ARES_LIB_INIT_ALL);

    ASSERT(status == ARES_SUCCESS);
}

bool dns_channel_open(ares_channel *channel, const struct dns_config *config, int64_t timeout_ms,
                      ares_sock_state_cb on_sock, void *arg, struct arena *a, struct str *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct opening opening = {config, timeout_ms, on_sock, arg};
    unsigned servers = config->nservers;

    pthread_once(&once, init_library);
    int status = init_channel(channel, &opening, servers);
    if (status == ARES_SUCCESS && !servers && (servers = count_servers(*channel)) > 1) {
        /* Times depend on how many servers resolv.conf has, and cannot be changed afterwards. */
        ares_destroy(*channel);
        status = init_channel(channel, &opening, servers);
    }
    if (status != ARES_SUCCESS) {
        *channel = NULL;
        *err = arena_printf(a, "the resolver could not start: %s", ares_strerror(status));
        return false;
    }
    return !config->nservers || set_servers(*channel, config, a, err);
}
