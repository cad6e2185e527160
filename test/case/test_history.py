# SPDX-License-Identifier: Apache-2.0
"""What the Admin API has beyond one write: history, rollback, transactions, ttl, preconditions, wait; in both stores."""
import json
import os
import random
import re
import sqlite3
import threading
import time

import pytest

import wire
from etcd import Etcd
from gw import KEY

pytestmark = pytest.mark.seconds(60)
KINDS = ("upstreams", "services", "routes", "consumers", "plugin_configs", "global_rules")
VIEWER = "key-of-one-who-looks"
NODES = {"type": "roundrobin", "nodes": {"127.0.0.1:1": 1}}


def keys(store=None):
    admin = {"admin_key": [{"name": "alice", "key": KEY, "role": "admin"},
                           {"name": "bob", "key": VIEWER, "role": "viewer"}]}
    return {"admin": admin, **(store or {})}


@pytest.fixture
def etcd(tmp_path):
    member = Etcd(tmp_path / "etcd").start()
    yield member
    member.kill()


def on_etcd(etcd):
    return keys({"role": "traditional", "role_traditional": {"config_provider": "etcd"},
                 "etcd": {"host": [etcd.url], "prefix": "/apisix", "resync_delay": 1}})


@pytest.fixture(params=["sqlite", "etcd"])
def gw(request, make_gw):
    if request.param == "sqlite":
        return make_gw(deployment=keys())
    return make_gw(deployment=on_etcd(request.getfixturevalue("etcd")))


@pytest.fixture
def lite(make_gw):
    return make_gw(deployment=keys())


def history(gw, query=""):
    reply = gw.admin("GET", f"eclusa/history{query}")
    assert reply.status == 200, reply
    return reply.json["list"]


def state(gw, kinds=KINDS):
    """All documents, by key."""
    return {item["key"]: item["value"] for kind in kinds for item in gw.admin("GET", kind).json["list"]}


def at(reply):
    assert reply.status in (200, 201), reply
    return int(reply.headers.get("X-Eclusa-Revision"))


def transact(gw, *operations, query=""):
    names = ("method", "path", "body", "if_revision")
    return gw.admin("POST", f"eclusa/transactions{query}",
                    {"operations": [dict(zip(names, o)) if isinstance(o, tuple) else o for o in operations]})


# ---- History


@pytest.mark.quick
def test_who_did_what_when(gw):
    before = time.time()
    first = at(gw.admin("PUT", "upstreams/1", NODES))
    second = at(gw.admin("PUT", "upstreams/1", {**NODES, "desc": "changed", "nodes": {"127.0.0.1:2": 1}}))
    third = at(gw.admin("DELETE", "upstreams/1"))
    assert first < second < third
    newest, middle, oldest = history(gw)
    assert [e["revision"] for e in (newest, middle, oldest)] == [third, second, first]
    for entry, how in ((newest, "DELETE"), (middle, "PUT"), (oldest, "PUT")):
        assert (entry["who"], entry["peer"], entry["how"]) == ("alice", "127.0.0.1", how)
        stamp = time.strptime(entry["time"][:19], "%Y-%m-%dT%H:%M:%S")
        assert before - 2 <= time.mktime(stamp) - time.timezone <= time.time() + 2
    names = {"key": "/apisix/upstreams/1", "kind": "upstreams", "id": "1"}
    change = oldest["changes"][0]
    assert change.items() >= {**names, "action": "create"}.items()
    assert [(o["op"], o["path"]) for o in change["diff"]] == [("add", "")] and change["diff"][0]["value"]["id"] == "1"
    change = middle["changes"][0]
    assert change.items() >= {**names, "action": "update"}.items()
    assert {(o["op"], o["path"]) for o in change["diff"]} - {("replace", "/update_time")} == \
        {("add", "/desc"), ("remove", "/nodes/127.0.0.1:1"), ("add", "/nodes/127.0.0.1:2")}
    assert newest["changes"] == [{**names, "action": "delete", "diff": [{"op": "remove", "path": ""}]}]

    one = gw.admin("GET", f"eclusa/history/{second}").json
    assert one["changes"][0]["before"]["nodes"] == {"127.0.0.1:1": 1}
    assert one["changes"][0]["after"]["desc"] == "changed"
    assert gw.admin("GET", f"eclusa/history/{third}").json["changes"][0]["after"] is None
    # A refused write is none.
    assert gw.admin("PUT", "upstreams/1", {"nodes": 7}).status == 400
    assert history(gw)[0]["revision"] == third
    assert gw.admin("GET", "eclusa/history/999999").status == 404
    assert gw.admin("GET", "eclusa/history/x").status == 400


def test_pages_and_filters(gw):
    gw.put("upstreams/1", NODES)
    gw.put("upstreams/2", NODES)
    gw.put("consumers", {"username": "jack"})
    gw.put("consumers/jack/credentials/c", {"plugins": {"key-auth": {"key": "k"}}})
    for i in range(5):
        gw.put("routes/1", {"uri": f"/{i}", "upstream_id": "1"})
    every = [e["revision"] for e in history(gw)]
    assert len(every) == 9 and every == sorted(every, reverse=True)
    got, before = [], ""
    while True:
        page = gw.admin("GET", f"eclusa/history?limit=2{before}").json
        got += [e["revision"] for e in page["list"]]
        if "before" not in page:
            break
        before = f"&before={page['before']}"
    assert got == every
    assert [e["changes"][0]["id"] for e in history(gw, "?kind=upstreams")] == ["2", "1"]
    assert len(history(gw, "?kind=upstreams&id=2")) == 1
    assert len(history(gw, "?kind=routes&id=1")) == 5
    assert [e["changes"][0]["kind"] for e in history(gw, "?kind=consumers")] == ["consumers"]
    assert [e["changes"][0]["id"] for e in history(gw, "?kind=credentials")] == ["jack/credentials/c"]
    assert [e["revision"] for e in history(gw, f"?since={every[2]}")] == every[:2]
    assert history(gw, "?kind=services") == []
    for query in ("limit=0", "limit=x", "limit=501", "since=-1", "before=0"):
        assert gw.admin("GET", f"eclusa/history?{query}").status == 400, query
    assert gw.admin("GET", "eclusa/history?kind=things").status == 404


