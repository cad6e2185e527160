# SPDX-License-Identifier: Apache-2.0
"""Changes of all kinds by several clients beneath load: every answer is one that some configuration gives, and the thread
sanitizer has nothing to say (make storm)."""
import os
import random
import threading
import time

import pytest

import wire

pytestmark = [pytest.mark.asan, pytest.mark.seconds(120)]
SECONDS = float(os.environ.get("STORM_SECONDS", "3"))


def documents(rng, upstream, pem):
    """(path, body): a write of some kind; names are few, so that changes meet each other."""
    n = rng.randrange(6)
    node = {"nodes": {upstream.node: 1, "127.0.0.1:1": 0}, "retries": rng.randrange(3)}
    mark = {"response-rewrite": {"headers": {"set": {"X-Mark": str(rng.randrange(1000))}}}}
    auth = {"key-auth": {}} if rng.random() < 0.5 else {}
    target = rng.choice([{"upstream": node}, {"upstream_id": "u"}, {"service_id": "s"}])
    return rng.choice([
        (f"routes/{n}", {"uri": f"/r{n}", "plugins": {**mark, **auth}, **target}),
        (f"routes/{n}", {"uris": [f"/r{n}", f"/q{n}/*"], "hosts": ["*.example", "a.example"], "plugins": mark, **target}),
        (f"routes/{n}", {"uri": f"/r{n}", "plugin_config_id": "p", "vars": [["arg_x", "!=", "y"]], **target}),
        ("upstreams/u", node), ("services/s", {"upstream": node, "plugins": mark}), ("plugin_configs/p", {"plugins": {**mark, **auth}}),
        (f"consumers/user{n}", {"username": f"user{n}", "plugins": {"key-auth": {"key": f"key{rng.randrange(6)}"}}}),
        (f"consumers/user{n}", {"username": f"user{n}", "group_id": "g", "plugins": {"key-auth": {"key": "$env://PATH/none"}}}),
        ("consumers/user0/credentials/c", {"plugins": {"key-auth": {"key": f"key{n}"}}}),
        ("consumer_groups/g", {"plugins": {"limit-count": {"count": 100000, "time_window": 60, "key": "consumer_name"}}}),
        ("global_rules/1", {"plugins": {"cors": {}}}), ("plugin_metadata/limit-count", {"anything": n}),
        (f"ssls/{n}", {"sni": f"h{n}.example", **pem}),
        (f"secrets/vault/{n}", {"uri": "http://127.0.0.1:1", "prefix": "kv", "token": "t"}),
    ])


def change(gw, upstream, pem, seed, until, faults):
    rng = random.Random(seed)
    while time.monotonic() < until and not faults:
        path, body = documents(rng, upstream, pem)
        method = rng.choice(["PUT", "PUT", "PUT", "DELETE", "GET"])
        try:
            reply = gw.admin(method, path, body if method == "PUT" else None)
        except (OSError, wire.Closed) as e:
            faults.append((method, path, repr(e)))
            return
        # 400: it refers to what another client deleted, or is referred to; 404: that was quicker.
        if reply.status not in (200, 201, 400, 404):
            faults.append((method, path, reply))


def ask(gw, seed, until, faults, count):
    rng = random.Random(seed)
    while time.monotonic() < until and not faults:
        try:
            with wire.connect(gw.port) as w:
                for _ in range(50):
                    n = rng.randrange(6)
                    host = rng.choice(["a.example", "b.example", "127.0.0.1"])
                    w.request("GET", rng.choice([f"/r{n}", f"/q{n}/more", f"/r{n}?x=y"]),
                              [("Host", host), ("apikey", f"key{n}")])
                    reply = w.response()
                    if reply.status not in (200, 401, 404, 502, 503):
                        faults.append(reply)
                    count[0] += 1
        except (OSError, wire.Closed) as e:
            faults.append(repr(e))


def test_changes_beneath_load(gw, upstream, certs):
    pem = {name: open(certs[name], encoding="ascii").read() for name in ("cert", "key")}
    faults, counts, until = [], [[0] for _ in range(3)], time.monotonic() + SECONDS
    threads = [threading.Thread(target=change, args=(gw, upstream, pem, seed, until, faults)) for seed in range(4)]
    threads += [threading.Thread(target=ask, args=(gw, 100 + i, until, faults, count)) for i, count in enumerate(counts)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not faults, faults[:3]
    assert all(count[0] > 50 for count in counts), counts
    # It still does what it is told.
    for n in range(6):
        gw.admin("DELETE", f"routes/{n}")
    gw.delete("global_rules/1") if gw.admin("GET", "global_rules/1").status == 200 else None
    gw.route("/after", upstream, id="after")
    assert gw.get("/after").status == 200
    assert "ThreadSanitizer" not in gw.log
