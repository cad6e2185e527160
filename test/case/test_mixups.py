# SPDX-License-Identifier: Apache-2.0
"""Whose answer is it: upstreams that answer early, twice, with too much, or go away, clients that share kept connections to
them. A client may get an error, or a part, but never what another one asked for."""
import asyncio
import os
import random
import re
import threading

import pytest

pytestmark = [pytest.mark.asan, pytest.mark.seconds(60)]

SEED = int(os.environ.get("STRESS_SEED", "3"))
SECONDS = float(os.environ.get("STRESS_SECONDS", "5"))
FALSE = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnobody's\n"


class Evil:
    """Answers with the number that is in the request's target, and something else beside."""

    def __init__(self):
        self.random, self.ready, self.answered = random.Random(SEED), threading.Event(), 0
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()), daemon=True)
        self.thread.start()
        assert self.ready.wait(10)

    async def run(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.node = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]
        self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
        self.ready.set()
        await self.over.wait()

    def stop(self):
        self.loop.call_soon_threadsafe(self.over.set)
        self.thread.join(10)

    def answer(self, number, head):
        text = b"%d\n" % number * self.random.choice([1, 1, 20, 3000])
        framed = b"HTTP/1.1 200 OK\r\n" + self.random.choice([
            b"Content-Length: %d\r\n\r\n%s" % (len(text), b"" if head else text),
            b"Transfer-Encoding: chunked\r\n\r\n" + (b"" if head else b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text))])
        return self.random.choice([b"", b"", b"HTTP/1.1 103 Early\r\nX: y\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 3]) + framed

    async def body(self, reader, head):
        if length := re.search(rb"(?i)content-length: (\d+)", head):
            await reader.readexactly(int(length[1]))
        elif b"chunked" in head.lower():
            await reader.readuntil(b"\r\n0\r\n\r\n")

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                number, is_head = int(re.match(rb"\S+ /(\d+)", head)[1]), head.startswith(b"HEAD")
                good, what = self.answer(number, is_head), self.random.choice(self.ways)
                if what != "early":
                    await self.body(reader, head)
                self.answered += 1
                if what == "twice":
                    good += good if not is_head else FALSE
                elif what == "false":
                    good += FALSE
                elif what == "bodiless":
                    good = b"HTTP/1.1 %d X\r\n\r\n" % self.random.choice([204, 304]) + FALSE
                elif what == "half":
                    good = good[:self.random.randrange(len(good))]
                elif what == "again":
                    good = b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nnobody's\n" + self.random.choice([b"", FALSE])
                # What is too much comes at once with the rest: later, nobody could tell it from the next answer.
                step = 5000 if what in ("good", "early", "half", "close", "gone") else len(good)
                for at in range(0, len(good), step):
                    writer.write(good[at:at + step])
                if what == "early":
                    await writer.drain()
                    if self.random.random() < 0.5:
                        await self.body(reader, head)
                if what in ("half", "close", "gone"):
                    if what == "gone":
                        writer.transport.abort()
                    return
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    ways = ["good"] * 8 + ["early", "early", "twice", "false", "bodiless", "half", "again", "close", "gone"]


class Client:
    numbers = iter(range(1, 1 << 40))

    def __init__(self, port, seed, seen):
        self.port, self.random, self.seen = port, random.Random(seed), seen

    def request(self, number):
        method = self.random.choice(["GET", "GET", "HEAD", "PUT", "POST"])
        head = f"{method} /{number} HTTP/1.1\r\nHost: a\r\n"
        if method in ("GET", "HEAD"):
            return method, f"{head}\r\n".encode()
        body = b"x" * self.random.choice([1, 1000, 100000])
        if self.random.random() < 0.5:
            return method, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        return method, f"{head}Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"

    async def answer(self, reader, number, method):
        """Whether another request may follow on the connection."""
        head = b"HTTP/1.1 1"
        while head.startswith(b"HTTP/1.1 1"):
            head = await reader.readuntil(b"\r\n\r\n")
        status, body = int(head[9:12]), b""
        self.seen[status] = self.seen.get(status, 0) + 1
        if method != "HEAD" and status not in (204, 304):
            if length := re.search(rb"(?i)content-length: (\d+)", head):
                body = await reader.readexactly(int(length[1]))
            else:
                while size := int(await reader.readuntil(b"\r\n"), 16):
                    body += await reader.readexactly(size)
                    await reader.readexactly(2)
                await reader.readexactly(2)
        assert status != 200 or method == "HEAD" or set(body.split()) == {b"%d" % number}, (number, method, body[:100])
        return b"connection: close" not in head.lower()

    async def talk(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for _ in range(self.random.randrange(1, 30)):
                asked = [(n, *self.request(n)) for n in (next(self.numbers) for _ in range(self.random.choice([1, 1, 1, 3])))]
                writer.write(b"".join(data for _, _, data in asked))
                for number, method, _ in asked:
                    if not await asyncio.wait_for(self.answer(reader, number, method), 20):
                        return
        except (ConnectionError, asyncio.IncompleteReadError):
            self.seen["cut"] = self.seen.get("cut", 0) + 1
        finally:
            writer.close()

    async def run(self, until):
        while asyncio.get_running_loop().time() < until:
            await self.talk()


@pytest.fixture
def evil():
    upstreams = [Evil(), Evil()]
    yield upstreams
    for up in upstreams:
        up.stop()


@pytest.mark.parametrize("fields", [{}, {"type": "least_conn", "retry_on": {"statuses": [503], "methods": ["GET", "HEAD", "PUT", "POST"]}}],
                         ids=["plain", "retry_on"])
def test_nobody_gets_what_another_asked_for(make_gw, evil, fields):
    gw = make_gw(nginx_config={"worker_processes": 1})
    gw.route("/*", {"type": "roundrobin", "nodes": {up.node: 1 for up in evil}, "keepalive_pool": {"size": 4},
                    "timeout": {"connect": 2, "send": 2, "read": 2}, **fields})
    seen = {}

    async def crowd():
        until = asyncio.get_running_loop().time() + SECONDS
        await asyncio.gather(*(Client(gw.port, SEED * 100 + i, seen).run(until) for i in range(24)))
    asyncio.run(crowd())
    assert seen.get(200, 0) > 100 and seen.get("cut") and seen.get(204), seen
    assert sum(up.answered for up in evil) > 200
