# SPDX-License-Identifier: Apache-2.0
"""Secrets at rest: sealed in the store, open where they are used, and in no log whatever goes wrong."""
import base64
import contextlib
import json
import os
import re
import sqlite3
import stat
import subprocess

import pytest

import wire
from gw import KEY, Gateway

OLD, NEW = "edd1c9f0985e76a2", "0123456789abcdef0123456789ABCDEF"
MARK = "{eclusa:1}"


@contextlib.contextmanager
def store(gw):
    """The documents of a gateway that has stopped: get(key), put(key, value)."""
    class Store:
        def get(self, key):
            return db.execute("SELECT value FROM document WHERE key = ?", (key,)).fetchone()[0]

        def put(self, key, value):
            text = value if isinstance(value, str) else json.dumps(value)
            changed = db.execute("UPDATE document SET value = ? WHERE key = ?", (text, key)).rowcount
            assert changed == 1, key
    assert gw.process is None
    with contextlib.closing(sqlite3.connect(os.path.join(gw.data_dir, "eclusa.db"))) as db, db:
        yield Store()


def stored(gw, key):
    with store(gw) as s:
        return json.loads(s.get(key))


def aes(text, key):
    """As `openssl enc` does it, which is what APISIX does."""
    command = ["openssl", "enc", f"-aes-{len(key) * 8}-cbc", "-K", key.encode().hex(), "-iv", key[:16].encode().hex()]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=True, timeout=10)
    return base64.b64encode(done.stdout).decode()


def consumer(gw, name, key=None, password=None):
    plugins = {"key-auth": {"key": key}} if key is not None else {}
    if password is not None:
        plugins["basic-auth"] = {"username": name, "password": password}
    return gw.put("consumers", {"username": name, "plugins": plugins})


