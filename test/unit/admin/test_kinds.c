/* SPDX-License-Identifier: Apache-2.0 */
/* The Admin API's further kinds of documents, and PATCH, against a real store. The words are APISIX
 * 3.18's. */
#include "place.h"

#define UPSTREAM(more) "{\"key\":\"/apisix/upstreams/1\",\"value\":{\"id\":\"1\"," NODES more "}}"

static void test_patch(void **state)
{
    static const struct turn turns[] = {
        {"PATCH", "upstreams/1", "{\"desc\":\"d\"}", 404, NOT_FOUND},
        {"PATCH", "upstreams", "{\"desc\":\"d\"}", 400, ERROR("missing upstream id")},
        {"PUT", "upstreams/1", "{" NODES "}", 201, NULL},
        {"PATCH", "upstreams/1", NULL, 400, ERROR("missing new configuration")},
        {"PATCH", "upstreams/1", "7", 400, ERROR("invalid configuration")},
        {"PATCH", "upstreams/1", "null", 400, ERROR("invalid configuration")},
        {"PATCH", "upstreams/1", "[1]", 400, ERROR("invalid configuration")},
        {"PATCH", "upstreams/1", "[]", 200, UPSTREAM("")},
        {"PATCH", "upstreams/1", "{\"desc\":\"d\",\"labels\":{\"a\":\"1\",\"b\":\"2\"}}", 200,
         UPSTREAM(",\"desc\":\"d\",\"labels\":{\"a\":\"1\",\"b\":\"2\"}")},
        {"PATCH", "upstreams/1", "{\"desc\":null,\"labels\":{\"a\":null,\"c\":\"3\"}}", 200,
         UPSTREAM(",\"labels\":{\"b\":\"2\",\"c\":\"3\"}")},
        {"PATCH", "upstreams/1", "{\"labels\":{}}", 200, UPSTREAM(",\"labels\":{}")},
        {"PATCH", "upstreams/1/labels/x", "\"y\"", 200, UPSTREAM(",\"labels\":{\"x\":\"y\"}")},
        {"PATCH", "upstreams/1/labels", "{\"p\":\"q\"}", 200,
         UPSTREAM(",\"labels\":{\"p\":\"q\"}")},
        {"PATCH", "upstreams/1", "{\"labels\":null}", 200, UPSTREAM("")},
        {"PATCH", "upstreams/1/keepalive_pool/size", "5", 200,
         UPSTREAM(",\"keepalive_pool\":{\"size\":5}")},
        {"PATCH", "upstreams/1/type/a/b", "5", 400, ERROR("invalid sub-path: /type")},
        {"PATCH", "upstreams/1/type/a", "5", 400, ERROR("invalid sub-path: /type")},
        {"PATCH", "upstreams/1/desc", "null", 400,
         ERROR(
             "invalid configuration: property \\\"desc\\\" validation failed: wrong type: expected "
             "string, got userdata")},
        {"PATCH", "upstreams/1/id", "\"2\"", 400, ERROR("wrong upstream id")},
        {"PATCH", "upstreams/1", "{\"id\":2}", 400, ERROR("wrong upstream id")},
        {"PATCH", "upstreams/1", "{\"foo\":1}", 400,
         ERROR("invalid configuration: additional properties forbidden, found foo")},
        {"PATCH", "upstreams/1", "{\"nodes\":null}", 400, NULL},
        {"PATCH", "upstreams/1/x/", "{\"desc\":\"whole\"," NODES "}", 200,
         UPSTREAM(",\"desc\":\"whole\"")},
        {"PATCH", "upstreams/1/x/", "5", 400,
         ERROR("invalid configuration: wrong type: expected object, got number")},
        {"PUT", "routes/1", "{\"uris\":[\"/a\",\"/b\"],\"upstream_id\":1}", 201, NULL},
        {"PATCH", "routes/1", "{\"uris\":[\"/c\"]}", 200,
         "{\"key\":\"/apisix/routes/1\",\"value\":{\"id\":\"1\",\"uris\":[\"/c\"],"
         "\"upstream_id\":1}}"},
        {"PATCH", "routes/1/uris", "[\"/d\"]", 200, NULL},
        {"PATCH", "routes/1/uris/0", "\"/d\"", 400, ERROR("invalid sub-path: /uris")},
        {"PATCH", "routes/1", "{\"upstream_id\":2}", 400,
         ERROR("failed to fetch upstream info by upstream id [2], response code: 404")},
        {"PATCH", "routes/1", "{\"plugins\":{\"counter\":{\"count\":0}}}", 400,
         ERROR("failed to check the configuration of plugin counter err: property \\\"count\\\" "
               "validation failed: expected 0 to be greater than 0")},
        {"PATCH", "routes/1/plugins/counter", "{\"count\":1}", 200, NULL},
        {"PATCH", "routes/1", "{\"host\":\"a\",\"hosts\":[\"b\"]}", 400,
         ERROR("only one of host or hosts is allowed")},
    };

    play(*state, turns, COUNT(turns));
}

