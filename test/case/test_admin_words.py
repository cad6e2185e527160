# SPDX-License-Identifier: Apache-2.0
"""The Admin API's status codes and words, row by row as APISIX 3.18 has them: clients and dashboards match on them."""
import re

import pytest

UP = {"nodes": {"127.0.0.1:1980": 1}}
ROUTE = {"uri": "/a", "upstream": UP}
CHASH = {**UP, "type": "chash"}
PLUGIN = "failed to check the configuration of plugin "
BAD = "invalid configuration: "
NONE = "value should match only one schema, but matches none"


def fails(field, inner):
    return f'{BAD}property "{field}" validation failed: {inner}'


# What is there before the rows, in this order.
STORED = [("upstreams/u", UP), ("services/s", {"upstream_id": "u"}), ("plugin_configs/p", {"plugins": {}}),
          ("consumer_groups/g", {"plugins": {}}), ("routes/r", {**ROUTE, "service_id": "s", "plugin_config_id": "p"}),
          ("consumers", {"username": "jack", "group_id": "g", "plugins": {"key-auth": {"key": "jacks"}}}),
          ("consumers/jack/credentials/c", {"plugins": {"basic-auth": {"username": "jack", "password": "x"}}}),
          ("global_rules/1", {"plugins": {"cors": {}}}), ("secrets/vault/1", {"uri": "http://v", "prefix": "p", "token": "t"})]

