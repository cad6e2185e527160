/* SPDX-License-Identifier: Apache-2.0 */
/* Writes an exchange's line into its thread's log buffer. */
#include "exchange/access_log.h"

#include "exchange/vars.h"
#include "exchange/worker.h"
#include "loop/log_file.h"

enum {
    PARTS_MAX = 128,
    LINE_BYTES = 65536,    /* what log_buffer_room gives */
    LITERAL_BYTES = 32768, /* of these for what stands between the variables */
};

/* Stands behind a value that was cut. */
#define CUT "...(cut)"

struct access_log {
    struct log_file *file;
    const struct text *format;
    bool json;
    size_t bytes;
    int64_t flush_ms;
};

/* So many that a line has room for them, whatever the variables' values. */
static unsigned parts_that_fit(const struct text *text)
{
    size_t literals = 0;
    unsigned n = 0;

    for (; n < text->n && n < PARTS_MAX; n++) {
        literals += text->parts[n].is_var ? 0 : text->parts[n].literal.n;
        if (literals > LITERAL_BYTES)
            break;
    }
    return n;
}

struct access_log *access_log_new(struct log_file *file, struct str format, bool escape_json,
                                  size_t bytes, int64_t flush_ms, struct arena *a)
{
    struct access_log *log = arena_zero(a, sizeof(*log));

    log->file = file;
    struct text *text = text_compile(format, TEXT_NGINX, a);
    unsigned parts = parts_that_fit(text);
    if (parts < text->n) {
        log_warn("access_log_format is too long: only its first %u parts are written", parts);
        text->n = parts;
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
    bool cut;
};

static struct str variable(struct exchange *ex, const struct access_log *log,
                           const struct text_part *part)
{
    struct str v = part->var.fn ? part->var.fn(ex, part->var.arg) : STR_NONE;

    if (v.p)
        return v;
    return log->json ? STR("") : STR("-");
}

/* The line's bytes. */
static size_t evaluate(struct exchange *ex, const struct access_log *log, struct piece *pieces)
{
    size_t total = 1;

    for (unsigned i = 0; i < log->format->n; i++) {
        const struct text_part *part = &log->format->parts[i];
        struct str v = part->is_var ? variable(ex, log, part) : part->literal;
        size_t size = part->is_var ? escaped_size(v, log->json) : v.n;
        pieces[i] = (struct piece){.value = v, .size = size};
        total += size;
    }
    return total;
}

/* A character of UTF-8 is not torn. */
static struct str cut_value(struct str v, size_t n)
{
    while (n && ((unsigned char)v.p[n] & 0xc0) == 0x80)
        n--;
    return str_head(v, n);
}

/* Cuts the long values until the line fits: none is left out, and a JSON line stays JSON, however
 * much a client sends. */
static size_t shorten(const struct access_log *log, struct piece *pieces)
{
    size_t total = SIZE_MAX;

    for (size_t max = LINE_BYTES / 2; total > LINE_BYTES; max /= 2) {
        total = 1;
        for (unsigned i = 0; i < log->format->n; i++) {
            struct piece *p = &pieces[i];
            if (log->format->parts[i].is_var && p->value.n > max) {
                p->value = cut_value(p->value, max);
                p->cut = true;
                p->size = escaped_size(p->value, log->json) + sizeof(CUT) - 1;
            }
            total += p->size;
        }
    }
    return total;
}

static char *put_piece(char *p, const struct piece *piece, bool json)
{
    size_t size = piece->size - (piece->cut ? sizeof(CUT) - 1 : 0);

    if (size != piece->value.n)
        p = put_escaped(p, piece->value, json);
    else if (size)
        p = (char *)memcpy(p, piece->value.p, size) + size;
    return piece->cut ? (char *)memcpy(p, CUT, sizeof(CUT) - 1) + sizeof(CUT) - 1 : p;
}

void access_log_write(struct exchange *ex)
{
    const struct access_log *log = ex->worker->config->access_log;
    struct log_buffer *b = ex->worker->access;
    struct piece pieces[PARTS_MAX];

    if (!b)
        return;
    size_t total = evaluate(ex, log, pieces);
    if (total > LINE_BYTES)
        total = shorten(log, pieces);
    char *start = log_buffer_room(b, total), *p = start;
    for (unsigned i = 0; i < log->format->n; i++)
        p = put_piece(p, &pieces[i], log->json);
    *p++ = '\n';
    log_buffer_wrote(b, (size_t)(p - start));
}
