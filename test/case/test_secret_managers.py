# SPDX-License-Identifier: Apache-2.0
"""`$secret://`: read beside the requests, kept while its manager is away, closed when there is none."""
import contextlib
import json
import os
import sqlite3
import subprocess
import threading

import pytest

import wire
from vault import AWS, TOKEN, Manager, aws, gcp, vault

FAST = {"apisix": {"lru": {"secret": {"ttl": 1, "neg_ttl": 1}}}}


@pytest.fixture
def make_manager():
    managers = []

    def make(reply):
        managers.append(Manager(reply))
        return managers[-1]
    yield make
    for manager in managers:
        manager.gate = None
        manager.stop()


def consumer(gw, name, key):
    gw.put("consumers", {"username": name, "plugins": {"key-auth": {"key": key}}})


def status(gw, key):
    return gw.get("/key", {"apikey": key}).status


def wait_status(gw, key, expected):
    wire.wait_until(f"{expected} for {key}", lambda: status(gw, key) == expected, 15)


def manage(gw, manager, name="vault/1", prefix="kv", **more):
    gw.put(f"secrets/{name}", {"uri": manager.uri, "prefix": prefix, "token": TOKEN, **more})


@pytest.mark.asan
def test_vault(make_gw, upstream, make_manager):
    server = make_manager(vault)
    server.secrets = {"kv/jack": {"key": "S3CRET-1", "number": 5, "none": None}, "kv2/data/a/b": {"key": "S3CRET-2"},
                      "kv/headers": {"greeting": "S3CRET-hello"}}
    gw = make_gw()
    gw.route("/key", upstream, {"key-auth": {}})
    consumer(gw, "jack", "$secret://vault/1/jack/key")
    gw.wait_log("there is no secret manager vault/1")
    assert status(gw, "$secret://vault/1/jack/key") == 401
    manage(gw, server)
    wait_status(gw, "S3CRET-1", 200)
    manage(gw, server, "vault/2", "/kv2/data/", namespace="ns")
    consumer(gw, "jill", "$secret://vault/2/a/b/key")
    wait_status(gw, "S3CRET-2", 200)
    assert server.asked[-1][2]["X-Vault-Namespace"] == "ns"
    gw.route("/hello", upstream, {"response-rewrite": {"headers": {"set": {"X-Greeting": "$secret://vault/1/headers/greeting"}}}})
    wire.wait_until("the greeting", lambda: gw.get("/hello").headers.get("X-Greeting") == "S3CRET-hello")
    # One that guards and has no value closes; so does one that nobody could ever read.
    for bad in ("jack/none", "jack/other", "nobody/key", "jack"):
        gw.put("routes/g", {"uri": "/guarded", "plugins": {"key-auth": {"header": f"$secret://vault/1/{bad}"}},
                            "upstream": {"nodes": {upstream.node: 1}}})
        assert gw.get("/guarded").status == 503
        if bad == "jack/other":                         # before the next write takes the reference away
            gw.wait_log("jack/other cannot be read: there is no such member")
    # The first request after a start finds them read.
    for _ in range(2):
        gw.restart()
        assert status(gw, "S3CRET-1") == 200 and status(gw, "S3CRET-2") == 200
        assert gw.get("/hello").headers.get("X-Greeting") == "S3CRET-hello"
    # What is shown is the reference, and nothing secret is in the log or, sealed, in the store.
    assert gw.admin("GET", "consumers/jack").json["value"]["plugins"]["key-auth"]["key"] == "$secret://vault/1/jack/key"
    assert gw.admin("GET", "secrets/vault/1").json["value"]["token"] == TOKEN
    gw.stop()
    assert "S3CRET" not in gw.log
    with contextlib.closing(sqlite3.connect(os.path.join(gw.data_dir, "eclusa.db"))) as db:
        stored = "\n".join(db.iterdump())
    assert "$secret://vault/1/headers/greeting" in stored and "S3CRET" not in stored
    gw.start()


