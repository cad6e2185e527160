/* SPDX-License-Identifier: Apache-2.0 */
/* Chunked bodies: sizes, data, trailers (RFC 9112 §7.1). */
#include "http/h1.h"

enum state {
    SIZE,
    BLANK,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER,
    TRAILER_LINE,
    TRAILER_LF,
    LAST_LF,
    END
};

enum { TRAILER_MAX = 8192 };

void chunked_init(struct chunked *c, struct buf *trailers)
{
    *c = (struct chunked){.state = SIZE, .trailers = trailers};
}

static bool size_byte(struct chunked *c, char b)
{
    int v = ascii_hex(b);

    if (++c->line > CHUNK_LINE_MAX)
        return false;
    if (v >= 0) {
        /* 15 digits stay far from overflow, leading zeros or not. */
        if (++c->digits > 15)
            return false;
        c->left = c->left << 4 | (unsigned)v;
        return true;
    }
    if (!c->digits)
        return false;
    if (b == '\r')
        c->state = SIZE_LF;
    else if (b == ';')
        c->state = EXTENSION;
    else if (b == ' ' || b == '\t')
        c->state = BLANK;
    else
        return false;
    return true;
}

/* Blanks may stand before an extension (§7.1.1), and servers pad sizes with them; a second number
 * may not follow. */
static bool blank_byte(struct chunked *c, char b)
{
    if (++c->line > CHUNK_LINE_MAX)
        return false;
    if (b == '\r')
        c->state = SIZE_LF;
    else if (b == ';')
        c->state = EXTENSION;
    else
        return b == ' ' || b == '\t';
    return true;
}

/* Extensions are skipped (§7.1.1), but not without end, and not with control bytes. */
static bool extension_byte(struct chunked *c, char b)
{
    if (++c->line > CHUNK_LINE_MAX)
        return false;
    if (b == '\r') {
        c->state = SIZE_LF;
        return true;
    }
    return h1_value_ok(str_make(&b, 1));
}

static bool trailer_byte(struct chunked *c, char b)
{
    if (++c->trailer_bytes > TRAILER_MAX)
        return false;
    return !c->trailers || buf_add(c->trailers, str_make(&b, 1));
}

/* One byte of framing; false: malformed. */
static bool frame_byte(struct chunked *c, char b)
{
    switch ((enum state)c->state) {
    case SIZE:
        return size_byte(c, b);
    case BLANK:
        return blank_byte(c, b);
    case EXTENSION:
        return extension_byte(c, b);
    case SIZE_LF:
        if (b != '\n')
            return false;
        c->state = c->left ? DATA : TRAILER;
        c->line = c->digits = 0;
        return true;
    case DATA_CR:
        c->state = DATA_LF;
        return b == '\r';
    case DATA_LF:
        c->state = SIZE;
        return b == '\n';
    case TRAILER: /* at the start of a line */
        if (b == '\r') {
            c->state = LAST_LF;
            return true;
        }
        c->state = TRAILER_LINE;
        return b != '\n' && trailer_byte(c, b);
    case TRAILER_LINE:
        if (b == '\r')
            c->state = TRAILER_LF;
        return b != '\n' && trailer_byte(c, b);
    case TRAILER_LF:
        c->state = TRAILER;
        return b == '\n' && trailer_byte(c, b);
    case LAST_LF:
        c->state = END;
        return b == '\n';
    case DATA:
    case END:
        break;
    }
    return false;
}

enum chunked_event chunked_next(struct chunked *c, struct str *in, struct str *data)
{
    while (in->n) {
        if (c->state == DATA) {
            size_t n = in->n < c->left ? in->n : (size_t)c->left;
            *data = str_head(*in, n);
            *in = str_from(*in, n);
            c->left -= n;
            if (!c->left)
                c->state = DATA_CR;
            return CHUNKED_DATA;
        }
        if (!frame_byte(c, in->p[0]))
            return CHUNKED_BAD;
        *in = str_from(*in, 1);
        if (c->state == END)
            return CHUNKED_END;
    }
    return CHUNKED_MORE;
}

/* Fields that change framing, routing, authentication or the meaning of the head must not come late
 * (RFC 9110 §6.5.1). */
static const bool not_in_trailer[HEADER_COUNT] = {
    [HEADER_CONTENT_LENGTH] = true,
    [HEADER_TRANSFER_ENCODING] = true,
    [HEADER_HOST] = true,
    [HEADER_CONNECTION] = true,
    [HEADER_AUTHORIZATION] = true,
    [HEADER_PROXY_AUTHORIZATION] = true,
    [HEADER_COOKIE] = true,
    [HEADER_SET_COOKIE] = true,
    [HEADER_EXPECT] = true,
    [HEADER_TE] = true,
    [HEADER_TRAILER] = true,
    [HEADER_UPGRADE] = true,
    [HEADER_CONTENT_ENCODING] = true,
    [HEADER_CONTENT_TYPE] = true,
    /* and what a recipient that merges trailers into the head would believe to be ours */
    [HEADER_FORWARDED] = true,
    [HEADER_X_FORWARDED_FOR] = true,
    [HEADER_X_FORWARDED_HOST] = true,
    [HEADER_X_FORWARDED_PORT] = true,
    [HEADER_X_FORWARDED_PROTO] = true,
    [HEADER_X_REAL_IP] = true,
    [HEADER_KEEP_ALIVE] = true,
    [HEADER_PROXY_CONNECTION] = true,
};

bool h1_parse_trailers(struct str in, struct header *list, unsigned cap, struct head *head)
{
    head_init(head, list, cap);
    while (in.n) {
        struct str line, name, value;
        ptrdiff_t end = str_search(in, STR("\r\n"));
        if (end < 0)
            return false;
        line = str_head(in, (size_t)end);
        in = str_from(in, (size_t)end + 2);
        if (!str_cut(line, ':', &name, &value) || !h1_token_ok(name))
            return false;
        if (!h1_value_ok(value) || not_in_trailer[header_id(name)] ||
            !head_add(head, NULL, header_id(name), name, str_trim(value)))
            return false;
    }
    return true;
}
