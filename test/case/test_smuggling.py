# SPDX-License-Identifier: Apache-2.0
"""Requests that try to hide another one, responses that try to answer a request that is not theirs."""
import re

import pytest

import wire
from peer import Upstream

pytestmark = [pytest.mark.asan]

CODINGS = [b"", *(line + b"\r\n" for line in (
    b"Transfer-Encoding: chunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding: chunked\x0c", b"Transfer-Encoding:\tchunked", b" Transfer-Encoding: chunked",
    b"X: y\r\n Transfer-Encoding: chunked", b"X: y\nTransfer-Encoding: chunked", b"X: y\rTransfer-Encoding: chunked",
    b"Transfer-Encoding\r\n: chunked", b"Transfer-Encoding:\r\n chunked", b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: identity, chunked", b"Transfer-Encoding: chunked,",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow", b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
    b"Transfer_Encoding: chunked", b"tRANSFER-eNCODING: CHUNKED", b"Transfer-Encoding: chunk", b"Transfer-Encoding",
    b"Transfer-Encoding: chunked;a=b", b"Transfer-Encoding: \0chunked", b"Transfer-Encoding\0: chunked",
    b"Transfer-Encoding\xa0: chunked", b"Transfer-Encoding:\xa0chunked", b"Foo: bar\r\n\rTransfer-Encoding: chunked",
    b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", b"Expect: x\r\nTransfer-Encoding: chunked"))]
LENGTHS = [b"", *(line + b"\r\n" for line in (
    b"Content-Length: %d", b"Content-Length: +%d", b"Content-Length: 0%d", b"Content-Length: %d, %d",
    b"Content-Length: %d\r\nContent-Length: 0", b"Content-Length: 0\r\nContent-Length: %d", b"Content-Length : %d",
    b"Content-Length:\x0b%d", b"Content_Length: %d", b"Content-Length: 0x%x", b"Content-Length: -%d",
    b"Content-Length:\r\n %d", b"Connection: Content-Length\r\nContent-Length: %d", b"X: y\nContent-Length: %d",
    b"X: y\rContent-Length: %d", b"Content-Length: %d\0", b"Content-Length: 18446744073709551616%d"))]
CHUNKS = [b"0\r\n\r\n%s", b"1\r\nZ\r\n0\r\n\r\n%s", b"0\r\nA: b\r\n\r\n%s", b"0\r\nContent-Length: 5\r\n\r\n%s",
          b"1;a\nb\r\nZ\r\n0\r\n\r\n%s", b"1\nZ\n0\n\n%s", b"1\r\nZ\n0\r\n\r\n%s", b"1\r\nZZ0\r\n\r\n%s", b"0\n\n%s",
          b"1 1\r\nZ\r\n0\r\n\r\n%s", b"0x1\r\nZ\r\n0\r\n\r\n%s", b"10000000000000001\r\nZ\r\n0\r\n\r\n%s",
          b"0\r\n\n%s", b"0\n\r\n%s", b"0\r\n\r%s", b"0\r\nA: b\n\r\n%s", b"0\r\n A: b\r\n\r\n%s",
          b"2\r\nxx\r\n45\r\n0\r\n\r\n%s", b"1;\nxx\r\n0\r\n\r\n%s"]
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def attacks():
    """(number, bytes): a POST to /first/N whose body holds, in one reading or another, a GET of /hidden/N."""
    heads = [(coding, length) for coding in CODINGS for length in LENGTHS] + [(CODINGS[1], b"")] * (len(CHUNKS) - 1)
    for n, (coding, length) in enumerate(heads):
        hidden = b"GET /hidden/%d HTTP/1.1\r\nHost: a\r\n\r\n" % n
        body = CHUNKS[max(0, n - (len(heads) - len(CHUNKS)))] % hidden
        numbers = length.count(b"%")
        head = b"POST /first/%d HTTP/1.1\r\nHost: a\r\n%s%s\r\n" % (n, coding, length % ((len(body),) * numbers))
        yield n, head + body + LAST


def responses(w):
    """As many as come before the gateway closes, or falls silent because it waits for the rest of a body."""
    w.sock.settimeout(0.5)
    found = []
    try:
        while True:
            found.append(w.response())
    except (wire.Closed, TimeoutError):
        return found


@pytest.mark.seconds(120)
def test_hidden_requests(gw, upstream):
    """The upstream gets no request but those that the gateway read as such, answered to this client and logged."""
    gw.route("/*", upstream)
    answered = accepted = 0
    for n, data in attacks():
        seen = len(upstream.requests)
        with gw.connect() as w:
            w.send(data)
            got = [r for r in responses(w) if r.status == 200]
        accepted += bool(got)
        answered += len(got)
        arrived = [r.target for r in upstream.requests[seen:]]
        assert len(arrived) == len(got), (data, arrived, got)
        assert arrived == [t for t in (f"/first/{n}", f"/hidden/{n}", "/last") if t in arrived], (data, arrived)
        if f"/hidden/{n}" in arrived:
            assert got[0].status == 200 and arrived[0] == f"/first/{n}", (data, arrived)
    logged = wire.wait_until("a line for each answer", lambda: sum('" 200 ' in line for line in gw.access_log) >= answered
                             and gw.access_log)
    assert sum('" 200 ' in line for line in logged) == answered == len(upstream.requests)
    assert accepted >= 15, "the attacks prove nothing when nothing passes"


OK = b"HTTP/1.1 200 OK\r\n"
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"


def sized(n):
    """A response of n bytes: one that just fills a read leaves the next bytes for the next one."""
    head = OK + b"Content-Length: %06d\r\n\r\n"
    return head % (n - len(head % 0)) + b"x" * (n - len(head % 0))


TAILS = {
    "body after HEAD": ("HEAD", OK + b"Content-Length: 44\r\n\r\n"),
    "empty, then more": ("GET", OK + b"Content-Length: 0\r\n\r\n"),
    "body after 204": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    "body after 304": ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 44\r\n\r\n"),
    "longer than said": ("GET", OK + b"Content-Length: 2\r\n\r\nab"),
    "after the last chunk": ("GET", OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
    "after the trailers": ("GET", OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nA: b\r\n\r\n"),
    "a read just full": ("GET", sized(65536)),
    "two reads just full": ("GET", sized(131072)),
}


@pytest.mark.parametrize("name", TAILS)
def test_response_that_is_nobodys(gw, name):
    """Bytes behind a response are no answer to the next request: neither to the same client's nor to another's."""
    method, reply = TAILS[name]
    upstream = Upstream()
    try:
        upstream.on("/tail").replies.append(lambda w, request: w.send(reply + POISON))
        upstream.on("/next").reply(200, "next")
        gw.route("/*", upstream)
        for _ in range(10):
            with gw.connect() as w:
                w.send(b"%s /tail HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n" % method.encode())
                assert b"POISON" not in w.response(method).body
                assert w.response().body == b"next"
            assert gw.get("/next").body == b"next"
        assert not upstream.broken
    finally:
        upstream.stop()


@pytest.mark.parametrize("count, status", [(60, 200), (10000, 502)])
def test_interim_responses_without_end(gw, upstream, count, status):
    upstream.on("/").raw(lambda w, request: w.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * count + OK +
                                                   b"Content-Length: 2\r\n\r\nok"))
    gw.route("/", upstream)
    with gw.connect() as w:
        w.request("GET", "/")
        r = w.response()
        assert r.status == status and len(r.interim) <= 64


def test_trailers_do_not_speak_for_the_head(gw, upstream):
    """Some servers add them to the headers: what a plugin set, removed or proved does not come in them."""
    gw.put("consumers", {"username": "jack", "plugins": {"key-auth": {"key": "k"}}})
    gw.route("/*", upstream, {"key-auth": {}, "proxy-rewrite": {"headers": {"set": {"X-Role": "user"}}}})
    gw.route("/removed", upstream, {"proxy-rewrite": {"headers": {"remove": ["X-Debug"]}}})
    trailers = [("x-consumer-username", "admin"), ("X-Credential-Identifier", "1"), ("X-ROLE", "root"), ("apikey", "l"),
                ("X-Sum", "1"), ("X-Debug", "1")]
    assert gw.request("POST", "/", {"apikey": "k"}, chunks=["a"], trailers=trailers).status == 200
    assert upstream.requests[0].trailers == [("X-Sum", "1"), ("X-Debug", "1")]
    assert gw.request("POST", "/removed", chunks=["a"], trailers=trailers).status == 200
    assert (upstream.requests[1].body, upstream.requests[1].trailers) == (b"a", [])
