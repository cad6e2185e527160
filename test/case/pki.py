# SPDX-License-Identifier: Apache-2.0
"""Authorities and certificates for cases, made with openssl; and clients that speak TLS with them."""
import os
import socket
import ssl
import subprocess

import wire

KINDS = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["-newkey", "rsa:2048"]}


class Identity:
    """A certificate with its key: .cert and .key are files; .pem and .key_pem their texts."""

    def __init__(self, base):
        self.cert, self.key = base + ".crt", base + ".key"

    @staticmethod
    def text(path):
        with open(path, encoding="ascii") as f:
            return f.read()

    @property
    def pem(self):
        return self.text(self.cert)

    @property
    def key_pem(self):
        return self.text(self.key)

    @property
    def der(self):
        return ssl.PEM_cert_to_DER_cert(self.pem[self.pem.index("-----BEGIN"):])


class Pki:
    def __init__(self, folder):
        self.folder, self.made = str(folder), 0

    def make(self, name, issuer, kind, extensions):
        self.made += 1
        made = Identity(os.path.join(self.folder, f"{self.made}-{name.strip('*.')}"))
        sign = ["-CA", issuer.cert, "-CAkey", issuer.key] if issuer else []
        added = [word for e in extensions for word in ("-addext", e)]
        subprocess.run(["openssl", "req", "-x509", *KINDS[kind], "-nodes", "-keyout", made.key, "-out", made.cert,
                        "-days", "30", "-subj", f"/O=Eclusa/CN={name}", *sign, *added],
                       check=True, capture_output=True, timeout=30)
        return made

    def ca(self, name, issuer=None):
        return self.make(name, issuer, "ec", ["keyUsage=critical,keyCertSign"])

    def server(self, issuer, *names, kind="ec"):
        return self.make(names[0], issuer, kind, ["basicConstraints=critical,CA:FALSE",
                                                  "subjectAltName=" + ",".join("DNS:" + n for n in names)])

    def client(self, issuer, name):
        return self.make(name, issuer, "ec", ["basicConstraints=critical,CA:FALSE", "extendedKeyUsage=clientAuth"])


def context(ca=None, show=None, versions=None, ciphers=None):
    """A client's. show: an Identity; versions: (lowest, highest) of ssl.TLSVersion."""
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca:
        c.load_verify_locations(ca.cert)
    else:
        c.check_hostname = False
        c.verify_mode = ssl.CERT_NONE
    if show:
        c.load_cert_chain(show.cert, show.key)
    if versions:
        c.minimum_version, c.maximum_version = versions
    if ciphers:
        c.set_ciphers(ciphers)
    return c


def dial(port, name, ctx=None, session=None, timeout=wire.TIMEOUT):
    """A Wire over TLS; name: the server name, None: none is given."""
    ctx = ctx or context()
    sock = socket.create_connection(("127.0.0.1", port), timeout)
    try:
        return wire.Wire(ctx.wrap_socket(sock, server_hostname=name, session=session), timeout)
    except BaseException:
        sock.close()
        raise


def get(port, name, target="/", headers=(), **more):
    """One request; Host is the name."""
    with dial(port, name, **more) as w:
        w.request("GET", target, [("Host", name or "nobody"), *headers])
        return w.response()


def ssl_doc(identity, *names, **more):
    return {"snis": list(names), "cert": identity.pem, "key": identity.key_pem, **more}


def put(gw, ssl_id, *doc, **more):
    gw.put(f"ssls/{ssl_id}", ssl_doc(*doc, **more))


def shown(gw, name, **more):
    """The certificate that a client gets, as DER; None: the handshake is turned away."""
    try:
        with dial(gw.tls_port, name, **more) as w:
            return w.sock.getpeercert(True)
    except ssl.SSLError:
        return None


def logged(gw, text):
    wire.wait_until(f"{text!r} in the log", lambda: text in gw.log)
