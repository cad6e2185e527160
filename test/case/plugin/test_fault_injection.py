# SPDX-License-Identifier: Apache-2.0
"""fault-injection: answers made here, waits, and whom they hit."""
import time

import pytest


def ask(bench, conf, target="/a", headers=()):
    return bench.get(bench.route({"fault-injection": conf}) + target, headers)


@pytest.mark.quick
@pytest.mark.asan
def test_abort(bench):
    r = ask(bench, {"abort": {"http_status": 503, "body": "on $uri for $arg_name!\n", "headers": {"X-A": "$http_x_a", "X-N": 1.5}}},
            "/a?name=jack", {"X-A": "v"})
    assert (r.status, r.text.split("/")[-1]) == (503, "a for jack!\n")
    assert r.headers.all("X-A") == ["v"] and r.headers.all("X-N") == ["1.5"]
    r = ask(bench, {"abort": {"http_status": 500}})
    assert r.status == 500 and b"500 Internal Server Error" in r.body, "the standard page"
    r = ask(bench, {"abort": {"http_status": 200, "body": ""}})
    assert (r.status, r.body) == (200, b"")
    assert bench.up.requests == []


def test_a_header_cannot_be_split(bench):
    r = ask(bench, {"abort": {"http_status": 400, "body": "", "headers": {"X-A": "$arg_a"}}}, "/x?a=1%0d%0aX-Evil:%202")
    assert "X-Evil" not in r.headers


@pytest.mark.quick
@pytest.mark.asan
def test_delay(bench):
    base = bench.route({"fault-injection": {"delay": {"duration": 0.3}}})
    start = time.monotonic()
    assert bench.get(base + "/a").status == 200
    assert time.monotonic() - start >= 0.3


def test_delay_then_abort(bench):
    base = bench.route({"fault-injection": {"delay": {"duration": 0.2}, "abort": {"http_status": 418, "body": "late"}}})
    start = time.monotonic()
    assert bench.get(base + "/a").text == "late"
    assert time.monotonic() - start >= 0.2


def test_a_client_that_leaves_while_it_waits(bench):
    base = bench.route({"fault-injection": {"delay": {"duration": 1e9}}})
    with bench.gw.connect() as c:
        c.request("GET", base + "/a")
    assert bench.get(bench.route({}) + "/a").status == 200


@pytest.mark.quick
@pytest.mark.parametrize("percentage, statuses", [(0, {200}), (100, {503}), (50, {200, 503})])
def test_percentage(bench, percentage, statuses):
    base = bench.route({"fault-injection": {"abort": {"http_status": 503, "percentage": percentage}}})
    with bench.gw.connect() as c:
        seen = set()
        for _ in range(60):                     # of 60 at 50 % all are alike once in 5 * 10^17 runs
            c.request("GET", base + "/a")
            seen.add(c.response().status)
    assert seen == statuses


@pytest.mark.quick
@pytest.mark.parametrize("target, headers, hit", [
    ("/a?name=jack&age=20", {}, True),
    ("/a?name=jack", {}, False),
    ("/a?name=jill", {"X-Test": "yes"}, True),
    ("/a", {}, False),
])
def test_vars(bench, target, headers, hit):
    either = [[["arg_name", "==", "jack"], ["arg_age", ">", "18"]], [["http_x_test", "==", "yes"]]]
    assert ask(bench, {"abort": {"http_status": 403, "vars": either}}, target, headers).status == (403 if hit else 200)
    start = time.monotonic()
    assert ask(bench, {"delay": {"duration": 0.2, "vars": either}}, target, headers).status == 200
    assert not hit or time.monotonic() - start >= 0.2
    assert ask(bench, {"abort": {"http_status": 403, "vars": []}}, target, headers).status == 200, "none holds"


@pytest.mark.quick
@pytest.mark.parametrize("conf, why", [
    ({}, "expect object to have at least 1 properties"),
    ({"abort": {}}, 'property "abort" validation failed: property "http_status" is required'),
    ({"abort": {"http_status": 100}}, 'property "abort" validation failed: property "http_status" validation failed: expected 100 to be at least 200'),
    ({"delay": {"duration": -1}}, 'property "delay" validation failed: property "duration" validation failed: expected -1 to be at least 0'),
    ({"delay": {"duration": 1, "percentage": 101}},
     'property "delay" validation failed: property "percentage" validation failed: expected 101 to be at most 100'),
    ({"abort": {"http_status": 403, "vars": [[["arg_a", "=*", "1"]]]}}, "invalid operator '=*'"),
])
def test_refused_configurations(bench, conf, why):
    assert bench.refusal("fault-injection", conf) == why
