/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of application/vnd.amazon.eventstream. */
#ifndef SIM_BEDROCK_H
#define SIM_BEDROCK_H

#include "buf.h"

/* A frame of :message-type event with a JSON payload. */
void bedrock_frame(struct buf *out, const char *event_type, struct slice payload);
/* A frame of :message-type exception. */
void bedrock_exception(struct buf *out, const char *type, const char *message);

#endif
