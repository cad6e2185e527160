# SPDX-License-Identifier: Apache-2.0
"""Which route a request gets, over real sockets: the three routers, parameters, and how paths and hosts are read."""
import pytest

pytestmark = [pytest.mark.asan]

PARAMS = {"apisix": {"router": {"http": "radixtree_uri_with_parameter"}}}


def marked(name, *variables):
    """A plugin that says which route it was, and what variables are there."""
    return {"response-rewrite": {"headers": {"set": {"X-Route": name, **{f"X-{v.replace('_', '-').strip(':')}": f"${v}"
                                                                            for v in variables}}}}}


def routed(gw, path, method="GET", headers=(), body=None):
    reply = gw.request(method, path, headers, body)
    return reply.headers.get("X-Route") if reply.status != 404 else None


@pytest.mark.quick
def test_parameters(make_gw, upstream):
    gw = make_gw(**PARAMS)
    gw.route("/user/:name/*rest", upstream, marked("rest", "uri_param_name", "uri_param_rest", "uri_param__path"))
    gw.route("/user/:name", upstream, marked("name", "uri_param_name", "uri_param_other"))
    gw.route("/user/root", upstream, marked("root"))
    gw.route("/name/:name/bar", upstream, marked("bar"))
    reply = gw.get("/user/with%20space")
    assert (reply.headers.get("X-Route"), reply.headers.get("X-uri-param-name")) == ("name", "with space")
    assert not reply.headers.get("X-uri-param-other")
    reply = gw.get("/user/ann/a/b?x")
    assert reply.headers.get("X-uri-param-name") == "ann" and reply.headers.get("X-uri-param-rest") == "a/b"
    assert reply.headers.get("X-uri-param--path") == "/user/:name/*rest"
    assert routed(gw, "/user/root") == "root"
    assert routed(gw, "/user/ann/") == "rest"
    assert routed(gw, "/user/") is None
    assert routed(gw, "/name/json/bar") == "bar"
    assert routed(gw, "/name/json/foo") is routed(gw, "/name//bar") is routed(gw, "/name/json/") is None


def test_colon_is_a_colon_without_parameters(gw, upstream):
    gw.route("/user/:name", upstream, marked("literal"))
    gw.route("/files/*path", upstream, marked("files", "uri_param_path"))
    assert routed(gw, "/user/:name") == "literal"
    assert routed(gw, "/user/ann") is None
    assert gw.get("/files/a/b").headers.get("X-uri-param-path") == "a/b"


def test_service_hosts_with_parameters(make_gw, upstream):
    gw = make_gw(**PARAMS)
    gw.put("services/1", {"hosts": ["bar.com"]})
    gw.route("/:name/hello", upstream, marked("bar"), service_id="1")
    gw.route("/:name/hello", upstream, marked("any"), priority=-1)
    assert routed(gw, "/john/hello", headers={"Host": "www.foo.com"}) == "any"
    assert routed(gw, "/john/hello", headers={"Host": "bar.com"}) == "bar"


def test_encoded_slash(make_gw, upstream):
    gw = make_gw(apisix={"router": {"http": "radixtree_uri_with_parameter"}, "match_uri_encoded_slash": True})
    gw.route("/blog/:name", upstream, marked("one", "uri_param_name", "uri"))
    gw.route("/blog/cat/dog", upstream, marked("two"))
    reply = gw.get("/blog/cat%2fdog")
    assert (reply.headers.get("X-Route"), reply.headers.get("X-uri-param-name")) == ("one", "cat%2Fdog")
    assert reply.headers.get("X-uri") == "/blog/cat/dog"
    assert upstream.requests[0].target == "/blog/cat%2fdog"
    assert routed(gw, "/blog/cat/dog") == "two"
    # More than decoding would be needed: no slash is kept, so that none hides a dot segment.
    assert routed(gw, "/blog/x%2f..%2fcat/dog") == "two"
    assert routed(gw, "/blog//cat%2fdog") == "two"


