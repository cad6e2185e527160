# SPDX-License-Identifier: Apache-2.0
"""eclusa export and import: a whole configuration between SQLite, etcd, apisix.yaml and apisix.json."""
import json
import os
import subprocess

import pytest

from etcd import Etcd, b64
from gw import BINARY, Gateway


def run(*words, stdin=None, code=0):
    done = subprocess.run([BINARY, *words], input=stdin, capture_output=True, timeout=60, check=False)
    assert done.returncode == code, (words, done)
    assert b"Sanitizer" not in done.stderr, done.stderr.decode()
    return done.stdout.decode(), done.stderr.decode()


def config(gw):
    return gw.command("run")[-1]


def fill(gw, upstream, certs):
    node = {"nodes": {upstream.node: 1}}
    pem = {name: open(certs[name], encoding="ascii").read() for name in ("cert", "key")}
    gw.put("upstreams/u", {**node, "name": "\u00e4 \u007f \u0085 \ufeff \U0001f511 \"quoted\" \\ : # {[ &*!|>'%@` - ?"})
    gw.put("services/s", {"upstream_id": "u", "plugins": {"response-rewrite": {"body": "line 1\nline 2\ttab\r\n"}}})
    gw.put("routes/7", {"uri": "/of-service", "service_id": "s"})
    gw.put("plugin_configs/p", {"plugins": {"key-auth": {}}})
    gw.put("routes/r.1", {"uri": "/key", "upstream_id": "u", "plugin_config_id": "p", "priority": 3, "labels": {"a": "b"}})
    gw.put("consumer_groups/g", {"plugins": {"limit-count": {"count": 1000, "time_window": 60}}})
    gw.put("consumers", {"username": "jack", "group_id": "g", "plugins": {"key-auth": {"key": "S3CRET-jack"}}})
    gw.put("consumers/jack/credentials/c1", {"plugins": {"key-auth": {"key": "S3CRET-more"}}})
    gw.put("global_rules/1", {"plugins": {"response-rewrite": {"headers": {"set": {"X-Global": "1"}}}}})
    gw.put("plugin_metadata/limit-count", {"anything": 1})
    gw.put("ssls/1", {"sni": "a.example", **pem})
    gw.put("secrets/vault/1", {"uri": "http://127.0.0.1:1", "prefix": "kv", "token": "S3CRET-token"})
    gw.post_id = gw.admin("POST", "routes", {"uri": "/posted", "upstream_id": "u"}).json["key"].rsplit("/", 1)[1]


KINDS = ["upstreams", "services", "routes", "plugin_configs", "consumer_groups", "consumers", "consumers/jack/credentials",
         "global_rules", "plugin_metadata/limit-count", "ssls", "secrets"]


def everything(gw):
    """What the Admin API shows, without revisions and without what an etcd's keys have in front."""
    found = {}
    for kind in KINDS:
        reply = gw.admin("GET", kind)
        assert reply.status == 200, (kind, reply)
        for item in reply.json.get("list", [reply.json]):
            found[item["key"].removeprefix("/apisix")] = item["value"]
    return found


def serves(gw):
    assert gw.get("/key", {"apikey": "S3CRET-jack"}).status == 200
    assert gw.get("/key", {"apikey": "S3CRET-more"}).status == 200
    assert gw.get("/key").status == 401
    reply = gw.get("/of-service")
    assert reply.body == b"line 1\nline 2\ttab\r\n" and reply.headers.get("X-Global") == "1"


@pytest.fixture
def etcd(tmp_path):
    server = Etcd(tmp_path / "etcd").start()
    yield server
    server.kill()


