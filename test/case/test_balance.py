# SPDX-License-Identifier: Apache-2.0
"""Which node takes a request: least_conn, ewma, chash."""
import contextlib
from collections import Counter

import pytest

import wire

pytestmark = [pytest.mark.asan]


@pytest.fixture
def nodes(make_upstream):
    """Four upstreams that answer with their letter."""
    ups = {}
    for name in "abcd":
        ups[name] = make_upstream()
        ups[name].on("*").reply(200, name)
        ups[name].on("/slow").reply(200, name, delay=0.15)
    return ups


def array(ups, **weights):
    return [{"host": "127.0.0.1", "port": ups[n].port, "weight": w} for n, w in weights.items()]


def balanced(gw, kind, members, **fields):
    gw.route("/*", {"type": kind, "nodes": members, **fields})


def on_one_thread(gw, n, target="/", headers=()):
    with gw.connect() as w:
        out = []
        for _ in range(n):
            w.request("GET", target, headers)
            out.append(w.response().text)
    return out


def held(gw, stack, up, n):
    """n requests that stay under way at the upstream, each on a connection of its own."""
    before = len(up.requests)
    for _ in range(n):
        w = stack.enter_context(gw.connect())
        w.request("GET", "/hold")
    up.wait(f"{n} requests", lambda u: len(u.requests) == before + n)


# ---- least_conn

@pytest.mark.quick
def test_least_conn_counts_over_threads(gw, nodes):
    """Requests that wait at one node, whatever threads hold them, send all others elsewhere."""
    nodes["a"].on("/hold").raw(lambda w, request: w.sock.recv(1))
    balanced(gw, "least_conn", array(nodes, a=1))
    with contextlib.ExitStack() as stack:
        held(gw, stack, nodes["a"], 8)
        gw.routes = 0
        balanced(gw, "least_conn", array(nodes, a=1, b=1, c=1))     # the counts survive the change
        for _ in range(6):
            assert set(on_one_thread(gw, 4)) == {"b", "c"}, "in turn, on any thread"
    nodes["a"].wait("the held ones to end", lambda u: u.open == 0)
    # They are no longer counted once the gateway has seen them go.
    for _ in range(100):
        if "a" in on_one_thread(gw, 3):
            break
    else:
        pytest.fail("a is still left out")


def test_least_conn_weighs(gw, nodes):
    for n in "ab":
        nodes[n].on("/hold").raw(lambda w, request: w.sock.recv(1))
    balanced(gw, "least_conn", array(nodes, a=3, b=1))
    arrived = lambda: len(nodes["a"].requests) + len(nodes["b"].requests)
    with contextlib.ExitStack() as stack:
        for i in range(8):
            w = stack.enter_context(gw.connect())
            w.request("GET", "/hold")
            wire.wait_until("it to arrive", lambda want=i + 1: arrived() == want)
        assert (len(nodes["a"].requests), len(nodes["b"].requests)) == (6, 2)


def test_least_conn_after_priority_and_failure(gw, nodes):
    members = array(nodes, a=1, b=1, c=1)
    members[2]["priority"] = -1
    balanced(gw, "least_conn", members)
    assert set(on_one_thread(gw, 6)) == {"a", "b"}
    nodes["a"].stop()
    assert set(on_one_thread(gw, 6)) == {"b"}
    nodes["b"].stop()
    assert set(on_one_thread(gw, 6)) == {"c"}


# ---- ewma

def test_ewma_leaves_the_slow_one(gw, nodes):
    nodes["a"].rules.pop("*")
    nodes["a"].on("*").reply(200, "a", delay=0.2)
    balanced(gw, "ewma", array(nodes, a=1, b=1))
    first = on_one_thread(gw, 3)
    assert Counter(first)["a"] <= 2
    assert set(on_one_thread(gw, 20)) == {"b"}, "two at random are both of two: the faster one is taken"
    assert set(on_one_thread(gw, 20)) == {"b"}, "and another thread knows it too"


def test_ewma_does_not_love_what_fails_fast(gw, nodes):
    balanced(gw, "ewma", array(nodes, a=1, b=1))
    nodes["a"].stop()
    assert set(on_one_thread(gw, 30)) == {"b"}
    log = [line for line in gw.log.split("\n") if "connect" in line]
    assert len(log) <= 3, "it is not asked again and again"


# ---- chash

KEYS = [f"key-{i}" for i in range(400)]


def mapping(gw, headers):
    with gw.connect() as w:
        out = {}
        for key in KEYS:
            w.request("GET", "/", headers(key))
            out[key] = w.response().text
    return out


def by_header(key):
    return {"X-Session": key}


