# SPDX-License-Identifier: Apache-2.0
"""The other ends of a case: a scripted upstream, and the LLM simulator."""
import json
import os
import socket
import ssl
import subprocess
import threading
import time

import wire

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Rule:
    """What the upstream does with a path: replies in turn, the last one again and again."""

    def __init__(self):
        self.replies = []

    def reply(self, status=200, body="", headers=(), delay=0, chunks=None, gap=0, trailers=(), interim=()):
        """chunks: sent one by one, `gap` seconds apart, with `trailers`; interim: (status, headers) before it."""
        body = json.dumps(body) if isinstance(body, (dict, list)) else body
        body = body.encode() if isinstance(body, str) else body
        headers = list(headers.items() if isinstance(headers, dict) else headers)

        def act(w, request):
            send = w.sock.sendall                   # raises when the gateway has left: the script ends there
            time.sleep(delay)                       # the script's own pace, nobody waits for it
            for code, extra in interim:
                send(head(code, extra))
            if chunks is not None:
                send(head(status, headers + [("Transfer-Encoding", "chunked")]))
                for chunk in chunks:
                    data = chunk.encode() if isinstance(chunk, str) else chunk
                    send(b"%x\r\n%s\r\n" % (len(data), data))
                    time.sleep(gap)
                send(wire.chunked((), trailers))
                return
            bodiless = status in (204, 304)
            framing = [] if bodiless or any(k.lower() == "content-length" for k, _ in headers) else \
                [("Content-Length", str(len(body)))]
            send(head(status, headers + framing) + (b"" if bodiless or request.method == "HEAD" else body))
        self.replies.append(act)
        return self

    def raw(self, act):
        """act(wire, request) does what it likes; when it returns, the connection is closed."""
        def once(w, request):
            act(w, request)
            raise wire.Closed("raw")
        self.replies.append(once)
        return self

    def next(self):
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


class Upstream:
    """An HTTP/1.1 server that says what it is told, and keeps what it got exactly as it got it."""

    def __init__(self, tls=None):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.node = f"127.0.0.1:{self.port}"
        self.tls, self.rules, self.first = tls, {}, None
        self.requests, self.connections, self.open = [], 0, 0
        self.changed = threading.Condition()
        self.wires = set()
        self.broken = []
        threading.Thread(target=self.accept_all, daemon=True).start()

    def on(self, path):
        return self.rules.setdefault(path, Rule())

    def on_connect(self, act):
        """act(wire) instead of reading requests, on each connection from now on; None: as before."""
        self.first = act

    def wait(self, what, test, seconds=wire.TIMEOUT):
        with self.changed:
            assert self.changed.wait_for(lambda: test(self), seconds), f"upstream: waited {seconds} s for {what}"

    def stop(self):
        for s in [self.listener] + [w.sock for w in self.wires]:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()

    def accept_all(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def count(self, connections=0, opened=0):
        with self.changed:
            self.connections += connections
            self.open += opened
            self.changed.notify_all()

    def serve(self, sock):
        self.count(1, 1)
        w = None
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            w = wire.Wire(sock, 30)
            self.wires.add(w)
            if self.first:
                self.first(w)
                return
            while True:
                self.one(w)
        except (wire.Closed, OSError, ssl.SSLError):
            pass                                    # the gateway left, or the script ended the conversation
        except Exception as e:                      # a fault of the script or of what the gateway sent
            self.broken.append(repr(e))
        finally:
            self.wires.discard(w)
            sock.close()
            self.count(0, -1)

    def one(self, w):
        request = w.head()
        request.connection = w
        if request.headers.get("Expect", "").lower() == "100-continue":
            w.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        for _ in w.stream(request):
            pass
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
        rule = self.rules.get(request.target.split("?")[0]) or self.rules.get("*")
        (rule or Rule().reply(200, "ok")).next()(w, request)
        if request.headers.get("Connection", "").lower() == "close":
            raise wire.Closed("asked to")


def head(status, headers):
    return (f"HTTP/1.1 {status} Scripted\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers) + "\r\n").encode("latin-1")


class Sim:
    """build/llm-sim on a free port, with its certificates' authority in `ca`."""

    def __init__(self, folder, certs, *options):
        self.log_file = os.path.join(folder, "sim.log")
        ready = os.path.join(folder, "sim.ready")
        command = [os.path.join(ROOT, "build/llm-sim"), "-p", "0", "-s", "0", "--cert", certs["cert"],
                   "--key", certs["key"], "--ready-file", ready, "--log", self.log_file, *options]
        with open(os.path.join(folder, "sim.out"), "w", encoding="utf-8") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        wire.wait_until("the simulator", lambda: self.ready(ready))
        with open(ready, encoding="utf-8") as f:
            found = dict(pair.split("=") for pair in f.read().split())      # plain=PORT tls=PORT
        self.port, self.tls_port = int(found["plain"]), int(found["tls"])

    def ready(self, path):
        assert self.process.poll() is None, "the simulator ended at once: see sim.out beside its log"
        return os.path.exists(path)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(10) in (0, -15)
