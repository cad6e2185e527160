/* SPDX-License-Identifier: Apache-2.0 */
/* Field tables: each message in the words of api7/jsonschema, each type as it is stored, and what
 * else is drawn from a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "config/fields.c"

/* ---- A table with a row of each type ----------------------------------------------------------
 */

struct item {
    struct str host;
    int64_t port;
    int kind;
};

struct inner {
    bool on;
    double rate;
    struct field_list items;
};

struct sample {
    bool flag;
    int64_t count, status, big;
    double ratio, open_ratio;
    struct str name, word, address, path, remote;
    int mode, policy;
    struct field_list list, hosts, numbers, nested, anything;
    struct inner *inner, *filled;
    struct field_list labels, headers, weights, closed;
    json_t *json, *vars, *nodes, *limit;
    struct str id, text;
};

static const char *const modes[] = {"pass", "node", NULL};
static const char *const bits[] = {"1", "0", NULL};

static const struct field item_rows[] = {
    {"host", FIELD_STR, .flags = FIELD_REQUIRED, .at = offsetof(struct item, host),
     .pattern = "^[a-z.]+$"},
    {"port", FIELD_INT, 0, offsetof(struct item, port), .min = 1, .max = 65535, .def = "80"},
    {"kind", FIELD_ENUM, 0, offsetof(struct item, kind), .names = modes},
    {0},
};
static const struct fields item_fields = {item_rows, .size = sizeof(struct item)};

static const struct field item_row = {.type = FIELD_OBJECT, .fields = &item_fields};
static const struct field inner_rows[] = {
    {"on", FIELD_BOOL, .at = offsetof(struct inner, on), .def = "true"},
    {"rate", FIELD_NUM, .flags = FIELD_ABOVE_MIN, .at = offsetof(struct inner, rate), .def = "0.5"},
    {"items", FIELD_LIST, .flags = FIELD_UNIQUE, .at = offsetof(struct inner, items),
     .of = &item_row},
    {0},
};
static const struct fields inner_fields = {inner_rows, .size = sizeof(struct inner), .open = true};

static const struct field word_row = {.type = FIELD_STR, .min = 1};
static const struct field number_row = {.type = FIELD_INT, .flags = FIELD_HAS_MIN};
static const struct field words_row = {.type = FIELD_LIST, .of = &word_row};
static const struct field label_row = {.type = FIELD_STR, .pattern = "^\\S+$", .min = 1, .max = 8};
static const struct field id_rows[] = {
    {"string", FIELD_STR, .min = 1, .max = 64, .pattern = "^[a-zA-Z0-9-_.]+$"},
    {"number", FIELD_INT, .min = 1},
    {0},
};
static const struct field limit_rows[] = {
    {"number", FIELD_INT, .flags = FIELD_ABOVE_MIN},
    {"any", .type = FIELD_NUM},
    {"text", .type = FIELD_STR},
    {0},
};
static const struct field header_rows[] = {
    {"text", .type = FIELD_STR}, {"number", .type = FIELD_NUM}, {0}};
static const struct field header_row = {
    .type = FIELD_ONE_OF, .flags = FIELD_AS_TEXT, .of = header_rows};
static const struct field weights_row = {.type = FIELD_MAP, .of = &number_row};
static const struct field node_rows[] = {
    {"map", FIELD_MAP, .of = &number_row},
    {"list", FIELD_LIST, .of = &item_row},
    {0},
};
static const struct field object_rows[] = {
    {"item", FIELD_OBJECT, .fields = &item_fields},
    {"words", FIELD_LIST, .of = &word_row},
    {0},
};
static const struct field ip_rows[] = {
    {"IPv4", FIELD_STR, .format = "ipv4"},
    {"IPv6", FIELD_STR, .format = "ipv6"},
    {0},
};
static const struct field list_row = {.type = FIELD_LIST};

#define AT(member) offsetof(struct sample, member)
static const struct field rows[] = {
    {"flag", FIELD_BOOL, .at = AT(flag), .doc = "A switch."},
    {"count", FIELD_INT, .flags = FIELD_ABOVE_MIN, .at = AT(count), .max = 1000000, .def = "2"},
    {"status", FIELD_INT, .at = AT(status), .names = bits, .def = "1"},
    {"big", FIELD_INT, .at = AT(big)},
    {"ratio", FIELD_NUM, .at = AT(ratio), .min = 0.00001, .max = 1},
    {"open_ratio", FIELD_NUM, .flags = FIELD_HAS_MIN, .at = AT(open_ratio)},
    {"name", FIELD_STR, .at = AT(name), .min = 2, .max = 4},
    {"word", FIELD_STR, .at = AT(word), .def = "\"a \\\"b\\\"\""},
    {"address", FIELD_STR, .at = AT(address), .format = "ipv4"},
    {"path", FIELD_STR, .at = AT(path), .pattern = "^[^\\/]+:\\/\\/\"?"},
    {"remote", FIELD_STR, .at = AT(remote), .of = ip_rows},
    {"mode", FIELD_ENUM, .at = AT(mode), .names = modes, .def = "\"node\""},
    {"policy", FIELD_ENUM, .at = AT(policy), .names = modes},
    {"list", FIELD_LIST, .flags = FIELD_UNIQUE, .at = AT(list), .of = &word_row, .min = 1, .max = 3,
     .def = "[\"GET\",\"HEAD\"]"},
    {"hosts", FIELD_LIST, .at = AT(hosts), .of = &item_row},
    {"numbers", FIELD_LIST, .flags = FIELD_UNIQUE, .at = AT(numbers), .of = &number_row},
    {"nested", FIELD_LIST, .at = AT(nested), .of = &words_row},
    {"anything", FIELD_LIST, .flags = FIELD_UNIQUE, .at = AT(anything)},
    {"inner", FIELD_OBJECT, .at = AT(inner), .fields = &inner_fields},
    {"filled", FIELD_OBJECT, .at = AT(filled), .fields = &inner_fields, .def = "{}"},
    {"labels", FIELD_MAP, .at = AT(labels), .of = &label_row},
    {"headers", FIELD_MAP, .at = AT(headers), .of = &header_row, .pattern = "^[^:]+$", .min = 1,
     .max = 2},
    {"weights", FIELD_MAP, .flags = FIELD_CLOSED, .at = AT(weights), .of = &number_row,
     .pattern = "^w"},
    {"closed", FIELD_MAP, .flags = FIELD_CLOSED, .at = AT(closed), .of = &weights_row},
    {"json", FIELD_JSON, .at = AT(json), .def = "{\"a\":1}"},
    {"vars", FIELD_JSON, .at = AT(vars), .of = &list_row},
    {"nodes", FIELD_ANY_OF, .at = AT(nodes), .of = node_rows},
    {"object", FIELD_ANY_OF, .at = AT(nodes), .of = object_rows},
    {"limit", FIELD_ONE_OF, .at = AT(limit), .of = limit_rows},
    {"id", FIELD_ANY_OF, .flags = FIELD_AS_TEXT, .at = AT(id), .of = id_rows},
    {"text", FIELD_ONE_OF, .flags = FIELD_AS_TEXT, .at = AT(text), .of = header_rows},
    {0},
};
static const struct fields sample_fields = {rows, .size = sizeof(struct sample)};

