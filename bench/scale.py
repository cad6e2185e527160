#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How the gateway bears many routes and consumers: its start, its memory, changes and traffic beside them.

    bench/scale.py [--routes 100000] [--consumers 100000] [--plugins shared|own] [--store sqlite|etcd] [--curve]

Prints one line a figure. Needs build/eclusa, build/bench-load and build/bench-origin (make scale builds them), and
the etcd server for --store etcd. Everything is on loopback, in a temporary folder.
"""
import argparse
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from procfs import memory_kib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KEY = "key-of-the-scale-bench-0123456789"
HOSTS, PER_UPSTREAM = 1000, 5


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def say(what, text):
    print(f"{what:<44} {text}", flush=True)


def spread(values):
    values = sorted(values)
    return f"median {statistics.median(values) * 1e3:.2f} ms, p99 {values[int(len(values) * 0.99)] * 1e3:.2f} ms, " \
           f"worst {values[-1] * 1e3:.2f} ms of {len(values)}"


class Documents:
    """hosts × paths; each route with key-auth and response-rewrite, a fifth as many upstreams."""

    def __init__(self, routes, consumers, plugins, origin):
        self.routes, self.consumers, self.own, self.origin = routes, consumers, plugins == "own", origin

    def host(self, i):
        return f"host{i % HOSTS}.example.com"

    def path(self, i):
        return f"/api/v{i % 10}/things/{i // HOSTS}"

    def route(self, i, mark="1"):
        value = f"{mark}-{i}" if self.own else mark
        return {"id": str(i), "uri": self.path(i) + ("" if i % 3 else "/*"), "host": self.host(i), "name": f"route {i}",
                "upstream_id": str(i // PER_UPSTREAM),
                "plugins": {"key-auth": {}, "response-rewrite": {"headers": {"set": {"X-Mark": value}}}}}

    def write(self, path):
        with open(path, "w", encoding="utf-8") as f:
            f.write('{"upstreams": [\n')
            f.write(",\n".join(json.dumps({"id": str(i), "type": "roundrobin", "nodes": {self.origin: 1, f"127.0.0.1:{1 + i % 60000}": 0}})
                               for i in range(self.routes // PER_UPSTREAM + 1)))
            f.write('],\n"routes": [\n')
            f.write(",\n".join(json.dumps(self.route(i)) for i in range(self.routes)))
            f.write('],\n"consumers": [\n')
            f.write(",\n".join(json.dumps({"username": f"user{i}", "plugins": {"key-auth": {"key": f"secret-key-{i}"}}})
                               for i in range(max(1, self.consumers))))
            f.write("]}\n")


class Gateway:
    def __init__(self, folder, store):
        self.folder, self.port, self.admin_port = folder, free_port(), free_port()
        config = {
            "apisix": {"node_listen": [{"ip": "127.0.0.1", "port": self.port}], "ssl": {"enable": False},
                       "enable_control": False},
            "deployment": {"role": "traditional", "role_traditional": {"config_provider": store[0]},
                           "admin": {"admin_listen": {"ip": "127.0.0.1", "port": self.admin_port},
                                     "admin_key": [{"name": "admin", "key": KEY, "role": "admin"}]}},
            "nginx_config": {"worker_processes": 2, "http": {"enable_access_log": False}},
            "eclusa": {"data_dir": os.path.join(folder, "data")}}
        if store[1]:
            config["deployment"]["etcd"] = {"host": [store[1]], "prefix": "/apisix"}
        self.config = os.path.join(folder, "config.yaml")
        with open(self.config, "w", encoding="utf-8") as f:
            json.dump(config, f)
        self.process = None

    def load(self, path):
        began = time.monotonic()
        subprocess.run([os.path.join(ROOT, "build/eclusa"), "import", "-c", self.config, "--from", path], check=True)
        return time.monotonic() - began

    def start(self, host, path, key):
        """Seconds to the first right answer."""
        began = time.monotonic()
        with open(os.path.join(self.folder, "stderr.log"), "ab") as log:
            self.process = subprocess.Popen([os.path.join(ROOT, "build/eclusa"), "run", "-c", self.config], cwd=self.folder,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while True:
            assert self.process.poll() is None, open(os.path.join(self.folder, "stderr.log"), encoding="utf-8").read()
            try:
                c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                c.request("GET", path, headers={"Host": host, "apikey": key})
                if c.getresponse().status == 200:
                    return time.monotonic() - began
            except OSError:
                pass
            time.sleep(0.002)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(30)
            self.process = None

    def rss(self):
        """MiB, when it has come to rest."""
        last = 0
        for _ in range(50):
            now = memory_kib([self.process.pid])["rss"] / 1024
            if abs(now - last) < 0.5:
                break
            last = now
            time.sleep(0.4)
        return now

    def admin(self):
        return http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=30)


def write(c, method, path, body=None):
    c.request(method, "/apisix/admin/" + path, json.dumps(body) if body else None, {"X-API-KEY": KEY})
    reply = c.getresponse()
    text = reply.read()
    assert reply.status in (200, 201), (path, reply.status, text)


def cpu_ms(process):
    """Of all its threads, user and system; 0: there is none."""
    if not process:
        return 0
    with open(f"/proc/{process.pid}/stat", encoding="utf-8") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 // os.sysconf("SC_CLK_TCK")


def pages(gateway, documents, etcd):
    """What pages of the list of routes take, and the CPU time that goes into them."""
    admin = gateway.admin()
    for query in ("page=1&page_size=10", f"page={max(1, documents.routes // 500)}&page_size=500", "page=1&page_size=10&uri=v5"):
        took, ours, theirs = [], cpu_ms(gateway.process), cpu_ms(etcd)
        for _ in range(10):
            began = time.monotonic()
            write(admin, "GET", "routes?" + query)
            took.append(time.monotonic() - began)
        more = f", etcd's {(cpu_ms(etcd) - theirs) / 10:.0f} ms" if etcd else ""
        say(f"GET routes?{query}", f"{spread(took)}; CPU {(cpu_ms(gateway.process) - ours) / 10:.0f} ms{more}")


def put_live(gateway, documents, count):
    """From the PUT's first byte until 16 kept connections, over all workers, have all answered by it."""
    admin, took, answered = gateway.admin(), [], []
    clients = [http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=5) for _ in range(16)]
    for turn in range(count):
        i = turn * 7919 % documents.routes
        doc = documents.route(i, f"live-{turn}")
        want = doc["plugins"]["response-rewrite"]["headers"]["set"]["X-Mark"]
        path = documents.path(i) + ("" if i % 3 else "/more")
        began = time.monotonic()
        write(admin, "PUT", f"routes/{i}", doc)
        answered.append(time.monotonic() - began)
        for c in clients:
            while True:
                c.request("GET", path, headers={"Host": documents.host(i), "apikey": "secret-key-0"})
                reply = c.getresponse()
                reply.read()
                if reply.status == 200 and reply.getheader("X-Mark") == want:
                    break
        took.append(time.monotonic() - began)
    return answered, took