/* A patched document keeps or takes its times; somebody else's write meanwhile wins. */
static void test_patch_times(void **state)
{
    struct place *p = *state;
    json_int_t now = time(NULL);

    admin_reply_free(ask(p, "PUT", "upstreams/1", "{" NODES "}"));
    assert_int_equal(time_of(p, "PATCH", "{\"create_time\":7,\"update_time\":8}", "create_time"),
                     7);
    assert_int_equal(time_of(p, "GET", NULL, "update_time"), 8);
    assert_in_range(time_of(p, "PATCH", "{\"desc\":\"d\"}", "update_time"), now, now + 5);
    assert_int_equal(time_of(p, "GET", NULL, "create_time"), 7);
}

static void test_patch_raced(void **state)
{
    struct place *p = *state;

    admin_reply_free(ask(p, "PUT", "upstreams/1", "{" NODES "}"));
    p->fragile->raced = true;
    struct admin_reply *reply = ask(p, "PATCH", "upstreams/1", "{\"desc\":\"d\"}");
    p->fragile->raced = false;
    expect("raced", reply, 503, ERROR("value changed before overwritten"));
    admin_reply_free(reply);
    reply = ask(p, "GET", "upstreams/1", NULL);
    expect("afterwards", reply, 200,
           "{\"key\":\"/apisix/upstreams/1\",\"value\":{\"id\":\"1\"," NODES
           "},\"createdIndex\":1,\"modifiedIndex\":2}");
    admin_reply_free(reply);
}

static void test_patch_depth(void **state)
{
    struct place *p = *state;
    struct buf body;

    buf_init(&body, 1 << 16);
    admin_reply_free(
        ask(p, "PUT", "routes/1", "{\"uri\":\"/a\",\"plugins\":{\"traffic-split\":{}}}"));
    for (int i = 0; i < 1030; i++)
        buf_printf(&body, "[");
    for (int i = 0; i < 1030; i++)
        buf_printf(&body, "]");
    struct admin_reply *reply = ask_raw(
        p, (struct ask){.method = "PATCH",
                        .target = "/apisix/admin/routes/1/plugins/traffic-split/x",
                        .body = buf_str(&body),
                        .api_key = ADMIN_KEY});
    expect("deep", reply, 400, ERROR("invalid configuration: more than 1024 levels"));
    admin_reply_free(reply);
    buf_fini(&body);
}

/* ---- Kinds -------------------------------------------------------------------------------------
 */

#define CREDENTIAL(id, key)                                                          \
    "{\"key\":\"/apisix/consumers/jack/credentials/" id "\",\"value\":{\"id\":\"" id \
    "\",\"plugins\":{\"key-auth\":{\"key\":\"" key "\"}}}"
