/* SPDX-License-Identifier: Apache-2.0 */
/* The order of start and stop, and the signals in between. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/hash.h"
#include "config/settings.h"
#include "loop/tls.h"
#include "program/program.h"

enum { JOB_THREADS = 4, READ_THREADS = 2 };

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
    store_side_quiet(p);
    for (unsigned i = 0; i < p->nworkers; i++)
        sig == SIGINT ? worker_stop(p->workers[i]) : worker_drain(p->workers[i]);
    for (unsigned i = 0; i < p->nworkers; i++)
        p->hung |= !worker_join(p->workers[i]);
    if (p->prober)
        prober_stop(p->prober);
}

/* What is stored is safe, and what was logged is written. What the job may look at is not freed; it
 * goes with the process. */
static void leave_job(struct program *p)
{
    keeper_end(p->keeper);
    log_error("a job hangs, most likely in a read or write of a file: leaving without it");
    logs_close(p);
    _exit(0);
}

static void stop(struct program *p)
{
    if (p->hung || !jobs_end(p->jobs, WORKER_JOBS_MS) || !jobs_end(p->readers, WORKER_JOBS_MS))
        leave_job(p);
    if (p->admin)
        admin_free(p->admin);
    if (p->keeper)
        keeper_stop(p->keeper);
    plugins_stop(p);
    peers_free(p->config.peers);
    SSL_CTX_free(p->config.tls_verified);
    SSL_CTX_free(p->config.tls_unverified);
    tls_server_free(p->config.tls);
    listeners_fini(&p->listeners);
    logs_close(p);
}

/* No worker runs yet, but the keeper does, and plugins may have threads of their own: what they
 * look at goes with the process. */
static void leave_start(struct program *p)
{
    if (p->keeper)
        keeper_end(p->keeper);
    plugins_stop(p);
    logs_close(p);
    _exit(1);
}

int program_run(struct program *p)
{
    sigset_t signals;

    block_signals(&signals);
    hash_setup();
    if (!logs_open(p))
        return 1;
    raise_file_limit(p->settings);
    plugins_choose(p);
    p->jobs = jobs_new(JOB_THREADS);
    p->readers = jobs_new(READ_THREADS);
    p->config.peers = peers_new();
    pthread_mutex_init(&p->publishing, NULL);
    if (!data_side_prepare(p) || !plugins_start(p) || !store_side_start(p) ||
        !data_side_workers(p) || !data_side_prober(p) || !control_side_start(p))
        leave_start(p);
    serve(p, &signals);
    stop(p);
    return 0;
}

int program_test(struct program *p)
{
    struct str err;
    SSL_CTX *ctx = tls_client_context(p->settings->trusted_certificate, true, &p->arena, &err);

    if (!ctx) {
        fprintf(stderr, "eclusa: apisix.ssl.ssl_trusted_certificate: %.*s\n", STR_ARG(err));
        fprintf(stderr, "configuration test failed\n");
        return 1;
    }
    SSL_CTX_free(ctx);
    struct tls_server *tls = data_side_tls(p->settings, &p->arena, &err);
    if (!tls) {
        fprintf(stderr, "eclusa: apisix.ssl.ssl_ciphers: %.*s\n", STR_ARG(err));
        fprintf(stderr, "configuration test failed\n");
        return 1;
    }
    tls_server_free(tls);
    printf("configuration test is successful\n");
    return 0;
}
