/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles upstreams: nodes in both forms, defaults, what this version cannot serve. The checks and
 * their words are those of APISIX 3.18's upstream.lua. */
#include <arpa/inet.h>
#include <inttypes.h>

#include "base/buf.h"
#include "base/cidr.h"
#include "base/hash.h"
#include "base/log.h"
#include "config/build_private.h"

enum {
    DEFAULT_TIMEOUT_MS = 60000,
    KEEPALIVE_SIZE = 320,
    KEEPALIVE_REQUESTS = 1000,
    KEEPALIVE_IDLE_MS = 60000,
    WEIGHT_MAX = 1 << 24, /* keeps sums of weights small; larger ones count as this */
};

static const struct {
    struct str type;
    enum balance balance;
} balances[] = {
    {{"roundrobin", 10}, BALANCE_ROUNDROBIN},
    {{"chash", 5}, BALANCE_CHASH},
    {{"ewma", 4}, BALANCE_EWMA},
    {{"least_conn", 10}, BALANCE_LEAST_CONN},
};

/* ---- Nodes ---- */

/* APISIX's core.utils.parse_addr: port STR_NONE when there is none; brackets stay. */
static void address_split(struct str s, struct str *host, struct str *port)
{
    ptrdiff_t last = str_rfind(s, ':');

    *host = s;
    *port = STR_NONE;
    if (last < 0 || (size_t)last + 1 >= s.n)
        return;
    if (s.p[0] == '[') {
        if (s.p[last - 1] != ']')
            return;
    } else if (str_find(s, ':') != last && str_find(s, '.') < 0) {
        return; /* IPv6 without brackets has no port */
    }
    *host = str_head(s, (size_t)last);
    *port = str_from(s, (size_t)last + 1);
}

struct node_in {
    struct str host;
    int64_t port; /* -1: the scheme's */
    int64_t weight, priority;
};

static void node_fill(struct compile *c, const struct node_in *in, bool tls, struct node *out)
{
    struct arena *a = &c->arena;
    uint16_t own = tls ? 443 : 80;
    struct str host = in->host;
    struct cidr address;

    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = str_make(host.p + 1, host.n - 2);
    bool is_ip = str_find(host, '/') < 0 && cidr_parse(host, &address);
    *out = (struct node){
        .host = arena_str(a, host),
        .port = in->port < 0 ? own : (uint16_t)in->port,
        .is_ip = is_ip,
        .weight = (int)(in->weight > WEIGHT_MAX ? WEIGHT_MAX : in->weight),
        .priority = (int)(in->priority > INT32_MAX   ? INT32_MAX
                          : in->priority < INT32_MIN ? INT32_MIN
                                                     : in->priority),
    };
    out->default_port = out->port == own;
    bool v6 = is_ip && address.v6;
    out->address = arena_printf(a, "%s%.*s%s:%u", v6 ? "[" : "", STR_ARG(host), v6 ? "]" : "",
                                (unsigned)out->port);
}

static bool nodes_from_map(struct compile *c, json_t *map, bool tls, struct upstream *u)
{
    const char *key;
    json_t *weight;

    json_object_foreach(map, key, weight)
    {
        struct node_in in = {.port = -1, .weight = field_int(weight)};
        struct str port;
        uint64_t number;
        address_split(str_of(key), &in.host, &port);
        if (in.host.n == 0)
            return compile_fail(c, "invalid node %s", key);
        if (port.p && (!str_to_u64(port, 65535, &number) || number == 0))
            return compile_fail(c, "invalid port %.*s", STR_ARG(port));
        if (port.p)
            in.port = (int64_t)number;
        node_fill(c, &in, tls, &u->nodes[u->nnodes++]);
    }
    return true;
}

static int64_t member_int(const json_t *object, const char *name, int64_t otherwise)
{
    const json_t *v = json_object_get(object, name);

    return v ? field_int(v) : otherwise;
}

static bool nodes_from_array(struct compile *c, const json_t *array, bool tls, struct upstream *u)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *node = json_array_get(array, i);
        struct node_in in = {
            .host = str_of(json_string_value(json_object_get(node, "host"))),
            .port = member_int(node, "port", -1),
            .weight = member_int(node, "weight", 0),
            .priority = member_int(node, "priority", 0),
        };
        struct cidr address;
        if (str_find(in.host, '/') < 0 && cidr_parse(in.host, &address) && address.v6) {
            if (c->strict)
                return compile_fail_schema(c, "IPv6 address must be enclosed with '[' and ']'");
        }
        node_fill(c, &in, tls, &u->nodes[u->nnodes++]);
    }
    return true;
}

