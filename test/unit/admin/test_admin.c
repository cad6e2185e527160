/* SPDX-License-Identifier: Apache-2.0 */
/* The Admin API against a real store: request in, status and body out; what is refused changes
 * nothing. The words are APISIX 3.18's. */
#include "place.h"

/* ---- Conversations -----------------------------------------------------------------------------
 */

static void test_life(void **state)
{
    static const struct turn turns[] = {
        {"GET", "upstreams", NULL, 200, "{\"total\":0,\"list\":[]}"},
        {"GET", "upstreams/1", NULL, 404, NOT_FOUND},
        {"DELETE", "upstreams/1", NULL, 404, NOT_FOUND},
        {"PUT", "upstreams/1", "{" NODES "}", 201,
         "{\"key\":\"/apisix/upstreams/1\",\"value\":{" NODES ",\"id\":\"1\"}}"},
        {"PUT", "upstreams/1", "{\"name\":\"n\"," NODES "}", 200,
         "{\"key\":\"/apisix/upstreams/1\",\"value\":{\"name\":\"n\"," NODES ",\"id\":\"1\"}}"},
        {"GET", "upstreams/1", NULL, 200,
         "{\"key\":\"/apisix/upstreams/1\",\"value\":{\"name\":\"n\"," NODES
         ",\"id\":\"1\"},\"createdIndex\":1,\"modifiedIndex\":2}"},
        {"PUT", "upstreams", "{\"id\":7," NODES "}", 201,
         "{\"key\":\"/apisix/upstreams/7\",\"value\":{\"id\":7," NODES "}}"},
        {"GET", "upstreams/", NULL, 200,
         "{\"total\":2,\"list\":["
         "{\"key\":\"/apisix/upstreams/1\",\"value\":{\"name\":\"n\"," NODES
         ",\"id\":\"1\"},\"createdIndex\":1,\"modifiedIndex\":2},"
         "{\"key\":\"/apisix/upstreams/7\",\"value\":{\"id\":7," NODES
         "},\"createdIndex\":3,\"modifiedIndex\":3}]}"},
        {"DELETE", "upstreams/1", NULL, 200, "{\"key\":\"/apisix/upstreams/1\",\"deleted\":\"1\"}"},
        {"DELETE", "upstreams/1", NULL, 404, NOT_FOUND},
        {"PUT", "upstreams/1", "{" NODES "}", 201, NULL},
        {"GET", "upstreams/1", NULL, 200,
         "{\"key\":\"/apisix/upstreams/1\",\"value\":{" NODES
         ",\"id\":\"1\"},\"createdIndex\":5,\"modifiedIndex\":5}"},
        {"POST", "upstreams", "{" NODES "}", 201,
         "{\"key\":\"/apisix/upstreams/00000000000000000006\",\"value\":{" NODES
         ",\"id\":\"00000000000000000006\"}}"},
        {"POST", "upstreams/", "{" NODES "}", 201,
         "{\"key\":\"/apisix/upstreams/00000000000000000008\",\"value\":{" NODES
         ",\"id\":\"00000000000000000008\"}}"},
    };

    play(*state, turns, COUNT(turns));
}

#define BAD_ID                                                                                    \
    ERROR("invalid configuration: property \\\"id\\\" validation failed: object matches none of " \
          "the required")
#define X16 "xxxxxxxxxxxxxxxx"

static void test_ids(void **state)
{
    static const struct turn turns[] = {
        {"PUT", "routes", "{\"uri\":\"/a\"}", 400, ERROR("missing route id")},
        {"PUT", "plugin_configs", "{}", 400, ERROR("missing plugin config id")},
        {"PUT", "upstreams/1", "{\"id\":\"2\"," NODES "}", 400, ERROR("wrong upstream id")},
        {"PUT", "upstreams/1", "{\"id\":null," NODES "}", 400, ERROR("wrong upstream id")},
        {"PUT", "upstreams/1", "{\"id\":[]," NODES "}", 400, ERROR("wrong upstream id")},
        {"POST", "upstreams/1", "{" NODES "}", 400, ERROR("wrong upstream id, do not need it")},
        {"POST", "upstreams", "{\"id\":\"1\"," NODES "}", 400,
         ERROR("wrong upstream id, do not need it")},
        {"PUT", "upstreams", "{\"id\":0," NODES "}", 400, BAD_ID},
        {"PUT", "upstreams", "{\"id\":-3," NODES "}", 400, BAD_ID},
        {"PUT", "upstreams", "{\"id\":1.5," NODES "}", 400, BAD_ID},
        {"PUT", "upstreams", "{\"id\":{}," NODES "}", 400, BAD_ID},
        {"PUT", "upstreams", "{\"id\":\"\"," NODES "}", 400, BAD_ID},
        {"PUT", "upstreams", "{\"id\":\"a/b\"," NODES "}", 400, BAD_ID},
        {"PUT", "upstreams/a b", "{" NODES "}", 400, BAD_ID},
        {"PUT", "upstreams/\xff", "{" NODES "}", 400, BAD_ID},
        {"PUT", "upstreams/" X16 X16 X16 X16 "x", "{" NODES "}", 400, BAD_ID},
        {"PUT", "upstreams/" X16 X16 X16 X16, "{" NODES "}", 201, NULL},
        {"PUT", "upstreams/a-Z_0.9", "{" NODES "}", 201, NULL},
        {"PUT", "upstreams/12", "{\"id\":12," NODES "}", 201,
         "{\"key\":\"/apisix/upstreams/12\",\"value\":{\"id\":\"12\"," NODES "}}"},
        {"DELETE", "upstreams", NULL, 400, ERROR("missing upstream id")},
        {"DELETE", "consumers", NULL, 400, ERROR("missing consumer id")},
        {"GET", "upstreams/\xff\xfe", NULL, 404, NOT_FOUND},
        {"GET", "upstreams/12/nodes", NULL, 404, ERROR("not found")},
        {"DELETE", "upstreams/12/nodes", NULL, 404, ERROR("not found")},
    };

    play(*state, turns, COUNT(turns));
}

