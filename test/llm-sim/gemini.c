/* SPDX-License-Identifier: Apache-2.0 */
/* Gemini: generateContent, streamGenerateContent (events or one JSON array), embedContent,
 * countTokens. */
#include "answer.h"
#include "embed.h"
#include "reply.h"
#include "routes.h"

#include <stdlib.h>

#define EMBED_DIMS 768

/* answer.flag: events instead of a JSON array */

static void add_usage(const struct answer *a, uint64_t out, struct buf *b)
{
    buf_fmt(b,
            ",\"usageMetadata\":{\"promptTokenCount\":%llu,\"candidatesTokenCount\":%llu,"
            "\"totalTokenCount\":%llu",
            (unsigned long long)a->prompt_tokens, (unsigned long long)out,
            (unsigned long long)(a->prompt_tokens + out + a->reasoning));
    if (a->cached)
        buf_fmt(b, ",\"cachedContentTokenCount\":%llu", (unsigned long long)a->cached);
    if (a->reasoning)
        buf_fmt(b, ",\"thoughtsTokenCount\":%llu", (unsigned long long)a->reasoning);
    buf_fmt(b, ",\"promptTokensDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":%llu}]}",
            (unsigned long long)a->prompt_tokens);
}

/* The words [from, to) as one response object; with the reason when they are the last. */
static void add_response(const struct answer *a, uint32_t from, uint32_t to, struct buf *b)
{
    bool last = a->tool || to >= a->words;
    buf_str(b, "{\"candidates\":[{\"content\":{\"parts\":[");
    if (a->tool) {
        buf_str(b, "{\"functionCall\":{\"name\":\"");
        buf_str(b, a->tool);
        buf_str(b, "\",\"args\":");
        buf_add(b, a->args, a->args_n);
        buf_str(b, "}}");
    } else {
        buf_str(b, "{\"text\":\"");
        for (uint32_t i = from; i < to; i++)
            answer_word(a, i, b);
        buf_str(b, "\"}");
    }
    buf_str(b, "],\"role\":\"model\"}");
    if (last)
        buf_fmt(b, ",\"finishReason\":\"%s\"", !a->tool && a->cut ? "MAX_TOKENS" : "STOP");
    buf_str(b, ",\"index\":0}]");
    add_usage(a, a->tool ? answer_arg_pieces(a) : to, b);
    buf_str(b, ",\"modelVersion\":\"");
    buf_str(b, a->model);
    buf_fmt(b, "\",\"responseId\":\"%016llx\"}", (unsigned long long)a->serial);
}

static bool stream_step(struct conn *c, struct stream *s, struct buf *out)
{
    const struct answer *a = (const struct answer *)s;
    uint32_t i = (uint32_t)s->sent, to = i < a->words ? i + 1 : a->words;
    bool last = a->tool || to >= a->words;
    (void)c;
    buf_str(out, a->flag ? "data: " : i ? ",\r\n" : "[");
    add_response(a, i, to, out);
    buf_str(out, a->flag ? "\r\n\r\n" : last ? "]\n" : "");
    return last;
}

static void ask_gemini(struct ask *ask, const json_t *o)
{
    const json_t *tool = json_array_get(json_object_get(o, "tools"), 0);
    const json_t *fns = json_object_get(tool, "functionDeclarations");
    if (!fns)
        fns = json_object_get(tool, "function_declarations");
    const json_t *fn = json_array_get(fns, 0);
    const json_t *system = json_object_get(o, "systemInstruction");
    if (!system)
        system = json_object_get(o, "system_instruction");
    ask_system(ask, json_object_get(system, "parts"));
    ask_messages(ask, json_object_get(o, "contents"), "parts");
    ask_tool(ask, json_text(fn, "name", NULL), json_object_get(fn, "parameters"));
    ask->max_tokens = json_int(json_object_get(o, "generationConfig"), "maxOutputTokens", -1);
}

