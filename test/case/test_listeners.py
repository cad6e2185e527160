# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: listeners that come and go while the gateway runs."""
import signal
import socket
import threading

import pytest

import pki
import wire
from gw import ports
from pki import put, shown

pytestmark = [pytest.mark.asan]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    p = pki.Pki(tmp_path_factory.mktemp("pki"))
    return {"a": p.server(p.ca("root"), "a.test")}


@pytest.fixture
def here(make_gw):
    return make_gw(nginx_config={"error_log_level": "info"})


def listen(gw, plain, tls=(), **apisix):
    """Rewrites the file, and has it read again."""
    at = lambda some: [{"ip": "127.0.0.1", "port": p} for p in some]
    gw.settings["apisix"].update(node_listen=at(plain), ssl={"enable": bool(tls), "listen": at(tls)}, **apisix)
    gw.command("run")
    reload(gw)


def reload(gw):
    before = gw.log.count("the configuration file was read again")
    gw.process.send_signal(signal.SIGHUP)
    wire.wait_until("SIGHUP", lambda: gw.log.count("the configuration file was read again") > before)


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def gone(port):
    wire.wait_until(f"port {port} to close", lambda: not is_open(port))


def request(w, target="/"):
    w.request("GET", target)
    return w.response()


@pytest.mark.quick
def test_come_and_go(here, made, upstream):
    gw, more, tls = here, ports.take(), ports.take()
    gw.route("/*", upstream)
    put(gw, 1, made["a"], "a.test")
    gw.tls_port = tls
    with gw.connect() as kept:
        assert request(kept).status == 200
        listen(gw, [gw.port, more], [tls])
        assert is_open(more) and shown(gw, "a.test") == made["a"].der
        with wire.connect(more) as other, pki.dial(tls, "a.test") as safe:
            assert request(other).status == request(safe).status == 200
            listen(gw, [gw.port])
            gone(more)
            gone(tls)
            assert other.closed() and safe.closed()     # idle: within a moment
        assert request(kept).status == 200              # untouched
    gw.wait_log(f"listening on 127.0.0.1:{tls} with TLS")
    gw.wait_log(f"no longer listening on 127.0.0.1:{more}")
    listen(gw, [more])
    gone(gw.port)
    assert is_open(more)


def test_same_port_other_protocol(here, made):
    put(here, 1, made["a"], "a.test")
    here.tls_port = here.port
    listen(here, [ports.take()], [here.port])
    wire.wait_until("TLS there", lambda: shown(here, "a.test") == made["a"].der)
    assert here.get("/").status == 400


def test_request_under_way(here, upstream):
    """On a listener that goes: the response comes whole, then the connection closes."""
    more = ports.take()
    upstream.on("/").reply(chunks=[b"a" * 1000] * 10, gap=0.05)
    here.route("/", upstream)
    listen(here, [here.port, more])
    with wire.connect(more) as w:
        w.request("GET", "/")
        upstream.wait("the request", lambda u: len(u.requests) == 1)
        listen(here, [here.port])
        gone(more)
        assert w.response().body == b"a" * 10000 and w.closed()


def test_under_load(here, upstream):
    """Listeners come and go; those who use the one that stays see nothing of it."""
    here.route("/*", upstream)
    others, stop, failed, count = [ports.take() for _ in range(3)], threading.Event(), [], [0]

    def load():
        try:
            while not stop.is_set():
                with wire.connect(here.port) as w:
                    for _ in range(5):
                        assert request(w).status == 200
                        count[0] += 1
        except Exception as e:                          # whatever it is, the case fails by it
            failed.append(repr(e))
    threads = [threading.Thread(target=load) for _ in range(4)]
    for t in threads:
        t.start()
    for i in range(12):
        at = count[0]
        listen(here, [here.port, *others[:i % 4]])
        wire.wait_until("load meanwhile", lambda a=at: failed or count[0] > a + 20)
    stop.set()
    for t in threads:
        t.join()
    assert not failed
    for port in others:
        wire.wait_until("the last state", lambda p=port: is_open(p))


def test_bad_file(here, upstream):
    """Named, and nothing changes."""
    here.route("/*", upstream)
    more = ports.take()
    for bad in ({"node_listen": "x"}, {"node_listen": [{"ip": "127.0.0.1", "port": here.admin_port}]},
                {"node_listen": [{"ip": "127.0.0.1", "port": more}], "ssl": {"ssl_protocols": "none"}}):
        good = dict(here.settings["apisix"])
        here.settings["apisix"].update(bad)
        here.command("run")
        reload(here)
        here.settings["apisix"] = good
        assert here.get("/").status == 200 and not is_open(more)
    for text in ('property "node_listen" validation failed', "http listen port", "apisix.ssl.ssl_protocols"):
        here.wait_log("the configuration file was read again and nothing is changed: ")
        assert text in here.log


def test_taken_port(here, upstream):
    """All or nothing: one port of two is another program's."""
    here.route("/*", upstream)
    free = ports.take()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listen(here, [here.port, free, port])
        here.wait_log(f"nothing is changed: cannot listen on 127.0.0.1:{port}: Address already in use")
        assert not is_open(free) and here.get("/").status == 200
    listen(here, [here.port, free, port])
    assert is_open(free) and is_open(port)


def test_what_needs_a_restart_is_named(here):
    more = ports.take()
    here.config(nginx_config={"worker_processes": 3, "http": {"keepalive_timeout": "5s"}},
                eclusa={"max_headers": 50}, plugins=["key-auth"])
    listen(here, [here.port, more], delete_uri_tail_slash=True)
    for path in ("nginx_config.worker_processes", "nginx_config.http.keepalive_timeout", "eclusa.max_headers", "plugins",
                 "apisix.delete_uri_tail_slash"):
        here.wait_log(f"config: {path} has changed: this needs a restart")
    assert "config: apisix.node_listen has changed" not in here.log and "ssl" not in "".join(
        line for line in here.log.split("\n") if "has changed" in line)
    assert is_open(more)


def test_a_default_port_that_is_taken_is_left_out(make_gw, upstream):
    """Two gateways with ports of their own start side by side, though neither says where TLS is served."""
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(("0.0.0.0", 9443))
        taken.listen()
    except OSError:
        pass  # another program has it: as good
    with taken:
        gw = make_gw(apisix={"ssl": {"enable": True}, "enable_ipv6": False})
        upstream.on("/").reply(200, "x")
        gw.route("/", upstream)
        assert gw.get("/").status == 200
        gw.wait_log("not served over TLS: ", "apisix.ssl.listen sets another address")
