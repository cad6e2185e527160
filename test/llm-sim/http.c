/* SPDX-License-Identifier: Apache-2.0 */
/* The request parser and the chunked decoder. */
#include "http.h"

#include <strings.h>

static const unsigned char token_char[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1,         ['&'] = 1,         ['\''] = 1,
    ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,         ['^'] = 1,         ['_'] = 1,
    ['`'] = 1, ['|'] = 1, ['~'] = 1, ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

static bool is_token(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!token_char[(unsigned char)s.p[i]])
            return false;
    return s.n > 0;
}

static bool parse_target(struct request *r)
{
    struct slice t = r->target;
    if (t.n == 0)
        return false;
    for (size_t i = 0; i < t.n; i++)
        if ((unsigned char)t.p[i] <= ' ' || t.p[i] == 0x7f)
            return false;
    if (t.p[0] != '/' && !slice_is(t, "*")) {
        /* absolute-form (RFC 9112 section 3.2.2) */
        const char *s = memmem(t.p, t.n, "://", 3);
        if (!s)
            return false;
        const char *end = t.p + t.n;
        s = memchr(s + 3, '/', (size_t)(end - s - 3));
        t = s ? (struct slice){s, (size_t)(end - s)} : SLICE("/");
    }
    const char *q = memchr(t.p, '?', t.n);
    r->path = (struct slice){t.p, q ? (size_t)(q - t.p) : t.n};
    r->query = q ? (struct slice){q + 1, t.n - r->path.n - 1} : (struct slice){"", 0};
    return true;
}

static long parse_line(struct slice line, struct request *r, const char **why)
{
    const char *end = line.p + line.n;
    const char *sp = memchr(line.p, ' ', line.n);
    *why = "bad request line";
    if (!sp)
        return -400;
    r->method = (struct slice){line.p, (size_t)(sp - line.p)};
    const char *sp2 = memchr(sp + 1, ' ', (size_t)(end - sp - 1));
    if (!sp2 || !is_token(r->method))
        return -400;
    r->target = (struct slice){sp + 1, (size_t)(sp2 - sp - 1)};
    struct slice v = {sp2 + 1, (size_t)(end - sp2 - 1)};
    if (v.n != 8 || memcmp(v.p, "HTTP/", 5) != 0)
        return -400;
    *why = "version not supported";
    if (memcmp(v.p + 5, "1.", 2) != 0 || v.p[7] < '0' || v.p[7] > '9')
        return -505;
    r->minor = v.p[7] - '0';
    *why = "bad request target";
    return parse_target(r) ? 0 : -400;
}

static long set_length(struct request *r, struct slice v, const char **why)
{
    uint64_t n;
    *why = "bad Content-Length";
    if (!slice_num(v, INT64_MAX / 2, &n))
        return -400;
    *why = "more than one Content-Length";
    if (r->length >= 0)
        return -400;
    r->length = (int64_t)n;
    return 0;
}

/* What the server itself must know. Picked by length first, so that most headers cost one
 * comparison. */
static long known_header(struct request *r, const struct header *h, const char **why)
{
    struct slice n = h->name, v = h->value;
    switch (n.n) {
    case 4:
        if (slice_is_case(n, "host")) {
            *why = "more than one Host";
            if (r->host.p)
                return -400;
            r->host = v;
        }
        break;
    case 6:
        if (slice_is_case(n, "expect")) {
            *why = "unknown expectation";
            if (!slice_is_case(v, "100-continue"))
                return -417;
            r->expect = true;
        }
        break;
    case 10:
        if (slice_is_case(n, "connection")) {
            r->close |= slice_has_token(v, "close");
            r->keep |= slice_has_token(v, "keep-alive");
        }
        break;
    case 13:
        if (slice_is_case(n, "authorization"))
            r->auth = v;
        break;
    case 14:
        if (slice_is_case(n, "content-length"))
            return set_length(r, v, why);
        break;
    case 17:
        if (slice_is_case(n, "transfer-encoding")) {
            *why = "unknown Transfer-Encoding";
            if (!slice_is_case(v, "chunked") || r->chunked)
                return -501;
            r->chunked = true;
        }
        break;
    default:
        break;
    }
    if (n.n > 6 && strncasecmp(n.p, "x-sim-", 6) == 0)
        r->sim = true;
    return 0;
}

static long parse_header(struct slice line, struct request *r, const char **why)
{
    *why = "bad header line";
    const char *colon = memchr(line.p, ':', line.n);
    if (!colon)
        return -400;
    struct header *h = &r->headers[r->nheaders];
    h->name = (struct slice){line.p, (size_t)(colon - line.p)};
    if (!is_token(h->name)) /* also a folded line and a space before the colon */
        return -400;
    const char *from = colon + 1, *to = line.p + line.n;
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    h->value = (struct slice){from, (size_t)(to - from)};
    if (memchr(from, 0, h->value.n) || memchr(from, '\r', h->value.n))
        return -400;
    r->nheaders++;
    return known_header(r, h, why);
}

