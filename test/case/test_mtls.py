# SPDX-License-Identifier: Apache-2.0
"""Certificates of clients: asked for by the ssl of a server name, shown by the gateway to upstreams."""
import hashlib
import ssl
import subprocess
import threading

import pytest

import pki
import wire
from gw import KEY, ports
from pki import put

pytestmark = [pytest.mark.asan]

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    p = pki.Pki(tmp_path_factory.mktemp("pki"))
    root, ca, other = p.ca("root"), p.ca("clients"), p.ca("others")
    middle = p.ca("middle", ca)
    below = p.ca("below", middle)
    return {"pki": p, "root": root, "ca": ca, "other": other, "a": p.server(root, "a.test", "*.a.test"),
            "b": p.server(root, "b.test"), "c": p.server(root, "c.test"), "client": p.client(ca, "alice"),
            "stranger": p.client(other, "mallory"), "middle": middle, "below": below,
            "one": chain(p.client(middle, "bob"), middle), "two": chain(p.client(below, "carol"), below, middle)}


def chain(identity, *above):
    with open(identity.cert, "a", encoding="ascii") as f:
        f.writelines(a.pem for a in above)
    return identity


def client_of(ca, **more):
    return {"client": {"ca": ca.pem, **more}}


def status(gw, name, target="/", **more):
    """Of a request; None: the handshake, or what follows it in TLS 1.3, failed."""
    try:
        return pki.get(gw.tls_port, name, target, **more).status
    except (ssl.SSLError, wire.Closed, ConnectionResetError, BrokenPipeError):
        return None


@pytest.mark.parametrize("version", [V12, V13])
def test_wanted(tls, made, upstream, version):
    put(tls, 1, made["a"], "a.test", **client_of(made["ca"]))
    put(tls, 2, made["b"], "b.test")
    tls.route("/*", upstream)

    def showing(who):
        return pki.context(show=made[who] if who else None, versions=(version, version))
    assert status(tls, "a.test", ctx=showing("client")) == 200
    assert status(tls, "a.test", ctx=showing(None)) is None
    assert status(tls, "a.test", ctx=showing("stranger")) is None
    assert [status(tls, "b.test", ctx=showing(who)) for who in ("client", "stranger", None)] == [200] * 3
    tls.wait_log("server name a.test: the client's certificate could not be verified: peer did not return a certificate")
    tls.wait_log("server name a.test: the client's certificate could not be verified: certificate: unable to get local issuer")
    assert len(upstream.requests) == 4


def test_alert(tls, made):
    """The client learns why, though it may have sent its request meanwhile."""
    put(tls, 1, made["a"], "a.test", **client_of(made["ca"]))
    with pki.dial(tls.tls_port, "a.test", pki.context(versions=(V13, V13))) as w:
        w.request("POST", "/", {"Host": "a.test"}, b"x" * 5000)
        with pytest.raises(ssl.SSLError, match="(?i)certificate.required"):
            w.response()


def test_depth(tls, made, upstream):
    """How many certificates may be between the client's and the authority's; 1 unless set."""
    tls.route("/*", upstream)
    for depth, allowed in ((None, 1), (0, 0), (1, 1), (2, 2)):
        put(tls, 1, made["a"], "a.test", **client_of(made["ca"], **({} if depth is None else {"depth": depth})))
        got = [status(tls, "a.test", ctx=pki.context(show=made[who])) for who in ("client", "one", "two")]
        assert got == [200 if i <= allowed else None for i in range(3)], depth


def test_variables(tls, made, upstream):
    put(tls, 1, made["a"], "a.test", **client_of(made["ca"], skip_mtls_uri_regex=["^/open"]))
    seen = ("verify", "s_dn", "i_dn", "serial", "fingerprint")
    tls.route("/*", upstream, {"proxy-rewrite": {"headers": {"set": {f"X-{v}": f"$ssl_client_{v}" for v in seen}}}})
    assert status(tls, "a.test", "/open", ctx=pki.context(show=made["client"])) == 200
    der = made["client"].der
    serial = ssl._ssl._test_decode_cert(made["client"].cert)["serialNumber"]
    got = [upstream.requests[0].headers.get(f"X-{v}") for v in seen]
    assert got == ["SUCCESS", "CN=alice,O=Eclusa", "CN=clients,O=Eclusa", serial, hashlib.sha1(der).hexdigest()]
    assert status(tls, "a.test", "/open", ctx=pki.context(show=made["stranger"])) == 200
    assert upstream.requests[1].headers.get("X-verify").startswith("FAILED:unable to ")
    assert status(tls, "a.test", "/open") == 200
    assert upstream.requests[2].headers.get("X-verify") == "NONE"


