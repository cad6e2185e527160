/* SPDX-License-Identifier: Apache-2.0 */
/* Texts with variables, and the variables by name. */
#include "fake_exchange.h"

#include <unistd.h>

#define REQUEST                                                                           \
    "POST /a%20b/../c?x=1&y=&z&e=%41+b&x=2&%6eame=n HTTP/1.1\r\nHost: Shop.test:8080\r\n" \
    "User-Agent: curl\r\nX-Two-Words: v\r\nx_under: u\r\nCookie: a=1; b=two;c=3\r\n"      \
    "Cookie: d=4\r\nContent-Length: 3\r\n\r\n"

static const char *value(const char *source)
{
    return text_of_str(text_value(fake.ex, text_compile(str_of(source), TEXT_APISIX, &fake.arena)));
}

/* A POST with that body; NULL: it has not come yet. */
static void fake_post(const char *type, const char *body)
{
    char head[256];

    snprintf(head, sizeof(head),
             "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: %s\r\nContent-Length: 9\r\n\r\n", type);
    fake_request(head);
    fake.config.post_arg_max = fake.config.post_arg_max ? fake.config.post_arg_max : 65536;
    fake.config.graphql_max = fake.config.graphql_max ? fake.config.graphql_max : 65536;
    fake.ex->body_view = NULL;
    buf_fini(&fake.ex->body);
    buf_init(&fake.ex->body, 1 << 26);
    fake.ex->body_kept = true;
    fake.ex->body_done = body != NULL;
    if (body)
        assert_true(buf_add(&fake.ex->body, str_of(body)));
}

static const char *var(const char *name)
{
    return text_of_str(var_value(fake.ex, str_of(name)));
}

/* ---- Texts
 * ------------------------------------------------------------------------------------ */

static void test_forms(void **state)
{
    static const struct {
        const char *source, *value;
    } rows[] = {
        {"", ""},
        {"plain", "plain"},
        {"$uri", "/c"},
        {"${uri}", "/c"},
        {"${ uri }", "/c"},
        {"a$uri", "a/c"},
        {"$uri-x", "/c-x"},
        {"$urix", ""},
        {"$uri$uri", "/c/c"},
        {"$uri${arg_x}!", "/c1!"},
        {"${nothing ?? other}", "other"},
        {"${nothing ?? }", ""},
        {"${arg_y ?? other}", ""}, /* there, and empty */
        {"${arg_x ?? other}", "1"},
        {"${nothing??a b}", "a b"},
        /* what is no variable stands for itself */
        {"$", "$"},
        {"$$", "$$"},
        {"$$uri", "$/c"},
        {"$-", "$-"},
        {"${", "${"},
        {"${}", "${}"},
        {"${uri", "${uri"},
        {"${a-b}", ""},    /* any name between braces */
        {"$uri.html", ""}, /* a dot is part of a name */
        {"${ ?? x}", "${ ?? x}"},
        {"cost: $ 5", "cost: $ 5"},
        {"\\$uri", "\\$uri"},
        {"\\\\$uri", "\\\\$uri"},
    };

    (void)state;
    fake_request(REQUEST);
    for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        assert_string_equal(value(rows[i].source), rows[i].value);
}

/* nginx's rules, for the access log: names without dots. */
static void test_nginx_names(void **state)
{
    struct text *t = text_compile(STR("$uri.html $arg_x."), TEXT_NGINX, &fake.arena);

    (void)state;
    fake_request(REQUEST);
    assert_string_equal(text_of_str(text_value(fake.ex, t)), "/c.html 1.");
}

static void test_many_parts(void **state)
{
    char source[1024] = "", want[1024] = "";
    size_t n = 0, m = 0;

    (void)state;
    fake_request(REQUEST);
    for (int i = 0; i < 40; i++) {
        n += (size_t)snprintf(source + n, sizeof(source) - n, "%d$arg_x,", i);
        m += (size_t)snprintf(want + m, sizeof(want) - m, "%d1,", i);
        assert_string_equal(value(source), want);
    }
}

