# SPDX-License-Identifier: Apache-2.0
"""Tools that keep a gateway as a file says (ADC and its like): read everything, compare, send what differs. What they read
must be what they sent, or they would never come to rest."""
import concurrent.futures
import hashlib
import json

import pytest

from etcd import Etcd

KINDS = ("services", "routes", "upstreams", "ssls", "consumers", "plugin_configs", "global_rules", "plugin_metadata", "stream_routes")
SERVER_SET = ("create_time", "update_time", "id")
# What refers to a document goes before it, and comes after it.
ORDER = [("DELETE", kind) for kind in ("routes", "services", "upstreams", "consumers", "ssls")] + \
        [("PUT", kind) for kind in ("ssls", "upstreams", "services", "routes", "consumers")] + \
        [(method, kind) for kind in ("global_rules", "plugin_metadata", "credentials") for method in ("DELETE", "PUT")]
NO_STREAMS = "stream mode is disabled, can not add stream routes"


@pytest.fixture
def etcd(tmp_path):
    member = Etcd(tmp_path / "etcd").start()
    yield member
    member.kill()


@pytest.fixture(params=["sqlite", "etcd"])
def gw(request, make_gw):
    if request.param == "sqlite":
        return make_gw()
    host = request.getfixturevalue("etcd").url
    return make_gw(deployment={"role": "traditional", "role_traditional": {"config_provider": "etcd"},
                               "etcd": {"host": [host], "prefix": "/apisix"}})


def listed(gw, path):
    """The documents of a list, by path, without what the gateway adds."""
    reply = gw.admin("GET", path)
    if path == "stream_routes" and reply.status == 400:
        assert reply.json["error_msg"] == NO_STREAMS
        return {}
    if path.endswith("/credentials") and reply.status == 404:
        return {}
    assert reply.status == 200 and reply.json["total"] == len(reply.json["list"]), reply
    found = {item["key"].removeprefix("/apisix/"): item["value"] for item in reply.json["list"]}
    for name, value in found.items():
        assert value.get("id", name.rsplit("/", 1)[1]) == name.rsplit("/", 1)[1]
    return {name: {k: v for k, v in value.items() if k not in SERVER_SET} for name, value in found.items()}


def read(gw):
    found = {}
    for kind in KINDS:
        found.update(listed(gw, kind))
    for consumer in [name for name in found if name.startswith("consumers/")]:
        found.update(listed(gw, f"{consumer}/credentials"))
    return found


def compared(path, value):
    """As it can be compared: nobody is shown the keys of certificates."""
    return {k: [] if k == "keys" else v for k, v in value.items() if k != "key"} if path.startswith("ssls/") else value


def step(change):
    method, path = change
    return ORDER.index((method, "credentials" if "/credentials/" in path else path.split("/", 1)[0]))


def differences(want, have):
    return sorted([("DELETE", path) for path in have if path not in want] +
                  [("PUT", path) for path in want if have.get(path) != compared(path, want[path])], key=step)


def send(gw, change, want):
    method, path = change
    return change, gw.admin(method, path, want[path] if method == "PUT" else None)


def sync(gw, want):
    """Sends what differs, each step ten at a time, until something is refused. Returns {(method, path): reply}."""
    replies, changes = {}, differences(want, read(gw))
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        for at in range(len(ORDER)):
            group = [change for change in changes if step(change) == at]
            replies.update(pool.map(lambda change: send(gw, change, want), group))
            if any(reply.status not in (200, 201) for reply in replies.values()):
                break
    return replies


def node(upstream, **more):
    host, port = upstream.node.split(":")
    return {"host": host, "port": int(port), "weight": 100, "priority": 0, **more}


