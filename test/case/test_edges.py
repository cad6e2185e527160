# SPDX-License-Identifier: Apache-2.0
"""Both ends at once: slow, early, half-closed, gone. Each case stands for a fault that was there, or nearly."""
import resource
import socket
import threading
import time

import pytest

import wire
from gw import SANITIZED, ports
from test_upstream_faults import HEAD, rss

pytestmark = [pytest.mark.asan]

FAST = {"connect": 0.4, "send": 0.4, "read": 0.4}
BIG = 1 << 23


def narrow(port):
    """A connection that takes little at a time."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(("127.0.0.1", port))
    return wire.Wire(s)


# --- slow bodies

def test_slow_upload_is_not_the_upstreams_fault(gw, upstream):
    """The upstream's time-outs run while it owes something, not while the client is slow."""
    gw.route("/*", upstream, timeout=FAST)
    with gw.connect() as w:
        w.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
        for byte in b"abc":
            time.sleep(0.6)
            w.send(bytes([byte]))
        assert w.response().status == 200
    assert upstream.requests[0].body == b"abc"


def test_answer_while_the_body_still_comes(gw, upstream):
    """The head of the answer first, then the rest of the request, slowly; then the rest of the answer."""
    gw.route("/*", upstream, timeout=FAST)

    def talk(w):
        request = w.head()
        w.send(HEAD + b"Content-Length: 8\r\n\r\nhalf")
        for _ in w.stream(request):
            pass
        w.send(b"rest" if request.body == b"abc" else b"????")
        w.closed()
    upstream.on_connect(talk)
    with gw.connect() as w:
        w.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
        message = w.head()
        pieces = w.stream(message)
        assert next(pieces) == b"half"
        for byte in b"bc":
            time.sleep(0.6)
            w.send(bytes([byte]))
        list(pieces)
        assert message.body == b"halfrest"


def test_client_that_uploads_and_does_not_read(make_gw, upstream):
    """Both directions are full: send_timeout ends it, though its body is under way too."""
    gw = make_gw(nginx_config={"http": {"send_timeout": "1s"}})
    gw.route("/*", upstream, timeout={"connect": 5, "send": 20, "read": 20})

    def talk(w):
        w.head()
        w.send(HEAD + b"Content-Length: %d\r\n\r\n" % BIG)
        try:
            w.sock.sendall(b"x" * BIG)
        except OSError:
            pass
    upstream.on_connect(talk)
    with narrow(gw.port) as w:
        w.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % BIG)
        began = time.monotonic()
        sender = threading.Thread(target=lambda: w.send(b"y" * BIG))
        sender.start()
        wire.wait_until("the end of it in the access log", lambda: gw.access_log)
        assert time.monotonic() - began < 6
        sender.join(5)
    upstream.wait("the upstream to be let go", lambda u: u.open == 0)


@pytest.mark.seconds(40)
def test_slow_reader_is_no_stalled_one(make_gw, upstream):
    gw = make_gw(nginx_config={"http": {"send_timeout": "1s"}})
    body = b"0123456789abcdef" * (BIG >> 4)
    upstream.on("/").reply(200, body)
    gw.route("/*", upstream)
    with narrow(gw.port) as w:
        w.request("GET", "/")
        message = w.head()
        got, began = len(w.buffer), time.monotonic()
        while got < BIG:
            data = w.sock.recv(65536)
            assert data, "cut"
            got += len(data)
            if time.monotonic() - began < 3:
                time.sleep(0.01)
        assert message.status == 200


def test_early_refusal_of_a_large_body(gw, upstream):
    """An upstream that says 413 and stops reading: its words reach the client."""
    gw.route("/*", upstream, timeout={"connect": 2, "send": 2, "read": 2})

    def talk(w):
        w.head()
        w.send(b"HTTP/1.1 413 No\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        w.sock.shutdown(socket.SHUT_WR)
        time.sleep(0.5)
    upstream.on_connect(talk)
    with gw.connect() as w:
        w.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % BIG + b"x" * 100000)
        r = w.response()
        assert (r.status, r.text) == (413, "big")


def test_refused_client_that_writes_all_before_it_reads(make_gw, upstream):
    """It is not reset while it still sends, slowly: the answer would go with that."""
    gw = make_gw(nginx_config={"http": {"client_max_body_size": 1000}})
    gw.route("/*", upstream)
    with gw.connect() as w:
        w.sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n")
        for _ in range(13):
            time.sleep(0.25)
            w.sock.sendall(b"x" * 1000)             # raises when the gateway has gone
        assert w.response().status == 413
        assert w.closed()


