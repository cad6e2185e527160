/* SPDX-License-Identifier: Apache-2.0 */
/* Log files: each has a bounded queue of filled blocks, which one thread writes. A file that takes
 * nothing (a pipe that nobody reads) holds up neither the others nor whoever logs. */
#include "loop/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/os_thread.h"
#include "base/panic.h"

enum {
    QUEUE_MAX = 8 << 20,  /* bytes of buffers waiting for one file */
    ERRORS_MAX = 1 << 20, /* bytes of error lines waiting */
    ERRORS_BLOCK = 8192,  /* error lines that come close together share a block */
    ERROR_LINE_MAX = 4096 + 128,
    LINE_MAX_BYTES = 65536,
    SHARED_PIECE = 4096, /* PIPE_BUF: what a pipe that polls writable takes without waiting */
    STOP_MS = 2000,      /* at the end, how long a file may make the rest wait */
    FILES_MAX = 64,
};

struct block {
    struct block *next;
    size_t n, cap;
    bool errors; /* lines of the error log: counted apart */
    bool reopen; /* no bytes: the file is opened anew when its turn comes */
    char bytes[];
};

struct log_file {
    struct log_writer *writer;
    char *path;
    bool inherited; /* fd shares its open file with other processes: it stays blocking */
    atomic_size_t queued, errors_queued;
    _Atomic uint64_t dropped;

    /* guarded by the writer's mutex */
    struct block *first, **last;
    uint64_t errors_dropped; /* not told yet */

    /* the writing thread's own */
    int fd;
    struct block *out; /* taken from the queue */
    size_t at;         /* bytes of the first block that are written */
    bool blocked;
    bool torn;    /* a line was begun and could not be ended */
    bool failing; /* the last write failed */
};

struct log_writer {
    pthread_t thread;
    int wakefd;
    pthread_mutex_t mutex; /* guards what follows and the files' queues */
    struct log_file *files[FILES_MAX];
    unsigned nfiles;
    bool woken; /* the wake-up was sent and not seen */
    bool stopping;
    enum log_level error_level;
};

/* Where the error log goes; there is one writer in a process. */
static struct log_file *_Atomic errors_file;

static struct block *block_new(size_t cap)
{
    struct block *b = mem_alloc(sizeof(*b) + cap);

    *b = (struct block){.cap = cap};
    return b;
}

/* With the mutex held. */
static void enqueue(struct log_file *f, struct block *b)
{
    struct log_writer *w = f->writer;
    uint64_t one = 1;

    b->next = NULL;
    *f->last = b;
    f->last = &b->next;
    if (w->woken)
        return;
    w->woken = true;
    ssize_t n = write(w->wakefd, &one, sizeof(one));
    (void)n; /* a full counter is a wake-up too */
}

/* ---- The error log
 * -------------------------------------------------------------------------------- */

/* "2026/11/22 13:55:49 [error] 12#34: ", nginx's form: local time, process and thread. */
static size_t stamp(char *p, size_t size, enum log_level level)
{
    static _Thread_local time_t second = -1;
    static _Thread_local char text[32];
    static _Thread_local pid_t tid;
    time_t now = time(NULL);

    if (now != second) {
        struct tm tm;
        localtime_r(&now, &tm);
        strftime(text, sizeof(text), "%Y/%m/%d %H:%M:%S", &tm);
        second = now;
    }
    if (!tid)
        tid = gettid();
    int n = snprintf(p, size, "%s [%s] %d#%d: ", text, log_level_name(level), (int)getpid(),
                     (int)tid);
    return (size_t)n;
}

/* Puts a whole line, newline included, into the queue's last block or a new one. With the mutex
 * held. */
static void errors_add(struct log_file *f, struct str line)
{
    struct block *b = f->first ? CONTAINER(f->last, struct block, next) : NULL;

    if (!b || !b->errors || b->cap - b->n < line.n) {
        b = block_new(ERRORS_BLOCK);
        b->errors = true;
        enqueue(f, b);
    }
    memcpy(b->bytes + b->n, line.p, line.n);
    b->n += line.n;
    atomic_fetch_add(&f->errors_queued, line.n);
}

/* Says how many lines were lost before what comes now. With the mutex held. */
static void errors_tell_dropped(struct log_file *f)
{
    char line[256];

    if (!f->errors_dropped)
        return;
    size_t n = stamp(line, sizeof(line), LOG_ALERT);
    n += (size_t)snprintf(line + n, sizeof(line) - n,
                          "%llu lines of this log were dropped: it is written too slowly\n",
                          (unsigned long long)f->errors_dropped);
    f->errors_dropped = 0;
    errors_add(f, str_make(line, n));
}

