/* SPDX-License-Identifier: Apache-2.0 */
/* limit-count: so many requests in a window of time, for each value of a key; fixed and sliding
 * windows, one limit or several rules. limit_window.h counts. */
#include <inttypes.h>

#include "plugin/limit_group.h"
#include "plugin/limit_window.h"
#include "plugin/plugin.h"

enum { COUNTERS = 131072 }; /* 2 MiB once all are in use */

static struct limit_table *table;

enum key_type { KEY_VAR, KEY_COMBINATION, KEY_CONSTANT };

/* A count or a number of seconds. */
struct amount {
    uint64_t fixed;    /* 0: in the text */
    struct text *text; /* with variables, or not a number at all: told when a request comes */
};

/* Of the headers with the quota; also the plugin's metadata. */
struct names {
    struct str limit, remaining, reset;
};

/* One limit, compiled: the plugin's own, or a rule's. */
struct limit {
    struct amount count, window;
    struct text *key;    /* NULL: a constant, which is in the id */
    bool optional;       /* a rule: without a value for its key it does not apply */
    struct hash128 id;   /* of a group, or of a resource and this configuration of it */
    struct str source;   /* the same as APISIX writes it in front of a key */
    struct str constant; /* the key when it is one */
    struct names names;
    struct str prefix; /* of a rule's headers; absent: none */
};

struct rule_conf {
    struct str count, window, key, header_prefix;
};

struct limit_conf {
    struct str count, window, key, group, rejected_msg, redis_password, sentinel_password;
    int window_type, key_type, policy;
    int64_t rejected_code;
    bool allow_degradation, show_limit_quota_header;
    double sync_interval;
    struct field_list rules; /* of struct rule_conf */

    struct limit *limits;
    size_t nlimits;
    struct limit_group *shared; /* NULL: no group */
};

/* ---- The tables -------------------------------------------------------------------------------
 */

static const struct field amount_rows[] = {
    {"integer", FIELD_INT, .flags = FIELD_ABOVE_MIN},
    {"string", FIELD_STR, .flags = 0},
    {0},
};

#define AT(member) .at = offsetof(struct rule_conf, member)
static const struct field rule_rows[] = {
    {"count", FIELD_ONE_OF, .flags = FIELD_AS_TEXT | FIELD_REQUIRED, AT(count), .of = amount_rows,
     .doc = "Requests in a window: a number, or a text with variables."},
    {"time_window", FIELD_ONE_OF, .flags = FIELD_AS_TEXT | FIELD_REQUIRED, AT(window),
     .of = amount_rows,
     .doc = "Length of the window in seconds: a number, or a text with variables."},
    {"key", FIELD_STR, .flags = FIELD_REQUIRED, AT(key),
     .doc = "What is counted apart: a text with variables. The rule is left out for requests that "
            "have none of them."},
    {"header_prefix", FIELD_STR, AT(header_prefix),
     .doc = "Stands in the names of this rule's headers: `X-{header_prefix}-RateLimit-Limit`. "
            "Without it, the rule's number from 1."},
    {0},
};
#undef AT
static const struct fields rule_fields = {rule_rows, .size = sizeof(struct rule_conf),
                                          .open = true};
static const struct field rule_row = {.type = FIELD_OBJECT, .fields = &rule_fields};

static const char *const window_types[] = {"fixed", "sliding", NULL};
static const char *const key_types[] = {"var", "var_combination", "constant", NULL};
static const char *const policies[] = {"local", "redis", "redis-cluster", "redis-sentinel", NULL};

