# SPDX-License-Identifier: Apache-2.0
"""A DNS server for cases: answers over UDP what it was told to, and remembers what it was asked."""
import socket
import struct
import threading

TYPES = {"A": 1, "CNAME": 5, "AAAA": 28, "SRV": 33}
NAMES = {number: name for name, number in TYPES.items()}


def encoded(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"


def data(kind, value):
    if kind == "A":
        return socket.inet_aton(value)
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, value)
    if kind == "SRV":
        priority, weight, port, target = value
        return struct.pack("!HHH", priority, weight, port) + encoded(target)
    return encoded(value)


class Dns:
    def __init__(self, host="127.0.0.1", port=0):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, port))
        self.host, self.address = host, f"{host}:{self.socket.getsockname()[1]}"
        self.records, self.asked, self.ttl, self.refused = {}, [], 60, set()
        threading.Thread(target=self.serve, daemon=True).start()

    def set(self, name, kind, *values):
        self.records[name, kind] = values

    def serve(self):
        while True:
            try:
                query, peer = self.socket.recvfrom(4096)
                self.socket.sendto(self.answer(query), peer)
            except OSError:                         # stopped
                return

    def answer(self, query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        end, name = at + 5, ".".join(labels).lower()
        kind = NAMES.get(struct.unpack("!H", query[at + 1:at + 3])[0], "?")
        self.asked.append((name, kind))
        values = self.records.get((name, kind), ())
        known = any(n == name for n, _ in self.records)
        code = 5 if kind in self.refused else 0 if known else 3
        values = () if code else values
        rows = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", TYPES[kind], 1, self.ttl, len(data(kind, v))) + data(kind, v)
                        for v in values)
        return query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(values), 0, 0) + query[12:end] + rows

    def stop(self):
        self.socket.close()
