# SPDX-License-Identifier: Apache-2.0
"""The gateway and the LLM simulator on loopback, for tools/run and tools/demo: start them, wait until they serve,
end them by their pids."""
import http.client
import json
import os
import shutil
import socket
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GATEWAY, SIMULATOR = os.path.join(ROOT, "build/eclusa"), os.path.join(ROOT, "build/llm-sim")
START, STOP = 15, 5                      # seconds
# The kernel ends a child whose parent was killed, so that nothing is left behind.
ORPHANS_END = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []


class Trouble(Exception):
    """What the user is told before the end."""


def port_is_free(port):
    """Also sees a gateway of the same user, with which ours would share the port (SO_REUSEPORT)."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def free_port(start):
    """The first free one from `start` on."""
    for port in range(start, min(start + 2000, 65536)):
        if port_is_free(port):
            return port
    raise Trouble(f"no free port from {start} on")


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Child:
    """A process of its own session, so that Ctrl-C reaches us alone; its output goes to `log` (None: the terminal)."""

    def __init__(self, name, command, log=None, env=None):
        self.name, self.log = name, log
        out = open(log, "wb") if log else None
        try:
            self.process = subprocess.Popen(ORPHANS_END + command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=out, env={**os.environ, **(env or {})}, start_new_session=True)
        except OSError as e:
            raise Trouble(f"{name} could not be started: {e}") from None
        finally:
            if out:
                out.close()

    def wait_for(self, what, ready):
        end = time.monotonic() + START
        while not ready():
            if self.process.poll() is not None:
                raise Trouble(f"{self.name} ended with code {self.process.returncode}{self.said()}")
            if time.monotonic() > end:
                raise Trouble(f"{self.name}: {what} not there after {START} s{self.said()}")
            time.sleep(0.01)
        return self

    def said(self):
        if not self.log:
            return ""
        with open(self.log, encoding="utf-8", errors="replace") as f:
            tail = f.read()[-2000:].strip()
        return f":\n{tail}" if tail else f"; see {self.log}"

    def end(self, sig):
        """Returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            return self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def make_certificates(folder):
    """An authority of our own and the simulator's certificate, what is missing of it."""
    made = subprocess.run([os.path.join(ROOT, "test/llm-sim/make-ca.sh"), folder], capture_output=True, text=True,
                          timeout=60, check=False)
    if made.returncode != 0:
        raise Trouble(f"the simulator's certificates could not be made:\n{made.stderr}")


def start_simulator(folder, certificates, *options):
    """Returns the process and its ports {"plain", "tls"}, any that are free."""
    ready = os.path.join(folder, "llm-sim.ready")
    if os.path.exists(ready):
        os.unlink(ready)
    child = Child("llm-sim", [SIMULATOR, "-p", "0", "-s", "0", "--cert", os.path.join(certificates, "server.pem"),
                              "--key", os.path.join(certificates, "server.key"), "--ready-file", ready, *options],
                  os.path.join(folder, "llm-sim.log"))
    child.wait_for("its ports", lambda: os.path.exists(ready))
    with open(ready, encoding="utf-8") as f:
        return child, {name: int(port) for name, port in (pair.split("=") for pair in f.read().split())}


def start_gateway(config, ports, log=None, env=None):
    child = Child("eclusa", [GATEWAY, "run", "-c", config], log, env)
    for port in ports:
        child.wait_for(f"port {port}", lambda p=port: listens(p))
    return child


def request(port, method, path, body=None, headers=None):
    """One request; (status, body)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except OSError as e:
        raise Trouble(f"{method} {path} on port {port}: {e}") from None
    finally:
        connection.close()
