# SPDX-License-Identifier: Apache-2.0
"""Upstreams and clients that misbehave: die, stall, send garbage, leave."""
import os
import re
import socket
import time

import pytest

import wire
from gw import SANITIZED, ports

pytestmark = [pytest.mark.asan]

HEAD = b"HTTP/1.1 200 OK\r\n"
FAST = {"connect": 0.4, "send": 0.4, "read": 0.4}
BAD_REPLIES = {
    "not http": b"220 mail ready\r\n\r\n",
    "noise": bytes(range(1, 256)) + b"\r\n\r\n",
    "wrong version": b"HTTP/9.1 200 OK\r\n\r\n",
    "wrong status": b"HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\nok",
    "status too long": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
    "both lengths": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    "length below zero": HEAD + b"Content-Length: -2\r\n\r\nok",
    "unknown coding": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "NUL in value": HEAD + b"A: b\0c\r\nContent-Length: 2\r\n\r\nok",
    "space before colon": HEAD + b"A : b\r\nContent-Length: 2\r\n\r\nok",
    "bare CR": HEAD + b"A: b\rc\r\nContent-Length: 2\r\n\r\nok",
    "head without end": HEAD + b"A: b\r\n",
    "huge head": HEAD + b"A: " + b"x" * 300000 + b"\r\nContent-Length: 2\r\n\r\nok",
    "nothing": b"",
    "upgrade nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
}


@pytest.mark.quick
def test_refused_connection(gw):
    gw.route("/*", {"type": "roundrobin", "nodes": {f"127.0.0.1:{ports.take()}": 1}})
    r = gw.get("/")
    assert r.status == 502 and b"502 Bad Gateway" in r.body
    assert gw.get("/").status == 502


