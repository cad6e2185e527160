/* SPDX-License-Identifier: Apache-2.0 */
/* The store that is given whole. All of it is the keeper's thread's. */
#include "store/whole.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/data_dir.h"
#include "store/document.h"
#include "store/file.h"

enum { COPY_MAX = 1 << 30, READ = 1 << 16 };

struct whole {
    struct store store;
    struct seal *seal;
    int lock;
    char *path, *path_new; /* of the copy */
    struct str text;       /* JSON, on the heap; absent: none */
    json_t *head;          /* of its members those that are no lists; NULL: none */
    json_t *indexes;       /* modifiedIndex of the documents that came with one, by key */
    struct store_batch *documents;
    int64_t revision;
    struct str err_text; /* of the last failure; on the heap */
};

static struct whole *whole_of(struct store *s)
{
    return CONTAINER(s, struct whole, store);
}

/* ---- The copy ----------------------------------------------------------------------------------
 */

static bool write_all(int fd, struct str text)
{
    while (text.n > 0) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno != EINTR)
            return false;
        text = str_from(text, n > 0 ? (size_t)n : 0);
    }
    return true;
}

/* The folder must know the new name before it is said to be there. */
static bool folder_sync(const char *path)
{
    char *folder = str_dup(str_of(path));
    char *slash = strrchr(folder, '/');

    if (slash)
        *slash = 0;
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    free(folder);
    return good;
}

static enum store_status failed(struct whole *w, struct str *err, const char *what)
{
    struct arena a;

    arena_init(&a, NULL);
    struct str text = arena_printf(&a, "cannot write %s: %s: %s", w->path, what, strerror(errno));
    free((char *)(uintptr_t)w->err_text.p);
    w->err_text = str_of(str_dup(text));
    arena_fini(&a);
    *err = w->err_text;
    return STORE_FAILED;
}

static enum store_status copy_write(struct whole *w, struct str plain, struct str *err)
{
    enum store_status status = STORE_OK;
    struct arena a;

    arena_init(&a, NULL);
    struct str text = seal_close(w->seal, &a, plain);
    int fd = open(w->path_new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        status = failed(w, err, "open");
    else if (!write_all(fd, text) || fsync(fd) < 0)
        status = failed(w, err, "write");
    if (fd >= 0 && close(fd) < 0 && status == STORE_OK)
        status = failed(w, err, "close");
    if (status == STORE_OK && (rename(w->path_new, w->path) < 0 || !folder_sync(w->path)))
        status = failed(w, err, "rename");
    arena_fini(&a);
    return status;
}

static bool read_all(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 1;

    if (fd < 0)
        return false;
    while (n > 0) {
        char *room = buf_room(out, READ);
        n = room ? read(fd, room, READ) : -1;
        if (n > 0)
            out->n += (size_t)n;
        else if (!room)
            errno = EFBIG;
    }
    int error = errno;
    close(fd);
    errno = error;
    return n == 0;
}

/* NULL: there is none, or it is of no use and that is logged. */
static json_t *copy_read(struct whole *w)
{
    json_t *config = NULL;
    struct str text;
    struct arena a;
    struct buf in;

    arena_init(&a, NULL);
    buf_init(&in, COPY_MAX);
    if (!read_all(w->path, &in)) {
        if (errno != ENOENT)
            log_error("%s cannot be read: %s: no configuration is served", w->path,
                      strerror(errno));
    } else {
        enum seal_status sealed = seal_open(w->seal, &a, buf_str(&in), &text);
        if (sealed == SEAL_OPENED || sealed == SEAL_PLAIN)
            config = json_loadb(text.p, text.n, 0, NULL);
        if (!json_is_object(config)) {
            json_decref(config);
            config = NULL;
            log_error("%s cannot be opened%s: no configuration is served", w->path,
                      sealed == SEAL_LOCKED ? " with the key in secret.key" : "");
        }
    }
    buf_fini(&in);
    arena_fini(&a);
    return config;
}

/* ---- Another whole -----------------------------------------------------------------------------
 */

/* Documents that came with the modifiedIndex that they have here stay. */
static void indexes_keep(const struct whole *w, struct store_batch *new, const json_t *indexes)
{
    for (size_t i = 0; i < new->n; i++) {
        struct str key = new->items[i].key;
        const json_t *now = json_object_getn(indexes, key.p, key.n);
        const json_t *then = json_object_getn(w->indexes, key.p, key.n);
        const struct store_item *was = now && then ? store_batch_find(w->documents, key) : NULL;
        if (was && json_equal(now, then))
            new->items[i].value = arena_str(&new->arena, was->value);
    }
}

/* As text: its values take many times as much, and are seldom asked for. */
static void text_keep(struct whole *w, struct str text, const json_t *config)
{
    const char *name;
    json_t *value;

    free((char *)(uintptr_t)w->text.p);
    json_decref(w->head);
    w->text = str_make(str_dup(text), text.n);
    w->head = json_object();
    json_object_foreach((json_t *)(uintptr_t)config, name, value)
    {
        if (!json_is_array(value))
            json_object_set(w->head, name, value);
    }
}

enum store_status store_whole_replace(struct store *s, const json_t *config,
                                      struct store_batch **changes, struct str *err)
{
    struct whole *w = whole_of(s);
    struct arena a;

