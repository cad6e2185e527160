/* SPDX-License-Identifier: Apache-2.0 */
/* A gateway while it serves: its parts, and who starts and stops which. Private to program/ and
 * main.c. */
#ifndef PROGRAM_PROGRAM_H
#define PROGRAM_PROGRAM_H

#include <pthread.h>

#include "admin/control.h"
#include "admin/server.h"
#include "config/settings.h"
#include "exchange/listeners.h"
#include "loop/jobs.h"
#include "loop/log_file.h"
#include "plugin/plugin.h"
#include "store/keeper.h"
#include "upstream/peers.h"
#include "upstream/prober.h"

/* All that lives as long as the process serves. Started top down, stopped bottom up. */
struct program {
    struct arena arena;
    struct str err;
    struct str file; /* of the settings, as given; absent: the usual place */
    struct settings *settings;
    struct log_writer *log_writer;
    struct jobs *jobs;
    struct jobs *readers;          /* of long request bodies: others need not wait behind them */
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

/* ---- run.c: the commands, with the settings read; the process's exit code ---- */

int program_run(struct program *p);
int program_test(struct program *p);

/* ---- logs.c. What returns bool in this and the next ones says itself what went wrong, unless said
 * otherwise. ---- */

/* Tells on stderr what could not be done, and why (p->err); false. */
bool program_fail(const struct program *p, const char *what);
bool logs_open(struct program *p);
/* Writes what was logged. */
void logs_close(struct program *p);
/* Makes a folder and those above it, for this user alone. False with the reason in p->err. */
bool logs_folder(struct program *p, struct str path);

/* ---- plugins.c ---- */

/* Those that the settings do not leave out. */
void plugins_choose(struct program *p);
bool plugins_start(struct program *p);
/* Those that were started, last first. */
void plugins_stop(struct program *p);

/* ---- data_side.c ---- */

/* What the settings tell the workers; where they listen is taken from now on. */
bool data_side_prepare(struct program *p);
/* Both after store_side_start: they begin with the keeper's snapshot, and run when told to. */
bool data_side_workers(struct program *p);
bool data_side_prober(struct program *p);
/* TLS to clients as the settings want it; NULL with a message. */
struct tls_server *data_side_tls(const struct settings *s, struct arena *a, struct str *err);

/* ---- store_side.c ---- */

/* Opens the store; the keeper reads it, builds of it, and publishes what changes. */
bool store_side_start(struct program *p);
/* Publishes nothing more: others may still write to the store while the threads end. */
void store_side_quiet(struct program *p);

/* ---- control_side.c ---- */

/* Listens; its thread is started by who serves. */
bool control_side_start(struct program *p);

#endif