def test_secrets_are_masked(gw):
    consumer = {"username": "jack", "plugins": {"key-auth": {"key": "the-first-key"}}}
    gw.put("consumers", consumer)
    gw.put("consumers", {**consumer, "desc": "the same key, sealed anew"})
    consumer["plugins"]["key-auth"]["key"] = "another-key"
    gw.put("consumers", consumer)
    entries = history(gw)
    text = json.dumps(entries) + json.dumps([gw.admin("GET", f"eclusa/history/{e['revision']}").json for e in entries])
    dry = gw.admin("POST", "eclusa/rollback?dry_run=true", {"revision": entries[-1]["revision"]})
    assert "the-first-key" not in text + dry.text and "another-key" not in text + dry.text and "***" in text

    def touched(entry):
        return {o["path"]: o.get("value") for o in entry["changes"][0]["diff"] if o["path"] != "/update_time"}
    assert touched(entries[1]) == {"/desc": "the same key, sealed anew"}
    assert touched(entries[0]) == {"/desc": None, "/plugins/key-auth/key": "***"}
    assert "{eclusa" not in text


def test_a_viewer_may_look(gw):
    gw.put("upstreams/1", NODES)
    assert gw.admin("GET", "eclusa/history", key=VIEWER).status == 200
    for path in ("eclusa/rollback", "eclusa/transactions"):
        assert gw.admin("POST", path, {}, key=VIEWER).status == 401
    assert gw.admin("GET", "eclusa/history", key=None).status == 401
    assert gw.admin("PUT", "eclusa/history", {}).status == 404


def test_history_is_bounded(make_gw):
    gw = make_gw(deployment=keys(), eclusa={"history": {"changes": 5}})
    revisions = [at(gw.admin("PUT", "upstreams/1", {**NODES, "desc": str(i)})) for i in range(12)]
    assert [e["revision"] for e in history(gw)] == revisions[:-6:-1]
    reply = gw.admin("POST", "eclusa/rollback", {"revision": revisions[5]})
    assert reply.status == 400 and "cannot be gone back to" in reply.json["error_msg"]
    assert gw.admin("POST", "eclusa/rollback", {"revision": revisions[6]}).status == 200
    assert gw.admin("GET", "upstreams/1").json["value"]["desc"] == "6"
    gw.config(eclusa={"history": {"changes": 0}}).restart()
    revision = at(gw.admin("PUT", "upstreams/1", NODES))
    assert history(gw) == [] and revision == revisions[-1] + 2
    gw.restart()
    assert at(gw.admin("PUT", "upstreams/1", NODES)) == revision + 1
    assert gw.admin("POST", "eclusa/rollback", {"revision": revision}).status == 400


def test_history_has_an_age(make_gw):
    gw = make_gw(deployment=keys(), eclusa={"history": {"age": "1h"}})
    gw.put("upstreams/old", NODES)
    gw.put("upstreams/new", NODES)
    gw.stop()
    with sqlite3.connect(os.path.join(gw.data_dir, "eclusa.db")) as db:
        db.execute("UPDATE change SET time = time - 3601000 WHERE key = '/upstreams/old'")
    gw.start()
    assert [e["changes"][0]["id"] for e in history(gw)] == ["new"]
    # Nor can it be gone back over.
    assert gw.admin("POST", "eclusa/rollback?dry_run=true", {"revision": 0}).status == 400
    assert len(gw.admin("POST", "eclusa/rollback?dry_run=true", {"revision": 1}).json["changes"]) == 1
    gw.put("upstreams/newest", NODES)
    assert [e["changes"][0]["id"] for e in history(gw)] == ["newest", "new"]
    with sqlite3.connect(os.path.join(gw.data_dir, "eclusa.db")) as db:
        assert db.execute("SELECT count(*) FROM change").fetchone() == (2,)


# ---- Rollback


def build_up(gw, upstream):
    gw.put("upstreams/1", {"type": "roundrobin", "nodes": {upstream.node: 1}})
    gw.put("services/1", {"upstream_id": "1"})
    gw.put("consumers", {"username": "jack", "plugins": {"key-auth": {"key": "k1"}}})
    return at(gw.admin("PUT", "routes/1", {"uri": "/a", "service_id": "1", "plugins": {"key-auth": {}}}))


