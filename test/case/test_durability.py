# SPDX-License-Identifier: Apache-2.0
"""What was acknowledged stays, whatever happens to the process."""
import random
import threading

import pytest

import wire
from gw import KEY


class Writer(threading.Thread):
    """Writes routes as fast as the Admin API takes them; remembers what was acknowledged, by route id."""

    def __init__(self, gw, name, node):
        super().__init__(daemon=True)
        self.gw, self.name, self.node, self.n = gw, name, node, 0
        self.acked, self.doubt, self.revision = {}, set(), 0

    def body(self, route):
        return {"uri": f"/{route}", "desc": str(self.n), "upstream": {"type": "roundrobin", "nodes": {self.node: 1}}}

    def run(self):
        try:
            with wire.connect(self.gw.admin_port) as w:
                while True:
                    self.n += 1
                    route = f"{self.name}-{self.n % 40}"
                    gone = self.n % 7 == 0 and self.acked.get(route)
                    self.doubt.add(route)               # until the answer is there
                    w.request("DELETE" if gone else "PUT", f"/apisix/admin/routes/{route}", {"X-API-KEY": KEY},
                              None if gone else self.body(route))
                    reply = w.response()
                    assert reply.status in (200, 201), reply
                    self.acked[route] = None if gone else str(self.n)
                    self.doubt.discard(route)
        except (wire.Closed, OSError):
            pass                                        # killed


@pytest.mark.seconds(120)
def test_no_acknowledged_write_is_lost(gw, upstream):
    writers, total = [], 0
    for round_ in range(12):
        writers = [Writer(gw, f"w{round_}-{i}", upstream.node) for i in range(3)]
        for w in writers:
            w.start()
        wire.wait_until("some writes", lambda: all(len(w.acked) > 3 for w in writers))
        threading.Event().wait(random.uniform(0.0, 0.25))     # not a wait for anything: when the kill falls is the dice's
        gw.kill()
        for w in writers:
            w.join(10)
        gw.start()
        stored = {item["value"]["id"]: item["value"] for item in gw.admin("GET", "routes").json["list"]}
        for w in writers:
            for route, want in w.acked.items():
                if route not in w.doubt:
                    assert stored.get(route, {}).get("desc") == want, (route, want, stored.get(route))
            total += w.n
            served = [r for r, want in w.acked.items() if want and r not in w.doubt]
            assert gw.get(f"/{served[-1]}").status == 200
    print(f"{total} writes over 12 kills")
    assert total > 100


@pytest.mark.quick
def test_restart_serves_what_was_stored(gw, upstream):
    gw.put("upstreams/1", {"type": "roundrobin", "nodes": {upstream.node: 1}})
    gw.put("services/1", {"upstream_id": "1"})
    gw.put("plugin_configs/1", {"plugins": {"proxy-rewrite": {"uri": "/rewritten"}}})
    gw.put("consumers", {"username": "c", "plugins": {"basic-auth": {"username": "u", "password": "p"}}})
    gw.put("routes/1", {"uri": "/a", "service_id": "1", "plugin_config_id": "1", "plugins": {"basic-auth": {}}})
    kinds = ("routes", "services", "upstreams", "consumers", "plugin_configs")
    before = {kind: gw.admin("GET", kind).json for kind in kinds}
    gw.restart()
    assert {kind: gw.admin("GET", kind).json for kind in kinds} == before
    assert gw.get("/a").status == 401
    assert gw.get("/a", {"Authorization": "Basic dTpw"}).status == 200
    assert upstream.requests[0].target == "/rewritten"


def test_revisions_go_on_after_a_restart(gw, upstream):
    nodes = {"type": "roundrobin", "nodes": {upstream.node: 1}}
    gw.put("upstreams/1", nodes)
    first = gw.admin("GET", "upstreams/1").json
    gw.delete("upstreams/1")
    gw.restart()
    gw.put("upstreams/1", nodes)
    assert gw.admin("GET", "upstreams/1").json["createdIndex"] > first["modifiedIndex"] + 1, "the delete counted too"


@pytest.mark.seconds(60)
def test_first_request_is_answered_by_what_is_stored(gw, upstream):
    """Ready is when the port listens: never a 404 of the start-up, though there is much to load."""
    for i in range(300):
        gw.put(f"routes/{i + 1}", {"uri": f"/r{i}", "upstream": {"type": "roundrobin", "nodes": {upstream.node: 1}}})
    for _ in range(5):
        gw.kill()
        gw.start()
        assert gw.get("/r299").status == 200


@pytest.mark.seconds(60)
def test_write_is_live_on_every_thread(gw, upstream, make_upstream):
    """Within the promised time after its acknowledgement, whichever thread a connection lands on."""
    second = make_upstream()
    second.on("*").reply(200, "second")
    for turn in range(5):
        for up, text in ((upstream, "ok"), (second, "second")):
            gw.route("/", up, id="1")
            assert {gw.get("/").text for _ in range(16)} == {text}, turn