#define KEY_AUTH(key) "{\"plugins\":{\"key-auth\":{\"key\":\"" key "\"}}}"

static void test_credentials(void **state)
{
    static const struct turn turns[] = {
        {"PUT", "consumers/jack/credentials/a", KEY_AUTH("a"), 404, ERROR("consumer not found")},
        {"PUT", "consumers", "{\"username\":\"jack\",\"plugins\":{\"key-auth\":{\"key\":\"k\"}}}",
         201, NULL},
        {"PUT", "consumers", "{\"username\":\"jackson\"}", 201, NULL},
        {"GET", "consumers/jack/credentials", NULL, 404, NOT_FOUND},
        {"GET", "consumers/jack/credentials/a", NULL, 404, NOT_FOUND},
        {"PUT", "consumers/jack/credentials", KEY_AUTH("a"), 400, ERROR("missing credential id")},
        {"POST", "consumers/jack/credentials", KEY_AUTH("a"), 405,
         ERROR("not supported `POST` method for credential")},
        {"PATCH", "consumers/jack/credentials/a", "{}", 405,
         ERROR("not supported `PATCH` method for credential")},
        {"PUT", "consumers/jack/credentials/a", KEY_AUTH("a"), 201, CREDENTIAL("a", "a") "}"},
        {"PUT", "consumers/jack/credentials",
         "{\"id\":\"b\",\"plugins\":{\"key-auth\":{\"key\":"
         "\"b\"}}}",
         201, CREDENTIAL("b", "b") "}"},
        {"PUT", "consumers/jack/credentials/a", KEY_AUTH("a"), 200, CREDENTIAL("a", "a") "}"},
        {"PUT", "consumers/jack/credentials/a", "{\"id\":\"b\"}", 400,
         ERROR("wrong credential id")},
        {"PUT", "consumers/jack/credentials/c", KEY_AUTH("b"), 400,
         ERROR("duplicate key of plugin key-auth found with credential: b of consumer: jack")},
        {"PUT", "consumers/jack/credentials/c", KEY_AUTH("k"), 400,
         ERROR("duplicate key of plugin key-auth found with consumer: jack")},
        {"PUT", "consumers",
         "{\"username\":\"jackson\",\"plugins\":{\"key-auth\":{\"key\":\"b\"}}}", 400,
         ERROR("duplicate key of plugin key-auth found with credential: b of consumer: jack")},
        {"PUT", "consumers", "{\"username\":\"jack\",\"plugins\":{\"key-auth\":{\"key\":\"b\"}}}",
         200, NULL},
        {"PUT", "consumers/jack/credentials/c", "{\"plugins\":{\"counter\":{\"count\":1}}}", 400,
         ERROR("only supports auth type plugins in consumer credential")},
        {"PUT", "consumers/jack/credentials/c", "{\"plugins\":{\"nix\":{}}}", 400,
         ERROR("invalid plugins configuration: unknown plugin [nix]")},
        {"PUT", "consumers/jack/credentials/c",
         "{\"plugins\":{\"key-auth\":{\"key\":\"x\"},"
         "\"counter\":{\"count\":1}}}",
         400,
         ERROR(
             "invalid configuration: property \\\"plugins\\\" validation failed: expect object to "
             "have at most 1 properties")},
        {"GET", "consumers/jack/credentials", NULL, 200,
         "{\"total\":2,\"list\":[" CREDENTIAL("a", "a") ",\"createdIndex\":3,\"modifiedIndex\":5}"
                                                        "," CREDENTIAL(
                                                            "b", "b") ",\"createdIndex\":4,"
                                                                      "\"modifiedIndex\":4}]}"},
        {"GET", "consumers/jack/credentials/b", NULL, 200,
         CREDENTIAL("b", "b") ",\"createdIndex\":4,\"modifiedIndex\":4}"},
        {"GET", "consumers/jackson/credentials", NULL, 404, NOT_FOUND},
        {"GET", "credentials", NULL, 404, ERROR("Unsupported resource type: credentials")},
        {"GET", "consumers", NULL, 200,
         "{\"total\":2,\"list\":[{\"key\":\"/apisix/consumers/"
         "jack\",\"value\":{\"username\":\"jack\","
         "\"plugins\":{\"key-auth\":{\"key\":\"b\"}}},\"createdIndex\":1,\"modifiedIndex\":6},"
         "{\"key\":\"/apisix/consumers/jackson\",\"value\":{\"username\":\"jackson\"},"
         "\"createdIndex\":2,\"modifiedIndex\":2}]}"},
        {"GET", "consumers/jack/credentials/b/x", NULL, 404, ERROR("not found")},
        {"GET", "consumers/jack/other", NULL, 404, ERROR("not found")},
        {"DELETE", "consumers/jack/credentials", NULL, 400, ERROR("missing credential id")},
        {"DELETE", "consumers/jack/credentials/b", NULL, 200,
         "{\"key\":\"/apisix/consumers/jack/credentials/b\",\"deleted\":\"1\"}"},
        {"DELETE", "consumers/jack/credentials/b", NULL, 404, NOT_FOUND},
        {"DELETE", "consumers/jack", NULL, 200, NULL},
        {"GET", "consumers/jack/credentials/a", NULL, 404, NOT_FOUND},
        {"PUT", "consumers",
         "{\"username\":\"jackson\",\"plugins\":{\"key-auth\":{\"key\":\"a\"}}}", 200, NULL},
        {"POST", "schema/validate/credentials", "{\"desc\":\"d\"}", 200, ""},
        {"GET", "schema/credential", NULL, 200, NULL},
    };

    play(*state, turns, COUNT(turns));
}

