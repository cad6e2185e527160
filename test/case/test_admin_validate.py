# SPDX-License-Identifier: Apache-2.0
"""POST configs/validate: a whole configuration is checked, and nothing of it is stored."""
import pytest

NODES = {"nodes": {"127.0.0.1:1980": 1}}
ROUTE = {"id": "r", "uri": "/a", "upstream_id": "nowhere"}


def validate(gw, whole, **more):
    return gw.admin("POST", "configs/validate", whole, **more)


@pytest.mark.quick
@pytest.mark.asan
def test_good_and_bad(gw):
    whole = {"routes": [ROUTE, {"id": 2, "uri": "/b", "plugins": {"cors": {}}}], "upstreams": [{"id": "u", **NODES}],
             "consumers": [{"username": "jack", "plugins": {"key-auth": {"key": "k"}}},
                           {"id": "jack/credentials/1", "plugins": {"key-auth": {"key": "l"}}}],
             "global_rules": [{"id": 1, "plugins": {"cors": {}}}], "plugin_metadata": [{"id": "cors", "allow_origins": {}}],
             "secrets": [{"id": "vault/1", "uri": "http://v", "prefix": "p", "token": "t"}],
             "routes_conf_version": 7, "anything": [1]}
    r = validate(gw, whole)
    assert (r.status, r.json) == (200, {}), r
    for kind in ("routes", "upstreams", "consumers", "global_rules"):
        assert gw.admin("GET", kind).json["total"] == 0, "nothing is stored"
    bad = {"routes": [ROUTE, {**ROUTE, "plugins": {"nix": {}}}, {"id": "3", "uri": 7}, 5], "routes_conf_version": "x",
           "consumers": [{"username": "a"}, {"username": "a"}, {"id": "a/credentials/1", "plugins": {"cors": {}}}],
           "secrets": [{"id": "vault"}], "protos": [{"id": 1, "content": "x"}]}
    r = validate(gw, bad)
    assert r.status == 400 and r.json["error_msg"] == "Configuration validation failed"
    found = {(e["resource_type"], e.get("resource_id"), e.get("index"), e["error"]) for e in r.json["errors"]}
    assert found == {
        ("routes", None, None, "routes_conf_version must be a number, got string"),
        ("routes", "r", 1, "unknown plugin [nix]"),
        ("routes", "r", 1, "found duplicate id r in routes"),
        ("routes", "3", 2, 'invalid configuration: property "uri" validation failed: wrong type: expected string, got number'),
        ("routes", "", 3, "invalid configuration: wrong type: expected object, got number"),
        ("consumers", "a", 1, "found duplicate username a in consumers"),
        ("consumers", "a/credentials/1", 2, "only supports auth type plugins in consumer credential"),
        ("secrets", "vault", 0, "invalid secret id: vault"),
        ("protos", 1, 0, "invalid content: 1:1: message, enum, service, syntax, import, package or option expected near 'x'"),
    }


def test_bodies(gw):
    yaml = {"Content-Type": "application/yaml"}
    assert validate(gw, "routes:\n  - id: 1\n    uri: /a\n    upstream:\n      nodes:\n        \"127.0.0.1:80\": 1\n", headers=yaml).json == {}
    assert validate(gw, "routes:\n  - id: 1\n    uri: 7\n", headers=yaml).json["errors"][0]["resource_type"] == "routes"
    for body, headers, message in (("a: [", yaml, "invalid request body: invalid yaml request body"),
                                   ("- a", yaml, "invalid request body: invalid yaml request body"),
                                   (None, {}, "invalid request body: empty request body")):
        r = validate(gw, body, headers=headers)
        assert r.status == 400 and r.json == {"error_msg": message}
    r = validate(gw, "{")
    assert r.status == 400 and r.json["error_msg"].startswith("invalid request body: Expected ") and "req_body" not in r.json
    r = validate(gw, "[1]")
    assert r.status == 400 and r.json["error_msg"] == "Configuration validation failed"
    assert validate(gw, {}).json == {}
    bomb = "a0: &a0 [1, 1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 25))
    r = validate(gw, bomb, headers=yaml)
    assert r.status == 400 and r.json == {"error_msg": "invalid request body: invalid yaml request body"}
    assert gw.admin("GET", "configs/validate").status == 404
