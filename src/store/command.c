/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments, files and messages of export and import. */
#include "store/command.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "plugin/registry.h"
#include "store/file.h"
#include "store/open.h"
#include "store/transfer.h"

enum { TEXT_MAX = 1 << 30 };

struct command {
    struct arena arena;
    struct str err;
    const char *config, *path; /* NULL: not said */
    bool sealed, merge, dry, json;
    struct settings *settings;
    struct document_codec *codec;
};

static int fail(struct command *c)
{
    fprintf(stderr, "eclusa: %.*s\n", STR_ARG(c->err));
    return 1;
}

/* ---- Arguments ---------------------------------------------------------------------------------
 */

static const char usage_export[] =
    "Usage: eclusa export [-c FILE] [--to PATH] [--sealed]\n"
    "\n"
    "Writes the whole configuration out of the store that config.yaml names. The gateway\n"
    "may be running.\n"
    "\n"
    "  --to PATH  a file, new or overwritten: apisix.json where the name ends with .json,\n"
    "             else apisix.yaml; default: standard output, as JSON\n"
    "  --sealed   secrets as the store has them; default: in clear\n";

static const char usage_import[] =
    "Usage: eclusa import [-c FILE] [--from PATH] [--merge] [--dry-run]\n"
    "\n"
    "Checks a whole configuration and puts it into the store that config.yaml names, in\n"
    "place of what is there.\n"
    "\n"
    "  --from PATH  a file as `eclusa export` and APISIX write it: JSON where the name ends\n"
    "               with .json, else YAML; default: standard input, JSON\n"
    "  --merge      what is in the store besides stays\n"
    "  --dry-run    say what would change, and change nothing\n";

static bool arguments(struct command *c, int argc, char **argv, bool out)
{
    enum { PATH = 1, SEALED, MERGE, DRY };
    static const struct option of_export[] = {
        {"to", required_argument, NULL, PATH}, {"sealed", no_argument, NULL, SEALED}, {0}};
    static const struct option of_import[] = {{"from", required_argument, NULL, PATH},
                                              {"merge", no_argument, NULL, MERGE},
                                              {"dry-run", no_argument, NULL, DRY},
                                              {0}};
    int option;

    optind = 2;
    while ((option = getopt_long(argc, argv, "c:", out ? of_export : of_import, NULL)) != -1) {
        switch (option) {
        case 'c':
            c->config = optarg;
            break;
        case PATH:
            c->path = strcmp(optarg, "-") == 0 ? NULL : optarg;
            break;
        case SEALED:
            c->sealed = true;
            break;
        case MERGE:
            c->merge = true;
            break;
        case DRY:
            c->dry = true;
            break;
        default:
            return false;
        }
    }
    c->json = !c->path || str_ends(str_of(c->path), STR(".json"));
    return optind == argc;
}

static bool command_begin(struct command *c)
{
    hash_setup();
    arena_init(&c->arena, NULL);
    c->settings = settings_load(c->config ? str_of(c->config) : STR_NONE, &c->arena, &c->err);
    return c->settings != NULL;
}

static void command_end(struct command *c)
{
    document_codec_free(c->codec);
    if (c->settings)
        settings_free(c->settings);
    arena_fini(&c->arena);
}

/* ---- Export ------------------------------------------------------------------------------------
 */

/* Secrets are in it: nobody else may read it. */
static FILE *file_make(struct command *c)
{
    int fd = c->path ? open(c->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;

    if (!c->path)
        return stdout;
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!f)
        c->err = arena_printf(&c->arena, "%s: %s", c->path, strerror(errno));
    return f;
}

static bool export_run(struct command *c, struct store *store)
{
    size_t n = 0;
    FILE *to = file_make(c);

    if (!to)
        return false;
    struct transfer_out out = {
        .store = store, .codec = c->sealed ? NULL : c->codec, .json = c->json, .to = to};
    bool good = transfer_export(&out, &n, &c->arena, &c->err);
    if (to != stdout && fclose(to) != 0 && good) {
        c->err = arena_printf(&c->arena, "%s: %s", c->path, strerror(errno));
        good = false;
    }
    if (good)
        fprintf(stderr, "%zu documents\n", n);
    return good;
}

int command_export(int argc, char **argv)
{
    struct command c = {0};
    bool good = false;

    if (!arguments(&c, argc, argv, true)) {
        fputs(usage_export, stderr);
        return 2;
    }
    struct store *store = NULL;
    if (command_begin(&c))
        store = store_open_reading(c.settings, &c.arena, &c.err);
    /* The store first: it makes the folder that a key is kept in. */
    if (store)
        good = document_codec_open(c.settings, &c.codec, &c.arena, &c.err) && export_run(&c, store);
    if (!good)
        fail(&c);
    if (store)
        store->ops->close(store);
    command_end(&c);
    return good ? 0 : 1;
}

/* ---- Import ------------------------------------------------------------------------------------
 */

