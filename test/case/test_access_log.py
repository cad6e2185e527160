# SPDX-License-Identifier: Apache-2.0
"""The access log has a line for each request, however bad, and no client can keep its own out."""
import json
import socket

import pytest

import wire
from gw import ports

pytestmark = [pytest.mark.asan]

FORMAT = '$status $eclusa_reason sent=$body_bytes_sent "$request" host=$http_host uri=$uri agent=$http_user_agent'
LIMITS = {"client_header_timeout": "1s", "client_max_body_size": 1000}
H = b"Host: a\r\nUser-Agent: me\r\n"

# (bytes, the line without its count of bytes)
REFUSED = {
    "TLS hello": (b"\x16\x03\x01\x02\n\r\n", r'400 BAD_REQUEST_LINE "\x16\x03\x01\x02" host=- uri=- agent=-'),
    "no request": (b"hello\r\n\r\n", '400 BAD_METHOD "hello" host=- uri=- agent=-'),
    "version": (b"GET /a HTTP/3.5\r\n" + H + b"\r\n", '505 VERSION_UNSUPPORTED "GET /a HTTP/3.5" host=- uri=- agent=-'),
    "target": (b"GET a HTTP/1.1\r\n" + H + b"\r\n", '400 BAD_TARGET "GET a HTTP/1.1" host=a uri=- agent=me'),
    "method": (b"CONNECT a:1 HTTP/1.1\r\n" + H + b"\r\n",
               '405 METHOD_UNSUPPORTED "CONNECT a:1 HTTP/1.1" host=a uri=- agent=me'),
    "no host": (b"GET /a?b HTTP/1.1\r\nUser-Agent: me\r\n\r\n", '400 NO_HOST "GET /a?b HTTP/1.1" host=- uri=/a agent=me'),
    "header": (b"GET /a HTTP/1.1\r\n" + H + b"b c: d\r\n\r\n", '400 BAD_HEADER_NAME "GET /a HTTP/1.1" host=a uri=- agent=me'),
    "both lengths": (b"POST /a HTTP/1.1\r\n" + H + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
                     '400 BOTH_LENGTHS "POST /a HTTP/1.1" host=a uri=/a agent=me'),
    "large head": (b"GET /a HTTP/1.1\r\n" + H + b"A: " + b"x" * 100000,
                   '431 HEAD_TOO_LARGE "GET /a HTTP/1.1" host=a uri=- agent=me'),
    "many headers": (b"GET /a HTTP/1.1\r\n" + H + b"a: b\r\n" * 300 + b"\r\n",
                     '431 TOO_MANY_HEADERS "GET /a HTTP/1.1" host=a uri=- agent=me'),
    "long body": (b"POST /%61 HTTP/1.1\r\n" + H + b"Content-Length: 1001\r\n\r\n",
                  '413 BODY_TOO_LARGE "POST /%61 HTTP/1.1" host=a uri=/a agent=me'),
    "expectation": (b"GET /a HTTP/1.1\r\n" + H + b"Expect: more\r\n\r\n",
                    '417 BAD_EXPECT "GET /a HTTP/1.1" host=a uri=/a agent=me'),
    "late": (b"GET /a HTTP/1.1\r\n" + H, '408 CLIENT_HEAD_TIMEOUT "GET /a HTTP/1.1" host=a uri=- agent=me'),
    "late line": (b"GET /a", '408 CLIENT_HEAD_TIMEOUT "GET /a" host=- uri=- agent=-'),
}


@pytest.fixture
def make_logging(make_gw):
    return lambda log_format=FORMAT, **http: make_gw(nginx_config={"http": {
        **LIMITS, "access_log_format": log_format, "access_log_buffer": 0, **http}})


@pytest.mark.quick
def test_refused(make_logging, upstream):
    """One line each, with what was known of the request, and the bytes of the page that the client got."""
    gw = make_logging()
    gw.route("/*", upstream)
    for n, (name, (data, line)) in enumerate(REFUSED.items(), 1):
        r = gw.raw(data)
        logged = gw.wait_access_log(n)
        words = line.split(" ", 2)
        assert logged[n - 1:] == [f"{words[0]} {words[1]} sent={len(r.body)} {words[2]}"], name
        assert r.status == int(words[0]) and r.body, name
    assert upstream.requests == []


