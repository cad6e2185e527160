/* SPDX-License-Identifier: Apache-2.0 */
/* Anthropic: messages and their token count. */
#include "anthropic.h"

#include "reply.h"
#include "routes.h"

#include <stdlib.h>
#include <time.h>

static void ratelimit_header(struct buf *b, const char *what, unsigned limit, const char *reset)
{
    buf_fmt(b,
            "anthropic-ratelimit-%s-limit: %u\r\nanthropic-ratelimit-%s-remaining: %u\r\n"
            "anthropic-ratelimit-%s-reset: %s\r\n",
            what, limit, what, limit - 1, what, reset);
}

static void add_headers(struct conn *c, uint64_t serial)
{
    struct buf *b = &c->w->extra;
    char reset[32];
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(reset, sizeof reset, "%Y-%m-%dT%H:%M:%SZ", &tm);
    buf_fmt(b, "request-id: req_%016llx\r\nanthropic-organization-id: llm-sim\r\n",
            (unsigned long long)serial);
    ratelimit_header(b, "requests", 4000, reset);
    ratelimit_header(b, "tokens", 480000, reset);
    ratelimit_header(b, "input-tokens", 400000, reset);
    ratelimit_header(b, "output-tokens", 80000, reset);
}

/* Input excludes what came from the cache. */
static void add_usage(const struct answer *a, uint64_t output, struct buf *b)
{
    uint64_t fresh = a->prompt_tokens > a->cached ? a->prompt_tokens - a->cached : 0;
    buf_fmt(
        b,
        "{\"input_tokens\":%llu,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":%llu,"
        "\"cache_creation\":{\"ephemeral_5m_input_tokens\":0,\"ephemeral_1h_input_tokens\":0},"
        "\"output_tokens\":%llu,\"service_tier\":\"standard\"}",
        (unsigned long long)fresh, (unsigned long long)a->cached, (unsigned long long)output);
}

static const char *stop_reason(const struct answer *a)
{
    return a->tool ? "tool_use" : a->cut ? "max_tokens" : "end_turn";
}

/* The message up to and with "content":[ */
static void message_head(const struct answer *a, struct buf *b)
{
    buf_fmt(b, "{\"id\":\"msg_%016llx\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"",
            (unsigned long long)a->serial);
    buf_str(b, a->model);
    buf_str(b, "\",\"content\":[");
}

static void tool_block(const struct answer *a, struct buf *b)
{
    buf_fmt(b, "{\"type\":\"tool_use\",\"id\":\"toolu_%016llx\",\"name\":\"",
            (unsigned long long)a->serial);
    buf_str(b, a->tool);
    buf_str(b, "\",\"input\":");
}

void anthropic_message(const struct answer *a, struct buf *b)
{
    message_head(a, b);
    if (a->tool) {
        tool_block(a, b);
        buf_add(b, a->args, a->args_n);
        buf_str(b, "}");
    } else {
        buf_str(b, "{\"type\":\"text\",\"text\":\"");
        answer_text(a, b);
        buf_str(b, "\"}");
    }
    buf_fmt(b, "],\"stop_reason\":\"%s\",\"stop_sequence\":null,\"usage\":", stop_reason(a));
    add_usage(a, answer_tokens(a), b);
    buf_str(b, "}");
}

static void block_delta(const struct answer *a, uint32_t i, struct buf *b)
{
    buf_str(b, "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{");
    if (a->tool) {
        buf_str(b, "\"type\":\"input_json_delta\",\"partial_json\":\"");
        answer_arg_piece(a, i, b);
    } else {
        buf_str(b, "\"type\":\"text_delta\",\"text\":\"");
        answer_word(a, i, b);
    }
    buf_str(b, "\"}}");
}

