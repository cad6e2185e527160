# SPDX-License-Identifier: Apache-2.0
"""Another node after a status: which statuses and methods, how often, and what becomes of the dropped response."""
import pytest

import wire

pytestmark = [pytest.mark.asan]


@pytest.fixture
def bad(make_upstream):
    up = make_upstream()
    up.on("*").reply(503, "busy" * 100, {"X-From": "bad"})
    return up


@pytest.fixture
def good(make_upstream):
    up = make_upstream()
    up.on("*").reply(200, "good", {"X-From": "good"})
    return up


def first(gw, *ups, **fields):
    """The nodes are tried in this order."""
    nodes = [{"host": "127.0.0.1", "port": up.port, "weight": 1, "priority": -i} for i, up in enumerate(ups)]
    gw.route("/*", {"type": "roundrobin", "nodes": nodes, **fields})


@pytest.mark.quick
def test_another_node_answers(gw, bad, good):
    first(gw, bad, good, retry_on={"statuses": [502, 503, 429]})
    reply = gw.get("/x?y", {"X-Mine": "1"})
    assert (reply.status, reply.text, reply.headers.all("X-From")) == (200, "good", ["good"])
    assert [r.target for r in bad.requests] == [r.target for r in good.requests] == ["/x?y"]
    assert good.requests[0].headers.get("X-Mine") == "1"
    line = gw.wait_access_log(1)[0]
    assert f"{bad.node}, {good.node}" in line and "503, 200" in line


@pytest.mark.parametrize("status, want", [(503, 200), (429, 200), (500, 500), (404, 404), (200, 200), (304, 304), (599, 200)])
def test_statuses(gw, make_upstream, good, status, want):
    up = make_upstream()
    up.on("*").reply(status, "x")
    first(gw, up, good, retry_on={"statuses": [429, 503, 599]})
    assert gw.get("/").status == want
    assert len(good.requests) == (1 if want != status else 0)


def test_the_last_response_is_delivered(gw, make_upstream, bad):
    other = make_upstream()
    other.on("*").reply(503, "busy too", {"X-From": "other"})
    first(gw, bad, other, retry_on={"statuses": [503]})
    reply = gw.get("/")
    assert (reply.status, reply.text, reply.headers.get("X-From")) == (503, "busy too", "other")
    assert reply.headers.get("X-APISIX-Upstream-Status") == "503, 503"
    assert (len(bad.requests), len(other.requests)) == (1, 1)


@pytest.mark.parametrize("fields", [{"retries": 0}, {"retry_timeout": 0.05, "retries": 5}])
def test_bounds(gw, make_upstream, good, fields):
    up = make_upstream()
    up.on("*").reply(503, "late", delay=0.2)
    first(gw, up, good, retry_on={"statuses": [503]}, **fields)
    reply = gw.get("/")
    assert (reply.status, reply.text) == (503, "late") and good.requests == []


def test_more_retries_than_nodes(gw, bad, make_upstream):
    other = make_upstream()
    other.on("*").reply(503, "other")
    first(gw, bad, other, retry_on={"statuses": [503]}, retries=9)
    assert gw.get("/").text == "other"


def test_a_name_with_one_node_left(gw, bad):
    first(gw, bad, retry_on={"statuses": [503]}, retries=3)
    reply = gw.get("/")
    assert (reply.status, reply.text) == (503, "busy" * 100)


@pytest.mark.parametrize("method, methods, retried", [
    ("GET", None, True), ("HEAD", None, True), ("PUT", None, True), ("DELETE", None, True), ("OPTIONS", None, True),
    ("POST", None, False), ("PATCH", None, False),
    ("POST", ["POST"], True), ("PATCH", ["POST", "PATCH"], True), ("GET", ["POST"], False),
])
def test_methods(gw, bad, good, method, methods, retried):
    first(gw, bad, good, retry_on={"statuses": [503], **({"methods": methods} if methods else {})})
    body = b"a body" if method in ("PUT", "POST", "PATCH") else None
    reply = gw.request(method, "/", body=body)
    assert reply.status == (200 if retried else 503)
    assert len(good.requests) == retried
    if retried and body:
        assert good.requests[0].body == bad.requests[0].body == body


def test_methods_hold_for_failures_too(gw, make_upstream, good):
    """A POST whose connection is cut is sent again where the operator allows it."""
    cut = make_upstream()
    cut.on("*").raw(lambda w, request: None)
    first(gw, cut, good, retry_on={"methods": ["POST"]})
    assert gw.post("/", b"x").status == 200
    assert gw.get("/").status == 502


def test_a_long_body_is_not_kept(gw, bad, good):
    first(gw, bad, good, retry_on={"statuses": [503]})
    assert gw.request("PUT", "/", body=b"x" * 300000).status == 503
    assert good.requests == []


