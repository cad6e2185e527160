# SPDX-License-Identifier: Apache-2.0
"""The tutorial: an OpenAI-compatible upstream behind TLS, step by step as an APISIX user would type it."""
import base64
import json
import os
import subprocess

import pytest

from peer import ROOT

pytestmark = [pytest.mark.asan]
CLIENTS = os.path.join(ROOT, "test/clients")
REWRITE = {"uri": "/v1/completions", "host": "localhost",
           "headers": {"Authorization": "Bearer sk-of-the-provider", "Content-Type": "application/json"}}
LIMIT = {"count": 2, "time_window": 60, "rejected_code": 403, "key_type": "var", "key": "remote_addr",
         "rejected_msg": "Requests are too frequent, please try again later."}
CACHE = {"cache_key": ["$uri", "-cache-id"], "cache_method": ["POST"], "cache_http_status": [200],
         "hide_cache_headers": True}
USER = {"Authorization": "Basic " + base64.b64encode(b"username1:password1").decode()}
QUESTION = {"model": "gpt-3.5-turbo-instruct", "prompt": "Describe a canal lock", "max_tokens": 16}


class Tutorial:
    """Steps 1 to 3, with the provider at `port`."""

    def __init__(self, gw, port, **fields):
        self.gw = gw
        gw.put("upstreams/1", {"name": "OpenAI API upstream", "desc": "Add the provider's host as the upstream",
                               "type": "roundrobin", "scheme": "https", "nodes": {f"localhost:{port}": 1}, **fields})
        self.plugins({})
        gw.put("routes/1", {"name": "OpenAI API route", "desc": "Create a new route", "methods": ["POST"],
                            "uri": "/openai/product/desc", "upstream_id": "1", "plugin_config_id": 1})

    def plugins(self, more, rewrite=REWRITE):
        self.gw.put("plugin_configs/1", {"plugins": {"proxy-rewrite": rewrite, **more}})

    def ask(self, headers=(), body=None):
        return self.gw.request("POST", "/openai/product/desc", headers, QUESTION if body is None else body)


@pytest.fixture
def trusting(make_gw, certs):
    return make_gw(apisix={"ssl": {"ssl_trusted_certificate": certs["ca"]}})


@pytest.fixture
def provider(make_upstream, certs):
    """A scripted provider, where a case looks at what arrives."""
    up = make_upstream(certs["context"])
    up.on("/v1/completions").reply(200, {"object": "text_completion"}, {"Content-Type": "application/json"})
    return up


@pytest.mark.quick
def test_step_4_answer_of_the_simulator(trusting, sim):
    r = Tutorial(trusting, sim.tls_port).ask()
    assert r.status == 200 and r.json["object"] == "text_completion" and r.json["choices"][0]["text"]
    assert trusting.get("/openai/product/desc").status == 404, "the route is for POST"


def test_step_4_what_the_provider_gets(trusting, provider):
    assert Tutorial(trusting, provider.port).ask({"Authorization": "Bearer mine", "X-Mine": "1"}).status == 200
    request = provider.requests[0]
    assert (request.method, request.target, request.json) == ("POST", "/v1/completions", QUESTION)
    assert request.headers.all("Host") == ["localhost"]
    assert request.headers.all("Authorization") == ["Bearer sk-of-the-provider"]
    assert request.headers.all("Content-Type") == ["application/json"] and request.headers.get("X-Mine") == "1"


@pytest.mark.quick
def test_step_5_basic_auth(trusting, provider):
    tutorial = Tutorial(trusting, provider.port)
    trusting.put("consumers", {"username": "consumer1",
                               "plugins": {"basic-auth": {"username": "username1", "password": "password1"}}})
    tutorial.plugins({"basic-auth": {}})
    r = tutorial.ask()
    assert (r.status, r.json) == (401, {"message": "Missing authorization in request"})
    assert r.headers.get("WWW-Authenticate") == 'Basic realm="basic"'
    for wrong, why in ((b"username1:password2", "Invalid user authorization"), (b"username1", "Invalid authorization in request"),
                       (b"username2:password1", "Invalid user authorization"), (b"", "Invalid authorization in request")):
        r = tutorial.ask({"Authorization": "Basic " + base64.b64encode(wrong).decode()})
        assert (r.status, r.json) == (401, {"message": why}), wrong
    assert provider.requests == []
    assert tutorial.ask(USER).status == 200
    assert provider.requests[0].headers.get("X-Consumer-Username") == "consumer1"


@pytest.mark.quick
def test_step_6_limit_count(trusting, provider):
    tutorial = Tutorial(trusting, provider.port)
    tutorial.plugins({"limit-count": LIMIT})
    for left in ("1", "0"):
        r = tutorial.ask()
        assert r.status == 200
        assert (r.headers.get("X-RateLimit-Limit"), r.headers.get("X-RateLimit-Remaining")) == ("2", left)
        assert 0 <= float(r.headers.get("X-RateLimit-Reset")) <= 60
    for _ in range(3):
        r = tutorial.ask()
        assert (r.status, r.json) == (403, {"error_msg": LIMIT["rejected_msg"]})
    assert len(provider.requests) == 2