/* ---- Helpers ----------------------------------------------------------------------------------
 */

static json_t *json(const char *text)
{
    json_error_t error;
    json_t *v = json_loads(text, JSON_DECODE_ANY, &error);

    if (!v)
        fail_msg("bad test document %s: %s", text, error.text);
    return v;
}

/* expected NULL: accepted. */
static void expect(const struct fields *fields, const char *text, const char *expected)
{
    json_t *in = json(text), *before = json_deep_copy(in);
    struct arena a;
    struct str err = STR_NONE;

    arena_init(&a, NULL);
    void *out = arena_alloc(&a, fields->size);
    bool good = fields_parse(fields, in, out, &a, &err);
    if (good && expected)
        fail_msg("%s: accepted, but expected: %s", text, expected);
    if (!good && !expected)
        fail_msg("%s: refused: %.*s", text, STR_ARG(err));
    if (expected && !str_eq(err, str_of(expected)))
        fail_msg("%s:\n  got      %.*s\n  expected %s", text, STR_ARG(err), expected);
    assert_true(json_equal(in, before));
    arena_fini(&a);
    json_decref(in);
    json_decref(before);
}

struct loaded {
    struct arena arena;
    json_t *in;
    struct sample s;
};

static void load(struct loaded *l, const char *text)
{
    struct str err;

    arena_init(&l->arena, NULL);
    l->in = json(text);
    if (!fields_parse(&sample_fields, l->in, &l->s, &l->arena, &err))
        fail_msg("%s: refused: %.*s", text, STR_ARG(err));
}

static void unload(struct loaded *l)
{
    arena_fini(&l->arena);
    json_decref(l->in);
}

static void assert_str(struct str s, const char *expected)
{
    if (!s.p || !str_eq(s, str_of(expected)))
        fail_msg("got '%.*s', expected '%s'", STR_ARG(s), expected);
}

/* ---- Messages ---------------------------------------------------------------------------------
 */

