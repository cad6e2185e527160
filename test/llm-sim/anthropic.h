/* SPDX-License-Identifier: Apache-2.0 */
/* Anthropic's messages, which Bedrock's invoke speaks too. */
#ifndef SIM_ANTHROPIC_H
#define SIM_ANTHROPIC_H

#include "answer.h"

/* Reads a messages request; false after answering 400. ask_free the ask in both cases. */
bool anthropic_ask(struct conn *c, const json_t *o, struct ask *ask);
/* The whole message object. */
void anthropic_message(const struct answer *a, struct buf *json);
/* Event i of the stream: its name, and its object appended to json. True with the last. */
bool anthropic_event(const struct answer *a, uint64_t i, const char **name, struct buf *json);

#endif