@pytest.mark.quick
def test_rollback_over_deletions(gw, upstream):
    revision = build_up(gw, upstream)
    want = state(gw)
    gw.delete("routes/1")
    gw.delete("services/1")
    gw.delete("upstreams/1")
    gw.put("consumers", {"username": "jack", "plugins": {"key-auth": {"key": "k2"}}})
    gw.put("routes/2", {"uri": "/b", "upstream": NODES})
    later = state(gw)

    dry = gw.admin("POST", "eclusa/rollback?dry_run=true", {"revision": revision})
    assert dry.status == 200 and dry.json["dry_run"] is True
    assert {(c["action"], c["key"]) for c in dry.json["changes"]} == {
        ("create", "/apisix/routes/1"), ("create", "/apisix/services/1"), ("create", "/apisix/upstreams/1"),
        ("update", "/apisix/consumers/jack"), ("delete", "/apisix/routes/2")}
    assert dry.headers.get("X-Eclusa-Revision") is None
    assert state(gw) == later
    assert gw.get("/a", {"apikey": "k1"}).status == 404, "a dry run is not served"

    done = gw.admin("POST", "eclusa/rollback", {"revision": revision})
    assert done.json["changes"] == dry.json["changes"] and done.json["revision"] == at(done) > revision
    assert state(gw) == want
    assert [gw.get("/a", {"apikey": k}).status for k in ("k1", "k2")] == [200, 401]
    assert gw.get("/b").status == 404
    entry = history(gw)[0]
    assert (entry["how"], len(entry["changes"])) == (f"rollback to {revision}", 5)
    # And back again: it is a revision like any other.
    gw.admin("POST", "eclusa/rollback", {"revision": done.json["revision"] - 1})
    assert state(gw) == later
    nothing = gw.admin("POST", "eclusa/rollback", {"revision": at(gw.admin("PUT", "upstreams/9", NODES))})
    assert nothing.status == 200 and nothing.json["changes"] == []
    gw.restart()
    assert {k: v for k, v in state(gw).items() if k != "/apisix/upstreams/9"} == later


def test_rollback_of_one_document(gw):
    gw.put("upstreams/1", {**NODES, "desc": "one"})
    revision = at(gw.admin("PUT", "upstreams/2", {**NODES, "desc": "one"}))
    gw.put("upstreams/1", {**NODES, "desc": "two"})
    gw.put("upstreams/2", {**NODES, "desc": "two"})
    reply = gw.admin("POST", "eclusa/rollback", {"revision": revision, "kind": "upstreams", "id": "1"})
    assert reply.status == 200 and len(reply.json["changes"]) == 1
    assert [gw.admin("GET", f"upstreams/{i}").json["value"]["desc"] for i in "12"] == ["one", "two"]


def test_rollback_is_checked(gw):
    gw.put("upstreams/1", NODES)
    revision = at(gw.admin("PUT", "routes/1", {"uri": "/a", "upstream_id": "1"}))
    gw.delete("routes/1")
    gw.delete("upstreams/1")
    before = state(gw)
    alone = gw.admin("POST", "eclusa/rollback", {"revision": revision, "kind": "routes", "id": "1"})
    assert (alone.status, alone.json["error_msg"]) == \
        (400, "failed to fetch upstream info by upstream id [1], response code: 404")
    assert state(gw) == before and gw.get("/a").status == 404
    for body in ({}, {"revision": -1}, {"revision": "1"}, {"revision": 1, "id": "1"}, [], {"revision": 1, "x": 1},
                 {"revision": 10 ** 9}, {"revision": 1, "kind": "routes"}, {"revision": 1, "kind": 7, "id": "1"}):
        assert gw.admin("POST", "eclusa/rollback", body).status == 400, body
    assert gw.admin("POST", "eclusa/rollback", {"revision": 1, "kind": "x", "id": "1"}).status == 404
    # What is used by what stays cannot go.
    low = at(gw.admin("PUT", "services/s", {}))
    gw.put("upstreams/u", NODES)
    gw.put("routes/r", {"uri": "/r", "upstream_id": "u"})
    used = gw.admin("POST", "eclusa/rollback", {"revision": low, "kind": "upstreams", "id": "u"})
    assert (used.status, used.json["error_msg"]) == \
        (400, "can not delete this upstream, route [r] is still using it now")
    assert gw.admin("POST", "eclusa/rollback", {"revision": low}).status == 200
    assert gw.admin("GET", "upstreams/u").status == 404


class Walk:
    """Random writes, alone and in transactions, that mostly fit together; and what was there after each."""

    def __init__(self, gw, seed):
        self.gw, self.dice, self.states = gw, random.Random(seed), {}

    def operation(self):
        dice = self.dice
        key = str(dice.randrange(4))
        kind = dice.choice(("upstreams", "services", "routes", "consumers"))
        if dice.random() < 0.25:
            return ("DELETE", f"{kind}/{'c' if kind == 'consumers' else ''}{key}")
        mark = {"desc": str(dice.randrange(1000))}
        bodies = {"upstreams": {**NODES, **mark},
                  "services": {"upstream_id": str(dice.randrange(4)), **mark},
                  "routes": {"uri": f"/{key}", **mark, dice.choice(("upstream_id", "service_id")): str(dice.randrange(4))},
                  "consumers": {"username": f"c{key}", **mark,
                                "plugins": {"key-auth": {"key": f"k{dice.randrange(5)}"}}}}
        return ("PUT", kind if kind == "consumers" else f"{kind}/{key}", bodies[kind])

    def step(self):
        if self.dice.random() < 0.3:
            reply = transact(self.gw, *[self.operation() for _ in range(self.dice.randrange(1, 6))])
        else:
            reply = self.gw.admin(*self.operation())
        assert reply.status in (200, 201, 400, 404), reply
        if reply.status < 300:
            self.states[at(reply)] = state(self.gw)
        return reply.status < 300


@pytest.mark.parametrize("seed", [1, 2])
def test_any_revision_comes_back(gw, seed):
    walk = Walk(gw, seed)
    done = [walk.step() for _ in range(150)]
    assert 40 < sum(done) < 150
    for revision in walk.dice.sample(sorted(walk.states), 15):
        reply = gw.admin("POST", "eclusa/rollback", {"revision": revision})
        assert reply.status == 200, (revision, reply)
        assert state(gw) == walk.states[revision], revision
    assert replay(gw) == {k: json.loads(re.sub(r'"key": "k\d"', '"key": "***"', json.dumps(v)))
                          for k, v in state(gw).items()}
    gw.restart()
    assert state(gw) == walk.states[revision]