#define TOO_DEEP "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["

static void test_bodies(void **state)
{
    static const struct turn turns[] = {
        {"PUT", "upstreams/1", NULL, 400, ERROR("missing configurations")},
        {"PUT", "upstreams/1", "", 400, ERROR("missing configurations")},
        {"PUT", "upstreams/1", "x", 400,
         "{\"error_msg\":\"invalid request body: Expected value but found invalid token at "
         "character 1\",\"req_body\":\"x\"}"},
        {"PUT", "upstreams/1", "{\"a\":", 400,
         "{\"error_msg\":\"invalid request body: Expected value but found T_END at character "
         "6\",\"req_body\":\"{\\\"a\\\":\"}"},
        {"PUT", "upstreams/1", "  ", 400, NULL},
        {"PUT", "upstreams/1", "{}{}", 400, NULL},
        {"PUT", "upstreams/1", "{\"a\":\"\xff\"}", 400, NULL},
        {"PUT", "upstreams/1", "{\"a\":\"\\u0000\"}", 400, NULL},
        {"PUT", "upstreams/1", "{\"a\":1e999}", 400, NULL},
        {"PUT", "upstreams/1", "{\"a\":99999999999999999999}", 400, NULL},
        {"PUT", "upstreams/1", TOO_DEEP TOO_DEEP TOO_DEEP TOO_DEEP, 400, NULL},
        {"PUT", "upstreams/1", "null", 400,
         ERROR("invalid configuration: wrong type: expected object, got userdata")},
        {"PUT", "upstreams/1", "[]", 400,
         ERROR("invalid configuration: wrong type: expected object, got table")},
        {"PUT", "upstreams/1", "\"s\"", 400,
         ERROR("invalid configuration: wrong type: expected object, got string")},
        {"PUT", "upstreams/1", "{\"create_time\":1," NODES "}", 400,
         ERROR("the property is forbidden:  create_time")},
        {"PUT", "upstreams/1", "{\"update_time\":null," NODES "}", 400,
         ERROR("the property is forbidden:  update_time")},
        {"PUT", "routes/1", "{\"uri\":\"/a\",\"upstream\":{\"create_time\":1," NODES "}}", 400,
         ERROR("the property is forbidden:  upstream.create_time")},
        {"POST", "routes", "{\"uri\":\"/a\",\"plugins\":{\"update_time\":1}}", 400,
         ERROR("the property is forbidden:  plugins.update_time")},
        {"PUT", "upstreams/1", "{\"foo\":1," NODES "}", 400,
         ERROR("invalid configuration: additional properties forbidden, found foo")},
        {"PUT", "routes/1", "{\"uri\":\"/a\",\"host\":\"a\",\"hosts\":[\"b\"]}", 400,
         ERROR("only one of host or hosts is allowed")},
        {"PUT", "routes/1", "{\"uri\":\"/a\",\"remote_addr\":\"1.1.1.1\",\"remote_addrs\":[]}", 400,
         ERROR("only one of remote_addr or remote_addrs is allowed")},
        {"PUT", "routes/1", "{\"uri\":\"/a\",\"plugins\":{\"nix\":{}}}", 400,
         ERROR("unknown plugin [nix]")},
        {"PUT", "upstreams/1?ttl=x", "{" NODES "}", 400,
         ERROR("invalid argument ttl: should be a number")},
        {"PUT", "upstreams/1?ttl=0", "{" NODES "}", 400,
         ERROR("invalid argument ttl: should be greater than 0 and at most 9000000000")},
        {"PUT", "upstreams/1?ttl=-3", "{" NODES "}", 400, NULL},
        {"PUT", "upstreams/1?wait=x", "{" NODES "}", 400,
         ERROR("invalid argument wait: should be live")},
    };

    play(*state, turns, COUNT(turns));
}

