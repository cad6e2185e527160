# SPDX-License-Identifier: Apache-2.0
"""SIGTERM under load: what was accepted is answered, what streams goes on to its end, nobody new is let in."""
import glob
import os
import signal
import socket
import threading
import time

import pytest

import wire
from gw import SANITIZED

pytestmark = [pytest.mark.asan]


def term(gw):
    gw.process.send_signal(signal.SIGTERM)


def exit_code(gw, seconds=10):
    process, gw.process = gw.process, None
    return process.wait(seconds)


def refused(gw):
    try:
        socket.create_connection(("127.0.0.1", gw.port), 1).close()
        return False
    except ConnectionRefusedError:
        return True
    except TimeoutError:                            # the last moment of the listeners: no answer
        return False


class Load:
    """Clients that keep their connections, one request after the other, as long as the gateway keeps them too."""

    def __init__(self, gw, path, n=16):
        self.gw, self.path, self.answered, self.lost, self.go = gw, path, 0, [], True
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run) for _ in range(n)]
        for t in self.threads:
            t.start()

    def run(self):
        while self.go:
            try:
                w = self.gw.connect()
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                self.note("reset on connect")
                return
            with w:
                sent = False
                try:
                    while self.go:
                        w.sock.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % self.path.encode())
                        sent = True
                        r = w.response()
                        if r.status != 200 or r.body != b"whole":
                            self.note(repr(r))
                        with self.lock:
                            self.answered += 1
                        if r.headers.get("Connection") == "close":
                            break
                        sent = False
                except (wire.Closed, OSError) as e:
                    self.note(f"{e!r}, sent: {sent}")
                    return

    def note(self, what):
        with self.lock:
            self.lost.append(what)

    def end(self):
        for t in self.threads:
            t.join(10)
            assert not t.is_alive()


@pytest.mark.quick
@pytest.mark.parametrize("delay", [0, 0.05])
def test_no_request_is_lost(gw, upstream, delay):
    upstream.on("/").reply(200, "whole", delay=delay)
    gw.route("/*", upstream)
    load = Load(gw, "/")
    wire.wait_until("load", lambda: load.answered > (20 if SANITIZED else 200))
    term(gw)
    load.end()
    assert load.lost == []
    assert exit_code(gw) == 0


def test_accepted_by_the_kernel_alone(make_gw, upstream):
    """Connections that wait in the listener's queue when the signal comes."""
    upstream.on("/").reply(200, "whole")
    for _ in range(5):
        gw = make_gw()
        gw.route("/*", upstream)
        gw.get("/")
        gw.process.send_signal(signal.SIGSTOP)
        wires = [wire.connect(gw.port) for _ in range(20)]
        for w in wires:
            w.request("GET", "/")
        term(gw)
        gw.process.send_signal(signal.SIGCONT)
        for w in wires:
            assert w.response().text == "whole"
            assert w.closed()
            w.close()
        assert exit_code(gw) == 0


@pytest.mark.quick
def test_streams_go_on_and_nobody_new_is_let_in(gw, upstream):
    upstream.on("/stream").reply(200, chunks=[f"event {i}\n" for i in range(30)], gap=0.05)
    upstream.on("/slow").reply(200, "late", delay=1)
    gw.route("/*", upstream)
    with gw.connect() as streaming, gw.connect() as waiting, gw.connect() as idle, gw.connect() as uploading:
        idle.request("GET", "/")
        assert idle.response().status == 200
        streaming.request("GET", "/stream")
        message = streaming.head()
        pieces = streaming.stream(message)
        next(pieces)
        waiting.request("GET", "/slow")
        uploading.send(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234")
        upstream.wait("the slow one", lambda u: any(r.target == "/slow" for r in u.requests))
        term(gw)
        wire.wait_until("the port to be closed", lambda: refused(gw), 5)
        began = time.monotonic()
        assert idle.closed() and time.monotonic() - began < 1
        uploading.send(b"56789")
        assert uploading.response().status == 200 and uploading.closed()
        r = waiting.response()
        assert (r.text, r.headers.get("Connection")) == ("late", "close") and waiting.closed()
        list(pieces)
        assert message.complete and message.body.count(b"event") == 30
        assert streaming.closed(), "the last response ends its connection"
    assert exit_code(gw, 5) == 0


def test_last_bytes_to_a_slow_client(gw, upstream):
    """The exchange is over when the upstream is done; the process must not be, while its client still reads."""
    body = b"0123456789abcdef" * (3 << 16)
    upstream.on("/").reply(200, body)
    gw.route("/*", upstream)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", gw.port))
        w = wire.Wire(s)
        w.request("GET", "/")
        message = w.head()
        pieces = w.stream(message)
        next(pieces)
        term(gw)
        for _ in pieces:
            pass
        assert message.body == body
    assert exit_code(gw) == 0


def test_pipelined_requests(gw, upstream):
    """The one under way is answered, and says that those behind it will not be (RFC 9112 §9.3.2)."""
    upstream.on("/").reply(200, "whole", delay=0.05)
    gw.route("/*", upstream)
    with gw.connect() as w:
        w.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 5)
        upstream.wait("the first", lambda u: u.requests)
        term(gw)
        answers = []
        with pytest.raises(wire.Closed):
            while True:
                answers.append(w.response())
        assert answers and {r.text for r in answers} == {"whole"}
        assert [r.headers.get("Connection") for r in answers] == [None] * (len(answers) - 1) + ["close"]
    assert exit_code(gw) == 0


