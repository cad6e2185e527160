# SPDX-License-Identifier: Apache-2.0
"""Certificates over the Admin API: what is refused, what is never shown, what is sealed."""
import contextlib
import json
import os
import sqlite3
import subprocess

import pytest

PARSE_CERT, PARSE_KEY = "failed to parse cert: PEM_read_bio_X509_AUX() failed", "failed to parse key: PEM_read_bio_PrivateKey() failed"


@pytest.fixture(scope="module")
def pems(certs):
    return {name: open(certs[name], encoding="ascii").read() for name in ("cert", "key")}


@pytest.mark.quick
@pytest.mark.asan
def test_keys_are_kept_and_never_shown(gw, pems):
    pair = {"cert": pems["cert"], "key": pems["key"]}
    r = gw.admin("PUT", "ssls/1", {**pair, "sni": "*.a.test", "certs": [pems["cert"]], "keys": [pems["key"]]})
    assert r.status == 201 and r.json["key"] == "/apisix/ssls/1", r
    for value in (r.json["value"], gw.admin("GET", "ssls/1").json["value"], gw.admin("GET", "ssls").json["list"][0]["value"]):
        assert value["cert"] == pems["cert"] and value["certs"] == [pems["cert"]] and "key" not in value and value["keys"] == []
    value = gw.admin("PATCH", "ssls/1", {"sni": None, "snis": ["b.test", "c.test"]}).json["value"]
    assert value["snis"] == ["b.test", "c.test"] and "sni" not in value and "key" not in value
    assert gw.admin("PATCH", "ssls/1/status", "0").status == 200
    assert gw.admin("PATCH", "ssls/1", {"key": pems["cert"]}).json["error_msg"] == PARSE_KEY
    gw.stop()
    with contextlib.closing(sqlite3.connect(os.path.join(gw.data_dir, "eclusa.db"))) as db:
        stored = json.loads(db.execute("SELECT value FROM document WHERE key = '/ssls/1'").fetchone()[0])
    assert "PRIVATE" not in stored["key"] + stored["keys"][0] and stored["cert"] == pems["cert"]
    gw.start()
    assert gw.admin("PATCH", "ssls/1", {"desc": "d"}).status == 200, "the stored key is opened and checked again"
    gw.delete("ssls/1")


def test_refusals(gw, pems, tmp_path):
    long = "x" * 200
    good = {"cert": pems["cert"], "key": pems["key"], "sni": "a.test"}
    key = tmp_path / "locked.pem"
    subprocess.run(["openssl", "genrsa", "-aes256", "-passout", "pass:x", "-out", str(key), "2048"], check=True, capture_output=True)
    for change, message in (
            ({"cert": long}, PARSE_CERT),
            ({"key": long}, PARSE_KEY),
            ({"key": key.read_text()}, PARSE_KEY),
            ({"certs": [long], "keys": [pems["key"]]}, "failed to handle cert-key pair[1]: " + PARSE_CERT),
            ({"certs": [pems["cert"], pems["cert"]], "keys": [pems["key"], long]}, "failed to handle cert-key pair[2]: " + PARSE_KEY),
            ({"certs": [pems["cert"]]}, "mismatched number of certs and keys"),
            ({"client": {"ca": long}}, "failed to validate client_cert: " + PARSE_CERT),
            ({"snis": ["b.test"]}, "invalid configuration: then clause did not match"),
            ({"key": "short"}, "invalid configuration: property \"key\" validation failed: string too short, expected at least 64, got 5"),
            ({"name": "n"}, "invalid configuration: additional properties forbidden, found name")):
        r = gw.admin("PUT", "ssls/1", {**good, **change})
        assert r.status == 400 and r.json["error_msg"] == message, (change.keys(), r)
    assert gw.admin("GET", "ssls").json["total"] == 0
    gw.put("ssls/1", {"type": "client", "cert": pems["cert"], "key": pems["key"]})
    gw.put("ssls/2", {"cert": "$secret://vault/1/cert", "key": "$env://KEY", "sni": "a.test"})
    assert "env" not in str(gw.admin("GET", "ssls/2").json)
    gw.put("ssls/3", {**good, "client": {"ca": pems["cert"], "depth": 2}, "ssl_protocols": ["TLSv1.3"]})
    gw.stop()
    with contextlib.closing(sqlite3.connect(os.path.join(gw.data_dir, "eclusa.db"))) as db:
        stored = json.loads(db.execute("SELECT value FROM document WHERE key = '/ssls/2'").fetchone()[0])
    assert stored["key"] == "$env://KEY", "a reference is no key"