def basic(name, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def routes(gw, upstream):
    gw.route("/key", upstream, {"key-auth": {}})
    gw.route("/basic", upstream, {"basic-auth": {}})


def grep(folder, *texts):
    words = [word for text in texts for word in ("-e", text)]
    return subprocess.run(["grep", "-rlaF", *words, folder], capture_output=True, check=False).stdout.decode().split()


@pytest.mark.quick
@pytest.mark.asan
def test_sealed_with_a_key_of_our_own(gw, upstream, certs):
    routes(gw, upstream)
    consumer(gw, "jack", key="S3CRET-key", password="S3CRET-password")
    pems = {name: open(certs[name], encoding="ascii").read() for name in ("cert", "key")}
    tls = {"client_cert": pems["cert"], "client_key": pems["key"]}
    nodes = {"scheme": "https", "nodes": {upstream.node: 1}, "tls": tls}
    gw.put("upstreams/1", nodes)
    gw.put("services/1", {"upstream": nodes})
    gw.put("routes/tls", {"uri": "/tls", "upstream": nodes})
    documents = [f"{kind}/{item['key'].rsplit('/', 1)[1]}" for kind in ("upstreams", "services", "routes", "consumers")
                 for item in gw.admin("GET", kind).json["list"]]
    before = {path: gw.admin("GET", path).json for path in documents}
    for _ in range(2):
        assert gw.get("/key", {"apikey": "S3CRET-key"}).status == 200
        assert gw.get("/basic", basic("jack", "S3CRET-password")).status == 200
        assert gw.get("/basic", basic("jack", "S3CRET-key")).status == 401
        assert {path: gw.admin("GET", path).json for path in documents} == before
        assert before["upstreams/1"]["value"]["tls"] == tls
        gw.restart()
    gw.stop()
    assert grep(gw.folder, "S3CRET", *pems["key"].split("\n")[1:3]) == []
    plugins = stored(gw, "/consumers/jack")["plugins"]
    sealed = [plugins["key-auth"]["key"], plugins["basic-auth"]["password"], stored(gw, "/upstreams/1")["tls"]["client_key"],
              stored(gw, "/services/1")["upstream"]["tls"]["client_key"], stored(gw, "/routes/tls")["upstream"]["tls"]["client_key"]]
    assert all(text.startswith(MARK) for text in sealed) and len(set(sealed)) == len(sealed)
    assert plugins["basic-auth"]["username"] == "jack" and stored(gw, "/upstreams/1")["tls"]["client_cert"] == pems["cert"]
    file = os.path.join(gw.data_dir, "secret.key")
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert grep(gw.folder, open(file, encoding="ascii").read().strip()) == [file]


@pytest.mark.asan
def test_sealed_as_apisix_does(make_gw, upstream):
    """Both ways: what we write it can read, what it has written we can."""
    gw = make_gw(apisix={"data_encryption": {"enable_encrypt_fields": True, "keyring": [OLD]}})
    routes(gw, upstream)
    consumer(gw, "foo", password="bar")
    consumer(gw, "jack", key="key of jack")
    assert gw.admin("GET", "consumers/foo").json["value"]["plugins"]["basic-auth"]["password"] == "bar"
    gw.stop()
    assert not os.path.exists(os.path.join(gw.data_dir, "secret.key"))
    with store(gw) as s:
        assert json.loads(s.get("/consumers/foo"))["plugins"]["basic-auth"]["password"] == "77+NmbYqNfN+oLm0aX5akg=="
        value = json.loads(s.get("/consumers/jack"))
        assert value["plugins"]["key-auth"]["key"] == aes("key of jack", OLD)
        value["plugins"]["key-auth"]["key"] = aes("another key", NEW)
        s.put("/consumers/jack", value)
    gw.config(apisix={"data_encryption": {"keyring": [OLD, NEW]}}).start()
    assert gw.get("/key", {"apikey": "another key"}).status == 200
    assert gw.get("/key", {"apikey": "key of jack"}).status == 401
    assert gw.get("/basic", basic("foo", "bar")).status == 200


def test_keyring_is_changed(make_gw, upstream):
    def ring(*keys):
        gw.config(apisix={"data_encryption": {"keyring": list(keys)}}).restart()
    gw = make_gw()
    routes(gw, upstream)
    consumer(gw, "own", key="key own")
    ring(OLD)
    consumer(gw, "old", key="key old")
    ring(NEW, OLD)
    consumer(gw, "new", key="key new")
    for name in ("own", "old", "new"):
        assert gw.get("/key", {"apikey": f"key {name}"}).status == 200, name
        assert gw.admin("GET", f"consumers/{name}").json["value"]["plugins"]["key-auth"]["key"] == f"key {name}"
    assert "keyring opens" not in gw.log and "kept out" not in gw.log
    gw.stop()
    keys = {name: stored(gw, f"/consumers/{name}")["plugins"]["key-auth"]["key"] for name in ("own", "old", "new")}
    assert keys["own"].startswith(MARK) and keys["old"] == aes("key old", OLD) and keys["new"] == aes("key new", NEW)
    gw.start()
    # Off: what is written is plain, what is there is opened.
    gw.config(apisix={"data_encryption": {"enable_encrypt_fields": False}}).restart()
    consumer(gw, "plain", key="key plain")
    for name in ("own", "old", "new", "plain"):
        assert gw.get("/key", {"apikey": f"key {name}"}).status == 200, name
    gw.stop()
    assert stored(gw, "/consumers/plain")["plugins"]["key-auth"]["key"] == "key plain"
    gw.start()
    # The old key is gone: APISIX uses what it cannot open as it is, and so do we, but say so.
    gw.config(apisix={"data_encryption": {"enable_encrypt_fields": True}})
    ring(NEW)
    assert gw.get("/key", {"apikey": "key old"}).status == 401
    assert gw.get("/key", {"apikey": keys["old"]}).status == 200
    complaints = re.findall(r"(/\S+): no key of \S+keyring opens 1 of its secrets", gw.log)
    assert complaints == ["/consumers/old", "/consumers/plain"]
    assert keys["old"] not in gw.log and "key plain" not in gw.log


def test_older_file_without_seals(gw, upstream):
    routes(gw, upstream)
    consumer(gw, "jack", key="x")
    gw.stop()
    with store(gw) as s:
        value = json.loads(s.get("/consumers/jack"))
        value["plugins"]["key-auth"]["key"] = "key from before"
        s.put("/consumers/jack", value)
    gw.start()
    assert gw.get("/key", {"apikey": "key from before"}).status == 200
    assert gw.admin("GET", "consumers/jack").json["value"] == value
    consumer(gw, "jack", key="key from before")
    assert gw.get("/key", {"apikey": "key from before"}).status == 200
    gw.stop()
    assert stored(gw, "/consumers/jack")["plugins"]["key-auth"]["key"].startswith(MARK)


@pytest.mark.asan
def test_lost_key_closes(gw, upstream):
    """Nobody gets in with what is stored; the document can be written anew, or the key be put back."""
    routes(gw, upstream)
    consumer(gw, "jack", key="key of jack")
    consumer(gw, "jill", key="key of jill")
    gw.stop()
    file = os.path.join(gw.data_dir, "secret.key")
    os.rename(file, file + ".lost")
    sealed = stored(gw, "/consumers/jack")["plugins"]["key-auth"]["key"]
    gw.start()
    for key in ("key of jack", sealed):
        assert gw.get("/key", {"apikey": key}).status == 401
    assert gw.log.count("/consumers/jack is kept out: 1 of its secrets cannot be opened") == 1
    assert sealed not in gw.log
    assert gw.admin("GET", "consumers/jack").json["value"]["plugins"]["key-auth"]["key"] == sealed
    assert gw.admin("GET", "consumers").json["total"] == 2
    consumer(gw, "jill", key="new key of jill")
    assert gw.get("/key", {"apikey": "new key of jill"}).status == 200
    gw.stop()
    os.rename(file + ".lost", file)
    gw.start()
    assert gw.get("/key", {"apikey": "key of jack"}).status == 200
    assert gw.get("/key", {"apikey": "new key of jill"}).status == 401, "sealed with the other key"


@pytest.mark.parametrize("content", ["", "too short", "x" * 64])
def test_bad_key_file_stops_the_start(tmp_path, content):
    gw = Gateway(tmp_path)
    command = gw.command("run")
    with open(os.path.join(gw.data_dir, "secret.key"), "w", encoding="ascii") as f:
        f.write(content)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=10, check=False)
    assert done.returncode != 0 and b"secret.key does not hold a key" in done.stderr
    assert not content or content.encode() not in done.stderr + done.stdout


