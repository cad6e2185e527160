# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on a socket, for both ends of a case: nothing is normalised, everything has a time limit."""
import json
import socket
import struct
import time

TIMEOUT = 10.0


class Closed(Exception):
    """The peer closed, or reset, before the message was whole."""


class Headers(list):
    """(name, value) pairs in the order of the wire."""

    def get(self, name, default=None):
        return next((v for k, v in self if k.lower() == name.lower()), default)

    def all(self, name):
        return [v for k, v in self if k.lower() == name.lower()]

    def __contains__(self, name):
        return bool(self.all(name)) if isinstance(name, str) else list.__contains__(self, name)


class Message:
    """A request or a response as received. `pieces` are (time, bytes): the body as it came."""

    def __init__(self, start, headers):
        self.start, self.headers = start, headers
        self.trailers, self.pieces, self.interim = Headers(), [], []
        self.time = time.monotonic()
        self.complete = False
        first = start.split(" ", 2) + ["", ""]
        if start.startswith("HTTP/"):
            self.status, self.reason = int(first[1]) if first[1].isdecimal() else 0, first[2]
        else:
            self.method, self.target, self.version = first[:3]

    @property
    def body(self):
        return b"".join(data for _, data in self.pieces)

    @property
    def text(self):
        return self.body.decode(errors="replace")

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.start!r} {list(self.headers)!r} {self.body[:200]!r}>"


class Wire:
    """A connected socket with HTTP/1.1 framing over it."""

    def __init__(self, sock, timeout=TIMEOUT):
        self.sock, self.buffer = sock, b""
        sock.settimeout(timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            pass

    # --- sending

    def send(self, data, split=False):
        """Sends bytes whole, or each byte in a segment of its own. A peer that has closed is no error here."""
        try:
            if not split:
                self.sock.sendall(data)
            for i in range(len(data) if split else 0):
                self.sock.sendall(data[i:i + 1])
        except (BrokenPipeError, ConnectionResetError):
            pass

    def request(self, method, target, headers=(), body=None, chunks=None, trailers=(), version="HTTP/1.1"):
        """One request. Host, and the framing of a body or chunks, are added unless headers have them."""
        headers = Headers(headers.items() if isinstance(headers, dict) else headers)
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            if "Content-Type" not in headers:
                headers.append(("Content-Type", "application/json"))
        body = body.encode() if isinstance(body, str) else body
        if "Host" not in headers:
            headers.insert(0, ("Host", "%s:%d" % self.sock.getpeername()[:2]))
        if chunks is not None:
            headers.append(("Transfer-Encoding", "chunked"))
            body = chunked(chunks, trailers)
        elif body is not None and "Content-Length" not in headers:
            headers.append(("Content-Length", str(len(body))))
        head = f"{method} {target} {version}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers) + "\r\n"
        self.send(head.encode("latin-1") + (body or b""))

    # --- receiving

    def more(self):
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError as e:
            raise Closed("reset") from e
        if not data:
            raise Closed("closed")
        self.buffer += data

    def line(self):
        while b"\n" not in self.buffer:
            self.more()
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r").decode("latin-1")

    def exactly(self, n):
        while len(self.buffer) < n:
            self.more()
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def head(self):
        start = self.line()
        headers = Headers()
        while line := self.line():
            name, _, value = line.partition(":")
            headers.append((name, value.strip()))
        return Message(start, headers)

    def stream(self, message, method="GET"):
        """Yields the body piece by piece as it arrives: each chunk, or each read of what is not chunked."""
        headers, status = message.headers, getattr(message, "status", None)
        if status and (method == "HEAD" or status in (204, 304) or status < 200):
            pass
        elif "chunked" in headers.get("Transfer-Encoding", "").lower():
            while size := int(self.line().split(";")[0], 16):
                yield self.piece(message, self.exactly(size))
                self.exactly(2)
            while line := self.line():
                name, _, value = line.partition(":")
                message.trailers.append((name, value.strip()))
        elif "Content-Length" in headers:
            left = int(headers.get("Content-Length"))
            while left:
                if not self.buffer:
                    self.more()
                data = self.exactly(min(left, len(self.buffer)))
                left -= len(data)
                yield self.piece(message, data)
        elif status:
            try:
                while True:
                    if not self.buffer:
                        self.more()
                    yield self.piece(message, self.exactly(len(self.buffer)))
            except Closed as e:
                if str(e) == "reset":
                    raise
        message.complete = True

    def piece(self, message, data):
        message.pieces.append((time.monotonic(), data))
        return data

    def response(self, method="GET"):
        """The next final response, whole; interim ones are in its `interim`."""
        interim = []
        while True:
            message = self.head()
            assert message.start.startswith("HTTP/1."), f"not a response: {message!r}"
            if not 100 <= message.status < 200 or message.status == 101:
                break
            interim.append(message)
        message.interim = interim
        for _ in self.stream(message, method):
            pass
        return message

    def closed(self):
        """Reads until the peer closes, and tells whether nothing came before that."""
        try:
            while True:
                self.more()
        except Closed:
            return not self.buffer

    def reset(self):
        """Closes with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def connect(port, host="127.0.0.1", timeout=TIMEOUT):
    return Wire(socket.create_connection((host, port), timeout), timeout)


def chunked(chunks, trailers=()):
    parts = [c.encode() if isinstance(c, str) else c for c in chunks]
    body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts if p)
    return body + b"0\r\n" + b"".join(f"{k}: {v}\r\n".encode() for k, v in trailers) + b"\r\n"


def wait_until(what, test, seconds=TIMEOUT):
    """Watches test() until it holds; the bound is for failures only."""
    end = time.monotonic() + seconds
    while not (value := test()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.005)
    return value
