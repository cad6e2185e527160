/* SPDX-License-Identifier: Apache-2.0 */
/* Log files: whole lines from many threads, files opened anew in between, nothing lost while the
 * disk keeps up, and lost lines counted when it does not. A pipe that nobody reads is the slow
 * disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "loop/log_file.h"

enum { THREADS = 4, LINES = 4000, REOPENS = 10 };

struct place {
    char dir[64];
    struct log_writer *writer;
    struct loop loop;
    struct arena arena;
};

static int place_make(void **state)
{
    struct place *p = mem_zero(sizeof(*p));

    snprintf(p->dir, sizeof(p->dir), "/tmp/eclusa-log-XXXXXX");
    if (!mkdtemp(p->dir) || !loop_init(&p->loop))
        return -1;
    arena_init(&p->arena, NULL);
    p->writer = log_writer_start();
    *state = p;
    return 0;
}

static const char *path_of(struct place *p, const char *name)
{
    return arena_printf(&p->arena, "%s/%s", p->dir, name).p;
}

static void writer_stop(struct place *p)
{
    if (p->writer)
        log_writer_stop(p->writer);
    p->writer = NULL;
}

static int place_drop(void **state)
{
    struct place *p = *state;
    char command[128];

    writer_stop(p);
    loop_fini(&p->loop);
    arena_fini(&p->arena);
    snprintf(command, sizeof(command), "rm -r %s", p->dir);
    int status = system(command);
    free(p);
    return status;
}

static struct log_file *file_open(struct place *p, const char *path)
{
    struct str err = STR_NONE;
    struct log_file *f = log_writer_open(p->writer, str_of(path), &p->arena, &err);

    if (!f)
        print_error("%.*s\n", STR_ARG(err));
    assert_non_null(f);
    return f;
}

/* The number that the text begins with. */
static int number_of(struct str text)
{
    size_t n = 0;
    uint64_t v;

    while (n < text.n && ascii_digit(text.p[n]))
        n++;
    assert_true(str_to_u64(str_head(text, n), INT32_MAX, &v));
    return (int)v;
}

/* The whole file; the caller frees the buffer. */
static struct buf slurp(const char *path)
{
    struct buf b;
    int fd = open(path, O_RDONLY);

    buf_init(&b, 64 << 20);
    assert_true(fd >= 0);
    for (;;) {
        char *room = buf_room(&b, 65536);
        assert_non_null(room);
        ssize_t n = read(fd, room, 65536);
        assert_true(n >= 0);
        if (n == 0)
            break;
        b.n += (size_t)n;
    }
    close(fd);
    return b;
}

static void put_line(struct log_buffer *b, const char *text)
{
    size_t n = strlen(text);

    memcpy(log_buffer_room(b, n + 1), text, n + 1);
    log_buffer_room(b, n + 1)[n] = '\n';
    log_buffer_wrote(b, n + 1);
}

/* ---- Many threads
 * -------------------------------------------------------------------------------- */

struct logger {
    struct log_file *file;
    struct log_writer *writer;
    const char *dir;
    pthread_t thread;
    pid_t tid;
    int index;
};

/* "index number xxx…": the length depends on the number, so that lines cross every edge. */
static void *logger_main(void *arg)
{
    struct logger *l = arg;
    struct loop loop;

    assert_true(loop_init(&loop));
    struct log_buffer *b = log_buffer_new(l->file, &loop, (size_t)l->index * 1000, 1000);
    for (int i = 0; i < LINES; i++) {
        char *p = log_buffer_room(b, 512);
        int n = snprintf(p, 512, "%d %d ", l->index, i);
        memset(p + n, 'x', (size_t)(i % 200));
        n += i % 200;
        p[n++] = '\n';
        log_buffer_wrote(b, (size_t)n);
        if (l->index == 0 && i % (LINES / REOPENS) == LINES / REOPENS / 2) {
            char from[128], to[128];
            snprintf(from, sizeof(from), "%s/access.log", l->dir);
            snprintf(to, sizeof(to), "%s/access.log.%02d", l->dir, i / (LINES / REOPENS));
            assert_int_equal(rename(from, to), 0);
            log_writer_reopen(l->writer);
            /* The file is there again when the writer has come to it. */
            while (access(from, F_OK) != 0)
                sched_yield();
        }
    }
    log_buffer_free(b);
    loop_fini(&loop);
    return NULL;
}

