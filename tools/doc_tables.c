/* SPDX-License-Identifier: Apache-2.0 */
/* Fills in the tables of the hand-written pages that the code knows better: what stands between
 * "<!-- table NAME … -->" and "<!-- end -->" is replaced.
 *
 *   doc-tables PAGE…           writes the pages that have changed
 *   doc-tables --check PAGE…   writes nothing; exit 1 when a page is not as it would be written */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/reason.h"
#include "config/fields.h"
#include "config/settings_int.h"
/* The moves between steps are its own. */
#include "exchange/exchange.c"

enum { PAGE_MAX = 1 << 20 };

static void add(struct buf *page, struct str text)
{
    if (!buf_add(page, text)) {
        fprintf(stderr, "a page is too long\n");
        exit(2);
    }
}

/* ---- Tables -----------------------------------------------------------------------------------
 */

/* What is said of secrets in the store does not hold for a file of the user's. */
static void settings_table(struct buf *page)
{
    static const struct str sealed = {" Encrypted at rest.", 19};
    char *table = fields_markdown(&settings_fields);
    struct str rest = str_of(table);
    ptrdiff_t at;

    while ((at = str_search(rest, sealed)) >= 0) {
        add(page, str_head(rest, (size_t)at));
        rest = str_from(rest, (size_t)at + sealed.n);
    }
    add(page, rest);
    free(table);
}

static void idle_table(struct buf *page)
{
    for (unsigned i = 0; settings_idle_keys[i]; i++)
        buf_printf(page, "- `%s`\n", settings_idle_keys[i]);
}

static void reasons_table(struct buf *page)
{
    buf_printf(page, "| Reason | Status | Level | |\n| --- | --- | --- | --- |\n");
    for (unsigned i = REASON_NONE + 1; i < REASON_COUNT; i++) {
        const struct reason_info *r = &reasons[i];
        buf_printf(page, "| `%s` | ", r->name);
        if (r->status)
            buf_printf(page, "%d", r->status);
        buf_printf(page, " | %s | %s |\n", log_level_name(r->level), r->text);
    }
}

static void steps_table(struct buf *page)
{
    buf_printf(page, "| Step | may go to |\n| --- | --- |\n");
    for (unsigned i = 0; i < STEP_COUNT; i++) {
        buf_printf(page, "| `%s` |", step_names[i]);
        for (unsigned to = 0; to < STEP_COUNT; to++)
            if (may_go[i] & (1u << to))
                buf_printf(page, " `%s`", step_names[to]);
        buf_printf(page, " |\n");
    }
}

static const struct {
    const char *name;
    void (*fill)(struct buf *page);
} tables[] = {
    {"settings", settings_table},
    {"settings-idle", idle_table},
    {"reasons", reasons_table},
    {"steps", steps_table},
};

/* ---- Pages ------------------------------------------------------------------------------------
 */

static void read_page(const char *path, struct buf *out)
{
    char piece[4096];
    size_t n;
    FILE *f = fopen(path, "rb");

    if (!f) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
        add(out, str_make(piece, n));
    fclose(f);
}

static void write_page(const char *path, struct str text)
{
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(text.p, 1, text.n, f) != text.n || fclose(f) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
}

static void fill_table(struct buf *page, const char *path, struct str name)
{
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        if (str_eq(name, str_of(tables[i].name))) {
            tables[i].fill(page);
            return;
        }
    fprintf(stderr, "%s: no table is called \"%.*s\"\n", path, STR_ARG(name));
    exit(2);
}

/* The page with its tables filled in. */
static void make_page(const char *path, struct str old, struct buf *page)
{
    static const struct str begin = {"<!-- table ", 11}, end = {"<!-- end -->", 12};
    ptrdiff_t at;

    while ((at = str_search(old, begin)) >= 0) {
        struct str name, rest = str_from(old, (size_t)at + begin.n);
        ptrdiff_t line = str_find(rest, '\n'), close = str_search(rest, end);
        if (line < 0 || close < line) {
            fprintf(stderr, "%s: a table without its end\n", path);
            exit(2);
        }
        add(page, str_head(old, (size_t)at + begin.n + (size_t)line + 1));
        str_cut(str_head(rest, (size_t)line), ':', &name, &rest);
        buf_printf(page, "\n");
        fill_table(page, path, name);
        buf_printf(page, "\n");
        old = str_from(old, (size_t)at + begin.n + (size_t)close);
    }
    add(page, old);
}

int main(int argc, char **argv)
{
    bool check = argc > 1 && strcmp(argv[1], "--check") == 0;
    unsigned stale = 0;

    if (argc < 2 + check) {
        fprintf(stderr, "usage: doc-tables [--check] PAGE...\n");
        return 2;
    }
    for (int i = 1 + check; i < argc; i++) {
        struct buf old, page;
        buf_init(&old, PAGE_MAX);
        buf_init(&page, PAGE_MAX);
        read_page(argv[i], &old);
        make_page(argv[i], buf_str(&old), &page);
        if (!str_eq(buf_str(&old), buf_str(&page))) {
            stale++;
            printf("%s %s\n", argv[i], check ? "is not what `make doc` makes of it" : "written");
            if (!check)
                write_page(argv[i], buf_str(&page));
        }
        buf_fini(&old);
        buf_fini(&page);
    }
    return check && stale ? 1 : 0;
}