# ---- Transactions


@pytest.mark.quick
def test_made_together_and_gone_together(gw, upstream):
    nodes = {"type": "roundrobin", "nodes": {upstream.node: 1}}
    made = transact(gw, ("PUT", "routes/1", {"uri": "/a", "upstream_id": "u", "plugins": {"key-auth": {}}}),
                    ("PUT", "/upstreams/u", nodes),
                    ("PUT", "/apisix/admin/consumers/jack/credentials/c", {"plugins": {"key-auth": {"key": "k"}}}),
                    ("PUT", "consumers", {"username": "jack"}), ("POST", "upstreams", nodes))
    assert made.status == 200, made
    assert [r["status"] for r in made.json["results"]] == [201] * 5
    assert made.json["results"][0]["body"]["value"]["upstream_id"] == "u"
    assert len(made.json["results"][4]["body"]["value"]["id"]) == 20
    assert made.json["revision"] == at(made)
    assert gw.get("/a", {"apikey": "k"}).status == 200
    items = [gw.admin("GET", p).json for p in ("routes/1", "upstreams/u", "consumers/jack")]
    assert {(i["createdIndex"], i["modifiedIndex"]) for i in items} == {(at(made), at(made))}
    entry, *others = history(gw)
    assert entry["how"] == "transaction" and len(entry["changes"]) == 5 and not others

    assert transact(gw, ("DELETE", "upstreams/u")).json["operation"] == 0
    gone = transact(gw, ("DELETE", "upstreams/u"), ("DELETE", "routes/1"), ("DELETE", "consumers/jack"))
    assert gone.status == 200 and [r["status"] for r in gone.json["results"]] == [200] * 3
    assert gone.json["results"][0]["body"] == {"key": "/apisix/upstreams/u", "deleted": "1"}
    assert gw.get("/a").status == 404
    assert gw.admin("GET", "consumers/jack/credentials").status == 404, "they go with their consumer"


REFUSED = [
    (("PUT", "routes/x", {"uri": "/x", "upstream_id": "none"}), 400,
     "failed to fetch upstream info by upstream id [none], response code: 404"),
    (("PUT", "routes/x", {"uri": 7}), 400, 'invalid configuration: property "uri" validation failed: '
                                           'wrong type: expected string, got number'),
    (("PUT", "upstreams/1", {"nodes": {}, "id": "2"}), 400, "wrong upstream id"),
    (("DELETE", "services/none"), 404, None),
    (("PATCH", "services/none", {"desc": "x"}), 404, None),
    (("DELETE", "services/1"), 400, "can not delete this service directly, route [1] is still using it now"),
    (("PUT", "consumers", {"username": "eve", "plugins": {"key-auth": {"key": "k1"}}}), 400,
     "duplicate key of plugin key-auth found with consumer: jack"),
    (("PUT", "consumers/eve/credentials/c", {"plugins": {"key-auth": {"key": "new"}}}), 404, "consumer not found"),
    (("GET", "routes/1"), 400, "only documents can be written in a transaction"),
    (("HEAD", "routes/1"), 400, "invalid method: should be PUT, POST, PATCH or DELETE"),
    (("POST", "consumers", {"username": "x"}), 405, "not supported `POST` method for consumer"),
    (("PUT", "things/1", {}), 404, "Unsupported resource type: things"),
    (("PUT", "plugins/reload"), 400, "only documents can be written in a transaction"),
    (("POST", "eclusa/transactions", {}), 400, "only documents can be written in a transaction"),
    (("PUT", "upstreams/new", NODES), 400, "/upstreams/new is written twice"),
    (("PUT", "upstreams/3"), 400, "missing configurations"),
    (("PUT", "upstreams/1", NODES, 999999), 412, None),
    (("PUT", "upstreams/3", NODES, 5), 412, "precondition failed: the document is not there"),
    (("PUT", "upstreams/1", NODES, -1), 400, "invalid if_revision: should be a modifiedIndex, or 0"),
    ({"method": "PUT", "path": "upstreams/3", "body": NODES, "x": 1}, 400,
     "additional properties forbidden, found x"),
    (7, 400, "an operation should be an object with method, path and body"),
]


@pytest.mark.quick
def test_all_or_nothing(gw, upstream):
    build_up(gw, upstream)
    gw.put("routes/open", {"uri": "/open", "upstream_id": "1"})
    before = state(gw)
    newest = history(gw)[0]["revision"]
    good = (("PUT", "upstreams/new", NODES), ("DELETE", "routes/open"),
            ("PUT", "consumers", {"username": "jack", "plugins": {"key-auth": {"key": "k9"}}}))
    # On etcd an id is made by a write of its own, so revisions may move on; documents may not.
    for bad, status, text in REFUSED:
        duplicate = isinstance(bad, tuple) and bad[1:2] == ("consumers",) and "eve" in str(bad)
        reply = transact(gw, *(good[:2] if duplicate else good), bad)
        n = len(good[:2] if duplicate else good)
        assert (reply.status, reply.json.get("operation")) == (status, n), (bad, reply)
        assert text is None or reply.json["error_msg"] == text, (bad, reply)
        assert reply.headers.get("X-Eclusa-Revision") is None
        if isinstance(bad, tuple):
            assert (reply.json["method"], reply.json["path"]) == bad[:2]
    assert state(gw) == before and history(gw)[0]["revision"] == newest
    assert [gw.get("/a", {"apikey": k}).status for k in ("k1", "k9", "k2")] == [200, 401, 401]
    assert gw.get("/open").status == 200
    # The next write publishes what the builder has: nothing of the refused ones is in it.
    gw.put("routes/next", {"uri": "/next", "upstream_id": "1"})
    assert gw.get("/next").status == 200 and gw.get("/open").status == 200
    assert [gw.get("/a", {"apikey": k}).status for k in ("k1", "k9")] == [200, 401]


