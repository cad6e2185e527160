# SPDX-License-Identifier: Apache-2.0
"""Malformed requests, each whole and byte by byte: 4xx, the connection is closed, the upstream gets no request."""
import pytest

import wire
from peer import Upstream

pytestmark = [pytest.mark.asan]

G = b"GET / HTTP/1.1\r\nHost: a\r\n"
P = b"POST / HTTP/1.1\r\nHost: a\r\n"
C = P + b"Transfer-Encoding: chunked\r\n\r\n"
END = b"\r\n\r\n"

BAD = {
    # request line
    "no version": b"GET /\r\nHost: a" + END,
    "two spaces": b"GET  / HTTP/1.1\r\nHost: a" + END,
    "leading space": b" GET / HTTP/1.1\r\nHost: a" + END,
    "trailing space": b"GET / HTTP/1.1 \r\nHost: a" + END,
    "lower-case version": b"GET / http/1.1\r\nHost: a" + END,
    "long version": b"GET / HTTP/1.10\r\nHost: a" + END,
    "comma version": b"GET / HTTP/1,1\r\nHost: a" + END,
    "bad method": b"G@T / HTTP/1.1\r\nHost: a" + END,
    "no method": b"/ HTTP/1.1\r\nHost: a" + END,
    "no slash": b"GET noslash HTTP/1.1\r\nHost: a" + END,
    "asterisk": b"GET * HTTP/1.1\r\nHost: a" + END,
    "connect": b"CONNECT a:80 HTTP/1.1\r\nHost: a:80" + END,
    "space in target": b"GET /a b HTTP/1.1\r\nHost: a" + END,
    "NUL in target": b"GET /a\0b HTTP/1.1\r\nHost: a" + END,
    "control in target": b"GET /a\x01b HTTP/1.1\r\nHost: a" + END,
    "bare CR in request line": b"GET /\rHTTP/1.1\r\nHost: a" + END,
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n" + END,
    # path
    "lone percent": b"GET /% HTTP/1.1\r\nHost: a" + END,
    "short percent": b"GET /a%1 HTTP/1.1\r\nHost: a" + END,
    "wrong percent": b"GET /%zz HTTP/1.1\r\nHost: a" + END,
    "encoded NUL": b"GET /a%00b HTTP/1.1\r\nHost: a" + END,
    "above root": b"GET /../a HTTP/1.1\r\nHost: a" + END,
    "above root later": b"GET /a/../../b HTTP/1.1\r\nHost: a" + END,
    "above root encoded": b"GET /%2e%2E/a HTTP/1.1\r\nHost: a" + END,
    "above root, slash encoded": b"GET /a/..%2f..%2fb HTTP/1.1\r\nHost: a" + END,
    # host
    "no host": b"GET / HTTP/1.1\r\nA: b" + END,
    "two hosts": G + b"Host: b" + END,
    "space in host": b"GET / HTTP/1.1\r\nHost: a b" + END,
    "slash in host": b"GET / HTTP/1.1\r\nHost: a/b" + END,
    "user in host": b"GET / HTTP/1.1\r\nHost: u@a" + END,
    "NUL in host": b"GET / HTTP/1.1\r\nHost: a\0b" + END,
    # header lines
    "space before colon": G + b"A : b" + END,
    "tab before colon": G + b"A\t: b" + END,
    "no colon": G + b"Abc" + END,
    "empty name": G + b": b" + END,
    "space in name": G + b"A b: c" + END,
    "NUL in name": G + b"A\0: c" + END,
    "NUL in value": G + b"A: b\0c" + END,
    "bare CR in value": G + b"A: b\rC: d" + END,
    "CR CR LF": G + b"A: b\r\r\n\r\n",
    "folded line": G + b"A: b\r\n c" + END,
    "folded with tab": G + b"A: b\r\n\tc" + END,
    "first line folded": b"GET / HTTP/1.1\r\n Host: a" + END,
    # lengths
    "both lengths": P + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths turned": P + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": P + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "same length twice": P + b"Content-Length: 5\r\ncontent-length: 5\r\n\r\nhello",
    "length list": P + b"Content-Length: 5, 5\r\n\r\nhello",
    "length with plus": P + b"Content-Length: +5\r\n\r\nhello",
    "length below zero": P + b"Content-Length: -5\r\n\r\nhello",
    "length in hex": P + b"Content-Length: 0x5\r\n\r\nhello",
    "length with a blank": P + b"Content-Length: 5 5\r\n\r\nhello",
    "length empty": P + b"Content-Length: \r\n\r\n",
    "length too big": P + b"Content-Length: 18446744073709551621\r\n\r\nhello",
    # transfer codings
    "gzip only": P + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    "identity": P + b"Transfer-Encoding: identity\r\n\r\n",
    "chunked not last": P + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": P + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "almost chunked": P + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked with VT": P + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "two codings": P + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    # chunks: the head may already be on its way, a whole request must never arrive
    "chunk size not hex": C + b"g\r\nhello\r\n0\r\n\r\n",
    "chunk size empty": C + b"\r\nhello\r\n0\r\n\r\n",
    "chunk size signed": C + b"+5\r\nhello\r\n0\r\n\r\n",
    "chunk size with 0x": C + b"0x5\r\nhello\r\n0\r\n\r\n",
    "chunk size too big": C + b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "chunk size wraps": C + b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "chunk line with LF": C + b"5\nhello\r\n0\r\n\r\n",
    "chunk extension with LF": C + b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "chunk too long": C + b"5\r\nhelloXX\r\n0\r\n\r\n",
    "chunk ends with LF": C + b"5\r\nhello\n0\r\n\r\n",
    "trailer with space": C + b"5\r\nhello\r\n0\r\nA : b\r\n\r\n",
    "trailer with NUL": C + b"5\r\nhello\r\n0\r\nA: b\0\r\n\r\n",
    "trailer folded": C + b"5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n",
}
# Odd but legal: these must pass, or the cases above prove nothing.
GOOD = {
    "plain": G + b"\r\n",
    "empty line first": b"\r\n" + G + b"\r\n",
    "lower-case names": b"GET / HTTP/1.1\r\nhost: a" + END,
    "empty value": G + b"A:" + END,
    "blanks around the value": G + b"A: \t b \t" + END,
    "bytes above 127": G + b"A: \xe4\xff" + END,
    "absolute target": b"GET http://a/x HTTP/1.1\r\nHost: a" + END,
    "host with port": b"GET / HTTP/1.1\r\nHost: a:8080" + END,
    "IPv6 host": b"GET / HTTP/1.1\r\nHost: [::1]:8080" + END,
    "encoded slash": b"GET /a%2Fb?c=%zz HTTP/1.1\r\nHost: a" + END,
    "dots inside": b"GET /a/./b/../c...d HTTP/1.1\r\nHost: a" + END,
    "unknown method": b"BREW / HTTP/1.1\r\nHost: a" + END,
    "length zero": P + b"Content-Length: 0" + END,
    "length with zeros": P + b"Content-Length: 0005\r\n\r\nhello",
    "coding in capitals": P + b"Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunk extension": C + b'5;a="b;c"\r\nhello\r\n0;x\r\n\r\n',
    "chunk size with zeros": C + b"0005\r\nhello\r\n000\r\n\r\n",
    "hex digits": C + b"00A\r\n0123456789\r\n0\r\nA: b\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\nHost: a" + END,
    "HTTP/1.0 without host": b"GET / HTTP/1.0" + END,
}


