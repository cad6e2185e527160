# SPDX-License-Identifier: Apache-2.0
"""Upstreams whose nodes DNS knows: SRV and addresses, their order, what changes behind the gateway's back."""
import os
import subprocess
from collections import Counter

import pytest

import wire
from dns import Dns
from gw import Gateway

pytestmark = [pytest.mark.asan]


@pytest.fixture
def dns():
    server = Dns()
    yield server
    server.stop()


@pytest.fixture
def discovering(make_gw, dns):
    """A gateway whose services are known to `dns`."""
    return lambda **more: make_gw(discovery={"dns": {"servers": [dns.address], **more}},
                                  apisix={"enable_ipv6": False})


@pytest.fixture
def nodes(make_upstream):
    ups = {}
    for name in "abc":
        ups[name] = make_upstream()
        ups[name].on("*").reply(200, name)
    return ups


def service(gw, name, **fields):
    gw.route("/*", {"type": "roundrobin", "discovery_type": "dns", "service_name": name, **fields})


def texts(gw, n):
    with gw.connect() as w:
        out = []
        for _ in range(n):
            w.request("GET", "/")
            out.append(w.response().text)
    return out


def srv(dns, name, *rows):
    """(priority, weight, node) for each."""
    for i, (_, _, up) in enumerate(rows):
        dns.set(f"t{i}.test", "A", "127.0.0.1")
    dns.set(name, "SRV", *[(p, w, up.port, f"t{i}.test") for i, (p, w, up) in enumerate(rows)])


def shares(gw, **want):
    """Once all targets are known; whose address comes first serves alone for a moment."""
    wire.wait_until(f"{want}", lambda: Counter(texts(gw, sum(want.values()))) == want)


@pytest.mark.quick
def test_srv_weights_and_priorities(discovering, dns, nodes):
    srv(dns, "_web._tcp.test", (10, 3, nodes["a"]), (10, 1, nodes["b"]), (20, 9, nodes["c"]))
    gw = discovering()
    service(gw, "_web._tcp.test")
    shares(gw, a=12, b=4)
    nodes["a"].stop()
    assert set(texts(gw, 4)) == {"b"}
    nodes["b"].stop()
    assert set(texts(gw, 4)) == {"c"}


def test_weight_zero_counts_as_one(discovering, dns, nodes):
    srv(dns, "s.test", (0, 0, nodes["a"]), (0, 0, nodes["b"]))
    gw = discovering()
    service(gw, "s.test")
    shares(gw, a=4, b=4)


def test_addresses_where_there_is_no_srv(discovering, dns, nodes):
    dns.set("plain.test", "A", "127.0.0.1")
    gw = discovering()
    service(gw, f"plain.test:{nodes['a'].port}")
    assert texts(gw, 2) == ["a", "a"]
    assert ("plain.test", "SRV") in dns.asked and ("plain.test", "A") in dns.asked
    assert ("plain.test", "AAAA") not in dns.asked


def test_a_server_that_refuses_srv(discovering, dns, nodes):
    dns.refused = {"SRV"}
    dns.set("plain.test", "A", "127.0.0.1")
    gw = discovering()
    service(gw, f"plain.test:{nodes['a'].port}")
    assert texts(gw, 2) == ["a", "a"]


def test_the_port_of_the_service_name_counts(discovering, dns, nodes):
    dns.set("t.test", "A", "127.0.0.1")
    dns.set("s.test", "SRV", (0, 1, 1, "t.test"))
    gw = discovering()
    service(gw, f"s.test:{nodes['b'].port}")
    assert texts(gw, 2) == ["b", "b"]


@pytest.mark.parametrize("order, want", [
    (["SRV", "A"], "a"), (["last", "SRV", "A", "AAAA", "CNAME"], "a"), (["A", "SRV"], "b"), (["A"], "b"), (["SRV"], "a"),
])
def test_order(discovering, dns, nodes, order, want):
    dns.set("t.test", "A", "127.0.0.1")
    dns.set("s.test", "SRV", (0, 1, nodes["a"].port, "t.test"))
    dns.set("s.test", "A", "127.0.0.2")     # nobody listens on 127.0.0.2 with SRV's port
    gw = discovering(order=order)
    service(gw, "s.test")
    if want == "a":
        assert texts(gw, 2) == ["a", "a"]
    else:
        assert gw.get("/").status == 502
        assert ("t.test", "A") not in dns.asked


def test_only_srv(discovering, dns, nodes):
    dns.set("s.test", "A", "127.0.0.1")
    gw = discovering(order=["SRV"])
    service(gw, f"s.test:{nodes['a'].port}")
    assert gw.get("/").status == 503


def test_srv_behind_addresses(discovering, dns, nodes):
    srv(dns, "s.test", (0, 1, nodes["c"]))
    gw = discovering(order=["A", "SRV"])
    service(gw, "s.test")
    assert texts(gw, 2) == ["c", "c"]