static bool text_read(struct command *c, struct buf *text)
{
    FILE *f = c->path ? fopen(c->path, "re") : stdin;
    bool good = f != NULL;

    while (good && !feof(f)) {
        char *room = buf_room(text, 1 << 16);
        if (!room) {
            c->err = STR("it is too long");
            good = false;
            break;
        }
        text->n += fread(room, 1, 1 << 16, f);
        good = !ferror(f);
    }
    if (!good && !c->err.p)
        c->err = arena_printf(&c->arena, "%s: %s", c->path ? c->path : "standard input",
                              strerror(errno));
    if (f && f != stdin)
        fclose(f);
    return good;
}

static int on_tree(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* Plugins check their configuration against what they were started with. They must not touch what a
 * gateway that runs is using, so folders of their own are made for them. */
static json_t *apisix_apart(const struct settings *s, const char *folder)
{
    json_t *apisix = json_deep_copy(s->apisix), *zone;
    size_t i;

    json_array_foreach(json_object_get(json_object_get(apisix, "proxy_cache"), "zones"), i, zone)
    {
        char path[64];
        snprintf(path, sizeof(path), "%s/%zu", folder, i);
        if (json_object_get(zone, "disk_path"))
            json_object_set_new(zone, "disk_path", json_string(path));
    }
    return apisix;
}

struct trial {
    const struct plugin **plugins;
    size_t n, started;
    json_t *apisix;
    char folder[32];
};

static bool trial_start(struct command *c, struct trial *t)
{
    const struct settings *s = c->settings;

    snprintf(t->folder, sizeof(t->folder), "/tmp/eclusa-import-XXXXXX");
    if (!mkdtemp(t->folder)) {
        c->err = arena_printf(&c->arena, "%s: %s", t->folder, strerror(errno));
        t->folder[0] = 0;
        return false;
    }
    while (plugin_registry[t->n])
        t->n++;
    t->plugins = arena_zero(&c->arena, (t->n + 1) * sizeof(*t->plugins));
    t->n = 0;
    for (size_t i = 0; plugin_registry[i]; i++)
        if (settings_has_plugin(s, str_of(plugin_registry[i]->name)))
            t->plugins[t->n++] = plugin_registry[i];
    t->apisix = apisix_apart(s, t->folder);
    struct plugin_env env = {
        .data_dir = str_of(t->folder), .threads = 1, .apisix = t->apisix, .eclusa = s->eclusa};
    for (; t->started < t->n; t->started++) {
        const struct plugin *p = t->plugins[t->started];
        const json_t *attr = s->plugin_attr ? json_object_get(s->plugin_attr, p->name) : NULL;
        if (p->start && !p->start(attr, &env, &c->err))
            return false;
    }
    return true;
}

static void trial_stop(struct trial *t)
{
    while (t->started-- > 0)
        if (t->plugins[t->started]->stop)
            t->plugins[t->started]->stop();
    json_decref(t->apisix);
    if (t->folder[0])
        nftw(t->folder, on_tree, 8, FTW_DEPTH | FTW_PHYS);
}

static bool import_run(struct command *c, struct store *store, const struct trial *trial,
                       const struct store_batch *documents)
{
    const struct settings *s = c->settings;
    struct transfer_result r;
    struct builder_env env = {
        .plugins = trial->plugins, .router = s->router, .verify_upstreams = s->verify_upstreams};
    struct builder *builder = builder_new(&env);
    struct transfer_in in = {.store = store,
                             .codec = c->codec,
                             .builder = builder,
                             .documents = documents,
                             .name = c->path ? c->path : "standard input",
                             .merge = c->merge,
                             .dry = c->dry,
                             .messages = c->dry ? stdout : stderr,
                             .progress = isatty(STDERR_FILENO) ? stderr : NULL};
    bool good = transfer_import(&in, &r, &c->arena, &c->err);

    if (good)
        fprintf(stderr, "%s%zu added, %zu changed, %zu removed, %zu as they were\n",
                c->dry ? "dry run: " : "", r.added, r.changed, r.removed, r.unchanged);
    builder_free(builder);
    return good;
}

/* Everything between the open store and its end. */
static bool import_into(struct command *c, struct store *store)
{
    struct trial trial = {0};
    struct store_batch *documents = NULL;
    struct buf text;

    buf_init(&text, TEXT_MAX);
    if (text_read(c, &text))
        documents = store_file_parse(buf_str(&text), c->json, &c->arena, &c->err);
    buf_fini(&text);
    bool good = documents && trial_start(c, &trial) && import_run(c, store, &trial, documents);
    trial_stop(&trial);
    if (documents)
        store_batch_free(documents);
    return good;
}

int command_import(int argc, char **argv)
{
    struct command c = {0};
    bool good = false;

    if (!arguments(&c, argc, argv, false)) {
        fputs(usage_import, stderr);
        return 2;
    }
    struct store *store = NULL;
    if (command_begin(&c))
        store = store_open_writing(c.settings, &c.arena, &c.err);
    if (store)
        good = document_codec_open(c.settings, &c.codec, &c.arena, &c.err) &&
               import_into(&c, store);
    if (!good)
        fail(&c);
    if (store)
        store->ops->close(store);
    command_end(&c);
    return good ? 0 : 1;
}
