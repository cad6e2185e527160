# SPDX-License-Identifier: Apache-2.0
"""hmac-auth: signatures over date, request line, headers and body, and requests that lie."""
import base64
import hashlib
import hmac
import time
from email.utils import formatdate

import pytest

pytestmark = [pytest.mark.asan]
SECRET = "secret-of-jack"


@pytest.fixture
def users(bench):
    bench.gw.put("consumers", {"username": "jack", "plugins": {"hmac-auth": {"key_id": "jack-key", "secret_key": SECRET}}})
    bench.gw.put("consumers", {"username": "nobody"})
    return bench


def sign(method, target, names, headers, key="jack-key", secret=SECRET, algorithm="hmac-sha256"):
    """The headers of a signed request."""
    headers = {"Date": formatdate(usegmt=True), **headers}
    lower = {k.lower(): v for k, v in headers.items()}
    text = key + "\n"
    for name in names:
        if name == "@request-target":
            text += f"{method} {target}\n"
        elif name.lower() in lower:
            text += f"{name}: {lower[name.lower()]}\n"
    mac = base64.b64encode(hmac.new(secret.encode(), text.encode(), algorithm.split("-")[1]).digest()).decode()
    said = f'keyId="{key}",algorithm="{algorithm}",headers="{" ".join(names)}",signature="{mac}"'
    return {**headers, "Authorization": "Signature " + said}


def refused(r, more=""):
    said = "client request can't be validated" + more
    return (r.status, r.json, r.headers.all("WWW-Authenticate")) == (401, {"message": said}, ['hmac realm="hmac"'])


@pytest.mark.quick
@pytest.mark.parametrize("algorithm", ["hmac-sha1", "hmac-sha256", "hmac-sha512"])
def test_signed_requests(users, algorithm):
    base = users.route({"hmac-auth": {}})
    for method, target, names, headers in (
            ("GET", base + "/a", ["date"], {}), ("GET", base + "/a?x=%20y", ["@request-target", "date"], {}),
            ("POST", base + "/a", ["@request-target", "date", "X-Custom", "x-gone"], {"x-custom": "a, b"})):
        signed = sign(method, target, names, headers, algorithm=algorithm)
        body = b"body" if method == "POST" else None
        assert users.gw.request(method, target, {**signed, "X-Consumer-Username": "root"}, body).status == 200
        seen = users.up.requests[-1].headers
        assert seen.all("X-Consumer-Username") == ["jack"] and seen.get("Authorization") == signed["Authorization"]
    base = users.route({"hmac-auth": {"hide_credentials": True}})
    assert users.get(base + "/a", sign("GET", base + "/a", ["date"], {})).status == 200
    assert "Authorization" not in users.up.requests[-1].headers


@pytest.mark.quick
def test_what_was_signed_cannot_change(users):
    base = users.route({"hmac-auth": {"signed_headers": ["date", "@request-target"]}})
    signed = sign("GET", base + "/a", ["@request-target", "date", "x-custom"], {"X-Custom": "one"})
    assert users.get(base + "/a", signed).status == 200
    assert refused(users.get(base + "/b", signed))
    assert refused(users.get(base + "/a?x", signed))
    assert refused(users.gw.request("POST", base + "/a", signed, b""))
    assert refused(users.get(base + "/a", {**signed, "X-Custom": "two"}))
    assert refused(users.get(base + "/a", {**signed, "Date": formatdate(time.time() - 5, usegmt=True)}))
    assert refused(users.get(base + "/a", [*signed.items(), ("X-Custom", "two")]))
    assert refused(users.get(base + "/a", [*signed.items(), ("Date", formatdate(usegmt=True))]))
    twice = users.get(base + "/a", [*signed.items(), ("Authorization", "Basic Zm9v")])
    assert refused(twice, ": more than one Authorization header")
    assert refused(users.get(base + "/a", {k: v for k, v in signed.items() if k != "X-Custom"}))
    assert refused(users.get(base + "/a", sign("GET", base + "/a", ["date"], {}))), "the request line must be signed"


def auth(**fields):
    return {"Authorization": "Signature " + ",".join(f'{k}="{v}"' for k, v in fields.items())}


