# SPDX-License-Identifier: Apache-2.0
"""key-auth: keys in header and query, what is hidden, who passes without."""
import pytest

pytestmark = [pytest.mark.asan]


@pytest.fixture
def users(bench):
    bench.gw.put("consumers", {"username": "jack", "labels": {"custom_id": "c-1"}, "plugins": {"key-auth": {"key": "auth-one"}}})
    bench.gw.put("consumers", {"username": "nobody"})
    return bench


@pytest.mark.quick
def test_key_in_header_or_query(users):
    base = users.route({"key-auth": {}})
    assert users.get(base + "/a", {"apikey": "auth-one", "X-Consumer-Username": "root"}).status == 200
    headers = users.up.requests[-1].headers
    assert headers.all("X-Consumer-Username") == ["jack"] and headers.all("X-Consumer-Custom-ID") == ["c-1"]
    assert headers.get("apikey") == "auth-one", "not hidden"
    assert users.get(base + "/a?x=1&apikey=auth-one").status == 200
    assert users.up.requests[-1].target == base + "/a?x=1&apikey=auth-one"
    assert users.get(base + "/a?apikey=auth%2Done").status == 200, "decoded"


@pytest.mark.quick
@pytest.mark.parametrize("target, headers, why", [
    ("/a", {}, "Missing API key in request"),
    ("/a?key=auth-one", {"key": "auth-one"}, "Missing API key in request"),
    ("/a", {"apikey": "auth-two"}, "Invalid API key in request"),
    ("/a", {"apikey": ""}, "Invalid API key in request"),
    ("/a?apikey=AUTH-ONE", {}, "Invalid API key in request"),
    ("/a?apikey=auth-one", {"apikey": "wrong"}, "Invalid API key in request"),
    ("/a?apikey=auth-one&apikey=other", {}, "Invalid API key in request"),
    ("/a?apikey=auth-one&x=1&api%6Bey=auth-one", {}, "Invalid API key in request"),
])
def test_refusals(users, target, headers, why):
    r = users.get(users.route({"key-auth": {}}) + target, headers)
    assert (r.status, r.text) == (401, '{"message":"%s"}\n' % why)
    assert r.headers.all("WWW-Authenticate") == ['apikey realm="key"']
    assert users.up.requests == []


def test_other_names_and_realm(users):
    base = users.route({"key-auth": {"header": "X-Token", "query": "token", "realm": "my realm"}})
    assert users.get(base + "/a", {"x-token": "auth-one"}).status == 200
    assert users.get(base + "/a?token=auth-one").status == 200
    r = users.get(base + "/a", {"apikey": "auth-one"})
    assert r.status == 401 and r.headers.get("WWW-Authenticate") == 'apikey realm="my realm"'


def test_hide_credentials(users):
    base = users.route({"key-auth": {"hide_credentials": True}})
    assert users.get(base + "/a", {"apikey": "auth-one"}).status == 200
    assert "apikey" not in users.up.requests[-1].headers
    for query, left in (("apikey=auth-one", ""), ("a=1&apikey=auth-one&b=2", "?a=1&b=2")):
        assert users.get(f"{base}/a?{query}").status == 200
        assert users.up.requests[-1].target == base + "/a" + left


def test_anonymous_consumer(users):
    base = users.route({"key-auth": {"anonymous_consumer": "nobody", "hide_credentials": True}})
    for target, headers in (("/a", {}), ("/a?apikey=x", {"apikey": "wrong"})):
        assert users.get(base + target, headers).status == 200
        request = users.up.requests[-1]
        assert request.headers.all("X-Consumer-Username") == ["nobody"] and request.target == base + "/a"
        assert "apikey" not in request.headers, "a wrong key does not travel on"
    assert users.get(base + "/a", {"apikey": "auth-one"}).status == 200
    assert users.up.requests[-1].headers.get("X-Consumer-Username") == "jack"
    r = users.get(users.route({"key-auth": {"anonymous_consumer": "gone"}}) + "/a")
    assert (r.status, r.json) == (401, {"message": "Invalid user authorization"})
    assert r.headers.get("WWW-Authenticate") == 'apikey realm="key"'


def test_consumers_come_and_go(users):
    base = users.route({"key-auth": {}})
    users.gw.put("consumers", {"username": "late", "plugins": {"key-auth": {"key": "key-of-late"}}})
    assert users.get(base + "/a", {"apikey": "key-of-late"}).status == 200
    users.gw.put("consumers", {"username": "late", "plugins": {"key-auth": {"key": "other"}}})
    assert users.get(base + "/a", {"apikey": "key-of-late"}).status == 401
    users.gw.delete("consumers/late")
    assert users.get(base + "/a", {"apikey": "other"}).status == 401


def test_configuration(bench):
    assert bench.refusal("key-auth", {"header": 1}) == 'property "header" validation failed: wrong type: expected string, got number'
    assert bench.refusal("key-auth", {"realm": 'a"b'}).startswith('property "realm" validation failed: failed to match pattern')
    assert bench.refusal("key-auth", {}, consumer=True) == 'property "key" is required'