def test_a_chunked_body_goes_again(gw, bad, good):
    first(gw, bad, good, retry_on={"statuses": [503], "methods": ["POST"]})
    with gw.connect() as w:
        w.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
        assert w.response().text == "good"
    assert good.requests[0].body == b"hello world"


def test_the_body_is_still_coming(gw, make_upstream, good):
    """The first node answers before it has the body; the second one gets all of it."""
    early = make_upstream()

    def refuse(w):
        w.head()
        w.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")
        w.sock.recv(65536)
    early.on_connect(refuse)
    first(gw, early, good, retry_on={"statuses": [503]})
    with gw.connect() as w:
        w.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234")
        wire.wait_until("the second node to be asked", lambda: good.connections == 1)
        w.send(b"56789")
        assert w.response().text == "good"
    assert good.requests[0].body == b"0123456789"


# ---- What is dropped

def connections_after(gw, up, n):
    with gw.connect() as w:
        for _ in range(n):
            w.request("GET", "/")
            assert w.response().status == 200
    return up.connections


@pytest.mark.parametrize("reply", [
    {"body": ""}, {"body": "x" * 20000}, {"chunks": ["a", "b" * 5000]},
])
def test_a_short_response_leaves_the_connection_kept(gw, make_upstream, good, reply):
    up = make_upstream()
    up.on("*").reply(503, **reply)
    first(gw, up, good, retry_on={"statuses": [503]})
    # A new one is made when the rest of the last response has not been read yet.
    assert connections_after(gw, up, 8) < 8


@pytest.mark.parametrize("send", [
    b"HTTP/1.1 503 Busy\r\nContent-Length: 1000000\r\n\r\nstart",
    b"HTTP/1.1 503 Busy\r\n\r\nto the end",
    b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n" + b"x" * 65536 + b"\r\n1\r\nx\r\n",
    b"HTTP/1.1 503 Busy\r\nContent-Length: 10\r\n\r\nhalf",
    b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
])
def test_a_long_or_slow_or_broken_one_is_closed(gw, make_upstream, good, send):
    up = make_upstream()

    def act(w, request):
        w.send(send)
        try:
            while w.sock.recv(1):
                pass
        except OSError:
            pass
    up.on("*").raw(act)
    first(gw, up, good, retry_on={"statuses": [503]})
    assert gw.get("/").text == "good"
    up.wait("the connection to be closed", lambda u: u.open == 0, 5)


def test_stop_while_one_is_read_to_nothing(make_gw, make_upstream, good):
    gw = make_gw()
    up = make_upstream()
    up.on("*").reply(503, chunks=["a"] * 5, gap=0.3)
    first(gw, up, good, retry_on={"statuses": [503]})
    assert gw.get("/").text == "good"


def test_the_gateway_does_not_wait_for_the_rest(gw, make_upstream, good):
    up = make_upstream()
    up.on("*").reply(503, chunks=["a", "b"], gap=20)
    first(gw, up, good, retry_on={"statuses": [503]})
    assert gw.get("/").text == "good"


# ---- With others

def test_before_proxy_runs_again_and_filters_once(gw, bad, good):
    gw.put("routes/9", {"uri": "/*", "plugins": {"response-rewrite": {"headers": {"add": ["X-Seen: $upstream_addr"]}}},
                        "upstream": {"type": "roundrobin", "retry_on": {"statuses": [503]}, "nodes": [
                            {"host": "127.0.0.1", "port": bad.port, "weight": 1, "priority": 1},
                            {"host": "127.0.0.1", "port": good.port, "weight": 1}]}})
    reply = gw.get("/")
    assert reply.text == "good" and reply.headers.all("X-Seen") == [f"{bad.node}, {good.node}"]


def test_with_least_conn(gw, bad, good):
    nodes = {bad.node: 100, good.node: 1}
    gw.route("/*", {"type": "least_conn", "nodes": nodes, "retry_on": {"statuses": [503]}})
    for _ in range(6):
        assert gw.get("/").text == "good"
    assert len(bad.requests) == 6


@pytest.mark.parametrize("retry_on, words", [
    ({"statuses": [399]}, "expected 399 to be at least 400"), ({"statuses": []}, "expect array to have at least 1 items"),
    ({"statuses": [503, 503]}, "expected unique items"), ({"methods": ["FETCH"]}, "matches none of the enum values"),
    ({"codes": [503]}, "additional properties forbidden"), ({"statuses": 503}, "wrong type: expected array, got number"),
])
def test_bad_ones(gw, upstream, retry_on, words):
    reply = gw.admin("PUT", "upstreams/1", {"nodes": {upstream.node: 1}, "retry_on": retry_on})
    assert reply.status == 400 and words in reply.json["error_msg"], reply.json
