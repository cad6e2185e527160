/* SPDX-License-Identifier: Apache-2.0 */
/* llm-sim: a stand-in for LLM providers and plain upstreams, for tests, demos and load tests.
 * Options, start and stop. */
#include "server.h"
#include "sim.h"
#include "tls.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static const char help[] =
    "llm-sim: simulates LLM providers and plain upstreams\n"
    "  -p PORT             listen in plain text (0 = any free port)\n"
    "  -s PORT             listen with TLS (0 = any free port); needs --cert and --key\n"
    "      --cert FILE     certificate chain, PEM\n"
    "      --key FILE      its key, PEM\n"
    "      --client-ca FILE  ask clients for a certificate of this CA\n"
    "  -b ADDR             address to bind (default 127.0.0.1)\n"
    "  -w N                worker threads (default 1)\n"
    "      --ready-file FILE  write 'plain=PORT tls=PORT' there when listening (also printed)\n"
    "      --events N      words of an answer, one a stream event (default 64)\n"
    "      --gap MS        between two events (default 20; 0 = as fast as possible)\n"
    "      --delay MS      before the first byte of every answer (default 0)\n"
    "      --require-key KEY  LLM paths answer 401 without it\n"
    "      --fault FAULT[,FAULT]  for every request that names none itself (see README.md)\n"
    "      --log FILE      a JSON line for each request ('-' = standard output)\n"
    "  -h, --help          this text\n";

enum {
    OPT_CERT = 256,
    OPT_KEY,
    OPT_CA,
    OPT_READY,
    OPT_EVENTS,
    OPT_GAP,
    OPT_DELAY,
    OPT_REQUIRE,
    OPT_FAULT,
    OPT_LOG
};

static const struct option options[] = {
    {"cert", required_argument, NULL, OPT_CERT},
    {"key", required_argument, NULL, OPT_KEY},
    {"client-ca", required_argument, NULL, OPT_CA},
    {"ready-file", required_argument, NULL, OPT_READY},
    {"events", required_argument, NULL, OPT_EVENTS},
    {"gap", required_argument, NULL, OPT_GAP},
    {"delay", required_argument, NULL, OPT_DELAY},
    {"require-key", required_argument, NULL, OPT_REQUIRE},
    {"fault", required_argument, NULL, OPT_FAULT},
    {"log", required_argument, NULL, OPT_LOG},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static uint32_t number(const char *text, uint32_t max, const char *what)
{
    uint64_t v;
    if (!slice_num((struct slice){text, strlen(text)}, max, &v)) {
        fprintf(stderr, "llm-sim: %s must be a number from 0 to %u, not '%s'\n", what, max, text);
        exit(2);
    }
    return (uint32_t)v;
}

static void set_log(const char *file)
{
    if (strcmp(file, "-") == 0) {
        sim.log_fd = STDOUT_FILENO;
        return;
    }
    sim.log_fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (sim.log_fd < 0) {
        fprintf(stderr, "llm-sim: cannot open the log '%s': %s\n", file, strerror(errno));
        exit(2);
    }
}

static void set_fault(const char *spec)
{
    struct slice bad;
    if (!fault_parse(&sim.fault, (struct slice){spec, strlen(spec)}, &bad)) {
        fprintf(stderr, "llm-sim: unknown fault '%.*s'\n", (int)bad.n, bad.p);
        exit(2);
    }
}

static void set_option(int opt, const char *arg)
{
    switch (opt) {
    case 'p':
        sim.port = (int)number(arg, 65535, "the port (-p)");
        break;
    case 's':
        sim.tls_port = (int)number(arg, 65535, "the TLS port (-s)");
        break;
    case 'b':
        sim.addr = arg;
        break;
    case 'w':
        sim.workers = number(arg, 64, "the number of workers (-w)");
        break;
    case OPT_CERT:
        sim.cert = arg;
        break;
    case OPT_KEY:
        sim.key = arg;
        break;
    case OPT_CA:
        sim.client_ca = arg;
        break;
    case OPT_READY:
        sim.ready_file = arg;
        break;
    case OPT_EVENTS:
        sim.events = number(arg, 1u << 24, "--events");
        break;
    case OPT_GAP:
        sim.gap_ms = number(arg, 1u << 24, "--gap");
        break;
    case OPT_DELAY:
        sim.delay_ms = number(arg, 1u << 24, "--delay");
        break;
    case OPT_REQUIRE:
        sim.require_key = arg;
        break;
    case OPT_FAULT:
        set_fault(arg);
        break;
    case OPT_LOG:
        set_log(arg);
        break;
    case 'h':
        fputs(help, stdout);
        exit(0);
    default:
        fputs("llm-sim: -h lists the options\n", stderr);
        exit(2);
    }
}

static void parse_options(int argc, char **argv)
{
    int opt;
    sim = (struct sim_conf){.addr = "127.0.0.1",
                            .port = -1,
                            .tls_port = -1,
                            .events = 64,
                            .gap_ms = 20,
                            .workers = 1,
                            .log_fd = -1};
    while ((opt = getopt_long(argc, argv, "p:s:b:w:h", options, NULL)) != -1)
        set_option(opt, optarg);
    if (optind < argc) {
        fprintf(stderr, "llm-sim: unexpected argument '%s'\n", argv[optind]);
        exit(2);
    }
    if (sim.port < 0 && sim.tls_port < 0) {
        fputs("llm-sim: nothing to listen on: give -p PORT, -s PORT or both\n", stderr);
        exit(2);
    }
    if (sim.tls_port >= 0 && (!sim.cert || !sim.key)) {
        fputs("llm-sim: -s needs --cert and --key (make-ca.sh makes them)\n", stderr);
        exit(2);
    }
    if (sim.workers == 0) {
        fputs("llm-sim: -w must be at least 1\n", stderr);
        exit(2);
    }
}

/* The file appears with its content, so that who waits for it never reads half of it. */
static bool write_ready(const char *line)
{
    struct buf tmp = {0};
    buf_fmt(&tmp, "%s.tmp%c", sim.ready_file, 0);
    FILE *f = fopen(tmp.p, "w");
    bool ok = f && fputs(line, f) >= 0;
    if (f && fclose(f) != 0)
        ok = false;
    ok = ok && rename(tmp.p, sim.ready_file) == 0;
    if (!ok)
        fprintf(stderr, "llm-sim: cannot write the ready file '%s': %s\n", sim.ready_file,
                strerror(errno));
    buf_free(&tmp);
    return ok;
}

static bool announce(void)
{
    struct buf line = {0};
    bool ok = true;
    if (sim.port >= 0)
        buf_fmt(&line, "plain=%d", sim.port);
    if (sim.tls_port >= 0)
        buf_fmt(&line, "%stls=%d", line.n ? " " : "", sim.tls_port);
    buf_fmt(&line, "\n%c", 0);
    fputs(line.p, stdout);
    fflush(stdout);
    if (sim.ready_file)
        ok = write_ready(line.p);
    buf_free(&line);
    return ok;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    sigset_t set;
    int sig;

    parse_options(argc, argv);
    if (sim.tls_port >= 0 && !tls_init(sim.cert, sim.key, sim.client_ca))
        return 1;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (!server_start())
        return 1;
    int rc = announce() ? 0 : 1;
    if (rc == 0)
        sigwait(&set, &sig);
    server_stop();
    tls_fini();
    return rc;
}
