# SPDX-License-Identifier: Apache-2.0
"""Credentials and consumer groups as requests see them: who one is, what runs, what goes with what."""
import contextlib
import json
import os
import sqlite3

import pytest


def key(value):
    return {"apikey": value}


@pytest.fixture
def served(gw, upstream):
    gw.route("/a", upstream, {"key-auth": {}, "response-rewrite": {"headers": {"set": {"X-From": "route"}}}})
    gw.put("consumers", {"username": "jack", "plugins": {"key-auth": {"key": "own"}}, "labels": {"custom_id": "7"}})
    return gw


def set_header(value):
    return {"response-rewrite": {"headers": {"set": {"X-From": value}}}}


@pytest.mark.quick
@pytest.mark.asan
def test_credentials_log_in(served, upstream):
    gw = served
    gw.put("consumers/jack/credentials/c1", {"plugins": {"key-auth": {"key": "first"}}})
    gw.put("consumers/jack/credentials/c2", {"plugins": {"key-auth": {"key": "second"}}})
    for _ in range(2):
        for value, credential in (("own", None), ("first", "c1"), ("second", "c2")):
            assert gw.get("/a", key(value)).status == 200, value
            headers = upstream.requests[-1].headers
            assert headers.get("X-Consumer-Username") == "jack" and headers.get("X-Consumer-Custom-ID") == "7"
            assert headers.get("X-Credential-Identifier") == credential
        gw.restart()
    gw.put("consumers/jack/credentials/c1", {"plugins": {"key-auth": {"key": "changed"}}})
    assert [gw.get("/a", key(k)).status for k in ("first", "changed")] == [401, 200]
    gw.delete("consumers/jack/credentials/c2")
    assert gw.get("/a", key("second")).status == 401
    # The consumer's own document changes below its credentials.
    gw.put("consumers", {"username": "jack", "plugins": set_header("consumer")})
    reply = gw.get("/a", key("changed"))
    assert reply.status == 200 and reply.headers.get("X-From") == "consumer" and gw.get("/a", key("own")).status == 401
    gw.delete("consumers/jack")
    assert gw.get("/a", key("changed")).status == 401
    gw.put("consumers", {"username": "jack"})
    assert gw.get("/a", key("changed")).status == 401, "a consumer's credentials go with it"


def test_credentials_are_sealed(served):
    gw = served
    gw.put("consumers/jack/credentials/c1", {"plugins": {"key-auth": {"key": "S3CRET"}}})
    gw.stop()
    with contextlib.closing(sqlite3.connect(os.path.join(gw.data_dir, "eclusa.db"))) as db:
        stored = json.loads(db.execute("SELECT value FROM document WHERE key = '/consumers/jack/credentials/c1'").fetchone()[0])
    assert stored["plugins"]["key-auth"]["key"].startswith("{eclusa:1}")
    gw.start()
    assert gw.get("/a", key("S3CRET")).status == 200
    assert gw.admin("GET", "consumers/jack/credentials/c1").json["value"]["plugins"]["key-auth"]["key"] == "S3CRET"


@pytest.mark.quick
@pytest.mark.asan
def test_group_lies_between_route_and_consumer(served):
    gw = served

    def come():
        reply = gw.get("/a", key("own"))
        return reply.status, reply.headers.get("X-From"), reply.headers.get("X-Request-Id") is not None
    gw.put("consumer_groups/g", {"plugins": {**set_header("group"), "request-id": {}}})
    assert come() == (200, "route", False)
    own = {"key-auth": {"key": "own"}}
    gw.put("consumers", {"username": "jack", "plugins": own, "group_id": "g"})
    assert come() == (200, "group", True)
    gw.put("consumers", {"username": "jack", "plugins": {**own, **set_header("consumer")}, "group_id": "g"})
    assert come() == (200, "consumer", True)
    gw.admin("PATCH", "consumer_groups/g", {"plugins": {"request-id": None}})
    assert come() == (200, "consumer", False)
    gw.put("consumers", {"username": "jack", "plugins": own, "group_id": "g"})
    assert gw.admin("DELETE", "consumer_groups/g").status == 400
    assert gw.admin("DELETE", "consumer_groups/g?force=true").status == 200
    assert gw.get("/a", key("own")).status == 503, "its group is not there"
    gw.put("consumer_groups/g", {"plugins": {"ip-restriction": {"blacklist": ["127.0.0.0/8"]}}})
    assert gw.get("/a", key("own")).status == 403, "a group's plugins run before the request goes on"
