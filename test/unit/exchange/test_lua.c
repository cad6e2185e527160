/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox for Lua: what functions may see, that none runs on or grows, and that our pattern
 * functions do what LuaJIT's do. */
#include <limits.h>

#include "fake_exchange.h"

#include "config/lua.h"
#include "exchange/lua.h"

#define REQUEST \
    "GET /c?x=1&flag&n=10 HTTP/1.1\r\nHost: shop.test:8080\r\nUser-Agent: curl/7.1\r\n\r\n"

static struct snapshot snapshot = {.version = 7};
static struct hold hold = {.snapshot = &snapshot};
static struct route_about about;
static struct route route = {.about = &about};

static enum lua_check check(const char *source, enum lua_wanted wanted, struct str *err)
{
    return lua_check(str_of(source), NULL, wanted, &fake.arena, err);
}

/* Whether a filter_func holds for the request. */
static bool holds(const char *function)
{
    struct str err, chunk = arena_join(&fake.arena, STR("return "), str_of(function));

    if (lua_check(chunk, NULL, LUA_FUNCTION, &fake.arena, &err) != LUA_CHECK_OK)
        fail_msg("%s: %.*s", function, STR_ARG(err));
    fake.ex->hold = &hold;
    about.filter = lua_source_new(&fake.arena, chunk, NULL, NULL);
    about.id = STR("r");
    return lua_filter(fake.ex, &route);
}

static void drop_vm(void)
{
    lua_vm_free(fake.worker->lua);
    fake.worker->lua = NULL;
}

static void test_check(void **state)
{
    static const struct {
        const char *source;
        enum lua_wanted wanted;
        enum lua_check result;
        const char *err;
    } rows[] = {
        {"return function(vars) return true end", LUA_FUNCTION, LUA_CHECK_OK, NULL},
        {"return function(vars return true end", LUA_FUNCTION, LUA_CHECK_FAILED,
         "[string \"return function(vars return true end\"]:1: ')' expected near 'return'"},
        {"return 1", LUA_FUNCTION, LUA_CHECK_OTHER, NULL},
        {"return {}", LUA_TABLE, LUA_CHECK_OK, NULL},
        {"nonsense", LUA_ANY, LUA_CHECK_FAILED,
         "[string \"nonsense\"]:1: '=' expected near '<eof>'"},
        {"error('not run')", LUA_ANY, LUA_CHECK_OK, NULL},
        {"while true do end", LUA_FUNCTION, LUA_CHECK_FAILED, "takes too long"},
        {"return os.execute", LUA_FUNCTION, LUA_CHECK_OTHER, NULL},
        {"\x1bLJ\x02", LUA_ANY, LUA_CHECK_FAILED, NULL}, /* bytecode */
    };
    struct str err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (check(rows[i].source, rows[i].wanted, &err) != rows[i].result)
            fail_msg("%s", rows[i].source);
        if (rows[i].err && str_search(err, str_of(rows[i].err)) < 0)
            fail_msg("%s: %.*s", rows[i].source, STR_ARG(err));
    }
}

static void test_variables(void **state)
{
    static const struct {
        const char *function;
        bool holds;
    } rows[] = {
        {"function(vars) return vars.arg_x == '1' end", true},
        {"function(vars) return vars['arg_x'] == '2' end", false},
        {"function(vars) return vars.arg_x end", true},
        {"function(vars) return vars.arg_none end", false},
        {"function(vars) return vars.arg_none == nil and vars[1] == nil and vars[{}] == nil end",
         true},
        {"function(vars) return vars.arg_flag == true end", true},
        {"function(vars) return tonumber(vars.arg_n) > 9 end", true},
        {"function(vars) return vars.uri .. vars.request_method == '/cGET' end", true},
        {"function(vars) return vars.http_user_agent:find('^curl/%d') == 1 end", true},
        {"function(vars, opts) return opts.vars == vars and opts.host == 'shop.test' and "
         "opts.method == 'GET' and opts.remote_addr == '10.1.2.3' end",
         true},
        {"function(vars, opts, ctx) return ctx.var == vars end", true},
        {"function(vars) vars.mine = 5 return vars.mine == '5' end", true},
        {"function(vars) vars.b = true vars.c = {} vars.d = nil return vars.b == 'true' and "
         "vars.c == nil end",
         true},
        {"function() return 0 end", true},
        {"function() return false end", false},
        {"function() end", false},
        {"function() error('x') end", false},
        {"function(vars) return vars.x.y end", false},
        {"function() error(12345) end", false},
        {"function() error({}) end", false},
        {"function() error() end", false},
        {"function() local s = 'x' pcall(function() while true do s = s .. s end end) error(1.5) "
         "end",
         false},
    };

    (void)state;
    fake_request(REQUEST);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (holds(rows[i].function) != rows[i].holds)
            fail_msg("%s", rows[i].function);
    drop_vm();
}

