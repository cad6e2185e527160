# SPDX-License-Identifier: Apache-2.0
"""limit-count: windows, keys, groups, rules, headers, and exact counts over all threads."""
import json
import re
import threading
import time

import pytest

import wire
from gw import Gateway

pytestmark = [pytest.mark.asan]
NAMES = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
SECONDS = re.compile(r"(?:0|[1-9]\d*)(?:\.\d?[1-9])?")


@pytest.fixture
def limited(gw, upstream):
    """limited(**conf) puts the plugin on the route / and returns a function that asks it once."""
    upstream.on("/").reply(200, "through")

    def put(route="1", uri="/", **conf):
        gw.route(uri, upstream, {"limit-count": {"count": 2, "time_window": 60, **conf}}, id=route)
        return lambda **headers: gw.get(uri, {k.replace("_", "-"): v for k, v in headers.items()})
    return put


def statuses(ask, n, **headers):
    return [ask(**headers).status for _ in range(n)]


def refused(gw, conf):
    r = gw.admin("PUT", "routes/9", {"uri": "/9", "plugins": {"limit-count": conf},
                                     "upstream": {"type": "roundrobin", "nodes": {"127.0.0.1:1": 1}}})
    assert r.status == 400, r
    head = "failed to check the configuration of plugin limit-count err: "
    assert r.json["error_msg"].startswith(head), r.json
    return r.json["error_msg"][len(head):]


# --- headers and refusals

@pytest.mark.quick
def test_headers_and_refusal(limited):
    ask = limited(rejected_code=403, rejected_msg="Too many \"requests\"")
    first, second, third = ask(), ask(), ask()
    assert [first.headers.get(n) for n in NAMES] == ["2", "1", "60"]
    assert [second.headers.get(n) for n in NAMES[:2]] == ["2", "0"]
    assert [third.headers.get(n) for n in NAMES[:2]] == ["2", "0"]
    for r in (second, third):
        assert SECONDS.fullmatch(r.headers.get(NAMES[2])) and 59 < float(r.headers.get(NAMES[2])) <= 60, r
    assert (first.status, second.status, third.status) == (200, 200, 403)
    assert third.body == b'{"error_msg":"Too many \\"requests\\""}\n'
    assert third.headers.get("Content-Type") == "application/json"


def test_refusal_without_a_message(limited):
    ask = limited(count=1)
    assert statuses(ask, 1) == [200]
    r = ask()
    assert r.status == 503 and "503 Service Temporarily Unavailable" in r.text
    assert "text/html" in r.headers.get("Content-Type")


def test_headers_not_shown(limited):
    ask = limited(count=1, show_limit_quota_header=False)
    for r in (ask(), ask()):
        assert not any(n in r.headers for n in NAMES)


# --- windows

def test_fixed_window_ends(limited):
    ask = limited(count=1, time_window=1)
    start = time.monotonic()
    assert statuses(ask, 2) == [200, 503]
    wire.wait_until("the next window", lambda: ask().status == 200)
    assert 0.95 < time.monotonic() - start < 4


def test_sliding_window(limited):
    ask = limited(count=5, time_window=2, window_type="sliding")
    wire.wait_until("the start of a window", lambda: 0.02 < time.time() % 2 < 0.5)
    got = [ask() for _ in range(6)]
    assert [r.status for r in got] == [200] * 5 + [503]
    assert [int(r.headers.get(NAMES[1])) for r in got] == [4, 3, 2, 1, 0, 0]
    assert all(SECONDS.fullmatch(r.headers.get(NAMES[2])) and float(r.headers.get(NAMES[2])) <= 2 for r in got)
    # In the next window most of these still count: no burst of five where a fixed window would let it pass.
    wire.wait_until("the next window", lambda: time.time() % 2 < 0.5)
    early = statuses(ask, 5)
    assert early.count(200) <= 2
    reset = ask().headers.get(NAMES[2])
    assert 0 < float(reset) < 2


def test_counters_and_changes(gw, limited):
    ask = limited()
    assert statuses(ask, 3) == [200, 200, 503]
    gw.route("/other", {"type": "roundrobin", "nodes": {"127.0.0.1:1": 1}}, id="2")
    limited()
    assert statuses(ask, 1) == [503], "written again without a change"
    limited(count=3)
    assert statuses(ask, 4) == [200, 200, 200, 503], "a change starts anew"