@pytest.mark.quick
def test_chash_moves_little(gw, nodes):
    hashed = {"hash_on": "header", "key": "X-Session"}
    balanced(gw, "chash", array(nodes, a=1, b=1, c=1), **hashed)
    three = mapping(gw, by_header)
    count = Counter(three.values())
    assert all(90 < count[n] < 180 for n in "abc"), count
    assert mapping(gw, by_header) == three, "whatever thread it is"
    gw.routes = 0
    balanced(gw, "chash", array(nodes, c=1, a=1, b=1, d=1), **hashed)
    four = mapping(gw, by_header)
    moved = {key for key in KEYS if three[key] != four[key]}
    assert {four[key] for key in moved} == {"d"} and 60 < len(moved) < 150
    gw.restart()
    assert mapping(gw, by_header) == four, "the same after a restart"
    gw.routes = 0
    balanced(gw, "chash", array(nodes, a=1, b=1, c=1), **hashed)
    assert mapping(gw, by_header) == three


def test_chash_weights(gw, nodes):
    hashed = {"hash_on": "header", "key": "X-Session"}
    balanced(gw, "chash", array(nodes, a=1, b=3, c=0), **hashed)
    uneven = mapping(gw, by_header)
    count = Counter(uneven.values())
    assert 60 < count["a"] < 140 and count["a"] + count["b"] == 400
    gw.routes = 0
    balanced(gw, "chash", array(nodes, a=1, b=1, c=0), **hashed)
    even = mapping(gw, by_header)
    assert {even[key] for key in KEYS if even[key] != uneven[key]} == {"a"}


def test_chash_retries_the_same_way(gw, nodes):
    hashed = {"hash_on": "header", "key": "X-Session"}
    balanced(gw, "chash", array(nodes, a=1, b=1, c=1), **hashed)
    whole = mapping(gw, by_header)
    nodes["b"].stop()
    without = mapping(gw, by_header)
    assert {key for key in KEYS if whole[key] != without[key]} == {key for key in KEYS if whole[key] == "b"}
    assert set(without.values()) == {"a", "c"}, "its keys are shared by all others"
    assert mapping(gw, by_header) == without


@pytest.mark.parametrize("fields, one, other, same", [
    ({"key": "arg_id"}, ("/?id=%s", {}), ("/x?y=1&id=%s", {"X": "1"}), True),
    ({"hash_on": "vars", "key": "uri"}, ("/%s?a", {}), ("/%s?b", {}), True),
    ({"hash_on": "vars", "key": "request_uri"}, ("/%s?a", {}), ("/%s?b", {}), False),
    ({"hash_on": "header", "key": "x-ID"}, ("/", {"X-Id": "%s"}), ("/y", {"x-id": "%s"}), True),
    ({"hash_on": "cookie", "key": "sid"}, ("/", {"Cookie": "sid=%s"}), ("/", {"Cookie": "a=b; sid=%s"}), True),
    ({"hash_on": "vars_combinations", "key": "$http_a-$arg_b"}, ("/?b=%s", {"A": "1"}), ("/?b=%s", {"A": "2"}), False),
    ({"hash_on": "vars_combinations", "key": "$http_a-$arg_b"}, ("/?b=%s", {"A": "1"}), ("/z?b=%s", {"A": "1"}), True),
])
def test_chash_keys(gw, nodes, fields, one, other, same):
    balanced(gw, "chash", array(nodes, a=1, b=1, c=1, d=1), **fields)
    fill = lambda what, i: (what[0].replace("%s", f"v{i}"), {k: v.replace("%s", f"v{i}") for k, v in what[1].items()})
    replies = []
    with gw.connect() as w:
        for what in (one, other):
            got = []
            for i in range(40):
                w.request("GET", *fill(what, i))
                got.append(w.response().text)
            replies.append(got)
    assert len(set(replies[0])) == 4, "the key counts"
    assert (replies[0] == replies[1]) == same


@pytest.mark.parametrize("fields", [
    {"hash_on": "header", "key": "x-none"}, {"hash_on": "cookie", "key": "none"}, {"hash_on": "consumer"},
    {"hash_on": "vars_combinations", "key": "$http_none$arg_none"}, {"key": "remote_addr"}, {"key": "mqtt_client_id"},
])
def test_chash_without_a_value_takes_the_client(gw, nodes, fields):
    balanced(gw, "chash", array(nodes, a=1, b=1, c=1, d=1), **fields)
    got = [on_one_thread(gw, 2, f"/{i}?x={i}", {"X-Real-IP": f"10.0.0.{i % 60}"}) for i in range(120)]
    assert all(a == b for a, b in got), "one client, one node"
    assert got[:60] == got[60:] and len({a for a, _ in got}) == 4