def test_raw_cert(tls, made, upstream):
    """In the access log, escaped: a header could not hold it."""
    tls.config(nginx_config={"http": {"access_log_format": "$ssl_client_raw_cert"}}).restart()
    put(tls, 1, made["a"], "a.test", **client_of(made["ca"]))
    tls.route("/*", upstream)
    assert status(tls, "a.test", ctx=pki.context(show=made["client"])) == 200
    line = tls.wait_access_log(1)[0]
    assert line == made["client"].pem.strip().replace("\n", "\\x0A")


def test_skip(tls, made, upstream):
    """The handshake goes on without; the request needs one unless its path is named."""
    put(tls, 1, made["a"], "a.test", **client_of(made["ca"], skip_mtls_uri_regex=["^/open/", "\\.css$"]))
    tls.route("/*", upstream)
    paths = ("/open/x", "/a.css", "/", "/open", "/%6fpen/x", "/open/../x", "/x?/open/", "//open/x", "/open/a%2Fb", "/x/..%2Fopen/x",
             "/x%2f..%2fopen/x", "/open/..%2Fx")
    bare = [status(tls, "a.test", p) for p in paths]
    assert bare == [200, 200, 400, 400, 200, 400, 400, 200, 200, 400, 400, 400]
    assert [status(tls, "a.test", p, ctx=pki.context(show=made["stranger"])) for p in paths] == bare
    assert [status(tls, "a.test", p, ctx=pki.context(show=made["client"])) for p in paths] == [200] * len(paths)
    r = pki.get(tls.tls_port, "a.test", "/")
    assert (r.status, r.headers.get("Connection")) == (400, "close")
    tls.wait_log("the client showed no certificate that is trusted here")


def test_skip_needs_a_pattern(tls, made):
    r = tls.admin("PUT", "ssls/1", pki.ssl_doc(made["a"], "a.test", **client_of(made["ca"], skip_mtls_uri_regex=["(x"])))
    assert r.status == 400 and "client.skip_mtls_uri_regex[1]: pcre2_compile() failed" in r.text


def test_host_of_another_name(tls, made, upstream):
    """Whoever has satisfied one name, or none, does not get at the hosts of another that wants certificates."""
    put(tls, 1, made["a"], "a.test", "*.a.test", **client_of(made["ca"]))
    put(tls, 2, made["b"], "b.test", **client_of(made["other"]))
    put(tls, 3, made["c"], "c.test")
    tls.route("/*", upstream)
    show = {"a.test": "client", "x.a.test": "client", "b.test": "stranger", "c.test": None}

    def asks(name, host):
        ctx = pki.context(show=made[show[name]] if show[name] else None)
        with pki.dial(tls.tls_port, name, ctx) as w:
            w.request("GET", "/", {"Host": host})
            return w.response().status
    for name in show:
        for host in ("a.test", "A.test:99", "x.a.test", "b.test", "c.test", "unknown.test"):
            free = host in ("c.test", "unknown.test")
            same = host.lower().split(":")[0] == name
            assert asks(name, host) == (200 if free or same else 400), (name, host)
    tls.wait_log("the host is not the server name of the client's handshake")


def test_host_below_a_wildcard(tls, made, upstream):
    """`*.` stands for one label of a server name, and for any number of them among the hosts of routes."""
    put(tls, 1, made["a"], "*.a.test", **client_of(made["ca"]))
    put(tls, 2, made["b"], "open.a.test", "*.open.a.test", "*")
    tls.route("/*", upstream, host="*.a.test")

    def asks(name, host):
        with pki.dial(tls.tls_port, name) as w:
            w.request("GET", "/", {"Host": host})
            return w.response().status
    for host in ("x.y.a.test", "X.Y.A.TEST.:1", "l" * 300 + ".a.test"):
        assert asks("b.test", host) == 400, host
    assert asks("x.y.a.test", "x.y.a.test") == 400          # `*` has shown its certificate
    assert [asks("open.a.test", host) for host in ("open.a.test", "x.open.a.test", "x.y.open.a.test")] == [200] * 3
    assert len(upstream.requests) == 3


