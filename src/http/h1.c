/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP/1 head parser. One pass over the bytes; each check names the rule it follows. */
#include "http/h1.h"

#include "http/uri.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Classes of bytes, one bit each. */
enum { TOKEN = 1, VALUE = 2, TARGET = 4 };

/* token: RFC 9110 §5.6.2; value: field-vchar, SP, HTAB and obs-text (§5.5); target: visible bytes
 * without '#' (a fragment is not sent, RFC 9110 §4.2.5), and obs-text as real clients send it. */
static const uint8_t classes[256] = {
#define TV (TOKEN | VALUE | TARGET)
#define V  (VALUE | TARGET)
    ['\t'] = VALUE,     [' '] = VALUE, ['!'] = TV,          ['"'] = V,   ['#'] = TOKEN | VALUE,
    ['$'] = TV,         ['%'] = TV,    ['&'] = TV,          ['\''] = TV, ['('] = V,
    [')'] = V,          ['*'] = TV,    ['+'] = TV,          [','] = V,   ['-'] = TV,
    ['.'] = TV,         ['/'] = V,     ['0' ... '9'] = TV,  [':'] = V,   [';'] = V,
    ['<'] = V,          ['='] = V,     ['>'] = V,           ['?'] = V,   ['@'] = V,
    ['A' ... 'Z'] = TV, ['['] = V,     ['\\'] = V,          [']'] = V,   ['^'] = TV,
    ['_'] = TV,         ['`'] = TV,    ['a' ... 'z'] = TV,  ['{'] = V,   ['|'] = TV,
    ['}'] = V,          ['~'] = TV,    [0x80 ... 0xff] = V,
#undef TV
#undef V
};

static inline bool is_class(char c, uint8_t class)
{
    return classes[(unsigned char)c] & class;
}

/* First byte at or after p that is not in the class. */
static inline const char *skip_class(const char *p, const char *end, uint8_t class)
{
    while (p < end && is_class(*p, class))
        p++;
    return p;
}

/* First byte that may not be in a header value: controls but HTAB, and DEL. */
static const char *skip_value(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i below = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);
    while (end - p >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* Unsigned x <= 0x1f as max(x, 0x1f) == 0x1f. */
        __m128i low = _mm_cmpeq_epi8(_mm_max_epu8(x, below), below);
        __m128i bad = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(x, tab), low),
                                   _mm_cmpeq_epi8(x, del));
        unsigned mask = (unsigned)_mm_movemask_epi8(bad);
        if (mask)
            return p + __builtin_ctz(mask);
        p += 16;
    }
#endif
    return skip_class(p, end, VALUE);
}

bool h1_value_ok(struct str value)
{
    return value.n == 0 || skip_value(value.p, value.p + value.n) == value.p + value.n;
}

bool h1_token_ok(struct str name)
{
    return name.n && skip_class(name.p, name.p + name.n, TOKEN) == name.p + name.n;
}

bool h1_head_ends(struct str in, size_t seen)
{
    struct str rest = str_from(in, seen > 2 ? seen - 2 : 0);

    /* What ends in a bare LF is an end too: of a head that is refused, and need not be waited for.
     */
    return str_search(rest, STR("\n\r\n")) >= 0 || str_search(rest, STR("\n\n")) >= 0;
}

/* ---- Header lines
 * -------------------------------------------------------------------------------- */

struct parser {
    const char *p, *end;
    enum reason why;
};

static enum h1_status bad(struct parser *s, enum reason why)
{
    s->why = why;
    return H1_ERROR;
}

/* A CR LF at p. RFC 9112 §2.2 lets a recipient take a bare LF; we do not, since peers that disagree
 * on where a line ends can be made to disagree on where a request ends. */
static enum h1_status line_end(struct parser *s)
{
    if (s->p == s->end)
        return H1_MORE;
    if (*s->p != '\r')
        return bad(s, *s->p == '\n' ? REASON_BARE_CR_OR_LF : REASON_BAD_HEADER_VALUE);
    if (s->p + 1 == s->end)
        return H1_MORE;
    if (s->p[1] != '\n')
        return bad(s, REASON_BARE_CR_OR_LF);
    s->p += 2;
    return H1_DONE;
}

static enum h1_status header_line(struct parser *s, struct head *head)
{
    const char *name = s->p;
    const char *colon = skip_class(name, s->end, TOKEN);

    if (colon == s->end)
        return H1_MORE;
    if (colon == name || *colon != ':') {
        /* Space before the colon: RFC 9112 §5.1; folding: §5.2; both are errors in a server. */
        if (colon == name && (*name == ' ' || *name == '\t'))
            return bad(s, REASON_OBS_FOLD);
        return bad(s, REASON_BAD_HEADER_NAME);
    }
    const char *value = colon + 1;
    while (value < s->end && (*value == ' ' || *value == '\t'))
        value++;
    const char *end = skip_value(value, s->end);
    s->p = end;
    enum h1_status status = line_end(s);
    if (status != H1_DONE)
        return status;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    struct str n = str_make(name, (size_t)(colon - name));
    if (!head_add(head, NULL, header_id(n), n, str_make(value, (size_t)(end - value))))
        return bad(s, REASON_TOO_MANY_HEADERS);
    return H1_DONE;
}