static void test_paths(void **state)
{
    static const struct turn turns[] = {
        {"GET", "", NULL, 404, ERROR("Unsupported resource type: ")},
        {"GET", "routs/1", NULL, 404, ERROR("Unsupported resource type: routs")},
        {"GET", "\xff", NULL, 404, ERROR("Unsupported resource type: \xef\xbf\xbd")},
        {"POST", "consumers", "{\"username\":\"a\"}", 405,
         ERROR("not supported `POST` method for consumer")},
        {"PATCH", "consumers/a", "{}", 405, ERROR("not supported `PATCH` method for consumer")},
        {"POST", "plugin_configs", "{\"plugins\":{}}", 405,
         ERROR("not supported `POST` method for plugin config")},
        {"PUT", "schema/route", "{}", 404, ERROR("not found")},
        {"DELETE", "plugins/key-auth", NULL, 404, ERROR("not found")},
    };

    play(*state, turns, COUNT(turns));
}

static void test_references(void **state)
{
    static const struct turn turns[] = {
        {"PUT", "routes/1", "{\"uri\":\"/a\",\"upstream_id\":\"9\"}", 400,
         ERROR("failed to fetch upstream info by upstream id [9], response code: 404")},
        {"PUT", "routes/1", "{\"uri\":\"/a\",\"service_id\":9}", 400,
         ERROR("failed to fetch service info by service id [9], response code: 404")},
        {"PUT", "routes/1", "{\"uri\":\"/a\",\"upstream\":{" NODES "},\"plugin_config_id\":\"x\"}",
         400,
         ERROR("failed to fetch plugin config info by plugin config id [x], response code: 404")},
        {"PUT", "services/1", "{\"upstream_id\":9}", 400,
         ERROR("failed to fetch upstream info by upstream id [9], response code: 404")},
        {"PUT", "upstreams/9", "{" NODES "}", 201, NULL},
        {"PUT", "upstreams/90", "{" NODES "}", 201, NULL},
        {"PUT", "services/1", "{\"upstream_id\":9}", 201, NULL},
        {"PUT", "plugin_configs/2", "{\"plugins\":{}}", 201, NULL},
        {"PUT", "routes/r7",
         "{\"uri\":\"/a\",\"upstream_id\":9,\"service_id\":\"1\",\"plugin_config_id\":2}", 201,
         NULL},
        {"DELETE", "upstreams/9", NULL, 400,
         ERROR("can not delete this upstream, route [r7] is still using it now")},
        {"DELETE", "services/1", NULL, 400,
         ERROR("can not delete this service directly, route [r7] is still using it now")},
        {"DELETE", "plugin_configs/2", NULL, 400,
         ERROR("can not delete this plugin config, route [r7] is still using it now")},
        {"DELETE", "upstreams/90?force=false", NULL, 200, NULL},
        {"DELETE", "routes/r7", NULL, 200, NULL},
        {"DELETE", "upstreams/9", NULL, 400,
         ERROR("can not delete this upstream, service [1] is still using it now")},
        {"DELETE", "plugin_configs/2", NULL, 200, NULL},
        {"DELETE", "upstreams/9?force=true", NULL, 200, NULL},
        {"DELETE", "services/1", NULL, 200, NULL},
        {"PUT", "upstreams/5", "{" NODES "}", 201, NULL},
        {"PUT", "plugin_configs/2",
         "{\"plugins\":{\"traffic-split\":{\"rules\":[{\"weighted_upstreams\":[{\"weight\":1},"
         "{\"upstream_id\":5}]}]}}}",
         201, NULL},
        {"DELETE", "upstreams/5", NULL, 400,
         ERROR("can not delete this upstream, plugin in plugin_config [2] is still using it now")},
        {"DELETE", "plugin_configs/2", NULL, 200, NULL},
        {"DELETE", "upstreams/5", NULL, 200, NULL},
    };

    play(*state, turns, COUNT(turns));
}

