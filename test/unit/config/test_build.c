/* SPDX-License-Identifier: Apache-2.0 */
/* The builder: documents to snapshots, merging, references that come and go, what is refused and
 * what is closed, credentials, and when old versions are freed. */
#include "fake_plugins.h"

#include <stdio.h>
#include <time.h>

#include "base/hash.h"
#include "config/router.h"

/* ---- Looking at snapshots ---- */

static bool yes(void *arg, const struct route *route)
{
    (void)arg;
    (void)route;
    return true;
}

static const struct route *find(const struct snapshot *s, const char *host, const char *path)
{
    struct match m = {
        .host = str_of(host), .path = str_of(path), .method = METHOD_GET, .test = yes};

    return router_match(s->router, &m);
}

/* Publishes, and looks the route up in the newest snapshot; only valid until the next change. */
static const struct route *route_now(struct builder *b, const char *path)
{
    const struct snapshot *s = builder_publish(b);
    const struct route *r = find(s, NULL, path);

    snapshot_put(s);
    return r;
}

/* A phase as text: "name:tag name:tag". */
static const char *phase_text(const struct chain *c, enum phase phase)
{
    static char text[256];
    size_t n = 0;

    text[0] = 0;
    for (unsigned i = 0; c && i < chain_count(c, phase); i++) {
        const struct step *s = chain_step(c, phase, i);
        const struct fake_conf *conf = s->use.conf;
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s:%.*s", i ? " " : "",
                              s->use.plugin->name, STR_ARG(conf->tag));
    }
    return text;
}

static const struct upstream *upstream_of(const struct snapshot *s, const struct route *r)
{
    return r->upstream == UPSTREAM_NONE ? NULL : s->upstreams[r->upstream];
}

/* ---- Merging ---- */

static void test_merge(void **state)
{
    struct builder *b = fake_builder(true);

    (void)state;
    put(b, KIND_SERVICE, "s",
        "{\"plugins\":{\"a\":{\"tag\":\"s\"},\"b\":{\"tag\":\"s\"},"
        "\"key-auth\":{\"tag\":\"s\"}},\"name\":\"svc\"}");
    put(b, KIND_PLUGIN_CONFIG, "p", "{\"plugins\":{\"b\":{\"tag\":\"p\"}}}");
    put(b, KIND_ROUTE, "1",
        "{\"uri\":\"/1\",\"service_id\":\"s\",\"plugin_config_id\":\"p\","
        "\"plugins\":{\"a\":{\"tag\":\"r\"}}}");
    put(b, KIND_ROUTE, "2", "{\"uri\":\"/2\",\"service_id\":\"s\"}");
    put(b, KIND_ROUTE, "3",
        "{\"uri\":\"/3\",\"service_id\":\"s\",\"plugins\":{"
        "\"a\":{\"_meta\":{\"disable\":true}},"
        "\"b\":{\"tag\":\"r\",\"_meta\":{\"priority\":9000,"
        "\"error_response\":{\"x\":1},\"filter\":[[\"a\",\"==\",\"b\"]]}},"
        "\"ip-restriction\":{\"tag\":\"r\"}}}");
    const struct route *r = route_now(b, "/1");
    assert_string_equal(phase_text(r->chain, PHASE_ACCESS), "a:r b:p");
    assert_string_equal(phase_text(r->chain, PHASE_REWRITE), "key-auth:s a:r");
    assert_string_equal(phase_text(r->chain, PHASE_LOG), "b:p");
    assert_string_equal(phase_text(r->chain, PHASE_BODY_FILTER), "");
    assert_true(str_eq(r->about->service->name, STR("svc")));
    assert_int_equal(r->upstream, UPSTREAM_NONE);
    for (unsigned i = 0; i < r->chain->n; i++) {
        const struct step *s = &r->chain->steps[i];
        assert_int_equal(s->index, i);
        assert_int_equal(s->frame_at % 16, 0);
        assert_true(s->frame_at + s->use.plugin->frame_size <= r->chain->frame_size);
    }
    /* Routes without plugins of their own share their service's chain. */
    const struct chain *shared = route_now(b, "/2")->chain;
    put(b, KIND_ROUTE, "4", "{\"uri\":\"/4\",\"service_id\":\"s\"}");
    assert_ptr_equal(route_now(b, "/4")->chain, shared);

    r = route_now(b, "/3");
    assert_string_equal(phase_text(r->chain, PHASE_ACCESS), "b:r ip-restriction:r");
    assert_string_equal(phase_text(r->chain, PHASE_REWRITE), "key-auth:s");
    const struct plugin_meta *meta = chain_step(r->chain, PHASE_ACCESS, 0)->use.meta;
    assert_true(meta->error_is_json && str_eq(meta->error_response, STR("{\"x\":1}")));
    assert_int_equal(meta->filter->rules, 1);
    builder_free(b);
    assert_int_equal(fake_alive, 0);
}

static void test_overlay(void **state)
{
    struct fake_conf confs[] = {{0}, {.tag = STR("c1")}, {.tag = STR("c2")}};
    struct plugin_use over[] = {{.plugin = &fake_b, .conf = &confs[1], .priority = 500},
                                {.plugin = &fake_a, .conf = &confs[2], .priority = 100},
                                {.plugin = &fake_ip, .disabled = true}};
    struct builder *b = fake_builder(true);
    struct arena a;

    (void)state;
    arena_init(&a, NULL);
    put(b, KIND_ROUTE, "1",
        "{\"uri\":\"/\",\"plugins\":{\"a\":{\"tag\":\"base\"},"
        "\"key-auth\":{\"tag\":\"base\"}}}");
    const struct chain *one = route_now(b, "/")->chain;
    const struct chain *two = chain_overlay(&a, one, over, 3);
    assert_string_equal(phase_text(two, PHASE_ACCESS), "b:c1 a:c2");
    assert_string_equal(phase_text(two, PHASE_REWRITE), "key-auth:base a:c2");
    const struct step *kept = chain_step(two, PHASE_REWRITE, 0);
    assert_int_equal(kept->frame_at, chain_step(one, PHASE_REWRITE, 0)->frame_at);
    assert_int_equal(kept->index, 0);
    const struct step *fresh = chain_step(two, PHASE_ACCESS, 0);
    assert_true(fresh->use.from_consumer);
    assert_true(fresh->frame_at >= one->frame_size && fresh->index >= one->n);
    const struct step *again = chain_step(two, PHASE_ACCESS, 1);
    assert_false(again->use.from_consumer);
    assert_true(again->frame_at >= one->frame_size);
    assert_true(two->frame_size >= again->frame_at + fake_a.frame_size);
    /* What a consumer disables is off; what was replaced does not come back. */
    struct plugin_use off = {.plugin = &fake_a, .disabled = true};
    const struct chain *three = chain_overlay(&a, two, &off, 1);
    assert_string_equal(phase_text(three, PHASE_ACCESS), "b:c1");
    assert_string_equal(phase_text(chain_overlay(&a, NULL, over, 2), PHASE_ACCESS), "b:c1 a:c2");
    assert_ptr_equal(chain_overlay(&a, one, NULL, 0), one);
    arena_fini(&a);
    builder_free(b);
}

/* ---- References ---- */

