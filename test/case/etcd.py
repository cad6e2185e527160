# SPDX-License-Identifier: Apache-2.0
"""A real etcd for cases, spoken to directly, and a relay in front of it that can be cut."""
import base64
import json
import os
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.request

import wire
from gw import ports

PREFIX = "/apisix"


def b64(text):
    return base64.b64encode(text.encode()).decode()


def un64(text):
    return base64.b64decode(text or "").decode()


class Etcd:
    """One member on loopback. Keys are given without the prefix."""

    def __init__(self, folder, tls=None):
        self.folder, self.tls, self.token, self.process = str(folder), tls, None, None
        self.port, self.peer_port = ports.take(), ports.take()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        os.makedirs(self.folder, exist_ok=True)

    def start(self):
        peer = f"http://127.0.0.1:{self.peer_port}"
        command = ["etcd", "--name", "e", "--data-dir", os.path.join(self.folder, "etcd"),
                   "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
                   "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"e={peer}",
                   "--heartbeat-interval", "10", "--election-timeout", "50"]    # ms: alone, it elects itself at once
        if self.tls:
            command += ["--cert-file", self.tls["cert"], "--key-file", self.tls["key"], "--client-cert-auth",
                        "--trusted-ca-file", self.tls["ca"]]
        with open(os.path.join(self.folder, "etcd.log"), "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        wire.wait_until("etcd to answer", self.healthy)
        return self

    def healthy(self):
        assert self.process.poll() is None, open(os.path.join(self.folder, "etcd.log"), encoding="utf-8").read()[-2000:]
        try:
            self.call("kv/range", key=b64("\0"))
            return True
        except urllib.error.HTTPError as e:
            return e.code != 503
        except (OSError, ValueError):
            return False

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def rebuild(self):
        """The same address, with nothing in it."""
        self.kill()
        shutil.rmtree(os.path.join(self.folder, "etcd"))
        return self.start()

    def call(self, path, **body):
        headers = {"Content-Type": "application/json", **({"Authorization": self.token} if self.token else {})}
        request = urllib.request.Request(f"{self.url}/v3/{path}", json.dumps(body).encode(), headers)
        context = self.tls["client_context"] if self.tls else None
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                             urllib.request.HTTPSHandler(context=context))
        with opener.open(request, timeout=5) as reply:
            return json.loads(reply.read())

    def put(self, key, value):
        """A value that is no text is written as JSON, as APISIX writes it."""
        text = value if isinstance(value, str) else json.dumps(value)
        return int(self.call("kv/put", key=b64(PREFIX + key), value=b64(text))["header"]["revision"])

    def delete(self, key):
        return self.call("kv/deleterange", key=b64(PREFIX + key))

    def get(self, key):
        """(value, create_revision, mod_revision); None: not there."""
        found = self.call("kv/range", key=b64(PREFIX + key)).get("kvs")
        if not found:
            return None
        return un64(found[0].get("value")), int(found[0]["create_revision"]), int(found[0]["mod_revision"])

    def compact(self, revision):
        self.call("kv/compaction", revision=str(revision), physical=True)

    def require_login(self, user, password):
        self.call("auth/user/add", name="root", password=password)
        self.call("auth/user/grant", user="root", role="root")
        if user != "root":
            self.call("auth/role/add", name="gateway")
            self.call("auth/role/grant", name="gateway",
                      perm={"permType": "READWRITE", "key": b64(PREFIX + "/"), "range_end": b64(PREFIX + "0")})
            self.call("auth/user/add", name=user, password=password)
            self.call("auth/user/grant", user=user, role="gateway")
        self.call("auth/enable")
        self.log_in(password)

    def log_in(self, password):
        self.token = None
        self.token = self.call("auth/authenticate", name="root", password=password)["token"]


class Relay:
    """A way to a port that can be cut and mended: connections end, and new ones are refused. `http1`: what it says to
    who begins with HTTP/2, before it hangs up, as a proxy that does not know it."""

    def __init__(self, port, http1=None):
        self.target, self.port, self.lock, self.http1 = port, ports.take(), threading.Lock(), http1
        self.sockets, self.listener, self.connections = set(), None, 0
        self.mend()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def mend(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        threading.Thread(target=self.accept_all, args=(self.listener,), daemon=True).start()

    def cut(self):
        with self.lock:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            sockets, self.sockets = self.sockets, set()
        for s in sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()

    def accept_all(self, listener):
        while True:
            try:
                near = listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                if listener.fileno() < 0:
                    return
                continue
            with self.lock:
                self.connections += 1
                self.sockets |= {near, far}
            threading.Thread(target=self.carry, args=(near, far, self.http1), daemon=True).start()
            threading.Thread(target=self.carry, args=(far, near), daemon=True).start()

    @staticmethod
    def carry(a, b, http1=None):
        try:
            a.settimeout(None)
            while data := a.recv(65536):
                if http1 is not None and data.startswith(b"PRI * HTTP/2.0"):
                    a.sendall(http1)
                    break
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