static enum h1_status header_lines(struct parser *s, struct head *head)
{
    for (;;) {
        if (s->p == s->end)
            return H1_MORE;
        if (*s->p == '\r' || *s->p == '\n')
            return line_end(s);
        enum h1_status status = header_line(s, head);
        if (status != H1_DONE)
            return status;
    }
}

/* ---- Framing
 * ------------------------------------------------------------------------------------- */

/* A single decimal number. Repeated or list-valued lengths are refused even when they agree (the
 * choice that RFC 9112 §6.3 leaves open). */
static bool content_length(const struct head *head, uint64_t *out)
{
    const struct header *first = head_find(head, HEADER_CONTENT_LENGTH);

    for (const struct header *h = first + 1; h < head->list + head->n; h++)
        if (h->id == HEADER_CONTENT_LENGTH)
            return false;
    return str_to_u64(header_str_value(first), INT64_MAX, out);
}

/* Exactly one line with the one coding chunked: anything else would need codings that nobody asks a
 * gateway for, and hides requests (RFC 9112 §6.1). */
static bool is_chunked(const struct head *head)
{
    const struct header *first = head_find(head, HEADER_TRANSFER_ENCODING);

    for (const struct header *h = first + 1; h < head->list + head->n; h++)
        if (h->id == HEADER_TRANSFER_ENCODING)
            return false;
    return str_eq_nocase(header_str_value(first), STR("chunked"));
}

static bool connection_has(const struct head *head, struct str token)
{
    if (!head->first[HEADER_CONNECTION])
        return false;
    for (unsigned i = head->first[HEADER_CONNECTION] - 1u; i < head->n; i++)
        if (head->list[i].id == HEADER_CONNECTION &&
            list_has_token(header_str_value(&head->list[i]), token))
            return true;
    return false;
}

static bool keeps_alive(const struct head *head, unsigned minor)
{
    if (connection_has(head, STR("close")))
        return false;
    return minor >= 1 || connection_has(head, STR("keep-alive"));
}

/* ---- Requests
 * ------------------------------------------------------------------------------------ */

/* Whether what is at p has the form: '0' stands for a digit, all else for itself. */
static enum h1_status has_form(const struct parser *s, const char *form)
{
    const char *p = s->p;

    for (; *form; form++, p++) {
        if (p == s->end)
            return H1_MORE;
        if (*form == '0' ? !ascii_digit(*p) : *p != *form)
            return H1_ERROR;
    }
    return H1_DONE;
}

/* "HTTP/1.x" at p. */
static enum h1_status version(struct parser *s, uint8_t *minor)
{
    enum h1_status status = has_form(s, "HTTP/0.0");

    if (status != H1_DONE)
        return status == H1_MORE ? status : bad(s, REASON_BAD_VERSION);
    if (s->p[5] != '1')
        return bad(s, REASON_VERSION_UNSUPPORTED);
    /* A later minor version is answered as 1.1 (RFC 9110 §2.5). */
    *minor = s->p[7] == '0' ? 0 : 1;
    s->p += 8;
    return H1_DONE;
}

static enum h1_status request_line(struct parser *s, const struct h1_limits *limits,
                                   struct h1_request *out)
{
    const char *line = s->p, *start = line;
    const char *end = skip_class(start, s->end, TOKEN);

    if (end - start > 32)
        return bad(s, REASON_BAD_METHOD);
    if (end == s->end || (*start == '\r' && start + 1 == s->end))
        return H1_MORE;
    if (end == start || *end != ' ')
        return bad(s, (unsigned char)*start == 0x16 ? REASON_BAD_REQUEST_LINE : REASON_BAD_METHOD);
    out->method = str_make(start, (size_t)(end - start));
    start = end + 1;
    end = skip_class(start, s->end, TARGET);
    if ((size_t)(end - start) > limits->uri_bytes)
        return bad(s, REASON_URI_TOO_LONG);
    if (end == s->end)
        return H1_MORE;
    if (end == start || *end != ' ')
        return bad(s, *end == '\r' || *end == '\n' ? REASON_BAD_REQUEST_LINE : REASON_BAD_TARGET);
    out->target = str_make(start, (size_t)(end - start));
    s->p = end + 1;
    enum h1_status status = version(s, &out->minor);
    if (status != H1_DONE)
        return status;
    if (s->p < s->end && *s->p != '\r' && *s->p != '\n')
        return bad(s, REASON_BAD_VERSION);
    out->line = str_make(line, (size_t)(s->p - line));
    return line_end(s);
}

