/* SPDX-License-Identifier: Apache-2.0 */
/* Writes an exchange's line into its thread's log buffer. */
#include "exchange/access_log.h"

#include "exchange/vars.h"
#include "exchange/worker.h"
#include "loop/log_file.h"

enum { VALUE_MAX = 8192, LINE_MAX_BYTES = 65536 };

struct access_log {
    struct log_file *file;
    const struct text *format;
    bool json;
    size_t bytes;
    int64_t flush_ms;
};

struct access_log *access_log_new(struct log_file *file, struct str format, bool escape_json,
                                  size_t bytes, int64_t flush_ms, struct arena *a)
{
    struct access_log *log = arena_zero(a, sizeof(*log));

    log->file = file;
    log->format = text_compile(format, a);
    log->json = escape_json;
    log->bytes = bytes;
    log->flush_ms = flush_ms;
    return log;
}

struct log_buffer *access_log_buffer(const struct access_log *log, struct loop *loop)
{
    return log_buffer_new(log->file, loop, log->bytes, log->flush_ms);
}

static const char hex[] = "0123456789ABCDEF";

/* nginx's default escaping: '"', '\' and what is not printable ASCII become \xNN. */
static char *put_default(char *p, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            *p++ = (char)c;
            continue;
        }
        *p++ = '\\';
        *p++ = 'x';
        *p++ = hex[c >> 4];
        *p++ = hex[c & 15];
    }
    return p;
}

static char *put_json(char *p, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            *p++ = (char)c;
        } else if (c == '"' || c == '\\') {
            *p++ = '\\';
            *p++ = (char)c;
        } else {
            memcpy(p, "\\u00", 4);
            p[4] = hex[c >> 4];
            p[5] = hex[c & 15];
            p += 6;
        }
    }
    return p;
}

void access_log_write(struct exchange *ex)
{
    const struct access_log *log = ex->worker->config->access_log;
    struct log_buffer *b = ex->worker->access;

    if (!b)
        return;
    char *start = log_buffer_room(b, LINE_MAX_BYTES), *p = start;
    for (unsigned i = 0; i < log->format->n; i++) {
        const struct text_part *part = &log->format->parts[i];
        struct str v = part->literal;
        if (part->is_var) {
            v = part->var.fn ? part->var.fn(ex, part->var.arg) : STR_NONE;
            if (!v.p)
                v = log->json ? STR("") : STR("-");
        }
        v = str_head(v, VALUE_MAX);
        /* An escaped byte takes six at most. */
        size_t left = LINE_MAX_BYTES - 1 - (size_t)(p - start);
        if (v.n * 6 > left)
            v = str_head(v, left / 6);
        if (!part->is_var) {
            memcpy(p, v.p, v.n);
            p += v.n;
        } else {
            p = log->json ? put_json(p, v) : put_default(p, v);
        }
    }
    *p++ = '\n';
    log_buffer_wrote(b, (size_t)(p - start));
}