    arena_init(&a, NULL);
    struct str text = document_text(&a, config);
    enum store_status status = copy_write(w, text, err);
    if (status == STORE_OK) {
        json_t *indexes = json_object();
        struct store_batch *new = store_file_documents(config, indexes);
        indexes_keep(w, new, indexes);
        *changes = store_batch_compare(w->documents, new, ++w->revision);
        store_batch_free(w->documents);
        json_decref(w->indexes);
        w->documents = new;
        w->indexes = indexes;
        text_keep(w, text, config);
    }
    arena_fini(&a);
    return status;
}

struct str store_whole_text(struct store *s)
{
    return whole_of(s)->text;
}

const json_t *store_whole_head(struct store *s)
{
    return whole_of(s)->head;
}

/* ---- Calls -------------------------------------------------------------------------------------
 */

static enum store_status whole_get(struct store *store, struct str key, struct arena *a,
                                   struct store_item *out, struct str *err)
{
    const struct store_item *item = store_batch_find(whole_of(store)->documents, key);

    (void)err;
    if (!item)
        return STORE_NOT_FOUND;
    *out = *item;
    out->key = arena_str(a, item->key);
    out->value = arena_str(a, item->value);
    return STORE_OK;
}

static enum store_status whole_list(struct store *store, struct str prefix,
                                    bool (*each)(void *arg, const struct store_item *item),
                                    void *arg, struct str *err)
{
    (void)err;
    store_batch_list(whole_of(store)->documents, prefix, each, arg);
    return STORE_OK;
}

static enum store_status whole_pick(struct store *store, const struct store_pick *p,
                                    struct str *err)
{
    (void)err;
    store_batch_pick(whole_of(store)->documents, p);
    return STORE_OK;
}

static enum store_status read_only(struct str *err)
{
    *err = STR("the configuration is written as a whole, by PUT /apisix/admin/configs");
    return STORE_FAILED;
}

static enum store_status whole_write(struct store *store, struct store_write *w, struct str *err)
{
    (void)store, (void)w;
    return read_only(err);
}

static enum store_status whole_next_revision(struct store *store, int64_t *revision,
                                             struct str *err)
{
    (void)store, (void)revision;
    return read_only(err);
}

static int64_t whole_revision(struct store *store)
{
    return whole_of(store)->revision;
}

static void whole_close(struct store *store)
{
    struct whole *w = whole_of(store);

    free((char *)(uintptr_t)w->text.p);
    json_decref(w->head);
    json_decref(w->indexes);
    if (w->documents)
        store_batch_free(w->documents);
    seal_free(w->seal);
    if (w->lock >= 0)
        close(w->lock);
    free(w->path);
    free(w->path_new);
    free((char *)(uintptr_t)w->err_text.p);
    free(w);
}

static const struct store_ops whole_ops = {
    .name = "configs",
    .close = whole_close,
    .get = whole_get,
    .list = whole_list,
    .pick = whole_pick,
    .write = whole_write,
    .next_revision = whole_next_revision,
    .revision = whole_revision,
};

bool store_is_whole(const struct store *s)
{
    return s->ops == &whole_ops;
}

struct store *store_whole_open(struct str data_dir, struct seal *seal, struct arena *a,
                               struct str *err)
{
    struct whole *w = mem_zero(sizeof(*w));

    w->store.ops = &whole_ops;
    w->seal = seal;
    w->lock = data_dir_lock(data_dir, a, err);
    if (w->lock < 0) {
        whole_close(&w->store);
        return NULL;
    }
    w->path = str_dup(arena_printf(a, "%.*s/configs", STR_ARG(data_dir)));
    w->path_new = str_dup(arena_printf(a, "%.*s/configs.new", STR_ARG(data_dir)));
    w->indexes = json_object();
    json_t *config = copy_read(w);
    w->documents = store_file_documents(config, w->indexes);
    w->revision = config ? 1 : 0;
    if (config) {
        struct arena text;
        arena_init(&text, NULL);
        text_keep(w, document_text(&text, config), config);
        arena_fini(&text);
        json_decref(config);
    }
    for (size_t i = 0; i < w->documents->n; i++)
        w->documents->items[i].modified = w->documents->items[i].created = 1;
    return &w->store;
}