#define AT(member) .at = offsetof(struct limit_conf, member)
static const struct field limit_rows[] = {
    {"count", FIELD_ONE_OF, .flags = FIELD_AS_TEXT, AT(count), .of = amount_rows,
     .doc = "Requests in a window: a number, or a text with variables. Above 1073741822 there is "
            "no limit."},
    {"time_window", FIELD_ONE_OF, .flags = FIELD_AS_TEXT, AT(window), .of = amount_rows,
     .doc = "Length of the window in seconds: a number, or a text with variables."},
    {"window_type", FIELD_ENUM, AT(window_type), .names = window_types, .def = "\"fixed\"",
     .doc = "A fixed window begins with its first request. A sliding one weighs what the window "
            "before "
            "it let through, so that no burst passes where two windows meet."},
    {"rules", FIELD_LIST, AT(rules), .of = &rule_row,
     .doc = "Several limits instead of one; a request must be within all that apply to it."},
    {"group", FIELD_STR, AT(group),
     .doc = "Routes and services with the same group share their counters. All must have the same "
            "configuration, which cannot be changed while it is in use: take another name."},
    {"key", FIELD_STR, AT(key), .def = "\"remote_addr\"",
     .doc = "What is counted apart: a variable's name, a text with variables, or a constant, as "
            "key_type says. Where it is empty, the client's address takes its place."},
    {"key_type", FIELD_ENUM, AT(key_type), .names = key_types, .def = "\"var\"",
     .doc = "`var`: the key is a variable's name. `var_combination`: a text with variables, "
            "`$remote_addr $http_x`. `constant`: the same for all requests."},
    {"rejected_code", FIELD_INT, AT(rejected_code), .min = 200, .max = 599, .def = "503",
     .doc = "Status of the refusal."},
    {"rejected_msg", FIELD_STR, AT(rejected_msg), .min = 1,
     .doc = "Text of the refusal, sent as `{\"error_msg\": …}`."},
    {"policy", FIELD_ENUM, AT(policy), .names = policies, .def = "\"local\"",
     .doc = "Where the counters are. Only `local`, this process, is there yet."},
    {"allow_degradation", FIELD_BOOL, AT(allow_degradation), .def = "false",
     .doc = "Let requests through when counting fails, instead of answering 500."},
    {"show_limit_quota_header", FIELD_BOOL, AT(show_limit_quota_header), .def = "true",
     .doc = "Send X-RateLimit-Limit, X-RateLimit-Remaining and X-RateLimit-Reset."},
    {"sync_interval", FIELD_NUM, AT(sync_interval), .def = "-1",
     .doc = "For the redis policies, which are not there yet."},
    /* Accepted beside the local policy, and then encrypted at rest like any other. */
    {"redis_password", FIELD_STR, .flags = FIELD_SECRET | FIELD_HIDDEN, AT(redis_password)},
    {"sentinel_password", FIELD_STR, .flags = FIELD_SECRET | FIELD_HIDDEN, AT(sentinel_password)},
    {0},
};
#undef AT
static const struct field_rule limit_rules[] = {
    {RULE_ONE_OF_NAMED, "count,time_window|rules", 0},
    {0},
};
static const struct fields limit_fields = {limit_rows, limit_rules, sizeof(struct limit_conf), true,
                                           NULL};

/* RFC 9110 §5.1. */
#define HEADER_NAME "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
#define AT(member)  .at = offsetof(struct names, member)
static const struct field metadata_rows[] = {
    {"limit_header", FIELD_STR, AT(limit), .pattern = HEADER_NAME, .def = "\"X-RateLimit-Limit\"",
     .doc = "Name of the header with the limit."},
    {"remaining_header", FIELD_STR, AT(remaining), .pattern = HEADER_NAME,
     .def = "\"X-RateLimit-Remaining\"",
     .doc = "Name of the header with the number of requests left."},
    {"reset_header", FIELD_STR, AT(reset), .pattern = HEADER_NAME, .def = "\"X-RateLimit-Reset\"",
     .doc = "Name of the header with the seconds until the window ends."},
    {0},
};
#undef AT
static const struct fields metadata_fields = {metadata_rows, .size = sizeof(struct names),
                                              .open = true};

/* ---- Amounts ----------------------------------------------------------------------------------
 */

static struct amount amount_compile(struct build *b, struct str source)
{
    struct amount a = {.text = build_text(b, source)};
    uint64_t v;
    char err[128];

    if (str_to_u64(source, UINT64_MAX, &v) && v > LIMIT_NUMBER_MAX)
        a.fixed = LIMIT_NUMBER_MAX; /* a number in the configuration may be that large */
    else if (text_is_constant(a.text) && limit_number_read(source, &v, err, sizeof(err)))
        a.fixed = v;
    return a;
}

