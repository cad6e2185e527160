/* SPDX-License-Identifier: Apache-2.0 */
/* proxy-cache: answers from responses that were stored before, in memory or on disk. Here is its
 * configuration; proxy_cache_request.c answers, proxy_cache_response.c stores. */
#include "plugin/proxy_cache_int.h"

/* ---- The table --------------------------------------------------------------------------------
 */

static const char *const strategies[] = {"disk", "memory", NULL};
const char *const cache_methods[] = {"GET", "POST", "HEAD", NULL};
static const struct field part_row = {.type = FIELD_STR,
                                      .pattern = "(^[^\\$].+$|^\\$[0-9a-zA-Z_]+$)"};
static const struct field status_row = {.type = FIELD_INT, .min = 200, .max = 599};
static const struct field method_row = {.type = FIELD_ENUM, .names = cache_methods};

#define AT(member) .at = offsetof(struct cache_conf, member)
static const struct field cache_rows[] = {
    {"cache_strategy", FIELD_ENUM, AT(strategy), .names = strategies, .def = "\"disk\"",
     .doc = "Where responses are stored. What is on disk survives a restart; what of it is asked "
            "for is in memory too."},
    {"cache_zone", FIELD_STR, AT(cache_zone), .min = 1, .max = 100, .def = "\"disk_cache_one\"",
     .doc = "A zone of apisix.proxy_cache.zones in config.yaml, of the strategy's kind."},
    {"cache_key", FIELD_LIST, AT(cache_key), .of = &part_row, .min = 1,
     .def = "[\"$host\",\"$request_uri\"]",
     .doc = "Variables and constants that name a response; requests with equal values share one. "
            "$request_method is refused: GET and HEAD share a response, POST has its own. With "
            "$host also the port, a final dot and the case of the request's Host tell responses "
            "apart, since the upstream sees them."},
    {"cache_method", FIELD_LIST, .flags = FIELD_UNIQUE, AT(cache_method), .of = &method_row,
     .min = 1, .def = "[\"GET\",\"HEAD\"]",
     .doc = "Methods that are answered from the cache. The response to a HEAD is never stored; "
            "it is answered from a GET's."},
    {"cache_http_status", FIELD_LIST, .flags = FIELD_UNIQUE, AT(cache_http_status),
     .of = &status_row, .min = 1, .def = "[200,301,404]",
     .doc = "Statuses of responses that are stored (206 and 304 never are)."},
    {"cache_bypass", FIELD_LIST, AT(cache_bypass), .of = &part_row, .min = 1,
     .doc = "When these together are neither empty nor `0`, the cache is not asked. In a disk zone "
            "the response then takes the stored one's place; in a memory zone it is not stored."},
    {"no_cache", FIELD_LIST, AT(no_cache), .of = &part_row, .min = 1,
     .doc = "When these together are neither empty nor `0`, the response is not stored."},
    {"cache_ttl", FIELD_INT, AT(cache_ttl), .min = 1, .def = "300",
     .doc = "Seconds that a response is fresh for in a memory zone. In a disk zone Cache-Control "
            "and Expires say so, else apisix.proxy_cache.cache_ttl."},
    {"cache_control", FIELD_BOOL, AT(cache_control), .def = "false",
     .doc = "Obey the request's Cache-Control (no-cache, no-store, max-age, max-stale, min-fresh, "
            "only-if-cached), and take a memory zone's time from the response's; a response "
            "without one is then not stored."},
    {"cache_set_cookie", FIELD_BOOL, AT(cache_set_cookie), .def = "false",
     .doc = "Store responses with Set-Cookie too, and send the cookie to whoever asks."},
    {"consumer_isolation", FIELD_BOOL, AT(consumer_isolation), .def = "true",
     .doc = "Keep the responses of consumers apart, and those of different Authorization headers "
            "that go to the upstream. Has no effect when cache_key has "
            "$consumer_name, $consumer_group_id, $remote_user or $http_authorization."},
    {"hide_cache_headers", FIELD_BOOL, AT(hide_cache_headers), .def = "false",
     .doc = "Do not send Cache-Control and Expires to clients."},
    {"max_resp_body_size", FIELD_INT, AT(max_resp_body_size), .min = 1, .def = "67108864",
     .doc = "Bytes of the largest body that is stored; a longer one passes through. It must also "
            "fit into the zone's memory_size."},
    {0},
};
#undef AT
static const struct fields cache_fields = {cache_rows, .size = sizeof(struct cache_conf),
                                           .open = true};