@pytest.mark.parametrize("name", BAD_REPLIES)
def test_bad_reply(gw, upstream, name):
    gw.route("/*", upstream)
    upstream.on("/").raw(lambda w, r: w.send(BAD_REPLIES[name]))
    with gw.connect() as w:
        for path, status in (("/", 502), ("/good", 200)):
            w.request("GET", path)
            assert w.response().status == status, "the client's connection goes on"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_dies_before_the_head(gw, upstream, how):
    gw.route("/*", upstream)
    upstream.on("/").raw(lambda w, r: w.reset() if how == "reset" else None)
    assert gw.get("/").status == 502
    assert len(upstream.requests) == 1, "with one node there is nobody to retry on"


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("head", [b"Content-Length: 100\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
                                  b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf"], ids=["length", "chunked", "in chunk"])
def test_dies_mid_body(gw, upstream, head, how):
    """The client must be able to tell: its message stays incomplete."""
    gw.route("/*", upstream)
    seen = []

    def act(w, request):
        w.send(HEAD + head)
        wire.wait_until("the client to have the first half", lambda: seen)
        if how == "reset":
            w.reset()
    upstream.on("/").raw(act)
    with gw.connect() as w:
        w.request("GET", "/")
        message = w.head()
        assert message.status == 200
        seen.append(1)
        with pytest.raises(wire.Closed):
            for _ in w.stream(message):
                pass
        assert not message.complete
    assert gw.get("/good").status == 200


def test_stall_before_the_head(gw, upstream):
    gw.route("/*", upstream, timeout=FAST)
    upstream.on("/").raw(lambda w, r: w.closed())
    began = time.monotonic()
    r = gw.get("/")
    assert r.status == 504 and 0.35 < time.monotonic() - began < 2
    upstream.wait("its connection to be closed", lambda u: u.open == 0)


def test_stall_mid_body(gw, upstream):
    gw.route("/*", upstream, timeout=FAST)

    def act(w, request):
        w.send(HEAD + b"Content-Length: 100\r\n\r\nhalf")
        w.closed()
    upstream.on("/").raw(act)
    with gw.connect() as w:
        w.request("GET", "/")
        with pytest.raises(wire.Closed):
            w.response()
    upstream.wait("its connection to be closed", lambda u: u.open == 0)


def test_slow_but_alive(gw, upstream):
    """The read timeout is between two reads, not for the whole reply."""
    gw.route("/*", upstream, timeout=FAST)
    upstream.on("/").reply(200, chunks=list("slowly"), gap=0.15)
    assert gw.get("/").text == "slowly"


@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"])
def test_reply_byte_by_byte(gw, upstream, framing):
    gw.route("/*", upstream)

    def act(w, request):
        w.send(HEAD + b"A: b\r\n" + framing, split=True)
        w.closed()
    upstream.on("/").raw(act)
    r = gw.get("/")
    assert (r.status, r.text, r.headers.get("A")) == (200, "hello", "b")


def test_connect_timeout(gw):
    """A listener whose queue is full answers no SYN."""
    with socket.socket() as full, socket.socket() as a, socket.socket() as b:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (a, b):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        gw.route("/*", {"type": "roundrobin", "nodes": {"127.0.0.1:%d" % full.getsockname()[1]: 1}}, timeout=FAST)
        began = time.monotonic()
        assert gw.get("/").status == 504
        assert 0.35 < time.monotonic() - began < 2


def test_bytes_after_the_reply(gw, upstream):
    """What follows a whole reply belongs to nobody: the next client must not get it."""
    gw.route("/*", upstream)

    def act(w, request):
        w.send(HEAD + b"Content-Length: 2\r\n\r\nok" + HEAD + b"Content-Length: 6\r\n\r\nforged")
        w.closed()
    upstream.on("/").raw(act)
    with gw.connect() as w:
        for path in ("/", "/next", "/", "/next"):
            w.request("GET", path)
            assert w.response().text == "ok"


def test_kept_connection_was_closed(gw, upstream):
    """An idle upstream connection that the upstream closed: the next request does not fail on it."""
    gw.route("/*", upstream)
    with gw.connect() as w:
        for _ in range(5):
            w.request("GET", "/")
            assert w.response().status == 200
            for peer in list(upstream.wires):
                peer.sock.shutdown(socket.SHUT_RDWR)
            upstream.wait("the close", lambda u: u.open == 0)


@pytest.mark.quick
def test_client_leaves_mid_stream(gw, upstream):
    gw.route("/*", upstream)
    upstream.on("/").reply(200, chunks=["event\n"] * 2000, gap=0.01)
    for _ in range(3):
        with gw.connect() as w:
            w.request("GET", "/")
            next(w.stream(w.head()))
            assert upstream.open == 1
        upstream.wait("the upstream to be let go", lambda u: u.open == 0, 5)


def test_client_leaves_before_the_head(gw, upstream):
    gw.route("/*", upstream)
    upstream.on("/").raw(lambda w, r: w.closed())
    with gw.connect() as w:
        w.request("GET", "/")
        upstream.wait("the request", lambda u: u.requests)
        w.reset()
    upstream.wait("the upstream to be let go", lambda u: u.open == 0, 5)


def test_client_leaves_mid_request(gw, upstream):
    """Half a body and gone: the upstream must not take it for a whole request."""
    gw.route("/*", upstream)
    with gw.connect() as w:
        w.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
    wire.wait_until("the end of it in the log", lambda: gw.access_log)
    upstream.wait("the upstream to be let go", lambda u: u.open == 0, 5)
    assert upstream.requests == []


def rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) * 1024


def test_slow_client(gw, upstream):
    """A client that does not read: the gateway holds little of the reply, and gives all of it later."""
    size = 64 << 20
    gw.route("/*", upstream, timeout={"connect": 5, "send": 20, "read": 20})
    gw.get("/warm")
    before = rss(gw.process.pid)
    sent = []

    def act(w, request):
        w.send(HEAD + b"Content-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 16):
            w.sock.sendall(b"x" * 65536)
            sent.append(65536)
    upstream.on("/").raw(act)
    with gw.connect() as w:
        w.request("GET", "/")
        message = w.head()
        for _ in range(100):                        # until the upstream cannot send any more
            had = len(sent)
            time.sleep(0.05)
            if len(sent) == had:
                break
        assert sum(sent) < size // 2, "the upstream feels that its client is slow"
        if not SANITIZED:
            assert rss(gw.process.pid) - before < 4 << 20
        assert sum(len(piece) for piece in w.stream(message)) == size


def test_retry_on_another_node(gw, upstream):
    dead = f"127.0.0.1:{ports.take()}"
    gw.route("/*", {"type": "roundrobin", "nodes": {dead: 1, upstream.node: 1}})
    for method in ("GET", "POST") * 4:
        assert gw.request(method, "/", body="x").text == "ok", "nothing was sent yet, so any method is retried"
    assert len(upstream.requests) == 8


def first_then(bad, good, **fields):
    """`bad` is always tried first, `good` only after it."""
    node = lambda n, priority: {"host": "127.0.0.1", "port": n.port, "weight": 1, "priority": priority}
    return {"type": "roundrobin", "nodes": [node(bad, 1), node(good, 0)], **fields}


def test_retry_after_sending(gw, upstream, make_upstream):
    """A request that was sent is repeated on another node only when its method is safe to repeat."""
    bad = make_upstream()
    bad.on("*").raw(lambda w, r: None)
    gw.route("/*", first_then(bad, upstream))
    assert gw.get("/").text == "ok" and len(bad.requests) == 1
    assert gw.request("POST", "/", body="once").status == 502
    assert [r.method for r in upstream.requests] == ["GET"]
    assert [r.method for r in bad.requests] == ["GET", "POST"]


def test_error_status_is_no_reason_to_retry(gw, upstream, make_upstream):
    bad = make_upstream()
    bad.on("*").reply(500, "mine")
    gw.route("/*", first_then(bad, upstream))
    r = gw.get("/")
    assert (r.status, r.text, r.headers.get("X-APISIX-Upstream-Status")) == (500, "mine", "500")
    assert upstream.requests == []


def test_retries_zero(gw, upstream):
    dead = f"127.0.0.1:{ports.take()}"
    gw.route("/*", {"type": "roundrobin", "retries": 0, "nodes": {dead: 1, upstream.node: 1}})
    assert sorted({gw.get("/").status for _ in range(8)}) == [200, 502]


def test_retry_timeout(gw, upstream, make_upstream):
    """Once retry_timeout has passed, no further node is tried."""
    stalled = make_upstream()
    stalled.on("*").raw(lambda w, r: w.closed())
    gw.route("/*", first_then(stalled, upstream, retry_timeout=0.2), timeout=FAST)
    assert gw.get("/").status in (502, 504)
    assert upstream.requests == []


def test_stall_is_retried(gw, upstream, make_upstream):
    stalled = make_upstream()
    stalled.on("*").raw(lambda w, r: w.closed())
    gw.route("/*", first_then(stalled, upstream), timeout=FAST)
    assert gw.get("/").text == "ok"


def test_no_usable_node(gw):
    for nodes in ({}, {"127.0.0.1:1": 0}):
        gw.route("/*", {"type": "roundrobin", "nodes": nodes}, id="1")
        assert gw.get("/").status in (502, 503)


def test_nothing_leaks(gw, upstream):
    """File descriptors are back where they were after a mix of faults."""
    gw.route("/*", upstream, timeout=FAST)
    upstream.on("/die").raw(lambda w, r: w.reset())
    upstream.on("/half").raw(lambda w, r: w.send(HEAD + b"Content-Length: 9\r\n\r\nhalf"))
    fds = lambda: len(os.listdir(f"/proc/{gw.process.pid}/fd"))
    gw.get("/die")
    before = fds()
    for _ in range(20):
        gw.get("/die")
        with gw.connect() as w:
            w.request("GET", "/half")
            with pytest.raises(wire.Closed):
                w.response()
        with gw.connect() as w:
            w.send(b"POST / HTTP/1.1\r\nContent-Le")
    wire.wait_until(f"{before} descriptors", lambda: fds() <= before + 2)


def test_verified_takes_no_unverified_connection(make_gw, make_upstream, certs):
    """The same server behind two upstreams: a connection that was made without verification serves no other."""
    gw = make_gw(nginx_config={"worker_processes": 1})
    server = make_upstream(certs["context"])
    fields = {"type": "roundrobin", "scheme": "https", "pass_host": "node", "nodes": {server.node: 1}}
    gw.route("/open", {**fields, "tls": {"verify": False}})
    gw.route("/strict", fields)
    for _ in range(2):
        assert [gw.get(path).status for path in ("/open", "/strict", "/open")] == [200, 502, 200]
    assert [r.target for r in server.requests] == ["/open"] * 4
    gw.wait_log("the upstream's certificate could not be verified")