def test_transaction_dry_run(gw, upstream):
    build_up(gw, upstream)
    before = state(gw)
    dry = transact(gw, ("PUT", "upstreams/1", NODES), ("DELETE", "routes/1"), ("PUT", "upstreams/2", NODES),
                   ("PATCH", "services/1", {"desc": "d"}), query="?dry_run=true")
    assert dry.status == 200 and dry.json["dry_run"] is True and "revision" not in dry.json
    assert [r["status"] for r in dry.json["results"]] == [200, 200, 201, 200]
    assert [(c["action"], c["key"]) for c in dry.json["changes"]] == [
        ("delete", "/apisix/routes/1"), ("update", "/apisix/upstreams/1"), ("create", "/apisix/upstreams/2"),
        ("update", "/apisix/services/1")]
    assert state(gw) == before and gw.get("/a", {"apikey": "k1"}).status == 200
    dry = transact(gw, *[("POST", "upstreams", NODES)] * 3, query="?dry_run=true")
    assert [r["status"] for r in dry.json["results"]] == [201] * 3
    assert len({r["body"]["key"] for r in dry.json["results"]}) == 3 and state(gw) == before


def test_a_path_of_many_levels(gw):
    """Millions of them fit into an operation: what they make is not taken apart level by level."""
    gw.put("upstreams/1", NODES)
    for levels, status in ((1000, 400), (1100, 400), (2000000, 400), (2, 200)):
        reply = transact(gw, ("PATCH", "upstreams/1/tls/verify" + "/a" * (levels - 2), False))
        assert reply.status == status, levels
        assert ("more than 1024 levels" in reply.text) == (levels > 1024)


def test_dry_runs_of_single_writes(gw):
    gw.put("upstreams/1", NODES)
    gw.put("routes/1", {"uri": "/a", "upstream_id": "1"})
    before, newest = state(gw), history(gw)[0]["revision"]
    for method, path, body, status in (
            ("PUT", "upstreams/1", {**NODES, "desc": "d"}, 200), ("PUT", "upstreams/2", NODES, 201),
            ("POST", "upstreams", NODES, 201), ("PATCH", "routes/1", {"desc": "d"}, 200), ("DELETE", "routes/1", None, 200),
            ("DELETE", "upstreams/1", None, 400), ("PUT", "routes/2", {"uri": "/b", "upstream_id": "x"}, 400),
            ("DELETE", "upstreams/9", None, 404)):
        reply = gw.admin(method, f"{path}?dry_run=true", body)
        assert reply.status == status and reply.headers.get("X-Eclusa-Revision") is None, reply
    assert state(gw) == before and history(gw)[0]["revision"] == newest
    assert gw.admin("PUT", "upstreams/1?dry_run=yes", NODES).status == 400
    assert at(gw.admin("PUT", "upstreams/1?dry_run=false", NODES)) == newest + 1, "not even a revision was taken"


def test_bodies_of_transactions(gw):
    for body in (None, {}, [], {"operations": []}, {"operations": {}}, {"operations": [], "x": 1}, b"7"):
        assert gw.admin("POST", "eclusa/transactions", body).status == 400, body
    assert gw.admin("POST", "eclusa/transactions", b"{").status == 400
    assert gw.admin("GET", "eclusa/transactions").status == 404


def test_a_key_goes_from_one_to_the_other(gw):
    """What is deleted comes first, whatever its place."""
    gw.put("consumers", {"username": "old", "plugins": {"key-auth": {"key": "k"}}})
    gw.put("routes/1", {"uri": "/a", "upstream": NODES, "plugins": {"key-auth": {}}})
    reply = transact(gw, ("PUT", "consumers", {"username": "new", "plugins": {"key-auth": {"key": "k"}}}),
                     ("DELETE", "consumers/old"))
    assert reply.status == 200, reply
    assert [r["status"] for r in reply.json["results"]] == [201, 200]
    assert gw.get("/a", {"apikey": "k"}).status == 502
    assert gw.get("/a", {"apikey": "other"}).status == 401


def test_what_only_one_may_have_is_exchanged(gw):
    def consumer(name, key):
        return ("PUT", "consumers", {"username": name, "plugins": {"key-auth": {"key": key}}})

    def rule(name, plugin):
        return ("PUT", f"global_rules/{name}", {"plugins": {plugin: {}}})
    gw.put("routes/1", {"uri": "/a", "upstream": NODES, "plugins": {"key-auth": {}}})
    assert transact(gw, consumer("a", "k1"), consumer("b", "k2"), rule("1", "cors"), rule("2", "request-id")).status == 200
    assert transact(gw, consumer("a", "k2"), consumer("b", "k1"), rule("1", "request-id"), rule("2", "cors")).status == 200
    assert [gw.get("/a", {"apikey": k}).status for k in ("k1", "k2", "k3")] == [502, 502, 401]
    twice = transact(gw, consumer("c", "k3"), ("PUT", "upstreams/1", NODES), consumer("d", "k3"))
    assert (twice.status, twice.json["operation"], twice.json["error_msg"]) == \
        (400, 2, "duplicate key of plugin key-auth found with consumer: c")
    twice = transact(gw, rule("3", "cors"))
    assert (twice.status, twice.json["error_msg"]) == \
        (400, "plugin 'cors' already exists in global rule with id '2'")
    assert gw.get("/a", {"apikey": "k3"}).status == 401
    assert "cannot be used" not in gw.log


