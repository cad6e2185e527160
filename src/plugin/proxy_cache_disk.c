/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a disk zone: one file an entry, named by its number, written beside its place and
 * renamed into it. Nothing here is durable against a power cut, but every file is checked before it
 * is believed, and one that is not sound is removed. Only names that this file makes are touched:
 * the folder may hold other things. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/os_thread.h"
#include "plugin/proxy_cache_zone.h"

enum { DIGITS = 16, PATH_SIZE = 4096 };
#define SUFFIX     ".entry"
#define TMP_SUFFIX ".entry.tmp"

/* ---- Paths ------------------------------------------------------------------------------------
 */

/* The place of a file: folders are named by the last digits of its number, as cache_levels says
 * (nginx's layout). False: the path is too long. */
static bool file_path(const struct cache_zone *z, uint64_t file, const char *suffix,
                      char out[PATH_SIZE])
{
    const struct cache_zone_conf *c = zone_conf(z);
    char name[DIGITS + 1];
    unsigned end = DIGITS;
    int n = snprintf(out, PATH_SIZE, "%.*s/", STR_ARG(c->disk_path));

    snprintf(name, sizeof(name), "%016" PRIx64, file);
    for (unsigned i = 0; i < 3 && c->levels[i] && n > 0 && n < PATH_SIZE; i++) {
        end -= c->levels[i];
        n += snprintf(out + n, (size_t)(PATH_SIZE - n), "%.*s/", (int)c->levels[i], name + end);
    }
    if (n > 0 && n < PATH_SIZE)
        n += snprintf(out + n, (size_t)(PATH_SIZE - n), "%s%s", name, suffix);
    return n > 0 && n < PATH_SIZE;
}

static void make_folders(char *path)
{
    for (char *p = path + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            mkdir(path, 0700); /* one that is there is fine, any other fault comes at open */
            *p = '/';
        }
}

enum fault { FAULT_SCAN, FAULT_READ, FAULT_WRITE, FAULTS };

static void complain(const struct cache_zone *z, enum fault fault, const char *path)
{
    static const char *const words[FAULTS] = {"look through", "read", "write"};
    static atomic_int_least64_t last[FAULTS];
    int64_t now = time(NULL), before = atomic_load(&last[fault]);
    int number = errno;

    /* A full disk fails each request: one line in ten seconds says enough. */
    if (now - before >= 10 && atomic_compare_exchange_strong(&last[fault], &before, now))
        log_error("proxy-cache: zone %.*s: cannot %s %s: %s", STR_ARG(zone_conf(z)->name),
                  words[fault], path, strerror(number));
}

/* ---- Chores -----------------------------------------------------------------------------------
 */

static bool write_all(int fd, struct str s)
{
    while (s.n) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        s = str_from(s, (size_t)n);
    }
    return true;
}

static int open_new(char *path)
{
    const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
    int fd = open(path, flags, 0600);

    if (fd >= 0 || errno != ENOENT)
        return fd;
    make_folders(path);
    return open(path, flags, 0600);
}

static void write_entry(const struct cache_chores *c)
{
    char path[PATH_SIZE], tmp[PATH_SIZE];
    struct cache_entry *e = c->write;

    if (!file_path(c->zone, c->file, SUFFIX, path) ||
        !file_path(c->zone, c->file, TMP_SUFFIX, tmp)) {
        zone_forget(c->zone, &c->id, c->file);
        return;
    }
    int fd = open_new(tmp);
    entry_seal(e);
    bool written = fd >= 0 && write_all(fd, str_make(e->head, e->head_size)) &&
                   write_all(fd, e->body);
    if (fd >= 0 && close(fd) != 0)
        written = false;
    if (!written || rename(tmp, path) != 0) {
        complain(c->zone, FAULT_WRITE, tmp);
        unlink(tmp);
        zone_forget(c->zone, &c->id, c->file);
    } else if (!zone_has(c->zone, &c->id, c->file)) {
        unlink(path); /* purged, replaced or evicted meanwhile */
    }
}

void chores_run(void *arg)
{
    struct cache_chores *c = arg;
    char path[PATH_SIZE];

    if (!c)
        return;
    if (c->write)
        write_entry(c);
    for (size_t i = 0; i < c->nremove; i++)
        if (file_path(c->zone, c->remove[i], SUFFIX, path))
            unlink(path);
    entry_put(c->write);
    free(c->remove);
    free(c);
}

/* ---- Reading ----------------------------------------------------------------------------------
 */

static bool read_all(int fd, char *to, size_t n)
{
    while (n) {
        ssize_t got = read(fd, to, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        to += got;
        n -= (size_t)got;
    }
    return true;
}

/* The whole file, or with texts_only what is before the body. NULL: not sound. */
static struct cache_entry *read_entry(int fd, uint64_t max, bool texts_only, uint64_t *file_size)
{
    char head[ENTRY_HEAD_SIZE];
    struct stat st;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > max ||
        !read_all(fd, head, sizeof(head)) || entry_file_size(head) != (uint64_t)st.st_size)
        return NULL;
    *file_size = (uint64_t)st.st_size;
    size_t n = texts_only ? entry_texts_end(head) : (size_t)st.st_size;
    char *bytes = mem_alloc(n);
    memcpy(bytes, head, sizeof(head));
    if (read_all(fd, bytes + sizeof(head), n - sizeof(head)))
        return entry_read(bytes, n);
    free(bytes);
    return NULL;
}

