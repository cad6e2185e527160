# SPDX-License-Identifier: Apache-2.0
"""proxy-rewrite: what the upstream gets: path and query, method, Host, headers."""
import pytest

import wire

pytestmark = [pytest.mark.asan]


@pytest.mark.quick
@pytest.mark.parametrize("conf, path, want", [
    ({"uri": "/new"}, "/a", "/new"),
    ({"uri": "/new"}, "/a?q=1&a=b%20c", "/new?q=1&a=b%20c"),
    ({"uri": "/new"}, "/a?", "/new"),
    ({"uri": "/new?x=1"}, "/a?q=1", "/new?x=1&q=1"),
    ({"uri": "/$arg_to/${http_x_none}/${http_x_none ?? rest}"}, "/a?to=hello", "/hello//rest?to=hello"),
    ({"uri": "/a b\"{c}"}, "/a", "/a%20b%22%7Bc%7D"),
    # A question mark that the client encoded stays part of the path; a variable's is encoded once more, as in APISIX.
    ({"host": "x.example"}, "/hello%3f0z=700%26a=c%20HTTP/1.1%0D%0AHost:x", "{base}/hello%3F0z=700&a=c%20HTTP/1.1%0D%0AHost:x"),
    ({"uri": "/$uri/remain"}, "/hello%3f0%0d%0a", "/{base}/hello%253F0%0D%0A/remain"),
    ({"host": "x.example"}, "/a/./b//../c%20d?x=%20", "{base}/a/c%20d?x=%20"),
])
def test_uri(bench, conf, path, want):
    request = bench.seen(path=path, proxy_rewrite=conf)
    assert request.target == want.replace("{base}", request.base)
    assert "X" not in request.headers and len(request.headers.all("Host")) == 1


@pytest.mark.quick
@pytest.mark.parametrize("pairs, path, want", [
    (["^/case\\d+/test/(.*)/(.*)/(.*)", "/$1_$2_$3?a=c"], "/test/plugin/proxy/rewrite", "/plugin_proxy_rewrite?a=c"),
    (["^/case\\d+/test/(.*)/(.*)/(.*)", "/$1_$2_$3?a=c"], "/test/a/b/c?d=e", "/a_b_c?a=c&d=e"),
    (["/one(/.*)", "/first$1", "/two(/.*)", "/second$1", "two", "never"], "/two/x", "{base}/second/x"),
    (["nowhere", "/new"], "/a%20b?c", "{base}/a%20b?c"),
    (["^/case\\d+/(.*)", "$1"], "/bare", "/bare"),
    (["^.*/(.*)", "/${1}1$$"], "/x", "/x1$"),
    (["^.*(/reflect.*)", "/to?orig=$1"], "/reflect%0d%0aX-Injected:pwn", "/to?orig=/reflect%0D%0AX-Injected:pwn"),
    (["^.*(/q.*)", "/to?orig=$1"], "/q%3Fa b".replace(" ", "%20"), "/to%3Forig=/q%3Fa%20b"),
])
def test_regex_uri(bench, pairs, path, want):
    request = bench.seen(path=path, proxy_rewrite={"regex_uri": pairs})
    assert request.target == want.replace("{base}", request.base)
    assert "X-Injected" not in request.headers


def test_uri_wins_over_regex_uri(bench):
    assert bench.seen(proxy_rewrite={"uri": "/hello", "regex_uri": [".*", "/no"]}).target == "/hello"


@pytest.mark.parametrize("conf, path, want", [
    ({}, "/a/%2e/b?name=a%20b&x=%E4%B8%AD", "{base}/a/%2e/b?name=a%20b&x=%E4%B8%AD"),
    ({}, "/print%5Furi", "{base}/print%5Furi"),
    ({"uri": "/new"}, "/a?a=1?b=2", "/new?a=1?b=2"),
    ({"uri": "/new?x=1"}, "/a?q=%41", "/new?x=1&q=%41"),
    ({"uri": "/$uri x"}, "/%0d%0a", "/{base}/%0D%0A%20x"),
    ({"regex_uri": ["^/case\\d+(.*)\\?(.*)", "$1?n&$2"]}, "/%61?b=c", "/%61?n&b=c"),
])
def test_unsafe(bench, conf, path, want):
    request = bench.seen(path=path, proxy_rewrite={"use_real_request_uri_unsafe": True, **conf})
    assert request.target == want.replace("{base}", request.base)


@pytest.mark.quick
def test_method_and_host(bench):
    request = bench.seen(proxy_rewrite={"method": "POST", "host": "test.com:6443"})
    assert request.method == "POST" and request.headers.all("Host") == ["test.com:6443"]
    request = bench.seen(method="POST", body="x=1", proxy_rewrite={"method": "PUT"})
    assert request.method == "PUT" and request.body == b"x=1"


def test_scheme(bench, make_upstream, certs):
    up = make_upstream(certs["context"])
    base = bench.route({"proxy-rewrite": {"scheme": "https", "host": "localhost"}},
                       upstream={"type": "roundrobin", "nodes": {up.node: 1}, "tls": {"verify": False}})
    assert bench.get(base + "/a").status == 200 and len(up.requests) == 1


@pytest.mark.quick
@pytest.mark.parametrize("headers", [{"X-Api": "v2", "X-Number": 7, "X-Half": 1.5, "X-Gone": ""},
                                     {"set": {"X-Api": "v2", "X-Number": 7, "X-Half": 1.5, "X-Gone": ""}}])
