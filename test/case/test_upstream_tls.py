# SPDX-License-Identifier: Apache-2.0
"""TLS to upstreams: what a certificate must say, and what name the upstream is asked for."""
import os
import ssl

import pytest

pytestmark = [pytest.mark.asan]


def context(certs, name="server"):
    folder = os.path.dirname(certs["ca"])
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(f"{folder}/{name}.pem", f"{folder}/{name}.key")
    return c


@pytest.fixture
def trusting(make_gw, certs):
    return make_gw(apisix={"ssl": {"ssl_trusted_certificate": certs["ca"]}})


@pytest.mark.parametrize("name, verify, want", [("server", True, 200), ("expired", True, 502), ("wrongname", True, 502),
                                                ("selfsigned", True, 502), ("expired", False, 200), ("wrongname", False, 200)])
def test_certificates(trusting, make_upstream, certs, name, verify, want):
    """A request gets to nobody who has not proved who he is, again and again."""
    up = make_upstream(context(certs, name))
    trusting.route("/*", {"type": "roundrobin", "scheme": "https", "pass_host": "node", "nodes": {f"localhost:{up.port}": 1},
                          "tls": {"verify": verify}})
    for _ in range(3):
        assert trusting.get("/").status == want
    assert len(up.requests) == (3 if want == 200 else 0)


@pytest.mark.parametrize("node, fields, host, want", [
    ("localhost", {"pass_host": "pass"}, "client.example", "localhost"),
    ("localhost", {"pass_host": "node"}, "client.example", "localhost"),
    ("localhost", {"pass_host": "rewrite", "upstream_host": "mine.example:8443"}, "client.example", "mine.example"),
    ("127.0.0.1", {"pass_host": "pass"}, "client.example:80", "client.example"),
    ("127.0.0.1", {"pass_host": "node"}, "client.example", None),
    ("127.0.0.1", {"pass_host": "pass"}, "[::1]:80", None),
    ("127.0.0.1", {"pass_host": "pass"}, "x" * 300 + ".example", None)])
def test_names(gw, make_upstream, certs, node, fields, host, want):
    """The name in the handshake: the operator's, and the client's only where there is no other."""
    seen = []
    c = context(certs)
    c.sni_callback = lambda _, name, __: seen.append(name)
    up = make_upstream(c)
    gw.route("/*", {"type": "roundrobin", "scheme": "https", "nodes": {f"{node}:{up.port}": 1}, "tls": {"verify": False}, **fields})
    assert gw.get("/", {"Host": host}).status == 200
    assert seen == [want]


def test_the_clients_name_is_verified(trusting, make_upstream, certs):
    """It must be in the certificate, also when others have had their connections kept."""
    up = make_upstream(context(certs))
    trusting.route("/*", {"type": "roundrobin", "scheme": "https", "nodes": {f"127.0.0.1:{up.port}": 1}})
    assert trusting.get("/", {"Host": "localhost"}).status == 200
    assert trusting.get("/", {"Host": "other.example"}).status == 502
    assert trusting.get("/", {"Host": "localhost"}).status == 200
    assert trusting.get("/", {"Host": "x" * 300 + ".example"}).status == 502
    assert [r.headers.get("Host") for r in up.requests] == ["localhost"] * 2
