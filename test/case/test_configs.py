# SPDX-License-Identifier: Apache-2.0
"""API-driven standalone: the configuration is given whole, by PUT /apisix/admin/configs."""
import json
import os
import subprocess
import time

import pytest

import wire
from gw import Gateway

KINDS = ("routes", "services", "upstreams", "consumers", "consumer_groups", "plugin_configs", "global_rules", "plugin_metadata",
         "ssls", "protos", "secrets", "stream_routes", "plugins")
YAML = {"Accept": "application/yaml"}


@pytest.fixture
def whole(make_gw):
    return make_gw(deployment={"role_traditional": {"config_provider": "yaml"}})


def put(gw, config, digest, **more):
    return gw.admin("PUT", "configs", config, headers={**({"X-Digest": digest} if digest else {}), **more.pop("headers", {})}, **more)


def accepted(gw, config, digest, **more):
    r = put(gw, config, digest, **more)
    assert r.status == 202 and r.body == b"" and r.headers.get("X-Digest") == digest, r
    assert abs(int(r.headers.get("X-Last-Modified")) - time.time()) < 100
    return r


def error(reply, status=400):
    assert reply.status == status, reply
    return reply.json["error_msg"]


def route(upstream, uri, **more):
    return {"id": "r1", "uri": uri, "upstream": {"type": "roundrobin", "nodes": {upstream.node: 1}}, **more}


def statuses(gw, *paths):
    return [gw.get(p).status for p in paths]


@pytest.mark.quick
@pytest.mark.asan
def test_life(whole, upstream):
    r = whole.admin("GET", "configs")
    assert r.status == 200 and r.json == {f"{k}_conf_version": 0 for k in KINDS}
    assert r.headers.get("X-Digest") is None and r.headers.get("X-Last-Modified") is None
    assert whole.admin("HEAD", "configs").status == 200
    r = accepted(whole, {"routes": [route(upstream, "/r1")]}, "1", headers={"X-Eclusa-Wait": "live"})
    whole.live_at = 0.0                                     # it was waited for
    assert r.headers.get("X-Eclusa-Revision") == "1"
    assert statuses(whole, "/r1", "/r2") == [200, 404]
    assert put(whole, {"routes": []}, "1").status == 204, "the same digest: nothing is looked at"
    r = whole.admin("HEAD", "configs")
    assert r.status == 200 and r.headers.get("X-Digest") == "1" and int(r.headers.get("X-Last-Modified")) > 0
    r = whole.admin("GET", "configs")
    assert r.json["routes"] == [route(upstream, "/r1")] and {r.json[f"{k}_conf_version"] for k in KINDS} == {1}
    assert r.headers.get("X-Digest") == "1" == r.json["X-Digest"]
    # What is left out is emptied.
    accepted(whole, json.dumps({"routes": [route(upstream, "/r2", id="r2")]}), "2", headers={"Content-Type": "application/yaml"})
    assert statuses(whole, "/r1", "/r2") == [404, 200]
    accepted(whole, {}, "3")
    assert statuses(whole, "/r1", "/r2") == [404, 404]


@pytest.mark.quick
def test_yaml(whole, upstream):
    text = f"""
routes:
  - id: r1
    uri: /r1
    upstream: {{type: roundrobin, nodes: {{"{upstream.node}": 1}}}}
    labels: {{a: "1", b: "true", c: "~", d: plain-text, e: "1.5", f: "No"}}
    desc: "x: y # \\"quoted\\" 'as well'\\nline two \\u00e9 \\t{{}}"
routes_conf_version: 7
"""
    accepted(whole, text, "y", headers={"Content-Type": "application/yaml"})
    assert statuses(whole, "/r1") == [200]
    r = whole.admin("GET", "configs", headers=YAML)
    assert r.headers.get("Content-Type") == "application/yaml" and r.status == 200
    shown = r.body.decode()
    assert "routes:" in shown and "id: r1" in shown and not shown.startswith("---") and not shown.endswith("...")
    # What is shown can be given again, and means the same.
    before = whole.admin("GET", "configs").json
    accepted(whole, shown.replace("routes_conf_version: 7", "routes_conf_version: 8"), "z", headers={"Content-Type": "application/yaml"})
    after = whole.admin("GET", "configs").json
    assert after["routes"] == before["routes"] and after["routes_conf_version"] == 8
    assert error(put(whole, "a: [", "w", headers={"Content-Type": "application/yaml"})) == \
        "invalid request body: invalid yaml request body"