def test_servlet_paths(make_gw, upstream):
    gw = make_gw(apisix={"normalize_uri_like_servlet": True})
    gw.route("/a/b", upstream, marked("plain", "uri"))
    reply = gw.get("/a;v=1/b;jsessionid=2?q")
    assert (reply.headers.get("X-Route"), reply.headers.get("X-uri")) == ("plain", "/a/b")
    assert upstream.requests[0].target == "/a;v=1/b;jsessionid=2?q"
    for path in ("/x/..;/a/b", "/.;/a/b", "/;x/a/b", "/x/%252e%252e;/a/b", "/x/%2e%2e;/a/b"):
        assert gw.get(path).status == 400, path


@pytest.mark.parametrize("router, want", [("radixtree_host_uri", "six"), ("radixtree_uri", "six")])
def test_hosts_with_colons(make_gw, upstream, router, want):
    gw = make_gw(apisix={"router": {"http": router}})
    gw.route("/*", upstream, marked("six"), host="[::1]")
    gw.route("/*", upstream, marked("port"), host="a.com:8080")
    gw.route("/*", upstream, marked("rest"), priority=-1)
    assert routed(gw, "/", headers={"Host": "[::1]"}) == want
    # Only routers that see the path first compare a port, and then the whole header.
    by_uri = router == "radixtree_uri"
    assert routed(gw, "/", headers={"Host": "a.com:8080"}) == ("port" if by_uri else "rest")
    assert routed(gw, "/", headers={"Host": "a.com:80"}) == "rest"
    assert routed(gw, "/", headers={"Host": "[::1]:9080"}) == ("rest" if by_uri else "six")


def test_any_host_takes_requests_without_one(gw, upstream):
    gw.route("/*", upstream, marked("star"), host="*")
    gw.route("/*", upstream, marked("none"), priority=100)
    with gw.connect() as w:
        w.send(b"GET / HTTP/1.0\r\n\r\n")
        assert w.response().headers.get("X-Route") == "star"


# --- bodies that routes ask about

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


def by_vars(gw, upstream, **named):
    """A route for each name, with these vars; and one behind them that takes all."""
    for name, vars in named.items():
        gw.route("/*", upstream, marked(name), vars=vars, priority=1)
    gw.route("/*", upstream, marked("rest"))


@pytest.mark.quick
def test_routed_by_body(gw, upstream):
    by_vars(gw, upstream, form=[["post_arg_name", "==", "json"]], openai=[["post_arg.model", "==", "openai"]],
            image=[["post_arg.messages[*].content[*].type", "has", "image_url"]],
            stream=[["post_arg.stream", "==", True]], many=[["post_arg.tag", "has", "b"]])
    assert routed(gw, "/", "POST", FORM, b"name=json") == "form"
    assert routed(gw, "/", "POST", FORM, b"model=openai&a=1") == "openai"
    assert routed(gw, "/", "POST", FORM, b"tag=a&tag=b") == "many"
    assert routed(gw, "/", "POST", JSON, b'{"model": "openai"}') == "openai"
    assert routed(gw, "/", "POST", JSON, b'{"stream": true}') == "stream"
    assert routed(gw, "/", "POST", JSON, b'{"stream": "true"}') == "rest"
    assert routed(gw, "/", "POST", JSON, b'{"messages":[{"content":[{"type":"image_url"}]}]}') == "image"
    assert routed(gw, "/", "POST", JSON, b'{"messages":') == "rest"
    assert routed(gw, "/", "POST", {"Content-Type": "text/plain"}, b'{"model": "openai"}') == "rest"
    multipart = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nopenai\r\n--b--\r\n'
    assert routed(gw, "/", "POST", {"Content-Type": "multipart/form-data; boundary=b"}, multipart) == "openai"
    assert routed(gw, "/") == "rest"
    assert [r.body for r in upstream.requests[:3]] == [b"name=json", b"model=openai&a=1", b"tag=a&tag=b"]


