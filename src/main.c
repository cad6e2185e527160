/* SPDX-License-Identifier: Apache-2.0 */
/* The program: arguments, signals, start and stop order. */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/control.h"
#include "admin/server.h"
#include "base/hash.h"
#include "base/json_pool.h"
#include "base/mem.h"
#include "base/panic.h"
#include "config/settings.h"
#include "exchange/access_log.h"
#include "exchange/listeners.h"
#include "loop/jobs.h"
#include "loop/log_file.h"
#include "loop/tls.h"
#include "plugin/registry.h"
#include "store/command.h"
#include "store/keeper.h"
#include "store/open.h"
#include "upstream/peers.h"
#include "upstream/prober.h"

enum { JOB_THREADS = 4 };

/* All that lives as long as the process serves. Started top down, stopped bottom up. */
struct program {
    struct arena arena;
    struct str err;
    struct str file; /* of the settings, as given; absent: the usual place */
    struct settings *settings;
    struct log_writer *log_writer;
    struct jobs *jobs;
    bool hung;                     /* one of them did not end when a worker should */
    const struct plugin **plugins; /* those that are enabled; NULL-ended */
    unsigned started;              /* of them, how many have been started */
    struct keepalive keepalive;    /* default of keepalive_pool */
    struct builder *builder;
    struct keeper *keeper;
    struct worker_config config;
    struct listeners listeners;
    struct worker **workers;
    unsigned nworkers;
    struct prober *prober;
    pthread_mutex_t publishing;
    bool quiet; /* under the lock: the threads are stopping, and follow no configuration any more */
    unsigned nserved; /* the keeper's thread: workers that are told of new configuration */
    struct admin *admin;
    struct control control;
    struct admin_server *admin_server; /* of all of the control side */
};

static bool fail(struct program *p, const char *what)
{
    fprintf(stderr, "eclusa: %s: %.*s\n", what, STR_ARG(p->err));
    return false;
}

/* ---- Plugins
 * ----------------------------------------------------------------------------------------- */

static void choose_plugins(struct program *p)
{
    size_t n = 0, kept = 0;

    while (plugin_registry[n])
        n++;
    p->plugins = arena_zero(&p->arena, (n + 1) * sizeof(*p->plugins));
    for (size_t i = 0; i < n; i++)
        if (settings_has_plugin(p->settings, str_of(plugin_registry[i]->name)))
            p->plugins[kept++] = plugin_registry[i];
}

static bool start_plugins(struct program *p)
{
    const struct settings *s = p->settings;
    struct plugin_env env = {
        .data_dir = s->data_dir, .threads = s->workers, .apisix = s->apisix, .eclusa = s->eclusa};

    for (; p->plugins[p->started]; p->started++) {
        const struct plugin *plugin = p->plugins[p->started];
        const json_t *attr = s->plugin_attr ? json_object_get(s->plugin_attr, plugin->name) : NULL;
        if (plugin->start && !plugin->start(attr, &env, &p->err))
            return fail(p, plugin->name);
    }
    return true;
}

static void stop_plugins(struct program *p)
{
    while (p->started--)
        if (p->plugins[p->started]->stop)
            p->plugins[p->started]->stop();
}

/* ---- Start
 * ------------------------------------------------------------------------------------------- */

/* Client connections, upstream connections and files need a descriptor each. */
static void raise_file_limit(const struct settings *s)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= s->max_open_files)
        return;
    limit.rlim_cur = limit.rlim_max < s->max_open_files ? limit.rlim_max : s->max_open_files;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < s->max_open_files)
        log_warn("only %llu open files are allowed, worker_rlimit_nofile asks for %u",
                 (unsigned long long)limit.rlim_cur, s->max_open_files);
}

static bool make_dirs(struct program *p, struct str path)
{
    char *z = str_dup(path);
    bool ok = true;

    for (char *at = z + 1; ok; at++) {
        if (*at && *at != '/')
            continue;
        char c = *at;
        *at = 0;
        ok = mkdir(z, 0700) == 0 || errno == EEXIST;
        *at = c;
        if (!c)
            break;
    }
    if (!ok)
        p->err = arena_printf(&p->arena, "cannot make %s: %s", z, strerror(errno));
    free(z);
    return ok;
}

