/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox: LuaJIT without its compiler, since the hook that counts steps does not run in
 * compiled code, with an allocator that counts bytes, and a few safe libraries. */
#include "config/lua.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/panic.h"

enum {
    STEPS = 1000000,   /* of the interpreter, for a call */
    PCALL_STEPS = 100, /* that a pcall counts as */
    HOOK_STEPS = 200,  /* between two looks at the clock */
    PATTERN_STEPS = 2000000,
    CPU_MS = 50,             /* for a call */
    GROWTH = 4 << 20,        /* bytes that a call may take */
    STACK_BYTES = 256 << 10, /* of the thread's stack, where a call stops to nest */
    STATE_BYTES = 32 << 20,  /* a state that keeps more is given up */
};

/* Places in the registry, by number, behind those that luaL_ref gives out. */
enum {
    REG_FUNCTIONS = 1 << 20, /* by lua_source.id */
    REG_CONFS,               /* the same */
    REG_ENV,
    REG_VARS,
    REG_OPTIONS,
    REG_CONTEXT,
};

/* ---- Bounds ---- */

static void *allocate(void *arg, void *p, size_t had, size_t want)
{
    struct lua_vm *vm = arg;

    had = p ? had : 0;
    if (want > had && vm->used + (want - had) > vm->limit)
        return NULL;
    vm->used = vm->used + want - had;
    if (!want) {
        free(p);
        return NULL;
    }
    return mem_resize(p, want);
}

static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

struct lua_vm *lua_vm_of(lua_State *L)
{
    void *vm;

    lj.getallocf(L, &vm);
    return vm;
}

size_t lua_vm_bytes(const struct lua_vm *vm)
{
    return vm->used;
}

static void on_steps(lua_State *L, lua_Debug *ar);

void lua_vm_spend(lua_State *L, size_t steps, bool look)
{
    struct lua_vm *vm = lua_vm_of(L);

    /* LuaJIT bounds each coroutine's stack, not the thread's, on which all of them nest. */
    if (vm->stack - (uintptr_t)__builtin_frame_address(0) > STACK_BYTES)
        lj.error(L, "stack overflow");
    vm->steps -= (long)steps;
    if (vm->steps > 0 && !look)
        return;
    /* Most calls are over before they need to look at the clock. */
    int64_t now = cpu_us();
    vm->cpu_end_us = vm->cpu_end_us ? vm->cpu_end_us : now + CPU_MS * 1000;
    if (vm->steps > 0 && now < vm->cpu_end_us)
        return;
    /* From now on at each step: a pcall around the loop catches one error, not the next. */
    vm->steps = 0;
    lj.sethook(L, on_steps, LUA_MASKCOUNT, 1);
    lj.error(L, "takes too long");
}

static void on_steps(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    lua_vm_spend(L, HOOK_STEPS, true);
}

/* In front of what takes of the thread's stack, and of each pcall: at the end of Lua's stack the
 * hook has no room. It raises an error of its own there, and functions that call each other through
 * pcall could catch that for ever. */
static int tick(lua_State *L)
{
    lua_vm_spend(L, PCALL_STEPS, false);
    return 0;
}

static int on_panic(lua_State *L)
{
    (void)L;
    PANIC("an error in Lua outside of a protected call");
}

/* ---- Values ---- */

enum { JSON_DEPTH = 100 };

static void push_json(lua_State *L, const json_t *v, int depth)
{
    union {
        const json_t *in;
        json_t *out;
    } node = {v};
    const char *key;
    json_t *child;
    size_t i;

    if (depth == JSON_DEPTH)
        lj.error(L, "nested too deeply");
    lj.checkstack(L, 4, "nested too deeply");
    switch (v ? json_typeof(v) : JSON_NULL) {
    case JSON_STRING:
        lj.pushlstring(L, json_string_value(v), json_string_length(v));
        return;
    case JSON_INTEGER:
    case JSON_REAL:
        lj.pushnumber(L, json_number_value(v));
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        lj.pushboolean(L, json_is_true(v));
        return;
    case JSON_NULL:
        lj.pushlightuserdata(L, NULL); /* as cjson's null */
        return;
    case JSON_OBJECT:
    case JSON_ARRAY:
        break;
    }
    lj.createtable(L, 0, 0);
    json_object_foreach(node.out, key, child)
    {
        push_json(L, child, depth + 1);
        lj.setfield(L, -2, key);
    }
    json_array_foreach(node.out, i, child)
    {
        push_json(L, child, depth + 1);
        lj.rawseti(L, -2, (int)i + 1);
    }
}

void lua_push_json(lua_State *L, const json_t *v)
{
    push_json(L, v, 0);
}

/* ---- The sandbox ---- */