@pytest.mark.parametrize("missing", ["cert", "ca"])
def test_what_cannot_be_used_closes_its_names(tls, made, upstream, missing):
    """Not the certificate of a wider name serves them then, which wants nothing of clients."""
    put(tls, 2, made["b"], "*.test")
    doc = pki.ssl_doc(made["a"], "a.test", **client_of(made["ca"]))
    part = doc if missing == "cert" else doc["client"]
    text, part[missing] = part[missing], "$env://THE_" + "PART" * 40
    tls.put("ssls/1", doc)
    tls.route("/*", upstream)
    show = pki.context(show=made["client"])

    def asks(host):
        with pki.dial(tls.tls_port, "b.test") as w:
            w.request("GET", "/", {"Host": host})
            return w.response().status
    for again in (False, True):
        if again:
            tls.restart()
        assert [status(tls, "a.test", ctx=c) for c in (None, show)] == [None, None]
        assert [asks(host) for host in ("b.test", "a.test")] == [200, 400]
    tls.wait_log("server name a.test: the certificate for the server name cannot be used")
    part[missing] = text
    tls.put("ssls/1", doc)
    assert [status(tls, "a.test", ctx=c) for c in (None, show)] == [None, 200]
    part[missing] = "$env://THE_" + "PART" * 40
    tls.put("ssls/1", doc)                                  # what was good stays
    assert [status(tls, "a.test", ctx=c) for c in (None, show)] == [None, 200]
    tls.delete("ssls/1")
    assert status(tls, "a.test") == 200


@pytest.mark.parametrize("tickets", [False, True])
@pytest.mark.parametrize("version", [V12, V13])
def test_no_way_around_by_resumption(make_tls, made, upstream, tickets, version):
    gw = make_tls(ssl_session_tickets=tickets)
    put(gw, 1, made["a"], "a.test", **client_of(made["ca"]))
    put(gw, 2, made["b"], "b.test")
    gw.route("/*", upstream)
    mine, bare = (pki.context(show=who, versions=(version, version)) for who in (made["client"], None))

    def session(name, ctx):
        with pki.dial(gw.tls_port, name, ctx) as w:
            w.request("GET", "/", {"Host": name})
            assert w.response().status == 200
            return w.sock.session

    def reused(name, ctx, old):
        with pki.dial(gw.tls_port, name, ctx, old) as w:
            w.request("GET", "/", {"Host": name})
            return w.response().status, w.sock.session_reused
    good = session("a.test", mine)
    assert reused("a.test", mine, good) == (200, True)
    open_one = session("b.test", bare)
    assert status(gw, "a.test", ctx=bare, session=open_one) is None
    put(gw, 1, made["a"], "a.test", **client_of(made["other"]))
    assert status(gw, "a.test", ctx=mine, session=good) is None
    put(gw, 1, made["a"], "a.test", **client_of(made["ca"]))
    assert reused("a.test", mine, good)[0] == 200


@pytest.mark.parametrize("tickets", [False, True])
@pytest.mark.parametrize("version", [V12, V13])
def test_no_session_of_strangers(make_tls, made, upstream, tickets, version):
    """Where the handshake goes on without a good certificate, nothing of a bad one is kept."""
    gw = make_tls(ssl_session_tickets=tickets)
    put(gw, 1, made["a"], "a.test", **client_of(made["ca"], skip_mtls_uri_regex=["^/open"]))
    gw.route("/*", upstream)
    for who, reused in (("client", True), ("stranger", False), (None, True)):
        ctx, session = pki.context(show=made[who] if who else None, versions=(version, version)), None
        for again in (False, True):
            with pki.dial(gw.tls_port, "a.test", ctx, session) as w:
                w.request("GET", "/open", {"Host": "a.test"})
                assert w.response().status == 200 and w.sock.session_reused == (again and reused), (who, again)
                session = w.sock.session


def test_certificates_of_clients_have_a_bound(tls, made, upstream, tmp_path):
    put(tls, 1, made["a"], "a.test", **client_of(made["ca"], skip_mtls_uri_regex=["^/open"]))
    tls.route("/*", upstream)
    for n, code in ((30, 200), (60, None)):
        file = tmp_path / f"{n}.pem"
        file.write_text(made["client"].pem + made["other"].pem * n)
        ctx = pki.context()
        ctx.load_cert_chain(str(file), made["client"].key)
        assert status(tls, "a.test", "/open", ctx=ctx) == code, n


def test_kept_connection_and_other_authority(tls, made, upstream):
    """What was verified by an authority that is no longer wanted counts for nothing."""
    put(tls, 1, made["a"], "a.test", **client_of(made["ca"]))
    put(tls, 2, made["b"], "b.test")
    tls.route("/*", upstream)
    with pki.dial(tls.tls_port, "a.test", pki.context(show=made["client"])) as a, \
            pki.dial(tls.tls_port, "b.test", pki.context()) as b:
        def ask(w, host):
            w.request("GET", "/", {"Host": host})
            return w.response().status
        put(tls, 1, made["a"], "a.test", "other.test", **client_of(made["ca"]))
        assert (ask(a, "a.test"), ask(b, "b.test")) == (200, 200)
        put(tls, 1, made["a"], "a.test", **client_of(made["other"]))
        assert ask(a, "a.test") == 400 and a.closed()
        put(tls, 2, made["b"], "b.test", **client_of(made["ca"]))
        assert ask(b, "b.test") == 400 and b.closed()