# --- keys

@pytest.mark.quick
def test_key_from_a_variable(limited):
    ask = limited(key="http_x_who")
    assert statuses(ask, 3, X_Who="ann") == [200, 200, 503]
    assert statuses(ask, 3, X_Who="bob") == [200, 200, 503]
    # Without a value the client's address counts, and an empty value is none.
    assert statuses(ask, 1) == [200]
    assert statuses(ask, 2, X_Who="") == [200, 503]


def test_key_of_several_variables(limited):
    ask = limited(key="$http_a $http_b", key_type="var_combination")
    assert statuses(ask, 3, a="1", b="2") == [200, 200, 503]
    assert statuses(ask, 3, a="1") == [200, 200, 503]
    assert statuses(ask, 3, a="2", b="1") == [200, 200, 503]
    assert statuses(ask, 3) == [200, 200, 503], "none of them: the address"


def test_constant_key(limited):
    ask = limited(key="$http_x", key_type="constant")
    assert statuses(ask, 1, x="1") + statuses(ask, 2, x="2") == [200, 200, 503]


def test_routes_have_their_own_counters(limited, upstream):
    upstream.on("/b").reply(200)
    one, two = limited(), limited(route="2", uri="/b")
    assert statuses(one, 3) == statuses(two, 3) == [200, 200, 503]


def test_consumers_have_their_own_counters(gw, limited, upstream):
    gw.route("/", upstream, {"key-auth": {}}, id="1")
    for name, count in (("ann", 1), ("bob", 2)):
        gw.put("consumers", {"username": name, "plugins": {"key-auth": {"key": name},
                                                           "limit-count": {"count": count, "time_window": 60}}})
    upstream.on("/").reply(200)
    ask = lambda name: gw.get("/", {"apikey": name}).status
    assert [ask("ann") for _ in range(2)] == [200, 503]
    assert [ask("bob") for _ in range(3)] == [200, 200, 503]


# --- groups

def test_group_shares_counters(limited, upstream):
    upstream.on("/b").reply(200)
    one, two = limited(group="g"), limited(route="2", uri="/b", group="g")
    assert [one().status, two().status, one().status, two().status] == [200, 200, 503, 503]


def test_group_with_another_configuration(gw, limited):
    limited(group="g")
    assert refused(gw, {"count": 3, "time_window": 60, "group": "g"}) == "group conf mismatched"
    assert gw.put("routes/2", {"uri": "/2", "upstream": {"type": "roundrobin", "nodes": {"127.0.0.1:1": 1}},
                               "plugins": {"limit-count": {"count": 2, "time_window": 60, "group": "g",
                                                           "key": "remote_addr"}}}), "equal with its defaults"
    gw.delete("routes/1")
    gw.delete("routes/2")
    body = {"uri": "/", "upstream": {"type": "roundrobin", "nodes": {"127.0.0.1:1": 1}},
            "plugins": {"limit-count": {"count": 3, "time_window": 60, "group": "g"}}}
    wire.wait_until("the name to be free again", lambda: gw.admin("PUT", "routes/3", body).status in (200, 201))


# --- numbers from variables

@pytest.mark.quick
def test_count_and_window_from_variables(limited):
    ask = limited(count="${http_count ?? 2}", time_window="$http_window", allow_degradation=False)
    first = ask(count="3", window="10")
    assert [first.headers.get(n) for n in NAMES] == ["3", "2", "10"]
    assert ask(count="2", window="10").headers.get(NAMES[1]) == "0"
    assert ask(count="5", window="10").headers.get(NAMES[1]) == "2"
    assert ask(window="10").status == 503