static void test_consumers(void **state)
{
    static const struct turn turns[] = {
        {"PUT", "consumers", "{\"username\":\"jack\",\"plugins\":{\"key-auth\":{\"key\":\"k\"}}}",
         201,
         "{\"key\":\"/apisix/consumers/jack\",\"value\":{\"username\":\"jack\",\"plugins\":"
         "{\"key-auth\":{\"key\":\"k\"}}}}"},
        {"PUT", "consumers/jack",
         "{\"username\":\"jack\",\"plugins\":{\"key-auth\":{\"key\":\"k\"}}}", 200, NULL},
        {"PUT", "consumers/jill", "{\"username\":\"jack\"}", 400, ERROR("wrong username")},
        {"PUT", "consumers/jill", "{}", 400,
         ERROR("invalid configuration: property \\\"username\\\" is required")},
        {"PUT", "consumers", "{\"username\":\"a b\"}", 400,
         ERROR("invalid configuration: property \\\"username\\\" validation failed: failed to "
               "match pattern \\\"^[a-zA-Z0-9_\\\\\\\\-]+$\\\" with \\\"a b\\\"")},
        {"PUT", "consumers", "{\"username\":\"jill\",\"plugins\":{\"key-auth\":{\"key\":\"k\"}}}",
         400, ERROR("duplicate key of plugin key-auth found with consumer: jack")},
        {"PUT", "consumers",
         "{\"username\":\"jill\",\"plugins\":{\"key-auth\":{\"key\":\"$secret://k\"}}}", 201, NULL},
        {"PUT", "consumers", "{\"username\":\"jane\",\"plugins\":{\"nix\":{}}}", 400,
         ERROR("invalid plugins configuration: unknown plugin [nix]")},
        {"GET", "consumers/jack", NULL, 200,
         "{\"key\":\"/apisix/consumers/jack\",\"value\":{\"username\":\"jack\",\"plugins\":"
         "{\"key-auth\":{\"key\":\"k\"}}},\"createdIndex\":1,\"modifiedIndex\":2}"},
        {"PUT", "consumers", "{\"username\":\"jack\",\"create_time\":1}", 400,
         ERROR("the property is forbidden:  create_time")},
        {"DELETE", "consumers/jack", NULL, 200,
         "{\"key\":\"/apisix/consumers/jack\",\"deleted\":\"1\"}"},
        {"PUT", "consumers", "{\"username\":\"jill\",\"plugins\":{\"key-auth\":{\"key\":\"k\"}}}",
         200, NULL},
    };

    play(*state, turns, COUNT(turns));
}

static void test_catalog(void **state)
{
    static const struct turn turns[] = {
        {"GET", "plugins/list", NULL, 200, "[\"counter\",\"key-auth\",\"traffic-split\"]"},
        {"GET", "plugins/list?subsystem=stream", NULL, 200, "[]"},
        {"GET", "plugins/list?subsystem=x", NULL, 400, "invalid subsystem passed"},
        {"GET", "plugins/nix", NULL, 404, ERROR("plugin not found in subsystem http")},
        {"GET", "plugins", NULL, 404, ERROR("plugin not found in subsystem http")},
        {"GET", "plugins/counter?subsystem=stream", NULL, 404,
         ERROR("plugin not found in subsystem stream")},
        {"GET", "plugins/counter?subsystem=y", NULL, 400, ERROR("unsupported subsystem: y")},
        {"GET", "plugins/counter?schema_type=consumer", NULL, 400, ERROR("not found schema")},
        {"GET", "plugins/counter", NULL, 200, NULL},
        {"GET", "schema/plugins/counter", NULL, 200, NULL},
        {"GET", "schema/plugins/key-auth?schema_type=consumer", NULL, 200, NULL},
        {"GET", "schema/route", NULL, 200, NULL},
        {"GET", "schema/plugin_config", NULL, 200, NULL},
        {"GET", "schema/nix", NULL, 400, ERROR("not found schema: nix")},
        {"GET", "schema", NULL, 400, ERROR("not found schema: ")},
        {"POST", "schema/validate/upstreams", "{" NODES "}", 200, ""},
        {"POST", "schema/validate/routes", "{\"uri\":\"/a\",\"upstream_id\":\"9\"}", 200, ""},
        {"POST", "schema/validate/upstreams", "{\"foo\":1," NODES "}", 400,
         ERROR("additional properties forbidden, found foo")},
        {"POST", "schema/validate/upstreams", NULL, 400,
         ERROR("wrong type: expected object, got nil")},
        {"POST", "schema/validate/nix", "{}", 404, ERROR("Unsupported resource type: nix")},
    };
    struct place *p = *state;

    play(p, turns, COUNT(turns));
    struct admin_reply *reply = ask(p, "GET", "plugins?all=true", NULL);
    json_t *all = json_loadb(reply->body.p, reply->body.n, 0, NULL);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(all, "counter"), "priority")), 3000);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(all, "key-auth"), "type")), "auth");
    json_decref(all);
    admin_reply_free(reply);
}