/* DNS knows the nodes (APISIX: discovery/dns). */
static bool service_compile(struct compile *c, const struct upstream_doc *d, struct upstream *u)
{
    struct node_in in = {.port = -1, .weight = 1};
    struct str port;
    uint64_t number = 0;

    address_split(d->service_name, &in.host, &port);
    if (port.p && (!str_to_u64(port, 65535, &number) || number == 0))
        return compile_fail(c, "invalid port %.*s", STR_ARG(port));
    if (port.p)
        in.port = (int64_t)number;
    u->nodes = arena_zero(&c->arena, sizeof(*u->nodes));
    u->nnodes = 1;
    node_fill(c, &in, u->tls, u->nodes);
    u->discovered = !u->nodes->is_ip;
    u->service_port = port.p != NULL;
    return true;
}

static bool nodes_compile(struct compile *c, const struct upstream_doc *d, struct upstream *u)
{
    size_t n = json_is_array(d->nodes) ? json_array_size(d->nodes) : json_object_size(d->nodes);

    if (!d->nodes)
        return service_compile(c, d, u);
    if (n == 0)
        return true; /* 503 for each request */
    u->nodes = arena_zero(&c->arena, n * sizeof(*u->nodes));
    return json_is_array(d->nodes) ? nodes_from_array(c, d->nodes, u->tls, u)
                                   : nodes_from_map(c, d->nodes, u->tls, u);
}

/* ---- Checks ---- */

/* Of streams alone. */
static bool is_l4(const struct upstream_doc *d)
{
    return d->scheme == SCHEME_TCP || d->scheme == SCHEME_TLS || d->scheme == SCHEME_UDP;
}

/* What would be served wrongly is refused, also where it is stored already. */
static bool supported(struct compile *c, const struct upstream_doc *d)
{
    static const char *const scheme_names[] = {"grpc", "grpcs", "http", "https",
                                               "tcp",  "tls",   "udp",  "kafka"};

    /* The table has one or the other. */
    bool dns = !d->nodes && str_eq(d->discovery_type, STR("dns"));
    if (dns && !c->b->env.discovery_dns)
        return compile_fail(c, "discovery_type \"dns\": config.yaml has no discovery.dns");
    if (!d->nodes && !dns)
        return compile_fail(c, "discovery_type \"%.*s\" is not supported by this version",
                            STR_ARG(d->discovery_type));
    if (is_l4(d) && (c->b->env.stream || !c->strict))
        return true;
    if (d->scheme != SCHEME_HTTP && d->scheme != SCHEME_HTTPS)
        return compile_fail(c, "scheme \"%s\" is not supported by this version",
                            scheme_names[d->scheme]);
    return true;
}

static bool is_word(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char l = ascii_lower(s.p[i]);
        if (!(l >= 'a' && l <= 'z') && !ascii_digit(l) && l != '-' && l != '_')
            return false;
    }
    return s.n > 0;
}

static bool is_hash_var(struct str s)
{
    static const char *const names[] = {
        "uri",         "server_name",  "server_addr", "request_uri", "remote_port",
        "remote_addr", "query_string", "host",        "hostname",    "mqtt_client_id",
        NULL};

    for (size_t i = 0; names[i]; i++)
        if (str_eq(s, str_of(names[i])))
            return true;
    return str_starts(s, STR("arg_")) && is_word(str_from(s, 4));
}

/* As variables of headers are named. */
static struct str header_name(struct arena *a, struct str key)
{
    char *p = arena_bytes(a, key.n);

    for (size_t i = 0; i < key.n; i++)
        p[i] = key.p[i] == '-' ? '_' : ascii_lower(key.p[i]);
    return str_make(p, key.n);
}

/* What the request is known by. */
static const struct text *hash_text(struct compile *c, const struct upstream_doc *d)
{
    struct build build = compile_build(c, c->value);
    struct arena *a = &c->scratch;

    switch ((enum hash_on)d->hash_on) {
    case HASH_VARS:
        return build_var(&build, d->key);
    case HASH_HEADER:
        return build_var(&build, arena_join(a, STR("http_"), header_name(a, d->key)));
    case HASH_COOKIE:
        return build_var(&build, arena_join(a, STR("cookie_"), d->key));
    case HASH_CONSUMER:
        return build_var(&build, STR("consumer_name"));
    case HASH_COMBINATIONS:
        return build_text(&build, d->key);
    }
    return NULL;
}