static const struct {
    const char *in, *err;
} messages[] = {
    {"{}", NULL},
    {"[]", NULL},
    {"[1]", "wrong type: expected object, got table"},
    {"\"x\"", "wrong type: expected object, got string"},
    {"null", "wrong type: expected object, got userdata"},
    {"true", "wrong type: expected object, got boolean"},
    {"{\"x\":1}", "additional properties forbidden, found x"},
    {"{\"flag\":1}",
     "property \"flag\" validation failed: wrong type: expected boolean, got number"},
    {"{\"flag\":null}",
     "property \"flag\" validation failed: wrong type: expected boolean, got userdata"},
    /* numbers */
    {"{\"count\":0}", "property \"count\" validation failed: expected 0 to be greater than 0"},
    {"{\"count\":-1}", "property \"count\" validation failed: expected -1 to be greater than 0"},
    {"{\"count\":1000001}",
     "property \"count\" validation failed: expected 1000001 to be at most 1000000"},
    {"{\"count\":\"2\"}",
     "property \"count\" validation failed: wrong type: expected integer, got string"},
    {"{\"count\":1.5}",
     "property \"count\" validation failed: wrong type: expected integer, got number"},
    {"{\"count\":3.0}", NULL},
    {"{\"count\":10000000000000000}",
     "property \"count\" validation failed: expected 1e+16 to be at most 1000000"},
    {"{\"count\":\"$ENV://N\"}",
     "property \"count\" validation failed: wrong type: expected integer, got string"},
    {"{\"status\":0}", NULL},
    {"{\"status\":1.0}", NULL},
    {"{\"status\":2}", "property \"status\" validation failed: matches none of the enum values"},
    {"{\"ratio\":10}", "property \"ratio\" validation failed: expected 10 to be at most 1"},
    {"{\"ratio\":1.25}", "property \"ratio\" validation failed: expected 1.25 to be at most 1"},
    {"{\"ratio\":0}", "property \"ratio\" validation failed: expected 0 to be at least 1e-05"},
    {"{\"ratio\":\"x\"}",
     "property \"ratio\" validation failed: wrong type: expected number, got string"},
    {"{\"open_ratio\":-0.5}",
     "property \"open_ratio\" validation failed: expected -0.5 to be at least 0"},
    {"{\"open_ratio\":0}", NULL},
    /* strings */
    {"{\"name\":7}",
     "property \"name\" validation failed: wrong type: expected string, got number"},
    {"{\"name\":\"a\"}",
     "property \"name\" validation failed: string too short, expected at least 2, got 1"},
    {"{\"name\":\"abcde\"}",
     "property \"name\" validation failed: string too long, expected at most 4, got 5"},
    {"{\"name\":\"\u00e9\u20ac\U0001F600x\"}", NULL},
    {"{\"name\":\"\u00e9\"}",
     "property \"name\" validation failed: string too short, expected at least 2, got 1"},
    {"{\"path\":\"/a\\\"\\n\\u0001b\\u00012\\u007f\\\\\"}",
     "property \"path\" validation failed: failed to match pattern \"^[^\\\\/]+:\\\\/\\\\/\\\"?\" "
     "with \"/a\\\"\\\n\\1b\\0012\\127\\\\\""},
    {"{\"path\":\"http://\"}", NULL},
    {"{\"address\":\"1.2.3\"}",
     "property \"address\" validation failed: expect valid ipv4 format but got: 1.2.3"},
    {"{\"address\":\"1.2.3.4\"}", NULL},
    {"{\"remote\":\"::1\"}", NULL},
    {"{\"remote\":\"x\"}",
     "property \"remote\" validation failed: object matches none of the required"},
    {"{\"remote\":1}",
     "property \"remote\" validation failed: wrong type: expected string, got number"},
    {"{\"mode\":\"x\"}", "property \"mode\" validation failed: matches none of the enum values"},
    {"{\"mode\":true}",
     "property \"mode\" validation failed: wrong type: expected string, got boolean"},
    /* references to secrets */
    {"{\"name\":\"$secret://vault/1/a/b\",\"path\":\"$env://X\",\"mode\":\"$ENV://MODE\","
     "\"id\":\"$Env://ID/x\",\"limit\":\"$secret://v/1/c\",\"address\":\"$ENV://A\","
     "\"remote\":\"$ENV://A\"}",
     NULL},
    {"{\"mode\":\"$SECRET://vault/1\"}",
     "property \"mode\" validation failed: matches none of the enum values"},
    /* lists */
    {"{\"list\":{}}", "property \"list\" validation failed: expect array to have at least 1 items"},
    {"{\"list\":[]}", "property \"list\" validation failed: expect array to have at least 1 items"},
    {"{\"list\":[\"a\",\"b\",\"c\",\"d\"]}",
     "property \"list\" validation failed: expect array to have at most 3 items"},
    {"{\"list\":{\"a\":1}}",
     "property \"list\" validation failed: wrong type: expected array, got table"},
    {"{\"list\":\"a\"}",
     "property \"list\" validation failed: wrong type: expected array, got string"},
    {"{\"list\":[\"a\",\"b\",\"a\"]}",
     "property \"list\" validation failed: expected unique items but items 1 and 3 are equal"},
    {"{\"list\":[\"a\",\"\"]}", "property \"list\" validation failed: failed to validate item 2: "
                                "string too short, expected at "
                                "least 1, got 0"},
    {"{\"numbers\":[1,2,1.0]}",
     "property \"numbers\" validation failed: expected unique items but items 1 and 3 are equal"},
    {"{\"numbers\":{}}", NULL},
    {"{\"anything\":[1,\"1\",[1],{\"a\":1,\"b\":2},true,null]}", NULL},
    {"{\"anything\":[{\"a\":1,\"b\":2},{\"b\":2,\"a\":1}]}",
     "property \"anything\" validation failed: expected unique items but items 1 and 2 are equal"},
    {"{\"hosts\":[{\"host\":\"a\"},{\"port\":1}]}",
     "property \"hosts\" validation failed: failed to validate item 2: property \"host\" is "
     "required"},
    {"{\"hosts\":[{\"host\":\"a\",\"port\":65536}]}",
     "property \"hosts\" validation failed: failed to validate item 1: property \"port\" "
     "validation "
     "failed: expected 65536 to be at most 65535"},
    {"{\"hosts\":[{\"host\":\"a\",\"hots\":1}]}",
     "property \"hosts\" validation failed: failed to validate item 1: additional properties "
     "forbidden, found hots"},
    {"{\"nested\":[[\"a\"],[\"b\",\"\"]]}",
     "property \"nested\" validation failed: failed to validate item 2: failed to validate item 2: "
     "string too short, expected at least 1, got 0"},
    /* objects and maps */
    {"{\"inner\":{\"unknown\":1}}", NULL},
    {"{\"inner\":[]}", NULL},
    {"{\"inner\":[1]}",
     "property \"inner\" validation failed: wrong type: expected object, got table"},
    {"{\"inner\":{\"rate\":0}}",
     "property \"inner\" validation failed: property \"rate\" validation failed: expected 0 to be "
     "greater than 0"},
    {"{\"labels\":{\"env\":{}}}",
     "property \"labels\" validation failed: failed to validate env (matching \".*\"): wrong type: "
     "expected string, got table"},
    {"{\"labels\":\"x\"}",
     "property \"labels\" validation failed: wrong type: expected object, got string"},
    {"{\"labels\":[]}", NULL},
    {"{\"headers\":{}}",
     "property \"headers\" validation failed: expect object to have at least 1 properties"},
    {"{\"headers\":{\"a\":\"1\",\"b\":2,\"c\":3}}",
     "property \"headers\" validation failed: expect object to have at most 2 properties"},
    {"{\"headers\":{\"a\":true}}",
     "property \"headers\" validation failed: failed to validate a (matching \"^[^:]+$\"): value "
     "should match only one schema, but matches none"},
    {"{\"headers\":{\":a\":true}}", NULL},
    {"{\"weights\":{\"w1\":1,\"x\":1}}",
     "property \"weights\" validation failed: additional properties forbidden, found x"},
    {"{\"closed\":{\"a\":{\"b\":-1}}}",
     "property \"closed\" validation failed: failed to validate additional property a: failed to "
     "validate b (matching \".*\"): expected -1 to be at least 0"},
    /* alternatives */
    {"{\"vars\":{\"a\":1}}",
     "property \"vars\" validation failed: wrong type: expected array, got table"},
    {"{\"nodes\":1}", "property \"nodes\" validation failed: object matches none of the required"},
    {"{\"nodes\":{\"a:80\":-1}}",
     "property \"nodes\" validation failed: object matches none of the required"},
    {"{\"nodes\":{\"a:80\":1}}", NULL},
    {"{\"nodes\":[{\"host\":\"a\"}]}", NULL},
    {"{\"object\":1}",
     "property \"object\" validation failed: object matches none of the required: [\"host\"]"},
    {"{\"limit\":true}",
     "property \"limit\" validation failed: value should match only one schema, but matches none"},
    {"{\"limit\":5}", "property \"limit\" validation failed: value should match only one schema, "
                      "but matches both schemas 1 and 2"},
    {"{\"limit\":0.5}", NULL},
    {"{\"limit\":\"$arg_x\"}", NULL},
    {"{\"id\":0}", "property \"id\" validation failed: object matches none of the required"},
    {"{\"id\":\"a b\"}", "property \"id\" validation failed: object matches none of the required"},
    /* the first fault in the table's order is told, unknown properties after the known ones */
    {"{\"x\":1,\"mode\":1,\"count\":0}",
     "property \"count\" validation failed: expected 0 to be greater than 0"},
};