static void test_constant(void **state)
{
    struct arena *a = &fake.arena;

    (void)state;
    fake_request(REQUEST);
    assert_true(text_is_constant(text_compile(STR("a$ b"), TEXT_APISIX, a)));
    assert_true(text_is_constant(text_compile(STR(""), TEXT_APISIX, a)));
    assert_false(text_is_constant(text_compile(STR("a$b"), TEXT_APISIX, a)));
    /* Nothing but variables that are absent or empty (limit-count's fallback). */
    assert_true(text_is_empty(fake.ex, text_compile(STR("$arg_y$nothing"), TEXT_APISIX, a)));
    assert_true(text_is_empty(fake.ex, text_compile(STR("pre $nothing"), TEXT_APISIX, a)));
    assert_false(text_is_empty(fake.ex, text_compile(STR("$nothing$arg_x"), TEXT_APISIX, a)));
    assert_false(text_is_empty(fake.ex, text_compile(STR("${nothing ?? x}"), TEXT_APISIX, a)));
    assert_false(text_is_empty(fake.ex, text_compile(STR("constant"), TEXT_APISIX, a)));
}

static struct str angle(struct arena *a, struct str v)
{
    return arena_printf(a, "<%.*s>", STR_ARG(v));
}

static void test_escaped(void **state)
{
    struct text *t = text_compile(STR("a=$arg_x&b=$nothing${nothing ?? o}$"), TEXT_APISIX,
                                  &fake.arena);
    struct text *one = text_compile(STR("$arg_x"), TEXT_APISIX, &fake.arena);

    (void)state;
    fake_request(REQUEST);
    assert_string_equal(text_of_str(text_value_escaped(fake.ex, t, angle)), "a=<1>&b=<o>$");
    assert_string_equal(text_of_str(text_value_escaped(fake.ex, one, angle)), "<1>");
}

static void test_build(void **state)
{
    struct text *t = build_text(&fake.build, STR("[$uri]"));
    struct text *v = build_var(&fake.build, STR("http_user_agent"));
    struct text *none = build_var(&fake.build, STR("$uri")); /* a name, no text */

    (void)state;
    fake_request(REQUEST);
    assert_string_equal(text_of_str(text_value(fake.ex, t)), "[/c]");
    assert_string_equal(text_of_str(text_value(fake.ex, v)), "curl");
    assert_string_equal(text_of_str(text_value(fake.ex, none)), "");
}

/* ---- Variables
 * -------------------------------------------------------------------------------- */

static void check(const char *const rows[][2], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(var(rows[i][0]), rows[i][1]) != 0)
            fail_msg("%s is \"%s\", not \"%s\"", rows[i][0], var(rows[i][0]), rows[i][1]);
}

#define CHECK(...)                                           \
    do {                                                     \
        static const char *const rows_[][2] = {__VA_ARGS__}; \
        check(rows_, sizeof(rows_) / sizeof(*rows_));        \
    } while (0)

static void test_of_the_request(void **state)
{
    (void)state;
    fake_request(REQUEST);
    CHECK({"uri", "/c"}, {"document_uri", "/c"}, {"args", "x=1&y=&z&e=%41+b&x=2&%6eame=n"},
          {"query_string", "x=1&y=&z&e=%41+b&x=2&%6eame=n"}, {"is_args", "?"},
          {"request_uri", "/c?x=1&y=&z&e=%41+b&x=2&%6eame=n"},
          {"real_request_uri", "/a%20b/../c?x=1&y=&z&e=%41+b&x=2&%6eame=n"},
          {"request_line", "POST /a%20b/../c?x=1&y=&z&e=%41+b&x=2&%6eame=n HTTP/1.1"},
          {"request", "POST /a%20b/../c?x=1&y=&z&e=%41+b&x=2&%6eame=n HTTP/1.1"},
          {"request_method", "POST"}, {"method", "POST"}, {"server_protocol", "HTTP/1.1"},
          {"request_length", "500"}, {"host", "Shop.test"}, {"scheme", "http"},
          {"https", "(absent)"}, {"server_name", "_"}, {"remote_user", "(absent)"});
    CHECK({"arg_x", "1"}, {"arg_y", ""}, {"arg_z", "true"}, {"arg_e", "A b"}, {"arg_name", "n"},
          {"arg_w", "(absent)"}, {"arg_X", "(absent)"}, {"arg_", "(absent)"},
          {"http_user_agent", "curl"}, {"http_USER_AGENT", "curl"}, {"http_x_two_words", "v"},
          {"http_x_under", "u"}, {"http_host", "Shop.test:8080"}, {"http_none", "(absent)"},
          {"http_", "(absent)"}, {"http_cookie", "a=1; b=two;c=3; d=4"}, {"content_length", "3"},
          {"content_type", "(absent)"}, {"proxy_add_x_forwarded_for", "10.1.2.3"},
          {"binary_remote_addr", "\x0a\x01\x02\x03"}, {"cookie_a", "1"}, {"cookie_b", "two"},
          {"cookie_c", "3"}, {"cookie_d", "4"}, {"cookie_A", "(absent)"}, {"cookie_e", "(absent)"});
    fake_request("GET / HTTP/1.0\r\n\r\n");
    fake.ex->host = STR_NONE;
    CHECK({"args", ""}, {"is_args", ""}, {"request_uri", "/"}, {"host", "_"},
          {"server_protocol", "HTTP/1.0"}, {"request_method", "GET"}, {"arg_x", "(absent)"});
    fake_request("GET /? HTTP/1.0\r\n\r\n");
    CHECK({"args", ""}, {"is_args", ""}, {"request_uri", "/?"}, {"arg_x", "(absent)"});
}

