# SPDX-License-Identifier: Apache-2.0
"""What the kernel says about a process: CPU time, memory; and about a core: what else ran on it."""

import glob
import os

TICK = os.sysconf("SC_CLK_TCK")


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return ""


def family(pid):
    """A process and all that descend from it."""
    pids, todo = [], [pid]
    while todo:
        p = todo.pop()
        pids.append(p)
        for children in glob.glob(f"/proc/{p}/task/*/children"):
            todo += [int(c) for c in read(children).split()]
    return pids


def cpu_ns(pids):
    """CPU time of all threads in ns: the scheduler's own sum where there is one (it counts every
    switch), else ticks of 10 ms from stat."""
    total = 0
    for pid in pids:
        exact = [read(f) for f in glob.glob(f"/proc/{pid}/task/*/schedstat")]
        if any(exact):
            total += sum(int(s.split()[0]) for s in exact if s)
        else:
            total += sum(ticks([pid])) * (1_000_000_000 // TICK)
    return total


def ticks(pids):
    """(user, system) time of all processes, in ticks."""
    user = system = 0
    for pid in pids:
        fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if fields:
            user += int(fields[11])
            system += int(fields[12])
    return user, system


def memory_kib(pids):
    """{"rss", "pss"}: summed over the processes; pss shares what is shared."""
    out = {"rss": 0, "pss": 0}
    for pid in pids:
        for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
            name, _, value = line.partition(":")
            if name in ("Rss", "Pss"):
                out[name.lower()] += int(value.split()[0])
    return out


def core_ticks(core):
    """(busy, steal) ticks of a core: all that ran there, and what the hypervisor took."""
    for line in read("/proc/stat").splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _idle, _wait, irq, soft, steal = (int(x) for x in line.split()[1:9])
            return user + nice + system + irq + soft, steal
    return 0, 0


def softirqd_ns(core):
    """CPU time of the core's softirq thread: network work that the kernel took off the process."""
    global _softirqd
    if _softirqd is None:
        _softirqd = {}
        for comm in glob.glob("/proc/[0-9]*/comm"):
            name = read(comm).strip()
            if name.startswith("ksoftirqd/"):
                _softirqd[int(name.split("/")[1])] = int(comm.split("/")[2])
    pid = _softirqd.get(core)
    return cpu_ns([pid]) if pid else 0


_softirqd = None


def machine():
    """One line about where this ran."""
    model = [l.partition(":")[2].strip() for l in read("/proc/cpuinfo").splitlines()
             if l.startswith("model name")]
    return {"cpu": model[0] if model else "?", "cores": os.cpu_count(),
            "kernel": os.uname().release}