static bool open_logs(struct program *p)
{
    const struct settings_log *l = &p->settings->log;
    struct log_file *f = NULL;

    p->log_writer = log_writer_start();
    if (l->error_file.p) {
        f = log_writer_open(p->log_writer, l->error_file, &p->arena, &p->err);
        if (!f)
            return fail(p, "error log");
    } else {
        f = log_writer_open(p->log_writer, STR("stderr"), &p->arena, &p->err);
    }
    log_writer_errors_to(p->log_writer, f, l->error_level);
    if (!l->access)
        return true;
    ptrdiff_t slash = str_rfind(l->access_file, '/');
    if (slash > 0 && !make_dirs(p, str_head(l->access_file, (size_t)slash)))
        return fail(p, "access log");
    f = log_writer_open(p->log_writer, l->access_file, &p->arena, &p->err);
    if (!f)
        return fail(p, "access log");
    p->config.access_log = access_log_new(f, l->access_format, l->access_escape == ESCAPE_JSON,
                                          l->access_buffer, l->access_flush_ms, &p->arena);
    return true;
}

static struct tls_server *make_tls(const struct settings *s, struct arena *a, struct str *err)
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

static bool set_config(struct program *p)
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
    c->on_taken = on_taken;
    c->on_taken_arg = p;
    c->tls_verified = tls_client_context(s->trusted_certificate, true, &p->arena, &p->err);
    if (!c->tls_verified)
        return fail(p, "apisix.ssl.ssl_trusted_certificate");
    c->tls_unverified = tls_client_context(STR_NONE, false, &p->arena, &p->err);
    if (!c->tls_unverified)
        return fail(p, "TLS");
    c->fallback_sni = s->ssl.fallback_sni;
    c->tls = make_tls(s, &p->arena, &p->err);
    if (!c->tls)
        return fail(p, "apisix.ssl.ssl_ciphers");
    const char *setting;
    if (!listeners_init(&p->listeners, s, &p->arena, &setting, &p->err))
        return fail(p, setting);
    c->listen = p->listeners.list;
    c->nlisten = p->listeners.n;
    return true;
}

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
static void be_quiet(struct program *p)
{
    pthread_mutex_lock(&p->publishing);
    p->quiet = true;
    pthread_mutex_unlock(&p->publishing);
}

/* On the keeper's thread: it may have made newer configuration while the workers were made. */
static void on_workers(void *arg, struct keeper *keeper)
{
    struct program *p = arg;

    p->nserved = p->nworkers;
    keeper_workers(keeper, p->nworkers);
}

static bool start_keeper(struct program *p)
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
    if (!make_dirs(p, s->data_dir))
        return fail(p, "eclusa.data_dir");
    struct store *store = store_open(s, &p->arena, &p->err);
    if (!store)
        return fail(p, "store");
    struct store_keep keep = {s->admin.enabled ? s->history.changes : 0, s->history.age_ms};
    if (store->ops->keep)
        store->ops->keep(store, &keep);
    struct document_codec *codec = NULL;
    struct secrets_config reading = {
        .ttl_ms = s->secret_ttl_ms, .retry_ms = s->secret_retry_ms, .ca = s->trusted_certificate};
    if (!document_codec_open(s, &codec, &p->arena, &p->err)) {
        store->ops->close(store);
        return fail(p, "key of stored secrets");
    }
    struct secrets *secrets = secrets_new(&reading);
    env.secrets = secrets_hooks(secrets);
    p->builder = builder_new(&env);
    p->keeper = keeper_start(store, codec, p->builder, secrets, on_publish, p);
    if (p->keeper)
        return true;
    p->err = STR("the stored configuration could not be read");
    return fail(p, "store");
}

static bool start_workers(struct program *p)
{
    unsigned n = p->settings->role == ROLE_CONTROL_PLANE ? 0 : p->settings->workers;
    struct worker **workers = arena_zero(&p->arena, (n + 1) * sizeof(*workers));

    for (unsigned i = 0; i < n; i++) {
        workers[i] = worker_new(i, &p->config, keeper_snapshot(p->keeper), &p->arena, &p->err);
        if (!workers[i])
            return fail(p, "worker");
    }
    p->workers = workers;
    p->nworkers = n;
    return true;
}

