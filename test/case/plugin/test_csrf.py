# SPDX-License-Identifier: Apache-2.0
"""csrf: the token in cookie and header, its signature and its age."""
import base64
import hashlib
import json
import time

import pytest

pytestmark = [pytest.mark.asan]
KEY = "secret-of-the-site"


def token(at=None, key=KEY, **more):
    """As APISIX makes it."""
    at = int(time.time()) if at is None else at
    said = {"random": 0.25, "expires": at, "sign": hashlib.sha256(f"{{expires:{at},random:0.25,key:{key}}}".encode()).hexdigest(), **more}
    return base64.b64encode(json.dumps(said).encode()).decode()


def post(bench, base, shown, kept, name="apisix-csrf-token", method="POST"):
    headers = {}
    if shown is not None:
        headers[name] = shown
    if kept is not None:
        headers["Cookie"] = f"a=b; {name}={kept}"
    return bench.gw.request(method, base + "/a", headers, b"")


@pytest.mark.quick
def test_the_cookie_that_each_response_sets(bench):
    base = bench.route({"csrf": {"key": KEY}})
    bench.up.on("*").reply(200, "ok", {"Set-Cookie": "session=1"})
    r = bench.get(base + "/a")
    mine, = [c for c in r.headers.all("Set-Cookie") if c.startswith("apisix-csrf-token=")]
    assert "session=1" in r.headers.all("Set-Cookie")
    value, rest = mine.removeprefix("apisix-csrf-token=").split(";", 1)
    assert rest.startswith("path=/;SameSite=Lax;Expires=") and rest.endswith(" GMT")
    until = time.mktime(time.strptime(rest.split("Expires=")[1], "%a, %d-%b-%y %H:%M:%S GMT")) - time.timezone
    assert abs(until - time.time() - 7200) < 5
    said = json.loads(base64.b64decode(value))
    assert said["sign"] == hashlib.sha256(f"{{expires:{said['expires']},random:{said['random']:.14g},key:{KEY}}}".encode()).hexdigest()
    assert post(bench, base, value, value).status == 200
    assert value not in "".join(bench.get(base + "/a").headers.all("Set-Cookie")), "another one each time"


@pytest.mark.quick
@pytest.mark.parametrize("method, asked", [("GET", False), ("HEAD", False), ("OPTIONS", False), ("POST", True), ("PUT", True),
                                           ("DELETE", True), ("PATCH", True), ("get", True)])
def test_methods(bench, method, asked):
    r = post(bench, bench.route({"csrf": {"key": KEY}}), None, None, method=method)
    assert r.status == (401 if asked else 200)


@pytest.mark.quick
@pytest.mark.parametrize("shown, kept, why", [
    (None, token(), "no csrf token in headers"),
    ("", token(), "no csrf token in headers"),
    (token(), None, "no csrf cookie"),
    (token(), token(1), "csrf token mismatch"),
])
def test_what_is_missing(bench, shown, kept, why):
    r = post(bench, bench.route({"csrf": {"key": KEY}}), shown, kept)
    assert (r.status, r.json) == (401, {"error_msg": why})
    assert any("apisix-csrf-token=" in c for c in r.headers.all("Set-Cookie")), "a new one comes with the refusal"


@pytest.mark.quick
@pytest.mark.parametrize("bad", [
    token(key="other"), token(sign="0"), token(sign=None), token(random="x"), token(random=0.5), token(int(time.time()) - 8000),
    token(expires=1), token(expires="1"), "!", "e30=", "W10=", base64.b64encode(b"{").decode(),
])
def test_tokens_that_lie(bench, bad):
    r = post(bench, bench.route({"csrf": {"key": KEY}}), bad, bad)
    assert (r.status, r.json) == (401, {"error_msg": "Failed to verify the csrf token signature"})
    assert bench.up.requests == []


def test_age_and_name(bench):
    old = token(int(time.time()) - 8000)
    assert post(bench, bench.route({"csrf": {"key": KEY, "expires": 9000}}), old, old).status == 200
    assert post(bench, bench.route({"csrf": {"key": KEY, "expires": 0}}), old, old).status == 200
    base = bench.route({"csrf": {"key": KEY, "name": "X-CSRF"}})
    assert post(bench, base, token(), token()).status == 401
    assert post(bench, base, token(), token(), "X-CSRF").status == 200


@pytest.mark.parametrize("conf, why", [
    ({}, 'property "key" is required'),
    ({"key": "k", "name": "a b"}, "name: invalid character for a header and a cookie"),
    ({"key": "k", "name": "a=b"}, "name: invalid character for a header and a cookie"),
    ({"key": "k", "name": ""}, "name: it is empty"),
])
def test_refused_configurations(bench, conf, why):
    assert bench.refusal("csrf", conf) == why