static void test_pages(void **state)
{
    static const struct {
        const char *query;
        int status;
        const char *ids; /* of what is shown */
    } rows[] = {
        {"", 200, "1 10 11 12 13 2 3 4 5 6 7 8 9 "},
        {"?page=1", 200, "1 10 11 12 13 2 3 4 5 6 7 8 9 "},
        {"?page_size=10", 200, "1 10 11 12 13 2 3 4 5 6 7 8 9 "},
        {"?page=1&page_size=10", 200, "1 2 3 4 5 6 7 8 9 10 "},
        {"?page=2&page_size=10", 200, "11 12 13 "},
        {"?page=0&page_size=10", 200, "1 2 3 4 5 6 7 8 9 10 "},
        {"?page=3&page_size=10", 200, ""},
        {"?page=1e300&page_size=10", 200, ""},
        {"?page=1&page_size=9", 400, "page_size must be between 10 and 500"},
        {"?page=1&page_size=501", 400, "page_size must be between 10 and 500"},
    };
    struct place *p = *state;

    for (int i = 1; i <= 13; i++) {
        char below[32];
        snprintf(below, sizeof(below), "upstreams/%d", i);
        admin_reply_free(ask(p, "PUT", below, "{" NODES "}"));
    }
    for (size_t i = 0; i < COUNT(rows); i++) {
        char below[64], ids[128] = "";
        json_t *item;
        size_t j;
        snprintf(below, sizeof(below), "upstreams%s", rows[i].query);
        struct admin_reply *reply = ask(p, "GET", below, NULL);
        assert_int_equal(reply->status, rows[i].status);
        if (reply->status == 200) {
            json_t *body = json_loadb(reply->body.p, reply->body.n, 0, NULL);
            assert_int_equal(json_integer_value(json_object_get(body, "total")), 13);
            json_array_foreach(json_object_get(body, "list"), j, item)
            {
                const char *id = json_string_value(
                    json_object_get(json_object_get(item, "value"), "id"));
                snprintf(ids + strlen(ids), sizeof(ids) - strlen(ids), "%s ", id);
            }
            json_decref(body);
            assert_string_equal(ids, rows[i].ids);
        } else {
            assert_true(str_eq(reply->body, str_of(rows[i].ids)));
        }
        admin_reply_free(reply);
    }
}

static void test_filters(void **state)
{
    static const struct turn turns[] = {
        {"PUT", "services/s", "{}", 201, NULL},
        {"PUT", "services/1", "{}", 201, NULL},
        {"PUT", "routes/1",
         "{\"name\":\"shop\",\"uri\":\"/shop/"
         "*\",\"service_id\":\"s\",\"labels\":{\"env\":\"prod\"}}",
         201, NULL},
        {"PUT", "routes/2", "{\"name\":\"shopping\",\"uris\":[\"/a\",\"/b9\"],\"service_id\":1}",
         201, NULL},
        {"PUT", "routes/3", "{\"uri\":\"/a+b\",\"service_id\":\"s\"}", 201, NULL},
    };
    static const struct {
        const char *query, *ids;
    } rows[] = {
        {"name=shop", "1 2 "},
        {"name=^shop$", "1 "},
        {"name=%5Eshop%24", "1 "},
        {"name=(", ""},
        {"uri=b", "2 3 "},
        {"uri=/[a-z]%5cd", "2 "},
        {"uri=a\\%2Bb", "3 "},
        {"label=env", "1 "},
        {"label=prod", ""},
        {"filter=service_id%3Ds", "1 3 "},
        {"filter=service_id%3D1", "2 "},
        {"filter=service_id%3Ds%26upstream_id%3D1", ""},
        {"filter=name%3Dnix", "1 2 3 "},
        {"filter=service_id%3Ds&name=sh", "1 "},
        {"name=sh&uri=b&label=env", ""},
    };
    struct place *p = *state;

    play(p, turns, COUNT(turns));
    for (size_t i = 0; i < COUNT(rows); i++) {
        char below[128], ids[128] = "";
        json_t *item;
        size_t j;
        snprintf(below, sizeof(below), "routes?%s", rows[i].query);
        struct admin_reply *reply = ask(p, "GET", below, NULL);
        json_t *body = json_loadb(reply->body.p, reply->body.n, 0, NULL);
        json_array_foreach(json_object_get(body, "list"), j, item)
        {
            const char *id = json_string_value(
                json_object_get(json_object_get(item, "value"), "id"));
            snprintf(ids + strlen(ids), sizeof(ids) - strlen(ids), "%s ", id);
        }
        assert_int_equal(json_integer_value(json_object_get(body, "total")), (json_int_t)j);
        if (strcmp(ids, rows[i].ids) != 0)
            fail_msg("%s gives \"%s\", not \"%s\"", rows[i].query, ids, rows[i].ids);
        json_decref(body);
        admin_reply_free(reply);
    }
}

/* ---- Others ------------------------------------------------------------------------------------
 */