def test_versions(whole, upstream):
    def versions():
        shown = whole.admin("GET", "configs").json
        return shown["routes_conf_version"], shown["services_conf_version"]
    accepted(whole, {"routes": [route(upstream, "/a")], "services": [{"id": "s"}]}, "1")
    accepted(whole, {"routes_conf_version": 15}, "2")
    assert versions() == (15, 2) and statuses(whole, "/a") == [404]
    accepted(whole, {"routes": [route(upstream, "/b")], "routes_conf_version": 17}, "3")
    assert versions() == (17, 3)
    # The same version: the kind stays as it was, whatever is given.
    accepted(whole, {"routes": [route(upstream, "/c")], "routes_conf_version": 17}, "4")
    assert versions() == (17, 4) and statuses(whole, "/b", "/c") == [200, 404]
    assert whole.admin("GET", "configs").json["routes"][0]["uri"] == "/b"
    assert error(put(whole, {"routes_conf_version": 16}, "5")) == "routes_conf_version must be greater than or equal to (17)"
    assert error(put(whole, {"routes_conf_version": -1}, "5")) == "routes_conf_version must be greater than or equal to (17)"
    assert error(put(whole, {"routes_conf_version": "adc"}, "5")) == "routes_conf_version must be a number"
    assert error(put(whole, {"plugins_conf_version": "adc"}, "5")) == "plugins_conf_version must be a number"
    assert versions() == (17, 4) and whole.admin("GET", "configs").headers.get("X-Digest") == "4"


def test_modified_index(whole, upstream):
    """A document with the index that it has already stays as it is."""
    accepted(whole, {"routes": [route(upstream, "/a", modifiedIndex=1)]}, "1")
    accepted(whole, {"routes": [route(upstream, "/b", modifiedIndex=1)]}, "2")
    assert statuses(whole, "/a", "/b") == [200, 404]
    accepted(whole, {"routes": [route(upstream, "/b", modifiedIndex=2)]}, "3")
    assert statuses(whole, "/a", "/b") == [404, 200]
    accepted(whole, {"routes": [route(upstream, "/c")]}, "4")
    assert statuses(whole, "/b", "/c") == [404, 200]
    keyed = route(upstream, "/k", plugins={"key-auth": {}})
    jack = {"username": "jack", "modifiedIndex": 10, "plugins": {"key-auth": {"key": "one"}}}
    accepted(whole, {"routes": [keyed], "consumers": [jack]}, "5")
    jack["plugins"] = {"key-auth": {"key": "two"}}
    accepted(whole, {"routes": [keyed], "consumers": [jack]}, "6")
    assert [whole.get("/k", {"apikey": k}).status for k in ("one", "two")] == [200, 401]
    accepted(whole, {"routes": [keyed], "consumers": [{**jack, "modifiedIndex": 11}]}, "7")
    assert [whole.get("/k", {"apikey": k}).status for k in ("one", "two")] == [401, 200]


@pytest.mark.quick
def test_all_kinds(whole, upstream):
    config = {
        "upstreams": [{"id": "u", "nodes": {upstream.node: 1}}], "services": [{"id": "s", "upstream_id": "u"}],
        "plugin_configs": [{"id": "p", "plugins": {"key-auth": {}}}],
        "consumer_groups": [{"id": "g", "plugins": {"response-rewrite": {"headers": {"set": {"x-group": "g"}}}}}],
        "consumers": [{"username": "john", "group_id": "g"}, {"id": "john/credentials/a", "plugins": {"key-auth": {"key": "auth-a"}}}],
        "global_rules": [{"id": "1", "plugins": {"response-rewrite": {"headers": {"set": {"x-global": "1"}}}}}],
        "plugin_metadata": [{"id": "cors", "allow_origins": {}}], "secrets": [], "protos": [{"id": "1", "content": "syntax = 'proto3';"}],
        "stream_routes": [{"id": "1", "server_port": 9100}], "plugins": [{"name": "key-auth"}],
        "routes": [{"uri": "/a", "service_id": "s", "plugin_config_id": "p"}],
    }
    accepted(whole, config, "1")
    assert whole.get("/a").status == 401
    r = whole.get("/a", {"apikey": "auth-a"})
    assert r.status == 200 and r.headers.get("x-group") == "g" and r.headers.get("x-global") == "1"
    # Documents can be read one by one, but are not written so.
    assert whole.admin("GET", "services/s").json["value"] == {"id": "s", "upstream_id": "u"}
    assert whole.admin("GET", "consumers/john/credentials").json["total"] == 1
    for method, path in (("PUT", "services/s"), ("DELETE", "services/s"), ("PATCH", "services/s"), ("POST", "services")):
        assert error(whole.admin(method, path, {})) == "the configuration is written as a whole, by PUT /apisix/admin/configs"
    assert whole.control("/v1/route/arr_1").json["key"] == "/routes/arr_1"
    assert whole.control("/v1/eclusa/config").json["store"] == "configs"


