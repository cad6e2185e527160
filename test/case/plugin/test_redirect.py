# SPDX-License-Identifier: Apache-2.0
"""redirect: where a client is sent, and when it is not."""
import pytest

from gw import ports

pytestmark = [pytest.mark.asan]


@pytest.mark.quick
@pytest.mark.parametrize("conf, path, status, location", [
    ({"uri": "/test/add", "ret_code": 301}, "/a?x=1", 301, "/test/add"),
    ({"uri": "$uri/test/add"}, "/a", 302, "{base}/a/test/add"),
    ({"uri": "$uri/test/a${arg_name}c"}, "/a?name=json", 302, "{base}/a/test/ajsonc"),
    ({"uri": "/foo$$uri"}, "/a", 302, "/foo${base}/a"),
    ({"uri": "\\$uri/foo$uri\\$uri/bar"}, "/a", 302, "\\$uri/foo{base}/a\\$uri/bar"),
    ({"uri": "/a\\b\\${uri}${"}, "/a", 302, "/ab{base}/a${"),
    ({"uri": "$uri/$bad_var/bar"}, "/a", 302, "{base}/a//bar"),
    ({"uri": "https://$host$request_uri", "ret_code": 308}, "/a?b=%20", 308, "https://foo.com{base}/a?b=%20"),
    ({"uri": "$uri", "encode_uri": True}, "/with%20space", 302, "{base}/with%20space"),
    ({"uri": "$uri"}, "/a%0d%0aSet-Cookie:%20x", 302, "{base}/a%0D%0ASet-Cookie: x"),
    ({"uri": "$uri", "append_query_string": True}, "/a?name=json", 302, "{base}/a?name=json"),
    ({"uri": "$uri", "append_query_string": True}, "/a", 302, "{base}/a"),
    ({"uri": "$uri?type=string", "append_query_string": True}, "/a?name=json", 302, "{base}/a?type=string&name=json"),
    ({"regex_uri": ["^/case\\d+/test/(.*)", "http://test.com/${1}"], "ret_code": 301}, "/test/1", 301, "http://test.com/1"),
    ({"regex_uri": ["/(one|two)/", "/$1$1/"]}, "/one/x", 302, "{base}/oneone/x"),
    ({"regex_uri": ["^/case\\d+/test/(.*)", "http://test.com/${1}?q=apisix"], "append_query_string": True},
     "/test/hello?o=apache", 302, "http://test.com/hello?q=apisix&o=apache"),
    ({"regex_uri": ["^/case\\d+/(.*)", "http://test.com/${1}"], "encode_uri": True}, "/a%20b", 302, "http://test.com/a%20b"),
])
def test_location(bench, conf, path, status, location):
    base = bench.route({"redirect": conf})
    r = bench.get(base + path, {"Host": "foo.com"})
    assert (r.status, r.headers.all("Location")) == (status, [location.replace("{base}", base)])
    assert bench.up.requests == [] and "Set-Cookie" not in r.headers


def test_no_match_goes_on(bench):
    base = bench.route({"redirect": {"regex_uri": ["^/test/(.*)", "http://test.com/${1}"]}})
    r = bench.get(base + "/hello")
    assert (r.status, r.text) == (200, "ok") and "Location" not in r.headers


@pytest.mark.quick
@pytest.mark.parametrize("sections, port", [
    ({"apisix": {"ssl": {"enable": True}}}, "its own"),
    ({"plugin_attr": {"redirect": {"https_port": 8443}}}, ":8443"),
    ({"plugin_attr": {"redirect": {"https_port": 443}}}, ""),
    ({"plugin_attr": {"redirect": {"https_port": 0}}}, ""),
    ({"apisix": {"ssl": {"enable": False}}}, ""),
])
def test_http_to_https(make_gw, upstream, sections, port):
    if port == "its own":
        number = ports.take()
        port, sections["apisix"]["ssl"]["listen"] = f":{number}", [{"ip": "127.0.0.1", "port": number}]
    gw = make_gw(**sections)
    gw.route("/*", upstream, {"redirect": {"http_to_https": True, "ret_code": 302}})
    for method, status in (("GET", 301), ("HEAD", 301), ("POST", 308)):
        r = gw.request(method, "/a%20b?c=d", {"Host": "foo.com:8080"})
        assert (r.status, r.headers.get("Location")) == (status, f"https://foo.com{port}/a%20b?c=d")
    assert upstream.requests == []


@pytest.mark.parametrize("conf", [{"uri": "$uri"}, {"regex_uri": ["^/case[0-9]+/(.*)", "/$1"]},
                                  {"uri": "$uri", "encode_uri": True}])
def test_not_to_another_host(bench, conf):
    """Browsers take "/\\" for "//", and leave tabs out."""
    base = bench.route({"redirect": conf})
    for path, location in (("/%5cevil.com", "/%5Cevil.com"), ("/%09/evil.com", "/%09/evil.com"),
                           ("/%2Fevil.com", "/evil.com"), ("/a%0D%0AX:%20y", "/a%0D%0AX: y")):
        r = bench.get(base + path)
        if "encode_uri" in conf:
            location = location.replace(" ", "%20")
        assert r.headers.get("Location") == (base if "uri" in conf else "") + location and "X" not in r.headers


def test_not_to_https(bench):
    base = bench.route({"redirect": {"http_to_https": False}})
    assert bench.get(base + "/a").status == 200


@pytest.mark.parametrize("conf, why", [
    ({}, "value should match only one schema, but matches none"),
    ({"http_to_https": True, "uri": "/hello"}, "value should match only one schema, but matches both schemas 1 and 3"),
    ({"http_to_https": True, "append_query_string": True},
     "only one of `http_to_https` and `append_query_string` can be configured."),
    ({"uri": "/"}, 'property "uri" validation failed: string too short, expected at least 2, got 1'),
    ({"uri": "/x", "ret_code": 100}, 'property "ret_code" validation failed: expected 100 to be at least 200'),
    ({"regex_uri": ["a"]}, 'property "regex_uri" validation failed: expect array to have at least 2 items'),
    ({"regex_uri": ["a(b", "c"]},
     'invalid regex_uri (a(b, c), err:pcre2_compile() failed: missing closing parenthesis in "a(b"'),
    ({"regex_uri": ["a", "$b"]}, "invalid regex_uri (a, $b), err:failed to compile the replacement template"),
])
def test_configuration(bench, conf, why):
    assert bench.refusal("redirect", conf) == why
