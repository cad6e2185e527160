# SPDX-License-Identifier: Apache-2.0
"""proxy-cache: what is stored, for how long and for whom, in memory and on disk."""
import glob
import hashlib
import os
import threading
import time

import pytest

import wire
from gw import Gateway

pytestmark = [pytest.mark.asan]
ZONES = {"memory": "memory_cache", "disk": "disk_cache_one"}
BOTH = pytest.mark.parametrize("strategy", ["memory", "disk"])


class Cached:
    """One route with proxy-cache; its paths are below `base`."""

    def __init__(self, bench, strategy, more=None, **conf):
        self.gw, self.up, self.strategy = bench.gw, bench.up, strategy
        conf = {"cache_strategy": strategy, "cache_zone": ZONES[strategy], **conf}
        self.base = bench.route({"proxy-cache": conf, **(more or {})})

    def on(self, path="/a"):
        return self.up.on(self.base + path.split("?")[0])

    def ask(self, method="GET", path="/a", headers=(), body=None):
        return self.gw.request(method, self.base + path, headers, body)

    def says(self, method="GET", path="/a", headers=(), body=None):
        """The cache's status for one more request."""
        r = self.ask(method, path, headers, body)
        assert r.status < 500, r
        return r.headers.get("Apisix-Cache-Status")

    @property
    def requests(self):
        return len(self.up.requests)


@pytest.fixture
def cached(bench):
    return lambda strategy, more=None, **conf: Cached(bench, strategy, more, **conf)


# --- hits

@BOTH
@pytest.mark.quick
def test_miss_then_hit(cached, strategy):
    c = cached(strategy)
    c.on().reply(200, "hello world!", {"Content-Type": "text/x", "X-One": "1", "X-Two": "a, b", "Keep-Alive": "timeout=3",
                                       "X-RateLimit-Remaining": "3", "ETag": '"e"'})
    first, second = c.ask(), c.ask()
    assert [r.headers.get("Apisix-Cache-Status") for r in (first, second)] == ["MISS", "HIT"]
    assert c.requests == 1 and first.body == second.body == b"hello world!"
    for name in ("Content-Type", "X-One", "X-Two", "ETag", "Content-Length"):
        assert second.headers.all(name) == first.headers.all(name) != []
    assert second.headers.get("Age") == "0" and "Age" not in first.headers
    assert "Keep-Alive" not in second.headers and "X-RateLimit-Remaining" not in second.headers
    assert len(second.headers.all("Date")) == len(second.headers.all("Server")) == 1
    wire.wait_until("some age", lambda: c.ask().headers.get("Age") == "1")


@BOTH
def test_chunked_and_empty_bodies(cached, strategy):
    c = cached(strategy)
    c.on("/chunks").reply(200, chunks=["one ", "two ", "three"], headers={"Content-Type": "text/plain"})
    c.on("/empty").reply(200, "")
    for path, body in (("/chunks", b"one two three"), ("/empty", b"")):
        assert [c.says(path=path) for _ in range(2)] == ["MISS", "HIT"]
        r = c.ask(path=path)
        assert r.body == body and r.headers.get("Content-Length") == str(len(body))


@BOTH
def test_statuses(cached, strategy):
    c = cached(strategy)
    for status in (200, 301, 404, 500, 302, 204):
        c.on(f"/{status}").reply(status, "" if status == 204 else "x", {"Location": "/b"} if status in (301, 302) else ())
        hits = [c.ask(path=f"/{status}") for _ in range(2)]
        assert [r.status for r in hits] == [status] * 2
        assert hits[1].headers.get("Apisix-Cache-Status") == ("HIT" if status in (200, 301, 404) else "MISS")
        assert hits[1].headers.get("Location") == hits[0].headers.get("Location")
    c = cached(strategy, cache_http_status=[206, 500])
    c.on().reply(500)
    c.on("/part").reply(206, "pa", {"Content-Range": "bytes 0-1/4"})
    assert [c.ask().headers.get("Apisix-Cache-Status") for _ in range(2)] == ["MISS", "HIT"]
    assert [c.says(path="/part") for _ in range(2)] == ["MISS", "MISS"], "a part is not the whole"