# ---- Towards upstreams


@pytest.fixture
def wants(made, make_upstream):
    """Makes upstreams that want a certificate of the gateway, of the clients' authority, or ask for one."""
    def make(verify=ssl.CERT_REQUIRED):
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(made["a"].cert, made["a"].key)
        ctx.load_verify_locations(made["ca"].cert)
        ctx.verify_mode = verify
        return make_upstream(ctx)
    return make


def upstream_doc(up, **tls):
    return {"type": "roundrobin", "scheme": "https", "nodes": {up.node: 1}, "tls": {"verify": False, **tls}}


def peers(up):
    return [dict(pair[0] for pair in r.connection.sock.getpeercert()["subject"])["commonName"] for r in up.requests]


def test_shown_to_upstreams(gw, made, wants):
    up = wants()
    alice, bob = made["client"], made["one"]
    gw.put("ssls/c", {"type": "client", "cert": bob.pem, "key": bob.key_pem})
    gw.route("/none", upstream_doc(up))
    gw.route("/alice", upstream_doc(up, client_cert=alice.pem, client_key=alice.key_pem))
    gw.route("/bob", upstream_doc(up, client_cert_id="c"))
    got = [gw.get(p).status for p in ("/alice", "/bob", "/alice", "/none", "/bob")]
    assert got == [200, 200, 200, 502, 200]
    assert peers(up) == ["alice", "bob", "alice", "bob"]
    assert up.connections >= 3                              # never one for both
    gw.put("ssls/c", {"type": "client", "cert": alice.pem, "key": alice.key_pem})
    assert gw.get("/bob").status == 200 and peers(up)[-1] == "alice"


def test_identities_are_not_mixed(make_gw, made, wants):
    """One worker, kept connections to one server: each request goes with its own certificate."""
    gw = make_gw(nginx_config={"worker_processes": 1})
    up = wants()
    for i, who in enumerate((made["client"], made["one"])):
        gw.put(f"upstreams/{i}", upstream_doc(up, client_cert=who.pem, client_key=who.key_pem))
        gw.put(f"routes/{i}", {"uri": f"/{i}", "upstream_id": f"{i}"})
    with gw.connect() as w:
        for i in (0, 1, 1, 0, 1, 0):
            w.request("GET", f"/{i}")
            assert w.response().status == 200
    assert peers(up) == ["alice", "bob", "bob", "alice", "bob", "alice"] and up.connections == 2


def test_sealed_and_read_back(gw, made, wants):
    up, who = wants(), made["client"]
    gw.put("upstreams/1", upstream_doc(up, client_cert=who.pem, client_key=who.key_pem))
    gw.put("routes/1", {"uri": "/", "upstream_id": "1"})
    assert gw.get("/").status == 200
    secret = "".join(who.key_pem.split("\n")[1:2])
    gw.stop()
    with open(gw.data_dir + "/eclusa.db", "rb") as f:
        assert secret.encode() not in f.read()
    gw.start()
    up.requests.clear()
    assert gw.get("/").status == 200 and peers(up) == ["alice"]


def test_references(gw, made, wants):
    up, who = wants(), made["client"]
    for path, doc in (("upstreams/1", upstream_doc(up, client_cert_id="c")),
                      ("routes/1", {"uri": "/", "upstream": upstream_doc(up, client_cert_id="c")}),
                      ("services/1", {"upstream": upstream_doc(up, client_cert_id="c")})):
        r = gw.admin("PUT", path, doc)
        assert (r.status, r.json) == (400, {"error_msg": "failed to fetch ssl info by ssl id [c], response code: 404"})
        gw.put("ssls/c", pki.ssl_doc(made["a"], "a.test"))
        r = gw.admin("PUT", path, doc)
        assert (r.status, r.json) == (400, {"error_msg": "failed to fetch ssl info by ssl id [c], wrong ssl type"})
        gw.put("ssls/c", {"type": "client", "cert": who.pem, "key": who.key_pem})
        gw.put(path, doc)
        r = gw.admin("DELETE", "ssls/c")
        noun = path.split("/")[0][:-1]
        assert (r.status, r.json) == (400, {"error_msg": f"can not delete this ssl, {noun} [1] is still using it now"})
        gw.delete(path)
        gw.delete("ssls/c")