@pytest.mark.quick
@pytest.mark.asan
def test_what_is_wrong_changes_nothing(whole, upstream):
    good = {"routes": [route(upstream, "/a")]}
    accepted(whole, good, "good")
    assert error(put(whole, good, None)) == "missing digest header"
    assert error(put(whole, None, "2")) == "invalid request body: empty request body"
    assert error(put(whole, "{abcd", "2")) == \
        "invalid request body: Expected object key string but found invalid token at character 2"
    for body in ([], "7", "null", '"x"'):
        assert error(put(whole, body, "2")).startswith("expected object, got ")
    bad_type = 'invalid configuration: property "uri" validation failed: wrong type: expected string, got number'
    assert error(put(whole, {"routes": [route(upstream, 123)]}, "2")) == bad_type
    assert error(put(whole, {"services": [{"id": "s", "plugins": {"invalid-plugin": {}}}]}, "2")) == "unknown plugin [invalid-plugin]"
    assert error(put(whole, {"routes": [route(upstream, "/b"), route(upstream, "/c")]}, "2")) == "found duplicate id r1 in routes"
    hashed = {"nodes": {"127.0.0.1:1980": 1}, "type": "chash", "hash_on": "vars", "key": "args_invalid"}
    assert error(put(whole, {"routes": [{"id": "r", "uri": "/r", "upstream": hashed}]}, "2")).startswith(
        'invalid configuration: failed to match pattern "^((uri|server_name|')
    r = put(whole, {"routes": [route(upstream, "/b"), route(upstream, 1, id=2)], "upstreams": [{"id": "u"}]}, "2")
    assert {(e["resource_type"], e["index"]) for e in r.json["errors"]} == {("routes", 1), ("upstreams", 0)}, "all are named"
    assert statuses(whole, "/a", "/b") == [200, 404]
    assert whole.admin("GET", "configs").headers.get("X-Digest") == "good"
    # A dry run says the same and has no digest.
    assert whole.admin("POST", "configs/validate", good).json == {}
    assert whole.admin("POST", "configs/validate", {"routes": [route(upstream, "/b", modifiedIndex=7)]}).json == {}
    assert error(whole.admin("POST", "configs/validate", {"routes": [{}]})) == "Configuration validation failed"


@pytest.mark.quick
def test_outlives_a_restart(whole, upstream):
    keyed = {"routes": [route(upstream, "/a", plugins={"key-auth": {}})],
             "consumers": [{"username": "jack", "plugins": {"key-auth": {"key": "Very-Secret-Word-78"}}}], "routes_conf_version": 5}
    accepted(whole, keyed, "one")
    whole.kill()
    whole.start()
    assert whole.get("/a", {"apikey": "Very-Secret-Word-78"}).status == 200 and whole.get("/a").status == 401
    r = whole.admin("GET", "configs")
    assert r.headers.get("X-Digest") == "one" and r.json["routes_conf_version"] == 5
    assert put(whole, {}, "one").status == 204
    found = subprocess.run(["grep", "-rlaF", "Very-Secret-Word-78", whole.folder], capture_output=True, check=False)
    assert found.stdout == b"", found.stdout
    assert os.stat(os.path.join(whole.data_dir, "configs")).st_mode & 0o777 == 0o600
    # What cannot be opened any more is said so, and is not served: nothing is open that was closed.
    assert whole.stop() == 0
    os.remove(os.path.join(whole.data_dir, "secret.key"))
    whole.start()
    wire.wait_until("the log to say so", lambda: "configs cannot be opened with the key in secret.key: no configuration is served" in whole.log)
    assert statuses(whole, "/a") == [404]
    accepted(whole, keyed, "one")
    assert statuses(whole, "/a") == [401]


