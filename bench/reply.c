/* SPDX-License-Identifier: Apache-2.0 */
/* reply.c: the response reader of reply.h, one small function per state.
 * It trusts no length and no line: what it does not know is REPLY_BAD. */
#include "reply.h"

#include <string.h>
#include <strings.h>

void reply_reset(struct reply *r)
{
    r->state = REPLY_HEAD;
    r->status = 0;
    r->close = false;
    r->left = r->body = 0;
    r->nline = r->nhead = 0;
}

static bool reply_number(const char *s, const char *end, uint64_t *out)
{
    uint64_t n = 0;

    while (s < end && (*s == ' ' || *s == '\t'))
        s++;
    if (s == end || end - s > 18)
        return false;
    for (; s < end; s++) {
        if (*s < '0' || *s > '9')
            return false;
        n = n * 10 + (uint64_t)(*s - '0');
    }
    *out = n;
    return true;
}

static bool reply_is(const char *line, const char *end, const char *name)
{
    size_t n = strlen(name);
    return (size_t)(end - line) > n && line[n] == ':' && strncasecmp(line, name, n) == 0;
}

static bool reply_has(const char *line, const char *end, const char *word)
{
    size_t n = strlen(word);
    for (; (size_t)(end - line) >= n; line++)
        if (strncasecmp(line, word, n) == 0)
            return true;
    return false;
}

/* Reads a whole head, without its empty line, and sets the state that the body asks for. */
static enum reply_state reply_head(struct reply *r, const char *head, size_t len)
{
    const char *end = head + len, *line;
    bool chunked = false, sized = false;

    if (len < 12 || memcmp(head, "HTTP/1.1 ", 9) != 0)
        return REPLY_BAD;
    r->status = (head[9] - '0') * 100 + (head[10] - '0') * 10 + (head[11] - '0');
    if (r->status < 100 || r->status > 599)
        return REPLY_BAD;
    for (line = memchr(head, '\n', len); line && line + 1 < end;) {
        line++;
        const char *eol = memchr(line, '\n', (size_t)(end - line));
        const char *stop = eol ? eol : end;
        if (stop > line && stop[-1] == '\r')
            stop--;
        if (reply_is(line, stop, "content-length")) {
            sized = true;
            if (!reply_number(line + sizeof "content-length", stop, &r->left))
                return REPLY_BAD;
        } else if (reply_is(line, stop, "transfer-encoding")) {
            chunked = reply_has(line, stop, "chunked");
        } else if (reply_is(line, stop, "connection")) {
            r->close = reply_has(line, stop, "close");
        }
        line = eol;
    }
    if (r->status < 200)
        return REPLY_HEAD;
    if (r->status == 204 || r->status == 304)
        return REPLY_DONE;
    if (chunked)
        return sized ? REPLY_BAD : REPLY_CHUNK_SIZE;
    if (sized)
        return r->left ? REPLY_LENGTH : REPLY_DONE;
    return REPLY_TO_CLOSE;
}

/* Uses bytes up to the end of the head; keeps them when the end has not come yet. */
static size_t reply_feed_head(struct reply *r, const char *data, size_t len)
{
    const char *end;
    size_t had = r->nhead, take = len, hlen;

    if (had == 0 && (end = memmem(data, len, "\r\n\r\n", 4)) != NULL) {
        hlen = (size_t)(end - data);
        r->state = reply_head(r, data, hlen);
        return hlen + 4;
    }
    if (take > REPLY_HEAD_MAX - had)
        take = REPLY_HEAD_MAX - had;
    memcpy(r->head + had, data, take);
    r->nhead += take;
    end = memmem(r->head, r->nhead, "\r\n\r\n", 4);
    if (end == NULL) {
        if (r->nhead == REPLY_HEAD_MAX)
            r->state = REPLY_BAD;
        return take;
    }
    hlen = (size_t)(end - r->head);
    r->nhead = 0;
    r->state = reply_head(r, r->head, hlen);
    return hlen + 4 - had;
}

static int reply_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of a chunk's size line; extensions are skipped. */
static void reply_size_byte(struct reply *r, char c)
{
    int digit = reply_hex(c);

    if (c == '\n') {
        if (r->nline == 0)
            r->state = REPLY_BAD;
        else
            r->state = r->left ? REPLY_CHUNK_DATA : REPLY_TRAILER;
        r->nline = 0;
    } else if (digit >= 0 && r->nline < 8) {
        r->left = r->left * 16 + (uint64_t)digit;
        r->nline++;
    } else if (c == ';' && r->nline) {
        r->nline = 9; /* past the digits: only the line's end counts now */
    } else if (c != '\r' && r->nline != 9) {
        r->state = REPLY_BAD;
    }
}

/* One byte of the lines after the last chunk: an empty one ends the response. */
static void reply_trailer_byte(struct reply *r, char c)
{
    if (c == '\n') {
        if (r->nline == 0)
            r->state = REPLY_DONE;
        r->nline = 0;
    } else if (c != '\r') {
        r->nline++;
    }
}

static void reply_end_byte(struct reply *r, char c)
{
    if (c == '\n')
        r->state = REPLY_CHUNK_SIZE;
    else if (c != '\r')
        r->state = REPLY_BAD;
}

/* Body bytes up to what is left of the body or the chunk. */
static size_t reply_feed_data(struct reply *r, const char *data, size_t len, reply_body_fn *on_body,
                              void *ctx)
{
    size_t n = len;

    if (r->state != REPLY_TO_CLOSE && n > r->left)
        n = (size_t)r->left;
    if (on_body)
        on_body(ctx, data, n);
    r->body += n;
    if (r->state == REPLY_TO_CLOSE)
        return n;
    r->left -= n;
    if (r->left == 0)
        r->state = r->state == REPLY_LENGTH ? REPLY_DONE : REPLY_CHUNK_END;
    return n;
}

size_t reply_feed(struct reply *r, const char *data, size_t len, reply_body_fn *on_body, void *ctx)
{
    size_t used = 0;

    while (used < len) {
        switch (r->state) {
        case REPLY_HEAD:
            used += reply_feed_head(r, data + used, len - used);
            break;
        case REPLY_LENGTH:
        case REPLY_CHUNK_DATA:
        case REPLY_TO_CLOSE:
            used += reply_feed_data(r, data + used, len - used, on_body, ctx);
            break;
        case REPLY_CHUNK_SIZE:
            reply_size_byte(r, data[used++]);
            break;
        case REPLY_CHUNK_END:
            reply_end_byte(r, data[used++]);
            break;
        case REPLY_TRAILER:
            reply_trailer_byte(r, data[used++]);
            break;
        case REPLY_DONE:
        case REPLY_BAD:
            return used;
        }
    }
    return used;
}

bool reply_eof(struct reply *r)
{
    if (r->state != REPLY_TO_CLOSE)
        return false;
    r->state = REPLY_DONE;
    return true;
}