def shop(upstream, certs):
    cert, key = (open(certs[name], encoding="ascii").read() for name in ("cert", "key"))
    want = {
        "ssls/s": {"snis": ["shop.test", "*.shop.test"], "cert": cert, "key": key, "certs": [cert], "keys": [key], "status": 1,
                   "type": "server", "labels": {"by": "tool"}},
        "upstreams/shop": {"name": "shop", "type": "roundrobin", "hash_on": "vars", "scheme": "http", "pass_host": "pass",
                           "nodes": [node(upstream), node(upstream, weight=0, priority=-1)], "retries": 1, "retry_timeout": 0,
                           "timeout": {"connect": 1, "send": 5, "read": 5.5},
                           "keepalive_pool": {"size": 8, "idle_timeout": 30, "requests": 100},
                           "checks": {"active": {"type": "tcp", "timeout": 1, "concurrency": 10, "healthy": {"interval": 5, "successes": 1},
                                                 "unhealthy": {"interval": 5, "tcp_failures": 3}}}},
        "upstreams/canary": {"name": "canary", "type": "chash", "key": "remote_addr", "nodes": [node(upstream)],
                             "labels": {"service": "shop"}},
        "services/shop": {"name": "shop", "desc": "the \"shop\"", "upstream_id": "shop", "hosts": ["shop.test"], "plugins": {"cors": {}}},
        "routes/items": {"name": "items", "uris": ["/items", "/items/*"], "methods": ["GET", "HEAD"], "service_id": "shop", "status": 1,
                         "priority": 10, "plugins": {"limit-count": {"count": 100, "time_window": 60, "key": "remote_addr"}}},
        "routes/buy": {"name": "buy", "uris": ["/orders"], "methods": ["POST"], "service_id": "shop", "status": 1,
                       "vars": [["http_x_tenant", "==", "acme"], ["arg_debug", "~=", "1"]], "remote_addrs": ["127.0.0.0/8", "::1"],
                       "timeout": {"connect": 1, "send": 5, "read": 5},
                       "plugins": {"key-auth": {}, "proxy-rewrite": {"headers": {"set": {"X-Via": "tool"}}}}},
        "consumers/jack": {"username": "jack", "desc": "a customer", "labels": {"tier": "gold"}},
        "consumers/jill": {"username": "jill", "plugins": {"limit-count": {"count": 9, "time_window": 60}}},
        "consumers/jack/credentials/web": {"name": "web", "plugins": {"key-auth": {"key": "jack's"}}},
        "consumers/jack/credentials/old": {"plugins": {"basic-auth": {"username": "jack", "password": "s3cret"}}},
        "consumers/jill/credentials/web": {"name": "web", "plugins": {"key-auth": {"key": "jill's"}}},
        "global_rules/request-id": {"plugins": {"request-id": {"header_name": "X-Id"}}},
        "plugin_metadata/limit-count": {"limit_header": "X-Quota"},
        "plugin_metadata/cors": {"allow_origins": {"main": "https://shop.test"}},
    }
    for i in range(40):
        want[f"routes/{i}"] = {"name": f"r{i}", "uris": [f"/r{i}"], "service_id": "shop", "status": 1}
    return want


def order(gw, key):
    return gw.post("/orders", b"", {"Host": "shop.test", "X-Tenant": "acme", "apikey": key})


@pytest.mark.asan
def test_what_is_sent_is_what_is_read(gw, upstream, certs):
    want = shop(upstream, certs)
    assert {reply.status for reply in sync(gw, want).values()} == {201}
    assert read(gw) == {path: compared(path, value) for path, value in want.items()}
    assert sync(gw, want) == {}, "nothing is left to do"
    assert order(gw, "jack's").status == 200 and upstream.requests[-1].headers.get("X-Via") == "tool"
    assert order(gw, "jill's").status == 200 and order(gw, "other").status == 401
    gw.restart()
    assert sync(gw, want) == {}

    want["routes/items"]["plugins"]["limit-count"]["count"] = 1
    want["upstreams/shop"]["nodes"][0]["weight"] = 7
    want["consumers/jack/credentials/web"]["plugins"]["key-auth"]["key"] = "jack's new"
    want["plugin_metadata/limit-count"]["limit_header"] = "X-Rest"
    want["routes/new"] = {**want["routes/0"], "uris": ["/new"]}
    for path in ("routes/1", "global_rules/request-id", "plugin_metadata/cors", "consumers/jack/credentials/old"):
        del want[path]
    replies = sync(gw, want)
    assert {path for _, path in replies} == {
        "routes/items", "upstreams/shop", "consumers/jack/credentials/web", "plugin_metadata/limit-count", "routes/new", "routes/1",
        "global_rules/request-id", "plugin_metadata/cors", "consumers/jack/credentials/old"}
    assert {reply.status for reply in replies.values()} == {200, 201} and sync(gw, want) == {}
    assert order(gw, "jack's").status == 401 and order(gw, "jack's new").status == 200
    got = [gw.get("/items", {"Host": "shop.test"}) for _ in range(2)]
    assert [r.status for r in got] == [200, 503] and got[0].headers.get("X-Rest") == "1"

    replies = sync(gw, {})
    gone = {path for (_, path), reply in replies.items() if reply.status == 404}
    assert gone == {"consumers/jack/credentials/web", "consumers/jill/credentials/web"}, "they went with their consumers, as in APISIX"
    assert all(replies["DELETE", path].json == {"message": "Key not found"} for path in gone)
    assert read(gw) == {} and sync(gw, {}) == {} and gw.get("/new", {"Host": "shop.test"}).status == 404


