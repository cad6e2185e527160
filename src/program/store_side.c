/* SPDX-License-Identifier: Apache-2.0 */
/* The store with its keeper, and the way of new configuration to those that serve it. */
#include "plugin/registry.h"
#include "program/program.h"
#include "store/open.h"

/* On the keeper's thread: a new configuration goes to every worker and to the prober, with a
 * reference for each. */
static void on_publish(void *arg, const struct snapshot *snapshot)
{
    struct program *p = arg;

    pthread_mutex_lock(&p->publishing);
    for (unsigned i = 0; !p->quiet && i < p->nserved; i++) {
        snapshot_get(snapshot);
        worker_publish(p->workers[i], snapshot);
    }
    if (!p->quiet && p->nserved && p->prober)
        prober_publish(p->prober, snapshot);
    else
        snapshot_put(snapshot);
    pthread_mutex_unlock(&p->publishing);
}

/* Others may still write to the store while the threads end. */
void store_side_quiet(struct program *p)
{
    pthread_mutex_lock(&p->publishing);
    p->quiet = true;
    pthread_mutex_unlock(&p->publishing);
}

bool store_side_start(struct program *p)
{
    const struct settings *s = p->settings;
    struct builder_env env = {.plugins = p->plugins,
                              .built_in = plugin_registry,
                              .router = s->router,
                              .verify_upstreams = s->verify_upstreams,
                              .discovery_dns = s->discovery.on,
                              .stream = s->stream,
                              .protocols = s->protocols,
                              .nprotocols = s->nprotocols,
                              .no_checks = s->disable_healthcheck,
                              .keepalive = &p->keepalive};

    p->keepalive = (struct keepalive){s->keepalive_size, s->keepalive_requests,
                                      s->keepalive_idle_ms};
    if (!logs_folder(p, s->data_dir))
        return program_fail(p, "eclusa.data_dir");
    struct store *store = store_open(s, &p->arena, &p->err);
    if (!store)
        return program_fail(p, "store");
    struct store_keep keep = {s->admin.enabled ? s->history.changes : 0, s->history.age_ms};
    if (store->ops->keep)
        store->ops->keep(store, &keep);
    struct document_codec *codec = NULL;
    struct secrets_config reading = {
        .ttl_ms = s->secret_ttl_ms, .retry_ms = s->secret_retry_ms, .ca = s->trusted_certificate};
    if (!document_codec_open(s, &codec, &p->arena, &p->err)) {
        store->ops->close(store);
        return program_fail(p, "key of stored secrets");
    }
    struct secrets *secrets = secrets_new(&reading);
    env.secrets = secrets_hooks(secrets);
    p->builder = builder_new(&env);
    p->keeper = keeper_start(store, codec, p->builder, secrets, on_publish, p);
    if (p->keeper)
        return true;
    p->err = STR("the stored configuration could not be read");
    return program_fail(p, "store");
}
