/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions over PCRE2. Each thread keeps one set of match data, made when it first
 * matches and freed at its end. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/regex.h"

#include <limits.h>
#include <pcre2.h>
#include <pthread.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/panic.h"

enum {
    /* Backtracking steps of one attempt. Each start position has its own, but the first one that
     * uses them up ends the search: a pattern of the worst kind then costs some milliseconds. */
    MATCH_LIMIT = 500000,
    DEPTH_LIMIT = 20000,         /* of the interpreter, where JIT cannot be had */
    HEAP_LIMIT_KB = 16 * 1024,   /* the same */
    JIT_STACK_MIN = 32 * 1024,   /* bytes; grows on demand */
    JIT_STACK_MAX = 1024 * 1024, /* bytes, once for each thread */
    DFA_WORKSPACE = 1024,        /* ints */
    GROUP_NUMBER_MAX = 1000000,
};

struct regex {
    pcre2_code *code;
    bool dfa, utf;
};

/* ---- Compiling --------------------------------------------------------------------------------
 */

static const struct flag {
    char letter;
    uint32_t options;
} flag_table[] = {
    {'a', PCRE2_ANCHORED},
    {'D', PCRE2_DUPNAMES},
    {'i', PCRE2_CASELESS},
    {'J', PCRE2_ALT_BSUX | PCRE2_MATCH_UNSET_BACKREF | PCRE2_ALLOW_EMPTY_CLASS},
    {'m', PCRE2_MULTILINE},
    {'s', PCRE2_DOTALL},
    {'u', PCRE2_UTF},
    /* ngx.re leaves the check out and trusts the subject; this never trusts it. */
    {'U', PCRE2_UTF | PCRE2_MATCH_INVALID_UTF},
    {'x', PCRE2_EXTENDED},
    {'d', 0},
    {'j', 0},
    {'o', 0},
};

static bool flags_parse(struct str flags, uint32_t *options, struct regex_error *err)
{
    for (size_t i = 0; i < flags.n; i++) {
        const struct flag *f = flag_table, *end = f + sizeof(flag_table) / sizeof(*f);
        while (f < end && f->letter != flags.p[i])
            f++;
        if (f == end) {
            snprintf(err->text, sizeof(err->text), "unknown flag \"%c\" (flags \"%.*s\")",
                     flags.p[i], STR_ARG(flags));
            return false;
        }
        *options |= f->options;
    }
    return true;
}

static void compile_error(struct str pattern, int code, size_t at, struct regex_error *err)
{
    PCRE2_UCHAR why[128];

    pcre2_get_error_message(code, why, sizeof(why));
    if (at >= pattern.n)
        snprintf(err->text, sizeof(err->text), "pcre2_compile() failed: %s in \"%.*s\"",
                 (const char *)why, STR_ARG(pattern));
    else
        snprintf(err->text, sizeof(err->text), "pcre2_compile() failed: %s in \"%.*s\" at \"%.*s\"",
                 (const char *)why, STR_ARG(pattern), STR_ARG(str_from(pattern, at)));
}

struct regex *regex_new(struct str pattern, struct str flags, struct regex_error *err)
{
    uint32_t options = 0;
    size_t at;
    int code;

    if (!flags_parse(flags, &options, err))
        return NULL;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)(pattern.p ? pattern.p : ""), pattern.n, options,
                                   &code, &at, NULL);
    if (!re) {
        compile_error(pattern, code, at, err);
        return NULL;
    }
    struct regex *r = mem_zero(sizeof(*r));
    r->code = re;
    r->utf = (options & PCRE2_UTF) != 0;
    r->dfa = str_find(flags, 'd') >= 0;
    /* Where JIT is not to be had, pcre2_match interprets. */
    if (!r->dfa)
        pcre2_jit_compile(re, PCRE2_JIT_COMPLETE);
    return r;
}

void regex_free(struct regex *re)
{
    if (!re)
        return;
    pcre2_code_free(re->code);
    free(re);
}

/* ---- What a thread keeps ----------------------------------------------------------------------
 */

struct scratch {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    int workspace[DFA_WORKSPACE];
};

static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void scratch_free(void *arg)
{
    struct scratch *s = arg;

    pcre2_match_data_free(s->data);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->stack);
    free(s);
}

static void scratch_setup(void)
{
    if (pthread_key_create(&scratch_key, scratch_free) != 0)
        PANIC("no key for thread data");
}

static struct scratch *scratch_new(void)
{
    struct scratch *s = mem_zero(sizeof(*s));

    s->data = pcre2_match_data_create(REGEX_GROUPS, NULL);
    s->context = pcre2_match_context_create(NULL);
    s->stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, NULL);
    if (!s->data || !s->context)
        PANIC("out of memory");
    pcre2_set_match_limit(s->context, MATCH_LIMIT);
    pcre2_set_depth_limit(s->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(s->context, HEAP_LIMIT_KB);
    /* NULL leaves PCRE2's own 32 KiB. */
    pcre2_jit_stack_assign(s->context, NULL, s->stack);
    if (pthread_setspecific(scratch_key, s) != 0)
        PANIC("out of memory");
    return s;
}

static struct scratch *scratch_get(void)
{
    pthread_once(&scratch_once, scratch_setup);
    struct scratch *s = pthread_getspecific(scratch_key);
    return s ? s : scratch_new();
}

/* ---- Matching ---------------------------------------------------------------------------------
 */