@pytest.mark.seconds(90)
def test_a_thousand_at_once(lite, upstream):
    nodes = {"type": "roundrobin", "nodes": {upstream.node: 1}}
    operations = [("PUT", f"routes/{i}", {"uri": f"/{i}", "upstream_id": str(i % 100)}) for i in range(900)]
    operations += [("PUT", f"upstreams/{i}", nodes) for i in range(100)]
    began = time.monotonic()
    made = transact(lite, *operations)
    print(f"1,000 documents in {(time.monotonic() - began) * 1000:.0f} ms")
    assert made.status == 200 and len(made.json["results"]) == 1000, made
    assert [lite.get(f"/{i}").status for i in (0, 450, 899)] == [200] * 3
    assert len(history(lite)[0]["changes"]) == 1000
    bad = transact(lite, *operations, ("PUT", "routes/bad", {"uri": "/bad", "upstream_id": "x"}))
    assert (bad.status, bad.json["operation"]) == (400, 1000)
    assert [lite.get(f"/{i}").status for i in (0, 450, 899)] == [200] * 3
    back = lite.admin("POST", "eclusa/rollback", {"revision": 0})
    assert back.status == 200 and len(back.json["changes"]) == 1000
    assert state(lite) == {} and lite.get("/0").status == 404
    too_many = transact(lite, *[("DELETE", "routes/x")] * 10001)
    assert (too_many.status, too_many.json["error_msg"]) == (400, "10001 operations: the store sqlite takes 10000 at once")


# ---- Preconditions


def test_preconditions(gw):
    def put(headers, body=None, method="PUT"):
        return gw.admin(method, "upstreams/1", body or (None if method == "DELETE" else NODES), headers=headers).status
    assert put({"If-Match": "*"}) == 412 and put({"If-Match": '"1"'}) == 412
    assert put({"If-Match": "*"}, method="DELETE") == 412
    assert put({"If-None-Match": "*"}) == 201
    assert put({"If-None-Match": "*"}) == 412
    revision = gw.admin("GET", "upstreams/1").json["modifiedIndex"]
    assert put({"If-Match": f'"{revision + 1}"'}) == 412
    assert put({"If-Match": f'"{revision}"'}) == 200
    assert put({"If-Match": str(revision)}) == 412
    revision = gw.admin("GET", "upstreams/1").json["modifiedIndex"]
    assert put({"If-Match": f'W/"{revision}"'}, {"desc": "d"}, "PATCH") == 200
    assert put({"If-Match": str(revision)}, {"desc": "e"}, "PATCH") == 412
    assert put({"If-Match": "*"}) == 200
    assert put({"If-Match": "what"}) == 400 and put({"If-None-Match": "7"}) == 400
    assert put({"If-Match": "1"}, method="DELETE") == 412
    revision = gw.admin("GET", "upstreams/1").json["modifiedIndex"]
    assert transact(gw, ("PUT", "upstreams/1", NODES, revision), ("PUT", "upstreams/2", NODES, 0)).status == 200
    assert transact(gw, ("PUT", "upstreams/1", NODES, 0)).status == 412
    revision = gw.admin("GET", "upstreams/1").json["modifiedIndex"]
    assert put({"If-Match": str(revision)}, method="DELETE") == 200


