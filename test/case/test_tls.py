# SPDX-License-Identifier: Apache-2.0
"""Clients over TLS: which certificate for which name, versions, resumption, what fails and how."""
import os
import socket
import ssl
import struct
import subprocess
import threading

import pytest

import pki
import wire
from gw import Gateway
from pki import put, shown, ssl_doc

pytestmark = [pytest.mark.asan]

V11, V12, V13 = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An authority and certificates of it, by name."""
    p = pki.Pki(tmp_path_factory.mktemp("pki"))
    ca = p.ca("root")
    return {"pki": p, "ca": ca, "a": p.server(ca, "a.test", "A2.test", "*.a.test"),
            "b": p.server(ca, "b.test"), "deep": p.server(ca, "x.y.b.test", "*.b.test"),
            "ec": p.server(ca, "both.test"), "rsa": p.server(ca, "both.test", kind="rsa"),
            "any": p.server(ca, "fallback.test"), "new": p.server(ca, "a.test")}


# ---- Which certificate


@pytest.mark.quick
def test_request(tls, made, upstream):
    put(tls, 1, made["a"], "a.test")
    seen = ("scheme", "https", "ssl_protocol", "ssl_cipher", "ssl_server_name", "ssl_session_reused", "ssl_client_verify",
            "ssl_client_s_dn")
    tls.route("/*", upstream, {"proxy-rewrite": {"headers": {"set": {f"X-{v}": f"[${v}]" for v in seen}}}})
    r = pki.get(tls.tls_port, "A.test", "/x", ctx=pki.context(made["ca"], versions=(V12, V12)))
    assert r.status == 200
    got = upstream.requests[0].headers
    assert [got.get(f"X-{v}") for v in seen] == [
        "[https]", "[on]", "[TLSv1.2]", "[ECDHE-ECDSA-AES128-GCM-SHA256]", "[a.test]", "[.]", "[NONE]", "[]"]
    assert got.get("X-Forwarded-Proto") == "https" and got.get("X-Forwarded-Port") == str(tls.tls_port)
    assert tls.get("/plain").status == 200
    assert upstream.requests[1].headers.get("X-ssl_protocol") == "[]"


def test_names(tls, made):
    """Exact before wildcard, the longest wildcard, one label for the star."""
    put(tls, 1, made["a"], "a.test", "A2.test.", "*.a.test")
    put(tls, 2, made["deep"], "*.b.test", "x.y.b.test")
    put(tls, 3, made["b"], "b.test", "c.a.test", "*t.end")
    a, b, deep = (made[n].der for n in ("a", "b", "deep"))
    wanted = {"a.test": a, "A.TEST": a, "a2.test": a, "x.a.test": a, "c.a.test": b, "x.c.a.test": None, "b.test": b,
              "one.b.test": deep, "two.one.b.test": None, "x.y.b.test": deep, "y.b.test": deep, "c.test": None,
              "test": None, "at.end": b, "a.t.end": None, "t.end": b, None: None}
    assert {name: shown(tls, name) for name in wanted} == wanted
    put(tls, 4, made["any"], "*")
    assert shown(tls, "c.test") == shown(tls, "two.one.b.test") == made["any"].der
    assert shown(tls, "a.test") == a
    tls.wait_log("server name two.one.b.test: there is no certificate for the server name")
    tls.wait_log("server name -: the client's TLS handshake gave no server name")


def test_name_of_two(tls, made):
    """The smallest id has it; when it goes, the other one."""
    put(tls, 7, made["new"], "a.test")
    assert shown(tls, "a.test") == made["new"].der
    put(tls, 3, made["a"], "a.test")
    put(tls, 5, made["b"], "a.test")
    assert shown(tls, "a.test") == made["a"].der
    put(tls, 3, made["a"], "a.test", status=0)
    assert shown(tls, "a.test") == made["b"].der
    put(tls, 3, made["a"], "a.test")
    assert shown(tls, "a.test") == made["a"].der
    tls.delete("ssls/5")
    tls.delete("ssls/3")
    assert shown(tls, "a.test") == made["new"].der
    tls.delete("ssls/7")
    assert shown(tls, "a.test") is None


def test_alert(tls, made):
    put(tls, 1, made["a"], "a.test")
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
        pki.dial(tls.tls_port, "other.test")


def test_fallback(make_tls, made):
    gw = make_tls(fallback_sni="Fallback.Test.")
    put(gw, 1, made["a"], "a.test")
    assert shown(gw, None) is None
    put(gw, 2, made["any"], "fallback.test")
    assert shown(gw, None) == made["any"].der
    assert shown(gw, "a.test") == made["a"].der and shown(gw, "unknown.test") is None


def s_client(gw, name, *options):
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gw.tls_port}", "-servername", name, *options],
                          input=b"", capture_output=True, timeout=20, check=False)
    return done.stdout.decode() + done.stderr.decode()


def test_kinds_of_keys(tls, made):
    """RSA or ECDSA, as the client can verify."""
    put(tls, 1, made["rsa"], "both.test", certs=[made["ec"].pem], keys=[made["ec"].key_pem])
    for ciphers, kind in (("ECDHE-RSA-AES128-GCM-SHA256", "rsa"), ("ECDHE-ECDSA-AES128-GCM-SHA256", "ec")):
        ctx = pki.context(made["ca"], versions=(V12, V12), ciphers=ciphers)
        assert shown(tls, "both.test", ctx=ctx) == made[kind].der
    for algorithms, kind in (("rsa_pss_rsae_sha256", "RSA-PSS"), ("ecdsa_secp256r1_sha256", "ECDSA")):
        assert f"Peer signature type: {kind}" in s_client(tls, "both.test", "-tls1_3", "-sigalgs", algorithms)
    assert "handshake failure" in s_client(tls, "both.test", "-tls1_3", "-sigalgs", "ed25519")


def test_chain(tls, made):
    """What is behind the certificate in its text is sent too."""
    middle = made["pki"].ca("middle", made["ca"])
    leaf = made["pki"].server(middle, "chain.test")
    put(tls, 1, leaf, "chain.test")
    with pytest.raises(ssl.SSLCertVerificationError):
        pki.dial(tls.tls_port, "chain.test", pki.context(made["ca"]))
    tls.put("ssls/1", {**ssl_doc(leaf, "chain.test"), "cert": leaf.pem + middle.pem})
    assert shown(tls, "chain.test", ctx=pki.context(made["ca"])) == leaf.der


def test_no_pair(tls, made):
    """APISIX takes a certificate with another one's key; what cannot be used fails in the handshake."""
    tls.put("ssls/1", {**ssl_doc(made["a"], "a.test"), "key": made["b"].key_pem})
    put(tls, 2, made["b"], "b.test")
    assert shown(tls, "a.test") is None
    tls.wait_log("server name a.test: the certificate for the server name cannot be used")
    assert shown(tls, "b.test") == made["b"].der


