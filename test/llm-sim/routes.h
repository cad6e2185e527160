/* SPDX-License-Identifier: Apache-2.0 */
/* Which handler answers which path. */
#ifndef SIM_ROUTES_H
#define SIM_ROUTES_H

#include "conn.h"

/* Never NULL: unknown paths have a route that answers 404, known ones with another method one that
 * answers 405. */
const struct route *route_find(const struct request *r);

/* plain.c */
handler_fn plain_bytes, plain_reply, plain_chunked, plain_echo, plain_headers, plain_status,
    plain_trailers;
void plain_fini(void); /* frees a thread's cached replies */
handler_fn plain_events, plain_slow_head, plain_hang, plain_index;
/* server.c */
handler_fn server_stats, server_reset;
/* the providers */
handler_fn openai_chat, openai_completions, openai_embeddings, openai_responses, openai_models;
handler_fn anthropic_messages, anthropic_count, gemini_models, bedrock_model;

#endif