static void test_of_the_connection(void **state)
{
    char pid[16];

    (void)state;
    fake_request(REQUEST);
    CHECK({"remote_addr", "10.1.2.3"}, {"remote_port", "4567"}, {"realip_remote_addr", "10.1.2.3"},
          {"realip_remote_port", "4567"}, {"server_addr", "::1"}, {"server_port", "9080"},
          {"connection", "77"}, {"connection_requests", "3"}, {"msec", "1700000000.123"});
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    assert_string_equal(var("pid"), pid);
    /* Another client than the peer (real_ip). */
    struct addr real;
    assert_true(addr_parse(STR("192.0.2.9"), 0, &real));
    fake.ex->client = &real;
    fake.ex->client_text = STR("192.0.2.9");
    CHECK({"remote_addr", "192.0.2.9"}, {"remote_port", "0"}, {"realip_remote_addr", "10.1.2.3"},
          {"realip_remote_port", "4567"});
    struct tls_peer peer = {.name = STR("a.test"), .version = "TLSv1.3", .cipher = "C"};
    CHECK({"https", "(absent)"}, {"ssl_protocol", "(absent)"}, {"ssl_client_verify", "(absent)"});
    fake.stream.tls = &peer;
    CHECK({"https", "on"}, {"scheme", "https"}, {"ssl_protocol", "TLSv1.3"}, {"ssl_cipher", "C"},
          {"ssl_server_name", "a.test"}, {"ssl_session_reused", "."}, {"ssl_client_verify", "NONE"},
          {"ssl_client_s_dn", "(absent)"});
}

static void test_of_the_route(void **state)
{
    struct service service = {.id = STR("s1"), .name = STR("svc")};
    const struct str uris[] = {STR("/a"), STR("/c*")};
    struct route_about about = {
        .id = STR("r1"), .name = STR("rt"), .service = &service, .uris = uris, .nuris = 2};
    struct route route = {.about = &about, .nth = 1};
    struct consumer consumer = {.username = STR("jack"), .group_id = STR("g")};

    (void)state;
    fake_request(REQUEST);
    CHECK({"route_id", "(absent)"}, {"route_name", "(absent)"}, {"service_id", "(absent)"},
          {"service_name", "(absent)"}, {"consumer_name", "(absent)"},
          {"consumer_group_id", "(absent)"}, {"matched_uri", "(absent)"});
    fake.ex->route = &route;
    fake.ex->consumer = &consumer;
    CHECK({"route_id", "r1"}, {"route_name", "rt"}, {"service_id", "s1"}, {"service_name", "svc"},
          {"consumer_name", "jack"}, {"consumer_group_id", "g"}, {"matched_uri", "/c*"});
}

static void test_of_the_response(void **state)
{
    struct exchange *ex = fake.ex;

    (void)state;
    fake_request(REQUEST);
    head_add(&ex->res, NULL, HEADER_OTHER, STR("X-A"), STR("1"));
    head_add(&ex->res, NULL, HEADER_OTHER, STR("x-a"), STR("2"));
    head_add(&ex->res, NULL, HEADER_OTHER, STR("Set-Cookie"), STR("sid=7; Path=/"));
    ex->res_received = 3;
    head_add(&ex->res, NULL, HEADER_CONTENT_TYPE, STR("Content-Type"), STR("text/plain"));
    ex->status = 207;
    ex->body_sent = 12345678901;
    ex->sent_bytes = 12345678999;
    ex->start_us = 5000000 - 1234567;
    CHECK({"status", "207"}, {"body_bytes_sent", "12345678901"}, {"bytes_sent", "12345678999"},
          {"request_time", "1.234"}, {"sent_http_x_a", "1, 2"},
          {"sent_http_content_type", "text/plain"}, {"upstream_http_x_a", "1, 2"},
          {"upstream_cookie_sid", "7"}, {"upstream_cookie_s", "(absent)"},
          {"sent_http_none", "(absent)"}, {"eclusa_reason", "(absent)"});
    ex->ours = true;
    ex->status = 404;
    ex->reason = REASON_NO_ROUTE;
    CHECK({"status", "404"}, {"upstream_http_x_a", "(absent)"}, {"sent_http_x_a", "1, 2"},
          {"eclusa_reason", "NO_ROUTE"});
}

