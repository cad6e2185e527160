# SPDX-License-Identifier: Apache-2.0
"""A head holds 254 lines. What plugins add behind a peer's own lines and finds no room is never lost silently: the
request is refused with 431, the response is replaced by a 502."""
import pytest

import wire

pytestmark = [pytest.mark.asan]

MANY = [(f"X-Client-{i}", "c") for i in range(195)]


def added(n):
    return {f"X-Plugin-{i}": "p" for i in range(n)}


@pytest.fixture
def logging_gw(make_gw):
    return make_gw(eclusa={"max_headers": 200}, nginx_config={"http": {
        "access_log_format": "$status $eclusa_reason $upstream_addr", "access_log_buffer": 0}})


@pytest.mark.quick
def test_request_has_room(logging_gw, upstream):
    """As many as fit arrive, all of them."""
    gw = logging_gw
    gw.route("/*", upstream, {"proxy-rewrite": {"headers": {"set": added(50)}}})
    assert gw.get("/", MANY).status == 200
    names = [name for name, _ in upstream.requests[0].headers]
    assert sum(n.startswith("X-Client-") for n in names) == 195
    assert sum(n.startswith("X-Plugin-") for n in names) == 50


@pytest.mark.quick
@pytest.mark.parametrize("n", [52, 58, 59, 100, 300])
def test_request_without_room(logging_gw, upstream, n):
    """52 would fit into the head, but not with what the gateway adds."""
    gw = logging_gw
    gw.route("/*", upstream, {"proxy-rewrite": {"headers": {"set": added(n)}}, "response-rewrite": {"headers": {"A": "b"}}})
    r = gw.get("/", MANY)
    assert r.status == 431 and r.headers.get("A") == "b", r
    assert gw.wait_access_log(1) == ["431 TOO_MANY_HEADERS -"]
    assert upstream.requests == []
    assert gw.get("/").status == (431 if n == 300 else 200)


def test_identity_without_room(logging_gw, upstream):
    """The name of the consumer is such a header: an upstream that trusts it must not see a request without."""
    gw = logging_gw
    gw.put("consumers/jack", {"username": "jack", "plugins": {"key-auth": {"key": "k"}}})
    gw.put("global_rules/1", {"plugins": {"proxy-rewrite": {"headers": {"set": added(57)}}}})
    gw.route("/*", upstream, {"key-auth": {}})
    assert gw.get("/", [*MANY, ("apikey", "k")]).status == 431
    assert gw.wait_access_log(1) == ["431 TOO_MANY_HEADERS -"]
    assert upstream.requests == []
    assert gw.get("/", [("apikey", "k")]).status == 200
    assert upstream.requests[0].headers.get("X-Consumer-Username") == "jack"


def lines(r, prefix):
    return sum(name.startswith(prefix) for name, _ in r.headers)


def test_response_has_room(gw, upstream):
    upstream.on("/").reply(200, "body", headers=MANY)
    gw.route("/*", upstream, {"response-rewrite": {"headers": {"set": added(50)}}})
    r = gw.get("/")
    assert (r.status, r.text, lines(r, "X-Client-"), lines(r, "X-Plugin-")) == (200, "body", 195, 50)


@pytest.mark.parametrize("n", [58, 59, 100, 300])
def test_response_without_room(logging_gw, upstream, n):
    gw = logging_gw
    upstream.on("/").reply(200, "body", headers=MANY)
    gw.route("/*", upstream, {"response-rewrite": {"headers": {"set": added(n)}}})
    with gw.connect() as w:
        for _ in range(2):                          # the client's connection stays in order
            w.request("GET", "/")
            r = w.response()
            assert r.status == 502 and "body" not in r.text.split("<body>")[0] and not lines(r, "X-"), r
    assert gw.wait_access_log(2)[0].startswith("502 RESPONSE_HEADERS ")


def test_reply_without_room(logging_gw, upstream):
    """Our own replies too: here a redirect."""
    gw = logging_gw
    gw.route("/*", upstream, {"redirect": {"uri": "/b"}, "response-rewrite": {"headers": {"set": added(300)}}})
    r = gw.get("/")
    assert r.status == 502 and "Location" not in r.headers
    assert gw.wait_access_log(1) == ["502 RESPONSE_HEADERS -"]


def test_late_headers(logging_gw, upstream):
    """What a plugin sets before there is a response counts as well (key-auth's refusal, cors)."""
    gw = logging_gw
    upstream.on("/").reply(200, "body", headers=MANY)
    gw.route("/*", upstream, {"limit-count": {"count": 10, "time_window": 60, "rejected_code": 503},
                              "response-rewrite": {"headers": {"set": added(57)}}})
    assert gw.get("/").status == 502
    assert wire.wait_until("the line", lambda: gw.access_log)[0].startswith("502 RESPONSE_HEADERS ")