static void test_references(void **state)
{
    struct builder *b = fake_builder(true);

    (void)state;
    put(b, KIND_ROUTE, "1", "{\"uri\":\"/u\",\"upstream_id\":7}");
    put(b, KIND_ROUTE, "2", "{\"uri\":\"/p\",\"upstream_id\":7,\"plugin_config_id\":\"p\"}");
    put(b, KIND_ROUTE, "3", "{\"uri\":\"/s\",\"service_id\":\"s\"}");
    put(b, KIND_ROUTE, "4", "{\"uri\":\"/h\",\"service_id\":\"s\",\"plugin_config_id\":\"p\"}");
    assert_int_equal(route_now(b, "/u")->broken, 502);
    assert_int_equal(route_now(b, "/p")->broken, 503);
    assert_int_equal(route_now(b, "/s")->broken, 404);
    assert_int_equal(route_now(b, "/h")->broken, 503);

    put(b, KIND_SERVICE, "s",
        "{\"upstream_id\":\"7\",\"hosts\":[\"Foo.com\"],"
        "\"enable_websocket\":true}");
    const struct snapshot *s = builder_publish(b);
    assert_null(find(s, NULL, "/s"));
    assert_int_equal(find(s, "foo.com", "/s")->broken, 502);
    assert_true(find(s, "foo.com", "/s")->websocket);
    snapshot_put(s);

    put(b, KIND_UPSTREAM, "7", "{\"nodes\":{\"h:81\":1}}");
    put(b, KIND_PLUGIN_CONFIG, "p", "{\"plugins\":{\"a\":{}}}");
    s = builder_publish(b);
    const struct route *r = find(s, "foo.com", "/s");
    assert_int_equal(r->broken, 0);
    assert_true(str_eq(upstream_of(s, r)->key, STR("/upstreams/7")));
    assert_int_equal(find(s, NULL, "/p")->broken, 0);
    uint32_t slot = r->upstream;

    /* A change of the upstream does not touch its routes. */
    put(b, KIND_UPSTREAM, "7", "{\"nodes\":{\"other:81\":1}}");
    const struct snapshot *t = builder_publish(b);
    assert_ptr_equal(find(t, "foo.com", "/s"), r);
    assert_true(str_eq(upstream_of(t, r)->nodes[0].host, STR("other")));
    assert_true(str_eq(upstream_of(s, r)->nodes[0].host, STR("h")));
    assert_true(upstream_of(t, r)->hash != upstream_of(s, r)->hash);
    assert_int_equal(upstream_of(t, r)->slot, slot);
    snapshot_put(s);
    snapshot_put(t);

    /* And away again. */
    put(b, KIND_UPSTREAM, "7", NULL);
    put(b, KIND_PLUGIN_CONFIG, "p", NULL);
    assert_int_equal(route_now(b, "/u")->broken, 502);
    assert_int_equal(route_now(b, "/p")->broken, 503);
    put(b, KIND_SERVICE, "s", NULL);
    assert_int_equal(route_now(b, "/s")->broken, 404);
    for (const char *id = "1234"; *id; id++)
        put(b, KIND_ROUTE, (char[]){*id, 0}, NULL);
    assert_null(route_now(b, "/u"));
    builder_free(b);
}

static void test_upstream_choice(void **state)
{
    struct builder *b = fake_builder(true);

    (void)state;
    put(b, KIND_UPSTREAM, "u", "{\"nodes\":{\"id:1\":1}}");
    put(b, KIND_SERVICE, "s", "{\"upstream\":{\"nodes\":{\"service:1\":1}}}");
    put(b, KIND_ROUTE, "1", "{\"uri\":\"/1\",\"service_id\":\"s\"}");
    put(b, KIND_ROUTE, "2", "{\"uri\":\"/2\",\"service_id\":\"s\",\"upstream_id\":\"u\"}");
    put(b, KIND_ROUTE, "3",
        "{\"uri\":\"/3\",\"service_id\":\"s\","
        "\"upstream\":{\"nodes\":{\"route:1\":1}}}");
    put(b, KIND_ROUTE, "4",
        "{\"uri\":\"/4\",\"upstream_id\":\"u\","
        "\"upstream\":{\"nodes\":{\"route:1\":1}}}");
    const struct snapshot *s = builder_publish(b);
    static const char *const wants[] = {"service", "id", "route", "id"};
    for (int i = 0; i < 4; i++) {
        char path[] = {'/', (char)('1' + i), 0};
        const struct upstream *u = upstream_of(s, find(s, NULL, path));
        assert_true(str_eq(u->nodes[0].host, str_of(wants[i])));
        assert_ptr_equal(s->upstreams[u->slot], u);
    }
    snapshot_put(s);
    /* An inline upstream that goes gives its place back. */
    put(b, KIND_ROUTE, "3", "{\"uri\":\"/3\",\"upstream_id\":\"u\"}");
    put(b, KIND_ROUTE, "5", "{\"uri\":\"/5\",\"upstream\":{\"nodes\":{\"five:1\":1}}}");
    s = builder_publish(b);
    assert_int_equal(s->nupstreams, 4);
    assert_true(str_eq(upstream_of(s, find(s, NULL, "/5"))->nodes[0].host, STR("five")));
    assert_true(str_eq(upstream_of(s, find(s, NULL, "/5"))->key, STR("/routes/5")));
    snapshot_put(s);
    builder_free(b);
}

/* ---- What is wrong ---- */

struct bads {
    int n;
    char text[256];
};

static void count_bad(void *arg, struct str key, struct str why)
{
    struct bads *bads = arg;

    bads->n++;
    snprintf(bads->text, sizeof(bads->text), "%.*s: %.*s", STR_ARG(key), STR_ARG(why));
}

static void quiet(enum log_level level, struct str line)
{
    (void)level;
    (void)line;
}

static void test_bad_documents(void **state)
{
    struct builder *b = fake_builder(true);
    struct bads bads = {0};

    (void)state;
    assert_true(put(b, KIND_ROUTE, "1", "{\"uri\":\"/a\",\"plugins\":{\"a\":{}}}"));
    const struct snapshot *s = builder_publish(b);
    assert_false(put(b, KIND_ROUTE, "1", "{\"uri\":\"/b\",\"plugins\":{},\"what\":1}"));
    assert_false(put(b, KIND_ROUTE, "2",
                     "{\"uri\":\"/c\",\"plugins\":{},"
                     "\"filter_func\":\"function() return 1 end + 1\"}"));
    /* The last good version stays; nothing else changed, so the snapshot is the same. */
    const struct snapshot *t = builder_publish(b);
    assert_ptr_equal(s, t);
    assert_non_null(find(t, NULL, "/a"));
    assert_null(find(t, NULL, "/c"));
    builder_bad(b, count_bad, &bads);
    assert_int_equal(bads.n, 2);
    assert_non_null(strstr(bads.text, "/routes/2: failed to load 'filter_func' string: "));
    snapshot_put(s);
    snapshot_put(t);
    put(b, KIND_ROUTE, "2", NULL);
    assert_true(put(b, KIND_ROUTE, "1", "{\"uri\":\"/b\",\"plugins\":{}}"));
    bads.n = 0;
    builder_bad(b, count_bad, &bads);
    assert_int_equal(bads.n, 0);
    assert_non_null(route_now(b, "/b"));
    builder_free(b);
}