def sequential(gateway, documents, count):
    admin = gateway.admin()
    began = time.monotonic()
    for turn in range(count):
        i = turn % documents.routes
        write(admin, "PUT", f"routes/{i}", documents.route(i, "seq"))
    return time.monotonic() - began


def traffic(gateway, documents, seconds, rate):
    """bench-load at a fixed rate over many routes; returns its process."""
    paths = os.path.join(gateway.folder, "paths")
    with open(paths, "w", encoding="utf-8") as f:
        for k in range(2000):
            i = k * 7919 % documents.routes
            f.write(f"{documents.path(i)}{'' if i % 3 else '/more'}\tHost: {documents.host(i)}\n")
    return subprocess.Popen([os.path.join(ROOT, "build/bench-load"), "http", "-c", "16", "-d", str(seconds), "-r", str(rate),
                             "-H", "apikey: secret-key-0", "-l", paths, f"127.0.0.1:{gateway.port}", "/"],
                            stdout=subprocess.PIPE)


def p99(process):
    found = json.loads(process.communicate(timeout=60)[0].decode().strip().split("\n")[-1])
    return found["latency_us"], found["errors"]["total"]


def start_etcd(folder):
    port, peer = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(["etcd", "--name", "e", "--data-dir", os.path.join(folder, "etcd"), "--listen-client-urls", url,
                                "--advertise-client-urls", url, "--listen-peer-urls", f"http://127.0.0.1:{peer}",
                                "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}", "--initial-cluster",
                                f"e=http://127.0.0.1:{peer}", "--quota-backend-bytes=8589934592"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process, url
        except OSError:
            assert process.poll() is None
            time.sleep(0.05)


def measure(args, folder, origin):
    documents = Documents(args.routes, args.consumers, args.plugins, origin)
    etcd, url = start_etcd(folder) if args.store == "etcd" else (None, None)
    gateway = Gateway(folder, (args.store, url))
    try:
        whole = os.path.join(folder, "apisix.json")
        documents.write(whole)
        what = f"{args.routes:,} routes, {args.consumers:,} consumers"
        say(f"{what}: import", f"{gateway.load(whole):.2f} s")
        last = args.routes - 1
        where = documents.host(last), documents.path(last) + ("" if last % 3 else "/more"), f"secret-key-{max(1, args.consumers) - 1}"
        starts, spent = [], None
        for _ in range(3):
            gateway.stop()
            theirs = cpu_ms(etcd)
            starts.append(gateway.start(*where))
            spent = cpu_ms(gateway.process), cpu_ms(etcd) - theirs
        say("start to the first right answer", f"{min(starts):.2f} s best of 3 ({', '.join(f'{s:.2f}' for s in starts)})")
        say("  CPU of the last", f"{spent[0]} ms" + (f", etcd's {spent[1]} ms" if etcd else ""))
        full = gateway.rss()
        say("memory", f"{full:.0f} MiB RSS")
        pages(gateway, documents, etcd)
        quiet, errors = p99(traffic(gateway, documents, args.seconds, args.rate))
        say(f"traffic alone, {args.rate}/s", f"{json.dumps(quiet)} errors {errors}")
        load = traffic(gateway, documents, args.seconds, args.rate)
        time.sleep(0.3)
        answered, took = put_live(gateway, documents, args.puts)
        say("a PUT answered, beneath traffic", spread(answered))
        say("  and live on all threads", spread(took))
        beside, errors = p99(load)
        say("traffic beside them", f"{json.dumps(beside)} errors {errors}")
        say(f"{args.sequential:,} PUTs, one after the other", f"{sequential(gateway, documents, args.sequential):.2f} s")
        say("memory after them", f"{gateway.rss():.0f} MiB RSS")
        if args.delete:
            admin = gateway.admin()
            began = time.monotonic()
            for i in range(args.routes):
                write(admin, "DELETE", f"routes/{i}")
            for i in range(max(1, args.consumers)):
                write(admin, "DELETE", f"consumers/user{i}")
            for i in range(args.routes // PER_UPSTREAM + 1):
                write(admin, "DELETE", f"upstreams/{i}")
            say("all deleted one by one", f"{time.monotonic() - began:.1f} s, then {gateway.rss():.0f} MiB RSS")
    finally:
        gateway.stop()
        if etcd:
            etcd.terminate()
            etcd.wait()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--routes", type=int, default=100000)
    p.add_argument("--consumers", type=int, default=100000)
    p.add_argument("--plugins", choices=["shared", "own"], default="shared",
                   help="shared: all routes have the same plugins; own: each a configuration of its own")
    p.add_argument("--store", choices=["sqlite", "etcd"], default="sqlite")
    p.add_argument("--puts", type=int, default=200)
    p.add_argument("--sequential", type=int, default=10000)
    p.add_argument("--rate", type=int, default=2000, help="requests per second of the traffic")
    p.add_argument("--seconds", type=int, default=5, help="of traffic")
    p.add_argument("--no-delete", dest="delete", action="store_false")
    p.add_argument("--curve", action="store_true", help="100 to --routes, by tens")
    args = p.parse_args()
    origin = subprocess.Popen([os.path.join(ROOT, "build/bench-origin"), "0"], stdout=subprocess.PIPE)
    try:
        port = json.loads(origin.stdout.readline())["port"]
        sizes = [n for n in (100, 1000, 10000, 100000, 1000000) if n < args.routes] if args.curve else []
        for n in sizes + [args.routes]:
            args.routes, share = n, n if args.curve else None
            args.consumers = share or args.consumers
            folder = tempfile.mkdtemp(prefix="eclusa-scale-")
            try:
                measure(args, folder, f"127.0.0.1:{port}")
            finally:
                shutil.rmtree(folder)
    finally:
        origin.terminate()
        origin.wait()


if __name__ == "__main__":
    sys.exit(main())
