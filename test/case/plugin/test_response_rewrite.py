# SPDX-License-Identifier: Apache-2.0
"""response-rewrite: status, headers, a new body, and filters over the upstream's."""
import base64
import gzip

import pytest

pytestmark = [pytest.mark.asan]
TAGS = {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT", "ETag": '"33a64df5"', "X-Server-id": "100",
        "Content-Type": "application/xml"}


def ask(bench, conf, body="hello world\n", headers=(), method="GET", status=200, **more):
    rule = bench.up.on("*")
    rule.replies.clear()
    rule.reply(status, body, headers, **more)
    return bench.gw.request(method, bench.route({"response-rewrite": conf}) + "/a")


@pytest.mark.quick
def test_new_body(bench):
    r = ask(bench, {"body": "new body2\n"}, headers={**TAGS, "Content-Encoding": "br"})
    assert (r.status, r.text) == (200, "new body2\n")
    assert r.headers.get("X-Server-id") == "100" and r.headers.get("Content-Type") == "application/xml"
    assert not any(name in r.headers for name in ("Last-Modified", "ETag", "Content-Encoding"))
    assert r.headers.get("Content-Length", "10") == "10"


@pytest.mark.quick
@pytest.mark.parametrize("conf, want", [
    ({"body": ""}, b""),
    ({"body": "SGVsbG8K", "body_base64": True}, b"Hello\n"),
    ({"body": base64.b64encode(bytes(range(256))).decode(), "body_base64": True}, bytes(range(256))),
    ({"body": "x" * 100000}, b"x" * 100000),
])
def test_bodies(bench, conf, want):
    assert ask(bench, conf).body == want
    assert ask(bench, conf, chunks=["one", "two", "three"]).body == want
    assert ask(bench, conf, body="", status=500).body == want
    assert ask(bench, conf, method="HEAD").body == b""


@pytest.mark.quick
def test_status_and_flat_headers(bench):
    r = ask(bench, {"status_code": 302, "headers": {"Location": "https://www.iresty.com", "X-Server-id": 3, "X-Half": 1.5,
                                                    "X-A": "from $remote_addr to $balancer_ip:$balancer_port", "Content-Type": ""}},
            headers=TAGS)
    assert r.status == 302 and r.headers.get("Location") == "https://www.iresty.com"
    assert r.headers.all("X-Server-id") == ["3"] and r.headers.all("X-Half") == ["1.5"]
    assert r.headers.get("X-A") == f"from 127.0.0.1 to 127.0.0.1:{bench.up.port}"
    assert "Content-Type" not in r.headers and r.headers.get("ETag") == TAGS["ETag"] and r.text == "hello world\n"


def test_add_set_remove_in_this_order(bench):
    r = ask(bench, {"headers": {"add": ["Cache-Control: no-cache", "Cache-Control : max-age=0, must-revalidate", "X-B:a", "X-C: 1"],
                                "set": {"X-C": "2", "X-D": "$arg_none"}, "remove": ["x-old", "X-None"]}},
            headers=[("X-Old", "1"), ("X-Old", "2"), ("X-D", "1"), ("Cache-Control", "private")])
    assert r.headers.all("Cache-Control") == ["private", "no-cache", "max-age=0, must-revalidate"]
    assert r.headers.all("X-B") == ["a"] and r.headers.all("X-C") == ["2"]
    assert "X-Old" not in r.headers and "X-D" not in r.headers


@pytest.mark.quick
@pytest.mark.parametrize("filters, want", [
    ([{"regex": "hello", "replace": "test"}], "test world hello\n"),
    ([{"regex": "l", "replace": "t", "scope": "global"}], "hetto wortd hetto\n"),
    ([{"regex": "HELLO", "replace": "", "options": "i"}], " world hello\n"),
    ([{"regex": "hello", "replace": "HELLO"}, {"regex": "L", "replace": "T"}], "HETLO world hello\n"),
    ([{"regex": "(\\w+) (\\w+)", "replace": "$2-${1}-$$"}], "world-hello-$ hello\n"),
    ([{"regex": "nothing", "replace": "x"}], "hello world hello\n"),
    ([{"regex": "^", "replace": "> ", "scope": "global", "options": "m"}], "> hello world hello\n"),
])
def test_filters(bench, filters, want):
    r = ask(bench, {"filters": filters}, "hello world hello\n", TAGS)
    assert r.text == want and "ETag" not in r.headers
    assert ask(bench, {"filters": filters}, chunks=["hel", "lo wor", "ld hello", "\n"]).text == want


@pytest.mark.quick
def test_filters_over_gzip(bench):
    conf = {"filters": [{"regex": "hello", "replace": "test", "scope": "global"}]}
    r = ask(bench, conf, gzip.compress(b"hello world " * 10000), {"Content-Encoding": "gzip"})
    assert r.body == b"test world " * 10000 and "Content-Encoding" not in r.headers


