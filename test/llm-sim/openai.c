/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI: chat completions, completions, embeddings, models. */
#include "openai.h"

#include "embed.h"
#include "reply.h"
#include "routes.h"

#include <stdlib.h>

#define EMBED_DIMS 1536
#define MAX_INPUTS 2048

void openai_headers(struct conn *c, uint64_t serial, uint64_t tokens)
{
    uint64_t left = tokens < 2000000 ? 2000000 - tokens : 0;
    buf_fmt(
        &c->w->extra,
        "x-request-id: req_%016llx\r\nopenai-processing-ms: %u\r\nopenai-version: 2020-10-01\r\n"
        "x-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\n"
        "x-ratelimit-reset-requests: 6ms\r\nx-ratelimit-limit-tokens: 2000000\r\n"
        "x-ratelimit-remaining-tokens: %llu\r\nx-ratelimit-reset-tokens: 0s\r\n",
        (unsigned long long)serial, c->hold_ms + 1, (unsigned long long)left);
}

void openai_tool(struct ask *a, const json_t *request)
{
    const json_t *tool = json_array_get(json_object_get(request, "tools"), 0);
    const json_t *fn = json_object_get(tool, "function");
    if (!fn)
        fn = tool;
    ask_tool(a, json_text(fn, "name", NULL), json_object_get(fn, "parameters"));
}

static void add_usage(const struct answer *a, struct buf *b)
{
    uint64_t out = answer_tokens(a);
    buf_fmt(b,
            "{\"prompt_tokens\":%llu,\"completion_tokens\":%llu,\"total_tokens\":%llu,"
            "\"prompt_tokens_details\":{\"cached_tokens\":%llu,\"audio_tokens\":0},"
            "\"completion_tokens_details\":{\"reasoning_tokens\":%llu,\"audio_tokens\":0,"
            "\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}",
            (unsigned long long)a->prompt_tokens, (unsigned long long)out,
            (unsigned long long)(a->prompt_tokens + out), (unsigned long long)a->cached,
            (unsigned long long)a->reasoning);
}

static int64_t max_tokens(const json_t *o)
{
    return json_int(o, "max_completion_tokens", json_int(o, "max_tokens", -1));
}

static const char *finish_reason(const struct answer *a)
{
    return a->tool ? "tool_calls" : a->cut ? "length" : "stop";
}

/* A stream's last bytes: with or without the usage. True: nothing follows. */
static bool done(struct buf *out)
{
    buf_str(out, "data: [DONE]\n\n");
    return true;
}

static void chunk_head(const struct answer *a, const char *prefix, const char *object,
                       struct buf *out)
{
    buf_str(out, "data: {\"id\":\"");
    buf_str(out, prefix);
    buf_fmt(out, "%016llx\",\"object\":\"%s\",\"created\":%lld,\"model\":\"",
            (unsigned long long)a->serial, object, (long long)a->created);
    buf_str(out, a->model);
    buf_str(out, "\",\"system_fingerprint\":\"fp_llmsim\",\"choices\":[");
}

static void chunk_tail(const struct answer *a, bool with_usage, struct buf *out)
{
    buf_str(out, "]");
    if (with_usage) {
        buf_str(out, ",\"usage\":");
        add_usage(a, out);
    } else if (a->usage) {
        buf_str(out, ",\"usage\":null");
    }
    buf_str(out, "}\n\n");
}

/* ---- chat ---- */

