/* SPDX-License-Identifier: Apache-2.0 */
/* Lua's patterns (reference manual 5.1 §5.4.1) with a bound on the work: LuaJIT's own functions
 * match within one step of the interpreter, however long a pattern goes back and forth. */
#include <ctype.h>

#include "config/lua_lib.h"

enum { CAPTURES = 32, DEPTH = 200, SET_STEP = 16 /* bytes of a set that are a step */ };
enum { LENGTH_OPEN = -1, LENGTH_POSITION = -2 };

struct match {
    lua_State *L;
    unsigned *steps;
    const char *from, *end; /* the subject */
    const char *pattern_end;
    int depth, ncaptures;
    struct {
        const char *at;
        ptrdiff_t length;
    } captures[CAPTURES];
};

static void count(struct match *m, size_t steps)
{
    if (steps > *m->steps) {
        *m->steps = 0;
        lj.error(m->L, "takes too long");
    }
    *m->steps -= (unsigned)steps;
}

/* ---- One character ---- */

static bool in_class(unsigned char c, char class)
{
    bool in;

    switch (tolower((unsigned char)class)) {
    case 'a':
        in = isalpha(c);
        break;
    case 'c':
        in = iscntrl(c);
        break;
    case 'd':
        in = isdigit(c);
        break;
    case 'l':
        in = islower(c);
        break;
    case 'p':
        in = ispunct(c);
        break;
    case 's':
        in = isspace(c);
        break;
    case 'u':
        in = isupper(c);
        break;
    case 'w':
        in = isalnum(c);
        break;
    case 'x':
        in = isxdigit(c);
        break;
    case 'z':
        in = c == 0;
        break;
    default:
        return c == (unsigned char)class;
    }
    return isupper((unsigned char)class) ? !in : in;
}

/* Behind the item at p: a character, `%x` or a set. */
static const char *item_end(struct match *m, const char *p)
{
    char first = *p++;

    if (first == '%') {
        if (p == m->pattern_end)
            lj.error(m->L, "malformed pattern (ends with '%%')");
        return p + 1;
    }
    if (first != '[')
        return p;
    const char *begin = p;
    p += p < m->pattern_end && *p == '^';
    do { /* a bracket at the start is one of the set */
        if (p == m->pattern_end)
            lj.error(m->L, "malformed pattern (missing ']')");
        p += *p == '%' && p + 1 < m->pattern_end ? 2 : 1;
    } while (p >= m->pattern_end || *p != ']');
    count(m, (size_t)(p - begin) / SET_STEP);
    return p + 1;
}

/* `p` is behind the bracket, `end` the closing one. */
static bool in_set(unsigned char c, const char *p, const char *end)
{
    bool wanted = *p != '^';

    for (p += !wanted; p < end; p++) {
        if (*p == '%') {
            p++;
            if (in_class(c, *p))
                return wanted;
        } else if (p + 2 < end && p[1] == '-') {
            if ((unsigned char)p[0] <= c && c <= (unsigned char)p[2])
                return wanted;
            p += 2;
        } else if ((unsigned char)*p == c) {
            return wanted;
        }
    }
    return !wanted;
}

static bool item_has(struct match *m, const char *s, const char *p, const char *end)
{
    count(m, 1);
    if (s >= m->end)
        return false;
    if (*p == '.')
        return true;
    if (*p == '%')
        return in_class((unsigned char)*s, p[1]);
    if (*p == '[') {
        count(m, (size_t)(end - p) / SET_STEP);
        return in_set((unsigned char)*s, p + 1, end - 1);
    }
    return *p == *s;
}

/* ---- The rest of a pattern ---- */

/* Where the match of p … ends that begins at s, or NULL. */
static const char *match_rest(struct match *m, const char *s, const char *p);

static const char *match_balance(struct match *m, const char *s, const char *p)
{
    int depth = 1;

    if (m->pattern_end - p < 2)
        lj.error(m->L, "unbalanced pattern");
    if (s >= m->end || *s != p[0])
        return NULL;
    while (++s < m->end) {
        count(m, 1);
        if (*s == p[1]) {
            if (--depth == 0)
                return s + 1;
        } else if (*s == p[0]) {
            depth++;
        }
    }
    return NULL;
}

/* As many as there are, then fewer. */
static const char *match_most(struct match *m, const char *s, const char *p, const char *end)
{
    ptrdiff_t n = 0;

    while (item_has(m, s + n, p, end))
        n++;
    for (; n >= 0; n--) {
        const char *found = match_rest(m, s + n, end + 1);
        if (found)
            return found;
    }
    return NULL;
}