# ---- Logs

ODD = ["S3CRET", "S3CRET with spaces", 'S3CRET"quoted"\\', "S3CRET\nsecond line", "S3CRET %s %n %x", "{eclusa:1}S3CRET",
       "{eclusa:0}S3CRET", "schl\u00fcssel S3CRET \U0001f511", "S3CRET" * 400, "$(S3CRET)", "\u2028S3CRET", '{"S3CRET":1}']
KEYED = {"username": "jack", "plugins": {"key-auth": {"key": "S3CRET"}}}


def bad_writes():
    """(method, path, body): each refused, each with a secret inside."""
    auth = KEYED["plugins"]
    for conf in ("S3CRET", ["S3CRET"], {"key": ["S3CRET"]}, {"key": {"S3CRET": 1}}, {"keys": "S3CRET"}, 1, None):
        yield "PUT", "consumers", {"username": "bad", "plugins": {"key-auth": conf}}
    yield "PUT", "consumers", {"username": "bad", "plugins": {"basic-auth": {"password": "S3CRET"}}}
    yield "PUT", "consumers", {"username": "bad", "plugins": {"no-such": {"key": "S3CRET"}}}
    yield "PUT", "consumers", {"username": "bad", "plugins": "S3CRET"}
    yield "PUT", "consumers", {"username": "a b", "plugins": auth}
    yield "PUT", "consumers", {"username": "bad", "plugins": auth, "extra": "S3CRET"}
    yield "PUT", "consumers", {"username": "other", "plugins": auth}                # has it already: jack
    yield "PUT", "consumers/other", KEYED
    yield "PUT", "consumers", {"plugins": auth}
    yield "POST", "consumers", KEYED
    yield "PUT", "nonsense/1", KEYED
    yield "PUT", "consumers", {**KEYED, "create_time": 1}
    yield "PUT", "consumers?ttl=S3CRET", KEYED
    for text in (json.dumps(KEYED)[:-1], json.dumps(KEYED) + "}", '{"S3CRET":', "S3CRET", '"S3CRET"', '["S3CRET"]',
                 json.dumps(KEYED).replace("S3CRET", "S3CRET\\u0000"), json.dumps(KEYED).replace("S3CRET", "S3CRET\x01"),
                 '{"username":"a","username":"S3CRET","plugins":{"key-auth":"S3CRET"}}'):
        yield "PUT", "consumers", text
    yield "PUT", "consumers", json.dumps(KEYED).replace("S3CRET", "S3CRET\xff").encode("latin-1")
    pem = "-----BEGIN PRIVATE KEY-----\nS3CRET\n" + "S3CRET" * 20
    for tls in ({"client_cert": "c" * 128, "client_key": pem}, {"client_key": pem}, {"client_cert": "c" * 128, "client_key": 7},
                {"client_cert": "S3CRET" * 30, "client_key": "S3CRET"}):
        yield "PUT", "upstreams/1", {"type": "roundrobin", "nodes": {"127.0.0.1:1": 1}, "tls": tls}
    for conf in ({"count": 1, "time_window": 1, "policy": "redis", "redis_host": "127.0.0.1", "redis_password": "S3CRET"},
                 {"count": 0, "time_window": 1, "redis_password": "S3CRET"}, {"redis_password": ["S3CRET"]}):
        yield "PUT", "routes/bad", {"uri": "/", "plugins": {"limit-count": conf}}
    yield "POST", "schema/validate/consumers", {"username": "a b", "plugins": auth}