@pytest.mark.quick
def test_a_guard_that_is_gone_closes(whole, upstream):
    accepted(whole, {"routes": [route(upstream, "/a", plugins={"key-auth": {}}), route(upstream, "/b", id="b")]}, "1")
    assert statuses(whole, "/a", "/b") == [401, 200]
    whole.config(plugins=["cors"]).restart()
    assert statuses(whole, "/a", "/b") == [503, 200]
    assert [e["key"] for e in whole.control("/v1/eclusa/config").json["limited"]] == ["/routes/r1"]
    assert error(put(whole, {"routes": [route(upstream, "/a", plugins={"key-auth": {}})]}, "2")) == "unknown plugin [key-auth]"
    whole.config(plugins=["cors", "key-auth"]).restart()
    assert statuses(whole, "/a", "/b") == [401, 200]


def test_documents_are_compared_with_each_other(whole):
    """And not with those that they replace: a key, or a plugin of a global rule, may change hands."""
    def config(key_of, rule):
        return {"consumers": [{"username": name, "plugins": {"key-auth": {"key": key}}} for name, key in key_of.items()],
                "global_rules": [{"id": rule, "plugins": {"cors": {}}}]}
    accepted(whole, config({"jack": "a", "jill": "b"}, "1"), "1")
    accepted(whole, config({"jack": "b", "jill": "a"}, "2"), "2")
    assert error(put(whole, config({"jack": "c", "jill": "c"}, "2"), "3")) == \
        "duplicate key of plugin key-auth found with consumer: jack"
    twice = {"global_rules": [{"id": "1", "plugins": {"cors": {}}}, {"id": "2", "plugins": {"cors": {}}}]}
    assert error(put(whole, twice, "3")) == "plugin 'cors' already exists in global rule with id '1'"
    assert [e["index"] for e in put(whole, twice, "3").json["errors"]] == [1]
    credential = {"consumers": [{"username": "x", "plugins": {"key-auth": {"key": "k"}}},
                                {"username": "y"}, {"id": "y/credentials/1", "plugins": {"key-auth": {"key": "k"}}}]}
    assert error(put(whole, credential, "3")) == "duplicate key of plugin key-auth found with consumer: x"


def test_a_disk_that_refuses(whole, upstream):
    accepted(whole, {"routes": [route(upstream, "/a")]}, "1")
    os.mkdir(os.path.join(whole.data_dir, "configs.new"))
    r = put(whole, {"routes": [route(upstream, "/b")]}, "2")
    assert r.status == 503 and "configs: open: Is a directory" in r.json["error_msg"]
    assert statuses(whole, "/a", "/b") == [200, 404] and whole.admin("GET", "configs").headers.get("X-Digest") == "1"
    os.rmdir(os.path.join(whole.data_dir, "configs.new"))
    accepted(whole, {"routes": [route(upstream, "/b")]}, "2")


def test_doors(whole, make_gw, upstream):
    assert whole.admin("PUT", "configs", {}, key=None).status == 401
    assert whole.admin("HEAD", "configs", key=None).status == 401
    big = {"routes": [route(upstream, f"/{i}", id=str(i), desc="d" * 200) for i in range(8000)]}
    assert put(whole, big, "big", key="wrong").status == 401
    accepted(whole, big, "big")
    assert statuses(whole, "/0", "/7999") == [200, 200]
    assert error(whole.admin("POST", "configs/validate", big)).startswith("invalid request body: request size ")
    other = make_gw()
    assert error(other.admin("PUT", "configs", {}), 404) == "Unsupported resource type: configs"
    assert error(other.admin("GET", "configs"), 404) == "Unsupported resource type: configs"
    assert other.admin("HEAD", "configs").status == 404


def test_without_the_admin_api_it_is_the_file(make_gw, tmp_path, upstream):
    """As in APISIX: traditional with yaml and enable_admin false reads apisix.yaml."""
    os.makedirs(tmp_path / "gw0")
    (tmp_path / "gw0" / "apisix.yaml").write_text(
        f"routes:\n  - uri: /a\n    upstream: {{nodes: {{\"{upstream.node}\": 1}}}}\n#END\n")
    gw = Gateway(tmp_path / "gw0").config(apisix={"enable_admin": False}, deployment={
        "role_traditional": {"config_provider": "yaml"}})
    gw.settings["deployment"]["role"] = "traditional"
    with open(gw.stderr_file, "ab") as err:
        gw.process = subprocess.Popen(gw.command("run"), cwd=gw.folder, stdout=err, stderr=err, env=dict(os.environ))
    wire.wait_until("the port", lambda: gw.listens(gw.port))
    assert gw.get("/a").status == 200
    gw.finish()