def test_gzip_that_is_broken_or_a_bomb(bench):
    conf = {"max_resp_body_size": 100000, "filters": [{"regex": "hello", "replace": "test"}]}
    for body in (b"no gzip", gzip.compress(b"hello")[:-9], gzip.compress(bytes(10000000))):
        rule = bench.up.on("*")
        rule.replies.clear()
        rule.reply(200, body, {"Content-Encoding": "gzip"})
        with bench.gw.connect() as w:
            w.request("GET", bench.route({"response-rewrite": conf}) + "/a")
            data = b""
            try:
                while True:
                    w.more()
            except Exception:
                data = w.buffer
        assert not data.endswith(b"0\r\n\r\n") and b"hello" not in data, "broken off, not passed as if it were whole"
    bench.gw.wait_log("filters may not work as expected: gzip: it is too long")


def test_other_encodings_are_left_alone(bench):
    r = ask(bench, {"filters": [{"regex": "hello", "replace": "test"}], "headers": {"X-Set": "1"}}, "hello", {"Content-Encoding": "br"})
    assert r.text == "hello" and r.headers.get("Content-Encoding") == "br" and r.headers.get("X-Set") == "1"
    bench.gw.wait_log("due to unsupported compression encoding type: br")


@pytest.mark.parametrize("more", [{}, {"chunks": ["hel", "lo wor", "ld"]}, {"chunks": ["hello", " world"]}])
def test_a_long_body_is_cut_off(bench, more):
    conf = {"max_resp_body_size": 5, "filters": [{"regex": "hello", "replace": "HELLO"}]}
    assert ask(bench, conf, "hello world", **more).text == "HELLO"


def test_vars(bench):
    conf = {"body": "new body3\n", "status_code": 403, "headers": {"X-A": "1"}, "vars": [["status", "==", 500]]}
    r = ask(bench, conf, "broken", status=500)
    assert (r.status, r.text, r.headers.get("X-A")) == (403, "new body3\n", "1")
    r = ask(bench, conf, "fine", TAGS)
    assert (r.status, r.text) == (200, "fine") and "X-A" not in r.headers and "ETag" in r.headers


def test_our_own_replies_too(bench):
    base = bench.route({"key-auth": {}, "response-rewrite": {"status_code": 418, "filters": [{"regex": "API", "replace": "any"}]}})
    r = bench.get(base + "/a")
    assert (r.status, r.text) == (418, '{"message":"Missing any key in request"}\n')


@pytest.mark.parametrize("conf, why", [
    ({"status_code": 599}, 'property "status_code" validation failed: expected 599 to be at most 598'),
    ({"body": 2}, 'property "body" validation failed: wrong type: expected string, got number'),
    ({"body": "1", "body_base64": True}, "invalid base64 content"),
    ({"body": "", "body_base64": True}, "invalid base64 content"),
    ({"body_base64": True}, "invalid base64 content"),
    ({"filters": []}, 'property "filters" validation failed: expect array to have at least 1 items'),
    ({"filters": [{"regex": "l"}]}, 'property "filters" validation failed: failed to validate item 1: property "replace" is required'),
    ({"filters": [{"regex": "", "replace": "m"}]}, 'property "filters" validation failed: failed to validate item 1: '
                                                   'property "regex" validation failed: string too short, expected at least 1, got 0'),
    ({"filters": [{"regex": "l", "replace": "m", "scope": ""}]},
     'property "filters" validation failed: failed to validate item 1: property "scope" validation failed: matches none of the enum values'),
    ({"filters": [{"regex": "hello", "replace": "HELLO", "options": "h"}]},
     'regex "hello" validation failed: unknown flag "h" (flags "h")'),
    ({"filters": [{"regex": "ok", "replace": ""}, {"regex": "a(", "replace": ""}]},
     'regex "a(" validation failed: pcre2_compile() failed: missing closing parenthesis in "a("'),
    ({"headers": {"add": ["no colon"]}}, 'property "headers" validation failed: object matches none of the required'),
    ({"headers": {"X-A": []}}, "invalid type as header value"),
    ({"headers": {"": 2}}, "invalid field length in header"),
    ({"vars": [["a", "=", "b"]]}, "failed to validate the 'vars' expression: invalid operator '='"),
])
def test_configuration(bench, conf, why):
    assert bench.refusal("response-rewrite", conf) == why


def test_body_and_filters(bench):
    why = bench.refusal("response-rewrite", {"body": "test", "filters": [{"regex": "l", "replace": "m"}]})
    assert why in [f"failed to validate dependent schema for \"{name}\": value wasn't supposed to match schema"
                   for name in ("filters", "body")]