static void generate(struct conn *c, const struct request *r, const json_t *o, const char *model,
                     bool stream)
{
    struct ask ask = {.model = model};
    char alt[8] = "";
    if (!json_array_size(json_object_get(o, "contents"))) {
        reply_error(c, 400, NULL, "* GenerateContentRequest.contents: contents is not specified");
        return;
    }
    ask_gemini(&ask, o);
    struct answer *a = answer_new(c, r, &ask);
    ask_free(&ask);
    if (stream) {
        a->flag = http_query(r, "alt", alt, sizeof alt) && strcmp(alt, "sse") == 0;
        a->s.step = stream_step;
        stream_start(c, &a->s, 200, a->flag ? "text/event-stream" : TYPE_JSON, REPLY_CHUNKED);
        return;
    }
    c->w->text.n = 0;
    add_response(a, 0, a->words, &c->w->text);
    free(a);
    reply_json(c, 200, &c->w->text);
}

static void count(struct conn *c, const json_t *o)
{
    struct ask ask = {0};
    const json_t *inner = json_object_get(o, "generateContentRequest");
    ask_gemini(&ask, inner ? inner : o);
    struct buf *b = &c->w->text;
    b->n = 0;
    buf_fmt(b,
            "{\"totalTokens\":%llu,\"promptTokensDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":%"
            "llu}]}",
            (unsigned long long)ask.prompt_tokens, (unsigned long long)ask.prompt_tokens);
    ask_free(&ask);
    reply_json(c, 200, b);
}

static void embed_add(struct buf *b, const json_t *request)
{
    float v[EMBED_MAX];
    struct buf text = {0};
    int64_t dims = json_int(request, "outputDimensionality", EMBED_DIMS);
    if (dims < 1 || dims > EMBED_MAX)
        dims = EMBED_DIMS;
    content_text(json_object_get(json_object_get(request, "content"), "parts"), &text);
    embed_text(text.p, text.n, v, (size_t)dims);
    buf_str(b, "{\"values\":");
    embed_json(b, v, (size_t)dims);
    buf_str(b, "}");
    buf_free(&text);
}

static void embed(struct conn *c, const json_t *o)
{
    struct buf *b = &c->w->text;
    b->n = 0;
    buf_str(b, "{\"embedding\":");
    embed_add(b, o);
    buf_str(b, "}");
    reply_json(c, 200, b);
}

static void embed_batch(struct conn *c, const json_t *o)
{
    struct buf *b = &c->w->text;
    size_t i;
    const json_t *one;
    b->n = 0;
    buf_str(b, "{\"embeddings\":[");
    json_array_foreach(json_object_get(o, "requests"), i, one)
    {
        buf_str(b, i ? "," : "");
        embed_add(b, one);
    }
    buf_str(b, "]}");
    reply_json(c, 200, b);
}

void gemini_models(struct conn *c, const struct request *r, struct slice body)
{
    const char *end = r->path.p + r->path.n;
    const char *slash = memrchr(r->path.p, '/', r->path.n);
    const char *colon = memchr(slash, ':', (size_t)(end - slash));
    char model[128] = "";
    json_t *o = request_json(c, body);
    if (!o)
        return;
    struct slice verb = {colon ? colon + 1 : end, colon ? (size_t)(end - colon - 1) : 0};
    size_t n = (size_t)((colon ? colon : end) - slash - 1);
    memcpy(model, slash + 1, n < sizeof model ? n : sizeof model - 1);
    if (slice_is(verb, "generateContent") || slice_is(verb, "streamGenerateContent"))
        generate(c, r, o, model, verb.p[0] == 's');
    else if (slice_is(verb, "countTokens"))
        count(c, o);
    else if (slice_is(verb, "embedContent"))
        embed(c, o);
    else if (slice_is(verb, "batchEmbedContents"))
        embed_batch(c, o);
    else
        reply_error(c, 404, NULL, "Requested entity was not found.");
    json_decref(o);
}