/* string.rep, which would work at length inside of one step; its own is the upvalue. */
static int bounded_rep(lua_State *L)
{
    enum { LONGEST = 1 << 20 };
    size_t n;

    lj.checklstring(L, 1, &n);
    ptrdiff_t times = lj.checkinteger(L, 2);
    if (times > 0 && (n == 0 ? times > LONGEST : (size_t)times > LONGEST / n))
        return lj.error(L, "resulting string too large");
    lj.settop(L, 2);
    lj.pushvalue(L, lua_upvalueindex(1));
    lj.insert(L, 1);
    lj.call(L, 2, 1);
    return 1;
}

/* table.insert, which moves what is behind the place inside of one step; its own is the upvalue. */
static int bounded_insert(lua_State *L)
{
    enum { MOVES = 16 }; /* that count as a step */
    int n = lj.gettop(L);

    if (n > 2) {
        double moves = (double)lj.objlen(L, 1) - (double)lj.checkinteger(L, 2);
        if (moves > 0)
            lua_vm_spend(L, moves < MOVES * (double)STEPS ? (size_t)moves / MOVES : STEPS, false);
    }
    lj.pushvalue(L, lua_upvalueindex(1));
    lj.insert(L, 1);
    lj.call(L, n, 0);
    return 0;
}

/* What functions see as their globals. The libraries' own tables stay out of reach: what one
 * function changes, another must not meet. */
static const char sandbox[] =
    "local index, newindex, tick = ...\n"
    "local raw_pcall, setmetatable, error = pcall, setmetatable, error\n"
    "local getmetatable, rawset = getmetatable, rawset\n"
    "local function pcall(...) tick() return raw_pcall(...) end\n"
    "local function locked(t)\n"
    "  return setmetatable({}, {__index = t, __metatable = false,\n"
    "    __newindex = function() error('read-only table', 2) end})\n"
    "end\n"
    "local function some(t, names)\n"
    "  local out = {}\n"
    "  for _, name in ipairs(names) do out[name] = t[name] end\n"
    "  return out\n"
    "end\n"
    "local function own(t)\n"
    "  if getmetatable(t) == false then error('read-only table', 3) end\n"
    "  return t\n"
    "end\n"
    "local insert, sort = table.insert, table.sort\n"
    "function table.insert(t, ...) return insert(own(t), ...) end\n"
    /* A comparison of our own is steps, which the hook counts. */
    "function table.sort(t, f)\n"
    "  tick()\n"
    "  if f == nil then return sort(t, function(a, b) return a < b end) end\n"
    "  return sort(t, function(a, b) return (f(a, b)) end)\n"
    "end\n"
    "local gsub = string.gsub\n"
    "function string.gsub(...) tick() return gsub(...) end\n"
    "local resume, wrap = coroutine.resume, coroutine.wrap\n"
    "function coroutine.resume(...) tick() return resume(...) end\n"
    "function coroutine.wrap(f)\n"
    "  local next = wrap(f)\n"
    "  return function(...) tick() return next(...) end\n"
    "end\n"
    "string.dump = nil\n"
    "getmetatable('').__metatable = false\n"
    "local env = some(_G, {'assert', 'error', 'ipairs', 'next', 'pairs', 'rawequal',\n"
    "  'rawget', 'select', 'setmetatable', 'getmetatable', 'tonumber', 'tostring', "
    "'type',\n"
    "  'unpack'})\n"
    "env.pcall = pcall\n"
    "function env.rawset(t, k, v) return rawset(own(t), k, v) end\n"
    "local function handle(h, ok, ...)\n"
    "  if ok then return true, ... end\n"
    "  return false, h((...))\n"
    "end\n"
    "function env.xpcall(f, h, ...) return handle(h, pcall(f, ...)) end\n"
    "env.string = locked(string)\n"
    "env.table = locked(table)\n"
    "env.math = locked(some(math, {'abs', 'acos', 'asin', 'atan', 'atan2', 'ceil', 'cos', 'cosh',\n"
    "  'deg', 'exp', 'floor', 'fmod', 'frexp', 'huge', 'ldexp', 'log', 'log10', 'max', 'min',\n"
    "  'modf', 'pi', 'pow', 'rad', 'random', 'sin', 'sinh', 'sqrt', 'tan', 'tanh'}))\n"
    "env.bit = locked(bit)\n"
    "env.coroutine = locked(coroutine)\n"
    "env.os = locked(some(os, {'clock', 'date', 'difftime', 'time'}))\n"
    "env._VERSION = _VERSION\n"
    "local meta = {__index = index, __newindex = newindex, __metatable = false}\n"
    "local vars = setmetatable({}, meta)\n"
    "return locked(env), vars, setmetatable({vars = vars}, meta), setmetatable({var = vars}, "
    "meta)\n";

static void push_function(lua_State *L, lua_CFunction f)
{
    lj.pushcclosure(L, f, 0);
}

