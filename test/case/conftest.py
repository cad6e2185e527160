# SPDX-License-Identifier: Apache-2.0
"""What a case can ask for: gw, make_gw, make_shared_gw, shared_gw, make_tls, tls, upstream, make_upstream, certs,
make_sim, sim."""
import os
import signal
import ssl
import subprocess

import pytest

from gw import SANITIZED, Gateway, ports
from peer import ROOT, Sim, Upstream


def bounded(item):
    """No case hangs: after its seconds (30 unless marked; more with sanitizers) it fails where it stands. Each of its
    beginning, body and end has that time; what pytest does in between is not disturbed."""
    marker = item.get_closest_marker("seconds")
    seconds = (marker.args[0] if marker else 30) * (2 if SANITIZED else 1)

    def late(*_):
        raise TimeoutError(f"the case took longer than {seconds} s")
    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    yield
    signal.alarm(0)


pytest_runtest_setup = pytest_runtest_call = pytest.hookimpl(hookwrapper=True)(bounded)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item):
    yield from bounded(item)


def pytest_make_parametrize_id(val, argname):
    """A long text is no name, and what is made from the clock would be another one in each process of a run."""
    return argname if isinstance(val, (str, bytes)) and len(val) > 40 else None


def started(gateways, folder, config):
    os.makedirs(folder, exist_ok=True)
    gateway = Gateway(folder).config(**config)
    gateways.append(gateway)
    return gateway.start()


def finish(gateways):
    faults = []
    for gateway in gateways:
        try:
            gateway.finish()
        except AssertionError as e:
            faults.append(str(e))
    assert not faults, "\n".join(faults)


@pytest.fixture
def make_gw(tmp_path):
    """make_gw(**config sections) starts a gateway; several may run side by side."""
    gateways = []
    yield lambda **config: started(gateways, str(tmp_path / f"gw{len(gateways)}"), config)
    finish(gateways)


@pytest.fixture
def gw(make_gw):
    return make_gw()


@pytest.fixture
def make_tls(make_gw):
    """A gateway that listens with TLS too, on tls_port; http is nginx_config.http, **ssl apisix.ssl."""
    def make(http=None, **more):
        port = ports.take()
        gateway = make_gw(apisix={"ssl": {"enable": True, "listen": [{"ip": "127.0.0.1", "port": port}], **more}},
                          nginx_config={"error_log_level": "info", "http": http or {}})
        gateway.tls_port = port
        return gateway
    return make


@pytest.fixture
def tls(make_tls):
    return make_tls()


@pytest.fixture(scope="module")
def make_shared_gw(tmp_path_factory):
    """As make_gw, for all cases of a file."""
    gateways = []
    yield lambda **config: started(gateways, str(tmp_path_factory.mktemp("gw")), config)
    finish(gateways)


@pytest.fixture(scope="module")
def shared_gw(make_shared_gw):
    """One gateway for all cases of a file: for cases that leave nothing behind."""
    return make_shared_gw()


@pytest.fixture
def make_upstream():
    upstreams = []

    def make(tls=None):
        upstreams.append(Upstream(tls))
        return upstreams[-1]
    yield make
    for upstream in upstreams:
        upstream.stop()
    assert not any(u.broken for u in upstreams), [u.broken for u in upstreams]


@pytest.fixture
def upstream(make_upstream):
    return make_upstream()


@pytest.fixture(scope="session")
def certs(tmp_path_factory):
    """An authority of our own and a certificate of it: {ca, cert, key, context}; context is a server's."""
    folder = str(tmp_path_factory.mktemp("ca"))
    subprocess.run([os.path.join(ROOT, "test/llm-sim/make-ca.sh"), folder], check=True, capture_output=True, timeout=60)
    found = {name: os.path.join(folder, file) for name, file in
             (("ca", "ca.pem"), ("cert", "server.pem"), ("key", "server.key"))}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(found["cert"], found["key"])
    return {**found, "context": context}


@pytest.fixture
def make_sim(tmp_path, certs):
    """make_sim("--gap", "20", …) starts the LLM simulator, with and without TLS."""
    sims = []

    def make(*options):
        folder = tmp_path / f"sim{len(sims)}"
        folder.mkdir()
        sims.append(Sim(str(folder), certs, *options))
        return sims[-1]
    yield make
    for sim in sims:
        sim.stop()


@pytest.fixture
def sim(make_sim):
    return make_sim()