static void errors_sink(enum log_level level, struct str text)
{
    struct log_file *f = atomic_load(&errors_file);
    char line[ERROR_LINE_MAX];

    if (!f)
        return;
    size_t n = stamp(line, sizeof(line) - 1, level);
    text = str_head(text, sizeof(line) - 1 - n);
    memcpy(line + n, text.p, text.n);
    n += text.n;
    line[n++] = '\n';
    pthread_mutex_lock(&f->writer->mutex);
    if (atomic_load(&f->errors_queued) + n > ERRORS_MAX) {
        f->errors_dropped++;
        atomic_fetch_add(&f->dropped, 1);
    } else {
        errors_tell_dropped(f);
        errors_add(f, str_make(line, n));
    }
    pthread_mutex_unlock(&f->writer->mutex);
}

void log_writer_errors_to(struct log_writer *w, struct log_file *f, enum log_level level)
{
    w->error_level = level;
    if (f)
        atomic_store(&errors_file, f);
    log_setup(f ? errors_sink : NULL, level);
    if (!f)
        atomic_store(&errors_file, NULL);
}

/* ---- Opening
 * -------------------------------------------------------------------------------------- */

static int standard_stream(const char *path)
{
    if (str_eq(str_of(path), STR("/dev/stdout")))
        return STDOUT_FILENO;
    return str_eq(str_of(path), STR("/dev/stderr")) ? STDERR_FILENO : -1;
}

/* Non-blocking, so that a pipe without a reader does not hold up the other files; -1 with errno. */
static int open_path(const char *path, bool *inherited)
{
    const int flags = O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int stream = standard_stream(path), fd;
    struct stat st;

    *inherited = false;
    /* A redirected stream has one place where the next byte goes, for all who write there. */
    if (stream >= 0 && fstat(stream, &st) == 0 && S_ISREG(st.st_mode))
        return fcntl(stream, F_DUPFD_CLOEXEC, 3);
    fd = open(path, flags | O_WRONLY, 0644);
    /* A named pipe that nobody reads yet opens for reading and writing only. */
    if (fd < 0 && errno == ENXIO && stream < 0)
        fd = open(path, O_APPEND | O_CLOEXEC | O_NONBLOCK | O_RDWR);
    if (fd >= 0 || stream < 0)
        return fd;
    /* Sockets and other users' terminals cannot be opened by name. */
    *inherited = true;
    return fcntl(stream, F_DUPFD_CLOEXEC, 3);
}

/* Two names of one pipe, terminal or socket must be one file, or their lines could mix. Regular
 * files are appended to whole, and may part ways when they are rotated. */
static bool is_same(const struct log_file *f, const char *path, int fd)
{
    struct stat one, two;

    if (str_eq(str_of(f->path), str_of(path)))
        return true;
    return fstat(f->fd, &one) == 0 && fstat(fd, &two) == 0 && !S_ISREG(one.st_mode) &&
           one.st_dev == two.st_dev && one.st_ino == two.st_ino && one.st_rdev == two.st_rdev;
}

struct log_file *log_writer_open(struct log_writer *w, struct str name, struct arena *a,
                                 struct str *err)
{
    bool inherited;
    char *path = str_dup(str_eq(name, STR("stderr")) ? STR("/dev/stderr") : name);
    int fd = open_path(path, &inherited);

    if (fd < 0) {
        *err = arena_printf(a, "open() \"%s\" failed (%d: %s)", path, errno,
                            strerrordesc_np(errno));
        free(path);
        return NULL;
    }
    struct log_file *f = NULL;
    pthread_mutex_lock(&w->mutex);
    for (unsigned i = 0; i < w->nfiles && !f; i++)
        if (is_same(w->files[i], path, fd))
            f = w->files[i];
    if (f || w->nfiles == FILES_MAX) {
        if (!f)
            *err = arena_printf(a, "more than %d log files", FILES_MAX);
        close(fd);
        free(path);
    } else {
        f = mem_zero(sizeof(*f));
        f->writer = w;
        f->path = path;
        f->fd = fd;
        f->inherited = inherited;
        f->last = &f->first;
        w->files[w->nfiles++] = f;
    }
    pthread_mutex_unlock(&w->mutex);
    return f;
}

/* Behind what was handed over before: that still belongs to the old file. */
void log_writer_reopen(struct log_writer *w)
{
    pthread_mutex_lock(&w->mutex);
    for (unsigned i = 0; i < w->nfiles; i++) {
        struct block *b = block_new(0);
        b->reopen = true;
        enqueue(w->files[i], b);
    }
    pthread_mutex_unlock(&w->mutex);
}

