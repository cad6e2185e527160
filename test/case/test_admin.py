# SPDX-License-Identifier: Apache-2.0
"""The Admin API as APISIX's users know it: envelope, status codes, ids, references, wording."""
import re
import subprocess

import pytest

import wire
from gw import KEY, Gateway, ports

NODES = {"type": "roundrobin", "nodes": {"127.0.0.1:1980": 1}}
ROUTE = {"uri": "/a", "upstream": NODES}
EXAMPLE_KEY = "edd1c9f034335f136f87ad84b625c8f1"        # the public one of APISIX's documents


def error(reply, status=400):
    assert reply.status == status, reply
    assert set(reply.json) == {"error_msg"}, reply
    return reply.json["error_msg"]


@pytest.mark.quick
@pytest.mark.asan
@pytest.mark.parametrize("kind, body", [
    ("routes", ROUTE), ("services", {"upstream": NODES}), ("upstreams", NODES),
    ("plugin_configs", {"plugins": {"basic-auth": {}}}),
])
def test_life_of_a_resource(gw, kind, body):
    assert gw.admin("GET", kind).json == {"total": 0, "list": []}
    r = gw.admin("PUT", f"{kind}/1", {**body, "desc": "first"})
    assert r.status == 201 and set(r.json) == {"key", "value"}
    value = r.json["value"]
    assert r.json["key"] == f"/apisix/{kind}/1" and value["id"] == "1" and value["desc"] == "first"
    assert value["create_time"] == value["update_time"] > 1_600_000_000
    r = gw.admin("PUT", f"{kind}/1", {**body, "desc": "second"})
    assert r.status == 200 and r.json["value"]["desc"] == "second"
    assert r.json["value"]["create_time"] == value["create_time"]
    one = gw.admin("GET", f"{kind}/1")
    assert one.status == 200 and set(one.json) == {"key", "value", "createdIndex", "modifiedIndex"}
    assert one.json["value"] == r.json["value"] and one.json["modifiedIndex"] > one.json["createdIndex"]
    assert gw.admin("GET", kind).json == {"total": 1, "list": [one.json]}
    r = gw.admin("DELETE", f"{kind}/1")
    assert (r.status, r.json) == (200, {"key": f"/apisix/{kind}/1", "deleted": "1"})
    for method in ("GET", "DELETE"):
        r = gw.admin(method, f"{kind}/1")
        assert (r.status, r.json) == (404, {"message": "Key not found"})
    assert gw.admin("GET", kind).json == {"total": 0, "list": []}


def test_headers_of_a_reply(gw):
    r = gw.admin("GET", "routes")
    assert r.headers.get("Content-Type") == "application/json" and r.headers.get("X-API-VERSION") == "v3"
    assert r.headers.get("Server") and r.headers.get("Access-Control-Allow-Origin") == "*"
    assert gw.admin("GET", "routes/1").body.endswith(b"\n")


@pytest.mark.quick
def test_key(make_gw):
    gw = make_gw(deployment={"admin": {"admin_key": [{"name": "admin", "key": "a" * 32, "role": "admin"},
                                                     {"name": "viewer", "key": "v" * 32, "role": "viewer"}]}})

    def description(reply):
        assert reply.status == 401 and reply.json["error_msg"] == "failed to check token", reply
        return reply.json["description"]
    assert description(gw.admin("GET", "routes", key=None)) == "missing apikey"
    assert description(gw.admin("GET", "routes", key="a" * 31)) == "wrong apikey"
    assert description(gw.admin("PUT", "routes/1", ROUTE, key="v" * 32)) == "invalid method for role viewer"
    assert gw.admin("GET", "routes", key="v" * 32).status == 200
    assert gw.admin("PUT", "routes/1", ROUTE, key="a" * 32).status == 201
    assert gw.admin("GET", "routes?api_key=" + "a" * 32, key=None).status == 200
    assert gw.admin("GET", "routes", key=None, headers={"Cookie": "x_api_key=" + "a" * 32}).status == 200


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_no_body_is_read_of_who_may_not_come_in(make_gw, framing):
    """Nor of who asks where bodies are of no use: many of them would fill the memory."""
    status = ports.take()
    gw = make_gw(deployment={"admin": {"admin_key": [{"name": "viewer", "key": "v" * 32, "role": "viewer"}]}},
                 apisix={"status": {"ip": "127.0.0.1", "port": status}})
    far = make_gw(deployment={"admin": {"allow_admin": ["192.0.2.1"]}})
    for port, key, path, code in ((gw.admin_port, None, "/apisix/admin/routes/1", 401),
                                  (gw.admin_port, "v" * 32, "/apisix/admin/routes/1", 401),
                                  (gw.admin_port, None, "/apisix/admin/eclusa/transactions", 401),
                                  (far.admin_port, KEY, "/apisix/admin/routes/1", 403),
                                  (gw.control_port, None, "/v1/gc", 200), (status, None, "/status", 404)):
        with wire.connect(port) as w:
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\n{framing}\r\n" + (f"X-API-KEY: {key}\r\n" if key else "")
            w.send(head.encode() + (b"\r\n1\r\nx\r\n" if "chunked" in framing else b"\r\nx"))    # the rest never comes
            assert w.response().status == code, (port, path)


