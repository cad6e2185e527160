# SPDX-License-Identifier: Apache-2.0
"""referer-restriction: the host in the Referer."""
import pytest

pytestmark = [pytest.mark.asan]
REFUSED = (403, {"message": "Your referer host is not allowed"})


def ask(bench, conf, referer):
    headers = {} if referer is None else {"Referer": referer}
    r = bench.get(bench.route({"referer-restriction": conf}) + "/a", headers)
    return (200, None) if r.status == 200 else (r.status, r.json)


@pytest.mark.quick
@pytest.mark.parametrize("referer, listed", [
    ("http://xx.com", True),
    ("https://xx.com/hello?x=1", True),
    ("//xx.com/", True),
    ("http://XX.com:8080", True),
    ("http://xx.com?q", True),
    ("http://foo.yy.com/uri", True),
    ("http://a.b.yy.com", True),
    ("http://[::1]:8080/x", True),
    ("http://yy.com/", False),
    ("http://xx.com.evil.com/", False),
    ("http://evil.com/xx.com", False),
    ("http://evil.com#xx.com", False),
    ("http://evilxx.com", False),
    ("http://evilyy.com", False),
])
def test_hosts(bench, referer, listed):
    hosts = ["xx.com", "*.yy.com", "[::1]"]
    assert ask(bench, {"whitelist": hosts}, referer) == ((200, None) if listed else REFUSED)
    assert ask(bench, {"blacklist": hosts}, referer) == (REFUSED if listed else (200, None))


@pytest.mark.quick
@pytest.mark.parametrize("referer", [None, "", "www.xx.com", "ftp://xx.com", "http://", "http:///x", "http://xx.com:a@evil.com/",
                                     "http://[::1", "http:/xx.com"])
def test_missing_or_no_url(bench, referer):
    for conf in ({"whitelist": ["xx.com"]}, {"blacklist": ["other.com"]}):
        assert ask(bench, conf, referer) == REFUSED
        assert ask(bench, {**conf, "bypass_missing": True}, referer) == (200, None)


def test_message_and_star(bench):
    assert ask(bench, {"blacklist": ["*"], "message": "Not from there"}, "http://a.b") == (403, {"message": "Not from there"})
    assert ask(bench, {"whitelist": ["*"]}, "http://a.b") == (200, None)


@pytest.mark.parametrize("conf", [{}, {"whitelist": []}, {"whitelist": ["a b"]}, {"whitelist": ["a"], "blacklist": ["b"]}])
def test_refused_configurations(bench, conf):
    assert bench.refusal("referer-restriction", conf)