def test_concurrent_writers_lose_nothing(gw):
    """Each reads a number and writes the next one, if nobody else has: no number is lost."""
    gw.put("upstreams/1", {**NODES, "labels": {"n": "0"}})
    lost = []

    def count(times):
        with wire.connect(gw.admin_port) as w:
            while times:
                w.request("GET", "/apisix/admin/upstreams/1", {"X-API-KEY": KEY})
                item = w.response().json
                n = int(item["value"]["labels"]["n"]) + 1
                w.request("PUT", "/apisix/admin/upstreams/1", {"X-API-KEY": KEY, "If-Match": str(item["modifiedIndex"])},
                          {**NODES, "labels": {"n": str(n)}})
                status = w.response().status
                assert status in (200, 412)
                times -= status == 200
                lost.append(status == 412)

    threads = [threading.Thread(target=count, args=(30,)) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(f"{sum(lost)} of {len(lost)} writes came too late")
    assert gw.admin("GET", "upstreams/1").json["value"]["labels"]["n"] == "120"


# ---- Live


@pytest.mark.quick
def test_waits_until_it_is_live(gw, make_upstream):
    """Every thread serves what was answered, without another moment."""
    ups = [make_upstream(), make_upstream()]
    for i, up in enumerate(ups):
        up.on("*").reply(200, str(i))
    for turn in range(20):
        body = {"uri": "/a", "upstream": {"type": "roundrobin", "nodes": {ups[turn % 2].node: 1}}}
        headers = {"X-Eclusa-Wait": "live"} if turn % 4 < 2 else {}
        reply = gw.admin("PUT", "routes/1" + ("" if headers else "?wait=live"), body, headers=headers)
        assert at(reply) > 0
        gw.live_at = 0.0
        assert {gw.get("/a").text for _ in range(8)} == {str(turn % 2)}
    transact(gw, ("DELETE", "routes/1"), query="?wait=live")
    gw.live_at = 0.0
    assert {gw.get("/a").status for _ in range(8)} == {404}
    assert gw.admin("PUT", "routes/1?wait=later", {"uri": "/a"}).status == 400


# ---- ttl


def test_goes_by_itself(gw, upstream):
    body = {"uri": "/a", "upstream": {"type": "roundrobin", "nodes": {upstream.node: 1}}}
    assert gw.admin("PUT", "routes/1?ttl=2", body).status == 201
    assert gw.admin("PUT", "routes/kept?ttl=1", {**body, "uri": "/kept"}).status == 201
    gw.put("routes/kept", {**body, "uri": "/kept"})       # without a ttl it stays
    posted = gw.admin("POST", "routes?ttl=2", {**body, "uri": "/posted"}).json["value"]["id"]
    gw.put("routes/patched", {**body, "uri": "/patched"})
    assert gw.admin("PATCH", "routes/patched?ttl=1", {"desc": "soon"}).status == 200
    assert gw.get("/a").status == 200
    for path in ("/a", "/posted", "/patched"):
        wire.wait_until(f"{path} to be gone", lambda p=path: gw.get(p).status == 404, 15)
    assert gw.get("/kept").status == 200
    assert [gw.admin("GET", f"routes/{i}").status for i in ("1", posted, "patched", "kept")] == [404, 404, 404, 200]
    gone = [c for e in history(gw) for c in e["changes"] if c["action"] == "delete"]
    assert {c["id"] for c in gone} == {"1", posted, "patched"}
    for ttl in ("x", "0", "-1", "1e99", ""):
        assert gw.admin("PUT", f"routes/2?ttl={ttl}", body).status == 400, ttl
    assert gw.admin("PUT", "routes/2?ttl=x", body).json["error_msg"] == "invalid argument ttl: should be a number"


def test_ttl_over_a_restart(lite, upstream):
    body = {"uri": "/a", "upstream": {"type": "roundrobin", "nodes": {upstream.node: 1}}}
    lite.admin("PUT", "routes/1?ttl=1", body)
    lite.admin("PUT", "routes/2?ttl=3", {**body, "uri": "/b"})
    lite.admin("PUT", "routes/3?ttl=1000", {**body, "uri": "/c"})
    lite.kill()
    db = sqlite3.connect(os.path.join(lite.data_dir, "eclusa.db"))
    wire.wait_until("its time to be over", lambda: db.execute(
        "SELECT count(*) FROM document WHERE key = '/routes/1' AND expires < ?", (time.time() * 1000,)).fetchone()[0])
    db.close()
    lite.start()
    # The first request is answered without it.
    assert [lite.get(p).status for p in ("/a", "/b", "/c")] == [404, 200, 200]
    wire.wait_until("/b to be gone", lambda: lite.get("/b").status == 404)
    assert [(e["who"], e["changes"][0]["id"]) for e in history(lite)[:2]] == [("ttl", "2"), ("ttl", "1")]
    assert lite.get("/c").status == 200


# ---- Killed


def replay(gw):
    """The state that the history tells, from its beginning."""
    documents, before = {}, ""
    entries = []
    while True:
        page = gw.admin("GET", f"eclusa/history?limit=500{before}").json
        entries += page["list"]
        if "before" not in page:
            break
        before = f"&before={page['before']}"
    for entry in reversed(entries):
        for change in gw.admin("GET", f"eclusa/history/{entry['revision']}").json["changes"]:
            assert documents.get(change["key"]) == change["before"], (entry["revision"], change["key"])
            documents[change["key"]] = change["after"]
    return {k: v for k, v in documents.items() if v is not None}


@pytest.mark.seconds(150)
def test_killed_between(gw):
    """Three documents are always written at once: a kill leaves them alike, acknowledged or not, and the history tells
    exactly what is there."""
    acked, doubt = 0, 0

    def write(w, n):
        operations = [{"method": "PUT", "path": f"upstreams/{i}", "body": {**NODES, "desc": str(n)}} for i in range(3)]
        if n % 5 == 4:
            operations = [{"method": "DELETE", "path": f"upstreams/{i}"} for i in range(3)]
        w.request("POST", "/apisix/admin/eclusa/transactions", {"X-API-KEY": KEY}, {"operations": operations})
        return w.response()

    n = 0
    for _ in range(5):
        timer, last = threading.Timer(random.uniform(0, 0.02), gw.process.kill), n + random.randrange(5, 15)
        try:
            with wire.connect(gw.admin_port) as w:
                while True:
                    n += 1
                    doubt = n
                    if n == last:
                        timer.start()
                    reply = write(w, n)
                    assert reply.status == 200 or (n % 5 == 4 and reply.status == 404), reply
                    acked = n
        except (wire.Closed, OSError):
            pass
        timer.join()
        gw.process.wait()
        gw.kill()
        gw.start()
        there = {k: v.get("desc") for k, v in state(gw, ("upstreams",)).items()}
        want = [{} if i % 5 == 4 else {f"/apisix/upstreams/{k}": str(i) for k in range(3)} for i in (acked, doubt)]
        assert there in want, (there, acked, doubt)
        n = doubt
    assert replay(gw) == state(gw) and n > 20


# ---- Stores that cannot


def test_refused_where_there_is_no_history(make_gw):
    gw = make_gw(deployment={"role": "traditional", "role_traditional": {"config_provider": "yaml"}, **keys()})
    for method, path, body in (("GET", "eclusa/history", None), ("GET", "eclusa/history/1", None),
                               ("POST", "eclusa/rollback", {"revision": 1})):
        reply = gw.admin(method, path, body)
        assert reply.status == 400 and "keeps no history" in reply.json["error_msg"], reply
    reply = transact(gw, ("PUT", "upstreams/1", NODES))
    assert reply.status == 400 and "written as a whole" in reply.json["error_msg"]
    assert gw.admin("PUT", "upstreams/1?ttl=5", NODES).status == 400
    reply = gw.admin("PUT", "configs?dry_run=true", {"upstreams": [{"id": "1", **NODES}]}, headers={"X-Digest": "1"})
    assert reply.status == 400 and "configs/validate" in reply.json["error_msg"]


# ---- etcd alone


def test_others_changes_are_seen(make_gw, etcd):
    one, two = make_gw(deployment=on_etcd(etcd)), make_gw(deployment=on_etcd(etcd))
    mine = at(one.admin("PUT", "upstreams/1", NODES))
    theirs = etcd.put("/upstreams/2", {**NODES, "id": "2"})
    etcd.delete("/upstreams/2")
    for gw in (one, two):
        wire.wait_until("what others did", lambda g=gw: len(history(g)) == 3)
        entries = history(gw)
        assert [e["who"] for e in entries] == ["outside", "outside", "alice"]
        assert [e["revision"] for e in entries[1:]] == [theirs, mine]
        assert [e["changes"][0]["action"] for e in entries] == ["delete", "create", "create"]
    back = two.admin("POST", "eclusa/rollback", {"revision": theirs})
    assert back.status == 200 and [c["id"] for c in back.json["changes"]] == ["2"], back
    assert json.loads(etcd.get("/upstreams/2")[0])["id"] == "2"
    # APISIX watches its prefix: nothing of ours is below it.
    found = etcd.call("kv/range", key="L2FwaXNpeC8=", range_end="L2FwaXNpeDA=", keys_only=True)["kvs"]
    assert len(found) == 2
    # One that comes new knows what is written in etcd of ours.
    three = make_gw(deployment=on_etcd(etcd))
    assert [e["revision"] for e in history(three)] == [at(back), mine]
    assert three.admin("POST", "eclusa/rollback", {"revision": mine}).status == 400


def test_changes_while_away_end_the_way_back(make_gw, etcd):
    gw = make_gw(deployment=on_etcd(etcd))
    before = at(gw.admin("PUT", "upstreams/1", NODES))
    gw.stop()
    etcd.put("/upstreams/1", {**NODES, "id": "1", "desc": "first"})
    etcd.put("/upstreams/1", {**NODES, "id": "1", "desc": "second"})
    gw.start()
    entry = history(gw)[0]
    assert (entry["who"], entry["how"]) == ("outside", "found after an interruption")
    assert [o["path"] for o in entry["changes"][0]["diff"]][-1] == "/desc"
    reply = gw.admin("POST", "eclusa/rollback", {"revision": before})
    assert reply.status == 400 and "cannot be gone back to" in reply.json["error_msg"]
    gw.stop()
    gw.start()      # nothing was missed: what is known stays known
    assert history(gw)[0] == entry


def test_etcds_limit(make_gw, etcd):
    gw = make_gw(deployment=on_etcd(etcd))
    most = transact(gw, *[("PUT", f"upstreams/{i}", NODES) for i in range(127)])
    assert most.status == 200, most
    more = transact(gw, *[("PUT", f"upstreams/{i}", NODES) for i in range(128)])
    assert (more.status, more.json["error_msg"]) == (400, "128 operations: the store etcd takes 127 at once")
    assert len(history(gw)[0]["changes"]) == 127


def test_a_long_document_has_a_history_too(make_gw, etcd):
    gw = make_gw(deployment=on_etcd(etcd))
    long = {"plugins": {"response-rewrite": {"body": "x" * 600000}}}
    gw.put("plugin_configs/1", long)
    gw.put("plugin_configs/1", {"plugins": {}})
    wire.wait_until("the watch", lambda: "after" in gw.admin(
        "GET", f"eclusa/history/{history(gw)[0]['revision']}").json["changes"][0])
    revision = history(gw)[1]["revision"]
    wire.wait_until("the documents", lambda: len(json.dumps(
        gw.admin("GET", f"eclusa/history/{revision}").json["changes"][0].get("after"))) > 600000)
    assert gw.admin("POST", "eclusa/rollback", {"revision": revision}).status == 200
    assert gw.admin("GET", "plugin_configs/1").json["value"]["plugins"] == long["plugins"]


def test_a_user_without_rights_writes_without_history(make_gw, etcd):
    etcd.require_login("gateway", "secret")
    config = on_etcd(etcd)
    config["etcd"].update(user="gateway", password="secret")
    gw = make_gw(deployment=config)
    gw.put("upstreams/1", NODES)
    gw.put("upstreams/2", NODES)
    assert gw.log.count("the history is not kept") == 1
    wire.wait_until("what the watch sees", lambda: len(history(gw)) == 2)
    assert [e["who"] for e in history(gw)] == ["outside", "outside"]


def test_a_lease_as_apisix_takes_one(make_gw, etcd):
    gw = make_gw(deployment=on_etcd(etcd))
    gw.admin("PUT", "upstreams/1?ttl=100", NODES)
    leases = etcd.call("lease/leases")["leases"]
    assert len(leases) == 1
    assert 90 <= int(etcd.call("lease/timetolive", ID=leases[0]["ID"])["TTL"]) <= 100
    assert etcd.call("lease/timetolive", ID=leases[0]["ID"], keys=True)["keys"] == ["L2FwaXNpeC91cHN0cmVhbXMvMQ=="]


def test_away_in_a_transaction(make_gw, etcd):
    gw = make_gw(deployment=on_etcd(etcd))
    gw.put("upstreams/1", NODES)
    etcd.kill()
    for reply in (transact(gw, ("PUT", "upstreams/1", NODES)), gw.admin("POST", "eclusa/rollback", {"revision": 1}),
                  gw.admin("GET", "eclusa/history")):
        assert reply.status in (503, 400), reply
    etcd.start()
    wire.wait_until("etcd", lambda: gw.admin("GET", "upstreams").status == 200)
    assert transact(gw, ("PUT", "upstreams/1", {**NODES, "desc": "back"})).status == 200
    assert history(gw)[0]["changes"][0]["action"] == "update"