/* A document that is replaced keeps the time of its making, however old. */
static void test_times(void **state)
{
    struct place *p = *state;
    struct str err, old = STR("{\"create_time\":5,\"update_time\":6,\"id\":\"1\"," NODES "}");
    json_int_t now = time(NULL);

    assert_int_equal(store_put(p->fragile->real, STR("/upstreams/1"), old, -1, NULL, &err),
                     STORE_OK);
    assert_int_equal(time_of(p, "PUT", "{" NODES "}", "create_time"), 5);
    assert_in_range(time_of(p, "GET", NULL, "update_time"), now, now + 5);
    assert_int_equal(time_of(p, "GET", NULL, "create_time"), 5);
    admin_reply_free(ask(p, "DELETE", "upstreams/1", NULL));
    assert_in_range(time_of(p, "PUT", "{" NODES "}", "create_time"), now, now + 5);
}

static void test_big_body(void **state)
{
    struct place *p = *state;
    struct ask big = {.method = "PUT",
                      .target = "/apisix/admin/upstreams/1",
                      .body_size = ADMIN_BODY_MAX + 1,
                      .api_key = ADMIN_KEY};
    char *text = malloc(ADMIN_BODY_MAX + 1);

    struct admin_reply *reply = ask_raw(p, big);
    expect("announced", reply, 400,
           ERROR("invalid request body: request size 1572865 is greater than the maximum size "
                 "1572864 allowed"));
    admin_reply_free(reply);
    memset(text, ' ', ADMIN_BODY_MAX + 1);
    memcpy(text, "{" NODES "}", sizeof("{" NODES "}") - 1);
    big.body_size = 0;
    big.body = str_make(text, ADMIN_BODY_MAX + 1);
    reply = ask_raw(p, big);
    expect("sent", reply, 400, NULL);
    admin_reply_free(reply);
    big.body.n--;
    reply = ask_raw(p, big);
    expect("just fits", reply, 201, NULL);
    admin_reply_free(reply);
    free(text);
}

static struct str reply_find(const struct admin_reply *reply, const char *name)
{
    for (unsigned i = 0; i < reply->nheaders; i++) {
        if (str_eq_nocase(reply->headers[i].name, str_of(name)))
            return reply->headers[i].value;
    }
    return STR_NONE;
}

#define REFUSED(why) "{\"error_msg\":\"failed to check token\",\"description\":\"" why "\"}"

static void test_keys(void **state)
{
    static const struct {
        const char *method, *target, *api_key, *cookie;
        int status;
        const char *want;
    } rows[] = {
        {"GET", "/apisix/admin/routes", NULL, NULL, 401, REFUSED("missing apikey")},
        {"GET", "/apisix/admin/routes", "", NULL, 401, REFUSED("wrong apikey")},
        {"GET", "/apisix/admin/routes", "0123456789abcdef0123456789abcdeF", NULL, 401,
         REFUSED("wrong apikey")},
        {"GET", "/apisix/admin/routes", ADMIN_KEY "0", NULL, 401, REFUSED("wrong apikey")},
        {"GET", "/apisix/admin/routes", ADMIN_KEY, NULL, 200, NULL},
        {"GET", "/apisix/admin/routes?api_key=" ADMIN_KEY, NULL, NULL, 200, NULL},
        {"GET", "/apisix/admin/routes?x=1&api_key=viewer%2dkey", NULL, NULL, 200, NULL},
        {"GET", "/apisix/admin/routes?api_key=wrong", ADMIN_KEY, NULL, 401,
         REFUSED("wrong apikey")},
        {"GET", "/apisix/admin/routes", NULL, "a=b; x_api_key=" ADMIN_KEY "; c=d", 200, NULL},
        {"GET", "/apisix/admin/routes", NULL, "y_x_api_key=" ADMIN_KEY, 401,
         REFUSED("missing apikey")},
        {"GET", "/apisix/admin/routes", "wrong", "x_api_key=" ADMIN_KEY, 401,
         REFUSED("wrong apikey")},
        {"GET", "/apisix/admin/routes", VIEWER_KEY, NULL, 200, NULL},
        {"PUT", "/apisix/admin/routes/1", VIEWER_KEY, NULL, 401,
         REFUSED("invalid method for role viewer")},
        {"DELETE", "/apisix/admin/routes/1", VIEWER_KEY, NULL, 401,
         REFUSED("invalid method for role viewer")},
        {"HEAD", "/apisix/admin", NULL, NULL, 200, ""},
        {"HEAD", "/apisix/admin/routes", ADMIN_KEY, NULL, 404, NULL},
        {"OPTIONS", "/apisix/admin/routes", NULL, NULL, 200, ""},
        {"GET", "/apisix/admin", ADMIN_KEY, NULL, 404, NULL},
        {"GET", "/elsewhere", ADMIN_KEY, NULL, 404, NULL},
        {"GET", "/apisix/administrator", ADMIN_KEY, NULL, 404, NULL},
        {"TRACE", "/apisix/admin/routes", ADMIN_KEY, NULL, 404, NULL},
    };

    log_setup(NULL, LOG_ERROR);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct admin_reply *reply = ask_raw(*state, (struct ask){.method = rows[i].method,
                                                                 .target = rows[i].target,
                                                                 .api_key = rows[i].api_key,
                                                                 .cookie = rows[i].cookie});
        expect(rows[i].target, reply, rows[i].status, rows[i].want);
        admin_reply_free(reply);
    }
    log_setup(NULL, LOG_WARN);
}

