/* SPDX-License-Identifier: Apache-2.0 */
/* Bedrock: converse, converse-stream, invoke (Anthropic messages, Titan embeddings and text) and
 * its stream. */
#include "bedrock.h"

#include "anthropic.h"
#include "embed.h"
#include "reply.h"
#include "routes.h"

#include <stdlib.h>

#define TYPE_FRAMES "application/vnd.amazon.eventstream"
#define EMBED_DIMS  1024

static const char *stop_reason(const struct answer *a)
{
    return a->tool ? "tool_use" : a->cut ? "max_tokens" : "end_turn";
}

static void add_usage(const struct answer *a, struct buf *b)
{
    uint64_t out = answer_tokens(a),
             fresh = a->prompt_tokens > a->cached ? a->prompt_tokens - a->cached : 0;
    buf_fmt(b,
            "\"usage\":{\"inputTokens\":%llu,\"outputTokens\":%llu,\"totalTokens\":%llu,"
            "\"cacheReadInputTokens\":%llu,"
            "\"cacheWriteInputTokens\":0}",
            (unsigned long long)fresh, (unsigned long long)out,
            (unsigned long long)(fresh + out + a->cached), (unsigned long long)a->cached);
}

static void add_request_id(struct conn *c, uint64_t serial)
{
    buf_fmt(&c->w->extra, "x-amzn-RequestId: %016llx\r\n", (unsigned long long)serial);
}

/* ---- converse ---- */

static void tool_head(const struct answer *a, struct buf *b)
{
    buf_fmt(b, "{\"toolUse\":{\"toolUseId\":\"tooluse_%016llx\",\"name\":\"",
            (unsigned long long)a->serial);
    buf_str(b, a->tool);
    buf_str(b, "\"");
}

static void converse_plain(struct conn *c, const struct answer *a)
{
    struct buf *b = &c->w->text;
    b->n = 0;
    buf_str(b, "{\"metrics\":{\"latencyMs\":1},\"output\":{\"message\":{\"content\":[");
    if (a->tool) {
        tool_head(a, b);
        buf_str(b, ",\"input\":");
        buf_add(b, a->args, a->args_n);
        buf_str(b, "}}");
    } else {
        buf_str(b, "{\"text\":\"");
        answer_text(a, b);
        buf_str(b, "\"}");
    }
    buf_fmt(b, "],\"role\":\"assistant\"}},\"stopReason\":\"%s\",", stop_reason(a));
    add_usage(a, b);
    buf_str(b, "}");
    add_request_id(c, a->serial);
    reply_json(c, 200, b);
}

static void converse_delta(const struct answer *a, uint32_t i, struct buf *b)
{
    buf_str(b, "{\"contentBlockIndex\":0,\"delta\":{");
    if (a->tool) {
        buf_str(b, "\"toolUse\":{\"input\":\"");
        answer_arg_piece(a, i, b);
        buf_str(b, "\"}}}");
    } else {
        buf_str(b, "\"text\":\"");
        answer_word(a, i, b);
        buf_str(b, "\"}}");
    }
}

static bool converse_step(struct conn *c, struct stream *s, struct buf *out)
{
    const struct answer *a = (const struct answer *)s;
    struct buf *b = &c->w->text;
    const char *name;
    uint64_t n = a->tool ? answer_arg_pieces(a) : a->words;
    uint64_t i = s->sent, first = a->tool ? 2 : 1; /* only tools announce their block */
    b->n = 0;
    if (i == 0) {
        name = "messageStart";
        buf_str(b, "{\"role\":\"assistant\"}");
    } else if (i < first) {
        name = "contentBlockStart";
        buf_str(b, "{\"contentBlockIndex\":0,\"start\":");
        tool_head(a, b);
        buf_str(b, "}}}");
    } else if (i < first + n) {
        name = "contentBlockDelta";
        converse_delta(a, (uint32_t)(i - first), b);
    } else if (i == first + n) {
        name = "contentBlockStop";
        buf_str(b, "{\"contentBlockIndex\":0}");
    } else if (i == first + n + 1) {
        name = "messageStop";
        buf_fmt(b, "{\"stopReason\":\"%s\"}", stop_reason(a));
    } else {
        name = "metadata";
        buf_str(b, "{\"metrics\":{\"latencyMs\":1},");
        add_usage(a, b);
        buf_str(b, "}");
    }
    bedrock_frame(out, name, (struct slice){b->p, b->n});
    return i == first + n + 2;
}

static void converse(struct conn *c, const struct request *r, const json_t *o, const char *model,
                     bool stream)
{
    struct ask ask = {.model = model};
    const json_t *tool = json_array_get(json_object_get(json_object_get(o, "toolConfig"), "tools"),
                                        0);
    const json_t *spec = json_object_get(tool, "toolSpec");
    if (!json_array_size(json_object_get(o, "messages"))) {
        reply_error(c, 400, NULL, "A conversation must start with a user message.");
        return;
    }
    ask_system(&ask, json_object_get(o, "system"));
    ask_messages(&ask, json_object_get(o, "messages"), "content");
    ask_tool(&ask, json_text(spec, "name", NULL),
             json_object_get(json_object_get(spec, "inputSchema"), "json"));
    ask.max_tokens = json_int(json_object_get(o, "inferenceConfig"), "maxTokens", -1);
    struct answer *a = answer_new(c, r, &ask);
    ask_free(&ask);
    if (stream) {
        a->s.step = converse_step;
        add_request_id(c, a->serial);
        stream_start(c, &a->s, 200, TYPE_FRAMES, REPLY_CHUNKED);
    } else {
        converse_plain(c, a);
        free(a);
    }
}