static bool amount_value(struct exchange *ex, const struct amount *a, uint64_t *out, char *err,
                         size_t size)
{
    if (a->fixed) {
        *out = a->fixed;
        return true;
    }
    return limit_number_read(text_value(ex, a->text), out, err, size);
}

/* ---- Compiling --------------------------------------------------------------------------------
 */

/* A rule's prefix goes before the name's "RateLimit-", once. */
static struct str name_make(struct arena *a, struct str name, struct str prefix)
{
    ptrdiff_t at = str_search(name, STR("RateLimit-"));

    if (!prefix.p || at < 0)
        return name;
    return arena_join(a, str_head(name, (size_t)at),
                      arena_join(a, prefix, arena_join(a, STR("-"), str_from(name, (size_t)at))));
}

static struct names names_make(struct arena *a, const struct names *from, struct str prefix)
{
    return (struct names){name_make(a, from->limit, prefix), name_make(a, from->remaining, prefix),
                          name_make(a, from->reset, prefix)};
}

/* The names while the plugin has no metadata. */
static void limit_name(struct build *b, struct limit *l, struct str prefix)
{
    static const struct names usual = {
        {"X-RateLimit-Limit", 17}, {"X-RateLimit-Remaining", 21}, {"X-RateLimit-Reset", 17}};

    l->prefix = prefix;
    l->names = names_make(build_arena(b), &usual, prefix);
}

/* What keeps these counters apart from all others. A configuration that changes starts anew;
 * a restart or a change elsewhere does not touch them. */
static struct hash128 limit_id(struct build *b, const struct limit_conf *c, size_t i,
                               struct str constant)
{
    struct arena *a = build_arena(b);
    struct str text;

    if (c->group.p)
        text = arena_printf(a, "g%.*s", STR_ARG(c->group));
    else
        text = arena_printf(a, "r%.*s:%016" PRIx64, STR_ARG(build_resource(b)), build_conf_hash(b));
    return hash_str128(
        arena_printf(a, "%zu:%.*s:%zu:%.*s", text.n, STR_ARG(text), i, STR_ARG(constant)));
}

static struct str limit_source(struct build *b, const struct limit_conf *c)
{
    if (c->group.p)
        return arena_join(build_arena(b), c->group, STR(":"));
    return arena_printf(build_arena(b), "/apisix%.*s:%" PRIu64 ":", STR_ARG(build_resource(b)),
                        build_conf_hash(b));
}

static void compile_one(struct limit_conf *c, struct build *b)
{
    struct limit *l = arena_zero(build_arena(b), sizeof(*l));

    l->count = amount_compile(b, c->count);
    l->window = amount_compile(b, c->window);
    l->id = limit_id(b, c, 0, c->key_type == KEY_CONSTANT ? c->key : STR_NONE);
    limit_name(b, l, STR_NONE);
    l->source = limit_source(b, c);
    l->constant = c->key;
    if (c->key_type == KEY_VAR)
        l->key = build_var(b, c->key);
    else if (c->key_type == KEY_COMBINATION)
        l->key = build_text(b, c->key);
    /* Without a variable there is nothing to combine, and the address takes the key's place. */
    if (c->key_type == KEY_COMBINATION && text_is_constant(l->key))
        l->key = build_var(b, STR("remote_addr"));
    c->limits = l;
    c->nlimits = 1;
}

static bool compile_rules(struct limit_conf *c, struct build *b)
{
    const struct rule_conf *rules = c->rules.items;
    struct arena *a = build_arena(b);
    struct str source = limit_source(b, c);

    c->limits = arena_zero(a, c->rules.n * sizeof(*c->limits));
    for (size_t i = 0; i < c->rules.n; i++) {
        struct limit *l = &c->limits[c->nlimits];
        for (size_t j = 0; j < i; j++)
            if (str_eq(rules[j].key, rules[i].key))
                return build_error(b, "duplicate key '%.*s' in rules", STR_ARG(rules[i].key));
        l->key = build_text(b, rules[i].key);
        if (text_is_constant(l->key))
            continue; /* it never applies */
        l->optional = true;
        l->count = amount_compile(b, rules[i].count);
        l->window = amount_compile(b, rules[i].window);
        l->id = limit_id(b, c, i + 1, STR_NONE);
        l->source = source;
        limit_name(b, l,
                   rules[i].header_prefix.p ? rules[i].header_prefix
                                            : arena_printf(a, "%zu", i + 1));
        c->nlimits++;
    }
    return true;
}

