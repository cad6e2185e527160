# SPDX-License-Identifier: Apache-2.0
"""Configuration in a real etcd, in APISIX's layout."""
import json
import os
import re
import ssl
import subprocess
import threading
import time

import pytest

import wire
from etcd import Etcd, Relay, b64
from gw import KEY, LIVE

pytestmark = pytest.mark.seconds(60)
AWAY = {"error_msg": "has no healthy etcd endpoint available"}


@pytest.fixture
def make_etcd(tmp_path):
    members = []

    def make(**more):
        members.append(Etcd(tmp_path / f"etcd{len(members)}", **more))
        return members[-1].start()
    yield make
    for member in members:
        member.kill()


@pytest.fixture
def etcd(make_etcd):
    return make_etcd()


def on(*hosts, **more):
    """The sections of config.yaml for these endpoints."""
    return {"deployment": {"role": "traditional", "role_traditional": {"config_provider": "etcd"},
                           "etcd": {"host": list(hosts), "prefix": "/apisix", "resync_delay": 1, **more}}}


@pytest.fixture
def gw(make_gw, etcd):
    return make_gw(**on(etcd.url))


def route(uri, upstream, **more):
    return {"uri": uri, "upstream": {"type": "roundrobin", "nodes": {upstream.node: 1}}, **more}


def status_of(gw, path):
    return gw.get(path).status


def served(gw, path, status=200):
    """Until one thread answers so; then the others have a moment to follow, as after a write of our own."""
    wire.wait_until(f"{path} to answer {status}", lambda: status_of(gw, path) == status)
    gw.live_at = time.monotonic() + LIVE


def logged(gw, text, times=1):
    wire.wait_until(f"{text!r} in the log", lambda: gw.log.count(text) >= times)


# ---- APISIX's layout


@pytest.mark.quick
def test_keys_written_by_hand_serve(etcd, make_gw, upstream):
    for kind in ("routes", "upstreams", "services", "consumers", "plugins", "ssls", "global_rules"):
        etcd.put(f"/{kind}/", "init_dir")               # as `apisix init_etcd` leaves them
    etcd.put("/upstreams/1", {"id": "1", "type": "roundrobin", "scheme": "http", "pass_host": "pass", "hash_on": "vars",
                              "nodes": {upstream.node: 1}, "create_time": 1700000000, "update_time": 1700000001})
    etcd.put("/consumers/jack", {"username": "jack", "create_time": 1700000000, "update_time": 1700000000,
                                 "plugins": {"key-auth": {"key": "jacks-key"}}})
    etcd.put("/consumers/jack/credentials/c1", {"id": "c1", "plugins": {"key-auth": {"key": "other"}}})
    etcd.put("/routes/1", {"id": "1", "uri": "/a", "upstream_id": "1", "priority": 0, "status": 1,
                           "plugins": {"key-auth": {}}, "create_time": 1700000000, "update_time": 1700000001})
    etcd.put("/protos/1", {"id": "1", "content": "syntax = \"proto3\";"})
    gw = make_gw(**on(etcd.url))
    assert status_of(gw, "/a") == 401
    assert gw.get("/a", {"apikey": "jacks-key"}).status == 200
    # And those that come while it runs.
    etcd.put("/routes/2", route("/b", upstream))
    served(gw, "/b")
    etcd.put("/routes/2", route("/c", upstream))
    served(gw, "/c")
    assert status_of(gw, "/b") == 404
    etcd.delete("/routes/2")
    served(gw, "/c", 404)
    item = gw.admin("GET", "routes/1").json
    assert item["key"] == "/apisix/routes/1"
    assert item["value"]["create_time"] == 1700000000
    assert (item["createdIndex"], item["modifiedIndex"]) == etcd.get("/routes/1")[1:]