/* ---- invoke ---- */

/* Anthropic's events in base64 in chunk frames. */
static bool invoke_step(struct conn *c, struct stream *s, struct buf *out)
{
    struct buf *json = &c->w->text, b = {0};
    const char *name;
    json->n = 0;
    bool last = anthropic_event((const struct answer *)s, s->sent, &name, json);
    buf_str(&b, "{\"bytes\":\"");
    buf_base64(&b, json->p, json->n);
    buf_str(&b, "\"}");
    bedrock_frame(out, "chunk", (struct slice){b.p, b.n});
    buf_free(&b);
    return last;
}

static void invoke_titan(struct conn *c, const struct request *r, const json_t *o)
{
    struct buf *b = &c->w->text, text = {0};
    uint64_t tokens = content_text(json_object_get(o, "inputText"), &text);
    b->n = 0;
    if (memmem(r->path.p, r->path.n, "embed", 5)) {
        float v[EMBED_MAX];
        int64_t dims = json_int(o, "dimensions", EMBED_DIMS);
        if (dims < 1 || dims > EMBED_MAX)
            dims = EMBED_DIMS;
        embed_text(text.p, text.n, v, (size_t)dims);
        buf_str(b, "{\"embedding\":");
        embed_json(b, v, (size_t)dims);
        buf_fmt(b, ",\"inputTextTokenCount\":%llu}", (unsigned long long)tokens);
        buf_free(&text);
    } else {
        struct ask ask = {.model = "titan", .last = text, .prompt_tokens = tokens};
        ask.max_tokens = json_int(json_object_get(o, "textGenerationConfig"), "maxTokenCount", -1);
        struct answer *a = answer_new(c, r, &ask);
        buf_fmt(b,
                "{\"inputTextTokenCount\":%llu,\"results\":[{\"tokenCount\":%llu,\"outputText\":\"",
                (unsigned long long)tokens, (unsigned long long)answer_tokens(a));
        answer_text(a, b);
        buf_fmt(b, "\",\"completionReason\":\"%s\"}]}", a->cut ? "LENGTH" : "FINISH");
        free(a);
        ask_free(&ask);
    }
    add_request_id(c, conn_serial(c->w));
    reply_json(c, 200, b);
}

static void invoke(struct conn *c, const struct request *r, const json_t *o, const char *model,
                   bool stream)
{
    struct ask ask = {.model = model};
    if (json_object_get(o, "inputText") && !stream) {
        invoke_titan(c, r, o);
        return;
    }
    if (!json_object_get(o, "anthropic_version")) {
        reply_error(c, 400, NULL, "Malformed input request: anthropic_version: Field required");
        return;
    }
    if (anthropic_ask(c, o, &ask)) {
        struct answer *a = answer_new(c, r, &ask);
        add_request_id(c, a->serial);
        if (stream) {
            a->s.step = invoke_step;
            stream_start(c, &a->s, 200, TYPE_FRAMES, REPLY_CHUNKED);
        } else {
            c->w->text.n = 0;
            anthropic_message(a, &c->w->text);
            free(a);
            reply_json(c, 200, &c->w->text);
        }
    }
    ask_free(&ask);
}

/* The model's id with its %3A read. */
static void model_id(struct slice raw, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < raw.n && n + 1 < size; i++) {
        if (raw.n - i > 2 && raw.p[i] == '%' && raw.p[i + 1] == '3' &&
            (raw.p[i + 2] | 0x20) == 'a') {
            out[n++] = ':';
            i += 2;
        } else {
            out[n++] = raw.p[i];
        }
    }
    out[n] = 0;
}

void bedrock_model(struct conn *c, const struct request *r, struct slice body)
{
    const char *from = r->path.p + sizeof "/model/" - 1, *end = r->path.p + r->path.n;
    const char *slash = memrchr(from - 1, '/', (size_t)(end - from + 1));
    char model[160];
    json_t *o = request_json(c, body);
    if (!o)
        return;
    struct slice verb = {slash + 1, (size_t)(end - slash - 1)};
    model_id((struct slice){from, slash > from ? (size_t)(slash - from) : 0}, model, sizeof model);
    if (slice_is(verb, "converse"))
        converse(c, r, o, model, false);
    else if (slice_is(verb, "converse-stream"))
        converse(c, r, o, model, true);
    else if (slice_is(verb, "invoke"))
        invoke(c, r, o, model, false);
    else if (slice_is(verb, "invoke-with-response-stream"))
        invoke(c, r, o, model, true);
    else
        reply_error(c, 404, NULL, "Unknown operation");
    json_decref(o);
}