ROWS = [
    # --- the generic contract: bodies, ids, times
    ("GET", "routes/x", None, 404, {"message": "Key not found"}),
    ("DELETE", "routes/x", None, 404, {"message": "Key not found"}),
    ("PATCH", "routes/x", {}, 404, {"message": "Key not found"}),
    ("PUT", "routes/x", None, 400, "missing configurations"),
    ("POST", "routes", None, 400, "missing configurations"),
    ("PATCH", "routes/r", None, 400, "missing new configuration"),
    ("PATCH", "routes/r", "7", 400, "invalid configuration"),
    ("PATCH", "routes/r", '"text"', 400, "invalid configuration"),
    ("PATCH", "routes", {}, 400, "missing route id"),
    ("DELETE", "routes", None, 400, "missing route id"),
    ("PUT", "routes", ROUTE, 400, "missing route id"),
    ("PUT", "services", {}, 400, "missing service id"),
    ("PUT", "upstreams", UP, 400, "missing upstream id"),
    ("PUT", "global_rules", {"plugins": {}}, 400, "missing global rule id"),
    ("PUT", "plugin_configs", {"plugins": {}}, 400, "missing plugin config id"),
    ("PUT", "consumer_groups", {"plugins": {}}, 400, "missing consumer group id"),
    ("PUT", "consumers/jack/credentials", {}, 400, "missing credential id"),
    ("PUT", "protos", {"content": "x"}, 400, "missing proto id"),
    ("PUT", "ssls", {}, 400, "missing ssl id"),
    ("PUT", "plugin_metadata", {}, 400, "missing plugin name"),
    ("PUT", "routes/x", {**ROUTE, "id": "y"}, 400, "wrong route id"),
    ("PUT", "global_rules/x", {"id": "y", "plugins": {}}, 400, "wrong global rule id"),
    ("PATCH", "routes/r", {"id": "y"}, 400, "wrong route id"),
    ("POST", "routes/x", ROUTE, 400, "wrong route id, do not need it"),
    ("POST", "ssls", {"id": "1"}, 400, "wrong ssl id, do not need it"),
    ("PUT", "routes/x", {**ROUTE, "create_time": 1}, 400, "the property is forbidden:  create_time"),
    ("PUT", "routes/x", {"uri": "/a", "upstream": {**UP, "update_time": 1}}, 400, "the property is forbidden:  upstream.update_time"),
    ("PUT", "routes/x", {**ROUTE, "plugins": {"create_time": 1}}, 400, "the property is forbidden:  plugins.create_time"),
    ("PUT", "routes/x?ttl=abc", ROUTE, 400, "invalid argument ttl: should be a number"),
    ("PATCH", "routes/r/uri/x", "1", 400, "invalid sub-path: /uri"),
    ("PUT", "routes/x", "{", 400, re.compile(r"invalid request body: Expected object key string but found T_END at character 2")),
    ("PUT", "routes/x", '{"a":1 "b":2}', 400, re.compile(r".*Expected comma or object end but found T_STRING at character 8")),
    ("PUT", "routes/x", '{"a" 1}', 400, re.compile(r".*Expected colon but found T_INTEGER at character 6")),
    ("PUT", "routes/x", "[1 2]", 400, re.compile(r".*Expected comma or array end but found T_INTEGER at character 4")),
    # --- paths and methods
    ("GET", "nix", None, 404, "Unsupported resource type: nix"),
    ("PUT", "schema/route", {}, 404, "not found"),
    ("POST", "consumers", {}, 405, "not supported `POST` method for consumer"),
    ("PATCH", "consumers/jack", {}, 405, "not supported `PATCH` method for consumer"),
    ("POST", "consumers/jack/credentials", {}, 405, "not supported `POST` method for credential"),
    ("PATCH", "consumers/jack/credentials/c", {}, 405, "not supported `PATCH` method for credential"),
    ("POST", "consumer_groups", {}, 405, "not supported `POST` method for consumer group"),
    ("POST", "plugin_configs", {}, 405, "not supported `POST` method for plugin config"),
    ("POST", "global_rules", {}, 405, "not supported `POST` method for global rule"),
    ("POST", "plugin_metadata/cors", {}, 405, "not supported `POST` method for plugin_metadata"),
    ("PATCH", "plugin_metadata/cors", {}, 405, "not supported `PATCH` method for plugin_metadata"),
    ("PATCH", "protos/1", {}, 405, "not supported `PATCH` method for proto"),
    ("POST", "secrets/vault/1", {}, 405, "not supported `POST` method for secret"),
    ("GET", "plugins/reload", None, 405, "please use PUT method to reload the plugins, GET method is not allowed."),
    # --- lists
    ("GET", "routes?page=1&page_size=9", None, 400, b"page_size must be between 10 and 500"),
    ("GET", "routes?page=1&page_size=501", None, 400, b"page_size must be between 10 and 500"),
    ("GET", "consumers/nobody/credentials", None, 404, {"message": "Key not found"}),
    # --- the validator
    ("PUT", "routes/x", {"upstream": UP}, 400, f"{BAD}allOf 1 failed: {NONE}"),
    ("PUT", "routes/x", {**ROUTE, "uris": ["/b"]}, 400,
     f"{BAD}allOf 1 failed: value should match only one schema, but matches both schemas 1 and 2"),
    ("PUT", "routes/x", {"uri": "/a"}, 400, re.compile(re.escape(BAD) + "object matches none of the required: ")),
    ("PUT", "routes/x", {**ROUTE, "host": "a", "hosts": ["b"]}, 400, "only one of host or hosts is allowed"),
    ("PUT", "routes/x", {**ROUTE, "remote_addr": "::1", "remote_addrs": ["::1"]}, 400,
     "only one of remote_addr or remote_addrs is allowed"),
    ("PUT", "routes/x", {**ROUTE, "nix": 1}, 400, f"{BAD}additional properties forbidden, found nix"),
    ("PUT", "routes/x", {**ROUTE, "methods": ["GET", "GET"]}, 400, fails("methods", "expected unique items but items 1 and 2 are equal")),
    ("PUT", "routes/x", {**ROUTE, "methods": ["NIX"]}, 400, fails("methods", "failed to validate item 1: matches none of the enum values")),
    ("PUT", "routes/x", {**ROUTE, "name": ""}, 400, fails("name", "string too short, expected at least 1, got 0")),
    ("PUT", "routes/x", {**ROUTE, "desc": "d" * 257}, 400, fails("desc", "string too long, expected at most 256, got 257")),
    ("PUT", "routes/x", {**ROUTE, "labels": {"a": "b c"}}, 400,
     fails("labels", 'failed to validate a (matching ".*"): failed to match pattern "^\\\\S+$" with "b c"')),
    ("PUT", "routes/x", {**ROUTE, "status": 2}, 400, fails("status", "matches none of the enum values")),
    ("PUT", "routes/x", {**ROUTE, "priority": "x"}, 400, fails("priority", "wrong type: expected integer, got string")),
    ("PUT", "routes/x", {**ROUTE, "plugins": 7}, 400, fails("plugins", "wrong type: expected object, got number")),
    ("PUT", "routes/x", {**ROUTE, "timeout": {"connect": 0, "send": 1, "read": 1}}, 400,
     fails("timeout", 'property "connect" validation failed: expected 0 to be greater than 0')),
    ("PUT", "routes/x", {**ROUTE, "vars": [["a", "=", "b"]]}, 400, "failed to validate the 'vars' expression: invalid operator '='"),
    ("PUT", "services/x", {"hosts": []}, 400, fails("hosts", "expect array to have at least 1 items")),
    ("PUT", "upstreams/x", {}, 400, BAD + NONE),
    ("PUT", "upstreams/x", {**UP, "retries": -1}, 400, fails("retries", "expected -1 to be at least 0")),
    ("PUT", "upstreams/x", {"nodes": {"a:65536": 1}}, 400, "invalid port 65536"),
    ("PUT", "upstreams/x", {"nodes": [{"host": "::1", "weight": 1}]}, 400, BAD + "IPv6 address must be enclosed with '[' and ']'"),
    ("PUT", "upstreams/x", CHASH, 400, "missing key"),
    ("PUT", "upstreams/x", {**CHASH, "key": "nix"}, 400, re.compile(re.escape(BAD) + 'failed to match pattern ".*" with "nix"')),
    ("PUT", "upstreams/x", {**UP, "pass_host": "rewrite"}, 400, "`upstream_host` can't be empty when `pass_host` is `rewrite`"),
    ("PUT", "upstreams/x", {**UP, "checks": {"passive": {}}}, 400,
     fails("checks", 'object matches none of the required: ["active"] or ["active","passive"]')),
    ("PUT", "upstreams/x", {**UP, "tls": {"client_cert": "c" * 128}}, 400,
     fails("tls", 'failed to validate dependent schema for "client_cert": property "client_key" is required')),
    ("PUT", "global_rules/x", {"plugins": {}, "name": "n"}, 400, f"{BAD}additional properties forbidden, found name"),
    ("PUT", "plugin_configs/x", {}, 400, f'{BAD}property "plugins" is required'),
    ("PUT", "ssls/x", {"cert": "c" * 128, "key": "k" * 64}, 400, BAD + "then clause did not match"),
    ("PUT", "ssls/x", {"type": "client", "cert": "c" * 128}, 400, BAD + "else clause did not match"),
    ("PUT", "ssls/x", {"cert": "c" * 128, "key": "k" * 64, "sni": "a"}, 400, "failed to parse cert: PEM_read_bio_X509_AUX() failed"),
    # --- plugins
    ("PUT", "routes/x", {**ROUTE, "plugins": {"nix": {}}}, 400, "unknown plugin [nix]"),
    ("PUT", "routes/x", {**ROUTE, "plugins": {"cors": 7}}, 400, "invalid plugin conf 7 for plugin [cors]"),
    ("PUT", "routes/x", {**ROUTE, "plugins": {"key-auth": {"header": 7}}}, 400,
     PLUGIN + 'key-auth err: property "header" validation failed: wrong type: expected string, got number'),
    ("PUT", "routes/x", {**ROUTE, "plugins": {"cors": {"_meta": {"x": 1}}}}, 400,
     PLUGIN + 'cors err: property "_meta" validation failed: additional properties forbidden, found x'),
    ("PUT", "global_rules/2", {"plugins": {"cors": {}}}, 400, "plugin 'cors' already exists in global rule with id '1'"),
    ("PUT", "plugin_metadata/nix", {}, 400, "invalid plugin name"),
    ("PUT", "secrets/nix/1", {}, 400, "invalid secret manager: nix"),
    ("PUT", "secrets/vault/2", {}, 400, f'{BAD}property "uri" is required'),
    ("PATCH", "secrets/vault", {}, 400, "no secret id"),
    # --- references, both ways
    ("PUT", "routes/x", {"uri": "/a", "upstream_id": "9"}, 400,
     "failed to fetch upstream info by upstream id [9], response code: 404"),
    ("PUT", "routes/x", {"uri": "/a", "service_id": 9}, 400, "failed to fetch service info by service id [9], response code: 404"),
    ("PUT", "routes/x", {**ROUTE, "plugin_config_id": "9"}, 400,
     "failed to fetch plugin config info by plugin config id [9], response code: 404"),
    ("PUT", "services/x", {"upstream_id": "9"}, 400, "failed to fetch upstream info by upstream id [9], response code: 404"),
    ("PUT", "consumers", {"username": "jill", "group_id": "9"}, 400,
     "failed to fetch consumer group info by consumer group id [9], response code: 404"),
    ("DELETE", "upstreams/u", None, 400, "can not delete this upstream, service [s] is still using it now"),
    ("DELETE", "services/s", None, 400, "can not delete this service directly, route [r] is still using it now"),
    ("DELETE", "plugin_configs/p", None, 400, "can not delete this plugin config, route [r] is still using it now"),
    ("DELETE", "consumer_groups/g", None, 400, "can not delete this consumer group, consumer [jack] is still using it now"),
    # --- consumers
    ("PUT", "consumers", {}, 400, f'{BAD}property "username" is required'),
    ("PUT", "consumers/jill", {"username": "jack"}, 400, "wrong username"),
    ("PUT", "consumers", {"username": "jill", "plugins": {"nix": {}}}, 400, "invalid plugins configuration: unknown plugin [nix]"),
    ("PUT", "consumers", {"username": "jill", "plugins": {"key-auth": {"key": "jacks"}}}, 400,
     "duplicate key of plugin key-auth found with consumer: jack"),
    ("PUT", "consumers", {"username": "jill", "plugins": {"basic-auth": {"username": "jack", "password": "y"}}}, 400,
     "duplicate username of plugin basic-auth found with credential: c of consumer: jack"),
    ("PUT", "consumers/jill/credentials/1", {"plugins": {"key-auth": {"key": "z"}}}, 404, "consumer not found"),
    ("PUT", "consumers/jack/credentials/1", {"plugins": {"cors": {}}}, 400, "only supports auth type plugins in consumer credential"),
    ("PUT", "consumers/jack/credentials/1", {"plugins": {"key-auth": {"key": "z"}, "cors": {}}}, 400,
     fails("plugins", "expect object to have at most 1 properties")),
    # --- the catalogue
    ("GET", "plugins/list?subsystem=x", None, 400, b"invalid subsystem passed"),
    ("GET", "plugins/nix", None, 404, "plugin not found in subsystem http"),
    ("GET", "plugins/key-auth?subsystem=stream", None, 404, "plugin not found in subsystem stream"),
    ("GET", "plugins/cors?subsystem=x", None, 400, "unsupported subsystem: x"),
    ("GET", "plugins/cors?schema_type=consumer", None, 400, "not found schema"),
    ("GET", "schema/nix", None, 400, "not found schema: nix"),
    ("POST", "schema/validate/nix", {}, 404, "Unsupported resource type: nix"),
    ("POST", "schema/validate/routes", {"uri": 7}, 400,
     'property "uri" validation failed: wrong type: expected string, got number'),
    ("POST", "schema/validate/routes", None, 400, "wrong type: expected object, got nil"),
]