/* What has come of a request line that is malformed or not whole. */
static struct str partial_line(const char *p, const char *end)
{
    const char *line = p;

    while (p < end && *p != '\r' && *p != '\n')
        p++;
    return str_make(line, (size_t)(p - line));
}

/* Splits the target (RFC 9112 §3.2) and finds the host. */
static enum reason target_parts(struct h1_request *r)
{
    struct str t = r->target;

    /* TRACE would show the client what we add for the upstream (RFC 9110 §9.3.8). */
    if (str_eq(r->method, STR("CONNECT")) || str_eq(r->method, STR("TRACE")))
        return REASON_METHOD_UNSUPPORTED;
    if (t.p[0] != '/') {
        size_t scheme = 0;
        if (t.n > 7 && str_eq_nocase(str_head(t, 7), STR("http://")))
            scheme = 7;
        else if (t.n > 8 && str_eq_nocase(str_head(t, 8), STR("https://")))
            scheme = 8;
        if (scheme) {
            struct str rest = str_from(t, scheme);
            size_t n = 0;
            while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
                n++;
            r->host = str_head(rest, n);
            t = str_from(rest, n);
            if (!uri_host_ok(r->host))
                return REASON_BAD_TARGET;
        } else if (!str_eq(t, STR("*")) || !str_eq(r->method, STR("OPTIONS"))) {
            return REASON_BAD_TARGET;
        }
    }
    bool has_query = str_cut(t, '?', &r->path, &r->query);
    if (!has_query)
        r->query = STR_NONE;
    if (r->path.n == 0)
        r->path = STR("/");
    return REASON_NONE;
}

/* RFC 9112 §3.2: exactly one Host in HTTP/1.1; that of an absolute target wins. */
static enum reason check_host(struct h1_request *r)
{
    const struct header *h = head_find(&r->head, HEADER_HOST);

    if (!h)
        return r->minor >= 1 ? REASON_NO_HOST : REASON_NONE;
    for (const struct header *next = h + 1; next < r->head.list + r->head.n; next++)
        if (next->id == HEADER_HOST)
            return REASON_BAD_HOST;
    struct str value = header_str_value(h);
    if (value.n && !uri_host_ok(value))
        return REASON_BAD_HOST;
    if (!value.n && r->minor >= 1 && !r->host.n)
        return REASON_BAD_HOST;
    if (!r->host.n)
        r->host = value;
    return REASON_NONE;
}

/* RFC 9112 §6.3 for requests. */
static enum reason request_framing(struct h1_request *r)
{
    bool length = r->head.first[HEADER_CONTENT_LENGTH];

    r->framing = H1_NO_BODY;
    r->length = 0;
    if (r->head.first[HEADER_TRANSFER_ENCODING]) {
        if (length)
            return REASON_BOTH_LENGTHS;
        if (r->minor == 0 || !is_chunked(&r->head))
            return REASON_BAD_TRANSFER_ENCODING;
        r->framing = H1_CHUNKED;
    } else if (length) {
        if (!content_length(&r->head, &r->length))
            return REASON_BAD_CONTENT_LENGTH;
        if (r->length)
            r->framing = H1_LENGTH;
    }
    return REASON_NONE;
}

/* RFC 9110 §10.1.1: the one expectation that is defined; any other is refused. */
static enum reason expectation(struct h1_request *r)
{
    for (unsigned i = r->head.first[HEADER_EXPECT] - 1u; i < r->head.n; i++)
        if (r->head.list[i].id == HEADER_EXPECT &&
            !str_eq_nocase(header_str_value(&r->head.list[i]), STR("100-continue")))
            return REASON_BAD_EXPECT;
    r->expect_continue = r->minor >= 1;
    return REASON_NONE;
}

static enum reason request_semantics(struct h1_request *r)
{
    enum reason why = target_parts(r);

    if (!why)
        why = check_host(r);
    if (!why)
        why = request_framing(r);
    if (why)
        return why;
    r->keep_alive = keeps_alive(&r->head, r->minor);
    r->upgrade = r->head.first[HEADER_UPGRADE] && connection_has(&r->head, STR("upgrade"));
    return r->head.first[HEADER_EXPECT] ? expectation(r) : REASON_NONE;
}

enum h1_status h1_parse_request(struct str in, const struct h1_limits *limits, struct header *list,
                                struct h1_request *out, size_t *used, enum reason *why)
{
    /* What is past the limit is not looked at: the verdict is the same, however much has come. */
    struct parser s = {.p = in.p, .end = in.p + str_head(in, limits->head_bytes).n};
    enum h1_status status;