/* No keys: nobody comes in, unless none is required. */
static void test_no_keys(void **state)
{
    struct place *p = *state;
    struct admin_config other = config;
    struct ask get = {.method = "GET", .target = "/apisix/admin/routes", .api_key = ""};
    struct admin_reply *reply;

    log_setup(NULL, LOG_ERROR);
    other.nkeys = 0;
    other.keys = NULL;
    configure(p, &other);
    reply = ask_raw(p, get);
    expect("no keys", reply, 401, REFUSED("wrong apikey"));
    admin_reply_free(reply);
    other.key_required = false;
    configure(p, &other);
    reply = ask_raw(p, get);
    expect("none required", reply, 200, NULL);
    admin_reply_free(reply);
    log_setup(NULL, LOG_WARN);
}

static void test_addresses(void **state)
{
    static const struct {
        int family;
        const char *address;
        bool in;
    } rows[] = {
        {AF_INET, "127.0.0.1", true},
        {AF_INET, "127.0.0.255", true},
        {AF_INET, "127.0.1.0", false},
        {AF_INET, "10.1.2.3", true},
        {AF_INET, "10.1.2.4", false},
        {AF_INET6, "::ffff:127.0.0.9", true},
        {AF_INET6, "::ffff:127.0.1.9", false},
        {AF_INET6, "fd00:0:5::1", true},
        {AF_INET6, "fd00:1::1", true},
        {AF_INET6, "fd00:2::1", false},
        {AF_INET6, "::1", false},
    };
    struct place *p = *state;

    log_setup(NULL, LOG_ERROR);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct sockaddr_in in = {.sin_family = AF_INET};
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
        bool v4 = rows[i].family == AF_INET;
        assert_int_equal(inet_pton(rows[i].family, rows[i].address,
                                   v4 ? (void *)&in.sin_addr : (void *)&in6.sin6_addr),
                         1);
        struct admin_reply *reply = ask_raw(
            p, (struct ask){.method = "GET",
                            .target = "/apisix/admin/routes",
                            .api_key = ADMIN_KEY,
                            .client = v4 ? (struct sockaddr *)&in : (struct sockaddr *)&in6});
        expect(rows[i].address, reply, rows[i].in ? 200 : 403, NULL);
        admin_reply_free(reply);
    }
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct admin_config nobody = config;
    nobody.allow.n = 0;
    configure(p, &nobody);
    struct admin_reply *reply = ask_raw(p, (struct ask){.method = "HEAD",
                                                        .target = "/apisix/admin",
                                                        .client = (struct sockaddr *)&local});
    expect("an empty list", reply, 403, NULL);
    admin_reply_free(reply);
    log_setup(NULL, LOG_WARN);
}

static void test_headers(void **state)
{
    struct place *p = *state;
    struct admin_reply *reply = ask(p, "GET", "routes", NULL);

    assert_true(str_eq(reply->content_type, STR("application/json")));
    assert_true(str_eq(reply_find(reply, "X-API-VERSION"), STR("v3")));
    assert_true(str_eq(reply_find(reply, "Access-Control-Allow-Origin"), STR("*")));
    assert_true(str_eq(reply_find(reply, "Access-Control-Expose-Headers"), STR("*")));
    admin_reply_free(reply);
    reply = ask_raw(p, (struct ask){.method = "OPTIONS", .target = "/apisix/admin/routes"});
    assert_true(str_eq(reply->content_type, STR("text/plain")));
    assert_true(str_eq(reply_find(reply, "Access-Control-Allow-Methods"),
                       STR("POST, GET, PUT, OPTIONS, DELETE, PATCH")));
    assert_false(reply_find(reply, "Access-Control-Expose-Headers").p);
    admin_reply_free(reply);

    struct admin_config plain = config;
    plain.cors = false;
    configure(p, &plain);
    reply = ask(p, "GET", "routes", NULL);
    assert_false(reply_find(reply, "Access-Control-Allow-Origin").p);
    admin_reply_free(reply);
    reply = ask(p, "OPTIONS", "routes", NULL);
    assert_int_equal(reply->status, 404);
    admin_reply_free(reply);
}