/* Each returns true when nothing is amiss. */
static void test_sandbox(void **state)
{
    static const char *const rows[] = {
        "function() return io == nil and debug == nil and ffi == nil and jit == nil end",
        "function() return require == nil and package == nil and load == nil end",
        "function() return loadstring == nil and loadfile == nil and dofile == nil end",
        "function() return getfenv == nil and setfenv == nil and newproxy == nil end",
        "function() return collectgarbage == nil and print == nil and _G == nil end",
        "function() return os.execute == nil and os.getenv == nil and os.exit == nil end",
        "function() return string.dump == nil and (''):len() == 0 and ('').dump == nil end",
        "function() return getmetatable('') == false end",
        "function(vars) return getmetatable(vars) == false and getmetatable(string) == false end",
        "function() return not pcall(function() string.find = 1 end) and string.find ~= 1 end",
        "function() return not pcall(setmetatable, string, {}) end",
        "function() return type(os.time()) == 'number' and math.floor(1.5) == 1 end",
        "function() return bit.band(6, 3) == 2 and select('#', unpack({1, 2})) == 2 end",
        "function() mine = 1 return mine == 1 end",
        "function() return mine == nil end", /* another function's global */
        "function() local ok, e = xpcall(error, function(e) return e .. '!' end, 'x') "
        "return not ok and e == 'x!' end",
        "function() return (xpcall(function(a) return a end, print, 1)) end",
        "function() local co = coroutine.wrap(function() coroutine.yield(1) end) "
        "return co() == 1 end",
    };

    (void)state;
    fake_request(REQUEST);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (!holds(rows[i]))
            fail_msg("%s", rows[i]);
    drop_vm();
}

/* Each would run on, or grow, for ever; and the next function runs as if nothing had been. */
static void test_bounds(void **state)
{
    static const char *const rows[] = {
        "function() while true do end end",
        "function() while true do pcall(function() while true do end end) end end",
        "function() local function f() while true do pcall(f) end end "
        "while true do pcall(coroutine.wrap(f)) end end",
        "function() local co = coroutine.create(function() while true do end end) "
        "while true do coroutine.resume(co) co = coroutine.create(function() while true do end "
        "end) "
        "end end",
        "function() local function f() while true do coroutine.resume(coroutine.create(f)) end end "
        "f() end",
        "function() local function f() while true do pcall(coroutine.wrap(f)) end end f() end",
        "function() local function f() while true do pcall(f) end end while true do pcall(f) end "
        "end",
        "function() while true do xpcall(function() while true do end end, "
        "function() while true do end end) end end",
        "function() local function f() return f() end return f() end",
        "function() local function f() return 1 + f() end return f() end",
        "function() local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end end",
        "function() local t = {} while true do pcall(function() for i = 1, 1e9 do "
        "t[#t + 1] = ('x'):rep(1000) .. i end end) end end",
        "function() return ('x'):rep(1e9) end",
        "function() return (''):rep(1e18) end",
        "function(vars) local s = ('x'):rep(1e6) while true do vars.x = s end end",
        "function(vars) while true do pcall(function() return vars.request_uri end) end end",
        "function() local s = 'x' while true do s = s .. s end end",
        "function() return ('a'):rep(30000):find('.-.-.-.-b') end",
        "function() return ('a'):rep(30):find(('a?'):rep(30) .. ('a'):rep(30) .. 'b') end",
        "function() return ('a'):rep(60000):gsub('.-b', '') and nil end",
        "function() for _ in ('a'):rep(60000):gmatch('.-b') do end end",
        "function() return ('('):rep(1000):find(('('):rep(1000)) end",
        "function() return ('x'):rep(1000):find(('x?'):rep(1000)) end",
        "function() return setmetatable({}, {__index = function(t, k) return t[k] end}).x end",
        "function() local t = {} for i = 1, 1e9 do t[i] = i end table.sort(t) end",
    };

    (void)state;
    fake_request(REQUEST);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (holds(rows[i]))
            fail_msg("%s", rows[i]);
        if (!holds("function(vars) return vars.arg_x == '1' end"))
            fail_msg("after %s", rows[i]);
    }
    drop_vm();
}