static void groups_take(pcre2_match_data *data, int n, struct str subject, struct regex_groups *out)
{
    const size_t *at = pcre2_get_ovector_pointer(data);

    out->n = (unsigned)n;
    for (size_t i = 0; i < (size_t)n; i++) {
        /* \K in a look-ahead can set the start behind the end (PCRE2 before 10.38 allows it). */
        bool set = at[2 * i] != PCRE2_UNSET && at[2 * i] <= at[2 * i + 1];
        out->group[i] = set ? str_make(subject.p + at[2 * i], at[2 * i + 1] - at[2 * i]) : STR_NONE;
    }
}

int regex_match(const struct regex *re, struct str subject, size_t from,
                struct regex_groups *groups)
{
    struct scratch *s = scratch_get();
    int n;

    if (!subject.p)
        subject.p = "";
    if (from > subject.n)
        return 0;
    if (re->dfa)
        n = pcre2_dfa_match(re->code, (PCRE2_SPTR)subject.p, subject.n, from, 0, s->data,
                            s->context, s->workspace, DFA_WORKSPACE);
    else
        n = pcre2_match(re->code, (PCRE2_SPTR)subject.p, subject.n, from, 0, s->data, s->context);
    if (n == PCRE2_ERROR_NOMATCH)
        return 0;
    if (n < 0)
        return n;
    /* 0: more groups than there is room for. A DFA match has only shorter matches behind the first.
     */
    if (n == 0)
        n = REGEX_GROUPS;
    if (groups)
        groups_take(s->data, re->dfa ? 1 : n, subject, groups);
    return 1;
}

/* ---- Replacing --------------------------------------------------------------------------------
 */

/* Reads a group's number behind the `$` at s[*at]; -1: there is none. */
static int group_number(struct str s, size_t *at)
{
    size_t i = *at + 1;
    bool braces = i < s.n && s.p[i] == '{';
    int n = 0;

    if (braces)
        i++;
    size_t digits = i;
    for (; i < s.n && ascii_digit(s.p[i]); i++)
        if (n < GROUP_NUMBER_MAX)
            n = n * 10 + (s.p[i] - '0');
    if (i == digits || (braces && (i >= s.n || s.p[i] != '}')))
        return -1;
    *at = braces ? i + 1 : i;
    return n;
}

bool regex_template_parse(struct arena *a, struct str text, struct regex_template *out,
                          struct regex_error *err)
{
    struct str s = arena_str(a, text);
    size_t at = 0;

    /* No more parts than dollar signs, and a text before, between and behind them. */
    size_t most = 1;
    for (size_t i = 0; i < s.n; i++)
        most += s.p[i] == '$' ? 2 : 0;
    *out = (struct regex_template){arena_zero(a, most * sizeof(*out->parts)), 0};
    while (at < s.n) {
        struct regex_part *part = &out->parts[out->n++];
        ptrdiff_t dollar = str_find(str_from(s, at), '$');
        *part = (struct regex_part){.group = -1};
        if (dollar != 0) {
            part->text = dollar < 0 ? str_from(s, at) : str_make(s.p + at, (size_t)dollar);
            at += part->text.n;
        } else if (at + 1 < s.n && s.p[at + 1] == '$') {
            part->text = str_make(s.p + at, 1);
            at += 2;
        } else {
            part->group = group_number(s, &at);
            if (part->group < 0) {
                snprintf(err->text, sizeof(err->text),
                         "failed to compile the replacement template");
                return false;
            }
        }
    }
    return true;
}

static struct str part_value(const struct regex_part *part, const struct regex_groups *groups)
{
    if (part->group < 0)
        return part->text;
    return (unsigned)part->group < groups->n ? groups->group[part->group] : STR_NONE;
}

struct str regex_template_fill(const struct regex_template *t, const struct regex_groups *groups,
                               struct arena *a)
{
    size_t n = 0;

    for (unsigned i = 0; i < t->n; i++)
        n += part_value(&t->parts[i], groups).n;
    char *p = arena_bytes(a, n + 1), *at = p;
    for (unsigned i = 0; i < t->n; i++) {
        struct str v = part_value(&t->parts[i], groups);
        if (v.n)
            memcpy(at, v.p, v.n);
        at += v.n;
    }
    *at = 0;
    return str_make(p, n);
}

static bool fill_into(const struct regex_template *t, const struct regex_groups *groups,
                      struct buf *out)
{
    for (unsigned i = 0; i < t->n; i++)
        if (!buf_add(out, part_value(&t->parts[i], groups)))
            return false;
    return true;
}

/* Where to look on behind an empty match. */
static size_t next_char(const struct regex *re, struct str s, size_t at)
{
    at++;
    while (re->utf && at < s.n && ((unsigned char)s.p[at] & 0xC0) == 0x80)
        at++;
    return at;
}

int regex_replace(const struct regex *re, struct str subject, const struct regex_template *with,
                  bool all, struct buf *out)
{
    struct regex_groups groups;
    size_t from = 0, copied = 0;
    int count = 0, found;

    if (!subject.p)
        subject.p = "";
    while ((found = regex_match(re, subject, from, &groups)) > 0) {
        struct str whole = groups.group[0];
        size_t start = whole.p ? (size_t)(whole.p - subject.p) : from;
        /* A match that begins before what is already out (by \K and look-behind) ends it. */
        if (start < copied || count == INT_MAX)
            break;
        count++;
        if (!buf_add(out, str_make(subject.p + copied, start - copied)) ||
            !fill_into(with, &groups, out))
            return REGEX_TOO_LONG;
        copied = start + whole.n;
        from = whole.n ? copied : next_char(re, subject, copied);
        if (!all)
            break;
    }
    if (found < 0)
        return found;
    return buf_add(out, str_from(subject, copied)) ? count : REGEX_TOO_LONG;
}
