# SPDX-License-Identifier: Apache-2.0
"""forward-auth: what the service is told, what becomes of its answer, and of none."""
import pytest

pytestmark = [pytest.mark.asan]


@pytest.fixture
def auth(make_upstream):
    return make_upstream()


def conf(auth, **more):
    return {"uri": f"http://{auth.node}/check", **more}


@pytest.mark.quick
def test_what_the_service_is_told(bench, auth):
    base = bench.route({"forward-auth": conf(auth, request_headers=["Authorization", "X-Two", "X-None", "x-forwarded-uri"])})
    r = bench.gw.request("POST", base + "/a/../b?x=%20y", [("Authorization", "Basic Zm9v"), ("X-Two", "1"), ("X-Three", "3"),
                                                           ("X-Forwarded-Uri", "/public"), ("Host", "Shop.example:80")], b"body")
    assert r.status == 200 and bench.up.requests[-1].body == b"body"
    asked = auth.requests[-1]
    assert (asked.method, asked.target, asked.body) == ("GET", "/check", b"")
    assert asked.headers.get("Host") == auth.node
    assert {k: asked.headers.all(k) for k in ("X-Forwarded-Proto", "X-Forwarded-Method", "X-Forwarded-Host", "X-Forwarded-Uri",
                                              "X-Forwarded-For")} == {
        "X-Forwarded-Proto": ["http"], "X-Forwarded-Method": ["POST"], "X-Forwarded-Host": ["shop.example"],
        "X-Forwarded-Uri": [base + "/b?x=%20y"], "X-Forwarded-For": ["127.0.0.1"]}
    assert asked.headers.get("Authorization") == "Basic Zm9v" and asked.headers.get("X-Two") == "1"
    assert "X-Three" not in asked.headers and "X-None" not in asked.headers
    assert "Content-Length" not in asked.headers and "Transfer-Encoding" not in asked.headers


@pytest.mark.quick
def test_post_carries_the_body(bench, auth):
    base = bench.route({"forward-auth": conf(auth, request_method="POST", request_headers=["Content-Type"])})
    body = b"{}" + b" " * 100000
    for chunked in (False, True):
        headers = {"Content-Type": "application/json", "Content-Encoding": "identity"}
        framing = {"chunks": [body[:7], body[7:]]} if chunked else {"body": body}
        assert bench.gw.request("PUT", base + "/a", headers, **framing).status == 200
        asked = auth.requests[-1]
        assert (asked.method, asked.body, asked.headers.get("X-Forwarded-Method")) == ("POST", body, "PUT")
        assert asked.headers.all("Content-Length") == [str(len(body))] and "Transfer-Encoding" not in asked.headers
        assert asked.headers.get("Content-Type") == "application/json" and asked.headers.get("Content-Encoding") == "identity"
        assert bench.up.requests[-1].body == body
    assert bench.get(base + "/a").status == 200
    assert auth.requests[-1].body == b"" and auth.requests[-1].headers.get("Content-Length") == "0"


def test_headers_in_several_lines(bench, auth):
    """The service judges all that the upstream can read."""
    base = bench.route({"forward-auth": conf(auth, request_headers=["X-Role"])})
    assert bench.get(base + "/a", [("X-Role", "user"), ("x-role", "admin")]).status == 200
    assert auth.requests[-1].headers.all("X-Role") == ["user, admin"]


def test_a_body_that_is_too_long(bench, auth):
    base = bench.route({"forward-auth": conf(auth, request_method="POST", max_req_body_size=10)})
    assert bench.gw.request("POST", base + "/a", {}, b"0123456789").status == 200
    assert bench.gw.request("POST", base + "/a", {}, b"0123456789a").status == 413
    assert len(auth.requests) == 1 and len(bench.up.requests) == 1


def test_extra_headers(bench, auth):
    base = bench.route({"forward-auth": conf(auth, request_headers=["X-Who", "X-Own"], extra_headers={
        "X-Own": "fixed", "X-Query": "q=$arg_q;", "x-forwarded-host": "other", "Host": "check.example", "X-Gone": "$http_x_gone"})})
    assert bench.get(base + "/a?q=a%0d%0aX-Evil:%201", {"X-Own": "client", "X-Who": "me"}).status == 200
    asked = auth.requests[-1]
    assert asked.headers.all("X-Own") == ["fixed"] and asked.headers.get("X-Who") == "me"
    assert asked.headers.all("X-Forwarded-Host") == ["other"] and asked.headers.all("Host") == ["check.example"]
    assert asked.headers.get("X-Query").startswith("q=a") and "X-Evil" not in asked.headers
    assert asked.headers.get("X-Gone") == ""


@pytest.mark.quick
def test_a_refusal(bench, auth):
    auth.on("/check").reply(401, {"why": "no token"}, [("Content-Type", "application/json"), ("Location", "/login"), ("X-Hidden", "1"),
                                                       ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("WWW-Authenticate", "Basic")])
    base = bench.route({"forward-auth": conf(auth, client_headers=["Location", "set-cookie", "X-None"])})
    r = bench.get(base + "/a")
    assert (r.status, r.json, r.headers.get("Location")) == (401, {"why": "no token"}, "/login")
    assert r.headers.all("Set-Cookie") == ["a=1", "b=2"]
    assert "X-Hidden" not in r.headers and "WWW-Authenticate" not in r.headers
    assert r.headers.all("Content-Type") == ["text/plain; charset=utf-8"]
    base = bench.route({"forward-auth": conf(auth, client_headers=["Content-Type"])})
    assert bench.get(base + "/a").headers.all("Content-Type") == ["application/json"]
    assert bench.up.requests == []


