# SPDX-License-Identifier: Apache-2.0
"""References in documents: `$env://` resolved when the configuration is built, closed where they cannot be."""
import json
import os

import pytest

from gw import Gateway


@pytest.fixture
def env_gw(tmp_path):
    gw = Gateway(tmp_path / "gw")
    gw.env = {"OF_JACK": "S3CRET-of-jack", "OF_MANY": json.dumps({"jill": "S3CRET-of-jill", "list": ["127.0.0.1"], "n": 7}),
              "GREETING": "S3CRET-hello"}
    os.makedirs(gw.folder, exist_ok=True)
    gw.start()
    yield gw
    gw.finish()


def consumer(gw, name, key):
    gw.put("consumers", {"username": name, "plugins": {"key-auth": {"key": key}}})


@pytest.mark.quick
@pytest.mark.asan
def test_env(env_gw, upstream):
    gw = env_gw
    gw.route("/key", upstream, {"key-auth": {}})
    gw.route("/hello", upstream, {"response-rewrite": {"headers": {"set": {"X-Greeting": "$ENV://GREETING"}}}})
    gw.route("/from", upstream, {"key-auth": {"header": "$env://OF_MANY/header"}})
    consumer(gw, "jack", "$env://OF_JACK")
    consumer(gw, "jill", "$eNv://OF_MANY/jill")
    consumer(gw, "none", "$env://NOT_SET")
    gw.put("consumers", {"username": "two"})
    gw.put("consumers/two/credentials/c", {"plugins": {"key-auth": {"key": "$env://OF_JACK/none"}}})
    for _ in range(2):
        assert gw.get("/key", {"apikey": "S3CRET-of-jack"}).status == 200
        assert gw.get("/key", {"apikey": "S3CRET-of-jill"}).status == 200
        for key in ("$env://OF_JACK", "$eNv://OF_MANY/jill", "$env://NOT_SET", "$env://OF_JACK/none", "", "null"):
            assert gw.get("/key", {"apikey": key}).status == 401, key
        assert gw.get("/hello").headers.get("X-Greeting") == "S3CRET-hello"
        assert gw.get("/from").status == 503, "what cannot be resolved closes what it guards"
        # What is stored and shown is the reference.
        assert gw.admin("GET", "consumers/jack").json["value"]["plugins"]["key-auth"]["key"] == "$env://OF_JACK"
        gw.restart()
    gw.wait_log("environment variable NOT_SET is not set")
    gw.wait_log("environment variable OF_JACK holds no JSON object")
    gw.wait_log("environment variable OF_MANY has no member header")
    assert "S3CRET" not in gw.log
    # Another start, another environment.
    gw.env = {**gw.env, "OF_JACK": "now another", "NOT_SET": "set now"}
    gw.restart()
    assert gw.get("/key", {"apikey": "S3CRET-of-jack"}).status == 401
    assert gw.get("/key", {"apikey": "now another"}).status == 200
    assert gw.get("/key", {"apikey": "set now"}).status == 200


def test_what_guards_closes(env_gw, upstream):
    """Limits and what the upstream trusts, not who may pass alone."""
    gw = env_gw
    nowhere = {"/limit": {"limit-count": {"count": "$env://NOT_SET", "time_window": 60, "key": "remote_addr"}},
               "/key": {"limit-count": {"count": 9, "time_window": 60, "rejected_msg": "$env://NOT_SET"}},
               "/rewrite": {"proxy-rewrite": {"headers": {"set": {"X-Inner": "$env://NOT_SET"}}}},
               "/redirect": {"redirect": {"uri": "$env://NO_URI"}}}
    for path, plugins in nowhere.items():
        gw.put(f"routes{path}", {"uri": path, "upstream": {"nodes": {upstream.node: 1}}, "plugins": plugins})
    gw.route("/open", upstream, {"cors": {"allow_origins": "$env://NOT_SET"}})
    for path in nowhere:
        assert gw.get(path).status == 503, path
    assert gw.get("/open").status == 200
    limited = {e["key"]: e["reason"] for e in gw.control("/v1/eclusa/config").json["limited"]}
    for path, plugins in nowhere.items():
        name = "NO_URI" if path == "/redirect" else "NOT_SET"
        assert limited[f"/apisix/routes{path}"] == (
            f"plugin {next(iter(plugins))}: $env://{name}: environment variable {name} is not set: what it guards is closed")
    gw.env |= {"NOT_SET": "7", "NO_URI": "/there"}
    gw.restart()
    assert [gw.get(path).status for path in nowhere] == [200, 200, 200, 302]
    assert gw.get("/limit").headers.get("X-RateLimit-Limit") == "7"
    assert [e["key"] for e in gw.control("/v1/eclusa/config").json["limited"]] == ["/apisix/routes/1"], "cors alone"


def test_a_value_that_does_not_fit_is_not_told(env_gw, upstream):
    gw = env_gw
    gw.env["ADDRESS"] = "127.0.0.1"
    gw.restart()
    gw.route("/", upstream, {"ip-restriction": {"whitelist": ["$env://ADDRESS"]}})
    assert gw.get("/").status == 200, "a text that would not pass by itself is judged by what it stands for"
    gw.env["ADDRESS"] = "S3CRET"
    gw.restart()
    assert gw.get("/").status == 503
    gw.wait_log("it does not fit with what its references stand for")
    assert "S3CRET" not in gw.log
    reply = gw.admin("PUT", "routes/2", {"uri": "/", "plugins": {"ip-restriction": {"whitelist": ["$env://GREETING"]}}})
    assert reply.status == 400 and "S3CRET" not in reply.text