/* admin_api_version: default. */
static void test_older_version(void **state)
{
    static const struct turn turns[] = {
        {"PUT", "upstreams/1", "{" NODES "}", 201,
         "{\"action\":\"set\",\"node\":{\"key\":\"/apisix/upstreams/1\",\"value\":{" NODES
         ",\"id\":\"1\"}}}"},
        {"GET", "upstreams", NULL, 200,
         "{\"action\":\"get\",\"node\":{\"dir\":true,\"key\":\"/apisix/upstreams\",\"nodes\":["
         "{\"key\":\"/apisix/upstreams/1\",\"value\":{" NODES
         ",\"id\":\"1\"},\"createdIndex\":1,\"modifiedIndex\":1}]}}"},
        {"DELETE", "upstreams/1", NULL, 200,
         "{\"action\":\"delete\",\"deleted\":\"1\",\"key\":\"/apisix/upstreams/1\",\"node\":{}}"},
    };
    struct place *p = *state;
    struct admin_config older = config;

    older.v3 = false;
    configure(p, &older);
    play(p, turns, COUNT(turns));
    struct admin_reply *reply = ask(p, "GET", "upstreams", NULL);
    assert_true(str_eq(reply_find(reply, "X-API-VERSION"), STR("v2")));
    admin_reply_free(reply);
}

static void test_store_fails(void **state)
{
    static const struct turn turns[] = {
        {"PUT", "upstreams/2", "{" NODES "}", 503, ERROR("disk is full")},
        {"PUT", "upstreams/1", "{\"name\":\"n\"," NODES "}", 503, ERROR("disk is full")},
        {"PATCH", "upstreams/1", "{\"name\":\"n\"}", 503, ERROR("disk is full")},
        {"POST", "upstreams", "{" NODES "}", 503, ERROR("disk is full")},
        {"DELETE", "upstreams/1", NULL, 503, ERROR("disk is full")},
    };
    static const struct turn reads[] = {
        {"GET", "upstreams/1", NULL, 503, ERROR("disk is gone")},
        {"GET", "upstreams", NULL, 503, ERROR("disk is gone")},
        {"PUT", "upstreams/1", "{" NODES "}", 503, ERROR("disk is gone")},
        {"PUT", "routes/1", "{\"uri\":\"/a\",\"upstream_id\":1}", 503, ERROR("disk is gone")},
        {"PATCH", "upstreams/1", "{\"name\":\"n\"}", 503, ERROR("disk is gone")},
        {"DELETE", "upstreams/1", NULL, 503, ERROR("disk is gone")},
    };
    struct place *p = *state;

    admin_reply_free(ask(p, "PUT", "upstreams/1", "{" NODES "}"));
    log_setup(NULL, LOG_CRIT);
    p->fragile->writes_fail = true;
    play(p, turns, COUNT(turns));
    p->fragile->reads_fail = true;
    play(p, reads, COUNT(reads));
    log_setup(NULL, LOG_WARN);
    p->fragile->writes_fail = p->fragile->reads_fail = false;
    struct admin_reply *reply = ask(p, "GET", "upstreams", NULL);
    expect("afterwards", reply, 200,
           "{\"total\":1,\"list\":[{\"key\":\"/apisix/upstreams/1\",\"value\":{" NODES
           ",\"id\":\"1\"},\"createdIndex\":1,\"modifiedIndex\":1}]}");
    admin_reply_free(reply);
}

/* ---- Waiting for the workers ----
 */

static void one_worker(void *arg, struct keeper *keeper)
{
    (void)arg;
    keeper_workers(keeper, 1);
}

/* A worker that takes nothing: the write is made, and said to be, but not served in time. */
static void test_not_live_in_time(void **state)
{
    struct place *p = *state;
    struct admin_config with = config;

    with.live_ms = 20;
    configure(p, &with);
    keeper_post(p->keeper, one_worker, NULL);
    struct admin_reply *reply = ask(p, "PUT", "upstreams/1?wait=live", "{" NODES "}");
    expect("late", reply, 504,
           ERROR("the change is stored at revision 1, but not every worker serves it after 20 ms"));
    assert_true(str_eq(reply->content_type, STR("application/json")));
    admin_reply_free(reply);
    reply = ask(p, "GET", "upstreams/1", NULL);
    expect("stored", reply, 200, NULL);
    admin_reply_free(reply);
    keeper_taken(p->keeper, 0, UINT64_MAX);
    reply = ask(p, "PUT", "upstreams/1?wait=live", "{" NODES "}");
    expect("live", reply, 200, NULL);
    admin_reply_free(reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_life),          TEST(test_not_live_in_time),
        TEST(test_ids),           TEST(test_bodies),
        TEST(test_paths),         TEST(test_references),
        TEST(test_consumers),     TEST(test_catalog),
        TEST(test_pages),         TEST(test_filters),
        TEST(test_times),         TEST(test_big_body),
        TEST(test_keys),          TEST(test_no_keys),
        TEST(test_addresses),     TEST(test_headers),
        TEST(test_older_version), TEST(test_store_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