static bool chash_compile(struct compile *c, const struct upstream_doc *d, struct upstream *u)
{
    const char *pattern = NULL;

    if (d->hash_on != HASH_CONSUMER && !d->key.p)
        return compile_fail(c, "missing key");
    if (d->hash_on == HASH_VARS && !is_hash_var(d->key))
        pattern = "^((uri|server_name|server_addr|request_uri|remote_port|remote_addr|query_string"
                  "|host|hostname|mqtt_client_id)|arg_[0-9a-zA-z_-]+)$";
    if ((d->hash_on == HASH_HEADER || d->hash_on == HASH_COOKIE) && !is_word(d->key))
        pattern = "^[a-zA-Z0-9-_]+$";
    if (pattern)
        return compile_fail_schema(c, "failed to match pattern \"%s\" with \"%.*s\"", pattern,
                                   STR_ARG(d->key));
    u->hash_on = hash_text(c, d);
    return true;
}

static bool balance_compile(struct compile *c, const struct upstream_doc *d, struct upstream *u)
{
    for (size_t i = 0; i < sizeof(balances) / sizeof(balances[0]); i++) {
        if (!str_eq(d->type, balances[i].type))
            continue;
        u->balance = balances[i].balance;
        u->peers = u->balance == BALANCE_EWMA || u->balance == BALANCE_LEAST_CONN;
        return u->balance != BALANCE_CHASH || chash_compile(c, d, u);
    }
    return compile_fail(c, "type \"%.*s\" is not supported by this version", STR_ARG(d->type));
}

static bool tls_compile(struct compile *c, const struct upstream_doc *d, struct upstream *u)
{
    const struct tls_doc *tls = d->tls;

    u->verify_off = tls && tls->verify ? json_is_false(tls->verify) : !c->b->env.verify_upstreams;
    if (!tls)
        return true;
    if (tls->client_cert_id.p) {
        u->identity_id = arena_str(&c->arena, tls->client_cert_id);
        compile_edge(c, EDGE_SSL, KIND_SSL, tls->client_cert_id);
    }
    if (!tls->client_cert.p)
        return true;
    if (c->strict)
        return compile_pem(c, "", tls->client_cert, tls->client_key);
    u->identity = compile_identity(c, tls->client_cert, tls->client_key);
    return u->identity != NULL;
}

/* ---- The whole ---- */

/* Live state of balancers and pools is kept over a change as long as this stays the same. */
static uint64_t upstream_hash(const struct upstream_doc *d, const struct upstream *u)
{
    struct buf text;

    buf_init(&text, 1 << 24);
    buf_printf(&text, "%.*s|%.*s|%d|%.*s|%d|%d|%.*s|%d\n", STR_ARG(u->key), STR_ARG(d->type),
               d->hash_on, STR_ARG(d->key), u->tls, (int)u->pass_host, STR_ARG(u->upstream_host),
               u->verify_off | u->peers << 1 | u->discovered << 2 | u->service_port << 3);
    for (unsigned i = 0; u->nodes && i < u->nnodes; i++)
        buf_printf(&text, "%.*s|%d|%d\n", STR_ARG(u->nodes[i].address), u->nodes[i].weight,
                   u->nodes[i].priority);
    if (u->warm_up)
        buf_printf(&text, "%" PRId64 "|%" PRId64 "|%" PRId64 "|%g|%g\n", u->warm_up->window_ms,
                   u->warm_up->interval_ms, u->warm_up->grace_ms, u->warm_up->min_share,
                   u->warm_up->aggression);
    uint64_t h = hash_stable(buf_str(&text));
    buf_fini(&text);
    return h;
}

static bool retry_compile(struct compile *c, const struct upstream_doc *d, struct upstream *u)
{
    if (!d->retry_on)
        return true;
    struct retry_on *r = arena_zero(&c->arena, sizeof(*r));
    const int64_t *statuses = d->retry_on->statuses.items;
    const int *methods = d->retry_on->methods.items;
    for (size_t i = 0; i < d->retry_on->statuses.n; i++)
        r->statuses[(statuses[i] - 400) / 64] |= 1ull << ((statuses[i] - 400) % 64);
    for (size_t i = 0; i < d->retry_on->methods.n; i++) {
        if (methods[i] < 0) /* a reference, which nothing resolves here */
            return compile_fail(c, "retry_on.methods: not a method");
        r->methods |= (uint16_t)(1u << methods[i]);
    }
    u->retry_on = r;
    return true;
}