static void test_messages(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
        expect(&sample_fields, messages[i].in, messages[i].err);
}

/* ---- Rules ------------------------------------------------------------------------------------
 */

struct ruled {
    struct str a, b, c, d;
};
static const struct field ruled_rows[] = {
    {"a", FIELD_STR, .at = offsetof(struct ruled, a)},
    {"b", FIELD_STR, .at = offsetof(struct ruled, b)},
    {"c", FIELD_STR, .at = offsetof(struct ruled, c)},
    {"d", FIELD_STR, .at = offsetof(struct ruled, d), .def = "\"d\""},
    {0},
};

static const struct {
    struct field_rule rules[3];
    const char *in, *err;
} ruled[] = {
    {{{RULE_ONE_OF, "a,b|c", 0}}, "{}", "value should match only one schema, but matches none"},
    {{{RULE_ONE_OF, "a,b|c", 0}},
     "{\"a\":\"\"}",
     "value should match only one schema, but matches none"},
    {{{RULE_ONE_OF, "a|b|c", 0}},
     "{\"a\":\"\",\"c\":\"\"}",
     "value should match only one schema, but matches both schemas 1 and 3"},
    {{{RULE_ONE_OF, "a,b|c", 0}}, "{\"a\":\"\",\"b\":\"\"}", NULL},
    {{{RULE_ONE_OF, "a|d", 0}}, "{}", NULL},
    {{{RULE_ONE_OF_NAMED, "a,b|c", 0}},
     "{\"b\":\"\",\"c\":\"\"}",
     "a/b and c cannot be specified at the same time"},
    {{{RULE_ONE_OF_NAMED, "a,b|c", 0}},
     "{\"b\":\"\"}",
     "value should match only one schema, but matches none"},
    {{{RULE_ONE_OF_NAMED, "a,b|c", 0}}, "{\"c\":\"\"}", NULL},
    {{{RULE_ANY_OF, "a|b,c", 0}},
     "{\"b\":\"\"}",
     "object matches none of the required: [\"a\"] or [\"b\",\"c\"]"},
    {{{RULE_ANY_OF, "a|b,c", 0}}, "{\"a\":\"\",\"b\":\"\",\"c\":\"\"}", NULL},
    {{{RULE_NOT_BOTH, "a,b|a,c", 0}},
     "{\"a\":\"\",\"c\":\"\"}",
     "value wasn't supposed to match schema"},
    {{{RULE_NOT_BOTH, "a,b|a,c", 0}}, "{\"b\":\"\",\"c\":\"\"}", NULL},
    {{{RULE_DEPENDS, "a,b,c", 0}},
     "{\"a\":\"\",\"b\":\"\"}",
     "property \"c\" is required when \"a\" is set"},
    {{{RULE_DEPENDS, "a,b,c", 0}}, "{\"b\":\"\"}", NULL},
    {{{RULE_DEPENDS_SCHEMA, "a,b|b,a", 0}},
     "{\"b\":\"\"}",
     "failed to validate dependent schema for \"b\": property \"a\" is required"},
    {{{RULE_EXCLUDES, "a,b,c", 0}},
     "{\"a\":\"\",\"b\":\"\",\"c\":\"\"}",
     "failed to validate dependent schema for \"a\": value wasn't supposed to match schema"},
    {{{RULE_EXCLUDES, "a,b,c", 0}}, "{\"a\":\"\",\"b\":\"\"}", NULL},
    {{{RULE_MIN_FIELDS, NULL, 2}}, "{}", "expect object to have at least 2 properties"},
    {{{RULE_MIN_FIELDS, NULL, 2}}, "{\"a\":\"\"}", NULL},
    {{{RULE_MAX_FIELDS, NULL, 2}},
     "{\"a\":\"\",\"b\":\"\"}",
     "expect object to have at most 2 properties"},
    {{{RULE_ALL_ONE_OF, "a|b", 0}, {RULE_ALL_NONE_OR_ONE, "a|c", 0}},
     "{}",
     "allOf 1 failed: value should match only one schema, but matches none"},
    {{{RULE_ALL_ONE_OF, "a|b", 0}, {RULE_ALL_NONE_OR_ONE, "a|c", 0}},
     "{\"a\":\"\",\"c\":\"\"}",
     "allOf 2 failed: value should match only one schema, but matches both schemas 2 and 3"},
    {{{RULE_ALL_ONE_OF, "a|b", 0}, {RULE_ALL_NONE_OR_ONE, "a|c", 0}}, "{\"b\":\"\"}", NULL},
    /* `d` has a default, which counts as its value */
    {{{RULE_WHEN, "d=d|a,b|a,c|else|b", 0}}, "{\"a\":\"\",\"b\":\"\"}", NULL},
    {{{RULE_WHEN, "d=d|a,b|a,c|else|b", 0}}, "{\"b\":\"\"}", "then clause did not match"},
    {{{RULE_WHEN, "d=d|a,b|a,c|else|b", 0}},
     "{\"d\":\"d\",\"a\":\"\",\"b\":\"\",\"c\":\"\"}",
     "then clause did not match"},
    {{{RULE_WHEN, "d=d|a,b|a,c|else|b", 0}}, "{\"d\":\"x\",\"b\":\"\"}", NULL},
    {{{RULE_WHEN, "d=d|a,b|a,c|else|b", 0}},
     "{\"d\":\"x\",\"a\":\"\",\"c\":\"\"}",
     "else clause did not match"},
    /* order: dependencies, unknown properties, counts, allOf, anyOf, oneOf, not */
    {{{RULE_NOT_BOTH, "a", 0}, {RULE_DEPENDS, "a,b", 0}},
     "{\"a\":\"\",\"x\":1}",
     "property \"b\" is required when \"a\" is set"},
    {{{RULE_NOT_BOTH, "a", 0}, {RULE_MIN_FIELDS, NULL, 5}},
     "{\"a\":\"\",\"x\":1}",
     "additional properties forbidden, found x"},
    {{{RULE_NOT_BOTH, "a", 0}, {RULE_MIN_FIELDS, NULL, 5}},
     "{\"a\":\"\"}",
     "expect object to have at least 5 properties"},
    {{{RULE_ONE_OF, "b", 0}, {RULE_ANY_OF, "c", 0}},
     "{}",
     "object matches none of the required: [\"c\"]"},
};

