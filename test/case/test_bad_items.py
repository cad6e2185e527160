# SPDX-License-Identifier: Apache-2.0
"""Stored documents that cannot be served: each by itself, by whichever way it came; what guards never opens."""
import os

import pytest

import wire
from gw import Gateway
from test_etcd import etcd, make_etcd  # noqa: F401  fixtures

UNKNOWN = {"authz-casbin": {"model": "m"}}     # decides who may pass, and is not built in
PLUGINS = {"unknown": UNKNOWN, "invalid": {"key-auth": {"header": 7}}, "an auth plugin that is switched off": {"basic-auth": {}},
           "a limit that is switched off": {"limit-count": {"count": 1, "time_window": 60}}, "a limit that is not built in": {
               "limit-req": {"rate": 1, "burst": 0, "key": "remote_addr"}}, "invalid, and what the upstream trusts": {
                   "proxy-rewrite": {"headers": 7}}}


def nodes(upstream):
    return {"type": "roundrobin", "nodes": {upstream.node: 1}}


def documents(upstream):
    """Every place where a plugin may guard a route, and routes beside them."""
    found = {"routes": [{"id": "good", "uri": "/good", "upstream": nodes(upstream)},
                        {"id": "bad", "uri": 7},
                        {"id": "lost", "uri": "/lost", "upstream": nodes(upstream), "plugins": {"no-such-thing": {}}},
                        {"id": "off", "uri": "/off", "upstream": nodes(upstream), "plugins": {
                            "authz-casbin": {"_meta": {"disable": True}}, "key-auth": {"_meta": {"disable": True}, "header": 7}}}],
             "services": [], "plugin_configs": [], "upstreams": [{"id": "bad", "nodes": 7}]}
    for i, plugins in enumerate(PLUGINS.values()):
        found["routes"] += [
            {"id": f"r{i}", "uri": f"/r{i}", "upstream": nodes(upstream), "plugins": plugins},
            {"id": f"s{i}", "uri": f"/s{i}", "service_id": f"s{i}"},
            {"id": f"p{i}", "uri": f"/p{i}", "upstream": nodes(upstream), "plugin_config_id": f"p{i}"}]
        found["services"].append({"id": f"s{i}", "upstream": nodes(upstream), "plugins": plugins})
        found["plugin_configs"].append({"id": f"p{i}", "plugins": plugins})
    return found


def looks_right(gw, prefix):
    for i, name in enumerate(PLUGINS):
        for place in "rsp":
            assert gw.get(f"/{place}{i}").status == 503, (name, place)
    assert [gw.get(p).status for p in ("/good", "/lost", "/off")] == [200, 200, 200]
    state = gw.control("/v1/eclusa/config").json
    skipped = {e["key"]: e["reason"] for e in state["skipped"]}
    assert set(skipped) == {f"{prefix}/routes/bad", f"{prefix}/upstreams/bad"}, skipped
    assert skipped[f"{prefix}/routes/bad"] == 'property "uri" validation failed: wrong type: expected string, got number'
    limited = {e["key"]: e["reason"] for e in state["limited"]}
    closed = {f"{prefix}/{kind}/{place}{i}" for kind, place in (("routes", "r"), ("services", "s"), ("plugin_configs", "p"))
              for i in range(len(PLUGINS))}
    assert set(limited) == closed | {f"{prefix}/routes/lost"}
    assert all(limited[key].endswith("what it guards is closed") for key in closed)
    assert limited[f"{prefix}/routes/lost"].endswith("the plugin is left out")
    for key in (*skipped, *limited):
        wire.wait_until(f"{key} in the log", lambda k=key: k[len(prefix):] in gw.log)


@pytest.mark.quick
@pytest.mark.asan
def test_in_a_file(tmp_path, upstream):
    import json
    gw = Gateway(tmp_path).config(plugins=["key-auth"], deployment={
        "role": "data_plane", "role_data_plane": {"config_provider": "json"}})
    os.makedirs(gw.folder, exist_ok=True)
    with open(os.path.join(gw.folder, "apisix.json"), "w", encoding="utf-8") as f:
        json.dump(documents(upstream), f)
    gw.start()
    try:
        looks_right(gw, "")
    finally:
        gw.finish()


def test_in_etcd(etcd, make_gw, upstream):
    for kind, items in documents(upstream).items():
        for item in items:
            etcd.put(f"/{kind}/{item['id']}", item)
    etcd.put("/consumers/x", {"username": "x", "plugins": {"key-auth": {"key": "k"}}})
    gw = make_gw(plugins=["key-auth"], deployment={"role_traditional": {"config_provider": "etcd"},
                                                   "etcd": {"host": [etcd.url], "prefix": "/apisix"}})
    looks_right(gw, "/apisix")
    # By the watch, too.
    etcd.put("/routes/late", {"id": "late", "uri": "/late", "upstream": nodes(upstream), "plugins": UNKNOWN})
    wire.wait_until("/late to be closed", lambda: gw.get("/late").status == 503)


@pytest.mark.quick
def test_taken_out_of_plugins(gw, upstream):
    """A plugin that was on when the documents were written, and is not any more."""
    gw.put("plugin_configs/p", {"plugins": {"key-auth": {}}})
    gw.put("services/s", {"plugins": {"key-auth": {}}, "upstream": nodes(upstream)})
    gw.put("routes/r", {"uri": "/r", "upstream": nodes(upstream), "plugins": {"key-auth": {}}})
    gw.put("routes/s", {"uri": "/s", "service_id": "s"})
    gw.put("routes/p", {"uri": "/p", "upstream": nodes(upstream), "plugin_config_id": "p"})
    gw.put("routes/open", {"uri": "/open", "upstream": nodes(upstream), "plugins": {"cors": {}}})
    gw.put("consumer_groups/g", {"plugins": {"ip-restriction": {"blacklist": ["10.0.0.1"]}}})
    gw.put("consumers", {"username": "jack", "group_id": "g", "plugins": {"basic-auth": {"username": "jack", "password": "p"}}})
    gw.put("routes/c", {"uri": "/c", "upstream": nodes(upstream), "plugins": {"basic-auth": {}}})
    jack = {"Authorization": "Basic amFjazpw"}
    assert [gw.get(p).status for p in ("/r", "/s", "/p", "/open")] == [401, 401, 401, 200] and gw.get("/c", jack).status == 200
    gw.config(plugins=["basic-auth"]).restart()
    assert [gw.get(p).status for p in ("/r", "/s", "/p", "/open")] == [503, 503, 503, 200]
    assert gw.get("/c", jack).status != 200, "what restricts the consumer's group cannot run"
    gw.config(plugins=["basic-auth", "ip-restriction", "key-auth"]).restart()
    assert [gw.get(p).status for p in ("/r", "/s", "/p", "/open")] == [401, 401, 401, 200] and gw.get("/c", jack).status == 200
    # A global rule closes everything.
    gw.put("global_rules/1", {"plugins": {"ip-restriction": {"blacklist": ["10.0.0.1"]}}})
    gw.config(plugins=["basic-auth", "key-auth"]).restart()
    assert gw.get("/open").status == 503 and gw.get("/nowhere").status == 503
    assert [e["key"] for e in gw.control("/v1/eclusa/config").json["limited"] if "global" in e["key"]] == ["/apisix/global_rules/1"]