/* The checks and their words are those of APISIX after 3.18 (PR 13941), which knows it for
 * roundrobin and one priority alone. */
static bool warm_up_compile(struct compile *c, const struct upstream_doc *d, struct upstream *u)
{
    const struct warm_up_doc *in = d->warm_up;

    if (!in)
        return true;
    if (u->balance != BALANCE_ROUNDROBIN && u->balance != BALANCE_LEAST_CONN)
        return compile_fail(c, "warm_up_conf is only supported by the roundrobin upstream type "
                               "and by least_conn");
    if (in->interval > in->window)
        return compile_fail(c, "warm_up_conf.interval can't be greater than "
                               "warm_up_conf.slow_start_time_seconds");
    struct warm_up *w = arena_zero(&c->arena, sizeof(*w));
    w->window_ms = compile_ms((double)in->window);
    w->interval_ms = compile_ms((double)in->interval);
    w->grace_ms = in->grace ? compile_ms((double)in->grace) : 0;
    w->min_share = (double)in->percent / 100;
    w->aggression = in->aggression;
    u->warm_up = w;
    u->peers = true;
    return true;
}

int64_t compile_ms(double seconds)
{
    double ms = seconds * 1000;

    return ms >= 1e15 ? (int64_t)1e15 : ms < 1 ? 1 : (int64_t)ms;
}

static unsigned bounded(int64_t n)
{
    return n > INT32_MAX ? INT32_MAX : (unsigned)n;
}

/* APISIX's, where neither the upstream nor config.yaml says it. */
static const struct keepalive keepalive_default = {
    .size = KEEPALIVE_SIZE, .requests = KEEPALIVE_REQUESTS, .idle_ms = KEEPALIVE_IDLE_MS};

static void limits_compile(const struct builder_env *env, const struct upstream_doc *d,
                           struct upstream *u)
{
    int64_t retries = d->retries ? field_int(d->retries) : -1;

    u->retries = retries > INT32_MAX ? INT32_MAX : (int)retries;
    u->retry_timeout_ms = d->retry_timeout > 0 ? compile_ms(d->retry_timeout) : 0;
    u->timeouts = (struct timeouts){DEFAULT_TIMEOUT_MS, DEFAULT_TIMEOUT_MS, DEFAULT_TIMEOUT_MS};
    if (d->timeout)
        u->timeouts = (struct timeouts){compile_ms(d->timeout->connect),
                                        compile_ms(d->timeout->send), compile_ms(d->timeout->read)};
    const struct keepalive *k = env->keepalive ? env->keepalive : &keepalive_default;
    u->keepalive_size = k->size;
    u->keepalive_requests = k->requests;
    u->keepalive_idle_ms = k->idle_ms;
    if (d->keepalive_pool) {
        u->keepalive_size = bounded(d->keepalive_pool->size);
        u->keepalive_requests = bounded(d->keepalive_pool->requests);
        u->keepalive_idle_ms = d->keepalive_pool->idle_timeout > 0
                                   ? compile_ms(d->keepalive_pool->idle_timeout)
                                   : 0;
    }
}

bool compile_upstream(struct compile *c, const struct upstream_doc *d)
{
    struct arena *a = &c->arena;
    struct upstream *u = arena_zero(a, sizeof(*u));

    c->o->upstream = u;
    u->key = arena_str(a, c->key);
    u->id = arena_str(a, c->id);
    u->name = d->head.name.p ? arena_str(a, d->head.name) : STR_NONE;
    u->slot = UPSTREAM_NONE;
    u->tls = d->scheme == SCHEME_HTTPS;
    u->pass_host = (enum pass_host)d->pass_host;
    u->upstream_host = d->upstream_host.p ? arena_str(a, d->upstream_host) : STR_NONE;
    limits_compile(&c->b->env, d, u);
    if (!supported(c, d) || !nodes_compile(c, d, u))
        return false;
    if (is_l4(d)) /* a route that names it has nowhere to go: 503 */
        u->nnodes = 0;
    if (u->pass_host == PASS_HOST_REWRITE && u->upstream_host.n == 0)
        return compile_fail(c, "`upstream_host` can't be empty when `pass_host` is `rewrite`");
    if (!tls_compile(c, d, u) || !balance_compile(c, d, u) || !warm_up_compile(c, d, u) ||
        !retry_compile(c, d, u))
        return false;
    if (d->checks && !compile_checks(c, d->checks, u))
        return false;
    u->hash = upstream_hash(d, u);
    return true;
}
