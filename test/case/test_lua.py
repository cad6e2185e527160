# SPDX-License-Identifier: Apache-2.0
"""Lua that a configuration brings: filter_func of routes, _meta.pre_function of plugins, in their sandbox."""
import time

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
    began = time.monotonic()
    for _ in range(40):
        assert routed(gw, "/") == "rest"
    seconds = time.monotonic() - began
    gw.wait_log("filter_func of route bad-2 failed: takes too long")
    gw.wait_log("filter_func of route bad-1 failed: [string", "not enough memory")
    assert gw.log.count("filter_func of route") <= 5 * 2 * (seconds + 1), "five lines for each worker and second"


@pytest.mark.parametrize("body, why", [
    # The thread's stack: each level is a coroutine with a stack of its own.
    ("local co, res, n, g = coroutine.create, coroutine.resume, 0 "
     "local function f() return (('x'):gsub('x', g)) end "
     "g = function() n = n + 1 if n % 50 == 0 then assert(res(co(f))) else f() end end f()", "stack overflow"),
    ("local function f() return (('x'):gsub('x', coroutine.wrap(f))) end f()", "stack overflow"),
    ("local function f() table.sort({1, 2}, f) end f()", "overflow"),
    # One step of the interpreter each, which took seconds.
    ("table.insert({}, -2^31, 1)", "takes too long"),
    ("('x'):rep(10000):find('[' .. ('a'):rep(1000000) .. ']')", "takes too long"),
    ("('x'):rep(10000):find('%f[' .. ('a'):rep(1000000) .. ']')", "takes too long"),
    ("local t = {} for i = 1, 100000 do t[i] = i end while true do table.sort(t, rawequal) end", "takes too long"),
    # What all functions share.
    ("rawset(string, 'rep', error)", "read-only table"),
    ("rawset(vars, 'uri', '/other')", "read-only table"),
    ("table.insert(vars, '/other')", "read-only table"),
], ids=range(10))
def test_filter_func_within_bounds(gw, upstream, body, why):
    gw.route("/*", upstream, marked("bad"), id="bad", priority=1, filter_func=f"function(vars) {body} return true end")
    gw.route("/*", upstream, marked("rest"), id="rest")
    for _ in range(3):
        assert routed(gw, "/") == "rest"
    gw.wait_log("filter_func of route bad failed: ")
    gw.wait_log(why)


def test_filter_func_uses_its_libraries(gw, upstream):
    """What bounds them leaves what they do."""
    gw.route("/*", upstream, marked("ok"), filter_func="""function(vars)
        local t = {3, 1, 2}
        table.sort(t)
        table.insert(t, 9)
        table.insert(t, 1, 0)
        table.insert(t, 3, 'z')
        assert(table.concat(t, ',') == '0,1,z,2,3,9')
        table.sort(t, function(a, b) return tostring(a) > tostring(b) end)
        assert(table.concat(t, ',') == 'z,9,3,2,1,0')
        assert(not pcall(table.insert, t) and not pcall(table.insert, nil, 1) and not pcall(table.sort, t))
        local next = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end)
        assert(next(1) == 2 and next(5) == 10)
        local co = coroutine.create(function(a) error('x' .. a, 0) end)
        local ok, err = coroutine.resume(co, 1)
        assert(not ok and err == 'x1')
        local own = rawset({}, 'x', 1)
        assert(own.x == 1 and ('a-b_c'):match('^[%w_%-]+$') == 'a-b_c')
        return true
    end""")
    assert routed(gw, "/") == "ok"


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
    gw.wait_log("pre_function execution for plugin response-rewrite failed")


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
