# SPDX-License-Identifier: Apache-2.0
"""The gateway under test: one process with its own ports, folder and Admin key."""
import fcntl
import json
import os
import random
import re
import signal
import socket
import subprocess
import tempfile
import time

import wire
from peer import ROOT

BINARY = os.environ.get("ECLUSA_BIN") or os.path.join(ROOT, "build/eclusa")
SANITIZED = "asan" in BINARY
KEY = "key-of-the-cases-0123456789abcdef"
# An acknowledged write is live on every thread within this time: the gateway's own promise, and what a case waits for
# after a write that did not ask to be live. Sanitizers slow it.
LIVE = 0.25 if SANITIZED else 0.05
START = STOP = 20 if SANITIZED else 10
# No case trusts the authorities of the machine, which take longer to read than all else at a start.
NO_AUTHORITIES = {"SSL_CERT_FILE": os.devnull}
BAD_OUTPUT = re.compile(r"ASSERT|panic:|ERROR: AddressSanitizer|runtime error|LeakSanitizer|WARNING: ThreadSanitizer|\[(?:alert|emerg)\]")


def merge(into, other):
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value
    return into


class FreePorts:
    """Below the ephemeral range, so that no outgoing connection takes one between the check and the start; each is
    this process's until it ends (a lock on that byte of a file), so that no other run takes one that a gateway has
    left for the moment of a restart."""

    def __init__(self):
        self.next = random.randrange(12000, 30000)
        self.locks = open(os.path.join(tempfile.gettempdir(), f"eclusa-ports-{os.getuid()}"), "ab")

    def take(self):
        while True:
            self.next = self.next + 1 if self.next < 31999 else 12000
            try:
                fcntl.lockf(self.locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self.next)
                with socket.socket() as s:
                    s.bind(("127.0.0.1", self.next))
                    return self.next
            except OSError:
                continue


ports = FreePorts()