@pytest.mark.parametrize("count, says", [
    ("0", "resolved value must be a positive number, got: 0"),
    ("-1", "resolved value must be a positive number, got: -1"),
    ("1.5", "resolved value must be an integer, got: 1.5"),
    ("9999999999999999", "resolved value exceeds safe integer range (2^53-1), got: 1e+16"),
    ("many", "resolved value is not a number"),
])
def test_count_that_is_none(gw, limited, upstream, count, says):
    ask = limited(count="$http_count")
    r = ask(count=count)
    assert r.status == 500 and not upstream.requests
    gw.wait_log(f"failed to get rate limit rules: {says}")
    ask = limited(count="$http_count", allow_degradation=True)
    assert ask(count=count).status == 200
    assert ask(count="1").status == 200 and ask(count="1").status == 503


def test_no_limit_at_all(limited):
    ask = limited(count=10 ** 18)
    assert ask().headers.get(NAMES[1]) == str(2 ** 53 - 2)


# --- rules

def rules(gw, upstream, *rules_, **conf):
    upstream.on("/").reply(200)
    gw.route("/", upstream, {"limit-count": {"rejected_msg": "no", "rules": list(rules_), **conf}}, id="1")
    return lambda **headers: gw.get("/", {k.replace("_", "-"): v for k, v in headers.items()})


def test_rules(gw, upstream):
    ask = rules(gw, upstream,
                {"key": "${http_user}", "count": "${http_n ?? 2}", "time_window": 60, "header_prefix": "User"},
                {"key": "${http_project}", "count": 3, "time_window": 60})
    r = ask(user="jack", project="apisix")
    for prefix, limit, left in (("User", "2", "1"), ("2", "3", "2")):
        names = [f"X-{prefix}-{n[2:]}" for n in NAMES]
        assert [r.headers.get(n) for n in names] == [limit, left, "60"]
    assert not any(n in r.headers for n in NAMES)
    r = ask(user="jill", project="apisix")
    assert r.headers.get("X-2-RateLimit-Remaining") == "1" and r.headers.get("X-User-RateLimit-Remaining") == "1"
    assert ask(user="jack").status == 200 and ask(user="jack").json == {"error_msg": "no"}
    r = ask(project="apisix")
    assert r.status == 200 and "X-User-RateLimit-Limit" not in r.headers
    assert ask(project="apisix").status == 503 and ask(user="joe", project="apisix").status == 503
    assert ask(user="jack", n="0").status == 500, "a rule that applies is not left out for a bad number"


def test_rules_none_of_which_applies(gw, upstream):
    rule = {"key": "$http_user", "count": 1, "time_window": 60}
    assert rules(gw, upstream, rule)().status == 500 and not upstream.requests
    gw.wait_log("failed to get rate limit rules")
    assert rules(gw, upstream, rule, allow_degradation=True)().status == 200
    assert rules(gw, upstream, {**rule, "key": "constant"})().status == 500


def test_rules_with_equal_values(gw, upstream):
    ask = rules(gw, upstream, {"key": "$http_a", "count": 2, "time_window": 60},
                {"key": "$http_b", "count": 2, "time_window": 60})
    assert statuses(ask, 3, a="x", b="x") == [200, 200, 503], "each has its own counter"


# --- what is refused

@pytest.mark.quick
@pytest.mark.parametrize("conf, says", [
    ({}, "value should match only one schema, but matches none"),
    ({"count": 2}, "value should match only one schema, but matches none"),
    ({"count": 0, "time_window": 60},
     'property "count" validation failed: value should match only one schema, but matches none'),
    ({"count": 2, "time_window": 1.5},
     'property "time_window" validation failed: value should match only one schema, but matches none'),
    ({"count": 2, "time_window": 60, "rejected_code": 199},
     'property "rejected_code" validation failed: expected 199 to be at least 200'),
    ({"count": 2, "time_window": 60, "rejected_msg": ""},
     'property "rejected_msg" validation failed: string too short, expected at least 1, got 0'),
    ({"count": 2, "time_window": 60, "key_type": "ip"},
     'property "key_type" validation failed: matches none of the enum values'),
    ({"count": 2, "time_window": 60, "rules": []},
     "count/time_window and rules cannot be specified at the same time"),
    ({"count": 2, "rules": [{"key": "$a", "count": 1, "time_window": 1}]},
     "count/time_window and rules cannot be specified at the same time"),
    ({"group": "g", "rules": [{"key": "$a", "count": 1, "time_window": 1}]},
     "group and rules cannot be specified at the same time"),
    ({"rules": [{"key": "${http_company}", "count": 5, "time_window": 10},
                {"key": "${http_company}", "count": 8, "time_window": 20}]},
     "duplicate key '${http_company}' in rules"),
    ({"rules": [{"key": "$a", "count": 1}]},
     'property "rules" validation failed: failed to validate item 1: property "time_window" is required'),
    *[({"count": 2, "time_window": 60, "policy": p, "redis_host": "127.0.0.1"},
       f'the {p} policy is not supported by this version, only "local" is')
      for p in ("redis", "redis-cluster", "redis-sentinel")],
])
def test_refused_configurations(shared_gw, conf, says):
    assert refused(shared_gw, conf) == says


