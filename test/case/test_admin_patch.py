# SPDX-License-Identifier: Apache-2.0
"""PATCH as APISIX's users know it: what it changes is served, what it leaves is kept, secrets too."""
import contextlib
import json
import os
import sqlite3

import pytest


@pytest.mark.quick
@pytest.mark.asan
def test_what_is_served_follows(gw, upstream):
    gw.route("/a", upstream, {"response-rewrite": {"headers": {"set": {"X-One": "1", "X-Two": "2"}}}}, desc="kept")
    assert gw.get("/a").headers.get("X-One") == "1"
    r = gw.admin("PATCH", "routes/1", {"plugins": {"response-rewrite": {"headers": {"set": {"X-One": None, "X-Three": "3"}}}}})
    assert r.status == 200 and set(r.json) == {"key", "value"} and r.json["value"]["desc"] == "kept", r
    headers = gw.get("/a").headers
    assert (headers.get("X-One"), headers.get("X-Two"), headers.get("X-Three")) == (None, "2", "3")
    assert gw.admin("PATCH", "routes/1/uri", '"/b"').status == 200
    assert gw.get("/a").status == 404 and gw.get("/b").status == 200
    assert gw.admin("PATCH", "routes/1", {"plugins": {}}).json["value"]["plugins"] == {}
    assert gw.get("/b").headers.get("X-Two") is None
    r = gw.admin("PATCH", "routes/1", {"status": 0})
    assert r.status == 200 and gw.get("/b").status == 404
    assert gw.admin("PATCH", "routes/1/status", "2").status == 400 and gw.admin("GET", "routes/1").json["value"]["status"] == 0


def test_defaults_are_not_written(gw):
    """APISIX stored them until 3.13; since 3.14 a document is kept as it was written."""
    nodes = {"nodes": {"127.0.0.1:1980": 1}}
    value = gw.put("routes/1", {"uri": "/a", "upstream": nodes, "plugins": {"cors": {}}})["value"]
    assert set(value) == {"id", "uri", "upstream", "plugins", "create_time", "update_time"}
    assert value["upstream"] == nodes and value["plugins"] == {"cors": {}}


@pytest.mark.parametrize("ring", [None, "edd1c9f0985e76a2"])
def test_secrets_are_sealed_again(make_gw, certs, ring):
    encryption = {"data_encryption": {"enable_encrypt_fields": True, "keyring": [ring]}} if ring else {}
    gw = make_gw(apisix=encryption)
    cert, key = (open(certs[name], encoding="ascii").read() for name in ("cert", "key"))
    gw.put("upstreams/1", {"scheme": "https", "nodes": {"127.0.0.1:1": 1}, "tls": {"client_cert": cert, "client_key": key}})
    for change in ({"desc": "d"}, {"tls": {"client_cert": cert}}):
        assert gw.admin("PATCH", "upstreams/1", change).status == 200
        assert gw.admin("GET", "upstreams/1").json["value"]["tls"] == {"client_cert": cert, "client_key": key}
    assert gw.admin("PATCH", "upstreams/1/desc", '"e"').json["value"]["tls"]["client_key"] == key
    gw.stop()
    with contextlib.closing(sqlite3.connect(os.path.join(gw.data_dir, "eclusa.db"))) as db:
        stored = json.loads(db.execute("SELECT value FROM document WHERE key = '/upstreams/1'").fetchone()[0])
    assert stored["desc"] == "e" and "PRIVATE" not in stored["tls"]["client_key"]
    gw.start()
    assert gw.admin("GET", "upstreams/1").json["value"]["tls"]["client_key"] == key


def test_secrets_that_cannot_be_opened_are_left(gw, certs):
    cert, key = (open(certs[name], encoding="ascii").read() for name in ("cert", "key"))
    gw.put("upstreams/1", {"scheme": "https", "nodes": {"127.0.0.1:1": 1}, "tls": {"client_cert": cert, "client_key": key}})
    gw.stop()
    file = os.path.join(gw.data_dir, "secret.key")
    os.rename(file, file + ".away")
    gw.start()
    r = gw.admin("PATCH", "upstreams/1", {"desc": "d"})
    assert r.status == 503 and "secrets cannot be opened" in r.json["error_msg"], r
    gw.stop()
    os.rename(file + ".away", file)
    gw.start()
    value = gw.admin("GET", "upstreams/1").json["value"]
    assert value["tls"]["client_key"] == key and "desc" not in value
