/* SPDX-License-Identifier: Apache-2.0 */
/* Any JSON through field tables with a row of each type: parse, walk, and check what must hold. */
#include <stdlib.h>

#include "base/panic.h"
#include "config/fields.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

struct inner {
    struct str name;
    double rate;
};

struct outer {
    bool flag;
    int64_t count;
    double ratio;
    struct str text, address, id;
    int mode;
    struct field_list words, items, map, headers;
    struct inner *inner;
    json_t *any, *one, *json;
};

static const char *const modes[] = {"a", "b", NULL};

static const struct field inner_rows[] = {
    {"name", FIELD_STR, .flags = FIELD_REQUIRED | FIELD_SECRET, .at = offsetof(struct inner, name),
     .min = 1, .max = 8, .pattern = "^[a-z]+$"},
    {"rate", FIELD_NUM, .flags = FIELD_ABOVE_MIN, .at = offsetof(struct inner, rate), .max = 9,
     .def = "1"},
    {0},
};
static const struct fields inner_fields = {inner_rows, .size = sizeof(struct inner)};

static const struct field word_row = {.type = FIELD_STR, .min = 1};
static const struct field item_row = {.type = FIELD_OBJECT, .fields = &inner_fields};
static const struct field text_rows[] = {
    {"text", .type = FIELD_STR}, {"number", .type = FIELD_NUM}, {0}};
static const struct field text_row = {
    .type = FIELD_ONE_OF, .flags = FIELD_AS_TEXT, .of = text_rows};
static const struct field ip_rows[] = {
    {"v4", FIELD_STR, .format = "ipv4"}, {"v6", FIELD_STR, .format = "ipv6"}, {0}};
static const struct field any_rows[] = {
    {"map", FIELD_MAP, .of = &word_row},
    {"list", FIELD_LIST, .of = &item_row},
    {"object", FIELD_OBJECT, .fields = &inner_fields},
    {0},
};

#define AT(member) .at = offsetof(struct outer, member)
static const struct field rows[] = {
    {"flag", FIELD_BOOL, AT(flag), .def = "true"},
    {"count", FIELD_INT, AT(count), .min = -5, .max = 100},
    {"ratio", FIELD_NUM, AT(ratio), .flags = FIELD_HAS_MIN},
    {"text", FIELD_STR, AT(text), .min = 2, .max = 16, .pattern = "^\\S+$"},
    {"address", FIELD_STR, AT(address), .of = ip_rows},
    {"id", FIELD_ANY_OF, AT(id), .flags = FIELD_AS_TEXT, .of = text_rows},
    {"mode", FIELD_ENUM, AT(mode), .names = modes, .def = "\"b\""},
    {"words", FIELD_LIST, AT(words), .flags = FIELD_UNIQUE, .of = &word_row, .max = 8,
     .def = "[\"x\"]"},
    {"items", FIELD_LIST, AT(items), .flags = FIELD_UNIQUE, .of = &item_row},
    {"map", FIELD_MAP, AT(map), .flags = FIELD_CLOSED, .of = &word_row, .pattern = "^[a-z]"},
    {"headers", FIELD_MAP, AT(headers), .of = &text_row, .pattern = "^[^:]+$"},
    {"inner", FIELD_OBJECT, AT(inner), .fields = &inner_fields},
    {"any", FIELD_ANY_OF, AT(any), .of = any_rows},
    {"one", FIELD_ONE_OF, AT(one), .of = any_rows},
    {"json", FIELD_JSON, AT(json), .of = &item_row},
    {0},
};
static const struct field_rule rules[] = {
    {RULE_DEPENDS, "count,ratio", 0}, {RULE_EXCLUDES, "any,one", 0},
    {RULE_MAX_FIELDS, NULL, 12},      {RULE_ALL_NONE_OR_ONE, "text|address", 0},
    {RULE_NOT_BOTH, "inner,json", 0}, {0},
};
static const struct fields closed = {rows, rules, sizeof(struct outer), false, NULL};
static const struct fields open_fields = {rows, NULL, sizeof(struct outer), true, NULL};

static void on_unknown(void *arg, struct str path)
{
    unsigned *n = arg;

    ASSERT(path.p);
    ++*n;
}

static void on_secret(void *arg, json_t *string)
{
    (void)arg;
    ASSERT(json_is_string(string));
    json_string_set(string, "*");
}

static void touch(const void *p, size_t n)
{
    const volatile char *at = p;

    for (size_t i = 0; i < n; i++)
        (void)at[i];
}

static void check(const struct outer *o)
{
    const struct str *words = o->words.items;
    const struct inner *items = o->items.items;
    const struct field_pair *headers = o->headers.items;

    ASSERT(o->mode == 0 || o->mode == 1);
    ASSERT(o->words.n <= 8);
    for (size_t i = 0; i < o->words.n; i++)
        touch(words[i].p, words[i].n + 1);
    for (size_t i = 0; i < o->items.n; i++)
        touch(items[i].name.p, items[i].name.n);
    for (size_t i = 0; i < o->headers.n; i++)
        touch(headers[i].value.p, headers[i].value.n);
    if (o->inner)
        touch(o->inner->name.p, o->inner->name.n);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    json_t *in = json_loadb((const char *)data, size, JSON_DECODE_ANY, NULL);
    struct arena arena;
    struct outer out;
    struct str err = STR_NONE;
    unsigned unknown = 0;

    if (!in)
        return 0;
    arena_init(&arena, NULL);
    fields_unknown(&closed, in, on_unknown, &unknown);
    if (fields_parse(&closed, in, &out, &arena, &err)) {
        check(&out);
        /* What has passed the narrow table passes the wide one, and had nothing unknown. */
        ASSERT(unknown == 0);
        ASSERT(fields_parse(&open_fields, in, &out, &arena, &err));
    } else {
        ASSERT(err.n > 0);
    }
    fields_secrets(&closed, in, on_secret, NULL);
    json_decref(fields_schema(&closed));
    free(fields_markdown(&closed));
    arena_fini(&arena);
    json_decref(in);
    return 0;
}
