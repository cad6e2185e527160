# SPDX-License-Identifier: Apache-2.0
"""basic-auth: how the header is read, what is hidden, who passes without."""
import base64

import pytest

pytestmark = [pytest.mark.asan]


def basic(pair):
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


@pytest.fixture
def users(bench):
    bench.gw.put("consumers", {"username": "foo", "plugins": {"basic-auth": {"username": "foo", "password": "bar"}}})
    bench.gw.put("consumers", {"username": "nobody"})
    return bench


@pytest.mark.quick
@pytest.mark.parametrize("header", [
    "Basic Zm9vOmJhcg==", "basic Zm9vOmJhcg==", "BASIC\tZm9vOmJhcg", basic("foo:bar\n")["Authorization"],
    basic(" f oo :\tb ar ")["Authorization"], basic("foo:bar:baz")["Authorization"],
])
def test_accepted(users, header):
    base = users.route({"basic-auth": {}})
    assert users.get(base + "/a", {"Authorization": header}).status == 200
    headers = users.up.requests[-1].headers
    assert headers.all("X-Consumer-Username") == ["foo"] and headers.get("Authorization") == header


@pytest.mark.quick
@pytest.mark.parametrize("header, why", [
    (None, "Missing authorization in request"),
    ("Bad_header YmFyOmJhcgo=", "Invalid authorization in request"),
    ("Basic", "Invalid authorization in request"),
    ("Basic aca_a", "Invalid authorization in request"),
    ("Basic  Zm9vOmJhcg==", "Invalid authorization in request"),
    ("Basic YmFy", "Invalid authorization in request"),
    (basic("foo:")["Authorization"], "Invalid authorization in request"),
    (basic("foo::")["Authorization"], "Invalid authorization in request"),
    (basic("foo::bar")["Authorization"], "Invalid user authorization"),
    (basic(":bar")["Authorization"], "Invalid user authorization"),
    (basic("bar:bar")["Authorization"], "Invalid user authorization"),
    (basic("foo:foo")["Authorization"], "Invalid user authorization"),
    (basic("foo:BAR")["Authorization"], "Invalid user authorization"),
    (basic("foo:barbar")["Authorization"], "Invalid user authorization"),
])
def test_refused(users, header, why):
    base = users.route({"basic-auth": {}})
    r = users.get(base + "/a", {"Authorization": header} if header else {})
    assert (r.status, r.text) == (401, '{"message":"%s"}\n' % why)
    assert r.headers.all("WWW-Authenticate") == ['Basic realm="basic"']
    assert users.up.requests == []


def test_hide_credentials_and_realm(users):
    base = users.route({"basic-auth": {"hide_credentials": True, "realm": "shop"}})
    assert users.get(base + "/a", basic("foo:bar")).status == 200
    assert "Authorization" not in users.up.requests[-1].headers
    assert users.get(base + "/a").headers.get("WWW-Authenticate") == 'Basic realm="shop"'


def test_two_lines(users):
    """The upstream might read the other one."""
    base = users.route({"basic-auth": {}})
    lines = [basic("foo:bar")["Authorization"], basic("admin:admin")["Authorization"]]
    for first, second in (lines, lines[::-1], [lines[0]] * 2):
        r = users.get(base + "/a", [("Authorization", first), ("authorization", second)])
        assert (r.status, r.json) == (401, {"message": "Invalid authorization in request"})


def test_anonymous_consumer(users):
    base = users.route({"basic-auth": {"anonymous_consumer": "nobody", "hide_credentials": True}})
    for headers in ({}, basic("foo:wrong"), {"Authorization": "Basic !"}):
        assert users.get(base + "/a", headers).status == 200
        seen = users.up.requests[-1].headers
        assert seen.all("X-Consumer-Username") == ["nobody"] and "Authorization" not in seen
    r = users.get(users.route({"basic-auth": {"anonymous_consumer": "gone"}}) + "/a")
    assert (r.status, r.json) == (401, {"message": "Invalid user authorization"})


def test_a_reference_is_no_password(users):
    users.gw.put("consumers", {"username": "vault", "plugins": {"basic-auth": {"username": "vault", "password": "$ENV://PASSWORD"}}})
    base = users.route({"basic-auth": {}})
    assert users.get(base + "/a", basic("vault:$ENV")).status == 401
    assert users.get(base + "/a", basic("vault:$ENV://PASSWORD")).status == 401


def test_configuration(bench):
    assert bench.refusal("basic-auth", {"username": "foo"}, consumer=True) == 'property "password" is required'
    assert bench.refusal("basic-auth", {"username": 123, "password": "bar"}, consumer=True) == \
        'property "username" validation failed: wrong type: expected string, got number'
