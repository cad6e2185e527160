/* SPDX-License-Identifier: Apache-2.0 */
/* What OpenAI's older endpoints and its Responses API share. */
#ifndef SIM_OPENAI_H
#define SIM_OPENAI_H

#include "answer.h"

void openai_headers(struct conn *c, uint64_t serial, uint64_t tokens); /* into w->extra */
/* The first tool's name and schema from "tools", in the nested or the flat form. */
void openai_tool(struct ask *a, const json_t *request);

#endif
