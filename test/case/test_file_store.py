# SPDX-License-Identifier: Apache-2.0
"""Configuration in apisix.yaml or apisix.json: APISIX's standalone mode."""
import json
import os
import signal
import subprocess
import threading
import time

import pytest

import wire
from gw import LIVE, Gateway


class Standalone(Gateway):
    """A data plane with its documents in a file beside config.yaml."""

    def __init__(self, folder, kind="yaml"):
        super().__init__(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.file = os.path.join(self.folder, f"apisix.{kind}")
        self.config(deployment={"role": "data_plane", "role_data_plane": {"config_provider": kind}})

    def write(self, text, path=None):
        """In place, as an editor without care does it."""
        with open(path or self.file, "w", encoding="utf-8") as f:
            f.write(text)
        return self

    def replace(self, text):
        self.write(text, self.file + ".new")
        os.rename(self.file + ".new", self.file)

    def status(self, path, headers=()):
        return self.get(path, headers).status

    def serves(self, path, status=200):
        """Until one thread answers so; then the others have a moment to follow."""
        wire.wait_until(f"{path} to answer {status}", lambda: self.status(path) == status)
        self.live_at = time.monotonic() + LIVE

    def logged(self, text, times=1):
        wire.wait_until(f"{text!r} in the log", lambda: self.log.count(text) >= times)

    def refuses(self, why):
        done = subprocess.run(self.command("run"), cwd=self.folder, capture_output=True, text=True, timeout=30,
                              check=False)
        assert done.returncode != 0 and why in done.stderr, done.stderr


@pytest.fixture
def make(tmp_path):
    gateways = []

    def one(kind="yaml"):
        gateways.append(Standalone(tmp_path / f"gw{len(gateways)}", kind))
        return gateways[-1]
    yield one
    for gateway in gateways:
        gateway.finish() if gateway.process else None


def routes(upstream, *uris, end="#END\n"):
    lines = ["routes:"]
    for uri in uris:
        lines += [f"  - uri: {uri}", "    upstream:", "      type: roundrobin", f"      nodes: {{\"{upstream.node}\": 1}}"]
    return "\n".join(lines + [end])


@pytest.mark.quick
def test_all_kinds_and_ids(make, upstream):
    gw = make().write(f"""
# A comment
upstreams:
  - id: 1
    type: roundrobin
    nodes:
      "{upstream.node}": 1
services:
  - id: s1
    upstream_id: 1
plugin_configs:
  - id: pc
    plugins: {{key-auth: {{}}}}
consumers:
  - username: jack
    plugins:
      key-auth: {{key: jacks-key}}
routes:
  - id: a
    uri: /a
    service_id: s1
    plugin_config_id: pc
  - uri: /b
    upstream_id: 1
stream_routes:
  - server_port: 9100
    upstream_id: 1
plugin_metadata:
  - id: http-logger
    log_format: {{host: "$host"}}
#END
""").start()
    assert gw.status("/a") == 401
    assert gw.status("/a", {"apikey": "jacks-key"}) == 200
    assert gw.status("/b") == 200
    with pytest.raises(OSError):
        wire.connect(gw.admin_port)
    assert not os.path.exists(os.path.join(gw.data_dir, "secret.key"))


@pytest.mark.quick
def test_changes_are_seen(make, upstream):
    gw = make().write(routes(upstream, "/a")).start()
    assert gw.status("/a") == 200
    gw.write(routes(upstream, "/b"))            # the same size, perhaps within one tick of the file's clock
    gw.serves("/b")
    assert gw.status("/a") == 404
    for uri in ("/c", "/d", "/e"):
        gw.replace(routes(upstream, uri, "/b"))
        gw.serves(uri)
        assert gw.status("/b") == 200
    # Only what differs is a change.
    gw.replace(routes(upstream, "/e", "/b", "/f"))
    gw.serves("/f")
    assert gw.log.rstrip().endswith("reloaded: 1 changes")
    os.remove(gw.file)
    gw.replace(routes(upstream, "/last"))
    gw.serves("/last")


def test_a_link_that_is_turned(make, upstream):
    """As Kubernetes mounts a ConfigMap: apisix.yaml -> ..data/apisix.yaml, ..data -> a folder."""
    gw = make()

    def publish(version, text):
        folder = os.path.join(gw.folder, f"..{version}")
        os.mkdir(folder)
        gw.write(text, os.path.join(folder, "apisix.yaml"))
        os.symlink(f"..{version}", os.path.join(gw.folder, "..data_tmp"))
        os.rename(os.path.join(gw.folder, "..data_tmp"), os.path.join(gw.folder, "..data"))
    publish(1, routes(upstream, "/1"))
    os.symlink("..data/apisix.yaml", gw.file)
    gw.start()
    for version in (2, 3, 4):
        publish(version, routes(upstream, f"/{version}"))
        gw.serves(f"/{version}")
        assert gw.status(f"/{version - 1}") == 404
    # And a link to a file elsewhere that is written there.
    gw.write(routes(upstream, "/inside"), os.path.join(gw.folder, "..4", "apisix.yaml"))
    gw.serves("/inside")


@pytest.mark.parametrize("text, why", [
    (lambda u: routes(u, "/b", end=""), "missing valid end flag"),
    (lambda u: routes(u, "/b", end="#END\nroutes2: 1\n"), "missing valid end flag"),
    (lambda u: "routes: [\n#END\n", "line "),
    (lambda u: "- 1\n#END\n", "it should hold lists by kind"),
    (lambda u: routes(u, "/${{NOT_THERE}}"), "can't find environment variable NOT_THERE"),
])
def test_a_broken_file_changes_nothing(make, upstream, text, why):
    gw = make().write(routes(upstream, "/a")).start()
    gw.write(text(upstream))
    gw.logged("The last good configuration stays in service")
    gw.wait_log(why)
    assert gw.status("/a") == 200 and gw.status("/b") == 404
    gw.write(routes(upstream, "/c"))
    gw.serves("/c")
    gw.stop()
    gw.write(text(upstream))
    gw.refuses(why)


def test_no_start_without_a_file(make):
    gw = make()
    gw.refuses("apisix.yaml: No such file or directory")


def test_bad_items_are_skipped_one_by_one(make, upstream):
    gw = make().write(f"""
routes:
  - id: bad
    uri: 7
  - just text
  - id: good
    uri: /good
    upstream: {{type: roundrobin, nodes: {{"{upstream.node}": 1}}}}
  - id: twice
    uri: /first
    upstream: {{type: roundrobin, nodes: {{"{upstream.node}": 1}}}}
  - id: twice
    uri: /second
    upstream: {{type: roundrobin, nodes: {{"{upstream.node}": 1}}}}
upstreams: no list
plugins:
  - name: key-auth
#END
""").start()
    assert [gw.status(p) for p in ("/good", "/first", "/second")] == [200, 404, 200]
    for said in ("/routes/bad is kept out", "invalid item data of [routes/2], it should be an object",
                 "/routes/twice occurs twice", "upstreams should be a list", "plugins in this file has no effect"):
        gw.wait_log(said)


def test_variables(make, upstream):
    gw = make()
    gw.env = {"NODE": upstream.node, "KEY": "12345", "PRIORITY": "7"}
    gw.write("""
routes:
  - id: 1
    uri: /${{PATH_OF_ROUTE:=default}}
    priority: ${{PRIORITY}}
    plugins: {key-auth: {}}
    upstream:
      type: roundrobin
      nodes: {"${{NODE}}": 1}
consumers:
  - username: jack
    plugins:
      key-auth: {key: "${{KEY}}"}
#END
""").start()
    assert gw.status("/default", {"apikey": "12345"}) == 200
    assert gw.status("/default", {"apikey": "1"}) == 401


def test_json(make, upstream):
    gw = make("json")
    gw.env = {"NODE": upstream.node}
    document = {"routes": [{"uri": "/a", "upstream_id": "1"}],
                "upstreams": [{"id": "1", "type": "roundrobin", "nodes": {"${{NODE}}": 1}}]}
    gw.write(json.dumps(document)).start()
    assert gw.status("/a") == 200
    gw.write(json.dumps(document)[:-9])
    gw.logged("failed to decode json")
    assert gw.status("/a") == 200
    document["routes"][0]["uri"] = "/b"
    gw.replace(json.dumps(document))
    gw.serves("/b")


@pytest.mark.seconds(60)
def test_many_routes(make, upstream):
    gw = make().write(routes(upstream, *(f"/{i}" for i in range(20000)))).start()
    assert gw.status("/0") == gw.status("/19999") == 200
    gw.replace(routes(upstream, *(f"/{i}" for i in range(20000)), "/new"))
    gw.serves("/new")
    assert gw.log.rstrip().endswith("reloaded: 1 changes")


def test_changes_while_draining(make, upstream):
    """The file changes while requests end: the threads follow it no more, and the process ends as it should."""
    gw = make()
    gw.config(nginx_config={"error_log_level": "info"}).write(routes(upstream, "/slow")).start()
    answer = threading.Event()
    upstream.on("/slow").raw(lambda w, _: (answer.wait(20), w.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")))
    with gw.connect() as w:
        w.request("GET", "/slow")
        upstream.wait("the request", lambda u: u.requests)
        gw.process.send_signal(signal.SIGTERM)
        gw.logged("signal 15: stopping")
        for n in range(1, 4):
            gw.replace(routes(upstream, "/slow", f"/{n}"))
            gw.logged("apisix.yaml reloaded", n)
        answer.set()
        assert w.response().body == b"late"
    process, gw.process = gw.process, None
    assert process.wait(20) == 0, gw.log
    gw.finish()
