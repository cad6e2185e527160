# SPDX-License-Identifier: Apache-2.0
"""Starts and stops what is measured: nginx, HAProxy and Eclusa, each with one worker on one core,
from the templates beside this file; and gives Eclusa its resources over the Admin API."""

import ctypes
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import procfs

HERE = os.path.dirname(os.path.abspath(__file__))
ADMIN_KEY = "bench-0123456789abcdef0123456789abcdef"
MANY_ROUTES = 10_000
MANY_CONSUMERS = 1_000
SETUP_SECONDS = 120   # for all resources of a cell
PR_SET_PDEATHSIG = 1
NICE = 0              # of proxies, origin and load; set by --nice
_libc = ctypes.CDLL(None)


class NotReady(Exception):
    """A contestant that cannot take part, and why."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def spawn(argv, core, **kwargs):
    """A child on one core that dies with us."""
    def pin():
        os.sched_setaffinity(0, {core})
        if NICE:
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    return subprocess.Popen(argv, preexec_fn=pin, **kwargs)


def stop(proc):
    if proc is None or proc.poll() is not None:
        return
    proc.terminate()
    try:
        proc.wait(5)
    except subprocess.TimeoutExpired:
        proc.kill()
        proc.wait()


def fill(template, values, words):
    """The template with its @NAME@s, and with the #word# lines of these words only."""
    out = []
    with open(os.path.join(HERE, template)) as f:
        for line in f:
            m = re.match(r"(\s*)#(!?)([a-z]+)# ?(.*)", line, re.S)
            if m:
                if (m[3] in words) == bool(m[2]):
                    continue
                line = m[1] + m[4]
            out.append(re.sub(r"@([A-Z_]+)@", lambda n: str(values.get(n[1], n[0])), line))
    return "".join(out)