def test_references(make_tls, made):
    """A key from the environment; what is not there is kept out, and named."""
    gw = make_tls()
    gw.env = {"TLS_KEY": made["a"].key_pem, "TLS_CERT": made["a"].pem}
    gw.restart()
    gw.put("ssls/1", {"sni": "a.test", "cert": "$env://TLS_CERT", "key": "$env://TLS_KEY"})
    gw.put("ssls/2", {"sni": "b.test", "cert": made["b"].pem, "key": "$env://NO_SUCH_KEY"})
    assert shown(gw, "a.test") == made["a"].der and shown(gw, "b.test") is None
    gw.wait_log("NO_SUCH_KEY")


# ---- Versions, ciphers


def test_versions(make_tls, made):
    gw = make_tls(ssl_protocols="TLSv1.3")
    put(gw, 1, made["a"], "a.test")
    put(gw, 2, made["b"], "b.test", ssl_protocols=["TLSv1.2"])
    put(gw, 3, made["ec"], "both.test", ssl_protocols=["TLSv1.2", "TLSv1.3"])

    def version(name, *versions):
        try:
            with pki.dial(gw.tls_port, name, pki.context(versions=versions)) as w:
                return w.sock.version()
        except ssl.SSLError:
            return None
    assert [version(n, V12, V13) for n in ("a.test", "b.test", "both.test")] == ["TLSv1.3", "TLSv1.2", "TLSv1.3"]
    assert [version(n, V12, V12) for n in ("a.test", "b.test", "both.test")] == [None, "TLSv1.2", "TLSv1.2"]
    assert [version(n, V13, V13) for n in ("a.test", "b.test", "both.test")] == ["TLSv1.3", None, "TLSv1.3"]


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated")
def test_old_version(make_tls, made):
    gw = make_tls(ssl_protocols="TLSv1.1 TLSv1.2", ssl_ciphers="ALL:@SECLEVEL=0")
    put(gw, 1, made["a"], "a.test")
    old = pki.context(versions=(V11, V11), ciphers="ALL:@SECLEVEL=0")
    with pki.dial(gw.tls_port, "a.test", old) as w:
        assert w.sock.version() == "TLSv1.1"
    put(gw, 1, made["a"], "a.test", ssl_protocols=["TLSv1.2"])
    assert shown(gw, "a.test", ctx=old) is None