def test_long_line(make_logging):
    """A target without end: the line has what came of it, within the limit of a line."""
    gw = make_logging()
    assert gw.raw(b"GET /" + b"a" * 40000).status == 414
    line = gw.wait_access_log(1)[0]
    assert line.startswith('414 URI_TOO_LONG sent=') and '"GET /aaaa' in line and line.endswith("agent=-")


def test_cut_head(make_logging, upstream):
    """A client that closes within its head; one that sends an empty line after its request has sent no other."""
    gw = make_logging()
    gw.route("/*", upstream)
    for data in (b"GET /a HTTP/1.1\r\n" + H, b"GET /b HTTP/1.1\r\n" + H + b"\r\n\r\n", b"GE"):
        with gw.connect() as w:
            w.send(data)
            w.sock.shutdown(socket.SHUT_WR)
            w.closed()
    lines = sorted(gw.wait_access_log(3))
    assert lines == ['200 - sent=2 "GET /b HTTP/1.1" host=a uri=/b agent=me',
                     '400 HEAD_CUT sent=0 "GE" host=- uri=- agent=-',
                     '400 HEAD_CUT sent=0 "GET /a HTTP/1.1" host=a uri=- agent=me']


def test_body_fault_is_one_line(make_logging, upstream):
    gw = make_logging()
    gw.route("/*", upstream)
    with gw.connect() as w:
        w.send(b"GET /a HTTP/1.1\r\n" + H + b"\r\n" + b"POST /b HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
        first, second = w.response(), w.response()
        assert (first.status, second.status) == (200, 400) and w.closed()
    assert gw.wait_access_log(2) == [
        '200 - sent=2 "GET /a HTTP/1.1" host=a uri=/a agent=me',
        f'400 BAD_CHUNK sent={len(second.body)} "POST /b HTTP/1.1" host=a uri=/b agent=me']


MANY = " ".join("a=$http_a" for _ in range(8)) + " $status"


@pytest.mark.parametrize("value", ["x" * 20000, '"' * 5000, "é" * 8000], ids=["plain", "escaped", "UTF-8"])
def test_line_that_is_too_long(make_logging, upstream, value):
    """Headers that are logged many times fill more than a line: the values are cut, and say so; no field is lost."""
    gw = make_logging(MANY)
    gw.route("/*", upstream)
    with gw.connect() as w:
        w.send(b"GET /a HTTP/1.1\r\nHost: a\r\nA: " + value.encode() + b"\r\n\r\n")
        assert w.response().status == 200
    line = gw.wait_access_log(1)[0]
    assert len(line) < 65536 and line.endswith("...(cut) 200") and line.count("...(cut)") == 8


def test_json_line_that_is_too_long(make_logging, upstream):
    gw = make_logging("{" + ",".join(f'"a{i}":"$http_a"' for i in range(8)) + ',"s":"$status"}',
                      access_log_format_escape="json")
    gw.route("/*", upstream)
    with gw.connect() as w:
        w.send(b'GET /a HTTP/1.1\r\nHost: a\r\nA: ' + ('"é' * 7000).encode() + b"\r\n\r\n")
        assert w.response().status == 200
    entry = json.loads(gw.wait_access_log(1)[0])
    assert entry["s"] == "200"
    assert all(entry[f"a{i}"].startswith('"é"é') and entry[f"a{i}"].endswith("...(cut)") for i in range(8))


def test_long_value_is_whole(make_logging, upstream):
    """A long target that fits is logged to its end."""
    gw = make_logging("$request $status")
    gw.route("/*", upstream)
    target = "/" + "a" * 7000 + "b"
    assert gw.get(target).status == 200
    assert gw.wait_access_log(1) == [f"GET {target} HTTP/1.1 200"]


def test_http_to_a_tls_port(make_gw):
    """Nothing is known of such a request, but that it came."""
    port = ports.take()
    gw = make_gw(apisix={"ssl": {"enable": True, "listen": [{"ip": "127.0.0.1", "port": port}]}},
                 nginx_config={"http": {"access_log_format": FORMAT, "access_log_buffer": 0}})
    with wire.connect(port) as w:
        w.request("GET", "/a")
        r = w.response()
    assert r.status == 400
    assert gw.wait_access_log(1) == [f'400 HTTP_TO_TLS_PORT sent={len(r.body)} "-" host=- uri=- agent=-']