def test_malformed_rest_of_a_body_nobody_wanted(gw):
    """The 404 is on its way when the body turns out to be garbage: it arrives all the same."""
    for _ in range(20):
        with gw.connect() as w:
            w.send(b"POST /nowhere HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + b"x" * 5000)
            assert w.response().status == 404


# --- who is gone

@pytest.mark.parametrize("plugins, method", [({"proxy-rewrite": {"method": "GET"}}, "HEAD"),
                                             ({"response-rewrite": {"status_code": 204}}, "GET")])
def test_client_needs_no_more_while_the_upstream_goes_on(gw, upstream, plugins, method):
    """The client has all it gets and leaves; the upstream's body, which nobody wants, must not outlive it."""
    gw.route("/*", upstream, plugins)

    def late(w, request):
        w.send(HEAD + b"Content-Length: 4\r\n\r\n")
        time.sleep(0.3)
        w.send(b"late")
    upstream.on("/").raw(late)
    for _ in range(3):
        with gw.connect() as w:
            w.request(method, "/")
            assert w.response(method).status in (200, 204)
        upstream.wait("the upstream to be let go", lambda u: u.open == 0, 3)
    gw.wait_access_log(3)


def test_bodiless_answers_keep_the_connections(gw, upstream):
    upstream.on("/").reply(304)
    gw.route("/*", upstream)
    with gw.connect() as w:
        for method in ("HEAD", "GET", "HEAD", "GET"):
            w.request(method, "/" if method == "GET" else "/other")
            assert w.response(method).status in (200, 304)
    assert upstream.connections <= 1


def test_half_closed_client_gets_a_long_answer_of_ours(gw, upstream):
    """A cached answer larger than the kernel takes at once, to a client that has closed its side."""
    body = "0123456789abcdef" * (1 << 18)
    upstream.on("/").reply(200, body)
    gw.route("/*", upstream, {"proxy-cache": {"cache_strategy": "memory", "cache_zone": "memory_cache",
                                              "cache_ttl": 60}})
    assert gw.get("/").headers.get("Apisix-Cache-Status") == "MISS"
    assert gw.get("/").headers.get("Apisix-Cache-Status") == "HIT"
    with narrow(gw.port) as w:
        w.request("GET", "/")
        w.sock.shutdown(socket.SHUT_WR)
        time.sleep(0.2)
        assert len(w.response().body) == len(body)


def test_pipelined_requests_of_a_client_that_does_not_read(gw, upstream):
    """Answers wait in the requests that are not read yet, not in memory."""
    body = "0123456789abcdef" * (1 << 15)
    upstream.on("/").reply(200, body)
    gw.route("/*", upstream, {"proxy-cache": {"cache_strategy": "memory", "cache_zone": "memory_cache",
                                              "cache_ttl": 60}})
    gw.get("/")
    before = rss(gw.process.pid)
    with narrow(gw.port) as w:
        for _ in range(400):
            w.request("GET", "/")
        time.sleep(0.5)
        if not SANITIZED:
            assert rss(gw.process.pid) - before < 16 << 20
        for _ in range(400):
            assert len(w.response().body) == len(body)


# --- upstreams

def test_upstream_that_speaks_first(gw, upstream):
    """What it says before it was asked is no answer; the gateway does not wait for more either."""
    gw.route("/*", upstream, timeout={"connect": 5, "send": 5, "read": 5})

    def talk(w):
        w.send(HEAD + b"Content-Length: 6\r\n\r\nforged")
        w.closed()
    upstream.on_connect(talk)
    began = time.monotonic()
    assert gw.get("/").status in (200, 502) and time.monotonic() - began < 2


def test_silent_handshake_is_a_timeout(gw, upstream):
    gw.route("/*", {"type": "roundrobin", "scheme": "https", "nodes": {upstream.node: 1}}, timeout=FAST)
    upstream.on_connect(lambda w: w.closed())
    began = time.monotonic()
    assert gw.get("/").status == 504 and 0.35 < time.monotonic() - began < 2


def test_client_leaves_while_a_name_is_looked_up(make_gw, upstream):
    """The answer of the resolver comes after the client has gone; who asks later gets it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind(("127.0.0.1", 0))
        resolver.settimeout(5)
        gw = make_gw(apisix={"dns_resolver": ["127.0.0.1:%d" % resolver.getsockname()[1]], "enable_ipv6": False})
        gw.route("/*", {"type": "roundrobin", "nodes": {f"slow.test:{upstream.port}": 1}})
        with gw.connect() as w:
            w.request("GET", "/")
            query, peer = resolver.recvfrom(4096)
            w.reset()
        gw.wait_access_log(1)
        end = query.index(b"\0", 12) + 5
        resolver.sendto(query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:end] +
                        b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1", peer)
        wire.wait_until("the name", lambda: gw.get("/").text == "ok")
    assert upstream.requests


def test_address_without_a_way_is_a_failed_try(gw, upstream):
    """connect() may refuse at once (no IPv6 here): the next node serves."""
    node = lambda host, port, priority: {"host": host, "port": port, "weight": 1, "priority": priority}
    gw.route("/*", {"type": "roundrobin", "retries": 1,
                    "nodes": [node("[2001:db8::1]", 80, 1), node("127.0.0.1", upstream.port, 0)]}, timeout=FAST, id="1")
    for _ in range(4):
        assert gw.get("/").text == "ok"


def test_retry_timeout_counts_from_the_first_try(gw, upstream):
    """Not from the head of a request whose body took its time."""
    dead = f"127.0.0.1:{ports.take()}"
    gw.route("/*", {"type": "roundrobin", "retries": 3, "retry_timeout": 0.5,
                    "nodes": {dead: 1, upstream.node: 1}},
             {"proxy-rewrite": {"headers": {"set": {"X-Body": "$request_body"}}}}, id="1")
    for _ in range(4):
        with gw.connect() as w:
            w.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
            time.sleep(0.1)
            w.send(b"x")
            assert w.response().text == "ok"


def test_query_with_thousands_of_arguments(gw, upstream):
    """Taking one of them out costs time in proportion."""
    gw.put("consumers", {"username": "jack", "plugins": {"key-auth": {"key": "k"}}})
    gw.route("/*", upstream, {"key-auth": {"hide_credentials": True, "query": "key"}})
    query = "&".join(["a"] * 3500)
    before = rss(gw.process.pid)
    with gw.connect() as w:
        began = time.monotonic()
        for _ in range(5):
            w.request("GET", f"/?{query}&key=k&b=2")
            r = w.response()
            assert r.status == 200, r
        assert time.monotonic() - began < 2
    assert upstream.requests[-1].target == f"/?{query}&b=2"
    if not SANITIZED:
        assert rss(gw.process.pid) - before < 8 << 20


def test_many_forwarded_for_lines(gw, upstream):
    gw.route("/*", upstream)
    lines = [("X-Forwarded-For", f"10.0.0.{i}, " + "1" * 100) for i in range(80)]
    assert gw.get("/", lines).status == 200
    assert upstream.requests[0].headers.get("X-Forwarded-For") == ", ".join(v for _, v in lines) + ", 127.0.0.1"


@pytest.mark.parametrize("strategy", ["memory", "disk"])
def test_slow_readers_of_a_stored_response(make_gw, upstream, strategy):
    """One stored body for all who read it slowly; each gets it whole, and the connection goes on."""
    size, readers = 8 << 20, 40
    gw = make_gw(nginx_config={"worker_processes": 1})
    upstream.on("/a").reply(200, "0123456789abcdef" * (size // 16), {"Cache-Control": "max-age=100"})
    gw.route("/*", upstream, {"proxy-cache": {"cache_strategy": strategy, "cache_control": True,
                                              "cache_zone": "memory_cache" if strategy == "memory" else "disk_cache_one"}})
    gw.get("/a")
    wire.wait_until("it is stored", lambda: gw.get("/a").headers.get("Apisix-Cache-Status") == "HIT")
    before = rss(gw.process.pid)
    connections = [narrow(gw.port) for _ in range(readers)]
    for w in connections:
        w.request("GET", "/a")
        assert w.head().status == 200
    grown = rss(gw.process.pid) - before
    if not SANITIZED:
        # From the disk each has read a copy of its own; nobody has a second one.
        assert grown < (32 << 20 if strategy == "memory" else readers * size * 1.25), grown
    for w in connections[:2]:
        body = w.exactly(size)
        assert body == b"0123456789abcdef" * (size // 16)
        w.request("GET", "/b")
        assert w.response().status == 200
    for w in connections:
        w.sock.close()


# --- out of descriptors

@pytest.fixture
def starving(make_gw):
    gw = make_gw(nginx_config={"worker_processes": 1})
    resource.prlimit(gw.process.pid, resource.RLIMIT_NOFILE, (128, 128))
    return gw


def test_silent_clients_do_not_keep_others_out(starving, upstream):
    """Connections that wait for a request, before the first one or after, give way to new ones."""
    starving.route("/*", upstream)
    held = [starving.connect() for _ in range(150)]
    for w in held[-20:]:
        w.request("GET", "/")
        assert w.response().status == 200
    with starving.connect() as w:
        w.request("GET", "/")
        assert w.response().status == 200
    wire.wait_until("a line about it", lambda: "idle connections of clients are closed" in starving.log)


def test_kept_connections_give_way_to_new_ones(starving, make_upstream, certs):
    """A client that asks for ever other hosts has a connection kept for each, by its name in TLS."""
    up = make_upstream(certs["context"])
    starving.route("/*", {"type": "roundrobin", "scheme": "https", "nodes": {up.node: 1}, "tls": {"verify": False}})
    for i in range(200):
        assert starving.get("/", {"Host": f"h{i}.example"}).status == 200
    assert up.open < 128


def test_kept_connections_give_way_to_clients(starving, make_upstream, certs):
    up = make_upstream(certs["context"])
    starving.route("/*", {"type": "roundrobin", "scheme": "https", "nodes": {up.node: 1}, "tls": {"verify": False}})
    for i in range(70):
        assert starving.get("/", {"Host": f"h{i}.example"}).status == 200
    assert up.open == 70
    held = []
    for i in range(60):
        held.append(starving.connect())
        held[-1].request("GET", "/", {"Host": "h0.example"})
        assert held[-1].response().status == 200
    assert up.open < 70
