/* SPDX-License-Identifier: Apache-2.0 */
/* Our own writes that a watched store has not brought back yet. They were applied when they were
 * acknowledged: what the watch brings of the same keys up to then is old. */
#ifndef STORE_ECHO_H
#define STORE_ECHO_H

#include <stdint.h>

#include "base/list.h"
#include "base/str.h"
#include "base/trie.h"

struct echo {
    struct list waiting; /* by revision ascending */
    struct trie *by_key;
};

void echo_init(struct echo *e);
void echo_fini(struct echo *e);

/* A key was written, or deleted, at a revision larger than those before. */
void echo_add(struct echo *e, struct str key, int64_t revision);
/* A change of this key at this revision was overtaken by a write of ours, or is that write. */
bool echo_hides(const struct echo *e, struct str key, int64_t revision);
/* The watch has brought everything up to here. */
void echo_pass(struct echo *e, int64_t revision);
/* Takes one out; false: there is none. The key is a copy of the caller's to free. */
bool echo_take(struct echo *e, char **key);

#endif
