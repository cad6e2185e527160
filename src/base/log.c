/* SPDX-License-Identifier: Apache-2.0 */
/* Formats a log line and hands it to the sink. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

enum { LINE_MAX_BYTES = 4096 };

static const char *const level_names[] = {"emerg", "alert",  "crit", "error",
                                          "warn",  "notice", "info", "debug"};

static void log_to_stderr(enum log_level level, struct str line)
{
    fprintf(stderr, "[%s] %.*s\n", level_names[level], STR_ARG(line));
}

static log_sink_fn *log_sink = log_to_stderr;
static enum log_level log_level_max = LOG_WARN;

void log_setup(log_sink_fn *sink, enum log_level level)
{
    log_sink = sink ? sink : log_to_stderr;
    log_level_max = level;
}

bool log_enabled(enum log_level level)
{
    return level <= log_level_max;
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

bool log_level_parse(struct str name, enum log_level *out)
{
    for (unsigned i = 0; i < sizeof(level_names) / sizeof(*level_names); i++) {
        if (str_eq(name, str_of(level_names[i]))) {
            *out = (enum log_level)i;
            return true;
        }
    }
    *out = LOG_WARN;
    return false;
}

static size_t escape(const char *in, size_t n, char *out, size_t size)
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0;

    for (size_t i = 0; i < n && at + 4 < size; i++) {
        unsigned char c = (unsigned char)in[i];
        if (c >= 0x20 && c != 0x7f) {
            out[at++] = (char)c;
            continue;
        }
        out[at++] = '\\';
        out[at++] = 'x';
        out[at++] = hex[c >> 4];
        out[at++] = hex[c & 15];
    }
    return at;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    char raw[LINE_MAX_BYTES], line[LINE_MAX_BYTES];
    va_list ap;

    if (level > log_level_max)
        return;
    va_start(ap, fmt);
    int n = vsnprintf(raw, sizeof(raw), fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    size_t len = (size_t)n < sizeof(raw) ? (size_t)n : sizeof(raw) - 1;
    log_sink(level, str_make(line, escape(raw, len, line, sizeof(line))));
}