/* ---- Compiling --------------------------------------------------------------------------------
 */

static struct parts parts_compile(struct build *b, const struct field_list *list)
{
    struct parts p = {arena_zero(build_arena(b), (list->n + 1) * sizeof(*p.items)), list->n};
    const struct str *source = list->items;

    for (size_t i = 0; i < list->n; i++)
        if (source[i].p[0] == '$')
            p.items[i].var = build_var(b, str_from(source[i], 1));
        else
            p.items[i].constant = source[i];
    return p;
}

/* With one of these in the key the operator keeps clients apart as he likes. */
static bool tells_clients_apart(const struct field_list *key)
{
    static const char *const names[] = {"$consumer_name", "$consumer_group_id", "$remote_user",
                                        "$http_authorization"};
    const struct str *parts = key->items;

    for (size_t i = 0; i < key->n; i++)
        for (size_t j = 0; j < sizeof(names) / sizeof(names[0]); j++)
            if (str_eq(parts[i], str_of(names[j])))
                return true;
    return false;
}

static bool cache_compile(void *conf, struct build *b)
{
    struct cache_conf *c = conf;
    const struct str *key = c->cache_key.items;
    const int *method = c->cache_method.items;

    for (size_t i = 0; i < c->cache_key.n; i++) {
        if (str_eq(key[i], STR("$request_method")))
            return build_error(b, "cache_key variable $request_method unsupported");
        c->by_host |= str_eq(key[i], STR("$host"));
    }
    c->zone = zones_find(c->cache_zone);
    if (!c->zone)
        return build_error(b, "cache_zone %.*s not found", STR_ARG(c->cache_zone));
    if ((zone_conf(c->zone)->disk_path.p != NULL) != (c->strategy == STRATEGY_DISK))
        return build_error(b, "invalid or empty cache_zone for cache_strategy: %s",
                           strategies[c->strategy]);
    c->key = parts_compile(b, &c->cache_key);
    c->bypass = parts_compile(b, &c->cache_bypass);
    c->no_store = parts_compile(b, &c->no_cache);
    c->isolate = c->consumer_isolation && !tells_clients_apart(&c->cache_key);
    for (size_t i = 0; i < c->cache_method.n; i++)
        c->methods |= 1u << method[i];
    return true;
}

/* ---- The process ------------------------------------------------------------------------------
 */

static bool cache_start(const json_t *attr, const struct plugin_env *env, struct str *err)
{
    (void)attr;
    return zones_start(json_object_get(env->apisix, "proxy_cache"), env->data_dir, err);
}

const struct plugin plugin_proxy_cache = {
    .abi = PLUGIN_ABI,
    .name = "proxy-cache",
    .version = 0.2,
    .priority = 1085,
    .doc = "Stores responses in memory or on disk, and answers equal requests from there. The "
           "header Apisix-Cache-Status says what was done: HIT, MISS, EXPIRED and STALE (stored, "
           "but not fresh enough, so asked for again), BYPASS. A request with the method PURGE "
           "removes what is stored for its key: 200, or 404 when there is nothing. Responses with "
           "Cache-Control private, no-store or no-cache, with Vary: *, and those that were cut "
           "short are never stored; the request's headers named by Vary are part of the key.",
    .conf = &cache_fields,
    .frame_size = sizeof(struct cache_frame),
    .compile = cache_compile,
    .start = cache_start,
    .stop = zones_stop,
    .rewrite = cache_rewrite,
    .access = cache_access,
    .header_filter = cache_header_filter,
    .body_filter = cache_body_filter,
};
