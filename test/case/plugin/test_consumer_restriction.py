# SPDX-License-Identifier: Apache-2.0
"""consumer-restriction: by consumer, group, service and route, and by method."""
import pytest

pytestmark = [pytest.mark.asan]


@pytest.fixture
def users(bench):
    bench.gw.put("consumer_groups/staff", {"plugins": {}})
    bench.gw.put("consumers", {"username": "jack", "plugins": {"key-auth": {"key": "of-jack"}}})
    bench.gw.put("consumers", {"username": "jill", "group_id": "staff", "plugins": {"key-auth": {"key": "of-jill"}}})
    return bench


def forbidden(what="consumer_name"):
    return (403, {"message": f"The {what} is forbidden."})


def ask(users, conf, who="jack", method="GET", **route):
    r = users.gw.request(method, users.route({"key-auth": {}, "consumer-restriction": conf}, **route) + "/a", {"apikey": f"of-{who}"})
    return (200, None) if r.status == 200 else (r.status, r.json)


@pytest.mark.quick
@pytest.mark.parametrize("conf, who, passes", [
    ({"whitelist": ["jack"]}, "jack", True),
    ({"whitelist": ["jack"]}, "jill", False),
    ({"whitelist": ["jac", "jackk", "Jack"]}, "jack", False),
    ({"blacklist": ["jack"]}, "jack", False),
    ({"blacklist": ["jack"]}, "jill", True),
    ({"blacklist": ["jack"], "whitelist": ["jack"]}, "jack", False),
    ({"type": "consumer_group_id", "whitelist": ["staff"]}, "jill", True),
])
def test_lists(users, conf, who, passes):
    assert ask(users, conf, who) == ((200, None) if passes else forbidden())


@pytest.mark.quick
def test_methods(users):
    conf = {"allowed_by_methods": [{"user": "jack", "methods": ["POST", "PUT"]}, {"user": "jack", "methods": ["GET"]}]}
    assert ask(users, conf) == forbidden(), "the first line counts"
    assert ask(users, conf, method="PUT")[0] == 200
    assert ask(users, conf, "jill")[0] == 200, "who is not named may use all"
    assert ask(users, {**conf, "whitelist": ["jack"]})[0] == 200
    assert ask(users, {**conf, "whitelist": ["jill"]}, method="PUT") == forbidden()
    assert ask(users, {**conf, "blacklist": ["jack"]}, method="PUT") == forbidden()


def test_service_and_route(users):
    users.gw.put("services/s1", {"hosts": ["s.example"]})
    conf = {"type": "service_id", "whitelist": ["s1"]}
    r = users.get(users.route({"consumer-restriction": conf}, service_id="s1", hosts=["127.0.0.1"]) + "/a")
    assert r.status == 200
    r = users.get(users.route({"consumer-restriction": conf}) + "/a")
    assert (r.status, r.json) == (401, {"message": "The request is rejected, please check the service_id for this request"})
    r = users.get(users.route({"consumer-restriction": {"type": "route_id", "whitelist": ["none"]}}) + "/a")
    assert (r.status, r.json) == forbidden("route_id")


@pytest.mark.quick
def test_nobody(users):
    for kind, who in (("consumer_name", None), ("consumer_group_id", "jack")):
        auth = {"key-auth": {}} if who else {}
        base = users.route({**auth, "consumer-restriction": {"type": kind, "blacklist": ["x"]}})
        r = users.get(base + "/a", {"apikey": f"of-{who}", "X-Consumer-Username": "x"})
        assert (r.status, r.json) == (401, {"message": f"The request is rejected, please check the {kind} for this request"})
    assert users.up.requests == []


def test_status_and_message(users):
    conf = {"blacklist": ["jack"], "rejected_code": 418, "rejected_msg": 'you are "not" welcome'}
    assert ask(users, conf) == (418, {"message": 'you are "not" welcome'})


def test_on_the_consumer(users):
    users.gw.put("consumers", {"username": "joe", "plugins": {"key-auth": {"key": "of-joe"}, "consumer-restriction": {
        "type": "route_id", "blacklist": ["secret"]}}})
    users.gw.put("routes/secret", {"uri": "/secret", "plugins": {"key-auth": {}}, "upstream": {
        "type": "roundrobin", "nodes": {users.up.node: 1}}})
    assert users.get("/secret", {"apikey": "of-jack"}).status == 200
    assert users.get("/secret", {"apikey": "of-joe"}).status == 403


@pytest.mark.parametrize("conf", [{}, {"blacklist": []}, {"type": "other", "blacklist": ["a"]},
                                  {"allowed_by_methods": [{"user": "a", "methods": ["get"]}]}, {"blacklist": ["a"], "rejected_code": 100}])
def test_refused_configurations(bench, conf):
    assert bench.refusal("consumer-restriction", conf)
