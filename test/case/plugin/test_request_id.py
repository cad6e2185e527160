# SPDX-License-Identifier: Apache-2.0
"""request-id: the forms of the ids, which id wins, where it is shown."""
import re
import time

import pytest

pytestmark = [pytest.mark.asan]
UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def ids(bench, n, conf):
    """The ids of n requests on one connection; upstream and client must get the same."""
    base, header = bench.route({"request-id": conf}), conf.get("header_name", "X-Request-Id")
    bench.up.requests.clear()
    with bench.gw.connect() as w:
        replies = []
        for _ in range(n):
            w.request("GET", base + "/a")
            replies.append(w.response())
    got = [r.headers.all(header) for r in replies]
    assert got == [r.headers.all(header) for r in bench.up.requests] and all(len(one) == 1 for one in got)
    return [one[0] for one in got]


@pytest.mark.quick
@pytest.mark.parametrize("conf, form", [
    ({}, UUID4),
    ({"algorithm": "uuid", "header_name": "X-My-Id"}, UUID4),
    ({"algorithm": "nanoid"}, r"[A-Za-z0-9_-]{21}"),
    ({"algorithm": "ksuid"}, r"[A-Za-z0-9]{27}"),
    ({"algorithm": "range_id"}, r"[A-Za-z0-9]{16}"),
    ({"algorithm": "range_id", "range_id": {"length": 20, "char_set": "abcdef"}}, r"[a-f]{20}"),
    ({"algorithm": "uuidv7"}, r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
])
def test_forms(bench, conf, form):
    got = ids(bench, 100, conf)
    assert all(re.fullmatch(form, one) for one in got), got[:3]
    assert len(set(got)) == 100


def test_by_time(bench):
    now = time.time()
    got = ids(bench, 200, {"algorithm": "uuidv7"})
    assert got == sorted(got), "ascending on one thread"
    assert abs(int(got[0][:8] + got[0][9:13], 16) / 1000 - now) < 10
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number = 0
    for c in ids(bench, 1, {"algorithm": "ksuid"})[0]:
        number = number * 62 + digits.index(c)
    assert abs((number >> 128) + 1400000000 - now) < 10


@pytest.mark.quick
def test_the_clients_id_is_kept(bench):
    base = bench.route({"request-id": {}})
    r = bench.get(base + "/a", {"x-request-id": "abctesting"})
    assert r.headers.all("X-Request-Id") == ["abctesting"]
    assert bench.up.requests[-1].headers.all("X-Request-Id") == ["abctesting"]
    r = bench.get(base + "/a", {"X-Request-Id": ""})
    assert re.fullmatch(UUID4, r.headers.get("X-Request-Id")), "an empty one is none"
    assert bench.up.requests[-1].headers.all("X-Request-Id") == [r.headers.get("X-Request-Id")]


def test_the_upstreams_header_is_kept(bench):
    bench.up.on("*").reply(200, "ok", {"X-Request-Id": "from-upstream"})
    r = bench.get(bench.route({"request-id": {}}) + "/a")
    assert r.headers.all("X-Request-Id") == ["from-upstream"]


def test_not_in_the_response(bench):
    r = bench.get(bench.route({"request-id": {"include_in_response": False}}) + "/a")
    assert "X-Request-Id" not in r.headers and "X-Request-Id" in bench.up.requests[-1].headers


def test_refused_requests_have_one_too(bench):
    r = bench.get(bench.route({"request-id": {}, "ip-restriction": {"blacklist": ["127.0.0.1"]}}) + "/a")
    assert r.status == 403 and re.fullmatch(UUID4, r.headers.get("X-Request-Id"))


def test_variable_and_access_log(make_gw, upstream):
    gw = make_gw(nginx_config={"http": {"access_log_format": "id=$apisix_request_id;"}})
    gw.route("/*", upstream, {"request-id": {}, "response-rewrite": {"headers": {"X-Seen": "$apisix_request_id"}}})
    r = gw.get("/a", {"X-Request-Id": "mine-1"})
    assert r.headers.get("X-Seen") == "mine-1"
    assert gw.wait_access_log(1)[0] == "id=mine-1;"


@pytest.mark.parametrize("conf, why", [
    ({"include_in_response": "bad_type"}, 'property "include_in_response" validation failed: wrong type: expected boolean, got string'),
    ({"algorithm": "snowflake"}, 'property "algorithm" validation failed: matches none of the enum values'),
    ({"range_id": {"length": 5}}, 'property "range_id" validation failed: property "length" validation failed: '
                                  'expected 5 to be at least 6'),
    ({"range_id": {"length": 1025}}, "range_id.length must be at most 1024"),
])
def test_configuration(bench, conf, why):
    assert bench.refusal("request-id", conf) == why
