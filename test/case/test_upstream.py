# SPDX-License-Identifier: Apache-2.0
"""How an upstream is picked and spoken to: weights, priorities, Host, kept connections, names."""
from collections import Counter

import pytest

pytestmark = [pytest.mark.asan]


def on_one_thread(gw, n, target="/"):
    """n requests on one connection: one thread, so one balancer and one pool."""
    with gw.connect() as w:
        replies = []
        for _ in range(n):
            w.request("GET", target)
            replies.append(w.response())
    return replies


@pytest.mark.quick
def test_weights(gw, make_upstream):
    ups = [make_upstream() for _ in range(3)]
    for name, up in zip("abc", ups):
        up.on("*").reply(200, name)
    gw.route("/*", {"type": "roundrobin", "nodes": {ups[0].node: 3, ups[1].node: 1, ups[2].node: 0}})
    replies = "".join(r.text for r in on_one_thread(gw, 16))
    assert Counter(replies) == {"a": 12, "b": 4}
    assert "aaaa" not in replies, "smooth: the light one is not kept for the end"


def test_lower_priority_only_after_the_higher(gw, make_upstream):
    ups = [make_upstream() for _ in range(2)]
    node = lambda up, priority: {"host": "127.0.0.1", "port": up.port, "weight": 1, "priority": priority}
    gw.route("/*", {"type": "roundrobin", "nodes": [node(ups[0], 0), node(ups[1], -1)]})
    assert {r.status for r in on_one_thread(gw, 8)} == {200}
    assert len(ups[0].requests) == 8 and ups[1].requests == []
    ups[0].stop()
    assert {r.status for r in on_one_thread(gw, 4)} == {200}
    assert len(ups[1].requests) == 4


@pytest.mark.parametrize("fields, want", [
    ({}, "client.example"), ({"pass_host": "pass"}, "client.example"), ({"pass_host": "node"}, "localhost:%d"),
    ({"pass_host": "rewrite", "upstream_host": "mine.example"}, "mine.example"),
])
def test_host(gw, upstream, fields, want):
    gw.route("/*", {"type": "roundrobin", "nodes": {f"localhost:{upstream.port}": 1}, **fields})
    assert gw.get("/", {"Host": "client.example"}).status == 200
    assert upstream.requests[0].headers.all("Host") == [want % upstream.port if "%" in want else want]


def test_keepalive_requests(gw, upstream):
    gw.route("/*", {"type": "roundrobin", "nodes": {upstream.node: 1},
                    "keepalive_pool": {"size": 8, "idle_timeout": 60, "requests": 3}})
    on_one_thread(gw, 9)
    assert upstream.connections == 3


def test_keepalive_idle_timeout(gw, upstream):
    gw.route("/*", {"type": "roundrobin", "nodes": {upstream.node: 1},
                    "keepalive_pool": {"size": 8, "idle_timeout": 1, "requests": 1000}})
    on_one_thread(gw, 2)
    assert upstream.open == 1
    upstream.wait("the idle connection to be closed", lambda u: u.open == 0, 4)


def test_route_over_service_over_upstream(gw, make_upstream):
    ups = [make_upstream() for _ in range(3)]
    for name, up in zip("abc", ups):
        up.on("*").reply(200, name)
    nodes = [{"type": "roundrobin", "nodes": {up.node: 1}} for up in ups]
    gw.put("upstreams/1", nodes[0])
    gw.put("services/1", {"upstream": nodes[1]})
    gw.put("services/2", {"upstream_id": 1})
    gw.put("routes/1", {"uri": "/a", "service_id": 2})
    gw.put("routes/2", {"uri": "/b", "service_id": "1"})
    gw.put("routes/3", {"uri": "/c", "service_id": 1, "upstream": nodes[2]})
    assert [gw.get(f"/{n}").text for n in "abc"] == ["a", "b", "c"]


def test_change_keeps_running_requests(gw, upstream, make_upstream):
    """A request that runs ends with the configuration it began with."""
    other = make_upstream()
    other.on("*").reply(200, "new")
    upstream.on("/").reply(200, chunks=["o", "l", "d"], gap=0.15)
    gw.route("/", upstream, id="1")
    with gw.connect() as w:
        w.request("GET", "/")
        upstream.wait("the request", lambda u: u.requests)
        gw.route("/", other, id="1")
        assert gw.get("/").text == "new"
        gw.delete("routes/1")
        assert w.response().text == "old"
    assert gw.get("/").status == 404


def test_unknown_name(gw):
    gw.route("/*", {"type": "roundrobin", "nodes": {"no-such-name.invalid:80": 1}},
             timeout={"connect": 2, "send": 2, "read": 2})
    assert gw.get("/").status in (502, 503)