BAD_STORED = ["S3CRET", '{"S3CRET', '["S3CRET"]', {**KEYED, "username": "a b"}, {"plugins": "S3CRET"},
              *({"username": "jill", "plugins": plugins} for plugins in (
                  {"key-auth": "S3CRET"}, {"key-auth": ["S3CRET"]}, {"key-auth": {"key": ["S3CRET"]}}, {"key-auth": {"keys": "S3CRET"}},
                  {"basic-auth": {"password": "S3CRET"}}, {"no-such": "S3CRET"}, {"limit-count": {"redis_password": "S3CRET"}}))]


@pytest.mark.asan
@pytest.mark.seconds(90)
def test_nothing_secret_is_logged(make_gw, upstream):
    gw = make_gw(nginx_config={"error_log_level": "debug"})
    routes(gw, upstream)
    for i, secret in enumerate(ODD):
        consumer(gw, f"odd{i}", key=secret, password=secret)
        plugins = gw.admin("GET", f"consumers/odd{i}").json["value"]["plugins"]
        assert plugins["key-auth"]["key"] == plugins["basic-auth"]["password"] == secret
    gw.restart()
    for i, secret in enumerate(ODD):
        plugins = gw.admin("GET", f"consumers/odd{i}").json["value"]["plugins"]
        assert plugins["key-auth"]["key"] == plugins["basic-auth"]["password"] == secret
    gw.delete("consumers/odd0")
    gw.put("consumers", KEYED)
    for i in range(len(BAD_STORED)):
        consumer(gw, f"bad{i}")
    echoed = 0
    for method, path, body in bad_writes():
        reply = gw.admin(method, path, body)
        assert reply.status in (400, 404, 405), (path, body, reply)
        echoed += b"S3CRET" in reply.body
    assert echoed > 5, "the client is told"
    for secret in ("S3CRET", "S3CRET" * 3):
        for headers in ({}, {"Cookie": f"x_api_key={secret}"}):
            assert gw.admin("GET", "routes", key=None if headers else secret, headers=headers).status == 401
        assert gw.admin("GET", f"routes?api_key={secret}", key=None).status == 401
    # Of the data side: credentials that are wrong, and more or less than one.
    for headers in ({"apikey": "S3CRET-wrong"}, [("apikey", "S3CRET-1"), ("apikey", "S3CRET-2")], {"apikey": "S3CRET" * 1000}):
        assert gw.get("/key", headers).status == 401
    for value in ("S3CRET", "Basic S3CRET", "Basic", "Bearer S3CRET", basic("jack", "S3CRET-wrong")["Authorization"],
                  basic("odd1", "S3CRET-wrong")["Authorization"], basic("S3CRET", "S3CRET")["Authorization"], "Basic " + "A" * 4001):
        assert gw.get("/basic", {"Authorization": value}).status == 401, value
    with gw.connect() as w:
        w.send(b"GET /key HTTP/1.1\r\nHost: a\r\napikey: S3CRET\x00\r\n\r\n")
        assert w.response().status == 400
    gw.wait_access_log(10)
    gw.stop()
    assert grep(gw.folder, "S3CRET", base64.b64encode(b"S3CRET").decode()[:7]) == []
    with store(gw) as s:
        broken = [f"/consumers/bad{i}" for i in range(len(BAD_STORED))]
        for key, value in zip(broken, BAD_STORED):
            s.put(key, value)
    gw.start()
    assert gw.get("/key", {"apikey": "S3CRET"}).status == 200
    assert [key for key in broken if not re.search(key + r"\b", gw.log)] == [], "all are complained about"
    assert "S3CRET" not in gw.log


