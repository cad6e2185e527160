/* SPDX-License-Identifier: Apache-2.0 */
/* The error log's front door. A line is formatted here and handed to a sink that must not block;
 * who writes it, and where, is decided at start (loop/log_file). */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

#include "base/str.h"

/* nginx's levels, as APISIX's nginx_config.error_log_level names them. */
enum log_level {
    LOG_EMERG,
    LOG_ALERT,
    LOG_CRIT,
    LOG_ERROR,
    LOG_WARN,
    LOG_NOTICE,
    LOG_INFO,
    LOG_DEBUG,
};

/* Takes a whole line (without newline or time stamp). Called from any thread; must not wait. */
typedef void log_sink_fn(enum log_level level, struct str line);

/* Process-wide; set once before threads start. Default: stderr, LOG_WARN. */
void log_setup(log_sink_fn *sink, enum log_level level);
bool log_enabled(enum log_level level);
const char *log_level_name(enum log_level level);
/* LOG_WARN and false for an unknown name. */
bool log_level_parse(struct str name, enum log_level *out);

/* One line, at most 4 KiB, longer ones are cut. Control bytes are written as \xNN, so that what a
 * peer sends cannot forge lines. Secrets must not be passed. */
void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)  log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)   log_write(LOG_WARN, __VA_ARGS__)
#define log_notice(...) log_write(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)                         \
    do {                                      \
        if (log_enabled(LOG_INFO))            \
            log_write(LOG_INFO, __VA_ARGS__); \
    } while (0)

#endif