@BOTH
def test_key(cached, strategy):
    c = cached(strategy)
    c.on().reply(200)
    assert [c.says(path=p) for p in ("/a", "/a?x=1", "/a?x=2", "/a?x=1", "/a")] == ["MISS", "MISS", "MISS", "HIT", "HIT"]
    assert c.says(headers={"Host": "other.example"}) == "MISS"
    c = cached(strategy, cache_key=["$arg_a", "$arg_b", "-x"])
    c.on().reply(200)
    assert [c.says(path=p) for p in ("/a?a=1&b=2", "/a?b=2&a=1&c=3", "/a?a=12", "/a?b=12", "/a")] == \
        ["MISS", "HIT", "MISS", "MISS", "MISS"], "parts do not run together"


@BOTH
def test_methods(cached, strategy):
    other = "MISS" if strategy == "memory" else "BYPASS"
    c = cached(strategy)
    c.on().reply(200, "from get", {"X-A": "1"})
    assert [c.says("POST") for _ in range(2)] == [other] * 2
    assert [c.says("HEAD") for _ in range(2)] == ["MISS"] * 2, "a HEAD's response has no body to store"
    assert [c.says() for _ in range(2)] == ["MISS", "HIT"]
    r = c.ask("HEAD")
    assert (r.headers.get("Apisix-Cache-Status"), r.headers.get("Content-Length"), r.body) == ("HIT", "8", b"")
    assert r.headers.get("X-A") == "1"
    c = cached(strategy, cache_method=["GET", "POST"])
    c.on().reply(200, "one").reply(200, "two")
    assert [c.says("POST", body="a"), c.says("POST", body="b")] == ["MISS", "HIT"]
    assert c.ask().text == "two" and c.ask("POST").text == "one", "a POST's response is not a GET's"
    assert c.says("HEAD") == other


@BOTH
def test_purge(cached, strategy):
    c = cached(strategy)
    c.on().reply(200, headers={"Vary": "Accept"})
    for _ in range(2):
        assert c.ask("PURGE").status == 404
        assert [c.says(headers={"Accept": a}) for a in ("x", "y", "x", "y")] == ["MISS", "MISS", "HIT", "HIT"]
        r = c.ask("PURGE")
        assert r.status == 200 and r.body == b""
    assert c.ask("PURGE").status == 404
    assert all(r.method == "GET" for r in c.up.requests)


# --- what is not stored

@BOTH
@pytest.mark.parametrize("headers", [
    {"Cache-Control": "private"}, {"Cache-Control": "max-age=60, No-Store"}, {"Cache-Control": 'no-cache="x"'},
    {"Set-Cookie": "a=b"}, {"Vary": "*"}, {"vary": "accept, *"}, [("Cache-Control", "public"), ("Cache-Control", "private")]])
def test_responses_that_are_not_stored(cached, strategy, headers):
    c = cached(strategy)
    c.on().reply(200, "x", headers)
    assert [c.says() for _ in range(2)] == ["MISS", "MISS"]


@BOTH
def test_set_cookie_when_asked_for(cached, strategy):
    c = cached(strategy, cache_set_cookie=True)
    c.on().reply(200, "x", [("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")])
    assert c.says() == "MISS"
    r = c.ask()
    assert r.headers.get("Apisix-Cache-Status") == "HIT" and r.headers.all("Set-Cookie") == ["a=b", "c=d"]


@BOTH
def test_bypass_and_no_cache(cached, strategy):
    c = cached(strategy, cache_bypass=["$arg_bypass", "$http_x_bypass"], no_cache=["$arg_no"], cache_key=["$uri"])
    c.on().reply(200, "1").reply(200, "2").reply(200, "3")
    assert c.says(path="/a?no=1") == "MISS"
    assert c.says(path="/a?no=0") == "MISS"         # "0" is no yes
    assert c.ask().text == "2"
    assert c.says(headers={"X-Bypass": "0"}) == "HIT"
    r = c.ask(path="/a?bypass=1")
    assert (r.headers.get("Apisix-Cache-Status"), r.text) == ("BYPASS", "3")
    assert c.ask().text == ("2" if strategy == "memory" else "3"), "past the disk cache is into it (nginx)"


@BOTH
def test_our_own_replies_are_not_stored(cached, strategy):
    c = cached(strategy, {"limit-count": {"count": 1, "time_window": 60, "rejected_code": 404, "key_type": "constant"}})
    c.on().reply(200)
    assert c.says(path="/a") == "MISS"
    for _ in range(2):
        r = c.ask(path="/b")
        assert (r.status, r.headers.get("Apisix-Cache-Status")) == (404, "MISS")
    r = c.ask(path="/a")
    assert r.status == 200 and r.headers.get("Apisix-Cache-Status") == "HIT", "a hit is not counted"
    assert "X-RateLimit-Limit" not in r.headers and c.requests == 1