def test_head_and_options_need_no_key(gw):
    assert gw.admin("HEAD", "/apisix/admin", key=None).status == 200
    r = gw.admin("OPTIONS", "routes", key=None)
    assert r.status == 200 and r.headers.get("Access-Control-Allow-Methods") == "POST, GET, PUT, OPTIONS, DELETE, PATCH"


def test_post_makes_an_id(gw):
    ids = []
    for _ in range(2):
        r = gw.admin("POST", "routes", ROUTE)
        assert r.status == 201
        ids.append(r.json["value"]["id"])
        assert re.fullmatch(r"\d{20}", ids[-1]) and r.json["key"] == f"/apisix/routes/{ids[-1]}"
    assert ids[0] < ids[1]


@pytest.mark.parametrize("method, path, body, message", [
    ("PUT", "routes", ROUTE, "missing route id"),
    ("PUT", "upstreams", NODES, "missing upstream id"),
    ("PUT", "plugin_configs", {"plugins": {}}, "missing plugin config id"),
    ("PUT", "routes/1", {**ROUTE, "id": "2"}, "wrong route id"),
    ("PUT", "services/1", {"id": 2}, "wrong service id"),
    ("POST", "routes/1", ROUTE, "wrong route id, do not need it"),
    ("POST", "upstreams", {**NODES, "id": "1"}, "wrong upstream id, do not need it"),
    ("PUT", "routes/1", None, "missing configurations"),
    ("PUT", "routes/1", {**ROUTE, "create_time": 1}, "the property is forbidden:  create_time"),
    ("PUT", "routes/1", {**ROUTE, "update_time": 1}, "the property is forbidden:  update_time"),
])
def test_ids(gw, method, path, body, message):
    assert error(gw.admin(method, path, body)) == message
    assert gw.admin("GET", path.split("/")[0]).json["total"] == 0


def test_ids_compare_as_strings(gw):
    assert gw.put("upstreams/1", {**NODES, "id": 1})["value"]["id"] in ("1", 1)
    gw.put("routes/r.1-a_B", {"uri": "/a", "upstream_id": 1})
    gw.put("routes/2", {"id": "2", "uri": "/a", "upstream_id": "1"})
    for bad in ("a" * 65, "a%20b", "a,b"):
        assert gw.admin("PUT", f"routes/{bad}", ROUTE).status == 400, bad


def test_bad_json(gw):
    r = gw.admin("PUT", "routes/1", '{"uri": "/a",')
    assert r.status == 400 and r.json["error_msg"].startswith("invalid request body: ")
    assert r.json["req_body"] == '{"uri": "/a",'


@pytest.mark.parametrize("body", ['[]', '"text"', '7', 'null', '{"uri":"/a","uri":"/b\\u0000"}', "\xff\xfe", "[" * 5000])
def test_odd_json(gw, body):
    assert gw.admin("PUT", "routes/1", body.encode("latin-1")).status == 400
    assert gw.admin("GET", "routes").json["total"] == 0


def test_unknown_paths_and_methods(gw):
    assert error(gw.admin("GET", "nonsense"), 404) == "Unsupported resource type: nonsense"
    assert error(gw.admin("POST", "consumers", {"username": "a"}), 405) == "not supported `POST` method for consumer"
    assert gw.admin("POST", "plugin_configs", {"plugins": {}}).status == 405
    assert gw.admin("GET", "/elsewhere").status == 404


@pytest.mark.quick
@pytest.mark.parametrize("path, body, message", [
    ("routes/1", {"uri": "/a", "upstream_id": "9"},
     "failed to fetch upstream info by upstream id [9], response code: 404"),
    ("routes/1", {"uri": "/a", "service_id": 9}, "failed to fetch service info by service id [9], response code: 404"),
    ("routes/1", {**ROUTE, "plugin_config_id": "9"},
     "failed to fetch plugin config info by plugin config id [9], response code: 404"),
    ("services/1", {"upstream_id": "9"}, "failed to fetch upstream info by upstream id [9], response code: 404"),
])
def test_references_must_exist(gw, path, body, message):
    assert error(gw.admin("PUT", path, body)) == message


