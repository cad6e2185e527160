# SPDX-License-Identifier: Apache-2.0
"""Health checks: probes, what requests tell, who is chosen, and what stays when the configuration changes."""
import socket
import time
from collections import Counter

import pytest

import wire

pytestmark = [pytest.mark.asan]

SOON = {"healthy": {"interval": 1, "successes": 1},
        "unhealthy": {"interval": 1, "http_failures": 1, "tcp_failures": 1, "timeouts": 1}}


def active(**fields):
    return {"active": {"http_path": "/status", **SOON, **fields}}


def balanced(*ups, checks, **fields):
    return {"type": "roundrobin", "nodes": {up if isinstance(up, str) else up.node: 1 for up in ups}, "checks": checks,
            **fields}


def nodes_of(gw, path="upstreams/1"):
    return {f"{n['ip']}:{n['port']}": n for n in gw.control(f"/v1/healthcheck/{path}").json["nodes"]}


def status_of(gw, up, path="upstreams/1"):
    return nodes_of(gw, path).get(up if isinstance(up, str) else up.node, {}).get("status")


def wait_status(gw, up, status, path="upstreams/1"):
    wire.wait_until(f"{status}", lambda: status_of(gw, up, path) == status, 15)


def probes(up):
    return sum(r.target == "/status" for r in up.requests)


def statuses(gw, n):
    """Of n requests on one connection: one thread, so one turn of the balancer."""
    with gw.connect() as w:
        found = []
        for _ in range(n):
            w.request("GET", "/x")
            found.append(w.response().status)
    return found


def served_by(gw, ups, n=8):
    """How many of n requests each got, in order."""
    before = [sum(r.target == "/x" for r in up.requests) for up in ups]
    assert set(statuses(gw, n)) == {200}
    return [sum(r.target == "/x" for r in up.requests) - b for up, b in zip(ups, before)]


def answer(up, status):
    up.rules.pop("/status", None)
    up.on("/status").reply(status)


@pytest.fixture
def pair(make_upstream):
    return make_upstream(), make_upstream()


@pytest.mark.quick
def test_down_and_up_again(gw, pair):
    answer(pair[1], 500)
    gw.put("upstreams/1", balanced(*pair, checks=active()))
    gw.put("routes/1", {"uri": "/*", "upstream_id": 1})
    wait_status(gw, pair[1], "unhealthy")
    assert status_of(gw, pair[0]) == "healthy"
    assert served_by(gw, pair) == [8, 0]
    assert nodes_of(gw)[pair[1].node]["counter"] == \
        {"success": 0, "http_failure": 1, "tcp_failure": 0, "timeout_failure": 0}
    assert "[warn]" in gw.log and f"({pair[1].node}) is unhealthy, was healthy: unhealthy HTTP increment (1/1), " \
        "by a probe: status 500" in gw.log
    answer(pair[1], 200)
    wait_status(gw, pair[1], "healthy")
    assert served_by(gw, pair) == [4, 4]


@pytest.mark.parametrize("fields", [{"type": "least_conn"}, {"type": "ewma"},
                                    {"type": "chash", "key": "arg_k"}], ids=lambda f: f["type"])
def test_down_is_not_chosen(gw, make_upstream, fields):
    """However the upstream balances; and when it is up again, it is chosen again."""
    ups = [make_upstream() for _ in range(3)]
    answer(ups[1], 500)
    gw.put("upstreams/1", balanced(*ups, checks=active(), **fields))
    gw.put("routes/1", {"uri": "/*", "upstream_id": 1})
    wait_status(gw, ups[1], "unhealthy")

    def requests(n):
        before = [sum(r.target != "/status" for r in up.requests) for up in ups]
        assert {gw.get(f"/x?k={k}").status for k in range(n)} == {200}
        return [sum(r.target != "/status" for r in up.requests) - b for up, b in zip(ups, before)]
    got = requests(30)
    assert got[1] == 0 and got[0] and got[2]
    answer(ups[1], 200)
    wait_status(gw, ups[1], "healthy")
    assert requests(60)[1] > 0


def test_before_the_first_request(gw, upstream):
    """Also after a restart, and where no route leads."""
    gw.put("upstreams/1", balanced(upstream, checks=active()))
    upstream.wait("a probe", lambda u: probes(u) >= 2)
    gw.restart()
    n = probes(upstream)
    upstream.wait("a probe after the restart", lambda u: probes(u) > n)
    assert all(r.target == "/status" for r in upstream.requests)


def test_what_is_sent(gw, upstream):
    gw.put("upstreams/1", balanced(upstream, checks=active(
        http_method="POST", http_req_body="ping", http_path="/status", host="check.example",
        req_headers=["User-Agent: prober", "X-Key:  k "])))
    upstream.wait("a probe", lambda u: u.requests)
    request = upstream.requests[0]
    assert (request.method, request.target) == ("POST", "/status")
    assert dict(request.headers) == {"User-Agent": "prober", "X-Key": "k", "Host": "check.example",
                                     "Content-Length": "4", "Connection": "close"}


