/* SPDX-License-Identifier: Apache-2.0 */
/* YAML texts (configuration files) as JSON values. */
#ifndef CONFIG_YAML_H
#define CONFIG_YAML_H

#include <jansson.h>

#include "base/arena.h"
#include "base/buf.h"

/* The text's one document as a new reference; an empty text gives JSON null. Plain scalars mean
 * what they mean to APISIX's parser (lyaml, YAML 1.1): null, yes/no/on/off/true/false, decimal, 0x…
 * and 0… octal integers, floats; anything else, and whatever is quoted, is a string. Tags are
 * ignored. NULL for broken YAML, several documents, nesting deeper than 64 or more than 100,000
 * values (aliases count each time they are used) or 64 MiB of texts by aliases, with a message in
 * the arena that has the line. A key that occurs twice warns in the log; the last one counts. */
json_t *yaml_parse(struct str text, struct arena *a, struct str *err);
/* The same with another bound than 100,000 values. */
json_t *yaml_parse_large(struct str text, size_t max_values, struct arena *a, struct str *err);

/* The value as YAML, block style, without the document's markers, added to out. Strings that
 * another reader could take for something else are quoted. False: out is full. */
bool yaml_write(const json_t *v, struct buf *out);

#endif