/* Stored plugins that cannot run: left out, or their routes closed. */
static void test_closed(void **state)
{
    struct builder *b = fake_builder(true);

    (void)state;
    put(b, KIND_PLUGIN_CONFIG, "p", "{\"plugins\":{\"ldap-auth\":{},\"a\":{\"tag\":\"p\"}}}");
    put(b, KIND_SERVICE, "s", "{\"plugins\":{\"ip-restriction\":{\"n\":13}}}");
    put(b, KIND_ROUTE, "1",
        "{\"uri\":\"/1\",\"plugins\":{\"nothing\":{},\"b\":{\"n\":13},"
        "\"a\":{\"tag\":\"r\"}}}");
    put(b, KIND_ROUTE, "2", "{\"uri\":\"/2\",\"plugin_config_id\":\"p\",\"plugins\":{}}");
    put(b, KIND_ROUTE, "3", "{\"uri\":\"/3\",\"service_id\":\"s\"}");
    put(b, KIND_ROUTE, "4", "{\"uri\":\"/4\",\"plugins\":{\"key-auth\":{\"n\":\"x\"}}}");
    put(b, KIND_ROUTE, "5",
        "{\"uri\":\"/5\",\"service_id\":\"s\",\"plugins\":{"
        "\"ip-restriction\":{\"tag\":\"own\"}}}");
    put(b, KIND_ROUTE, "6",
        "{\"uri\":\"/6\",\"plugins\":{\"key-auth\":{\"n\":\"x\","
        "\"_meta\":{\"disable\":true}}}}");
    put(b, KIND_ROUTE, "7", "{\"uri\":\"/7\",\"plugins\":{\"key-auth\":7}}");
    assert_int_equal(route_now(b, "/1")->broken, 0);
    assert_string_equal(phase_text(route_now(b, "/1")->chain, PHASE_ACCESS), "a:r");
    assert_int_equal(route_now(b, "/2")->broken, 503);
    assert_int_equal(route_now(b, "/3")->broken, 503);
    assert_int_equal(route_now(b, "/4")->broken, 503);
    assert_int_equal(route_now(b, "/5")->broken, 0);
    assert_int_equal(route_now(b, "/6")->broken, 0);
    assert_int_equal(route_now(b, "/7")->broken, 503);
    /* Known by name alone. */
    put(b, KIND_ROUTE, "8", "{\"uri\":\"/8\",\"plugins\":{\"limit-req\":{}}}");
    assert_int_equal(route_now(b, "/8")->broken, 503);
    put(b, KIND_SERVICE, "s", "{\"plugins\":{\"ip-restriction\":{\"n\":12}}}");
    assert_int_equal(route_now(b, "/3")->broken, 0);
    builder_free(b);
    assert_int_equal(fake_alive, 0);
}

/* What is built in and not enabled still says whether it guarded. */
static void test_not_enabled(void **state)
{
    static const struct plugin *const enabled[] = {&fake_b, NULL};
    struct builder *b = builder_new(
        &(struct builder_env){.plugins = enabled, .built_in = fake_plugins});

    (void)state;
    put(b, KIND_ROUTE, "1", "{\"uri\":\"/1\",\"plugins\":{\"ip-restriction\":{},\"b\":{}}}");
    put(b, KIND_ROUTE, "2", "{\"uri\":\"/2\",\"plugins\":{\"key-auth\":{}}}");
    put(b, KIND_ROUTE, "3", "{\"uri\":\"/3\",\"plugins\":{\"a\":{},\"b\":{\"tag\":\"r\"}}}");
    put(b, KIND_CONSUMER, "ann", "{\"username\":\"ann\",\"plugins\":{\"ip-restriction\":{}}}");
    put(b, KIND_CONSUMER, "bob", "{\"username\":\"bob\",\"plugins\":{\"a\":{},\"key-auth\":{}}}");
    assert_int_equal(route_now(b, "/1")->broken, 503);
    assert_int_equal(route_now(b, "/2")->broken, 503);
    assert_int_equal(route_now(b, "/3")->broken, 0);
    assert_string_equal(phase_text(route_now(b, "/3")->chain, PHASE_ACCESS), "b:r");
    const struct snapshot *s = builder_publish(b);
    assert_null(snapshot_consumer(s, STR("ann")));
    assert_non_null(snapshot_consumer(s, STR("bob")));
    snapshot_put(s);
    builder_free(b);
}

struct check_case {
    enum kind kind;
    const char *value, *err; /* NULL: accepted */
    bool by_schema;
};

#define NODES       "\"nodes\":{\"a:1\":1}"
#define UP(members) KIND_UPSTREAM, "{" NODES "," members "}"
#define RT(members) KIND_ROUTE, "{\"uri\":\"/x\",\"plugins\":{}," members "}"