def test_size_of_the_table(make_gw, upstream):
    gw = make_gw(plugin_attr={"limit-count": {"counters": 64}})
    upstream.on("/").reply(200)
    gw.route("/", upstream, {"limit-count": {"count": 1, "time_window": 60, "key": "arg_k"}})
    # Many more keys than counters: those that are forgotten start anew, nothing breaks.
    with gw.connect() as w:
        for i in range(300):
            w.request("GET", f"/?k={i}")
            assert w.response().status == 200


def test_size_that_is_none(tmp_path):
    gw = Gateway(tmp_path).config(plugin_attr={"limit-count": {"counters": 1}})
    with pytest.raises(AssertionError, match="counters must be an integer from 64"):
        gw.start()
    assert gw.process.wait(10) == 1


# --- all threads together

def test_exact_with_many_clients(gw, limited):
    limited(count=60)
    got, lock = [], threading.Lock()

    def client():
        with gw.connect() as w:
            for _ in range(25):
                w.request("GET", "/")
                r = w.response()
                with lock:
                    got.append((r.status, r.headers.get(NAMES[1])))
    clients = [threading.Thread(target=client) for _ in range(6)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    assert len(got) == 150 and sum(status == 200 for status, _ in got) == 60
    left = sorted(int(n) for status, n in got if status == 200)
    assert left == list(range(60)), "each remaining number is told once"


def test_rate_limiting_info(make_gw, upstream):
    """APISIX's variable for the access log: the last limit that was asked."""
    gw = make_gw(nginx_config={"http": {"access_log_format": "$status $rate_limiting_info", "access_log_buffer": 0,
                                        "access_log_format_escape": "json"}})
    gw.route("/var", upstream, {"limit-count": {"count": 1, "time_window": 60, "key": "http_x", "rejected_code": 429}}, id="v")
    gw.route("/group", upstream, {"limit-count": {"count": 5, "time_window": 60, "key_type": "constant", "key": "all",
                                                  "group": "g"}})
    gw.route("/rules", upstream, {"limit-count": {"rules": [
        {"count": 5, "time_window": 60, "key": "${http_x}a"}, {"count": 6, "time_window": 30, "key": "${http_x}b"}]}})
    gw.route("/none", upstream)
    for path, value in (("/var", 'a"b'), ("/var", 'a"b'), ("/group", "x"), ("/rules", "x"), ("/none", "x")):
        gw.get(path, {"X": value})
    lines = [line.split(" ", 1) for line in gw.wait_access_log(5)]
    assert [status for status, _ in lines] == ["200", "429", "200", "200", "200"]
    infos = [json.loads(json.loads(f'"{text}"') or "null") for _, text in lines]
    for info, limit, remaining in zip(infos, (1, 1, 5, 6), (0, 0, 4, 5)):
        assert list(info) == ["rate_limiting_key", "rate_limiting_limit", "rate_limiting_remaining", "rate_limiting_reset"]
        assert (info["rate_limiting_limit"], info["rate_limiting_remaining"]) == (limit, remaining)
        assert info["rate_limiting_reset"] in range(28, 61)
    keys = [info["rate_limiting_key"] for info in infos[:4]]
    assert re.fullmatch(r'/apisix/routes/v:\d+:a"b', keys[0]) and keys[1] == keys[0]
    assert keys[2] == "g:all" and re.fullmatch(r"/apisix/routes/\w+:\d+:xb", keys[3])
    assert infos[4] is None