def test_changes_are_seen(discovering, dns, nodes):
    dns.ttl = 1
    srv(dns, "s.test", (0, 1, nodes["a"]))
    gw = discovering()
    service(gw, "s.test")
    assert texts(gw, 2) == ["a", "a"]
    srv(dns, "s.test", (0, 1, nodes["a"]), (0, 1, nodes["b"]))
    wire.wait_until("b to come", lambda: "b" in texts(gw, 2))
    srv(dns, "s.test", (0, 1, nodes["b"]))
    wire.wait_until("a to go", lambda: set(texts(gw, 4)) == {"b"})
    dns.stop()                                      # nobody answers: what a thread knew serves
    assert set(texts(gw, 4)) <= {"a", "b"}


def test_records_go_and_addresses_stay(discovering, dns, nodes):
    dns.ttl = 1
    srv(dns, "s.test", (0, 1, nodes["a"]))
    gw = discovering()
    service(gw, "s.test")
    assert texts(gw, 1) == ["a"]
    dns.set("s.test", "SRV")
    dns.set("s.test", "A", "127.0.0.9")             # nobody listens there on port 80
    wire.wait_until("the addresses to count", lambda: gw.get("/").status == 502)


def test_requests_outlive_their_node(discovering, dns, nodes):
    """The node that answers is no longer one of the service's."""
    dns.ttl = 1
    nodes["a"].on("/slow").reply(200, "slow", delay=2.5)
    srv(dns, "s.test", (0, 1, nodes["a"]))
    gw = discovering()
    service(gw, "s.test", pass_host="node")
    with gw.connect() as w:
        w.request("GET", "/slow")
        nodes["a"].wait("the request", lambda u: u.requests)
        srv(dns, "s.test", (0, 1, nodes["b"]))
        wire.wait_until("b to come", lambda: set(texts(gw, 2)) == {"b"})
        assert w.response().text == "slow"
    assert nodes["a"].requests[0].headers.get("Host") == f"t0.test:{nodes['a'].port}"


@pytest.mark.parametrize("kind", ["least_conn", "ewma", "chash"])
def test_with_balancers(discovering, dns, nodes, kind):
    srv(dns, "s.test", (0, 1, nodes["a"]), (0, 1, nodes["b"]), (0, 1, nodes["c"]))
    gw = discovering()
    service(gw, "s.test", type=kind, key="arg_id")
    with gw.connect() as w:
        got = []
        for i in range(30):
            w.request("GET", f"/?id={i}")
            got.append(w.response().text)
    assert set(got) == {"a", "b", "c"}


def checked(gw, name, **checks):
    side = {"healthy": {"interval": 1, "successes": 1}, "unhealthy": {"interval": 1, "http_failures": 1, "tcp_failures": 1}}
    gw.put("upstreams/1", {"type": "roundrobin", "discovery_type": "dns", "service_name": name, "retries": 0, "checks": {
        "active": {"http_path": "/status", **side}, **checks}})
    gw.put("routes/1", {"uri": "/*", "upstream_id": "1"})


def seen(gw):
    """What the control API tells of each node."""
    return {(n["hostheader"], n["port"]): n["status"] for n in gw.control("/v1/healthcheck/upstreams/1").json["nodes"]}


@pytest.mark.quick
def test_checks(discovering, dns, nodes):
    """Nodes of records are probed, those that are down are not chosen, and changes are followed."""
    a, b, c = nodes["a"], nodes["b"], nodes["c"]
    dns.ttl = 1
    b.on("/status").reply(500)
    srv(dns, "s.test", (0, 1, a), (0, 1, b))
    gw = discovering()
    checked(gw, "s.test")
    want = {("t0.test", a.port): "healthy", ("t1.test", b.port): "unhealthy"}
    wire.wait_until("the probes", lambda: seen(gw) == want)
    assert {r.headers.get("Host") for r in b.requests} == {"t1.test"}
    shares(gw, a=8)
    # The one that is down stays down while others come and go.
    dns.set("t2.test", "A", "127.0.0.1")
    dns.set("s.test", "SRV", (0, 1, b.port, "t1.test"), (0, 1, c.port, "t2.test"))
    want = {("t1.test", b.port): "unhealthy", ("t2.test", c.port): "healthy"}
    wire.wait_until("the new records", lambda: seen(gw) == want)
    probed = len([r for r in a.requests if r.target == "/status"])
    shares(gw, c=8)
    assert gw.log.count(f"(127.0.0.1:{b.port}) is unhealthy, was healthy") == 1
    b.rules.pop("/status")
    b.on("/status").reply(200)
    shares(gw, b=4, c=4)
    assert len([r for r in a.requests if r.target == "/status"]) <= probed + 1
    dns.set("s.test", "SRV")
    wire.wait_until("the nodes to go", lambda: set(seen(gw)) <= {("s.test", 80)})


def test_checks_of_addresses(discovering, dns, nodes):
    """A service without records: each address of its name is judged by itself."""
    a = nodes["a"]
    dns.ttl = 1
    dns.set("s.test", "A", "127.0.0.1", "127.0.0.2")      # nobody listens on 127.0.0.2
    gw = discovering()
    checked(gw, f"s.test:{a.port}")

    def states():
        return {n["ip"]: n["status"] for n in gw.control("/v1/healthcheck/upstreams/1").json["nodes"]}
    wire.wait_until("the probes", lambda: states() == {"127.0.0.1": "healthy", "127.0.0.2": "unhealthy"})
    assert texts(gw, 6) == ["a"] * 6
    dns.set("s.test", "A", "127.0.0.1")
    wire.wait_until("the address to go", lambda: set(states()) == {"127.0.0.1"})


