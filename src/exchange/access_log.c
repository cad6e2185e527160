/* SPDX-License-Identifier: Apache-2.0 */
/* Writes an exchange's line into its thread's log buffer. */
#include "exchange/access_log.h"

#include "exchange/vars.h"
#include "exchange/worker.h"
#include "loop/log_file.h"

/* Values are cut, so that no line grows past what a buffer holds. */
enum { VALUE_MAX = 2048, PARTS_MAX = 128, LINE_MAX_BYTES = 65536 };

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
    struct text *text = text_compile(format, TEXT_NGINX, a);
    if (text->n > PARTS_MAX) {
        log_warn("access_log_format: only its first %d parts are written", PARTS_MAX);
        text->n = PARTS_MAX;
    }
    log->format = text;
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

/* How long each byte becomes: nginx's default escaping writes '"', '\\' and what is not printable
 * ASCII as \xNN; its JSON escaping writes the two with a backslash and controls as \u00NN. */
static size_t escaped_size(struct str s, bool json)
{
    size_t n = s.n;

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            n += json ? 1 : 3;
        else if (c < 0x20)
            n += json ? 5 : 3;
        else if (c >= 0x7f && !json)
            n += 3;
    }
    return n;
}

static char *put_escape(char *p, unsigned char c, bool json)
{
    if (json && c >= 0x20) {
        *p++ = '\\';
        *p++ = (char)c;
        return p;
    }
    memcpy(p, json ? "\\u00" : "\\x", json ? 4 : 2);
    p += json ? 4 : 2;
    *p++ = hex[c >> 4];
    *p++ = hex[c & 15];
    return p;
}

static char *put_escaped(char *p, struct str s, bool json)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == '"' || c == '\\' || (c >= 0x7f && !json))
            p = put_escape(p, c, json);
        else
            *p++ = (char)c;
    }
    return p;
}

/* One part of the line as it will stand there. */
struct piece {
    struct str value;
    size_t size; /* escaped */
};

static size_t evaluate(struct exchange *ex, const struct access_log *log, struct piece *pieces)
{
    size_t total = 1;

    for (unsigned i = 0; i < log->format->n; i++) {
        const struct text_part *part = &log->format->parts[i];
        struct str v = part->literal;
        if (part->is_var) {
            v = part->var.fn ? part->var.fn(ex, part->var.arg) : STR_NONE;
            if (!v.p)
                v = log->json ? STR("") : STR("-");
            v = str_head(v, VALUE_MAX);
        }
        pieces[i].value = v;
        pieces[i].size = part->is_var ? escaped_size(v, log->json) : v.n;
        total += pieces[i].size;
    }
    return total;
}

void access_log_write(struct exchange *ex)
{
    const struct access_log *log = ex->worker->config->access_log;
    struct log_buffer *b = ex->worker->access;
    struct piece pieces[PARTS_MAX];

    if (!b)
        return;
    size_t total = evaluate(ex, log, pieces);
    if (total > LINE_MAX_BYTES)
        return;
    char *start = log_buffer_room(b, total), *p = start;
    for (unsigned i = 0; i < log->format->n; i++) {
        if (pieces[i].size == pieces[i].value.n) {
            if (pieces[i].size)
                memcpy(p, pieces[i].value.p, pieces[i].size);
            p += pieces[i].size;
        } else {
            p = put_escaped(p, pieces[i].value, log->json);
        }
    }
    *p++ = '\n';
    log_buffer_wrote(b, (size_t)(p - start));
}
