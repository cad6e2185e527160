# SPDX-License-Identifier: Apache-2.0
"""Many clients that behave in all sorts of ways, upstreams that fail in all sorts of ways, and a configuration that
changes meanwhile. What a whole answer says must be right; afterwards nothing is left of it in the gateway."""
import asyncio
import os
import random
import re
import struct
import socket
import time

import pytest

import wire
from gw import SANITIZED, ports

pytestmark = [pytest.mark.asan, pytest.mark.seconds(90)]

SEED = int(os.environ.get("STRESS_SEED", "7"))
SECONDS = float(os.environ.get("STRESS_SECONDS", "5"))
CLIENTS = 48
PATTERN = b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-\n"      # of the simulator's /bytes and /reply
FAULTS = ["cut:700", "stall:10", "rst-after:500", "429", "500", "slow-head:50", "slow-head:900", "rst", "close", "garbage",
          "bad-length", "dup-length", "bad-chunk", "big-head", "100", "no-keepalive", "close-after", "split:500:0", "split:9000:1",
          "slow-head:30,100", "slow-head:100,close"]


def pattern(n):
    return (PATTERN * (n // len(PATTERN) + 1))[:n]


class Cut(Exception):
    """The gateway ended the message early, as it must when its upstream does."""


class Client:
    """One connection after the other, one way of behaving after the other, until the time is over."""

    def __init__(self, port, seed, until, seen):
        self.port, self.random, self.until, self.seen = port, random.Random(seed), until, seen

    async def run(self):
        behaviours = [self.plain, self.plain, self.pipelined, self.upload, self.upload, self.chunked, self.slow, self.events,
                      self.cut_head, self.cut_body, self.cut_answer, self.half_closed, self.expecting, self.drip, self.head]
        while time.monotonic() < self.until:
            act = self.random.choice(behaviours)
            self.name = act.__name__
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 16)
            except ConnectionError:
                self.count("not connected")
                await asyncio.sleep(0.01)
                continue
            try:
                await asyncio.wait_for(act(reader, writer), 20)
            except (Cut, ConnectionError, asyncio.IncompleteReadError):
                self.count("cut")
            except TimeoutError:
                raise AssertionError(f"{self.name} got no end of an answer; last sent: {self.sent}") from None
            finally:
                if self.random.random() < 0.2:
                    sock = writer.get_extra_info("socket")
                    if sock and sock.fileno() >= 0:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.close()

    def count(self, what):
        key = f"{self.name} {what}"
        self.seen[key] = self.seen.get(key, 0) + 1

    # --- requests and answers

    def target(self, path, fault=0.4):
        prefix = self.random.choice(["/plain", "/plain", "/tls", "/mixed", "/moving", "/filtered", "/limited", "/gone", "/cached",
                                     "/emptied", "/keyed", "/least", "/fastest", "/hashed", "/again", "/late",
                                     "/asked"])
        query = f"?fault={self.random.choice(FAULTS)}" if self.random.random() < fault else ""
        return f"{prefix}{path}{query}"

    def request(self, method, target, *headers, body=b""):
        if body and not any(h.startswith("Transfer-Encoding") for h in headers):
            headers += (f"Content-Length: {len(body)}",)
        self.sent = f"{method} {target} {headers}"
        return "".join(f"{line}\r\n" for line in (f"{method} {target} HTTP/1.1", "Host: a", "apikey: k", *headers, "")).encode() + body

    async def answer(self, reader, method="GET", size=None, pace=0.0):
        """Reads one final answer; a 200 of a known size must have the right bytes."""
        while True:
            line = await reader.readline()
            if not line:
                raise Cut
            assert re.fullmatch(rb"HTTP/1\.1 \d\d\d [^\r]*\r\n", line), line
            status = int(line.split()[1])
            headers = {}
            while (line := await reader.readline()) != b"\r\n":
                if not line.endswith(b"\r\n"):
                    raise Cut
                name, value = line.decode("latin-1").split(":", 1)
                headers[name.lower()] = value.strip()
            if status >= 200:
                break
        body = bytearray()

        async def take(n):
            while n:
                data = await reader.read(min(n, 16384))
                if not data:
                    raise Cut
                body.extend(data)
                n -= len(data)
                if pace:
                    await asyncio.sleep(pace)
        if method == "HEAD" or status in (204, 304):
            pass
        elif headers.get("transfer-encoding") == "chunked":
            while True:
                line = await reader.readline()
                if not line.endswith(b"\r\n"):
                    raise Cut
                n = int(line.split(b";")[0], 16)
                await take(n)
                if n == 0:
                    while await reader.readline() not in (b"\r\n", b""):
                        pass
                    break
                if await reader.readexactly(2) != b"\r\n":
                    raise AssertionError("a chunk without its end")
        elif "content-length" in headers:
            await take(int(headers["content-length"]))
        else:
            raise AssertionError(f"no framing: {status} {headers}")
        if status == 200 and size is not None and method != "HEAD":
            assert bytes(body) == pattern(size), (status, headers, len(body), size)
        self.count(status)
        if headers.get("connection") == "close":
            raise Cut
        return status

    # --- behaviours

    async def plain(self, reader, writer):
        for _ in range(self.random.randrange(1, 12)):
            n = self.random.choice([0, 1, 100, 1000, 20000, 300000])
            path = self.random.choice([f"/bytes/{n}", f"/chunked/{n}"])
            writer.write(self.request("GET", self.target(path)))
            await self.answer(reader, "GET", n)

    async def head(self, reader, writer):
        for _ in range(4):
            writer.write(self.request("HEAD", self.target("/bytes/1000", 0.2)))
            await self.answer(reader, "HEAD")

    async def pipelined(self, reader, writer):
        wanted = []
        for _ in range(self.random.randrange(2, 20)):
            n = self.random.choice([0, 10, 5000, 100000])
            method = self.random.choice(["GET", "GET", "HEAD", "POST"])
            body = b"x" * self.random.randrange(3000) if method == "POST" else b""
            path = f"/reply/{n}" if method == "POST" else f"/bytes/{n}"
            writer.write(self.request(method, self.target(path, 0.05), body=body))
            wanted.append((method, n))
        for method, n in wanted:
            await self.answer(reader, method, n)

    async def upload(self, reader, writer):
        for _ in range(2):
            body = b"y" * self.random.choice([1, 5000, 70000, 1000000])
            n = self.random.choice([10, 60000])
            writer.write(self.request("POST", self.target(f"/reply/{n}"), body=body))
            await self.answer(reader, "POST", n)

    async def chunked(self, reader, writer):
        writer.write(self.request("POST", self.target("/reply/500", 0.2), "Transfer-Encoding: chunked"))
        for _ in range(self.random.randrange(12)):
            data = b"z" * self.random.choice([1, 3, 4000, 60000])
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            if self.random.random() < 0.4:
                await asyncio.sleep(self.random.random() * 0.03)
        writer.write(b"0\r\nX-Trailer: a\r\n\r\n" if self.random.random() < 0.3 else b"0\r\n\r\n")
        await self.answer(reader, "POST", 500)

    async def slow(self, reader, writer):
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        writer.write(self.request("GET", self.target("/bytes/400000", 0.1)))
        await self.answer(reader, "GET", 400000, pace=0.001)

    async def events(self, reader, writer):
        writer.write(self.request("GET", self.target(f"/events?n={self.random.randrange(1, 200)}&gap=2", 0)))
        await self.answer(reader)

    async def cut_head(self, reader, writer):
        whole = self.request("POST", self.target("/reply/5"), body=b"abc")
        writer.write(whole[:self.random.randrange(1, len(whole) - 4)])
        await writer.drain()
        await asyncio.sleep(self.random.random() * 0.05)

    async def cut_body(self, reader, writer):
        body = b"w" * self.random.choice([100, 200000])
        whole = self.request("POST", self.target("/reply/5", 0.1), body=body)
        writer.write(whole[:-self.random.randrange(1, len(body))])
        await writer.drain()
        await asyncio.sleep(self.random.random() * 0.05)

    async def cut_answer(self, reader, writer):
        path = self.random.choice(["/bytes/900000", "/events?n=500&gap=1", "/chunked/300000"])
        writer.write(self.request("GET", self.target(path, 0)))
        await reader.read(self.random.randrange(1, 60000))
        await asyncio.sleep(self.random.random() * 0.05)

    async def half_closed(self, reader, writer):
        writer.write(self.request("GET", self.target("/bytes/1000", 0)))
        try:
            writer.write_eof()
        except OSError as e:                        # reset before that: the head came too late on a busy machine
            raise Cut from e
        await self.answer(reader, "GET", 1000)      # or nothing: the client may count as gone

    async def expecting(self, reader, writer):
        writer.write(self.request("POST", self.target("/reply/9"), "Expect: 100-continue", "Content-Length: 2000"))
        line = await reader.readline()
        if line.startswith(b"HTTP/1.1 100"):
            await reader.readline()
            writer.write(b"v" * 2000)
            await self.answer(reader, "POST", 9)

    async def drip(self, reader, writer):
        for byte in self.request("POST", self.target("/reply/77", 0.2), "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            if byte == 10:
                await asyncio.sleep(0)
        await self.answer(reader, "POST", 77)


AGAIN = {"statuses": [429, 500, 502, 503, 504], "methods": ["GET", "HEAD", "POST"]}
CHECKS = {"active": {"type": "tcp", "healthy": {"interval": 1, "successes": 1}, "unhealthy": {"interval": 1, "tcp_failures": 1}},
          "passive": {"unhealthy": {"http_failures": 3, "tcp_failures": 2, "timeouts": 2}}}
KINDS = [{}, {"checks": CHECKS}, {"retry_on": AGAIN}, {"type": "least_conn", "checks": CHECKS}, {"type": "ewma"},
         {"type": "chash", "key": "remote_port", "retry_on": AGAIN},
         {"warm_up_conf": {"slow_start_time_seconds": 2, "min_weight_percent": 10}}]
TIMEOUTS = {"connect": 1, "send": 1, "read": 0.6}


def upstream(nodes, **fields):
    return {"type": "roundrobin", "nodes": nodes, "timeout": TIMEOUTS, "keepalive_pool": {"size": 8, "idle_timeout": 1,
                                                                                        "requests": 100}, **fields}


def configure(gw, sim):
    plain, tls, dead = f"127.0.0.1:{sim.port}", f"localhost:{sim.tls_port}", f"127.0.0.1:{ports.take()}"
    strip = lambda prefix, **more: {"proxy-rewrite": {"regex_uri": [f"^/{prefix}(/.*)", "$1"], **more}}
    routes = {
        "plain": (upstream({plain: 1}), {}),
        "tls": (upstream({tls: 1}, scheme="https", pass_host="node"), {}),
        "mixed": (upstream({plain: 2, dead: 1, f"localhost:{sim.port}": 1}, retries=2), {}),
        "least": (upstream({plain: 2, dead: 1, f"localhost:{sim.port}": 1}, type="least_conn", checks=CHECKS), {}),
        "fastest": (upstream({plain: 1, dead: 1, f"localhost:{sim.port}": 1}, type="ewma", retry_on=AGAIN), {}),
        "hashed": (upstream({plain: 1, dead: 1, f"localhost:{sim.port}": 1}, type="chash", hash_on="vars", key="remote_port",
                            checks=CHECKS, retry_on=AGAIN), {}),
        "late": (upstream({plain: 1}), {"fault-injection": {"delay": {"duration": 0.05}}}),
        "asked": (upstream({plain: 1, dead: 1}), {"forward-auth": {"uri": f"http://localhost:{sim.port}/bytes/2000?fault=split:500:0",
                                                                   "request_headers": ["Host"], "timeout": 500}}),
        "again": (upstream({plain: 1, f"localhost:{sim.port}": 1}, retries=3, retry_on=AGAIN), {}),
        "moving": (upstream({plain: 1}), {}),
        "filtered": (upstream({plain: 1}), {"response-rewrite": {"headers": {"set": {"X-A": "$status"}}}, "request-id": {},
                                            "cors": {}}),
        "cached": (upstream({plain: 1}), {"proxy-cache": {"cache_strategy": "memory", "cache_zone": "memory_cache",
                                                          "cache_ttl": 1, "cache_key": ["$request_uri"]}}),
        "emptied": (upstream({plain: 1}), {"response-rewrite": {"status_code": 204}}),
        "keyed": (upstream({plain: 1}), {"key-auth": {"hide_credentials": True}}),
        "limited": (upstream({plain: 1}), {"limit-count": {"count": 30, "time_window": 1, "rejected_code": 503}}),
    }
    for name, (up, plugins) in routes.items():
        gw.put(f"routes/{name}", {"uri": f"/{name}/*", "upstream": up, 
                                     "plugins": {**strip(name, **({"method": "GET"} if name == "emptied" else {})), **plugins}})
    gw.put("consumers", {"username": "jack", "plugins": {"key-auth": {"key": "k"}, "response-rewrite": {"headers": {"set": {"X-B": "c"}}},
                                                         "limit-count": {"count": 100, "time_window": 1}}})
    return plain, dead, strip


def keep_changing(gw, sim, until):
    """The Admin API's side, in the main thread: routes come, change and go."""
    plain, dead, strip = f"127.0.0.1:{sim.port}", f"127.0.0.1:{ports.take()}", \
        lambda prefix, **more: {"proxy-rewrite": {"regex_uri": [f"^/{prefix}(/.*)", "$1"], **more}}
    turn, rng = 0, random.Random(SEED)
    while time.monotonic() < until:
        turn += 1
        nodes = rng.choice([{plain: 1}, {plain: 3, dead: 1}, {f"localhost:{sim.port}": 1}, {plain: 1, f"localhost:{sim.port}": 2}])
        gw.put("routes/moving", {"uri": "/moving/*", "plugins": strip("moving"),
                                 "upstream": upstream(nodes, retries=rng.randrange(3), **rng.choice(KINDS))})
        if turn % 3 == 0:
            gw.put("routes/gone", {"uri": "/gone/*", "upstream": upstream({plain: 1}), "plugins": strip("gone")})
        elif turn % 3 == 1:
            gw.admin("DELETE", "routes/gone")
        for i in range(4):
            gw.put(f"routes/x{turn % 40}{i}", {"uri": f"/x/{turn}/{i}", "upstream": upstream({plain: 1})})


def fds(gw):
    return len(os.listdir(f"/proc/{gw.process.pid}/fd"))


def rss(gw):
    with open(f"/proc/{gw.process.pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) // 1024


def storm(gw, sim, seconds, seed, change=True):
    until, seen = time.monotonic() + seconds, {}

    async def clients():
        crowd = [Client(gw.port, seed * 1000 + i, until, seen).run() for i in range(CLIENTS)]
        admin = asyncio.get_running_loop().run_in_executor(None, keep_changing, gw, sim, until) if change else asyncio.sleep(0)
        await asyncio.gather(admin, *crowd)
    asyncio.run(clients())
    return seen


def test_storm(make_gw, make_sim, certs):
    sim = make_sim("-w", "1")
    gw = make_gw(nginx_config={"http": {"client_header_timeout": "2s", "client_body_timeout": "2s", "send_timeout": "2s"}},
                 apisix={"ssl": {"ssl_trusted_certificate": certs["ca"]}})
    configure(gw, sim)
    time.sleep(0.1)
    before = fds(gw)
    seen = storm(gw, sim, SECONDS, SEED)
    first = rss(gw)
    oks = sum(n for what, n in seen.items() if what.endswith(" 200"))
    assert oks > 200 and len(seen) > 25, seen
    storm(gw, sim, SECONDS / 2, SEED + 1)
    wire.wait_until("the descriptors to be those of the start", lambda: fds(gw) <= before)
    if not SANITIZED:
        assert rss(gw) < first + 12, (first, rss(gw))
    with gw.connect() as w:
        w.request("GET", "/plain/bytes/100")
        assert w.response().body == pattern(100)
    began = time.monotonic()
    assert gw.stop() == 0
    assert time.monotonic() - began < 3, "no exchange was left that had to be waited for"
