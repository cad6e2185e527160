# SPDX-License-Identifier: Apache-2.0
"""The control API and the status API: what the process knows and does, on ports of their own."""
import subprocess
import threading
from xml.etree import ElementTree

import pytest

import wire
from gw import Gateway, ports

NODES = {"nodes": {"127.0.0.1:1980": 1}}


def error(reply, status):
    assert reply.status == status and set(reply.json) == {"error_msg"}, reply
    return reply.json["error_msg"]


@pytest.mark.quick
@pytest.mark.asan
def test_documents(gw):
    gw.put("upstreams/u", {"nodes": {"localhost:80": 1}})
    gw.put("services/s", {"upstream": NODES})
    gw.put("services/s/graphql_cost_decorations/1", {"field_path": "Query"})
    gw.put("routes/1", {"uri": "/a", "service_id": "s"})
    gw.put("plugin_metadata/cors", {"allow_origins": {}})
    for plural, singular, id_, domain in (("routes", "route", "1", False), ("services", "service", "s", False),
                                          ("upstreams", "upstream", "u", True)):
        one = gw.control(f"/v1/{singular}/{id_}").json
        stored = gw.admin("GET", f"{plural}/{id_}").json
        assert {k: one[k] for k in stored} == stored
        assert one["has_domain"] is domain and one["orig_modifiedIndex"] == one["modifiedIndex"]
        assert gw.control(f"/v1/{plural}").json == [one], "a decoration is no service"
        assert error(gw.control(f"/v1/{singular}/x"), 404) == f"{singular}[x] not found"
    assert gw.control("/v1/plugin_metadatas").json == [{"allow_origins": {}, "id": "cors"}]
    assert gw.control("/v1/plugin_metadata/cors").json == {"allow_origins": {}, "id": "cors"}
    assert error(gw.control("/v1/plugin_metadata/x"), 404) == "plugin metadata[x] not found"


def test_secrets_stay_sealed(gw):
    gw.put("routes/1", {"uri": "/a", "plugins": {"basic-auth": {}}, "upstream": {
        **NODES, "tls": {"client_cert": "$env://NO_CERT" + "-" * 128, "client_key": "plain-" + "k" * 100}}})
    assert "plain-k" in gw.admin("GET", "routes/1").body.decode()
    assert "plain-k" not in gw.control("/v1/routes").body.decode()


def test_schema(gw):
    schema = gw.control("/v1/schema").json
    assert set(schema) == {"main", "plugins", "stream_plugins"}
    assert set(schema["main"]) == {
        "consumer", "consumer_group", "global_rule", "graphql_cost_decoration", "plugin_config", "plugins", "proto", "route",
        "service", "ssl", "stream_route", "upstream", "upstream_hash_header_schema", "upstream_hash_vars_schema"}
    for name, one in schema["main"].items():
        kind = "array" if name == "plugins" else "string" if "hash" in name else "object"
        assert one["type"] == kind, name
    assert schema["plugins"]["key-auth"]["type"] == "auth" and "consumer_schema" in schema["plugins"]["key-auth"]
    assert "disable" in schema["stream_plugins"]["ip-restriction"]["schema"]["properties"]["_meta"]["properties"]


@pytest.mark.quick
def test_healthcheck(gw):
    assert gw.control("/v1/healthcheck").json == []
    gw.put("routes/1", {"uri": "/a", "upstream": {**NODES, "checks": {"active": {"type": "tcp"}}}})
    gw.put("upstreams/2", {**NODES, "checks": {"active": {}}})
    gw.put("upstreams/3", NODES)
    names = {(i["name"], i["type"]) for i in gw.control("/v1/healthcheck").json}
    assert names == {("/apisix/routes/1", "tcp"), ("/apisix/upstreams/2", "http")}
    assert gw.control("/v1/healthcheck/upstreams/2").json["name"] == "/apisix/upstreams/2"
    for path, status, message in (("routes", 404, "missing src id for src type routes"),
                                  ("route/1", 400, "invalid src type route"),
                                  ("routes/9", 404, "routes[9] not found"),
                                  ("upstreams/3", 404, "no checker for upstreams[3]")):
        assert error(gw.control(f"/v1/healthcheck/{path}"), status) == message
    page = gw.control("/v1/healthcheck", headers=[("Accept", "text/html")])
    assert page.headers.get("Content-Type") == "text/html" and b"<h1>APISIX upstream check status</h1>" in page.body
    ElementTree.fromstring(page.body)


