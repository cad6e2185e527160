/* SPDX-License-Identifier: Apache-2.0 */
/* The control side: the Admin API, the control API and the status API, and what they show of the
 * data side. */
#include "admin/server.h"
#include "base/panic.h"
#include "program/program.h"

static bool listen_at(struct program *p, const struct settings_address *at,
                      const struct admin_api *api, void *owner, bool tls)
{
    struct addr addr;

    if (addr_parse(at->ip, at->port, &addr))
        return admin_server_listen(p->admin_server, &addr, api, owner, tls, &p->arena, &p->err);
    p->err = arena_printf(&p->arena, "\"%.*s\" is not an address", STR_ARG(at->ip));
    return false;
}

static uint64_t worker_version(void *arg, unsigned i)
{
    const struct program *p = arg;

    return worker_serving(p->workers[i]);
}

struct node_visit {
    void (*each)(void *to, const struct control_node *node);
    void *to;
};

static void show_node(void *visit, const struct prober_node *n)
{
    const struct node_visit *v = visit;
    struct control_node node = {.host = n->host,
                                .ip = n->ip,
                                .port = n->port,
                                .host_header = n->host_header,
                                .status = health_state_name(n->health.state),
                                .success = n->health.counts[HEALTH_SUCCESS],
                                .http_failure = n->health.counts[HEALTH_HTTP_FAILURE],
                                .tcp_failure = n->health.counts[HEALTH_TCP_FAILURE],
                                .timeout_failure = n->health.counts[HEALTH_TIMEOUT]};

    v->each(v->to, &node);
}

static void show_nodes(void *arg, struct str key,
                       void (*each)(void *to, const struct control_node *node), void *to)
{
    struct node_visit v = {each, to};

    prober_nodes(((struct program *)arg)->prober, key, show_node, &v);
}

/* The port that nobody has asked for may be another's. */
static bool start_control(struct program *p)
{
    const struct settings *s = p->settings;

    p->control = (struct control){.admin = p->admin,
                                  .keeper = p->keeper,
                                  .jobs = p->jobs,
                                  .workers = {worker_version, p, p->nworkers},
                                  .health = {p->prober ? show_nodes : NULL, p}};
    if (s->control.on && !listen_at(p, &s->control.listen, &control_api, &p->control, false)) {
        if (s->control.asked)
            return program_fail(p, "apisix.control");
        log_warn("no control API: %.*s (apisix.control.port sets another one)", STR_ARG(p->err));
    }
    return !s->status.on ||
           listen_at(p, &s->status.listen, &status_api, &p->control.workers, false) ||
           program_fail(p, "apisix.status");
}

/* Keys as APISIX shows them: as etcd has them, and without a prefix in a file. */
static struct str shown_prefix(const struct settings *s)
{
    switch (s->provider) {
    case PROVIDER_SQLITE:
        return STR("/apisix");
    case PROVIDER_ETCD:
        return s->etcd.prefix;
    case PROVIDER_YAML:
    case PROVIDER_JSON:
    case PROVIDER_API:
        return STR("");
    }
    PANIC("no such provider");
}

bool control_side_start(struct program *p)
{
    struct settings_admin *sa = &p->settings->admin;

    if (sa->enabled && sa->key_generated && !settings_admin_key(p->settings, &p->arena, &p->err))
        return program_fail(p, "admin key");
    struct admin_config config = {.keys = sa->keys,
                                  .nkeys = sa->nkeys,
                                  .key_required = sa->key_required,
                                  .allow = sa->allow,
                                  .cors = sa->cors,
                                  .v3 = sa->v3,
                                  .stream = p->settings->stream,
                                  .whole = p->settings->provider == PROVIDER_API,
                                  .prefix = shown_prefix(p->settings),
                                  .ui_dir = sa->ui_dir,
                                  .jobs = p->jobs,
                                  .plugins = p->plugins};
    p->admin = admin_new(&config, p->keeper);
    p->admin_server = admin_server_new(p->config.server_header);
    if (!p->admin_server) {
        p->err = STR("the kernel gave no epoll descriptor");
        return program_fail(p, "control side");
    }
    struct admin_tls_files files = {sa->cert, sa->key, sa->ca};
    if (sa->cert.p && !admin_server_tls(p->admin_server, &files, p->config.tls, &p->arena, &p->err))
        return program_fail(p, "deployment.admin.admin_api_mtls");
    if (sa->enabled && !listen_at(p, &sa->listen, &admin_api, p->admin, sa->cert.p != NULL))
        return program_fail(p, "deployment.admin.admin_listen");
    return start_control(p);
}