def test_refused_headers(gw):
    reply = gw.admin("PUT", "upstreams/1", balanced("127.0.0.1:1", checks=active(req_headers=["X\r\nY: z"])))
    assert reply.status == 400 and "cannot be sent as a header" in reply.json["error_msg"]


def test_thresholds(gw, upstream):
    answer(upstream, 503)
    gw.config(nginx_config={"error_log_level": "info"})
    gw.restart()
    gw.put("upstreams/1", balanced(upstream, checks={"active": {
        "http_path": "/status", "healthy": {"interval": 1, "successes": 2},
        "unhealthy": {"interval": 1, "http_failures": 2}}}))
    wait_status(gw, upstream, "unhealthy")
    answer(upstream, 302)
    wait_status(gw, upstream, "healthy")
    want = ["mostly_healthy", "unhealthy", "mostly_unhealthy", "healthy"]
    wire.wait_until("the log to tell all steps", lambda: want == [
        line.split(" is ")[1].split(",")[0] for line in gw.log.split("\n") if "increment" in line])


def test_tcp(gw, make_upstream):
    ups = make_upstream(), make_upstream()
    ups[1].stop()
    gw.put("upstreams/1", balanced(*ups, checks={"active": {"type": "tcp", **SOON}}))
    gw.put("routes/1", {"uri": "/*", "upstream_id": 1})
    wait_status(gw, ups[1], "unhealthy")
    assert nodes_of(gw)[ups[1].node]["counter"]["tcp_failure"] == 1
    assert status_of(gw, ups[0]) == "healthy" and served_by(gw, ups[:1]) == [8]
    assert probes(ups[0]) == 0


def test_https(make_gw, make_upstream, certs):
    gw = make_gw(apisix={"ssl": {"ssl_trusted_certificate": certs["ca"]}})
    up = make_upstream(certs["context"])
    tls = {"type": "https", **SOON, "http_path": "/status"}
    for n, fields in enumerate(({"host": "localhost"}, {"host": "elsewhere.example"},
                                {"host": "elsewhere.example", "https_verify_certificate": False}), 1):
        gw.put(f"upstreams/{n}", balanced(up, checks={"active": {**tls, **fields}}))
    wait_status(gw, up, "unhealthy", "upstreams/2")
    up.wait("probes of the others", lambda u: {"localhost", "elsewhere.example"} <=
            {r.headers.get("Host") for r in u.requests})
    assert [status_of(gw, up, f"upstreams/{n}") for n in (1, 2, 3)] == ["healthy", "unhealthy", "healthy"]
    gw.wait_log("certificate could not be verified")


def test_https_unknown_authority(gw, make_upstream, certs):
    up = make_upstream(certs["context"])
    gw.put("upstreams/1", balanced(up, checks=active(type="https", host="localhost")))
    wait_status(gw, up, "unhealthy")
    assert nodes_of(gw)[up.node]["counter"]["tcp_failure"] == 1


def test_timeout(gw, upstream):
    upstream.on("/status").reply(200, delay=5)
    gw.put("upstreams/1", balanced(upstream, checks=active(timeout=0.2)))
    wait_status(gw, upstream, "unhealthy")
    assert nodes_of(gw)[upstream.node]["counter"]["timeout_failure"] == 1


def test_all_down(gw, pair):
    """Then all are used, as if there were no checks."""
    for up in pair:
        answer(up, 500)
    gw.put("upstreams/1", balanced(*pair, checks=active()))
    gw.put("routes/1", {"uri": "/*", "upstream_id": 1})
    for up in pair:
        wait_status(gw, up, "unhealthy")
    assert served_by(gw, pair) == [4, 4]


def test_passive(gw, pair):
    """Requests find who is down, probes only who is up again."""
    pair[1].on("/x").reply(500)
    gw.put("upstreams/1", balanced(*pair, checks={
        "active": {"http_path": "/status", "unhealthy": {"interval": 1}},
        "passive": {"unhealthy": {"http_failures": 2, "http_statuses": [500]}}}))
    gw.put("routes/1", {"uri": "/*", "upstream_id": 1})
    assert status_of(gw, pair[1]) == "healthy"
    assert Counter(statuses(gw, 20)) == {200: 18, 500: 2}
    assert status_of(gw, pair[1]) in ("unhealthy", "mostly_unhealthy")
    assert probes(pair[0]) == 0, "a healthy one is not probed"
    gw.wait_log("by a request: status 500")
    pair[1].rules.clear()
    wait_status(gw, pair[1], "healthy")
    assert probes(pair[1]) >= 2
    assert set(statuses(gw, 8)) == {200}


def test_passive_connections(gw, make_upstream):
    ups = make_upstream(), make_upstream()
    ups[1].stop()
    gw.put("upstreams/1", balanced(*ups, checks={
        "active": {"unhealthy": {"interval": 60}}, "passive": {"unhealthy": {"tcp_failures": 1}}}))
    gw.put("routes/1", {"uri": "/*", "upstream_id": 1})
    assert {gw.get("/x").status for _ in range(4)} == {200}     # by the retry on the other node
    assert status_of(gw, ups[1]) == "unhealthy"
    refused = lambda: gw.log.count("Connection refused), upstream")
    wire.wait_until("the log to be written", refused)
    assert refused() == 1, "it was tried once"


