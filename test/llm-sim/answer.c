/* SPDX-License-Identifier: Apache-2.0 */
/* Prompts to answers. */
#include "answer.h"

#include "reply.h"

#include <stdlib.h>
#include <time.h>

#define ARG_PIECE 8

static bool is_space(char ch)
{
    return ch == ' ' || (ch >= '\t' && ch <= '\r');
}

uint64_t words_in(const char *p, size_t n)
{
    uint64_t words = 0;
    bool in = false;
    for (size_t i = 0; i < n; i++) {
        bool space = is_space(p[i]);
        words += !space && !in;
        in = !space;
    }
    return words;
}

static void text_add(struct buf *out, const json_t *s)
{
    buf_add(out, " ", 1);
    buf_add(out, json_string_value(s), json_string_length(s));
}

uint64_t content_text(const json_t *content, struct buf *out)
{
    size_t from = out->n, i;
    const json_t *part;
    if (json_is_string(content)) {
        text_add(out, content);
    } else if (json_is_array(content)) {
        json_array_foreach((json_t *)(uintptr_t)content, i, part)
        {
            const json_t *text = json_is_string(part) ? part : json_object_get(part, "text");
            if (json_is_string(text))
                text_add(out, text);
            else if (json_is_object(part)) /* a tool's result */
                content_text(json_object_get(part, "content"), out);
        }
    }
    return words_in(out->p + from, out->n - from);
}

void ask_messages(struct ask *a, const json_t *messages, const char *key)
{
    size_t i;
    const json_t *m;
    json_array_foreach((json_t *)(uintptr_t)messages, i, m)
    {
        a->last.n = 0;
        a->prompt_tokens += content_text(json_object_get(m, key), &a->last);
    }
}

void ask_system(struct ask *a, const json_t *content)
{
    struct buf b = {0};
    a->prompt_tokens += content_text(content, &b);
    buf_free(&b);
}

void ask_tool(struct ask *a, const char *name, const json_t *schema)
{
    if (!name || !a->last.n || !memmem(a->last.p, a->last.n, "use tool", 8))
        return;
    a->use_tool = true;
    a->tool = name;
    a->schema = schema;
}

void ask_free(struct ask *a)
{
    buf_free(&a->last);
}

/* The prompt's words with single spaces, and where they begin. */
static uint32_t split_words(const struct buf *from, struct buf *text, uint16_t *at)
{
    uint32_t n = 0;
    size_t i = 0;
    while (n < ANSWER_WORDS) {
        while (i < from->n && is_space(from->p[i]))
            i++;
        size_t start = i;
        while (i < from->n && !is_space(from->p[i]))
            i++;
        size_t len = i - start;
        if (len == 0 || text->n + len + 1 > ANSWER_PROMPT)
            break;
        at[n++] = (uint16_t)text->n;
        buf_add(text, from->p + start, len);
        buf_add(text, " ", 1);
    }
    if (n == 0) {
        at[n++] = 0;
        buf_str(text, "hello ");
    }
    at[n] = (uint16_t)text->n;
    return n;
}

/* A value of each property's type, so that the caller's schema accepts them. */
static void make_args(const struct ask *a, const char *text, size_t n, struct buf *out)
{
    const char *name;
    json_t *prop;
    bool first = true;
    buf_str(out, "{");
    json_object_foreach(json_object_get(a->schema, "properties"), name, prop)
    {
        const char *type = json_text(prop, "type", "string");
        const json_t *choice = json_array_get(json_object_get(prop, "enum"), 0);
        buf_str(out, first ? "" : ",");
        first = false;
        buf_json(out, name, strlen(name));
        buf_str(out, ":");
        if (json_is_string(choice))
            buf_json(out, json_string_value(choice), json_string_length(choice));
        else if (strcmp(type, "integer") == 0 || strcmp(type, "number") == 0 ||
                 strcmp(type, "INTEGER") == 0 || strcmp(type, "NUMBER") == 0)
            buf_str(out, "42");
        else if (strcmp(type, "boolean") == 0 || strcmp(type, "BOOLEAN") == 0)
            buf_str(out, "true");
        else if (strcmp(type, "array") == 0 || strcmp(type, "ARRAY") == 0)
            buf_str(out, "[]");
        else if (strcmp(type, "object") == 0 || strcmp(type, "OBJECT") == 0)
            buf_str(out, "{}");
        else
            buf_json(out, text, n);
    }
    buf_str(out, "}");
}