struct set_up {
    struct lua_vm *vm;
    lua_CFunction index, newindex;
};

/* In a protected call: the libraries, and what stands in the registry. */
static int set_up(lua_State *L)
{
    struct set_up *s = lj.touserdata(L, 1);

    lj.openlibs(L);
    /* Behind the libraries: the jit one turns it on. */
    lj.setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    lj.getfield(L, LUA_GLOBALSINDEX, "string");
    lua_open_patterns(L, &s->vm->pattern_steps);
    lj.getfield(L, -1, "rep");
    lj.pushcclosure(L, bounded_rep, 1);
    lj.setfield(L, -2, "rep");
    lj.getfield(L, LUA_GLOBALSINDEX, "table");
    lj.getfield(L, -1, "insert");
    lj.pushcclosure(L, bounded_insert, 1);
    lj.setfield(L, -2, "insert");
    lj.settop(L, 0);
    for (int at = REG_FUNCTIONS; at <= REG_CONFS; at++) {
        lj.createtable(L, 0, 0);
        lj.rawseti(L, LUA_REGISTRYINDEX, at);
    }
    if (lj.loadbufferx(L, sandbox, sizeof(sandbox) - 1, "=sandbox", "t"))
        return lj.error(L, "%s", lj.tolstring(L, -1, NULL));
    push_function(L, s->index);
    push_function(L, s->newindex);
    push_function(L, tick);
    lj.call(L, 3, 4);
    for (int at = REG_CONTEXT; at >= REG_ENV; at--)
        lj.rawseti(L, LUA_REGISTRYINDEX, at);
    return 0;
}

void lua_vm_free(struct lua_vm *vm)
{
    if (!vm)
        return;
    if (vm->L) {
        vm->limit = SIZE_MAX;
        lj.close(vm->L);
    }
    free(vm);
}

/* Calls f protected, within a call's bounds. False: the message is on the stack. */
bool lua_vm_call(struct lua_vm *vm, lua_CFunction f, void *arg)
{
    vm->stack = (uintptr_t)__builtin_frame_address(0);
    vm->steps = STEPS;
    vm->pattern_steps = PATTERN_STEPS;
    vm->cpu_end_us = 0;
    vm->limit = vm->used + GROWTH;
    lj.sethook(vm->L, on_steps, LUA_MASKCOUNT, HOOK_STEPS);
    int failed = lj.cpcall(vm->L, f, arg);
    lj.sethook(vm->L, NULL, 0, 0);
    vm->limit = SIZE_MAX;
    return !failed;
}

const char *lua_vm_error(const struct lua_vm *vm)
{
    if (lj.type(vm->L, -1) == LUA_TSTRING)
        return lj.tolstring(vm->L, -1, NULL);
    return "(error object is not a string)";
}

struct lua_vm *lua_vm_new(lua_CFunction index, lua_CFunction newindex)
{
    struct lua_vm *vm = mem_zero(sizeof(*vm));
    struct set_up s = {vm, index, newindex};

    vm->limit = GROWTH;
    vm->L = lj.newstate(allocate, vm);
    if (!vm->L) {
        lua_vm_free(vm);
        return NULL;
    }
    lj.atpanic(vm->L, on_panic);
    if (lj.cpcall(vm->L, set_up, &s) == 0)
        return vm;
    log_error("Lua: the sandbox could not be made: %s", lua_vm_error(vm));
    lua_vm_free(vm);
    return NULL;
}

/* After a call: nothing stays on the stack, and a state that has grown is collected or given up. */
void lua_vm_settle(struct lua_vm **at)
{
    struct lua_vm *vm = *at;

    vm->owner = NULL;
    lj.settop(vm->L, 0);
    vm->limit = SIZE_MAX;
    if (vm->used < STATE_BYTES)
        return;
    lj.gc(vm->L, LUA_GCCOLLECT, 0);
    /* So that the next collection is not the next call's. */
    if (vm->used < STATE_BYTES / 4 * 3)
        return;
    lua_vm_free(vm);
    *at = NULL;
}

/* ---- The builder's side ---- */

/* Loads a chunk with the sandbox as its globals. */
static void load(lua_State *L, struct str chunk, const char *name)
{
    if (lj.loadbufferx(L, chunk.p, chunk.n, name, "t"))
        lj.error(L, "%s", lj.tolstring(L, -1, NULL));
    /* Globals that it sets are its own. */
    lj.createtable(L, 0, 0);
    lj.createtable(L, 0, 0);
    lj.rawgeti(L, LUA_REGISTRYINDEX, REG_ENV);
    lj.setfield(L, -2, "__index");
    lj.setmetatable(L, -2);
    lj.setfenv(L, -2);
}