struct tally {
    int next[THREADS];
    int lines;
};

/* Each line is whole, and each thread's are in order. */
static void tally_lines(struct tally *t, struct str text)
{
    char filling[200];

    memset(filling, 'x', sizeof(filling));
    while (text.n) {
        struct str line;
        assert_true(str_cut(text, '\n', &line, &text));
        struct str index, number, fill;
        uint64_t i, k;
        assert_true(str_cut(line, ' ', &index, &line));
        assert_true(str_cut(line, ' ', &number, &fill));
        assert_true(str_to_u64(index, THREADS - 1, &i));
        assert_true(str_to_u64(number, LINES, &k));
        assert_int_equal(k, t->next[i]);
        t->next[i]++;
        t->lines++;
        assert_int_equal(fill.n, k % 200);
        assert_memory_equal(fill.p, filling, fill.n);
    }
}

static void test_many_threads(void **state)
{
    struct place *p = *state;
    struct log_file *f = file_open(p, path_of(p, "access.log"));
    struct logger loggers[THREADS];
    struct tally tally = {0};

    for (int i = 0; i < THREADS; i++) {
        loggers[i] = (struct logger){.file = f, .writer = p->writer, .dir = p->dir, .index = i};
        pthread_create(&loggers[i].thread, NULL, logger_main, &loggers[i]);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(loggers[i].thread, NULL);
    assert_int_equal(log_file_dropped(f), 0);
    writer_stop(p);
    for (int i = 0; i < REOPENS; i++) {
        struct buf b = slurp(arena_printf(&p->arena, "%s/access.log.%02d", p->dir, i).p);
        tally_lines(&tally, buf_str(&b));
        assert_true(b.n > 0);
        buf_fini(&b);
    }
    struct buf b = slurp(path_of(p, "access.log"));
    tally_lines(&tally, buf_str(&b));
    buf_fini(&b);
    assert_int_equal(tally.lines, THREADS * LINES);
}

/* ---- The error log
 * --------------------------------------------------------------------------------- */

static void *error_main(void *arg)
{
    struct logger *l = arg;

    l->tid = gettid();
    for (int i = 0; i < LINES; i++)
        log_write(i % 2 ? LOG_ERROR : LOG_NOTICE, "%d %d", l->index, i);
    log_info("not to be seen");
    return NULL;
}

/* Cuts "2026/11/22 13:55:49 [error] PID#TID: text" up; false: not of that form. */
static bool error_line(struct str line, char *level, int *pid, int *tid, struct str *text)
{
    int y, mo, d, h, mi, s, at = 0;
    char z[512];

    snprintf(z, sizeof(z), "%.*s", STR_ARG(line));
    if (sscanf(z, "%4d/%2d/%2d %2d:%2d:%2d [%15[a-z]] %d#%d: %n", &y, &mo, &d, &h, &mi, &s, level,
               pid, tid, &at) != 9 ||
        at < 30 || z[19] != ' ')
        return false;
    *text = str_from(line, (size_t)at);
    return y >= 2024 && mo >= 1 && mo <= 12 && d >= 1 && d <= 31 && h < 24 && mi < 60 && s < 61;
}

static void test_errors(void **state)
{
    struct place *p = *state;
    struct log_file *f = file_open(p, path_of(p, "error.log"));
    struct logger loggers[THREADS];
    int next[THREADS] = {0};
    bool own = false;

    log_writer_errors_to(p->writer, f, LOG_NOTICE);
    for (int i = 0; i < THREADS; i++) {
        loggers[i] = (struct logger){.index = i};
        pthread_create(&loggers[i].thread, NULL, error_main, &loggers[i]);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(loggers[i].thread, NULL);
    log_error("a\nb");
    assert_int_equal(log_file_dropped(f), 0);
    writer_stop(p);
    assert_false(log_enabled(LOG_INFO));
    struct buf b = slurp(path_of(p, "error.log"));
    struct str rest = buf_str(&b), line, text;
    while (rest.n) {
        char level[16];
        int pid, tid, index, number;
        assert_true(str_cut(rest, '\n', &line, &rest));
        assert_true(error_line(line, level, &pid, &tid, &text));
        assert_int_equal(pid, getpid());
        if (str_eq(text, STR("a\\x0ab"))) {
            assert_int_equal(tid, gettid());
            own = true;
            continue;
        }
        index = number_of(text);
        number = number_of(str_from(text, 2));
        assert_in_range(index, 0, THREADS - 1);
        assert_int_equal(number, next[index]++);
        assert_int_equal(tid, loggers[index].tid);
        assert_string_equal(level, number % 2 ? "error" : "notice");
    }
    assert_true(own);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(next[i], LINES);
    buf_fini(&b);
}

/* ---- Slow disks
 * ------------------------------------------------------------------------------------ */

static const char *pipe_make(struct place *p, const char *name)
{
    const char *path = path_of(p, name);

    assert_int_equal(mkfifo(path, 0600), 0);
    return path;
}

static void pipe_read_some(int fd, struct buf *b)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};

    assert_int_equal(poll(&ready, 1, 20000), 1);
    char *room = buf_room(b, 65536);
    assert_non_null(room);
    ssize_t n = read(fd, room, 65536);
    assert_true(n > 0);
    b->n += (size_t)n;
}

