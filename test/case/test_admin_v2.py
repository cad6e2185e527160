# SPDX-License-Identifier: Apache-2.0
"""deployment.admin.admin_api_version other than v3: the older shape of replies."""
import pytest

NODES = {"type": "roundrobin", "nodes": {"127.0.0.1:1980": 1}}


@pytest.mark.quick
def test_shape(make_gw):
    gw = make_gw(deployment={"admin": {"admin_api_version": "default"}})
    r = gw.admin("PUT", "upstreams/1", NODES)
    value = r.json["node"]["value"]
    assert r.status == 201 and r.headers.get("X-API-VERSION") == "v2"
    assert r.json == {"action": "set", "node": {"key": "/apisix/upstreams/1", "value": value}}
    assert gw.admin("GET", "upstreams/1").json == {"action": "get", "node": {"key": "/apisix/upstreams/1", "value": value}}
    r = gw.admin("PATCH", "upstreams/1", {"desc": "d"})
    assert r.status == 200 and r.json["action"] == "compareAndSwap" and r.json["node"]["value"]["desc"] == "d"
    r = gw.admin("POST", "upstreams", NODES)
    assert r.status == 201 and r.json["action"] == "create" and r.json["node"]["key"].startswith("/apisix/upstreams/0000")
    r = gw.admin("GET", "upstreams")
    assert r.json["action"] == "get" and r.json["node"]["dir"] is True and r.json["node"]["key"] == "/apisix/upstreams"
    assert {tuple(sorted(n)) for n in r.json["node"]["nodes"]} == {("createdIndex", "key", "modifiedIndex", "value")}
    r = gw.admin("DELETE", "upstreams/1")
    assert r.json == {"action": "delete", "deleted": "1", "key": "/apisix/upstreams/1", "node": {}}
    assert gw.admin("GET", "upstreams/1").json == {"message": "Key not found"}
    assert gw.admin("GET", "routes").json == {"action": "get", "node": {"dir": True, "key": "/apisix/routes", "nodes": []}}