static const struct check_case check_cases[] = {
    {RT("\"priority\":3"), NULL, false},
    {RT("\"host\":\"a\",\"hosts\":[\"b\"]"), "only one of host or hosts is allowed", false},
    {RT("\"remote_addr\":\"::1\",\"remote_addrs\":[\"::1\"]"),
     "only one of remote_addr or remote_addrs is allowed", false},
    {RT("\"remote_addr\":\"10.0.0.0/8\""), NULL, false},
    {RT("\"remote_addr\":\":/8\""), "invalid remote_addr: :/8", false},
    {RT("\"extra\":1"), "additional properties forbidden, found extra", true},
    {RT("\"host\":\"a b\""),
     "property \"host\" validation failed: failed to match pattern "
     "\"^\\\\*$|^\\\\*?[0-9a-zA-Z-._\\\\[\\\\]:]+$\" with \"a b\"",
     true},
    {RT("\"methods\":[\"GET\",\"BREW\"]"),
     "property \"methods\" validation failed: failed to validate item 2: matches none of the "
     "enum values",
     true},
    {RT("\"methods\":[\"$secret://a\"]"),
     "property \"methods\" validation failed: failed to validate item 1: matches none of the enum "
     "values",
     true},
    {RT("\"status\":2"), "property \"status\" validation failed: matches none of the enum values",
     true},
    {RT("\"vars\":[\"a\"]"),
     "failed to validate the 'vars' expression: rule should be wrapped inside brackets", false},
    {RT("\"vars\":[]"), NULL, false},
    {RT("\"filter_func\":\"function(v) return true end\""), NULL, false},
    {RT("\"filter_func\":\"function(v return true end\""),
     "failed to load 'filter_func' string: [string \"return function(v return true end\"]:1: ')' "
     "expected near 'return'",
     false},
    {RT("\"filter_func\":\"function() end and 1\""), "'filter_func' should be a function", false},
    {RT("\"timeout\":{\"connect\":1,\"send\":1}"),
     "property \"timeout\" validation failed: property \"read\" is required", true},
    {KIND_ROUTE, "{\"uri\":\"/x\",\"script\":\"return  {}  \"}",
     "script is not supported by this version", false},
    {KIND_ROUTE, "{\"uri\":\"/x\",\"script\":\"return  {    \"}",
     "failed to load 'script' string: [string \"return  {    \"]:1: unexpected symbol near '<eof>'",
     false},
    {KIND_ROUTE, "{\"uri\":\"/x\",\"plugins\":{\"no\":{}}}", "unknown plugin [no]", false},
    {KIND_ROUTE, "{\"uri\":\"/x\",\"plugins\":{\"a\":3}}", "invalid plugin conf 3 for plugin [a]",
     false},
    {KIND_ROUTE, "{\"uri\":\"/x\",\"plugins\":{\"a\":{\"n\":-1}}}",
     "failed to check the configuration of plugin a err: property \"n\" validation failed: "
     "expected -1 to be at least 0",
     false},
    {KIND_ROUTE, "{\"uri\":\"/x\",\"plugins\":{\"a\":{\"n\":13}}}",
     "failed to check the configuration of plugin a err: thirteen at /routes/9", false},
    {KIND_ROUTE, "{\"uri\":\"/x\",\"plugins\":{\"a\":{\"n\":-1,\"_meta\":{\"disable\":true}}}}",
     NULL, false},
    {KIND_ROUTE, "{\"uri\":\"/x\",\"plugins\":{\"a\":{\"_meta\":{\"filter\":[1]}}}}",
     "failed to validate the 'vars' expression: rule should be wrapped inside brackets", false},
    {KIND_ROUTE, "{\"uri\":\"/x\",\"plugins\":{\"a\":{\"_meta\":{\"none\":1}}}}",
     "failed to check the configuration of plugin a err: property \"_meta\" validation failed: "
     "additional properties forbidden, found none",
     false},
    {KIND_ROUTE, "{\"uri\":\"/x\",\"plugins\":{\"a\":{\"_meta\":{\"pre_function\":\"r\"}}}}",
     "failed to load _meta.pre_function in plugin a: [string \"meta pre_function\"]:1: '=' "
     "expected "
     "near '<eof>'",
     false},
    {KIND_ROUTE,
     "{\"uri\":\"/x\",\"plugins\":{\"a\":{\"_meta\":{\"pre_function\":\"return function() "
     "end\"}}}}",
     NULL, false},
    {KIND_ROUTE, "{\"uri\":\"/x\",\"upstream\":{" NODES ",\"scheme\":\"grpc\"}}",
     "scheme \"grpc\" is not supported by this version", false},
    {KIND_ROUTE, "{\"uri\":\"/x\"}", "object matches none of the required*", true},
    {KIND_ROUTE, "{\"plugins\":{}}",
     "allOf 1 failed: value should match only one schema, but matches none", true},
    {UP("\"type\":\"chash\",\"key\":\"arg_a\""), NULL, false},
    {UP("\"type\":\"chash\",\"key\":\"no\""), "failed to match pattern*", true},
    {UP("\"type\":\"chash\""), "missing key", false},
    {UP("\"type\":\"chash\",\"hash_on\":\"consumer\""), NULL, false},
    {UP("\"type\":\"chash\",\"hash_on\":\"header\",\"key\":\"X-A\""), NULL, false},
    {UP("\"type\":\"least_conn\""), NULL, false},
    {UP("\"type\":\"magic\""), "type \"magic\" is not supported by this version", false},
    {UP("\"pass_host\":\"rewrite\""),
     "`upstream_host` can't be empty when `pass_host` is `rewrite`", false},
    {UP("\"checks\":{\"active\":{\"http_path\":\"/s\"}}"), NULL, false},
    {UP("\"checks\":{\"passive\":{}}"),
     "property \"checks\" validation failed: object matches none of the required: [\"active\"] "
     "or [\"active\",\"passive\"]",
     true},
    {UP("\"retries\":-1"), "property \"retries\" validation failed: expected -1 to be at least 0",
     true},
    {UP("\"tls\":{\"client_cert_id\":\"c\"}"), NULL, false},
    {KIND_UPSTREAM, "{\"nodes\":{\"a:65536\":1}}", "invalid port 65536", false},
    {KIND_UPSTREAM, "{\"nodes\":{\"a:0\":1}}", "invalid port 0", false},
    {KIND_UPSTREAM, "{\"nodes\":{}}", NULL, false},
    {KIND_UPSTREAM, "{\"nodes\":[{\"host\":\"::1\",\"port\":1,\"weight\":1}]}",
     "IPv6 address must be enclosed with '[' and ']'", true},
    {KIND_UPSTREAM, "{\"nodes\":[{\"host\":\"[::1]\",\"weight\":1}]}", NULL, false},
    {KIND_UPSTREAM, "{\"nodes\":[{\"host\":\"a\"}]}",
     "property \"nodes\" validation failed: object matches none of the required", true},
    {KIND_UPSTREAM, "{\"service_name\":\"a\",\"discovery_type\":\"dns\"}",
     "discovery_type \"dns\": config.yaml has no discovery.dns", false},
    {KIND_UPSTREAM, "{\"service_name\":\"a\",\"discovery_type\":\"nacos\"}",
     "discovery_type \"nacos\" is not supported by this version", false},
    {KIND_UPSTREAM, "{\"type\":\"roundrobin\"}",
     "value should match only one schema, but matches none", true},
    {KIND_SERVICE, "{}", NULL, false},
    {KIND_SERVICE, "{\"hosts\":[]}",
     "property \"hosts\" validation failed: expect array to have at least 1 items", true},
    {KIND_PLUGIN_CONFIG, "{}", "property \"plugins\" is required", true},
    {KIND_PLUGIN_CONFIG, "{\"plugins\":{}}", NULL, false},
    {KIND_CONSUMER, "{\"username\":\"jack\"}", NULL, false},
    {KIND_CONSUMER, "{\"username\":\"jack-1_x\",\"plugins\":{\"key-auth\":{\"key\":\"k\"}}}", NULL,
     false},
    {KIND_CONSUMER, "{\"username\":\"ja ck\"}",
     "property \"username\" validation failed: failed to match pattern "
     "\"^[a-zA-Z0-9_\\\\-]+$\" with \"ja ck\"",
     true},
    {KIND_CONSUMER, "{\"username\":\"jack\",\"plugins\":{\"key-auth\":{}}}",
     "invalid plugins configuration: failed to check the configuration of plugin key-auth err: "
     "property \"key\" is required",
     false},
    {KIND_CONSUMER, "{\"username\":\"jack\",\"plugins\":{\"key-auth\":{\"key\":\"taken\"}}}",
     "duplicate key of plugin key-auth found with consumer: bob", false},
    {KIND_CONSUMER, "{\"username\":\"bob\",\"plugins\":{\"key-auth\":{\"key\":\"taken\"}}}", NULL,
     false},
    {KIND_CONSUMER, "{\"username\":\"jack\",\"group_id\":\"g\"}", NULL, false},
    {KIND_CREDENTIAL, "{\"plugins\":{\"key-auth\":{\"key\":\"taken\"}}}",
     "duplicate key of plugin key-auth found with consumer: bob", false},
    {KIND_CREDENTIAL, "{\"plugins\":{\"key-auth\":{\"key\":\"free\"}}}", NULL, false},
    {KIND_CREDENTIAL, "{\"plugins\":{\"a\":{}}}",
     "only supports auth type plugins in consumer credential", false},
    {KIND_CONSUMER_GROUP, "{}", "property \"plugins\" is required", true},
    {KIND_CONSUMER_GROUP, "{\"plugins\":{\"nix\":{}}}", "unknown plugin [nix]", false},
};