static bool start_prober(struct program *p)
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
            return fail(p, "prober");
    }
    keeper_post(p->keeper, on_workers, p);
    keeper_watch(p->keeper);
    return true;
}

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
            return fail(p, "apisix.control");
        log_warn("no control API: %.*s (apisix.control.port sets another one)", STR_ARG(p->err));
    }
    return !s->status.on ||
           listen_at(p, &s->status.listen, &status_api, &p->control.workers, false) ||
           fail(p, "apisix.status");
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

static bool start_admin(struct program *p)
{
    struct settings_admin *sa = &p->settings->admin;

    if (sa->enabled && sa->key_generated && !settings_admin_key(p->settings, &p->arena, &p->err))
        return fail(p, "admin key");
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
        return fail(p, "control side");
    }
    struct admin_tls_files files = {sa->cert, sa->key, sa->ca};
    if (sa->cert.p && !admin_server_tls(p->admin_server, &files, p->config.tls, &p->arena, &p->err))
        return fail(p, "deployment.admin.admin_api_mtls");
    if (sa->enabled && !listen_at(p, &sa->listen, &admin_api, p->admin, sa->cert.p != NULL))
        return fail(p, "deployment.admin.admin_listen");
    return start_control(p);
}

/* ---- SIGHUP: other listeners
 * --------------------------------------------------------------------------- */

static void say_changed(void *arg, struct str path)
{
    (void)arg;
    log_warn("config: %.*s has changed: this needs a restart", STR_ARG(path));
}

/* Reads the file again. Where clients are served changes at once, the rest is named. */
static void reload(struct program *p)
{
    struct arena a;
    struct str err = STR_NONE;

    arena_init(&a, NULL);
    struct settings *s = settings_load(p->file, &a, &err);
    if (s && listeners_change(&p->listeners, s, p->workers, p->nworkers, &a, &err)) {
        settings_compare(p->settings, s, &a, say_changed, NULL);
        log_notice("the configuration file was read again");
    } else {
        log_error("the configuration file was read again and nothing is changed: %.*s",
                  STR_ARG(err));
    }
    if (s)
        settings_free(s);
    arena_fini(&a);
}

/* ---- Commands
 * ------------------------------------------------------------------------------------------ */