/* Reads what is in the pipe until `lines` lines have come. */
static void pipe_read_lines(int fd, struct buf *b, size_t lines)
{
    size_t seen = 0;

    while (seen < lines) {
        size_t from = b->n;
        pipe_read_some(fd, b);
        for (size_t i = from; i < b->n; i++)
            seen += b->p[i] == '\n';
    }
    assert_int_equal(seen, lines);
}

/* Twice what may wait is logged without waiting for the pipe; what does not arrive was counted. And
 * another file goes on meanwhile. */
static void test_slow_file(void **state)
{
    enum { SIZE = 1000, COUNT = 20000 };
    struct place *p = *state;
    const char *path = pipe_make(p, "slow"), *other = pipe_make(p, "other");
    struct log_file *f = file_open(p, path), *quick = file_open(p, other);
    struct log_buffer *b = log_buffer_new(f, &p->loop, 0, 0);
    struct log_buffer *q = log_buffer_new(quick, &p->loop, 0, 0);
    char whole[SIZE];
    struct buf got;

    for (int i = 0; i < COUNT; i++) {
        char *at = log_buffer_room(b, SIZE);
        memset(at, 'a' + i % 26, SIZE - 1);
        snprintf(at, 16, "%d ", i);
        at[strlen(at)] = ' ';
        at[SIZE - 1] = '\n';
        log_buffer_wrote(b, SIZE);
    }
    uint64_t dropped = log_file_dropped(f);
    assert_in_range(dropped, COUNT / 2, COUNT - 8000);

    int fd = open(other, O_RDONLY);
    buf_init(&got, 64 << 20);
    put_line(q, "quick");
    pipe_read_lines(fd, &got, 1);
    assert_true(str_eq(buf_str(&got), STR("quick\n")));
    close(fd);

    buf_eat(&got, got.n);
    fd = open(path, O_RDONLY);
    pipe_read_lines(fd, &got, COUNT - dropped);
    assert_int_equal(got.n, (COUNT - dropped) * SIZE);
    /* What was kept is the beginning, in order, each line whole. */
    int last = -1;
    for (size_t i = 0; i < got.n; i += SIZE) {
        int number = number_of(str_make(got.p + i, SIZE));
        assert_true(number > last);
        last = number;
        memset(whole, 'a' + number % 26, sizeof(whole));
        assert_memory_equal(got.p + i + 10, whole, SIZE - 11);
        assert_int_equal(got.p[i + SIZE - 1], '\n');
    }
    /* The queue has room again. */
    buf_eat(&got, got.n);
    put_line(b, "after");
    pipe_read_lines(fd, &got, 1);
    assert_true(str_eq(buf_str(&got), STR("after\n")));
    assert_int_equal(log_file_dropped(f), dropped);
    close(fd);
    buf_fini(&got);
    log_buffer_free(b);
    log_buffer_free(q);
}

/* The lines of errors that did not fit are told, as many as are missing. */
#define DROPPED " lines of this log were dropped"

/* Reads until the text holds so many lines beside those that tell of dropped ones: how many of
 * these there are depends on how often the writer found room in the pipe. */
static void pipe_read_kept(int fd, struct buf *b, size_t lines)
{
    for (;;) {
        struct str rest = buf_str(b), line;
        size_t kept = 0;
        while (str_cut(rest, '\n', &line, &rest))
            kept += str_search(line, STR(DROPPED)) < 0;
        if (kept >= lines)
            return;
        pipe_read_some(fd, b);
    }
}