static void test_check(void **state)
{
    struct builder *b = fake_builder(true);

    (void)state;
    put(b, KIND_CONSUMER, "bob",
        "{\"username\":\"bob\",\"plugins\":{\"key-auth\":{\"key\":\"taken\"}}}");
    for (size_t i = 0; i < sizeof(check_cases) / sizeof(check_cases[0]); i++) {
        const struct check_case *c = &check_cases[i];
        json_t *value = json_of(c->value), *before = json_deep_copy(value);
        struct str err = STR("accepted");
        struct arena a;
        arena_init(&a, NULL);
        bool good = builder_check(b, c->kind, STR("9"), value, &a, &err);
        struct str want = c->err ? str_of(c->err) : STR("accepted");
        bool start = want.n && want.p[want.n - 1] == '*';
        if (start ? !str_starts(err, str_head(want, want.n - 1)) : !str_eq(err, want))
            fail_msg("%s: wanted %s, got %.*s", c->value, want.p, STR_ARG(err));
        assert_int_equal(good, c->err == NULL);
        assert_int_equal(builder_check_by_schema(b), c->by_schema);
        assert_true(json_equal(value, before));
        arena_fini(&a);
        json_decref(value);
        json_decref(before);
    }
    builder_free(b);
    assert_int_equal(fake_alive, 0);
}

/* ---- Upstreams ---- */

static void test_nodes(void **state)
{
    static const struct {
        const char *in, *host, *address;
        int port;
        bool is_ip, default_port;
    } cases[] = {
        {"{\"nodes\":{\"a.b:8080\":5}}", "a.b", "a.b:8080", 8080, false, false},
        {"{\"nodes\":{\"a.b\":5}}", "a.b", "a.b:80", 80, false, true},
        {"{\"nodes\":{\"a.b\":5},\"scheme\":\"https\"}", "a.b", "a.b:443", 443, false, true},
        {"{\"nodes\":{\"a.b:80\":5},\"scheme\":\"https\"}", "a.b", "a.b:80", 80, false, false},
        {"{\"nodes\":{\"127.0.0.1:9\":5}}", "127.0.0.1", "127.0.0.1:9", 9, true, false},
        {"{\"nodes\":{\"[::1]:9\":5}}", "::1", "[::1]:9", 9, true, false},
        {"{\"nodes\":{\"[::1]\":5}}", "::1", "[::1]:80", 80, true, true},
        {"{\"nodes\":{\"::1\":5}}", "::1", "[::1]:80", 80, true, true},
        {"{\"nodes\":[{\"host\":\"[fe80::2]\",\"port\":7,\"weight\":5}]}", "fe80::2", "[fe80::2]:7",
         7, true, false},
        {"{\"nodes\":[{\"host\":\"a\",\"weight\":5}]}", "a", "a:80", 80, false, true},
    };
    struct builder *b = fake_builder(true);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_true(put(b, KIND_UPSTREAM, "u", cases[i].in));
        const struct snapshot *s = builder_publish(b);
        const struct upstream *u = s->upstreams[0];
        assert_int_equal(u->nnodes, 1);
        assert_true(str_eq(u->nodes[0].host, str_of(cases[i].host)));
        assert_true(str_eq(u->nodes[0].address, str_of(cases[i].address)));
        assert_int_equal(u->nodes[0].port, cases[i].port);
        assert_int_equal(u->nodes[0].is_ip, cases[i].is_ip);
        assert_int_equal(u->nodes[0].default_port, cases[i].default_port);
        assert_int_equal(u->nodes[0].weight, 5);
        snapshot_put(s);
    }
    builder_free(b);
}

static void test_upstream_settings(void **state)
{
    struct builder *b = fake_builder(true);

    (void)state;
    put(b, KIND_UPSTREAM, "1", "{\"nodes\":{\"a:1\":1,\"b:2\":0},\"name\":\"n\"}");
    put(b, KIND_UPSTREAM, "2",
        "{\"nodes\":[{\"host\":\"a\",\"port\":1,\"weight\":1,\"priority\":-3}],\"retries\":2,"
        "\"retry_timeout\":1.5,\"timeout\":{\"connect\":0.5,\"send\":2,\"read\":3},"
        "\"keepalive_pool\":{\"size\":4,\"idle_timeout\":1,\"requests\":9},\"scheme\":\"https\","
        "\"tls\":{\"verify\":false},\"pass_host\":\"rewrite\",\"upstream_host\":\"u.h\"}");
    const struct snapshot *s = builder_publish(b);
    const struct upstream *u = s->upstreams[0];
    assert_int_equal(u->nnodes, 2);
    assert_int_equal(u->nodes[1].weight, 0);
    assert_int_equal(u->retries, -1);
    assert_int_equal(u->retry_timeout_ms, 0);
    assert_int_equal(u->timeouts.read_ms, 60000);
    assert_int_equal(u->keepalive_size, 320);
    assert_int_equal(u->pass_host, PASS_HOST_PASS);
    assert_false(u->tls || u->verify_off);
    u = s->upstreams[1];
    assert_int_equal(u->nodes[0].priority, -3);
    assert_int_equal(u->retries, 2);
    assert_int_equal(u->retry_timeout_ms, 1500);
    assert_int_equal(u->timeouts.connect_ms, 500);
    assert_int_equal(u->timeouts.send_ms, 2000);
    assert_int_equal(u->keepalive_size, 4);
    assert_int_equal(u->keepalive_idle_ms, 1000);
    assert_int_equal(u->keepalive_requests, 9);
    assert_true(u->tls && u->verify_off);
    assert_int_equal(u->pass_host, PASS_HOST_REWRITE);
    assert_true(str_eq(u->upstream_host, STR("u.h")));
    /* A new description changes nothing that balancing depends on. */
    uint64_t hash = s->upstreams[0]->hash;
    put(b, KIND_UPSTREAM, "1", "{\"nodes\":{\"a:1\":1,\"b:2\":0},\"desc\":\"d\"}");
    snapshot_put(s);
    s = builder_publish(b);
    assert_true(s->upstreams[0]->hash == hash);
    snapshot_put(s);
    builder_free(b);
}

/* ---- Consumers ---- */

static const char *owner_of(struct builder *b, const char *key)
{
    static char name[64];
    const struct snapshot *s = builder_publish(b);
    const struct credential *c = snapshot_credential(s, "key-auth", str_of(key));

    const struct consumer *owner = c ? snapshot_owner(s, c) : NULL;
    if (owner) {
        assert_ptr_equal(snapshot_consumer(s, c->username), owner);
        assert_true(str_eq(((const struct fake_consumer *)c->conf)->key, str_of(key)));
    }
    snprintf(name, sizeof(name), "%.*s%s%.*s", STR_ARG(owner ? owner->username : STR("-")),
             owner && c->id.p ? "/" : "", STR_ARG(owner ? c->id : STR("")));
    snapshot_put(s);
    return name;
}

static void put_consumer(struct builder *b, const char *name, const char *key)
{
    char text[256];

    snprintf(text, sizeof(text),
             "{\"username\":\"%s\",\"plugins\":{\"key-auth\":{\"key\":\"%s\"}}}", name, key);
    assert_true(put(b, KIND_CONSUMER, name, text));
}