def test_step_7_proxy_cache(trusting, provider):
    tutorial = Tutorial(trusting, provider.port)
    tutorial.plugins({"proxy-cache": CACHE})
    first, second = tutorial.ask(), tutorial.ask()
    assert [r.headers.get("Apisix-Cache-Status") for r in (first, second)] == ["MISS", "HIT"]
    assert first.status == second.status == 200 and first.body == second.body
    assert "Cache-Control" not in second.headers and "Expires" not in second.headers
    assert len(provider.requests) == 1


def test_steps_5_to_7_together(trusting, provider):
    tutorial = Tutorial(trusting, provider.port)
    trusting.put("consumers", {"username": "consumer1",
                               "plugins": {"basic-auth": {"username": "username1", "password": "password1"}}})
    tutorial.plugins({"basic-auth": {}, "limit-count": LIMIT, "proxy-cache": CACHE})
    assert tutorial.ask().status == 401, "nobody gets at the cache without credentials"
    assert tutorial.ask(USER).headers.get("Apisix-Cache-Status") == "MISS"
    assert tutorial.ask().status == 401
    assert tutorial.ask(USER).headers.get("Apisix-Cache-Status") == "HIT"
    assert len(provider.requests) == 1


def test_step_8_timeout_and_keepalive(trusting, provider):
    tutorial = Tutorial(trusting, provider.port, retries=1, retry_timeout=3, timeout={"connect": 1, "send": 1, "read": 0.4},
                        keepalive_pool={"size": 4, "idle_timeout": 1, "requests": 2})
    with trusting.connect() as w:                       # one connection, so that one thread serves all
        for _ in range(4):
            w.request("POST", "/openai/product/desc", (), QUESTION)
            assert w.response().status == 200
    assert provider.connections == 2, "two requests each"
    provider.wait("idle connections to be closed", lambda u: u.open == 0, 4)
    provider.on("/v1/completions").raw(lambda w, r: w.closed()).replies.pop(0)
    assert tutorial.ask().status == 504


@pytest.mark.parametrize("case", ["trusted", "unknown authority", "wrong name", "not verified", "none verified"])
def test_certificate_of_the_provider(make_gw, certs, provider, case):
    trust = {"ssl": {"ssl_trusted_certificate": certs["ca"]}} if case in ("trusted", "wrong name") else {}
    gw = make_gw(apisix=trust, eclusa={"upstream_tls_verify": False} if case == "none verified" else {})
    tutorial = Tutorial(gw, provider.port, **({"tls": {"verify": False}} if case == "not verified" else {}))
    if case == "wrong name":
        tutorial.plugins({}, {**REWRITE, "host": "other.example"})
    assert tutorial.ask().status == (502 if case in ("unknown authority", "wrong name") else 200)
    assert len(provider.requests) == (0 if case in ("unknown authority", "wrong name") else 1), \
        "the key must not travel to whom we do not know"


def openai(gw, **job):
    """The official client against the gateway; returns what it saw, with the milliseconds of each event."""
    job = {"baseURL": f"http://127.0.0.1:{gw.port}/v1", "model": "gpt-4o-mini", **job}
    done = subprocess.run(["node", "openai.mjs", json.dumps(job)], cwd=CLIENTS, capture_output=True, timeout=25, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def paced(trusting, make_sim):
    """Everything below /v1 goes to a simulator that sends 12 events 30 ms apart."""
    sim = make_sim("--gap", "30", "--events", "12")
    trusting.route("/v1/*", {"type": "roundrobin", "scheme": "https", "nodes": {f"localhost:{sim.tls_port}": 1}},
                   {"proxy-rewrite": {"host": "localhost", "headers": {"set": {"Authorization": "Bearer sk-x"}}}})
    return trusting


@pytest.mark.parametrize("kind", ["chat", "completions"])
def test_step_9_openai_client(paced, kind):
    got = openai(paced, kind=kind, stream=False)
    assert got["text"] and got["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("kind", ["chat", "completions"])
def test_step_9_openai_client_streams(paced, kind):
    got = openai(paced, kind=kind, stream=True)
    at = [event["at"] for event in got["events"]]
    assert got["text"] and len(at) >= 12
    assert max(at) - min(at) > 150, "spread over the 330 ms that the provider took"


def test_step_9_events_are_neither_held_nor_merged(paced):
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with paced.connect() as w:
        w.request("POST", "/v1/chat/completions", (), body)
        message = w.head()
        assert message.headers.get("Content-Type", "").startswith("text/event-stream")
        for _ in w.stream(message):
            pass
    assert message.body.endswith(b"data: [DONE]\n\n")
    arrivals = [(t, piece.count(b"data: ")) for t, piece in message.pieces]
    assert len(arrivals) >= 12
    paced_ones = arrivals[1:-2]                         # the first and last may come with their neighbours
    # On a machine that is busy the client may come late to some.
    assert sum(n == 1 for _, n in paced_ones) > len(paced_ones) / 2, arrivals
    assert paced_ones[-1][0] - paced_ones[0][0] > 0.1, arrivals