/* All that must be equal in a group. */
static struct str group_text(const struct limit_conf *c, struct build *b)
{
    return arena_printf(
        build_arena(b), "%zu:%.*s %zu:%.*s %d %d %zu:%.*s %" PRId64 " %zu:%.*s %d %d %.17g",
        c->count.n, STR_ARG(c->count), c->window.n, STR_ARG(c->window), c->window_type, c->key_type,
        c->key.n, STR_ARG(c->key), c->rejected_code, c->rejected_msg.n, STR_ARG(c->rejected_msg),
        c->allow_degradation, c->show_limit_quota_header, c->sync_interval);
}

static bool limit_compile(void *conf, struct build *b)
{
    struct limit_conf *c = conf;

    if (c->group.p && c->rules.items)
        return build_error(b, "group and rules cannot be specified at the same time");
    if (c->policy)
        return build_error(b, "the %s policy is not supported by this version, only \"local\" is",
                           policies[c->policy]);
    if (!c->count.p)
        return compile_rules(c, b);
    compile_one(c, b);
    if (!c->group.p)
        return true;
    c->shared = limit_group_join(c->group, group_text(c, b));
    return c->shared ? true : build_error(b, "group conf mismatched");
}

static void limit_release(void *conf)
{
    limit_group_leave(((struct limit_conf *)conf)->shared);
}

/* ---- Requests ---------------------------------------------------------------------------------
 */

/* A limit that applies to this request, with its numbers. */
struct demand {
    const struct limit *limit;
    struct str key;
    struct limit_ask ask;
};

enum { KEY_SHOWN = 1024 }; /* bytes of it */

/* What $rate_limiting_info tells. */
struct info {
    const struct limit *limit;
    struct str key;
    uint64_t count;
    struct limit_quota quota;
};

/* False: the limit does not apply. */
static bool find_counter(struct exchange *ex, struct demand *d)
{
    const struct limit *l = d->limit;

    d->ask.id = l->id;
    d->key = l->constant;
    if (!l->key)
        return true;
    bool empty = text_is_empty(ex, l->key);
    if (empty && l->optional)
        return false;
    d->key = empty ? request_client(ex) : text_value(ex, l->key);
    struct hash128 h = hash_str128(d->key);
    d->ask.id.a ^= h.a;
    d->ask.id.b ^= h.b;
    return true;
}

/* The limits that apply, all their numbers known before any is counted. -1 after a message. */
static int find_demands(struct exchange *ex, const struct limit_conf *c, struct demand *out)
{
    char err[128];
    int n = 0;

    for (size_t i = 0; i < c->nlimits; i++) {
        const struct limit *l = &c->limits[i];
        struct limit_ask *ask = &out[n].ask;
        out[n].limit = l;
        if (!find_counter(ex, &out[n]))
            continue;
        if (!amount_value(ex, &l->count, &ask->count, err, sizeof(err)) ||
            !amount_value(ex, &l->window, &ask->window, err, sizeof(err))) {
            ex_log(ex, LOG_ERROR, "failed to get rate limit rules: %s", err);
            return -1;
        }
        ask->type = (enum limit_window_type)c->window_type;
        ask->wall_ms = ex_wall_ms(ex);
        ask->now_ms = ex_now_ms(ex);
        n++;
    }
    if (n)
        return n;
    ex_log(ex, LOG_ERROR, "failed to get rate limit rules: nil");
    return -1;
}