def test_identity_is_gone(gw, made, wants):
    """Deleted by force: no request goes without what should be shown."""
    up, who = wants(ssl.CERT_OPTIONAL), made["client"]
    gw.put("ssls/c", {"type": "client", "cert": who.pem, "key": who.key_pem})
    gw.route("/", upstream_doc(up, client_cert_id="c"))
    assert gw.get("/").status == 200
    assert gw.admin("DELETE", "ssls/c?force=true").status == 200
    assert gw.get("/").status == 503 and len(up.requests) == 1
    gw.wait_log("the certificate to be shown to the upstream cannot be used")
    gw.put("ssls/c", {"type": "client", "cert": who.pem, "key": made["one"].key_pem})
    assert gw.get("/").status == 503
    gw.put("ssls/c", {"type": "client", "cert": who.pem, "key": who.key_pem})
    assert gw.get("/").status == 200


def test_changes_under_load(tls, made, wants):
    """The server's certificate and that for the upstream change all the time: every request is served, with one of them."""
    up = wants()
    names = {"alice": made["client"], "bob": made["one"]}

    def change(i):
        who = names["alice" if i % 2 else "bob"]
        put(tls, 1, made["b" if i % 2 else "c"], "a.test", **client_of(made["ca"]))
        tls.put("upstreams/1", {**upstream_doc(up, client_cert=who.pem, client_key=who.key_pem),
                                "keepalive_pool": {"size": 2, "requests": 3}})
    change(0)
    tls.put("routes/1", {"uri": "/*", "upstream_id": "1"})
    stop, failed = threading.Event(), []

    def load():
        ctx, session = pki.context(show=made["client"]), None
        try:
            while not stop.is_set():
                with pki.dial(tls.tls_port, "a.test", ctx, session) as w:
                    for _ in range(3):
                        w.request("GET", "/", {"Host": "a.test"})
                        assert w.response().status == 200
                    session = w.sock.session
        except Exception as e:                          # whatever it is, the case fails by it
            failed.append(repr(e))
    threads = [threading.Thread(target=load) for _ in range(4)]
    for t in threads:
        t.start()
    for i in range(30):
        at = len(up.requests)
        change(i)
        up.wait("load meanwhile", lambda u, a=at: failed or len(u.requests) > a + 5)
    stop.set()
    for t in threads:
        t.join()
    assert not failed


# ---- The Admin API


def test_admin_api(make_gw, made, tmp_path):
    """https_admin; with an authority, clients must show a certificate of it."""
    def start(**files):
        gw = make_gw(deployment={"admin": {"https_admin": True, "admin_api_mtls": {
            "admin_ssl_cert": made["a"].cert, "admin_ssl_cert_key": made["a"].key, **files}}})
        return gw.admin_port

    def ask(port, show=None):
        ctx = pki.context(made["root"], show=show)
        with pki.dial(port, "a.test", ctx) as w:
            w.request("GET", "/apisix/admin/routes", {"Host": "a.test", "X-API-KEY": KEY})
            return w.response().status
    port = start(admin_ssl_ca_cert="")
    assert ask(port) == 200
    with wire.connect(port) as w:
        w.request("GET", "/apisix/admin/routes", {"X-API-KEY": KEY})
        assert w.response().status == 400
    port = start(admin_ssl_ca_cert=made["ca"].cert)
    assert ask(port, made["client"]) == 200
    for who in (None, made["stranger"]):
        with pytest.raises((ssl.SSLError, wire.Closed)):
            ask(port, who)


def test_admin_api_bad_files(tls, made):
    for files in ({"admin_ssl_cert": made["a"].cert, "admin_ssl_cert_key": made["b"].key},
                  {"admin_ssl_cert": made["a"].key, "admin_ssl_cert_key": made["a"].cert},
                  {"admin_ssl_cert": made["a"].cert, "admin_ssl_cert_key": made["a"].key, "admin_ssl_ca_cert": "/etc/hostname"}):
        tls.settings["deployment"]["admin"].update(https_admin=True, admin_api_mtls=files)
        tls.settings["eclusa"]["data_dir"] = tls.folder + "/other"
        tls.settings["apisix"].update(node_listen=[{"ip": "127.0.0.1", "port": ports.take()}], ssl={"enable": False})
        tls.settings["deployment"]["admin"]["admin_listen"]["port"] = ports.take()
        done = subprocess.run(tls.command("run"), capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 1 and "deployment.admin.admin_api_mtls: " in done.stderr, done.stderr