/* A value that is nested as deep as JSON may be. */
static void test_deep_value(void **state)
{
    char body[2048] = "{\"a\":";
    size_t n = strlen(body);

    (void)state;
    fake_request("POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
                 "Content-Length: 9\r\n\r\n");
    memset(body + n, '[', 900);
    memset(body + n + 900, ']', 900);
    memcpy(body + n + 1800, "}", 2);
    fake.config.post_arg_max = 65536;
    fake.ex->body_done = fake.ex->body_kept = true;
    assert_true(buf_add(&fake.ex->body, str_of(body)));
    assert_false(holds("function(vars) return vars['post_arg.a'] end"));
    fake.ex->body_view = NULL;
    fake.ex->body_replaced = true;
    fake.ex->new_body = STR("{\"a\":[1,{\"b\":[null,false,\"x\"]}]}");
    assert_true(holds("function(vars) local a = vars['post_arg.a'] return a[1] == 1 and "
                      "a[2].b[2] == false and a[2].b[3] == 'x' and a[2].b[1] ~= nil end"));
    drop_vm();
}

/* Many functions come and go: what a state keeps of them stays bounded. */
static void test_many_functions(void **state)
{
    char source[4096];
    int given_up = 0;

    (void)state;
    fake_request(REQUEST);
    for (int i = 0; i < 10000; i++) {
        int n = snprintf(source, sizeof(source), "function() local x = '%d", i);
        memset(source + n, 'x', 2000);
        snprintf(source + n + 2000, sizeof(source) - (size_t)n - 2000,
                 "' keep = keep or (x):rep(5) return true end");
        assert_true(holds(source));
        if (!fake.worker->lua) /* it had grown too large */
            given_up++;
        else
            assert_true(lua_vm_bytes(fake.worker->lua) < (32 << 20));
        if (given_up && fake.worker->lua && lua_vm_bytes(fake.worker->lua) > (4 << 20))
            break;
    }
    assert_int_equal(given_up, 1);
    /* After a change those that have gone are not kept for long. */
    assert_true(lua_vm_bytes(fake.worker->lua) > (4 << 20));
    snapshot.version++;
    assert_true(holds("function() return true end"));
    assert_true(lua_vm_bytes(fake.worker->lua) < (1 << 20));
    drop_vm();
}

/* ---- Patterns: the same as LuaJIT's own ---- */

static void *allocate(void *arg, void *p, size_t had, size_t want)
{
    (void)arg;
    (void)had;
    if (want)
        return realloc(p, want);
    free(p);
    return NULL;
}

