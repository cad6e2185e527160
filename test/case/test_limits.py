# SPDX-License-Identifier: Apache-2.0
"""Limits at the edge: each has a bound, the right status, and nothing of it reaches the upstream."""
import time

import pytest

import wire

pytestmark = [pytest.mark.asan]


@pytest.fixture
def target(gw, upstream):
    gw.route("/*", upstream)
    return gw


def refused(gw, upstream, data, statuses, split=False):
    with gw.connect() as w:
        w.send(data, split)
        r = w.response()
        assert r.status in statuses, r
        assert w.closed()
    assert upstream.requests == []


LARGE_HEADS = {
    "one large header": b"A: " + b"x" * 100000 + b"\r\n",
    "large together": b"".join(b"A%d: %s\r\n" % (i, b"x" * 4000) for i in range(40)),
    "too many": b"".join(b"A%d: b\r\n" % i for i in range(3000)),
    "a long name": b"x" * 100000 + b": a\r\n",
}


@pytest.mark.quick
@pytest.mark.parametrize("name", LARGE_HEADS)
def test_head_too_large(target, upstream, name):
    refused(target, upstream, b"GET / HTTP/1.1\r\nHost: a\r\n" + LARGE_HEADS[name] + b"\r\n", (400, 431))


def test_head_that_never_ends(target, upstream):
    """Refused while it is still coming, not stored without bound."""
    with target.connect() as w:
        w.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        for i in range(10000):
            w.send(b"A%d: %s\r\n" % (i, b"x" * 1000))
        try:
            assert w.response().status in (400, 431)
        except wire.Closed:
            pass                                    # the reply may be lost to a client that keeps sending
    assert upstream.requests == []


@pytest.mark.parametrize("split", [False, True], ids=["whole", "bytes"])
def test_uri_too_long(target, upstream, split):
    refused(target, upstream, b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", (414,), split)


def test_method_too_long(target, upstream):
    refused(target, upstream, b"A" * 40000 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", (400, 414, 431, 501))


def test_large_but_allowed(target, upstream):
    r = target.get("/" + "a" * 6000, [(f"A{i}", "b" * 60) for i in range(80)])
    assert r.status == 200
    assert len(upstream.requests[0].target) == 6001 and len(upstream.requests[0].headers) >= 80


@pytest.mark.parametrize("kind", ["length", "chunked", "chunked bytes"])
def test_body_too_large(make_gw, upstream, kind):
    gw = make_gw(nginx_config={"http": {"client_max_body_size": 1000}})
    gw.route("/*", upstream)
    assert gw.post("/", b"x" * 1000).status == 200
    assert gw.request("POST", "/", chunks=["x" * 400, "x" * 600]).status == 200
    head = b"POST / HTTP/1.1\r\nHost: a\r\n"
    if kind == "length":
        data = head + b"Content-Length: 1001\r\n\r\n"      # the head is enough to know
    else:
        data = head + b"Transfer-Encoding: chunked\r\n\r\n" + wire.chunked([b"x" * 600, b"x" * 401])
    with gw.connect() as w:
        w.send(data, split=kind == "chunked bytes")
        assert w.response().status == 413
        assert w.closed()
    assert len(upstream.requests) == 2


def test_admin_body_too_large(gw):
    r = gw.admin("PUT", "routes/1", "x" * 1572865)
    assert r.status == 400
    assert r.json == {"error_msg": "invalid request body: request size 1572865 is greater than the maximum size "
                                   "1572864 allowed"}


@pytest.mark.parametrize("sent, statuses", [
    (b"GET / HTTP/1.1\r\nHos", (408,)),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf", (408,)),
])
def test_slow_request(make_gw, upstream, sent, statuses):
    gw = make_gw(nginx_config={"http": {"client_header_timeout": "1s", "client_body_timeout": "1s"}})
    gw.route("/*", upstream)
    with gw.connect() as w:
        began = time.monotonic()
        w.send(sent)
        try:
            assert w.response().status in statuses
        except wire.Closed:
            pass                                    # nginx closes without a reply; either is right
        assert 0.9 < time.monotonic() - began < 3
    assert upstream.requests == []


def test_drip_does_not_renew_the_header_timeout(make_gw, upstream):
    """One byte now and then must not keep a head alive for ever: the timeout is for the whole head."""
    gw = make_gw(nginx_config={"http": {"client_header_timeout": "1s"}})
    gw.route("/*", upstream)
    with gw.connect() as w:
        began = time.monotonic()
        w.sock.settimeout(0.2)
        while time.monotonic() - began < 4:
            w.send(b"G")
            try:
                w.more()
                break                               # the reply
            except TimeoutError:
                continue                            # the pace of the drip
            except wire.Closed:
                break
        assert time.monotonic() - began < 3


def test_idle_connection_is_closed(make_gw, upstream):
    gw = make_gw(nginx_config={"http": {"keepalive_timeout": "1s"}})
    gw.route("/*", upstream)
    with gw.connect() as w:
        w.request("GET", "/")
        assert w.response().status == 200
        began = time.monotonic()
        assert w.closed()
        assert 0.8 < time.monotonic() - began < 3


def test_many_idle_connections(target, upstream):
    wires = [target.connect() for _ in range(400)]
    for w in wires[::40]:
        w.request("GET", "/")
        assert w.response().status == 200
    for w in wires:
        w.close()
    assert target.get("/").status == 200