static void test_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(ruled) / sizeof(ruled[0]); i++) {
        struct fields fields = {ruled_rows, ruled[i].rules, sizeof(struct ruled), false, NULL};
        expect(&fields, ruled[i].in, ruled[i].err);
    }
}

/* ---- What is stored ---------------------------------------------------------------------------
 */

static void test_defaults(void **state)
{
    struct loaded l;

    (void)state;
    load(&l, "{}");
    assert_false(l.s.flag);
    assert_int_equal(l.s.count, 2);
    assert_int_equal(l.s.status, 1);
    assert_null(l.s.name.p);
    assert_str(l.s.word, "a \"b\"");
    assert_int_equal(l.s.mode, 1);
    assert_int_equal(l.s.policy, -1);
    assert_int_equal(l.s.list.n, 2);
    assert_str(((struct str *)l.s.list.items)[1], "HEAD");
    assert_null(l.s.hosts.items);
    assert_null(l.s.inner);
    assert_non_null(l.s.filled);
    assert_true(l.s.filled->on);
    assert_true(l.s.filled->rate == 0.5);
    assert_int_equal(json_integer_value(json_object_get(l.s.json, "a")), 1);
    assert_null(l.s.vars);
    assert_null(l.s.id.p);
    unload(&l);
}

static void test_scalars(void **state)
{
    struct loaded l;

    (void)state;
    load(&l, "{\"flag\":true,\"count\":7.0,\"big\":-9007199254740993,\"ratio\":0.25,"
             "\"name\":\"\u00e9x\",\"mode\":\"pass\",\"policy\":\"$ENV://P\","
             "\"id\":42,\"text\":1.5}");
    assert_true(l.s.flag);
    assert_int_equal(l.s.count, 7);
    assert_true(l.s.big == -9007199254740993);
    assert_true(l.s.ratio == 0.25);
    assert_str(l.s.name, "\u00e9x");
    assert_int_equal(l.s.mode, 0);
    assert_int_equal(l.s.policy, -1);
    assert_str(l.s.id, "42");
    assert_str(l.s.text, "1.5");
    unload(&l);

    load(&l, "{\"big\":1e300,\"id\":\"a\",\"mode\":\"$ENV://M\"}");
    assert_true(l.s.big == INT64_MAX);
    assert_str(l.s.id, "a");
    assert_int_equal(l.s.mode, 1);
    unload(&l);
}

static void test_containers(void **state)
{
    struct loaded l;

    (void)state;
    load(&l, "{\"hosts\":[{\"host\":\"a\"},{\"host\":\"b\",\"port\":9,\"kind\":\"node\"}],"
             "\"numbers\":[3,4],\"nested\":[[\"a\"],[]],\"anything\":[null,1],"
             "\"inner\":{\"on\":false,\"items\":[{\"host\":\"x\"}]},"
             "\"labels\":{\"k\":\"v\"},\"headers\":{\"n\":1,\":n\":2},\"weights\":{\"w\":5},"
             "\"nodes\":{\"a:1\":1},\"vars\":[[1]]}");
    const struct item *hosts = l.s.hosts.items;
    assert_int_equal(l.s.hosts.n, 2);
    assert_str(hosts[0].host, "a");
    assert_int_equal(hosts[0].port, 80);
    assert_int_equal(hosts[0].kind, -1);
    assert_int_equal(hosts[1].port, 9);
    assert_int_equal(hosts[1].kind, 1);
    assert_int_equal(((int64_t *)l.s.numbers.items)[1], 4);
    const struct field_list *nested = l.s.nested.items;
    assert_int_equal(nested[0].n, 1);
    assert_str(((struct str *)nested[0].items)[0], "a");
    assert_int_equal(nested[1].n, 0);
    assert_true(json_is_null(((json_t **)l.s.anything.items)[0]));
    assert_false(l.s.inner->on);
    assert_str(((struct item *)l.s.inner->items.items)[0].host, "x");
    assert_str(((struct field_pair *)l.s.labels.items)[0].value, "v");
    assert_int_equal(l.s.headers.n, 1);
    assert_str(((struct field_pair *)l.s.headers.items)[0].key, "n");
    assert_str(((struct field_pair *)l.s.headers.items)[0].value, "1");
    const struct field_member *w = l.s.weights.items;
    assert_str(w[0].key, "w");
    assert_int_equal(json_integer_value(w[0].value), 5);
    assert_ptr_equal(l.s.nodes, json_object_get(l.in, "nodes"));
    assert_ptr_equal(l.s.vars, json_object_get(l.in, "vars"));
    unload(&l);
}

