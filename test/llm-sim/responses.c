/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI's Responses API: plain, and as a stream of named events. */
#include "openai.h"
#include "reply.h"
#include "routes.h"

#include <stdlib.h>

static void add_usage(const struct answer *a, struct buf *b)
{
    uint64_t out = answer_tokens(a);
    buf_fmt(b,
            "{\"input_tokens\":%llu,\"input_tokens_details\":{\"cached_tokens\":%llu},\"output_"
            "tokens\":%llu,"
            "\"output_tokens_details\":{\"reasoning_tokens\":%llu},\"total_tokens\":%llu}",
            (unsigned long long)a->prompt_tokens, (unsigned long long)a->cached,
            (unsigned long long)out, (unsigned long long)a->reasoning,
            (unsigned long long)(a->prompt_tokens + out));
}

static void add_part(const struct answer *a, bool full, struct buf *b)
{
    buf_str(b, "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"");
    if (full)
        answer_text(a, b);
    buf_str(b, "\"}");
}

/* The one item of the output: a message or a function call, empty or whole. */
static void add_item(const struct answer *a, bool full, struct buf *b)
{
    const char *status = full ? a->cut && !a->tool ? "incomplete" : "completed" : "in_progress";
    if (a->tool) {
        buf_fmt(b,
                "{\"id\":\"fc_%016llx\",\"type\":\"function_call\",\"status\":\"%s\",\"call_id\":"
                "\"call_%016llx\",\"name\":\"",
                (unsigned long long)a->serial, status, (unsigned long long)a->serial);
        buf_str(b, a->tool);
        buf_str(b, "\",\"arguments\":");
        buf_json(b, a->args, full ? a->args_n : 0);
        buf_str(b, "}");
        return;
    }
    buf_fmt(b,
            "{\"id\":\"msg_%016llx\",\"type\":\"message\",\"status\":\"%s\",\"role\":\"assistant\","
            "\"content\":[",
            (unsigned long long)a->serial, status);
    if (full)
        add_part(a, true, b);
    buf_str(b, "]}");
}

static void add_response(const struct answer *a, bool full, struct buf *b)
{
    bool cut = full && a->cut && !a->tool;
    buf_fmt(
        b,
        "{\"id\":\"resp_%016llx\",\"object\":\"response\",\"created_at\":%lld,\"status\":\"%s\","
        "\"error\":null,\"incomplete_details\":%s,\"instructions\":null,\"metadata\":{},\"model\":"
        "\"",
        (unsigned long long)a->serial, (long long)a->created,
        cut    ? "incomplete"
        : full ? "completed"
               : "in_progress",
        cut ? "{\"reason\":\"max_output_tokens\"}" : "null");
    buf_str(b, a->model);
    buf_str(b, "\",\"parallel_tool_calls\":true,\"temperature\":1.0,\"tool_choice\":\"auto\","
               "\"tools\":[],\"top_p\":1.0,"
               "\"output\":[");
    if (full)
        add_item(a, true, b);
    buf_str(b, "],\"usage\":");
    if (full)
        add_usage(a, b);
    else
        buf_str(b, "null");
    buf_str(b, "}");
}

static const char *item_id(const struct answer *a, char *out, size_t size)
{
    struct buf b = {0};
    buf_fmt(&b, "%s_%016llx%c", a->tool ? "fc" : "msg", (unsigned long long)a->serial, 0);
    memcpy(out, b.p, b.n < size ? b.n : size);
    buf_free(&b);
    return out;
}

/* The events' names around the text or the arguments. */
enum place {
    CREATED,
    IN_PROGRESS,
    ITEM_ADDED,
    PART_ADDED,
    DELTA,
    TEXT_DONE,
    PART_DONE,
    ITEM_DONE,
    COMPLETED
};

static const char *const text_names[] = {
    [CREATED] = "response.created",
    [IN_PROGRESS] = "response.in_progress",
    [ITEM_ADDED] = "response.output_item.added",
    [PART_ADDED] = "response.content_part.added",
    [DELTA] = "response.output_text.delta",
    [TEXT_DONE] = "response.output_text.done",
    [PART_DONE] = "response.content_part.done",
    [ITEM_DONE] = "response.output_item.done",
    [COMPLETED] = "response.completed",
};

/* Which event is number i; a tool call has no content part. */
static enum place place_of(const struct answer *a, uint64_t i, uint64_t n)
{
    uint64_t first = a->tool ? 3 : 4;
    if (i < first)
        return (enum place)i;
    if (i < first + n)
        return DELTA;
    i -= first + n;
    if (a->tool && i > 0)
        i++;
    return (enum place)(TEXT_DONE + i);
}

static const char *place_name(const struct answer *a, enum place p)
{
    if (a->tool && p == DELTA)
        return "response.function_call_arguments.delta";
    if (a->tool && p == TEXT_DONE)
        return "response.function_call_arguments.done";
    if (p == COMPLETED && a->cut && !a->tool)
        return "response.incomplete";
    return text_names[p];
}

static void add_delta(const struct answer *a, uint64_t i, struct buf *out)
{
    buf_str(out, ",\"delta\":\"");
    if (a->tool)
        answer_arg_piece(a, (uint32_t)(i - 3), out);
    else
        answer_word(a, (uint32_t)(i - 4), out);
    buf_str(out, a->tool ? "\"" : "\",\"logprobs\":[]");
}

static void add_done(const struct answer *a, struct buf *out)
{
    if (a->tool) {
        buf_str(out, ",\"arguments\":");
        buf_json(out, a->args, a->args_n);
        return;
    }
    buf_str(out, ",\"logprobs\":[],\"text\":\"");
    answer_text(a, out);
    buf_str(out, "\"");
}

static void add_place(const struct answer *a, enum place p, uint64_t i, struct buf *out)
{
    char id[32];
    if (p >= PART_ADDED && p <= PART_DONE)
        buf_fmt(out, ",\"item_id\":\"%s\"", item_id(a, id, sizeof id));
    if (p >= ITEM_ADDED && p <= ITEM_DONE)
        buf_str(out, ",\"output_index\":0");
    if (p >= PART_ADDED && p <= PART_DONE && !a->tool)
        buf_str(out, ",\"content_index\":0");
    switch (p) {
    case CREATED:
    case IN_PROGRESS:
    case COMPLETED:
        buf_str(out, ",\"response\":");
        add_response(a, p == COMPLETED, out);
        break;
    case ITEM_ADDED:
    case ITEM_DONE:
        buf_str(out, ",\"item\":");
        add_item(a, p == ITEM_DONE, out);
        break;
    case PART_ADDED:
    case PART_DONE:
        buf_str(out, ",\"part\":");
        add_part(a, p == PART_DONE, out);
        break;
    case DELTA:
        add_delta(a, i, out);
        break;
    case TEXT_DONE:
        add_done(a, out);
        break;
    }
}

static bool responses_step(struct conn *c, struct stream *s, struct buf *out)
{
    const struct answer *a = (const struct answer *)s;
    uint64_t n = a->tool ? answer_arg_pieces(a) : a->words;
    enum place p = place_of(a, s->sent, n);
    const char *name = place_name(a, p);
    (void)c;
    buf_fmt(out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%llu", name, name,
            (unsigned long long)s->sent);
    add_place(a, p, s->sent, out);
    buf_str(out, "}\n\n");
    return p == COMPLETED;
}

/* Items without content (a function call's output) give their output. */
static void ask_input(struct ask *ask, const json_t *input)
{
    size_t i;
    const json_t *item;
    if (json_is_string(input)) {
        ask->prompt_tokens += content_text(input, &ask->last);
        return;
    }
    json_array_foreach((json_t *)(uintptr_t)input, i, item)
    {
        const json_t *content = json_object_get(item, "content");
        ask->last.n = 0;
        ask->prompt_tokens += content_text(content ? content : json_object_get(item, "output"),
                                           &ask->last);
    }
}

void openai_responses(struct conn *c, const struct request *r, struct slice body)
{
    json_t *o = request_json(c, body);
    if (!o)
        return;
    struct ask ask = {.model = json_text(o, "model", ""),
                      .max_tokens = json_int(o, "max_output_tokens", -1)};
    const json_t *input = json_object_get(o, "input");
    if (!json_is_string(input) && !json_array_size(input)) {
        reply_error(c, 400, "missing_required_parameter", "Missing required parameter: 'input'.");
        json_decref(o);
        return;
    }
    ask_system(&ask, json_object_get(o, "instructions"));
    ask_input(&ask, input);
    openai_tool(&ask, o);
    struct answer *a = answer_new(c, r, &ask);
    openai_headers(c, a->serial, a->prompt_tokens);
    if (json_is_true(json_object_get(o, "stream"))) {
        a->s.step = responses_step;
        buf_str(&c->w->extra, "Cache-Control: no-cache\r\n");
        stream_start(c, &a->s, 200, TYPE_SSE, REPLY_CHUNKED);
    } else {
        c->w->text.n = 0;
        add_response(a, true, &c->w->text);
        free(a);
        reply_json(c, 200, &c->w->text);
    }
    ask_free(&ask);
    json_decref(o);
}