@pytest.mark.quick
def test_admin_writes_as_apisix_does(gw, etcd, upstream):
    before = int(time.time())
    assert gw.admin("PUT", "routes/r1", route("/a", upstream)).status == 201
    value, created, modified = etcd.get("/routes/r1")
    value = json.loads(value)
    assert value["id"] == "r1" and value["uri"] == "/a" and created == modified
    assert before <= value["create_time"] <= value["update_time"] <= time.time()
    assert gw.admin("PUT", "routes/r1", route("/b", upstream)).status == 200
    again, kept, changed = etcd.get("/routes/r1")
    assert kept == created and changed > modified
    assert json.loads(again)["create_time"] == value["create_time"]

    made = gw.admin("POST", "routes", route("/posted", upstream))
    assert made.status == 201
    route_id = made.json["value"]["id"]
    assert re.fullmatch(r"\d{20}", route_id)
    assert etcd.get("/gen_id")[0] == "1"
    assert int(route_id) == etcd.get("/gen_id")[2]
    assert json.loads(etcd.get(f"/routes/{route_id}")[0])["id"] == route_id

    listed = gw.admin("GET", "routes").json
    assert listed["total"] == 2 and [i["value"]["uri"] for i in listed["list"]] == ["/posted", "/b"]
    assert gw.admin("DELETE", "routes/r1").json == {"key": "/apisix/routes/r1", "deleted": "1"}
    assert etcd.get("/routes/r1") is None
    assert gw.admin("DELETE", "routes/r1").status == 404
    assert gw.admin("GET", "routes/r1").status == 404


def test_secrets_are_sealed_with_apisix_keys(gw, etcd):
    gw.put("consumers", {"username": "jack", "plugins": {"basic-auth": {"username": "jack", "password": "open-sesame"}}})
    assert "open-sesame" not in etcd.get("/consumers/jack")[0]
    assert gw.admin("GET", "consumers/jack").json["value"]["plugins"]["basic-auth"]["password"] == "open-sesame"
    gw.wait_log("known to everybody")


def test_one_bad_item_takes_nothing_with_it(etcd, make_gw, upstream):
    etcd.put("/routes/bad", {"id": "bad", "uri": 7})
    etcd.put("/routes/text", "not JSON")
    etcd.put("/routes/good", route("/good", upstream))
    etcd.put("/routes/later", route("/later", upstream))
    gw = make_gw(**on(etcd.url))
    served(gw, "/good")
    logged(gw, "/routes/bad is kept out")
    logged(gw, "/routes/text in the store is no JSON object")
    # While it runs, what was good of an item stays in service.
    etcd.put("/routes/later", {"id": "later", "uri": "/later", "no_such_field": 1})
    etcd.put("/routes/next", route("/next", upstream))
    served(gw, "/next")
    logged(gw, "/routes/later is kept out")
    assert status_of(gw, "/later") == 200
    etcd.put("/routes/bad", route("/mended", upstream))
    served(gw, "/mended")


def test_unknown_kinds_are_ignored_quietly(etcd, make_gw, upstream):
    gw = make_gw(nginx_config={"error_log_level": "info"}, **on(etcd.url))
    for i in range(3):
        etcd.put(f"/things/{i}", {"server_port": 9100})
    etcd.put("/routes/1", route("/a", upstream))
    served(gw, "/a")
    assert gw.log.count("/things in the store is of no use here") == 1


# ---- Several gateways


def test_two_gateways_see_each_other(make_gw, etcd, make_upstream):
    one, two = make_gw(**on(etcd.url)), make_gw(**on(etcd.url))
    old, new = make_upstream(), make_upstream()
    old.on("*").reply(200, "old")
    new.on("*").reply(200, "new")
    late = []
    for turn in range(40):
        writer, reader = (one, two) if turn % 2 else (two, one)
        upstream = new if turn % 4 < 2 else old
        writer.put("routes/1", route("/a", upstream, desc=str(turn)))
        began = time.monotonic()
        text = "new" if upstream is new else "old"
        while True:
            with wire.connect(reader.port) as w:
                w.request("GET", "/a")
                if w.response().text == text:
                    break
            assert time.monotonic() - began < 5
        late.append(time.monotonic() - began)
    late.sort()
    print(f"an outside write is served after {late[20] * 1000:.1f} ms (median), {late[-1] * 1000:.1f} ms (worst)")
    assert late[20] < LIVE