@BOTH
@pytest.mark.parametrize("head", ["Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n", ""])
def test_responses_that_were_cut_short(cached, strategy, head):
    c = cached(strategy)
    body = b"5\r\nhello\r\n" if "chunked" in head else b"hello"
    c.on().raw(lambda w, r: w.send(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{head}\r\n".encode() + body))
    for _ in range(2):
        with c.gw.connect() as w:
            w.request("GET", c.base + "/a")
            try:                                    # a reset may take with it what was not read yet
                message = w.head()
                for _ in w.stream(message):
                    pass
                assert message.headers.get("Apisix-Cache-Status") == "MISS" and message.body == b"hello"
            except wire.Closed:
                pass
    assert c.requests == 2


@BOTH
def test_client_that_leaves(cached, strategy):
    c = cached(strategy)
    go = threading.Event()

    def act(w, _):
        w.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        go.wait(10)
        w.send(b"world")
    c.on().raw(act).reply(200, "second")
    with c.gw.connect() as w:
        w.request("GET", c.base + "/a")
        assert w.head().status == 200 and w.exactly(5) == b"hello"
    go.set()
    r = c.ask()
    assert r.text in ("second", "helloworld")
    assert c.ask().text == r.text


@BOTH
def test_event_streams(cached, strategy):
    c = cached(strategy, cache_method=["POST"], cache_key=["$uri"])
    events = [f"data: {i}\n\n" for i in range(5)]
    c.on().reply(200, chunks=events, gap=0.02, headers={"Content-Type": "text/event-stream"})
    with c.gw.connect() as w:
        w.request("POST", c.base + "/a", (), "{}")
        first = w.response("POST")
    assert len(first.pieces) >= 4 and first.headers.get("Apisix-Cache-Status") == "MISS", "not held back"
    second = c.ask("POST", body="{}")
    assert second.headers.get("Apisix-Cache-Status") == "HIT" and second.text == "".join(events)
    assert second.headers.get("Content-Type") == "text/event-stream"


@BOTH
def test_large_responses(cached, strategy):
    c = cached(strategy, max_resp_body_size=100)
    c.on("/fits").reply(200, "x" * 100)
    c.on("/long").reply(200, "x" * 101)
    c.on("/chunks").reply(200, chunks=["x" * 60, "x" * 60])
    for path, size, status in (("/fits", 100, "HIT"), ("/long", 101, "MISS"), ("/chunks", 120, "MISS")):
        got = [c.ask(path=path) for _ in range(2)]
        assert [len(r.body) for r in got] == [size] * 2
        assert got[1].headers.get("Apisix-Cache-Status") == status
    c = cached(strategy)
    body = os.urandom(3 << 20)
    c.on().reply(200, body)
    got = [c.ask() for _ in range(3)]
    assert [r.headers.get("Apisix-Cache-Status") for r in got] == ["MISS", "HIT", "HIT"]
    assert all(r.body == body for r in got)


# --- what the key does not say

@BOTH
def test_a_body_of_a_get(cached, strategy):
    """The upstream may look at it: its answer is not for those who ask without."""
    c = cached(strategy)
    c.on().reply(200, "for the body").reply(200, "for the chunks").reply(200, "for all")
    assert c.ask(body=b"q=1").text == "for the body"
    with c.gw.connect() as w:
        w.request("GET", c.base + "/a", chunks=[b"q=1"])
        assert w.response().text == "for the chunks"
    assert c.says(headers={"Content-Length": "0"}) == "MISS" and c.says() == "HIT"
    assert c.ask(body=b"q=1").text == "for all"


@BOTH
def test_the_whole_host(cached, strategy):
    """The upstream may make links of it."""
    c = cached(strategy)
    c.on().reply(200)
    hosts = ["shop.test", "shop.test:1337", "shop.test.", "Shop.test"]
    assert [c.says(headers={"Host": h}) for h in hosts * 2] == ["MISS"] * 4 + ["HIT"] * 4
    assert c.ask("PURGE", headers={"Host": hosts[1]}).status == 200
    assert [c.says(headers={"Host": h}) for h in hosts] == ["HIT", "MISS", "HIT", "HIT"]
    c = cached(strategy, cache_key=["$uri"])
    c.on().reply(200)
    assert [c.says(headers={"Host": h}) for h in hosts] == ["MISS", "HIT", "HIT", "HIT"]


# --- Vary

@BOTH
def test_vary_by_all_lines(cached, strategy):
    """Lines of one name are one list: the upstream may look at any of them."""
    c = cached(strategy)
    c.on().reply(200, headers={"Vary": "X-Lang"})
    two = [("X-Lang", "en"), ("X-Lang", "other")]
    assert [c.says(headers=h) for h in (two, two, {"X-Lang": "en"}, {"X-Lang": "en, other"})] == \
        ["MISS", "HIT", "MISS", "HIT"]


@BOTH
@pytest.mark.quick
def test_vary(cached, strategy):
    c = cached(strategy)
    c.on().reply(200, "gzip/en", {"Vary": "Accept-Encoding, Accept-Language"}) \
          .reply(200, "gzip/fr", {"vary": "accept-language,Accept-Encoding"}) \
          .reply(200, "none", [("Vary", "Accept-Language"), ("Vary", "Accept-Encoding")])
    en, fr = ({"Accept-Encoding": "gzip", "Accept-Language": lang} for lang in ("en", "fr"))
    assert [c.says(headers=h) for h in (en, en, fr, {}, {}, fr, en)] == ["MISS", "HIT", "MISS", "MISS", "HIT", "HIT", "HIT"]
    assert [c.ask(headers=h).text for h in (en, fr, {})] == ["gzip/en", "gzip/fr", "none"]
    # A request whose path looks like another's variant is another request.
    crafted = "/a::" + hashlib.md5(b"gzip").hexdigest()
    c.on(crafted).reply(200, "crafted")
    assert c.ask(path=crafted).text == "crafted" and c.ask(headers=en).text == "gzip/en"


@BOTH
def test_vary_that_changes(cached, strategy):
    c = cached(strategy)
    c.on().reply(200, "1", {"Vary": "X-A"}).reply(200, "2", {"Vary": "X-B"}).reply(200, "3")
    assert c.ask(headers={"X-A": "1"}).text == "1"
    assert c.ask(headers={"X-A": "2"}).text == "2"
    assert c.ask(headers={"X-A": "1"}).text == "2", "it varies by X-B now"
    assert c.ask(headers={"X-B": "1"}).text == "3"
    assert [c.ask(headers={"X-B": b}).text for b in ("1", "2")] == ["3", "3"]


# --- time

@BOTH
def test_expiry(cached, strategy):
    c = cached(strategy, cache_ttl=1)
    for path, headers in (("/age", {"Cache-Control": "max-age=1"}), ("/shared", {"Cache-Control": "max-age=60, s-maxage=1"})):
        c.on(path).reply(200, "1", headers).reply(200, "2", headers)
        assert [c.says(path=path) for _ in range(2)] == ["MISS", "HIT"]
        wire.wait_until("the end of its time", lambda p=path: c.says(path=p) == "EXPIRED")
        assert c.ask(path=path).text == "2"


def test_times_of_the_upstream_on_disk(cached):
    c = cached("disk")
    then = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    for path, headers, status in (
            ("/zero", {"Cache-Control": "max-age=0"}, "MISS"), ("/past", {"Expires": "0"}, "MISS"),
            ("/future", {"Expires": then}, "HIT"), ("/old", {"Cache-Control": "max-age=60", "Age": "60"}, "MISS"),
            ("/aged", {"Cache-Control": "max-age=60", "Age": "50"}, "HIT")):
        c.on(path).reply(200, "x", headers)
        assert [c.says(path=path) for _ in range(2)] == ["MISS", status], path
    assert int(c.ask(path="/aged").headers.get("Age")) >= 50


def test_default_time_on_disk(make_gw, upstream):
    gw = make_gw(apisix={"proxy_cache": {"cache_ttl": "1s"}})
    upstream.on("/").reply(200)
    gw.route("/", upstream, {"proxy-cache": {}})
    says = lambda: gw.get("/").headers.get("Apisix-Cache-Status")
    assert [says(), says()] == ["MISS", "HIT"]
    wire.wait_until("the end of its time", lambda: says() == "EXPIRED")


@BOTH
def test_cache_control_of_requests(cached, strategy):
    c = cached(strategy, cache_control=True)
    c.on().reply(200, "x", {"Cache-Control": "max-age=100"})
    c.on("/silent").reply(200, "x")
    asks = lambda cc, path="/a": c.ask(path=path, headers={"Cache-Control": cc})
    r = asks("only-if-cached")
    assert (r.status, r.headers.get("Apisix-Cache-Status")) == (504, "MISS") and c.requests == 0
    assert c.says() == "MISS" and c.says() == "HIT"
    wire.wait_until("some age", lambda: int(c.ask().headers.get("Age")) >= 1)
    for cc, status in (("max-age=60", "HIT"), ("min-fresh=10", "HIT"), ("only-if-cached", "HIT"), ("max-stale=5", "HIT"),
                       ("no-store", "BYPASS"), ("no-cache", "BYPASS"), ("min-fresh=300", "STALE")):
        assert asks(cc).headers.get("Apisix-Cache-Status") == status, cc
    wire.wait_until("some age", lambda: int(c.ask().headers.get("Age")) >= 1)
    assert asks("max-age=0").headers.get("Apisix-Cache-Status") == "STALE"
    assert asks("max-age=0, only-if-cached").status in (200, 504)
    assert [c.says(path="/silent") for _ in range(2)] == ["MISS", "MISS" if strategy == "memory" else "HIT"]


@BOTH
def test_stale_when_the_client_takes_it(cached, strategy):
    c = cached(strategy, cache_control=True)
    c.on("/a").reply(200, "x", {"Cache-Control": "max-age=1"})
    c.on("/must").reply(200, "x", {"Cache-Control": "max-age=1, must-revalidate"})
    asks = lambda cc, path: c.ask(path=path, headers={"Cache-Control": cc}).headers.get("Apisix-Cache-Status")
    assert [c.says(path=p) for p in ("/a", "/must")] == ["MISS", "MISS"]
    wire.wait_until("the end of its time", lambda: asks("max-stale=0, only-if-cached", "/a") == "STALE")
    assert asks("max-stale=100", "/a") == asks("max-stale", "/a") == "HIT"
    wire.wait_until("the end of its time", lambda: asks("only-if-cached, max-stale", "/must") == "EXPIRED")
    assert c.requests == 2


def test_cache_control_is_not_obeyed_unless_asked(cached):
    c = cached("memory")
    c.on().reply(200, "x", {"Cache-Control": "max-age=0"})
    assert [c.says(headers={"Cache-Control": "no-cache, no-store"}) for _ in range(2)] == ["MISS", "HIT"]


@BOTH
def test_hidden_headers(cached, strategy):
    for hide in (True, False):
        c = cached(strategy, hide_cache_headers=hide)
        c.on().reply(200, "x", {"Cache-Control": "max-age=60", "Expires": "0", "X-A": "1"})
        for r in (c.ask(), c.ask()):
            assert ("Cache-Control" in r.headers, "Expires" in r.headers, "X-A" in r.headers) == (not hide, not hide, True)
        assert r.headers.get("Apisix-Cache-Status") == "HIT"


@BOTH
def test_conditional_requests(cached, strategy):
    c = cached(strategy)
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    c.on().reply(200, "body", {"ETag": '"v1"', "Last-Modified": date, "Content-Type": "text/x", "X-A": "1"})
    assert c.says() == "MISS"
    for headers in ({"If-None-Match": '"v0", W/"v1"'}, {"If-Modified-Since": date}):
        r = c.ask(headers=headers)
        assert (r.status, r.body, r.headers.get("ETag"), r.headers.get("Apisix-Cache-Status")) == (304, b"", '"v1"', "HIT")
        assert "Content-Type" not in r.headers and r.headers.get("X-A") == "1"
    assert c.ask(headers={"If-None-Match": '"v2"', "If-Modified-Since": date}).text == "body"
    assert c.requests == 1


# --- for whom

def consumers(gw, *names):
    for name in names:
        gw.put("consumers", {"username": name, "plugins": {"key-auth": {"key": f"key-of-{name}"}}})


@BOTH
@pytest.mark.quick
@pytest.mark.parametrize("conf, apart", [({}, True), ({"consumer_isolation": False}, False),
                                         ({"cache_key": ["$uri", "$http_authorization"]}, False)])
def test_consumers_are_kept_apart(cached, strategy, conf, apart):
    c = cached(strategy, {"key-auth": {}}, **conf)
    consumers(c.gw, "ann", "bob")
    c.on().reply(200, "1").reply(200, "2")
    says = lambda who: c.says(headers={"apikey": f"key-of-{who}"})
    assert c.ask().status == 401
    assert [says("ann"), says("ann"), says("bob"), says("bob")] == ["MISS", "HIT", "MISS" if apart else "HIT", "HIT"]
    assert c.ask("PURGE", headers={"apikey": "key-of-ann"}).status == 200
    assert says("bob") == ("HIT" if apart else "MISS")


@BOTH
def test_credentials_that_go_upstream(cached, strategy):
    c = cached(strategy)
    c.on().reply(200, "for all").reply(200, "for one").reply(200, "for two")
    one, two = ({"Authorization": f"Bearer {n}"} for n in ("one", "two"))
    assert [c.ask(headers=h).text for h in ((), one, two, one, two, ())] == \
        ["for all", "for one", "for two", "for one", "for two", "for all"]
    assert c.requests == 3
    # What a plugin puts in the place of the client's is the same for all.
    c = cached(strategy, {"proxy-rewrite": {"headers": {"Authorization": "Bearer ours"}}})
    c.on().reply(200)
    assert [c.says(headers=h) for h in (one, two, ())] == ["MISS", "HIT", "HIT"]


@BOTH
def test_credentials_of_a_consumers_users(cached, strategy):
    """A consumer is an application: what its users' own credentials get from the upstream is for each of them."""
    c = cached(strategy, {"key-auth": {}})
    consumers(c.gw, "app")
    c.on().reply(200, "for one").reply(200, "for two").reply(200, "for all")
    one, two, both, none = ({"apikey": "key-of-app", **h} for h in (
        {"Authorization": "Bearer one"}, {"Authorization": "Bearer two"}, {"Authorization": "Bearer one"}, {}))
    assert [c.ask(headers=h).text for h in (one, two, both, none, none)] == \
        ["for one", "for two", "for one", "for all", "for all"]
    lines = [("apikey", "key-of-app"), ("Authorization", "Bearer one"), ("Authorization", "Bearer two")]
    assert c.says(headers=lines) == "MISS"


@BOTH
def test_secrets_do_not_reach_the_disk(make_gw, upstream, strategy):
    gw = make_gw()
    upstream.on("/").reply(200, "x")
    gw.route("/", upstream, {"proxy-cache": {"cache_strategy": strategy, "cache_zone": ZONES[strategy]}})
    for _ in range(2):
        gw.get("/", {"Authorization": "Bearer very-secret"})
    if strategy == "disk":
        wire.wait_until("the file", lambda: stored(gw))
    for folder, _, names in os.walk(gw.data_dir):
        for name in names:
            with open(os.path.join(folder, name), "rb") as f:
                assert b"very-secret" not in f.read(), name


# --- with other plugins

@BOTH
def test_other_plugins_work_on_hits(cached, strategy):
    c = cached(strategy, {"response-rewrite": {"headers": {"add": ["X-Added: 1"]}, "filters": [
        {"regex": "b", "replace": "bb", "scope": "global"}]}, "cors": {"allow_origins": "http://a.com,http://b.com"},
        "request-id": {"header_name": "X-Id"}})
    c.on().reply(200, "abc", {"Content-Type": "text/plain"})
    got = [c.ask(headers={"Origin": f"http://{o}.com"}) for o in "aab"]
    assert [r.headers.get("Apisix-Cache-Status") for r in got] == ["MISS", "HIT", "HIT"]
    assert [r.text for r in got] == ["abbc"] * 3
    for r, origin in zip(got, "aab"):
        assert r.headers.all("X-Added") == ["1"] and r.headers.all("Access-Control-Allow-Origin") == [f"http://{origin}.com"]
        assert len(r.headers.all("X-Id")) == 1
    assert len({r.headers.get("X-Id") for r in got}) == 3


# --- zones

def stored(gw):
    return sorted(glob.glob(gw.data_dir + "/**/*.entry", recursive=True))


def refusal(gw, conf):
    r = gw.admin("PUT", "routes/9", {"uri": "/9", "plugins": {"proxy-cache": conf},
                                     "upstream": {"type": "roundrobin", "nodes": {"127.0.0.1:1": 1}}})
    assert r.status == 400, r
    return r.json["error_msg"].split("of plugin proxy-cache err: ", 1)[1]


@pytest.mark.quick
@pytest.mark.parametrize("conf, says", [
    ({"cache_zone": "nowhere"}, "cache_zone nowhere not found"),
    ({"cache_strategy": "memory"}, "invalid or empty cache_zone for cache_strategy: memory"),
    ({"cache_zone": "memory_cache"}, "invalid or empty cache_zone for cache_strategy: disk"),
    ({"cache_strategy": "network"}, 'property "cache_strategy" validation failed: matches none of the enum values'),
    ({"cache_key": ["$uri", "$request_method"]}, "cache_key variable $request_method unsupported"),
    ({"cache_key": ["$uri-", "-cache-id"]}, 'property "cache_key" validation failed: failed to validate item 1: '
     'failed to match pattern "(^[^\\\\$].+$|^\\\\$[0-9a-zA-Z_]+$)" with "$uri-"'),
    ({"cache_key": "$uri"}, 'property "cache_key" validation failed: wrong type: expected array, got string'),
    ({"cache_method": ["GET", "PUT"]}, 'property "cache_method" validation failed: failed to validate item 2: '
     "matches none of the enum values"),
    ({"cache_ttl": 0}, 'property "cache_ttl" validation failed: expected 0 to be at least 1'),
])
def test_refused_configurations(shared_gw, conf, says):
    assert refusal(shared_gw, conf) == says


@pytest.mark.parametrize("cache, says", [
    ({"zones": [{"name": "z"}]}, "memory_size must be 16k or more"),
    ({"zones": [{"name": "z", "memory_size": "1m", "disk_path": "z"}]}, "disk_size must be a size"),
    ({"zones": [{"memory_size": "1m"}]}, "a zone has no name"),
    ({"zones": [{"name": "z", "memory_size": "1m"}] * 2}, "z is there twice"),
    ({"zones": [{"name": "z", "memory_size": "1m", "cache_levels": "1:3"}]}, "cache_levels must be"),
    ({"cache_ttl": "soon"}, "cache_ttl must be a time"),
])
def test_zones_that_are_none(tmp_path, cache, says):
    gw = Gateway(tmp_path).config(apisix={"proxy_cache": cache})
    with pytest.raises(AssertionError, match=says):
        gw.start()
    assert gw.process.wait(10) == 1


def one_zone(strategy, **zone):
    return {"proxy_cache": {"cache_ttl": "1h", "zones": [{"name": ZONES[strategy], "memory_size": "1m", **zone}]}}


def test_disk_survives_a_restart(make_gw, upstream, tmp_path):
    gw = make_gw(apisix=one_zone("disk", disk_size="10m", disk_path=str(tmp_path / "cache"), cache_levels="2:1"))
    body = os.urandom(300000)
    upstream.on("/").reply(200, body, {"X-A": "1", "Vary": "Accept"})
    upstream.on("/gone").reply(200, "x")
    gw.route("/*", upstream, {"proxy-cache": {}})
    says = lambda path, **headers: gw.get(path, headers).headers.get("Apisix-Cache-Status")
    assert [says("/", Accept="1"), says("/", Accept="2"), says("/gone"), says("/gone")] == ["MISS", "MISS", "MISS", "HIT"]
    assert gw.request("PURGE", "/gone").status == 200
    files = wire.wait_until("two files", lambda: len(f := glob.glob(str(tmp_path / "cache/??/?/*.entry"))) == 2 and f)
    assert all(os.stat(f).st_mode & 0o777 == 0o600 for f in files)
    requests = len(upstream.requests)
    for start in ("clean", "killed"):
        if start == "killed":
            gw.kill()
        gw.restart()
        for accept in ("1", "2", "1"):
            r = gw.get("/", {"Accept": accept})
            assert r.headers.get("Apisix-Cache-Status") == "HIT" and r.body == body and r.headers.get("X-A") == "1"
    assert len(upstream.requests) == requests
    assert says("/", Accept="3") == "MISS" and says("/gone") == "MISS", "what was purged does not come back"


def test_disk_files_that_are_not_sound(make_gw, upstream, tmp_path):
    folder = tmp_path / "cache"
    gw = make_gw(apisix=one_zone("disk", disk_size="10m", disk_path=str(folder)))
    for i in range(4):
        upstream.on(f"/{i}").reply(200, f"body {i}")
    gw.route("/*", upstream, {"proxy-cache": {}})
    says = lambda i: gw.get(f"/{i}").headers.get("Apisix-Cache-Status")
    find = lambda: glob.glob(str(folder / "**/*.entry"), recursive=True)
    for i in range(4):
        assert says(i) == "MISS"
        files = wire.wait_until("its file", lambda n=i + 1: len(f := find()) == n and sorted(f, key=os.path.getmtime))
    with open(files[0], "r+b") as f:            # the body, which is looked at when it is asked for
        f.seek(-1, os.SEEK_END)
        f.write(b"#")
    with open(files[1], "r+b") as f:            # the head, which is looked at when the gateway starts
        f.write(b"#")
    os.truncate(files[2], 50)
    (folder / "other.txt").write_text("not ours")
    gw.restart()
    assert len(find()) == 2 and (folder / "other.txt").exists()
    assert [says(i) for i in range(4)] == ["MISS", "MISS", "MISS", "HIT"]
    assert [gw.get(f"/{i}").text for i in range(4)] == [f"body {i}" for i in range(4)]


def test_disk_is_bounded(make_gw, upstream, tmp_path):
    gw = make_gw(apisix=one_zone("disk", disk_size="200k", disk_path=str(tmp_path / "cache")))
    upstream.on("/").reply(200, "x" * 10000)
    gw.route("/", upstream, {"proxy-cache": {}})
    for i in range(60):
        assert gw.get(f"/?{i}").status == 200
    # 10000 bytes and a head take three blocks; one short of what fits may be on its way.
    find = lambda: glob.glob(str(tmp_path / "cache/**/*.entry"), recursive=True)
    wire.wait_until("the folder to be small", lambda: 10 < len(find()) <= (200 << 10) // 12288)
    assert gw.get("/?59").headers.get("Apisix-Cache-Status") == "HIT"
    # Entries are written by several threads, so which are the oldest is not known, only how many stay.
    hits = [i for i in range(58, -1, -1) if gw.get(f"/?{i}").headers.get("Apisix-Cache-Status") == "HIT"]
    assert len(hits) <= (200 << 10) // 12288


def test_memory_is_bounded(make_gw, upstream):
    gw = make_gw(apisix=one_zone("memory", memory_size="256k"))
    upstream.on("/").reply(200, "x" * 10000)
    upstream.on("/big").reply(200, "x" * 300000)
    gw.route("/*", upstream, {"proxy-cache": {"cache_strategy": "memory", "cache_zone": "memory_cache"}})
    says = lambda path: gw.get(path).headers.get("Apisix-Cache-Status")
    for i in range(60):
        assert says(f"/?{i}") == "MISS" and says(f"/?{i}") == "HIT"
    assert [says("/big"), says("/big"), says("/?59")] == ["MISS", "MISS", "HIT"]
    assert 10 < sum(says(f"/?{i}") == "HIT" for i in range(59, 0, -1)) < 26
    gw.restart()
    assert says("/?59") == "MISS"


def test_disk_that_cannot_be_written(make_gw, upstream, tmp_path):
    (tmp_path / "file").write_text("")
    gw = make_gw(apisix=one_zone("disk", disk_size="1m", disk_path=str(tmp_path / "file/cache")))
    upstream.on("/").reply(200, "x")
    gw.route("/", upstream, {"proxy-cache": {}})
    for _ in range(5):
        assert gw.get("/").status == 200
    gw.wait_log("proxy-cache: zone disk_cache_one: cannot write")


# --- all at once

@BOTH
def test_many_clients(make_gw, upstream, tmp_path, strategy):
    disk = {"disk_size": "150k", "disk_path": str(tmp_path / "cache")} if strategy == "disk" else {}
    gw = make_gw(apisix=one_zone(strategy, memory_size="100k", **disk))
    for i in range(12):
        upstream.on(f"/{i}").reply(200, f"{i:02}" * 6000, {"X-Number": str(i)})
    gw.route("/*", upstream, {"proxy-cache": {"cache_strategy": strategy, "cache_zone": ZONES[strategy]}})
    wrong, seen = [], set()

    def client(seed):
        with gw.connect() as w:
            for n in range(80):
                i = (seed * 7 + n * (seed + 1)) % 12
                w.request("PURGE" if n % 19 == 18 else "GET", f"/{i}")
                r = w.response()
                seen.add(r.headers.get("Apisix-Cache-Status"))
                if n % 19 != 18 and (r.status, r.text, r.headers.get("X-Number")) != (200, f"{i:02}" * 6000, str(i)):
                    wrong.append(r)
    clients = [threading.Thread(target=client, args=(seed,)) for seed in range(6)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    assert not wrong and {"HIT", "MISS"} <= seen