def test_a_page_of_nodes(gw, upstream):
    """As HTML, one row a node."""
    gw.put("upstreams/1", {"nodes": {upstream.node: 1, "127.0.0.1:1": 1}, "checks": {"active": {
        "type": "tcp", "unhealthy": {"interval": 1, "tcp_failures": 1}}}})
    gw.put("services/s", {"upstream": {"nodes": {upstream.node: 1}, "checks": {"active": {"type": "tcp"}}}})

    def rows(path):
        page = gw.control(path, headers=[("Accept", "text/html")])
        assert page.headers.get("Content-Type") == "text/html"
        found = ElementTree.fromstring(page.body).iter("{http://www.w3.org/1999/xhtml}tr")
        return [[cell.text for cell in row] + [row.get("bgcolor")] for row in list(found)[1:]]
    down = ["1", "/apisix/upstreams/1", "tcp", "127.0.0.1:1", "unhealthy", "0", "1", "0", "0", "#FF0000"]
    wire.wait_until("a probe", lambda: down in rows("/v1/healthcheck/upstreams/1"))
    up = ["2", "/apisix/upstreams/1", "tcp", upstream.node, "healthy", "0", "0", "0", "0", None]
    assert rows("/v1/healthcheck/upstreams/1") == [down, up]
    assert [row[:4] for row in rows("/v1/healthcheck")] == [["1", "/apisix/services/s", "tcp", upstream.node]] + [
        [str(i + 2), *row[1:4]] for i, row in enumerate((down, up))]


def test_long_lists_beside_writes(gw):
    """They are made beside the thread that writes, from one state of the store."""
    docs = {f"u{i}": {"nodes": {f"127.0.0.1:{i + 1}": 1}, "checks": {"active": {"type": "tcp", "healthy": {"interval": 3600}}}}
            for i in range(300)}
    for name, doc in docs.items():
        gw.put(f"upstreams/{name}", doc)
    stop = threading.Event()
    failed = []

    def write():
        for i in range(100000):
            if stop.is_set():
                return
            # Two that always change together, in one write.
            reply = gw.admin("POST", "eclusa/transactions", {"operations": [
                {"method": "PUT", "path": f"routes/{name}", "body": {"uri": "/", "desc": str(i), "upstream_id": "u0"}} for name in "ab"]})
            if reply.status != 200:
                failed.append(reply)
                return
    writer = threading.Thread(target=write)
    writer.start()
    try:
        wire.wait_until("a write", lambda: gw.control("/v1/routes").json)
        for _ in range(20):
            assert len({r["value"]["desc"] for r in gw.control("/v1/routes").json}) == 1
            assert [u["value"]["id"] for u in gw.control("/v1/upstreams").json] == list(docs)
            assert [i["name"] for i in gw.control("/v1/healthcheck").json] == [f"/apisix/upstreams/{name}" for name in docs]
    finally:
        stop.set()
        writer.join()
    assert not failed


def test_the_rest(gw):
    assert gw.control("/v1/plugins/reload", "PUT").body == b"done"
    gc = gw.control("/v1/gc", "POST")
    assert (gc.status, gc.body) == (200, b"")
    for method, path in (("GET", "/v1/gc"), ("GET", "/v1/plugins/reload"), ("GET", "/"), ("GET", "/v1/discovery/dns/dump"),
                         ("DELETE", "/v1/route/1"), ("GET", "/apisix/admin/routes"), ("GET", "/status")):
        assert gw.control(path, method).status == 404, path


@pytest.mark.quick
def test_what_is_served_and_what_is_not(gw):
    gw.put("routes/1", {"uri": "/a", "upstream": NODES})
    state = gw.control("/v1/eclusa/config").json
    assert state["store"] == "sqlite" and state["stale_ms"] == 0 and state["revision"] >= 1
    assert state["skipped"] == state["limited"] == []
    wire.wait_until("both workers to serve it", lambda: [
        w["version"] for w in gw.control("/v1/eclusa/config").json["workers"]] == [state["version"]] * 2)
    gw.put("routes/2", {"uri": "/b", "upstream": NODES, "plugins": {"key-auth": {}}})
    gw.put("routes/3", {"uri": "/c", "upstream": NODES, "plugins": {"limit-count": {
        "count": 1, "time_window": 1}, "cors": {}}})
    gw.config(plugins=["cors"]).restart()
    state = gw.control("/v1/eclusa/config").json
    limited = {e["key"]: e["reason"] for e in state["limited"]}
    assert limited == {"/apisix/routes/2": "plugin key-auth: unknown plugin [key-auth]: what it guards is closed",
                       "/apisix/routes/3": "plugin limit-count: unknown plugin [limit-count]: what it guards is closed"}
    gw.delete("routes/2")
    gw.put("routes/3", {"uri": "/c", "upstream": NODES})
    assert gw.control("/v1/eclusa/config").json["limited"] == []


@pytest.mark.quick
def test_status(make_gw):
    port = ports.take()
    gw = make_gw(apisix={"status": {"port": port}})
    # The ports are open a moment before the threads behind them serve.
    wire.wait_until("the workers to serve", lambda: gw.control("/status/ready", port=port).status == 200)
    for path in ("/status", "/status/ready"):
        r = gw.control(path, port=port)
        assert (r.status, r.json) == (200, {"status": "ok"})
    assert gw.control("/v1/routes", port=port).status == 404


def test_switched_off_or_taken(make_gw, tmp_path):
    gw = make_gw(apisix={"enable_control": False})
    with pytest.raises(OSError):
        wire.connect(gw.control_port)
    # A port that was asked for and is another's ends the start.
    other = Gateway(tmp_path / "other").config(apisix={"control": {"port": gw.admin_port}})
    done = subprocess.run(other.command("run"), cwd=tmp_path, capture_output=True, timeout=20, check=False)
    assert done.returncode != 0 and b"apisix.control: cannot listen on 127.0.0.1:" in done.stderr
