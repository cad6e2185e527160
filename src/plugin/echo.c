/* SPDX-License-Identifier: Apache-2.0 */
/* echo: text around or in place of a response's body, for tries of what plugins do. */
#include "plugin/plugin.h"

/* ---- Configuration ---------------------------------------------------------------------------
 */

struct echo {
    struct str before_body, body, after_body;
    struct field_list headers; /* of struct field_pair */
};

struct echo_frame {
    bool begun;
};

static const struct field scalar_rows[] = {
    {"string", .type = FIELD_STR}, {"number", .type = FIELD_NUM}, {0}};
static const struct field scalar_row = {
    .type = FIELD_ONE_OF, .flags = FIELD_AS_TEXT, .of = scalar_rows};

#define AT(member) .at = offsetof(struct echo, member)
static const struct field rows[] = {
    {"before_body", FIELD_STR, AT(before_body), .doc = "Goes before the body."},
    {"body", FIELD_STR, AT(body), .doc = "Takes the body's place."},
    {"after_body", FIELD_STR, AT(after_body), .doc = "Goes behind the body."},
    {"headers", FIELD_MAP, AT(headers), .min = 1, .pattern = "^[^:]+$", .of = &scalar_row,
     .doc = "Headers of the response."},
    {0},
};
#undef AT
static const struct field_rule rules[] = {
    {RULE_ANY_OF, "before_body|body|after_body", 0}, {RULE_MIN_FIELDS, NULL, 1}, {0}};
static const struct fields conf_fields = {rows, rules, .size = sizeof(struct echo), .open = true};

/* ---- Phases -----------------------------------------------------------------------------------
 */

static enum verdict echo_header_filter(struct exchange *ex, const void *conf, void *frame)
{
    const struct echo *c = conf;
    const struct field_pair *pairs = c->headers.items;

    (void)frame;
    response_body_changes(ex);
    response_header_remove(ex, STR("Content-Encoding"));
    response_header_remove(ex, STR("Last-Modified"));
    response_header_remove(ex, STR("ETag"));
    for (size_t i = 0; i < c->headers.n; i++)
        response_header_set(ex, pairs[i].key, pairs[i].value);
    return NEXT;
}

static enum verdict echo_body_filter(struct exchange *ex, const void *conf, void *frame,
                                     struct chunk *chunk)
{
    const struct echo *c = conf;
    struct echo_frame *f = frame;
    struct arena *a = ex_arena(ex);
    struct str data = c->body.p ? STR("") : chunk->data;
    bool first = !f->begun;

    if (first && c->body.p)
        data = c->body;
    if (first && c->before_body.n)
        data = arena_join(a, c->before_body, data);
    if (chunk->last && c->after_body.n)
        data = arena_join(a, data, c->after_body);
    f->begun = true;
    chunk->data = data;
    return NEXT;
}

const struct plugin plugin_echo = {
    .abi = PLUGIN_ABI,
    .name = "echo",
    .version = 0.1,
    .priority = 412,
    .doc = "Puts text before, behind or in place of the body of responses, and sets headers: to "
           "see what a plugin does, not for production.",
    .conf = &conf_fields,
    .frame_size = sizeof(struct echo_frame),
    .header_filter = echo_header_filter,
    .body_filter = echo_body_filter,
};
