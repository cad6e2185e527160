# SPDX-License-Identifier: Apache-2.0
"""What holds for all routes: global rules, and the plugins' metadata."""
import pytest


def set_header(name, value):
    return {"response-rewrite": {"headers": {"set": {name: value}}}}


@pytest.mark.quick
@pytest.mark.asan
def test_global_rules_run_for_every_request(gw, upstream):
    gw.route("/a", upstream, set_header("X-Route", "r"))
    gw.route("/plain", upstream)
    assert gw.get("/plain").headers.get("X-Global") is None
    gw.put("global_rules/1", {"plugins": set_header("X-Global", "1")})
    gw.put("global_rules/2", {"plugins": {"request-id": {}}})
    for _ in range(2):
        for path, status in (("/plain", 200), ("/a", 200), ("/none", 404)):
            reply = gw.get(path)
            assert reply.status == status and reply.headers.get("X-Global") == "1", reply
            assert reply.headers.get("X-Request-Id")
        assert gw.get("/a").headers.get("X-Route") == "r", "a plugin runs globally and on the route"
        gw.restart()
    r = gw.admin("PUT", "global_rules/3", {"plugins": {"request-id": {}}})
    assert r.status == 400 and r.json["error_msg"] == "plugin 'request-id' already exists in global rule with id '2'"
    gw.admin("PATCH", "global_rules/1", {"plugins": {"response-rewrite": {"headers": {"set": {"X-Global": "2"}}}}})
    assert gw.get("/plain").headers.get("X-Global") == "2"
    gw.delete("global_rules/1")
    assert gw.get("/plain").headers.get("X-Global") is None


def test_global_authentication(gw, upstream):
    gw.route("/a", upstream)
    gw.put("consumers", {"username": "jack", "plugins": {"key-auth": {"key": "k"}, **set_header("X-Consumer", "jack")}})
    gw.put("global_rules/1", {"plugins": {"key-auth": {}}})
    assert gw.get("/a").status == 401 and gw.get("/none").status == 401
    reply = gw.get("/a", {"apikey": "k"})
    assert reply.status == 200 and reply.headers.get("X-Consumer") == "jack"


@pytest.mark.quick
@pytest.mark.asan
def test_metadata_of_limit_count(gw, upstream):
    limit = {"limit-count": {"count": 9, "time_window": 60, "key_type": "constant", "key": "k"}}
    gw.route("/a", upstream, limit)
    rules = [{"count": 9, "time_window": 60, "key": "$http_a", "header_prefix": "mine"}, {"count": 8, "time_window": 60, "key": "$http_a-2"}]
    gw.route("/rules", upstream, {"limit-count": {"rules": rules}})

    def limits(path):
        return {name.lower(): value for name, value in gw.get(path, {"A": "x"}).headers if "limit-limit" in name.lower()}
    assert limits("/a") == {"x-ratelimit-limit": "9"}
    gw.put("plugin_metadata/limit-count", {"limit_header": "X-My-RateLimit-Limit"})
    assert limits("/a") == {"x-my-ratelimit-limit": "9"}
    assert limits("/rules") == {"x-my-mine-ratelimit-limit": "9", "x-my-2-ratelimit-limit": "8"}
    assert gw.get("/a").headers.get("X-RateLimit-Remaining") is not None, "the others have their defaults"
    gw.restart()
    assert limits("/a") == {"x-my-ratelimit-limit": "9"}
    r = gw.admin("PUT", "plugin_metadata/limit-count", {"limit_header": "a\r\nb"})
    assert r.status == 400 and r.json["error_msg"].startswith("invalid configuration: property \"limit_header\"")
    gw.delete("plugin_metadata/limit-count")
    assert limits("/a") == {"x-ratelimit-limit": "9"}


@pytest.mark.asan
def test_metadata_of_cors(gw, upstream):
    gw.route("/a", upstream, {"cors": {"allow_origins": "http://own.test", "allow_origins_by_metadata": ["one", "missing", "two"]}})
    gw.route("/any", upstream, {"cors": {"allow_origins_by_metadata": ["one"]}})

    def origin(path, value):
        return gw.get(path, {"Origin": value}).headers.get("Access-Control-Allow-Origin")
    assert origin("/a", "http://own.test") == "http://own.test" and origin("/a", "http://b.test") is None
    gw.put("plugin_metadata/cors", {"allow_origins": {"one": "http://a.test,http://b.test", "two": "http://c.test", "other": "http://d.test"}})
    for value in ("http://own.test", "http://a.test", "http://b.test", "http://c.test"):
        assert origin("/a", value) == value
    assert origin("/a", "http://d.test") is None
    assert origin("/any", "http://b.test") == "http://b.test" and origin("/any", "http://c.test") is None
    gw.put("plugin_metadata/cors", {"allow_origins": {"one": "**"}})
    assert origin("/any", "http://x.test") == "http://x.test"
    assert gw.admin("PUT", "plugin_metadata/cors", {"allow_origins": {"one": "no origin"}}).status == 400
