# SPDX-License-Identifier: Apache-2.0
"""Protos, stream routes and GraphQL cost decorations over the Admin API: kept and checked, not served yet."""
import base64

import pytest

NODES = {"type": "roundrobin", "nodes": {"127.0.0.1:1980": 1}}
PROTO = """
syntax = "proto3";      // a comment
package helloworld;     /* another
                           one */
import public "google/api/annotations.proto";
option (my.option).field = { a: 1 b { c: "x" } };
service Greeter {
  rpc SayHello (stream HelloRequest) returns (HelloReply) { option (google.api.http) = { get: "/v1/{name}" }; }
  rpc Plain (.helloworld.HelloRequest) returns (stream HelloReply);
}
message HelloRequest {
  string name = 1; repeated int32 numbers = 2 [packed = true, (x) = -1.5e+3];
  map<string, HelloReply> more = 0x03;
  oneof which { bool a = 4; HelloReply b = 5; }
  enum Color { option allow_alias = true; RED = 0; BLUE = -1; reserved 7, 9 to max, "GREEN"; }
  message Inner { optional bytes raw = 1; }
  reserved 8, 10 to 20; reserved "old", 'older';
}
message HelloReply { extensions 100 to 199; }
extend HelloReply { optional string note = 126; }
"""


def error(reply, status=400):
    assert reply.status == status and set(reply.json) == {"error_msg"}, reply
    return reply.json["error_msg"]


@pytest.fixture(scope="module")
def stream_gw(make_shared_gw):
    return make_shared_gw(apisix={"proxy_mode": "http&stream"}, xrpc={"protocols": [{"name": "redis"}, {"name": "dubbo"}]})


# --- protos

@pytest.mark.quick
@pytest.mark.asan
def test_protos(gw):
    assert gw.admin("PUT", "protos/1", {"content": PROTO, "name": "n"}).status == 201
    posted = gw.admin("POST", "protos", {"content": PROTO}).json["value"]["id"]
    assert gw.admin("GET", "protos/1").json["value"]["content"] == PROTO
    assert gw.admin("GET", "protos").json["total"] == 2
    # A file descriptor set with one file: name "a.proto", package "p".
    file = b"\x0a\x07a.proto\x12\x01p"
    gw.put("protos/bin", {"content": base64.b64encode(b"\x0a" + bytes([len(file)]) + file).decode()})
    assert error(gw.admin("PATCH", "protos/1", {}), 405) == "not supported `PATCH` method for proto"
    gw.restart()
    assert gw.admin("GET", "protos").json["total"] == 3
    for id_ in ("1", "bin", posted):
        gw.delete(f"protos/{id_}")
    assert gw.admin("GET", "protos/1").json == {"message": "Key not found"}


@pytest.mark.parametrize("content, message", [
    (None, 'invalid configuration: property "content" is required'),
    ("", 'invalid configuration: property "content" validation failed: string too short, expected at least 1, got 0'),
    ("x" * (1024 * 1024 + 1), None),
    (7, None),
    ("syntax", "invalid content: 1:7: '=' expected, but the text ends"),
    ("message A {\n  string b;\n}", "invalid content: 2:11: '=' expected near ';'"),
    ("message A { string b = 1 }", "invalid content: 1:26: ';' expected near '}'"),
    ("service S { rpc X (A) }", "invalid content: 1:23: 'returns' expected near '}'"),
    ("message A { /* ", "invalid content: 1:13: "),
    ("message A { option a = 'x\n'; }", "invalid content: 1:24: "),
    ("message A { " * 100, "invalid content: "),
    ("AAAA", "invalid content: 1:1: "),         # base64, but no descriptor set
    ("CgA", None),                              # a file without anything in it is one
])
def test_bad_protos(shared_gw, content, message):
    body = {} if content is None else {"content": content}
    r = shared_gw.admin("PUT", "protos/bad", body)
    if content == "CgA":
        assert r.status == 201
        shared_gw.delete("protos/bad")
        return
    assert error(r).startswith(message or "invalid configuration: property")


# --- stream routes

def test_stream_is_off(gw):
    for method, path in (("PUT", "stream_routes/1"), ("GET", "stream_routes"), ("DELETE", "stream_routes/1")):
        assert error(gw.admin(method, path, {"server_port": 1} if method == "PUT" else None)) == \
            "stream mode is disabled, can not add stream routes"


def test_stored_while_streams_are_off(gw, make_gw):
    """Neither refused nor complained about; and they do not hold what they name."""
    gw.config(apisix={"proxy_mode": "http&stream"}, xrpc={"protocols": [{"name": "redis"}]}).restart()
    gw.put("upstreams/t", {"scheme": "tcp", "nodes": {"127.0.0.1:1995": 1}})
    gw.put("stream_routes/1", {"upstream_id": "t", "protocol": {"name": "redis"}, "plugins": {"ip-restriction": {"whitelist": ["::1"]}}})
    gw.config(apisix={"proxy_mode": "http"}, xrpc={"protocols": []}, plugins=["cors"]).restart()
    state = gw.control("/v1/eclusa/config").json
    assert state["skipped"] == state["limited"] == []
    assert gw.admin("GET", "upstreams/t").status == 200
    gw.delete("upstreams/t")


