/* SPDX-License-Identifier: Apache-2.0 */
/* The store in a file: read at start, and by a thread that the kernel wakes when the file changes.
 */
#include "store/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/os_thread.h"
#include "base/panic.h"
#include "store/data_dir.h"

enum { FILE_MAX = 256 << 20, READ = 1 << 16 };
/* How often a folder that is gone is looked for. */
enum { MISSING_MS = 1000 };

/* What tells one state of the file from another. */
struct stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec time;
};

struct file {
    struct store store;
    char *path;
    bool json;
    int lock;

    pthread_mutex_t mutex;
    struct store_batch *documents; /* by key; replaced by the thread alone, with the mutex held */
    int64_t revision;

    /* The thread's, once it runs. */
    struct stamp stamp;
    int inotify, stop;
    pthread_t thread;
    bool running;
    store_changed_fn *changed;
    void *arg;
};

static struct file *file_of(struct store *s)
{
    return CONTAINER(s, struct file, store);
}

/* ---- Reading the file --------------------------------------------------------------------------
 */

static struct stamp stamp_of(const struct stat *st)
{
    return (struct stamp){st->st_dev, st->st_ino, st->st_size, st->st_mtim};
}

static bool stamp_eq(const struct stamp *a, const struct stamp *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->time.tv_sec == b->time.tv_sec && a->time.tv_nsec == b->time.tv_nsec;
}

/* The whole file, and what it was when it was opened; false with errno. */
static bool read_all(const char *path, struct buf *out, struct stamp *stamp)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    ssize_t n = 1;

    if (fd < 0 || fstat(fd, &st) < 0)
        n = -1;
    else
        *stamp = stamp_of(&st);
    while (n > 0) {
        char *room = buf_room(out, READ);
        n = room ? read(fd, room, READ) : -1;
        if (n > 0)
            out->n += (size_t)n;
        else if (!room)
            errno = EFBIG;
    }
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return n == 0;
}

/* NULL with a message in the arena. */
static struct store_batch *file_read(struct file *f, struct arena *a, struct str *err)
{
    struct store_batch *documents = NULL;
    struct buf text;

    buf_init(&text, FILE_MAX);
    if (read_all(f->path, &text, &f->stamp))
        documents = store_file_parse(buf_str(&text), f->json, a, err);
    else
        *err = arena_printf(a, "%s", strerror(errno));
    buf_fini(&text);
    return documents;
}

/* ---- Changes -----------------------------------------------------------------------------------
 */

static void reload(struct file *f)
{
    struct store_batch *documents, *changes;
    struct str err = STR_NONE;
    struct arena a;

    arena_init(&a, NULL);
    documents = file_read(f, &a, &err);
    if (!documents) {
        log_error("failed to parse the content of file %s: %.*s. The last good configuration stays "
                  "in service",
                  f->path, STR_ARG(err));
        arena_fini(&a);
        return;
    }
    arena_fini(&a);
    changes = store_batch_compare(f->documents, documents, f->revision + 1);
    pthread_mutex_lock(&f->mutex);
    struct store_batch *old = f->documents;
    f->documents = documents;
    f->revision++;
    pthread_mutex_unlock(&f->mutex);
    store_batch_free(old);
    log_warn("config file %s reloaded: %zu changes", f->path, changes->n);
    f->changed(f->arg, changes);
}

/* ---- Watching ----------------------------------------------------------------------------------
 */

static bool watch_folder(struct file *f, const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash && slash > path ? (size_t)(slash - path) : 1;

    if (n >= sizeof(folder))
        return false;
    memcpy(folder, slash ? path : ".", n);
    folder[n] = 0;
    return inotify_add_watch(f->inotify, folder,
                             IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_MOVED_FROM |
                                 IN_MOVE_SELF | IN_DELETE_SELF | IN_ONLYDIR) >= 0;
}

/* Watches the folder of the file, and the one where it really is when there are links on the way:
 * whoever replaces a link there (Kubernetes) changes the file. False: one is missing. */
static bool watch_arm(struct file *f)
{
    char real[PATH_MAX];

    return watch_folder(f, f->path) && realpath(f->path, real) && watch_folder(f, real);
}

/* Takes what the kernel says. Whether a file of that name was written or moved there: its time may
 * be the old one, clocks of file systems tick slowly. */
static bool events_name(struct file *f)
{
    _Alignas(struct inotify_event) char events[4096];
    const char *slash = strrchr(f->path, '/'), *name = slash ? slash + 1 : f->path;
    bool named = false;
    ssize_t n;

    while ((n = read(f->inotify, events, sizeof(events))) > 0) {
        const struct inotify_event *event;
        for (ssize_t at = 0; at < n; at += (ssize_t)(sizeof(*event) + event->len)) {
            event = (const struct inotify_event *)(const void *)(events + at);
            named |= (event->mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) && event->len > 0 &&
                     strcmp(event->name, name) == 0;
        }
    }
    return named;
}

/* A file that was just made is empty until its writer closes it, which is another event. */
static bool has_changed(struct file *f)
{
    struct stat st;

    if (stat(f->path, &st) < 0)
        return false;
    struct stamp now = stamp_of(&st);
    return st.st_size > 0 && !stamp_eq(&now, &f->stamp);
}