static void chat_delta(const struct answer *a, uint32_t i, uint32_t n, struct buf *out)
{
    const char *finish = NULL;
    buf_str(out, "{\"index\":0,\"delta\":{");
    if (i == 0 && a->tool) {
        buf_fmt(out,
                "\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"index\":0,\"id\":"
                "\"call_%016llx\","
                "\"type\":\"function\",\"function\":{\"name\":\"",
                (unsigned long long)a->serial);
        buf_str(out, a->tool);
        buf_str(out, "\",\"arguments\":\"\"}}]");
    } else if (i == 0) {
        buf_str(out, "\"role\":\"assistant\",\"content\":\"\",\"refusal\":null");
    } else if (i <= n && a->tool) {
        buf_str(out, "\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"");
        answer_arg_piece(a, i - 1, out);
        buf_str(out, "\"}}]");
    } else if (i <= n) {
        buf_str(out, "\"content\":\"");
        answer_word(a, i - 1, out);
        buf_str(out, "\"");
    } else {
        finish = finish_reason(a);
    }
    buf_str(out, "},\"logprobs\":null,\"finish_reason\":");
    if (finish)
        buf_fmt(out, "\"%s\"}", finish);
    else
        buf_str(out, "null}");
}

/* Chunk 0: role, then a word or a piece of arguments each, then the reason, then perhaps the usage.
 */
static bool chat_step(struct conn *c, struct stream *s, struct buf *out)
{
    const struct answer *a = (const struct answer *)s;
    uint32_t n = a->tool ? answer_arg_pieces(a) : a->words, i = (uint32_t)s->sent;
    (void)c;
    chunk_head(a, "chatcmpl-", "chat.completion.chunk", out);
    if (i <= n + 1)
        chat_delta(a, i, n, out);
    chunk_tail(a, i > n + 1, out);
    return i == n + 1 + a->usage ? done(out) : false;
}

static void chat_plain(struct conn *c, const struct answer *a)
{
    struct buf *b = &c->w->text;
    b->n = 0;
    buf_fmt(
        b,
        "{\"id\":\"chatcmpl-%016llx\",\"object\":\"chat.completion\",\"created\":%lld,\"model\":\"",
        (unsigned long long)a->serial, (long long)a->created);
    buf_str(b, a->model);
    buf_str(b, "\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    if (a->tool) {
        buf_fmt(b,
                "null,\"tool_calls\":[{\"id\":\"call_%016llx\",\"type\":\"function\",\"function\":{"
                "\"name\":\"",
                (unsigned long long)a->serial);
        buf_str(b, a->tool);
        buf_str(b, "\",\"arguments\":");
        buf_json(b, a->args, a->args_n);
        buf_str(b, "}}]");
    } else {
        buf_str(b, "\"");
        answer_text(a, b);
        buf_str(b, "\"");
    }
    buf_fmt(b,
            ",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"%s\"}],"
            "\"usage\":",
            finish_reason(a));
    add_usage(a, b);
    buf_str(b, ",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_llmsim\"}");
    reply_json(c, 200, b);
}

/* ---- completions ---- */

static void completion_choice(const char *finish, struct buf *out)
{
    buf_str(out, "\",\"index\":0,\"logprobs\":null,\"finish_reason\":");
    if (finish)
        buf_fmt(out, "\"%s\"}", finish);
    else
        buf_str(out, "null}");
}

static bool completion_step(struct conn *c, struct stream *s, struct buf *out)
{
    const struct answer *a = (const struct answer *)s;
    uint32_t i = (uint32_t)s->sent;
    (void)c;
    chunk_head(a, "cmpl-", "text_completion", out);
    if (i <= a->words) {
        buf_str(out, "{\"text\":\"");
        if (i < a->words)
            answer_word(a, i, out);
        completion_choice(i < a->words ? NULL : finish_reason(a), out);
    }
    chunk_tail(a, i > a->words, out);
    return i == a->words + a->usage ? done(out) : false;
}

static void completion_plain(struct conn *c, const struct answer *a)
{
    struct buf *b = &c->w->text;
    b->n = 0;
    buf_fmt(b,
            "{\"id\":\"cmpl-%016llx\",\"object\":\"text_completion\",\"created\":%lld,\"model\":\"",
            (unsigned long long)a->serial, (long long)a->created);
    buf_str(b, a->model);
    buf_str(b, "\",\"choices\":[{\"text\":\"");
    answer_text(a, b);
    completion_choice(finish_reason(a), b);
    buf_str(b, "],\"usage\":");
    add_usage(a, b);
    buf_str(b, ",\"system_fingerprint\":\"fp_llmsim\"}");
    reply_json(c, 200, b);
}

static void answer_send(struct conn *c, const json_t *o, struct answer *a, stream_fn *step,
                        void (*plain)(struct conn *, const struct answer *))
{
    openai_headers(c, a->serial, a->prompt_tokens);
    if (!json_is_true(json_object_get(o, "stream"))) {
        plain(c, a);
        free(a);
        return;
    }
    a->usage = json_is_true(json_object_get(json_object_get(o, "stream_options"), "include_usage"));
    a->s.step = step;
    buf_str(&c->w->extra, "Cache-Control: no-cache\r\n");
    stream_start(c, &a->s, 200, TYPE_SSE, REPLY_CHUNKED);
}

void openai_chat(struct conn *c, const struct request *r, struct slice body)
{
    json_t *o = request_json(c, body);
    if (!o)
        return;
    struct ask ask = {.model = json_text(o, "model", ""), .max_tokens = max_tokens(o)};
    const json_t *messages = json_object_get(o, "messages");
    if (!json_array_size(messages)) {
        reply_error(c, 400, "missing_required_parameter",
                    "Missing required parameter: 'messages'.");
    } else {
        ask_messages(&ask, messages, "content");
        openai_tool(&ask, o);
        answer_send(c, o, answer_new(c, r, &ask), chat_step, chat_plain);
    }
    ask_free(&ask);
    json_decref(o);
}

void openai_completions(struct conn *c, const struct request *r, struct slice body)
{
    json_t *o = request_json(c, body);
    if (!o)
        return;
    struct ask ask = {.model = json_text(o, "model", ""), .max_tokens = max_tokens(o)};
    ask.prompt_tokens = content_text(json_object_get(o, "prompt"), &ask.last);
    answer_send(c, o, answer_new(c, r, &ask), completion_step, completion_plain);
    ask_free(&ask);
    json_decref(o);
}

/* ---- embeddings ---- */

/* One input: a string, or token numbers (each a word of its own). */
static uint64_t input_text(const json_t *input, struct buf *out)
{
    size_t i;
    const json_t *v;
    out->n = 0;
    if (json_is_string(input))
        return content_text(input, out);
    json_array_foreach((json_t *)(uintptr_t)input, i, v)
    {
        buf_fmt(out, " %lld", (long long)json_integer_value(v));
    }
    return json_array_size(input);
}

static uint64_t embedding_add(struct buf *b, const json_t *input, size_t index, size_t dims,
                              bool base64)
{
    struct buf text = {0};
    float v[EMBED_MAX];
    uint64_t tokens = input_text(input, &text);
    embed_text(text.p, text.n, v, dims);
    buf_free(&text);
    buf_fmt(b, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", index ? "," : "", index);
    if (base64) {
        buf_str(b, "\"");
        embed_base64(b, v, dims);
        buf_str(b, "\"");
    } else {
        embed_json(b, v, dims);
    }
    buf_str(b, "}");
    return tokens;
}

void openai_embeddings(struct conn *c, const struct request *r, struct slice body)
{
    (void)r;
    json_t *o = request_json(c, body);
    if (!o)
        return;
    const json_t *input = json_object_get(o, "input");
    int64_t dims = json_int(o, "dimensions", EMBED_DIMS);
    bool base64 = strcmp(json_text(o, "encoding_format", "float"), "base64") == 0;
    bool many = json_is_array(input) && !json_is_integer(json_array_get(input, 0));
    size_t n = many ? json_array_size(input) : 1;
    if ((!json_is_array(input) && !json_is_string(input)) || n > MAX_INPUTS ||
        (json_is_array(input) && !json_array_size(input))) {
        reply_error(c, 400, NULL, "'$.input' is invalid. Please check the API reference.");
    } else if (dims < 1 || dims > EMBED_MAX) {
        reply_error(c, 400, NULL, "Invalid value for 'dimensions'.");
    } else {
        struct buf *b = &c->w->text;
        uint64_t tokens = 0;
        b->n = 0;
        buf_str(b, "{\"object\":\"list\",\"data\":[");
        for (size_t i = 0; i < n; i++)
            tokens += embedding_add(b, many ? json_array_get(input, i) : input, i, (size_t)dims,
                                    base64);
        buf_str(b, "],\"model\":");
        const char *model = json_text(o, "model", "");
        buf_json(b, model, strlen(model));
        buf_fmt(b, ",\"usage\":{\"prompt_tokens\":%llu,\"total_tokens\":%llu}}",
                (unsigned long long)tokens, (unsigned long long)tokens);
        openai_headers(c, conn_serial(c->w), tokens);
        reply_json(c, 200, b);
    }
    json_decref(o);
}

/* ---- models ---- */

static const char *const models[] = {"gpt-4o", "gpt-4o-mini", "gpt-3.5-turbo-instruct",
                                     "text-embedding-3-small"};

static void model_add(struct buf *b, const char *id, size_t n)
{
    buf_str(b, "{\"id\":");
    buf_json(b, id, n);
    buf_str(b, ",\"object\":\"model\",\"created\":1715367049,\"owned_by\":\"llm-sim\"}");
}

void openai_models(struct conn *c, const struct request *r, struct slice body)
{
    struct buf *b = &c->w->text;
    (void)body;
    b->n = 0;
    openai_headers(c, conn_serial(c->w), 0);
    if (!slice_ends(r->path, "/models")) {
        const char *slash = memrchr(r->path.p, '/', r->path.n);
        model_add(b, slash + 1, r->path.n - (size_t)(slash + 1 - r->path.p));
        reply_json(c, 200, b);
        return;
    }
    buf_str(b, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        buf_str(b, i ? "," : "");
        model_add(b, models[i], strlen(models[i]));
    }
    buf_str(b, "]}");
    reply_json(c, 200, b);
}
