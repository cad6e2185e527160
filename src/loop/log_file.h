/* SPDX-License-Identifier: Apache-2.0 */
/* Log files, written by a thread of their own: whoever logs hands over a filled buffer and never
 * waits for a disk. When the disk is slower than the logging, lines are dropped and counted, not
 * queued for ever. */
#ifndef LOOP_LOG_FILE_H
#define LOOP_LOG_FILE_H

#include "base/arena.h"
#include "base/log.h"
#include "loop/loop.h"

struct log_writer;
struct log_file;

/* Starts the writing thread; one per process. */
struct log_writer *log_writer_start(void);
/* Writes what was handed over, ends the thread, closes the files; the error log goes back to
 * stderr. All buffers must be gone, and no other thread may log. A pipe whose reader takes nothing
 * holds this up for 2 s, then its lines are lost. */
void log_writer_stop(struct log_writer *w);
/* Opens path for appending ("/dev/stdout", "/dev/stderr" and "stderr" work too); the same path
 * twice gives the same file, and so do two names of one pipe or terminal. At most 64 files. NULL
 * with a message in the arena. */
struct log_file *log_writer_open(struct log_writer *w, struct str path, struct arena *a,
                                 struct str *err);
/* Opens all files anew (SIGUSR1, after log rotation), behind what was handed over before; does not
 * wait for it. A file that cannot be opened stays as it is, with an error logged. From any thread
 * but a signal handler. */
void log_writer_reopen(struct log_writer *w);

/* The error log's sink (base/log.h) becomes f: "2026/11/22 13:55:49 [error] PID#TID: text", nginx's
 * form. From any thread, without waiting; at most 1 MiB is queued, then lines are dropped and the
 * number of dropped ones is logged later. NULL: back to stderr. */
void log_writer_errors_to(struct log_writer *w, struct log_file *f, enum log_level level);

/* A thread's own buffer in front of a file. */
struct log_buffer;

/* Handed over when `bytes` are gathered (0: each line) or, by a timer of the loop, flush_ms after
 * the first line (0: no timer). At most 8 MiB wait for one file. */
struct log_buffer *log_buffer_new(struct log_file *f, struct loop *loop, size_t bytes,
                                  int64_t flush_ms);
/* Room for a line of at most n bytes (n <= 65536), written in place; then log_buffer_wrote with
 * what was used. */
char *log_buffer_room(struct log_buffer *b, size_t n);
void log_buffer_wrote(struct log_buffer *b, size_t n);
/* Hands over what is there. */
void log_buffer_flush(struct log_buffer *b);
/* Flushes and frees; on the loop's thread, or when it has ended. */
void log_buffer_free(struct log_buffer *b);
/* Lines (buffers counted as one each) dropped because the disk was too slow. */
uint64_t log_file_dropped(const struct log_file *f);

#endif