static void *watcher_main(void *arg)
{
    struct file *f = arg;
    struct pollfd fds[2] = {{.fd = f->inotify, .events = POLLIN},
                            {.fd = f->stop, .events = POLLIN}};
    bool armed = watch_arm(f);

    /* What changed before the watch began. */
    if (has_changed(f))
        reload(f);
    while (poll(fds, 2, armed ? -1 : MISSING_MS) >= 0 || errno == EINTR) {
        if (fds[1].revents)
            break;
        bool named = events_name(f);
        armed = watch_arm(f);
        if (named || has_changed(f))
            reload(f);
    }
    return NULL;
}

static void file_watch(struct store *store, store_changed_fn *changed, void *arg)
{
    struct file *f = file_of(store);

    f->changed = changed;
    f->arg = arg;
    if (!os_thread_start(&f->thread, "file-watch", watcher_main, f))
        PANIC("the system gives no thread");
    f->running = true;
}

static void file_unwatch(struct store *store)
{
    struct file *f = file_of(store);

    if (!f->running)
        return;
    if (eventfd_write(f->stop, 1) < 0)
        PANIC("an eventfd cannot be written");
    pthread_join(f->thread, NULL);
    f->running = false;
}

/* ---- Calls -------------------------------------------------------------------------------------
 */

static enum store_status file_get(struct store *store, struct str key, struct arena *a,
                                  struct store_item *out, struct str *err)
{
    struct file *f = file_of(store);
    enum store_status status = STORE_NOT_FOUND;

    (void)err;
    pthread_mutex_lock(&f->mutex);
    const struct store_item *item = store_batch_find(f->documents, key);
    if (item) {
        *out = *item;
        out->key = arena_str(a, item->key);
        out->value = arena_str(a, item->value);
        status = STORE_OK;
    }
    pthread_mutex_unlock(&f->mutex);
    return status;
}

static enum store_status file_list(struct store *store, struct str prefix,
                                   bool (*each)(void *arg, const struct store_item *item),
                                   void *arg, struct str *err)
{
    struct file *f = file_of(store);
    struct store_batch *found = store_batch_new();

    (void)err;
    pthread_mutex_lock(&f->mutex);
    for (size_t i = 0; i < f->documents->n; i++)
        if (str_starts(f->documents->items[i].key, prefix))
            store_batch_copy(found, &f->documents->items[i]);
    pthread_mutex_unlock(&f->mutex);
    store_batch_list(found, prefix, each, arg);
    store_batch_free(found);
    return STORE_OK;
}

static enum store_status read_only(struct str *err)
{
    *err = STR("the configuration is in a file: it is changed there");
    return STORE_FAILED;
}

static enum store_status file_write(struct store *store, struct store_write *w, struct str *err)
{
    (void)store, (void)w;
    return read_only(err);
}

static enum store_status file_next_revision(struct store *store, int64_t *revision, struct str *err)
{
    (void)store, (void)revision;
    return read_only(err);
}

static int64_t file_revision(struct store *store)
{
    struct file *f = file_of(store);

    pthread_mutex_lock(&f->mutex);
    int64_t revision = f->revision;
    pthread_mutex_unlock(&f->mutex);
    return revision;
}

static void file_close(struct store *store)
{
    struct file *f = file_of(store);

    file_unwatch(store);
    if (f->documents)
        store_batch_free(f->documents);
    if (f->inotify >= 0)
        close(f->inotify);
    if (f->stop >= 0)
        close(f->stop);
    close(f->lock);
    pthread_mutex_destroy(&f->mutex);
    free(f->path);
    free(f);
}

static const struct store_ops file_ops = {
    .name = "file",
    .close = file_close,
    .get = file_get,
    .list = file_list,
    .write = file_write,
    .next_revision = file_next_revision,
    .revision = file_revision,
    .load = file_list,
    .watch = file_watch,
    .unwatch = file_unwatch,
};

struct store *store_file_open(struct str path, bool json, struct str data_dir, struct arena *a,
                              struct str *err)
{
    int lock = data_dir_lock(data_dir, a, err);

    if (lock < 0)
        return NULL;
    struct file *f = mem_zero(sizeof(*f));
    f->store.ops = &file_ops;
    f->path = str_dup(path);
    f->json = json;
    f->lock = lock;
    pthread_mutex_init(&f->mutex, NULL);
    f->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    f->stop = eventfd(0, EFD_CLOEXEC);
    if (f->inotify < 0 || f->stop < 0) {
        *err = arena_printf(a, "files cannot be watched: %s", strerror(errno));
    } else if ((f->documents = file_read(f, a, err)) == NULL) {
        *err = arena_printf(a, "failed to parse the content of file %s: %.*s", f->path,
                            STR_ARG(*err));
    } else {
        f->revision = 1;
        for (size_t i = 0; i < f->documents->n; i++)
            f->documents->items[i].modified = 1;
        return &f->store;
    }
    file_close(&f->store);
    return NULL;
}
