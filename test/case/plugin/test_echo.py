# SPDX-License-Identifier: Apache-2.0
"""echo: text around and in place of bodies."""
import pytest

pytestmark = [pytest.mark.asan]
TAGS = {"ETag": '"1"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT", "Content-Encoding": "identity"}


@pytest.mark.quick
@pytest.mark.parametrize("conf, want", [
    ({"before_body": "before "}, "before one two"),
    ({"after_body": " after"}, "one two after"),
    ({"body": "other"}, "other"),
    ({"body": ""}, ""),
    ({"before_body": "a", "body": "b", "after_body": "c"}, "abc"),
    ({"before_body": "a", "after_body": "c"}, "aone twoc"),
])
def test_bodies(bench, conf, want):
    bench.up.on("*").reply(200, "one two", TAGS).reply(200, chunks=["one ", "two"]).reply(404, "one two")
    base = bench.route({"echo": conf})
    for status in (200, 200, 404):
        r = bench.get(base + "/a")
        assert (r.status, r.text) == (status, want)
        assert not any(name in r.headers for name in TAGS)
    assert bench.gw.request("HEAD", base + "/a").body == b""


@pytest.mark.quick
def test_headers(bench):
    r = bench.get(bench.route({"echo": {"body": "x", "headers": {"Location": "https://a", "X-N": 2, "Content-Type": "text/x"}}}) + "/a")
    assert r.headers.all("Location") == ["https://a"] and r.headers.all("X-N") == ["2"] and r.headers.all("Content-Type") == ["text/x"]


def test_our_own_answers_too(bench):
    base = bench.route({"echo": {"before_body": "<", "after_body": ">"}, "fault-injection": {"abort": {"http_status": 418, "body": "tea"}}})
    assert bench.get(base + "/a").text == "<tea>"


def test_an_empty_body(bench):
    bench.up.on("*").reply(200, "").reply(204, "")
    base = bench.route({"echo": {"before_body": "<", "after_body": ">"}})
    assert bench.get(base + "/a").text == "<>"
    assert bench.get(base + "/a").body == b""


@pytest.mark.parametrize("conf", [{}, {"headers": {"A": "b"}}, {"body": "x", "headers": {}}, {"body": 1}])
def test_refused_configurations(bench, conf):
    assert bench.refusal("echo", conf)
