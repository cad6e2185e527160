/* SPDX-License-Identifier: Apache-2.0 */
/* The route table, and the answers for what is not in it. */
#include "routes.h"

#include "reply.h"

/* The hot paths of load tests come first. Suffixes let the same handlers answer the providers'
 * other addresses: Azure's deployments, Vertex, OpenAI's shapes under a prefix. */
static const struct route routes[] = {
    {"GET", "/bytes/*", plain_bytes, API_PLAIN, false, false},
    {"POST", "/reply/*", plain_reply, API_PLAIN, false, false},
    {"GET", "/events", plain_events, API_PLAIN, false, false},
    {"POST", "/v1/chat/completions", openai_chat, API_OPENAI, true, false},
    {"POST", "/v1/completions", openai_completions, API_OPENAI, true, false},
    {"POST", "/v1/embeddings", openai_embeddings, API_OPENAI, true, false},
    {"POST", "/v1/responses", openai_responses, API_OPENAI, true, false},
    {"GET", "/v1/models", openai_models, API_OPENAI, false, false},
    {"GET", "/v1/models/*", openai_models, API_OPENAI, false, false},
    {"POST", "/v1/messages", anthropic_messages, API_ANTHROPIC, true, false},
    {"POST", "/v1/messages/count_tokens", anthropic_count, API_ANTHROPIC, true, false},
    {"POST", "/v1beta/models/*", gemini_models, API_GEMINI, true, false},
    {"POST", "/v1/models/*", gemini_models, API_GEMINI, true, false},
    {"POST", "/model/*", bedrock_model, API_BEDROCK, true, false},
    {"GET", "/", plain_index, API_PLAIN, false, false},
    {"GET", "/chunked/*", plain_chunked, API_PLAIN, false, false},
    {"*", "/echo", plain_echo, API_PLAIN, true, false},
    {"*", "/echo/*", plain_echo, API_PLAIN, true, false},
    {"*", "/headers", plain_headers, API_PLAIN, false, false},
    {"*", "/status/*", plain_status, API_PLAIN, false, false},
    {"GET", "/trailers", plain_trailers, API_PLAIN, false, false},
    {"*", "/slow-head", plain_slow_head, API_PLAIN, false, false},
    {"*", "/hang", plain_hang, API_PLAIN, false, false},
    {"GET", "/sim/stats", server_stats, API_PLAIN, false, true},
    {"POST", "/sim/reset", server_reset, API_PLAIN, false, true},
    {"POST", "*/chat/completions", openai_chat, API_OPENAI, true, false},
    {"POST", "*/completions", openai_completions, API_OPENAI, true, false},
    {"POST", "*/embeddings", openai_embeddings, API_OPENAI, true, false},
    {"POST", "*/responses", openai_responses, API_OPENAI, true, false},
    {"POST", "*:generateContent", gemini_models, API_GEMINI, true, false},
    {"POST", "*:streamGenerateContent", gemini_models, API_GEMINI, true, false},
};

static void unknown_path(struct conn *c, const struct request *r, struct slice body)
{
    struct buf msg = {0};
    (void)body;
    buf_fmt(&msg, "Invalid URL (%.*s %.*s)%c", (int)r->method.n, r->method.p,
            (int)(r->path.n & 1023), r->path.p, 0);
    reply_error(c, 404, NULL, msg.p);
    buf_free(&msg);
}

static void wrong_method(struct conn *c, const struct request *r, struct slice body)
{
    (void)r;
    (void)body;
    reply_error(c, 405, NULL, "Not allowed method for this path");
}

static const struct route none = {"*", "*", unknown_path, API_OPENAI, false, false};
static const struct route other_method = {"*", "*", wrong_method, API_OPENAI, false, false};

static bool path_matches(const char *pattern, struct slice path)
{
    size_t n = strlen(pattern);
    if (pattern[0] == '*')
        return slice_ends(path, pattern + 1);
    if (pattern[n - 1] == '*')
        return path.n >= n - 1 && memcmp(path.p, pattern, n - 1) == 0;
    return path.n == n && memcmp(path.p, pattern, n) == 0;
}

static bool method_matches(const char *want, struct slice method)
{
    if (want[0] == '*' || slice_is(method, want))
        return true;
    return strcmp(want, "GET") == 0 && slice_is(method, "HEAD");
}

const struct route *route_find(const struct request *r)
{
    const struct route *found = &none;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (!path_matches(routes[i].path, r->path))
            continue;
        if (method_matches(routes[i].method, r->method))
            return &routes[i];
        found = &other_method;
    }
    return found;
}