/* ---- Schema -----------------------------------------------------------------------------------
 */

static void assert_schema(const struct fields *fields, const char *expected)
{
    json_t *schema = fields_schema(fields), *want = json(expected);

    if (!json_equal(schema, want)) {
        char *got = json_dumps(schema, JSON_INDENT(1) | JSON_SORT_KEYS);
        fail_msg("got %s\nexpected %s", got, expected);
    }
    json_decref(schema);
    json_decref(want);
}

static const struct field drawn_rows[] = {
    {"flag", FIELD_BOOL, .flags = FIELD_REQUIRED, .doc = "A switch."},
    {"count", FIELD_INT, .flags = FIELD_ABOVE_MIN, .max = 9, .def = "2"},
    {"status", FIELD_INT, .names = bits},
    {"ratio", FIELD_NUM, .min = 0.5},
    {"from", FIELD_NUM, .flags = FIELD_HAS_MIN},
    {"name", FIELD_STR, .min = 2, .max = 4, .pattern = "^a`b|c$"},
    {"address", FIELD_STR, .of = ip_rows},
    {"mode", FIELD_ENUM, .names = modes, .def = "\"node\""},
    {"list", FIELD_LIST, .flags = FIELD_UNIQUE, .of = &word_row, .min = 1, .max = 3},
    {"hosts", FIELD_LIST, .of = &item_row},
    {"labels", FIELD_MAP, .of = &label_row, .max = 3},
    {"free", .type = FIELD_MAP},
    {"closed", FIELD_MAP, .flags = FIELD_CLOSED, .of = &word_row},
    {"keyed", FIELD_MAP, .flags = FIELD_CLOSED, .of = &word_row, .pattern = "^k"},
    {"vars", FIELD_JSON, .of = &list_row, .doc = "Lines\nand | bars."},
    {"id", FIELD_ANY_OF, .flags = FIELD_AS_TEXT, .of = id_rows},
    {"text", FIELD_ONE_OF, .flags = FIELD_AS_TEXT, .of = header_rows},
    {"inner", FIELD_OBJECT, .fields = &inner_fields, .def = "{}"},
    {"old", FIELD_STR, .flags = FIELD_HIDDEN},
    {"key", FIELD_STR, .flags = FIELD_SECRET},
    {0},
};
static const struct field_rule drawn_rules[] = {
    {RULE_ONE_OF, "flag,count|name", 0},
    {RULE_ANY_OF, "flag|count", 0},
    {RULE_NOT_BOTH, "flag,mode", 0},
    {RULE_DEPENDS, "flag,count", 0},
    {RULE_DEPENDS_SCHEMA, "mode,count", 0},
    {RULE_EXCLUDES, "list,name", 0},
    {RULE_MIN_FIELDS, NULL, 1},
    {RULE_MAX_FIELDS, NULL, 9},
    {RULE_ALL_ONE_OF, "flag|mode", 0},
    {RULE_ALL_NONE_OR_ONE, "a|b", 0},
    {RULE_WHEN, "mode=node|flag,count|name|else|free", 0},
    {0},
};
static const struct fields drawn_fields = {drawn_rows, drawn_rules, .doc = "All of it."};

static void test_schema(void **state)
{
    (void)state;
    assert_schema(
        &drawn_fields,
        "{\"type\":\"object\",\"description\":\"All of it.\",\"additionalProperties\":false,"
        "\"required\":[\"flag\"],\"properties\":{"
        "\"flag\":{\"type\":\"boolean\",\"description\":\"A switch.\"},"
        "\"count\":{\"type\":\"integer\",\"exclusiveMinimum\":0,\"maximum\":9,\"default\":2},"
        "\"status\":{\"type\":\"integer\",\"enum\":[1,0]},"
        "\"ratio\":{\"type\":\"number\",\"minimum\":0.5},"
        "\"from\":{\"type\":\"number\",\"minimum\":0},"
        "\"name\":{\"type\":\"string\",\"minLength\":2,\"maxLength\":4,\"pattern\":\"^a`b|c$\"},"
        "\"address\":{\"type\":\"string\",\"anyOf\":["
        "{\"title\":\"IPv4\",\"type\":\"string\",\"format\":\"ipv4\"},"
        "{\"title\":\"IPv6\",\"type\":\"string\",\"format\":\"ipv6\"}]},"
        "\"mode\":{\"type\":\"string\",\"enum\":[\"pass\",\"node\"],\"default\":\"node\"},"
        "\"list\":{\"type\":\"array\",\"minItems\":1,\"maxItems\":3,\"uniqueItems\":true,"
        "\"items\":{\"type\":\"string\",\"minLength\":1}},"
        "\"hosts\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"required\":[\"host\"],"
        "\"additionalProperties\":false,\"properties\":{"
        "\"host\":{\"type\":\"string\",\"pattern\":\"^[a-z.]+$\"},"
        "\"port\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":65535,\"default\":80},"
        "\"kind\":{\"type\":\"string\",\"enum\":[\"pass\",\"node\"]}}}},"
        "\"labels\":{\"type\":\"object\",\"maxProperties\":3,\"patternProperties\":{\".*\":"
        "{\"type\":\"string\",\"pattern\":\"^\\\\S+$\",\"minLength\":1,\"maxLength\":8}}},"
        "\"free\":{\"type\":\"object\"},"
        "\"closed\":{\"type\":\"object\",\"additionalProperties\":"
        "{\"type\":\"string\",\"minLength\":1}},"
        "\"keyed\":{\"type\":\"object\",\"additionalProperties\":false,\"patternProperties\":"
        "{\"^k\":{\"type\":\"string\",\"minLength\":1}}},"
        "\"vars\":{\"type\":\"array\",\"description\":\"Lines\\nand | bars.\"},"
        "\"id\":{\"anyOf\":[{\"title\":\"string\",\"type\":\"string\",\"minLength\":1,"
        "\"maxLength\":64,\"pattern\":\"^[a-zA-Z0-9-_.]+$\"},"
        "{\"title\":\"number\",\"type\":\"integer\",\"minimum\":1}]},"
        "\"text\":{\"oneOf\":[{\"title\":\"text\",\"type\":\"string\"},"
        "{\"title\":\"number\",\"type\":\"number\"}]},"
        "\"inner\":{\"type\":\"object\",\"default\":{},\"properties\":{"
        "\"on\":{\"type\":\"boolean\",\"default\":true},"
        "\"rate\":{\"type\":\"number\",\"exclusiveMinimum\":0,\"default\":0.5},"
        "\"items\":{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"object\","
        "\"required\":[\"host\"],\"additionalProperties\":false,\"properties\":{"
        "\"host\":{\"type\":\"string\",\"pattern\":\"^[a-z.]+$\"},"
        "\"port\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":65535,\"default\":80},"
        "\"kind\":{\"type\":\"string\",\"enum\":[\"pass\",\"node\"]}}}}}},"
        "\"key\":{\"type\":\"string\"}},"
        "\"oneOf\":[{\"required\":[\"flag\",\"count\"]},{\"required\":[\"name\"]}],"
        "\"anyOf\":[{\"required\":[\"flag\"]},{\"required\":[\"count\"]}],"
        "\"not\":{\"anyOf\":[{\"required\":[\"flag\",\"mode\"]}]},"
        "\"dependencies\":{\"flag\":[\"count\"],\"mode\":{\"required\":[\"count\"]},"
        "\"list\":{\"not\":{\"required\":[\"name\"]}}},"
        "\"minProperties\":1,\"maxProperties\":9,"
        "\"allOf\":[{\"oneOf\":[{\"required\":[\"flag\"]},{\"required\":[\"mode\"]}]},"
        "{\"oneOf\":[{\"not\":{\"anyOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}},"
        "{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}],"
        "\"if\":{\"properties\":{\"mode\":{\"enum\":[\"node\"]}}},"
        "\"then\":{\"oneOf\":[{\"required\":[\"flag\",\"count\"]},{\"required\":[\"name\"]}]},"
        "\"else\":{\"required\":[\"free\"]}}");
}