static void test_consumer_groups(void **state)
{
    static const struct turn turns[] = {
        {"POST", "consumer_groups", "{\"plugins\":{}}", 405,
         ERROR("not supported `POST` method for consumer group")},
        {"PUT", "consumer_groups", "{\"plugins\":{}}", 400, ERROR("missing consumer group id")},
        {"PUT", "consumer_groups/g", "{}", 400,
         ERROR("invalid configuration: property \\\"plugins\\\" is required")},
        {"PUT", "consumers", "{\"username\":\"jack\",\"group_id\":\"g\"}", 400,
         ERROR("failed to fetch consumer group info by consumer group id [g], response code: 404")},
        {"PUT", "consumer_groups/g", "{\"plugins\":{\"counter\":{\"count\":1}}}", 201, NULL},
        {"PATCH", "consumer_groups/g/plugins/counter/count", "0", 400,
         ERROR("failed to check the configuration of plugin counter err: property \\\"count\\\" "
               "validation failed: expected 0 to be greater than 0")},
        {"PUT", "consumers", "{\"username\":\"jack\",\"group_id\":\"g\"}", 201, NULL},
        {"DELETE", "consumer_groups/g", NULL, 400,
         ERROR("can not delete this consumer group, consumer [jack] is still using it now")},
        {"DELETE", "consumers/jack", NULL, 200, NULL},
        {"PUT", "upstreams/5", "{" NODES "}", 201, NULL},
        {"PATCH", "consumer_groups/g",
         "{\"plugins\":{\"traffic-split\":{\"rules\":[{\"weighted_upstreams\":[{\"upstream_id\":5}]"
         "}]}"
         "}}",
         200, NULL},
        {"DELETE", "upstreams/5", NULL, 400,
         ERROR("can not delete this upstream, plugin in consumer_group [g] is still using it now")},
        {"DELETE", "consumer_groups/g", NULL, 200, NULL},
        {"GET", "schema/consumer_group", NULL, 200, NULL},
    };

    play(*state, turns, COUNT(turns));
}

