#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make bench: Eclusa beside nginx and HAProxy, in interleaved rounds on pinned cores.

A cell is a row of CELLS. For each cell its contestants are started fresh, one worker each on the
proxy's core; origin and load share the other core. A round measures each contestant once, one after
the other, so that what disturbs the machine for longer than a round disturbs all of them alike;
ratios are taken within a round. doc/benchmarks.md says how to read the output."""

import argparse
import dataclasses
import json
import math
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import gateways
import procfs
from gateways import Eclusa, EclusaAuth, EclusaMany, Floor, Haproxy, Nginx, NotReady

ROOT = os.path.dirname(gateways.HERE)
LOAD = os.path.join(ROOT, "build", "bench-load")
ORIGIN = os.path.join(ROOT, "build", "bench-origin")
CONNECTIONS = 64
STREAMS = 2000
GAP_MS = 100          # between two events of a stream: 20,000 events/s in all
OPEN_SECONDS = 2      # how long opening the streams may take before the window begins


@dataclasses.dataclass(frozen=True)
class Target:
    """A limit from the issue: on whose figure, and on which."""
    limit: float
    label: str = "eclusa"
    metric: str = "ratio"   # ratio: CPU beside nginx; own: CPU beside "eclusa, one route"
    unit: str = ""


@dataclasses.dataclass(frozen=True)
class Cell:
    name: str
    about: str
    contestants: tuple
    load: tuple = ("-e", "1024")      # options of bench-load
    path: str = "/get"
    requests: str = ""                # name of a generator of the request list
    words: frozenset = frozenset()    # the #word# lines of the templates that count
    targets: tuple = ()
    events: bool = False


PLAIN = (("nginx", Nginx), ("haproxy", Haproxy), ("eclusa", Eclusa))
ONE = "eclusa, one route"
IDLE = Target(12, metric="rss_idle_mib", unit=" MiB idle")

CELLS = (
    Cell("get", "GET, answer of 1 KiB", PLAIN, targets=(Target(0.80), IDLE)),
    Cell("get-paced", "GET at 20,000 requests/s, the proxy not saturated", PLAIN,
         load=("-e", "1024", "-r", "20000")),
    Cell("post", "POST of 1 KiB, answer of 2 KiB", PLAIN,
         load=("-m", "POST", "-b", "1024", "-e", "2048"), path="/post", targets=(Target(0.80),)),
    Cell("tls-up", "GET, the upstream over TLS, verified", PLAIN, words=frozenset({"https"})),
    Cell("events", f"{STREAMS} event streams, one event each {GAP_MS} ms", PLAIN, events=True,
         targets=(Target(0.95), Target(4, metric="stream_kib", unit=" KiB a stream"))),
    Cell("routes-10000", "GET over 10,000 routes by turns; nginx and HAProxy have one",
         PLAIN[:2] + ((ONE, Eclusa), ("eclusa", EclusaMany)), requests="many",
         targets=(Target(1.03, metric="own", unit=" of one route"), Target(0.80))),
    Cell("auth-limit", "GET, key-auth + limit-count, 1,000 consumers by turns; the others plain",
         PLAIN[:2] + ((ONE, Eclusa), ("eclusa", EclusaAuth)), requests="consumers",
         targets=(Target(0.85),)),
    Cell("access-log", "GET, access log on in all", PLAIN, words=frozenset({"log"}),
         targets=(Target(0.80),)),
    Cell("tls-down", "GET, the client over TLS", PLAIN, words=frozenset({"tls"}),
         load=("-s", "-e", "1024"), targets=(Target(0.80),)),
)


def requests_many():
    paths = [gateways.many_path(i, "x") for i in range(gateways.MANY_ROUTES)]
    random.Random(1).shuffle(paths)
    return paths


def requests_consumers():
    return [f"/get\tapikey: {gateways.consumer_key(i)}" for i in range(gateways.MANY_CONSUMERS)]


class Bench:
    """The run: where things are, on which cores, for how long."""

    def __init__(self, args):
        self.args = args
        self.work = tempfile.mkdtemp(prefix="eclusa-bench-")
        os.chmod(self.work, 0o755)
        self.origin = self.origin_ports = None

    def start(self):
        make_certificates(self.work)
        at = lambda name: os.path.join(self.work, name)
        self.origin = gateways.spawn([ORIGIN, "0", "0", at("cert.pem"), at("key.pem")],
                                     self.args.load_core, stdout=subprocess.PIPE, text=True)
        self.origin_ports = json.loads(self.origin.stdout.readline())

    def stop(self):
        gateways.stop(self.origin)
        if self.args.keep:
            say(f"kept: {self.work}")
        else:
            shutil.rmtree(self.work, ignore_errors=True)

    # -- one measurement --

    def sample(self, gateway):
        pids = gateway.pids()
        core = self.args.proxy_core
        return {"cpu": procfs.cpu_ns(pids), "ticks": procfs.ticks(pids), "wall": time.monotonic(),
                "core": procfs.core_ticks(core), "soft": procfs.softirqd_ns(core)}

    def difference(self, a, b, count):
        """What one request or event cost between two samples."""
        cpu, wall = b["cpu"] - a["cpu"], (b["wall"] - a["wall"]) * 1e9
        tick = 1e9 / procfs.TICK
        user, system = (y - x for x, y in zip(a["ticks"], b["ticks"]))
        busy, steal = ((y - x) * tick for x, y in zip(a["core"], b["core"]))
        soft = b["soft"] - a["soft"]
        return {"cpu_us": cpu / 1e3 / count if count else math.nan,
                "user": user / (user + system) if user + system else math.nan,
                "busy": cpu / wall, "foreign": max(0.0, busy - cpu - soft) / wall,
                "steal": steal / wall, "softirqd": soft / max(cpu, 1)}

    def load_argv(self, cell, gateway, options):
        mode = "events" if cell.events else "http"
        lst = os.path.join(self.work, cell.name + ".requests")
        if cell.requests and not os.path.exists(lst):
            with open(lst, "w") as f:
                f.write("\n".join(globals()["requests_" + cell.requests]()) + "\n")
        host = "localhost" if "tls" in cell.words else "127.0.0.1"
        listed = ["-l", lst] if cell.requests else []
        return [LOAD, mode, *([] if cell.events else cell.load), *listed, *options,
                f"{host}:{gateway.port}", cell.path]

    def load(self, cell, gateway, *options):
        proc = gateways.spawn(self.load_argv(cell, gateway, options), self.args.load_core,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        out, _ = proc.communicate(timeout=120)
        return json.loads(out.splitlines()[-1])

    def measure_http(self, cell, gateway, seconds):
        conns = ("-c", str(CONNECTIONS))
        self.load(cell, gateway, *conns, "-d", "0.2")    # warm: pools filled, caches hot
        before = self.sample(gateway)
        result = self.load(cell, gateway, *conns, "-d", str(seconds))
        after = self.sample(gateway)
        out = self.difference(before, after, result["requests"])
        out |= {"per_s": result["rps"], "p50": result["latency_us"]["p50"],
                "p99": result["latency_us"]["p99"], "max": result["latency_us"]["max"],
                "count": result["requests"], "errors": result["errors"]}
        out["memory"] = procfs.memory_kib(gateway.pids())
        gateway.forget_logs()
        return out

    def streams(self, cell, gateway, count, seconds):
        """Opens the streams; a running load whose windows can be marked."""
        n = int((OPEN_SECONDS + seconds + 0.5) * 1000 / GAP_MS)
        cell = dataclasses.replace(cell, path=f"/events?n={n}&gap={GAP_MS}&size=200")
        argv = self.load_argv(cell, gateway, ("-c", str(count), "-e", str(n)))
        proc = gateways.spawn(argv, self.args.load_core, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
        first = json.loads(proc.stdout.readline())
        if "open" not in first:
            proc.wait()
        return proc, first

    def mark(self, proc, gateway):
        proc.stdin.write("\n")
        proc.stdin.flush()
        counters = json.loads(proc.stdout.readline())
        return counters, self.sample(gateway)

    def measure_events(self, cell, gateway, seconds):
        idle = procfs.memory_kib(gateway.pids())
        proc, first = self.streams(cell, gateway, STREAMS, seconds)
        if "open" not in first:
            return {"cpu_us": math.nan, "errors": first["errors"], "count": 0}
        time.sleep(0.3)                                  # past the burst of opening
        a, before = self.mark(proc, gateway)
        time.sleep(seconds)
        b, after = self.mark(proc, gateway)
        memory = procfs.memory_kib(gateway.pids())
        out, _ = proc.communicate(timeout=120)
        result = json.loads(out.splitlines()[-1])
        events = b["events"] - a["events"]
        out = self.difference(before, after, events)
        out |= {"per_s": events / ((b["ns"] - a["ns"]) / 1e9), "count": events,
                "p50": result["delay_us"]["p50"], "p99": result["delay_us"]["p99"],
                "max": result["delay_us"]["max"], "memory": memory,
                "reads_per_event": (b["reads"] - a["reads"]) / max(events, 1),
                "stream_kib": (memory["rss"] - idle["rss"]) / max(first["open"], 1)}
        out["errors"] = result["errors"] | {"lost": result["lost"],
                                            "bad_events": result["bad_events"]}
        return out

    def measure(self, cell, gateway, seconds):
        call = self.measure_events if cell.events else self.measure_http
        return call(cell, gateway, seconds)

    def check(self, cell, gateway):
        """Each request of the cell once, without an error, before anything is measured."""
        if cell.events:
            return
        end = time.monotonic() + 5
        count = len(globals()["requests_" + cell.requests]()) if cell.requests else 200
        while True:
            result = self.load(cell, gateway, "-c", "8", "-n", str(count), "-d", "20")
            if result["requests"] < count:
                result["errors"]["missing"] = count - result["requests"]
            bad = {k: n for k, n in result["errors"].items() if n and k != "total"}
            if not bad:
                return
            if time.monotonic() > end:
                raise NotReady(f"of {count} requests went wrong: {bad}")
            time.sleep(0.1)

    # -- system calls --

    def syscalls(self, cell, gateway):
        """System calls per request by name, in an extra short run under strace."""
        out = os.path.join(gateway.dir, "strace")
        argv = ["strace", "-c", "-f", "-o", out]
        for pid in gateway.pids():
            argv += ["-p", str(pid)]
        load = None
        if cell.events:
            load, _ = self.streams(cell, gateway, 100, 2)  # few: strace slows what it watches
        else:
            self.load(cell, gateway, "-c", str(CONNECTIONS), "-n", "2000")
        tracer = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        for _ in gateway.pids():
            tracer.stderr.readline()                     # "Process N attached"
        if cell.events:
            a, _ = self.mark(load, gateway)
            time.sleep(1.5)
            b, _ = self.mark(load, gateway)
            count = b["events"] - a["events"]
        else:
            options = ("-c", str(CONNECTIONS), "-n", "20000", "-d", "20")
            count = self.load(cell, gateway, *options)["requests"]
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        if load:
            load.communicate(timeout=60)
        calls = {}
        for line in procfs.read(out).splitlines():
            m = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", line)
            if m and m[2] != "total":
                calls[m[2]] = int(m[1]) / max(count, 1)
        return calls

    # -- a cell --

    def contestants(self, cell):
        """Starts those that can take part."""
        started, chosen = [], list(cell.contestants)
        if self.args.aa:
            chosen.insert(1, ("nginx again", Nginx))
        if self.args.floor and not cell.words:
            chosen.append(("floor", Floor))
        for label, kind in chosen:
            if kind.program in self.args.skip:
                continue
            gateway = None
            progress(f"{cell.name}: starting {label}")
            try:
                gateways.find(kind, self.args.eclusa)
                gateway = kind(label, self.work, cell, self.origin_ports)
                gateway.start(self.args.proxy_core)
                gateway.idle = procfs.memory_kib(gateway.pids())
                self.check(cell, gateway)
                started.append(gateway)
            except (NotReady, OSError) as why:
                say(f"{label}: left out of {cell.name}: {why}")
                if gateway:
                    gateway.stop()
            except BaseException:
                for g in started + [gateway] * (gateway is not None):
                    g.stop()
                raise
        return started

    def run_cell(self, cell):
        started = self.contestants(cell)
        result = {"cell": cell.name, "about": cell.about, "rounds": [], "gateways": {}}
        try:
            for g in started:
                result["gateways"][g.label] = {"idle": g.idle}
                if getattr(g, "setup_seconds", 0) > 2:
                    say(f"{g.label}: its resources took {g.setup_seconds:.1f} s to put")
            for i in range(self.args.rounds):
                one = {}
                for g in started:
                    progress(f"{cell.name}: round {i + 1}/{self.args.rounds}: {g.label}")
                    one[g.label] = self.measure(cell, g, self.args.seconds)
                result["rounds"].append(one)
            for g in started if self.args.syscalls else ():
                progress(f"{cell.name}: system calls: {g.label}")
                result["gateways"][g.label]["syscalls"] = self.syscalls(cell, g)
        finally:
            for g in started:
                g.stop()
            progress("")
        summarise(result)
        return result


def make_certificates(where):
    """An authority and a certificate for localhost, for this run only."""
    at = lambda name: os.path.join(where, name)
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run(["openssl", "req", "-x509", *key, "-keyout", at("ca.key"), "-out", at("ca.pem"),
                    "-days", "2", "-subj", "/CN=bench authority"], **quiet)
    subprocess.run(["openssl", "req", *key, "-keyout", at("key.pem"), "-out", at("cert.csr"),
                    "-subj", "/CN=localhost"], **quiet)
    with open(at("ext"), "w") as f:
        f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    subprocess.run(["openssl", "x509", "-req", "-in", at("cert.csr"), "-CA", at("ca.pem"),
                    "-CAkey", at("ca.key"), "-CAcreateserial", "-days", "2", "-extfile", at("ext"),
                    "-out", at("cert.pem")], **quiet)
    with open(at("both.pem"), "w") as f:
        f.write(procfs.read(at("cert.pem")) + procfs.read(at("key.pem")))


# -- what it means --

def spread(values):
    """{"median", "min", "max"} of the rounds."""
    values = [v for v in values if not math.isnan(v)]
    if not values:
        return {"median": math.nan, "min": math.nan, "max": math.nan}
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summarise(result):
    """Medians over the rounds, and ratios taken within each round, into the gateways."""
    rounds = result["rounds"]
    for label, g in result["gateways"].items():
        mine = [r[label] for r in rounds]
        for metric in ("cpu_us", "user", "busy", "foreign", "steal", "softirqd", "per_s", "p50",
                       "p99", "reads_per_event"):
            g[metric] = spread([m.get(metric, math.nan) for m in mine])
        for name, other in (("ratio", "nginx"), ("own", ONE)):
            if other in result["gateways"]:
                g[name] = spread([r[label]["cpu_us"] / r[other]["cpu_us"] for r in rounds])
        g["rss_idle_mib"] = g["idle"]["rss"] / 1024
        g["load"] = max((m.get("memory", g["idle"]) for m in mine), key=lambda m: m["rss"])
        if "stream_kib" in mine[0]:
            g["stream_kib"] = mine[0]["stream_kib"]      # the first round: later ones reuse memory
        g["errors"] = {}
        for m in mine:
            for name, n in m["errors"].items():
                g["errors"][name] = g["errors"].get(name, 0) + n


def value_of(g, metric):
    v = g.get(metric)
    return v["median"] if isinstance(v, dict) else v


def target_text(cell, label, g):
    out = []
    for t in cell.targets:
        have = value_of(g, t.metric)
        if t.label == label and have is not None:
            verdict = "met" if have <= t.limit else f"**missed: {have:.2f}**"
            out.append(f"≤ {t.limit:g}{t.unit} {verdict}")
    return "; ".join(out)


def mib(memory):
    return f"{memory['rss'] / 1024:.1f} ({memory['pss'] / 1024:.1f})"


def table(result, cell):
    per = "event" if cell.events else "request"
    head = ["", f"CPU µs/{per}", "user", "beside nginx", "target", f"{per}s/s", "p50 µs", "p99 µs",
            "core busy", "RSS (PSS) MiB idle", "under load"]
    if cell.events:
        head.append("per stream")
    rows = []
    for label, g in result["gateways"].items():
        ratio = g.get("ratio")
        beside = f"{ratio['median']:.2f} ({ratio['min']:.2f}–{ratio['max']:.2f})" if ratio else "–"
        if "own" in g and label == "eclusa":
            beside += f", {g['own']['median']:.2f} of one route"
        row = [label, f"{g['cpu_us']['median']:.2f}", f"{g['user']['median']:.0%}",
               "1" if label == "nginx" else beside, target_text(cell, label, g),
               f"{g['per_s']['median']:,.0f}", f"{g['p50']['median']:.0f}",
               f"{g['p99']['median']:.0f}", f"{g['busy']['median']:.0%}",
               mib(g["idle"]), mib(g["load"])]
        if cell.events:
            row.append(f"{g.get('stream_kib', math.nan):.1f} KiB")
        rows.append(row)
    widths = [max(len(r[i]) for r in [head] + rows) for i in range(len(head))]
    line = lambda cells: "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths)) + " |"
    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return [line(head), rule] + [line(r) for r in rows]


def noise(result):
    """How far to trust it: what moved, what else ran, what went wrong."""
    out = []
    moved = []
    for label, g in result["gateways"].items():
        c = g["cpu_us"]
        half = (c["max"] - c["min"]) / 2 / c["median"]
        moved.append(f"{label} {c['min']:.2f}–{c['max']:.2f} µs (±{half:.1%})")
    out.append("noise: " + "; ".join(moved))
    worst = lambda m: max(g[m]["max"] for g in result["gateways"].values())
    out.append(f"       other work on the proxy's core at most {worst('foreign'):.1%}, stolen by the "
               f"hypervisor {worst('steal'):.1%}, in the softirq thread {worst('softirqd'):.1%}")
    if worst("foreign") > 0.1 or worst("steal") > 0.05:
        out.append("NOISY: others used the proxy's core; run this cell again")
    for label, g in result["gateways"].items():
        bad = {k: n for k, n in g["errors"].items() if n and k != "total"}
        if bad:
            out.append(f"ERRORS {label}: " + ", ".join(f"{k} {n}" for k, n in bad.items()))
        if g["reads_per_event"]["median"] < 0.9:
            out.append(f"HELD {label}: events were held and merged: "
                       f"{g['reads_per_event']['median']:.2f} reads an event")
        calls = g.get("syscalls")
        if calls:
            some = sorted(calls.items(), key=lambda kv: -kv[1])
            out.append(f"system calls, {label}: {sum(calls.values()):.2f}: " +
                       ", ".join(f"{k} {n:.2f}" for k, n in some if n >= 0.005))
    return out


def show(result, cell):
    print(f"\n### {cell.name}: {cell.about}\n")
    if not result["gateways"]:
        print("nobody could take part")
        return
    print("\n".join(table(result, cell)) + "\n")
    print("\n".join(noise(result)), flush=True)


def no_nan(x):
    """JSON has no NaN: what was not measured is null."""
    if isinstance(x, dict):
        return {k: no_nan(v) for k, v in x.items()}
    if isinstance(x, list):
        return [no_nan(v) for v in x]
    return None if isinstance(x, float) and math.isnan(x) else x


def say(text):
    progress("")
    print(text, file=sys.stderr, flush=True)


def progress(text):
    if sys.stderr.isatty():
        print("\r\033[K" + text, end="", file=sys.stderr, flush=True)


def versions():
    out = {}
    for kind in (Nginx, Haproxy):
        try:
            gateways.find(kind, "")
            both = subprocess.run([kind.binary, "-v"], capture_output=True, text=True, check=False)
            out[kind.program] = (both.stdout + both.stderr).splitlines()[0]
        except (NotReady, OSError):
            pass
    return out


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ",".join(c.name for c in CELLS)
    p.add_argument("--cells", help=f"some of {names}")
    p.add_argument("--rounds", type=int, help="interleaved rounds (5)")
    p.add_argument("--seconds", type=float, help="of each measurement (3)")
    p.add_argument("--quick", action="store_true", help="2 rounds of 1 s: does it work, roughly")
    p.add_argument("--json", metavar="FILE", help="write every round's figures")
    p.add_argument("--syscalls", action="store_true", help="count system calls under strace as well")
    p.add_argument("--aa", action="store_true", help="measure nginx twice: what noise alone does")
    p.add_argument("--floor", action="store_true",
                   help="measure a program that only copies bytes as well (plain cells)")
    p.add_argument("--routes", type=int, default=gateways.MANY_ROUTES, metavar="N",
                   help="of the cell routes-10000, instead of 10,000")
    p.add_argument("--skip", default="", help="leave out: nginx,haproxy,eclusa")
    p.add_argument("--eclusa", default=os.path.join(ROOT, "build", "eclusa"), help="its binary")
    p.add_argument("--proxy-core", type=int, default=1)
    p.add_argument("--load-core", type=int, default=0)
    p.add_argument("--nice", type=int, default=0, metavar="N",
                   help="priority of proxies, origin and load; below 0 (as root) others wait")
    p.add_argument("--keep", action="store_true", help="keep the folder with configs and logs")
    args = p.parse_args()
    args.rounds = args.rounds or (2 if args.quick else 5)
    args.seconds = args.seconds or (1 if args.quick else 3)
    args.skip = args.skip.split(",")
    known = {c.name: c for c in CELLS}
    wanted = args.cells.split(",") if args.cells else [c.name for c in CELLS]
    for name in wanted:
        if name not in known:
            p.error(f"no cell {name}; there are {names}")
    args.cells = [known[name] for name in wanted]
    return args


def main():
    args = arguments()
    if not shutil.which("openssl"):
        sys.exit("not installed: apt-get install --no-install-recommends openssl")
    if not {args.proxy_core, args.load_core} <= os.sched_getaffinity(0):
        sys.exit("make bench needs two cores: one for the proxy, one for origin and load")
    if not (os.access(LOAD, os.X_OK) and os.access(ORIGIN, os.X_OK)):
        sys.exit("build/bench-load and build/bench-origin are missing: run `make bench-bin`")
    if args.syscalls and not shutil.which("strace"):
        sys.exit("--syscalls needs strace: apt-get install --no-install-recommends strace")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    machine = procfs.machine()
    print(f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}; proxy on core "
          f"{args.proxy_core}, origin and load on core {args.load_core}; {args.rounds} interleaved "
          f"rounds of {args.seconds:g} s; medians (min–max)")
    gateways.NICE = args.nice
    gateways.MANY_ROUTES = args.routes
    bench, results = Bench(args), []
    try:
        bench.start()
        for cell in args.cells:
            results.append(bench.run_cell(cell))
            show(results[-1], cell)
    finally:
        bench.stop()
    if args.json:
        with open(args.json, "w") as f:
            json.dump(no_nan({"machine": machine, "versions": versions(), "rounds": args.rounds,
                       "seconds": args.seconds,
                       "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                       "cells": results}), f, indent=1)
    bad = sum(n for r in results for g in r["gateways"].values()
              for k, n in g["errors"].items() if k != "total")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
