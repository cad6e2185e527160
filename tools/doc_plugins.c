/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the pages doc/plugin/NAME.md from the plugins' records and field tables, and what is
 * written by hand in NAME.more.md; and README.md, the list of them.
 *
 *   doc-plugins DIR           writes the pages that have changed
 *   doc-plugins --check DIR   writes nothing; exit 1 when a page is not as it would be written */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "config/fields.h"
#include "plugin/registry.h"

enum { PAGE_MAX = 1 << 20, PATH_LENGTH = 4096 };

static unsigned stale;

static void add(struct buf *page, struct str text)
{
    if (!buf_add(page, text)) {
        fprintf(stderr, "a page is too long\n");
        exit(2);
    }
}

/* ---- Files ------------------------------------------------------------------------------------
 */

/* Adds the file's text; false: there is none. */
static bool read_file(const char *path, struct buf *out)
{
    char piece[4096];
    size_t n;
    FILE *f = fopen(path, "rb");

    if (!f)
        return false;
    while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
        add(out, str_make(piece, n));
    fclose(f);
    return true;
}

static void write_file(const char *path, struct str text)
{
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(text.p, 1, text.n, f) != text.n || fclose(f) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
}

/* Writes the page where it differs, or says so. */
static void page_done(const char *dir, const char *name, struct buf *page, bool check)
{
    char path[PATH_LENGTH];
    struct buf old;

    snprintf(path, sizeof(path), "%s/%s.md", dir, name);
    buf_init(&old, PAGE_MAX);
    if (!read_file(path, &old) || !str_eq(buf_str(&old), buf_str(page))) {
        stale++;
        printf("%s %s\n", path, check ? "is not what `make doc` makes of its plugin" : "written");
        if (!check)
            write_file(path, buf_str(page));
    }
    buf_fini(&old);
    buf_fini(page);
}

/* ---- Pages ------------------------------------------------------------------------------------
 */

static void add_phases(struct buf *page, const struct plugin *p)
{
    const struct {
        const char *name;
        bool there;
    } phases[] = {
        {"rewrite", p->rewrite},           {"access", p->access},
        {"before_proxy", p->before_proxy}, {"header_filter", p->header_filter},
        {"body_filter", p->body_filter},   {"log", p->log},
    };
    const char *comma = "";

    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++)
        if (phases[i].there) {
            buf_printf(page, "%s%s", comma, phases[i].name);
            comma = ", ";
        }
}

static void add_table(struct buf *page, const char *title, const struct fields *fields)
{
    char *table;

    if (!fields)
        return;
    table = fields_markdown(fields);
    buf_printf(page, "\n## %s\n\n", title);
    if (fields->doc)
        buf_printf(page, "%s\n\n", fields->doc);
    add(page, str_of(table));
    free(table);
}

static void plugin_page(const struct plugin *p, const char *dir, bool check)
{
    char more[PATH_LENGTH];
    struct buf page, text;

    buf_init(&page, PAGE_MAX);
    buf_init(&text, PAGE_MAX);
    buf_printf(
        &page,
        "<!-- Made by `make doc` from the plugin's tables and %s.more.md: change those. -->\n"
        "# %s\n\n%s\n\nPriority %d; phases: ",
        p->name, p->name, p->doc, p->priority);
    add_phases(&page, p);
    buf_printf(&page, ".\n");
    if (p->auth || p->guard)
        buf_printf(&page, "It guards: where it is stored and cannot run, requests get 503.\n");
    add_table(&page, "Configuration", p->conf);
    add_table(&page, "Configuration of a consumer", p->consumer);
    add_table(&page, "Metadata", p->metadata);
    snprintf(more, sizeof(more), "%s/%s.more.md", dir, p->name);
    if (read_file(more, &text)) {
        buf_printf(&page, "\n");
        add(&page, buf_str(&text));
    }
    buf_fini(&text);
    page_done(dir, p->name, &page, check);
}

static int by_priority(const void *a, const void *b)
{
    const struct plugin *x = *(const struct plugin *const *)a;
    const struct plugin *y = *(const struct plugin *const *)b;

    return (x->priority < y->priority) - (x->priority > y->priority);
}

static void list_page(size_t n, const char *dir, bool check)
{
    const struct plugin **all = mem_dup(plugin_registry, n * sizeof(*all));
    struct buf page;

    qsort(all, n, sizeof(*all), by_priority);
    buf_init(&page, PAGE_MAX);
    buf_printf(&page,
               "<!-- Made by `make doc`. -->\n# Plugins\n\nIn the order in which they run in "
               "each phase. [Writing a plugin](../writing-a-plugin.md) says how to add "
               "one.\n\n| Plugin | Priority | Phases |\n| --- | --- | --- |\n");
    for (size_t i = 0; i < n; i++) {
        buf_printf(&page, "| [%s](%s.md) | %d | ", all[i]->name, all[i]->name, all[i]->priority);
        add_phases(&page, all[i]);
        buf_printf(&page, " |\n");
    }
    free(all);
    page_done(dir, "README", &page, check);
}

int main(int argc, char **argv)
{
    bool check = argc == 3 && strcmp(argv[1], "--check") == 0;
    size_t n = 0;

    if (argc != 2 && !check) {
        fprintf(stderr, "usage: doc-plugins [--check] DIR\n");
        return 2;
    }
    for (; plugin_registry[n]; n++)
        plugin_page(plugin_registry[n], argv[argc - 1], check);
    list_page(n, argv[argc - 1], check);
    printf("%zu plugins, %u pages %s\n", n, stale, check ? "stale" : "written");
    return check && stale ? 1 : 0;
}