static void test_slow_errors(void **state)
{
    enum { COUNT = 40000 };
    struct place *p = *state;
    const char *path = pipe_make(p, "slow");
    struct log_file *f = file_open(p, path);
    struct buf got;
    struct str rest, line, text;
    int next = 0;
    int told = 0;

    log_writer_errors_to(p->writer, f, LOG_ERROR);
    for (int i = 0; i < COUNT; i++)
        log_error("%d .........................................", i);
    uint64_t dropped = log_file_dropped(f);
    assert_in_range(dropped, 1000, COUNT - 1000);
    int fd = open(path, O_RDONLY);
    buf_init(&got, 64 << 20);
    pipe_read_kept(fd, &got, COUNT - dropped);
    log_error("%d the last", COUNT);
    pipe_read_kept(fd, &got, COUNT - dropped + 1);
    close(fd);
    for (rest = buf_str(&got); rest.n; next++) {
        char level[16];
        int pid, tid;
        assert_true(str_cut(rest, '\n', &line, &rest));
        assert_true(error_line(line, level, &pid, &tid, &text));
        if (str_search(text, STR(DROPPED)) > 0) {
            told += number_of(text);
            next += number_of(text) - 1;
            continue;
        }
        assert_int_equal(number_of(text), next);
    }
    assert_int_equal(next, COUNT + 1);
    assert_int_equal(told, dropped);
    buf_fini(&got);
    log_writer_errors_to(p->writer, NULL, LOG_WARN);
}

/* A pipe that takes nothing does not keep the program from ending; what it lost is lost. */
static void test_stop_slow(void **state)
{
    struct place *p = *state;
    struct log_file *f = file_open(p, pipe_make(p, "slow"));
    struct log_file *g = file_open(p, path_of(p, "file"));
    struct log_buffer *b = log_buffer_new(f, &p->loop, 0, 0);
    struct log_buffer *c = log_buffer_new(g, &p->loop, 4096, 1000);
    struct timespec start, end;

    for (int i = 0; i < 100; i++)
        log_buffer_wrote(b, (memset(log_buffer_room(b, 4096), 'x', 4096), 4096));
    put_line(c, "whole");
    log_buffer_free(b);
    log_buffer_free(c);
    clock_gettime(CLOCK_MONOTONIC, &start);
    writer_stop(p);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_in_range(end.tv_sec - start.tv_sec, 1, 10);
    struct buf got = slurp(path_of(p, "file"));
    assert_true(str_eq(buf_str(&got), STR("whole\n")));
    buf_fini(&got);
}

/* ---- Files
 * ----------------------------------------------------------------------------------------- */

static void test_open(void **state)
{
    struct place *p = *state;
    struct str err = STR_NONE;
    const char *fifo = pipe_make(p, "fifo"), *twin = path_of(p, "twin");

    assert_null(log_writer_open(p->writer, str_of(path_of(p, "no/such")), &p->arena, &err));
    assert_true(str_starts(err, STR("open() \"")));
    assert_true(str_ends(err, STR("/no/such\" failed (2: No such file or directory)")));
    struct log_file *f = file_open(p, path_of(p, "one"));
    assert_ptr_equal(f, file_open(p, path_of(p, "one")));
    assert_ptr_not_equal(f, file_open(p, path_of(p, "two")));
    /* Two names of one pipe are one file: their lines must not mix. */
    assert_int_equal(symlink(fifo, twin), 0);
    assert_ptr_equal(file_open(p, fifo), file_open(p, twin));
    assert_ptr_equal(file_open(p, "stderr"), file_open(p, "/dev/stderr"));
}

struct watch {
    struct io io;
    struct loop *loop;
    char text[64];
    ssize_t n;
};

static void on_line(struct io *io, uint32_t events)
{
    struct watch *w = CONTAINER(io, struct watch, io);

    (void)events;
    w->n = read(io->fd, w->text, sizeof(w->text));
    loop_stop(w->loop);
}