def test_routed_by_graphql(gw, upstream):
    by_vars(gw, upstream, repo=[["graphql_operation", "==", "query"], ["graphql_name", "==", "getRepo"],
                                ["graphql_root_fields", "has", "owner"]])
    query = "query getRepo { owner { name } repo { created } }"
    assert routed(gw, "/graphql", "POST", {"Content-Type": "application/graphql"}, query.encode()) == "repo"
    assert routed(gw, "/graphql", "POST", JSON, b'{"query": "%s"}' % query.encode()) == "repo"
    assert routed(gw, "/graphql?query=" + query.replace(" ", "%20")) == "repo"
    assert routed(gw, "/graphql", "POST", JSON, b'{"query": "query getRepo { repo }"}') == "rest"
    assert routed(gw, "/graphql", "PUT", JSON, b'{"query": "%s"}' % query.encode()) == "rest"


def test_body_in_pieces(gw, upstream):
    """The match waits for a body that comes slowly, chunked or by length; the upstream gets it whole."""
    by_vars(gw, upstream, openai=[["post_arg.model", "==", "openai"]])
    body = b'{"model":"openai"}'
    framings = (b"Content-Length: %d\r\n\r\n" % len(body) + body,
                b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"1\r\n%c\r\n" % c for c in body) + b"0\r\n\r\n")
    for rest in framings:
        with gw.connect() as w:
            w.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + rest, True)
            assert w.response().headers.get("X-Route") == "openai"
        assert upstream.requests[-1].body == body


def test_no_body_no_wait(gw, upstream):
    """Only a route that gets as far as its body makes the match wait: here the method and a variable before fail."""
    gw.route("/*", upstream, marked("asks"), methods=["PUT"], vars=[["post_arg.a", "==", "1"]], priority=2)
    gw.route("/*", upstream, marked("asks"), vars=[["http_x_ask", "==", "1"], ["post_arg.a", "==", "1"]], priority=1)
    gw.route("/*", upstream, marked("rest"))

    def early(w):
        w.head()
        w.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    upstream.on_connect(early)
    with gw.connect() as w:
        w.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        assert w.response().headers.get("X-Route") == "rest"


def test_body_too_large_to_look_into(make_gw, upstream):
    """It is matched as if nothing were in it, and passes: with a length at once, in chunks when the limit is passed."""
    gw = make_gw(apisix={"max_post_args_readable_size": 1})
    by_vars(gw, upstream, small=[["post_arg.a", "~=", None]])
    pad = b'{"a":"' + b"x" * (1 << 20) + b'"}'
    assert routed(gw, "/", "POST", JSON, b'{"a":"1"}') == "small"
    assert routed(gw, "/", "POST", JSON, pad) == "rest"
    assert upstream.requests[-1].body == pad
    with gw.connect() as w:
        w.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(pad), 65536):
            piece = pad[at:at + 65536]
            w.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        w.send(b"0\r\n\r\n")
        assert w.response().headers.get("X-Route") == "rest"
    assert upstream.requests[-1].body == pad


def test_plugins_that_ask_for_the_body(gw, upstream):
    """Texts and filters of plugins see it too, in every phase: it is there before the first one runs."""
    gw.route("/text", upstream, {"proxy-rewrite": {"headers": {"set": {"X-Model": "$post_arg.model"}}}})
    gw.route("/filter", upstream, {"redirect": {"uri": "/else", "_meta": {"filter": [["post_arg.go", "==", True]]}}})
    gw.route("/late", upstream, marked("late", "post_arg.model"))
    gw.post("/text", b'{"model": "m1"}', JSON)
    assert upstream.requests[-1].headers.get("X-Model") == "m1"
    assert gw.post("/filter", b'{"go": true}', JSON).status == 302
    assert gw.post("/filter", b'{"go": 1}', JSON).status == 200
    assert gw.post("/late", b'{"model": "m2"}', JSON).headers.get("X-post-arg.model") == "m2"
    # The match has had the body, and a filter of the response reads it in another way.
    gw.route("/both", upstream, marked("both", "graphql_name"), vars=[["post_arg.query", "~~", "^query"]])
    assert gw.post("/both", b'{"query": "query q { a }"}', JSON).headers.get("X-graphql-name") == "q"