static void test_global_rules(void **state)
{
    static const struct turn turns[] = {
        {"POST", "global_rules", "{\"plugins\":{}}", 405,
         ERROR("not supported `POST` method for global rule")},
        {"PUT", "global_rules", "{\"plugins\":{}}", 400, ERROR("missing global rule id")},
        {"PUT", "global_rules/1", "{\"plugins\":{},\"desc\":\"d\"}", 400,
         ERROR("invalid configuration: additional properties forbidden, found desc")},
        {"PUT", "global_rules/1", "{\"plugins\":{\"counter\":{\"count\":1}}}", 201,
         "{\"key\":\"/apisix/global_rules/1\",\"value\":{\"id\":\"1\",\"plugins\":{\"counter\":"
         "{\"count\":1}}}}"},
        {"PUT", "global_rules/1", "{\"plugins\":{\"counter\":{\"count\":2}}}", 200, NULL},
        {"PUT", "global_rules/2", "{\"plugins\":{\"counter\":{\"count\":1}}}", 400,
         ERROR("plugin 'counter' already exists in global rule with id '1'")},
        {"PUT", "global_rules/2", "{\"plugins\":{\"key-auth\":{}}}", 201, NULL},
        {"PATCH", "global_rules/1/plugins/key-auth", "{}", 400,
         ERROR("plugin 'key-auth' already exists in global rule with id '2'")},
        {"PATCH", "global_rules/1/plugins/counter/count", "3", 200, NULL},
        {"DELETE", "global_rules/2", NULL, 200, NULL},
        {"PATCH", "global_rules/1/plugins/key-auth", "{}", 200, NULL},
        {"GET", "schema/global_rule", NULL, 200, NULL},
    };

    play(*state, turns, COUNT(turns));
}

static void test_metadata(void **state)
{
    static const struct turn turns[] = {
        {"POST", "plugin_metadata", "{}", 405,
         ERROR("not supported `POST` method for plugin_metadata")},
        {"PATCH", "plugin_metadata/counter", "{}", 405,
         ERROR("not supported `PATCH` method for plugin_metadata")},
        {"PUT", "plugin_metadata", "{}", 400, ERROR("missing plugin name")},
        {"PUT", "plugin_metadata/nix", "{}", 400, ERROR("invalid plugin name")},
        {"PUT", "plugin_metadata/counter", NULL, 400, ERROR("missing configurations")},
        {"PUT", "plugin_metadata/counter", "{\"header\":7}", 400,
         ERROR("invalid configuration: property \\\"header\\\" validation failed: wrong type: "
               "expected string, got number")},
        {"PUT", "plugin_metadata/counter", "{\"header\":\"h\"}", 201,
         "{\"key\":\"/apisix/plugin_metadata/"
         "counter\",\"value\":{\"id\":\"counter\",\"header\":\"h\"}}"},
        {"PUT", "plugin_metadata/counter", "{\"id\":\"x\"}", 200,
         "{\"key\":\"/apisix/plugin_metadata/counter\",\"value\":{\"id\":\"counter\"}}"},
        {"PUT", "plugin_metadata/key-auth", "{\"any\":[1]}", 201, NULL},
        {"GET", "plugin_metadata/key-auth", NULL, 200,
         "{\"key\":\"/apisix/plugin_metadata/"
         "key-auth\",\"value\":{\"id\":\"key-auth\",\"any\":[1]},"
         "\"createdIndex\":3,\"modifiedIndex\":3}"},
        {"DELETE", "plugin_metadata", NULL, 400, ERROR("missing plugin_metadata id")},
        {"DELETE", "plugin_metadata/counter", NULL, 200, NULL},
        {"GET", "plugin_metadata/counter", NULL, 404, NOT_FOUND},
        {"POST", "schema/validate/plugin_metadata", "{}", 200, ""},
    };

    play(*state, turns, COUNT(turns));
}