def test_set(bench, headers):
    seen = bench.seen({"X-Api": "v1", "x-api": "v0", "X-Gone": "1", "X-Kept": "1"}, proxy_rewrite={"headers": headers}).headers
    assert seen.all("X-Api") == ["v2"] and seen.all("X-Number") == ["7"] and seen.all("X-Half") == ["1.5"]
    assert "X-Gone" not in seen and seen.all("X-Kept") == ["1"]


def test_add_set_remove_in_this_order(bench):
    seen = bench.seen([("test", "one"), ("test", "two"), ("hello", "word")], proxy_rewrite={"headers": {
        "add": {"test": "123", "both": "added", "new": ["a", 2], "late": "x"}, "set": {"both": "set", "many": ["v1", "v2"]},
        "remove": ["HELLO", "late"]}}).headers
    assert seen.all("test") == ["one", "two", "123"] and seen.all("both") == ["set"]
    assert seen.all("new") == ["a", "2"] and seen.all("many") == ["v1", "v2"]
    assert "hello" not in seen and "late" not in seen


def test_variables_and_captures_in_headers(bench):
    base = bench.route({"proxy-rewrite": {"regex_uri": ["^/case\\d+/test/(.*)/(no)?(.*)", "/echo"], "headers": {
        "set": {"x-api": "$remote_addr", "x-name": "<${arg_name}>", "x-none": "$arg_none", "x-many": ["cap-$1", "$http_x_src"]},
        "add": {"x-all": "${1}/$2/$3/$4-\\$1"}}}})
    assert bench.get(base + "/test/plugin/rewrite?name=Bill", {"x-src": "from-src", "x-none": "1"}).status == 200
    seen = bench.up.requests[-1].headers
    assert seen.all("x-api") == ["127.0.0.1"] and seen.all("x-name") == ["<Bill>"] and "x-none" not in seen
    assert seen.all("x-many") == ["cap-plugin", "from-src"] and seen.all("x-all") == ["plugin//rewrite/-\\$1"]
    assert bench.get(base + "/other").status == 200
    assert bench.up.requests[-1].headers.all("x-all") == ["///-\\$1"], "nothing captured"


@pytest.mark.quick
def test_values_cannot_split_the_head(bench):
    request = bench.seen(path="/a%0d%0aX-Injected:%20pwn", proxy_rewrite={"headers": {
        "set": {"X-Uri": "$uri"}, "add": {"X-Raw": "a\r\nX-Injected: pwn"}}})
    assert request.headers.all("X-Uri") == [request.base + "/a%0D%0AX-Injected: pwn"]
    assert request.headers.all("X-Raw") == ["a%0D%0AX-Injected: pwn"] and "X-Injected" not in request.headers


def test_a_costly_pattern_is_stopped(bench):
    base = bench.route({"proxy-rewrite": {"regex_uri": ["(a+)+$", "/x"]}})
    r = bench.get(base + "/" + "a" * 2000 + "!")
    assert r.status == 500 and r.json["error_msg"].startswith(f"failed to match the uri {base}/aaa")
    assert r.json["error_msg"].endswith("((a+)+$)  : pcre_exec() failed: -47")


@pytest.mark.parametrize("conf, why", [
    ({"uri": "home"}, 'property "uri" validation failed: failed to match pattern "^\\\\/.*" with "home"'),
    ({"method": "GET1"}, 'property "method" validation failed: matches none of the enum values'),
    ({"regex_uri": ["^/test/(.*)"]}, 'property "regex_uri" validation failed: expect array to have at least 2 items'),
    ({"regex_uri": ["a", "b", "c"]}, "The length of regex_uri should be an even number"),
    ({"regex_uri": ["[^/test/(.*)", "/$1"]},
     'invalid regex_uri([^/test/(.*), /$1): pcre2_compile() failed: missing terminating ] for character class in "[^/test/(.*)"'),
    ({"regex_uri": ["ok", "/", "^/test/(.*)", "/$`1"]},
     "invalid regex_uri(^/test/(.*), /$`1): failed to compile the replacement template"),
    ({"headers": {"X-Api:Version": "v2"}}, "invalid field character in header"),
    ({"headers": {"X-Api-Version": "v2\r\n"}}, "invalid value character in header"),
    ({"headers": {"set": {"X Api": "v2"}}}, "invalid field character in header"),
    ({"headers": {"": "v2"}}, "invalid field length in header"),
    ({"headers": {"X-A": ["list"]}}, 'property "headers" validation failed: value should match only one schema, but matches none'),
    ({"headers": {"set": {"X-A": {}}}}, 'property "headers" validation failed: value should match only one schema, but matches none'),
])
def test_configuration(bench, conf, why):
    assert bench.refusal("proxy-rewrite", conf) == why


def test_next_request_of_the_connection(bench):
    base = bench.route({"proxy-rewrite": {"uri": "/one", "headers": {"X-A": "$arg_a"}}})
    with wire.connect(bench.gw.port) as w:
        for i in range(3):
            w.request("GET", f"{base}/a?a={i}")
            assert w.response().status == 200
    assert [r.headers.get("X-A") for r in bench.up.requests[-3:]] == ["0", "1", "2"]


@pytest.mark.parametrize("header", ["X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port"])
def test_what_the_gateway_says_of_the_client_can_be_replaced_or_removed(bench, header):
    assert bench.seen({header: "evil"}, proxy_rewrite={"headers": {"remove": ["X-Other"]}}).headers.get(header) not in (None, "evil")
    assert header not in bench.seen({header: "evil"}, proxy_rewrite={"headers": {"remove": [header.lower()]}}).headers
    assert header not in bench.seen(proxy_rewrite={"headers": {"set": {header: "$http_not_there"}}}).headers
    assert bench.seen({header: "evil"}, proxy_rewrite={"headers": {"set": {header: "ours"}}}).headers.all(header) == ["ours"]