static void test_of_the_upstream(void **state)
{
    struct pools *pools = pools_new(&fake.worker->thread);
    struct upstream up = {.tls = true};
    struct node node = {.host = STR("up.test")};
    struct exchange *ex = fake.ex;

    (void)state;
    fake_request(REQUEST);
    CHECK({"upstream_addr", "(absent)"}, {"upstream_status", "(absent)"},
          {"upstream_response_time", "(absent)"}, {"upstream_scheme", "http"},
          {"upstream_host", "Shop.test:8080"}, {"upstream_uri", ""}, {"balancer_ip", "(absent)"},
          {"balancer_port", "(absent)"}, {"upstream_unresolved_host", "(absent)"},
          {"upstream_connect_time", "(absent)"}, {"upstream_response_length", "(absent)"});
    ex->pool = pools_get(pools, &fake.client, NULL, STR_NONE, NULL);
    ex->upstream = &up;
    ex->pick.node = &node;
    ex->up_uri = STR("/new");
    ex->up_host_sent = STR("sent");
    ex->try_us = 1000000;
    ex->connect_us = 1500000;
    CHECK({"upstream_addr", "10.1.2.3:4567"}, {"upstream_status", "(absent)"},
          {"upstream_connect_time", "0.500"}, {"upstream_scheme", "https"},
          {"upstream_host", "sent"}, {"upstream_uri", "/new"}, {"balancer_ip", "10.1.2.3"},
          {"balancer_port", "4567"}, {"upstream_unresolved_host", "up.test"});
    ex->header_us = 2000000;
    ex->upstream_end_us = 3250000;
    ex->upstream_status = 201;
    ex->upstream_bytes = 42;
    CHECK({"upstream_status", "201"}, {"upstream_header_time", "1.000"},
          {"upstream_response_time", "2.250"}, {"upstream_response_length", "42"});
    /* Several tries, as nginx shows them. */
    ex->upstream_addrs = STR("10.0.0.1:80");
    ex->upstream_statuses = STR("502");
    ex->upstream_times = STR("0.010");
    CHECK({"upstream_addr", "10.0.0.1:80, 10.1.2.3:4567"}, {"upstream_status", "502, 201"},
          {"upstream_response_time", "0.010, 2.250"});
    ex->header_us = 0; /* the last try failed too: note_try has it */
    CHECK({"upstream_addr", "10.0.0.1:80"}, {"upstream_status", "502"},
          {"upstream_response_time", "0.010"});
    ex->up_tls_set = true;
    CHECK({"upstream_scheme", "http"});
    pools_free(pools);
}

static void test_of_the_body(void **state)
{
    (void)state;
    fake_post("application/x-www-form-urlencoded", NULL);
    CHECK({"request_body", "(absent)"}, {"post_arg_a", "(absent)"});
    assert_int_equal(fake.ex->body_wanted, 65536);
    fake_post("application/x-www-form-urlencoded", "a=1&b=x%20y+z&c&a=2&=9&&d=");
    CHECK({"request_body", "a=1&b=x%20y+z&c&a=2&=9&&d="}, {"post_arg_a", "1"},
          {"post_arg_b", "x y z"}, {"post_arg_c", "true"}, {"post_arg_d", ""},
          {"post_arg_e", "(absent)"}, {"post_arg_", "(absent)"}, {"post_arg.a", "[\"1\",\"2\"]"},
          {"post_arg.b", "x y z"}, {"post_arg.a[1]", "[\"2\"]"}, {"post_arg.a.b", "(absent)"});
    fake_post("text/plain", "a=1");
    CHECK({"post_arg_a", "(absent)"}, {"post_arg.a", "(absent)"});
}

