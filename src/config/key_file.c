/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a key's file, or makes it so that neither a crash nor a second process leaves half of it.
 */
#include "config/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"
#include "base/random.h"

enum { KEY_MIN = 16 };

static bool fail(struct arena *a, struct str *err, const char *what, struct str path)
{
    int error = errno;

    *err = arena_printf(a, "%s %.*s: %s", what, STR_ARG(path), strerror(error));
    errno = error;
    return false;
}

bool key_file_folder(struct str path, struct arena *a, struct str *err)
{
    char *z = arena_bytes(a, path.n + 1);

    memcpy(z, path.p, path.n);
    z[path.n] = 0;
    for (size_t i = 1; i <= path.n; i++) {
        if (i < path.n && z[i] != '/')
            continue;
        char saved = z[i];
        z[i] = 0;
        if (mkdir(z, 0750) < 0 && errno != EEXIST)
            return fail(a, err, "cannot make the folder", str_of(z));
        z[i] = saved;
    }
    return true;
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

static bool is_key(struct str key)
{
    for (size_t i = 0; i < key.n; i++)
        if (key.p[i] <= ' ' || key.p[i] > '~')
            return false;
    return key.n >= KEY_MIN;
}

static bool text_take(struct key_text *out, size_t n)
{
    struct str key = str_trim(str_make(out->p, n));

    memmove(out->p, key.p, key.n);
    out->n = key.n;
    return n < sizeof(out->p) && is_key(str_make(out->p, out->n));
}

static enum key_file_status key_read(const char *path, struct key_text *out, struct arena *a,
                                     struct str *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);

    if (fd < 0) {
        bool none = errno == ENOENT;
        fail(a, err, "cannot open", str_of(path));
        return none ? KEY_FILE_NONE : KEY_FILE_FAILED;
    }
    ssize_t n = read(fd, out->p, sizeof(out->p));
    bool bad = n < 0 || fstat(fd, &st) < 0;
    int error = errno;
    close(fd);
    errno = error;
    if (bad) {
        fail(a, err, "cannot read", str_of(path));
        return KEY_FILE_FAILED;
    }
    if (st.st_mode & 077)
        log_warn("%s can be read by others than its owner: make its mode 0600", path);
    if (text_take(out, (size_t)n))
        return KEY_FILE_READ;
    *err = arena_printf(a, "%s does not hold a key (one line, at least %d characters)", path,
                        KEY_MIN);
    return KEY_FILE_FAILED;
}

/* ---- Making ------------------------------------------------------------------------------------
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
    return fsync(fd) == 0;
}

/* The name is on the disk too: what the key seals soon after would be lost with it. */
static bool folder_sync(struct str path, struct arena *a)
{
    ptrdiff_t slash = str_rfind(path, '/');
    struct str folder = slash < 0 ? STR(".") : str_head(path, slash ? (size_t)slash : 1);
    int fd = open(arena_str(a, folder).p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return false;
    bool good = fsync(fd) == 0;
    int error = errno;
    close(fd);
    errno = error;
    return good;
}

/* Written beside its place and linked into it, so that no half a key is ever read, and of two
 * starts at once one wins: EEXIST for the other. */
static bool key_write(struct str path, const struct key_text *key, struct arena *a, struct str *err)
{
    struct str beside = arena_printf(a, "%.*s.%ld", STR_ARG(path), (long)getpid());
    int fd = open(beside.p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return fail(a, err, "cannot write", beside);
    bool good = write_all(fd, str_make(key->p, key->n + 1));
    int error = errno;
    close(fd);
    errno = error;
    good = good && link(beside.p, path.p) == 0;
    error = errno;
    unlink(beside.p);
    errno = error;
    good = good && folder_sync(path, a);
    return good ? true : fail(a, err, "cannot write", path);
}

static void key_make(unsigned bytes, struct key_text *out)
{
    unsigned char random[KEY_FILE_BYTES_MAX];

    ASSERT(bytes >= KEY_MIN / 2 && bytes <= sizeof(random));
    random_bytes(random, bytes);
    out->n = 0;
    for (unsigned i = 0; i < bytes; i++) {
        out->p[out->n++] = "0123456789abcdef"[random[i] >> 4];
        out->p[out->n++] = "0123456789abcdef"[random[i] & 15];
    }
    out->p[out->n] = '\n';
    explicit_bzero(random, sizeof(random));
}

enum key_file_status key_file(struct str path, unsigned bytes, struct key_text *out,
                              struct arena *a, struct str *err)
{
    struct str z = arena_str(a, path);
    enum key_file_status status = key_read(z.p, out, a, err);

    if (status != KEY_FILE_NONE || bytes == 0)
        return status;
    key_make(bytes, out);
    if (key_write(z, out, a, err))
        return KEY_FILE_MADE;
    /* Another one was faster. */
    return errno == EEXIST ? key_read(z.p, out, a, err) : KEY_FILE_FAILED;
}