@pytest.mark.quick
@pytest.mark.asan
def test_stream_routes(stream_gw):
    gw = stream_gw
    assert gw.admin("PUT", "upstreams/t", {"scheme": "tcp", "nodes": {"127.0.0.1:1995": 1}}).status == 201
    gw.put("services/t", {})
    body = {"server_addr": "127.0.0.1", "server_port": 9100, "remote_addr": "10.0.0.0/8", "sni": "*.test.com", "upstream_id": "t",
            "service_id": "t", "plugins": {"ip-restriction": {"whitelist": ["127.0.0.1"]}}, "name": "n", "desc": "d",
            "labels": {"a": "b"}, "protocol": {"name": "redis", "conf": {"faults": [{"commands": ["GET"], "key": "k", "delay": 0.1}]},
                                               "logger": [{"name": "syslog", "filter": [], "conf": {}}]}}
    one = gw.put("stream_routes/1", body)["value"]
    assert {k: one[k] for k in body} == body and one["create_time"] and one["update_time"]
    other = gw.admin("POST", "stream_routes", {"upstream": {**NODES, "scheme": "udp"}})
    assert other.status == 201 and len(other.json["value"]["id"]) == 20
    assert error(gw.admin("PATCH", "stream_routes/1", {}), 405) == "not supported `PATCH` method for stream route"
    found = gw.admin("GET", "stream_routes?filter=upstream_id%3Dt%26service_id%3Dt").json
    assert [i["key"] for i in found["list"]] == ["/apisix/stream_routes/1"]
    assert error(gw.admin("DELETE", "upstreams/t")) == "can not delete this upstream, stream_route [1] is still using it now"
    assert error(gw.admin("DELETE", "services/t")) == "can not delete this service directly, stream_route [1] is still using it now"
    gw.put("stream_routes/sub", {"protocol": {"name": "redis", "superior_id": 1}})
    assert error(gw.admin("DELETE", "stream_routes/1")) == \
        "can not delete this stream route directly, stream route [sub] is still using it as superior_id"
    # A route of requests may name such an upstream, and has nowhere to go.
    gw.put("routes/1", {"uri": "/l4", "upstream_id": "t"})
    assert gw.get("/l4").status == 503
    gw.put("upstreams/t", {"scheme": "udp", "nodes": {"127.0.0.1:1995": 1}})
    gw.put("services/t", {"desc": "x"})
    assert gw.get("/l4").status == 503
    for path in ("routes/1", "stream_routes/sub", "stream_routes/1", "services/t", "upstreams/t"):
        gw.delete(path)


REFUSED = [
    ({"upstream_id": "9"}, "failed to fetch upstream info by upstream id [9], response code: 404"),
    ({"service_id": "9"}, "failed to fetch service info by service id [9], response code: 404"),
    ({"server_port": 0}, 'invalid configuration: property "server_port" validation failed: expected 0 to be at least 1'),
    ({"server_port": 65536},
     'invalid configuration: property "server_port" validation failed: expected 65536 to be at most 65535'),
    ({"remote_addr": "x"}, 'invalid configuration: property "remote_addr" validation failed: object matches none of the required'),
    ({"server_addr": "::1/200"}, "invalid server_addr: ::1/200"),
    ({"plugins": {"key-auth": {}}}, "unknown plugin [key-auth]"),
    ({"plugins": {"ip-restriction": {}}}, "failed to check the configuration of stream plugin [ip-restriction]: "
     "value should match only one schema, but matches none"),
    ({"protocol": {}}, 'invalid configuration: property "protocol" validation failed: property "name" is required'),
    ({"protocol": {"name": "nix"}}, "unknown protocol [nix]"),
    ({"protocol": {"name": "redis", "conf": {"faults": "x"}}},
     'property "faults" validation failed: wrong type: expected array, got string'),
    ({"protocol": {"name": "redis", "superior_id": "bad"}}, "stream route can not set itself as superior_id"),
    ({"protocol": {"name": "redis", "superior_id": "9"}}, "failed to fetch stream routes[9], response code: 404"),
    ({"protocol": {"name": "redis", "superior_id": "dubbo"}},
     "protocol mismatch: subordinate protocol [redis] does not match superior protocol [dubbo]"),
    ({"nix": 1}, "invalid configuration: additional properties forbidden, found nix"),
    ({"upstream": {"nodes": {"a:99999": 1}}}, "invalid port 99999"),
]