static const char *match_fewest(struct match *m, const char *s, const char *p, const char *end)
{
    for (;;) {
        const char *found = match_rest(m, s, end + 1);
        if (found)
            return found;
        if (!item_has(m, s, p, end))
            return NULL;
        s++;
    }
}

static const char *capture_open(struct match *m, const char *s, const char *p, ptrdiff_t length)
{
    if (m->ncaptures == CAPTURES)
        lj.error(m->L, "too many captures");
    m->captures[m->ncaptures].at = s;
    m->captures[m->ncaptures++].length = length;
    const char *found = match_rest(m, s, p);
    if (!found)
        m->ncaptures--;
    return found;
}

static const char *capture_close(struct match *m, const char *s, const char *p)
{
    int i = m->ncaptures - 1;

    while (i >= 0 && m->captures[i].length != LENGTH_OPEN)
        i--;
    if (i < 0)
        lj.error(m->L, "invalid pattern capture");
    m->captures[i].length = s - m->captures[i].at;
    const char *found = match_rest(m, s, p);
    if (!found)
        m->captures[i].length = LENGTH_OPEN;
    return found;
}

/* `%1`: what the first capture has, once more. NULL: not here. */
static const char *match_again(struct match *m, const char *s, char digit)
{
    int i = digit - '1';

    if (i < 0 || i >= m->ncaptures || m->captures[i].length == LENGTH_OPEN)
        lj.error(m->L, "invalid capture index");
    size_t n = m->captures[i].length < 0 ? 0 : (size_t)m->captures[i].length;
    count(m, n);
    return (size_t)(m->end - s) >= n && memcmp(s, m->captures[i].at, n) == 0 ? s + n : NULL;
}

/* `%f[set]`: between a character outside of the set and one inside. */
static bool at_frontier(struct match *m, const char *s, const char *p, const char *end)
{
    unsigned char before = s == m->from ? 0 : (unsigned char)s[-1];
    unsigned char behind = s == m->end ? 0 : (unsigned char)*s;

    return !in_set(before, p + 1, end - 1) && in_set(behind, p + 1, end - 1);
}

/* What begins with `%` and is no class. 1: it holds, *s and *p are behind it; 0: it does not; -1:
 * it is none. */
static int match_special(struct match *m, const char **s, const char **p)
{
    const char *next = *p + 1;

    if (next == m->pattern_end)
        return -1;
    if (*next == 'b') {
        *s = match_balance(m, *s, next + 1);
        *p = next + 3;
        return *s != NULL;
    }
    if (*next == 'f') {
        next++;
        if (next == m->pattern_end || *next != '[')
            lj.error(m->L, "missing '[' after '%%f' in pattern");
        const char *end = item_end(m, next);
        *p = end;
        return at_frontier(m, *s, next, end);
    }
    if (!isdigit((unsigned char)*next))
        return -1;
    *s = match_again(m, *s, *next);
    *p = next + 1;
    return *s != NULL;
}

static const char *match_items(struct match *m, const char *s, const char *p)
{
    while (p < m->pattern_end) {
        count(m, 1);
        if (*p == '(')
            return p + 1 < m->pattern_end && p[1] == ')'
                       ? capture_open(m, s, p + 2, LENGTH_POSITION)
                       : capture_open(m, s, p + 1, LENGTH_OPEN);
        if (*p == ')')
            return capture_close(m, s, p + 1);
        if (*p == '$' && p + 1 == m->pattern_end)
            return s == m->end ? s : NULL;
        int special = *p == '%' ? match_special(m, &s, &p) : -1;
        if (special == 0)
            return NULL;
        if (special == 1)
            continue;
        const char *end = item_end(m, p);
        char how = end < m->pattern_end ? *end : 0;
        if (how == '*')
            return match_most(m, s, p, end);
        if (how == '-')
            return match_fewest(m, s, p, end);
        bool has = item_has(m, s, p, end);
        if (how == '+')
            return has ? match_most(m, s + 1, p, end) : NULL;
        if (how == '?') {
            const char *found = has ? match_rest(m, s + 1, end + 1) : NULL;
            if (found)
                return found;
            p = end + 1;
            continue;
        }
        if (!has)
            return NULL;
        s++;
        p = end;
    }
    return s;
}

static const char *match_rest(struct match *m, const char *s, const char *p)
{
    if (++m->depth > DEPTH)
        lj.error(m->L, "pattern too complex");
    const char *found = match_items(m, s, p);
    m->depth--;
    return found;
}

/* ---- Results ---- */

