/* SPDX-License-Identifier: Apache-2.0 */
/* The access log: a text with variables, compiled once, escaped as nginx does. Private to exchange/
 * and main. */
#ifndef EXCHANGE_ACCESS_LOG_H
#define EXCHANGE_ACCESS_LOG_H

#include "base/arena.h"

struct access_log;
struct exchange;
struct log_file;

/* bytes and flush_ms: see log_buffer_new. escape_json: nginx's escape=json, else default. All in
 * the arena. */
struct access_log *access_log_new(struct log_file *file, struct str format, bool escape_json,
                                  size_t bytes, int64_t flush_ms, struct arena *a);
struct log_buffer;
struct loop;
struct log_buffer *access_log_buffer(const struct access_log *log, struct loop *loop);
/* The exchange's line; nothing when there is no access log. */
void access_log_write(struct exchange *ex);

#endif