@pytest.mark.asan
def test_around(gw, make_gw, upstream, certs, etcd, tmp_path):
    """SQLite, yaml, etcd, json, SQLite: what comes back is what went out."""
    fill(gw, upstream, certs)
    before = everything(gw)
    assert len(before) == 13
    yaml, jsonfile = str(tmp_path / "apisix.yaml"), str(tmp_path / "apisix.json")
    # The gateway is running.
    _, said = run("export", "-c", config(gw), "--to", yaml)
    assert said == "13 documents\n" and os.stat(yaml).st_mode & 0o777 == 0o600
    assert open(yaml, encoding="utf-8").read().endswith("#END\n")
    gw.stop()

    shared = Gateway(tmp_path / "shared").config(
        deployment={"role": "traditional", "role_traditional": {"config_provider": "etcd"}, "etcd": {"host": [etcd.url]}},
        apisix={"data_encryption": {"keyring": ["0123456789abcdef"]}})
    os.makedirs(shared.folder)
    out, said = run("import", "-c", config(shared), "--from", yaml, "--dry-run")
    assert said == "dry run: 13 added, 0 changed, 0 removed, 0 as they were\n" and "+ /routes/r.1\n" in out
    assert etcd.get("/routes/r.1") is None
    _, said = run("import", "-c", config(shared), "--from", yaml)
    assert said == "13 added, 0 changed, 0 removed, 0 as they were\n"
    # As APISIX has it: sealed by the keyring, the credential with its own id.
    assert "S3CRET" not in etcd.get("/consumers/jack")[0]
    assert json.loads(etcd.get("/consumers/jack/credentials/c1")[0])["id"] == "c1"
    try:
        shared.start()
        serves(shared)
        assert everything(shared) == before
        # Others see it at once.
        run("export", "-c", config(shared), "--to", jsonfile)
        changed = json.loads(open(jsonfile, encoding="utf-8").read())
        changed["routes"].append({"id": "more", "uri": "/more", "upstream_id": "u"})
        run("import", "-c", config(shared), "--merge", stdin=json.dumps({"routes": changed["routes"]}).encode())
        from wire import wait_until
        wait_until("the new route", lambda: shared.get("/more").status == 200)
        run("import", "-c", config(shared), "--from", jsonfile)
        wait_until("its end", lambda: shared.get("/more").status == 404)
    finally:
        shared.finish()

    other = Gateway(tmp_path / "other")
    os.makedirs(other.folder)
    run("import", "-c", config(other), "--from", jsonfile)
    other.start()
    serves(other)
    assert everything(other) == before
    other.finish()
    # As a file that is served from.
    plane = Gateway(tmp_path / "plane").config(deployment={"role": "data_plane", "role_data_plane": {"config_provider": "yaml"}})
    os.makedirs(plane.folder)
    os.rename(yaml, os.path.join(plane.folder, "apisix.yaml"))
    plane.start()
    serves(plane)
    plane.finish()


@pytest.mark.asan
def test_many_into_etcd(etcd, tmp_path):
    """More than the history is to have."""
    shared = Gateway(tmp_path / "shared").config(
        deployment={"role": "traditional", "role_traditional": {"config_provider": "etcd"}, "etcd": {"host": [etcd.url]}})
    os.makedirs(shared.folder)
    many = [{"id": str(i), "type": "roundrobin", "nodes": {"127.0.0.1:1": 1}} for i in range(5001)]
    _, said = run("import", "-c", config(shared), stdin=json.dumps({"upstreams": many}).encode())
    assert said.endswith("5001 added, 0 changed, 0 removed, 0 as they were\n")
    assert etcd.get("/upstreams/5000") is not None
    assert "kvs" not in etcd.call("kv/range", key=b64("/eclusa/history/"), range_end=b64("/eclusa/history0"))


@pytest.mark.asan
def test_replace_and_merge(gw, upstream, tmp_path):
    gw.route("/a", upstream, id="a")
    gw.route("/b", upstream, id="b")
    old = gw.admin("GET", "routes/a").json["value"]
    whole = json.dumps({"routes": [old, {"id": "c", "uri": "/c", "upstream": {"nodes": {upstream.node: 1}}}]}).encode()
    # A gateway that runs would not see it.
    _, said = run("import", "-c", config(gw), stdin=whole, code=1)
    assert "in use by another gateway" in said
    gw.stop()
    out, said = run("import", "-c", config(gw), "--dry-run", stdin=whole)
    assert sorted(out.split("\n")) == ["", "+ /routes/c", "- /routes/b"]
    _, said = run("import", "-c", config(gw), "--merge", stdin=whole)
    assert said == "1 added, 0 changed, 0 removed, 1 as they were\n"
    gw.start()
    assert [gw.get(path).status for path in ("/a", "/b", "/c")] == [200, 200, 200]
    gw.stop()
    _, said = run("import", "-c", config(gw), stdin=whole)
    assert said == "0 added, 0 changed, 1 removed, 2 as they were\n"
    gw.start()
    assert [gw.get(path).status for path in ("/a", "/b", "/c")] == [200, 404, 200]
    new = gw.admin("GET", "routes/c").json["value"]
    assert new["create_time"] == new["update_time"] > 1e9 and gw.admin("GET", "routes/a").json["value"] == old
    # One revision for all of it, and the history says where it came from.
    assert gw.admin("GET", "routes/c").json["modifiedIndex"] > 0


