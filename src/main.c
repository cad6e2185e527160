/* SPDX-License-Identifier: Apache-2.0 */
/* The program: its commands and their arguments. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_pool.h"
#include "base/mem.h"
#include "loop/tls.h"
#include "program/program.h"
#include "store/command.h"

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
        code = strcmp(command, "run") == 0 ? program_run(p) : program_test(p);
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
