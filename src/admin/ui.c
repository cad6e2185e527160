/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the files of the web interface on the job threads: never outside of its folder, never by a
 * link. */
#include "admin/ui.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/log.h"
#include "base/mem.h"

#define ROOT  "/ui"
#define INDEX "index.html"

/* Bytes of a file, and of a name in a path (NAME_MAX of Linux). Packing less than GZIP_MIN is not
 * worth a header. */
enum { FILE_BYTES = 32 << 20, NAME_BYTES = 255, GZIP_MIN = 1024, GZIP_LEVEL = 1 };

/* Bytes of files in replies under way: no key is asked for here, and clients may be slow. */
enum { HELD_MAX = 128 << 20 };
static atomic_size_t held; /* the process's: replies may be freed after their interface */

struct ui {
    char *dir;
    struct jobs *jobs;
};

/* One file asked for. */
struct ui_call {
    struct job job;
    struct ui *ui;
    admin_done_fn *done;
    void *arg;
    struct admin_reply *reply;
    struct str path; /* below the folder */
    struct str if_none_match;
    bool gzip;
};

struct type {
    struct str ending, name;
    bool packs; /* gzip makes it smaller */
};

#define TEXT(ending, name)                       \
    {                                            \
        STR_LIT("." ending), STR_LIT(name), true \
    }
#define DATA(ending, name)                        \
    {                                             \
        STR_LIT("." ending), STR_LIT(name), false \
    }
#define STR_LIT(s)       \
    {                    \
        s, sizeof(s) - 1 \
    }
static const struct type types[] = {
    TEXT("html", "text/html; charset=utf-8"),
    TEXT("js", "text/javascript; charset=utf-8"),
    TEXT("mjs", "text/javascript; charset=utf-8"),
    TEXT("css", "text/css; charset=utf-8"),
    TEXT("json", "application/json"),
    TEXT("map", "application/json"),
    TEXT("webmanifest", "application/manifest+json"),
    TEXT("svg", "image/svg+xml"),
    TEXT("txt", "text/plain; charset=utf-8"),
    TEXT("md", "text/plain; charset=utf-8"),
    TEXT("xml", "application/xml"),
    TEXT("ttf", "font/ttf"),
    TEXT("otf", "font/otf"),
    TEXT("wasm", "application/wasm"),
    TEXT("ico", "image/vnd.microsoft.icon"),
    DATA("woff", "font/woff"),
    DATA("woff2", "font/woff2"),
    DATA("png", "image/png"),
    DATA("jpg", "image/jpeg"),
    DATA("jpeg", "image/jpeg"),
    DATA("gif", "image/gif"),
    DATA("webp", "image/webp"),
};
static const struct type type_unknown = {.name = STR_LIT("application/octet-stream")};

static const struct type *type_of(struct str path)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (str_ends(path, types[i].ending))
            return &types[i];
    return &type_unknown;
}

/* ---- The reply ---------------------------------------------------------------------------------
 */

static void add_header(struct admin_reply *r, struct str name, struct str value)
{
    r->headers[r->nheaders++] = (struct admin_header){name, value};
}

static void reply_plain(struct admin_reply *r, int status, struct str text)
{
    r->status = status;
    r->content_type = STR("text/plain");
    r->body = text;
}

/* Packs the body when that makes it smaller. False: as it was. */
static bool pack(struct admin_reply *r)
{
    z_stream z = {.next_in = (z_const Bytef *)(uintptr_t)r->body.p, .avail_in = (uInt)r->body.n};

    if (deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    char *out = arena_bytes(&r->arena, r->body.n);
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)r->body.n;
    bool whole = deflate(&z, Z_FINISH) == Z_STREAM_END;
    size_t n = r->body.n - z.avail_out;
    deflateEnd(&z);
    if (whole)
        r->body = str_make(out, n);
    return whole;
}

/* ---- The file ----------------------------------------------------------------------------------
 */