static void test_secrets(void **state)
{
    static const struct turn turns[] = {
        {"GET", "secrets", NULL, 200, "{\"total\":0,\"list\":[]}"},
        {"POST", "secrets", "{}", 405, ERROR("not supported `POST` method for secret")},
        {"PUT", "secrets/nix/1", "{}", 400, ERROR("invalid secret manager: nix")},
        {"PUT", "secrets/vault", "{}", 400, ERROR("missing secret id")},
        {"PUT", "secrets/vault/1", "{\"uri\":\"x\",\"prefix\":\"p\",\"token\":\"t\"}", 400, NULL},
        {"PUT", "secrets/vault/1", "{\"uri\":\"http://v:1\",\"prefix\":\"p\"}", 400,
         ERROR("invalid configuration: property \\\"token\\\" is required")},
        {"PUT", "secrets/gcp/1", "{}", 400,
         ERROR("invalid configuration: value should match only one schema, but matches none")},
        {"PUT", "secrets/vault/1", "{\"uri\":\"http://v:1\",\"prefix\":\"p\",\"token\":\"t\"}", 201,
         "{\"key\":\"/apisix/secrets/vault/1\",\"value\":{\"id\":\"vault/1\",\"uri\":\"http://"
         "v:1\","
         "\"prefix\":\"p\",\"token\":\"t\"}}"},
        {"PUT", "secrets/aws/1", "{\"access_key_id\":\"a\",\"secret_access_key\":\"s\"}", 201,
         NULL},
        {"PUT", "secrets/vault/1", "{\"id\":\"1\"}", 400, ERROR("wrong secret id")},
        {"PATCH", "secrets/vault", "{}", 400, ERROR("no secret id")},
        {"PATCH", "secrets/vault/2", "{}", 404, NOT_FOUND},
        {"PATCH", "secrets/vault/1/prefix", "\"q\"", 200,
         "{\"key\":\"/apisix/secrets/vault/1\",\"value\":{\"id\":\"vault/1\",\"uri\":\"http://"
         "v:1\","
         "\"prefix\":\"q\",\"token\":\"t\"}}"},
        {"PATCH", "secrets/vault/1", "{\"token\":null}", 400,
         ERROR("invalid configuration: property \\\"token\\\" is required")},
        {"GET", "secrets/aws", NULL, 200,
         "{\"total\":1,\"list\":[{\"key\":\"/apisix/secrets/aws/1\",\"value\":{\"id\":\"aws/1\","
         "\"access_key_id\":\"a\",\"secret_access_key\":\"s\"},\"createdIndex\":2,"
         "\"modifiedIndex\":2}]}"},
        {"DELETE", "secrets/vault/1", NULL, 200,
         "{\"key\":\"/apisix/secrets/vault/1\",\"deleted\":\"1\"}"},
        {"GET", "secrets/vault/1", NULL, 404, NOT_FOUND},
    };

    play(*state, turns, COUNT(turns));
}

static void test_others(void **state)
{
    static const struct turn turns[] = {
        {"PUT", "plugins/reload", NULL, 200, "done"},
        {"GET", "plugins/reload", NULL, 405,
         ERROR("please use PUT method to reload the plugins, GET method is not allowed.")},
        {"PUT", "stream_routes/1", "{}", 400,
         ERROR("stream mode is disabled, can not add stream routes")},
        {"GET", "stream_routes", NULL, 400,
         ERROR("stream mode is disabled, can not add stream routes")},
        {"PUT", "ssls/1", "{}", 400, ERROR("invalid configuration: then clause did not match")},
        {"PUT", "ssls/1", "{\"type\":\"client\"}", 400,
         ERROR("invalid configuration: else clause did not match")},
        {"GET", "schema/ssl", NULL, 200, NULL},
    };

    play(*state, turns, COUNT(turns));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_patch),        TEST(test_patch_times), TEST(test_patch_raced),
        TEST(test_patch_depth),  TEST(test_credentials), TEST(test_consumer_groups),
        TEST(test_global_rules), TEST(test_metadata),    TEST(test_secrets),
        TEST(test_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
