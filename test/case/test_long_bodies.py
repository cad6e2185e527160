# SPDX-License-Identifier: Apache-2.0
"""Long bodies that routes and plugins look into: read by threads of their own, beside other requests."""
import contextlib
import json
import select

import pytest

import wire
from test_routing import FORM, JSON, by_vars, marked, routed

pytestmark = [pytest.mark.asan]

PAD = "x" * 100000
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
GRAPHQL = [["graphql_name", "==", "q"]]


def doc(**members):
    return json.dumps({"pad": PAD, **members}).encode()


@pytest.mark.quick
def test_routed_by_long_bodies(gw, upstream):
    by_vars(gw, upstream, form=[["post_arg_name", "==", "json"]], openai=[["post_arg.model", "==", "openai"]],
            image=[["post_arg.messages[*].content[*].type", "has", "image_url"]], graphql=GRAPHQL)
    bodies = [("form", FORM, f"pad={PAD}&name=json".encode()), ("rest", FORM, f"pad={PAD}&name=other".encode()),
              ("openai", JSON, doc(model="openai")), ("rest", JSON, doc(model="other")), ("rest", JSON, doc()[:-1]),
              ("image", JSON, doc(messages=[{"content": [{"type": "image_url"}]}])),
              ("graphql", JSON, doc(query="query q { a }")), ("graphql", {}, f"query q {{ a }} # {PAD}".encode()),
              ("openai", MULTIPART, b"--b\r\nContent-Disposition: form-data; name=\"pad\"\r\n\r\n" + PAD.encode() +
               b"\r\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nopenai\r\n--b--\r\n"),
              ("rest", {"Content-Type": "text/plain"}, doc(model="openai"))]
    for name, headers, body in bodies:
        assert routed(gw, "/", "POST", headers, body) == name, (name, headers, body[-200:])
        assert upstream.requests[-1].body == body
    with gw.connect() as w:                       # several on one connection, in pieces
        for name, headers, body in bodies:
            w.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" +
                   b"".join(f"{k}: {v}\r\n".encode() for k, v in headers.items()) + b"\r\n")
            for at in range(0, len(body), 9999):
                w.send(b"%x\r\n%s\r\n" % (len(body[at:at + 9999]), body[at:at + 9999]))
            w.send(b"0\r\n\r\n")
            assert w.response().headers.get("X-Route") == name
            assert upstream.requests[-1].body == body


def test_plugins_that_ask_for_long_bodies(gw, upstream):
    gw.route("/text", upstream, {"proxy-rewrite": {"headers": {"set": {"X-Model": "$post_arg.model"}}}})
    gw.route("/filter", upstream, {"redirect": {"uri": "/else", "_meta": {"filter": [["post_arg.go", "==", True]]}}})
    gw.route("/both", upstream, marked("both", "graphql_name"), vars=[["post_arg.query", "~~", "^query"]])
    gw.route("/lua", upstream, marked("lua"), filter_func="function(vars) return vars['post_arg.model'] == 'm' end")
    gw.put("consumers", {"username": "ann", "plugins": {
        "key-auth": {"key": "k"}, "response-rewrite": {"headers": {"set": {"X-Model": "$post_arg.model"}}}}})
    gw.route("/consumer", upstream, {"key-auth": {}})
    gw.post("/text", doc(model="m1"), JSON)
    assert upstream.requests[-1].headers.get("X-Model") == "m1"
    assert gw.post("/filter", doc(go=True), JSON).status == 302
    assert gw.post("/filter", doc(go=1), JSON).status == 200
    assert gw.post("/both", doc(query="query q { a }"), JSON).headers.get("X-graphql-name") == "q"
    assert routed(gw, "/lua", "POST", JSON, doc(model="m")) == "lua"
    assert routed(gw, "/lua", "POST", JSON, doc(model="n")) is None
    assert gw.post("/consumer", doc(model="m2"), {**JSON, "apikey": "k"}).headers.get("X-Model") == "m2"


def is_read(gw, sock):
    """The gateway has taken all that was sent on this connection from the kernel."""
    mine = f":{sock.getsockname()[1]:04X}"
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f][1:]
    queues = [r[4].split(":") for r in rows if (r[1].endswith(f":{gw.port:04X}") and r[2].endswith(mine)) or r[1].endswith(mine)]
    return all(int(sent, 16) == int(received, 16) == 0 for sent, received in queues)


def test_others_are_answered_meanwhile(make_gw, upstream):
    """By the same thread: whoever comes later is not behind a dozen bodies of 900,000 values."""
    gw = make_gw(nginx_config={"worker_processes": 1})
    gw.put("routes/1", {"uri": "/", "vars": [["post_arg.a", "==", "1"]], "plugins": {"redirect": {"uri": "/long"}}})
    gw.put("routes/other", {"uri": "/other", "plugins": {"redirect": {"uri": "/x"}}})
    body = b'{"a":"1","b":[' + b",".join([b"1"] * 900000) + b"]}"
    message = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with contextlib.ExitStack() as stack, gw.connect() as other:
        longs = [stack.enter_context(gw.connect()) for _ in range(12)]
        for long in longs:
            long.send(message)
        wire.wait_until("the gateway to have the bodies", lambda: all(is_read(gw, long.sock) for long in longs))
        other.request("GET", "/other")
        assert other.response().status == 302
        answered = select.select([long.sock for long in longs], [], [], 0)[0]
        assert len(answered) < len(longs), "the long ones were answered first"
        assert {long.response().headers.get("Location") for long in longs} == {"/long"}


def test_clients_that_leave_meanwhile(gw, upstream):
    by_vars(gw, upstream, a=[["post_arg.a", "==", "1"]])
    body = b'{"a":"2","b":[' + b",".join([b"1"] * 100000) + b"]}"
    for _ in range(5):
        with gw.connect() as w:
            w.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
            w.send(body)
    assert len(gw.wait_access_log(5)) == 5
    assert routed(gw, "/", "POST", JSON, doc(a="1")) == "a"


def test_stopped_meanwhile(gw, upstream):
    """The exit waits for them, and loses nothing of what it holds."""
    by_vars(gw, upstream, a=[["post_arg.a", "==", "1"]])
    body = b'{"a":"1","b":[' + b",".join([b"1"] * 300000) + b"]}"
    with gw.connect() as w:
        w.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        w.send(body)
        gw.finish()


def test_fields_of_a_form(gw, upstream):
    """As in APISIX, the first hundred."""
    by_vars(gw, upstream, hundred=[["post_arg_last", "==", "100"]], more=[["post_arg_last", "==", "101"]])
    fields = [f"a{i}=1" for i in range(99)]
    assert routed(gw, "/", "POST", FORM, "&".join([*fields, "last=100"]).encode()) == "hundred"
    assert routed(gw, "/", "POST", FORM, "&".join([*fields, "b=1", "last=101"]).encode()) == "rest"