def test_what_is_used_stays(gw):
    gw.put("upstreams/1", NODES)
    gw.put("services/1", {"upstream_id": "1"})
    gw.put("plugin_configs/1", {"plugins": {}})
    gw.put("routes/7", {"uri": "/a", "upstream_id": 1, "service_id": "1", "plugin_config_id": 1})
    used = "directly, route [7] is still using it now"
    assert error(gw.admin("DELETE", "services/1")) == f"can not delete this service {used}"
    assert error(gw.admin("DELETE", "upstreams/1")) == "can not delete this upstream, route [7] is still using it now"
    assert error(gw.admin("DELETE", "plugin_configs/1")) == \
        "can not delete this plugin config, route [7] is still using it now"
    gw.delete("routes/7")
    assert error(gw.admin("DELETE", "upstreams/1")) == "can not delete this upstream, service [1] is still using it now"
    gw.delete("upstreams/1?force=true")
    gw.delete("services/1")
    gw.delete("plugin_configs/1")


INVALID = [
    ("routes", {"uri": "/a"}, None),
    ("routes", {"upstream": NODES},
     "invalid configuration: allOf 1 failed: value should match only one schema, but matches none"),
    ("routes", {**ROUTE, "uris": ["/b"]},
     "invalid configuration: allOf 1 failed: value should match only one schema, but matches both schemas 1 and 2"),
    ("routes", {**ROUTE, "priority": "x"},
     'invalid configuration: property "priority" validation failed: wrong type: expected integer, got string'),
    ("routes", {**ROUTE, "uri": ""},
     'invalid configuration: property "uri" validation failed: string too short, expected at least 1, got 0'),
    ("routes", {**ROUTE, "foo": 1}, "invalid configuration: additional properties forbidden, found foo"),
    ("routes", {**ROUTE, "methods": ["FETCH"]},
     'invalid configuration: property "methods" validation failed: failed to validate item 1: '
     'matches none of the enum values'),
    ("routes", {**ROUTE, "methods": ["GET", "GET"]},
     'invalid configuration: property "methods" validation failed: expected unique items but items 1 and 2 are equal'),
    ("routes", {**ROUTE, "status": 2},
     'invalid configuration: property "status" validation failed: matches none of the enum values'),
    ("routes", {**ROUTE, "name": "n" * 257},
     'invalid configuration: property "name" validation failed: string too long, expected at most 256, got 257'),
    ("routes", {**ROUTE, "timeout": {"connect": 1, "send": 1}},
     'invalid configuration: property "timeout" validation failed: property "read" is required'),
    ("routes", {**ROUTE, "timeout": {"connect": 0, "send": 1, "read": 1}},
     'invalid configuration: property "timeout" validation failed: property "connect" validation failed: '
     'expected 0 to be greater than 0'),
    ("routes", {**ROUTE, "host": "a", "hosts": ["b"]}, "only one of host or hosts is allowed"),
    ("routes", {**ROUTE, "plugins": {"no-such": {}}}, "unknown plugin [no-such]"),
    ("upstreams", {"type": "roundrobin"},
     "invalid configuration: value should match only one schema, but matches none"),
    ("upstreams", {**NODES, "retries": -1},
     'invalid configuration: property "retries" validation failed: expected -1 to be at least 0'),
    ("upstreams", {**NODES, "scheme": "gopher"},
     'invalid configuration: property "scheme" validation failed: matches none of the enum values'),
    ("upstreams", {**NODES, "keepalive_pool": {"size": 0}},
     'invalid configuration: property "keepalive_pool" validation failed: property "size" validation failed: '
     'expected 0 to be at least 1'),
    ("upstreams", {**NODES, "nodes": {"127.0.0.1:65536": 1}}, None),
    ("upstreams", {**NODES, "nodes": {"127.0.0.1:80": -1}}, None),
    ("upstreams", {**NODES, "nodes": {"127.0.0.1:80": "1"}}, None),
    ("upstreams", {**NODES, "nodes": [{"host": "a"}]}, None),
    ("upstreams", {**NODES, "pass_host": "rewrite"}, None),
    ("upstreams", {**NODES, "type": "chash"}, None),
    ("services", {"upstream_id": True}, None),
    ("services", {"hosts": []},
     'invalid configuration: property "hosts" validation failed: expect array to have at least 1 items'),
    ("plugin_configs", {}, 'invalid configuration: property "plugins" is required'),
    ("plugin_configs", {"plugins": {"limit-count": {"count": 1}}}, None),
    ("plugin_configs", {"plugins": {"basic-auth": {"hide_credentials": 1}}},
     'failed to check the configuration of plugin basic-auth err: property "hide_credentials" validation failed: '
     'wrong type: expected boolean, got number'),
]