static void test_of_json_bodies(void **state)
{
    (void)state;
    fake_post("application/json; charset=utf-8",
              "{\"model\":{\"name\":\"m\"},\"n\":5,\"f\":1.5,\"t\":true,\"x\":null,\"s\":\"\","
              "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]},"
              "{\"role\":\"x\"}]}");
    CHECK({"post_arg.model.name", "m"}, {"post_arg.model", "{\"name\":\"m\"}"}, {"post_arg.n", "5"},
          {"post_arg.f", "1.5"}, {"post_arg.t", "true"}, {"post_arg.x", "null"}, {"post_arg.s", ""},
          {"post_arg.none", "(absent)"}, {"post_arg.n.x", "(absent)"},
          {"post_arg.messages[*].role", "[\"user\",\"x\"]"}, {"post_arg.messages.0", "(absent)"},
          {"post_arg..type", "(absent)"}, {"post_arg.messages..type", "[\"text\"]"},
          {"post_arg.messages[*].none", "(absent)"}, {"post_arg_n", "(absent)"},
          {"post_arg.messages[", "(absent)"});
    assert_string_equal(value("$post_arg.model.name-${post_arg.none ?? no}"), "m-no");
    fake_post("application/json", "{\"a\":");
    CHECK({"post_arg.a", "(absent)"});
    fake_post("application/json", "[{\"a\":1}]");
    CHECK({"post_arg.a", "(absent)"}, {"post_arg[0].a", "(absent)"}, {"post_arg.[0].a", "(absent)"},
          {"post_arg.*.a", "[1.0]"});
    fake.config.post_arg_max = 5;
    fake_post("application/json", "{\"a\":1}");
    CHECK({"post_arg.a", "(absent)"});
}

/* As many values as are read, and one more; commas in texts are none. What is around them counts as
 * 17. */
static void test_of_many_values(void **state)
{
    enum { VALUES = 1 << 20 };

    (void)state;
    for (int more = 0; more < 3; more++) {
        size_t values = (size_t)VALUES - 17 + (more == 1), n = 0;
        char *body = mem_alloc(2 * values + 64);
        n += (size_t)snprintf(body, 64, "{\"a\":\"x\",\"l\":%s", more == 2 ? "\"" : "[");
        memset(body + n, more == 2 ? ',' : '0', 2 * values);
        for (size_t i = 1; more != 2 && i < 2 * values; i += 2)
            body[n + i] = ',';
        n += 2 * values;
        memcpy(body + n, more == 2 ? "\"}" : "0]}", 4 - (more == 2));
        fake.config.post_arg_max = 1 << 26;
        fake_post("application/json", body);
        assert_string_equal(var("post_arg.a"), more == 1 ? "(absent)" : "x");
        free(body);
    }
}

/* An empty object is written in two bytes and takes more than two hundred. */
static void test_of_many_objects(void **state)
{
    (void)state;
    for (int more = 0; more < 2; more++) {
        size_t objects = (1 << 20) / 9 - (more ? 0 : 2), n = 0;
        char *body = mem_alloc(3 * objects + 64);
        n += (size_t)snprintf(body, 64, "{\"a\":\"x\",\"l\":[");
        for (size_t i = 0; i < objects; i++, n += 3)
            memcpy(body + n, "{},", 3);
        memcpy(body + n, "0]}", 4);
        fake.config.post_arg_max = 1 << 26;
        fake_post("application/json", body);
        assert_string_equal(var("post_arg.a"), more ? "(absent)" : "x");
        free(body);
    }
}