def test_original_forwarded_headers(gw, upstream):
    """What is not believed can still be read."""
    gw.route("/*", upstream, marked("r", "original_x_forwarded_host", "original_x_forwarded_for", "http_x_forwarded_host"))
    reply = gw.get("/", {"X-Forwarded-Host": "evil", "X-Forwarded-For": "1.2.3.4"})
    assert reply.headers.get("X-original-x-forwarded-host") == "evil"
    assert reply.headers.get("X-original-x-forwarded-for") == "1.2.3.4"
    assert reply.headers.get("X-http-x-forwarded-host") == upstream.requests[0].headers.get("X-Forwarded-Host") != "evil"


def test_routes_by_what_the_gateway_says_of_the_client(gw, upstream):
    """As in APISIX: X-Forwarded-Proto, -Host and -Port are set before the match, over what nobody vouches for."""
    by_vars(gw, upstream, plain=[["http_x_forwarded_proto", "==", "http"], ["http_x_forwarded_port", "==", "81"],
                                 ["http_x_forwarded_host", "==", "a.example:81"]])
    lies = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil", "X-Forwarded-Port": "1"}
    assert routed(gw, "/", headers={"Host": "a.example:81", **lies}) == "plain"
    assert routed(gw, "/", headers={"Host": "a.example:82", **lies}) == "rest"


def test_client_that_leaves_while_the_match_waits(gw, upstream):
    by_vars(gw, upstream, a=[["post_arg.a", "==", "1"]])
    with gw.connect() as w:
        w.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
    assert " 400 " in gw.wait_access_log(1)[0] and upstream.requests == []


def test_post_arg_paths_are_checked(gw, upstream):
    for key, why in (("messages[.content[*].type", "near \\\"[.content[*].type\\\""), ("model-name", "near \\\"-name\\\"")):
        reply = gw.admin("PUT", "routes/1", {"uri": "/*", "vars": [[[f"post_arg.{key}", "has", "x"]]],
                                             "upstream": {"type": "roundrobin", "nodes": {upstream.node: 1}}})
        assert reply.status == 400
        assert f"failed to validate the 'vars' expression: invalid expression \\\"$.{key}\\\" {why}" in reply.text


def test_client_that_waits_to_be_asked_for_the_body(gw, upstream):
    by_vars(gw, upstream, openai=[["post_arg.model", "==", "openai"]])
    body = b'{"model":"openai"}'
    with gw.connect() as w:
        w.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
               b"Content-Length: %d\r\n\r\n" % len(body))
        assert w.head().status == 100
        w.send(body)
        assert w.response().headers.get("X-Route") == "openai"
    assert upstream.requests[-1].body == body


def test_body_that_does_not_come(make_gw, upstream):
    gw = make_gw(nginx_config={"http": {"client_body_timeout": "1s"}})
    by_vars(gw, upstream, a=[["post_arg.a", "==", "1"]])
    with gw.connect() as w:
        w.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        assert w.response().status == 408
    assert upstream.requests == []


def test_consumers_plugins_that_ask_for_the_body(gw, upstream):
    """The consumer is known only after the first plugins have run: its plugins wait for the body then."""
    gw.put("consumers", {"username": "ann", "plugins": {
        "key-auth": {"key": "k"}, "response-rewrite": {"headers": {"set": {"X-Model": "$post_arg.model"}}}}})
    gw.route("/*", upstream, {"key-auth": {}})
    with gw.connect() as w:
        w.send(b"POST / HTTP/1.1\r\nHost: a\r\napikey: k\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n")
        w.send(b'{"model":"m"}', True)
        assert w.response().headers.get("X-Model") == "m"
    assert upstream.requests[-1].body == b'{"model":"m"}'


def test_retry_of_a_request_whose_body_was_held(gw, make_upstream):
    good, bad = make_upstream(), make_upstream()
    by_vars(gw, good, none=[["post_arg.none", "==", "1"]])
    gw.put("routes/9", {"uri": "/*", "priority": 9, "vars": [["post_arg.a", "==", "1"]], "upstream": {
        "type": "roundrobin", "retries": 1, "nodes": [
            {"host": "127.0.0.1", "port": bad.port, "weight": 1, "priority": 1},
            {"host": "127.0.0.1", "port": good.port, "weight": 1, "priority": 0}]}})
    bad.stop()
    assert gw.request("PUT", "/", JSON, b'{"a": "1"}').status == 200
    assert good.requests[-1].body == b'{"a": "1"}'