@pytest.mark.quick
@pytest.mark.parametrize("headers, more", [
    ({}, ": missing Authorization header"),
    ({"Authorization": "Basic Zm9v"}, ": Authorization header does not start with 'Signature'"),
    ({"Authorization": "Signature"}, ""),
    ({"Authorization": "Signature keyId=jack-key"}, ""),
    ({"Authorization": 'Signature keyId="jack-key'}, ""),
    (auth(keyId="jack-key", algorithm="hmac-sha256"), ""),
    (auth(keyId="jack-key", signature="x"), ""),
    (auth(keyId="jill-key", algorithm="hmac-sha256", signature="x"), ""),
    (sign("GET", "/", ["date"], {}, secret="other"), ""),
    (sign("GET", "/", ["date"], {}, key="jill-key"), ""),
    ({**sign("GET", "/", ["date"], {}), **auth(keyId="jack-key", algorithm="hmac-sha256", headers="date", signature="")}, ""),
    ({**sign("GET", "/", ["date"], {}), **auth(keyId="jack-key", algorithm="none", headers="date", signature="")}, ""),
])
def test_refusals(users, headers, more):
    assert refused(users.get(users.route({"hmac-auth": {}}) + "/a", headers), more)
    assert users.up.requests == [] and SECRET not in users.gw.log


@pytest.mark.quick
@pytest.mark.parametrize("date, good", [
    (lambda: formatdate(time.time() - 200, usegmt=True), True), (lambda: formatdate(time.time() + 200, usegmt=True), True),
    (lambda: formatdate(time.time() - 400, usegmt=True), False), (lambda: formatdate(time.time() + 400, usegmt=True), False),
    (lambda: "yesterday", False), (lambda: "", False),
])
def test_clock(users, date, good):
    base = users.route({"hmac-auth": {}})
    r = users.get(base + "/a", sign("GET", base + "/a", ["date"], {"Date": date()}))
    assert r.status == 200 if good else refused(r)


def test_algorithms_allowed(users):
    base = users.route({"hmac-auth": {"allowed_algorithms": ["hmac-sha512"]}})
    assert users.get(base + "/a", sign("GET", base + "/a", ["date"], {}, algorithm="hmac-sha512")).status == 200
    assert refused(users.get(base + "/a", sign("GET", base + "/a", ["date"], {})))
    base = users.route({"hmac-auth": {"signed_headers": []}})
    assert users.get(base + "/a", sign("GET", base + "/a", [], {})).status == 200


def digest(body):
    return "SHA-256=" + base64.b64encode(hashlib.sha256(body).digest()).decode()


@pytest.mark.quick
def test_body(users):
    base = users.route({"hmac-auth": {"validate_request_body": True, "signed_headers": ["date", "digest"], "max_req_body_size": 100000}})

    def post(body, said, **framing):
        headers = {} if said is None else {"Digest": said}
        return users.gw.request("POST", base + "/a", sign("POST", base + "/a", ["date", "digest"], headers), **(framing or {"body": body}))
    body = b"x" * 90000
    assert post(body, digest(body)).status == 200 and users.up.requests[-1].body == body
    assert post(body, digest(body), chunks=[body[:5], body[5:]]).status == 200
    assert post(b"", digest(b"")).status == 200
    assert users.get(base + "/a", sign("GET", base + "/a", ["date", "digest"], {"Digest": digest(b"")})).status == 200
    for said in (digest(body + b"x"), "", None, "SHA-256=", "MD5=abc", digest(body)[8:]):
        assert refused(post(body, said)), said
    assert post(body * 2, digest(body * 2)).status == 413


def test_anonymous_consumer(users):
    base = users.route({"hmac-auth": {"anonymous_consumer": "nobody", "hide_credentials": True}})
    for headers in ({}, sign("GET", base + "/a", ["date"], {}, secret="other")):
        assert users.get(base + "/a", headers).status == 200
        seen = users.up.requests[-1].headers
        assert seen.all("X-Consumer-Username") == ["nobody"] and "Authorization" not in seen
    r = users.get(users.route({"hmac-auth": {"anonymous_consumer": "gone"}}) + "/a")
    assert (r.status, r.json) == (401, {"message": "Invalid user authorization"})


@pytest.mark.quick
@pytest.mark.parametrize("conf, consumer, why", [
    ({"key_id": "k"}, True, 'property "secret_key" is required'),
    ({"key_id": "", "secret_key": "s"}, True, 'property "key_id" validation failed: string too short, expected at least 1, got 0'),
    ({"allowed_algorithms": ["md5"]}, False,
     'property "allowed_algorithms" validation failed: failed to validate item 1: matches none of the enum values'),
    ({"clock_skew": 0}, False, 'property "clock_skew" validation failed: expected 0 to be at least 1'),
])
def test_refused_configurations(bench, conf, consumer, why):
    assert bench.refusal("hmac-auth", conf, consumer) == why