def test_a_storm_from_two_sides_ends_alike(make_gw, etcd, upstream):
    """Both write the same few keys as fast as they can: at the end both serve what etcd has."""
    gateways = [make_gw(**on(etcd.url)) for _ in range(2)]

    def write(gw, seed):
        with wire.connect(gw.admin_port) as w:
            for n in range(150):
                key = (n * 7 + seed) % 10
                if n % 5 == 4:
                    w.request("DELETE", f"/apisix/admin/routes/{key}", {"X-API-KEY": KEY})
                else:
                    w.request("PUT", f"/apisix/admin/routes/{key}", {"X-API-KEY": KEY},
                              route(f"/{key}/{seed}-{n}", upstream))
                assert w.response().status in (200, 201, 404)

    threads = [threading.Thread(target=write, args=(gw, i)) for i, gw in enumerate(gateways)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    etcd.put("/routes/end", route("/end", upstream))
    stored = [etcd.get(f"/routes/{key}") for key in range(10)]
    uris = {json.loads(item[0])["uri"] for item in stored if item}
    assert uris
    every = {f"/{(n * 7 + s) % 10}/{s}-{n}" for n in range(150) for s in range(2) if n % 5 != 4}
    for gw in gateways:
        served(gw, "/end")
        for uri in every:
            assert status_of(gw, uri) == (200 if uri in uris else 404), uri


# ---- etcd goes away


def test_killed_and_back(gw, etcd, upstream):
    gw.put("routes/1", route("/a", upstream))
    served(gw, "/a")
    etcd.kill()
    for _ in range(5):
        reply = gw.admin("PUT", "routes/2", route("/b", upstream))
        assert (reply.status, reply.json) == (503, AWAY)
    for method, path in (("GET", "routes/1"), ("GET", "routes"), ("DELETE", "routes/1"), ("POST", "routes")):
        reply = gw.admin(method, path, route("/c", upstream) if method == "POST" else None)
        assert (reply.status, reply.json) == (503, AWAY), (method, path)
    assert status_of(gw, "/a") == 200 and status_of(gw, "/b") == 404
    logged(gw, "The last good configuration stays in service")
    etcd.start()
    assert etcd.get("/routes/2") is None and etcd.get("/routes/1"), "a write that failed did not happen"
    etcd.put("/routes/3", route("/d", upstream))
    served(gw, "/d")
    assert status_of(gw, "/a") == 200
    logged(gw, "etcd is there again")
    gw.put("routes/2", route("/b", upstream))
    assert gw.get("/b").status == 200
    assert gw.log.count("stays in service") == gw.log.count("there again") == 1
    gw.stop()
    assert gw.log.count("stays in service") == 1


def test_a_write_without_an_answer_happened_or_not(make_gw, etcd, upstream):
    """Connections are cut in the middle of writes; what was said to be written is there, in etcd and in service."""
    relay = Relay(etcd.port)
    gw = make_gw(**on(relay.url))
    acked, failed, stop = {}, set(), threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            n += 1
            reply = gw.admin("PUT", f"routes/{n}", route(f"/{n}", upstream))
            if reply.status == 201:
                acked[n] = True
            else:
                assert reply.status == 503
                assert reply.json == AWAY or "the change was made or not" in reply.json["error_msg"]
                failed.add(n)

    writer = threading.Thread(target=write)
    writer.start()
    for turn in range(4):
        wire.wait_until("writes", lambda t=turn: len(acked) > 20 * (t + 1))
        relay.cut()
        wire.wait_until("a failed write", lambda t=turn: len(failed) > t)
        relay.mend()
    stop.set()
    writer.join()
    gw.put("routes/end", route("/end", upstream))
    etcd.put("/routes/last", route("/last", upstream))
    served(gw, "/last")
    for n in list(acked) + list(failed):
        there = etcd.get(f"/routes/{n}") is not None
        assert there or n in failed, n
        assert status_of(gw, f"/{n}") == (200 if there else 404), n
    relay.cut()


def test_compacted_while_cut_off(make_gw, etcd, upstream):
    relay = Relay(etcd.port)
    gw = make_gw(**on(relay.url))
    for key in ("stays", "goes", "changes"):
        gw.put(f"routes/{key}", route(f"/{key}", upstream))
    served(gw, "/goes")
    relay.cut()
    logged(gw, "The last good configuration stays in service")
    etcd.delete("/routes/goes")
    etcd.put("/routes/changes", route("/changed", upstream))
    etcd.put("/routes/comes", route("/comes", upstream))
    for i in range(20):
        revision = etcd.put("/routes/busy", route(f"/busy{i}", upstream))
    etcd.compact(revision)
    assert status_of(gw, "/goes") == 200
    relay.mend()
    served(gw, "/comes")
    assert [status_of(gw, p) for p in ("/stays", "/goes", "/changes", "/changed", "/busy18", "/busy19")] == \
        [200, 404, 404, 200, 404, 200]
    gw.wait_log("etcd is there again")
    assert "5 keys had changed" not in gw.log
    assert re.search(r"etcd is there again after \d+ ms: revision \d+, 4 keys had changed", gw.log)
    relay.cut()


def test_compacted_behind_a_stopped_gateway(gw, etcd, upstream):
    """The copy's revision is compacted away between two runs."""
    gw.put("routes/goes", route("/goes", upstream))
    gw.put("routes/stays", route("/stays", upstream))
    gw.stop()
    etcd.delete("/routes/goes")
    etcd.compact(etcd.put("/routes/comes", route("/comes", upstream)))
    gw.start()
    assert [status_of(gw, p) for p in ("/goes", "/stays", "/comes")] == [404, 200, 200]


def test_rebuilt_empty(gw, etcd, upstream):
    for i in range(20):
        gw.put(f"routes/{i}", route(f"/{i}", upstream))
    served(gw, "/19")
    etcd.rebuild()
    served(gw, "/19", 404)
    assert {status_of(gw, f"/{i}") for i in range(20)} == {404}
    logged(gw, "it was rebuilt")
    # Lower revisions than those known from before count all the same.
    etcd.put("/routes/7", route("/new", upstream))
    served(gw, "/new")
    gw.put("routes/8", route("/mine", upstream))
    assert gw.get("/mine").status == 200
    etcd.delete("/routes/8")
    served(gw, "/mine", 404)


# ---- The local copy


def test_starts_from_the_local_copy(gw, etcd, upstream):
    gw.put("consumers", {"username": "jack", "plugins": {"key-auth": {"key": "jacks-key"}}})
    gw.put("routes/1", route("/a", upstream, plugins={"key-auth": {}}))
    etcd.put("/routes/2", route("/b", upstream))
    served(gw, "/b")
    assert oct(os.stat(os.path.join(gw.data_dir, "etcd.db")).st_mode & 0o777) == "0o600"
    gw.kill()
    etcd.kill()
    gw.start()
    assert gw.get("/a", {"apikey": "jacks-key"}).status == 200
    assert status_of(gw, "/a") == 401 and status_of(gw, "/b") == 200
    gw.wait_log("Serving from the local copy")
    assert gw.admin("PUT", "routes/3", route("/c", upstream)).status == 503
    etcd.start()
    etcd.delete("/routes/2")
    served(gw, "/b", 404)
    assert gw.get("/a", {"apikey": "jacks-key"}).status == 200
    gw.put("routes/3", route("/c", upstream))
    gw.restart()
    assert status_of(gw, "/c") == 200 and gw.log.count("Serving from the local copy") == 1


def test_no_start_without_etcd_or_copy(make_gw, etcd, upstream):
    gw = make_gw(**on(etcd.url))
    gw.put("routes/1", route("/a", upstream))
    gw.stop()
    etcd.kill()
    # Another etcd's copy is not served.
    for change in ({"prefix": "/other"}, {"host": ["http://127.0.0.1:1"]}):
        gw.config(deployment={"etcd": {**on(etcd.url)["deployment"]["etcd"], **change}})
        done = subprocess.run(gw.command("run"), cwd=gw.folder, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode != 0 and "has no healthy etcd endpoint available" in done.stderr


# ---- Ways to etcd


def test_next_endpoint_takes_over(make_gw, etcd, upstream):
    first, second = Relay(etcd.port), Relay(etcd.port)
    gw = make_gw(**on("http://127.0.0.1:1", first.url, second.url))

    def write(uri):
        """Once more when the cut fell between the write and its answer: then nobody can know."""
        reply = gw.admin("PUT", "routes/1", route(uri, upstream))
        if reply.status == 503 and "the change was made or not" in reply.json["error_msg"]:
            reply = gw.admin("PUT", "routes/1", route(uri, upstream))
        assert reply.status in (200, 201), reply
    write("/a")
    for turn in range(3):
        first.cut()
        write(f"/x{turn}")
        etcd.put("/routes/2", route(f"/a{turn}", upstream))
        served(gw, f"/a{turn}")
        first.mend()
        second.cut()
        write(f"/y{turn}")
        etcd.put("/routes/2", route(f"/b{turn}", upstream))
        served(gw, f"/b{turn}")
        second.mend()
    first.cut()
    second.cut()


def test_a_hanging_endpoint_is_left_alone(make_gw, etcd, upstream):
    """One takes connections and says nothing: it costs one timeout, not one each call."""
    hole = wire.socket.create_server(("127.0.0.1", 0), backlog=64)
    gw = make_gw(**on(f"http://127.0.0.1:{hole.getsockname()[1]}", etcd.url, timeout=1, health_check_timeout=60))
    began = time.monotonic()
    for i in range(10):
        gw.put(f"routes/{i}", route(f"/{i}", upstream))
    assert time.monotonic() - began < 5
    etcd.put("/routes/x", route("/x", upstream))
    served(gw, "/x")
    hole.close()


def test_one_watcher_and_few_connections(make_gw, etcd, upstream):
    relay = Relay(etcd.port)
    gw = make_gw(nginx_config={"worker_processes": 4}, **on(relay.url))
    for i in range(30):
        gw.put(f"routes/{i}", route(f"/{i}", upstream))
    assert relay.connections <= 3
    relay.cut()


def test_login(make_gw, etcd, upstream):
    etcd.put("/routes/1", route("/a", upstream))
    etcd.require_login("gateway", "pass-word")
    gw = make_gw(**on(etcd.url, user="gateway", password="pass-word"))
    assert status_of(gw, "/a") == 200
    gw.put("routes/2", route("/b", upstream))
    # Tokens are in etcd's memory: a restart forgets them, and a new login is wanted.
    for turn in range(2):
        etcd.kill()
        etcd.start().log_in("pass-word")
        gw.put("routes/2", route(f"/b{turn}", upstream))
        etcd.put("/routes/1", route(f"/a{turn}", upstream))
        served(gw, f"/a{turn}")
        assert gw.admin("GET", "routes?page=1&page_size=10").json["total"] == 2
    assert "pass-word" not in gw.log and "gRPC" not in gw.log


def test_login_fails(make_gw, etcd, upstream):
    gw = make_gw(**on(etcd.url))
    gw.put("routes/1", route("/a", upstream))
    etcd.require_login("gateway", "pass-word")
    for more, why in (({}, "insufficient credentials code: 401"),
                      ({"user": "gateway", "password": "wrong"}, "authentication failed"),
                      ({"user": "gateway", "password": "pass-word", "prefix": "/other"}, "etcd forbidden code: 403")):
        settings = on(etcd.url, **more)["deployment"]["etcd"]
        gw.stop()
        gw.settings["deployment"]["etcd"] = {}
        gw.config(deployment={"etcd": settings}, eclusa={"data_dir": os.path.join(gw.folder, why.split()[0])})
        done = subprocess.run(gw.command("run"), cwd=gw.folder, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode != 0 and why in done.stderr, done.stderr
        gw.settings["deployment"]["etcd"] = on(etcd.url, user="gateway", password="pass-word")["deployment"]["etcd"]
        gw.start()


def tls_files(folder, certs):
    """etcd's own certificate (its gateway also uses it as a client), and the one of a client."""
    ca = os.path.dirname(certs["ca"])
    pem, key, request, more = (str(folder / f"member.{kind}") for kind in ("pem", "key", "csr", "ext"))
    with open(more, "w", encoding="utf-8") as f:
        f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    for command in (["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                     "-subj", "/CN=member", "-out", request],
                    ["x509", "-req", "-in", request, "-CA", certs["ca"], "-CAkey", f"{ca}/ca.key", "-set_serial", "7",
                     "-days", "30", "-extfile", more, "-out", pem]):
        subprocess.run(["openssl", *command], check=True, capture_output=True, timeout=30)
    client = {"cert": f"{ca}/client.pem", "key": f"{ca}/client.key"}
    context = ssl.create_default_context(cafile=certs["ca"])
    context.load_cert_chain(client["cert"], client["key"])
    return {"ca": certs["ca"], "cert": pem, "key": key, "client_context": context}, client


def test_tls_with_a_client_certificate(make_etcd, make_gw, upstream, certs, tmp_path):
    tls, ours = tls_files(tmp_path, certs)
    etcd = make_etcd(tls=tls)
    trust = {"ssl": {"ssl_trusted_certificate": certs["ca"]}}
    gw = make_gw(apisix=trust, **on(etcd.url, tls=ours))
    gw.put("routes/1", route("/a", upstream))
    etcd.put("/routes/2", route("/b", upstream))
    served(gw, "/b")

    def stopped_with(trusted, tls, folder):
        if gw.process:
            gw.stop()
        gw.settings["deployment"]["etcd"] = on(etcd.url, tls=tls)["deployment"]["etcd"]
        gw.settings["apisix"]["ssl"] = {"enable": False, "ssl_trusted_certificate": certs["ca"] if trusted else "system"}
        return gw.config(eclusa={"data_dir": os.path.join(gw.folder, folder)})
    for i, (trusted, tls) in enumerate(((True, {**ours, "sni": "localhost"}), (False, {**ours, "verify": False}))):
        assert status_of(stopped_with(trusted, tls, f"good{i}").start(), "/b") == 200
        assert "gRPC" not in gw.log
    for trusted, tls in ((True, {"verify": True}), (True, {**ours, "sni": "elsewhere.example"}), (False, ours)):
        stopped_with(trusted, tls, "fresh")
        done = subprocess.run(gw.command("run"), cwd=gw.folder, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode != 0 and "has no healthy etcd endpoint" in done.stderr, (tls, done.stderr)


# ---- Roles, sizes


def test_data_plane_has_no_admin_api(make_gw, etcd, upstream):
    etcd.put("/routes/1", route("/a", upstream))
    gw = make_gw(deployment={"role": "data_plane", "role_data_plane": {"config_provider": "etcd"},
                             "etcd": {"host": [etcd.url], "prefix": "/apisix"}})
    served(gw, "/a")
    with pytest.raises(OSError):
        wire.connect(gw.admin_port)


def test_host_from_the_environment(make_gw, etcd, upstream, monkeypatch):
    monkeypatch.setenv("APISIX_DEPLOYMENT_ETCD_HOST", json.dumps([etcd.url]))
    etcd.put("/routes/1", route("/a", upstream))
    served(make_gw(**on("http://127.0.0.1:1")), "/a")


@pytest.mark.asan
def test_pages(make_gw, etcd, upstream):
    """What a page shows and counts, beside what is none of its kind or no document."""
    for i in range(250):
        etcd.put(f"/routes/{999 - i}", route(f"/{i}", upstream, id=str(i)))
    etcd.put("/routes/garbage", "no JSON")
    etcd.put("/routes/list", [])
    etcd.put("/routes/a/b", route("/deep", upstream))
    etcd.put("/consumers/jack", {"username": "jack"})
    etcd.put("/consumers/jack/credentials/c", {"plugins": {"key-auth": {"key": "k"}}})
    gw = make_gw(**on(etcd.url))
    # At one revision: by key.
    reply = gw.admin("POST", "eclusa/transactions", {"operations": [
        {"method": "PUT", "path": f"routes/{name}", "body": route(f"/{name}", upstream)} for name in "dbca"]})
    assert reply.status == 200, reply
    gw.admin("PUT", "routes/last", route("/last", upstream))
    ids = [str(999 - i) for i in range(250)] + ["a", "b", "c", "d", "last"]

    def shown(kind, page, size, more=""):
        found = gw.admin("GET", f"{kind}?page={page}&page_size={size}{more}").json
        return found["total"], [item["key"].rsplit("/", 1)[1] for item in found["list"]]
    for size in (10, 110, 500):
        for page in (1, 2, 3, 26):
            assert shown("routes", page, size) == (255, ids[(page - 1) * size:page * size])
    whole = gw.admin("GET", "routes").json
    named = {item["key"].rsplit("/", 1)[1]: item for item in whole["list"]}
    assert whole["total"] == 255 and list(named) == sorted(ids), "all at once: by key"
    assert [named[i] for i in ids[100:110]] == gw.admin("GET", "routes?page=11&page_size=10").json["list"]
    assert shown("consumers", 1, 10) == (1, ["jack"]) and shown("services", 1, 10) == (0, [])
    assert shown("routes", 1, 10, "&uri=^/2$") == (1, ["997"])
    # Others' changes are there at once, and so are ours.
    etcd.delete("/routes/999")
    etcd.put("/routes/998", route("/other", upstream))
    found = gw.admin("GET", "routes?page=1&page_size=10").json
    assert found["total"] == 254 and found["list"][0]["value"]["uri"] == "/other"
    etcd.kill()
    reply = gw.admin("GET", "routes?page=1&page_size=10")
    assert (reply.status, reply.json) == (503, AWAY)


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"], ids=["nothing", "400"])
def test_a_proxy_without_http2(make_gw, etcd, upstream, says):
    """What is read over gRPC comes through the JSON gateway then."""
    for i in range(30):
        etcd.put(f"/routes/{i}", route(f"/{i}", upstream))
    relay = Relay(etcd.port, http1=says)
    gw = make_gw(**on(relay.url))
    assert status_of(gw, "/29") == 200
    assert gw.admin("GET", "routes?page=3&page_size=10").json["list"][9]["key"] == "/apisix/routes/29"
    assert gw.admin("GET", "routes").json["total"] == 30
    assert gw.log.count("speaks no gRPC") == 1
    relay.cut()


@pytest.mark.seconds(120)
def test_many_keys(make_gw, etcd, upstream):
    """More than one page, at the start, in a list, and when everything is compared."""
    relay = Relay(etcd.port)
    count = 2500
    for i in range(0, count, 100):
        etcd.call("kv/txn", success=[
            {"request_put": {"key": b64(f"/apisix/routes/{n:05}"), "value": b64(json.dumps(route(f"/{n}", upstream)))}}
            for n in range(i, i + 100)])
    gw = make_gw(**on(relay.url))
    assert status_of(gw, "/0") == 200 and status_of(gw, f"/{count - 1}") == 200
    assert gw.admin("GET", "routes").json["total"] == count and "gRPC" not in gw.log
    relay.cut()
    etcd.delete("/routes/01000")
    etcd.put("/routes/00999", route("/changed", upstream))
    etcd.put("/routes/01000a", route("/between", upstream))
    etcd.put("/routes/z", route("/last", upstream))
    relay.mend()
    served(gw, "/last")
    assert [status_of(gw, p) for p in ("/1000", "/999", "/changed", "/between", "/998", "/1001", "/2499")] == \
        [404, 404, 200, 200, 200, 200, 200]
    gw.wait_log("4 keys had changed")
    relay.cut()