@pytest.fixture(scope="module")
def filled(shared_gw):
    for path, body in STORED:
        shared_gw.put(path, body)
    return shared_gw


@pytest.mark.parametrize("method, path, body, status, words", ROWS, ids=range(len(ROWS)))
def test_words(filled, method, path, body, status, words):
    r = filled.admin(method, path, body)
    assert r.status == status, r
    if isinstance(words, bytes):
        assert r.body == words
    elif isinstance(words, dict):
        assert r.json == words
    elif isinstance(words, re.Pattern):
        assert words.match(r.json["error_msg"]), r.json
    else:
        assert r.json == {"error_msg": words}


@pytest.mark.quick
def test_lists(gw):
    for i in range(25):
        gw.put(f"routes/{i}", {**ROUTE, "uri": f"/r{i}", "name": f"route-{i}", **({"labels": {"odd": "1"}} if i % 2 else {})})
    gw.put("routes/uris", {"uris": ["/x1", "/x2"], "upstream": UP})

    def ids(query):
        got = gw.admin("GET", f"routes?{query}").json
        return got["total"], [i["value"]["id"] for i in got["list"]]
    assert ids("page=1&page_size=10") == (26, [str(i) for i in range(10)])
    assert ids("page=3&page_size=10") == (26, ["20", "21", "22", "23", "24", "uris"])
    assert ids("page=9&page_size=10") == (26, [])
    assert ids("page=0&page_size=10") == ids("page=1&page_size=10")
    assert ids("") == ids("page=2") == (26, sorted(map(str, range(25))) + ["uris"]), "both are needed; all at once: by key"
    assert ids("name=%5Eroute-1%24") == (1, ["1"]) and ids("name=route-1")[0] == 11
    assert ids("label=odd&page=1&page_size=10") == (12, ["1", "3", "5", "7", "9", "11", "13", "15", "17", "19"])
    assert ids("uri=x2") == (1, ["uris"]) and ids("uri=r24&label=odd") == (0, []) and ids("uri=r23&label=odd") == (1, ["23"])
    assert ids("label=1") == (0, []), "a label's name, not its value"
    gw.put("upstreams/u", UP)
    gw.put("routes/ref", {"uri": "/ref", "upstream_id": "u"})
    assert ids("filter=upstream_id%3Du") == (1, ["ref"]) and ids("filter=upstream_id%3Dx") == (0, [])
    assert ids("filter=nix%3D1")[0] == 27, "what it does not know is ignored"
    # By age, though it is written again.
    gw.put("routes/0", {**ROUTE, "uri": "/again"})
    assert ids("page=1&page_size=10")[1][0] == "0"