static const char *put(char **at, const char *p, size_t n)
{
    char *to = *at;
    memcpy(to, p, n);
    to[n] = 0;
    *at += n + 1;
    return to;
}

struct answer *answer_new(struct conn *c, const struct request *r, const struct ask *ask)
{
    struct buf text = {0}, args = {0}, model = {0}, tool = {0};
    uint16_t at[ANSWER_WORDS + 1];
    uint32_t n = split_words(&ask->last, &text, at);
    buf_escape(&model, ask->model, strlen(ask->model));
    if (ask->use_tool) {
        buf_escape(&tool, ask->tool, strlen(ask->tool));
        make_args(ask, text.p, text.n - 1, &args);
    }
    size_t offsets = (n + 1) * sizeof *at;
    struct answer *a = sim_alloc(sizeof *a + offsets + text.n + args.n + model.n + tool.n + 4);
    char *room = (char *)(a + 1);
    memcpy(room, at, offsets);
    a->at = (const uint16_t *)(void *)room;
    room += offsets;
    a->text = put(&room, text.p, text.n);
    a->model = put(&room, model.n ? model.p : "", model.n);
    if (ask->use_tool) {
        a->tool = put(&room, tool.p, tool.n);
        a->args = put(&room, args.p, args.n);
        a->args_n = args.n;
    }
    a->prompt_words = n;
    a->prompt_tokens = ask->prompt_tokens;
    a->cached = header_num(r, "x-sim-cached", 0);
    a->reasoning = header_num(r, "x-sim-reasoning", 0);
    a->words = c->events_wanted;
    if (ask->max_tokens >= 0 && ask->max_tokens < a->words) {
        a->words = (uint32_t)ask->max_tokens;
        a->cut = true;
    }
    a->serial = conn_serial(c->w);
    a->created = (int64_t)time(NULL);
    a->s.gap_ms = c->gap_ms;
    buf_free(&text);
    buf_free(&args);
    buf_free(&model);
    buf_free(&tool);
    return a;
}

void answer_word(const struct answer *a, uint32_t i, struct buf *out)
{
    uint32_t k = i % a->prompt_words;
    if (i)
        buf_add(out, " ", 1);
    buf_escape(out, a->text + a->at[k], (size_t)(a->at[k + 1] - a->at[k]) - 1);
}

void answer_text(const struct answer *a, struct buf *out)
{
    for (uint32_t i = 0; i < a->words; i++)
        answer_word(a, i, out);
}

uint32_t answer_arg_pieces(const struct answer *a)
{
    return (uint32_t)((a->args_n + ARG_PIECE - 1) / ARG_PIECE);
}

/* Pieces end where a character ends: the arguments may hold any UTF-8. */
static size_t arg_cut(const struct answer *a, size_t at)
{
    if (at >= a->args_n)
        return a->args_n;
    while (((unsigned char)a->args[at] & 0xc0) == 0x80)
        at--;
    return at;
}

void answer_arg_piece(const struct answer *a, uint32_t i, struct buf *out)
{
    size_t from = arg_cut(a, (size_t)i * ARG_PIECE), to = arg_cut(a, ((size_t)i + 1) * ARG_PIECE);
    buf_escape(out, a->args + from, to - from);
}

uint64_t answer_tokens(const struct answer *a)
{
    return (a->tool ? answer_arg_pieces(a) : a->words) + a->reasoning;
}

json_t *request_json(struct conn *c, struct slice body)
{
    json_error_t err;
    json_t *o = json_loadb(body.n ? body.p : "", body.n, JSON_REJECT_DUPLICATES, &err);
    if (json_is_object(o))
        return o;
    json_decref(o);
    struct buf msg = {0};
    buf_fmt(&msg, "We could not parse the JSON body of your request: %s%c",
            o ? "not an object" : err.text, 0);
    reply_error(c, 400, NULL, msg.p);
    buf_free(&msg);
    return NULL;
}

const char *json_text(const json_t *o, const char *key, const char *fallback)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : fallback;
}

int64_t json_int(const json_t *o, const char *key, int64_t fallback)
{
    const json_t *v = json_object_get(o, key);
    return json_is_integer(v) ? (int64_t)json_integer_value(v) : fallback;
}

uint64_t header_num(const struct request *r, const char *name, uint64_t fallback)
{
    uint64_t v = fallback;
    if (r->sim)
        slice_num(http_header(r, name), 1u << 30, &v);
    return v;
}