@pytest.fixture(scope="module")
def target(shared_gw):
    up = Upstream()
    shared_gw.route("/*", up)
    yield shared_gw, up
    up.stop()


@pytest.mark.parametrize("split", [False, True], ids=["whole", "bytes"])
@pytest.mark.parametrize("name", BAD)
def test_refused(target, name, split):
    gw, up = target
    seen = len(up.requests)
    with gw.connect() as w:
        w.send(BAD[name], split)
        reply = w.response()
        assert 400 <= reply.status < 500 or reply.status in (501, 505), reply
        # 501 and 505 are what RFC 9112 names for an unknown coding (6.1) and a version (RFC 9110 15.6.6).
        assert w.closed(), "the connection must not go on after a request whose end is in doubt"
    assert len(up.requests) == seen


@pytest.mark.parametrize("split", [False, True], ids=["whole", "bytes"])
@pytest.mark.parametrize("name", GOOD)
def test_accepted(target, name, split):
    gw, up = target
    seen = len(up.requests)
    reply = gw.raw(GOOD[name], split)
    assert reply.status == 200, reply
    assert len(up.requests) == seen + 1


@pytest.mark.quick
def test_bad_after_good(target):
    """The second of two pipelined requests is bad: the first is answered, the second refused, the third never read."""
    gw, up = target
    seen = len(up.requests)
    with gw.connect() as w:
        w.send(G + b"\r\n" + BAD["both lengths"] + G + b"\r\n")
        assert w.response().status == 200
        assert w.response().status == 400
        assert w.closed()
    assert len(up.requests) == seen + 1


@pytest.mark.quick
def test_smuggled_request_stays_body(target):
    """What looks like a request inside a body is forwarded as body."""
    gw, up = target
    inner = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"
    seen = len(up.requests)
    for head, body in ((P + b"Content-Length: %d\r\n\r\n" % len(inner), inner), (C, wire.chunked([inner]))):
        assert gw.raw(head + body).status == 200
    assert [r.body for r in up.requests[seen:]] == [inner, inner]