    memset(out, 0, offsetof(struct h1_request, head));
    head_init(&out->head, list, limits->headers);
    for (int i = 0; i < 2 && s.end - s.p >= 2 && s.p[0] == '\r' && s.p[1] == '\n'; i++)
        s.p += 2;
    const char *line = s.p;
    status = request_line(&s, limits, out);
    if (status == H1_DONE)
        status = header_lines(&s, &out->head);
    else if (!out->line.p)
        out->line = partial_line(line, s.end);
    if (status == H1_MORE && in.n > limits->head_bytes)
        status = bad(&s, REASON_HEAD_TOO_LARGE);
    *used = (size_t)(s.p - in.p);
    *why = s.why;
    if (status != H1_DONE)
        return status;
    *why = request_semantics(out);
    return *why ? H1_ERROR : H1_DONE;
}

/* ---- Responses
 * ----------------------------------------------------------------------------------- */

static enum h1_status status_line(struct parser *s, struct h1_response *out)
{
    enum h1_status status = version(s, &out->minor);

    if (status == H1_DONE)
        status = has_form(s, " 000");
    if (status != H1_DONE)
        return status;
    out->status = (s->p[1] - '0') * 100 + (s->p[2] - '0') * 10 + (s->p[3] - '0');
    if (out->status < 100)
        return bad(s, REASON_UPSTREAM_BAD_HEAD);
    s->p += 4;
    const char *phrase = s->p;
    /* The phrase and the space before it may be missing (RFC 9112 §4; servers leave both out). */
    if (phrase < s->end && *phrase == ' ')
        phrase++;
    else if (phrase < s->end && *phrase != '\r')
        return bad(s, REASON_UPSTREAM_BAD_HEAD);
    s->p = skip_value(phrase, s->end);
    out->phrase = str_make(phrase, (size_t)(s->p - phrase));
    return line_end(s);
}

/* RFC 9112 §6.3 for responses. Ambiguous lengths are errors, both at once too: what follows the
 * response could be made to look like another one. */
static enum reason response_framing(struct h1_response *r, bool to_head)
{
    bool length = r->head.first[HEADER_CONTENT_LENGTH];

    r->framing = H1_NO_BODY;
    if (r->head.first[HEADER_TRANSFER_ENCODING]) {
        if (length || !is_chunked(&r->head) || r->minor == 0)
            return REASON_UPSTREAM_BAD_HEAD;
        r->framing = H1_CHUNKED;
    } else if (length) {
        if (!content_length(&r->head, &r->length))
            return REASON_UPSTREAM_BAD_HEAD;
        r->framing = H1_LENGTH;
    } else {
        r->framing = H1_TO_END;
    }
    if (to_head || r->status < 200 || r->status == 204 || r->status == 304)
        r->framing = H1_NO_BODY;
    else if (r->framing == H1_LENGTH && r->length == 0)
        r->framing = H1_NO_BODY;
    if (r->framing == H1_TO_END)
        r->keep_alive = false;
    return REASON_NONE;
}

/* Keep-Alive: timeout=5 tells how long the server will hold the idle connection (RFC 2068 §19.7.1).
 */
static int64_t keep_alive_seconds(const struct head *head)
{
    struct str rest = head_value(head, HEADER_KEEP_ALIVE), element, name, value;
    uint64_t s;

    while (list_next(&rest, &element))
        if (str_cut(element, '=', &name, &value) && str_eq_nocase(str_trim(name), STR("timeout")) &&
            str_to_u64(str_trim(value), 86400, &s))
            return (int64_t)s;
    return -1;
}

enum h1_status h1_parse_response(struct str in, const struct h1_limits *limits, struct header *list,
                                 bool to_head, struct h1_response *out, size_t *used,
                                 enum reason *why)
{
    struct parser s = {.p = in.p, .end = in.p + str_head(in, limits->head_bytes).n};

    memset(out, 0, offsetof(struct h1_response, head));
    head_init(&out->head, list, limits->headers);
    enum h1_status status = status_line(&s, out);
    if (status == H1_DONE)
        status = header_lines(&s, &out->head);
    if (status == H1_MORE && in.n > limits->head_bytes)
        status = bad(&s, REASON_HEAD_TOO_LARGE);
    *used = (size_t)(s.p - in.p);
    *why = REASON_NONE;
    if (status == H1_ERROR)
        *why = s.why == REASON_HEAD_TOO_LARGE || s.why == REASON_TOO_MANY_HEADERS
                   ? REASON_UPSTREAM_HEAD_TOO_LARGE
                   : REASON_UPSTREAM_BAD_HEAD;
    if (status != H1_DONE)
        return status;
    out->keep_alive = keeps_alive(&out->head, out->minor);
    out->keep_alive_s = keep_alive_seconds(&out->head);
    *why = response_framing(out, to_head);
    return *why ? H1_ERROR : H1_DONE;
}