struct cache_entry *disk_read(struct cache_zone *z, const struct cache_id *id, uint64_t file)
{
    char path[PATH_SIZE];
    uint64_t size;

    if (!file_path(z, file, SUFFIX, path))
        return NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno != ENOENT) {
        complain(z, FAULT_READ, path);
        return NULL;
    }
    struct cache_entry *e = NULL;
    if (fd >= 0) {
        e = read_entry(fd, zone_entry_max(z), false, &size);
        close(fd);
        if (!e)
            unlink(path);
    }
    if (!e)
        zone_forget(z, id, file);
    return e;
}

/* ---- The scan at start ------------------------------------------------------------------------
 */

enum { FORGOTTEN_AFTER_S = 86400 }; /* after it has expired (nginx's inactive=1d) */

struct disk_scan {
    struct cache_zone *zone;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t ended;
    bool done;
    atomic_bool stop;
    uint64_t kept, dropped;
};

/* The number in a name of ours; *tmp tells of a file that was never finished. */
static bool name_read(const char *name, uint64_t *file, bool *tmp)
{
    const char *rest = name + DIGITS;

    if (strspn(name, "0123456789abcdef") != DIGITS)
        return false;
    *tmp = strcmp(rest, TMP_SUFFIX) == 0;
    *file = strtoull(name, NULL, 16);
    return *tmp || strcmp(rest, SUFFIX) == 0;
}

/* Whether the index has taken the file in. */
static bool restore(struct disk_scan *s, const char *path, uint64_t file)
{
    struct cache_chores *chores = NULL;
    char place[PATH_SIZE];
    uint64_t size;

    /* Elsewhere: cache_levels has changed. */
    if (!file_path(s->zone, file, SUFFIX, place) || strcmp(place, path) != 0)
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return true;
    struct cache_entry *e = read_entry(fd, zone_entry_max(s->zone), true, &size);
    close(fd);
    if (!e)
        return false;
    bool good = e->facts.stored_ms / 1000 + e->facts.ttl_s + FORGOTTEN_AFTER_S > time(NULL) &&
                zone_restore(s->zone, e, file, size, &chores);
    entry_put(e);
    chores_run(chores);
    return good;
}

static void scan_file(struct disk_scan *s, const char *path, const char *name)
{
    uint64_t file;
    bool tmp;

    if (!name_read(name, &file, &tmp) || zone_is_new_file(s->zone, file))
        return;
    if (!tmp && restore(s, path, file)) {
        s->kept++;
        return;
    }
    unlink(path);
    s->dropped++;
}

static bool is_level(const char *name)
{
    size_t n = strspn(name, "0123456789abcdef");

    return n >= 1 && n <= 2 && !name[n];
}

static void scan_folder(struct disk_scan *s, const char *folder, unsigned depth)
{
    char path[PATH_SIZE];
    struct dirent *d;
    struct stat st;
    DIR *dir = opendir(folder);

    if (!dir) {
        if (errno != ENOENT)
            complain(s->zone, FAULT_SCAN, folder);
        return;
    }
    while (!atomic_load(&s->stop) && (d = readdir(dir))) {
        if (snprintf(path, sizeof(path), "%s/%s", folder, d->d_name) >= (int)sizeof(path) ||
            lstat(path, &st) != 0)
            continue;
        if (S_ISREG(st.st_mode))
            scan_file(s, path, d->d_name);
        else if (S_ISDIR(st.st_mode) && depth < 3 && is_level(d->d_name))
            scan_folder(s, path, depth + 1);
    }
    closedir(dir);
}

static void *scan_body(void *arg)
{
    struct disk_scan *s = arg;
    const struct cache_zone_conf *c = zone_conf(s->zone);

    scan_folder(s, c->disk_path.p, 0);
    log_info("proxy-cache: zone %.*s: %" PRIu64 " stored responses found, %" PRIu64
             " files dropped",
             STR_ARG(c->name), s->kept, s->dropped);
    pthread_mutex_lock(&s->mutex);
    s->done = true;
    pthread_cond_signal(&s->ended);
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

static void await(struct disk_scan *s, unsigned ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&s->mutex);
    while (!s->done && pthread_cond_timedwait(&s->ended, &s->mutex, &until) == 0)
        continue;
    pthread_mutex_unlock(&s->mutex);
}

void disk_scan_start(struct cache_zone *z, unsigned wait_ms)
{
    pthread_condattr_t attr;

    if (!zone_conf(z)->disk_path.p)
        return;
    struct disk_scan *s = mem_zero(sizeof(*s));
    s->zone = z;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->ended, &attr);
    pthread_condattr_destroy(&attr);
    if (!os_thread_start(&s->thread, "cache-scan", scan_body, s)) {
        log_error("proxy-cache: zone %.*s: no thread to look for stored responses",
                  STR_ARG(zone_conf(z)->name));
        free(s);
        return;
    }
    *zone_scan(z) = s;
    await(s, wait_ms);
}

void disk_scan_stop(struct cache_zone *z)
{
    struct disk_scan *s = *zone_scan(z);

    if (!s)
        return;
    atomic_store(&s->stop, true);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->ended);
    pthread_mutex_destroy(&s->mutex);
    free(s);
    *zone_scan(z) = NULL;
}