static void test_credentials(void **state)
{
    struct builder *b = fake_builder(true);

    (void)state;
    put_consumer(b, "ann", "k1");
    put_consumer(b, "bob", "k2");
    assert_string_equal(owner_of(b, "k1"), "ann");
    assert_string_equal(owner_of(b, "k3"), "-");
    put_consumer(b, "ann", "k3");
    assert_string_equal(owner_of(b, "k1"), "-");
    assert_string_equal(owner_of(b, "k3"), "ann");
    /* Twice the same: the first stays, also when it is written again; then the next one. */
    put_consumer(b, "cat", "k3");
    put_consumer(b, "dan", "k3");
    assert_string_equal(owner_of(b, "k3"), "ann");
    put_consumer(b, "ann", "k3");
    assert_string_equal(owner_of(b, "k3"), "ann");
    put_consumer(b, "cat", "k3");
    put(b, KIND_CONSUMER, "ann", NULL);
    assert_string_equal(owner_of(b, "k3"), "dan");
    put_consumer(b, "dan", "k4");
    assert_string_equal(owner_of(b, "k3"), "cat");
    put(b, KIND_CONSUMER, "cat", NULL);
    assert_string_equal(owner_of(b, "k3"), "-");
    /* A reference that nobody resolves is no credential. */
    put_consumer(b, "eve", "$env://KEY");
    assert_string_equal(owner_of(b, "$env://KEY"), "-");
    builder_free(b);
}

static void test_consumer_plugins(void **state)
{
    struct builder *b = fake_builder(true);

    (void)state;
    put(b, KIND_CONSUMER, "ann",
        "{\"username\":\"ann\",\"labels\":{\"custom_id\":\"7\"},\"plugins\":{"
        "\"key-auth\":{\"key\":\"k\"},\"a\":{\"tag\":\"x\"},\"unknown\":{},\"wolf-rbac\":{}}}");
    put(b, KIND_CONSUMER, "bob",
        "{\"username\":\"bob\",\"plugins\":{\"key-auth\":{\"key\":\"l\"},"
        "\"ip-restriction\":{\"n\":13}}}");
    const struct snapshot *s = builder_publish(b);
    const struct consumer *c = snapshot_consumer(s, STR("ann"));
    assert_true(str_eq(c->custom_id, STR("7")));
    assert_int_equal(c->nuses, 1);
    assert_ptr_equal(c->uses[0].plugin, &fake_a);
    assert_non_null(snapshot_credential(s, "key-auth", STR("k")));
    assert_null(snapshot_credential(s, "wolf-rbac", STR("k")));
    /* What should restrict bob cannot run, so bob cannot come in. */
    assert_null(snapshot_credential(s, "key-auth", STR("l")));
    snapshot_put(s);
    builder_free(b);
    assert_int_equal(fake_alive, 0);
}

static void put_credential(struct builder *b, const char *id, const char *key)
{
    char text[128];

    snprintf(text, sizeof(text), "{\"plugins\":{\"key-auth\":{\"key\":\"%s\"}}}", key);
    assert_true(put(b, KIND_CREDENTIAL, id, text));
}

/* What the builder asked for: "+URI " and "-URI ", and managers as "ID=URI ". */
static char asked[1024];

static void asked_add(const char *fmt, ...)
{
    size_t n = strlen(asked);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(asked + n, sizeof(asked) - n, fmt, ap);
    va_end(ap);
}

static void on_want(void *arg, struct str uri, bool wanted)
{
    (void)arg;
    asked_add("%s%.*s ", wanted ? "+" : "-", STR_ARG(uri));
}

static void on_manager(void *arg, struct str id, const json_t *conf)
{
    (void)arg;
    asked_add("%.*s=%s ", STR_ARG(id),
              conf ? json_string_value(json_object_get(conf, "token")) : "gone");
}

static const char *asked_take(void)
{
    static char text[sizeof(asked)];

    memcpy(text, asked, sizeof(text));
    asked[0] = 0;
    return text;
}

static void test_env(void **state)
{
    struct builder *b = fake_builder(true);
    struct arena a;
    struct str err;

    (void)state;
    arena_init(&a, NULL);
    setenv("TEST_KEY", "k1", 1);
    setenv("TEST_JSON", "{\"key\":\"k2\",\"n\":5}", 1);
    unsetenv("TEST_NONE");
    put_consumer(b, "ann", "$env://TEST_KEY");
    put_consumer(b, "bob", "$Env://TEST_JSON/key");
    assert_string_equal(owner_of(b, "k1"), "ann");
    assert_string_equal(owner_of(b, "k2"), "bob");
    static const char *const bad[] = {"$env://TEST_NONE", "$env://TEST_JSON/none",
                                      "$env://TEST_KEY/key", "$env://", "$ENV://TEST_KEY/"};
    for (size_t i = 0; i < 4; i++) {
        put_consumer(b, "cat", bad[i]);
        assert_string_equal(owner_of(b, bad[i]), "-");
    }
    put_consumer(b, "ann", "x");
    put_consumer(b, "cat", bad[4]);
    assert_string_equal(owner_of(b, "k1"), "cat");

    /* Anywhere in a plugin's configuration, and of the type that the JSON has. */
    put(b, KIND_ROUTE, "1",
        "{\"uri\":\"/1\",\"plugins\":{\"a\":{\"tag\":\"$ENV://TEST_KEY\"},"
        "\"b\":{\"tag\":\"$env://TEST_NONE\"}}}");
    assert_string_equal(phase_text(route_now(b, "/1")->chain, PHASE_ACCESS), "a:k1");
    assert_int_equal(route_now(b, "/1")->broken, 0);
    /* What guards and cannot be resolved closes. */
    put(b, KIND_ROUTE, "1",
        "{\"uri\":\"/1\",\"plugins\":{\"ip-restriction\":{\"tag\":\"$env://TEST_NONE\"}}}");
    assert_int_equal(route_now(b, "/1")->broken, 503);
    /* A write is judged by its text; or by what that stands for, when this is the better one. */
    json_t *doc = json_of("{\"uri\":\"/\",\"plugins\":{\"a\":{\"n\":\"$env://TEST_JSON/n\"}}}");
    assert_true(builder_check(b, KIND_ROUTE, STR("2"), doc, &a, &err));
    json_decref(doc);
    doc = json_of("{\"uri\":\"/\",\"plugins\":{\"a\":{\"n\":\"$env://TEST_NONE\"}}}");
    assert_false(builder_check(b, KIND_ROUTE, STR("2"), doc, &a, &err));
    assert_true(str_search(err, STR("wrong type")) >= 0);
    json_decref(doc);
    doc = json_of("{\"uri\":\"/\",\"plugins\":{\"a\":{\"tag\":\"$env://TEST_NONE\"}}}");
    assert_true(builder_check(b, KIND_ROUTE, STR("2"), doc, &a, &err));
    json_decref(doc);
    builder_free(b);
    arena_fini(&a);
}

static void set_secret(struct builder *b, const char *uri, const char *text)
{
    json_t *value = text ? json_string(text) : NULL;

    builder_secret_set(b, str_of(uri), value, STR("sealed"));
    json_decref(value);
}

