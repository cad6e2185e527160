/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions that users configure: PCRE2 with JIT and bounded matching, and replacement
 * with captures, in the semantics of OpenResty's ngx.re, which APISIX's plugins are written for. */
#ifndef BASE_REGEX_H
#define BASE_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

struct regex;

struct regex_error {
    char text[512];
};

/* What one match captured. Groups that took no part are absent. */
enum { REGEX_GROUPS = 32 };
struct regex_groups {
    struct str group[REGEX_GROUPS]; /* 0: the whole match */
    unsigned n;
};

/* Compiles a pattern. Flags as in ngx.re: i caseless, m multiline, s dot matches newline,
 * x extended, u and U UTF-8, a anchored, d longest match without captures (DFA), D duplicate names,
 * J JavaScript's escapes; j and o mean what is done anyway. NULL with a message in the words of
 * ngx.re: `unknown flag "h" (flags "h")`, `pcre2_compile() failed: … in "…" at "…"`. The result is
 * const, for any thread; the caller frees it. */
struct regex *regex_new(struct str pattern, struct str flags, struct regex_error *err);
void regex_free(struct regex *re);

/* Looks for the first match at or behind `from`. Returns 1, 0 for none, or PCRE2's negative error
 * number: -47 when the match would cost too much, so that no pattern holds a thread for long.
 * groups may be NULL; they point into the subject. Groups past REGEX_GROUPS are left out. */
int regex_match(const struct regex *re, struct str subject, size_t from,
                struct regex_groups *groups);

/* The replacement of ngx.re.sub: text with $0 … $99, ${1}, and $$ for a dollar sign. */
struct regex_template {
    struct regex_part *parts;
    unsigned n;
};
struct regex_part {
    struct str text;
    int group; /* -1: the text */
};

/* Parses a copy of it in the arena. False, with `failed to compile the replacement template`, for a
 * `$` that is followed by anything else. */
bool regex_template_parse(struct arena *a, struct str text, struct regex_template *out,
                          struct regex_error *err);
/* The template with its groups filled in; absent groups are empty. */
struct str regex_template_fill(const struct regex_template *t, const struct regex_groups *groups,
                               struct arena *a);

/* Replaces the first match, or all of them, and adds the result to out. Returns how many were
 * replaced, or a negative number: PCRE2's error, or REGEX_TOO_LONG when out's maximum is passed.
 * Then out is not to be used. An empty match moves on by one character, as in ngx.re.gsub. */
enum { REGEX_TOO_LONG = -1000 };
int regex_replace(const struct regex *re, struct str subject, const struct regex_template *with,
                  bool all, struct buf *out);

#endif