@pytest.mark.parametrize("body, message", REFUSED, ids=range(len(REFUSED)))
def test_bad_stream_routes(stream_gw, body, message):
    stream_gw.put("stream_routes/dubbo", {"protocol": {"name": "dubbo", "conf": {"any": "thing"}}})
    assert error(stream_gw.admin("PUT", "stream_routes/bad", body)) == message
    assert stream_gw.admin("GET", "stream_routes/bad").status == 404


# --- GraphQL cost decorations

@pytest.mark.quick
@pytest.mark.asan
def test_decorations(gw):
    base = "services/s/graphql_cost_decorations"
    assert error(gw.admin("PUT", f"{base}/1", {"field_path": "Query"}), 404) == "service not found"
    gw.put("services/s", {})
    gw.put("services/other", {})
    assert gw.admin("GET", base).json == {"message": "Key not found"}
    body = {"field_path": "Query.products.nodes", "add_value": 0, "mul_value": 2.5, "add_arguments": ["a"], "mul_arguments": ["first"],
            "name": "n", "desc": "d", "labels": {"a": "b"}}
    one = gw.put(f"{base}/1", body)
    assert one["key"] == f"/apisix/{base}/1" and one["value"]["service_id"] == "s"
    assert {k: one["value"][k] for k in body} == body
    posted = gw.admin("POST", base, {"field_path": "Query"})
    assert posted.status == 201 and len(posted.json["value"]["id"]) == 20
    twice = "field_path Query is already decorated on this service by [%s]" % posted.json["value"]["id"]
    assert error(gw.admin("POST", base, {"field_path": "Query"})) == twice
    assert error(gw.admin("PATCH", f"{base}/1", {"field_path": "Query"})) == twice
    gw.put("services/other/graphql_cost_decorations/1", {"field_path": "Query"})
    assert gw.admin("GET", base).json["total"] == 2 and gw.admin("GET", "services").json["total"] == 2
    assert gw.admin("PATCH", f"{base}/1", {"mul_value": 3}).json["value"]["mul_value"] == 3
    for method, path, body, status, message in (
            ("PUT", f"{base}/2", {"field_path": "A", "service_id": "x"}, 400, "wrong service_id, it is taken from the path"),
            ("PATCH", f"{base}/1", {"service_id": "s"}, 400, "service_id can not be patched"),
            ("PATCH", f"{base}/1", [], 400, "invalid configuration"),
            ("PUT", "graphql_cost_decorations/1", {"field_path": "A"}, 400, "missing service id"),
            ("GET", "graphql_cost_decorations", None, 400, "missing service id"),
            ("DELETE", "graphql_cost_decorations/1", None, 400, "missing service id"),
            ("PUT", f"{base}/2", {}, 400, 'invalid configuration: property "field_path" is required'),
            ("PUT", f"{base}/2", {"field_path": "a..b"}, 400, None),
            ("PUT", f"{base}/2", {"field_path": "a", "add_value": -1}, 400,
             'invalid configuration: property "add_value" validation failed: expected -1 to be at least 0'),
            ("PUT", base, {"field_path": "A"}, 400, "missing graphql cost decoration id")):
        got = error(gw.admin(method, path, body), status)
        assert message in (None, got), (method, path, got)
    def together(*paths):
        return gw.admin("POST", "eclusa/transactions", {"operations": [
            {"method": "PUT", "path": f"{where}/{i}", "body": {"field_path": path}} for where, i, path in paths]})
    there = gw.admin("GET", base).json["total"]
    twice = together((base, "8", "New"), (base, "9", "New"))
    assert (twice.status, twice.json["error_msg"]) == (400, "field_path New is already decorated on this service by [9]")
    assert together((base, "8", "New"), ("services/other/graphql_cost_decorations", "9", "New")).status == 200
    assert gw.admin("GET", base).json["total"] == there + 1
    gw.delete("services/other/graphql_cost_decorations/9")
    gw.restart()
    # They go with their service, and what was left of one is not the next one's.
    gw.delete("services/s")
    gw.put("services/s", {})
    assert gw.admin("GET", base).status == 404
    assert gw.admin("GET", "services/other/graphql_cost_decorations/1").status == 200
    gw.delete("services/other/graphql_cost_decorations/1")


def test_schemas(shared_gw):
    ssl = shared_gw.admin("GET", "schema/ssl").json
    assert ssl["if"] == {"properties": {"type": {"enum": ["server"]}}} and ssl["else"] == {"required": ["key", "cert"]}
    assert ssl["then"] == {"oneOf": [{"required": ["sni", "key", "cert"]}, {"required": ["snis", "key", "cert"]}]}
    for kind, member in (("proto", "content"), ("stream_route", "server_port"), ("graphql_cost_decoration", "field_path")):
        assert member in shared_gw.admin("GET", f"schema/{kind}").json["properties"]
    assert shared_gw.admin("POST", "schema/validate/ssls", {"type": "client", "key": "k" * 64}).json == {
        "error_msg": "else clause did not match"}