/* Opens what name is called in the folder; closes the folder. -1 with errno. */
static int open_in(int folder, struct str name, int flags)
{
    char text[NAME_BYTES + 1];
    int fd = -1, error = ENOENT;

    /* No "..", and nothing hidden: what begins with a dot was not meant for the web. */
    if (name.n > 0 && name.n <= NAME_BYTES && name.p[0] != '.') {
        memcpy(text, name.p, name.n);
        text[name.n] = 0;
        fd = openat(folder, text, flags | O_NOFOLLOW | O_CLOEXEC);
        error = errno;
    }
    close(folder);
    errno = error;
    return fd;
}

/* The regular file of that path below dir, and what it is; -1 with errno. A link on the way counts
 * as if it was not there, but dir itself may be one. */
static int open_below(const char *dir, struct str path, struct stat *st)
{
    int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct str name = STR_NONE, rest = path;

    while (fd >= 0 && str_cut(rest, '/', &name, &rest))
        fd = open_in(fd, name, O_PATH | O_DIRECTORY);
    if (fd >= 0)
        /* Whoever opens a pipe waits, unless told not to. */
        fd = open_in(fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -1;
    if (fstat(fd, st) == 0 && S_ISREG(st->st_mode) && st->st_size <= FILE_BYTES)
        return fd;
    errno = S_ISREG(st->st_mode) ? EFBIG : ENOENT;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static bool is_absent(int error)
{
    return error == ENOENT || error == ENOTDIR || error == ELOOP;
}

/* The whole file; false when it became shorter. */
static bool read_whole(int fd, char *to, size_t size)
{
    ssize_t n = 1;

    for (size_t at = 0; at < size; at += (size_t)n) {
        n = read(fd, to + at, size - at);
        if (n <= 0)
            return false;
    }
    return true;
}

/* What a browser may keep: a page only while it asks whether it is still the same, since it names
 * the files of its version; those for two hours, as in APISIX. */
static struct str cache_control(const struct type *type)
{
    return str_starts(type->name, STR("text/html")) ? STR("no-cache")
                                                    : STR("private, max-age=7200");
}

static bool hold(struct admin_reply *r, size_t n)
{
    r->held = &held;
    r->held_bytes = n;
    return atomic_fetch_add(&held, n) + n <= HELD_MAX;
}

static void reply_with(struct ui_call *c, int fd, const struct stat *st, struct str path)
{
    struct admin_reply *r = c->reply;
    const struct type *type = type_of(path);
    size_t size = (size_t)st->st_size;
    struct str tag = arena_printf(&r->arena, "\"%" PRIx64 ".%lx-%zx\"", (int64_t)st->st_mtim.tv_sec,
                                  (unsigned long)st->st_mtim.tv_nsec, size);

    /* Weak: the packed body and the plain one share it (RFC 9110 §8.8.1). */
    add_header(r, STR("ETag"), arena_join(&r->arena, STR("W/"), tag));
    add_header(r, STR("Cache-Control"), cache_control(type));
    add_header(r, STR("X-Content-Type-Options"), STR("nosniff"));
    add_header(r, STR("X-Frame-Options"), STR("SAMEORIGIN"));
    if (type->packs)
        add_header(r, STR("Vary"), STR("Accept-Encoding"));
    r->status = 304;
    if (c->if_none_match.n > 0 &&
        (str_eq(c->if_none_match, STR("*")) || str_search(c->if_none_match, tag) >= 0))
        return;
    bool packs = c->gzip && type->packs && size >= GZIP_MIN;
    if (!hold(r, packs ? 2 * size : size)) {
        r->nheaders = 0;
        reply_plain(r, 503, STR("Too many files are on their way.\n"));
        return;
    }
    char *bytes = arena_bytes(&r->arena, size + 1);
    if (!read_whole(fd, bytes, size)) {
        r->nheaders = 0;
        reply_plain(r, 503, STR("The file is being changed.\n"));
        return;
    }
    r->status = 200;
    r->content_type = type->name;
    r->body = str_make(bytes, size);
    if (packs && pack(r))
        add_header(r, STR("Content-Encoding"), STR("gzip"));
}

static void on_work(struct job *j)
{
    struct ui_call *c = CONTAINER(j, struct ui_call, job);
    struct str path = c->path;
    struct stat st;
    int fd = open_below(c->ui->dir, path, &st);

    if (fd < 0 && is_absent(errno)) {
        path = STR(INDEX);
        fd = open_below(c->ui->dir, path, &st);
    }
    if (fd < 0 && !is_absent(errno))
        log_error("admin: %.*s in eclusa.admin_ui_dir cannot be read: %s", STR_ARG(path),
                  strerrordesc_np(errno));
    if (fd < 0) {
        reply_plain(c->reply, 404, STR("There is no " INDEX " in eclusa.admin_ui_dir.\n"));
        return;
    }
    reply_with(c, fd, &st, path);
    close(fd);
}

static void on_done(struct job *j)
{
    struct ui_call *c = CONTAINER(j, struct ui_call, job);
    admin_done_fn *done = c->done;
    struct admin_reply *reply = c->reply;
    void *arg = c->arg;

    free(c);
    done(arg, reply);
}

/* ---- The request -------------------------------------------------------------------------------
 */

/* "q=0", "q=0.000" (RFC 9110 §12.4.2). */
static bool is_nothing(struct str weight)
{
    bool nothing = weight.n >= 3 && str_eq_nocase(str_head(weight, 2), STR("q="));

    for (size_t i = 2; nothing && i < weight.n; i++)
        nothing = weight.p[i] == '0' || weight.p[i] == '.';
    return nothing;
}

/* Whether the value of Accept-Encoding has gzip, and not with a weight of nothing (RFC 9110
 * §12.5.3). */
static bool takes_gzip(struct str codings)
{
    struct str one, name, weight;

    while (codings.n > 0) {
        str_cut(codings, ',', &one, &codings);
        str_cut(one, ';', &name, &weight);
        if (str_eq_nocase(str_trim(name), STR("gzip")))
            return !is_nothing(str_trim(weight));
    }
    return false;
}

bool ui_has(struct str path)
{
    return str_eq(path, STR(ROOT)) || str_starts(path, STR(ROOT "/"));
}

static struct str header_of(const struct admin_request *r, struct str name)
{
    return r->header ? r->header(r->header_arg, name) : STR_NONE;
}

/* What needs no file. False: it does. */
static bool answer_at_once(struct admin_reply *reply, const struct admin_request *r)
{
    if (!str_eq(r->method, STR("GET")) && !str_eq(r->method, STR("HEAD"))) {
        reply_plain(reply, 405, STR("GET and HEAD are what there is.\n"));
        add_header(reply, STR("Allow"), STR("GET, HEAD"));
        return true;
    }
    if (str_eq(r->path, STR(ROOT))) {
        reply->status = 301;
        add_header(reply, STR("Location"), STR(ROOT "/"));
        return true;
    }
    return false;
}

void ui_handle(struct ui *ui, const struct admin_request *r, admin_done_fn *done, void *arg)
{
    struct admin_reply *reply = mem_zero(sizeof(*reply));
    struct arena *a = &reply->arena;

    arena_init(a, NULL);
    if (answer_at_once(reply, r)) {
        done(arg, reply);
        return;
    }
    struct str path = str_from(r->path, sizeof(ROOT "/") - 1);
    struct ui_call *c = mem_zero(sizeof(*c));
    *c = (struct ui_call){.job = {.work = on_work, .done = on_done},
                          .ui = ui,
                          .done = done,
                          .arg = arg,
                          .reply = reply,
                          .path = arena_str(a, path.n > 0 ? path : STR(INDEX)),
                          .if_none_match = arena_str(a, header_of(r, STR("If-None-Match"))),
                          .gzip = takes_gzip(header_of(r, STR("Accept-Encoding")))};
    jobs_run(ui->jobs, &c->job);
}

struct ui *ui_new(struct str dir, struct jobs *jobs)
{
    struct ui *ui = mem_zero(sizeof(*ui));

    ui->dir = str_dup(dir);
    ui->jobs = jobs;
    return ui;
}

void ui_free(struct ui *ui)
{
    if (!ui)
        return;
    free(ui->dir);
    free(ui);
}
