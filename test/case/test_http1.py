# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 between client, gateway and upstream when everybody behaves."""
import hashlib
import socket
import time

import pytest

import wire

pytestmark = [pytest.mark.asan]


@pytest.fixture
def line(gw, upstream):
    """A connection to a gateway whose every path goes to `upstream`."""
    gw.route("/*", upstream)
    with gw.connect() as w:
        yield w


@pytest.mark.quick
def test_keep_alive(line, upstream):
    for i in range(5):
        line.request("POST", f"/{i}", body=f"body {i}")
        assert line.response().text == "ok"
    assert [(r.target, r.text) for r in upstream.requests] == [(f"/{i}", f"body {i}") for i in range(5)]
    assert upstream.connections == 1, "the upstream's connection is kept too"


@pytest.mark.parametrize("split", [False, True], ids=["whole", "bytes"])
def test_pipelining(line, upstream, split):
    for i in range(4):
        upstream.on(f"/{i}").reply(200, f"reply {i}", delay=0.05 if i == 0 else 0)
    post = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
    line.send(b"".join(post % i for i in range(4)), split)
    assert [line.response().text for _ in range(4)] == [f"reply {i}" for i in range(4)]
    assert [r.target for r in upstream.requests] == ["/0", "/1", "/2", "/3"]


def test_request_arrives_as_sent(line, upstream):
    line.request("PUT", "/a/b?c=%20d&e", [("Host", "some.host:81"), ("X-Two", "1"), ("x-odd_NAME", "v"), ("X-Two", "2"),
                                         ("Cookie", "a=b; c")], body="x")
    assert line.response().status == 200
    r = upstream.requests[0]
    assert (r.method, r.target, r.version, r.text) == ("PUT", "/a/b?c=%20d&e", "HTTP/1.1", "x")
    assert r.headers.all("Host") == ["some.host:81"]
    assert r.headers.all("X-Two") == ["1", "2"]
    assert r.headers.get("x-odd_NAME") == "v" and r.headers.get("Cookie") == "a=b; c"
    assert r.headers.all("Content-Length") == ["1"]


def test_response_arrives_as_sent(line, upstream):
    upstream.on("/").reply(418, "tea", [("Set-Cookie", "a=1"), ("X-A", "b"), ("Set-Cookie", "c=2")])
    line.request("GET", "/")
    r = line.response()
    assert (r.status, r.text) == (418, "tea")
    assert r.headers.all("Set-Cookie") == ["a=1", "c=2"] and r.headers.get("X-A") == "b"
    assert len(r.headers.all("Server")) == 1 and len(r.headers.all("Date")) == 1


def test_identity_headers(line, upstream):
    line.request("GET", "/", {"Host": "a.example:99", "X-Forwarded-For": "203.0.113.9",
                              "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil", "Forwarded": "for=evil"})
    assert line.response().status == 200
    h = upstream.requests[0].headers
    assert h.all("X-Real-IP") == ["127.0.0.1"]
    assert h.all("X-Forwarded-For") == ["203.0.113.9, 127.0.0.1"]
    assert h.all("X-Forwarded-Proto") == ["http"]
    assert h.all("X-Forwarded-Host") == ["a.example:99"] and h.all("X-Forwarded-Port") == ["99"], "as the client sees us"
    assert not h.get("Forwarded")


def test_hop_by_hop_ends_here(line, upstream):
    upstream.on("/").reply(200, "ok", [("Connection", "X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=9"), ("X-End", "1")])
    line.request("GET", "/", {"Connection": "keep-alive, X-Mine", "X-Mine": "1", "Keep-Alive": "300", "TE": "gzip",
                              "Proxy-Connection": "keep-alive", "X-End": "2"})
    r = line.response()
    sent = upstream.requests[0].headers
    assert not [n for n in ("X-Mine", "Keep-Alive", "TE", "Proxy-Connection") if n in sent], sent
    assert sent.get("X-End") == "2"
    assert "X-Hop" not in r.headers and r.headers.get("X-End") == "1"
    assert "timeout=9" not in str(r.headers.all("Keep-Alive"))


@pytest.mark.parametrize("split", [False, True], ids=["whole", "bytes"])
def test_chunked_request_with_trailers(line, upstream, split):
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
    line.send(head + wire.chunked(["hello ", "chunked", " world"], [("X-Sum", "9")]), split)
    assert line.response().status == 200
    r = upstream.requests[0]
    assert r.text == "hello chunked world"
    assert not ("Content-Length" in r.headers and "Transfer-Encoding" in r.headers)
    assert r.trailers.get("X-Sum") == "9"


def test_chunked_response_with_trailers(line, upstream):
    upstream.on("/").reply(200, chunks=["one", "two", "three"], gap=0.05, trailers=[("X-Sum", "7")],
                           headers=[("Trailer", "X-Sum")])
    for _ in range(2):
        line.request("GET", "/")
        r = line.response()
        assert r.text == "onetwothree" and r.trailers.get("X-Sum") == "7"
        assert [p.decode() for _, p in r.pieces] == ["one", "two", "three"], "each as it came"
        gaps = [b - a for (a, _), (b, _) in zip(r.pieces, r.pieces[1:])]
        assert min(gaps) > 0.03, gaps