/* Lines wait for company, but no longer than flush_ms; the second line does not put that off. */
static void test_timer(void **state)
{
    struct place *p = *state;
    const char *path = pipe_make(p, "pipe");
    struct log_file *f = file_open(p, path);
    struct watch w = {.loop = &p->loop};
    struct log_buffer *b = log_buffer_new(f, &p->loop, 4096, 50);
    struct log_buffer *none = log_buffer_new(f, &p->loop, 4096, 50);

    w.io = (struct io){.fd = open(path, O_RDONLY | O_NONBLOCK), .on_event = on_line};
    assert_true(loop_watch_level(&p->loop, &w.io, EPOLLIN));
    int64_t start = p->loop.now_ms;
    log_buffer_room(none, 100);
    log_buffer_wrote(none, 0);
    put_line(b, "one");
    put_line(b, "two");
    loop_run(&p->loop);
    assert_true(str_eq(str_make(w.text, (size_t)w.n), STR("one\ntwo\n")));
    assert_in_range(p->loop.now_ms - start, 50, 5000);
    /* The timer of lines that were flushed by hand does not fire for nothing; the next line starts
     * it again. */
    p->loop.stop = false;
    put_line(b, "three");
    log_buffer_flush(b);
    put_line(b, "four");
    log_buffer_free(b);
    log_buffer_free(none);
    while (w.n < 11) {
        struct pollfd ready = {.fd = w.io.fd, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, 20000), 1);
        if (w.n == 8)
            w.n = 0;
        w.n += read(w.io.fd, w.text + w.n, sizeof(w.text) - (size_t)w.n);
    }
    assert_true(str_eq(str_make(w.text, (size_t)w.n), STR("three\nfour\n")));
    loop_unwatch(&p->loop, &w.io);
    close(w.io.fd);
}

/* Waits for one line of the error log, a pipe. */
static struct str next_error(int fd, struct buf *b)
{
    char level[16];
    int pid, tid;
    struct str text = STR_NONE;

    buf_eat(b, b->n);
    pipe_read_lines(fd, b, 1);
    assert_true(error_line(str_head(buf_str(b), b->n - 1), level, &pid, &tid, &text));
    return text;
}

static void test_full_disk(void **state)
{
    struct place *p = *state;
    const char *errors = pipe_make(p, "errors");
    struct log_file *full = file_open(p, "/dev/full");
    struct log_buffer *b = log_buffer_new(full, &p->loop, 0, 0);
    struct buf got;
    int fd;

    buf_init(&got, 65536);
    log_writer_errors_to(p->writer, file_open(p, errors), LOG_WARN);
    fd = open(errors, O_RDONLY);
    for (int i = 0; i < 100; i++)
        put_line(b, "lost");
    log_buffer_free(b);
    struct str text = next_error(fd, &got);
    assert_true(str_eq(text, STR("write() to \"/dev/full\" failed (28: No space left on device)")));
    /* Told once, counted each time. */
    while (log_file_dropped(full) < 100)
        sched_yield();
    log_error("next");
    assert_true(str_eq(next_error(fd, &got), STR("next")));
    close(fd);
    buf_fini(&got);
}

/* A file whose folder has gone keeps being written where it is. */
static void test_reopen_fails(void **state)
{
    struct place *p = *state;
    const char *errors = pipe_make(p, "errors"), *folder = path_of(p, "sub");
    const char *path = path_of(p, "sub/log");
    struct buf got;
    char text[64];

    assert_int_equal(mkdir(folder, 0700), 0);
    buf_init(&got, 65536);
    struct log_buffer *b = log_buffer_new(file_open(p, path), &p->loop, 0, 0);
    log_writer_errors_to(p->writer, file_open(p, errors), LOG_WARN);
    int fd = open(errors, O_RDONLY), log = open(path, O_RDONLY);
    put_line(b, "before");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
    log_writer_reopen(p->writer);
    assert_true(
        str_ends(next_error(fd, &got), STR("/sub/log\" failed (2: No such file or directory)")));
    put_line(b, "after");
    log_buffer_free(b);
    writer_stop(p);
    assert_int_equal(read(log, text, sizeof(text)), 13);
    assert_memory_equal(text, "before\nafter\n", 13);
    close(log);
    close(fd);
    buf_fini(&got);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_make, place_drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_many_threads), TEST(test_errors),    TEST(test_slow_file),
        TEST(test_slow_errors),  TEST(test_stop_slow), TEST(test_open),
        TEST(test_timer),        TEST(test_full_disk), TEST(test_reopen_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
