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