@pytest.mark.asan
def test_faults(gw, upstream, tmp_path):
    """All are named, and nothing is written."""
    gw.route("/a", upstream, id="a")
    gw.stop()
    node = {"nodes": {upstream.node: 1}}
    bad = {"routes": [{"id": "1", "uri": "/x", "upstream_id": "none"}, {"id": "2", "upstream": node}, {"id": "3", "uri": 5},
                      {"id": "good", "uri": "/good", "upstream": node}, {"id": "5", "uri": "/", "plugins": {"unknown": {}}}],
           "consumers": [{"username": "jack", "plugins": {"key-auth": {"key": "same"}}, "group_id": "none"},
                         {"username": "jill", "plugins": {"key-auth": {"key": "same"}}},
                         {"id": "nobody/credentials/c", "plugins": {"key-auth": {"key": "of nobody"}}}],
           "secrets": [{"id": "nowhere/1"}], "nonsense": [{"id": "1"}]}
    _, said = run("import", "-c", config(gw), stdin=json.dumps(bad).encode(), code=1)
    for line in ("/routes/1: upstream_id: there is no upstream none", "/routes/2: invalid configuration: ",
                 "/routes/3: invalid configuration: property \"uri\" validation failed", "/routes/5: unknown plugin [unknown]",
                 "/consumers/jill: duplicate key of plugin key-auth found with consumer: jack",
                 "/consumers/jack: group_id: there is no consumer group none",
                 "/consumers/nobody/credentials/c: there is no consumer nobody", "/secrets/nowhere/1: invalid secret manager",
                 "/nonsense/1: there are no documents of this kind", "9 faults: nothing was written"):
        assert line in said, (line, said)
    for text in (b"", b"[]", b"{", b"\xff", b'{"routes": [5, null, []]}'):
        run("import", "-c", config(gw), stdin=text, code=1)
    run("import", "-c", config(gw), "--from", str(tmp_path / "none.yaml"), code=1)
    run("export", "-c", config(gw), "--to", str(tmp_path / "none" / "x"), code=1)
    run("export", "-c", config(gw), "--nonsense", code=2)
    run("import", "-c", config(gw), "extra", code=2)
    (tmp_path / "half.yaml").write_text("routes: []\n")
    _, said = run("import", "-c", config(gw), "--from", str(tmp_path / "half.yaml"), code=1)
    assert "#END" in said
    gw.start()
    assert (gw.get("/a").status, gw.get("/good").status) == (200, 404)


def test_sealed(gw, upstream, tmp_path):
    """Secrets as they are stored are of use to a store with the same key only."""
    gw.put("consumers", {"username": "jack", "plugins": {"key-auth": {"key": "S3CRET"}}})
    gw.route("/key", upstream, {"key-auth": {}})
    out, _ = run("export", "-c", config(gw), "--sealed")
    assert "S3CRET" not in out and "{eclusa:1}" in out
    other = Gateway(tmp_path / "other")
    os.makedirs(other.folder)
    _, said = run("import", "-c", config(other), stdin=out.encode(), code=1)
    assert "/consumers/jack: its secrets were sealed with another key" in said
    gw.stop()
    run("import", "-c", config(gw), stdin=b"{}")
    run("import", "-c", config(gw), stdin=out.encode())
    gw.start()
    assert gw.get("/key", {"apikey": "S3CRET"}).status == 200