static void push_capture(struct match *m, int i)
{
    if (m->captures[i].length == LENGTH_OPEN)
        lj.error(m->L, "unfinished capture");
    if (m->captures[i].length == LENGTH_POSITION)
        lj.pushinteger(m->L, m->captures[i].at - m->from + 1);
    else
        lj.pushlstring(m->L, m->captures[i].at, (size_t)m->captures[i].length);
}

/* The captures, or the whole match when there are none and it is wanted. */
static int push_captures(struct match *m, const char *s, const char *end, bool whole)
{
    lj.checkstack(m->L, CAPTURES, "too many captures");
    if (m->ncaptures == 0 && whole) {
        lj.pushlstring(m->L, s, (size_t)(end - s));
        return 1;
    }
    for (int i = 0; i < m->ncaptures; i++)
        push_capture(m, i);
    return m->ncaptures;
}

/* The subject is the first argument, the pattern the second; *anchor: it is tried at one place. */
static struct match match_new(lua_State *L, const char **pattern, bool *anchor)
{
    struct match m = {.L = L, .steps = lj.touserdata(L, lua_upvalueindex(1))};
    size_t n, np;

    m.from = lj.checklstring(L, 1, &n);
    m.end = m.from + n;
    *pattern = lj.checklstring(L, 2, &np);
    m.pattern_end = *pattern + np;
    *anchor = np && **pattern == '^';
    *pattern += *anchor;
    return m;
}

/* The first match from *s on: its end, and *s its begin; NULL: none. */
static const char *search(struct match *m, const char **s, const char *pattern, bool anchor)
{
    do {
        m->ncaptures = 0;
        m->depth = 0;
        const char *end = match_rest(m, *s, pattern);
        if (end)
            return end;
    } while (!anchor && (*s)++ < m->end);
    return NULL;
}

/* Where the search begins: the third argument, from the end when negative. */
static const char *start_of(const struct match *m)
{
    ptrdiff_t n = m->end - m->from, at = lj.optinteger(m->L, 3, 1);

    if (at < 0)
        at = at + n < 0 ? 0 : at + n;
    else if (at > 0)
        at--;
    return m->from + (at < n ? at : n);
}

static int find_plain(const struct match *m, const char *s, const char *what)
{
    struct str in = str_make(s, (size_t)(m->end - s));
    struct str needle = str_make(what, (size_t)(m->pattern_end - what));
    ptrdiff_t at = needle.n ? str_search(in, needle) : 0;

    if (at < 0)
        return 0;
    lj.pushinteger(m->L, s - m->from + at + 1);
    lj.pushinteger(m->L, s - m->from + at + (ptrdiff_t)needle.n);
    return 2;
}

static bool has_specials(const char *p, const char *end)
{
    for (; p < end; p++)
        if (memchr("^$*+?.([%-", *p, 10))
            return true;
    return false;
}

static int bounded_find(lua_State *L)
{
    const char *pattern;
    bool anchor;
    struct match m = match_new(L, &pattern, &anchor);
    const char *s = start_of(&m);

    if (lj.toboolean(L, 4) || (!anchor && !has_specials(pattern, m.pattern_end))) {
        if (find_plain(&m, s, pattern - anchor))
            return 2;
    } else {
        const char *end = search(&m, &s, pattern, anchor);
        if (end) {
            lj.pushinteger(L, s - m.from + 1);
            lj.pushinteger(L, end - m.from);
            return 2 + push_captures(&m, s, end, false);
        }
    }
    lj.pushnil(L);
    return 1;
}

static int bounded_match(lua_State *L)
{
    const char *pattern;
    bool anchor;
    struct match m = match_new(L, &pattern, &anchor);
    const char *s = start_of(&m), *end = search(&m, &s, pattern, anchor);

    if (end)
        return push_captures(&m, s, end, true);
    lj.pushnil(L);
    return 1;
}

/* Upvalues: the steps, the subject, the pattern, where to go on. */
static int next_match(lua_State *L)
{
    struct match m = {.L = L, .steps = lj.touserdata(L, lua_upvalueindex(1))};
    size_t n, np;
    const char *pattern = lj.tolstring(L, lua_upvalueindex(3), &np);

    m.from = lj.tolstring(L, lua_upvalueindex(2), &n);
    m.end = m.from + n;
    m.pattern_end = pattern + np;
    const char *s = m.from + lj.tointeger(L, lua_upvalueindex(4));
    if (s > m.end)
        return 0;
    const char *end = search(&m, &s, pattern, false);
    if (!end)
        return 0;
    lj.pushinteger(L, end - m.from + (end == s));
    lj.replace(L, lua_upvalueindex(4));
    return push_captures(&m, s, end, true);
}