class Gateway:
    """One running contestant of a cell."""
    program = None
    template = None

    def __init__(self, label, work, cell, origin):
        self.label, self.cell, self.origin = label, cell, origin
        self.proc = None
        self.port = free_port()
        self.dir = os.path.join(work, re.sub(r"\W+", "-", f"{cell.name}-{label}"))
        os.makedirs(self.dir)
        os.chmod(self.dir, 0o755)
        for f in ("ca.pem", "cert.pem", "key.pem", "both.pem"):
            if os.path.exists(os.path.join(work, f)):
                shutil.copy(os.path.join(work, f), self.dir)
        https = "https" in cell.words
        self.origin_port = origin["tls_port" if https else "port"]
        self.values = {"PORT": self.port, "ORIGIN_PORT": self.origin_port, "DIR": self.dir}

    def argv(self, conf):
        raise NotImplementedError

    def start(self, core):
        conf = None
        if self.template:
            conf = os.path.join(self.dir, self.template[:-3])
            with open(conf, "w") as f:
                f.write(fill(self.template, self.values, self.cell.words))
        with open(os.path.join(self.dir, "out"), "ab") as out, \
                open(os.path.join(self.dir, "err"), "ab") as err:
            self.proc = spawn(self.argv(conf), core, stdout=out, stderr=err,
                              stdin=subprocess.DEVNULL)
        self.wait_port(self.port)
        self.setup()

    def wait_port(self, port, seconds=10):
        """Ready is when the port takes a connection."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.proc.poll() is not None:
                raise NotReady(f"it exited with {self.proc.returncode}: {self.complaint()}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise NotReady(f"port {port} does not listen after {seconds} s: {self.complaint()}")

    def complaint(self):
        lines = procfs.read(os.path.join(self.dir, "err")).strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def setup(self):
        """Resources, where a gateway has them."""

    def pids(self):
        return procfs.family(self.proc.pid)

    def forget_logs(self):
        """Empties what it logged, so that a long run does not fill the disk."""
        for name in os.listdir(self.dir):
            if name == "out" or name.endswith(".log"):
                os.truncate(os.path.join(self.dir, name), 0)

    def stop(self):
        stop(self.proc)


class Nginx(Gateway):
    program, template, package = "nginx", "nginx.conf.in", "nginx-light"

    def argv(self, conf):
        return [self.binary, "-p", self.dir, "-e", os.path.join(self.dir, "err"), "-c", conf]


class Haproxy(Gateway):
    program, template, package = "haproxy", "haproxy.cfg.in", "haproxy"

    def argv(self, conf):
        return [self.binary, "-db", "-q", "-f", conf]


class Floor(Gateway):
    """bench/floor.c: copies bytes and no more; not a proxy, but what none can be cheaper than."""
    program = "bench-floor"

    def argv(self, conf):
        return [self.binary, str(self.port), str(self.origin_port)]


class Eclusa(Gateway):
    program, template, package = "eclusa", "eclusa.yaml.in", None
    resources = "one"

    def __init__(self, label, work, cell, origin):
        super().__init__(label, work, cell, origin)
        self.admin = None
        self.values.update(ADMIN_PORT=free_port(), SPARE_PORT=free_port(), ADMIN_KEY=ADMIN_KEY)

    def argv(self, conf):
        return [self.binary, "run", "-c", conf]

    def put(self, path, document):
        if time.monotonic() > self.setup_end:
            raise NotReady(f"its resources are not put after {SETUP_SECONDS} s: it is at {path}")
        self.admin.request("PUT", "/apisix/admin/" + path, json.dumps(document),
                           {"X-API-KEY": ADMIN_KEY, "Content-Type": "application/json"})
        answer = self.admin.getresponse()
        body = answer.read()
        if answer.status not in (200, 201):
            raise NotReady(f"PUT {path}: {answer.status} {body[:200].decode(errors='replace')}")

    def setup(self):
        self.wait_port(self.values["ADMIN_PORT"])
        self.admin = http.client.HTTPConnection("127.0.0.1", self.values["ADMIN_PORT"], timeout=10)
        begin = time.monotonic()
        self.setup_end = begin + SETUP_SECONDS
        upstream = {"type": "roundrobin", "nodes": {f"127.0.0.1:{self.origin_port}": 1},
                    "keepalive_pool": {"size": 512, "idle_timeout": 3600, "requests": 1000000000}}
        if "https" in self.cell.words:
            upstream |= {"scheme": "https", "pass_host": "rewrite", "upstream_host": "localhost"}
        self.put("upstreams/1", upstream)
        if "tls" in self.cell.words:
            self.put("ssls/1", {"snis": ["localhost", "127.0.0.1"],
                                "cert": procfs.read(os.path.join(self.dir, "cert.pem")),
                                "key": procfs.read(os.path.join(self.dir, "key.pem"))})
        getattr(self, "put_" + self.resources)()
        self.setup_seconds = time.monotonic() - begin
        self.admin.close()

    def put_one(self):
        """One route for everything, no plugin: what nginx's `location /` is."""
        self.put("routes/1", {"uri": "/*", "upstream_id": "1"})

    def put_many(self):
        """10,000 routes, exact ones and prefixes by turns."""
        for i in range(MANY_ROUTES):
            self.put(f"routes/{i}", {"uri": many_path(i, "*"), "upstream_id": "1"})

    def put_auth(self):
        """1,000 consumers with a key each, and a counter for each that never runs out."""
        for i in range(MANY_CONSUMERS):
            self.put("consumers", {"username": f"consumer{i}",
                                   "plugins": {"key-auth": {"key": consumer_key(i)}}})
        self.put("routes/1", {"uri": "/*", "upstream_id": "1", "plugins": {
            "key-auth": {},
            "limit-count": {"count": 1000000000, "time_window": 3600, "rejected_code": 429,
                            "key_type": "var", "key": "consumer_name"}}})


class EclusaMany(Eclusa):
    resources = "many"


class EclusaAuth(Eclusa):
    resources = "auth"


def many_path(i, rest):
    return f"/service{i % 97}/api/item{i}" + (f"/{rest}" if i % 2 else "")


def consumer_key(i):
    return f"key-{i:04d}-{i * 2654435761 % 4294967296:08x}"


def find(kind, eclusa):
    """Sets where the program is; raises NotReady with what to do when it is nowhere."""
    if issubclass(kind, Eclusa):
        if not os.access(eclusa, os.X_OK):
            raise NotReady(f"{eclusa} is not there: run `make`")
        kind.binary = eclusa
        return
    if kind is Floor:
        kind.binary = os.path.join(os.path.dirname(HERE), "build", kind.program)
        return
    path = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"
    kind.binary = shutil.which(kind.program, path=path)
    if kind.binary is None:
        raise NotReady(f"not installed: apt-get install --no-install-recommends {kind.package}")