/* ---- Documentation ----------------------------------------------------------------------------
 */

static void assert_line(const char *text, const char *line)
{
    const char *at = strstr(text, line);

    if (!at || (at != text && at[-1] != '\n') || at[strlen(line)] != '\n')
        fail_msg("no line '%s' in:\n%s", line, text);
}

static void test_markdown(void **state)
{
    char *text = fields_markdown(&drawn_fields);

    (void)state;
    assert_line(text, "| `flag` | boolean | yes |  |  | A switch. |");
    assert_line(text, "| `count` | integer |  | `2` | > 0, ≤ 9 |  |");
    assert_line(text, "| `status` | integer |  |  | `1`, `0` |  |");
    assert_line(text, "| `ratio` | number |  |  | ≥ 0.5 |  |");
    assert_line(text, "| `name` | string |  |  | 2 … 4 characters, matches ``^a`b\\|c$`` |  |");
    assert_line(text, "| `mode` | string |  | `\"node\"` | `pass`, `node` |  |");
    assert_line(text, "| `list` | array[string] |  |  | 1 … 3 items, no two equal, at least 1 "
                      "characters |  |");
    assert_line(text, "| `hosts` | array[object] |  |  |  |  |");
    assert_line(text, "| `hosts[].host` | string | yes |  | matches `^[a-z.]+$` |  |");
    assert_line(text, "| `hosts[].port` | integer |  | `80` | 1 … 65535 |  |");
    assert_line(text, "| `vars` | array |  |  |  | Lines and \\| bars. |");
    assert_line(text, "| `id` | string or integer |  |  |  |  |");
    assert_line(text, "| `inner.rate` | number |  | `0.5` | > 0 |  |");
    assert_line(text, "| `inner.items[].kind` | string |  |  | `pass`, `node` |  |");
    assert_line(text, "| `key` | string |  |  |  | Encrypted at rest. |");
    assert_null(strstr(text, "old"));
    free(text);
}

/* ---- Walks ------------------------------------------------------------------------------------
 */

static void collect(void *arg, struct str path)
{
    struct buf *seen = arg;

    buf_printf(seen, "%.*s ", STR_ARG(path));
}

static void test_unknown(void **state)
{
    json_t *in = json("{\"x\":1,\"inner\":{\"y\":{\"deep\":1},\"items\":[{\"host\":\"a\"},"
                      "{\"z\":1}]},\"nodes\":[{\"host\":\"a\",\"w\":1},{\"host\":\"b\"}],"
                      "\"closed\":{\"k\":{\"any\":1}},\"count\":{\"odd\":1}}");
    struct buf seen;

    (void)state;
    buf_init(&seen, 4096);
    fields_unknown(&sample_fields, in, collect, &seen);
    assert_str(buf_str(&seen), "x inner.y inner.items[2].z ");
    buf_fini(&seen);
    json_decref(in);

    in = json("{\"object\":{\"host\":\"a\"},\"nodes\":[{\"host\":\"a\"}],\"filled\":[]}");
    fields_unknown(&sample_fields, in, collect, &seen);
    assert_int_equal(seen.n, 0);
    json_decref(in);
}

static const struct field secret_row = {.type = FIELD_STR, .flags = FIELD_SECRET};
static const struct field secret_item_rows[] = {
    {"user", .type = FIELD_STR}, {"pass", FIELD_STR, .flags = FIELD_SECRET}, {0}};
