# SPDX-License-Identifier: Apache-2.0
"""Lua that a configuration brings: filter_func of routes, _meta.pre_function of plugins, in their sandbox."""
import pytest

import wire
from test_routing import JSON, marked, routed

pytestmark = [pytest.mark.asan]


def put(gw, upstream, **fields):
    return gw.admin("PUT", "routes/1", {"uri": "/*", "upstream": {"type": "roundrobin", "nodes": {upstream.node: 1}},
                                        **fields})


@pytest.mark.quick
def test_filter_func(gw, upstream):
    gw.route("/*", upstream, marked("one"), priority=3, filter_func="function(vars) return vars['arg_x'] == '1' end")
    gw.route("/*", upstream, marked("curl"), priority=2, vars=[["http_x_ask", "==", "1"]],
             filter_func="function(vars) return vars.http_user_agent and vars.http_user_agent:find('^curl/') end")
    gw.route("/*", upstream, marked("rest"))
    assert routed(gw, "/?x=1") == "one"
    assert routed(gw, "/?x=2") == "rest"
    assert routed(gw, "/", headers={"User-Agent": "curl/8"}) == "rest"
    assert routed(gw, "/", headers={"User-Agent": "curl/8", "X-Ask": "1"}) == "curl"


def test_filter_func_asks_for_the_body(gw, upstream):
    gw.route("/*", upstream, marked("long"), priority=1,
             filter_func="function(vars) local m = vars['post_arg.messages'] return m and #m > 1 end")
    gw.route("/*", upstream, marked("rest"))
    assert routed(gw, "/", "POST", JSON, b'{"messages": [1, 2]}') == "long"
    assert routed(gw, "/", "POST", JSON, b'{"messages": [1]}') == "rest"
    assert routed(gw, "/") == "rest"
    assert upstream.requests[0].body == b'{"messages": [1, 2]}'


@pytest.mark.parametrize("source, why", [
    ("function(vars return true end",
     "failed to load 'filter_func' string: [string \"return function(vars return true end\"]:1: "
     "')' expected near 'return'"),
    ("function(vars) end return", "failed to load 'filter_func' string"),
    ("func(vars) return 1", "invalid configuration: property \"filter_func\" validation failed"),
])
def test_filter_func_refused(gw, upstream, source, why):
    reply = put(gw, upstream, filter_func=source)
    assert reply.status == 400 and why in reply.json["error_msg"]


def test_filter_func_that_fails_does_not_match(gw, upstream):
    """An error, a loop, a flood of bytes: no match, a line that names the route, and no flood of lines."""
    for n, body in enumerate(("error('broken')", "while true do end", "local s = 'x' while true do s = s .. s end"), 1):
        gw.route("/*", upstream, marked("bad"), id=f"bad-{n}", priority=n, filter_func=f"function(vars) {body} end")
    gw.route("/*", upstream, marked("rest"), id="rest")
    for _ in range(40):
        assert routed(gw, "/") == "rest"
    wire.wait_until("the log", lambda: "filter_func of route bad-2 failed: takes too long" in gw.log)
    assert "filter_func of route bad-1 failed: [string" in gw.log and "not enough memory" in gw.log
    assert gw.log.count("filter_func of route") < 60


def test_filter_func_changes_and_goes(gw, upstream):
    for n in range(30):
        put(gw, upstream, plugins=marked(f"r{n}"), filter_func=f"function(vars) return vars.arg_n == '{n}' end")
        assert routed(gw, f"/?n={n}") == f"r{n}"
        assert routed(gw, f"/?n={n - 1}") is None
    put(gw, upstream, plugins=marked("all"))
    assert routed(gw, "/") == "all"


def test_pre_function(gw, upstream):
    """Runs before each of the plugin's phases, sees its configuration, and may set variables that it uses."""
    gw.route("/*", upstream, {
        "limit-count": {"count": 1, "time_window": 60, "key": "tier", "rejected_code": 429,
                        "_meta": {"pre_function": "return function(conf, ctx) "
                                                  "ctx.var.tier = (ctx.var.arg_user or '?') .. conf.count end"}},
        "response-rewrite": {"headers": {"set": {"X-Tier": "$tier"}}}})
    assert gw.get("/?user=a").headers.get("X-Tier") == "a1"
    assert gw.get("/?user=a").status == 429
    assert gw.get("/?user=b").status == 200


def test_pre_function_that_fails(gw, upstream):
    gw.route("/*", upstream, {"response-rewrite": {
        "headers": {"set": {"X-Route": "here"}},
        "_meta": {"pre_function": "return function(conf, ctx) error('broken') end"}}})
    assert gw.get("/").headers.get("X-Route") == "here"
    wire.wait_until("the log", lambda: "pre_function execution for plugin response-rewrite failed" in gw.log)


def test_pre_function_and_waiting(gw, upstream):
    """A phase that waits is called again; what runs before it is not."""
    gw.route("/*", upstream, {"proxy-cache": {
        "cache_strategy": "disk", "cache_zone": "disk_cache_one", "cache_key": ["$uri", "$tried"],
        "_meta": {"pre_function": "return function(conf, ctx) ctx.var.tried = (ctx.var.tried or '') .. 'x' end"}}},)
    assert gw.get("/").status == 200


def test_pre_function_refused(gw, upstream):
    reply = put(gw, upstream, plugins={"response-rewrite": {"_meta": {"pre_function": "return function( end"}}})
    assert reply.status == 400
    assert reply.json["error_msg"].startswith(
        'failed to load _meta.pre_function in plugin response-rewrite: [string "meta pre_function"]:1: ')


def test_script_is_refused(gw, upstream):
    for script, why in (("return {{{{{}}", "failed to load 'script' string: [string \"return {{{{{}}\"]:1: "),
                        ("return { access = 1 }", "script is not supported by this version")):
        reply = gw.admin("PUT", "routes/1", {"uri": "/*", "script": script})
        assert reply.status == 400 and reply.json["error_msg"].startswith(why)


def mapped(gw):
    with open(f"/proc/{gw.process.pid}/maps", encoding="utf-8") as f:
        return "luajit" in f.read()


def test_loaded_only_when_it_is_used(gw, upstream):
    gw.route("/*", upstream, marked("rest"))
    assert routed(gw, "/") == "rest" and not mapped(gw)
    gw.route("/*", upstream, marked("one"), priority=1, filter_func="function() return true end")
    assert routed(gw, "/") == "one" and mapped(gw)