static void show_quota(struct exchange *ex, const struct demand *d, struct limit_quota q)
{
    const struct names *metadata = plugin_metadata(ex, "limit-count");
    struct arena *a = ex_arena(ex);
    struct names names = metadata ? names_make(a, metadata, d->limit->prefix) : d->limit->names;
    char *limit = arena_bytes(a, LIMIT_TEXT_SIZE), *remaining = arena_bytes(a, LIMIT_TEXT_SIZE),
         *reset = arena_bytes(a, LIMIT_TEXT_SIZE);

    response_header_set(ex, names.limit, str_make(limit, u64_write(limit, d->ask.count)));
    response_header_set(ex, names.remaining,
                        str_make(remaining, u64_write(remaining, q.remaining)));
    response_header_set(ex, names.reset, str_make(reset, limit_reset_text(q.reset, reset)));
}

/* APISIX's text, with the key escaped for JSON. */
static struct str make_info(struct exchange *ex, const void *arg)
{
    const struct info *i = arg;
    struct arena *a = ex_arena(ex);
    struct str key = arena_join(a, i->limit->source, i->key);
    json_t *text = json_stringn_nocheck(key.p, key.n);
    char *quoted = json_dumps(text, JSON_ENCODE_ANY);

    struct str all = arena_printf(
        a,
        "{\"rate_limiting_key\":%s,\"rate_limiting_limit\":%" PRIu64
        ",\"rate_limiting_remaining\":%" PRIu64 ",\"rate_limiting_reset\":%" PRIu64 "}",
        quoted ? quoted : "\"\"", i->count, i->quota.remaining, i->quota.reset / 100);
    free(quoted);
    json_decref(text);
    return all;
}

static void tell_info(struct exchange *ex, const struct demand *d, struct limit_quota q)
{
    struct info *i = arena_alloc(ex_arena(ex), sizeof(*i));

    /* A copy: what a variable shows (the body) may be gone when the log is written. */
    struct str key = arena_str(ex_arena(ex), str_head(d->key, KEY_SHOWN));
    *i = (struct info){d->limit, key, d->ask.count, q};
    var_set_made(ex, STR("rate_limiting_info"), make_info, i);
}

static enum verdict limit_access(struct exchange *ex, const void *conf, void *frame)
{
    const struct limit_conf *c = conf;
    struct demand one, *demands = &one;
    (void)frame;

    if (c->nlimits > 1)
        demands = arena_alloc(ex_arena(ex), c->nlimits * sizeof(*demands));
    int n = find_demands(ex, c, demands);
    if (n < 0)
        return c->allow_degradation ? NEXT : reply_status(ex, 500);
    for (int i = 0; i < n; i++) {
        struct limit_quota q = limit_window_ask(table, &demands[i].ask);
        tell_info(ex, &demands[i], q);
        if (c->show_limit_quota_header)
            show_quota(ex, &demands[i], q);
        if (q.passed)
            continue;
        if (c->rejected_msg.p)
            return reply_message(ex, (int)c->rejected_code, "error_msg", c->rejected_msg);
        return reply_status(ex, (int)c->rejected_code);
    }
    return NEXT;
}

/* ---- The process ------------------------------------------------------------------------------
 */

/* plugin_attr.limit-count.counters: how many counters there is room for. */
static bool limit_start(const json_t *attr, const struct plugin_env *env, struct str *err)
{
    const json_t *n = json_object_get(attr, "counters");
    (void)env;

    if (n && (!json_is_integer(n) || json_integer_value(n) < 64 ||
              json_integer_value(n) > INT64_C(1) << 32)) {
        *err = STR("plugin_attr.limit-count.counters must be an integer from 64 to 4294967296");
        return false;
    }
    table = limit_table_new(n ? (size_t)json_integer_value(n) : COUNTERS);
    return true;
}

static void limit_stop(void)
{
    limit_table_free(table);
    table = NULL;
}

const struct plugin plugin_limit_count = {
    .abi = PLUGIN_ABI,
    .name = "limit-count",
    .version = 0.5,
    .priority = 1002,
    .guard = true,
    .doc = "Limits the number of requests in a window of time, for each value of a key. What is "
           "over the limit is refused with rejected_code. The counters are shared by all worker "
           "threads and count exactly; they belong to the resource that holds this configuration, "
           "and start anew when it changes or the gateway restarts.",
    .conf = &limit_fields,
    .metadata = &metadata_fields,
    .compile = limit_compile,
    .release = limit_release,
    .start = limit_start,
    .stop = limit_stop,
    .access = limit_access,
};