static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGQUIT);
    sigaddset(set, SIGUSR1);
    sigaddset(set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* Serves until a signal asks for the end. */
static void serve(struct program *p, const sigset_t *signals)
{
    int sig = 0;

    for (unsigned i = 0; i < p->nworkers; i++)
        worker_start(p->workers[i]);
    if (p->prober)
        prober_start(p->prober);
    admin_server_run(p->admin_server);
    log_notice("eclusa " ECLUSA_VERSION " is serving with %u workers", p->nworkers);
    while (sigwait(signals, &sig) == 0 && (sig == SIGUSR1 || sig == SIGHUP))
        sig == SIGUSR1 ? log_writer_reopen(p->log_writer) : reload(p);
    log_notice("signal %d: stopping", sig);
    admin_server_stop(p->admin_server);
    be_quiet(p);
    for (unsigned i = 0; i < p->nworkers; i++)
        sig == SIGINT ? worker_stop(p->workers[i]) : worker_drain(p->workers[i]);
    for (unsigned i = 0; i < p->nworkers; i++)
        p->hung |= !worker_join(p->workers[i]);
    if (p->prober)
        prober_stop(p->prober);
}

static void stop_logs(struct program *p)
{
    if (!p->log_writer)
        return;
    log_writer_errors_to(p->log_writer, NULL, LOG_WARN);
    log_writer_stop(p->log_writer);
}

/* What is stored is safe, and what was logged is written. What the job may look at is not freed; it
 * goes with the process. */
static void leave_job(struct program *p)
{
    keeper_end(p->keeper);
    log_error("a job hangs, most likely in a read or write of a file: leaving without it");
    stop_logs(p);
    _exit(0);
}

static void stop(struct program *p)
{
    if (p->hung || !jobs_end(p->jobs, WORKER_JOBS_MS))
        leave_job(p);
    if (p->admin)
        admin_free(p->admin);
    if (p->keeper)
        keeper_stop(p->keeper);
    stop_plugins(p);
    peers_free(p->config.peers);
    SSL_CTX_free(p->config.tls_verified);
    SSL_CTX_free(p->config.tls_unverified);
    tls_server_free(p->config.tls);
    listeners_fini(&p->listeners);
    stop_logs(p);
}

/* No worker runs yet, but the keeper does, and plugins may have threads of their own: what they
 * look at goes with the process. */
static void leave_start(struct program *p)
{
    if (p->keeper)
        keeper_end(p->keeper);
    stop_plugins(p);
    stop_logs(p);
    _exit(1);
}

static int command_run(struct program *p)
{
    sigset_t signals;

    block_signals(&signals);
    hash_setup();
    if (!open_logs(p))
        return 1;
    raise_file_limit(p->settings);
    choose_plugins(p);
    p->jobs = jobs_new(JOB_THREADS);
    p->config.peers = peers_new();
    pthread_mutex_init(&p->publishing, NULL);
    if (!set_config(p) || !start_plugins(p) || !start_keeper(p) || !start_workers(p) ||
        !start_prober(p) || !start_admin(p))
        leave_start(p);
    serve(p, &signals);
    stop(p);
    return 0;
}

static int command_test(struct program *p)
{
    struct str err;
    SSL_CTX *ctx = tls_client_context(p->settings->trusted_certificate, true, &p->arena, &err);

    if (!ctx) {
        fprintf(stderr, "eclusa: apisix.ssl.ssl_trusted_certificate: %.*s\n", STR_ARG(err));
        fprintf(stderr, "configuration test failed\n");
        return 1;
    }
    SSL_CTX_free(ctx);
    struct tls_server *tls = make_tls(p->settings, &p->arena, &err);
    if (!tls) {
        fprintf(stderr, "eclusa: apisix.ssl.ssl_ciphers: %.*s\n", STR_ARG(err));
        fprintf(stderr, "configuration test failed\n");
        return 1;
    }
    tls_server_free(tls);
    printf("configuration test is successful\n");
    return 0;
}

static const char usage[] =
    "Usage: eclusa COMMAND [-c FILE]\n"
    "\n"
    "  run      start the gateway in the foreground\n"
    "  test     check the configuration file and say what is wrong with it\n"
    "  export   write the whole configuration out of the store\n"
    "  import   put a whole configuration into the store\n"
    "  version  print the version\n"
    "  help     print this text\n"
    "\n"
    "  -c FILE  configuration file (APISIX's config.yaml); default conf/config.yaml\n"
    "           when it is there, else built-in defaults\n"
    "\n"
    "Signals: SIGTERM and SIGQUIT finish the requests under way and end; SIGINT ends at\n"
    "once; SIGUSR1 opens the log files anew; SIGHUP reads the configuration file again and\n"
    "changes where clients are served (doc/operations.md).\n";

static int run_command(const char *command, const char *file)
{
    struct program *p = mem_zero(sizeof(*p));
    int code = 1;

    arena_init(&p->arena, NULL);
    p->file = str_of(file);
    p->settings = settings_load(p->file, &p->arena, &p->err);
    if (p->settings)
        code = strcmp(command, "run") == 0 ? command_run(p) : command_test(p);
    else
        fprintf(stderr, "eclusa: %.*s\n", STR_ARG(p->err));
    if (!p->settings && strcmp(command, "test") == 0)
        fprintf(stderr, "configuration test failed\n");
    if (p->settings)
        settings_free(p->settings);
    arena_fini(&p->arena);
    free(p);
    return code;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "help";
    const char *file = NULL;
    int option;

    tls_memory_setup();
    json_pools_init();
    if (strcmp(command, "export") == 0)
        return command_export(argc, argv);
    if (strcmp(command, "import") == 0)
        return command_import(argc, argv);
    optind = 2;
    while (argc > 2 && (option = getopt(argc, argv, "c:")) != -1) {
        if (option != 'c')
            return 2;
        file = optarg;
    }
    if (strcmp(command, "run") == 0 || strcmp(command, "test") == 0)
        return run_command(command, file);
    if (strcmp(command, "version") == 0 || strcmp(command, "-v") == 0 ||
        strcmp(command, "--version") == 0) {
        puts(ECLUSA_VERSION);
        return 0;
    }
    bool asked = strcmp(command, "help") == 0 || strcmp(command, "-h") == 0 ||
                 strcmp(command, "--help") == 0;
    fputs(usage, asked ? stdout : stderr);
    if (!asked)
        fprintf(stderr, "\neclusa: unknown command \"%s\"\n", command);
    return asked ? 0 : 2;
}
