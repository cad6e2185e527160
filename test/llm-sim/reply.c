/* SPDX-License-Identifier: Apache-2.0 */
/* Heads, whole replies, errors of each provider's shape, and the faults that change them. */
#include "reply.h"

#include "bedrock.h"
#include "reqlog.h"

#include <time.h>

const char *reply_date(struct worker *w)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != w->date_at) {
        struct tm tm;
        gmtime_r(&now.tv_sec, &tm);
        strftime(w->date, sizeof w->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        w->date_at = now.tv_sec;
    }
    return w->date;
}

static void big_head(struct buf *out)
{
    static const char fill[] = "abcdefghijklmnopqrstuvwxyz012345";
    for (int i = 0; i < 66; i++) { /* 1,006 bytes each: just over 64 KiB */
        buf_fmt(out, "X-Big-%04d: ", i);
        for (int k = 0; k < 31; k++)
            buf_add(out, fill, 32);
        buf_str(out, "\r\n");
    }
}

static void head_length(struct conn *c, struct buf *out, int64_t length)
{
    if (length == REPLY_CHUNKED) {
        if (!c->http10)
            buf_str(out, "Transfer-Encoding: chunked\r\n");
    } else if (length >= 0) {
        buf_str(out, "Content-Length: ");
        buf_num(out, (uint64_t)length);
        buf_str(out, "\r\n");
        if (c->fault.set & FAULT_DUP_LENGTH)
            buf_fmt(out, "Content-Length: %llu\r\n", (unsigned long long)length + 1);
    }
}

void reply_head(struct conn *c, int status, const char *type, int64_t length)
{
    struct worker *w = c->w;
    struct buf *out = &w->out;
    c->status = status;
    if (c->fault.set & FAULT_NO_KEEPALIVE) {
        c->keep = false;
        if (c->after == AFTER_KEEP)
            c->after = AFTER_CLOSE;
    }
    if (c->fault.set & FAULT_INTERIM)
        buf_str(out, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n"
                     "Link: </style.css>; rel=preload; as=style\r\n\r\n");
    buf_str(out, "HTTP/1.1 ");
    buf_num(out, (uint64_t)status);
    buf_str(out, " ");
    buf_str(out, http_reason(status));
    buf_str(out, "\r\nDate: ");
    buf_add(out, reply_date(w), 29);
    buf_str(out, "\r\nServer: llm-sim\r\n");
    if (type) {
        buf_str(out, "Content-Type: ");
        buf_str(out, type);
        buf_str(out, "\r\n");
    }
    head_length(c, out, length);
    buf_add(out, w->extra.p, w->extra.n);
    w->extra.n = 0;
    buf_str(out, "X-Sim-Connection: ");
    buf_num(out, c->id);
    buf_str(out, "\r\n");
    if (c->fault.set & FAULT_BIG_HEAD)
        big_head(out);
    if (!c->keep)
        buf_str(out, "Connection: close\r\n");
    else if (c->http10)
        buf_str(out, "Connection: keep-alive\r\n");
    buf_str(out, "\r\n");
}

/* A chunked body that stops making sense after its first half. */
static void bad_chunk_body(struct conn *c, int status, const char *type, struct slice body)
{
    struct buf *out = &c->w->out;
    reply_head(c, status, type, REPLY_CHUNKED);
    if (body.n > 1) {
        buf_hex(out, body.n / 2);
        buf_str(out, "\r\n");
        buf_add(out, body.p, body.n / 2);
        buf_str(out, "\r\n");
    }
    buf_str(out, "zz\r\nnot a chunk\r\n");
    c->after = AFTER_CUT;
}