def test_state_stays(gw, make_upstream):
    ups = [make_upstream() for _ in range(3)]
    answer(ups[1], 500)
    slow = {"active": {"http_path": "/status", "healthy": {"interval": 1},
                       "unhealthy": {"interval": 3600, "http_failures": 1}}}
    gw.put("upstreams/1", balanced(*ups[:2], checks=slow))
    gw.put("routes/1", {"uri": "/*", "upstream_id": 1})
    wait_status(gw, ups[1], "unhealthy")
    n = probes(ups[1])
    gw.put("upstreams/1", balanced(*ups, checks=slow))                          # a node comes
    assert status_of(gw, ups[1]) == "unhealthy" and served_by(gw, ups, 6) == [3, 0, 3]
    gw.put("upstreams/1", balanced(*ups, checks=slow, retries=1, desc="again"))  # written again
    gw.put("upstreams/1", balanced(*ups[1:], checks=slow, type="least_conn"))   # one goes, another way of balancing
    assert status_of(gw, ups[1]) == "unhealthy" and served_by(gw, ups, 4) == [0, 0, 4]
    assert probes(ups[1]) == n, "not probed anew"


def test_probing_ends(gw, make_upstream):
    ups = [make_upstream() for _ in range(4)]
    gw.put("upstreams/1", balanced(ups[0], ups[1], checks=active()))
    gw.put("upstreams/2", balanced(ups[2], checks=active()))
    gw.put("routes/3", {"uri": "/*", "upstream": balanced(ups[3], checks=active())})
    for up in ups:
        up.wait("a probe", probes)
    gw.put("upstreams/1", balanced(ups[0], checks=active()))
    gw.delete("upstreams/2")
    gw.put("routes/3", {"uri": "/*", "upstream": {"type": "roundrobin", "nodes": {ups[3].node: 1}}})
    for up in ups[1:]:
        up.wait("what was under way", lambda u: u.open == 0)
    before = [probes(up) for up in ups]
    ups[0].wait("further probes of the one that stays", lambda u: probes(u) >= before[0] + 2)
    assert [probes(up) for up in ups[1:]] == before[1:]


def test_checks_go_while_down(gw, upstream, make_upstream):
    other = make_upstream()
    answer(upstream, 500)
    gw.put("upstreams/1", balanced(upstream, other, checks=active()))
    gw.put("routes/1", {"uri": "/*", "upstream_id": 1})
    wait_status(gw, upstream, "unhealthy")
    assert served_by(gw, (upstream, other)) == [0, 8]
    gw.put("upstreams/1", {"type": "roundrobin", "nodes": {upstream.node: 1, other.node: 1}})
    assert served_by(gw, (upstream, other)) == [4, 4]


def test_names(gw, upstream):
    answer(upstream, 500)
    gw.put("upstreams/1", balanced(f"localhost:{upstream.port}", checks=active()))
    wait_status(gw, upstream, "unhealthy")
    node = nodes_of(gw)[upstream.node]
    assert node["hostheader"] == "localhost" and upstream.requests[0].headers.get("Host") == "localhost"


def test_port(gw, make_upstream):
    serving, checked = make_upstream(), make_upstream()
    answer(checked, 500)
    gw.put("upstreams/1", balanced(serving, checks=active(port=checked.port)))
    wait_status(gw, checked, "unhealthy")
    assert probes(serving) == 0


@pytest.mark.seconds(60)
def test_many_upstreams(gw, upstream):
    """500 of them are probed, spread in time, and requests are answered meanwhile."""
    gw.put("routes/1", {"uri": "/*", "upstream": {"type": "roundrobin", "nodes": {upstream.node: 1}}})
    for i in range(500):
        gw.put(f"upstreams/u{i}", balanced(upstream, checks=active(http_path=f"/probe/{i}")))
    started = time.monotonic()
    upstream.wait("a probe of each", lambda u: len({r.target for r in u.requests if r.target.startswith("/probe/")}) == 500)
    assert {gw.get("/x").status for _ in range(20)} == {200}
    nodes = [n for info in gw.control("/v1/healthcheck").json for n in info["nodes"]]
    assert len(nodes) == 500 and {n["status"] for n in nodes} == {"healthy"}
    assert time.monotonic() - started < 60


def test_stop_under_way(gw):
    """The process ends while probes wait for answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        port = silent.getsockname()[1]
        gw.put("upstreams/1", balanced(f"127.0.0.1:{port}", checks=active(timeout=20)))
        silent.settimeout(10)
        probe, _ = silent.accept()
        gw.finish()
        probe.close()


def test_switched_off(make_gw, upstream, make_upstream):
    probed = make_upstream()
    gw = make_gw(apisix={"disable_upstream_healthcheck": True})
    gw.put("upstreams/1", balanced(upstream, checks=active()))
    other = make_gw()
    other.put("upstreams/1", balanced(probed, checks=active()))
    probed.wait("probes by the other gateway", lambda u: probes(u) >= 2)
    assert probes(upstream) == 0