@pytest.mark.parametrize("status, passes", [(200, True), (204, True), (299, True), (300, False), (302, False), (404, False), (500, False)])
def test_which_answers_let_pass(bench, auth, status, passes):
    auth.on("/check").reply(status, "" if status == 204 else "said")
    r = bench.get(bench.route({"forward-auth": conf(auth)}) + "/a")
    assert (r.status, r.text) == ((200, "ok") if passes else (status, "said"))


def test_headers_for_the_upstream(bench, auth):
    auth.on("/check").reply(200, "", [("X-User", "me"), ("X-Role", "a"), ("X-Role", "b"), ("X-Other", "1")])
    base = bench.route({"forward-auth": conf(auth, upstream_headers=["x-user", "X-Role", "X-Missing"])})
    assert bench.get(base + "/a", [("X-User", "root"), ("X-Missing", "forged"), ("X-Other", "mine"), ("X-Role", "admin")]).status == 200
    seen = bench.up.requests[-1].headers
    assert seen.all("X-User") == ["me"] and seen.all("X-Role") == ["a", "b"] and seen.all("X-Other") == ["mine"]
    assert "X-Missing" not in seen


@pytest.mark.quick
def test_no_answer(bench, auth):
    auth.on("/check").raw(lambda w, request: None)
    assert bench.get(bench.route({"forward-auth": conf(auth)}) + "/a").status == 403
    assert bench.get(bench.route({"forward-auth": conf(auth, status_on_error=503)}) + "/a").status == 503
    assert bench.up.requests == []
    assert bench.get(bench.route({"forward-auth": conf(auth, allow_degradation=True)}) + "/a").text == "ok"
    gone = {"uri": "http://127.0.0.1:1/check"}
    assert bench.get(bench.route({"forward-auth": gone}) + "/a").status == 403
    assert "failed to process forward auth, err: " in bench.gw.log


def test_an_answer_that_is_late(bench, auth):
    auth.on("/check").reply(200, "", delay=5)
    assert bench.get(bench.route({"forward-auth": conf(auth, timeout=100)}) + "/a").status == 403


def test_connections_are_kept_when_asked(bench, auth, make_upstream):
    base = bench.route({"forward-auth": conf(auth)})
    with bench.gw.connect() as c:                       # one client connection: one thread
        for _ in range(5):
            c.request("GET", base + "/a")
            assert c.response().status == 200
    assert auth.connections == 1
    auth = make_upstream()
    base = bench.route({"forward-auth": conf(auth, keepalive=False)})
    with bench.gw.connect() as c:
        for _ in range(3):
            c.request("GET", base + "/a")
            assert c.response().status == 200
    assert auth.connections == 3


def test_consumer_header(bench, auth):
    bench.gw.put("consumers", {"username": "jack", "plugins": {"response-rewrite": {"headers": {"set": {"X-Of": "jack"}}}}})
    base = bench.route({"forward-auth": conf(auth, consumer_header="X-Name"), "ip-restriction": {"whitelist": ["127.0.0.1"]}})
    auth.on("/check").reply(200, "", {"X-Name": "jack"}).reply(200, "", {"X-Name": "nobody"}).reply(200, "")
    r = bench.get(base + "/a", {"X-Consumer-Username": "root"})
    assert (r.status, r.headers.get("X-Of")) == (200, "jack")
    assert bench.up.requests[-1].headers.all("X-Consumer-Username") == ["jack"]
    r = bench.get(base + "/a")
    assert (r.status, r.text) == (403, "consumer not found")
    r = bench.get(base + "/a")
    assert (r.status, r.text) == (403, "consumer header missing in auth response")
    assert len(bench.up.requests) == 1 and len(auth.requests) == 3


def test_certificates_are_checked(bench, make_upstream, certs):
    auth = make_upstream(certs["context"])          # of an authority that the gateway does not know
    https = {"uri": f"https://localhost:{auth.port}/check"}
    checked = bench.route({"forward-auth": https})
    assert bench.get(checked + "/a").status == 403
    assert auth.requests == []
    unchecked = bench.route({"forward-auth": {**https, "ssl_verify": False}})
    with bench.gw.connect() as c:                   # the same thread: what the one keeps is not for the other
        for path, status in ((unchecked, 200), (unchecked, 200), (checked, 403)):
            c.request("GET", path + "/a")
            assert c.response().status == status
    assert (len(auth.requests), auth.connections) == (2, 3)


@pytest.mark.quick
@pytest.mark.parametrize("bad, why", [
    ({}, 'property "uri" is required'),
    ({"uri": "ftp://127.0.0.1/"}, 'uri: "ftp://127.0.0.1/" is not an http or https URL'),
    ({"uri": "http://127.0.0.1/", "request_method": "PUT"}, 'property "request_method" validation failed: matches none of the enum values'),
    ({"uri": "http://127.0.0.1/", "extra_headers": {"a b": "1"}}, "invalid field character in header"),
    ({"uri": "http://127.0.0.1/", "extra_headers": {}}, 'property "extra_headers" validation failed: expect object to have at least 1 properties'),
    ({"uri": "http://127.0.0.1/", "timeout": 0}, 'property "timeout" validation failed: expected 0 to be at least 1'),
    ({"uri": "http://127.0.0.1/", "status_on_error": 199}, 'property "status_on_error" validation failed: expected 199 to be at least 200'),
])
def test_refused_configurations(bench, bad, why):
    assert bench.refusal("forward-auth", bad) == why
