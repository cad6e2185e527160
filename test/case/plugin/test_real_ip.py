# SPDX-License-Identifier: Apache-2.0
"""real-ip: whom the client is, by whom it is said, and who is believed."""
import pytest

pytestmark = [pytest.mark.asan]


def client(bench, conf, target="/a", headers=(), **plugins):
    """The address that the plugins behind it see."""
    base = bench.route({"real-ip": conf, "proxy-rewrite": {"headers": {"set": {"X-Client": "$remote_addr:$remote_port"}}}, **plugins})
    r = bench.get(base + target, headers)
    assert r.status == 200, r
    return bench.up.requests[-1].headers.get("X-Client").rpartition(":")


@pytest.mark.quick
@pytest.mark.parametrize("source, target, headers, want", [
    ("http_x_real_ip", "/a", {"X-Real-IP": "1.2.3.4"}, ("1.2.3.4", "")),
    ("arg_realip", "/a?realip=1.2.3.4:1987", {}, ("1.2.3.4", "1987")),
    ("arg_realip", "/a?realip=::1", {}, ("::1", "")),
    ("arg_realip", "/a?realip=[fe80::7]:80", {}, ("fe80::7", "80")),
    ("arg_realip", "/a?realip=[fe80::8]", {}, ("fe80::8", "")),
    ("http_x_forwarded_for", "/a", [("X-Forwarded-For", "1.1.1.1, 2.2.2.2")], ("2.2.2.2", "")),
    ("http_x_forwarded_for", "/a", [("X-Forwarded-For", "1.1.1.1,  2.2.2.2:99 ")], ("2.2.2.2", "99")),
    ("http_x_forwarded_for", "/a", [("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "3.3.3.3, 4.4.4.4")], ("4.4.4.4", "")),
])
def test_sources(bench, source, target, headers, want):
    address, _, port = client(bench, {"source": source}, target, headers)
    assert (address, port if want[1] else "") == want


@pytest.mark.quick
@pytest.mark.parametrize("address", ["", "localhost", "1.2.3", "1.2.3.4.5", "1.2.3.4:0x50", "1.2.3.4:99999", "[::1", "1.2.3.4, 5.6.7.8", "::g",
                                     "1.2.3.4%0aX"])
def test_what_is_no_address_changes_nothing(bench, address):
    assert client(bench, {"source": "arg_a"}, "/a?a=" + address.replace(" ", "%20"))[0] == "127.0.0.1"


@pytest.mark.quick
def test_trusted(bench):
    said = {"X-Forwarded-For": "9.9.9.9, 1.2.3.4"}
    for trusted, want in ((["127.0.0.0/8"], "1.2.3.4"), (["127.0.0.1", "10.0.0.0/8"], "1.2.3.4"), (["10.0.0.0/8", "::1"], "127.0.0.1")):
        assert client(bench, {"source": "http_x_forwarded_for", "trusted_addresses": trusted}, "/a", said)[0] == want


@pytest.mark.quick
@pytest.mark.parametrize("said, want", [
    ("9.9.9.9, 8.8.8.8, 10.0.0.1, 10.0.0.2", "8.8.8.8"),
    ("9.9.9.9,10.0.0.1", "9.9.9.9"),
    ("10.0.0.3, 10.0.0.1", "10.0.0.3"),
    ("10.0.0.3", "10.0.0.3"),
    ("9.9.9.9, nonsense, 10.0.0.1", "127.0.0.1"),
    (["9.9.9.9, 8.8.8.8", "10.0.0.1"], "8.8.8.8"),
])
def test_recursive(bench, said, want):
    conf = {"source": "http_x_forwarded_for", "trusted_addresses": ["127.0.0.1", "10.0.0.0/8"], "recursive": True}
    lines = said if isinstance(said, list) else [said]
    assert client(bench, conf, "/a", [("X-Forwarded-For", line) for line in lines])[0] == want


def test_a_header_in_two_lines_is_no_address(bench):
    """The first may be the client's own."""
    said = [("X-Who", "1.2.3.4"), ("X-Who", "5.6.7.8")]
    assert client(bench, {"source": "http_x_who"}, "/a", said)[0] == "127.0.0.1"


def test_what_comes_after_sees_it(bench):
    base = bench.route({"real-ip": {"source": "http_x_real_ip"}, "ip-restriction": {"blacklist": ["1.2.3.0/24"]}})
    assert bench.get(base + "/a", {"X-Real-IP": "1.2.3.4"}).status == 403
    assert bench.get(base + "/a", {"X-Real-IP": "1.2.4.4"}).status == 200
    assert bench.up.requests[-1].headers.get("X-Forwarded-For") == "1.2.4.4"
    base = bench.route({"real-ip": {"source": "http_x_real_ip"}, "limit-count": {"count": 1, "time_window": 60}})
    assert [bench.get(base + "/a", {"X-Real-IP": a}).status for a in ("5.5.5.5", "6.6.6.6", "5.5.5.5")] == [200, 200, 503]


@pytest.mark.quick
@pytest.mark.parametrize("conf, why", [
    ({}, 'property "source" is required'),
    ({"source": ""}, 'property "source" validation failed: string too short, expected at least 1, got 0'),
    ({"source": "a", "trusted_addresses": []}, 'property "trusted_addresses" validation failed: expect array to have at least 1 items'),
    ({"source": "a", "trusted_addresses": ["localhost"]}, None),
])
def test_refused_configurations(bench, conf, why):
    said = bench.refusal("real-ip", conf)
    assert not why or said == why