void reply_full(struct conn *c, int status, const char *type, struct slice body)
{
    struct buf *out = &c->w->out;
    uint32_t f = c->fault.set;
    bool none = status == 204 || status == 304;
    if ((f & FAULT_BAD_CHUNK) && !c->http10 && !none && !c->head_only) {
        bad_chunk_body(c, status, type, body);
        return;
    }
    if ((f & FAULT_BAD_JSON) && type && strcmp(type, TYPE_JSON) == 0)
        body.n -= body.n / 3; /* a JSON text cut short, its length right */
    int64_t length = none ? REPLY_NOTHING : (int64_t)body.n;
    if (f & FAULT_BAD_LENGTH) {
        length += 100;
        c->after = AFTER_CUT;
    }
    reply_head(c, status, none ? NULL : type, length);
    if (c->head_only || none)
        return;
    size_t n = body.n;
    if (f & (FAULT_STOPS & ~FAULT_ERROR_EVENT)) {
        n = c->fault.n < body.n ? c->fault.n : body.n / 2;
        c->after = f & FAULT_CUT ? AFTER_CUT : f & FAULT_STALL ? AFTER_STALL : AFTER_RST;
    }
    buf_add(out, body.p, n);
}

void reply_json(struct conn *c, int status, const struct buf *json)
{
    reply_full(c, status, TYPE_JSON, (struct slice){json->p, json->n});
}

/* ---- errors ---- */

static const struct error_name {
    int status;
    const char *openai, *anthropic, *gemini, *bedrock;
} names[] = {
    {400, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT",
     "ValidationException"},
    {401, "invalid_request_error", "authentication_error", "UNAUTHENTICATED",
     "UnrecognizedClientException"},
    {403, "invalid_request_error", "permission_error", "PERMISSION_DENIED",
     "AccessDeniedException"},
    {404, "invalid_request_error", "not_found_error", "NOT_FOUND", "ResourceNotFoundException"},
    {405, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT",
     "ValidationException"},
    {408, "timeout_error", "timeout_error", "DEADLINE_EXCEEDED", "ModelTimeoutException"},
    {413, "invalid_request_error", "request_too_large", "INVALID_ARGUMENT", "ValidationException"},
    {424, "server_error", "api_error", "INTERNAL", "ModelErrorException"},
    {429, "requests", "rate_limit_error", "RESOURCE_EXHAUSTED", "ThrottlingException"},
    {500, "server_error", "api_error", "INTERNAL", "InternalServerException"},
    {502, "server_error", "api_error", "UNAVAILABLE", "ServiceUnavailableException"},
    {503, "server_error", "api_error", "UNAVAILABLE", "ServiceUnavailableException"},
    {504, "server_error", "timeout_error", "DEADLINE_EXCEEDED", "ModelTimeoutException"},
    {529, "overloaded_error", "overloaded_error", "UNAVAILABLE", "ServiceUnavailableException"},
};

static const struct error_name *error_find(int status)
{
    size_t n = sizeof names / sizeof *names;
    for (size_t i = 0; i < n; i++)
        if (names[i].status == status)
            return &names[i];
    return status < 500 ? &names[0] : &names[n - 5];
}

static void error_openai(struct buf *b, const struct error_name *e, const char *code,
                         const char *message)
{
    buf_str(b, "{\"error\":{\"message\":");
    buf_json(b, message, strlen(message));
    buf_fmt(b, ",\"type\":\"%s\",\"param\":null,\"code\":", e->openai);
    if (code)
        buf_json(b, code, strlen(code));
    else
        buf_str(b, "null");
    buf_str(b, "}}");
}

static void error_anthropic(struct buf *b, const struct error_name *e, const char *message,
                            uint64_t id)
{
    buf_fmt(b, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":", e->anthropic);
    buf_json(b, message, strlen(message));
    buf_fmt(b, "},\"request_id\":\"req_%016llx\"}", (unsigned long long)id);
}

static void error_gemini(struct buf *b, const struct error_name *e, int status, const char *message,
                         uint32_t retry)
{
    buf_fmt(b, "{\"error\":{\"code\":%d,\"message\":", status);
    buf_json(b, message, strlen(message));
    buf_fmt(b, ",\"status\":\"%s\"", e->gemini);
    if (status == 429)
        buf_fmt(b,
                ",\"details\":[{\"@type\":\"type.googleapis.com/"
                "google.rpc.RetryInfo\",\"retryDelay\":\"%us\"}]",
                retry);
    buf_str(b, "}}");
}