static void test_secrets(void **state)
{
    static const struct builder_secrets secrets = {.want = on_want, .manager = on_manager};
    struct builder *b = builder_new(
        &(struct builder_env){.plugins = fake_plugins, .secrets = &secrets});

    (void)state;
    asked_take();
    setenv("TEST_KEY", "token", 1);
    put_consumer(b, "ann", "$secret://vault/1/a/key");
    assert_string_equal(asked_take(), "+$secret://vault/1/a/key ");
    assert_string_equal(owner_of(b, "$secret://vault/1/a/key"), "-");
    set_secret(b, "$secret://vault/1/a/key", "s1");
    assert_string_equal(owner_of(b, "s1"), "ann");
    set_secret(b, "$secret://vault/1/a/key", "s2");
    assert_string_equal(owner_of(b, "s1"), "-");
    assert_string_equal(owner_of(b, "s2"), "ann");
    /* Others that refer to it know it at once. */
    put(b, KIND_ROUTE, "1",
        "{\"uri\":\"/1\",\"plugins\":{\"a\":{\"tag\":\"$secret://vault/1/a/key\"},"
        "\"ip-restriction\":{\"tag\":\"$secret://vault/1/b/c\"}}}");
    assert_string_equal(asked_take(), "+$secret://vault/1/b/c ");
    assert_int_equal(route_now(b, "/1")->broken, 503);
    set_secret(b, "$secret://vault/1/b/c", NULL);
    assert_int_equal(route_now(b, "/1")->broken, 503);
    set_secret(b, "$secret://vault/1/b/c", "x");
    assert_int_equal(route_now(b, "/1")->broken, 0);
    assert_string_equal(phase_text(route_now(b, "/1")->chain, PHASE_ACCESS),
                        "ip-restriction:x a:s2");
    /* Nothing is built anew when nothing changed. */
    const struct snapshot *before = builder_publish(b);
    set_secret(b, "$secret://vault/1/b/c", "x");
    set_secret(b, "$secret://vault/1/other/c", "x");
    const struct snapshot *after = builder_publish(b);
    assert_ptr_equal(before, after);
    snapshot_put(before);
    snapshot_put(after);
    /* What nobody refers to any more is not wanted; what another document still does, is. */
    put(b, KIND_ROUTE, "1", "{\"uri\":\"/1\",\"plugins\":{}}");
    assert_string_equal(asked_take(), "-$secret://vault/1/b/c ");
    put(b, KIND_CONSUMER, "ann", NULL);
    assert_string_equal(asked_take(), "-$secret://vault/1/a/key ");
    /* Malformed ones are asked of nobody. */
    static const char *const bad[] = {"$secret://",        "$secret://vault",
                                      "$secret://vault/1", "$secret://vault/1/",
                                      "$secret:///1/a",    "$secret://vault//a"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        put_consumer(b, "bob", bad[i]);
        assert_string_equal(asked_take(), "");
        assert_string_equal(owner_of(b, bad[i]), "-");
    }
    /* Managers are told with what their own references stand for. */
    put(b, KIND_SECRET, "vault/1",
        "{\"uri\":\"http://h\",\"prefix\":\"kv\",\"token\":\"$env://TEST_KEY\"}");
    assert_string_equal(asked_take(), "vault/1=token ");
    put(b, KIND_SECRET, "vault/1", NULL);
    assert_string_equal(asked_take(), "vault/1=gone ");
    put_consumer(b, "bob", "$secret://vault/1/left/over");
    builder_free(b);
    asked_take();
}

/* Documents of their own: whoever comes first, consumer or credential. */
static void test_credential_documents(void **state)
{
    struct builder *b = fake_builder(true);

    (void)state;
    put_credential(b, "ann/credentials/1", "x");
    assert_string_equal(owner_of(b, "x"), "-");
    put_consumer(b, "ann", "own");
    assert_string_equal(owner_of(b, "x"), "ann/1");
    assert_string_equal(owner_of(b, "own"), "ann");
    put_consumer(b, "ann", "other");
    assert_string_equal(owner_of(b, "x"), "ann/1");
    /* The next one with the same key waits, be it the same consumer's. */
    put_credential(b, "ann/credentials/2", "x");
    put_consumer(b, "bob", "x");
    assert_string_equal(owner_of(b, "x"), "ann/1");
    put_credential(b, "ann/credentials/1", "y");
    assert_string_equal(owner_of(b, "x"), "ann/2");
    assert_string_equal(owner_of(b, "y"), "ann/1");
    put(b, KIND_CREDENTIAL, "ann/credentials/2", NULL);
    assert_string_equal(owner_of(b, "x"), "bob");
    /* What should restrict the consumer cannot run: it has no way in. */
    put(b, KIND_CONSUMER, "ann", "{\"username\":\"ann\",\"plugins\":{\"acl\":{}}}");
    assert_string_equal(owner_of(b, "y"), "-");
    put(b, KIND_CONSUMER, "ann", "{\"username\":\"ann\"}");
    assert_string_equal(owner_of(b, "y"), "ann/1");
    put(b, KIND_CONSUMER, "ann", NULL);
    assert_string_equal(owner_of(b, "y"), "-");
    builder_free(b);
}

static void test_groups(void **state)
{
    struct builder *b = fake_builder(true);

    (void)state;
    put(b, KIND_CONSUMER, "ann", "{\"username\":\"ann\",\"group_id\":7}");
    put(b, KIND_CONSUMER_GROUP, "7", "{\"plugins\":{\"a\":{\"tag\":\"g\"},\"key-auth\":{}}}");
    assert_true(str_eq(builder_user(b, KIND_CONSUMER_GROUP, STR("7"), KIND_CONSUMER), STR("ann")));
    const struct snapshot *s = builder_publish(b);
    const struct consumer_group *g = snapshot_group(s, snapshot_consumer(s, STR("ann"))->group_id);
    assert_int_equal(g->nuses, 1);
    assert_false(g->closed);
    assert_true(str_eq(((const struct fake_conf *)g->uses[0].conf)->tag, STR("g")));
    put(b, KIND_CONSUMER_GROUP, "7", "{\"plugins\":{\"acl\":{}}}");
    const struct snapshot *next = builder_publish(b);
    assert_true(snapshot_group(next, STR("7"))->closed);
    assert_ptr_equal(snapshot_group(s, STR("7")), g);
    snapshot_put(s);
    snapshot_put(next);
    put(b, KIND_CONSUMER_GROUP, "7", NULL);
    s = builder_publish(b);
    assert_null(snapshot_group(s, STR("7")));
    snapshot_put(s);
    builder_free(b);
    assert_int_equal(fake_alive, 0);
}

/* ---- Global rules ---- */

static const char *global_now(struct builder *b, enum phase phase, bool *closed)
{
    const struct snapshot *s = builder_publish(b);
    const char *text = phase_text(s->global, phase);

    *closed = s->global_closed;
    snapshot_put(s);
    return text;
}