def test_chash_by_consumer(gw, nodes):
    for i in range(12):
        gw.put("consumers", {"username": f"u{i}", "plugins": {"key-auth": {"key": f"k{i}"}}})
    gw.route("/*", {"type": "chash", "hash_on": "consumer", "nodes": array(nodes, a=1, b=1, c=1, d=1)},
             plugins={"key-auth": {}})
    first = [on_one_thread(gw, 2, f"/{i}", {"apikey": f"k{i}"}) for i in range(12)]
    assert all(a == b for a, b in first) and len({a for a, _ in first}) > 1


# ---- Slow start

def share(gw, name, n=100):
    """How many of n requests the node gets, over several threads."""
    return sum(on_one_thread(gw, n // 4).count(name) for _ in range(4))


def warming(gw, kind, members, seconds, **more):
    gw.put("upstreams/1", {"type": kind, "nodes": members, "warm_up_conf": {
        "slow_start_time_seconds": seconds, "min_weight_percent": 1, **more}})


@pytest.mark.parametrize("kind", ["roundrobin", "least_conn"])
def test_new_nodes_begin_slowly(gw, nodes, kind):
    warming(gw, kind, array(nodes, a=100, b=100), 1000)
    gw.put("routes/1", {"uri": "/*", "upstream_id": "1"})
    assert 45 <= share(gw, "b") <= 55, "those of the beginning are not new"
    warming(gw, kind, array(nodes, a=100, b=100, c=100), 1000)
    assert share(gw, "c") <= 8
    warming(gw, kind, array(nodes, a=100, b=100, c=100, d=0), 1000)
    assert share(gw, "c") <= 8, "another change does not end it"
    warming(gw, kind, array(nodes, a=100, b=100, c=100, d=0), 1000, startup_grace_period_seconds=3600)
    assert share(gw, "c") >= 25, "all came within the time after the start"
    gw.put("upstreams/1", {"type": kind, "nodes": array(nodes, a=100, b=100, c=100)})
    assert share(gw, "c") >= 25, "no slow start any more"


def test_slow_start_ends_and_begins_again(gw, nodes):
    one, two = array(nodes, a=1), array(nodes, a=1, b=1)
    warming(gw, "roundrobin", one, 2)
    gw.put("routes/1", {"uri": "/*", "upstream_id": "1"})
    assert share(gw, "a", 20) == 20
    warming(gw, "roundrobin", two, 2, aggression=0.05)
    assert share(gw, "b", 40) < 15
    wire.wait_until("it to have its whole weight", lambda: 18 <= share(gw, "b", 40) <= 22)
    # Not even a thread that has served nothing since remembers a node that has gone.
    warming(gw, "roundrobin", one, 600)
    warming(gw, "roundrobin", two, 600)
    assert share(gw, "b") <= 8


def test_slow_start_of_a_route_and_priorities(gw, nodes):
    members = array(nodes, a=10, b=10, c=10)
    members[2]["priority"] = -1
    conf = {"slow_start_time_seconds": 600, "min_weight_percent": 10, "aggression": 1.5}
    balanced(gw, "roundrobin", members[:1], warm_up_conf=conf)
    assert share(gw, "a", 8) == 8
    gw.routes = 0
    balanced(gw, "roundrobin", members, warm_up_conf=conf)
    assert 1 <= share(gw, "b") <= 15
    nodes["a"].stop()
    assert share(gw, "b", 20) == 20, "however light it is, it comes before a lower one"


@pytest.mark.parametrize("fields, words", [
    ({"warm_up_conf": {"min_weight_percent": 1}}, 'property "slow_start_time_seconds" is required'),
    ({"warm_up_conf": {"slow_start_time_seconds": 9}}, 'property "min_weight_percent" is required'),
    ({"warm_up_conf": {"slow_start_time_seconds": 9, "min_weight_percent": 101}}, "expected 101 to be at most 100"),
    ({"warm_up_conf": {"slow_start_time_seconds": 9, "min_weight_percent": 1, "aggression": 0}}, "to be at least 0.01"),
    ({"warm_up_conf": {"slow_start_time_seconds": 9, "min_weight_percent": 1, "more": 0}}, "additional properties forbidden"),
    ({"warm_up_conf": {"slow_start_time_seconds": 9, "min_weight_percent": 1, "interval": 10}},
     "warm_up_conf.interval can't be greater than warm_up_conf.slow_start_time_seconds"),
    ({"type": "ewma", "warm_up_conf": {"slow_start_time_seconds": 9, "min_weight_percent": 1}},
     "warm_up_conf is only supported by the roundrobin upstream type"),
])
def test_bad_slow_starts(gw, nodes, fields, words):
    reply = gw.admin("PUT", "upstreams/1", {"nodes": array(nodes, a=1), **fields})
    assert reply.status == 400 and words in reply.json["error_msg"], reply.json