static void event_start(const struct answer *a, struct buf *b)
{
    buf_str(b, "{\"type\":\"message_start\",\"message\":");
    message_head(a, b);
    buf_str(b, "],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
    add_usage(a, 1, b);
    buf_str(b, "}}");
}

static void event_block_start(const struct answer *a, struct buf *b)
{
    buf_str(b, "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":");
    if (a->tool) {
        tool_block(a, b);
        buf_str(b, "{}}}");
    } else {
        buf_str(b, "{\"type\":\"text\",\"text\":\"\"}}");
    }
}

bool anthropic_event(const struct answer *a, uint64_t i, const char **name, struct buf *b)
{
    uint64_t n = a->tool ? answer_arg_pieces(a) : a->words;
    if (i == 0) {
        *name = "message_start";
        event_start(a, b);
    } else if (i == 1) {
        *name = "content_block_start";
        event_block_start(a, b);
    } else if (i == 2) {
        *name = "ping";
        buf_str(b, "{\"type\":\"ping\"}");
    } else if (i < 3 + n) {
        *name = "content_block_delta";
        block_delta(a, (uint32_t)(i - 3), b);
    } else if (i == 3 + n) {
        *name = "content_block_stop";
        buf_str(b, "{\"type\":\"content_block_stop\",\"index\":0}");
    } else if (i == 4 + n) {
        *name = "message_delta";
        buf_fmt(b,
                "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"%s\",\"stop_sequence\":"
                "null},\"usage\":",
                stop_reason(a));
        add_usage(a, answer_tokens(a), b);
        buf_str(b, "}");
    } else {
        *name = "message_stop";
        buf_str(b, "{\"type\":\"message_stop\"}");
        return true;
    }
    return false;
}

static bool sse_step(struct conn *c, struct stream *s, struct buf *out)
{
    struct buf *json = &c->w->text;
    const char *name;
    json->n = 0;
    bool last = anthropic_event((const struct answer *)s, s->sent, &name, json);
    buf_fmt(out, "event: %s\ndata: ", name);
    buf_add(out, json->p, json->n);
    buf_str(out, "\n\n");
    return last;
}

bool anthropic_ask(struct conn *c, const json_t *o, struct ask *ask)
{
    const json_t *messages = json_object_get(o, "messages");
    const json_t *tool = json_array_get(json_object_get(o, "tools"), 0);
    if (!json_array_size(messages)) {
        reply_error(c, 400, NULL, "messages: Field required");
        return false;
    }
    ask_system(ask, json_object_get(o, "system"));
    ask_messages(ask, messages, "content");
    ask_tool(ask, json_text(tool, "name", NULL), json_object_get(tool, "input_schema"));
    ask->max_tokens = json_int(o, "max_tokens", -1);
    return true;
}

static bool version_ok(struct conn *c, const struct request *r)
{
    if (http_header(r, "anthropic-version").n)
        return true;
    reply_error(c, 400, NULL, "anthropic-version: header is required");
    return false;
}

void anthropic_messages(struct conn *c, const struct request *r, struct slice body)
{
    json_t *o = version_ok(c, r) ? request_json(c, body) : NULL;
    if (!o)
        return;
    struct ask ask = {.model = json_text(o, "model", "")};
    if (json_int(o, "max_tokens", -1) < 1) {
        reply_error(c, 400, NULL, "max_tokens: Field required");
    } else if (anthropic_ask(c, o, &ask)) {
        struct answer *a = answer_new(c, r, &ask);
        add_headers(c, a->serial);
        if (json_is_true(json_object_get(o, "stream"))) {
            a->s.step = sse_step;
            buf_str(&c->w->extra, "Cache-Control: no-cache\r\n");
            stream_start(c, &a->s, 200, TYPE_SSE, REPLY_CHUNKED);
        } else {
            c->w->text.n = 0;
            anthropic_message(a, &c->w->text);
            free(a);
            reply_json(c, 200, &c->w->text);
        }
    }
    ask_free(&ask);
    json_decref(o);
}

void anthropic_count(struct conn *c, const struct request *r, struct slice body)
{
    json_t *o = version_ok(c, r) ? request_json(c, body) : NULL;
    if (!o)
        return;
    struct ask ask = {0};
    if (anthropic_ask(c, o, &ask)) {
        struct buf *b = &c->w->text;
        b->n = 0;
        buf_fmt(b, "{\"input_tokens\":%llu}", (unsigned long long)ask.prompt_tokens);
        add_headers(c, conn_serial(c->w));
        reply_json(c, 200, b);
    }
    ask_free(&ask);
    json_decref(o);
}