@pytest.mark.asan
def test_changes_and_faults(make_gw, upstream, make_manager):
    server = make_manager(vault)
    server.secrets = {"kv/jack": {"key": "one", "second": "1"}}
    gw = make_gw(**FAST)
    gw.route("/key", upstream, {"key-auth": {}})
    manage(gw, server)
    consumer(gw, "jack", "$secret://vault/1/jack/key")
    consumer(gw, "jill", "$secret://vault/1/jack/second")
    wait_status(gw, "one", 200)
    # Another value replaces it, by itself; one read is for both members.
    server.secrets["kv/jack"] = {"key": "two", "second": "2"}
    wait_status(gw, "two", 200)
    assert (status(gw, "one"), status(gw, "2"), status(gw, "1")) == (401, 200, 401)
    # Errors, an answer that is none, and a server that is gone leave the last one in use.
    for code in (500, 403):
        server.status = code
        server.wait_asked(len(server.asked) + 2)
        assert status(gw, "two") == 200, code
        server.status = 200
        wire.wait_until("a good answer", lambda: gw.log.count("is read again") >= gw.log.count("cannot be read"))
    server.how = lambda *_: (200, ["S3CRET"])
    server.wait_asked(len(server.asked) + 2)
    assert status(gw, "two") == 200
    server.how = vault
    server.stop()
    wire.wait_until("the log to say it", lambda: gw.log.count("Its last value stays in use") >= 4)
    assert status(gw, "two") == 200
    server.secrets["kv/jack"] = {"key": "three", "second": "3"}
    server.start()
    wait_status(gw, "three", 200)
    assert "S3CRET" not in gw.log
    # What the manager says is gone, is gone; and so is what a manager gave that was deleted.
    del server.secrets["kv/jack"]
    wait_status(gw, "three", 401)
    server.secrets["kv/jack"] = {"key": "four", "second": "4"}
    wait_status(gw, "four", 200)
    gw.delete("secrets/vault/1")
    wait_status(gw, "four", 401)
    # Nobody asks for what nobody refers to.
    manage(gw, server)
    wait_status(gw, "four", 200)
    gw.delete("consumers/jack")
    gw.delete("consumers/jill")
    count = len(server.asked)
    server.secrets["kv/other"] = {"key": "five"}
    for name in ("a", "b", "c"):
        consumer(gw, "jack", "$secret://vault/1/other/key")
        wait_status(gw, "five", 200)
        gw.delete("consumers/jack")
    assert all(path != "/v1/kv/jack" for _, path, _, _ in server.asked[count + 1:])


def test_no_request_waits(make_gw, upstream, make_manager):
    """A manager that hangs holds up neither requests nor changes, and the gateway stops."""
    server = make_manager(vault)
    server.secrets = {"kv/jack": {"key": "one"}}
    gw = make_gw(**FAST)
    gw.route("/key", upstream, {"key-auth": {}})
    manage(gw, server)
    consumer(gw, "jack", "$secret://vault/1/jack/key")
    wait_status(gw, "one", 200)
    server.gate = threading.Event()
    server.wait_asked(len(server.asked) + 1)
    for _ in range(5):
        assert status(gw, "one") == 200
        consumer(gw, "jill", "plain")
        assert status(gw, "plain") == 200
    assert gw.stop() == 0
    server.gate.set()
    server.gate = None
    gw.start()


@pytest.mark.asan
def test_aws_and_gcp(make_gw, upstream, make_manager, tmp_path):
    key, public = str(tmp_path / "key.pem"), str(tmp_path / "public.pem")
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)
    amazon, google = make_manager(aws), make_manager(gcp(public))
    google.folder = str(tmp_path)
    amazon.secrets = {"prod/gateway": {"jack": "of aws"}}
    google.secrets = {"gateway": {"jill": "of gcp", "joe": "of a file"}}
    gw = make_gw(**FAST)
    gw.route("/key", upstream, {"key-auth": {}})
    gw.put("secrets/aws/1", {**AWS, "region": "eu-west-1", "endpoint_url": amazon.uri, "session_token": "S3CRET-session"})
    account = {"client_email": "gateway@cases", "private_key": open(key, encoding="ascii").read(), "project_id": "p",
               "token_uri": f"{google.uri}/token", "entries_uri": f"{google.uri}/v1"}
    gw.put("secrets/gcp/1", {"auth_config": account})
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account))
    gw.put("secrets/gcp/2", {"auth_file": str(file)})
    gw.put("secrets/gcp/3", {"auth_config": {**account, "private_key": "S3CRET, but no PEM"}})
    consumer(gw, "jack", "$secret://aws/1/prod/gateway/jack")
    consumer(gw, "jill", "$secret://gcp/1/gateway/jill")
    consumer(gw, "joe", "$secret://gcp/2/gateway/joe")
    consumer(gw, "jim", "$secret://gcp/3/gateway/jill")
    for secret in ("of aws", "of gcp", "of a file"):
        wait_status(gw, secret, 200)
    gw.wait_log("private_key is no PEM")
    amazon.secrets["prod/gateway"] = {"jack": "of aws, changed"}
    wait_status(gw, "of aws, changed", 200)
    assert amazon.asked[-1][2]["X-Amz-Security-Token"] == "S3CRET-session"
    assert "S3CRET" not in gw.log and "of aws" not in gw.log and "of gcp" not in gw.log