def test_patterns_that_take_long(gw):
    """Whoever may only look cannot keep those waiting who write."""
    uris = [f"/{'a' * 60}!{i}" for i in range(500)]
    for n in range(8):
        gw.put(f"routes/{n}", {"uris": uris, "upstream": UP})
    slow = gw.admin("GET", "routes?uri=(a%2B)%2B%24")
    assert (slow.status, slow.json) == (400, {"error_msg": "the patterns of name and uri take too long"})
    assert gw.admin("GET", "routes?uri=a!7%24").json["total"] == 8



@pytest.mark.quick
def test_doors(make_gw):
    gw = make_gw(deployment={"admin": {"admin_key": [{"name": "admin", "key": "a" * 32, "role": "admin"}]}})

    def status(**more):
        return gw.admin("GET", more.pop("path", "routes"), key=None, **more).status
    good, bad = "a" * 32, "b" * 32
    cookie = {"Cookie": f"x=1; x_api_key={good}"}
    assert status(headers=cookie) == 200 and status(headers={"X-API-KEY": good}) == 200 and status(path=f"routes?api_key={good}") == 200
    # The query goes before the header, the header before the cookie.
    assert status(path=f"routes?api_key={bad}", headers={"X-API-KEY": good}) == 401
    assert status(path=f"routes?api_key={good}", headers={"X-API-KEY": bad}) == 200
    assert status(headers={"X-API-KEY": bad, **cookie}) == 401
    # Everything says who may read it, refusals too; OPTIONS needs no key.
    for r in (gw.admin("GET", "routes", key=None), gw.admin("GET", "nix", key=good), gw.admin("GET", "routes", key=good)):
        assert [r.headers.get(f"Access-Control-{h}") for h in ("Allow-Origin", "Allow-Credentials", "Expose-Headers", "Max-Age")] == \
            ["*", "true", "*", "3600"]
    r = gw.admin("OPTIONS", "routes", key=None)
    assert (r.status, r.body, r.headers.get("Content-Type"), r.headers.get("Content-Length")) == (200, b"", "text/plain", "0")
    assert r.headers.get("Access-Control-Allow-Methods") == "POST, GET, PUT, OPTIONS, DELETE, PATCH"
    big = gw.admin("PUT", "routes/1", "x" * 1572865, key=good)
    assert big.status == 400 and big.json["error_msg"] == \
        "invalid request body: request size 1572865 is greater than the maximum size 1572864 allowed"
    bare = make_gw(deployment={"admin": {"admin_key_required": False, "enable_admin_cors": False, "allow_admin": ["127.0.0.0/8"]}})
    r = bare.admin("GET", "routes", key=None)
    assert r.status == 200 and r.headers.get("Access-Control-Allow-Origin") is None
    assert bare.admin("OPTIONS", "routes", key=None).status == 404
    closed = make_gw(deployment={"admin": {"allow_admin": ["10.0.0.0/8"]}})
    r = closed.admin("GET", "routes")
    assert r.status == 403 and b"<h1>403 Forbidden</h1>" in r.body