static int bounded_gmatch(lua_State *L)
{
    lj.checklstring(L, 1, NULL);
    lj.checklstring(L, 2, NULL);
    lj.settop(L, 2);
    lj.pushvalue(L, lua_upvalueindex(1));
    lj.insert(L, 1);
    lj.pushinteger(L, 0);
    lj.pushcclosure(L, next_match, 4);
    return 1;
}

/* ---- gsub ---- */

enum { AT_PIECES = 5 }; /* the stack's place of the list that becomes the result */

static void add_piece(struct match *m, int *npieces)
{
    lj.rawseti(m->L, AT_PIECES, ++*npieces);
}

static void add_text(struct match *m, int *npieces, const char *p, const char *end)
{
    if (p == end)
        return;
    lj.pushlstring(m->L, p, (size_t)(end - p));
    add_piece(m, npieces);
}

/* The third argument as a text: `%0` to `%9` stand for the match and its captures. */
static void add_template(struct match *m, int *npieces, const char *s, const char *end)
{
    size_t n;
    const char *p = lj.tolstring(m->L, 3, &n), *stop = p + n, *plain = p;

    while (p < stop) {
        count(m, 1);
        if (*p++ != '%')
            continue;
        add_text(m, npieces, plain, p - 1);
        plain = p; /* an escaped character stands for itself */
        if (p == stop || !isdigit((unsigned char)*p)) {
            p += p < stop;
            continue;
        }
        int i = *p - '1';
        if (i < 0 || (i == 0 && m->ncaptures == 0))
            lj.pushlstring(m->L, s, (size_t)(end - s));
        else if (i < m->ncaptures)
            push_capture(m, i);
        else
            lj.error(m->L, "invalid capture index");
        add_piece(m, npieces);
        plain = ++p;
    }
    add_text(m, npieces, plain, stop);
}

/* What a table or function gives for the match; nil and false leave it as it is. */
static void add_given(struct match *m, int *npieces, const char *s, const char *end)
{
    lua_State *L = m->L;

    lj.pushvalue(L, 3);
    int n = push_captures(m, s, end, true);
    if (lj.type(L, 3) == LUA_TTABLE) {
        lj.settop(L, -n); /* the first capture alone */
        lj.gettable(L, -2);
        lj.remove(L, -2);
    } else {
        lj.call(L, n, 1);
    }
    if (!lj.toboolean(L, -1)) {
        lj.settop(L, -2);
        add_text(m, npieces, s, end);
    } else if (lj.type(L, -1) == LUA_TSTRING || lj.type(L, -1) == LUA_TNUMBER) {
        add_piece(m, npieces);
    } else {
        lj.error(L, "invalid replacement value");
    }
}

static int bounded_gsub(lua_State *L)
{
    const char *pattern;
    bool anchor;
    struct match m = match_new(L, &pattern, &anchor);
    int kind = lj.type(L, 3), npieces = 0;
    const char *s = m.from, *copied = s;
    ptrdiff_t most = lj.optinteger(L, 4, m.end - m.from + 1), n = 0;

    if (kind != LUA_TSTRING && kind != LUA_TNUMBER && kind != LUA_TTABLE && kind != LUA_TFUNCTION)
        return lj.argerror(L, 3, "string/function/table expected");
    lj.settop(L, 4);
    lj.createtable(L, 0, 0);
    while (n < most) {
        const char *end = search(&m, &s, pattern, anchor);
        if (!end)
            break;
        n++;
        add_text(&m, &npieces, copied, s);
        if (kind == LUA_TTABLE || kind == LUA_TFUNCTION)
            add_given(&m, &npieces, s, end);
        else
            add_template(&m, &npieces, s, end);
        copied = end;
        s = end + (end == s);
        if (s > m.end || anchor)
            break;
    }
    add_text(&m, &npieces, copied, m.end);
    lj.pushvalue(L, lua_upvalueindex(2)); /* table.concat */
    lj.pushvalue(L, AT_PIECES);
    lj.call(L, 1, 1);
    lj.pushinteger(L, n);
    return 2;
}

void lua_open_patterns(lua_State *L, unsigned *steps)
{
    static const struct {
        const char *name;
        lua_CFunction function;
    } rows[] = {{"find", bounded_find},
                {"match", bounded_match},
                {"gmatch", bounded_gmatch},
                {"gsub", bounded_gsub}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        lj.pushlightuserdata(L, steps);
        lj.getfield(L, LUA_GLOBALSINDEX, "table");
        lj.getfield(L, -1, "concat");
        lj.remove(L, -2);
        lj.pushcclosure(L, rows[i].function, 2);
        lj.setfield(L, -2, rows[i].name);
    }
}
