/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a text is a .proto file, or a compiled descriptor set in base64. */
#ifndef CONFIG_PROTO_H
#define CONFIG_PROTO_H

#include "base/arena.h"
#include "base/str.h"

/* Checks the grammar (protobuf's language specification, proto2 and proto3), not that the types
 * named exist; or that the bytes are a FileDescriptorSet with a file in it. False with what is
 * wrong with the text, and where, in the arena. */
bool proto_check(struct str content, struct arena *a, struct str *err);

#endif