static const struct fields secret_item_fields = {secret_item_rows, .open = true};
static const struct field secret_item_row = {.type = FIELD_OBJECT, .fields = &secret_item_fields};
static const struct field secret_any_rows[] = {
    {"text", FIELD_STR, .flags = FIELD_SECRET, .max = 4},
    {"item", FIELD_OBJECT, .fields = &secret_item_fields},
    {0},
};
static const struct field secret_rows[] = {
    {"key", FIELD_STR, .flags = FIELD_SECRET},
    {"plain", .type = FIELD_STR},
    {"list", FIELD_LIST, .of = &secret_row},
    {"items", FIELD_LIST, .of = &secret_item_row},
    {"map", FIELD_MAP, .of = &secret_row},
    {"free", FIELD_JSON, .flags = FIELD_SECRET},
    {"any", FIELD_ANY_OF, .of = secret_any_rows},
    {"other", FIELD_ANY_OF, .of = secret_any_rows},
    {"object", FIELD_OBJECT, .fields = &secret_item_fields},
    {0},
};
static const struct fields secret_fields = {.rows = secret_rows};

static void hide(void *arg, json_t *string)
{
    int *n = arg;

    ++*n;
    json_string_set(string, "*");
}

static void test_secrets(void **state)
{
    json_t *in = json(
        "{\"key\":\"a\",\"plain\":\"b\",\"list\":[\"c\",1],\"items\":[{\"user\":\"d\","
        "\"pass\":\"e\"}],\"map\":{\"k\":\"f\"},\"free\":{\"x\":[\"g\",{\"y\":\"h\"}],"
        "\"n\":1},\"any\":\"too long\",\"other\":{\"pass\":\"i\"},"
        "\"object\":{\"pass\":\"j\",\"odd\":\"k\"},\"odd\":\"l\"}");
    json_t *want = json("{\"key\":\"*\",\"plain\":\"b\",\"list\":[\"*\",1],\"items\":[{\"user\":"
                        "\"d\",\"pass\":\"*\"}],\"map\":{\"k\":\"*\"},\"free\":{\"x\":[\"*\","
                        "{\"y\":\"*\"}],\"n\":1},\"any\":\"*\",\"other\":{\"pass\":\"*\"},"
                        "\"object\":{\"pass\":\"*\",\"odd\":\"k\"},\"odd\":\"l\"}");
    int n = 0;

    (void)state;
    fields_secrets(&secret_fields, in, hide, &n);
    assert_int_equal(n, 9);
    assert_true(json_equal(in, want));
    json_decref(in);
    json_decref(want);
}

/* What is wrong with a secret is said without it. */
static const struct field quiet_item_row = {.type = FIELD_STR, .pattern = "^[a-z]+$"};
static const struct field quiet_any_rows[] = {
    {"v4", FIELD_STR, .format = "ipv4"}, {"v6", FIELD_STR, .format = "ipv6"}, {0}};
static const struct field quiet_rows[] = {
    {"key", FIELD_STR, .flags = FIELD_SECRET, .pattern = "^[a-z]+$"},
    {"list", FIELD_LIST, .flags = FIELD_SECRET, .of = &quiet_item_row},
    {"map", FIELD_JSON, .flags = FIELD_SECRET,
     .of = &(const struct field){.type = FIELD_MAP, .of = &quiet_item_row}},
    {"address", FIELD_STR, .flags = FIELD_SECRET, .format = "ipv4"},
    {"any", FIELD_ANY_OF, .flags = FIELD_SECRET, .of = quiet_any_rows},
    {"mode", FIELD_ENUM, .flags = FIELD_SECRET, .names = (const char *const[]){"a", NULL}},
    {"size", FIELD_STR, .flags = FIELD_SECRET, .min = 9},
    {"type", FIELD_BOOL, .flags = FIELD_SECRET},
    {"open", FIELD_STR, .pattern = "^[a-z]+$"},
    {0},
};
static const struct fields quiet_fields = {.rows = quiet_rows, .size = 64}; /* all at 0 */

static void test_secrets_in_messages(void **state)
{
    static const char *const faults[] = {
        "{\"key\":\"S3CRET\"}",     "{\"list\":[\"a\",\"S3CRET\"]}", "{\"map\":{\"x\":\"S3CRET\"}}",
        "{\"address\":\"S3CRET\"}", "{\"any\":\"S3CRET\"}",          "{\"mode\":\"S3CRET\"}",
        "{\"size\":\"S3CRET\"}",    "{\"type\":\"S3CRET\"}",
    };
    struct arena a;
    struct str err;
    max_align_t out[8];

    (void)state;
    arena_init(&a, NULL);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        json_t *in = json(faults[i]);
        assert_false(fields_parse(&quiet_fields, in, out, &a, &err));
        assert_true(str_starts(err, STR("property \"")));
        assert_true(str_search(err, STR("S3CRET")) < 0);
        json_decref(in);
    }
    /* The fault beside a good secret is quoted. */
    json_t *in = json("{\"key\":\"good\",\"open\":\"S3CRET\"}");
    assert_false(fields_parse(&quiet_fields, in, out, &a, &err));
    assert_true(str_search(err, STR("with \"S3CRET\"")) > 0);
    json_decref(in);
    arena_fini(&a);
}

static void test_numbers_as_integers(void **state)
{
    static const struct {
        const char *text;
        int64_t want;
    } numbers[] = {{"7", 7},
                   {"-7.9", -7},
                   {"1e3", 1000},
                   {"1e308", INT64_MAX},
                   {"-1e308", INT64_MIN},
                   {"9223372036854775807", INT64_MAX},
                   {"9.3e18", INT64_MAX}};

    (void)state;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        json_t *v = json_loads(numbers[i].text, JSON_DECODE_ANY, NULL);
        assert_true(field_int(v) == numbers[i].want);
        json_decref(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_containers),
        cmocka_unit_test(test_schema),
        cmocka_unit_test(test_markdown),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_secrets_in_messages),
        cmocka_unit_test(test_numbers_as_integers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