def test_expect_100(line, upstream):
    line.send(b"POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert line.head().status == 100
    line.send(b"hello")
    assert line.response().status == 200
    assert upstream.requests[0].text == "hello"


def test_expect_without_route(gw):
    """A final answer needs no 100 first, and the connection is in no doubt about the body that never came."""
    with gw.connect() as w:
        w.send(b"POST /none HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert w.response().status == 404


def test_head(line, upstream):
    upstream.on("/").reply(200, "", [("Content-Length", "1234"), ("X-A", "b")])
    for _ in range(2):
        line.request("HEAD", "/")
        r = line.response("HEAD")
        assert (r.status, r.body) == (200, b"") and r.headers.all("Content-Length") == ["1234"]
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("status", [204, 304])
def test_no_body(line, upstream, status):
    upstream.on("/").reply(status, headers=[("ETag", '"x"')])
    for _ in range(2):
        line.request("GET", "/")
        r = line.response()
        assert (r.status, r.body, r.headers.get("ETag")) == (status, b"", '"x"')
        assert "Transfer-Encoding" not in r.headers
    line.request("GET", "/other")
    assert line.response().text == "ok", "nothing was left on the connection"


def test_interim_responses(line, upstream):
    upstream.on("/").reply(200, "end", interim=[(103, [("Link", "</a.css>")]), (102, [])])
    line.request("GET", "/")
    r = line.response()
    assert (r.status, r.text) == (200, "end")
    assert [i.status for i in r.interim] in ([], [103], [103, 102])


def test_no_interim_to_http_1_0(gw, upstream):
    gw.route("/*", upstream)
    upstream.on("/").reply(200, "end", interim=[(103, [])])
    r = gw.raw(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    assert (r.status, r.text, r.interim) == (200, "end", [])


@pytest.mark.parametrize("head, closes", [
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", True),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, CLOSE\r\n\r\n", True),
    (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", True),
    (b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", False),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", False),
])
def test_who_closes(line, head, closes):
    line.send(head)
    r = line.response()
    assert r.text == "ok"
    if closes:
        assert line.closed()
        return
    line.send(head)
    assert line.response().text == "ok"


def test_http_1_0_gets_no_chunks(gw, upstream):
    gw.route("/*", upstream)
    upstream.on("/").reply(200, chunks=["one", "two"])
    r = gw.raw(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    assert r.text == "onetwo" and "Transfer-Encoding" not in r.headers


def test_body_until_close(line, upstream):
    """An upstream that ends its body by closing: the client's connection is kept all the same."""
    upstream.on("/old").raw(lambda w, r: w.send(b"HTTP/1.0 200 OK\r\nX-A: b\r\n\r\nall of it"))
    for _ in range(2):
        line.request("GET", "/old")
        assert line.response().text == "all of it"


def test_upgrade_refused(line, upstream):
    line.request("GET", "/ws", {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
    r = line.response()
    assert r.status != 101
    assert not any("Upgrade" in request.headers for request in upstream.requests)


def test_h2c_upgrade_is_not_passed_on(line, upstream):
    line.request("GET", "/", {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"})
    assert line.response().status != 101
    assert not any("HTTP2-Settings" in r.headers or "Upgrade" in r.headers for r in upstream.requests)


@pytest.mark.quick
def test_no_route(gw):
    r = gw.get("/none")
    assert (r.status, r.json) == (404, {"error_msg": "404 Route Not Found"})
    assert r.headers.get("Content-Type", "").startswith("application/json")


def test_path_is_normalised_before_matching(gw, upstream, make_upstream):
    gw.route("/open/*", upstream)
    closed = make_upstream()
    closed.on("*").reply(403)
    gw.route("/closed/*", closed)
    for path in ("/open/../closed/x", "/open/%2e%2e/closed/x", "/open/./../closed//x", "/clo%73ed/x"):
        assert gw.get(path).status == 403, path
    assert upstream.requests == []


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_large_bodies(line, upstream, framing):
    data = bytes(range(256)) * 32768                # 8 MiB
    pieces = [data[i:i + 60000] for i in range(0, len(data), 60000)]
    if framing == "length":
        upstream.on("/").reply(200, data)
        line.request("POST", "/", body=data)
    else:
        upstream.on("/").reply(200, chunks=pieces)
        line.request("POST", "/", chunks=pieces)
    r = line.response()
    want = hashlib.sha256(data).hexdigest()
    assert hashlib.sha256(upstream.requests[0].body).hexdigest() == want
    assert hashlib.sha256(r.body).hexdigest() == want


def test_response_before_the_body_is_sent(line, upstream):
    """An upstream that answers early and closes: the client gets the answer, not a fault."""
    def act(w):
        w.head()
        w.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        w.sock.shutdown(socket.SHUT_WR)
        w.closed()
    upstream.on_connect(act)
    line.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
    r = line.response()
    assert (r.status, r.text) == (413, "no")


def test_access_log_line(gw, upstream):
    gw.route("/*", upstream)
    gw.get("/logged?a=b", {"Host": "h.example", "User-Agent": "cases", "Referer": "there"})
    entry = gw.wait_access_log(1)[0]
    assert entry.startswith("127.0.0.1 - - [")
    assert 'h.example "GET /logged?a=b HTTP/1.1" 200 2 ' in entry
    assert f'"there" "cases" {upstream.node} 200 ' in entry


def test_drain(gw, upstream):
    """SIGTERM lets the running request end, and takes no more."""
    gw.route("/*", upstream)
    upstream.on("/slow").reply(200, chunks=["a", "b", "c", "d"], gap=0.1)
    with gw.connect() as w:
        w.request("GET", "/slow")
        upstream.wait("the request", lambda u: u.requests)
        began = time.monotonic()
        assert gw.stop() == 0
        assert w.response().text == "abcd"
        assert time.monotonic() - began < 5