def test_ciphers(make_tls, made):
    gw = make_tls(ssl_ciphers="ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384")
    put(gw, 1, made["a"], "a.test")
    with pki.dial(gw.tls_port, "a.test", pki.context(versions=(V12, V12))) as w:
        assert w.sock.cipher()[0] == "ECDHE-ECDSA-CHACHA20-POLY1305"
    assert shown(gw, "a.test", ctx=pki.context(versions=(V12, V12), ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")) is None


def test_bad_settings(tls):
    """Said at the start, and by `eclusa test`."""
    tls.settings["apisix"]["ssl"]["ssl_ciphers"] = "NO-SUCH-CIPHER"
    done = subprocess.run(tls.command("test"), capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 1 and 'apisix.ssl.ssl_ciphers: "NO-SUCH-CIPHER": no cipher match' in done.stderr


def test_alpn(tls, made):
    """HTTP/1.1 is all there is; who offers something else alone goes on without."""
    put(tls, 1, made["a"], "a.test")
    for offer, chosen in ((["h2", "http/1.1"], "http/1.1"), (["h2"], None)):
        ctx = pki.context()
        ctx.set_alpn_protocols(offer)
        with pki.dial(tls.tls_port, "a.test", ctx) as w:
            assert w.sock.selected_alpn_protocol() == chosen


# ---- Resumption


def session_of(gw, name, ctx):
    with pki.dial(gw.tls_port, name, ctx) as w:
        w.request("GET", "/", {"Host": name})
        w.response()                                    # TLS 1.3: tickets come before it
        return w.sock.session


def is_resumed(gw, name, ctx, session):
    with pki.dial(gw.tls_port, name, ctx, session) as w:
        return w.sock.session_reused


@pytest.mark.parametrize("tickets", [False, True])
@pytest.mark.parametrize("version", [V12, V13])
def test_resumption(make_tls, made, tickets, version):
    """On any worker; not when the certificate has changed since."""
    gw = make_tls(ssl_session_tickets=tickets)
    put(gw, 1, made["a"], "a.test", "x.a.test")
    put(gw, 2, made["b"], "b.test")
    ctx = pki.context(versions=(version, version))
    session = session_of(gw, "a.test", ctx)
    assert version == V13 or session.has_ticket == tickets
    for _ in range(8):
        assert is_resumed(gw, "a.test", ctx, session)
    assert not is_resumed(gw, "b.test", ctx, session)
    put(gw, 1, made["new"], "a.test")
    session = session_of(gw, "a.test", ctx)
    assert is_resumed(gw, "a.test", ctx, session)
    put(gw, 1, made["a"], "a.test")
    assert not is_resumed(gw, "a.test", ctx, session)
    gw.restart()
    assert not is_resumed(gw, "a.test", ctx, session)


# ---- Change


def test_change_under_load(tls, made, upstream):
    """Kept connections go on, new ones get the new certificate, and no request fails."""
    put(tls, 1, made["a"], "a.test")
    tls.route("/*", upstream)
    stop, failed, served, seen = threading.Event(), [], [], set()

    def kept():
        ctx = pki.context(made["ca"])
        try:
            with pki.dial(tls.tls_port, "a.test", ctx) as w:
                while not stop.is_set():
                    w.request("GET", "/", {"Host": "a.test"})
                    assert w.response().status == 200
                served.append(w.sock.getpeercert(True))
        except Exception as e:                          # whatever it is, the case fails by it
            failed.append(repr(e))

    def fresh():
        ctx = pki.context(made["ca"])
        try:
            while not stop.is_set():
                with pki.dial(tls.tls_port, "a.test", ctx) as w:
                    seen.add(w.sock.getpeercert(True))
                    w.request("GET", "/", {"Host": "a.test"})
                    assert w.response().status == 200
        except Exception as e:
            failed.append(repr(e))
    threads = [threading.Thread(target=t) for t in (kept, kept, kept, fresh, fresh)]
    for t in threads:
        t.start()
    upstream.wait("load", lambda u: len(u.requests) > 20)
    for i in range(20):
        put(tls, 1, made["new" if i % 2 == 0 else "a"], "a.test")
    put(tls, 1, made["new"], "a.test")
    assert shown(tls, "a.test") == made["new"].der
    before = len(upstream.requests)
    upstream.wait("more load", lambda u: len(u.requests) > before + 20)
    stop.set()
    for t in threads:
        t.join()
    assert not failed and served == [made["a"].der] * 3 and seen == {made["a"].der, made["new"].der}


# ---- Bodies


def test_bodies(tls, made, upstream):
    put(tls, 1, made["a"], "a.test")
    big = bytes(range(256)) * 8192
    upstream.on("/big").reply(body=big)
    upstream.on("/chunks").reply(chunks=[b"x" * 20000, b"y", b"z" * 70000])
    tls.route("/*", upstream)
    with pki.dial(tls.tls_port, "a.test") as w:
        for _ in range(2):
            w.request("POST", "/big", {"Host": "a.test"}, big)
            assert w.response().body == big
        w.request("GET", "/chunks", {"Host": "a.test"})
        assert w.response().body == b"x" * 20000 + b"y" + b"z" * 70000
        w.request("POST", "/small", {"Host": "a.test"}, chunks=[b"a" * 30000, b"b"])
        assert w.response().status == 200
    assert upstream.requests[-1].body == b"a" * 30000 + b"b"
    with pki.dial(tls.tls_port, "a.test") as w:
        w.send(b"GET /one HTTP/1.1\r\nHost: a.test\r\n\r\n" * 50, split=True)
        assert [w.response().status for _ in range(50)] == [200] * 50


def test_client_leaves(tls, made, upstream):
    """A client that closes while its answer is awaited is noticed, as without TLS."""
    put(tls, 1, made["a"], "a.test")
    gone = threading.Event()

    def hold(w, _):
        w.closed()
        gone.set()
    upstream.on("/").raw(hold)
    tls.route("/", upstream)
    w = pki.dial(tls.tls_port, "a.test")
    w.request("GET", "/", {"Host": "a.test"})
    upstream.wait("the request", lambda u: len(u.requests) == 1)
    w.close()
    assert gone.wait(10)


# ---- What is no handshake


@pytest.mark.quick
@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"DELETE /x HTTP/1.1\r\n\r\n",
                                   b"PROPFIND", b"CONNECT a:1 HTTP/1.1\r\n\r\n"])
def test_plain_http(tls, first):
    with wire.connect(tls.tls_port) as w:
        w.send(first)
        r = w.response()
        assert (r.status, r.headers.get("Connection")) == (400, "close")
        assert "<center>The plain HTTP request was sent to HTTPS port</center>" in r.text
        assert w.closed()
    tls.wait_log("The plain HTTP request was sent to HTTPS port")


def test_plain_http_head(tls):
    with wire.connect(tls.tls_port) as w:
        w.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert w.response("HEAD").status == 400
        assert w.closed(), "no body"


@pytest.mark.parametrize("first", [b"\x00" * 50, b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x01\xff\xff" + b"x" * 70000,
                                   b"\x80\x2e\x01\x03\x01" + b"\x00" * 60, b"\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28",
                                   b"\x16\x03\x01\x00\x00" * 50])
def test_garbage(tls, made, first):
    put(tls, 1, made["a"], "a.test")
    with wire.connect(tls.tls_port) as w:
        w.send(first)
        w.sock.shutdown(1)
        try:
            while True:
                w.more()
        except wire.Closed:
            pass
    tls.wait_log("the client's TLS handshake failed")
    assert shown(tls, "a.test") == made["a"].der


def hello_of(name):
    """What a client sends first."""
    ctx, incoming, outgoing = pki.context(), ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ctx.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_slow_handshake(make_tls, made):
    gw = make_tls(http={"client_header_timeout": "300ms"})
    put(gw, 1, made["a"], "a.test")
    for first in (b"", b"\x16", hello_of("a.test")[:-1], hello_of("a.test")):
        with wire.connect(gw.tls_port) as w:
            w.send(first)
            w.sock.settimeout(10)
            try:
                while True:
                    w.more()
            except wire.Closed:
                pass
    wire.wait_until("four in the log", lambda: gw.log.count("the client did not end its TLS handshake in time") == 4)


def test_hello_in_pieces(tls, made):
    put(tls, 1, made["a"], "a.test")
    with wire.connect(tls.tls_port) as w:
        w.send(hello_of("a.test"), split=True)
        w.more()
        assert w.buffer[0] == 0x16                      # the server's hello
        w.send(b"\x17" * 100)                           # and nothing sensible after it
        w.sock.shutdown(1)
    assert shown(tls, "a.test") == made["a"].der


@pytest.mark.parametrize("send", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
                                  b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"])
@pytest.mark.parametrize("reset", [False, True])
def test_abrupt_close(tls, made, upstream, send, reset):
    """In each state, without a goodbye of TLS: the next client is served."""
    put(tls, 1, made["a"], "a.test")
    tls.route("/*", upstream)
    w = pki.dial(tls.tls_port, "a.test")
    w.send(send)
    with socket.socket(fileno=w.sock.detach()) as s:
        if reset:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert pki.get(tls.tls_port, "a.test").status == 200


def test_drain(tls, made, upstream):
    """SIGTERM: a request under way over TLS is answered whole."""
    put(tls, 1, made["a"], "a.test")
    upstream.on("/").reply(chunks=[b"a" * 1000] * 10, gap=0.03)
    tls.route("/", upstream)
    with pki.dial(tls.tls_port, "a.test") as w:
        w.request("GET", "/", {"Host": "a.test"})
        upstream.wait("the request", lambda u: len(u.requests) == 1)
        code = []
        t = threading.Thread(target=lambda: code.append(tls.stop()))
        t.start()
        assert w.response().body == b"a" * 10000
        t.join()
    assert code == [0]


def test_openssl_without_ciphers(tmp_path):
    """An openssl.cnf that leaves nothing: the start says so, and nothing is served without TLS in its place."""
    with open(tmp_path / "bad.cnf", "w", encoding="utf-8") as f:
        f.write("openssl_conf = init\n[init]\nproviders = all\n[all]\nnull = nothing\n[nothing]\nactivate = 1\n")
    gw = Gateway(tmp_path / "gw")
    for word in ("test", "run"):
        done = subprocess.run(gw.command(word), capture_output=True, timeout=20, text=True, check=False, cwd=tmp_path,
                              env={**os.environ, "OPENSSL_CONF": str(tmp_path / "bad.cnf")})
        assert done.returncode == 1 and "OpenSSL gives no TLS: library has no ciphers" in done.stderr, done