long http_parse_head(const char *p, size_t n, struct request *r, const char **why)
{
    size_t skip = 0;
    while (n - skip >= 2 && skip < 4 && p[skip] == '\r' && p[skip + 1] == '\n')
        skip += 2; /* RFC 9112 section 2.2 */
    const char *at = p + skip;
    const char *end = memmem(at, n - skip, "\r\n\r\n", 4);
    *why = "request head too large";
    if (!end)
        return n > HTTP_MAX_HEAD ? -431 : 0;
    if (end - p > HTTP_MAX_HEAD)
        return -431;
    end += 2;
    r->nheaders = 0;
    r->host = r->auth = (struct slice){NULL, 0};
    r->length = -1;
    r->chunked = r->expect = r->close = r->keep = r->sim = false;
    for (bool first = true; at < end; first = false) {
        const char *lf = memchr(at, '\n', (size_t)(end - at));
        *why = "bare LF in the head";
        if (lf == at || lf[-1] != '\r')
            return -400;
        struct slice line = {at, (size_t)(lf - 1 - at)};
        *why = "too many headers";
        if (!first && r->nheaders == HTTP_MAX_HEADERS)
            return -431;
        long bad = first ? parse_line(line, r, why) : parse_header(line, r, why);
        if (bad)
            return bad;
        at = lf + 1;
    }
    *why = "both Content-Length and Transfer-Encoding";
    if (r->chunked && r->length >= 0)
        return -400;
    *why = "no Host";
    if (!r->host.p && r->minor > 0)
        return -400;
    return end + 2 - p;
}

struct slice http_header(const struct request *r, const char *name)
{
    for (size_t i = 0; i < r->nheaders; i++)
        if (slice_is_case(r->headers[i].name, name))
            return r->headers[i].value;
    return (struct slice){NULL, 0};
}

static int hex_digit(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    ch |= 0x20;
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

bool http_query(const struct request *r, const char *name, char *out, size_t size)
{
    struct slice q = r->query;
    size_t len = strlen(name), i = 0;
    while (i < q.n) {
        const char *amp = memchr(q.p + i, '&', q.n - i);
        size_t end = amp ? (size_t)(amp - q.p) : q.n;
        if (end - i > len && q.p[i + len] == '=' && memcmp(q.p + i, name, len) == 0) {
            size_t o = 0;
            for (i += len + 1; i < end && o + 1 < size; i++) {
                char ch = q.p[i];
                if (ch == '%' && i + 2 < end && hex_digit(q.p[i + 1]) >= 0 &&
                    hex_digit(q.p[i + 2]) >= 0) {
                    ch = (char)(hex_digit(q.p[i + 1]) << 4 | hex_digit(q.p[i + 2]));
                    i += 2;
                } else if (ch == '+') {
                    ch = ' ';
                }
                out[o++] = ch;
            }
            out[o] = 0;
            return true;
        }
        i = end + 1;
    }
    return false;
}

uint64_t http_query_num(const struct request *r, const char *name, uint64_t max, uint64_t fallback)
{
    char t[24];
    uint64_t v = fallback;
    if (http_query(r, name, t, sizeof t))
        slice_num((struct slice){t, strlen(t)}, max, &v);
    return v;
}

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {417, "Expectation Failed"},
        {418, "I'm a teapot"},
        {422, "Unprocessable Content"},
        {424, "Failed Dependency"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {529, "Overloaded"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "Status";
}

enum chunk_state {
    AT_SIZE,
    AT_EXT,
    AT_SIZE_LF,
    AT_DATA,
    AT_DATA_CR,
    AT_DATA_LF,
    AT_TRAILER,
    AT_TRAILER_LF
};

/* One byte of the framing around the data. */
static enum chunk_result chunk_byte(struct chunked *k, char ch)
{
    switch ((enum chunk_state)k->state) {
    case AT_SIZE: {
        int v = hex_digit(ch);
        if (v >= 0) {
            if (k->line++ >= 15)
                return CHUNK_BAD;
            k->left = k->left << 4 | (unsigned)v;
            return CHUNK_MORE;
        }
        if (k->line == 0 || (ch != ';' && ch != '\r'))
            return CHUNK_BAD;
        k->state = ch == ';' ? AT_EXT : AT_SIZE_LF;
        return CHUNK_MORE;
    }
    case AT_EXT:
        if (ch == '\n' || k->line++ > 1024)
            return CHUNK_BAD;
        if (ch == '\r')
            k->state = AT_SIZE_LF;
        return CHUNK_MORE;
    case AT_SIZE_LF:
        k->line = 0;
        k->state = k->left ? AT_DATA : AT_TRAILER;
        return ch == '\n' ? CHUNK_MORE : CHUNK_BAD;
    case AT_DATA_CR:
        k->state = AT_DATA_LF;
        return ch == '\r' ? CHUNK_MORE : CHUNK_BAD;
    case AT_DATA_LF:
        k->state = AT_SIZE;
        return ch == '\n' ? CHUNK_MORE : CHUNK_BAD;
    case AT_TRAILER:
        if (ch == '\r')
            k->state = AT_TRAILER_LF;
        else if (ch == '\n' || k->line++ > 8192)
            return CHUNK_BAD;
        return CHUNK_MORE;
    case AT_TRAILER_LF: {
        bool empty = k->line == 0;
        k->line = 0;
        k->state = AT_TRAILER;
        if (ch != '\n')
            return CHUNK_BAD;
        return empty ? CHUNK_DONE : CHUNK_MORE;
    }
    case AT_DATA:
        break;
    }
    return CHUNK_BAD;
}

enum chunk_result http_chunk(struct chunked *k, const char **p, size_t *n, struct slice *data)
{
    while (*n > 0) {
        if (k->state == AT_DATA) {
            size_t take = *n < k->left ? *n : (size_t)k->left;
            *data = (struct slice){*p, take};
            *p += take;
            *n -= take;
            k->left -= take;
            if (k->left == 0)
                k->state = AT_DATA_CR;
            return CHUNK_DATA;
        }
        enum chunk_result res = chunk_byte(k, **p);
        (*p)++;
        (*n)--;
        if (res != CHUNK_MORE)
            return res;
    }
    return CHUNK_MORE;
}
