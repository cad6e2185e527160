/* SPDX-License-Identifier: Apache-2.0 */
/* What the program tells before there is a log, the logs, and the folders that files go to. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exchange/access_log.h"
#include "program/program.h"

bool program_fail(const struct program *p, const char *what)
{
    fprintf(stderr, "eclusa: %s: %.*s\n", what, STR_ARG(p->err));
    return false;
}

bool logs_folder(struct program *p, struct str path)
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

bool logs_open(struct program *p)
{
    const struct settings_log *l = &p->settings->log;
    struct log_file *f = NULL;

    p->log_writer = log_writer_start();
    if (l->error_file.p) {
        f = log_writer_open(p->log_writer, l->error_file, &p->arena, &p->err);
        if (!f)
            return program_fail(p, "error log");
    } else {
        f = log_writer_open(p->log_writer, STR("stderr"), &p->arena, &p->err);
    }
    log_writer_errors_to(p->log_writer, f, l->error_level);
    if (!l->access)
        return true;
    ptrdiff_t slash = str_rfind(l->access_file, '/');
    if (slash > 0 && !logs_folder(p, str_head(l->access_file, (size_t)slash)))
        return program_fail(p, "access log");
    f = log_writer_open(p->log_writer, l->access_file, &p->arena, &p->err);
    if (!f)
        return program_fail(p, "access log");
    p->config.access_log = access_log_new(f, l->access_format, l->access_escape == ESCAPE_JSON,
                                          l->access_buffer, l->access_flush_ms, &p->arena);
    return true;
}

void logs_close(struct program *p)
{
    if (!p->log_writer)
        return;
    log_writer_errors_to(p->log_writer, NULL, LOG_WARN);
    log_writer_stop(p->log_writer);
}