def test_query_is_not_in_the_error_log(gw, upstream):
    """The access log has the request line, as nginx's does."""
    routes(gw, upstream)
    assert gw.get("/key?apikey=S3CRET").status == 401
    gw.wait_access_log(1)
    gw.wait_log("invalid api key")
    assert "S3CRET" not in gw.log


@pytest.mark.parametrize("encryption", [{"keyring": ["S3CRET-too-short"[:15]]}, {"keyring": ["S3CRET" * 10]}, {"keyring": {"S3CRET": 1}},
                                        {"keyring": [["S3CRET"]]}, {"enable_encrypt_fields": "S3CRET"}, {"S3CRET": ["S3CRET"]}])
def test_keyring_is_not_in_messages(tmp_path, encryption):
    gw = Gateway(tmp_path).config(apisix={"data_encryption": encryption})
    done = subprocess.run(gw.command("test"), cwd=tmp_path, capture_output=True, timeout=10, check=False)
    if "S3CRET" in encryption:                          # a key's name is no secret: it warns
        assert done.returncode == 0 and b"apisix.data_encryption.S3CRET is not a known key" in done.stderr
        return
    assert done.returncode != 0 and b"data_encryption" in done.stderr
    assert b"S3CRET" not in done.stderr + done.stdout


def test_two_starts_make_one_key(tmp_path):
    """Whoever comes second waits at the store's lock or ends: it never makes a second key."""
    gateways = [Gateway(tmp_path / name) for name in "ab"]
    for gw in gateways:
        os.makedirs(gw.folder)
        gw.config(eclusa={"data_dir": str(tmp_path / "data")})
    done = [subprocess.Popen(gw.command("run"), cwd=gw.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for gw in gateways]
    wire.wait_until("one to end", lambda: any(p.poll() is not None for p in done))
    alive = next(i for i, p in enumerate(done) if p.poll() is None)
    wire.wait_until("the other to serve", lambda: _serves(gateways[alive]))
    assert os.path.exists(tmp_path / "data" / "secret.key")
    done[alive].terminate()
    assert done[alive].wait(20) == 0


def _serves(gw):
    try:
        return gw.admin("GET", "routes", key=KEY).status == 200
    except OSError:
        return False