static const char differential[] =
    "local own, cases = own, 0\n"
    "local function show(ok, ...)\n"
    "  local out = {tostring(ok)}\n"
    "  for i = 1, select('#', ...) do out[#out + 1] = tostring((select(i, ...))) end\n"
    "  return table.concat(out, '|'):gsub('^false|[^:]*:%d+: ', 'false|')\n"
    "end\n"
    "local function same(name, ...)\n"
    "  local a, b = show(pcall(string[name], ...)), show(pcall(own[name], ...))\n"
    "  cases = cases + 1\n"
    "  if a ~= b and not (a:find('^false') and b:find('^false')) then\n"
    "    error(name .. '(' .. show(...) .. '): ' .. a .. ' but ' .. b, 0)\n"
    "  end\n"
    "end\n"
    "local subjects = {'', 'a', 'hello world', 'key = value', '(a(b)c)d', 'THE (quick) fox',\n"
    "  'aaa', 'x-1.5e3', 'a\\0b', '  trim  ', 'one;two;;four', '[]^$', 'abcabc', 'a.b.c', '%d'}\n"
    "local patterns = {'', 'a', '.', '.*', '.-', '.+', '^', '$', '^$', '^a', 'a$', 'a*', 'a-', "
    "'a?',\n"
    "  '%a+', '%d+', '%s*', '%S+', '%w', '%W', '%p', '%u', '%l+', '%x', '%c', '%z', '%.', '%%',\n"
    "  '[abc]', '[^abc]+', '[a-c]+', '[%w_]+', '[]]', '[^]]', '[a-]', '[-a]', '[%]]', '[^%s]',\n"
    "  '(a)', '(.)(.)', '()', '(a*)(.-)$', '((a)(b))', '(%w+)%s*=%s*(%w+)', '^%s*(.-)%s*$', "
    "'%b()',\n"
    "  '%bxy', '(.)%1', '(.-)%1', '%f[%w]%w+', '%f[^%w]', '%f[%a]()', '([^;]*);?', 'a.-b', '.-;',\n"
    "  '(', ')', '%', '[', '[a', '[^', '%b', '%bx', '%f', '%1', '(a)%2', '(()', '*', '+a', '-', "
    "'?',\n"
    "  '^^', 'a^', '$a', '%$', '[[:a]]', 'x*x*x', '(a?)(a?)(a?)$', 'l+o?', '()l()', '[%', "
    "'%a-%d'}\n"
    "for _, s in ipairs(subjects) do\n"
    "  for _, p in ipairs(patterns) do\n"
    "    same('find', s, p) same('match', s, p)\n"
    "    for _, at in ipairs {-100, -2, -1, 0, 1, 2, 3, 100} do\n"
    "      same('find', s, p, at) same('match', s, p, at) same('find', s, p, at, true)\n"
    "    end\n"
    "    for _, r in ipairs {'', '<%0>', '%1', '%2%1', '%%', 'x', '%9'} do\n"
    "      same('gsub', s, p, r) same('gsub', s, p, r, 1) same('gsub', s, p, r, 0)\n"
    "    end\n"
    "    same('gsub', s, p, {a = 'A', b = false, hello = 7})\n"
    "    same('gsub', s, p, function(x, y) if x ~= 'a' then return y end end)\n"
    "    same('gsub', s, p, function() return 1 end, 2)\n"
    "    same('gsub', s, p, function() return {} end)\n"
    "    local function all(gmatch)\n"
    "      local out = {}\n"
    "      for x, y in gmatch(s, p) do out[#out + 1] = tostring(x) .. ',' .. tostring(y) end\n"
    "      return table.concat(out, ';')\n"
    "    end\n"
    "    local a, b = show(pcall(all, string.gmatch)), show(pcall(all, own.gmatch))\n"
    "    if a ~= b and not (a:find('^false') and b:find('^false')) then\n"
    "      error('gmatch ' .. s .. ' ' .. p .. ': ' .. a .. ' but ' .. b, 0)\n"
    "    end\n"
    "  end\n"
    "end\n"
    "same('gsub', 'a', 'a') same('gsub', 'a', 'a', true) same('find') same('match', 'a')\n"
    "same('find', 12, 2) same('gsub', 123, 2, 9)\n"
    "return cases\n";

static void test_patterns(void **state)
{
    struct lua_vm vm = {.steps = LONG_MAX, .stack = (uintptr_t)__builtin_frame_address(0)};
    unsigned steps = 100000000;
    struct str err;

    (void)state;
    assert_true(lua_load_library(&fake.arena, &err));
    lua_State *L = lj.newstate(allocate, &vm); /* pattern functions look into it */
    lj.openlibs(L);
    lj.createtable(L, 0, 0);
    lua_open_patterns(L, &steps);
    lj.setfield(L, LUA_GLOBALSINDEX, "own");
    assert_int_equal(
        lj.loadbufferx(L, differential, sizeof(differential) - 1, "=differential", "t"), 0);
    if (lj.pcall(L, 0, 1, 0))
        fail_msg("%s", lj.tolstring(L, -1, NULL));
    assert_true(lj.tointeger(L, -1) > 10000);
    lj.close(L);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_check),  TEST(test_variables),  TEST(test_sandbox),        TEST(test_patterns),
        TEST(test_bounds), TEST(test_deep_value), TEST(test_many_functions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
