/* SPDX-License-Identifier: Apache-2.0 */
/* What the simulated models say: the words of the prompt, again and again until there are enough.
 * So a test can compute the answer: with P = the last message's words, word i of the answer is P[i
 * mod len(P)]. A token is a word. */
#ifndef SIM_ANSWER_H
#define SIM_ANSWER_H

#include "stream.h"

#include <jansson.h>

#define ANSWER_PROMPT 4096 /* bytes of the prompt that are repeated */
#define ANSWER_WORDS  512  /* words of it */

/* What a provider's module found in a request. Strings are borrowed until answer_new returns. */
struct ask {
    const char *model;
    struct buf last;        /* text of the last message; ask_free frees it */
    uint64_t prompt_tokens; /* words of all messages, system texts and the like */
    int64_t max_tokens;     /* -1 = no limit */
    bool use_tool;          /* the last message asks for a tool and there is one */
    const char *tool;       /* its name */
    const json_t *schema;   /* its parameters; NULL = none */
};

/* An answer, also as a stream. One allocation, freed by stream_free or free(). */
struct answer {
    struct stream s;
    uint64_t serial; /* names it: ids are made of it */
    int64_t created; /* seconds */
    uint64_t prompt_tokens;
    uint64_t cached, reasoning; /* as X-Sim-Cached and X-Sim-Reasoning say */
    uint32_t words;             /* of the answer */
    uint32_t prompt_words;
    bool cut;          /* by max_tokens */
    bool usage;        /* the stream shall tell it */
    bool flag;         /* the provider's own */
    const char *model; /* escaped for JSON */
    const char *tool;  /* escaped; NULL = a text answer */
    const char *args;  /* JSON text of the tool's arguments */
    size_t args_n;
    const char *text;   /* the prompt's words, one space between */
    const uint16_t *at; /* where each begins; prompt_words + 1 of them */
};

/* Words of a text: runs of what is no ASCII white space. */
uint64_t words_in(const char *p, size_t n);
/* Appends the texts in a message's content (a string, or an array of strings and of objects with
 * "text") to out, a space before each, and returns its words. */
uint64_t content_text(const json_t *content, struct buf *out);
/* The same over a list of messages whose content is under `key`; leaves the last one's text in
 * ask->last. */
void ask_messages(struct ask *a, const json_t *messages, const char *key);
void ask_system(struct ask *a, const json_t *content); /* counts it */
/* The tool is used when the last message's text has "use tool". */
void ask_tool(struct ask *a, const char *name, const json_t *schema);
void ask_free(struct ask *a);

struct answer *answer_new(struct conn *c, const struct request *r, const struct ask *a);
void answer_word(const struct answer *a, uint32_t i,
                 struct buf *out); /* escaped, a space before all but the first */
void answer_text(const struct answer *a, struct buf *out); /* escaped, all words */
/* The tool's arguments in pieces of a few bytes: piece i, escaped as the inside of a string. */
uint32_t answer_arg_pieces(const struct answer *a);
void answer_arg_piece(const struct answer *a, uint32_t i, struct buf *out);
uint64_t answer_tokens(const struct answer *a); /* of the output */

/* The request's JSON object; answers 400 and returns NULL when it is none. The caller decrefs. */
json_t *request_json(struct conn *c, struct slice body);
const char *json_text(const json_t *o, const char *key, const char *fallback);
int64_t json_int(const json_t *o, const char *key, int64_t fallback);
/* Header x-request-id and the like; the provider's rate limit headers come from the modules. */
uint64_t header_num(const struct request *r, const char *name, uint64_t fallback);

#endif