class Gateway:
    def __init__(self, folder):
        self.folder = str(folder)
        self.data_dir = os.path.join(self.folder, "data")
        self.port, self.admin_port, self.control_port = ports.take(), ports.take(), ports.take()
        self.stderr_file = os.path.join(self.folder, "stderr.log")
        self.access_file = os.path.join(self.folder, "access.log")
        self.process, self.live_at, self.routes, self.env = None, 0.0, 0, {}
        self.settings = {
            "apisix": {"node_listen": [{"ip": "127.0.0.1", "port": self.port}], "ssl": {"enable": False},
                       "control": {"ip": "127.0.0.1", "port": self.control_port}},
            "deployment": {"admin": {
                "admin_listen": {"ip": "127.0.0.1", "port": self.admin_port},
                "admin_key": [{"name": "admin", "key": KEY, "role": "admin"}],
            }},
            "nginx_config": {"worker_processes": 2, "http": {"access_log": self.access_file}},
            "eclusa": {"data_dir": self.data_dir},
        }

    # --- the process

    def config(self, **sections):
        """Merges into config.yaml; before start, or before restart."""
        merge(self.settings, sections)
        return self

    def command(self, *words):
        os.makedirs(self.data_dir, exist_ok=True)
        path = os.path.join(self.folder, "config.yaml")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(self.settings, f, indent=2)       # JSON is YAML
        return [BINARY, *words, "-c", path]

    def start(self):
        with open(self.stderr_file, "ab") as err:
            self.process = subprocess.Popen(self.command("run"), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=err,
                                            stderr=err, env={**os.environ, **NO_AUTHORITIES, **self.env})
        role = self.settings["deployment"].get("role")
        for port in {"data_plane": (self.port,), "control_plane": (self.admin_port,)}.get(
                role, (self.port, self.admin_port)):
            wire.wait_until(f"port {port}", lambda p=port: self.listens(p), START)
        return self

    def listens(self, port):
        assert self.process.poll() is None, f"ended with {self.process.returncode} at its start:\n{self.log}"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False

    def stop(self, how=signal.SIGTERM):
        """Returns the exit code. SIGTERM lets what is under way end, SIGINT does not wait."""
        process, self.process = self.process, None
        process.send_signal(how)
        try:
            return process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"still running {STOP} s after {how.name}\n{self.log[-4000:]}") from None

    def kill(self):
        process, self.process = self.process, None
        process.kill()
        process.wait()

    def restart(self):
        if self.process:
            assert self.stop() == 0, self.log
        return self.start()

    def finish(self):
        """What every case ends with: a clean exit, and nothing in the log that says otherwise. The gateway of each case
        ends at once, those with sanitizers after a drain: both ways are gone hundreds of times."""
        code = self.stop(signal.SIGTERM if SANITIZED else signal.SIGINT) if self.process else 0
        bad = [line for line in self.log.split("\n") if BAD_OUTPUT.search(line)]
        assert not bad and code == 0, f"exit code {code}\n{self.log[-6000:]}"

    @property
    def log(self):
        with open(self.stderr_file, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait_log(self, *texts):
        """The error log is written by a thread of its own: what is said may come a moment after what it is about."""
        for text in texts:
            wire.wait_until(f"{text!r} in the log", lambda: text in self.log)

    @property
    def access_log(self):
        if not os.path.exists(self.access_file):
            return []
        with open(self.access_file, encoding="utf-8", errors="replace") as f:
            return f.read().splitlines()

    def wait_access_log(self, lines):
        return wire.wait_until(f"{lines} lines in the access log",
                               lambda: len(self.access_log) >= lines and self.access_log)

    # --- the control side

    def admin(self, method, path, body=None, key=KEY, headers=()):
        """One Admin API request, any outcome. A path without a leading slash is below /apisix/admin."""
        path = path if path.startswith("/") else f"/apisix/admin/{path}"
        headers = [("Connection", "close"), *(headers.items() if isinstance(headers, dict) else headers)]
        with wire.connect(self.admin_port) as w:
            w.request(method, path, headers + ([("X-API-KEY", key)] if key else []), body)
            reply = w.response(method)
        self.live_at = time.monotonic() + LIVE
        return reply

    def write(self, method, path, body=None):
        """As admin; answered when every worker serves it."""
        reply = self.admin(method, path, body, headers=[("X-Eclusa-Wait", "live")])
        self.live_at = 0.0
        return reply

    def put(self, path, body):
        reply = self.write("PUT", path, body)
        assert reply.status in (200, 201), (path, reply)
        return reply.json

    def delete(self, path):
        reply = self.write("DELETE", path)
        assert reply.status == 200, (path, reply)
        return reply.json

    def route(self, uri, upstream, plugins=None, **fields):
        """A route to an Upstream, or to the fields of an upstream; returns its id."""
        self.routes += 1
        if not isinstance(upstream, dict):
            upstream = {"type": "roundrobin", "nodes": {upstream.node: 1}}
        body = {"uri": uri, "upstream": upstream, **fields}
        if plugins:
            body["plugins"] = plugins
        self.put(f"routes/{fields.get('id', self.routes)}", body)
        return fields.get("id", self.routes)

    def control(self, path, method="GET", headers=(), port=None):
        """One request to the control API, or to another server of the control side."""
        with wire.connect(port or self.control_port) as w:
            w.request(method, path, [("Connection", "close"), *headers])
            return w.response(method)

    # --- the data side

    def connect(self, timeout=wire.TIMEOUT):
        time.sleep(max(0.0, self.live_at - time.monotonic()))
        return wire.connect(self.port, timeout=timeout)

    def request(self, method, target, headers=(), body=None, **more):
        """One request on a connection of its own."""
        with self.connect() as w:
            w.request(method, target, headers, body, **more)
            return w.response(method)

    def get(self, target, headers=()):
        return self.request("GET", target, headers)

    def post(self, target, body=b"", headers=()):
        return self.request("POST", target, headers, body)

    def raw(self, data, split=False):
        """Sends bytes, whole or one by one, and returns the first response; None when the gateway only closed."""
        with self.connect() as w:
            w.send(data, split)
            try:
                return w.response()
            except wire.Closed:
                return None
