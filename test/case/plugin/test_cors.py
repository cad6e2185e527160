# SPDX-License-Identifier: Apache-2.0
"""cors: which origins get the headers, and what they say."""
import pytest

pytestmark = [pytest.mark.asan]
NAMES = ("Allow-Origin", "Allow-Methods", "Allow-Headers", "Expose-Headers", "Max-Age", "Allow-Credentials")
ALL = "GET,POST,PUT,DELETE,PATCH,HEAD,OPTIONS,CONNECT,TRACE"


def cors(r):
    """The Access-Control headers in the order of NAMES; None where there is none."""
    found = [r.headers.all("Access-Control-" + name) for name in NAMES]
    assert all(len(values) < 2 for values in found)
    return [values[0] if values else None for values in found]


def ask(bench, conf, origin=None, headers=(), **others):
    base = bench.route({"cors": conf, **{k.replace("_", "-"): v for k, v in others.items()}})
    return bench.get(base + "/a", [*headers, *([("Origin", origin)] if origin else [])])


@pytest.mark.quick
def test_default(bench):
    for origin in (None, "http://a.com"):
        r = ask(bench, {}, origin)
        assert r.status == 200 and cors(r) == ["*", "*", "*", None, "5", None] and "Vary" not in r.headers


SPECIFIED = {"allow_origins": "http://sub.domain.com,http://sub2.domain.com", "allow_methods": "GET,POST",
             "allow_headers": "headr1,headr2", "expose_headers": "ex-headr1,ex-headr2", "max_age": 50, "allow_credential": True}
REST = ["GET,POST", "headr1,headr2", "ex-headr1,ex-headr2", "50", "true"]
NOTHING = [None] * 6


@pytest.mark.quick
@pytest.mark.parametrize("more, origin, allowed", [
    ({}, "http://sub2.domain.com", True), ({}, "http://sub3.domain.com", False), ({}, None, False),
    ({"allow_origins": "http://sub.domain.com"}, "http://sub.domain.com", True),
    ({"allow_origins": "http://sub.domain.com"}, "http://other.com", False),
    ({"allow_origins": "null"}, "null", True),
    ({"allow_origins_by_regex": [".*\\.test.com$", ".*\\.example.org$"]}, "http://foo.example.org", True),
    ({"allow_origins_by_regex": [".*\\.test.com$"]}, "http://a.test2.com", False),
    ({"allow_origins_by_regex": [".*\\.test.com$"]}, "http://sub.domain.com", False),
    ({"allow_origins_by_regex": [".*"]}, None, False),
    ({"allow_origins_by_metadata": ["key_1"]}, "http://sub.domain.com", True),
    ({"allow_origins_by_metadata": ["key_1"]}, "http://sub3.domain.com", False),
])
def test_specified(bench, more, origin, allowed):
    bench.up.on("*").reply(200, "ok", {"Vary": "Via"})
    r = ask(bench, {**SPECIFIED, **more}, origin)
    assert cors(r) == ([origin, *REST] if allowed else NOTHING)
    assert ", ".join(r.headers.all("Vary")) == "Via, Origin"


def test_regex_beside_star(bench):
    r = ask(bench, {"allow_origins_by_regex": [".*\\.domain.com$"]}, "http://sub.domain.com")
    assert r.headers.get("Access-Control-Allow-Origin") == "http://sub.domain.com" and r.headers.all("Vary") == ["Origin"]
    assert cors(ask(bench, {"allow_origins_by_regex": [".*\\.domain.com$"]}, "http://sub.test.com")) == NOTHING
    assert cors(ask(bench, {"allow_origins_by_metadata": ["key_1"]}, "http://sub.test.com")) == NOTHING


@pytest.mark.quick
def test_forced(bench):
    conf = {"allow_origins": "**", "allow_methods": "**", "allow_headers": "**", "expose_headers": "*"}
    r = ask(bench, conf, "https://sub.domain.com", [("Access-Control-Request-Headers", "req-header1,req-header2")])
    assert cors(r) == ["https://sub.domain.com", ALL, "req-header1,req-header2", "*", "5", None]
    assert r.headers.all("Vary") == ["Origin"]
    assert cors(ask(bench, conf)) == ["*", ALL, None, "*", "5", None]


@pytest.mark.quick
def test_preflight(bench):
    base = bench.route({"cors": {"allow_origins": "**", "allow_headers": "**"}, "key-auth": {}})
    r = bench.gw.request("OPTIONS", base + "/a", {"Origin": "http://a.com", "Access-Control-Request-Method": "PUT",
                                                  "Access-Control-Request-Headers": "x-a"})
    assert (r.status, r.body) == (200, b"") and cors(r)[:3] == ["http://a.com", "*", "x-a"]
    assert bench.up.requests == []


def test_refusals_have_the_headers_too(bench):
    r = ask(bench, {"allow_origins": "**"}, "https://sub.domain.com", key_auth={})
    assert (r.status, r.json) == (401, {"message": "Missing API key in request"})
    assert cors(r) == ["https://sub.domain.com", "*", "*", None, "5", None]


def test_the_upstreams_headers_are_replaced(bench):
    bench.up.on("*").reply(200, "ok", [("Access-Control-Allow-Origin", "http://x.com"), ("Access-Control-Max-Age", "99")])
    assert cors(ask(bench, {}, "http://a.com")) == ["*", "*", "*", None, "5", None]


def test_the_origin_is_the_clients(bench):
    r = ask(bench, {"allow_origins": "http://a.com"}, "http://a.com", proxy_rewrite={"headers": {"Origin": "http://example.com"}})
    assert r.headers.get("Access-Control-Allow-Origin") == "http://a.com"
    assert bench.up.requests[-1].headers.all("Origin") == ["http://example.com"]


@pytest.mark.parametrize("conf, origin, want", [
    ({"timing_allow_origins": "*"}, "http://a.com", "*"),
    ({"timing_allow_origins": "**"}, "http://a.com", "http://a.com"),
    ({"timing_allow_origins": "http://a.com,http://b.com"}, "http://b.com", "http://b.com"),
    ({"timing_allow_origins": "http://a.com"}, "http://b.com", None),
    ({"timing_allow_origins_by_regex": ["^http://a"]}, "http://a.com", "http://a.com"),
    ({"timing_allow_origins_by_regex": ["^http://a"]}, "http://b.com", None),
    ({}, "http://a.com", None),
])
def test_timing(bench, conf, origin, want):
    assert ask(bench, conf, origin).headers.get("Timing-Allow-Origin") == want


@pytest.mark.parametrize("name", ["allow_origins", "allow_methods", "allow_headers", "expose_headers", "timing_allow_origins"])
def test_star_and_credentials(bench, name):
    conf = {"allow_origins": "http://a.com", "allow_methods": "GET", "allow_headers": "a", "allow_credential": True, name: "*"}
    assert bench.refusal("cors", conf) == "you can not set '*' for other option when 'allow_credential' is true"


def test_configuration(bench):
    assert bench.refusal("cors", {"max_age": "600"}) == 'property "max_age" validation failed: wrong type: expected integer, got string'
    for bad in ("", "*a", "*,http://y.com", "nulll", "http//y.com.uk", "x.com", "https://x.com,y.com.uk", "https://x.com,*"):
        assert bench.refusal("cors", {"allow_origins": bad}).startswith('property "allow_origins" validation failed: failed to match')
    assert bench.refusal("cors", {"allow_origins_by_regex": ["a("]}).startswith("pcre2_compile() failed: missing closing parenthesis")
