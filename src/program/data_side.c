/* SPDX-License-Identifier: Apache-2.0 */
/* The data side: the workers, with what the settings say to them, and the prober. */
#include "loop/tls.h"
#include "program/program.h"

static void set_resolvers(struct program *p)
{
    const struct settings *s = p->settings;
    struct worker_config *c = &p->config;

    c->dns = (struct dns_config){.servers = s->dns.servers,
                                 .nservers = s->dns.nservers,
                                 .valid_ms = s->dns.valid_ms,
                                 .timeout_ms = s->dns.timeout_ms,
                                 .ipv6 = s->dns.ipv6,
                                 .no_search = !s->dns.search};
    if (!s->discovery.on)
        return;
    c->discovery = c->dns;
    c->discovery.servers = s->discovery.servers;
    c->discovery.nservers = s->discovery.nservers;
    c->discovery.resolv_conf = s->discovery.resolv_conf;
    c->discovery.setting = "discovery.dns.servers";
    c->discovery.ipv6 = s->discovery.ipv6;
    c->discovery_on = true;
    c->discovery_order = s->discovery.order;
}

struct tls_server *data_side_tls(const struct settings *s, struct arena *a, struct str *err)
{
    struct tls_server_config config = {
        .versions = s->ssl.versions, .ciphers = s->ssl.ciphers, .tickets = s->ssl.tickets};

    return tls_server_new(&config, a, err);
}

/* On a worker's thread. */
static void on_taken(void *arg, unsigned worker, uint64_t version)
{
    struct program *p = arg;

    keeper_taken(p->keeper, worker, version);
}

bool data_side_prepare(struct program *p)
{
    const struct settings *s = p->settings;
    struct worker_config *c = &p->config;

    c->limits = (struct conn_limits){
        .head = {.head_bytes = (uint32_t)s->http.max_header_bytes,
                 .uri_bytes = (uint32_t)s->http.max_uri_bytes,
                 .headers = (uint16_t)(s->http.max_headers < HEADERS_MAX ? s->http.max_headers
                                                                         : HEADERS_MAX)},
        .keepalive_ms = s->http.keepalive_ms,
        .head_ms = s->http.header_ms,
        .body_ms = s->http.body_ms,
        .send_ms = s->http.send_ms,
        .body_bytes = (uint64_t)s->http.max_body,
    };
    c->upstream_head = (struct h1_limits){.head_bytes = 65536, .headers = HEADERS_MAX};
    set_resolvers(p);
    c->drop_underscores = !s->http.underscores;
    c->real_ip_header = s->http.real_ip_header;
    c->real_ip_from = s->http.real_ip_from;
    c->real_ip_recursive = s->http.real_ip_recursive;
    c->trusted = s->trusted_addresses;
    if (s->server_header.n)
        c->server_header = s->server_header;
    c->replay_bytes = s->http.request_buffer;
    c->verify_upstreams = s->verify_upstreams;
    c->show_upstream_status = s->show_upstream_status;
    c->delete_uri_tail_slash = s->delete_uri_tail_slash;
    c->match_encoded_slash = s->match_encoded_slash;
    c->path_rules = s->delete_uri_tail_slash || s->match_encoded_slash;
    c->strip_path_params = s->strip_path_params;
    c->post_arg_max = s->post_arg_max;
    c->graphql_max = s->graphql_max;
    c->drain_ms = s->shutdown_ms;
    c->jobs = p->jobs;
    c->readers = p->readers;
    c->on_taken = on_taken;
    c->on_taken_arg = p;
    c->tls_verified = tls_client_context(s->trusted_certificate, true, &p->arena, &p->err);
    if (!c->tls_verified)
        return program_fail(p, "apisix.ssl.ssl_trusted_certificate");
    c->tls_unverified = tls_client_context(STR_NONE, false, &p->arena, &p->err);
    if (!c->tls_unverified)
        return program_fail(p, "TLS");
    c->fallback_sni = s->ssl.fallback_sni;
    c->tls = data_side_tls(s, &p->arena, &p->err);
    if (!c->tls)
        return program_fail(p, "apisix.ssl.ssl_ciphers");
    const char *setting;
    if (!listeners_init(&p->listeners, s, &p->arena, &setting, &p->err))
        return program_fail(p, setting);
    c->listen = p->listeners.list;
    c->nlisten = p->listeners.n;
    return true;
}

bool data_side_workers(struct program *p)
{
    unsigned n = p->settings->role == ROLE_CONTROL_PLANE ? 0 : p->settings->workers;
    struct worker **workers = arena_zero(&p->arena, (n + 1) * sizeof(*workers));

    for (unsigned i = 0; i < n; i++) {
        workers[i] = worker_new(i, &p->config, keeper_snapshot(p->keeper), &p->arena, &p->err);
        if (!workers[i])
            return program_fail(p, "worker");
    }
    p->workers = workers;
    p->nworkers = n;
    return true;
}

/* On the keeper's thread: it may have made newer configuration while the workers were made. */
static void on_workers(void *arg, struct keeper *keeper)
{
    struct program *p = arg;

    p->nserved = p->nworkers;
    keeper_workers(keeper, p->nworkers);
}

bool data_side_prober(struct program *p)
{
    const struct worker_config *c = &p->config;
    struct prober_config config = {.peers = c->peers,
                                   .dns = c->dns,
                                   .discovery = c->discovery_on ? &c->discovery : NULL,
                                   .order = c->discovery_order,
                                   .tls_verified = c->tls_verified,
                                   .tls_unverified = c->tls_unverified};

    /* A control plane sends no requests: its data planes look after their nodes. */
    if (p->settings->role != ROLE_CONTROL_PLANE) {
        p->prober = prober_new(&config, keeper_snapshot(p->keeper), &p->arena, &p->err);
        if (!p->prober)
            return program_fail(p, "prober");
    }
    keeper_post(p->keeper, on_workers, p);
    keeper_watch(p->keeper);
    return true;
}