void reply_error(struct conn *c, int status, const char *code, const char *message)
{
    struct buf b = {0};
    struct buf *extra = &c->w->extra;
    const struct error_name *e = error_find(status);
    uint64_t id = conn_serial(c->w);
    uint32_t retry = c->fault.retry_after ? c->fault.retry_after : 1;
    if (status == 429 || status == 529 || status == 503) {
        if (c->api != API_GEMINI && c->api != API_BEDROCK)
            buf_fmt(extra, "Retry-After: %u\r\n", retry);
        if (!code && status == 429)
            code = "rate_limit_exceeded";
    }
    switch (c->api) {
    case API_PLAIN:
    case API_OPENAI:
        error_openai(&b, e, code, message);
        buf_fmt(extra, "x-request-id: req_%016llx\r\n", (unsigned long long)id);
        if (status == 429)
            buf_fmt(extra,
                    "retry-after-ms: %u000\r\nx-ratelimit-limit-requests: 10000\r\n"
                    "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: %us\r\n",
                    retry, retry);
        break;
    case API_ANTHROPIC:
        error_anthropic(&b, e, message, id);
        buf_fmt(extra, "request-id: req_%016llx\r\n", (unsigned long long)id);
        break;
    case API_GEMINI:
        error_gemini(&b, e, status, message, retry);
        break;
    case API_BEDROCK:
        buf_str(&b, "{\"message\":");
        buf_json(&b, message, strlen(message));
        buf_str(&b, "}");
        buf_fmt(extra, "x-amzn-ErrorType: %s\r\nx-amzn-RequestId: %016llx\r\n", e->bedrock,
                (unsigned long long)id);
        break;
    }
    reply_json(c, status, &b);
    buf_free(&b);
}

void reply_error_event(enum api api, struct buf *out)
{
    static const char message[] = "The simulator was told to fail here";
    switch (api) {
    case API_PLAIN:
    case API_OPENAI:
        buf_str(out, "data: ");
        error_openai(out, error_find(500), "server_error", message);
        break;
    case API_ANTHROPIC:
        buf_str(out, "event: error\ndata: ");
        error_anthropic(out, error_find(529), message, 0);
        break;
    case API_GEMINI:
        buf_str(out, "data: ");
        error_gemini(out, error_find(503), 503, message, 0);
        break;
    case API_BEDROCK:
        bedrock_exception(out, "modelStreamErrorException", message);
        return;
    }
    buf_str(out, "\n\n");
}

/* ---- faults that are the whole answer ---- */

static bool status_fault(struct conn *c)
{
    char msg[96] = "The simulator was told to fail this request";
    const char *code = NULL;
    if (c->fault.status == 429) {
        static const char limit[] = "Rate limit reached for requests";
        memcpy(msg, limit, sizeof limit);
    } else if (c->fault.status == 529) {
        static const char over[] = "Overloaded";
        memcpy(msg, over, sizeof over);
    }
    reply_error(c, c->fault.status, code, msg);
    return true;
}

bool reply_fault(struct conn *c, const struct request *r)
{
    struct buf *out = &c->w->out;
    uint32_t f = c->fault.set;
    if (f & FAULT_RST) {
        c->after = AFTER_RST;
        return true;
    }
    if (f & FAULT_CLOSE) {
        c->after = AFTER_CUT;
        return true;
    }
    if (f & FAULT_GARBAGE) {
        static const char junk[] =
            "\x00\xffthis is not HTTP\x01\x02\n\n\x16\x03\x01 at all\r\n\r\n";
        buf_add(out, junk, sizeof junk - 1);
        c->after = AFTER_CUT;
        return true;
    }
    if (f & FAULT_FAIL_TIMES) {
        if (!fault_fails_now(r->path, c->fault.times))
            return false;
        return status_fault(c);
    }
    if (f & FAULT_STATUS)
        return status_fault(c);
    return false;
}
