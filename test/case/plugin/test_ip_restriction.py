# SPDX-License-Identifier: Apache-2.0
"""ip-restriction: white and black lists of addresses and networks. Clients come from 127.0.0.1."""
import time

import pytest

pytestmark = [pytest.mark.asan]


@pytest.mark.quick
@pytest.mark.parametrize("conf, passes", [
    ({"whitelist": ["127.0.0.0/24", "113.74.26.106"]}, True),
    ({"whitelist": ["127.0.0.1"]}, True),
    ({"whitelist": ["127.0.0.2", "127.0.0.0/32", "10.0.0.0/8", "::1", "::/0"]}, False),
    ({"whitelist": ["0.0.0.0/0"]}, True),
    ({"blacklist": ["127.0.0.0/24", "113.74.26.106"]}, False),
    ({"blacklist": ["126.0.0.0/8", "::ffff:0:0/96", "fe80::/32"]}, True),
])
def test_lists(bench, conf, passes):
    r = bench.get(bench.route({"ip-restriction": conf}) + "/a")
    if passes:
        assert r.status == 200
    else:
        assert (r.status, r.text) == (403, '{"message":"Your IP address is not allowed"}\n')
        assert r.headers.get("Content-Type").startswith("application/json") and bench.up.requests == []


@pytest.mark.parametrize("lines, status", [
    (["10.1.1.1"], 200), (["6.6.6.6"], 403), (["10.1.1.1, 6.6.6.6"], 403),
    # A proxy in front may write a line of its own below the client's.
    (["10.1.1.1", "6.6.6.6"], 403), (["6.6.6.6", "10.1.1.1"], 200), (["10.1.1.1", "nothing"], 403),
    # One that listens for both families writes IPv4 so.
    (["::ffff:10.1.1.1"], 200), (["[::ffff:10.1.1.1]:80"], 200), (["::ffff:6.6.6.6"], 403),
])
def test_the_client_that_a_proxy_names(make_shared_gw, upstream, lines, status):
    gw = make_shared_gw(nginx_config={"http": {"real_ip_header": "X-Forwarded-For", "real_ip_from": ["127.0.0.1"]}})
    gw.route("/*", upstream, {"ip-restriction": {"whitelist": ["10.1.1.1"]}})
    assert gw.get("/", [("X-Forwarded-For", line) for line in lines]).status == status


def test_message_and_status(bench):
    conf = {"blacklist": ["127.0.0.1"], "message": 'Do you want to do "something" bad?', "response_code": 404}
    r = bench.get(bench.route({"ip-restriction": conf}) + "/a")
    assert (r.status, r.json) == (404, {"message": conf["message"]})


def test_thousands_of_networks(bench):
    many = [f"10.{a}.{b}.0/25" for a in range(40) for b in range(256)]
    closed = bench.route({"ip-restriction": {"whitelist": many}})
    opened = bench.route({"ip-restriction": {"whitelist": many + ["127.0.0.0/8"]}})
    assert bench.get(closed + "/a").status == 403
    with bench.gw.connect() as w:
        start = time.monotonic()
        for _ in range(50):
            w.request("GET", opened + "/a")
            assert w.response().status == 200
        assert time.monotonic() - start < 2


@pytest.mark.parametrize("conf, why", [
    ({}, "value should match only one schema, but matches none"),
    ({"whitelist": ["172.17.40.0/24"], "blacklist": ["10.255.0.0/16"]},
     "value should match only one schema, but matches both schemas 1 and 2"),
    ({"blacklist": []}, 'property "blacklist" validation failed: expect array to have at least 1 items'),
    ({"whitelist": ["10.255.256.0/24"]},
     'property "whitelist" validation failed: failed to validate item 1: object matches none of the required'),
    ({"whitelist": ["::1", "10.255.254.0/38"]},
     'property "whitelist" validation failed: failed to validate item 2: object matches none of the required'),
    ({"whitelist": ["::1/129"]}, "invalid ip address: ::1/129"),
    ({"whitelist": [":/8"]}, "invalid ip address: :/8"),
    ({"blacklist": ["127.0.0.1"], "message": ""},
     'property "message" validation failed: string too short, expected at least 1, got 0'),
    ({"blacklist": ["127.0.0.1"], "response_code": 409},
     'property "response_code" validation failed: expected 409 to be at most 404'),
])
def test_configuration(bench, conf, why):
    assert bench.refusal("ip-restriction", conf) == why