static void test_global_rules(void **state)
{
    struct builder *b = fake_builder(true);
    bool closed;

    (void)state;
    assert_string_equal(global_now(b, PHASE_ACCESS, &closed), "");
    put(b, KIND_GLOBAL_RULE, "1", "{\"plugins\":{\"a\":{\"tag\":\"1\"}}}");
    const char *alone = global_now(b, PHASE_ACCESS, &closed);
    assert_string_equal(alone, "a:1");
    put(b, KIND_GLOBAL_RULE, "2", "{\"plugins\":{\"b\":{\"tag\":\"2\"}}}");
    const struct snapshot *held = builder_publish(b);
    assert_int_equal(held->global->n, 2);
    /* What two rules have, none has; where it guards, both have it. */
    put(b, KIND_GLOBAL_RULE, "3",
        "{\"plugins\":{\"a\":{\"tag\":\"3\"},\"ip-restriction\":{\"tag\":\"3\"}}}");
    put(b, KIND_GLOBAL_RULE, "4", "{\"plugins\":{\"ip-restriction\":{\"tag\":\"4\"}}}");
    const struct snapshot *s = builder_publish(b);
    assert_int_equal(s->global->n, 3);
    assert_string_equal(s->global->steps[0].use.plugin->name, "ip-restriction");
    assert_string_equal(s->global->steps[1].use.plugin->name, "ip-restriction");
    assert_string_equal(s->global->steps[2].use.plugin->name, "b");
    assert_false(s->global_closed);
    snapshot_put(s);
    put(b, KIND_GLOBAL_RULE, "3", NULL);
    put(b, KIND_GLOBAL_RULE, "4", NULL);
    assert_string_equal(phase_text(held->global, PHASE_ACCESS), "a:1 b:2");
    snapshot_put(held);
    /* A guard that cannot run closes all; any other plugin is left out. */
    put(b, KIND_GLOBAL_RULE, "2", "{\"plugins\":{\"nix\":{}}}");
    assert_string_equal(global_now(b, PHASE_ACCESS, &closed), "a:1");
    assert_false(closed);
    put(b, KIND_GLOBAL_RULE, "2", "{\"plugins\":{\"acl\":{}}}");
    global_now(b, PHASE_ACCESS, &closed);
    assert_true(closed);
    put(b, KIND_GLOBAL_RULE, "2", NULL);
    put(b, KIND_GLOBAL_RULE, "1", NULL);
    assert_string_equal(global_now(b, PHASE_ACCESS, &closed), "");
    assert_false(closed);
    put(b, KIND_GLOBAL_RULE, "1", "{\"plugins\":{\"a\":{}}}");
    builder_free(b);
    assert_int_equal(fake_alive, 0);
}

static const struct fake_conf *metadata_now(struct builder *b)
{
    const struct snapshot *s = builder_publish(b);
    const struct fake_conf *m = snapshot_metadata(s, "a");

    snapshot_put(s);
    return m;
}

static void test_metadata(void **state)
{
    struct builder *b = fake_builder(true);

    (void)state;
    assert_null(metadata_now(b));
    put(b, KIND_PLUGIN_METADATA, "a", "{\"id\":\"a\",\"tag\":\"m\"}");
    assert_true(str_eq(metadata_now(b)->tag, STR("m")));
    /* A bad one does not take the place of what is there. */
    assert_false(put(b, KIND_PLUGIN_METADATA, "a", "{\"n\":-1}"));
    assert_true(str_eq(metadata_now(b)->tag, STR("m")));
    put(b, KIND_PLUGIN_METADATA, "a", "{\"n\":5}");
    assert_int_equal(metadata_now(b)->n, 5);
    assert_true(put(b, KIND_PLUGIN_METADATA, "b", "{\"anything\":{}}"));
    put(b, KIND_PLUGIN_METADATA, "a", NULL);
    assert_null(metadata_now(b));
    builder_free(b);
}

/* ---- Versions ---- */

static void test_reclaim(void **state)
{
    struct builder *b = fake_builder(true);
    const struct snapshot *held[5];

    (void)state;
    const struct snapshot *empty = builder_publish(b);
    assert_int_equal(empty->version, 1);
    assert_null(find(empty, NULL, "/"));
    put(b, KIND_ROUTE, "0", "{\"uri\":\"/old\",\"plugins\":{\"a\":{}}}");
    for (int i = 0; i < 5; i++) {
        char text[64];
        snprintf(text, sizeof(text), "{\"uri\":\"/\",\"plugins\":{\"a\":{\"tag\":\"%d\"}}}", i);
        put(b, KIND_ROUTE, "1", text);
        if (i == 3)
            put(b, KIND_ROUTE, "0", NULL);
        held[i] = builder_publish(b);
    }
    assert_int_equal(fake_alive, 6);
    /* Each one between goes by itself, whoever holds older ones. */
    snapshot_put(held[2]);
    builder_reclaim(b);
    assert_int_equal(fake_alive, 5);
    /* What is older than it, and died with it, is still reached by those before. */
    assert_true(str_eq(find(held[1], NULL, "/old")->about->id, STR("0")));
    snapshot_put(held[3]);
    snapshot_put(held[0]);
    assert_true(builder_reclaim(b));
    assert_int_equal(fake_alive, 3);
    assert_non_null(find(held[1], NULL, "/"));
    assert_non_null(find(held[4], NULL, "/"));
    snapshot_put(held[4]);
    assert_true(builder_reclaim(b));
    assert_int_equal(fake_alive, 3);
    snapshot_put(held[1]);
    snapshot_put(empty);
    assert_false(builder_reclaim(b));
    assert_int_equal(fake_alive, 1);
    /* A change that was replaced before it was published leaves nothing behind. */
    for (int i = 0; i < 3; i++)
        put(b, KIND_ROUTE, "1", "{\"uri\":\"/\",\"plugins\":{\"a\":{}}}");
    assert_int_equal(fake_alive, 2);
    put(b, KIND_ROUTE, "1", NULL);
    assert_null(route_now(b, "/"));
    assert_int_equal(fake_alive, 0);
    builder_free(b);
}

static void test_schemas(void **state)
{
    struct builder *b = fake_builder(true);

    (void)state;
    for (enum kind k = 0; k < KIND_COUNT; k++) {
        json_t *schema = builder_kind_schema(k);
        assert_non_null(json_object_get(schema, "properties"));
        json_decref(schema);
        assert_int_equal(kind_by_collection(kinds[k].collection), k);
    }
    assert_int_equal(kind_by_collection(STR("route")), KIND_COUNT);
    json_t *schema = builder_plugin_schema(b, STR("a"), false);
    json_t *properties = json_object_get(schema, "properties");
    assert_non_null(json_object_get(properties, "tag"));
    assert_non_null(json_object_get(properties, "_meta"));
    json_decref(schema);
    schema = builder_plugin_schema(b, STR("key-auth"), true);
    assert_non_null(json_object_get(json_object_get(schema, "properties"), "secret"));
    json_decref(schema);
    assert_null(builder_plugin_schema(b, STR("a"), true));
    assert_null(builder_plugin_schema(b, STR("none"), false));
    builder_free(b);
}

static int quiet_setup(void **state)
{
    (void)state;
    log_setup(quiet, LOG_WARN);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_overlay),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_upstream_choice),
        cmocka_unit_test(test_bad_documents),
        cmocka_unit_test(test_closed),
        cmocka_unit_test(test_not_enabled),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_upstream_settings),
        cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_consumer_plugins),
        cmocka_unit_test(test_env),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_credential_documents),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_global_rules),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_reclaim),
        cmocka_unit_test(test_schemas),
    };

    hash_setup();
    return cmocka_run_group_tests(tests, quiet_setup, NULL);
}