def test_a_mistake(gw, upstream, certs):
    want = shop(upstream, certs)
    good = json.loads(json.dumps(want))
    want["routes/items"]["plugins"]["nix"] = {}
    want["routes/buy"]["vars"] = [["a", "??", "b"]]
    want["plugin_metadata/cors"] = {"allow_origins": 5}
    body = {kind: [{"id": path.split("/")[1], **value} for path, value in want.items() if path.startswith(f"{kind}/") and path.count("/") == 1]
            for kind in KINDS}
    for consumer in body["consumers"]:
        del consumer["id"]
    reply = gw.admin("POST", "configs/validate", body)
    assert reply.status == 400 and reply.json["error_msg"] == "Configuration validation failed"
    assert [(e["resource_type"], body[e["resource_type"]][e["index"]]["id"], e["error"]) for e in sorted(
        reply.json["errors"], key=lambda e: (e["resource_type"], e["index"]))] == [
            ("plugin_metadata", "cors", 'invalid configuration: property "allow_origins" validation failed: '
                                        "wrong type: expected object, got number"),
            ("routes", "items", "unknown plugin [nix]"),
            ("routes", "buy", "failed to validate the 'vars' expression: invalid operator '??'")]
    assert read(gw) == {}, "only checked"

    replies = sync(gw, want)
    refused = {path: reply for (_, path), reply in replies.items() if reply.status != 201}
    assert {path: (r.status, r.json["error_msg"]) for path, r in refused.items()} == {
        "routes/items": (400, "unknown plugin [nix]"),
        "routes/buy": (400, "failed to validate the 'vars' expression: invalid operator '??'")}
    assert set(read(gw)) == {path for _, path in replies} - set(refused), "what came before it stays, nothing comes after it"
    replies = sync(gw, good)
    assert {reply.status for reply in replies.values()} == {201} and {"routes/items", "routes/buy"} < {path for _, path in replies}
    assert sync(gw, good) == {}


# ---- The whole at once


def newest(gateways):
    """The one that was written last, as its HEAD tells it."""
    stamps = []
    for gw in gateways:
        reply = gw.admin("HEAD", "configs")
        assert reply.status == 200
        stamps.append(int(reply.headers.get("X-Last-Modified", "0")))
    return gateways[stamps.index(max(stamps))]


def give(gateways, config):
    digest = hashlib.sha1(json.dumps(config).encode()).hexdigest()
    return [gw.admin("PUT", "configs", config, headers={"X-Digest": digest}).status for gw in gateways]


def taken(gw):
    config = gw.admin("GET", "configs").json
    return {k: v for k, v in config.items() if k not in ("X-Digest", "X-Last-Modified")}


@pytest.mark.asan
def test_the_whole(make_gw, upstream):
    gateways = [make_gw(deployment={"role_traditional": {"config_provider": "yaml"}}) for _ in range(2)]
    assert all(gw.admin("HEAD", "/apisix/admin", key=None).status == 200 for gw in gateways), "asked for the version"
    config = taken(newest(gateways))
    assert set(config.values()) == {0}
    config.update(
        upstreams=[{"id": "u", "modifiedIndex": 100, "nodes": [node(upstream)]}], upstreams_conf_version=100,
        services=[{"id": "s", "modifiedIndex": 100, "upstream_id": "u", "name": "s"}], services_conf_version=100,
        routes=[{"id": "r", "modifiedIndex": 100, "uris": ["/a"], "service_id": "s", "status": 1, "plugins": {"key-auth": {}}}],
        routes_conf_version=100,
        consumers=[{"username": "jack", "modifiedIndex": 100, "plugins": {}},
                   {"id": "jack/credentials/c", "modifiedIndex": 100, "plugins": {"key-auth": {"key": "k"}}}], consumers_conf_version=100)
    assert give(gateways, config) == [202, 202] and give(gateways, config) == [204, 204]
    assert all(taken(gw) == config for gw in gateways)
    assert all(gw.get("/a", {"apikey": "k"}).status == 200 and gw.get("/a").status == 401 for gw in gateways)

    config["consumers"][1].update(modifiedIndex=200, plugins={"key-auth": {"key": "new"}})
    config["consumers_conf_version"] = 200
    assert give(gateways, config) == [202, 202]
    assert all(taken(gw) == config and gw.get("/a", {"apikey": "new"}).status == 200 for gw in gateways)

    bad = {**config, "routes": [*config["routes"], {"id": "bad", "uri": 7}], "routes_conf_version": 300}
    older = {**config, "routes": [], "routes_conf_version": 99}
    assert give(gateways, bad) == [400, 400] and give(gateways, older) == [400, 400]
    assert all(taken(gw) == config and gw.get("/a", {"apikey": "new"}).status == 200 for gw in gateways), "nothing half done"
    # One that was not there meanwhile gets it from the other.
    gateways.append(make_gw(deployment={"role_traditional": {"config_provider": "yaml"}}))
    assert newest(gateways) is not gateways[2]
    assert give(gateways, taken(newest(gateways))) == [202, 202, 202], "the same in another order"
    assert all(taken(gw) == config for gw in gateways) and gateways[2].get("/a", {"apikey": "new"}).status == 200