struct check {
    struct str chunk;
    const char *name;
    int type; /* wanted of what the chunk returns; LUA_TNONE: it is not run */
    bool loaded, fits;
};

static int check_chunk(lua_State *L)
{
    struct check *c = lj.touserdata(L, 1);

    load(L, c->chunk, c->name);
    c->loaded = true;
    if (c->type != LUA_TNONE) {
        lj.call(L, 0, 1);
        c->fits = lj.type(L, -1) == c->type;
    }
    return 0;
}

/* There are no variables while a chunk is loaded. */
static int nothing(lua_State *L)
{
    (void)L;
    return 0;
}

/* Documents are checked on the builder's thread; the lock is for tests with several builders. */
static struct {
    pthread_mutex_t lock;
    struct lua_vm *vm;
} checker = {.lock = PTHREAD_MUTEX_INITIALIZER};

static enum lua_check check_run(struct check *c, struct arena *a, struct str *err)
{
    if (!checker.vm && lua_load_library(a, err))
        checker.vm = lua_vm_new(nothing, nothing);
    if (!checker.vm)
        return LUA_CHECK_FAILED;
    bool ok = lua_vm_call(checker.vm, check_chunk, c);
    if (!ok)
        *err = arena_str(a, str_of(lua_vm_error(checker.vm)));
    lua_vm_settle(&checker.vm);
    if (!ok)
        return LUA_CHECK_FAILED;
    return c->type == LUA_TNONE || c->fits ? LUA_CHECK_OK : LUA_CHECK_OTHER;
}

enum lua_check lua_check(struct str chunk, const char *name, enum lua_wanted wanted,
                         struct arena *a, struct str *err)
{
    static const int types[] = {LUA_TNONE, LUA_TFUNCTION, LUA_TTABLE};
    struct str text = arena_str(a, chunk);
    struct check c = {.chunk = text, .name = name ? name : text.p, .type = types[wanted]};

    *err = STR("LuaJIT has no room for a state");
    pthread_mutex_lock(&checker.lock);
    enum lua_check result = check_run(&c, a, err);
    pthread_mutex_unlock(&checker.lock);
    return result;
}

struct lua_source *lua_source_new(struct arena *a, struct str chunk, const char *name,
                                  const json_t *conf)
{
    static _Atomic uint32_t last;
    struct lua_source *s = arena_zero(a, sizeof(*s));

    s->chunk = arena_str(a, chunk);
    s->name = name ? name : s->chunk.p;
    s->id = atomic_fetch_add(&last, 1) + 1;
    if (conf) {
        char *text = json_dumps(conf, JSON_COMPACT);
        s->conf = arena_str(a, str_of(text));
        free(text);
    }
    return s;
}

/* ---- What calls need ---- */

/* Pushes what the table at that place of the registry has for the source: nil, when it is new. */
static bool push_known(lua_State *L, int place, const struct lua_source *s)
{
    lj.rawgeti(L, LUA_REGISTRYINDEX, place);
    lj.rawgeti(L, -1, (int)s->id);
    lj.remove(L, -2);
    return lj.type(L, -1) != LUA_TNIL;
}

/* Puts what is on top there, and leaves it. */
static void keep(lua_State *L, int place, const struct lua_source *s)
{
    lj.rawgeti(L, LUA_REGISTRYINDEX, place);
    lj.pushvalue(L, -2);
    lj.rawseti(L, -2, (int)s->id);
    lj.settop(L, -2);
}

/* The function of a chunk; compiled when this state has not seen it yet. */
void lua_push_source(lua_State *L, const struct lua_source *s)
{
    if (push_known(L, REG_FUNCTIONS, s))
        return;
    lj.settop(L, -2);
    load(L, s->chunk, s->name);
    lj.call(L, 0, 1);
    if (lj.type(L, -1) != LUA_TFUNCTION)
        lj.error(L, "the chunk returns no function");
    keep(L, REG_FUNCTIONS, s);
}

bool lua_knows_conf(lua_State *L, const struct lua_source *s)
{
    bool known = push_known(L, REG_CONFS, s);

    lj.settop(L, -2);
    return known;
}

void lua_push_conf(lua_State *L, const struct lua_source *s, json_t *conf)
{
    if (push_known(L, REG_CONFS, s))
        return;
    lj.settop(L, -2);
    lua_push_json(L, conf);
    keep(L, REG_CONFS, s);
}

void lua_push_vars(lua_State *L)
{
    lj.rawgeti(L, LUA_REGISTRYINDEX, REG_VARS);
}

void lua_push_options(lua_State *L)
{
    lj.rawgeti(L, LUA_REGISTRYINDEX, REG_OPTIONS);
}

void lua_push_context(lua_State *L)
{
    lj.rawgeti(L, LUA_REGISTRYINDEX, REG_CONTEXT);
}