static void file_reopen(struct log_file *f)
{
    bool inherited;
    int fd = open_path(f->path, &inherited);

    if (fd < 0) {
        log_write(LOG_EMERG, "open() \"%s\" failed (%d: %s)", f->path, errno,
                  strerrordesc_np(errno));
        return;
    }
    /* The mutex: log_writer_open looks at descriptors. */
    pthread_mutex_lock(&f->writer->mutex);
    int old = f->fd;
    f->fd = fd;
    f->inherited = inherited;
    pthread_mutex_unlock(&f->writer->mutex);
    close(old);
    f->torn = f->failing = false;
}

/* ---- Writing
 * -------------------------------------------------------------------------------------- */

/* Bytes written, or -1 with errno; EAGAIN when the file takes nothing now. */
static ssize_t file_put(struct log_file *f, const char *p, size_t n)
{
    struct pollfd ready = {.fd = f->fd, .events = POLLOUT};

    if (!f->inherited)
        return write(f->fd, p, n);
    if (poll(&ready, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(f->fd, p, n < SHARED_PIECE ? n : SHARED_PIECE);
}

static void file_pop(struct log_file *f)
{
    struct block *b = f->out;

    f->out = b->next;
    f->at = 0;
    atomic_fetch_sub(b->errors ? &f->errors_queued : &f->queued, b->n);
    free(b);
}

static uint64_t lines_of(const struct block *b)
{
    uint64_t n = 0;

    for (size_t i = 0; b->errors && i < b->n; i++)
        n += b->bytes[i] == '\n';
    return b->errors ? n : !b->reopen;
}

static void file_drop(struct log_file *f)
{
    atomic_fetch_add(&f->dropped, lines_of(f->out));
    file_pop(f);
}

/* The disk is full, the reader of a pipe has gone: the block is lost, the next may not be. */
static void file_failed(struct log_file *f, int error)
{
    f->torn |= f->at > 0;
    file_drop(f);
    if (!f->failing && f != atomic_load(&errors_file))
        log_write(LOG_ALERT, "write() to \"%s\" failed (%d: %s)", f->path, error,
                  strerrordesc_np(error));
    f->failing = true;
}

/* Writes what can be written without waiting for a reader. */
static void file_write(struct log_file *f)
{
    f->blocked = false;
    while (f->out) {
        struct block *b = f->out;
        if (b->reopen) {
            file_pop(f);
            file_reopen(f);
            continue;
        }
        if (f->torn && file_put(f, "\n", 1) == 1)
            f->torn = false;
        ssize_t n = file_put(f, b->bytes + f->at, b->n - f->at);
        if (n >= 0) {
            f->at += (size_t)n;
            f->failing = false;
            if (f->at == b->n)
                file_pop(f);
        } else if (errno == EAGAIN) {
            f->blocked = true;
            break;
        } else if (errno != EINTR) {
            file_failed(f, errno);
        }
    }
}

/* Takes over the queues of all files that have nothing left to write. Returns whether any file has
 * something to write now. */
static bool take_queues(struct log_writer *w, struct log_file **files, unsigned *nfiles,
                        bool *stopping)
{
    bool any = false;

    pthread_mutex_lock(&w->mutex);
    w->woken = false;
    *stopping = w->stopping;
    *nfiles = w->nfiles;
    for (unsigned i = 0; i < w->nfiles; i++) {
        struct log_file *f = files[i] = w->files[i];
        if (!f->out) {
            errors_tell_dropped(f);
            f->out = f->first;
            f->first = NULL;
            f->last = &f->first;
        }
        any |= f->out && !f->blocked;
    }
    pthread_mutex_unlock(&w->mutex);
    return any;
}

static int64_t clock_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Waits for more to write, or for files that took nothing; until_ms: at most till then, -1: for
 * ever. Those that can be written are no longer blocked. */
static void wait_for_work(struct log_writer *w, struct log_file **files, unsigned nfiles,
                          int64_t until_ms)
{
    struct pollfd fds[FILES_MAX + 1];
    unsigned n = 0;
    uint64_t count;
    int64_t left = until_ms < 0 ? -1 : until_ms - clock_ms();

    for (unsigned i = 0; i < nfiles; i++)
        if (files[i]->blocked)
            fds[n++] = (struct pollfd){.fd = files[i]->fd, .events = POLLOUT};
    fds[n] = (struct pollfd){.fd = w->wakefd, .events = POLLIN};
    if (poll(fds, n + 1, left < 0 && until_ms >= 0 ? 0 : (int)left) <= 0)
        return;
    if (fds[n].revents && read(w->wakefd, &count, sizeof(count)) < 0)
        ASSERT(errno == EAGAIN);
    n = 0;
    for (unsigned i = 0; i < nfiles; i++)
        if (files[i]->blocked && fds[n++].revents)
            files[i]->blocked = false;
}

static void *writer_main(void *arg)
{
    struct log_writer *w = arg;
    struct log_file *files[FILES_MAX];
    unsigned nfiles;
    bool stopping;
    int64_t give_up = -1;

    for (;;) {
        bool left = false;
        bool any = take_queues(w, files, &nfiles, &stopping);
        for (unsigned i = 0; i < nfiles; i++) {
            if (files[i]->out && !files[i]->blocked)
                file_write(files[i]);
            left |= files[i]->out != NULL;
        }
        if (any)
            continue;
        if (stopping && give_up < 0)
            give_up = clock_ms() + STOP_MS;
        if (stopping && (!left || clock_ms() >= give_up))
            return NULL;
        wait_for_work(w, files, nfiles, give_up);
    }
}

/* ---- Start and stop
 * ------------------------------------------------------------------------------- */

struct log_writer *log_writer_start(void)
{
    struct log_writer *w = mem_zero(sizeof(*w));

    tzset(); /* now, not at the first line */
    w->error_level = LOG_WARN;
    w->wakefd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&w->mutex, NULL);
    /* SIGPIPE is blocked in this one, as all signals are. */
    if (w->wakefd < 0 || !os_thread_start(&w->thread, "log", writer_main, w))
        PANIC("the system gives no thread for logs");
    return w;
}

static void file_free(struct log_file *f)
{
    while (f->out)
        file_drop(f);
    close(f->fd);
    free(f->path);
    free(f);
}

void log_writer_stop(struct log_writer *w)
{
    uint64_t one = 1;

    if (atomic_load(&errors_file))
        log_writer_errors_to(w, NULL, w->error_level);
    pthread_mutex_lock(&w->mutex);
    w->stopping = true;
    ssize_t n = write(w->wakefd, &one, sizeof(one));
    (void)n; /* a full counter is a wake-up too */
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->thread, NULL);
    for (unsigned i = 0; i < w->nfiles; i++) {
        ASSERT(!w->files[i]->first || w->files[i]->out);
        /* What a file that takes nothing had still in its queue. */
        if (w->files[i]->first) {
            struct block **end = &w->files[i]->out;
            while (*end)
                end = &(*end)->next;
            *end = w->files[i]->first;
        }
        file_free(w->files[i]);
    }
    close(w->wakefd);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}