def test_requests_tell_of_nodes_too(discovering, dns, nodes):
    """Passive: a node that fails requests alone goes, and probes bring it back."""
    a, b = nodes["a"], nodes["b"]
    srv(dns, "s.test", (0, 1, a), (0, 1, b))
    gw = discovering()
    checked(gw, "s.test", passive={"healthy": {"successes": 1}, "unhealthy": {"http_statuses": [500], "http_failures": 2}})
    shares(gw, a=4, b=4)
    b.on("/*").reply(500, "bad")
    b.on("/status").reply(500)
    wire.wait_until("b to go", lambda: texts(gw, 8).count("a") == 8)
    b.rules.clear()
    b.on("*").reply(200, "b")
    shares(gw, a=4, b=4)


def test_nothing_there(discovering, dns):
    dns.set("root.test", "SRV", (0, 0, 0, "."))
    gw = discovering()
    service(gw, "none.test")
    assert gw.get("/").status == 503
    gw.routes = 0
    service(gw, "root.test")
    assert gw.get("/").status == 503


def test_slow_answer_is_waited_for_once(discovering, dns, nodes):
    srv(dns, "s.test", (0, 1, nodes["a"]))
    gw = discovering()
    service(gw, "s.test")
    texts(gw, 20)
    assert dns.asked.count(("s.test", "SRV")) <= 4, "not for each request; a late answer is asked for again"


def test_an_address_as_service(discovering, nodes):
    gw = discovering()
    service(gw, nodes["a"].node)
    assert texts(gw, 2) == ["a", "a"]


# ---- The configuration

def test_without_discovery_it_is_refused(gw):
    reply = gw.admin("PUT", "upstreams/1", {"discovery_type": "dns", "service_name": "s.test"})
    assert reply.status == 400 and "discovery.dns" in reply.json["error_msg"]


@pytest.mark.parametrize("fields, words", [
    ({"service_name": "s.test"}, "value should match only one schema"),
    ({"service_name": "s.test", "discovery_type": "eureka"}, 'discovery_type "eureka" is not supported'),
    ({"service_name": "s.test:0", "discovery_type": "dns"}, "invalid port 0"),
])
def test_refused(discovering, fields, words):
    reply = discovering().admin("PUT", "upstreams/1", fields)
    assert reply.status == 400 and words in reply.json["error_msg"], reply.json


@pytest.fixture
def on_port_53():
    """Servers that resolv.conf can name: it knows no ports. Each worker of the test run has addresses of its own."""
    servers = []

    def make():
        host = f"127.{os.getpid() >> 8 & 255}.{os.getpid() & 255}.{10 + len(servers)}"
        try:
            servers.append(Dns(host, 53))
        except PermissionError:
            pytest.skip("port 53 is for root")
        return servers[-1]
    yield make
    for server in servers:
        server.stop()


def test_resolv_conf_changes(on_port_53, make_gw, nodes, tmp_path):
    """As in a container whose network changes: other servers, without a restart."""
    path, old, new = tmp_path / "resolv.conf", on_port_53(), on_port_53()
    for server, name in ((old, "a"), (new, "b")):
        server.ttl = 1
        srv(server, "web.test", (1, 1, nodes[name]))
    path.write_text(f"nameserver {old.host}\n")
    gw = make_gw(discovery={"dns": {"resolv_conf": str(path)}}, apisix={"enable_ipv6": False})
    service(gw, "web.test")
    wire.wait_until("the first server's answer", lambda: texts(gw, 1) == ["a"])
    # What is being written, and what is gone, changes nothing.
    path.write_text("")
    asked = len(old.asked)
    wire.wait_until("the first server to be asked again", lambda: texts(gw, 1) == ["a"] and len(old.asked) > asked + 4)
    path.unlink()
    asked = len(old.asked)
    wire.wait_until("and again", lambda: texts(gw, 1) == ["a"] and len(old.asked) > asked + 4)
    assert not new.asked
    old.stop()
    path.write_text(f"nameserver {new.host}\n")
    wire.wait_until("the other server's answer", lambda: texts(gw, 1) == ["b"])


@pytest.mark.parametrize("section, words", [
    ({"servers": ["here"]}, "discovery.dns.servers"), ({"servers": []}, "servers"), ({}, "dns"),
    ({"resolv_conf": "/nowhere/resolv.conf"}, "discovery.dns.resolv_conf"),
    ({"servers": ["1.1.1.1"], "order": ["MX"]}, "order"), ({"servers": ["1.1.1.1"], "order": ["last"]}, "order"),
])
def test_bad_config(tmp_path, section, words):
    gw = Gateway(tmp_path).config(discovery={"dns": section})
    done = subprocess.run(gw.command("run"), capture_output=True, timeout=20, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1 and words in done.stderr + done.stdout, done