static void test_of_multipart_bodies(void **state)
{
    (void)state;
    fake_post(
        "multipart/form-data; boundary=\"b=1\"",
        "preamble\r\n--b=1\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nopenai\r\n"
        "--b=1\r\ncontent-disposition: form-data; name=file; filename=\"a;b\"\r\n"
        "Content-Type: text/plain\r\n\r\nline 1\r\n--b=12\r\nline 3\r\n--b=1--\r\nepilogue");
    CHECK({"post_arg.model", "openai"}, {"post_arg.file", "line 1\r\n--b=12\r\nline 3"},
          {"post_arg.none", "(absent)"}, {"post_arg_model", "(absent)"});
    fake_post("multipart/form-data; boundary=testboundary",
              "--testboundary\nContent-Disposition: form-data; name=\"model\"\n\nopenai\n"
              "--testboundary--\n");
    CHECK({"post_arg.model", "openai"});
    fake_post("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"a");
    CHECK({"post_arg.a", "(absent)"});
    fake_post("multipart/form-data; boundary=b", "--b\n--b\n\n--b--");
    CHECK({"post_arg.a", "(absent)"});
    fake_post("multipart/form-data", "--b\n");
    CHECK({"post_arg.a", "(absent)"});
}

static void test_of_graphql_bodies(void **state)
{
    (void)state;
    fake_post("application/graphql", "query getRepo { owner { name } repo { created } }");
    CHECK({"graphql_operation", "query"}, {"graphql_name", "getRepo"},
          {"graphql_root_fields", "[\"owner\",\"repo\"]"}, {"graphql_other", "(absent)"});
    fake_post("application/json", "{\"query\": \"mutation { a }\"}");
    CHECK({"graphql_operation", "mutation"}, {"graphql_name", ""},
          {"graphql_root_fields", "[\"a\"]"}, {"post_arg.query", "mutation { a }"});
    fake_post("application/json", "{\"query\": 1}");
    CHECK({"graphql_operation", "(absent)"}, {"graphql_root_fields", "(absent)"});
    fake_post("application/graphql", "no graphql");
    CHECK({"graphql_operation", "(absent)"});
    fake.config.graphql_max = 5;
    fake_post("application/graphql", "{ abc }");
    CHECK({"graphql_operation", "(absent)"});
    fake_post("application/graphql", "{ a }");
    CHECK({"graphql_operation", "query"});
}

/* What a plugin put in the body's place is read, and what was read of a body outlives it. */
static void test_of_replaced_bodies(void **state)
{
    (void)state;
    fake_post("application/json", "{\"a\":\"old\"}");
    CHECK({"post_arg.a", "old"});
    buf_fini(&fake.ex->body);
    fake.ex->body_kept = false;
    CHECK({"post_arg.a", "old"});
    request_body_set(fake.ex, STR("{\"a\":\"new\"}"));
    CHECK({"post_arg.a", "new"});
}

static void test_given_by_plugins(void **state)
{
    (void)state;
    fake_request("GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: theirs\r\n\r\n");
    char id[40];
    snprintf(id, sizeof(id), "%s", var("request_id"));
    assert_int_equal(strspn(id, "0123456789abcdef"), 32);
    assert_int_equal(strlen(id), 32);
    assert_string_equal(var("request_id"), id);
    assert_string_equal(var("apisix_request_id"), id);
    CHECK({"mine", "(absent)"}, {"request_type", "traditional_http"}, {"llm_model", ""},
          {"llm_prompt_tokens", "0"}, {"llm_stream", "false"});
    var_set(fake.ex, STR("llm_model"), STR("m"));
    CHECK({"llm_model", "m"});
    var_set(fake.ex, STR("mine"), STR("1"));
    var_set(fake.ex, STR("mine"), STR("2"));
    var_set(fake.ex, STR("apisix_request_id"), STR("ours"));
    var_set(fake.ex, STR("uri"), STR("/forged")); /* what the table knows stays */
    CHECK({"mine", "2"}, {"apisix_request_id", "ours"}, {"uri", "/"});
    assert_string_equal(var("request_id"), id);
    assert_string_equal(value("$mine/${mine}"), "2/2");
}

static void test_times(void **state)
{
    (void)state;
    fake_request(REQUEST);
    setenv("TZ", "UTC", 1);
    tzset();
    CHECK({"time_local", "14/Nov/2023:22:13:20 +0000"},
          {"time_iso8601", "2023-11-14T22:13:20+00:00"});
    /* A second is formatted once; the next one anew. */
    fake.worker->thread.loop.wall_ms += 1000;
    CHECK({"time_local", "14/Nov/2023:22:13:21 +0000"},
          {"time_iso8601", "2023-11-14T22:13:21+00:00"});
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_forms),
        TEST(test_nginx_names),
        TEST(test_many_parts),
        TEST(test_constant),
        TEST(test_escaped),
        TEST(test_build),
        TEST(test_of_the_request),
        TEST(test_of_the_connection),
        TEST(test_of_the_route),
        TEST(test_of_the_response),
        TEST(test_of_the_upstream),
        TEST(test_of_the_body),
        TEST(test_of_json_bodies),
        TEST(test_of_many_values),
        TEST(test_of_many_objects),
        TEST(test_of_multipart_bodies),
        TEST(test_of_graphql_bodies),
        TEST(test_of_replaced_bodies),
        TEST(test_given_by_plugins),
        TEST(test_times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