/* ---- Buffers
 * -------------------------------------------------------------------------------------- */

struct log_buffer {
    struct log_file *file;
    struct loop *loop;
    size_t bytes; /* hand over when so many are there */
    int64_t flush_ms;
    struct timer timer;
    struct block *block; /* NULL: empty */
};

static void on_flush_timer(struct timer *t)
{
    log_buffer_flush(CONTAINER(t, struct log_buffer, timer));
}

struct log_buffer *log_buffer_new(struct log_file *f, struct loop *loop, size_t bytes,
                                  int64_t flush_ms)
{
    struct log_buffer *b = mem_alloc(sizeof(*b));

    *b = (struct log_buffer){.file = f, .loop = loop, .bytes = bytes, .flush_ms = flush_ms};
    timer_init(&b->timer, on_flush_timer);
    return b;
}

char *log_buffer_room(struct log_buffer *b, size_t n)
{
    ASSERT(n <= LINE_MAX_BYTES);
    if (b->block && b->block->cap - b->block->n < n)
        log_buffer_flush(b);
    if (!b->block)
        b->block = block_new(n > b->bytes ? n : b->bytes);
    return b->block->bytes + b->block->n;
}

void log_buffer_wrote(struct log_buffer *b, size_t n)
{
    struct block *block = b->block;

    ASSERT(block && n <= block->cap - block->n);
    bool first = block->n == 0;
    block->n += n;
    if (block->n >= b->bytes)
        log_buffer_flush(b);
    else if (first && n && b->flush_ms > 0)
        loop_timer(b->loop, &b->timer, b->flush_ms);
}

void log_buffer_flush(struct log_buffer *b)
{
    struct log_file *f = b->file;
    struct block *block = b->block;

    timer_pause(&b->timer);
    if (!block || !block->n)
        return;
    b->block = NULL;
    if (atomic_fetch_add(&f->queued, block->n) + block->n > QUEUE_MAX) {
        atomic_fetch_sub(&f->queued, block->n);
        atomic_fetch_add(&f->dropped, 1);
        free(block);
        return;
    }
    pthread_mutex_lock(&f->writer->mutex);
    enqueue(f, block);
    pthread_mutex_unlock(&f->writer->mutex);
}

void log_buffer_free(struct log_buffer *b)
{
    log_buffer_flush(b);
    timer_clear(&b->loop->timers, &b->timer);
    free(b->block);
    free(b);
}

uint64_t log_file_dropped(const struct log_file *f)
{
    return atomic_load(&f->dropped);
}