def test_shutdown_timeout(make_gw, upstream):
    """worker_shutdown_timeout: what has not ended by then is cut."""
    gw = make_gw(nginx_config={"worker_shutdown_timeout": "1s"})
    upstream.on("/").raw(lambda w, r: w.closed())
    gw.route("/*", upstream)
    with gw.connect() as w:
        w.request("GET", "/")
        upstream.wait("the request", lambda u: u.requests)
        began = time.monotonic()
        term(gw)
        with pytest.raises(wire.Closed):
            w.response()
        assert 0.8 < time.monotonic() - began < 3
    assert exit_code(gw) == 0
    upstream.wait("the upstream to be let go", lambda u: u.open == 0)


def test_sigint_ends_at_once(gw, upstream):
    upstream.on("/").raw(lambda w, r: w.closed())
    gw.route("/*", upstream)
    with gw.connect() as w:
        w.request("GET", "/")
        upstream.wait("the request", lambda u: u.requests)
        gw.process.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert exit_code(gw) == 0 and time.monotonic() - began < (3 if SANITIZED else 1)


@pytest.mark.quick
def test_restart_under_load(gw, upstream):
    """The new process serves what was stored; clients that connect anew notice nothing but a refused connection."""
    upstream.on("/").reply(200, "whole")
    gw.route("/*", upstream)
    for _ in range(3):
        load = Load(gw, "/", n=8)
        wire.wait_until("load", lambda: load.answered > 50)
        term(gw)
        load.end()
        assert load.lost == []
        assert exit_code(gw) == 0
        gw.start()
        assert gw.get("/").text == "whole", "the first request is answered by what was stored"


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_hung_job(make_gw, upstream, sig):
    """A stored file that can be opened but not read (here a pipe that nobody writes): the request waits for it, the
    end of the process does not, and what was logged is there."""
    gw = make_gw(nginx_config={"worker_shutdown_timeout": "1s"})
    gw.route("/*", upstream, {"proxy-cache": {"cache_strategy": "disk", "cache_zone": "disk_cache_one", "cache_ttl": 60}})
    assert gw.get("/a").headers.get("Apisix-Cache-Status") == "MISS"
    gw.restart()                                    # forgets what it has in memory
    zone = os.path.join(gw.data_dir, "disk_cache_one")
    stored = wire.wait_until("the stored file", lambda: [p for p in glob.glob(f"{zone}/**", recursive=True) if os.path.isfile(p)])
    os.unlink(stored[0])
    os.mkfifo(stored[0])
    with gw.connect() as w, gw.connect() as other:
        w.request("GET", "/a")
        other.request("GET", "/b")
        assert other.response().status == 200
        began = time.monotonic()
        gw.process.send_signal(sig)
        assert gw.process.wait(15) == 0
        assert time.monotonic() - began < 10
        assert w.closed()
    gw.process = None
    gw.wait_log("a job hangs", "did not end in time")
    assert any("/a" in line for line in gw.access_log) and any("/b" in line for line in gw.access_log)