@pytest.mark.parametrize("kind, body, message", INVALID, ids=[f"{k} {i}" for i, (k, _, _) in enumerate(INVALID)])
def test_invalid(shared_gw, kind, body, message):
    got = error(shared_gw.admin("PUT", f"{kind}/invalid", body))
    assert got and message in (None, got)
    assert shared_gw.admin("GET", f"{kind}/invalid").status == 404


def test_plugin_switched_off_is_not_validated(gw):
    gw.put("plugin_configs/1", {"plugins": {"limit-count": {"_meta": {"disable": True}, "count": "x"}}})


def test_consumers(gw):
    auth = {"key-auth": {"key": "k1"}}
    r = gw.admin("PUT", "consumers", {"username": "jack", "plugins": auth})
    assert r.status == 201 and r.json["key"] == "/apisix/consumers/jack"
    assert gw.admin("PUT", "consumers/jack", {"username": "jack", "plugins": auth}).status == 200
    assert gw.admin("GET", "consumers/jack").json["value"]["plugins"]["key-auth"]["key"] == "k1"
    assert error(gw.admin("PUT", "consumers/jill", {"username": "jack"})) == "wrong username"
    assert error(gw.admin("PUT", "consumers", {"plugins": auth})) == \
        'invalid configuration: property "username" is required'
    assert error(gw.admin("PUT", "consumers", {"username": "a b"})).startswith(
        'invalid configuration: property "username" validation failed: failed to match pattern')
    assert error(gw.admin("PUT", "consumers", {"username": "jill", "plugins": auth})) == \
        "duplicate key of plugin key-auth found with consumer: jack"
    assert error(gw.admin("PUT", "consumers", {"username": "jill", "plugins": {"key-auth": {}}})).startswith(
        "invalid plugins configuration: ")
    assert gw.delete("consumers/jack") == {"key": "/apisix/consumers/jack", "deleted": "1"}
    assert gw.admin("PUT", "consumers", {"username": "jill", "plugins": auth}).status == 201


def test_plugins_list_and_schema(gw):
    names = gw.admin("GET", "plugins/list").json
    for a, b in zip(("request-id", "cors", "ip-restriction", "basic-auth", "key-auth", "proxy-cache", "proxy-rewrite"),
                    ("cors", "ip-restriction", "basic-auth", "key-auth", "proxy-cache", "proxy-rewrite", "limit-count")):
        assert names.index(a) < names.index(b), "by priority, descending"
    schema = gw.admin("GET", "schema/plugins/proxy-rewrite").json
    assert schema["type"] == "object" and {"uri", "regex_uri", "headers", "method"} <= set(schema["properties"])
    assert gw.admin("GET", "schema/plugins/no-such").status in (400, 404)


def test_secrets_are_not_stored_or_logged_in_the_open(gw):
    secret = b"Very-Secret-Word-77"
    gw.put("consumers", {"username": "a", "plugins": {"basic-auth": {"username": "u", "password": secret.decode()}}})
    assert gw.admin("GET", "consumers/a").json["value"]["plugins"]["basic-auth"]["password"] == secret.decode()
    gw.restart()
    assert gw.admin("GET", "consumers/a").json["value"]["plugins"]["basic-auth"]["password"] == secret.decode()
    found = subprocess.run(["grep", "-rlaF", secret.decode(), gw.folder], capture_output=True, check=False)
    assert found.stdout == b"", found.stdout


@pytest.mark.parametrize("words", [("run",), ("test",)])
def test_public_example_key_stays_on_loopback(tmp_path, words):
    """192.0.2.1 is an address of nobody's: with it the reason to refuse must be the key, before any bind."""
    gw = Gateway(tmp_path).config(deployment={"admin": {
        "admin_listen": {"ip": "192.0.2.1", "port": 9180}, "admin_key": [{"name": "a", "key": EXAMPLE_KEY, "role": "admin"}]}})
    done = subprocess.run(gw.command(*words), capture_output=True, timeout=10, check=False)
    assert done.returncode != 0 and b"key" in done.stderr + done.stdout


def test_public_example_key_works_on_loopback(make_gw):
    gw = make_gw(deployment={"admin": {"admin_key": [{"name": "admin", "key": EXAMPLE_KEY, "role": "admin"}]}})
    assert gw.admin("GET", "routes", key=EXAMPLE_KEY).status == 200
